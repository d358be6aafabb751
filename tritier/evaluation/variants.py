"""The electrified study in variants: the map of where coordination pays, its steps one by one, and one value at a time.

A variant is the study ieee33-2045 with some of its values changed: a setting of electrification and price regime, a
step at one end of that map, or a value of a sensitivity. Its cases are solved, certified and judged on held-out days,
and its judged days are stored, a file each; intervals and verdicts are computed when they are read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from tritier.cases.outcome import daily_table, physics_table
from tritier.cases.result import limit_in_words, solve_case
from tritier.cases.solve import Prepared, inputs_hash, judge_policies, prepare, refunded, split_changes
from tritier.errors import CertificateError, InputError, NoRecoveryError, SolverError
from tritier.evaluation.findings import BASE, JUDGED, by_policy, with_unit
from tritier.evaluation.inference import CONFIDENCE, clustered, holm
from tritier.inputs.documents import read_json
from tritier.inputs.scenarios import held_out_days
from tritier.inputs.settings import BLOCKS, read_settings
from tritier.inputs.study import placed, read_study
from tritier.model.dso import HARD, OWN
from tritier.provenance import DATA, commit, digest, versions, write_csv, write_json

# Where does coordination pay? Cases 1, 2 and 4 over electrification and price regime, each setting with a design of its
# own, judged on the real days of the half of the season that did not design. ``data/results/map/run.py`` stores a row
# for each setting, case, policy and day; intervals and verdicts are computed when they are read.
#
# Fixed before any result: the settings, preset and menu below, the quantities and policies of
# ``findings.JUDGED``, and the rule of the verdict. A change is *not resolved* where Holm's p
# over the settings of its quantity, policy and base case is above 5 %; else it *rises* or *falls* by its sign.

MAP_STUDY = DATA / "studies" / "ieee33-2045"
MAP_PRESET = "fast"
MAP_CASES = (1, 2, 4)
ELECTRIFICATION = (0.0, 1.0, 0.4, 0.6, 0.2, 0.8)  # a coarse map is done before a fine one
REGIMES = {
    "fixed": {"retail.kind": "fixed", "feed_in.kind": "fixed"},
    "spot-indexed": {"retail.kind": "spot_indexed", "feed_in.kind": "market_value"},
}
# Four scenarios were too few, seen when two settings had been judged: one typical day then carries 60 % of the
# probability, and its prices decide at which hour vehicles meet, so that the peak of the flat tariff falls as
# electrification rises.
MAP_SIZE = {  # fewer scenarios than the preset has, and of its menu the charges and limits without the energy steps
    "n_scenarios": 8,
    f"menus.{MAP_PRESET}.tariff": "{off_peak: [0.02], day: [0.02], peak: [0.02]}",
    f"menus.{MAP_PRESET}.individual_peak": "[0.0]",
    f"menus.{MAP_PRESET}.coincident_peak": "[0.0, 0.38, 0.763]",
    f"menus.{MAP_PRESET}.p2p": "[0.04]",
    f"menus.{MAP_PRESET}.capacity": "{1: [1700, 4700]}",
}
# What else of its preset decides a setting, as it stood when the first was stored: what differs from it since is in the
# key of a setting, so that all that were stored at these sizes stay.
PRESET_SIZES = {"n_prosumers": 14, "gap": 0.05, "days_used": 366, "seed": 2016}
AT = ["electrification", "prices"]  # what names a setting
PAIRED = ["base_mean", "change", "low", "high", "weeks", "days", "p_value"]


@dataclass(frozen=True)
class Setting:
    """One point of the map."""

    electrification: float
    prices: str

    @property
    def name(self) -> str:
        return f"e{round(100 * self.electrification):03d}-{self.prices}"

    @property
    def changes(self) -> dict[str, object]:
        """What is changed in the study."""
        return {**MAP_SIZE, **REGIMES[self.prices], "electrification": self.electrification}

    @property
    def cases(self) -> tuple[int, ...]:
        """The cases that are solved and judged."""
        return MAP_CASES

    @property
    def place(self) -> dict[str, object]:
        """Where it stands on the map."""
        return asdict(self)


SETTINGS = tuple(Setting(e, prices) for e in ELECTRIFICATION for prices in REGIMES)


class Variant(Protocol):
    """What is solved and judged on held-out days: a setting of the map, a step, or a value of a sensitivity."""

    @property
    def name(self) -> str:
        """Of its files."""

    @property
    def changes(self) -> dict[str, object]:
        """What is changed in the study and its preset."""

    @property
    def cases(self) -> tuple[int, ...]:
        """The cases that are solved and judged."""

    @property
    def place(self) -> dict[str, object]:
        """What names it among its kind."""


def map_key(setting: Variant, data: str) -> str:
    """Hash of what decides a setting's figures; ``data``: :func:`~tritier.cases.solve.inputs_hash` as it stands."""
    asked: list[object] = [data, MAP_PRESET, setting.cases, setting.changes]
    if other := other_sizes(setting):
        asked.append(other)
    return digest(json.dumps(asked, sort_keys=True))


