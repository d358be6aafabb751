"""What neighbours of a design cost society: its tariffs varied over their menus, all else as designed."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

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
    rows = []
    for tariff in product(*(thinned(levels, kept, most) for levels, kept in menus)):
        point = Design(tariff, design.p2p, design.capacity)
        try:
            cost = optimistic_response(joint, point).social.total
        except InfeasibleError:
            cost = np.nan
        rows.append(row_of(point) | {"social_cost": cost})
    return pd.DataFrame(rows)
