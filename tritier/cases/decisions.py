"""Every decision, price and tariff of a solved case as named arrays, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tritier.errors import CertificateError
from tritier.inputs.instance import Design, Instance, Menu
from tritier.model.chance import Block
from tritier.model.prosumer import representative
from tritier.model.risk import sample_cvar, value_at_risk
from tritier.model.tariff import quantities
from tritier.reformulation.joint import JointLP
from tritier.search.responses import Response, block_quantiles, block_samples, fill_bookkeeping

PRICED = 1e-9  # a block whose multiplier is larger is kept with the result


class Symbol(NamedTuple):
    """How the book writes what a result or an LP names: LaTeX, unit, shape and meaning, with the equation's label."""

    symbol: str
    unit: str
    shape: str
    text: str


# A design's arrays by the name that a result stores: fields of Design, which say what they are.
DESIGNED = {"tau": "tariff", "tau_p": "p2p", "tau_k": "peak", "tau_c": "coincident", "cap": "capacity"}
# All others, by the name that a result stores, or that a column of the LP has.
DECISIONS = {
    "zb": Symbol(r"z^{\mathrm b}_{it}", "kW", "I,T", "bought on the platform, day-ahead :eq:`eq-injection`"),
    "zs": Symbol(r"z^{\mathrm s}_{it}", "kW", "I,T", "sold on the platform, day-ahead :eq:`eq-injection`"),
    "gp": Symbol("g^+_{itw}", "kW", "I,T,S", "imported from the retailer :eq:`eq-prosumer-balance`"),
    "gm": Symbol("g^-_{itw}", "kW", "I,T,S", "exported to the retailer :eq:`eq-prosumer-balance`"),
    "cu": Symbol("cu_{itw}", "kW", "I,T,S", "sun and wind curtailed :eq:`eq-prosumer-balance`"),
    "ch": Symbol("ch_{itw}", "kW", "I,T,S", "battery: charge :eq:`eq-prosumer-soc`"),
    "dis": Symbol("dis_{itw}", "kW", "I,T,S", "battery: discharge :eq:`eq-prosumer-soc`"),
    "soc": Symbol("soc_{itw}", "kWh", "I,T+1,S", "battery: energy in store :eq:`eq-prosumer-soc`"),
    "served": Symbol("d_{kitw}", "kW", "I,K,T,S", "demand served, by demand block :eq:`eq-served-demand`"),
    "ev": Symbol("ev_{itw}", "kW", "I,T,S", "drawn by vehicles :eq:`eq-backlog`"),
    "hp": Symbol("hp_{itw}", "kW", "I,T,S", "drawn by heat pumps :eq:`eq-backlog`"),
    "ev_backlog": Symbol(
        r"wait^{\mathrm{ev}}_{itw}", "kWh", "I,T,S", "asked for by vehicles, not drawn yet :eq:`eq-backlog`"
    ),
    "hp_backlog": Symbol(
        r"wait^{\mathrm{hp}}_{itw}", "kWh", "I,T,S", "asked for by heat pumps, not drawn yet :eq:`eq-backlog`"
    ),
    "gb": Symbol("G_{ibw}", "kWh", "I,B,S", "meter: import by tariff block :eq:`eq-metering`"),
    "gk": Symbol(r"g^{\max}_{iw}", "kW", "I,S", "meter: largest import :eq:`eq-metering`"),
    "cost": Symbol("C_{iw}", "$", "I,S", "cost of a day :eq:`eq-energy-cost`"),
    "var": Symbol(r"\gamma_i", "$", "I", "value at risk of the cost :eq:`eq-cvar`"),
    "excess": Symbol("e_{iw}", "$", "I,S", "cost above the value at risk :eq:`eq-cvar`"),
    "eta": Symbol(r"\gamma_c", "kW", "-", "value at risk of a chance block's violation :eq:`eq-chance`"),
    "slack": Symbol("s_c", "kW", "-", "violation bought at the declared price :eq:`eq-chance`"),
    "G": Symbol("G_b", "kWh", "B", "billed energy by tariff block, passive loads included :eq:`eq-billed-energy`"),
    "Z": Symbol("Z", "kWh", "1", "P2P volume :eq:`eq-p2p-volume`"),
    "K": Symbol("K", "kW", "1", "largest imports of all customers, summed :eq:`eq-billed-peaks`"),
    "H": Symbol("H", "kW", "1", "expected peak of the head :eq:`eq-billed-peaks`"),
    "peak": Symbol("pk_w", "kW", "S", "peak of the head on a day :eq:`eq-billed-peaks`"),
    "head": Symbol("P^0_{tw}", "kW", "T,S", "lossless flow into the feeder head :eq:`eq-head-flow`"),
    "P": Symbol("P_{ltw}", "kW", "L,T,S", "flow of a line :eq:`eq-lindistflow-flow`"),
    "v": Symbol(r"\sqrt{v_{ntw}}", "p.u.", "N,T,S", "voltage by LinDistFlow :eq:`eq-lindistflow-voltage`"),
    "loss": Symbol(r"\Lambda_{tw}", "kW", "T,S", "losses of all lines :eq:`eq-loss-tangent`"),
    "N": Symbol("N", "$", "1", "losses and demand charge, which the DSO pays :eq:`eq-network-cost`"),
    "F": Symbol("F", "$", "1", "social cost :eq:`eq-social-cost`"),
    "R": Symbol(
        r"J^{\rho}",
        "$",
        "1",
        "what prosumers, risk-adjusted, and violations cost: the first part of J :eq:`eq-joint-follower`",
    ),
    "theta": Symbol(r"\theta", "$", "1", "the follower's value :eq:`eq-joint-follower`"),
    "fixed": Symbol("B^{\\mathrm{fix}}_i", "$/day", "I+1", "fixed charge, passive loads last :eq:`eq-fixed-charge`"),
}
# By the name that a result stores, or the label of the rows of the LP whose multipliers they are.
MULTIPLIERS = {
    "lambda": Symbol(r"\lambda_t", "$/kWh", "T", "P2P price, (T, S) where trade is by scenario :eq:`eq-p2p-balance`"),
    "pi": Symbol(
        r"\pi_{ntw}", "$/kWh", "N,T,S", "price of the right to inject, probability included :eq:`eq-injection-price`"
    ),
    "mu": Symbol(r"\mu_c", "$/kWh", "-", "price of a chance block :eq:`eq-block-multiplier`"),
    "nu": Symbol(r"\nu_{ckw}", "$/kWh", "-,2,S", "price of a chance block's tail rows :eq:`eq-block-multiplier`"),
    "y": Symbol(
        r"\mathsf y", "$ per unit", "-", "multipliers of all private rows, those below among them :eq:`eq-kkt`"
    ),
    "peak": Symbol(
        r"\zeta_{tw}", "$/kW", "T,S", "price of the head's peak, a part of the right's price :eq:`eq-peak-price`"
    ),
    "energy_cost": Symbol(r"\varrho_{iw}", "-", "I,S", "risk-adjusted probability :eq:`eq-follower-stationarity`"),
    "cvar_rows": Symbol(r"\xi_{iw}", "-", "I,S", "the part of it that the tail adds :eq:`eq-follower-stationarity`"),
    "power_balance": Symbol(
        r"\varpi_{itw}", "$/kWh", "I,T,S", "worth of energy at a prosumer :eq:`eq-follower-stationarity`"
    ),
    "soc_dynamics": Symbol(
        r"\sigma_{itw}", "$/kWh", "I,T,S", "worth of energy in store :eq:`eq-follower-stationarity`"
    ),
    "largest": Symbol(r"\psi_{itw}", "$/kW", "I,T,S", "worth of a lower largest import :eq:`eq-follower-stationarity`"),
}


