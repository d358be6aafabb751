"""Lower bounds over boxes of the menu: one small warm LP, branched best first down to single menu points.

A box is a range of positions per menu coordinate (tariffs, P2P charge, capacity limits). Its bound is the least F
over the
pooled cuts, the responses that hold on the whole box, revenue adequacy and the McCormick rows of w = tau E; at a
single point w = tau E is exact. Menus too large to list are never listed.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import highspy
import numpy as np

from tritier.cuts import Column, Cut, Shape, tolerance
from tritier.errors import SolverError
from tritier.instance import Design, Instance

INFINITY = highspy.kHighsInf
FINE = (("primal_feasibility_tolerance", 1e-9), ("dual_feasibility_tolerance", 1e-9))


@dataclass(frozen=True)
class Box:
    """First and last position in each coordinate of the menu, both included."""

    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def is_point(self) -> bool:
        return self.low == self.high

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
        self._cuts: list[Cut] = []
        self._columns: list[Column] = []
        self._needs = np.empty((0, shape.capacities))
        self._worth = np.empty((0, 1 + shape.energies))
        e, n = shape.energies, shape.size
        self._tau, self._w = n + np.arange(e), n + e + np.arange(e)
        self._e = np.arange(3, 3 + e)
        h = self._highs = highspy.Highs()
        for option, value in (("output_flag", False), ("threads", 1), ("presolve", "off"), *FINE):
            h.setOptionValue(option, value)
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
        self._floor = float(box_lower[0])
        self._first = 2 + 4 * e
        self._rows = self._first
        self._response_rows: list[int] = []
        self._state: Box | None = None
        self._stale = True

    def set_cutoff(self, upper: float) -> None:
        """Only designs with F up to ``upper`` matter from now on."""
        self._highs.changeColBounds(0, float(self._floor), float(upper))

    def tighten(self) -> None:
        """Bounds of the energies over the whole menu, by the small LP itself."""
        h, root = self._highs, self.menu.root
        self._enter(root)
        h.changeColCost(0, 0.0)
        for b, column in enumerate(self._e.tolist()):
            for sense, bounds in ((1.0, self.energy_lower), (-1.0, self.energy_upper)):
                h.changeColCost(column, sense)
                h.run()
                self.solves += 1
                if h.getModelStatus() == highspy.HighsModelStatus.kOptimal:
                    found = sense * h.getInfo().objective_function_value
                    slack = 1e-7 * max(1.0, abs(found))
                    bounds[b] = max(bounds[b], found - slack) if sense > 0 else min(bounds[b], found + slack)
            h.changeColCost(column, 0.0)
        h.changeColCost(0, 1.0)
        self._stale = True

    def _add_row(self, lower: float, upper: float, row: np.ndarray) -> None:
        index = np.flatnonzero(row).astype(np.int32)
        self._highs.addRow(lower, upper, index.size, index, row[index])

    def add_cut(self, cut: Cut) -> None:
        """An outer cut holds on every box."""
        self._add_row(cut.value, INFINITY, np.append(cut.direction, np.zeros(2 * self.shape.energies)))
        self._cuts.append(cut)
        self._rows += 1

    def add_column(self, column: Column) -> None:
        """A response holds on the boxes whose smallest capacities it respects: R + sum w <= R_k + tau . E_k."""
        row = np.zeros(self._n)
        row[1], row[self._w], row[self._tau] = 1.0, 1.0, -column.z[self.shape.energy]
        self._add_row(-INFINITY, INFINITY, row)
        self._response_rows.append(self._rows)
        self._rows += 1
        self._columns.append(column)
        self._needs = np.vstack([self._needs, column.z[self.shape.capacity]])
        self._worth = np.vstack([self._worth, np.append(column.z[1], column.z[self.shape.energy])])
        self._stale = True

    @property
    def version(self) -> int:
        return len(self._cuts) + len(self._columns)

    def theta_upper(self, prices: np.ndarray, limits: np.ndarray) -> float:
        """The least R_k + tau . E_k over the responses that the capacities admit."""
        held = (self._needs <= limits).all(axis=1)
        return float((self._worth[held] @ np.append(1.0, prices)).min(initial=np.inf))

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
        """Least F over a box, or None where the box holds no design that recovers the revenue."""
        if self._state != box or self._stale:
            self._enter(box)
        h = self._highs
        h.run()
        self.solves += 1
        if h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            h.clearSolver()
            h.run()
            if h.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
                return None
        if h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise SolverError(f"the small LP of a box: {h.modelStatusToString(h.getModelStatus())}")
        x = np.array(h.getSolution().col_value)
        return BoxBound(h.getInfo().objective_function_value, x[: self.shape.size], x[self._tau], x[self._w])

    def branch(self, box: Box, bound: BoxBound) -> tuple[Box, Box]:
        """Cut a box: capacities first, whose responses hold on whole boxes only; then the worst product at its
        price."""
        e = self.shape.energies
        width = np.array(box.high) - np.array(box.low)
        if width[e:].any():
            axis = e + int(width[e:].argmax())
            return box.split(axis, (box.low[axis] + box.high[axis]) // 2)
        miss = np.abs(bound.product - bound.price * bound.z[self.shape.energy])
        axis = int(np.where(width[:e] > 0, miss + 1e-9 * width[:e], -1.0).argmax())
        levels = self.menu.levels[axis]
        near = int(np.searchsorted(levels, bound.price[axis], side="right")) - 1
        middle = (box.low[axis] + box.high[axis]) // 2
        after = (near + middle) // 2
        return box.split(axis, min(max(after, box.low[axis]), box.high[axis] - 1))


@dataclass(order=True)
class Node:
    """A box in the heap with its bound and the version of the pool that gave it; ties go to the loosest limits, whose
    cuts and responses hold furthest."""

    value: float
    tightness: int
    number: int
    box: Box = field(compare=False)
    version: int = field(compare=False, default=-1)
    bound: BoxBound | None = field(compare=False, default=None)


class BoxTree:
    """Best-first tree over the menu; bounds are renewed only where they are smallest."""

    def __init__(self, lp: BoxLP) -> None:
        self.lp = lp
        self._count = 0
        self._heap: list[Node] = []
        self.push(lp.menu.root, -np.inf)

    def push(self, box: Box, value: float, version: int = -1, bound: BoxBound | None = None) -> None:
        self._count += 1
        tightness = -sum(box.high[self.lp.menu.prices :])
        heapq.heappush(self._heap, Node(value, tightness, self._count, box, version, bound))

    @property
    def lower_bound(self) -> float:
        return self._heap[0].value if self._heap else np.inf

    def next_point(self, stop_at: float) -> Node | None:
        """The menu point with the smallest renewed bound, taken out of the heap; None once all reach ``stop_at``."""
        while self._heap and self._heap[0].value < stop_at:
            node = heapq.heappop(self._heap)
            if node.version < self.lp.version:
                bound = self.lp.bound(node.box)
                if bound is not None:
                    self.push(node.box, max(node.value, bound.value), self.lp.version, bound)
            elif node.box.is_point:
                return node
            else:
                for part in self.lp.branch(node.box, node.bound):
                    bound = self.lp.bound(part)
                    if bound is not None:
                        self.push(part, max(node.value, bound.value), self.lp.version, bound)
        return None
