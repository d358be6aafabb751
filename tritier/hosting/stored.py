"""Hosting plans at preset `paper`, kept in data/results/hosting: how they are written, read and checked again.

They take about an hour on two cores, so the book shows them at every preset instead of solving them. One JSON file a
plan: question, summary, decisions, bounds by iteration, and where it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.errors import InputError
from tritier.hosting.case import FLEXIBILITY, with_budget
from tritier.hosting.plan import Plan, base_cost
from tritier.hosting.run import (
    MODELS,
    Problem,
    Question,
    finite,
    held_out_figures,
    load_problem,
    make_plan,
    rounded,
    stored_plan,
    stress_figures,
)
from tritier.inputs.study import Study, read_study
from tritier.provenance import DATA, write_text

# The record's hosting-capacity highlights beside ours, each with a verdict and its reason.


REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE = "direction reproduced", "direction not reproduced", "not comparable"

LOADS = "only the sign is compared: our cost holds the energy of all loads, and the larger plan sells more"


@dataclass(frozen=True)
class Ours:
    """A figure of ours that is set beside a row of the record; ``comparable`` if its direction may be judged."""

    what: str
    value: float
    reason: str
    comparable: bool = True


def figures(plans: pd.DataFrame, sweeps: Sweeps) -> dict[str, Ours]:
    """Our figure for every row of the record, from stored plans at preset `paper` (rows by study, model, flexibility).

    Percentages that the record gives as pairs keep their pairs: both from the same two plans.
    """
    by = plans.set_index(["study", "model", "flexibility"])

    def change(column: str, of: tuple[str, str], against: tuple[str, str]) -> float:
        return float(100 * (by.loc[("ieee33", *of), column] / by.loc[("ieee33", *against), column] - 1))

    p2p, der, none = ("robust", "p2p"), ("robust", "der"), ("robust", "none")
    forecast = ("deterministic", "p2p")
    cost = sweeps.frontier[np.isclose(sweeps.frontier["share"], 1.0)].set_index("flexibility")["annual_cost_usd"]
    large = by.loc[["oberrhein1", "oberrhein2"]].xs(p2p, level=("model", "flexibility"))
    operating = "held_out_operating_cost_usd"
    return {
        "hc_gain_first": Ours(
            "P2P, batteries and DR against no flexibility, robust", change("hosted_kw", p2p, none),
            "only the sign is compared: what the record adds, and to what, is not stated",
        ),
        "hc_gain_second": Ours(
            "batteries and DR without P2P against no flexibility, robust", change("hosted_kw", der, none),
            "only the sign is compared: what the record adds, and to what, is not stated",
        ),
        "operating_cost_change_first": Ours(
            "operation of the same two plans, held-out days", change(operating, p2p, none),
            LOADS,
        ),
        "operating_cost_change_second": Ours(
            "operation of the same two plans, held-out days", change(operating, der, none),
            LOADS,
        ),
        "robust_hc_gain": Ours(
            "robust against forecast, P2P", change("hosted_kw", p2p, forecast),
            "robustness removes plans, so it cannot host more under the same limits; the record's gain needs another "
            "comparator",
        ),
        "robust_cost_change": Ours(
            "annual cost of robust against forecast, P2P", change("held_out_annual_cost_usd", p2p, forecast),
            "the two plans host different capacities, so the change is mostly investment that is not made", False,
        ),
        "hc_gain_third": Ours(
            "P2P against batteries and DR alone, robust", change("hosted_kw", p2p, der),
            "only the sign is compared; plans choose their sites freely, which leaves trade little to add",
        ),
        "cost_change_third": Ours(
            "least annual cost with P2P against none, the same capacity", float(100 * (cost["p2p"] / cost["none"] - 1)),
            "the same capacity, asked for with more freedom, cannot cost more; by how much is ours alone",
        ),
        "hosting_capacity": Ours(
            "mv_oberrhein, both feeders, robust, P2P", float(large["hosted_kw"].sum() / 1e3),
            "another network; the record's is not stated", False,
        ),
        "annual_cost": Ours(
            "the same plans, energy of all loads included", float(large["held_out_annual_cost_usd"].sum() / 1e6),
            "another network, prices and cost items; the record's are not stated", False,
        ),
    }  # fmt: skip


def verdict(ours: Ours, record: float, least: float = 0.005) -> str:
    """Verdict on one row: signs agree and ours is more than rounding, or they do not, or it cannot be said."""
    if not ours.comparable:
        return NOT_COMPARABLE
    return REPRODUCED if abs(ours.value) >= least and np.sign(ours.value) == np.sign(record) else NOT_REPRODUCED


def against_the_record(record: pd.DataFrame, ours: dict[str, Ours]) -> pd.DataFrame:
    """One row for each highlight of data/paper/hosting.csv: the record's figure, ours, verdict and reason."""
    rows = [
        {
            "id": row["id"],
            "quantity": row["quantity"],
            "unit": row["unit"],
            "record": float(row["value"]),
            "ours: what": ours[row["id"]].what,
            "ours": ours[row["id"]].value,
            "verdict": verdict(ours[row["id"]], float(row["value"])),
            "reason": ours[row["id"]].reason,
        }
        for _, row in record.iterrows()
    ]
    return pd.DataFrame(rows)


