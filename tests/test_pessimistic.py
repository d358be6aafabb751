"""The pessimistic reading of a design, by hand and against the optimistic one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy import days, line_feeder, plain_prosumer, plain_rules, small_market

from tritier.cases.certificate import (
    COSTLY,
    SOLVER,
    check_answers,
    other_answers,
    social_cost_range,
    stored_lp,
)
from tritier.cases.decisions import decisions_of
from tritier.errors import CertificateError, SolverError
from tritier.inputs.instance import Design, Instance, Menu
from tritier.model.dso import menu_points
from tritier.reformulation.joint import JointLP
from tritier.search import responses
from tritier.search.flat import flat_design
from tritier.search.responses import (
    LOSS_GAP,
    both_readings,
    least_social_cost,
    linear_part,
    optimistic_response,
    pessimistic_reading,
)

DESIGN = Design((0.2,), 0.0, ())


def indifferent(wholesale: tuple[float, float], tie_break: float = 0.0) -> JointLP:
    """One prosumer: 10 kW in each of two hours, a free and lossless battery of 10 kWh, the same price in both hours.

    Any shift s in [-10, 10] kWh from the second hour to the first costs the prosumer 20 kWh, so it does not mind which.
    """
    own = plain_prosumer(2, battery_kwh=10.0, battery_kw=10.0, eta=1.0, degradation=0.0)
    rules = plain_rules(2, demand_charge=0.3, tie_break=tie_break)
    market = days(np.full((1, 2, 1), 10.0), np.zeros((1, 2, 1)), 2, wholesale=np.array(wholesale)[:, None])
    menu = Menu(((0.2,),), (0.0,), ())
    return JointLP(Instance(line_feeder(2), (own,), market, rules, menu, fixed_cost=0.5))


def test_an_indifferent_follower_by_hand():
    """F = 0.05 (10 + s) + 0.15 (10 - s) + 0.3 (10 + |s|) and revenue 0.2 x 20 = 4, whatever s.

    Society wants s = 0: F = 2 + 3, and 4 - 0.5 - 3 is left. The linear part is largest at s = -10: F = 3 + 6, and
    2.5 are missing.
    """
    joint = indifferent((0.05, 0.15))
    hopeful, fearful = optimistic_response(joint, DESIGN), pessimistic_reading(joint, DESIGN)
    assert linear_part(hopeful.social) == pytest.approx(2.0, abs=1e-3)
    assert (hopeful.social.total, hopeful.revenue_slack) == pytest.approx((5.0, 0.5), abs=1e-3)
    assert fearful.theta == pytest.approx(hopeful.theta, abs=1e-9)
    assert fearful.linear_part == pytest.approx(3.0, abs=1e-8)
    assert (fearful.social_cost, fearful.revenue_slack) == pytest.approx((9.0, -2.5), abs=1e-8)
    assert fearful.energy == pytest.approx([20.0]) and fearful.volume == pytest.approx(0.0)


def test_a_follower_with_a_taste_leaves_no_doubt():
    """A price on stored energy leaves the battery idle: both readings give s = 0."""
    joint = indifferent((0.05, 0.15), tie_break=1e-3)
    hopeful, fearful = optimistic_response(joint, DESIGN), pessimistic_reading(joint, DESIGN)
    assert fearful.linear_part == pytest.approx(linear_part(hopeful.social), abs=1e-8)
    assert fearful.revenue_slack == pytest.approx(hopeful.revenue_slack, abs=1e-8)


def test_both_readings_with_and_without_the_tie_break():
    """With the taste 5 and 5, both with 0.5 left; without it the figures of the first test: 5 and 9, 0.5 and -2.5."""
    table = both_readings(indifferent((0.05, 0.15), tie_break=1e-3), DESIGN)
    assert list(zip(table["tie_break"], table["reading"], table["adequate"], strict=True)) == [
        (True, "optimistic", True), (True, "pessimistic", True),
        (False, "optimistic", True), (False, "pessimistic", False),
    ]  # fmt: skip
    assert table["social_cost_usd"].tolist() == pytest.approx([5.0, 5.0, 5.0, 9.0], abs=1e-3)
    assert table["revenue_slack_usd"].tolist() == pytest.approx([0.5, 0.5, 0.5, -2.5], abs=1e-3)
    parts = table["linear_part_usd"] + table["network_cost_usd"]
    assert parts.tolist() == pytest.approx(table["social_cost_usd"].tolist())


def test_the_range_of_an_indifferent_follower_by_hand():
    """Social cost from 5 to 9 as above, every other answer between; who says that 5 is the worst is refused, and who
    shows an answer that is none as well."""
    joint = indifferent((0.05, 0.15))
    decisions = decisions_of(joint, optimistic_response(joint, DESIGN))
    market = stored_lp(joint.instance, decisions, True, True)
    answers = other_answers(market, decisions)
    check_answers(market, decisions, answers)
    cost = social_cost_range(market, decisions, answers)
    assert (cost["optimistic"], cost["pessimistic"]) == pytest.approx((5.0, 9.0), abs=1e-3)
    assert cost["optimistic"] - 1e-3 <= cost["solver"] <= cost["pessimistic"]
    own = {term: decisions[term] for term in answers[COSTLY]}
    with pytest.raises(CertificateError, match=r"range\.costly\.linear_usd"):
        check_answers(market, decisions, answers | {COSTLY: own})
    with pytest.raises(CertificateError, match=r"range\.solver\.primal"):
        check_answers(market, decisions, answers | {SOLVER: own | {"gp": 2 * own["gp"]}})
    more = own | {name: own[name] + 1.0 for name in ("gp", "gm")} | {"cost": own["cost"] + 0.4}  # bought and fed in
    with pytest.raises(CertificateError, match=r"range\.solver"):
        check_answers(market, decisions, answers | {SOLVER: more})


def test_a_design_that_recovers_nothing_is_read_all_the_same():
    """Revenue is 4 and losses and demand charge take 3 at best: a fixed cost of 2 leaves at least 1 uncovered."""
    joint = indifferent((0.05, 0.15))
    table = both_readings(JointLP(replace(joint.instance, fixed_cost=2.0)), DESIGN)
    assert table["revenue_slack_usd"].tolist() == pytest.approx([-1.0, -4.0] * 2, abs=1e-3)
    assert not table["adequate"].any()


def test_a_closed_market_stays_closed_without_the_tie_break():
    """Without a tie-break to take away, the second pair of readings is the first; with trade it is cheaper."""
    market = small_market(n=3, hours=6, scenarios=3, seed=8)
    market = replace(market, rules=replace(market.rules, tie_break=0.0))
    flat = flat_design(JointLP(market, market=False, network=False), 0.08)
    shut, open_ = (both_readings(JointLP(market, trade, network=False), flat) for trade in (False, True))
    for table in (shut, open_):
        first, second = (table.loc[table["tie_break"] == kept, "linear_part_usd"].tolist() for kept in (True, False))
        assert first == pytest.approx(second, abs=1e-6)
    assert shut["linear_part_usd"].iloc[0] != pytest.approx(open_["linear_part_usd"].iloc[0], abs=1e-2)


def test_what_the_last_round_leaves_is_believed_up_to_the_bound_given(monkeypatch):
    """After one round the tangents understate losses by more than a cent: half of what is left is not enough."""
    joint = JointLP(small_market(n=3, hours=6, scenarios=3, seed=8), network=False)
    monkeypatch.setattr(responses, "ROUNDS", 1)
    found = least_social_cost(joint, LOSS_GAP, enough=np.inf)
    left = found.exact - found.bound
    assert left > 0.01
    for enough in (None, left / 2):
        fresh = JointLP(joint.instance, network=False)
        with pytest.raises(SolverError, match="tangents did not close"):
            least_social_cost(fresh, LOSS_GAP, enough=enough)


def test_a_cost_may_be_below_the_objective_as_far_as_the_solver_rounds_and_not_below_the_safe_bound(monkeypatch):
    """Of 50 electrified scenarios the objective was 6e-4 $ above a point that was found: each of a million reduced
    costs may be wrong by 1e-9."""
    joint = JointLP(small_market(n=3, hours=6, scenarios=3, seed=8), network=False)
    solve, found = joint.warm.solve, least_social_cost(joint, LOSS_GAP).exact

    def rounded(*asked):
        solution = solve(*asked)
        return replace(solution, objective=solution.objective + 6e-4)

    monkeypatch.setattr(joint.warm, "solve", rounded)
    assert least_social_cost(joint, LOSS_GAP).exact == pytest.approx(found, abs=LOSS_GAP)
    monkeypatch.setattr(responses, "_best_between", lambda joint, inner, outer: (outer, found - 0.01))
    with pytest.raises(SolverError, match="lies below its own bound"):
        least_social_cost(joint, LOSS_GAP)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_point_of_a_segment_is_told_with_its_exact_cost(seed):
    joint = JointLP(small_market(n=3, hours=6, scenarios=3, seed=seed, peak_with_losses=bool(seed % 2)), network=False)
    ends = [joint.warm.solve(joint.cost(Design((price,) * 3, 0.0, ()))).x for price in (0.02, 0.14)]
    best, cost = responses._best_between(joint, *ends)
    tried = [ends[0] + step * (ends[1] - ends[0]) for step in responses.SEGMENT]
    assert any(np.array_equal(best, x) for x in tried)
    assert cost == pytest.approx(responses.social_cost(joint, best).total, abs=1e-9)
    assert cost == pytest.approx(min(responses.social_cost(joint, x).total for x in tried), abs=1e-9)


def test_the_lp_is_left_as_it_was():
    """After the reading the follower finds its value again and an optimistic response is what it was."""
    joint = indifferent((0.05, 0.15))
    before = optimistic_response(joint, DESIGN).social.total
    theta = pessimistic_reading(joint, DESIGN).theta
    assert joint.solve(joint.cost(DESIGN)).objective == pytest.approx(theta, abs=1e-9)
    assert optimistic_response(joint, DESIGN).social.total == pytest.approx(before, abs=1e-6)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 1000), st.booleans(), st.data())
def test_pessimistic_is_no_better_than_optimistic(seed, free_wear, data):
    """Over the same face a maximum is not below any other point's value, and F not below its least exact value."""
    instance = small_market(seed=seed, tie_break=0.0 if free_wear else 1e-5)
    if free_wear:
        people = tuple(replace(p, degradation=0.0, eta=1.0) for p in instance.prosumers)
        instance = replace(instance, prosumers=people)
    design = data.draw(st.sampled_from(list(menu_points(instance.menu))))
    joint = JointLP(instance)
    fearful = pessimistic_reading(joint, design)
    hopeful = optimistic_response(joint, design, revenue=False)
    scale = max(1.0, abs(hopeful.social.total))
    assert fearful.theta == pytest.approx(hopeful.theta, rel=1e-7, abs=1e-7)
    assert fearful.linear_part >= linear_part(hopeful.social) - 1e-6 * scale
    assert fearful.social_cost >= hopeful.social.total - LOSS_GAP - 1e-6 * scale
    assert fearful.linear_part == pytest.approx(
        fearful.x[joint.lp.at("F")] - fearful.x[joint.lp.at("N")], abs=1e-6 * scale
    )
    assert not joint.violated(fearful.x)
