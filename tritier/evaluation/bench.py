"""The benchmark: our search beside complete enumeration and monoliths, its growth, and large markets.

``python -m tritier.evaluation.bench`` measures every pair in one run, one process at a time, and writes
data/results/bench.csv and
bench.json; ``--quick`` measures small instances in under a minute; ``--suites`` renews a part of the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
from tritier.cases.store import commit
from tritier.errors import InputError
from tritier.evaluation.engines import (
    BenchRow,
    as_example,
    check,
    clearing_row,
    compared,
    enumeration_row,
    example_at,
    hybrid_row,
    market,
    milp_row,
    mode_row,
    require_suite,
    table,
    whole_row,
)
from tritier.inputs.instance import Menu
from tritier.search.large_market import large_instance

STORED = Path("data/results/bench.csv")
PACKAGES = ("highspy", "numpy", "pyscipopt", "scipy", "cvxpy", "joblib")
STUDY = "data/studies/ieee33"
MODES = ("strong_duality", "bigm with value cut", "bigm", "sos1", "indicator")
EXACT = 1e-2  # share of the gain at which our search counts as exact beside an engine that is


@dataclass(frozen=True)
class Plan:
    """Sizes of a benchmark: (prosumers, scenarios) of enumeration; (hours, scenarios) of the example market and
    (prosumers, scenarios, tariff levels) on the feeder for the monoliths, with their limits in seconds; sizes of growth
    and the
    limit of a search; prosumers of large markets and the limit of one LP; (prosumers, scenarios) on the menu of preset
    paper and the limit there."""

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
    feeders: tuple[str, ...]
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
    feeders=(STUDY, "data/studies/oberrhein1", "data/studies/oberrhein2"),
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


def beside(suite: str, pair: str, example, instance, modes: list[str], limits: tuple[float, float], gap: float):
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
    points = [("prosumers", n, (STUDY, n, few, menu_of(plan.steps))) for n in plan.prosumers]
    points += [("scenarios", s, (STUDY, middle, s, menu_of(plan.steps))) for s in plan.scenarios]
    points += [("tariffs", k, (STUDY, middle, few, menu_of(k))) for k in plan.tariffs]
    points += [("limits", k, (STUDY, middle, few, menu_of(plan.steps, k))) for k in plan.limits]
    points += [("buses", Path(folder).name, (folder, middle, few, whole)) for folder in plan.feeders]
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


def run(plan: Plan, suites=tuple(SUITES), report: Callable[[pd.DataFrame], None] = lambda rows: None) -> pd.DataFrame:
    """Measure the suites, one pair after the other; ``report`` is called with the rows of each pair.

    Raises CertificateError where engines that finished disagree on the optimum.
    """
    found: list[BenchRow] = []
    for suite in suites:
        require_suite(suite, SUITES)
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


def origin(suites) -> dict[str, object]:
    """Machine and versions of a run."""
    return {
        "command": f"python -m tritier.evaluation.bench --suites {','.join(suites)}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
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


def keep(rows: pd.DataFrame, suites, path: Path, fresh: list[bool]) -> None:
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
    path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def main(words: list[str] | None = None) -> int:
    """The command line; 0, or 2 on bad input."""
    parser = argparse.ArgumentParser(prog="tritier.evaluation.bench", description="Measure engines side by side.")
    parser.add_argument("--quick", action="store_true", help="small instances, nothing stored unless --out is given")
    parser.add_argument("--suites", default=",".join(SUITES), help="comma-separated: " + ", ".join(SUITES))
    parser.add_argument("--out", type=Path, help=f"table to write (default {STORED})")
    options = parser.parse_args(words)
    suites, fresh = [s.strip() for s in options.suites.split(",")], []
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
