"""The files of data/: unchanged, licensed, complete, small."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tritier.inputs.settings import read_settings
from tritier.inputs.study import read_study
from tritier.inputs.tables import read_days

DATA = Path(__file__).parents[1] / "data"
LISTED = dict(reversed(line.split()) for line in (DATA / "CHECKSUMS").read_text().splitlines())


@pytest.mark.parametrize("name", LISTED)
def test_checksums(name):
    assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == LISTED[name]


def test_every_data_file_is_listed_and_has_a_notice():
    folders = ("feeders", "mobility", "simbench", "smard", "studies")
    found = {f.relative_to(DATA).as_posix() for folder in folders for f in (DATA / folder).rglob("*.csv")}
    assert found == set(LISTED)
    for folder, words in (
        ("mobility", "Mobilität in Deutschland"),
        ("simbench", "Open Database License"),
        ("simbench", "deferrable_profiles.csv"),
        ("smard", "Bundesnetzagentur | SMARD.de"),
        ("feeders", "BSD"),
    ):
        assert words in (DATA / folder / "LICENSE.md").read_text()


def test_data_stays_small():
    assert sum((DATA / name).stat().st_size for name in LISTED) < 6e6


def test_prices_of_2018_have_no_gap_and_the_published_mean():
    dates, columns = read_days(DATA / "smard/prices.csv", -1e4, 1e4)
    price = columns["price_eur_per_mwh"]
    assert price.shape == (365, 24)
    assert (str(dates[0]), str(dates[-1])) == ("2018-01-01", "2018-12-31")
    assert price.mean() == pytest.approx(44.47, abs=0.005)  # yearly mean of the German zone
    assert price.min() < 0


def test_profiles_cover_2016_and_repeat_known_facts():
    dates, load = read_days(DATA / "simbench/load_profiles.csv", 0.0, 1e6)
    renewable_dates, renewable = read_days(DATA / "simbench/renewable_profiles.csv", 0.0, 1.0)
    assert dates.size == 366
    assert np.array_equal(dates, renewable_dates)
    yields = [values.sum() for name, values in renewable.items() if name.startswith("PV")]
    assert len(yields) == 8
    assert (min(yields), max(yields)) == (pytest.approx(575, abs=1), pytest.approx(697, abs=1))
    holiday = np.flatnonzero(dates == np.datetime64("2016-03-28"))[0]  # Easter Monday, read by position
    commerce = np.mean([v[holiday].mean() / v.mean() for n, v in load.items() if n.startswith("G")])
    assert commerce == pytest.approx(0.585, abs=0.005)


def test_profiles_of_vehicles_and_heat_pumps_repeat_known_facts():
    dates, columns = read_days(DATA / "simbench/deferrable_profiles.csv", low=0.0, high=24.0)
    assert np.array_equal(dates, read_days(DATA / "simbench/load_profiles.csv", low=0.0, high=1e6)[0])
    assert list(columns) == ["ev", "hp"]
    for values in columns.values():
        assert values.mean() == pytest.approx(1.0, abs=1e-5)
    ev, hp = columns["ev"], columns["hp"]
    weekend = (dates.astype(int) + 3) % 7 >= 5
    for days in (ev[weekend], ev[~weekend]):  # every day is the mean day of its type
        assert np.array_equal(days, np.broadcast_to(days[0], days.shape))
    assert ev[~weekend].mean(axis=0).argmax() == 18  # home from work
    assert ev[~weekend][0, 2:5].max() < 0.05  # asleep
    month = dates.astype("datetime64[M]").astype(int) % 12 + 1
    assert hp[month == 1].mean() > 2.4
    assert hp[month == 7].mean() < 0.15
    assert hp[:, [8, 17]].max() == 0  # blocked by the supplier
    assert hp.max() == pytest.approx(10.73, abs=0.005)  # no more than is installed: 24 x 4.5548 / 9.9923 = 10.940


def test_cars_at_home_are_as_the_survey_reports_them():
    table = pd.read_csv(DATA / "mobility/plugged_in.csv")
    assert table.hour.tolist() == list(range(24))
    assert (table.weekday.min(), table.weekend.min()) == (0.50, 0.75)
    assert table[["weekday", "weekend"]].max().max() <= 1.0
    assert 10 <= table.weekday.idxmin() <= 15  # cars leave in the morning and are back in the evening
    assert table.weekday[[3, 22]].min() > 0.9
    hours_at_home = (5 * table.weekday.sum() + 2 * table.weekend.sum()) / 7
    assert hours_at_home == pytest.approx(20, abs=1)  # reported, and not used when the table was made


def test_homes_own_what_the_parameters_say():
    """Homes from the loads that the package reads, not from the script that wrote the tables."""
    today = read_study(DATA / "studies/ieee33", {"load.scale": 1.0})
    mix = pd.read_csv(DATA / "studies/ieee33/load_mix.csv")
    household = mix[mix.profile.str.startswith("H0")].groupby("bus").weight.sum() / mix.groupby("bus").weight.sum()
    energy = pd.Series(today.load_kw.sum(axis=(1, 2)), index=today.feeder.bus)
    home = (energy * household / 3300).fillna(0.0)
    assert 0.994498387 * home.sum() == pytest.approx(1906, abs=1)
    folder = DATA / "studies/ieee33-2045"
    prosumers, passive = (pd.read_csv(folder / f"{name}.csv").set_index("bus") for name in ("prosumers", "passive"))
    assert 0.994498387 * home[prosumers.index].sum() == pytest.approx(1351, abs=1)
    assert not set(prosumers.index) & set(passive.index)
    own = pd.concat([prosumers, passive])
    home = home[home > 0]
    assert set(own.index[own.ev_kw > 0]) == set(home.index)  # every home, and nobody else
    rule = {
        "ev_kwh_per_day": 0.8 * 5.5,
        "ev_kw": 0.8 * 11.0,
        "hp_kwh_per_day": 0.33 * 3657.18 / 366,
        "hp_kw": 0.33 * 4.5548,
    }
    for name, each in rule.items():
        assert np.allclose(own.loc[home.index, name], each * home, rtol=5e-5), name  # five digits are written
    assert set(prosumers.ev_delay_h) == {8}
    assert set(prosumers.hp_delay_h) == {3}


def test_every_parameter_has_a_source():
    with (DATA / "parameters.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["parameter", "default", "range", "unit", "source", "used as", "study"]
    for row in rows:
        assert row["parameter"] and row["default"] and row["unit"] and row["source"] and row["used as"]
        assert row["study"] in ("ieee33", "ieee33-2045")
    assert len({row["parameter"] for row in rows}) == len(rows)


def test_parameters_are_those_of_the_study():
    """Every default that names a key of a study.yaml agrees with it, numbers to the digits given."""
    settings = {
        name: yaml.safe_load((DATA / f"studies/{name}/study.yaml").read_text()) for name in ("ieee33", "ieee33-2045")
    }
    compared = 0
    for row in csv.DictReader((DATA / "parameters.csv").open()):
        value = settings[row["study"]]
        for key in row["used as"].split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            assert row["default"] == value, row["parameter"]
            compared += 1
        if isinstance(value, int | float):
            digits = len(row["default"].partition(".")[2]) if "e" not in row["default"] else 5
            assert float(row["default"]) == pytest.approx(value, abs=0.5 * 10.0**-digits), row["parameter"]
            compared += 1
    assert compared >= 24


def test_menu_levels_are_those_that_a_preset_offers():
    """Table of parameters against the menus of both studies: every level named is offered, and none other."""
    menus = [
        menu
        for name in ("ieee33", "ieee33-2045")
        for menu in yaml.safe_load((DATA / f"studies/{name}/study.yaml").read_text())["menus"].values()
    ]
    table = {row["used as"]: row["default"] for row in csv.DictReader((DATA / "parameters.csv").open())}
    for key in ("tariff", "individual_peak", "coincident_peak", "p2p"):
        offered = [menu[key] for menu in menus]
        rows = [row for of in offered for row in (of.values() if isinstance(of, dict) else [of])]
        told = [float(level) for level in table[f"menus.<name>.{key}"].split(", ")]
        assert told == sorted({level for row in rows for level in row}), key


def test_both_studies_differ_in_what_electrification_and_its_prices_bring_alone():
    today, later = (read_settings(DATA / f"studies/{name}/study.yaml") for name in ("ieee33", "ieee33-2045"))
    own = {
        "name",
        "title",
        "files",
        "renewables",
        "batteries",
        "retail",
        "feed_in",
        "fixed_share",
        "billing",
        "peak_with_losses",
    }
    own |= {"substation_voltage_pu", "menus", "electrification", "calibrated_on"}
    a, b = today.model_dump(exclude=own), later.model_dump(exclude=own)
    assert a == b
    assert later.renewables.model_dump(exclude={"pv_scale"}) == today.renewables.model_dump(exclude={"pv_scale"})


def test_prosumers_follow_the_rules_of_the_case_study():
    table = pd.read_csv(DATA / "studies/ieee33/prosumers.csv")
    nominal = pd.read_csv(DATA / "feeders/ieee33_bus.csv").set_index("bus").p_kw
    assert table.bus.tolist() == [7, 8, 12, 14, 16, 18, 22, 24, 25, 29, 30, 31, 32, 33]
    assert nominal[table.bus].sum() == 2400
    assert np.allclose(table.pv_kw, np.resize([2, 0, 1, 2, 0.5, 0.5], 14) * nominal[table.bus].to_numpy())
    assert table.loc[table.wind_kw > 0, "bus"].tolist() == [12, 22, 25, 29]
    assert np.allclose(table.battery_kwh, table.pv_kw)
    assert np.allclose(table.battery_kw, table.pv_kw / 2)
    assert table.beta.mean() == pytest.approx(0.5, abs=1e-12)
    assert table.beta.nunique() == 3