def other_sizes(setting: Variant) -> dict[str, object]:
    """What the map's preset is today where a setting does not change it and it is not :data:`PRESET_SIZES`."""
    today = read_settings(MAP_STUDY / "study.yaml").preset(MAP_PRESET)
    own = {name: getattr(today, name) for name in PRESET_SIZES if name not in setting.changes}
    return {name: value for name, value in own.items() if value != PRESET_SIZES[name]}


def map_days(prepared: Prepared, numbers: Sequence[int] = MAP_CASES) -> tuple[pd.DataFrame, dict[str, object]]:
    """Cases solved, certified and judged on held-out days under their own policy and under hard-limit redispatch.

    Returns:
        One row per case, policy and day: ``findings.JUDGED``, social cost and the head's peak;
        and by case its design, its bounds where it has a menu, and its seconds.

    Raises CertificateError where a certificate fails, InputError where no design keeps the network's limits.
    """
    days, tables = held_out_days(prepared.study, prepared.preset, prepared.half), []
    about: dict[str, object] = {}
    for number in numbers:
        begin = time.perf_counter()
        solved = solve_case(prepared, number)
        solved.certificates()
        policies = (solved.case.policy, HARD)
        for policy, day in judge_policies(prepared, solved.case, solved.decisions, days, policies):
            table = refunded(prepared, daily_table(day, solved.decisions)).merge(physics_table(day), on="day")
            tables.append(table[["day", *JUDGED, "social_cost_usd", "peak_kw"]].assign(case=number, policy=policy))
        told: dict[str, object] = {"design": asdict(solved.design), "seconds": round(time.perf_counter() - begin, 1)}
        about[f"case_{number}"] = told | ({} if solved.bounds is None else {"bounds": asdict(solved.bounds)})
    return pd.concat(tables, ignore_index=True), about


