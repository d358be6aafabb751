"""A solved case on days it has not seen: held-out tables by policy and day, agent, prosumer and hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.cases.cases import CASES
from tritier.cases.certificate import DesignProof, check_judged, require, stored_lp
from tritier.cases.decisions import Decisions
from tritier.cases.outcome import (
    BAND_TOLERANCE,
    band_depth,
    daily_table,
    imbalance,
    physics_table,
    private_costs,
    settlement_of,
)
from tritier.cases.recourse import DayDecisions
from tritier.cases.result import FOLDER as STORED_CASES
from tritier.cases.result import Result, check_figures, made_from, read_made, read_or_solve, stored
from tritier.cases.solve import Prepared, baseline, fixed_cost, judge_policies, prosumer_bill_share, refunded
from tritier.cases.store import mark_of, stored_bounds
from tritier.errors import InputError
from tritier.inputs.documents import read_json
from tritier.inputs.instance import Days
from tritier.inputs.scenarios import (
    design_days,
    held_out_days,
    keep_prosumers,
    make_days,
    other_days,
    resampled_days,
    season_days,
)
from tritier.inputs.settings import PRESETS
from tritier.inputs.study import Study
from tritier.model.acflow import ac_power_flow
from tritier.model.network import lindistflow
from tritier.model.prosumer import daily, in_all_scenarios
from tritier.provenance import DATA, commit, digest, versions, write_csv, write_json
from tritier.reformulation.joint import JointLP
from tritier.search.responses import both_readings

DAY_SETS = ("held-out", "design", "scenarios", "resampled", "season", "other-weekdays", "weekends")
STUDY = DATA / "studies" / "ieee33"  # the book's
JUDGE_AGAIN = "run tritier evaluate again"
PHYSICAL = (  # columns of judged days that physical_figures reads
    *("probability", "ac_violation_share", "ac_overload_share", "ac_losses_kwh"),
    *("lindistflow_max_error_pu", "lindistflow_violation_share"),
)
CHAPTERS = {0: "11-case-0", 1: "12-case-1", 2: "13-case-2", 3: "14-case-3", 4: "15-case-4"}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One case on a set of days under its recourse policies. Money in $ per day.

    ``daily``: one row per policy and day, economics and physics. ``violations``: one row per policy and network model.
    ``agents``: what each agent is left with under the headline policy, mean over days; they sum to welfare up to a
    constant.
    ``prosumers``: cost of each prosumer, mean over days. ``hours``: means by hour.
    """

    daily: pd.DataFrame
    violations: pd.DataFrame
    agents: pd.DataFrame
    prosumers: pd.DataFrame
    hours: pd.DataFrame

    def write(self, folder: Path) -> None:
        """One CSV file per table."""
        folder.mkdir(parents=True, exist_ok=True)
        for f in fields(self):
            write_csv(folder / f"{f.name}.csv", getattr(self, f.name))

    @classmethod
    def read(cls, folder: Path) -> HeldOut:
        """Tables that ``write`` wrote."""
        return cls(*(pd.read_csv(folder / f"{f.name}.csv") for f in fields(cls)))


def judged(prepared: Prepared, number: int, decisions: Decisions, days: Days) -> dict[str, DayDecisions]:
    """A case's days under each of its policies, by policy."""
    case = CASES[number]
    return dict(judge_policies(prepared, case, decisions, days, case.policies))


def find(prepared: Prepared, number: int, decisions: Decisions, judgements: Mapping[str, DayDecisions]) -> HeldOut:
    """All tables of a case from its judged days."""
    headline = judgements[CASES[number].policy]
    daily, violations = [], []
    for policy, day in judgements.items():
        table = refunded(prepared, daily_table(day, decisions)).merge(physics_table(day), on="day")
        daily.append(table.assign(case=number, policy=policy))
        p = day.instance.days.probability
        for model, depth in band_depths(day).items():
            violations.append({"case": number, "policy": policy, "model": model} | violation_shares(depth, p))
    return HeldOut(
        pd.concat(daily, ignore_index=True),
        pd.DataFrame(violations),
        agent_gains(prepared, headline, decisions).assign(case=number),
        prosumer_costs(headline, decisions).assign(case=number),
        hourly_means(headline, decisions).assign(case=number),
    )


