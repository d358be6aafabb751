"""What stands behind a prosumer's meter: one class for each device, which owns its decisions and everything about them.

A device knows the names, shapes and boxes of its decisions, its constraints, what it draws from the prosumer's own
node, and what it costs. Each formula is written once, for cvxpy variables and numpy arrays alike: ``x`` maps the name
of a decision to its variable or array. A new device is a class here and a line in :data:`DEVICES`.

Shapes: T hours, S scenarios, K demand blocks. Units: kW, kWh, $. A decision of shape (K, T, S) has K variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike

from tritier.errors import InputError
from tritier.inputs.instance import DEFERRABLE, Prosumer, Rules
from tritier.model.risk import Term
from tritier.model.tariff import HIGHEST

LATE = 1e-9  # kWh that may be late: rounding
ABSENT: Any = None  # an array that ``__post_init__`` fills in

Decisions = Mapping[str, Any]  # by name: cvxpy variables, or arrays
Box = tuple[np.ndarray, np.ndarray]  # least and largest value, each in the decision's shape


@dataclass(frozen=True, eq=False)
class Row:
    """One constraint: a value, variable or array, that is 0 or, where it is no equation, at most 0."""

    label: str  # of its term
    value: Any
    equation: bool = True

    def constraint(self) -> cp.Constraint:
        return self.value == 0 if self.equation else self.value <= 0


def over_day(x: Term) -> Term:
    """Sum over the hours, (T, S) -> (S,)."""
    return np.ones(x.shape[0]) @ x


def times(factor: np.ndarray, x: Term) -> Term:
    """Entry by entry product of an array and a variable or array of one shape."""
    return cp.multiply(factor, x) if isinstance(x, cp.Expression) else factor * x


def box(upper: ArrayLike, shape: tuple[int, ...], lower: ArrayLike = 0.0) -> Box:
    """Bounds of a decision in its shape."""
    return np.full(shape, lower, dtype=float), np.full(shape, upper, dtype=float)


class Device:
    """Base of all devices. What a device does not have, it leaves as it is here."""

    def boxes(self) -> dict[str, Box]:
        """Bounds of every decision, by name; they give its shape too."""
        raise NotImplementedError

    def rows(self, x: Decisions) -> list[Row]:
        """Constraints beyond the boxes."""
        return []

    def consumption(self, x: Decisions) -> Term:
        """Net power drawn from the prosumer's node, kW, (T, S); negative where the device supplies."""
        raise NotImplementedError

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        """Largest power that it can draw and that it can supply, kW, each (T, S), at least 0."""
        raise NotImplementedError

    def costs(self, x: Decisions) -> dict[str, Any]:
        """What it costs its owner and society alike, $, (S,) each, by part of the social cost:
        ``degradation``, ``lost_value`` or ``other``."""
        return {}

    def tie_break(self, x: Decisions) -> Term:
        """A tiny cost to its owner alone, $, (S,), which decides among timings that cost the same."""
        return 0.0

    def cost_box(self) -> float:
        """A bound on the absolute cost of a day, tie-break included, $."""
        return 0.0

    def coefficients(self) -> tuple:
        """What of the device enters the matrix of an LP: devices that agree in it differ in bounds and constants only.
        Unless a device says otherwise, no two agree."""
        return (id(self),)

    def representative(self, x: Decisions) -> dict[str, Any]:
        """One of the decisions that differ from ``x`` in nothing that anybody could see; arrays only."""
        return {name: x[name] for name in self.boxes()}


