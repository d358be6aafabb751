"""Studies broken in one place each: the error is one line that names the file, the field and the mend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_study import change_settings, replace_text, write_study

from tritier.errors import InputError
from tritier.inputs.scenarios import build_instance
from tritier.inputs.study import read_study


def edit(name: str, old: str, new: str):
    """Replace a piece of a file."""
    return lambda folder: replace_text(folder / name, old, new)


def setting(key: str, value: object):
    """Set a key of study.yaml."""
    return lambda folder: change_settings(folder, key, value)


def drop_column(name: str, column: str):
    """Delete a column of a CSV file."""

    def apply(folder: Path) -> None:
        rows = [line.split(",") for line in (folder / name).read_text().splitlines()]
        k = rows[0].index(column)
        (folder / name).write_text("\n".join(",".join(r[:k] + r[k + 1 :]) for r in rows) + "\n")

    return apply


def drop_lines(name: str, first: int, last: int | None):
    """Delete some lines of a file."""

    def apply(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines(keepends=True)
        del lines[first:last]
        (folder / name).write_text("".join(lines))

    return apply


def remove(name: str):
    return lambda folder: (folder / name).unlink()


# name of the case: what is broken, then pieces of the message: file, field, mend.
BROKEN = {
    "missing study.yaml": (remove("study.yaml"), "study.yaml", "file", "give a folder that holds study.yaml"),
    "missing table": (remove("bus.csv"), "bus.csv", "file", "add it"),
    "YAML syntax": (edit("study.yaml", "risk:", "risk: ["), "study.yaml", "line ", "mind indentation"),
    "date of month 13": (
        setting("season.exclude_dates", ["2016-13-40"]),
        "study.yaml",
        "season.exclude_dates.0",
        "write it as 2016-03-25",
    ),
    "list as a key": (edit("study.yaml", "name: small", "[name]: small"), "study.yaml", "line 1", "use a word"),
    "key twice": (edit("study.yaml", "usd_per_eur", "chance_level"), "study.yaml", "line ", "keep one of them"),
    "YAML without keys": (lambda f: (f / "study.yaml").write_text("- a\n"), "study.yaml", "file", "write 'key: value'"),
    "binary table": (
        lambda f: (f / "bus.csv").write_bytes(b"\xff\xfe\x00"),
        "bus.csv",
        "file",
        "save it as UTF-8",
    ),
    "empty table": (drop_lines("prosumers.csv", 1, None), "prosumers.csv", "table", "rows below"),
    "file of zero bytes": (lambda f: (f / "load_mix.csv").write_text(""), "load_mix.csv", "table", "save it as"),
    "ragged table": (edit("bus.csv", "3,pq,80,20,10", "3,pq,80,20,10,1,1,1"), "bus.csv", "row 4", "for each column"),
    "missing column": (drop_column("branch.csv", "x_ohm"), "branch.csv", "column x_ohm", "add it"),
    "missing text column": (drop_column("prosumers.csv", "pv_profile"), "prosumers.csv", "column pv_profile", "add it"),
    "missing price column": (
        edit("prices.csv", "price_eur_per_mwh", "euro"),
        "prices.csv",
        "column price_eur_per_mwh",
        "one price an hour",
    ),
    "NaN": (edit("bus.csv", "3,pq,80", "3,pq,nan"), "bus.csv", "column p_kw, row 4", "valid number"),
    "infinite": (edit("branch.csv", "2,2,3,0.2", "2,2,3,inf"), "branch.csv", "column r_ohm, row 3", "valid number"),
    "empty text": (edit("prosumers.csv", "north", ""), "prosumers.csv", "column prosumer, row 2", "fill it in"),
    "text for a number": (edit("bus.csv", "2,pq,100", "2,pq,many"), "bus.csv", "column p_kw, row 3", "valid number"),
    "text in a profile": (
        edit("load_profiles.csv", "2016-03-01T01:00,", "2016-03-01T01:00,x"),
        "load_profiles.csv",
        "column home, row 3",
        "finite number",
    ),
    "negative resistance": (
        edit("branch.csv", "1,1,2,0.1", "1,1,2,-0.1"),
        "branch.csv",
        "column r_ohm, row 2",
        "[ohm]",
    ),
    "no impedance": (edit("branch.csv", "2,2,3,0.2,0.1", "2,2,3,0,0"), "branch.csv", "column r_ohm, row 3", "merge"),
    "negative rating": (
        edit("branch.csv", "1,20", "1,-20"),
        "branch.csv",
        "column rating_a, row 2",
        "greater than 0 (largest current [A])",
    ),
    "text rating": (edit("branch.csv", "1,20", "1,big"), "branch.csv", "column rating_a, row 2", "valid number"),
    "half closed": (
        edit("branch.csv", "0.1,0,10", "0.1,0.5,10"),
        "branch.csv",
        "column closed, row 5",
        "1 for closed",
    ),
    "loop": (
        edit("branch.csv", "0.1,0,10", "0.1,1,10"),
        "branch.csv",
        "column closed, row",
        "open one line of the loop",
    ),
    "parallel line": (
        edit("branch.csv", "4,3,4,0.2,0.1,0", "4,2,3,0.2,0.1,1"),
        "branch.csv",
        "column closed, row 5",
        "must be radial",
    ),
    "disconnected": (edit("branch.csv", "0.1,1,10", "0.1,0,10"), "branch.csv", "column closed", "close a line to it"),
    "line to itself": (
        edit("branch.csv", "2,2,3", "2,2,2"),
        "branch.csv",
        "column to_bus, row 3",
        "two different buses",
    ),
    "unknown bus": (
        edit("branch.csv", "4,3,4", "4,3,9"),
        "branch.csv",
        "column to_bus, row 5",
        "use one of 1, 2, 3, 4",
    ),
    "fractional bus": (edit("bus.csv", "3,pq", "3.5,pq"), "bus.csv", "column bus, row 4", "valid integer"),
    "duplicate bus": (edit("bus.csv", "3,pq", "2,pq"), "bus.csv", "column bus, row 4", "keep one row for each"),
    "duplicate line": (
        edit("branch.csv", "3,2,4", "2,2,4"),
        "branch.csv",
        "column line, row 4",
        "keep one row for each",
    ),
    "two slacks": (edit("bus.csv", "2,pq", "2,slack"), "bus.csv", "column type", "mark exactly one bus"),
    "no slack": (edit("bus.csv", "slack", "pq"), "bus.csv", "column type", "mark exactly one bus"),
    "unknown bus type": (edit("bus.csv", "2,pq", "2,pv"), "bus.csv", "column type, row 3", "'slack' or 'pq'"),
    "two voltage levels": (
        edit("bus.csv", "20,10,0.95", "20,20,0.95"),
        "bus.csv",
        "column vn_kv, row 4",
        "one voltage level",
    ),
    "zero voltage level": (
        edit("bus.csv", "0,0,10", "0,0,0"),
        "bus.csv",
        "column vn_kv, row 2",
        "line-to-line voltage",
    ),
    "band upside down": (
        edit("bus.csv", "30,10,0.95", "30,10,1.06"),
        "bus.csv",
        "column vmin_pu, row 3",
        "lower limit first",
    ),
    "band in kV": (edit("bus.csv", "0.95,1.05", "9.5,10.5"), "bus.csv", "column vmin_pu, row 3", "[p.u.]"),
    "slack band": (edit("bus.csv", "1.0,1.0", "0.9,1.0"), "bus.csv", "column vmin_pu, row 2", "set both"),
    "negative load": (
        edit("bus.csv", "2,pq,100", "2,pq,-100"),
        "bus.csv",
        "column p_kw, row 3",
        "generation belongs in prosumers.csv [kW]",
    ),
    "no load at all": (
        lambda f: [replace_text(f / "bus.csv", *x) for x in (("pq,100", "pq,0"), ("pq,80", "pq,0"))],
        "bus.csv",
        "column p_kw",
        "give the feeder some load",
    ),
    "negative profile": (
        edit("load_profiles.csv", "2016-03-01T01:00,", "2016-03-01T01:00,-"),
        "load_profiles.csv",
        "column home, row 3",
        "keep it in [0, 1e+06]",
    ),
    "renewables in percent": (
        edit("renewable_profiles.csv", "2016-03-01T12:00,", "2016-03-01T12:00,9"),
        "renewable_profiles.csv",
        "column sun",
        "keep it in [0, 2]",
    ),
    "load without shape": (edit("load_mix.csv", "3,shop,1\n", ""), "load_mix.csv", "column bus", "at least one row"),
    "shape for an unknown bus": (
        edit("load_mix.csv", "3,shop", "7,shop"),
        "load_mix.csv",
        "column bus, row 4",
        "use one of 1, 2",
    ),
    "unknown load profile": (
        edit("load_mix.csv", "2,shop", "2,shed"),
        "load_mix.csv",
        "column profile, row 3",
        "home, shop",
    ),
    "negative weight": (
        edit("load_mix.csv", "0.25", "-0.25"),
        "load_mix.csv",
        "column weight, row 3",
        "greater than 0",
    ),
    "unknown PV profile": (
        edit("prosumers.csv", "50,sun", "50,son"),
        "prosumers.csv",
        "column pv_profile, row 2",
        "sun, breeze",
    ),
    "prosumer at an unknown bus": (
        edit("prosumers.csv", "south,3", "south,8"),
        "prosumers.csv",
        "column bus, row 3",
        "use one of 1, 2",
    ),
    "prosumer without load": (
        edit("prosumers.csv", "south,3", "south,4"),
        "prosumers.csv",
        "column bus, row 3",
        "p_kw > 0",
    ),
    "two prosumers at a bus": (
        edit("prosumers.csv", "south,3", "south,2"),
        "prosumers.csv",
        "column bus, row 3",
        "keep one row",
    ),
    "two prosumers of a name": (
        edit("prosumers.csv", "south", "north"),
        "prosumers.csv",
        "column prosumer, row 3",
        "keep one row",
    ),
    "negative PV": (
        edit("prosumers.csv", "2,50,sun", "2,-50,sun"),
        "prosumers.csv",
        "column pv_kw, row 2",
        "greater than or equal to 0",
    ),
    "efficiency above 1": (
        edit("prosumers.csv", "0.95,0.04", "1.05,0.04"),
        "prosumers.csv",
        "column eta, row 2",
        "one-way",
    ),
    "beta above 0.9": (
        edit("prosumers.csv", "0.05,0.7", "0.05,0.95"),
        "prosumers.csv",
        "column beta, row 3",
        "less than or equal to 0.9",
    ),
    "missing hour": (drop_lines("prices.csv", 5, 6), "prices.csv", "column time, row 6", "give every hour"),
    "part of a day": (drop_lines("load_profiles.csv", -3, None), "load_profiles.csv", "column time", "give every hour"),
    "time of another kind": (
        edit("prices.csv", "2018-03-01T00:00", "1 March 2018"),
        "prices.csv",
        "column time",
        "without time zone",
    ),
    "profiles of different days": (
        drop_lines("renewable_profiles.csv", -24, None),
        "renewable_profiles.csv",
        "column time",
        "the same hours",
    ),
    "unknown key": (setting("colour", "red"), "study.yaml", "colour", "use one of name, title, files"),
    "unknown key in a section": (setting("risk.gamma", 0.5), "study.yaml", "risk.gamma", "use one of alpha"),
    "unknown key in a menu": (
        setting("menus.smoke.tarif", 1),
        "study.yaml",
        "menus.smoke.tarif",
        "use one of tariff, individual_peak",
    ),
    "missing key": (edit("study.yaml", "usd_per_eur: 1.18\n", ""), "study.yaml", "usd_per_eur", "add it"),
    "unknown season": (setting("season.months", "monsoon"), "study.yaml", "season.months", "one of winter, spring"),
    "month 13": (setting("season.months", [3, 13]), "study.yaml", "season.months.1", "less than or equal to 12"),
    "unknown day type": (
        setting("season.day_type", "holiday"),
        "study.yaml",
        "season.day_type",
        "'weekday', 'weekend' or 'all'",
    ),
    "positive elasticity": (setting("demand.elasticity", 0.1), "study.yaml", "demand.elasticity", "less than 0"),
    "odd blocks": (setting("demand.blocks", 3), "study.yaml", "demand.blocks", "multiple of 2"),
    "alpha of 1": (setting("risk.alpha", 1.0), "study.yaml", "risk.alpha", "less than or equal to 0.999"),
    "infinite price": (setting("retail_usd_per_kwh", float("inf")), "study.yaml", "retail_usd_per_kwh", "finite"),
    "tariff hours": (
        setting("tariff_hours.peak", 7),
        "study.yaml",
        "tariff_hours",
        "make off_peak + day + peak equal 24",
    ),
    "empty menu": (setting("menus.smoke.p2p", []), "study.yaml", "menus.smoke.p2p", "at least 1 item"),
    "negative tariff": (
        setting("menus.smoke.tariff.peak", [-0.1, 0.2]),
        "study.yaml",
        "menus.smoke.tariff.peak.0",
        "greater than or equal to 0",
    ),
    "level twice": (setting("menus.smoke.p2p", [0.1, 0.1]), "study.yaml", "menus.smoke.p2p", "smallest first"),
    "capacity out of order": (
        setting("menus.smoke.capacity", {1: [400, 100]}),
        "study.yaml",
        "menus.smoke.capacity",
        "smallest first",
    ),
    "capacity of an open line": (
        setting("menus.smoke.capacity", {4: [400]}),
        "study.yaml",
        "menus.smoke.capacity.4",
        "use line numbers of the branch file",
    ),
    "capacity that always binds": (
        setting("menus.smoke.capacity", {1: [100, 300]}),
        "study.yaml",
        "menus.smoke.capacity.1",
        "at or above the rating",
    ),
    "arbitrage": (
        setting("feed_in_usd_per_kwh", 0.31),
        "study.yaml",
        "menus.smoke.tariff.off_peak",
        "raise the tariff",
    ),
    "menu of an unknown preset": (
        edit("study.yaml", "  smoke:", "  quick:"),
        "study.yaml",
        "menus.quick",
        "'smoke', 'fast' or 'paper'",
    ),
    "unknown preset": (setting("presets.huge", {}), "study.yaml", "presets.huge", "'smoke', 'fast' or 'paper'"),
    "unknown preset key": (
        setting("presets.smoke.days", 3),
        "study.yaml",
        "presets.smoke.days",
        "use one of n_prosumers",
    ),
    "preset out of range": (
        setting("presets.smoke.n_scenarios", 0),
        "study.yaml",
        "presets.smoke.n_scenarios",
        "greater than or equal to 1",
    ),
    "too few days in the season": (setting("season.months", [7]), "study.yaml", "season", "widen months or day_type"),
    "too many scenarios": (setting("presets.smoke.n_scenarios", 5000), "study.yaml", "season", "lower n_scenarios"),
    "prices of another season": (
        drop_lines("prices.csv", 1 + 24 * 20, None),
        "prices.csv",
        "column time",
        "prices of a whole year",
    ),
}


def read(folder: Path):
    """What a command does first."""
    return build_instance(read_study(folder), "smoke")


def test_the_study_itself_is_sound(tmp_path):
    instance = read(write_study(tmp_path / "study"))
    assert len(instance.prosumers) == 2
    assert np.isclose(instance.days.probability.sum(), 1.0)


@pytest.mark.parametrize("case", BROKEN)
def test_one_line_names_file_field_and_mend(case, tmp_path):
    breaks, file, field, mend = BROKEN[case]
    folder = write_study(tmp_path / "study")
    breaks(folder)
    with pytest.raises(InputError) as caught:
        read(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(caught.value.file).endswith(file)
    assert caught.value.field.startswith(field)
    assert mend in caught.value.mend
    assert message == f"{caught.value.file}: {caught.value.field}: {caught.value.problem}; {caught.value.mend}"


def test_a_study_without_the_menu_asked_for(tmp_path):
    study = read_study(write_study(tmp_path / "study"))
    with pytest.raises(InputError, match=r"study.yaml: menus.fast: is missing; add a menu"):
        build_instance(study, "fast")


def test_an_override_is_checked_like_the_file(tmp_path):
    folder = write_study(tmp_path / "study")
    assert read_study(folder, {"load.scale": 2.0}).load_kw.sum(axis=0).max() == pytest.approx(300.0, rel=1e-12)
    with pytest.raises(InputError, match=r"load\.scale"):
        read_study(folder, {"load.scale": -1})
    with pytest.raises(InputError, match=r"load\.size: is an unknown key; use one of peak_kw, scale"):
        read_study(folder, {"load.size": 1})
    with pytest.raises(InputError, match="name has no keys of its own"):
        read_study(folder, {"name.first": 1})
