"""Recourse of the hosting problem: one day's dispatch as rows ``G x + E(u) y + M u >= h``.

First stage y = (PV by site [kW], wind by site [kW], battery by site [kWh]). Recourse x = (cu, ch, dis, soc, up, dn by
site and hour, and three more for each kind of load that may wait, then one violation e per hour and one per group).
Net load of a bus is positive when it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from tritier.errors import InputError
from tritier.hosting.case import WAITING, DayModel, HostingCase, Loads
from tritier.hosting.robust import Recourse, largest
from tritier.model.devices import backlog_limit

# LinDistFlow limits of the hosting problem: how far net loads are beyond them, and which elements to watch.


#: A voltage limit is read to this many p.u. per kW of tolerance: a short-circuit power of about 10 MVA.
VOLT_PER_KW = 1e-4
# A right-hand side of some rows by day, and what a row takes from loads.
Right = Callable[[DayModel], np.ndarray]
OfLoad = Callable[[Loads], np.ndarray]


WATCHED = ("line", "high", "low")  # kinds of elements


@dataclass
class Watch:
    """Network elements whose rows are in the program; it grows until the others are found idle."""

    line: set[int] = field(default_factory=set)
    high: set[int] = field(default_factory=set)
    low: set[int] = field(default_factory=set)
    substation: bool = True

    @classmethod
    def of(cls, elements: Mapping[str, Iterable[int]], substation: bool = True) -> Watch:
        """A list from the elements of each kind, as a file holds them."""
        line, high, low = ({int(k) for k in elements[kind]} for kind in WATCHED)
        return cls(line, high, low, substation)

    def copy(self) -> Watch:
        """A list of its own that may grow apart."""
        return Watch(set(self.line), set(self.high), set(self.low), self.substation)

    def add(self, other: Watch) -> bool:
        """Take over another watch list; True if anything was new."""
        new = not (other.line <= self.line and other.high <= self.high and other.low <= self.low)
        self.line |= other.line
        self.high |= other.high
        self.low |= other.low
        return new


@dataclass(frozen=True, eq=False)
class Excess:
    """How far net loads are beyond the limits (negative: within): lines (L, T, ...) and transformer (T, ...) [kW],
    voltages above and below (N, T, ...) [p.u.]."""

    line: np.ndarray
    transformer: np.ndarray
    above: np.ndarray
    below: np.ndarray

    def at(self, k: int) -> Excess:
        """The excess of entry k of the last axis."""
        return Excess(self.line[..., k], self.transformer[..., k], self.above[..., k], self.below[..., k])

    @property
    def overload_kw(self) -> np.ndarray:
        return np.maximum(self.line.max(axis=(0, 1), initial=0.0), self.transformer.max(axis=0))

    @property
    def voltage_pu(self) -> np.ndarray:
        return np.maximum(self.above, self.below).max(axis=(0, 1), initial=0.0)


def excess(case: HostingCase, net: np.ndarray, reactive: np.ndarray) -> Excess:
    """LinDistFlow at net loads and reactive loads (N, T, ...) against every limit of the feeder, its lines charged."""
    more = (np.newaxis,) * (net.ndim - 1)
    rating = case.feeder.rating_kva[:, *more]
    q_line, q_total = case.grid.reactive_flows(reactive), case.grid.charged(reactive).sum(axis=0)
    line = np.abs(case.grid.flows(net)) - np.sqrt(np.maximum(rating**2 - q_line**2, 0.0))
    transformer = np.abs(net.sum(axis=0)) - np.sqrt(np.maximum(case.substation_kva**2 - q_total**2, 0.0))
    v = np.sqrt(np.maximum(case.grid.squared_voltages(net, reactive), 0.0))
    above, below = v - case.v_high[:, *more], case.v_low[:, *more] - v
    above[0] = below[0] = -1.0
    return Excess(line, transformer, above, below)


def broken(found: Excess, tolerance: float) -> Watch:
    """The worst elements of each kind beyond the tolerance [kW], of :func:`excess` (K, T)."""
    volt = tolerance * VOLT_PER_KW
    return Watch(
        worst_elements(found.line, tolerance), worst_elements(found.above, volt), worst_elements(found.below, volt)
    )


def worst_elements(excess: np.ndarray, tolerance: float, count: int = 8) -> set[int]:
    """The few elements with the largest excess (K, T) beyond the tolerance: watching all would swell the program."""
    worst = excess.max(axis=1)
    return {int(k) for k in np.argsort(-worst)[:count] if worst[k] > tolerance}


# Boxes of a day's dispatch and of its multipliers, derived from the data: what KKT and dual adversaries need.


def primal_boxes(
    book: RowBook, G: sp.csr_matrix, E: sp.csr_matrix, E_u: Sequence[sp.csr_matrix], M: sp.csr_matrix, h: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that no optimal dispatch touches, (m,), and how far a row can be from its right-hand side, (r,).

    All blocks are capped by rows: the boxes are twice these caps, at the largest capacities and with all factors
    at once. An optimal violation is as small as its rows allow, hence at most their largest shortfall.
    """
    case, day = book.case, book.day
    pv = day.pv + abs(day.pv_shift).sum(axis=0)
    wind = day.wind + abs(day.wind_shift).sum(axis=0)
    power = pv * case.pv_limit[:, None] + wind * case.wind_limit[:, None]
    most = day.largest_loads
    moved = case.flexible * most.active[case.site]
    battery = np.repeat(case.battery_high[:, None], book.hours, axis=1)
    caps = [power, battery / case.battery_hours, battery / case.battery_hours, battery, moved, moved]
    for k in range(len(case.kinds)):
        caps += [most.asked[k], day.plugged[k], waiting(case, k, most.asked)]
    blocks = 2.0 * np.concatenate([cap.ravel() for cap in caps]) + 1.0
    absolute = abs(G)
    top = np.r_[case.pv_limit, case.wind_limit, case.battery_high]
    reach = absolute[:, : blocks.size] @ blocks + abs(E) @ top + abs(M) @ np.ones(book.factors) + abs(h)
    for part in E_u:
        reach += abs(part) @ top
    tail = sp.csc_matrix(absolute[:, blocks.size :] > 0)
    violations = np.array([reach[tail[:, k].indices].max(initial=0.0) for k in range(tail.shape[1])]) + 1.0
    return np.r_[blocks, violations], reach + absolute[:, blocks.size :] @ violations


