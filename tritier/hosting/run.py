"""Hosting capacity of a study: its problem at a preset, plans by three models, their checks, and results on disk."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.errors import CertificateError, InputError, Interrupted, SolverError
from tritier.hosting.case import DayModel, HostingCase, YearData, day_positions, hosting_case, real_days, with_budget
from tritier.hosting.plan import (
    Plan,
    Progress,
    base_cost,
    deterministic,
    judge,
    relaxed_bound,
    robust_plan,
    stochastic_plan,
    stress_days,
    swept,
    with_fixed_capacities,
)
from tritier.hosting.robust import Iteration, relative_gap
from tritier.hosting.rows import WATCHED, Watch
from tritier.inputs.documents import read_json
from tritier.inputs.instance import Feeder
from tritier.inputs.settings import HostingSettings, Preset, read_hosting_settings
from tritier.inputs.study import Study, hash_files, located, read_study
from tritier.provenance import (
    commit,
    keeping,
    naming,
    own_folder,
    package_hash,
    require_jobs,
    require_same_question,
    sole_writer,
    versions,
    whole_folder,
    write_json,
    write_text,
)

MODELS = ("deterministic", "stochastic", "robust")


@dataclass(frozen=True)
class Size:
    """How much of the hosting problem a preset solves; ``budget`` caps the fitted one (None: not capped)."""

    sites: int | None
    budget: int | None
    scenarios: int
    held_out: int
    stress: int


SIZES = {
    "smoke": Size(4, 1, 6, 6, 12),
    "fast": Size(6, 2, 20, 24, 60),
    "paper": Size(None, None, 40, 183, 400),
}


#: What of study.yaml the hosting problem uses.
USED = (
    "load",
    "renewables",
    "batteries",
    "electrification",
    "vehicles",
    "heat_pumps",
    "usd_per_eur",
    "retail_usd_per_kwh",
    "network_charge_usd_per_kwh",
    "demand",
    "chance_level",
    "substation_voltage_pu",
    "voltage_margin_pu",
)


@dataclass(frozen=True, eq=False)
class Problem:
    """A study read for hosting at one preset and flexibility."""

    study: Study
    case: HostingCase
    data: YearData
    feeder: Feeder
    preset: Preset
    settings: HostingSettings
    size: Size
    chance_level: float
    inputs_hash: str


def load_problem(
    study: Study | str | Path,
    flexibility: str,
    preset: str = "fast",
    budget: float | None = None,
    size_batteries: bool = False,
    settings: HostingSettings | None = None,
) -> Problem:
    """A study's hosting problem.

    Args:
        study: as read, or its folder, which holds hosting.yaml if its defaults do not suit.
        flexibility: none, der or p2p.
        preset: smoke, fast or paper.
        budget: factors that may deviate at once; None fits it to the design days, within the preset's cap.
        size_batteries: batteries are decisions, not those in prosumers.csv.
        settings: replaces hosting.yaml.

    Raises:
        InputError: anything in the folder or the arguments that does not fit.
    """
    study = study if isinstance(study, Study) else read_study(study)
    chosen = study.preset(preset)
    size = SIZES[chosen.name]
    if size.sites is not None:
        chosen = replace(chosen, n_prosumers=min(size.sites, chosen.n_prosumers))
    settings = settings or read_hosting_settings(study.folder)
    with located(study):
        case, data = hosting_case(study, flexibility, chosen, settings, budget, size_batteries)
    if budget is None and size.budget is not None:
        most: float = size.budget
        case = with_budget(case, lambda day: min(day.uncertainty.budget, most))
    inputs = inputs_hash(study, settings)
    return Problem(study, case, data, study.feeder, chosen, settings, size, study.settings.chance_level, inputs)


def inputs_hash(study: Study, settings: HostingSettings) -> str:
    """One sha256 over the CSV files and all settings that the hosting problem uses; menus and other sections of
    study.yaml do not touch it, nor does a key at its default, written out or not."""
    files = hash_files({role: path for role, path in study.paths.items() if role != "study"})
    used = study.settings.model_dump(mode="json", include=set(USED), exclude_defaults=True)
    text = json.dumps([files, used, {k: str(v) for k, v in settings.model_dump().items()}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def make_plan(
    problem: Problem,
    model: str,
    hosted_kw: float | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    start: dict | None = None,
) -> Plan:
    """A plan by one of the three models.

    Args:
        problem: from :func:`load_problem`.
        model: deterministic, stochastic or robust.
        hosted_kw: hosted capacity asked for at least annual cost; None: as much as possible.
        jobs: processes that share the days.
        progress: function (step, scenarios, watch), called after every pass.
        start: ``scenarios`` and ``watch`` of an interrupted run, to go on from.

    Raises:
        InputError: unknown model, or a model that cannot be asked for a given hosted capacity.
        InfeasibleError: the sites have no room for ``hosted_kw``.
        CertificateError: the plan breaks a limit on a point of its own uncertainty set.
    """
    if model not in MODELS:
        raise InputError("--model", model, "is unknown", f"choose one of {', '.join(MODELS)}")
    start = start or {}
    if model == "stochastic":
        if hosted_kw is not None:
            raise InputError("--model", model, "maximises hosted capacity only", "leave out the hosted capacity")
        days, weights = scenario_days(problem)
        return stochastic_plan(
            problem.case, days, weights, problem.chance_level, watch=start.get("watch"), progress=progress
        )
    plan = robust_plan(
        seen_case(problem, model),
        hosted_kw,
        watch=start.get("watch"),
        start=start.get("scenarios"),
        jobs=jobs,
        progress=progress,
    )
    price = problem.case.penalty * (1.0 if hosted_kw is None else float(problem.case.annuity.max()))
    if hosted_kw is not None and plan.certificate["worst_priced_violation"] > 1e-4 * price:
        text = f"{hosted_kw / 1e3:g} MW is more than any plan hosts within all limits"
        raise InputError("--hosted-mw", "capacity", text, "ask for less, or leave it out to host the most")
    check_limits(problem, plan.certificate, hosted_kw)
    return plan


def scenario_days(problem: Problem) -> tuple[tuple[DayModel, ...], np.ndarray]:
    """Days of the stochastic model, equally likely, and their probabilities."""
    chosen = day_positions(problem.data, held_out=False, count=problem.size.scenarios)
    days = real_days(problem.data, problem.case, chosen, problem.preset)
    return days, np.full(len(days), 1.0 / len(days))


def seen_case(problem: Problem, model: str) -> HostingCase:
    """The case with the uncertainty that a model sees."""
    return deterministic(problem.case) if model == "deterministic" else problem.case


def held_out_figures(problem: Problem, plan: Plan, jobs: int = 1) -> dict:
    """The plan on held-out days of the year: dispatch, AC power flow, costs."""
    chosen = day_positions(problem.data, held_out=True, count=problem.size.held_out)
    days = real_days(problem.data, problem.case, chosen, problem.preset)
    return judge(problem.case, problem.feeder, plan.y, days, plan.watch, jobs)


def stress_figures(problem: Problem, plan: Plan, jobs: int = 1) -> dict:
    """The plan on points drawn from the uncertainty sets, the same for every plan of the problem."""
    days = stress_days(problem.case, problem.size.stress, problem.preset.seed)
    return judge(problem.case, problem.feeder, plan.y, days, plan.watch, jobs)


def budget_coverage(problem: Problem) -> list[dict]:
    """Factors and fitted budget of each representative day."""
    return [
        {
            "day": d.label,
            "days_per_year": d.weight,
            "factors": d.uncertainty.pairs,
            "budget": d.uncertainty.budget,
            "vertices": d.uncertainty.vertex_bound,
        }
        for d in problem.case.days
    ]


def trace_table(plan: Plan, hosting: bool = True) -> pd.DataFrame:
    """Bounds by iteration, each the best so far; for hosted capacity [kW] the signs turn, and it is at least zero."""
    rows = pd.DataFrame([asdict(step) for step in plan.trace])
    if hosting:
        upper, lower = -rows["lower_bound"], (-rows["upper_bound"]).clip(lower=0.0)
        rows["lower_bound"], rows["upper_bound"] = lower.cummax(), upper.cummin()
    return rows


FILES = ("summary.json", "decisions.npz", "trace.csv", "certificate.json", "provenance.json")
AGAIN = "run the hosting study again with --out"
AGREES = 1e-6  # relative: a stored figure against the one found again
DAMAGE = (ValueError, KeyError, TypeError, OSError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error)
DIGITS = 10  # significant ones, of a figure stored with the data


@dataclass(frozen=True)
class Question:
    """What is asked of a study: model and flexibility, and what differs from the study's own settings."""

    model: str
    flexibility: str
    preset: str = "fast"
    hosted_kw: float | None = None
    budget: float | None = None
    size_batteries: bool = False

    def problem(self, study: Study | str | Path) -> Problem:
        """The study's problem as it is asked for."""
        return load_problem(study, self.flexibility, self.preset, self.budget, self.size_batteries)


