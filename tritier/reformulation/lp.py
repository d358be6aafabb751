"""From a cvxpy problem to a parametric LP, and a warm simplex on it.

min c.x  s.t.  row_lower <= A x <= row_upper,  col_lower <= x <= col_upper. Tariffs live in the costs of a few columns
and capacity limits in the bounds of a few others, so a new menu point never touches the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import cvxpy as cp
import highspy
import numpy as np
import scipy.sparse as sp

from tritier.errors import InfeasibleError, SolverError

# A simplex basis as bytes: one status per column, one per row, in HiGHS's numbers.


Basis = tuple[bytes, bytes]  # a status per column, a status per row
AT_LOWER, BASIC, AT_UPPER, FREE = (
    int(getattr(highspy.HighsBasisStatus, f"k{name}")) for name in ("Lower", "Basic", "Upper", "Zero")
)
STATUS = [highspy.HighsBasisStatus(k) for k in range(5)]  # of a byte


def basis_of(highs: highspy.Highs) -> Basis:
    """The present basis, status by status."""
    basis = highs.getBasis()
    return bytes(map(int, basis.col_status)), bytes(map(int, basis.row_status))


def basis_at(highs: highspy.Highs, x: np.ndarray, activity: np.ndarray, lp) -> Basis | None:
    """The basis of the point just found, from the list of its basic variables; None where HiGHS has no such list.

    lp: a :class:`tritier.reformulation.lp.ParametricLP` with the bounds of the solve. Asking HiGHS for one status at
    a time
    would take a tenth of a warm solve.
    """
    word, basic = highs.getBasicVariables()
    if word != highspy.HighsStatus.kOk:
        return None
    columns = _statuses(x, lp.col_lower, lp.col_upper, basic[basic >= 0])
    return columns, _statuses(activity, lp.row_lower, lp.row_upper, -1 - basic[basic < 0])


def start_from(highs: highspy.Highs, basis: Basis, columns: int, rows: int) -> None:
    """Start the next solve from a basis of this LP, or of its first columns and rows: new columns at their lower
    bounds, new rows basic."""
    start = highspy.HighsBasis()
    start.col_status, start.row_status = (
        [STATUS[s] for s in part] + [STATUS[new]] * (size - len(part))
        for part, size, new in zip(basis, (columns, rows), (AT_LOWER, BASIC), strict=True)
    )
    highs.setBasis(start)


def _statuses(value: np.ndarray, lower: np.ndarray, upper: np.ndarray, basic: np.ndarray) -> bytes:
    status = np.where(np.abs(value - upper) < np.abs(value - lower), AT_UPPER, AT_LOWER).astype(np.uint8)
    status[np.isinf(lower) & np.isinf(upper)] = FREE
    status[basic] = BASIC
    return status.tobytes()


# An LP in row form as HiGHS's own model.


def pass_lp(highs: highspy.Highs, lp) -> None:
    """Give a :class:`tritier.reformulation.lp.ParametricLP` to HiGHS: as whole arrays, which is five times as fast
    as field
    by field."""
    a = sp.csr_array(lp.matrix)
    sizes = (lp.cost.size, lp.row_lower.size, a.nnz, int(highspy.MatrixFormat.kRowwise))
    sense, offset, continuous = int(highspy.ObjSense.kMinimize), 0.0, np.zeros(lp.cost.size, dtype=np.int32)
    bounds = (lp.col_lower, lp.col_upper, lp.row_lower, lp.row_upper)
    entries = (a.indptr.astype(np.int32), a.indices.astype(np.int32), a.data)
    highs.passModel(*sizes, sense, offset, lp.cost, *bounds, *entries, continuous)


TOLERANCE = 1e-9  # primal and dual feasibility asked of HiGHS
FEASIBLE = 2e-7  # kW, kWh or $: largest violation of a row or bound that a returned point may have
NO_LIMIT = 2**31 - 1  # HiGHS's default of simplex_iteration_limit
DUST = 1e-6  # relative: how far a safe bound may be from the objective before the basis is thrown away


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
    """A basis of an LP: x, row duals y (d objective / d row bound), reduced costs, objective, simplex steps."""

    x: np.ndarray
    y: np.ndarray
    reduced: np.ndarray
    objective: float
    iterations: int


def parametric_lp(problem: cp.Problem, labels: dict[int, str]) -> ParametricLP:
    """Canonical form of a linear cvxpy problem with bounds as bounds.

    ``labels`` maps constraint ids to row names. Equalities come first, then rows ``<=`` (the sign cvxpy gives ``lhs -
    rhs``).
    """
    data, _, _ = problem.get_problem_data(cp.HIGHS)
    cone = data["param_prob"]
    dims = data["dims"]
    shapes = {v.id: (v.name(), v.shape) for v in problem.variables()}
    columns = {shapes[vid][0]: (first, shapes[vid][1]) for vid, first in cone.var_id_to_col.items() if vid in shapes}
    if sum(int(np.prod(shape)) for _, shape in columns.values()) != data["c"].size:
        raise SolverError("the problem is not linear: its canonical form has columns of its own")
    rows, first = {}, 0
    shape_of = {c.id: c.shape for c in problem.constraints}
    for constraint in cone.constraints:
        rows[labels.get(constraint.id, f"row{constraint.id}")] = (
            first,
            shape_of.get(constraint.id, (constraint.size,)),
        )
        first += constraint.size
    upper = np.asarray(data["b"], dtype=float)
    lower = np.where(np.arange(upper.size) < dims.zero, upper, -np.inf)
    n = data["c"].size
    return ParametricLP(
        cost=np.asarray(data["c"], dtype=float),
        matrix=sp.csr_array(data["A"]),
        row_lower=lower,
        row_upper=upper,
        col_lower=_bound(data["lower_bounds"], n, -np.inf),
        col_upper=_bound(data["upper_bounds"], n, np.inf),
        columns=columns,
        rows=rows,
    )


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


class WarmLP:
    """A ParametricLP held in HiGHS with its basis: costs, bounds and borders change, the simplex restarts."""

    def __init__(self, lp: ParametricLP) -> None:
        self.lp = lp
        self.solves = 0
        self._cost = lp.cost.copy()
        self._lower, self._upper = lp.col_lower.copy(), lp.col_upper.copy()
        self._row_lower, self._row_upper = lp.row_lower.copy(), lp.row_upper.copy()
        self.restart()

    def set_cost(self, cost: np.ndarray) -> None:
        """Replace the cost vector; only changed entries are sent."""
        changed = np.flatnonzero(cost != self._cost).astype(np.int32)
        if changed.size:
            self._highs.changeColsCost(changed.size, changed, cost[changed])
            self._cost = cost.copy()

    def set_bounds(self, columns: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Replace bounds of some columns."""
        columns = np.asarray(columns, dtype=np.int32)
        if columns.size:
            self._lower[columns], self._upper[columns] = lower, upper
            self._highs.changeColsBounds(columns.size, columns, self._lower[columns], self._upper[columns])

    def set_rows(self, rows: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Replace bounds of some rows."""
        rows = np.asarray(rows, dtype=np.int32)
        if rows.size:
            self._row_lower[rows], self._row_upper[rows] = lower, upper
            self._highs.changeRowsBounds(rows.size, rows, self._row_lower[rows], self._row_upper[rows])

    def set_row_entries(self, row: int, entries: dict[int, float]) -> None:
        """Replace entries of one row that are in the matrix already."""
        a = self.lp.matrix.copy()
        first, last = a.indptr[row], a.indptr[row + 1]
        place = {int(column): first + k for k, column in enumerate(a.indices[first:last])}
        for column, value in entries.items():
            a.data[place[int(column)]] = value
            self._highs.changeCoeff(int(row), int(column), float(value))
        self.lp = replace(self.lp, matrix=a)

    def append(self, border: Border) -> None:
        """Append columns and rows; the basis is kept, new rows start basic."""
        n = border.cost.size
        if n:
            a = sp.csc_array(border.old_rows)
            index, start = a.indices.astype(np.int32), a.indptr[:-1].astype(np.int32)
            self._highs.addCols(n, border.cost, border.col_lower, border.col_upper, a.nnz, start, index, a.data)
            self._cost = np.append(self._cost, border.cost)
            self._lower = np.append(self._lower, border.col_lower)
            self._upper = np.append(self._upper, border.col_upper)
        if border.row_lower.size:
            a = sp.csr_array(border.matrix)
            index, start = a.indices.astype(np.int32), a.indptr[:-1].astype(np.int32)
            self._highs.addRows(a.shape[0], border.row_lower, border.row_upper, a.nnz, start, index, a.data)
            self._row_lower = np.append(self._row_lower, border.row_lower)
            self._row_upper = np.append(self._row_upper, border.row_upper)
        self.lp = self.lp.bordered(border)
        self._basis = None

    def solve(self, cost: np.ndarray | None = None, simplex: str = "dual", dust: float = DUST) -> LPSolution:
        """Solve from the last basis. ``simplex`` is ``dual`` (bounds or rows changed) or ``primal`` (costs changed).

        A solution whose safe bound is not within ``dust`` of its objective, relative, or which violates a row, is
        solved again from a cleared basis.
        Raises InfeasibleError, or SolverError if HiGHS returns neither an optimal basis nor a proof that there is none.
        """
        if cost is not None:
            self.set_cost(cost)
        self._highs.setOptionValue("simplex_strategy", {"dual": 1, "primal": 4}[simplex])
        for attempt in ("warm", "cold"):
            self._basis = None
            if attempt == "cold":
                self._highs.clearSolver()
                self._highs.setOptionValue("simplex_strategy", 1)
            self._highs.run()
            self.solves += 1
            if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                continue
            solution = self._highs.getSolution()
            info = self._highs.getInfo()
            x, y = np.array(solution.col_value), np.array(solution.row_dual)
            answer = LPSolution(
                x, y, np.array(solution.col_dual), info.objective_function_value, info.simplex_iteration_count
            )
            sound = abs(self.safe_bound(y) - answer.objective) <= dust * max(1.0, abs(answer.objective))
            if sound and primal_residual(self.current(), x) <= FEASIBLE:
                self._basis = basis_at(self._highs, x, np.array(solution.row_value), self.current())
                return answer
        if self._highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
            raise InfeasibleError("the LP has no feasible point")
        status = self._highs.modelStatusToString(self._highs.getModelStatus())
        raise SolverError(f"HiGHS gave no LP solution that can be trusted: status {status}")

    def nonbasic(self) -> tuple[np.ndarray, np.ndarray]:
        """Which columns and which rows stand at a bound in the present basis, boolean, (n,) and (m,)."""
        basis, basic = self._highs.getBasis(), highspy.HighsBasisStatus.kBasic
        return tuple(np.array([s != basic for s in status]) for status in (basis.col_status, basis.row_status))

    def basis(self) -> Basis:
        """The present basis: one byte per column, one per row."""
        return self._basis or basis_of(self._highs)

    def set_basis(self, basis: Basis) -> None:
        """Start the next solve from a basis (:func:`tritier.reformulation.lp.start_from`)."""
        start_from(self._highs, basis, self.lp.cost.size, self.lp.row_lower.size)
        self._basis = None

    def basic_point(self, basis: Basis, cost: np.ndarray) -> LPSolution:
        """The point and the duals of a basis, optimal or not, without a simplex step."""
        self.set_cost(cost)
        self.set_basis(basis)
        self._highs.setOptionValue("simplex_iteration_limit", 0)
        self._highs.run()
        self._highs.setOptionValue("simplex_iteration_limit", NO_LIMIT)
        solution, info = self._highs.getSolution(), self._highs.getInfo()
        x, y = np.array(solution.col_value), np.array(solution.row_dual)
        if x.size != self.lp.cost.size or y.size != self.lp.row_lower.size:
            raise SolverError("HiGHS gave no point for the basis: it is singular")
        return LPSolution(x, y, np.array(solution.col_dual), info.objective_function_value, 0)

    def restart(self) -> None:
        """A new solver on the LP as it stands, entries in order: nothing that came before steers the next solve."""
        self.lp = replace(self.lp, matrix=self.lp.matrix.sorted_indices())
        self._highs = highspy.Highs()
        self._highs.setOptionValue("output_flag", False)
        self._highs.setOptionValue("threads", 1)
        for tolerance in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            self._highs.setOptionValue(tolerance, TOLERANCE)
        pass_lp(self._highs, self.current())
        self._basis: Basis | None = None  # of the last solve, where nothing has changed it since

    def forget(self) -> None:
        """Drop the basis: a cost of another kind is solved faster from scratch by the dual simplex."""
        self._highs.clearSolver()
        self._basis = None

    def safe_bound(self, y: np.ndarray) -> float:
        """Safe lower bound at the present costs and bounds (:func:`safe_bound`)."""
        return safe_bound(self.current(), self._cost, y)

    def current(self) -> ParametricLP:
        """The LP as it stands now: its present cost and bounds."""
        return replace(
            self.lp,
            cost=self._cost,
            col_lower=self._lower,
            col_upper=self._upper,
            row_lower=self._row_lower,
            row_upper=self._row_upper,
        )


def primal_residual(lp: ParametricLP, x: np.ndarray) -> float:
    """Largest violation of a row or a bound by x."""
    rows = lp.matrix @ x
    off = [lp.row_lower - rows, rows - lp.row_upper, lp.col_lower - x, x - lp.col_upper]
    return float(max(0.0, *(np.max(o, initial=0.0) for o in off)))


def _bound(values, n: int, default: float) -> np.ndarray:
    return np.full(n, default) if values is None else np.asarray(values, dtype=float)


def _positions(first: int, shape: tuple[int, ...]) -> np.ndarray:
    return first + np.arange(int(np.prod(shape))).reshape(shape, order="F")


def _label(names: dict[str, tuple[int, tuple[int, ...]]], position: int) -> str:
    for name, (first, shape) in names.items():
        size = prod(shape)
        if first <= position < first + size:
            index = np.unravel_index(position - first, shape, order="F") if shape else ()
            return f"{name}[{', '.join(str(int(k)) for k in index)}]" if index else name
    raise IndexError(position)
