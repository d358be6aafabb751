"""Four ways to tell SCIP about complementarity :eq:`eq-complementarity`, one small function each.

All start from the same single-level model (:func:`single_level`): leader, follower feasibility, stationarity, boxed
multipliers. A mode then adds what makes the follower optimal and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pyscipopt import SCIP_PARAMSETTING, Expr, Model, Variable, quicksum
from scipy import sparse

from tritier.errors import SolverError
from tritier.reformulation.bilevel import INF
from tritier.reformulation.bounds import Boxes
from tritier.reformulation.kkt import KKT, bilinear_leaders, leader_weights

#: SCIP's feasibility tolerance: at 1e-8 its LP solver cannot follow any more (SoPlex without GMP stops at 1e-10)
FEASTOL = 1e-7
#: the same beside a value cut, although SoPlex then stops at 1e-10: at 1e-7 SOS1 took nodes with an optimum for empty
TIGHT = 3e-9
#: relative gap and nodes at which spatial branching on continuous leader variables stops
SPATIAL_GAP, SPATIAL_NODES = 1e-3, 1000
#: duality gap left to it there: SCIP 10 called feasible problems infeasible at 0; a second opinion settles the rest
SPATIAL_SLACK = 1e-6
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
        x, y, mu, slack = (np.array([self.model.getVal(v) for v in group], dtype=float) for group in groups)
        return x, y, mu, slack


def _row(matrix: sparse.csr_array, k: int, variables: list) -> Expr:
    span = slice(matrix.indptr[k], matrix.indptr[k + 1])
    return quicksum(float(v) * variables[j] for j, v in zip(matrix.indices[span], matrix.data[span], strict=True))


def _between(model: Model, row: Expr, low: float, high: float) -> None:
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
        levels = problem.menu[j]
        if levels is not None:
            pick = [model.addVar(f"pick{j}_{k}", "B") for k in range(len(levels))]
            model.addCons(quicksum(pick) == 1.0)
            model.addCons(quicksum(v * p for v, p in zip(levels, pick, strict=True)) == var)
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
    weights = leader_weights(kkt)
    parts = single.y + single.mu
    low = np.array([v.getLbOriginal() for v in parts])
    high = np.array([v.getUbOriginal() for v in parts])
    up, down = weights.maximum(0), weights.minimum(0)
    least, most = up @ low + down @ high, up @ high + down @ low
    slack = 0.0
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
            slack = SPATIAL_SLACK
            model.setParam("limits/gap", SPATIAL_GAP)
            model.setParam("limits/nodes", SPATIAL_NODES)
            # SCIP 10.0 lost an optimum and stopped on an error here while it multi-aggregated w.
            model.setParam("presolving/donotmultaggr", True)
    if problem.ny:
        model.addCons(gap <= slack)


def menu_levels(single: SingleLevel, j: int) -> tuple[float, ...] | None:
    """The finitely many values of leader variable j; None where it is continuous or an integer of a long range."""
    problem, (low, high) = single.kkt.problem, single.boxes.x[j]
    if problem.menu[j] is not None:
        return problem.menu[j]
    first, last = int(np.ceil(low - 1e-9)), int(np.floor(high + 1e-9))
    if problem.integer[j] and last - first < MENU_LIMIT:
        return tuple(float(v) for v in range(first, last + 1))
    return None


def menu_product(model: Model, x: Variable, levels: tuple[float, ...], w: Variable, low: float, high: float) -> Expr:
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


def _rounding(value: float) -> float:
    return FEASTOL * max(1.0, abs(value))


@dataclass(frozen=True, eq=False)
class ModeSolution:
    """What SCIP said: its status, the point (None without one), objective and bound, nodes, seconds on the wall and of
    the processor, binaries."""

    status: str
    point: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None
    objective: float
    bound: float
    nodes: int
    seconds: float
    processor_seconds: float
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
) -> ModeSolution:
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
    binaries, begin = model.getNBinVars(), time.process_time()
    try:
        model.optimize()
        if model.getStatus() == "nodelimit" and model.getNSols() == 0:
            model.setParam("limits/nodes", -1)
            model.setParam("limits/solutions", 1)
            model.optimize()
        if below is not None and model.getNSols() > 0 and model.getObjVal() + constant > below + _rounding(below):
            # SCIP 10 presolved a whole model away to a point that breaks the row on F by 1e-5, and said so itself.
            model.freeTransform()
            model.setPresolve(SCIP_PARAMSETTING.OFF)
            model.optimize()
    except Exception as error:  # pyscipopt raises bare Exception for SCIP's own failures
        raise SolverError(f"{kkt.problem.name}: {error} ({mode})") from error
    found = model.getNSols() > 0
    objective_value = model.getObjVal() + constant if found else INF
    return ModeSolution(
        model.getStatus(), single.values() if found else None, objective_value, model.getDualbound() + constant,
        int(model.getNTotalNodes()), float(model.getSolvingTime()), time.process_time() - begin, int(binaries),
    )  # fmt: skip
