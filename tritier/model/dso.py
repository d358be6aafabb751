"""Level 1: the DSO's social cost, network cost and revenue, as columns of the LP and exactly from decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import cvxpy as cp
import numpy as np

from tritier.inputs.instance import Design, Instance, Menu, quantity
from tritier.model.devices import Box, Decisions, ProsumerData, box, over_day, times
from tritier.model.market import Follower, Labelled, named_columns
from tritier.model.network import lindistflow, losses_kw
from tritier.model.prosumer import all_data, device_costs, prosumer_boxes
from tritier.model.risk import Term
from tritier.model.tariff import billed_energy, passive_peaks

OWN, HARD = (
    "own policy",
    "hard-limit redispatch",
)  # how an operator judges two cases: each by its own rule, both by this


@dataclass(frozen=True, eq=False)
class LeaderBooks:
    """Columns that only the DSO sees. Losses are an epigraph: tangents bound them from below."""

    F: cp.Variable  # () social cost, $
    N: cp.Variable  # () network cost to recover besides the fixed cost, $
    loss: cp.Variable  # (T, S) losses, kW
    gross: cp.Variable | None  # (S,) the day's largest import with losses, kW, where the demand charge meets that


def loss_price(instance: Instance) -> np.ndarray:
    """Price of losses, $/kWh, (T, S): max(wholesale, 0), so that their cost stays convex (:eq:`eq-loss-price`)."""
    return np.maximum(instance.days.wholesale, 0)


def day_peak(load: np.ndarray) -> np.ndarray:
    """Largest import of the head on each day, kW, (S,), 0 where it only exports, from net loads (N, T, S)."""
    return np.maximum(load.sum(axis=0).max(axis=0), 0)


def metered(instance: Instance, head: Term, loss: Term) -> Term:
    """What the demand charge looks at, kW, (T, S): the flow into the head, with losses where the rules say so
    (:eq:`eq-charged-peak`)."""
    return head + loss if instance.rules.peak_with_losses else head


def charged_peak(instance: Instance, head: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Peak of each day that the demand charge meets, kW, (S,), 0 where the head only exports, from its lossless flow
    and the losses, kW, (T, S) (:eq:`eq-charged-peak`)."""
    return np.maximum(metered(instance, head, loss).max(axis=0), 0)


def network_parts(instance: Instance, head: Term, peak: Term, loss: Term) -> dict[str, Any]:
    """Wholesale cost, cost of losses and demand charge of every scenario, $, (S,), by part (:eq:`eq-social-cost`).

    head: lossless flow at the head, kW, (T, S); peak: what the demand charge meets (:func:`charged_peak`), kW, (S,);
    loss: kW, (T, S). Each as columns of the LP or as arrays.
    """
    return {
        "wholesale": over_day(times(instance.days.wholesale, head)),
        "losses": over_day(times(loss_price(instance), loss)),
        "demand_charge": instance.rules.demand_charge * peak,
    }


def private_parts(data: Iterable[ProsumerData], prosumers: Iterable[Decisions]) -> dict[str, Any]:
    """What the devices of all prosumers cost in every scenario, $, (S,), by part (:eq:`eq-social-cost`)."""
    total: dict[str, Any] = {}
    for d, x in zip(data, prosumers, strict=True):
        for part, cost in device_costs(d, x).items():
            total[part] = cost if part not in total else total[part] + cost
    return total


def leader_books(follower: Follower) -> tuple[LeaderBooks, Labelled]:
    """The DSO's columns and rows on top of the joint follower (:eq:`eq-social-cost`, :eq:`eq-network-cost`)."""
    instance, books, p = follower.instance, follower.books, follower.instance.days.probability
    known = {name: column.bounds for name, column in vars(books).items()}
    columns: dict[str, Any] = {"gross": None} | named_columns(leader_boxes(instance, known))
    b = LeaderBooks(**columns)
    peak = books.peak if b.gross is None else b.gross
    network = {part: p @ cost for part, cost in network_parts(instance, books.head, peak, b.loss).items()}
    private = {part: p @ cost for part, cost in private_parts(follower.data, follower.prosumers).items()}
    violation = instance.rules.violation_price * books.slack
    rows: Labelled = [
        ("N", b.N == network["losses"] + network["demand_charge"]),
        ("F", b.F == network["wholesale"] + b.N + sum(private.values()) + violation),
    ]
    if b.gross is not None:
        top = metered(instance, books.head, b.loss)
        rows.append(("gross", cp.reshape(b.gross, (1, -1), order="C") >= top))
    return b, rows


def idle_books(instance: Instance) -> dict[str, np.ndarray]:
    """What the books that add up scenarios hold where no prosumer does anything, by name: social cost F, $, energy
    billed by block G, kWh, and own peaks K, kW. The constants of their rows."""
    data, days = all_data(instance), instance.days
    nothing = [{term: np.zeros_like(least) for term, (least, _) in prosumer_boxes(d).items()} for d in data]
    lost = sum(private_parts(data, nothing).values(), np.zeros(days.n_days))
    energy = billed_energy(instance, np.zeros((instance.rules.n_blocks, days.n_days)))
    return {"F": lost @ days.probability, "G": energy, "K": np.array(passive_peaks(instance))}


def leader_boxes(instance: Instance, books: Mapping[str, Box]) -> dict[str, Box]:
    """Boxes of the DSO's columns, by name, which never bind; books: those of the bookkeeping columns."""
    days, lines = instance.days, (instance.feeder.line.size, 1)
    most = float(books["H"][1])
    reactive = max(
        most, float(np.abs(lindistflow(instance.feeder).reactive_flows(days.reactive_kvar)).max(initial=0.0))
    )
    worst_loss = float(losses_kw(np.full(lines, most), np.full(lines, reactive), instance.feeder)[0])
    price = np.abs(days.wholesale).sum(axis=0).max() + loss_price(instance).sum(axis=0).max()
    money = (price + instance.rules.demand_charge) * (most + worst_loss) + 2 * float(books["R"][1])
    boxes = {"F": box(money, (), -money), "N": box(money, ()), "loss": box(worst_loss, days.wholesale.shape)}
    if instance.rules.peak_with_losses:
        boxes["gross"] = box(most + worst_loss, (days.n_days,))
    return boxes


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
    other: float = quantity(
        r"F^{\mathrm{oth}}", "$/day", "1", "costs of devices that are neither wear nor lost value", default=0.0
    )

    @classmethod
    def expected(cls, parts: Mapping[str, np.ndarray], probability: np.ndarray, violation: float) -> SocialCost:
        """From the parts of every scenario, $, (S,): those of :func:`network_parts` and :func:`private_parts`."""
        mean = dict.fromkeys(("degradation", "lost_value"), 0.0) | {k: float(v @ probability) for k, v in parts.items()}
        return cls(**mean, violation=violation)

    @property
    def total(self) -> float:
        return sum(getattr(self, f.name) for f in fields(self))

    @property
    def network(self) -> float:
        """Network cost to recover besides the fixed cost: losses and demand charge, $ (:eq:`eq-network-cost`)."""
        return self.losses + self.demand_charge


def menu_points(menu: Menu) -> Iterator[Design]:
    """Every design of a menu, in lexicographic order."""
    return map(menu.design, product(*menu.levels.values()))
