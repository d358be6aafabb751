"""How a day goes once its day-ahead trades stand: the three recourse policies, day by day.

Days are independent; P2P trades and tariffs are those of the design. Where trade is by scenario no trade stands: a
judged day is a scenario of its own, whose trades are made for it and paid at its own P2P price. Where the agents are
indifferent, the day goes as is best for society.

- ``network-blind``: every prosumer minimises its own cost; nobody looks at the network.
- ``market policy``: the day clears within band and ratings, violated only at the declared price; a limit that the DSO
  offered is exceeded at what that costs the DSO, on the day's largest excess.
- ``hard-limit redispatch``: the day clears within band and ratings, violated only at the declared price; limits that
  the DSO offered are left out, so that every case has the same operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from tritier.cases.cases import Case
from tritier.cases.decisions import Decisions, p2p_price, peak_prices
from tritier.errors import SolverError
from tritier.inputs.instance import Instance
from tritier.model.chance import VIOLATED_KW, Block, net_load
from tritier.model.market import limits_by_position
from tritier.model.prosumer import export_box, import_box, in_all_scenarios, representative
from tritier.model.tariff import quantities
from tritier.reformulation.joint import JointLP, known_days
from tritier.reformulation.lp import Border
from tritier.search.responses import follower_face, least_social_cost

POLICIES = ("network-blind", "market policy", "hard-limit redispatch")
SOCIETY, AT_MOST = 1e-3, 5e-3  # $: social cost of a judged day above the least among equals, and where this is slow
ROUNDS = 60
MOST_KW = 1e7  # of a violation
AHEAD = ("zb", "zs")  # decisions of the design, which stand on every day unless trade is by scenario
UNWEIGHED = ("var", "excess")  # columns of a risk that days are judged without


@dataclass(frozen=True, eq=False)
class DayDecisions:
    """What happened on each judged day: arrays with the days on the last axis, and the day's own network prices."""

    instance: Instance
    policy: str
    arrays: dict[str, np.ndarray]
    pi: np.ndarray  # (N, T, W), $/kWh, price of net injection, not weighed by probability
    bought: np.ndarray  # (W,), violations bought at the declared price, kWh
    price: np.ndarray | None = None  # (T, W), $/kWh: each day's own P2P price where trade is by scenario
    # the clearing that sold rights, where days settle those at its prices; None: all rights at the days' own
    ahead: DayDecisions | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def injection(self) -> np.ndarray:
        """Net injection of prosumers, kW, (I, T, W)."""
        a = self.arrays
        return a["gm"] - a["gp"] + in_all_scenarios(a["zs"] - a["zb"])

    @property
    def net_load(self) -> np.ndarray:
        """Net load of every bus, kW, (N, T, W)."""
        return net_load(self.instance, self.injection)


def as_cleared(clearing: Instance, decisions: Decisions) -> DayDecisions:
    """The clearing itself as days, its scenarios, at their prices per kWh."""
    p = clearing.days.probability
    price = decisions["lambda"] / p if clearing.rules.trade == "by_scenario" else None
    return DayDecisions(clearing, "cleared", decisions.arrays, decisions["pi"] / p, np.zeros(p.size), price=price)


def with_rights(day: DayDecisions, case: Case, clearing: Instance, decisions: Decisions) -> DayDecisions:
    """Judged days with the clearing that sold rights ahead, where the study settles them so. A case that does not see
    the network sells none."""
    if clearing.rules.rights == "day" or not case.network:
        return day
    return replace(day, ahead=as_cleared(clearing, decisions))


