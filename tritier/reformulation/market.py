"""The three-level problem as one :class:`~tritier.reformulation.bilevel.LinearBilevel`, for instances small enough.

The joint follower (levels 2 and 3) is taken from the same LP that the hybrid algorithm uses. Menus are written by
steps: ``tau = tau_0 + sum_k (tau_k - tau_{k-1}) z_k`` with binaries ``z_1 >= z_2 >= ...``; capacity limits likewise.
The DSO's own columns (social cost, network cost, losses, peak) are leader variables. Revenue adequacy has ``z_k G_b``,
exact by McCormick since z is binary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse

from tritier.errors import InputError
from tritier.inputs.instance import Days, Design, Feeder, Instance, Menu, Prosumer, Rules
from tritier.model.dso import menu_points
from tritier.reformulation.bilevel import INF, LinearBilevel, linear_bilevel, solve_follower
from tritier.reformulation.bounds import boxes, primal_boxes, propagated_bounds
from tritier.reformulation.joint import JointLP
from tritier.reformulation.kkt import kkt_system
from tritier.reformulation.lp import ParametricLP
from tritier.reformulation.solve import discrete_points, enumerate_discrete

#: columns that only the DSO sees; the head's flow and peak too where nobody is charged
LEADER = ("F", "N", "loss", "gross")
HEAD = ("head", "peak")
#: columns whose boxes are no constraints of the follower: bookkeeping, meters, risk, trade and exchange with the
#: retailer
TECHNICAL = ("R", "G", "Z", "K", "H", "slack", "cost", "var", "excess", "gp", "gm", "gb", "gk", "zb", "zs", "h", *HEAD)
FREE = ("R", "G", "Z", "K", "H", "cost", "var", "gb", "gk", "head")  #: of these also the lower one


STORED = ("soc_dynamics", "_backlog")  #: rows whose multipliers are values of stored energy


@dataclass(frozen=True)
class Step:
    """One step up in a decision of the DSO: by ``jump`` to level ``level`` of menu coordinate ``coordinate``."""

    coordinate: int
    level: int
    jump: float
    name: str


def sorted_levels(menu: Menu) -> dict[str, tuple[float, ...]]:
    """Levels of every decision of the DSO, ascending."""
    return {name: tuple(sorted(set(levels))) for name, levels in menu.levels.items()}


def menu_steps(menu: Menu) -> list[Step]:
    """All steps, coordinate by coordinate, lowest first."""
    energy, lines = (f"tau[{b + 1}]" for b in range(len(menu.tariff))), (f"cap[{line}]" for line, _ in menu.capacity)
    names = [*energy, "tau_p", "tau_k", "tau_c", *lines]
    return [
        Step(m, k, levels[k] - levels[k - 1], f"step {k} of {name}")
        for m, (name, levels) in enumerate(zip(names, sorted_levels(menu).values(), strict=True))
        for k in range(1, len(levels))
    ]


def with_blocks_of_menu(joint: JointLP, menu: Menu | None = None, tangents: float = np.inf) -> JointLP:
    """Add every chance block that an answer on a menu violates, and loss tangents there, until no block is missing.

    menu: its own where none is given. No tangent is added to an LP that has more than ``tangents``.
    """
    while True:
        blocks = len(joint.blocks)
        for design in menu_points(joint.instance.menu if menu is None else menu):
            joint.set_design(design)
            load = joint.net_load(joint.solve(joint.cost(design)).x)
            if joint.tangents <= tangents:
                joint.tangent(load)
        if len(joint.blocks) == blocks:
            joint.set_design(None)
            return joint


def _base(name: str) -> str:
    return name.split("[")[0].split(":")[0]


def _columns(lp: ParametricLP, names: tuple[str, ...]) -> np.ndarray:
    found = [lp.at(name).ravel() for name in lp.columns if _base(name) in names]
    return np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=int)


def require_wedge(joint: JointLP) -> None:
    """Raise InputError where a design of the menu lets imports earn, or trades be paid for.

    Retail price plus tariff must exceed the feed-in price in every hour, and the P2P charge not be negative. Then the
    boxes of :data:`TECHNICAL` cost the follower nothing, and need no multiplier: a best answer outside them imports and
    exports at once (dearer), or sells more than the prosumer can produce, hence imports in every scenario what a buyer
    could import itself at the same price, or buys more than it can use, hence exports what the seller could export.
    Cancelling that costs nothing, not even at a zero P2P charge, and moves neither injections nor billed energy.
    """
    menu, rules = joint.instance.menu, joint.instance.rules
    if min(menu.p2p) < 0:
        raise InputError("menu", "p2p", f"{min(menu.p2p):g} $/kWh is negative", "offer charges of 0 or more")
    lowest = np.array([min(levels) for levels in menu.tariff])[rules.block]
    wedge = lowest + (joint.instance.retail - joint.instance.feed_in).min(axis=1)
    hour = int(wedge.argmin())
    if wedge[hour] <= 0:
        raise InputError(
            "menu", f"tariff[{rules.block[hour]}]", f"importing to export pays in hour {hour} ({-wedge[hour]:g} $/kWh)",
            "raise the lowest tariff or the retail price above the feed-in price",
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Parts:
    """The LP of the lowest prices taken apart: whose columns and rows are whose, and how steps move the follower.

    y = the follower's columns, then for each step of a price billed by scenario, prosumer and scenario the part h of
    the meter's reading to which the step applies.
    """

    lp: ParametricLP
    steps: list[Step]
    own: np.ndarray  # columns of the DSO
    follower: np.ndarray  # columns of the follower
    kept: np.ndarray  # rows of the follower
    led: np.ndarray  # rows of the DSO
    meter: np.ndarray  # (H,) column that each h is a part of
    cost_row: np.ndarray  # (H,) cost row in which it stands
    step: np.ndarray  # (H,) its step

    @property
    def ny(self) -> int:
        return self.follower.size + self.meter.size

    def place(self, columns: ArrayLike) -> np.ndarray:
        """Positions in y of columns of the follower."""
        return np.searchsorted(self.follower, columns)

    @property
    def jump(self) -> np.ndarray:
        return np.array([s.jump for s in self.steps])


def _parts(joint: JointLP) -> _Parts:
    levels = list(sorted_levels(joint.instance.menu).values())
    joint.set_design(joint.instance.menu.design([v[0] for v in levels]))
    joint.set_design(None)
    lp, steps = joint.lp, menu_steps(joint.instance.menu)
    own = _columns(lp, LEADER if "H" in lp.columns else (*LEADER, *HEAD))
    caps = lp.at("cap").ravel() if joint.lines else np.zeros(0, dtype=int)
    absent = np.flatnonzero((lp.col_lower == 0.0) & (lp.col_upper == 0.0))  # assets a prosumer does not have
    follower = np.setdiff1d(np.arange(lp.cost.size), np.concatenate([own, caps, absent]))
    led = np.zeros(lp.row_lower.size, dtype=bool)
    led[np.unique(lp.matrix[:, own].tocoo().row)] = True
    other = np.arange(led.size) != int(lp.row_at("revenue"))
    used = np.diff(lp.matrix[:, follower].tocsr().indptr) > 0
    meter, rows, of = [], [], []
    blocks = joint.instance.rules.n_blocks
    for k, step in enumerate(steps):
        if step.coordinate >= joint.inside.size or not joint.inside[step.coordinate]:
            continue
        for d, columns in zip(joint.data, joint.columns, strict=True):
            reading = columns["gb"][step.coordinate] if step.coordinate < blocks else columns["gk"]
            meter.append(reading)
            rows.append(lp.row_at(f"energy_cost0[{d.own.name}]"))
            of.append(np.full(reading.size, k))
    whole = [np.concatenate(part).astype(int) if part else np.zeros(0, dtype=int) for part in (meter, rows, of)]
    return _Parts(lp, steps, own, follower, np.flatnonzero(~led & used & other), np.flatnonzero(led & other), *whole)


def _follower_rows(joint: JointLP, parts: _Parts, nx: int) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
    """The follower's rows on [x, y]: those of the LP, with limits moved by steps and cost rows charged for h, and
    ``reading - h <= top (1 - z)``, exact for a binary z since h costs and is no larger than it must be
    (:eq:`eq-charged-step`)."""
    lp, steps, jump = parts.lp, parts.steps, parts.jump
    limits, base = _limits(joint, parts)
    fixed = (lp.matrix @ base)[parts.kept]
    moved = sparse.hstack([lp.matrix @ limits, sparse.csr_array((lp.row_lower.size, nx - len(steps)))]).tocsr()
    n_h = parts.meter.size
    charged = sparse.csr_array(
        (-jump[parts.step], (parts.cost_row, np.arange(n_h))), shape=(lp.row_lower.size, n_h)
    ).tocsr()
    own = sparse.hstack([moved[parts.kept], lp.matrix[parts.kept][:, parts.follower], charged[parts.kept]])
    top, each = lp.col_upper[parts.meter], np.arange(n_h)
    steps_of = sparse.csr_array((top, (each, parts.step)), shape=(n_h, nx))
    reading = sparse.csr_array((np.ones(n_h), (each, parts.place(parts.meter))), shape=(n_h, parts.follower.size))
    product = sparse.hstack([steps_of, reading, -sparse.eye_array(n_h)])
    matrix = sparse.csr_array(sparse.vstack([own, product]) if n_h else own)
    matrix.eliminate_zeros()  # a price of zero leaves entries in the cost rows
    low = np.append(lp.row_lower[parts.kept] - fixed, np.full(n_h, -INF))
    return matrix, low, np.append(lp.row_upper[parts.kept] - fixed, top)


def _limits(joint: JointLP, parts: _Parts) -> tuple[sparse.csr_array, np.ndarray]:
    """How steps move the capacity columns, (n, steps), and the columns' values at the lowest limits, (n,)."""
    lp, first = parts.lp, joint.inside.size
    base, entries = np.zeros(lp.cost.size), []
    caps = lp.at("cap").ravel() if joint.lines else np.zeros(0, dtype=int)
    base[caps] = [v[0] for v in list(sorted_levels(joint.instance.menu).values())[first:]]
    for k, step in enumerate(parts.steps):
        if step.coordinate >= first:
            entries.append((caps[step.coordinate - first], k, step.jump))
    row, column, value = np.array(entries).T if entries else np.zeros((3, 0))
    return sparse.csr_array((value, (row.astype(int), column.astype(int))), shape=(base.size, len(parts.steps))), base


