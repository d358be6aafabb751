"""The adversary of a two-stage robust problem: ``max_{u in U} min_x`` of one recourse term at a fixed first stage.

One function per reformulation. All return a `WorstCase`; values come from a cold re-solve of the recourse at u, so a
claim that the recourse does not bear out is refused. That alone would not show a worst case hidden by a multiplier box
that is too small, so the boxes are derived from the data (:func:`~tritier.hosting.rows.dual_boxes`,
:func:`~tritier.hosting.robust.location_transportation`), the tests hold strong duality within them at every vertex, and
:func:`~tritier.hosting.robust.certify_robust` solves every vertex of the final plan.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pyscipopt import Expr, Model, Variable, quicksum

from tritier.errors import CertificateError, SolverError
from tritier.hosting.robust import Adversary, Recourse, RecourseProgram, UncertaintySet, WorstCase
from tritier.reformulation.lp import LinearProgram

#: Relative agreement asked of the adversary's objective and the recourse re-solved at its worst case.
AGREEMENT = 1e-5
# Two columns that are not both positive, each with its bound.
Complement = Callable[[Model, Variable, float, Variable, float], None]


def enumerate_vertices(recourse: Recourse, y: np.ndarray) -> WorstCase:
    """Solve the recourse at every vertex with a warm basis and keep the dearest; exact, as the cost is convex in u."""
    program, points = RecourseProgram(recourse, y), recourse.uncertainty.vertices()
    worst, value = points[0], -np.inf
    for point in points:
        optimum = program.solve(point)
        if optimum is None:
            raise SolverError("the recourse is infeasible at a vertex though it was declared complete")
        if optimum.objective > value:
            worst, value = point, optimum.objective
    return WorstCase(worst, value, value)


def kkt_sos1(recourse: Recourse, y: np.ndarray) -> WorstCase:
    """KKT system of the recourse, each complementary pair as an SOS1 set in SCIP."""
    return _kkt(recourse, y, _sos1)


def kkt_bigm(recourse: Recourse, y: np.ndarray) -> WorstCase:
    """KKT system of the recourse, each complementary pair by a binary and the pair's own two bounds."""
    return _kkt(recourse, y, _bigm)


def strong_duality(recourse: Recourse, y: np.ndarray) -> WorstCase:
    """Dual of the recourse with the K products u_k g_k left bilinear, g_k the value of row shifts, for SCIP."""
    model, u, dual, g, constant = _dual_model(recourse, y)
    value = model.addVar("value", lb=None)
    model.addCons(value <= constant - quicksum(u[k] * g[k] for k in range(len(g))))
    model.setObjective(value, "maximize")
    return _finish(model, u, dual, recourse, y)


def binary_vertices(recourse: Recourse, y: np.ndarray) -> WorstCase:
    """Dual of the recourse with u at a 0/1 vertex: the K products are exact by McCormick, a MILP for HiGHS.

    Raises:
        SolverError: the set has vertices that are not 0/1.
    """
    if not recourse.uncertainty.binary:
        raise SolverError("binary_vertices needs an uncertainty set with 0/1 vertices (an integer budget)")
    h0, H = recourse.at(y)
    rows, size = H.shape
    free = recourse.equality
    low_dual = np.where(free, -recourse.dual_upper, 0.0)
    g_low, g_high = product_bounds(H, low_dual, recourse.dual_upper)
    # columns: pi (rows), u (size), w (size); maximise h0.pi - sum w with w_k >= max(u g_low, g - (1 - u) g_high)
    k = size
    stationarity = np.hstack([recourse.G.T.toarray(), np.zeros((recourse.G.shape[1], 2 * k))])
    envelope_low = np.hstack([np.zeros((k, rows)), -np.diag(g_low), np.eye(k)])
    envelope_high = np.hstack([-H.T, -np.diag(g_high), np.eye(k)])
    budget = recourse.uncertainty
    sets = np.hstack([np.zeros((budget.rows.shape[0], rows)), budget.rows, np.zeros((budget.rows.shape[0], k))])
    matrix = np.vstack([stationarity, envelope_low, envelope_high, sets])
    low = np.r_[np.full(recourse.cost.size, -np.inf), np.zeros(k), -g_high, np.full(budget.right.size, -np.inf)]
    high = np.r_[recourse.cost, np.full(2 * k, np.inf), budget.right]
    lower = np.r_[low_dual, np.zeros(k), np.minimum(g_low, 0.0)]
    upper = np.r_[recourse.dual_upper, np.ones(k), np.maximum(g_high, 0.0)]
    integer = np.r_[np.zeros(rows, dtype=bool), np.ones(k, dtype=bool), np.zeros(k, dtype=bool)]
    program = LinearProgram(np.r_[-h0, np.zeros(k), np.ones(k)], matrix, low, high, lower, upper, integer)
    optimum = program.solve()
    if optimum is None:
        raise SolverError("the dual of the recourse is infeasible within dual_upper: the bound is too small")
    return _confirm(np.round(optimum.x[rows : rows + k]), -optimum.objective, recourse, y)