@dataclass(frozen=True, eq=False)
class HostingResult:
    """A plan with its checks: figures on held-out days and on points of the uncertainty sets."""

    problem: Problem
    asked: Question
    plan: Plan
    held_out: dict[str, Any]
    stress: dict[str, Any]
    origin: Mapping[str, object]  # what provenance.json says besides the study's place

    def summary(self) -> dict[str, Any]:
        """Headline figures."""
        return summarise(self.problem, self.asked, self.plan, self.held_out, self.stress)

    def certificates(self) -> dict[str, object]:
        """What certificate.json holds."""
        return {
            "design": self.plan.certificate,
            "lower_bound": float(self.plan.lower_bound),
            "upper_bound": float(self.plan.upper_bound),
            "stress_days_violated": self.stress["lindistflow_days_violated"],
        }

    def certify(self, jobs: int = 1, progress: Callable[[str], None] | None = None) -> dict[str, object]:
        """Solve the plan's bounds again from its own scenarios, sweep its uncertainty sets again, and judge it again.

        progress: is given a line at each step. Raises CertificateError at the first figure that is not found again.
        """
        tell = progress or (lambda _text: None)
        tell("the plan's bounds")
        check_plan(self.problem, self.asked, self.plan, jobs)
        for name, stored, figures in (
            ("held_out", self.held_out, held_out_figures),
            ("stress", self.stress, stress_figures),
        ):
            tell(f"the plan judged again: {name}")
            for key, figure in figures(self.problem, self.plan, jobs).items():
                require_close(f"hosting.{name}.{key}", stored[key], figure)
        return self.certificates()

    def write(self, out: str | Path) -> Path:
        """Write all files into a fresh folder that then takes the place of ``out``, and return it."""
        place = own_folder(Path(out), FILES)
        study = os.path.relpath(self.problem.study.folder.resolve(), place)
        with whole_folder(place) as fresh:
            write_json(fresh / "summary.json", finite(self.summary()))
            write_json(fresh / "certificate.json", finite(self.certificates()))
            write_json(fresh / "provenance.json", finite({"study": study, **self.origin}))
            with naming(fresh / "trace.csv"):
                trace_table(self.plan, self.asked.hosted_kw is None).to_csv(fresh / "trace.csv", index=False)
            with naming(fresh / "decisions.npz"):
                arrays: dict[str, Any] = packed(self.problem, self.plan)
                np.savez(fresh / "decisions.npz", **arrays)
        return place


