"""The benchmark: our search beside complete enumeration and monoliths, its growth, and large markets.

An engine on an instance is one row: what it found, what it proved, and what it took. A suite measures engines on
growing instances. ``python -m tritier.evaluation.bench`` measures every pair in one run, one process at a time, and
writes data/results/bench.csv and bench.json; ``--quick`` measures small instances in under a minute; ``--suites``
renews a part of the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
from tritier.errors import CertificateError, InputError
from tritier.inputs.instance import Design, Instance, Menu
from tritier.model.dso import menu_points
from tritier.provenance import DATA, commit, versions, write_json
from tritier.reformulation.joint import JointLP
from tritier.reformulation.market import MarketExample, design_of, market_bilevel, market_example, storage_bounds
from tritier.reformulation.milp import solve_milp
from tritier.reformulation.solve import solve
from tritier.search import hybrid
from tritier.search.ends import both_ends
from tritier.search.enumeration import enumerate_menu
from tritier.search.large import Clearing, clear, large_instance, solve_whole
from tritier.search.responses import optimistic_response

STORED = DATA / "results" / "bench.csv"
WAYS = DATA / "results" / "ways.csv"  # one change of the search at a time, beside profile.csv
PACKAGES = ("highspy", "numpy", "pyscipopt", "scipy", "cvxpy", "joblib")
STUDY = DATA / "studies" / "ieee33"
MODES = ("strong_duality", "bigm with value cut", "bigm", "sos1", "indicator")
EXACT = 1e-2  # share of the gain at which our search counts as exact beside an engine that is
TANGENTS = 4  # loss tangents of a monolith; its design is judged with exact losses
ROUNDING = 1e-9  # relative, of a bound that a solver gives


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


def row(
    suite: str, pair: str, engine: str, instance: Instance, menu_points: int | None = None, **found: Any
) -> BenchRow:
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


def market(folder: Path, n_prosumers: int, n_scenarios: int, menu: Menu | None = None) -> Instance:
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
        joint, flat=flat, ideal=ideal, gap=gap, engine=engine, jobs=jobs,
        time_limit=None if np.isinf(limit) else limit,
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
            load = joint.net_load(joint.solve(joint.cost(design)).x)
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
    engine = "decomposition" if jobs == 1 else f"decomposition, {jobs} processes"
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
        size = max(1.0, abs(best))
        allowed = max(tolerance * size, r.cost - r.bound + ROUNDING * size)
        if not r.cost - best <= allowed:
            raise CertificateError("bench.optimum", r.cost - best, allowed, f"{r.engine} at {r.pair}")


def table(rows: list[BenchRow]) -> pd.DataFrame:
    """Rows as a table."""
    return pd.DataFrame([vars(r) for r in rows], columns=list(BenchRow.__dataclass_fields__))


@dataclass(frozen=True)
class Plan:
    """Sizes of a benchmark: (prosumers, scenarios) of enumeration; (hours, scenarios) of the example market and
    (prosumers, scenarios, tariff levels) on the feeder for the monoliths, with their limits in seconds; sizes of growth
    and the limit of a search; prosumers of large markets and the limit of one LP; (prosumers, scenarios) on the menu of
    preset paper and the limit there."""

    enumeration: tuple[tuple[int, int], ...]
    steps: int  # tariff levels a block of the enumerated menu
    single_level: tuple[tuple[int, int], ...]
    limit: float
    feeder: tuple[tuple[int, int, int], ...]
    feeder_limit: float
    prosumers: tuple[int, ...]
    scenarios: tuple[int, ...]
    tariffs: tuple[int, ...]
    limits: tuple[int, ...]
    feeders: tuple[Path, ...]
    search_limit: float
    large: tuple[int, ...]
    large_days: int
    methods: tuple[str, ...]
    large_limit: float
    long_menu: tuple[tuple[int, int], ...] = ()
    long_limit: float = 600.0
    gap: float = 0.05


FULL = Plan(
    enumeration=((4, 3),),
    steps=3,
    single_level=((4, 2), (8, 2), (24, 2)),
    limit=10.0,
    feeder=((3, 1, 2), (4, 3, 3), (7, 3, 3), (14, 3, 3)),
    feeder_limit=300.0,
    prosumers=(2, 4, 7, 10, 14),
    scenarios=(1, 3, 6, 12),
    tariffs=(2, 3, 4),
    limits=(1, 2, 3, 4),
    feeders=(STUDY, DATA / "studies" / "oberrhein1", DATA / "studies" / "oberrhein2"),
    search_limit=100.0,
    large=(30, 100, 300, 1000, 2000),
    large_days=10,
    methods=("simplex", "interior point"),
    large_limit=400.0,
    long_menu=((10, 20),),
)
QUICK = Plan(
    enumeration=((3, 2),),
    steps=2,
    single_level=((3, 2),),
    limit=3.0,
    feeder=((3, 1, 2),),
    feeder_limit=10.0,
    prosumers=(2, 3),
    scenarios=(1,),
    tariffs=(2,),
    limits=(2,),
    feeders=(),
    search_limit=30.0,
    large=(12,),
    large_days=1,
    methods=("simplex", "with crossover"),
    large_limit=20.0,
)


def levels(n: int, low: float = 0.02, high: float = 0.20) -> tuple[float, ...]:
    """n tariffs between two, $/kWh, evenly spread."""
    return tuple(round(low + (high - low) * k / (n - 1), 6) for k in range(n))


def menu_of(tariffs: int, lines: int = 1) -> Menu:
    """A menu on the 33-bus feeder: so many levels for each block, two P2P charges, limits of head and laterals."""
    capacity = ((1, (1800.0, 2200.0, 4700.0)), (18, (220.0, 2200.0)), (22, (520.0, 2200.0)), (25, (500.0, 2200.0)))
    return Menu((levels(tariffs),) * 3, (0.0, 0.04), capacity[:lines])


def enumerated(plan: Plan) -> Iterator[list[BenchRow]]:
    """Our search and complete enumeration on the same menu."""
    for people, days in plan.enumeration:
        instance, pair = market(STUDY, people, days, menu_of(plan.steps)), f"{people} x {days}"
        close, _ = hybrid_row("enumeration", pair, instance, EXACT)
        usual, _ = hybrid_row("enumeration", pair, instance, plan.gap)
        lazy, _ = hybrid_row("enumeration", pair, instance, plan.gap, engine="scip")
        yield [usual, lazy, close, enumeration_row("enumeration", pair, instance)]


def single_level(plan: Plan) -> Iterator[list[BenchRow]]:
    """Our search and the monoliths on the example market; a mode that meets its limit is not tried on the next size."""
    left = list(MODES)
    for hours, scenarios in plan.single_level:
        example, instance = example_at(hours, scenarios)
        limits = (plan.search_limit, plan.limit)
        rows, left = beside("single level", f"{hours} h x {scenarios}", example, instance, left, limits, EXACT)
        yield rows


def feeder(plan: Plan) -> Iterator[list[BenchRow]]:
    """Our search and the monoliths by strong duality on the case study's feeder."""
    for people, days, steps in plan.feeder:
        instance = market(STUDY, people, days, menu_of(steps))
        instance = replace(instance, rules=replace(instance.rules, tie_break=0.0))
        pair, modes = f"{people} x {days}, {instance.menu.n_points} points", ["strong_duality"]
        limits = (plan.search_limit, plan.feeder_limit)
        yield beside("feeder", pair, as_example(instance), instance, modes, limits, plan.gap)[0]