def _prices(joint: JointLP, parts: _Parts, nx: int) -> tuple[np.ndarray, sparse.csr_array]:
    """Costs of y at the lowest prices, and what steps add to them: prices that are not billed by scenario."""
    lp, levels = parts.lp, list(sorted_levels(joint.instance.menu).values())
    cost, entries = np.zeros(parts.ny), []
    cost[parts.place(lp.at("R"))] = 1.0
    outside = (joint.billed_on >= 0) & ~joint.inside
    for m in np.flatnonzero(outside):
        cost[parts.place(joint.billed_on[m])] = levels[m][0]
    for k, step in enumerate(parts.steps):
        if step.coordinate < outside.size and outside[step.coordinate]:
            entries.append((k, int(parts.place(joint.billed_on[step.coordinate])), step.jump))
    row, column, value = np.array(entries).T if entries else np.zeros((3, 0))
    return cost, sparse.csr_array((value, (row.astype(int), column.astype(int))), shape=(nx, parts.ny))


def _leader_rows(joint: JointLP, parts: _Parts, nx: int) -> tuple[sparse.csr_array, np.ndarray, np.ndarray, list[str]]:
    """The DSO's rows on [x, y]: its own of the LP, the order of steps, ``product = step times billed quantity`` (exact
    by McCormick, the step being binary) and revenue adequacy."""
    lp, steps, levels = parts.lp, parts.steps, list(sorted_levels(joint.instance.menu).values())
    priced = [(k, step) for k, step in enumerate(steps) if step.coordinate < joint.inside.size]
    nz, own_at = len(steps), {int(j): nx - parts.own.size + k for k, j in enumerate(parts.own)}
    limits, base = _limits(joint, parts)
    fixed, pad = (lp.matrix @ base)[parts.led], sparse.csr_array((parts.led.size, nx - nz - parts.own.size))
    row = lp.matrix[parts.led]
    spare = sparse.csr_array((parts.led.size, parts.meter.size))
    books = sparse.hstack([row @ limits, pad, row[:, parts.own], row[:, parts.follower], spare]).tocsr()
    extra: list[tuple[list[tuple[int, float]], float, float, str]] = []
    for k, step in enumerate(steps):
        if step.level > 1:
            extra.append(([(k - 1, 1.0), (k, -1.0)], 0.0, INF, f"order[{k}]"))
    income = []
    for column, (k, step) in enumerate(priced, nz):
        j = joint.billed_on[step.coordinate]
        low, high, quantity = lp.col_lower[j], lp.col_upper[j], nx + int(parts.place(j))
        extra.append(([(column, 1.0), (k, -high)], -INF, 0.0, f"product[{k}] <= top z"))
        extra.append(([(column, 1.0), (k, -low)], 0.0, INF, f"product[{k}] >= bottom z"))
        extra.append(([(column, 1.0), (quantity, -1.0), (k, -low)], -INF, -low, f"product[{k}] <= quantity"))
        extra.append(
            ([(column, 1.0), (quantity, -1.0), (k, -high)], -high, INF, f"product[{k}] >= quantity - top (1 - z)")
        )
        income.append((column, step.jump))
    for m in np.flatnonzero(joint.billed_on >= 0):
        income.append((nx + int(parts.place(joint.billed_on[m])), levels[m][0]))
    income.append((own_at[int(lp.at("N"))], -joint.variable))
    extra.append((income, joint.instance.least_revenue, INF, "revenue adequacy"))
    index = np.array([(r, j) for r, (entries, *_) in enumerate(extra) for j, _ in entries]).T
    values = np.array([value for entries, *_ in extra for _, value in entries])
    more = sparse.csr_array((values, tuple(index)), shape=(len(extra), nx + parts.ny))
    low, high = (np.array([e[k] for e in extra]) for k in (1, 2))
    sides = [np.append(side[parts.led] - fixed, own) for side, own in ((lp.row_lower, low), (lp.row_upper, high))]
    names = [*(lp.row_label(r) for r in parts.led), *(e[3] for e in extra)]
    return sparse.vstack([books, more]).tocsr(), *sides, names


