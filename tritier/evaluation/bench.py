"""The benchmark: our search beside complete enumeration and monoliths, its growth, and large markets.

An engine on an instance is one row: what it found, what it proved, and what it took. A suite measures engines on
growing instances; all engines of a run have the same limit and are asked for the same gap. ``python -m
tritier.evaluation.bench`` measures every pair in one process, at an hour for an engine, and writes
data/results/bench.csv and bench.json when all is done; a run that was cut goes on with the rows that it had finished.
``--quick`` takes some ten minutes of a processor, ``--suites`` renews a part of the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
from tritier.errors import CertificateError, InputError, NoRecoveryError, SolverError
from tritier.inputs.instance import Design, Instance, Menu
from tritier.provenance import DATA, commit, digest, package_hash, sole_writer, versions, write_csv, write_json
from tritier.reformulation.joint import JointLP
from tritier.reformulation.market import (
    MarketExample,
    design_of,
    market_bilevel,
    market_example,
    storage_bounds,
    with_blocks_of_menu,
)
from tritier.reformulation.milp import solve_milp
from tritier.reformulation.solve import solve, solve_local
from tritier.search import hybrid
from tritier.search.enumeration import enumerate_menu
from tritier.search.large import Clearing, clear, large_instance, solve_whole
from tritier.search.references import find_references
from tritier.search.responses import optimistic_response

STORED = DATA / "results" / "bench.csv"
UNFINISHED = Path("results") / "bench"  # rows of runs that are not finished
WAYS = DATA / "results" / "ways.csv"  # one change of the search at a time, beside profile.csv
PACKAGES = ("highspy", "numpy", "pyscipopt", "scipy", "cvxpy", "joblib")
STUDY = DATA / "studies" / "ieee33"
MILP = "HiGHS, strong duality"
ENGINES = {"hybrid": "tree", "hybrid in SCIP's tree": "scip"}
LOCAL = "IPOPT, KKT homotopy"
MODES = ("SCIP, strong_duality", "SCIP, bigm with value cut", "SCIP, bigm", "SCIP, sos1", "SCIP, indicator")
TANGENTS = 4  # loss tangents of a monolith; its design is judged with exact losses
ROUNDING = 1e-9  # relative, of a bound that a solver gives


@dataclass(frozen=True)
class BenchRow:
    """One engine on one instance. ``cost`` and ``bound`` in $; ``gap`` is their difference as a share of the ``gain``
    between flat tariff and first best, $, in large markets of the cost; ``excess`` is what the engine's design costs
    beyond the best that any engine of the pair found, as the same share; ``ratio`` is seconds over those of the pair's
    first engine; counts are nan where an engine has no such thing. ``limit`` is the engine's, s; ``load`` the
    machine's."""

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
    excess: float
    gain: float
    seconds: float
    processor_seconds: float
    ratio: float
    lp_solves: float
    nodes: float
    columns: float
    limit: float
    load: float


COUNTS = ("cost", "bound", "gap", "excess", "gain", "ratio", "lp_solves", "nodes", "columns")


def row(instance: Instance, limit: float, **found: Any) -> BenchRow:
    """A row with the instance's sizes, without a name yet; what is not found is nan."""
    days = instance.days
    sizes = dict(
        prosumers=len(instance.prosumers),
        scenarios=days.n_days,
        hours=days.n_hours,
        buses=instance.feeder.bus.size,
        menu_points=instance.menu.n_points,
    )
    names = dict.fromkeys(("suite", "pair", "engine"), "")
    return BenchRow(**(names | sizes | dict.fromkeys(COUNTS, np.nan) | found), limit=limit, load=os.getloadavg()[0])


class Watch:
    """Seconds since it was made, on the wall and of this process."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds as columns of a row."""
        return {
            "seconds": time.perf_counter() - self._wall,
            "processor_seconds": time.process_time() - self._processor,
        }


def compared(rows: list[BenchRow]) -> list[BenchRow]:
    """The rows of a pair with the ratio of their times to that of the first, and what their designs cost beyond the
    best."""
    best, gain = min((r.cost for r in rows if r.cost == r.cost), default=np.nan), rows[0].gain
    return [replace(r, ratio=r.seconds / rows[0].seconds, excess=(r.cost - best) / gain) for r in rows]


