"""Bounds a single-level reformulation needs, each with where it comes from.

Primal variables are boxed by the file, by propagation, by LPs over the relaxation without the follower's optimality
(the high-point relaxation), or else by a declared box that no solution may touch. Multipliers are bounded by

- ``given``: proved by the caller, for example a network row whose violation has a price;
- ``propagation``: interval arithmetic on stationarity, column by column, as long as it tightens;
- ``basis``: some optimal multiplier vector is basic, so the largest entry over all bases of :eq:`eq-stationarity` is a
  bound for at least one optimal multiplier vector (used while the bases can be listed);
- ``declared``: a number, not a proof. A solution that relies on it needs a second opinion.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import qr

from tritier.errors import InputError
from tritier.reformulation.bilevel import INF, LinearBilevel
from tritier.reformulation.kkt import KKT
from tritier.reformulation.lp import Status, solve_lp

DECLARED_BOX = 1e4
DECLARED_DUAL = 1e4
FARTHEST = 1e8  # of a side that follows from the leader's declared box
MAX_BASES = 60_000
#: smallest singular value beside the largest, of columns of norm 1: none at all, and enough to be a basis
SINGULAR, REGULAR = 1e-13, 1e-9
#: relative widening of derived bounds: boxes that end at the optimum made SCIP 10 call feasible models infeasible
MARGIN = 1e-3


@dataclass(frozen=True, eq=False)
class Boxes:
    """Finite boxes of x and y (shapes (nx,), (ny,)), slack bounds (K,), multiplier bounds (K,) with their sources.

    ``x_declared``, ``y_declared`` mark sides that are declared, not derived: arrays (n, 2) of bool. ``dual_source`` is
    one of the words of this module's table per multiplier; equations are bounded on both sides by ``dual``.
    """

    x: np.ndarray
    y: np.ndarray
    x_declared: np.ndarray
    y_declared: np.ndarray
    slack: np.ndarray
    dual: np.ndarray
    dual_source: tuple[str, ...]
    high_point: str

    @property
    def proven(self) -> bool:
        """True when no bound is a mere declaration."""
        return not (self.x_declared.any() or self.y_declared.any() or "declared" in self.dual_source)


def high_point_rows(problem: LinearBilevel) -> tuple:
    """Rows and bounds on [x, y] without the follower's optimality.

    In the form that :func:`~tritier.reformulation.lp.solve_lp` takes.
    """
    menus = [(min(m), max(m)) if m is not None else (-INF, INF) for m in problem.menu]
    x_low = np.maximum(problem.x_lower, [m[0] for m in menus]) if menus else problem.x_lower
    x_high = np.minimum(problem.x_upper, [m[1] for m in menus]) if menus else problem.x_upper
    return (
        sparse.vstack([problem.U, problem.A], format="csr"),
        np.concatenate([problem.U_lower, problem.row_lower]), np.concatenate([problem.U_upper, problem.row_upper]),
        np.concatenate([x_low, problem.y_lower]), np.concatenate([x_high, problem.y_upper]),
    )  # fmt: skip


def primal_boxes(problem: LinearBilevel, given: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, str]:
    """Finite boxes of [x, y], (n, 2); which sides are declared, (n, 2) bool; status of the high-point relaxation.

    Only infinite sides are derived; a finite bound of the problem is kept as it is. ``given`` (n, 2) holds sides
    that the caller has proved for every point with a follower-optimal y (infinite where there is none); they are no
    constraints of the follower and carry no multiplier.
    """
    rows = high_point_rows(problem)
    n = problem.nx + problem.ny
    status = solve_lp(np.zeros(n), *rows).status
    box = np.stack(rows[3:], axis=1)
    declared = np.zeros((n, 2), dtype=bool)
    if status != Status.OPTIMAL:
        return np.clip(box, -DECLARED_BOX, DECLARED_BOX), declared, status
    if given is not None:
        box = np.stack([np.maximum(box[:, 0], given[:, 0]), np.minimum(box[:, 1], given[:, 1])], axis=1)
    numbers = np.concatenate([v[np.isfinite(v)] for v in (rows[1], rows[2], box.ravel())])
    wide = DECLARED_BOX * max(1.0, np.abs(numbers).max(initial=0.0) / 10.0)
    for j, side in zip(*np.nonzero(~np.isfinite(box)), strict=True):
        cost = np.zeros(n)
        cost[j] = 1.0 if side == 0 else -1.0
        found = solve_lp(cost, *rows)
        declared[j, side] = found.status != Status.OPTIMAL
        sign = -1.0 if side == 0 else 1.0
        box[j, side] = sign * wide if declared[j, side] else found.x[j] + sign * MARGIN * max(1.0, abs(found.x[j]))
    _reach_as_far(problem, rows, box, declared)
    return box, declared, status


def _reach_as_far(problem: LinearBilevel, rows: tuple, box: np.ndarray, declared: np.ndarray) -> None:
    """Move the declared sides of the follower's variables as far out as the leader's box lets these go, so that they do
    not keep decisions of the leader out that its own box lets in.

    Raises InputError where that is too far for numbers beside one another.
    """
    nx, inside = problem.nx, [rows[3].copy(), rows[4].copy()]
    if not declared[:nx].any():
        return  # what the leader's own bounds let in has been looked at
    for side in (0, 1):
        inside[side][:nx] = box[:nx, side]
    for j, side in zip(*np.nonzero(declared), strict=True):
        if j < nx:
            continue
        cost, sign = np.zeros(box.shape[0]), -1.0 if side == 0 else 1.0
        cost[j] = -sign
        found = solve_lp(cost, *rows[:3], *inside)
        if found.status != Status.OPTIMAL:
            continue
        if abs(found.x[j]) > FARTHEST:
            reach = f"can reach {found.x[j]:.1e} while the leader stays within {np.abs(box[:nx]).max():.0e}"
            what = f"{reach}, in units in which the other numbers are near 1"
            raise InputError(problem.name, problem.y_name[j - nx], what, "give the leader's variables bounds")
        box[j, side] = sign * max(abs(box[j, side]), sign * found.x[j] * (1.0 + MARGIN))


def slack_bounds(kkt: KKT, box: np.ndarray, by_lp: bool = True) -> np.ndarray:
    """Largest slack of each condition over the boxes, (K,), tightened by an LP over the high-point relaxation."""
    H = kkt.H
    positive, negative = H.maximum(0), H.minimum(0)
    bound = positive @ box[:, 1] + negative @ box[:, 0] - kkt.h
    bound = np.where(kkt.equation, 0.0, np.maximum(bound, 0.0))
    if by_lp:
        rows = list(high_point_rows(kkt.problem))
        rows[3], rows[4] = box[:, 0], box[:, 1]
        for k in kkt.pairs:
            if kkt.kind[k].startswith("row"):
                cost = -H[[k]].toarray().ravel()
                found = solve_lp(cost, *rows)
                if found.status == Status.OPTIMAL:
                    bound[k] = min(bound[k], max(-found.objective - kkt.h[k], 0.0))
    return np.where(kkt.equation, 0.0, bound * (1.0 + MARGIN) + MARGIN)


def price_range(kkt: KKT, x_box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest follower price ``f_y + Q' x`` over the box of x, (ny,) each."""
    Q = kkt.problem.Q.T.tocsr()
    own = kkt.problem.f[kkt.problem.nx :]
    up, down = Q.maximum(0), Q.minimum(0)
    return own + up @ x_box[:, 0] + down @ x_box[:, 1], own + up @ x_box[:, 1] + down @ x_box[:, 0]


