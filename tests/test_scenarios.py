"""Scenario days: halves, pairing with prices, extremes, probabilities, and the instance built of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_study import change_settings, write_study

from tritier.cases.solve import prepare
from tritier.errors import InputError
from tritier.evaluation.heldout import find_days
from tritier.inputs.scenarios import (
    HALVES,
    bare_feeder_load,
    build_instance,
    design_days,
    extreme_days,
    held_out_days,
    k_medoids,
    keep_prosumers,
    make_days,
    other_days,
    price_day,
    resampled_days,
    scenario_days,
    season_days,
    tariff_blocks,
    validate_days,
    weekday,
)
from tritier.inputs.study import read_study

FOLDER = Path(__file__).parents[1] / "data" / "studies" / "ieee33"
PLAIN = {"load.scale": 1.0, "reference_value_usd_per_kwh": None}  # the study before its calibration
STUDY = read_study(FOLDER, PLAIN)


def real(days) -> set[str]:
    """Dates of load and renewables of all days."""
    return {date for label in days.label for date in label.split(" | ")}


# Reading -------------------------------------------------------------------------------------------------------------


def test_annual_peak_is_the_nominal_load_times_the_scale():
    assert STUDY.load_kw.sum(axis=0).max() == pytest.approx(3715.0, rel=1e-12)
    scaled = read_study(FOLDER, PLAIN | {"load.scale": 1.02})
    assert scaled.load_kw.sum(axis=0).max() == pytest.approx(1.02 * 3715.0, rel=1e-12)
    assert np.allclose(scaled.renewable_kw, 1.02 * STUDY.renewable_kw)
    for a, b in zip(scaled.prosumers, STUDY.prosumers, strict=True):
        assert (a.pv_kw, a.wind_kw) == pytest.approx((1.02 * b.pv_kw, 1.02 * b.wind_kw))
        assert (a.battery_kwh, a.battery_kw) == pytest.approx((1.02 * b.battery_kwh, 1.02 * b.battery_kw))


def test_energy_by_bus_keeps_the_shares_of_nominal_load():
    energy = STUDY.load_kw.sum(axis=(1, 2))
    assert np.allclose(energy / energy.sum(), STUDY.feeder.p_kw / STUDY.feeder.p_kw.sum())


def test_reactive_load_keeps_the_power_factor_of_the_bus():
    k = STUDY.feeder.position(30)  # 200 kW, 600 kvar
    assert np.allclose(STUDY.reactive_kvar[k], 3.0 * STUDY.load_kw[k])


def test_a_capacitor_is_constant(tmp_path):
    study = read_study(write_study(tmp_path / "study"))
    assert np.all(study.reactive_kvar[study.feeder.position(4)] == -10.0)
    assert np.all(study.load_kw[study.feeder.position(4)] == 0.0)


def test_pv_is_shifted_and_scaled_and_wind_is_not():
    plain = read_study(FOLDER, PLAIN | {"renewables.pv_shift_h": 0, "renewables.pv_yield_factor": 1.0})
    k = [p.name for p in STUDY.prosumers].index("bus7")  # PV only
    assert np.allclose(STUDY.renewable_kw[k].ravel()[1:], 1.3 * plain.renewable_kw[k].ravel()[:-1])
    high = read_study(FOLDER, PLAIN | {"renewables.pv_scale": 1.5})
    k = [p.name for p in STUDY.prosumers].index("bus12")  # 60 kW PV, 30 kW wind
    assert (high.prosumers[k].pv_kw, high.prosumers[k].wind_kw) == (90.0, 30.0)
    assert high.prosumers[k].battery_kwh == STUDY.prosumers[k].battery_kwh
    night = np.s_[k, :, 0]
    assert np.allclose(high.renewable_kw[night], STUDY.renewable_kw[night])


def test_a_calibrated_scale_stays_near_one():
    # Outside, the load mixes would no longer be those of the case study: nominal loads are annual peaks.
    assert 0.9 < read_study(FOLDER).settings.load.scale < 1.1


def test_data_hash_sees_content_and_not_place(tmp_path):
    one, two = (read_study(write_study(tmp_path / name)) for name in ("one", "two"))
    assert one.data_hash == two.data_hash
    change_settings(tmp_path / "two", "title", "another")
    assert read_study(tmp_path / "two").data_hash != one.data_hash


# Halves --------------------------------------------------------------------------------------------------------------


def test_every_real_day_is_held_out_exactly_once():
    season = {str(d) for d in STUDY.dates[season_days(STUDY)]}
    halves = [real(held_out_days(STUDY, "paper", half)) for half in HALVES]
    assert halves[0] | halves[1] == season
    assert not halves[0] & halves[1]
    assert len(season) == 62  # 66 weekdays of March to May 2016 less four holidays


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("preset", ["smoke", "fast", "paper"])
def test_held_out_days_are_never_design_days(half, preset):
    design = real(design_days(STUDY, preset, half)) | real(build_instance(STUDY, preset, half).days)
    held_out = real(held_out_days(STUDY, preset, half)) | real(resampled_days(STUDY, preset, half))
    assert not design & held_out
    weeks = {np.datetime64(d).item().isocalendar().week % 2 for d in design}
    assert weeks == {1 if half == "odd" else 0}


def test_season_days_are_spring_weekdays_without_holidays():
    dates = STUDY.dates[season_days(STUDY)]
    assert set(weekday(dates)) == {0, 1, 2, 3, 4}
    assert {d.item().month for d in dates} == {3, 4, 5}
    assert np.datetime64("2016-05-16") not in dates


def test_unknown_half_names_the_choices():
    for read in (season_days, held_out_days, build_instance):
        with pytest.raises(InputError, match="choose one of odd, even"):
            read(STUDY, half="third")


# Prices --------------------------------------------------------------------------------------------------------------


def test_prices_are_paired_by_month_and_weekday():
    def partner(date: str) -> str:
        day = int(np.flatnonzero(STUDY.dates == np.datetime64(date))[0])
        return str(STUDY.price_dates[price_day(STUDY, day)])

    assert partner("2016-04-05") == "2018-04-03"  # first Tuesday
    assert partner("2016-04-04") == "2018-04-09"  # first Monday, 2 April 2018 was Easter Monday
    assert partner("2016-03-31") == "2018-03-29"  # fifth Thursday
    assert partner("2016-05-31") == "2018-05-29"  # fifth Tuesday with the last there is: four without 1 May
    for k in season_days(STUDY):
        here, there = STUDY.dates[k].item(), STUDY.price_dates[price_day(STUDY, int(k))].item()
        assert (here.month, here.weekday()) == (there.month, there.weekday())


def test_wholesale_is_in_dollars_per_kwh():
    days = design_days(STUDY)
    row = np.flatnonzero(STUDY.price_dates == np.datetime64("2018-03-06"))[0]  # first Tuesday of March
    k = days.label.index("2016-03-01")
    assert np.allclose(days.wholesale[:, k], STUDY.wholesale[row])
    assert STUDY.wholesale.mean() == pytest.approx(44.47 * 1.18e-3, abs=1e-5)


# Scenarios -----------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 60), half=st.sampled_from(HALVES), seed=st.integers(0, 5))
def test_probabilities_are_shares_and_extremes_are_scenarios(n, half, seed):
    preset = STUDY.preset("paper", {"n_scenarios": n, "seed": seed})
    days = scenario_days(STUDY, preset, half)
    assert days.n_days == n == len(set(days.label))
    assert days.probability.sum() == pytest.approx(1.0, abs=1e-12)
    assert days.probability.min() > 0
    pool = design_days(STUDY, preset, half)
    if 3 < n <= pool.n_days:
        assert {pool.label[k] for k in extreme_days(pool).values()} <= set(days.label)
    if n > 3:
        net, passive = bare_feeder_load(days), days.passive_kw.sum(axis=0)[17:21].mean(axis=0)
        assert net.max() >= bare_feeder_load(pool).max() - 1e-9
        assert net.min() <= bare_feeder_load(pool).min() + 1e-9
        assert passive.max() >= pool.passive_kw.sum(axis=0)[17:21].mean(axis=0).max() - 1e-9


def test_all_design_days_as_scenarios_are_the_design_days():
    preset = STUDY.preset("fast", {"n_scenarios": 33})
    days, all_days = scenario_days(STUDY, preset), design_days(STUDY)
    assert set(days.label) == set(all_days.label)
    assert np.allclose(days.probability, 1 / 33)
    assert np.allclose(days.mean().demand_kw, all_days.mean().demand_kw)


def test_scenarios_repeat_with_the_seed_and_change_with_it():
    one, two, other = (build_instance(STUDY, "paper", changes={"seed": s}).days.label for s in (1, 1, 2))
    assert one == two != other


def test_resampled_days_are_called_so():
    days = resampled_days(STUDY, "paper")
    assert days.n_days == 300 == len(set(days.label))
    assert all(" | " in label and len(set(label.split(" | "))) == 2 for label in days.label)
    k = 7
    load, renewable = days.label[k].split(" | ")
    a, b = (int(np.flatnonzero(STUDY.dates == np.datetime64(d))[0]) for d in (load, renewable))
    bus = [STUDY.feeder.position(p.bus) for p in STUDY.prosumers]
    assert np.allclose(days.demand_kw[:, :, k], STUDY.load_kw[bus, a])
    assert np.allclose(days.renewable_kw[:, :, k], STUDY.renewable_kw[:, b])
    assert np.allclose(days.wholesale[:, k], STUDY.wholesale[price_day(STUDY, a)])
    with pytest.raises(InputError, match="possible pairs"):
        resampled_days(STUDY, "paper", n=29 * 28 + 1)


def test_all_pairs_can_be_drawn():
    assert len(set(resampled_days(STUDY, "smoke", n=29 * 28).label)) == 29 * 28


def test_forecast_is_the_weighted_mean():
    instance = build_instance(STUDY, "fast")
    mean, days = instance.forecast().days, instance.days
    for name in ("demand_kw", "renewable_kw", "passive_kw", "reactive_kvar"):
        by_hand = sum(p * getattr(days, name)[:, :, w] for w, p in enumerate(days.probability))
        assert np.allclose(getattr(mean, name)[:, :, 0], by_hand)
    assert np.allclose(mean.wholesale[:, 0], days.wholesale @ days.probability)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_medoids_keep_the_fixed_and_no_swap_improves_them(data):
    m = data.draw(st.integers(1, 25))
    k = data.draw(st.integers(1, m))
    n_fixed = data.draw(st.integers(0, k))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(m, 3))
    fixed = tuple(range(n_fixed))
    medoids, owner = k_medoids(x, k, fixed)
    assert tuple(medoids[:n_fixed]) == fixed
    assert len(set(medoids.tolist())) == k
    distance = np.linalg.norm(x[:, None] - x[medoids][None], axis=2)
    assert np.allclose(distance[np.arange(m), owner], distance.min(axis=1))
    others = [j for j in range(m) if j not in medoids]
    for place in range(n_fixed, k):  # no single swap does better
        for j in others[:5]:
            swapped = medoids.copy()
            swapped[place] = j
            cost = np.linalg.norm(x[:, None] - x[swapped][None], axis=2).min(axis=1).sum()
            assert cost >= distance.min(axis=1).sum() - 1e-9


def test_medoids_of_two_clouds_are_their_centres():
    x = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [13.0], [14.0]])
    medoids, owner = k_medoids(x, 2)
    assert sorted(x[medoids].ravel()) == [1.0, 12.0]
    assert sorted(np.bincount(owner)) == [3, 5]


# Instance ------------------------------------------------------------------------------------------------------------


def test_blocks_rank_hours_by_mean_net_load():
    for half in HALVES:
        block = tariff_blocks(STUDY, half)
        assert np.bincount(block).tolist() == [8, 10, 6]
        net = bare_feeder_load(design_days(STUDY, "paper", half)).mean(axis=1)
        assert net[block == 0].max() <= net[block == 1].min()
        assert net[block == 1].max() <= net[block == 2].min()


def test_rules_come_from_the_study():
    rules = build_instance(STUDY, "smoke").rules
    assert rules.reference_price == pytest.approx(0.3385, abs=1e-12)
    assert rules.violation_price == pytest.approx(3.385, abs=1e-12)
    assert rules.reference_value == rules.reference_price
    assert np.all(rules.retail == 0.2552)
    given_values = {"reference_value_usd_per_kwh": 0.5, "fixed_cost_usd": 700.0, "voltage_margin_pu": 0.002}
    instance = build_instance(read_study(FOLDER, given_values), "smoke")
    assert (instance.rules.reference_value, instance.fixed_cost, instance.rules.voltage_margin) == (0.5, 700.0, 0.002)


def test_prosumers_left_out_become_passive_load():
    full, few = build_instance(STUDY, "fast"), build_instance(STUDY, "fast", changes={"n_prosumers": 4})
    assert [p.bus for p in few.prosumers] == [7, 16, 29, 33]
    held_out = held_out_days(STUDY, STUDY.preset("fast", {"n_prosumers": 4}))
    assert held_out.demand_kw.shape[0] == 4
    all_kw = design_days(STUDY)
    few_kw = design_days(STUDY, STUDY.preset("fast", {"n_prosumers": 4}))
    total = [d.demand_kw.sum(axis=0) + d.passive_kw.sum(axis=0) for d in (all_kw, few_kw)]
    assert np.allclose(*total)
    assert few_kw.renewable_kw.sum() < all_kw.renewable_kw.sum()
    bus8 = STUDY.feeder.position(8)
    assert np.all(full.days.passive_kw[bus8] == 0)
    assert few.days.passive_kw[bus8].min() > 0
    assert [p.bus for p in keep_prosumers(STUDY, 1).prosumers] == [24]
    assert keep_prosumers(STUDY, 99) is STUDY


def test_menus_have_the_sizes_promised():
    assert STUDY.menu("smoke").n_points <= 100
    assert 300 <= STUDY.menu("fast").n_points <= 500  # complete enumeration
    assert STUDY.menu("paper").n_points >= 1e5
    for name in ("smoke", "fast", "paper"):
        assert dict(STUDY.menu(name).capacity)[1][-1] >= STUDY.feeder.rating_kva[0]
    assert {line for line, _ in STUDY.menu("fast").capacity} == {1, 18, 22, 25}


# Days ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "problem", "mend"),
    [
        ("probability", lambda p: p * 1.01, "sums to 1.01", "scale the probabilities"),
        ("probability", lambda p: np.r_[-p[0], p[1:] + 2 * p[0] / (p.size - 1)], "is negative", "zero or more"),
        ("probability", lambda p: p[:-1], "has shape", "give shape"),
        ("demand_kw", lambda x: np.where(x == x.max(), np.nan, x), "NaN", "finite numbers"),
        ("demand_kw", lambda x: -x, "is negative", "zero or more"),
        ("passive_kw", lambda x: -x, "is negative", "zero or more"),
        ("renewable_kw", lambda x: x[:-1], "has shape", "give shape"),
        ("reactive_kvar", lambda x: x[:, :-1], "has shape", "give shape"),
        ("wholesale", lambda x: x * np.inf, "infinite", "finite numbers"),
        ("label", lambda x: x[:-1], "names 2 of 3", "one label a day"),
    ],
)
def test_days_that_cannot_be_are_refused(name, change, problem, mend):
    days = make_days(STUDY, season_days(STUDY)[:3])
    validate_days(days)
    with pytest.raises(InputError) as caught:
        validate_days(replace(days, **{name: change(getattr(days, name))}))
    assert caught.value.field == name
    assert problem in caught.value.problem
    assert mend in caught.value.mend


def test_negative_prices_and_capacitors_are_no_errors():
    days = make_days(STUDY, season_days(STUDY)[:3])
    validate_days(replace(days, wholesale=-days.wholesale, reactive_kvar=-days.reactive_kvar))


# Sets of days --------------------------------------------------------------------------------------------------------


def test_prices_of_a_second_year_of_loads_go_on_as_in_the_first():
    """Each year counts its own Mondays: the days of 2016 keep their prices with 2015 before them."""
    before = np.arange("2015-01-01", "2016-01-01", dtype="datetime64[D]")
    both = replace(STUDY, dates=np.concatenate([before, STUDY.dates]))
    for day in range(0, STUDY.dates.size, 7):
        assert price_day(both, before.size + day) == price_day(STUDY, day)
    assert len({price_day(both, before.size + day) for day in range(STUDY.dates.size)}) > 200
    again = replace(STUDY, price_dates=np.concatenate([STUDY.price_dates, STUDY.dates]))
    assert again.price_dates[price_day(again, 100)] == STUDY.dates[100], "prices of the day's own year go first"
    across = replace(STUDY, price_dates=np.arange("2017-07-01", "2018-07-01", dtype="datetime64[D]"))
    for day in range(0, STUDY.dates.size, 5):  # twelve months of two years hold a day for each
        found = across.price_dates[price_day(across, day)]
        assert found.item().month == STUDY.dates[day].item().month
        assert found.item().weekday() == STUDY.dates[day].item().weekday()


def test_sums_over_the_days_of_profiles_become_a_years():
    assert STUDY.yearly == 1.0  # all of 2016
    assert replace(STUDY, dates=STUDY.dates[:61]).yearly == 6.0


def test_the_season_is_of_the_prosumers_that_take_part():
    prepared = prepare(FOLDER, "smoke", {"n_prosumers": 3})
    found = find_days(prepared, "season")
    assert found.demand_kw.shape[0] == 3
    parts = [design_days(prepared.study, prepared.preset), find_days(prepared, "held-out")]
    assert set(parts[0].label) <= set(found.label) and not set(parts[0].label) & set(parts[1].label)
    at = [found.label.index(label) for label in parts[0].label]
    assert np.array_equal(found.passive_kw[:, :, at], parts[0].passive_kw)
    with pytest.raises(ValueError, match="days of 14 prosumers are none of 3"):
        prepared.instance.on(make_days(STUDY, season_days(STUDY)))


def test_a_set_without_a_day_is_refused_by_name():
    whole = read_study(FOLDER, PLAIN | {"season.months": list(range(1, 13)), "season.day_type": "all"})
    for weekend, told in ((True, "no weekend lies"), (False, "no working day lies")):
        with pytest.raises(InputError, match=f"season: {told} outside the season"):
            other_days(whole, weekend=weekend)


def test_a_row_is_named_where_it_stands_in_the_file(tmp_path):
    """The table is sorted by bus afterwards: the bus that is no bus stands in the second row of values."""
    folder = write_study(tmp_path / "study")
    table = (folder / "prosumers.csv").read_text().splitlines()
    table[1:] = [table[2], table[1].replace("north,2", "north,1")]
    (folder / "prosumers.csv").write_text("\n".join(table) + "\n")
    with pytest.raises(InputError, match="column bus, row 3"):
        read_study(folder)
