"""Four ways to tell SCIP about complementarity :eq:`eq-complementarity`, one small function each.

All start from the same single-level model (:func:`single_level`): leader, follower feasibility, stationarity, boxed
multipliers. A mode then adds what makes the follower optimal and nothing else.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pyscipopt import Model, quicksum
from scipy import sparse

from tritier.errors import InputError, SolverError
from tritier.reformulation.bilevel import INF, LinearBilevel, solve_lp
from tritier.reformulation.bounds import Boxes, boxes, high_point_rows
from tritier.reformulation.kkt import KKT, kkt_system
from tritier.reformulation.milp import LinearProgram

#: SCIP's feasibility tolerance: at 1e-8 its LP solver cannot follow any more (SoPlex without GMP stops at 1e-10)
FEASTOL = 1e-7
#: the same beside a value cut, although SoPlex then stops at 1e-10: at 1e-7 SOS1 took nodes with an optimum for empty
TIGHT = 3e-9
#: relative gap and nodes at which spatial branching on continuous leader variables stops
SPATIAL_GAP, SPATIAL_NODES = 1e-3, 1000
#: integer ranges up to this length are treated as menus
MENU_LIMIT = 64


@dataclass(frozen=True, eq=False)
class SingleLevel:
    """A SCIP model of leader, follower feasibility and stationarity; complementarity is left to a mode.

    ``x``, ``y``, ``mu``, ``slack`` are lists of SCIP variables; the slack of an equation is fixed to zero.
    """

    kkt: KKT
    boxes: Boxes
    model: Model
    x: list
    y: list
    mu: list
    slack: list

    def values(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x, y, mu and slack of SCIP's best solution."""
        groups = (self.x, self.y, self.mu, self.slack)
        return tuple(np.array([self.model.getVal(v) for v in group], dtype=float) for group in groups)


def _row(matrix: sparse.csr_array, k: int, variables: list):
    span = slice(matrix.indptr[k], matrix.indptr[k + 1])
    return quicksum(float(v) * variables[j] for j, v in zip(matrix.indices[span], matrix.data[span], strict=True))


def _between(model: Model, row, low: float, high: float) -> None:
    if low == high:
        model.addCons(row == float(low))
        return
    if np.isfinite(low):
        model.addCons(row >= float(low))
    if np.isfinite(high):
        model.addCons(row <= float(high))


def single_level(kkt: KKT, boxes: Boxes, objective: bool = True) -> SingleLevel:
    """The part all modes share. Every variable has a finite box; menus become one binary per level."""
    problem, model = kkt.problem, Model()
    model.hideOutput()
    model.setParam("numerics/feastol", FEASTOL)
    model.setParam("parallel/maxnthreads", 1)
    x = []
    for j, (low, high) in enumerate(boxes.x):
        var = model.addVar(f"x{j}", "I" if problem.integer[j] else "C", float(low), float(high))
        if problem.discrete[j]:
            model.chgVarBranchPriority(var, 1000)  # the leader's choice first: what remains is nearly an LP
        if problem.menu[j] is not None:
            pick = [model.addVar(f"pick{j}_{k}", "B") for k in range(len(problem.menu[j]))]
            model.addCons(quicksum(pick) == 1.0)
            model.addCons(quicksum(v * p for v, p in zip(problem.menu[j], pick, strict=True)) == var)
        x.append(var)
    y = [model.addVar(f"y{j}", "C", float(low), float(high)) for j, (low, high) in enumerate(boxes.y)]
    z = x + y
    for k in range(problem.U_lower.size):
        if problem.U[[k]].nnz or problem.U_lower[k] > 0 or problem.U_upper[k] < 0:
            _between(model, _row(problem.U, k, z), problem.U_lower[k], problem.U_upper[k])
    mu, slack = [], []
    for k in range(kkt.h.size):
        low = -boxes.dual[k] if kkt.equation[k] else 0.0
        mu.append(model.addVar(f"mu{k}", "C", float(low), float(boxes.dual[k])))
        slack.append(model.addVar(f"s{k}", "C", 0.0, float(boxes.slack[k])))
        model.addCons(_row(kkt.H, k, z) - slack[k] == float(kkt.h[k]))
    Qt, Ht = problem.Q.T.tocsr(), kkt.Hy.T.tocsr()
    for j in range(problem.ny):
        price = float(problem.f[problem.nx + j])
        model.addCons(price + _row(Qt, j, x) - _row(Ht, j, mu) == 0.0)
    if objective:
        model.setObjective(quicksum(float(v) * z[j] for j, v in enumerate(problem.F) if v != 0.0))
    return SingleLevel(kkt, boxes, model, x, y, mu, slack)


