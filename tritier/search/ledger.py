"""What rows prove about a menu: a bound on F at every point, the points that are open, and the incumbent.

A tariff that has an answer holds a bound for each combination of limits. All others share one, which the rows on F and
limits give. Nothing here solves a follower.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tritier.errors import CertificateError
from tritier.search.cuts import Row
from tritier.search.enumeration import row_of
from tritier.search.menu import Coordinates, Point, maximal

BELOW = 1e-3  # $: how far the F of a design may lie below what rows prove of it, for rounding


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
