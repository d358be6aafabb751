"""Recourse policies against problems written and solved here, and against figures by hand."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from toy import days, line_feeder, plain_prosumer, plain_rules, rated, small_market

from tritier.cases import outcome
from tritier.cases.cases import risk_neutral
from tritier.cases.decisions import Decisions, decisions_of
from tritier.cases.judged import check_days
from tritier.cases.outcome import imbalance, offer_excess, settlement_of
from tritier.cases.recourse import POLICIES, DayDecisions, Recourse, side_by_side
from tritier.inputs.instance import Design, Instance, Menu
from tritier.reformulation.joint import JointLP
from tritier.search.responses import optimistic_response

DESIGN = Design((0.02, 0.08, 0.14), 0.02, ((1, 1000.0),))
TIGHT = Design((0.02, 0.08, 0.14), 0.02, ((1, 150.0),))


@pytest.fixture(scope="module", params=["expected", "scenario"])
def market(request):
    return small_market(n=3, hours=6, scenarios=4, seed=3, chance_level=0.3, billing=request.param)


@pytest.fixture(scope="module")
def recourse(market):
    """Other days than those of the design."""
    return Recourse(risk_neutral(market.on(small_market(n=3, hours=6, scenarios=3, seed=8).days)))


def designed(market: Instance, design: Design) -> Decisions:
    joint = JointLP(market)
    return decisions_of(joint, optimistic_response(joint, design, revenue=False))


@pytest.fixture(scope="module")
def decisions(market):
    found = designed(market, DESIGN)
    assert found["zb"].sum() > 10, "prosumers trade"
    return found


@pytest.fixture(scope="module")
def congested(market):
    found = designed(market, TIGHT)
    assert found["mu"].max() > 0.01, "limits have a price"
    return found


def alone(instance: Instance, i: int, w: int, decisions: Decisions) -> float:
    """Least cost of one prosumer on one day with its trades fixed, energy and import charges, $."""
    own, rules = instance.prosumers[i], instance.rules
    demand, sun = instance.days.demand_kw[i, :, w], instance.days.renewable_kw[i, :, w]
    hours, k = demand.size, rules.demand_blocks
    tau = np.array(decisions.design.tariff)[rules.block]
    buy, sell, cut, charge, discharge = (cp.Variable(hours, nonneg=True) for _ in range(5))
    level, served = cp.Variable(hours + 1, nonneg=True), cp.Variable((k, hours), nonneg=True)
    width = 2 * rules.flexibility / k
    middle = 1 - rules.flexibility + width * (np.arange(k) + 0.5)
    worth = rules.reference_price * (1 + (1 - middle) / abs(rules.elasticity))
    used = (1 - rules.flexibility) * demand + cp.sum(served, axis=0)
    lost = worth[: k // 2].sum() * width * demand.sum() - cp.sum(worth @ served)
    wear = own.degradation * cp.sum(charge + discharge) + rules.tie_break * cp.sum(level[1:])
    bill = (rules.retail + tau) @ buy - rules.feed_in @ sell
    rows = [
        buy + decisions["zb"][i] + sun - cut + discharge == used + sell + decisions["zs"][i] + charge,
        level[1:] == level[:-1] + own.eta * charge - discharge / own.eta,
        level[0] == level[hours],
        level <= own.battery_kwh,
        charge <= own.battery_kw,
        discharge <= own.battery_kw,
        cut <= sun,
        served <= width * np.tile(demand, (k, 1)),
    ]
    problem = cp.Problem(cp.Minimize(bill + wear + lost), rows)
    problem.solve(cp.HIGHS)
    return float(problem.value)


def test_network_blind_is_each_prosumer_alone(recourse, decisions):
    day = recourse.judge(decisions, "network-blind")
    paid = day["cost"] + charges(day, decisions)
    for i in range(3):
        for w in range(3):
            assert paid[i, w] == pytest.approx(alone(recourse.instance, i, w, decisions), rel=1e-7, abs=1e-6)
    assert not day.pi.any() and not day.bought.any()


def dearer(recourse, price: float) -> Recourse:
    """The same days where exceeding a limit offered costs ``price`` $/kW of the day's largest excess."""
    instance = recourse.instance
    return Recourse(replace(instance, rules=replace(instance.rules, excess_price=price)))


def test_market_policy_with_free_excess_and_no_other_limit_is_network_blind(recourse, congested):
    blind, priced = (dearer(recourse, 0.0).judge(congested, policy) for policy in ("network-blind", "market policy"))
    paid = [(day["cost"] + charges(day, congested)).sum() for day in (blind, priced)]
    assert paid[1] == pytest.approx(paid[0]) and not priced.pi.any()


