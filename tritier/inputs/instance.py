"""What the model is given: frozen dataclasses of feeder, prosumers, days, rules and menu.

Every field carries its symbol, unit and shape as metadata; the book's nomenclature is generated from it.
Index letters: bus ``n`` (N), line ``l`` (L = N - 1), prosumer ``i`` (I), hour ``t`` (T), day or scenario ``w`` (S).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

DEFERRABLE = ("ev", "hp")  # kinds of deferrable load, in the order of Days.deferrable_kw


def quantity(symbol: str, unit: str, shape: str, text: str, **kwargs: Any) -> Any:
    """A dataclass field with its symbol (LaTeX), unit, shape and meaning."""
    return field(metadata={"symbol": symbol, "unit": unit, "shape": shape, "text": text}, **kwargs)


@dataclass(frozen=True, eq=False)
class Feeder:
    """A radial feeder. Bus position 0 is the slack; line ``l`` feeds bus position ``l + 1`` from ``parent[l] <= l``."""

    bus: np.ndarray = quantity(r"n", "-", "N", "bus numbers as in the file, slack first")
    p_kw: np.ndarray = quantity(r"P^{\mathrm{nom}}_n", "kW", "N", "nominal active load")
    q_kvar: np.ndarray = quantity(r"Q^{\mathrm{nom}}_n", "kvar", "N", "nominal reactive load")
    v_min: np.ndarray = quantity(r"\underline{V}_n", "p.u.", "N", "lowest voltage allowed")
    v_max: np.ndarray = quantity(r"\overline{V}_n", "p.u.", "N", "highest voltage allowed")
    line: np.ndarray = quantity(r"l", "-", "L", "line numbers as in the file")
    parent: np.ndarray = quantity(r"\mathrm{up}(l)", "-", "L", "position of the upstream bus of each line")
    r_ohm: np.ndarray = quantity(r"r_l", "ohm", "L", "series resistance")
    x_ohm: np.ndarray = quantity(r"x_l", "ohm", "L", "series reactance")
    rating_kva: np.ndarray = quantity(r"\overline{S}_l", "kVA", "L", "thermal rating; inf where none is given")
    vn_kv: float = quantity(r"V^{\mathrm n}", "kV", "1", "nominal line-to-line voltage")
    v_slack: float = quantity(r"V_0", "p.u.", "1", "voltage held at the slack bus")
    charging_kvar: np.ndarray = quantity(
        r"Q^{\mathrm c}_l", "kvar", "L", "reactive power that a line feeds in at nominal voltage", default=None
    )

    def __post_init__(self) -> None:
        if self.charging_kvar is None:
            object.__setattr__(self, "charging_kvar", np.zeros(self.line.size))

    @property
    def bus_charging_kvar(self) -> np.ndarray:
        """Charging at each bus, kvar, (N,): half of that of every line that ends there."""
        half = np.zeros(self.bus.size)
        np.add.at(half, self.parent, self.charging_kvar / 2)
        np.add.at(half, np.arange(1, self.bus.size), self.charging_kvar / 2)
        return half

    @property
    def z_base_ohm(self) -> float:
        """Ohms per p.u. when power is in kW: r [p.u. per kW] = r_ohm / z_base_ohm."""
        return 1e3 * self.vn_kv**2

    def position(self, bus: int) -> int:
        """Position of a bus number in the arrays."""
        return int(np.flatnonzero(self.bus == bus)[0])


@dataclass(frozen=True)
class Prosumer:
    """A prosumer: the community of customers at one bus, with what it owns and its attitude to risk."""

    name: str = quantity(r"i", "-", "1", "name")
    bus: int = quantity(r"n(i)", "-", "1", "bus number")
    pv_kw: float = quantity(r"\overline{ren}^{\mathrm{pv}}_i", "kW", "1", "installed photovoltaic power")
    wind_kw: float = quantity(r"\overline{ren}^{\mathrm w}_i", "kW", "1", "installed wind power")
    battery_kwh: float = quantity(r"\overline{soc}_i", "kWh", "1", "battery capacity")
    battery_kw: float = quantity(r"\overline{ch}_i, \overline{dis}_i", "kW", "1", "battery power, each way")
    eta: float = quantity(r"\eta_i", "-", "1", "one-way battery efficiency")
    degradation: float = quantity(
        r"c^{\mathrm{deg}}_i", "$/kWh", "1", "battery wear per kWh charged and per kWh discharged"
    )
    beta: float = quantity(r"\beta_i", "-", "1", "weight of CVaR in the prosumer's objective, at most 0.9")
    ev_kwh_per_day: float = quantity(
        r"E^{\mathrm{ev}}_i", "kWh", "1", "energy that vehicles ask for on a mean day", default=0.0
    )
    ev_kw: float = quantity(r"\overline{ev}_i", "kW", "1", "power of all chargers", default=0.0)
    ev_delay_h: int = quantity(
        r"T^{\mathrm{ev}}_i", "h", "1", "hours within which a kWh asked for is charged", default=0
    )
    hp_kwh_per_day: float = quantity(
        r"E^{\mathrm{hp}}_i", "kWh", "1", "energy that heat pumps ask for on a mean day", default=0.0
    )
    hp_kw: float = quantity(r"\overline{hp}_i", "kW", "1", "power of all heat pumps", default=0.0)
    hp_delay_h: int = quantity(r"T^{\mathrm{hp}}_i", "h", "1", "hours within which a kWh asked for is drawn", default=0)
    #: further devices: each takes the prosumer's data and returns a :class:`tritier.model.devices.Device`
    devices: tuple[Callable[[Any], Any], ...] = ()


@dataclass(frozen=True, eq=False)
class Days:
    """A weighted set of days: scenarios of a design, its forecast (S = 1) or held-out days."""

    probability: np.ndarray = quantity(r"\mathbb P_w", "-", "S", "probability, sums to one")
    demand_kw: np.ndarray = quantity(r"d^0_{itw}", "kW", "I,T,S", "demand of prosumers at the reference price")
    renewable_kw: np.ndarray = quantity(r"ren_{itw}", "kW", "I,T,S", "available renewable power of prosumers")
    passive_kw: np.ndarray = quantity(r"D_{ntw}", "kW", "N,T,S", "passive load by bus, zero at prosumer buses")
    reactive_kvar: np.ndarray = quantity(r"q_{ntw}", "kvar", "N,T,S", "reactive load by bus, prosumer buses included")
    wholesale: np.ndarray = quantity(r"\omega_{tw}", "$/kWh", "T,S", "wholesale price")
    label: tuple[str, ...] = quantity("w", "-", "S", "ISO date, or 'load date | renewable date' of a resampled day")
    deferrable_kw: np.ndarray = quantity(
        r"ask_{iktw}",
        "kW",
        "I,2,T,S",
        "power that vehicles and heat pumps of prosumers would draw at once",
        default=None,
    )
    plugged_kw: np.ndarray = quantity(
        r"\overline{ev}_{itw}, \overline{hp}_{itw}",
        "kW",
        "I,2,T,S",
        "power at which they can draw, by hour",
        default=None,
    )
    retail: np.ndarray | None = quantity(
        r"\pi^{\mathrm r}_{tw}",
        "$/kWh",
        "T,S",
        "retail energy price that follows the day; None where the rules fix it",
        default=None,
    )
    feed_in: np.ndarray | None = quantity(
        r"\pi^{\mathrm f}_{tw}",
        "$/kWh",
        "T,S",
        "feed-in price that follows the day; None where the rules fix it",
        default=None,
    )

    def __post_init__(self) -> None:
        people, hours, days = self.demand_kw.shape
        for name in ("deferrable_kw", "plugged_kw"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.zeros((people, len(DEFERRABLE), hours, days)))

    @property
    def n_hours(self) -> int:
        return self.wholesale.shape[0]

    @property
    def n_days(self) -> int:
        return self.probability.size

    @property
    def reference_kw(self) -> np.ndarray:
        """Reference consumption of all, kW, (T, S): demand, vehicles and heat pumps of prosumers, passive loads."""
        own = self.demand_kw.sum(axis=0) + self.deferrable_kw.sum(axis=(0, 1))
        return own + self.passive_kw.sum(axis=0)

    def mean(self) -> Days:
        """The forecast: one day, the probability-weighted mean of all."""
        return self._mapped(np.ones(1), lambda x: (x @ self.probability)[..., None], ("forecast",))

    def select(self, index: list[int] | np.ndarray) -> Days:
        """The days at the given positions, probabilities rescaled to one."""
        index = np.asarray(index)
        p = self.probability[index]
        return self._mapped(p / p.sum(), lambda x: x[..., index], tuple(self.label[k] for k in index))

    def _mapped(self, probability: np.ndarray, change: Callable, label: tuple[str, ...]) -> Days:
        """Other days: every array over days changed alike."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("probability", "label")}
        changed: dict[str, Any] = {name: None if x is None else change(x) for name, x in arrays.items()}
        return Days(probability=probability, label=label, **changed)


