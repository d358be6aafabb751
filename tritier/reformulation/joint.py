"""The joint follower as one warm LP, with the network's chance blocks and the loss tangents added only where they bind.

Radial flows and voltages are a matrix product, so all blocks are checked on every response; those it violates enter
the LP (column-and-constraint generation). The rows added here equal those that :mod:`tritier.model.market` writes in
cvxpy, by test.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from tritier.errors import SolverError
from tritier.inputs.instance import Design, Instance
from tritier.model.chance import VIOLATED_KW, Block, BlockForm, Network, net_load
from tritier.model.devices import Box, ProsumerData
from tritier.model.dso import day_peak, idle_books, leader_books, leader_boxes
from tritier.model.market import book_boxes, capacity_lines, joint_follower, line_position, violation_box
from tritier.model.network import loss_gradient, losses_kw
from tritier.model.prosumer import (
    METER,
    TRADE,
    all_data,
    column_names,
    decision_shapes,
    decisions_of,
    in_all_scenarios,
    prosumer_boxes,
)
from tritier.model.tariff import billed, inside
from tritier.reformulation.lp import Border, LPSolution, ParametricLP, WarmLP, parametric_lp

ROUNDS = 60  # a safeguard: rounds of block generation before giving up


def follower_lp(instance: Instance, market: bool = True) -> ParametricLP:
    """Joint follower and DSO's columns as a ParametricLP without network rows, at prices of one."""
    follower = joint_follower(instance, market=market)
    _, rows = leader_books(follower)
    rows = follower.rows + rows
    books = follower.books
    held = 0 * cp.sum(books.cap)  # keeps the capacity columns, which have no row before a block needs them
    problem = cp.Problem(cp.Minimize(books.R + held), [c for _, c in rows])
    return parametric_lp(problem, {c.id: label for label, c in rows})


def day_lps(instance: Instance) -> list[ParametricLP]:
    """:func:`follower_lp` of every day of an instance on its own. Days whose prosumers decide the same are written
    together and taken apart, as writing an LP takes as long for one day as for many."""
    days = [instance.on(instance.days.select([k])) for k in range(instance.days.n_days)]
    alike: dict[object, list[int]] = {}
    for k, day in enumerate(days):
        alike.setdefault(_decided(day), []).append(k)
    found: dict[int, ParametricLP] = {}
    for group in alike.values():
        found |= dict(zip(group, _apart(instance, [days[k] for k in group], group), strict=True))
    return [found[k] for k in range(len(days))]


def _decided(day: Instance) -> object:
    """By what the LPs of two days have the same columns and rows, and the same coefficients but for prices."""
    return tuple(tuple(device.coefficients() for device in d.devices) for d in all_data(day))


def _apart(instance: Instance, days: Sequence[Instance], at: list[int]) -> Iterable[ParametricLP]:
    """The LPs of days that decide the same, at positions of an instance: each a part of one LP that gives every day a
    probability of one, with boxes of its own and, in rows that add up days, constants of its own."""
    first = follower_lp(days[0])
    yield first
    if len(days) == 1:
        return
    together = replace(instance.days.select(at), probability=np.ones(len(at)))
    whole = follower_lp(instance.on(together))
    for k, day in enumerate(days[1:], 1):
        columns, rows = (
            np.concatenate([_of_day(a, b[name], k) for name, a in own.items()])
            for own, b in ((first.columns, whole.columns), (first.rows, whole.rows))
        )
        boxes, upper = follower_boxes(day), whole.row_upper[rows]
        for name, constant in idle_books(day).items():
            if name in first.rows:
                upper[first.row_at(name)] = constant
        yield replace(
            first,
            cost=whole.cost[columns],
            matrix=sp.csr_array(sp.csc_array(whole.matrix[rows])[:, columns]),
            row_lower=np.where(np.isinf(first.row_lower), -np.inf, upper),
            row_upper=upper,
            col_lower=np.concatenate([boxes[name][0].ravel("F") for name in first.columns]),
            col_upper=np.concatenate([boxes[name][1].ravel("F") for name in first.columns]),
        )


