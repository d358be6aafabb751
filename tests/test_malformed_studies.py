"""Studies broken in one place each: the error is one line that names the file, the field and the mend."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_study import change_settings, replace_text, write_study

from tritier.cli import main
from tritier.errors import InputError
from tritier.inputs.scenarios import build_instance
from tritier.inputs.settings import BLOCKS, read_hosting_settings
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


def price(text: str):
    """Replace the price of the third hour."""

    def apply(folder: Path) -> None:
        lines = (folder / "prices.csv").read_text().splitlines()
        lines[3] = f"{lines[3].split(',')[0]},{text}"
        (folder / "prices.csv").write_text("\n".join(lines) + "\n")

    return apply


def more_columns(name: str, values: dict[str, float]):
    """Append columns to a CSV file, the same value in every row."""

    def apply(folder: Path) -> None:
        head, *rows = (folder / name).read_text().splitlines()
        more = "".join(f",{value}" for value in values.values())
        lines = [",".join([head, *values]), *(row + more for row in rows)]
        (folder / name).write_text("\n".join(lines) + "\n")

    return apply


def table(role: str, name: str):
    """Give the study one more table."""

    def write(text: str):
        def apply(folder: Path) -> None:
            (folder / name).write_text(text)
            change_settings(folder, "files", {role: name})

        return apply

    return write


passive, plugged_in = table("passive", "passive.csv"), table("plugged_in", "plugged.csv")


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
    "unknown key": (setting("colour", "red"), "study.yaml", "colour", "use one of name, title, notes, files"),
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
    "positive elasticity": (
        setting("demand.elasticity", 0.1),
        "study.yaml",
        "demand.elasticity",
        "less than or equal to -0.001",
    ),
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
    "arbitrage at no tariff": (  # at the smallest one offered, 0.05, there is none
        setting("feed_in_usd_per_kwh", 0.26),
        "study.yaml",
        "feed_in_usd_per_kwh",
        "lower it, or raise retail_usd_per_kwh",
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


# Pieces of attack: what YAML and CSV let through where nobody looks, and figures out of scale.
BROKEN |= {
    "octal": (edit("study.yaml", "150.0", "0150"), "study.yaml", "load.peak_kw", "valid number"),
    "octal of YAML 1.2": (edit("study.yaml", "150.0", "0o226"), "study.yaml", "load.peak_kw", "valid number"),
    "hexadecimal": (edit("study.yaml", "150.0", "0x96"), "study.yaml", "load.peak_kw", "valid number"),
    "binary": (edit("study.yaml", "150.0", "0b1001"), "study.yaml", "load.peak_kw", "valid number"),
    "sexagesimal": (edit("study.yaml", "150.0", "1:30"), "study.yaml", "load.peak_kw", "valid number"),
    "digits in groups": (edit("study.yaml", "150.0", "1_500"), "study.yaml", "load.peak_kw", "valid number"),
    "decimal comma": (edit("study.yaml", "150.0", "150,5"), "study.yaml", "load.peak_kw", "valid number"),
    "quoted number": (edit("study.yaml", "150.0", "'150'"), "study.yaml", "load.peak_kw", "valid number"),
    "yes": (edit("study.yaml", "150.0", "yes"), "study.yaml", "load.peak_kw", "valid number"),
    "true": (edit("study.yaml", "150.0", "true"), "study.yaml", "load.peak_kw", "valid number"),
    "not a number": (edit("study.yaml", "150.0", ".nan"), "study.yaml", "load.peak_kw", "finite number"),
    "nothing": (edit("study.yaml", "150.0", ""), "study.yaml", "load", "give load.peak_kw"),
    "list for a number": (edit("study.yaml", "150.0", "[150]"), "study.yaml", "load.peak_kw", "valid number"),
    "section for a number": (edit("study.yaml", "150.0", "{a: 1}"), "study.yaml", "load.peak_kw", "valid number"),
    "number for a section": (setting("load", 3), "study.yaml", "load", "section with keys"),
    "number of 400 digits": (edit("study.yaml", "150.0", "9" * 400), "study.yaml", "line ", "round it"),
    "number of 5000 digits": (edit("study.yaml", "150.0", "9" * 5000), "study.yaml", "line ", "round it"),
    "word of 100,000 letters": (
        edit("study.yaml", "name: small", f"name: {'a' * 100_000}"),
        "study.yaml",
        "name",
        "should have at most 80 characters",
    ),
    "file of 3 MB": (edit("study.yaml", "name: small", f"title: {'a' * 3_000_000}"), "study.yaml", "file", "below"),
    "nested lists": (edit("study.yaml", "150.0", "[" * 2000), "study.yaml", "line ", "at most 20 levels"),
    "nested sections": (edit("study.yaml", "150.0", "{a: " * 2000), "study.yaml", "line ", "at most 20 levels"),
    "nested blocks": (
        lambda f: (f / "study.yaml").write_text("".join(" " * k + "a:\n" for k in range(500))),
        "study.yaml",
        "line ",
        "at most 20 levels",
    ),
    "epoch as a date": (setting("season.exclude_dates", [0]), "study.yaml", "season.exclude_dates.0", "valid date"),
    "date with a time zone": (
        setting("season.exclude_dates", ["2016-03-28T00:00Z"]),
        "study.yaml",
        "season.exclude_dates.0",
        "write it as",
    ),
    "line true": (edit("study.yaml", "1:\n", "true:\n"), "study.yaml", "menus.smoke.capacity.", "valid integer"),
    "line 1.0": (edit("study.yaml", "1:\n", "1.0:\n"), "study.yaml", "menus.smoke.capacity.", "valid integer"),
    "line 0x1": (edit("study.yaml", "1:\n", "0x1:\n"), "study.yaml", "menus.smoke.capacity.0x1", "valid integer"),
    "line twice": (
        edit("study.yaml", "capacity:\n", "capacity:\n      '1': [500.0]\n"),
        "study.yaml",
        "line ",
        "keep one of them",
    ),
    "key of no word": (edit("study.yaml", "name: small", "? {a: 1}\n: small"), "study.yaml", "line 1", "use a word"),
    "anchor": (edit("study.yaml", "name: small", "name: &a small"), "study.yaml", "line 1", "write the value out"),
    "alias": (edit("study.yaml", "150.0", "*a"), "study.yaml", "line ", "write the value out"),
    "tag of Python": (
        edit("study.yaml", "name: small", "name: !!python/name:os.system"),
        "study.yaml",
        "line 1",
        "leave it out",
    ),
    "tag of a number": (edit("study.yaml", "150.0", "!!int '0150'"), "study.yaml", "line ", "leave it out"),
    "two documents": (edit("study.yaml", "usd_per_eur", "---\nusd_per_eur"), "study.yaml", "line ", "mind indentation"),
    "tabulator": (edit("study.yaml", "  peak_kw", "\tpeak_kw"), "study.yaml", "line ", "mind indentation"),
    "bell": (edit("study.yaml", "name: small", "name: a\x07"), "study.yaml", "text", "mind indentation"),
    "null byte": (lambda f: (f / "study.yaml").write_bytes(b"name: a\x00"), "study.yaml", "text", "mind indentation"),
    "UTF-16": (lambda f: (f / "study.yaml").write_bytes("name: a".encode("utf-16")), "study.yaml", "file", "UTF-8"),
    "folder named study.yaml": (
        lambda f: [(f / "study.yaml").unlink(), (f / "study.yaml").mkdir()],
        "study.yaml",
        "file",
        "give a folder that holds study.yaml",
    ),
    "name with a line end": (setting("name", "a\nb"), "study.yaml", "name", "use letters"),
    "name with a tabulator": (setting("name", "a\tb"), "study.yaml", "name", "use letters"),
    "name with an escape": (setting("name", "a\x1b[31mb"), "study.yaml", "name", "use letters"),
    "name that is TeX": (setting("name", r"$\input{x}$"), "study.yaml", "name", "leave out"),
    "name that is HTML": (setting("name", "<b>x"), "study.yaml", "name", "leave out"),
    "name of blanks": (setting("name", "  "), "study.yaml", "name", "remove it"),
    "no name": (setting("name", ""), "study.yaml", "name", "fill it in"),
    "name that is a number": (setting("name", 7), "study.yaml", "name", "valid string"),
    "title with a tag": (setting("title", "<script>"), "study.yaml", "title", "leave out"),
    "path with a line end": (setting("files", {"bus": "a\nb"}), "study.yaml", "files.bus", "use letters"),
    "path of a folder": (setting("files", {"bus": "."}), "", "file", "give its path"),
    "path that is null": (setting("files", {"bus": None}), "study.yaml", "files.bus", "valid string"),
    "chance level of nothing": (setting("chance_level", 1e-300), "study.yaml", "chance_level", "0.0001"),
    "reference value of a god": (
        setting("reference_value_usd_per_kwh", 1e300),
        "study.yaml",
        "reference_value_usd_per_kwh",
        "less than or equal to 100 (",
    ),
    "peak of a continent": (setting("load.peak_kw", 1e9), "study.yaml", "load.peak_kw", "1000000 ("),
    "scale of a million": (setting("load.scale", 1e6), "study.yaml", "load.scale", "less than or equal to 100"),
    "exchange rate": (setting("usd_per_eur", 1e12), "study.yaml", "usd_per_eur", "exchange rate"),
    "retail price": (setting("retail_usd_per_kwh", 1e6), "study.yaml", "retail_usd_per_kwh", "[$/kWh]"),
    "network charge": (
        setting("network_charge_usd_per_kwh", 1e9),
        "study.yaml",
        "network_charge_usd_per_kwh",
        "or equal to 10 (",
    ),
    "demand charge": (setting("demand_charge_usd_per_kw", 1e9), "study.yaml", "demand_charge_usd_per_kw", "[$/kW]"),
    "violation price": (
        setting("violation_price_factor", 1e9),
        "study.yaml",
        "violation_price_factor",
        "or equal to 1000 (",
    ),
    "fixed cost": (setting("fixed_cost_usd", 1e30), "study.yaml", "fixed_cost_usd", "[$/day]"),
    "tie-break above prices": (
        setting("tie_break_usd_per_kwh", 0.1),
        "study.yaml",
        "tie_break_usd_per_kwh",
        "or equal to 0.001 (",
    ),
    "100,000 demand blocks": (setting("demand.blocks", 100_000), "study.yaml", "demand.blocks", "equal to 48"),
    "blocks in fractions": (setting("demand.blocks", 4.0), "study.yaml", "demand.blocks", "valid integer"),
    "elasticity of thousands": (
        setting("demand.elasticity", -1000),
        "study.yaml",
        "demand.elasticity",
        "or equal to -10 (",
    ),
    "all demand moves": (setting("demand.flexibility", 1), "study.yaml", "demand.flexibility", "or equal to 0.95 ("),
    "beta of 1": (setting("risk", {"alpha": 0.9, "beta": 1.0}), "study.yaml", "risk.beta", "or equal to 0.9 ("),
    "margin of the band": (setting("voltage_margin_pu", 0.05), "study.yaml", "voltage_margin_pu", "less than 0.05"),
    "tax above the price": (setting("tax_share", 1.5), "study.yaml", "tax_share", "equal to 1"),
    "electrification above 1": (setting("electrification", 1.2), "study.yaml", "electrification", "equal to 1"),
    "electrification in words": (setting("electrification", "full"), "study.yaml", "electrification", "valid number"),
    "billing of another kind": (setting("billing", "monthly"), "study.yaml", "billing", "'scenario' or 'expected'"),
    "retail of another kind": (setting("retail", {"kind": "spot"}), "study.yaml", "retail.kind", "'spot_indexed'"),
    "retail without a section": (setting("retail", "fixed"), "study.yaml", "retail", "section with keys"),
    "unknown key of retail": (
        setting("retail", {"vat": 0.2}),
        "study.yaml",
        "retail.vat",
        "use one of kind, vat_share",
    ),
    "VAT above taxes": (
        lambda f: [change_settings(f, "tax_share", 0.1), change_settings(f, "retail", {"kind": "spot_indexed"})],
        "study.yaml",
        "file",
        "raise it to at least 0.1597",
    ),
    "feed-in of another kind": (setting("feed_in", {"kind": "none"}), "study.yaml", "feed_in.kind", "'market_value'"),
    "fixed share of 2": (setting("fixed_share", 2), "study.yaml", "fixed_share", "equal to 1"),
    "3000 tariff levels": (
        setting("menus.smoke.tariff.peak", [k / 1000 for k in range(3000)]),
        "study.yaml",
        "menus.smoke.tariff.peak",
        "at most 20 items",
    ),
    "32,000 tariffs": (
        lambda f: [
            change_settings(f, "menus.smoke.tariff", {b: [k / 100 for k in range(20)] for b in BLOCKS}),
            change_settings(f, "menus.smoke.individual_peak", [0.0, 0.1]),
        ],
        "study.yaml",
        "menus.smoke",
        "at most 20,000 tariffs",
    ),
    "too many points": (
        setting("menus.smoke.capacity", {k: [400.0 + j for j in range(20)] for k in range(1, 11)}),
        "study.yaml",
        "menus.smoke",
        "at most 1,000,000,000 points",
    ),
    "no level": (setting("menus.smoke.individual_peak", []), "study.yaml", "menus.smoke.individual_peak", "at least 1"),
    "negative peak charge": (
        setting("menus.smoke.coincident_peak", [-0.1]),
        "study.yaml",
        "menus.smoke.coincident_peak.0",
        "equal to 0",
    ),
    "peak charges out of order": (
        setting("menus.smoke.individual_peak", [0.2, 0.1]),
        "study.yaml",
        "menus.smoke.individual_peak",
        "smallest first",
    ),
    "no menus": (setting("menus", {}), "study.yaml", "menus", "at least 1 item"),
    "menu that is null": (setting("menus.smoke", None), "study.yaml", "menus.smoke", "section with keys"),
    "menu of a line in words": (
        setting("menus.smoke.capacity", {"head": [400.0]}),
        "study.yaml",
        "menus.smoke.capacity.head",
        "valid integer",
    ),
    "limit of zero": (
        setting("menus.smoke.capacity", {1: [0.0, 400.0]}),
        "study.yaml",
        "menus.smoke.capacity.1.0",
        "greater than 0",
    ),
    "seed below zero": (setting("presets.smoke.seed", -1), "study.yaml", "presets.smoke.seed", "equal to 0"),
    "gap of nothing": (setting("presets.smoke.gap", 0), "study.yaml", "presets.smoke.gap", "greater than 0"),
    "preset that is a list": (setting("presets.smoke", [1]), "study.yaml", "presets.smoke", "section with keys"),
    # tables
    "column twice": (edit("bus.csv", "q_kvar", "p_kw"), "bus.csv", "column p_kw", "keep one of them"),
    "profile twice": (edit("load_profiles.csv", "shop", "home"), "load_profiles.csv", "column home", "keep one"),
    "column without a name": (edit("bus.csv", "vmax_pu\n", "vmax_pu,\n"), "bus.csv", "column 8", "remove the comma"),
    "commas at the ends of rows": (
        lambda f: (f / "bus.csv").write_text((f / "bus.csv").read_text().replace("1.05\n", "1.05,\n")),
        "bus.csv",
        "row 3",
        "one cell",
    ),
    "unknown column": (edit("branch.csv", "rating_a", "ratings_a"), "branch.csv", "column ratings_a", "rating_a"),
    "semicolons": (
        lambda f: (f / "bus.csv").write_text((f / "bus.csv").read_text().replace(",", ";")),
        "bus.csv",
        "column bus",
        "put commas between columns, points in numbers",
    ),
    "open quotation mark": (edit("bus.csv", "1,slack", '"1,slack'), "bus.csv", "table", "comma-separated"),
    "null byte in a table": (edit("bus.csv", "2,pq,100", "2,pq,1\x0000"), "bus.csv", "column p_kw", "valid number"),
    "line of 1 MB": (edit("bus.csv", "2,pq", f"2,{'q' * 1_000_000}"), "bus.csv", "table", "below 100,000"),
    "row of 40,000 cells": (edit("bus.csv", "2,pq,100", f"2,pq{',1' * 40_000},100"), "bus.csv", "row 3", "one cell"),
    "3,000 columns": (
        lambda f: (f / "prices.csv").write_text(",".join(map(str, range(3000))) + "\n" + "1," * 2999 + "1\n"),
        "prices.csv",
        "table",
        "at most 200,000 and 2,000",
    ),
    "number with digits in groups": (
        edit("bus.csv", "2,pq,100", "2,pq,1_00"),
        "bus.csv",
        "column p_kw",
        "valid number",
    ),
    "price with digits in groups": (
        edit("prices.csv", "2018-03-01T00:00,", "2018-03-01T00:00,1_0"),
        "prices.csv",
        "column price_eur_per_mwh, row 2",
        "finite number",
    ),
    "price of 1e30": (
        price("1e30"),
        "prices.csv",
        "column price_eur_per_mwh, row 4",
        "keep it in [-10000, 10000]",
    ),
    "price beyond the exchange": (
        price("20000"),
        "prices.csv",
        "column price_eur_per_mwh, row 4",
        "keep it in [-10000, 10000]",
    ),
    "empty price": (
        price(""),
        "prices.csv",
        "column price_eur_per_mwh, row 4",
        "finite number",
    ),
    "time zone on one row": (
        edit("prices.csv", "2018-03-01T05:00", "2018-03-01T05:00Z"),
        "prices.csv",
        "column time, row 7",
        "without time zone",
    ),
    "time zone on all rows": (
        lambda f: (f / "prices.csv").write_text((f / "prices.csv").read_text().replace(":00,", ":00Z,")),
        "prices.csv",
        "column time, row 2",
        "without time zone",
    ),
    "seconds": (
        edit("prices.csv", "2018-03-01T05:00", "2018-03-01T05:00:37"),
        "prices.csv",
        "column time, row 7",
        "give every hour",
    ),
    "hour 24": (
        edit("prices.csv", "2018-03-01T23:00", "2018-03-01T24:00"),
        "prices.csv",
        "column time, row 25",
        "23:00 of the last",
    ),
    "month 13 in a table": (
        edit("prices.csv", "2018-03-01T00:00", "2018-13-01T00:00"),
        "prices.csv",
        "column time, row 2",
        "give every hour from 00:00",
    ),
    "time column twice": (edit("prices.csv", "price_eur_per_mwh", "time"), "prices.csv", "column time", "keep one"),
    "no time column": (edit("prices.csv", "time", "hour"), "prices.csv", "column time", "add it"),
    "rating that is null": (edit("branch.csv", "1,20", "1,null"), "branch.csv", "column rating_a", "valid number"),
    "rating that is nan": (edit("branch.csv", "1,20", "1,nan"), "branch.csv", "column rating_a", "valid number"),
    "rating of zero": (edit("branch.csv", "1,20", "1,0"), "branch.csv", "column rating_a, row 2", "greater than 0"),
    "rating of 1e9 A": (edit("branch.csv", "1,20", "1,1e9"), "branch.csv", "column rating_a, row 2", "[A]"),
    "tiny voltage level": (
        lambda f: (f / "bus.csv").write_text((f / "bus.csv").read_text().replace(",10,", ",1e-9,")),
        "bus.csv",
        "column vn_kv, row 2",
        "[kV]",
    ),
    "tiny impedance": (
        edit("branch.csv", "0.2,0.1,1,\n", "1e-6,0,1,\n"),
        "branch.csv",
        "column r_ohm, row 3",
        "merge the two buses",
    ),
    "load of 1e9 kW": (edit("bus.csv", "2,pq,100", "2,pq,1e9"), "bus.csv", "column p_kw, row 3", "[kW]"),
    "reactive load of 1e9 kvar": (edit("bus.csv", "100,30", "100,1e9"), "bus.csv", "column q_kvar, row 3", "[kvar]"),
    "hardly any active load": (edit("bus.csv", "2,pq,100", "2,pq,1e-300"), "bus.csv", "column q_kvar, row 3", "p_kw"),
    "PV of 1e9 kW": (edit("prosumers.csv", "2,50,sun", "2,1e9,sun"), "prosumers.csv", "column pv_kw, row 2", "[kW]"),
    "bus number of 20 digits": (edit("bus.csv", "3,pq", "1" * 20 + ",pq"), "bus.csv", "column bus, row 4", "equal to"),
    "bus without a number": (edit("bus.csv", "3,pq", ",pq"), "bus.csv", "column bus, row 4", "fill it in"),
    "prosumer name of blanks": (
        edit("prosumers.csv", "north", "   "),
        "prosumers.csv",
        "column prosumer, row 2",
        "fill",
    ),
    "prosumer name with a line end": (
        edit("prosumers.csv", "north", '"nor\nth"'),
        "prosumers.csv",
        "column prosumer, row 2",
        "use letters",
    ),
    "prosumer name that is TeX": (
        edit("prosumers.csv", "north", r"$\input{x}$"),
        "prosumers.csv",
        "column prosumer, row 2",
        "leave out",
    ),
    "prosumer name with a tag": (
        edit("prosumers.csv", "north", "<b>"),
        "prosumers.csv",
        "column prosumer",
        "leave out",
    ),
    "prosumer name beside itself": (
        edit("prosumers.csv", "south", "north "),
        "prosumers.csv",
        "column prosumer, row 3",
        "keep one row",
    ),
    "prosumer name of 1,000 letters": (
        edit("prosumers.csv", "north", "n" * 1000),
        "prosumers.csv",
        "column prosumer, row 2",
        "at most 80 characters",
    ),
    # vehicles and heat pumps
    "vehicles without a charger": (
        more_columns("prosumers.csv", {"ev_kwh_per_day": 10}),
        "study.yaml",
        "files.deferrable_profiles",
        "give hourly profiles of ev",
    ),
    "charger too small": (
        more_columns("prosumers.csv", {"ev_kwh_per_day": 100, "ev_kw": 4}),
        "prosumers.csv",
        "column ev_kw, row 2",
        "raise it or lower ev_kwh_per_day",
    ),
    "delay of a day": (
        more_columns("prosumers.csv", {"hp_delay_h": 24}),
        "prosumers.csv",
        "column hp_delay_h, row 2",
        "equal to 23",
    ),
    "delay of half an hour": (
        more_columns("prosumers.csv", {"hp_delay_h": 0.5}),
        "prosumers.csv",
        "column hp_delay_h, row 2",
        "valid integer",
    ),
    "negative vehicles": (
        more_columns("prosumers.csv", {"ev_kwh_per_day": -1}),
        "prosumers.csv",
        "column ev_kwh_per_day, row 2",
        "equal to 0",
    ),
    "no table of passive devices": (setting("files", {"passive": "none.csv"}), "none.csv", "file", "give its path"),
    "no table of the plugged-in": (setting("files", {"plugged_in": "none.csv"}), "none.csv", "file", "give its path"),
    "passive devices at a prosumer": (
        passive("bus,ev_kwh_per_day,ev_kw\n2,10,5\n"),
        "passive.csv",
        "column bus, row 2",
        "in prosumers.csv",
    ),
    "passive devices twice": (passive("bus\n4\n4\n"), "passive.csv", "column bus, row 3", "keep one row"),
    "passive devices nowhere": (passive("bus\n9\n"), "passive.csv", "column bus, row 2", "use one of 1, 2, 3, 4"),
    "passive devices without a profile": (
        passive("bus,hp_kwh_per_day,hp_kw\n4,10,5\n"),
        "study.yaml",
        "files.deferrable_profiles",
        "give hourly profiles of hp",
    ),
    "hours of the plug missing": (
        plugged_in("hour,weekday,weekend\n0,1,1\n"),
        "plugged.csv",
        "column hour",
        "each hour from 0 to 23",
    ),
    "share plugged in above 1": (
        plugged_in("hour,weekday,weekend\n0,1.2,1\n"),
        "plugged.csv",
        "column weekday, row 2",
        "equal to 1",
    ),
    "hour of the plug twice": (
        plugged_in("hour,weekday,weekend\n0,1,1\n0,1,1\n"),
        "plugged.csv",
        "column hour, row 3",
        "keep one row",
    ),
}


def refused(arguments: list[str], capsys) -> str:
    """The one line that a command ends in, with exit code 2, after `tritier: `."""
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("tritier: ") and told.err.count("\n") == 1
    line = told.err.removeprefix("tritier: ").removesuffix("\n")
    assert line.isprintable() and "; " in line and len(line) < 1000
    return line


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A study without a mistake."""
    return write_study(tmp_path_factory.mktemp("sound") / "study")