def market(folder: Path, n_prosumers: int, n_scenarios: int, menu: Menu | None = None) -> Instance:
    """The Case 4 instance of a study at a size, at the fixed cost that its network charge recovers in Case 1."""
    changes = {"n_prosumers": n_prosumers, "n_scenarios": n_scenarios}
    prepared = prepare(folder, "fast", changes)
    instance = cleared(prepared, find_case(4))
    return instance if menu is None else replace(instance, menu=menu)


def hybrid_row(instance: Instance, gap: float, limit: float, engine: str = "tree") -> BenchRow:
    """Our search with all it needs: LP, flat tariff, first best, search, SCIP's proof."""
    watch = Watch()
    joint = JointLP(instance)
    flat, ideal = find_references(joint)
    gain = flat.social_cost - ideal.social_cost
    left = max(0.0, limit - watch.read()["seconds"])
    try:
        found = hybrid.solve(joint, flat=flat, ideal=ideal, gap=gap, engine=engine, time_limit=left)
    except SolverError:
        return row(
            instance, limit, status="no_solution", bound=ideal.social_cost, gain=gain, columns=joint.lp.cost.size,
            **watch.read(),
        )  # fmt: skip
    return row(
        instance, limit, status="optimal" if found.gap <= gap else "time_limit", cost=found.upper_bound,
        bound=found.lower_bound, gap=found.gap, gain=gain, lp_solves=found.lp_solves, columns=joint.lp.cost.size,
        **watch.read(),
    )  # fmt: skip


def enumeration_row(instance: Instance, limit: float) -> BenchRow:
    """Complete enumeration with the warm follower; a response stands for all designs that it answers as well."""
    watch = Watch()
    joint = JointLP(instance)
    try:
        found = enumerate_menu(joint, limit)
    except SolverError:
        return row(instance, limit, status="time_limit", columns=joint.lp.cost.size, **watch.read())
    return row(
        instance, limit, status="optimal", cost=found.upper_bound, bound=found.lower_bound, gap=0.0,
        lp_solves=found.lp_solves, columns=joint.lp.cost.size, **watch.read(),
    )  # fmt: skip


def example_at(hours: int, scenarios: int) -> tuple[MarketExample, Instance]:
    """The market of the complementarity chapter as a bilevel problem, and the instance that asks the same revenue."""
    example = market_example(hours, scenarios)
    least = float(example.problem.U_lower[example.problem.U_name.index("revenue adequacy")])
    return example, replace(example.joint.instance, fixed_cost=least)


def as_example(instance: Instance) -> MarketExample:
    """An instance as a bilevel problem, with the chance blocks that followers at the corners of its menu violate and
    loss tangents at the first of them. Stored energy must have no price (``rules.tie_break``)."""
    menu = instance.menu
    corners = Menu(
        tuple((levels[0], levels[-1]) for levels in menu.tariff),
        (menu.p2p[0], menu.p2p[-1]),
        tuple((line, (levels[0], levels[-1])) for line, levels in menu.capacity),
    )
    joint = with_blocks_of_menu(JointLP(instance), corners, TANGENTS)
    problem, box = market_bilevel(joint)
    return MarketExample(joint, problem, problem, box, storage_bounds(joint, problem, box))


def exact_cost(instance: Instance, design: Design) -> float:
    """Social cost of the optimistic response to a design, $: what every engine's design is judged by; nan where it does
    not recover the network's cost."""
    try:
        return optimistic_response(JointLP(instance), design).social.total
    except NoRecoveryError:
        return np.nan


def mode_row(mode: str, example: MarketExample, instance: Instance, limit: float, gain: float, gap: float) -> BenchRow:
    """A single-level mode by SCIP, asked for the same gap as our search; its model (blocks and tangents of the whole
    menu included) is given to it."""
    cut, watch = mode.endswith(" with value cut"), Watch()
    try:
        found = solve(
            example.problem, mode.removesuffix(" with value cut"), time_limit=limit, box=example.box,
            dual_bound=example.dual_bound, value_cut=cut, gap=gap * gain,
        )  # fmt: skip
    except CertificateError as refused:
        return row(instance, limit, status=f"refused: {refused.certificate}", gain=gain, **watch.read())
    except SolverError:
        return row(instance, limit, status="failed", gain=gain, **watch.read())
    cost = exact_cost(instance, design_of(example.joint, found.x)) if found.objective is not None else np.nan
    bound = np.nan if found.bound is None else found.bound
    return row(
        instance, limit, status=found.status, cost=cost, bound=bound, gap=(cost - bound) / gain, gain=gain,
        seconds=found.seconds, processor_seconds=found.processor_seconds, nodes=found.nodes,
    )  # fmt: skip


