"""The columns of the joint follower's LP that follow from the prosumers' decisions.

A basis made before a chance block or a loss tangent entered the LP knows nothing of it: its point may leave the block's
own quantile and tails, or the losses, where they cannot stay, though the decisions themselves respect the network.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tritier.joint import JointLP
from tritier.optimistic import social_cost
from tritier.parametric import LPSolution
from tritier.risk import value_at_risk


def completed(joint: JointLP, solution: LPSolution) -> LPSolution:
    """The same decisions and duals, with quantiles, tails, losses and the DSO's books as they follow from the decisions
    (:eq:`eq-chance`, :eq:`eq-losses`).

    A block that buys no violation has its quantile at the value at risk, where its CVaR is least: if the row does not
    hold there, it holds nowhere, and the point's residual says so.
    """
    lp, x = joint.lp, solution.x.copy()
    days, confidence = joint.instance.days, 1 - joint.instance.rules.chance_level
    load, limits = joint.net_load(x), joint.limits(x)
    for block in joint.blocks:
        if x[lp.at(f"slack:{block.label}")] > 0:
            continue
        form = joint.network.form(block)
        sample = (form.gradient @ load[:, block.hour, :] - form.limit).max(axis=0) - limits.get(form.capacity, 0.0)
        quantile = value_at_risk(sample, days.probability, confidence)
        x[lp.at(f"var:{block.label}")] = quantile
        x[lp.at(f"excess:{block.label}")] = np.maximum(sample - quantile, 0.0)
    x[lp.at("loss")] = joint.exact_losses(load)
    social = social_cost(joint, x)
    x[lp.at("N")], x[lp.at("F")] = social.network, social.total
    return replace(solution, x=x)
