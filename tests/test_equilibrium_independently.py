"""The equilibrium with charges inside the risk measure, by a second model that shares nothing with ours but the data.

Each prosumer and the platform are written again in cvxpy, from the symbols of the book; nobody may gain or lose more
than a millionth by re-optimising alone at the posted prices, on either side of zero.
"""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from independent import lost_value, paths, person, shared_impedance
from test_deferrable import electrified

from tritier.cases.decisions import decisions_of
from tritier.inputs.instance import Design
from tritier.reformulation.joint import JointLP
from tritier.search.responses import optimistic_response

GAIN = 1e-6
FLAT = Design((0.0833,) * 3, 0.02, ((1, 1000.0),))
TIGHT = Design((0.02, 0.08, 0.14), 0.02, ((1, 190.0),))


def cvar(cost: np.ndarray, p: np.ndarray, alpha: float) -> float:
    """Mean of the worst 1 - alpha share, by sorting."""
    order, left, total = np.argsort(-cost), 1 - alpha, 0.0
    for w in order:
        share = min(left, p[w])
        total, left = total + share * cost[w], left - share
    return total / (1 - alpha)


def prosumer_gain(market, found, i: int) -> float:
    """What prosumer i could save at the posted prices, relative to its cost."""
    own, rules, days, design = market.prosumers[i], market.rules, market.days, found.design
    p, (hours, scenarios) = days.probability, days.wholesale.shape
    d0, sun, retail, feed_in = days.demand_kw[i], days.renewable_kw[i], days.retail, days.feed_in
    tau, price, pi = np.array(design.tariff)[rules.block], found["lambda"], found["pi"][i + 1]
    phi, shape = rules.flexibility, (hours, scenarios)
    one = person(own, rules, d0, sun, days.deferrable_kw[i], days.plugged_kw[i])
    contingent = found["zb"].ndim == 3
    traded = shape if contingent else (hours, 1)
    weight = p[None, :] if contingent else np.ones((1, 1))  # the P2P charge falls on expected trades
    price = price if contingent else price[:, None]
    buy, sell = cp.Variable(traded, nonneg=True), cp.Variable(traded, nonneg=True)
    gp, gm = cp.Variable(shape, nonneg=True), cp.Variable(shape, nonneg=True)
    cost, eta = cp.Variable(scenarios), cp.Variable()
    ahead = buy - sell if contingent else (buy - sell) @ np.ones((1, scenarios))
    # Nobody buys more ahead than it could use or sells more than it could supply; risk weights would make them trade
    # retail prices against each other without end.
    usable = (
        (1 + phi) * d0 + own.battery_kw + sum(days.plugged_kw[i][k] for k in (0, 1) if days.deferrable_kw[i][k].any())
    )
    rows = [*one.rows, gp + ahead == gm + one.draws]
    rows += [
        bought <= (most if contingent else most.max(axis=1, keepdims=True))
        for bought, most in ((buy, usable), (sell, sun + own.battery_kw))
    ]
    bill = cp.sum(cp.multiply(retail + tau[:, None], gp) - cp.multiply(feed_in, gm), axis=0)
    rows += [cost == bill + one.wear + one.lost + one.held]
    excess = cp.pos(cost - eta)
    rho = (1 - own.beta) * (p @ cost) + own.beta * (eta + p @ excess / (1 - rules.alpha))
    market_bill = cp.sum(cp.multiply(price, buy - sell) + design.p2p / 2 * cp.multiply(weight, buy + sell))
    market_bill = market_bill - cp.sum(cp.multiply(pi, gm - gp - ahead))
    best = cp.Problem(cp.Minimize(rho + market_bill), rows)
    best.solve(cp.HIGHS, primal_feasibility_tolerance=1e-9, dual_feasibility_tolerance=1e-9)

    f = {name: found[name][i] for name in ("zb", "zs", "gp", "gm", "ch", "dis", "soc", "served", "ev_backlog")}
    day = ((retail + tau[:, None]) * f["gp"] - feed_in * f["gm"]).sum(axis=0)
    day += own.degradation * (f["ch"] + f["dis"]).sum(axis=0) + rules.tie_break * f["soc"][1:].sum(axis=0)
    day += rules.tie_break * (found["ev_backlog"][i] + found["hp_backlog"][i]).sum(axis=0)
    day += lost_value(rules, d0, f["served"])
    paid = (1 - own.beta) * (p @ day) + own.beta * cvar(day, p, rules.alpha)
    zb, zs = (f[z].reshape(traded) for z in ("zb", "zs"))
    paid += (price * (zb - zs) + design.p2p / 2 * weight * (zb + zs)).sum()
    paid -= (pi * (f["gm"] - f["gp"] + zs - zb)).sum()
    assert day == pytest.approx(found["cost"][i], abs=1e-6), "C holds the charges of each scenario"
    return (paid - best.value) / abs(paid)


