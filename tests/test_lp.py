"""The one HiGHS wrapper: what each status becomes, and cold restarts counted by reason."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp
from toy import small_market

from tritier.errors import InfeasibleError, SolverError
from tritier.inputs.instance import Design
from tritier.model.dso import leader_books
from tritier.model.market import joint_follower
from tritier.reformulation import lp as wrapper
from tritier.reformulation.joint import JointLP, day_lps, follower_lp
from tritier.reformulation.lp import (
    ALL,
    BASIC,
    ColdRestart,
    LinearProgram,
    ParametricLP,
    Status,
    WarmLP,
    parametric_lp,
    solve_lp,
)
from tritier.search.responses import follower_face

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


def test_a_point_that_is_optimal_for_the_scaled_program_only_is_solved_again_without_scaling(monkeypatch):
    """Dual infeasibility of 3e-8 in the program's own units, within HiGHS's 1e-9 in the scaled ones, once put a column
    with a reduced cost at the wrong bound; and a point off its rows from cold too gets a last attempt."""
    lp, seen = program(cost=(1.0, 3.0)), []
    run = lp._run
    monkeypatch.setattr(lp, "_run", lambda: seen.append(lp._highs.getOptionValue("simplex_scale_strategy")[1]) or run())
    usual = lp._highs.getOptionValue("simplex_scale_strategy")[1]
    with monkeypatch.context() as forged:
        forged.setattr(lp, "_tolerance", lambda: -1.0)  # nothing is within it
        assert lp.solve().objective == pytest.approx(1.0)
    assert seen == [usual, 0] != [usual, usual] and lp.restarts == {ColdRestart.SCALE: 1}
    assert lp._tolerance() == 1e-7 > 3e-8 > warm()._tolerance() == 1e-9
    assert lp.solve().objective == pytest.approx(1.0) and lp.restarts == {ColdRestart.SCALE: 1}
    honest, calls = lp.residual, []
    monkeypatch.setattr(lp, "residual", lambda x: calls.append(x) or (1.0 if len(calls) < 3 else honest(x)))
    assert lp.solve().objective == pytest.approx(1.0)
    assert lp.restarts == {ColdRestart.SCALE: 2, ColdRestart.RESIDUAL: 1}
    with monkeypatch.context() as forged:  # what is to be trusted stays where nothing without scaling is
        forged.setattr(lp, "_tolerance", lambda: -1.0)
        forged.setattr(lp, "residual", lambda x: 1.0 if seen[-1] == 0 else honest(x))
        assert lp.solve().objective == pytest.approx(1.0) and seen[-1] == 0
    assert lp.restarts == {ColdRestart.SCALE: 3, ColdRestart.RESIDUAL: 1}
    assert lp.solve().iterations == 0  # its basis too
    assert lp._highs.getOptionValue("simplex_scale_strategy")[1] == usual


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


def blurred(lp: WarmLP, monkeypatch, times: int) -> None:
    """The next points that HiGHS gives are off by up to 1e-4, their basis is right."""
    read, noise = lp._read, np.random.default_rng(7)

    def off(word):
        nonlocal times
        found, times = read(word), times - 1
        if times < 0:
            return found
        x = found.x + 1e-4 * noise.uniform(-1, 1, found.x.size)
        return replace(found, x=x, objective=found.objective + 1e-5)

    monkeypatch.setattr(lp, "_read", off)


def test_the_point_of_an_optimal_basis_is_made_exact(monkeypatch):
    """Off its rows by 1e-4, the point is found again from the basis alone: no restart, the same optimum."""
    joint, cost = peaks()
    honest = joint.warm.solve(cost)
    again = WarmLP(joint.warm.current())
    blurred(again, monkeypatch, times=1)
    found = again.solve(cost)
    assert again.refined == 1 and not again.restarts and again.solves == 1
    assert np.allclose(found.x, honest.x, atol=1e-9)
    assert found.objective == pytest.approx(honest.objective, abs=1e-9)
    assert wrapper.primal_residual(again.current(), found.x) < 1e-9


def test_the_followers_face_does_not_hold_rows_for_the_rounding_of_their_duals():
    """With duals off by 1e-8, above the 1e-9 from which on a dual holds its row, the face is the same."""
    faces, noise = [], np.random.default_rng(3)
    for off in (0.0, 1e-8):
        joint, cost = peaks()
        best = joint.warm.solve(cost)
        y, reduced = (v + off * noise.uniform(-1, 1, v.size) for v in (best.y, best.reduced))
        follower_face(joint, replace(best, y=y, reduced=reduced))
        lp = joint.warm.current()
        faces.append((lp.row_lower, lp.row_upper, lp.col_lower, lp.col_upper))
        assert (lp.row_lower == lp.row_upper).sum() > (joint.lp.row_lower == joint.lp.row_upper).sum()
    assert all(np.array_equal(clean, blurred) for clean, blurred in zip(*faces, strict=True))


def test_a_dual_that_pushes_to_a_side_which_is_not_there_holds_nothing(monkeypatch):
    """One of -1.03e-9 made a row that is bounded from below alone equal to infinity; here it is from above."""
    joint, cost = peaks()
    best = joint.warm.solve(cost)
    lp, (_, rows) = joint.warm.current(), joint.warm.nonbasic()
    row = int(np.flatnonzero(rows & np.isinf(lp.row_lower))[0])
    y = best.y.copy()
    y[row] = 2 * wrapper.ACTIVE
    monkeypatch.setattr(joint.warm, "exact", lambda found: found)
    follower_face(joint, replace(best, y=y))
    held = joint.warm.current()
    assert (held.row_lower[row], held.row_upper[row]) == (-np.inf, lp.row_upper[row])
    face = wrapper.face_of(lp, best.reduced, y)
    assert (face.row_lower[row], face.row_upper[row]) == (-np.inf, lp.row_upper[row])
    assert np.isfinite(joint.warm.solve(cost).objective)


def test_no_loss_tangent_is_held_for_the_rounding_of_its_dual(monkeypatch):
    """No agent pays for losses. One that was held left society a cost 0.02 $ above what a mixture of its points has."""
    joint, cost = peaks()
    best = joint.warm.solve(cost)
    y = best.y.copy()
    y[joint.tangent_rows] = 2 * wrapper.ACTIVE
    monkeypatch.setattr(joint.warm, "exact", lambda found: found)
    monkeypatch.setattr(joint.warm, "nonbasic", lambda: (np.zeros(cost.size, bool), np.ones(y.size, bool)))
    follower_face(joint, replace(best, y=y))
    held = joint.warm.current()
    assert joint.tangent_rows.size and np.isinf(held.row_upper[joint.tangent_rows]).all()


def test_a_refined_point_is_believed_no_more_than_another(monkeypatch):
    """From a basis that is not that of the point, or is singular, comes no point that keeps the rows and bounds; asked
    for an exact one, the solver's own stays."""
    joint, cost = peaks()
    honest = joint.warm.solve(cost)
    columns, rows = joint.warm.basis()
    basic = [k for k, status in enumerate(columns) if status == BASIC]
    other = next(k for k, status in enumerate(columns) if status != BASIC)
    wrong = bytearray(columns)
    wrong[basic[0]], wrong[other] = wrong[other], BASIC
    for basis in ((bytes(wrong), rows), (columns, bytes([BASIC]) * len(rows)), None):
        again = WarmLP(joint.warm.current())
        with monkeypatch.context() as forged:
            blurred(again, forged, times=1)
            forged.setattr(again, "_basis_at", lambda x, basis=basis: basis)
            found = again.solve(cost)
            forged.setattr(again, "_basis", basis)
            assert again.exact(found) is found
        assert again.restarts == {ColdRestart.RESIDUAL: 1}
        assert found.objective == pytest.approx(honest.objective, abs=1e-9)


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


