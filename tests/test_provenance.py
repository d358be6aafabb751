"""Whole writes, one writer at a time, leftovers of killed runs, and what a failed write leaves: nothing."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tritier import provenance
from tritier.errors import InputError
from tritier.provenance import clear_leftovers, package_hash, sole_writer, whole_file, whole_folder, write_json


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a.json") as part:
        part.write_text("half")
        raise RuntimeError
    assert names(tmp_path) == ["a.json"]
    assert '"x": 1' in (tmp_path / "a.json").read_text()


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
    for name in (".out.1.old", ".out.2.part"):
        (tmp_path / name).mkdir()
    (tmp_path / ".out.1.old" / "file").write_text("old")
    (tmp_path / ".outer.1.part").mkdir()  # another place's
    clear_leftovers(tmp_path / "out")
    assert names(tmp_path) == [".outer.1.part", "out"]
    assert (tmp_path / "out" / "file").read_text() == "old"


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


def test_versions_name_python_and_the_solvers():
    found = provenance.versions()
    assert found["python"] == sys.version.split()[0]
    assert {"highspy", "pyscipopt"} <= set(found)
