"""Proof beside every result: equilibrium, follower, money and revenue, recomputed from the stored decisions.

A design's proof is checked without the search, and nothing of the run is trusted: rows are those that their bases
prove, both references lie between bounds of their own, and the bound is that of a ledger filled with these rows alone,
on the menu of the study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np

from tritier.cases.cases import Case
from tritier.cases.decisions import (
    Decisions,
    billed_of,
    block_quantiles,
    duals_of,
    injection_prices,
    p2p_price,
    point_of,
    prices_of,
)
from tritier.cases.judged import check_days
from tritier.cases.outcome import imbalance, settlement_of
from tritier.cases.recourse import DayDecisions, as_cleared
from tritier.errors import CertificateError, SolverError
from tritier.inputs.instance import Design, Instance
from tritier.model.devices import ProsumerData
from tritier.model.dso import day_peak
from tritier.model.market import chance_block
from tritier.model.prosumer import (
    RISK,
    charges_ahead,
    decision_shapes,
    decisions_of,
    gain_scale,
    injection,
    prosumer_constraints,
    prosumer_data,
    prosumer_variables,
    representative,
    retail_cost,
    risk_adjusted_cost,
    set_values,
)
from tritier.model.risk import cvar, cvar_rows, value_at_risk
from tritier.model.tariff import charges, fixed_charge, revenue_slack, without_fixed_part
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import Status, face_of, primal_residual, safe_bound, solve_lp
from tritier.search.check import BOUND, check_pool
from tritier.search.flat import check_flat, flat_design, unrecovered
from tritier.search.menu import Coordinates, Ledger
from tritier.search.pool import Pool, at_first_basis, build
from tritier.search.references import REFERENCES, SCAN, Reference, check_reference
from tritier.search.responses import ROUNDS, only
from tritier.search.scip import below, prove

GAIN = 1e-9  # of max(|cost|, 1 % of the bill without trade); relative to what a day's agents pay
RESIDUAL = 1e-6  # kW, kWh or $ of a row or bound
DUALITY = 1e-9  # of the follower's optimal value
COMPLEMENTARITY = 1e-7  # $: largest single product of slack and multiplier
SOCIAL = 1e-2  # $/day: a social cost against the least among the follower's equals, of either sign
DOLLARS = 0.01  # $/day: expected social cost of judged days above the least among equals
PRICES = 1e-6  # $/kWh: prices of judged days against what limits are worth
AGREE = 1e-6  # recomputed against stored arrays, relative to the array's largest entry
CVAR_KW = 1e-5  # CVaR of violation that counts as none
# What is checked of a result, in this order; those behind the first four where bounds are to be proved.
OF_DECISIONS = 4
CHECKS = (
    *("the follower's optimum", "equilibrium", "money and social cost", "judged days"),
    *("proof of the flat tariff", "proof of the first best", "proof of the search", "SCIP's word on its rows"),
)


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
    joint = JointLP(instance, market, network)
    for block in decisions.blocks:
        joint.add_block(block)
    joint.set_design(decisions.design)
    return joint


def posted_objective(instance: Instance, i: int, decisions: Decisions, x: Mapping, data: ProsumerData) -> cp.Expression:
    """What prosumer i pays at posted prices: risk-adjusted cost, charges, trade and injection (:eq:`eq-prosumer`)."""
    trade = cp.sum(cp.multiply(decisions["lambda"], x["zb"] - x["zs"]))
    sold = cp.sum(cp.multiply(decisions["pi"][instance.prosumer_bus[i]], injection(x)))
    return risk_adjusted_cost(data, x) + charges_ahead(data, x, decisions.design) + trade - sold


def least(objective: cp.Expression, rows: Sequence[cp.Constraint], whose: str) -> float:
    """The least of an objective, $, to 1e-9. Raises SolverError where HiGHS finds no optimum."""
    problem = cp.Problem(cp.Minimize(objective), list(rows))
    try:
        problem.solve(cp.HIGHS, primal_feasibility_tolerance=1e-9, dual_feasibility_tolerance=1e-9)
    except cp.SolverError as error:
        raise SolverError(f"the best reply of {whose} was not found: {error}") from error
    if problem.status != cp.OPTIMAL:
        raise SolverError(f"the best reply of {whose} was not found: {problem.status}")
    return float(problem.value)


def prosumer_deviation(instance: Instance, i: int, decisions: Decisions, market: bool) -> tuple[float, float, float]:
    """(cost, best reply, bill without trade or assets) of prosumer i at the posted prices, $.

    The prosumer re-optimises alone, in a problem of its own that shares only the terms with the joint follower.
    """
    data = prosumer_data(instance, i)
    v = prosumer_variables(data, "alone", market)
    objective = posted_objective(instance, i, decisions, v, data)
    optimum = least(objective, prosumer_constraints(data, v, decisions.design.prices), data.own.name)
    set_values(v, decisions_of(data, decisions.arrays, i))
    day = retail_cost(data, data.demand, 0 * data.demand) + charges(instance.rules, decisions.design, data.demand)
    bill = day @ data.probability
    return float(objective.value), optimum, float(bill)


def platform_deviation(
    instance: Instance, decisions: Decisions, joint: JointLP, load: np.ndarray
) -> tuple[float, float]:
    """(gain, scale) of the platform re-optimising alone, $: least pi.q plus violations bought over priced blocks, plus
    the charge on the head's peak that it passes on."""
    days, charge = instance.days, decisions.design.coincident
    if not decisions.blocks and not charge:
        return 0.0, 1.0
    actual = -load[instance.prosumer_bus] + days.passive_kw[instance.prosumer_bus]
    box = 10 * np.abs(actual).max() + 1e3
    inject = [cp.Variable((days.n_hours, days.n_days), bounds=[-box, box]) for _ in instance.prosumers]
    pi = decisions["pi"][instance.prosumer_bus]
    limits = np.array([dict(decisions.design.capacity)[line] for line in joint.lines])
    peak = cp.Variable(days.n_days, bounds=[0, load.sum(axis=0).max() + len(inject) * box])
    rows, bought = [cp.reshape(peak, (1, -1), order="C") >= days.passive_kw.sum(axis=0) - sum(inject)], 0
    for block in decisions.blocks:
        block_rows, slack = chance_block(instance, joint.network.form(block), block, inject, limits)
        rows += [constraint for _, constraint in block_rows]
        bought = bought + slack
    objective = sum(cp.sum(cp.multiply(pi[i], q)) for i, q in enumerate(inject))
    objective = objective + instance.rules.violation_price * bought + charge * (days.probability @ peak)
    optimum = least(objective, rows, "the platform")
    bill = instance.rules.violation_price * float(point_of(joint, decisions)[joint.lp.at("slack")])
    bill += charge * float(days.probability @ day_peak(load))
    paid = float((pi * actual).sum()) + bill
    return paid - optimum, max(1.0, float(np.abs(pi * actual).sum()))


