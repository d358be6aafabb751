"""Solve and store the cases at preset paper, which the book then reads: python data/results/cases/run.py [SET ...]

A set is a folder here: the design half of the season and what changes in study.yaml. A case that is stored for the
same data and parameters is left alone, so that a broken run goes on where it was.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tritier.cases import store
from tritier.search.pool import forget
from tritier.cases.store import FOLDER, SETS, made_from
from tritier.cases.solve import certificates, prepare, solve_case, summary

STUDY = Path(__file__).resolve().parents[2] / "studies" / "ieee33"
CASES = (4, 3, 2, 1, 0)


def say(text: str) -> None:
    print(text, flush=True)


def main(names: list[str]) -> None:
    for name in names or SETS:
        half, changes = SETS[name]
        prepared = prepare(STUDY, "paper", changes, half)
        for number in CASES:
            out = FOLDER / name / f"case-{number}"
            if made_from(out, prepared):
                continue
            begin = time.perf_counter()
            state = FOLDER / f".{name}-{number}.state.npz"
            solved = solve_case(prepared, number, jobs=2, progress=say, state=state)
            proof = certificates(solved)
            store.write_case(out, solved, summary(solved), proof, time.perf_counter() - begin)
            forget(state)
            say(f"{name}, case {number}: {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
