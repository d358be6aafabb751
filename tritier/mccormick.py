"""McCormick envelopes of one product, by hand, and the relaxation of a bilevel problem they give.

On a box the product ``w = x y`` lies between four planes, each from the product of two nonnegative distances:

Equation :eq:`eq-mccormick`:

.. math::

   w &\\ge \\underline{x} y + x \\underline{y} - \\underline{x}\\,\\underline{y}, \\qquad
   w \\ge \\overline{x} y + x \\overline{y} - \\overline{x}\\,\\overline{y}, \\\\
   w &\\le \\overline{x} y + x \\underline{y} - \\overline{x}\\,\\underline{y}, \\qquad
   w \\le \\underline{x} y + x \\overline{y} - \\underline{x}\\,\\overline{y}

Source: McCormick, G. P. (1976), Mathematical Programming 10, 147-175.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import sparse

from tritier.bilevel import INF, LinearBilevel, solve_lp
from tritier.bilevel_bounds import boxes, high_point_rows
from tritier.errors import InputError
from tritier.kkt import kkt_system


def mccormick(x: tuple[float, float], y: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The four rows ``a.(x, y, w) <= b`` of :eq:`eq-mccormick` on the box ``x = (low, high)``, ``y = (low, high)``.

    Returns ``a`` (4, 3) and ``b`` (4,). Raises InputError for a crossed or infinite box.
    """
    (xl, xu), (yl, yu) = x, y
    if not (np.all(np.isfinite([xl, xu, yl, yu])) and xl <= xu and yl <= yu):
        raise InputError(
            "McCormick", "box", f"x in [{xl}, {xu}], y in [{yl}, {yu}] is no finite box", "give finite ends in order"
        )
    a = np.array([[yl, xl, -1.0], [yu, xu, -1.0], [-yl, -xu, 1.0], [-yu, -xl, 1.0]])
    return a, np.array([xl * yl, xu * yu, -xu * yl, -xl * yu])


def envelope(x, y, x_box: tuple[float, float], y_box: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper envelope of ``x y`` at points of the box (any broadcastable shapes)."""
    a, b = mccormick(x_box, y_box)
    planes = [
        (row[0] * np.asarray(x) + row[1] * np.asarray(y) - side) * -np.sign(row[2])
        for row, side in zip(a, b, strict=True)
    ]
    return np.maximum(planes[0], planes[1]), np.minimum(planes[2], planes[3])


def largest_error(x_box: tuple[float, float], y_box: tuple[float, float], pieces: int = 1) -> float:
    """Largest distance of an envelope from the product, the x box cut into equal ``pieces``: a quarter of the area."""
    return (x_box[1] - x_box[0]) * (y_box[1] - y_box[0]) / (4.0 * pieces)


def relaxation_bound(problem: LinearBilevel, pieces: int = 1) -> float:
    """Lower bound on F from strong duality :eq:`eq-gathered` with every product relaxed, the x boxes cut into pieces.

    The least over all ``pieces ** nx`` cells (bilinear leader variables only) of one LP in (x, y, mu, w, product); inf
    when every cell is infeasible. A bound as far as the boxes of :func:`~tritier.bilevel_bounds.boxes` are proved.
    """
    kkt = kkt_system(problem)
    bounds = boxes(kkt)
    nx, ny, K = problem.nx, problem.ny, kkt.h.size
    weights = sparse.hstack([problem.Q, kkt.Hx.T], format="csr")
    dual_low = np.where(kkt.equation, -bounds.dual, 0.0)
    low, high = np.concatenate([bounds.y[:, 0], dual_low]), np.concatenate([bounds.y[:, 1], bounds.dual])
    up, down = weights.maximum(0), weights.minimum(0)
    w_low, w_high = up @ low + down @ high, up @ high + down @ low
    bilinear = [j for j in range(nx) if weights[[j]].nnz]
    cells = itertools.product(*(range(pieces if j in bilinear else 1) for j in range(nx)))
    return min(
        _cell(problem, kkt, bounds, weights, (w_low, w_high), cell, pieces, bilinear, (nx, ny, K)) for cell in cells
    )


def _cell(problem, kkt, bounds, weights, w_box, cell, pieces, bilinear, sizes) -> float:
    nx, ny, K = sizes
    rows, row_low, row_high, *_ = high_point_rows(problem)
    x_low, x_high = bounds.x[:, 0].copy(), bounds.x[:, 1].copy()
    for j in bilinear:
        edges = np.linspace(*bounds.x[j], pieces + 1)
        x_low[j], x_high[j] = edges[cell[j]], edges[cell[j] + 1]
    n, total = nx + ny, nx + ny + K + 2 * nx

    def wide(matrix, start):
        block = sparse.csr_array(matrix)
        left = sparse.csr_array((block.shape[0], start))
        return sparse.hstack([left, block, sparse.csr_array((block.shape[0], total - start - block.shape[1]))])

    station = wide(sparse.hstack([problem.Q.T, sparse.csr_array((ny, ny)), -kkt.Hy.T]), 0)
    gather = wide(sparse.hstack([weights, -sparse.eye_array(nx)]), nx)
    duality = np.zeros(total)
    duality[nx:n], duality[n : n + K] = problem.f[nx:], -kkt.h
    duality[n + K + nx :] = 1.0
    blocks = [wide(rows, 0), wide(kkt.H, 0), station, gather, sparse.csr_array(duality[None, :])]
    lows = [row_low, kkt.h, -problem.f[nx:], np.zeros(nx), [-INF]]
    highs = [row_high, np.where(kkt.equation, kkt.h, INF), -problem.f[nx:], np.zeros(nx), [0.0]]
    for j in range(nx):
        a, b = mccormick((x_low[j], x_high[j]), (w_box[0][j], w_box[1][j]))
        block = np.zeros((4, total))
        block[:, j], block[:, n + K + j], block[:, n + K + nx + j] = a.T
        blocks.append(sparse.csr_array(block))
        lows.append(np.full(4, -INF))
        highs.append(b)
    low = np.concatenate(
        [x_low, bounds.y[:, 0], np.where(kkt.equation, -bounds.dual, 0.0), w_box[0], np.full(nx, -INF)]
    )
    high = np.concatenate([x_high, bounds.y[:, 1], bounds.dual, w_box[1], np.full(nx, INF)])
    cost = np.concatenate([problem.F, np.zeros(total - n)])
    status, point, *_ = solve_lp(
        cost, sparse.vstack(blocks, format="csr"), np.concatenate(lows), np.concatenate(highs), low, high
    )
    return float(cost @ point) + problem.F0 if status == "optimal" else INF
