"""Large markets: the decomposition, one LP and the joint follower agree; gains sum to the gap; nobody gains."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from toy import small_market

from tritier.errors import SolverError
from tritier.inputs.instance import Design
from tritier.model.prosumer import (
    gain_scale,
    prosumer_constraints,
    prosumer_data,
    prosumer_variables,
    risk_adjusted_cost,
)
from tritier.provenance import DATA
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import WarmLP, parametric_lp
from tritier.search.large import (
    GAIN,
    METHODS,
    PEAK,
    Coupling,
    Market,
    clear,
    large_instance,
    own_lps,
    priced,
    solve_whole,
    thinned,
    together,
)

LOOSE = Design((0.02, 0.08, 0.14), 0.02, ((1, 1000.0),))


@pytest.fixture(scope="module")
def market():
    return large_instance(small_market(n=3, hours=6, scenarios=3), 12, seed=4)


@pytest.fixture(scope="module")
def tight(market):
    """A head limit that the free market's imports exceed."""
    free = clear(market, replace_limit(1000.0))
    most = Market(market, LOOSE, 1).network.required_capacity(market.days.passive_kw - net(market, free.injection), 0)
    return replace_limit(0.97 * most)


def replace_limit(limit: float) -> Design:
    return replace(LOOSE, capacity=((1, limit),))


def net(instance, injection):
    total = np.zeros_like(instance.days.passive_kw)
    np.add.at(total, instance.prosumer_bus, injection)
    return total


def test_a_market_is_the_same_for_the_same_seed_and_keeps_the_feeder(market):
    base = small_market(n=3, hours=6, scenarios=3)
    again = large_instance(base, 12, seed=4)
    assert np.array_equal(market.days.demand_kw, again.days.demand_kw) and market.prosumers == again.prosumers
    assert not np.array_equal(market.days.demand_kw, large_instance(base, 12, seed=5).days.demand_kw)
    p = base.days.probability
    for large, small in (
        (market.days.demand_kw, base.days.demand_kw),
        (market.days.renewable_kw, base.days.renewable_kw),
    ):
        assert (large @ p).sum() == pytest.approx((small @ p).sum(), rel=1e-9)
    assert len({q.beta for q in market.prosumers} | {q.bus for q in market.prosumers}) > 3
    assert 0 < sum(q.battery_kw > 0 for q in market.prosumers) < 12


def test_a_thinned_market_keeps_energy_and_assets_nearly(market):
    thin = thinned(market, 6)
    assert len(thin.prosumers) == 6
    assert thin.days.demand_kw[1] == pytest.approx(2 * market.days.demand_kw[2])
    assert thin.prosumers[1].battery_kwh == pytest.approx(2 * market.prosumers[2].battery_kwh)


@pytest.mark.parametrize("billing", ["expected", "scenario"])
def test_a_prosumers_lp_from_the_template_is_its_own(market, billing):
    market = replace(market, rules=replace(market.rules, billing=billing))
    forms = own_lps(market, LOOSE)
    for i in (1, 7, 11):
        d = prosumer_data(market, i)
        v = prosumer_variables(d, "own")
        tau = np.asarray(LOOSE.tariff)[market.rules.block]
        charges = LOOSE.p2p / 2 * cp.sum(v["zb"] + v["zs"])
        if billing == "expected":
            charges += tau @ (v["gp"] @ d.probability)
        rows = prosumer_constraints(d, v, LOOSE.prices)
        problem = cp.Problem(cp.Minimize(risk_adjusted_cost(d, v) + charges), rows)
        other = parametric_lp(problem, {})
        ours, theirs = (
            np.concatenate([lp.at(x.name()).ravel() for x in problem.variables()]) for lp in (forms[i], other)
        )
        assert abs(forms[i].matrix[:, ours] - other.matrix[:, theirs]).max() < 1e-12
        for name in ("row_lower", "row_upper"):
            assert getattr(forms[i], name) == pytest.approx(getattr(other, name), abs=1e-12)
        for name in ("cost", "col_lower", "col_upper"):
            assert getattr(forms[i], name)[ours] == pytest.approx(getattr(other, name)[theirs], abs=1e-12)


