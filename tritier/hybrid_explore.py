"""Work on menu points that can be done anywhere: in this process, in another, on a cluster.

A task is a few menu points, the chance blocks known so far and the basis to start from; its answer depends on nothing
else, so that results do not depend on how many workers share the tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import joblib
import numpy as np

from tritier.cuts import Column, Cut, Shape, expand, limits_of, oracle, outer_cut, prices, response, tolerance, weighed
from tritier.hybrid_pool import Item, build, extend, items_of, priced_columns, starts_with
from tritier.instance import Design
from tritier.joint import JointLP

WEIGHTS = (64.0, 16.0, 4.0)  # lambda: from a deep cut for the point to a wide one for the menu
DEEPER = (1024.0, 16384.0)  # where the first is not deep enough
SPARE = (1e-2, 1e-4)  # $: what the follower may spend beyond its optimum in the value row, at later visits
SHORTFALL_PRICE = 1e3  # $/$: largest weight of the revenue row in a cut
REVENUE = (0.4, 0.05, 0.006, 0.0007)  # nu at lambda = 1, where the follower's own response does not recover the cost


@dataclass(frozen=True)
class Point:
    """A menu point to explore: the bound its cuts should reach, $, and how often it was visited (-1: the follower
    only); or a direction."""

    design: Design | None
    need: float
    visits: int = 0
    direction: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """Cuts and responses of one point, and the follower's optimum there (nan where it was not solved)."""

    cuts: list[Cut]
    columns: list[Column]
    theta: float


