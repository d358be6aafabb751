"""Sweeps: Case 1 against Case 4 with one value of the study changed; which values, how they run, and what they show.

A point is a study with some of its values changed, and its row of figures. One notebook, run by papermill for each
point in parallel, hands the row over, and it is kept under a hash of parameters, inputs, notebook, package and lock
file: a second run finds all its points, and a run that was cut off goes on. Sweeps at full size are stored with the
data.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from nbclient.exceptions import DeadKernelError

from tritier.cases.cases import find_case
from tritier.cases.outcome import daily_table, mean_and_cvar, physics_table
from tritier.cases.recourse import DayDecisions
from tritier.cases.result import Result, solve_case
from tritier.cases.solve import Prepared, inputs_hash, judge, prepare
from tritier.errors import CertificateError, InfeasibleError, InputError, NoRecoveryError
from tritier.evaluation.findings import BASE, PARTS, with_unit
from tritier.evaluation.inference import clustered, week_of
from tritier.inputs.documents import read_json
from tritier.inputs.scenarios import held_out_days
from tritier.inputs.study import read_study
from tritier.model.chance import Network
from tritier.model.dso import SocialCost
from tritier.provenance import commit, digest, package_hash, versions, write_csv, write_json

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
NOTEBOOK = Path("sweeps") / "point.ipynb"
STUDY = "data/studies/ieee33"
PRESET = "fast"  # names the preset that every point changes; size and menu are all given below
MENU = {  # next to the flat tariff of Case 4, a cheaper night, a dearer evening, a charge on the common peak, a limit
    "tariff": "{off_peak: [0.05, 0.083], day: [0.083], peak: [0.083, 0.11]}",
    "individual_peak": "[0.0]",
    "coincident_peak": "[0.0, 0.19]",
    "p2p": "[0.083]",
    "capacity": "{1: [1800, 4700]}",
}
NO_LIMIT = {"capacity": "{1: [4700]}"}
FLAT = {"tariff": "{off_peak: [0.083], day: [0.083], peak: [0.083]}", "coincident_peak": "[0.0]"}
FREE_TRADE = {"tariff": "{off_peak: [0.05, 0.083], day: [0.083], peak: [0.11, 0.14]}", "p2p": "[0.0]"}


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
        days; ``out_change`` is the change of welfare from Case 1 to Case 4 there, with an interval clustered by week.
        A case that cannot be designed, or whose certificate fails, has no figures but ``refused``, the reason in a
        line.

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
            solved.certificates()
        except (InputError, CertificateError, InfeasibleError, NoRecoveryError) as error:
            row["refused"] = f"Case {number}: {error}"
            break
        held_out = judge(prepared, solved.case, solved.decisions, days, solved.case.policy)
        figures = case_figures(solved) | {f"out_{name}": value for name, value in judged(solved, held_out).items()}
        row |= {f"c{number}_{name}": value for name, value in figures.items()}
        outside[number] = daily_table(held_out, solved.decisions)["welfare_usd"].to_numpy()
    if 1 in outside and 4 in outside:
        change = clustered(outside[4] - outside[1], week_of(days.label))
        row |= {"out_change": change.mean, "out_low": change.low, "out_high": change.high}
    instance = prepared.instance
    return row | {
        "prosumers": len(instance.prosumers),
        "scenarios": instance.days.n_days,
        "menu_points": instance.menu.n_points if design == "menu" else 1,
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def flat_full(prepared: Prepared) -> Result:
    """The market of Case 4 under the flat tariff at cost recovery and without limits: what its design improves on."""
    return solve_case(prepared, replace(find_case(4), optimised=False))


def case_figures(solved: Result) -> dict[str, object]:
    """Figures of a solved case, by name.

    Plain names are means over the scenarios under the headline policy, parts of social cost among them.
    ``cleared_`` is before the parts of social cost as the market cleared, before any day was judged. A design's bounds
    have ``flat_usd`` and ``first_best_usd``.
    """
    told = solved.summary()
    row: dict[str, object] = {name: told[name] for name in SUMMARY}
    row |= physical(solved.days)
    if solved.response is not None:
        row |= cleared_parts(solved.response.social)
    table = daily_table(solved.days, solved.decisions)
    row |= {name: mean_and_cvar(table, name)[0] for name in PARTS}
    row["tariff"] = " ".join(f"{t:.4f}" for t in solved.decisions.design.tariff)
    row["p2p_charge"] = solved.decisions.design.p2p
    row["limits"] = " ".join(f"{line}:{limit:.0f}" for line, limit in solved.decisions.design.capacity)
    if solved.bounds is not None:
        row |= {"flat_usd": solved.bounds.flat, "first_best_usd": solved.bounds.first_best}
    return row


def cleared_parts(social: SocialCost) -> dict[str, float]:
    """Parts of social cost as cleared, $/day, and their total."""
    parts = ("wholesale", "losses", "demand_charge", "degradation", "lost_value", "total")
    return {f"cleared_{name}_usd": getattr(social, name) for name in parts}


def judged(solved: Result, day: DayDecisions) -> dict[str, float]:
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


def key_of(point: Point, data: str, sizes: Mapping[str, object], origin: str) -> str:
    """The name under which a point is kept: a hash of its parameters, its data, the sizes of the study's preset, of
    which a point changes only some, and its origin, not of its label."""
    return digest(json.dumps([point.parameters, data, dict(sizes), origin], sort_keys=True))


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
    studies = {name: read_study(bench.root / name) for name in {str(p.parameters["study"]) for p in points}}
    data = {name: inputs_hash(study) for name, study in studies.items()}
    sizes = {name: asdict(study.preset(PRESET)) for name, study in studies.items()}
    asked = [(p, str(p.parameters["study"])) for p in points]
    keys = [key_of(p, data[name], sizes[name], origin) for p, name in asked]
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
    write_json(bench.path(key), kept)
    return ""


def row_of(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """The row that an executed notebook hands over. Raises InputError unless there is exactly one."""
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    found = [o.data[ROW] for o in outputs if "data" in o and ROW in o.data]
    if len(found) != 1:
        raise InputError("sweep", "row", f"the notebook hands over {len(found)} rows", "call sweeps.hand_over once")
    return dict(found[0])


def read_row(bench: Bench, key: str) -> dict[str, object]:
    """The row kept under a key. Raises InputError where the file holds none."""
    try:
        return dict(json.loads(bench.path(key).read_text())["row"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(bench.path(key), "row", "is damaged", "delete the file and run the sweep again") from error


@dataclass(frozen=True)
class Value:
    """One value of a parameter: its label, what it changes in study or preset, in the menu, and the design asked for.

    ``x`` is the number drawn, None where the value is a word.
    """

    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    menu: Mapping[str, str] = field(default_factory=dict)
    design: str = "menu"
    x: float | None = None
    cases: tuple[int, ...] | None = None  # where fewer are solved than the sweep's


@dataclass(frozen=True)
class Sweep:
    """One parameter: what it is, its value in the case study as it is drawn, and the other values tried."""

    name: str
    title: str
    unit: str
    base: str
    values: tuple[Value, ...]
    x: float | None = None
    cases: tuple[int, ...] = (1, 4)


def numbers(key: str, *values: float) -> tuple[Value, ...]:
    """Values of one numeric key."""
    return tuple(Value(f"{v:g}", {key: v}, x=v) for v in values)


SWEEPS = (
    Sweep(
        "demand_charge",
        "demand charge",
        "$/kW-day",
        "0.763",
        numbers("demand_charge_usd_per_kw", 0.251),
        0.763,
    ),
    Sweep(
        "tie_break",
        "tie-break of batteries",
        "$/kWh in store and hour",
        "1e-05",
        (
            # Cases 0 and 1 say what it decides; Case 4 without it takes several times as long as any other point.
            Value("0", {"tie_break_usd_per_kwh": 0.0}, x=0.0, cases=(0, 1)),
            *numbers("tie_break_usd_per_kwh", 1e-4),
        ),
        1e-5,
        (0, 1, 4),
    ),
    Sweep(
        "structure",
        "tariff structure",
        "",
        "time blocks and head limit",
        (
            Value("flat, no limit", design="flat"),
            Value("flat, head limit", menu=FLAT),
            Value("time blocks, no limit", menu=NO_LIMIT),
            Value("P2P charge off", menu=FREE_TRADE),
        ),
    ),
    Sweep("beta", "risk weight of all prosumers", "-", "0.3 to 0.7, their own", numbers("risk.beta", 0.0, 0.9), 0.5),
    Sweep("pv", "PV", "times installed", "1", numbers("renewables.pv_scale", 0.5, 1.5), 1.0),
    Sweep("battery", "batteries", "times installed", "1", numbers("batteries.scale", 0.0, 0.5, 2.0), 1.0),
    Sweep("load", "load and all assets", "times calibrated", "1", numbers("load.scale", 0.9, 1.05), 1.0),
    Sweep("elasticity", "demand elasticity", "-", "-0.1", numbers("demand.elasticity", -0.3, -0.02), -0.1),
    Sweep(
        "degradation",
        "battery wear",
        "$/kWh each way",
        "0.0437",
        numbers("batteries.degradation_usd_per_kwh", 0.033, 0.053),
        0.0437,
    ),
    Sweep("shift", "hour of PV", "h later than the profile", "1", numbers("renewables.pv_shift_h", 0, 2), 1.0),
    Sweep("chance", "chance level", "-", "0.05", numbers("chance_level", 0.2), 0.05),
    Sweep("alpha", "CVaR level", "-", "0.9", numbers("risk.alpha", 0.8, 0.95), 0.9),
    Sweep("scenarios", "scenarios", "-", "12", numbers("n_scenarios", 3, 6), 12.0),
    Sweep(
        "blocks",
        "demand blocks, risk weight",
        "",
        "4, own",
        (
            Value("4, 0", {"risk.beta": 0.0}),
            Value("8, own", {"demand.blocks": 8}),
            Value("4, 0, flat", {"risk.beta": 0.0}, design="flat"),
        ),
    ),
)


@dataclass(frozen=True)
class Size:
    """How large the market of every point is, and which values are run: ``only`` per sweep, all where None."""

    n_prosumers: int
    n_scenarios: int
    days_used: int
    only: Mapping[str, tuple[str, ...]] | None = None


STORED = Size(14, 12, 366)
FRESH = {
    "smoke": Size(5, 2, 4, {"demand_charge": ("0.251",), "tie_break": ("0.0001",), "pv": ("1.5",)}),
    "fast": Size(14, 3, 366, {"demand_charge": ("0.251",), "pv": ("1.5",)}),
    "paper": STORED,
}


def find_sweep(name: str) -> Sweep:
    """A sweep by name. Raises InputError naming the choices."""
    found = next((s for s in SWEEPS if s.name == name), None)
    if found is None:
        raise InputError("sweep", name, "is no sweep", f"use one of {', '.join(s.name for s in SWEEPS)}")
    return found


def plan(size: Size, load_scale: float, study: str = STUDY, sweeps: Iterable[Sweep] = SWEEPS) -> list[Point]:
    """All points of the sweeps at a size, the case study's own values first.

    ``load_scale``: the study's calibrated scale, of which that of the sweep is a multiple. The base solves Case 0 too.
    """
    points = [Point(BASE, "", parameters(size, study, load_scale, Value(""), (0, 1, 4)))]
    for sweep in sweeps:
        chosen = sweep.values
        if size.only is not None:
            chosen = tuple(v for v in chosen if v.label in size.only.get(sweep.name, ()))
        for value in chosen:
            points.append(
                Point(sweep.name, value.label, parameters(size, study, load_scale, value, value.cases or sweep.cases))
            )
    return points


def parameters(size: Size, study: str, load_scale: float, value: Value, cases: Sequence[int]) -> dict[str, object]:
    """What the notebook of a point is told."""
    changes: dict[str, object] = {
        "n_prosumers": size.n_prosumers,
        "n_scenarios": size.n_scenarios,
        "days_used": size.days_used,
    }
    changes |= {f"menus.{PRESET}.{key}": text for key, text in (MENU | dict(value.menu)).items()}
    changes |= {k: v * load_scale if k == "load.scale" else v for k, v in value.changes.items()}
    return {"study": study, "preset": PRESET, "changes": changes, "design": value.design, "cases": list(cases)}


LEAST = 1.0  # $/day: what moves less is said to stay
DIGITS = 7
MEASURES = (
    ("change", "welfare [$/day]", "{:+.1f}"),
    ("out_change", "held out [$/day]", "{:+.1f}"),
    ("cost_change", "prosumer cost after refund [$/day]", "{:+.1f}"),
    ("losses_change", "losses [%]", "{:+.1f}"),
    ("peak_change", "peak [kW]", "{:+.0f}"),
)


def with_changes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a sweep with what Case 4 changes against Case 1 (:eq:`eq-welfare-change`).

    ``change``: welfare on the scenarios, $/day. ``cost_change``: prosumer cost after refund, $/day. ``losses_change``:
    percent, AC. ``peak_change``: kW. ``gain``: social cost as cleared that the design saves against the flat tariff,
    $/day. ``distortion``: lost value of demand as cleared less the same on the judged days, $/day, Case 4.
    """
    return rows.assign(
        change=rows["c4_welfare_usd"] - rows["c1_welfare_usd"],
        cost_change=rows["c4_prosumer_cost_after_refund_usd"] - rows["c1_prosumer_cost_after_refund_usd"],
        losses_change=100 * (rows["c4_ac_losses_kwh"] / rows["c1_ac_losses_kwh"] - 1),
        peak_change=rows["c4_peak_kw"] - rows["c1_peak_kw"],
        gain=rows["c4_flat_usd"] - rows["c4_cleared_total_usd"],
        distortion=rows["c4_cleared_lost_value_usd"] - rows["c4_lost_value_usd"],
    )


