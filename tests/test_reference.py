"""The reference of keys and columns: complete, with a meaning, a unit, a range and a default for each."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Literal

import pytest
import yaml

from tritier.studies.commented import FILES, HOURLY, keys_of, kind_of, reference, sources_of

ROOT = Path(__file__).resolve().parents[1]
PARAMETERS = ROOT / "data" / "parameters.csv"
UNITS = {"-", "h", "kW", "kWh", "kvar", "kV", "p.u.", "ohm", "A", "nF", "kVA", "a", "$/kWh", "$/kW", "$/day", "$/EUR"}
UNITS |= {"EUR/kW", "EUR/kWh", "kW/kW"}


@pytest.fixture(scope="module")
def sections() -> dict[str, list[list[str]]]:
    """Cells of the tables by file."""
    parts = re.split(r"^## (.*)$", reference(sources_of(PARAMETERS)), flags=re.MULTILINE)
    tables = zip(parts[1::2], parts[2::2], strict=True)
    rows = {name: [line for line in text.splitlines() if line.startswith("| `")] for name, text in tables}
    return {name: [line.strip("| ").split(" | ") for line in lines] for name, lines in rows.items()}


def leaves(schema: dict, part: dict, below: str = "") -> set[str]:
    """Dotted keys of a JSON schema, as pydantic writes it: a second way to every key."""
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]]
    found: set[str] = set()
    for choice in part.get("anyOf", []):
        found |= leaves(schema, choice, below)
    if "items" in part:
        found |= leaves(schema, part["items"], f"{below}[]")
    if isinstance(part.get("additionalProperties"), dict):
        found |= leaves(schema, part["additionalProperties"], f"{below}.<name>")
    for name, inner in part.get("properties", {}).items():
        dotted = f"{below}.{name}" if below else name
        found |= {dotted} | leaves(schema, inner, dotted)
    return found


@pytest.mark.parametrize("file", FILES)
def test_every_key_of_every_file_is_there_once(file, sections):
    schema = FILES[file].model_json_schema()
    names = [row[0].strip("`") for row in sections[file]]
    assert sorted(names) == sorted(leaves(schema, schema)) and len(names) >= 3


@pytest.mark.parametrize("file", FILES)
def test_every_row_says_meaning_unit_kind_and_default(file, sections):
    for name, meaning, unit, kind, default in sections[file]:
        assert len(meaning) >= 3 and unit.replace(r"\$", "$") in UNITS and kind and default, name
        if kind.startswith(("number", "whole number", "list of number", "list of whole")):
            assert re.search(r"[<>]", kind), f"{name} has no range"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (list[float], "list of numbers"),
        (list[list[float | None]], "list of lists of numbers or nothing"),
        (dict[int, list[int]], "list of whole numbers by whole number"),
        (list[Literal["odd", "even"]], "list of odd or even"),
    ],
)
def test_a_list_is_of_many(kind, words):
    assert kind_of(kind) == words


def test_units_are_those_of_the_names(sections):
    """A key that ends in a unit has that unit."""
    ends = {"_usd_per_kwh": "$/kWh", "_usd_per_kw": "$/kW", "_kw": "kW", "_kwh": "kWh", "_kva": "kVA", "_h": "h"}
    ends |= {"_pu": "p.u.", "_ohm": "ohm", "_kv": "kV", "_eur_per_kw": "EUR/kW", "_eur_per_kwh": "EUR/kWh"}
    checked = 0
    for rows in sections.values():
        for name, _, unit, *_ in rows:
            end = max((e for e in ends if name.strip("`").endswith(e)), key=len, default=None)
            if end is not None:
                assert unit.replace(r"\$", "$") == ends[end], name
                checked += 1
    assert checked > 30


def test_every_parameter_of_the_data_is_a_key_or_a_column():
    """data/parameters.csv says where each number is used: there is such a place."""
    keys = {(file, name) for file, model in FILES.items() for name, _ in keys_of(model)}
    known = {name if file == "study.yaml" else f"{file} {name}" for file, name in keys}
    with PARAMETERS.open(encoding="utf-8", newline="") as rows:
        used = [row["used as"] for row in csv.DictReader(rows)]
    files = {"bus.csv", "branch.csv", "prosumers.csv", "passive.csv"}
    lost = [x for x in used if x not in known | files and not x.startswith(("smard/", "mobility/", "simbench/"))]
    assert used and lost == []


def test_sources_stand_beside_the_keys(sections):
    rows = {row[0]: row[1] for row in sections["study.yaml"]}
    assert "Baran and Wu 1989" in rows["`load.peak_kw`"] and "Case study" not in rows["`title`"]


def test_every_table_that_a_study_can_name_is_described():
    roles = {name.removeprefix("files.") for name, _ in keys_of(FILES["study.yaml"]) if name.startswith("files.")}
    assert roles
    for role in roles:
        assert f"{role}.csv" in FILES or f"`{role}.csv`" in HOURLY, role


def test_the_book_has_the_page():
    assert "_generated/study-reference.txt" in (ROOT / "chapters" / "study-reference.md").read_text()
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    assert "chapters/study-reference" in [page["file"] for part in parts for page in part["chapters"]]