def market_bilevel(joint: JointLP) -> tuple[LinearBilevel, np.ndarray]:
    """The DSO's problem on the blocks and tangents in ``joint``, and boxes of [x, y] for the solver.

    x = (z steps of prices and limits; products of z and billed quantities; DSO's columns), y = the follower's columns.
    A price billed by scenario multiplies the meter's reading inside the follower's cost rows; there too the product
    with a binary step is exact (``_follower_rows``). Raises InputError where :func:`require_wedge` does.
    """
    require_wedge(joint)
    parts = _parts(joint)
    lp, nz = parts.lp, len(parts.steps)
    priced = [step for step in parts.steps if step.coordinate < joint.inside.size]
    nx = nz + len(priced) + parts.own.size
    cost, prices = _prices(joint, parts, nx)
    *upper, names = _leader_rows(joint, parts, nx)
    on = joint.billed_on[[step.coordinate for step in priced]]
    products = zip(np.minimum(lp.col_lower[on], 0.0), np.maximum(lp.col_upper[on], 0.0), strict=True)
    x_box = [(0.0, 1.0)] * nz + [*products, *zip(lp.col_lower[parts.own], lp.col_upper[parts.own], strict=True)]
    free = [t for t in TECHNICAL if joint.instance.days.retail is None or t not in ("zb", "zs")]
    technical = np.append(np.isin(parts.follower, _columns(lp, tuple(free))), np.ones(parts.meter.size, dtype=bool))
    always = np.append(np.isin(parts.follower, _columns(lp, FREE)), np.zeros(parts.meter.size, dtype=bool))
    low = np.append(lp.col_lower[parts.follower], np.zeros(parts.meter.size))
    high = np.append(lp.col_upper[parts.follower], lp.col_upper[parts.meter])
    F = np.zeros(nx + parts.ny)
    F[nx - parts.own.size + int(np.searchsorted(parts.own, lp.at("F")))] = 1.0
    charged = [f"{parts.steps[k].name} x {lp.column_label(j)}" for k, j in zip(parts.step, parts.meter, strict=True)]
    billed = [f"{step.name} x {lp.column_label(j)}" for step, j in zip(priced, on, strict=True)]
    y_box = zip(np.where(technical & always, -INF, low), np.where(technical, INF, high), strict=True)
    problem = linear_bilevel(
        F, np.concatenate([np.zeros(nx), cost]), nx, Q=prices, upper=tuple(upper),
        lower=_follower_rows(joint, parts, nx), x_bounds=x_box, y_bounds=list(y_box), integer=range(nz),
        x_name=[*(step.name for step in parts.steps), *billed, *(lp.column_label(j) for j in parts.own)],
        y_name=[*(lp.column_label(j) for j in parts.follower), *(f"h[{name}]" for name in charged)],
        row_name=[*(lp.row_label(r) for r in parts.kept), *(f"charged[{name}]" for name in charged)],
        U_name=names, name="three-level market",
    )  # fmt: skip
    return problem, np.concatenate([np.array(x_box), np.stack([low, high], axis=1)])


