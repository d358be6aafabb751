"""Linear and mixed-integer programs in row form, and the one place that hands them to HiGHS.

min c.x  s.t.  row_lower <= A x <= row_upper,  col_lower <= x <= col_upper.
Tariffs live in the costs of a few columns and capacity limits in the bounds of a few others, so a new menu point never
touches the matrix.

What HiGHS says is believed under one policy (:meth:`LinearProgram.run`): an optimum only with its residuals checked,
infeasible and unbounded only from a cold start, and anything else once more from cold and then without scaling; every
such restart is counted by its reason (:class:`ColdRestart`). Of an optimal basis whose point is not exact, the point is
made so first.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from math import prod
from typing import Any

import cvxpy as cp
import highspy
import numpy as np
import pandas as pd
import scipy.sparse as sp
from cvxpy.cvxcore.python.canonInterface import get_problem_matrix
from cvxpy.reductions.inverse_data import InverseData
from numpy.typing import ArrayLike
from scipy.sparse.linalg import splu

from tritier.errors import InfeasibleError, SolverError

Basis = tuple[bytes, bytes]  # a status per column, a status per row, in HiGHS's numbers
AT_LOWER, BASIC, AT_UPPER, FREE = (
    int(getattr(highspy.HighsBasisStatus, f"k{name}")) for name in ("Lower", "Basic", "Upper", "Zero")
)
STATUS = [highspy.HighsBasisStatus(k) for k in range(5)]  # of a byte

TOLERANCE = 1e-9  # primal and dual feasibility asked of HiGHS by a warm LP
FEASIBLE = 2e-7  # kW, kWh or $: largest violation of a row or bound that a warm LP's point may have
RESIDUAL = 1e-6  # largest violation of a row or bound relative to the size of its terms, of any program's point
REFINEMENTS = 4  # solves of a basis for its point, each for what the last has left: the second leaves rounding mostly
ACTIVE = 1e-9  # $ per unit: a reduced cost or multiplier that is larger holds its column or row
DUST = 1e-6  # relative: how far a safe bound may be from the objective before the basis is thrown away
LOOSE = 1e-7  # tolerances of an interior point, whose end is only a start
NO_LIMIT = 2**31 - 1  # HiGHS's default of simplex_iteration_limit
LARGE = 10_000  # rows of an LP from which on an interior point is a faster start than another tariff's basis, or none
PATIENCE = 8_000  # simplex iterations from a basis after which an interior point is faster
ALL = slice(None)  # all rows or columns
STRATEGY = {"dual": 1, "primal": 4}  # of the simplex, in HiGHS's numbers
FOUND = int(highspy.SolutionStatus.kSolutionStatusFeasible)


class Status(StrEnum):
    """What is known of a program after a solve; a limit is of time or steps."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    LIMIT = "limit"


class ColdRestart(StrEnum):
    """Why a solve began again: without its basis, or from it without scaling."""

    BASIS = "basis rejected"  # what it was to start from is no basis
    DUST = "dust"  # the safe bound of the duals is too far from the objective
    INSIDE = "inside"  # neither from cold nor without scaling is the answer to be trusted: an interior point begins
    RESIDUAL = "residual"  # the point called optimal violates a row or a bound
    SCALE = "scale"  # an optimum of the scaled LP, which in its own units misses the tolerances
    SLOW = "slow"  # the basis was too far from the optimum: the next start is an interior point's
    STATUS = "status"  # neither an optimum nor, from cold, a proof that there is none


class Clock:
    """Where the seconds of a computation go, by phase and work. Each second is counted once: what begins inside a part
    stops it until it ends."""

    def __init__(self) -> None:
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.calls: Counter[tuple[str, str]] = Counter()
        self._at, self._since = ("", ""), time.perf_counter()

    @contextmanager
    def during(self, phase: str | None = None, work: str = "other") -> Iterator[None]:
        """What runs inside is work of a kind, in a phase; None: in the phase that it is."""
        outer = self._at
        self._switch((outer[0] if phase is None else phase, work))
        self.calls[self._at] += 1
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, part: tuple[str, str]) -> None:
        now = time.perf_counter()
        self.seconds[self._at] += now - self._since
        self._at, self._since = part, now

    def add(self, other: Clock) -> None:
        """Count what another process has measured."""
        for part, seconds in other.seconds.items():
            self.seconds[part] += seconds
        self.calls.update(other.calls)

    def table(self, available: float) -> pd.DataFrame:
        """Phase, work, calls and seconds of each part that was named, and as the last row what is left of the seconds
        that were available: processes that wait or start, and whatever was not named."""
        seconds = {part: value for part, value in self.seconds.items() if part[0]}
        seconds[UNNAMED] = available - sum(seconds.values())
        rows = [(*part, self.calls[part], value) for part, value in seconds.items()]
        return pd.DataFrame(rows, columns=["phase", "work", "calls", "seconds"])


