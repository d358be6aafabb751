"""Judged days, checked without the LP that made them: agent by agent at the day's own prices, then for society.

A day stands where, at its prices of net injection, no prosumer has a cheaper decision and the platform earns all that
its limits are worth. By weak duality this proves both the decisions and the prices. The multipliers of these small LPs,
one day each, leave a face of decisions that the agents are indifferent about; on it the day is the best for society.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from tritier.cases.decisions import Decisions
from tritier.cases.recourse import AHEAD, DayDecisions
from tritier.errors import CertificateError
from tritier.inputs.instance import Instance
from tritier.model.chance import VIOLATED_KW, Block, BlockForm, Network
from tritier.model.devices import Box, ProsumerData
from tritier.model.dso import charged_peak, loss_price, metered
from tritier.model.market import limits_by_position
from tritier.model.network import loss_gradient, losses_kw
from tritier.model.prosumer import (
    TRADE,
    all_data,
    column_names,
    cost_box,
    decisions_of,
    device_costs,
    export_box,
    import_box,
    meter_boxes,
    prosumer_boxes,
    prosumer_rows,
    representative,
)
from tritier.model.tariff import hourly, inside
from tritier.reformulation.lp import (
    ACTIVE,
    LPSolution,
    ParametricLP,
    Status,
    face_of,
    parametric_lp,
    primal_residual,
    safe_bound,
    solve_lp,
)

ROUNDS = 40  # of network rows and tangents before giving up
CLOSE = 5e-3  # $: how near its bound the least social cost of a day is known; tangents are added until it is
PLAIN = 4  # tangents at points of the LP itself before an interior point is asked for one: it takes twenty of them
SOCIAL = "social"  # column: what a prosumer's devices cost everybody, $, (W,)


@dataclass(frozen=True)
class DayCheck:
    """Judged days against what agents and society could have done.

    primal: largest violation of a private row or bound, or of the balance of trades by scenario; gain: what all agents
    of a day could gain, relative to what they pay, the day where it is largest in size, of either sign; society:
    expected social cost above the least among equals, $; bought: violations on record against those of the flows, kWh;
    prices: stored against what limits are worth, $/kWh.
    """

    primal: float
    gain: float
    society: float
    bought: float
    prices: float
    rent: np.ndarray


def check_days(day: DayDecisions, decisions: Decisions) -> DayCheck:
    """Whether stored days are feasible, optimal for every agent at their prices, and among equals best for society.

    Raises CertificateError where no multipliers of the policy's limits give the prices.
    """
    own, limits = PrivateSets(day, decisions), Limits(day, decisions)
    gains, above, prices, rent = [], [], [], []
    for w in range(day.instance.days.n_days):
        shadow = limits.shadow_prices(w)
        paid, found = own.best_reply(w, shadow.pi)
        gains.append((paid - found.objective + shadow.unearned) / max(1.0, abs(paid)))
        above.append(Society(own, limits, w, found, shadow).above_least())
        rent.append(limits.rent(w, shadow))
        prices.append(float(np.abs(shadow.pi - day.pi[..., w]).max()))
    unbalanced = max(float(np.abs(own.balance(w) @ own.x).max(initial=0)) for w in range(len(gains)))
    lowest = representative(all_data(day.instance), day.arrays)
    moved = max(float(np.abs(day[term] - value).max(initial=0)) for term, value in lowest.items())
    return DayCheck(
        primal=max(own.residual, moved, unbalanced),
        gain=float(max(gains, key=abs)),
        society=float(day.instance.days.probability @ above),
        bought=float(np.abs(limits.bought - day.bought).max(initial=0)),
        prices=max(prices),
        rent=np.array(rent),
    )


# Prosumers


def day_problem(d: ProsumerData, trades: dict[str, np.ndarray], prices: np.ndarray, name: str) -> ParametricLP:
    """The private feasible set of a prosumer on all judged days, its trades given, or free where none are: columns
    ``term[name]``, and what its devices cost as ``social[name]``. Risk is no matter of a day."""
    days, highest = d.shape[1], float(np.abs(d.retail).max() + np.abs(d.feed_in).max() + d.highest)
    money = 10 * (cost_box(d) + highest * sum(z.sum() for z in trades.values()))
    if trades:
        most = {"gp": import_box(d, trades["zs"]), "gm": export_box(d, trades["zb"])}
        # A trade is zero to rounding only, and so is what it leaves of a box.
        boxes: dict[str, Box] = {term: (np.zeros_like(upper), np.maximum(upper, 0)) for term, upper in most.items()}
    else:
        boxes = {term: prosumer_boxes(d)[term] for term in TRADE}
    boxes |= meter_boxes(d, boxes["gp"][1])
    for device in d.devices:
        boxes |= device.boxes()
    x: dict[str, Any] = dict(trades)
    for term, (lower, upper) in boxes.items():
        names = column_names(term, lower.shape, name)
        parts = [(lower, upper)] if lower.ndim < 3 else list(zip(lower, upper, strict=True))
        own = tuple(cp.Variable(a.shape, name=n, bounds=[a, b]) for n, (a, b) in zip(names, parts, strict=True))
        x[term] = own if lower.ndim == 3 else own[0]
    for term in ("cost", SOCIAL):
        x[term] = cp.Variable(days, name=f"{term}[{name}]", bounds=[np.full(days, -money), np.full(days, money)])
    risk = {"var": cp.Variable(), "excess": cp.Variable(days)}
    rows = [row for row in prosumer_rows(d, x | risk, prices) if not row.label.startswith("cvar_rows")]
    costs = x[SOCIAL] == sum(device_costs(d, x).values(), 0 * x["cost"])
    return parametric_lp(cp.Problem(cp.Minimize(cp.sum(x["cost"])), [*(r.constraint() for r in rows), costs]), {})


class PrivateSets:
    """The private feasible sets of all prosumers, side by side, and where stored days lie in them; ``imports`` are the
    columns of what is imported, ``drawn`` those of all that draws on the bus (sign 1) or feeds it (-1), each
    (I, T, W)."""

    def __init__(self, day: DayDecisions, decisions: Decisions) -> None:
        self.day, self.design = day, decisions.design
        data = all_data(day.instance)
        trades = [{term: day[term][i] for term in AHEAD if day.price is None} for i in range(len(data))]
        prices = self.design.prices
        parts = [day_problem(d, z, prices, str(i)) for i, (d, z) in enumerate(zip(data, trades, strict=True))]
        first = np.cumsum([0, *(part.cost.size for part in parts)])
        self.columns = {n: (a + at, shape) for part, at in zip(parts, first, strict=False)
                        for n, (a, shape) in part.columns.items()}  # fmt: skip
        matrix = sp.csr_array(sp.block_diag([part.matrix for part in parts]))
        sides = {name: np.concatenate([getattr(part, name) for part in parts])
                 for name in ("cost", "row_lower", "row_upper", "col_lower", "col_upper")}  # fmt: skip
        self.lp = ParametricLP(matrix=matrix, columns=self.columns, rows={}, **sides)
        self.x, self.on_day = np.zeros(first[-1]), np.full(first[-1], -1)
        for i, d in enumerate(data):
            self._place(d, i)
        signs = {"gp": 1.0, "gm": -1.0} | ({} if day.price is None else {"zb": 1.0, "zs": -1.0})
        self.drawn = {term: (sign, np.array([self.at(term, i) for i in range(len(data))]))
                      for term, sign in signs.items()}  # fmt: skip
        self.imports = self.drawn["gp"][1]
        last = np.maximum.reduceat(self.on_day[matrix.indices], matrix.indptr[:-1])
        if (np.minimum.reduceat(self.on_day[matrix.indices], matrix.indptr[:-1]) != last).any():
            raise ValueError("a private row joins two days")
        self.row_day = last

    def at(self, term: str, i: int) -> np.ndarray:
        return self.lp.at(f"{term}[{i}]")

    def _place(self, d: ProsumerData, i: int) -> None:
        """Put the stored decisions of a prosumer into the point, and note the day of each column."""
        stored = decisions_of(d, self.day.arrays, i)
        stored[SOCIAL] = sum(device_costs(d, stored).values(), np.zeros(d.shape[1]))
        for term in stored:
            value = np.asarray(stored[term])
            names = column_names(term, value.shape, str(i))
            for name, part in zip(names, [value] if value.ndim < 3 else value, strict=True):
                if name in self.columns:
                    at = self.lp.at(name)
                    self.x[at] = part
                    self.on_day[at] = np.arange(at.shape[-1])

    @cached_property
    def residual(self) -> float:
        """Largest violation of a private row or bound by the stored days."""
        return primal_residual(self.lp, self.x)

    def of_day(self, w: int) -> tuple[ParametricLP, np.ndarray]:
        """The sets on one day, and which columns of all they take."""
        columns, rows = np.flatnonzero(self.on_day == w), np.flatnonzero(self.row_day == w)
        lp = self.lp
        return ParametricLP(
            np.zeros(columns.size), lp.matrix[rows][:, columns], lp.row_lower[rows], lp.row_upper[rows],
            lp.col_lower[columns], lp.col_upper[columns], {}, {},
        ), columns  # fmt: skip

    def exchange(self, w: int, value: np.ndarray) -> np.ndarray:
        """A vector over all columns: a value per kWh drawn from the bus by every prosumer in every hour, (I, T), the
        opposite for what feeds it, on day ``w``."""
        c = np.zeros(self.x.size)
        for sign, at in self.drawn.values():
            c[at[..., w]] = sign * value
        return c

    def balance(self, w: int) -> sp.csr_array:
        """Rows over all columns: what is bought less what is sold P2P in every hour of a day, (T, n); none where trades
        are given."""
        if self.day.price is None:
            return sp.csr_array((0, self.x.size))
        people, hours = self.imports.shape[:2]
        signs, parts = zip(*(self.drawn[term] for term in AHEAD), strict=True)
        columns = np.concatenate([at[..., w].ravel() for at in parts])
        rows = np.tile(np.arange(hours), people * len(parts))
        return sp.csr_array((np.repeat(signs, people * hours), (rows, columns)), shape=(hours, self.x.size))

    def best_reply(self, w: int, pi: np.ndarray) -> tuple[float, LPSolution]:
        """What all prosumers pay on a day at given prices of net injection, (N, T), $, and the least they could, as a
        safe bound in the solution's place of the objective. Standing trades are the same in both and left out; others
        are paid at the day's P2P price."""
        rules, bus = self.day.instance.rules, self.day.instance.prosumer_bus
        c = self.exchange(w, pi[bus])
        if self.day.price is not None:
            for sign, at in (self.drawn[term] for term in AHEAD):
                c[at[..., w]] += sign * self.day.price[:, w] + self.design.p2p / 2
        billed_inside = bool(inside(rules).any())  # then charges are part of the cost
        for i in range(bus.size):
            c[self.at("cost", i)[w]] = 1.0
            if not billed_inside:
                c[self.imports[i, :, w]] += hourly(rules, self.design)
                if f"gk[{i}]" in self.columns:
                    c[self.at("gk", i)[w]] = self.design.peak
        lp, columns = self.of_day(w)
        cost = c[columns]
        found = solve_lp(cost, lp.matrix, lp.row_lower, lp.row_upper, lp.col_lower, lp.col_upper)
        if found.status != Status.OPTIMAL:
            raise CertificateError("days.best_reply", 1.0, 0.0, f"the private sets of day {w} are {found.status}")
        return float(cost @ self.x[columns]), replaced(found, safe_bound(lp, cost, found.y))