def keep_setting(folder: Path, setting: Variant, data: str, daily: pd.DataFrame, about: Mapping[str, object]) -> None:
    """Write one setting: its judged days as CSV, and where they come from as JSON, last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / f"{setting.name}.csv", daily)
    origin = {
        "command": f"python data/results/{folder.name}/run.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "key": map_key(setting, data),
        "table": digest((folder / f"{setting.name}.csv").read_bytes()),
        "setting": setting.place,
        "changes": setting.changes,
        "versions": versions(),
    }
    write_json(folder / f"{setting.name}.json", origin | dict(about))


def setting_is_kept(folder: Path, setting: Variant, data: str) -> bool:
    """Whether a setting is stored for the present data, menu and size."""
    path = folder / f"{setting.name}.json"
    about = read_json(path) if path.is_file() else {}
    return about.get("key") == map_key(setting, data) and about.get("setting") == setting.place


def renew_all(folder: Path, settings: Sequence[Variant]) -> None:
    """Solve, judge and store the settings that are not stored yet, two at a time.

    Raises SolverError, a line for each, where settings fail; the others are stored.
    """
    data = inputs_hash(read_study(MAP_STUDY))
    tasks = (delayed(renew)(folder, setting, data) for setting in settings)
    if failures := [text for text in Parallel(n_jobs=2, batch_size=1, pre_dispatch=2)(tasks) if text]:
        raise SolverError("\n".join(failures))


def renew(folder: Path, setting: Variant, data: str) -> str:
    """Solve, judge and store a setting that is not stored yet; returns what went wrong, so that the others go on."""
    if setting_is_kept(folder, setting, data):
        return ""
    begin = time.perf_counter()
    print(f"{setting.name} begins", flush=True)
    try:
        daily, about = map_days(prepared_at(setting), setting.cases)
    except (InputError, CertificateError, SolverError, NoRecoveryError) as error:
        print(f"{setting.name}: {error}", flush=True)
        return f"{setting.name}: {error}"
    keep_setting(folder, setting, data, daily, about)
    print(f"{setting.name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return ""


def read_setting(folder: Path, setting: Variant) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """A stored setting. Raises InputError where it is missing, is another's (placements differ by their place alone),
    or its table is not the one that was written."""
    path, again = folder / f"{setting.name}.csv", f"run python data/results/{folder.name}/run.py"
    about = path.with_suffix(".json")
    if not about.is_file() or not path.is_file():
        raise InputError(path, "file", "is missing", again)
    origin = read_json(about)
    if digest(path.read_bytes()) != origin.get("table"):
        raise InputError(path, "table", f"is not the one that {about.name} speaks of", f"delete both, {again}")
    if origin.get("setting") != setting.place:
        raise InputError(about, "setting", f"is {origin.get('setting')}, not {setting.place}", f"delete both, {again}")
    daily = pd.read_csv(path)
    check_setting(path, daily, setting.cases)
    return daily.assign(**setting.place), origin


def check_setting(path: Path, daily: pd.DataFrame, cases: Sequence[int]) -> None:
    """What judged days of one setting have in common: the same days in every case and policy, and welfare and social
    cost that add up to the value of the day's consumption, whoever plays it.

    Raises InputError where they do not.
    """
    mend = f"delete it and run python data/results/{path.parent.name}/run.py"
    wide = daily.assign(value=daily["welfare_usd"] + daily["social_cost_usd"])
    wide = wide.pivot(index="day", columns=["case", "policy"], values="value")
    if set(wide.columns.get_level_values("case")) != set(cases) or wide.columns.size != 2 * len(cases):
        raise InputError(path, "column case", f"does not hold cases {cases} under two policies each", mend)
    if wide.isna().any(axis=None):
        raise InputError(path, "column day", "differs from case to case", mend)
    off = (wide.max(axis=1) - wide.min(axis=1)) / wide.abs().max(axis=1)
    if off.max() > 1e-7:
        raise InputError(path, "column welfare_usd", f"does not fit social cost on {off.idxmax()}", mend)


def stored_settings(folder: Path) -> tuple[Setting, ...]:
    """The settings that are stored, each electrification only with all price regimes: half a row compares nothing."""
    done = {s for s in SETTINGS if (folder / f"{s.name}.json").is_file()}
    return tuple(s for s in SETTINGS if all(Setting(s.electrification, prices) in done for prices in REGIMES))


def read_map(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The stored map: judged days of its settings, and a row for each setting of what the design gains in sample.

    Columns of the latter: ``design_gain`` and ``first_best_gain`` are what the design, and what any design at most,
    saves of the social cost under the flat tariff on the design scenarios, $/day; ``share`` is their ratio.
    """
    tables, rows = [], []
    for setting in stored_settings(folder) or SETTINGS:
        daily, origin = read_setting(folder, setting)
        tables.append(daily)
        case = origin["case_4"]
        rows.append(
            asdict(setting)
            | {key: case["bounds"][key] for key in ("flat", "upper_bound", "lower_bound", "first_best")}
            | {"coincident": case["design"]["coincident"], "tariff": max(case["design"]["tariff"])}
            | {"limit": dict(case["design"]["capacity"]).get(1, np.inf)}
            | {"seconds": sum(origin[f"case_{k}"]["seconds"] for k in MAP_CASES), "date": origin["date"]}
        )
    bounds = pd.DataFrame(rows)
    bounds["design_gain"] = bounds["flat"] - bounds["upper_bound"]
    bounds["first_best_gain"] = bounds["flat"] - bounds["first_best"]
    bounds["share"] = bounds["design_gain"] / bounds["first_best_gain"]
    return pd.concat(tables, ignore_index=True), bounds.sort_values(AT[::-1], ignore_index=True)


