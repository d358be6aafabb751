"""One point of a sweep: a study with some of its values changed, Case 1 against Case 4 on it, as one row of figures."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from nbclient.exceptions import DeadKernelError

from tritier.cases.cases import find_case
from tritier.cases.outcome import daily_table, mean_and_cvar, physics_table
from tritier.cases.recourse import DayDecisions
from tritier.cases.solve import Prepared, SolvedCase, certificates, judge, prepare, solve_as, solve_case, summary
from tritier.errors import CertificateError, InputError
from tritier.evaluation.findings import PARTS, mean_interval
from tritier.inputs.scenarios import held_out_days
from tritier.inputs.study import Study, read_study
from tritier.model.chance import Network
from tritier.model.dso import SocialCost
from tritier.provenance import digest, package_hash

DESIGNS = ("menu", "flat")
ROW = "application/vnd.tritier.row+json"  # the output by which a notebook hands over its row
SUMMARY = (
    "welfare_usd",
    "social_cost_usd",
    "prosumer_cost_usd",
    "prosumer_cost_after_refund_usd",
    "ac_losses_kwh",
    "peak_kw",
    "p2p_kwh",
    "curtailed_kwh",
    "congestion_rent_usd",
)


def point(
    study: str | Path,
    preset: str = "fast",
    changes: Mapping[str, object] | None = None,
    design: str = "menu",
    cases: Sequence[int] = (1, 4),
) -> dict[str, object]:
    """The row of one point: cases solved, certified and judged on their scenarios and on held-out days.

    Args:
        study: folder of the study.
        preset: preset whose size and menu hold where ``changes`` does not replace them.
        changes: values of study.yaml by dotted key and of the preset, as of ``--set``.
        design: "menu" optimises Case 4 over the menu, "flat" gives its market the flat tariff at cost recovery.
        cases: the cases solved.

    Returns:
        Figures by name, ``cK_`` before those of case K (:py:func:`case_figures`), ``cK_out_`` before those on held-out
        days; ``out_change`` is the change of welfare from Case 1 to Case 4 there, with its day-clustered interval. A
        case that cannot be designed, or whose certificate fails, has no figures but ``refused``, the reason in a line.

    Raises InputError for a wrong study, key or design.
    """
    if design not in DESIGNS:
        raise InputError("sweep", "design", f"unknown design {design!r}", f"use one of {', '.join(DESIGNS)}")
    started = time.process_time()
    prepared = prepare(study, preset, changes)
    days = held_out_days(prepared.study, prepared.preset)
    row: dict[str, object] = {"refused": ""}
    outside: dict[int, np.ndarray] = {}
    for number in cases:
        try:
            solved = flat_full(prepared) if (number, design) == (4, "flat") else solve_case(prepared, number)
            certificates(solved)
        except (InputError, CertificateError) as error:
            row["refused"] = f"Case {number}: {error}"
            break
        held_out = judge(prepared, solved.case, solved.decisions, days, solved.case.policy)
        figures = case_figures(solved) | {f"out_{name}": value for name, value in judged(solved, held_out).items()}
        row |= {f"c{number}_{name}": value for name, value in figures.items()}
        outside[number] = daily_table(held_out, solved.decisions)["welfare_usd"].to_numpy()
    if 1 in outside and 4 in outside:
        row |= dict(zip(("out_change", "out_low", "out_high"), mean_interval(outside[4] - outside[1]), strict=True))
    instance = prepared.instance
    return row | {
        "prosumers": len(instance.prosumers),
        "scenarios": instance.days.n_days,
        "menu_points": instance.menu.n_points if design == "menu" else 1,
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def flat_full(prepared: Prepared) -> SolvedCase:
    """The market of Case 4 under the flat tariff at cost recovery and without limits: what its design improves on."""
    return solve_as(prepared, replace(find_case(4), optimised=False))


def case_figures(solved: SolvedCase) -> dict[str, object]:
    """Figures of a solved case, by name.

    Plain names are means over the scenarios under the headline policy, parts of social cost among them.
    ``cleared_`` is before the parts of social cost as the market cleared, before any day was judged. A design's bounds
    have ``flat_usd`` and ``first_best_usd``.
    """
    told = summary(solved)
    row: dict[str, object] = {name: told[name] for name in SUMMARY} | physical(solved.days)
    row |= cleared_parts(solved.response.social)
    table = daily_table(solved.days, solved.decisions)
    row |= {name: mean_and_cvar(table, name)[0] for name in PARTS}
    row["tariff"] = " ".join(f"{t:.4f}" for t in solved.decisions.design.tariff)
    row["p2p_charge"] = solved.decisions.design.p2p
    row["limits"] = " ".join(f"{line}:{limit:.0f}" for line, limit in solved.decisions.design.capacity)
    if solved.design is not None:
        row |= {"flat_usd": solved.design.flat, "first_best_usd": solved.design.first_best}
    return row


def cleared_parts(social: SocialCost) -> dict[str, float]:
    """Parts of social cost as cleared, $/day, and their total."""
    parts = ("wholesale", "losses", "demand_charge", "degradation", "lost_value", "total")
    return {f"cleared_{name}_usd": getattr(social, name) for name in parts}


def judged(solved: SolvedCase, day: DayDecisions) -> dict[str, float]:
    """Means over judged days: welfare, prosumer cost, losses, peak and what :py:func:`physical` gives."""
    table = daily_table(day, solved.decisions)
    names = ("welfare_usd", "prosumer_cost_usd", "peak_kw")
    return {name: mean_and_cvar(table, name)[0] for name in names} | physical(day) | {"days": len(table)}


def physical(day: DayDecisions) -> dict[str, float]:
    """Violations in AC as shares of bus-hours and of days, and in LinDistFlow as energy (:eq:`eq-priced-violations`).

    ``violation_kwh`` adds up every violated row, as the declared price does; ``shed_kwh`` takes the bus that is too low
    by most in each hour.
    """
    p, ac = day.instance.days.probability, physics_table(day)
    over = {k: np.maximum(v, 0) for k, v in Network(day.instance).violations(day.net_load, {}).items()}
    return {
        "ac_losses_kwh": float(ac["ac_losses_kwh"] @ p),
        "violation_share": float(ac["ac_violation_share"] @ p),
        "violation_days": float((ac["ac_violation_share"] > 0) @ p),
        "violation_kwh": float(sum(v.sum(axis=(0, 1)) for v in over.values()) @ p),
        "shed_kwh": float(over["voltage_low"].max(axis=0).sum(axis=0) @ p),
    }


def hand_over(row: Mapping[str, object]) -> None:
    """Display a row as the output by which a sweep finds it."""
    from IPython.display import display

    display({ROW: dict(row), "text/plain": json.dumps(row, indent=1)}, raw=True)


# Sweeps: one notebook run by papermill for each value of a parameter, in parallel, each point kept under its hash.
#
# The hash covers the parameters, the study's inputs, the notebook, every definition of the package that it can reach
# and
# the lock file. A second run finds all its points; a run that was cut off goes on; an edit re-runs what it can reach.


NOTEBOOK = Path("sweeps") / "point.ipynb"
NOT_INPUTS = {"name", "title", "files", "menus", "presets"}  # keys of study.yaml that decide no figure of a point


@dataclass(frozen=True)
class Point:
    """One value of one sweep: what the notebook is told."""

    sweep: str
    label: str
    parameters: Mapping[str, object] = field(hash=False)


@dataclass(frozen=True)
class Bench:
    """Where points are run: the repository, the notebook, and the folder that keeps what was found."""

    root: Path
    store: Path
    notebook: Path = NOTEBOOK

    def origin(self) -> str:
        """Hash of what every point is made from besides its parameters and data, as the book's gate takes it."""
        path, lock = self.root / self.notebook, self.root / "requirements.lock"
        made = {
            "notebook": digest(path.read_bytes()),
            "package": package_hash(),
            "lock": digest(lock.read_bytes()) if lock.is_file() else "none",
        }
        return digest(json.dumps(made, sort_keys=True))

    def path(self, key: str) -> Path:
        return self.store / f"{key}.json"


