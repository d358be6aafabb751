"""Complete enumeration of a small menu with the warm follower: exact, slow, and the reference for every search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tritier.dso import menu_points
from tritier.errors import InfeasibleError
from tritier.instance import Design
from tritier.joint import JointLP
from tritier.market import line_position
from tritier.optimistic import Response, optimistic_response


@dataclass(frozen=True, eq=False)
class Enumeration:
    """Every point of a menu with its optimal value, and the best of them."""

    best: Response
    table: pd.DataFrame  # a row per menu point: tariffs, limits, theta, social cost (NaN: revenue not recovered)
    menu_points: int
    lp_solves: int

    @property
    def lower_bound(self) -> float:
        return self.best.social.total

    upper_bound = lower_bound


def row_of(design: Design) -> dict[str, float]:
    """A menu point as a table row."""
    tariff = {f"tau_{b}": t for b, t in enumerate(design.tariff)}
    return tariff | {"tau_p": design.p2p} | {f"cap_{line}": limit for line, limit in design.capacity}


@dataclass(frozen=True, eq=False)
class Covered:
    """A response and the limits it needs: it answers every design of its tariffs between those limits and its own.

    A tighter limit that the response respects removes decisions but not this one, so that it stays optimal at both
    levels and the optimal values stay the same (:eq:`eq-covered`).
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


def tariff_groups(joint: JointLP) -> list[list[Design]]:
    """Menu points by tariffs, in menu order; within a group the largest limits first."""
    groups: dict[tuple, list[Design]] = {}
    for design in menu_points(joint.instance.menu):
        groups.setdefault((design.tariff, design.p2p), []).append(design)
    return [sorted(group, key=lambda d: [-limit for _, limit in d.capacity]) for group in groups.values()]


def enumerate_group(joint: JointLP, group: list[Design]) -> tuple[list[dict[str, float]], int]:
    """Rows of the menu points of one tariff, and the LP solves they took, on an LP built for them alone."""
    worker = JointLP(joint.instance, network=joint.sees_network, lp=joint.bare)
    worker.add_blocks(joint.blocks)
    rows, known = [], []
    for design in group:
        row = row_of(design) | {"social_cost": np.nan, "theta": np.nan}
        response = next((c.response for c in known if c.covers(design)), None)
        if response is None:
            try:
                response = optimistic_response(worker, design)
                known.append(covered(worker, response))
            except InfeasibleError:
                response = None
        if response is not None:
            row |= {"social_cost": response.social.total, "theta": response.theta}
        rows.append(row)
    return rows, worker.warm.solves


def enumerate_menu(joint: JointLP) -> Enumeration:
    """Optimistic response of every menu point. Raises InfeasibleError if none recovers the fixed and network cost."""
    groups = tariff_groups(joint)
    rows, solves = [], 0
    for group in groups:
        found, count = enumerate_group(joint, group)
        rows, solves = rows + found, solves + count
    table = pd.DataFrame(rows)
    if table["social_cost"].isna().all():
        raise InfeasibleError("no point of the menu recovers the fixed and the network cost")
    designs = [design for group in groups for design in group]
    best = optimistic_response(joint, designs[int(table["social_cost"].idxmin())])
    return Enumeration(best, table, len(table), solves)