@dataclass(frozen=True, eq=False)
class FlexibleDemand(Device):
    """Demand around its reference, served block by block of falling marginal value; what is not served is lost."""

    reference: np.ndarray  # (T, S), kW, at the reference price
    rules: Rules

    def boxes(self) -> dict[str, Box]:
        return {"served": box(self.width(), (self.rules.demand_blocks, *self.reference.shape))}

    def width(self) -> np.ndarray:
        """Width of each demand block, kW, shape (K, T, S) (:eq:`eq-served-demand`)."""
        return np.diff(block_levels(self.rules))[:, None, None] * self.reference

    def served(self, x: Decisions) -> Term:
        """Demand served, kW, shape (T, S): the firm part (1 - phi) d0 and the blocks (:eq:`eq-served-demand`)."""
        return (1 - self.rules.flexibility) * self.reference + sum(x["served"])

    def consumption(self, x: Decisions) -> Term:
        return self.served(x)

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        return (1 + self.rules.flexibility) * self.reference, np.zeros_like(self.reference)

    def lost_value(self, x: Decisions) -> Term:
        """Value of consumption lost against the reference level d0, $, shape (S,) (:eq:`eq-lost-value`)."""
        served = sum(value * over_day(block) for value, block in zip(self.values, x["served"], strict=True))
        return self.reference_value - served

    @cached_property
    def values(self) -> np.ndarray:
        """Marginal value of each demand block, $/kWh, shape (K,) (:func:`block_value`)."""
        return block_value(self.rules)

    @cached_property
    def reference_value(self) -> np.ndarray:
        """Value of the blocks up to the reference level, $, shape (S,)."""
        below = self.values[block_levels(self.rules)[1:] <= 1 + 1e-12]
        return sum(value * over_day(width) for value, width in zip(below, self.width(), strict=False))

    def costs(self, x: Decisions) -> dict[str, Any]:
        return {"lost_value": self.lost_value(x)}

    def coefficients(self) -> tuple:
        return tuple(self.values)

    def cost_box(self) -> float:
        most = self.reference.max(axis=1).sum()
        return float(np.abs(self.values).max() * 2 * self.rules.flexibility * most)


def block_levels(rules: Rules) -> np.ndarray:
    """Borders of the demand blocks relative to the reference demand, shape (K + 1,), from 1 - phi to 1 + phi: of equal
    width, or where the rules set them."""
    low, high = 1 - rules.flexibility, 1 + rules.flexibility
    if rules.demand_levels is None:
        return np.linspace(low, high, rules.demand_blocks + 1)
    return np.clip(rules.demand_levels, low, high)


def block_value(rules: Rules) -> np.ndarray:
    """Marginal value of each demand block at its middle, $/kWh, shape (K,), falling (:eq:`eq-demand-value`).

    Linear inverse demand with own-price elasticity kappa around (c0, d0): c0 (1 + (1 - x) / abs(kappa)) at relative
    level x.
    """
    levels = block_levels(rules)
    x = (levels[1:] + levels[:-1]) / 2
    return rules.reference_price * (1 + (1 - x) / abs(rules.elasticity))


@dataclass(frozen=True, eq=False)
class Renewables(Device):
    """Sun and wind: free, and curtailed where nobody wants them."""

    available: np.ndarray  # (T, S), kW

    def boxes(self) -> dict[str, Box]:
        return {"cu": box(self.available, self.available.shape)}

    def consumption(self, x: Decisions) -> Term:
        """Curtailed less available power, kW, (T, S): minus what is fed in (:eq:`eq-prosumer-balance`)."""
        return x["cu"] - self.available

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros_like(self.available), self.available

    def coefficients(self) -> tuple:
        return ()


@dataclass(frozen=True, eq=False)
class Battery(Device):
    """A battery with a power and an energy limit, losses each way, wear, and a day that ends as it began."""

    power_kw: float
    energy_kwh: float
    eta: float  # one-way efficiency
    wear: float  # $/kWh charged and per kWh discharged
    holding: float  # $/kWh in store and hour: the tie-break
    shape: tuple[int, int]  # (T, S)

    def boxes(self) -> dict[str, Box]:
        hours, days = self.shape
        return {
            "ch": box(self.power_kw, self.shape),
            "dis": box(self.power_kw, self.shape),
            "soc": box(self.energy_kwh, (hours + 1, days)),
        }

    def rows(self, x: Decisions) -> list[Row]:
        """State of charge over the day, cyclic (:eq:`eq-prosumer-soc`). soc: kWh, (T + 1, S)."""
        soc = x["soc"]
        step = soc[1:] - soc[:-1] - self.eta * x["ch"] + x["dis"] / self.eta
        return [Row("soc_dynamics", step), Row("soc_dynamics", soc[0] - soc[-1])]

    def coefficients(self) -> tuple:
        return (self.eta, self.wear, self.holding)

    def consumption(self, x: Decisions) -> Term:
        return x["ch"] - x["dis"]

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        return np.full(self.shape, self.power_kw), np.full(self.shape, self.power_kw)

    def degradation(self, x: Decisions) -> Term:
        """Battery wear of a day, $, shape (S,), on charge and discharge alike (:eq:`eq-degradation`)."""
        return self.wear * over_day(x["ch"] + x["dis"])

    def costs(self, x: Decisions) -> dict[str, Any]:
        return {"degradation": self.degradation(x)}

    def tie_break(self, x: Decisions) -> Term:
        """A tiny price on energy held in store, $, shape (S,), so that it is used as soon as it can be.

        Under a flat tariff many timings cost the same; without a rule, every peak and violation would rest on the
        solver's choice among them. A price that rises with the clock is no such rule: the day is cyclic, and the
        evening's energy would wait for midnight (:eq:`eq-holding`).
        """
        return self.holding * over_day(x["soc"][1:])

    def cost_box(self) -> float:
        return self.shape[0] * (2 * self.power_kw * self.wear + self.energy_kwh * self.holding)

    def representative(self, x: Decisions) -> dict[str, Any]:
        """The state of charge lowered until its least is zero: the level of a cyclic day is free."""
        soc = x["soc"]
        return {"ch": x["ch"], "dis": x["dis"], "soc": soc - soc.min(axis=0, keepdims=True)}


