"""A market of many prosumers: a synthetic one on a study's feeder, each prosumer's LP, and all of them as one LP.

All prosumers share one matrix for each pair of battery efficiency and wear, so that cvxpy compiles a template once and
a thousand prosumers differ in bounds, right-hand sides and costs only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from tritier.inputs.instance import DEFERRABLE, Design, Instance, Prosumer
from tritier.model.chance import Block, Network
from tritier.model.devices import ProsumerData
from tritier.model.market import line_position
from tritier.model.prosumer import (
    all_data,
    charges_ahead,
    prosumer_boxes,
    prosumer_rows,
    prosumer_variables,
    risk_adjusted_cost,
)
from tritier.reformulation.joint import block_rows, own_columns
from tritier.reformulation.lp import LinearProgram, ParametricLP, Status, parametric_lp, safe_bound

OWNERS = 0.7  # share of prosumers with renewables and a battery
SPREAD = 0.5  # standard deviation of the logarithm of sizes


def large_instance(base: Instance, n: int, seed: int = 0) -> Instance:
    """``n`` prosumers on the feeder and the days of ``base``, the same for the same seed.

    They are spread evenly over the buses with load and take over its energy in lognormal shares; each follows the
    demand shape of a bus, the sun and wind of a prosumer and the risk weight of a prosumer of ``base`` drawn at random.
    Seven of ten own renewables and a battery; together they own as much as the prosumers of ``base`` do. Vehicles and
    heat pumps of ``base`` are spread by energy.
    """
    rng, days = np.random.default_rng(seed), base.days
    load = days.passive_kw.copy()
    np.add.at(load, base.prosumer_bus, days.demand_kw)
    mean = load.mean(axis=1) @ days.probability
    buses = np.flatnonzero(mean > 0)
    place = buses[np.arange(n) * buses.size // n]
    size = rng.lognormal(0.0, SPREAD, n)
    energy = mean[place] * size / np.bincount(place, size, minlength=mean.size)[place]  # kW on average
    shape = load / np.where(mean > 0, mean, 1.0)[:, None, None]
    demand = energy[:, None, None] * shape[rng.choice(buses, n)]

    sun = days.renewable_kw.mean(axis=1) @ days.probability
    like = rng.choice(np.flatnonzero(sun > 0), n)  # the prosumer of base whose assets one has
    ratio = np.where(rng.random(n) < OWNERS, energy * rng.lognormal(0.0, SPREAD, n), 0.0)
    ratio = ratio * sun.sum() / max(float(ratio.sum()), 1e-9) / sun[like]
    weight = rng.choice([p.beta for p in base.prosumers], n)
    delay = {f"{kind}_delay_h": max(getattr(p, f"{kind}_delay_h") for p in base.prosumers) for kind in DEFERRABLE}
    people = tuple(
        replace(
            _scaled(base.prosumers[j], float(ratio[k])),
            name=f"p{k + 1}",
            bus=int(base.feeder.bus[place[k]]),
            beta=float(weight[k]),
            **delay,
        )
        for k, j in enumerate(like)
    )
    passive = load.copy()
    passive[place] = 0.0
    share = (energy / energy.sum())[:, None, None, None]
    own = replace(
        days,
        demand_kw=demand,
        renewable_kw=ratio[:, None, None] * days.renewable_kw[like],
        passive_kw=passive,
        deferrable_kw=share * days.deferrable_kw.sum(axis=0),
        plugged_kw=share * days.plugged_kw.sum(axis=0),
    )
    return replace(base, prosumers=people, days=own)


def _scaled(own: Prosumer, ratio: float) -> Prosumer:
    return replace(own, **{key: ratio * getattr(own, key) for key in ("pv_kw", "wind_kw", "battery_kwh", "battery_kw")})


def thinned(instance: Instance, m: int) -> Instance:
    """``m`` prosumers of a market, evenly spread over its list, made larger so that energy and assets stay as they are:
    its prices are near those of the whole."""
    days, n = instance.days, len(instance.prosumers)
    kept = np.arange(m) * n // m
    ratio = n / m
    people = tuple(_scaled(instance.prosumers[k], ratio) for k in kept)
    scaled = ("demand_kw", "renewable_kw", "deferrable_kw", "plugged_kw")
    own = {name: ratio * getattr(days, name)[kept] for name in scaled}
    return replace(instance, prosumers=people, days=replace(days, **own))


def template(d: ProsumerData, design: Design) -> ParametricLP:
    """The LP of one prosumer alone, of which others differ in numbers only (:eq:`eq-prosumer-set`)."""
    x = prosumer_variables(d, "own")
    rows = {row.label: row.constraint() for row in prosumer_rows(d, x, design.prices)}
    objective = risk_adjusted_cost(d, x) + charges_ahead(d, x, design)
    problem = cp.Problem(cp.Minimize(objective), list(rows.values()))
    return parametric_lp(problem, {row.id: name for name, row in rows.items()})


def own_lp(form: ParametricLP, d: ProsumerData, design: Design) -> ParametricLP:
    """A prosumer's LP from a template with the same coefficients: least risk-adjusted cost and network charges."""
    low, high, side = (x.copy() for x in (form.col_lower, form.col_upper, form.row_upper))
    columns, nothing = own_columns(form, d, "own"), {}
    for term, (lower, upper) in prosumer_boxes(d).items():
        low[columns[term]], high[columns[term]] = lower, upper
        nothing[term] = np.zeros_like(lower)
    for row in prosumer_rows(d, nothing, design.prices):
        side[form.row_at(row.label)] = -row.value
    equation = np.isfinite(form.row_lower)
    return replace(form, col_lower=low, col_upper=high, row_upper=side, row_lower=np.where(equation, side, -np.inf))


