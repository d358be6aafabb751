"""Complete enumeration of a small menu with the warm follower: exact, slow, and the reference for every search."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from tritier.chance import Block
from tritier.dso import menu_points
from tritier.errors import InfeasibleError, InputError
from tritier.instance import Design, Instance
from tritier.joint import JointLP
from tritier.market import line_position
from tritier.optimistic import Response, optimistic_response
from tritier.parametric import ParametricLP

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


def tariff_groups(joint: JointLP) -> list[list[Design]]:
    """Menu points by tariffs, in menu order; within a group the largest limits first."""
    groups: dict[tuple, list[Design]] = {}
    for design in menu_points(joint.instance.menu):
        groups.setdefault((design.tariff, design.p2p), []).append(design)
    return [sorted(group, key=lambda d: [-limit for _, limit in d.capacity]) for group in groups.values()]


def enumerate_group(
    instance: Instance, bare: ParametricLP, network: bool, blocks: list[Block], group: list[Design]
) -> tuple[list[dict[str, float]], int]:
    """Rows of the menu points of one tariff, and the LP solves they took, on an LP built for them alone."""
    worker = JointLP(instance, network=network, lp=bare)
    worker.add_blocks(blocks)
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


def enumerate_menu(
    joint: JointLP,
    progress: Callable[[str], None] | None = None,
    jobs: int = 1,
    state: Path | None = None,
    origin: str = "",
) -> Enumeration:
    """Optimistic response of every menu point. Raises InfeasibleError if none recovers the fixed and network cost.

    Tariffs are independent tasks, each on an LP of its own, so that results do not depend on ``jobs``. Finished tariffs
    go to ``state``, from where a run of the same ``origin`` goes on.
    """
    start, groups = time.perf_counter(), tariff_groups(joint)
    done = read_state(state, origin)
    pending = [k for k in range(len(groups)) if k not in done]
    common = (joint.instance, joint.bare, joint.sees_network, list(joint.blocks))
    tasks = (delayed(enumerate_group)(*common, groups[k]) for k in pending)
    trace = []
    for k, answer in zip(pending, Parallel(n_jobs=jobs, return_as="generator")(tasks), strict=True):
        done[k] = answer
        write_state(state, origin, done)
        best = min(
            (row["social_cost"] for rows, _ in done.values() for row in rows if np.isfinite(row["social_cost"])),
            default=np.inf,
        )
        solves = sum(count for _, count in done.values())
        trace.append((time.perf_counter() - start, solves, -np.inf, best))
        if progress:
            progress(f"tariffs {len(done)} of {len(groups)}, best social cost {best:.4f} $/day, {solves} LP solves")
    table = pd.DataFrame([row for k in range(len(groups)) for row in done[k][0]])
    if table["social_cost"].isna().all():
        raise InfeasibleError("no point of the menu recovers the fixed and the network cost")
    designs = [design for group in groups for design in group]
    best = optimistic_response(joint, designs[int(table["social_cost"].idxmin())])
    solves = sum(count for _, count in done.values())
    trace.append((time.perf_counter() - start, solves, best.social.total, best.social.total))
    return Enumeration(best, table, pd.DataFrame(trace, columns=TRACE), len(table), solves)


def read_state(state: Path | None, origin: str) -> dict[int, tuple[list[dict[str, float]], int]]:
    """Finished tariffs of an interrupted run of the same origin; none where there is no such file."""
    if state is None or not state.is_file():
        return {}
    try:
        stored = json.loads(state.read_text())
        if stored["origin"] != origin:
            return {}
        none = float("nan")
        return {
            int(k): ([{n: none if v is None else v for n, v in row.items()} for row in rows], count)
            for k, (rows, count) in stored["done"].items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(state, "text", "is no state of an interrupted run", "run without --resume") from error


def write_state(state: Path | None, origin: str, done: dict[int, tuple[list[dict[str, float]], int]]) -> None:
    """Keep finished tariffs, whole or not at all."""
    if state is None:
        return
    rows = {
        k: ([{n: None if np.isnan(v) else v for n, v in row.items()} for row in found], count)
        for k, (found, count) in done.items()
    }
    fresh = state.with_name(state.name + ".new")
    fresh.write_text(json.dumps({"origin": origin, "done": rows}))
    fresh.replace(state)