@dataclass(frozen=True, eq=False)
class Decisions:
    """A market outcome: arrays by name, the priced chance blocks and the design they answer."""

    design: Design
    blocks: tuple[Block, ...]
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def fixed(self) -> np.ndarray:
        """Fixed charge of each prosumer, and of all passive loads at last, $/day, (I + 1,); 0 where there is none."""
        return self.arrays.get("fixed", np.zeros(self.arrays["gp"].shape[0] + 1))


def block_multipliers(joint: JointLP, y: np.ndarray) -> dict[Block, float]:
    """Price of each block's CVaR row, $/kWh, >= 0 (:eq:`eq-block-multiplier`)."""
    return {block: max(0.0, -float(y[joint.lp.row_at(f"quantile:{block.label}")])) for block in joint.blocks}


def injection_prices(joint: JointLP, blocks: Sequence[Block], y: np.ndarray) -> np.ndarray:
    """Contingent prices of net injection pi, $/kWh times probability, (N, T, S) (:eq:`eq-injection-price`).

    A positive price is paid to who injects. It is the dual of ``inj = injections``: duals of tail rows times gradients,
    and at every bus the dual of the head's peak where a charge on it is passed on.
    """
    days = joint.instance.days
    pi = np.zeros((joint.instance.feeder.bus.size, days.n_hours, days.n_days))
    for block in blocks:
        form = joint.network.form(block)
        for k, gradient in enumerate(form.gradient):
            tail = -y[joint.lp.row_at(f"tail{k}:{block.label}")]
            pi[:, block.hour, :] += np.outer(gradient, tail)
    return pi + peak_prices(joint, y)


