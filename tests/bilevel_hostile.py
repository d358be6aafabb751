"""Programs of cvxpy users that are made to go wrong: units, ties, names, shapes, free and missing parts.

Each gives upper objective, upper constraints, lower problem, leader, and the optimum: by hand, or by enumeration with
cvxpy alone (the follower solved at each decision of the leader, then the leader's favourite among its best answers).
"""

from __future__ import annotations

from collections.abc import Callable

import cvxpy as cp
import numpy as np

Program = tuple[cp.Minimize | cp.Maximize, list, cp.Problem, dict, float]
PROGRAMS: dict[str, Callable[[], Program]] = {}


def program(make: Callable[[], Program]) -> Callable[[], Program]:
    PROGRAMS[make.__name__] = make
    return make


def pair(
    low: float = 0.0, high: float = 4.0, size: int = 2, **attributes
) -> tuple[cp.Variable, cp.Parameter, cp.Variable]:
    """A leader variable in bounds, the parameter that takes it, and a follower's variable at least 0."""
    return cp.Variable(bounds=[low, high], **attributes), cp.Parameter(), cp.Variable(size, nonneg=True)


@program
def units_far_apart():
    toll, charge, through = pair(0, 1000, 3)
    around, cars = cp.Variable(3, nonneg=True), np.array([4e5, 3e5, 5e5])
    cost = 1e-5 * (charge * cp.sum(through) + np.array([100.0, 200.0, 600.0]) @ around)
    goal = cp.Minimize(cp.sum(through) / 1e5 + 0.02 * toll)
    return goal, [], cp.Problem(cp.Minimize(cost), [through + around == cars]), {charge: toll}, 9.0


@program
def degenerate_vertex():
    """Seven rows meet in the follower's answer (x, x)."""
    x, p, y = pair()
    rows = [y[0] + y[1] <= 2 * p, y[0] <= y[1], 2 * y[0] <= 2 * y[1], y <= p, 3 * y[0] + y[1] <= 4 * p]
    goal = cp.Minimize(y[0] - 3 * y[1] + 2 * cp.abs(x - 1))
    return goal, [], cp.Problem(cp.Maximize(y[0] + y[1]), [*rows, y[0] + 3 * y[1] <= 4 * p]), {p: x}, -2.0


@program
def equations_and_free_variables():
    """The follower has no choice at all."""
    x, p, y = cp.Variable(bounds=[-5, 5], integer=True), cp.Parameter(), cp.Variable(3)
    rows = [np.array([[1, 1, 0], [0, 1, -1], [1, 0, 2.0]]) @ y == cp.hstack([p, 1, 2 * p])]
    goal = cp.Minimize(cp.abs(y[0] - 1) + cp.abs(y[2]))
    return goal, [], cp.Problem(cp.Minimize(y[0]), rows), {p: x}, 3.0


@program
def no_rows_below():
    x, p, y = cp.Variable(2, bounds=[-2, 2]), cp.Parameter(2), cp.Variable(2, bounds=[-1, 3])
    lower = cp.Problem(cp.Minimize((p - np.array([0.5, 1.0])) @ y))
    return cp.Maximize(y[0] - 2 * y[1] - x[0]), [x[0] + x[1] >= 1], lower, {p: x}, 6.0


@program
def leader_without_bounds():
    x, p, y = cp.Variable(), cp.Parameter(), cp.Variable(nonneg=True)
    return cp.Minimize(cp.abs(x - 7) + 3 * y), [], cp.Problem(cp.Minimize(y), [y >= p - 4, y >= -p]), {p: x}, 3.0


@program
def leader_without_a_choice():
    x, p, y = pair(2, 2)
    lower = cp.Problem(cp.Minimize(p * y[0] + 2 * y[1]), [cp.sum(y) == 1])
    return cp.Minimize(y[0] - y[1]), [], lower, {p: x}, -1.0


@program
def parameter_times_sums_with_constants():
    """y2 costs -3 x - (x - 1) / 2 a unit: the leader stops at x = 1/7, where the follower does not mind it."""
    x, p, y = cp.Variable(bounds=[-2, 2]), cp.Parameter(), cp.Variable(2, bounds=[0, 1])
    lower = cp.Problem(cp.Minimize(p * (2 * y[0] - 3 * y[1] + 5) + 7 - (p - 1) * y[1] / 2 + 2 * p))
    return cp.Minimize(y[0] - 4 * y[1] + x), [], lower, {p: x}, -27 / 7


@program
def matrix_of_prices():
    x, p, y = cp.Variable((2, 3), integer=True, bounds=[0, 2]), cp.Parameter((2, 3)), cp.Variable((2, 3), nonneg=True)
    rows = [cp.sum(y, axis=0) == np.array([1, 2, 1.0]), cp.sum(y, axis=1) <= np.array([3, 2.0])]
    lower = cp.Problem(cp.Minimize(cp.sum(cp.multiply(p + np.array([[1, 2, 3], [2, 1, 1.0]]), y))), rows)
    goal = cp.Maximize(cp.sum(x[:, 0]) * 0.1 + 2 * y[0, 2] - y[1, 0])
    return goal, [cp.sum(x) <= 3], lower, {p: x}, 2.2