@pytest.mark.parametrize("billing", ["expected", "scenario"])
@pytest.mark.parametrize("limited", [False, True])
def test_decomposition_one_lp_and_joint_follower_agree(market, tight, limited, billing):
    market = replace(market, rules=replace(market.rules, billing=billing))
    design = tight if limited else LOOSE
    found = clear(market, design)
    assert bool(found.blocks) == limited
    joint = JointLP(market)
    joint.set_design(design)
    theta = joint.solve(joint.cost(design)).objective
    assert found.cost == pytest.approx(theta, rel=1e-7)
    for method in METHODS:
        whole = solve_whole(market, design, found.blocks, method)
        assert whole.finished and (1 - 1e-7) * whole.cost <= whole.bound <= whole.cost + 1e-6
        assert whole.cost == pytest.approx(found.cost, rel=1e-7)
    assert (1 - GAIN) * theta <= found.bound <= theta + 1e-7, "its prices prove the joint optimum to its tolerance"
    assert found.imbalance < 1e-6


@pytest.mark.parametrize("limited", [False, True])
def test_nobody_gains_and_the_gains_sum_to_the_gap(market, tight, limited):
    design = tight if limited else LOOSE
    found = clear(market, design)
    assert found.relative_gain.max() <= GAIN == 1e-6
    best, coupling = np.zeros(12), Coupling(market, design, found.blocks)
    for i, form in enumerate(own_lps(market, design)):
        pi = found.injection_price[market.prosumer_bus[i]]
        best[i] = WarmLP(form).solve(priced(form, found.price, pi)).objective
    paid = found.gain + best
    sold = (found.injection_price[market.prosumer_bus] * found.injection).sum(axis=(1, 2)) + found.trade @ found.price
    alone = replay(market, design, found) - sold  # what the plans cost at the posted prices, from the quantities alone
    assert (alone >= best - 1e-5).all() and (alone <= paid + 1e-5).all()
    assert found.gain.min() >= -1e-9 and abs(found.platform_gain) <= 1e-6 * abs(found.cost)
    assert found.gain.sum() + found.platform_gain == pytest.approx(found.cost - found.bound, abs=1e-9)
    assert best.sum() + coupling.own_bound(found.dual) == pytest.approx(found.bound, abs=1e-6)


def replay(market, design, found) -> np.ndarray:
    """Least cost of every prosumer, network charges included, at the trade and injection that the market gave it."""
    cost = []
    for i, form in enumerate(own_lps(market, design)):
        lp = WarmLP(form)
        for name, value in (("zs", np.maximum(found.trade[i], 0)), ("zb", np.maximum(-found.trade[i], 0))):
            lp.set_bounds(form.at(f"{name}[own]"), value, value)
        exchange = found.injection[i] - found.trade[i][:, None]
        for name, value in (("gm", np.maximum(exchange, 0)), ("gp", np.maximum(-exchange, 0))):
            at = form.at(f"{name}[own]").ravel()
            lp.set_bounds(at, np.maximum(value.ravel() - 1e-8, 0), value.ravel() + 1e-8)
        cost.append(lp.solve(form.cost).objective)
    return np.array(cost)


