"""Rights to inject bought day-ahead, and what they cost on a day: two prosumers and one line on paper."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from solved_small import CONGESTED, congested_study, solve
from test_market_by_hand import clear

from tritier.cases.cases import CASES
from tritier.cases.certificate import check_judged
from tritier.cases.outcome import daily_table, imbalance, settlement_of
from tritier.cases.recourse import DayDecisions, Recourse, as_cleared, with_rights
from tritier.cases.solve import inputs_hash
from tritier.cli import main
from tritier.errors import CertificateError
from tritier.inputs import examples as hand
from tritier.inputs.instance import Days, Design
from tritier.inputs.study import read_study

LIMITED = Design(hand.DESIGN.tariff, hand.DESIGN.p2p, ((1, 6.0),))


def repeated(one: Days, probability: tuple[float, ...], **changes: np.ndarray) -> Days:
    """A single day several times, with some of its arrays changed."""
    found = one.select([0] * len(probability))
    return replace(found, probability=np.array(probability), **changes)


@pytest.fixture(scope="module")
def settled():
    """The congested feeder's clearing, in which Ann buys the right to inject 6 kW at 0.33 $/kWh, and two days: with
    the sun of the clearing, on which a kW beyond the limit costs 0.05 $, and with 4 kW of sun."""
    market = hand.congested_feeder()
    _, _, found = clear(market, LIMITED)
    two = repeated(market.days, (0.5, 0.5), renewable_kw=np.array([[[11.0, 4.0]], [[0.0, 0.0]]]))
    instance = replace(market.on(two), rules=replace(market.rules, excess_price=0.05))
    return market, found, Recourse(instance).judge(found, "market policy")


def ahead(settled) -> DayDecisions:
    """The days where the study settles rights ahead."""
    market, found, day = settled
    return with_rights(day, CASES[4], replace(market, rules=replace(market.rules, rights="day_ahead")), found)


def test_a_right_is_owed_and_deviations_are_settled_at_the_days_price(settled):
    # Sun: beyond the 6 kW sold to Bob, Ann exports 4 at 0.10, and pays 0.05 for each kW at bus 2: 10 x 0.05 = 0.50 at
    # the day's price; with her right to 6 bought at 0.33, 1.98 + 4 x 0.05 = 2.18. Clouds: she has 3 of the 6 she sold,
    # so that 3 kW pass the line and nothing is scarce: nothing at the day's price, 1.98 with the right.
    _, found, day = settled
    assert found["pi"][1, 0] == pytest.approx([-0.33]) and day.pi[1, 0] == pytest.approx([-0.05, 0.0])
    assert day.injection[0, 0] == pytest.approx([10.0, 3.0])
    by_day, owed = settlement_of(day, found), settlement_of(ahead(settled), found)
    assert by_day.congestion == pytest.approx(np.array([[0.50, 0.0], [0.0, 0.0]]), abs=1e-9)
    assert owed.congestion == pytest.approx(np.array([[2.18, 1.98], [0.0, 0.0]]), abs=1e-9)
    assert owed.rent_received == pytest.approx([2.18, 1.98])
    assert np.ptp(owed.congestion[0]) < np.ptp(by_day.congestion[0])


def test_only_money_moves(settled):
    _, found, day = settled
    one, other = daily_table(day, found), daily_table(ahead(settled), found)
    moved = [name for name in one if name != "day" and not np.allclose(one[name], other[name], rtol=0, atol=1e-9)]
    assert moved == ["prosumer_cost_usd", "congestion_rent_usd"]
    for name in moved:
        assert (other[name] - one[name]).to_numpy() == pytest.approx([1.68, 1.98])


def test_accounts_close_and_a_forged_right_does_not(settled):
    """The platform reads what devices draw: a right that the clearing's devices do not explain leaves a remainder."""
    _, found, _ = settled
    day = ahead(settled)
    assert imbalance(settlement_of(day, found), 0.0) < 1e-9
    check_judged(day, found)
    sold = day.ahead
    for forged in ({"zs": sold["zs"] + 1.0}, {"gm": sold["gm"] + 1.0}, {"cu": sold["cu"] - 1.0}):
        broken = replace(day, ahead=replace(sold, arrays=sold.arrays | forged))
        assert imbalance(settlement_of(broken, found), 0.0) > 0.2
    with pytest.raises(CertificateError, match=r"days\.prices failed"):
        check_judged(replace(day, pi=day.pi - 0.01), found)


