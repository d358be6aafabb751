"""Large markets of the electrified study, with vehicles, heat pumps and both peak charges: data/results/large.csv.

``python data/results/large.py`` measures each size in a process of its own: cleared by one process, by two, and on a
Dask cluster of two local workers. ``--sizes 1000x10,12300x1`` and ``--ways one,two,cluster`` renew a part. A market
that does not settle within ``--limit`` seconds is a row without a result. Beside seconds on the wall stand those of the
processors, workers included, and the machine's load: on a machine that others use the wall's seconds tell little. Each
row says by which commit, versions and processor it was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import joblib
import pandas as pd

from tritier.errors import SolverError
from tritier.evaluation.bench import PACKAGES, market, posted, processor
from tritier.inputs.instance import Instance
from tritier.provenance import DATA, commit, versions_in_words, write_csv, write_json
from tritier.search.large import Clearing, clear, large_instance

STUDY, STORED = "ieee33-2045", DATA / "results" / "large.csv"
OWNERS = 14  # prosumers of the study that a large market is made of
SIZES = ((100, 10), (300, 10), (1000, 10), (100, 1), (300, 1), (1000, 1), (3000, 1), (12300, 1))
WAYS = {"one": "one process", "two": "two processes", "cluster": "Dask cluster of two workers"}
TARIFF, P2P = (0.02, 0.05, 0.08), 0.04  # $/kWh, of its menu
PEAK, COINCIDENT = 0.1, 0.38  # $/kW, of its menu
KEYS = ["prosumers", "scenarios", "way"]


def spent() -> float:
    """Seconds of the processors, of this process and of those that it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def of_worker() -> float:
    """Seconds of the processors that a worker has taken."""
    return time.process_time()


def measured(people: int, days: int, way: str, limit: float) -> dict[str, object]:
    """One market cleared one way, as a row; building it counts, starting a cluster does not."""
    code = commit()  # as it is loaded
    base = market(DATA / "studies" / STUDY, OWNERS, days)
    with ExitStack() as stack:
        workers = lambda: 0.0  # noqa: E731
        if way == "cluster":
            from distributed import Client, LocalCluster

            options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
            client = stack.enter_context(Client(stack.enter_context(LocalCluster(**options))))
            stack.enter_context(joblib.parallel_config(backend="dask"))
            workers = lambda: sum(client.run(of_worker).values())  # noqa: E731
        load, begin, before = os.getloadavg()[0], time.perf_counter(), spent() + workers()
        instance = large_instance(base, people)
        design = replace(posted(instance), tariff=TARIFF, p2p=P2P, peak=PEAK, coincident=COINCIDENT)
        found = None
        try:
            found = clear(instance, design, jobs=1 if way == "one" else 2, time_limit=limit, progress=tell)
        except SolverError:
            if time.perf_counter() - begin < limit:
                raise  # a failure, and no want of time
        wall, processors = time.perf_counter() - begin, spent() + workers() - before
    row = {
        "prosumers": people, "scenarios": days, "hours": instance.days.n_hours,
        "buses": instance.feeder.bus.size, "way": WAYS[way], "status": "settled" if found else "not settled",
        "limit": limit, "seconds": wall, "processor_seconds": processors, "load": load,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "commit": code, "date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions_in_words(PACKAGES),
        "processor": processor(), "cores": os.cpu_count(),
    }  # fmt: skip
    return row if found is None else row | figures(instance, found)


def figures(instance: Instance, found: Clearing) -> dict[str, float]:
    """What a cleared market took and what it is."""
    head = (instance.days.passive_kw.sum(axis=(0,)) - found.injection.sum(axis=0)).max(axis=0)
    return {
        "rounds": found.rounds, "lp_solves": found.lp_solves, "plans": found.plans,
        "cost": found.cost, "bound": found.bound, "gap": (found.cost - found.bound) / abs(found.cost),
        "largest_gain": float(found.relative_gain.max()), "volume_kwh": found.volume,
        "peak_kw": float(head @ instance.days.probability), "blocks": len(found.blocks),
    }  # fmt: skip


def tell(line: str) -> None:
    """A progress line."""
    print(line, file=sys.stderr, flush=True)


def agree(rows: pd.DataFrame) -> None:
    """Refuse a table in which the ways disagree on a market's cost by more than their gaps."""
    for size, part in rows[rows["status"] == "settled"].groupby(["prosumers", "scenarios"]):
        if not part["bound"].max() <= part["cost"].min() * (1 + 1e-9):
            raise SystemExit(f"the ways disagree on {size}: {part[['way', 'cost', 'bound']].to_string()}")


def keep(row: dict[str, object]) -> None:
    """Put a row into the stored table, in the place of an older one."""
    rows = pd.DataFrame([row])
    if STORED.is_file():
        rows = pd.concat([pd.read_csv(STORED), rows]).drop_duplicates(KEYS, keep="last")
    rows = rows.sort_values(["scenarios", "prosumers", "way"])
    agree(rows)
    write_csv(STORED, rows)
    write_json(STORED.with_suffix(".json"), {"command": "python data/results/large.py", "study": STUDY})


def main() -> None:
    """Measure what is asked, each row in a process of its own, and keep it at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(f"{n}x{s}" for n, s in SIZES))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--limit", type=float, default=1200.0)
    parser.add_argument("--one", action="store_true", help="measure here, and print the row")
    options = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",")]
    for people, days in sizes:
        for way in options.ways.split(","):
            if options.one:
                print(json.dumps(measured(people, days, way, options.limit), default=float))
                continue
            words = [sys.executable, __file__, "--one", "--sizes", f"{people}x{days}", "--ways", way]
            words += ["--limit", str(options.limit)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            keep(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