@dataclass(frozen=True, eq=False)
class Deferrable(Device):
    """Loads that can wait: vehicles at chargers, heat pumps with a heat store. Two kinds, one device.

    ``asked`` is what they would draw if nobody waited. What is asked for and not yet drawn is the backlog; every kWh is
    drawn at most ``delay`` hours after the hour in which it was asked for, and the day is cyclic.
    """

    kind: str  # "ev" or "hp": the name of the decision
    asked: np.ndarray  # u, (T, S), kW
    plugged: np.ndarray  # (T, S), kW: what can be drawn at most
    delay: int  # D, hours
    holding: float  # $/kWh in backlog and hour: the tie-break

    def boxes(self) -> dict[str, Box]:
        """0 <= power <= plugged-in power; 0 <= backlog <= what the last D hours asked for."""
        return {
            self.kind: box(self.plugged, self.asked.shape),
            f"{self.kind}_backlog": box(self.waiting(), self.asked.shape),
        }

    def waiting(self) -> np.ndarray:
        """Energy asked for in the last D hours, kWh, (T, S) (:eq:`eq-backlog-limit`)."""
        return backlog_limit(self.asked, self.delay)

    def rows(self, x: Decisions) -> list[Row]:
        """Backlog over the day, cyclic: before, plus what is asked for, less what is drawn (:eq:`eq-backlog`)."""
        backlog, hours = x[f"{self.kind}_backlog"], self.asked.shape[0]
        before = np.roll(np.eye(hours), 1, axis=0) @ backlog
        return [Row(f"{self.kind}_backlog", backlog - before - self.asked + x[self.kind])]

    def consumption(self, x: Decisions) -> Term:
        return x[self.kind]

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        return self.plugged, np.zeros_like(self.plugged)

    def tie_break(self, x: Decisions) -> Term:
        """A tiny price on backlog, as on stored energy: what is asked for is drawn as soon as it can be
        (:eq:`eq-holding`)."""
        return self.holding * over_day(x[f"{self.kind}_backlog"])

    def cost_box(self) -> float:
        return self.holding * float(self.waiting().sum(axis=0).max())

    def coefficients(self) -> tuple:
        return (self.kind, self.holding)

    def representative(self, x: Decisions) -> dict[str, Any]:
        """The backlog lowered until its least is zero: like a battery's, the level of a cyclic day is free."""
        backlog = x[f"{self.kind}_backlog"]
        return {self.kind: x[self.kind], f"{self.kind}_backlog": backlog - backlog.min(axis=0, keepdims=True)}


def backlog_limit(asked: np.ndarray, delay: int) -> np.ndarray:
    """Energy asked for in the last ``delay`` hours of a cyclic day, kWh, (T, ...) (:eq:`eq-backlog-limit`)."""
    return sum((np.roll(asked, k, axis=0) for k in range(delay)), np.zeros_like(asked))