def basis_bounds(kkt: KKT, x_box: np.ndarray) -> np.ndarray | None:
    """Largest ``|mu_k|`` over all bases of :eq:`eq-stationarity` and x in the box, (K,); None when there are too many,
    or where rounding hides whether columns are a basis.

    The price of column j is interval valued, so a basis inverse gives ``|B^-1| radius + |B^-1 centre|`` per entry.
    """
    D = kkt.Hy.T.toarray()
    if D.size == 0:
        return np.zeros(kkt.h.size)
    low, high = price_range(kkt, x_box)
    rank = int(np.linalg.matrix_rank(D))
    if rank < D.shape[0]:
        # Dependent stationarity rows say nothing new where the system is solvable: keep an independent set.
        keep = np.sort(qr(D.T, pivoting=True, mode="r")[1][:rank])
        D, low, high = D[keep], low[keep], high[keep]
    # Columns that differ by sign only (two sides of a range or box) span the same bases.
    first: dict[tuple, int] = {}
    group = np.empty(D.shape[1], dtype=int)
    for k, column in enumerate(D.T):
        lead = column[np.flatnonzero(column)[0]] if column.any() else 1.0
        group[k] = first.setdefault(tuple(np.round(column * np.sign(lead), 12)), k)
    columns = [k for k in first.values() if D[:, k].any()]
    if rank == 0:
        return np.zeros(D.shape[1])
    if math.comb(len(columns), rank) > MAX_BASES:
        return None
    centre, radius = (low + high) / 2, (high - low) / 2
    worst = np.zeros(D.shape[1])
    bases_left = itertools.combinations(columns, rank)
    while (index := np.array(list(itertools.islice(bases_left, 4096)))).size:
        bases = np.moveaxis(D[:, index], 1, 0)
        spread = np.linalg.svd(bases / np.linalg.norm(bases, axis=1, keepdims=True), compute_uv=False)
        condition = spread[:, -1] / spread[:, 0]
        if ((condition > SINGULAR) & (condition < REGULAR)).any():
            return None  # whether they are bases is a matter of rounding, and their multipliers may be any
        regular = condition >= REGULAR
        if regular.any():
            inverse = np.linalg.inv(bases[regular])
            size = np.abs(inverse @ centre) + np.abs(inverse) @ radius
            np.maximum.at(worst, index[regular].ravel(), size.ravel())
    return worst[group]


