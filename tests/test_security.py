"""Least curtailment against two-bus feeders worked out by hand, and against the network's own limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy import line_feeder, plain_rules

from tritier.cases.security import least_curtailment, reactive_share
from tritier.errors import SolverError
from tritier.inputs.instance import Days, Instance, Menu
from tritier.model.chance import Network
from tritier.model.network import lindistflow

# One ohm at 1 kV: a kW drawn lowers the squared voltage by 0.002, so the band 0.95-1.05 bears -51.25 to 48.75 kW.


def two_buses(load, wholesale=0.04, rating_kva=np.inf, reactive=None) -> Instance:
    """A slack and a bus that draws ``load`` kW hour by hour; no prosumers."""
    load = np.asarray(load, dtype=float)
    feeder = line_feeder(2, r_ohm=1.0, rating_kva=rating_kva, vn_kv=1.0)
    feeder = replace(feeder, v_min=np.full(2, 0.95), v_max=np.full(2, 1.05), p_kw=np.array([0.0, 50.0]))
    nobody = np.zeros((0, load.size, 1))
    passive = np.stack([np.zeros(load.size), load])[..., None]
    q = np.zeros_like(passive) if reactive is None else np.stack([np.zeros(load.size), reactive])[..., None]
    days = Days(np.ones(1), nobody, nobody, passive, q, np.full((load.size, 1), wholesale), ("day",))
    return Instance(feeder, (), days, plain_rules(load.size), Menu(((0.1,),), (0.0,), ()))


def test_a_bus_that_is_too_low_is_shed_to_the_lower_limit():
    found = least_curtailment(instance := two_buses([60.0, 40.0]), instance.days.passive_kw)
    assert found.shed_kw[1, :, 0] == pytest.approx([11.25, 0.0], abs=1e-9)
    assert found.shed_kwh == pytest.approx([11.25], abs=1e-9)
    assert found.cost_usd == pytest.approx([3.0 * 11.25], abs=1e-8)
    assert found.curtailed_kwh == pytest.approx([0.0], abs=1e-12)
    assert found.hours.tolist() == [1]
    assert found.buses.tolist() == [1]


@pytest.mark.parametrize("wholesale, paid", [(0.04, 0.04 * 8.75), (-0.02, 0.0)])
def test_feed_in_that_lifts_the_voltage_is_curtailed_at_its_market_value(wholesale, paid):
    found = least_curtailment(instance := two_buses([-60.0], wholesale), instance.days.passive_kw)
    assert found.curtailed_kw[1, 0, 0] == pytest.approx(8.75, abs=1e-9)
    assert found.shed_kwh == pytest.approx([0.0], abs=1e-12)
    assert found.cost_usd == pytest.approx([paid], abs=1e-9)


def test_a_rating_sheds_what_the_line_cannot_carry_beside_its_reactive_flow():
    instance = two_buses([45.0], rating_kva=50.0, reactive=np.array([30.0]))  # leaves sqrt(50^2 - 30^2) = 40 kW
    found = least_curtailment(instance, instance.days.passive_kw)
    assert found.shed_kwh == pytest.approx([5.0], abs=1e-9)


def test_the_margin_tightens_what_is_secure():
    instance = two_buses([48.0])
    assert least_curtailment(instance, instance.days.passive_kw).shed_kwh == pytest.approx([0.0], abs=1e-12)
    tight = replace(instance, rules=replace(instance.rules, voltage_margin=0.01))  # 0.96^2 = 1 - 0.002 x 39.2
    assert least_curtailment(tight, tight.days.passive_kw).shed_kwh == pytest.approx([8.8], abs=1e-9)


# What is shed takes the reactive power along that goes with a kW of all that the bus draws, at a nominal 1/3 kvar/kW:
# 60 kW of homes draw 20 kvar; 30 kW of them 10, and so do 60 kW of which 30 are vehicles; sun that hides 10 of 60 kW
# hides no reactive power, and a kW of homes still takes 1/3 kvar along.
@pytest.mark.parametrize("load, reactive, share", [(60.0, 20.0, 1 / 3), (60.0, 10.0, 1 / 6), (50.0, 20.0, 1 / 3)])
def test_shedding_takes_along_the_reactive_power_of_what_draws_any_and_leaves_no_violation(load, reactive, share):
    instance = two_buses([load], reactive=np.array([reactive]))
    feeder = replace(instance.feeder, x_ohm=np.array([0.5]), q_kvar=np.array([0.0, 20.0]), p_kw=np.array([0.0, 60.0]))
    instance = replace(instance, feeder=feeder)
    found = least_curtailment(instance, instance.days.passive_kw)
    # 1 - 0.002 (load - s) - 0.001 (reactive - share s) = 0.9025
    shed = (0.0025 - 0.1 + 0.002 * load + 0.001 * reactive) / (0.002 + 0.001 * share)
    assert found.shed_kwh == pytest.approx([shed], abs=1e-8)
    v2 = lindistflow(feeder).squared_voltages(
        instance.days.passive_kw - found.shed_kw, instance.days.reactive_kvar - share * found.shed_kw
    )
    assert v2[1, 0, 0] == pytest.approx(0.9025, abs=1e-12)


def test_no_more_reactive_power_is_shed_than_a_bus_draws():
    rng = np.random.default_rng(5)
    feeder = replace(two_buses([0.0]).feeder, q_kvar=np.array([0.0, 20.0]), p_kw=np.array([0.0, 60.0]))
    load, reactive = rng.uniform(-20, 90, (2, 50)), rng.uniform(0, 30, (2, 50))
    relief = reactive_share(feeder, load, reactive) * np.maximum(load, 0)
    assert (relief <= reactive + 1e-12).all()
    assert relief[1] == pytest.approx(np.minimum(reactive[1], np.maximum(load[1], 0) / 3), abs=1e-12)
    assert (relief[0] == 0).all()  # no nominal load, no ratio


def test_the_cheapest_bus_is_shed_and_the_network_is_secure_afterwards():
    rng = np.random.default_rng(3)
    feeder = replace(line_feeder(5, r_ohm=0.2, rating_kva=150.0, vn_kv=1.0), v_min=np.full(5, 0.95))
    load = np.concatenate([np.zeros((1, 6, 3)), rng.uniform(-30, 60, (4, 6, 3))])
    nobody = np.zeros((0, 6, 3))
    days = Days(np.full(3, 1 / 3), nobody, nobody, load, 0 * load, rng.uniform(-0.01, 0.1, (6, 3)), ("a", "b", "c"))
    instance = Instance(feeder, (), days, plain_rules(6), Menu(((0.1,),), (0.0,), ()))
    found = least_curtailment(instance, load)
    assert found.shed_kwh.sum() > 1
    after = load - found.shed_kw + found.curtailed_kw
    assert max(v.max() for v in Network(instance).violations(after, {}).values() if v.size) < 1e-6
    assert (found.shed_kw <= np.maximum(load, 0) + 1e-9).all()
    assert (found.curtailed_kw <= np.maximum(-load, 0) + 1e-9).all()


def test_reactive_loads_that_break_the_network_by_themselves_are_named():
    instance = two_buses([1.0], reactive=np.array([200.0]))
    feeder = replace(instance.feeder, x_ohm=np.array([1.0]), q_kvar=np.zeros(2))
    instance = replace(instance, feeder=feeder)
    with pytest.raises(SolverError, match="hour 0 of day"):
        least_curtailment(instance, instance.days.passive_kw)
