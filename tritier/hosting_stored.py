"""Hosting plans at preset `paper`, kept in data/results/hosting: how they are written, read and checked again.

They take about an hour on two cores, so the book shows them at every preset instead of solving them. One JSON file a
plan: question, summary, decisions, bounds by iteration, and where it comes from.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.errors import CertificateError, InputError
from tritier.hosting import SIZES, Problem
from tritier.hosting_case import HostingCase
from tritier.hosting_limits import Watch
from tritier.hosting_model import Plan, deterministic, two_stage
from tritier.hosting_run import finite
from tritier.robust import Iteration, solve_master

STUDIES = ("ieee33", "oberrhein1", "oberrhein2")
FOLDER = Path("data/results/hosting")
DIGITS = 10


def collect(study: str, run_folder: Path) -> dict:
    """One record from the files that ``tritier hosting`` has written."""
    names = ("summary", "certificate", "provenance")
    content = {name: json.loads((run_folder / f"{name}.json").read_text()) for name in names}
    with np.load(run_folder / "decisions.npz") as stored:
        content["decisions"] = {key: stored[key].tolist() for key in stored.files if key != "pv_limit_kw"}
    content["trace"] = pd.read_csv(run_folder / "trace.csv").to_dict("list")
    return rounded({"study": study} | content)


def write_record(record: dict, folder: Path = FOLDER) -> Path:
    """Write a record as STUDY-MODEL-FLEXIBILITY.json, one line a section."""
    asked = record["provenance"]["asked"]
    path = folder / f"{record['study']}-{asked['model']}-{asked['flexibility']}.json"
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("{" + lines + "}\n")
    return path


def rounded(content):
    """The same with numbers at ten significant digits."""
    content = finite(content)
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return float(f"{content:.{DIGITS}g}") if isinstance(content, float) else content


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
    kept = {key: np.array(value) for key, value in record["decisions"].items()}
    trace = pd.DataFrame(record["trace"]).astype(float)
    steps = [
        Iteration(int(r.iteration), -r.upper_bound, -r.lower_bound, int(r.scenarios), r.seconds, r.master_seconds,
                  r.adversary_seconds)
        for r in trace.itertuples()
    ]  # fmt: skip
    watch = Watch(*(set(kept[f"watch_{name}"].astype(int).tolist()) for name in ("line", "high", "low")))
    points = [np.array([v for v in u if v is not None]) for u in record["decisions"]["scenario_u"]]
    scenarios = list(zip(kept["scenario_day"].astype(int).tolist(), points, strict=True))
    low, high = record["certificate"]["lower_bound"], record["certificate"]["upper_bound"]
    return Plan(
        kept["pv_kw"], kept["wind_kw"], kept["battery_kwh"], low, high, tuple(steps), watch,
        record["certificate"]["design"], tuple(scenarios),
    )  # fmt: skip


def stale(record: dict, problem: Problem) -> list[str]:
    """What of a record's inputs has changed since: names, empty if nothing has."""
    origin = record["provenance"]
    now = {
        "inputs_hash": problem.inputs_hash,
        "preset": finite(asdict(problem.preset) | asdict(SIZES["paper"])),
        "settings": finite(asdict(problem.settings)),
    }
    return [key for key, value in now.items() if rounded(value) != rounded(origin[key])]


def row(record: dict) -> dict:
    """The record as a row of the table that :func:`~tritier.hosting_sweeps.compare` makes."""
    summary, seconds = record["summary"], record["provenance"]["seconds"]
    return (
        {"study": record["study"], "model": summary["model"], "flexibility": summary["flexibility"]}
        | {"hosted_kw": summary["hosted_kw"], "lower_kw": summary["hosted_lower_bound_kw"]}
        | {"upper_kw": summary["hosted_upper_bound_kw"], "iterations": summary["iterations"]}
        | {"seconds": seconds["planning"], "check_seconds": seconds["held-out days"] + seconds["stress set"]}
        | {f"held_out_{key}": value for key, value in summary["held_out"].items()}
        | {f"stress_{key}": value for key, value in summary["stress"].items()}
    )


def table(studies, models, flexibility, folder: Path = FOLDER) -> pd.DataFrame:
    """Rows of all stored plans."""
    return pd.DataFrame([row(read_record(s, m, f, folder)) for s in studies for f in flexibility for m in models])


def proven_upper_bound(case: HostingCase, plan: Plan) -> float:
    """Upper bound of the hosted capacity [kW] from a plan's scenarios and watched rows alone: one linear program."""
    scenarios = list(plan.scenarios)
    return -float(solve_master(two_stage(case, plan.watch), scenarios)[1])


def check_bounds(record: dict, problem: Problem, tolerance: float = 1e-6) -> None:
    """Solve the relaxation of a robust or deterministic plan again and hold it against the stored bounds.

    Raises:
        CertificateError: the plan breaks its own limits, or a bound is not the stored one.
    """
    plan = read_plan(record)
    case = deterministic(problem.case) if record["summary"]["model"] == "deterministic" else problem.case
    over = max((plan.pv_kw - case.pv_limit).max(), (plan.wind_kw - case.wind_limit).max(), -plan.y.min())
    again = proven_upper_bound(case, plan)
    figures = {
        "capacity": over / plan.hosted_kw,
        "lower_bound": abs(plan.hosted_kw - plan.lower_bound) / plan.hosted_kw,
        "upper_bound": abs(again - plan.upper_bound) / plan.hosted_kw,
        "gap": (plan.upper_bound - plan.lower_bound) / plan.hosted_kw,
    }
    for name, figure in figures.items():
        if figure > tolerance:
            raise CertificateError(f"hosting.stored.{name}", figure, tolerance)


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
    (folder / f"{study}-sweeps.json").write_text(text)
