"""Level 3: one prosumer, a price taker: its devices behind one meter, trade, exchange with the retailer, and risk.

Shapes: T hours, S scenarios. Units: kW, kWh, $. Purchases, sales, imports and exports are non-negative. As in
:mod:`tritier.model.devices`, ``x`` maps the name of a decision to its cvxpy variable or its array.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import cvxpy as cp
import numpy as np

from tritier.inputs.instance import Days, Design, Instance
from tritier.model.devices import Box, Decisions, ProsumerData, Row, box, over_day, times
from tritier.model.risk import Term, cvar, tail
from tritier.model.tariff import HIGHEST, expected_trade, hourly, membership, trade_charge

# Purchase and sale, (T,) where agreed day-ahead, (T, S) where contingent on the scenario; import and export, (T, S).
TRADE = ("zb", "zs", "gp", "gm")
NOTHING = 1e-6  # $: who pays and would pay less than that has nothing to gain from
METER = ("gb", "gk")  # import by tariff block (B, S) and the largest (S,), where charges are billed on them
RISK = ("cost", "var", "excess")  # cost of the day (S,), its value at risk (), what exceeds it (S,)


def prosumer_data(instance: Instance, i: int) -> ProsumerData:
    """The part of an instance that prosumer ``i`` (position in ``instance.prosumers``) sees."""
    days: Days = instance.days
    levels = instance.menu.prices.values()
    return ProsumerData(
        own=instance.prosumers[i],
        rules=instance.rules,
        probability=days.probability,
        demand=days.demand_kw[i],
        renewable=days.renewable_kw[i],
        retail=instance.retail,
        feed_in=instance.feed_in,
        deferrable=days.deferrable_kw[i],
        plugged=days.plugged_kw[i],
        peak_billed=any(instance.menu.peak),
        highest=max(HIGHEST, *(max(offered) for offered in levels)),
    )


@lru_cache(maxsize=32)
def all_data(instance: Instance) -> tuple[ProsumerData, ...]:
    """:func:`prosumer_data` of every prosumer; kept, as every chance block asks for it and devices take time, and as
    many as judged days that are gone through policy by policy."""
    return tuple(prosumer_data(instance, i) for i in range(len(instance.prosumers)))


def largest_draw(d: ProsumerData) -> np.ndarray:
    """Largest power that all devices can draw together, kW, shape (T, S)."""
    return np.sum([device.largest()[0] for device in d.devices], axis=0)


def largest_supply(d: ProsumerData) -> np.ndarray:
    """Largest power that all devices can supply together, kW, shape (T, S)."""
    return np.sum([device.largest()[1] for device in d.devices], axis=0)


@lru_cache(maxsize=8)
def largest_injection(instance: Instance) -> np.ndarray:
    """Largest net injection of every prosumer, kW, of either sign, (I,)."""
    return np.array([max(largest_draw(d).max(), largest_supply(d).max()) for d in all_data(instance)])


def purchase_box(d: ProsumerData) -> np.ndarray:
    """Largest P2P purchase, kW, in the shape of a trade: what the prosumer could at most consume or store."""
    return as_traded(d, largest_draw(d))


def sale_box(d: ProsumerData) -> np.ndarray:
    """Largest P2P sale, kW, in the shape of a trade: what the prosumer could at most produce or discharge."""
    return as_traded(d, largest_supply(d))


def as_traded(d: ProsumerData, largest: np.ndarray) -> np.ndarray:
    """What is possible in every hour and scenario, (T, S), in the shape of a trade: (T,) where it is agreed day-ahead,
    else as it is."""
    return largest if d.rules.trade == "by_scenario" else largest.max(axis=1)


def import_box(d: ProsumerData, sale: np.ndarray) -> np.ndarray:
    """Largest import, kW, shape (T, S): what devices draw and what is sold, kW (T,) or (T, S)."""
    return largest_draw(d) + daily(sale)


def export_box(d: ProsumerData, purchase: np.ndarray) -> np.ndarray:
    """Largest export, kW, shape (T, S): what devices supply and what is bought, kW (T,) or (T, S)."""
    return largest_supply(d) + daily(purchase)


def cost_box(d: ProsumerData) -> float:
    """A bound on the absolute energy cost of a day, $, from the boxes of its terms."""
    imports = import_box(d, sale_box(d)).max(axis=1) @ np.abs(d.retail).max(axis=1)
    exports = export_box(d, purchase_box(d)).max(axis=1) @ np.abs(d.feed_in).max(axis=1)
    charged = d.highest * import_box(d, sale_box(d)).max(axis=1)
    charges = (charged.sum() + charged.max() * d.peak_billed) * (d.rules.billing == "scenario")
    return float(imports + exports + charges + sum(device.cost_box() for device in d.devices))


def meter_boxes(d: ProsumerData, imports: np.ndarray) -> dict[str, Box]:
    """What the meter reads of imports, kW (T, S) at most: by tariff block (B, S), and their largest (S,), where a
    charge needs it."""
    energy, days = membership(d.rules) @ imports, imports.shape[1]
    boxes = {"gb": box(energy, energy.shape)} if d.rules.billing == "scenario" else {}
    return boxes | ({"gk": box(imports.max(axis=0), (days,))} if d.peak_billed else {})


def meter_reading(d: ProsumerData, gp: np.ndarray) -> dict[str, np.ndarray]:
    """The meter's reading of given imports, kW (T, S), as arrays: what :func:`meter_boxes` bounds."""
    return {term: upper for term, (_, upper) in meter_boxes(d, gp).items()}


