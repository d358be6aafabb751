"""A three-level market small enough for every complementarity mode, and its growth by hours.

One battery, firm demand, a limit at the feeder head that binds and a revenue requirement that excludes the cheapest
design: the example of the complementarity chapter, and a known answer of the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tritier.bilevel import LinearBilevel, solve_follower
from tritier.bilevel_bounds import boxes
from tritier.bilevel_enumerate import discrete_points, enumerate_menu
from tritier.bilevel_market import bounds_by_hand, market_bilevel, settled, storage_bounds
from tritier.instance import Days, Feeder, Instance, Menu, Prosumer, Rules
from tritier.joint import JointLP
from tritier.kkt import kkt_system

PROSUMERS = 3
MARGIN = 0.5  # $/day that the example asks beyond what its cheapest design recovers


@dataclass(frozen=True, eq=False)
class MarketExample:
    """The market as one linear bilevel problem: with the revenue row, without it, its boxes and storage bounds."""

    joint: JointLP
    problem: LinearBilevel
    unrestricted: LinearBilevel
    box: np.ndarray  # (nx + ny, 2)
    dual_bound: dict[str, float]


def example_instance(hours: int = 4, scenarios: int = 2, seed: int = 3) -> Instance:
    """Three prosumers in a row behind the substation, random demand and sun, tariff blocks of equal length.

    Demand 50 to 150 kW; prosumers 1 and 3 have up to 200 kW of sun, prosumer 1 a battery of 40 kWh and 20 kW.
    """
    rng = np.random.default_rng(seed)
    shape, buses = (PROSUMERS, hours, scenarios), PROSUMERS + 1
    demand = rng.uniform(50, 150, shape)
    sun = rng.uniform(0, 200, shape) * np.array([1.0, 0.0, 1.0])[:, None, None]
    weight = rng.uniform(1, 2, scenarios)
    zero = np.zeros((buses, hours, scenarios))
    label = tuple(f"day {w}" for w in range(scenarios))
    days = Days(weight / weight.sum(), demand, sun, zero, zero, np.full((hours, scenarios), 0.05), label)
    people = tuple(
        Prosumer(f"P{k + 2}", k + 2, 0.0, 0.0, 40.0 * (k == 0), 20.0 * (k == 0), 0.95, 0.04, 0.5)
        for k in range(PROSUMERS)
    )
    menu = Menu(((0.02, 0.08), (0.02, 0.08), (0.02,)), (0.01,), ((1, (220.0, 240.0, 1000.0)),))
    return Instance(_feeder(buses), people, days, _rules(hours), menu, fixed_cost=-1e3)


def market_example(hours: int = 4, scenarios: int = 2, seed: int = 3) -> MarketExample:
    """The example with a revenue requirement just above what its cheapest design recovers, so that both limits bind."""
    joint = settled(JointLP(example_instance(hours, scenarios, seed)))
    free, box = market_bilevel(joint)
    row = free.U_name.index("revenue adequacy")
    _, x, y, _ = enumerate_menu(free)
    least = free.U_lower.copy()
    least[row] = (free.U @ np.concatenate([x, y]))[row] + MARGIN
    problem = replace(free, U_lower=least)
    return MarketExample(joint, problem, free, box, storage_bounds(joint, problem, box))


def _feeder(buses: int) -> Feeder:
    lines = buses - 1
    return Feeder(
        bus=np.arange(1, buses + 1),
        p_kw=np.zeros(buses),
        q_kvar=np.zeros(buses),
        v_min=np.full(buses, 0.9),
        v_max=np.full(buses, 1.1),
        line=np.arange(1, buses),
        parent=np.arange(lines),
        r_ohm=np.full(lines, 2.0),
        x_ohm=np.full(lines, 2.0),
        rating_kva=np.full(lines, 5000.0),
        vn_kv=10.0,
        v_slack=1.0,
    )


def _rules(hours: int) -> Rules:
    return Rules(
        retail=np.full(hours, 0.30),
        feed_in=np.full(hours, 0.10),
        block=(np.arange(hours) * 3 // hours).astype(int),
        reference_price=0.38,
        elasticity=-0.1,
        flexibility=0.0,
        demand_blocks=2,
        alpha=0.9,
        chance_level=0.05,
        violation_price=3.0,
        voltage_margin=0.0,
        demand_charge=0.3,
        tie_break=0.0,
        reference_value=0.5,
    )


def bound_table(example: MarketExample) -> pd.DataFrame:
    """The market's M by kind of multiplier: how many, by argument, as derived, and the largest that occurs.

    Columns ``multiplier``, ``source`` (of the derived bound), ``number``, ``argument`` (nan where the argument says
    nothing), ``derived``, ``largest`` (over the follower's LPs at all points of the menu).
    """
    kkt, hand = kkt_system(example.problem), bounds_by_hand(example.joint)
    derived = boxes(kkt, example.dual_bound, example.box)
    found = [solve_follower(example.problem, np.nan_to_num(x))[3:] for x in discrete_points(example.problem)]
    table = pd.DataFrame(
        {
            "multiplier": [_kind(name) for name in kkt.name],
            "source": derived.dual_source,
            "argument": [hand.get(name, np.nan) for name in kkt.name],
            "derived": derived.dual,
            "largest": np.max([np.abs(kkt.multipliers(*duals)) for duals in found], axis=0),
        }
    )
    groups = table.groupby(["multiplier", "source"], sort=False, as_index=False)
    return groups.agg(number=("derived", "size"), **{c: (c, "max") for c in ("argument", "derived", "largest")})


def _kind(name: str) -> str:
    """``mu_up of tail`` from ``mu_up[tail0:capacity[0,3][1]]``."""
    mark, rest = name.split("[", 1)
    return f"{mark} of {rest.split('[')[0].split(':')[0].rstrip('0123456789]')}"
