"""What the command line's verbs do, each as a function that returns an exit code."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tritier import store
from tritier.cases import find_case
from tritier.certificate import require
from tritier.certificate_proof import check_pool, proved_bound, scip_word
from tritier.days import make_days, season_days
from tritier.ends import both_ends, forget
from tritier.errors import CertificateError, InputError, SolverError
from tritier.hybrid_ledger import Ledger
from tritier.joint import JointLP
from tritier.outcome import daily_table, physics_table, settlement_of
from tritier.recourse import POLICIES
from tritier.scenarios import design_days, held_out_days, resampled_days
from tritier.settlement import imbalance
from tritier.study import SolvedCase, certificates, judge_all, prepare, solve_case, summary

SAME = 1e-6  # relative: a recomputed summary figure against the stored one
BOUND = 1e-4  # $/day: a social cost of the design's proof, solved again
DAY_SETS = ("held-out", "design", "scenarios", "resampled", "season")


def say(text: str) -> None:
    """One progress line, on stderr."""
    print(text, file=sys.stderr, flush=True)


def solve(
    study: str,
    case: int,
    preset: str,
    changes: dict[str, str],
    gap: float | None,
    jobs: int,
    engine: str,
    resume: bool,
    out: str,
) -> int:
    """Solve a case, certify it and write it to ``out``; a failed certificate writes nothing."""
    begin = time.perf_counter()
    find_case(case)
    if gap is not None and not 0 < gap < 1:
        raise InputError("--gap", "gap", f"{gap:g} is not a share", "give a number between 0 and 1")
    if jobs == 0:
        raise InputError("--jobs", "jobs", "0 is no number of processes", "give 1 or more, or -1 for all cores")
    prepared = prepare(study, preset, changes)
    out_folder = store.check_out(Path(out))
    state = out_folder.with_name(f"{out_folder.name}.state.npz")
    if not resume:
        forget(state)
    say(
        f"{prepared.study.name}: case {case}, preset {preset}, {len(prepared.instance.prosumers)} prosumers, "
        f"{prepared.instance.days.n_days} scenarios"
    )
    try:
        solved = solve_case(prepared, case, jobs, say, state, gap, engine)
        if solved.design is not None:
            require("design.gap", solved.design.gap, prepared.preset.gap if gap is None else gap)
        proof = certificates(solved)
        store.write_case(out_folder, solved, summary(solved), proof, time.perf_counter() - begin)
    except (InputError, CertificateError, SolverError):
        forget(state)  # only an interrupted run has something to go on from
        raise
    forget(state)
    say(f"written to {out}")
    return 0


def certify(folder: str, study: str | None = None, jobs: int = 1) -> int:
    """Recompute every certificate and summary figure of a stored case; raises CertificateError at the first failure.

    jobs: processes that share the rows of proof.npz.
    """
    path = Path(folder)
    solved = store.read_case(path, Path(study) if study else None)
    fresh = certificates(solved)
    for name, again in (("summary", summary(solved)), ("certificate", fresh)):
        check_figures(path / f"{name}.json", name, store.read_json(path / f"{name}.json"), again)
    if solved.design is not None:
        check_proof(path, solved, jobs)
    print(json.dumps(fresh, indent=1, default=float))
    return 0


def check_figures(path: Path, name: str, stored: object, again: object) -> None:
    """Compare a stored file with what decisions and study give, key by key.

    Raises InputError where it is not of the same form, CertificateError where a figure or word differs.
    """
    if isinstance(again, dict | list):
        places = again if isinstance(again, dict) else range(len(again))
        if not isinstance(stored, type(again)) or list(
            stored if isinstance(again, dict) else range(len(stored))
        ) != list(places):
            raise InputError(path, name, "does not hold the expected keys", store.AGAIN)
        for k in places:
            check_figures(path, f"{name}.{k}", stored[k], again[k])
    elif isinstance(again, str):
        require(name, float(stored != again), 0.0, f"{stored!r} is stored, {again!r} is found")
    elif isinstance(stored, bool) or not isinstance(stored, int | float):
        raise InputError(path, name, f"{stored!r} is no number", store.AGAIN)
    elif stored != again:  # infinities are equal, not close
        least = 1e-2 if "share" in name else 1.0
        require(name, abs(stored - again) / max(least, abs(again)), SAME, f"{stored:g} is stored, {again:g} is found")


def check_proof(path: Path, solved: SolvedCase, jobs: int = 1) -> None:
    """Re-check the bounds of a design: every row of proof.npz, what the rows prove, both ends of the achievable gain,
    and SCIP's word."""
    design, joint = solved.design, JointLP(solved.clearing, solved.case.market, solved.case.network)
    pool = store.read_pool(path / "proof.npz", joint)
    rows = check_pool(joint, pool, jobs)
    say(f"{rows} rows of proof.npz hold")
    for name, again in zip(("flat", "first_best"), both_ends(joint, jobs), strict=True):
        off, found = abs(getattr(design, name) - again.social_cost), f"{again.social_cost:.6f} is found"
        require(f"design.{name}", off, BOUND, found)
    require("design.menu_points", abs(design.menu_points - solved.clearing.menu.n_points), 0.0)
    ledger = Ledger.of(joint, design.upper_bound - design.lower_bound, pool)
    bound = proved_bound(ledger, design.upper_bound)
    require("design.lower_bound", design.lower_bound - bound, BOUND, f"{bound:.6f} is proved")
    if design.proof != "not run":
        word = scip_word(joint, ledger, solved.decisions, design)
        require("design.proof", float(word != design.proof), 0.0, f"{design.proof} is stored, SCIP leaves it {word}")


