"""What a day was like, against figures by hand and against the DSO's own books."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toy import days, line_feeder, plain_prosumer, plain_rules, rated, small_market

from tritier.cases.cases import risk_neutral
from tritier.cases.decisions import decisions_of
from tritier.cases.outcome import band_depth, daily_table, mean_and_cvar, physics_table, settlement_of
from tritier.cases.recourse import POLICIES, DayDecisions, Recourse
from tritier.cases.security import least_curtailment
from tritier.inputs.instance import Design, Instance, Menu
from tritier.reformulation.joint import JointLP
from tritier.search.responses import optimistic_response


def two_bus(load=(1000.0, 100.0), band=(0.9, 1.1), rating: float = np.inf) -> DayDecisions:
    """Slack and one prosumer behind 10 ohm at 10 kV, r = 1e-4 p.u. per kW; two hours, one day."""
    feeder = line_feeder(2, r_ohm=10.0, rating_kva=rating)
    feeder = replace(feeder, v_min=np.array([1.05, band[0]]), v_max=np.array([1.05, band[1]]))
    day = days(np.reshape(load, (1, 2, 1)), np.zeros((1, 2, 1)), 2)
    instance = Instance(feeder, (plain_prosumer(2),), day, plain_rules(2), Menu(((0.1,),), (0.0,), ()))
    zero = np.zeros((1, 2, 1))
    arrays = {"gp": np.reshape(load, (1, 2, 1)), "gm": zero, "zb": np.zeros((1, 2)), "zs": np.zeros((1, 2))}
    return DayDecisions(instance, "network-blind", arrays, np.zeros((2, 2, 1)), np.zeros(1))


def voltage(p: float) -> float:
    """AC voltage behind r = 1e-4 p.u. per kW at unity power factor from 1 p.u.: v (1 - v) = r p."""
    return (1 + np.sqrt(1 - 4e-4 * p)) / 2


def test_physics_of_two_buses_by_hand():
    row = physics_table(two_bus()).iloc[0]
    low, high = voltage(1000.0), voltage(100.0)
    assert low == pytest.approx(0.887298, abs=1e-6) and high == pytest.approx(0.989898, abs=1e-6)
    assert row["ac_v_min_pu"] == pytest.approx(low, abs=1e-8)
    assert row["lindistflow_v_min_pu"] == pytest.approx(np.sqrt(0.8), abs=1e-12)
    assert row["ac_violation_share"] == row["lindistflow_violation_share"] == 0.5, "one of two hours, at the one bus"
    assert row["ac_worst_depth_pu"] == pytest.approx(0.9 - low, abs=1e-8)
    assert row["lindistflow_worst_depth_pu"] == pytest.approx(0.9 - np.sqrt(0.8), abs=1e-12)
    assert row["lindistflow_max_error_pu"] == pytest.approx(np.sqrt(0.8) - low, abs=1e-8)
    losses = 1e-4 * ((1000 / low) ** 2 + (100 / high) ** 2)  # r i^2, kWh in two hours
    assert row["ac_losses_kwh"] == pytest.approx(losses, rel=1e-8)
    assert row["ac_overload_share"] == row["lindistflow_overload_share"] == 0.0


def test_the_two_models_may_disagree_about_a_violation():
    """A limit between the AC voltage 0.8873 and LinDistFlow's 0.8944."""
    row = physics_table(two_bus(band=(0.89, 1.1))).iloc[0]
    assert row["ac_violation_share"] == 0.5 and row["lindistflow_violation_share"] == 0.0


def test_feeding_in_raises_the_voltage():
    row = physics_table(two_bus(load=(-1000.0, 0.0), band=(0.9, 1.08))).iloc[0]
    assert row["ac_v_max_pu"] == pytest.approx(voltage(-1000.0), abs=1e-8)
    assert row["lindistflow_v_max_pu"] == pytest.approx(np.sqrt(1.2), abs=1e-12)
    assert row["ac_violation_share"] == 0.5
    assert row["ac_worst_depth_pu"] == pytest.approx(voltage(-1000.0) - 1.08, abs=1e-8)


def test_the_slack_bus_is_not_counted():
    """Its band of 1.05 is broken in both hours by the 1.0 it holds, and it is nobody's supply."""
    day = two_bus(load=(10.0, 10.0))
    row = physics_table(day).iloc[0]
    assert row["ac_violation_share"] == row["ac_worst_depth_pu"] == 0.0
    assert band_depth(day.instance, np.ones((2, 2, 1)))[0] == pytest.approx(np.full((2, 1), 0.05))


def test_overload_is_a_matter_of_current():
    """1,000 kW at 0.887 p.u. is the current of 1,127 kVA at rated voltage: over a rating of 1,100 in AC alone."""
    row = physics_table(two_bus(rating=1100.0)).iloc[0]
    assert row["ac_overload_share"] == 0.5 and row["lindistflow_overload_share"] == 0.0
    row = physics_table(two_bus(rating=999.0)).iloc[0]
    assert row["ac_overload_share"] == row["lindistflow_overload_share"] == 0.5
    row = physics_table(two_bus(rating=1128.0)).iloc[0]
    assert row["ac_overload_share"] == row["lindistflow_overload_share"] == 0.0


DESIGN = Design((0.02, 0.08, 0.14), 0.02, ((1, 150.0),))


