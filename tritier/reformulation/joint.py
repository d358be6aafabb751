"""The joint follower as one warm LP, with the network's chance blocks and the loss tangents added only where they bind.

Radial flows and voltages are a matrix product, so all blocks are checked on every response; those it violates enter
the LP
(column-and-constraint generation). The rows added here equal those that :mod:`tritier.model.market` writes in cvxpy,
by test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from tritier.errors import SolverError
from tritier.inputs.instance import Design, Instance
from tritier.model.chance import Block, Network, net_load
from tritier.model.dso import leader_books
from tritier.model.market import capacity_lines, joint_follower, line_position, violation_box
from tritier.model.network import loss_gradient, losses_kw
from tritier.reformulation.lp import Border, LPSolution, ParametricLP, WarmLP, parametric_lp

VIOLATED_KW = 1e-6  # a block enters the LP when its CVaR exceeds this
ROUNDS = 60  # a safeguard: rounds of block generation before giving up


def follower_lp(instance: Instance, market: bool = True) -> ParametricLP:
    """Joint follower and DSO's columns as a ParametricLP without network rows, at zero tariffs."""
    follower = joint_follower(instance, market=market)
    _, rows = leader_books(follower)
    rows = follower.rows + rows
    books = follower.books
    held = 0 * cp.sum(books.cap)  # keeps the capacity columns, which have no row before a block needs them
    problem = cp.Problem(cp.Minimize(books.R + held), [c for _, c in rows])
    return parametric_lp(problem, {c.id: label for label, c in rows})


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the prosumers' columns stand: each an (I, ...) array of column positions."""

    zb: np.ndarray  # (I, T)
    zs: np.ndarray  # (I, T)
    gp: np.ndarray  # (I, T, S)
    gm: np.ndarray  # (I, T, S)

    @classmethod
    def of(cls, lp: ParametricLP, names: Iterable[str]) -> Layout:
        names = list(names)
        return cls(*(np.array([lp.at(f"{term}[{name}]") for name in names]) for term in ("zb", "zs", "gp", "gm")))


