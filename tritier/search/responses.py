"""The optimistic response to one design: among the follower's optima that recover the revenue, the one best for
society.

The optimal face is written exactly: columns with a reduced cost stay at their bound, rows with a dual stay tight
(complementary slackness), so that no tolerance on the follower's objective is traded for social cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tritier.errors import InfeasibleError, NoRecoveryError, SolverError
from tritier.inputs.instance import Design
from tritier.model.chance import Block
from tritier.model.dso import SocialCost, charged_peak, day_peak, network_parts, private_parts
from tritier.model.risk import value_at_risk
from tritier.model.tariff import revenue_slack
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import ACTIVE, LPSolution

OFF_BOUND = 1e-7  # kW: how far from its bound rounding may leave a nonbasic column
LOSS_GAP = 1e-4  # $: exact social cost less its tangents, where the search for the response stops
LEAST_VOLUME = 1e-4  # relative: a cent of social cost moves many kWh of arbitrary volume, so their bound is loose
SEGMENT = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # steps tried from the best point so far to the LP's
ROUNDS = 40


class Billed:
    """What the components of a tariff are billed on, (B + 3,), and its parts by name."""

    billed: np.ndarray

    @property
    def energy(self) -> np.ndarray:
        """Billed energy by tariff block, kWh, (B,)."""
        return self.billed[:-3]

    @property
    def volume(self) -> float:
        """P2P volume, kWh."""
        return float(self.billed[-3])


@dataclass(frozen=True, eq=False)
class Response(Billed):
    """An optimistic response: the follower's optimal value, its duals, the chosen point and its exact social cost."""

    design: Design
    theta: float
    x: np.ndarray
    y: np.ndarray
    social: SocialCost
    billed: np.ndarray  # (B + 3,), what each component of the tariff is billed on
    revenue_slack: float  # $


def follower_face(joint: JointLP, solution: LPSolution) -> None:
    """Restrict the LP to the follower's optimal face through complementary slackness with the duals of ``solution``,
    the last found, made exact: a row held for the rounding of its dual may leave no point that society can have. A dual
    that pushes to a side which is not there is rounding too, and so is one of a loss tangent, as no agent pays for
    losses: they hold nothing."""
    lp, solution = joint.warm.current(), joint.warm.exact(solution)
    x, d, y = solution.x, solution.reduced, solution.y
    columns, rows = joint.warm.nonbasic()
    tight = np.flatnonzero(columns & (np.abs(d) > ACTIVE) & (lp.col_lower < lp.col_upper))
    held = np.where(d[tight] > 0, lp.col_lower[tight], lp.col_upper[tight])
    if np.abs(x[tight] - held).max(initial=0) > OFF_BOUND:
        raise SolverError("a column with a reduced cost is off its bound: the basis is not optimal")
    joint.warm.set_bounds(tight, held, held)
    rows[joint.tangent_rows] = False
    tight = np.flatnonzero(rows & (np.abs(y) > ACTIVE) & (lp.row_lower < lp.row_upper))
    level = np.where(y[tight] > 0, lp.row_lower[tight], lp.row_upper[tight])
    there = np.isfinite(level)
    joint.warm.set_rows(tight[there], level[there], level[there])


def release(joint: JointLP) -> None:
    """Undo :func:`follower_face` and the revenue row."""
    joint.recovering = None
    lp = joint.lp
    joint.warm.set_bounds(np.arange(lp.cost.size), lp.col_lower, lp.col_upper)
    joint.warm.set_rows(np.arange(lp.row_lower.size), lp.row_lower, lp.row_upper)


def social_cost(joint: JointLP, x: np.ndarray) -> SocialCost:
    """Exact social cost of a point of the LP: true losses and peak, not their epigraphs (:eq:`eq-social-cost`)."""
    load = joint.net_load(x)
    head, loss = load.sum(axis=0), joint.exact_losses(load)
    return _social_cost(joint, x, head, charged_peak(joint.instance, head, loss), loss)


def network_cost(joint: JointLP, x: np.ndarray) -> float:
    """Exact network cost of a point of the LP, $: losses and demand charge (:eq:`eq-network-cost`)."""
    load = joint.net_load(x)
    head, loss = load.sum(axis=0), joint.exact_losses(load)
    parts = network_parts(joint.instance, head, charged_peak(joint.instance, head, loss), loss)
    return float((parts["losses"] + parts["demand_charge"]) @ joint.instance.days.probability)


