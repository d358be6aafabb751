"""SCIP's word on a search: no menu point can beat the incumbent by more than the gap, from the rows alone.

The master holds a binary per menu level, the small LP's columns with tau E as native bilinear terms, the outer cuts,
the responses where the limits admit them, and the answers. It is a floating-point proof, and counts as closed only
under three controls: SCIP says exactly infeasible; the incumbent satisfies every row; with the limit just above the
incumbent's social cost, SCIP finds a point again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from tritier.hybrid_master import Master, MasterModel
from tritier.menu_search import Box

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
