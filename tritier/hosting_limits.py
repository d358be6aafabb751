"""LinDistFlow limits of the hosting problem: how far net loads are beyond them, and which elements to watch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tritier.hosting_case import HostingCase

#: A voltage limit is read to this many p.u. per kW of tolerance: a short-circuit power of about 10 MVA.
VOLT_PER_KW = 1e-4


@dataclass
class Watch:
    """Network elements whose rows are in the program; it grows until the others are found idle."""

    line: set[int] = field(default_factory=set)
    high: set[int] = field(default_factory=set)
    low: set[int] = field(default_factory=set)
    substation: bool = True

    def copy(self) -> Watch:
        """A list of its own that may grow apart."""
        return Watch(set(self.line), set(self.high), set(self.low), self.substation)

    def add(self, other: Watch) -> bool:
        """Take over another watch list; True if anything was new."""
        new = not (other.line <= self.line and other.high <= self.high and other.low <= self.low)
        self.line |= other.line
        self.high |= other.high
        self.low |= other.low
        return new


@dataclass(frozen=True, eq=False)
class Excess:
    """How far net loads are beyond the limits (negative: within): lines (L, T, ...) and transformer (T, ...) [kW],
    voltages above and below (N, T, ...) [p.u.]."""

    line: np.ndarray
    transformer: np.ndarray
    above: np.ndarray
    below: np.ndarray

    def at(self, k: int) -> Excess:
        """The excess of entry k of the last axis."""
        return Excess(self.line[..., k], self.transformer[..., k], self.above[..., k], self.below[..., k])

    @property
    def overload_kw(self) -> np.ndarray:
        return np.maximum(self.line.max(axis=(0, 1), initial=0.0), self.transformer.max(axis=0))

    @property
    def voltage_pu(self) -> np.ndarray:
        return np.maximum(self.above, self.below).max(axis=(0, 1), initial=0.0)


def excess(case: HostingCase, net: np.ndarray, reactive: np.ndarray) -> Excess:
    """LinDistFlow at net loads and reactive loads (N, T, ...) against every limit of the feeder."""
    more = (np.newaxis,) * (net.ndim - 1)
    rating = case.feeder.rating_kva[:, *more]
    q_line, q_total = case.grid.flows(reactive), reactive.sum(axis=0)
    line = np.abs(case.grid.flows(net)) - np.sqrt(np.maximum(rating**2 - q_line**2, 0.0))
    transformer = np.abs(net.sum(axis=0)) - np.sqrt(np.maximum(case.substation_kva**2 - q_total**2, 0.0))
    v = np.sqrt(np.maximum(case.grid.squared_voltages(net, reactive), 0.0))
    above, below = v - case.v_high[:, *more], case.v_low[:, *more] - v
    above[0] = below[0] = -1.0
    return Excess(line, transformer, above, below)


def broken(found: Excess, tolerance: float) -> Watch:
    """The worst elements of each kind beyond the tolerance [kW], of :func:`excess` (K, T)."""
    volt = tolerance * VOLT_PER_KW
    return Watch(
        worst_elements(found.line, tolerance), worst_elements(found.above, volt), worst_elements(found.below, volt)
    )


def worst_elements(excess: np.ndarray, tolerance: float, count: int = 8) -> set[int]:
    """The few elements with the largest excess (K, T) beyond the tolerance: watching all would swell the program."""
    worst = excess.max(axis=1)
    return {int(k) for k in np.argsort(-worst)[:count] if worst[k] > tolerance}
