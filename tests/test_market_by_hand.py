"""Markets whose prices, trades and payments are worked out on paper in the comments, and properties of all markets."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import days, line_feeder, plain_prosumer, plain_rules, small_market

from tritier.cases import certificate
from tritier.cases.cases import risk_neutral
from tritier.cases.certificate import gain_in_real_time
from tritier.cases.decisions import Decisions, decisions_of
from tritier.cases.outcome import Settlement, imbalance, settle
from tritier.cases.recourse import DayDecisions
from tritier.errors import CertificateError
from tritier.inputs import examples as hand
from tritier.inputs.instance import Design, Instance, Menu
from tritier.model.chance import Block
from tritier.model.dso import loss_price
from tritier.model.market import joint_follower
from tritier.model.risk import cvar, cvar_rows, sample_cvar
from tritier.model.tariff import revenue
from tritier.reformulation.joint import JointLP
from tritier.search.responses import Response, optimistic_response, social_cost


def clear(instance: Instance, design: Design) -> tuple[JointLP, Response, Decisions]:
    joint = JointLP(instance)
    response = optimistic_response(joint, design, revenue=False)
    return joint, response, decisions_of(joint, response)


def payments(instance: Instance, joint: JointLP, response: Response, found: Decisions) -> Settlement:
    per_kwh = found["pi"] / instance.days.probability
    lam = found["lambda"] / (instance.days.probability if found["lambda"].ndim == 2 else 1.0)
    day = DayDecisions(instance, "design", found.arrays, per_kwh, np.zeros(instance.days.n_days))
    books = settle(day, response.design, lam)
    assert books.losses == pytest.approx(
        (loss_price(instance) * joint.exact_losses(joint.net_load(response.x))).sum(axis=0)
    )
    assert imbalance(books, instance.fixed_cost) < 1e-9
    return books


def certify(instance: Instance, joint: JointLP, found: Decisions) -> None:
    names = [p.name for p in instance.prosumers]
    certificate.check_equilibrium(certificate.equilibrium(instance, found, joint, True), names)
    certificate.check_follower(certificate.follower_residuals(joint, found))


# --- One bus -----------------------------------------------------------------------------------------------------


def one_bus(tariff: float) -> tuple[Instance, JointLP, Response, Decisions]:
    """10 kW of demand and 4 kW of sun. Two demand blocks of 1 kW each above the firm 9 kW.

    Reference price 0.30 and elasticity -0.1: at relative level x a kWh is worth 0.30 (1 + 10 (1 - x)). The blocks'
    middles are x = 0.95 and x = 1.05, worth 0.45 and 0.15.
    """
    rules = plain_rules(1, flexibility=0.1)
    menu = Menu(((tariff,),), (0.02,), ())
    instance = Instance(line_feeder(2), (plain_prosumer(2),), days([[[10.0]]], [[[4.0]]], 2), rules, menu)
    return instance, *clear(instance, Design((tariff,), 0.02))


@pytest.mark.parametrize(
    ("tariff", "served", "cost"),
    [
        # Import costs 0.35: only the first block is served. Import 10 - 4 = 6, cost 6 x 0.30 and charge 6 x 0.05.
        (0.05, 10.0, 2.10),
        # Import costs 0.50, more than the first block is worth: 9 kW served, import 5, plus 0.45 of lost value.
        (0.20, 9.0, 2.95),
    ],
)
def test_one_bus(tariff, served, cost):
    instance, joint, response, found = one_bus(tariff)
    assert 9.0 + found["served"].sum() == pytest.approx(served)
    assert found["gp"].item() == pytest.approx(served - 4.0)
    assert found["cost"].item() == pytest.approx(cost)
    assert response.theta == pytest.approx(cost)
    assert response.volume == pytest.approx(0.0)
    books = payments(instance, joint, response, found)
    assert books.network_received.item() == pytest.approx(tariff * (served - 4.0))
    assert books.retail.item() == pytest.approx(0.30 * (served - 4.0))


# --- Two prosumers and one hour ------------------------------------------------------------------------------------


def test_two_prosumers_short_of_sun():
    # Ann spares 10 - 4 = 6 kW, Bob needs 10: all 6 are traded and Bob imports 4. One more would cost him 0.30 + 0.05;
    # he pays half of the P2P charge of 0.02, so the price is 0.35 - 0.01 = 0.34.
    instance = hand.two_prosumers()
    joint, response, found = clear(instance, hand.DESIGN)
    assert found["lambda"] == pytest.approx([0.34])
    assert found["zs"][:, 0] == pytest.approx([6.0, 0.0])
    assert found["zb"][:, 0] == pytest.approx([0.0, 6.0])
    books = payments(instance, joint, response, found)
    assert books.p2p == pytest.approx([-2.04, 2.04])  # 6 x 0.34 from Bob to Ann
    assert books.p2p_charge == pytest.approx([0.06, 0.06])  # half of 0.02 on 6 kWh, each
    assert books.network[:, 0] == pytest.approx([0.0, 0.20])  # 4 x 0.05
    assert books.retail[:, 0] == pytest.approx([0.0, 1.20])  # 4 x 0.30
    assert books.network_received == pytest.approx([0.32])
    assert revenue(response.design, response.billed) == pytest.approx(0.32)
    assert response.theta == pytest.approx(1.52)  # 4 x 0.30 + 0.32
    certify(instance, joint, found)


def test_two_prosumers_under_a_charge_on_the_peak_of_the_head():
    # As above, but Bob lives at the substation and each kW of the head's peak costs 0.20. Every kWh drawn anywhere pays
    # that, traded or not, and every kWh injected receives it. One kWh more costs Bob 0.30 + 0.05 + 0.20 imported and
    # lambda + 0.01 + 0.20 bought, so lambda stays 0.34. The platform keeps 0.20 x (10 - 6), which is what it is
    # charged for a peak of 4 kW.
    people, menu = (hand.prosumer("Ann", 2), hand.prosumer("Bob", 1)), Menu(((0.05,),), (0.02,), (), coincident=(0.20,))
    instance = replace(hand.two_prosumers(), prosumers=people, menu=menu)
    joint, response, found = clear(instance, replace(hand.DESIGN, coincident=0.20))
    assert found["pi"][:, 0, 0] == pytest.approx([0.20, 0.20])
    assert found["lambda"] == pytest.approx([0.34])
    assert found["zs"][:, 0] == pytest.approx([6.0, 0.0])
    books = payments(instance, joint, response, found)
    assert books.congestion[:, 0] == pytest.approx([-1.20, 2.00])
    assert books.congestion.sum() == pytest.approx(0.20 * 4)
    assert response.theta == pytest.approx(1.52 + 0.20 * 4)
    certify(instance, joint, found)


def test_two_prosumers_with_sun_to_spare():
    # Ann spares 26 kW, Bob needs 10: 16 go to the retailer at 0.10. Ann is at the margin: 0.10 + 0.01 = 0.11.
    instance = hand.two_prosumers()
    instance = instance.on(hand.one_hour([[4.0], [10.0]], [[30.0], [0.0]]))
    joint, response, found = clear(instance, hand.DESIGN)
    assert found["lambda"] == pytest.approx([0.11])
    assert response.volume == pytest.approx(10.0)
    assert found["gm"][:, 0, 0] == pytest.approx([16.0, 0.0])
    assert payments(instance, joint, response, found).p2p == pytest.approx([-1.10, 1.10])
    certify(instance, joint, found)


def test_lambda_is_the_cost_of_one_more_kilowatt_sold():
    # Sales less purchases are h instead of 0: Bob buys h kW less, so h kW more are imported at 0.35 and his half of
    # the P2P charge on h is saved, 0.01.
    joint, response, found = clear(hand.two_prosumers(), hand.DESIGN)
    row = joint.lp.row_at("p2p_balance").ravel()
    value = {}
    for h in (-0.5, 0.5):
        joint.warm.set_rows(row, np.array([h]), np.array([h]))
        value[h] = joint.warm.solve(joint.cost(hand.DESIGN)).objective
    assert (value[0.5] - value[-0.5]) == pytest.approx(found["lambda"][0])
    assert value[0.5] > response.theta > value[-0.5]


def test_prices_are_subgradients_of_the_value_in_every_hour():
    instance = small_market()
    design = Design((0.02, 0.08, 0.14), 0.02, ((1, 150.0),))
    joint = JointLP(instance)
    joint.set_design(design)
    cost = joint.cost(design)
    base = joint.solve(cost)
    cost = joint.cost(design)
    rows = joint.lp.row_at("p2p_balance")
    price = base.y[rows].copy()
    zero = np.zeros(rows.size)
    for hour in range(rows.size):
        for h in (-5.0, -0.1, 0.1, 5.0):
            shift = zero.copy()
            shift[hour] = h
            joint.warm.set_rows(rows, shift, shift)
            moved = joint.warm.solve(cost).objective
            assert moved >= base.objective + price[hour] * h - 1e-7
    joint.warm.set_rows(rows, zero, zero)
    assert joint.warm.solve(cost).objective == pytest.approx(base.objective)


# --- A congested feeder --------------------------------------------------------------------------------------------


def test_congested_feeder():
    # Ann (bus 2) spares 10 kW, the line takes 6, Bob (substation) needs 8: trade 6, Bob imports 2, Ann curtails 4.
    # Bob is at the margin of import: price 0.35 - 0.01 = 0.34 at the substation. Ann's last kWh is worth nothing:
    # 0.34 - 0.01 + pi = 0, so pi = -0.33 and the price at bus 2 is 0.01. Rent: 6 x 0.33 = 1.98.
    instance, limited = hand.congested_feeder(), Design(hand.DESIGN.tariff, hand.DESIGN.p2p, ((1, 6.0),))
    joint, response, found = clear(instance, limited)
    assert found.blocks == (Block("capacity", 0, 0),)
    assert found["lambda"] == pytest.approx([0.34])
    assert found["pi"][:, 0, 0] == pytest.approx([0.0, -0.33])
    assert found["mu"] == pytest.approx([0.33])
    assert found["zs"][:, 0] == pytest.approx([6.0, 0.0])
    assert found["cu"][:, 0, 0] == pytest.approx([4.0, 0.0])
    books = payments(instance, joint, response, found)
    assert books.p2p == pytest.approx([-2.04, 2.04])
    assert books.congestion[:, 0] == pytest.approx([1.98, 0.0])
    assert books.rent_received == pytest.approx([1.98])
    # Ann: 2.04 - 0.06 - 1.98 = 0. Bob: 2.04 + 0.06 + 2 x 0.35 = 2.80.
    net = books.retail[:, 0] + books.network[:, 0] + books.congestion[:, 0] + books.p2p_charge + books.p2p
    assert net == pytest.approx([0.0, 2.80], abs=1e-9)
    assert response.theta == pytest.approx(0.82)  # 2 x 0.30 + 2 x 0.05 + 6 x 0.02
    certify(instance, joint, found)


@pytest.mark.parametrize("step", [-0.5, 0.5])
def test_the_limit_s_price_is_what_one_more_kilowatt_saves(step):
    instance = hand.congested_feeder()
    wider = JointLP(replace(instance, menu=Menu(instance.menu.tariff, instance.menu.p2p, ((1, (5.0, 100.0)),))))
    theta = {}
    for limit in (6.0, 6.0 + step):
        design = Design(hand.DESIGN.tariff, hand.DESIGN.p2p, ((1, limit),))
        wider.set_design(design)
        theta[limit] = wider.solve(wider.cost(design)).objective
    assert (theta[6.0 + step] - theta[6.0]) / step == pytest.approx(-0.33)


def test_rent_is_the_value_of_the_limits():
    # Sum of pi times net load equals the tail multipliers times the limits, in a market whose voltages bind.
    instance = small_market(seed=5)
    instance = replace(instance, feeder=line_feeder(4, r_ohm=25.0, x_ohm=2.0, rating_kva=5000.0))
    design = Design((0.02, 0.08, 0.14), 0.02, ((1, 1000.0),))
    joint, response, found = clear(instance, design)
    assert {b.kind for b in found.blocks} & {"voltage_low", "voltage_high"}
    assert response.x[joint.lp.at("slack")] == pytest.approx(0.0, abs=1e-9)
    rent = float((found["pi"] * joint.net_load(response.x)).sum())
    value = 0.0
    for block, nu in zip(found.blocks, found["nu"], strict=True):
        form = joint.network.form(block)
        limit = form.limit + (0.0 if form.capacity is None else dict(design.capacity)[form.capacity + 1])
        value += float((nu[: limit.shape[0]] * limit).sum())
    assert rent > 0.1
    assert rent == pytest.approx(value, rel=1e-7)
    certify(instance, joint, found)


# --- A purchase that is a quantile ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beta", "bought", "theta"),
    [
        # Ann sells to the retailer at the margin: lambda = 0.10 + 0.05. Bob pays 0.20 per kWh; short costs 0.30, long
        # brings 0.10: the quantile at (0.30 - 0.20) / (0.30 - 0.10) = 1/2 of 10, 20, ..., 50, which is 30.
        # His energy costs -2, -1, 0, 3, 6: mean 1.2. Ann exports 70 for 7. P2P charge 0.10 x 30 = 3.
        (0.0, 30.0, 1.2 - 7.0 + 3.0),
        # beta = 1/2, alpha = 0.6: the worst two weigh 0.1 + 0.25, the others 0.1: cumulated 0.1, 0.2, 0.3, 0.65:
        # the quantile at 1/2 is 40. Costs -3, -2, -1, 0, 3: mean -0.6, mean of the worst two 1.5. Ann exports 60.
        (0.5, 40.0, 0.5 * -0.6 + 0.5 * 1.5 - 6.0 + 4.0),
    ],
)
def test_purchase_is_a_quantile_of_risk_adjusted_demand(beta, bought, theta):
    instance = hand.uncertain_buyer(beta)
    joint, response, found = clear(instance, Design((0.0,), 0.10))
    assert found["lambda"] == pytest.approx([0.15])
    assert found["zb"][:, 0] == pytest.approx([0.0, bought])
    assert response.theta == pytest.approx(theta)
    certify(instance, joint, found)


# --- The risk operator ---------------------------------------------------------------------------------------------


def farmer(weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Acres and cost of Birge and Louveaux's farmer who minimises E + weight CVaR_0.8, $.

    Yields in t/acre (wheat, corn, beets) of three equally likely years; 500 acres; planting costs 150, 230, 260 $/acre.
    200 t of wheat and 240 t of corn are needed as feed; buying costs 238 and 210 $/t; selling earns 170 and 150. Beets
    earn 36 $/t up to 6000 t and 10 beyond.
    """
    yields = np.array([[2.0, 2.4, 16.0], [2.5, 3.0, 20.0], [3.0, 3.6, 24.0]])
    p = np.full(3, 1 / 3)
    acres = cp.Variable(3, nonneg=True)
    bought, sold = cp.Variable((3, 2), nonneg=True), cp.Variable((3, 4), nonneg=True)
    cost, var, excess = cp.Variable(3), cp.Variable(), cp.Variable(3, nonneg=True)
    rows = [cp.sum(acres) <= 500, sold[:, 2] <= 6000, *cvar_rows(cost, var, excess)]
    for w in range(3):
        crop = cp.multiply(yields[w], acres)
        rows += [
            crop[:2] + bought[w] - sold[w, :2] >= np.array([200.0, 240.0]),
            sold[w, 2] + sold[w, 3] <= crop[2],
            cost[w]
            == np.array([150.0, 230.0, 260.0]) @ acres
            + np.array([238.0, 210.0]) @ bought[w]
            - np.array([170.0, 150.0, 36.0, 10.0]) @ sold[w],
        ]
    cp.Problem(cp.Minimize(p @ cost + weight * cvar(p, 0.8, var, excess)), rows).solve(cp.HIGHS)
    return acres.value, cost.value


