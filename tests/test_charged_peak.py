"""The demand charge on the head's peak with losses: by hand, and one figure in LP, books, days and certificates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy import days, line_feeder, plain_prosumer, plain_rules, small_market

from tritier.cases.cases import risk_neutral
from tritier.cases.certificate import check_judged, least_among_equals, stored_lp
from tritier.cases.decisions import decisions_of, point_of
from tritier.cases.judged import check_days
from tritier.cases.outcome import daily_table, imbalance, settlement_of
from tritier.cases.recourse import POLICIES, Recourse
from tritier.errors import CertificateError
from tritier.inputs.instance import Design, Instance, Menu
from tritier.model.dso import charged_peak
from tritier.reformulation.joint import JointLP
from tritier.search.cuts import Request, solve_request
from tritier.search.responses import fill_bookkeeping, optimistic_response

DESIGN = Design((0.05, 0.08, 0.11), 0.02, ((1, 1000.0),))
PEAKS = replace(DESIGN, capacity=((1, 250.0),), peak=0.3, coincident=0.4)


def test_a_load_behind_one_line_by_hand():
    """300 kW and 400 kW through 2 ohm at 10 kV: 2 / 100 per MW, so that 1.8 and 3.2 kW are lost; at 0.5 $/kW the peak
    costs 0.5 (400 + 3.2) $, or 200 $ where losses are left out; losses cost 0.05 $/kWh in both."""
    given = days([[[300.0], [400.0]]], np.zeros((1, 2, 1)), 2)
    for with_losses, peak in ((True, 403.2), (False, 400.0)):
        rules = plain_rules(2, demand_charge=0.5, peak_with_losses=with_losses)
        menu = Menu(((0.05,),), (0.0,), ((1, (1000.0,)),))
        instance = Instance(line_feeder(2, r_ohm=2.0), (plain_prosumer(2),), given, rules, menu)
        design = Design((0.05,), 0.0, ((1, 1000.0),))
        found = optimistic_response(JointLP(instance), design, revenue=False)
        assert found.social.demand_charge == pytest.approx(0.5 * peak, rel=1e-9)
        assert found.social.network == pytest.approx(0.5 * peak + 0.05 * 5.0, rel=1e-9)
        assert found.social.total == pytest.approx(0.5 * peak + 0.05 * 705.0, rel=1e-9)


def test_a_head_that_exports_is_charged_for_what_it_must_import():
    head, loss = np.array([[-5.0, -9.0], [-2.0, 1.0]]), np.array([[1.0, 1.0], [3.0, 0.5]])
    market = small_market(scenarios=2)
    for with_losses, peak in ((True, [1.0, 1.5]), (False, [0.0, 1.0])):
        rules = replace(market.rules, peak_with_losses=with_losses)
        assert charged_peak(replace(market, rules=rules), head, loss).tolist() == peak


@pytest.fixture(scope="module", params=[DESIGN, PEAKS], ids=["energy", "peaks"])
def market(request):
    """(instance, joint LP, response, decisions, design); losses of a few per cent, hours that compete for the peak."""
    base = small_market(n=3, hours=6, scenarios=3, seed=3, billing="scenario", demand_charge=0.8, peak_with_losses=True)
    instance = replace(base, menu=replace(base.menu, peak=(0.0, 0.3), coincident=(0.0, 0.4)))
    joint = JointLP(instance)
    response = optimistic_response(joint, request.param, revenue=False)
    return instance, joint, response, decisions_of(joint, response), request.param


def test_the_lp_bounds_the_exact_cost_and_reaches_it(market):
    instance, joint, response, decisions, design = market
    row = solve_request(joint, Request("answer", design))
    assert row.bound <= response.social.total + 1e-3
    assert row.bound >= response.social.total - 0.5
    stored = stored_lp(instance, decisions, True, True)
    least = least_among_equals(stored, decisions, revenue=False)
    assert float(point_of(stored, decisions)[stored.lp.at("F")]) == pytest.approx(least, abs=1e-2)
    bare = JointLP(replace(instance, rules=replace(instance.rules, peak_with_losses=False)))
    lossless = optimistic_response(bare, design, revenue=False)
    assert response.social.demand_charge > lossless.social.demand_charge + 0.1


@pytest.mark.parametrize("policy", POLICIES)
def test_judged_days_are_charged_for_losses_and_proved(market, policy):
    instance, _, _, decisions, _ = market
    other = small_market(n=3, hours=6, scenarios=3, seed=8).days
    judge = Recourse(risk_neutral(instance.on(other)))
    day = judge.judge(decisions, policy)
    check_judged(day, decisions)
    assert abs(check_days(day, decisions).society) < 1e-3
    table, books = daily_table(day, decisions), settlement_of(day, decisions)
    assert table["demand_charge_usd"].to_numpy() == pytest.approx(0.8 * np.maximum(table["peak_kw"], 0.0))
    assert imbalance(books, 0.0) < 1e-8
    assert (table["peak_kw"].to_numpy() > day.net_load.sum(axis=0).max(axis=0)).all()


def test_days_chosen_for_the_lossless_peak_are_refused():
    """Agents do not mind when batteries run, energy costs society nothing, and the peak alone decides: the hours that
    are best without losses are not those with the least peak on a feeder that loses a fifth."""
    base = small_market(n=3, hours=6, scenarios=2, seed=3, billing="scenario", demand_charge=0.8, tie_break=0.0)
    weak = replace(base, feeder=replace(base.feeder, r_ohm=30 * base.feeder.r_ohm, rating_kva=np.full(3, np.inf)))
    decisions = decisions_of(*_response(weak))
    given = small_market(n=3, hours=6, scenarios=3, seed=13).days
    lossless = risk_neutral(weak.on(replace(given, wholesale=0 * given.wholesale)))
    lossy = replace(lossless, rules=replace(lossless.rules, peak_with_losses=True))
    sound = Recourse(lossy).judge(decisions, "network-blind")
    check_judged(sound, decisions)
    wrong = replace(Recourse(lossless).judge(decisions, "network-blind"), instance=lossy)
    assert check_days(wrong, decisions).society > 0.1
    with pytest.raises(CertificateError, match=r"days\.society"):
        check_judged(wrong, decisions)


def _response(instance):
    joint = JointLP(instance, network=False)
    flat = Design((0.08, 0.08, 0.08), 0.08, ((1, 1000.0),))
    return joint, optimistic_response(joint, flat, revenue=False)


def test_a_lossless_peak_that_nothing_prices_leaves_the_books_in_order(market, monkeypatch):
    """With losses in the demand charge and no charge on the lossless peak, an answer may leave that peak anywhere above
    the flow; the books of its point are those of its flows, in every row."""
    _, joint, response, _, _ = market
    lp = joint.lp
    x = np.append(response.x, np.zeros(lp.cost.size - response.x.size))
    x[lp.at("peak")] += 50.0
    x[lp.at("H")] += 50.0
    load, found = joint.net_load(x), []
    monkeypatch.setattr(joint, "exact_losses", lambda at: found.append(at) or JointLP.exact_losses(joint, at))
    fill_bookkeeping(joint, x, load)
    assert len(found) == 1, "losses are a matter of one product"
    assert x[lp.at("peak")] == pytest.approx(joint.net_load(x).sum(axis=0).max(axis=0))
    rows = (lp.matrix @ x)[lp.row_at("H")]
    assert rows == pytest.approx(lp.row_lower[lp.row_at("H")], abs=1e-9)
