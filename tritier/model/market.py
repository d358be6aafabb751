"""Level 2: the P2P platform, and the joint follower (levels 2 and 3 as one LP) in cvxpy.

Proposition 1: for fixed tariffs and limits the equilibrium of prosumers, platform and passive loads is the solution
of one LP. :func:`joint_follower` writes that LP; prices are duals of its coupling rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from tritier.inputs.instance import Design, Instance
from tritier.model.chance import Block, BlockForm, Network
from tritier.model.devices import Box, Decisions, ProsumerData, box
from tritier.model.prosumer import (
    all_data,
    cost_box,
    injection,
    largest_injection,
    prosumer_boxes,
    prosumer_rows,
    prosumer_variables,
    risk_adjusted_cost,
)
from tritier.model.risk import Term, cvar, cvar_rows
from tritier.model.tariff import billed_energy, expected_trade, inside, membership, passive_peaks, quantities

Labelled = list[tuple[str, cp.Constraint]]


@dataclass(frozen=True, eq=False)
class Books:
    """Bookkeeping columns: the few quantities through which the levels touch."""

    R: cp.Variable  # () prosumers' risk-adjusted cost with the charges billed by scenario, violation cost included, $
    G: cp.Variable  # (B,) billed energy by tariff block, passive loads included, kWh
    Z: cp.Variable  # () P2P volume, kWh
    K: cp.Variable  # () sum of all customers' own largest imports, passive loads included, kW
    H: cp.Variable  # () largest import of the head, kW
    slack: cp.Variable  # () violations bought at the declared price, kWh
    cap: cp.Variable  # (C,) capacity limits offered, kW, in the order of the menu
    head: cp.Variable  # (T, S) lossless flow into the feeder head, kW
    peak: cp.Variable  # (S,) peak import of the day, kW


@dataclass(frozen=True, eq=False)
class Follower:
    """The joint follower: variables by agent, bookkeeping columns, labelled rows, and the tariff's prices."""

    instance: Instance
    data: tuple[ProsumerData, ...]
    prosumers: tuple[Decisions, ...]
    books: Books
    prices: cp.Parameter  # (B + 3,) as in Design.prices: coefficients of the cost rows
    rows: Labelled

    def problem(self, design: Design) -> cp.Problem:
        """The joint follower at a design as a cvxpy problem (:eq:`eq-joint-follower`)."""
        b, outside = self.books, np.where(inside(self.instance.rules), 0.0, design.prices)
        bill = outside @ cp.hstack([b.G, b.Z, b.K, b.H])
        limits = dict(design.capacity)
        fixed = [
            b.cap[k] == limits.get(line, b.cap.bounds[1][k]) for k, line in enumerate(capacity_lines(self.instance))
        ]
        self.prices.value = design.prices
        return cp.Problem(cp.Minimize(b.R + bill), [c for _, c in self.rows] + fixed)


def capacity_lines(instance: Instance) -> tuple[int, ...]:
    """Line numbers whose capacity the DSO sets, in the order of the menu."""
    return tuple(line for line, _ in instance.menu.capacity)


def line_position(instance: Instance, line: int) -> int:
    """Position of a line number in the feeder's arrays."""
    return int(np.flatnonzero(instance.feeder.line == line)[0])