def charges(day, decisions) -> np.ndarray:
    """Import charges of every prosumer and day that its cost does not hold yet, $, (I, W)."""
    tau = np.array(decisions.design.tariff)[day.instance.rules.block]
    return np.einsum("t,itw->iw", tau, day["gp"]) * (day.instance.rules.billing == "expected")


def test_market_policy_prices_at_most_what_excess_costs(recourse, congested):
    """The prices of a line over the hours of a day add to at most what its largest excess costs."""
    day = dearer(recourse, 0.3).judge(congested, "market policy")
    total = np.abs(day.pi).max(axis=0).sum(axis=0)
    assert total.max() > 0.01 and (total <= 0.3 + 1e-7).all()


def violations(day) -> float:
    """Largest LinDistFlow violation of band or rating, kW, on any judged day."""
    found = JointLP(day.instance, network=False).network.violations(day.net_load, {})
    return max(float(np.max(v)) for v in found.values() if v.size)


def sunny(rating: float = np.inf, demand: float = 100.0, sun: float = 300.0, **changes) -> Instance:
    """Two prosumers behind each other, the far one with sun; no battery, no demand response; two hours, two days."""
    shape = (2, 2, 2)
    renewable = np.zeros(shape)
    renewable[1] = sun
    feeder = replace(line_feeder(3), rating_kva=np.array([np.inf, rating]))
    people = (plain_prosumer(2), plain_prosumer(3))
    menu = Menu(((0.05,),), (0.0,), ())
    found = days(np.full(shape, demand), renewable, 3, (0.3, 0.7))
    return Instance(feeder, people, found, plain_rules(2, **changes), menu)


def by_hand(instance: Instance, trade: float) -> Decisions:
    """A design at which bus 3 sells ``trade`` kW to bus 2 in both hours."""
    buy = np.array([[trade] * 2, [0.0] * 2])
    arrays = {"zb": buy, "zs": buy[::-1].copy(), "lambda": np.full(2, 0.2), "mu": np.empty(0), "eta": np.empty(0)}
    arrays["gp"] = np.zeros((2, 2, 2))
    return Decisions(Design((0.05,), 0.0), (), arrays)


def test_hard_limits_curtail_what_the_line_cannot_carry():
    """300 kW of sun less 100 of own demand over a line of 120: 80 curtailed, priced at the lost feed-in, 0.10 $/kWh."""
    instance = sunny(rating=120.0)
    decisions = by_hand(instance, 50.0)
    blind, hard = (Recourse(instance).judge(decisions, p) for p in ("network-blind", "hard-limit redispatch"))
    assert blind["cu"] == pytest.approx(np.zeros((2, 2, 2)), abs=1e-7)
    assert hard["cu"][1] == pytest.approx(np.full((2, 2), 80.0), abs=1e-6)
    assert -hard.net_load[2] == pytest.approx(np.full((2, 2), 120.0), abs=1e-6)
    assert hard.bought == pytest.approx(np.zeros(2), abs=1e-9)
    assert hard.pi[2] == pytest.approx(np.full((2, 2), -0.10), abs=1e-7)
    assert hard.pi[:2] == pytest.approx(np.zeros((2, 2, 2)), abs=1e-9)


def test_hard_limits_hold_wherever_they_can(recourse, congested):
    """Imports cannot always fall to a rating of 150 kVA; where no violation was bought, none is left."""
    rating = Recourse(rated(recourse.instance, 150.0))
    day = rating.judge(congested, "hard-limit redispatch")
    assert violations(rating.judge(congested, "network-blind")) > 1.0
    free = np.flatnonzero(day.bought < 1e-9)
    for w in free:
        one = replace(day, instance=day.instance.on(day.instance.days.select([w])), arrays=only_day(day.arrays, w))
        assert violations(one) <= 2e-6
    assert (day.bought > 1.0).any() or free.size == day.bought.size


def only_day(arrays, w: int):
    """Arrays of one of the days; trades are the same on all."""
    return {name: x if name in ("zb", "zs") else x[..., [w]] for name, x in arrays.items()}


def test_what_cannot_be_served_is_bought_at_the_declared_price():
    """100 kW of firm demand behind a line of 60, no sun: 40 kW in two hours, at 3 $/kWh for who withdraws there."""
    instance = sunny(rating=60.0, sun=0.0)
    day = Recourse(instance).judge(by_hand(instance, 0.0), "hard-limit redispatch")
    assert day.bought == pytest.approx([80.0, 80.0], abs=1e-6)
    assert day.pi[2] == pytest.approx(np.full((2, 2), 3.0), abs=1e-7)
    assert instance.rules.violation_price == 3.0
    rent = settlement_of(day, by_hand(instance, 0.0)).rent_received
    assert rent == pytest.approx([3.0 * 100 * 2] * 2, abs=1e-5), "all withdrawal behind the line pays the price"


