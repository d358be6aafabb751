"""Hosting plans side by side: models and flexibility, budgets of uncertainty, capacity asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from tritier.hosting import MODELS, Problem, held_out_figures, load_problem, make_plan, stress_figures
from tritier.hosting_case import FLEXIBILITY, with_budget
from tritier.hosting_model import Plan, base_cost


def compare(study_folder: str | Path, preset: str, models=MODELS, flexibility=FLEXIBILITY):
    """Every model with every kind of flexibility on the same data.

    Returns:
        A table with a row per plan, the plans by (model, flexibility), and the problems by flexibility.
    """
    rows, plans, problems = [], {}, {}
    for kind in flexibility:
        problems[kind] = load_problem(study_folder, kind, preset)
        for model in models:
            plan = make_plan(problems[kind], model)
            plans[model, kind] = plan
            rows.append({"model": model, "flexibility": kind} | plan_row(problems[kind], plan))
    return pd.DataFrame(rows), plans, problems


def plan_row(problem: Problem, plan: Plan) -> dict:
    """Figures of one plan: capacity and bounds, then held-out and stress figures by prefix."""
    held_out, stress = held_out_figures(problem, plan), stress_figures(problem, plan)
    return (
        {"hosted_kw": plan.hosted_kw, "lower_kw": plan.lower_bound, "upper_kw": plan.upper_bound,
         "iterations": len(plan.trace), "seconds": plan.trace[-1].seconds}
        | {f"held_out_{key}": value for key, value in held_out.items()}
        | {f"stress_{key}": value for key, value in stress.items()}
    )  # fmt: skip


def budget_sweep(problem: Problem, budgets, jobs: int = 1) -> pd.DataFrame:
    """Hosted capacity by budget, and how each plan stands the stress set of the largest budget."""
    widest = replace(problem, case=with_budget(problem.case, lambda _: max(budgets)))
    rows = []
    for budget in budgets:
        case = with_budget(problem.case, lambda _, b=budget: b)
        plan = make_plan(replace(problem, case=case), "robust", jobs=jobs)
        stress = stress_figures(widest, plan, jobs)
        rows.append(
            {
                "budget": budget,
                "hosted_kw": plan.hosted_kw,
                "lower_kw": plan.lower_bound,
                "upper_kw": plan.upper_bound,
                "stress_days": stress["days"],
                "stress_days_violated": stress["lindistflow_days_violated"],
            }
        )
    return pd.DataFrame(rows)


def frontier(
    study_folder: str | Path, preset: str, flexibility: str, shares, most_kw: float, jobs: int = 1
) -> pd.DataFrame:
    """Least annualised cost of a robust plan at shares of ``most_kw``, batteries sized with it."""
    problem = load_problem(study_folder, flexibility, preset, size_batteries=True)
    base, rows = base_cost(problem.case), []
    for share in shares:
        plan = make_plan(problem, "robust", share * most_kw, jobs=jobs)
        rows.append(
            {
                "flexibility": flexibility,
                "share": share,
                "hosted_kw": plan.hosted_kw,
                "annual_cost_usd": plan.upper_bound + base,
                "lower_bound_usd": plan.lower_bound + base,
                "battery_kwh": float(plan.battery_kwh.sum()),
            }
        )
    return pd.DataFrame(rows)
