"""Where Proposition 1 ends: gains from deviating when a payment is settled by scenario instead of on its expectation.

The market's prices are kept; one payment of the prosumer moves inside its risk operator.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

from tritier.certificate import posted_objective
from tritier.decisions import Decisions
from tritier.instance import Instance
from tritier.market import injection
from tritier.prosumer import (
    ProsumerVariables,
    prosumer_constraints,
    prosumer_data,
    prosumer_variables,
    risk_adjusted_cost,
)
from tritier.risk import cvar, cvar_rows, value_at_risk

STORED = ("zb", "zs", "gp", "gm", "cu", "ch", "dis", "soc", "cost", "var", "excess")


def charges_by_scenario(instance: Instance, i: int, decisions: Decisions, v: ProsumerVariables) -> cp.Expression:
    """Import charges of each scenario, $, (S,); their expectation is what prosumers are billed otherwise."""
    return np.asarray(decisions.design.tariff)[instance.rules.block] @ v.gp


def rights_by_scenario(instance: Instance, i: int, decisions: Decisions, v: ProsumerVariables) -> cp.Expression:
    """Payments for net withdrawal in each scenario, $, (S,): the contingent price over the scenario's probability."""
    price = decisions["pi"][instance.prosumer_bus[i]] / instance.days.probability
    return -cp.sum(cp.multiply(price, injection(v)), axis=0)


def gain_by_scenario(instance: Instance, i: int, decisions: Decisions, payment) -> float:
    """What prosumer ``i`` gains by deviating, $, when a payment is settled by scenario (:eq:`eq-by-scenario`).

    payment: :func:`charges_by_scenario` or :func:`rights_by_scenario`.
    Zero without aversion to risk: the expectation of the payment is the same.
    """
    data = prosumer_data(instance, i)
    v, beta, p = prosumer_variables(data, "alone"), data.own.beta, data.probability
    paid = payment(instance, i, decisions, v)
    total, excess, var = cp.Variable(p.size), cp.Variable(p.size, nonneg=True), cp.Variable()
    risk = (1 - beta) * (p @ total) + beta * cvar(p, data.rules.alpha, var, excess)
    bill = posted_objective(instance, i, decisions, v, data) - risk_adjusted_cost(data, v) - p @ paid
    rows = [total == v.cost + paid, *cvar_rows(total, var, excess)]
    best = cp.Problem(cp.Minimize(risk + bill), [*prosumer_constraints(data, v), *rows])
    best.solve(cp.HIGHS)
    optimum = float(best.value)
    for term in STORED:
        getattr(v, term).save_value(decisions[term][i])
    for b, block in enumerate(v.served):
        block.save_value(decisions["served"][i, b])
    total.save_value(decisions["cost"][i] + paid.value)
    var.save_value(value_at_risk(total.value, p, data.rules.alpha))
    excess.save_value(np.maximum(total.value - var.value, 0))
    return float((risk + bill).value) - optimum