@program
def reshaped_and_transposed():
    x, p, y = cp.Variable((2, 2), boolean=True), cp.Parameter((2, 2)), cp.Variable(4, nonneg=True)
    rows = [y <= cp.reshape(p.T, (4,), order="C"), cp.vec(p, order="F")[1] + 1 >= y[0] + y[3], y[1] + y[2] <= 1.5]
    lower = cp.Problem(cp.Maximize(np.array([1, 2, 3, 4.0]) @ y), rows)
    goal = cp.Maximize(3 * y[0] + y[1] - y[2] + 2 * y[3] - cp.sum(x))
    return goal, [cp.sum(x) <= 3], lower, {p: x}, 3.0


@program
def sums_and_slices_of_a_parameter():
    x, p, y = cp.Variable((2, 3), boolean=True), cp.Parameter((2, 3)), cp.Variable(3, nonneg=True)
    rows = [y <= cp.sum(p, axis=0), cp.sum(y) <= 1 + p[1, 2] + cp.sum(p[0, 1:]), y[0] <= cp.trace(p[:, :2])]
    lower = cp.Problem(cp.Maximize(np.array([3, 2, 1.0]) @ y), rows)
    return cp.Minimize(2 * y[0] - 3 * y[1] - y[2] + 0.4 * cp.sum(x)), [], lower, {p: x}, -6.4


@program
def cumulated():
    x, p, y = cp.Variable(3, integer=True, bounds=[0, 2]), cp.Parameter(3), cp.Variable(3)
    lower = cp.Problem(cp.Minimize(cp.sum(y)), [y >= cp.cumsum(p) - 2, y[1:] >= cp.diff(p), y >= -3])
    return cp.Minimize(cp.sum(y) - x[0] + 2 * x[1] - 1.5 * x[2]), [], lower, {p: x}, -4.0


@program
def integers_in_broken_bounds():
    x, p, y = cp.Variable(integer=True, bounds=[-3.7, 2.2]), cp.Parameter(), cp.Variable()
    return cp.Minimize(y + 0.5 * x), [], cp.Problem(cp.Minimize(y), [y >= p, y >= -2 * p - 1]), {p: x}, 0.0


@program
def menu_of_a_vector():
    x, p, y = cp.Variable(3), cp.Parameter(3), cp.Variable(3, nonneg=True)
    rows = [cp.FiniteSet(x, [0.5, 2, -1]), cp.sum(x) >= 1]
    lower = cp.Problem(cp.Minimize((p - 1) @ y), [y <= np.array([1, 2, 3])])
    return cp.Maximize(cp.sum(y) + 0.1 * cp.sum(x)), rows, lower, {p: x}, 6.15


@program
def menus_that_meet():
    """Two sets of one variable: only 2 is in both."""
    x, p, y = pair(0, 9)
    lower = cp.Problem(cp.Minimize(p * y[0] + 3 * y[1]), [cp.sum(y) == 1])
    return cp.Maximize(x), [cp.FiniteSet(x, [1, 2]), cp.FiniteSet(x, [2, 3])], lower, {p: x}, 2.0


@program
def menu_of_an_integer():
    """1.5 is no integer and 7 is out of bounds."""
    x, p, y = pair(0, 5, integer=True)
    lower = cp.Problem(cp.Minimize(p * y[0] + y[1]), [cp.sum(y) == 1])
    return cp.Minimize(x), [cp.FiniteSet(x, [1.5, 2, 7])], lower, {p: x}, 2.0


@program
def one_parameter_as_price_and_side():
    x, p, y = pair(integer=True)
    lower = cp.Problem(cp.Minimize((p - 2) * y[0] + y[1]), [cp.sum(y) == p, y[0] <= 3])
    return cp.Minimize(3 * y[0] + y[1] - x), [], lower, {p: x}, 0.0


@program
def two_parameters_of_one_variable():
    x, p, y = pair(integer=True)
    q = cp.Parameter()
    lower = cp.Problem(cp.Minimize(p * y[0] + 2 * y[1]), [cp.sum(y) >= q, y <= 3])
    return cp.Minimize(2 * y[0] - y[1]), [], lower, {p: x, q: 5 - x}, -3.0


@program
def a_number_for_a_parameter():
    x, p, y = cp.Variable(bounds=[0, 2]), cp.Parameter(), cp.Variable(nonneg=True)
    q = cp.Parameter()
    return cp.Minimize(y - x), [], cp.Problem(cp.Minimize(y), [y >= p * 2, y >= q]), {p: x, q: 3.0}, 1.5


