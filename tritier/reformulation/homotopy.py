r"""A local solution of the KKT system by an interior point, the way a user without a global solver would try it.

The follower's conditions of :mod:`tritier.reformulation.kkt` with slacks ``s``, and every product of a pair relaxed
(Scholtes 2001): solved by IPOPT for falling ``epsilon``, each time from the last point.

Equation :eq:`eq-homotopy`:

.. math::

   \min F(x, y) \quad\text{s.t.}\quad (x, y) \in \mathcal{U}, \quad H (x, y) - h = s, \quad
   f_y + Q^\top x = H_y^\top \mu, \quad s, \mu \ge 0, \quad s_k \mu_k \le \epsilon, \quad
   (x_j - \underline{x}_j)(\overline{x}_j - x_j) \le \epsilon \text{ for steps } x_j

A step of the leader, an integer between two neighbours, is a pair too, so that the path ends at a point of the menu
where it ends at all. Nothing is proved: the end is a local solution at best.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from tritier.errors import InputError
from tritier.reformulation.bilevel import LinearBilevel, solve_follower
from tritier.reformulation.kkt import KKT, kkt_system
from tritier.reformulation.lp import Status
from tritier.reformulation.scaling import scaled

PATH = tuple(10.0**-k for k in range(9))  # epsilon, in units in which rows and costs have a largest entry of 1
DONE = ("Solve_Succeeded", "Solved_To_Acceptable_Level")


@dataclass(frozen=True, eq=False)
class LocalSolution:
    """Where the path ended: ``local`` (a local solution at the last epsilon), ``time_limit``, or IPOPT's word for why
    it went no further. x, y in the problem's units, steps as they are; ``epsilon`` is the last that was reached (inf:
    none), ``product`` the largest of a pair at the end, both in the units of the path."""

    status: str
    x: np.ndarray
    y: np.ndarray
    objective: float
    epsilon: float
    product: float
    iterations: int
    seconds: float
    processor_seconds: float


def solve_local(problem: LinearBilevel, time_limit: float = np.inf) -> LocalSolution:
    """Follow the path from the follower's response to the middle of the leader's box.

    Raises InputError where casadi, which brings IPOPT, is not installed, a leader decision is unbounded or its integers
    are no steps.
    """
    start, begin = time.perf_counter(), time.process_time()
    within, units = scaled(problem)
    _require_steps(within)
    kkt = kkt_system(within)
    program, sides, point = _program(kkt), _sides(kkt), _start(kkt)
    reached, status, iterations = np.inf, "local", 0
    for epsilon in PATH:
        left = time_limit - (time.perf_counter() - start)
        if left <= 0:
            status = "time_limit"
            break
        said, count, point = _step(program, sides, point, epsilon, left)
        iterations += count
        if said not in DONE:
            status = "time_limit" if "Time" in said else said
            break
        reached = epsilon
    n = within.nx + within.ny
    x, y = units.x_unit * point[: within.nx], units.y_unit * point[within.nx : n]
    slack, mu = np.split(point[n:], 2)
    product = float(np.max(np.abs(slack * mu)[~kkt.equation], initial=0.0))
    return LocalSolution(
        status, x, y, problem.leader_cost(x, y), reached, product, iterations, time.perf_counter() - start,
        time.process_time() - begin,
    )  # fmt: skip


def _require_steps(p: LinearBilevel) -> None:
    mend = "write integers by steps of a bounded box"
    if not (np.isfinite(p.x_lower).all() and np.isfinite(p.x_upper).all()):
        raise InputError(p.name, "leader", "an unbounded decision", mend)
    if any(m is not None for m in p.menu) or (p.x_upper - p.x_lower > 1)[p.integer].any():
        raise InputError(p.name, "leader", "an integer with more than two values", mend)


def _start(kkt: KKT) -> np.ndarray:
    """[x, y, s, mu] of the follower's response to the middle of the leader's box; ones where it has none."""
    p = kkt.problem
    x = (p.x_lower + p.x_upper) / 2
    status, _, y, *duals = solve_follower(p, x)
    if status != Status.OPTIMAL:
        return np.concatenate([x, np.ones(p.ny + 2 * kkt.h.size)])
    return np.concatenate([x, y, kkt.slack(x, y), kkt.multipliers(*duals)])


def _sides(kkt: KKT) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of [x, y, s, mu]: slacks of equations are zero and their multipliers free."""
    p, equation = kkt.problem, kkt.equation
    low = [p.x_lower, np.full(p.ny, -np.inf), np.zeros(equation.size), np.where(equation, -np.inf, 0.0)]
    high = [p.x_upper, np.full(p.ny, np.inf), np.where(equation, 0.0, np.inf), np.full(equation.size, np.inf)]
    return np.concatenate(low), np.concatenate(high)


