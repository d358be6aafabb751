"""What neighbours of a design cost society: its tariffs varied over their menus, all else as designed."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from tritier.cuts import answer
from tritier.enumeration import row_of
from tritier.errors import InfeasibleError
from tritier.instance import Design
from tritier.joint import JointLP
from tritier.optimistic import optimistic_response


def thinned(levels: tuple[float, ...], kept: float, most: int) -> list[float]:
    """At most ``most`` of a menu's levels, evenly spread from first to last, with the nearest moved onto ``kept``."""
    ordered = sorted(levels)
    chosen = [ordered[k] for k in np.unique(np.linspace(0, len(ordered) - 1, most).round().astype(int))]
    if kept not in chosen:
        chosen[int(np.argmin(np.abs(np.array(chosen) - kept)))] = kept
    return sorted(chosen)


def tariff_grid(joint: JointLP, design: Design, most: int = 4) -> pd.DataFrame:
    """Social cost over the tariffs of the menu, P2P charge and limits as in ``design`` (:eq:`eq-optimistic`).

    Args:
        joint: the market's LP.
        design: the design whose tariffs vary.
        most: levels of each tariff that are looked at, the design's own among them.
    Returns:
        One row per point: tariffs ``tau_b`` and ``tau_p``, limits ``cap_line``, and ``social_cost`` in $ per day, NaN
        where the revenue is not recovered.
    """
    menus = zip(joint.instance.menu.tariff, design.tariff, strict=True)
    optimistic_response(joint, design)  # its loss tangents serve the neighbours
    rows = []
    for tariff in product(*(thinned(levels, kept, most) for levels, kept in menus)):
        point = Design(tariff, design.p2p, design.capacity)
        rows.append(row_of(point) | {"social_cost": social_cost_at(joint, point)})
    return pd.DataFrame(rows)


def social_cost_at(joint: JointLP, design: Design) -> float:
    """Exact social cost of the market's response to a design, $ per day; NaN where none recovers the cost.

    An answer (:eq:`eq-answer`) gives it by one warm solve, to within what tangents understate the losses by; where the
    answer falls short and others might not, the optimistic response with the revenue row decides.
    """
    found = answer(joint, design)
    if found is not None and found.recovered >= 0:
        return found.reached
    short = answer(joint, design, shortfall=True)
    if short is not None and -short.least < joint.instance.fixed_cost:
        return np.nan
    try:
        return optimistic_response(joint, design).social.total
    except InfeasibleError:
        return np.nan