def test_the_study_itself_is_sound(sound):
    instance = build_instance(read_study(sound), "smoke")
    assert len(instance.prosumers) == 2
    assert np.isclose(instance.days.probability.sum(), 1.0)


@pytest.mark.parametrize("case", BROKEN)
def test_one_line_names_file_field_and_mend_and_nothing_is_written(case, sound, tmp_path, capsys):
    breaks, file, field, mend = BROKEN[case]
    folder = tmp_path / "study"
    shutil.copytree(sound, folder)
    breaks(folder)
    before = sorted(folder.iterdir())
    words = ["solve", str(folder), "--case", "0", "--preset", "smoke", "--out", str(tmp_path / "out")]
    line = refused(words, capsys)
    assert line.startswith(str(folder / file) if file else str(folder)), line
    assert f": {field}" in line and mend and mend in line.partition("; ")[2], line
    assert sorted(tmp_path.iterdir()) == [folder] and sorted(folder.iterdir()) == before


FEEDERS = [case for case, (_, file, *_) in BROKEN.items() if file in ("bus.csv", "branch.csv")]


@pytest.mark.parametrize("case", sorted(set(FEEDERS) - {"no load at all", "hardly any active load"}))
def test_the_same_line_for_a_feeder_alone(case, sound, tmp_path, capsys):
    breaks, file, field, mend = BROKEN[case]
    for name in ("bus.csv", "branch.csv"):
        shutil.copy(sound / name, tmp_path)
    breaks(tmp_path)
    line = refused(["feeder", str(tmp_path / "bus.csv"), str(tmp_path / "branch.csv"), "--json"], capsys)
    assert line.startswith(f"{tmp_path / file}: ") and f": {field}" in line and mend in line.partition("; ")[2], line