class JointLP:
    """The joint follower of an instance, warm; ``network=False`` leaves the network out of the clearing (Cases 0-2).

    ``lp``: the instance's :func:`follower_lp` where it has been built before.
    """

    def __init__(
        self, instance: Instance, market: bool = True, network: bool = True, lp: ParametricLP | None = None
    ) -> None:
        self.instance = instance
        self.sees_network = network
        self.network = Network(instance)
        self.bare = lp or follower_lp(instance, market)
        self.warm = WarmLP(self.bare)
        self.layout = Layout.of(self.warm.lp, (p.name for p in instance.prosumers))
        self.blocks: list[Block] = []
        self.recovering: Design | None = None  # the design whose revenue row holds
        self.tangents = 0
        self.history: list[Block | np.ndarray] = []  # what was appended, in order: blocks, and net loads of tangents
        self.lines = capacity_lines(instance)
        self._append_revenue_row()
        self.tangent(instance.days.passive_kw)

    @property
    def lp(self) -> ParametricLP:
        return self.warm.lp

    def _append_revenue_row(self) -> None:
        n = self.lp.cost.size
        columns = self._revenue_columns()
        matrix = sp.csr_array((np.ones(columns.size), (np.zeros(columns.size, dtype=int), columns)), shape=(1, n))
        free = np.array([np.inf])
        empty = np.empty(0)
        old = sp.csr_array((self.lp.row_lower.size, 0))
        self.warm.append(Border(empty, empty, empty, old, {}, matrix, -free, free, {"revenue": (0, ())}))

    def _revenue_columns(self) -> np.ndarray:
        return np.concatenate([self.lp.at("G").ravel(), self.lp.at("Z").ravel(), self.lp.at("N").ravel()])

    def require_revenue(self, design: Design | None) -> None:
        """Ask that a design recovers the fixed and the network cost (:eq:`eq-revenue-adequacy`); ``None`` lifts the
        row."""
        self.recovering = design
        row = int(self.lp.row_at("revenue"))
        if design is not None:
            values = (*design.tariff, design.p2p, -1.0)
            self.warm.set_row_entries(row, dict(zip(self._revenue_columns().tolist(), values, strict=True)))
        least = -np.inf if design is None else self.instance.fixed_cost
        self.warm.set_rows(np.array([row]), np.array([least]), np.array([np.inf]))

    def cost(self, design: Design, f: float = 0.0, v: float = 1.0, n: float = 0.0) -> np.ndarray:
        """Cost vector of f F + v V + n (N - revenue), with the LP at the design (:meth:`offer`).

        F: social cost; V: the follower's own value R + charges; N - revenue: what the tariffs leave uncovered of the
        network cost.
        """
        c = np.zeros(self.lp.cost.size)
        c[self.lp.at("F")], c[self.lp.at("R")], c[self.lp.at("N")] = f, v, n
        c[self._revenue_columns()[:-1]] = (v - n) * np.array([*design.tariff, design.p2p])
        return c

    def offer(self, design: Design | None) -> None:
        """Make the LP that of a design: its capacity columns fixed at the design's limits.

        ``None`` frees them within the menu; a design without limits offers the largest.
        """
        if not self.lines:
            return
        at = self.lp.at("cap")
        low, high = self.lp.col_lower[at], self.lp.col_upper[at]
        if design is not None:
            low = high = self.offered(design)
        self.warm.set_bounds(at, low, high)

    def offered(self, design: Design) -> np.ndarray:
        """Limits of a design, kW, in the order of the capacity columns; the largest where it sets none."""
        limits, top = dict(design.capacity), self.lp.col_upper[self.lp.at("cap")] if self.lines else []
        return np.array([limits.get(line, most) for line, most in zip(self.lines, top, strict=True)])

    def injection(self, x: np.ndarray) -> np.ndarray:
        """Net injection of every prosumer at a point of the LP, kW, (I, T, S) (:eq:`eq-injection`)."""
        at = self.layout
        return x[at.gm] - x[at.gp] + (x[at.zs] - x[at.zb])[..., None]

    def net_load(self, x: np.ndarray) -> np.ndarray:
        """Net load of every bus at a point of the LP, kW, (N, T, S)."""
        return net_load(self.instance, self.injection(x))

    def limits(self, x: np.ndarray) -> dict[int, float]:
        """The capacity limits, by line position, that hold at a point of the LP, kW."""
        values = x[self.lp.at("cap")] if self.lines else []
        return {line_position(self.instance, line): float(v) for line, v in zip(self.lines, values, strict=True)}

    def violated(self, x: np.ndarray) -> list[Block]:
        """Blocks without rows whose CVaR of violation is positive at x, worst first."""
        if not self.sees_network:
            return []
        known = set(self.blocks)
        risks = self.network.block_risks(self.net_load(x), self.limits(x), VIOLATED_KW)
        return [block for _, block in risks if block not in known]

    def settle(self, cost: np.ndarray, simplex: str = "dual") -> LPSolution:
        """Solve, add the blocks that the answer violates, and solve again until it violates none (C&CG)."""
        solution = self.warm.solve(cost, simplex)
        for _ in range(ROUNDS):
            violated = self.violated(solution.x)
            if not violated:
                return solution
            self.add_blocks(violated)
            cost = np.append(cost, np.zeros(self.lp.cost.size - cost.size))
            solution = self.warm.solve(cost)
        raise SolverError(f"chance blocks still violated after {ROUNDS} rounds: {violated[0].label}")

    def violation_rows(self, block: Block) -> tuple[sp.csr_array, np.ndarray]:
        """Rows (K S, n) and right-hand sides of ``violation <= 0`` of a block, sign by sign, scenario by scenario."""
        instance, days, form = self.instance, self.instance.days, self.network.form(block)
        at, t, s = self.layout, block.hour, days.n_days
        touched = np.flatnonzero(form.gradient[:, instance.prosumer_bus].any(axis=0))
        entries, upper = [], np.empty(form.gradient.shape[0] * s)
        for k, gradient in enumerate(form.gradient):
            g = np.repeat(gradient[instance.prosumer_bus[touched], None], s, axis=1)  # (touched, S)
            row = np.broadcast_to(k * s + np.arange(s), g.shape)
            trade = [np.broadcast_to(c[touched, t][:, None], g.shape) for c in (at.zs, at.zb)]
            for column, value in ((at.gm[touched, t], -g), (at.gp[touched, t], g), (trade[0], -g), (trade[1], g)):
                entries.append((row.ravel(), column.ravel(), value.ravel()))
            if form.capacity is not None:
                offered = self.lp.at("cap")[[line_position(instance, line) for line in self.lines].index(form.capacity)]
                entries.append((row[0], np.full(s, offered), -np.ones(s)))
            upper[k * s : (k + 1) * s] = form.limit[k] - gradient @ days.passive_kw[:, t, :]
        rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        return sp.csr_array((values, (rows, columns)), shape=(upper.size, self.lp.cost.size)), upper

    def add_block(self, block: Block) -> None:
        """Append one chance block (:meth:`add_blocks`)."""
        self.add_blocks([block])

    def add_blocks(self, blocks: Iterable[Block]) -> None:
        """Append chance blocks: each its quantile, tail and slack columns, its tail rows and its CVaR row
        (:eq:`eq-chance`)."""
        blocks = list(blocks)
        if not blocks:
            return
        parts = [self._block_border(block) for block in blocks]
        n, m = self.lp.cost.size, self.lp.row_lower.size
        columns, rows, first_column, first_row = {}, {}, 0, 0
        for part in parts:
            columns |= {k: (first_column + a, shape) for k, (a, shape) in part.columns.items()}
            rows |= {k: (first_row + a, shape) for k, (a, shape) in part.rows.items()}
            first_column, first_row = first_column + part.cost.size, first_row + part.row_lower.size
        old = sp.vstack([part.matrix[:, :n] for part in parts])
        own = sp.block_diag([part.matrix[:, n:] for part in parts])
        self.warm.append(
            Border(
                cost=np.zeros(first_column),
                col_lower=np.concatenate([part.col_lower for part in parts]),
                col_upper=np.concatenate([part.col_upper for part in parts]),
                old_rows=sp.hstack([part.old_rows for part in parts]).reshape((m, first_column)).tocsr(),
                columns=columns,
                matrix=sp.hstack([old, own]).tocsr(),
                row_lower=np.concatenate([part.row_lower for part in parts]),
                row_upper=np.concatenate([part.row_upper for part in parts]),
                rows=rows,
            )
        )
        self.blocks += blocks
        self.history += blocks

    def _block_border(self, block: Block) -> Border:
        """Columns and rows of one chance block on top of the LP as it stands."""
        instance, days = self.instance, self.instance.days
        form = self.network.form(block)
        n, m, s = self.lp.cost.size, self.lp.row_lower.size, days.n_days
        box = violation_box(instance, form)
        signs = form.gradient.shape[0]
        touched = np.flatnonzero(form.gradient[:, instance.prosumer_bus].any(axis=0))
        at, t = self.layout, block.hour
        tails = np.arange(signs * s).reshape(signs, s)
        g = form.gradient[:, instance.prosumer_bus[touched]]  # (K, touched)
        shape = (signs, touched.size, s)
        day = [np.broadcast_to(at.gm[touched, t], shape), np.broadcast_to(at.gp[touched, t], shape)]
        ahead = [np.broadcast_to(z[touched, t][:, None], shape) for z in (at.zs, at.zb)]
        value = np.broadcast_to(g[:, :, None], shape)
        wide = np.broadcast_to(tails[:, None, :], shape)
        own = np.broadcast_to(n + 1 + np.arange(s), (signs, s))
        entries = [(wide, day[0], -value), (wide, day[1], value), (wide, ahead[0], -value), (wide, ahead[1], value)]
        entries += [(tails, np.full((signs, s), n), np.full((signs, s), -1.0)), (tails, own, np.full((signs, s), -1.0))]
        if form.capacity is not None:
            position = [line_position(instance, line) for line in self.lines].index(form.capacity)
            offered = int(self.lp.at("cap")[position])
            entries.append((tails, np.full((signs, s), offered), np.full((signs, s), -1.0)))
        last = np.full(s + 2, signs * s)
        weights = np.concatenate([[1.0], days.probability / instance.rules.chance_level, [-1.0]])
        entries.append((last, n + np.arange(s + 2), weights))
        index, column, data = (np.concatenate([np.ravel(e[k]) for e in entries]) for k in range(3))
        upper = np.append((form.limit - form.gradient @ days.passive_kw[:, t, :]).ravel(), 0.0)
        slack = sp.csr_array(
            (np.array([-1.0]), (np.array([int(self.lp.row_at("slack"))]), np.array([s + 1]))), shape=(m, s + 2)
        )
        label = block.label
        names = {f"tail{k}:{label}": (k * s, (s,)) for k in range(signs)} | {f"quantile:{label}": (signs * s, ())}
        return Border(
            cost=np.zeros(s + 2),
            col_lower=np.concatenate([[-box], np.zeros(s + 1)]),
            col_upper=np.concatenate([[box], np.full(s, 2 * box), [2 * box / instance.rules.chance_level]]),
            old_rows=slack,
            columns={f"var:{label}": (0, ()), f"excess:{label}": (1, (s,)), f"slack:{label}": (s + 1, ())},
            matrix=sp.csr_array((data, (index, column)), shape=(signs * s + 1, n + s + 2)),
            row_lower=np.full(signs * s + 1, -np.inf),
            row_upper=upper,
            rows=names,
        )

    def tangent(self, load: np.ndarray) -> None:
        """Append one loss tangent per hour and scenario at the given net loads, kW, (N, T, S)
        (:eq:`eq-loss-tangent`); the same tangent twice would only be rows that the simplex cannot tell apart."""
        if any(isinstance(old, np.ndarray) and np.array_equal(old, load) for old in self.history):
            return
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
            np.broadcast_to(at.zs[..., None], g.shape),
            np.broadcast_to(at.zb[..., None], g.shape),
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

    def exact_losses(self, load: np.ndarray) -> np.ndarray:
        """Losses at given net loads, kW, (T, S) (:eq:`eq-losses`)."""
        return losses_kw(self.network.matrices.flows(load), self.network.reactive_flow, self.instance.feeder)
