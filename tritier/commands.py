"""What the command line's verbs do, each as a function that returns an exit code."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from tritier import store
from tritier.certificate import require, stored_lp
from tritier.days import make_days, season_days
from tritier.enumeration import enumerate_menu
from tritier.errors import InputError
from tritier.joint import JointLP
from tritier.outcome import daily_table, physics_table, settlement_of
from tritier.recourse import POLICIES
from tritier.scenarios import design_days, held_out_days, resampled_days
from tritier.settlement import imbalance
from tritier.study import ENUMERATED, SolvedCase, certificates, judge_all, prepare, solve_case, summary

SAME = 1e-6  # relative: a recomputed summary figure against the stored one
DAY_SETS = ("held-out", "design", "scenarios", "resampled", "season")


def say(text: str) -> None:
    """One progress line, on stderr."""
    print(text, file=sys.stderr, flush=True)


def solve(
    study: str, case: int, preset: str, changes: dict[str, str], gap: float | None, jobs: int, resume: bool, out: str
) -> int:
    """Solve a case, certify it and write it to ``out``; a failed certificate writes nothing."""
    begin = time.perf_counter()
    out_folder = Path(out)
    if out_folder.exists() and not out_folder.is_dir():
        raise InputError(out, "--out", "is a file", "name a folder")
    state = out_folder.with_name(f"{out_folder.name}.state.npz")
    if not resume:
        state.unlink(missing_ok=True)
    state.parent.mkdir(parents=True, exist_ok=True)
    prepared = prepare(study, preset, changes)
    say(
        f"{prepared.study.name}: case {case}, preset {preset}, {len(prepared.instance.prosumers)} prosumers, "
        f"{prepared.instance.days.n_days} scenarios"
    )
    solved = solve_case(prepared, case, gap, jobs, say, state)
    proof = certificates(solved)
    store.write_case(out_folder, solved, summary(solved), proof, time.perf_counter() - begin)
    state.unlink(missing_ok=True)
    say(f"written to {out}")
    return 0


def certify(folder: str, study: str | None = None) -> int:
    """Recompute every certificate and summary figure of a stored case; raises CertificateError at the first failure."""
    path = Path(folder)
    solved = store.read_case(path, Path(study) if study else None)
    fresh = certificates(solved)
    check_summary(json.loads((path / "summary.json").read_text()), summary(solved))
    if solved.design is not None:
        check_proof(path, solved)
    print(json.dumps(fresh, indent=1, default=float))
    return 0


def check_summary(stored: dict, again: dict) -> None:
    """Raise CertificateError where a stored figure is not what decisions and study give."""
    for key, value in again.items():
        if key not in stored:
            raise InputError("summary.json", key, "is missing", "solve the case again")
        if isinstance(value, str):
            require(f"summary.{key}", float(stored[key] != value), 0.0)
        else:
            require(f"summary.{key}", abs(stored[key] - value) / max(1.0, abs(value)), SAME)


def check_proof(path: Path, solved: SolvedCase) -> None:
    """Re-check every cut and response of proof.npz and the bounds that rest on them."""
    if solved.clearing.menu.n_points <= ENUMERATED:
        check_enumeration(path / "proof.npz", solved)
        return
    joint = stored_lp(solved.clearing, solved.decisions, solved.case.market, solved.case.network)
    from tritier import proof

    proof.check(path / "proof.npz", joint, solved.design)


def check_enumeration(path: Path, solved: SolvedCase) -> None:
    """Enumerate the menu again: no stored value may differ, and none may be better than the design."""
    again = enumerate_menu(JointLP(solved.clearing, solved.case.market, solved.case.network)).table.select_dtypes(
        "number"
    )
    with np.load(path, allow_pickle=False) as stored:
        off = np.abs(np.nan_to_num(stored["enumeration"]) - np.nan_to_num(again.to_numpy())).max()
    require("design.enumeration", float(off), 1e-4)
    require("design.upper_bound", abs(solved.design.upper_bound - float(again["social_cost"].min())), 1e-4)
    require("design.lower_bound", abs(solved.design.lower_bound - float(again["social_cost"].min())), 1e-4)


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
        rows[policy] = {
            "violation_share": float(physics["ac_violation_share"].mean()),
            "violation_days_share": float((physics["ac_violation_share"] > 0).mean()),
            "overload_share": float(physics["ac_overload_share"].mean()),
            "losses_kwh": float(physics["ac_losses_kwh"].mean()),
            "days": len(physics),
            "chance_level": solved.prepared.instance.rules.chance_level,
            "lindistflow_max_error_pu": float(physics["lindistflow_max_error_pu"].max()),
            "lindistflow_violation_share": float(physics["lindistflow_violation_share"].mean()),
        }
        say(f"{policy}: {len(physics)} days, violations {rows[policy]['violation_share']:.4%} of bus-hours")
    import pandas as pd

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
    """Solve a linear bilevel problem from a file: 0 optimal, 3 infeasible, 4 limit or no solution."""
    from tritier.bilevel_file import solve_file

    answer = solve_file(file, mode, time_limit=time_limit)
    print(json.dumps(answer) if as_json else "\n".join(f"{k}: {v}" for k, v in answer.items()))
    return {"optimal": 0, "infeasible": 3}.get(answer["status"], 4)