STUDIES = ("ieee33", "oberrhein1", "oberrhein2")
#: Studies with vehicles and heat pumps, by name of their records: keys of study.yaml that differ from the folder's.
ELECTRIFIED = "ieee33-2045"
NOBODY_WAITS = "ieee33-2045-nobody-waits"
CHANGES: dict[str, dict[str, object]] = {NOBODY_WAITS: {"vehicles.delay_h": 0, "heat_pumps.delay_h": 0}}
ELECTRIFIED_PLANS = (
    (ELECTRIFIED, "none"),
    (NOBODY_WAITS, "der"),
    (ELECTRIFIED, "der"),
    (NOBODY_WAITS, "p2p"),
    (ELECTRIFIED, "p2p"),
)
FOLDER = DATA / "results" / "hosting"


def study_of(name: str) -> Study:
    """The study of a record."""
    folder = ELECTRIFIED if name in CHANGES else name
    return read_study(DATA / "studies" / folder, CHANGES.get(name))


def waiting_table(folder: Path = FOLDER) -> pd.DataFrame:
    """Rows of the robust plans of the electrified study: with what flexibility, and whether vehicles and heat pumps
    wait."""
    return pd.DataFrame([row(read_record(name, "robust", kind, folder)) for name, kind in ELECTRIFIED_PLANS])


def collect(study: str, run_folder: Path) -> dict:
    """One record from the files that ``tritier hosting`` has written; capacities to the last digit, for a plan at its
    limits is one no more where they are rounded."""
    names = ("summary", "certificate", "provenance")
    content = {name: json.loads((run_folder / f"{name}.json").read_text()) for name in names}
    with np.load(run_folder / "decisions.npz") as stored:
        decisions = {key: stored[key].tolist() for key in stored.files if key != "pv_limit_kw"}
    content["provenance"].pop("study")  # where it lay from the run's folder
    content["trace"] = pd.read_csv(run_folder / "trace.csv").to_dict("list")
    return rounded({"study": study} | content) | {"decisions": finite(decisions)}


def write_record(record: dict, folder: Path = FOLDER) -> Path:
    """Write a record as STUDY-MODEL-FLEXIBILITY.json, one line a section."""
    asked = record["provenance"]["asked"]
    path = folder / f"{record['study']}-{asked['model']}-{asked['flexibility']}.json"
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, "{" + lines + "}\n")
    return path


def read_record(study: str, model: str, flexibility: str, folder: Path = FOLDER) -> dict:
    """A stored record.

    Raises:
        InputError: there is none.
    """
    path = Path(folder) / f"{study}-{model}-{flexibility}.json"
    if not path.is_file():
        raise InputError(path, "file", "is missing", "run data/results/hosting/run.py")
    return json.loads(path.read_text())


