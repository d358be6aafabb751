"""Hosting capacity of a study: plan by a model, check out of sample and under stress, and write the results."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.errors import CertificateError, InputError
from tritier.hosting_case import HostingCase, with_budget
from tritier.hosting_check import judge, stress_days
from tritier.hosting_inputs import (
    YearData,
    day_positions,
    hosting_case,
    real_days,
)
from tritier.hosting_model import Plan, deterministic, robust_plan, stochastic_plan
from tritier.hosting_settings import HostingSettings, read_hosting_settings
from tritier.instance import Feeder
from tritier.preset import Preset
from tritier.reading import read_study

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


@dataclass(frozen=True, eq=False)
class Problem:
    """A study read for hosting at one preset and flexibility."""

    case: HostingCase
    data: YearData
    feeder: Feeder
    preset: Preset
    settings: HostingSettings
    size: Size
    chance_level: float
    data_hash: str


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
    case, data = hosting_case(study, flexibility, chosen, settings, budget, size_batteries)
    if budget is None and size.budget is not None:
        case = with_budget(case, lambda day: min(day.uncertainty.budget, size.budget))
    return Problem(case, data, study.feeder, chosen, settings, size, study.settings.chance_level, study.data_hash)


def make_plan(problem: Problem, model: str, hosted_kw: float | None = None, jobs: int = 1) -> Plan:
    """A plan by one of the three models.

    Raises:
        InputError: unknown model, or a model that cannot be asked for a given hosted capacity.
        CertificateError: the plan breaks a limit on a point of its own uncertainty set.
    """
    if model not in MODELS:
        raise InputError("--model", model, "is unknown", f"choose one of {', '.join(MODELS)}")
    if model == "stochastic":
        if hosted_kw is not None:
            raise InputError("--model", model, "maximises hosted capacity only", "leave out the hosted capacity")
        chosen = day_positions(problem.data, held_out=False, count=problem.size.scenarios)
        days = real_days(problem.data, problem.case, chosen, problem.preset)
        return stochastic_plan(problem.case, days, np.full(len(days), 1.0 / len(days)), problem.chance_level)
    case = deterministic(problem.case) if model == "deterministic" else problem.case
    plan = robust_plan(case, hosted_kw, jobs=jobs)
    for name, limit in (("worst_overload_kw", 1e-3), ("worst_voltage_excess_pu", 1e-6)):
        if plan.certificate[name] > limit:
            raise CertificateError(f"hosting.{name}", plan.certificate[name], limit, "no plan keeps all limits")
    return plan


def held_out_figures(problem: Problem, plan: Plan) -> dict:
    """The plan on held-out days of the year: dispatch, AC power flow, costs."""
    chosen = day_positions(problem.data, held_out=True, count=problem.size.held_out)
    days = real_days(problem.data, problem.case, chosen, problem.preset)
    return judge(problem.case, problem.feeder, plan.y, days, plan.watch)


def stress_figures(problem: Problem, plan: Plan) -> dict:
    """The plan on points drawn from the uncertainty sets, the same for every plan of the problem."""
    days = stress_days(problem.case, problem.size.stress, problem.preset.seed)
    return judge(problem.case, problem.feeder, plan.y, days, plan.watch)


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


def run(study_folder: str | Path, model: str, flexibility: str, preset: str, out: str | Path) -> dict:
    """Plan, check and write one hosting study; returns the summary.

    Writes to ``out``: summary.json, decisions.npz, trace.csv, certificate.json and provenance.json, each replaced
    whole.

    Args:
        study_folder: folder with study.yaml.
        model: deterministic, stochastic or robust.
        flexibility: none, der or p2p.
        preset: smoke, fast or paper.
        out: folder of results, made if missing.

    Raises:
        InputError: bad study or arguments.
        CertificateError: the plan does not carry its proof.
    """
    began = time.perf_counter()
    if model not in MODELS:
        raise InputError("--model", model, "is unknown", f"choose one of {', '.join(MODELS)}")
    problem = load_problem(study_folder, flexibility, preset)
    plan = make_plan(problem, model, jobs=min(2, os.cpu_count() or 1))
    planned = time.perf_counter() - began
    held_out, stress = held_out_figures(problem, plan), stress_figures(problem, plan)
    summary = {
        "model": model,
        "flexibility": flexibility,
        "hosted_kw": plan.hosted_kw,
        "hosted_lower_bound_kw": float(plan.lower_bound),
        "hosted_upper_bound_kw": float(plan.upper_bound),
        "pv_kw": float(plan.pv_kw.sum()),
        "wind_kw": float(plan.wind_kw.sum()),
        "battery_kwh": float(plan.battery_kwh.sum()),
        "annual_cost_usd": held_out["annual_cost_usd"],
        "operating_cost_usd": held_out["operating_cost_usd"],
        "curtailed_share": held_out["curtailed_share"],
        "planning_seconds": planned,
        "held_out": held_out,
        "stress": stress,
        "uncertainty": budget_coverage(problem),
    }
    certificate = {
        "design": plan.certificate,
        "lower_bound": float(plan.lower_bound),
        "upper_bound": float(plan.upper_bound),
        "stress_days_violated": stress["lindistflow_days_violated"],
    }
    if model == "robust" and stress["lindistflow_days_violated"]:
        raise CertificateError(
            "hosting.stress", stress["lindistflow_days_violated"], 0.0, "a point of the set is violated"
        )
    decisions = {
        "bus": problem.feeder.bus[problem.case.site],
        "pv_kw": plan.pv_kw,
        "wind_kw": plan.wind_kw,
        "battery_kwh": plan.battery_kwh,
        "pv_limit_kw": problem.case.pv_limit,
    }
    provenance = {
        "commit": commit(),
        "data_hash": problem.data_hash,
        "preset": asdict(problem.preset) | asdict(problem.size),
        "settings": asdict(problem.settings),
        "seed": problem.preset.seed,
        "seconds": time.perf_counter() - began,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "scipy", "highspy", "pyscipopt", "power-grid-model")},
    }
    write_results(Path(out), summary, decisions, plan, certificate, provenance)
    return summary


def trace_table(plan: Plan, hosting: bool = True) -> pd.DataFrame:
    """Bounds by iteration; for hosted capacity [kW] the signs turn and no plan yet is a lower bound of zero."""
    rows = pd.DataFrame([asdict(step) for step in plan.trace])
    if hosting:
        upper, lower = -rows["lower_bound"], (-rows["upper_bound"]).replace(-np.inf, 0.0)
        rows["lower_bound"], rows["upper_bound"] = lower, upper
    return rows


def write_results(out: Path, summary: dict, decisions: dict, plan: Plan, certificate: dict, provenance: dict) -> None:
    """Write every file beside its place and move it there, so that none is ever half written."""
    out.mkdir(parents=True, exist_ok=True)

    def place(name: str, write) -> None:
        part = out / f".{name}.part"
        with part.open("wb") as handle:
            write(handle)
        os.replace(part, out / name)

    def as_json(content: dict):
        return lambda handle: handle.write(json.dumps(finite(content), indent=1, default=float).encode())

    place("decisions.npz", lambda handle: np.savez(handle, **decisions))
    place("trace.csv", lambda handle: handle.write(trace_table(plan).to_csv(index=False).encode()))
    place("certificate.json", as_json(certificate))
    place("provenance.json", as_json(provenance))
    place("summary.json", as_json(summary))


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
