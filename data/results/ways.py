"""Write ways.csv, profile.csv and ways.json: one change of the search at a time on `ieee33-2045`, and where its seconds
go as it stands.

`python data/results/ways.py [WAY ...]` from the repository root: 10 prosumers x 20 scenarios, the menu of preset
`fast`, gap 5 %, one process, all ways from the same ends (those of the search as it stands, which are timed as well).
Seconds are of the processor, so that what else the machine does counts little. A row replaces the stored one of its
way, and says itself when, by which commit and versions and at which limit it was measured; ways.json says what all rows
share, and the limit of the last run. The bounds of all ways must allow one optimum, or the script says so.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
from tritier.inputs.instance import Instance
from tritier.provenance import DATA, commit, versions_in_words, write_csv
from tritier.reformulation import joint, lp
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import Clock, WarmLP
from tritier.search import cuts, hybrid, pool, work
from tritier.search.cuts import Row
from tritier.search.menu import Point
from tritier.search.references import Reference, find_references

HERE = Path(__file__).resolve().parent
SIZE = {"n_prosumers": 10, "n_scenarios": 20}
GAP, LIMIT = 0.05, 500.0  # s
PACKAGES = ("highspy", "numpy", "pyscipopt", "scipy", "joblib")


def from_nearest(search: hybrid.Search, point: Point) -> tuple:
    """By simplex from the basis of the nearest answer, with all blocks and tangents known."""
    items = search.pool.items
    basis = min(search.pool.rows, key=lambda row: distance(search, row, point)).basis if search.pool.rows else None
    basis = search.begin if basis is None else basis
    return items, hybrid.reorder(search.joint, basis, items, items), hybrid.STARTS[2]


def distance(search: hybrid.Search, row: Row, point: Point) -> float:
    """How far a row's design is from a point."""
    return search.ledger.menu.distance(search.ledger.menu.point(row.request.design), point)


def all_inside(warm: WarmLP) -> lp.LPSolution:
    """Every solve from an interior point's end."""
    warm.start_inside(warm.cost)
    return warm.run()


def all_items(_joint: JointLP, _basis: lp.Basis, items: list[pool.Item]) -> list[pool.Item]:
    """Everything known, whether it holds anything or not."""
    return items


WAYS: dict[str, list[tuple[Any, str, Any]]] = {
    "as it stands": [],
    "simplex from the nearest answer": [(hybrid.Search, "start", from_nearest)],
    "all that is known in every LP": [(hybrid, "binding", all_items), (hybrid, "few", list)],
    "all violated blocks at once": [(joint, "worst", list)],
    "patience of 2,000 steps": [(lp, "PATIENCE", 2_000)],
    "no end of patience": [(lp, "PATIENCE", lp.NO_LIMIT)],
    "interior point always": [(WarmLP, "_run_patiently", all_inside)],
    "costs scaled by 100": [(cuts, "SCALE", 1e2)],
    "one loss tangent": [(pool, "TANGENTS", 1)],
    "five loss tangents": [(pool, "TANGENTS", 5)],
    "answers tightened once": [(work, "TIGHTEN", 1)],
    "two answers at once": [(hybrid, "ROUND", 2)],
    "no least F at tight limits": [(hybrid.Search, "tight_limits", lambda search: [])],
    "tight limits by simplex": [(hybrid, "FAR", float("inf"))],
}


def row_of(way: str, instance: Instance, ends: Sequence[Reference]) -> tuple[dict[str, Any], pd.DataFrame]:
    """What the search finds and takes one way, and where its seconds go."""
    flat, ideal = ends
    with ExitStack() as stack:
        for place, name, value in WAYS[way]:
            stack.enter_context(mock.patch.object(place, name, value))
        begin, clock, market = time.perf_counter(), Clock(), JointLP(instance)
        found = hybrid.solve(
            market, flat=flat, ideal=ideal, beside=[flat.design], gap=GAP, time_limit=LIMIT, clock=clock
        )
        seconds = time.perf_counter() - begin
    table = clock.table(seconds)
    inside = int(table.loc[table["work"] == "interior point", "calls"].sum())
    row = {
        "way": way,
        "seconds": seconds,
        "lp_solves": found.lp_solves,
        "interior_points": inside,
        "proof": found.proof,
    }
    row |= {"lower_bound": found.lower_bound, "upper_bound": found.upper_bound, "gap": found.gap}
    row |= {"menu_points": found.menu_points, "load": os.getloadavg()[0], "limit": LIMIT}
    return row | {"date": today(), "commit": commit(), "versions": versions_in_words(PACKAGES)}, table


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def stored(rows: list[dict[str, Any]]) -> None:
    """Put rows in the place of those of the same way."""
    path = HERE / "ways.csv"
    old = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["way"])
    both = pd.concat([old[~old["way"].isin([row["way"] for row in rows])], pd.DataFrame(rows)])
    both["order"] = both["way"].map(list(WAYS).index)
    write_csv(path, both.sort_values("order").drop(columns="order"))


def main(ways: list[str]) -> None:
    commit()  # of the code as it is loaded
    instance = cleared(prepare(DATA / "studies" / "ieee33-2045", "fast", SIZE), find_case(4))
    mock.patch.object(time, "perf_counter", time.process_time).start()
    begin = time.perf_counter()
    ends = find_references(JointLP(instance))
    seconds, clock = time.perf_counter() - begin, Clock()
    for end in ends:
        clock.add(end.clock)
    profile = clock.table(seconds)
    print(f"both ends: {seconds:.1f} s", file=sys.stderr, flush=True)
    best = None
    for way in ways or WAYS:
        row, table = row_of(way, instance, ends)
        print({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}, file=sys.stderr, flush=True)
        stored([row])
        best = best or row
        if row["lower_bound"] > best["upper_bound"] + 0.01 or best["lower_bound"] > row["upper_bound"] + 0.01:
            raise SystemExit(f"{way}: bounds that no other way's allow")
        if way == "as it stands":
            whole = pd.concat([profile, table]).groupby(["phase", "work"], sort=False, as_index=False).sum()
            write_csv(HERE / "profile.csv", whole, digits=6)
    told = {"command": "python data/results/ways.py", "size": SIZE, "gap": GAP, "limit_seconds": LIMIT, "processes": 1}
    told |= {"machine": platform.machine(), "cores": os.cpu_count()}
    (HERE / "ways.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
