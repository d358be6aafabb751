"""Every way a solve can end, and every gate that refuses an answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bilevel_problems import PUBLISHED, write_out
from scipy import sparse

from tritier.errors import CertificateError, InputError, SolverError
from tritier.reformulation import solve as bilevel_solve
from tritier.reformulation.bilevel import LinearBilevel, linear_bilevel
from tritier.reformulation.bounds import MARGIN, basis_bounds
from tritier.reformulation.kkt import bilinear_leaders, kkt_system
from tritier.reformulation.milp import relaxation_bound, solve_milp
from tritier.reformulation.modes import MODES, run_mode
from tritier.reformulation.scaling import scaled
from tritier.reformulation.solve import infeasible_because, pessimistic, solve

INF = np.inf
PINEDA = next(p.problem for p in PUBLISHED if p.key == "pineda2019")
#: the same problem with its follower row times 100: now the slack, not the multiplier, needs M >= 100
PINEDA_SCALED = write_out("pineda scaled", ["x"], ["y"], {"x": -1, "y": -1}, {"y": 1},
                          lower=[({"x": 100, "y": -1}, "<=", 100)], bounds={"x": (0, 2)})  # fmt: skip


@pytest.mark.parametrize(("big_m", "wrong"), [(10, -1.0), (50, -1.0), (99, -1.0)])
def test_small_m_is_wrong_without_checks_and_refused_with_them(big_m, wrong):
    """Pineda and Morales: no multiplier sits at its bound, yet the answer is wrong; only a second opinion sees it."""
    unchecked = solve(PINEDA, "bigm", big_m=big_m, check=False)
    assert unchecked.status == "optimal" and unchecked.objective == pytest.approx(wrong, abs=1e-6)
    with pytest.raises(CertificateError, match="second_opinion"):
        solve(PINEDA, "bigm", big_m=big_m)


@pytest.mark.parametrize(("big_m", "wrong"), [(10, -11.1), (50, -51.5), (99, -100.99)])
def test_small_m_on_a_slack_is_seen_at_its_bound(big_m, wrong):
    unchecked = solve(PINEDA_SCALED, "bigm", big_m=big_m, check=False)
    assert unchecked.status == "optimal" and unchecked.objective == pytest.approx(wrong, abs=1e-6)
    with pytest.raises(CertificateError, match="slack_at_bound"):
        solve(PINEDA_SCALED, "bigm", big_m=big_m)


def test_small_m_on_a_multiplier_is_seen_at_its_bound():
    """min y needs the multiplier 1 of y >= x; M = 0.5 leaves both multipliers at 0.5."""
    problem = linear_bilevel([1.0, 1.0], [0.0, 1.0], 1, lower=([[-1.0, 1.0]], [0.0], [INF]), x_bounds=[(0, 1)],
                             y_bounds=[(0, INF)])  # fmt: skip
    with pytest.raises(CertificateError, match="multiplier_at_bound"):
        solve(problem, "bigm", big_m=0.5)


@pytest.mark.parametrize("mode", MODES)
def test_a_bound_given_as_proved_is_not_beyond_doubt(mode):
    """The multipliers of y >= x and y >= 0 add up to 1: at 0.5 each both touch, below that nothing is feasible."""
    problem = linear_bilevel([1.0, 1.0], [0.0, 1.0], 1, lower=([[-1.0, 1.0]], [0.0], [INF]), x_bounds=[(0, 1)],
                             y_bounds=[(0, 1)])  # fmt: skip
    names = ("mu_lo[row[1]]", "nu_lo[y[1]]")
    half = (0.5 - MARGIN) / (1 + MARGIN)  # the margin of derived bounds makes it 0.5
    with pytest.raises(CertificateError, match="multiplier_at_bound"):
        solve(problem, mode, dual_bound=dict.fromkeys(names, half))
    with pytest.raises(CertificateError, match=r"bilevel\.infeasible"):
        solve(problem, mode, dual_bound=dict.fromkeys(names, 0.4))
    assert solve(problem, mode).objective == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("big_m", [101, 1000, None])
def test_large_enough_m_is_right(big_m):
    found = solve(PINEDA, "bigm", big_m=big_m)
    assert found.status == "optimal" and found.objective == pytest.approx(-102.0, abs=1e-6)
    assert found.proof == "second opinion"


def test_infeasible_because_of_a_small_m_is_not_believed():
    with pytest.raises(CertificateError, match="sos1 finds a point"):
        solve(PINEDA, "bigm", big_m=0.5)


@pytest.mark.parametrize("integer", [[], [0]], ids=["continuous", "integer"])
@pytest.mark.parametrize("mode", ["auto", *MODES])
def test_unbounded_is_its_own_outcome(mode, integer):
    """x grows without limit and the follower answers y = x."""
    problem = linear_bilevel([-1.0, -1.0], [0.0, 1.0], 1, lower=([[-1.0, 1.0]], [0.0], [INF]), x_bounds=[(0, INF)],
                             y_bounds=[(0, INF)], integer=integer)  # fmt: skip
    found = solve(problem, mode)
    assert (found.status, found.objective, found.bound, found.proof) == ("unbounded", None, -INF, "ray")


@pytest.mark.parametrize("mode", MODES)
def test_follower_without_an_answer_is_infeasible(mode):
    """The follower is unbounded below whatever the leader does."""
    problem = linear_bilevel([1.0, 1.0], [0.0, -1.0], 1, x_bounds=[(0, 1)], y_bounds=[(0, INF)])
    assert solve(problem, mode).status == "infeasible"


def test_no_point_at_all_is_infeasible_without_a_solver_mode():
    problem = linear_bilevel([1.0, 1.0], [0.0, 1.0], 1, upper=([[1.0, 0.0]], [3.0], [INF]), x_bounds=[(0, 1)])
    found = solve(problem)
    assert found.status == "infeasible" and found.nodes == 0


def knapsack(n: int = 24):
    """A follower with n columns, each priced by a leader variable, six joint rows and a coupling row."""
    rng = np.random.default_rng(5)
    F = np.concatenate([np.zeros(n), -rng.uniform(1, 2, n)])
    return linear_bilevel(
        F, np.concatenate([np.zeros(n), -rng.uniform(0.5, 1.5, n)]), n, Q=np.eye(n),
        lower=(np.hstack([np.zeros((6, n)), rng.uniform(0, 1, (6, n))]), np.full(6, -INF), np.full(6, 3.0)),
        upper=(np.hstack([np.ones((1, n)), rng.uniform(-1, 1, (1, n))]), [2.0], [INF]),
        x_bounds=[(0, 1)] * n, y_bounds=[(0, 1)] * n,
    )  # fmt: skip


def test_limits_with_and_without_a_point(monkeypatch):
    nothing = solve(knapsack(), "bigm", time_limit=0.0)
    assert nothing.status == "no_solution" and nothing.objective is None
    best = solve(knapsack(), "indicator")

    def interrupted(*args, **kwargs):
        return replace(run_mode(*args, **kwargs), status="timelimit", bound=-100.0)

    monkeypatch.setattr(bilevel_solve, "run_mode", interrupted)
    some = solve(knapsack(), "indicator")
    assert (some.status, some.bound) == ("time_limit", -100.0 * scaled(knapsack())[1].F_unit)
    assert some.objective == pytest.approx(best.objective)
    assert max(some.residuals.values()) < 1e-6


def test_an_optimum_whose_second_opinion_hits_the_limit_is_not_called_optimal(monkeypatch):
    def hurried(kkt, boxes, mode, *args, **kwargs):
        answer = run_mode(kkt, boxes, mode, *args, **kwargs)
        return answer if mode == "bigm" else replace(answer, status="timelimit", point=None)

    monkeypatch.setattr(bilevel_solve, "run_mode", hurried)
    found = solve(PINEDA, "bigm")
    assert (found.status, found.proof) == ("time_limit", "open")
    assert found.objective == pytest.approx(-102.0)


@pytest.mark.parametrize("mode", MODES)
def test_a_tariff_from_a_menu(mode):
    """The follower buys y <= 1, worth 5 to it, when the price x is at most 5.

    F = x - 10 y makes the cheapest price best, and the leader's row x >= 2 forbids price 1.
    """
    problem = linear_bilevel(
        [1.0, -10.0], [0.0, -5.0], 1, Q=[[1.0]], menu={0: [1.0, 2.5, 4.0, 7.0]}, upper=([[1.0, 0.0]], [2.0], [INF]),
        y_bounds=[(0, 1)], x_bounds=[(0, 10)],
    )  # fmt: skip
    found = solve(problem, mode)
    assert found.objective == pytest.approx(-7.5, abs=1e-6)
    assert found.x == pytest.approx([2.5]) and found.y == pytest.approx([1.0])


@pytest.mark.parametrize("mode", ["auto", *MODES])
def test_a_level_of_a_menu_beyond_the_bounds_is_no_choice(mode):
    """The level 3 would be best, and x stops at 2."""
    problem = linear_bilevel([-1.0, 1.0], [0.0, 1.0], 1, menu={0: [0.0, 1.0, 3.0]}, x_bounds=[(0, 2)],
                             y_bounds=[(0, 1)])  # fmt: skip
    found = solve(problem, mode)
    assert found.x == pytest.approx([1.0]) and found.objective == pytest.approx(-1.0)


@pytest.mark.parametrize("mode", MODES)
def test_an_integer_leader(mode):
    """y = max(0, x - 1.5) and F = -x + 3 y: continuous x stops at 1.5, integer x takes 1 (F = -1) over 2 (-0.5)."""
    problem = linear_bilevel([-1.0, 3.0], [0.0, 1.0], 1, lower=([[-1.0, 1.0]], [-1.5], [INF]), x_bounds=[(0, 4)],
                             y_bounds=[(0, INF)], integer=[0])  # fmt: skip
    found = solve(problem, mode)
    assert found.x == pytest.approx([1.0]) and found.objective == pytest.approx(-1.0, abs=1e-6)


def test_optimistic_and_pessimistic_reading():
    """An indifferent follower: the leader hopes for y = 1 and must fear y = 0; one with a taste leaves no doubt."""
    problem = linear_bilevel([0.0, -1.0], [0.0, 0.0], 1, x_bounds=[(0, 1)], y_bounds=[(0, 1)])
    assert solve(problem).objective == pytest.approx(-1.0)
    worst, y = pessimistic(problem, np.array([0.5]))
    assert worst == pytest.approx(0.0) and y == pytest.approx([0.0])
    decided = replace(problem, f=np.array([0.0, -1.0]))
    assert pessimistic(decided, np.array([0.5]))[0] == pytest.approx(-1.0, abs=1e-6)
    with pytest.raises(SolverError, match="unbounded"):
        pessimistic(replace(decided, y_upper=np.array([INF])), np.array([0.5]))


def test_a_wrong_answer_from_the_solver_is_refused(monkeypatch):
    """The gates look at the point, not at the status: a point that is not the follower's answer does not pass."""

    def liar(kkt, boxes, mode, *args, **kwargs):
        true = run_mode(kkt, boxes, mode, *args, **kwargs)
        x, y, mu, slack = true.point
        return replace(true, objective=true.objective - 1.0, point=(x, y, mu, slack))

    problem = next(p.problem for p in PUBLISHED if p.key == "liu1994")
    monkeypatch.setattr(bilevel_solve, "run_mode", liar)
    with pytest.raises(CertificateError, match=r"bilevel\.objective"):
        solve(problem, "sos1")