@program
def parameter_alone_in_a_row():
    """Beyond 3 the follower has no answer, which binds the leader."""
    x, p, y = cp.Variable(bounds=[0, 9]), cp.Parameter(), cp.Variable(nonneg=True)
    return cp.Maximize(x - y), [], cp.Problem(cp.Minimize(y), [p <= 3, y >= p - 1]), {p: x}, 1.0


@program
def follower_without_a_cost():
    x, p, y = pair(0, 3)
    lower = cp.Problem(cp.Minimize(0), [cp.sum(y) == p, y[0] - y[1] <= 1])
    return cp.Minimize(x - 2 * y[0] + y[1]), [], lower, {p: x}, -1.0


@program
def piecewise_linear_below():
    x, p, y = cp.Variable(2, integer=True, bounds=[-2, 2]), cp.Parameter(2), cp.Variable(2, bounds=[-4, 4])
    cost = cp.max(y - p) + cp.sum(cp.pos(p - 2 * y)) + cp.sum_largest(y, 1) * 0.5
    goal = cp.Minimize(cp.max(y) + cp.norm1(x) * 0.3)
    return goal, [cp.abs(y[0]) <= 3], cp.Problem(cp.Minimize(cost)), {p: x}, 0.0


@program
def names_that_collide():
    x, p = cp.Variable(2, bounds=[0, 3], integer=True, name="y"), cp.Parameter(2, name="y")
    a, b = cp.Variable(nonneg=True, name="y"), cp.Variable(nonneg=True, name="y")
    rows = [(a >= p[0] - 1).set_label("cap"), (b >= 2 * p[1] - 1).set_label("cap"), a + b <= 5]
    goal = cp.Minimize(a - 2 * b + x[0] + x[1])
    return goal, [], cp.Problem(cp.Minimize(a + 2 * b), rows), {p: x}, -7.0


@program
def large_constants():
    x, p, y = cp.Variable(bounds=[0, 3]), cp.Parameter(), cp.Variable(nonneg=True)
    lower = cp.Problem(cp.Maximize(y * (2 - p) + 1e8), [y <= 5])
    return cp.Minimize(1e7 + x - 3 * y), [], lower, {p: x}, 1e7 - 15


@program
def ties_the_leader_breaks():
    x, p, y = pair(0, 2, 4)
    lower = cp.Problem(cp.Minimize(p * cp.sum(y[:2]) + cp.sum(y[2:])), [cp.sum(y) == 1, y <= 0.5])
    return cp.Minimize(np.array([3, 1, -1, -2]) @ y + 2 * x), [y[3] <= 0.25], lower, {p: x}, 1.25


@program
def three_dimensions():
    x, p, y = cp.Variable((2, 2, 2), boolean=True), cp.Parameter((2, 2, 2)), cp.Variable((2, 2, 2), nonneg=True)
    weights = np.arange(1, 9.0).reshape(2, 2, 2) - 4.5
    lower = cp.Problem(cp.Maximize(cp.sum(y)), [y <= p + 0.5])
    return cp.Minimize(cp.sum(cp.multiply(weights, y))), [cp.sum(x) <= 3], lower, {p: x}, -7.5


@program
def a_row_given_twice():
    x, p, y = pair(0, 5)
    row = cp.sum(y) >= p
    lower = cp.Problem(cp.Minimize(y[0] + 2 * y[1]), [row, row, y <= 2])
    return cp.Minimize(y[0] - 2 * x), [x <= 3], lower, {p: x}, -4.0


@program
def maximising_below():
    x, p, y = pair(0, 5)
    lower = cp.Problem(cp.Maximize((3 - p) * y[0] + y[1]), [cp.sum(y) <= 4, y <= 3])
    return cp.Maximize(x * 0.1 + y[1]), [], lower, {p: x}, 3.5


@program
def an_empty_variable():
    x, p, y = pair(0, 9)
    lower = cp.Problem(cp.Minimize((2 + p) * y[0] + 6 * y[1] + cp.sum(cp.Variable(0))), [cp.sum(y) == 1])
    return cp.Minimize(x), [y[0] <= 0.5], lower, {p: x}, 4.0


@program
def menu_of_large_prices():
    x, p, y = cp.Variable(), cp.Parameter(), cp.Variable(2, nonneg=True)
    lower = cp.Problem(cp.Minimize(p * y[0] + 2e5 * y[1]), [cp.sum(y) == 7])
    return cp.Maximize(y[0]), [cp.FiniteSet(x, [1e5, 3e5, 2e5])], lower, {p: x}, 7.0


@program
def sign_of_a_parameter():
    x, p, y = cp.Variable(bounds=[-1, 4], integer=True), cp.Parameter(nonneg=True), cp.Variable(2, bounds=[-2, 2])
    lower = cp.Problem(cp.Minimize(p * cp.norm_inf(y - np.array([1, -1.0])) + cp.sum(y)))
    return cp.Minimize(y[0] - y[1] + x * 0.1), [], lower, {p: x}, 0.0
