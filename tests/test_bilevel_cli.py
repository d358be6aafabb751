"""``tritier bilevel FILE --mode M``: what it prints and its exit codes 0, 2, 3 and 4."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tritier.cli import main
from tritier.reformulation import solve as bilevel_solve
from tritier.reformulation.files import read_bilevel
from tritier.reformulation.modes import MODES, run_mode
from tritier.reformulation.scaling import scaled
from tritier.reformulation.solve import STATUSES

DATA = Path(__file__).parent / "data" / "bilevel"
GOOD = json.loads((DATA / "tariff_menu.json").read_text())


@pytest.fixture
def written(tmp_path):
    """Write the good problem with changes; the file's path as a word of the command line."""

    def write(**changes) -> str:
        path = tmp_path / "problem.json"
        path.write_text(json.dumps(GOOD | changes))
        return str(path)

    return write


@pytest.mark.parametrize("mode", MODES)
def test_an_optimum_is_exit_0_and_valid_json(mode, written, capsys):
    """By hand: the follower buys one unit, worth 5 to it, at any price below 5; F is least at price 1."""
    assert main(["bilevel", written(), "--mode", mode, "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["status"], found["mode"], err) == ("optimal", mode, "")
    assert found["objective"] == pytest.approx(-1.5, abs=1e-6)
    assert found["point"] == pytest.approx({"price": 1.0, "bought": 1.0}, abs=1e-6)
    assert max(found["residuals"].values()) < 1e-6


def test_without_json_every_figure_has_its_line(written, capsys):
    assert main(["bilevel", written(), "--mode", "sos1"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["status"] == "optimal" and float(lines["objective"]) == pytest.approx(-1.5, abs=1e-6)


def refused(words: list[str], capsys) -> str:
    """The one line on stderr of a command that ends in exit code 2 and prints nothing else."""
    assert main(["bilevel", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.endswith("\n") and err.count("\n") == 1
    return err


def test_a_bad_field_is_one_line_and_exit_2(written, capsys):
    path = written(F_c=[1])
    line = refused([path, "--mode", "bigm"], capsys)
    assert path in line and "F_c" in line and "give 2, one a variable" in line


def test_a_file_that_is_no_json_or_not_there_is_one_line_and_exit_2(tmp_path, capsys):
    path = tmp_path / "text.json"
    path.write_text("{")
    assert "not JSON" in refused([str(path), "--mode", "bigm"], capsys)
    assert "does not exist" in refused([str(tmp_path / "absent.json"), "--mode", "bigm"], capsys)


def test_an_unknown_mode_is_one_line_and_exit_2(written, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bilevel", written(), "--mode", "magic"])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.count("\n") == 1 and "magic" in err


@pytest.mark.parametrize("limit", ["-1", "nan"])
def test_a_time_limit_that_is_none_is_one_line_and_exit_2(limit, written, capsys):
    line = refused([written(), "--mode", "bigm", "--time-limit", limit], capsys)
    assert "--time-limit" in line and "seconds" in line


@pytest.mark.parametrize("mode", MODES)
def test_infeasible_is_exit_3(mode, written, capsys):
    """The leader needs 2 units bought, the follower buys at most one."""
    path = written(upper_rows=[{"a": [0, 1], "sense": ">=", "b": 2}])
    assert main(["bilevel", path, "--mode", mode, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["objective"], found["point"]) == ("infeasible", None, None)


def test_a_time_limit_that_is_hit_is_exit_4(written, capsys):
    assert main(["bilevel", written(), "--mode", "bigm", "--time-limit", "0", "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["objective"], found["point"]) == ("no_solution", None, None)


def test_a_limit_with_a_point_is_exit_4_and_gives_the_point(written, capsys, monkeypatch):
    """SCIP's answer as if its clock had run out while it held the best point."""

    def interrupted(*args, **kwargs):
        return replace(run_mode(*args, **kwargs), status="timelimit", bound=-2.0)

    monkeypatch.setattr(bilevel_solve, "run_mode", interrupted)
    assert main(["bilevel", written(), "--mode", "sos1", "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    given = GOOD["F_const"] - 2.0 * scaled(read_bilevel(written()))[1].F_unit
    assert (found["status"], found["bound"]) == ("time_limit", given)
    assert found["objective"] == pytest.approx(-1.5, abs=1e-6)


def test_help_names_every_status_with_its_exit_code(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bilevel", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and all(status in text for status in STATUSES)
    assert "optimal 0; infeasible 3;" in text and "unbounded 4" in text and "bad file 2" in text


@pytest.mark.parametrize("mode", MODES)
def test_unbounded_is_exit_4_and_says_so(mode, written, capsys):
    """The leader gains without limit from x, and the follower answers y = x."""
    path = written(
        F_c=[-1, -1], f_c=[0, 1], bounds=[[0, None], [0, None]], menu={}, Q=[[0]], upper_rows=[],
        lower_rows=[{"a": [-1, 1], "sense": ">=", "b": 0}],
    )  # fmt: skip
    assert main(["bilevel", path, "--mode", mode, "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["objective"], found["bound"]) == ("unbounded", None, None)
