"""Judge the stored cases on all days they have not seen: python data/results/out_of_sample.py

Writes out_of_sample.csv and against_paper.csv beside this file, and out_of_sample.json with their origin.
"""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from tritier.evaluation.findings import REAL, cases_on, day_sets, rows_of, verdicts, write_tables
from tritier.cases.solve import prepare

DATA = Path(__file__).resolve().parents[1]


def main() -> None:
    prepared = prepare(DATA / "studies" / "ieee33", "paper")
    tables, words = [], None
    for days in day_sets(prepared):
        begin, cases = time.perf_counter(), cases_on(days)
        tables.append(rows_of(days, cases))
        if days.name == REAL:
            words = verdicts(prepared, cases, pd.read_csv(DATA / "paper" / "abstract.csv"))
        print(f"{days.name}: {days.days.n_days} days, {time.perf_counter() - begin:.0f} s", flush=True)
    write_tables(prepared, pd.concat(tables, ignore_index=True), words)


if __name__ == "__main__":
    main()