def test_processes_and_a_start_from_a_thinned_market_change_nothing(market, monkeypatch):
    one = clear(market, LOOSE)
    two = clear(market, LOOSE, jobs=2)
    for name in ("cost", "bound", "gain", "price", "injection_price", "trade", "injection", "lp_solves", "rounds"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    monkeypatch.setattr("tritier.search.large.FEWEST", 10)
    monkeypatch.setattr("tritier.search.large.THIN", 2)
    warm = clear(market, LOOSE)
    assert warm.cost == pytest.approx(one.cost, rel=1e-7) and warm.relative_gain.max() <= GAIN
    assert warm.price == pytest.approx(one.price, abs=0.05)


def test_a_small_market_as_one_lp_finds_the_blocks_that_its_limit_needs(market, tight):
    blocks, dual, solves = together(market, tight, np.inf)
    assert blocks and solves > 1
    whole, found = solve_whole(market, tight, blocks), clear(market, tight)
    assert whole.cost == pytest.approx(found.cost, rel=1e-7) and dual.size == found.dual.size
    assert net(market, whole.injection).shape == market.days.passive_kw.shape


def test_a_market_that_has_no_time_does_not_settle(market, tight):
    with pytest.raises(SolverError, match="did not settle in 0 s"):
        clear(market, LOOSE, time_limit=0.0)
    with pytest.raises(SolverError, match="is not solved in 0 s"):
        together(market, tight, 0.0)


@pytest.fixture(scope="module")
def electrified():
    """A market with vehicles, heat pumps and passive loads, whose menu offers both peak charges."""
    base = small_market(n=3, hours=6, scenarios=3, seed=3, billing="scenario")
    rng = np.random.default_rng(3)
    asked = rng.uniform(0, 30, (3, 2, 6, 3)) * np.array([[1, 0], [0, 1], [0, 0]])[:, :, None, None]
    menu = replace(base.menu, peak=(0.0, 0.3), coincident=(0.0, 0.4))
    late = {"ev_delay_h": 3, "hp_delay_h": 1}
    people = tuple(replace(p, **late) for p in base.prosumers)
    days = replace(base.days, deferrable_kw=asked, plugged_kw=np.full(asked.shape, 40.0))
    large = large_instance(replace(base, prosumers=people, days=days, menu=menu), 12, seed=4)
    passive = large.days.passive_kw + np.linspace(5.0, 25.0, 6)[None, :, None]
    return replace(large, days=replace(large.days, passive_kw=passive))


PEAKS = replace(LOOSE, peak=0.3, coincident=0.4)


@pytest.mark.parametrize("limited", [False, True])
def test_devices_and_both_peak_charges_clear_as_the_joint_follower_does(electrified, limited):
    design, joint = PEAKS, JointLP(electrified)
    if limited:
        free = clear(electrified, PEAKS)
        load = electrified.days.passive_kw - net(electrified, free.injection)
        most = Market(electrified, PEAKS, 1).network.required_capacity(load, 0)
        design = replace(PEAKS, capacity=((1, 0.97 * most),))
    found = clear(electrified, design)
    assert {block.kind for block in found.blocks} == ({PEAK, "capacity"} if limited else {PEAK})
    joint.set_design(design)
    best = joint.solve(joint.cost(design))
    assert found.cost == pytest.approx(best.objective, rel=1e-7)
    assert best.objective * (1 - 1e-6) <= found.bound <= best.objective + 1e-6, "its prices prove the joint optimum"
    for method in ("simplex", "with crossover"):
        assert solve_whole(electrified, design, found.blocks, method).cost == pytest.approx(found.cost, rel=1e-7)
    assert found.relative_gain.max() <= GAIN and abs(found.platform_gain) <= 1e-6 * found.cost
    load = (electrified.days.passive_kw - net(electrified, found.injection)).sum(axis=0)
    probability = electrified.days.probability
    assert load.max(axis=0) @ probability == pytest.approx(float(best.x[joint.lp.at("H")]), rel=1e-4)
    if not limited:  # what all pay for the peak at the posted prices is what the DSO charges the platform
        price = found.injection_price[0]
        assert (found.injection_price == price).all(), "the peak costs the same at every bus"
        assert price.min() >= -1e-9 and price.sum(axis=0) == pytest.approx(0.4 * probability, rel=1e-6)
        assert (price * load).sum() == pytest.approx(0.4 * load.max(axis=0) @ probability, rel=1e-4)


def test_a_peak_that_no_hour_sets_would_be_free(electrified):
    """What the rows of the peak are for: without one of its hours the cost falls below the market's."""
    found = clear(electrified, PEAKS)
    fewer = solve_whole(electrified, PEAKS, found.blocks[1:])
    assert len(found.blocks) > 1 and fewer.cost < found.cost - 1e-3
    cheaper = clear(electrified, replace(PEAKS, coincident=0.0))
    assert not cheaper.blocks and cheaper.cost < found.cost - 1.0


def test_the_stored_large_markets_are_cleared_to_the_tolerance_or_told_as_misses():
    rows = pd.read_csv(DATA / "results" / "large.csv")
    done = rows[rows["status"] == "settled"]
    assert len(done) and set(rows["status"]) <= {"settled", "not settled"}
    assert (done["largest_gain"] <= GAIN).all() and (done["bound"] <= done["cost"]).all()
    assert (done["bound"] >= (1 - GAIN) * done["cost"]).all()
    assert done["gap"].to_numpy() == pytest.approx((1 - done["bound"] / done["cost"]).to_numpy(), abs=1e-9)
    assert rows.loc[rows["status"] != "settled", "cost"].isna().all()
    for _, same in done.groupby(["prosumers", "scenarios"]):
        assert same["bound"].max() <= same["cost"].min() * (1 + 1e-9)


def test_a_prosumer_who_pays_nothing_and_a_market_without_demand():
    base = small_market(n=3, hours=6, scenarios=3)
    demand, nothing = base.days.demand_kw.copy(), np.zeros_like(base.days.demand_kw)
    demand[1] = 0.0
    for days in (
        replace(base.days, demand_kw=demand),
        replace(base.days, demand_kw=nothing),
        replace(base.days, demand_kw=nothing, renewable_kw=nothing),
    ):
        instance = replace(base, days=days)
        assert clear(instance, LOOSE).cost == pytest.approx(joint_cost(instance, LOOSE), abs=1e-3)
    cost, bill = np.array([0.0, -3.0, 0.5]), np.array([0.0, 100.0, 200.0])
    assert gain_scale(cost, bill).tolist() == [1.0, 3.0, 2.0]  # of the market's gains and of the certificate's


@pytest.mark.parametrize("seed", [1, 2])
def test_no_charge_on_trade_leaves_the_house_nothing(seed):
    """It sold at the very price at which everybody would buy from retail, and the two tied."""
    instance, design = small_market(n=3, hours=6, scenarios=3, seed=seed), replace(LOOSE, p2p=0.0)
    found = clear(instance, design)
    assert found.cost == pytest.approx(joint_cost(instance, design), abs=1e-3) and found.rounds < 60


def test_a_line_that_a_design_leaves_out_has_the_menus_largest_limit():
    base = small_market(n=3, hours=6, scenarios=3)
    instance = replace(base, menu=replace(base.menu, capacity=((1, (100.0, 150.0)),)))
    free = clear(instance, replace_limit(1000.0)).cost
    bound, given = (clear(instance, replace(LOOSE, capacity=own)).cost for own in ((), ((1, 150.0),)))
    assert bound == pytest.approx(given, rel=1e-6) and bound > free + 1.0
    assert bound == pytest.approx(joint_cost(instance, replace(LOOSE, capacity=())), abs=1e-2)


def test_a_large_market_of_homes_without_sun():
    base = small_market(n=3, hours=6, scenarios=3)
    dark = replace(base, days=replace(base.days, renewable_kw=np.zeros_like(base.days.renewable_kw)))
    found = large_instance(dark, 5)
    assert not found.days.renewable_kw.any() and not any(p.battery_kwh or p.pv_kw for p in found.prosumers)
    assert found.days.demand_kw.sum() > 0


def joint_cost(instance, design) -> float:
    """The same market as one LP, the joint follower's."""
    joint = JointLP(instance)
    joint.set_design(design)
    return joint.solve(joint.cost(design)).objective


def test_prices_do_not_creep_where_the_small_market_leaves_one_open():
    """A hundred prosumers start from the prices of ten. The best prices moved by half the house's reach a round, so
    that its reach never grew: 203 rounds, and with a retail price of 0.9 $/kWh more than 400."""
    base = small_market(n=3, hours=5, scenarios=1, seed=3, billing="scenario")
    market = large_instance(base, 103, 3)
    dear = replace(market.rules, retail=np.full(market.days.n_hours, 0.9), reference_price=1.0)
    found = clear(replace(market, rules=dear), LOOSE)
    assert found.rounds < 80 and found.relative_gain.max() <= GAIN
