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
from scipy import sparse

from tritier.errors import InputError
from tritier.inputs.instance import Days, Design, Feeder, Instance, Menu, Prosumer, Rules
from tritier.model.dso import menu_points
from tritier.reformulation.bilevel import INF, LinearBilevel, linear_bilevel, solve_follower
from tritier.reformulation.bounds import boxes, primal_boxes, propagated_bounds
from tritier.reformulation.joint import JointLP
from tritier.reformulation.kkt import kkt_system
from tritier.reformulation.lp import ParametricLP
from tritier.reformulation.solve import discrete_points, enumerate_menu

LEADER = ("F", "N", "head", "peak", "loss")
#: columns whose boxes are no constraints of the follower: bookkeeping, risk, trade and exchange with the retailer
TECHNICAL = ("R", "G", "Z", "slack", "cost", "var", "excess", "gp", "gm", "zb", "zs")


def settled(joint: JointLP) -> JointLP:
    """Add every chance block that an answer on the menu violates, and loss tangents there, until none is missing."""
    while True:
        blocks = len(joint.blocks)
        for design in menu_points(joint.instance.menu):
            joint.offer(design)
            joint.tangent(joint.net_load(joint.settle(joint.cost(design)).x))
        if len(joint.blocks) == blocks:
            joint.offer(None)
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