def test_rights_are_those_of_a_market_that_sees_the_network(settled):
    market, found, day = settled
    theirs = replace(market, rules=replace(market.rules, rights="day_ahead"))
    assert with_rights(day, CASES[2], theirs, found) is day, "nobody has sold any"
    assert with_rights(day, CASES[4], market, found) is day, "the study settles all at the day's prices"
    assert with_rights(day, CASES[3], theirs, found).ahead["zs"] is found["zs"]
    with pytest.raises(ValueError, match="name day or day_ahead"):
        replace(market.rules, rights="never")


def test_days_of_other_scenarios_hold_their_expectation():
    """Prices and rights of two scenarios, 0.25 and 0.75 likely: what is owed is their products, what is held the
    mean."""
    market = hand.congested_feeder()
    _, _, found = clear(market, LIMITED)
    clearing = as_cleared(market, found)
    days = repeated(market.days, (0.25, 0.75))
    arrays = {name: np.repeat(x, 2, axis=-1) if x.ndim > 2 else x for name, x in clearing.arrays.items()}
    arrays["gm"] = arrays["gm"] + np.array([[[0.0, 4.0]], [[0.0, 0.0]]])
    arrays["cu"] = arrays["cu"] - np.array([[[0.0, 4.0]], [[0.0, 0.0]]])
    pi = np.zeros((2, 1, 2))
    pi[1, 0] = [-0.4, -0.1]
    two = DayDecisions(market.on(days), "cleared", arrays, pi, np.zeros(2))
    day = replace(clearing, pi=np.full((2, 1, 1), -0.2), ahead=two)
    # Owed: 0.25 x 0.4 x 6 + 0.75 x 0.1 x 10 = 1.35. Held: 0.25 x 6 + 0.75 x 10 = 9; of these 3 are not used: -0.60.
    assert settlement_of(day, found).congestion[0] == pytest.approx([1.35 - 0.60])


def test_a_case_that_settles_rights_ahead_is_solved_certified_and_not_to_be_forged(tmp_path, capsys):
    """Through the command line: the same decisions and welfare, another bill, and each file proves its own."""
    study = congested_study(tmp_path / "study")
    told = {}
    for rule in ("day", "day_ahead"):
        out = solve(study, 4, tmp_path / rule, CONGESTED | {"rights": rule})
        told[rule] = json.loads((out / "summary.json").read_text())
        assert main(["certify", str(out)]) == 0
    day, owed = told["day"], told["day_ahead"]
    assert owed["secured_welfare_usd"] == pytest.approx(day["secured_welfare_usd"], rel=1e-9)
    assert owed["dso_revenue_usd"] == pytest.approx(day["dso_revenue_usd"], rel=1e-9)
    more = owed["congestion_rent_usd"] - day["congestion_rent_usd"]
    assert abs(more) > 0.1 and abs(owed["prosumer_cost_usd"] - day["prosumer_cost_usd"]) > 0.1
    path = tmp_path / "day_ahead" / "summary.json"
    path.write_text(json.dumps(owed | {"prosumer_cost_usd": day["prosumer_cost_usd"]}))
    assert main(["certify", str(path.parent)]) == 1
    assert "summary.prosumer_cost_usd" in capsys.readouterr().err


def test_a_study_that_does_not_name_the_rule_keeps_its_hash(tmp_path):
    """Results stored before there was a choice stay those of their study."""
    study = congested_study(tmp_path / "study")
    before = inputs_hash(read_study(study))
    assert inputs_hash(read_study(study, {"rights": "day"})) == before
    assert inputs_hash(read_study(study, {"rights": "day_ahead"})) != before