def bigm(single: SingleLevel) -> None:
    """``mu_k <= M_k z_k`` and ``slack_k <= S_k (1 - z_k)``; M and S are the boxes, z = 1 where condition k is tight.

    Equation :eq:`eq-bigm`:

    .. math::

       \\mu_k \\le M_k z_k, \\qquad H_k(x,y) - h_k \\le S_k (1 - z_k), \\qquad z_k \\in \\{0,1\\}
    """
    model, boxes = single.model, single.boxes
    for k in single.kkt.pairs:
        tight = model.addVar(f"z{k}", "B")
        model.addCons(single.mu[k] <= float(boxes.dual[k]) * tight)
        model.addCons(single.slack[k] <= float(boxes.slack[k]) * (1 - tight))


def sos1(single: SingleLevel) -> None:
    """At most one of slack and multiplier is nonzero, as a special ordered set of type 1: no M, branching on sets.

    Equation :eq:`eq-sos1`:

    .. math::

       \\{ H_k(x,y) - h_k,\\; \\mu_k \\} \\in \\mathrm{SOS1}
    """
    for k in single.kkt.pairs:
        single.model.addConsSOS1([single.slack[k], single.mu[k]], [1.0, 2.0])


def indicator(single: SingleLevel) -> None:
    """A binary per condition switches either the slack or the multiplier off; no coefficient carries an M.

    Equation :eq:`eq-indicator`:

    .. math::

       z_k = 1 \\Rightarrow H_k(x,y) - h_k \\le 0, \\qquad z_k = 0 \\Rightarrow \\mu_k \\le 0
    """
    model = single.model
    for k in single.kkt.pairs:
        tight = model.addVar(f"z{k}", "B")
        model.addConsIndicator(single.slack[k] <= 0.0, tight)
        model.addConsIndicator(single.mu[k] <= 0.0, tight, activeone=False)


def strong_duality(single: SingleLevel) -> None:
    """Primal cost at most dual value :eq:`eq-strong-duality`; one bilinear term per leader variable.

    The products ``x' Q y`` and ``x' H_x' mu`` are gathered per leader variable into ``x_j w_j``: the tariff times the
    billed energy plus the capacity times its multiplier.

    Equation :eq:`eq-gathered`:

    .. math::

       f_y^\\top y - h^\\top \\mu + \\sum_j x_j w_j \\le 0, \\qquad w = Q y + H_x^\\top \\mu

    A menu or an integer range makes the product linear and exact (:func:`menu_product`). Over a continuous leader
    variable SCIP relaxes it by McCormick over the boxes and branches; that closes the last of the gap only slowly, so
    it stops at ``SPATIAL_GAP`` or ``SPATIAL_NODES`` and :mod:`tritier.reformulation.solve` settles the rest.
    """
    kkt, model, problem = single.kkt, single.model, single.kkt.problem
    weights = sparse.hstack([problem.Q, kkt.Hx.T], format="csr")
    parts = single.y + single.mu
    low = np.array([v.getLbOriginal() for v in parts])
    high = np.array([v.getUbOriginal() for v in parts])
    up, down = weights.maximum(0), weights.minimum(0)
    least, most = up @ low + down @ high, up @ high + down @ low
    gap = quicksum(float(v) * single.y[j] for j, v in enumerate(problem.f[problem.nx :]) if v != 0.0)
    gap -= quicksum(float(v) * single.mu[k] for k, v in enumerate(kkt.h) if v != 0.0)
    for j in range(problem.nx):
        if weights[[j]].nnz == 0:
            continue
        w = model.addVar(f"w{j}", "C", float(least[j]), float(most[j]))
        model.addCons(_row(weights, j, parts) == w)
        levels = menu_levels(single, j)
        if levels is not None:
            gap += menu_product(model, single.x[j], levels, w, float(least[j]), float(most[j]))
        else:
            gap += single.x[j] * w
            model.setParam("limits/gap", SPATIAL_GAP)
            model.setParam("limits/nodes", SPATIAL_NODES)
            # SCIP 10.0 lost an optimum and stopped on an error here while it multi-aggregated w.
            model.setParam("presolving/donotmultaggr", True)
    if problem.ny:
        model.addCons(gap <= 0.0)


def bilinear_leaders(kkt: KKT) -> np.ndarray:
    """True where a leader variable sets a price or a right-hand side of the follower, shape (nx,)."""
    weights = sparse.hstack([kkt.problem.Q, kkt.Hx.T], format="csr")
    return np.diff(weights.indptr) > 0


def menu_levels(single: SingleLevel, j: int) -> tuple[float, ...] | None:
    """The finitely many values of leader variable j; None where it is continuous or an integer of a long range."""
    problem, (low, high) = single.kkt.problem, single.boxes.x[j]
    if problem.menu[j] is not None:
        return problem.menu[j]
    first, last = int(np.ceil(low - 1e-9)), int(np.floor(high + 1e-9))
    if problem.integer[j] and last - first < MENU_LIMIT:
        return tuple(float(v) for v in range(first, last + 1))
    return None


