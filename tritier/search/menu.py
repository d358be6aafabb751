"""The designs on offer: tariffs, from a grid of components and single ones beside it, times capacity limits by line.

A point of the menu is its tariff's number and a position among each line's limits. A number is turned into prices when
it is asked for, so that menus too long to list need no list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from tritier.errors import CertificateError
from tritier.inputs.instance import Design, Menu

Point = tuple[int, ...]  # number of the tariff, then a position among each line's limits


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A menu whose points can be numbered: sorted levels by tariff component, tariffs beside that grid, and sorted
    limits, kW, by line."""

    grid: tuple[np.ndarray, ...]
    single: tuple[tuple[float, ...], ...]
    lines: tuple[int, ...]
    limits: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, menu: Menu, beside: Iterable[Design] = ()) -> Coordinates:
        """A menu, and the tariffs of further designs beside its grid: they are offered at every limit of the menu."""
        grid = tuple(np.unique(np.array(v, dtype=float)) for v in menu.prices.values())
        limits = tuple(np.unique(np.array(v, dtype=float)) for _, v in menu.capacity)
        lines = tuple(line for line, _ in menu.capacity)
        single = dict.fromkeys(tuple(design.prices.tolist()) for design in beside)
        on_grid = [all(x in v for x, v in zip(prices, grid, strict=True)) for prices in single]
        return cls(grid, tuple(p for p, known in zip(single, on_grid, strict=True) if not known), lines, limits)

    @property
    def shape(self) -> tuple[int, ...]:
        """How many limits each line has."""
        return tuple(len(v) for v in self.limits)

    @property
    def grid_size(self) -> int:
        return prod(len(v) for v in self.grid)

    @property
    def n_tariffs(self) -> int:
        return self.grid_size + len(self.single)

    @property
    def n_points(self) -> int:
        return self.n_tariffs * prod(self.shape)

    @property
    def loosest(self) -> tuple[int, ...]:
        """Where the largest limits stand."""
        return tuple(n - 1 for n in self.shape)

    @property
    def middle(self) -> int:
        """The tariff in the middle of the grid."""
        sizes = [len(v) for v in self.grid]
        return int(np.ravel_multi_index([n // 2 for n in sizes], sizes))

    def prices(self, tariff: int) -> tuple[float, ...]:
        """Prices by component of the tariff of a number; those beside the grid come last."""
        if tariff >= self.grid_size:
            return self.single[tariff - self.grid_size]
        at = np.unravel_index(tariff, [len(v) for v in self.grid])
        return tuple(float(v[k]) for v, k in zip(self.grid, at, strict=True))

    def capacities(self) -> np.ndarray:
        """Limits at every combination of positions, kW, (C, ...) over the positions."""
        return np.array(np.meshgrid(*self.limits, indexing="ij")).reshape(len(self.lines), *self.shape)

    def design(self, point: Point) -> Design:
        """The design of a point."""
        limits = (float(v[k]) for v, k in zip(self.limits, point[1:], strict=True))
        return Design.of(self.prices(point[0]), tuple(zip(self.lines, limits, strict=True)))

    def point(self, design: Design) -> Point:
        """The point that a design is, exactly. Raises CertificateError where it is none: nothing is rounded."""
        prices = tuple(design.prices.tolist())
        at = [_place(v, x) for v, x in zip(self.grid, prices, strict=True)] if len(prices) == len(self.grid) else [None]
        offered = dict(design.capacity)
        where = [_place(v, offered.get(line, np.nan)) for line, v in zip(self.lines, self.limits, strict=True)]
        limits, steps = ([k for k in part if k is not None] for part in (where, at))
        if len(limits) < len(where) or set(offered) != set(self.lines):
            raise CertificateError("design.off_menu", 1.0, 0.0, f"{design} is not on the menu")
        if len(steps) == len(self.grid):
            return (int(np.ravel_multi_index(steps, [len(v) for v in self.grid])), *limits)
        if prices not in self.single:
            raise CertificateError("design.off_menu", 1.0, 0.0, f"{design} is not on the menu")
        return (self.grid_size + self.single.index(prices), *limits)

    def from_near(self, tariff: int) -> Iterator[int]:
        """Every tariff once: those beside the grid, then the grid's, nearest to a given one first."""
        yield from range(self.grid_size, self.n_tariffs)
        sizes = [len(v) for v in self.grid]
        start = tuple(int(np.abs(v - x).argmin()) for v, x in zip(self.grid, self.prices(tariff), strict=True))
        waiting, seen = deque([start]), {start}
        while waiting:
            at = waiting.popleft()
            yield int(np.ravel_multi_index(at, sizes))
            for axis, step in ((a, s) for a in range(len(sizes)) for s in (-1, 1)):
                near = at[:axis] + (at[axis] + step,) + at[axis + 1 :]
                if 0 <= near[axis] < sizes[axis] and near not in seen:
                    seen.add(near)
                    waiting.append(near)

    def distance(self, one: Point, other: Point) -> float:
        """How far two points are apart: differences of prices and positions, as shares of their ranges."""
        spans = [max(v[-1] - v[0], 1e-9) for v in self.grid]
        prices = zip(self.prices(one[0]), self.prices(other[0]), spans, strict=True)
        places = zip(one[1:], other[1:], self.shape, strict=True)
        return sum(abs(a - b) / span for a, b, span in prices) + sum(abs(a - b) / n for a, b, n in places)


def _place(levels: np.ndarray, value: float) -> int | None:
    """Where a value stands among sorted levels; None where it is none of them."""
    k = int(np.searchsorted(levels, value))
    return k if k < levels.size and levels[k] == value else None


def reaching(mask: np.ndarray) -> np.ndarray:
    """Where a marked position is at or above, in every coordinate."""
    for axis in range(mask.ndim):
        mask = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    return mask


def maximal(mask: np.ndarray) -> list[tuple[int, ...]]:
    """Marked positions with no other marked position at or above them, loosest first."""
    inner, below = reaching(mask), np.zeros_like(mask)
    for axis in range(mask.ndim):
        ahead, behind = np.moveaxis(inner, axis, 0), np.moveaxis(below, axis, 0)
        behind[:-1] |= ahead[1:]
    found = [tuple(int(k) for k in np.unravel_index(i, mask.shape)) for i in np.flatnonzero(mask & ~below)]
    return sorted(found, key=lambda at: -sum(at))
