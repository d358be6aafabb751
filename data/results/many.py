"""Cases 1, 2 and 4 of the electrified study with the scenarios of preset paper, judged day by day on the held-out days:
`python data/results/many.py` writes many_days.csv from the stored cases of set 2045-head, each certified first."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from tritier.cases.result import MANY, read_made, stored
from tritier.evaluation.heldout import REAL, find, find_days, judged
from tritier.provenance import write_csv

HERE = Path(__file__).resolve().parent
NUMBERS = (1, 2, 4)


def main() -> None:
    prepared, daily = MANY["2045-head"].prepared(), []
    days = find_days(prepared, REAL.kind)
    for number in NUMBERS:
        folder = stored(prepared, number)
        if folder is None:
            sys.exit(f"many.py: Case {number} is not stored; run python data/results/cases/run.py 2045-head")
        result = read_made(folder, prepared)
        result.certify(2, print)
        daily.append(find(prepared, number, result.decisions, judged(prepared, number, result.decisions, days)).daily)
    write_csv(HERE / "many_days.csv", pd.concat(daily, ignore_index=True))


if __name__ == "__main__":
    main()
