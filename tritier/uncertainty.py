"""Polyhedral uncertainty sets, and their vertices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from math import comb

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection

from tritier.errors import SolverError


@dataclass(frozen=True, eq=False)
class UncertaintySet:
    """``{u in [0, 1]^K : rows u <= right}``; ``binary`` says that every vertex has 0/1 entries."""

    size: int
    rows: np.ndarray
    right: np.ndarray
    binary: bool = False
    pairs: int = 0
    budget: float = np.inf

    @property
    def vertex_bound(self) -> int:
        """At least the number of vertices: counted for budget sets, choices of K tight rows otherwise."""
        if self.pairs:
            full = int(self.budget)
            whole = sum(comb(self.pairs, count) * 2**count for count in range(full + 1))
            return whole + (self.budget > full) * comb(self.pairs, full) * 2**full * 2 * (self.pairs - full)
        return comb(2 * self.size + self.right.size, self.size)

    def excess(self, u: np.ndarray) -> float:
        """Largest violation of a row or a box by the point u (0 inside)."""
        inside = np.max(self.rows @ u - self.right, initial=0.0)
        return float(max(inside, np.max(-u, initial=0.0), np.max(u - 1.0, initial=0.0)))

    def vertices(self) -> np.ndarray:
        """Points whose convex hull is the set, shape (V, K): written down for budget sets, else by half-spaces."""
        if self.size == 0:
            return np.zeros((1, 0))
        if self.pairs:
            return budget_vertices(self.pairs, self.budget)
        return polytope_vertices(self)


def box_with_rows(size: int, rows, right) -> UncertaintySet:
    """A set inside the unit box cut by general rows ``rows u <= right``."""
    return UncertaintySet(size, np.reshape(np.asarray(rows, dtype=float), (-1, size)), np.asarray(right, dtype=float))


def budget_set(factors: int, budget: float) -> UncertaintySet:
    """Budgeted set of Bertsimas and Sim over ``factors`` two-sided factors, as u = (up, down) of size 2 K.

    ``up_k + down_k <= 1`` and ``sum(up + down) <= budget``. Factor k deviates upwards by ``up_k`` of its largest
    rise and downwards by ``down_k`` of its largest fall, so that the two sides may differ. The rows form a laminar
    family: with an integer budget every vertex has 0/1 entries.
    """
    pair = np.hstack([np.eye(factors), np.eye(factors)])
    total = np.ones((1, 2 * factors))
    limit = float(min(max(budget, 0.0), factors))
    right = np.r_[np.ones(factors), limit]
    return UncertaintySet(2 * factors, np.vstack([pair, total]), right, limit == int(limit), factors, limit)


def budget_vertices(factors: int, budget: float) -> np.ndarray:
    """Vertices of :func:`budget_set`, shape (V, 2 K): every choice of at most ``budget`` factors with a side each, and,
    where the budget is fractional, one more factor at the remainder."""
    full = int(budget)
    rest = budget - full
    points = []
    for count in range(full + 1):
        for chosen, sides in product(combinations(range(factors), count), product((0, 1), repeat=count)):
            base = np.zeros(2 * factors)
            base[[k + side * factors for k, side in zip(chosen, sides, strict=True)]] = 1.0
            points.append(base)
            if count == full and rest > 0:
                for extra, side in product(sorted(set(range(factors)) - set(chosen)), (0, 1)):
                    point = base.copy()
                    point[extra + side * factors] = rest
                    points.append(point)
    return np.array(points)


def polytope_vertices(uncertainty: UncertaintySet) -> np.ndarray:
    """Vertices of a full-dimensional set by half-space intersection around its Chebyshev centre."""
    identity = np.eye(uncertainty.size)
    normal = np.vstack([uncertainty.rows, identity, -identity])
    right = np.r_[uncertainty.right, np.ones(uncertainty.size), np.zeros(uncertainty.size)]
    norms = np.linalg.norm(normal, axis=1)
    radius = linprog(
        np.r_[np.zeros(uncertainty.size), -1.0],
        A_ub=np.c_[normal, norms],
        b_ub=right,
        bounds=[(None, None)] * uncertainty.size + [(0, None)],
    )
    if radius.status != 0 or radius.x[-1] < 1e-9:
        raise SolverError("the uncertainty set is empty or flat: its vertices cannot be listed by half-spaces")
    halfspaces = HalfspaceIntersection(np.c_[normal, -right], radius.x[:-1])
    return np.unique(np.round(halfspaces.intersections, 12), axis=0)