def test_unknown_mode():
    with pytest.raises(InputError, match="unknown mode 'magic'"):
        solve(PINEDA, "magic")


@pytest.mark.parametrize("c", [1, 2, 3, 4])
def test_strong_duality_over_a_continuous_leader_is_not_called_infeasible(c):
    """SCIP 10 called these infeasible where the duality gap had to be zero exactly; y2 = 2 and y1 = 0 always."""
    problem = linear_bilevel([3.0, -4.0, 1.0], [0.0, 2.0, -1.0], 1, lower=([[3.0, 3.0, c]], [-9.0], [INF]),
                             x_bounds=[(0, 4)], y_bounds=[(0, 8), (0, 2)])  # fmt: skip
    assert solve(problem, "strong_duality").objective == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize("mode", ["auto", "strong_duality"])
def test_a_point_that_breaks_the_row_asked_for_is_no_second_opinion(mode):
    """SCIP 10 presolves this problem away and answers -100 where at most -100.001 is asked for."""
    rows = [[1e-3, 0], [-1e-3, -1e-2], [-1e-2, -1]]
    problem = linear_bilevel(
        [1, -0.1], [-0.01, 0], 1, lower=(rows, [-np.inf] * 3, [30, 30, 3]), x_bounds=[(0, 1)], y_bounds=[(0, 1000)]
    )
    found = solve(problem, mode)
    assert (found.status, found.objective, found.proof) == ("optimal", pytest.approx(-100.0), "second opinion")