def _of_day(alone: tuple[int, tuple[int, ...]], among: tuple[int, tuple[int, ...]], k: int) -> np.ndarray:
    """Positions, among those of all days, of a name that a day alone has too: first position and shape of each."""
    (_, own), (start, shape) = alone, among
    positions = start + np.arange(np.prod(shape, dtype=int)).reshape(shape, order="F")
    return (positions if own == shape else positions[..., [k]]).ravel("F")


def follower_boxes(instance: Instance) -> dict[str, Box]:
    """Boxes of every column of :func:`follower_lp`, by name."""
    boxes: dict[str, Box] = {}
    for d in all_data(instance):
        for term, (lower, upper) in prosumer_boxes(d).items():
            parts = [(lower, upper)] if lower.ndim < 3 else zip(lower, upper, strict=True)
            boxes |= zip(column_names(term, lower.shape, d.own.name), parts, strict=True)
    books = book_boxes(instance, all_data(instance))
    return boxes | books | leader_boxes(instance, books)


@dataclass(frozen=True)
class _Asked:
    """An instance that is told from others by what it holds: two readings of one study are the same."""

    content: bytes
    instance: Instance = field(compare=False)


def kept(write: Callable[..., Any], most: int) -> Callable[..., Any]:
    """What ``write`` makes of an instance, the last ``most`` of which are kept by the content of their instances:
    writing an LP takes as long as many of its solves. An instance with devices that cannot be pickled has no content to
    be told by, and its LP is written whenever it is asked for."""

    @lru_cache(maxsize=most)
    def known(asked: _Asked, *more: float) -> Any:
        return write(asked.instance, *more)

    def ask(instance: Instance, *more: float) -> Any:
        try:
            content = sha256(pickle.dumps(instance)).digest()
        except (pickle.PicklingError, AttributeError, TypeError):
            return write(instance, *more)
        return known(_Asked(content, instance), *more)

    return ask


#: solving, certifying and summarising a case begin with the same LP
known_lp: Callable[..., ParametricLP] = kept(follower_lp, 4)
#: the same for every design and case with the same assets
known_days: Callable[[Instance], list[ParametricLP]] = kept(day_lps, 4)


def own_columns(lp: ParametricLP, d: ProsumerData, owner: str) -> dict[str, np.ndarray]:
    """Column positions of every decision of one prosumer, by name, each in the decision's shape."""
    found = {}
    for term, (lower, _) in prosumer_boxes(d).items():
        names = column_names(term, lower.shape, owner)
        found[term] = np.array([lp.at(name) for name in names]) if lower.ndim == 3 else lp.at(names[0])
    return found


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the prosumers' trades and exchanges stand: each an (I, ...) array of column positions."""

    zb: np.ndarray  # (I, T), or (I, T, S) where trade is contingent on the scenario
    zs: np.ndarray  # like zb
    gp: np.ndarray  # (I, T, S)
    gm: np.ndarray  # (I, T, S)

    @classmethod
    def of(cls, columns: Sequence[dict[str, np.ndarray]]) -> Layout:
        return cls(*(np.array([own[term] for own in columns]) for term in TRADE))


@dataclass(frozen=True, eq=False)
class BlockRows:
    """A chance block in numbers: its own columns (quantile, tails, slack) and rows (tails by sign, then the CVaR)."""

    matrix: sp.csr_array  # (K S + 1, S + 2), the block's own columns
    upper: np.ndarray  # (K S + 1,); every row is <=
    col_lower: np.ndarray  # (S + 2,)
    col_upper: np.ndarray  # (S + 2,)
    columns: dict[str, tuple[int, tuple[int, ...]]]
    rows: dict[str, tuple[int, tuple[int, ...]]]


def block_rows(instance: Instance, form: BlockForm, block: Block) -> BlockRows:
    """What a block adds to an LP apart from injections and offered limits (:eq:`eq-chance`)."""
    days, level, s = instance.days, instance.rules.chance_level, instance.days.n_days
    signs, box = form.gradient.shape[0], violation_box(instance, form)
    risk = np.concatenate([[1.0], days.probability / level, [-1.0]])
    weighed = np.flatnonzero(risk)
    tails = np.column_stack([np.zeros(s, dtype=int), 1 + np.arange(s)])  # of a scenario: the quantile and its own tail
    columns = np.append(np.tile(tails.ravel(), signs), weighed)
    values = np.append(-np.ones(2 * s * signs), risk[weighed])
    ends = np.append(2 * np.arange(signs * s + 1), columns.size)
    label = block.label
    return BlockRows(
        matrix=sp.csr_array((values, columns, ends), shape=(signs * s + 1, s + 2)),
        upper=np.append(violation_sides(instance, form, block.hour).ravel(), 0.0),
        col_lower=np.concatenate([[-box], np.zeros(s + 1)]),
        col_upper=np.concatenate([[box], np.full(s, 2 * box), [2 * box / level]]),
        columns={f"var:{label}": (0, ()), f"excess:{label}": (1, (s,)), f"slack:{label}": (s + 1, ())},
        rows={f"tail{k}:{label}": (k * s, (s,)) for k in range(signs)} | {f"quantile:{label}": (signs * s, ())},
    )