def _program(kkt: KKT) -> dict[str, Any]:
    """Variables, objective and rows for casadi, and the rows' sides: those of the products are at most epsilon."""
    casadi = _casadi()
    p, steps = kkt.problem, np.flatnonzero(kkt.problem.integer)
    x, y = casadi.MX.sym("x", p.nx), casadi.MX.sym("y", p.ny)
    s, mu = casadi.MX.sym("s", kkt.h.size), casadi.MX.sym("mu", kkt.h.size)
    z = casadi.vertcat(x, y)
    matrix = lambda m: casadi.DM(sparse.csc_array(m))  # noqa: E731
    pair, step = (matrix(sparse.eye_array(n, format="csr")[k]) for n, k in ((s.numel(), kkt.pairs), (p.nx, steps)))
    below, above = step @ x - p.x_lower[steps], p.x_upper[steps] - step @ x
    rows = [
        (matrix(p.U) @ z, p.U_lower, p.U_upper),
        (matrix(kkt.H) @ z - s, kkt.h, kkt.h),
        (matrix(p.Q).T @ x - matrix(kkt.Hy).T @ mu, -p.f[p.nx :], -p.f[p.nx :]),
        ((pair @ s) * (pair @ mu), *_at_most_epsilon(kkt.pairs.size)),
        (below * above, *_at_most_epsilon(steps.size)),
    ]
    model = {"x": casadi.vertcat(z, s, mu), "f": casadi.dot(casadi.DM(p.F), z)}
    model["g"] = casadi.vertcat(*(row for row, *_ in rows))
    return {"model": model, "low": np.concatenate([r[1] for r in rows]), "high": np.concatenate([r[2] for r in rows])}


def _at_most_epsilon(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Sides of rows that are at most epsilon, which is nan."""
    return np.full(n, -np.inf), np.full(n, np.nan)


def _step(
    program: dict[str, Any], sides: tuple[np.ndarray, np.ndarray], point: np.ndarray, epsilon: float, limit: float
) -> tuple[str, int, np.ndarray]:
    """IPOPT at an epsilon from a point: its status, iterations and the point where it stopped."""
    options = {
        "print_time": False, "ipopt.print_level": 0, "ipopt.sb": "yes", "ipopt.mu_init": min(0.1, epsilon),
        "ipopt.bound_push": 1e-8, "ipopt.nlp_scaling_method": "none", "ipopt.max_wall_time": limit,
        "ipopt.max_iter": 1000,
    }  # fmt: skip
    solver = _casadi().nlpsol("local", "ipopt", program["model"], options)
    high = np.where(np.isnan(program["high"]), epsilon, program["high"])
    found = solver(x0=point, lbx=sides[0], ubx=sides[1], lbg=program["low"], ubg=high)
    told = solver.stats()
    return told["return_status"], int(told["iter_count"]), np.asarray(found["x"]).ravel()


def _casadi() -> Any:
    try:
        import casadi
    except ImportError as error:
        raise InputError("casadi", "IPOPT", "is not installed", 'pip install "tritier[bench]"') from error
    return casadi
