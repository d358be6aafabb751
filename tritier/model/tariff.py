"""The DSO's tariff: its components in order, what each is billed on, what an agent pays and what the DSO receives.

Components: energy imported, by tariff block; P2P trade. Every formula takes cvxpy expressions and arrays alike.
"""

from __future__ import annotations

import numpy as np

from tritier.inputs.instance import Design, Instance, Rules

QUANTITIES = ("G", "Z")  # columns of the joint LP that hold what the components are billed on, in their order


def membership(rules: Rules) -> np.ndarray:
    """Which hours a tariff block holds: (B, T), 1 where hour t is in block b, else 0."""
    return np.equal.outer(np.arange(rules.n_blocks), rules.block).astype(float)


def hourly(rules: Rules, design: Design) -> np.ndarray:
    """Energy charge of every hour, $/kWh, (T,)."""
    return np.asarray(design.tariff)[rules.block]


def import_charge(rules: Rules, design: Design, imports):
    """Network charge on imports, kW (T, S), in every scenario, $, (S,)."""
    return hourly(rules, design) @ imports


def trade_charge(design: Design, bought, sold):
    """P2P charge of one side, half of it on what it buys and sells, kW (T,), by hour: sums to $ over the day."""
    return design.p2p / 2 * (bought + sold)


def billed_energy(instance: Instance, imports):
    """Expected energy billed in each tariff block, kWh, (B,), passive loads included (:eq:`eq-billed-energy`).

    imports: what all prosumers import, kW, (T, S).
    """
    days = instance.days
    passive = membership(instance.rules) @ (days.passive_kw.sum(axis=0) @ days.probability)
    return passive + membership(instance.rules) @ (imports @ days.probability)


def revenue(design: Design, energy: np.ndarray, volume: float) -> float:
    """Expected tariff revenue of the DSO, $/day (:eq:`eq-revenue`). energy: billed kWh by block (B,); volume: P2P
    kWh."""
    return float(design.prices @ np.append(energy, volume))


def revenue_slack(instance: Instance, design: Design, energy: np.ndarray, volume: float, network_cost: float) -> float:
    """Revenue beyond the fixed cost and the network cost, $/day; adequacy asks for >= 0 (:eq:`eq-revenue-adequacy`)."""
    return revenue(design, energy, volume) - instance.fixed_cost - network_cost
