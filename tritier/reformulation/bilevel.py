r"""A linear bilevel problem: the data, and the follower's LP at a given leader decision.

The leader chooses ``x``, the follower answers with ``y``, and of several best answers the one the leader prefers is
taken (the optimistic reading):

Equation :eq:`eq-bilevel`:

.. math::

   \min_{x, y}\; F^\top (x, y) + F_0 \quad\text{s.t.}\quad (x, y) \in \mathcal{U}, \qquad
   y \in \arg\min_{y'} \{ f^\top (x, y') + x^\top Q y' + f_0 :
   \underline{b} \le A (x, y') \le \overline{b},\; \underline{y} \le y' \le \overline{y} \}

Tariffs enter through ``Q`` (prices of follower columns), capacity limits through the ``x`` columns of ``A``
(right-hand sides). The reformulations are in :mod:`tritier.reformulation.kkt` and :mod:`tritier.reformulation.modes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from tritier.errors import InputError
from tritier.reformulation.lp import Status, solve_lp

INF = np.inf
LARGEST = 1e15  # magnitude of a coefficient, side or bound of a file: beyond, solvers take it for infinite
Matrix: TypeAlias = sparse.csr_array | np.ndarray


@dataclass(frozen=True, eq=False)
class LinearBilevel:
    """A linear bilevel problem :eq:`eq-bilevel`. Rows act on ``[x, y]``; absent sides of rows and bounds are infinite.

    Attributes
    ----------
    F, F0 : leader's cost, shape (nx + ny,), and constant
    f, f0 : follower's cost, shape (nx + ny,), and constant (the x part is a constant of the follower)
    Q : prices set by the leader, CSR (nx, ny): the follower also pays ``x' Q y``
    U, U_lower, U_upper : leader's rows, CSR (mu, nx + ny) and (mu,); they may couple x and y
    A, row_lower, row_upper : follower's rows, CSR (m, nx + ny) and (m,)
    x_lower, x_upper, y_lower, y_upper : bounds, (nx,) and (ny,)
    integer : True where x must be an integer, (nx,)
    menu : per x either None or the finite values it may take
    x_name, y_name, U_name, row_name : labels, which find their way into every multiplier's name
    """

    F: np.ndarray
    F0: float
    f: np.ndarray
    f0: float
    Q: sparse.csr_array
    U: sparse.csr_array
    U_lower: np.ndarray
    U_upper: np.ndarray
    A: sparse.csr_array
    row_lower: np.ndarray
    row_upper: np.ndarray
    x_lower: np.ndarray
    x_upper: np.ndarray
    y_lower: np.ndarray
    y_upper: np.ndarray
    integer: np.ndarray
    menu: tuple[tuple[float, ...] | None, ...]
    x_name: tuple[str, ...]
    y_name: tuple[str, ...]
    U_name: tuple[str, ...]
    row_name: tuple[str, ...]
    name: str = "bilevel problem"

    @property
    def nx(self) -> int:
        """Number of leader variables."""
        return self.x_lower.size

    @property
    def ny(self) -> int:
        """Number of follower variables."""
        return self.y_lower.size

    @property
    def discrete(self) -> np.ndarray:
        """True where x is an integer or from a menu, shape (nx,)."""
        return self.integer | np.array([m is not None for m in self.menu], dtype=bool)

    def leader_cost(self, x: np.ndarray, y: np.ndarray) -> float:
        """F at (x, y)."""
        return float(self.F[: self.nx] @ x + self.F[self.nx :] @ y + self.F0)

    def follower_cost(self, x: np.ndarray, y: np.ndarray) -> float:
        """f at (x, y), the tariff term ``x' Q y`` included."""
        return float(self.f[: self.nx] @ x + self.f[self.nx :] @ y + x @ (self.Q @ y) + self.f0)

    def follower_prices(self, x: np.ndarray) -> np.ndarray:
        """Cost of each follower column at leader decision x: ``f_y + Q' x``, shape (ny,)."""
        return self.f[self.nx :] + self.Q.T @ x