def beside(
    suite: str,
    pair: str,
    example: MarketExample,
    instance: Instance,
    modes: list[str],
    limits: tuple[float, float],
    gap: float,
) -> tuple[list[BenchRow], list[str]]:
    """Our search in its own tree and in SCIP's, HiGHS and SCIP's modes on one problem, all asked for the same gap, and
    the modes that finished.

    limits: seconds of our search and of a monolith.
    """
    own, limit = limits
    ours, gain = hybrid_row(suite, pair, instance, gap, own)
    lazy, _ = hybrid_row(suite, pair, instance, gap, own, engine="scip")
    rows = [ours, lazy, milp_row(suite, pair, example, instance, limit, gain, gap)]
    rows += [mode_row(suite, pair, example, instance, mode, limit, gain, gap) for mode in modes]
    return rows, [mode for mode, row in zip(modes, rows[3:], strict=True) if row.status == "optimal"]


def long_menu(plan: Plan) -> Iterator[list[BenchRow]]:
    """Our search on the menu of preset paper, with two processes as a user would run it, and in SCIP's tree."""
    for people, days in plan.long_menu:
        instance = market(STUDY, people, days, cleared(prepare(STUDY, "paper"), find_case(4)).menu)
        pair = f"{people} x {days}, {instance.menu.n_points} points"
        rows = [hybrid_row("long menu", pair, instance, gap, plan.long_limit, jobs=2)[0] for gap in (plan.gap, EXACT)]
        rows.append(hybrid_row("long menu", pair, instance, plan.gap, plan.long_limit, engine="scip")[0])
        yield rows


