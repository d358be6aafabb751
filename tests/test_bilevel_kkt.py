"""The KKT system: lines of mathematics, signs by finite differences, residuals, parametric followers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tritier.errors import InputError
from tritier.reformulation.bilevel import from_parametric, linear_bilevel, solve_follower
from tritier.reformulation.bounds import boxes
from tritier.reformulation.kkt import follower_residuals, kkt_system, sign_table

INF = np.inf


def market():
    """Two prosumers, one hour: buyer imports gp at 0.30 + tau or buys zb, seller exports gm at 0.10 or sells zs."""
    names = ["gp[1]", "gm[1]", "zb", "gp[2]", "gm[2]", "zs"]
    cost = [0.30, -0.10, 0.0, 0.30, -0.10, 0.0]
    tariff = [[1.0, 0, 0, 1.0, 0, 0], [0, 0, 0.5, 0, 0, 0.5]]
    A = [[1, -1, 1, 0, 0, 0], [0, 0, 0, 1, -1, -1], [0, 0, 1, 0, 0, -1], [1, 0, 0, 0, 0, 0]]
    return from_parametric(
        cost, A, [3.0, -4.0, 0.0, -INF], [3.0, -4.0, 0.0, 0.0], np.zeros(6), np.full(6, 10.0),
        cost_by_x=np.vstack([tariff, np.zeros(6)]), row_lower_by_x=None,
        row_upper_by_x=sparse.csr_array(([1.0], ([3], [2])), shape=(4, 3)),
        F=np.r_[0.0, 0.0, 0.0, 0.2 * np.ones(6)], x_bounds=[(0, 0.2), (0, 0.1), (0, 10)],
        x_name=["tau", "tau_p", "cap"], col_name=names, row_name=["balance[1]", "balance[2]", "p2p", "limit"],
    )  # fmt: skip


def test_a_column_reads_as_a_line_of_mathematics():
    kkt = kkt_system(market())
    line = kkt.stationarity("gp[1]")
    assert line == "0.3 + tau = lam[balance[1]] - mu_up[limit] + nu_lo[gp[1]] - nu_up[gp[1]]"
    assert kkt.stationarity("zs") == "0.5 tau_p = -lam[balance[2]] - lam[p2p] + nu_lo[zs] - nu_up[zs]"
    assert kkt.condition("mu_up[limit]") == "0 <= mu_up[limit] _|_ cap - gp[1] >= 0"
    assert kkt.condition("lam[p2p]") == "zb - zs = 0"
    latex = kkt.stationarity("gp[1]", "latex")
    assert latex.startswith(r"0.3 + \mathrm{tau} = \lambda_{\mathrm{balance[1]}} - \overline{\mu}_{\mathrm{limit}}")
    with pytest.raises(KeyError, match="names look like"):
        kkt.stationarity("gq[1]")


def test_sizes_of_the_market():
    assert kkt_system(market()).sizes() == {
        "leader variables": 3, "follower variables": 6, "multipliers": 16, "stationarity rows": 6, "equations": 3,
        "complementarity pairs": 13, "bilinear terms": 5,
    }  # fmt: skip


def test_solver_duals_satisfy_the_system_at_the_solution():
    problem = market()
    kkt, x = kkt_system(problem), np.array([0.05, 0.02, 1.0])
    status, theta, y, row_dual, col_dual = solve_follower(problem, x)
    mu = kkt.multipliers(row_dual, col_dual)
    assert status == "optimal"
    assert kkt.dual_value(x, mu) == pytest.approx(theta, abs=1e-9)
    residuals = follower_residuals(kkt, x, y, mu)
    assert max(residuals.values()) < 1e-9
    spoiled = follower_residuals(kkt, x, y + 0.1, mu)
    assert spoiled["primal"] > 1e-3 and spoiled["follower_gap"] > 1e-4
    assert follower_residuals(kkt, x, y, mu + 0.1)["stationarity"] > 1e-3
    assert follower_residuals(kkt, x, y, mu - 1.0)["dual"] > 0.1


KINDS = {row.kind: row for row in sign_table()}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_every_sign_by_finite_differences(seed):
    """d theta / d side for all six kinds, by moving each finite side; degenerate points bracket the multiplier."""
    rng = np.random.default_rng(seed)
    ny, m = 5, 4
    A = rng.normal(size=(m, ny))
    start = rng.uniform(-1, 1, ny)
    activity = A @ start
    low, high = activity - rng.uniform(0.1, 1, m), activity + rng.uniform(0.1, 1, m)
    low[0] = high[0] = activity[0]
    y_low, y_high = start - rng.uniform(0.1, 2, ny), start + rng.uniform(0.1, 2, ny)
    y_low[0] = y_high[0] = start[0]
    problem = linear_bilevel(
        np.zeros(ny), rng.normal(size=ny), 0, lower=(A, low, high), y_bounds=list(zip(y_low, y_high, strict=True))
    )
    kkt = kkt_system(problem)
    _, theta, _, row_dual, col_dual = solve_follower(problem, np.zeros(0))
    mu = kkt.multipliers(row_dual, col_dual)
    assert set(kkt.kind) == set(KINDS)
    step = 1e-5
    for k, (kind, j) in enumerate(zip(kkt.kind, kkt.source, strict=True)):
        sides = ("row_lower", "row_upper") if kind.startswith("row") else ("y_lower", "y_upper")
        moved = sides if kind.endswith("==") else sides[:1] if kind.endswith(">=") else sides[1:]
        slopes = []
        for sign in (1.0, -1.0):
            shifted = {name: getattr(problem, name).copy() for name in moved}
            for side in shifted.values():
                side[j] += sign * step
            slopes.append(sign * (solve_follower(replace(problem, **shifted), np.zeros(0))[1] - theta) / step)
        expected = -mu[k] if kind.endswith("<=") else mu[k]
        assert min(slopes) - 1e-4 <= expected <= max(slopes) + 1e-4, (kkt.name[k], KINDS[kind].meaning)


def test_sign_table_is_complete_and_says_what_was_tested():
    assert [row.sign for row in sign_table()] == [
        "mu_lo >= 0",
        "mu_up >= 0",
        "lam free",
        "nu_lo >= 0",
        "nu_up >= 0",
        "nu free",
    ]
    assert all(("-" in row.meaning.split("=")[1]) == row.kind.endswith("<=") for row in sign_table())


def test_parametric_sides_that_move_differently_are_split():
    problem = from_parametric(
        [1.0], [[1.0], [1.0]], [0.0, -1.0], [4.0, INF], [-5.0], [5.0], cost_by_x=[[0.0]], row_lower_by_x=[[1.0], [2.0]],
        row_upper_by_x=[[-1.0], [9.0]], col_upper_by_x=[[1.0]], F=[0.0, 1.0], x_bounds=[(0, 1)],
    )  # fmt: skip
    assert problem.row_name == ("row[2]", "row[1] (lower)", "row[1] (upper)", "upper bound of y[1]")
    for x in (0.0, 0.5, 1.0):
        y = solve_follower(problem, np.array([x]))[2]
        assert y[0] == pytest.approx(max(0.0 + x, -1.0 + 2 * x))
        slack = kkt_system(problem).slack(np.array([x]), y)
        names = kkt_system(problem).name
        assert slack[names.index("mu_up[row[1] (upper)]")] == pytest.approx(4 - x - y[0])
        assert slack[names.index("mu_up[upper bound of y[1]]")] == pytest.approx(5 + x - y[0])


def test_multiplier_bounds_say_where_they_come_from():
    """A slack that buys a violation at price 7 bounds the row's multiplier by 7, by propagation alone."""
    problem = linear_bilevel(
        [0.0, -1.0, 0.0], [0.0, 2.0, 7.0], 1, lower=([[0, 1.0, 1.0]], [1.0], [INF]), x_bounds=[(0, 1)],
        y_bounds=[(0, INF), (0, INF)], y_name=["p", "short"], row_name=["need"],
    )  # fmt: skip
    kkt = kkt_system(problem)
    found = boxes(kkt)
    k = kkt.name.index("mu_lo[need]")
    assert found.dual_source[k] == "propagation" and found.dual[k] == pytest.approx(2.0, rel=2e-3)
    given_bound = boxes(kkt, {"mu_lo[need]": 1.5})
    assert given_bound.dual_source[k] == "given" and given_bound.dual[k] == pytest.approx(1.5, rel=2e-3)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="nx"):
        linear_bilevel([1.0], [1.0, 2.0], 1)
    with pytest.raises(InputError, match="lower_rows"):
        linear_bilevel([1.0, 1.0], [1.0, 2.0], 1, lower=([[1.0, 1.0]], [0.0, 0.0], [1.0, 1.0]))
    with pytest.raises(InputError, match="exceeds"):
        linear_bilevel([1.0, 1.0], [1.0, 2.0], 1, x_bounds=[(1.0, 0.0)])
