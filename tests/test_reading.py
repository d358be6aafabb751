"""What is read, and how: YAML 1.2 and JSON alike, tables as programs write them, devices at the dial's settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_study import SETTINGS, change_settings, hours, profile, replace_text, write_study

from tritier.errors import InputError
from tritier.inputs.documents import MAX_DEPTH, parse_json, parse_yaml, read_text
from tritier.inputs.scenarios import build_instance
from tritier.inputs.settings import Settings, parse_value
from tritier.inputs.study import located, read_study
from tritier.inputs.tables import read_days

SCALARS = {
    "150": 150,
    "-3": -3,
    "+3": 3,
    "0": 0,
    "0.5": 0.5,
    ".5": 0.5,
    "1.": 1.0,
    "1e5": 1e5,
    "1.5E-3": 1.5e-3,
    "-.inf": -np.inf,
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    "'150'": "150",
    # words of version 1.2, numbers, dates and truth values of version 1.1
    "0150": "0150",
    "0o17": "0o17",
    "0x1F": "0x1F",
    "1:30": "1:30",
    "1_000": "1_000",
    "yes": "yes",
    "off": "off",
    "2016-03-25": "2016-03-25",
    "1.2.3": "1.2.3",
    "1e": "1e",
}


@pytest.mark.parametrize("text", SCALARS)
def test_a_scalar_is_what_version_1_2_says(text):
    found = parse_yaml(f"key: {text}", "file")["key"]
    assert found == SCALARS[text] and type(found) is type(SCALARS[text])
    if "'" not in text and ":" not in text:
        assert parse_value("key", text) == SCALARS[text]


NESTED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=10,
)


@given(NESTED)
def test_json_is_read_as_it_was_written_by_both_readers(content):
    text = json.dumps(content)
    assert parse_json(text, "file") == content
    assert parse_yaml(text, "file") == content


@pytest.mark.parametrize("reader", [parse_yaml, parse_json])
def test_nesting_is_read_down_to_the_limit_and_no_further(reader):
    assert reader("[" * (MAX_DEPTH - 1) + "1" + "]" * (MAX_DEPTH - 1), "file")
    with pytest.raises(InputError, match="is nested too deeply"):
        reader("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "file")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfname: a")
    assert read_text(tmp_path / "a.yaml", "") == "name: a"


def test_models_read_whole_numbers_as_numbers_and_refuse_words():
    settings = Settings.model_validate(SETTINGS | {"usd_per_eur": 1})
    assert type(settings.usd_per_eur) is float and settings.season.months == [3, 4, 5]
    assert settings.billing == "expected" and settings.menus["smoke"].individual_peak == [0.0]
    with pytest.raises(ValueError, match="frozen"):
        settings.chance_level = 0.5  # type: ignore[misc]


def same(a, b) -> bool:
    """Whether two studies are the same but for where they lie."""
    arrays = ("load_kw", "reactive_kvar", "renewable_kw", "wholesale", "dates", "price_dates")
    return a.prosumers == b.prosumers and all(np.array_equal(getattr(a, x), getattr(b, x)) for x in arrays)


def windows(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")


def spaces(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        path.write_text(path.read_text().replace(",", " , "))


def quotes(folder: Path) -> None:
    path = folder / "prosumers.csv"
    path.write_text("\n".join(",".join(f'"{cell}"' for cell in row.split(",")) for row in path.read_text().split()))


def other_order(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        path.write_text("\n".join(",".join(reversed(row)) for row in rows) + "\n")


def full_stamps(folder: Path) -> None:
    path = folder / "prices.csv"
    path.write_text(path.read_text().replace(":00,", ":00:00,").replace("T", " "))


def whole_numbers_with_a_point(folder: Path) -> None:
    replace_text(folder / "bus.csv", "2,pq,100,", "2.0,pq,1e2,")


@pytest.mark.parametrize("change", [windows, spaces, quotes, other_order, full_stamps, whole_numbers_with_a_point])
def test_a_table_is_the_same_however_a_program_writes_it(change, tmp_path):
    plain = read_study(write_study(tmp_path / "plain"))
    folder = write_study(tmp_path / "other")
    change(folder)
    assert same(read_study(folder), plain)


def electrified(folder: Path) -> Path:
    """The small study with vehicles at both prosumers, heat pumps at one, both uncontrolled at bus 4."""
    write_study(folder)
    more = {"": ",ev_kwh_per_day,ev_kw,ev_delay_h,hp_kwh_per_day,hp_kw,hp_delay_h"}
    head, north, south = (folder / "prosumers.csv").read_text().splitlines()
    lines = [head + more[""], north + ",48,20,8,24,6,3", south + ",12,10,8,0,0,0"]
    (folder / "prosumers.csv").write_text("\n".join(lines) + "\n")
    (folder / "passive.csv").write_text("bus,ev_kwh_per_day,ev_kw,hp_kwh_per_day,hp_kw\n4,10,5,20,4\n")
    share = [f"{hour},{0.5 if 8 <= hour < 17 else 0.9},0.8" for hour in range(24)]
    (folder / "plugged.csv").write_text("\n".join(["hour,weekday,weekend", *reversed(share)]) + "\n")
    t = np.arange(hours(2016).size)
    shapes = {"ev": 2.0 * (t % 24 >= 17), "hp": np.ones(t.size), "left out": np.zeros(t.size)}
    (folder / "deferrable.csv").write_text(profile(2016, shapes))
    files = {"passive": "passive.csv", "plugged_in": "plugged.csv", "deferrable_profiles": "deferrable.csv"}
    change_settings(folder, "files", files)
    return folder


def test_vehicles_and_heat_pumps_are_read(tmp_path):
    study = read_study(electrified(tmp_path / "study"))
    north, south = study.prosumers
    assert (north.ev_kwh_per_day, north.ev_kw, north.ev_delay_h) == (48.0, 20.0, 8)
    assert (north.hp_kwh_per_day, north.hp_kw, north.hp_delay_h) == (24.0, 6.0, 3)
    assert (south.ev_kwh_per_day, south.hp_kwh_per_day) == (12.0, 0.0)
    assert [(row.bus, row.ev_kwh_per_day, row.hp_kw) for row in study.passive] == [(4, 10.0, 4.0)]
    assert set(study.asked) == {"ev", "hp"}
    assert study.asked["ev"].mean() == pytest.approx(1.0, rel=1e-12)
    assert study.asked["ev"][0] == pytest.approx([0.0] * 17 + [24 / 7] * 7, rel=1e-12)
    assert study.plugged_in[0, [0, 8, 16, 17]].tolist() == [0.9, 0.5, 0.5, 0.9]
    assert np.all(study.plugged_in[1] == 0.8)
    assert {"passive", "plugged_in", "deferrable_profiles"} <= set(study.paths)
    before = study.data_hash
    replace_text(tmp_path / "study" / "passive.csv", "4,10", "4,11")
    assert read_study(tmp_path / "study").data_hash != before


@pytest.mark.parametrize(("dial", "pv", "battery", "vehicles"), [(0, 1, 1, 0), (0.5, 1.6, 2.15, 0.5), (1, 2.2, 3.3, 1)])
def test_the_dial_stands_between_the_table_and_the_study_s_own_scales(dial, pv, battery, vehicles, tmp_path):
    """PV x 2.2 and batteries x 3.3 at 1, the table's at 0; vehicles and heat pumps from none to all."""
    folder = electrified(tmp_path / "study")
    scales = {"renewables.pv_scale": 2.2, "batteries": {"scale": 3.3}, "electrification": dial, "load.scale": 2.0}
    study = read_study(folder, scales)
    north = study.prosumers[0]
    assert north.pv_kw == pytest.approx(2 * 50 * pv, rel=1e-12) and north.wind_kw == 2 * 10
    assert north.battery_kwh == pytest.approx(2 * 40 * battery, rel=1e-12)
    assert north.ev_kwh_per_day == pytest.approx(2 * 48 * vehicles, rel=1e-12)
    assert study.passive[0].hp_kw == pytest.approx(2 * 4 * vehicles, rel=1e-12)