def equilibrium(instance: Instance, decisions: Decisions, joint: JointLP, market: bool) -> Equilibrium:
    """Every prosumer and the platform re-optimise alone at the posted prices (:eq:`eq-equilibrium`)."""
    rows = [prosumer_deviation(instance, i, decisions, market) for i in range(len(instance.prosumers))]
    cost, best, bill = np.array(rows).T
    load = joint.net_load(point_of(joint, decisions))
    gain, platform = platform_deviation(instance, decisions, joint, load)
    return Equilibrium(cost - best, (cost - best) / gain_scale(cost, bill), gain, platform)


def follower_residuals(joint: JointLP, decisions: Decisions) -> FollowerResiduals:
    """Primal, dual and complementarity residuals and the duality gap of the stored point (:eq:`eq-kkt`)."""
    lp = joint.warm.current()
    x, y = point_of(joint, decisions), duals_of(joint, decisions)
    cost = joint.cost(decisions.design)
    reduced, rows = cost - lp.matrix.T @ y, lp.matrix @ x
    off_bound = np.where(reduced > 0, x - lp.col_lower, lp.col_upper - x)  # from the bound the reduced cost pushes to
    wrong = np.concatenate([np.where(np.isinf(lp.row_lower), y, 0), np.where(np.isinf(lp.row_upper), -y, 0), [0.0]])
    above, below = rows - lp.row_lower, lp.row_upper - rows
    own, other = np.where(y > 0, (above, below), (below, above))
    slack = np.where(np.isfinite(own), own, np.where(np.isfinite(other), other, 0))  # of no side: in the dual residual
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
    shapes = decision_shapes(joint.data)
    lowest = representative(joint.data, {term: decisions[term] for term in shapes})
    return {
        **prices_of(instance.menu, decisions.design),
        "cap": np.array([limit for _, limit in decisions.design.capacity]),
        "P": joint.network.matrices.flows(load),
        "v": np.sqrt(joint.network.matrices.squared_voltages(load, days.reactive_kvar)),
        **{term: value for term, value in lowest.items() if term not in RISK},
        "var": var,
        "excess": np.maximum(decisions["cost"] - var[:, None], 0),
        **billed_of(instance.menu, joint.billed(x)),
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


def check_resold(decisions: Decisions) -> None:
    """Raise CertificateError where a prosumer buys and sells on the platform in one hour. Where trade is not charged
    that costs nobody anything, and the volume on record could be any; the least has none of it."""
    both = np.minimum(decisions["zb"], decisions["zs"])
    require("decisions.resold_kw", float(both.max(initial=0)), RESIDUAL, "bought and sold in one hour")


def worst_violation(joint: JointLP, decisions: Decisions) -> float:
    """Largest CVaR of violation over all blocks, kW, whether they have rows or not; 0 where none is positive."""
    load = joint.net_load(point_of(joint, decisions))
    risks = joint.network.block_risks(load, joint.limits(point_of(joint, decisions)), above=0.0)
    return risks[0][0] if risks else 0.0


def require(name: str, figure: float, limit: float, detail: str = "") -> None:
    """Raise CertificateError where a figure exceeds its limit or is not a number."""
    if not figure <= limit:
        raise CertificateError(name, figure, limit, detail)


def require_both(name: str, figure: float, limit: float, detail: str = "") -> None:
    """:func:`require` from both sides: a figure on the impossible side proves that two models differ."""
    require(name, abs(figure), limit, f"{figure:.6g} is found{detail and f', {detail}'}")


def check_equilibrium(e: Equilibrium, names: Sequence[str]) -> None:
    worst = int(np.argmax(np.abs(e.relative_gain)))
    require_both("equilibrium.max_relative_gain", float(e.relative_gain[worst]), GAIN, f"prosumer {names[worst]}")
    require_both("equilibrium.platform_gain", e.platform_gain / e.platform_scale, GAIN, "platform")


def check_follower(f: FollowerResiduals, of: str = "follower") -> None:
    require(f"{of}.primal", f.primal, RESIDUAL)
    require(f"{of}.dual", f.dual, RESIDUAL)
    require(f"{of}.complementarity", f.complementarity, COMPLEMENTARITY)
    require_both(f"{of}.duality_gap", f.duality_gap, DUALITY)
    require(f"{of}.slack", f.slack, RESIDUAL, "a reported design buys no violation")


# All certificates of a solved case, from what is stored of it: decisions, judged days and bounds.


PROOFS = {
    "closed": "SCIP finds that no design beats the lower bound, under all three controls",
    "open": "SCIP was asked and does not say so, or a control fails; the bound rests on its rows alone",
    "not run": "SCIP was not asked, as the search had not reached its gap",
}


@dataclass(frozen=True, eq=False)
class DesignProof:
    """Bounds on the social cost of the best design, $, and how they were proved.

    The bounds rest on rows of their own; ``proof`` is SCIP's word on these rows (:data:`PROOFS`).
    """

    lower_bound: float
    upper_bound: float
    flat: float
    first_best: float
    menu_points: int
    lp_solves: int
    proof: str

    @property
    def gap_usd(self) -> float:
        return max(0.0, self.upper_bound - self.lower_bound)

    @property
    def gap(self) -> float:
        """Share of the achievable gain between the flat tariff and the first best (:eq:`eq-gap`)."""
        gain = self.flat - self.first_best
        return 0.0 if self.gap_usd == 0 else (self.gap_usd / gain if gain > 0 else float("inf"))

    @property
    def gap_relative(self) -> float:
        return self.gap_usd / max(1e-9, abs(self.upper_bound))

    @property
    def in_words(self) -> str:
        return (
            f"bounds {self.lower_bound:.2f} {self.upper_bound:.2f} $/day, gap {self.gap:.2%} of the achievable gain, "
            f"proof {self.proof}: {PROOFS[self.proof]}"
        )


def telling(progress: Callable[[str], None] | None, check: int, proved: bool = True) -> Callable[[str], None]:
    """Who is told, at a check of :data:`CHECKS`, which of how many it is; proved: with bounds to check."""
    of = len(CHECKS) if proved else OF_DECISIONS

    def tell(text: str) -> None:
        if progress is not None:
            progress(f"check {check + 1} of {of}: {CHECKS[check]}{text and f', {text}'}")

    return tell


FIGURES_OF_DESIGN = ("lower_bound", "upper_bound", "gap", "gap_usd", "gap_relative", "flat", "first_best", "proof",
                     "menu_points", "lp_solves")  # fmt: skip


def recheck(
    case: Case,
    clearing: Instance,
    decisions: Decisions,
    days: DayDecisions,
    design: DesignProof | None,
    answers: Answers | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, object]]:
    """All certificates of a case's decisions, judged days and, where they are known, other answers of its market;
    raises CertificateError at the first that fails."""
    begin = [telling(progress, check, design is not None) for check in range(OF_DECISIONS)]
    begin[0]("")
    joint = stored_lp(clearing, decisions, case.market, case.network)
    check_resold(decisions)
    check_arrays(joint, decisions)
    follower = follower_residuals(joint, decisions)
    check_follower(follower)
    if case.network:
        require("network.worst_cvar_kw", worst_violation(joint, decisions), CVAR_KW)
    begin[1]("")
    balance = equilibrium(clearing, decisions, joint, case.market)
    check_equilibrium(balance, [p.name for p in clearing.prosumers])
    begin[2]("")
    billed = joint.billed(point_of(joint, decisions))
    network = network_cost(joint, decisions)
    slack = revenue_slack(clearing, decisions.design, billed, network)
    require("revenue.shortfall_usd", -slack, 1e-4)
    if clearing.rules.fixed_share:
        fixed = fixed_charge(clearing, decisions.design, billed, network)
        require_both("revenue.fixed_charge_usd", float(decisions.fixed.sum()) - fixed, 1e-4)
    money = max(cleared_imbalance(joint, decisions), imbalance(settlement_of(days, decisions), clearing.fixed_cost))
    require("money.imbalance_usd", money, 1e-6 * max(1.0, abs(float(decisions["theta"]))))
    social = check_social_cost(case, joint, decisions)
    check_design(case, joint, decisions)
    if answers is not None:
        check_answers(joint, decisions, answers)
    begin[3]("")
    check_judged(days, decisions)
    out: dict[str, dict[str, object]] = {
        "equilibrium": {
            "max_relative_gain": float(balance.relative_gain.max()),
            "prosumer_gain_usd": balance.prosumer_gain.tolist(),
            "platform_gain_usd": balance.platform_gain,
        },
        "follower": {
            "primal": follower.primal,
            "dual": follower.dual,
            "complementarity": follower.complementarity,
            "duality_gap": follower.duality_gap,
            "slack_kwh": follower.slack,
        },
        "money": {"imbalance_usd": money},
        "revenue": {"slack_usd": slack, "fixed_cost_usd": clearing.fixed_cost},
    }
    if design is not None:
        require_both("design.upper_bound", design.upper_bound - social, 1e-4, f"{social:.6f} $ are stored")
        out["design"] = {figure: getattr(design, figure) for figure in FIGURES_OF_DESIGN}
    return out


