"""A linear bilevel problem in units of its own: rows and costs with a largest entry of 1, before anything is judged.

Tolerances are absolute in a solver and in a certificate. A follower's cost in units a million times larger has duals a
million times smaller, all below them, and every answer would pass. So a problem is solved, and its answer judged, with

- every row divided by its largest entry, each cost by its own;
- columns in other units where entries of one row differ by more than :data:`NEAR`, all of them where right-hand sides
  and bounds are far from 1; integers keep theirs.

All factors are powers of two, so that no number is rounded. What is then still beyond :data:`SMALLEST` to
:data:`LARGEST` is refused, by name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from tritier.errors import InputError
from tritier.reformulation.bilevel import LinearBilevel
from tritier.reformulation.kkt import KKT

SMALLEST, LARGEST = 1e-6, 1e6  # of entries, sides and bounds after scaling
NEAR = 1e-3  # entries of a row no smaller than this beside its largest leave the columns' units as they are
ROUNDING = 1e-12  # a side or bound this small after scaling is the rounding of zero
SWEEPS = 30  # of least squares, rows and columns in turn


@dataclass(frozen=True, eq=False)
class Scaling:
    """Sizes of the scaled units: ``x = x_unit x'``, ``y = y_unit y'``, ``F = F_unit F'``, ``f = f_unit f'``; a row of
    the leader or the follower is ``upper_unit`` or ``row_unit`` times the scaled one."""

    x_unit: np.ndarray  # (nx,)
    y_unit: np.ndarray  # (ny,)
    upper_unit: np.ndarray  # (mu,)
    row_unit: np.ndarray  # (m,)
    F_unit: float
    f_unit: float

    @property
    def unit(self) -> np.ndarray:
        """Units of [x, y], (nx + ny,)."""
        return np.concatenate([self.x_unit, self.y_unit])

    def slack_unit(self, kkt: KKT) -> np.ndarray:
        """Units of the slacks of a follower's conditions, (K,)."""
        of_row = np.array([kind.startswith("row") for kind in kkt.kind], dtype=bool)
        out = np.empty(kkt.h.size)
        out[of_row], out[~of_row] = self.row_unit[kkt.source[of_row]], self.y_unit[kkt.source[~of_row]]
        return out

    def dual_unit(self, kkt: KKT) -> np.ndarray:
        """Units of the multipliers, (K,): follower's cost per unit of the condition."""
        return self.f_unit / self.slack_unit(kkt)


def in_units(problem: LinearBilevel, units: Scaling) -> LinearBilevel:
    """The same problem with its variables, rows and costs in other units."""
    D = sparse.diags_array(units.unit)
    of_x = zip(problem.menu, units.x_unit, strict=True)
    return replace(
        problem,
        F=problem.F * units.unit / units.F_unit,
        F0=problem.F0 / units.F_unit,
        f=problem.f * units.unit / units.f_unit,
        f0=problem.f0 / units.f_unit,
        Q=sparse.csr_array(
            sparse.diags_array(units.x_unit / units.f_unit) @ problem.Q @ sparse.diags_array(units.y_unit)
        ),
        U=sparse.csr_array(sparse.diags_array(1.0 / units.upper_unit) @ problem.U @ D),
        U_lower=problem.U_lower / units.upper_unit,
        U_upper=problem.U_upper / units.upper_unit,
        A=sparse.csr_array(sparse.diags_array(1.0 / units.row_unit) @ problem.A @ D),
        row_lower=problem.row_lower / units.row_unit,
        row_upper=problem.row_upper / units.row_unit,
        x_lower=problem.x_lower / units.x_unit,
        x_upper=problem.x_upper / units.x_unit,
        y_lower=problem.y_lower / units.y_unit,
        y_upper=problem.y_upper / units.y_unit,
        menu=tuple(m if m is None else tuple(v / unit for v in m) for m, unit in of_x),
    )