def test_a_study_without_the_menu_asked_for(sound):
    with pytest.raises(InputError, match=r"study.yaml: menus.fast: is missing; add a menu"):
        build_instance(read_study(sound), "fast")


def test_an_override_is_checked_like_the_file(sound):
    assert read_study(sound, {"load.scale": 2.0}).load_kw.sum(axis=0).max() == pytest.approx(300.0, rel=1e-12)
    with pytest.raises(InputError, match=r"load\.scale"):
        read_study(sound, {"load.scale": -1})
    with pytest.raises(InputError, match=r"load\.size: is an unknown key; use one of"):
        read_study(sound, {"load.size": 1})
    with pytest.raises(InputError, match="name has no keys of its own"):
        read_study(sound, {"name.first": 1})


CHANGES = {
    "season.months=" + "[" * 2000: "--set: line 1: is nested too deeply; keep at most 20 levels",
    "load.peak_kw=" + "9" * 400: "--set: line 1: holds a number of 400 digits; round it",
    "load.peak_kw=0150": "load.peak_kw: '0150' is not allowed",
    "load.peak_kw=1:30": "load.peak_kw: '1:30' is not allowed",
    "name=a\x1b[31m": "name: holds a character that cannot be printed",
    "load.peak_kw=*a": "load.peak_kw: '*a' is not allowed",
    "load.peak_kw=!!int 3": "load.peak_kw: '!!int 3' is not allowed",
    "load.peak_kw={a: 1, a: 2}": "--set: line 1: gives a a second time",
    "menus.smoke.capacity.true=[400]": "menus.smoke.capacity.true: 'true' is not allowed",
    "menus.smoke.capacity.0x1=[400]": "menus.smoke.capacity.0x1: '0x1' is not allowed",
    "season.exclude_dates=[2016-13-40]": "season.exclude_dates.0: 2016-13-40 is no day of the calendar",
    "load=3": "load: 3 is not allowed; it should be a section with keys",
    "=": "--set: =: is not KEY=VALUE",
    "load.=3": "load.: is an unknown key",
}


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_a_malformed_change_is_refused_alike(change, sound, tmp_path, capsys):
    words = ["solve", str(sound), "--case", "0", "--preset", "smoke", "--out", str(tmp_path / "out")]
    assert CHANGES[change] in refused([*words, "--set", change], capsys)
    assert list(tmp_path.iterdir()) == []