def inputs_hash(study: Study) -> str:
    """Hash of what decides a study's figures: its tables, and study.yaml without names, menus and presets.

    Menus and sizes are parameters of a point: an edit of the study's own leaves every stored point as true as it was,
    and so does a key at its default, written out or not.
    """
    tables = {role: digest(path.read_bytes()) for role, path in study.paths.items() if role != "study"}
    settings = study.settings.model_dump(mode="json", exclude=NOT_INPUTS, exclude_defaults=True)
    return digest(json.dumps([tables, settings], sort_keys=True))


def key_of(point: Point, data: str, origin: str) -> str:
    """The name under which a point is kept: a hash of its parameters, its data and its origin, not of its label."""
    return digest(json.dumps([point.parameters, data, origin], sort_keys=True))


def run_sweep(bench: Bench, points: Iterable[Point], jobs: int = 1) -> pd.DataFrame:
    """Rows of all points in their order, of which only those not kept yet are executed.

    Points with the same parameters are run once. Each is a papermill run of its own in one of ``jobs`` processes, and
    is kept as soon as it is done.

    Returns:
        A table with the columns ``sweep``, ``label``, ``key``, ``executed`` and those of the row.

    Raises:
        InputError: a point's notebook failed, its study cannot be read, or a kept point is damaged; finished points
            stay.
    """
    points, origin = list(points), bench.origin()
    studies = {str(p.parameters["study"]) for p in points}
    data = {name: inputs_hash(read_study(bench.root / name)) for name in studies}
    keys = [key_of(p, data[str(p.parameters["study"])], origin) for p in points]
    pending = {k: p for k, p in zip(keys, points, strict=True) if not bench.path(k).is_file()}
    bench.store.mkdir(parents=True, exist_ok=True)
    tasks = (delayed(run_point)(bench, p, k, data[str(p.parameters["study"])], origin) for k, p in pending.items())
    failures = [text for text in Parallel(n_jobs=jobs)(tasks) if text]
    if failures:
        raise InputError(bench.notebook, "point", failures[0], f"{len(failures)} failed; the others are kept")
    rows = []
    for k, p in zip(keys, points, strict=True):
        rows.append({"sweep": p.sweep, "label": p.label, "key": k, "executed": k in pending} | read_row(bench, k))
    return pd.DataFrame(rows)