def bounds_by_hand(joint: JointLP) -> dict[str, float]:
    """Bounds of the market's multipliers by argument, $/kWh or a probability, by name; the modes derive their own.

    Equation :eq:`eq-market-big-m`, with the risk-adjusted probability q of scenario w for prosumer i, block multipliers
    mu and tail multipliers nu of the network rows, and the value lambda of energy at a prosumer:

    .. math::

       q_{iw} &\\le (1 - \\beta_i) p_w + \\beta_i \\min \\Bigl\\{ 1, \\frac{p_w}{1 - \\alpha} \\Bigr\\}, \\qquad
       \\sum_{k} \\nu_{kw} \\le \\min \\{ 1, p_w / \\epsilon \\} \\, \\mu, \\qquad \\mu \\le c^{\\mathrm{voll}}, \\\\
       |\\lambda_{itw}| &\\le \\bigl( \\pi^{\\mathrm r}_{tw} + \\overline{\\tau}_{b(t)}
       + \\overline{\\tau}^{\\mathrm k} \\bigr) q_{iw} + \\overline{\\tau}^{\\mathrm c} p_w
       + c^{\\mathrm{voll}} \\sum_{\\text{blocks at } t} \\max_k |g_{k,n(i)}|

    The first is stationarity of a scenario's cost, of its excess and of the value at risk: with few days it is below
    the plain ``p_w (1 - beta + beta / (1 - alpha))``. The next two are stationarity of a block's quantile, of its
    excess and of the slack that buys its violation; the last is that of imports, with the gradient g of a
    block and the largest levels of the charges on energy and on both peaks.
    """
    instance, rules = joint.instance, joint.instance.rules
    p, price = instance.days.probability, rules.violation_price
    top = np.array([max(levels) for levels in instance.menu.tariff])[rules.block]
    peaks = max(instance.menu.peak), max(instance.menu.coincident)
    found: dict[str, float] = {}
    steepest = np.zeros((instance.feeder.bus.size, instance.days.n_hours))
    for block in joint.blocks:
        gradient = joint.network.form(block).gradient
        steepest[:, block.hour] += np.abs(gradient).max(axis=0)
        found[f"mu_up[quantile:{block.label}]"] = price
        for k, w in np.ndindex(gradient.shape[0], p.size):
            found[f"mu_up[tail{k}:{block.label}[{w}]]"] = min(1.0, float(p[w]) / rules.chance_level) * price
    for own, bus in zip(instance.prosumers, instance.prosumer_bus, strict=True):
        tail = own.beta * np.minimum(1.0, p / (1 - rules.alpha))
        q = (1 - own.beta) * p + tail
        for w in range(p.size):
            found[f"lam[energy_cost0[{own.name}][{w}]]"] = q[w]
            found[f"mu_up[cvar_rows0[{own.name}][{w}]]"] = tail[w]
            for t in range(instance.days.n_hours):
                charged = (top[t] + peaks[0]) * (q[w] if rules.billing == "scenario" else p[w]) + peaks[1] * p[w]
                energy = instance.retail[t, w] * q[w] + charged + price * steepest[bus, t]
                found[f"lam[power_balance0[{own.name}][{t}, {w}]]"] = float(energy)
    return found


