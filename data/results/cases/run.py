"""Solve and store the cases that the book then reads: python data/results/cases/run.py [SET ...]

A set is a folder here: a study, a preset and the half of the season that designs. A case that is stored for the same
data and parameters is left alone, so that a broken run goes on where it was.
"""

from __future__ import annotations

import sys

from tritier.cases.result import FOLDER, READY, made_from, solve_case

CASES = (4, 3, 2, 1, 0)


def say(text: str) -> None:
    print(text, flush=True)


def main(names: list[str]) -> None:
    for name in names or READY:
        prepared = READY[name].prepared()
        for number in CASES:
            out = FOLDER / name / f"case-{number}"
            if made_from(out, prepared):
                continue
            state = FOLDER / f".{name}-{number}.state.npz"
            result = solve_case(prepared, number, jobs=2, progress=say, state=state, gap=READY[name].gap)
            result.write(out)
            state.unlink(missing_ok=True)
            say(f"{name}, case {number}: {result.origin['seconds']:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