def test_farmer_without_aversion_to_risk():
    # Birge and Louveaux, Introduction to Stochastic Programming: 170, 80, 250 acres, expected profit 108,390.
    acres, cost = farmer(0.0)
    assert acres == pytest.approx([170.0, 80.0, 250.0])
    assert cost.mean() == pytest.approx(-108390.0)


def test_farmer_with_cvar():
    # E + 5 CVaR_0.8: 100, 80, 320 acres; expected cost -103,313.33, worst year -57,640.
    acres, cost = farmer(5.0)
    assert acres == pytest.approx([100.0, 80.0, 320.0])
    assert cost.mean() == pytest.approx(-103313.33, abs=0.01)
    assert cost.max() == pytest.approx(-57640.0)


@st.composite
def samples(draw):
    n = draw(st.integers(1, 8))
    x = draw(st.lists(st.floats(-100, 100), min_size=n, max_size=n))
    p = draw(st.lists(st.floats(0.05, 1.0), min_size=n, max_size=n))
    return np.array(x), np.array(p) / np.sum(p), draw(st.floats(0.0, 0.95))


@given(samples(), st.floats(-50, 50))
def test_cvar_shifts_with_a_constant(sample, shift):
    x, p, a = sample
    assert sample_cvar(x + shift, p, a) == pytest.approx(sample_cvar(x, p, a) + shift, abs=1e-9)