def storage_bounds(joint: JointLP, problem: LinearBilevel, box: np.ndarray) -> dict[str, float]:
    """Bounds of the storage multipliers, for the ``dual_bound`` of :func:`~tritier.reformulation.solve.solve`.

    Stationarity alone does not bound the value of stored energy: it may run away while a battery charges at full power
    from empty to full. Clip such values at the dearest hour, ``top = max (|balance multiplier| + wear) / eta``: steps
    between hours keep their sign or vanish, and charging or discharging at full power keeps its reason, so the clipped
    vector is optimal too. So does a backlog: what waits is drawn at full power, or not at all, for the same reason.
    Balance multipliers are bounded by propagation.

    Raises InputError where stored energy has a price (``rules.tie_break``).
    """
    kkt = kkt_system(problem)
    known = propagated_bounds(kkt, primal_boxes(problem, box)[0][: problem.nx], np.full(kkt.h.size, INF))
    balance = [known[k] for k, name in enumerate(kkt.name) if name.startswith("lam[power_balance")]
    if joint.instance.rules.tie_break:
        raise InputError(
            problem.name, "tie_break", "a price on stored energy, which the bound does not allow", "set it to 0"
        )
    wear = max(p.degradation for p in joint.instance.prosumers)
    risk = max(1 - p.beta + p.beta / (1 - joint.instance.rules.alpha) for p in joint.instance.prosumers)
    top = (max(balance) + wear * risk) / min(p.eta for p in joint.instance.prosumers)
    return {name: top for name in kkt.name if name.startswith("lam[") and any(term in name for term in STORED)}


