"""Cases 1, 2 and 4 of the electrified study with the scenarios of preset paper, judged day by day on the held-out days:
`python data/results/many.py` writes many_days.csv from the stored cases of set 2045-head, each certified first, and
many.json with what it was made from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tritier.cases.result import MANY
from tritier.evaluation.heldout import REAL, judge_on, origin
from tritier.provenance import commit, digest, versions, write_csv, write_json

HERE = Path(__file__).resolve().parent
NUMBERS = (1, 2, 4)


def main() -> None:
    prepared = MANY["2045-head"].prepared()
    cases = {f"case-{number}": origin(prepared, number) for number in NUMBERS}
    daily = [judge_on(prepared, number, [REAL])[REAL].daily for number in NUMBERS]
    write_csv(HERE / "many_days.csv", pd.concat(daily, ignore_index=True))
    about = {"command": "python data/results/many.py", "commit": commit(), "versions": versions(), "cases": cases}
    write_json(HERE / "many.json", about | {"table": digest((HERE / "many_days.csv").read_bytes())})


if __name__ == "__main__":
    main()