@given(samples(), st.lists(st.floats(0, 10), min_size=8, max_size=8))
def test_cvar_is_monotone_and_lies_between_mean_and_maximum(sample, more):
    x, p, a = sample
    worse = x + np.array(more[: x.size])
    assert sample_cvar(worse, p, a) >= sample_cvar(x, p, a) - 1e-9
    assert x @ p - 1e-9 <= sample_cvar(x, p, a) <= x.max() + 1e-9


@settings(max_examples=25)
@given(samples())
def test_sample_cvar_is_the_value_of_its_linear_program(sample):
    x, p, a = sample
    var, excess = cp.Variable(), cp.Variable(x.size, nonneg=True)
    program = cp.Problem(cp.Minimize(cvar(p, a, var, excess)), cvar_rows(x, var, excess))
    program.solve(cp.HIGHS)
    assert program.value == pytest.approx(float(sample_cvar(x, p, a)), abs=1e-6)


# --- The lazily built LP is the one written in cvxpy ---------------------------------------------------------------

DESIGNS = [
    Design((0.02, 0.02, 0.02), 0.0, ((1, 1000.0),)),
    Design((0.02, 0.08, 0.14), 0.02, ((1, 250.0),)),
    Design((0.14, 0.08, 0.02), 0.02, ((1, 150.0),)),
]