def scaled(problem: LinearBilevel) -> tuple[LinearBilevel, Scaling]:
    """The problem in units of its own without the constants of its costs, and those units.

    Raises InputError, naming row and variable, where an entry, side or bound is not finite or is still beyond
    :data:`SMALLEST` to :data:`LARGEST`.
    """
    _require_finite(problem)
    columns = _column_units(problem)
    for column in columns:
        units = _units(problem, column)
        within = _without_constants(in_units(problem, units))
        unlike = _unlike(within)
        if unlike is None:
            return within, units
    assert unlike is not None
    mend = f"give numbers within {SMALLEST:g} to {LARGEST:g} of each other, and leave out bounds that never bind"
    raise InputError(problem.name, unlike[0], unlike[1], mend)


def _without_constants(problem: LinearBilevel) -> LinearBilevel:
    """No constants in the costs, and sides and bounds that are the rounding of zero at zero."""
    sides = ("U_lower", "U_upper", "row_lower", "row_upper", "x_lower", "x_upper", "y_lower", "y_upper")
    zeroed: dict[str, Any] = {
        side: np.where(np.abs(getattr(problem, side)) <= ROUNDING, 0.0, getattr(problem, side)) for side in sides
    }
    own = np.concatenate([np.zeros(problem.nx), problem.f[problem.nx :]])
    return replace(problem, F0=0.0, f=own, f0=0.0, **zeroed)


def _units(problem: LinearBilevel, column: np.ndarray) -> Scaling:
    """Units by the rules of this module, each a power of two, from units of the columns."""
    nx, unit = problem.nx, column.copy()
    rows = abs(sparse.csr_array(sparse.vstack([problem.U, problem.A], format="csr")))
    size = power(largest(rows @ sparse.diags_array(unit)))
    sides = np.concatenate([problem.U_lower, problem.row_lower, problem.U_upper, problem.row_upper]) / np.tile(size, 2)
    bounds = np.concatenate([problem.x_lower, problem.y_lower, problem.x_upper, problem.y_upper]) / np.tile(unit, 2)
    numbers = np.abs(np.concatenate([sides, bounds, *(np.array(m) for m in problem.menu if m is not None)]))
    numbers = numbers[np.isfinite(numbers) & (numbers > ROUNDING)]
    middle = float(np.median(numbers)) if numbers.size else 1.0
    if not NEAR <= middle <= 1.0 / NEAR:
        unit[np.append(~problem.integer, np.ones(problem.ny, dtype=bool))] *= power(middle)
    size = power(largest(rows @ sparse.diags_array(unit)))
    priced = abs(sparse.diags_array(unit[:nx]) @ problem.Q @ sparse.diags_array(unit[nx:]))
    follower = max(np.max(np.abs(problem.f[nx:]) * unit[nx:], initial=0.0), priced.max() if priced.nnz else 0.0)
    leader = np.max(np.abs(problem.F) * unit, initial=0.0)
    mu = problem.U_lower.size
    return Scaling(unit[:nx], unit[nx:], size[:mu], size[mu:], float(power(leader)), float(power(follower)))


def _column_units(problem: LinearBilevel) -> list[np.ndarray]:
    """Units of the columns to be tried: 1, and where entries of a row are far apart before that those that make the
    logarithms of all entries smallest in squares (Curtis and Reid 1972).

    The squares do not depend on the units that the problem came in.
    """
    costs = np.stack([problem.F, np.concatenate([np.zeros(problem.nx), problem.f[problem.nx :]])])
    matrix = abs(sparse.csr_array(sparse.vstack([problem.U, problem.A, sparse.csr_array(costs)], format="csr")))
    matrix.eliminate_zeros()
    plain, entries = np.ones(matrix.shape[1]), sparse.coo_array(matrix)
    if _spread(matrix) >= NEAR:
        return [plain]
    held = np.append(problem.integer, np.zeros(problem.ny, dtype=bool))
    size, row, column = np.log(entries.data), entries.row, entries.col
    in_row, in_column = np.bincount(row, minlength=matrix.shape[0]), np.bincount(column, minlength=plain.size)
    of_column = np.zeros(plain.size)
    for _ in range(SWEEPS):
        of_row = np.bincount(row, size + of_column[column], matrix.shape[0]) / np.maximum(in_row, 1)
        of_column = -np.bincount(column, size - of_row[row], plain.size) / np.maximum(in_column, 1)
        of_column[held] = 0.0
    return [power(np.exp(of_column)), plain]


