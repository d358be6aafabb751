"""Hosting plans on days they were not made for: dispatch, LinDistFlow limits, AC power flow, and a stress set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed

from tritier.errors import SolverError
from tritier.hosting.case import BLOCKS, DayModel, HostingCase
from tritier.hosting.robust import RecourseProgram
from tritier.hosting.rows import Watch, broken, excess, net_load, operating_cost, prices, recourse, row_book
from tritier.inputs.instance import Feeder
from tritier.model.acflow import ac_power_flow

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


def dispatch(case: HostingCase, y: np.ndarray, days, watch: Watch, jobs: int = 1) -> Dispatch:
    """Least-cost dispatch of capacities y on each day, with the day known ahead and network limits at a high price.

    Curtailment keeps to its share first; a limit that cannot be kept is broken by as little energy as possible. Network
    rows join the watch list until none is broken beyond what the dispatch already pays for. Days go in chunks, within
    which each starts from the basis of the one before; results do not depend on ``jobs``.
    """
    chunks = [days[k : k + CHUNK] for k in range(0, len(days), CHUNK)]
    tasks = (delayed(dispatch_chunk)(case, y, chunk, watch.copy()) for chunk in chunks)
    results = [row for rows in Parallel(n_jobs=jobs, prefer="threads")(tasks) for row in rows]
    columns = [np.array(column) for column in zip(*results, strict=True)]
    net, reactive = (np.moveaxis(x, 0, -1) for x in columns[:2])
    return Dispatch(net, reactive, *columns[2:])


def dispatch_chunk(case: HostingCase, y: np.ndarray, days, watch: Watch, max_rounds: int = 40) -> list[tuple]:
    """Rows of :class:`Dispatch` for some days, with one program whose right-hand sides and prices change by day."""
    n, hours, results, program = case.n_sites, case.n_hours, [], None
    for day in days:
        for _ in range(max_rounds):
            if program is None:
                book = row_book(case, day, watch)
                program = RecourseProgram(recourse(book, prices(book, operating_cost(case, day), VIOLATION_PRICE)), y)
            price = prices(book, operating_cost(case, day), VIOLATION_PRICE, SHARE_PRICE)
            program.program.set_cost(price)
            answer = program.solve_at(book.right_at(day, y))
            if answer is None:
                raise SolverError(f"dispatch of {day.label} is infeasible")
            net = net_load(case, day, y, answer.x)
            paid = answer.x[len(BLOCKS) * n * hours :]
            found = excess(case, net, day.reactive)
            if not watch.add(broken(found, 1e-4 + float(paid[:hours].max()))):
                break
            program = None  # more rows
        else:
            raise SolverError(f"network rows of {day.label} still missing after {max_rounds} rounds")
        cu = answer.x[: n * hours].sum()
        have = (y[:n] @ day.pv + y[n : 2 * n] @ day.wind).sum()
        cost = answer.objective - price[-paid.size :] @ paid
        cost += float(day.wholesale @ (day.load.sum(axis=0) - y[:n] @ day.pv - y[n : 2 * n] @ day.wind))
        flow, volt = float(found.overload_kw), float(found.voltage_pu)
        results.append((net, day.reactive, flow, volt, paid[hours:].sum(), cu, have, cost, day.weight))
    return results


def judge(case: HostingCase, feeder: Feeder, y: np.ndarray, days, watch: Watch, jobs: int = 1) -> dict:
    """Figures of a plan on a set of days, limits as in the feeder's files.

    Shares count bus-hours (slack excluded) and line-hours; ``*_days`` count days with any. Undervoltages are set beside
    those of the bare feeder. Costs are per year: investment, and operation with AC losses at the wholesale price.
    """
    out = dispatch(case, y, days, watch, jobs)
    flow = ac_power_flow(feeder, out.net_kw, out.reactive_kvar)
    bare = ac_power_flow(feeder, np.stack([d.load for d in days], -1), out.reactive_kvar)
    high = flow.v_pu[1:] > feeder.v_max[1:, None, None] + AC_TOLERANCE
    low = flow.v_pu[1:] < feeder.v_min[1:, None, None] - AC_TOLERANCE
    bare_low = bare.v_pu[1:] < feeder.v_min[1:, None, None] - AC_TOLERANCE
    over = flow.loading > 1.0 + AC_TOLERANCE
    transformer = np.abs(out.net_kw.sum(axis=0) + flow.losses_kw) > case.substation_kva * (1 + AC_TOLERANCE)
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
