"""The adversary of the hosting problem: every vertex of a day's set has a dispatch without violation, or it is found.

Most vertices need no program of their own: a dispatch found at one vertex, or none at all, often keeps every limit at
others too, which matrix products tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tritier.errors import SolverError
from tritier.hosting_case import BLOCKS, DayModel, HostingCase
from tritier.hosting_limits import VOLT_PER_KW, Excess, Watch, broken, excess
from tritier.hosting_rows import site_draw
from tritier.robust_problem import Recourse, RecourseProgram, WorstCase

#: Largest violation [kW] of a network limit that counts as none.
KW = 1e-4
#: Largest violation [kW] of a row at which a dispatch of another vertex is taken over.
ROW_KW = 1e-6


@dataclass
class Report:
    """What one pass over a day's vertices found; ``new`` are elements that broke and that no row watches yet."""

    new: Watch = field(default_factory=Watch)
    served: int = 0
    programs: int = 0
    overload_kw: float = 0.0
    voltage_excess_pu: float = 0.0
    priced: float = 0.0


class VertexSweep:
    """Adversary (recourse, y) -> :class:`~tritier.robust_problem.WorstCase` that checks *all* network rows as it goes.

    A pass stops early once ``patience`` programs were solved and one vertex cost more than nothing, or once ``enough``
    vertices broke rows that are not watched: the plan will change anyway. An early stop gives no bound. Passes are
    exact otherwise: a vertex counts as served only by a dispatch that keeps every row of the feeder.
    """

    def __init__(self, case: HostingCase, patience: int = 25, enough: int = 12) -> None:
        self.case, self.patience, self.enough = case, patience, enough
        self.score: dict[str, np.ndarray] = {}
        self.reports: dict[tuple[str, bool], Report] = {}
        self.y: np.ndarray | None = None

    def __call__(self, recourse: Recourse, y: np.ndarray) -> WorstCase:
        self.y = y
        sweep = DayPass(self.case, recourse, y)
        label, free = recourse.source.label, ROW_KW * recourse.cost[sweep.tail :].min()
        self.reports[label, sweep.costly] = sweep.report
        score = self.score.setdefault(label, np.zeros(len(sweep.points)))
        worst, value, outside = sweep.points[0], -np.inf, 0
        if not sweep.costly:
            sweep.serve(np.zeros(recourse.cost.size))
        for k in np.argsort(-score, kind="stable") if not sweep.costly else range(len(sweep.points)):
            if sweep.served[k]:
                value = max(value, 0.0)
                continue
            x, cost = sweep.solve(k)
            if cost > value:
                worst, value = sweep.points[k], cost
            if x[sweep.tail :].max() <= KW:
                outside += sweep.look(k, x)
            if sweep.costly:
                continue
            score[k] = 0.5 * score[k] + cost
            found = value > free and sweep.report.programs >= self.patience
            if (found or outside >= self.enough) and not sweep.served.all():
                return WorstCase(worst, value, np.inf)
        return WorstCase(worst, value, value)

    def missing(self) -> Watch:
        """Elements that the last pass of every day broke and no row watches yet."""
        new = Watch()
        for report in self.reports.values():
            new.add(report.new)
        return new

    def certificate(self) -> dict:
        """Figures of the last pass of every day: vertices with a dispatch, programs solved for them, and the largest
        violations these dispatches leave."""
        reports = list(self.reports.values())
        return {
            "vertices_checked": sum(r.served for (_, costly), r in self.reports.items() if not costly),
            "programs_solved": sum(r.programs for r in reports),
            "worst_overload_kw": max(r.overload_kw for r in reports),
            "worst_voltage_excess_pu": max(r.voltage_excess_pu for r in reports),
            "worst_priced_violation": max(r.priced for r in reports),
        }


class DayPass:
    """One pass over the vertices (V) of one day at y: right-hand sides and net loads of all of them at once."""

    def __init__(self, case: HostingCase, term: Recourse, y: np.ndarray) -> None:
        day: DayModel = term.source
        self.case, self.term, self.day, n = case, term, day, case.n_sites
        self.points, self.report = day.uncertainty.vertices(), Report()
        self.served = np.zeros(len(self.points), dtype=bool)
        self.tail = len(BLOCKS) * n * case.n_hours  # where the priced violations start in x
        self.costly = bool(np.any(term.cost[: self.tail]))
        self.program = RecourseProgram(term, y)
        self.right = self.program.h0 - self.points @ self.program.H.T
        moved = np.moveaxis(self.points, 0, -1)
        self.net = day.load[..., None] + np.tensordot(day.load_shift, moved, (0, 0))
        self.reactive = day.reactive[..., None] + np.tensordot(day.reactive_shift, moved, (0, 0))
        power = y[:n, None] * day.pv + y[n : 2 * n, None] * day.wind
        shift = y[:n, None] * day.pv_shift + y[n : 2 * n, None] * day.wind_shift
        self.net[case.site] -= power[..., None] + np.tensordot(shift, moved, (0, 0))

    def solve(self, k: int) -> tuple[np.ndarray, float]:
        """Dispatch at vertex k and its cost.

        Raises:
            SolverError: there is no dispatch, though violations are priced.
        """
        answer = self.program.solve(self.points[k])
        self.report.programs += 1
        if answer is None:
            raise SolverError(f"dispatch of {self.day.label} is infeasible")
        paid = float(self.term.cost[self.tail :] @ answer.x[self.tail :])
        self.report.priced = max(self.report.priced, paid)
        return answer.x, answer.value

    def excess_at(self, chosen: np.ndarray, x: np.ndarray) -> Excess:
        """Excess (.., V') over every limit of the feeder at the chosen vertices under dispatch x."""
        net = self.net[:, :, chosen].copy()
        net[self.case.site] += site_draw(self.case, x)[..., None]
        return excess(self.case, net, self.reactive[:, :, chosen])

    def look(self, k: int, x: np.ndarray) -> bool:
        """Check all rows of the feeder at vertex k; True if one is broken, else try x at the other vertices too."""
        found = self.excess_at(np.array([k]), x)
        self.report.overload_kw = max(self.report.overload_kw, float(found.overload_kw[0]))
        self.report.voltage_excess_pu = max(self.report.voltage_excess_pu, float(found.voltage_pu[0]))
        if found.overload_kw[0] > KW or found.voltage_pu[0] > KW * VOLT_PER_KW:
            self.report.new.add(broken(found.at(0), KW))
            return True
        self.served[k] = True
        self.report.served += 1
        if not self.costly:
            self.serve(x)
        return False

    def serve(self, x: np.ndarray) -> None:
        """Mark the vertices at which x keeps every row of the term without a priced violation, and every row of the
        feeder."""
        x = x.copy()
        x[self.tail :] = 0.0
        act, equal = self.term.G @ x, self.term.equality
        left = np.flatnonzero(~self.served)
        over = act - self.right[left]
        kept = (over >= -ROW_KW).all(axis=1) & (abs(over[:, equal]) <= ROW_KW).all(axis=1)
        left = left[kept]
        if left.size:
            found = self.excess_at(left, x)
            good = (found.overload_kw <= KW) & (found.voltage_pu <= KW * VOLT_PER_KW)
            self.served[left[good]] = True
            self.report.served += int(good.sum())
            self.report.overload_kw = max(self.report.overload_kw, found.overload_kw[good].max(initial=0.0))
            most = found.voltage_pu[good].max(initial=0.0)
            self.report.voltage_excess_pu = max(self.report.voltage_excess_pu, most)
