"""Two-stage robust optimisation by column-and-constraint generation (Zeng and Zhao, 2013).

The problem is ``min c.y + sum_d max_{u in U_d} min_x q_d.x`` over first-stage decisions y and recourse x. Each term
d is a :class:`Recourse` with its own uncertainty set: the worst cases of representative days are found apart.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed

from tritier.errors import CertificateError, InfeasibleError, SolverError
from tritier.linear import LinearProgram
from tritier.robust_problem import Recourse, RecourseProgram, TwoStage, WorstCase


@dataclass(frozen=True)
class Iteration:
    """Bounds after one pass of master and adversaries, and what they cost."""

    iteration: int
    lower_bound: float
    upper_bound: float
    scenarios: int
    seconds: float
    master_seconds: float
    adversary_seconds: float


@dataclass(frozen=True, eq=False)
class RobustSolution:
    """Decisions with proven bounds; ``worst[d]`` is the worst case of term d at y, of cost ``worst_value[d]``."""

    y: np.ndarray
    lower_bound: float
    upper_bound: float
    worst: tuple[np.ndarray, ...]
    worst_value: tuple[float, ...]
    scenarios: tuple[tuple[int, np.ndarray], ...]
    trace: tuple[Iteration, ...]

    @property
    def gap(self) -> float:
        """Upper minus lower bound, relative to the upper bound (1 at least)."""
        return (self.upper_bound - self.lower_bound) / max(1.0, abs(self.upper_bound))


def master_program(problem: TwoStage, scenarios: list[tuple[int, np.ndarray]], method: str = "choose") -> LinearProgram:
    """Master over (y, theta_d, one recourse block x per scenario): ``theta_d >= q_d.x`` and the block's rows."""
    first, terms = problem.first, problem.recourse
    n, d = first.cost.size, len(terms)
    widths = [terms[k].cost.size for k, _ in scenarios]
    rows = [sp.hstack([first.rows, sp.csr_matrix((first.rows.shape[0], d + sum(widths)))])]
    low, high = [first.row_lower], [first.row_upper]
    offset = 0
    for (k, u), width in zip(scenarios, widths, strict=True):
        term, after = terms[k], sum(widths) - offset - width
        height = term.G.shape[0]
        pick = sp.csr_matrix(([1.0], ([0], [k])), shape=(1, d))
        epigraph = [sp.csr_matrix((1, n)), pick, sp.csr_matrix((1, offset)), sp.csr_matrix(-term.cost)]
        block = [term.first_stage_matrix(u), sp.csr_matrix((height, d + offset)), term.G]
        rows.append(sp.hstack([*epigraph, sp.csr_matrix((1, after))]))
        rows.append(sp.hstack([*block, sp.csr_matrix((height, after))]))
        right = term.h - term.M @ u
        low += [np.zeros(1), right]
        high += [np.full(1, np.inf), np.where(term.equality, right, np.inf)]
        offset += width
    cost = np.r_[first.cost, np.ones(d), np.zeros(offset)]
    lower = np.r_[first.lower, [term.floor for term in terms], np.zeros(offset)]
    upper = np.r_[first.upper, np.full(d + offset, np.inf)]
    integer = np.r_[first.integer, np.zeros(d + offset, dtype=bool)]
    matrix = sp.vstack(rows, format="csr")
    return LinearProgram(cost, matrix, np.concatenate(low), np.concatenate(high), lower, upper, integer, method)