def check_plan(problem: Problem, asked: Question, plan: Plan, jobs: int = 1) -> None:
    """Check a plan's bounds from both sides: what its capacities reach, and what its scenarios and rows exclude.

    Raises CertificateError where capacities leave their room, a limit is broken, a bound is not the stored one or
    rests on what lies outside the uncertainty sets, or figures of the last pass are others.
    """
    check_room(problem.case, plan, asked.hosted_kw)
    if asked.model == "stochastic":
        days, weights = scenario_days(problem)
        require_close("hosting.scenarios", plan.certificate.get("scenarios", np.nan), len(days))
        again = stochastic_plan(problem.case, days, weights, problem.chance_level, watch=plan.watch)
        require_close("hosting.upper_bound", plan.upper_bound, again.upper_bound)
        try:
            own = with_fixed_capacities(problem.case, plan)
            stochastic_plan(problem.case, days, weights, problem.chance_level, watch=plan.watch, first=own)
        except SolverError as error:
            raise CertificateError("hosting.chance", plan.hosted_kw, 0.0, str(error)) from error
        require_close("hosting.lower_bound", plan.lower_bound, plan.hosted_kw)
        check_trace(plan)
        return
    case = seen_case(problem, asked.model)
    check_scenarios(case, plan, asked.hosted_kw)
    check_relaxation(case, plan, asked.hosted_kw)
    reached, certificate = swept(case, plan, asked.hosted_kw, jobs)
    name = "lower_bound" if asked.hosted_kw is None else "upper_bound"
    require_close(f"hosting.{name}", getattr(plan, name), reached)
    check_limits(problem, certificate, asked.hosted_kw)
    told = certificate | plan.certificate  # which dispatches serve the vertices may differ, and so their excess
    check_limits(problem, told, asked.hosted_kw)
    for key in ("vertices_checked", "vertices_unserved"):
        require_close(f"hosting.{key}", told[key], certificate[key])
    gap = relative_gap(plan.lower_bound, plan.upper_bound)
    require_close("hosting.gap_relative", told.get("gap_relative", np.nan), gap)
    if not gap <= 2 * AGREES:
        raise CertificateError("hosting.gap", gap, 2 * AGREES, "the bounds do not meet")
    check_trace(plan, asked.hosted_kw is None)


