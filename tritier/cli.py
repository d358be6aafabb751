"""The command line: ``tritier VERB ...`` or ``python -m tritier VERB ...``, a function for each verb.

Exit codes: 0 done; 1 a certificate failed; 2 bad input, or an infeasible study; 3 a bilevel problem is infeasible;
4 no optimum (a limit was hit, or a bilevel problem is unbounded); 70 a defect of this program, its trace in a log file;
128 + n stopped by signal n, so 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import tritier as tt
from tritier.errors import (
    CertificateError,
    InfeasibleError,
    InputError,
    NoRecoveryError,
    SolverError,
    printable,
)
from tritier.provenance import DATA, comes_of_interrupt

if TYPE_CHECKING:
    import pandas as pd

    from tritier.inputs.study import Study

MODES = ("auto", "bigm", "sos1", "indicator", "strong_duality")
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
DEFECT = 70
HOSTING_MEND = "ask for less with --hosted-mw, or allow flexibility or more curtailment"
PICTURES = (".svg", ".pdf", ".png")
Verbs = Any  # what argparse's add_subparsers gives


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}\n")


def say(text: str) -> None:
    """One progress line, on stderr."""
    print(text, file=sys.stderr, flush=True)


def teller(quiet: bool) -> Callable[[str], None]:
    """Where progress lines go: to stderr, or nowhere."""
    return (lambda _text: None) if quiet else say


def begin(quiet: bool, text: str) -> None:
    """A line on what begins, for who waits at a terminal; in a log an error stays the only line."""
    if not quiet and sys.stderr.isatty():
        say(text)


PACE = 2.0  # seconds


def paced(tell: Callable[[str], None], seconds: float = PACE) -> Callable[[str], None]:
    """Progress lines at most every few seconds, none in the first few: a command that is soon done says nothing."""
    last = time.monotonic()

    def told(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            tell(text)

    return told


@contextmanager
def at_work(quiet: bool, text: str) -> Iterator[Callable[[str], None]]:
    """A line on what begins, for who waits at a terminal, then how long it has taken and which step it is at: every ten
    seconds at a terminal, every half minute in a log. What it gives is told the steps, and tells them at a pace."""
    begin(quiet, text)
    done, start, steps = threading.Event(), time.monotonic(), list[str]()
    tell, pause = teller(quiet), (5 if sys.stderr.isatty() else 15) * PACE
    pace = paced(tell)

    def step(line: str) -> None:
        steps[:] = [line]
        pace(line)

    def beat() -> None:
        while not done.wait(pause):
            tell(f"{text}: {time.monotonic() - start:.0f} s{''.join(f', {line}' for line in steps)}")

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield step
    finally:
        done.set()


def add_quiet(verb: argparse.ArgumentParser) -> None:
    """The option of every verb that says on stderr how far it is."""
    verb.add_argument("--quiet", action="store_true", help="no progress lines")


def add_run_options(verb: argparse.ArgumentParser) -> None:
    """Options of verbs that compute for a while and write a folder."""
    verb.add_argument("--preset", default="fast", help="smoke, fast or paper")
    verb.add_argument("--jobs", type=int, default=1, help="processes that share the work, -1 for one a core")
    add_quiet(verb)
    going = verb.add_mutually_exclusive_group()
    going.add_argument(
        "--resume", action="store_true", help="go on from what an interrupted run has left, as every run does"
    )
    going.add_argument("--restart", action="store_true", help="drop what an interrupted run has left")
    verb.add_argument("--out", required=True, help="folder of the result; an earlier result there gives way")


def add_solve(verbs: Verbs) -> None:
    """``solve``."""
    verb = verbs.add_parser("solve", help="design a case")
    verb.set_defaults(run=solve)
    verb.add_argument("study", help="folder with study.yaml")
    verb.add_argument("--case", type=int, required=True, help="0 to 4")
    verb.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override the preset or study.yaml"
    )
    verb.add_argument("--gap", type=float, default=None, help="largest gap accepted, share of the achievable gain")
    verb.add_argument(
        "--engine", choices=("tree", "scip"), default=None, help="who chooses what is answered next: we (tree), or SCIP"
    )
    verb.add_argument("--profile", action="store_true", help="print where the seconds go, and store it as profile.csv")
    add_run_options(verb)


def solve(a: argparse.Namespace) -> int:
    """Solve a case, certify it and write it to ``--out``; a failed certificate writes nothing."""
    from tritier.cases import store
    from tritier.cases.cases import find_case
    from tritier.cases.result import check_asked, range_in_words, solve_case
    from tritier.cases.solve import prepare
    from tritier.inputs.settings import parse_changes
    from tritier.provenance import keeping, sole_writer

    case, progress = find_case(a.case), teller(a.quiet)
    engine = a.engine or "tree"
    check_asked(a.gap, a.jobs, engine)
    if not case.optimised:
        refuse_of_search(a)
    prepared = prepare(a.study, a.preset, parse_changes(a.set))
    place = store.check_out(Path(a.out))
    state = place.with_name(f"{place.name}.state.npz") if case.optimised else None
    instance = prepared.instance
    with sole_writer(place), keeping(state):
        if a.restart and state is not None:
            store.forget_state(state)
        progress(
            f"{prepared.study.name}: case {a.case}, preset {a.preset}, {len(instance.prosumers)} prosumers, "
            f"{instance.days.n_days} scenarios"
        )
        result = solve_case(prepared, a.case, a.jobs, progress, state, a.gap, engine)
        result.write(place, a.profile)
        if result.bounds is not None:
            progress(result.bounds.in_words)
        progress(range_in_words(result.social_cost_range))
        if state is not None:
            store.forget_state(state)
    mind(result.warnings())
    if a.profile and result.profile is not None:
        print(profile_text(result.profile))
    progress(f"written to {a.out}")
    return 0


def refuse_of_search(a: argparse.Namespace) -> None:
    """Raise InputError where a case without a search is asked for what only a search has."""
    for name in ("gap", "engine", "profile", "resume", "restart"):
        if getattr(a, name) not in (None, False):
            raise InputError(f"--{name}", "case", f"case {a.case} has no search", "leave it out, or solve case 3 or 4")


def profile_text(profile: pd.DataFrame) -> str:
    """A profile as a table: a row per phase, a column per work, in seconds of processes, and the phases' shares."""
    order = profile["phase"].drop_duplicates()
    table = profile.pivot_table("seconds", "phase", "work", "sum", 0.0).loc[order]
    table["total"] = table.sum(axis=1)
    table["share"] = (100 * table["total"] / table["total"].sum()).map("{:.0f} %".format)
    return table.rename_axis(None).rename_axis(None, axis=1).to_string(float_format="{:.2f}".format)