def _social_cost(joint: JointLP, x: np.ndarray, head: np.ndarray, peak: np.ndarray, loss: np.ndarray) -> SocialCost:
    """:func:`social_cost`, with the head's flow (T, S), its charged peak (S,) and the losses (T, S) known, kW."""
    instance = joint.instance
    decisions = [{term: x[at] for term, at in own.items()} for own in joint.columns]
    network = network_parts(instance, head, peak, loss)
    violation = instance.rules.violation_price * float(x[joint.lp.at("slack")])
    parts = network | private_parts(joint.data, decisions)
    return SocialCost.expected(parts, instance.days.probability, violation)


def fill_bookkeeping(joint: JointLP, x: np.ndarray, load: np.ndarray) -> None:
    """Fill in the DSO's columns of a point as they follow from its decisions and their net loads, kW, (N, T, S)."""
    lp, head, peak, loss = joint.lp, load.sum(axis=0), day_peak(load), joint.exact_losses(load)
    charged = charged_peak(joint.instance, head, loss)
    x[lp.at("head")], x[lp.at("peak")], x[lp.at("loss")] = head, peak, loss
    if "H" in lp.columns:
        x[lp.at("H")] = joint.instance.days.probability @ peak
    if "gross" in lp.columns:
        x[lp.at("gross")] = charged
    social = _social_cost(joint, x, head, charged, loss)
    x[lp.at("N")], x[lp.at("F")] = social.network, social.total


def block_quantiles(joint: JointLP, blocks: Sequence[Block], load: np.ndarray, design: Design) -> np.ndarray:
    """Value at risk gamma of each block's violation at the given net loads, kW, (blocks,)."""
    days, rules = joint.instance.days, joint.instance.rules
    samples = np.array([block_samples(joint, block, load, design) for block in blocks]).reshape(
        len(blocks), days.n_days
    )
    return value_at_risk(samples, days.probability, 1 - rules.chance_level)


def block_samples(joint: JointLP, block: Block, load: np.ndarray, design: Design) -> np.ndarray:
    """Violation of one block in every scenario, kW, (S,) (:eq:`eq-block-forms`)."""
    form = joint.network.form(block)
    value = (form.gradient @ load[:, block.hour, :] - form.limit).max(axis=0)
    if form.capacity is None:
        return value
    line = int(joint.instance.feeder.line[form.capacity])
    return value - dict(design.capacity)[line]


def optimistic_response(joint: JointLP, design: Design, revenue: bool = True) -> Response:
    """The optimistic response to a design (:eq:`eq-optimistic`).

    With ``revenue`` the response must recover the fixed and network cost; raises NoRecoveryError where none does.
    """
    joint.set_design(design)
    for _ in range(ROUNDS):
        best = joint.solve(joint.cost(design))
        follower_face(joint, best)
        try:
            x, blocks = _recovering(joint, design) if revenue else _best_for_society(joint, design)
        finally:
            release(joint)
            joint.set_design(design)
        if not blocks:
            return _response(joint, design, best, x)
        joint.add_blocks(blocks)
    raise SolverError(f"no optimistic response after {ROUNDS} rounds of chance blocks")


def _recovering(joint: JointLP, design: Design) -> tuple[np.ndarray, list[Block]]:
    """Least social cost among the points of the face that recover the cost; the revenue row enters only where it binds.

    Raises NoRecoveryError where even the most revenue on the face, at losses that the tangents understate, falls short.
    """
    x, blocks = _best_for_society(joint, design)
    if blocks or shortfall(joint, x, design) <= LOSS_GAP:
        return x, blocks
    _require_recovery(joint, design, 0.0)
    joint.require_revenue(design)
    try:
        return _best_for_society(joint, design)
    except InfeasibleError:  # tangents have raised the losses since, or what is left is within the solver's rounding
        joint.require_revenue(None)
        _require_recovery(joint, design, LOSS_GAP)
        raise


def _require_recovery(joint: JointLP, design: Design, margin: float) -> None:
    """Raise NoRecoveryError where no point of the present face recovers the cost and a margin, $."""
    most = -joint.warm.solve(joint.cost(design, v=0.0, n=1.0), "primal").objective
    if most < joint.instance.least_revenue + margin:
        raise NoRecoveryError("no optimal response recovers the fixed and the network cost")


def _best_for_society(joint: JointLP, design: Design) -> tuple[np.ndarray, list[Block]]:
    """Least social cost on the present face; stops early with the chance blocks that the point violates."""
    least = least_social_cost(joint, LOSS_GAP)
    if least.blocks or design.p2p > 0:
        return least.x, least.blocks
    return _least_volume(joint, least)


@dataclass(frozen=True, eq=False)
class LeastCost:
    """Least social cost over the LP as it stands: a point, its exact cost, a lower bound up to the solver's
    rounding, blocks it violates (then stop)."""

    x: np.ndarray
    exact: float
    bound: float
    blocks: list[Block]