def check_scenarios(case: HostingCase, plan: Plan, hosted_kw: float | None) -> None:
    """Raise CertificateError where a scenario is no point of its day's set: a relaxation that asks for more than the
    set excludes plans that are allowed, and its bound says nothing of them."""
    sets = [day.uncertainty for day in case.days]
    means = 0 if hosted_kw is None else len(sets)  # operating terms, which know no deviation
    for k, u in plan.scenarios:
        own = 0 <= k < len(sets) and u.size == sets[k].size
        outside = sets[k].excess(u) if own else np.inf
        if not outside <= AGREES and not (len(sets) <= k < len(sets) + means and not u.size):
            raise CertificateError("hosting.scenario", outside, AGREES, f"a point of set {k} lies outside it")


def check_trace(plan: Plan, hosting: bool = True) -> None:
    """Raise CertificateError where bounds by iteration do not end at the plan's own."""
    table = trace_table(plan, hosting)
    require_close("hosting.trace.lower_bound", float(table["lower_bound"].max()), plan.lower_bound)
    require_close("hosting.trace.upper_bound", float(table["upper_bound"].min()), plan.upper_bound)


def check_room(case: HostingCase, plan: Plan, hosted_kw: float | None = None) -> None:
    """Raise CertificateError where a plan's capacities leave what its sites have room for, or do not add up to what
    was asked for."""
    if hosted_kw is not None:
        require_close("hosting.hosted_kw", plan.hosted_kw, hosted_kw)
    most = np.r_[case.pv_limit, case.wind_limit, case.battery_high]
    least = np.r_[np.zeros(2 * case.n_sites), case.battery_low]
    over = float(np.maximum(plan.y - most, least - plan.y).max() / max(1.0, plan.hosted_kw))
    if not over <= AGREES:
        raise CertificateError("hosting.capacity", over, AGREES, "a capacity is beyond its site's room")


def check_relaxation(case: HostingCase, plan: Plan, hosted_kw: float | None = None) -> None:
    """Solve a plan's relaxation again and hold it against the stored bound; raises CertificateError."""
    name = "upper_bound" if hosted_kw is None else "lower_bound"
    require_close(f"hosting.{name}", getattr(plan, name), relaxed_bound(case, plan, hosted_kw))
    if not plan.lower_bound <= plan.upper_bound * (1 + AGREES):
        raise CertificateError("hosting.gap", plan.lower_bound, plan.upper_bound, "the bounds have crossed")


def check_limits(problem: Problem, certificate: Mapping[str, float], hosted_kw: float | None) -> None:
    """Raise CertificateError where a sweep has left a vertex without a dispatch, or a limit broken."""
    price = problem.case.penalty * (1.0 if hosted_kw is None else float(problem.case.annuity.max()))
    limits = {"worst_overload_kw": 1e-3, "worst_voltage_excess_pu": 1e-6, "worst_priced_violation": 1e-4 * price}
    limits["vertices_unserved"] = 0
    for name, limit in limits.items():
        if not certificate[name] <= limit:
            raise CertificateError(f"hosting.{name}", certificate[name], limit, "no plan keeps all limits")


