"""Complete enumeration of a small menu with the warm follower: exact, slow, and the reference for every search."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from tritier.errors import NoRecoveryError, SolverError
from tritier.inputs.instance import Design
from tritier.model.dso import menu_points
from tritier.model.market import line_position
from tritier.reformulation.joint import JointLP
from tritier.search.cuts import Request, solve_request
from tritier.search.responses import Response, optimistic_response


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
    charges = {"tau_p": design.p2p, "tau_k": design.peak, "tau_c": design.coincident}
    return tariff | charges | {f"cap_{line}": limit for line, limit in design.capacity}


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
        if not np.array_equal(own.prices, design.prices):
            return False
        limits = zip(self.needed, design.capacity, own.capacity, strict=True)
        return all(need <= limit <= mine for need, (_, limit), (_, mine) in limits)


def covered(joint: JointLP, response: Response) -> Covered:
    """A response with the smallest limits it respects: CVaR of its own flows, rounded up."""
    load = joint.net_load(response.x)
    lines = (line_position(joint.instance, line) for line in joint.lines)
    return Covered(response, tuple(joint.network.required_capacity(load, line) for line in lines))


def tariff_groups(joint: JointLP) -> list[list[Design]]:
    """Menu points by prices, in menu order; within a group the largest limits first."""
    groups: dict[tuple, list[Design]] = {}
    for design in menu_points(joint.instance.menu):
        groups.setdefault(tuple(design.prices.tolist()), []).append(design)
    return [sorted(group, key=lambda d: [-limit for _, limit in d.capacity]) for group in groups.values()]


def enumerate_group(joint: JointLP, group: list[Design]) -> tuple[list[dict[str, float]], int]:
    """Rows of the menu points of one tariff, and the LP solves they took, on an LP built for them alone."""
    worker = JointLP(joint.instance, network=joint.sees_network, lp=joint.bare)
    worker.add_blocks(joint.blocks)
    rows: list[dict[str, float]] = []
    known: list[Covered] = []
    for design in group:
        row = row_of(design) | {"social_cost": np.nan, "theta": np.nan}
        response = next((c.response for c in known if c.covers(design)), None)
        if response is None:
            try:
                response = optimistic_response(worker, design)
                known.append(covered(worker, response))
            except NoRecoveryError:
                response = None
        if response is not None:
            row |= {"social_cost": response.social.total, "theta": response.theta}
        rows.append(row)
    return rows, worker.warm.solves


def enumerate_menu(joint: JointLP, time_limit: float = np.inf) -> Enumeration:
    """Optimistic response of every menu point.

    Raises NoRecoveryError if none recovers the fixed and network cost, SolverError after ``time_limit`` seconds.
    """
    groups, start = tariff_groups(joint), time.perf_counter()
    rows: list[dict[str, float]] = []
    solves = 0
    for group in groups:
        if time.perf_counter() - start > time_limit:
            raise SolverError(f"enumeration of {joint.instance.menu.n_points} menu points: time is up")
        found, count = enumerate_group(joint, group)
        rows, solves = rows + found, solves + count
    table = pd.DataFrame(rows)
    if table["social_cost"].isna().all():
        raise NoRecoveryError("no point of the menu recovers the fixed and the network cost")
    designs = [design for group in groups for design in group]
    best = optimistic_response(joint, designs[int(table["social_cost"].idxmin())])
    return Enumeration(best, table, len(table), solves)


# What neighbours of a design cost society: its tariffs varied over their menus, all else as designed.


def thinned(levels: tuple[float, ...], kept: float, most: int) -> list[float]:
    """At most ``most`` of a menu's levels, evenly spread from first to last, with the nearest moved onto ``kept``."""
    ordered = sorted(levels)
    chosen = [ordered[k] for k in np.unique(np.linspace(0, len(ordered) - 1, most).round().astype(int))]
    if kept not in chosen:
        chosen[int(np.argmin(np.abs(np.array(chosen) - kept)))] = kept
    return sorted(chosen)


def tariff_grid(joint: JointLP, design: Design, most: int = 4) -> pd.DataFrame:
    """Social cost over the energy charges of the menu, all other charges and limits as in ``design``
    (:eq:`eq-optimistic`).

    Args:
        joint: the market's LP.
        design: the design whose energy charges vary; all else of it stays.
        most: levels of each tariff that are looked at, the design's own among them.
    Returns:
        One row per point: tariffs ``tau_b`` and ``tau_p``, limits ``cap_line``, and ``social_cost`` in $ per day, NaN
        where the revenue is not recovered.
    """
    menus = zip(joint.instance.menu.tariff, design.tariff, strict=True)
    optimistic_response(joint, design)  # its loss tangents serve the neighbours
    rows = []
    for tariff in product(*(thinned(levels, kept, most) for levels, kept in menus)):
        point = replace(design, tariff=tariff)
        rows.append(row_of(point) | {"social_cost": social_cost_at(joint, point)})
    return pd.DataFrame(rows)


def social_cost_at(joint: JointLP, design: Design) -> float:
    """Exact social cost of the market's response to a design, $ per day; NaN where none recovers the cost.

    An answer (:eq:`eq-answer`) gives it by one warm solve, to within what tangents understate the losses by; where the
    answer falls short and others might not, the optimistic response with the revenue row decides.
    """
    found = solve_request(joint, Request("answer", design))
    if found.recovered >= 0:
        return found.social_cost
    if -solve_request(joint, Request("shortfall", design)).bound < joint.instance.least_revenue:
        return np.nan
    try:
        return optimistic_response(joint, design).social.total
    except NoRecoveryError:
        return np.nan
