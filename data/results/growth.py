"""Write growth.csv and growth.json: how each complementarity mode grows on the example market, ten minutes a solve.

`python data/results/growth.py` from the repository root, in one process. A mode stops growing at the first size it does
not finish. Every row is stored as soon as it is there, with date, commit and the machine's load; a run goes on from the
rows that are stored, so delete growth.csv for a fresh start, which takes about forty minutes.
"""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from tritier.evaluation.growth import PLAIN, growth
from tritier.provenance import commit, write_csv

LIMIT = 600.0
SIZES = ((3, 2), (4, 2), (6, 2), (8, 2), (12, 2), (24, 2), (24, 4), (24, 8), (24, 16))
PACKAGES = ("highspy", "numpy", "pyscipopt", "scipy")
HERE = Path(__file__).resolve().parent
TABLE = HERE / "growth.csv"


def stored() -> pd.DataFrame:
    """The rows that are there."""
    return pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["hours", "scenarios", "mode", "status"])


def solved(mode: str, hours: int, scenarios: int) -> str:
    """Status of one mode at one size, solved and stored where no row is there yet."""
    table = stored()
    row = table[(table["hours"] == hours) & (table["scenarios"] == scenarios) & (table["mode"] == mode)]
    if row.empty:
        row = growth([(hours, scenarios)], LIMIT, [(mode, False)])
        row = row.assign(
            date=datetime.now(UTC).strftime("%Y-%m-%d"), commit=commit(), load=round(os.getloadavg()[2], 1)
        )
        both = pd.concat([table, row]) if len(table) else row
        write_csv(TABLE, both.sort_values(["hours", "scenarios"], kind="stable"))
    print(hours, scenarios, mode, row["status"].item(), f"{row['seconds'].item():.1f} s", file=sys.stderr, flush=True)
    return row["status"].item()


def main() -> None:
    commit()  # of the code as it is loaded: a row may be stored after the next one
    for mode, _ in PLAIN:
        for hours, scenarios in SIZES:
            if solved(mode, hours, scenarios) != "optimal":
                break
    origin = {
        "command": "python data/results/growth.py",
        "limit_seconds": LIMIT,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "processes": 1,
    }
    (HERE / "growth.json").write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
