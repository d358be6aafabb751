"""Other units are no other problem: answers in six kinds of units, units of the problem's own, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from bilevel_problems import PUBLISHED, RESCALINGS, other_units

from tritier.cli import main
from tritier.errors import InputError
from tritier.reformulation.bilevel import linear_bilevel
from tritier.reformulation.kkt import follower_residuals, kkt_system
from tritier.reformulation.modes import MODES
from tritier.reformulation.scaling import in_units, scaled
from tritier.reformulation.solve import solve

INF = np.inf
BY_KEY = {p.key: p for p in PUBLISHED}
#: Bard's example in the units of the attack: optimum -18 at (8, 1)
BARD = {
    "nx": 1, "ny": 1, "bounds": [[0, None], [0, None]], "F_c": [-1, -10], "f_c": [0, 1], "upper_rows": [],
    "lower_rows": [
        {"a": [-25, 20], "sense": "<=", "b": 30}, {"a": [1, 2], "sense": "<=", "b": 10},
        {"a": [2, -1], "sense": "<=", "b": 15}, {"a": [2, 10], "sense": ">=", "b": 15},
    ],
}  # fmt: skip


def judged(published, kind: str, mode: str) -> None:
    units = RESCALINGS[kind](published.problem)
    found = solve(in_units(published.problem, units), mode, time_limit=60)
    if published.optimum is None:
        assert found.status == "infeasible"
        return
    assert found.status == "optimal"
    assert found.objective * units.F_unit == pytest.approx(published.optimum, abs=1e-5)
    x, y = found.x * units.x_unit, found.y * units.y_unit
    kkt = kkt_system(published.problem)
    again = kkt_system(in_units(published.problem, units))
    mu = np.array([found.multipliers[name] for name in again.name]) * units.dual_unit(kkt)
    assert max(follower_residuals(kkt, x, y, mu).values()) < 1e-6


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", RESCALINGS)
@pytest.mark.parametrize("key", ["bard1991", "candler1982", "mersha2006_upper"])
def test_a_published_problem_in_other_units_has_the_same_optimum_and_multipliers(key, kind, mode):
    judged(BY_KEY[key], kind, mode)


@pytest.mark.parametrize("kind", RESCALINGS)
def test_every_published_problem_in_other_units(kind):
    for published in PUBLISHED:
        judged(published, kind, "auto")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("cost", "rows"), [(1e-7, 1), (1e-12, 1), (1e-6, 1), (1, 1e12), (1, 1e-9)])
def test_the_wrong_optima_of_unscaled_problems_are_gone(cost, rows, mode, tmp_path, capsys):
    """Bard's problem ended in -42, -15 and -7.5, all called proved."""
    lower = [row | {"a": [rows * v for v in row["a"]], "b": rows * row["b"]} for row in BARD["lower_rows"]]
    path = tmp_path / "bard.json"
    path.write_text(json.dumps(BARD | {"f_c": [0, cost], "lower_rows": lower}))
    assert main(["bilevel", str(path), "--mode", mode, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objective"] == pytest.approx(-18.0, abs=1e-6)


def test_scaled_rows_and_costs_have_entries_near_one_and_factors_are_powers_of_two():
    problem = BY_KEY["candler1982"].problem
    within, units = scaled(in_units(problem, other_units(problem, x=1e-4, y=1e3, rows=1e7, F=1e5, f=1e-5)))
    largest = [*abs(within.A).max(axis=1).todense(), np.abs(within.F).max(), np.abs(within.f).max()]
    assert all(2**-0.5 - 1e-12 <= v <= 2**0.5 + 1e-12 for v in largest)
    numbers = np.concatenate([units.unit, units.row_unit, [units.F_unit, units.f_unit]])
    assert np.all(np.exp2(np.round(np.log2(numbers))) == numbers)


def test_a_problem_near_one_keeps_its_columns_and_integers_always_do():
    problem = BY_KEY["bard1982"].problem
    assert np.all(scaled(problem)[1].unit == 1.0)
    whole = replace(problem, integer=np.array([True, False]))
    units = scaled(in_units(whole, other_units(whole, y=1e-6)))[1]
    assert units.x_unit[0] == 1.0
    assert ((units.y_unit >= 2**19) & (units.y_unit <= 2**22)).all(), "a million, to a power of two or so"


def test_small_numbers_all_together_are_moved_to_one():
    """Bard's problem in units a million times larger: sides of 1e-5, below no tolerance any more."""
    problem = in_units(BY_KEY["bard1982"].problem, other_units(BY_KEY["bard1982"].problem, x=1e7, y=1e7, F=1e7, f=1e7))
    for mode in MODES:
        assert solve(problem, mode).objective * 1e7 == pytest.approx(-3.25, abs=1e-5)


def tiny(**changes):
    """min -x - y1 - y2 over y in argmin y1 + y2 with x + y1 + y2 >= 1, 0 <= x, y <= 5."""
    data = {"rows": [[1.0, 1.0, 1.0]], "low": [1.0], "top": 5.0, "Q": None} | changes
    return linear_bilevel(
        [-1.0, -1.0, -1.0], [0.0, 1.0, 1.0], 1, lower=(data["rows"], data["low"], [INF] * len(data["low"])),
        x_bounds=[(0, 5)], y_bounds=[(0, data["top"]), (0, 5)], Q=data["Q"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"rows": [[0, 1.0, 1e-8], [0, 1e-8, 1.0]], "low": [1.0, 1.0]}, r"lower row row\[1\].*y\[2\]"),
        ({"Q": [[1e-9, 0.0]]}, r"price by x\[1\]: the coefficient of y\[1\]"),
        ({"rows": [[1.0, 1.0, 1.0]] * 2, "low": [1.0, 1e10]}, r"side of lower row row\[2\]"),
        ({"top": 1e9}, r"bound of y\[1\]"),
        ({"top": 1e-9}, r"bound of y\[1\]"),
    ],
)
def test_numbers_of_unlike_size_are_refused_by_name(changes, place):
    with pytest.raises(InputError, match=place + r".*; give numbers within 1e-06 to 1e\+06 of each other"):
        solve(tiny(**changes), "bigm")