def linear_bilevel(
    F: ArrayLike,
    f: ArrayLike,
    nx: int,
    *,
    F0: float = 0.0,
    f0: float = 0.0,
    Q: Matrix | None = None,
    upper: tuple | None = None,
    lower: tuple | None = None,
    x_bounds: Sequence[tuple[float, float]] | None = None,
    y_bounds: Sequence[tuple[float, float]] | None = None,
    integer: Sequence[int] = (),
    menu: Mapping[int, Sequence[float]] | None = None,
    x_name: Sequence[str] | None = None,
    y_name: Sequence[str] | None = None,
    U_name: Sequence[str] | None = None,
    row_name: Sequence[str] | None = None,
    name: str = "bilevel problem",
) -> LinearBilevel:
    """A :class:`LinearBilevel` from arrays.

    Args:
        F, f: costs on [x, y], shape (nx + ny,).
        upper, lower: ``(matrix, lower sides, upper sides)`` on [x, y]; None means no rows.
        x_bounds, y_bounds: pairs, default free.
        integer: positions of integer x.
        menu: finite values by position of x.

    Raises:
        InputError: shapes do not fit, or a bound is crossed.
    """
    leader, follower = np.asarray(F, dtype=float), np.asarray(f, dtype=float)
    n, ny = leader.size, leader.size - nx
    if follower.size != n or not 0 <= nx <= n:
        problem = f"{n} and {follower.size} entries for nx = {nx}"
        raise InputError(name, "F_c, f_c", problem, "give both nx + ny entries")
    Uset, Aset = _rows(upper, n, name, "upper_rows"), _rows(lower, n, name, "lower_rows")
    x_box, y_box = _box(x_bounds, nx, name, "bounds of x"), _box(y_bounds, ny, name, "bounds of y")
    whole = np.zeros(nx, dtype=bool)
    whole[list(integer)] = True
    menus = tuple(tuple(float(v) for v in menu[j]) if menu and j in menu else None for j in range(nx))
    prices = sparse.csr_array((nx, ny)) if Q is None else sparse.csr_array(Q, dtype=float, copy=True)
    prices.eliminate_zeros()
    for label, given in (("x_name, y_name", [*(x_name or ()), *(y_name or ())]), ("row_name", row_name or ())):
        if len(set(given)) < len(given):
            raise InputError(name, label, "names two alike, and multipliers go by name", "give different names")
    return LinearBilevel(
        leader, float(F0), follower, float(f0), prices, *Uset, *Aset, *x_box, *y_box, whole, menus,
        tuple(x_name or (f"x[{j + 1}]" for j in range(nx))), tuple(y_name or (f"y[{j + 1}]" for j in range(ny))),
        tuple(U_name or (f"upper[{k + 1}]" for k in range(Uset[1].size))),
        tuple(row_name or (f"row[{k + 1}]" for k in range(Aset[1].size))), name,
    )  # fmt: skip


def _rows(block: tuple | None, n: int, name: str, label: str) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
    matrix, low, high = block if block is not None else (np.zeros((0, n)), [], [])
    matrix = sparse.csr_array(matrix, dtype=float, copy=True)
    matrix.eliminate_zeros()  # an entry says that a variable is seen
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    if matrix.shape != (low.size, n) or high.size != low.size:
        raise InputError(name, label, f"matrix {matrix.shape}, sides {low.size} and {high.size}", f"use {n} columns")
    return matrix, low, high


def _box(
    pairs: Sequence[tuple[float, float]] | None, count: int, name: str, label: str
) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full(count, -INF), np.full(count, INF)
    if pairs is not None:
        if len(pairs) != count:
            raise InputError(name, label, f"{len(pairs)} pairs for {count} variables", "give one pair a variable")
        low, high = (np.array([p[k] for p in pairs], dtype=float).reshape(count) for k in (0, 1))
    if np.any(low > high):
        raise InputError(name, label, "a lower bound exceeds its upper bound", "swap or mend the bounds")
    return low, high