def map_rows(daily: pd.DataFrame) -> pd.DataFrame:
    """Change of Case 4 against Cases 1 and 2 in each setting, paired by day, with intervals clustered by week.

    One row per setting, base case, kind (own policy, or hard-limit redispatch in both) and quantity: mean of the base,
    change with its interval, Holm's p over the settings, and the word that follows (:func:`resolved`).
    """
    rows = []
    for place, own in daily.groupby(AT):
        for kind, wide, week in by_policy(own):
            for base in (1, 2):
                for quantity in JUDGED:
                    rows.append((*place, base, kind, quantity, *_paired(wide[quantity], 4, base, week)))
    found = _judged(rows, [*AT, "base", "kind", "quantity"], ["base", "kind", "quantity"])
    return found.sort_values(["prices", "electrification"], kind="stable", ignore_index=True)


def _paired(by_day: pd.DataFrame, now: int | str, was: int | str, week: np.ndarray) -> tuple[float, ...]:
    """Mean of a base, and the change against it, day by day, clustered by week: figures of :data:`PAIRED`."""
    base = by_day[was].to_numpy(dtype=float)
    step = clustered(by_day[now].to_numpy(dtype=float) - base, week)
    return base.mean(), step.mean, step.low, step.high, step.weeks, step.days, step.p_value


def _judged(rows: Sequence[tuple[object, ...]], names: list[str], family: list[str]) -> pd.DataFrame:
    """Rows of :func:`_paired` under their names, with Holm's p within each family of tests and the word for it."""
    found = pd.DataFrame(rows, columns=[*names, *PAIRED])
    found["p_value"] = found.groupby(family)["p_value"].transform(holm)
    found["word"] = [resolved(c, p) for c, p in zip(found["change"], found["p_value"], strict=True)]
    return found


def resolved(change: float, p_value: float) -> str:
    """What a test says of a change: it rises, it falls, or not resolved."""
    if p_value > 1 - CONFIDENCE:
        return "not resolved"
    return "rises" if change > 0 else "falls"


def of_map(rows: pd.DataFrame, quantity: str = "welfare_usd", kind: str = OWN, base: int = 1) -> pd.DataFrame:
    """Rows of one quantity, policy and base case, a setting each."""
    return rows[(rows["quantity"] == quantity) & (rows["kind"] == kind) & (rows["base"] == base)]


def map_table(rows: pd.DataFrame, bounds: pd.DataFrame) -> pd.DataFrame:
    """The map as a table to be read, a row for each setting, ``*`` behind changes that are not resolved."""
    told = bounds[AT].assign(electrification=bounds["electrification"].map("{:g}".format))
    told = told.rename(columns={"prices": "price regime"})
    columns = (
        ("welfare over Case 1 [$/day]", "welfare_usd", OWN, 1, 1, "{:+,.0f}"),
        ("over Case 2", "welfare_usd", OWN, 2, 1, "{:+,.0f}"),
        ("secured, over Case 1", "secured_welfare_usd", OWN, 1, 1, "{:+,.0f}"),
        ("secured, over Case 2", "secured_welfare_usd", OWN, 2, 1, "{:+,.0f}"),
        ("redispatch in both, over Case 1", "welfare_usd", HARD, 1, 1, "{:+,.0f}"),
        ("prosumer cost after refund [$/day]", "prosumer_cost_after_refund_usd", OWN, 1, 1, "{:+,.0f}"),
        ("losses (AC) [kWh/day]", "ac_losses_kwh", OWN, 1, 1, "{:+,.0f}"),
    )
    for title, quantity, kind, base, factor, form in columns:
        own = of_map(rows, quantity, kind, base)
        told[title] = [
            f"{form.format(factor * r.change)} ± {factor * (r.high - r.low) / 2:,.0f}"
            + ("*" if r.word == "not resolved" else "")
            for r in bounds[AT].merge(own, on=AT).itertuples()
        ]
    band = bounds[AT].merge(of_map(rows, "ac_violation_share"), on=AT)
    pairs = zip(100 * band["base_mean"], 100 * (band["base_mean"] + band["change"]), strict=True)
    told["bus-hours outside the band, Cases 1, 4 [%]"] = [f"{was:.2f}, {now:.2f}" for was, now in pairs]
    return told


