"""Loads that can wait, prices that follow the day, and demand at the prices that occur, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy import days, line_feeder, plain_prosumer, plain_rules, small_market

from tritier.cases.cases import risk_neutral, without_assets
from tritier.cases.certificate import check_equilibrium, check_follower, equilibrium, follower_residuals, stored_lp
from tritier.cases.decisions import decisions_of
from tritier.cases.judged import check_days
from tritier.cases.outcome import imbalance, settlement_of
from tritier.cases.recourse import DayDecisions, Recourse
from tritier.errors import InputError
from tritier.inputs.instance import Design, Instance, Menu
from tritier.inputs.scenarios import demand_levels
from tritier.model.devices import block_levels, late_kwh
from tritier.model.network import losses_kw
from tritier.model.prosumer import prosumer_data
from tritier.reformulation.joint import JointLP
from tritier.search.large import clear as clear_large
from tritier.search.large import large_instance, thinned
from tritier.search.responses import optimistic_response

PRICES = np.array([0.30, 0.40, 0.20, 0.25, 0.11, 0.50])  # $/kWh, by hour
DESIGN = Design((0.05,), 0.02)


def alone(delay: int, power: float = 6.0, **changes) -> Instance:
    """One prosumer with 1 kW of demand whose vehicles ask for 10 kWh in hour 1 and have chargers of 6 kW."""
    own = plain_prosumer(2, ev_kwh_per_day=10.0, ev_kw=power, ev_delay_h=delay)
    asked = np.zeros((1, 2, 6, 1))
    asked[0, 0, 1] = 10.0
    day = days(np.ones((1, 6, 1)), np.zeros((1, 6, 1)), 2)
    day = replace(day, deferrable_kw=asked, plugged_kw=np.full((1, 2, 6, 1), power), retail=PRICES[:, None])
    menu = Menu(((0.05,),), (0.02,), ())
    return Instance(line_feeder(2), (own,), day, plain_rules(6, **changes), menu)


def answer(instance: Instance, design: Design = DESIGN):
    joint = JointLP(instance)
    response = optimistic_response(joint, design, revenue=False)
    return response, decisions_of(joint, response)


@pytest.mark.parametrize(
    ("delay", "expected", "paid"),
    [
        # Hours 1 to 4 may be used: 6 kWh at 0.11 in hour 4, the other 4 at 0.20 in hour 2.
        (3, [0.0, 0.0, 4.0, 0.0, 6.0, 0.0], 6 * 0.11 + 4 * 0.20),
        # Hours 1 to 3: 6 kWh at 0.20 and 4 at 0.25.
        (2, [0.0, 0.0, 6.0, 4.0, 0.0, 0.0], 6 * 0.20 + 4 * 0.25),
        # Nobody waits: 10 kWh in hour 1, whatever the chargers can do together.
        (0, [0.0, 10.0, 0.0, 0.0, 0.0, 0.0], 10 * 0.40),
        # A whole day may pass: 6 kWh at 0.11, 4 at 0.20.
        (5, [0.0, 0.0, 4.0, 0.0, 6.0, 0.0], 6 * 0.11 + 4 * 0.20),
    ],
)
def test_a_vehicle_that_must_charge_ten_kilowatt_hours_in_time(delay, expected, paid):
    response, found = answer(alone(delay))
    assert found["ev"][0, :, 0] == pytest.approx(expected, abs=1e-9)
    demand = PRICES.sum() + 0.05 * 6  # 1 kW in every hour
    assert response.theta == pytest.approx(paid + 0.05 * 10 + demand, abs=1e-3)  # the tie-break is below that
    backlog = found["ev_backlog"][0, :, 0]
    assert backlog.min() == pytest.approx(0.0, abs=1e-12) and backlog[1] == pytest.approx(10.0 - expected[1])


def test_what_is_asked_for_is_drawn_at_once_where_prices_do_not_care():
    """At one price for all hours 6 kWh go in hour 1 and 4 in hour 2; without the tie-break any hours would do."""
    instance = alone(3)
    instance = instance.on(replace(instance.days, retail=None))
    _, found = answer(instance)
    assert found["ev"][0, :, 0] == pytest.approx([0.0, 6.0, 4.0, 0.0, 0.0, 0.0], abs=1e-9)


def test_chargers_too_small_for_their_vehicles_are_refused():
    with pytest.raises(InputError, match=r"ev_kw.*P2: 1 kWh of a day cannot be drawn within 2 h"):
        JointLP(alone(2, power=3.0))
    asked, plugged = np.array([[10.0], [0.0], [0.0], [0.0]]), np.full((4, 1), 3.0)
    assert late_kwh(asked, plugged, 2) == pytest.approx([1.0])  # 3 hours at 3 kW
    assert late_kwh(asked, plugged, 3) == pytest.approx([0.0])
    assert late_kwh(np.roll(asked, 3, axis=0), plugged, 3) == pytest.approx([0.0])  # past midnight


def in_turn(asked: list[float], plugged: list[float], delay: int) -> float:
    """What is late on the second of two equal days where the oldest request is always served first, kWh."""
    waiting, late = [], 0.0
    for t in range(2 * len(asked)):
        waiting.append([t, asked[t % len(asked)]])
        room = plugged[t % len(asked)]
        for request in waiting:
            drawn = min(room, request[1])
            request[1], room = request[1] - drawn, room - drawn
        late += sum(left for hour, left in waiting if hour == t - delay) * (t >= len(asked))
        waiting = [request for request in waiting if request[0] > t - delay]
    return late


@pytest.mark.parametrize("seed", range(40))
def test_what_is_late_is_what_serving_in_turn_leaves(seed):
    rng = np.random.default_rng(seed)
    asked = np.round(10 * rng.random((6, 9)) * (rng.random((6, 9)) < 0.6), 1)
    plugged = np.round(10 * rng.random((6, 9)) * rng.choice([0.8, 1.5, 3.0], 9), 1)
    late = late_kwh(asked, plugged, delay := int(rng.integers(0, 5)))
    by_hand = [in_turn(asked[:, s].tolist(), plugged[:, s].tolist(), delay) for s in range(9)]
    assert late == pytest.approx(by_hand, abs=1e-9)


def electrified(seed: int = 3, billing: str = "scenario") -> Instance:
    """A market of three; the first has vehicles, the second a heat pump, and retail prices follow the day."""
    base = small_market(n=3, hours=6, scenarios=3, seed=seed, billing=billing)
    rng = np.random.default_rng(seed)
    asked = rng.uniform(0, 30, (3, 2, 6, 3)) * np.array([[1, 0], [0, 1], [0, 0]])[:, :, None, None]
    retail = rng.uniform(0.1, 0.5, (6, 3))
    day = replace(
        base.days, deferrable_kw=asked, plugged_kw=np.full(asked.shape, 40.0), retail=retail, feed_in=0.2 * retail
    )
    loads = [{"ev_delay_h": 3}, {"hp_delay_h": 1}, {}]
    people = tuple(replace(p, **own) for p, own in zip(base.prosumers, loads, strict=True))
    return replace(base, prosumers=people, days=day)


@pytest.mark.parametrize("billing", ["expected", "scenario"])
def test_deferrable_loads_clear_are_certified_and_judged(billing):
    market = electrified(billing=billing)
    design = Design((0.02, 0.08, 0.14), 0.02, ((1, 250.0),))
    _, found = answer(market, design)
    asked = market.days.deferrable_kw
    assert found["ev"].sum(axis=1) == pytest.approx(asked[:, 0].sum(axis=1), abs=1e-6)
    assert found["hp"].sum(axis=1) == pytest.approx(asked[:, 1].sum(axis=1), abs=1e-6)
    assert np.abs(found["ev"] - asked[:, 0]).max() > 1.0, "vehicles wait"
    late = np.cumsum(asked[1, 1], axis=0)[:-1] - np.cumsum(found["hp"][1], axis=0)[1:]
    assert (late <= found["hp_backlog"][1][-1] + 1e-6).all(), "a heat pump waits no longer than an hour"
    joint = stored_lp(market, found, market=True, network=True)
    check_follower(follower_residuals(joint, found))
    check_equilibrium(equilibrium(market, found, joint, True), [p.name for p in market.prosumers])
    judged = Recourse(risk_neutral(market.on(electrified(8).days))).judge(found, "network-blind")
    check = check_days(judged, found)
    assert max(check.primal, abs(check.gain), check.prices) < 1e-6
    assert imbalance(settlement_of(judged, found), 100.0) < 1e-9
    early = judged.arrays | {"ev": judged["ev"] * 0.9}
    assert check_days(replace(judged, arrays=early), found).primal > 0.1


def test_deferrable_loads_clear_in_a_large_market():
    market = electrified()
    design = Design((0.02, 0.08, 0.14), 0.02, ((1, 1000.0),))
    joint = JointLP(market)
    joint.set_design(design)
    assert clear_large(market, design).cost == pytest.approx(joint.solve(joint.cost(design)).objective, rel=1e-6)


def test_vehicles_are_spread_over_a_large_market_and_stay_when_it_is_thinned():
    base = electrified()
    large = large_instance(base, 12, seed=4)
    for name in ("deferrable_kw", "plugged_kw"):
        total, spread, thin = (getattr(market.days, name) for market in (base, large, thinned(large, 6)))
        assert spread.shape[0] == len(large.prosumers) == 12 and total.any()
        assert spread.sum(axis=0) == pytest.approx(total.sum(axis=0), rel=1e-9)
        assert thin == pytest.approx(2 * spread[::2], rel=1e-12), "half of the prosumers, each twice as large"


def test_nobody_waits_in_case_0():
    market = without_assets(electrified())
    _, found = answer(market, Design((0.02, 0.08, 0.14), 0.02, ((1, 1000.0),)))
    assert found["ev"] == pytest.approx(market.days.deferrable_kw[:, 0], abs=1e-9)
    assert not found["ev_backlog"].any()


def test_a_negative_hour_of_a_spot_indexed_price_by_hand():
    """10 kW of demand and 4 kW of sun in both hours; retail -0.02 and 0.40, feed-in 0 and 0.15, network charge 0.05.

    Sun is worth 0.03 in the first hour (what import would cost), so it is used: 6 kWh are imported in each hour. The
    retailer pays 0.12 in the first and is paid 2.40 in the second; the DSO gets 0.60. Taxes: 71.75 % of 0.30, and VAT
    of 19 % on what the price is above it or below, 0.19/1.19 of -0.32 and of 0.10.
    """
    day = days([[[10.0], [10.0]]], [[[4.0], [4.0]]], 2)
    day = replace(day, retail=np.array([[-0.02], [0.40]]), feed_in=np.array([[0.0], [0.15]]))
    instance = Instance(line_feeder(2), (plain_prosumer(2),), day, plain_rules(2), Menu(((0.05,),), (0.02,), ()))
    response, found = answer(instance)
    assert found["gp"][0, :, 0] == pytest.approx([6.0, 6.0])
    assert response.theta == pytest.approx(6 * (0.03 + 0.45))
    assert prosumer_data(instance, 0).retail[0, 0] == -0.02
    books = settlement_of(DayDecisions(instance, "network-blind", found.arrays, 0 * day.passive_kw, np.zeros(1)), found)
    assert books.retail[0] == pytest.approx([-0.12 + 2.40])
    assert books.network_received == pytest.approx([0.60])
    vat = 0.19 / 1.19
    assert books.tax == pytest.approx([6 * (2 * 0.7175 * 0.30 + vat * (-0.32 + 0.10))])
    assert losses_kw(np.zeros((1, 2)), np.zeros((1, 2)), instance.feeder) == pytest.approx(0.0)
    assert imbalance(books, 0.0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("charge", [0.02, 0.05, 0.11, 0.13])
def test_demand_is_exact_at_every_price_that_occurs(charge):
    """Linear demand d0 (1 - 0.1 (p / p0 - 1)) and the area under its inverse, at retail 0.30 plus each charge; four
    equal blocks of 5 % would leave demand where it is at all of them."""
    base = plain_rules(1, flexibility=0.1, reference_price=0.35, demand_blocks=4)
    day = days([[[100.0]]], [[[0.0]]], 2)
    menu = Menu(((0.02, 0.05, 0.11, 0.13),), (0.02,), ())
    levels = demand_levels(base, day, menu, 0.05)
    assert levels[0] == 0.9 and levels[-1] == 1.1 and 1.0 in levels
    exact = 100 * (1 - 0.1 * ((0.30 + charge) / 0.35 - 1))
    for rules, off in ((replace(base, demand_levels=levels), 0.0), (base, abs(exact - 100))):
        instance = Instance(line_feeder(2), (plain_prosumer(2),), day, rules, menu)
        response, found = answer(instance, Design((charge,), 0.02))
        served = 90 + found["served"].sum()
        assert served == pytest.approx(exact if rules.demand_levels else 100.0, abs=1e-9)
        assert abs(served - exact) == pytest.approx(off, abs=1e-9)
        mean = 0.35 * (1 + (1 - (1 + served / 100) / 2) / 0.1)  # value of the kWh between served and reference
        assert response.social.lost_value == pytest.approx((100 - served) * mean, abs=1e-9)
    assert off > 0.1 or charge == 0.05


def test_equal_blocks_are_gone_with_demand_response():
    rules = plain_rules(1, flexibility=0.0, demand_levels=(0.9, 1.0, 1.02, 1.1))
    assert block_levels(rules) == pytest.approx([1.0] * 4) and rules.demand_blocks == 3
