"""Known answers: published problems in all four modes, and the shared collection where it is present."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bilevel_problems import PUBLISHED

from tritier.bilevel_file import solve_file
from tritier.bilevel_modes import MODES
from tritier.bilevel_solve import solve

COLLECTION = Path(__file__).parents[2] / "shared" / "known_answers" / "bilevel"
FILES = [p for p in sorted(COLLECTION.glob("*.json")) if "levels" not in json.loads(p.read_text())]


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
        assert found.proof in ("bounds proved", "second opinion")


def test_two_optima_of_bard_1991_are_both_optimal():
    problem = next(p.problem for p in PUBLISHED if p.key == "bard1991")
    points = {tuple(solve(problem, mode).x.round(6).tolist()) for mode in MODES}
    assert points <= {(0.0,), (1.0,)}


def test_shared_collection_in_all_modes():
    """Every file of the collection beside the repository (none, where the folder is absent), in every mode."""
    wrong = []
    for path in FILES:
        known = json.loads(path.read_text())
        for mode in MODES:
            found = solve_file(path, mode, time_limit=60)
            if known["optimum_F"] is None:
                right = found["status"] == "infeasible"
            else:
                close = found["objective"] is not None and abs(found["objective"] - known["optimum_F"]) <= 1e-5
                right = found["status"] == "optimal" and close and max(found["residuals"].values()) < 1e-6
            if not right:
                wrong.append((path.name, mode, found["status"], found["objective"], known["optimum_F"]))
    assert not wrong
    assert not COLLECTION.exists() or len(FILES) == 44
