"""Problem files: what is read, what is refused in one line, and what a solve writes."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from tritier.errors import InputError
from tritier.reformulation.files import read_bilevel, solve_file
from tritier.reformulation.modes import MODES

DATA = Path(__file__).parent / "data" / "bilevel"
GOOD = json.loads((DATA / "tariff_menu.json").read_text())


@pytest.mark.parametrize("mode", MODES)
def test_solve_file_gives_valid_json(mode):
    """By hand: at price 4 the follower still buys (worth 5), at 7 it does not; F = 2 - 4 y + 0.5 x is least at 1."""
    found = solve_file(DATA / "tariff_menu.json", mode)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["status"], found["name"], found["mode"]) == ("optimal", "tariff_menu", mode)
    assert found["objective"] == pytest.approx(-1.5, abs=1e-6)
    assert found["point"] == pytest.approx({"price": 1.0, "bought": 1.0}, abs=1e-6)
    assert max(found["residuals"].values()) < 1e-6


def test_infeasible_file_has_no_point(tmp_path):
    data = {**GOOD, "upper_rows": [{"a": [0, 1], "sense": ">=", "b": 2}]}
    path = tmp_path / "none.json"
    path.write_text(json.dumps(data))
    found = solve_file(path, "sos1")
    assert (found["status"], found["objective"], found["point"]) == ("infeasible", None, None)


def spoil(change):
    data = copy.deepcopy(GOOD)
    change(data)
    return data


BROKEN = {
    "nx: missing": lambda d: d.pop("nx"),
    "nx: True": lambda d: d.update(nx=True),
    "ny: -1": lambda d: d.update(ny=-1),
    "nx, ny: no variables": lambda d: d.update(nx=0, ny=0),
    "F_c: 1 entries": lambda d: d.update(F_c=[1]),
    "f_c: missing": lambda d: d.pop("f_c"),
    "F_c: 'a' is not a finite number": lambda d: d.update(F_c=["a", 1]),
    "F_const: inf is not": lambda d: d.update(F_const=float("inf")),
    "bounds: not 2 pairs": lambda d: d.update(bounds=[[0, 1]]),
    "bounds[1]: [0]": lambda d: d.update(bounds=[[0, 1], [0]]),
    "bounds[1]: lower 3 above upper 1": lambda d: d.update(bounds=[[0, 1], [3, 1]]),
    "lower_rows: not a list": lambda d: d.update(lower_rows={}),
    "lower_rows[0]: 3": lambda d: d.update(lower_rows=[3]),
    "lower_rows[0].a: 1 entries": lambda d: d.update(lower_rows=[{"a": [1], "sense": "<=", "b": 1}]),
    "upper_rows[0].sense: '<'": lambda d: d.update(upper_rows=[{"a": [1, 1], "sense": "<", "b": 1}]),
    "upper_rows[0].b: None": lambda d: d.update(upper_rows=[{"a": [1, 1], "sense": "<="}]),
    "var_names: not 2": lambda d: d.update(var_names=["a", "a"]),
    "sense: 'max'": lambda d: d.update(sense="max"),
    "integer: [1]": lambda d: d.update(integer=[1]),
    "menu.1: not a leader variable": lambda d: d.update(menu={"1": [1]}),
    "menu.0: no values": lambda d: d.update(menu={"0": []}),
    "menu: not an object": lambda d: d.update(menu=[1]),
    "Q: not 1 rows": lambda d: d.update(Q=[]),
    "Q[0]: 2 entries": lambda d: d.update(Q=[[1, 2]]),
    "levels: a problem with more than two levels": lambda d: d.update(levels=[]),
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_files_are_refused_in_one_line(message, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(spoil(BROKEN[message])))
    with pytest.raises(InputError) as error:
        read_bilevel(path)
    line = str(error.value)
    assert line.startswith(f"{path}: {message}") and "\n" not in line and "; " in line


def test_files_that_are_not_problems(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(InputError, match="No such file"):
        read_bilevel(path)
    path.write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_bilevel(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(InputError, match="not JSON"):
        read_bilevel(path)
    path.write_text("[]")
    with pytest.raises(InputError, match="not an object"):
        read_bilevel(path)
