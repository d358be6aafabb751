"""A fixed part of the access tariff that closes revenue exactly, worked out on paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_market_by_hand import clear
from toy import days, line_feeder, plain_prosumer, plain_rules

from tritier.cases.outcome import imbalance, settle
from tritier.cases.recourse import DayDecisions
from tritier.errors import NoRecoveryError
from tritier.inputs.instance import Design, Instance, Menu
from tritier.model.tariff import fixed_charge, revenue_slack
from tritier.reformulation.joint import JointLP
from tritier.search.responses import optimistic_response

DESIGN = Design((0.05,), 0.0)


def one_home(fixed_cost: float, share: float) -> Instance:
    """A home of 100 kW and a passive load of 60 kW behind lines without losses, one hour. At 0.05 $/kWh they pay 8 $,
    and the demand charge of 0.05 $/kW costs the DSO as much."""
    passive = np.array([[[0.0]], [[60.0]]])
    given = days([[[100.0]]], [[[0.0]]], 2, passive=passive)
    rules = plain_rules(1, demand_charge=0.05, fixed_share=share)
    return Instance(line_feeder(2), (plain_prosumer(2),), given, rules, Menu(((0.05,),), (0.0,), ()), fixed_cost)


@pytest.mark.parametrize(("fixed_cost", "share"), [(12.0, 0.6), (2.0, 0.2), (2.0, 0.5)])
def test_a_fixed_part_closes_what_the_others_leave(fixed_cost, share):
    """Of 12 + 8 $ energy recovers 8, which is what a fixed part of three fifths leaves to it: 12 $ are fixed. Of 2 + 8
    a fifth is left; the fixed part is that fifth also where it may be half."""
    instance = one_home(fixed_cost, share)
    response = optimistic_response(JointLP(instance), DESIGN)
    assert response.billed[0] * 0.05 == pytest.approx(8.0)
    assert response.revenue_slack == pytest.approx(8.0 - (1 - share) * (fixed_cost + 8.0), abs=1e-9)
    fixed = fixed_charge(instance, DESIGN, response.billed, response.social.network)
    assert fixed == pytest.approx(fixed_cost)
    assert 8.0 + fixed - fixed_cost - response.social.network == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("fixed_cost", "share"), [(12.0, 0.59), (2.0, 0.19), (0.5, 0.0)])
def test_a_fixed_part_beyond_its_share_is_refused(fixed_cost, share):
    with pytest.raises(NoRecoveryError, match="no optimal response recovers"):
        optimistic_response(JointLP(one_home(fixed_cost, share)), DESIGN)


def test_variable_charges_that_recover_more_leave_no_fixed_part():
    instance = one_home(0.0, 0.5)
    assert fixed_charge(instance, replace(DESIGN, tariff=(0.06,)), np.array([160.0, 0.0, 0.0, 0.0]), 8.0) == 0.0
    assert revenue_slack(instance, DESIGN, np.array([160.0, 0.0, 0.0, 0.0]), 8.0) == pytest.approx(4.0)


def test_a_lump_sum_moves_nobody_and_everybody_pays_it():
    """12 $ of fixed part, 7.50 by the home, 4.50 by the passive load: the DSO ends at zero, no decision changes."""
    instance = one_home(12.0, 0.6)
    _, response, found = clear(instance, DESIGN)
    _, without, same = clear(one_home(0.0, 0.0), DESIGN)
    assert response.theta == without.theta
    assert all(np.array_equal(found[name], same[name]) for name in ("gp", "gm", "cost"))
    day = DayDecisions(instance, "cleared", found.arrays, found["pi"], np.zeros(1))
    bare, books = (settle(day, DESIGN, found["lambda"], fixed) for fixed in (None, np.array([7.5, 4.5])))
    assert books.network_received == pytest.approx([20.0])
    before, after = bare.accounts(12.0), books.accounts(12.0)
    change = {agent: float((after[agent] - before[agent])[0]) for agent in before}
    assert {agent: x for agent, x in change.items() if x} == pytest.approx(
        {"prosumers": -7.5, "passive loads": -4.5, "DSO": 12.0}
    )
    assert after["DSO"] == pytest.approx([0.0], abs=1e-9)
    assert imbalance(books, 12.0) < 1e-9