def design_of(joint: JointLP, x: np.ndarray) -> Design:
    """The design that the steps in x choose."""
    menu = joint.instance.menu
    count: dict[int, int] = {}
    for step, z in zip(menu_steps(menu), x, strict=False):
        count[step.coordinate] = count.get(step.coordinate, 0) + round(z)
    return menu.design([levels[count.get(m, 0)] for m, levels in enumerate(sorted_levels(menu).values())])


# A three-level market small enough for every complementarity mode, and its growth by hours.
#
# One battery, firm demand, a limit at the feeder head that binds and a revenue requirement that excludes the cheapest
# design: the example of the complementarity chapter, and a known answer of the tests.


PROSUMERS = 3
MARGIN = 0.5  # $/day that the example asks beyond what its cheapest design recovers


@dataclass(frozen=True, eq=False)
class MarketExample:
    """The market as one linear bilevel problem: with the revenue row, without it, its boxes and storage bounds."""

    joint: JointLP
    problem: LinearBilevel
    unrestricted: LinearBilevel
    box: np.ndarray  # (nx + ny, 2)
    dual_bound: dict[str, float]


def example_instance(hours: int = 4, scenarios: int = 2, seed: int = 3, billing: str = "expected") -> Instance:
    """Three prosumers in a row behind the substation, random demand and sun, tariff blocks of equal length.

    Demand 50 to 150 kW; prosumers 1 and 3 have up to 200 kW of sun, prosumer 1 a battery of 40 kWh and 20 kW.
    """
    rng = np.random.default_rng(seed)
    shape, buses = (PROSUMERS, hours, scenarios), PROSUMERS + 1
    demand = rng.uniform(50, 150, shape)
    sun = rng.uniform(0, 200, shape) * np.array([1.0, 0.0, 1.0])[:, None, None]
    weight = rng.uniform(1, 2, scenarios)
    zero = np.zeros((buses, hours, scenarios))
    label = tuple(f"day {w}" for w in range(scenarios))
    days = Days(weight / weight.sum(), demand, sun, zero, zero, np.full((hours, scenarios), 0.05), label)
    people = tuple(
        Prosumer(f"P{k + 2}", k + 2, 0.0, 0.0, 40.0 * (k == 0), 20.0 * (k == 0), 0.95, 0.04, 0.5)
        for k in range(PROSUMERS)
    )
    menu = Menu(((0.02, 0.08), (0.02, 0.08), (0.02,)), (0.01,), ((1, (220.0, 240.0, 1000.0)),))
    return Instance(_feeder(buses), people, days, _rules(hours, billing), menu, fixed_cost=-1e3)