@pytest.mark.parametrize("trade", [50.0, 1000.0])
def test_trades_stand_on_days_without_sun(trade):
    """Sold ahead and not produced: the seller imports it, whatever the judged days would have let it sell."""
    instance = sunny(sun=0.0, demand=10.0)
    decisions = by_hand(instance, trade)
    for policy in POLICIES:
        day = Recourse(instance).judge(decisions, policy)
        assert day["gp"][1] == pytest.approx(np.full((2, 2), 10.0 + trade), abs=1e-6)
        assert day["gm"][0] == pytest.approx(np.full((2, 2), trade - 10.0), abs=1e-6)
        assert day.net_load[1:] == pytest.approx(np.full((2, 2, 2), 10.0), abs=1e-6)


@pytest.mark.parametrize("policy", POLICIES)
def test_stored_days_check_and_changed_days_do_not(policy, recourse, congested):
    day = recourse.judge(congested, policy)
    good = check_days(day, congested)
    assert good.primal <= 1e-6 and abs(good.gain) <= 1e-6 and good.prices <= 1e-5
    served = replace(day, arrays=day.arrays | {"served": day["served"] * 1.01})
    assert check_days(served, congested).primal > 1e-3
    wasteful = day.arrays | {"gp": day["gp"] + 1.0, "gm": day["gm"] + 1.0}
    rules, tau = day.instance.rules, np.array(congested.design.tariff)[day.instance.rules.block]
    paid = rules.retail - rules.feed_in + tau * (rules.billing == "scenario")
    wasteful["cost"] = day["cost"] + paid.sum()
    bad = check_days(replace(day, arrays=wasteful), congested)
    assert bad.primal <= 1e-6 and bad.gain > 1e-3


@pytest.mark.parametrize("policy", POLICIES)
def test_both_sides_of_every_payment_agree(policy, recourse, congested):
    settlement = settlement_of(recourse.judge(congested, policy), congested)
    assert imbalance(settlement, 123.0) < 1e-8
    accounts = settlement.accounts(123.0)
    assert sum(accounts.values()) == pytest.approx(np.zeros(3), abs=1e-8)
    booked, billed = settlement.booked + settlement.outside, settlement.retail + settlement.network
    assert booked == pytest.approx(billed, rel=1e-9, abs=1e-8), "prosumers' own books against the bills"
    assert settlement.p2p_charge.sum() == pytest.approx(settlement.sold, rel=1e-9)
    supplied = settlement.wholesale + settlement.losses + settlement.demand_charge
    assert settlement.supplied == pytest.approx(supplied, rel=1e-9), "power drawn against lines and sales"
    rent = settlement.congestion.sum(axis=0) + settlement.passive_congestion
    assert settlement.rent_received == pytest.approx(rent, abs=1e-8)


FALSE_BOOKS = {  # what is changed in a sound day, behind everybody's back
    "a purchase that nobody sold": lambda a: {"zb": a["zb"] + np.eye(1, 3).T},
    "a random dispatch": lambda a: {"gp": np.random.default_rng(1).uniform(0, 100, a["gp"].shape)},
    "a trade that is sold dearer than bought": lambda a: {"zs": a["zs"] * 1.01},
    "costs of other prices": lambda a: {"cost": a["cost"] * 1.01},
    "a battery that charges from nowhere": lambda a: {"ch": a["ch"] + 1.0},
}


@pytest.mark.parametrize("case", FALSE_BOOKS)
def test_false_books_do_not_add_up(case, recourse, decisions):
    day = recourse.judge(decisions, "network-blind")
    assert imbalance(settlement_of(day, decisions), 0.0) < 1e-8
    broken = replace(day, arrays=day.arrays | FALSE_BOOKS[case](day.arrays))
    assert imbalance(settlement_of(broken, decisions), 0.0) > 0.1


@pytest.mark.parametrize("name", ["linear_losses", "retail_cost", "charges", "trade_charge"])
def test_a_bill_of_another_size_does_not_add_up(name, recourse, congested, monkeypatch):
    """Losses, prices and charges scaled in one agent's books: the others' meters know nothing of it."""
    day, sound = recourse.judge(congested, "market policy"), getattr(outcome, name)
    assert imbalance(settlement_of(day, congested), 0.0) < 1e-8
    monkeypatch.setattr(outcome, name, lambda *a: 1.01 * sound(*a))
    assert imbalance(settlement_of(day, congested), 0.0) > 1e-3