def peaks(tariff: float = 0.08, peak: float = 0.1) -> tuple[JointLP, np.ndarray]:
    """A market billed by scenario with a charge on everybody's peak, and the follower's cost at a design."""
    instance = small_market(billing="scenario", tie_break=1e-3)
    joint = JointLP(replace(instance, menu=replace(instance.menu, peak=(0.0, 0.1, 0.5))))
    design = Design((tariff,) * 3, 0.02, ((1, 1000.0),), peak=peak)
    joint.set_design(design)
    return joint, joint.cost(design)


def test_what_the_simplex_cannot_answer_is_begun_by_an_interior_point(monkeypatch):
    """Three points off their rows, from the basis, from cold and without scaling, and refined each time, as on one day
    of the electrified study: the fourth begins elsewhere, and has to be exact as they had."""
    joint, cost = peaks()
    right = joint.warm.solve(cost).objective
    honest, off = joint.warm.distrust, []

    def distrust(found, times):
        off.append(joint.warm._inside)
        return ColdRestart.RESIDUAL if len(off) <= times else honest(found)

    monkeypatch.setattr(joint.warm, "distrust", lambda found: distrust(found, 6))
    assert joint.warm.solve(cost).objective == pytest.approx(right, rel=1e-9)
    assert off == [*[False] * 6, True] and joint.warm.restarts[ColdRestart.INSIDE] == 1
    off.clear()
    monkeypatch.setattr(joint.warm, "distrust", lambda found: distrust(found, 8))
    with pytest.raises(SolverError, match="residual"):
        joint.warm.solve(cost)


