"""SCIP's word on a search: no design can beat the incumbent by more than the gap, from the rows alone.

A covering problem: a binary per tariff that has an answer and one for all others, a binary per limit, and each row on
the box of the menu where it holds. It is a floating-point proof, and counts as closed only under
three controls: SCIP says exactly infeasible; the incumbent satisfies every row; and with F allowed just above the
incumbent's, SCIP finds a point again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from pyscipopt import Model, quicksum

from tritier.search.menu import Box, Ledger, Point

SLACK = 1e-6  # relative: by how much a row may be missed, and the limit of the third control exceeds the incumbent
MARGIN = 1e-3  # of the gain: what SCIP's limit leaves to its tolerances
OTHER = -1  # stands for every tariff without an answer


@dataclass(frozen=True)
class Verdict:
    """SCIP's status below the limit, the row that the incumbent misses, and whether it is found again above it."""

    status: str
    missed: str  # '' where none is
    again: bool
    nodes: int
    seconds: float
    point: Point | None = None  # one that the rows do not exclude

    @property
    def closed(self) -> bool:
        return self.status == "infeasible" and not self.missed and self.again

    @property
    def word(self) -> str:
        return "closed" if self.closed else "open"


def below(bound: float, gain: float) -> float:
    """The limit at which SCIP is asked about a lower bound: a thousandth of the gain below, for its tolerances."""
    return bound - MARGIN * gain


class CoveringModel:
    """Which points of the menu may have F at most ``limit``, $, by a ledger's rows on F and limits, outside the boxes
    that are out, in SCIP (:eq:`eq-covering`)."""

    def __init__(self, ledger: Ledger, limit: float, out: list[Box]) -> None:
        self.scip = m = Model()
        m.hideOutput()
        self.tariffs = {tariff: m.addVar(vtype="B") for tariff in ledger.bound}
        if len(self.tariffs) < ledger.menu.n_tariffs:
            self.tariffs[OTHER] = m.addVar(vtype="B")
        self.limits = [[m.addVar(vtype="B") for _ in levels] for levels in ledger.menu.limits]
        for choice in (list(self.tariffs.values()), *self.limits):
            m.addCons(quicksum(choice) == 1)
        for row in ledger.least if np.isfinite(limit) else []:
            priced = zip(row.price, ledger.menu.limits, self.limits, strict=True)
            paid = quicksum(float(p * x) * b for p, levels, own in priced for x, b in zip(levels, own, strict=True))
            m.addCons(paid >= (row.dual - limit) * quicksum(self.tariffs.values()))  # the sum is one
        for box in out:
            m.addCons(1 - self.tariffs[box.tariff] + quicksum(self._outside(box)) >= 1)

    def _outside(self, box: Box) -> list:
        """The binaries of the limits outside a box."""
        sides = zip(self.limits, box.low, box.high, strict=True)
        return [b for own, low, high in sides for k, b in enumerate(own) if not low <= k <= high]

    def solve(self, seconds: float = 600.0) -> str:
        """SCIP's status: infeasible where the rows exclude every point."""
        self.scip.setParam("limits/time", seconds)
        self.scip.optimize()
        return self.scip.getStatus()

    def point(self) -> Point | None:
        """The menu point of SCIP's best solution."""
        if not self.scip.getNSols():
            return None
        best = self.scip.getBestSol()
        tariff = max(self.tariffs, key=lambda k: self.scip.getSolVal(best, self.tariffs[k]))
        return (tariff, *(int(np.argmax([self.scip.getSolVal(best, b) for b in own])) for own in self.limits))


def excluded(ledger: Ledger, limit: float) -> list[Box]:
    """Boxes whose bound is above a limit, $."""
    return [box for box in ledger.boxes if box.least > limit]


def prove(ledger: Ledger, limit: float, social_cost: float, point: Point, seconds: float = 600.0) -> Verdict:
    """Whether no design has F <= ``limit``, $, under the three controls (:eq:`eq-scip-proof`).

    social_cost, point: exact F of the incumbent, $, and where it stands on the menu.
    """
    begin = time.perf_counter()
    model = CoveringModel(ledger, limit, excluded(ledger, limit))
    status, nodes = model.solve(seconds), int(model.scip.getNTotalNodes())
    missed, again = missed_row(ledger, social_cost, point), False
    if status == "infeasible" and not missed:
        limit = social_cost + SLACK * max(1.0, abs(social_cost))
        above = CoveringModel(ledger, limit, excluded(ledger, limit))
        above.solve(seconds)
        again, nodes = bool(above.scip.getNSols()), nodes + int(above.scip.getNTotalNodes())
    return Verdict(status, missed, again, nodes, time.perf_counter() - begin, model.point())


def missed_row(ledger: Ledger, social_cost: float, point: Point) -> str:
    """The first row that the F of a design misses by more than SCIP's tolerance, in words; '' where it misses none."""
    allowed = social_cost + SLACK * max(1.0, abs(social_cost))
    limits = np.array([limit for _, limit in ledger.menu.design(point).capacity])
    for k, row in enumerate(ledger.least):
        if row.dual - row.price @ limits > allowed:
            return f"least {k}: {social_cost:.6f} < {row.dual - row.price @ limits:.6f}"
    for box in ledger.boxes:
        if box.holds(point) and box.least > allowed:
            return f"answer at {box.high}: {social_cost:.6f} < {box.least:.6f}"
    return ""
