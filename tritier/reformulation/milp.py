r"""Strong duality with its products relaxed by McCormick: a lower bound, or a MILP that is exact over binary steps.

On a box the product ``w = x y`` lies between four planes, each from the product of two nonnegative distances:

Equation :eq:`eq-mccormick`:

.. math::

   w &\ge \underline{x} y + x \underline{y} - \underline{x}\,\underline{y}, \qquad
   w \ge \overline{x} y + x \overline{y} - \overline{x}\,\overline{y}, \\
   w &\le \overline{x} y + x \underline{y} - \overline{x}\,\underline{y}, \qquad
   w \le \underline{x} y + x \overline{y} - \underline{x}\,\overline{y}

Source: McCormick, G. P. (1976), Mathematical Programming 10, 147-175.

Over the steps of a menu the planes leave nothing between them, and HiGHS branches on the steps alone: what a user
without SCIP would write.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from tritier.errors import InputError
from tritier.reformulation.bilevel import INF, LinearBilevel
from tritier.reformulation.bounds import Boxes, boxes, high_point_rows
from tritier.reformulation.kkt import KKT, bilinear_leaders, kkt_system, leader_weights
from tritier.reformulation.lp import LinearProgram, Status


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


def envelope(
    x: ArrayLike, y: ArrayLike, x_box: tuple[float, float], y_box: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper envelope of ``x y`` at points of the box (any broadcastable shapes)."""
    a, b = mccormick(x_box, y_box)
    planes = [
        (row[0] * np.asarray(x) + row[1] * np.asarray(y) - side) * -np.sign(row[2])
        for row, side in zip(a, b, strict=True)
    ]
    return np.maximum(planes[0], planes[1]), np.minimum(planes[2], planes[3])


def relaxation_bound(problem: LinearBilevel, pieces: int = 1) -> float:
    """Lower bound on F from strong duality :eq:`eq-gathered` with every product relaxed, the x boxes cut into pieces.

    The least over all cells (bilinear leader variables only) of one LP in (x, y, mu, w, product); inf when every cell
    is infeasible. A bound as far as the boxes of :func:`~tritier.reformulation.bounds.boxes` are proved.
    """
    kkt = kkt_system(problem)
    bounds, seen, best = boxes(kkt), bilinear_leaders(kkt), INF
    parts = np.where(seen, pieces, 1)
    edges = [np.linspace(low, high, n + 1) for (low, high), n in zip(bounds.x, parts, strict=True)]
    for cell in itertools.product(*(itertools.pairwise(e) for e in edges)):
        found = strong_duality_program(kkt, bounds, np.array(cell).reshape(problem.nx, 2)).solve()
        if found is not None:
            best = min(best, found.objective + problem.F0)
    return best


