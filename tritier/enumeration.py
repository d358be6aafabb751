"""Complete enumeration of a small menu with the warm follower: exact, slow, and the reference for every search."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.dso import menu_points
from tritier.errors import InfeasibleError
from tritier.instance import Design
from tritier.joint import JointLP
from tritier.market import line_position
from tritier.optimistic import Response, optimistic_response

TANGENTS = 40  # loss tangents after which the LP starts anew with the latest few
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


@dataclass(frozen=True, eq=False)
class Covered:
    """A response and the limits it needs: it answers every design of its tariffs between those limits and its own.

    A tighter limit that the response respects removes decisions but not this one, so that it stays optimal at both
    levels
    and the optimal values stay the same (:eq:`eq-covered`).
    """

    response: Response
    needed: tuple[float, ...]  # kW, by line of the menu

    def covers(self, design: Design) -> bool:
        own = self.response.design
        if (own.tariff, own.p2p) != (design.tariff, design.p2p):
            return False
        limits = zip(self.needed, design.capacity, own.capacity, strict=True)
        return all(need <= limit <= mine for need, (_, limit), (_, mine) in limits)


def covered(joint: JointLP, response: Response) -> Covered:
    """A response with the smallest limits it respects: CVaR of its own flows, rounded up."""
    load = joint.net_load(response.x)
    lines = (line_position(joint.instance, line) for line in joint.lines)
    return Covered(response, tuple(joint.network.required_capacity(load, line) for line in lines))


def loosest_first(joint: JointLP) -> list[Design]:
    """Menu points tariff by tariff, the largest limits first."""
    return sorted(
        menu_points(joint.instance.menu), key=lambda d: (d.tariff, d.p2p, [-limit for _, limit in d.capacity])
    )


def enumerate_menu(joint: JointLP, progress: Callable[[str], None] | None = None) -> Enumeration:
    """Optimistic response of every menu point. Raises InfeasibleError if none recovers the fixed and network cost."""
    start, solves = time.perf_counter(), 0
    rows, trace, best, known, worker = [], [], None, [], joint.fresh()
    for count, design in enumerate(loosest_first(joint), 1):
        if worker.tangents > TANGENTS:  # loss tangents of points long past only slow the LP down
            solves, worker = solves + worker.warm.solves, worker.fresh()
        row = row_of(design) | {"social_cost": np.nan, "theta": np.nan}
        known = [c for c in known if (c.response.design.tariff, c.response.design.p2p) == (design.tariff, design.p2p)]
        response = next((c.response for c in known if c.covers(design)), None)
        if response is None:
            try:
                response = optimistic_response(worker, design)
                known.append(covered(worker, response))
            except InfeasibleError:
                response = None
        if response is not None:
            row |= {"social_cost": response.social.total, "theta": response.theta}
            if best is None or response.social.total < best.social.total:
                best = replace(response, design=design)
                trace.append((time.perf_counter() - start, solves + worker.warm.solves, -np.inf, best.social.total))
                if progress:
                    progress(f"point {count}: social cost {best.social.total:.4f} $/day")
        rows.append(row)
    if best is None:
        raise InfeasibleError("no point of the menu recovers the fixed and the network cost")
    best = optimistic_response(joint, best.design)
    solves += worker.warm.solves
    trace.append((time.perf_counter() - start, solves, best.social.total, best.social.total))
    return Enumeration(best, pd.DataFrame(rows), pd.DataFrame(trace, columns=TRACE), len(rows), solves)
