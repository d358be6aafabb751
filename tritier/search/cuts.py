"""Integer L-shaped cuts: what one solve of the follower's LP at a design proves about a box of the menu.

- *answer*: the follower's own value J with a small weight on social cost F beside it. Bounds F over all that the
  follower may choose, at the design and at every tighter limit that the response found respects.
- *shortfall*: the same with the uncovered cost, N less revenue, in the place of F.
- *least*: F alone, with a price on the limits: bounds F over all decisions, hence at every tariff.

Each bound is a safe value of the duals, lowered by the worst rounding that its terms allow.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tritier.errors import SolverError
from tritier.inputs.instance import Design
from tritier.model.market import line_position
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import Basis, LPSolution, ParametricLP
from tritier.search.responses import shortfall, social_cost

KINDS = ("least", "answer", "shortfall")
EPSILON, FINE = (
    1e-6,
    1e-7,
)  # weight beside J (iota of the book); the second where the first leaves the follower too much
SCALE = 1e4  # of an answer's costs: the solver's dual tolerance is absolute
GRID = 1e6  # bounds are floored to 1e-6 $, so that the last bits of a machine's arithmetic do not steer the search
NEED_GRID = 1e8  # limits needed are raised to 1e-8 kW, for the same reason
NEED_MARGIN = 1e-4  # kW: flows of a basis may lie off those of the solver's point by rounding times its condition
UNIT = 2.0**-53  # relative rounding of one operation
WIDE = np.longdouble  # reduced costs are summed in it: in double their rounding, over wide boxes, would cost dollars
WIDE_UNIT = float(np.finfo(WIDE).eps) / 2
SUM = 64  # operations that a term goes through in a pairwise sum and before it, at most
RESIDUAL = 1e-6  # kW, kWh, $: primal residual up to which a response counts
LOOSE = 0.5  # $: an answer whose bound is further below its own point is solved again from scratch


def deflated(basis: Basis) -> tuple[bytes, bytes]:
    """A basis for a file."""
    columns, rows = (zlib.compress(part, 6) for part in basis)
    return columns, rows


@dataclass(frozen=True)
class Request:
    """What to solve at a design. ``epsilon``: weight iota beside J, for answers and shortfalls."""

    kind: str
    design: Design
    epsilon: float = EPSILON


@dataclass(frozen=True, eq=False)
class Row:
    """What a request proved, and the response that its basis stands for."""

    request: Request
    dual: float  # $: J + iota F, or J + iota (N - revenue), is at least this; of "least", F + price . cap
    price: np.ndarray  # (C,), $/kW of limit, of "least"; zero otherwise
    follower_value: (
        float  # $: J of the response, which the follower's optimum cannot exceed where the response is feasible
    )
    need: np.ndarray  # (C,), kW: limits that the response needs
    social_cost: float  # $: exact F at the response
    recovered: float  # $: revenue beyond the cost to recover at the response
    basis: Basis
    load: np.ndarray | None = None  # net loads of the response, kW, (N, T, S)

    @cached_property
    def deflated(self) -> tuple[bytes, bytes]:
        """The basis for a file, made once: a search writes it many times."""
        return deflated(self.basis)

    @property
    def bound(self) -> float:
        """Safe lower bound at the request's own design, $: on F, or on N - revenue of a shortfall (:eq:`eq-answer`)."""
        if self.request.kind == "least":
            return self.dual - float(self.price @ self.need)
        return self.bound_below(self.follower_value)

    def bound_below(self, value: float) -> float:
        """The bound for followers whose optimum is at most ``value``, $ (:eq:`eq-answer-weight`)."""
        return float(np.floor((self.dual - value) / self.request.epsilon * GRID) / GRID)


def safe_value(lp: ParametricLP, cost: np.ndarray, y: np.ndarray) -> float:
    """A lower bound on the LP from any row duals y (:eq:`eq-safe-bound`), lowered by the worst rounding of its terms.

    Each reduced cost is off by at most (entries of its column + 2) units of the sizes it is summed from, which its
    column's box multiplies; a pairwise sum of n terms by less than 64 units of their sizes.
    """
    y = np.where(np.isinf(lp.row_lower), np.minimum(y, 0), y)
    y = np.where(np.isinf(lp.row_upper), np.maximum(y, 0), y)
    lean = y.astype(WIDE) * np.where(y == 0, 0.0, np.where(y > 0, lp.row_lower, lp.row_upper))
    reduced = cost - lp.matrix.astype(WIDE).T @ y.astype(WIDE)
    boxes = np.minimum(reduced * lp.col_lower, reduced * lp.col_upper)
    entries = np.bincount(lp.matrix.indices, minlength=cost.size)
    sizes = np.abs(cost) + abs(lp.matrix).T @ np.abs(y)
    spread = (entries + 2) @ (sizes * np.maximum(np.abs(lp.col_lower), np.abs(lp.col_upper)))
    rounding = WIDE_UNIT * (spread + SUM * (np.abs(lean).sum() + np.abs(boxes).sum()))
    value = lean.sum() + boxes.sum() - rounding
    return float(value) - 2 * UNIT * abs(float(value))


