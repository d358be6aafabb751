"""Whole writes, one writer at a time, leftovers of killed runs, and what a failed write leaves: nothing."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from tritier import provenance
from tritier.cases.solve import prepare
from tritier.errors import InputError
from tritier.inputs.documents import read_json
from tritier.provenance import (
    clear_leftovers,
    own_folder,
    package_hash,
    sole_writer,
    whole_file,
    whole_folder,
    write_csv,
    write_json,
)

RESULTS = provenance.DATA / "results"


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a.json") as part:
        part.write_text("half")
        raise RuntimeError
    assert names(tmp_path) == ["a.json"]
    assert '"x": 1' in (tmp_path / "a.json").read_text()


class Torn(pd.DataFrame):
    """A table of which a part is written."""

    def to_csv(self, path, **how):
        Path(path).write_text("x\n0.")
        raise RuntimeError


def test_a_table_is_there_whole_or_not_at_all(tmp_path):
    path, table = tmp_path / "a.csv", pd.DataFrame({"x": [1 / 3], "text": ["a"]})
    write_csv(path, table)
    with pytest.raises(RuntimeError):
        write_csv(path, Torn(table))
    assert names(tmp_path) == ["a.csv"] and path.read_bytes() == b"x,text\n0.3333333333,a\n"
    write_csv(path, table, digits=3)
    assert path.read_text() == "x,text\n0.333,a\n"
    write_csv(path, table, digits=None)
    assert pd.read_csv(path)["x"].item() == 1 / 3


def test_a_folder_gives_way_only_to_a_finished_one(tmp_path):
    for text in ("first", "second"):
        with whole_folder(tmp_path / "out") as part:
            (part / "file").write_text(text)
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out") as part:
        (part / "file").write_text("third")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "file").read_text() == "second"


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left") as error, whole_file(tmp_path / "big.npz"):
        raise OSError(28, "No space left on device")
    assert error.value.filename == str(tmp_path / "big.npz")
    assert names(tmp_path) == []


def test_two_writers_to_one_place_are_one_too_many(tmp_path):
    with sole_writer(tmp_path / "out"):
        with pytest.raises(InputError, match="another run"), sole_writer(tmp_path / "out"):
            pass
        with sole_writer(tmp_path / "other"):
            pass
    with sole_writer(tmp_path / "out"):
        pass
    assert names(tmp_path) == []


def _die(folder: Path) -> None:
    with sole_writer(folder / "out"), whole_folder(folder / "out") as part:
        (part / "file").write_text("new")
        os._exit(9)  # as a kill would: nothing is tidied up


def test_a_killed_run_leaves_nothing_that_the_next_one_minds(tmp_path):
    (tmp_path / "out").mkdir()
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(tmp_path,))
    process.start()
    process.join()
    assert len(names(tmp_path)) == 3  # the old result, the unfinished one, the lock file
    with sole_writer(tmp_path / "out"):
        assert [n for n in names(tmp_path) if not n.endswith(".lock")] == ["out"]
    assert names(tmp_path) == ["out"]


def test_a_run_killed_between_two_renames_gives_the_old_result_back(tmp_path):
    for name in (".out.111111111111.old", ".out.222222222222.part", ".outer.333333333333.part"):
        (tmp_path / name).mkdir()
    (tmp_path / ".out.111111111111.old" / "file").write_text("old")
    (tmp_path / ".out.state.npz.444444444444.part.npz").write_text("half a state")
    (tmp_path / ".out.state.answer3.npz.555555555555.part.npz").write_text("half an answer")
    (tmp_path / ".out.notes.part").write_text("the user's")
    others = [".out.05.666666666666.part", ".out.05.state.npz.777777777777.part.npz", ".out.05.888888888888.old"]
    for name in others:
        (tmp_path / name).write_text("of the result out.05")
    clear_leftovers(tmp_path / "out")
    assert names(tmp_path) == sorted([*others, ".out.notes.part", ".outer.333333333333.part", "out"])
    assert (tmp_path / "out" / "file").read_text() == "old"


def test_a_name_with_signs_of_a_pattern_is_a_name(tmp_path):
    (tmp_path / ".o1.111111111111.part").mkdir()
    (tmp_path / ".o[1].111111111111.part").mkdir()
    clear_leftovers(tmp_path / "o[1]")
    assert names(tmp_path) == [".o1.111111111111.part"]


FOREIGN = {  # what lies in a folder that is no result, and the piece of the line that refuses it
    "thesis.tex": "holds thesis.tex",
    "summary.json/precious.txt": "holds summary.json",
    "summary.json": "holds summary.json",  # another program's: a result has its provenance beside it
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_anything_but_a_result_stays(name, tmp_path):
    kept = tmp_path / "out" / name
    kept.parent.mkdir(parents=True)
    kept.write_text("years of work")
    with pytest.raises(InputError, match=FOREIGN[name]):
        own_folder(tmp_path / "out", ["summary.json", "provenance.json"])
    assert kept.read_text() == "years of work"


def test_a_result_gives_way_and_an_empty_folder_does(tmp_path):
    (tmp_path / "out").mkdir()
    assert own_folder(tmp_path / "out", ["provenance.json"]) == tmp_path / "out"
    (tmp_path / "out" / "provenance.json").write_text("{}")
    assert own_folder(tmp_path / "out", ["provenance.json"]) == tmp_path / "out"


def test_a_link_that_leads_to_itself_is_no_place(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "out")
    with pytest.raises(InputError, match="--out: cannot be made"):
        own_folder(tmp_path / "out", [])


def test_every_edit_of_a_module_changes_the_packages_hash(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.py").write_text("x = 1\n")
    before = package_hash(tmp_path)
    (tmp_path / "sub" / "__pycache__").mkdir()
    (tmp_path / "sub" / "__pycache__" / "m.py").write_text("")
    assert package_hash(tmp_path) == before
    (tmp_path / "sub" / "m.py").write_text("x = 2\n")
    assert package_hash(tmp_path) != before


def test_the_commit_is_that_of_the_checkout():
    head = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=provenance.PACKAGE, capture_output=True, text=True, check=False
    ).stdout.strip()
    assert provenance.commit().rstrip("+") == (head or "unknown")


def test_the_commit_stays_that_of_the_code_as_it_was_loaded(tmp_path, monkeypatch):
    """A result is written long after its code was loaded, and other commits may have come meanwhile."""

    def run(*words):
        return subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, text=True, check=True)

    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "tritier")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    run("init", "-q")
    run(*who, "commit", "-q", "--allow-empty", "-m", "first")
    first = run("rev-parse", "--short=12", "HEAD").stdout.strip()
    provenance.commit.cache_clear()
    try:
        prepare(provenance.DATA / "studies" / "ieee33", "smoke")
        run(*who, "commit", "-q", "--allow-empty", "-m", "second")
        assert run("rev-parse", "--short=12", "HEAD").stdout.strip() != first
        assert provenance.commit() == first
    finally:
        provenance.commit.cache_clear()


def test_versions_name_python_and_the_solvers():
    found = provenance.versions()
    assert found["python"] == sys.version.split()[0]
    assert {"highspy", "pyscipopt"} <= set(found)


# scripts that measure


def script(name: str) -> ModuleType:
    """A script of data/results."""
    spec = importlib.util.spec_from_file_location(name, RESULTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["ways", "large"])
def test_each_row_that_is_measured_by_itself_says_by_what(name):
    rows, about = pd.read_csv(RESULTS / f"{name}.csv"), read_json(RESULTS / f"{name}.json")
    assert rows["date"].str.fullmatch(r"\d{4}-\d\d-\d\d").all() and (rows["limit"] > 0).all()
    assert rows["commit"].str.fullmatch(r"[0-9a-f]{12}\+?|unknown").all()
    assert rows["versions"].str.contains(r"^highspy \d.*, python 3").all()
    assert not {"date", "commit", "versions", "processor"} & set(about), "one word for rows of different days"
    assert script(name).versions_in_words is provenance.versions_in_words


@pytest.mark.parametrize("name", ["growth", "bilevel"])
def test_scripts_find_their_commit_before_they_measure(name, tmp_path, monkeypatch):
    """What is committed while they run is not what they have loaded."""
    run, order = script(name), list[str]()

    def measured(*given) -> pd.DataFrame:
        order.append("measured")
        return pd.DataFrame([{"hours": 3, "scenarios": 2, "mode": "bigm", "status": "no", "seconds": 0.0}])

    monkeypatch.setattr(run, "commit", lambda: order.append("commit") or "begun")
    monkeypatch.setattr(run, "HERE", tmp_path)
    if name == "growth":
        monkeypatch.setattr(run, "TABLE", tmp_path / "growth.csv")
        monkeypatch.setattr(run, "PLAIN", [("bigm", False)])
        monkeypatch.setattr(run, "growth", measured)
        run.main()
        assert pd.read_csv(tmp_path / "growth.csv")["commit"].tolist() == ["begun"]
    else:
        monkeypatch.setattr(run, "scaling", measured)
        run.main("scaling")
        assert read_json(tmp_path / "bilevel.json")["scaling"]["commit"] == "begun"
    assert order[:2] == ["commit", "measured"]
