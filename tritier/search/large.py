"""Large markets: a synthetic one on a study's feeder; clearing, prices and certificate by decomposition or by one LP.

In the decomposition (Dantzig and Wolfe), the coupling is small (24 balances and a few chance blocks), the prosumers
are many and alike. Prices go out, each prosumer answers with a plan, and a master LP mixes the plans so that the
coupling holds. What all prosumers and the platform could gain at the posted prices is the duality gap (proposition 1),
so the search is its own certificate.
All prosumers share one matrix for each pair of battery efficiency and wear, so that cvxpy compiles a template once and
a thousand prosumers differ in bounds, right-hand sides and costs only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor
from joblib.parallel import get_active_backend

from tritier.errors import SolverError
from tritier.inputs.instance import DEFERRABLE, Design, Instance, Prosumer
from tritier.model.chance import VIOLATED_KW, Block, Network, net_load
from tritier.model.devices import ProsumerData
from tritier.model.market import limits_by_position
from tritier.model.prosumer import (
    all_data,
    charges_ahead,
    gain_scale,
    largest_injection,
    prosumer_boxes,
    prosumer_rows,
    prosumer_variables,
    risk_adjusted_cost,
)
from tritier.model.tariff import hourly
from tritier.reformulation.joint import BlockRows, block_rows, own_columns
from tritier.reformulation.lp import (
    Basis,
    Border,
    LinearProgram,
    ParametricLP,
    Status,
    WarmLP,
    parametric_lp,
    safe_bound,
)

OWNERS = 0.7  # share of prosumers with renewables and a battery
SPREAD = 0.5  # standard deviation of the logarithm of sizes


def large_instance(base: Instance, n: int, seed: int = 0) -> Instance:
    """``n`` prosumers on the feeder and the days of ``base``, the same for the same seed.

    They are spread evenly over the buses with load and take over its energy in lognormal shares; each follows the
    demand shape of a bus, the sun and wind of a prosumer and the risk weight of a prosumer of ``base`` drawn at random.
    Seven of ten, drawn at random, own renewables and a battery; together they own as many renewables as the prosumers
    of ``base`` do, which have batteries in proportion. Vehicles and heat pumps of ``base`` are spread by energy.
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
    sunny = np.flatnonzero(sun > 0) if sun.any() else np.arange(sun.size)
    like = rng.choice(sunny, n)  # the prosumer of base whose assets one has
    ratio = np.where(rng.random(n) < OWNERS, energy * rng.lognormal(0.0, SPREAD, n), 0.0)
    ratio = ratio * sun.sum() / max(float(ratio.sum()), 1e-9) / np.where(sun[like] > 0, sun[like], 1.0)
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


PEAK = "head_peak"  # kind of a block of rows: the head's import in an hour is at most the day's peak, which is charged


