"""What a day was like: welfare, costs, losses, violations and money by day, in LinDistFlow and by AC power flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tritier.cases.decisions import Decisions
from tritier.cases.recourse import DayDecisions
from tritier.cases.security import least_curtailment
from tritier.inputs.instance import Design, Instance
from tritier.model.acflow import ac_power_flow
from tritier.model.chance import Network
from tritier.model.devices import ProsumerData, over_day
from tritier.model.dso import charged_peak, day_peak, metered, network_parts
from tritier.model.market import limits_by_position
from tritier.model.network import lindistflow, losses_kw
from tritier.model.prosumer import all_data, consumption, daily, decisions_of, device_costs, retail_cost
from tritier.model.risk import sample_cvar
from tritier.model.tariff import charges, inside, membership, passive_charges, trade_charge

# Who pays whom: money flows of a day by agent, which must add up to zero.


@dataclass(frozen=True, eq=False)
class Settlement:
    """What every agent pays and receives on each day, $, (W,) unless stated, each figure from meters and books of the
    agent's own. Wear and comfort are costs, not payments, and stay apart.

    Meters: prosumers read what they export, import and trade, and book their cost; the platform reads what devices and
    passive loads draw at every bus; the DSO reads the flow of every line, and each customer's imports; upstream reads
    the power drawn. Bills that two of them find differently do not add up to zero.
    """

    booked: np.ndarray  # (I, W) prosumers: cost of the day on their books less wear, comfort and tie-break
    outside: np.ndarray  # (I, W) prosumers: charges that their cost does not hold
    retail: np.ndarray  # (I, W) retailer's bill to prosumers, less feed-in revenue
    passive_retail: np.ndarray  # (W,) retailer's bill to passive loads
    network: np.ndarray  # (I, W) DSO's bill to prosumers: energy and peaks
    passive_network: np.ndarray  # (W,) DSO's bill to passive loads
    p2p_charge: np.ndarray  # (I,) P2P charge, half each side, paid; (I, W) where trade is by scenario
    p2p: np.ndarray  # P2P payments at lambda, paid; like p2p_charge
    congestion: np.ndarray  # (I, W) payments for net withdrawal, paid (:func:`paid_for_rights`)
    passive_congestion: np.ndarray  # (W,) the same of passive loads, paid
    fixed: np.ndarray  # (I + 1,) fixed charge of each prosumer, and of all passive loads at last, paid
    sold: np.ndarray  # () or (W,) DSO: P2P charge on what is sold
    peak_received: np.ndarray  # (W,) DSO: charge on the head's peak, which the platform passes on
    rent: np.ndarray  # (W,) platform: what is drawn at every bus, paid for in the same way
    tax: np.ndarray  # (W,) taxes and levies within retail bills
    wholesale: np.ndarray  # (W,) retailer: wholesale cost of what it sells
    losses: np.ndarray  # (W,) DSO: losses of its lines at max(wholesale, 0)
    demand_charge: np.ndarray  # (W,) DSO: charge on the peak of its head line
    supplied: np.ndarray  # (W,) upstream: wholesale value of what is drawn, losses, demand charge

    @property
    def network_received(self) -> np.ndarray:
        """Tariff revenue of the DSO, $, (W,)."""
        return self.network.sum(axis=0) + self.passive_network + self.sold + self.peak_received + self.fixed.sum()

    @property
    def rent_received(self) -> np.ndarray:
        """What the platform is left with, $, (W,)."""
        return self.rent - self.peak_received

    def accounts(self, fixed_cost: float) -> dict[str, np.ndarray]:
        """Net receipts of every agent, $, (W,) (:eq:`eq-settlement`). What is bought P2P is sold; ``fixed_cost`` goes
        upstream."""
        traded = daily(self.p2p_charge + self.p2p)
        private = self.booked + self.outside + self.congestion + traded + self.fixed[:-1, None]
        retail = self.retail.sum(axis=0) + self.passive_retail
        return {
            "prosumers": -private.sum(axis=0),
            "passive loads": -(self.passive_retail + self.passive_network + self.passive_congestion + self.fixed[-1]),
            "platform": self.rent_received,
            "DSO": self.network_received - self.losses - self.demand_charge - fixed_cost,
            "retailer": retail - self.tax - self.wholesale,
            "taxes": self.tax,
            "upstream": self.supplied + fixed_cost,
        }


def settle(day: DayDecisions, design: Design, lam: np.ndarray, fixed: np.ndarray | None = None) -> Settlement:
    """Payments of every day at its own network prices, and the clearing's for rights that are settled ahead, and at the
    P2P price lam, $/kWh, (T,), or by day, (T, W), where trade is by scenario (:eq:`eq-settlement`).

    fixed: fixed charge of each prosumer and of all passive loads, $/day, (I + 1,); none if None.
    """
    instance = day.instance
    rules, days, data = instance.rules, instance.days, all_data(instance)
    passive, drawn = days.passive_kw.sum(axis=0), drawn_power(instance, day)
    own = [decisions_of(d, day.arrays, i) for i, d in enumerate(data)]
    net = day["gp"].sum(axis=0) + passive - day["gm"].sum(axis=0)
    line, head = network_parts(instance, *line_meters(instance, day.net_load)), drawn.sum(axis=0)
    lost = metered_losses(instance, drawn)
    upstream = network_parts(instance, head, charged_peak(instance, head, lost), lost)
    network = np.array([charges(rules, design, g) for g in day["gp"]])
    return Settlement(
        booked=np.array([money_booked(d, x) for d, x in zip(data, own, strict=True)]),
        outside=np.array([charges_outside(d, x, design) for d, x in zip(data, own, strict=True)]),
        retail=np.array([retail_cost(d, x["gp"], x["gm"]) for d, x in zip(data, own, strict=True)]),
        passive_retail=over_day(instance.retail * passive),
        network=network,
        passive_network=passive_charges(instance, design),
        p2p_charge=trade_charge(design, day["zb"], day["zs"]).sum(axis=1),
        p2p=(lam * (day["zb"] - day["zs"])).sum(axis=1),
        congestion=paid_for_rights(day, withdrawn),
        passive_congestion=paid_for_rights(day, passively_drawn).sum(axis=0),
        fixed=np.zeros(len(data) + 1) if fixed is None else fixed,
        sold=design.p2p * day["zs"].sum(axis=(0, 1)),
        peak_received=design.coincident * day_peak(day.net_load),
        rent=paid_for_rights(day, drawn_at_buses).sum(axis=0),
        tax=over_day(instance.tax * (day["gp"].sum(axis=0) + passive)),
        wholesale=over_day(days.wholesale * net),
        losses=line["losses"],
        demand_charge=line["demand_charge"],
        supplied=sum(upstream.values()),
    )


# A meter of who pays or is paid for rights: prices at its buses and what it draws there, $/kWh and kW, (K, T, W).
Meter = Callable[[DayDecisions], tuple[np.ndarray, np.ndarray]]


def withdrawn(day: DayDecisions) -> tuple[np.ndarray, np.ndarray]:
    """Meters of prosumers."""
    return day.pi[day.instance.prosumer_bus], -day.injection


def passively_drawn(day: DayDecisions) -> tuple[np.ndarray, np.ndarray]:
    """Meters of passive loads, by bus."""
    return day.pi, day.instance.days.passive_kw


def drawn_at_buses(day: DayDecisions) -> tuple[np.ndarray, np.ndarray]:
    """Meters of the platform, which knows of no trade and no exchange."""
    return day.pi, drawn_power(day.instance, day)


def paid_for_rights(day: DayDecisions, meter: Meter) -> np.ndarray:
    """What is paid for the rights that a meter reads, $, (K, W) (:eq:`eq-rights-ahead`): all at the day's prices; or
    what was bought in the clearing at its prices, whichever day comes, and deviations from its expectation at the
    day's."""
    price, drawn = meter(day)
    if day.ahead is None:
        return (price * drawn).sum(axis=1)
    posted, bought = meter(day.ahead)
    p = day.ahead.instance.days.probability
    owed = (posted * bought).sum(axis=1) @ p
    return owed[:, None] + (price * (drawn - (bought @ p)[..., None])).sum(axis=1)


