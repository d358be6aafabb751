"""Two-stage robust problems: first stage, recourse terms, and the recourse solved at a given decision and point."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from tritier.linear import LinearProgram
from tritier.uncertainty import UncertaintySet


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
    """An adversary's answer: a point u, the recourse cost there, and a bound no point of the set exceeds."""

    u: np.ndarray
    value: float
    bound: float
    feasible: bool = True


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

    def _limits(self, right: np.ndarray, columns: int):
        """Row limits of the coupling rows and bounds of all columns, at right-hand sides (r,)."""
        low = right[self.coupled]
        value = right[self.single] / self.factor
        above, lower, upper = self.factor > 0, np.zeros(columns), np.full(columns, np.inf)
        np.maximum.at(lower, self.column[above], value[above])
        np.minimum.at(upper, self.column[~above], value[~above])
        return low, np.where(self.equality, low, np.inf), lower, upper

    def solve(self, u: np.ndarray):
        """The optimal recourse at u, or None if there is none; its duals are those of the coupling rows."""
        return self.solve_at(self.h0 - self.H @ u)

    def solve_at(self, right: np.ndarray):
        """The optimal recourse at right-hand sides (r,), or None if there is none."""
        low, high, lower, upper = self._limits(right, self.program.cost.size)
        if np.any(lower > upper + 1e-9 * (1.0 + abs(lower))):
            return None
        self.program.set_rows(low, high)
        self.program.set_bounds(lower, np.maximum(lower, upper))
        return self.program.solve()
