"""The engines that the benchmark sets side by side, each as one row: what it found, proved, and what it took."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
from tritier.errors import CertificateError, InputError
from tritier.inputs.instance import Design, Instance, Menu
from tritier.model.dso import menu_points
from tritier.reformulation.joint import JointLP
from tritier.reformulation.market import MarketExample, design_of, market_bilevel, market_example, storage_bounds
from tritier.reformulation.milp import solve_milp
from tritier.reformulation.solve import solve
from tritier.search import tree as hybrid
from tritier.search.ends import both_ends
from tritier.search.enumeration import enumerate_menu
from tritier.search.large import Clearing, clear
from tritier.search.large_market import solve_whole
from tritier.search.responses import optimistic_response

TANGENTS = 4  # loss tangents of a monolith; its design is judged with exact losses


@dataclass(frozen=True)
class BenchRow:
    """One engine on one instance. ``cost`` and ``bound`` in $; ``gap`` is their difference as a share of the gain
    between flat tariff and first best, in large markets of the cost; ``ratio`` is seconds over those of the pair's
    first engine; counts are nan where an engine has no such thing."""

    suite: str
    pair: str
    engine: str
    prosumers: int
    scenarios: int
    hours: int
    buses: int
    menu_points: int
    status: str
    cost: float
    bound: float
    gap: float
    seconds: float
    ratio: float
    lp_solves: float
    nodes: float
    columns: float
    limit: float
    load: float


def row(suite: str, pair: str, engine: str, instance: Instance, menu_points: int | None = None, **found) -> BenchRow:
    """A row with the instance's sizes; what is not found is nan."""
    days = instance.days
    empty = dict.fromkeys(("cost", "bound", "gap", "ratio", "lp_solves", "nodes", "columns", "limit"), np.nan)
    return BenchRow(
        suite=suite,
        pair=pair,
        engine=engine,
        prosumers=len(instance.prosumers),
        scenarios=days.n_days,
        hours=days.n_hours,
        buses=instance.feeder.bus.size,
        menu_points=instance.menu.n_points if menu_points is None else menu_points,
        load=os.getloadavg()[0],
        **(empty | found),
    )


def compared(rows: list[BenchRow]) -> list[BenchRow]:
    """The rows of a pair with the ratio of their times to that of the first."""
    return [replace(r, ratio=r.seconds / rows[0].seconds) for r in rows]


def market(folder: str, n_prosumers: int, n_scenarios: int, menu: Menu | None = None) -> Instance:
    """The Case 4 instance of a study at a size, at the fixed cost that its network charge recovers in Case 1."""
    changes = {"n_prosumers": n_prosumers, "n_scenarios": n_scenarios}
    prepared = prepare(folder, "fast", changes)
    instance = cleared(prepared, find_case(4))
    return instance if menu is None else replace(instance, menu=menu)


