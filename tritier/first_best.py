"""The first best: least social cost if the follower did what society wants, tariffs and incentives aside."""

from __future__ import annotations

from tritier.joint import JointLP
from tritier.optimistic import ROUNDS, SolverError, least_social_cost

TOLERANCE = 1e-2  # $: the first best only scales the gap, and its bound is valid whatever the tolerance


def first_best(joint: JointLP) -> float:
    """A lower bound on the social cost of every feasible follower decision and capacity limit, $/day (:eq:`eq-first-best`).

    The LP's own value, which its loss tangents keep below the exact minimum by at most 1 ct.
    """
    joint.offer(None)
    for _ in range(ROUNDS):
        least = least_social_cost(joint, TOLERANCE)
        if not least.blocks:
            return least.bound
        for block in least.blocks:
            joint.add_block(block)
    raise SolverError(f"chance blocks still violated after {ROUNDS} rounds")