def drawn_power(instance: Instance, day: DayDecisions) -> np.ndarray:
    """What devices and passive loads draw at every bus, kW, (N, T, W): of trades and exchanges it knows nothing."""
    load = instance.days.passive_kw.copy()
    for i, d in enumerate(all_data(instance)):
        load[instance.prosumer_bus[i]] += consumption(d, decisions_of(d, day.arrays, i))
    return load


def line_meters(instance: Instance, net_load: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flow into the feeder (T, W), the peak charged for it (W,) and losses line by line (T, W), kW, of net loads."""
    feeder = instance.feeder
    flow = lindistflow(feeder).flows(net_load)
    head = flow[feeder.parent == 0].sum(axis=0) + net_load[0]
    loss = linear_losses(instance, net_load)
    return head, charged_peak(instance, head, loss), loss


def metered_losses(instance: Instance, load: np.ndarray) -> np.ndarray:
    """Losses of LinDistFlow from what is drawn at the buses, kW, (T, W): each pair of buses loses on the resistance
    that their paths share, no flow of a line needed."""
    m, reactive = lindistflow(instance.feeder), instance.days.reactive_kvar
    return sum(np.einsum("ntw,nm,mtw->tw", x, m.r_path, x) for x in (load, m.charged(reactive)))


def money_booked(d: ProsumerData, x: Mapping[str, Any]) -> np.ndarray:
    """What the cost of a prosumer's day holds of payments, $, (W,): no wear, no lost value, no tie-break."""
    return x["cost"] - sum(device_costs(d, x).values()) - sum(device.tie_break(x) for device in d.devices)


def charges_outside(d: ProsumerData, x: Mapping[str, Any], design: Design) -> np.ndarray:
    """Charges that the cost of a prosumer's day does not hold, read off its meter by block, $, (W,)."""
    if inside(d.rules).any():
        return np.zeros(x["cost"].shape)
    return np.asarray(design.tariff) @ (membership(d.rules) @ x["gp"]) + design.peak * x["gp"].max(axis=0)


def imbalance(settlement: Settlement, fixed_cost: float) -> float:
    """Largest sum of all agents' receipts on any day, $: zero where all their books agree."""
    return float(np.abs(sum(settlement.accounts(fixed_cost).values())).max())


BAND_TOLERANCE = 1e-6  # p.u. and share of rating: rounding of the power flow, not a violation


def linear_losses(instance: Instance, net_load: np.ndarray) -> np.ndarray:
    """Losses of LinDistFlow, kW, (T, W) (:eq:`eq-losses`)."""
    matrices = lindistflow(instance.feeder)
    return losses_kw(matrices.flows(net_load), matrices.reactive_flows(instance.days.reactive_kvar), instance.feeder)


def settlement_of(day: DayDecisions, decisions: Decisions) -> Settlement:
    """Payments of judged days at the design's P2P price, or the days' own, and the days' own network prices."""
    return settle(day, decisions.design, decisions["lambda"] if day.price is None else day.price, decisions.fixed)


def daily_table(day: DayDecisions, decisions: Decisions) -> pd.DataFrame:
    """One row per day: economics, energy and money.

    Prosumer cost is before any refund, congestion payments included. Violations that a policy buys at the declared
    price are a social cost; where nobody looks at the network, :func:`physics_table` counts them. Secured welfare is
    charged instead with the least curtailment that keeps the network secure, under every policy alike.
    """
    instance, days = day.instance, day.instance.days
    money = settlement_of(day, decisions)
    own, load = private_costs(day), day.net_load
    wear, lost, other = (own.get(part, np.zeros_like(money.retail)) for part in ("degradation", "lost_value", "other"))
    loss = linear_losses(instance, load)
    spent = money.wholesale + money.losses + money.demand_charge + sum(cost.sum(axis=0) for cost in own.values())
    social = spent + instance.rules.violation_price * day.bought
    reference = instance.rules.reference_value * days.reference_kw.sum(axis=0)
    secure = least_curtailment(instance, load)
    paid = money.retail + money.network + money.congestion + daily(money.p2p + money.p2p_charge)
    prosumer = paid + sum(own.values()) + money.fixed[:-1, None]
    return pd.DataFrame(
        {
            "day": list(days.label),
            "probability": days.probability,
            "social_cost_usd": social,
            "welfare_usd": reference - social,
            "secured_welfare_usd": reference - spent - secure.cost_usd,
            "curtailment_to_secure_kwh": secure.shed_kwh + secure.curtailed_kwh,
            "shed_kwh": secure.shed_kwh,
            "prosumer_cost_usd": prosumer.sum(axis=0),
            "wholesale_usd": money.wholesale,
            "loss_cost_usd": money.losses,
            "demand_charge_usd": money.demand_charge,
            "degradation_usd": wear.sum(axis=0),
            "lost_value_usd": lost.sum(axis=0),
            "other_cost_usd": other.sum(axis=0),
            "dso_revenue_usd": money.network_received,
            "fixed_charge_usd": float(money.fixed.sum()),
            "congestion_rent_usd": money.rent_received,
            "losses_kwh": loss.sum(axis=0),
            "peak_kw": metered(instance, load.sum(axis=0), loss).max(axis=0),
            "p2p_kwh": day["zs"].sum(axis=(0, 1)),
            "curtailed_kwh": day["cu"].sum(axis=(0, 1)),
            "imported_kwh": (day["gp"].sum(axis=0) + days.passive_kw.sum(axis=0)).sum(axis=0),
            "bought_violation_kwh": day.bought,
            "offer_excess_kw": offer_excess(day, decisions.design),
        }
    )


def offer_excess(day: DayDecisions, design: Design) -> np.ndarray:
    """Largest flow of each day beyond a limit that the DSO offered, over all its lines, kW, (W,)."""
    limits = limits_by_position(day.instance, design.capacity)
    if not limits:
        return np.zeros(day.instance.days.n_days)
    beyond = Network(day.instance).violations(day.net_load, limits)["capacity"]
    return np.maximum(beyond, 0.0).max(axis=(0, 1))


def private_costs(day: DayDecisions) -> dict[str, np.ndarray]:
    """What every prosumer's devices cost, $, each (I, W), by part of the social cost."""
    data = all_data(day.instance)
    rows = [device_costs(d, decisions_of(d, day.arrays, i)) for i, d in enumerate(data)]
    nothing = np.zeros(day.instance.days.n_days)
    return {part: np.array([row.get(part, nothing) for row in rows]) for part in {p: 0 for row in rows for p in row}}


def means_by_policy(daily: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of judged days, a row a policy and day, weighed by the days' ``probability``: a row a policy."""
    weighed = daily[list(columns)].mul(daily["probability"], axis=0)
    return weighed.groupby(daily["policy"], sort=False).sum()


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