def read_plan(record: dict) -> Plan:
    """The plan of a record."""
    kept: dict[str, Any] = {key: np.array(value) for key, value in record["decisions"].items() if key != "scenario_u"}
    points = [np.array([np.nan if v is None else v for v in u], dtype=float) for u in record["decisions"]["scenario_u"]]
    asked = Question(**record["provenance"]["asked"])
    kept["scenario_u"] = points
    return stored_plan(len(kept["pv_kw"]), asked, kept, pd.DataFrame(record["trace"]), record["certificate"])


def row(record: dict) -> dict:
    """The record as a row of the table that :func:`~tritier.hosting.stored.compare` makes."""
    summary, seconds = record["summary"], record["provenance"]["seconds"]
    return (
        {"study": record["study"], "model": summary["model"], "flexibility": summary["flexibility"]}
        | {"hosted_kw": summary["hosted_kw"], "lower_kw": summary["hosted_lower_bound_kw"]}
        | {"upper_kw": summary["hosted_upper_bound_kw"], "iterations": summary["iterations"]}
        | {"seconds": seconds["planning"], "check_seconds": seconds["held-out days"] + seconds["stress set"]}
        | {f"held_out_{key}": value for key, value in summary["held_out"].items()}
        | {f"stress_{key}": value for key, value in summary["stress"].items()}
    )


def table(
    studies: Iterable[str], models: Sequence[str], flexibility: Sequence[str], folder: Path = FOLDER
) -> pd.DataFrame:
    """Rows of all stored plans."""
    return pd.DataFrame([row(read_record(s, m, f, folder)) for s in studies for f in flexibility for m in models])


@dataclass(frozen=True, eq=False)
class Sweeps:
    """Stored sweeps of one study: by budget of uncertainty and by hosted capacity, with their provenance."""

    budget: pd.DataFrame
    frontier: pd.DataFrame
    provenance: dict

    def by_flexibility(self) -> dict[str, pd.DataFrame]:
        """Budget sweeps by kind of flexibility, in the order stored."""
        return {kind: rows for kind, rows in self.budget.groupby("flexibility", sort=False)}


def read_sweeps(study: str, folder: Path = FOLDER) -> Sweeps:
    """The stored sweeps of a study.

    Raises:
        InputError: there are none.
    """
    path = Path(folder) / f"{study}-sweeps.json"
    if not path.is_file():
        raise InputError(path, "file", "is missing", "run data/results/hosting/run.py")
    content = json.loads(path.read_text())
    return Sweeps(pd.DataFrame(content["budget"]), pd.DataFrame(content["frontier"]), content["provenance"])


def write_sweeps(study: str, budget: pd.DataFrame, rows: pd.DataFrame, origin: dict, folder: Path = FOLDER) -> None:
    """Write sweeps as STUDY-sweeps.json, a row of a table a line."""

    def table_text(frame: pd.DataFrame) -> str:
        return "[\n" + ",\n".join(json.dumps(rounded(one)) for one in frame.to_dict("records")) + "]"

    text = f'{{"budget": {table_text(budget)},\n"frontier": {table_text(rows)},\n'
    text += f'"provenance": {json.dumps(rounded(origin))}}}\n'
    write_text(folder / f"{study}-sweeps.json", text)


# Hosting plans side by side: models and flexibility, budgets of uncertainty, capacity asked for.


def compare(
    study_folder: str | Path, preset: str, models: Iterable[str] = MODELS, flexibility: Iterable[str] = FLEXIBILITY
) -> tuple[pd.DataFrame, dict[tuple[str, str], Plan], dict[str, Problem]]:
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


def budget_sweep(problem: Problem, budgets: Sequence[float], jobs: int = 1) -> pd.DataFrame:
    """Hosted capacity by budget, and how each plan stands the stress set of the largest budget."""

    def at_budget(budget: float) -> Problem:
        return replace(problem, case=with_budget(problem.case, lambda _: budget))

    widest, rows = at_budget(max(budgets)), []
    for budget in budgets:
        plan = make_plan(at_budget(budget), "robust", jobs=jobs)
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
    study: Study | str | Path, preset: str, flexibility: str, shares: Iterable[float], most_kw: float, jobs: int = 1
) -> pd.DataFrame:
    """Least annualised cost of a robust plan at shares of ``most_kw``, batteries sized with it."""
    problem = load_problem(study, flexibility, preset, size_batteries=True)
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