class Coupling:
    """What ties prosumers together: the P2P balance, the rows of some chance blocks with the blocks' own columns, and
    where the design charges the common peak, that peak (S,) and the hours that may set it.

    Rows: T balances (sales less purchases = 0), then block by block the S tails of each sign and the CVaR, or the S
    rows of an hour of the peak. Columns: the peak, then block by block.
    A prosumer enters the rows by its trade (T,) and its injection (T, S) alone.
    """

    def __init__(self, instance: Instance, design: Design, blocks: Sequence[Block] = ()) -> None:
        self.instance, self.blocks = instance, tuple(blocks)
        days, network = instance.days, Network(instance)
        offered = limits_of(instance, design)
        gradient, hour, tails, parts, first = [], [], [], [], days.n_hours
        self.peaks = days.n_days if design.coincident > 0 else 0
        for block in self.blocks:
            if block.kind == PEAK:
                gradient.append(np.ones((1, instance.feeder.bus.size)))
                tails.append(first + np.arange(days.n_days)[None])
                parts.append(_peak_rows(instance, block.hour))
                hour.append(block.hour)
                first += days.n_days
                continue
            form = network.form(block)
            own = block_rows(instance, form, block)
            signs, s = form.limit.shape
            tails.append(first + np.arange(signs * s).reshape(signs, s))
            upper = own.upper.copy()
            upper[:-1] += form.offered(offered)
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
        most = np.full(self.peaks, _largest_import(instance)) if self.peaks else empty
        self.col_lower = np.concatenate([0 * most, *(part.col_lower for part in parts)])
        self.col_upper = np.concatenate([most, *(part.col_upper for part in parts)])
        slack = np.zeros(days.n_days + 2)
        slack[-1] = instance.rules.violation_price
        costs = [slack[: part.col_lower.size] for part in parts]  # an hour of the peak has no columns
        self.cost = np.concatenate([design.coincident * days.probability[: self.peaks], *costs])
        shared = [-sp.eye_array(days.n_days) if b.kind == PEAK else sp.csr_array((p.upper.size, self.peaks))
                  for b, p in zip(self.blocks, parts, strict=True)]  # fmt: skip
        balance = sp.csr_array((days.n_hours, self.cost.size))
        alone = [part.matrix for part in parts]
        below = [sp.hstack([sp.vstack(shared), sp.block_diag(alone)])] if parts else []
        self.matrix = sp.vstack([balance, *below]).tocsr()

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
        sides = (self.row_lower, self.row_upper, self.col_lower, self.col_upper)
        return safe_bound(ParametricLP(self.cost, self.matrix, *sides, {}, {}), self.cost, y)


def _peak_rows(instance: Instance, hour: int) -> BlockRows:
    """An hour that may set the head's peak: its import in every scenario, passive loads' on the right-hand side."""
    empty, days = np.empty(0), instance.days
    upper = -days.passive_kw[:, hour, :].sum(axis=0)
    return BlockRows(sp.csr_array((days.n_days, 0)), upper, empty, empty, {}, {})


@lru_cache(maxsize=8)
def _largest_import(instance: Instance) -> float:
    """More than the head can ever import, kW."""
    return float(largest_injection(instance).sum() + instance.days.passive_kw.sum(axis=0).max())


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
    injection: np.ndarray  # kW, (I, T, S)
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
    coupling, own = Coupling(instance, design, blocks), own_lps(instance, design)
    lp, last = one_lp(own, coupling), np.cumsum([part.cost.size for part in own])
    solver, crossover = METHODS[method]
    sides = (lp.row_lower, lp.row_upper, lp.col_lower, lp.col_upper)
    found = LinearProgram(lp.cost, lp.matrix, *sides, method=solver, run_crossover=crossover).run(limit)
    known = found.status == Status.OPTIMAL
    return Whole(
        status=found.status,
        cost=found.objective if known else np.nan,
        bound=safe_bound(lp, lp.cost, found.y) if known else np.nan,
        dual=found.y[-coupling.row_lower.size :] if known else np.empty(0),
        injection=np.array([trade_of(part, x)[1] for part, x in zip(own, np.split(found.x, last), strict=False)])
        if known
        else np.empty(0),
        columns=lp.cost.size,
        rows=lp.row_lower.size,
        entries=int(lp.matrix.nnz),
        iterations=found.iterations,
        seconds=time.perf_counter() - start,
    )


GAIN = 1e-6  # of gain_scale: prices that move in steps end no nearer; the certificate of an LP asks for less
COARSE = 1e-3  # gap relative to the cost at which the chance blocks are looked at
SMOOTH = 0.5  # weight of the best prices so far in the prices asked next
NEW = 1e-9  # $: a plan that promises more enters the master
NEAR = 0.002  # $/kWh: how far from the best prices so far a market that starts from good ones looks at first
PULLED = 3  # rounds in which the trading house holds something, after which it looks farther
MARGIN = 0.01  # $/kWh: how far beyond the range of prices the house trades, so that nobody's purchase ties with its own
HOUSE = 1e-7  # kW: what the trading house may hold in the end
ROUNDS = 400
THIN = 10  # a market is first cleared with one prosumer in ten, for its prices
FEWEST = 100  # prosumers from which that pays; fewer than that are cleared as one LP: prices of a few swing for long