def check_judged(days: DayDecisions, decisions: Decisions) -> None:
    """Judged days are what agents and society choose, and the platform is left with what limits are worth; raises
    CertificateError."""
    judged = check_days(days, decisions)
    require("days.primal", judged.primal, RESIDUAL)
    require_both("days.gain", judged.gain, GAIN)
    require_both("days.society_usd", judged.society, DOLLARS)
    require("days.bought_kwh", judged.bought, RESIDUAL)
    require("days.prices", judged.prices, PRICES)
    books = settlement_of(replace(days, ahead=None), decisions)  # all rights at the day's prices, as limits are worth
    off = np.abs(judged.rent - books.rent_received) / np.maximum(1.0, np.abs(books.rent).max())
    require("days.rent", float(off.max()), RESIDUAL)


def cleared_imbalance(joint: JointLP, decisions: Decisions) -> float:
    """Largest sum of all agents' receipts in the clearing, $; or what the platform is left with beyond the worth of the
    limits by their own multipliers, expected."""
    p = joint.instance.days.probability
    books = settlement_of(as_cleared(joint.instance, decisions), decisions)
    worth = value_of_limits(joint, decisions)
    return max(imbalance(books, joint.instance.fixed_cost), abs(float(books.rent_received @ p) - worth))


def value_of_limits(joint: JointLP, decisions: Decisions) -> float:
    """Limits of all priced blocks at their multipliers, $: what the platform earns where no violation is bought."""
    caps, worth = joint.limits(point_of(joint, decisions)), 0.0
    for block, nu in zip(decisions.blocks, decisions["nu"], strict=True):
        form = joint.network.form(block)
        worth += float((nu[: form.limit.shape[0]] * (form.limit + form.offered(caps))).sum())
    return worth


