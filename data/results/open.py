"""What a search that stopped early leaves open, and what its design does on unseen days: python data/results/open.py RESULT

RESULT is a folder of Case 4 that `tritier solve` has written. It is certified first, and its design judged on the
held-out days, day by day in `open_days.csv`, with the fixed cost of the stored cases that it is compared with.
`open.csv` gets a row for each answer: the tariff, the limits it was offered, what the response needs of them, social
cost and its proved bound, the follower's own cost. `open.json` has what they leave, counted by a ledger that is filled
with them: points of the menu that may still be better than the best design by a share of the achievable gain.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.cases.result import read_result
from tritier.cases.solve import prepare
from tritier.evaluation.heldout import REAL, STUDIES, find, find_days, judged
from tritier.inputs.documents import read_json
from tritier.provenance import DATA, write_csv, write_json
from tritier.search import pool
from tritier.search.cuts import Row
from tritier.search.ledger import Coordinates, Ledger

HERE = Path(__file__).resolve().parent
PRICES = ("off-peak", "day", "peak", "p2p", "individual_peak", "coincident_peak")
SHARES = (0.01, 0.05)  # of the achievable gain


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
        if point[1:] != tuple(menu.loosest):
            continue
        below = 1
        for k, (levels, need) in enumerate(zip(menu.limits, row.need.tolist(), strict=True)):
            lines = [(*menu.loosest[:k], place, *menu.loosest[k + 1 :]) for place in np.flatnonzero(levels < need).tolist()]
            below *= 1 + sum(bool(ledger.everywhere[at] < target) for at in lines)
        total += below
    return total


def main(folder: Path) -> None:
    made, proof = read_json(folder / "provenance.json"), read_json(folder / "certificate.json")["design"]
    result = read_result(folder, DATA / "studies" / made["study_name"])
    result.certify(2, print)
    prepared, number = result.prepared, result.case.number
    days = find_days(prepared, REAL.kind)
    beside = prepare(prepared.study.folder, STUDIES[made["study_name"]], half=REAL.half)  # whose Case 1 it is judged by
    found = find(beside, number, result.decisions, judged(prepared, number, result.decisions, days))
    write_csv(HERE / "open_days.csv", found.daily)
    study = prepared.study
    with np.load(folder / "proof.npz") as kept:
        pools = pool.pools_of(dict(kept))
    flat = pools["flat"].rows[0].request.design
    menu = Coordinates.of(study.menu(made["preset"]), [flat])
    ledger = Ledger(menu, -np.inf, [row for own in pools.values() for row in own.rows])
    answers = [row for row in pools["search"].rows if row.request.kind == "answer"]
    write_csv(HERE / "open.csv", pd.DataFrame([as_row(row) for row in answers]))
    gain = proof["flat"] - proof["first_best"]
    about = {key: made[key] for key in ("study_name", "case", "half", "preset", "parameters", "commit", "seconds", "jobs", "versions")}
    about |= {key: proof[key] for key in ("flat", "first_best", "upper_bound", "lower_bound", "gap", "menu_points")}
    about |= {"lp_solves": proof["lp_solves"], "proof": proof["proof"], "tariffs": len(ledger.bound)}
    about["lower_bound_at_largest_limits"] = min(float(b[menu.loosest]) for b in ledger.bound.values())
    targets = {str(share): proof["upper_bound"] - share * gain for share in SHARES}
    about["left"] = {share: left(ledger, target) for share, target in targets.items()}
    about["combinations"] = {share: combinations(ledger, target) for share, target in targets.items()}
    write_json(HERE / "open.json", about)
    print(json.dumps(about, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