@dataclass(frozen=True, eq=False)
class Rules:
    """Prices, preferences and limits that hold for all agents and all cases."""

    retail: np.ndarray = quantity(
        r"\pi^{\mathrm r}_t", "$/kWh", "T", "retail energy price incl. taxes, without network charge"
    )
    feed_in: np.ndarray = quantity(r"\pi^{\mathrm f}_t", "$/kWh", "T", "feed-in price")
    block: np.ndarray = quantity(r"b(t)", "-", "T", "tariff block of each hour: 0 off-peak, 1 day, 2 peak")
    reference_price: float = quantity(r"c^0", "$/kWh", "1", "all-in price of Case 1, at which demand is d0")
    elasticity: float = quantity(r"\kappa", "-", "1", "own-price elasticity of demand, negative")
    flexibility: float = quantity(r"\varphi", "-", "1", "served demand stays within (1 -+ phi) d0")
    demand_blocks: int = quantity(r"n^{\mathrm{blk}}", "-", "1", "blocks of the inverse demand curve")
    alpha: float = quantity(r"\alpha", "-", "1", "confidence of the prosumers' CVaR")
    chance_level: float = quantity(r"\epsilon", "-", "1", "chance level of network limits")
    violation_price: float = quantity(r"c^{\mathrm{voll}}", "$/kWh", "1", "declared price of violating a network limit")
    voltage_margin: float = quantity(
        r"\Delta V", "p.u.", "1", "tightening of the lower voltage limit for the LinDistFlow error"
    )
    demand_charge: float = quantity(
        r"c^{\mathrm{pk}}", "$/kW", "1", "demand charge per kW of the day's peak head import"
    )
    tie_break: float = quantity(
        r"c^{\mathrm{tie}}", "$/kWh", "1", "per kWh in store and hour: stored energy is used as soon as it can be"
    )
    reference_value: float = quantity(
        r"u^0", "$/kWh", "1", "value of consumption at the reference level, for welfare only"
    )
    tax_share: float = quantity(r"\mathrm{tax}", "-", "1", "taxes and levies as a share of the retail energy price")
    vat_share: float = quantity(r"\mathrm{vat}", "-", "1", "value added tax on a retail price that follows the day")
    excess_price: float | None = quantity(
        r"c^{\mathrm{ex}}",
        "$/kW",
        "1",
        "cost of the day's largest excess over a limit offered; demand charge if None",
        default=None,
    )
    peak_with_losses: bool = quantity(
        "-", "-", "1", "whether the demand charge meets the head's import with the feeder's losses", default=False
    )
    billing: str = quantity(
        "-",
        "-",
        "1",
        "network charges by 'scenario', inside the prosumer's risk, or on 'expected' energy",
        default="scenario",
    )
    fixed_share: float = quantity(
        r"\vartheta", "-", "1", "largest share of the cost to recover that a fixed charge may carry", default=0.0
    )

    demand_levels: tuple[float, ...] | None = quantity(
        r"\hat d_k",
        "-",
        "K+1",
        "borders of the blocks relative to the reference demand; None: equal blocks",
        default=None,
    )
    trade: str = quantity(
        "-", "-", "1", "P2P trade: agreed 'day_ahead', alike in all scenarios, or 'by_scenario'", default="day_ahead"
    )
    rights: str = quantity(
        "-",
        "-",
        "1",
        "rights to inject on a judged day: all at the 'day's prices, or those bought 'day_ahead' at the design's",
        default="day",
    )

    def __post_init__(self) -> None:
        if self.trade not in ("day_ahead", "by_scenario"):
            raise ValueError(f"trade is {self.trade!r}: name day_ahead or by_scenario")
        if self.billing not in ("scenario", "expected"):
            raise ValueError(f"billing is {self.billing!r}: name scenario or expected")
        if self.rights not in ("day", "day_ahead"):
            raise ValueError(f"rights is {self.rights!r}: name day or day_ahead")
        if self.excess_price is None:
            object.__setattr__(self, "excess_price", self.demand_charge)
        if self.demand_levels is not None:
            object.__setattr__(self, "demand_blocks", len(self.demand_levels) - 1)

    @property
    def n_blocks(self) -> int:
        return int(self.block.max()) + 1