def map_answer(folder: Path) -> str:
    """The map in brief, as Markdown: gains of welfare over Case 1 with their intervals, by electrification."""
    rows = map_rows(read_map(folder)[0])
    regimes = list(REGIMES)
    lines = ["| electrification | " + " | ".join(f"{regime} prices" for regime in regimes) + " |", "|---" * 3 + "|"]
    for e in sorted(set(rows["electrification"])):
        cells = []
        for regime in regimes:
            own, same = (of_map(rows, kind=kind).set_index(AT).loc[(e, regime)] for kind in (OWN, HARD))
            unsure = ", not resolved" if "not resolved" in (own["word"], same["word"]) else ""
            cells.append(
                f"{own['change']:+,.0f} ({own['low']:+,.0f} to {own['high']:+,.0f}); "
                f"{same['change']:+,.0f} ({same['low']:+,.0f} to {same['high']:+,.0f}){unsure}"
            )
        lines.append(f"| {e:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


MAP_COMPARED = (  # what is said of welfare, in words: quantity, kind, base case
    ("welfare_usd", OWN, 1),
    ("secured_welfare_usd", OWN, 1),
    ("welfare_usd", HARD, 1),
    ("welfare_usd", OWN, 2),
)


# What does what? At two ends of the map, the cases one after the other, and Case 4 with one instrument at a time, each
# recovering the same cost, at the size and on the days of the map. ``data/results/steps/run.py`` stores a step's judged
# days. Fixed before any result: the steps and menus below; the base, Case 1; and the map's rule of the verdict, Holm's
# correction over the steps of a setting. With 9 cents in every hour an energy charge recovers the cost on its own.

LOW, EVEN, STEPPED = ([0.02], [0.02], [0.02]), ([0.09], [0.09], [0.09]), ([0.02, 0.05], [0.05, 0.08], [0.08, 0.14, 0.2])
FREE, LIMITED = [4700], [1700, 4700]  # levels of the head's limit, kW: the larger one never binds


def menu_of(
    tariff: Sequence[Sequence[float]],
    individual: Sequence[float] = (0.0,),
    coincident: Sequence[float] = (0.0,),
    head: Sequence[int] = FREE,
) -> dict[str, object]:
    """A menu as changes of the study: import charges of three blocks, $/kWh, peak charges, $/kW, head limits, kW."""
    blocks = ", ".join(f"{b}: {list(v)}" for b, v in zip(BLOCKS, tariff, strict=True))
    return {
        f"menus.{MAP_PRESET}.tariff": f"{{{blocks}}}",
        f"menus.{MAP_PRESET}.individual_peak": str(list(individual)),
        f"menus.{MAP_PRESET}.coincident_peak": str(list(coincident)),
        f"menus.{MAP_PRESET}.capacity": f"{{1: {list(head)}}}",
    }


TOGETHER = menu_of(([0.02], [0.02, 0.05], [0.02, 0.08]), (0.0, 0.1), (0.0, 0.38, 0.763), LIMITED)
STEPS: dict[str, tuple[str, int, dict[str, object]]] = {  # key: title, case, changes beyond the setting's
    "passive": ("Case 0: nothing moves", 0, {}),
    "flexible": ("Case 1: own flexibility, flat tariff", 1, {}),
    "market": ("Case 2: and P2P trade", 2, {}),
    "network": ("and the network seen, flat tariff", 4, menu_of(LOW)),
    "limit": ("a limit of the head alone", 4, menu_of(EVEN, head=LIMITED)),
    "blocks": ("energy charges by block alone", 4, menu_of(STEPPED)),
    "individual": ("the individual peak charge alone", 4, menu_of(([0.02], [0.02, 0.05], [0.02, 0.05]), (0.2, 0.4))),
    "coincident": ("the coincident peak charge alone", 4, menu_of(LOW, coincident=(0.38, 0.763))),
    "all": ("Case 4: all together", 4, TOGETHER),
    "forecast": ("Case 3: all, but designed on the forecast", 3, TOGETHER),
    "neutral": ("all, prosumers without risk aversion", 4, TOGETHER | {"risk.beta": 0.0}),
    "no-fixed": ("all, without a fixed part", 4, TOGETHER | {"fixed_share": 0.0}),
}
STEP_BASE = "flexible"


@dataclass(frozen=True)
class Step:
    """One step at one end of the map."""

    setting: Setting
    key: str

    @property
    def name(self) -> str:
        return f"{self.setting.name}-{self.key}"

    @property
    def changes(self) -> dict[str, object]:
        """What is changed in the study."""
        return self.setting.changes | STEPS[self.key][2]

    @property
    def cases(self) -> tuple[int, ...]:
        """The case that is solved and judged."""
        return (STEPS[self.key][1],)

    @property
    def place(self) -> dict[str, object]:
        """Where it stands on the map, and which step it is."""
        return asdict(self.setting) | {"step": self.key}


STEP_SETTINGS = (Setting(1.0, "spot-indexed"), Setting(0.0, "fixed"))
ALL_STEPS = tuple(Step(setting, key) for setting in STEP_SETTINGS for key in STEPS)


def read_steps(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judged days of the steps that are stored, and a row for each of its design; an end without its base is left out.

    Raises InputError where no base is stored.
    """
    tables, rows = [], []
    ends = [s for s in STEP_SETTINGS if (folder / f"{Step(s, STEP_BASE).name}.json").is_file()] or STEP_SETTINGS
    for step in (Step(setting, key) for setting in ends for key in STEPS):
        if step.key != STEP_BASE and not (folder / f"{step.name}.json").is_file():
            continue
        daily, origin = read_setting(folder, step)
        tables.append(daily)
        case = origin[f"case_{step.cases[0]}"]
        rows.append(step.place | {"title": STEPS[step.key][0], "seconds": case["seconds"]} | case["design"])
    return pd.concat(tables, ignore_index=True), pd.DataFrame(rows)


def step_table(designs: pd.DataFrame) -> pd.DataFrame:
    """What each stored step posts, to be read: energy charges off-peak, by day and at the peak, the other charges, and
    the head's limit. The steps are those of :func:`read_steps`."""
    limits = [dict(capacity).get(1, max(LIMITED)) for capacity in designs["capacity"]]
    told = {
        "electrification": [f"{e:g}" for e in designs["electrification"]],
        "step": designs["title"],
        "energy charge [$/kWh]": [" / ".join(f"{c:.3g}" for c in tariff) for tariff in designs["tariff"]],
        "P2P charge [$/kWh]": [f"{c:.3g}" for c in designs["p2p"]],
        "individual peak charge [$/kW]": [f"{c:g}" for c in designs["peak"]],
        "coincident peak charge [$/kW]": [f"{c:g}" for c in designs["coincident"]],
        "head limit [kW]": [limit_in_words(limit, LIMITED) for limit in limits],
    }
    return pd.DataFrame(told)


def same_design(designs: pd.DataFrame, electrification: float, one: str, other: str) -> bool:
    """Whether two steps at one end of the map chose the same charges and the same limit."""
    end = designs[designs["electrification"] == electrification].set_index("step")
    parts = ["tariff", "p2p", "capacity", "peak", "coincident"]
    return end.loc[one, parts].to_dict() == end.loc[other, parts].to_dict()


def step_rows(daily: pd.DataFrame) -> pd.DataFrame:
    """Change of each step against Case 1 at the same end of the map, paired by day, intervals clustered by week.

    One row per setting, step, kind (own policy, or hard-limit redispatch in both) and quantity, as :func:`map_rows`.
    """
    rows = []
    for place, end in daily.groupby(AT):
        known = set(end["step"])
        for kind, wide, week in by_policy(end, "step"):
            for key in (k for k in STEPS if k in known and k != STEP_BASE):
                for quantity in JUDGED:
                    figures = _paired(wide[quantity], key, STEP_BASE, week)
                    rows.append((*place, key, STEPS[key][0], kind, quantity, *figures))
    return _judged(rows, [*AT, "step", "title", "kind", "quantity"], [*AT, "kind", "quantity"])


# What moves the electrified gain? One value of the study ieee33-2045 at a time, at the map's size, menu and days and
# against the map's own point; Case 4 chooses anew each time. ``data/results/sensitivities/run.py`` stores a value's
# judged days. Fixed before any result: the values below, the measures of ``findings.JUDGED``, and the map's rule of the
# verdict, Holm's correction over the values. A placement draws the buses of all prosumers anew.

BASE_SETTING = Setting(1.0, "spot-indexed")
SENSITIVITY_CASES = (1, 4)
PLACEMENTS = 10


def tried(key: str, *values: float) -> dict[str, dict[str, object]]:
    """Values of one numeric key, by label."""
    return {f"{v:g}": {key: v} for v in values}


@dataclass(frozen=True)
class Parameter:
    """A parameter of the electrified study: what it is, its unit, its value there, and what is tried."""

    title: str
    unit: str
    base: str
    values: Mapping[str, Mapping[str, object]]  # by label, changes of study.yaml and preset


PARAMETERS: dict[str, Parameter] = {
    "vehicles": Parameter("electric vehicles", "times those of 2045", "1", tried("vehicles.scale", 0.5, 1.25)),
    "delay": Parameter("hours that a vehicle may wait", "h", "8", tried("vehicles.delay_h", 2, 12)),
    "peak-charge": Parameter(
        "coincident peak charge offered",
        "$/kW",
        "0, 0.38 or 0.763",
        {f"{c:g}": {f"menus.{MAP_PRESET}.coincident_peak": f"[{c}]"} for c in (0.0, 0.19, 0.763)},
    ),
    "fixed-share": Parameter("largest fixed part", "share of cost", "0.5", tried("fixed_share", 0.25, 0.75)),
    "elasticity": Parameter("demand elasticity", "-", "-0.1", tried("demand.elasticity", -0.3, -0.02)),
    "beta": Parameter("weight of CVaR, all prosumers", "-", "0.3 to 0.7, their own", tried("risk.beta", 0.1, 0.9)),
    "chance": Parameter("chance level", "-", "0.05", tried("chance_level", 0.01, 0.2)),
    "substation": Parameter("substation voltage", "p.u.", "1", tried("substation_voltage_pu", 1.01, 1.02)),
    "violation": Parameter("price of a violation", "times all-in", "10", tried("violation_price_factor", 3.0, 30.0)),
    "pv": Parameter("PV power", "times today's", "2.2", tried("renewables.pv_scale", 1.1, 3.3)),
    "battery": Parameter("batteries", "times today's", "3.3", tried("batteries.scale", 1.0, 6.6)),
    "taxes": Parameter("taxes in the retail price", "share", "0.7175", tried("tax_share", 0.35, 0.9)),
    "feed-in": Parameter("feed-in price", "", "market value", {"fixed, 0.1412 $/kWh": {"feed_in.kind": "fixed"}}),
    "demand-charge": Parameter("upstream demand charge", "$/kW-day", "0.763", tried("demand_charge_usd_per_kw", 0.251)),
    "placement": Parameter(
        "placement of prosumers", "draw", "the study's own", {str(k): {} for k in range(1, PLACEMENTS + 1)}
    ),
}


@dataclass(frozen=True)
class Sensitivity:
    """One value of one parameter of the electrified study."""

    parameter: str
    label: str

    @property
    def name(self) -> str:
        return f"{self.parameter}-{self.label.partition(',')[0].replace('-', 'minus').replace('.', 'p')}"

    @property
    def changes(self) -> dict[str, object]:
        """What is changed in the study beyond a placement."""
        return BASE_SETTING.changes | dict(PARAMETERS[self.parameter].values[self.label])

    @property
    def cases(self) -> tuple[int, ...]:
        """The cases that are solved and judged."""
        return SENSITIVITY_CASES

    @property
    def place(self) -> dict[str, object]:
        """Which value it is."""
        return asdict(self)


SENSITIVITIES = tuple(Sensitivity(key, label) for key, parameter in PARAMETERS.items() for label in parameter.values)


def prepared_at(setting: Variant) -> Prepared:
    """The study as a setting, step or sensitivity has it."""
    study_changes, preset_changes = split_changes(setting.changes)
    study = read_study(MAP_STUDY, study_changes)
    if isinstance(setting, Sensitivity) and setting.parameter == "placement":
        study = placed(study, int(setting.label))
    return prepare(study, MAP_PRESET, preset_changes)


def read_sensitivities(folder: Path, base: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judged days of the values that are stored, with those of the map's point (``base``: the map's folder) under the
    parameter ``BASE``; and a row for the design of each.

    Raises InputError where the map's point is missing, or no value is stored.
    """
    daily, origin = read_setting(base, BASE_SETTING)
    own = {"parameter": BASE, "label": ""}
    tables = [daily[daily["case"].isin(SENSITIVITY_CASES)].assign(**own)]
    rows = [own | {"seconds": origin["case_4"]["seconds"]} | origin["case_4"]["design"]]
    stored_ones = [s for s in SENSITIVITIES if (folder / f"{s.name}.json").is_file()] or SENSITIVITIES[:1]
    for value in stored_ones:
        daily, origin = read_setting(folder, value)
        tables.append(daily)
        rows.append(value.place | {"seconds": origin["case_4"]["seconds"]} | origin["case_4"]["design"])
    return pd.concat(tables, ignore_index=True), pd.DataFrame(rows)


def sensitivity_rows(daily: pd.DataFrame) -> pd.DataFrame:
    """Change of Case 4 against Case 1 at each value, paired by day, with intervals clustered by week.

    One row per parameter, label, kind and quantity, as :func:`map_rows`; besides, ``moved`` with ``moved_low`` and
    ``moved_high`` is how far that change lies from the base's on the same days, and ``moved_word`` what the test says.
    """
    rows: list[tuple[Any, ...]] = []
    steps, at = [], ["parameter", "label"]
    base = {kind: wide for kind, wide, _ in by_policy(daily[daily["parameter"] == BASE])}
    for place, own in daily.groupby(at, sort=False):
        for kind, wide, week in by_policy(own):
            for quantity in JUDGED:
                rows.append((*place, kind, quantity, *_paired(wide[quantity], 4, 1, week)))
                gain = wide[quantity][4] - wide[quantity][1]
                gap = clustered(
                    (gain - (base[kind][quantity][4] - base[kind][quantity][1])).to_numpy(dtype=float), week
                )
                steps.append((gap.mean, gap.low, gap.high, gap.p_value))
    family = ["kind", "quantity"]
    found = _judged(rows, [*at, "kind", "quantity"], family)
    found[["moved", "moved_low", "moved_high", "moved_p"]] = np.array(steps)
    other = found["parameter"] != BASE
    found.loc[other, "moved_p"] = found[other].groupby(family)["moved_p"].transform(holm)
    words = [resolved(c, p) for c, p in zip(found["moved"], found["moved_p"], strict=True)]
    return found.assign(moved_word=np.where(other, words, ""))


def span_in_words(changes: pd.Series) -> str:
    """From the least to the largest of some changes, $/day, or that there is none."""
    return "no figure yet" if changes.empty else f"{changes.min():+,.0f} to {changes.max():+,.0f} $ a day"


def sensitivity_table(rows: pd.DataFrame, designs: pd.DataFrame) -> pd.DataFrame:
    """The sensitivities as a table to be read, a row for each value, the study's own first: gains of Case 4 with half
    widths of their intervals, ``*`` where not resolved from zero, and a dagger where their difference from the study's
    own value is not; and what the DSO chose."""
    columns = (
        ("welfare [$/day]", "welfare_usd", OWN, "{:+,.0f}"),
        ("redispatch in both [$/day]", "welfare_usd", HARD, "{:+,.0f}"),
        ("prosumer cost after refund [$/day]", "prosumer_cost_after_refund_usd", OWN, "{:+,.0f}"),
        ("losses (AC) [kWh/day]", "ac_losses_kwh", OWN, "{:+,.0f}"),
    )
    at = ["parameter", "label"]
    told = rows[at].drop_duplicates(ignore_index=True)
    for title, quantity, kind, form in columns:
        own = told.merge(rows[(rows["quantity"] == quantity) & (rows["kind"] == kind)], on=at, how="left")
        marks = (own["word"] == "not resolved").map({True: "*", False: ""})
        marks += (own["moved_word"] == "not resolved").map({True: "\N{DAGGER}", False: ""})
        half = (own["high"] - own["low"]) / 2
        figures = zip(own["change"], half, marks, strict=True)
        told[title] = [f"{form.format(c)} ± {h:,.0f}{mark}" for c, h, mark in figures]
    chosen = told[at].merge(designs, on=at, how="left")
    told["coincident peak charge [$/kW]"] = [f"{c:g}" for c in chosen["coincident"]]
    titles = {key: with_unit(parameter.title, parameter.unit) for key, parameter in PARAMETERS.items()}
    told.insert(0, "value moved", [titles.get(key, "none: the study's own") for key in told["parameter"]])
    return told.drop(columns="parameter").rename(columns={"label": "value"}).replace({"value": {"": "all"}})


def not_stored(designs: pd.DataFrame) -> str:
    """The planned values that are not among those stored, in words, by parameter."""
    known = set(zip(designs["parameter"], designs["label"], strict=True))
    missing: dict[str, list[str]] = {}
    for value in SENSITIVITIES:
        if (value.parameter, value.label) not in known:
            missing.setdefault(PARAMETERS[value.parameter].title, []).append(value.label)
    return "; ".join(f"{title} {', '.join(labels)}" for title, labels in missing.items()) or "none"
