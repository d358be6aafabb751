"""Two-stage robust optimisation by column-and-constraint generation (Zeng and Zhao, 2013).

The problem is ``min c.y + sum_d max_{u in U_d} min_x q_d.x`` over first-stage decisions y and recourse x. Each term
d is a :class:`Recourse` with its own uncertainty set: the worst cases of representative days are found apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import comb
from typing import Any, Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from scipy.spatial import HalfspaceIntersection

from tritier.errors import CertificateError, InfeasibleError, SolverError
from tritier.reformulation.lp import ALL, LinearProgram, LPSolution, Status, solve_lp

CROSSED = 1e-6  # relative: how far the lower bound may pass the upper one by rounding

# Polyhedral uncertainty sets, and their vertices.


@dataclass(frozen=True, eq=False)
class UncertaintySet:
    """``{u in [0, 1]^K : rows u <= right}``; ``binary`` says that every vertex has 0/1 entries."""

    size: int
    rows: np.ndarray
    right: np.ndarray
    binary: bool = False
    pairs: int = 0
    budget: float = np.inf

    @property
    def vertex_bound(self) -> int:
        """At least the number of vertices: counted for budget sets, choices of K tight rows otherwise."""
        if self.pairs:
            full = int(self.budget)
            whole = sum(comb(self.pairs, count) * 2**count for count in range(full + 1))
            return whole + (self.budget > full) * comb(self.pairs, full) * 2**full * 2 * (self.pairs - full)
        return comb(2 * self.size + self.right.size, self.size)

    def excess(self, u: np.ndarray) -> float:
        """Largest violation of a row or a box by the point u (0 inside)."""
        inside = np.max(self.rows @ u - self.right, initial=0.0)
        return float(max(inside, np.max(-u, initial=0.0), np.max(u - 1.0, initial=0.0)))

    def vertices(self) -> np.ndarray:
        """Points whose convex hull is the set, shape (V, K): written down for budget sets, else by half-spaces."""
        if self.size == 0:
            return np.zeros((1, 0))
        if self.pairs:
            return budget_vertices(self.pairs, self.budget)
        return polytope_vertices(self)


def box_with_rows(size: int, rows: ArrayLike, right: ArrayLike) -> UncertaintySet:
    """A set inside the unit box cut by general rows ``rows u <= right``."""
    return UncertaintySet(size, np.reshape(np.asarray(rows, dtype=float), (-1, size)), np.asarray(right, dtype=float))


def budget_set(factors: int, budget: float) -> UncertaintySet:
    """Budgeted set of Bertsimas and Sim over ``factors`` two-sided factors, as u = (up, down) of size 2 K.

    ``up_k + down_k <= 1`` and ``sum(up + down) <= budget``. Factor k deviates upwards by ``up_k`` of its largest
    rise and downwards by ``down_k`` of its largest fall, so that the two sides may differ. The rows form a laminar
    family: with an integer budget every vertex has 0/1 entries.
    """
    pair = np.hstack([np.eye(factors), np.eye(factors)])
    total = np.ones((1, 2 * factors))
    limit = float(min(max(budget, 0.0), factors))
    right = np.r_[np.ones(factors), limit]
    return UncertaintySet(2 * factors, np.vstack([pair, total]), right, limit == int(limit), factors, limit)


def budget_vertices(factors: int, budget: float) -> np.ndarray:
    """Vertices of :func:`budget_set`, shape (V, 2 K): every choice of at most ``budget`` factors with a side each, and,
    where the budget is fractional, one more factor at the remainder."""
    full = int(budget)
    rest = budget - full
    points = []
    for count in range(full + 1):
        for chosen, sides in product(combinations(range(factors), count), product((0, 1), repeat=count)):
            base = np.zeros(2 * factors)
            base[[k + side * factors for k, side in zip(chosen, sides, strict=True)]] = 1.0
            points.append(base)
            if count == full and rest > 0:
                for extra, side in product(sorted(set(range(factors)) - set(chosen)), (0, 1)):
                    point = base.copy()
                    point[extra + side * factors] = rest
                    points.append(point)
    return np.array(points)


def polytope_vertices(uncertainty: UncertaintySet) -> np.ndarray:
    """Vertices of a full-dimensional set by half-space intersection around its Chebyshev centre."""
    identity = np.eye(uncertainty.size)
    normal = np.vstack([uncertainty.rows, identity, -identity])
    right = np.r_[uncertainty.right, np.ones(uncertainty.size), np.zeros(uncertainty.size)]
    rows, free = np.c_[normal, np.linalg.norm(normal, axis=1)], np.full(uncertainty.size, -np.inf)
    radius = solve_lp(np.r_[np.zeros(uncertainty.size), -1.0], rows, -np.inf, right, np.r_[free, 0.0], np.inf)
    if radius.status != Status.OPTIMAL or radius.x[-1] < 1e-9:
        raise SolverError("the uncertainty set is empty or flat: its vertices cannot be listed by half-spaces")
    halfspaces = HalfspaceIntersection(np.c_[normal, -right], radius.x[:-1])
    return np.unique(np.round(halfspaces.intersections, 12), axis=0)


# Two-stage robust problems: first stage, recourse terms, and the recourse solved at a given decision and point.


@dataclass(frozen=True, eq=False)
class FirstStage:
    """``min cost.y  s.t.  row_lower <= rows y <= row_upper, lower <= y <= upper``, y integer where flagged."""

    cost: np.ndarray
    rows: sp.spmatrix
    row_lower: np.ndarray
    row_upper: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    integer: np.ndarray


@dataclass(frozen=True, eq=False)
class Recourse:
    """``min cost.x  s.t.  G x + (E + sum_k u_k E_k) y + M u >= h`` (``=`` where flagged), ``x >= 0``.

    ``upper`` (m,) and ``slack_upper`` (r,) are boxes that no optimal recourse touches, ``dual_upper`` (r,) bounds the
    multipliers of an optimal dual: the adversaries need them and check that nothing rests on them. ``complete``
    declares that every y and u leave a feasible recourse. ``floor`` is a lower bound of the optimal cost. ``source``
    is what the rows were written from, for an adversary that knows more than the rows.
    """

    cost: np.ndarray
    G: sp.csr_matrix
    E: sp.csr_matrix
    M: sp.csr_matrix
    h: np.ndarray
    equality: np.ndarray
    uncertainty: UncertaintySet
    upper: np.ndarray
    slack_upper: np.ndarray
    dual_upper: np.ndarray
    E_u: tuple[sp.csr_matrix, ...] = ()
    complete: bool = True
    floor: float = 0.0
    source: object = None

    def first_stage_matrix(self, u: np.ndarray) -> sp.csr_matrix:
        """``E(u) = E + sum_k u_k E_k``."""
        matrix = self.E
        for k, part in enumerate(self.E_u):
            if u[k]:
                matrix = matrix + u[k] * part
        return sp.csr_matrix(matrix)

    def at(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows seen by the adversary at y: ``G x >= h0 - H u``; returns h0 (r,) and H (r, K)."""
        h0 = self.h - self.E @ y
        H = self.M.toarray()
        for k, part in enumerate(self.E_u):
            H[:, k] += part @ y
        return h0, H

    def phase_one(self) -> Recourse:
        """The same rows with an elastic column each, paid at 1: its optimal cost is zero where the recourse is
        feasible."""
        rows = self.G.shape[0]
        G = sp.hstack([self.G, sp.identity(rows), -sp.identity(rows, format="csc")[:, self.equality]]).tocsr()
        extra = rows + int(self.equality.sum())
        room = np.r_[self.slack_upper, self.slack_upper[self.equality]]
        return replace(
            self,
            cost=np.r_[np.zeros(self.cost.size), np.ones(extra)],
            G=G,
            complete=True,
            floor=0.0,
            upper=np.r_[self.upper, room],
            dual_upper=np.ones(rows),
        )


