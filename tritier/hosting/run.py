"""One hosting study from the command line: plan, check, write; progress on stderr, and a state to go on from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.errors import CertificateError, InputError, SolverError
from tritier.hosting.case import HostingCase, YearData, day_positions, hosting_case, real_days, with_budget
from tritier.hosting.check import judge, stress_days
from tritier.hosting.plan import Plan, base_cost, deterministic, robust_plan, stochastic_plan
from tritier.hosting.rows import Watch
from tritier.inputs.documents import read_json
from tritier.inputs.instance import Feeder
from tritier.inputs.settings import HostingSettings, Preset, read_hosting_settings
from tritier.inputs.study import Study, hash_files, located, read_study

# Hosting capacity of a study: its problem at a preset, plans by three models, and their checks.


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


MAX_JOBS = 256  # threads

#: What of study.yaml the hosting problem uses.
USED = (
    "load",
    "renewables",
    "batteries",
    "electrification",
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
    study_folder: str | Path,
    flexibility: str,
    preset: str = "fast",
    budget: float | None = None,
    size_batteries: bool = False,
    settings: HostingSettings | None = None,
) -> Problem:
    """Read a study and build its hosting problem.

    Args:
        study_folder: folder with study.yaml, and hosting.yaml if its defaults do not suit.
        flexibility: none, der or p2p.
        preset: smoke, fast or paper.
        budget: factors that may deviate at once; None fits it to the design days, within the preset's cap.
        size_batteries: batteries are decisions, not those in prosumers.csv.
        settings: replaces hosting.yaml.

    Raises:
        InputError: anything in the folder or the arguments that does not fit.
    """
    study = read_study(study_folder)
    chosen = study.preset(preset)
    size = SIZES[chosen.name]
    if size.sites is not None:
        chosen = replace(chosen, n_prosumers=min(size.sites, chosen.n_prosumers))
    settings = settings or read_hosting_settings(Path(study_folder))
    with located(study):
        case, data = hosting_case(study, flexibility, chosen, settings, budget, size_batteries)
    if budget is None and size.budget is not None:
        case = with_budget(case, lambda day: min(day.uncertainty.budget, size.budget))
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
    progress=None,
    start: dict | None = None,
) -> Plan:
    """A plan by one of the three models.

    Args:
        problem: from :func:`load_problem`.
        model: deterministic, stochastic or robust.
        hosted_kw: hosted capacity asked for at least annual cost; None: as much as possible.
        jobs: representative days swept at a time.
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
        chosen = day_positions(problem.data, held_out=False, count=problem.size.scenarios)
        days = real_days(problem.data, problem.case, chosen, problem.preset)
        weights = np.full(len(days), 1.0 / len(days))
        return stochastic_plan(
            problem.case, days, weights, problem.chance_level, watch=start.get("watch"), progress=progress
        )
    case = deterministic(problem.case) if model == "deterministic" else problem.case
    plan = robust_plan(
        case, hosted_kw, watch=start.get("watch"), start=start.get("scenarios"), jobs=jobs, progress=progress
    )
    price = problem.case.penalty * (1.0 if hosted_kw is None else float(problem.case.annuity.max()))
    if hosted_kw is not None and plan.certificate["worst_priced_violation"] > 1e-4 * price:
        text = f"{hosted_kw / 1e3:g} MW is more than any plan hosts within all limits"
        raise InputError("--hosted-mw", "capacity", text, "ask for less, or leave it out to host the most")
    limits = {"worst_overload_kw": 1e-3, "worst_voltage_excess_pu": 1e-6, "worst_priced_violation": 1e-4 * price}
    limits["vertices_unserved"] = 0
    for name, limit in limits.items():
        if plan.certificate[name] > limit:
            raise CertificateError(f"hosting.{name}", plan.certificate[name], limit, "no plan keeps all limits")
    return plan


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
    """Bounds by iteration; for hosted capacity [kW] the signs turn and no plan yet is a lower bound of zero."""
    rows = pd.DataFrame([asdict(step) for step in plan.trace])
    if hosting:
        upper, lower = -rows["lower_bound"], (-rows["upper_bound"]).replace(-np.inf, 0.0)
        rows["lower_bound"], rows["upper_bound"] = lower, upper
    return rows


FILES = ("summary.json", "decisions.npz", "trace.csv", "certificate.json", "provenance.json")


