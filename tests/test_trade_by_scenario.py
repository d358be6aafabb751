"""P2P trade contingent on the scenario and paid ahead: two prosumers, one hour and two scenarios on paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from solved_small import CONGESTED, congested_study, solve
from test_deferrable import electrified
from test_market_by_hand import certify, clear, payments
from toy import small_market

from tritier.cases.cases import risk_neutral
from tritier.cases.certificate import check_judged
from tritier.cases.outcome import daily_table, imbalance, settlement_of
from tritier.cases.recourse import POLICIES, Recourse
from tritier.cases.solve import inputs_hash
from tritier.cli import main
from tritier.errors import CertificateError
from tritier.inputs import examples as hand
from tritier.inputs.instance import Days, Design, Instance
from tritier.inputs.study import read_study
from tritier.model.chance import net_load
from tritier.search.large import clear as clear_large

LIMITED = Design((0.02, 0.08, 0.14), 0.02, ((1, 300.0),))


def two_days(trade: str, beta: float = 0.0, alpha: float = 0.5) -> Instance:
    """Ann needs 8 kW and has 14 kW of sun on the first day and 34 on the second, equally likely: she spares 6 or 26.
    Bob needs 10 kW on both."""
    base = hand.two_prosumers()
    one = base.days
    days: Days = replace(
        one,
        probability=np.array([0.5, 0.5]),
        demand_kw=np.array([[[8.0, 8.0]], [[10.0, 10.0]]]),
        renewable_kw=np.array([[[14.0, 34.0]], [[0.0, 0.0]]]),
        passive_kw=np.repeat(one.passive_kw, 2, axis=-1),
        reactive_kvar=np.repeat(one.reactive_kvar, 2, axis=-1),
        wholesale=np.repeat(one.wholesale, 2, axis=-1),
        deferrable_kw=np.repeat(one.deferrable_kw, 2, axis=-1),
        plugged_kw=np.repeat(one.plugged_kw, 2, axis=-1),
        label=("dull", "bright"),
    )
    people = (base.prosumers[0], replace(base.prosumers[1], beta=beta))
    rules = replace(base.rules, trade=trade, alpha=alpha, billing="scenario")
    return replace(base.on(days), prosumers=people, rules=rules)


def test_trade_by_scenario_sells_what_there_is():
    # Dull: Ann sells her 6 kWh, Bob imports 4; one more is worth 0.30 + 0.05 to him less his half of the charge of
    # 0.02, so 0.34, with the day's probability 0.17. Bright: he buys 10, she exports 16; one more costs her 0.10 and
    # her half of the charge, 0.11, with the probability 0.055.
    instance = two_days("by_scenario")
    joint, response, found = clear(instance, hand.DESIGN)
    assert found["lambda"] == pytest.approx(np.array([[0.17, 0.055]]))
    assert found["zs"][0] == pytest.approx(np.array([[6.0, 10.0]]))
    assert found["gp"][:, 0] == pytest.approx(np.array([[0.0, 0.0], [4.0, 0.0]]))
    assert response.volume == pytest.approx(0.5 * 6 + 0.5 * 10)
    # Bob pays Ann 6 x 0.34 on the dull day and 10 x 0.11 on the bright one, so 6 x 0.17 + 10 x 0.055 = 1.57 ahead.
    books = payments(instance, joint, response, found)
    assert books.p2p == pytest.approx(np.array([[-2.04, -1.10], [2.04, 1.10]]))
    assert (found["lambda"][0] * (found["zb"] - found["zs"])[:, 0]).sum(axis=1) == pytest.approx([-1.57, 1.57])
    assert books.p2p_charge == pytest.approx(np.array([[0.06, 0.10], [0.06, 0.10]]))
    assert books.sold == pytest.approx([0.12, 0.20])
    # Half of 4 x 0.35 less half of 16 x 0.10, and 0.02 on 8 kWh.
    assert response.theta == pytest.approx(0.70 - 0.80 + 0.16)
    certify(instance, joint, found)


def test_day_ahead_trade_resells_what_is_imported():
    # One number for both days: below 10 kWh another one costs Ann an import half the time, (0.35 + 0.10) / 2 = 0.225,
    # and saves Bob 0.35. So she sells 10, imports 4 on the dull day, and the charge falls on 2 kWh more than above.
    instance = two_days("day_ahead")
    joint, response, found = clear(instance, hand.DESIGN)
    assert found["zs"][0] == pytest.approx([10.0])
    assert found["gp"][:, 0] == pytest.approx(np.array([[4.0, 0.0], [0.0, 0.0]]))
    assert response.theta == pytest.approx(0.70 - 0.80 + 0.20)
    certify(instance, joint, found)


def test_resale_by_risk_weights_stays():
    # Bob minds the dull day: it weighs 0.5 x 0.5 + 0.5 x 1 = 0.75 with him as long as it is his worse one, and 0.5 with
    # Ann. A kWh that she imports for 0.5 x 0.35 and sells saves him up to 0.75 x 0.35, with the charge of 0.5 x 0.02
    # between them: she sells him all 10 at 0.175 + 0.005 and imports 4, by scenario as day-ahead.
    instance = two_days("by_scenario", beta=0.5)
    joint, response, found = clear(instance, hand.DESIGN)
    assert found["zs"][0] == pytest.approx(np.array([[10.0, 10.0]]))
    assert found["gp"][:, 0] == pytest.approx(np.array([[4.0, 0.0], [0.0, 0.0]]))
    assert found["lambda"] == pytest.approx(np.array([[0.18, 0.055]]))
    assert response.theta == pytest.approx(0.70 - 0.80 + 0.20)
    certify(instance, joint, found)


def test_wrong_contingent_prices_are_refused():
    instance = two_days("by_scenario")
    joint, _, found = clear(instance, hand.DESIGN)
    swapped = replace(found, arrays=found.arrays | {"lambda": found["lambda"][:, ::-1]})
    with pytest.raises(CertificateError, match=r"equilibrium\.max_relative_gain"):
        certify(instance, joint, swapped)


@pytest.mark.parametrize("coincident", [0.0, 0.4])
def test_one_scenario_leaves_nothing_to_be_contingent_on(coincident):
    ahead = small_market(hours=6, scenarios=1, seed=4)
    ahead = replace(ahead, menu=replace(ahead.menu, coincident=(coincident,), capacity=((1, (150.0, 300.0)),)))
    design = replace(LIMITED, coincident=coincident)
    instance = replace(ahead, rules=replace(ahead.rules, trade="by_scenario"))
    joint, response, found = clear(instance, design)
    _, before, stood = clear(ahead, design)
    assert response.theta == pytest.approx(before.theta, rel=1e-9)
    assert response.social.total == pytest.approx(before.social.total, rel=1e-7)
    assert found["lambda"].shape == (6, 1) and stood["lambda"].shape == (6,)
    certify(instance, joint, found)


@pytest.mark.parametrize("coincident", [0.0, 0.4])
def test_contingent_trade_costs_the_follower_no_more(coincident):
    """Every day-ahead trade is a contingent one, so the follower's value can only fall; here limits and risk bind."""
    ahead = small_market(n=4, hours=6, scenarios=3, seed=2, billing="scenario", alpha=0.6)
    ahead = replace(ahead, menu=replace(ahead.menu, coincident=(coincident,), capacity=((1, (150.0, 300.0)),)))
    design = replace(LIMITED, coincident=coincident)
    instance = replace(ahead, rules=replace(ahead.rules, trade="by_scenario"))
    joint, response, found = clear(instance, design)
    _, before, _ = clear(ahead, design)
    assert response.theta < before.theta - 0.1
    assert found.blocks or coincident, "a limit is to bind where no charge on the peak keeps the flow below"
    balance = (found["zs"] - found["zb"]).sum(axis=0)
    assert balance == pytest.approx(np.zeros_like(balance), abs=1e-7)
    drawn = net_load(instance, found["gm"] - found["gp"] + found["zs"] - found["zb"])
    assert joint.net_load(response.x) == pytest.approx(drawn)
    certify(instance, joint, found)
    payments(instance, joint, response, found)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_judged_day_makes_its_own_trades(policy):
    """As on paper: what Ann has is sold on either day, at that day's price, and nothing is imported to be resold."""
    instance = two_days("by_scenario", beta=0.5)
    _, _, found = clear(instance, hand.DESIGN)
    day = Recourse(risk_neutral(instance)).judge(found, policy)
    assert day["zs"][0] == pytest.approx(np.array([[6.0, 10.0]]))
    assert day.price == pytest.approx(np.array([[0.34, 0.11]]))
    check_judged(day, found)
    table = daily_table(day, found)
    assert table["p2p_kwh"].to_numpy() == pytest.approx([6.0, 10.0])
    # Dull: 4 x 0.35 and 0.02 on 6 kWh. Bright: 0.02 on 10 kWh less 16 x 0.10.
    assert table["prosumer_cost_usd"].to_numpy() == pytest.approx([1.40 + 0.12, 0.20 - 1.60])
    assert imbalance(settlement_of(day, found), 0.0) < 1e-9
    dearer = replace(day, price=day.price + 0.01)
    with pytest.raises(CertificateError, match=r"days\.society failed.*the agents' choices of day 0"):
        check_judged(dearer, found)
    more = replace(day, arrays=day.arrays | {"zs": day["zs"] + np.array([[[1.0, 0.0]], [[0.0, 0.0]]]),
                                             "gp": day["gp"] + np.array([[[1.0, 0.0]], [[0.0, 0.0]]])})  # fmt: skip
    with pytest.raises(CertificateError, match=r"days\.primal"):
        check_judged(more, found)