def band_depths(day: DayDecisions) -> dict[str, np.ndarray]:
    """Voltage beyond the band by bus-hour and day, p.u., (N - 1, T, W), in AC and in LinDistFlow; slack left out.

    ``promised`` is LinDistFlow against the band tightened by the margin: what chance blocks bound.
    """
    instance, load, reactive = day.instance, day.net_load, day.instance.days.reactive_kvar
    ac = ac_power_flow(instance.feeder, load, reactive).v_pu
    linear = np.sqrt(lindistflow(instance.feeder).squared_voltages(load, reactive))
    tight = linear - instance.rules.voltage_margin * (linear < instance.feeder.v_slack)
    found = {"promised": tight, "LinDistFlow": linear, "AC": ac}
    return {model: band_depth(instance, v)[1:] for model, v in found.items()}


def violation_shares(depth: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Largest bus-hour, mean of bus-hours, days with any (share and number) and depth, from (N - 1, T, W) in p.u."""
    hit = depth > BAND_TOLERANCE
    any_bus = hit.any(axis=(0, 1))
    return {
        "largest_share": float((hit @ probability).max()),
        "mean_share": float((hit @ probability).mean()),
        "day_share": float(any_bus @ probability),
        "days_hit": int(any_bus.sum()),
        "days": int(probability.size),
        "depth_pu": float(depth.max()),
    }


def agent_gains(prepared: Prepared, day: DayDecisions, decisions: Decisions) -> pd.DataFrame:
    """What each agent is left with, $ per day, before and after refunds; prosumers after wear and lost comfort.

    Upstream suppliers, who are paid what they supply, stay out: the sum is minus social cost, less the fixed cost.
    """
    p = day.instance.days.probability
    fixed = fixed_cost(prepared, forecast=False)
    accounts = {a: float(x @ p) for a, x in settlement_of(day, decisions).accounts(fixed).items()}
    accounts["prosumers"] -= sum(float(cost.sum(axis=0) @ p) for cost in private_costs(day).values())
    share, back = prosumer_bill_share(prepared), accounts["DSO"] + accounts["platform"]
    refund = {"prosumers": share * back, "passive loads": (1 - share) * back}
    refund |= {"DSO": -accounts["DSO"], "platform": -accounts["platform"]}
    rows = [(a, x, x + refund.get(a, 0.0)) for a, x in accounts.items() if a != "upstream"]
    return pd.DataFrame(rows, columns=["agent", "before_refund_usd", "after_refund_usd"])


def prosumer_costs(day: DayDecisions, decisions: Decisions) -> pd.DataFrame:
    """Cost of each prosumer before refunds, by kind, $ per day, mean over days."""
    p, money = day.instance.days.probability, settlement_of(day, decisions)
    table = pd.DataFrame({"prosumer": [x.name for x in day.instance.prosumers]})
    table["bus"] = [x.bus for x in day.instance.prosumers]
    charge, traded = (np.broadcast_to(daily(x), money.retail.shape) @ p for x in (money.p2p_charge, money.p2p))
    table["retail_usd"], table["network_usd"] = money.retail @ p, money.network @ p + charge
    table["fixed_usd"] = money.fixed[:-1]
    table["p2p_usd"], table["congestion_usd"] = traded, money.congestion @ p
    table["wear_and_comfort_usd"] = sum(private_costs(day).values()) @ p
    return table.assign(cost_usd=table.drop(columns=["prosumer", "bus"]).sum(axis=1))


def hourly_means(day: DayDecisions, decisions: Decisions) -> pd.DataFrame:
    """Means over days by hour: head flow, imports, exports and battery power of all prosumers, P2P volume, kW."""
    p = day.instance.days.probability
    total = {name: day[name].sum(axis=0) @ p for name in ("gp", "gm", "cu", "ch", "dis")}
    return pd.DataFrame(
        {
            "hour": np.arange(day.instance.days.n_hours),
            "head_kw": day.net_load.sum(axis=0) @ p,
            "import_kw": total["gp"],
            "export_kw": total["gm"],
            "exchange_kw": np.minimum(day["gp"].sum(axis=0), day["gm"].sum(axis=0)) @ p,
            "curtailed_kw": total["cu"],
            "charge_kw": total["ch"],
            "discharge_kw": total["dis"],
            "p2p_kw": np.broadcast_to(in_all_scenarios(day["zs"]), day["gp"].shape).sum(axis=0) @ p,
            "p2p_price": decisions["lambda"] if day.price is None else day.price @ p,
        }
    )


def lowest_voltage(day: DayDecisions) -> np.ndarray:
    """Lowest AC voltage of the feeder by hour and day, p.u., (T, W)."""
    return ac_power_flow(day.instance.feeder, day.net_load, day.instance.days.reactive_kvar).v_pu.min(axis=0)


def worst_hour(day: DayDecisions) -> tuple[int, int]:
    """(hour, position of the day) at which the lowest AC voltage of all judged days occurs."""
    lowest = lowest_voltage(day)
    hour, position = np.unravel_index(int(lowest.argmin()), lowest.shape)
    return int(hour), int(position)


def undelivered_share(day: DayDecisions) -> np.ndarray:
    """Share of each day's P2P sales that their sellers had to import at that hour, (W,): trades stand, sun may not; by
    scenario, what is resold."""
    sold, imported = sold_and_imported(day.arrays)
    return imported / np.maximum(1e-9, sold)


def sold_and_imported(made: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """P2P sales of each day, and what of them the sellers import in the same hour, kWh, (W,) each."""
    sold = np.broadcast_to(in_all_scenarios(made["zs"]), made["gp"].shape)
    return sold.sum(axis=(0, 1)), np.minimum(sold, made["gp"]).sum(axis=(0, 1))


def of_case(results: Path, prepared: Prepared, number: int, days: Days) -> HeldOut:
    """Held-out tables of a case: read where its chapter has kept them for these data and parameters, else made here.

    ``results``: the preset's folder of all chapters' results.
    """
    folder = results_folder(results / CHAPTERS[number], prepared)
    if made_from(folder / "case", prepared):
        return HeldOut.read(folder)
    made = fresh(prepared, number).decisions
    return find(prepared, number, made, judged(prepared, number, made, days))


def decisions(results: Path, prepared: Prepared, number: int) -> Decisions:
    """Decisions of a case: read where its chapter has kept them for these data and parameters, else solved here."""
    folder = results_folder(results / CHAPTERS[number], prepared) / "case"
    return read_made(folder, prepared).decisions if made_from(folder, prepared) else fresh(prepared, number).decisions


def design(results: Path, prepared: Prepared, number: int) -> DesignProof | None:
    """Bounds on a design: read where its chapter has kept them for these data and parameters, else proved here."""
    folder = results_folder(results / CHAPTERS[number], prepared) / "case"
    return stored_bounds(folder, CASES[number]) if made_from(folder, prepared) else fresh(prepared, number).bounds


@lru_cache(maxsize=8)
def fresh(prepared: Prepared, number: int) -> Result:
    """A case as it is stored with the data, else solved in this process, certified once."""
    result = read_or_solve(prepared, number)
    result.certify()
    return result


def calibrated(prepared: Prepared) -> dict[str, float]:
    """Prosumer cost and welfare of Case 1 on the days it is calibrated on, $ per day, by quantity."""
    cost, social, reference = baseline(prepared)
    return {"prosumer_cost_usd": cost, "welfare_usd": prepared.instance.rules.reference_value * reference - social}


def of_the_book(study: Study) -> bool:
    """Whether a study is the one that the chapters' prose and expectations speak of."""
    return study.folder.resolve() == STUDY.resolve()


def results_folder(results: Path, prepared: Prepared) -> Path:
    """Where a chapter keeps its results: a folder of its own for changed parameters and for another study than the
    book's, so that the book's stay."""
    other = [] if of_the_book(prepared.study) else [f"study={prepared.study.data_hash[:12]}"]
    changed = "-".join(other + [f"{key}={value}" for key, value in sorted(prepared.changes.items())])
    return results / changed if changed else results


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A design judged on a set of days: figures of its headline policy, of every policy, and a row a policy and day."""

    headline: dict[str, float | int | str]
    policies: dict[str, dict[str, float | int]]
    table: pd.DataFrame
    decisions: str  # mark of the decisions that were judged

    @property
    def physics(self) -> dict[str, Any]:
        """What physics.json holds."""
        return self.headline | {"decisions": self.decisions, "policies": self.policies}

    def write(self, folder: str | Path) -> None:
        """Write physics.json and evaluation.csv beside a stored result, each whole."""
        folder = Path(folder)
        write_json(folder / "physics.json", self.physics)
        write_csv(folder / "evaluation.csv", self.table, digits=None)


def evaluate(
    result: Result, days: str = "held-out", jobs: int = 1, progress: Callable[[str], None] | None = None
) -> Evaluation:
    """Certify a result, then judge its design on a set of days under every recourse policy, by AC power flow.

    days: ``held-out`` (real days that the design has not seen), ``design`` (real days of its half of the season),
    ``scenarios``, ``resampled``, ``season``, ``other-weekdays`` or ``weekends`` (outside the season); jobs: processes
    that share the rows of the proof; progress: is given a line at each step.

    Days are checked as those of the design are (:func:`tritier.cases.certificate.check_judged`): without the LP that
    made them, agent by agent at the day's prices, and for society.

    Raises InputError for an unknown set of days, CertificateError where a certificate or a day fails.
    """
    find_day_set(days)
    result.certify(jobs, progress)
    chosen, tables = find_days(result.prepared, days), []
    policies = result.case.policies
    for policy, judged in judge_policies(result.prepared, result.case, result.decisions, chosen, policies):
        economics, physics = daily_table(judged, result.decisions), physics_table(judged)
        require("money.imbalance_usd", imbalance(settlement_of(judged, result.decisions), 0.0), 1e-3)
        check_judged(judged, result.decisions)
        tables.append(economics.merge(physics, on="day").assign(policy=policy))
        if progress is not None:
            progress(f"{chosen.n_days} {days} days judged under {policy}")
    return evaluation_of(result, days, pd.concat(tables, ignore_index=True))


def evaluation_of(result: Result, days: str, table: pd.DataFrame) -> Evaluation:
    """The figures of a result's judged days, from a row a policy and day."""
    level, case = result.prepared.instance.rules.chance_level, result.case
    figures = {policy: physical_figures(table[table["policy"] == policy], level) for policy in case.policies}
    headline = figures[case.policy] | {"policy": case.policy, "day_set": days}
    return Evaluation(headline, figures, table, mark_of(result.decisions))


def check_evaluation(folder: Path, result: Result) -> None:
    """Compare physics.json with the judged days of evaluation.csv, and with the decisions of the result that both lie
    beside; nothing where neither is there. The days are not judged again: ``tritier evaluate`` does that.

    Raises InputError where one of them is missing or damaged, CertificateError where it is of other decisions or days.
    """
    path, days = folder / "physics.json", folder / "evaluation.csv"
    if not path.exists() and not days.exists():
        return
    for file in (path, days):
        if not file.is_file():
            raise InputError(file, "file", "is missing", JUDGE_AGAIN)
    told = read_json(path, JUDGE_AGAIN)
    if told.get("day_set") not in DAY_SETS or not isinstance(told.get("decisions"), str):
        raise InputError(path, "day_set, decisions", "are missing or unknown", JUDGE_AGAIN)
    again = evaluation_of(result, told["day_set"], read_judged(days, result.case.policies)).physics
    check_figures(path, "physics", told, again, JUDGE_AGAIN)


def read_judged(path: Path, policies: Iterable[str]) -> pd.DataFrame:
    """evaluation.csv. Raises InputError where it lacks a policy or a column of :data:`PHYSICAL`, or holds no number."""
    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise InputError(path, "file", "is no table", JUDGE_AGAIN) from error
    for name in ("policy", *PHYSICAL):
        if name not in table or (name in PHYSICAL and table[name].dtype.kind not in "if"):
            raise InputError(path, f"column {name}", "is missing or holds what is no number", JUDGE_AGAIN)
    if missing := [policy for policy in policies if policy not in set(table["policy"])]:
        raise InputError(path, "column policy", f"does not name {missing[0]}", JUDGE_AGAIN)
    return table


def physical_figures(physics: pd.DataFrame, chance_level: float) -> dict[str, float | int]:
    """Violations, losses and the largest LinDistFlow error of judged days, means weighed by probability."""
    p = physics["probability"]  # equal on real days, unequal on scenarios
    return {
        "violation_share": float(physics["ac_violation_share"] @ p),
        "violation_days_share": float((physics["ac_violation_share"] > 0) @ p),
        "overload_share": float(physics["ac_overload_share"] @ p),
        "losses_kwh": float(physics["ac_losses_kwh"] @ p),
        "days": len(physics),
        "chance_level": chance_level,
        "lindistflow_max_error_pu": float(physics["lindistflow_max_error_pu"].max()),
        "lindistflow_violation_share": float(physics["lindistflow_violation_share"] @ p),
    }


def find_day_set(name: str) -> str:
    """The name of a set of days; InputError where there is none of that name."""
    if name not in DAY_SETS:
        raise InputError("--days", "days", f"unknown set of days {name!r}", f"choose one of {', '.join(DAY_SETS)}")
    return name


def find_days(prepared: Prepared, name: str) -> Days:
    """The set of days of that name."""
    study = prepared.study
    if name == "scenarios":
        return prepared.instance.days
    if name == "season":
        kept = keep_prosumers(study, prepared.preset.n_prosumers)
        return make_days(kept, np.asarray(season_days(study)), half=prepared.half)
    if name in DAY_SETS[-2:]:
        return other_days(study, prepared.preset, prepared.half, weekend=name == "weekends")
    make = {"held-out": held_out_days, "design": design_days, "resampled": resampled_days}[name]
    return make(study, prepared.preset, prepared.half)


# Every stored case on every set of days that it has not seen: judged once, kept with the data, and read again.
#
# Real days of the season are all held out once: the halves swap. The same designs are judged on the working days of the
# other seasons and on weekends, which no design was made for. Resampled days pair load and renewable days of the
# held-out half at random; they are no independent observations, so they get no intervals. What is stored is made by
# ``data/results/unseen/run.py``; tables and verdicts are computed when they are read.

UNSEEN = STORED_CASES.parent / "unseen"
ORIGIN = "origin.json"  # beside results: what they were made from
STUDIES = {"ieee33": "paper", "ieee33-2045": "fast"}  # and the preset at which its cases are stored


@dataclass(frozen=True)
class DaySet:
    """Days on which designs are judged: a name, the half of the season that designed, and the kind of days."""

    name: str
    half: str
    kind: str

    @property
    def slug(self) -> str:
        return self.name.replace(", ", "-").replace(" ", "-")

    def of(self, prepared: Prepared) -> Days:
        """The days. As many are drawn by pairing as preset paper draws, whatever the preset that designed."""
        if self.kind != "resampled":
            return find_days(prepared, self.kind)
        n = PRESETS["paper"].n_resampled_days
        return resampled_days(prepared.study, prepared.preset, prepared.half, n)


REAL = DaySet("real, even weeks", "odd", "held-out")
SWAPPED = DaySet("real, odd weeks", "even", "held-out")
WEEKDAYS = DaySet("other seasons", "odd", "other-weekdays")
WEEKENDS = DaySet("weekends", "odd", "weekends")
RESAMPLED = DaySet("resampled", "odd", "resampled")
SETS = (REAL, SWAPPED, WEEKENDS, WEEKDAYS, RESAMPLED)


def judge_on(prepared: Prepared, number: int, sets: Iterable[DaySet]) -> dict[DaySet, HeldOut]:
    """A case, stored or solved, certified once, on sets of days of the half that it was designed on."""
    made = fresh(prepared, number).decisions
    return {s: find(prepared, number, made, judged(prepared, number, made, s.of(prepared))) for s in sets}


def place(study: str, days: DaySet, number: int) -> Path:
    """Folder in which a case of a study on a set of days is kept."""
    return UNSEEN / study / days.slug / f"case-{number}"


def origin(prepared: Prepared, number: int) -> dict[str, object]:
    """What judged days depend on: the data, and the decisions of the stored case. Raises InputError without one."""
    folder = stored(prepared, number)
    if folder is None:
        name = prepared.study.folder / "study.yaml"
        raise InputError(name, "case", f"Case {number} is not stored", "run python data/results/cases/run.py")
    return origin_of(folder, prepared)


def origin_of(folder: Path, prepared: Prepared) -> dict[str, object]:
    """:func:`origin` of the judged days of a case that is stored in a folder."""
    decisions = digest((folder / "decisions.npz").read_bytes())
    return {"data_hash": prepared.study.data_hash, "decisions": decisions, "preset": prepared.preset.name}


def is_of(folder: Path, mine: Mapping[str, object], name: str = ORIGIN) -> bool:
    """Whether what a folder keeps was made from the present data and decisions (:func:`origin`)."""
    about = folder / name
    return about.is_file() and {key: read_json(about).get(key) for key in mine} == mine


def note_origin(folder: Path, mine: Mapping[str, object], name: str = ORIGIN) -> None:
    """Keep beside results what they were made from, when, and by which versions."""
    about = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit(), "versions": versions()}
    write_json(folder / name, dict(mine) | about)