def mind(warnings: list[str]) -> None:
    """What is likely not meant, one line each, on stderr; ``--quiet`` is about progress and leaves them."""
    for line in warnings:
        say(f"mind: {line}")


def add_certify(verbs: Verbs) -> None:
    """``certify``."""
    verb = verbs.add_parser("certify", help="recompute every certificate of a stored case or hosting result")
    verb.set_defaults(run=certify)
    verb.add_argument("folder")
    verb.add_argument("--study", default=None, help="the study's folder, where it has moved")
    verb.add_argument("--jobs", type=int, default=1, help="processes that share the rows of the proof")
    add_quiet(verb)


def certify(a: argparse.Namespace) -> int:
    """Recompute every certificate and figure of a stored result; CertificateError at the first that fails."""
    from tritier.cases.store import UNCHECKED, unread
    from tritier.evaluation.heldout import check_evaluation
    from tritier.hosting.run import is_hosting, read_hosting
    from tritier.provenance import require_jobs

    require_jobs(a.jobs)
    folder = Path(a.folder)
    result = read_hosting(folder, a.study) if is_hosting(folder) else tt.read_result(folder, a.study)
    progress, bounds = teller(a.quiet), getattr(result, "bounds", None)
    with at_work(a.quiet, f"certifying {a.folder}") as step:
        found = result.certify(a.jobs, step)
    if isinstance(result, tt.Result):
        check_evaluation(folder, result)
    if bounds is not None:
        progress(bounds.in_words)
    if isinstance(result, tt.Result):
        progress(f"not checked, as no figure rests on it: {', '.join(UNCHECKED)} of provenance.json")
        if files := unread(folder):
            progress(f"not checked either: {files}")
    print(json.dumps(found, indent=1, default=float))
    return 0