def is_hosting(folder: Path) -> bool:
    """Whether a folder holds a hosting result, by its provenance."""
    path = folder / "provenance.json"
    origin = read_json(path, AGAIN) if path.is_file() else None
    return isinstance(origin, dict) and "asked" in origin


def read_hosting(folder: str | Path, study: str | Path | None = None) -> HostingResult:
    """A stored hosting result, with its study read again.

    study: its folder, where it has moved. Raises InputError naming the file that is missing or does not fit.
    """
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(folder / name, "file", "is missing", AGAIN)
    origin, summary, certificate = (
        read_json(folder / f"{name}.json", AGAIN) for name in ("provenance", "summary", "certificate")
    )
    with fitting(folder):
        asked = Question(**origin["asked"])
        source = Path(study) if study else Path(os.path.relpath(folder.resolve() / origin.pop("study")))
        changes = dict(origin.get("changes", {}))
        check(asked)
    problem = asked.problem(read_study(source, changes))
    if differ := stale(origin, problem):
        raise InputError(folder / "provenance.json", differ[0], "is another than the study's today", AGAIN)
    with fitting(folder):
        with np.load(folder / "decisions.npz", allow_pickle=False) as arrays:
            decisions = {name: arrays[name] for name in arrays.files}
        plan = stored_plan(problem.case.n_sites, asked, decisions, pd.read_csv(folder / "trace.csv"), certificate)
        result = HostingResult(problem, asked, plan, summary["held_out"], summary["stress"], origin)
        require_equal(folder / "summary.json", summary, finite(result.summary()))
        require_equal(folder / "certificate.json", certificate, finite(result.certificates()))
    return result


@contextmanager
def fitting(folder: Path) -> Iterator[None]:
    """InputError where the files of a result do not hold what they must."""
    try:
        yield
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(folder, "files", f"do not hold a result ({error})", AGAIN) from error


def require_equal(path: Path, stored: object, again: object, name: str = "hosting") -> None:
    """Raise CertificateError where a file's content is not what the decisions give."""
    if isinstance(again, dict):
        if not isinstance(stored, dict) or stored.keys() != again.keys():
            raise InputError(path, name, "does not hold the expected keys", AGAIN)
        for key, value in again.items():
            require_equal(path, stored[key], value, f"{name}.{key}")
    elif isinstance(again, list):
        if not isinstance(stored, list) or len(stored) != len(again):
            raise InputError(path, name, "does not hold the expected entries", AGAIN)
        for k, value in enumerate(again):
            require_equal(path, stored[k], value, f"{name}.{k}")
    elif isinstance(again, float | int) and isinstance(stored, float | int):
        require_close(name, stored, again)
    elif stored != again:
        raise CertificateError(name, 1.0, 0.0, f"{stored!r} is stored, {again!r} is found")


def stale(origin: Mapping[str, Any], problem: Problem) -> list[str]:
    """What of a result's inputs has changed since: names, empty if nothing has."""
    now = {
        "inputs_hash": problem.inputs_hash,
        "preset": finite(asdict(problem.preset) | asdict(problem.size)),
        "settings": finite(problem.settings.model_dump()),
    }
    return [key for key, value in now.items() if rounded(json.loads(json.dumps(value))) != rounded(origin[key])]


def stored_plan(
    n: int,
    asked: Question,
    kept: Mapping[str, Any],
    trace: pd.DataFrame,
    certificate: Mapping[str, Any],
) -> Plan:
    """A plan of n sites from what is stored of it; ValueError, KeyError or TypeError where an array does not fit."""
    sign = -1 if asked.hosted_kw is None else 1
    pv, wind, battery = (np.array(kept[name], dtype=float) for name in ("pv_kw", "wind_kw", "battery_kwh"))
    if any(values.shape != (n,) or not np.isfinite(values).all() for values in (pv, wind, battery)):
        raise ValueError(f"there are {n} sites, each with a capacity")
    steps = []
    for r in trace.astype(float).itertuples():
        low, high = sorted((sign * r.lower_bound, sign * r.upper_bound))
        seconds = (r.seconds, r.master_seconds, r.adversary_seconds)
        steps.append(Iteration(int(r.iteration), low, high, int(r.scenarios), *seconds))
    watch = Watch.of({name: np.asarray(kept[f"watch_{name}"]).astype(int) for name in WATCHED})
    rows = (np.asarray(row, dtype=float) for row in kept["scenario_u"])
    points = [row[~np.isnan(row)] for row in rows]
    scenarios = tuple(zip(np.asarray(kept["scenario_day"]).astype(int).tolist(), points, strict=True))
    low, high = float(certificate["lower_bound"]), float(certificate["upper_bound"])
    return Plan(pv, wind, battery, low, high, tuple(steps), watch, dict(certificate["design"]), scenarios)