@lru_cache(maxsize=1024)
def prosumer_boxes(d: ProsumerData, market: bool = True) -> dict[str, Box]:
    """Bounds of every decision of a prosumer, by name, in its shape; without a market, no trade. Kept, as they tell too
    which decisions there are, and in which shape."""
    (hours, days), buy, sell, money = d.shape, purchase_box(d) * market, sale_box(d) * market, cost_box(d)
    boxes = {
        "zb": box(buy, buy.shape),
        "zs": box(sell, sell.shape),
        "gp": box(import_box(d, sell), (hours, days)),
        "gm": box(export_box(d, buy), (hours, days)),
    }
    for device in d.devices:
        boxes |= device.boxes()
    return (
        boxes
        | meter_boxes(d, boxes["gp"][1])
        | {
            "cost": box(money, (days,), -money),
            "var": box(money, (), -money),
            "excess": box(2 * money, (days,)),
        }
    )


def decision_shapes(data: Iterable[ProsumerData]) -> dict[str, tuple[int, ...]]:
    """Shape of every decision that any of these prosumers has, by name; the meter's reading follows from imports."""
    boxes = (item for d in data for item in prosumer_boxes(d).items())
    return {term: lower.shape for term, (lower, _) in boxes if term not in METER}


def decisions_of(d: ProsumerData, arrays: Decisions, i: int) -> dict[str, Any]:
    """The decisions of prosumer ``i`` among arrays of all, (I, ...), and what its meter reads of them."""
    own = {term: arrays[term][i] for term in prosumer_boxes(d) if term in arrays}
    return own | meter_reading(d, own["gp"]) if "gp" in own else own


def representative(data: Iterable[ProsumerData], arrays: Decisions) -> dict[str, np.ndarray]:
    """Arrays of all prosumers, (I, ...), with every device at its representative among decisions that differ in
    nothing (:meth:`~tritier.model.devices.Device.representative`)."""
    changed = {term: np.array(value) for term, value in arrays.items()}
    for i, d in enumerate(data):
        for device in d.devices:
            for term, value in device.representative(decisions_of(d, arrays, i)).items():
                changed[term][i] = value
    return changed


def column_names(term: str, shape: tuple[int, ...], owner: str) -> list[str]:
    """Names of the variables that a decision has: one, or K where its shape is (K, T, S)."""
    return [f"{term}[{owner}]"] if len(shape) < 3 else [f"{term}{k}[{owner}]" for k in range(shape[0])]


def prosumer_variables(d: ProsumerData, name: str, market: bool = True) -> dict[str, Any]:
    """All variables of one prosumer with their bounds as bounds, named ``term[name]``; K of them for (K, T, S)."""
    x: dict[str, Any] = {}
    for term, (lower, upper) in prosumer_boxes(d, market).items():
        names = column_names(term, lower.shape, name)
        if lower.ndim < 3:
            x[term] = cp.Variable(lower.shape, name=names[0], bounds=[lower, upper])
        else:
            parts = zip(names, lower, upper, strict=True)
            x[term] = tuple(cp.Variable(low.shape, name=own, bounds=[low, high]) for own, low, high in parts)
    return x


def set_values(x: Decisions, arrays: Decisions) -> None:
    """Give variables the values of arrays of the same names."""
    for term, variable in x.items():
        pairs = zip(variable, arrays[term], strict=True) if isinstance(variable, tuple) else [(variable, arrays[term])]
        for own, value in pairs:
            own.save_value(value)


def consumption(d: ProsumerData, x: Decisions) -> Term:
    """Net power that all devices draw, kW, shape (T, S)."""
    return sum(device.consumption(x) for device in d.devices)


def device_costs(d: ProsumerData, x: Decisions) -> dict[str, Any]:
    """What the devices cost their owner and society alike, $, shape (S,) each, by part of the social cost."""
    total: dict[str, Any] = {}
    for device in d.devices:
        for part, cost in device.costs(x).items():
            total[part] = cost if part not in total else total[part] + cost
    return total


def retail_cost(d: ProsumerData, gp: Term, gm: Term) -> Term:
    """Retail purchases less feed-in revenue, $, shape (S,) (:eq:`eq-retail-cost`)."""
    return over_day(times(d.retail, gp)) - over_day(times(d.feed_in, gm))