def milp_row(example: MarketExample, instance: Instance, limit: float, gain: float, gap: float) -> BenchRow:
    """The strong-duality MILP by HiGHS, asked for the same gap as our search; its model is given to it."""
    found = solve_milp(example.problem, limit, example.box, example.dual_bound, gap * gain)
    cost = exact_cost(instance, design_of(example.joint, found.x)) if found.x.size else np.nan
    return row(
        instance, limit, status=found.status, cost=cost, bound=found.bound, gap=(cost - found.bound) / gain, gain=gain,
        seconds=found.seconds, processor_seconds=found.processor_seconds, nodes=found.nodes,
    )  # fmt: skip


def local_row(example: MarketExample, instance: Instance, limit: float, gain: float) -> BenchRow:
    """IPOPT along the path of relaxed products, from the model that the monoliths have: no bound, and the design at the
    menu's point nearest to where it ends."""
    found = solve_local(example.problem, limit)
    cost = exact_cost(instance, design_of(example.joint, found.x))
    short = ", revenue short" if np.isnan(cost) else ""
    return row(
        instance, limit, status=found.status + short, cost=cost, gain=gain, seconds=found.seconds,
        processor_seconds=found.processor_seconds, nodes=found.iterations,
    )  # fmt: skip


def posted(instance: Instance) -> Design:
    """The design at which large markets clear: dear peaks, a P2P charge of 2 ct, the largest limits."""
    return Design((0.05, 0.08, 0.14), 0.02, instance.menu.largest_limits)


def clearing_row(instance: Instance, limit: float, cleared: Callable[[], Clearing]) -> BenchRow:
    """A large market by decomposition, until no prosumer gains more than 1e-6 of its cost."""
    watch = Watch()
    try:
        found = cleared()
    except SolverError:
        return row(instance, limit, menu_points=1, status="time_limit", **watch.read())
    return row(
        instance, limit, menu_points=1, status="optimal", cost=found.cost, bound=found.bound,
        gap=(found.cost - found.bound) / abs(found.cost), lp_solves=found.lp_solves, nodes=found.rounds, **watch.read(),
    )  # fmt: skip