def all_blocks(instance: Instance) -> list[Block]:
    hours, lines = range(instance.days.n_hours), range(instance.feeder.line.size)
    buses = range(1, instance.feeder.bus.size)
    sides = [Block(kind, n, t) for kind in ("voltage_low", "voltage_high") for n in buses for t in hours]
    return sides + [Block("rating", k, t) for k in lines for t in hours] + [Block("capacity", 0, t) for t in hours]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda d: f"limit {d.capacity[0][1]:g}")
@pytest.mark.parametrize(("resistance", "rating"), [(2.0, 190.0), (25.0, 5000.0)], ids=["ratings", "voltages"])
def test_rows_added_lazily_equal_those_of_the_market_module(design, resistance, rating):
    feeder = line_feeder(4, r_ohm=resistance, x_ohm=2.0, rating_kva=rating)
    instance = replace(small_market(seed=5), feeder=feeder)
    blocks = all_blocks(instance)
    written = joint_follower(instance, blocks).problem(design)
    written.solve(cp.HIGHS, primal_feasibility_tolerance=1e-9, dual_feasibility_tolerance=1e-9)
    lazy, full = JointLP(instance), JointLP(instance)
    for block in blocks:
        full.add_block(block)
    for joint in (lazy, full):
        joint.set_design(design)
        assert joint.solve(joint.cost(design)).objective == pytest.approx(float(written.value), rel=1e-9)
    assert 0 < len(lazy.blocks) < len(blocks)