def evaluate(folder: str, days: str, study: str | None = None) -> int:
    """AC-check a stored design on days it has not seen and write physics.json and evaluation.csv beside it."""
    if days not in DAY_SETS:
        raise InputError("--days", "days", f"unknown set of days {days!r}", f"choose one of {', '.join(DAY_SETS)}")
    path = Path(folder)
    solved = store.read_case(path, Path(study) if study else None)
    chosen = find_days(solved, days)
    rows, tables = {}, []
    for _, policy, judged in judge_all(solved.prepared, {solved.case.number: solved.decisions}, chosen, POLICIES):
        economics, physics = daily_table(judged, solved.decisions), physics_table(judged)
        require("money.imbalance_usd", imbalance(settlement_of(judged, solved.decisions), 0.0), 1e-3)
        tables.append(economics.merge(physics, on="day").assign(policy=policy))
        p = chosen.probability  # equal on real days, unequal on scenarios
        rows[policy] = {
            "violation_share": float(physics["ac_violation_share"] @ p),
            "violation_days_share": float((physics["ac_violation_share"] > 0) @ p),
            "overload_share": float(physics["ac_overload_share"] @ p),
            "losses_kwh": float(physics["ac_losses_kwh"] @ p),
            "days": len(physics),
            "chance_level": solved.prepared.instance.rules.chance_level,
            "lindistflow_max_error_pu": float(physics["lindistflow_max_error_pu"].max()),
            "lindistflow_violation_share": float(physics["lindistflow_violation_share"] @ p),
        }
        say(f"{policy}: {len(physics)} days, violations {rows[policy]['violation_share']:.4%} of bus-hours")
    headline = rows[solved.case.policy]
    store.write_json(
        path / "physics.json", headline | {"policy": solved.case.policy, "day_set": days, "policies": rows}
    )
    pd.concat(tables, ignore_index=True).to_csv(path / "evaluation.csv", index=False)
    print(json.dumps(headline, indent=1))
    return 0


def find_days(solved: SolvedCase, name: str):
    """The set of days of that name."""
    p = solved.prepared
    if name == "scenarios":
        return p.instance.days
    if name == "season":
        return make_days(p.study, np.asarray(season_days(p.study)))
    make = {"held-out": held_out_days, "design": design_days, "resampled": resampled_days}[name]
    return make(p.study, p.preset, p.half)


def feeder(bus: str, branch: str, as_json: bool) -> int:
    """AC and LinDistFlow figures of a feeder at nominal load."""
    from tritier.acflow import feeder_report

    report = feeder_report(bus, branch)
    if as_json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            print(f"{key}: {value:.6f}" if isinstance(value, float) else f"{key}: {value}")
    return 0


def bilevel(file: str, mode: str, time_limit: float, as_json: bool) -> int:
    """Solve a linear bilevel problem from a file: 0 optimal, 3 infeasible, 4 no optimum (limit hit or F unbounded)."""
    from tritier.bilevel_file import solve_file

    if not time_limit >= 0:
        raise InputError("--time-limit", "seconds", f"{time_limit:g} is no duration", "give seconds, 0 or more")
    answer = solve_file(file, mode, time_limit=time_limit)
    print(json.dumps(answer) if as_json else "\n".join(f"{k}: {v}" for k, v in answer.items()))
    return {"optimal": 0, "infeasible": 3}.get(answer["status"], 4)
