"""Level 3: one prosumer, a price taker, in cvxpy; one small function per term of the model.

Shapes: T hours, S scenarios, K demand blocks. Units: kW, kWh, $. Purchases, sales, imports and exports are
non-negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from tritier.inputs.instance import Days, Instance, Prosumer, Rules
from tritier.model.risk import cvar, cvar_rows


@dataclass(frozen=True, eq=False)
class ProsumerData:
    """What one prosumer meets: its own figures, its days and the rules."""

    own: Prosumer
    rules: Rules
    probability: np.ndarray  # (S,)
    demand: np.ndarray  # (T, S), kW
    renewable: np.ndarray  # (T, S), kW


@dataclass(frozen=True, eq=False)
class ProsumerVariables:
    """The decisions of one prosumer; every one is boxed by its bounds."""

    zb: cp.Variable  # (T,) P2P purchase, kW, the same in all scenarios
    zs: cp.Variable  # (T,) P2P sale, kW, the same in all scenarios
    gp: cp.Variable  # (T, S) import from the retailer, kW
    gm: cp.Variable  # (T, S) export to the retailer, kW
    cu: cp.Variable  # (T, S) curtailed renewable power, kW
    ch: cp.Variable  # (T, S) battery charge, kW
    dis: cp.Variable  # (T, S) battery discharge, kW
    soc: cp.Variable  # (T + 1, S) state of charge, kWh
    served: tuple[cp.Variable, ...]  # K of (T, S): demand served in each block above (1 - phi) d0, kW
    cost: cp.Variable  # (S,) energy cost of the day, $
    var: cp.Variable  # () value at risk, $
    excess: cp.Variable  # (S,) cost above the value at risk, $

    def all(self) -> list[cp.Variable]:
        """Every variable, in the order of the nomenclature."""
        return [self.zb, self.zs, self.gp, self.gm, self.cu, self.ch, self.dis, self.soc, *self.served, *self.risk()]

    def risk(self) -> list[cp.Variable]:
        return [self.cost, self.var, self.excess]


def prosumer_data(instance: Instance, i: int) -> ProsumerData:
    """The part of an instance that prosumer ``i`` (position in ``instance.prosumers``) sees."""
    days: Days = instance.days
    own = instance.prosumers[i]
    return ProsumerData(own, instance.rules, days.probability, days.demand_kw[i], days.renewable_kw[i])


def block_width(d: ProsumerData) -> np.ndarray:
    """Width of each demand block, kW, shape (T, S): the band 2 phi d0 cut in K equal parts."""
    return 2 * d.rules.flexibility * d.demand / d.rules.demand_blocks


def block_value(rules: Rules) -> np.ndarray:
    """Marginal value of each demand block at its middle, $/kWh, shape (K,), falling (:eq:`eq-demand-value`).

    Linear inverse demand with own-price elasticity kappa around (p0, d0): p0 (1 + (1 - x) / abs(kappa)) at relative
    level x.
    """
    k = np.arange(rules.demand_blocks)
    x = 1 - rules.flexibility + 2 * rules.flexibility * (k + 0.5) / rules.demand_blocks
    return rules.reference_price * (1 + (1 - x) / abs(rules.elasticity))


def purchase_box(d: ProsumerData) -> np.ndarray:
    """Largest P2P purchase, kW, shape (T,): what the prosumer could at most consume or store."""
    return ((1 + d.rules.flexibility) * d.demand).max(axis=1) + d.own.battery_kw


def sale_box(d: ProsumerData) -> np.ndarray:
    """Largest P2P sale, kW, shape (T,): what the prosumer could at most produce or discharge."""
    return d.renewable.max(axis=1) + d.own.battery_kw


def cost_box(d: ProsumerData) -> float:
    """A bound on the absolute energy cost of a day, $, from the boxes of its terms."""
    imports = ((1 + d.rules.flexibility) * d.demand.max(axis=1) + d.own.battery_kw + sale_box(d)) @ np.abs(
        d.rules.retail
    )
    exports = (d.renewable.max(axis=1) + d.own.battery_kw + purchase_box(d)) @ np.abs(d.rules.feed_in)
    wear = d.demand.shape[0] * (2 * d.own.battery_kw * d.own.degradation + d.own.battery_kwh * d.rules.tie_break)
    lost = np.abs(block_value(d.rules)).max() * 2 * d.rules.flexibility * d.demand.max(axis=1).sum()
    return float(imports + exports + wear + lost)


def prosumer_variables(d: ProsumerData, name: str, market: bool = True) -> ProsumerVariables:
    """All variables of one prosumer with their bounds as bounds, named ``term[name]``; without a market, no trade."""
    (hours, days), own, k = d.demand.shape, d.own, d.rules.demand_blocks
    buy, sell, money = purchase_box(d) * market, sale_box(d) * market, cost_box(d)

    def column(term: str, upper, shape=(hours, days), lower=0.0) -> cp.Variable:
        bounds = [np.broadcast_to(np.asarray(b, dtype=float), shape).copy() for b in (lower, upper)]
        return cp.Variable(shape, name=f"{term}[{name}]", bounds=bounds)

    return ProsumerVariables(
        zb=column("zb", buy, (hours,)),
        zs=column("zs", sell, (hours,)),
        gp=column("gp", (1 + d.rules.flexibility) * d.demand + own.battery_kw + sell[:, None]),
        gm=column("gm", d.renewable + own.battery_kw + buy[:, None]),
        cu=column("cu", d.renewable),
        ch=column("ch", own.battery_kw),
        dis=column("dis", own.battery_kw),
        soc=column("soc", own.battery_kwh, (hours + 1, days)),
        served=tuple(column(f"served{b}", block_width(d)) for b in range(k)),
        cost=column("cost", money, (days,), -money),
        var=column("var", money, (), -money),
        excess=column("excess", 2 * money, (days,)),
    )


def served_demand(d: ProsumerData, served) -> cp.Expression:
    """Demand served, kW, shape (T, S): the firm part (1 - phi) d0 and the blocks (:eq:`eq-served-demand`)."""
    return (1 - d.rules.flexibility) * d.demand + sum(served)


def degradation_cost(d: ProsumerData, ch, dis) -> cp.Expression:
    """Battery wear of a day, $, shape (S,), on charge and discharge alike (:eq:`eq-degradation`)."""
    hours = np.ones(d.demand.shape[0])
    return d.own.degradation * (hours @ (ch + dis))


def holding_cost(d: ProsumerData, soc) -> cp.Expression:
    """Tie-break, $, shape (S,): a tiny price on energy held in store, so that it is used as soon as it can be.

    Under a flat tariff many timings cost the same; without a rule, every peak and violation would rest on the solver's
    choice among them. A price that rises with the clock is no such rule: the day is cyclic, and the evening's energy
    would wait for midnight. soc: kWh, shape (T + 1, S) (:eq:`eq-holding`).
    """
    return d.rules.tie_break * (np.ones(d.demand.shape[0]) @ soc[1:])


def lost_value(d: ProsumerData, served) -> cp.Expression:
    """Value of consumption lost against the reference level d0, $, shape (S,) (:eq:`eq-lost-value`)."""
    values = block_value(d.rules)
    reference = values[: d.rules.demand_blocks // 2].sum() * block_width(d).sum(axis=0)
    hours = np.ones(d.demand.shape[0])
    return reference - sum(value * (hours @ block) for value, block in zip(values, served, strict=True))


def retail_cost(d: ProsumerData, gp, gm) -> cp.Expression:
    """Retail purchases less feed-in revenue, $, shape (S,) (:eq:`eq-retail-cost`)."""
    return d.rules.retail @ gp - d.rules.feed_in @ gm


def energy_cost(d: ProsumerData, v: ProsumerVariables) -> list[cp.Constraint]:
    """The energy cost of a day as a variable of its own, shape (S,) (:eq:`eq-energy-cost`)."""
    terms = retail_cost(d, v.gp, v.gm) + degradation_cost(d, v.ch, v.dis) + lost_value(d, v.served)
    return [v.cost == terms + holding_cost(d, v.soc)]


def power_balance(d: ProsumerData, v: ProsumerVariables) -> list[cp.Constraint]:
    """Supply equals use in every hour and scenario, kW (:eq:`eq-prosumer-balance`)."""
    bought, sold = cp.reshape(v.zb, (-1, 1), order="C"), cp.reshape(v.zs, (-1, 1), order="C")
    supply = v.gp + bought + (d.renewable - v.cu) + v.dis
    return [supply == v.gm + sold + v.ch + served_demand(d, v.served)]


def soc_dynamics(p: Prosumer, ch, dis, soc) -> list[cp.Constraint]:
    """Battery state of charge over the day, cyclic (:eq:`eq-prosumer-soc`).

    ch, dis: charge and discharge power, kW, shape (T,) or (T, S); soc: kWh, one row more.
    """
    return [soc[1:] == soc[:-1] + p.eta * ch - dis / p.eta, soc[0] == soc[-1]]


def risk_adjusted_cost(d: ProsumerData, v: ProsumerVariables) -> cp.Expression:
    """rho_i = (1 - beta) E[C] + beta CVaR_alpha(C), $ (:eq:`eq-risk`)."""
    expected = d.probability @ v.cost
    return (1 - d.own.beta) * expected + d.own.beta * cvar(d.probability, d.rules.alpha, v.var, v.excess)


def prosumer_constraints(d: ProsumerData, v: ProsumerVariables) -> list[cp.Constraint]:
    """The private feasible set of a prosumer (:eq:`eq-prosumer-set`)."""
    return [
        *power_balance(d, v),
        *soc_dynamics(d.own, v.ch, v.dis, v.soc),
        *energy_cost(d, v),
        *cvar_rows(v.cost, v.var, v.excess),
    ]
