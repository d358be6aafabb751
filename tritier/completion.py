"""The columns of the joint follower's LP that follow from the prosumers' decisions.

A basis made before a chance block or a loss tangent entered the LP knows nothing of it: its point may leave the block's
own quantile and tails, or the losses, where they cannot stay, though the decisions themselves respect the network.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tritier.decisions import block_quantiles, block_samples, keep_books
from tritier.instance import Design
from tritier.joint import JointLP
from tritier.parametric import LPSolution


def completed(joint: JointLP, solution: LPSolution, design: Design) -> LPSolution:
    """The same decisions and duals, with quantiles, tails, losses and the DSO's books as they follow from the decisions
    at the limits of a design (:eq:`eq-chance`, :eq:`eq-losses`).

    A block that buys no violation has its quantile at the value at risk, where its CVaR is least: if the row does not
    hold there, it holds nowhere, and the point's residual says so.
    """
    lp, x = joint.lp, solution.x.copy()
    load = joint.net_load(x)
    own = [block for block in joint.blocks if not x[lp.at(f"slack:{block.label}")] > 0]
    for block, quantile in zip(own, block_quantiles(joint, own, load, design), strict=True):
        x[lp.at(f"var:{block.label}")] = quantile
        x[lp.at(f"excess:{block.label}")] = np.maximum(block_samples(joint, block, load, design) - quantile, 0.0)
    keep_books(joint, x, load)
    return replace(solution, x=x)
