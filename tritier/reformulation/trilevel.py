r"""Linear problems with three levels, by branches of the middle level.

The lowest level's answers to (x, y) are optimal exactly when some set P of its conditions is tight and prices its cost
(``f_z = H_z' mu`` with ``mu >= 0`` living on P). The middle level's feasible set is therefore a union of polyhedra, one
face per P, and not convex: KKT conditions written for the union are not sufficient, and those of one face say nothing
about the others. What is right:

Equation :eq:`eq-trilevel`:

.. math::

   g(x, y, z) \le \theta_P(x) \quad \text{for every } P, \qquad
   \theta_P(x) = \min_{y, z} \{ g(x, y, z) : (y, z) \text{ on face } P \text{ at } x \}

Each face is an LP, so its KKT conditions are exact. The search solves the bilevel problem of one face (a lower bound),
checks every other face at the answer, and where face P is better it splits: either the leader stays where P exists
and the middle level does no worse than on P, or the leader leaves the region where P exists.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from tritier.errors import CertificateError, InputError
from tritier.reformulation.bilevel import INF, LinearBilevel, linear_bilevel
from tritier.reformulation.kkt import kkt_system
from tritier.reformulation.lp import Status, solve_lp
from tritier.reformulation.scaling import largest, power
from tritier.reformulation.solve import solve

#: a face counts as absent when its rows miss feasibility by this much (sum of violations)
SEPARATION = 1e-4
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class LinearTrilevel:
    """Three linear levels x, y, z; each minimises its cost, lower levels' answers are optimistic for the levels above.

    ``cost``: three arrays over [x, y, z]; ``rows``: three ``(CSR matrix, lower, upper)`` over [x, y, z], one per level;
    ``lower``, ``upper``: bounds of [x, y, z]; ``sizes``: (nx, ny, nz); ``names`` of all variables.
    """

    cost: tuple[np.ndarray, np.ndarray, np.ndarray]
    rows: tuple[tuple, tuple, tuple]
    lower: np.ndarray
    upper: np.ndarray
    sizes: tuple[int, int, int]
    names: tuple[str, ...]
    name: str = "trilevel problem"


@dataclass(frozen=True, eq=False)
class TrilevelSolution:
    """Optimal value and point. ``faces`` of the lowest level; ``face_bounds``: value of each face's own bilevel problem
    (None where that is infeasible); ``nodes`` searched; ``attained`` False where the value is only approached (a face
    disappears in the limit)."""

    objective: float
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    faces: tuple[tuple[str, ...], ...]
    face_bounds: tuple[float | None, ...]
    nodes: int
    attained: bool


def lowest_level(problem: LinearTrilevel) -> LinearBilevel:
    """The lowest level as the follower of a leader who holds (x, y)."""
    nx, ny, _ = problem.sizes
    n = nx + ny
    pairs = list(zip(problem.lower, problem.upper, strict=True))
    return linear_bilevel(
        problem.cost[0], problem.cost[2], n, lower=problem.rows[2], x_bounds=pairs[:n], y_bounds=pairs[n:],
        x_name=problem.names[:n], y_name=problem.names[n:], name=problem.name,
    )  # fmt: skip


def pricing_sets(problem: LinearTrilevel) -> tuple[np.ndarray, ...]:
    """The smallest sets P of the lowest level's conditions that price its cost, as masks over its KKT conditions."""
    kkt = kkt_system(lowest_level(problem))
    prices = kkt.problem.follower_prices(np.zeros(kkt.problem.nx))
    found: list[np.ndarray] = []
    pairs = kkt.pairs
    for size in range(problem.sizes[2] + 1):
        for chosen in itertools.combinations(pairs, size):
            mask = kkt.equation.copy()
            mask[list(chosen)] = True
            if any(np.all(mask[f]) for f in found):
                continue
            low, high = np.where(kkt.equation, -INF, 0.0), np.where(mask, INF, 0.0)
            if solve_lp(np.zeros(mask.size), kkt.Hy.T, prices, prices, low, high).status == Status.OPTIMAL:
                found.append(mask)
    return tuple(found)


