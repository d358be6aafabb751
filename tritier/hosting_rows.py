"""Recourse of the hosting problem: one day's dispatch as rows ``G x + E(u) y + M u >= h``.

First stage y = (PV by site [kW], wind by site [kW], battery by site [kWh]). Recourse x = (cu, ch, dis, soc, up, dn by
site and hour, then one violation e per hour and one per group). Net load of a bus is positive when it draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from tritier.errors import InputError
from tritier.hosting_case import DayModel, HostingCase
from tritier.robust import Recourse

BLOCKS = ("cu", "ch", "dis", "soc", "up", "dn")


@dataclass
class Watch:
    """Network elements whose rows are in the program; it grows until the others are found idle."""

    line: set[int] = field(default_factory=set)
    high: set[int] = field(default_factory=set)
    low: set[int] = field(default_factory=set)
    substation: bool = True

    def add(self, other: Watch) -> bool:
        """Take over another watch list; True if anything was new."""
        new = not (other.line <= self.line and other.high <= self.high and other.low <= self.low)
        self.line |= other.line
        self.high |= other.high
        self.low |= other.low
        return new


class RowBook:
    """Rows of one day, collected as triples (over x, over y and u, right-hand side)."""

    def __init__(self, case: HostingCase, day: DayModel) -> None:
        self.case, self.day = case, day
        self.n, self.hours, self.factors = case.n_sites, case.n_hours, day.uncertainty.size
        self.size = self.n * self.hours
        self.groups = case.groups.shape[0]
        self.columns = len(BLOCKS) * self.size + self.hours + self.groups
        self.G, self.E, self.M, self.h, self.E_u = [], [], [], [], [[] for _ in range(self.factors)]
        self.equality: list[np.ndarray] = []
        self.identity = sp.identity(self.size, format="csr")
        outputs = [(day.pv, day.wind), *zip(day.pv_shift, day.wind_shift, strict=True)]
        self.power = [self.available(pv, wind) for pv, wind in outputs]  # mean, then one for each factor

    def over_x(self, **parts) -> sp.csr_matrix:
        """A matrix over x from its parts by block name; ``e`` over the hours, ``g`` over the groups."""
        height = next(iter(parts.values())).shape[0]
        names = (*BLOCKS, "e", "g")
        widths = [self.size] * len(BLOCKS) + [self.hours, self.groups]
        blocks = [parts.get(name, sp.csr_matrix((height, width))) for name, width in zip(names, widths, strict=True)]
        return sp.hstack(blocks, format="csr")

    def spread(self, values: np.ndarray) -> sp.csr_matrix:
        """Values (I, T) as a matrix (I T, I) that multiplies a site's capacity."""
        rows = np.arange(self.size)
        return sp.csr_matrix((values.ravel(), (rows, rows // self.hours)), shape=(self.size, self.n))

    def available(self, pv: np.ndarray, wind: np.ndarray) -> sp.csr_matrix:
        """Renewable power (I T) as a matrix over y from outputs per kW (I, T)."""
        return sp.hstack([self.spread(pv), self.spread(wind), sp.csr_matrix((self.size, self.n))], format="csr")

    def add(self, G, right, available=None, load=None, y=None, equality=False) -> None:
        """Rows ``G x + available . power(u, y) + load(u) + y-part >= right``.

        ``available`` (rows, I T) multiplies the renewable power; ``load`` is a function of (active, reactive) load
        arrays to (rows,), linear; ``y`` (rows, 3 I) is a part of the rows that u does not touch.
        """
        rows, day = G.shape[0], self.day
        E = sp.csr_matrix((rows, 3 * self.n)) if y is None else sp.csr_matrix(y)
        right = np.broadcast_to(np.asarray(right, dtype=float), rows).copy()
        M = np.zeros((rows, self.factors))
        if load is not None:
            right -= load(day.load, day.reactive)
            for k in range(self.factors):
                M[:, k] = load(day.load_shift[k], day.reactive_shift[k])
        shifts = [sp.csr_matrix((rows, 3 * self.n))] * self.factors
        if available is not None:
            E = E + available @ self.power[0]
            shifts = [available @ part for part in self.power[1:]]
        for parts, part in zip(self.E_u, shifts, strict=True):
            parts.append(part)
        self.G.append(G)
        self.E.append(E)
        self.M.append(sp.csr_matrix(M))
        self.h.append(right)
        self.equality.append(np.full(rows, equality))


def curtailment_rows(book: RowBook) -> None:
    """Curtailment stays below the power available, and below its share of each group's day
    :eq:`eq-hosting-curtailment`."""
    book.add(book.over_x(cu=-book.identity), 0.0, available=book.identity)
    day_sum = sp.kron(sp.csr_matrix(book.case.groups), np.ones((1, book.hours)), format="csr")
    violation = sp.identity(book.groups, format="csr")
    book.add(book.over_x(cu=-day_sum, g=violation), 0.0, available=book.case.curtail_share * day_sum)


def battery_rows(book: RowBook) -> None:
    """Power and energy limits and the cyclic state of charge :eq:`eq-hosting-battery`."""
    case = book.case
    energy = sp.hstack([sp.csr_matrix((book.size, 2 * book.n)), book.spread(np.ones((book.n, book.hours)))])
    book.add(book.over_x(ch=-book.identity), 0.0, y=energy / case.battery_hours)
    book.add(book.over_x(dis=-book.identity), 0.0, y=energy / case.battery_hours)
    book.add(book.over_x(soc=-book.identity), 0.0, y=energy)
    before = sp.kron(sp.identity(book.n), np.roll(np.eye(book.hours), -1, axis=1).T, format="csr")
    change = book.identity - before
    book.add(book.over_x(soc=change, ch=-case.eta * book.identity, dis=book.identity / case.eta), 0.0, equality=True)


def demand_rows(book: RowBook) -> None:
    """A share of each site's demand moves within its day; what is added equals what is taken
    :eq:`eq-hosting-demand`."""
    case = book.case

    def movable(load: np.ndarray, _reactive: np.ndarray) -> np.ndarray:
        return case.flexible * load[case.site].ravel()

    book.add(book.over_x(up=-book.identity), 0.0, load=movable)
    book.add(book.over_x(dn=-book.identity), 0.0, load=movable)
    total = sp.kron(sp.identity(book.n), np.ones((1, book.hours)), format="csr")
    book.add(book.over_x(up=total, dn=-total), 0.0, equality=True)


def own_use_rows(book: RowBook) -> None:
    """Charging and added demand use the group's renewable power, discharging serves the group's demand
    :eq:`eq-hosting-own-use`. Groups are single sites without P2P: then nobody buys to store or stores to sell."""
    case = book.case
    group = sp.kron(sp.csr_matrix(case.groups), sp.identity(book.hours), format="csr")

    def demand(load: np.ndarray, _reactive: np.ndarray) -> np.ndarray:
        return (case.groups @ load[case.site]).ravel()

    book.add(book.over_x(cu=-group, ch=-group, up=-group), 0.0, available=group)
    book.add(book.over_x(dis=-group, dn=-group), 0.0, load=demand)


def network_rows(book: RowBook, watch: Watch) -> None:
    """Flows and voltages of the watched elements :eq:`eq-hosting-network`, in kW; one violation per hour relaxes
    all."""
    case, grid = book.case, book.case.grid
    lines, high, low = sorted(watch.line), sorted(watch.high), sorted(watch.low)
    weights, limits, reactive = [], [], []

    def bound(row: np.ndarray, limit: np.ndarray, reactive_row: np.ndarray | None = None) -> None:
        """``limit - row . net load - reactive_row . reactive load >= -e``, rows over the buses."""
        weights.append(row)
        limits.append(np.broadcast_to(limit, book.hours))
        reactive.append(np.zeros_like(row) if reactive_row is None else reactive_row)

    if lines:
        limit = active_limits(case, book.day, grid.downstream[lines], case.feeder.rating_kva[lines], "line rating")
        for row, cap in zip(grid.downstream[lines], limit, strict=True):
            bound(row, cap)
            bound(-row, cap)
    if watch.substation and np.isfinite(case.substation_kva):
        total = np.ones((1, case.feeder.bus.size))
        cap = active_limits(case, book.day, total, np.array([case.substation_kva]), "substation rating")[0]
        bound(total[0], cap)
        bound(-total[0], cap)
    for bus in low:  # v0^2 - 2 (R p + X q) >= v_low^2, over 2 R_nn
        scale = 1.0 / grid.r_path[bus, bus]
        room = (grid.v_slack**2 - case.v_low[bus] ** 2) * scale / 2
        bound(grid.r_path[bus] * scale, room, grid.x_path[bus] * scale)
    for bus in high:  # v_high^2 >= v0^2 - 2 (R p + X q)
        scale = 1.0 / grid.r_path[bus, bus]
        room = (case.v_high[bus] ** 2 - grid.v_slack**2) * scale / 2
        bound(-grid.r_path[bus] * scale, room, -grid.x_path[bus] * scale)
    if not weights:
        return
    over_buses, over_reactive = np.array(weights), np.array(reactive)

    def load(active_load: np.ndarray, reactive_load: np.ndarray) -> np.ndarray:
        return -(over_buses @ active_load + over_reactive @ reactive_load).ravel()

    sites = sp.kron(over_buses[:, case.site], sp.identity(book.hours), format="csr")
    relax = sp.kron(np.ones((len(weights), 1)), sp.identity(book.hours), format="csr")
    book.add(
        book.over_x(cu=-sites, ch=-sites, dis=sites, up=-sites, dn=sites, e=relax),
        -np.concatenate(limits),
        available=sites,
        load=load,
    )


def active_limits(case, day: DayModel, downstream: np.ndarray, rating: np.ndarray, what: str) -> np.ndarray:
    """Active power (L, T) that fits beside the largest reactive flow of the set :eq:`eq-hosting-thermal`."""
    flow = downstream @ day.reactive
    shift = np.tensordot(downstream, day.reactive_shift, axes=(1, 1))  # (L, 2K, T)
    worst = np.abs(flow)
    if day.uncertainty.size:
        worst = np.maximum(largest(flow, shift, day.uncertainty.budget), largest(-flow, -shift, day.uncertainty.budget))
        worst = np.maximum(worst, 0.0)
    if (worst >= rating[:, None]).any():
        raise InputError("branch.csv", "rating_a", f"reactive load alone exceeds a {what}", "raise it or lower q_kvar")
    return np.sqrt(rating[:, None] ** 2 - worst**2)


def largest(flow: np.ndarray, shift: np.ndarray, budget: float) -> np.ndarray:
    """Largest value of ``flow + u . shift`` over a budget set, each entry apart: its dearest factors first."""
    pairs = shift.shape[1] // 2
    best = np.maximum(np.maximum(shift[:, :pairs], shift[:, pairs:]), 0.0)
    best = -np.sort(-best, axis=1)
    share = np.clip(budget - np.arange(pairs), 0.0, 1.0)
    return flow + np.einsum("lkt,k->lt", best, share)


def day_recourse(
    case: HostingCase, day: DayModel, watch: Watch, cost: np.ndarray, penalty: float, share_price=1.0
) -> Recourse:
    """The recourse of one day: dispatch at ``cost`` (over the six blocks), violated network limits at ``penalty``
    per kW, curtailment beyond its share at ``share_price`` times that per kWh."""
    book = RowBook(case, day)
    curtailment_rows(book)
    battery_rows(book)
    demand_rows(book)
    own_use_rows(book)
    network_rows(book, watch)
    G, E = sp.vstack(book.G, format="csr"), sp.vstack(book.E, format="csr")
    M, h = sp.vstack(book.M, format="csr"), np.concatenate(book.h)
    E_u = tuple(sp.vstack(parts, format="csr") for parts in book.E_u)
    price = np.r_[cost, np.full(book.hours, penalty), np.full(book.groups, penalty * share_price)]
    upper = recourse_boxes(case, day, book)
    top = np.r_[case.pv_limit, case.wind_limit, case.battery_high]
    positive = abs(E) + sum((abs(part) for part in E_u), start=sp.csr_matrix(E.shape))
    slack = abs(G) @ upper + positive @ top + abs(M) @ np.ones(book.factors) + abs(h)
    # a unit of net load changes the network rows of its hour by at most 1, priced at the penalty; batteries chain hours
    dual = np.full(h.size, 4.0 * max(penalty, np.max(abs(price))) / case.eta**2)
    return Recourse(price, G, E, M, h, np.concatenate(book.equality), day.uncertainty, upper, slack, dual, E_u)


def recourse_boxes(case: HostingCase, day: DayModel, book: RowBook) -> np.ndarray:
    """Boxes that no optimal dispatch touches: twice what the largest capacities and all factors together allow."""
    pv = day.pv + abs(day.pv_shift).sum(axis=0)
    wind = day.wind + abs(day.wind_shift).sum(axis=0)
    power = pv * case.pv_limit[:, None] + wind * case.wind_limit[:, None]
    load = day.load + abs(day.load_shift).sum(axis=0)
    battery = np.repeat(case.battery_high[:, None], book.hours, axis=1)
    moved = case.flexible * load[case.site]
    parts = [power, battery / case.battery_hours, battery / case.battery_hours, battery, moved, moved]
    total = power.sum() + load.sum() + battery.sum() + case.feeder.p_kw.sum()
    return np.r_[2.0 * np.concatenate([p.ravel() for p in parts]) + 1.0, np.full(book.hours + book.groups, 10 * total)]


def operating_cost(case: HostingCase, day: DayModel) -> np.ndarray:
    """Cost of the six blocks [$ per kW and hour] :eq:`eq-hosting-cost`: energy at wholesale, wear, moved demand."""
    price = np.broadcast_to(day.wholesale, (case.n_sites, case.n_hours)).ravel()
    wear = case.degradation
    return np.concatenate(
        [price, price + wear, wear - price, 0 * price, price + case.shift_cost / 2, case.shift_cost / 2 - price]
    )


def net_load(case: HostingCase, day: DayModel, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Net load of every bus (N, T) [kW] under capacities y and dispatch x."""
    n, hours = case.n_sites, case.n_hours
    pv, wind = y[:n, None] * day.pv, y[n : 2 * n, None] * day.wind
    cu, ch, dis, _, up, dn = x[: 6 * n * hours].reshape(6, n, hours)
    total = day.load.copy()
    total[case.site] += cu + ch - dis + up - dn - pv - wind
    return total


def violated(case: HostingCase, day: DayModel, net: np.ndarray, tolerance: float) -> tuple[Watch, float, float]:
    """Elements beyond their limits at net loads (N, T): the worst of each kind, the worst overload [kW] and voltage
    [p.u.]."""
    p_line, q_line = case.grid.flows(net), case.grid.flows(day.reactive)
    rating = case.feeder.rating_kva[:, None]
    over = np.abs(p_line) - np.sqrt(np.maximum(rating**2 - q_line**2, 0.0))
    v = np.sqrt(np.maximum(case.grid.squared_voltages(net, day.reactive), 0.0))
    above, below = v - case.v_high[:, None], case.v_low[:, None] - v
    above[0] = below[0] = -1.0
    scale = tolerance * 1e-4  # a volt limit is read to tolerance in kW over a short-circuit power of about 10 MVA
    watch = Watch(worst_elements(over, tolerance), worst_elements(above, scale), worst_elements(below, scale))
    total_q = day.reactive.sum(axis=0)
    transformer = np.abs(net.sum(axis=0)) - np.sqrt(np.maximum(case.substation_kva**2 - total_q**2, 0.0))
    worst_flow = max(float(over.max(initial=0.0)), float(transformer.max(initial=0.0)))
    return watch, worst_flow, float(max(above.max(initial=0.0), below.max(initial=0.0)))


def worst_elements(excess: np.ndarray, tolerance: float, count: int = 3) -> set[int]:
    """The few elements with the largest excess (K, T) beyond the tolerance: watching all would swell the program."""
    worst = excess.max(axis=1)
    return {int(k) for k in np.argsort(-worst)[:count] if worst[k] > tolerance}