def require_close(name: str, stored: float, again: float) -> None:
    """Raise CertificateError where a stored figure is not the one found again."""
    off = abs(stored - again) / max(1.0, abs(again))
    if not off <= AGREES:
        raise CertificateError(name, off, AGREES, f"{stored:g} is stored, {again:g} is found")


def hosting_capacity(
    study: Study | str | Path,
    model: str = "robust",
    flexibility: str = "p2p",
    preset: str = "fast",
    jobs: int = 1,
    *,
    hosted_kw: float | None = None,
    budget: float | None = None,
    size_batteries: bool = False,
    progress: Callable[[str], None] | None = None,
    state: Path | None = None,
) -> HostingResult:
    """Plan how much PV and wind a feeder hosts, and check the plan.

    Args:
        study: as :func:`~tritier.inputs.study.read_study` gives it, or its folder.
        model: deterministic, stochastic or robust.
        flexibility: none, der or p2p.
        preset: smoke, fast or paper.
        jobs: processes that share the days, -1 for one a core.
        hosted_kw: host this much at least cost; None: as much as possible.
        budget: factors that may deviate at once; None: fitted to the design days.
        size_batteries: batteries are decisions, not those in prosumers.csv.
        progress: is given a line now and then.
        state: file that keeps what an interrupted run has found, and from which the same question goes on.

    Raises:
        InputError: bad study or arguments.
        CertificateError: the plan does not carry its proof.
    """
    asked = Question(model, flexibility, preset, hosted_kw, budget, size_batteries)
    check(asked)
    return plan_and_check(asked.problem(study), asked, jobs, progress or (lambda _text: None), state)


def plan_and_check(
    problem: Problem, asked: Question, jobs: int, say: Callable[[str], None], state: Path | None
) -> HostingResult:
    """:func:`hosting_capacity` of a problem that is read already."""
    began, last = time.perf_counter(), ""
    require_jobs(jobs)
    kept = None if state is None else State(state, question(problem, asked))
    start = kept.read() if kept else {}
    sites, days = problem.case.n_sites, len(problem.case.days)
    say(f"{problem.study.folder.name}: {asked.model}, {asked.flexibility}, {sites} sites, {days} days")
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        tick = time.perf_counter()
        answer = work()
        seconds[name] = time.perf_counter() - tick
        say(f"{name}: {seconds[name]:.1f} s")
        return answer

    def progress(step: Iteration, scenarios: Sequence[tuple[int, np.ndarray]], watch: Watch) -> None:
        nonlocal last
        sign, unit = (-1e-3, "MW") if asked.hosted_kw is None else (1e-3, "thousand $/a")
        low, high = (f"{x:.4f}" for x in sorted((sign * step.lower_bound, sign * step.upper_bound)))
        last = f"bounds {low} {high} {unit}"
        if kept:
            kept.write(scenarios, watch)
        say(f"{step.seconds:6.0f} s  {last}  {step.scenarios} scenarios")

    try:
        with located(problem.study):
            plan = timed("planning", lambda: make_plan(problem, asked.model, asked.hosted_kw, jobs, progress, start))
        held_out = timed("held-out days", lambda: held_out_figures(problem, plan, jobs))
        stress = timed("stress set", lambda: stress_figures(problem, plan, jobs))
    except InputError:
        if kept:
            kept.remove()  # the question has to change, so that nobody goes on from here
        raise
    except KeyboardInterrupt as stop:
        raise (Interrupted(last) if last else stop) from stop
    if asked.model == "robust" and stress["lindistflow_days_violated"]:
        broken = stress["lindistflow_days_violated"]
        raise CertificateError("hosting.stress", broken, 0.0, "a point of the set is violated")
    seconds["total"] = time.perf_counter() - began
    return HostingResult(problem, asked, plan, held_out, stress, provenance(problem, asked, seconds, jobs))