HOSTING = {
    "pv_potential: 1e300": "pv_potential: 1e+300 is not allowed",
    "pv_potential: 8\npv_potential: 9": "line 2: gives pv_potential a second time",
    "envelope: 0.1": "envelope: 0.1 is not allowed; it should be greater than or equal to 0.5",
    "discount_rate: 1.0e-20": "discount_rate: 1e-20 is not allowed",
    "discount_rate: 010": "discount_rate: '010' is not allowed",
    "penalty: yes": "penalty: 'yes' is not allowed",
    "penalty: true": "penalty: True is not allowed",
    "penalty: null": "penalty: None is not allowed",
    "penalty: 2016-13-40": "penalty: '2016-13-40' is not allowed",
    "penalty: " + "9" * 400: "line 1: holds a number of 400 digits",
    "penalty: " + "9" * 5000: "line 1: holds a number of 5000 digits",
    "penalty: " + "[" * 2000: "line 1: is nested too deeply",
    "curtail_share: 2": "curtail_share: 2 is not allowed",
    "coverage: 0": "coverage: 0 is not allowed",
    "pv_years: 0.5": "pv_years: 0.5 is not allowed",
    "substation_kva: -1": "substation_kva: -1 is not allowed",
    "substation_kva: .nan": "substation_kva: nan is not allowed",
    "roof: 1": "roof: is an unknown key; use one of pv_potential",
    "- 1": "file: holds no keys",
    "": "file: holds no keys",
    "a: &b 1": "line 1: uses an anchor or alias",
}


