"""The pessimistic reading of one design: a best answer of the follower that is bad for society.

Social cost F is convex in the flows, through losses and the day's peak. Its least value over the follower's optimal
face is a convex problem (:mod:`tritier.optimistic`). Its greatest is not: a convex function is largest at some vertex,
and finding that vertex means comparing them, which no single LP does. One LP does maximise the linear part of F.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tritier.dso import SocialCost, revenue_slack
from tritier.errors import InfeasibleError, SolverError
from tritier.instance import Design
from tritier.joint import JointLP
from tritier.optimistic import LOSS_GAP, ROUNDS, Response, follower_face, optimistic_response, release, social_cost


@dataclass(frozen=True, eq=False)
class PessimisticReading:
    """A best answer of the follower with the largest linear part of social cost, $/day, and what it means for the DSO.

    ``theta``: the follower's optimal value; ``social``: exact social cost by part; ``energy`` (B,) billed, kWh;
    ``volume``: P2P, kWh; ``revenue_slack``: revenue beyond fixed and network cost there, negative where adequacy fails;
    ``x``: the point of the LP.
    """

    design: Design
    theta: float
    linear_part: float
    social: SocialCost
    energy: np.ndarray
    volume: float
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
    joint.offer(design)
    for _ in range(ROUNDS):
        best = joint.settle(joint.cost(design))
        follower_face(joint, best)
        try:
            x = joint.warm.solve(_least_linear(joint), "primal").x
            blocks = joint.violated(x)
        finally:
            release(joint)
            joint.offer(design)
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
    energy, volume = x[joint.lp.at("G")], float(x[joint.lp.at("Z")])
    slack = revenue_slack(joint.instance, design, energy, volume, social.network)
    return PessimisticReading(design, theta, linear_part(social), social, energy, volume, slack, x)


def both_readings(joint: JointLP, design: Design) -> pd.DataFrame:
    """A design read optimistically and pessimistically, with the market's tie-break and without, $/day.

    Columns ``tie_break``, ``reading``, ``linear_part_usd``, ``network_cost_usd``, ``social_cost_usd``,
    ``revenue_slack_usd``, ``adequate``. The optimistic answer recovers the revenue where some best answer does;
    otherwise it is the best for society, and its negative slack says so.
    """
    plain = replace(joint.instance, rules=replace(joint.instance.rules, tie_break=0.0))
    loose = JointLP(plain, network=joint.sees_network)
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
    except InfeasibleError:
        return optimistic_response(joint, design, revenue=False)
