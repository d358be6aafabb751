"""Problem files: what is read, what is refused in one line, and what a solve writes."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from tritier.cli import main
from tritier.errors import InputError
from tritier.reformulation.files import read_bilevel, read_trilevel, solve_file
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


def row(**changes):
    return {"a": [1, 1], "sense": "<=", "b": 1, **changes}


BROKEN = {  # what the line says after the file's name: field, problem, mend
    "nx: is missing; add it": lambda d: d.pop("nx"),
    "nx: True is not allowed": lambda d: d.update(nx=True),
    "nx: 1.0 is not allowed": lambda d: d.update(nx=1.0),
    "nx: 1000000000 is not allowed": lambda d: d.update(nx=10**9),
    "ny: -1 is not allowed": lambda d: d.update(ny=-1),
    "ny: there are no variables": lambda d: d.update(nx=0, ny=0),
    "F_c: has 1 entries; give 2": lambda d: d.update(F_c=[1]),
    "F_c: 3 is not allowed; it should be a valid list": lambda d: d.update(F_c=3),
    "F_c: None is not allowed": lambda d: d.update(F_c=None),
    "F_c.0: 'a' is not allowed": lambda d: d.update(F_c=["a", 1]),
    "F_c.1: True is not allowed": lambda d: d.update(F_c=[1, True]),
    "F_c.0: 1e+20 is not allowed": lambda d: d.update(F_c=[1e20, 1]),
    "F_c.0: 1e+308 is not allowed": lambda d: d.update(F_c=[1e308, 1]),
    "f_c: is missing": lambda d: d.pop("f_c"),
    "f_const: '3' is not allowed": lambda d: d.update(f_const="3"),
    "file: holds Infinity, which is no JSON": lambda d: d.update(F_const=float("inf")),
    "file: holds NaN, which is no JSON": lambda d: d.update(F_const=float("nan")),
    "file: holds a number of 400 digits": lambda d: d.update(F_const=10**399),
    "bounds: has 1 entries; give 2": lambda d: d.update(bounds=[[0, 1]]),
    "bounds.1: [0] is not allowed": lambda d: d.update(bounds=[[0, 1], [0]]),
    "bounds.1.0: -1e+16 is not allowed": lambda d: d.update(bounds=[[0, 1], [-1e16, 1]]),
    "bounds: lower 3 above upper 1 at position 1; swap them": lambda d: d.update(bounds=[[0, 1], [3, 1]]),
    "lower_rows: {} is not allowed": lambda d: d.update(lower_rows={}),
    "lower_rows.0: 3 is not allowed; it should be a section with keys": lambda d: d.update(lower_rows=[3]),
    "lower_rows: row 0 has 1 coefficients; give 2": lambda d: d.update(lower_rows=[row(a=[1])]),
    "lower_rows.0.rhs: is an unknown key; use one of a, sense, b": lambda d: d.update(lower_rows=[row(rhs=1)]),
    "lower_rows.0.b: 1e+308 is not allowed": lambda d: d.update(lower_rows=[row(b=1e308)]),
    "lower_row: is an unknown key; use one of name": lambda d: d.update(lower_row=[]),
    "Menu: is an unknown key": lambda d: d.update(Menu={}),
    "upper_rows.0.sense: '<' is not allowed": lambda d: d.update(upper_rows=[row(sense="<")]),
    "upper_rows.0.b: None is not allowed": lambda d: d.update(upper_rows=[row(b=None)]),
    "var_names: has 1 entries": lambda d: d.update(var_names=["a"]),
    "var_names: names a variable twice": lambda d: d.update(var_names=["a", "a"]),
    "var_names.0: 1 is not allowed": lambda d: d.update(var_names=[1, "a"]),
    "var_names.0: holds a character that cannot be printed": lambda d: d.update(var_names=["a\nb", "c"]),
    "var_names.0: is empty": lambda d: d.update(var_names=["", "c"]),
    "name: holds $; leave out": lambda d: d.update(name="$x$"),
    "sense: 'max' is not allowed": lambda d: d.update(sense="max"),
    "integer: 2 is no position": lambda d: d.update(integer=[2]),
    "integer: 1 is a follower's variable: a mixed-integer follower has no": lambda d: d.update(integer=[1]),
    "integer.0: -1 is not allowed": lambda d: d.update(integer=[-1]),
    "menu: 2 is no position": lambda d: d.update(menu={"2": [1]}),
    "menu: 1 is a follower's variable: a mixed-integer follower has no": lambda d: d.update(menu={"1": [1]}),
    "menu.\u00b2: '\u00b2' is not allowed": lambda d: d.update(menu={"\u00b2": [1]}),
    "menu.0: [] is not allowed": lambda d: d.update(menu={"0": []}),
    "menu.0.0: 'a' is not allowed": lambda d: d.update(menu={"0": ["a"]}),
    "menu: [1] is not allowed": lambda d: d.update(menu=[1]),
    "Q: is no matrix of 1 rows and 1 columns": lambda d: d.update(Q=[]),
    "Q: is no matrix of 1 rows": lambda d: d.update(Q=[[1, 2]]),
    "levels: a problem with more than two levels": lambda d: d.update(levels=[]),
}


def refused_by(reader, path: Path) -> str:
    """The one line that a reader refuses a file in, after the file's name."""
    with pytest.raises(InputError) as error:
        reader(path)
    line = str(error.value)
    assert line.isprintable() and "; " in line and line.startswith(f"{path}: ") and len(line) < 600 + len(str(path))
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("message", BROKEN)
def test_broken_files_are_refused_in_one_line(message, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(spoil(BROKEN[message])))
    assert refused_by(read_bilevel, path).startswith(message)


