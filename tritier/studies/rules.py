"""Who lives where and owns what on a feeder that says nothing about it: rules over bus numbers, no search."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Only five household shapes of SimBench are distinct.
HOUSEHOLD = ["H0-A", "H0-B", "H0-C", "H0-G", "H0-L"]
COMMERCIAL = ["G0-A", "G1-A", "G1-B", "G1-C", "G2-A", "G3-A", "G4-A", "G4-B", "G5-A", "G6-A"]
FARM = ["L0-A", "L1-A", "L2-A"]
PV = [f"PV{k}" for k in range(1, 9)]
# WP1, WP2 and WP9 run at capacity factors near 0.5: offshore-like, no match for a distribution feeder.
WIND = [f"WP{k}" for k in (3, 4, 5, 6, 7, 8, 10, 11, 12)]

SHAPE_CYCLE = ["mix", "household", "commercial", "household", "farm", "mix"]
PV_CYCLE = [2.0, 0.0, 1.0, 2.0, 0.5, 0.5]  # of nominal load, over the prosumers: unequal, so that there is trade
WIND_EVERY, WIND_SHARE = 3, 0.5  # every third prosumer, half its nominal load; it sells at night
BATTERY_HOURS = 2.0
ETA = 0.95
DEGRADATION = 0.0437  # $/kWh: 0.037 EUR/kWh at 1.18 $/EUR
BETA_CYCLE = [0.3, 0.7, 0.5]
MOST_PROSUMERS = 14
RATING_FACTOR, RATING_FLOOR_A = 1.25, 100.0


def shape_weights(bus: int, homes_only: bool = False) -> dict[str, float]:
    """Energy shares of the load shapes a bus mixes: its kind is cyclic by bus number, and so is its leading shape."""

    def lead(shapes: list[str], weights: tuple[float, ...], share: float) -> dict[str, float]:
        return {shapes[(bus + k) % len(shapes)]: round(share * w, 4) for k, w in enumerate(weights)}

    household, other = (0.4, 0.2, 0.2, 0.1, 0.1), (0.5, 0.3, 0.2)
    kind = "household" if homes_only else SHAPE_CYCLE[(bus - 1) % len(SHAPE_CYCLE)]  # bus 1 takes the first
    if kind == "household":
        return lead(HOUSEHOLD, household, 1.0)
    if kind == "commercial":
        return lead(COMMERCIAL, other, 1.0)
    if kind == "farm":
        return lead(FARM, other, 1.0)
    return lead(HOUSEHOLD, household, 0.5) | lead(COMMERCIAL, other, 0.3) | lead(FARM, other, 0.2)


def ratings(current_a: np.ndarray, given_a: np.ndarray, from_slack: np.ndarray) -> np.ndarray:
    """Rated currents, A: as given, else the nominal current at the head and 1.25 of it, at least 100 A, behind it."""
    own = np.maximum(np.ceil(RATING_FACTOR * current_a), RATING_FLOOR_A)
    own = np.where(from_slack, np.maximum(np.ceil(current_a), 1.0), own)
    return np.where(np.isfinite(given_a), given_a, own)


def prosumer_buses(bus: np.ndarray, p_kw: np.ndarray, path_ohm: np.ndarray, most: int = MOST_PROSUMERS) -> np.ndarray:
    """Buses with load in the electrically far half of the feeder, at most ``most``, evenly spread by distance.

    The far half begins at the load-weighted median of the resistance from the busbar: there voltage is decided.
    """
    loaded = np.flatnonzero(p_kw > 0)
    order = loaded[np.argsort(path_ohm[loaded], kind="stable")]
    share = np.cumsum(p_kw[order]) / p_kw[order].sum()
    far = order[share >= 0.5]
    picked = far[np.unique(np.linspace(0, far.size - 1, min(most, far.size)).round().astype(int))]
    return np.sort(bus[picked])


def prosumer_table(buses: np.ndarray, p_kw: np.ndarray) -> pd.DataFrame:
    """prosumers.csv for buses with nominal loads p_kw, equipment cyclic over the prosumers."""
    rows = []
    for k, (n, p) in enumerate(zip(buses, p_kw, strict=True)):
        pv = PV_CYCLE[k % len(PV_CYCLE)] * p
        rows.append(
            {
                "prosumer": f"bus{n}",
                "bus": int(n),
                "pv_kw": round(pv, 3),
                "pv_profile": PV[k % len(PV)],
                "wind_kw": round(WIND_SHARE * p, 3) if k % WIND_EVERY == 2 else 0.0,
                "wind_profile": WIND[k % len(WIND)],
                "battery_kwh": round(pv, 3),
                "battery_kw": round(pv / BATTERY_HOURS, 3),
                "eta": ETA,
                "degradation_usd_per_kwh": DEGRADATION,
                "beta": BETA_CYCLE[k % len(BETA_CYCLE)],
            }
        )
    return pd.DataFrame(rows)
