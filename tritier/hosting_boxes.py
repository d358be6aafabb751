"""Boxes of a day's dispatch and of its multipliers, derived from the data: what KKT and dual adversaries need."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from tritier.hosting_case import BLOCKS


def primal_boxes(book, G, E, E_u, M, h) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that no optimal dispatch touches, (m,), and how far a row can be from its right-hand side, (r,).

    The six blocks are capped by rows: the boxes are twice these caps, at the largest capacities and with all factors
    at once. An optimal violation is as small as its rows allow, hence at most their largest shortfall.
    """
    case, day = book.case, book.day
    pv = day.pv + abs(day.pv_shift).sum(axis=0)
    wind = day.wind + abs(day.wind_shift).sum(axis=0)
    power = pv * case.pv_limit[:, None] + wind * case.wind_limit[:, None]
    moved = case.flexible * (day.load + abs(day.load_shift).sum(axis=0))[case.site]
    battery = np.repeat(case.battery_high[:, None], book.hours, axis=1)
    caps = [power, battery / case.battery_hours, battery / case.battery_hours, battery, moved, moved]
    blocks = 2.0 * np.concatenate([cap.ravel() for cap in caps]) + 1.0
    absolute = abs(G)
    top = np.r_[case.pv_limit, case.wind_limit, case.battery_high]
    reach = absolute[:, : blocks.size] @ blocks + abs(E) @ top + abs(M) @ np.ones(book.factors) + abs(h)
    for part in E_u:
        reach += abs(part) @ top
    tail = sp.csc_matrix(absolute[:, blocks.size :] > 0)
    violations = np.array([reach[tail[:, k].indices].max(initial=0.0) for k in range(tail.shape[1])]) + 1.0
    return np.r_[blocks, violations], reach + absolute[:, blocks.size :] @ violations


def dual_boxes(book, G, price: np.ndarray) -> np.ndarray:
    """Bounds (r,) of the multipliers of some optimal dual, whatever y and u :eq:`eq-hosting-dual-boxes`.

    Network multipliers of an hour add up to the price of its violation at most, and the share's is at most its own
    price. A kWh drawn by a site is then worth at most m, the price of the hour times the largest entry of the network
    rows. The value of stored energy can be clipped at B = (m + c)/eta, and that of moved demand at m + c, with c the
    largest cost of a block: beyond, one of the two opposite decisions is unattractive at any multipliers, and clipping
    only lowers what the other one, and the level of charge, ask for. The rows of both have right-hand side zero, so
    the dual objective stays. All other rows cap something: their right-hand sides are not positive wherever the
    dispatch is feasible, and the least multiplier that their columns ask for is best.
    """
    case, size = book.case, len(BLOCKS) * book.size
    cost = {name: np.max(abs(part), initial=0.0) for name, part in zip(BLOCKS, np.split(price[:size], 6), strict=True)}
    violation = price[size : size + book.hours].max()
    share = price[size + book.hours :].max()
    kinds = np.concatenate([np.full(rows, kind) for kind, rows in book.kind])
    worth = violation * abs(G[kinds == "network"][:, :size]).max() if np.any(kinds == "network") else 0.0
    stored = (worth + max(cost["ch"], cost["dis"])) / case.eta
    moved = worth + max(cost["up"], cost["dn"])
    asked = {
        "cu": worth + cost["cu"],
        "ch": case.eta * stored + worth + cost["ch"],
        "dis": stored / case.eta + worth + cost["dis"],
        "up": moved + worth + cost["up"],
        "dn": moved + worth + cost["dn"],
    }
    bound = asked | {
        "available": asked["cu"],
        "share": share,
        "soc": 2.0 * stored,
        "stored": stored,
        "moved": moved,
        "use": max(asked["cu"], asked["ch"], asked["up"]),
        "serve": max(asked["dis"], asked["dn"]),
        "network": violation,
    }
    return np.array([bound[kind] for kind in kinds])