def check_social_cost(case: Case, joint: JointLP, decisions: Decisions) -> float:
    """Social cost of the stored decisions, $: the least among the follower's equals that recover the cost
    (:eq:`eq-optimistic`). Raises CertificateError where it is not, from either side."""
    social = float(point_of(joint, decisions)[joint.lp.at("F")])
    least = least_among_equals(joint, decisions, revenue=case.optimised)
    require_both("follower.social_cost_usd", social - least, SOCIAL, f"{social:.6f} is stored, {least:.6f} the least")
    return social


def least_among_equals(joint: JointLP, decisions: Decisions, revenue: bool) -> float:
    """Least social cost on the face of the follower's optima that the stored multipliers leave, losses linear at the
    stored flows: a safe bound, $, which the best response reaches because losses are convex.

    Raises CertificateError where no decision on that face keeps the limits and, with ``revenue``, recovers the cost.
    """
    again = _fresh(joint, decisions)
    again.tangent(joint.net_load(point_of(joint, decisions)))
    again.require_revenue(decisions.design if revenue else None)
    return _least_on_face(again, decisions, {"F": 1.0})[1]


def _fresh(joint: JointLP, decisions: Decisions) -> JointLP:
    """A market of its own with the stored blocks, at the stored design."""
    again = JointLP(joint.instance, network=joint.sees_network, lp=joint.bare)
    again.add_blocks(decisions.blocks)
    again.set_design(decisions.design)
    return again


