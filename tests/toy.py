"""Small instances with figures a reader can follow, shared by the tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tritier.inputs.instance import Days, Feeder, Instance, Menu, Prosumer, Rules


def line_feeder(
    n: int, r_ohm: float = 0.0, x_ohm: float = 0.0, rating_kva: float = np.inf, vn_kv: float = 10.0
) -> Feeder:
    """n buses in a row, slack first."""
    lines = n - 1
    return Feeder(
        bus=np.arange(1, n + 1),
        p_kw=np.zeros(n),
        q_kvar=np.zeros(n),
        v_min=np.full(n, 0.9),
        v_max=np.full(n, 1.1),
        line=np.arange(1, n),
        parent=np.arange(lines),
        r_ohm=np.full(lines, r_ohm),
        x_ohm=np.full(lines, x_ohm),
        rating_kva=np.full(lines, rating_kva),
        vn_kv=vn_kv,
        v_slack=1.0,
    )


def plain_rules(hours: int, **changes) -> Rules:
    """Retail 0.30, feed-in 0.10 $/kWh, one tariff block, no demand response."""
    base = Rules(
        retail=np.full(hours, 0.30),
        feed_in=np.full(hours, 0.10),
        block=np.zeros(hours, dtype=int),
        reference_price=0.30,
        elasticity=-0.1,
        flexibility=0.0,
        demand_blocks=2,
        alpha=0.9,
        chance_level=0.05,
        violation_price=3.0,
        voltage_margin=0.0,
        demand_charge=0.0,
        tie_break=1e-5,
        reference_value=0.5,
        tax_share=0.7175,
        vat_share=0.19,
    )
    return replace(base, **changes)


def plain_prosumer(bus: int, **changes) -> Prosumer:
    """No assets, risk neutral."""
    base = Prosumer(
        f"P{bus}", bus, pv_kw=0.0, wind_kw=0.0, battery_kwh=0.0, battery_kw=0.0, eta=0.95, degradation=0.04, beta=0.0
    )
    return replace(base, **changes)


def days(demand, renewable, n_bus: int, probability=(1.0,), passive=None, reactive=None, wholesale=0.05) -> Days:
    """Days from demand and renewables of shape (I, T, S)."""
    demand, renewable = np.asarray(demand, dtype=float), np.asarray(renewable, dtype=float)
    _, hours, n = demand.shape
    zero = np.zeros((n_bus, hours, n))
    return Days(
        probability=np.asarray(probability, dtype=float),
        demand_kw=demand,
        renewable_kw=renewable,
        passive_kw=zero if passive is None else np.asarray(passive, dtype=float),
        reactive_kvar=zero if reactive is None else np.asarray(reactive, dtype=float),
        wholesale=np.broadcast_to(wholesale, (hours, n)).astype(float),
        label=tuple(f"day {w}" for w in range(n)),
    )


def small_market(n: int = 3, hours: int = 4, scenarios: int = 2, seed: int = 1, **rules) -> Instance:
    """n prosumers on a feeder of n + 1 buses with random demand and sun, batteries and demand response; charges on
    expected energy, unless the rules say otherwise."""
    rng = np.random.default_rng(seed)
    demand = rng.uniform(50, 150, (n, hours, scenarios))
    renewable = rng.uniform(0, 200, (n, hours, scenarios)) * (np.arange(n) % 2 == 0)[:, None, None]
    passive = np.zeros((n + 1, hours, scenarios))
    probability = rng.uniform(1, 2, scenarios)
    feeder = line_feeder(n + 1, r_ohm=2.0, x_ohm=2.0, rating_kva=5000.0)
    changes = dict(
        block=(np.arange(hours) * 3 // hours).astype(int),
        flexibility=0.1,
        demand_blocks=4,
        reference_price=0.38,
        demand_charge=0.5,
        billing="expected",
    )
    people = tuple(
        plain_prosumer(k + 2, battery_kwh=40.0 * (k % 2 == 0), battery_kw=20.0 * (k % 2 == 0), beta=0.5)
        for k in range(n)
    )
    menu = Menu(((0.02, 0.08, 0.14),) * 3, (0.0, 0.02), ((1, (150.0, 250.0, 1000.0)),))
    return Instance(
        feeder,
        people,
        days(demand, renewable, n + 1, probability / probability.sum(), passive=passive),
        plain_rules(hours, **(changes | rules)),
        menu,
    )


def rated(instance: Instance, kva: float) -> Instance:
    """The instance whose first line, the head, carries no more than that."""
    rating = instance.feeder.rating_kva.copy()
    rating[0] = kva
    return replace(instance, feeder=replace(instance.feeder, rating_kva=rating))