def replaced(found: LPSolution, objective: float) -> LPSolution:
    """A solution with its safe bound for the objective."""
    return LPSolution(found.x, found.y, found.reduced, objective, found.iterations)


# The platform


@dataclass(frozen=True, eq=False)
class Limit:
    """A network limit as a policy sees it: a violation costs ``price`` $/kWh, or, where a ``pool`` is named,
    $/kW of the largest in it on the day."""

    block: Block
    form: BlockForm
    price: float
    cap: float
    pool: str | None = None

    @property
    def key(self) -> object:
        """What its price caps the multipliers of: itself, or its pool."""
        return self if self.pool is None else self.pool

    def sides(self, w: int) -> np.ndarray:
        """What gradient times net load may reach at no cost, kW, (K,)."""
        return self.form.limit[:, w] + self.cap


@dataclass(frozen=True, eq=False)
class ShadowPrices:
    """What limits are worth on a day: a multiplier per row, the prices (N, T) that these give, $/kWh, and what the
    platform leaves unearned at them, $."""

    multipliers: dict[Limit, np.ndarray]
    pi: np.ndarray
    unearned: float


class Limits:
    """The network limits of judged days under their policy."""

    def __init__(self, day: DayDecisions, decisions: Decisions) -> None:
        self.day, self.load = day, day.net_load
        self.network = Network(day.instance)
        self.all = tuple(self._priced(decisions))

    def _priced(self, decisions: Decisions) -> Iterator[Limit]:
        instance, rules = self.day.instance, self.day.instance.rules
        caps = limits_by_position(instance, decisions.design.capacity)
        if self.day.policy != "network-blind":
            for block in self._blocks(caps if self.day.policy == "market policy" else {}):
                form = self.network.form(block)
                if block.kind == "capacity":
                    assert rules.excess_price is not None, "the demand charge where none is given"
                    yield Limit(block, form, rules.excess_price, form.offered(caps), f"line {form.capacity}")
                else:
                    yield Limit(block, form, rules.violation_price, 0.0)

        if decisions.design.coincident:  # the platform is charged for the head's peak, a flow beyond 0
            buses, nothing = np.ones((1, self.load.shape[0])), np.zeros((1, self.load.shape[-1]))
            for hour in range(self.load.shape[1]):
                form = BlockForm(buses, nothing, None)
                yield Limit(Block("peak", 0, hour), form, decisions.design.coincident, 0.0, "peak")

    def _blocks(self, caps: Mapping[int, float]) -> Iterator[Block]:
        feeder = self.day.instance.feeder
        rated = np.flatnonzero(np.isfinite(feeder.rating_kva)).tolist()
        places = {"voltage_low": range(1, feeder.bus.size), "voltage_high": range(1, feeder.bus.size)}
        for kind, where in (places | {"rating": rated, "capacity": sorted(caps)}).items():
            for place in where:
                yield from (Block(kind, place, hour) for hour in range(self.day.instance.days.n_hours))

    @cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of all limits' rows, one below the other: gradients (K, N), hours (K,), sides on every day (K, W), and where
        each limit's begin."""
        first = np.cumsum([0, *(limit.form.gradient.shape[0] for limit in self.all)])
        hour = np.repeat([limit.block.hour for limit in self.all], np.diff(first))
        sides = np.vstack([limit.form.limit + limit.cap for limit in self.all])
        return np.vstack([limit.form.gradient for limit in self.all]), hour, sides, first[:-1]

    def beyond(self, w: int, load: np.ndarray) -> np.ndarray:
        """By how much net loads (N, T) on a day exceed each limit, kW, below zero where they keep it."""
        if not self.all:
            return np.zeros(0)
        gradient, hour, sides, first = self._rows
        return np.maximum.reduceat(np.einsum("kn,nk->k", gradient, load[:, hour]) - sides[:, w], first)

    def violation(self, limit: Limit) -> np.ndarray:
        """Violation of a limit on every day, kW, (W,), at least 0."""
        flow = limit.form.gradient @ self.load[:, limit.block.hour]
        return np.maximum((flow - limit.form.limit).max(axis=0) - limit.cap, 0.0)

    @cached_property
    def violations(self) -> dict[Limit, np.ndarray]:
        """Those that are violated on some day, with the violation, kW, (W,)."""
        found = {limit: self.violation(limit) for limit in self.all}
        return {limit: value for limit, value in found.items() if value.max() > VIOLATED_KW}

    @cached_property
    def bought(self) -> np.ndarray:
        """Violations of a day at a price of their own, kWh, (W,)."""
        return sum((v for limit, v in self.violations.items() if limit.pool is None), np.zeros(self.load.shape[-1]))

    def excess(self, w: int) -> dict[str, float]:
        """Largest violation of each pool on a day, kW."""
        found: dict[str, float] = {}
        for limit, value in self.violations.items():
            if limit.pool is not None:
                found[limit.pool] = max(found.get(limit.pool, 0.0), value[w])
        return found

    def shadow_prices(self, w: int) -> ShadowPrices:
        """Multipliers that give the day's prices at the least worth of the limits.

        Raises CertificateError where there are none.
        """
        pi = self.day.pi[..., w]
        hours = np.flatnonzero(np.abs(pi).max(axis=0) > 0).tolist()
        held = [limit for limit in self.all if limit.block.hour in hours]
        if not hours:
            return ShadowPrices({}, np.zeros_like(pi), self._unearned(w, {}))
        if not held:
            raise CertificateError("days.prices", float(np.abs(pi).max()), 0.0, f"day {w} knows no limits to be priced")
        found = self._multipliers(w, held, hours)
        again = np.zeros_like(pi)
        for limit, nu in found.items():
            again[:, limit.block.hour] += nu @ limit.form.gradient
        return ShadowPrices(found, again, self._unearned(w, found))

    def _multipliers(self, w: int, held: list[Limit], hours: list[int]) -> dict[Limit, np.ndarray]:
        buses, signs = self.load.shape[0], [limit.form.gradient.shape[0] for limit in held]
        gradient = np.vstack([np.zeros((0, buses)), *(limit.form.gradient for limit in held)])  # (multipliers, N)
        column = np.arange(len(gradient))
        hour = np.repeat([hours.index(limit.block.hour) for limit in held], signs).astype(int)
        row = hour[:, None] * buses + np.arange(buses)
        at = (row.ravel(), np.repeat(column, buses))
        posted = sp.csr_array((gradient.ravel(), at), shape=(buses * len(hours), column.size))
        most = {limit.key: limit.price for limit in reversed(held)}  # of a pool, the price of its first limit
        place = {pool: k for k, pool in enumerate(most)}
        key = np.repeat([place[limit.key] for limit in held], signs).astype(int)
        capped = sp.csr_array((np.ones(column.size), (key, column)), shape=(len(place), column.size))
        level, first = self.day.pi[:, hours, w].T.ravel(), np.cumsum([0, *signs])
        found = solve_lp(
            np.concatenate([limit.sides(w) for limit in held]) if held else np.zeros(0),
            sp.csr_array(sp.vstack([posted, capped])),
            np.concatenate([level, np.full(len(most), -np.inf)]),
            np.concatenate([level, list(most.values())]),
            np.zeros(column.size),
            np.repeat([limit.price for limit in held], signs),
        )
        if found.status != Status.OPTIMAL:
            raise CertificateError("days.prices", 1.0, 0.0, f"no multipliers of limits give the prices of day {w}")
        nu = np.maximum(found.x, 0.0)
        return {limit: nu[a:b] for limit, a, b in zip(held, first, first[1:], strict=False) if nu[a:b].any()}

    def rent(self, w: int, shadow: ShadowPrices) -> float:
        """What the limits are worth and violations are paid for, $; for the head's peak the platform only pays."""
        at_limits = sum(float(nu @ limit.sides(w)) for limit, nu in shadow.multipliers.items())
        return at_limits + self._violations_paid(w, peak=False)

    def _violations_paid(self, w: int, peak: bool) -> float:
        """What violations of a day cost the agents, $, with the charge on the head's peak or without."""
        paid = sum(limit.price * v[w] for limit, v in self.violations.items() if limit.pool is None)
        price = {limit.pool: limit.price for limit in self.all if peak or limit.pool != "peak"}
        return paid + sum(price[pool] * most for pool, most in self.excess(w).items() if pool in price)

    def _unearned(self, w: int, multipliers: dict[Limit, np.ndarray]) -> float:
        """What the limits are worth beyond what the platform earns with the day's flows, less what it pays for
        violations, $: a sum of products of slack and multiplier."""
        left = 0.0
        for limit, nu in multipliers.items():
            left += float(nu @ (limit.sides(w) - limit.form.gradient @ self.load[:, limit.block.hour, w]))
        return left + self._violations_paid(w, peak=True)