def violation_sides(instance: Instance, form: BlockForm, hour: int) -> np.ndarray:
    """Right-hand sides of ``violation <= 0``, kW, (K, S): the limits less what passive loads use of them."""
    return form.limit - form.gradient @ instance.days.passive_kw[:, hour, :]


def worst(violated: Iterable[Block]) -> list[Block]:
    """The first block of each kind and hour of blocks that stand worst first: at one bus it holds most of the others of
    its hour too, and an LP with a quarter of the blocks is solved in half the time."""
    return list({(block.kind, block.hour): block for block in reversed(list(violated))}.values())[::-1]


class JointLP:
    """The joint follower of an instance, warm; ``network=False`` leaves the network out of the clearing (Cases 0-2).

    ``lp``: the instance's :func:`follower_lp` where the caller holds it.
    """

    def __init__(
        self, instance: Instance, market: bool = True, network: bool = True, lp: ParametricLP | None = None
    ) -> None:
        self.instance = instance
        self.sees_network = network
        self.network = Network(instance)
        self.bare = lp or known_lp(instance, market)
        self.warm = WarmLP(self.bare)
        self.data = all_data(instance)
        self.columns = tuple(own_columns(self.warm.lp, d, d.own.name) for d in self.data)
        self.layout = Layout.of(self.columns)
        self.blocks: list[Block] = []
        self.recovering: Design | None = None  # the design whose revenue row holds
        self.tangents = 0
        self.history: list[Block | np.ndarray] = []  # what was appended, in order: blocks, and net loads of tangents
        self.lines = capacity_lines(instance)
        self.inside = inside(instance.rules)
        self.variable = 1.0 - instance.rules.fixed_share  # share of the cost that variable charges must recover
        self.billed_on = self._billed_on()
        self.charged = np.ones(self.inside.size)  # prices that stand in the cost rows
        self._charge(np.zeros(self.inside.size))
        self._append_revenue_row()
        self.tangent(instance.days.passive_kw)

    @property
    def lp(self) -> ParametricLP:
        return self.warm.lp

    def _billed_on(self) -> np.ndarray:
        """Columns that hold what each component of the tariff is billed on, (B + 3,); -1 where it has none."""
        lp, n = self.lp, self.inside.size
        last = [int(lp.at(name)) if name in lp.columns else -1 for name in ("K", "H")]
        return np.array([*lp.at("G").ravel(), int(lp.at("Z")), *last], dtype=int).reshape(n)

    def _charge(self, prices: np.ndarray) -> None:
        """Put the prices billed by scenario, (B + 3,), into the cost rows of all prosumers."""
        if not self.inside.any() or np.array_equal(prices[self.inside], self.charged[self.inside]):
            return
        rows, columns, values = [], [], []
        for d, own in zip(self.data, self.columns, strict=True):
            cost = self.lp.row_at(f"energy_cost0[{d.own.name}]")
            for term, price in zip(METER, (prices[:-3], prices[-2:-1]), strict=True):
                if term in own:
                    at = own[term].reshape(-1, cost.size)
                    rows.append(np.broadcast_to(cost, at.shape).ravel())
                    columns.append(at.ravel())
                    values.append(np.repeat(-price, cost.size))
        with self.warm.clock.during(work="tariff"):
            self.warm.set_entries(*(np.concatenate(part) for part in (rows, columns, values)))
        self.charged = prices.copy()

    def _append_revenue_row(self) -> None:
        n = self.lp.cost.size
        columns = self._revenue_columns()
        matrix = sp.csr_array((np.ones(columns.size), (np.zeros(columns.size, dtype=int), columns)), shape=(1, n))
        free = np.array([np.inf])
        empty = np.empty(0)
        old = sp.csr_array((self.lp.row_lower.size, 0))
        self.warm.append(Border(empty, empty, empty, old, {}, matrix, -free, free, {"revenue": (0, ())}))

    def _revenue_columns(self) -> np.ndarray:
        return np.append(self.billed_on[self.billed_on >= 0], self.lp.at("N"))

    def _prices(self, design: Design) -> np.ndarray:
        """Prices of the components that have a column; ValueError where another one is charged."""
        prices, known = design.prices, self.billed_on >= 0
        if prices[~known].any():
            raise ValueError("the design charges a peak that no menu of the instance offers")
        return prices[known]

    def require_revenue(self, design: Design | None) -> None:
        """Ask that a design recovers the fixed and the network cost (:eq:`eq-revenue-adequacy`); ``None`` lifts the
        row."""
        self.recovering = design
        row = int(self.lp.row_at("revenue"))
        if design is not None:
            columns = self._revenue_columns()
            self.warm.set_entries(np.full(columns.size, row), columns, np.append(self._prices(design), -self.variable))
        least = -np.inf if design is None else self.instance.least_revenue
        self.warm.set_rows(np.array([row]), np.array([least]), np.array([np.inf]))

    def cost(self, design: Design, f: float = 0.0, v: float = 1.0, n: float = 0.0) -> np.ndarray:
        """Cost vector of f F + v J + n ((1 - fixed share) N - revenue), with the LP at the design (:meth:`set_design`).

        F: social cost; J: the follower's own value, R and what is charged outside R; the last: what the tariffs leave
        uncovered of their share of the network cost. Passive loads' own charges are a constant where charges are
        billed by scenario, and left out of J. Raises ValueError where the LP stands at other prices.
        """
        if v and not np.array_equal(self.charged[self.inside], design.prices[self.inside]):
            raise ValueError("the LP's cost rows hold the prices of another design: offer this one first")
        c = np.zeros(self.lp.cost.size)
        c[self.lp.at("F")], c[self.lp.at("R")], c[self.lp.at("N")] = f, v, n * self.variable
        known = self.billed_on >= 0
        c[self.billed_on[known]] = (np.where(self.inside, 0.0, v)[known] - n) * self._prices(design)
        return c

    def set_design(self, design: Design | None) -> None:
        """Make the LP that of a design: its prices in the cost rows, its capacity columns fixed at its limits.

        ``None`` frees the limits within the menu and keeps the prices; a design without limits offers the largest.
        """
        if design is not None:
            self._charge(design.prices)
        if not self.lines:
            return
        at = self.lp.at("cap")
        low, high = self.lp.col_lower[at], self.lp.col_upper[at]
        if design is not None:
            low = high = self.limits_at(design)
        self.warm.set_bounds(at, low, high)

    def limits_at(self, design: Design) -> np.ndarray:
        """Limits of a design, kW, in the order of the capacity columns; the largest where it sets none."""
        limits, top = dict(design.capacity), self.lp.col_upper[self.lp.at("cap")] if self.lines else []
        return np.array([limits.get(line, most) for line, most in zip(self.lines, top, strict=True)])

    def decisions(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Decisions of all prosumers at a point of the LP, by name, (I, ...); zero where one has no such device."""
        arrays = {term: np.zeros((len(self.data), *shape)) for term, shape in decision_shapes(self.data).items()}
        for i, own in enumerate(self.columns):
            for term in arrays.keys() & own.keys():
                arrays[term][i] = x[own[term]]
        return arrays

    def place(self, x: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Put decisions of all prosumers, (I, ...) by name, and their meters' readings into a point of the LP; those
        not named stay."""
        for i, (d, own) in enumerate(zip(self.data, self.columns, strict=True)):
            named = decisions_of(d, arrays, i)
            for term in named.keys() & own.keys():
                x[own[term]] = named[term]

    def billed(self, x: np.ndarray) -> np.ndarray:
        """What each component of the tariff is billed on at a point of the LP, exactly, (B + 3,)."""
        at = self.layout
        return billed(self.instance, x[at.gp], x[at.zb], x[at.zs], day_peak(self.net_load(x)))

    def injection(self, x: np.ndarray) -> np.ndarray:
        """Net injection of every prosumer at a point of the LP, kW, (I, T, S) (:eq:`eq-injection`)."""
        at = self.layout
        return x[at.gm] - x[at.gp] + in_all_scenarios(x[at.zs] - x[at.zb])

    def net_load(self, x: np.ndarray) -> np.ndarray:
        """Net load of every bus at a point of the LP, kW, (N, T, S)."""
        return net_load(self.instance, self.injection(x))

    def limits(self, x: np.ndarray) -> dict[int, float]:
        """The capacity limits, by line position, that hold at a point of the LP, kW."""
        values = x[self.lp.at("cap")] if self.lines else []
        return {line_position(self.instance, line): float(v) for line, v in zip(self.lines, values, strict=True)}

    def violated(self, x: np.ndarray, above: float = VIOLATED_KW) -> list[Block]:
        """Blocks without rows whose CVaR of violation is positive at x, by more than ``above``, kW, worst first."""
        if not self.sees_network:
            return []
        known = set(self.blocks)
        with self.warm.clock.during(work="blocks"):
            risks = self.network.block_risks(self.net_load(x), self.limits(x), above)
        return [block for _, block in risks if block not in known]

    def solve(self, cost: np.ndarray, simplex: str = "dual") -> LPSolution:
        """Solve, add the blocks that the answer violates, and solve again until it violates none (C&CG)."""
        solution = self.warm.solve(cost, simplex)
        for _ in range(ROUNDS):
            violated = self.violated(solution.x)
            if not violated:
                return solution
            self.add_blocks(worst(violated))
            cost = np.append(cost, np.zeros(self.lp.cost.size - cost.size))
            solution = self.warm.solve(cost)
        raise SolverError(f"chance blocks still violated after {ROUNDS} rounds: {violated[0].label}")

    def violation_rows(self, block: Block) -> tuple[sp.csr_array, np.ndarray]:
        """Rows (K S, n) and right-hand sides of ``violation <= 0`` of a block, sign by sign, scenario by scenario."""
        entries, upper = self._violation_entries(block)
        return sp.csr_array((entries[2], tuple(entries[:2])), shape=(upper.size, self.lp.cost.size)), upper

    def _violation_entries(self, block: Block) -> tuple[list[np.ndarray], np.ndarray]:
        """Rows, columns and values of :meth:`violation_rows`, and their right-hand sides."""
        instance, form, at, t = self.instance, self.network.form(block), self.layout, block.hour
        gradient = form.gradient[:, instance.prosumer_bus]
        touched = np.flatnonzero(gradient.any(axis=0))
        upper = violation_sides(instance, form, t)
        row = np.arange(upper.size).reshape(upper.shape)  # (K, S)
        shape = (upper.shape[0], touched.size, upper.shape[1])
        wide, g = np.broadcast_to(row[:, None], shape), np.broadcast_to(gradient[:, touched, None], shape)
        exchanged = (at.gm, at.gp, in_all_scenarios(at.zs), in_all_scenarios(at.zb))
        columns_of = [np.broadcast_to(z[touched, t], shape) for z in exchanged]
        entries = [(wide, z, value) for z, value in zip(columns_of, (-g, g, -g, g), strict=True)]
        if form.capacity is not None:
            position = [line_position(instance, line) for line in self.lines].index(form.capacity)
            offered = np.full(upper.shape, self.lp.at("cap")[position])
            entries.append((row, offered, np.full(upper.shape, -1.0)))
        return [np.concatenate([np.ravel(e[k]) for e in entries]) for k in range(3)], upper.ravel()

    def add_block(self, block: Block) -> None:
        """Append one chance block (:meth:`add_blocks`)."""
        self.add_blocks([block])

    def add_blocks(self, blocks: Iterable[Block]) -> None:
        """Append chance blocks: each its quantile, tail and slack columns, its tail rows and its CVaR row
        (:eq:`eq-chance`)."""
        blocks = list(blocks)
        if blocks:
            with self.warm.clock.during(work="blocks"):
                self._append_blocks(blocks)

    def _append_blocks(self, blocks: list[Block]) -> None:
        parts = [block_rows(self.instance, self.network.form(block), block) for block in blocks]
        n, m = self.lp.cost.size, self.lp.row_lower.size
        columns: dict[str, tuple[int, tuple[int, ...]]] = {}
        rows: dict[str, tuple[int, tuple[int, ...]]] = {}
        entries: list[tuple[np.ndarray, ...]] = []  # rows, columns and values: whole blocks at once, as each takes time
        slacks, width, height = [], 0, 0
        for block, part in zip(blocks, parts, strict=True):
            columns |= {k: (width + a, shape) for k, (a, shape) in part.columns.items()}
            rows |= {k: (height + a, shape) for k, (a, shape) in part.rows.items()}
            row, column, value = self._violation_entries(block)[0]
            own = part.matrix.tocoo()
            entries += [(height + row, column, value), (height + own.row, n + width + own.col, own.data)]
            width, height = width + part.col_lower.size, height + part.upper.size
            slacks.append(width - 1)
        row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
        total = (np.full(len(slacks), int(self.lp.row_at("slack"))), np.array(slacks))
        self.warm.append(
            Border(
                cost=np.zeros(width),
                col_lower=np.concatenate([part.col_lower for part in parts]),
                col_upper=np.concatenate([part.col_upper for part in parts]),
                old_rows=sp.csr_array((-np.ones(len(slacks)), total), shape=(m, width)),
                columns=columns,
                matrix=sp.csr_array((value, (row, column)), shape=(height, n + width)),
                row_lower=np.full(height, -np.inf),
                row_upper=np.concatenate([part.upper for part in parts]),
                rows=rows,
            )
        )
        self.blocks += blocks
        self.history += blocks

    def tangent(self, load: np.ndarray) -> None:
        """Append one loss tangent per hour and scenario at the given net loads, kW, (N, T, S)
        (:eq:`eq-loss-tangent`); the same tangent twice would only be rows that the simplex cannot tell apart."""
        if any(isinstance(old, np.ndarray) and np.array_equal(old, load) for old in self.history):
            return
        with self.warm.clock.during(work="tangents"):
            self._append_tangent(load)

    def _append_tangent(self, load: np.ndarray) -> None:
        flow, reactive = self.network.matrices.flows(load), self.network.reactive_flow
        value = losses_kw(flow, reactive, self.instance.feeder)  # (T, S)
        slope = loss_gradient(flow, self.instance.feeder)  # (L, T, S)
        by_bus = np.tensordot(self.network.matrices.downstream.T, slope, axes=1)  # (N, T, S)
        fixed = value - (slope * flow).sum(axis=0) + (by_bus * self.instance.days.passive_kw).sum(axis=0)
        g = by_bus[self.instance.prosumer_bus]  # (I, T, S)
        hours, days = fixed.shape
        row = np.arange(hours * days).reshape(hours, days)
        loss, at = self.lp.at("loss"), self.layout
        wide = np.broadcast_to(row, g.shape)
        columns = [
            at.gm,
            at.gp,
            np.broadcast_to(in_all_scenarios(at.zs), g.shape),
            np.broadcast_to(in_all_scenarios(at.zb), g.shape),
            loss,
        ]
        values = [g, -g, g, -g, np.ones(loss.shape)]
        index = [wide, wide, wide, wide, row]
        data = (
            np.concatenate([v.ravel() for v in values]),
            tuple(np.concatenate([a.ravel() for a in x]) for x in (index, columns)),
        )
        self.warm.append(
            Border(
                cost=np.empty(0),
                col_lower=np.empty(0),
                col_upper=np.empty(0),
                old_rows=sp.csr_array((self.lp.row_lower.size, 0)),
                columns={},
                matrix=sp.csr_array(data, shape=(hours * days, self.lp.cost.size)),
                row_lower=fixed.ravel(),
                row_upper=np.full(hours * days, np.inf),
                rows={f"tangent{self.tangents}": (0, (hours * days,))},
            )
        )
        self.tangents += 1
        self.history.append(load)

    @property
    def tangent_rows(self) -> np.ndarray:
        """Positions of all rows of loss tangents."""
        return np.concatenate([self.lp.row_at(f"tangent{k}").ravel() for k in range(self.tangents)])

    def exact_losses(self, load: np.ndarray) -> np.ndarray:
        """Losses at given net loads, kW, (T, S) (:eq:`eq-losses`)."""
        return losses_kw(self.network.matrices.flows(load), self.network.reactive_flow, self.instance.feeder)