def growth(plan: Plan) -> Iterator[list[BenchRow]]:
    """Our search over prosumers, scenarios, tariffs, limits and buses; a size that two of them share is solved once."""
    few, middle = min(plan.scenarios), plan.prosumers[len(plan.prosumers) // 2]
    whole = Menu((levels(3),) * 3, (0.0, 0.04), ())
    points: list[tuple[str, object, tuple[Path, int, int, Menu]]] = []
    points += [("prosumers", n, (STUDY, n, few, menu_of(plan.steps))) for n in plan.prosumers]
    points += [("scenarios", s, (STUDY, middle, s, menu_of(plan.steps))) for s in plan.scenarios]
    points += [("tariffs", k, (STUDY, middle, few, menu_of(k))) for k in plan.tariffs]
    points += [("limits", k, (STUDY, middle, few, menu_of(plan.steps, k))) for k in plan.limits]
    points += [("buses", folder.name, (folder, middle, few, whole)) for folder in plan.feeders]
    solved: dict[tuple, BenchRow] = {}
    for suite, size, what in points:
        if what not in solved:
            solved[what] = hybrid_row(suite, f"{size}", market(*what), plan.gap, plan.search_limit)[0]
        yield [replace(solved[what], suite=suite, pair=f"{size}")]


def large(plan: Plan) -> Iterator[list[BenchRow]]:
    """Large markets by decomposition and as one LP; a method that meets its limit is not tried on the next size."""
    base, left = market(STUDY, 14, plan.large_days, menu_of(3)), list(plan.methods)
    for n in plan.large:
        instance = large_instance(base, n)
        first, found = clearing_row(f"{n}", instance)
        rows = [first]
        for method in tuple(left):
            rows.append(whole_row(f"{n}", instance, found, method, plan.large_limit))
            if rows[-1].status != "optimal":
                left.remove(method)
        yield rows


SUITES: dict[str, Callable[[Plan], Iterator[list[BenchRow]]]] = {
    "enumeration": enumerated,
    "single level": single_level,
    "feeder": feeder,
    "long menu": long_menu,
    "growth": growth,
    "large market": large,
}
GROWTH = ("prosumers", "scenarios", "tariffs", "limits", "buses")


def run(
    plan: Plan, suites: Sequence[str] = tuple(SUITES), report: Callable[[pd.DataFrame], None] = lambda rows: None
) -> pd.DataFrame:
    """Measure the suites, one pair after the other; ``report`` is called with the rows of each pair.

    Raises CertificateError where engines that finished disagree on the optimum.
    """
    found: list[BenchRow] = []
    for suite in suites:
        if suite not in SUITES:
            raise InputError("bench", "--suites", f"unknown suite {suite!r}", f"choose of {', '.join(SUITES)}")
        for rows in SUITES[suite](plan):
            check(rows)
            found += compared(rows)
            report(table(compared(rows)))
    return table(found)


def stored(path: str | Path = STORED) -> tuple[pd.DataFrame, dict[str, object]]:
    """The stored table, and machine, versions and command that made it. Raises InputError where there is none."""
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "file", "is missing", "run python -m tritier.evaluation.bench")
    return pd.read_csv(path), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Seconds that each monolith of a suite was given, and each search of ours."""
    ours, given = rows["engine"].str.startswith("hybrid"), rows["limit"].replace(float("inf"), float("nan"))
    return float(given[~ours].max()), float(given[ours].max())


def origin(suites: Sequence[str]) -> dict[str, object]:
    """Machine and versions of a run."""
    return {
        "command": f"python -m tritier.evaluation.bench --suites {','.join(suites)}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "versions": versions(PACKAGES),
        "processor": processor(),
        "cores": os.cpu_count(),
        "processes": 1,
    }


def processor() -> str:
    """Name of the processor, or of its kind where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def keep(rows: pd.DataFrame, suites: Sequence[str], path: Path, fresh: list[bool]) -> None:
    """Add rows to the stored table; the first of a run replace all rows of its suites."""
    names = {name for suite in suites for name in (GROWTH if suite == "growth" else (suite,))}
    old = pd.read_csv(path) if path.is_file() else rows.iloc[:0]
    if not fresh:
        old = old[~old["suite"].isin(names)]
    fresh.append(True)
    both = pd.concat([old, rows]) if len(old) else rows
    both.to_csv(path, index=False, float_format="%.10g")
    about = json.loads(path.with_suffix(".json").read_text()) if path.with_suffix(".json").is_file() else {}
    about |= dict.fromkeys(suites, origin(suites))
    write_json(path.with_suffix(".json"), about)


def main(words: list[str] | None = None) -> int:
    """The command line; 0, or 2 on bad input."""
    parser = argparse.ArgumentParser(prog="tritier.evaluation.bench", description="Measure engines side by side.")
    parser.add_argument("--quick", action="store_true", help="small instances, nothing stored unless --out is given")
    parser.add_argument("--suites", default=",".join(SUITES), help="comma-separated: " + ", ".join(SUITES))
    parser.add_argument("--out", type=Path, help=f"table to write (default {STORED})")
    options = parser.parse_args(words)
    suites, fresh = [s.strip() for s in options.suites.split(",")], list[bool]()
    path = options.out or (None if options.quick else STORED)

    def report(rows: pd.DataFrame) -> None:
        shown = ["suite", "pair", "engine", "status", "gap", "seconds", "ratio"]
        print(rows[shown].to_string(index=False, header=False), file=sys.stderr, flush=True)
        if path is not None:
            keep(rows, suites, path, fresh)

    try:
        run(QUICK if options.quick else FULL, suites, report)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
