"""Write growth.csv and growth.json: how each complementarity mode grows on the example market, ten minutes a solve.

`python data/results/growth.py` from the repository root: one process, about forty minutes. A mode stops growing at the
first size it does not finish.
"""

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tritier.bilevel_growth import growth

LIMIT = 600.0
SIZES = ((3, 2), (4, 2), (6, 2), (8, 2), (12, 2), (16, 2), (24, 2), (24, 4))
PACKAGES = ("highspy", "numpy", "pyscipopt", "scipy")
HERE = Path(__file__).resolve().parent


def main() -> None:
    begin, date = time.perf_counter(), datetime.now(UTC).strftime("%Y-%m-%d")
    head = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)

    def say(row):
        print(row.hours, row.scenarios, row.mode, row.status, f"{row.seconds:.1f} s", file=sys.stderr, flush=True)

    table = growth(SIZES, LIMIT, report=say)
    origin = {
        "command": "python data/results/growth.py",
        "date": date,
        "commit": head.stdout.strip(),
        "limit_seconds": LIMIT,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "processes": 1,
        "load_average": round(os.getloadavg()[2], 1),
        "seconds": round(time.perf_counter() - begin),
    }
    table.to_csv(HERE / "growth.csv", index=False, float_format="%.10g")
    (HERE / "growth.json").write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
