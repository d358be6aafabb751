"""Devices: a toy from outside the package takes part everywhere; social cost is one sum, however it is read."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from toy import small_market

from tritier.cases.cases import risk_neutral
from tritier.cases.certificate import check_equilibrium, check_follower, equilibrium, follower_residuals, stored_lp
from tritier.cases.decisions import decisions_of, point_of
from tritier.cases.judged import check_days
from tritier.cases.outcome import daily_table, mean_and_cvar
from tritier.cases.recourse import DayDecisions, Recourse
from tritier.inputs.instance import Design
from tritier.model.devices import Device, Row, box, over_day
from tritier.model.dso import SocialCost
from tritier.reformulation.joint import JointLP
from tritier.search.large import clear
from tritier.search.responses import optimistic_response, social_cost

DESIGN = Design((0.02, 0.08, 0.14), 0.02, ((1, 250.0),))


@dataclass(frozen=True, eq=False)
class Pump(Device):
    """A controllable load: so many kWh a day, at so many kW, at a cost of wear in every hour but the first."""

    energy_kwh: float
    power_kw: float
    wear: np.ndarray  # (T,), $/kWh
    days: int

    def boxes(self):
        return {"pump": box(self.power_kw, (self.wear.size, self.days))}

    def rows(self, x):
        return [Row("pumped", over_day(x["pump"]) - self.energy_kwh)]

    def consumption(self, x):
        return x["pump"]

    def largest(self):
        shape = (self.wear.size, self.days)
        return np.full(shape, self.power_kw), np.zeros(shape)

    def costs(self, x):
        return {"other": self.wear @ x["pump"]}

    def cost_box(self):
        return float(self.wear.sum() * self.power_kw)


def pump(wear: float = 0.02):
    def make(d):
        hours, days = d.shape
        return Pump(60.0, 40.0, wear * (np.arange(hours) > 0), days)

    return make


@pytest.fixture(scope="module", params=["expected", "scenario"])
def market(request):
    """A market of three, the second of which has a pump."""
    instance = small_market(n=3, hours=6, scenarios=3, seed=3, billing=request.param)
    people = list(instance.prosumers)
    people[1] = replace(people[1], devices=(pump(),))
    return replace(instance, prosumers=tuple(people))


@pytest.fixture(scope="module")
def solved(market):
    joint = JointLP(market)
    response = optimistic_response(joint, DESIGN, revenue=False)
    return joint, response, decisions_of(joint, response)


def test_a_device_from_outside_takes_part_in_the_market(market, solved):
    _, response, decisions = solved
    assert decisions["pump"].shape == (3, 6, 3)
    assert decisions["pump"][1].sum(axis=0) == pytest.approx(60.0)
    assert not decisions["pump"][[0, 2]].any(), "only the second has one"
    assert response.social.other == pytest.approx(0.02 * decisions["pump"][1, 1:].sum(axis=0) @ market.days.probability)
    assert response.social.other > 0
    without = replace(market, prosumers=tuple(replace(p, devices=()) for p in market.prosumers))
    assert optimistic_response(JointLP(without), DESIGN, revenue=False).theta < response.theta - 1.0


def test_a_device_from_outside_is_certified(market, solved):
    _, _, decisions = solved
    joint = stored_lp(market, decisions, market=True, network=True)
    check_follower(follower_residuals(joint, decisions))
    check_equilibrium(equilibrium(market, decisions, joint, True), [p.name for p in market.prosumers])
    moved = decisions["pump"].copy()
    moved[1] = moved[1][::-1]  # the same energy at other hours: feasible for the pump, not for the node
    wrong = replace(decisions, arrays=decisions.arrays | {"pump": moved})
    assert follower_residuals(joint, wrong).primal > 1.0


def test_a_device_from_outside_is_judged(market, solved):
    _, _, decisions = solved
    other = small_market(n=3, hours=6, scenarios=2, seed=9).days
    day = Recourse(risk_neutral(market.on(other))).judge(decisions, "market policy")
    assert day["pump"][1].sum(axis=0) == pytest.approx(60.0)
    check = check_days(day, decisions)
    assert max(check.primal, abs(check.gain), check.prices) < 1e-6
    table = daily_table(day, decisions)
    assert table["other_cost_usd"].to_numpy() == pytest.approx(0.02 * day["pump"][1, 1:].sum(axis=0))
    lazy = day.arrays["pump"].copy()
    lazy[1] *= 0.9
    assert check_days(replace(day, arrays=day.arrays | {"pump": lazy}), decisions).primal > 1.0


def test_a_device_from_outside_clears_in_a_large_market(market):
    loose = replace(DESIGN, capacity=((1, 1000.0),))
    found = clear(market, loose)
    joint = JointLP(market)
    joint.set_design(loose)
    assert found.cost == pytest.approx(joint.solve(joint.cost(loose)).objective, rel=1e-6)


def test_social_cost_is_one_sum_in_the_lp_exactly_and_by_day(market, solved):
    """Column F of the LP, the exact cost and the table of days: the same terms, and the same sum."""
    joint, response, decisions = solved
    exact = social_cost(joint, point_of(joint, decisions))
    for part in fields(SocialCost):
        assert getattr(exact, part.name) == pytest.approx(getattr(response.social, part.name), rel=1e-9, abs=1e-9)
    pi = decisions["pi"] / market.days.probability
    table = daily_table(DayDecisions(market, "market policy", decisions.arrays, pi, np.zeros(3)), decisions)
    columns = {f.name: f"{f.name}_usd" for f in fields(SocialCost)}
    columns |= {"losses": "loss_cost_usd", "other": "other_cost_usd"}
    for part in ("wholesale", "losses", "demand_charge", "degradation", "lost_value", "other"):
        assert mean_and_cvar(table, columns[part])[0] == pytest.approx(getattr(exact, part), rel=1e-9, abs=1e-9), part
    assert mean_and_cvar(table, "social_cost_usd")[0] == pytest.approx(exact.total, rel=1e-9)
    x = point_of(joint, decisions)
    row = joint.lp.matrix[int(joint.lp.row_at("F"))]
    assert float((row @ x).sum() - joint.lp.row_upper[int(joint.lp.row_at("F"))]) == pytest.approx(0.0, abs=1e-8)
    assert x[joint.lp.at("F")] == pytest.approx(exact.total, rel=1e-12)
    assert x[joint.lp.at("N")] == pytest.approx(exact.network, rel=1e-12)