def say(text: str) -> None:
    """One progress line, on stderr."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Question:
    """What is asked of a study: model and flexibility, and what differs from the study's own settings."""

    model: str
    flexibility: str
    preset: str = "fast"
    hosted_kw: float | None = None
    budget: float | None = None
    size_batteries: bool = False


def run(study_folder: str | Path, asked: Question, out: str | Path, jobs: int = 0, resume: bool = False) -> dict:
    """Plan, check and write one hosting study; returns the summary.

    Writes to ``out``: summary.json, decisions.npz, trace.csv, certificate.json and provenance.json, each replaced
    whole. What an interrupted run has found is kept beside ``out``.

    Args:
        study_folder: folder with study.yaml.
        asked: model, flexibility and preset; hosted capacity asked for [kW], budget and battery sizing.
        out: folder of results, made if missing.
        jobs: threads; 0: two, or one where there is one core.
        resume: go on from what an interrupted run has stored.

    Raises:
        InputError: bad study or arguments.
        CertificateError: the plan does not carry its proof.
    """
    began = time.perf_counter()
    check(asked)
    if not 0 <= jobs <= MAX_JOBS:
        raise InputError("--jobs", "jobs", f"{jobs} is no number of threads", f"give 0 to {MAX_JOBS}")
    jobs, out = jobs or min(2, os.cpu_count() or 1), check_out(Path(out))
    problem = load_problem(study_folder, asked.flexibility, asked.preset, asked.budget, asked.size_batteries)
    state = State(out.with_name(f"{out.name}.state.json"), f"{problem.inputs_hash} {asked} {problem.preset}")
    start = state.read() if resume else state.remove()
    case = problem.case
    say(f"{Path(study_folder).name}: {asked.model}, {asked.flexibility}, {case.n_sites} sites, {len(case.days)} days")
    seconds = {"reading": time.perf_counter() - began}

    def timed(name: str, work: Callable):
        tick = time.perf_counter()
        answer = work()
        seconds[name] = time.perf_counter() - tick
        say(f"{name}: {seconds[name]:.1f} s")
        return answer

    def progress(step, scenarios, watch) -> None:
        sign, unit = (-1e-3, "MW") if asked.hosted_kw is None else (1e-3, "thousand $/a")
        low, high = (f"{x:.4f}" for x in sorted((sign * step.lower_bound, sign * step.upper_bound)))
        say(f"{step.seconds:6.0f} s  bounds {low} {high} {unit}  {step.scenarios} scenarios")
        state.write(scenarios, watch)

    try:
        with located(problem.study):
            plan = timed("planning", lambda: make_plan(problem, asked.model, asked.hosted_kw, jobs, progress, start))
        held_out = timed("held-out days", lambda: held_out_figures(problem, plan, jobs))
        stress = timed("stress set", lambda: stress_figures(problem, plan, jobs))
        if asked.model == "robust" and stress["lindistflow_days_violated"]:
            broken = stress["lindistflow_days_violated"]
            raise CertificateError("hosting.stress", broken, 0.0, "a point of the set is violated")
    except (InputError, CertificateError, SolverError):
        state.remove()  # only an interrupted run has something to go on from
        raise
    seconds["total"] = time.perf_counter() - began
    summary = summarise(problem, asked, plan, held_out, stress)
    write_results(out, problem, summary, plan, provenance(problem, asked, seconds, jobs))
    state.remove()
    for line in report(summary):
        print(line)
    return summary


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


