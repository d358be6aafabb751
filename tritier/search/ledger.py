"""The ledger of a search: what its rows prove about the menu, whoever solved for them.

Rows go in; out come the boxes of the menu that no row excludes yet, the incumbent, and a lower bound. Nothing here
solves a follower, so that a search and the check of its proof share every line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tritier.errors import SolverError
from tritier.reformulation.joint import JointLP
from tritier.search.cuts import Shape, touched
from tritier.search.enumeration import row_of
from tritier.search.menu import Box, BoxLP, BoxTree, Node
from tritier.search.pool import Pool, Row
from tritier.search.scip import Master


@dataclass(frozen=True, eq=False)
class Known:
    """An answer over a box of the menu: F is at least ``least`` there; infinite where no response recovers the cost."""

    box: Box
    least: float
    row: Row


class Ledger:
    """Pool, small LP, tree, answers and incumbent of one menu."""

    def __init__(self, joint: JointLP, slack: float, pool: Pool) -> None:
        self.instance, self.slack, self.pool = joint.instance, slack, pool
        self.shape = Shape.of(joint)
        at = touched(joint)
        self.box = (joint.lp.col_lower[at], joint.lp.col_upper[at])  # of z
        self.lp = BoxLP(self.instance, self.shape, *self.box)
        self.menu = self.lp.menu
        self.tree = BoxTree(self.lp, max(slack, 1e-6))
        self.tree.push(self.menu.root, -np.inf)
        self.known: dict[tuple[int, ...], Known] = {}
        self.final = np.inf  # smallest bound of the answers that leave the cost recoverable
        self.best: tuple[float, tuple[int, ...]] | None = None  # social cost, $, and menu position
        self.held: list[Node] = []  # out of the tree, not settled yet

    @classmethod
    def of(cls, joint: JointLP, slack: float, pool: Pool) -> Ledger:
        """The ledger that a pool's rows fill."""
        ledger = cls(joint, slack, Pool(list(pool.items)))
        for row in pool.rows:
            ledger.learn(row)
        return ledger

    @property
    def upper_bound(self) -> float:
        return np.inf if self.best is None else self.best[0]

    @property
    def lower_bound(self) -> float:
        waiting = min((node.value for node in self.held), default=np.inf)
        return min(self.tree.lower_bound, self.final, waiting, self.upper_bound)

    @property
    def target(self) -> float:
        """Bounds from here on are good enough."""
        return self.upper_bound - self.slack

    def learn(self, row: Row) -> None:
        """Take in a row."""
        self.pool.rows.append(row)
        request = row.request
        if row.cut is not None:
            self.lp.add_cut(row.cut)
        if row.z is not None:
            self.lp.add_response(row.z)
        if request.kind == "answer":
            self._learn_answer(row)
        elif request.kind == "shortfall" and row.answer is not None:
            position = self.menu.positions(request.design)
            if position in self.known and -row.answer.least < self.instance.fixed_cost:
                self.known[position] = replace(self.known[position], least=np.inf)

    def _learn_answer(self, row: Row) -> None:
        found, position = row.answer, self.menu.positions(row.request.design)
        if found is None:
            raise SolverError(f"no response at {row.request.design} whose residuals are small enough to count")
        need = found.z[self.shape.capacity]
        levels = self.menu.levels[self.menu.prices :]
        first = [int(np.searchsorted(v, n - 1e-9)) for v, n in zip(levels, need, strict=True)]
        low = tuple(min(k, top) for k, top in zip(first, position[self.menu.prices :], strict=True))
        self.known[position] = Known(Box(position[: self.menu.prices] + low, position), found.least, row)
        if found.recovered >= 0:
            self.propose(found.reached, position)

    def propose(self, social_cost: float, position: tuple[int, ...]) -> None:
        """An incumbent, where it is the best so far."""
        if social_cost < self.upper_bound:
            self.best = (social_cost, position)

    def next_node(self, late: Callable[[], bool] = lambda: False) -> Node | None:
        """The box of one tariff to answer next, at its largest limits; None where nothing can beat the incumbent by
        more than the gap. Boxes answered before give way to what they left."""
        while (node := self.tree.next_tariff(min(self.target, self.final), late)) is not None:
            if node.box.high not in self.known:
                return node
            self.settle(node)
        return None

    def settle(self, node: Node) -> None:
        """Take the answered part out of a box; what is left goes back into the tree."""
        self.final = min(self.final, self.known[node.box.high].least)
        for rest in self.left_of(node.box):
            self.tree.push(rest, node.value)

    def left_of(self, box: Box) -> list[Box]:
        """What the answer at a box's largest limits leaves of it."""
        known = self.known[box.high]
        return box.without_top(tuple(max(a, b) for a, b in zip(box.low, known.box.low, strict=True)))

    def open_box(self, position: tuple[int, ...]) -> Box | None:
        """The box of one tariff around a menu point whose largest limits are to be answered next; None where the
        answers hold there."""
        e, root, here = self.menu.prices, self.menu.root, Box(position, position)
        left = [Box(position[:e] + root.low[e:], position[:e] + root.high[e:])]
        while left and left[0].high in self.known:
            left = [rest for rest in self.left_of(left[0]) if rest.holds(here)]
        return left[0] if left else None

    def master(self) -> Master:
        """What SCIP gets to know."""
        energy = self.shape.energy
        lower, upper = self.box[0].copy(), self.box[1].copy()
        lower[energy], upper[energy] = self.lp.energy_lower, self.lp.energy_upper
        return Master(
            self.instance,
            self.shape,
            self.menu,
            lower,
            upper,
            [row.cut for row in self.pool.rows if row.cut is not None],
            [row.z for row in self.pool.rows if row.z is not None],
            [(known.box, known.least) for known in self.known.values()],
        )

    def table(self) -> pd.DataFrame:
        """The answers, one row each: tariffs, limits, social cost of the response (NaN where it does not recover the
        cost), its bound, and theta."""
        rows = []
        for known in self.known.values():
            found = known.row.answer
            cost = found.reached if found.recovered >= 0 else np.nan
            rows.append(row_of(found.design) | {"social_cost": cost, "bound": known.least, "theta": found.worth})
        return pd.DataFrame(rows)