def limits_by_position(instance: Instance, limits: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Limits by line number, as of a design or a menu's largest, kW, by position of their line."""
    return {line_position(instance, line): float(limit) for line, limit in limits}


def p2p_balance(prosumers: Iterable[Decisions]) -> cp.Constraint:
    """P2P sales equal purchases in every hour, and scenario where trade is contingent on it; the dual is the P2P price
    (:eq:`eq-p2p-balance`)."""
    return sum(x["zs"] - x["zb"] for x in prosumers) == 0


def p2p_volume(probability: np.ndarray, prosumers: Iterable[Decisions]) -> Term:
    """P2P volume of the day, kWh: half of purchases and sales, since each side pays half the charge
    (:eq:`eq-p2p-volume`)."""
    return sum(expected_trade(probability, x["zb"] + x["zs"]) for x in prosumers) / 2


def block_violation(instance: Instance, form: BlockForm, hour: int, inject: Sequence[Term]) -> list[cp.Expression]:
    """The affine violations of a block over the scenarios before the offered limit, kW, K of (S,)
    (:eq:`eq-block-forms`).

    inject: net injection of every prosumer, kW, I of (T, S).
    """
    bus = instance.prosumer_bus
    passive = instance.days.passive_kw[:, hour, :]
    return [
        gradient @ passive
        - limit
        - sum(gradient[bus[i]] * q[hour] for i, q in enumerate(inject) if gradient[bus[i]] != 0)
        for gradient, limit in zip(form.gradient, form.limit, strict=True)
    ]


def violation_box(instance: Instance, form: BlockForm) -> float:
    """A bound on the absolute violation of a block, kW, from the boxes of the prosumers."""
    bus, largest = instance.prosumer_bus, limits_by_position(instance, instance.menu.largest_limits)
    passive = (np.abs(form.gradient) @ instance.days.passive_kw.max(axis=(1, 2))).max()
    moved = (np.abs(form.gradient[:, bus]) @ largest_injection(instance)).max()
    return float(passive + moved + np.abs(form.limit).max() + form.offered(largest))


def chance_block(
    instance: Instance, form: BlockForm, block: Block, inject: Sequence[Term], cap: cp.Variable
) -> tuple[Labelled, cp.Variable]:
    """Rows of CVaR_{1-eps}(violation) <= slack, and the block's slack, kW (:eq:`eq-chance`).

    inject: net injection of every prosumer, kW, I of (T, S); cap: limits offered, kW, (C,), in the order of the menu.
    """
    days, rules = instance.days, instance.rules
    box = violation_box(instance, form)
    var = cp.Variable(name=f"var:{block.label}", bounds=[-box, box])
    excess = cp.Variable(days.n_days, name=f"excess:{block.label}", bounds=[0, 2 * box])
    slack = cp.Variable(name=f"slack:{block.label}", bounds=[0, 2 * box / rules.chance_level])
    offered = 0.0
    if form.capacity is not None:
        lines = [line_position(instance, line) for line in capacity_lines(instance)]
        offered = cap[lines.index(form.capacity)]
    rows: Labelled = []
    for k, x in enumerate(block_violation(instance, form, block.hour, inject)):
        rows += [(f"tail{k}:{block.label}", c) for c in cvar_rows(x - offered, var, excess)]
    rows.append((f"quantile:{block.label}", cvar(days.probability, 1 - rules.chance_level, var, excess) <= slack))
    return rows, slack


def head_flow(instance: Instance, prosumers: Iterable[Decisions]) -> Term:
    """Lossless flow into the feeder head, kW, (T, S); P2P trades cancel (:eq:`eq-head-flow`)."""
    return instance.days.passive_kw.sum(axis=0) + sum(x["gp"] - x["gm"] for x in prosumers)


def book_boxes(instance: Instance, data: Sequence[ProsumerData], market: bool = True) -> dict[str, Box]:
    """Boxes of the bookkeeping columns, by name, which never bind."""
    days, rules, own = instance.days, instance.rules, [prosumer_boxes(d, market) for d in data]
    worth = sum(cost_box(d) * (1 + d.own.beta / (1 - rules.alpha)) for d in data)
    imports = sum(x["gp"][1].sum(axis=0).max() for x in own) + days.passive_kw.sum(axis=(0, 1)).max()
    trade = sum(x["zb"][1].sum() for x in own)
    levels = np.array([(min(m), max(m)) for _, m in instance.menu.capacity]).reshape(-1, 2)
    gross = days.passive_kw.sum(axis=0) + sum(x["gp"][1] for x in own)
    most = float(max(gross.max(), np.max(sum(x["gm"][1] for x in own))))
    return {
        "R": box(1e2 * worth, (), -1e2 * worth),
        "G": box(imports, (rules.n_blocks,)),
        "Z": box(trade, ()),
        "K": box(imports, ()),
        "H": box(most, ()),
        "head": box(most, days.wholesale.shape, -most),
        "peak": box(most, (days.n_days,)),
        "slack": box(1e2 * worth / rules.violation_price, ()),
        "cap": (levels[:, 0], levels[:, 1]),
    }


def named_columns(boxes: Mapping[str, Box]) -> dict[str, cp.Variable]:
    """A variable for each name, with its box as bounds."""
    return {name: cp.Variable(lower.shape, name=name, bounds=[lower, upper]) for name, (lower, upper) in boxes.items()}


def joint_follower(instance: Instance, blocks: Iterable[Block] = (), market: bool = True) -> Follower:
    """Levels 2 and 3 as one LP, with the given chance blocks (:eq:`eq-joint-follower`).

    ``market=False`` closes the P2P market (Cases 0 and 1). Variable bounds are bounds, not rows.
    """
    data = all_data(instance)
    prosumers = tuple(prosumer_variables(d, d.own.name, market) for d in data)
    books = Books(**named_columns(book_boxes(instance, data, market)))
    prices = cp.Parameter(instance.rules.n_blocks + 3, name="tau", value=np.ones(instance.rules.n_blocks + 3))
    rows: Labelled = []
    for d, x in zip(data, prosumers, strict=True):
        rows += [(f"{row.label}[{d.own.name}]", row.constraint()) for row in prosumer_rows(d, x, prices)]
    rows.append(("p2p_balance", p2p_balance(prosumers)))
    network = Network(instance)
    bought, inject = [], [injection(x) for x in prosumers]
    for block in blocks:
        block_rows, slack = chance_block(instance, network.form(block), block, inject, books.cap)
        rows += block_rows
        bought.append(slack)
    rows.append(("slack", books.slack == sum(bought)))
    risk = sum(risk_adjusted_cost(d, x) for d, x in zip(data, prosumers, strict=True))
    rows.append(("R", books.R == risk + instance.rules.violation_price * books.slack))
    rows += book_rows(instance, prosumers, books)
    return Follower(instance, data, prosumers, books, prices, rows)


def book_rows(instance: Instance, prosumers: Sequence[Decisions], books: Books) -> Labelled:
    """What the components of the tariff are billed on, and the flow and the peak of the head; a peak that no menu
    charges has no row (:eq:`eq-billed-energy`, :eq:`eq-p2p-volume`, :eq:`eq-head-flow`)."""
    p, offered = instance.days.probability, quantities(instance.menu)
    if instance.rules.billing == "scenario":
        energy = sum(x["gb"] for x in prosumers)
    else:
        energy = membership(instance.rules) @ sum(x["gp"] for x in prosumers)
    rows: Labelled = [
        ("head", books.head == head_flow(instance, prosumers)),
        ("peak", cp.reshape(books.peak, (1, -1), order="C") >= books.head),
        ("G", books.G == billed_energy(instance, energy)),
        ("Z", books.Z == p2p_volume(p, prosumers)),
    ]
    if "K" in offered:
        rows.append(("K", books.K == passive_peaks(instance) + p @ sum(x["gk"] for x in prosumers)))
    if "H" in offered:
        rows.append(("H", books.H == p @ books.peak))
    return rows