UNNAMED = ("idle", "waiting")  # part of the seconds available that no phase was measured in
WORDS = {
    highspy.HighsModelStatus.kOptimal: Status.OPTIMAL,
    highspy.HighsModelStatus.kModelEmpty: Status.OPTIMAL,
    highspy.HighsModelStatus.kInfeasible: Status.INFEASIBLE,
    highspy.HighsModelStatus.kUnbounded: Status.UNBOUNDED,
    highspy.HighsModelStatus.kTimeLimit: Status.LIMIT,
    highspy.HighsModelStatus.kIterationLimit: Status.LIMIT,
    highspy.HighsModelStatus.kSolutionLimit: Status.LIMIT,
}


@dataclass(frozen=True, eq=False)
class ParametricLP:
    """An LP in row form with the names of its columns and rows.

    ``columns`` and ``rows`` map a name to (first position, shape); entries of a shape follow one another in Fortran
    order.
    """

    cost: np.ndarray  # (n,)
    matrix: sp.csr_array  # (m, n)
    row_lower: np.ndarray  # (m,)
    row_upper: np.ndarray  # (m,)
    col_lower: np.ndarray  # (n,)
    col_upper: np.ndarray  # (n,)
    columns: dict[str, tuple[int, tuple[int, ...]]]
    rows: dict[str, tuple[int, tuple[int, ...]]]

    def at(self, name: str) -> np.ndarray:
        """Column positions of a variable, in its shape."""
        return _positions(*self.columns[name])

    def row_at(self, name: str) -> np.ndarray:
        """Row positions of a labelled constraint, in its shape."""
        return _positions(*self.rows[name])

    def column_label(self, j: int) -> str:
        """``name[i, k]`` of column j."""
        return _label(self.columns, j)

    def row_label(self, r: int) -> str:
        """``name[i, k]`` of row r."""
        return _label(self.rows, r)

    def bordered(self, other: Border) -> ParametricLP:
        """The LP with further columns and rows."""
        n, m = self.cost.size, self.row_lower.size
        wide = sp.hstack([self.matrix, other.old_rows]) if other.cost.size else self.matrix
        return replace(
            self,
            cost=np.append(self.cost, other.cost),
            matrix=sp.vstack([wide, other.matrix]).tocsr() if other.row_lower.size else sp.csr_array(wide),
            row_lower=np.append(self.row_lower, other.row_lower),
            row_upper=np.append(self.row_upper, other.row_upper),
            col_lower=np.append(self.col_lower, other.col_lower),
            col_upper=np.append(self.col_upper, other.col_upper),
            columns=self.columns | {k: (n + a, shape) for k, (a, shape) in other.columns.items()},
            rows=self.rows | {k: (m + a, shape) for k, (a, shape) in other.rows.items()},
        )


@dataclass(frozen=True, eq=False)
class Border:
    """Columns and rows to append to an LP; names count from the border's first.

    ``matrix`` holds the new rows over old and new columns, ``old_rows`` the new columns' entries in the old rows.
    """

    cost: np.ndarray
    col_lower: np.ndarray
    col_upper: np.ndarray
    old_rows: sp.csr_array
    columns: dict[str, tuple[int, tuple[int, ...]]]
    matrix: sp.csr_array
    row_lower: np.ndarray
    row_upper: np.ndarray
    rows: dict[str, tuple[int, tuple[int, ...]]]


@dataclass(frozen=True, eq=False)
class LPSolution:
    """Outcome of a solve: x, row duals y (d objective / d row bound), reduced costs, objective.

    ``bound`` is HiGHS's bound on the objective; ``nodes`` and ``iterations`` count its work. Without a point, as after
    a proof that there is none, the arrays are empty and the objective is nan; a mixed-integer program has no duals.
    """

    x: np.ndarray
    y: np.ndarray
    reduced: np.ndarray
    objective: float
    iterations: int
    status: Status = Status.OPTIMAL
    bound: float = np.nan
    nodes: int = 0


def parametric_lp(problem: cp.Problem, labels: dict[int, str]) -> ParametricLP:
    """A linear cvxpy problem in row form, bounds as bounds: what ``problem.get_problem_data(cp.HIGHS)`` gives, without
    the reductions by which cvxpy finds out that there is nothing to reduce, most of the time that it takes.

    ``labels`` maps constraint ids to row names. Equalities come first, then rows ``<=`` (the sign cvxpy gives ``lhs -
    rhs``). Parameters are the numbers they have.
    """
    where = InverseData(problem)
    first = where.var_offsets
    equal = [c for c in problem.constraints if isinstance(c, cp.constraints.Equality)]
    less = [c for c in problem.constraints if isinstance(c, cp.constraints.Inequality)]
    if len(equal) + len(less) < len(problem.constraints):
        raise SolverError("the problem is not linear: it has constraints that are no rows")
    cost, _ = _affine(problem, where, [problem.objective.args[0]])
    matrix, offset = _affine(problem, where, [c.expr for c in (*equal, *less)])
    upper = -offset
    rows, at = {}, 0
    for c in (*equal, *less):
        rows[labels.get(c.id, f"row{c.id}")] = (at, c.shape)
        at += c.size
    variables = problem.variables()
    sides = [
        np.concatenate([np.broadcast_to(v.get_bounds()[k], v.shape).ravel("F") for v in variables]) for k in (0, 1)
    ]
    return ParametricLP(
        cost=cost.toarray().ravel(),
        matrix=matrix,
        row_lower=np.where(np.arange(upper.size) < sum(c.size for c in equal), upper, -np.inf),
        row_upper=upper,
        col_lower=sides[0],
        col_upper=sides[1],
        columns={v.name(): (first[v.id], v.shape) for v in variables},
        rows=rows,
    )