def run(
    study: Study | str | Path,
    asked: Question,
    out: str | Path,
    jobs: int = 1,
    restart: bool = False,
    say: Callable[[str], None] = lambda _text: None,
) -> HostingResult:
    """Plan, check and write one hosting study; what an interrupted run has found is kept beside ``out``.

    restart: begin anew where an interrupted run has left a state.

    Raises:
        InputError: bad study or arguments, or the state of another question.
        CertificateError: the plan does not carry its proof.
    """
    check(asked)
    problem = asked.problem(study)
    place = own_folder(Path(out), FILES)
    state = place.with_name(f"{place.name}.state.json")
    require_jobs(jobs)
    with sole_writer(place), keeping(state):
        if restart:
            State(state, {}).remove()
        result = plan_and_check(problem, asked, jobs, say, state)
        result.write(place)
        State(state, {}).remove()
    return result


def check(asked: Question) -> None:
    """Refuse words and numbers that mean nothing, before anything is read."""
    if asked.model not in MODELS:
        raise InputError("--model", asked.model, "is unknown", f"choose one of {', '.join(MODELS)}")
    if asked.hosted_kw is not None and not 0 < asked.hosted_kw < np.inf:
        raise InputError("--hosted-mw", f"{asked.hosted_kw / 1e3:g}", "is no capacity", "give a number above zero")
    if asked.budget is not None and not 0 <= asked.budget < np.inf:
        raise InputError("--budget", f"{asked.budget:g}", "is no number of factors", "give 0 or more")
    if asked.size_batteries and asked.flexibility == "none":
        raise InputError("--size-batteries", "none", "leaves no battery to size", "choose --flexibility der or p2p")


def question(problem: Problem, asked: Question) -> dict[str, object]:
    """What a run's state belongs to."""
    return {
        "study": problem.inputs_hash,
        "preset": finite(asdict(problem.preset) | asdict(problem.size)),
        "package": package_hash(),
        **asdict(asked),
    }


@dataclass(frozen=True)
class State:
    """Scenarios and watched rows of a run that has not finished, of one question."""

    path: Path
    question: Mapping[str, object]

    def content(self) -> dict[str, Any] | None:
        """What the file holds; None where there is none.

        Raises InputError where it is no state of a run: it is somebody else's, and stays.
        """
        if not self.path.exists():
            return None
        try:
            stored = read_json(self.path)
            if not isinstance(stored["origin"], dict) or not isinstance(stored["watch"], dict):
                raise ValueError("is of another form")
            return stored
        except (ValueError, KeyError, TypeError) as error:  # an InputError is a ValueError
            problem = "is no state of a run, but lies where it would go"
            raise InputError(self.path, "--out", problem, "name another --out") from error

    def read(self) -> dict[str, Any]:
        """What make_plan goes on from; nothing where there is no state.

        Raises InputError where the file is the state of another question, or no state.
        """
        stored = self.content()
        if stored is None:
            return {}
        try:
            require_same_question(self.path, stored["origin"], self.question)
            lists = stored["watch"]
            watch = Watch.of(lists, bool(lists["substation"]))
            scenarios = [(int(k), np.array(u, dtype=float)) for k, u in stored["scenarios"]]
        except InputError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(self.path, "text", "is damaged", "give --restart to begin anew") from error
        return {"watch": watch, "scenarios": scenarios or None}

    def write(self, scenarios: Sequence[tuple[int, np.ndarray]], watch: Watch) -> None:
        """Keep scenarios and rows, whole or not at all."""
        lists = {name: sorted(getattr(watch, name)) for name in WATCHED}
        points = [[int(k), np.asarray(u).tolist()] for k, u in scenarios]
        content = {"origin": self.question, "watch": lists | {"substation": watch.substation}, "scenarios": points}
        write_text(self.path, json.dumps(content))

    def remove(self) -> None:
        """Remove the file where it is a state."""
        if self.content() is not None:
            self.path.unlink()