def blocks(n: int) -> LinearBilevel:
    """n pairs of variables, each priced by two rows of its own: x moves all of them, by 51 and 50 units."""
    rows, sides = [], []
    for k in range(n):
        first, second = np.zeros(1 + 2 * n), np.zeros(1 + 2 * n)
        first[[0, 1 + 2 * k, 2 + 2 * k]] = -1.0, 1.0, 1.0
        second[[1 + 2 * k, 2 + 2 * k]] = -1.0, -1.02
        rows += [first, second]
        sides += [0.0, -1.0]
    leader, follower = np.zeros(1 + 2 * n), np.tile([1.0, 0.5], n)
    leader[:2] = 1.0, 0.01
    return linear_bilevel(leader, np.append(0.0, follower), 1, lower=(rows, sides, [INF] * len(sides)),
                          x_bounds=[(0, 1)], y_bounds=[(-INF, INF)] * (2 * n))  # fmt: skip


@pytest.mark.parametrize("mode", ["auto", *MODES])
def test_a_sound_basis_of_many_rows_is_not_taken_for_singular(mode):
    """Its determinant beside its columns' norms is 1e-11; y1 + y2 = x and y1 + 1.02 y2 = 1 give y1 = 51 x - 50."""
    problem = blocks(6)
    found = solve(problem, mode)
    assert found.status == "optimal" and found.objective == pytest.approx(-0.5) and found.x == pytest.approx([0.0])
    assert basis_bounds(kkt_system(problem), np.array([[0.0, 1.0]])).min() > 20.0  # multipliers 26 and 25


