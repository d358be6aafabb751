"""Who pays whom: money flows of a day by agent, which must add up to zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tritier.instance import Design, Instance

AGENTS = ("prosumers", "passive loads", "platform", "DSO", "retailer", "taxes", "upstream")


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
    price of
    net injection (N, T, W), $/kWh, not weighed by probability; losses_kw (T, W).
    """
    rules, days = instance.rules, instance.days
    tau = np.asarray(design.tariff)[rules.block]
    passive = days.passive_kw.sum(axis=0)
    load = day.net_load
    head = load.sum(axis=0)
    imports, exports = day["gp"].sum(axis=0) + passive, day["gm"].sum(axis=0)
    volume = (day["zb"] + day["zs"]).sum() / 2
    return Settlement(
        retail=np.einsum("t,itw->iw", rules.retail, day["gp"]) - np.einsum("t,itw->iw", rules.feed_in, day["gm"]),
        passive_retail=rules.retail @ passive,
        network=np.einsum("t,itw->iw", tau, day["gp"]),
        passive_network=tau @ passive,
        p2p_charge=design.p2p / 2 * (day["zb"] + day["zs"]).sum(axis=1),
        p2p=(day["zb"] - day["zs"]) @ lam,
        congestion=-np.einsum("itw,itw->iw", pi[instance.prosumer_bus], day.injection),
        passive_congestion=(pi * days.passive_kw).sum(axis=(0, 1)),
        retail_received=rules.retail @ imports - rules.feed_in @ exports,
        network_received=tau @ imports + design.p2p * volume,
        rent_received=(pi * load).sum(axis=(0, 1)),
        tax=rules.tax_share * (rules.retail @ imports),
        wholesale=(days.wholesale * head).sum(axis=0),
        losses=(np.maximum(days.wholesale, 0) * losses_kw).sum(axis=0),
        demand_charge=rules.demand_charge * np.maximum(head.max(axis=0), 0),
    )


def imbalance(settlement: Settlement, fixed_cost: float) -> float:
    """Largest sum of all agents' receipts on any day, $: zero where payers' and receivers' books agree."""
    return float(np.abs(sum(settlement.accounts(fixed_cost).values())).max())