def _spread(matrix: sparse.csr_array) -> float:
    """Smallest entry of a row beside its largest, over all rows."""
    top = largest(matrix)
    entries = sparse.coo_array(matrix)
    return float(np.min(entries.data / top[entries.row], initial=1.0))


def largest(matrix: sparse.csr_array) -> np.ndarray:
    """Largest entry of each row, 0 where there is none."""
    return np.asarray(matrix.max(axis=1).todense()).ravel() if matrix.shape[1] else np.zeros(matrix.shape[0])


def power(value: ArrayLike) -> np.ndarray:
    """The power of two next to a positive number; 1 for zero."""
    value = np.asarray(value, dtype=float)
    return np.where(value > 0, np.exp2(np.round(np.log2(np.where(value > 0, value, 1.0)))), 1.0)


def _require_finite(problem: LinearBilevel) -> None:
    """Raise InputError at a cost or coefficient that is no finite number, or a side that is nan."""
    numbers = {
        "F": problem.F, "f": problem.f, "Q": problem.Q.data, "upper rows": problem.U.data, "lower rows": problem.A.data,
        "constants": np.array([problem.F0, problem.f0]),
    }  # fmt: skip
    for field, values in numbers.items():
        if not np.isfinite(values).all():
            raise InputError(problem.name, field, "holds a number that is not finite", "give finite numbers")
    sides = (problem.U_lower, problem.U_upper, problem.row_lower, problem.row_upper)
    bounds = (problem.x_lower, problem.x_upper, problem.y_lower, problem.y_upper)
    for field, values in (("sides of rows", sides), ("bounds", bounds)):
        if np.isnan(np.concatenate(values)).any():
            raise InputError(problem.name, field, "hold a nan", "give numbers, infinite where there is no side")


def _unlike(problem: LinearBilevel) -> tuple[str, str] | None:
    """Place and size of a number of a scaled problem beyond ``SMALLEST`` to ``LARGEST``; None where there is none.

    They count where the follower's optimality hangs on them: small coefficients in its cost and in its rows, at its own
    variables, since elsewhere they only shift a side; bounds of its variables and of leader variables that it sees. So
    do the leader's coefficients of integers, whose units are held.
    """
    seen = np.diff(sparse.hstack([problem.Q, problem.A[:, : problem.nx].T], format="csr").indptr) > 0
    prices = sparse.csr_array(problem.f[problem.nx :][None])
    held = sparse.diags_array(problem.integer.astype(float))
    leader = sparse.csr_array(problem.F[: problem.nx][None]) @ held
    blocks = (
        ("lower row", problem.A[:, problem.nx :], problem.row_name, problem.y_name),
        ("follower's cost", prices, ("",), problem.y_name), ("price by", problem.Q, problem.x_name, problem.y_name),
        ("upper row", problem.U[:, : problem.nx] @ held, problem.U_name, problem.x_name),
        ("leader's cost", leader, ("",), problem.x_name),
    )  # fmt: skip
    for kind, matrix, labels, names in blocks:
        entries = sparse.coo_array(matrix)
        for k in np.flatnonzero((entries.data != 0) & (np.abs(entries.data) < SMALLEST)):
            column, size = names[entries.col[k]], abs(entries.data[k])
            what = f"the coefficient of {column} is {size:.1e} of the largest"
            return f"{kind} {labels[entries.row[k]]}".strip(), what
    sides = (
        ("side of upper row", (problem.U_lower, problem.U_upper), problem.U_name),
        ("side of lower row", (problem.row_lower, problem.row_upper), problem.row_name),
        ("bound of", (np.where(seen, problem.x_lower, 0), np.where(seen, problem.x_upper, 0)), problem.x_name),
        ("bound of", (problem.y_lower, problem.y_upper), problem.y_name),
    )
    for kind, ends, labels in sides:
        for size in map(np.abs, ends):
            for k in np.flatnonzero(np.isfinite(size) & (size > 0) & ~((size >= SMALLEST) & (size <= LARGEST))):
                return f"{kind} {labels[k]}", f"{size[k]:.1e} in units in which the other numbers are near 1"
    return None