# --- Proposition 2 -------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(st.lists(st.floats(0.0, 0.3), min_size=8, max_size=8), st.floats(0.1, 0.9))
def test_value_is_concave_in_the_tariffs_and_billed_energy_is_its_slope(tariffs, share):
    joint = JointLP(small_market())
    a, b = np.array(tariffs[:4]), np.array(tariffs[4:])

    def value(x):
        design = Design(tuple(x[:3]), x[3], ((1, 150.0),))
        joint.set_design(design)
        best = joint.solve(joint.cost(design))
        return best.objective, np.append(best.x[joint.lp.at("G")], best.x[joint.lp.at("Z")])

    (at_a, slope), (at_b, _) = value(a), value(b)
    between, _ = value(share * a + (1 - share) * b)
    assert between >= share * at_a + (1 - share) * at_b - 1e-7 * abs(at_a)
    assert at_b <= at_a + slope @ (b - a) + 1e-7 * abs(at_a)


@settings(max_examples=15)
@given(st.floats(150, 260), st.floats(150, 260), st.floats(0.1, 0.9))
def test_value_is_convex_and_falling_in_the_limit_and_its_price_is_its_slope(a, b, share):
    joint = JointLP(small_market(seed=5))

    def value(limit):
        design = Design((0.02, 0.08, 0.14), 0.02, ((1, limit),))
        joint.set_design(design)
        best = joint.solve(joint.cost(design))
        return best.objective, float(best.reduced[joint.lp.at("cap")[0]])

    (at_a, slope), (at_b, _) = value(a), value(b)
    between, _ = value(share * a + (1 - share) * b)
    scale = 1e-7 * abs(at_a)
    assert between <= share * at_a + (1 - share) * at_b + scale
    assert at_b >= at_a + slope * (b - a) - scale
    assert (at_b - at_a) * np.sign(b - a) <= scale