@dataclass(frozen=True)
class Menu:
    """The DSO's finite menus. Capacity limits are keyed by line number; the largest level must never bind."""

    tariff: tuple[tuple[float, ...], ...] = quantity(r"\mathcal{M}_b", "$/kWh", "B", "import tariffs offered, by block")
    p2p: tuple[float, ...] = quantity(
        r"\mathcal{M}^{\mathrm p}", "$/kWh", "1", "P2P charges offered, half paid by each side"
    )
    capacity: tuple[tuple[int, tuple[float, ...]], ...] = quantity(
        r"\mathcal{M}^{\mathrm{cap}}_l",
        "kW",
        "C",
        "(line number, limits offered) of the lines whose capacity the DSO sets",
    )
    peak: tuple[float, ...] = quantity(
        r"\mathcal{M}^{\mathrm k}", "$/kW", "1", "charges offered on each customer's largest import", default=(0.0,)
    )
    coincident: tuple[float, ...] = quantity(
        r"\mathcal{M}^{\mathrm c}", "$/kW", "1", "charges offered on the largest import of the head", default=(0.0,)
    )

    @property
    def prices(self) -> dict[str, tuple[float, ...]]:
        """Levels offered for each component of the tariff, by name, in the order of :attr:`Design.prices`."""
        energy = {f"tau_{b}": levels for b, levels in enumerate(self.tariff)}
        return energy | {"tau_p": self.p2p, "tau_k": self.peak, "tau_c": self.coincident}

    @property
    def levels(self) -> dict[str, tuple[float, ...]]:
        """Levels offered for each decision of the DSO, by name: prices, then limits."""
        return self.prices | {f"cap_{line}": limits for line, limits in self.capacity}

    @property
    def largest_limits(self) -> tuple[tuple[int, float], ...]:
        """The largest limit offered of each line, as in ``Design.capacity``."""
        return tuple((line, max(levels)) for line, levels in self.capacity)

    @property
    def n_points(self) -> int:
        return int(np.prod([len(levels) for levels in self.levels.values()]))

    def design(self, values: Sequence[float]) -> Design:
        """The design of one value for each of :attr:`levels`, in their order."""
        n, lines = len(self.prices), [line for line, _ in self.capacity]
        return Design.of(values[:n], tuple(zip(lines, map(float, values[n:]), strict=True)))