@dataclass(frozen=True, eq=False)
class Task:
    """Points for one worker. ``store`` is the file of (instance, network, lp); ``items`` are the LP's blocks and
    tangents."""

    store: str
    items: tuple[Item, ...]
    basis: tuple[bytes, bytes] | None
    points: tuple[Point, ...]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a task found, the items of its LP in their order, the basis it ended with, and its LP solves."""

    found: list[Found]
    items: list[Item]
    basis: tuple[bytes, bytes]
    solves: int


_built: dict[str, JointLP] = {}


def _joint(task: Task) -> JointLP:
    """The LP with exactly the task's items: this process's own where it fits, otherwise a new one."""
    joint = _built.get(task.store)
    if joint is None or not starts_with(list(task.items), items_of(joint)):
        _built.clear()
        joint = _built[task.store] = build(*joblib.load(task.store), [])
        joint.require_revenue(unit_design(joint))
        joint.require_revenue(None)
    extend(joint, list(task.items[len(items_of(joint)) :]))
    return joint


def explore(task: Task) -> Answer:
    """Explore the points of a task one after the other."""
    joint = _joint(task)
    begin = joint.warm.solves
    joint.warm.restart()  # nothing that this process solved before may steer the simplex
    if task.basis is not None:
        joint.warm.set_basis(task.basis)
    found = [explore_point(joint, point) for point in task.points]
    return Answer(found, items_of(joint), joint.warm.basis(), joint.warm.solves - begin)


def explore_point(joint: JointLP, point: Point) -> Found:
    """The follower at a point, then cuts of rising or falling lambda until they reach what is needed."""
    if point.direction is not None:
        cut, column = oracle(joint, np.array(point.direction))
        return Found([cut], [column] if column else [], np.nan)
    design, shape = point.design, Shape.of(joint)
    solution, cut, column = weighed(joint, design, (0.0, 1.0, 0.0))
    theta = solution.objective
    cuts, columns = [cut], [column] if column else []

    def add(weights) -> float:
        _, cut, column = weighed(joint, design, weights)
        cuts.append(cut)
        if column:
            columns.append(column)
        return bound_at(joint, shape, design, cut, weights, theta)

    if point.visits < 0:
        return Found(cuts, columns, theta)
    if point.visits > 0:
        cut, column = valued(joint, design, theta + SPARE[min(point.visits, len(SPARE)) - 1])
        return Found([*cuts, cut], columns + ([column] if column else []), theta)
    if column is None or recovered(joint, shape, design, column) < 0:
        for nu in REVENUE[:2] if point.visits == 0 else REVENUE[2:]:
            add((0.0, 1.0, nu))
            if most_revenue(joint, shape, design, cuts[-1], nu, theta) < joint.instance.fixed_cost:
                return Found(cuts, columns, theta)
    reached = [add((1.0, WEIGHTS[0], 0.0)) >= point.need]
    for weight in WEIGHTS[1:] if reached[0] else DEEPER:
        if not np.isfinite(point.need) or (reached[-1] != reached[0]):
            break
        reached.append(add((1.0, weight, 0.0)) >= point.need)
    return Found(cuts, columns, theta)


def valued(joint: JointLP, design: Design, ceiling: float) -> tuple[Cut, Column | None]:
    """The cut whose weights are the best at a design: min F with R + tau . E <= ceiling and tau . E - N >= K_fix.

    The duals of these two rows are lambda and nu; the other duals prove the cut, so that no second solve is needed.
    """
    lp, shape = joint.lp, Shape.of(joint)
    value, revenue, short = int(lp.row_at("value")), int(lp.row_at("revenue")), lp.at("shortfall").ravel()
    priced = priced_columns(lp)
    joint.warm.set_row_entries(value, dict(zip(priced.tolist(), (1.0, *prices(design)), strict=True)))
    joint.warm.set_rows(np.array([value]), np.array([-np.inf]), np.array([ceiling]))
    joint.require_revenue(design)
    joint.warm.set_bounds(short, np.zeros(1), np.full(1, 1e6))
    joint.offer(design)
    cost = np.zeros(lp.cost.size)
    cost[lp.at("F")], cost[short] = 1.0, SHORTFALL_PRICE
    try:
        solution = joint.settle(cost)
    finally:
        joint.warm.set_rows(np.array([value]), np.array([-np.inf]), np.array([np.inf]))
        joint.warm.set_row_entries(value, dict.fromkeys(priced.tolist(), 1.0))
        joint.require_revenue(unit_design(joint))  # idle rows look the same in every process
        joint.require_revenue(None)
        joint.warm.set_bounds(short, np.zeros(1), np.zeros(1))
        joint.offer(None)
    lam, nu = max(0.0, -solution.y[value]), max(0.0, solution.y[revenue])
    mu = -solution.reduced[lp.at("cap")] if joint.lines else 0.0
    y = solution.y.copy()
    y[[value, revenue]] = 0.0
    x = solution.x.copy()
    x[short] = 0.0  # the shortfall belongs to the DSO, not to the response
    return outer_cut(joint, expand(shape, (1.0, lam, nu), prices(design), mu), y), response(joint, x)


def unit_design(joint: JointLP) -> Design:
    """A design of unit prices, whose coefficients the idle revenue row carries."""
    return Design((1.0,) * joint.lp.at("G").size, 1.0)


def recovered(joint: JointLP, shape: Shape, design: Design, column: Column) -> float:
    """Revenue beyond the cost to recover at a response, $."""
    z = column.z
    return float(prices(design) @ z[shape.energy] - z[2] - joint.instance.fixed_cost)


def most_revenue(joint: JointLP, shape: Shape, design: Design, cut: Cut, nu: float, theta: float) -> float:
    """The bound on tau . E - N that a cut of weights (0, 1, nu) gives at its own design, $."""
    unit = 1.0 / cut.direction[1]
    held = float(cut.direction[shape.capacity] @ limits_of(joint, design))
    return float(theta + tolerance(theta) - unit * (cut.value - held)) / nu


def bound_at(joint: JointLP, shape: Shape, design: Design, cut: Cut, weights, theta: float) -> float:
    """The bound on F that one cut alone gives at its own design."""
    phi, lam, nu = weights
    if phi == 0:
        return -np.inf
    unit = phi / cut.direction[0]  # cuts are stored scaled
    held = float(cut.direction[shape.capacity] @ limits_of(joint, design))
    return float(unit * (cut.value - held) - lam * (theta + tolerance(theta)) + nu * joint.instance.fixed_cost) / phi
