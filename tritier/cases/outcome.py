"""What a day was like: welfare, costs, losses, violations and money by day, in LinDistFlow and by AC power flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tritier.cases.decisions import Decisions
from tritier.cases.recourse import DayDecisions
from tritier.inputs.instance import Design, Instance
from tritier.model.acflow import ac_power_flow
from tritier.model.devices import over_day
from tritier.model.dso import network_parts
from tritier.model.network import lindistflow, losses_kw
from tritier.model.prosumer import all_data, decisions_of, device_costs, retail_cost
from tritier.model.risk import sample_cvar
from tritier.model.tariff import charges, passive_charges, trade_charge

# Who pays whom: money flows of a day by agent, which must add up to zero.


@dataclass(frozen=True, eq=False)
class Settlement:
    """Both sides of every payment of each day, $, (W,) unless stated. Wear and comfort are costs, not payments, and
    stay apart.

    Payers' side: what each agent is billed. Receivers' side: what each counterpart books from its own meters.
    """

    retail: np.ndarray  # (I, W) retail bill of prosumers less feed-in revenue, paid
    passive_retail: np.ndarray  # (W,) retail bill of passive loads, paid
    network: np.ndarray  # (I, W) import charges of prosumers, paid
    passive_network: np.ndarray  # (W,) import charges of passive loads, paid
    p2p_charge: np.ndarray  # (I,) P2P charge, half each side, paid
    p2p: np.ndarray  # (I,) P2P payments at lambda, paid
    congestion: np.ndarray  # (I, W) payments for net withdrawal at pi, paid
    passive_congestion: np.ndarray  # (W,) payments of passive loads at pi, paid
    retail_received: np.ndarray  # (W,) retailer: all energy sold less feed-in paid
    network_received: np.ndarray  # (W,) DSO: tariffs times billed energy and P2P volume
    rent_received: np.ndarray  # (W,) platform: pi times the net load of every bus
    tax: np.ndarray  # (W,) taxes and levies within retail bills
    wholesale: np.ndarray  # (W,) wholesale cost of the lossless head flow
    losses: np.ndarray  # (W,) losses at max(wholesale, 0)
    demand_charge: np.ndarray  # (W,)

    def accounts(self, fixed_cost: float) -> dict[str, np.ndarray]:
        """Net receipts of every agent, $, (W,). P2P payments pass through the platform; ``fixed_cost`` goes
        upstream."""
        private = self.retail + self.network + self.congestion + (self.p2p_charge + self.p2p)[:, None]
        costs = self.losses + self.demand_charge
        return {
            "prosumers": -private.sum(axis=0),
            "passive loads": -(self.passive_retail + self.passive_network + self.passive_congestion),
            "platform": self.rent_received,
            "DSO": self.network_received - costs - fixed_cost,
            "retailer": self.retail_received - self.tax - self.wholesale,
            "taxes": self.tax,
            "upstream": self.wholesale + costs + fixed_cost,
        }


def settle(
    instance: Instance, design: Design, day, lam: np.ndarray, pi: np.ndarray, losses_kw: np.ndarray
) -> Settlement:
    """Payments of every day (:eq:`eq-settlement`).

    day: arrays gp, gm (I, T, W), zb, zs (I, T) by name, with ``net_load`` (N, T, W); lam: P2P price (T,), $/kWh; pi:
    price of net injection (N, T, W), $/kWh, not weighed by probability; losses_kw (T, W).
    """
    rules, days, data = instance.rules, instance.days, all_data(instance)
    passive = days.passive_kw.sum(axis=0)
    load = day.net_load
    head = load.sum(axis=0)
    imports, exports = day["gp"].sum(axis=0) + passive, day["gm"].sum(axis=0)
    trade = trade_charge(design, day["zb"], day["zs"]).sum(axis=1)
    own, passive_own = np.array([charges(rules, design, g) for g in day["gp"]]), passive_charges(instance, design)
    upstream = network_parts(instance, head, np.maximum(head.max(axis=0), 0), losses_kw)
    return Settlement(
        retail=np.array([retail_cost(d, gp, gm) for d, gp, gm in zip(data, day["gp"], day["gm"], strict=True)]),
        passive_retail=over_day(instance.retail * passive),
        network=own,
        passive_network=passive_own,
        p2p_charge=trade,
        p2p=(day["zb"] - day["zs"]) @ lam,
        congestion=-np.einsum("itw,itw->iw", pi[instance.prosumer_bus], day.injection),
        passive_congestion=(pi * days.passive_kw).sum(axis=(0, 1)),
        retail_received=over_day(instance.retail * imports) - over_day(instance.feed_in * exports),
        network_received=own.sum(axis=0) + passive_own + trade.sum(),
        rent_received=(pi * load).sum(axis=(0, 1)),
        tax=over_day(instance.tax * imports),
        **upstream,
    )


def imbalance(settlement: Settlement, fixed_cost: float) -> float:
    """Largest sum of all agents' receipts on any day, $: zero where payers' and receivers' books agree."""
    return float(np.abs(sum(settlement.accounts(fixed_cost).values())).max())


BAND_TOLERANCE = 1e-6  # p.u. and share of rating: rounding of the power flow, not a violation


def linear_losses(instance: Instance, net_load: np.ndarray) -> np.ndarray:
    """Losses of LinDistFlow, kW, (T, W) (:eq:`eq-losses`)."""
    matrices = lindistflow(instance.feeder)
    return losses_kw(matrices.flows(net_load), matrices.reactive_flows(instance.days.reactive_kvar), instance.feeder)