def check_out(out: Path) -> Path:
    """The folder results may go to, its parent made."""
    if out.exists() and not out.is_dir():
        raise InputError(out, "--out", "is a file", "name a folder")
    foreign = [p.name for p in sorted(out.iterdir()) if p.name not in FILES] if out.is_dir() else []
    if foreign:
        raise InputError(out, "--out", f"holds {foreign[0]}, which is no part of a result", "name a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


@dataclass(frozen=True)
class State:
    """Scenarios and watched rows of a run that has not finished, of one question (``origin``)."""

    path: Path
    origin: str

    def read(self) -> dict:
        """What make_plan goes on from; nothing where there is no state of the same question.

        Raises:
            InputError: the file is no state.
        """
        if not self.path.is_file():
            return {}
        try:
            stored = read_json(self.path)
            if stored["origin"] != self.origin:
                return {}
            lists = stored["watch"]
            watch = Watch(set(lists["line"]), set(lists["high"]), set(lists["low"]), bool(lists["substation"]))
            scenarios = [(int(k), np.array(u, dtype=float)) for k, u in stored["scenarios"]]
            return {"watch": watch, "scenarios": scenarios or None}
        except (ValueError, KeyError, TypeError) as error:  # an InputError is a ValueError
            raise InputError(self.path, "text", "is no state of an interrupted run", "run without --resume") from error

    def write(self, scenarios, watch: Watch) -> None:
        """Keep scenarios and rows, whole or not at all."""
        lists = {name: sorted(getattr(watch, name)) for name in ("line", "high", "low")}
        points = [[int(k), np.asarray(u).tolist()] for k, u in scenarios]
        content = {"origin": self.origin, "watch": lists | {"substation": watch.substation}, "scenarios": points}
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text(json.dumps(content))
        fresh.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


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
    lines = [f"hosted capacity: {summary['hosted_kw'] / 1e3:.4f} MW (bounds {low:.6g} {high:.6g})"]
    for name in ("held_out", "stress"):
        of = summary[name]
        lines.append(
            f"{name.replace('_', '-')}: {of['lindistflow_days_violated']} of {of['days']} days violated in "
            f"LinDistFlow; AC: {of['ac_overvoltage_days']} with overvoltage, {of['ac_overload_days']} with overload, "
            f"highest voltage {of['ac_highest_voltage_pu']:.4f} p.u., loading {100 * of['ac_highest_loading']:.1f} %"
        )
    return [*lines, f"annual cost: {summary['annual_cost_usd']:,.0f} $, curtailed {summary['curtailed_share']:.2%}"]


def provenance(problem: Problem, asked: Question, seconds: dict, jobs: int) -> dict:
    """Where a result comes from."""
    return {
        "commit": commit(),
        "inputs_hash": problem.inputs_hash,
        "asked": asdict(asked),
        "preset": asdict(problem.preset) | asdict(problem.size),
        "settings": problem.settings.model_dump(),
        "seed": problem.preset.seed,
        "seconds": seconds,
        "jobs": jobs,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "scipy", "highspy", "pyscipopt", "power-grid-model")},
    }


def write_results(out: Path, problem: Problem, summary: dict, plan: Plan, origin: dict) -> None:
    """Write every file beside its place and move it there, so that none is ever half written."""
    certificate = {
        "design": plan.certificate,
        "lower_bound": float(plan.lower_bound),
        "upper_bound": float(plan.upper_bound),
        "stress_days_violated": summary["stress"]["lindistflow_days_violated"],
    }
    decisions = {
        "bus": problem.feeder.bus[problem.case.site],
        "pv_kw": plan.pv_kw,
        "wind_kw": plan.wind_kw,
        "battery_kwh": plan.battery_kwh,
        "pv_limit_kw": problem.case.pv_limit,
        "scenario_day": np.array([k for k, _ in plan.scenarios], dtype=int),
        "scenario_u": padded([u for _, u in plan.scenarios]),
    } | {f"watch_{name}": np.array(sorted(getattr(plan.watch, name)), dtype=int) for name in ("line", "high", "low")}
    out.mkdir(parents=True, exist_ok=True)

    def place(name: str, write) -> None:
        part = out / f".{name}.part"
        with part.open("wb") as handle:
            write(handle)
        os.replace(part, out / name)

    def as_json(content: dict):
        return lambda handle: handle.write(json.dumps(finite(content), indent=1, default=float).encode())

    hosting = summary.get("cost_lower_bound_usd") is None
    place("decisions.npz", lambda handle: np.savez(handle, **decisions))
    place("trace.csv", lambda handle: handle.write(trace_table(plan, hosting).to_csv(index=False).encode()))
    place("certificate.json", as_json(certificate))
    place("provenance.json", as_json(origin))
    place("summary.json", as_json(summary))


def padded(points) -> np.ndarray:
    """Points of different sizes as one array, filled up with NaN."""
    width = max((len(u) for u in points), default=0)
    return np.array([np.r_[u, np.full(width - len(u), np.nan)] for u in points])


def finite(content):
    """The same with infinities as null, which JSON has and infinity is not."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if np.isfinite(content) else None
    return content


def commit() -> str:
    """Commit of the working tree the package lies in, or "unknown" outside a repository."""
    here = Path(__file__).resolve().parent
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"
