"""What the command line's verbs do, each as a function that returns an exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.cases import proof as search_proof
from tritier.cases import store
from tritier.cases.cases import find_case
from tritier.cases.certificate import require
from tritier.cases.outcome import daily_table, imbalance, physics_table, settlement_of
from tritier.cases.recourse import POLICIES
from tritier.cases.solve import SolvedCase, certificates, judge_all, prepare, solve_case, summary
from tritier.errors import CertificateError, InfeasibleError, InputError, SolverError
from tritier.inputs.scenarios import design_days, held_out_days, make_days, resampled_days, season_days
from tritier.reformulation.joint import JointLP
from tritier.search.pool import forget

# The command line: ``tritier VERB ...`` or ``python -m tritier VERB ...``.
#
# Exit codes: 0 done, 1 a certificate failed, 2 bad input or an infeasible study, 3 a bilevel problem is infeasible,
# 4 no optimum (a limit was hit, or a bilevel problem is unbounded), 130 interrupted.


MODES = ("auto", "bigm", "sos1", "indicator", "strong_duality")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    top = Parser(prog="tritier", description="Tri-level coordination of DSO, P2P market and prosumers.")
    verbs = top.add_subparsers(dest="verb", required=True, parser_class=Parser)

    solve = verbs.add_parser("solve", help="design a case")
    solve.add_argument("study")
    solve.add_argument("--case", type=int, required=True)
    solve.add_argument("--preset", default="fast")
    solve.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override the preset or study.yaml"
    )
    solve.add_argument("--gap", type=float, default=None, help="largest gap accepted, share of the achievable gain")
    solve.add_argument("--jobs", type=int, default=1)
    solve.add_argument(
        "--engine", choices=("tree", "scip"), default="tree", help="our tree over the menu, or one tree of SCIP's"
    )
    solve.add_argument("--resume", action="store_true", help="go on from what an interrupted run has stored")
    solve.add_argument("--out", required=True)

    certify = verbs.add_parser("certify", help="recompute every certificate of a stored case")
    certify.add_argument("folder")
    certify.add_argument("--study", default=None, help="the study's folder, where it has moved")
    certify.add_argument("--jobs", type=int, default=1, help="processes that share the rows of the proof")

    evaluate = verbs.add_parser("evaluate", help="judge a stored design on other days, by AC power flow")
    evaluate.add_argument("folder")
    evaluate.add_argument("--days", default="held-out")
    evaluate.add_argument("--study", default=None)

    feeder = verbs.add_parser("feeder", help="AC and LinDistFlow figures of a feeder")
    feeder.add_argument("bus")
    feeder.add_argument("branch")
    feeder.add_argument("--json", action="store_true")

    bilevel = verbs.add_parser(
        "bilevel",
        help="solve a linear bilevel problem",
        epilog="status and exit code: optimal 0; infeasible 3; time_limit (with a point), no_solution (without one) "
        "and unbounded 4. A failed certificate is 1, a bad file 2, each with one line.",
    )
    bilevel.add_argument("file", help="JSON, or MPS beside an AUX file")
    bilevel.add_argument("aux", nargs="?", default=None, help="names the follower's rows and columns of an MPS file")
    bilevel.add_argument("--mode", choices=MODES, default="auto")
    bilevel.add_argument("--time-limit", type=float, default=600.0)
    bilevel.add_argument("--json", action="store_true")

    hosting = verbs.add_parser("hosting", help="hosting capacity of a feeder")
    hosting.add_argument("study")
    hosting.add_argument("--model", choices=("deterministic", "stochastic", "robust"), required=True)
    hosting.add_argument("--flexibility", choices=("none", "der", "p2p"), required=True)
    hosting.add_argument("--preset", default="fast")
    hosting.add_argument("--hosted-mw", type=float, default=None, help="host this much at least cost")
    hosting.add_argument(
        "--budget", type=float, default=None, help="factors that may deviate at once (default: fitted)"
    )
    hosting.add_argument("--size-batteries", action="store_true", help="batteries are decisions")
    hosting.add_argument("--jobs", type=int, default=0, help="threads (default: two, or one on one core)")
    hosting.add_argument("--resume", action="store_true", help="go on from what an interrupted run has stored")
    hosting.add_argument("--out", required=True)

    book = verbs.add_parser("book", help="run stale chapters, check them, build the HTML book")
    book.add_argument("--preset", default="fast")
    return top


def run(arguments: argparse.Namespace) -> int:
    """Do what the parsed arguments ask."""
    from tritier.inputs.settings import parse_changes

    a = arguments
    if a.verb == "solve":
        changes = parse_changes(a.set)
        return solve(a.study, a.case, a.preset, changes, a.gap, a.jobs, a.engine, a.resume, a.out)
    if a.verb == "certify":
        return certify(a.folder, a.study, a.jobs)
    if a.verb == "evaluate":
        return evaluate(a.folder, a.days, a.study)
    if a.verb == "feeder":
        return feeder(a.bus, a.branch, a.json)
    if a.verb == "bilevel":
        return bilevel(a.file, a.aux, a.mode, a.time_limit, a.json)
    if a.verb == "hosting":
        from tritier.hosting.run import Question
        from tritier.hosting.run import run as run_hosting

        hosted_kw = None if a.hosted_mw is None else 1e3 * a.hosted_mw
        asked = Question(a.model, a.flexibility, a.preset, hosted_kw, a.budget, a.size_batteries)
        run_hosting(a.study, asked, a.out, a.jobs, a.resume)
        return 0
    from tritier.book import __main__ as book

    return book.main(a.preset)


def main(words: list[str] | None = None) -> int:
    """Entry point: errors a user can mend end in one line and exit code 2, failed certificates in exit code 1."""
    arguments = parser().parse_args(words)
    try:
        return run(arguments)
    except InputError as error:
        print(f"tritier: {error}", file=sys.stderr)
        return 2
    except CertificateError as error:
        print(f"tritier: {error}", file=sys.stderr)
        return 1
    except InfeasibleError as error:
        print(
            f"tritier: {arguments.verb}: infeasible: {error}; relax limits, lower the fixed cost or widen the menu",
            file=sys.stderr,
        )
        return 2
    except SolverError as error:
        print(f"tritier: {arguments.verb}: {error}", file=sys.stderr)
        return 4
    except BrokenPipeError:  # the reader of our output, say `head`, has gone: every verb prints last
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(
            f"tritier: {error.filename or arguments.verb}: {error.strerror}; check path, rights and free space",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        mend = "; --resume goes on from what is stored" if arguments.verb in ("solve", "hosting") else ""
        print(f"tritier: {arguments.verb}: interrupted{mend}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())


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
    """Check the bounds of a design against the rows of proof.npz (:func:`tritier.cases.proof.check_proof`)."""
    joint = JointLP(solved.clearing, solved.case.market, solved.case.network)
    pools = store.read_pools(path / "proof.npz", joint)
    rows = search_proof.check_proof(joint, solved.decisions.design, solved.design, pools, jobs)
    say(f"{rows} rows of proof.npz hold")


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
        return make_days(p.study, np.asarray(season_days(p.study)), half=p.half)
    make = {"held-out": held_out_days, "design": design_days, "resampled": resampled_days}[name]
    return make(p.study, p.preset, p.half)


def feeder(bus: str, branch: str, as_json: bool) -> int:
    """AC and LinDistFlow figures of a feeder at nominal load."""
    from tritier.model.acflow import feeder_report

    report = feeder_report(bus, branch)
    if as_json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            print(f"{key}: {value:.6f}" if isinstance(value, float) else f"{key}: {value}")
    return 0


def bilevel(file: str, aux: str | None, mode: str, time_limit: float, as_json: bool) -> int:
    """Solve a linear bilevel problem from a file: 0 optimal, 3 infeasible, 4 no optimum (limit hit or F unbounded)."""
    from tritier.reformulation.files import solve_file

    if not time_limit >= 0:
        raise InputError("--time-limit", "seconds", f"{time_limit:g} is no duration", "give seconds, 0 or more")
    answer = solve_file(file, mode, time_limit, aux)
    print(json.dumps(answer) if as_json else "\n".join(f"{k}: {v}" for k, v in answer.items()))
    return {"optimal": 0, "infeasible": 3}.get(answer["status"], 4)