@pytest.mark.parametrize("patience", [0, 1, 40])
def test_a_solve_that_loses_patience_ends_at_the_same_objective(patience, monkeypatch):
    joint, cost = peaks()
    patient = joint.warm.solve(cost)
    assert patient.iterations > 40 and not joint.warm.restarts
    monkeypatch.setattr(wrapper, "PATIENCE", patience)
    joint, cost = peaks()
    hasty = joint.warm.solve(cost)
    assert joint.warm.restarts == {ColdRestart.SLOW: 1}
    assert joint.warm._highs.getOptionValue("simplex_strategy")[1] == wrapper.STRATEGY["primal"]
    assert hasty.objective == pytest.approx(patient.objective, rel=1e-9)
    assert joint.warm.safe_bound(hasty.y) == pytest.approx(hasty.objective, rel=1e-6)
    joint.warm.set_basis(joint.warm.basis())
    assert joint.warm.solve(cost).iterations == 0, "what it ends with is the basis of the optimum"


def test_from_an_interior_points_end_the_primal_simplex_goes_on_and_only_from_there():
    """It is feasible there: the dual simplex would give that up for reduced costs that are off by a millionth."""
    joint, cost = peaks()
    best = joint.warm.solve(cost)
    strategy = lambda: joint.warm._highs.getOptionValue("simplex_strategy")[1]  # noqa: E731
    assert strategy() == wrapper.STRATEGY["dual"]
    joint.warm.start_inside(cost)
    again = joint.warm.solve(cost)
    assert strategy() == wrapper.STRATEGY["primal"] and again.iterations < best.iterations / 10
    assert again.objective == pytest.approx(best.objective, rel=1e-9)
    joint.warm.solve(cost)
    assert strategy() == wrapper.STRATEGY["dual"]
    joint.warm.start_inside(cost)
    joint.warm.set_basis(joint.warm.basis())
    joint.warm.solve(cost)
    assert strategy() == wrapper.STRATEGY["dual"], "a basis that is set is anybody's"


@pytest.mark.parametrize("large", [0, 10**9])
def test_a_large_lp_without_a_basis_begins_inside(large, monkeypatch):
    monkeypatch.setattr(wrapper, "LARGE", large)
    joint, cost = peaks()
    inside = []
    monkeypatch.setattr(
        joint.warm, "start_inside", lambda c: (inside.append(c), type(joint.warm).start_inside(joint.warm, c))
    )
    first = joint.warm.solve(cost)
    assert len(inside) == (large == 0)
    assert joint.warm.solve(cost).objective == pytest.approx(first.objective, rel=1e-9)
    assert len(inside) == (large == 0), "the second has a basis"
    n = int(joint.lp.at("N"))
    joint.warm.set_bounds(np.array([n]), -1.0, -1.0)
    with pytest.raises(InfeasibleError, match="no feasible point"):
        joint.warm.solve(cost)


def test_patience_is_of_each_solve(monkeypatch):
    """Many warm solves, each short, lose none of it together."""
    joint, cost = peaks()
    longest = joint.warm.solve(cost).iterations
    monkeypatch.setattr(wrapper, "PATIENCE", longest + 1)
    total = 0
    for k in range(40):
        design = Design((0.02 + 0.12 * (k % 2),) * 3, 0.02, ((1, 1000.0),), peak=0.5 * (k % 2))
        joint.set_design(design)
        total += joint.warm.solve(joint.cost(design)).iterations
    assert total > longest + 1 and not joint.warm.restarts


@pytest.mark.parametrize("patience", [0, 1, wrapper.PATIENCE])
def test_impatience_makes_no_infeasible_lp_feasible(patience, monkeypatch):
    monkeypatch.setattr(wrapper, "PATIENCE", patience)
    joint, cost = peaks()
    joint.warm.solve(cost)
    n = int(joint.lp.at("N"))
    joint.warm.set_bounds(np.array([n]), -1.0, -1.0)  # the network earns a dollar
    with pytest.raises(InfeasibleError, match="no feasible point"):
        joint.warm.solve(cost)
    joint.warm.set_bounds(np.array([n]), joint.lp.col_lower[n], joint.lp.col_upper[n])
    assert joint.warm.solve(cost).x[n] > 0, "and it is solved again once it is feasible"


