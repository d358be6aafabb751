"""The model written a second time, in cvxpy and numpy from the symbols of the book: it shares nothing but the data."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

DELAY = {"ev": "ev_delay_h", "hp": "hp_delay_h"}


@dataclass(frozen=True)
class Person:
    """A prosumer behind its meter: what it draws (T, S), what its devices cost (S,) and a tie-break, and its rows."""

    draws: cp.Expression
    wear: cp.Expression
    lost: cp.Expression
    held: cp.Expression
    rows: list[cp.Constraint]


def demand_blocks(rules) -> tuple[np.ndarray, np.ndarray]:
    """Width of the blocks of demand relative to the reference, and the value of a kWh in each, $/kWh."""
    low, high = 1 - rules.flexibility, 1 + rules.flexibility
    equal = np.linspace(low, high, rules.demand_blocks + 1)
    border = equal if rules.demand_levels is None else np.clip(rules.demand_levels, low, high)
    middle = (border[1:] + border[:-1]) / 2
    return np.diff(border), rules.reference_price * (1 + (1 - middle) / abs(rules.elasticity))


def lost_value(rules, d0: np.ndarray, served) -> cp.Expression | np.ndarray:
    """Value of the reference demand less that of the served blocks, $, (S,); served: K variables or arrays (T, S)."""
    width, worth = demand_blocks(rules)
    below = (1 - rules.flexibility) + np.cumsum(width) <= 1 + 1e-12
    total = (width * worth)[below].sum() * d0.sum(axis=0)
    return total - sum(w * (np.ones(d0.shape[0]) @ s) for w, s in zip(worth, served, strict=True))


def person(own, rules, d0, sun, asked, plugged) -> Person:
    """A prosumer's devices. d0, sun: kW, (T, S); asked, plugged: kW, (2, T, S), vehicles and heat pumps."""
    shape, (hours, scenarios) = d0.shape, d0.shape
    width, _ = demand_blocks(rules)
    cut, ch, dis, soc = *(cp.Variable(shape) for _ in range(3)), cp.Variable((hours + 1, scenarios))
    served = [cp.Variable(shape) for _ in width]
    rows = [x >= 0 for x in (cut, ch, dis, soc, *served)]
    rows += [cut <= sun, ch <= own.battery_kw, dis <= own.battery_kw, soc <= own.battery_kwh, soc[0] == soc[-1]]
    rows += [soc[1:] == soc[:-1] + own.eta * ch - dis / own.eta]
    rows += [s <= w * d0 for s, w in zip(served, width, strict=True)]
    draws, held = (1 - rules.flexibility) * d0 + sum(served) + ch - dis + cut - sun, cp.sum(soc[1:], axis=0)
    for kind, (wanted, power) in zip(DELAY, zip(asked, plugged, strict=True), strict=True):
        if not wanted.any():
            continue
        delay = getattr(own, DELAY[kind])
        load, backlog = cp.Variable(shape), cp.Variable(shape)
        window = sum((np.roll(wanted, h, axis=0) for h in range(delay)), 0 * wanted)
        rows += [load >= 0, backlog >= 0, load <= (power if delay else np.maximum(power, wanted)), backlog <= window]
        rows += [backlog[0] == backlog[-1] + wanted[0] - load[0]]
        rows += [backlog[1:] == backlog[:-1] + wanted[1:] - load[1:]]
        draws, held = draws + load, held + cp.sum(backlog, axis=0)
    wear = own.degradation * cp.sum(ch + dis, axis=0)
    return Person(draws, wear, lost_value(rules, d0, served), rules.tie_break * held, rows)


def paths(feeder) -> np.ndarray:
    """1 where line l lies on the path of bus m, (L, N)."""
    n = feeder.bus.size
    used = np.zeros((n - 1, n))
    for m in range(1, n):
        at = m
        while at:
            used[at - 1, m] = 1
            at = int(feeder.parent[at - 1])
    return used


def shared_impedance(feeder) -> tuple[np.ndarray, np.ndarray]:
    """Resistance and reactance that the paths of two buses share, p.u. per kW, each (N, N)."""
    used, base = paths(feeder), 1e3 * feeder.vn_kv**2
    return used.T @ np.diag(feeder.r_ohm / base) @ used, used.T @ np.diag(feeder.x_ohm / base) @ used