def require_case(folder: str) -> None:
    """Raise InputError where a folder holds a hosting plan, and no solved case."""
    from tritier.hosting.run import is_hosting

    if is_hosting(Path(folder)):
        raise InputError(folder, "provenance.json", "is of a hosting plan, not of a case", "tritier certify reads it")


def add_evaluate(verbs: Verbs) -> None:
    """``evaluate``."""
    verb = verbs.add_parser("evaluate", help="judge a stored design on other days, by AC power flow")
    verb.set_defaults(run=evaluate)
    verb.add_argument("folder")
    sets = "held-out, design, scenarios, resampled, season, other-weekdays or weekends"
    verb.add_argument("--days", default="held-out", help=sets)
    verb.add_argument("--study", default=None, help="the study's folder, where it has moved")
    verb.add_argument("--jobs", type=int, default=1, help="processes that share the rows of the proof")
    add_quiet(verb)


def evaluate(a: argparse.Namespace) -> int:
    """Certify a stored design, judge it on other days, and write physics.json and evaluation.csv beside it."""
    from tritier.cases.outcome import means_by_policy
    from tritier.evaluation.heldout import find_day_set
    from tritier.provenance import require_jobs, sole_writer

    find_day_set(a.days)
    require_jobs(a.jobs)
    require_case(a.folder)
    result, progress = tt.read_result(a.folder, a.study), teller(a.quiet)
    with sole_writer(Path(a.folder).resolve()):
        with at_work(a.quiet, f"certifying {a.folder}, then judging its {a.days} days") as step:
            found = tt.evaluate(result, a.days, a.jobs, step)
        found.write(a.folder)
    means = means_by_policy(found.table, ["welfare_usd", "prosumer_cost_usd"])
    for policy, welfare, cost in means.itertuples():
        figures = found.policies[policy]
        progress(
            f"{policy}: {figures['days']} days, welfare {welfare:,.0f} $/day, prosumer cost {cost:,.0f} $/day, "
            f"violations {figures['violation_share']:.4%} of bus-hours"
        )
    print(json.dumps(found.headline, indent=1))
    return 0


def add_feeder(verbs: Verbs) -> None:
    """``feeder``."""
    verb = verbs.add_parser("feeder", help="AC and LinDistFlow figures of a feeder")
    verb.set_defaults(run=feeder)
    verb.add_argument("bus", help="table of buses")
    verb.add_argument("branch", help="table of lines")
    verb.add_argument("--json", action="store_true")


def feeder(a: argparse.Namespace) -> int:
    """AC and LinDistFlow figures of a feeder at nominal load."""
    from tritier.model.acflow import feeder_report

    report = feeder_report(a.bus, a.branch)
    if a.json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            print(f"{key}: {value:.6f}" if isinstance(value, float) else f"{key}: {value}")
    return 0


def add_bilevel(verbs: Verbs) -> None:
    """``bilevel``."""
    verb = verbs.add_parser(
        "bilevel",
        help="solve a linear bilevel problem",
        epilog="status and exit code: optimal 0; infeasible 3; time_limit (with a point), no_solution (without one) "
        "and unbounded 4. A failed certificate is 1, a bad file 2, each with one line.",
    )
    verb.set_defaults(run=bilevel)
    verb.add_argument("file", help="JSON, or MPS beside an AUX file")
    verb.add_argument("aux", nargs="?", default=None, help="names the follower's rows and columns of an MPS file")
    verb.add_argument("--mode", choices=MODES, default="auto")
    verb.add_argument("--time-limit", type=float, default=600.0, help="seconds")
    verb.add_argument("--json", action="store_true")
    add_quiet(verb)


def bilevel(a: argparse.Namespace) -> int:
    """Solve a linear bilevel problem from a file: 0 optimal, 3 infeasible, 4 no optimum (limit hit or F unbounded)."""
    from tritier.reformulation.files import solve_file

    if not a.time_limit >= 0:
        raise InputError("--time-limit", "seconds", f"{a.time_limit:g} is no duration", "give seconds, 0 or more")
    with at_work(a.quiet, f"solving {a.file}, at most {a.time_limit:g} s"):
        answer = solve_file(a.file, a.mode, a.time_limit, a.aux)
    print(json.dumps(answer) if a.json else "\n".join(f"{k}: {v}" for k, v in answer.items()))
    return {"optimal": 0, "infeasible": 3}.get(answer["status"], 4)