def peak_prices(joint: JointLP, y: np.ndarray) -> np.ndarray:
    """What one kW less at the head is worth for its peak, $/kWh times probability, (T, S); 0 where nobody is charged
    for it (:eq:`eq-peak-price`)."""
    shape = joint.lp.row_at("peak").shape
    return np.maximum(-y[joint.lp.row_at("peak")], 0.0) if "H" in joint.lp.columns else np.zeros(shape)


def p2p_price(joint: JointLP, y: np.ndarray) -> np.ndarray:
    """P2P price lambda, $/kWh: dual of sales less purchases (:eq:`eq-p2p-balance`). (T,) where trade is agreed
    day-ahead; (T, S) where it is contingent on the scenario, then with the scenario's probability in it.

    The head's flow is written without trades, which cancel there, but a seller is paid for the injection of what it
    sells, at a price that holds the head's peak: lambda is lower by that.
    """
    price, peak = y[joint.lp.row_at("p2p_balance")], peak_prices(joint, y)
    return price - (peak if price.ndim == 2 else peak.sum(axis=1))


def decisions_of(joint: JointLP, response: Response) -> Decisions:
    """Named arrays of a response.

    Value at risk and excess are recomputed from costs: where CVaR has no weight the LP leaves them free.
    """
    instance, lp, x = joint.instance, joint.lp, response.x
    y = np.append(response.y, np.zeros(lp.row_lower.size - response.y.size))  # rows that other designs added since
    price = block_multipliers(joint, y)
    blocks = tuple(block for block in joint.blocks if price[block] > PRICED)
    arrays = representative(joint.data, joint.decisions(x))
    arrays["var"] = value_at_risk(arrays["cost"], instance.days.probability, instance.rules.alpha)
    arrays["excess"] = np.maximum(arrays["cost"] - arrays["var"][:, None], 0)
    load = joint.net_load(x)
    arrays["P"] = joint.network.matrices.flows(load)
    arrays["v"] = np.sqrt(joint.network.matrices.squared_voltages(load, instance.days.reactive_kvar))
    arrays |= prices_of(instance.menu, response.design)
    arrays["cap"] = np.array([limit for _, limit in response.design.capacity])
    arrays["lambda"] = p2p_price(joint, y)
    arrays["pi"] = injection_prices(joint, blocks, y)
    arrays["mu"] = np.array([price[block] for block in blocks])
    arrays["eta"] = block_quantiles(joint, blocks, load, response.design)
    arrays["nu"] = np.array([_tails(joint, block, y) for block in blocks]).reshape(len(blocks), 2, instance.days.n_days)
    arrays["y"] = np.concatenate([y[lp.row_at(label)].ravel(order="F") for label in private_rows(joint)])
    arrays |= billed_of(instance.menu, response.billed)
    arrays["theta"] = np.array(response.theta)
    return Decisions(response.design, blocks, arrays)


