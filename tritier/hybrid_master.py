"""What SCIP gets to know of a menu: binaries per level, prices, limits, and the rows of a search, native bilinear."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pyscipopt import Model, quicksum

from tritier.cuts import Cut, Shape, tolerance
from tritier.instance import Instance
from tritier.menu_search import Box, Coordinates

INTEGRAL = 1e-6  # by how much a binary may miss one


@dataclass(frozen=True, eq=False)
class Master:
    """What SCIP gets to know: the menu, boxes of z, and the pooled rows.

    ``answers``: boxes of the menu with the least F there, infinite where no response recovers the cost.
    """

    instance: Instance
    shape: Shape
    menu: Coordinates
    lower: np.ndarray  # of z, with the energies' bounds
    upper: np.ndarray
    cuts: list[Cut]
    responses: list[np.ndarray]
    answers: list[tuple[Box, float]]


class MasterModel:
    """A master in SCIP: F at most ``limit``, a binary per menu level, ``paid = tau E`` as native products.

    Rows may be added before the solve, or by a constraint handler while it runs.
    """

    def __init__(self, master: Master, limit: float) -> None:
        m, shape, menu = Model(), master.shape, master.menu
        self.scip, self.master, self.limit = m, master, limit
        m.hideOutput()
        m.setParam("presolving/donotmultaggr", True)  # aggregated products lose their bounds
        self.z = [m.addVar(lb=float(a), ub=float(b)) for a, b in zip(master.lower, master.upper, strict=True)]
        m.chgVarUb(self.z[0], limit)
        self.levels = [[m.addVar(vtype="B") for _ in v] for v in menu.levels]
        for binaries in self.levels:
            m.addCons(quicksum(binaries) == 1)
        self.energy, self.capacity = range(3, 3 + shape.energies), range(3 + shape.energies, shape.size)
        self.tau, self.paid = [], []
        for c, e in enumerate(self.energy):
            v = menu.levels[c]
            self.tau.append(m.addVar(lb=float(v[0]), ub=float(v[-1])))
            m.addCons(self.tau[c] == quicksum(float(x) * b for x, b in zip(v, self.levels[c], strict=True)))
            most = float(v[-1] * master.upper[e])
            self.paid.append(m.addVar(lb=float(min(0.0, v[-1] * master.lower[e])), ub=most))
            m.addCons(self.paid[c] == self.tau[c] * self.z[e])
        for c, k in zip(range(menu.prices, len(menu.levels)), self.capacity, strict=True):
            m.addCons(self.z[k] == quicksum(float(x) * b for x, b in zip(menu.levels[c], self.levels[c], strict=True)))
        m.addCons(quicksum(self.paid) - self.z[2] >= master.instance.fixed_cost)
        prices = zip(menu.levels[: menu.prices], self.energy, strict=True)
        self.dearest = float(master.upper[1] + sum(v[-1] * max(0.0, master.upper[e]) for v, e in prices))
        for cut in master.cuts:
            self.add_cut(cut)
        for response in master.responses:
            self.add_response(response)
        for box, least in master.answers:
            self.add_answer(box, least)
        m.setObjective(self.z[0], "minimize")

    def add_cut(self, cut: Cut) -> None:
        """direction . z >= value (:eq:`eq-outer-cut`)."""
        self.scip.addCons(quicksum(float(d) * x for d, x in zip(cut.direction, self.z, strict=True) if d) >= cut.value)

    def add_response(self, response: np.ndarray) -> None:
        """R + tau . E is at most what the response is worth, where the limits admit it (:eq:`eq-response-row`)."""
        menu, shape = self.master.menu, self.master.shape
        bound = response[1] + quicksum(float(response[e]) * t for e, t in zip(self.energy, self.tau, strict=True))
        refused = [
            b
            for c, need in zip(range(menu.prices, len(menu.levels)), response[shape.capacity], strict=True)
            for x, b in zip(menu.levels[c], self.levels[c], strict=True)
            if x < need
        ]
        lift = self.dearest - float(response[1])
        worth = self.z[1] + quicksum(self.paid)
        self.scip.addCons(worth <= bound + tolerance(response[1]) + lift * quicksum(refused))

    def add_answer(self, box: Box, least: float) -> None:
        """F is at least ``least`` in a box of the menu; the box is out where that is above the limit
        (:eq:`eq-answer`)."""
        off = quicksum(self._elsewhere(box))
        if least <= self.limit:
            self.scip.addCons(self.z[0] >= least - (least - float(self.master.lower[0])) * off)
        else:
            self.scip.addCons(off >= 1)

    def lower_limit(self, limit: float) -> None:
        """Ask for F at most ``limit`` from now on."""
        if limit < self.limit:
            self.limit = limit
            self.scip.addCons(self.z[0] <= limit)

    def _elsewhere(self, box: Box) -> Iterable:
        """The binaries of the levels outside a box: their sum is positive exactly outside it."""
        kept = [range(a, b + 1) for a, b in zip(box.low, box.high, strict=True)]
        pairs = zip(self.levels, kept, strict=True)
        return [b for binaries, inside in pairs for k, b in enumerate(binaries) if k not in inside]

    def position(self, solution=None) -> tuple[int, ...] | None:
        """The menu position of a solution, of the present relaxation where it is None; None between positions."""
        found = []
        for binaries in self.levels:
            values = [self.scip.getSolVal(solution, b) for b in binaries]
            found.append(int(np.argmax(values)))
            if values[found[-1]] < 1 - INTEGRAL:
                return None
        return tuple(found)
