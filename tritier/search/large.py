"""The follower of a large market: clearing, prices and certificate by Dantzig-Wolfe decomposition, or by one LP.

The coupling is small (24 balances and a few chance blocks), the prosumers are many and alike. Prices go out, each
prosumer answers with a plan, and a master LP mixes the plans so that the coupling holds. What all prosumers and the
platform could gain at the posted prices is the duality gap (proposition 1), so the search is its own certificate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed

from tritier.errors import SolverError
from tritier.inputs.instance import Design, Instance
from tritier.model.chance import Block, Network, net_load
from tritier.model.market import line_position
from tritier.model.tariff import hourly
from tritier.reformulation.joint import VIOLATED_KW
from tritier.reformulation.lp import Border, ParametricLP, WarmLP
from tritier.search.large_market import Coupling, own_lps, priced, thinned, trade_of

GAIN = 1e-6  # of max(|cost|, 1 % of the bill without trade), as in the certificate
COARSE = 1e-3  # gap relative to the cost at which the chance blocks are looked at
SMOOTH = 0.5  # weight of the best prices so far in the prices asked next
NEW = 1e-9  # $: a plan that promises more enters the master
NEAR = 0.002  # $/kWh: how far from the best prices so far a market that starts from good ones looks at first
HOUSE = 1e-7  # kW: what the trading house may hold in the end
ROUNDS = 400
THIN = 10  # a market is first cleared with one prosumer in ten, for its prices
FEWEST = 100  # prosumers from which that pays


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


class Market:
    """The prosumers' warm LPs, the plans found and the master."""

    def __init__(self, instance: Instance, design: Design, jobs: int) -> None:
        self.instance, self.design, self.jobs = instance, design, jobs
        self.bus = instance.prosumer_bus
        self.forms = own_lps(instance, design)
        self.lps = [WarmLP(form) for form in self.forms]
        price = instance.retail + hourly(instance.rules, design)[:, None]
        self.bill = (price * instance.days.demand_kw).sum(axis=1) @ instance.days.probability
        self.limits = {line_position(instance, line): limit for line, limit in design.capacity}
        self.network = Network(instance)
        self.plans = _Plans()
        self.couple(())

    @property
    def solves(self) -> int:
        return sum(lp.solves for lp in self.lps)

    def house(self, price: np.ndarray, reach: float) -> None:
        """Let the trading house sell a little above the given P2P prices and buy a little below them: this keeps the
        master's prices near."""
        t, first = price.size, self.coupling.cost.size
        low, high = price_range(self.instance, self.design)
        self.own[first : first + t] = np.minimum(price + reach, high)
        self.own[first + t :] = -np.maximum(price - reach, low)

    def couple(self, blocks: tuple[Block, ...]) -> None:
        """A new master with the given chance blocks and no plan yet. A trading house sells dearly and buys cheaply, so
        that any plans are feasible; in the end it must hold nothing."""
        self.coupling = c = Coupling(self.instance, self.design, blocks)
        low, high = price_range(self.instance, self.design)
        n, t = len(self.lps), low.size
        most = 1e3 * float(self.instance.days.demand_kw.sum(axis=0).max())
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
            one = sp.csr_array((np.ones(owner.size), (owner, np.arange(owner.size))), (len(self.lps), owner.size))
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
        first, like = self.solves == 0, {}

        def reply(i: int):
            cost, kind = priced(self.forms[i], price, pi[self.bus[i]]), self.instance.prosumers[i].battery_kw > 0
            if first and kind in like:
                self.lps[i].set_basis(like[kind])  # that of the prosumer before: they are alike
            found = self.lps[i].solve(cost, "dual" if first else "primal")
            if first:
                like[kind] = self.lps[i].basis()
            return found.x, self.lps[i].safe_bound(found.y), found.objective

        order = range(len(self.lps))
        if first or self.jobs == 1:
            replies = map(reply, order)
        else:  # HiGHS runs outside the interpreter's lock, and warm LPs cannot be sent to processes
            replies = Parallel(n_jobs=self.jobs, backend="threading")(delayed(reply)(i) for i in order)
        best = np.empty(len(self.lps))
        for i, (x, bound, value) in enumerate(replies):
            best[i] = bound
            if reference is None or value < reference[i] - NEW:
                trade, injection = trade_of(self.forms[i], x)
                self.plans.owner.append(i)
                self.plans.cost.append(float(self.forms[i].cost @ x))
                self.plans.trade.append(trade)
                self.plans.injection.append(injection)
        return Replies(dual, best, float(best.sum()) + self.coupling.own_bound(dual))

    def paid(self, dual: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """What the mixed plans cost the prosumers at prices, $, (I,) (:eq:`eq-prosumer`)."""
        price, pi = self.coupling.prices(dual)
        cost, plans = np.zeros(len(self.lps)), self.plans
        for k in np.flatnonzero(weights > 0):
            i = plans.owner[k]
            sold = plans.trade[k] @ price + float((pi[self.bus[i]] * plans.injection[k]).sum())
            cost[i] += weights[k] * (plans.cost[k] - sold)
        return cost

    def mixture(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trade (I, T) and injection (I, T, S) of the mixed plans, kW."""
        days, plans = self.instance.days, self.plans
        trade = np.zeros((len(self.lps), days.n_hours))
        injection = np.zeros((len(self.lps), days.n_hours, days.n_days))
        for k in np.flatnonzero(weights > 0):
            trade[plans.owner[k]] += weights[k] * plans.trade[k]
            injection[plans.owner[k]] += weights[k] * plans.injection[k]
        return trade, injection

    def violated(self, injection: np.ndarray) -> tuple[Block, ...]:
        """Chance blocks without rows that the injections violate."""
        known = set(self.coupling.blocks)
        risks = self.network.block_risks(net_load(self.instance, injection), self.limits, VIOLATED_KW)
        return tuple(block for _, block in risks if block not in known)

    def carry(self, dual: np.ndarray, before: Coupling) -> np.ndarray:
        """Duals of a coupling whose blocks come first in the present one, zero at the rows that came since."""
        return np.append(dual, np.zeros(self.coupling.row_lower.size - before.row_lower.size))


def price_range(instance: Instance, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """P2P prices below which everybody buys and above which everybody sells, without network rows, $/kWh, (T,) each."""
    dearest = instance.retail.max(axis=1) + hourly(instance.rules, design) + design.peak
    return instance.feed_in.min(axis=1) - design.p2p / 2, dearest + design.p2p / 2


def clear(
    instance: Instance, design: Design, *, jobs: int = 1, progress: Callable[[str], None] | None = None
) -> Clearing:
    """Clear a market by decomposition until no prosumer gains more than 1e-6 of its cost (:eq:`eq-equilibrium`).

    The prices asked are a mean of the master's and the best so far, so that they do not swing. A large market starts
    from the prices of one a tenth of its size, that one from a tenth again. jobs: threads.
    Raises SolverError where the prices do not settle.
    """
    start, market = time.perf_counter(), Market(instance, design, jobs)
    n, solves = len(instance.prosumers), 0
    if n >= FEWEST:
        rough = clear(thinned(instance, n // THIN), design, jobs=jobs, progress=progress)
        market.couple(rough.blocks)
        dual, solves = rough.dual, rough.lp_solves
    else:
        low, high = price_range(instance, design)
        dual = (low + high) / 2
    center = market.ask(dual, None)
    hours, reach = instance.days.n_hours, NEAR if n >= FEWEST else np.inf
    for step in range(1, ROUNDS):
        market.house(center.dual[:hours], reach)
        cost, weights, dual, held = market.mix()
        asked = SMOOTH * center.dual + (1 - SMOOTH) * dual
        found = market.ask(asked, market.paid(asked, weights))
        if held > HOUSE and cost - found.bound <= 0.1 * GAIN * abs(cost):
            reach *= 4  # nothing more to gain near these prices, and they are not the market's
        center = found if found.bound > center.bound else center
        paid = market.paid(center.dual, weights)
        relative = (paid - center.best) / np.maximum(np.abs(paid), 0.01 * market.bill)
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