def settlement_of(day: DayDecisions, decisions: Decisions) -> Settlement:
    """Payments of judged days at the design's P2P price and the days' own network prices."""
    return settle(
        day.instance, decisions.design, day, decisions["lambda"], day.pi, linear_losses(day.instance, day.net_load)
    )


def daily_table(day: DayDecisions, decisions: Decisions) -> pd.DataFrame:
    """One row per day: economics, energy and money.

    Prosumer cost is before any refund, congestion payments included. Violations that hard-limit redispatch buys at the
    declared price are a social cost; those of the other policies are counted by :func:`physics_table`.
    """
    instance, days = day.instance, day.instance.days
    money = settlement_of(day, decisions)
    own = private_costs(day)
    wear, lost, other = (own.get(part, np.zeros_like(money.retail)) for part in ("degradation", "lost_value", "other"))
    load = day.net_load
    head = load.sum(axis=0)
    social = money.wholesale + money.losses + money.demand_charge + sum(cost.sum(axis=0) for cost in own.values())
    if day.policy == "hard-limit redispatch":
        social = social + instance.rules.violation_price * day.bought
    reference = (days.demand_kw.sum(axis=0) + days.passive_kw.sum(axis=0)).sum(axis=0)
    paid = money.retail + money.network + money.congestion + (money.p2p + money.p2p_charge)[:, None]
    prosumer = paid + sum(own.values())
    return pd.DataFrame(
        {
            "day": list(days.label),
            "probability": days.probability,
            "social_cost_usd": social,
            "welfare_usd": instance.rules.reference_value * reference - social,
            "prosumer_cost_usd": prosumer.sum(axis=0),
            "wholesale_usd": money.wholesale,
            "loss_cost_usd": money.losses,
            "demand_charge_usd": money.demand_charge,
            "degradation_usd": wear.sum(axis=0),
            "lost_value_usd": lost.sum(axis=0),
            "other_cost_usd": other.sum(axis=0),
            "dso_revenue_usd": money.network_received,
            "congestion_rent_usd": money.rent_received,
            "losses_kwh": linear_losses(instance, load).sum(axis=0),
            "peak_kw": head.max(axis=0),
            "p2p_kwh": float(decisions["zs"].sum()),
            "curtailed_kwh": day["cu"].sum(axis=(0, 1)),
            "imported_kwh": (day["gp"].sum(axis=0) + days.passive_kw.sum(axis=0)).sum(axis=0),
            "bought_violation_kwh": day.bought,
        }
    )


def private_costs(day: DayDecisions) -> dict[str, np.ndarray]:
    """What every prosumer's devices cost, $, each (I, W), by part of the social cost."""
    data = all_data(day.instance)
    rows = [device_costs(d, decisions_of(d, day.arrays, i)) for i, d in enumerate(data)]
    nothing = np.zeros(day.instance.days.n_days)
    return {part: np.array([row.get(part, nothing) for row in rows]) for part in {p: 0 for row in rows for p in row}}


def physics_table(day: DayDecisions) -> pd.DataFrame:
    """One row per day: violations of band and ratings in LinDistFlow and AC, losses, and the largest LinDistFlow error.

    Shares are of bus-hours (slack left out) and line-hours. Depths are p.u. beyond the band.
    """
    instance, feeder = day.instance, day.instance.feeder
    load, reactive = day.net_load, day.instance.days.reactive_kvar
    flow = ac_power_flow(feeder, load, reactive)
    matrices = lindistflow(feeder)
    linear = np.sqrt(matrices.squared_voltages(load, reactive))
    table = {"day": list(instance.days.label)}
    for name, v in (("ac", flow.v_pu), ("lindistflow", linear)):
        depth = band_depth(instance, v)[1:]
        table[f"{name}_violation_share"] = (depth > BAND_TOLERANCE).mean(axis=(0, 1))
        table[f"{name}_worst_depth_pu"] = depth.max(axis=(0, 1))
        table[f"{name}_v_min_pu"], table[f"{name}_v_max_pu"] = v.min(axis=(0, 1)), v.max(axis=(0, 1))
    table["ac_overload_share"] = (flow.loading > 1 + BAND_TOLERANCE).mean(axis=(0, 1))
    apparent = np.hypot(matrices.flows(load), matrices.reactive_flows(reactive))
    over = apparent > feeder.rating_kva[:, None, None] * (1 + BAND_TOLERANCE)
    table["lindistflow_overload_share"] = over.mean(axis=(0, 1))
    table["ac_losses_kwh"] = flow.losses_kw.sum(axis=0)
    table["lindistflow_max_error_pu"] = np.abs(linear - flow.v_pu).max(axis=(0, 1))
    return pd.DataFrame(table)


def band_depth(instance: Instance, v: np.ndarray) -> np.ndarray:
    """Voltage beyond the band that is promised to customers (no margin), p.u., >= 0, same shape as v (N, ...)."""
    low, high = (x.reshape(-1, *[1] * (v.ndim - 1)) for x in (instance.feeder.v_min, instance.feeder.v_max))
    return np.maximum(np.maximum(low - v, v - high), 0)


def mean_and_cvar(table: pd.DataFrame, column: str, confidence: float = 0.9) -> tuple[float, float]:
    """Probability-weighted mean and CVaR of a column over the days."""
    x, p = table[column].to_numpy(dtype=float), table["probability"].to_numpy()
    return float(x @ p), float(sample_cvar(x, p, confidence))