def dual_boxes(book: RowBook, G: sp.csr_matrix, price: np.ndarray) -> np.ndarray:
    """Bounds (r,) of the multipliers of some optimal dual, whatever y and u :eq:`eq-hosting-dual-boxes`.

    Network multipliers of an hour add up to the price of its violation at most, and the share's is at most its own
    price. A kWh drawn by a site is then worth at most m, the price of the hour times the largest entry of the network
    rows. The value of stored energy can be clipped at B = (m + c)/eta, and that of moved demand at m + c, with c the
    largest cost of a block: beyond, one of the two opposite decisions is unattractive at any multipliers, and clipping
    only lowers what the other one, and the level of charge, ask for. The rows of both have right-hand side zero, so
    the dual objective stays; a load that waits is a battery without losses. All other rows cap something: their
    right-hand sides are not positive wherever the dispatch is feasible, and the least multiplier that their columns ask
    for is best.
    """
    case, size = book.case, book.case.dispatch_size
    parts = zip(case.blocks, np.split(price[:size], len(case.blocks)), strict=True)
    cost = {name: np.max(abs(part), initial=0.0) for name, part in parts}
    violation = price[size : size + book.hours].max()
    share = price[size + book.hours :].max()
    kinds = np.concatenate([np.full(rows, kind) for kind, rows in book.kind])
    worth = violation * abs(G[kinds == "network"][:, :size]).max() if np.any(kinds == "network") else 0.0
    stored = (worth + max(cost["ch"], cost["dis"])) / case.eta
    moved = worth + max(cost["up"], cost["dn"])
    asked = {
        "cu": worth + cost["cu"],
        "ch": case.eta * stored + worth + cost["ch"],
        "dis": stored / case.eta + worth + cost["dis"],
        "up": moved + worth + cost["up"],
        "dn": moved + worth + cost["dn"],
    }
    bound = asked | {
        "available": asked["cu"],
        "share": share,
        "soc": 2.0 * stored,
        "stored": stored,
        "moved": moved,
        "use": max(asked["cu"], asked["ch"], asked["up"]),
        "serve": max(asked["dis"], asked["dn"]),
        "network": violation,
    }
    for kind in case.kinds:
        off, late = f"{kind}_off", f"{kind}_late"
        waited = worth + max(cost[off], cost[late])
        bound |= {name: waited + worth + cost[name] for name in (off, late)}
        bound |= {f"{kind}_wait": 2.0 * waited, f"{kind}_waited": waited}
        bound |= {"use": max(bound["use"], bound[late]), "serve": max(bound["serve"], bound[off])}
    return np.array([bound[kind] for kind in kinds])