def _least_on_face(again: JointLP, decisions: Decisions, cost: Mapping[str, float]) -> tuple[np.ndarray, float]:
    """A point of least cost, given by bookkeeping column, on the face of the follower's optima that the stored
    multipliers leave, and a safe bound on that cost. All but free: the face fixes most columns.

    Raises CertificateError where no decision on that face keeps the limits.
    """
    y = duals_of(again, decisions)
    for _ in range(ROUNDS):
        lp, held = again.warm.current(), np.append(y, np.zeros(again.lp.row_lower.size - y.size))
        face = face_of(lp, again.cost(decisions.design) - lp.matrix.T @ held, held)
        c = sum((weight * only(again, name) for name, weight in cost.items()), np.zeros(lp.cost.size))
        found = solve_lp(c, lp.matrix, face.row_lower, face.row_upper, face.col_lower, face.col_upper)
        if found.status != Status.OPTIMAL:
            raise CertificateError("follower.equals", 1.0, 0.0, f"the follower's equals are {found.status}")
        violated = again.violated(found.x)
        if not violated:
            return found.x, safe_bound(face, c, found.y)
        again.add_blocks(violated)
    raise CertificateError("follower.equals", float(len(violated)), 0.0, "chance blocks are still violated")


# What the market leaves open: other decisions among the follower's equals, kept with the result as witnesses.
SOLVER, COSTLY = "solver", "costly"
# What each minimises over the follower's equals: nothing, or social cost without losses and demand charge, negative.
ANSWERS: dict[str, dict[str, float]] = {SOLVER: {}, COSTLY: {"N": 1.0, "F": -1.0}}
Answers = Mapping[str, Mapping[str, np.ndarray]]  # prosumers' decisions, (I, ...) by name, of each
LINEAR = 1e-4  # $/day: the linear part of social cost of the costly answer below the largest among equals