def hybrid_row(
    suite: str, pair: str, instance: Instance, gap: float, limit: float = np.inf, engine: str = "tree", jobs: int = 1
) -> tuple[BenchRow, float]:
    """Our search with all it needs (LP, flat tariff, first best, search, SCIP's proof), and the achievable gain, $."""
    start = time.perf_counter()
    joint = JointLP(instance)
    flat, ideal = both_ends(joint, jobs)
    gain = flat.social_cost - ideal.social_cost
    found = hybrid.solve(
        flat.lp(joint), gap=gap, f_flat=flat.social_cost, f_first_best=ideal.social_cost, ideal=ideal, engine=engine,
        time_limit=None if np.isinf(limit) else limit, jobs=jobs,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    name = "hybrid" if engine == "tree" else "hybrid in SCIP's tree"
    name += "" if jobs == 1 else f", {jobs} processes"
    done = row(
        suite, pair, f"{name}, gap {100 * gap:g} %", instance, status="optimal" if found.gap <= gap else "open",
        cost=found.upper_bound, bound=found.lower_bound, gap=found.gap, seconds=seconds, lp_solves=found.lp_solves,
        columns=joint.lp.cost.size, limit=limit,
    )  # fmt: skip
    return done, gain


def enumeration_row(suite: str, pair: str, instance: Instance) -> BenchRow:
    """Complete enumeration with the warm follower; a response stands for all designs that it answers as well."""
    start = time.perf_counter()
    joint = JointLP(instance)
    found = enumerate_menu(joint)
    return row(
        suite, pair, "enumeration", instance, status="optimal", cost=found.upper_bound, bound=found.lower_bound,
        gap=0.0, seconds=time.perf_counter() - start, lp_solves=found.lp_solves, columns=joint.lp.cost.size,
    )  # fmt: skip


def example_at(hours: int, scenarios: int) -> tuple[MarketExample, Instance]:
    """The market of the complementarity chapter as a bilevel problem, and the instance that asks the same revenue."""
    example = market_example(hours, scenarios)
    least = float(example.problem.U_lower[example.problem.U_name.index("revenue adequacy")])
    return example, replace(example.joint.instance, fixed_cost=least)


def as_example(instance: Instance) -> MarketExample:
    """An instance as a bilevel problem, with the chance blocks that followers at the corners of its menu violate and
    loss tangents at the first of them. Stored energy must have no price (``rules.tie_break``)."""
    joint, menu = JointLP(instance), instance.menu
    corners = Menu(
        tuple((levels[0], levels[-1]) for levels in menu.tariff),
        (menu.p2p[0], menu.p2p[-1]),
        tuple((line, (levels[0], levels[-1])) for line, levels in menu.capacity),
    )
    while True:
        blocks = len(joint.blocks)
        for design in menu_points(corners):
            joint.offer(design)
            load = joint.net_load(joint.settle(joint.cost(design)).x)
            if joint.tangents <= TANGENTS:
                joint.tangent(load)
        if len(joint.blocks) == blocks:
            break
    joint.offer(None)
    problem, box = market_bilevel(joint)
    return MarketExample(joint, problem, problem, box, storage_bounds(joint, problem, box))


def exact_cost(instance: Instance, design: Design) -> float:
    """Social cost of the optimistic response to a design, $: what every engine's design is judged by."""
    return optimistic_response(JointLP(instance), design).social.total


def mode_row(
    suite: str, pair: str, example: MarketExample, instance: Instance, mode: str, limit: float, gain: float, gap: float
) -> BenchRow:
    """A single-level mode by SCIP, asked for the same gap as our search; its model (blocks and tangents of the whole
    menu included) is given to it."""
    cut = mode.endswith(" with value cut")
    name, start = mode.removesuffix(" with value cut"), time.perf_counter()
    try:
        found = solve(
            example.problem, name, time_limit=limit, box=example.box, dual_bound=example.dual_bound, value_cut=cut,
            gap=gap * gain,
        )  # fmt: skip
    except CertificateError as refused:
        return row(suite, pair, f"SCIP, {mode}", instance, status=f"refused: {refused.certificate}",
                   seconds=time.perf_counter() - start, limit=limit)  # fmt: skip
    known = found.objective is not None
    cost = exact_cost(instance, design_of(example.joint, found.x)) if known else np.nan
    bound = np.nan if found.bound is None else found.bound
    return row(
        suite, pair, f"SCIP, {mode}", instance, status=found.status, cost=cost, bound=bound,
        gap=(cost - bound) / gain, seconds=found.seconds, nodes=found.nodes, limit=limit,
    )  # fmt: skip


def milp_row(
    suite: str, pair: str, example: MarketExample, instance: Instance, limit: float, gain: float, gap: float
) -> BenchRow:
    """The strong-duality MILP by HiGHS, asked for the same gap as our search; its model is given to it."""
    found = solve_milp(example.problem, limit, example.box, example.dual_bound, gap * gain)
    cost = exact_cost(instance, design_of(example.joint, found.x)) if found.x.size else np.nan
    return row(
        suite, pair, "HiGHS, strong duality", instance, status=found.status, cost=cost, bound=found.bound,
        gap=(cost - found.bound) / gain, seconds=found.seconds, nodes=found.nodes, limit=limit,
    )  # fmt: skip


def posted(instance: Instance) -> Design:
    """The design at which large markets clear: dear peaks, a P2P charge of 2 ct, the largest limits."""
    return Design((0.05, 0.08, 0.14), 0.02, tuple((line, max(levels)) for line, levels in instance.menu.capacity))


def clearing_row(pair: str, instance: Instance, jobs: int = 1) -> tuple[BenchRow, Clearing]:
    """A large market by decomposition, until no prosumer gains more than 1e-6 of its cost."""
    found = clear(instance, posted(instance), jobs=jobs)
    engine = "decomposition" if jobs == 1 else f"decomposition, {jobs} threads"
    return row(
        "large market", pair, engine, instance, 1, status="optimal", cost=found.cost, bound=found.bound,
        gap=(found.cost - found.bound) / abs(found.cost), seconds=found.seconds, lp_solves=found.lp_solves,
        nodes=found.rounds,
    ), found  # fmt: skip


def whole_row(pair: str, instance: Instance, found: Clearing, method: str, limit: float) -> BenchRow:
    """The same market as one LP that is given the chance blocks, so that it is solved once."""
    whole = solve_whole(instance, posted(instance), found.blocks, method, limit)
    return row(
        "large market", pair, f"one LP, {method}", instance, 1,
        status="optimal" if whole.finished else "time_limit", cost=whole.cost, bound=whole.bound,
        gap=(whole.cost - whole.bound) / abs(whole.cost), seconds=whole.seconds, lp_solves=1, columns=whole.columns,
        limit=limit,
    )  # fmt: skip


def check(rows: list[BenchRow], tolerance: float = 1e-6) -> None:
    """Raise CertificateError where engines that finished a pair disagree on the optimum beyond what they promise."""
    done = [r for r in rows if r.status == "optimal"]
    best = min((r.cost for r in done), default=np.nan)
    for r in done:
        allowed = max(tolerance * max(1.0, abs(best)), r.cost - r.bound)
        if not r.cost - best <= allowed:
            raise CertificateError("bench.optimum", r.cost - best, allowed, f"{r.engine} at {r.pair}")


def table(rows: list[BenchRow]) -> pd.DataFrame:
    """Rows as a table."""
    return pd.DataFrame([vars(r) for r in rows], columns=list(BenchRow.__dataclass_fields__))


def require_suite(name: str, known) -> None:
    """Raise InputError for a suite that does not exist."""
    if name not in known:
        raise InputError("bench", "--suites", f"unknown suite {name!r}", f"choose of {', '.join(known)}")