class Recourse:
    """Judges designs on a set of days: an LP a day, built once for all designs and policies.

    ``instance``: risk-neutral, on the days to be judged (:func:`tritier.cases.cases.judging_instance`).
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._days = [instance.on(instance.days.select([k])) for k in range(instance.days.n_days)]
        self._lps = known_days(instance)

    def judge(self, decisions: Decisions, policy: str) -> DayDecisions:
        """The days under a policy. Raises SolverError where limits still fail after the last round."""
        joints = (JointLP(day, network=False, lp=lp) for day, lp in zip(self._days, self._lps, strict=True))
        return side_by_side(self.instance, [_PolicyLP(joint, decisions).day(policy) for joint in joints])


def side_by_side(instance: Instance, days: Sequence[DayDecisions]) -> DayDecisions:
    """Single days of an instance as one set of days; what a day knows no decision of, as vehicles on a day on which
    none asks, is zero there."""

    def joined(parts: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(parts), axis=-1)

    first, nothing = days[0], np.zeros((*instance.days.demand_kw.shape[:2], 1))
    standing = AHEAD if first.price is None else ()
    names = dict.fromkeys(name for day in days for name in day.arrays)
    arrays = {
        name: first[name] if name in standing else joined(day.arrays.get(name, nothing) for day in days)
        for name in names
    }
    pi, bought = joined(day.pi for day in days), joined(day.bought for day in days)
    price = [day.price for day in days if day.price is not None]
    return DayDecisions(instance, first.policy, arrays, pi, bought, joined(price) if price else None)


class _PolicyLP:
    """The LP of one design on the judged days, with priced network rows."""

    def __init__(self, joint: JointLP, decisions: Decisions) -> None:
        self.joint, self.instance, self.decisions = joint, joint.instance, decisions
        self.extra: list[tuple[np.ndarray, np.ndarray]] = []  # (columns, costs) of priced violations
        self.rows: list[Block] = []
        self.offered: list[Block] = []  # blocks of limits offered, which share their line's excess
        self.shared: dict[int, np.ndarray] = {}  # line position: columns of the day's largest excess over its limit
        joint.set_design(decisions.design)
        self.standing = AHEAD if self.instance.rules.trade == "day_ahead" else ()
        if self.standing:
            self._fix_trades()

    def bought_by(self, block: Block) -> np.ndarray:
        """Columns by which a block's violation is bought."""
        return self.shared[block.place] if block in self.offered else self.joint.lp.at(f"s:{block.label}")

    def _fix_trades(self) -> None:
        joint, at = self.joint, self.joint.layout
        buy, sell = self.decisions["zb"], self.decisions["zs"]
        joint.warm.set_bounds(at.zb.ravel(), buy.ravel(), buy.ravel())
        joint.warm.set_bounds(at.zs.ravel(), sell.ravel(), sell.ravel())
        # Standing trades balance to rounding: the row decides nothing and would only call rounding infeasible.
        balance = joint.lp.row_at("p2p_balance").ravel()
        joint.warm.set_rows(balance, np.full(balance.size, -np.inf), np.full(balance.size, np.inf))
        imports = np.array([import_box(d, own) for d, own in zip(joint.data, sell, strict=True)])
        exports = np.array([export_box(d, own) for d, own in zip(joint.data, buy, strict=True)])
        joint.warm.set_bounds(at.gp.ravel(), np.zeros(imports.size), imports.ravel())
        joint.warm.set_bounds(at.gm.ravel(), np.zeros(exports.size), exports.ravel())
        self._widen_books(float(buy.sum() + sell.sum()))

    def _widen_books(self, traded: float) -> None:
        """Make room for ``traded`` kWh: boxes were made for what the judged days would let prosumers trade."""
        lp, instance = self.joint.lp, self.instance
        dearest = max(d.highest * (1 + d.peak_billed) for d in self.joint.data)  # energy, and a peak of that energy
        money = traded * float(np.abs(instance.retail).max() + np.abs(instance.feed_in).max() + dearest)
        own = {"cost": money, "var": money, "excess": 2 * money, "gb": traded, "gk": traded}
        extra = [(lp.at(name), traded) for name in quantities(self.instance.menu)] + [(lp.at("R"), money)]
        extra += [(at, own[term]) for columns in self.joint.columns for term, at in columns.items() if term in own]
        for at, more in ((np.ravel(at), more) for at, more in extra):
            low, high = lp.col_lower[at], lp.col_upper[at]
            self.joint.warm.set_bounds(at, np.where(low < 0, low - more, low), high + more)

    def day(self, policy: str) -> DayDecisions:
        """The days under one of the policies."""
        judge = {
            "network-blind": self.blind,
            "hard-limit redispatch": self.hard,
            "market policy": self.market,
        }
        if policy not in judge:
            raise ValueError(f"unknown policy {policy!r}; choose one of {', '.join(judge)}")
        return judge[policy]()

    def blind(self) -> DayDecisions:
        return self._answer("network-blind", self._solve())

    def hard(self) -> DayDecisions:
        return self._answer("hard-limit redispatch", self._clear())

    def market(self) -> DayDecisions:
        for line in limits_by_position(self.instance, self.decisions.design.capacity):
            self.shared[line] = self._excess_columns(line)
        return self._answer("market policy", self._clear())

    def _clear(self) -> np.ndarray:
        """Solve with a row for every network limit that the answer violates, until it violates none."""
        known: set[Block] = set()
        for _ in range(ROUNDS):
            x = self._solve()
            fresh = [block for block in self._violated(x) if block not in known]
            if not fresh:
                return x
            for block in fresh:
                self._add(block, self.instance.rules.violation_price)
            known.update(fresh)
        raise SolverError(f"network limits still violated after {ROUNDS} rounds: {fresh[0].label}")

    def _excess_columns(self, line: int) -> np.ndarray:
        """Columns of the day's largest flow beyond the limit offered on a line, at what that costs the DSO."""
        s, n, p = self.instance.days.n_days, self.joint.lp.cost.size, self.instance.days.probability
        most = np.full(s, MOST_KW)
        nothing = sp.csr_array((self.joint.lp.row_lower.size, s))
        name: dict[str, tuple[int, tuple[int, ...]]] = {f"x:{line}": (0, (s,))}
        empty = np.empty(0)
        self.joint.warm.append(
            Border(np.zeros(s), np.zeros(s), most, nothing, name, sp.csr_array((0, n + s)), empty, empty, {})
        )
        columns = np.arange(n, n + s)
        self.extra.append((columns, self.instance.rules.excess_price * p))
        return columns

    def _violated(self, x: np.ndarray) -> list[Block]:
        load = self.joint.net_load(x)
        offers = limits_by_position(self.instance, self.decisions.design.capacity)
        limits = {line: limit for line, limit in offers.items() if line in self.shared}
        lines = sorted(limits)
        found = []
        for kind, violation in self.joint.network.violations(load, limits).items():
            for place, hour in np.argwhere(violation.max(axis=-1) > VIOLATED_KW).tolist():
                found.append(Block(kind, lines[place] if kind == "capacity" else place, hour))
        return found

    def _add(self, block: Block, price: float) -> None:
        """Rows violation - s <= 0 with s >= 0 at ``price`` on each day; where a line's excess is shared by the
        hours of a day, its columns stand for s."""
        if block.kind == "capacity":
            self._add_shared(block, *self.joint.violation_rows(block))
        else:
            self._add_own(block, price)

    def _add_own(self, block: Block, price: float) -> None:
        """Rows violation - s <= 0 with s >= 0 at ``price`` on each day."""
        joint, s, n = self.joint, self.instance.days.n_days, self.joint.lp.cost.size
        rows, upper = joint.violation_rows(block)
        matrix = sp.csr_array(sp.hstack([rows, sp.vstack([-sp.eye_array(s)] * (upper.size // s))]))
        joint.warm.append(
            Border(
                cost=np.zeros(s),
                col_lower=np.zeros(s),
                col_upper=np.full(s, MOST_KW),
                old_rows=sp.csr_array((joint.lp.row_lower.size, s)),
                columns={f"s:{block.label}": (0, (s,))},
                matrix=matrix,
                row_lower=np.full(upper.size, -np.inf),
                row_upper=upper,
                rows={f"priced:{block.label}": (0, (upper.size,))},
            )
        )
        self.extra.append((np.arange(n, n + s), price * self.instance.days.probability))
        self.rows.append(block)

    def _add_shared(self, block: Block, rows: sp.csr_array, upper: np.ndarray) -> None:
        """Rows violation - x <= 0 with the day's excess x of the block's line."""
        s, n, m = self.instance.days.n_days, self.joint.lp.cost.size, upper.size
        columns = np.tile(self.shared[block.place], m // s)
        less = sp.csr_array((-np.ones(m), (np.arange(m), columns)), shape=(m, n))
        empty = np.empty(0)
        nothing = sp.csr_array((self.joint.lp.row_lower.size, 0))
        label: dict[str, tuple[int, tuple[int, ...]]] = {f"priced:{block.label}": (0, (m,))}
        self.joint.warm.append(
            Border(empty, empty, empty, nothing, {}, (rows + less).tocsr(), np.full(m, -np.inf), upper, label)
        )
        self.offered.append(block)

    def _solve(self) -> np.ndarray:
        """The least cost of the agents; among equals the point that is best for society.

        Without that rule a day would rest on the order of columns: who does not mind which hour it is would decide
        peaks and violations.
        """
        joint, cost = self.joint, self.joint.cost(self.decisions.design)
        for columns, price in self.extra:
            cost[columns] = price
        self.solution = joint.warm.solve(cost)
        lp = joint.warm.current()
        column, row = np.arange(cost.size), np.arange(lp.row_lower.size)  # loss tangents come to stay
        bounds, sides = (lp.col_lower.copy(), lp.col_upper.copy()), (lp.row_lower.copy(), lp.row_upper.copy())
        follower_face(joint, self.solution)
        try:
            return least_social_cost(joint, SOCIETY, enough=AT_MOST).x
        finally:
            joint.warm.set_bounds(column, *bounds)
            joint.warm.set_rows(row, *sides)

    def _answer(self, policy: str, x: np.ndarray) -> DayDecisions:
        joint, lp, instance = self.joint, self.joint.lp, self.instance
        found = {term: value for term, value in joint.decisions(x).items() if term not in UNWEIGHED}
        arrays = representative(joint.data, found) | {term: self.decisions[term] for term in self.standing}
        days = instance.days
        price = None if self.standing else p2p_price(joint, self.solution.y) / days.probability
        pi = np.zeros((instance.feeder.bus.size, days.n_hours, days.n_days))
        pi += peak_prices(joint, self.solution.y) / days.probability
        bought = np.zeros(days.n_days)
        for block in (*self.rows, *self.offered):
            form = joint.network.form(block)
            tails = -self.solution.y[lp.row_at(f"priced:{block.label}")].reshape(-1, days.n_days)
            for gradient, tail in zip(form.gradient, tails, strict=True):
                pi[:, block.hour, :] += np.outer(gradient, tail / days.probability)
        for block in self.rows:
            bought += x[self.bought_by(block)]
        return DayDecisions(instance, policy, arrays, pi, bought, price)