def least_social_cost(
    joint: JointLP, tolerance: float, simplex: str = "primal", enough: float | None = None
) -> LeastCost:
    """Minimise the exact social cost by tangents (:eq:`eq-loss-tangent`), to within ``tolerance``, $; where the last
    round does not reach it, within ``enough``.

    The LP hops between vertices while the exact minimum lies between them, so each round also searches the segment
    from the best point so far to the LP's, and puts a tangent there: a point of a convex set, hence as feasible as its
    ends. Of a large LP the objective is above its minimum by what the reduced costs, each within the solver's
    tolerance, leave over all boxes; only a cost below the safe bound is an error.
    """
    solution = joint.warm.solve(only(joint, "F"), simplex)
    inner, exact = solution.x, np.inf
    for _ in range(ROUNDS):
        violated = joint.violated(solution.x)
        if violated:
            return LeastCost(solution.x, np.inf, solution.objective, violated)
        inner, exact = _best_between(joint, inner, solution.x)
        short = shortfall(joint, inner, joint.recovering) if joint.recovering else 0.0
        if exact < solution.objective - tolerance and exact < joint.warm.safe_bound(solution.y) - tolerance:
            raise SolverError(f"a social cost of {exact:.6f} $ lies below its own bound {solution.objective:.6f}")
        if exact - solution.objective <= tolerance and short <= tolerance:
            return LeastCost(inner, exact, solution.objective, [])
        joint.tangent(joint.net_load(solution.x))
        joint.tangent(joint.net_load(inner))
        solution = joint.warm.solve(only(joint, "F"))
    if enough is not None and exact - solution.objective <= enough:
        return LeastCost(inner, exact, solution.objective, [])
    raise SolverError(f"loss tangents did not close after {ROUNDS} rounds: {exact - solution.objective:.2g} $ left")


def shortfall(joint: JointLP, x: np.ndarray, design: Design) -> float:
    """What variable charges leave uncovered of their share of the fixed and the exact network cost at a point, $;
    negative where they recover more."""
    return -revenue_slack(joint.instance, design, joint.billed(x), network_cost(joint, x))


def _best_between(joint: JointLP, inner: np.ndarray, outer: np.ndarray) -> tuple[np.ndarray, float]:
    """The best of a few points between two, with its exact social cost, which is convex along the segment: all but the
    network's part of it is linear, so its ends tell that."""
    inner = np.append(inner, np.zeros(outer.size - inner.size))
    points = [inner + step * (outer - inner) for step in SEGMENT]
    ends = social_cost(joint, inner), social_cost(joint, outer)
    first, last = map(linear_part, ends)
    between = list(zip(SEGMENT, points, strict=True))[1:-1]  # the ends are points too, and known
    costs = [first + step * (last - first) + network_cost(joint, x) for step, x in between]
    costs = [ends[0].total, *costs, ends[1].total]
    return points[int(np.argmin(costs))], float(min(costs))


def only(joint: JointLP, name: str) -> np.ndarray:
    """Cost vector with a single one, at a bookkeeping column."""
    cost = np.zeros(joint.lp.cost.size)
    cost[joint.lp.at(name)] = 1.0
    return cost


def _least_volume(joint: JointLP, least: LeastCost) -> tuple[np.ndarray, list[Block]]:
    """At a zero P2P charge the volume is arbitrary: the point with the least, at the same exact social cost.

    Fewer trades may move injections, so the point is checked like any other: blocks, losses and revenue.
    """
    f = joint.lp.at("F").ravel()
    joint.warm.set_bounds(f, joint.lp.col_lower[f], np.array([max(least.bound, least.exact) + LOSS_GAP]))
    for _ in range(ROUNDS):
        x = joint.warm.solve(only(joint, "Z"), dust=LEAST_VOLUME).x
        violated = joint.violated(x)
        if violated:
            return x, violated
        short = shortfall(joint, x, joint.recovering) if joint.recovering else 0.0
        if social_cost(joint, x).total <= least.exact + 2 * LOSS_GAP and short <= LOSS_GAP:
            return x, []
        joint.tangent(joint.net_load(x))
    raise SolverError(f"loss tangents did not close after {ROUNDS} rounds at least P2P volume")


def _response(joint: JointLP, design: Design, best: LPSolution, x: np.ndarray) -> Response:
    social = social_cost(joint, x)
    billed = joint.billed(x)
    slack = revenue_slack(joint.instance, design, billed, social.network)
    y = np.append(best.y, np.zeros(joint.lp.row_lower.size - best.y.size))
    return Response(design, best.objective, x, y, social, billed, slack)


