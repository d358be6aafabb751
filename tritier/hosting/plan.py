"""Hosting plans: deterministic, stochastic (chance constraint as CVaR) and robust (C&CG), with the rows watched
lazily; and each on days it was not made for: dispatch, LinDistFlow limits, AC power flow, and a stress set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed

from tritier.errors import SolverError
from tritier.hosting.case import DayModel, HostingCase, with_budget
from tritier.hosting.robust import (
    FirstStage,
    Iteration,
    Recourse,
    RecourseProgram,
    Scenario,
    TwoStage,
    WorstCase,
    column_and_constraint_generation,
    solve_master,
    sweep_terms,
)
from tritier.hosting.rows import (
    VOLT_PER_KW,
    Excess,
    Watch,
    broken,
    day_recourse,
    excess,
    net_load,
    operating_cost,
    prices,
    recourse,
    row_book,
    site_draw,
)
from tritier.inputs.instance import Feeder
from tritier.model.acflow import ac_power_flow
from tritier.reformulation.lp import LinearProgram

# What is told of a pass: its bounds, the scenarios, the network elements watched.
Progress = Callable[[Iteration, Sequence[Scenario], Watch], None]


@dataclass(frozen=True, eq=False)
class Plan:
    """Capacities by site with the bounds of what was optimised (HC in kW, or $/a)."""

    pv_kw: np.ndarray
    wind_kw: np.ndarray
    battery_kwh: np.ndarray
    lower_bound: float
    upper_bound: float
    trace: tuple[Iteration, ...]
    watch: Watch
    certificate: dict
    scenarios: tuple[Scenario, ...]

    @property
    def y(self) -> np.ndarray:
        return np.r_[self.pv_kw, self.wind_kw, self.battery_kwh]

    @property
    def hosted_kw(self) -> float:
        """Hosted capacity: PV and wind together."""
        return float(self.pv_kw.sum() + self.wind_kw.sum())


def first_stage(case: HostingCase, hosted_kw: float | None = None) -> FirstStage:
    """Capacities within what sites have room for :eq:`eq-hosting-capacity`.

    Without ``hosted_kw`` the cost is minus the hosted capacity; with it, capacities add up to it and cost their annuity
    less the energy they sell on the mean days.
    """
    n = case.n_sites
    lower = np.r_[np.zeros(2 * n), case.battery_low]
    upper = np.r_[case.pv_limit, case.wind_limit, case.battery_high]
    total = sp.csr_matrix(np.r_[np.ones(2 * n), np.zeros(n)])
    if hosted_kw is None:
        cost, low, high = np.r_[-np.ones(2 * n), np.zeros(n)], -np.inf, np.inf
    else:
        cost, low, high = np.repeat(case.annuity, n) - energy_value(case), hosted_kw, hosted_kw
    return FirstStage(cost, total, np.array([low]), np.array([high]), lower, upper, np.zeros(3 * n, dtype=bool))


def energy_value(case: HostingCase) -> np.ndarray:
    """Wholesale value of one kW's energy in a year [$], (3 I,)."""
    pv = sum(day.weight * day.pv @ day.wholesale for day in case.days)
    wind = sum(day.weight * day.wind @ day.wholesale for day in case.days)
    return np.r_[pv, wind, np.zeros(case.n_sites)]


def base_cost(case: HostingCase) -> float:
    """Energy of the mean days' loads at wholesale [$/a]: the part of the annual cost that no decision changes."""
    return float(sum(np.sum(d.load.sum(axis=0) * d.wholesale) * d.weight for d in case.days))


def zero_cost(case: HostingCase) -> np.ndarray:
    return np.zeros(case.dispatch_size)


def two_stage(case: HostingCase, watch: Watch, hosted_kw: float | None = None) -> TwoStage:
    """Feasible on every point of every day's set (violations priced at the penalty); at a given hosted capacity also
    the operating cost of the mean days :eq:`eq-hosting-robust`."""
    penalty = case.penalty if hosted_kw is None else case.penalty * float(case.annuity.max())
    terms = [day_recourse(case, day, watch, zero_cost(case), penalty) for day in case.days]
    if hosted_kw is not None:
        for day in case.days:
            mean = day.at(np.zeros(day.uncertainty.size))
            term = day_recourse(case, mean, watch, day.weight * operating_cost(case, day), penalty)
            terms.append(replace(term, floor=-1e4 * day.weight * float(abs(day.load).sum())))
    return TwoStage(first_stage(case, hosted_kw), tuple(terms))