def face(problem: LinearTrilevel, tight: np.ndarray) -> tuple:
    """The middle level's LP on one face: rows over [x, y, z] with the conditions in ``tight`` as equations."""
    kkt = kkt_system(lowest_level(problem))
    matrix, low, high = problem.rows[1]
    upper = np.where(tight | kkt.equation, kkt.h, INF)
    return (
        sparse.vstack([matrix, kkt.H], format="csr"), np.concatenate([low, kkt.h]), np.concatenate([high, upper]),
    )  # fmt: skip


def middle_value(problem: LinearTrilevel, tight: np.ndarray, x: np.ndarray) -> float:
    """phi_P(x) of :eq:`eq-trilevel`; inf where the face does not exist at x."""
    nx, ny, _ = problem.sizes
    matrix, low, high = face(problem, tight)
    shift = matrix[:, :nx] @ x
    v_low, v_high = problem.lower[nx:].copy(), problem.upper[nx:].copy()
    v_low[ny:], v_high[ny:] = -INF, INF
    cost = problem.cost[1]
    found = solve_lp(cost[nx:], matrix[:, nx:], low - shift, high - shift, v_low, v_high)
    if found.status == Status.OPTIMAL:
        return float(cost[:nx] @ x) + found.objective
    return INF if found.status == Status.INFEASIBLE else -INF


def node_problem(
    problem: LinearTrilevel, faces: tuple[np.ndarray, ...], own: int, rivals: tuple[int, ...], absent: tuple[int, ...]
) -> LinearBilevel:
    """The bilevel problem of one node: leader x; follower: the LP of face ``own``, a copy of each rival face's LP and a
    phase-one LP of each absent face.

    The copies share nothing but x, so the sum of their costs is least exactly when each is least. Leader rows say that
    the middle level does no worse on its own face than on a rival one, and that absent faces miss feasibility by
    ``SEPARATION``.
    """
    nx, ny, nz = problem.sizes
    width = ny + nz
    blocks, low, high, costs, bounds, names = [], [], [], [], [], []
    v_bounds = [*zip(problem.lower[nx : nx + ny], problem.upper[nx : nx + ny], strict=True), *[(-INF, INF)] * nz]
    g = problem.cost[1]
    kinds = [(own, False), *((k, False) for k in rivals), *((k, True) for k in absent)]
    for copy, (k, elastic) in enumerate(kinds):
        matrix, row_low, row_high = face(problem, faces[k])
        m = row_low.size
        miss = sparse.hstack([sparse.eye_array(m), -sparse.eye_array(m)]) if elastic else sparse.csr_array((m, 0))
        blocks.append((matrix[:, :nx], sparse.hstack([matrix[:, nx:], miss], format="csr")))
        low.append(row_low)
        high.append(row_high)
        extra = miss.shape[1]
        costs.append(np.concatenate([np.zeros(width), np.ones(extra)]) if elastic else g[nx:])
        bounds += [*v_bounds, *[(0.0, INF)] * extra]
        names += [f"{v}({copy})" for v in problem.names[nx:]] + [f"miss{i}({copy})" for i in range(extra)]
    count = sum(c.size for c in costs)
    starts = np.cumsum([0, *(c.size for c in costs)])
    top, top_low, top_high = problem.rows[0]
    leader = [sparse.hstack([top, sparse.csr_array((top.shape[0], count - width))])]
    leader_low, leader_high = [*top_low], [*top_high]
    for copy, (_, elastic) in enumerate(kinds[1:], start=1):
        row = np.zeros(nx + count)
        part = slice(nx + starts[copy], nx + starts[copy] + costs[copy].size)
        row[part] = costs[copy] if elastic else -costs[copy]
        if not elastic:
            row[nx : nx + width] = g[nx:]
        leader.append(sparse.csr_array(row[None, :]))
        leader_low.append(SEPARATION if elastic else -INF)
        leader_high.append(INF if elastic else 0.0)
    parts = [sparse.vstack([b[0] for b in blocks]), sparse.block_diag([b[1] for b in blocks])]
    follower = sparse.hstack(parts, format="csr")
    return linear_bilevel(
        np.concatenate([problem.cost[0], np.zeros(count - width)]), np.concatenate([np.zeros(nx), *costs]), nx,
        upper=(sparse.vstack(leader, format="csr"), leader_low, leader_high),
        lower=(follower, np.concatenate(low), np.concatenate(high)),
        x_bounds=list(zip(problem.lower[:nx], problem.upper[:nx], strict=True)), y_bounds=bounds,
        x_name=problem.names[:nx], y_name=names, name=f"{problem.name}, face {own}",
    )  # fmt: skip


