"""Judge stored cases on unseen days and write the book's answer: python data/results/unseen/run.py [SET ...]

Two processes share the cases, set of days by set of days. What is stored for the same data and decisions is left alone,
so that a broken run goes on where it was.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import joblib

from tritier.cases.cases import CASES
from tritier.cases.result import stored
from tritier.cases.solve import prepare
from tritier.evaluation.findings import answer
from tritier.evaluation.heldout import (
    READ,
    REAL,
    SETS,
    STUDIES,
    SWAPPED,
    DaySet,
    is_kept,
    judge_on,
    keep,
    keep_readings,
)

DATA = Path(__file__).resolve().parents[2]


def judge_case(study: str, days: DaySet, number: int) -> None:
    """Judge a stored case on a set of days, and keep what is found."""
    prepared = prepare(DATA / "studies" / study, STUDIES[study], half=days.half)
    if stored(prepared, number) and not is_kept(prepared, days, number):
        begin = time.perf_counter()
        keep(prepared, days, number, judge_on(prepared, number, [days])[days])
        print(f"{study}, case {number}, {days.name}: {time.perf_counter() - begin:.0f} s", flush=True)


def read_case(study: str, number: int) -> None:
    """Keep what a stored case's market may answer to its design, hoped for and feared."""
    prepared = prepare(DATA / "studies" / study, STUDIES[study])
    if stored(prepared, number):
        keep_readings(prepared, number)


def main(names: list[str]) -> None:
    if unknown := set(names) - {days.name for days in SETS}:
        known = ", ".join(repr(days.name) for days in SETS)
        sys.exit(f"unseen/run.py: unknown set of days {min(unknown)!r}; choose among {known}")
    chosen = [days for days in SETS if not names or days.name in names]
    tasks = [(study, days, number) for days in chosen for study in STUDIES for number in reversed(CASES)]
    joblib.Parallel(n_jobs=2)(joblib.delayed(judge_case)(*task) for task in tasks)
    joblib.Parallel(n_jobs=2)(joblib.delayed(read_case)(study, number) for study in STUDIES for number in READ)
    write_answer(DATA / "results" / "answer.md")


def write_answer(path: Path) -> None:
    """Write the book's answer; it stays as it was, and a line says why, where some case is not judged."""
    if missing := unjudged():
        sys.exit(
            f"unseen/run.py: {path.name}: is left as it was, as {missing[0]} is not judged for today's data and "
            "decisions; run cases/run.py, then this without a SET"
        )
    path.write_text(answer())


def unjudged() -> list[str]:
    """Cases on the sets of days that the answer speaks of, where what is kept is none of today's."""
    found = []
    for study, preset in STUDIES.items():
        for days in (REAL, SWAPPED):
            prepared = prepare(DATA / "studies" / study, preset, half=days.half)
            judged = (bool(stored(prepared, number)) and is_kept(prepared, days, number) for number in CASES)
            found += [f"{study}, case {k}, {days.name}" for k, kept in zip(CASES, judged, strict=True) if not kept]
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