@pytest.fixture(scope="module", params=["expected", "scenario"])
def cleared(request):
    """(instance, response, decisions, its own scenarios as judged days) of a market that sees its network."""
    instance = small_market(n=3, hours=6, scenarios=3, seed=3, billing=request.param)
    rng = np.random.default_rng(2)
    passive = rng.uniform(0, 20, instance.days.passive_kw.shape)
    passive[instance.prosumer_bus] = 0.0
    prices = rng.uniform(-0.05, 0.2, (6, 3))
    instance = instance.on(replace(instance.days, passive_kw=passive, wholesale=prices))
    joint = JointLP(instance)
    response = optimistic_response(joint, DESIGN, revenue=False)
    found = decisions_of(joint, response)
    pi = found["pi"] / instance.days.probability
    return instance, response, found, DayDecisions(instance, "market policy", found.arrays, pi, np.zeros(3))


def test_social_cost_is_the_one_that_the_dso_minimised(cleared):
    instance, response, decisions, day = cleared
    table, social = daily_table(day, decisions), response.social
    assert (instance.days.wholesale < 0).any() and social.violation == 0.0
    for column, part in {
        "social_cost_usd": social.total,
        "wholesale_usd": social.wholesale,
        "loss_cost_usd": social.losses,
        "demand_charge_usd": social.demand_charge,
        "degradation_usd": social.degradation,
        "lost_value_usd": social.lost_value,
        "dso_revenue_usd": np.dot(DESIGN.tariff, response.energy) + DESIGN.p2p * response.volume,
        "p2p_kwh": response.volume,
        "imported_kwh": response.energy.sum(),
    }.items():
        assert mean_and_cvar(table, column)[0] == pytest.approx(part, rel=1e-9, abs=1e-9), column
    assert social.degradation > 0 and response.volume > 1 and social.losses > 0


def test_prosumer_cost_is_energy_charges_trade_and_congestion(cleared):
    instance, _, decisions, day = cleared
    tau = np.array(DESIGN.tariff)[instance.rules.block]
    cost = decisions["cost"].sum(axis=0)
    if instance.rules.billing == "expected":
        cost = cost + np.einsum("t,itw->w", tau, decisions["gp"])
    cost += DESIGN.p2p / 2 * (decisions["zb"] + decisions["zs"]).sum()
    cost -= np.einsum("itw,itw->w", day.pi[instance.prosumer_bus], day.injection)
    cost -= instance.rules.tie_break * decisions["soc"][:, 1:].sum(axis=(0, 1))  # a rule, not money
    assert daily_table(day, decisions)["prosumer_cost_usd"].to_numpy() == pytest.approx(cost, rel=1e-9)
    assert np.abs(day.pi).max() > 0.01, "the head is congested"


@pytest.mark.parametrize("policy", POLICIES)
def test_welfare_is_the_value_of_reference_consumption_less_social_cost(policy, cleared):
    instance, _, decisions, _ = cleared
    others = small_market(n=3, hours=6, scenarios=2, seed=9).days
    day = Recourse(rated(risk_neutral(instance.on(others)), 150.0)).judge(decisions, policy)
    table = daily_table(day, decisions)
    consumption = others.demand_kw.sum(axis=(0, 1)) + others.passive_kw.sum(axis=(0, 1))
    expected = instance.rules.reference_value * consumption - table["social_cost_usd"].to_numpy()
    assert table["welfare_usd"].to_numpy() == pytest.approx(expected, rel=1e-12)
    parts = ("wholesale_usd", "loss_cost_usd", "demand_charge_usd", "degradation_usd", "lost_value_usd")
    spent = sum(table[p].to_numpy() for p in parts)
    assert table["social_cost_usd"].to_numpy() == pytest.approx(spent + 3.0 * day.bought)
    assert (day.bought.max() > 1.0) == (policy != "network-blind"), "the rating of 150 kVA cannot be met"
    secured = (
        expected + table["social_cost_usd"].to_numpy() - spent - least_curtailment(day.instance, day.net_load).cost_usd
    )
    assert table["secured_welfare_usd"].to_numpy() == pytest.approx(secured)
    assert (table["shed_kwh"] > 1.0).any() and (table["secured_welfare_usd"] < expected + 3.0 * day.bought).any()


def test_money_of_the_table_adds_up(cleared):
    """What prosumers and passive loads pay is what retailer, DSO and platform receive, plus wear and lost comfort."""
    _, _, decisions, day = cleared
    table, money = daily_table(day, decisions), settlement_of(day, decisions)
    passive = money.passive_retail + money.passive_network + money.passive_congestion
    received = money.retail.sum(axis=0) + money.passive_retail + table["dso_revenue_usd"] + table["congestion_rent_usd"]
    private = table["degradation_usd"] + table["lost_value_usd"]
    assert (table["prosumer_cost_usd"] + passive).to_numpy() == pytest.approx((received + private).to_numpy(), rel=1e-9)


def test_mean_and_cvar_by_hand():
    """Costs 1, 2, 10 with 0.5, 0.3, 0.2: mean 3.1; the worst 40 % are half 10 and half 2."""
    table = pd.DataFrame({"x": [1.0, 2.0, 10.0], "probability": [0.5, 0.3, 0.2]})
    assert mean_and_cvar(table, "x", 0.6) == (pytest.approx(3.1), pytest.approx(6.0))