@dataclass(frozen=True)
class Design:
    """One decision of the DSO: a point of the menu, or the flat tariff of Cases 0-2 (no capacity limits)."""

    tariff: tuple[float, ...] = quantity(r"\tau_b", "$/kWh", "B", "import tariff by block :eq:`eq-network-charges`")
    p2p: float = quantity(
        r"\tau^{\mathrm p}", "$/kWh", "1", "P2P charge, half paid by each side :eq:`eq-charges-ahead`"
    )
    capacity: tuple[tuple[int, float], ...] = quantity(
        r"\mathrm{cap}_l", "kW", "C", "capacity limits of lines, (line number, limit) :eq:`eq-block-forms`", default=()
    )

    peak: float = quantity(
        r"\tau^{\mathrm k}",
        "$/kW",
        "1",
        "charge on each customer's largest import of the day :eq:`eq-network-charges`",
        default=0.0,
    )
    coincident: float = quantity(
        r"\tau^{\mathrm c}",
        "$/kW",
        "1",
        "charge on the head's largest import of the day :eq:`eq-platform`",
        default=0.0,
    )

    @classmethod
    def of(cls, prices: Sequence[float], capacity: tuple[tuple[int, float], ...] = ()) -> Design:
        """The design with these :attr:`prices` and limits."""
        *tariff, p2p, peak, coincident = (float(price) for price in prices)
        return cls(tuple(tariff), p2p, capacity, peak, coincident)

    @property
    def prices(self) -> np.ndarray:
        """Price of each component of the tariff, (B + 3,): energy by block and P2P charge, $/kWh, then individual and
        coincident peak charge, $/kW."""
        return np.array([*self.tariff, self.p2p, self.peak, self.coincident])


