"""Bilevel programs of a cvxpy user: values and multipliers written back, and mistakes refused in one sentence."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from bilevel_hostile import PROGRAMS
from bilevel_problems import PUBLISHED, as_cvxpy

from tritier.bilevel import BilevelProblem, linear_bilevel, solve
from tritier.errors import InputError
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


class Mistake:
    """A problem that is right but for what is given: min x over y in argmin (1 + p) y1 - y2, y1 + y2 <= 1, p = x."""

    def __init__(self, match: str, **changes) -> None:
        self.match, self.changes = match, changes

    def solve(self):
        x, p = cp.Variable(bounds=[0, 1], name="x"), cp.Parameter(name="p")
        y = self.changes.get("y") or cp.Variable(2, nonneg=True, name="y")
        parts = {
            "goal": lambda x, y, p: cp.Minimize((1 + p) * y[0] - y[1]),
            "rows": lambda x, y, p: [cp.sum(y) <= 1],
            "upper": lambda x, y, p: cp.Minimize(x),
            "upper_rows": lambda x, y, p: [],
            "leader": lambda x, y, p: {p: x},
            "lower": lambda x, y, p: cp.Problem(made("goal"), made("rows")),
        } | self.changes

        def made(part):
            return parts[part](x, y, p)

        lower = made("lower")
        return BilevelProblem(made("upper"), made("upper_rows"), lower, made("leader")).solve()


MISTAKES = {
    "quadratic cost below": Mistake(
        "lower: has a quadratic or conic objective or constraint, no linear program; replace it by linear pieces",
        goal=lambda x, y, p: cp.Minimize(cp.sum_squares(y) + p * y[0]),
    ),
    "cone below": Mistake("lower: has a quadratic or conic objective", rows=lambda x, y, p: [cp.norm(y) <= 1]),
    "exponential below": Mistake(
        "lower: has a quadratic or conic objective", goal=lambda x, y, p: cp.Minimize(cp.exp(y[0]) + p * y[1])
    ),
    "concave cost below": Mistake(
        "lower: is not convex; give a problem that cvxpy itself solves, with a cp.Parameter for what the leader",
        goal=lambda x, y, p: cp.Minimize(p * y[0] - cp.square(y[1])),
    ),
    "parameter squared": Mistake("lower: .*not affine", goal=lambda x, y, p: cp.Minimize((p * p) * y[0])),
    "parameter in the matrix": Mistake(
        "lower constraint 0: multiplies a variable by the leader's p; let the leader set prices in the objective",
        rows=lambda x, y, p: [p * y[0] + y[1] <= 1],
    ),
    "leader variable in the matrix": Mistake(
        "lower: is not convex; .* cp.Parameter for what the leader decides", rows=lambda x, y, p: [x * y[0] <= 1]
    ),
    "leader variable as a side": Mistake(
        "leader p: x is the follower's: it stands in the lower problem itself; use the parameter there",
        rows=lambda x, y, p: [y[0] + y[1] <= 1 + x],
    ),
    "no parameter at all": Mistake(
        "leader: names no parameter, .*; use a cp.Parameter in the lower problem and give",
        goal=lambda x, y, p: cp.Minimize(y[0] - y[1] + x), leader=lambda x, y, p: {},
    ),
    "follower's variable as leader": Mistake("leader p: y is the follower's", leader=lambda x, y, p: {p: y[0]}),
    "square of the leader": Mistake("leader p: is not affine", leader=lambda x, y, p: {p: cp.square(x)}),
    "shape": Mistake(r"leader p: shape \(2,\)", leader=lambda x, y, p: {p: cp.Variable(2)}),
    "text for a variable": Mistake("leader p: 'x' is no expression", leader=lambda x, y, p: {p: "x"}),
    "list for a mapping": Mistake("leader: names no parameter", leader=lambda x, y, p: [p]),
    "parameter of nothing": Mistake(
        "leader q: is no parameter of the lower problem", leader=lambda x, y, p: {p: x, cp.Parameter(name="q"): x}
    ),
    "parameter without a value": Mistake(
        "parameter q: has no value and no leader variable; give it a value, or name its variable in leader",
        rows=lambda x, y, p: [cp.sum(y) <= cp.Parameter(name="q")],
    ),
    "parameter above": Mistake("parameter p: stands in the upper problem", upper=lambda x, y, p: cp.Minimize(x + p)),
    "whole numbers below": Mistake(
        "lower variable lots: is an integer: a mixed-integer follower has no optimality conditions",
        y=cp.Variable(2, integer=True, name="lots"), rows=lambda x, y, p: [y >= 0, cp.sum(y) <= 1],
    ),
    "one whole number below": Mistake(
        "lower variable lots: is an integer", y=cp.Variable(2, integer=[(0,)], name="lots"),
        rows=lambda x, y, p: [y >= 0, cp.sum(y) <= 1],
    ),
    "menu below": Mistake(
        "lower: has a finite set: a mixed-integer follower", rows=lambda x, y, p: [cp.FiniteSet(y[0], [0, 1])]
    ),
    "menu of the follower": Mistake(
        "FiniteSet: is not of a leader variable", upper_rows=lambda x, y, p: [cp.FiniteSet(y[0], [1, 2])]
    ),
    "menu with nan": Mistake("FiniteSet: x has no level", upper_rows=lambda x, y, p: [cp.FiniteSet(x, [0, np.nan])]),
    "empty menu": Mistake("FiniteSet: x has no level", upper_rows=lambda x, y, p: [cp.FiniteSet(x, [])]),
    "parameter as a bound": Mistake(
        "lower variable b: is bounded by the parameter", y=cp.Variable(2, bounds=[0, cp.Parameter()], name="b")
    ),
    "symmetric": Mistake(
        "variable tied: has an attribute", y=cp.Variable((2, 2), symmetric=True, name="tied"),
        goal=lambda x, y, p: cp.Minimize(p * y[0, 0]), rows=lambda x, y, p: [y >= 0],
    ),
    "product above": Mistake("upper: is not linear", upper=lambda x, y, p: cp.Minimize(x * y[0])),
    "quadratic above": Mistake("upper: is not linear", upper=lambda x, y, p: cp.Minimize(cp.square(x))),
    "no objective": Mistake("upper: is no objective; give cp.Minimize", upper=lambda x, y, p: x),
    "one row for a list": Mistake("upper_constraints: is no list", upper_rows=lambda x, y, p: x <= 1),
    "objective for a problem": Mistake("lower: is no problem", lower=lambda x, y, p: cp.Minimize(p * y[0])),
    "unbounded follower": Mistake(
        "lower: is unbounded at every leader decision; bound the follower's variables or mend its cost",
        rows=lambda x, y, p: [y[0] <= 1],
    ),
    "unbounded where the leader's rows let it go": Mistake(
        "lower: is unbounded at every leader decision; bound the follower's variables or mend its cost",
        upper_rows=lambda x, y, p: [x >= 0.5], goal=lambda x, y, p: cp.Minimize(-p * y[0]),
        rows=lambda x, y, p: [y >= 0],
    ),
    "infeasible for every leader": Mistake(
        "lower: has no feasible response at any leader decision; relax the follower's rows or bounds",
        rows=lambda x, y, p: [y[0] >= 3 + p, y[0] <= 2],
    ),
    "menus that never meet": Mistake(
        "FiniteSet: x has sets without a common level; give one set",
        upper_rows=lambda x, y, p: [cp.FiniteSet(x, [0, 1]), cp.FiniteSet(x, [0.5, 0.25])],
    ),
    "no variables below": Mistake(
        "lower: has no variables; give it what the follower decides",
        lower=lambda x, y, p: cp.Problem(cp.Minimize(p), [p >= 0]),
    ),
    "nan as a side": Mistake("not finite; give finite numbers", rows=lambda x, y, p: [cp.sum(y) <= p + np.nan]),
    "nan in the follower's cost": Mistake(
        "f: holds a number that is not finite", goal=lambda x, y, p: cp.Minimize(p * y[0] + np.array([0, np.nan]) @ y)
    ),
    "nan in the leader's cost": Mistake("F: holds .* not finite", upper=lambda x, y, p: cp.Minimize(np.nan * x)),
    "nan in the leader's row": Mistake("hold a nan; give numbers", upper_rows=lambda x, y, p: [x <= np.nan]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_with_its_mend(name):
    with pytest.raises(InputError, match=MISTAKES[name].match) as error:
        MISTAKES[name].solve()
    text = str(error.value)
    assert text.count("\n") == 0 and text.startswith("BilevelProblem: ") and text.count("; ") == 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_programs(name):
    """The optimum, and a point that holds: all rows, the leader's parameters, the follower's answer by cvxpy alone."""
    upper, rows, lower, leader, optimum = PROGRAMS[name]()
    found = BilevelProblem(upper, rows, lower, leader).solve()
    assert (found.status, found.value) == ("optimal", pytest.approx(optimum, abs=1e-6 * max(1.0, abs(optimum))))
    assert found.proof in ("second opinion", "enumeration") and upper.value == pytest.approx(found.value, abs=1e-6)
    for row in (*rows, *lower.constraints):
        if not isinstance(row, cp.FiniteSet):
            assert np.max(row.violation()) < 1e-5
    for parameter, expression in leader.items():
        assert parameter.value == pytest.approx(getattr(expression, "value", expression), abs=1e-6)
    claimed = lower.objective.value
    assert claimed == pytest.approx(lower.solve(solver=cp.HIGHS), abs=1e-6 * max(1.0, abs(claimed)))


def test_a_constant_parameter_with_another_value_is_another_problem():
    """Twice the need is served at twice the follower's cost; without a value it is refused."""
    tax, output, charge, need = *taxed_plant()[:3], cp.Parameter(value=1.0, name="need")
    plant = cp.Problem(cp.Minimize((2 + charge) * output[0] + 6 * output[1]), [cp.sum(output) == need])
    problem = BilevelProblem(cp.Minimize(tax + output[1]), [output[0] <= 0.5], plant, {charge: tax})
    assert problem.solve().value == pytest.approx(4.5) and problem.linear is problem.linear
    need.value = 2.0
    assert problem.solve().value == pytest.approx(5.5) and output.value.sum() == pytest.approx(2.0)
    need.value = None
    with pytest.raises(InputError, match="parameter need: has no value and no leader variable; give it a value"):
        problem.solve()