# The pessimistic reading of one design: a best answer of the follower that is bad for society.
#
# Social cost F is convex in the flows, through losses and the day's peak. Its least value over the follower's optimal
# face is a convex problem (:mod:`tritier.search.responses`). Its greatest is not: a convex function is largest at some
# vertex, and finding that vertex means comparing them, which no single LP does. One LP does maximise the linear part
# of F.


@dataclass(frozen=True, eq=False)
class PessimisticReading(Billed):
    """A best answer of the follower with the largest linear part of social cost, $/day, and what it means for the DSO.

    ``theta``: the follower's optimal value; ``social``: exact social cost by part; ``billed`` (B + 3,): what each
    component of the tariff is billed on; ``revenue_slack``: revenue beyond fixed and network cost there, negative where
    adequacy fails; ``x``: the point of the LP.
    """

    design: Design
    theta: float
    linear_part: float
    social: SocialCost
    billed: np.ndarray
    revenue_slack: float
    x: np.ndarray

    @property
    def social_cost(self) -> float:
        """Exact social cost there, $/day. Another best answer may cost more: only the linear part is the largest."""
        return self.social.total

    @property
    def adequate(self) -> bool:
        """Whether revenue adequacy survives there."""
        return recovers(self.revenue_slack)


def recovers(revenue_slack: float) -> bool:
    """Whether revenue covers the fixed and the network cost, to the tolerance of exact losses."""
    return revenue_slack >= -LOSS_GAP


def linear_part(social: SocialCost) -> float:
    """Social cost without losses and demand charge, $/day: the part that is linear in the follower's decisions."""
    return social.total - social.network


def pessimistic_reading(joint: JointLP, design: Design) -> PessimisticReading:
    """The follower's best answer with the largest linear part of F, costed exactly (:eq:`eq-pessimistic-design`).

    In the LP the linear part is the column difference F - N, so this minimises N - F on the optimal face. The face is
    exact (complementary slackness): no tolerance on the follower's objective is traded for social cost. The revenue
    row is not imposed, since the follower does not know it; ``revenue_slack`` tells whether adequacy survives there.
    Chance blocks that the answer violates are added until none is missing.

    Raises SolverError where blocks keep appearing, InfeasibleError where the design cannot be answered at all.
    """
    joint.set_design(design)
    for _ in range(ROUNDS):
        best = joint.solve(joint.cost(design))
        follower_face(joint, best)
        try:
            x = joint.warm.solve(_least_linear(joint), "primal").x
            blocks = joint.violated(x)
        finally:
            release(joint)
            joint.set_design(design)
        if not blocks:
            return _reading(joint, design, best.objective, x)
        joint.add_blocks(blocks)
    raise SolverError(f"no pessimistic answer after {ROUNDS} rounds of chance blocks")


def _least_linear(joint: JointLP) -> np.ndarray:
    """Cost vector N - F."""
    cost = np.zeros(joint.lp.cost.size)
    cost[joint.lp.at("N")], cost[joint.lp.at("F")] = 1.0, -1.0
    return cost


def _reading(joint: JointLP, design: Design, theta: float, x: np.ndarray) -> PessimisticReading:
    social = social_cost(joint, x)
    billed = joint.billed(x)
    slack = revenue_slack(joint.instance, design, billed, social.network)
    return PessimisticReading(design, theta, linear_part(social), social, billed, slack, x)


def both_readings(joint: JointLP, design: Design) -> pd.DataFrame:
    """A design read optimistically and pessimistically, with the market's tie-break and without, $/day.

    Columns ``tie_break``, ``reading``, ``linear_part_usd``, ``network_cost_usd``, ``social_cost_usd``,
    ``revenue_slack_usd``, ``adequate``. The optimistic answer recovers the revenue where some best answer does;
    otherwise it is the best for society, and its negative slack says so.
    """
    plain = replace(joint.instance, rules=replace(joint.instance.rules, tie_break=0.0))
    trade = bool(joint.lp.col_upper[joint.layout.zb].any())
    loose = JointLP(plain, trade, joint.sees_network)
    for block in joint.blocks:
        loose.add_block(block)
    rows = []
    for tie_break, market in ((True, joint), (False, loose)):
        for reading, answer in (("optimistic", _hopeful), ("pessimistic", pessimistic_reading)):
            found = answer(market, design)
            parts = linear_part(found.social), found.social.network, found.social.total
            rows.append((tie_break, reading, *parts, found.revenue_slack, recovers(found.revenue_slack)))
    money = ["linear_part_usd", "network_cost_usd", "social_cost_usd", "revenue_slack_usd"]
    return pd.DataFrame(rows, columns=["tie_break", "reading", *money, "adequate"])


def _hopeful(joint: JointLP, design: Design) -> Response:
    try:
        return optimistic_response(joint, design)
    except NoRecoveryError:
        return optimistic_response(joint, design, revenue=False)