def is_kept(prepared: Prepared, days: DaySet, number: int) -> bool:
    """Whether a case on a set of days is stored for the present data and decisions."""
    return is_of(place(prepared.study.name, days, number), origin(prepared, number))


def keep(prepared: Prepared, days: DaySet, number: int, found: HeldOut) -> None:
    """Keep a judged case with the data, and where it comes from."""
    folder = place(prepared.study.name, days, number)
    found.write(folder)
    note_origin(folder, origin(prepared, number))


READ = (4, 3, 1)  # cases whose readings are kept: every design, and the flat tariff in the market of each
FLAT, CHOSEN = "flat", "chosen"  # tariffs that are read


def readings(prepared: Prepared, number: int) -> pd.DataFrame:
    """Social cost over the follower's optimal set at a case's design, and in its market at the flat tariff that the
    design is measured against, by ``tariff``: hoped for and feared, with the tie-break and without
    (:func:`tritier.search.responses.both_readings`)."""
    made, case = fresh(prepared, number), CASES[number]
    joint = stored_lp(made.clearing, made.decisions, case.market, case.network)
    designs = {CHOSEN if case.optimised else FLAT: made.design}
    if case.optimised:
        designs[FLAT] = made.pools(JointLP(made.clearing, case.market, case.network))["flat"].rows[0].request.design
    read = [both_readings(joint, design).assign(tariff=name) for name, design in designs.items()]
    return pd.concat(read, ignore_index=True).assign(case=number)


