"""Hosting capacity of a study: its problem at a preset, plans by three models, and their checks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
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
from tritier.reading import Study, hash_files, read_study

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
    "usd_per_eur",
    "retail_usd_per_kwh",
    "network_charge_usd_per_kwh",
    "demand",
    "chance_level",
    "voltage_margin_pu",
)


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
    case, data = hosting_case(study, flexibility, chosen, settings, budget, size_batteries)
    if budget is None and size.budget is not None:
        case = with_budget(case, lambda day: min(day.uncertainty.budget, size.budget))
    inputs = inputs_hash(study, settings)
    return Problem(case, data, study.feeder, chosen, settings, size, study.settings.chance_level, inputs)


def inputs_hash(study: Study, settings: HostingSettings) -> str:
    """One sha256 over the CSV files and all settings that the hosting problem uses; menus and other sections of
    study.yaml do not touch it."""
    files = hash_files({role: path for role, path in study.paths.items() if role != "study"})
    used = study.settings.model_dump(mode="json", include=set(USED))
    text = json.dumps([files, used, {k: str(v) for k, v in asdict(settings).items()}], sort_keys=True)
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
