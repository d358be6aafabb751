"""Hosting plans: deterministic, stochastic (chance constraint as CVaR) and robust (C&CG), with the rows watched
lazily."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed

from tritier.adversary import Enumeration
from tritier.errors import SolverError
from tritier.hosting_case import DayModel, HostingCase, with_budget
from tritier.hosting_rows import BLOCKS, Watch, day_recourse, net_load, operating_cost, violated
from tritier.linear import LinearProgram
from tritier.robust import FirstStage, Iteration, Recourse, RecourseProgram, TwoStage, column_and_constraint_generation

#: Largest violation [kW] of a network limit that counts as none.
KW = 1e-4


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
    scenarios: tuple

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


def zero_cost(case: HostingCase) -> np.ndarray:
    return np.zeros(len(BLOCKS) * case.n_sites * case.n_hours)


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


def deterministic(case: HostingCase) -> HostingCase:
    """The case with its mean days only: a budget of zero."""
    return with_budget(case, lambda _day: 0)


def robust_plan(
    case: HostingCase,
    hosted_kw: float | None = None,
    adversary=None,
    gap: float = 1e-6,
    watch: Watch | None = None,
    method: str = "choose",
    start=None,
    max_rounds: int = 30,
    jobs: int = 1,
) -> Plan:
    """C&CG over the days' sets; network rows join when a vertex's dispatch breaks them.

    Ends when every vertex of every set has a dispatch without violation on *all* rows: then the plan is feasible,
    and it is optimal because rows and scenarios left out could only have lowered the hosted capacity.

    Raises:
        SolverError: no plan without violations exists, or the rounds run out.
    """
    began = time.perf_counter()
    watch, adversary = watch or initial_watch(case), adversary or Enumeration()
    known = start if start is not None else [(k, np.zeros(d.uncertainty.size)) for k, d in enumerate(case.days)]
    trace: list[Iteration] = []
    for _ in range(max_rounds):
        problem = two_stage(case, watch, hosted_kw)
        offset = time.perf_counter() - began
        solution = column_and_constraint_generation(problem, adversary, gap, start=known, method=method, jobs=jobs)
        known = list(solution.scenarios)
        report = check_vertices(case, problem, solution.y, jobs=jobs)
        missing = watch.add(report["new"])
        trace += [
            replace(
                step,
                iteration=len(trace) + k,
                seconds=offset + step.seconds,
                upper_bound=np.inf if missing else step.upper_bound,
            )
            for k, step in enumerate(solution.trace, start=1)
        ]
        if not missing:
            break
    else:
        raise SolverError(f"network rows still missing after {max_rounds} rounds")
    sign = -1.0 if hosted_kw is None else 1.0
    bounds = sorted((sign * solution.lower_bound, sign * solution.upper_bound))
    n = case.n_sites
    certificate = {key: value for key, value in report.items() if key != "new"} | {"gap_relative": solution.gap}
    y = np.maximum(solution.y, 0.0)
    return Plan(y[:n], y[n : 2 * n], y[2 * n :], *bounds, tuple(trace), watch, certificate, tuple(known))


def check_vertices(case: HostingCase, problem: TwoStage, y: np.ndarray, jobs: int = 1) -> dict:
    """Dispatch at every vertex of every set at y, all network rows checked by matrix products."""
    pairs = zip(problem.recourse, case.days, strict=False)
    parts = Parallel(n_jobs=jobs, prefer="threads")(delayed(check_day)(case, term, day, y) for term, day in pairs)
    new = Watch()
    for watch, *_ in parts:
        new.add(watch)
    return {
        "new": new,
        "vertices_checked": sum(part[1] for part in parts),
        "worst_overload_kw": max(part[2] for part in parts),
        "worst_voltage_excess_pu": max(part[3] for part in parts),
        "worst_priced_violation": max(part[4] for part in parts),
    }


def check_day(case: HostingCase, term: Recourse, day: DayModel, y: np.ndarray, enough: int = 12) -> tuple:
    """One day of :func:`check_vertices`: rows to watch, vertices checked, worst overload, voltage and price paid.

    Stops early once ``enough`` vertices broke rows that are not watched yet: the plan will change anyway.
    """
    new, most_flow, most_volt, priced, count, broken = Watch(), 0.0, 0.0, 0.0, 0, 0
    program = RecourseProgram(term, y)
    for u in day.uncertainty.vertices():
        answer = program.solve(u)
        if answer is None:
            raise SolverError(f"dispatch of {day.label} is infeasible")
        real = day.at(u)
        seen, flow, volt = violated(case, real, net_load(case, real, y, answer.x), KW)
        if answer.value <= 1e-6 * case.penalty:
            broken += new.add(seen)
        most_flow, most_volt = max(most_flow, flow), max(most_volt, volt)
        priced, count = max(priced, answer.value), count + 1
        if broken >= enough:
            break
    return new, count, most_flow, most_volt, priced


def stochastic_plan(
    case: HostingCase,
    days: tuple[DayModel, ...],
    probability: np.ndarray,
    chance_level: float,
    max_rounds: int = 30,
) -> Plan:
    """Hosting capacity with a joint chance constraint on whole days, as CVaR over scenario days :eq:`eq-hosting-cvar`.

    Each day's violation V_w (signed) is the largest excess over a network limit [kW] or over the curtailed share
    [kWh, spread over the day]; ``eta + E(V - eta)^+ / eps <= 0`` is safe for ``P(V > 0) <= eps``.
    """
    began = time.perf_counter()
    watch, first, trace = initial_watch(case), first_stage(case), []
    n = first.cost.size
    for _ in range(max_rounds):
        tick = time.perf_counter()
        terms = [day_recourse(case, day, watch, zero_cost(case), 1.0) for day in days]
        program, offsets = cvar_program(case, first, terms, probability, chance_level)
        answer = program.solve()
        if answer is None:
            raise SolverError("no plan meets the chance constraint: the feeder violates limits without renewables")
        y, new = answer.x[:n], Watch()
        seconds = time.perf_counter() - tick
        for day, offset, term in zip(days, offsets, terms, strict=True):
            x = answer.x[offset : offset + term.cost.size]
            allowed = max(float(x[len(BLOCKS) * case.n_sites * case.n_hours :].max()), 0.0)
            new.add(violated(case, day, net_load(case, day, y, x), KW + allowed)[0])
        total = time.perf_counter() - began
        trace.append(Iteration(len(trace) + 1, answer.value, answer.value, len(days), total, seconds, 0.0))
        if not watch.add(new):
            break
    else:
        raise SolverError(f"network rows still missing after {max_rounds} rounds")
    k, hosted = case.n_sites, -answer.value
    y = np.maximum(y, 0.0)
    return Plan(y[:k], y[k : 2 * k], y[2 * k :], hosted, hosted, tuple(trace), watch, {"scenarios": len(days)}, ())


def cvar_program(case: HostingCase, first: FirstStage, terms, probability: np.ndarray, chance_level: float):
    """One program over y, eta, (V_w, tail_w) and every day's dispatch; returns it and where each dispatch starts."""
    n, s = first.cost.size, len(terms)
    dispatch = len(BLOCKS) * case.n_sites * case.n_hours
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