def initial_watch(case: HostingCase) -> Watch:
    """Lines that leave the slack bus, and the two far ends with the largest path resistance."""
    rated = np.isfinite(case.feeder.rating_kva)
    heads = set(np.flatnonzero((case.feeder.parent == 0) & rated).tolist())
    far = np.argsort(np.diag(case.grid.r_path))[-2:].tolist()
    return Watch(heads, set(far), set(far))


def mean_days(case: HostingCase, hosted_kw: float | None) -> list[tuple[int, np.ndarray]]:
    """(term, u) of the mean days: of every set, and of every operating term where a capacity is asked for."""
    points = [(k, np.zeros(day.uncertainty.size)) for k, day in enumerate(case.days)]
    more = [] if hosted_kw is None else [(len(points) + k, np.zeros(0)) for k in range(len(points))]
    return points + more


def deterministic(case: HostingCase) -> HostingCase:
    """The case with its mean days only: a budget of zero."""
    return with_budget(case, lambda _day: 0)


def robust_plan(
    case: HostingCase,
    hosted_kw: float | None = None,
    gap: float = 1e-6,
    watch: Watch | None = None,
    method: str = "choose",
    start: Iterable[Scenario] | None = None,
    max_iterations: int = 100,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Plan:
    """C&CG over the days' sets; network rows join when a vertex's dispatch breaks them.

    Ends when every vertex of every set has a dispatch without violation on *all* rows: then the plan is feasible,
    and it is optimal because rows and scenarios left out could only have lowered the hosted capacity.

    Args:
        case: sites, limits and days.
        hosted_kw: hosted capacity asked for at least cost; None: as much as possible.
        gap: relative distance of the bounds at which to stop.
        watch: network elements whose rows are in from the start; None: :func:`initial_watch`.
        method: HiGHS method of the master.
        start: (day, u) pairs in the first master; None: :func:`mean_days`.
        max_iterations: passes of master and adversary.
        jobs: processes that share the days.
        progress: function (:class:`~tritier.hosting.robust.Iteration`, scenarios, watch), called after every pass.

    Raises:
        InfeasibleError: no plan without violations hosts ``hosted_kw``.
        CertificateError: the passes run out before the bounds meet.
    """
    watch, sweep = (watch or initial_watch(case)).copy(), VertexSweep(case)
    known = start if start is not None else mean_days(case, hosted_kw)

    def refine() -> TwoStage | None:
        return two_stage(case, watch, hosted_kw) if watch.add(sweep.missing()) else None

    solution = column_and_constraint_generation(
        two_stage(case, watch, hosted_kw),
        sweep,
        gap,
        max_iterations,
        known,
        method,
        jobs=jobs,
        refine=refine,
        progress=progress and (lambda step, scenarios: progress(step, scenarios, watch)),
    )
    sign = -1.0 if hosted_kw is None else 1.0
    low, high = sorted((sign * solution.lower_bound, sign * solution.upper_bound))
    n, y = case.n_sites, np.maximum(solution.y, 0.0)
    if sweep.y is None or not np.array_equal(sweep.y, solution.y):  # the bounds met at a plan of an earlier pass
        for term in two_stage(case, watch, hosted_kw).recourse:
            sweep(term, solution.y)
    certificate = sweep.certificate() | {"gap_relative": solution.gap}
    return Plan(y[:n], y[n : 2 * n], y[2 * n :], low, high, solution.trace, watch, certificate, solution.scenarios)


def stochastic_plan(
    case: HostingCase,
    days: tuple[DayModel, ...],
    probability: np.ndarray,
    chance_level: float,
    max_rounds: int = 30,
    watch: Watch | None = None,
    progress: Progress | None = None,
    first: FirstStage | None = None,
) -> Plan:
    """Hosting capacity with a joint chance constraint on whole days, as CVaR over scenario days :eq:`eq-hosting-cvar`.

    Each day's violation V_w (signed) is the largest excess over a network limit [kW] or over the curtailed share
    [kWh, spread over the day]; ``eta + E(V - eta)^+ / eps <= 0`` is safe for ``P(V > 0) <= eps``.
    """
    began = time.perf_counter()
    watch, first = (watch or initial_watch(case)).copy(), first or first_stage(case)
    trace: list[Iteration] = []
    n = first.cost.size
    for _ in range(max_rounds):
        tick = time.perf_counter()
        terms = [day_recourse(case, day, watch, zero_cost(case), 1.0) for day in days]
        program, offsets = cvar_program(case, first, terms, probability, chance_level)
        optimum = program.solve()
        if optimum is None:
            raise SolverError("no plan meets the chance constraint: the feeder violates limits without renewables")
        y, new = optimum.x[:n], Watch()
        seconds = time.perf_counter() - tick
        for day, offset, term in zip(days, offsets, terms, strict=True):
            x = optimum.x[offset : offset + term.cost.size]
            allowed = max(float(x[case.dispatch_size :].max()), 0.0)
            new.add(broken(excess(case, net_load(case, day, y, x), day.reactive), KW + allowed))
        total, grown = time.perf_counter() - began, watch.add(new)
        upper = np.inf if grown else optimum.objective
        trace.append(Iteration(len(trace) + 1, optimum.objective, upper, len(days), total, seconds, 0.0))
        if progress:
            progress(trace[-1], (), watch)
        if not grown:
            break
    else:
        raise SolverError(f"network rows still missing after {max_rounds} rounds")
    k, hosted = case.n_sites, -optimum.objective
    y = np.maximum(y, 0.0)
    return Plan(y[:k], y[k : 2 * k], y[2 * k :], hosted, hosted, tuple(trace), watch, {"scenarios": len(days)}, ())


# A plan checked again: what its capacities reach, and what its scenarios and watched rows alone exclude.

WITHIN_KW = 1e-6  # rounding of a capacity in a program that holds it fixed


def relaxed_bound(case: HostingCase, plan: Plan, hosted_kw: float | None = None) -> float:
    """What a plan's scenarios and watched rows alone prove, by one linear program: the most that is hosted [kW], or the
    least cost of ``hosted_kw`` [$/a]."""
    bound = solve_master(two_stage(case, plan.watch, hosted_kw), list(plan.scenarios))[1]
    return -bound if hosted_kw is None else bound


def swept(case: HostingCase, plan: Plan, hosted_kw: float | None = None, jobs: int = 1) -> tuple[float, dict]:
    """What a plan's capacities reach on every vertex of every set and every row of the feeder, kW hosted or $/a, with
    the figures of the sweep (infinite where a vertex has no dispatch without violation).

    Among dispatches that cost the same the solver may find one that breaks a row the plan does not watch: the sweep
    is made again with that row.
    """
    watch = plan.watch.copy()
    while True:
        sweep, problem = VertexSweep(case), two_stage(case, watch, hosted_kw)
        found = sweep_terms(problem.recourse, plan.y, sweep, jobs)
        if not watch.add(sweep.missing()):
            break
    reached = float(problem.first.cost @ plan.y + sum(worst.bound for worst in found))
    return -reached if hosted_kw is None else reached, sweep.certificate()


def with_fixed_capacities(case: HostingCase, plan: Plan) -> FirstStage:
    """A first stage with nothing but a plan's own capacities in it."""
    first = first_stage(case)
    return replace(first, lower=np.maximum(plan.y - WITHIN_KW, first.lower), upper=plan.y + WITHIN_KW)


def cvar_program(
    case: HostingCase, first: FirstStage, terms: Sequence[Recourse], probability: np.ndarray, chance_level: float
) -> tuple[LinearProgram, np.ndarray]:
    """One program over y, eta, (V_w, tail_w) and every day's dispatch; returns it and where each dispatch starts."""
    n, s = first.cost.size, len(terms)
    dispatch = case.dispatch_size
    widths = [term.cost.size for term in terms]
    offsets = n + 1 + 2 * s + np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(int)
    columns = n + 1 + 2 * s + sum(widths)
    rows, low, high = [], [], []
    for w, (term, offset) in enumerate(zip(terms, offsets, strict=True)):
        height, tail = term.G.shape[0], columns - offset - widths[w]
        rows.append(sp.hstack([term.E, sp.csr_matrix((height, offset - n)), term.G, sp.csr_matrix((height, tail))]))
        low.append(term.h)
        high.append(np.where(term.equality, term.h, np.inf))
        extra = widths[w] - dispatch  # V_w >= every violation of the day, which may be negative here
        above = sp.lil_matrix((extra, columns))
        above[np.arange(extra), offset + dispatch + np.arange(extra)] = -1.0
        above[:, n + 1 + w] = 1.0
        rows.append(above.tocsr())
        low.append(np.zeros(extra))
        high.append(np.full(extra, np.inf))
    tails = sp.hstack(
        [sp.csr_matrix((s, n)), np.ones((s, 1)), -sp.identity(s), sp.identity(s), sp.csr_matrix((s, sum(widths)))]
    )
    risk = np.zeros(columns)
    risk[n], risk[n + 1 + s : n + 1 + 2 * s] = 1.0, probability / chance_level
    rows += [tails, sp.csr_matrix(risk)]
    low += [np.zeros(s), np.array([-np.inf])]
    high += [np.full(s, np.inf), np.zeros(1)]
    lower = np.r_[first.lower, np.full(1 + s, -np.inf), np.zeros(s + sum(widths))]
    for offset, width in zip(offsets, widths, strict=True):
        lower[offset + dispatch : offset + width] = -np.inf
    upper = np.r_[first.upper, np.full(1 + 2 * s + sum(widths), np.inf)]
    cost = np.r_[first.cost, np.zeros(columns - n)]
    return LinearProgram(
        cost, sp.vstack(rows, format="csr"), np.concatenate(low), np.concatenate(high), lower, upper
    ), offsets


# The adversary of the hosting problem: every vertex of a day's set has a dispatch without violation, or it is found.
#
# Most vertices need no program of their own: a dispatch found at one vertex, or none at all, often keeps every limit at
# others too, which matrix products tell.


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


def day_of(term: Recourse) -> DayModel:
    """The day that a term's rows were written from."""
    if not isinstance(term.source, DayModel):
        raise TypeError("a sweep of vertices needs terms of days")
    return term.source


class VertexSweep:
    """Adversary (recourse, y) -> :class:`~tritier.hosting.robust.WorstCase` that checks *all* network rows as it goes.

    A pass stops early once ``patience`` programs were solved and one vertex cost more than nothing, or once ``enough``
    vertices broke rows that are not watched: the plan will change anyway. An early stop gives no bound. Passes are
    exact otherwise: a vertex counts as served only by a dispatch that keeps every row of the feeder.
    """

    def __init__(self, case: HostingCase, patience: int = 25, enough: int = 12) -> None:
        self.case, self.patience, self.enough = case, patience, enough
        self.score: dict[str, np.ndarray] = {}
        self.reports: dict[tuple[str, bool], Report] = {}
        self.y: np.ndarray | None = None

    def part(self, recourse: Recourse) -> VertexSweep:
        """A sweep of one day, which knows that day's scores alone."""
        own, label = VertexSweep(self.case, self.patience, self.enough), day_of(recourse).label
        if label in self.score:
            own.score[label] = self.score[label]
        return own

    @property
    def learnt(self) -> tuple:
        """What a part has to say: scores, reports, and the plan they are of."""
        return self.score, self.reports, self.y

    def learn(self, learnt: tuple) -> None:
        """Take over what a part says."""
        score, reports, self.y = learnt
        self.score |= score
        self.reports |= reports

    def __call__(self, recourse: Recourse, y: np.ndarray) -> WorstCase:
        self.y = y
        sweep = DayPass(self.case, recourse, y)
        label, free = sweep.day.label, ROW_KW * recourse.cost[sweep.tail :].min()
        self.reports[label, sweep.costly] = sweep.report
        score = np.zeros(len(sweep.points))
        if not sweep.costly:  # the mean day of the same name has another set
            score = self.score.setdefault(label, score)
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
        """Figures of the last pass of every day: vertices with a dispatch and without, programs solved for them, and
        the largest violations these dispatches leave."""
        reports = list(self.reports.values())
        served = sum(r.served for (_, costly), r in self.reports.items() if not costly)
        return {
            "vertices_checked": served,
            "vertices_unserved": sum(day.uncertainty.vertex_bound for day in self.case.days) - served,
            "programs_solved": sum(r.programs for r in reports),
            "worst_overload_kw": max(r.overload_kw for r in reports),
            "worst_voltage_excess_pu": max(r.voltage_excess_pu for r in reports),
            "worst_priced_violation": max(r.priced for r in reports),
        }


class DayPass:
    """One pass over the vertices (V) of one day at y: right-hand sides and net loads of all of them at once."""

    def __init__(self, case: HostingCase, term: Recourse, y: np.ndarray) -> None:
        day, n = day_of(term), case.n_sites
        self.case, self.term, self.day = case, term, day
        self.points, self.report = day.uncertainty.vertices(), Report()
        self.served = np.zeros(len(self.points), dtype=bool)
        self.tail = case.dispatch_size  # where the priced violations start in x
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
        optimum = self.program.solve(self.points[k])
        self.report.programs += 1
        if optimum is None:
            raise SolverError(f"dispatch of {self.day.label} is infeasible")
        paid = float(self.term.cost[self.tail :] @ optimum.x[self.tail :])
        self.report.priced = max(self.report.priced, paid)
        return optimum.x, optimum.objective

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


#: Price of a violated network limit in the dispatch [$/kWh], and how much dearer curtailment beyond its share is.
VIOLATION_PRICE, SHARE_PRICE = 100.0, 10.0
#: Excess of an AC voltage [p.u.] or loading [-] that is read as rounding.
AC_TOLERANCE = 1e-6
#: Days that share one program; fixed, so that results are the same on any number of cores.
CHUNK = 25


@dataclass(frozen=True, eq=False)
class Dispatch:
    """Dispatch of a plan on S days: net loads (N, T, S) and reactive loads [kW, kvar], and what happened by day
    (S,)."""

    net_kw: np.ndarray
    reactive_kvar: np.ndarray
    overload_kw: np.ndarray
    voltage_excess_pu: np.ndarray
    excess_curtailment_kwh: np.ndarray
    curtailed_kwh: np.ndarray
    available_kwh: np.ndarray
    cost_usd: np.ndarray
    weight: np.ndarray


def dispatch(case: HostingCase, y: np.ndarray, days: Sequence[DayModel], watch: Watch, jobs: int = 1) -> Dispatch:
    """Least-cost dispatch of capacities y on each day, with the day known ahead and network limits at a high price.

    Curtailment keeps to its share first; a limit that cannot be kept is broken by as little energy as possible. Network
    rows join the watch list until none is broken beyond what the dispatch already pays for. Days go in chunks, within
    which each starts from the basis of the one before; results do not depend on ``jobs``.
    """
    chunks = [days[k : k + CHUNK] for k in range(0, len(days), CHUNK)]
    tasks = (delayed(dispatch_chunk)(case, y, chunk, watch.copy()) for chunk in chunks)
    results = [row for rows in Parallel(n_jobs=jobs)(tasks) for row in rows]
    columns = [np.array(column) for column in zip(*results, strict=True)]
    net, reactive = (np.moveaxis(x, 0, -1) for x in columns[:2])
    return Dispatch(net, reactive, *columns[2:])


def dispatch_chunk(
    case: HostingCase, y: np.ndarray, days: Iterable[DayModel], watch: Watch, max_rounds: int = 40
) -> list[tuple]:
    """Rows of :class:`Dispatch` for some days, with one program whose right-hand sides and prices change by day."""
    n, hours, results = case.n_sites, case.n_hours, []
    program: RecourseProgram | None = None
    for day in days:
        for _ in range(max_rounds):
            if program is None:
                book = row_book(case, day, watch)
                program = RecourseProgram(recourse(book, prices(book, operating_cost(case, day), VIOLATION_PRICE)), y)
            price = prices(book, operating_cost(case, day), VIOLATION_PRICE, SHARE_PRICE)
            program.program.set_cost(price)
            optimum = program.solve_at(book.right_at(day, y))
            if optimum is None:
                raise SolverError(f"dispatch of {day.label} is infeasible")
            net = net_load(case, day, y, optimum.x)
            paid = optimum.x[case.dispatch_size :]
            found = excess(case, net, day.reactive)
            if not watch.add(broken(found, 1e-4 + float(paid[:hours].max()))):
                break
            program = None  # more rows
        else:
            raise SolverError(f"network rows of {day.label} still missing after {max_rounds} rounds")
        cu = optimum.x[: n * hours].sum()
        have = (y[:n] @ day.pv + y[n : 2 * n] @ day.wind).sum()
        cost = optimum.objective - price[-paid.size :] @ paid
        cost += float(day.wholesale @ (day.load.sum(axis=0) - y[:n] @ day.pv - y[n : 2 * n] @ day.wind))
        flow, volt = float(found.overload_kw), float(found.voltage_pu)
        results.append((net, day.reactive, flow, volt, paid[hours:].sum(), cu, have, cost, day.weight))
    return results


def judge(
    case: HostingCase, feeder: Feeder, y: np.ndarray, days: Sequence[DayModel], watch: Watch, jobs: int = 1
) -> dict:
    """Figures of a plan on a set of days, limits as in the feeder's files.

    Shares count bus-hours (slack excluded) and line-hours; ``*_days`` count days with any. Undervoltages and overloads
    are set beside those of the bare feeder. Costs are per year: investment, and operation with AC losses at the
    wholesale price.
    """
    out = dispatch(case, y, days, watch, jobs)
    flow = ac_power_flow(feeder, out.net_kw, out.reactive_kvar)
    bare = ac_power_flow(feeder, np.stack([d.load for d in days], -1), out.reactive_kvar)
    high = flow.v_pu[1:] > feeder.v_max[1:, None, None] + AC_TOLERANCE
    low = flow.v_pu[1:] < feeder.v_min[1:, None, None] - AC_TOLERANCE
    bare_low = bare.v_pu[1:] < feeder.v_min[1:, None, None] - AC_TOLERANCE
    over, bare_over = (of.loading > 1.0 + AC_TOLERANCE for of in (flow, bare))
    through = np.hypot(out.net_kw.sum(axis=0) + flow.losses_kw, case.grid.charged(out.reactive_kvar).sum(axis=0))
    transformer = through > case.substation_kva * (1 + AC_TOLERANCE)
    price = np.stack([d.wholesale for d in days], -1)
    weight = out.weight
    losses = float((flow.losses_kw * weight).sum())
    operation = float(out.cost_usd @ weight + (flow.losses_kw * price * weight).sum())
    n = case.n_sites
    investment = float(np.repeat(case.annuity, n) @ y)
    broken = (out.overload_kw > 1e-3) | (out.voltage_excess_pu > 1e-6) | (out.excess_curtailment_kwh > 1e-3)
    return {
        "days": len(days),
        "lindistflow_days_violated": int(broken.sum()),
        "lindistflow_worst_overload_kw": float(out.overload_kw.max()),
        "lindistflow_worst_voltage_excess_pu": float(out.voltage_excess_pu.max()),
        "excess_curtailment_kwh": float(out.excess_curtailment_kwh.max()),
        "ac_overvoltage_share": float(high.mean()),
        "ac_overvoltage_days": int(high.any(axis=(0, 1)).sum()),
        "ac_highest_voltage_pu": float(flow.v_pu.max()),
        "ac_undervoltage_share": float(low.mean()),
        "ac_undervoltage_share_bare": float(bare_low.mean()),
        "ac_overload_share": float(over.mean()),
        "ac_overload_days": int((over.any(axis=(0, 1)) | transformer.any(axis=0)).sum()),
        "ac_overload_share_bare": float(bare_over.mean()),
        "ac_highest_loading": float(flow.loading.max()),
        "curtailed_share": float(out.curtailed_kwh @ weight / max(out.available_kwh @ weight, 1e-9)),
        "renewable_kwh": float((out.available_kwh - out.curtailed_kwh) @ weight),
        "losses_kwh": losses,
        "operating_cost_usd": operation,
        "investment_usd": investment,
        "annual_cost_usd": operation + investment,
    }


def stress_days(case: HostingCase, points: int, seed: int) -> tuple[DayModel, ...]:
    """Days drawn from the uncertainty sets: half vertices, half points inside, as many of each representative day."""
    draw, days = np.random.default_rng(seed), []
    for day in case.days:
        vertices = day.uncertainty.vertices()
        for k in range(max(points // len(case.days), 1)):
            chosen = vertices[draw.integers(len(vertices), size=6)]
            u = chosen[0] if k % 2 == 0 else draw.dirichlet(np.ones(6)) @ chosen
            days.append(day.at(u))
    return tuple(replace(day, weight=365.0 / len(days)) for day in days)