def cost_of(joint: JointLP, request: Request) -> np.ndarray:
    """Cost vector of a request's LP, scaled."""
    if request.kind == "least":
        return joint.cost(request.design, f=1.0, v=0.0)
    weight = {"f": request.epsilon} if request.kind == "answer" else {"n": request.epsilon}
    return SCALE * joint.cost(request.design, v=1.0, **weight)


def solve_request(joint: JointLP, request: Request, inside: bool = False) -> Row:
    """Solve a request from the LP's present basis, with chance blocks added until none is violated; ``inside``: from an
    interior point's end instead, which is faster where much has changed
    (:meth:`tritier.reformulation.lp.WarmLP.start_inside`).

    Raises SolverError where the point found misses its rows by too much to count as a response.
    """
    joint.set_design(request.design)
    cost = cost_of(joint, request)
    for attempt in ("warm", "cold"):
        cost = np.append(cost, np.zeros(joint.lp.cost.size - cost.size))
        if attempt == "cold":
            joint.warm.forget()
        elif inside:
            joint.warm.start_inside(cost)
        solution = joint.solve(cost)
        row = least_row(joint, request, solution) if request.kind == "least" else answer_row(joint, request, solution)
        if _modelled(joint, request, solution.x) - row.bound <= LOOSE or request.kind == "least":
            break
    joint.set_design(None)
    return row


def least_row(joint: JointLP, request: Request, solution: LPSolution) -> Row:
    """F + price . cap >= dual at every design (:eq:`eq-least-row`), the design's limits being offered.

    Valid: the LP's feasible set with the limits free within the menu contains every response to every design, since
    tariffs move only what prosumers pay. Minus the reduced costs of the limits are their prices.
    """
    at = joint.lp.at("cap") if joint.lines else np.empty(0, dtype=int)
    price = np.maximum(-solution.reduced[at], 0.0)
    cost = cost_of(joint, request)
    cost[at] += price
    value = float(np.floor(safe_value(joint.lp, cost, solution.y) * GRID) / GRID)
    offered = joint.limits_at(request.design)
    exact = social_cost(joint, solution.x).total
    return Row(request, value, price, np.nan, offered, exact, np.nan, joint.warm.basis(), joint.net_load(solution.x))


def answer_row(joint: JointLP, request: Request, solution: LPSolution) -> Row:
    """The answer or the shortfall that a point and duals of the LP give, the design's limits being offered
    (:eq:`eq-answer`).

    Valid: let y be any row duals. Every feasible decision at the offered limits has J + iota F >= safe(y), and a
    follower that optimises has J at most that of the response found, wherever that response is feasible. So F >=
    (safe(y) - V_k) / epsilon at the design, and at every tighter limit that the response respects. What the point
    misses its rows by is charged at their duals.
    """
    lp, x, design = joint.warm.current(), solution.x, request.design
    rows = lp.matrix @ x
    missed = np.maximum(0.0, np.maximum(lp.row_lower - rows, rows - lp.row_upper))
    outside = np.maximum(0.0, np.maximum(lp.col_lower - x, x - lp.col_upper))
    if max(missed.max(initial=0.0), outside.max(initial=0.0)) > RESIDUAL:
        raise SolverError(f"no response to {design} that satisfies its rows")
    terms = joint.cost(design) * x
    value = terms.sum() + SUM * UNIT * np.abs(terms).sum()
    value += (np.abs(solution.y) @ missed + np.abs(solution.reduced) @ outside) / SCALE
    dual = safe_value(lp, cost_of(joint, request), solution.y) / SCALE
    need, load = needed(joint, design, x), joint.net_load(x)
    found = (social_cost(joint, x).total, -shortfall(joint, x, design))
    return Row(request, dual, np.zeros(len(joint.lines)), float(value), need, *found, joint.warm.basis(), load)


def needed(joint: JointLP, design: Design, x: np.ndarray) -> np.ndarray:
    """The limits that a settled point needs, kW, (C,): the follower may choose it wherever none is tighter.

    Valid: limits enter its feasible set monotonically, and every block that its flows would violate is in the LP. Where
    it buys violations it needs the limits it was offered. A margin leaves room for what the basis gives when it is
    factorised anew.
    """
    offered = joint.limits_at(design)
    if not joint.lines:
        return offered
    lowest = joint.lp.col_lower[joint.lp.at("cap")]
    if not joint.sees_network:
        return lowest
    where = (line_position(joint.instance, line) for line in joint.lines)
    need = np.array([joint.network.required_capacity(joint.net_load(x), line) for line in where])
    return np.clip(np.ceil((need + NEED_MARGIN) * NEED_GRID) / NEED_GRID, lowest, offered)


def _modelled(joint: JointLP, request: Request, x: np.ndarray) -> float:
    """F, or N less revenue, at a point as the LP has it: with losses by their tangents, $."""
    return float(joint.cost(request.design, v=0.0, **{"f" if request.kind == "answer" else "n": 1.0}) @ x)