@pytest.mark.parametrize("patience", [0, wrapper.PATIENCE])
def test_a_wrong_basis_does_not_survive(patience, monkeypatch):
    """One that is none, and one that is far away: the objective is the same, the basis kept is the optimum's."""
    joint, cost = peaks()
    best = joint.warm.solve(cost)
    away, far = peaks(0.4, 3.0)
    away.warm.solve(far)
    columns, rows = joint.warm.basis()
    wrong = bytes([BASIC] * len(columns)), rows
    monkeypatch.setattr(wrapper, "PATIENCE", patience)
    for basis, restarts in ((wrong, {ColdRestart.BASIS: 1}), (away.warm.basis(), {})):
        joint, cost = peaks()
        joint.warm.set_basis(basis)
        found = joint.warm.solve(cost)
        assert found.objective == pytest.approx(best.objective, rel=1e-9)
        assert joint.warm.restarts == restarts | ({} if patience else {ColdRestart.SLOW: 1})
        joint.warm.set_basis(joint.warm.basis())
        assert joint.warm.solve(cost).iterations == 0


@pytest.mark.parametrize("rules", [{}, {"billing": "scenario", "peak_with_losses": True}], ids=str)
def test_a_problem_in_row_form_is_cvxpys_own(rules):
    """Entry by entry and in the same order: bases are stored for it."""
    follower = joint_follower(small_market(**rules))
    rows = [*follower.rows, *leader_books(follower)[1]]
    problem = cp.Problem(cp.Minimize(follower.books.R + 0 * cp.sum(follower.books.cap)), [c for _, c in rows])
    assert bool(problem.parameters()) == bool(rules), "prices in the rows of costs"
    ours = parametric_lp(problem, {c.id: label for label, c in rows})
    data, _, _ = problem.get_problem_data(cp.HIGHS)
    assert np.array_equal(ours.matrix.toarray(), data["A"].toarray()) and ours.matrix.nnz == data["A"].nnz
    for name, theirs in (
        ("cost", "c"),
        ("row_upper", "b"),
        ("col_lower", "lower_bounds"),
        ("col_upper", "upper_bounds"),
    ):
        assert np.array_equal(getattr(ours, name), data[theirs])
    assert np.array_equal(np.flatnonzero(np.isfinite(ours.row_lower)), np.arange(data["dims"].zero))
    place = data["param_prob"].var_id_to_col
    assert ours.columns == {v.name(): (place[v.id], v.shape) for v in problem.variables()}
    assert list(ours.rows) == [{c.id: label for label, c in rows}[c.id] for c in data["param_prob"].constraints]


@pytest.mark.parametrize("peaks", [False, True], ids=["", "peaks"])
@pytest.mark.parametrize(
    "rules", [{}, {"billing": "scenario", "peak_with_losses": True}, {"trade": "by_scenario"}], ids=str
)
def test_days_written_together_are_those_written_alone(rules, peaks):
    """Entry by entry and name by name, passive loads and all; on one day a prosumer has no vehicles."""
    market = small_market(scenarios=5, **rules)
    rng, asked = np.random.default_rng(5), np.zeros((3, 2, 4, 5))
    asked[0, 0, :, 1:] = rng.uniform(1, 9, (4, 4))
    passive = rng.uniform(0, 30, market.days.passive_kw.shape)
    passive[market.prosumer_bus] = 0
    days = replace(market.days, passive_kw=passive, deferrable_kw=asked, plugged_kw=np.full(asked.shape, 10.0))
    if peaks:
        market = replace(market, menu=replace(market.menu, peak=(0.0, 0.1), coincident=(0.0, 0.1)))
    together = day_lps(market.on(days))
    assert len(together) == 5 and "ev[P2]" not in together[0].columns and "ev[P2]" in together[1].columns
    for k, ours in enumerate(together):
        alone = follower_lp(market.on(days.select([k])))
        assert list(ours.columns.items()) == list(alone.columns.items())
        assert list(ours.rows.items()) == list(alone.rows.items())
        assert abs(ours.matrix - alone.matrix).max() <= 1e-15
        for name in ("cost", "row_lower", "row_upper", "col_lower", "col_upper"):
            assert getattr(ours, name) == pytest.approx(getattr(alone, name), abs=1e-12), name


@pytest.mark.parametrize("bent", [cp.abs, cp.square, cp.norm], ids=lambda f: f.__name__)
def test_a_problem_that_is_not_linear_has_no_row_form(bent):
    x = cp.Variable(2, bounds=[0, 1])
    problems = [cp.Problem(cp.Minimize(cp.sum(bent(x)))), cp.Problem(cp.Minimize(cp.sum(x)), [cp.sum(bent(x)) <= 1])]
    problems.append(cp.Problem(cp.Minimize(cp.sum(x)), [cp.SOC(x[0], x)]))
    for problem in problems:
        with pytest.raises(SolverError, match="not linear"):
            parametric_lp(problem, {})