@pytest.mark.parametrize("policy", POLICIES)
def test_judged_days_with_trades_of_their_own_are_certified(policy):
    market = electrified()
    market = replace(market, rules=replace(market.rules, trade="by_scenario", demand_charge=0.8, alpha=0.6))
    market = replace(market, menu=replace(market.menu, coincident=(0.0, 0.3)))
    design = Design((0.02, 0.08, 0.14), 0.02, ((1, 190.0),), coincident=0.3)
    _, _, found = clear(market, design)
    day = Recourse(risk_neutral(market)).judge(found, policy)
    assert day["zs"].shape == day["gp"].shape and np.ptp(day["zs"].sum(axis=0), axis=-1).max() > 1
    check_judged(day, found)
    assert imbalance(settlement_of(day, found), 0.0) < 1e-8
    with pytest.raises(CertificateError, match=r"days\.society failed.*the agents' choices of day 0"):
        check_judged(replace(day, price=day.price[:, ::-1]), found)


def test_what_knows_no_contingent_trade_says_so():
    instance = two_days("by_scenario")
    with pytest.raises(ValueError, match="day-ahead trades only"):
        clear_large(instance, hand.DESIGN)
    with pytest.raises(ValueError, match="name day_ahead or by_scenario"):
        replace(instance.rules, trade="hourly")