class RowBook:
    """Rows of one day, collected as triples (over x, over y and u, right-hand side)."""

    def __init__(self, case: HostingCase, day: DayModel) -> None:
        self.case, self.day = case, day
        self.n, self.hours, self.factors = case.n_sites, case.n_hours, day.uncertainty.size
        self.size = self.n * self.hours
        self.groups = case.groups.shape[0]
        self.columns = case.dispatch_size + self.hours + self.groups
        self.G: list[sp.csr_matrix] = []
        self.E: list[sp.csr_matrix] = []
        self.M: list[sp.csr_matrix] = []
        self.h: list[np.ndarray] = []
        self.E_u: list[list[sp.csr_matrix]] = [[] for _ in range(self.factors)]
        self.equality: list[np.ndarray] = []
        self.kind: list[tuple[str, int]] = []
        self.parts: list[tuple[int, float | Right, sp.csr_matrix | None, OfLoad | None, sp.csr_matrix | None]] = []
        self.identity = sp.identity(self.size, format="csr")
        before = sp.kron(sp.identity(self.n), np.roll(np.eye(self.hours), -1, axis=1), format="csr")
        self.change = self.identity - before  # of a level since the hour before, cyclic
        outputs = [(day.pv, day.wind), *zip(day.pv_shift, day.wind_shift, strict=True)]
        self.power = [self.available(pv, wind) for pv, wind in outputs]  # mean, then one for each factor

    def over_x(self, **parts: sp.csr_matrix | np.ndarray) -> sp.csr_matrix:
        """A matrix over x from its parts by block name; ``e`` over the hours, ``g`` over the groups."""
        names = (*self.case.blocks, "e", "g")
        widths = [self.size] * len(self.case.blocks) + [self.hours, self.groups]
        place = dict(zip(names, np.cumsum([0, *widths[:-1]]).tolist(), strict=True))
        blocks = [(sp.coo_matrix(part), place[name]) for name, part in parts.items()]
        row = np.concatenate([block.row for block, _ in blocks])
        column = np.concatenate([block.col + start for block, start in blocks])
        value = np.concatenate([block.data for block, _ in blocks])
        return sp.csr_matrix((value, (row, column)), shape=(blocks[0][0].shape[0], self.columns))

    def spread(self, values: np.ndarray) -> sp.csr_matrix:
        """Values (I, T) as a matrix (I T, I) that multiplies a site's capacity."""
        rows = np.arange(self.size)
        return sp.csr_matrix((values.ravel(), (rows, rows // self.hours)), shape=(self.size, self.n))

    def available(self, pv: np.ndarray, wind: np.ndarray) -> sp.csr_matrix:
        """Renewable power (I T) as a matrix over y from outputs per kW (I, T)."""
        return sp.hstack([self.spread(pv), self.spread(wind), sp.csr_matrix((self.size, self.n))], format="csr")

    def add(
        self,
        kind: str,
        G: sp.csr_matrix,
        right: float | Right = 0.0,
        available: sp.csr_matrix | None = None,
        load: OfLoad | None = None,
        y: sp.csr_matrix | None = None,
        equality: bool = False,
    ) -> None:
        """Rows ``G x + available . power(u, y) + load(u) + y-part >= right`` of one kind.

        ``right`` is a number or a function of the day; ``available`` (rows, I T) multiplies the renewable power;
        ``load`` is a function of the loads to (rows,), linear; ``y`` (rows, 3 I) is a part of the
        rows that u does not touch.
        """
        rows, day = G.shape[0], self.day
        self.parts.append((rows, right, available, load, y))
        E = sp.csr_matrix((rows, 3 * self.n)) if y is None else sp.csr_matrix(y)
        M = np.zeros((rows, self.factors))
        if load is not None:
            for k, shift in enumerate(day.shifts):
                M[:, k] = load(shift)
        shifts = [sp.csr_matrix((rows, 3 * self.n))] * self.factors
        if available is not None:
            E = E + available @ self.power[0]
            shifts = [available @ part for part in self.power[1:]]
        for parts, part in zip(self.E_u, shifts, strict=True):
            parts.append(part)
        self.G.append(G)
        self.E.append(E)
        self.M.append(sp.csr_matrix(M))
        self.h.append(self._constant(day, rows, right, load))
        self.equality.append(np.full(rows, equality))
        self.kind.append((kind, rows))

    @staticmethod
    def _constant(day: DayModel, rows: int, right: float | Right, load: OfLoad | None) -> np.ndarray:
        value = np.broadcast_to(right(day) if callable(right) else right, rows).astype(float)
        return value if load is None else value - load(day.loads)

    def right_at(self, day: DayModel, y: np.ndarray) -> np.ndarray:
        """Right-hand sides (r,) of ``G x >= .`` on another day without factors, at capacities y."""
        n, values = self.n, []
        power = (y[:n, None] * day.pv + y[n : 2 * n, None] * day.wind).ravel()
        for rows, right, available, load, part in self.parts:
            value = self._constant(day, rows, right, load)
            value = value if available is None else value - available @ power
            values.append(value if part is None else value - part @ y)
        return np.concatenate(values)


def curtailment_rows(book: RowBook) -> None:
    """Curtailment stays below the power available, and below its share of each group's day
    :eq:`eq-hosting-curtailment`."""
    book.add("available", book.over_x(cu=-book.identity), available=book.identity)
    day_sum = sp.kron(sp.csr_matrix(book.case.groups), np.ones((1, book.hours)), format="csr")
    violation = sp.identity(book.groups, format="csr")
    share = book.case.curtail_share * day_sum
    book.add("share", book.over_x(cu=-day_sum, g=violation), available=share)


def battery_rows(book: RowBook) -> None:
    """Power and energy limits and the cyclic state of charge :eq:`eq-hosting-battery`."""
    case = book.case
    energy = sp.hstack([sp.csr_matrix((book.size, 2 * book.n)), book.spread(np.ones((book.n, book.hours)))])
    book.add("ch", book.over_x(ch=-book.identity), y=energy / case.battery_hours)
    book.add("dis", book.over_x(dis=-book.identity), y=energy / case.battery_hours)
    book.add("soc", book.over_x(soc=-book.identity), y=energy)
    stored = book.over_x(soc=book.change, ch=-case.eta * book.identity, dis=book.identity / case.eta)
    book.add("stored", stored, equality=True)


def demand_rows(book: RowBook) -> None:
    """A share of each site's demand, vehicles and heat pumps apart, moves within its day; what is added equals what is
    taken :eq:`eq-hosting-demand`."""
    case = book.case

    def movable(load: Loads) -> np.ndarray:
        return case.flexible * (load.active[case.site] - load.asked.sum(axis=0)).ravel()

    book.add("up", book.over_x(up=-book.identity), load=movable)
    book.add("dn", book.over_x(dn=-book.identity), load=movable)
    total = sp.kron(sp.identity(book.n), np.ones((1, book.hours)), format="csr")
    book.add("moved", book.over_x(up=total, dn=-total), equality=True)


def waiting(case: HostingCase, k: int, asked: np.ndarray) -> np.ndarray:
    """Energy that kind k of the loads that may wait asked for in the last hours, (I, T) [kWh], from what all kinds ask
    for, (K, I, T): the largest backlog (:eq:`eq-backlog-limit`)."""
    return np.array([backlog_limit(own, delay) for own, delay in zip(asked[k], case.delay[k], strict=True)])


def waiting_rows(book: RowBook, k: int) -> None:
    """Loads of kind k put off what they ask for and make it up within their delay :eq:`eq-hosting-waiting`: the backlog
    of :class:`~tritier.model.devices.Deferrable`, as steps from what they draw if nobody waits."""
    case = book.case
    off, late, wait = (f"{case.kinds[k]}_{what}" for what in WAITING)

    def asked(load: Loads) -> np.ndarray:
        return load.asked[k].ravel()

    book.add(off, book.over_x(**{off: -book.identity}), load=asked)
    room = book.over_x(**{late: -book.identity})
    book.add(late, room, lambda day: -day.plugged[k].ravel(), load=lambda load: -asked(load))
    level = book.over_x(**{wait: -book.identity})
    book.add(wait, level, load=lambda load: waiting(case, k, load.asked).ravel())
    steps = {wait: book.change, off: -book.identity, late: book.identity}
    book.add(f"{case.kinds[k]}_waited", book.over_x(**steps), equality=True)


def own_use_rows(book: RowBook) -> None:
    """Charging and added demand use the group's renewable power, discharging serves the group's demand
    :eq:`eq-hosting-own-use`. Groups are single sites without P2P: then nobody buys to store or stores to sell."""
    case = book.case
    group = sp.kron(sp.csr_matrix(case.groups), sp.identity(book.hours), format="csr")

    def demand(load: Loads) -> np.ndarray:
        return (case.groups @ load.active[case.site]).ravel()

    late, off = ({f"{kind}_{what}": -group for kind in case.kinds} for what in ("late", "off"))
    book.add("use", book.over_x(cu=-group, ch=-group, up=-group, **late), available=group)
    book.add("serve", book.over_x(dis=-group, dn=-group, **off), load=demand)


def network_rows(book: RowBook, watch: Watch) -> None:
    """Flows and voltages of the watched elements :eq:`eq-hosting-network`, in kW; one violation per hour relaxes
    all."""
    case, grid = book.case, book.case.grid
    lines, high, low = sorted(watch.line), sorted(watch.high), sorted(watch.low)
    weights, limits, reactive = [], [], []

    def bound(row: np.ndarray, limit: Right, reactive_row: np.ndarray | None = None) -> None:
        """``limit(day) - row . net load - reactive_row . reactive load >= -e``, rows over the buses."""
        weights.append(row)
        limits.append(limit)
        reactive.append(np.zeros_like(row) if reactive_row is None else reactive_row)

    def constant(value: float) -> Right:
        room = np.full(book.hours, value)
        return lambda _day: room

    def thermal(row: np.ndarray, rating: float, what: str) -> None:
        def limit(day: DayModel) -> np.ndarray:
            return active_limits(day, grid.charged(day.reactive), row[None], np.array([rating]), what)[0]

        bound(row, limit)
        bound(-row, limit)

    for line in lines:
        thermal(grid.downstream[line], case.feeder.rating_kva[line], "line rating")
    if watch.substation and np.isfinite(case.substation_kva):
        thermal(np.ones(case.feeder.bus.size), case.substation_kva, "substation rating")
    for bus in low:  # v0^2 - 2 (R p + X (q - charging)) >= v_low^2, over 2 R_nn
        scale = 1.0 / grid.r_path[bus, bus]
        room = (grid.v_slack**2 - case.v_low[bus] ** 2) * scale / 2 + grid.x_path[bus] @ grid.charging * scale
        bound(grid.r_path[bus] * scale, constant(room), grid.x_path[bus] * scale)
    for bus in high:  # v_high^2 >= v0^2 - 2 (R p + X (q - charging))
        scale = 1.0 / grid.r_path[bus, bus]
        room = (case.v_high[bus] ** 2 - grid.v_slack**2) * scale / 2 - grid.x_path[bus] @ grid.charging * scale
        bound(-grid.r_path[bus] * scale, constant(room), -grid.x_path[bus] * scale)
    if not weights:
        return
    over_buses, over_reactive = np.array(weights), np.array(reactive)

    def load(of: Loads) -> np.ndarray:
        return -(over_buses @ of.active + over_reactive @ of.reactive).ravel()

    sites = sp.kron(over_buses[:, case.site], sp.identity(book.hours), format="csr")
    relax = sp.kron(np.ones((len(weights), 1)), sp.identity(book.hours), format="csr")
    waits = {f"{kind}_{what}": side for kind in case.kinds for what, side in (("off", sites), ("late", -sites))}
    book.add(
        "network",
        book.over_x(cu=-sites, ch=-sites, dis=sites, up=-sites, dn=sites, e=relax, **waits),
        lambda day: -np.concatenate([limit(day) for limit in limits]),
        available=sites,
        load=load,
    )


def active_limits(
    day: DayModel, reactive: np.ndarray, downstream: np.ndarray, rating: np.ndarray, what: str
) -> np.ndarray:
    """Active power (L, T) that fits beside the largest reactive flow of the set :eq:`eq-hosting-thermal`; reactive:
    mean reactive load less what lines feed in, kvar, (N, T)."""
    flow = downstream @ reactive
    shift = np.tensordot(downstream, day.reactive_shift, axes=(1, 1))  # (L, 2K, T)
    worst = np.abs(flow)
    if day.uncertainty.size:
        worst = np.maximum(largest(flow, shift, day.uncertainty.budget), largest(-flow, -shift, day.uncertainty.budget))
        worst = np.maximum(worst, 0.0)
    if (worst >= rating[:, None]).any():
        raise InputError("branch.csv", "rating_a", f"reactive load alone exceeds a {what}", "raise it or lower q_kvar")
    return np.sqrt(rating[:, None] ** 2 - worst**2)


def row_book(case: HostingCase, day: DayModel, watch: Watch) -> RowBook:
    """All rows of one day's dispatch."""
    book = RowBook(case, day)
    curtailment_rows(book)
    battery_rows(book)
    demand_rows(book)
    for k in range(len(case.kinds)):
        waiting_rows(book, k)
    own_use_rows(book)
    network_rows(book, watch)
    return book


def prices(book: RowBook, cost: np.ndarray, penalty: float, share_price: float = 1.0) -> np.ndarray:
    """Cost of every column: the blocks, violated limits [per kW], curtailment beyond its share [per kWh]."""
    return np.r_[cost, np.full(book.hours, penalty), np.full(book.groups, penalty * share_price)]


def day_recourse(
    case: HostingCase, day: DayModel, watch: Watch, cost: np.ndarray, penalty: float, share_price: float = 1.0
) -> Recourse:
    """The recourse of one day: dispatch at ``cost`` (over the blocks), violated network limits at ``penalty``
    per kW, curtailment beyond its share at ``share_price`` times that per kWh."""
    book = row_book(case, day, watch)
    return recourse(book, prices(book, cost, penalty, share_price))


def recourse(book: RowBook, price: np.ndarray) -> Recourse:
    """Rows and prices as a :class:`~tritier.hosting.robust.Recourse`, with its boxes."""
    G, E = sp.vstack(book.G, format="csr"), sp.vstack(book.E, format="csr")
    M, h = sp.vstack(book.M, format="csr"), np.concatenate(book.h)
    E_u = tuple(sp.vstack(parts, format="csr") for parts in book.E_u)
    upper, slack = primal_boxes(book, G, E, E_u, M, h)
    dual, equality = dual_boxes(book, G, price), np.concatenate(book.equality)
    return Recourse(price, G, E, M, h, equality, book.day.uncertainty, upper, slack, dual, E_u, source=book.day)


def operating_cost(case: HostingCase, day: DayModel) -> np.ndarray:
    """Cost of the blocks [$ per kW and hour] :eq:`eq-hosting-cost`: energy at wholesale, wear, moved demand; waiting is
    free."""
    price = np.broadcast_to(day.wholesale, (case.n_sites, case.n_hours)).ravel()
    wear = case.degradation
    own = [price, price + wear, wear - price, 0 * price, price + case.shift_cost / 2, case.shift_cost / 2 - price]
    return np.concatenate(own + [-price, price, 0 * price] * len(case.kinds))


def site_draw(case: HostingCase, x: np.ndarray) -> np.ndarray:
    """What dispatch x adds to the net load of the sites (I, T) [kW]: curtailment and charging draw, discharging
    feeds, loads that wait draw later."""
    cu, ch, dis, _, up, dn, *waits = x[: case.dispatch_size].reshape(-1, case.n_sites, case.n_hours)
    return cu + ch - dis + up - dn + sum(waits[1::3]) - sum(waits[::3])


def net_load(case: HostingCase, day: DayModel, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Net load of every bus (N, T) [kW] under capacities y and dispatch x."""
    n = case.n_sites
    total = day.load.copy()
    total[case.site] += site_draw(case, x) - y[:n, None] * day.pv - y[n : 2 * n, None] * day.wind
    return total