@dataclass(frozen=True, eq=False)
class Instance:
    """One optimisation problem: who is on which feeder, on which days, under which rules."""

    feeder: Feeder
    prosumers: tuple[Prosumer, ...]
    days: Days
    rules: Rules
    menu: Menu
    fixed_cost: float = quantity(
        r"K^{\mathrm{fix}}", "$/day", "1", "fixed network cost the tariffs must recover", default=0.0
    )

    @property
    def least_revenue(self) -> float:
        """Revenue that variable charges must bring besides their share of the network cost, $/day."""
        return (1.0 - self.rules.fixed_share) * self.fixed_cost

    def on(self, days: Days) -> Instance:
        """The same instance on other days. Raises ValueError for days of other prosumers."""
        if days.demand_kw.shape[0] != len(self.prosumers):
            raise ValueError(f"days of {days.demand_kw.shape[0]} prosumers are none of {len(self.prosumers)}")
        return replace(self, days=days)

    def forecast(self) -> Instance:
        """The same instance on its mean day."""
        return self.on(self.days.mean())

    @property
    def retail(self) -> np.ndarray:
        """Retail energy price of every hour and scenario, $/kWh, (T, S)."""
        return self._price(self.days.retail, self.rules.retail)

    @property
    def feed_in(self) -> np.ndarray:
        """Feed-in price of every hour and scenario, $/kWh, (T, S)."""
        return self._price(self.days.feed_in, self.rules.feed_in)

    @property
    def tax(self) -> np.ndarray:
        """Taxes and levies in the retail price, $/kWh, (T, S): their share of the fixed price, and VAT on what a price
        that follows the day has above or below it."""
        fixed, vat = self.rules.retail[:, None], self.rules.vat_share
        return self.rules.tax_share * fixed + vat / (1 + vat) * (self.retail - fixed)

    def _price(self, by_day: np.ndarray | None, fixed: np.ndarray) -> np.ndarray:
        return np.repeat(fixed[:, None], self.days.n_days, axis=1) if by_day is None else by_day

    @property
    def prosumer_bus(self) -> np.ndarray:
        """Bus positions of the prosumers, shape (I,)."""
        return np.array([self.feeder.position(p.bus) for p in self.prosumers], dtype=int)
