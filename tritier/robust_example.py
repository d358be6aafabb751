"""The location-transportation problem of Zeng and Zhao (2013): a published answer for the C&CG code."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from tritier.robust_problem import FirstStage, Recourse, TwoStage
from tritier.uncertainty import box_with_rows


def location_transportation(complete: bool = True, enough_capacity: bool = True) -> TwoStage:
    """Open facilities (y), build capacity (z), ship (x) under demand (206, 274, 220) + 40 u; optimum 33680.

    Args:
        complete: declare that every capacity leaves a feasible recourse, which holds with ``enough_capacity``.
        enough_capacity: keep the row that total capacity is at least 772, the largest total demand.

    The boxes follow from the data. No optimal shipment exceeds its demand, and supply rows are at most K = 800 off.
    Where supply covers demand, lowering all multipliers together never lowers the dual objective, so some supply
    multiplier is zero: a demand multiplier is then at most its dearest shipping cost, and a supply multiplier at most
    the largest difference of that cost and its own.
    """
    shipping = np.array([[22.0, 33.0, 24.0], [33.0, 23.0, 30.0], [20.0, 25.0, 27.0]])
    rows = np.hstack([-800.0 * np.eye(3), np.eye(3)])
    low, high = np.full(3, -np.inf), np.zeros(3)
    if enough_capacity:
        rows, low, high = np.vstack([rows, [0, 0, 0, 1, 1, 1]]), np.r_[low, 772.0], np.r_[high, np.inf]
    first = FirstStage(
        np.array([400.0, 414.0, 326.0, 18.0, 25.0, 20.0]),
        sp.csr_matrix(rows),
        low,
        high,
        np.zeros(6),
        np.array([1.0, 1.0, 1.0, 800.0, 800.0, 800.0]),
        np.array([True] * 3 + [False] * 3),
    )
    most = np.array([206.0, 274.0, 220.0]) + 40.0
    demand_price = shipping.max(axis=0)
    supply_price = np.maximum(demand_price - shipping, 0.0).max(axis=1)
    supply, demand = -np.kron(np.eye(3), np.ones((1, 3))), np.kron(np.ones((1, 3)), np.eye(3))
    recourse = Recourse(
        cost=shipping.ravel(),
        G=sp.csr_matrix(np.vstack([supply, demand])),
        E=sp.csr_matrix(np.vstack([np.hstack([np.zeros((3, 3)), np.eye(3)]), np.zeros((3, 6))])),
        M=sp.csr_matrix(np.vstack([np.zeros((3, 3)), -40.0 * np.eye(3)])),
        h=np.r_[np.zeros(3), 206.0, 274.0, 220.0],
        equality=np.zeros(6, dtype=bool),
        uncertainty=box_with_rows(3, [[1, 1, 1], [1, 1, 0]], [1.8, 1.2]),
        upper=np.tile(most, 3),
        slack_upper=np.r_[np.full(3, 800.0), 2.0 * most],
        dual_upper=np.r_[supply_price, demand_price],
        complete=complete,
    )
    return TwoStage(first, (recourse,))
