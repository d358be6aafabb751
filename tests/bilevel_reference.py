"""Brute force for small linear bilevel problems, written without the package's KKT code.

Every follower row and bound becomes ``g.(x, y) <= h`` with a multiplier of its own; a depth-first walk fixes each pair
to "row tight" or "multiplier zero" and solves an LP (scipy's HiGHS) at every node, cutting only infeasible subtrees.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog


def brute_force(problem) -> float | None:
    """Optimal F over all complementarity patterns; None when no pattern is feasible; -inf when one is unbounded.

    Discrete leader variables are enumerated (menus, or integers in their box).
    """
    p, nx, n = problem, problem.nx, problem.nx + problem.ny
    A, U = p.A.toarray(), p.U.toarray()
    G, h, free = [], [], []
    eq_rows, eq_rhs = [], []
    for row, low, high in zip(A, p.row_lower, p.row_upper, strict=True):
        _split(row, low, high, G, h, eq_rows, eq_rhs)
    for j in range(p.ny):
        _split(np.eye(n)[nx + j], p.y_lower[j], p.y_upper[j], G, h, eq_rows, eq_rhs)
    G, h = np.array(G).reshape(-1, n), np.array(h)
    E, e = np.array(eq_rows).reshape(-1, n), np.array(eq_rhs)
    K, L = h.size, e.size
    upper_G, upper_h, upper_E, upper_e = [], [], [], []
    for row, low, high in zip(U, p.U_lower, p.U_upper, strict=True):
        _split(row, low, high, upper_G, upper_h, upper_E, upper_e)

    # stationarity: f_y + Q'x + G_y' m + E_y' l = 0 with m >= 0
    station = np.hstack([p.Q.T.toarray(), np.zeros((p.ny, p.ny)), G[:, nx:].T, E[:, nx:].T])
    pad = lambda M: np.hstack([np.asarray(M, float).reshape(-1, n), np.zeros((len(M), K + L))])  # noqa: E731
    A_eq = np.vstack([pad(E), pad(upper_E), station])
    b_eq = np.concatenate([e, upper_e, -p.f[nx:]])
    A_ub = np.vstack([pad(G), pad(upper_G)])
    b_ub = np.concatenate([h, upper_h])
    cost = np.concatenate([p.F, np.zeros(K + L)])
    free = [(None, None)] * p.ny
    best = [None]

    def walk(k: int, tight: list[bool], x_box: list) -> None:
        bounds = [
            *x_box,
            *free,
            *[(0, None) if k_ >= k or tight[k_] else (0, 0) for k_ in range(K)],
            *[(None, None)] * L,
        ]
        held = [i for i in range(k) if tight[i]]
        eq = np.vstack([A_eq, pad(G[held])])
        found = linprog(cost, A_ub, b_ub, eq, np.concatenate([b_eq, h[held]]), bounds, method="highs")
        if found.status == 2:
            return
        if k == K:
            value = -np.inf if found.status == 3 else found.fun + p.F0
            best[0] = value if best[0] is None else min(best[0], value)
            return
        for side in (True, False):
            walk(k + 1, [*tight, side], x_box)

    for x_box in _discrete_points(p):
        walk(0, [], x_box)
    return best[0]


def _split(row, low, high, G, h, E, e) -> None:
    if low == high:
        E.append(row)
        e.append(high)
        return
    if np.isfinite(high):
        G.append(row)
        h.append(high)
    if np.isfinite(low):
        G.append(-row)
        h.append(-low)


def _discrete_points(p):
    boxes = [[]]
    for j in range(p.nx):
        low, high = p.x_lower[j], p.x_upper[j]
        if p.menu[j] is not None:
            choices = [(v, v) for v in p.menu[j] if low <= v <= high]
        elif p.integer[j]:
            choices = [(v, v) for v in np.arange(np.ceil(low), np.floor(high) + 1)]
        else:
            choices = [(low if np.isfinite(low) else None, high if np.isfinite(high) else None)]
        boxes = [[*box, choice] for box in boxes for choice in choices]
    return boxes


def worst_answer(problem, x) -> float:
    """Largest F over the follower's best answers at x, by two LPs; inf where F is unbounded over them."""
    A, y0 = problem.A.toarray(), problem.nx
    shift = A[:, :y0] @ x
    G, h, E, e = [], [], [], []
    for row, low, high in zip(A[:, y0:], problem.row_lower - shift, problem.row_upper - shift, strict=True):
        _split(row, low, high, G, h, E, e)
    prices = problem.f[y0:] + problem.Q.T @ x
    box = [(low, None if np.isinf(high) else high) for low, high in zip(problem.y_lower, problem.y_upper, strict=True)]
    equal = (np.array(E).reshape(-1, problem.ny), np.array(e))
    least = linprog(prices, np.array(G).reshape(-1, problem.ny), np.array(h), *equal, box, method="highs")
    face = np.vstack([np.array(G).reshape(-1, problem.ny), prices])
    sides = np.append(h, least.fun + 1e-9 * max(1.0, abs(least.fun)))
    found = linprog(-problem.F[y0:], face, sides, *equal, box, method="highs")
    return np.inf if found.status == 3 else problem.F[:y0] @ x - found.fun + problem.F0