def network_charges(d: ProsumerData, x: Decisions, prices: Term) -> Term:
    """Charges billed by scenario, $, shape (S,): energy by block and the largest import (:eq:`eq-network-charges`).

    prices: of all components of the tariff, (B + 3,); 0 where charges are billed on expectation.
    """
    if d.rules.billing != "scenario":
        return 0.0
    energy = prices[: d.rules.n_blocks] @ x["gb"]
    return energy + prices[d.rules.n_blocks + 1] * x["gk"] if d.peak_billed else energy


def metering(d: ProsumerData, x: Decisions) -> list[Row]:
    """What the meter reads: energy by tariff block, kWh, and the largest import, kW (:eq:`eq-metering`)."""
    rows = [Row("metered", x["gb"] - membership(d.rules) @ x["gp"])] if "gb" in x else []
    if "gk" in x:
        rows.append(Row("largest", x["gp"] - in_all_hours(x["gk"]), equation=False))
    return rows


def energy_cost(d: ProsumerData, x: Decisions, prices: Term) -> Row:
    """The cost of a day as a variable of its own, shape (S,), charges billed by scenario included
    (:eq:`eq-energy-cost`)."""
    terms = retail_cost(d, x["gp"], x["gm"]) + sum(device_costs(d, x).values()) + network_charges(d, x, prices)
    return Row("energy_cost", x["cost"] - terms - sum(device.tie_break(x) for device in d.devices))


def power_balance(d: ProsumerData, x: Decisions) -> Row:
    """Supply equals use in every hour and scenario, kW (:eq:`eq-prosumer-balance`)."""
    return Row("power_balance", x["gp"] - x["gm"] + daily(x["zb"] - x["zs"]) - consumption(d, x))


def daily(trade: Term) -> Term:
    """A trade of every hour, (T,), as a column (T, 1) that is the same in all scenarios; a contingent one, (T, S), is
    what it is."""
    if trade.ndim == 2:
        return trade
    return cp.reshape(trade, (-1, 1), order="C") if isinstance(trade, cp.Expression) else trade[:, None]


def in_all_scenarios(trade: np.ndarray) -> np.ndarray:
    """Trades of all prosumers, (I, T), with an axis for the scenarios, (I, T, 1); contingent ones have it."""
    return trade if trade.ndim == 3 else trade[..., None]


def in_all_hours(largest: Term) -> Term:
    """A quantity of every scenario, (S,), as a row (1, S) that is the same in all hours."""
    return cp.reshape(largest, (1, -1), order="C") if isinstance(largest, cp.Expression) else largest[None, :]


def risk_adjusted_cost(d: ProsumerData, x: Decisions) -> Term:
    """rho_i = (1 - beta) E[C] + beta CVaR_alpha(C), $ (:eq:`eq-risk`)."""
    expected = d.probability @ x["cost"]
    return (1 - d.own.beta) * expected + d.own.beta * cvar(d.probability, d.rules.alpha, x["var"], x["excess"])


def gain_scale(cost: np.ndarray, bill: np.ndarray) -> np.ndarray:
    """What gains of prosumers are measured against, $, (I,): their cost, or 1 % of the bill without trade where that is
    more; a dollar for whoever has neither."""
    scale = np.maximum(np.abs(cost), 0.01 * bill)
    return np.where(scale > NOTHING, scale, 1.0)


def prosumer_rows(d: ProsumerData, x: Decisions, prices: Term) -> list[Row]:
    """The private feasible set of a prosumer at a tariff's prices, (B + 3,), each row with a label of its own
    (:eq:`eq-prosumer-set`)."""
    rows = [power_balance(d, x)]
    for device in d.devices:
        rows += device.rows(x)
    rows += [*metering(d, x), energy_cost(d, x, prices)]
    rows.append(Row("cvar_rows", tail(x["cost"], x["var"], x["excess"]), equation=False))
    same = [[other.label for other in rows[:k]].count(row.label) for k, row in enumerate(rows)]
    return [replace(row, label=f"{row.label}{k}") for row, k in zip(rows, same, strict=True)]


def prosumer_constraints(d: ProsumerData, x: Decisions, prices: Term) -> list[cp.Constraint]:
    """The private feasible set of a prosumer in cvxpy (:eq:`eq-prosumer-set`)."""
    return [row.constraint() for row in prosumer_rows(d, x, prices)]


def charges_ahead(d: ProsumerData, x: Decisions, design: Design) -> Term:
    """What a prosumer pays the DSO in every scenario alike, $: half of the P2P charge, and charges on expectation
    where they are billed so (:eq:`eq-charges-ahead`)."""
    trade = expected_trade(d.probability, trade_charge(design, x["zb"], x["zs"]))
    if d.rules.billing == "scenario":
        return trade
    energy = trade + hourly(d.rules, design) @ (x["gp"] @ d.probability)
    return energy + design.peak * (x["gk"] @ d.probability) if d.peak_billed else energy


def injection(x: Decisions) -> Term:
    """Net injection of a prosumer, kW, (T, S): what it exports and sells less what it imports and buys
    (:eq:`eq-injection`)."""
    return x["gm"] - x["gp"] + daily(x["zs"] - x["zb"])