def _affine(problem: cp.Problem, where: InverseData, terms: list[cp.Expression]) -> tuple[sp.csr_array, np.ndarray]:
    """Coefficients (m, n) and constants (m,) of affine terms in the columns of a problem.

    Raises SolverError for a term that is not affine."""
    try:
        forms = [term.canonical_form[0] for term in terms]
    except NotImplementedError as error:  # only what is affine has this form
        raise SolverError("the problem is not linear: it has terms that are not affine") from error
    m, n = sum(term.size for term in terms), where.x_length
    sizes = (where.param_to_size, where.param_id_map)
    found = sp.coo_array(get_problem_matrix(forms, n, where.var_offsets, *sizes, m, "CPP"))
    value = np.concatenate([*(np.ravel(p.value, order="F") for p in problem.parameters()), [1.0]])
    entry, parameter = found.coords
    whole = sp.csr_array((found.data * value[parameter], (entry % m, entry // m)), shape=(m, n + 1))
    return sp.csr_array(whole[:, :n]), whole[:, [n]].toarray().ravel()


def safe_bound(lp: ParametricLP, cost: np.ndarray, y: np.ndarray) -> float:
    """A lower bound on the LP that holds for any row duals y, right or wrong (:eq:`eq-safe-bound`).

    Neumaier and Shcherbina (2004): with y clipped to the signs that the rows allow and r = cost - A'y,
    the bound is sum of y times the row bound it leans on, plus sum_j min(r_j l_j, r_j u_j). Every column must be boxed.
    """
    y = np.where(np.isinf(lp.row_lower), np.minimum(y, 0), y)
    y = np.where(np.isinf(lp.row_upper), np.maximum(y, 0), y)
    lean = np.where(y > 0, lp.row_lower, lp.row_upper)
    r = cost - lp.matrix.T @ y
    return float(y @ np.where(y == 0, 0.0, lean) + np.minimum(r * lp.col_lower, r * lp.col_upper).sum())


def face_of(lp: ParametricLP, reduced: np.ndarray, y: np.ndarray) -> ParametricLP:
    """The LP restricted to what is complementary to multipliers: a column with a reduced cost stays at the bound that
    this pushes it to, a row with a multiplier is an equation. Where the multipliers are optimal, this is the optimal
    face. A multiplier that pushes to a side which is not there is rounding, and holds nothing."""

    def sides(push: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        down, up = (push > ACTIVE) & np.isfinite(lower), (push < -ACTIVE) & np.isfinite(upper)
        return np.where(up, upper, lower), np.where(down, lower, upper)

    col_lower, col_upper = sides(reduced, lp.col_lower, lp.col_upper)
    row_lower, row_upper = sides(y, lp.row_lower, lp.row_upper)
    return replace(lp, col_lower=col_lower, col_upper=col_upper, row_lower=row_lower, row_upper=row_upper)


class LinearProgram:
    """A program, some x integer, held in HiGHS: costs, rows and bounds may change between solves.

    Solves restart from the last basis.

    ``method`` is HiGHS's "choose", "simplex" or "ipm"; ``options`` are HiGHS's own. ``restarts`` counts solves that
    began again from cold, by reason; ``solves`` counts all.
    """

    def __init__(
        self,
        cost: ArrayLike,
        matrix: sp.csr_array,
        row_lower: ArrayLike,
        row_upper: ArrayLike,
        lower: ArrayLike,
        upper: ArrayLike,
        integer: np.ndarray | None = None,
        method: str = "choose",
        **options: Any,
    ) -> None:
        self.matrix = sp.csr_array(matrix, dtype=float)
        rows, columns = self.matrix.shape
        self.cost = np.array(cost, dtype=float)
        self.row_lower = np.array(np.broadcast_to(row_lower, rows), dtype=float)
        self.row_upper = np.array(np.broadcast_to(row_upper, rows), dtype=float)
        self.lower = np.array(np.broadcast_to(lower, columns), dtype=float)
        self.upper = np.array(np.broadcast_to(upper, columns), dtype=float)
        self.integer = np.zeros(columns, dtype=bool) if integer is None else np.array(integer, dtype=bool)
        self.options: dict[str, Any] = {"output_flag": False, "threads": 1, "solver": method} | options
        self.restarts: Counter[ColdRestart] = Counter()
        self.solves = 0
        self._load()

    def _load(self) -> None:
        """A new solver on the program as it stands; whole arrays are five times as fast as field by field."""
        self._highs, self._cold = highspy.Highs(), True
        for option, value in self.options.items():
            if self._highs.setOptionValue(option, value) != highspy.HighsStatus.kOk:
                raise SolverError(f"HiGHS knows no option {option} = {value!r}")
        a = self.matrix
        sizes = (self.cost.size, self.row_lower.size, a.nnz, int(highspy.MatrixFormat.kRowwise))
        sense, offset = int(highspy.ObjSense.kMinimize), 0.0
        bounds = (self.lower, self.upper, self.row_lower, self.row_upper)
        entries = (a.indptr.astype(np.int32), a.indices.astype(np.int32), a.data)
        self._highs.passModel(*sizes, sense, offset, self.cost, *bounds, *entries, self.integer.astype(np.int32))

    def set_cost(self, cost: np.ndarray) -> None:
        """Replace the cost vector; only changed entries are sent."""
        cost = np.array(cost, dtype=float)
        changed = np.flatnonzero(cost != self.cost).astype(np.int32)
        if changed.size:
            self._highs.changeColsCost(changed.size, changed, cost[changed])
            self.cost = cost

    def set_bounds(self, columns: np.ndarray | slice, lower: ArrayLike, upper: ArrayLike) -> None:
        """Replace bounds of some columns: positions, or :data:`ALL`."""
        columns = np.arange(self.lower.size, dtype=np.int32)[columns]
        if columns.size:
            self.lower[columns], self.upper[columns] = lower, upper
            self._highs.changeColsBounds(columns.size, columns, self.lower[columns], self.upper[columns])

    def set_rows(self, rows: np.ndarray | slice, lower: ArrayLike, upper: ArrayLike) -> None:
        """Replace sides of some rows: positions, or :data:`ALL`."""
        rows = np.arange(self.row_lower.size, dtype=np.int32)[rows]
        if rows.size:
            self.row_lower[rows], self.row_upper[rows] = lower, upper
            self._highs.changeRowsBounds(rows.size, rows, self.row_lower[rows], self.row_upper[rows])

    def run(self, time_limit: float | None = None) -> LPSolution:
        """Solve from the last basis and say what is known.

        An optimum must pass :meth:`distrust`. Infeasible and unbounded are believed from a cold start only, for a hot
        one can mislead HiGHS (its issues 3194 and 3294); a limit is believed as it is. Anything else is solved once
        more from cold, and where that is not to be trusted either, from there without scaling, as is an optimum that
        misses the tolerances in the program's own units, and at last from an interior point's end where there is one
        to be had; all are counted in ``restarts``. Raises SolverError where the last answer is not to be trusted.
        """
        if time_limit is not None:
            self._highs.setOptionValue("time_limit", float(time_limit) + self._highs.getRunTime())
        found, reason = self._attempt()
        if reason is not None:
            self.restarts[reason] += 1
            self._clear()
            found, reason = self._attempt()
        if reason is not None:
            found, reason = self._attempt_unscaled()
        elif self._scaled_only(found):
            basis = self._highs.getBasis()
            better, worse = self._attempt_unscaled()
            if worse is None:
                return better
            self._highs.setBasis(basis)  # what was found is to be trusted, and without scaling nothing is
        if reason is not None:
            found, reason = self._last_attempt(found, reason)
        if reason is not None:
            word = self._highs.modelStatusToString(self._highs.getModelStatus())
            raise SolverError(
                f"HiGHS gave no solution that can be trusted: status {word}, {reason} from a cold start and unscaled"
            )
        return found

    def solve(self) -> LPSolution | None:
        """The optimum, or None if the program is infeasible. Raises SolverError where it is unbounded or a limit is
        hit."""
        found = self.run()
        if found.status in (Status.UNBOUNDED, Status.LIMIT):
            raise SolverError(f"the program has no optimum: {found.status}")
        return found if found.status == Status.OPTIMAL else None

    def distrust(self, found: LPSolution) -> ColdRestart | None:
        """Why a point called optimal is not believed; None where it is."""
        return ColdRestart.RESIDUAL if self.residual(found.x) > RESIDUAL else None

    def _scaled_only(self, found: LPSolution) -> bool:
        """Whether a point called optimal is so in the scaled program only."""
        info = self._highs.getInfo()
        missed = max(info.max_primal_infeasibility, info.max_dual_infeasibility)
        return found.status == Status.OPTIMAL and not self.integer.any() and missed > self._tolerance()

    def _tolerance(self) -> float:
        """The looser of the tolerances asked of HiGHS."""
        names = ("primal_feasibility_tolerance", "dual_feasibility_tolerance")
        return max(self._highs.getOptionValue(name)[1] for name in names)

    def _attempt_unscaled(self) -> tuple[LPSolution, ColdRestart | None]:
        """One more attempt, from the last basis, with tolerances that hold in the program's own units."""
        self.restarts[ColdRestart.SCALE] += 1
        scaling = self._highs.getOptionValue("simplex_scale_strategy")[1]
        self._highs.setOptionValue("simplex_scale_strategy", 0)
        try:
            return self._attempt()
        finally:
            self._highs.setOptionValue("simplex_scale_strategy", scaling)

    def _last_attempt(self, found: LPSolution, reason: ColdRestart) -> tuple[LPSolution, ColdRestart | None]:
        """What else there is to try where the simplex has failed: here nothing."""
        return found, reason

    def residual(self, x: np.ndarray) -> float:
        """Largest violation of a row or a bound by x, each relative to the size of its terms (1 at least)."""
        act = self.matrix @ x
        rows = np.maximum(self.row_lower - act, act - self.row_upper) / (1.0 + abs(self.matrix) @ abs(x))
        bounds = np.maximum(self.lower - x, x - self.upper) / (1.0 + abs(x))
        return float(max(np.max(rows, initial=0.0), np.max(bounds, initial=0.0)))

    def _clear(self) -> None:
        self._highs.clearSolver()
        self._cold = True

    def _attempt(self) -> tuple[LPSolution, ColdRestart | None]:
        cold, self._cold = self._cold, False
        self._run()
        self.solves += 1
        status = self._highs.getModelStatus()
        if cold and status == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            word: Status | None = Status.UNBOUNDED if self._feasible() else Status.INFEASIBLE
        else:
            word = WORDS.get(status)
        found = self._read(word)
        if word == Status.OPTIMAL:
            return found, self.distrust(found)
        proved = word == Status.LIMIT or (cold and word is not None)
        return found, None if proved else ColdRestart.STATUS

    def _run(self) -> None:
        self._highs.run()

    def _feasible(self) -> bool:
        """Whether there is a point at all: the same program without its cost, which cannot be unbounded."""
        arrays = (self.matrix, self.row_lower, self.row_upper, self.lower, self.upper, self.integer)
        program = LinearProgram(np.zeros(self.cost.size), *arrays)
        self.solves += 1
        return program.run().status == Status.OPTIMAL

    def _read(self, word: Status | None) -> LPSolution:
        solution, info = self._highs.getSolution(), self._highs.getInfo()
        n, m, mixed = self.cost.size, self.row_lower.size, bool(self.integer.any())
        x, y, reduced = (np.array(v) for v in (solution.col_value, solution.row_dual, solution.col_dual))
        reached = x.size == n and info.primal_solution_status == FOUND
        if n == 0:
            x, y, reduced, reached = np.zeros(0), np.zeros(m), np.zeros(0), True
        known = word == Status.OPTIMAL or (word == Status.LIMIT and reached)
        value = float(info.objective_function_value) if known else np.nan
        bound = float(info.mip_dual_bound) if mixed else value if word == Status.OPTIMAL else -np.inf
        empty = np.empty(0)
        return LPSolution(
            x if known else empty,
            y if known and not mixed else empty,
            reduced if known and not mixed else empty,
            value,
            int(max(info.simplex_iteration_count, info.ipm_iteration_count)),
            word or Status.LIMIT,
            bound,
            int(info.mip_node_count) if mixed else 0,
        )


def solve_lp(
    cost: ArrayLike,
    matrix: sp.csr_array,
    row_lower: ArrayLike,
    row_upper: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
) -> LPSolution:
    """``min cost.x`` from cold, to tolerance 1e-9: optimal, infeasible or unbounded. Raises SolverError otherwise."""
    options: dict[str, Any] = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
    found = LinearProgram(cost, matrix, row_lower, row_upper, lower, upper, **options).run()
    if found.status == Status.LIMIT:
        raise SolverError("HiGHS stopped at a limit that nobody set")
    return found


class WarmLP(LinearProgram):
    """A ParametricLP held in HiGHS with its basis: costs, bounds and borders change, the simplex restarts."""

    def __init__(self, lp: ParametricLP) -> None:
        self.lp = replace(lp, matrix=lp.matrix.sorted_indices())
        self._basis: Basis | None = None  # of the last solve, where nothing has changed it since
        self._dust = DUST
        self.refined = 0  # points of optimal bases that were not exact, and were made so
        self.clock = Clock()
        self.solved: Callable[[], None] = lambda: None  # called after each solve: what has been found may be kept
        options: dict[str, Any] = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
        sides = (lp.row_lower, lp.row_upper, lp.col_lower, lp.col_upper)
        super().__init__(lp.cost, self.lp.matrix, *sides, **options)

    def _load(self) -> None:
        super()._load()
        self._inside = False  # whether the next solve begins at an interior point's end
        self._unsent: dict[tuple[int, int], float] = {}  # entries of the matrix that the solver has yet to be told

    def _run(self) -> None:
        if self._unsent:
            with self.clock.during(work="tariff"):
                for (row, column), value in self._unsent.items():
                    self._highs.changeCoeff(row, column, value)
            self._unsent = {}
        super()._run()

    def set_entries(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        """Replace entries that are in the matrix already. The basis is kept. Only changed ones are sent, and those not
        before the next solve: one by one they take as long as many a solve."""
        a = self.lp.matrix.copy()
        changed = np.flatnonzero(np.asarray(a[rows, columns]).ravel() != values)
        if not changed.size:
            return
        rows, columns, values = rows[changed], columns[changed], values[changed]
        a[rows, columns] = values
        if a.nnz != self.lp.matrix.nnz:
            raise ValueError("an entry to change is not in the matrix")
        self._unsent |= zip(zip(rows.tolist(), columns.tolist(), strict=True), values.tolist(), strict=True)
        self.lp = replace(self.lp, matrix=a)
        self.matrix, self._basis = a, None

    def append(self, border: Border) -> None:
        """Append columns and rows; the basis is kept, new rows start basic."""
        n = border.cost.size
        if n:
            a = sp.csc_array(border.old_rows)
            index, start = a.indices.astype(np.int32), a.indptr[:-1].astype(np.int32)
            self._highs.addCols(n, border.cost, border.col_lower, border.col_upper, a.nnz, start, index, a.data)
            self.cost = np.append(self.cost, border.cost)
            self.lower = np.append(self.lower, border.col_lower)
            self.upper = np.append(self.upper, border.col_upper)
            self.integer = np.zeros(self.cost.size, dtype=bool)
        if border.row_lower.size:
            a = sp.csr_array(border.matrix)
            index, start = a.indices.astype(np.int32), a.indptr[:-1].astype(np.int32)
            self._highs.addRows(a.shape[0], border.row_lower, border.row_upper, a.nnz, start, index, a.data)
            self.row_lower = np.append(self.row_lower, border.row_lower)
            self.row_upper = np.append(self.row_upper, border.row_upper)
        self.lp = self.lp.bordered(border)
        self.matrix, self._basis = self.lp.matrix, None

    def solve(self, cost: np.ndarray | None = None, simplex: str = "dual", dust: float = DUST) -> LPSolution:
        """The optimum from the last basis. ``simplex`` is ``dual`` (bounds or rows changed) or ``primal`` (costs
        changed, as they always are from an interior point's end: it is feasible, and its reduced costs are not yet
        exact); ``dust`` the relative distance of safe bound and objective above which a basis is not believed.

        Raises InfeasibleError, or SolverError if HiGHS gives neither an optimum to be trusted nor a proof that there is
        none.
        """
        if cost is not None:
            self.set_cost(cost)
        if self._cold and self.row_lower.size >= LARGE:
            self.start_inside(self.cost)
        self._highs.setOptionValue("simplex_strategy", STRATEGY["primal" if self._inside else simplex])
        self._basis, self._dust = None, dust
        with self.clock.during(work="simplex"):
            found = self._run_patiently()
        self._inside = False
        if found.status == Status.INFEASIBLE:
            raise InfeasibleError("the LP has no feasible point")
        if found.status != Status.OPTIMAL:
            raise SolverError(f"the LP has no optimum: {found.status}")
        self._basis = self._basis_at(found.x)
        self.solved()
        return found

    def _run_patiently(self) -> LPSolution:
        """:meth:`run`, from an interior point's end where the basis turns out to be far from the optimum: with peak
        charges the simplex steps through ties for minutes that an interior point does not see."""
        self._highs.setOptionValue("simplex_iteration_limit", PATIENCE)
        found = self.run()
        self._highs.setOptionValue("simplex_iteration_limit", NO_LIMIT)
        if found.status != Status.LIMIT:
            return found
        self.restarts[ColdRestart.SLOW] += 1
        self.start_inside(self.cost)
        return self.run()

    def _last_attempt(self, found: LPSolution, reason: ColdRestart) -> tuple[LPSolution, ColdRestart | None]:
        """From an interior point's end: of an LP with ties the simplex may reach no basis whose point is exact."""
        self.restarts[ColdRestart.INSIDE] += 1
        self.start_inside(self.cost)
        self._highs.setOptionValue("simplex_strategy", STRATEGY["primal"])
        return self._attempt()

    def start_inside(self, cost: np.ndarray) -> None:
        """Start the next solve from the basis that an interior point and its crossover end with: of a large LP that has
        no basis yet this is found many times as fast as by simplex from scratch. What it ends with is only a start."""
        self.set_cost(cost)
        self._highs.clearSolver()  # from a basis HiGHS would not presolve
        tight = {name: self.options[name] for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance")}
        inside = {"solver": "ipx", **dict.fromkeys(tight, LOOSE)}  # 1e-9 is out of its reach
        # What mends its basis, here and in the solve that follows, keeps it feasible.
        inside |= {"simplex_strategy": STRATEGY["primal"], "simplex_iteration_limit": PATIENCE}
        for name, value in inside.items():
            self._highs.setOptionValue(name, value)
        with self.clock.during(work="interior point"):
            self._run()
        for name, value in {"solver": "simplex", "simplex_iteration_limit": NO_LIMIT, **tight}.items():
            self._highs.setOptionValue(name, value)
        self._basis, self._cold, self._inside = None, False, True
        self.solved()

    def _attempt(self) -> tuple[LPSolution, ColdRestart | None]:
        """As for any program; where the point of an optimal basis is not exact, the basis is solved for it once more:
        the next attempt, from cold, would take seconds and might end the same."""
        found, reason = super()._attempt()
        if reason is not ColdRestart.RESIDUAL:
            return found, reason
        exact = self._refined(found, self._basis_at(found.x))
        if exact is None:
            return found, reason
        self.refined += 1
        return exact, self.distrust(exact)

    def exact(self, found: LPSolution) -> LPSolution:
        """The optimum just found with its point and duals to rounding, from its basis; as it is where that is singular
        or its point is not to be trusted."""
        exact = self._refined(found, self._basis)
        return found if exact is None or self.distrust(exact) else exact

    def _refined(self, found: LPSolution, basis: Basis | None) -> LPSolution | None:
        """The point and the duals of a basis by iterative refinement; None where it is singular or not known."""
        if basis is None:
            return None
        try:
            x, y = basic_point(self.current(), self.cost, basis)
        except ValueError:
            return None
        return replace(found, x=x, y=y, reduced=self.cost - self.matrix.T @ y, objective=float(self.cost @ x))

    def distrust(self, found: LPSolution) -> ColdRestart | None:
        """As for any program, to absolute tolerances, and the safe bound of the duals must be near the objective."""
        if abs(self.safe_bound(found.y) - found.objective) > self._dust * max(1.0, abs(found.objective)):
            return ColdRestart.DUST
        return ColdRestart.RESIDUAL if primal_residual(self.current(), found.x) > FEASIBLE else None

    def _clear(self) -> None:
        super()._clear()
        self._highs.setOptionValue("simplex_strategy", STRATEGY["dual"])
        self._inside = False

    def nonbasic(self) -> tuple[np.ndarray, np.ndarray]:
        """Which columns and which rows stand at a bound in the present basis, boolean, (n,) and (m,)."""
        basis, basic = self._highs.getBasis(), highspy.HighsBasisStatus.kBasic
        columns, rows = (np.array([s != basic for s in status]) for status in (basis.col_status, basis.row_status))
        return columns, rows

    def basis(self) -> Basis:
        """The present basis: one byte per column, one per row."""
        return self._basis or basis_of(self._highs)

    def set_basis(self, basis: Basis) -> None:
        """Start the next solve from a basis of this LP, or of its first columns and rows: new columns at their lower
        bounds, new rows basic. From cold where it is no basis."""
        parts = [
            part + bytes([new]) * (size - len(part))
            for part, size, new in zip(basis, self.matrix.shape[::-1], (AT_LOWER, BASIC), strict=True)
        ]
        start = highspy.HighsBasis()
        start.col_status, start.row_status = ([STATUS[s] for s in part] for part in parts)
        self._basis, self._cold, self._inside = None, False, False
        full = sum(part.count(BASIC) for part in parts) == self.row_lower.size  # HiGHS would mend another number itself
        if not full or self._highs.setBasis(start) == highspy.HighsStatus.kError:
            self.restarts[ColdRestart.BASIS] += 1
            self._clear()

    def restart(self) -> None:
        """A new solver on the LP as it stands, entries in order: nothing that came before steers the next solve."""
        self.lp = replace(self.lp, matrix=self.lp.matrix.sorted_indices())
        self.matrix, self._basis = self.lp.matrix, None
        self._load()

    def forget(self) -> None:
        """Drop the basis: a cost of another kind is solved faster from scratch by the dual simplex."""
        self._highs.clearSolver()
        self._basis, self._cold, self._inside = None, True, False

    def safe_bound(self, y: np.ndarray) -> float:
        """Safe lower bound at the present costs and bounds (:func:`safe_bound`)."""
        return safe_bound(self.current(), self.cost, y)

    def current(self) -> ParametricLP:
        """The LP as it stands now: its present cost and bounds."""
        return replace(
            self.lp,
            cost=self.cost,
            col_lower=self.lower,
            col_upper=self.upper,
            row_lower=self.row_lower,
            row_upper=self.row_upper,
        )

    def _basis_at(self, x: np.ndarray) -> Basis | None:
        """The basis of the point just found, from the list of its basic variables; None where HiGHS has no such list.

        Asking HiGHS for one status at a time would take a tenth of a warm solve.
        """
        word, basic = self._highs.getBasicVariables()
        if word != highspy.HighsStatus.kOk:
            return None
        activity = np.array(self._highs.getSolution().row_value)
        columns = _statuses(x, self.lower, self.upper, basic[basic >= 0])
        return columns, _statuses(activity, self.row_lower, self.row_upper, -1 - basic[basic < 0])


def basis_of(highs: highspy.Highs) -> Basis:
    """HiGHS's present basis, status by status."""
    basis = highs.getBasis()
    return bytes(map(int, basis.col_status)), bytes(map(int, basis.row_status))


def basic_point(lp: ParametricLP, cost: np.ndarray, basis: Basis) -> tuple[np.ndarray, np.ndarray]:
    """The point and the row duals of a basis: one factorisation of the tight rows over the basic columns.

    Raises ValueError where the statuses are no basis of this LP.
    """
    columns, rows = (np.frombuffer(part, dtype=np.uint8) for part in basis)
    if columns.size != cost.size or rows.size != lp.row_lower.size:
        raise ValueError("the basis is of another LP")
    basic, tight = np.flatnonzero(columns == BASIC), np.flatnonzero(rows != BASIC)
    if basic.size != tight.size:
        raise ValueError(f"{basic.size} basic columns for {tight.size} tight rows")
    x, y = _at_bound(columns, lp.col_lower, lp.col_upper), np.zeros(rows.size)
    level = _at_bound(rows, lp.row_lower, lp.row_upper)[tight]
    if not np.isfinite(x).all() or not np.isfinite(level).all():
        raise ValueError("a status stands for a bound that is infinite")
    if basic.size:
        own = sp.csr_array(lp.matrix[tight][:, basic])
        factors = Factors(own)
        x[basic] = 0.0
        rest = level - (lp.matrix @ x)[tight]
        for _ in range(REFINEMENTS):
            x[basic] += factors.solve(rest - own @ x[basic])
            y[tight] += factors.solve_transposed(cost[basic] - own.T @ y[tight])
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError("the basis is singular")
    return x, y


class Factors:
    """A basis (m, m), factorised in the order of :func:`pivot_order`, in which next to nothing fills in.

    Raises ValueError where it is singular.
    """

    def __init__(self, own: sp.csr_array) -> None:
        own = own.copy()
        own.eliminate_zeros()  # prices of zero have an entry each
        try:
            self.rows, self.columns = pivot_order(own)
            ordered = sp.csc_array(own[self.rows][:, self.columns])
            self.lu = splu(ordered, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"Equil": False})
        except RuntimeError as error:
            raise ValueError("the basis is singular") from error

    def solve(self, side: np.ndarray) -> np.ndarray:
        """x of ``own @ x == side``."""
        x = np.empty_like(side)
        x[self.columns] = self.lu.solve(side[self.rows])
        return x

    def solve_transposed(self, side: np.ndarray) -> np.ndarray:
        """y of ``own.T @ y == side``."""
        y = np.empty_like(side)
        y[self.rows] = self.lu.solve(side[self.columns], trans="T")
        return y


def pivot_order(own: sp.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a basis (m, m) in an order of pivots: first rows and last columns that have one entry among
    those not yet taken, as most of an LP's basis has, in between the others as SuperLU orders them.

    Raises RuntimeError where these are singular.
    """
    m, lines = own.shape[0], (own, sp.csc_array(own).T)  # of rows and of columns, one each
    length = [np.diff(part.indptr) for part in lines]
    count = [part.copy() for part in length]  # entries among those not yet taken; below zero of a line that is taken
    total = [part @ np.arange(m) for part in map(_pattern, lines)]  # where these are, summed: of one entry, its place
    last = np.empty(m, dtype=int)
    ends: tuple[list, list] = ([], [])  # pairs of positions, of single rows and of single columns
    while True:
        for axis, end in enumerate(ends):
            single = np.flatnonzero(count[axis] == 1)
            if single.size:
                across = total[axis][single]
                last[across] = single
                alone = last[across] == single  # of those that share their pivot one
                end.append(np.array([single[alone], across[alone]][:: 1 - 2 * axis]))
                break
        else:
            break
        for axis, places in enumerate(end[-1]):
            begin, entries = lines[axis].indptr[places], length[axis][places]
            of = np.repeat(places, entries)
            hit = lines[axis].indices[np.repeat(begin - entries.cumsum() + entries, entries) + np.arange(of.size)]
            np.subtract.at(count[1 - axis], hit, 1)
            np.subtract.at(total[1 - axis], hit, of)
        for axis, places in enumerate(end[-1]):
            count[axis][places] = -1
    rows, columns = (np.flatnonzero(part >= 0) for part in count)
    if rows.size:
        inner = splu(sp.csc_array(own[rows][:, columns]))
        rows, columns = rows[np.argsort(inner.perm_r)], columns[np.argsort(inner.perm_c)]
    parts = [*ends[0], np.array([rows, columns]), *ends[1][::-1]]
    return tuple(np.concatenate(parts, axis=1))


def _pattern(own: sp.csr_array) -> sp.csr_array:
    """Ones where a matrix has entries."""
    return sp.csr_array((np.ones(own.nnz, dtype=int), own.indices, own.indptr), shape=own.shape)


def _at_bound(status: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The bounds that statuses stand for; zero where basic or free."""
    return np.where(status == AT_LOWER, lower, np.where(status == AT_UPPER, upper, 0.0))


def primal_residual(lp: ParametricLP, x: np.ndarray) -> float:
    """Largest violation of a row or a bound by x."""
    rows = lp.matrix @ x
    off = [lp.row_lower - rows, rows - lp.row_upper, lp.col_lower - x, x - lp.col_upper]
    return float(max(0.0, *(np.max(o, initial=0.0) for o in off)))


def _statuses(value: np.ndarray, lower: np.ndarray, upper: np.ndarray, basic: np.ndarray) -> bytes:
    status = np.where(np.abs(value - upper) < np.abs(value - lower), AT_UPPER, AT_LOWER).astype(np.uint8)
    status[np.isinf(lower) & np.isinf(upper)] = FREE
    status[basic] = BASIC
    return status.tobytes()


def _positions(first: int, shape: tuple[int, ...]) -> np.ndarray:
    return first + np.arange(int(np.prod(shape))).reshape(shape, order="F")


def _label(names: dict[str, tuple[int, tuple[int, ...]]], position: int) -> str:
    for name, (first, shape) in names.items():
        size = prod(shape)
        if first <= position < first + size:
            index = np.unravel_index(position - first, shape, order="F") if shape else ()
            return f"{name}[{', '.join(str(int(k)) for k in index)}]" if index else name
    raise IndexError(position)