def summarise(problem: Problem, asked: Question, plan: Plan, held_out: dict, stress: dict) -> dict:
    """Figures of a plan. At a given hosted capacity the bounds are those of the annual cost on the mean days [$/a]."""
    bounds = {"hosted_lower_bound_kw": float(plan.lower_bound), "hosted_upper_bound_kw": float(plan.upper_bound)}
    if asked.hosted_kw is not None:
        base = base_cost(problem.case)
        bounds = {"cost_lower_bound_usd": plan.lower_bound + base, "cost_upper_bound_usd": plan.upper_bound + base}
    return (
        {"model": asked.model, "flexibility": asked.flexibility, "hosted_kw": plan.hosted_kw}
        | bounds
        | {"pv_kw": float(plan.pv_kw.sum()), "wind_kw": float(plan.wind_kw.sum())}
        | {"battery_kwh": float(plan.battery_kwh.sum()), "iterations": len(plan.trace)}
        | {key: held_out[key] for key in ("annual_cost_usd", "operating_cost_usd", "curtailed_share")}
        | {"held_out": held_out, "stress": stress, "uncertainty": budget_coverage(problem)}
    )


def report(summary: dict) -> list[str]:
    """Lines for the screen: capacity and bounds, and LinDistFlow beside AC on both sets of days."""
    low, high = (summary[key] for key in summary if "bound" in key)
    lines = [f"hosted capacity: {summary['hosted_kw'] / 1e3:.4f} MW"]
    if "cost_lower_bound_usd" in summary:
        lines.append(f"annual cost on the mean days: bounds {low:,.0f} {high:,.0f} $")
    else:
        lines[0] += f" (bounds {low / 1e3:.4f} {high / 1e3:.4f})"
    for name in ("held_out", "stress"):
        of = summary[name]
        lines.append(
            f"{name.replace('_', '-')}: {of['lindistflow_days_violated']} of {of['days']} days violated in "
            f"LinDistFlow; AC: {of['ac_overvoltage_days']} with overvoltage, {of['ac_overload_days']} with overload, "
            f"highest voltage {of['ac_highest_voltage_pu']:.4f} p.u., loading {100 * of['ac_highest_loading']:.1f} %"
        )
    cost, curtailed = summary["annual_cost_usd"], summary["curtailed_share"]
    return [*lines, f"annual cost on held-out days: {cost:,.0f} $, curtailed {curtailed:.2%}"]


def provenance(problem: Problem, asked: Question, seconds: dict[str, float], jobs: int) -> dict[str, object]:
    """Where a result comes from."""
    return {
        "commit": commit(),
        "inputs_hash": problem.inputs_hash,
        "changes": dict(problem.study.changes),
        "asked": asdict(asked),
        "preset": asdict(problem.preset) | asdict(problem.size),
        "settings": problem.settings.model_dump(),
        "seed": problem.preset.seed,
        "seconds": seconds,
        "jobs": jobs,
        "versions": versions(("numpy", "scipy", "highspy", "pyscipopt", "power-grid-model")),
    }


def packed(problem: Problem, plan: Plan) -> dict[str, np.ndarray]:
    """All arrays of decisions.npz."""
    return {
        "bus": problem.feeder.bus[problem.case.site],
        "pv_kw": plan.pv_kw,
        "wind_kw": plan.wind_kw,
        "battery_kwh": plan.battery_kwh,
        "pv_limit_kw": problem.case.pv_limit,
        "scenario_day": np.array([k for k, _ in plan.scenarios], dtype=int),
        "scenario_u": padded([u for _, u in plan.scenarios]),
    } | {f"watch_{name}": np.array(sorted(getattr(plan.watch, name)), dtype=int) for name in WATCHED}


def padded(points: Sequence[np.ndarray]) -> np.ndarray:
    """Points of different sizes as one array, filled up with NaN."""
    width = max((len(u) for u in points), default=0)
    return np.array([np.r_[u, np.full(width - len(u), np.nan)] for u in points])


def rounded(content: Any) -> Any:
    """The same with numbers at ten significant digits."""
    content = finite(content)
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return float(f"{content:.{DIGITS}g}") if isinstance(content, float) else content


def finite(content: Any) -> Any:
    """The same with infinities as null, which JSON has and infinity is not."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if np.isfinite(content) else None
    return content
