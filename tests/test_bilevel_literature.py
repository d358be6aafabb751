"""Known answers: published problems in all four modes, and the shared collection where it is present."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from bilevel_problems import PUBLISHED

from tritier.reformulation.files import read_trilevel, solve_file
from tritier.reformulation.modes import MODES
from tritier.reformulation.solve import solve
from tritier.reformulation.trilevel import solve_trilevel

#: 44 files with known optima, kept beside the repository; those of them in the public domain stand in it
COLLECTION = Path(__file__).parents[2] / "shared" / "known_answers" / "bilevel"
PUBLIC = Path(__file__).parent / "data" / "bilevel" / "basblib"


def known_files() -> list[Path]:
    """The bilevel files of the collection; where it is not there, a warning and those in the public domain."""
    if not COLLECTION.exists():
        warnings.warn(f"16 of 44 known answers tried: no folder {COLLECTION}", stacklevel=2)
    folder = COLLECTION if COLLECTION.exists() else PUBLIC
    files = [p for p in sorted(folder.glob("*.json")) if "levels" not in json.loads(p.read_text())]
    assert len(files) == (44 if folder == COLLECTION else 16)
    return files


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("published", PUBLISHED, ids=lambda p: p.key)
def test_published_problem(published, mode):
    found = solve(published.problem, mode, time_limit=60)
    if published.optimum is None:
        assert found.status == "infeasible" and found.objective is None and found.x.size == 0
    else:
        assert found.status == "optimal"
        assert found.objective == pytest.approx(published.optimum, abs=1e-5)
        assert max(found.residuals.values()) < 1e-6
        assert found.proof in ("one mode", "second opinion", "enumeration")


def test_two_optima_of_bard_1991_are_both_optimal():
    problem = next(p.problem for p in PUBLISHED if p.key == "bard1991")
    points = {tuple(solve(problem, mode).x.round(6).tolist()) for mode in MODES}
    assert points <= {(0.0,), (1.0,)}


def wrong_answers(path: Path) -> list[tuple]:
    """The modes whose answer to a file is not the known one: optimum to 1e-5, residuals below 1e-6; or infeasible."""
    known, wrong = json.loads(path.read_text()), []
    for mode in MODES:
        found = solve_file(path, mode, time_limit=60)
        if known["optimum_F"] is None:
            right = found["status"] == "infeasible"
        else:
            close = found["objective"] is not None and abs(found["objective"] - known["optimum_F"]) <= 1e-5
            right = found["status"] == "optimal" and close and max(found["residuals"].values()) < 1e-6
        if not right:
            wrong.append((path.name, mode, found["status"], found["objective"], known["optimum_F"]))
    return wrong


def test_known_answers_of_the_collection_in_all_modes():
    assert [wrong for path in known_files() for wrong in wrong_answers(path)] == []


def test_files_in_the_public_domain_are_those_of_the_collection():
    files = sorted(PUBLIC.glob("*.json"))
    assert len(files) == 16 and all(json.loads(p.read_text())["licence"] == "CC0-1.0" for p in files)
    if COLLECTION.exists():
        assert all(p.read_text() == (COLLECTION / p.name).read_text() for p in files)


def test_trilevel_file_of_the_collection():
    """The file of Anandalingam's problem, read as a file; the same problem is written out in test_trilevel."""
    path = COLLECTION / "anandalingam1988_trilevel.json"
    if not COLLECTION.exists():
        warnings.warn(f"the tri-level known answer was not tried: no folder {COLLECTION}", stacklevel=1)
        return
    found = solve_trilevel(read_trilevel(path))
    assert found.objective == pytest.approx(-8.5, abs=1e-6)
    assert [*found.x, *found.y, *found.z] == pytest.approx([1.5, 0.0, 0.5], abs=1e-6)


def test_a_wrong_known_answer_is_noticed(tmp_path):
    """The comparison itself: a file that claims another optimum, or infeasibility, is reported for every mode."""
    source = Path(__file__).parent / "data" / "bilevel" / "tariff_menu.json"
    for claim in (-1.4, None):
        path = tmp_path / "claim.json"
        path.write_text(json.dumps(json.loads(source.read_text()) | {"optimum_F": claim}))
        assert [row[1] for row in wrong_answers(path)] == list(MODES)
    path.write_text(json.dumps(json.loads(source.read_text()) | {"optimum_F": -1.5}))
    assert wrong_answers(path) == []