def late_kwh(asked: np.ndarray, plugged: np.ndarray, delay: int) -> np.ndarray:
    """Energy that cannot be drawn within ``delay`` hours however early it is drawn, kWh a day, (S,).

    Two days are gone through hour by hour, oldest first and as early as possible; the second is counted.
    """
    hours, days = asked.shape
    due, room = (np.cumsum(np.concatenate([x, x]), axis=0) for x in (asked, plugged))
    drawn = room + np.minimum(np.minimum.accumulate(due - room, axis=0), 0)  # of all that was asked for so far
    if (due[: 2 * hours - delay] - drawn[delay:]).max() <= LATE / 2:
        return np.zeros(days)
    waiting, late = np.zeros((delay + 1, days)), np.zeros(days)  # by age in hours, the oldest first
    for t in range(2 * hours):
        waiting = np.vstack([waiting[1:], asked[t % hours]])
        older = np.cumsum(waiting, axis=0) - waiting
        waiting = waiting - np.clip(plugged[t % hours] - older, 0, waiting)
        late += waiting[0] * (t >= hours)
    return late


@dataclass(frozen=True, eq=False)
class ProsumerData:
    """What one prosumer meets: its own figures, its days, the prices and the rules."""

    own: Prosumer
    rules: Rules
    probability: np.ndarray  # (S,)
    demand: np.ndarray  # (T, S), kW
    renewable: np.ndarray  # (T, S), kW
    retail: np.ndarray = ABSENT  # (T, S), $/kWh; that of the rules where None
    feed_in: np.ndarray = ABSENT  # (T, S), $/kWh; that of the rules where None
    deferrable: np.ndarray = ABSENT  # (2, T, S), kW that vehicles and heat pumps ask for
    plugged: np.ndarray = ABSENT  # (2, T, S), kW that they can draw
    peak_billed: bool = False  # whether its largest import may be charged
    highest: float = HIGHEST  # largest price that a component of the tariff can have, $/kWh or $/kW

    def __post_init__(self) -> None:
        none = np.zeros((len(DEFERRABLE), *self.demand.shape))
        retail, feed_in = (np.repeat(x[:, None], self.shape[1], 1) for x in (self.rules.retail, self.rules.feed_in))
        known = {"retail": retail, "feed_in": feed_in, "deferrable": none, "plugged": none}
        for name, value in known.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """All devices of the prosumer: those of its own fields, then those it was given."""
        made = (make(self) for make in (*DEVICES, *self.own.devices))
        return tuple(device for device in made if device is not None)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, S)."""
        return self.demand.shape


def flexible_demand(d: ProsumerData) -> FlexibleDemand:
    """The prosumer's demand."""
    return FlexibleDemand(d.demand, d.rules)


def renewables(d: ProsumerData) -> Renewables:
    """The prosumer's sun and wind."""
    return Renewables(d.renewable)


def battery(d: ProsumerData) -> Battery:
    """The prosumer's battery; of size zero where it owns none."""
    own = d.own
    return Battery(own.battery_kw, own.battery_kwh, own.eta, own.degradation, d.rules.tie_break, d.shape)


def deferrable(kind: str) -> Callable[[ProsumerData], Deferrable | None]:
    """Maker of one kind of deferrable load; None where the prosumer has none. With a delay of 0 it is uncontrolled.

    Raises InputError where the power does not suffice to draw everything in time.
    """
    position = DEFERRABLE.index(kind)

    def make(d: ProsumerData) -> Deferrable | None:
        asked, plugged, delay = d.deferrable[position], d.plugged[position], getattr(d.own, f"{kind}_delay_h")
        if not asked.any():
            return None
        if delay == 0:
            plugged = np.maximum(plugged, asked)  # nobody waits: drawn as it is asked for
        late = late_kwh(asked, plugged, delay)
        if late.max() > LATE:
            raise InputError(
                "prosumers.csv",
                f"{kind}_kw",
                f"{d.own.name}: {late.max():.3g} kWh of a day cannot be drawn within {delay} h",
                f"raise {kind}_kw or {kind}_delay_h, or lower {kind}_kwh_per_day",
            )
        return Deferrable(kind, asked, plugged, delay, d.rules.tie_break)

    return make


#: what a prosumer's own fields make of its data; a maker returns None where the prosumer has no such device
DEVICES: tuple[Callable[[ProsumerData], Device | None], ...] = (
    renewables,
    battery,
    flexible_demand,
    *map(deferrable, DEFERRABLE),
)
