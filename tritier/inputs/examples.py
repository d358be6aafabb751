"""Markets small enough to be solved on paper: examples of the market chapter, known answers of the tests.

All have one hour, a retail price of 0.30 and a feed-in price of 0.10 $/kWh, firm demand and no batteries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tritier.inputs.instance import Days, Design, Feeder, Instance, Menu, Prosumer, Rules

DESIGN = Design((0.05,), 0.02)  # import tariff and P2P charge of the two examples without uncertainty, $/kWh


def one_hour_rules() -> Rules:
    """Prices and limits of the examples."""
    return Rules(
        retail=np.array([0.30]),
        feed_in=np.array([0.10]),
        block=np.array([0]),
        reference_price=0.30,
        elasticity=-0.1,
        flexibility=0.0,
        demand_blocks=2,
        alpha=0.6,
        chance_level=0.05,
        violation_price=3.0,
        voltage_margin=0.0,
        demand_charge=0.0,
        tie_break=0.0,
        reference_value=0.5,
        tax_share=0.7175,
        vat_share=0.19,
    )


def short_line() -> Feeder:
    """Two buses joined by one line without impedance or rating."""
    return Feeder(
        bus=np.array([1, 2]),
        p_kw=np.zeros(2),
        q_kvar=np.zeros(2),
        v_min=np.array([1.0, 0.9]),
        v_max=np.array([1.0, 1.1]),
        line=np.array([1]),
        parent=np.array([0]),
        r_ohm=np.zeros(1),
        x_ohm=np.zeros(1),
        rating_kva=np.array([np.inf]),
        vn_kv=10.0,
        v_slack=1.0,
    )


def prosumer(name: str, bus: int, beta: float = 0.0) -> Prosumer:
    """A prosumer without a battery; what it generates stands in the days."""
    return Prosumer(name, bus, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, beta)


def one_hour(demand: ArrayLike, renewable: ArrayLike, probability: ArrayLike = (1.0,)) -> Days:
    """Days of one hour from demand and renewable power in kW, shape (I, S); no passive load, wholesale 0.05 $/kWh."""
    drawn, given = (np.asarray(x, dtype=float)[:, None, :] for x in (demand, renewable))
    n = drawn.shape[-1]
    zero = np.zeros((2, 1, n))
    label = tuple(f"scenario {w + 1}" for w in range(n))
    return Days(np.array(probability), drawn, given, zero, zero, np.full((1, n), 0.05), label)


def two_prosumers() -> Instance:
    """Ann has 10 kW of sun and needs 4 kW; Bob needs 10 kW; both live at bus 2."""
    people = (prosumer("Ann", 2), prosumer("Bob", 2))
    menu = Menu(((0.05,),), (0.02,), ())
    return Instance(short_line(), people, one_hour([[4.0], [10.0]], [[10.0], [0.0]]), one_hour_rules(), menu)


def congested_feeder() -> Instance:
    """Ann, at bus 2, has 11 kW of sun and needs 1; Bob, at the substation, needs 8. The line between takes 6 kW."""
    people = (prosumer("Ann", 2), prosumer("Bob", 1))
    menu = Menu(((0.05,),), (0.02,), ((1, (6.0, 100.0)),))
    return Instance(short_line(), people, one_hour([[1.0], [8.0]], [[11.0], [0.0]]), one_hour_rules(), menu)


def uncertain_buyer(beta: float) -> Instance:
    """Ann surely has 100 kW to sell; Bob needs 10, 20, 30, 40 or 50, equally likely, and buys before he knows."""
    people = (prosumer("Ann", 2), prosumer("Bob", 2, beta))
    demand, sun = [np.zeros(5), 10.0 * np.arange(1, 6)], [np.full(5, 100.0), np.zeros(5)]
    menu = Menu(((0.0,),), (0.10,), ())
    return Instance(short_line(), people, one_hour(demand, sun, np.full(5, 0.2)), one_hour_rules(), menu)
