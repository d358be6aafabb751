"""A solved case on days it has not seen: held-out tables by policy and day, agent, prosumer and hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.acflow import ac_power_flow
from tritier.cases import CASES
from tritier.decisions import Decisions
from tritier.instance import Days
from tritier.network import lindistflow
from tritier.outcome import BAND_TOLERANCE, band_depth, daily_table, physics_table, private_costs, settlement_of
from tritier.recourse import POLICIES, DayDecisions
from tritier.store import read_json
from tritier.study import Prepared, fixed_cost, judge_all, prosumer_bill_share, solve_case


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One case on a set of days under the three recourse policies. Money in $ per day.

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
            getattr(self, f.name).to_csv(folder / f"{f.name}.csv", index=False)

    @classmethod
    def read(cls, folder: Path) -> HeldOut:
        """Tables that :meth:`write` wrote."""
        return cls(*(pd.read_csv(folder / f"{f.name}.csv") for f in fields(cls)))


def judged(prepared: Prepared, number: int, decisions: Decisions, days: Days) -> dict[str, DayDecisions]:
    """A case's days under each of the three policies, by policy."""
    return {policy: day for _, policy, day in judge_all(prepared, {number: decisions}, days, POLICIES)}


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


def refunded(prepared: Prepared, table: pd.DataFrame) -> pd.DataFrame:
    """A daily table with the DSO's surplus, and prosumer cost after their share of surplus and congestion rent."""
    surplus = (
        table["dso_revenue_usd"]
        - fixed_cost(prepared, forecast=False)
        - table["loss_cost_usd"]
        - table["demand_charge_usd"]
    )
    back = prosumer_bill_share(prepared) * (surplus + table["congestion_rent_usd"])
    return table.assign(dso_surplus_usd=surplus, prosumer_cost_after_refund_usd=table["prosumer_cost_usd"] - back)


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
    wear, lost = private_costs(day)
    accounts["prosumers"] -= float((wear + lost).sum(axis=0) @ p)
    share, back = prosumer_bill_share(prepared), accounts["DSO"] + accounts["platform"]
    refund = {"prosumers": share * back, "passive loads": (1 - share) * back}
    refund |= {"DSO": -accounts["DSO"], "platform": -accounts["platform"]}
    rows = [(a, x, x + refund.get(a, 0.0)) for a, x in accounts.items() if a != "upstream"]
    return pd.DataFrame(rows, columns=["agent", "before_refund_usd", "after_refund_usd"])


def prosumer_costs(day: DayDecisions, decisions: Decisions) -> pd.DataFrame:
    """Cost of each prosumer before refunds, by kind, $ per day, mean over days."""
    p, money = day.instance.days.probability, settlement_of(day, decisions)
    wear, lost = private_costs(day)
    table = pd.DataFrame({"prosumer": [x.name for x in day.instance.prosumers]})
    table["bus"] = [x.bus for x in day.instance.prosumers]
    table["retail_usd"], table["network_usd"] = money.retail @ p, money.network @ p + money.p2p_charge
    table["p2p_usd"], table["congestion_usd"] = money.p2p, money.congestion @ p
    table["wear_and_comfort_usd"] = (wear + lost) @ p
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
            "p2p_kw": decisions["zs"].sum(axis=0),
            "p2p_price": decisions["lambda"],
        }
    )


def of_case(folder: Path, prepared: Prepared, number: int, days: Days) -> HeldOut:
    """Held-out tables of a case: read where its chapter has kept them for these data and parameters, else made here."""
    if made_from(folder / "case", prepared):
        return HeldOut.read(folder)
    decisions = solve_case(prepared, number).decisions
    return find(prepared, number, decisions, judged(prepared, number, decisions, days))


def made_from(case: Path, prepared: Prepared) -> bool:
    """Whether a stored case was made from these data with these parameters."""
    if not (case / "provenance.json").is_file():
        return False
    origin = read_json(case / "provenance.json")
    mine = (prepared.study.data_hash, prepared.changes, prepared.preset.name, prepared.half)
    return tuple(origin.get(key) for key in ("data_hash", "changes", "preset", "half")) == mine


def results_folder(results: Path, prepared: Prepared) -> Path:
    """Where a chapter keeps its results: a folder of its own for changed parameters, so that the book's stay."""
    changed = "-".join(f"{key}={value}" for key, value in sorted(prepared.changes.items()))
    return results / changed if changed else results
