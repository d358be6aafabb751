"""The files of data/: unchanged, licensed, complete, small."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tritier.inputs.tables import read_days

DATA = Path(__file__).parents[1] / "data"
LISTED = dict(reversed(line.split()) for line in (DATA / "CHECKSUMS").read_text().splitlines())


@pytest.mark.parametrize("name", LISTED)
def test_checksums(name):
    assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == LISTED[name]


def test_every_data_file_is_listed_and_has_a_notice():
    folders = ("feeders", "simbench", "smard", "studies")
    found = {f.relative_to(DATA).as_posix() for folder in folders for f in (DATA / folder).rglob("*.csv")}
    assert found == set(LISTED)
    for folder, words in (
        ("simbench", "Open Database License"),
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


def test_every_parameter_has_a_source():
    with (DATA / "parameters.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["parameter", "default", "range", "unit", "source", "used as"]
    for row in rows:
        assert row["parameter"] and row["default"] and row["unit"] and row["source"] and row["used as"]
    assert len({row["parameter"] for row in rows}) == len(rows)


def test_parameters_are_those_of_the_study():
    """Every default that names a number of study.yaml agrees with it to the digits given."""
    settings = yaml.safe_load((DATA / "studies/ieee33/study.yaml").read_text())
    compared = 0
    for row in csv.DictReader((DATA / "parameters.csv").open()):
        value = settings
        for key in row["used as"].split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            digits = len(row["default"].partition(".")[2]) if "e" not in row["default"] else 5
            assert float(row["default"]) == pytest.approx(value, abs=0.5 * 10.0**-digits), row["parameter"]
            compared += 1
    assert compared >= 15


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
