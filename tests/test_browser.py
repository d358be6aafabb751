"""Around the check of the book in a browser: it fails in one line without a browser or a build, and CI runs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tritier.book.build import print_book
from tritier.book.run import Book
from tritier.errors import InputError

ROOT = Path(__file__).resolve().parent.parent


def make(folder: Path, *words: str, goal: str = "check-book") -> subprocess.CompletedProcess:
    """``make``, of ``check-book`` unless said otherwise, in an empty folder whose environment counts as made."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).write_text("")
    (folder / ".venv").mkdir()
    (folder / ".venv" / ".from-lock").write_text("")
    return subprocess.run(["make", goal, *words], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("browser", ["", "/no/such/browser"])
def test_a_missing_browser_fails_in_one_line(tmp_path, browser):
    run = make(tmp_path, f"CHROMIUM={browser}")
    assert run.returncode != 0
    said = [line for line in run.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1
    assert said[0].startswith("check-book: no chromium; install it")


def test_a_missing_build_fails_in_one_line(tmp_path):
    run = make(tmp_path, f"CHROMIUM={shutil.which('true')}")
    assert run.returncode != 0
    said = [line for line in run.stderr.splitlines() if not line.startswith("make")]
    assert said == ["check-book: no built book in _build/html; run make book first"]


def test_ci_opens_the_book_after_building_it_and_says_when_it_cannot():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.index("make book PRESET=smoke") < script.index("make check-book") < script.index("make pdf")
    assert "NOT CHECKED" in script.partition("else")[2]


def test_a_book_that_is_not_built_is_not_printed(tmp_path):
    with pytest.raises(InputError, match="no built book; run make book first"):
        print_book(Book(tmp_path, "smoke"), "no browser")


@pytest.mark.parametrize("browser", ["", "/no/such/browser"])
def test_printing_needs_a_browser(tmp_path, browser):
    run = make(tmp_path, f"CHROMIUM={browser}", goal="pdf")
    assert run.returncode != 0
    assert [line for line in run.stderr.splitlines() if line.startswith("pdf: no chromium; install it")]
