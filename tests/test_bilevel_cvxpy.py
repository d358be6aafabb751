"""Bilevel programs of a cvxpy user: values and multipliers written back, and mistakes refused in one sentence."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from bilevel_problems import PUBLISHED

from tritier.bilevel import BilevelProblem, solve
from tritier.errors import InputError
from tritier.reformulation.bilevel import LinearBilevel
from tritier.reformulation.modes import MODES


def taxed_plant():
    """A plant makes one unit cheaply and dirtily (2) or dearly (6); the state wants it half clean at the least tax."""
    tax, charge = cp.Variable(bounds=[0, 10], name="tax"), cp.Parameter()
    output = cp.Variable(2, nonneg=True, name="output")
    plant = cp.Problem(cp.Minimize((2 + charge) * output[0] + 6 * output[1]), [cp.sum(output) == 1])
    return tax, output, charge, plant


@pytest.mark.parametrize("mode", ["auto", *MODES])
def test_by_hand_and_everything_is_written_back(mode):
    """At tax 4 the plant is indifferent, and the optimistic reading lets it go half clean."""
    tax, output, charge, plant = taxed_plant()
    found = BilevelProblem(cp.Minimize(tax + 1), [output[0] <= 0.5], plant, {charge: tax}).solve(mode)
    assert (found.status, found.value) == ("optimal", pytest.approx(5.0, abs=1e-6))
    assert 5.0 - 1e-4 <= found.bound <= 5.0 + 1e-9 and max(found.residuals.values()) < 1e-6
    assert tax.value == pytest.approx(4.0) and charge.value == pytest.approx(4.0)
    assert output.value[0] <= 0.5 + 1e-6 and output.value.sum() == pytest.approx(1.0)
    assert plant.objective.value == pytest.approx(6.0)
    if mode == "auto":
        assert found.proof == "second opinion"


def test_maximising_turns_value_and_bound():
    """A tax of at most 3 keeps the plant dirty: the most tax that changes nothing is the bound itself, 3."""
    tax, output, charge, plant = taxed_plant()
    found = BilevelProblem(cp.Maximize(tax + output[0]), [tax <= 3], plant, {charge: tax}).solve()
    assert found.value == pytest.approx(4.0) and 4.0 - 1e-9 <= found.bound <= 4.0 + 1e-4


def test_right_hand_sides_constants_and_affine_expressions():
    """The leader sells capacity 2 u + 1 at 3 each; the follower fills it up to its need of 4, worth 5 to the leader."""
    units, bought = cp.Variable(nonneg=True), cp.Variable(nonneg=True)
    cap, need = cp.Parameter(), cp.Parameter(value=4.0)
    lower = cp.Problem(cp.Maximize(bought), [bought <= cap, bought <= need])
    found = BilevelProblem(cp.Maximize(5 * bought - 3 * units), [], lower, {cap: 2 * units + 1}).solve()
    assert found.value == pytest.approx(20 - 4.5) and units.value == pytest.approx(1.5)
    assert cap.value == pytest.approx(4.0) and need.value == 4.0


def test_menus_booleans_and_vectors():
    """A price from a menu for each of two buyers with reservation prices 5 and 2; one shop may open only."""
    price, pays, opens = cp.Variable(2), cp.Parameter(2), cp.Variable(2, boolean=True)
    buys, limit = cp.Variable(2, nonneg=True), cp.Parameter(2)
    lower = cp.Problem(cp.Minimize((pays - np.array([5.0, 2.0])) @ buys), [buys <= limit])
    goal, rows = cp.Maximize(10 * buys[0] + 7 * buys[1] + cp.sum(price)), [cp.sum(opens) <= 1]
    rows.append(cp.FiniteSet(price, [1, 4, 7]))
    problem = BilevelProblem(goal, rows, lower, {pays: price, limit: opens})
    assert problem.linear.discrete.all() and problem.linear.menu[0] == (1.0, 4.0, 7.0)
    for mode in ("auto", "strong_duality", "sos1"):
        found = problem.solve(mode)
        assert found.value == pytest.approx(10 + 4 + 7) and opens.value == pytest.approx([1, 0]), mode
        assert price.value == pytest.approx([4, 7]) and buys.value == pytest.approx([1, 0])


def test_multipliers_are_those_of_cvxpy_at_the_leaders_decision():
    """A transport problem with both kinds of rows, at a decision where its duals are unique."""
    rng = np.random.default_rng(3)
    x, p = cp.Variable(3, bounds=[0, 2]), cp.Parameter(3)
    y, cost = cp.Variable((2, 3), nonneg=True), rng.uniform(1, 3, (2, 3))
    rows = [cp.sum(y, axis=1) <= np.array([4.0, 3.5]), cp.sum(y, axis=0) == p + 1, y[0, 0] >= 0.25]
    lower = cp.Problem(cp.Minimize(cp.sum(cp.multiply(cost, y))), rows)
    found = BilevelProblem(cp.Minimize(cp.sum(y[0]) - cp.sum(x)), [cp.sum(x) <= 3], lower, {p: x}).solve()
    ours, values = [np.array(m) for m in found.multipliers], y.value.copy()
    assert all(np.array_equal(m, row.dual_value) for m, row in zip(ours, rows, strict=True))
    lower.solve(solver=cp.HIGHS)
    assert lower.objective.value == pytest.approx(found.linear.follower_objective)
    assert (cost * values).sum() == pytest.approx(lower.value)
    residual = cost - ours[2] * np.eye(2, 3)[:, :1] @ np.eye(1, 3) + ours[0][:, None] + ours[1][None, :]
    assert residual.min() > -1e-6 and np.abs(residual * values).max() < 1e-6  # reduced costs in cvxpy's signs


def test_piecewise_linear_costs_are_linear():
    """The follower minimises |y - p|, the leader |x - 1| + y: x = 1 costs 1, x = 0 costs 1, and so do all between."""
    x, p, y = cp.Variable(bounds=[0, 3]), cp.Parameter(), cp.Variable()
    lower = cp.Problem(cp.Minimize(cp.abs(y - p)), [y <= 2])
    found = BilevelProblem(cp.Minimize(cp.abs(x - 1) + y), [x >= 0.5], lower, {p: x}).solve()
    assert found.value == pytest.approx(1.0) and y.value == pytest.approx(x.value)


def sided(rows: cp.Expression, low: np.ndarray, high: np.ndarray) -> list[cp.Constraint]:
    """One constraint a finite side."""
    at_least = [rows[k] >= low[k] for k in np.flatnonzero(np.isfinite(low))]
    return at_least + [rows[k] <= high[k] for k in np.flatnonzero(np.isfinite(high))]


def as_cvxpy(problem: LinearBilevel) -> BilevelProblem:
    """A linear bilevel problem written in cvxpy, menus as finite sets."""
    x = cp.Variable(problem.nx, bounds=[problem.x_lower, problem.x_upper])
    y = cp.Variable(problem.ny, bounds=[problem.y_lower, problem.y_upper])
    p = cp.Parameter(problem.nx)
    z, w = cp.hstack([x, y]), cp.hstack([p, y])
    rows = [cp.FiniteSet(x[j], m) for j, m in enumerate(problem.menu) if m is not None]
    rows += sided(problem.U @ z, problem.U_lower, problem.U_upper)
    own = sided(problem.A @ w, problem.row_lower, problem.row_upper)
    cost = problem.f[problem.nx :] @ y + (p @ problem.Q.toarray()) @ y + problem.f[: problem.nx] @ p + problem.f0
    lower = cp.Problem(cp.Minimize(cost), own)
    return BilevelProblem(cp.Minimize(problem.F @ z + problem.F0), rows, lower, {p: x})


@pytest.mark.parametrize("published", [p for p in PUBLISHED if p.problem.nx], ids=lambda p: p.key)
def test_published_problems_through_cvxpy(published):
    found = as_cvxpy(published.problem).solve()
    assert found.value == pytest.approx(published.optimum, abs=1e-5) and max(found.residuals.values()) < 1e-6


def test_the_conditions_read_by_the_users_names():
    tax, _, charge, plant = taxed_plant()
    kkt = BilevelProblem(cp.Minimize(tax), [], plant, {charge: tax}).kkt()
    assert kkt.stationarity("output[0]") == "2 + tax = lam[constraint 0] + nu_lo[output[0]]"
    text = kkt.typeset()
    assert text.startswith(r"\begin{aligned}") and text.count("&") == 5 and text.count(r"\perp") == 2


def refused(upper, rows, lower, leader, match: str, solved: bool = False) -> None:
    """One sentence with a mend, before or in the solve."""
    with pytest.raises(InputError, match=match) as error:
        problem = BilevelProblem(upper, rows, lower, leader)
        if solved:
            problem.solve()
    text = str(error.value)
    assert text.count("\n") == 0 and text.startswith("BilevelProblem: ") and "; " in text


def test_mistakes_in_the_lower_problem_are_refused():
    x, y, p = cp.Variable(bounds=[0, 1], name="x"), cp.Variable(2, nonneg=True, name="y"), cp.Parameter(name="p")
    goal, cap = cp.Minimize(x), [cp.sum(y) <= 1]
    refused(goal, [], cp.Problem(cp.Minimize(cp.sum_squares(y) + p * y[0]), cap), {p: x}, "quadratic or conic")
    refused(goal, [], cp.Problem(cp.Minimize(p * y[0]), [cp.norm(y) <= 1]), {p: x}, "quadratic or conic")
    matrix = cp.Problem(cp.Minimize(p * y[0]), [p * y[0] + y[1] <= 1])
    refused(goal, [], matrix, {p: x}, "lower constraint 0: multiplies a variable by the leader's p; let the leader set")
    refused(goal, [], cp.Problem(cp.Minimize(p**2 * y[0]), cap), {p: x}, r"not (affine|convex)")
    whole = cp.Variable(integer=True, name="lots")
    lots = cp.Problem(cp.Minimize(p * whole), [whole >= 0])
    refused(goal, [], lots, {p: x}, "lower variable lots: is an integer: a mixed-integer follower")
    refused(goal, [], cp.Problem(cp.Minimize(p * y[0] - cp.square(y[1])), cap), {p: x}, "not convex")
    bounded = cp.Variable(bounds=[0, p], name="b")
    refused(goal, [], cp.Problem(cp.Minimize(-bounded)), {p: x}, "lower variable b: is bounded by the parameter p")
    tied = cp.Variable((2, 2), symmetric=True, name="tied")
    refused(goal, [], cp.Problem(cp.Minimize(p * tied[0, 0]), [tied >= 0]), {p: x}, "variable tied: has an attribute")


def test_mistakes_in_the_leaders_part_are_refused():
    x, y, p = cp.Variable(bounds=[0, 1], name="x"), cp.Variable(nonneg=True, name="y"), cp.Parameter(name="p")
    lower = cp.Problem(cp.Minimize((1 + p) * y), [y <= 1])
    refused(cp.Minimize(x * y), [], lower, {p: x}, "upper: is not linear: leader's times follower's")
    refused(cp.Minimize(x), [], lower, {p: y}, "leader p: y is the follower's")
    refused(cp.Minimize(x), [], lower, {p: cp.square(x)}, "leader p: is not affine")
    refused(cp.Minimize(x), [], lower, {p: cp.Variable(2)}, r"leader p: shape \(2,\)")
    refused(cp.Minimize(x), [], lower, {}, "parameter p: has no value and no leader variable")
    refused(cp.Minimize(x), [], lower, {p: x, cp.Parameter(name="q"): x}, "is no parameter of the lower problem")
    refused(cp.Minimize(x + p), [], lower, {p: x}, "parameter p: stands in the upper problem")
    refused(cp.Minimize(x), [cp.FiniteSet(y, [1, 2])], lower, {p: x}, "FiniteSet: is not of a leader variable")


def test_problems_without_an_answer_are_refused():
    x, y, p = cp.Variable(bounds=[0, 1], name="x"), cp.Variable(name="y"), cp.Parameter(name="p")
    unbounded = cp.Problem(cp.Minimize((1 + p) * y), [y <= 1])
    refused(
        cp.Minimize(x),
        [],
        unbounded,
        {p: x},
        "lower: is unbounded at every leader decision; bound the follower's",
        True,
    )
    impossible = cp.Problem(cp.Minimize(y), [y >= 3 + p, y <= 2])
    refused(cp.Minimize(x), [], impossible, {p: x}, "lower: has no feasible answer at any leader decision; relax", True)
    with_nan = cp.Problem(cp.Minimize(y), [y >= p + np.nan])
    refused(cp.Minimize(x), [], with_nan, {p: x}, r"NaN|not finite", True)


def test_a_leader_that_cannot_be_satisfied_is_infeasible_with_its_reason():
    tax, output, charge, plant = taxed_plant()
    found = BilevelProblem(cp.Minimize(tax), [output[1] >= 0.5, tax <= 3], plant, {charge: tax}).solve()
    assert (found.status, found.value, found.multipliers) == ("infeasible", None, ())
    assert found.linear.reason.startswith("leader: the follower's best answers break its rows at every decision; relax")


def test_the_linear_problem_behind_it_is_open_to_all():
    tax, output, charge, plant = taxed_plant()
    problem = BilevelProblem(cp.Minimize(tax), [output[0] <= 0.5], plant, {charge: tax})
    assert solve(problem.linear, "bigm").x == pytest.approx([4.0])
    assert problem.linear.y_name == ("output[0]", "output[1]") and problem.linear.row_name == ("constraint 0",)