def strong_duality_program(
    kkt: KKT, bounds: Boxes, x_box: np.ndarray, integer: np.ndarray | None = None, **options: Any
) -> LinearProgram:
    """Leader, follower, stationarity and strong duality :eq:`eq-gathered` in (x, y, mu, w, product).

    ``x_box`` (nx, 2) within the boxes; each product of a leader variable that the follower sees and its w is relaxed
    over it by :eq:`eq-mccormick`. ``integer`` (nx,) flags integer x; ``options`` are HiGHS's.
    """
    problem, seen = kkt.problem, np.flatnonzero(bilinear_leaders(kkt))
    nx, ny, n_mu, k = problem.nx, problem.ny, kkt.h.size, seen.size
    weights = leader_weights(kkt)[seen]
    dual_low = np.where(kkt.equation, -bounds.dual, 0.0)
    low, high = np.concatenate([bounds.y[:, 0], dual_low]), np.concatenate([bounds.y[:, 1], bounds.dual])
    up, down = weights.maximum(0), weights.minimum(0)
    w_box = np.stack([up @ low + down @ high, up @ high + down @ low], axis=1)
    rows, row_low, row_high, *_ = high_point_rows(problem)
    n, total = nx + ny, nx + ny + n_mu + 2 * k

    def wide(block: sparse.csr_array, first: int) -> sparse.csr_array:
        before = sparse.csr_array((block.shape[0], first))
        return sparse.hstack([before, block, sparse.csr_array((block.shape[0], total - first - block.shape[1]))])

    prices = -problem.f[nx:]
    station = wide(sparse.hstack([problem.Q.T, sparse.csr_array((ny, ny)), -kkt.Hy.T]), 0)
    gather = wide(sparse.hstack([weights, -sparse.eye_array(k)]), nx)
    duality = np.concatenate([np.zeros(nx), problem.f[nx:], -kkt.h, np.zeros(k), np.ones(k)])
    blocks = [wide(rows, 0), wide(kkt.H, 0), station, gather, sparse.csr_array(duality[None])]
    lows = [row_low, kkt.h, prices, np.zeros(k), [-INF]]
    highs = [row_high, np.where(kkt.equation, kkt.h, INF), prices, np.zeros(k), [0.0]]
    product_box = np.empty((k, 2))
    for s, j in enumerate(seen):
        planes, sides = mccormick(tuple(x_box[j]), tuple(w_box[s]))
        columns = np.array([j, n + n_mu + s, n + n_mu + k + s])
        index = (np.repeat(np.arange(4), 3), np.tile(columns, 4))
        blocks.append(sparse.csr_array((planes.ravel(), index), shape=(4, total)))
        lows.append(np.full(4, -INF))
        highs.append(sides)
        corners = np.outer(x_box[j], w_box[s])
        product_box[s] = corners.min(), corners.max()
    return LinearProgram(
        np.concatenate([problem.F, np.zeros(total - n)]),
        sparse.vstack(blocks, format="csr"),
        np.concatenate(lows),
        np.concatenate(highs),
        np.concatenate([x_box[:, 0], low, w_box[:, 0], product_box[:, 0]]),
        np.concatenate([x_box[:, 1], high, w_box[:, 1], product_box[:, 1]]),
        None if integer is None else np.append(integer, np.zeros(total - nx, dtype=bool)),
        **options,
    )


@dataclass(frozen=True, eq=False)
class MilpSolution:
    """What HiGHS said: optimal, infeasible or time_limit, x and F of its best point (empty and inf without one), bound,
    nodes, seconds on the wall and of the processor."""

    status: str
    x: np.ndarray
    objective: float
    bound: float
    nodes: int
    seconds: float
    processor_seconds: float
    binaries: int


def strong_duality_milp(
    problem: LinearBilevel, box: np.ndarray | None = None, dual_bound: dict[str, float] | None = None, gap: float = 0.0
) -> LinearProgram:
    """:func:`strong_duality_program` over the whole box, exact where each leader variable that the follower sees is a
    binary; raises InputError where one is not.

    ``box`` and ``dual_bound`` are those of :func:`tritier.reformulation.solve.solve`; ``gap`` is the difference of F
    and its bound at which HiGHS stops.
    """
    if any(m is not None for m in problem.menu):
        raise InputError(problem.name, "menu", "this program has no place for a menu", "write it by steps")
    kkt = kkt_system(problem)
    bounds = boxes(kkt, dual_bound, box)
    seen = bilinear_leaders(kkt)
    if not (problem.integer[seen] & (bounds.x[seen, 0] >= 0) & (bounds.x[seen, 1] <= 1)).all():
        raise InputError(problem.name, "leader", "the follower sees a variable that is no binary", "write it by steps")
    stop = {"mip_rel_gap": 0.0, "mip_abs_gap": max(gap, 1e-9)}
    return strong_duality_program(kkt, bounds, bounds.x, problem.integer, **stop)


def solve_milp(
    problem: LinearBilevel,
    limit: float,
    box: np.ndarray | None = None,
    dual_bound: dict[str, float] | None = None,
    gap: float = 0.0,
) -> MilpSolution:
    """Solve :func:`strong_duality_milp` for at most ``limit`` seconds; building it is not counted."""
    program = strong_duality_milp(problem, box, dual_bound, gap)
    start, begin = time.perf_counter(), time.process_time()
    found = program.run(limit)
    return MilpSolution(
        status="time_limit" if found.status == Status.LIMIT else str(found.status),
        x=found.x[: problem.nx],
        objective=found.objective + problem.F0 if found.x.size else INF,
        bound=found.bound + problem.F0,
        nodes=found.nodes,
        seconds=time.perf_counter() - start,
        processor_seconds=time.process_time() - begin,
        binaries=int(problem.integer.sum()),
    )
