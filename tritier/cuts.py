"""Cuts and responses: what one solve of the follower LP tells about the whole menu.

The levels touch only through z = (F, R, N, E, cap): social cost, prosumers' risk-adjusted cost, network cost to
recover, energy per tariff component (billed energy by block, then P2P volume) and capacity limits. Z is the convex
set of z that feasible follower decisions reach. A direction d on z gives an outer cut d . z >= support(d); the point
found is a response.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from tritier.instance import Design
from tritier.joint import JointLP
from tritier.market import line_position
from tritier.parametric import LPSolution, primal_residual, safe_bound

TIE_BREAK = 1e-5  # least weight on F, R and N, so that the point found lies on the boundary of Z
GRID = 1e8  # values are put on a grid of 1e-8, so that the last bits of a machine's arithmetic do not steer the search
ROUNDING = 1e-9  # relative: by how much a cut is lowered for the rounding of its safe value
RESIDUAL = 1e-6  # kW, kWh, $: primal residual up to which a response counts
CAPACITY_PRICE = 1.0  # $/kW: largest weight of a capacity in a separating direction


@dataclass(frozen=True, eq=False)
class Cut:
    """An outer (Benders) cut direction . z >= value of Z, with the row duals that prove it."""

    direction: np.ndarray  # (3 + B + 1 + C,)
    value: float
    duals: np.ndarray  # (m,), of the LP it comes from


@dataclass(frozen=True, eq=False)
class Column:
    """A response (C&CG column): a point of Z with the capacities it needs."""

    z: np.ndarray  # (3 + B + 1 + C,)
    x: np.ndarray  # (n,), the decisions


@dataclass(frozen=True, eq=False)
class Shape:
    """Where the parts of z stand: F, R, N, then energies (B + 1), then capacities (C)."""

    energies: int
    capacities: int

    @classmethod
    def of(cls, joint: JointLP) -> Shape:
        return cls(joint.lp.at("G").size + 1, len(joint.lines))

    @property
    def size(self) -> int:
        return 3 + self.energies + self.capacities

    @property
    def energy(self) -> slice:
        return slice(3, 3 + self.energies)

    @property
    def capacity(self) -> slice:
        return slice(3 + self.energies, self.size)


def touched(joint: JointLP) -> np.ndarray:
    """Column positions of z in the LP."""
    names = ("F", "R", "N", "G", "Z") + (("cap",) if joint.lines else ())
    return np.concatenate([np.atleast_1d(joint.lp.at(name)).ravel() for name in names])


def spread(joint: JointLP, direction: np.ndarray) -> np.ndarray:
    """Cost vector of the LP that minimises direction . z."""
    cost = np.zeros(joint.lp.cost.size)
    cost[touched(joint)] = direction
    return cost


def prices(design: Design) -> np.ndarray:
    """Prices of the energy components of a design, $/kWh, (B + 1,)."""
    return np.array([*design.tariff, design.p2p])


def limits_of(joint: JointLP, design: Design) -> np.ndarray:
    """Capacity limits of a design in the order of z, kW, (C,); the largest where it sets none."""
    if not joint.lines:
        return np.empty(0)
    given, top = dict(design.capacity), joint.lp.col_upper[joint.lp.at("cap")]
    return np.array([given.get(line, limit) for line, limit in zip(joint.lines, top, strict=True)])


def tolerance(theta: float) -> float:
    """delta = 1e-7 max(1, |theta|), $: what a follower's cost may exceed its optimum by."""
    return 1e-7 * max(1.0, abs(theta))


def expand(shape: Shape, weights, price: np.ndarray, capacity=0.0) -> np.ndarray:
    """The direction with weights (phi, lambda, nu) at tariffs ``price`` and weights mu of the capacities."""
    phi, lam, nu = weights
    direction = np.zeros(shape.size)
    direction[:3] = phi, lam, nu
    direction[shape.energy] = (lam - nu) * price
    direction[shape.capacity] = np.maximum(capacity, 0.0)
    return direction


def outer_cut(joint: JointLP, direction: np.ndarray, y: np.ndarray) -> Cut:
    """The cut of a direction whose value is safe for any row duals y.

    Valid: the LP's feasible set, with the capacity columns free within the menu, contains every response to every
    design (missing chance blocks and loss tangents only enlarge it), and the Neumaier-Shcherbina value bounds
    direction . z there.
    """
    scale = np.abs(direction).max()
    direction = np.round(direction / scale, 11)
    value = safe_bound(joint.lp, spread(joint, direction), y / scale)
    value -= ROUNDING * max(1.0, abs(value))
    return Cut(direction, np.floor(value * GRID) / GRID, y / scale)


