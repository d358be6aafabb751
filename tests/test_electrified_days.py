"""Vehicles, heat pumps and prices of the day: from the tables of a study to the arrays that the model is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_study import change_settings, profile, write_study

from tritier.cases.result import read_result, solve_case
from tritier.cases.solve import prepare
from tritier.errors import InputError
from tritier.inputs.scenarios import (
    bare_feeder_load,
    build_instance,
    design_days,
    held_out_days,
    make_days,
    season_days,
)
from tritier.inputs.study import read_study, with_prosumers

STUDIES = Path(__file__).parents[1] / "data" / "studies"
TODAY_IN_2045 = {"electrification": 0.0, "retail.kind": "fixed", "feed_in.kind": "fixed"}
ARRAYS = ("demand_kw", "renewable_kw", "passive_kw", "reactive_kvar", "wholesale", "deferrable_kw", "plugged_kw")


@pytest.fixture(scope="module")
def today():
    return read_study(STUDIES / "ieee33")


@pytest.fixture(scope="module")
def later():
    return read_study(STUDIES / "ieee33-2045")


@pytest.fixture(scope="module")
def days(later):
    return design_days(later)


@pytest.fixture
def small(tmp_path):
    """Bus 2 with vehicles and a prosumer, bus 4 with both and nobody; asked for at 6:00 and 18:00 alone."""
    folder = write_study(tmp_path / "small")
    hour = np.tile(np.arange(24), 92)
    shapes = {"ev": np.where(hour == 18, 3.0, 0.0), "hp": np.where(hour == 6, 2.0, 0.0)}
    (folder / "asked.csv").write_text(profile(2016, shapes))
    (folder / "home.csv").write_text("hour,weekday,weekend\n" + "".join(f"{h},0.8,0.9\n" for h in range(24)))
    (folder / "passive.csv").write_text("bus,ev_kwh_per_day,ev_kw,hp_kwh_per_day,hp_kw\n4,20,50,6,6\n")
    table = pd.read_csv(folder / "prosumers.csv")
    columns = {"ev_kwh_per_day": [30, 0], "ev_kw": [44, 0], "ev_delay_h": [8, 0]}
    columns |= {"hp_kwh_per_day": [10, 0], "hp_kw": [12, 0], "hp_delay_h": [3, 0]}
    table.assign(**columns).to_csv(folder / "prosumers.csv", index=False)
    files = {"passive": "passive.csv", "deferrable_profiles": "asked.csv", "plugged_in": "home.csv"}
    change_settings(folder, "files", files)
    return folder


def test_by_hand(small):
    """30 kWh a day, all asked for at 18:00, are 30 kW there; 44 kW of chargers, 80 % of their vehicles at home."""
    study = read_study(small)
    days = make_days(study, season_days(study)[:4])
    evening, morning = np.zeros(24), np.zeros(24)
    evening[18], morning[6] = 1.0, 1.0
    assert np.allclose(days.deferrable_kw[0, 0], 30 * evening[:, None])
    assert np.allclose(days.deferrable_kw[0, 1], 10 * morning[:, None])
    assert np.allclose(days.plugged_kw[0, 0], 0.8 * 44)
    assert np.allclose(days.plugged_kw[0, 1], 12)
    assert not days.deferrable_kw[1].any()
    assert np.allclose(days.passive_kw[study.feeder.position(4)], (20 * evening + 6 * morning)[:, None])
    bare = read_study(small, {"electrification": 0.0})
    extra = bare_feeder_load(days) - bare_feeder_load(make_days(bare, season_days(bare)[:4]))
    assert np.allclose(extra, (50 * evening + 16 * morning)[:, None])


def test_weekends_have_their_own_share_of_vehicles_at_home(small):
    study = read_study(small, {"season.day_type": "weekend"})
    days = make_days(study, season_days(study)[:2])
    assert np.allclose(days.plugged_kw[0, 0], 0.9 * 44)


def test_vehicles_of_a_prosumer_left_out_stay_and_nobody_controls_them(small, later):
    study = read_study(small)
    chosen = season_days(study)[:3]
    all_of_them, one = make_days(study, chosen), make_days(with_prosumers(study, [1]), chosen)
    moved = all_of_them.deferrable_kw.sum(axis=(0, 1))
    assert np.allclose(one.passive_kw[1] - all_of_them.passive_kw[1], all_of_them.demand_kw[0] + moved)
    half = with_prosumers(later, range(7))
    total = [sum(who.ev_kwh_per_day for who in (*study.prosumers, *study.passive)) for study in (later, half)]
    assert total[0] == pytest.approx(total[1], rel=1e-12)
    assert total[0] == pytest.approx(1906 * 0.8 * 5.5, rel=1e-3)


def test_the_electrified_study_turned_down_is_todays(today):
    turned_down = read_study(STUDIES / "ieee33-2045", TODAY_IN_2045)
    assert turned_down.prosumers[0].ev_delay_h == 8  # all that is left of the vehicles
    a, b = (build_instance(study, "fast") for study in (today, turned_down))
    for name in ARRAYS:
        assert np.array_equal(getattr(a.days, name), getattr(b.days, name)), name
    assert a.days.label == b.days.label
    assert (b.days.retail, b.days.feed_in) == (None, None)
    for name in ("retail", "feed_in", "block"):
        assert np.array_equal(getattr(a.rules, name), getattr(b.rules, name)), name
    for one, other in zip(a.prosumers, b.prosumers, strict=True):
        for name in ("bus", "pv_kw", "wind_kw", "battery_kwh", "battery_kw", "eta", "degradation", "beta"):
            assert getattr(one, name) == getattr(other, name), name
        assert (other.ev_kw, other.hp_kw) == (0, 0)


def test_the_dial_scales_what_electrification_adds(today, later):
    half = read_study(STUDIES / "ieee33-2045", {"electrification": 0.5})
    for old, mid, new in zip(today.prosumers, half.prosumers, later.prosumers, strict=True):
        assert new.pv_kw == pytest.approx(2.2 * old.pv_kw)
        assert mid.pv_kw == pytest.approx(1.6 * old.pv_kw)
        assert new.battery_kwh == pytest.approx(1.5 * new.pv_kw)
        assert mid.battery_kwh == pytest.approx(2.15 * old.battery_kwh)
        assert mid.wind_kw == new.wind_kw == old.wind_kw
        for name in ("ev_kwh_per_day", "ev_kw", "hp_kwh_per_day", "hp_kw"):
            assert getattr(mid, name) == pytest.approx(0.5 * getattr(new, name))
    for mid, new in zip(half.passive, later.passive, strict=True):
        assert mid.ev_kwh_per_day == pytest.approx(0.5 * new.ev_kwh_per_day)
    assert np.array_equal(half.load_kw, today.load_kw)


def test_what_is_asked_for_can_be_drawn_at_once(later):
    """Nobody has to wait: asked power is below plugged-in power in every hour."""
    for half in ("odd", "even"):
        days = design_days(later, half=half)
        assert np.all(days.deferrable_kw <= days.plugged_kw + 1e-9)


@pytest.mark.parametrize("half", ["odd", "even"])
def test_spot_indexed_prices_have_the_mean_of_the_fixed_one_on_design_days(later, half):
    days, unseen = design_days(later, half=half), held_out_days(later, half=half)
    assert days.retail.mean() == pytest.approx(0.2552, abs=1e-12)
    for some in (days, unseen):  # margin and levies do not move with the day
        margin = some.retail / 1.19 - some.wholesale
        assert np.ptp(margin) < 1e-12
    assert (days.retail / 1.19 - days.wholesale)[0, 0] == pytest.approx((unseen.retail / 1.19 - unseen.wholesale)[0, 0])
    assert abs(unseen.retail.mean() - 0.2552) > 1e-6  # no mean of their own
    scenarios = build_instance(later, "smoke", half).days
    assert np.allclose(scenarios.retail - 1.19 * scenarios.wholesale, (days.retail - 1.19 * days.wholesale)[0, 0])


def test_prices_by_hand(small):
    """60 EUR/MWh at noon of every day, -40 at 13:00, 46 otherwise: a mean of 43 EUR/MWh."""
    price = np.full(24, 46.0)
    price[[12, 13]] = 60.0, -40.0
    (small / "prices.csv").write_text(profile(2018, {"price_eur_per_mwh": np.tile(price, 92)}))
    change_settings(small, "usd_per_eur", 1.0)
    study = read_study(small, {"retail.kind": "spot_indexed", "retail.vat_share": 0.2, "feed_in.kind": "market_value"})
    days = make_days(study, season_days(study)[:2])
    mean = (22 * 46 + 60 - 40) / 24e3
    assert days.retail[12] == pytest.approx(0.25 + 1.2 * (0.060 - mean))
    assert days.retail[13] == pytest.approx(0.25 + 1.2 * (-0.040 - mean))
    assert days.feed_in[12] == pytest.approx(0.060)
    assert np.all(days.feed_in[13] == 0)  # not negative: sun is switched off before it pays
    assert days.feed_in[0] == pytest.approx(0.046)


def test_buying_to_sell_at_once_is_refused(small):
    spot = {"retail.kind": "spot_indexed", "retail_usd_per_kwh": 0.24}
    study = read_study(small, spot)  # feed-in stays at 0.14, the smallest tariff is 0.05 and would hide it
    with pytest.raises(InputError) as caught:
        make_days(study, season_days(study))
    assert caught.value.field == "retail.kind"
    assert "below the feed-in price at" in caught.value.problem
    fair = read_study(small, spot | {"feed_in.kind": "market_value"})
    make_days(fair, season_days(fair))


def test_means_and_choices_of_days_carry_everything(days):
    mean, some = days.mean(), days.select([2, 5])
    assert np.allclose(mean.deferrable_kw[..., 0], days.deferrable_kw.mean(axis=-1))
    assert np.allclose(mean.retail[:, 0], days.retail.mean(axis=1))
    for name in ("deferrable_kw", "plugged_kw", "retail", "feed_in"):
        assert np.array_equal(getattr(some, name), getattr(days, name)[..., [2, 5]]), name


def test_the_substation_holds_the_voltage_it_is_told(today, later):
    higher = read_study(STUDIES / "ieee33-2045", {"substation_voltage_pu": 1.02}).feeder
    assert (higher.v_slack, higher.v_min[0], higher.v_max[0]) == (1.02, 1.02, 1.02)
    assert np.array_equal(higher.v_min[1:], today.feeder.v_min[1:])
    assert later.feeder.v_slack == today.feeder.v_slack == 1.0
    with pytest.raises(InputError) as caught:
        read_study(STUDIES / "ieee33-2045", {"substation_voltage_pu": 1.2})
    assert caught.value.field == "substation_voltage_pu"


@pytest.fixture(scope="module")
def baseline():
    prepared = prepare(STUDIES / "ieee33-2045", "smoke", {"n_scenarios": 2})
    return solve_case(prepared, 1)


def test_the_electrified_study_solves_and_serves_what_is_asked_for(baseline):
    """Case 1 certifies; every kWh asked for is drawn, later than asked and while vehicles are at home."""
    days, found = baseline.clearing.days, baseline.decisions
    waited = 0.0
    for k, kind in enumerate(("ev", "hp")):
        drawn, asked = found[kind], days.deferrable_kw[:, k]
        assert np.allclose(drawn.sum(axis=1), asked.sum(axis=1), rtol=1e-6, atol=1e-6)
        assert np.all(drawn <= days.plugged_kw[:, k] + 1e-6)
        waited += np.abs(drawn - asked).sum()
    assert waited > 1.0  # a spot-indexed price is worth waiting for
    assert abs(baseline.certificates()["money"]["imbalance_usd"]) < 1e-6  # passive vehicles pay what they draw


def test_a_stored_design_keeps_its_charges_on_peaks(tmp_path):
    """Read back, the design is the one that was solved, and certifies."""
    energy = {f"menus.smoke.tariff.{block}": [0.05] for block in ("off_peak", "day", "peak")}
    peaks = {"menus.smoke.individual_peak": [0.1], "menus.smoke.coincident_peak": [0.38], "menus.smoke.p2p": [0.04]}
    sizes = {"n_scenarios": 1, "billing": "scenario", "menus.smoke.capacity": {}}
    solved = solve_case(prepare(STUDIES / "ieee33", "smoke", energy | peaks | sizes), 4)
    assert (solved.decisions.design.peak, solved.decisions.design.coincident) == (0.1, 0.38)
    again = read_result(solved.write(tmp_path / "case"))
    assert again.decisions.design == solved.decisions.design
    again.certify()