def propagated_bounds(kkt: KKT, x_box: np.ndarray, bound: np.ndarray, rounds: int = 30) -> np.ndarray:
    """Multiplier bounds implied by stationarity and the bounds already known (inf where unknown), (K,).

    Intervals, column by column: the price lies between known ends, and so does what the other multipliers contribute.
    At most one side of a bound or a range carries a multiplier, so the twin of a positive multiplier is zero. A column
    priced on its own, such as a slack that buys a violation, bounds the multiplier of its row.
    """
    price_low, price_high = price_range(kkt, x_box)
    D = kkt.Hy.T.tocsr()
    low, high = np.where(kkt.equation, -bound, 0.0), bound.copy()
    home = [(kind.split()[0], int(j)) for kind, j in zip(kkt.kind, kkt.source, strict=True)]
    columns = []
    for j in range(D.shape[0]):
        span = slice(D.indptr[j], D.indptr[j + 1])
        index, a = D.indices[span], D.data[span]
        twin = {k: [i for i, other in enumerate(index) if home[other] == home[k]] for k in index}
        columns.append((index, a, twin))
    for _ in range(rounds):
        before = low.copy(), high.copy()
        for j, (index, a, twin) in enumerate(columns):
            for i, (k, v) in enumerate(zip(index, a, strict=True)):
                least = np.where(a > 0, a * low[index], a * high[index])
                most = np.where(a > 0, a * high[index], a * low[index])
                skip = [i] if kkt.equation[k] else twin[k]
                least[skip] = most[skip] = 0.0
                ends = (price_low[j] - most.sum(), price_high[j] - least.sum())
                bottom, top = (e / v for e in (ends if v > 0 else ends[::-1]))
                low[k] = max(low[k], bottom) if kkt.equation[k] else 0.0
                high[k] = max(min(high[k], top), low[k])
        if all(np.array_equal(x, y) for x, y in zip(before, (low, high), strict=True)):
            break
    return np.maximum(np.abs(low), np.abs(high))


def dual_bounds(
    kkt: KKT, x_box: np.ndarray, given: dict[str, float] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A bound per multiplier and its source, both (K,). ``given`` maps multiplier names to bounds proved
    for every optimal multiplier vector."""
    bound = np.full(kkt.h.size, INF)
    source = np.full(kkt.h.size, "declared", dtype=object)
    for name, value in (given or {}).items():
        k = kkt.position(name)
        if np.isfinite(value):
            bound[k], source[k] = value, "given"
    tighter = propagated_bounds(kkt, x_box, bound)
    source[np.isfinite(tighter) & (tighter < bound)] = "propagation"
    bound = tighter
    if not np.isfinite(bound).all():
        # One basic optimal vector satisfies all basis bounds at once; propagated ones hold for every optimal vector.
        basic = basis_bounds(kkt, x_box)
        if basic is not None:
            source[basic < bound] = "basis"
            bound = np.minimum(bound, basic)
    largest = max(1.0, *(np.abs(v).max(initial=0.0) for v in price_range(kkt, x_box)))
    bound = np.where(np.isfinite(bound), bound, DECLARED_DUAL * largest)
    return bound * (1.0 + MARGIN) + MARGIN, tuple(source)


def boxes(kkt: KKT, given: dict[str, float] | None = None, given_box: np.ndarray | None = None) -> Boxes:
    """All bounds of the single-level problem of ``kkt``; ``given`` and ``given_box`` are the caller's proofs."""
    nx = kkt.problem.nx
    box, declared, status = primal_boxes(kkt.problem, given_box)
    dual, source = dual_bounds(kkt, box[:nx], given)
    by_lp = status == Status.OPTIMAL and kkt.pairs.size <= 400
    slack = slack_bounds(kkt, box, by_lp)
    return Boxes(box[:nx], box[nx:], declared[:nx], declared[nx:], slack, dual, source, status)