def menu_product(model: Model, x, levels: tuple[float, ...], w, low: float, high: float):
    """The product ``x w`` of a menu variable and ``w`` in [low, high], as a linear expression (exact at integer picks).

    Equation :eq:`eq-menu-product`:

    .. math::

       x = \\sum_k v_k z_k, \\quad w = \\sum_k w_k, \\quad \\underline{w} z_k \\le w_k \\le \\overline{w} z_k
       \\;\\Rightarrow\\; x w = \\sum_k v_k w_k
    """
    pick = [model.addVar(f"{x.name}_at{k}", "B") for k in range(len(levels))]
    part = [model.addVar(f"{x.name}_w{k}", "C", min(low, 0.0), max(high, 0.0)) for k in range(len(levels))]
    model.addCons(quicksum(pick) == 1.0)
    model.addCons(quicksum(v * z for v, z in zip(levels, pick, strict=True)) == x)
    model.addCons(quicksum(part) == w)
    for z, p in zip(pick, part, strict=True):
        model.addCons(p >= low * z)
        model.addCons(p <= high * z)
    return quicksum(v * p for v, p in zip(levels, part, strict=True))


MODES: dict[str, Callable[[SingleLevel], None]] = {
    "bigm": bigm,
    "sos1": sos1,
    "indicator": indicator,
    "strong_duality": strong_duality,
}


@dataclass(frozen=True, eq=False)
class Answer:
    """What SCIP said: its status, the point (None without one), objective and bound, nodes, seconds, binaries."""

    status: str
    point: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None
    objective: float
    bound: float
    nodes: int
    seconds: float
    binaries: int


def run_mode(
    kkt: KKT,
    boxes: Boxes,
    mode: str,
    time_limit: float = INF,
    objective: bool = True,
    below: float | None = None,
    value_cut: bool = False,
    gap: float = 0.0,
) -> Answer:
    """Build and solve one mode. ``below`` asks for a point with F at most that, ``objective=False`` for any; ``gap`` is
    the difference of F and its bound at which SCIP may stop.

    ``value_cut`` adds :eq:`eq-strong-duality` to a complementarity mode where its products are linear: complementarity
    implies it, but the LP relaxation does not, and on market instances it decides between seconds and no answer.
    """
    single = single_level(kkt, boxes, objective)
    MODES[mode](single)
    if value_cut and mode != "strong_duality" and not bilinear_leaders(kkt)[~kkt.problem.discrete].any():
        strong_duality(single)
        single.model.setParam("numerics/feastol", TIGHT)
    model, constant = single.model, kkt.problem.F0
    if below is not None:
        F = kkt.problem.F
        row = quicksum(float(v) * var for v, var in zip(F, single.x + single.y, strict=True) if v != 0.0)
        model.addCons(row <= float(below - constant))
    if np.isfinite(time_limit):
        model.setParam("limits/time", max(float(time_limit), 0.0))
    if gap > 0:
        model.setParam("limits/absgap", float(gap))
    binaries = model.getNBinVars()
    try:
        model.optimize()
        if model.getStatus() == "nodelimit" and model.getNSols() == 0:
            model.setParam("limits/nodes", -1)
            model.setParam("limits/solutions", 1)
            model.optimize()
    except Exception as error:  # pyscipopt raises bare Exception for SCIP's own failures
        raise SolverError(f"{kkt.problem.name}: {error} ({mode})") from error
    found = model.getNSols() > 0
    objective_value = model.getObjVal() + constant if found else INF
    return Answer(
        model.getStatus(), single.values() if found else None, objective_value, model.getDualbound() + constant,
        int(model.getNTotalNodes()), float(model.getSolvingTime()), int(binaries),
    )  # fmt: skip


# McCormick envelopes of one product, by hand, and the relaxation of a bilevel problem they give.
#
# On a box the product ``w = x y`` lies between four planes, each from the product of two nonnegative distances:
#
# Equation :eq:`eq-mccormick`:
#
# .. math::
#
#    w &\ge \underline{x} y + x \underline{y} - \underline{x}\,\underline{y}, \qquad
#    w \ge \overline{x} y + x \overline{y} - \overline{x}\,\overline{y}, \\
#    w &\le \overline{x} y + x \underline{y} - \overline{x}\,\underline{y}, \qquad
#    w \le \underline{x} y + x \overline{y} - \underline{x}\,\overline{y}
#
# Source: McCormick, G. P. (1976), Mathematical Programming 10, 147-175.


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
    when every cell is infeasible. A bound as far as the boxes of :func:`~tritier.reformulation.bounds.boxes` are
    proved.
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


# The strong-duality system of a bilevel problem with a discrete leader as one MILP, solved by HiGHS.
#
# What a user without SCIP would write: the tariffs and limits are binary steps, so that each product of a step with the
# energy it prices is exact by four McCormick rows, and HiGHS branches on the steps alone.


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

    ``box`` and ``dual_bound`` are those of :func:`tritier.reformulation.solve.solve`. Raises InputError where a leader
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