def test_without_devices_nothing_is_asked_for(tmp_path):
    study = read_study(write_study(tmp_path / "study"))
    assert study.asked == {} and study.passive == () and np.all(study.plugged_in == 1.0)
    assert all(who.ev_kw == who.hp_kw == 0.0 for who in study.prosumers)


def test_errors_of_the_model_are_given_the_study_s_own_paths(tmp_path):
    study = read_study(write_study(tmp_path / "study"))
    with pytest.raises(InputError) as caught, located(study):
        raise InputError("branch.csv", "rating_a of line 1", "is small", "raise it")
    assert str(caught.value) == f"{tmp_path / 'study' / 'branch.csv'}: rating_a of line 1: is small; raise it"
    with pytest.raises(InputError, match=r"^--set: a: b; c$"), located(study):
        raise InputError("--set", "a", "b", "c")


TOKENS = [
    "\x00",
    ",",
    "\n",
    "\r",
    '"',
    "'",
    "nan",
    "inf",
    "1e999",
    "1e-320",
    "-",
    "[",
    "{",
    ":",
    "#",
    "&a",
    "*a",
    "!!int ",
    "null",
    "true",
    "0x1",
    "? ",
    "- ",
    "--- ",
    "%",
    "@",
    "\t",
    "$x$",
    "\u2028",
    "²",
]


def damaged(text: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to three pieces deleted, inserted or replaced near its beginning."""
    data = bytearray(text)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(min(len(data), 3000)))
        cut = int(rng.choice([0, 1, 3, 20]))
        data[at : at + cut] = rng.choice(TOKENS).encode() if cut < 20 else b""
    return bytes(data)


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_is_read_or_refused_in_one_line(seed, tmp_path):
    """No other error, whatever file of the study is damaged, and however."""
    folder, rng, refused = electrified(tmp_path / "study"), np.random.default_rng(seed), 0
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, rng))
        try:
            build_instance(read_study(folder), "smoke")
        except InputError as error:
            refused += 1
            assert str(error).isprintable() and "; " in str(error)
            assert str(error).startswith(str(folder))
        path.write_bytes(whole)
    assert refused > 0


def test_profiles_are_read_again_when_their_file_changes(tmp_path):
    path = write_study(tmp_path / "s") / "prices.csv"
    _, before = read_days(path, -1e4, 1e4)
    with pytest.raises(ValueError, match="read-only"):
        before["price_eur_per_mwh"][0, 0] = 1.0
    first = path.read_text().splitlines()[1]
    replace_text(path, first, first.replace(first.split(",")[1], "12.5"))
    _, after = read_days(path, -1e4, 1e4)
    assert after["price_eur_per_mwh"][0, 0] == 12.5 != before["price_eur_per_mwh"][0, 0]
    with pytest.raises(InputError, match="out of range"):
        read_days(path, -1e4, 12.0)