@dataclass(frozen=True, eq=False)
class Clearing:
    """A cleared market. The plans reach ``cost``, no others beat ``bound``; ``gain`` is what each prosumer could win by
    deviating at the posted prices, ``platform_gain`` what the platform could, $ (:eq:`eq-large-gap`)."""

    cost: float
    bound: float
    gain: np.ndarray  # (I,), $
    relative_gain: np.ndarray  # (I,), of max(|cost|, 1 % of the bill without trade)
    platform_gain: float
    price: np.ndarray  # lambda, $/kWh, (T,)
    injection_price: np.ndarray  # pi, $/kWh, (N, T, S)
    trade: np.ndarray  # net sale, kW, (I, T)
    injection: np.ndarray  # kW, (I, T, S)
    blocks: tuple[Block, ...]
    dual: np.ndarray  # of the coupling's rows
    lp_solves: int
    rounds: int
    plans: int
    seconds: float

    @property
    def volume(self) -> float:
        """P2P volume, kWh."""
        return float(np.abs(self.trade).sum() / 2)

    @property
    def imbalance(self) -> float:
        """Largest P2P imbalance of an hour, kW."""
        return float(np.abs(self.trade.sum(axis=0)).max())


@dataclass(eq=False)
class _Plans:
    """Plans of the prosumers that the master mixes: owner, cost without prices, trade and injection."""

    owner: list[int] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    trade: list[np.ndarray] = field(default_factory=list)
    injection: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Replies:
    """Best replies at duals of the coupling: their safe values, $, (I,), and the bound they give."""

    dual: np.ndarray
    best: np.ndarray
    bound: float


@dataclass(frozen=True, eq=False)
class Reply:
    """A prosumer's safe value at prices, $, and its cost without prices, trade and injection where these are new."""

    bound: float
    plan: tuple[float, np.ndarray, np.ndarray] | None


class Prosumers:
    """Warm LPs of some prosumers. Each is asked the same in the same order, whoever holds it and whoever else it holds:
    what it answers does not depend on the number of processes."""

    def __init__(self, forms: Sequence[ParametricLP], buses: np.ndarray) -> None:
        self.forms, self.buses = forms, buses
        self.lps = [WarmLP(form) for form in forms]

    def answer(
        self, price: np.ndarray, pi: np.ndarray, reference: np.ndarray, begin: Sequence[Basis] | None = None
    ) -> tuple[list[Reply], int]:
        """Replies at prices, and the LP solves they took. reference: costs at these prices that a new plan must beat;
        begin: where the first solves start."""
        before, replies = sum(lp.solves for lp in self.lps), []
        for k, (form, lp) in enumerate(zip(self.forms, self.lps, strict=True)):
            if begin is not None:
                lp.set_basis(begin[k])
            found = lp.solve(priced(form, price, pi[self.buses[k]]), "dual" if begin is not None else "primal")
            new = found.objective < reference[k] - NEW
            plan = (float(form.cost @ found.x), *trade_of(form, found.x)) if new else None
            replies.append(Reply(lp.safe_bound(found.y), plan))
        return replies, sum(lp.solves for lp in self.lps) - before


_held: list[Prosumers] = []  # those of this process, where they have processes of their own


def _hold(forms: Sequence[ParametricLP], buses: np.ndarray) -> None:
    _held[:] = [Prosumers(forms, buses)]


def _answer(*asked: Any) -> tuple[list[Reply], int]:
    return _held[0].answer(*asked)


class OwnProcess:
    """Some prosumers in a process of their own on this machine."""

    def __init__(self, forms: Sequence[ParametricLP], buses: np.ndarray) -> None:
        self.pool = ProcessPoolExecutor(1, initializer=_hold, initargs=(forms, buses))

    def ask(self, asked: tuple) -> Any:
        """A future of :meth:`Prosumers.answer`."""
        return self.pool.submit(_answer, *asked)

    def close(self) -> None:
        self.pool.shutdown(kill_workers=True)