def other_answers(joint: JointLP, decisions: Decisions) -> Answers:
    """Other decisions among the follower's equals at the same prices: a vertex where an LP solver without a preference
    ends, and those with the largest linear part of social cost (:eq:`eq-pessimistic-design`).

    joint: the market with the stored blocks, at the stored design (:func:`stored_lp`).
    """
    points = {name: _least_on_face(_fresh(joint, decisions), decisions, cost)[0] for name, cost in ANSWERS.items()}
    return {name: joint.decisions(x) for name, x in points.items()}


def answer_of(joint: JointLP, decisions: Decisions, arrays: Mapping[str, np.ndarray]) -> Decisions:
    """Decisions with other private ones at the same prices; values at risk and blocks' quantiles as they follow."""
    own, rules, p = dict(arrays), joint.instance.rules, joint.instance.days.probability
    own["var"] = value_at_risk(own["cost"], p, rules.alpha)
    own["excess"] = np.maximum(own["cost"] - own["var"][:, None], 0)
    x = np.zeros(joint.lp.cost.size)
    joint.place(x, own)
    own["eta"] = block_quantiles(joint, decisions.blocks, joint.net_load(x), decisions.design)
    return replace(decisions, arrays=decisions.arrays | own)


def social_cost_range(joint: JointLP, decisions: Decisions, answers: Answers) -> dict[str, float]:
    """Social cost as the market clears, $/day, over what is known of the follower's optimal set: the least, what a
    solver without a preference returns, and the largest of all that were found."""
    outcomes = {"optimistic": decisions} | {name: answer_of(joint, decisions, answers[name]) for name in ANSWERS}
    cost = {name: float(point_of(joint, outcome)[joint.lp.at("F")]) for name, outcome in outcomes.items()}
    return {name: cost[name] for name in ("optimistic", SOLVER)} | {"pessimistic": max(cost.values())}


def check_answers(joint: JointLP, decisions: Decisions, answers: Answers) -> None:
    """Other answers are optimal for the follower and keep all limits, and none has a larger linear part of social cost
    than the costly one; raises CertificateError."""
    outcomes = {name: answer_of(joint, decisions, answers[name]) for name in ANSWERS}
    for name, outcome in outcomes.items():
        check_follower(follower_residuals(joint, outcome), f"range.{name}")
        if joint.sees_network:
            require(f"range.{name}.worst_cvar_kw", worst_violation(joint, outcome), CVAR_KW)
    x = point_of(joint, outcomes[COSTLY])
    linear = float(x[joint.lp.at("F")] - x[joint.lp.at("N")])
    largest = -_least_on_face(_fresh(joint, decisions), decisions, ANSWERS[COSTLY])[1]
    require_both("range.costly.linear_usd", linear - largest, LINEAR, f"{largest:.6f} is the largest among equals")


def network_cost(joint: JointLP, decisions: Decisions) -> float:
    """Losses and demand charge of stored decisions, $/day (:eq:`eq-network-cost`)."""
    return float(point_of(joint, decisions)[joint.lp.at("N")])


def check_design(case: Case, joint: JointLP, decisions: Decisions) -> None:
    """Tariffs are menu points, or the smallest flat root; raises CertificateError."""
    if case.optimised:
        design = decisions.design
        flat = replace(flat_design(joint, design.tariff[0]), capacity=design.capacity)  # check_proof knows its height
        Coordinates.of(joint.instance.menu, [flat] if design == flat else []).point(design)
        return
    check_flat(JointLP(joint.instance, case.market, case.network, joint.bare), decisions.design)