def test_unknown_policy(recourse, decisions):
    with pytest.raises(ValueError, match="unknown policy 'hope'; choose one of network-blind"):
        recourse.judge(decisions, "hope")


def offered(instance: Instance, limit: float, price: float) -> tuple[Instance, Decisions]:
    """The instance with a limit on its second line, exceeded at ``price`` $/kW of the day's largest excess."""
    rules = replace(instance.rules, excess_price=price)
    menu = Menu(((0.05,),), (0.0,), ((2, (limit, 1e4)),))
    decisions = by_hand(instance, 0.0)
    design = Design((0.05,), 0.0, ((2, limit),))
    return replace(instance, rules=rules, menu=menu), replace(decisions, design=design)


def test_market_policy_exceeds_an_offer_where_that_is_cheaper():
    """80 kW of sun beyond an offer of 120 kW are fed in for 0.10 $/kWh in both hours, or curtailed: 0.20 $/kW a day."""
    for price, curtailed, excess in ((0.15, 0.0, 80.0), (0.25, 80.0, 0.0)):
        instance, decisions = offered(sunny(), 120.0, price)
        day = Recourse(instance).judge(decisions, "market policy")
        assert day["cu"][1] == pytest.approx(np.full((2, 2), curtailed), abs=1e-6)
        assert offer_excess(day, decisions.design) == pytest.approx([excess, excess], abs=1e-6)
        assert day.bought == pytest.approx(np.zeros(2), abs=1e-9)


def test_prices_of_an_offer_add_up_to_what_its_excess_costs():
    """Complementary slackness: where a day exceeds the offer, its prices over the hours add to the price of excess."""
    instance, decisions = offered(sunny(), 120.0, 0.15)
    day = Recourse(instance).judge(decisions, "market policy")
    assert -day.pi[2].sum(axis=0) == pytest.approx([0.15, 0.15], abs=1e-8)
    assert day.pi[:2] == pytest.approx(np.zeros((2, 2, 2)), abs=1e-10)


def test_market_policy_pays_the_declared_price_for_physical_limits_only():
    """100 kW of firm demand, a rating of 60 and an offer of 50: 40 kW bought at 3 $/kWh, 10 of excess at its price."""
    instance, decisions = offered(sunny(rating=60.0, sun=0.0), 50.0, 0.5)
    day = Recourse(instance).judge(decisions, "market policy")
    assert day.bought == pytest.approx([80.0, 80.0], abs=1e-6)
    assert offer_excess(day, decisions.design) == pytest.approx([50.0, 50.0], abs=1e-6)  # of the flow of 100 kW
    assert day.pi[2].sum(axis=0) == pytest.approx([6.5, 6.5], abs=1e-7)


def test_days_of_the_market_policy_check_and_changed_ones_do_not():
    instance, decisions = offered(sunny(), 120.0, 0.15)
    day = Recourse(instance).judge(decisions, "market policy")
    good = check_days(day, decisions)
    assert max(good.primal, abs(good.gain), good.prices) < 1e-8
    less = day.arrays | {"cu": day["cu"].copy(), "gm": day["gm"].copy(), "cost": day["cost"].copy()}
    less["cu"][1] += 40.0
    less["gm"][1] -= 40.0
    less["cost"][1] += 0.10 * 80.0
    bad = check_days(replace(day, arrays=less), decisions)
    assert bad.primal < 1e-8 and bad.gain > 1e-3


@pytest.mark.parametrize("first_asks", [True, False])
def test_a_day_on_which_no_vehicle_asks_stands_beside_one_on_which_some_do(first_asks):
    """The first day's names are not all days' names: what a day does not know is zero there, and nothing is lost."""
    market = small_market()
    n, n_hours = market.days.demand_kw.shape[:2]
    drawn, none = np.full((n, n_hours, 1), 2.0), np.zeros((market.feeder.bus.size, n_hours, 1))
    asks, rests = (
        DayDecisions(market, "network-blind", {"gp": drawn} | more, none, np.zeros(1)) for more in ({"ev": drawn}, {})
    )
    found = side_by_side(market, [asks, rests] if first_asks else [rests, asks])
    assert found["ev"].shape == found["gp"].shape == (n, n_hours, 2)
    assert found["ev"].sum(axis=(0, 1)).tolist() == [2.0 * n * n_hours, 0.0][:: 1 if first_asks else -1]
