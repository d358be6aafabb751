"""The strong-duality system of a bilevel problem with a discrete leader as one MILP, solved by HiGHS.

What a user without SCIP would write: the tariffs and limits are binary steps, so that each product of a step with the
energy it prices is exact by four McCormick rows, and HiGHS branches on the steps alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tritier.bilevel import INF, LinearBilevel
from tritier.bilevel_bounds import boxes, high_point_rows
from tritier.bilevel_modes import bilinear_leaders
from tritier.errors import InputError
from tritier.kkt import kkt_system
from tritier.linear import LinearProgram
from tritier.mccormick import mccormick


@dataclass(frozen=True, eq=False)
class MilpAnswer:
    """What HiGHS said: its status, x and F of its best point (empty and inf without one), bound, nodes, seconds."""

    status: str
    x: np.ndarray
    objective: float
    bound: float
    nodes: int
    seconds: float
    binaries: int


def strong_duality_milp(problem: LinearBilevel, box=None, dual_bound=None) -> LinearProgram:
    """Leader, follower, stationarity and strong duality :eq:`eq-gathered` as a MILP in (x, y, mu, w, product).

    ``box`` and ``dual_bound`` are those of :func:`tritier.bilevel_solve.solve`. Raises InputError where a leader
    variable that the follower sees is not a binary, for which the products are exact.
    """
    kkt = kkt_system(problem)
    bounds = boxes(kkt, dual_bound, box)
    nx, ny, n_mu = problem.nx, problem.ny, kkt.h.size
    seen = np.flatnonzero(bilinear_leaders(kkt))
    if not (problem.integer[seen] & (bounds.x[seen, 0] >= 0) & (bounds.x[seen, 1] <= 1)).all():
        raise InputError(problem.name, "leader", "the follower sees a variable that is no binary", "write it by steps")
    k = seen.size
    weights = sparse.hstack([problem.Q, kkt.Hx.T], format="csr")[seen]
    dual_low = np.where(kkt.equation, -bounds.dual, 0.0)
    low, high = np.concatenate([bounds.y[:, 0], dual_low]), np.concatenate([bounds.y[:, 1], bounds.dual])
    up, down = weights.maximum(0), weights.minimum(0)
    least, most = up @ low + down @ high, up @ high + down @ low
    rows, row_low, row_high, *_ = high_point_rows(problem)
    n, total = nx + ny, nx + ny + n_mu + 2 * k

    def wide(block, first: int) -> sparse.csr_array:
        block = sparse.csr_array(block)
        after = total - first - block.shape[1]
        sides = (sparse.csr_array((block.shape[0], width)) for width in (first, after))
        return sparse.hstack([next(sides), block, next(sides)])

    station = wide(sparse.hstack([problem.Q.T, sparse.csr_array((ny, ny)), -kkt.Hy.T]), 0)
    gather = wide(sparse.hstack([weights, -sparse.eye_array(k)]), nx)
    duality = np.concatenate([np.zeros(nx), problem.f[nx:], -kkt.h, np.zeros(k), np.ones(k)])
    prices = -problem.f[nx:]
    blocks = [wide(rows, 0), wide(kkt.H, 0), station, gather, sparse.csr_array(duality[None])]
    lows = [row_low, kkt.h, prices, np.zeros(k), [-INF]]
    highs = [row_high, np.where(kkt.equation, kkt.h, INF), prices, np.zeros(k), [0.0]]
    for s, j in enumerate(seen):
        a, b = mccormick((0.0, 1.0), (float(least[s]), float(most[s])))
        columns = np.array([j, n + n_mu + s, n + n_mu + k + s])
        index = (np.repeat(np.arange(4), 3), np.tile(columns, 4))
        blocks.append(sparse.csr_array((a.ravel(), index), shape=(4, total)))
        lows.append(np.full(4, -INF))
        highs.append(b)
    product_low, product_high = np.minimum(least, 0.0), np.maximum(most, 0.0)
    return LinearProgram(
        cost=np.concatenate([problem.F, np.zeros(total - n)]),
        matrix=sparse.vstack(blocks, format="csr"),
        row_lower=np.concatenate(lows),
        row_upper=np.concatenate(highs),
        lower=np.concatenate([bounds.x[:, 0], bounds.y[:, 0], dual_low, least, product_low]),
        upper=np.concatenate([bounds.x[:, 1], bounds.y[:, 1], bounds.dual, most, product_high]),
        integer=np.append(problem.integer, np.zeros(total - nx, dtype=bool)),
    )


def solve_milp(problem: LinearBilevel, limit: float, box=None, dual_bound=None, gap: float = 0.0) -> MilpAnswer:
    """Solve :func:`strong_duality_milp` for at most ``limit`` seconds, or until F and its bound differ by no more than
    ``gap``; building it is not counted."""
    program = strong_duality_milp(problem, box, dual_bound)
    highs, start = program.solver, time.perf_counter()
    highs.setOptionValue("time_limit", float(limit))
    if gap > 0:
        highs.setOptionValue("mip_abs_gap", float(gap))
    highs.run()
    seconds, info = time.perf_counter() - start, highs.getInfo()
    found = info.primal_solution_status == 2  # feasible, in HiGHS's own numbers
    status = highs.modelStatusToString(highs.getModelStatus())
    return MilpAnswer(
        status={"Optimal": "optimal", "Time limit reached": "time_limit"}.get(status, status),
        x=np.array(highs.getSolution().col_value)[: problem.nx] if found else np.empty(0),
        objective=info.objective_function_value + problem.F0 if found else INF,
        bound=info.mip_dual_bound + problem.F0,
        nodes=int(info.mip_node_count),
        seconds=seconds,
        binaries=int(problem.integer.sum()),
    )
