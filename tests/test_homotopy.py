"""The local solver ends at responses of the follower, at a menu point, and never below the proved optimum."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tritier.errors import InputError
from tritier.reformulation.bilevel import linear_bilevel, solve_follower
from tritier.reformulation.market import market_example
from tritier.reformulation.solve import PATH, enumerate_discrete, solve_local


def test_bards_problem_by_hand():
    """min -x - 10 y, the follower least y with y >= x - 1, y >= 2 - x: the best is at the follower's kink or beyond it,
    x in [0, 3]: y = max(x - 1, 2 - x), so F is -3 - 20 at x = 3 and -20 at x = 0; both are local solutions."""
    rows = (np.array([[-1.0, 1.0], [1.0, 1.0]]), np.array([-1.0, 2.0]), np.full(2, np.inf))
    p = linear_bilevel([-1, -10], [0, 1], 1, lower=rows, x_bounds=[(0, 3)], y_bounds=[(0, 10)])
    found = solve_local(p)
    assert found.status == "local" and found.epsilon == PATH[-1]
    assert found.x[0] == pytest.approx(3, abs=1e-5) or found.x[0] == pytest.approx(0, abs=1e-5)
    assert found.y[0] == pytest.approx(max(found.x[0] - 1, 2 - found.x[0]), abs=1e-5)
    assert found.objective == pytest.approx(-found.x[0] - 10 * found.y[0])


@pytest.mark.parametrize("hours", [3, 4])
def test_on_a_small_market_it_ends_at_a_menu_point_and_not_below_the_optimum(hours):
    e = market_example(hours, 2)
    best, *_ = enumerate_discrete(e.problem)
    found = solve_local(e.problem)
    steps = found.x[e.problem.integer]
    assert found.status == "local" and np.abs(steps - steps.round()).max() < 1e-5
    assert found.objective >= best - 1e-4 * abs(best)
    _, theta, *_ = solve_follower(e.problem, found.x)
    assert e.problem.follower_cost(found.x, found.y) == pytest.approx(theta, rel=1e-5)  # a response of the follower


def test_its_limit_ends_the_path():
    found = solve_local(market_example(3, 2).problem, 0.0)
    assert found.status == "time_limit" and found.epsilon == np.inf and found.iterations == 0


def test_what_it_cannot_take_is_refused(monkeypatch):
    p = linear_bilevel([1, 1], [0, 1], 1, x_bounds=[(0, 3)], y_bounds=[(0, 1)], integer=[0])
    with pytest.raises(InputError, match="more than two values"):
        solve_local(p)
    monkeypatch.setitem(sys.modules, "casadi", None)
    with pytest.raises(InputError, match="not installed"):
        solve_local(market_example(3, 2).problem)