@pytest.mark.parametrize("field", ["F", "f", "row_lower", "y_upper"])
def test_a_nan_is_refused(field):
    problem = tiny()
    spoiled = getattr(problem, field).copy()
    spoiled[-1] = np.nan
    with pytest.raises(InputError, match=r"give (finite )?numbers"):
        solve(replace(problem, **{field: spoiled}))


def test_large_constants_and_large_neighbours_loosen_no_tolerance():
    """A follower's constant of 1e12 and a leader variable of 1e5 hide no follower gap and no broken leader row."""
    problem = replace(tiny(), f0=1e12, F0=-1e12, f=np.array([1e9, 1.0, 1.0]))
    kkt = kkt_system(scaled(problem)[0])
    mu = np.where(np.array(kkt.kind) == "row >=", 1.0, 0.0)
    wrong = follower_residuals(kkt, np.array([0.0]), np.array([1.5, 0.0]), mu)
    assert wrong["follower_gap"] > 0.1 and wrong["duality_gap"] > 0.1
    kkt = kkt_system(linear_bilevel([0.0, 0.0, 0.0], [0.0, 0.0, 1.0], 2, upper=([[0.0, 1.0, 0.0]], [1.0], [INF]),
                                    x_bounds=[(0, 1e5)] * 2, y_bounds=[(0, 1)]))  # fmt: skip
    assert follower_residuals(kkt, np.array([1e5, 0.9]), np.zeros(1), np.zeros(kkt.h.size))["leader"] > 0.01


@pytest.mark.parametrize("mode", ["auto", "bigm", "sos1"])
@pytest.mark.parametrize("size", [1e3, 1e9])
def test_integers_whose_coefficients_are_far_apart_are_refused(mode, size):
    """Units of integers are held: F = size x1 - x2, and a row x2 <= size x1. At a thousand both are solved."""
    parts = {"lower": ([[0, -1, 1]], [0], [INF]), "y_bounds": [(0, 200)], "integer": (0, 1)}
    priced = linear_bilevel([size, -1, 0], [0, 0, 1], 2, x_bounds=[(0, 5), (0, 100)], **parts)
    row = linear_bilevel([20, -1, 0], [0, 0, 1], 2, upper=([[-size, 1, 0]], [-INF], [0]),
                         x_bounds=[(0, 1), (0, 100)], **parts)  # fmt: skip
    if size < 1e6:
        assert solve(priced, mode).objective == pytest.approx(-100.0)
        assert solve(row, mode).objective == pytest.approx(-80.0)
        return
    for problem, place in ((priced, "leader's cost"), (row, r"upper row upper\[1\]")):
        with pytest.raises(InputError, match=f"{place}: the coefficient of x.2. is"):
            solve(problem, mode)