def market_example(hours: int = 4, scenarios: int = 2, seed: int = 3, billing: str = "expected") -> MarketExample:
    """The example with a revenue requirement just above what its cheapest design recovers, so that both limits bind."""
    joint = with_blocks_of_menu(JointLP(example_instance(hours, scenarios, seed, billing)))
    free, box = market_bilevel(joint)
    row = free.U_name.index("revenue adequacy")
    _, x, y, _ = enumerate_discrete(free)
    least = free.U_lower.copy()
    least[row] = (free.U @ np.concatenate([x, y]))[row] + MARGIN
    problem = replace(free, U_lower=least)
    return MarketExample(joint, problem, free, box, storage_bounds(joint, problem, box))


def _feeder(buses: int) -> Feeder:
    lines = buses - 1
    return Feeder(
        bus=np.arange(1, buses + 1),
        p_kw=np.zeros(buses),
        q_kvar=np.zeros(buses),
        v_min=np.full(buses, 0.9),
        v_max=np.full(buses, 1.1),
        line=np.arange(1, buses),
        parent=np.arange(lines),
        r_ohm=np.full(lines, 2.0),
        x_ohm=np.full(lines, 2.0),
        rating_kva=np.full(lines, 5000.0),
        vn_kv=10.0,
        v_slack=1.0,
    )


def _rules(hours: int, billing: str) -> Rules:
    return Rules(
        retail=np.full(hours, 0.30),
        feed_in=np.full(hours, 0.10),
        block=(np.arange(hours) * 3 // hours).astype(int),
        reference_price=0.38,
        elasticity=-0.1,
        flexibility=0.0,
        demand_blocks=2,
        alpha=0.9,
        chance_level=0.05,
        violation_price=3.0,
        voltage_margin=0.0,
        demand_charge=0.3,
        tie_break=0.0,
        reference_value=0.5,
        tax_share=0.7175,
        vat_share=0.19,
        billing=billing,
    )


def bound_table(example: MarketExample) -> pd.DataFrame:
    """The market's M by kind of multiplier: how many, by argument, as derived, and the largest that occurs.

    Columns ``multiplier``, ``source`` (of the derived bound), ``number``, ``argument`` (nan where the argument says
    nothing), ``derived``, ``largest`` (over the follower's LPs at all points of the menu).
    """
    kkt, hand = kkt_system(example.problem), bounds_by_hand(example.joint)
    derived = boxes(kkt, example.dual_bound, example.box)
    found = [solve_follower(example.problem, np.nan_to_num(x))[3:] for x in discrete_points(example.problem)]
    table = pd.DataFrame(
        {
            "multiplier": [_kind(name) for name in kkt.name],
            "source": derived.dual_source,
            "argument": [hand.get(name, np.nan) for name in kkt.name],
            "derived": derived.dual,
            "largest": np.max([np.abs(kkt.multipliers(*duals)) for duals in found], axis=0),
        }
    )
    groups = table.groupby(["multiplier", "source"], sort=False, as_index=False)
    return groups.agg(number=("derived", "size"), **{c: (c, "max") for c in ("argument", "derived", "largest")})


def _kind(name: str) -> str:
    """``mu_up of tail`` from ``mu_up[tail0:capacity[0,3][1]]``."""
    mark, rest = name.split("[", 1)
    return f"{mark} of {rest.split('[')[0].split(':')[0].rstrip('0123456789]')}"
