"""Known answers: published problems in all four modes, and the collection of 44 files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bilevel_problems import PUBLISHED

from tritier.reformulation.files import read_trilevel, solve_file
from tritier.reformulation.modes import MODES
from tritier.reformulation.solve import solve
from tritier.reformulation.trilevel import solve_trilevel

#: 44 files with known optima: 16 in the public domain, 28 that state published problems anew; and one of three levels
COLLECTION = Path(__file__).parent / "data" / "bilevel"
PUBLIC, STATED = COLLECTION / "basblib", COLLECTION / "published"


def known_files() -> list[Path]:
    """The bilevel files of the collection."""
    every = sorted([*PUBLIC.glob("*.json"), *STATED.glob("*.json")])
    files = [p for p in every if "levels" not in json.loads(p.read_text())]
    assert len(files) == 44
    return files


DOUBTED = {"pineda2019", "mersha2006_upper", "mersha2006_lower"}  # no proved bound on their multipliers


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
        doubted = mode == "strong_duality" or published.key in DOUBTED
        assert found.proof == ("second opinion" if doubted else "one mode")


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


def test_every_known_answer_says_where_it_is_from():
    """Files in the public domain carry their licence, our own statements the paper; none is there twice."""
    files = known_files()
    public = [json.loads(p.read_text()) for p in files if p.parent == PUBLIC]
    stated = [json.loads(p.read_text()) for p in files if p.parent == STATED]
    assert (len(public), len(stated)) == (16, 28) and len({p.name for p in files}) == 44
    assert all(known["licence"] == "CC0-1.0" for known in public)
    assert all(re.search(r"(19|20)\d\d", known["source"]) for known in stated)


def test_trilevel_file_of_the_collection():
    """The file of Anandalingam's problem, read as a file; the same problem is written out in test_trilevel."""
    found = solve_trilevel(read_trilevel(STATED / "anandalingam1988_trilevel.json"))
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
