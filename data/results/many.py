"""Cases 1, 2 and 4 of the electrified study with the scenarios of preset paper, judged day by day on the held-out days:
`python data/results/many.py` writes many_days.csv from the stored cases of set 2045-head, each certified first, and
many.json with what it was made from."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from tritier.cases.result import MANY, read_made, stored
from tritier.evaluation.heldout import REAL, find, find_days, judged
from tritier.provenance import commit, digest, versions, write_csv, write_json

HERE = Path(__file__).resolve().parent
NUMBERS = (1, 2, 4)


def main() -> None:
    prepared, daily, made = MANY["2045-head"].prepared(), [], {}
    days = find_days(prepared, REAL.kind)
    for number in NUMBERS:
        folder = stored(prepared, number)
        if folder is None:
            sys.exit(f"many.py: Case {number} is not stored; run python data/results/cases/run.py 2045-head")
        result = read_made(folder, prepared)
        result.certify(2, print)
        made[f"case-{number}"] = digest((folder / "decisions.npz").read_bytes())
        daily.append(find(prepared, number, result.decisions, judged(prepared, number, result.decisions, days)).daily)
    write_csv(HERE / "many_days.csv", pd.concat(daily, ignore_index=True))
    about: dict[str, object] = {"command": "python data/results/many.py", "date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit()}
    about |= {"versions": versions(), "data_hash": prepared.study.data_hash, "decisions": made}
    write_json(HERE / "many.json", about | {"table": digest((HERE / "many_days.csv").read_bytes())})


if __name__ == "__main__":
    main()