def run_point(bench: Bench, point: Point, key: str, data: str, origin: str) -> str:
    """Execute the notebook for one point and keep its row whole; returns what went wrong, in one line."""
    import papermill

    executed = bench.store / f"{key}.ipynb"
    try:
        notebook = papermill.execute_notebook(
            str(bench.root / bench.notebook),
            str(executed),
            dict(point.parameters),
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],
            cwd=str(bench.root),
        )
    except papermill.PapermillExecutionError as error:
        return f"{point.sweep} {point.label}: {error.ename}: {error.evalue}".replace("\n", " ")
    except DeadKernelError as error:
        return f"{point.sweep} {point.label}: {error}"
    kept = {"data": data, "origin": origin, "parameters": point.parameters, "row": row_of(notebook)}
    fresh = bench.store / f".{key}-{os.getpid()}"
    fresh.write_text(json.dumps(kept, indent=1))
    fresh.replace(bench.path(key))
    return ""


def row_of(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """The row that an executed notebook hands over. Raises InputError unless there is exactly one."""
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    found = [o.data[ROW] for o in outputs if "data" in o and ROW in o.data]
    if len(found) != 1:
        raise InputError(
            "sweep", "row", f"the notebook hands over {len(found)} rows", "call sweep_point.hand_over once"
        )
    return dict(found[0])


def read_row(bench: Bench, key: str) -> dict[str, object]:
    """The row kept under a key. Raises InputError where the file holds none."""
    try:
        return dict(json.loads(bench.path(key).read_text())["row"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(bench.path(key), "row", "is damaged", "delete the file and run the sweep again") from error