class OnCluster:
    """Some prosumers on a worker of a Dask cluster, which keeps their LPs from round to round."""

    def __init__(self, client: Any, worker: str, forms: Sequence[ParametricLP], buses: np.ndarray) -> None:
        self.sent = client.scatter((list(forms), buses), workers=[worker], hash=False)
        self.held = client.submit(_prosumers, *self.sent, actor=True, workers=[worker], pure=False)
        self.actor = self.held.result()

    def ask(self, asked: tuple) -> Any:
        """A future of :meth:`Prosumers.answer`."""
        return self.actor.answer(*asked)

    def close(self) -> None:
        for future in (self.held, *self.sent):
            future.cancel()


def _prosumers(forms: Sequence[ParametricLP], buses: np.ndarray) -> Prosumers:
    return Prosumers(forms, buses)


def hands(jobs: int, most: int) -> list[Callable[[Sequence[ParametricLP], np.ndarray], OwnProcess | OnCluster]]:
    """Makers of those that hold prosumers, at most so many: the workers of the Dask cluster that joblib is told to use,
    or processes of this machine; none where one process does all."""
    client = getattr(get_active_backend()[0], "client", None)
    if client is None:
        count = min(effective_n_jobs(jobs), most)
        return [OwnProcess] * count if count > 1 else []
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    return [partial(OnCluster, client, worker) for worker in workers[: jobs if jobs > 0 else None][:most]]