def test_a_case_with_trade_by_scenario_is_solved_certified_and_not_to_be_forged(tmp_path, capsys):
    """Through the command line; a case without a market has nothing to agree on, and its arrays are as ever."""
    study, changes = congested_study(tmp_path / "study"), CONGESTED | {"p2p_trade": "by_scenario"}
    found = solve(study, 4, tmp_path / "4", changes)
    with np.load(found / "decisions.npz") as stored:
        arrays = dict(stored)
    assert arrays["lambda"].shape == arrays["zs"].shape[1:] == arrays["day_lambda"].shape == (24, 6)
    assert np.ptp(arrays["zs"].sum(axis=0), axis=1).max() > 0.1, "trade differs between scenarios"
    assert main(["certify", str(found)]) == 0
    for name, step in (("lambda", 0.01), ("day_lambda", 0.01), ("day_zs", 0.1)):
        np.savez_compressed(found / "decisions.npz", **arrays | {name: arrays[name] + step})
        assert main(["certify", str(found)]) == 1, name
    capsys.readouterr()
    bare = solve(study, 1, tmp_path / "1", changes)
    with np.load(bare / "decisions.npz") as stored:
        assert stored["lambda"].shape == (24,) and "day_lambda" not in stored
    assert main(["certify", str(bare)]) == 0


def test_a_study_that_does_not_name_the_rule_keeps_its_hash(tmp_path):
    """Results stored before there was a choice stay those of their study."""
    study = congested_study(tmp_path / "study")
    before = inputs_hash(read_study(study))
    assert inputs_hash(read_study(study, {"p2p_trade": "day_ahead"})) == before
    assert inputs_hash(read_study(study, {"p2p_trade": "by_scenario"})) != before
