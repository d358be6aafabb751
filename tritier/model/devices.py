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

from tritier.inputs.instance import Prosumer, Rules

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


def over_day(x):
    """Sum over the hours, (T, S) -> (S,)."""
    return np.ones(x.shape[0]) @ x


def times(factor: np.ndarray, x):
    """Entry by entry product of an array and a variable or array of one shape."""
    return cp.multiply(factor, x) if isinstance(x, cp.Expression) else factor * x


def box(upper, shape: tuple[int, ...], lower=0.0) -> Box:
    """Bounds of a decision in its shape."""
    return tuple(np.broadcast_to(np.asarray(b, dtype=float), shape).copy() for b in (lower, upper))


class Device:
    """Base of all devices. What a device does not have, it leaves as it is here."""

    def boxes(self) -> dict[str, Box]:
        """Bounds of every decision, by name; they give its shape too."""
        raise NotImplementedError

    def rows(self, x: Decisions) -> list[Row]:
        """Constraints beyond the boxes."""
        return []

    def consumption(self, x: Decisions):
        """Net power drawn from the prosumer's node, kW, (T, S); negative where the device supplies."""
        raise NotImplementedError

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        """Largest power that it can draw and that it can supply, kW, each (T, S), at least 0."""
        raise NotImplementedError

    def costs(self, x: Decisions) -> dict[str, Any]:
        """What it costs its owner and society alike, $, (S,) each, by part of the social cost:
        ``degradation``, ``lost_value`` or ``other``."""
        return {}

    def tie_break(self, x: Decisions):
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

    def served(self, x: Decisions):
        """Demand served, kW, shape (T, S): the firm part (1 - phi) d0 and the blocks (:eq:`eq-served-demand`)."""
        return (1 - self.rules.flexibility) * self.reference + sum(x["served"])

    def consumption(self, x: Decisions):
        return self.served(x)

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        return (1 + self.rules.flexibility) * self.reference, np.zeros_like(self.reference)

    def lost_value(self, x: Decisions):
        """Value of consumption lost against the reference level d0, $, shape (S,) (:eq:`eq-lost-value`)."""
        values = block_value(self.rules)
        below = values[block_levels(self.rules)[1:] <= 1 + 1e-12]
        reference = sum(value * over_day(width) for value, width in zip(below, self.width(), strict=False))
        return reference - sum(value * over_day(block) for value, block in zip(values, x["served"], strict=True))

    def costs(self, x: Decisions) -> dict[str, Any]:
        return {"lost_value": self.lost_value(x)}

    def coefficients(self) -> tuple:
        return tuple(block_value(self.rules))

    def cost_box(self) -> float:
        most = self.reference.max(axis=1).sum()
        return float(np.abs(block_value(self.rules)).max() * 2 * self.rules.flexibility * most)


def block_levels(rules: Rules) -> np.ndarray:
    """Borders of the demand blocks relative to the reference demand, shape (K + 1,), from 1 - phi to 1 + phi."""
    return np.linspace(1 - rules.flexibility, 1 + rules.flexibility, rules.demand_blocks + 1)


def block_value(rules: Rules) -> np.ndarray:
    """Marginal value of each demand block at its middle, $/kWh, shape (K,), falling (:eq:`eq-demand-value`).

    Linear inverse demand with own-price elasticity kappa around (p0, d0): p0 (1 + (1 - x) / abs(kappa)) at relative
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

    def consumption(self, x: Decisions):
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

    def consumption(self, x: Decisions):
        return x["ch"] - x["dis"]

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        return np.full(self.shape, self.power_kw), np.full(self.shape, self.power_kw)

    def degradation(self, x: Decisions):
        """Battery wear of a day, $, shape (S,), on charge and discharge alike (:eq:`eq-degradation`)."""
        return self.wear * over_day(x["ch"] + x["dis"])

    def costs(self, x: Decisions) -> dict[str, Any]:
        return {"degradation": self.degradation(x)}

    def tie_break(self, x: Decisions):
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
class ProsumerData:
    """What one prosumer meets: its own figures, its days, the prices and the rules."""

    own: Prosumer
    rules: Rules
    probability: np.ndarray  # (S,)
    demand: np.ndarray  # (T, S), kW
    renewable: np.ndarray  # (T, S), kW
    peak_billed: bool = False  # whether its largest import may be charged
    highest: float = 1.0  # largest price that a component of the tariff can have, $/kWh or $/kW

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


#: what a prosumer's own fields make of its data; a maker returns None where the prosumer has no such device
DEVICES: tuple[Callable[[ProsumerData], Device | None], ...] = (renewables, battery, flexible_demand)