def solve_master(problem: TwoStage, scenarios: list[tuple[int, np.ndarray]], method: str = "choose", reference=None):
    """Decision y and a lower bound of the robust optimum from the scenarios found so far.

    A master has many optima, and some are poor on scenarios not found yet. With ``reference``, one point u per term,
    the master's optimum of least cost at these points is taken (the Pareto idea of Iancu and Trichakis, 2014); the
    bound stays the same.
    """
    program = master_program(problem, scenarios, method)
    answer = program.solve()
    if answer is None:
        raise InfeasibleError("no first-stage decision is feasible in all scenarios found")
    n, d = problem.first.cost.size, len(problem.recourse)
    if reference is None:
        return answer.x[:n], answer.bound
    # the same master with a second copy of every term, whose epigraph sees the reference points only
    doubled = TwoStage(problem.first, problem.recourse * 2)
    extra = [(d + k, np.asarray(u, dtype=float)) for k, u in enumerate(reference)]
    second = master_program(doubled, [*scenarios, *extra], method)
    first_cost = np.r_[problem.first.cost, np.ones(d), np.zeros(second.cost.size - n - d)]
    late_cost = np.r_[problem.first.cost, np.zeros(d), np.ones(d), np.zeros(second.cost.size - n - 2 * d)]
    matrix = sp.vstack([second.matrix, sp.csr_matrix(first_cost)], format="csr")
    low, high = np.r_[second.row_lower, -np.inf], np.r_[second.row_upper, answer.value]
    tied = LinearProgram(late_cost, matrix, low, high, second.lower, second.upper, second.integer, method).solve()
    return (answer if tied is None else tied).x[:n], answer.bound


def column_and_constraint_generation(
    problem: TwoStage,
    adversary,
    gap: float = 1e-6,
    max_iterations: int = 50,
    start=(),
    method: str = "choose",
    reference=None,
    time_limit: float = np.inf,
    jobs: int = 1,
    refine=None,
    progress=None,
) -> RobustSolution:
    """Master and adversaries in turn until the bounds meet :eq:`eq-ccg`.

    Args:
        problem: first stage and recourse terms.
        adversary: function (recourse, y) -> :class:`WorstCase`, the worst case of a term at y (see ``adversary.py``).
        gap: relative distance of the bounds at which to stop.
        max_iterations: passes before giving up with the bounds reached.
        start: (term, u) pairs put into the first master; none as in Zeng and Zhao.
        method: HiGHS method of the master ("choose", "simplex" or "ipm").
        reference: one point u per term that decides among optimal masters (:func:`solve_master`); None takes any.
        time_limit: seconds after which no further pass starts.
        jobs: adversaries of different terms at a time (threads; HiGHS works outside the interpreter's lock).
        refine: function () -> :class:`TwoStage` or None, asked after every pass: the problem with the rows that were
            left out and that the decision just tried has turned out to break. Leaving rows out only lowers the lower
            bound; a pass that needed some gives no upper bound.
        progress: function (:class:`Iteration`, scenarios), called after every pass.

    Raises:
        InfeasibleError: no first-stage decision is feasible.
        SolverError: no feasible decision was found within the limits.
    """
    began = time.perf_counter()
    scenarios = [(k, np.asarray(u, dtype=float)) for k, u in start]
    trace: list[Iteration] = []
    upper, best = np.inf, None
    for iteration in range(1, max_iterations + 1):
        tick = time.perf_counter()
        y, lower = solve_master(problem, scenarios, method, reference)
        mid = time.perf_counter()
        found = Parallel(n_jobs=jobs, prefer="threads")(delayed(worst_case)(t, y, adversary) for t in problem.recourse)
        terms, larger = problem.recourse, refine() if refine else None
        value = float(problem.first.cost @ y + sum(worst.bound for worst in found))
        if larger is not None:
            problem = larger
        elif all(worst.feasible for worst in found) and value < upper:
            upper, best = value, (y, found)
        end = time.perf_counter()
        trace.append(Iteration(iteration, lower, upper, len(scenarios), end - began, mid - tick, end - mid))
        known = len(scenarios)
        scenarios += [
            (k, worst.u)
            for k, (term, worst) in enumerate(zip(terms, found, strict=True))
            if not _idle(term, worst) and not _known(scenarios, k, worst.u)
        ]
        if progress:
            progress(trace[-1], scenarios)
        closed = np.isfinite(upper) and upper - lower <= gap * max(1.0, abs(upper))
        if closed or end - began > time_limit or (larger is None and len(scenarios) == known):
            break
    if best is None:
        raise SolverError(f"no decision with a feasible recourse on the whole set after {len(trace)} iterations")
    y, found = best
    worst, costs = tuple(case.u for case in found), tuple(float(case.value) for case in found)
    return RobustSolution(y, lower, upper, worst, costs, tuple(scenarios), tuple(trace))


