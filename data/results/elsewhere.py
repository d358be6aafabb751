"""Does it hold elsewhere? Cases 1, 2 and 4 on other electrified feeders: python data/results/elsewhere.py [NAME ...]

Each feeder passes through ``study new`` and ``study electrify`` with no file edited, is solved and certified at preset
fast, and judged on the even weeks of the season, which no design has seen; a case that was solved anew is judged anew.
What is stored is left alone and what was begun goes on from ``_run/elsewhere``, so that a broken run loses minutes;
delete a feeder's folder here for a fresh start.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tritier.cases.cases import CASES
from tritier.cases.result import Result, made_from, read_result, solve_case
from tritier.cases.solve import Prepared, prepare
from tritier.evaluation.heldout import ORIGIN, REAL, find, find_days, is_of, judged, note_origin, origin_of
from tritier.provenance import write_csv
from tritier.studies.build import electrify, find_grid, new_study

DATA = Path(__file__).resolve().parents[1]
HERE = DATA / "results" / "elsewhere"
WORK = DATA.parent / "_run" / "elsewhere"
FEEDERS = {"ieee69": "IEEE 69", "oberrhein2": "half of mv_oberrhein, 108 buses"}
NUMBERS = (1, 2, 4)
PRESET, HALF = "fast", REAL.half


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def study_of(name: str) -> Path:
    """The feeder's electrified study, made by rule from its tables of buses and lines."""
    today, then = WORK / name / "today", WORK / name / "electrified"
    if not then.exists():
        shutil.rmtree(today, ignore_errors=True)
        today.parent.mkdir(parents=True, exist_ok=True)
        tables = (DATA / "feeders" / f"{name}_{part}.csv" for part in ("bus", "branch"))
        new_study(today, find_grid(",".join(map(str, tables))), DATA)
        say(electrify(today, then, 1.0, DATA)[1])
    return then


def prepared_of(name: str) -> Prepared:
    """The study at its preset."""
    return prepare(study_of(name), PRESET, half=HALF)


def solved(name: str, prepared: Prepared, number: int) -> Result:
    """A case, stored or solved."""
    out = HERE / name / f"case-{number}"
    if not made_from(out, prepared):
        state = WORK / name / f"case-{number}.state.npz"
        result = solve_case(prepared, number, jobs=2, progress=say, state=state)
        result.write(out)
        state.unlink(missing_ok=True)
    return read_result(out, prepared.study.folder)


def judge_case(name: str, prepared: Prepared, result: Result) -> None:
    """Certify and judge a case, unless the days of the decisions that are stored are kept."""
    place, number = HERE / name, result.case.number
    mine, about = origin_of(place / f"case-{number}", prepared), f"case-{number}.json"
    kept = place / f"case-{number}.csv"
    if kept.exists() and is_of(place, mine, about):
        return
    (place / ORIGIN).unlink(missing_ok=True)  # by which a feeder counts as finished
    result.certify(2)
    made, days = result.decisions, find_days(prepared, REAL.kind)
    found = find(prepared, number, made, judged(prepared, number, made, days))
    write_csv(kept, found.daily)
    note_origin(place, mine, about)
    say(f"{name}, case {number}: {CASES[number].title}, {result.origin['seconds']:.0f} s")


def renew(name: str) -> None:
    """Solve, certify and judge a feeder's cases, each kept as soon as it is there."""
    prepared = prepared_of(name)
    for number in NUMBERS:
        judge_case(name, prepared, solved(name, prepared, number))
    study = prepared.study
    about = {
        "command": f"python data/results/elsewhere.py {name}",
        "buses": int(study.feeder.bus.size),
        "prosumers": len(prepared.instance.prosumers),
        "substation_voltage_pu": study.feeder.v_slack,
        "data_hash": study.data_hash,
        "preset": PRESET,
        "half": HALF,
    }
    note_origin(HERE / name, about)


def main(names: list[str]) -> None:
    for name in names or FEEDERS:
        renew(name)


if __name__ == "__main__":
    main(sys.argv[1:])