TEXTS = {  # files that are no objects, for both readers
    "{": "file: is not JSON (",
    "": "file: is not JSON (",
    "[]": "file: is not an object",
    "3": "file: is not an object",
    "[" * 100_000: "file: is nested too deeply",
    '{"a":' * 30 + "1" + "}" * 30: "file: is nested too deeply",
    '{"nx": 1, "nx": 2}': "nx: stands twice in one object; keep one",
    '{"lower_rows": [{"a": [1], "a": [2]}]}': "a: stands twice",
    '{"nx": ' + "9" * 5000 + "}": "file: holds a number of 5000 digits",
    '{"F_const": 1e999}': "file: holds 1e999, which is too large",
    '{"F_const": -Infinity}': "file: holds -Infinity, which is no JSON",
}


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("reader", [read_bilevel, read_trilevel])
def test_texts_that_are_no_problems(text, reader, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(text)
    assert refused_by(reader, path).startswith(TEXTS[text])


@pytest.mark.parametrize("reader", [read_bilevel, read_trilevel])
def test_files_that_cannot_be_read(reader, tmp_path):
    path = tmp_path / "x.json"
    assert refused_by(reader, path).startswith("file: does not exist")
    path.write_bytes(b"\xff\xfe{}")
    assert refused_by(reader, path).startswith("file: is not text (byte 0); save it as UTF-8")
    assert refused_by(reader, tmp_path).startswith("file: is a folder")
    path.write_text("0" * 20_000_001)
    assert refused_by(reader, path).startswith("file: has 20,000,001 bytes; keep it below")


def three(**changes) -> dict:
    """A three-level file whose first level is changed."""
    levels = [{"var": v, "lb": 0, "ub": 1, "obj": {v: 1}} for v in "xyz"]
    return {"levels": [{**levels[0], **changes}, *levels[1:]]}


BROKEN_THREE = {
    "levels: is missing": {"name": "none"},
    "levels: [] is not allowed": {"levels": []},
    "levels: {'a': 1} is not allowed": {"levels": {"a": 1}},
    "levels.0: 1 is not allowed": {"levels": [1, 2, 3]},
    "levels.0.obj: is missing": {"levels": [{"var": "x"}] * 3},
    "levels.0.obj: [1] is not allowed": three(obj=[1]),
    "levels.0.obj.x: 'a' is not allowed": three(obj={"x": "a"}),
    "levels.0.obj.x: True is not allowed": three(obj={"x": True}),
    "levels.0.obj.x: 1e+30 is not allowed": three(obj={"x": 1e30}),
    "file: levels.0 has an unknown variable 'q'; use x, y, z": three(obj={"q": 1}),
    "file: levels.0 has an unknown variable 'lb'": three(obj={"lb": 1}),
    "file: levels.0 has an unknown variable 'p'": three(rows=[{"p": 1, "lb": 1}]),
    "levels.0.rows: {} is not allowed": three(rows={}),
    "levels.0.rows.0: 1 is not allowed": three(rows=[1]),
    "levels.0.rows.0.lb: '1' is not allowed": three(rows=[{"x": 1, "lb": "1"}]),
    "levels.0.sense: 'max' is not allowed": three(sense="max"),
    "levels.0.lb: [0] is not allowed": three(lb=[0]),
    "levels.0.bound: is an unknown key; use one of var, lb, ub": three(bound=1),
    "file: y cannot name a variable here": three(var="y", obj={}),
    "file: lb cannot name a variable here": three(var="lb", obj={}),
}


@pytest.mark.parametrize("message", BROKEN_THREE)
def test_broken_three_level_files(message, tmp_path):
    path = tmp_path / "three.json"
    path.write_text(json.dumps(BROKEN_THREE[message]))
    assert refused_by(read_trilevel, path).startswith(message)


def test_the_command_ends_in_the_same_line(tmp_path, capsys):
    path = tmp_path / "broken.json"
    path.write_text("[" * 100_000)
    assert main(["bilevel", str(path), "--mode", "sos1"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err == f"tritier: {path}: file: is nested too deeply; keep at most 20 levels\n"
