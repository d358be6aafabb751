"""The menu as numbered points, and what rows prove of each.

A point is a tariff's number, from a grid of components and single tariffs beside it, and a position among each line's
capacity limits. A number is turned into prices when it is asked for, so that menus too long to list need no list.

The ledger holds a bound on F at every point, the points that are open, and the incumbent. A tariff that has an answer
holds a bound for each combination of limits. All others share one, which the rows on F and limits give. Nothing here
solves a follower.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import pandas as pd

from tritier.errors import CertificateError
from tritier.inputs.instance import Design, Menu
from tritier.search.cuts import Row
from tritier.search.enumeration import row_of

Point = tuple[int, ...]  # number of the tariff, then a position among each line's limits
BELOW = 1e-3  # $: how far the F of a design may lie below what rows prove of it, for rounding


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


@dataclass(frozen=True, eq=False)
class Box:
    """A box of the menu, one tariff between two combinations of limits, both included, and the least F there, $:
    infinite where no response recovers the cost."""

    tariff: int
    low: tuple[int, ...]
    high: tuple[int, ...]
    least: float

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(a, b + 1) for a, b in zip(self.low, self.high, strict=True))

    def holds(self, point: Point) -> bool:
        """Whether a point of the menu lies in the box."""
        inside = zip(self.low, point[1:], self.high, strict=True)
        return point[0] == self.tariff and all(a <= x <= b for a, x, b in inside)


class Ledger:
    """The rows of a search on one menu, and what they prove."""

    def __init__(self, menu: Coordinates, least_revenue: float, rows: Iterable[Row] = ()) -> None:
        self.menu, self.least_revenue = menu, least_revenue
        self.least: list[Row] = []  # rows on F and limits: they hold at every tariff
        self.answers: dict[Point, Row] = {}  # the sharpest at each point
        self.shortfalls: dict[Point, Row] = {}
        self.boxes: list[Box] = []
        self.everywhere = np.full(menu.shape, -np.inf)  # bound at a tariff without an answer, $
        self.bound: dict[int, np.ndarray] = {}  # by tariff with an answer, $
        self.answered: dict[int, np.ndarray] = {}  # where answers hold, boolean
        self.best: tuple[float, Point] | None = None  # social cost of the incumbent, $, and its point
        for row in rows:
            self.learn(row)

    @property
    def upper_bound(self) -> float:
        return np.inf if self.best is None else self.best[0]

    @property
    def lower_bound(self) -> float:
        """Least F that the rows allow anywhere on the menu, $; the incumbent does not enter."""
        others = [self.everywhere] if self.unanswered else []
        return float(min(bound.min() for bound in [*others, *self.bound.values()]))

    def learn(self, row: Row) -> None:
        """Take in a row. Raises CertificateError where it answers a design that is no point of the menu."""
        if row.request.kind == "least":
            self.least.append(row)
            value = row.dual - np.tensordot(row.price, self.menu.capacities(), axes=1)
            self.everywhere = np.array(np.maximum(self.everywhere, value))
            for tariff, bound in self.bound.items():
                self.bound[tariff] = np.array(np.maximum(bound, value))
            return
        point = self.menu.point(row.request.design)
        kept = self.answers if row.request.kind == "answer" else self.shortfalls
        kept[point] = row
        if row.request.kind == "answer":
            self._enter(point, row, row.bound)
        if point in self.answers and point in self.shortfalls:
            short, answer = self.shortfalls[point], self.answers[point]
            for response in (short, answer):  # each response caps the follower's cost where it may be chosen
                if -short.bound_below(response.follower_value) < self.least_revenue:
                    self._enter(point, response, np.inf)

    def _enter(self, point: Point, row: Row, least: float) -> None:
        """A bound on F where the response of a row may be chosen, down from a point's limits."""
        needed = [int(np.searchsorted(v, n)) for v, n in zip(self.menu.limits, row.need, strict=True)]
        low = tuple(min(k, top) for k, top in zip(needed, point[1:], strict=True))
        box = Box(point[0], low, point[1:], least)
        bound = self.bound.setdefault(box.tariff, self.everywhere.copy())
        answered = self.answered.setdefault(box.tariff, np.zeros(self.menu.shape, dtype=bool))
        bound[box.slices] = np.maximum(bound[box.slices], least)
        answered[box.slices] = True
        self.boxes.append(box)

    def bound_at(self, point: Point) -> float:
        """What the rows prove of F at a point, $."""
        return float(self.bound.get(point[0], self.everywhere)[point[1:]])

    def require_not_below(self, social_cost: float, point: Point) -> None:
        """Raise CertificateError where a design costs less, $, than the rows prove of it: one of the two is wrong."""
        below = self.bound_at(point) - social_cost
        if below > BELOW:
            raise CertificateError("design.below_its_bound", below, BELOW, f"{self.menu.design(point)}")

    def propose(self, social_cost: float, point: Point) -> bool:
        """An exact optimistic response: the incumbent where it is the best so far. Whether it is."""
        self.require_not_below(social_cost, point)
        if social_cost >= self.upper_bound:
            return False
        self.best = (social_cost, point)
        return True

    @property
    def unanswered(self) -> int:
        """How many tariffs have no answer."""
        return self.menu.n_tariffs - len(self.bound)

    def open_at(self, tariff: int, target: float) -> np.ndarray:
        """Limits of a tariff that no answer holds at and that may have F below ``target``, $: boolean."""
        open_ = self.bound.get(tariff, self.everywhere) < target
        return open_ & ~self.answered[tariff] if tariff in self.answered else open_

    def open_points(self, tariff: int, target: float) -> list[Point]:
        """The loosest of the open limits of a tariff."""
        return [(tariff, *at) for at in maximal(self.open_at(tariff, target))]

    def all_open(self, target: float, near: int) -> Iterator[Point]:
        """Open points of the whole menu: those of the tariffs nearest to one first, tariffs without an answer before
        the others."""
        if (self.everywhere < target).any() and self.unanswered:
            for tariff in self.menu.from_near(near):
                if tariff not in self.bound:
                    yield from self.open_points(tariff, target)
        for tariff in list(self.bound):
            yield from self.open_points(tariff, target)

    def loose(self, below: float) -> list[Point]:
        """Answered points whose boxes are not bounded by a figure, $, throughout, smallest bound first."""
        found = {(float(self.bound[b.tariff][b.slices].min()), (b.tariff, *b.high)) for b in self.boxes}
        return list(dict.fromkeys(point for bound, point in sorted(found) if bound < below))

    def table(self) -> pd.DataFrame:
        """The answers, one row each: tariffs, limits, social cost of the response (NaN where it does not recover the
        cost), its bound, and theta."""
        rows = []
        for point, row in self.answers.items():
            cost = row.social_cost if row.recovered >= 0 else np.nan
            figures = {"social_cost": cost, "bound": self.bound_at(point), "theta": row.follower_value}
            rows.append(row_of(row.request.design) | figures)
        return pd.DataFrame(rows)
