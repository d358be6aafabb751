"""Cuts and responses: what one solve of the follower LP tells about the whole menu.

The levels touch only through z = (F, R, N, E, cap): social cost, prosumers' risk-adjusted cost, network cost to
recover, energy per tariff component (billed energy by block, then P2P volume) and capacity limits. Z is the convex
set of z that feasible follower decisions reach. A direction d on z gives an outer cut d . z >= support(d); the point
found is a response. With a large weight on the follower's own cost the solve is an answer: it bounds F, or revenue,
over all that the follower may choose at a design and at the tighter limits that the response respects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tritier.inputs.instance import Design
from tritier.model.market import line_position
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import LPSolution, primal_residual, safe_bound
from tritier.search.responses import Response, social_cost

EPSILON = 1e-6  # weight of F or of the shortfall beside the follower's own cost in an answer
SCALE = 1e4  # of an answer's costs: the solver's dual tolerance is absolute
GRID = 1e8  # values are put on a grid of 1e-8, so that the last bits of a machine's arithmetic do not steer the search
ROUNDING = 1e-6  # relative: by how much an outer cut is lowered, so that another machine's rounding proves it too
UNIT = 1e-14  # relative: rounding of a safe value against the sum of its terms' sizes
RESIDUAL = 1e-6  # kW, kWh, $: primal residual up to which a response counts
LOOSE = 0.5  # $: an answer whose bound is further below its own point is solved again from scratch


@dataclass(frozen=True, eq=False)
class Cut:
    """An outer (Benders) cut direction . z >= value of Z."""

    direction: np.ndarray  # (3 + B + 1 + C,)
    value: float


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


def reached(found: Response) -> np.ndarray:
    """z of an optimistic response: exact F and N, and the limits of its design."""
    energy = np.append(found.energy, found.volume)
    risk = found.theta - prices(found.design) @ energy
    limits = [limit for _, limit in found.design.capacity]
    return np.array([found.social.total, risk, found.social.network, *energy, *limits])


def tolerance(theta: float) -> float:
    """``delta = 1e-7 max(1, |theta|)``, $: what a response row is relaxed by."""
    return 1e-7 * max(1.0, abs(theta))


def expand(shape: Shape, weights, price: np.ndarray, capacity=0.0) -> np.ndarray:
    """The direction with weights (phi, lambda, nu) of F, R + tau . E and N - tau . E, and mu of the capacities."""
    phi, lam, nu = weights
    direction = np.zeros(shape.size)
    direction[:3] = phi, lam, nu
    direction[shape.energy] = (lam - nu) * price
    direction[shape.capacity] = np.maximum(capacity, 0.0)
    return direction


def outer_cut(joint: JointLP, direction: np.ndarray, y: np.ndarray) -> Cut:
    """The cut of a direction whose value is safe for any row duals y (:eq:`eq-outer-cut`).

    Valid: the LP's feasible set, with the capacity columns free within the menu, contains every response to every
    design (missing chance blocks and loss tangents only enlarge it), and the Neumaier-Shcherbina value bounds
    direction . z there.
    """
    scale = np.abs(direction).max()
    direction = np.round(direction / scale, 11)
    return Cut(direction, safe_cut_value(joint, direction, y / scale))


def safe_cut_value(joint: JointLP, direction: np.ndarray, y: np.ndarray) -> float:
    """What any row duals y prove of direction . z, with the capacities free within the menu (:eq:`eq-safe-bound`)."""
    value = safe_bound(joint.lp, spread(joint, direction), y)
    value -= ROUNDING * max(1.0, abs(value))
    return float(np.floor(value * GRID) / GRID)


def response(joint: JointLP, x: np.ndarray) -> np.ndarray | None:
    """z of a settled point of the LP with the limits it needs, or None where its residuals are too large
    (:eq:`eq-response-row`).

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
    return np.ceil(z * GRID) / GRID


def oracle(joint: JointLP, direction: np.ndarray) -> tuple[LPSolution, Cut]:
    """support(d): the least direction . z over Z, as a cut (:eq:`eq-support`)."""
    offer_along(joint, direction)
    solution = joint.settle(spread(joint, direction))
    joint.offer(None)
    return solution, outer_cut(joint, direction, solution.y)


