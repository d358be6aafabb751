"""Level 1: the DSO's social cost, network cost and revenue, as columns of the LP and exactly from decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product

import cvxpy as cp
import numpy as np

from tritier.inputs.instance import Design, Instance, Menu, quantity
from tritier.model.market import Follower, Labelled
from tritier.model.network import losses_kw
from tritier.model.prosumer import degradation_cost, lost_value


@dataclass(frozen=True, eq=False)
class LeaderBooks:
    """Columns that only the DSO sees. Losses are an epigraph: tangents bound them from below."""

    F: cp.Variable  # () social cost, $
    N: cp.Variable  # () network cost to recover besides the fixed cost, $
    head: cp.Variable  # (T, S) lossless flow into the feeder head, kW
    peak: cp.Variable  # (S,) peak import of the day, kW
    loss: cp.Variable  # (T, S) losses, kW


def loss_price(instance: Instance) -> np.ndarray:
    """Price of losses, $/kWh, (T, S): max(wholesale, 0), so that their cost stays convex (:eq:`eq-loss-price`)."""
    return np.maximum(instance.days.wholesale, 0)


def head_flow(instance: Instance, prosumers) -> cp.Expression:
    """Lossless flow into the feeder head, kW, (T, S); P2P trades cancel (:eq:`eq-head-flow`)."""
    return instance.days.passive_kw.sum(axis=0) + sum(v.gp - v.gm for v in prosumers)


def leader_books(follower: Follower) -> tuple[LeaderBooks, Labelled]:
    """The DSO's columns and rows on top of the joint follower (:eq:`eq-social-cost`, :eq:`eq-network-cost`)."""
    instance, days, rules = follower.instance, follower.instance.days, follower.instance.rules
    shape = days.wholesale.shape
    gross = days.passive_kw.sum(axis=0) + sum(v.gp.bounds[1] for v in follower.prosumers)
    back = sum(v.gm.bounds[1] for v in follower.prosumers)
    most = float(max(gross.max(), np.max(back)))
    worst_loss = losses_kw(
        np.full((instance.feeder.line.size, 1), most), np.full((instance.feeder.line.size, 1), most), instance.feeder
    )
    money = (
        np.abs(days.wholesale).sum(axis=0).max() + rules.demand_charge + loss_price(instance).sum(axis=0).max()
    ) * (most + float(worst_loss[0])) + 2 * float(follower.books.R.bounds[1])
    b = LeaderBooks(
        F=cp.Variable(name="F", bounds=[-money, money]),
        N=cp.Variable(name="N", bounds=[0, money]),
        head=cp.Variable(shape, name="head", bounds=[-most, most]),
        peak=cp.Variable(shape[1], name="peak", bounds=[0, most]),
        loss=cp.Variable(shape, name="loss", bounds=[0, float(worst_loss[0])]),
    )
    wholesale = cp.sum(cp.multiply(days.wholesale * days.probability, b.head))
    loss_cost = cp.sum(cp.multiply(loss_price(instance) * days.probability, b.loss))
    demand_charge = rules.demand_charge * (days.probability @ b.peak)
    wear = sum(
        days.probability @ degradation_cost(d, v.ch, v.dis)
        for d, v in zip(follower.data, follower.prosumers, strict=True)
    )
    lost = sum(
        days.probability @ lost_value(d, v.served) for d, v in zip(follower.data, follower.prosumers, strict=True)
    )
    violation = rules.violation_price * follower.books.slack
    rows: Labelled = [
        ("head", b.head == head_flow(instance, follower.prosumers)),
        ("peak", cp.reshape(b.peak, (1, -1), order="C") >= b.head),
        ("N", b.N == loss_cost + demand_charge),
        ("F", b.F == wholesale + b.N + wear + lost + violation),
    ]
    return b, rows


@dataclass(frozen=True)
class SocialCost:
    """The social cost of a day by part, expected over the scenarios, $ (:eq:`eq-social-cost`)."""

    wholesale: float = quantity(r"F^{\omega}", "$/day", "1", "wholesale cost of net imports at the head")
    losses: float = quantity(r"F^{\mathrm{loss}}", "$/day", "1", "cost of losses at max(wholesale, 0)")
    demand_charge: float = quantity(r"F^{\mathrm{pk}}", "$/day", "1", "demand charge on the day's peak")
    degradation: float = quantity(r"F^{\mathrm{deg}}", "$/day", "1", "battery wear")
    lost_value: float = quantity(r"F^{\mathrm{dr}}", "$/day", "1", "lost value of demand")
    violation: float = quantity(
        r"F^{\mathrm{voll}}", "$/day", "1", "violations at the declared price; zero in a reported design"
    )

    @property
    def total(self) -> float:
        return sum(getattr(self, f.name) for f in fields(self))

    @property
    def network(self) -> float:
        """Network cost to recover besides the fixed cost: losses and demand charge, $ (:eq:`eq-network-cost`)."""
        return self.losses + self.demand_charge


def menu_points(menu: Menu) -> Iterator[Design]:
    """Every design of a menu, in lexicographic order."""
    lines = [line for line, _ in menu.capacity]
    for *tariff, p2p, limits in product(*menu.tariff, menu.p2p, product(*(m for _, m in menu.capacity))):
        yield Design(tuple(tariff), p2p, tuple(zip(lines, limits, strict=True)))


def on_menu(menu: Menu, design: Design) -> bool:
    """Whether a design is a point of the menu."""
    offered = dict(menu.capacity)
    return (
        all(t in m for t, m in zip(design.tariff, menu.tariff, strict=True))
        and design.p2p in menu.p2p
        and {line for line, _ in design.capacity} == set(offered)
        and all(limit in offered[line] for line, limit in design.capacity)
    )


def revenue(design: Design, energy: np.ndarray, volume: float) -> float:
    """Expected tariff revenue of the DSO, $/day (:eq:`eq-revenue`). energy: billed kWh by block (B,); volume: P2P
    kWh."""
    return float(np.asarray(design.tariff) @ energy + design.p2p * volume)


def revenue_slack(instance: Instance, design: Design, energy: np.ndarray, volume: float, network_cost: float) -> float:
    """Revenue beyond the fixed cost and the network cost, $/day; adequacy asks for >= 0 (:eq:`eq-revenue-adequacy`)."""
    return revenue(design, energy, volume) - instance.fixed_cost - network_cost
