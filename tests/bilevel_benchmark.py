"""Write data/results/bilevel_scaling.csv: every file of the collection in six kinds of units and four modes.

`python tests/bilevel_benchmark.py scaling` from the repository root, in one process; the collection lies beside it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas as pd
from bilevel_problems import RESCALINGS

from tritier.errors import CertificateError, SolverError
from tritier.reformulation.files import read_bilevel
from tritier.reformulation.modes import MODES
from tritier.reformulation.scaling import in_units
from tritier.reformulation.solve import solve

ROOT = Path(__file__).resolve().parents[1]
COLLECTION = ROOT.parent / "shared" / "known_answers" / "bilevel"
TABLES = ROOT / "data" / "results"


def known() -> list[tuple[Path, float | None]]:
    """The bilevel files of the collection and their optima, None where infeasible."""
    read = ((path, json.loads(path.read_text())) for path in sorted(COLLECTION.glob("*.json")))
    return [(path, data["optimum_F"]) for path, data in read if "levels" not in data]


def verdict(problem, units, optimum: float | None, mode: str) -> str:
    """right, wrong, or what refused to answer: the problem in other units, its optimum counted in the old ones."""
    try:
        found = solve(in_units(problem, units), mode, time_limit=60)
    except (CertificateError, SolverError) as error:
        return f"refused: {error}"
    if optimum is None:
        return "right" if found.status == "infeasible" else f"wrong: {found.status}"
    if found.status != "optimal":
        return f"open: {found.status}"
    value = found.objective * units.F_unit
    return "right" if abs(value - optimum) <= 1e-5 * max(1.0, abs(optimum)) else f"wrong: {value:.9g}"


def scaling() -> None:
    rows = []
    for path, optimum in known():
        problem = read_bilevel(path)
        for kind, units in RESCALINGS.items():
            for mode in MODES:
                start = time.perf_counter()
                word = verdict(problem, units(problem), optimum, mode)
                rows.append((path.stem, kind, mode, word, round(time.perf_counter() - start, 3)))
                if word != "right":
                    print(*rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows, columns=["file", "units", "mode", "verdict", "seconds"])
    table.to_csv(TABLES / "bilevel_scaling.csv", index=False)
    print(table.groupby(["units", "mode"])["verdict"].apply(lambda v: (v == "right").sum()).unstack())


if __name__ == "__main__":
    {"scaling": scaling}[sys.argv[1]]()
