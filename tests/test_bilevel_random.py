"""Random linear bilevel problems: four modes against brute force over complementarity patterns, and each other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from bilevel_reference import brute_force
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tritier.reformulation.bilevel import linear_bilevel
from tritier.reformulation.modes import MODES
from tritier.reformulation.solve import solve

INF = np.inf


@st.composite
def bilevel_problems(draw, most: int, rows: int):
    """Integer data; x boxed; y at least 0, often unbounded above; some menus, integers, equations and tariff terms."""
    nx, ny, m, mu = (draw(st.integers(*span)) for span in ((1, most), (1, most), (0, rows), (0, 2)))
    n = nx + ny
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def table(*shape):
        return rng.integers(-4, 5, shape) * (rng.random(shape) < 0.7)

    low = np.where(rng.random(m) < 0.3, rng.integers(-10, 3, m), -INF)
    high = np.where(np.isinf(low) | (rng.random(m) < 0.3), rng.integers(3, 11, m), INF)
    low = np.where((rng.random(m) < 0.1) & np.isfinite(high), high, low)
    y_high = np.where(rng.random(ny) < 0.5, INF, rng.integers(1, 9, ny))
    menu = {0: (0, 1, 3)} if draw(st.integers(0, 3)) == 0 else None
    integer = [nx - 1] if draw(st.integers(0, 4)) == 0 and not (menu and nx == 1) else []
    return linear_bilevel(
        table(n), table(n), nx, Q=table(nx, ny) if draw(st.booleans()) else None, F0=float(rng.integers(-3, 4)),
        upper=(table(mu, n), np.full(mu, -INF), rng.integers(0, 11, mu)), lower=(table(m, n), low, high),
        x_bounds=[(0, int(v)) for v in rng.integers(1, 7, nx)], y_bounds=[(0, v) for v in y_high],
        integer=integer, menu=menu,
    )  # fmt: skip


def fingerprint(problem) -> bytes:
    """The problem's data, so that problems can be counted."""
    dense = (problem.F, problem.f, problem.Q.toarray(), problem.U.toarray(), problem.A.toarray(), problem.integer)
    sides = ("U_lower", "U_upper", "row_lower", "row_upper", "x_lower", "x_upper", "y_lower", "y_upper")
    arrays = (*dense, *(getattr(problem, name) for name in sides))
    return b"".join(np.asarray(a, dtype=float).tobytes() for a in arrays) + repr((problem.F0, problem.menu)).encode()


def check_all_modes(problem) -> str:
    """Every mode against brute force; returns the status they agree on."""
    reference = brute_force(problem)
    for mode in MODES:
        found = solve(problem, mode, time_limit=60)
        if reference is None:
            assert found.status == "infeasible", mode
        elif np.isinf(reference):
            assert found.status == "unbounded", mode
        else:
            assert found.status == "optimal", (mode, found.status)
            assert found.objective == pytest.approx(reference, rel=1e-5, abs=1e-5), mode
            assert max(found.residuals.values()) < 1e-6, mode
    return found.status


QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


def test_modes_agree_with_brute_force_on_300_problems():
    """Sizes up to 4 + 4 variables and 6 rows; different problems are counted, and most of them have an optimum."""
    outcome: dict[bytes, str] = {}

    @settings(max_examples=340, **QUIET)
    @given(bilevel_problems(most=2, rows=3))
    def small(problem):
        outcome[fingerprint(problem)] = check_all_modes(problem)

    @settings(max_examples=60, **QUIET)
    @given(bilevel_problems(most=4, rows=6))
    def larger(problem):
        outcome[fingerprint(problem)] = check_all_modes(problem)

    small()
    larger()
    found = Counter(outcome.values())
    assert len(outcome) >= 300
    assert found["optimal"] >= 150 and found["infeasible"] >= 20 and found["unbounded"] >= 1