# --- What the issue names ------------------------------------------------------------------------------------------


def test_day_with_negative_wholesale_prices():
    # 10 kW at -0.05 $/kWh: the community is paid 0.50 for its import. Line of 0.5 ohm at 1 kV: r = 5e-4 p.u. per kW,
    # losses 5e-4 x 10^2 = 0.05 kW, priced at zero instead of earning 0.0025.
    feeder = line_feeder(2, r_ohm=0.5, vn_kv=1.0)
    menu = Menu(((0.05,),), (0.02,), ())
    instance = Instance(
        feeder, (plain_prosumer(2),), days([[[10.0]]], [[[0.0]]], 2, wholesale=-0.05), plain_rules(1), menu
    )
    joint, response, found = clear(instance, hand.DESIGN)
    assert loss_price(instance) == pytest.approx(np.zeros((1, 1)))
    assert joint.exact_losses(joint.net_load(response.x)) == pytest.approx(0.05)
    assert response.social.wholesale == pytest.approx(-0.50)
    assert response.social.losses == 0.0
    assert response.social.total == pytest.approx(-0.50)
    books = payments(instance, joint, response, found)
    assert books.wholesale == pytest.approx([-0.50])
    certify(instance, joint, found)


def test_network_that_cannot_be_met_is_priced_and_refused():
    # 10 kW of firm demand behind a limit of 6: 4 kWh of violation at 3 $/kWh, beside 10 x 0.35 of import.
    menu = Menu(((0.05,),), (0.02,), ((1, (6.0, 100.0)),))
    instance = Instance(line_feeder(2), (plain_prosumer(2),), days([[[10.0]]], [[[0.0]]], 2), plain_rules(1), menu)
    joint, response, found = clear(instance, Design((0.05,), 0.02, ((1, 6.0),)))
    assert response.theta == pytest.approx(12.0 + 3.5)
    assert response.social.violation == pytest.approx(12.0)
    assert found["mu"] == pytest.approx([3.0])
    assert found["pi"][1, 0, 0] == pytest.approx(3.0)  # who injects at bus 2 mends the line
    assert certificate.worst_violation(joint, found) == pytest.approx(4.0)
    residuals = certificate.follower_residuals(joint, found)
    assert residuals.duality_gap == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(CertificateError, match="buys no violation"):
        certificate.check_follower(residuals)