def market_bilevel(joint: JointLP) -> tuple[LinearBilevel, np.ndarray]:
    """The DSO's problem on the blocks and tangents in ``joint``, and boxes of [x, y] for the solver.

    x = (z steps of tariffs, P2P charge and limits; products ``z G``; DSO's columns), y = the follower's columns.
    Raises InputError where :func:`require_wedge` does.
    """
    require_wedge(joint)
    lp, menu = joint.lp, joint.instance.menu
    n = lp.cost.size
    billed = [*lp.at("G").ravel().tolist(), int(lp.at("Z"))]
    caps = lp.at("cap").ravel() if joint.lines else np.zeros(0, dtype=int)
    own = _columns(lp, LEADER)
    absent = np.flatnonzero((lp.col_lower == 0.0) & (lp.col_upper == 0.0))  # assets a prosumer does not have
    follower = np.setdiff1d(np.arange(n), np.concatenate([own, caps, absent]))
    place = {int(j): k for k, j in enumerate(follower)}
    menus = [*menu.tariff, menu.p2p, *(levels for _, levels in menu.capacity)]
    targets = [*billed, *caps.tolist()]
    steps = [(m, k) for m, levels in enumerate(menus) for k in range(1, len(levels))]
    n_tariff = sum(m < len(billed) for m, _ in steps)
    nz, nx = len(steps), len(steps) + n_tariff + own.size
    jump = np.array([menus[m][k] - menus[m][k - 1] for m, k in steps])

    # Follower: steps of tariffs are prices, steps of limits move right-hand sides.
    leader_rows = np.zeros(lp.row_lower.size, dtype=bool)
    leader_rows[np.unique(lp.matrix[:, own].tocoo().row)] = True
    revenue = int(lp.row_at("revenue"))
    used = np.diff(lp.matrix[:, follower].tocsr().indptr) > 0
    kept = np.flatnonzero(~leader_rows & used & (np.arange(leader_rows.size) != revenue))
    led = np.flatnonzero(leader_rows & (np.arange(leader_rows.size) != revenue))
    base = np.zeros(n)
    base[caps] = [levels[0] for _, levels in menu.capacity]
    limit_steps = sparse.lil_array((n, nx))
    prices = sparse.lil_array((nx, follower.size))
    for s, (m, _) in enumerate(steps):
        if m < len(billed):
            prices[s, place[targets[m]]] = jump[s]
        else:
            limit_steps[targets[m], s] = jump[s]
    limit_steps = limit_steps.tocsr()
    cost = np.zeros(follower.size)
    cost[place[int(lp.at("R"))]] = 1.0
    for m, column in enumerate(billed):
        cost[place[column]] = menus[m][0]
    fixed = lp.matrix @ base

    def rows(index, with_own):
        left = lp.matrix[index] @ limit_steps
        if with_own:
            spread = sparse.hstack([sparse.csr_array((own.size, nx - own.size)), sparse.eye_array(own.size)])
            left = left + lp.matrix[index][:, own] @ spread
        matrix = sparse.hstack([left, lp.matrix[index][:, follower]], format="csr")
        return matrix, lp.row_lower[index] - fixed[index], lp.row_upper[index] - fixed[index]

    lower = rows(kept, False)
    led_block = rows(led, True)
    extra, extra_low, extra_high, names = [], [], [], []

    def add(entries, low, high, name):
        row = np.zeros(nx + follower.size)
        for position, value in entries:
            row[position] += value
        extra.append(row)
        extra_low.append(low)
        extra_high.append(high)
        names.append(name)

    for s, (_, k) in enumerate(steps):
        if k > 1:
            add([(s - 1, 1.0), (s, -1.0)], 0.0, INF, f"order[{s}]")
    income, column = [], nz
    x_box = [(0.0, 1.0)] * nz
    for s, (m, _) in enumerate(steps[:n_tariff]):
        G = nx + place[targets[m]]
        low, high = lp.col_lower[targets[m]], lp.col_upper[targets[m]]
        add([(column, 1.0), (s, -high)], -INF, 0.0, f"product[{s}] <= top z")
        add([(column, 1.0), (s, -low)], 0.0, INF, f"product[{s}] >= bottom z")
        add([(column, 1.0), (G, -1.0), (s, -low)], -INF, -low, f"product[{s}] <= G")
        add([(column, 1.0), (G, -1.0), (s, -high)], -high, INF, f"product[{s}] >= G - top (1 - z)")
        income.append((column, jump[s]))
        x_box.append((min(low, 0.0), max(high, 0.0)))
        column += 1
    income += [(nx + place[G], menus[m][0]) for m, G in enumerate(billed)]
    own_at = {int(j): column + k for k, j in enumerate(own)}
    add([*income, (own_at[int(lp.at("N"))], -1.0)], joint.instance.fixed_cost, INF, "revenue adequacy")
    x_box += list(zip(lp.col_lower[own], lp.col_upper[own], strict=True))

    technical = np.isin(follower, _columns(lp, TECHNICAL))
    always = np.isin(follower, _columns(lp, ("R", "G", "Z", "cost", "var")))
    y_low = np.where(technical & always, -INF, lp.col_lower[follower])
    y_high = np.where(technical, INF, lp.col_upper[follower])
    F = np.zeros(nx + follower.size)
    F[own_at[int(lp.at("F"))]] = 1.0
    kinds = [*(f"tau[{b + 1}]" for b in range(len(menu.tariff))), "tau_p", *(f"cap[{line}]" for line in joint.lines)]
    picks = [f"step {k} of {kinds[m]}" for m, k in steps]
    problem = linear_bilevel(
        F, np.concatenate([np.zeros(nx), cost]), nx, Q=prices,
        upper=(sparse.vstack([led_block[0], sparse.csr_array(np.array(extra))], format="csr"),
               np.append(led_block[1], extra_low), np.append(led_block[2], extra_high)),
        lower=lower, x_bounds=x_box, y_bounds=list(zip(y_low, y_high, strict=True)), integer=range(nz),
        x_name=[*picks, *(f"{name} x G" for name in picks[:n_tariff]), *(lp.column_label(j) for j in own)],
        y_name=[lp.column_label(j) for j in follower], row_name=[lp.row_label(r) for r in kept],
        U_name=[*(lp.row_label(r) for r in led), *names], name="three-level market",
    )  # fmt: skip
    box = np.concatenate([np.array(x_box), np.stack([lp.col_lower[follower], lp.col_upper[follower]], axis=1)])
    return problem, box


