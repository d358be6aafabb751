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
from pyscipopt import Model, quicksum

from tritier.cuts import Cut, Shape, tolerance
from tritier.instance import Instance
from tritier.menu_search import Box, Coordinates

SLACK = 1e-6  # relative: by how much a row may be missed, and the limit of the third control exceeds the incumbent
MARGIN = 1e-3  # of the gain: what SCIP's limit leaves to its tolerances


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
    model, levels = _model(master, limit, seconds)
    model.optimize()
    status, nodes = model.getStatus(), int(model.getNTotalNodes())
    point = None if not model.getNSols() else _position(model, levels)
    missed = missed_row(master, incumbent, position)
    above, again = incumbent[0] + SLACK * max(1.0, abs(incumbent[0])), False
    if status == "infeasible" and not missed:
        model, levels = _model(master, above, seconds)
        model.setParam("limits/solutions", 1)
        model.optimize()
        again, nodes = bool(model.getNSols()), nodes + int(model.getNTotalNodes())
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


def _model(master: Master, limit: float, seconds: float) -> tuple[Model, list[list]]:
    """The master with F at most ``limit``, and its binaries by coordinate and level."""
    m, shape, menu = Model(), master.shape, master.menu
    m.hideOutput()
    m.setParam("limits/time", seconds)
    m.setParam("presolving/donotmultaggr", True)  # aggregated products lose their bounds
    z = [m.addVar(lb=float(a), ub=float(b)) for a, b in zip(master.lower, master.upper, strict=True)]
    m.chgVarUb(z[0], limit)
    levels = [[m.addVar(vtype="B") for _ in v] for v in menu.levels]
    for binaries in levels:
        m.addCons(quicksum(binaries) == 1)
    energy, capacity = range(3, 3 + shape.energies), range(3 + shape.energies, shape.size)
    tau, paid = [], []
    for c, e in enumerate(energy):
        v = menu.levels[c]
        tau.append(m.addVar(lb=float(v[0]), ub=float(v[-1])))
        m.addCons(tau[c] == quicksum(float(x) * b for x, b in zip(v, levels[c], strict=True)))
        most = float(v[-1] * master.upper[e])
        paid.append(m.addVar(lb=float(min(0.0, v[-1] * master.lower[e])), ub=most))
        m.addCons(paid[c] == tau[c] * z[e])
    for c, k in zip(range(menu.prices, len(menu.levels)), capacity, strict=True):
        m.addCons(z[k] == quicksum(float(x) * b for x, b in zip(menu.levels[c], levels[c], strict=True)))
    m.addCons(quicksum(paid) - z[2] >= master.instance.fixed_cost)
    for cut in master.cuts:
        m.addCons(quicksum(float(d) * x for d, x in zip(cut.direction, z, strict=True) if d) >= cut.value)
    tau_levels = menu.levels[: menu.prices]
    dearest = float(
        master.upper[1] + sum(v[-1] * max(0.0, master.upper[e]) for v, e in zip(tau_levels, energy, strict=True))
    )
    for response in master.responses:
        bound = response[1] + quicksum(float(response[e]) * t for e, t in zip(energy, tau, strict=True))
        refused = [
            b
            for c, need in zip(range(menu.prices, len(menu.levels)), response[shape.capacity], strict=True)
            for x, b in zip(menu.levels[c], levels[c], strict=True)
            if x < need
        ]
        lift = dearest - float(response[1])
        m.addCons(z[1] + quicksum(paid) <= bound + tolerance(response[1]) + lift * quicksum(refused))
    for box, least in master.answers:
        if least <= limit:
            off = _elsewhere(box, levels)
            m.addCons(z[0] >= least - (least - float(master.lower[0])) * quicksum(off))
        else:
            m.addCons(quicksum(_elsewhere(box, levels)) >= 1)
    m.setObjective(z[0], "minimize")
    return m, levels


def _elsewhere(box: Box, levels: list[list]) -> list:
    """The binaries of the levels outside a box: their sum is positive exactly outside it."""
    inside = [range(a, b + 1) for a, b in zip(box.low, box.high, strict=True)]
    return [b for binaries, kept in zip(levels, inside, strict=True) for k, b in enumerate(binaries) if k not in kept]


def _position(model: Model, levels: list[list]) -> tuple[int, ...]:
    best = model.getBestSol()
    return tuple(int(np.argmax([model.getSolVal(best, b) for b in binaries])) for binaries in levels)
