"""The one HiGHS wrapper: what each status becomes, and cold restarts counted by reason."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tritier.errors import InfeasibleError, SolverError
from tritier.reformulation.lp import ALL, ColdRestart, LinearProgram, ParametricLP, Status, WarmLP, solve_lp

INF = np.inf


def program(cost=(1.0, 1.0), row=(1.0, 1.0), least=1.0, upper=INF, integer=None, **options) -> LinearProgram:
    """min cost.x with row.x >= least, 0 <= x <= upper."""
    return LinearProgram(cost, np.array([row]), least, INF, 0.0, upper, integer, **options)


def warm(cost=(1.0, 2.0), least=1.0) -> WarmLP:
    """min cost.x with x1 + x2 >= least, 0 <= x <= 10."""
    matrix, box = sp.csr_array(np.ones((1, 2))), (np.zeros(2), np.full(2, 10.0))
    return WarmLP(ParametricLP(np.array(cost), matrix, np.array([least]), np.array([INF]), *box, {}, {}))


@pytest.mark.parametrize("integer", [None, [True, False], [True, True]])
def test_an_unbounded_program_is_not_called_infeasible(integer):
    assert program(cost=(-1.0, 0.0), integer=integer).run().status == Status.UNBOUNDED
    with pytest.raises(SolverError, match="unbounded"):
        program(cost=(-1.0, 0.0), integer=integer).solve()


@pytest.mark.parametrize("integer", [None, [True, False]])
def test_an_infeasible_program_is_no_error_and_has_no_point(integer):
    found = program(least=3.0, upper=1.0, integer=integer).run()
    assert found.status == Status.INFEASIBLE and found.x.size == 0 and np.isnan(found.objective)
    assert program(least=3.0, upper=1.0, integer=integer).solve() is None


def test_an_infeasible_program_whose_cost_has_a_ray_is_infeasible():
    """x1 - x2 >= 1 and x2 - x1 >= 1 with a cost that falls along (1, 1): HiGHS's presolve cannot say which."""
    rows = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert solve_lp([-1.0, -1.0], rows, 1.0, INF, 0.0, INF).status == Status.INFEASIBLE


def test_values_duals_and_reduced_costs_are_highs_own():
    found = program(cost=(1.0, 3.0), least=2.0).run()
    assert found.x == pytest.approx([2.0, 0.0]) and found.objective == pytest.approx(2.0) == found.bound
    assert found.y == pytest.approx([1.0]) and found.reduced == pytest.approx([0.0, 2.0])


def test_a_mixed_integer_program_has_a_bound_and_no_duals():
    found = program(cost=(2.0, 3.0), row=(2.0, 3.0), least=4.0, upper=5.0, integer=[True, True]).run()
    assert found.objective == pytest.approx(4.0) and found.bound == pytest.approx(4.0) and found.y.size == 0


def test_a_limit_is_said_and_is_no_optimum():
    assert program().run(time_limit=0.0).status == Status.LIMIT
    with pytest.raises(SolverError, match="limit"):
        program(simplex_iteration_limit=0, presolve="off").solve()


def test_no_rows_and_no_columns():
    assert solve_lp([1.0], np.zeros((0, 1)), [], [], [2.0], [3.0]).x == pytest.approx([2.0])
    assert solve_lp([], np.zeros((1, 0)), [-1.0], [1.0], [], []).status == Status.OPTIMAL


def test_an_unknown_option_is_refused():
    with pytest.raises(SolverError, match="magic"):
        program(magic=1)


def test_a_word_of_a_hot_start_is_confirmed_from_cold():
    lp = program()
    lp.solve()
    assert not lp.restarts
    lp.set_bounds(ALL, 0.0, 0.25)
    assert lp.solve() is None
    assert lp.restarts == {ColdRestart.STATUS: 1}
    lp.set_bounds([1], 0.0, 5.0)
    assert lp.solve().objective == pytest.approx(1.0)


def test_a_point_off_its_rows_is_not_believed(monkeypatch):
    """HiGHS's point moved off the row once: solved again from cold; moved always: refused."""
    lp = program(cost=(1.0, 3.0))
    honest, calls = lp.residual, []
    monkeypatch.setattr(lp, "residual", lambda x: calls.append(x) or (1.0 if len(calls) == 1 else honest(x)))
    assert lp.solve().objective == pytest.approx(1.0) and lp.restarts == {ColdRestart.RESIDUAL: 1}
    monkeypatch.setattr(lp, "residual", lambda x: 1.0)
    with pytest.raises(SolverError, match="residual"):
        lp.solve()


def test_the_residual_is_relative_to_the_terms_of_each_row():
    lp = LinearProgram([0.0, 0.0], [[1e6, 0.0], [0.0, 1.0]], [1e6, 1.0], INF, 0.0, 1e7)
    assert lp.residual(np.array([1.0 - 1e-7, 1.0])) == pytest.approx(1e-7, rel=1e-2)
    assert lp.residual(np.array([1.0, 0.5])) == pytest.approx(0.5 / 1.5)
    assert lp.residual(np.array([1.0, -1.0])) == pytest.approx(1.0)
    assert lp.residual(np.array([1.0, 1.0])) == 0.0


def test_duals_that_prove_nothing_are_dust_and_cost_a_cold_restart(monkeypatch):
    lp = warm()
    honest, calls = lp.safe_bound, []
    monkeypatch.setattr(lp, "safe_bound", lambda y: honest(y) - (1.0 if not calls else 0.0) + (calls.append(y) or 0.0))
    assert lp.solve().objective == pytest.approx(1.0)
    assert lp.restarts == {ColdRestart.DUST: 1} and lp.solves == 2


def test_a_basis_that_highs_refuses_is_counted_and_the_answer_is_right():
    lp = warm()
    basic = lp.solve() and lp.basis()
    assert lp.restarts == {}
    wrong = (bytes([1, 1]), bytes([1]))  # three basic variables for one row
    lp.set_basis(wrong)
    assert lp.restarts == {ColdRestart.BASIS: 1}
    assert lp.solve().objective == pytest.approx(1.0)
    lp.set_basis(basic)
    assert lp.solve().iterations == 0 and lp.restarts == {ColdRestart.BASIS: 1}


def test_a_warm_lp_names_what_it_has_not():
    lp = warm(least=30.0)
    with pytest.raises(InfeasibleError, match="no feasible point"):
        lp.solve()
    lp = warm(cost=(-1.0, 0.0))
    lp.set_bounds(ALL, 0.0, INF)
    with pytest.raises(SolverError, match="unbounded"):
        lp.solve()
