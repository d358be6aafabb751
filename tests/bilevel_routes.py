"""Every way into the solver: a problem's answer by each mode, from cvxpy, and through MPS beside AUX in both dialects.

An answer is F at a checked optimum, or the word infeasible or unbounded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bilevel_problems import as_cvxpy, plain
from bilevel_reference import brute_force, worst_answer

from tritier.bilevel import pessimistic, read_mps, solve, write_mps
from tritier.errors import InputError, SolverError
from tritier.reformulation.bilevel import LinearBilevel
from tritier.reformulation.modes import MODES
from tritier.reformulation.solve import BilevelSolution

Answer = float | str
DIALECTS = ("names", "lines")


def answer(found: BilevelSolution) -> Answer:
    """F, or the word; a residual beyond 1e-6 is an answer of its own."""
    if found.status != "optimal" or found.objective is None:
        return found.status
    worst = max(found.residuals.values())
    return found.objective if worst < 1e-6 else f"residual {worst:.1e}"


def reference(problem: LinearBilevel) -> Answer:
    """The answer of brute force over complementarity patterns."""
    found = brute_force(problem)
    return "infeasible" if found is None else "unbounded" if np.isinf(found) else found


def from_cvxpy(problem: LinearBilevel) -> Answer:
    """The answer of mode "auto" to the problem written in cvxpy.

    A follower that has no answer whatever the leader does is refused there; arrays call that infeasible.
    """
    try:
        found = as_cvxpy(problem).solve(time_limit=60)
    except InputError as refused:
        return "infeasible" if str(refused).startswith("BilevelProblem: lower: ") else str(refused)
    if found.value is not None:
        assert found.value == pytest.approx(found.linear.objective, abs=1e-9)
    return answer(found.linear)


def through_files(problem: LinearBilevel, folder: Path, dialect: str) -> Answer:
    """The answer of mode "auto" to the problem written to MPS and AUX and read again."""
    paths = folder / "p.mps", folder / "p.aux"
    write_mps(problem, *paths, dialect)
    return answer(solve(read_mps(*paths), time_limit=60))


def worst_case(problem: LinearBilevel) -> tuple[Answer, Answer] | None:
    """The pessimistic reading at the optimum, by the package and by scipy; None where there is no optimum."""
    found = solve(problem, time_limit=60)
    if found.status != "optimal":
        return None
    expected = worst_answer(problem, found.x)
    try:
        ours: Answer = pessimistic(problem, found.x)[0]
    except SolverError as error:
        ours = "unbounded" if str(error).endswith("unbounded") else str(error)
    assert isinstance(ours, str) or ours >= found.objective - 1e-6 * max(1.0, abs(found.objective))
    return ours, "unbounded" if np.isinf(expected) else expected


def routes(problem: LinearBilevel, folder: Path) -> dict[str, tuple[Answer, Answer]]:
    """By route: the answer, and the one that it should be."""
    known, stripped = reference(problem), plain(problem)
    out = {mode: (answer(solve(problem, mode, time_limit=60)), known) for mode in MODES}
    out["cvxpy"] = from_cvxpy(problem), known
    known = reference(stripped)
    out |= {f"mps, {dialect}": (through_files(stripped, folder, dialect), known) for dialect in DIALECTS}
    worst = worst_case(problem)
    return out if worst is None else out | {"pessimistic": worst}


def same(found: Answer, known: Answer) -> bool:
    """Equal words, or values within 1e-5."""
    if isinstance(found, str) or isinstance(known, str):
        return found == known
    return abs(found - known) <= 1e-5 * max(1.0, abs(known))