def platform_gain(market, found) -> float:
    """What the platform could earn by other injections at the posted prices, $, all its limits written out."""
    feeder, days, rules = market.feeder, market.days, market.rules
    hours, scenarios = days.wholesale.shape
    eps, p = rules.chance_level, days.probability
    n, bus, used = feeder.bus.size, market.prosumer_bus, paths(feeder)
    r, x = shared_impedance(feeder)
    sold = found["zs"] - found["zb"]
    actual = found["gm"] - found["gp"] + (sold if sold.ndim == 3 else sold[..., None])
    inject = [cp.Variable((hours, scenarios), bounds=[-5e3, 5e3]) for _ in bus]
    limits = dict(found.design.capacity)
    rows, slack = [], []

    def block(violations) -> None:
        eta, tail, bought = cp.Variable(), cp.Variable(scenarios, nonneg=True), cp.Variable(nonneg=True)
        rows.extend(tail >= v - eta for v in violations)
        rows.append(eta + p @ tail / eps <= bought)
        slack.append(bought)

    for t in range(hours):
        load = [days.passive_kw[m, t] - sum(q[t] for q, b in zip(inject, bus, strict=True) if b == m) for m in range(n)]
        for line in range(n - 1):
            flow = sum(load[m] for m in range(n) if used[line, m])
            rating = np.sqrt(feeder.rating_kva[line] ** 2 - (used[line] @ days.reactive_kvar[:, t]) ** 2)
            block([flow - rating, -flow - rating])
            if int(feeder.line[line]) in limits:
                block([flow - limits[int(feeder.line[line])], -flow - limits[int(feeder.line[line])]])
        for m in range(1, n):
            v2 = feeder.v_slack**2 - 2 * sum(r[m, k] * load[k] for k in range(n)) - 2 * x[m] @ days.reactive_kvar[:, t]
            block([((feeder.v_min[m] + rules.voltage_margin) ** 2 - v2) / (2 * r[m, m])])
            block([(v2 - feeder.v_max[m] ** 2) / (2 * r[m, m])])
    pi = found["pi"][bus]
    value = sum(cp.sum(cp.multiply(pi[i], q)) for i, q in enumerate(inject)) + rules.violation_price * sum(slack)
    best = cp.Problem(cp.Minimize(value), rows)
    best.solve(cp.HIGHS, primal_feasibility_tolerance=1e-9, dual_feasibility_tolerance=1e-9)
    return float((pi * actual).sum()) - float(best.value)


@pytest.mark.parametrize("trade", ["day_ahead", "by_scenario"])
@pytest.mark.parametrize("design", [FLAT, TIGHT], ids=["flat", "tight"])
def test_nobody_gains_by_deviating_alone(design, trade):
    market = electrified()
    people = tuple(replace(q, beta=b) for q, b in zip(market.prosumers, (0.3, 0.5, 0.7), strict=True))
    market = replace(market, prosumers=people, rules=replace(market.rules, alpha=0.6, trade=trade))
    joint = JointLP(market)
    found = decisions_of(joint, optimistic_response(joint, design, revenue=False))
    assert bool(found.blocks) == (design is TIGHT)
    gains = np.array([prosumer_gain(market, found, i) for i in range(3)])
    assert np.abs(gains).max() <= GAIN, gains
    assert abs(platform_gain(market, found)) <= GAIN * max(1.0, np.abs(found["pi"] * found["P"][:1].max()).sum())
    wrong = replace(found, arrays=found.arrays | {"lambda": found["lambda"] + 0.01})
    assert max(prosumer_gain(market, wrong, i) for i in range(3)) > 100 * GAIN


def test_a_kilowatt_hour_costs_the_same_in_and_outside_the_tail():
    """Billed by scenario, demand of every block is served exactly where its value exceeds retail price plus charge, in
    all scenarios alike; billed on expectation, not outside the tail."""
    for billing, alike in (("scenario", True), ("expected", False)):
        market = electrified(billing=billing)
        bare = tuple(replace(q, battery_kwh=0.0, battery_kw=0.0, beta=0.7) for q in market.prosumers)
        days = replace(market.days, renewable_kw=0 * market.days.renewable_kw, retail=None, feed_in=None)
        market = replace(market, prosumers=bare, days=days, rules=replace(market.rules, alpha=0.6))
        joint = JointLP(market)
        design = Design((0.1,) * 3, 0.02, ((1, 1000.0),))
        found = decisions_of(joint, optimistic_response(joint, design, revenue=False))
        share = found["served"].sum(axis=1) / market.days.demand_kw
        assert (np.ptp(share, axis=2).max() < 1e-6) == alike