# Where Proposition 1 ends: gains from deviating when rights to inject are settled in real time.


def rights_by_scenario(instance: Instance, i: int, decisions: Decisions, v: Mapping) -> cp.Expression:
    """Payments for net withdrawal in each scenario, $, (S,): the contingent price over the scenario's probability."""
    price = decisions["pi"][instance.prosumer_bus[i]] / instance.days.probability
    return -cp.sum(cp.multiply(price, injection(v)), axis=0)


def gain_in_real_time(instance: Instance, i: int, decisions: Decisions) -> float:
    """What prosumer ``i`` gains by deviating, $, when rights to inject are paid by scenario, not day-ahead
    (:eq:`eq-by-scenario`). The market's prices are kept; the payment moves inside the prosumer's risk operator.

    Zero without aversion to risk: the expectation of the payment is the same.
    """
    data = prosumer_data(instance, i)
    v, beta, p = prosumer_variables(data, "alone"), data.own.beta, data.probability
    paid = rights_by_scenario(instance, i, decisions, v)
    total, excess, var = cp.Variable(p.size), cp.Variable(p.size, nonneg=True), cp.Variable()
    risk = (1 - beta) * (p @ total) + beta * cvar(p, data.rules.alpha, var, excess)
    bill = posted_objective(instance, i, decisions, v, data) - risk_adjusted_cost(data, v) - p @ paid
    rows = [total == v["cost"] + paid, *cvar_rows(total, var, excess)]
    private = prosumer_constraints(data, v, decisions.design.prices)
    optimum = least(risk + bill, [*private, *rows], data.own.name)
    set_values(v, decisions_of(data, decisions.arrays, i))
    total.save_value(decisions["cost"][i] + paid.value)
    var.save_value(value_at_risk(total.value, p, data.rules.alpha))
    excess.save_value(np.maximum(total.value - var.value, 0))
    return float((risk + bill).value) - optimum


def check_proof(
    joint: JointLP,
    design: Design,
    proof: DesignProof,
    pools: dict[str, Pool],
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> int:
    """Check the bounds on record of a design against the rows of its proof; returns their number.

    Raises CertificateError at the first figure that is not proved, from either side.
    """
    rows, instance, lp = [], joint.instance, (joint.sees_network, joint.bare)
    begin = [telling(progress, check) for check in range(OF_DECISIONS, len(CHECKS))]
    for k, name in enumerate(REFERENCES):
        begin[k]("")
        rows += check_reference(joint, name, Reference(getattr(proof, name), pools[name]), jobs, begin[k])
    flat = pools["flat"].rows[0].request.design
    bare = build(without_fixed_part(instance), *lp, [])
    smaller = check_pool(bare, pools[SCAN], SCAN, jobs) if SCAN in pools else []
    check_flat(at_first_basis(bare, pools["flat"]), flat, unrecovered(bare, smaller))
    menu = Coordinates.of(instance.menu, [flat])
    require("design.menu_points", abs(proof.menu_points - menu.n_points), 0.0, f"{menu.n_points} are on offer")
    begin[2]("")
    rows += check_pool(joint, pools["search"], "search", jobs, begin[2])
    begin[3]("")
    ledger = Ledger(menu, instance.least_revenue, rows)
    point = menu.point(design)
    ledger.require_not_below(proof.upper_bound, point)
    bound = ledger.lower_bound
    require("design.lower_bound", proof.lower_bound - bound, BOUND, f"{bound:.6f} is proved")
    require("design.lower_bound", proof.lower_bound - proof.upper_bound, 0.0, "is above the upper bound")
    limit = below(min(bound, proof.lower_bound), proof.flat - proof.first_best)
    word = prove(ledger, limit, proof.upper_bound, point).word
    require("design.proof", float(word != proof.proof), 0.0, f"{proof.proof!r} is stored, SCIP leaves it {word!r}")
    return len(rows)