def offer_along(joint: JointLP, direction: np.ndarray) -> None:
    """Free the capacities within the menu; one of weight zero is offered at its largest: Z grows with the capacities,
    so nothing is lost."""
    joint.offer(None)
    if joint.lines:
        at = joint.lp.at("cap")
        unpriced = at[direction[Shape.of(joint).capacity] == 0]
        joint.warm.set_bounds(unpriced, joint.lp.col_upper[unpriced], joint.lp.col_upper[unpriced])


def weighed(joint: JointLP, design: Design, weights) -> tuple[LPSolution, Cut]:
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
    return solution, outer_cut(joint, expand(shape, weights, prices(design), mu), solution.y)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the follower may do at a design and at every tighter limit that ``z`` respects (:eq:`eq-answer`)."""

    design: Design
    z: np.ndarray  # the response, with the limits it needs
    worth: float  # R + tau . E of the response, $
    least: float  # safe lower bound: of F, or of the shortfall N - tau . E, over all optimal responses, $
    reached: float  # the same quantity at the response: exact F, or the shortfall, $
    recovered: float  # revenue beyond the cost to recover at the response, $
    cut: Cut | None = None  # the same duals as a row for the whole menu
    load: np.ndarray | None = None  # net loads of the response, kW, (N, T, S)


def answer(joint: JointLP, design: Design, shortfall: bool = False) -> Answer | None:
    """The follower's optimum at a design that is best for F (or for revenue), with a proof for all its optima.

    Valid: let V = R + tau . E and y any row duals. Every feasible decision at the offered limits has
    V + epsilon F >= safe(y), and a follower that optimises has V <= V of the response found, wherever that response is
    feasible. So F >= (safe(y) - V_k) / epsilon at the design, and at every tighter limit that the response respects.
    With ``shortfall``, F gives way to N - tau . E. None where the response's residuals are too large to count.
    """
    direction = expand(Shape.of(joint), answer_weights(shortfall), prices(design))
    joint.offer(design)
    found = None
    for attempt in ("warm", "cold"):
        if attempt == "cold":
            joint.warm.forget()
        found = answer_at(joint, design, joint.settle(spread(joint, direction)), shortfall)
        if found is not None and _modelled(found, shortfall) - found.least <= LOOSE:
            break
    joint.offer(None)
    return found


def answer_weights(shortfall: bool) -> tuple[float, float, float]:
    """(phi, lambda, nu) of an answer, scaled."""
    return (0.0, SCALE, SCALE * EPSILON) if shortfall else (SCALE * EPSILON, SCALE, 0.0)


def answer_at(joint: JointLP, design: Design, solution: LPSolution, shortfall: bool = False) -> Answer | None:
    """The answer that a point and duals of the LP give, the design's limits being offered (:func:`answer`)."""
    direction = expand(Shape.of(joint), answer_weights(shortfall), prices(design))
    z = response(joint, solution.x)
    if z is None:
        return None
    shape, price = Shape.of(joint), prices(design)
    lp = joint.warm.current()
    cost = spread(joint, direction)
    sizes = np.abs(solution.y * np.where(np.isfinite(lp.row_upper), lp.row_upper, 0.0)).sum()
    rounding = UNIT * lp.cost.size**0.5 * max(1.0, sizes, abs(solution.objective))
    worth = float(z[1] + z[shape.energy] @ price)
    least = ((safe_bound(lp, cost, solution.y) - rounding) / SCALE - worth) / EPSILON
    social = social_cost(joint, solution.x)
    gap = social.network - float(z[shape.energy] @ price)
    reached = gap if shortfall else social.total
    mu = -solution.reduced[joint.lp.at("cap")] if joint.lines else np.empty(0)
    direction[shape.capacity] = np.maximum(mu, 0.0)
    cut = outer_cut(joint, direction, solution.y)
    recovered = -gap - joint.instance.fixed_cost
    least = float(np.floor(least * 1e6) / 1e6)
    return Answer(design, z, worth, least, reached, recovered, cut, joint.net_load(solution.x))


def _modelled(found: Answer, shortfall: bool) -> float:
    """F, or the shortfall, at an answer's response as the LP has it: with losses by their tangents, $."""
    f, _, n, *energy = found.z[: 3 + len(prices(found.design))]
    return float(n - np.array(energy) @ prices(found.design) if shortfall else f)