def _idle(term: Recourse, worst: WorstCase) -> bool:
    """A worst case that costs no more than the floor cannot raise the master's bound."""
    return worst.feasible and worst.value <= term.floor + 1e-9 * (1.0 + abs(term.floor))


def _known(scenarios, term: int, u: np.ndarray) -> bool:
    return any(k == term and np.allclose(u, v, atol=1e-9) for k, v in scenarios)


def worst_case(recourse: Recourse, y: np.ndarray, adversary, tolerance: float = 1e-7) -> WorstCase:
    """Worst case of one term at y; not feasible, with the infeasibility as value, if some u leaves no recourse."""
    if not recourse.complete:
        blocked = adversary(recourse.phase_one(), y)
        if blocked.value > tolerance * (1.0 + np.max(abs(recourse.h), initial=0.0)):
            return replace(blocked, feasible=False)
    return adversary(recourse, y)


def enumeration_optimum(problem: TwoStage, method: str = "choose") -> tuple[np.ndarray, float]:
    """Robust optimum as one program with a recourse block for every vertex of every set (small sets only)."""
    scenarios = [(k, u) for k, term in enumerate(problem.recourse) for u in term.uncertainty.vertices()]
    return solve_master(problem, scenarios, method)


def certify_robust(
    problem: TwoStage, solution: RobustSolution, tolerance: float = 1e-6, vertex_limit: int = 4000
) -> dict:
    """Certificate of a robust solution, from the problem data alone.

    The recourse is re-solved cold at each worst case returned; every vertex of a set with at most ``vertex_limit`` of
    them is solved, and none may cost more (the recourse cost is convex in u, so vertices suffice).

    Raises:
        CertificateError: a figure is beyond ``tolerance`` (relative to 1 + its absolute value).
    """
    resolve = beyond = outside = 0.0
    checked, listed = 0, True
    for term, u, value in zip(problem.recourse, solution.worst, solution.worst_value, strict=True):
        scale = 1.0 + abs(value)
        program = RecourseProgram(term, solution.y)
        cold = program.solve(u)
        resolve = max(resolve, np.inf if cold is None else abs(cold.value - value) / scale)
        outside = max(outside, term.uncertainty.excess(u))
        points = term.uncertainty.vertices() if term.uncertainty.vertex_bound <= vertex_limit else []
        listed = listed and len(points) > 0
        checked += len(points)
        for point in points:
            answer = program.solve(point)
            beyond = max(beyond, np.inf if answer is None else (answer.value - value) / scale)
    first = problem.first
    act = first.rows @ solution.y
    violation = np.max(
        np.r_[first.row_lower - act, act - first.row_upper, first.lower - solution.y, solution.y - first.upper],
        initial=0.0,
    )
    total = first.cost @ solution.y + sum(solution.worst_value)
    figures = {
        "recourse_resolved": float(resolve),
        "worst_vertex_excess": float(beyond),
        "outside_uncertainty_set": float(outside),
        "first_stage_violation": float(violation),
        "upper_bound_mismatch": float(abs(total - solution.upper_bound) / (1.0 + abs(total))),
    }
    for name, figure in figures.items():
        if figure > tolerance:
            raise CertificateError(f"robust.{name}", figure, tolerance)
    bounds = {"lower_bound": float(solution.lower_bound), "upper_bound": float(solution.upper_bound)}
    counts = {"vertices_checked": checked, "every_vertex_checked": listed}
    return figures | bounds | {"gap_relative": float(solution.gap)} | counts
