"""Three levels: Anandalingam's problem, a problem whose single faces mislead, and one whose infimum is not attained."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from tritier.errors import InputError
from tritier.reformulation.modes import MODES
from tritier.reformulation.trilevel import LinearTrilevel, middle_value, pricing_sets, solve_trilevel

INF = np.inf


def build(costs, rows, lower, upper, name="made for this test"):
    blocks = []
    for level in rows:
        matrix = np.array([r[0] for r in level], dtype=float).reshape(len(level), 3)
        blocks.append(
            (sparse.csr_array(matrix), np.full(len(level), -INF), np.array([r[1] for r in level], dtype=float))
        )
    return LinearTrilevel(
        tuple(np.array(c, dtype=float) for c in costs), tuple(blocks), np.array(lower, dtype=float),
        np.array(upper, dtype=float), (1, 1, 1), ("x", "y", "z"), name,
    )  # fmt: skip


#: Anandalingam, G.: A mathematical programming model of decentralized multi-level systems. J. Operational Research
#: Society 39(11), 1988, 1021-1033; optimum -8.5 at (1.5, 0, 0.5)
ANANDALINGAM = build(
    [(-7, -3, 4), (0, -1, 0), (0, 0, -1)],
    [[], [], [((1, 1, 1), 3), ((1, 1, -1), 1), ((-1, -1, -1), -1), ((-1, 1, 1), 1)]],
    (0, 0, 0), (INF, INF, 0.5), "Anandalingam 1988",
)  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_anandalingam(mode):
    found = solve_trilevel(ANANDALINGAM, mode)
    assert found.objective == pytest.approx(-8.5, abs=1e-6)
    assert np.concatenate([found.x, found.y, found.z]) == pytest.approx([1.5, 0.0, 0.5], abs=1e-6)
    assert found.attained and len(found.faces) == 3


def test_faces_of_anandalingam_agree_with_nested_search():
    """At a grid of x the middle level's value over all faces is that of a fine search over y with exact answers z."""
    faces = pricing_sets(ANANDALINGAM)
    for x in np.linspace(0.5, 2.0, 13):
        best = INF
        for y in np.linspace(0, 2, 401):
            low = max(0.0, x + y - 1, 1 - x - y)
            high = min(0.5, 3 - x - y, 1 + x - y)
            if high >= low - 1e-12:
                best = min(best, -y)
        value = min(middle_value(ANANDALINGAM, f, np.array([x])) for f in faces)
        assert (np.isinf(best) and np.isinf(value)) or abs(value - best) <= 0.006


@pytest.mark.parametrize("mode", MODES)
def test_one_face_alone_gives_a_wrong_answer(mode):
    """Lowest: z = min(y, 1). Middle: min 2z - y over 0 <= y <= x, so it prefers y = 0 only while x <= 2.

    The face z = y alone has its KKT point at (3, 0, 0) with F = -3; the middle level would then choose y = 3. By hand,
    F = -x + 10 y is least at (2, 0, 0).
    """
    problem = build(
        [(-1, 10, 0), (0, -1, 2), (0, 0, -1)], [[], [((-1, 1, 0), 0)], [((0, -1, 1), 0), ((0, 0, 1), 1)]],
        (0, 0, 0), (3, 3, INF),
    )  # fmt: skip
    found = solve_trilevel(problem, mode)
    assert min(b for b in found.face_bounds if b is not None) == pytest.approx(-3.0, abs=1e-6)
    assert found.objective == pytest.approx(-2.0, abs=1e-5)
    assert found.attained


def test_infimum_that_is_not_attained_is_reported():
    """z = min(y, 1), middle: max y with 2z - y <= 0 and y <= 3 - x, so y = 3 - x while x <= 1 and y = 0 beyond.

    F = x + 10 y approaches 1 as x falls to 1 and never reaches it.
    """
    problem = build(
        [(1, 10, 0), (0, -1, 0), (0, 0, -1)],
        [[], [((0, -1, 2), 0), ((1, 1, 0), 3)], [((0, -1, 1), 0), ((0, 0, 1), 1)]],
        (0, 0, 0), (2.5, INF, INF),
    )  # fmt: skip
    found = solve_trilevel(problem, "sos1")
    assert not found.attained
    assert 1.0 < found.objective < 1.001


def test_infeasible_and_unbounded_lowest_level_are_refused():
    with pytest.raises(InputError, match="cannot be priced"):
        solve_trilevel(build([(1, 0, 0), (0, 1, 0), (0, 0, -1)], [[], [], []], (0, 0, 0), (1, 1, INF)))
    with pytest.raises(InputError, match="infeasible on every face"):
        solve_trilevel(build([(1, 0, 0), (0, 1, 0), (0, 0, 1)], [[], [], [((1, 1, 1), -1)]], (0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0, 1e6])
def test_units_of_rows_and_of_lower_costs_decide_nothing(size):
    """The same problems with a middle row, the middle cost or the lowest cost in other units; separation and
    tolerances are absolute."""
    for row, middle, lowest in {(size, 1, 1), (1, size, 1), (1, 1, size)}:
        costs = [(1, 10, 0), (0, -middle, 0), (0, 0, -lowest)]
        rows = [[], [((0, -1, 2), 0), ((row, row, 0), 3 * row)], [((0, -1, 1), 0), ((0, 0, 1), 1)]]
        found = solve_trilevel(build(costs, rows, (0, 0, 0), (2.5, INF, INF)))
        assert found.objective == pytest.approx(1.0, abs=0.01) and not found.attained
        costs = [(-1, 10, 0), (0, -middle, 2 * middle), (0, 0, -lowest)]
        rows = [[], [((-row, row, 0), 0)], [((0, -1, 1), 0), ((0, 0, 1), 1)]]
        found = solve_trilevel(build(costs, rows, (0, 0, 0), (3, 3, INF)))
        assert found.objective == pytest.approx(-2.0) and found.attained