def bounds_by_hand(joint: JointLP) -> dict[str, float]:
    """Bounds of the market's multipliers by argument, $/kWh or a probability, by name; the modes derive their own.

    Equation :eq:`eq-market-big-m`, with the risk-adjusted probability q of scenario w for prosumer i, block multipliers
    mu and tail multipliers nu of the network rows, and the value lambda of energy at a prosumer:

    .. math::

       q_{iw} &\\le (1 - \\beta_i) p_w + \\beta_i \\min \\Bigl\\{ 1, \\frac{p_w}{1 - \\alpha} \\Bigr\\}, \\qquad
       \\sum_{k} \\nu_{kw} \\le \\min \\{ 1, p_w / \\epsilon \\} \\, \\mu, \\qquad \\mu \\le c^{\\mathrm{voll}}, \\\\
       |\\lambda_{itw}| &\\le \\pi^{\\mathrm r}_t q_{iw} + \\overline{\\tau}_{b(t)} p_w
       + c^{\\mathrm{voll}} \\sum_{\\text{blocks at } t} \\max_k |g_{k,n(i)}|

    The first is stationarity of a scenario's cost, of its excess and of the value at risk: with few days it is below
    the plain ``p_w (1 - beta + beta / (1 - alpha))``. The next two are stationarity of a block's quantile, of its
    excess and of the slack that buys its violation; the last is that of imports, with the gradient g of a block.
    """
    instance, rules = joint.instance, joint.instance.rules
    p, price = instance.days.probability, rules.violation_price
    top = np.array([max(levels) for levels in instance.menu.tariff])[rules.block]
    found: dict[str, float] = {}
    steepest = np.zeros((instance.feeder.bus.size, instance.days.n_hours))
    for block in joint.blocks:
        gradient = joint.network.form(block).gradient
        steepest[:, block.hour] += np.abs(gradient).max(axis=0)
        found[f"mu_up[quantile:{block.label}]"] = price
        for k, w in np.ndindex(gradient.shape[0], p.size):
            found[f"mu_up[tail{k}:{block.label}[{w}]]"] = min(1.0, p[w] / rules.chance_level) * price
    for own, bus in zip(instance.prosumers, instance.prosumer_bus, strict=True):
        tail = own.beta * np.minimum(1.0, p / (1 - rules.alpha))
        q = (1 - own.beta) * p + tail
        for w in range(p.size):
            found[f"lam[energy_cost0[{own.name}][{w}]]"] = q[w]
            found[f"mu_up[cvar_rows0[{own.name}][{w}]]"] = tail[w]
            for t in range(instance.days.n_hours):
                energy = instance.retail[t, w] * q[w] + top[t] * p[w] + price * steepest[bus, t]
                found[f"lam[power_balance0[{own.name}][{t}, {w}]]"] = float(energy)
    return found


def storage_bounds(joint: JointLP, problem: LinearBilevel, box: np.ndarray) -> dict[str, float]:
    """Bounds of the storage multipliers, for the ``dual_bound`` of :func:`~tritier.reformulation.solve.solve`.

    Stationarity alone does not bound the value of stored energy: it may run away while a battery charges at full power
    from empty to full. Clip such values at the dearest hour, ``top = max (|balance multiplier| + wear) / eta``: steps
    between hours keep their sign or vanish, and charging or discharging at full power keeps its reason, so the clipped
    vector is optimal too. Balance multipliers are bounded by propagation.

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
    return {name: top for name in kkt.name if name.startswith("lam[soc_dynamics")}


def design_of(joint: JointLP, x: np.ndarray) -> Design:
    """The design that the steps in x choose."""
    menu = joint.instance.menu
    menus = [*menu.tariff, menu.p2p, *(levels for _, levels in menu.capacity)]
    chosen, s = [], 0
    for levels in menus:
        count = int(np.rint(x[s : s + len(levels) - 1]).sum())
        chosen.append(levels[count])
        s += len(levels) - 1
    b = len(menu.tariff)
    return Design(tuple(chosen[:b]), chosen[b], tuple(zip(joint.lines, chosen[b + 1 :], strict=True)))


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


def example_instance(hours: int = 4, scenarios: int = 2, seed: int = 3) -> Instance:
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
    return Instance(_feeder(buses), people, days, _rules(hours), menu, fixed_cost=-1e3)


def market_example(hours: int = 4, scenarios: int = 2, seed: int = 3) -> MarketExample:
    """The example with a revenue requirement just above what its cheapest design recovers, so that both limits bind."""
    joint = settled(JointLP(example_instance(hours, scenarios, seed)))
    free, box = market_bilevel(joint)
    row = free.U_name.index("revenue adequacy")
    _, x, y, _ = enumerate_menu(free)
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


def _rules(hours: int) -> Rules:
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
        billing="expected",
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