# Society


class Society:
    """Least social cost of a day among the decisions that no agent minds (:eq:`eq-social-cost`).

    Losses are convex, so tangents at the stored flows bound them from below. Where the stored day is not seen to be the
    best by these alone, tangents are added where that LP has its least, and after a few of them at the least of the
    convex program, as an interior point finds it. The bound remains that of an LP, so nothing hangs on how exact
    that point is.
    """

    def __init__(self, own: PrivateSets, limits: Limits, w: int, found: LPSolution, shadow: ShadowPrices) -> None:
        self.own, self.limits, self.w, self.shadow = own, limits, w, shadow
        self.instance: Instance = own.day.instance
        lp, self.columns = own.of_day(w)
        self.lp = self._balanced(face_of(lp, found.reduced, found.y))
        self.stored = own.x[self.columns]
        self.loss, self.tangents = self._losses(limits.load[..., w]), [limits.load[..., w]]
        self.cost, self.drawn = self._cost(), self._drawn()

    def _balanced(self, lp: ParametricLP) -> ParametricLP:
        """The prosumers' choices whose trades balance in every hour of the day."""
        rows = self.own.balance(self.w)[:, self.columns]
        none = np.zeros(rows.shape[0])
        return replace(
            lp,
            matrix=sp.csr_array(sp.vstack([lp.matrix, rows])),
            row_lower=np.concatenate([lp.row_lower, none]),
            row_upper=np.concatenate([lp.row_upper, none]),
        )

    def _losses(self, load: np.ndarray) -> np.ndarray:
        """Losses of every hour at net loads (N, T), kW, (T,)."""
        network = self.limits.network
        return losses_kw(network.matrices.flows(load), network.reactive_flow[..., self.w], self.instance.feeder)

    def _cost(self) -> np.ndarray:
        """Social cost but losses and peak per unit of every column: wholesale of exchanges, costs of devices."""
        bus = self.instance.prosumer_bus
        wholesale = np.broadcast_to(self.instance.days.wholesale[:, self.w], (bus.size, self.instance.days.n_hours))
        c = self.own.exchange(self.w, wholesale)
        for i in range(bus.size):
            c[self.own.at(SOCIAL, i)[self.w]] = 1.0
        return c[self.columns]

    def above_least(self) -> float:
        """Social cost of the stored day above the least, $; of either sign."""
        instance, load = self.instance, self.limits.load[..., self.w]
        peak = float(charged_peak(instance, load.sum(axis=0), self.loss))
        price, charge = loss_price(instance)[:, self.w], instance.rules.demand_charge
        stored = float(self.cost @ self.stored + price @ self.loss) + charge * peak
        held = list(self.shadow.multipliers) + [b for b, v in self.limits.violations.items() if v[self.w] > VIOLATED_KW]
        held = list(dict.fromkeys(held))
        reached = stored  # by points known: where the bound is so near, no tangent moves it further
        for _ in range(ROUNDS):
            lp = self._lp(held)
            least, point = self._least(lp)
            if fresh := self._violated(point, held):
                held, reached = held + fresh, stored
                continue
            if reached - least <= CLOSE:
                return stored - least
            if len(self.tangents) <= PLAIN:
                self.tangents.append(self._load(point))
                continue
            best = self._minimiser(lp)
            reached = min(reached, float(lp.cost @ best))
            self.tangents += [self._load(point), self._load(best)]
        raise CertificateError("days.society", len(held), 0.0, f"rows and tangents of day {self.w} come without an end")

    def _least(self, lp: ParametricLP) -> tuple[float, np.ndarray]:
        """Least social cost of :func:`_lp` as a safe bound, $, and its point."""
        found = solve_lp(lp.cost, lp.matrix, lp.row_lower, lp.row_upper, lp.col_lower, lp.col_upper)
        if found.status != Status.OPTIMAL:
            raise CertificateError("days.society", 1.0, 0.0, f"the agents' choices of day {self.w} are {found.status}")
        return safe_bound(lp, lp.cost, found.y), found.x

    def _minimiser(self, lp: ParametricLP) -> np.ndarray:
        """Where the social cost with the losses themselves is least, by an interior point, for a tangent there.

        The method knows an interior only: what the face fixes is put in, and a row that it closes is an equation.
        """
        hours, first = self.loss.size, lp.cost.size - self.loss.size  # the column of the first hour's losses
        free = np.flatnonzero(lp.col_lower < lp.col_upper)
        chosen = cp.Variable(free.size)
        known = np.where(lp.col_lower < lp.col_upper, 0.0, lp.col_lower)
        z = sp.csr_array((np.ones(free.size), (free, np.arange(free.size))), (known.size, free.size)) @ chosen + known
        own, fixed = sp.csr_array(lp.matrix)[:, free], lp.matrix @ known
        left = np.diff(own.indptr) > 0
        equal = left & (lp.row_lower == lp.row_upper)
        below, above = (left & ~equal & np.isfinite(side) for side in (lp.row_lower, lp.row_upper))
        rows = [
            chosen >= lp.col_lower[free],
            chosen <= lp.col_upper[free],
            own[equal] @ chosen == (lp.row_lower - fixed)[equal],
            own[below] @ chosen >= (lp.row_lower - fixed)[below],
            own[above] @ chosen <= (lp.row_upper - fixed)[above],
        ]
        drawn = self.drawn @ (z[: self.columns.size] - self.stored)
        rotated, per_kw, rest = self._rotated_flows()
        for t in range(hours):
            rows.append(cp.sum_squares(rotated[:, t] + per_kw @ drawn[t::hours]) <= z[first + t] - rest[t])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Solution may be inaccurate")
            cp.Problem(cp.Minimize(lp.cost @ z), rows).solve(solver=cp.CLARABEL)
        if z.value is None:
            raise CertificateError("days.society", 1.0, 0.0, f"no interior point for day {self.w}")
        return np.asarray(z.value)

    def _rotated_flows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses as sums of squares with as many terms as prosumers: those that the stored flows give, (I, T), what a
        kW drawn by each prosumer adds to them, (I, I), and the losses that no prosumer can change, kW, (T,)."""
        feeder, network = self.instance.feeder, self.limits.network
        root = np.sqrt(feeder.r_ohm / feeder.z_base_ohm)[:, None]
        flow = root * network.matrices.flows(self.limits.load[..., self.w])
        reactive = root * network.reactive_flow[..., self.w]
        by_bus = network.matrices.flows(np.eye(feeder.bus.size))
        turn, per_kw = np.linalg.qr(root * by_bus[:, self.instance.prosumer_bus])
        rotated = turn.T @ flow
        return rotated, per_kw, ((flow - turn @ rotated) ** 2 + reactive**2).sum(axis=0)

    def _lp(self, held: list[Limit]) -> ParametricLP:
        """Social cost over the day's columns, the slacks of the given network limits, the peak and the losses (T,)."""
        n, instance, hours = self.columns.size, self.instance, self.instance.days.n_hours
        rows, upper, lower, price = self._network_rows(held)
        slacks = rows.shape[1] - n
        load = self.limits.load[..., self.w].sum(axis=0)
        head = sp.csr_array((np.ones(self.drawn.shape[0]), self._hours())) @ self.drawn
        lossy, side = self._tangent_rows()
        first, hour = np.cumsum([0, self.lp.matrix.shape[0], rows.shape[0], hours]), np.arange(hours)
        peak, loss = n + slacks, n + slacks + 1 + hour  # columns
        parts = [(part.tocoo(), top) for part, top in zip((self.lp.matrix, rows, head, lossy), first, strict=True)]
        entries = [(part.data, top + part.row, part.col) for part, top in parts]
        entries.append((np.full(hours, -1.0), first[2] + hour, np.full(hours, peak)))
        entries.append((np.full(hours, metered(instance, 0.0, 1.0)), first[2] + hour, loss))
        entries.append((np.full(side.size, -1.0), first[3] + np.arange(side.size), np.tile(loss, len(self.tangents))))
        value, row, column = (np.concatenate(part) for part in zip(*entries, strict=True))
        shape = (int(first[3]) + side.size, n + slacks + 1 + hours)
        most = 1e3 + 10 * np.abs(self.limits.load).sum(axis=0).max()
        charges = [np.zeros(slacks), [instance.rules.demand_charge], loss_price(instance)[:, self.w]]
        return ParametricLP(
            np.concatenate([self.cost, *charges]),
            sp.csr_array((value, (row, column)), shape=shape),
            np.concatenate([self.lp.row_lower, lower, np.full(hours + side.size, -np.inf)]),
            np.concatenate([self.lp.row_upper, upper, head @ self.stored - load, side]),
            np.concatenate([self.lp.col_lower, np.zeros(slacks + 1 + hours)]),
            np.concatenate([self.lp.col_upper, np.where(price, most, 0.0), np.full(1 + hours, most)]),
            {}, {},
        )  # fmt: skip

    def _drawn(self) -> sp.csr_array:
        """Rows over the day's columns: what each prosumer draws in each hour, (I T, n)."""
        size, n = self.instance.prosumer_bus.size * self.instance.days.n_hours, self.columns.size
        place = np.full(self.own.x.size, -1)
        place[self.columns] = np.arange(n)
        signs, parts = zip(*self.own.drawn.values(), strict=True)
        columns = np.concatenate([place[of[..., self.w].ravel()] for of in parts])
        values, rows = np.repeat(signs, size), np.tile(np.arange(size), len(parts))
        return sp.csr_array((values, (rows, columns)), shape=(size, n))

    def _hours(self) -> tuple[np.ndarray, np.ndarray]:
        """The hour of every row of what prosumers draw, and the rows."""
        people, hours = self.instance.prosumer_bus.size, self.instance.days.n_hours
        return np.tile(np.arange(hours), people), np.arange(people * hours)

    def _tangent_rows(self) -> tuple[sp.csr_array, np.ndarray]:
        """Tangents of the losses of every hour at the flows kept, over the day's columns, and their sides."""
        matrices, bus, rows, sides = self.limits.network.matrices, self.instance.prosumer_bus, [], []
        base, at = self.limits.load[..., self.w], self._hours()
        for load in self.tangents:
            slope = matrices.downstream.T @ loss_gradient(matrices.flows(load), self.instance.feeder)  # (N, T)
            rows.append(sp.csr_array((slope[bus].ravel(), at)) @ self.drawn)
            sides.append(rows[-1] @ self.stored + (slope * (load - base)).sum(axis=0) - self._losses(load))
        return sp.csr_array(sp.vstack(rows)), np.concatenate(sides)

    def _load(self, point: np.ndarray) -> np.ndarray:
        """Net load of every bus at a point of the day, kW, (N, T)."""
        load, moved = self.limits.load[..., self.w].copy(), np.zeros(self.own.x.size)
        moved[self.columns] = point[: self.columns.size] - self.stored
        for i, bus in enumerate(self.instance.prosumer_bus):
            load[bus] += sum(sign * moved[at[i, :, self.w]] for sign, at in self.own.drawn.values())
        return load

    def _network_rows(self, held: list[Limit]) -> tuple[sp.csr_array, np.ndarray, np.ndarray, np.ndarray]:
        """Rows of network limits over the day's columns and their slacks, upper and lower sides, and which slacks may
        be used: a limit whose multipliers fall short of its price is not exceeded, one with a multiplier is reached."""
        bus, t_all = self.instance.prosumer_bus, self.instance.days.n_hours
        own = self.stored
        rows: list[tuple[np.ndarray, int]] = []
        upper, lower, left = [], [], []  # type: list[float], list[float], list[float]
        keys: dict[object, int] = {}
        for limit in held:
            nu = self.shadow.multipliers.get(limit, np.zeros(limit.form.limit.shape[0]))
            key = keys.setdefault(limit.key, len(keys))
            left += [limit.price] if key == len(left) else []
            left[key] -= nu.sum()
            load = self.limits.load[:, limit.block.hour, self.w]
            for gradient, multiplier, side in zip(limit.form.gradient, nu, limit.sides(self.w), strict=True):
                value = np.zeros((bus.size, t_all))
                value[:, limit.block.hour] = gradient[bus]
                row = self.own.exchange(self.w, value)[self.columns]
                rows.append((row, key))
                upper.append(side - gradient @ load + row @ own)
                lower.append(upper[-1] if multiplier > ACTIVE else -np.inf)
        if not rows:
            return sp.csr_array((0, own.size)), np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool)
        slack = sp.csr_array((-np.ones(len(rows)), (np.arange(len(rows)), [key for _, key in rows])))
        matrix = sp.hstack([sp.csr_array(np.array([row for row, _ in rows])), slack]).tocsr()
        return matrix, np.array(upper), np.array(lower), np.array(left) <= ACTIVE

    def _violated(self, point: np.ndarray, held: list[Limit]) -> list[Limit]:
        """Limits without rows that a point of the day violates."""
        w, load = self.w, self._load(point)
        known, beyond = set(held), self.limits.beyond(w, load)
        return [self.limits.all[k] for k in np.flatnonzero(beyond > VIOLATED_KW) if self.limits.all[k] not in known]