def test_multipliers_of_rows_with_one_label_and_of_a_row_given_twice():
    x, p, y = cp.Variable(bounds=[0, 4]), cp.Parameter(), cp.Variable(2, nonneg=True)
    idle, tight = (y[0] >= p - 4.5).set_label("cap"), (y[1] >= p).set_label("cap")
    lower = cp.Problem(cp.Minimize(5 * y[0] + 7 * y[1]), [idle, tight, tight])
    found = BilevelProblem(cp.Minimize(-x), [], lower, {p: x}).solve()
    assert [float(m) for m in found.multipliers] == pytest.approx([0.0, 7.0, 7.0])
    assert tight.dual_value == pytest.approx(7.0) and idle.dual_value == pytest.approx(0.0)
    assert {"mu_up[cap]", "mu_up[cap (2)]"} <= set(found.linear.multipliers)
    with pytest.raises(InputError, match="row_name: names two alike"):
        linear_bilevel([1, 1], [0, 1], 1, lower=(np.ones((2, 2)), [0, 0], [1, 1]), row_name=["cap", "cap"])


def test_names_that_latex_reads_as_commands_are_escaped():
    x, p, y = cp.Variable(bounds=[0, 1], name="50%_a&b"), cp.Parameter(), cp.Variable(nonneg=True, name=r"y^2{}$#~\ ")
    text = BilevelProblem(cp.Minimize(x), [], cp.Problem(cp.Minimize(p * y), [y <= 1]), {p: x}).kkt().typeset()
    assert r"\mathrm{50\%\_a\&b}" in text and r"\mathrm{y\hat{\ }2\{\}\$\#\sim \backslash \ }" in text


