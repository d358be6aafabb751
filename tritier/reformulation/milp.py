"""Linear and mixed-integer programs handed to HiGHS, with the residuals of every answer checked."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
import scipy.sparse as sp

from tritier.errors import SolverError

#: Largest row or bound violation accepted from the solver, relative to the size of the row's data.
RESIDUAL = 1e-6


@dataclass(frozen=True, eq=False)
class Answer:
    """A solved program: value, point, row duals (empty for a MIP) and the solver's bound on the value."""

    value: float
    x: np.ndarray
    dual: np.ndarray
    bound: float


class LinearProgram:
    """``min cost.x  s.t.  row_lower <= A x <= row_upper, lower <= x <= upper``, some x integer; rows and bounds may be
    changed between solves, which restart from the last basis."""

    def __init__(self, cost, matrix, row_lower, row_upper, lower, upper, integer=None, method: str = "choose") -> None:
        self.matrix = sp.csr_matrix(matrix)
        rows, columns = self.matrix.shape
        self.cost = np.asarray(cost, dtype=float)
        self.row_lower = np.array(np.broadcast_to(row_lower, rows), dtype=float)
        self.row_upper = np.array(np.broadcast_to(row_upper, rows), dtype=float)
        self.lower = np.array(np.broadcast_to(lower, columns), dtype=float)
        self.upper = np.array(np.broadcast_to(upper, columns), dtype=float)
        self.integer = np.zeros(columns, dtype=bool) if integer is None else np.asarray(integer, dtype=bool)
        self.solver = highspy.Highs()
        for option, value in {"output_flag": False, "threads": 1, "mip_rel_gap": 0.0, "mip_abs_gap": 1e-9}.items():
            self.solver.setOptionValue(option, value)
        self.solver.setOptionValue("solver", method)
        self.solver.passModel(self._model())

    def _model(self) -> highspy.HighsLp:
        model = highspy.HighsLp()
        model.num_row_, model.num_col_ = self.matrix.shape
        model.col_cost_, model.col_lower_, model.col_upper_ = self.cost, self.lower, self.upper
        model.row_lower_, model.row_upper_ = self.row_lower, self.row_upper
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_, model.a_matrix_.index_ = self.matrix.indptr, self.matrix.indices
        model.a_matrix_.value_ = self.matrix.data
        if self.integer.any():
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            model.integrality_ = [kinds[int(flag)] for flag in self.integer]
        return model

    def set_rows(self, row_lower, row_upper) -> None:
        """New row bounds (right-hand sides); the matrix stays."""
        rows = self.matrix.shape[0]
        self.row_lower = np.array(np.broadcast_to(row_lower, rows), dtype=float)
        self.row_upper = np.array(np.broadcast_to(row_upper, rows), dtype=float)
        self.solver.changeRowsBounds(rows, np.arange(rows, dtype=np.int32), self.row_lower, self.row_upper)

    def set_bounds(self, lower, upper) -> None:
        """New column bounds; rows and cost stay."""
        columns = self.matrix.shape[1]
        self.lower = np.array(np.broadcast_to(lower, columns), dtype=float)
        self.upper = np.array(np.broadcast_to(upper, columns), dtype=float)
        self.solver.changeColsBounds(columns, np.arange(columns, dtype=np.int32), self.lower, self.upper)

    def set_cost(self, cost) -> None:
        """New cost vector; rows and bounds stay."""
        self.cost = np.asarray(cost, dtype=float)
        self.solver.changeColsCost(self.cost.size, np.arange(self.cost.size, dtype=np.int32), self.cost)

    def solve(self, time_limit: float | None = None) -> Answer | None:
        """The optimum, or None if the program is infeasible.

        Raises:
            SolverError: the program is unbounded, HiGHS stopped early, or its point violates a row by more than
            RESIDUAL.
        """
        if time_limit is not None:
            self.solver.setOptionValue("time_limit", float(time_limit) + self.solver.getRunTime())
        self.solver.run()
        status = self.solver.getModelStatus()
        if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
            return None
        if status != highspy.HighsModelStatus.kOptimal or self._residual() > RESIDUAL:
            self.solver.clearSolver()  # a hot start can mislead HiGHS (its issues 3194 and 3294): once more from cold
            self.solver.run()
            status = self.solver.getModelStatus()
            if status == highspy.HighsModelStatus.kInfeasible:
                return None
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(f"HiGHS stopped with status {self.solver.modelStatusToString(status)}")
        if (residual := self._residual()) > RESIDUAL:
            raise SolverError(f"HiGHS calls a point optimal that violates a row by {residual:.3g} (relative)")
        solution = self.solver.getSolution()
        value = self.solver.getInfo().objective_function_value
        bound = self.solver.getInfo().mip_dual_bound if self.integer.any() else value
        return Answer(value, np.array(solution.col_value), np.array(solution.row_dual), bound)

    def _residual(self) -> float:
        x = np.array(self.solver.getSolution().col_value)
        if x.size != self.matrix.shape[1]:
            return np.inf
        act = self.matrix @ x
        gap = np.maximum(self.row_lower - act, act - self.row_upper)
        scale = 1.0 + abs(self.matrix) @ abs(x)
        bounds = np.maximum(self.lower - x, x - self.upper) / (1.0 + abs(x))
        return float(max(np.max(gap / scale, initial=0.0), np.max(bounds, initial=0.0)))