@dataclass(frozen=True, eq=False)
class TwoStage:
    """A first stage and the recourse terms whose worst cases are added up."""

    first: FirstStage
    recourse: tuple[Recourse, ...]


@dataclass(frozen=True, eq=False)
class WorstCase:
    """What an adversary finds: a point u, the recourse cost there, and a bound no point of the set exceeds."""

    u: np.ndarray
    value: float
    bound: float
    feasible: bool = True


# A term by its position and a point of its set; what finds the worst of them at a decision.
Scenario = tuple[int, np.ndarray]
Adversary = Callable[[Recourse, np.ndarray], WorstCase]


@runtime_checkable
class Learning(Protocol):
    """An adversary that remembers what it learnt of each term, and can be told what a part of it learnt."""

    @property
    def learnt(self) -> Any: ...

    def __call__(self, recourse: Recourse, y: np.ndarray) -> WorstCase: ...

    def part(self, recourse: Recourse) -> Adversary: ...

    def learn(self, learnt: Any) -> None: ...


class RecourseProgram:
    """The recourse of one term at a fixed y, solved at many u with a warm basis (only right-hand sides change).

    Inequality rows with a single entry become bounds of their column: in a dispatch most rows are capacities, and the
    basis shrinks to those that couple columns.
    """

    def __init__(self, recourse: Recourse, y: np.ndarray) -> None:
        self.h0, self.H = recourse.at(y)
        G = recourse.G
        single = (np.diff(G.indptr) == 1) & ~recourse.equality
        self.single, self.coupled = np.flatnonzero(single), np.flatnonzero(~single)
        first = G.indptr[self.single]
        self.column, self.factor = G.indices[first], G.data[first]
        self.equality = recourse.equality[self.coupled]
        low, high, lower, upper = self._limits(self.h0, G.shape[1])
        coupling = G[self.coupled]
        self.program = LinearProgram(recourse.cost, coupling, low, high, lower, upper, method="simplex")

    def _limits(self, right: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Row limits of the coupling rows and bounds of all columns, at right-hand sides (r,)."""
        low = right[self.coupled]
        value = right[self.single] / self.factor
        above, lower, upper = self.factor > 0, np.zeros(columns), np.full(columns, np.inf)
        np.maximum.at(lower, self.column[above], value[above])
        np.minimum.at(upper, self.column[~above], value[~above])
        return low, np.where(self.equality, low, np.inf), lower, upper

    def solve(self, u: np.ndarray) -> LPSolution | None:
        """The optimal recourse at u, or None if there is none; its duals are those of the coupling rows."""
        return self.solve_at(self.h0 - self.H @ u)

    def solve_at(self, right: np.ndarray) -> LPSolution | None:
        """The optimal recourse at right-hand sides (r,), or None if there is none."""
        low, high, lower, upper = self._limits(right, self.program.cost.size)
        if np.any(lower > upper + 1e-9 * (1.0 + abs(lower))):
            return None
        self.program.set_rows(ALL, low, high)
        self.program.set_bounds(ALL, lower, np.maximum(lower, upper))
        return self.program.solve()


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
    scenarios: tuple[Scenario, ...]
    trace: tuple[Iteration, ...]

    @property
    def gap(self) -> float:
        return relative_gap(self.lower_bound, self.upper_bound)


def relative_gap(lower: float, upper: float) -> float:
    """Upper minus lower bound, relative to the upper bound (1 at least)."""
    return (upper - lower) / max(1.0, abs(upper))


def master_program(problem: TwoStage, scenarios: list[Scenario], method: str = "choose") -> LinearProgram:
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


def solve_master(problem: TwoStage, scenarios: list[Scenario], method: str = "choose") -> tuple[np.ndarray, float]:
    """Decision y and a lower bound of the robust optimum from the scenarios found so far.

    Raises InfeasibleError where no first-stage decision is feasible in all of them.
    """
    optimum = master_program(problem, scenarios, method).solve()
    if optimum is None:
        raise InfeasibleError("no first-stage decision is feasible in all scenarios found")
    return optimum.x[: problem.first.cost.size], optimum.bound


def column_and_constraint_generation(
    problem: TwoStage,
    adversary: Adversary,
    gap: float = 1e-6,
    max_iterations: int = 50,
    start: Iterable[Scenario] = (),
    method: str = "choose",
    jobs: int = 1,
    refine: Callable[[], TwoStage | None] | None = None,
    progress: Callable[[Iteration, Sequence[Scenario]], None] | None = None,
) -> RobustSolution:
    """Master and adversaries in turn until the bounds meet :eq:`eq-ccg`.

    Args:
        problem: first stage and recourse terms.
        adversary: function (recourse, y) -> :class:`WorstCase`, the worst case of a term at y (see ``adversary.py``).
        gap: relative distance of the bounds at which to stop.
        max_iterations: passes before giving up.
        start: (term, u) pairs put into the first master; none as in Zeng and Zhao.
        method: HiGHS method of the master ("choose", "simplex" or "ipm").
        jobs: processes that share the terms.
        refine: function () -> :class:`TwoStage` or None, asked after every pass: the problem with the rows that were
            left out and that the decision just tried has turned out to break. Leaving rows out only lowers the lower
            bound; a pass that needed some gives no upper bound.
        progress: function (:class:`Iteration`, scenarios), called after every pass.

    Raises:
        InfeasibleError: no first-stage decision is feasible.
        CertificateError: the bounds have not met when the passes run out, or no pass has anything new.
    """
    began = time.perf_counter()
    scenarios = [(k, np.asarray(u, dtype=float)) for k, u in start]
    trace: list[Iteration] = []
    upper = np.inf
    best: tuple[np.ndarray, list[WorstCase]] | None = None
    for iteration in range(1, max_iterations + 1):
        tick = time.perf_counter()
        y, lower = solve_master(problem, scenarios, method)
        mid = time.perf_counter()
        found = sweep_terms(problem.recourse, y, adversary, jobs)
        terms, larger = problem.recourse, refine() if refine else None
        value = float(problem.first.cost @ y + sum(worst.bound for worst in found))
        if larger is not None:
            problem = larger
        elif all(worst.feasible for worst in found) and value < upper:
            upper, best = value, (y, found)
        end = time.perf_counter()
        trace.append(Iteration(iteration, lower, upper, len(scenarios), end - began, mid - tick, end - mid))
        new = _new_scenarios(terms, found, scenarios)
        scenarios += new
        if progress:
            progress(trace[-1], scenarios)
        left = relative_gap(lower, upper) if np.isfinite(upper) else np.inf
        if left <= gap or (larger is None and not new):
            break
    if best is None or not -CROSSED <= left <= gap:
        detail = f"bounds {lower:.9g}, {upper:.9g} after {iteration} passes"
        raise CertificateError("robust.gap", abs(left), gap, detail)
    y, worst, costs = best[0], tuple(case.u for case in best[1]), tuple(float(case.value) for case in best[1])
    return RobustSolution(y, lower, upper, worst, costs, tuple(scenarios), tuple(trace))


def _new_scenarios(
    terms: Sequence[Recourse], found: Sequence[WorstCase], scenarios: Sequence[Scenario]
) -> list[Scenario]:
    """Worst cases that the master has not seen and that can raise its bound: those that cost more than the floor."""
    new = []
    for k, (term, worst) in enumerate(zip(terms, found, strict=True)):
        idle = worst.feasible and worst.value <= term.floor + 1e-9 * (1.0 + abs(term.floor))
        if not idle and not any(k == j and np.allclose(worst.u, v, atol=1e-9) for j, v in scenarios):
            new.append((k, worst.u))
    return new


def sweep_terms(terms: Iterable[Recourse], y: np.ndarray, adversary: Adversary, jobs: int = 1) -> list[WorstCase]:
    """Worst case of every term at y, in ``jobs`` processes.

    An adversary that remembers has a ``part`` for each term, which knows what it learnt of that term and nothing else,
    and learns from it again what it then knows: results do not depend on who sweeps which term, or how many do.
    """
    learns = adversary if isinstance(adversary, Learning) else None
    found = Parallel(n_jobs=jobs)(
        delayed(_swept)(term, y, learns.part(term) if learns else adversary) for term in terms
    )
    for _, learnt in found:
        if learns:
            learns.learn(learnt)
    return [worst for worst, _ in found]


def _swept(term: Recourse, y: np.ndarray, adversary: Adversary) -> tuple[WorstCase, object]:
    worst = worst_case(term, y, adversary)
    return worst, adversary.learnt if isinstance(adversary, Learning) else None


def worst_case(recourse: Recourse, y: np.ndarray, adversary: Adversary, tolerance: float = 1e-7) -> WorstCase:
    """Worst case of one term at y; not feasible, with the infeasibility as value, if some u leaves no recourse."""
    if not recourse.complete:
        blocked = adversary(recourse.phase_one(), y)
        if blocked.value > tolerance * (1.0 + np.max(abs(recourse.h), initial=0.0)):
            return replace(blocked, feasible=False)
    return adversary(recourse, y)


def certify_robust(
    problem: TwoStage, solution: RobustSolution, tolerance: float = 1e-6, vertex_limit: int = 4000
) -> dict:
    """Certificate of a robust solution, from the problem data alone.

    The recourse is re-solved cold at each worst case returned; every vertex of every set is solved, and none may cost
    more (the recourse cost is convex in u, so vertices suffice).

    Raises:
        CertificateError: a figure is beyond ``tolerance`` (relative to 1 + its absolute value), a set has more than
            ``vertex_limit`` vertices, or fewer were listed than it has.
    """
    resolve = beyond = outside = 0.0
    checked = 0
    for term, u, value in zip(problem.recourse, solution.worst, solution.worst_value, strict=True):
        scale = 1.0 + abs(value)
        program = RecourseProgram(term, solution.y)
        cold = program.solve(u)
        resolve = max(resolve, np.inf if cold is None else abs(cold.objective - value) / scale)
        outside = max(outside, term.uncertainty.excess(u))
        points = term.uncertainty.vertices()
        require_all_vertices(term.uncertainty, len(points), vertex_limit)
        checked += len(points)
        for point in points:
            optimum = program.solve(point)
            beyond = max(beyond, np.inf if optimum is None else (optimum.objective - value) / scale)
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
    return figures | bounds | {"gap_relative": float(solution.gap), "vertices_checked": checked}


def require_all_vertices(uncertainty: UncertaintySet, listed: int, most: int) -> None:
    """Raise CertificateError where a set may have more than ``most`` vertices, or has another number than ``listed``:
    known for budget sets, at least one more than the dimension for others."""
    bound = uncertainty.vertex_bound
    if bound > most:
        raise CertificateError("robust.vertices", bound, most, "too many to solve each")
    least = bound if uncertainty.pairs else uncertainty.size + 1
    if not least <= listed <= bound:
        raise CertificateError(
            "robust.vertices_missing", least - listed, 0.0, f"{listed} of {bound} vertices are listed"
        )


# The location-transportation problem of Zeng and Zhao (2013): a published answer for the C&CG code.


def location_transportation(complete: bool = True, enough_capacity: bool = True) -> TwoStage:
    """Open facilities (y), build capacity (z), ship (x) under demand (206, 274, 220) + 40 u; optimum 33680.

    Args:
        complete: declare that every capacity leaves a feasible recourse, which holds with ``enough_capacity``.
        enough_capacity: keep the row that total capacity is at least 772, the largest total demand.

    The boxes follow from the data. No optimal shipment exceeds its demand, and supply rows are at most K = 800 off.
    Where supply covers demand, lowering all multipliers together never lowers the dual objective, so some supply
    multiplier is zero: a demand multiplier is then at most its dearest shipping cost, and a supply multiplier at most
    the largest difference of that cost and its own.
    """
    shipping = np.array([[22.0, 33.0, 24.0], [33.0, 23.0, 30.0], [20.0, 25.0, 27.0]])
    rows = np.hstack([-800.0 * np.eye(3), np.eye(3)])
    low, high = np.full(3, -np.inf), np.zeros(3)
    if enough_capacity:
        rows, low, high = np.vstack([rows, [0, 0, 0, 1, 1, 1]]), np.r_[low, 772.0], np.r_[high, np.inf]
    first = FirstStage(
        np.array([400.0, 414.0, 326.0, 18.0, 25.0, 20.0]),
        sp.csr_matrix(rows),
        low,
        high,
        np.zeros(6),
        np.array([1.0, 1.0, 1.0, 800.0, 800.0, 800.0]),
        np.array([True] * 3 + [False] * 3),
    )
    most = np.array([206.0, 274.0, 220.0]) + 40.0
    demand_price = shipping.max(axis=0)
    supply_price = np.maximum(demand_price - shipping, 0.0).max(axis=1)
    supply, demand = -np.kron(np.eye(3), np.ones((1, 3))), np.kron(np.ones((1, 3)), np.eye(3))
    recourse = Recourse(
        cost=shipping.ravel(),
        G=sp.csr_matrix(np.vstack([supply, demand])),
        E=sp.csr_matrix(np.vstack([np.hstack([np.zeros((3, 3)), np.eye(3)]), np.zeros((3, 6))])),
        M=sp.csr_matrix(np.vstack([np.zeros((3, 3)), -40.0 * np.eye(3)])),
        h=np.r_[np.zeros(3), 206.0, 274.0, 220.0],
        equality=np.zeros(6, dtype=bool),
        uncertainty=box_with_rows(3, [[1, 1, 1], [1, 1, 0]], [1.8, 1.2]),
        upper=np.tile(most, 3),
        slack_upper=np.r_[np.full(3, 800.0), 2.0 * most],
        dual_upper=np.r_[supply_price, demand_price],
        complete=complete,
    )
    return TwoStage(first, (recourse,))


def largest(flow: np.ndarray, shift: np.ndarray, budget: float) -> np.ndarray:
    """Largest value of ``flow + u . shift`` over a budget set, each entry apart: its dearest factors first."""
    pairs = shift.shape[1] // 2
    best = np.maximum(np.maximum(shift[:, :pairs], shift[:, pairs:]), 0.0)
    best = -np.sort(-best, axis=1)
    share = np.clip(budget - np.arange(pairs), 0.0, 1.0)
    return flow + np.einsum("lkt,k->lt", best, share)