def test_columns_that_are_a_basis_only_by_rounding_give_no_bound():
    problem = linear_bilevel([1, 0, 0], [0, 1, 1], 1, lower=([[-1, 1, 1], [0, 1, 1 + 1e-11]], [0, 0], [INF, INF]),
                             x_bounds=[(0, 1)], y_bounds=[(-INF, INF)] * 2)  # fmt: skip
    assert basis_bounds(kkt_system(problem), np.array([[0.0, 1.0]])) is None


@pytest.mark.parametrize("mode", ["auto", *MODES])
def test_declared_boxes_of_followers_keep_no_decision_of_the_leader_out(mode):
    """y1 = 100 x, y2 = 100 y1, a = max(0, x - 1), b = max(0, x - 5), F = x - 2 a + 2 b: -3 at x = 5. A box of 1e4 on y2
    would hold x at 1. With y3 = 100 y2 boxes would have to be too large, and bounds are asked for."""
    assert solve(chain(2), mode).objective == pytest.approx(-3.0)
    with pytest.raises(InputError, match=r"y\[3\]: can reach .* give the leader's variables bounds"):
        solve(chain(3), mode)


def chain(n: int) -> LinearBilevel:
    """Each of n variables is a hundred times the one before, x the first's."""
    rows, size = np.zeros((n + 2, n + 3)), np.arange(n)
    rows[size, size], rows[size, size + 1] = -100.0, 1.0
    rows[[n, n + 1], 0], rows[n, n + 1], rows[n + 1, n + 2] = -1.0, 1.0, 1.0
    low, high = np.append(np.zeros(n), [-1.0, -5.0]), np.append(np.zeros(n), [INF, INF])
    none = [0.0] * n
    return linear_bilevel([1, *none, -2, 2], [0, *none, 1, 1], 1, lower=(rows, low, high), x_bounds=[(0, INF)],
                          y_bounds=[(-INF, INF)] * n + [(0, INF)] * 2)  # fmt: skip


def test_a_menu_has_no_place_in_the_program_of_strong_duality():
    problem = linear_bilevel([-1, 0], [0, 1], 1, lower=([[0, 1]], [0], [INF]), x_bounds=[(0, 1)], y_bounds=[(0, 1)],
                             menu={0: (0.0, 1.0)})  # fmt: skip
    assert solve(problem).objective == pytest.approx(-1.0)
    with pytest.raises(InputError, match="menu: this program has no place for a menu"):
        solve_milp(problem, 10.0)


def test_a_follower_without_variables_may_have_rows():
    problem = linear_bilevel([1], [1], 1, lower=([[1]], [3], [INF]), x_bounds=[(1, 10)], y_bounds=[])
    assert solve(problem).objective == pytest.approx(3.0)


@pytest.mark.parametrize(("menu", "integer"), [((5.0,), ()), ((0.5,), (0,))])
def test_a_menu_outside_the_bounds_is_the_leaders_fault(menu, integer):
    problem = linear_bilevel([1, 1], [0, 1], 1, lower=([[-1, 1]], [0], [INF]), x_bounds=[(0, 1)], y_bounds=[(0, 10)],
                             menu={0: menu}, integer=integer)  # fmt: skip
    assert solve(problem).status == "infeasible"
    assert infeasible_because(problem) == ("leader", "x[1] has no value of its menu within its bounds", "mend the menu")


def test_entries_of_zero_say_nothing():
    """As a file of MPS may hold them: x is not seen by the follower, and what is bounded stays so."""
    lower = (sparse.csr_array(([0.0, 1.0], ([0, 0], [0, 1])), shape=(1, 2)), [-INF], [4.0])
    problem = linear_bilevel([0, -3], [0, -1], 1, lower=lower, x_bounds=[(0, 5)], y_bounds=[(0, INF)])
    assert problem.A.nnz == 1 and not bilinear_leaders(kkt_system(problem)).any()
    assert relaxation_bound(problem) == pytest.approx(-12.0) == solve(problem).objective