def own_lps(instance: Instance, design: Design) -> list[ParametricLP]:
    """The LP of every prosumer, without prices."""
    forms: dict[tuple, ParametricLP] = {}
    found = []
    for d in all_data(instance):
        key = (d.own.beta, *(device.coefficients() for device in d.devices))
        if key not in forms:
            forms[key] = template(d, design)
        found.append(own_lp(forms[key], d, design))
    return found


class Coupling:
    """What ties prosumers together: the P2P balance and the rows of some chance blocks, with the blocks' own columns.

    Rows: T balances (sales less purchases = 0), then block by block the S tails of each sign and the CVaR.
    A prosumer enters them by its trade (T,) and its injection (T, S) alone.
    """

    def __init__(self, instance: Instance, design: Design, blocks: Sequence[Block] = ()) -> None:
        self.instance, self.blocks = instance, tuple(blocks)
        days, network = instance.days, Network(instance)
        offered = {line_position(instance, line): limit for line, limit in design.capacity}
        gradient, hour, tails, parts, first = [], [], [], [], days.n_hours
        for block in self.blocks:
            form = network.form(block)
            own = block_rows(instance, form, block)
            signs, s = form.limit.shape
            tails.append(first + np.arange(signs * s).reshape(signs, s))
            upper = own.upper.copy()
            upper[:-1] += offered.get(form.capacity, 0.0)
            parts.append(replace(own, upper=upper))
            gradient.append(form.gradient)
            hour += [block.hour] * signs
            first += upper.size
        empty = np.empty(0)
        self.gradient = np.concatenate([np.empty((0, instance.feeder.bus.size)), *gradient])  # (R, N)
        self.hour = np.array(hour, dtype=int)  # (R,)
        self.tails = np.concatenate([np.empty((0, days.n_days), dtype=int), *tails])  # rows of each gradient, (R, S)
        self.row_upper = np.concatenate([np.zeros(days.n_hours), *(part.upper for part in parts)])
        self.row_lower = np.where(np.arange(self.row_upper.size) < days.n_hours, 0.0, -np.inf)
        self.col_lower = np.concatenate([empty, *(part.col_lower for part in parts)])
        self.col_upper = np.concatenate([empty, *(part.col_upper for part in parts)])
        slack = np.zeros(days.n_days + 2)
        slack[-1] = instance.rules.violation_price
        self.cost = np.tile(slack, len(parts))
        balance = sp.csr_array((days.n_hours, self.cost.size))
        matrices = [part.matrix for part in parts]
        self.matrix = sp.vstack([balance, sp.block_diag(matrices)]).tocsr() if parts else balance

    @property
    def hours(self) -> int:
        return self.instance.days.n_hours

    def entries(self, bus: int, trade: np.ndarray, injection: np.ndarray) -> np.ndarray:
        """Entries in the rows of a prosumer at a bus position that trades (T,) and injects (T, S), kW."""
        found = np.zeros(self.row_upper.size)
        found[: self.hours] = trade
        found[self.tails] = -self.gradient[:, bus, None] * injection[self.hour]
        return found

    def prices(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P2P price lambda, $/kWh, (T,), and injection prices pi, (N, T, S), from the rows' duals."""
        pi = np.zeros((self.instance.feeder.bus.size, self.hours, self.instance.days.n_days))
        for g, hour, nu in zip(self.gradient, self.hour, y[self.tails], strict=True):
            pi[:, hour, :] -= np.outer(g, nu)
        return y[: self.hours], pi

    def own_bound(self, y: np.ndarray) -> float:
        """What the coupling's rows and columns add to a lower bound at duals y, $: the platform's best."""
        return safe_bound(self, self.cost, y)


def trade_of(lp: ParametricLP, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Net P2P sale (T,) and net injection (T, S) of a prosumer's point, kW (:eq:`eq-injection`)."""
    trade = x[lp.at("zs[own]")] - x[lp.at("zb[own]")]
    return trade, x[lp.at("gm[own]")] - x[lp.at("gp[own]")] + trade[:, None]


def priced(lp: ParametricLP, price: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """Costs of a prosumer's LP at a P2P price (T,) and injection prices (T, S) at its bus (:eq:`eq-prosumer`)."""
    cost, worth = lp.cost.copy(), price + pi.sum(axis=1)
    cost[lp.at("zb[own]")] += worth
    cost[lp.at("zs[own]")] -= worth
    cost[lp.at("gm[own]")] -= pi
    cost[lp.at("gp[own]")] += pi
    return cost


def one_lp(lps: Sequence[ParametricLP], coupling: Coupling) -> ParametricLP:
    """All prosumers and the coupling as one LP (:eq:`eq-joint-follower`): prosumers' columns and rows one after the
    other, then the coupling's."""
    bus = coupling.instance.prosumer_bus
    links = [_link(lp, coupling, int(bus[i])) for i, lp in enumerate(lps)]
    own = sp.block_diag([lp.matrix for lp in lps], format="csr")
    private = sp.hstack([own, sp.csr_array((own.shape[0], coupling.cost.size))])
    parts = [*lps, coupling]
    fields = ("cost", "col_lower", "col_upper", "row_lower", "row_upper")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in fields}
    matrix = sp.vstack([private, sp.hstack([*links, coupling.matrix])]).tocsr()
    return ParametricLP(matrix=matrix, columns={}, rows={"p2p_balance": (own.shape[0], (coupling.hours,))}, **arrays)


def _link(lp: ParametricLP, coupling: Coupling, bus: int) -> sp.csr_array:
    """Entries of a prosumer's columns in the coupling's rows."""
    hours, days = coupling.hours, coupling.tails.shape[1]
    t = np.arange(hours)
    entries = [(t, lp.at("zs[own]"), np.ones(hours)), (t, lp.at("zb[own]"), -np.ones(hours))]
    for r in np.flatnonzero(coupling.gradient[:, bus]):
        g, hour, rows = coupling.gradient[r, bus], coupling.hour[r], coupling.tails[r]
        for name, sign in (("gm", -g), ("gp", g), ("zs", -g), ("zb", g)):
            column = lp.at(f"{name}[own]")[hour]  # (S,), or () of a trade ahead
            entries.append((rows, np.broadcast_to(column, (days,)), np.full(days, sign)))
    row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    return sp.csr_array((value, (row, column)), shape=(coupling.row_lower.size, lp.cost.size))


# The follower of a large market as one LP in HiGHS, by simplex or interior point: the decomposition's baseline.


METHODS = {"simplex": ("simplex", "on"), "interior point": ("ipm", "off"), "with crossover": ("ipm", "on")}


@dataclass(frozen=True, eq=False)
class Whole:
    """What HiGHS says of the whole LP. ``bound`` is safe whatever it says; values are nan where it did not finish."""

    status: str
    cost: float
    bound: float
    dual: np.ndarray  # of the coupling's rows
    columns: int
    rows: int
    entries: int
    iterations: int
    seconds: float  # building the LP included

    @property
    def finished(self) -> bool:
        return self.status == Status.OPTIMAL


def solve_whole(
    instance: Instance, design: Design, blocks: Sequence[Block] = (), method: str = "simplex", limit: float = 600.0
) -> Whole:
    """One LP with the given chance blocks, by one of ``METHODS``, for at most ``limit`` seconds."""
    start = time.perf_counter()
    coupling = Coupling(instance, design, blocks)
    lp = one_lp(own_lps(instance, design), coupling)
    solver, crossover = METHODS[method]
    sides = (lp.row_lower, lp.row_upper, lp.col_lower, lp.col_upper)
    found = LinearProgram(lp.cost, lp.matrix, *sides, method=solver, run_crossover=crossover).run(limit)
    known = found.status == Status.OPTIMAL
    return Whole(
        status=found.status,
        cost=found.objective if known else np.nan,
        bound=safe_bound(lp, lp.cost, found.y) if known else np.nan,
        dual=found.y[-coupling.row_lower.size :] if known else np.empty(0),
        columns=lp.cost.size,
        rows=lp.row_lower.size,
        entries=int(lp.matrix.nnz),
        iterations=found.iterations,
        seconds=time.perf_counter() - start,
    )