@pytest.mark.parametrize("options", [{"time_limit": -1}, {"time_limit": np.nan}, {"gap": "5"}, {"big_m": -3.0}])
def test_an_option_that_is_no_size_is_refused(options):
    tax, _, charge, plant = taxed_plant()
    with pytest.raises(InputError, match=f"{next(iter(options))}: .* is no size; give a number that is not negative"):
        BilevelProblem(cp.Minimize(tax), [], plant, {charge: tax}).solve("bigm", **options)


def test_without_a_mistake_it_is_solved():
    assert Mistake("").solve().value == pytest.approx(0.0)


def test_a_sign_of_a_parameter_binds_the_leader():
    """max p y needs p >= 0 to be a problem for cvxpy at all, and x = -2 would be best."""
    x, y, p = cp.Variable(bounds=[-2, 2]), cp.Variable(), cp.Parameter(nonneg=True)
    lower = cp.Problem(cp.Minimize(p * cp.abs(y - 1) + y), [y >= 0])
    found = BilevelProblem(cp.Minimize(x), [], lower, {p: x}).solve()
    assert found.value == pytest.approx(0.0) and x.value == pytest.approx(0.0) and p.value == pytest.approx(x.value)


def test_the_pessimistic_reading_in_the_users_sense():
    """At x = 0 the follower does not mind y1: the leader hopes for 1 and must fear 0."""
    x, y, p = cp.Variable(bounds=[0, 1]), cp.Variable(nonneg=True), cp.Parameter()
    problem = BilevelProblem(cp.Maximize(y - 5 * x), [], cp.Problem(cp.Minimize(p * y), [y <= 1]), {p: x})
    found = problem.solve()
    assert found.value == pytest.approx(1.0) and problem.pessimistic(found) == pytest.approx(0.0)


def test_a_leader_that_cannot_be_satisfied_is_infeasible_with_its_reason():
    tax, output, charge, plant = taxed_plant()
    found = BilevelProblem(cp.Minimize(tax), [output[1] >= 0.5, tax <= 3], plant, {charge: tax}).solve()
    assert (found.status, found.value, found.multipliers) == ("infeasible", None, ())
    assert found.linear.reason.startswith(
        "leader: the follower's best responses break its rows at every decision; relax"
    )
    problem = BilevelProblem(cp.Minimize(tax), [output[1] >= 0.5, tax <= 3], plant, {charge: tax})
    with pytest.raises(InputError, match="pessimistic: an outcome that is infeasible holds no decision; ask where"):
        problem.pessimistic(found)
    whole = cp.Variable(bounds=[0.2, 0.8], integer=True, name="whole")
    found = BilevelProblem(cp.Minimize(whole), [], plant, {charge: whole}).solve()
    assert found.linear.reason == "leader: whole has no integer within its bounds; widen them"


def test_the_linear_problem_behind_it_is_open_to_all():
    tax, output, charge, plant = taxed_plant()
    problem = BilevelProblem(cp.Minimize(tax), [output[0] <= 0.5], plant, {charge: tax})
    assert solve(problem.linear, "bigm").x == pytest.approx([4.0])
    assert problem.linear.y_name == ("output[0]", "output[1]") and problem.linear.row_name == ("constraint 0",)
