"""The DSO's tariff: its components in order, what each is billed on, what an agent pays and what the DSO receives.

Components, in the order of :attr:`~tritier.inputs.instance.Design.prices`: energy imported, by tariff block; P2P trade;
each customer's largest import of the day; the largest import of the feeder head. Energy and individual peak are billed
by scenario, inside the prosumer's cost, unless the rules bill them on their expectation. The P2P charge is certain; the
charge on the head's peak is billed to the platform.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tritier.inputs.instance import Design, Instance, Menu, Rules
from tritier.model.risk import Term

HIGHEST = 1.0  # $/kWh: no energy charge is larger, except where a menu says so


def membership(rules: Rules) -> np.ndarray:
    """Which hours a tariff block holds: (B, T), 1 where hour t is in block b, else 0."""
    return np.equal.outer(np.arange(rules.n_blocks), rules.block).astype(float)


def hourly(rules: Rules, design: Design) -> np.ndarray:
    """Energy charge of every hour, $/kWh, (T,)."""
    return np.asarray(design.tariff)[rules.block]


def inside(rules: Rules) -> np.ndarray:
    """Which components are billed by scenario, inside the prosumer's cost: (B + 3,), boolean."""
    found = np.zeros(rules.n_blocks + 3, dtype=bool)
    found[: rules.n_blocks] = found[rules.n_blocks + 1] = rules.billing == "scenario"
    return found


def quantities(menu: Menu) -> list[str]:
    """Names of the LP's columns that hold what the components are billed on; a peak has one only where it may be
    charged, and the components keep their order."""
    peaks = [("K", menu.peak), ("H", menu.coincident)]
    return ["G", "Z", *(name for name, levels in peaks if any(levels))]


def charges(rules: Rules, design: Design, imports: np.ndarray) -> np.ndarray:
    """Network charges of one agent in every scenario, $, (S,): energy and individual peak of its imports, kW (T, S)."""
    return hourly(rules, design) @ imports + design.peak * imports.max(axis=0)


def trade_charge(design: Design, bought: Term, sold: Term) -> Term:
    """P2P charge of one side by hour, $, in the shape of the trades: half of it on what is bought and sold, kW."""
    return design.p2p / 2 * (bought + sold)


def expected_trade(probability: np.ndarray, trade: Term) -> Term:
    """A trade, or what is paid for it, over the hours of a day: from (T,), or in expectation from (T, S)."""
    over_hours = np.ones(trade.shape[0]) @ trade
    return over_hours @ probability if trade.ndim == 2 else over_hours


def passive_charges(instance: Instance, design: Design) -> np.ndarray:
    """Network charges of all passive loads, bus by bus, in every scenario, $, (S,)."""
    return np.sum([charges(instance.rules, design, load) for load in instance.days.passive_kw], axis=0)


def passive_peaks(instance: Instance) -> float:
    """Expected sum of the passive loads' own peaks, kW."""
    return float(instance.days.passive_kw.max(axis=1).sum(axis=0) @ instance.days.probability)


def billed_energy(instance: Instance, energy: Term) -> Term:
    """Expected energy billed in each tariff block, kWh, (B,), passive loads included (:eq:`eq-billed-energy`).

    energy: imports of all prosumers by block, kWh, (B, S), as cvxpy expression or array.
    """
    passive = membership(instance.rules) @ instance.days.passive_kw.sum(axis=0)
    return (passive + energy) @ instance.days.probability


def billed(instance: Instance, gp: np.ndarray, zb: np.ndarray, zs: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """What every component is billed on, expected, (B + 3,): from imports (I, T, S) and trades (I, T) or (I, T, S) of
    prosumers, and the head's peak, (S,); kWh and kW."""
    own = float(gp.max(axis=1).sum(axis=0) @ instance.days.probability)
    energy = billed_energy(instance, membership(instance.rules) @ gp.sum(axis=0))
    volume = float(expected_trade(instance.days.probability, (zb + zs).sum(axis=0))) / 2
    head = float(peak @ instance.days.probability)
    return np.array([*energy, volume, own + passive_peaks(instance), head])


def revenue(design: Design, quantity: np.ndarray) -> float:
    """Expected tariff revenue of the DSO, $/day (:eq:`eq-revenue`). quantity: what each component is billed on,
    (B + 3,)."""
    return float(design.prices @ quantity)


def revenue_slack(instance: Instance, design: Design, quantity: np.ndarray, network_cost: float) -> float:
    """Revenue beyond what variable charges must recover of the fixed cost and the network cost, $/day; adequacy asks
    for >= 0 (:eq:`eq-revenue-adequacy`)."""
    return revenue(design, quantity) - instance.least_revenue - (1.0 - instance.rules.fixed_share) * network_cost


def without_fixed_part(instance: Instance) -> Instance:
    """The instance whose variable charges must recover the whole cost: the flat tariff's, which has no other part."""
    return replace(instance, rules=replace(instance.rules, fixed_share=0.0))


def fixed_charge(instance: Instance, design: Design, quantity: np.ndarray, network_cost: float) -> float:
    """What a fixed charge on all customers recovers, $/day: what variable charges leave of the fixed cost and the
    network cost (:eq:`eq-fixed-charge`). A lump sum: it moves nobody."""
    return max(0.0, instance.fixed_cost + network_cost - revenue(design, quantity))