def test_a_rare_scenario_may_violate_within_the_chance_level():
    # Violations -2 (97 %) and +4 (3 %) at eps = 5 %: CVaR = (0.03 x 4 + 0.02 x -2) / 0.05 = 1.6 kW, bought at 3 $/kWh:
    # the block is stricter than P(X > 0) <= 5 %, which holds here.
    menu = Menu(((0.05,),), (0.02,), ((1, (6.0, 100.0)),))
    scenarios = days([[[4.0, 10.0]]], [[[0.0, 0.0]]], 2, probability=(0.97, 0.03))
    instance = Instance(line_feeder(2), (plain_prosumer(2),), scenarios, plain_rules(1), menu)
    joint, response, found = clear(instance, Design((0.05,), 0.02, ((1, 6.0),)))
    assert response.x[joint.lp.at("slack")] == pytest.approx(1.6)
    assert response.social.violation == pytest.approx(4.8)
    assert found["pi"][1, 0] == pytest.approx([3.0 * 0.02 / 0.05, 3.0 * 0.03 / 0.05])


def test_free_trade_is_reported_at_its_smallest_volume():
    # At tau_p = 0 a prosumer may buy and sell in the same hour for nothing; only Ann's 6 kW have to move.
    _, response, found = clear(hand.two_prosumers(), Design((0.05,), 0.0))
    assert response.volume == pytest.approx(6.0)
    assert np.minimum(found["zb"], found["zs"]) == pytest.approx(np.zeros((2, 1)))
    assert found["lambda"] == pytest.approx([0.35])


def test_least_volume_changes_no_cost():
    instance = small_market()
    design = Design((0.02, 0.08, 0.14), 0.0, ((1, 150.0),))
    joint, response, found = clear(instance, design)
    joint.set_design(design)
    most = joint.warm.solve(joint.cost(design))
    assert response.theta == pytest.approx(most.objective, rel=1e-9)
    assert float(joint.cost(design)[: response.x.size] @ response.x[: joint.lp.cost.size]) == pytest.approx(
        response.theta
    )
    assert social_cost(joint, response.x).total == pytest.approx(response.social.total)
    assert (np.minimum(found["zb"], found["zs"]) < 1e-6).all()
    certify(instance, joint, found)


# --- Where the theorem ends ----------------------------------------------------------------------------------------


def test_rights_settled_in_real_time_break_the_equilibrium_through_risk_alone():
    instance = small_market(n=4, hours=6, scenarios=5, seed=3)
    design = Design((0.02, 0.08, 0.14), 0.02, ((1, 250.0),))
    for market, breaks in ((instance, True), (risk_neutral(instance), False)):
        _, _, found = clear(market, design)
        gains = np.array([gain_in_real_time(market, i, found) for i in range(4)])
        assert found["mu"].sum() > 0.01
        assert (gains > -1e-6).all()
        assert (gains.max() > 1e-2) == breaks