def add_hosting(verbs: Verbs) -> None:
    """``hosting``."""
    verb = verbs.add_parser("hosting", help="hosting capacity of a feeder")
    verb.set_defaults(run=hosting)
    verb.add_argument("study", help="folder with study.yaml, and hosting.yaml if its defaults do not suit")
    verb.add_argument("--model", choices=("deterministic", "stochastic", "robust"), required=True)
    verb.add_argument("--flexibility", choices=("none", "der", "p2p"), required=True)
    verb.add_argument("--hosted-mw", type=float, default=None, help="host this much at least cost")
    verb.add_argument("--budget", type=float, default=None, help="factors that may deviate at once (default: fitted)")
    verb.add_argument("--size-batteries", action="store_true", help="batteries are decisions")
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override study.yaml")
    add_run_options(verb)


def hosting(a: argparse.Namespace) -> int:
    """Plan what a feeder hosts, check the plan and write it to ``--out``."""
    from tritier.hosting.run import Question, report, run
    from tritier.inputs.settings import parse_changes
    from tritier.inputs.study import read_study

    hosted_kw = None if a.hosted_mw is None else 1e3 * a.hosted_mw
    asked = Question(a.model, a.flexibility, a.preset, hosted_kw, a.budget, a.size_batteries)
    study = read_study(a.study, parse_changes(a.set)) if a.set else a.study
    result = run(study, asked, a.out, a.jobs, a.restart, teller(a.quiet))
    print("\n".join(report(result.summary())))
    return 0


def add_book(verbs: Verbs) -> None:
    """``book``."""
    verb = verbs.add_parser("book", help="run stale chapters, check them, build the HTML book")
    verb.set_defaults(run=book)
    verb.add_argument("--preset", default="fast", help="smoke, fast or paper")
    verb.add_argument("--jobs", type=int, default=2, help="chapters run at a time, -1 for one a core")
    verb.add_argument("--no-run", action="store_true", help="check and build what was executed before")
    verb.add_argument("--no-html", action="store_true", help="stop after the figures")


def book(a: argparse.Namespace) -> int:
    """Run stale chapters, check them and build the HTML book."""
    from tritier.book.build import build_book
    from tritier.provenance import require_jobs

    require_jobs(a.jobs)
    jobs = a.jobs if a.jobs > 0 else os.cpu_count() or 1
    return build_book(a.preset, jobs=jobs, run=not a.no_run, html=not a.no_html)


def add_study(verbs: Verbs) -> None:
    """``study new``, ``check``, ``calibrate`` and ``electrify``."""
    study = verbs.add_parser("study", help="make, check, calibrate or electrify a study of one's own")
    below = study.add_subparsers(dest="what", required=True, parser_class=Parser)

    new = below.add_parser("new", help="write a complete study folder for a feeder from elsewhere")
    new.set_defaults(run=write_new)
    new.add_argument("folder", help="folder to write")
    new.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="X",
        help="pandapower:NAME, simbench:CODE, matpower:CASE, a MATPOWER .m file, a pandapower .json file, or "
        "BUS.csv,BRANCH.csv",
    )
    new.add_argument(
        "--root", type=int, default=None, metavar="BUS", help="bus of the substation, where there are more"
    )
    new.add_argument("--open", type=int, action="append", default=[], metavar="LINE", help="open a line of a loop")
    add_data(new)
    add_quiet(new)

    check = below.add_parser("check", help="print what is in a study, and what is not its own")
    check.set_defaults(run=check_one)
    check.add_argument("folder")
    check.add_argument("--preset", default="fast", help="whose menu is shown")
    check.add_argument("--plot", default=None, metavar="FILE", help="draw the feeder: .svg, .pdf or .png")
    check.add_argument("--json", action="store_true")
    add_quiet(check)

    fit = below.add_parser("calibrate", help="fit load scale and reference value so that Case 1 meets two targets")
    fit.set_defaults(run=calibrate_one)
    fit.add_argument("folder")
    fit.add_argument("--prosumer-cost", type=float, required=True, metavar="USD", help="a day, of Case 1")
    fit.add_argument("--welfare", type=float, required=True, metavar="USD", help="a day, of Case 1")
    add_renew(fit)
    fit.add_argument("--json", action="store_true")
    add_quiet(fit)

    electric = below.add_parser("electrify", help="write the study's twin with vehicles, heat pumps and spot prices")
    electric.set_defaults(run=electrify_one)
    electric.add_argument("folder")
    electric.add_argument("--level", type=float, default=1.0, help="the dial, 0 to 1")
    electric.add_argument("--out", required=True, help="folder to write")
    add_renew(electric)
    add_data(electric)
    add_quiet(electric)


