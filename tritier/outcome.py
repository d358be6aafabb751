"""What a day was like: welfare, costs, losses, violations and money by day, in LinDistFlow and by AC power flow."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tritier.acflow import ac_power_flow
from tritier.decisions import Decisions
from tritier.instance import Instance
from tritier.network import lindistflow, losses_kw
from tritier.prosumer import degradation_cost, lost_value, prosumer_data
from tritier.recourse import DayDecisions
from tritier.risk import sample_cvar
from tritier.settlement import Settlement, settle

BAND_TOLERANCE = 1e-6  # p.u. and share of rating: rounding of the power flow, not a violation


def linear_losses(instance: Instance, net_load: np.ndarray) -> np.ndarray:
    """Losses of LinDistFlow, kW, (T, W) (:eq:`eq-losses`)."""
    matrices = lindistflow(instance.feeder)
    return losses_kw(matrices.flows(net_load), matrices.flows(instance.days.reactive_kvar), instance.feeder)


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
    wear, lost = private_costs(day)
    load = day.net_load
    head = load.sum(axis=0)
    social = money.wholesale + money.losses + money.demand_charge + wear.sum(axis=0) + lost.sum(axis=0)
    if day.policy == "hard-limit redispatch":
        social = social + instance.rules.violation_price * day.bought
    reference = (days.demand_kw.sum(axis=0) + days.passive_kw.sum(axis=0)).sum(axis=0)
    prosumer = money.retail + money.network + money.congestion + (money.p2p + money.p2p_charge)[:, None] + wear + lost
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


def private_costs(day: DayDecisions) -> tuple[np.ndarray, np.ndarray]:
    """Battery wear and lost value of demand of every prosumer, $, each (I, W)."""
    wear, lost = [], []
    for i in range(len(day.instance.prosumers)):
        d = prosumer_data(day.instance, i)
        wear.append(degradation_cost(d, day["ch"][i], day["dis"][i]))
        lost.append(lost_value(d, day["served"][i]))
    return np.array(wear), np.array(lost)


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
    apparent = np.hypot(matrices.flows(load), matrices.flows(reactive))
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
