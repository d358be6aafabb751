"""What a search that stopped early leaves open, and what its design does on unseen days.

`python data/results/open.py RESULT`: a folder of Case 4 that `tritier solve` has written. It is certified first, and
its design judged on the held-out days, day by day in `open_days.csv`, with the fixed cost of the stored cases that it
is compared with. `open.csv` gets a row for each answer: the tariff, the limits it was offered, what the response needs
of them, social cost and its proved bound, the follower's own cost. `open.json` has what they leave, counted by a ledger
that is filled with them: points of the menu that may still be better than the best design by a share of the achievable
gain.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.cases import store
from tritier.cases.result import Result, read_result
from tritier.cases.solve import prepare
from tritier.evaluation.heldout import REAL, STUDIES, find, find_days, judged
from tritier.provenance import DATA, write_csv, write_json
from tritier.reformulation.joint import JointLP
from tritier.search.cuts import Row
from tritier.search.menu import Coordinates, Ledger
from tritier.search.references import SCAN

HERE = Path(__file__).resolve().parent
PRICES = ("off-peak", "day", "peak", "p2p", "individual_peak", "coincident_peak")
SHARES = (0.01, 0.05)  # of the achievable gain
ORIGIN = ("study_name", "case", "half", "preset", "parameters", "commit", "seconds", "jobs", "versions")
BOUNDS = ("flat", "first_best", "upper_bound", "lower_bound", "gap", "menu_points", "lp_solves", "proof")


def as_row(row: Row) -> dict[str, float]:
    """An answer in a line: prices, limits and needs by line, and what it costs."""
    design = row.request.design
    told = dict(zip(PRICES, design.prices.tolist(), strict=True))
    for (line, limit), need in zip(design.capacity, row.need.tolist(), strict=True):
        told |= {f"limit_{line}_kw": limit, f"need_{line}_kw": need}
    return told | {
        "social_cost_usd": row.social_cost,
        "bound_usd": row.bound,
        "follower_usd": row.follower_value,
        "recovered_usd": row.recovered,
    }


def left(ledger: Ledger, target: float) -> int:
    """Points of the menu whose bound is below a social cost, $."""
    unanswered = ledger.unanswered * int((ledger.everywhere < target).sum())
    return unanswered + sum(int((bound < target).sum()) for bound in ledger.bound.values())


def combinations(ledger: Ledger, target: float) -> int:
    """Combinations of limits that bind, over all tariffs answered at the largest: each line at its largest limit, or at
    one below what the response there needs that least F leaves."""
    menu, total = ledger.menu, 0
    for point, row in ledger.answers.items():
        if point[1:] == menu.loosest:
            lines = range(len(menu.lines))
            total += prod(1 + sum(1 for _ in tighter(ledger, row, k, target)) for k in lines)
    return total


def tighter(ledger: Ledger, row: Row, k: int, target: float) -> Iterator[int]:
    """Limits of a line, by position, below what a response needs, that least F does not exclude."""
    menu = ledger.menu
    for place in np.flatnonzero(menu.limits[k] < row.need[k]).tolist():
        if ledger.everywhere[(*menu.loosest[:k], place, *menu.loosest[k + 1 :])] < target:
            yield place


def judged_days(result: Result) -> pd.DataFrame:
    """A result's design on the held-out days, with the fixed cost of the stored cases of its study."""
    prepared, number = result.prepared, result.case.number
    beside = prepare(prepared.study.folder, STUDIES[prepared.study.name], half=REAL.half)
    days = judged(prepared, number, result.decisions, find_days(prepared, REAL.kind))
    return find(beside, number, result.decisions, days).daily


def what_is_left(result: Result) -> tuple[list[Row], dict[str, object]]:
    """The answers of a result's search, and its bounds with what is open between them."""
    proof, pools = result.bounds, result.pools(JointLP(result.clearing, result.case.market, result.case.network))
    assert proof is not None, "only a case with a menu has bounds"
    menu = Coordinates.of(result.clearing.menu, [pools["flat"].rows[0].request.design])
    ledger = Ledger(menu, -np.inf, [row for name, own in pools.items() if name != SCAN for row in own.rows])
    about = {key: result.origin[key] for key in ORIGIN} | {key: getattr(proof, key) for key in BOUNDS}
    about["tariffs"] = len(ledger.bound)
    about["lower_bound_at_largest_limits"] = min(float(bound[menu.loosest]) for bound in ledger.bound.values())
    targets = {str(share): proof.upper_bound - share * (proof.flat - proof.first_best) for share in SHARES}
    about["left"] = {share: left(ledger, target) for share, target in targets.items()}
    about["combinations"] = {share: combinations(ledger, target) for share, target in targets.items()}
    return [row for row in pools["search"].rows if row.request.kind == "answer"], about


def main(folder: Path) -> None:
    result = read_result(folder, DATA / "studies" / store.read_origin(folder)["study_name"])
    result.certify(2, print)
    write_csv(HERE / "open_days.csv", judged_days(result))
    answers, about = what_is_left(result)
    write_csv(HERE / "open.csv", pd.DataFrame([as_row(row) for row in answers]))
    write_json(HERE / "open.json", about)
    print(json.dumps(about, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
