"""Proof beside every result: equilibrium, follower, money and revenue, recomputed from the stored decisions."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from tritier.decisions import (
    Decisions,
    block_quantiles,
    duals_of,
    injection_prices,
    lowest_level,
    p2p_price,
    point_of,
)
from tritier.errors import CertificateError
from tritier.instance import Instance
from tritier.joint import JointLP, follower_lp
from tritier.market import chance_block, injection
from tritier.parametric import primal_residual, safe_bound
from tritier.prosumer import prosumer_constraints, prosumer_data, prosumer_variables, risk_adjusted_cost
from tritier.risk import value_at_risk

GAIN = 1e-6  # of max(|cost|, 1 % of the bill without trade)
RESIDUAL = 1e-6  # kW, kWh or $ of a row or bound; relative to the optimal value for the duality gap
COMPLEMENTARITY = 1e-4  # $: largest single product of slack and multiplier
AGREE = 1e-6  # recomputed against stored arrays, relative to the array's largest entry
VIOLATED_KW = 1e-5  # CVaR of violation that counts as none


@dataclass(frozen=True)
class Equilibrium:
    """Gains from deviating at the posted prices."""

    prosumer_gain: np.ndarray  # (I,), $
    relative_gain: np.ndarray  # (I,), of max(|cost|, 1 % of the bill without trade)
    platform_gain: float  # $
    platform_scale: float  # $


@dataclass(frozen=True)
class FollowerResiduals:
    """Residuals of the joint follower's optimality conditions."""

    primal: float
    dual: float
    complementarity: float
    duality_gap: float
    slack: float


def stored_lp(instance: Instance, decisions: Decisions, market: bool, network: bool) -> JointLP:
    """The joint follower with exactly the priced blocks of stored decisions, at their design."""
    joint = JointLP(instance, market, network, follower_lp(instance, market))
    for block in decisions.blocks:
        joint.add_block(block)
    joint.offer(decisions.design)
    return joint


def posted_objective(instance: Instance, i: int, decisions: Decisions, variables, data) -> cp.Expression:
    """What prosumer i pays at posted prices: risk-adjusted cost, charges, trade and injection (:eq:`eq-prosumer`)."""
    design, rules = decisions.design, instance.rules
    tau = np.asarray(design.tariff)[rules.block]
    charges = tau @ (variables.gp @ data.probability) + design.p2p / 2 * cp.sum(variables.zb + variables.zs)
    trade = decisions["lambda"] @ (variables.zb - variables.zs)
    sold = cp.sum(cp.multiply(decisions["pi"][instance.prosumer_bus[i]], injection(variables)))
    return risk_adjusted_cost(data, variables) + charges + trade - sold


def prosumer_deviation(instance: Instance, i: int, decisions: Decisions, market: bool) -> tuple[float, float, float]:
    """(cost, best reply, bill without trade or assets) of prosumer i at the posted prices, $.

    The prosumer re-optimises alone, in a problem of its own that shares only the terms with the joint follower.
    """
    data = prosumer_data(instance, i)
    v = prosumer_variables(data, "alone", market)
    objective = posted_objective(instance, i, decisions, v, data)
    best = cp.Problem(cp.Minimize(objective), prosumer_constraints(data, v))
    best.solve(cp.HIGHS, primal_feasibility_tolerance=1e-9, dual_feasibility_tolerance=1e-9)
    optimum = float(best.value)
    for term in ("zb", "zs", "gp", "gm", "cu", "ch", "dis", "soc", "cost", "var", "excess"):
        getattr(v, term).save_value(decisions[term][i])
    for b, block in enumerate(v.served):
        block.save_value(decisions["served"][i, b])
    tau = np.asarray(decisions.design.tariff)[instance.rules.block]
    bill = float((instance.rules.retail + tau) @ (data.demand @ data.probability))
    return float(objective.value), optimum, bill


def platform_deviation(
    instance: Instance, decisions: Decisions, joint: JointLP, load: np.ndarray
) -> tuple[float, float]:
    """(gain, scale) of the platform re-optimising alone, $: least pi.q plus violations bought over priced blocks."""
    if not decisions.blocks:
        return 0.0, 1.0
    shape = (instance.days.n_hours, instance.days.n_days)
    actual = -load[instance.prosumer_bus] + instance.days.passive_kw[instance.prosumer_bus]
    box = 10 * np.abs(actual).max() + 1e3
    inject = [cp.Variable(shape, bounds=[-box, box]) for _ in instance.prosumers]
    pi = decisions["pi"][instance.prosumer_bus]
    limits = np.array([dict(decisions.design.capacity)[line] for line in joint.lines])
    rows, bought = [], 0
    for block in decisions.blocks:
        block_rows, slack = chance_block(instance, joint.network.form(block), block, inject, limits)
        rows += [constraint for _, constraint in block_rows]
        bought = bought + slack
    objective = (
        sum(cp.sum(cp.multiply(pi[i], q)) for i, q in enumerate(inject)) + instance.rules.violation_price * bought
    )
    best = cp.Problem(cp.Minimize(objective), rows)
    best.solve(cp.HIGHS, primal_feasibility_tolerance=1e-9, dual_feasibility_tolerance=1e-9)
    paid = float((pi * actual).sum()) + instance.rules.violation_price * float(
        point_of(joint, decisions)[joint.lp.at("slack")]
    )
    return paid - float(best.value), max(1.0, float(np.abs(pi * actual).sum()))