def add_data(verb: argparse.ArgumentParser) -> None:
    """Where profiles and prices lie that a feeder does not bring."""
    verb.add_argument("--data", default=str(DATA), help="folder data/ of the repository: profiles and prices")


def add_renew(verb: argparse.ArgumentParser) -> None:
    """What becomes of menus when the flows change under them."""
    verb.add_argument(
        "--renew-menus",
        action="store_true",
        help="take the menus from the new flows even where they are not those of study new",
    )


def add_report(verbs: Verbs) -> None:
    """``report``."""
    report = verbs.add_parser("report", help="one self-contained HTML page for a solved case")
    report.set_defaults(run=write_page)
    report.add_argument("folder")
    report.add_argument("--study", default=None, help="the study's folder, where it has moved")
    add_quiet(report)


def write_new(a: argparse.Namespace) -> int:
    """Write a study folder, say what is in it and what to mind."""
    from tritier.studies.build import find_grid, new_study

    progress = teller(a.quiet)
    with at_work(a.quiet, f"reading {a.source}"):
        grid = find_grid(a.source, a.root, a.open)
    progress(f"{a.source}: {len(grid.bus)} buses, {grid.bus['p_kw'].sum():,.0f} kW")
    with at_work(a.quiet, f"writing {a.folder}"):
        study = new_study(Path(a.folder), grid, Path(a.data))
    noted(study, "fast")
    progress(f"written to {a.folder}; next: tritier study check {a.folder}")
    return 0


def check_one(a: argparse.Namespace) -> int:
    """Print a study's figures, flows, voltages and menu, then what to mind; 0, whatever that is."""
    from tritier.studies.check import check_study

    if a.plot is not None and Path(a.plot).suffix not in PICTURES:
        raise InputError("--plot", a.plot, "is no picture", f"end its name in {', '.join(PICTURES)}")
    with at_work(a.quiet, f"checking {a.folder}"):
        found = check_study(tt.read_study(a.folder), a.preset)
    if a.plot is not None:
        draw(tt.read_study(a.folder), found.voltages, Path(a.plot))
    if a.json:
        tables = {name: getattr(found, name).to_dict("records") for name in ("lines", "voltages", "menu")}
        print(json.dumps({"figures": found.figures, "warnings": found.warnings} | tables, default=float))
        return 0
    for name, value in found.figures.items():
        print(f"{name:22} {value:,.4g}" if isinstance(value, float) else f"{name:22} {value}")
    for title, table in (
        ("largest flows on design days, nobody shifting, storing or curtailing", found.lines),
        ("limits offered beside these flows; a share above 1 never binds", found.menu),
        ("lowest and highest voltage there", found.voltages),
    ):
        print(f"\n{title}\n{table.to_string(index=False, float_format=lambda x: f'{x:,.4g}')}")
    for line in found.warnings:
        print(f"\nmind: {line}")
    return 0


def draw(study: Study, voltages: pd.DataFrame, path: Path) -> None:
    """The feeder as a map of its lowest voltages."""
    import numpy as np

    from tritier.plots.network import feeder_map
    from tritier.plots.style import close, use_style

    use_style()
    where = np.array([study.feeder.position(p.bus) for p in study.prosumers])
    fig = feeder_map(study.feeder, voltages["v_min_pu"].to_numpy(), "lowest voltage [p.u.]", ringed=where)
    fig.savefig(path)
    close(fig)


