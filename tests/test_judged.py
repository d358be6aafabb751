"""Judged days checked agent by agent and for society: sound days pass, days that somebody chose do not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from toy import rated, small_market

from tritier.cases import recourse
from tritier.cases.cases import risk_neutral
from tritier.cases.certificate import DOLLARS, GAIN, check_judged
from tritier.cases.decisions import Decisions, decisions_of
from tritier.cases.judged import Limits, PrivateSets, Society, check_days, day_problem
from tritier.cases.outcome import daily_table
from tritier.cases.recourse import DayDecisions, Recourse
from tritier.errors import CertificateError
from tritier.inputs.instance import Design, Instance
from tritier.model.prosumer import all_data, energy_cost, largest_supply, representative
from tritier.model.prosumer import decisions_of as own_of
from tritier.reformulation.joint import JointLP
from tritier.search.responses import optimistic_response, social_cost

POLICIES = recourse.POLICIES
PEAKS = Design((0.02, 0.08, 0.14), 0.02, ((1, 150.0),), peak=0.3, coincident=0.4)
FLAT = Design((0.08,) * 3, 0.02, ((1, 1000.0),))


def designed(market: Instance, design: Design) -> Decisions:
    joint = JointLP(market)
    return decisions_of(joint, optimistic_response(joint, design, revenue=False))


def judged_on(market: Instance, seed: int = 8) -> Instance:
    """Other days than those of the design."""
    return risk_neutral(market.on(small_market(n=3, hours=6, scenarios=3, seed=seed).days))


@pytest.fixture(scope="module", params=["scenario", "expected"])
def peaks(request):
    """(judge, decisions) of a market with both peak charges and a head limit that binds."""
    market = small_market(n=3, hours=6, scenarios=4, seed=3, chance_level=0.3, billing=request.param, demand_charge=0.5)
    market = replace(market, menu=replace(market.menu, peak=(0.0, 0.3), coincident=(0.0, 0.4)))
    return Recourse(judged_on(market)), designed(market, PEAKS)


@pytest.fixture(scope="module")
def idle():
    """(judge, decisions) of a market with one tariff in all hours: the tie-break alone times the batteries."""
    market = small_market(n=3, hours=6, scenarios=4, seed=3, billing="scenario", demand_charge=0.8)
    return Recourse(judged_on(market)), designed(market, FLAT)


@pytest.mark.parametrize("policy", POLICIES)
def test_sound_days_pass_under_every_policy_and_component(policy, peaks):
    judge, decisions = peaks
    day = judge.judge(decisions, policy)
    check_judged(day, decisions)
    found = check_days(day, decisions)
    assert abs(found.gain) < 1e-12 and abs(found.society) < 1e-3 and found.prices < 1e-9
    assert np.abs(day.pi).max() > 0.01, "the head's peak has a price"


@pytest.mark.parametrize("policy", POLICIES)
def test_false_prices_are_refused(policy, peaks):
    """A price that no limit gives, and prices that limits could give, but do not."""
    judge, decisions = peaks
    day = judge.judge(decisions, policy)
    odd = day.pi.copy()
    odd[2, 0, 0] += 0.01
    for pi in (odd, 0.99 * day.pi, 0 * day.pi):
        with pytest.raises(CertificateError, match=r"days\.(prices|society) failed: 1 exceeds 0"):
            check_judged(replace(day, pi=pi), decisions)


def test_losses_as_the_interior_point_is_given_them_are_those_of_the_flows(idle):
    judge, decisions = idle
    day = judge.judge(decisions, POLICIES[0])
    own, limits = PrivateSets(day, decisions), Limits(day, decisions)
    shadow = limits.shadow_prices(0)
    society = Society(own, limits, 0, own.best_reply(0, shadow.pi)[1], shadow)
    load, bus = limits.load[..., 0].copy(), judge.instance.prosumer_bus
    more = np.random.default_rng(1).uniform(-50, 50, (bus.size, load.shape[1]))
    np.add.at(load, bus, more)
    rotated, per_kw, rest = society._rotated_flows()
    assert ((rotated + per_kw @ more) ** 2).sum(axis=0) + rest == pytest.approx(society._losses(load), rel=1e-12)


def test_a_trade_below_zero_by_rounding_closes_no_meter(idle):
    """A purchase of -6e-17 kW, as LPs leave it, once left a home without a source a largest export below its least."""
    judge, decisions = idle
    home = next(d for d in all_data(judge.instance) if (largest_supply(d) == 0).any())
    trade = np.full(judge.instance.days.n_hours, -6.2e-17)
    lp = day_problem(home, {"zb": trade, "zs": np.zeros_like(trade)}, decisions.design.prices, "0")
    assert (lp.col_upper >= lp.col_lower).all()


def test_false_violations_are_refused(peaks):
    judge, decisions = peaks
    day = Recourse(rated(judge.instance, 150.0)).judge(decisions, "hard-limit redispatch")
    assert day.bought.max() > 1.0
    with pytest.raises(CertificateError, match=r"days\.bought"):
        check_judged(replace(day, bought=0.99 * day.bought), decisions)


def mixed(a: DayDecisions, b: DayDecisions, share: float) -> DayDecisions:
    """Days between two: as feasible as both, since private sets are convex."""
    return replace(a, arrays={k: (1 - share) * v + share * b[k] for k, v in a.arrays.items()})


def accounted(day: DayDecisions, decisions: Decisions) -> DayDecisions:
    """Days with every device at its representative, and the costs that follow from what is decided."""
    arrays = representative(all_data(day.instance), day.arrays)
    for i, d in enumerate(all_data(day.instance)):
        arrays["cost"][i] -= energy_cost(d, own_of(d, arrays, i), decisions.design.prices).value
    return replace(day, arrays=arrays)


def test_days_within_an_old_tolerance_are_refused(idle):
    """A millionth of what agents pay was accepted once; it moves welfare by many cents here."""
    judge, decisions = idle
    sound = judge.judge(decisions, "network-blind")
    other = replace(judge.instance, rules=replace(judge.instance.rules, tie_break=-1e-5))
    late = replace(Recourse(other).judge(decisions, "network-blind"), instance=judge.instance)
    loss = check_days(accounted(late, decisions), decisions).gain
    assert loss > 1e-6
    forged = accounted(mixed(sound, accounted(late, decisions), 5e-7 / loss), decisions)
    found = check_days(forged, decisions)
    assert GAIN < found.gain < 1e-6 and found.primal < 1e-9, "feasible, and not the best"
    moved = daily_table(forged, decisions)["welfare_usd"] - daily_table(sound, decisions)["welfare_usd"]
    assert abs(moved.mean()) > DOLLARS
    with pytest.raises(CertificateError, match=r"days\.gain"):
        check_judged(forged, decisions)


def test_days_that_agents_do_not_mind_but_society_does_are_refused(monkeypatch):
    """No tie-break: each agent is at its best, and the timing of batteries was chosen against society."""
    market = small_market(n=3, hours=6, scenarios=4, seed=3, billing="scenario", tie_break=0.0, demand_charge=0.8)
    decisions = designed(market, FLAT)
    judge = Recourse(judged_on(market))
    sound = judge.judge(decisions, "network-blind")
    check_judged(sound, decisions)

    def worst(joint, tolerance, enough):
        cost = np.zeros(joint.lp.cost.size)
        cost[joint.lp.at("head")] = -np.linspace(1, 2, 6)[:, None]
        x = joint.warm.solve(cost, "primal").x
        return SimpleNamespace(x=x, exact=social_cost(joint, x).total)

    monkeypatch.setattr(recourse, "least_social_cost", worst)
    chosen = judge.judge(decisions, "network-blind")
    found = check_days(chosen, decisions)
    assert abs(found.gain) < GAIN and found.society > DOLLARS
    moved = daily_table(sound, decisions)["welfare_usd"] - daily_table(chosen, decisions)["welfare_usd"]
    assert moved @ judge.instance.days.probability == pytest.approx(found.society, abs=2e-3)
    with pytest.raises(CertificateError, match=r"days\.society"):
        check_judged(chosen, decisions)