def from_parametric(
    c: ArrayLike,
    A: Matrix,
    row_lower: ArrayLike,
    row_upper: ArrayLike,
    col_lower: ArrayLike,
    col_upper: ArrayLike,
    *,
    cost_by_x: Matrix,
    row_lower_by_x: Matrix | None = None,
    row_upper_by_x: Matrix | None = None,
    col_upper_by_x: Matrix | None = None,
    F: ArrayLike,
    F0: float = 0.0,
    upper: tuple | None = None,
    x_bounds: Sequence[tuple[float, float]] | None = None,
    integer: Sequence[int] = (),
    menu: Mapping[int, Sequence[float]] | None = None,
    x_name: Sequence[str] | None = None,
    col_name: Sequence[str] | None = None,
    row_name: Sequence[str] | None = None,
    name: str = "parametric follower",
) -> LinearBilevel:
    """A :class:`LinearBilevel` from a follower LP whose data are affine in the leader's decision x.

    The follower is ``min (c + cost_by_x' x) . y``, ``row_lower + row_lower_by_x x <= A y <= row_upper +
    row_upper_by_x x``, ``col_lower <= y <= col_upper + col_upper_by_x x``.

    The order of the columns is kept. Labels are kept; split rows are marked ``(lower)`` and ``(upper)``.

    Args:
        c, A: costs (ny,) and rows (m, ny) of the follower; with the sides of rows and columns, at x = 0.
        cost_by_x: (nx, ny), the tariff term ``x' Q y``.
        row_lower_by_x, row_upper_by_x: (m, nx) or None; a row whose two finite sides move differently is split in two.
        col_upper_by_x: (ny, nx) or None; a column whose upper bound moves gets a row of its own.
        F, F0, upper, x_bounds, integer, menu: the leader, as in :func:`linear_bilevel`; F is (nx + ny,).
    """
    A = sparse.csr_array(A, dtype=float)
    m, ny = A.shape
    nx = sparse.csr_array(cost_by_x).shape[0]
    low, high = np.asarray(row_lower, dtype=float), np.asarray(row_upper, dtype=float)
    shift = [
        sparse.csr_array((m, nx)) if s is None else sparse.csr_array(s, dtype=float)
        for s in (row_lower_by_x, row_upper_by_x)
    ]
    col_shift = sparse.csr_array((ny, nx)) if col_upper_by_x is None else sparse.csr_array(col_upper_by_x, dtype=float)
    labels = list(row_name or (f"row[{k + 1}]" for k in range(m)))
    columns = list(col_name or (f"y[{j + 1}]" for j in range(ny)))

    top = np.asarray(col_upper, dtype=float).copy()
    lower, kept, cut, moved = _rows_with_shifts(A, low, high, top, shift, col_shift)
    names = [labels[k] for k in kept] + [f"{labels[k]} (lower)" for k in cut] + [f"{labels[k]} (upper)" for k in cut]
    names += [f"upper bound of {columns[j]}" for j in moved]
    top[moved] = INF
    return linear_bilevel(
        F, np.concatenate([np.zeros(nx), np.asarray(c, dtype=float)]), nx, F0=F0, Q=cost_by_x, upper=upper,
        lower=lower, y_bounds=list(zip(np.asarray(col_lower, dtype=float), top, strict=True)), x_bounds=x_bounds,
        integer=integer, menu=menu, x_name=x_name, y_name=columns, row_name=names, name=name,
    )  # fmt: skip


def _rows_with_shifts(
    A: sparse.csr_array, low: np.ndarray, high: np.ndarray, top: np.ndarray, shift: list, col_shift: sparse.csr_array
) -> tuple[tuple[sparse.csr_array, np.ndarray, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Rows over (x, y) with their sides, and which rows are kept, are split in two, and which columns get a row."""
    m, ny = A.shape
    differs = np.diff((shift[0] - shift[1]).tocsr().indptr) > 0
    split = differs & np.isfinite(low) & np.isfinite(high)
    kept, cut = np.flatnonzero(~split), np.flatnonzero(split)
    moved = np.flatnonzero(np.diff(col_shift.indptr) > 0)
    # Where only one side is finite, that side's shift is the row's; equal shifts may be taken from either side.
    side = sparse.diags_array(np.isfinite(low).astype(float))
    common = side @ shift[0] + (sparse.eye_array(m) - side) @ shift[1]
    X = sparse.vstack([-common.tocsr()[kept], -shift[0][cut], -shift[1][cut], -col_shift[moved]], format="csr")
    Y = sparse.vstack([A[kept], A[cut], A[cut], sparse.eye_array(ny, format="csr")[moved]], format="csr")
    none = np.full(cut.size, INF)
    rows_low = np.concatenate([low[kept], low[cut], -none, np.full(moved.size, -INF)])
    rows_high = np.concatenate([high[kept], none, high[cut], top[moved]])
    return (sparse.hstack([X, Y], format="csr"), rows_low, rows_high), kept, cut, moved


def solve_follower(problem: LinearBilevel, x: np.ndarray) -> tuple[str, float, np.ndarray, np.ndarray, np.ndarray]:
    """The follower's LP at x: status, optimal value theta(x), y, row duals (m,), column duals (ny,).

    Duals carry HiGHS's sign, which is the one of :func:`tritier.reformulation.kkt.sign_table`: the derivative of
    theta with respect to the active side. Without an optimum the arrays are empty.
    """
    shift = problem.A[:, : problem.nx] @ x
    found = solve_lp(
        problem.follower_prices(x), problem.A[:, problem.nx :], problem.row_lower - shift, problem.row_upper - shift,
        problem.y_lower, problem.y_upper,
    )  # fmt: skip
    if found.status != Status.OPTIMAL:
        return found.status, INF if found.status == Status.INFEASIBLE else -INF, found.x, found.y, found.reduced
    return found.status, problem.follower_cost(x, found.x), found.x, found.y, found.reduced
