"""Complete enumeration of a small menu with the warm follower: exact, slow, and the reference for every search."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.dso import menu_points
from tritier.errors import InfeasibleError
from tritier.instance import Design
from tritier.joint import JointLP
from tritier.optimistic import Response, optimistic_response

TRACE = ("seconds", "lp_solves", "lower_bound", "upper_bound")


@dataclass(frozen=True, eq=False)
class Enumeration:
    """Every point of a menu with its optimal value, and the best of them."""

    best: Response
    table: (
        pd.DataFrame
    )  # one row per menu point: tariffs, limits, theta, social cost (NaN where revenue is not recovered)
    trace: pd.DataFrame
    menu_points: int
    lp_solves: int

    @property
    def lower_bound(self) -> float:
        return self.best.social.total

    upper_bound = lower_bound
    proof = "closed"

    def write_proof(self, path: Path) -> None:
        """Store the value of every menu point: complete enumeration is its own proof, re-run to be checked."""
        values = self.table.select_dtypes("number")
        np.savez_compressed(path, enumeration=values.to_numpy(), columns=np.array(values.columns, dtype=str))


def row_of(design: Design) -> dict[str, float]:
    """A menu point as a table row."""
    tariff = {f"tau_{b}": t for b, t in enumerate(design.tariff)}
    return tariff | {"tau_p": design.p2p} | {f"cap_{line}": limit for line, limit in design.capacity}


def enumerate_menu(joint: JointLP, progress: Callable[[str], None] | None = None) -> Enumeration:
    """Optimistic response of every menu point. Raises InfeasibleError if none recovers the fixed and network cost."""
    start, solved = time.perf_counter(), joint.warm.solves
    rows, trace, best = [], [], None
    for count, design in enumerate(menu_points(joint.instance.menu), 1):
        row = row_of(design) | {"social_cost": np.nan, "theta": np.nan}
        try:
            response = optimistic_response(joint, design)
        except InfeasibleError:
            response = None
        if response is not None:
            row |= {"social_cost": response.social.total, "theta": response.theta}
            if best is None or response.social.total < best.social.total:
                best = response
                trace.append((time.perf_counter() - start, joint.warm.solves - solved, -np.inf, best.social.total))
                if progress:
                    progress(f"point {count}: social cost {best.social.total:.4f} $/day")
        rows.append(row)
    if best is None:
        raise InfeasibleError("no point of the menu recovers the fixed and the network cost")
    trace.append((time.perf_counter() - start, joint.warm.solves - solved, best.social.total, best.social.total))
    return Enumeration(
        best, pd.DataFrame(rows), pd.DataFrame(trace, columns=TRACE), len(rows), joint.warm.solves - solved
    )