class Market:
    """The prosumers' warm LPs, here or in processes of their own, the plans found and the master."""

    def __init__(self, instance: Instance, design: Design, jobs: int) -> None:
        if instance.rules.trade != "day_ahead":
            raise ValueError("a market is cleared in parts with day-ahead trades only: trade by scenario with JointLP")
        self.instance, self.design = instance, design
        self.bus, self.solves, self.coupled_peak = instance.prosumer_bus, 0, design.coincident > 0
        self.forms = own_lps(instance, design)
        n = len(self.forms)
        makers = hands(jobs, n)
        parts = max(1, len(makers))
        self.shares = [np.arange(k, n, parts) for k in range(parts)]
        held = [([self.forms[i] for i in share], self.bus[share]) for share in self.shares]
        self.here = None if makers else Prosumers(*held[0])
        self.hands = [make(*own) for make, own in zip(makers, held, strict=False)]
        price = instance.retail + hourly(instance.rules, design)[:, None]
        self.bill = (price * instance.days.demand_kw).sum(axis=1) @ instance.days.probability
        self.limits = limits_of(instance, design)
        self.network = Network(instance)
        self.plans = _Plans()
        demand = instance.days.passive_kw.sum(axis=0) + instance.days.demand_kw.sum(axis=0)
        self.couple(self.peak_hours(demand, ()))

    def close(self) -> None:
        """End the processes, and let the cluster forget its prosumers."""
        for hand in self.hands:
            hand.close()

    def house(self, price: np.ndarray, reach: float) -> None:
        """Let the trading house sell a little above the given P2P prices and buy a little below them: this keeps the
        master's prices near."""
        t, first = price.size, self.coupling.cost.size
        low, high = house_prices(self.instance, self.design)
        self.own[first : first + t] = np.minimum(price + reach, high)
        self.own[first + t :] = -np.maximum(price - reach, low)

    def couple(self, blocks: tuple[Block, ...]) -> None:
        """A new master with the given chance blocks and no plan yet. A trading house sells dearly and buys cheaply, so
        that any plans are feasible; in the end it must hold nothing."""
        self.coupling = c = Coupling(self.instance, self.design, blocks)
        low, high = house_prices(self.instance, self.design)
        n, t = len(self.forms), low.size
        most = 1e3 * float(largest_injection(self.instance).sum())
        house = sp.vstack([sp.eye_array(t), sp.csr_array((c.row_lower.size - t, t))])
        coupled = sp.hstack([c.matrix, house, -house])
        self.own = np.concatenate([c.cost, high, -low])
        self.master = WarmLP(
            ParametricLP(
                cost=self.own,
                matrix=sp.vstack([coupled, sp.csr_array((n, self.own.size))]).tocsr(),
                row_lower=np.append(c.row_lower, np.ones(n)),
                row_upper=np.append(c.row_upper, np.ones(n)),
                col_lower=np.append(c.col_lower, np.zeros(2 * t)),
                col_upper=np.append(c.col_upper, np.full(2 * t, most)),
                columns={},
                rows={},
            )
        )
        self.mixed = 0

    def mix(self) -> tuple[float, np.ndarray, np.ndarray, float]:
        """Least cost over mixtures of the plans (:eq:`eq-large-master`): cost, weights of the plans, duals of the
        coupling, the house's share in kW."""
        c, plans, start = self.coupling, self.plans, self.mixed
        new = range(start, len(plans.owner))
        if new:
            owner = np.array([plans.owner[k] for k in new])
            tops = [c.entries(int(self.bus[plans.owner[k]]), plans.trade[k], plans.injection[k]) for k in new]
            one = sp.csr_array((np.ones(owner.size), (owner, np.arange(owner.size))), (len(self.forms), owner.size))
            none = np.empty(0)
            self.master.append(
                Border(
                    cost=np.array([plans.cost[k] for k in new]),
                    col_lower=np.zeros(owner.size),
                    col_upper=np.ones(owner.size),
                    old_rows=sp.vstack([sp.csr_array(np.array(tops).T), one]).tocsr(),
                    columns={},
                    matrix=sp.csr_array((0, self.master.lp.cost.size + owner.size)),
                    row_lower=none,
                    row_upper=none,
                    rows={},
                )
            )
            self.mixed = len(plans.owner)
        found = self.master.solve(np.concatenate([self.own, plans.cost]), "primal" if start else "dual")
        held = found.x[c.cost.size : self.own.size]
        return found.objective, found.x[self.own.size :], found.y[: c.row_lower.size], float(held.max())

    def ask(self, dual: np.ndarray, reference: np.ndarray | None) -> Replies:
        """Best replies at prices (:eq:`eq-large-bound`); those that beat ``reference`` (what the mixed plans cost at
        them) become plans, all of them where there is none."""
        price, pi = self.coupling.prices(dual)
        beat = np.full(len(self.forms), np.inf) if reference is None else reference
        begin = self.begin(price, pi) if self.solves == 0 else [None] * len(self.forms)
        best = np.empty(len(self.forms))
        found: list[tuple[float, np.ndarray, np.ndarray] | None] = [None] * len(self.forms)
        asked = [(price, pi, beat[share], [begin[i] for i in share] if begin[0] else None) for share in self.shares]
        answers = [self.here.answer(*own) for own in asked] if self.here else self.answers(asked)
        for share, (replies, solves) in zip(self.shares, answers, strict=True):
            self.solves += solves
            for i, reply in zip(share.tolist(), replies, strict=True):
                best[i], found[i] = reply.bound, reply.plan
        for i, plan in enumerate(found):
            if plan is not None:
                cost, trade, injection = plan
                self.plans.owner.append(i)
                self.plans.cost.append(cost)
                self.plans.trade.append(trade)
                self.plans.injection.append(injection)
        return Replies(dual, best, float(best.sum()) + self.coupling.own_bound(dual))

    def answers(self, asked: list[tuple]) -> list[tuple[list[Reply], int]]:
        """What the processes answer, in their order."""
        waiting = [hand.ask(own) for hand, own in zip(self.hands, asked, strict=True)]
        return [future.result() for future in waiting]

    def begin(self, price: np.ndarray, pi: np.ndarray) -> list[Basis]:
        """Where the first solves start: at the best reply of the first prosumer with the same devices, as others are
        alike."""
        like: dict[tuple, Basis] = {}
        sizes = (lp.matrix.shape for lp in self.forms)  # as many devices
        kinds = [(size, p.battery_kw > 0) for size, p in zip(sizes, self.instance.prosumers, strict=True)]
        for kind in set(kinds):
            i = kinds.index(kind)
            lp = WarmLP(self.forms[i])
            lp.solve(priced(self.forms[i], price, pi[self.bus[i]]))
            like[kind] = lp.basis()
            self.solves += lp.solves
        return [like[kind] for kind in kinds]

    def paid(self, dual: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """What the mixed plans cost the prosumers at prices, $, (I,) (:eq:`eq-prosumer`)."""
        price, pi = self.coupling.prices(dual)
        cost, plans = np.zeros(len(self.forms)), self.plans
        for k in np.flatnonzero(weights > 0):
            i = plans.owner[k]
            sold = plans.trade[k] @ price + float((pi[self.bus[i]] * plans.injection[k]).sum())
            cost[i] += weights[k] * (plans.cost[k] - sold)
        return cost

    def mixture(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trade (I, T) and injection (I, T, S) of the mixed plans, kW."""
        days, plans = self.instance.days, self.plans
        trade = np.zeros((len(self.forms), days.n_hours))
        injection = np.zeros((len(self.forms), days.n_hours, days.n_days))
        for k in np.flatnonzero(weights > 0):
            trade[plans.owner[k]] += weights[k] * plans.trade[k]
            injection[plans.owner[k]] += weights[k] * plans.injection[k]
        return trade, injection

    def violated(self, injection: np.ndarray) -> tuple[Block, ...]:
        """Chance blocks without rows that the injections violate."""
        known, load = set(self.coupling.blocks), net_load(self.instance, injection)
        risks = self.network.block_risks(load, self.limits, VIOLATED_KW)
        hours = self.peak_hours(load.sum(axis=0), [block.hour for block in known if block.kind == PEAK])
        return (*hours, *(block for _, block in risks if block not in known))

    def peak_hours(self, head: np.ndarray, known: Sequence[int]) -> tuple[Block, ...]:
        """Where the design charges the common peak: the hours without rows that set it in some scenario, at the head's
        import, kW, (T, S)."""
        if not self.coupled_peak:
            return ()
        over = head > head[list(known)].max(axis=0, initial=0.0) + VIOLATED_KW
        top = head.argmax(axis=0)
        return tuple(Block(PEAK, 0, int(t)) for t in np.unique(top[over.any(axis=0)]))

    def carry(self, dual: np.ndarray, before: Coupling) -> np.ndarray:
        """Duals of a coupling whose blocks come first in the present one, zero at the rows that came since."""
        return np.append(dual, np.zeros(self.coupling.row_lower.size - before.row_lower.size))


def price_range(instance: Instance, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """P2P prices below which everybody buys and above which everybody sells, without network rows, $/kWh, (T,) each."""
    dearest = instance.retail.max(axis=1) + hourly(instance.rules, design) + design.peak
    return instance.feed_in.min(axis=1) - design.p2p / 2, dearest + design.p2p / 2


def house_prices(instance: Instance, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Prices at which the trading house buys and sells at worst, $/kWh, (T,) each: beyond those of the market."""
    low, high = price_range(instance, design)
    return low - MARGIN, high + MARGIN


def limits_of(instance: Instance, design: Design) -> dict[int, float]:
    """The capacity limits that hold, kW, by line position: a line that a design leaves out has the menu's largest."""
    largest = limits_by_position(instance, instance.menu.largest_limits)
    return largest | limits_by_position(instance, design.capacity)


def together(instance: Instance, design: Design, time_limit: float) -> tuple[tuple[Block, ...], np.ndarray, int]:
    """A small market as one LP, solved until no block without rows is violated: blocks, duals of the coupling and LP
    solves. Raises SolverError where time is up before."""
    market, start, solves = Market(instance, design, 1), time.perf_counter(), 0
    while True:
        found = solve_whole(
            instance, design, market.coupling.blocks, limit=max(0.0, time_limit - (time.perf_counter() - start))
        )
        solves += 1
        if not found.finished:
            raise SolverError(f"one LP of {len(instance.prosumers)} prosumers is not solved in {time_limit:g} s")
        violated = market.violated(found.injection)
        if not violated:
            return market.coupling.blocks, found.dual, solves
        market.couple((*market.coupling.blocks, *violated))


def clear(
    instance: Instance,
    design: Design,
    *,
    jobs: int = 1,
    time_limit: float = np.inf,
    progress: Callable[[str], None] | None = None,
) -> Clearing:
    """Clear a market by decomposition until no prosumer gains more than 1e-6 of its cost (:eq:`eq-equilibrium`).

    The prices asked are a mean of the master's and the best so far, so that they do not swing. A large market starts
    from the prices of one a tenth of its size, that one from a tenth again, until it is small enough for one LP. jobs:
    processes that share the prosumers, or workers of the Dask cluster that joblib is told to use.
    Raises SolverError where the prices do not settle, or not within ``time_limit`` seconds, looked at after each round;
    ValueError where trade is contingent on the scenario.
    """
    market = Market(instance, design, jobs)
    try:
        return _settled(market, jobs, time_limit, progress)
    finally:
        market.close()


def _settled(market: Market, jobs: int, time_limit: float, progress: Callable[[str], None] | None) -> Clearing:
    start, instance, design = time.perf_counter(), market.instance, market.design
    n, solves = len(instance.prosumers), 0
    if n >= FEWEST:
        few = thinned(instance, n // THIN)
        if n // THIN < FEWEST:
            blocks, dual, solves = together(few, design, time_limit)
        else:
            rough = clear(few, design, jobs=jobs, time_limit=time_limit, progress=progress)
            blocks, dual, solves = rough.blocks, rough.dual, rough.lp_solves
        market.couple(blocks)
    else:
        low, high = price_range(instance, design)
        peaks = len(market.coupling.blocks)  # hours that share its charge at first
        share = -design.coincident / max(1, peaks) * instance.days.probability
        dual = np.concatenate([(low + high) / 2, *[share] * peaks])
    center = market.ask(dual, None)
    hours, reach, pulled = instance.days.n_hours, NEAR if n >= FEWEST else np.inf, 0
    for step in range(1, ROUNDS):
        if time.perf_counter() - start > time_limit:
            raise SolverError(f"prices of {n} prosumers did not settle in {time_limit:g} s, {step - 1} rounds")
        market.house(center.dual[:hours], reach)
        cost, weights, dual, held = market.mix()
        asked = SMOOTH * center.dual + (1 - SMOOTH) * dual
        found = market.ask(asked, market.paid(asked, weights))
        pulled = pulled + 1 if held > HOUSE else 0
        if pulled and (pulled % PULLED == 0 or cost - found.bound <= 0.1 * GAIN * abs(cost)):
            reach *= 4  # the market's prices are not near these
        center = found if found.bound > center.bound else center
        paid = market.paid(center.dual, weights)
        relative = (paid - center.best) / gain_scale(paid, market.bill)
        done = relative.max() <= GAIN and held <= HOUSE
        if progress:
            progress(f"{n} prosumers, round {step}: cost {cost:.4f} $, bound {center.bound:.4f} $, largest relative "
                     f"gain {relative.max():.1e}, {time.perf_counter() - start:.0f} s")  # fmt: skip
        if not done and cost - center.bound > COARSE * abs(cost):
            continue
        trade, injection = market.mixture(weights)
        violated, before = market.violated(injection), market.coupling
        if violated:
            market.couple((*before.blocks, *violated))
            center = market.ask(market.carry(center.dual, before), np.full(n, -np.inf))
        elif done:
            price, pi = market.coupling.prices(center.dual)
            gain = paid - center.best
            rest = cost - center.bound - float(gain.sum())
            return Clearing(
                cost, center.bound, gain, relative, rest, price, pi, trade, injection,
                market.coupling.blocks, center.dual, solves + market.solves, step, len(weights),
                time.perf_counter() - start,
            )  # fmt: skip
    raise SolverError(f"prices of {n} prosumers did not settle in {ROUNDS} rounds: gain {relative.max():.2g}")