def response(joint: JointLP, x: np.ndarray) -> Column | None:
    """The response of a settled point of the LP, or None where its residuals are too large.

    Valid: the follower may choose it at every design whose capacities are at least those that its flows need, or,
    where it buys violations, those it was offered: every block that these would violate is in the LP.
    So theta(tau, cap) <= R + tau . E there.
    """
    lp = joint.lp
    if primal_residual(lp, x) > RESIDUAL:
        return None
    z = x[touched(joint)].copy()
    if joint.lines:
        offered, lowest = x[lp.at("cap")], lp.col_lower[lp.at("cap")]
        need = lowest
        if joint.sees_network:
            load = joint.net_load(x)
            where = [line_position(joint.instance, line) for line in joint.lines]
            need = np.array([joint.network.required_capacity(load, line) for line in where])
        z[Shape.of(joint).capacity] = np.clip(need, lowest, offered)
    return Column(np.ceil(z * GRID) / GRID, x)


def oracle(joint: JointLP, direction: np.ndarray) -> tuple[Cut, Column | None]:
    """support(d): the least direction . z over Z, as a cut, and the response found there.

    A capacity of weight zero is offered at its largest: Z grows with the capacities, so nothing is lost.
    """
    joint.offer(None)
    if joint.lines:
        at = joint.lp.at("cap")
        idle = at[direction[Shape.of(joint).capacity] == 0]
        joint.warm.set_bounds(idle, joint.lp.col_upper[idle], joint.lp.col_upper[idle])
    solution = joint.settle(spread(joint, direction))
    joint.offer(None)
    return outer_cut(joint, direction, solution.y), response(joint, solution.x)


def weighed(joint: JointLP, design: Design, weights) -> tuple[LPSolution, Cut, Column | None]:
    """Least phi F + lambda (R + tau . E) + nu (N - tau . E) at a design's capacities, as a menu-wide cut.

    The capacity columns are fixed; minus their reduced costs are the weights mu with which they enter the cut, which is
    then valid with the columns free. Weights (0, 1, 0) are the follower itself: R + tau . E + mu . cap >= theta + mu
    . cap(x).
    """
    shape = Shape.of(joint)
    joint.offer(design)
    solution = joint.settle(spread(joint, expand(shape, weights, prices(design))))
    joint.offer(None)
    mu = -solution.reduced[joint.lp.at("cap")] if joint.lines else 0.0
    cut = outer_cut(joint, expand(shape, weights, prices(design), mu), solution.y)
    return solution, cut, response(joint, solution.x)


class Separation:
    """Directions that cut a point off: the largest margin against the known responses.

    At tariffs tau a bound on F needs only the weights phi of F, lambda of R + tau . E, nu of N - tau . E and mu of the
    capacities (the multipliers of the follower's and the revenue row), none negative: the direction
    (phi, lambda, nu, (lambda - nu) tau, mu) with phi + lambda + nu = 1.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.points = np.empty((0, shape.size))

    def add(self, column: Column) -> None:
        self.points = np.vstack([self.points, column.z])

    def reduced(self, z: np.ndarray, price: np.ndarray) -> np.ndarray:
        """(F, R + tau . E, N - tau . E, cap) of points z, (..., 3 + C)."""
        paid = z[..., self.shape.energy] @ price
        front = np.stack([z[..., 0], z[..., 1] + paid, z[..., 2] - paid], axis=-1)
        return np.concatenate([front, z[..., self.shape.capacity]], axis=-1)

    def direction(self, z: np.ndarray, price: np.ndarray) -> tuple[float, np.ndarray]:
        """(margin, direction): by how many $ every known response lies beyond z along the direction."""
        shape, k = self.shape, len(self.points)
        gap = self.reduced(self.points, price) - self.reduced(z, price)
        n = gap.shape[1]
        h = highspy.Highs()
        h.setOptionValue("output_flag", False)
        h.setOptionValue("threads", 1)
        lower = np.append(np.zeros(n), -highspy.kHighsInf)
        lower[:3] = TIE_BREAK
        upper = np.concatenate([np.ones(3), np.full(n - 3, CAPACITY_PRICE), [highspy.kHighsInf]])
        none = np.empty(0, dtype=np.int32)
        h.addCols(n + 1, np.append(np.zeros(n), -1.0), lower, upper, 0, none, none, np.empty(0))
        rows = np.vstack([np.hstack([gap, -np.ones((k, 1))]), np.append(np.ones(3), np.zeros(n - 2))])
        start = np.arange(k + 1, dtype=np.int32) * (n + 1)
        index = np.tile(np.arange(n + 1, dtype=np.int32), k + 1)
        right = np.append(np.full(k, highspy.kHighsInf), 1.0)
        h.addRows(k + 1, np.append(np.zeros(k), 1.0), right, rows.size, start, index, rows.ravel())
        h.run()
        d = np.array(h.getSolution().col_value)
        mu = np.where(d[3:-1] > 1e-9, d[3:-1], 0.0)
        return float(d[-1]), expand(shape, d[:3], price, mu)
