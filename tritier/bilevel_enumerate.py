"""Enumeration: the bilevel optimum when every leader variable that the follower sees is discrete.

At each discrete point the follower's LP is solved once; its multipliers fix the face of best answers exactly
(complementarity, no tolerance on the cost), and one LP picks the leader's favourite on that face.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import sparse

from tritier.bilevel import INF, LinearBilevel, solve_follower, solve_lp
from tritier.bilevel_modes import bilinear_leaders
from tritier.errors import InputError
from tritier.kkt import kkt_system


def discrete_points(problem: LinearBilevel) -> list[np.ndarray]:
    """All values of the discrete leader variables that satisfy the leader's rows on them alone; nan elsewhere."""
    choices = []
    for j in range(problem.nx):
        if problem.menu[j] is not None:
            choices.append(problem.menu[j])
        elif problem.integer[j]:
            choices.append(np.arange(np.ceil(problem.x_lower[j]), np.floor(problem.x_upper[j]) + 1))
        else:
            choices.append((np.nan,))
    free = np.append(~problem.discrete, np.ones(problem.ny, dtype=bool))
    own = np.flatnonzero(np.asarray(abs(problem.U[:, free]).sum(axis=1)).ravel() == 0)
    rows, low, high = problem.U[own][:, : problem.nx], problem.U_lower[own], problem.U_upper[own]
    points = []
    for values in itertools.product(*choices):
        x = np.array(values, dtype=float)
        activity = rows @ np.nan_to_num(x)
        if np.all(activity >= low - 1e-9) and np.all(activity <= high + 1e-9):
            points.append(x)
    return points


def best_on_face(problem: LinearBilevel, point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
    """The leader's favourite of the follower's best answers at a discrete point: F, x, y; None when there is none."""
    x = np.nan_to_num(point)
    status, _, _, row_dual, col_dual = solve_follower(problem, x)
    if status != "optimal":
        return None
    nx = problem.nx
    held = np.isfinite(point)
    row_low, row_high = problem.row_lower.copy(), problem.row_upper.copy()
    row_high[row_dual > FACE] = row_low[row_dual > FACE]
    row_low[row_dual < -FACE] = row_high[row_dual < -FACE]
    y_low, y_high = problem.y_lower.copy(), problem.y_upper.copy()
    y_high[col_dual > FACE] = y_low[col_dual > FACE]
    y_low[col_dual < -FACE] = y_high[col_dual < -FACE]
    status, z, *_ = solve_lp(
        problem.F, sparse.vstack([problem.U, problem.A], format="csr"), np.concatenate([problem.U_lower, row_low]),
        np.concatenate([problem.U_upper, row_high]), np.concatenate([np.where(held, x, problem.x_lower), y_low]),
        np.concatenate([np.where(held, x, problem.x_upper), y_high]),
    )  # fmt: skip
    return (problem.leader_cost(z[:nx], z[nx:]), z[:nx], z[nx:]) if status == "optimal" else None


#: duals smaller than this count as zero
FACE = 1e-9


def enumerate_menu(problem: LinearBilevel) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Optimal F, x, y by solving the follower at every discrete point, and F at each point (inf where infeasible).

    Raises InputError when the follower sees a continuous leader variable.
    """
    if bilinear_leaders(kkt_system(problem))[~problem.discrete].any():
        raise InputError(problem.name, "leader", "the follower sees a continuous variable", "give it a menu")
    found = [best_on_face(problem, point) for point in discrete_points(problem)]
    values = np.array([INF if f is None else f[0] for f in found])
    if not np.isfinite(values).any():
        return INF, np.zeros(0), np.zeros(0), values
    return *found[int(values.argmin())], values