def whole_row(instance: Instance, limit: float, cleared: Callable[[], Clearing], method: str) -> BenchRow:
    """The same market as one LP that is given the chance blocks, so that it is solved once."""
    blocks, watch = cleared().blocks, Watch()
    whole = solve_whole(instance, posted(instance), blocks, method, limit)
    return row(
        instance, limit, menu_points=1, status="optimal" if whole.finished else "time_limit", cost=whole.cost,
        bound=whole.bound, gap=(whole.cost - whole.bound) / abs(whole.cost), lp_solves=1, columns=whole.columns,
        **watch.read(),
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
    """Sizes of a benchmark, and the limit, s, and gap, a share of the gain, that every engine is given: (prosumers,
    scenarios) of enumeration; (hours, scenarios) of the example market and (prosumers, scenarios, tariff levels) on the
    feeder for the monoliths, until none of them closes, and for the local solver; (prosumers, scenarios) on the menu of
    preset paper; sizes of growth; prosumers of large markets."""

    limit: float
    enumeration: tuple[tuple[int, int], ...]
    steps: int  # tariff levels a block of the enumerated menu
    single_level: tuple[tuple[int, int], ...]
    feeder: tuple[tuple[int, int, int], ...]
    local: tuple[tuple[int, int], ...]
    local_feeder: tuple[tuple[int, int, int], ...]
    long_menu: tuple[tuple[int, int], ...]
    prosumers: tuple[int, ...]
    scenarios: tuple[int, ...]
    tariffs: tuple[int, ...]
    limits: tuple[int, ...]
    feeders: tuple[Path, ...]
    large: tuple[int, ...]
    large_days: int
    methods: tuple[str, ...]
    gap: float = 0.01


FULL = Plan(
    limit=3600.0,
    enumeration=((4, 3),),
    steps=3,
    single_level=((4, 2), (8, 2), (24, 2)),
    feeder=((3, 1, 2), (4, 3, 3), (7, 3, 3), (14, 3, 3), (14, 6, 3), (14, 12, 3), (14, 20, 3)),
    local=((3, 2), (4, 2), (8, 2), (24, 2)),
    local_feeder=((3, 1, 2), (4, 3, 3)),
    long_menu=((10, 20),),
    prosumers=(2, 4, 7, 10, 14),
    scenarios=(1, 3, 6, 12),
    tariffs=(2, 3, 4),
    limits=(1, 2, 3, 4),
    feeders=(STUDY, DATA / "studies" / "oberrhein1", DATA / "studies" / "oberrhein2"),
    large=(30, 100, 300, 1000, 2000),
    large_days=10,
    methods=("simplex", "interior point"),
)
QUICK = replace(
    FULL,
    limit=60.0,
    enumeration=((3, 2),),
    single_level=((4, 2), (8, 2)),
    feeder=((3, 1, 2), (4, 3, 3), (7, 3, 3)),
    local=((3, 2), (4, 2), (8, 2)),
    local_feeder=((3, 1, 2),),
    prosumers=(2, 4, 7),
    scenarios=(1, 3),
    tariffs=(2, 3),
    limits=(1, 4),
    large=(30, 100),
)
SMALL = Plan(  # for a page of the book and for tests
    limit=30.0,
    enumeration=((3, 2),),
    steps=2,
    single_level=((3, 2),),
    feeder=((3, 1, 2),),
    local=((3, 2), (4, 2), (8, 2)),
    local_feeder=(),
    long_menu=(),
    prosumers=(2, 3),
    scenarios=(1,),
    tariffs=(2,),
    limits=(2,),
    feeders=(),
    large=(12,),
    large_days=1,
    methods=("simplex", "with crossover"),
)


@dataclass(frozen=True, eq=False)
class Run:
    """A run of a plan: the rows it has, by suite, pair and engine, and the file that keeps them until all is done."""

    plan: Plan
    path: Path | None = None
    rows: dict[tuple[str, str, str], BenchRow] = field(default_factory=dict)

    def ours(self, name: str = "hybrid") -> str:
        """Our search by name, with the gap that it is asked for."""
        return f"{name}, gap {100 * self.plan.gap:g} %"

    def search(self, instance: Instance, engine: str = "tree") -> tuple[Any, ...]:
        """How to measure our search on an instance."""
        return hybrid_row, instance, self.plan.gap, self.plan.limit, engine

    def row(self, suite: str, pair: str, engine: str, measure: Callable[..., BenchRow], *given: Any) -> BenchRow:
        """The row of an engine, kept or measured now by ``measure(*given)``."""
        key = (suite, pair, engine)
        if key not in self.rows:
            self.rows[key] = replace(measure(*given), suite=suite, pair=pair, engine=engine)
            if self.path is not None:
                write_csv(self.path, table(list(self.rows.values())))
        return self.rows[key]


def unfinished(plan: Plan, folder: Path = UNFINISHED) -> Run:
    """The run of a plan that was cut, with the rows it had, or a new one: of the same package and solvers."""
    folder.mkdir(parents=True, exist_ok=True)
    key = digest(repr((asdict(plan), package_hash(), versions(PACKAGES))))
    path = folder / f"{key}.csv"
    rows = read(path).to_dict("records") if path.is_file() else []
    return Run(plan, path, {(r["suite"], r["pair"], r["engine"]): BenchRow(**r) for r in rows})


def levels(n: int, low: float = 0.02, high: float = 0.20) -> tuple[float, ...]:
    """n tariffs between two, $/kWh, evenly spread."""
    return tuple(round(low + (high - low) * k / (n - 1), 6) for k in range(n))


def menu_of(tariffs: int, lines: int = 1) -> Menu:
    """A menu on the 33-bus feeder: so many levels for each block, two P2P charges, limits of head and laterals."""
    capacity = ((1, (1800.0, 2200.0, 4700.0)), (18, (220.0, 2200.0)), (22, (520.0, 2200.0)), (25, (500.0, 2200.0)))
    return Menu((levels(tariffs),) * 3, (0.0, 0.04), capacity[:lines])


def enumerated(run: Run) -> Iterator[list[BenchRow]]:
    """Our search and complete enumeration on the same menu."""
    plan, suite = run.plan, "enumeration"
    for people, days in plan.enumeration:
        instance, pair = market(STUDY, people, days, menu_of(plan.steps)), f"{people} x {days}"
        yield [
            *searched(run, suite, pair, instance),
            run.row(suite, pair, "enumeration", enumeration_row, instance, plan.limit),
        ]


def searched(run: Run, suite: str, pair: str, instance: Instance) -> list[BenchRow]:
    """Our search in its own tree and in SCIP's."""
    return [run.row(suite, pair, run.ours(name), *run.search(instance, engine)) for name, engine in ENGINES.items()]


def single_level(run: Run) -> Iterator[list[BenchRow]]:
    """Our search and the monoliths on the example market; one that meets its limit is not tried on the next size."""
    left = [MILP, *MODES]
    for hours, scenarios in run.plan.single_level:
        rows = beside(
            run, "single level", f"{hours} h x {scenarios}", cache(partial(example_at, hours, scenarios)), left
        )
        left = [r.engine for r in rows if r.engine in left and r.status == "optimal"]
        yield rows


def feeder(run: Run) -> Iterator[list[BenchRow]]:
    """Our search and the monoliths by strong duality on the case study's feeder, until none of these closes."""
    left = [MILP, MODES[0]]
    for people, days, steps in run.plan.feeder:
        problem = cache(partial(on_feeder, people, days, steps))
        rows = beside(run, "feeder", f"{people} x {days}, {menu_of(steps).n_points} points", problem, left)
        left = [r.engine for r in rows if r.engine in left and r.status == "optimal"]
        yield rows
        if not left:
            return


def on_feeder(people: int, days: int, steps: int) -> tuple[MarketExample, Instance]:
    """The case study as a bilevel problem, and the instance: stored energy has no price in it."""
    instance = market(STUDY, people, days, menu_of(steps))
    instance = replace(instance, rules=replace(instance.rules, tie_break=0.0))
    return as_example(instance), instance


def beside(
    run: Run, suite: str, pair: str, problem: Callable[[], tuple[MarketExample, Instance]], monoliths: Sequence[str]
) -> list[BenchRow]:
    """Our search in its own tree and in SCIP's, and monoliths on one problem, all asked for the same gap."""
    example, instance = problem()
    limit, gap = run.plan.limit, run.plan.gap
    rows = searched(run, suite, pair, instance)
    gain = rows[0].gain
    for engine in monoliths:
        one = milp_row if engine == MILP else partial(mode_row, engine.removeprefix("SCIP, "))
        rows.append(run.row(suite, pair, engine, one, example, instance, limit, gain, gap))
    return rows


def local_solver(run: Run) -> Iterator[list[BenchRow]]:
    """Our search and IPOPT on the example market and on the feeder."""
    suite, plan = "local solver", run.plan
    problems: dict[str, Callable[[], tuple[MarketExample, Instance]]] = {}
    problems |= {f"{h} h x {s}": partial(example_at, h, s) for h, s in plan.local}
    problems |= {
        f"{n} x {s}, {menu_of(k).n_points} points": partial(on_feeder, n, s, k) for n, s, k in plan.local_feeder
    }
    for pair, problem in problems.items():
        example, instance = problem()
        ours = run.row(suite, pair, run.ours(), *run.search(instance))
        yield [ours, run.row(suite, pair, LOCAL, local_row, example, instance, plan.limit, ours.gain)]


def long_menu(run: Run) -> Iterator[list[BenchRow]]:
    """Our search on the menu of preset paper."""
    for people, days in run.plan.long_menu:
        instance = market(STUDY, people, days, cleared(prepare(STUDY, "paper"), find_case(4)).menu)
        yield searched(run, "long menu", f"{people} x {days}", instance)


def growth(run: Run) -> Iterator[list[BenchRow]]:
    """Our search over prosumers, scenarios, tariffs, limits and buses; a size that two of them share is solved once."""
    plan = run.plan
    few, middle = min(plan.scenarios), plan.prosumers[len(plan.prosumers) // 2]
    whole = Menu((levels(3),) * 3, (0.0, 0.04), ())
    points: list[tuple[str, object, tuple[Path, int, int, Menu]]] = []
    points += [("prosumers", n, (STUDY, n, few, menu_of(plan.steps))) for n in plan.prosumers]
    points += [("scenarios", s, (STUDY, middle, s, menu_of(plan.steps))) for s in plan.scenarios]
    points += [("tariffs", k, (STUDY, middle, few, menu_of(k))) for k in plan.tariffs]
    points += [("limits", k, (STUDY, middle, few, menu_of(plan.steps, k))) for k in plan.limits]
    points += [("buses", folder.name, (folder, middle, few, whole)) for folder in plan.feeders]
    solve_once = cache(lambda *what: hybrid_row(market(*what), plan.gap, plan.limit))
    for suite, size, what in points:
        yield [run.row(suite, f"{size}", run.ours(), solve_once, *what)]


def large(run: Run) -> Iterator[list[BenchRow]]:
    """Large markets by decomposition and as one LP; a method that meets its limit is not tried on the next size."""
    plan, suite = run.plan, "large market"
    base, left = market(STUDY, 14, plan.large_days, menu_of(3)), list(plan.methods)
    for n in plan.large:
        instance = large_instance(base, n)
        cleared = cache(partial(clear, instance, posted(instance), time_limit=plan.limit))
        rows = [run.row(suite, f"{n}", "decomposition", clearing_row, instance, plan.limit, cleared)]
        if rows[0].status == "optimal":
            given = (instance, plan.limit, cleared)
            rows += [run.row(suite, f"{n}", f"one LP, {method}", whole_row, *given, method) for method in left]
            left = [method for method, row in zip(left, rows[1:], strict=True) if row.status == "optimal"]
        yield rows
        if rows[0].status != "optimal":
            return


SUITES: dict[str, Callable[[Run], Iterator[list[BenchRow]]]] = {
    "enumeration": enumerated,
    "single level": single_level,
    "feeder": feeder,
    "local solver": local_solver,
    "long menu": long_menu,
    "growth": growth,
    "large market": large,
}
GROWTH = ("prosumers", "scenarios", "tariffs", "limits", "buses")


def measure(
    run: Run, suites: Sequence[str] = tuple(SUITES), report: Callable[[pd.DataFrame], None] = lambda rows: None
) -> pd.DataFrame:
    """Measure the suites, one pair after the other; ``report`` is called with the rows of each pair.

    Raises CertificateError where engines that finished disagree on the optimum.
    """
    found: list[BenchRow] = []
    for suite in suites:
        if suite not in SUITES:
            raise InputError("bench", "--suites", f"unknown suite {suite!r}", f"choose of {', '.join(SUITES)}")
        for rows in SUITES[suite](run):
            check(rows)
            found += compared(rows)
            report(table(compared(rows)))
    return table(found)


def read(path: Path) -> pd.DataFrame:
    """A table as it stands."""
    return pd.read_csv(path, dtype=dict.fromkeys(("suite", "pair", "engine", "status"), str))


def stored(path: str | Path = STORED) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The stored table, and by suite the limit, gap, machine, versions and command that made it. Raises InputError
    where there is none."""
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "file", "is missing", "run python -m tritier.evaluation.bench")
    return read(path), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Seconds that each other engine of a suite was given, and each search of ours."""
    ours = rows["engine"].str.startswith("hybrid")
    return float(rows.loc[~ours, "limit"].max()), float(rows.loc[ours, "limit"].max())


COLUMNS = {  # of a table of engines, as they are read
    "pair": "size",
    "engine": "engine",
    "status": "status",
    "cost": "social cost [$]",
    "gap": "gap [%]",
    "excess": "above the best [%]",
    "seconds": "time [s]",
    "processor_seconds": "CPU [s]",
    "ratio": "times the first [-]",
    "lp_solves": "LP solves [-]",
    "nodes": "nodes [-]",
}


def percent(share: pd.Series) -> pd.Series:
    """In %, to four places: what is left of rounding in a solver's bound is shown as 0."""
    return (100 * share).round(4) + 0.0  # no -0


def shown(rows: pd.DataFrame, **names: str) -> pd.DataFrame:
    """Rows as a table to be read, with names and units; ``names`` adds columns, and one that no row has is left out."""
    columns = COLUMNS | names
    rows = rows.reindex(columns=list(columns))
    rows = rows.assign(gap=percent(rows["gap"]), excess=percent(rows["excess"]))
    return rows.dropna(axis="columns", how="all").rename(columns=columns)


def side_by_side(rows: pd.DataFrame, **names: str) -> pd.DataFrame:
    """:func:`tritier.evaluation.bench.shown` on the width of a page: the clock first, CPU time left to bench.csv, no
    size cut in two."""
    table = shown(rows, **names).drop(columns="CPU [s]", errors="ignore")
    table.insert(3, "time [s]", table.pop("time [s]"))
    for sign, kept in (("_", " "), (" h ", "\u00a0h "), (" x ", "\u00a0×\u00a0"), (" %", "\u00a0%")):
        table = table.map(lambda text, a=sign, b=kept: text.replace(a, b) if isinstance(text, str) else text)
    return table


def figures(rows: pd.DataFrame, local: pd.DataFrame, gap: float) -> dict[str, object]:
    """What the book says of stored rows and of local solutions found now, by key; ``gap``: what engines were asked for.

    Limits in seconds, shares in %, times as ratios.
    """
    of = {suite: part for suite, part in rows.groupby("suite", sort=False)}
    found = _of_menus(of["enumeration"], of["tariffs"]) | _of_monoliths(of["single level"])
    found |= _on_the_feeder(of["feeder"], pd.concat([of["single level"], of["feeder"]]))
    found |= _of_the_long_menu(of["long menu"]) | _of_large_markets(of["large market"]) | _of_local(local, gap)
    for key, suite in (("", "single level"), ("feeder_", "feeder")):
        found[f"{key}limit"], found[f"{key}ours_limit"] = limits(of[suite])
    return found | {"local_limit": limits(local)[0]}


def _ours(rows: pd.DataFrame) -> pd.Series:
    return rows["engine"].str.startswith("hybrid")


def _of_menus(enumeration: pd.DataFrame, tariffs: pd.DataFrame) -> dict[str, object]:
    longest = enumeration[enumeration["engine"] == "enumeration"].sort_values("ratio").iloc[-1]
    longest_menu = tariffs.sort_values("menu_points").iloc[-1]
    return {
        "enumeration_ratio": float(longest["ratio"]),
        "enumeration_points": int(longest["menu_points"]),
        "menu": int(longest_menu["menu_points"]),
        "menu_share": float(100 * longest_menu["lp_solves"] / longest_menu["menu_points"]),
    }


def _of_monoliths(single: pd.DataFrame) -> dict[str, object]:
    last, first = (single[single["hours"] == hours] for hours in (single["hours"].max(), single["hours"].min()))
    return {
        "hours": int(single["hours"].max()),
        "open": int((~_ours(last) & (last["status"] != "optimal")).sum()),
        "monoliths": int((~_ours(last)).sum()),
        "first_monoliths": int((~_ours(first)).sum()),
        "first_open": int((~first["status"].isin(["optimal", "open"])).sum()),
    }


def _on_the_feeder(feeder: pd.DataFrame, beside: pd.DataFrame) -> dict[str, object]:
    biggest = feeder[feeder["pair"] == feeder["pair"].iloc[-1]]  # sizes grow until no monolith closes
    search, monoliths = biggest[_ours(biggest)].iloc[0], biggest[~_ours(biggest)]
    closed = beside[~_ours(beside) & (beside["status"] == "optimal")]
    longest = closed.loc[closed["seconds"].idxmax()]
    return {
        "feeder_points": int(search["menu_points"]),
        "feeder_ours": float(search["seconds"]),
        "feeder_closed": int((monoliths["status"] == "optimal").sum()),
        "feeder_monoliths": len(monoliths),
        "feeder_people": int(search["prosumers"]),
        "feeder_scenarios": int(search["scenarios"]),
        "feeder_gap": float(100 * search["gap"]),
        "feeder_left": float(100 * monoliths["gap"].min()),
        "closed_size": str(longest["pair"]),
        "closed_seconds": float(longest["seconds"]),
        "closed_ratio": float(longest["ratio"]),
    }


def _of_the_long_menu(rows: pd.DataFrame) -> dict[str, object]:
    ours, lazy = (rows[rows["engine"].str.startswith(name)].iloc[0] for name in ("hybrid, gap", "hybrid in SCIP"))
    return {
        "long_points": int(ours["menu_points"]),
        "long_people": int(ours["prosumers"]),
        "long_scenarios": int(ours["scenarios"]),
        "long_buses": int(ours["buses"]),
        "long_limit": float(ours["limit"]),
        "long_gap": float(100 * ours["gap"]),
        "long_solves": int(ours["lp_solves"]),
        "long_share": float(100 * ours["lp_solves"] / ours["menu_points"]),
        "long_lazy_gap": float(100 * lazy["gap"]),
        "long_lazy_solves": int(lazy["lp_solves"]),
    }


def _of_large_markets(large: pd.DataFrame) -> dict[str, object]:
    most = large["prosumers"].max()
    top = large[large["prosumers"] == most].set_index("engine").loc["decomposition"]
    simplex = large[(large["engine"] == "one LP, simplex") & (large["status"] == "optimal")]
    return {
        "most": f"{int(most):,}",
        "large_limit": float(large["limit"].max()),
        "most_scenarios": int(top["scenarios"]),
        "most_seconds": float(top["seconds"]),
        "most_solves": f"{int(top['lp_solves']):,}",
        "most_gap": float(top["gap"]),
        "most_rounds": int(top["nodes"]),
        "one_lp_cross": int(simplex.loc[simplex["ratio"] > 1, "prosumers"].min()),
    }


def _of_local(rows: pd.DataFrame, gap: float) -> dict[str, object]:
    tried = rows[rows["engine"] == LOCAL]
    ended = tried[tried["status"] == "local"]
    return {
        "local_all": len(tried),
        "local_ended": len(ended),
        "local_best": int((ended["excess"] <= gap).sum()),
        "local_short": int(tried["cost"].isna().sum()),
        "local_worst": float(100 * tried["excess"].max()),
        "local_gap": float(100 * gap),
    }


def renew(rows: pd.DataFrame, about: dict[str, object], suites: Sequence[str], path: Path) -> None:
    """Write the suites of a run that is done into a table, in place of theirs; other suites stay."""
    names = {name for suite in suites for name in (GROWTH if suite == "growth" else (suite,))}
    known, origins = stored(path) if path.is_file() else (rows.iloc[:0], {})
    rest = known[~known["suite"].isin(names)]
    write_csv(path, pd.concat([rest, rows]) if len(rest) else rows)
    write_json(path.with_suffix(".json"), origins | dict.fromkeys(suites, about))


def origin(plan: Plan, words: Sequence[str]) -> dict[str, object]:
    """What every engine of a run was given, machine and versions."""
    return {
        "command": " ".join(("python -m tritier.evaluation.bench", *words)),
        "limit_seconds": plan.limit,
        "gap": plan.gap,
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


def show(rows: pd.DataFrame) -> None:
    """The rows of a pair on the error stream."""
    shown = ["suite", "pair", "engine", "status", "gap", "excess", "seconds", "processor_seconds"]
    print(rows[shown].to_string(index=False, header=False), file=sys.stderr, flush=True)


def main(words: list[str] | None = None) -> int:
    """The command line; 0, or 2 on bad input."""
    parser = argparse.ArgumentParser(prog="tritier.evaluation.bench", description="Measure engines side by side.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and a limit of a minute an engine")
    parser.add_argument("--suites", default=",".join(SUITES), help="comma-separated: " + ", ".join(SUITES))
    parser.add_argument(
        "--limit", type=float, help=f"seconds of each engine (default {FULL.limit:g}, quick {QUICK.limit:g})"
    )
    parser.add_argument("--out", type=Path, help=f"table whose suites are renewed (default {STORED}, quick: none)")
    options = parser.parse_args(words)
    suites, plan = [s.strip() for s in options.suites.split(",")], QUICK if options.quick else FULL
    plan = plan if options.limit is None else replace(plan, limit=options.limit)
    path = options.out or (None if options.quick else STORED)
    try:
        run = unfinished(plan)
        assert run.path is not None
        with sole_writer(run.path):
            rows = measure(run, suites, show)
            if path is not None:
                renew(rows, origin(plan, sys.argv[1:] if words is None else words), suites, path)
            run.path.unlink(missing_ok=True)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