def prices_of(menu: Menu, design: Design) -> dict[str, np.ndarray]:
    """A design's prices as arrays; a peak charge only where the menu offers one."""
    prices = {"tau": np.array(design.tariff), "tau_p": np.array(design.p2p)}
    peaks = {"tau_k": (design.peak, menu.peak), "tau_c": (design.coincident, menu.coincident)}
    return prices | {name: np.array(price) for name, (price, levels) in peaks.items() if any(levels)}


def billed_of(menu: Menu, billed: np.ndarray) -> dict[str, np.ndarray]:
    """What the components are billed on as arrays, named as the LP's columns are."""
    named = {"G": billed[:-3], "Z": billed[-3], "K": billed[-2], "H": billed[-1]}
    return {name: np.array(named[name]) for name in quantities(menu)}


def private_rows(joint: JointLP) -> list[str]:
    """Labels of the rows whose duals are stored as ``y``: all but the blocks, the tangents and the DSO's own."""
    own: tuple[str, ...] = ("tail", "quantile", "tangent", "revenue", "gross", "N", "F")
    own += () if "H" in joint.lp.columns else ("head", "peak")
    return [label for label in joint.lp.rows if not label.startswith(own)]


def _tails(joint: JointLP, block: Block, y: np.ndarray) -> np.ndarray:
    """Duals of the tail rows, >= 0, (2, S); a voltage block has one sign, its second row is zero."""
    tails = np.zeros((2, joint.instance.days.n_days))
    for k in range(joint.network.form(block).gradient.shape[0]):
        tails[k] = -y[joint.lp.row_at(f"tail{k}:{block.label}")]
    return tails


def point_of(joint: JointLP, decisions: Decisions) -> np.ndarray:
    """The point of the LP that named arrays stand for; bookkeeping columns are recomputed, not read."""
    instance, lp = joint.instance, joint.lp
    days, rules = instance.days, instance.rules
    x = np.zeros(lp.cost.size)
    joint.place(x, decisions.arrays)
    load = joint.net_load(x)
    bought = 0.0
    for block, eta in zip(decisions.blocks, decisions["eta"], strict=True):
        sample = block_samples(joint, block, load, decisions.design)
        excess = np.maximum(sample - eta, 0)
        slack = max(0.0, float(eta + excess @ days.probability / rules.chance_level))
        label, bought = block.label, bought + slack
        x[lp.at(f"var:{label}")], x[lp.at(f"excess:{label}")], x[lp.at(f"slack:{label}")] = eta, excess, slack
    x[lp.at("slack")] = bought
    x[lp.at("R")] = prosumer_risk(instance, decisions).sum() + rules.violation_price * bought
    for name, value in billed_of(instance.menu, joint.billed(x)).items():
        x[lp.at(name)] = value
    if joint.lines:
        x[lp.at("cap")] = [dict(decisions.design.capacity)[line] for line in joint.lines]
    fill_bookkeeping(joint, x, load)
    return x


def duals_of(joint: JointLP, decisions: Decisions) -> np.ndarray:
    """The LP's row duals that the stored arrays stand for; zero on the DSO's own rows.

    Raises CertificateError where there is not one dual for each row.
    """
    lp = joint.lp
    y = np.zeros(lp.row_lower.size)
    rows = np.concatenate([lp.row_at(label).ravel(order="F") for label in private_rows(joint)])
    stored = decisions.arrays.get("y", np.empty(0))
    if stored.shape != rows.shape:
        raise CertificateError("decisions.y", float(stored.size), float(rows.size), "not one dual for each row")
    y[rows] = stored
    for block, mu, nu in zip(decisions.blocks, decisions["mu"], decisions["nu"], strict=True):
        y[lp.row_at(f"quantile:{block.label}")] = -mu
        for k in range(joint.network.form(block).gradient.shape[0]):
            y[lp.row_at(f"tail{k}:{block.label}")] = -nu[k]
    return y


def prosumer_risk(instance: Instance, decisions: Decisions) -> np.ndarray:
    """rho_i of every prosumer, $, (I,) (:eq:`eq-risk`)."""
    p, alpha = instance.days.probability, instance.rules.alpha
    beta = np.array([own.beta for own in instance.prosumers])
    return (1 - beta) * (decisions["cost"] @ p) + beta * sample_cvar(decisions["cost"], p, alpha)
