"""Two-stage robust optimisation: a published optimum, modes against each other, vertices, certificates,
infeasibility."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from tritier.errors import CertificateError, InfeasibleError, SolverError
from tritier.hosting.adversary import MODES
from tritier.hosting.robust import (
    Recourse,
    RecourseProgram,
    TwoStage,
    WorstCase,
    box_with_rows,
    budget_set,
    budget_vertices,
    certify_robust,
    column_and_constraint_generation,
    location_transportation,
    polytope_vertices,
    solve_master,
)


@pytest.mark.parametrize("mode", ["sos1", "bigm", "enumerate"])
def test_published_optimum_and_bounds(mode):
    problem = location_transportation()
    began = time.perf_counter()
    solution = column_and_constraint_generation(problem, MODES[mode])
    seconds = time.perf_counter() - began
    bounds = [(round(s.lower_bound), round(s.upper_bound)) for s in solution.trace]
    assert bounds[0] == (14296, 35238) and bounds[1][0] == 33680 and bounds[-1] == (33680, 33680)
    assert len(bounds) <= 3  # the second master has several optima
    assert solution.upper_bound == pytest.approx(33680, abs=1e-3)
    assert solution.y[:3] == pytest.approx([1, 0, 1], abs=1e-6)
    assert seconds < 1.0
    certificate = certify_robust(problem, solution)
    assert certificate["vertices_checked"] == len(problem.recourse[0].uncertainty.vertices()) >= 8


def test_bounds_that_have_not_met_are_refused():
    problem = location_transportation()
    with pytest.raises(CertificateError, match=r"robust.gap failed: .*14296.*35238.* after 1 passes"):
        column_and_constraint_generation(problem, MODES["enumerate"], max_iterations=1)


def test_an_adversary_that_has_nothing_new_while_the_bounds_are_apart_is_refused():
    """It claims the nominal demand as worst case, with a bound that no point reaches."""

    def idle(recourse, y):
        value = RecourseProgram(recourse, y).solve(np.zeros(3)).objective
        return WorstCase(np.zeros(3), value, value + 100.0)

    with pytest.raises(CertificateError, match=r"robust.gap"):
        column_and_constraint_generation(location_transportation(), idle)


def test_a_vertex_that_is_not_listed_and_sets_too_large_to_list_are_refused(monkeypatch):
    problem = location_transportation()
    solution = column_and_constraint_generation(problem, MODES["enumerate"])
    with pytest.raises(CertificateError, match=r"robust.vertices failed"):
        certify_robust(problem, solution, vertex_limit=5)
    term = replace(problem.recourse[0], uncertainty=budget_set(3, 1), M=sp.hstack([problem.recourse[0].M] * 2).tocsr())
    twice = TwoStage(problem.first, (term,))
    solution = column_and_constraint_generation(twice, MODES["enumerate"])
    certify_robust(twice, solution)
    monkeypatch.setattr("tritier.hosting.robust.budget_vertices", lambda *_: budget_vertices(3, 1)[:-1])
    with pytest.raises(CertificateError, match=r"robust.vertices_missing"):
        certify_robust(twice, solution)


def test_bilinear_dual_finds_the_same_worst_case():
    problem = location_transportation()
    y = np.array([1.0, 0.0, 0.0, 772.0, 0.0, 0.0])
    assert MODES["strong_duality"](problem.recourse[0], y).value == pytest.approx(35238 - 14296, abs=1e-2)


def boxed_dual_value(recourse: Recourse, y: np.ndarray, u: np.ndarray, bound: np.ndarray) -> float:
    """Optimum of the dual of the recourse at (y, u) with its multipliers kept within ``bound``."""
    h0, H = recourse.at(y)
    lower = np.where(recourse.equality, -bound, 0.0)
    answer = linprog(H @ u - h0, recourse.G.T, recourse.cost, bounds=np.c_[lower, bound])
    assert answer.status == 0
    return -answer.fun


def test_multiplier_boxes_of_location_transportation_hide_nothing_and_half_of_them_do():
    """Strong duality within the derived boxes at random capacities and at every vertex of the set."""
    recourse, draw = location_transportation().recourse[0], np.random.default_rng(4)
    hidden = 0
    for _ in range(20):
        z = draw.uniform(0.0, 800.0, 3)
        y = np.r_[np.ones(3), z * max(1.0, 772.0 / z.sum())]
        for u in recourse.uncertainty.vertices():
            true = RecourseProgram(recourse, y).solve(u).objective
            assert boxed_dual_value(recourse, y, u, recourse.dual_upper) == pytest.approx(true, rel=1e-9)
            hidden += boxed_dual_value(recourse, y, u, 0.5 * recourse.dual_upper) < true - 1.0
    assert hidden > 0


def test_optimum_of_all_vertices_is_the_optimum():
    problem = location_transportation()
    every_vertex = [(0, u) for u in problem.recourse[0].uncertainty.vertices()]
    assert solve_master(problem, every_vertex)[1] == pytest.approx(33680, abs=1e-6 * 33680)


@pytest.mark.parametrize("mode", ["sos1", "enumerate"])
def test_scenarios_without_recourse_become_feasibility_cuts(mode):
    problem = location_transportation(complete=False, enough_capacity=False)
    solution = column_and_constraint_generation(problem, MODES[mode])
    assert np.isinf(solution.trace[0].upper_bound)  # with nothing built there is no recourse
    assert solution.upper_bound == pytest.approx(33680, abs=0.05)
    certify_robust(problem, solution)


def test_infeasible_problem_is_named():
    problem = location_transportation(complete=False, enough_capacity=False)
    first = replace(problem.first, upper=np.array([1.0, 1.0, 1.0, 100.0, 100.0, 100.0]))
    with pytest.raises(InfeasibleError, match="no first-stage decision"):
        column_and_constraint_generation(TwoStage(first, problem.recourse), MODES["enumerate"])


def test_multiplier_bounds_that_are_too_small_are_caught():
    problem = location_transportation()
    small = replace(problem.recourse[0], dual_upper=np.full(6, 20.0))
    y = np.array([1.0, 0.0, 1.0, 458.0, 0.0, 314.0])
    for mode in ("sos1", "bigm"):
        with pytest.raises(SolverError, match="infeasible on the adversary's problem"):
            MODES[mode](small, y)


def test_certificate_refuses_a_forged_bound():
    problem = location_transportation()
    solution = column_and_constraint_generation(problem, MODES["enumerate"])
    with pytest.raises(CertificateError, match="upper_bound_mismatch"):
        certify_robust(problem, replace(solution, upper_bound=solution.upper_bound - 50))
    with pytest.raises(CertificateError, match="worst_vertex_excess"):
        easy = MODES["enumerate"](
            replace(problem.recourse[0], uncertainty=box_with_rows(3, [[1, 1, 1]], [0.1])), solution.y
        )
        certify_robust(problem, replace(solution, worst=(easy.u,), worst_value=(easy.value,)))


def test_budget_vertices_are_counted_and_inside():
    for factors, budget in ((3, 2.0), (4, 1.0), (3, 1.5), (2, 2.0), (3, 0.0)):
        chosen = budget_set(factors, budget)
        points = budget_vertices(factors, budget)
        assert len(points) == chosen.vertex_bound == len(np.unique(points, axis=0))
        assert max(chosen.excess(u) for u in points) <= 1e-12


def test_budget_vertices_are_those_of_the_half_spaces():
    chosen = budget_set(2, 1.5)
    geometric = polytope_vertices(chosen)
    written = budget_vertices(2, 1.5)
    for direction in np.random.default_rng(1).normal(size=(50, 4)):
        assert (written @ direction).max() == pytest.approx((geometric @ direction).max(), abs=1e-9)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000))
def test_adversaries_agree_on_random_recourse(seed):
    """Random covering recourse with a slack column per row, three two-sided factors of which two may deviate."""
    draw = np.random.default_rng(seed)
    rows, columns, sites = 4, 5, 3
    G = np.hstack([draw.uniform(0.2, 1.0, (rows, columns)), np.eye(rows)])
    E_u = tuple(sp.csr_matrix(draw.uniform(-0.3, 0.3, (rows, sites))) for _ in range(6))
    recourse = Recourse(
        cost=np.r_[draw.uniform(1.0, 3.0, columns), np.full(rows, 10.0)],
        G=sp.csr_matrix(G),
        E=sp.csr_matrix(draw.uniform(0.0, 0.5, (rows, sites))),
        M=sp.csr_matrix(draw.uniform(-1.0, 1.0, (rows, 6))),
        h=draw.uniform(1.0, 4.0, rows),
        equality=np.zeros(rows, dtype=bool),
        uncertainty=budget_set(3, 2),
        upper=np.full(columns + rows, 100.0),
        slack_upper=np.full(rows, 400.0),
        dual_upper=np.full(rows, 10.0),
        E_u=E_u,
    )
    y = draw.uniform(0.0, 2.0, sites)
    values = [MODES[mode](recourse, y).value for mode in ("enumerate", "binary", "sos1", "bigm")]
    assert values == pytest.approx([values[0]] * 4, rel=1e-6, abs=1e-6)
