"""Lower bounds over boxes of the menu: one small warm LP, branched best first down to single menu points.

A box is a range of positions per menu coordinate (tariffs, P2P charge, capacity limits). Its bound is the least F
over the
pooled cuts, the responses that hold on the whole box, revenue adequacy and the McCormick rows of w = tau E; at a
single point w = tau E is exact. Menus too large to list are never listed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import highspy
import numpy as np

from tritier.inputs.instance import Design, Instance
from tritier.search.cuts import Cut, Shape, tolerance

INFINITY = highspy.kHighsInf
FINE, COARSE = 1e-9, 1e-7  # feasibility tolerances; the second where the first is out of reach


@dataclass(frozen=True)
class Box:
    """First and last position in each coordinate of the menu, both included."""

    low: tuple[int, ...]
    high: tuple[int, ...]

    def is_tariff(self, prices: int) -> bool:
        """Whether the box holds a single position in each of the first ``prices`` coordinates."""
        return self.low[:prices] == self.high[:prices]

    def holds(self, other: Box) -> bool:
        """Whether another box lies within this one."""
        return all(a <= b for a, b in zip(self.low, other.low, strict=True)) and all(
            a >= b for a, b in zip(self.high, other.high, strict=True)
        )

    def without_top(self, low: tuple[int, ...]) -> list[Box]:
        """The box less its part at and above ``low``, as boxes that do not overlap."""
        rest, floor = [], list(self.low)
        for axis, first in enumerate(low):
            if first > floor[axis]:
                high = list(self.high)
                high[axis] = first - 1
                rest.append(Box(tuple(floor), tuple(high)))
                floor[axis] = first
        return rest

    def split(self, axis: int, after: int) -> tuple[Box, Box]:
        """The box cut in two behind a position of one coordinate."""
        high, low = list(self.high), list(self.low)
        high[axis], low[axis] = after, after + 1
        return Box(self.low, tuple(high)), Box(tuple(low), self.high)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The menu as sorted levels per coordinate: tariffs by block, P2P charge, capacity limits."""

    levels: tuple[np.ndarray, ...]
    prices: int
    lines: tuple[int, ...]

    @classmethod
    def of(cls, instance: Instance) -> Coordinates:
        menu = instance.menu
        levels = (*menu.tariff, menu.p2p, *(limits for _, limits in menu.capacity))
        lines = tuple(line for line, _ in menu.capacity)
        return cls(tuple(np.unique(np.array(v, dtype=float)) for v in levels), len(menu.tariff) + 1, lines)

    @property
    def root(self) -> Box:
        return Box((0,) * len(self.levels), tuple(len(v) - 1 for v in self.levels))

    def values(self, positions) -> np.ndarray:
        return np.array([v[k] for v, k in zip(self.levels, positions, strict=True)])

    def design(self, positions) -> Design:
        """The menu point at the given positions."""
        v = [float(x) for x in self.values(positions)]
        return Design(
            tuple(v[: self.prices - 1]), v[self.prices - 1], tuple(zip(self.lines, v[self.prices :], strict=True))
        )

    def positions(self, design: Design) -> tuple[int, ...]:
        """Positions of the menu point nearest to a design; lines without a limit get the largest."""
        limits = dict(design.capacity)
        wanted = [*design.tariff, design.p2p, *(limits.get(line, np.inf) for line in self.lines)]
        return tuple(int(np.abs(v - min(x, v[-1])).argmin()) for v, x in zip(self.levels, wanted, strict=True))

    def neighbours(self, positions: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Menu points one step away in one coordinate."""
        found = []
        for axis, v in enumerate(self.levels):
            for step in (-1, 1):
                if 0 <= positions[axis] + step < len(v):
                    found.append(positions[:axis] + (positions[axis] + step,) + positions[axis + 1 :])
        return found


@dataclass(frozen=True, eq=False)
class BoxBound:
    """The small LP's answer on a box: bound, z, tariffs and the products w = tau E."""

    value: float
    z: np.ndarray
    price: np.ndarray
    product: np.ndarray


class BoxLP:
    """The small LP, warm. Columns: z = (F, R, N, E, cap), then the prices tau, then w. Rows: revenue, sum of w,
    McCormick,
    cuts, responses."""

    def __init__(self, instance: Instance, shape: Shape, box_lower: np.ndarray, box_upper: np.ndarray) -> None:
        self.shape, self.menu = shape, Coordinates.of(instance)
        self.energy_lower, self.energy_upper = box_lower[shape.energy].copy(), box_upper[shape.energy].copy()
        self.solves = 0
        self.version = 0  # of the rows: how many cuts and responses there are
        self._needs = np.empty((0, shape.capacities))
        self._worth = np.empty((0, 1 + shape.energies))
        e, n = shape.energies, shape.size
        self._tau, self._w = n + np.arange(e), n + e + np.arange(e)
        self._e = np.arange(3, 3 + e)
        h = self._highs = highspy.Highs()
        for option, value in (("output_flag", False), ("threads", 1), ("presolve", "off")):
            h.setOptionValue(option, value)
        self._precision(FINE)
        self._n = n + 2 * e
        low = np.concatenate([box_lower, np.zeros(e), np.full(e, -INFINITY)])
        high = np.concatenate([box_upper, np.full(e, INFINITY), np.full(e, INFINITY)])
        cost = np.zeros(self._n)
        cost[0] = 1.0
        none = np.empty(0, dtype=np.int32)
        h.addCols(self._n, cost, low, high, 0, none, none, np.empty(0))
        revenue = np.zeros(self._n)
        revenue[self._w], revenue[2] = 1.0, -1.0
        self._add_row(instance.fixed_cost, INFINITY, revenue)
        paid = np.zeros(self._n)
        paid[self._w], paid[1] = 1.0, 1.0
        self._add_row(-INFINITY, INFINITY, paid)
        for b in range(e):
            for _ in range(4):
                row = np.zeros(self._n)
                row[[self._w[b], self._e[b], self._tau[b]]] = 1.0
                self._add_row(-INFINITY, INFINITY, row)
        self._first = 2 + 4 * e
        self._rows = self._first
        self._response_rows: list[int] = []
        self._state: Box | None = None
        self._cold = False
        self._stale = True

    def _precision(self, tolerance: float) -> None:
        for kind in ("primal", "dual"):
            self._highs.setOptionValue(f"{kind}_feasibility_tolerance", tolerance)

    def _add_row(self, lower: float, upper: float, row: np.ndarray) -> None:
        index = np.flatnonzero(row).astype(np.int32)
        self._highs.addRow(lower, upper, index.size, index, row[index])

    def add_cut(self, cut: Cut) -> None:
        """An outer cut holds on every box."""
        self._add_row(cut.value, INFINITY, np.append(cut.direction, np.zeros(2 * self.shape.energies)))
        self.version += 1
        self._rows += 1

    def add_response(self, z: np.ndarray) -> None:
        """A response holds on the boxes whose smallest capacities it respects: R + sum w <= R_k + tau . E_k."""
        row = np.zeros(self._n)
        row[1], row[self._w], row[self._tau] = 1.0, 1.0, -z[self.shape.energy]
        self._add_row(-INFINITY, INFINITY, row)
        self._response_rows.append(self._rows)
        self._rows += 1
        self.version += 1
        self._needs = np.vstack([self._needs, z[self.shape.capacity]])
        self._worth = np.vstack([self._worth, np.append(z[1], z[self.shape.energy])])
        self._stale = True

    def _enter(self, box: Box) -> None:
        """Bounds, McCormick rows and responses of a box."""
        h, s, e = self._highs, self.shape, self.shape.energies
        low, high = self.menu.values(box.low), self.menu.values(box.high)
        columns = np.concatenate([np.arange(s.capacity.start, s.capacity.stop), self._tau, self._e]).astype(np.int32)
        lower = np.concatenate([low[e:], low[:e], self.energy_lower])
        upper = np.concatenate([high[e:], high[:e], self.energy_upper])
        h.changeColsBounds(columns.size, columns, lower, upper)
        el, eu = self.energy_lower, self.energy_upper
        for b in range(e):
            corners = ((low[b], el[b], 1), (high[b], eu[b], 1), (high[b], el[b], -1), (low[b], eu[b], -1))
            for k, (t, g, sense) in enumerate(corners):
                row = 2 + 4 * b + k
                h.changeCoeff(row, int(self._e[b]), -t)
                h.changeCoeff(row, int(self._tau[b]), -g)
                bound = -t * g
                h.changeRowBounds(row, bound if sense > 0 else -INFINITY, INFINITY if sense > 0 else bound)
        if self._response_rows:
            held = (self._needs <= low[e:]).all(axis=1)
            rows = np.array(self._response_rows, dtype=np.int32)
            ceiling = np.where(held, self._worth[:, 0] + self._tolerance(), INFINITY)
            h.changeRowsBounds(rows.size, rows, np.full(rows.size, -INFINITY), ceiling)
        self._state, self._stale = box, False

    def _tolerance(self) -> np.ndarray:
        """delta = 1e-7 max(1, |R_k|): responses are relaxed by it."""
        return np.array([tolerance(r) for r in self._worth[:, 0]])

    def bound(self, box: Box) -> BoxBound | None:
        """Least F over a box, or None where the box holds no design that recovers the revenue.

        Where the simplex gives neither from any start, the bound is minus infinity: weaker, and valid.
        """
        if self._state != box or self._stale:
            self._enter(box)
        h = self._highs
        for precision, presolve in ((FINE, "off"), (FINE, "off"), (COARSE, "off"), (FINE, "on")):
            self._precision(precision)
            h.setOptionValue("presolve", presolve)
            h.run()
            self.solves += 1
            status = h.getModelStatus()
            h.setOptionValue("presolve", "off")
            if status == highspy.HighsModelStatus.kOptimal:
                break
            if status == highspy.HighsModelStatus.kInfeasible and self._cold:
                return None
            h.clearSolver()
            self._cold = True
        else:
            return self._nothing(box)
        self._cold = False
        x = np.array(h.getSolution().col_value)
        return BoxBound(h.getInfo().objective_function_value, x[: self.shape.size], x[self._tau], x[self._w])

    def _nothing(self, box: Box) -> BoxBound:
        """No bound: the middle of the prices, no energy."""
        e = self.shape.energies
        price = (self.menu.values(box.low)[:e] + self.menu.values(box.high)[:e]) / 2
        return BoxBound(-np.inf, np.zeros(self.shape.size), price, np.zeros(e))

    def branch(self, box: Box, bound: BoxBound) -> tuple[Box, Box]:
        """Cut a box of several prices: at the worst product, near its price."""
        e = self.shape.energies
        width = np.array(box.high[:e]) - np.array(box.low[:e])
        miss = np.abs(bound.product - bound.price * bound.z[self.shape.energy])
        axis = int(np.where(width > 0, miss + 1e-9 * width, -1.0).argmax())
        near = int(np.searchsorted(self.menu.levels[axis], bound.price[axis], side="right")) - 1
        after = (near + (box.low[axis] + box.high[axis]) // 2) // 2
        return box.split(axis, min(max(after, box.low[axis]), box.high[axis] - 1))


@dataclass(order=True)
class Node:
    """A box in the heap with its bound and the version of the rows that gave it. Bounds in the same step of the tree's
    ``grain`` count as equal: then the loosest limits come first, whose responses hold furthest, then the latest box."""

    step: float
    tightness: int
    number: int
    value: float = field(compare=False)
    box: Box = field(compare=False)
    version: int = field(compare=False, default=-1)
    bound: BoxBound | None = field(compare=False, default=None)


class BoxTree:
    """Best-first tree over the menu down to single tariffs; bounds are renewed only where they are smallest."""

    def __init__(self, lp: BoxLP, grain: float) -> None:
        self.lp, self.grain = lp, grain
        self._count = 0
        self._heap: list[Node] = []
        self.retired = np.inf  # smallest bound of the boxes that were good enough

    def push(self, box: Box, value: float, version: int = -1, bound: BoxBound | None = None) -> None:
        """Add a box whose bound is ``value``, or more where its rows say so later."""
        self._count += 1
        step = np.floor(value / self.grain)
        loose = -sum(box.high[self.lp.menu.prices :])
        heapq.heappush(self._heap, Node(step, loose, -self._count, value, box, version, bound))

    @property
    def lower_bound(self) -> float:
        return min([self.retired, *(node.value for node in self._heap)])

    def next_tariff(self, stop_at: float, late: Callable[[], bool] = lambda: False) -> Node | None:
        """The box of one tariff with the smallest renewed bound, taken out of the heap; None once all reach
        ``stop_at``, or it is late."""
        while self._heap and self._heap[0].step * self.grain < stop_at and not late():
            node = heapq.heappop(self._heap)
            if node.value >= stop_at:
                self.retired = min(self.retired, node.value)
            elif node.version < self.lp.version:
                self._renew(node.box, node.value)
            elif node.box.is_tariff(self.lp.menu.prices):
                return node
            else:
                for part in self.lp.branch(node.box, node.bound):
                    self._renew(part, node.value)
        return None

    def _renew(self, box: Box, value: float) -> None:
        bound = self.lp.bound(box)
        if bound is not None:
            self.push(box, max(value, bound.value), self.lp.version, bound)