def equilibrium(instance: Instance, decisions: Decisions, joint: JointLP, market: bool) -> Equilibrium:
    """Every prosumer and the platform re-optimise alone at the posted prices (:eq:`eq-equilibrium`)."""
    rows = [prosumer_deviation(instance, i, decisions, market) for i in range(len(instance.prosumers))]
    cost, best, bill = np.array(rows).T
    scale = np.maximum(np.abs(cost), 0.01 * bill)
    load = joint.net_load(point_of(joint, decisions))
    gain, platform = platform_deviation(instance, decisions, joint, load)
    return Equilibrium(cost - best, (cost - best) / scale, gain, platform)


def follower_residuals(joint: JointLP, decisions: Decisions) -> FollowerResiduals:
    """Primal, dual and complementarity residuals and the duality gap of the stored point (:eq:`eq-kkt`)."""
    lp = joint.warm.current()
    x, y = point_of(joint, decisions), duals_of(joint, decisions)
    cost = joint.cost(decisions.design)
    reduced, rows = cost - lp.matrix.T @ y, lp.matrix @ x
    off_bound = np.where(reduced > 0, x - lp.col_lower, lp.col_upper - x)  # from the bound the reduced cost pushes to
    wrong = np.concatenate([np.where(np.isinf(lp.row_lower), y, 0), np.where(np.isinf(lp.row_upper), -y, 0), [0.0]])
    slack = np.where(y > 0, rows - lp.row_lower, lp.row_upper - rows)
    products = np.concatenate([np.abs(reduced * off_bound), np.abs(y) * np.where(y == 0, 0, slack)])
    value = float(cost @ x)
    return FollowerResiduals(
        primal=primal_residual(lp, x),
        dual=float(max(0.0, wrong.max())),
        complementarity=float(np.abs(products).max()),
        duality_gap=(value - safe_bound(lp, cost, y)) / max(1.0, abs(value)),
        slack=float(x[joint.lp.at("slack")]),
    )


def recomputed(joint: JointLP, decisions: Decisions) -> dict[str, np.ndarray]:
    """Every stored array that others imply, computed from those others."""
    instance, days = joint.instance, joint.instance.days
    x, y = point_of(joint, decisions), duals_of(joint, decisions)
    load = joint.net_load(x)
    var = value_at_risk(decisions["cost"], days.probability, instance.rules.alpha)
    return {
        "tau": np.array(decisions.design.tariff),
        "tau_p": np.array(decisions.design.p2p),
        "cap": np.array([limit for _, limit in decisions.design.capacity]),
        "P": joint.network.matrices.flows(load),
        "v": np.sqrt(joint.network.matrices.squared_voltages(load, days.reactive_kvar)),
        "soc": lowest_level(decisions["soc"]),
        "var": var,
        "excess": np.maximum(decisions["cost"] - var[:, None], 0),
        "G": x[joint.lp.at("G")],
        "Z": x[joint.lp.at("Z")],
        "lambda": p2p_price(joint, y),
        "pi": injection_prices(joint, decisions.blocks, y),
        "mu": decisions["nu"].sum(axis=(1, 2)),
        "eta": block_quantiles(joint, decisions.blocks, load, decisions.design),
        "theta": np.array(float(joint.cost(decisions.design) @ x)),
    }


def check_arrays(joint: JointLP, decisions: Decisions) -> None:
    """Raise CertificateError where a stored array is not what the others imply."""
    for name, value in recomputed(joint, decisions).items():
        stored = np.asarray(decisions[name])
        if stored.shape != value.shape:
            raise CertificateError(f"decisions.{name}", float(stored.size), float(value.size), "shapes differ")
        scale = max(1e-3, float(np.abs(value).max(initial=0)))
        require(f"decisions.{name}", float(np.abs(stored - value).max(initial=0)) / scale, AGREE)


def worst_violation(joint: JointLP, decisions: Decisions) -> float:
    """Largest CVaR of violation over all blocks, kW, whether they have rows or not; 0 where none is positive."""
    load = joint.net_load(point_of(joint, decisions))
    risks = joint.network.block_risks(load, joint.limits(point_of(joint, decisions)), above=0.0)
    return risks[0][0] if risks else 0.0


def require(name: str, figure: float, limit: float, detail: str = "") -> None:
    """Raise CertificateError where a figure exceeds its limit or is not a number."""
    if not figure <= limit:
        raise CertificateError(name, figure, limit, detail)


def check_equilibrium(e: Equilibrium, names) -> None:
    worst = int(np.argmax(e.relative_gain))
    require("equilibrium.max_relative_gain", float(e.relative_gain[worst]), GAIN, f"prosumer {names[worst]}")
    require("equilibrium.platform_gain", e.platform_gain / e.platform_scale, GAIN, "platform")


def check_follower(f: FollowerResiduals) -> None:
    require("follower.primal", f.primal, RESIDUAL)
    require("follower.dual", f.dual, RESIDUAL)
    require("follower.complementarity", f.complementarity, COMPLEMENTARITY)
    require("follower.duality_gap", f.duality_gap, RESIDUAL)
    require("follower.slack", f.slack, RESIDUAL, "a reported design buys no violation")