@pytest.mark.parametrize("text", HOSTING, ids=range(len(HOSTING)))
def test_malformed_hosting_yaml(text, sound, tmp_path, capsys):
    folder = tmp_path / "study"
    shutil.copytree(sound, folder)
    (folder / "hosting.yaml").write_text(text)
    words = ["hosting", str(folder), "--model", "robust", "--flexibility", "none", "--preset", "smoke"]
    line = refused([*words, "--out", str(tmp_path / "out")], capsys)
    assert line.startswith(f"{folder / 'hosting.yaml'}: {HOSTING[text]}"), line
    assert sorted(tmp_path.iterdir()) == [folder]


def test_a_folder_named_hosting_yaml_is_no_defaults(tmp_path):
    (tmp_path / "hosting.yaml").mkdir()
    with pytest.raises(InputError, match=r"hosting.yaml: file: is a folder; make it a file"):
        read_hosting_settings(tmp_path)


def test_a_study_of_three_months_has_no_hosting_capacity_of_a_year(sound, tmp_path, capsys):
    words = ["hosting", str(sound), "--model", "robust", "--flexibility", "none", "--preset", "smoke"]
    line = refused([*words, "--out", str(tmp_path / "out")], capsys)
    assert line.startswith(f"{sound / 'load_profiles.csv'}: column time: ") and "give a whole year" in line
    assert list(tmp_path.iterdir()) == []


def test_there_are_two_hundred_of_them():
    """Of study.yaml, tables, changes and hosting.yaml; files of problems stand in test_bilevel_file.py."""
    assert len(BROKEN) + len(CHANGES) + len(HOSTING) >= 200