def in_own_units(problem: LinearTrilevel) -> LinearTrilevel:
    """The same problem with rows and the costs of both lower levels divided by about their largest entry, a power of
    two: tolerances are absolute, and what is best for whom hangs on no units."""

    def in_units(matrix: sparse.csr_array, low: np.ndarray, high: np.ndarray) -> tuple:
        size = power(largest(abs(sparse.csr_array(matrix, dtype=float))))
        sides = (np.asarray(side, dtype=float) / size for side in (low, high))
        return sparse.csr_array(sparse.diags_array(1.0 / size) @ matrix), *sides

    first, second, third = (in_units(*own) for own in problem.rows)
    top, middle, lowest = problem.cost
    middle, lowest = (cost / power(np.abs(cost).max(initial=0.0)) for cost in (middle, lowest))
    return replace(problem, rows=(first, second, third), cost=(top, middle, lowest))


def solve_trilevel(problem: LinearTrilevel, mode: str = "sos1", time_limit: float = INF) -> TrilevelSolution:
    """Best-first search over faces; every answer is checked on all faces before it is accepted.

    Raises CertificateError where a node's bilevel problem is unbounded or stopped at its limit, InputError where the
    lowest level is unbounded or the problem infeasible.
    """
    problem = in_own_units(problem)
    _, ny, nz = problem.sizes
    faces = pricing_sets(problem)
    labels = kkt_system(lowest_level(problem)).name
    if not faces:
        raise InputError(problem.name, "lowest level", "its cost cannot be priced: unbounded", "bound the lowest level")
    heap: list[tuple] = []
    tie = itertools.count()
    bounds: list[float | None] = []

    def push(own: int, rivals: tuple[int, ...], absent: tuple[int, ...]) -> float | None:
        found = solve(node_problem(problem, faces, own, rivals, absent), mode, time_limit=time_limit)
        if found.status not in ("optimal", "infeasible"):
            raise CertificateError("trilevel.node", 1.0, 0.0, f"face {own} ended with {found.status}")
        if found.status == "optimal":
            heapq.heappush(heap, (found.objective, next(tie), own, rivals, absent, found))
        return found.objective

    for own in range(len(faces)):
        bounds.append(push(own, (), ()))
    nodes = len(faces)
    while heap:
        objective, _, own, rivals, absent, found = heapq.heappop(heap)
        x, y, z = found.x, found.y[:ny], found.y[ny : ny + nz]
        value = float(problem.cost[1] @ np.concatenate([x, y, z]))
        others = np.array([middle_value(problem, f, x) for f in faces])
        better = int(others.argmin())
        if others[better] >= value - TOLERANCE * max(1.0, abs(value)):
            names = tuple(tuple(labels[k] for k in np.flatnonzero(f)) for f in faces)
            return TrilevelSolution(objective, x, y, z, names, tuple(bounds), nodes, not absent)
        if better in (*rivals, *absent, own):
            raise CertificateError(
                "trilevel.face", value - others[better], TOLERANCE, f"face {better} beats its own row"
            )
        push(own, (*rivals, better), absent)
        push(own, rivals, (*absent, better))
        nodes += 2
    raise InputError(problem.name, "problem", "infeasible on every face of the lowest level", "relax the rows")
