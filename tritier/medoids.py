"""k-medoids with some medoids fixed in advance: partitioning around medoids (Kaufman and Rousseeuw 1990)."""

from __future__ import annotations

import numpy as np


def k_medoids(features: np.ndarray, k: int, fixed: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Choose k rows that stand for all, by greedy build and steepest swaps; no random start.

    Args:
        features: (M, F), distances are Euclidean.
        k: number of medoids, len(fixed) <= k <= M.
        fixed: rows that are medoids whatever they cost.

    Returns:
        Medoid rows (k), fixed ones first, and for every row the position of its medoid (M).

    Raises:
        ValueError: k out of range.
    """
    if not max(len(fixed), 1) <= k <= features.shape[0]:
        raise ValueError(f"{k} medoids of {features.shape[0]} rows with {len(fixed)} fixed")
    distance = np.sqrt(((features[:, None, :] - features[None, :, :]) ** 2).sum(axis=2))
    medoids = list(fixed)
    nearest = distance[:, medoids].min(axis=1, initial=np.inf)
    while len(medoids) < k:
        cost = np.minimum(nearest[:, None], distance).sum(axis=0)
        cost[medoids] = np.inf
        medoids.append(int(np.argmin(cost)))
        nearest = np.minimum(nearest, distance[:, medoids[-1]])
    best = nearest.sum()
    while True:
        cost, place, row = best_swap(distance, medoids, len(fixed))
        if cost >= best * (1 - 1e-12):
            break
        medoids[place], best = row, cost
    owner = np.argmin(distance[:, medoids], axis=1)
    owner[medoids] = np.arange(k)  # a medoid stands for itself, duplicates of it or not
    return np.array(medoids), owner


def best_swap(distance: np.ndarray, medoids: list[int], n_fixed: int) -> tuple[float, int, int]:
    """Lowest cost reached by replacing one medoid that is not fixed: (cost, its place, the new row)."""
    best = (np.inf, -1, -1)
    for place in range(n_fixed, len(medoids)):
        others = medoids[:place] + medoids[place + 1 :]
        nearest = distance[:, others].min(axis=1, initial=np.inf)
        cost = np.minimum(nearest[:, None], distance).sum(axis=0)
        cost[medoids] = np.inf
        row = int(np.argmin(cost))
        if cost[row] < best[0]:
            best = (float(cost[row]), place, row)
    return best
