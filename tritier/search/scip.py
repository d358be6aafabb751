"""What SCIP gets to know of a menu: binaries per level, prices, limits, and the rows of a search, native bilinear."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pyscipopt import Model, quicksum

from tritier.inputs.instance import Instance
from tritier.search.cuts import Cut, Shape, tolerance
from tritier.search.menu import Box, Coordinates

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


# SCIP's word on a search: no menu point can beat the incumbent by more than the gap, from the rows alone.
#
# The master holds a binary per menu level, the small LP's columns with tau E as native bilinear terms, the outer cuts,
# the responses where the limits admit them, and the answers. It is a floating-point proof, and counts as closed only
# under three controls: SCIP says exactly infeasible; the incumbent satisfies every row; with the limit just above the
# incumbent's social cost, SCIP finds a point again.


SLACK = 1e-6  # relative: by how much a row may be missed, and the limit of the third control exceeds the incumbent
MARGIN = 1e-3  # of the gain: what SCIP's limit leaves to its tolerances


@dataclass(frozen=True)
class Verdict:
    """SCIP's status below the limit, the rows that the incumbent misses, and whether it is found again above it."""

    status: str
    missed: str  # '' where none is
    again: bool
    nodes: int
    seconds: float
    point: tuple[int, ...] | None = None  # a menu position that the rows do not exclude

    @property
    def closed(self) -> bool:
        return self.status == "infeasible" and not self.missed and self.again

    @property
    def word(self) -> str:
        return "closed" if self.closed else "open"


def prove(
    master: Master, limit: float, incumbent: np.ndarray, position: tuple[int, ...], seconds: float = 600.0
) -> Verdict:
    """Whether no menu point has F <= ``limit``, $, under the three controls (:eq:`eq-scip-proof`).

    incumbent: z of the best response found, with its exact F and N; position: its menu position.
    """
    begin = time.perf_counter()
    model = MasterModel(master, limit)
    scip = model.scip
    scip.setParam("limits/time", seconds)
    scip.optimize()
    status, nodes = scip.getStatus(), int(scip.getNTotalNodes())
    point = model.position(scip.getBestSol()) if scip.getNSols() else None
    missed = missed_row(master, incumbent, position)
    above, again = incumbent[0] + SLACK * max(1.0, abs(incumbent[0])), False
    if status == "infeasible" and not missed:
        scip = MasterModel(master, above).scip
        scip.setParam("limits/time", seconds)
        scip.setParam("limits/solutions", 1)
        scip.optimize()
        again, nodes = bool(scip.getNSols()), nodes + int(scip.getNTotalNodes())
    return Verdict(status, missed, again, nodes, time.perf_counter() - begin, point)


def below(bound: float, gain: float) -> float:
    """The limit at which SCIP is asked about a lower bound: a thousandth of the gain below, for its tolerances."""
    return bound - MARGIN * gain


def missed_row(master: Master, z: np.ndarray, position: tuple[int, ...]) -> str:
    """The first row that a point of Z misses by more than its tolerance, in words; '' where it satisfies all."""
    price = master.menu.values(position)[: master.menu.prices]
    limits = master.menu.values(position)[master.menu.prices :]
    shape = master.shape
    at = np.concatenate([z[: 3 + shape.energies], limits])
    for k, cut in enumerate(master.cuts):
        if cut.direction @ at < cut.value - SLACK * max(1.0, abs(cut.value)):
            return f"outer cut {k}: {cut.direction @ at:.6f} < {cut.value:.6f}"
    worth = at[1] + at[shape.energy] @ price
    for k, response in enumerate(master.responses):
        bound = response[1] + response[shape.energy] @ price
        if (response[shape.capacity] <= limits).all() and worth > bound + SLACK * max(1.0, abs(bound)):
            return f"response {k}: {worth:.6f} > {bound:.6f}"
    here = Box(position, position)
    for box, least in master.answers:
        if box.holds(here) and at[0] < least - SLACK * max(1.0, abs(at[0])):
            return f"answer at {box.high}: {at[0]:.6f} < {least:.6f}"
    return ""