def of_sweep(rows: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    """Rows of one sweep, the case study's own value among them under its label, in the order of their values."""
    base = rows[rows["sweep"] == BASE].assign(label=sweep.base, x=sweep.x, base=True)
    x = {value.label: value.x for value in sweep.values}
    own = rows[rows["sweep"] == sweep.name].assign(base=False)
    own["x"] = own["label"].map(x)
    both = pd.concat([base, own], ignore_index=True)
    both["x"] = both["x"].astype(float)
    return both.sort_values("x", kind="stable", ignore_index=True) if sweep.x is not None else both


def ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The smallest and the largest change of welfare of each sweep with their labels, widest sweep first. A value that
    takes the design away beside what it changes moves two things, and is no end.

    Columns: sweep, title, low, low_label, high, high_label, and the same held out before ``out_``.
    """
    found = []
    for sweep in SWEEPS:
        own = of_sweep(rows, sweep)
        both = [value.label for value in sweep.values if value.changes and value.design == "flat"]
        own = own[own["change"].notna() & ~own["label"].isin(both)]
        if len(own) < 2:
            continue
        low, high = own.loc[own["change"].idxmin()], own.loc[own["change"].idxmax()]
        found.append(
            {
                "sweep": sweep.name,
                "title": sweep.title,
                "low": low["change"],
                "low_label": low["label"],
                "high": high["change"],
                "high_label": high["label"],
                "out_low": low["out_change"],
                "out_high": high["out_change"],
            }
        )
    table = pd.DataFrame(found)
    return table.assign(width=table["high"] - table["low"]).sort_values("width", ascending=False, ignore_index=True)


def moved(before: float, after: float, least: float = LEAST) -> str:
    """ "rises", "falls" or "stays", by the difference of two numbers; what moves less than ``least`` stays."""
    if abs(after - before) < least:
        return "stays"
    return "rises" if after > before else "falls"


def course(rows: pd.DataFrame, sweep: Sweep) -> dict[str, Any]:
    """From the first to the last solved value of a sweep: labels, changes of welfare, words, in and out of sample."""
    own = of_sweep(rows, sweep)
    first, last = (own[own["change"].notna()].iloc[k] for k in (0, -1))
    return {
        "first_label": first["label"],
        "last_label": last["label"],
        "first": float(first["change"]),
        "last": float(last["change"]),
        "word": moved(first["change"], last["change"]),
        "out_first": float(first["out_change"]),
        "out_last": float(last["out_change"]),
    }


def glue_key(sweep: str, label: str, kind: str = "") -> str:
    """The name under which a chapter glues a figure of one point; ``kind`` before the sweep, as ``out_``."""
    word = label.replace("-", "minus").replace(".", "p")
    return f"s_{kind}{sweep}_" + "".join(c if c.isalnum() else "_" for c in word)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """All sweeps as a table to be read, a row for each value, the case study's own first: what Case 4 changes, days
    with a violation, what was chosen."""
    own = rows[(rows["sweep"] == BASE) | rows["sweep"].isin([s.name for s in SWEEPS])]
    titles = {s.name: with_unit(s.title, s.unit) for s in SWEEPS} | {BASE: "the case study"}
    table = pd.DataFrame({"parameter": own["sweep"].map(titles), "value": own["label"].replace("", "its own")})
    for name, title, form in MEASURES:
        table[title] = [signed(v, form) if np.isfinite(v) else "–" for v in own[name]]
    hit = zip(own["c1_out_violation_days"], own["c4_out_violation_days"], strict=True)
    table["held-out days violated, Cases 1, 4 [%]"] = [
        f"{100 * a:.0f}, {100 * b:.0f}" if np.isfinite(b) else "–" for a, b in hit
    ]
    limits = own["c4_limits"].fillna("").astype(str).str.partition(":")[2].replace("", "no limit")
    refused = own["refused"].fillna("").astype(str)
    chosen = own["c4_tariff"].fillna("").astype(str) + ", " + limits
    unsolved = np.where(refused == "", "not solved", "refused")
    table["tariffs, head limit [kW]"] = np.where(own["change"].notna(), chosen, unsolved)
    return table


def signed(value: float, form: str = "{:+,.0f}") -> str:
    """A number with its sign; what rounds to nothing has a plus."""
    text = form.format(value)
    return text if text.strip("-+0.") else text.replace("-", "+")


def courses(rows: pd.DataFrame) -> pd.DataFrame:
    """From the first to the last solved value of each sweep whose values are numbers, as a table to be read."""
    found = []
    for sweep in SWEEPS:
        own = of_sweep(rows, sweep)
        if sweep.x is None or own["change"].notna().sum() < 2:
            continue
        told = course(rows, sweep)
        found.append(
            {
                "parameter": with_unit(sweep.title, sweep.unit),
                "from": told["first_label"],
                "to": told["last_label"],
                "the case study's": sweep.base,
                "scenarios [$/day]": f"{signed(told['first'])} to {signed(told['last'])}",
                "held out [$/day]": f"{signed(told['out_first'])} to {signed(told['out_last'])}",
                "on the scenarios it": told["word"],
            }
        )
    return pd.DataFrame(found)


OFFERED = {
    "tariff": "import tariffs [$/kWh]",
    "individual_peak": "charge on each prosumer's own peak [$/kW]",
    "coincident_peak": "charge on the common peak [$/kW]",
    "p2p": "P2P charge [$/kWh]",
    "capacity": "limits [kW], by line",
}


def menu_table(stored: Mapping[str, str]) -> pd.DataFrame:
    """What a point offers the DSO; what the ``stored`` points offered stands beside it where it was something else."""
    table = pd.DataFrame(
        {"offered": [OFFERED[key] for key in MENU], "levels": [levels_in_words(x) for x in MENU.values()]}
    )
    if dict(stored) == MENU:
        return table
    then = [levels_in_words(stored[key]) if key in stored else "not offered" for key in MENU]
    return table.assign(**{"levels of the stored sweeps": then})


def levels_in_words(text: str) -> str:
    """Levels as study.yaml has them, without its brackets."""
    return re.sub(r"\], *", "; ", text).translate(str.maketrans("_", "-", "[]{}"))


def model_in_words(origin: Mapping[str, Any], data: str) -> tuple[str, str]:
    """Which model stored sweeps carry, short for a caption and at length; ``data``: hash of the study as it is now."""
    if "model" in origin:
        return f"{str(origin['model']).partition(':')[0]} of the model", f"the model of the {origin['model']}"
    inputs = "this book's inputs" if origin["data_hash"] == data else "other inputs than this book's"
    return "today's model", f"today's model, on {inputs}"


def priced(rows: pd.DataFrame, price: float) -> pd.DataFrame:
    """Change of welfare if violations of all rows, or what the worst bus would shed, cost ``price`` $/kWh, $/day.

    Columns ``declared`` and ``shed``, and the same held out before ``out_`` (:eq:`eq-priced-change`).
    """
    more = {}
    for where, change in (("", "change"), ("out_", "out_change")):
        for name, kind in (("declared", "violation_kwh"), ("shed", "shed_kwh")):
            fewer = rows[f"c1_{where}{kind}"] - rows[f"c4_{where}{kind}"]
            more[f"{where}{name}"] = rows[change] + price * fewer
    return rows.assign(**more)


def agreement(fresh: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Fresh points beside the stored ones of the same value: changes of welfare against their own base, and whether
    both move the same way. Points without figures on either side are left out."""
    table = fresh.merge(stored, on=["sweep", "label"], suffixes=("", "_stored"))
    table = table[table["change"].notna() & table["change_stored"].notna()].copy()
    for end in ("", "_stored"):
        base = table.loc[table["sweep"] == BASE, f"change{end}"].iloc[0]
        table[f"moved{end}"] = table[f"change{end}"] - base
    table["same"] = [moved(0, a) == moved(0, b) for a, b in zip(table["moved"], table["moved_stored"], strict=True)]
    return table[table["sweep"] != BASE]


def write_stored(folder: Path, rows: pd.DataFrame, size: Size, data: str, load_scale: float) -> None:
    """Write sweeps.csv and sweeps.json: the rows, and where they come from."""
    write_csv(folder / "sweeps.csv", rows.drop(columns=["key", "executed"]), DIGITS)
    origin = {
        "command": "python data/results/sweeps.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "data_hash": data,
        "load_scale": load_scale,
        "size": {k: v for k, v in asdict(size).items() if k != "only"},
        "menu": dict(MENU),
        "cpu_seconds": round(float(rows["cpu_seconds"].sum())),
        "points": len(rows),
        "versions": versions(),
    }
    write_json(folder / "sweeps.json", origin)


def worths(results: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Social cost with one assumption changed at a time and the tariffs as they are, $/day, and what else was measured
    with it (``data/results/assumptions.py``); ``worth_usd``: what the change adds to Case 1 less the design."""
    table = pd.read_csv(results / "assumptions.csv").fillna({"setting": ""})
    gain = table["case1_usd"] - table["design_usd"]
    return table.assign(gain_usd=gain, worth_usd=gain - gain.iloc[0]), read_json(results / "assumptions.json")


def read_stored(folder: Path) -> tuple[pd.DataFrame, Mapping[str, object]]:
    """Rows and origin that :py:func:`write_stored` wrote. Raises InputError where a file is missing."""
    for name in ("sweeps.csv", "sweeps.json"):
        if not (folder / name).is_file():
            raise InputError(folder / name, "file", "is missing", "run python data/results/sweeps.py")
    rows = pd.read_csv(folder / "sweeps.csv", dtype={"label": str, "c4_limits": str, "refused": str})
    text = rows.select_dtypes(exclude="number").columns
    rows[text] = rows[text].fillna("")
    return rows.copy(), read_json(folder / "sweeps.json")