def calibrate_one(a: argparse.Namespace) -> int:
    """Fit both parameters and write them into study.yaml."""
    from tritier.cases.solve import calibrate
    from tritier.studies.build import PARAMETERS, renewed_menus
    from tritier.studies.check import record_calibration

    for name, target in (("--prosumer-cost", a.prosumer_cost), ("--welfare", a.welfare)):
        if not 0 < target < float("inf"):
            raise InputError(name, "USD", f"{target:g} is no amount to fit to", "give $ a day, more than 0")
    study = tt.read_study(a.folder)
    found = calibrate(a.folder, a.prosumer_cost, a.welfare, study.settings.load.scale, teller(a.quiet))
    menus, told = renewed_menus(study, tt.read_study(a.folder, {"load.scale": found.load_scale}), a.renew_menus)
    record_calibration(study, found.load_scale, found.reference_value, menus, DATA / PARAMETERS)
    if a.json:
        print(json.dumps(asdict(found) | {"menus": told}))
        return 0
    print(
        f"load.scale {found.load_scale:.9g}, reference_value_usd_per_kwh {found.reference_value:.9g}: Case 1 costs "
        f"prosumers {found.prosumer_cost:,.2f} $ a day, welfare {found.welfare:,.2f} $; written to study.yaml"
    )
    if told:
        print(told)
    return 0


def electrify_one(a: argparse.Namespace) -> int:
    """Write the electrified twin, and say what to mind."""
    from tritier.studies.build import electrify

    with at_work(a.quiet, f"writing {a.out}") as step:
        study, told = electrify(Path(a.folder), Path(a.out), a.level, Path(a.data), a.renew_menus, step)
    noted(study, "fast")
    print(told)
    teller(a.quiet)(f"written to {a.out}")
    return 0


def noted(study: Study, preset: str) -> None:
    """What to mind, one line each, on stderr."""
    from tritier.studies.check import warnings

    mind(warnings(study, preset))


def write_page(a: argparse.Namespace) -> int:
    """Certify a stored case and what was judged of it, and write report.html beside it."""
    from tritier.book.report import write_report
    from tritier.evaluation.heldout import check_evaluation

    require_case(a.folder)
    result = tt.read_result(a.folder, a.study)
    with at_work(a.quiet, f"certifying {a.folder}, then drawing") as step:
        result.certify(progress=step)
        check_evaluation(Path(a.folder), result)
        path = write_report(Path(a.folder), result)
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    top = Parser(prog="tritier", description="Tri-level coordination of DSO, P2P market and prosumers.")
    top.add_argument("--version", action="version", version=f"tritier {tt.__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, parser_class=Parser)
    for add in (add_solve, add_certify, add_evaluate, add_feeder, add_bilevel, add_hosting, add_book, add_study):
        add(verbs)
    add_report(verbs)
    return top


def main(words: list[str] | None = None) -> int:
    """Entry point: whatever happens ends in one line and an exit code (see the module)."""
    arguments = parser().parse_args(words)
    verb = arguments.verb
    with stoppable() as signals:
        try:
            return arguments.run(arguments)
        except InputError as error:
            return told(str(error), 2)
        except CertificateError as error:
            return told(str(error), 1)
        except (InfeasibleError, NoRecoveryError) as error:
            mend = HOSTING_MEND if verb == "hosting" else "relax limits, lower the fixed cost or widen the menu"
            return told(f"{verb}: infeasible: {error}; {mend}", 2)
        except SolverError as error:
            return told(f"{verb}: {error}", 4)
        except BrokenPipeError:  # the reader of our output, say `head`, has gone: every verb prints last
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            return told(f"{error.filename or verb}: {error.strerror or error}; check path, rights and free space", 2)
        except KeyboardInterrupt as stop:
            return told(f"{verb}: {stop or 'interrupted'}", 128 + (signals[0] if signals else signal.SIGINT))
        except Exception as error:
            if signals and comes_of_interrupt(error):
                return told(f"{verb}: interrupted", 128 + signals[0])
            return told(f"{verb}: {type(error).__name__}: {str(error)[:300]}; {logged()}", DEFECT)


def told(text: str, code: int) -> int:
    """Say in one line why the program ends; its exit code."""
    print(f"tritier: {printable(text)}", file=sys.stderr, flush=True)
    return code


def logged() -> str:
    """Where the trace of an unexpected error lies, in words."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="tritier-", suffix=".log", delete=False, encoding="utf-8") as log:
            print(f"tritier {tt.__version__}, {sys.argv}", file=log)
            traceback.print_exc(file=log)
    except OSError as error:
        return f"a defect of this program; its trace could not be written ({error.strerror})"
    return f"a defect of this program: please report it with its trace, {log.name}"


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Signals that ask to stop end in KeyboardInterrupt, as Ctrl-C does; their numbers are in the list.

    A signal that is ignored, as SIGHUP under ``nohup``, stays so.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only there may handlers be set
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
