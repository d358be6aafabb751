"""Write the hosting plans at preset paper that the book shows: one JSON file a plan, and sweeps of two studies.

`python data/results/hosting/run.py` from the repository root: about an hour on two busy cores, of which less than half
is work. Plans whose inputs have not changed are kept.
"""

import tempfile
import time
from pathlib import Path

import pandas as pd

from tritier.hosting.case import FLEXIBILITY
from tritier.hosting.run import MODELS, Question, load_problem, provenance, run, stale
from tritier.hosting.stored import (
    ELECTRIFIED,
    ELECTRIFIED_PLANS,
    STUDIES,
    budget_sweep,
    collect,
    frontier,
    read_record,
    read_sweeps,
    study_of,
    write_record,
    write_sweeps,
)

HERE = Path(__file__).resolve().parent
BUDGETS = (0, 1, 2, 3, 4, 5, 6)
SHARES = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)


def say(text: str) -> None:
    print(text, flush=True)


def fresh(study: str, model: str, kind: str) -> bool:
    """A record is there and its inputs are those of today."""
    if not (HERE / f"{study}-{model}-{kind}.json").is_file():
        return False
    problem = load_problem(study_of(study), kind, "paper")
    return not stale(read_record(study, model, kind, HERE)["provenance"], problem)


def plans() -> None:
    whole = [(study, model, kind) for study in STUDIES for model in MODELS for kind in FLEXIBILITY]
    for study, model, kind in (*whole, *((study, "robust", kind) for study, kind in ELECTRIFIED_PLANS)):
        if fresh(study, model, kind):
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            run(study_of(study), Question(model, kind, "paper"), out, jobs=2, say=say)
            write_record(collect(study, out), HERE)


def sweeps(study: str) -> None:
    known = (HERE / f"{study}-sweeps.json").is_file()
    if known and not stale(read_sweeps(study, HERE).provenance, load_problem(study_of(study), "p2p", "paper")):
        return
    began, folder, budgets = time.perf_counter(), study_of(study), []
    for kind in ("none", "p2p"):
        problem = load_problem(folder, kind, "paper")
        budgets.append(budget_sweep(problem, BUDGETS, jobs=2).assign(flexibility=kind))
        say(f"{study}: budgets with {kind}, {time.perf_counter() - began:.0f} s")
    most = {kind: read_record(study, "robust", kind, HERE)["summary"]["hosted_kw"] for kind in ("none", "p2p")}
    curves = []
    for kind, shares in (("none", SHARES), ("p2p", (*SHARES, most["p2p"] / most["none"]))):
        curves.append(frontier(folder, "paper", kind, shares, most["none"], jobs=2))
        say(f"{study}: frontier with {kind}, {time.perf_counter() - began:.0f} s")
    asked = Question("robust", "none and p2p", "paper")
    origin = provenance(problem, asked, {"total": time.perf_counter() - began}, 2)
    write_sweeps(study, pd.concat(budgets), pd.concat(curves), origin, HERE)


if __name__ == "__main__":
    plans()
    for name in ("ieee33", ELECTRIFIED):
        sweeps(name)
