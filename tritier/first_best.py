"""The first best: the least social cost that the market's physics and comfort limits allow, whatever the incentives."""

from __future__ import annotations

import numpy as np

from tritier.errors import SolverError
from tritier.joint import JointLP
from tritier.optimistic import ROUNDS, only, social_cost

CLOSE = 2e-4  # relative: social cost of the point found less its bound, where the tangents stop


def first_best(joint: JointLP) -> float:
    """Least F without incentive constraints and without revenue adequacy, $/day (:eq:`eq-first-best`).

    The exact social cost of a point that can be reached, at most 2e-4 above the bound: a gain measured against it is
    never overstated.
    """
    joint.offer(None)
    best = np.inf
    for _ in range(ROUNDS):
        solution = joint.settle(only(joint, "F"))
        best = min(best, social_cost(joint, solution.x).total)
        if best - solution.objective <= CLOSE * max(1.0, abs(best)):
            return best
        joint.tangent(joint.net_load(solution.x))
    raise SolverError(f"loss tangents did not close after {ROUNDS} rounds")