def keep_readings(prepared: Prepared, number: int) -> None:
    """Keep a case's :func:`readings` beside its judged days, unless they are kept for today's data and decisions."""
    folder, mine = readings_of(prepared.study.name, number), origin(prepared, number)
    if not is_of(folder, mine):
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "readings.csv", readings(prepared, number))
        note_origin(folder, mine)


def readings_of(study: str, number: int) -> Path:
    """Folder in which a case's readings are kept."""
    return UNSEEN / study / "readings" / f"case-{number}"


def kept_readings(study: str) -> pd.DataFrame:
    """The readings of a study's cases as they are stored."""
    return pd.concat([pd.read_csv(path) for path in sorted((UNSEEN / study / "readings").glob("*/readings.csv"))])


def kept(study: str, days: DaySet) -> dict[int, HeldOut]:
    """All cases of a study on a set of days, as they are stored; none where not all of them were judged."""
    whole = all(place(study, days, k).is_dir() for k in CASES)
    return {k: HeldOut.read(place(study, days, k)) for k in CASES} if whole else {}


def kept_studies() -> list[str]:
    """Studies whose cases are stored on held-out days."""
    return [study for study in STUDIES if kept(study, REAL)]


def kept_days(study: str, sets: Iterable[DaySet] = (REAL, SWAPPED)) -> pd.DataFrame:
    """Judged days of all cases of a study, real days of the season unless told otherwise: one row a policy and day."""
    return pd.concat([found.daily for days in sets for found in kept(study, days).values()], ignore_index=True)