MODES: dict[str, Adversary] = {
    "sos1": kkt_sos1,
    "bigm": kkt_bigm,
    "strong_duality": strong_duality,
    "binary": binary_vertices,
    "enumerate": enumerate_vertices,
}


def product_bounds(H: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of ``g = H' pi`` from the boxes of the duals, shape (K,) each."""
    positive, negative = np.maximum(H, 0.0), np.minimum(H, 0.0)
    return positive.T @ low + negative.T @ high, positive.T @ high + negative.T @ low


def _uncertain(model: Model, recourse: Recourse) -> list[Variable]:
    """Columns u within the set."""
    budget = recourse.uncertainty
    u = [model.addVar(f"u{k}", lb=0.0, ub=1.0) for k in range(budget.size)]
    for row, right in zip(budget.rows, budget.right, strict=True):
        model.addCons(quicksum(row[k] * u[k] for k in np.flatnonzero(row)) <= right)
    return u


def _duals(model: Model, recourse: Recourse) -> tuple[list[Variable], list[Expr]]:
    """Columns pi and reduced costs ``cost - G' pi >= 0`` as expressions."""
    free = recourse.equality
    dual = [
        model.addVar(f"pi{i}", lb=-bound if free[i] else 0.0, ub=bound) for i, bound in enumerate(recourse.dual_upper)
    ]
    columns = recourse.G.tocsc()
    reduced = []
    for j, cost in enumerate(recourse.cost):
        part = slice(columns.indptr[j], columns.indptr[j + 1])
        terms = zip(columns.indices[part], columns.data[part], strict=True)
        reduced.append(cost - quicksum(value * dual[i] for i, value in terms))
    return dual, reduced


def _dual_model(
    recourse: Recourse, y: np.ndarray
) -> tuple[Model, list[Variable], list[Variable], list[Variable], Expr]:
    """Dual feasibility with ``g_k = H_k.pi`` as columns of their own; returns them and the part free of u."""
    h0, H = recourse.at(y)
    model = _quiet_model()
    u = _uncertain(model, recourse)
    dual, reduced = _duals(model, recourse)
    for expression in reduced:
        model.addCons(expression >= 0)
    low, high = product_bounds(H, np.where(recourse.equality, -recourse.dual_upper, 0.0), recourse.dual_upper)
    g = [model.addVar(f"g{k}", lb=low[k], ub=high[k]) for k in range(len(u))]
    for k in range(len(u)):
        model.addCons(g[k] == quicksum(H[i, k] * dual[i] for i in np.flatnonzero(H[:, k])))
    return model, u, dual, g, quicksum(h0[i] * dual[i] for i in np.flatnonzero(h0))


def _kkt(recourse: Recourse, y: np.ndarray, complement: Complement) -> WorstCase:
    h0, H = recourse.at(y)
    model = _quiet_model()
    u = _uncertain(model, recourse)
    x = [model.addVar(f"x{j}", lb=0.0, ub=bound) for j, bound in enumerate(recourse.upper)]
    dual, reduced = _duals(model, recourse)
    G = recourse.G.tocsr()
    for i in range(h0.size):
        part = slice(G.indptr[i], G.indptr[i + 1])
        act = quicksum(v * x[j] for j, v in zip(G.indices[part], G.data[part], strict=True))
        over = act + quicksum(H[i, k] * u[k] for k in np.flatnonzero(H[i])) - h0[i]
        if recourse.equality[i]:
            model.addCons(over == 0)
            continue
        slack = model.addVar(f"s{i}", lb=0.0, ub=recourse.slack_upper[i])
        model.addCons(over == slack)
        complement(model, dual[i], recourse.dual_upper[i], slack, recourse.slack_upper[i])
    most = reduced_cost_bounds(recourse)
    for j, expression in enumerate(reduced):
        cost = model.addVar(f"d{j}", lb=0.0, ub=most[j])
        model.addCons(expression == cost)
        complement(model, x[j], recourse.upper[j], cost, most[j])
    model.setObjective(quicksum(c * x[j] for j, c in enumerate(recourse.cost) if c), "maximize")
    return _finish(model, u, dual, recourse, y)


def reduced_cost_bounds(recourse: Recourse) -> np.ndarray:
    """Largest reduced cost ``cost - G' pi`` that the boxes of the duals allow, shape (m,)."""
    G = recourse.G.toarray()
    low = np.where(recourse.equality, -recourse.dual_upper, 0.0)
    return recourse.cost - np.maximum(G, 0.0).T @ low - np.minimum(G, 0.0).T @ recourse.dual_upper


def _sos1(model: Model, left: Variable, left_bound: float, right: Variable, right_bound: float) -> None:
    if left_bound > 0 and right_bound > 0:
        model.addConsSOS1([left, right])


def _bigm(model: Model, left: Variable, left_bound: float, right: Variable, right_bound: float) -> None:
    side = model.addVar(vtype="B")
    model.addCons(left <= left_bound * side)
    model.addCons(right <= right_bound * (1 - side))


def _quiet_model() -> Model:
    model = Model()
    model.hideOutput()
    model.setParam("limits/gap", 0.0)
    return model


def _finish(model: Model, u: list[Variable], dual: list[Variable], recourse: Recourse, y: np.ndarray) -> WorstCase:
    """Solve, then move u to a vertex of its set that is at least as dear: SCIP's u is exact to 1e-6 only, and a point
    that far outside the set may leave no recourse."""
    model.optimize()
    if model.getStatus() != "optimal":
        raise SolverError(f"SCIP stopped with status {model.getStatus()} on the adversary's problem")
    slope = -recourse.at(y)[1].T @ np.array([model.getVal(v) for v in dual])
    point = np.array([model.getVal(v) for v in u])
    return _confirm(dearest_vertex(recourse.uncertainty, slope, point), model.getObjVal(), recourse, y)


def dearest_vertex(uncertainty: UncertaintySet, slope: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Vertex of the set with the largest ``slope.u``; ``near`` breaks ties."""
    tie = 1e-7 * np.max(abs(slope), initial=1e-9) * near
    rows = uncertainty.rows
    program = LinearProgram(-(slope + tie), rows, -np.inf, uncertainty.right, 0.0, 1.0, method="simplex")
    optimum = program.solve()
    if optimum is None:
        raise SolverError("the uncertainty set is empty")
    return optimum.x


def _confirm(u: np.ndarray, claimed: float, recourse: Recourse, y: np.ndarray) -> WorstCase:
    """Re-solve the recourse at u; the claimed worst case must agree, else a box was too small."""
    optimum = RecourseProgram(recourse, y).solve(u)
    true = np.inf if optimum is None else optimum.objective
    error = abs(true - claimed) / (1.0 + abs(claimed))
    if error > AGREEMENT:
        raise CertificateError("robust.adversary", error, AGREEMENT, "its boxes or multiplier bounds are too small")
    return WorstCase(u, true, true)
