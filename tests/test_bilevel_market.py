"""The three-level problem as one linear bilevel problem: the modes and the enumeration of the menu agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy import small_market

from tritier.errors import CertificateError, InputError
from tritier.inputs.instance import Menu
from tritier.reformulation import modes
from tritier.reformulation import solve as bilevel_solve
from tritier.reformulation.bilevel import linear_bilevel, solve_follower
from tritier.reformulation.bounds import MARGIN, boxes
from tritier.reformulation.joint import JointLP
from tritier.reformulation.kkt import kkt_system
from tritier.reformulation.market import (
    bound_table,
    bounds_by_hand,
    design_of,
    market_bilevel,
    market_example,
    storage_bounds,
    with_blocks_of_menu,
)
from tritier.reformulation.modes import MODES
from tritier.reformulation.solve import discrete_points, enumerate_discrete, solve
from tritier.search.responses import optimistic_response


@pytest.fixture(scope="module")
def market():
    """3 prosumers, 4 hours, 2 scenarios, two batteries; 48 designs; revenue adequacy excludes most of them."""
    instance = small_market(demand_blocks=2, demand_charge=0.1, tie_break=0.0)
    menu = Menu(((0.02, 0.08), (0.02, 0.08), (0.02, 0.14)), (0.01, 0.03), ((1, (180.0, 260.0, 1000.0)),))
    joint = with_blocks_of_menu(JointLP(replace(instance, menu=menu, fixed_cost=10.0)))
    problem, box = market_bilevel(joint)
    return joint, problem, box


def test_strong_duality_and_enumeration_choose_the_same_design(market):
    joint, problem, box = market
    best, x, _, values = enumerate_discrete(problem)
    found = solve(problem, "strong_duality", time_limit=120, box=box, dual_bound=storage_bounds(joint, problem, box))
    assert (found.status, found.proof) == ("optimal", "enumeration")
    assert found.objective == pytest.approx(best, rel=1e-6)
    assert design_of(joint, found.x) == design_of(joint, x)
    assert max(found.residuals.values()) < 1e-6
    assert values.size == 48 and np.isinf(values).sum() > 0


def test_limit_and_revenue_adequacy_bind(market):
    """Without the revenue row, or with the largest limit only, another design and another welfare come out."""
    joint, problem, _ = market
    best, x, *_ = enumerate_discrete(problem)
    free = problem.U_lower.copy()
    free[problem.U_name.index("revenue adequacy")] = -np.inf
    cheaper, other, *_ = enumerate_discrete(replace(problem, U_lower=free))
    assert cheaper < best - 0.1 and design_of(joint, other) != design_of(joint, x)
    limits = problem.x_lower.copy()
    limits[[j for j, name in enumerate(problem.x_name) if "cap[" in name]] = 1.0
    assert enumerate_discrete(replace(problem, x_lower=limits))[0] > best + 0.05


def test_every_multiplier_of_the_market_has_a_proved_bound(market):
    joint, problem, box = market
    kkt = kkt_system(problem)
    found = boxes(kkt, storage_bounds(joint, problem, box), box)
    assert found.proven and set(found.dual_source) <= {"propagation", "given"}
    people, days = joint.instance.prosumers, joint.instance.days
    for person in people:
        worst = 1 - person.beta + person.beta / (1 - joint.instance.rules.alpha)
        for w, p in enumerate(days.probability):
            k = kkt.name.index(f"lam[energy_cost0[{person.name}][{w}]]")
            assert found.dual[k] <= p * worst * 1.01 + 0.01


def test_derived_bounds_are_no_wider_than_the_argument(market, binding_market):
    """Propagation against :eq:`eq-market-big-m`, and the multipliers of every design against both."""
    e = binding_market
    for joint, problem, box, given in (
        (*market, storage_bounds(*market)), (e.joint, e.problem, e.box, e.dual_bound),
    ):  # fmt: skip
        kkt, hand = kkt_system(problem), bounds_by_hand(joint)
        place = np.array([kkt.name.index(name) for name in hand])
        limit = np.array(list(hand.values()))
        assert np.all(boxes(kkt, given, box).dual[place] <= limit * (1 + MARGIN) + MARGIN + 1e-9)
        for point in discrete_points(problem):
            status, _, _, row_dual, col_dual = solve_follower(problem, np.nan_to_num(point))
            assert status == "optimal"
            assert np.all(np.abs(kkt.multipliers(row_dual, col_dual)[place]) <= limit + 1e-7)
    kinds = {name.split("[")[1].rstrip("0123456789").split(":")[0] for name in bounds_by_hand(e.joint)}
    assert {"quantile", "energy_cost", "cvar_rows", "power_balance"} <= kinds
    assert max(v for name, v in bounds_by_hand(e.joint).items() if "quantile" in name) == 3.0  # the violation price


def test_bound_table_counts_every_multiplier_once(binding_market):
    table = bound_table(binding_market).set_index("multiplier")
    assert table["number"].sum() == kkt_system(binding_market.problem).h.size
    assert (table["largest"] <= table["derived"]).all()
    assert table.loc["mu_up of quantile", "argument"] == 3.0
    assert table.loc["lam of soc_dynamics", "source"] == "given"


PRICES = ("lam[p2p_balance", "lam[power_balance", "lam[soc_dynamics", "lam[energy_cost", "mu_up[quantile", "nu_up[ch",
          "nu_up[cu", "nu_lo[gp")  # fmt: skip


def test_signs_of_the_market_s_prices_by_finite_differences(binding_market):
    """At the best design: each side moved by a little either way; where the price is a kink, the slopes bracket it."""
    problem = binding_market.problem
    _, x, *_ = enumerate_discrete(problem)
    kkt = kkt_system(problem)
    _, theta, _, row_dual, col_dual = solve_follower(problem, x)
    mu, step, priced = kkt.multipliers(row_dual, col_dual), 1e-4, set()
    for k, name in enumerate(kkt.name):
        prefix = next((p for p in PRICES if name.startswith(p)), None)
        if prefix is None:
            continue
        kind, j = kkt.kind[k], kkt.source[k]
        sides = ("row_lower", "row_upper") if kind.startswith("row") else ("y_lower", "y_upper")
        slopes = []
        for sign in (1.0, -1.0):
            shifted = {side: getattr(problem, side).copy() for side in sides}
            for side, way in zip(sides, (">=", "<="), strict=True):
                if kind.endswith(("==", way)):
                    shifted[side][j] += sign * step
            slopes.append(sign * (solve_follower(replace(problem, **shifted), x)[1] - theta) / step)
        expected = -mu[k] if kind.endswith("<=") else mu[k]
        assert min(slopes) - 1e-5 <= expected <= max(slopes) + 1e-5, name
        if abs(expected) > 1e-3 and max(slopes) - min(slopes) < 1e-5:
            priced.add(prefix)
    assert priced >= {"lam[power_balance", "lam[energy_cost", "mu_up[quantile", "nu_lo[gp"}


def with_menu(instance, p2p, **rules):
    """Few designs, no tie-break."""
    menu = Menu(((0.02,), (0.02, 0.08), (0.02,)), p2p, ((1, (180.0, 1000.0)),))
    return replace(instance, menu=menu, fixed_cost=-1e3, rules=replace(instance.rules, tie_break=0.0, **rules))


@pytest.mark.parametrize("p2p", [(0.0,), (0.0, 0.03)])
def test_free_trade_is_no_exception(p2p):
    """At a zero P2P charge energy may go round in circles; boxes without multipliers still give F of every design."""
    joint = with_blocks_of_menu(JointLP(with_menu(small_market(demand_blocks=2, demand_charge=0.1), p2p)))
    problem, box = market_bilevel(joint)
    best, _, _, values = enumerate_discrete(problem)
    given = storage_bounds(joint, problem, box)
    assert boxes(kkt_system(problem), given, box).proven
    for point, value in zip(discrete_points(problem), values, strict=True):
        exact = optimistic_response(joint, design_of(joint, np.nan_to_num(point))).social.total
        assert value == pytest.approx(exact, abs=1e-3)
    for mode in ("strong_duality", "sos1"):
        found = solve(problem, mode, time_limit=120, box=box, dual_bound=given, value_cut=True)
        assert (found.status, found.proof) == ("optimal", "enumeration")
        assert found.objective == pytest.approx(best, rel=1e-6)


@pytest.fixture(scope="module")
def free_trade():
    """Eight designs, the best at 28.446 and the next at 28.473, and what is proved of the market's boxes."""
    joint = with_blocks_of_menu(JointLP(with_menu(small_market(demand_blocks=2, demand_charge=0.1), (0.0, 0.03))))
    problem, box = market_bilevel(joint)
    return problem, {"box": box, "dual_bound": storage_bounds(joint, problem, box)}


def test_an_optimum_that_sos1_loses_is_found_by_the_second_opinion(free_trade, monkeypatch):
    """SOS1 with a value cut at SCIP's usual tolerance takes the nodes of the optimum for empty and claims another.

    Where the designs are few the claim is refused by a list of them; where they are not, SOS1 asked by name is called
    one mode's word, and mode "auto", made to ask SOS1 first, is told so by the mode that it asks next."""
    problem, given = free_trade
    best, *_ = enumerate_discrete(problem)
    monkeypatch.setattr(modes, "TIGHT", 1e-6)
    kept = {}

    def once(kkt, boxes, mode, *args, below=None, **options):
        if (mode, below) not in kept:
            kept[mode, below] = modes.run_mode(kkt, boxes, mode, *args, below=below, **options)
        return kept[mode, below]

    monkeypatch.setattr(bilevel_solve, "run_mode", once)
    with pytest.raises(CertificateError, match=r"second_opinion.*sos1 claims .*enumeration finds "):
        solve(problem, "sos1", value_cut=True, time_limit=120, **given)
    monkeypatch.setattr(bilevel_solve, "FEW", 0)
    lost = solve(problem, "sos1", value_cut=True, time_limit=120, **given)
    assert (lost.status, lost.proof) == ("optimal", "one mode") and lost.objective > best + 0.02
    monkeypatch.setattr(bilevel_solve, "DISCRETE", ("sos1", "strong_duality", "indicator", "bigm"))
    found = solve(problem, "auto", time_limit=120, **given)
    assert (found.status, found.proof) == ("optimal", "second opinion")
    assert found.objective == pytest.approx(best, rel=1e-6)
    assert [told.split(" in ")[0][:31] for told in found.overruled] == ["sos1: beaten by strong_duality,"]


def test_auto_enumerates_a_short_menu_and_asks_two_modes_about_a_longer_one(free_trade, monkeypatch):
    problem, given = free_trade
    listed = solve(problem, "auto", **given)
    monkeypatch.setattr(bilevel_solve, "FEW", 0)
    asked = solve(problem, "auto", time_limit=120, **given)
    assert (listed.proof, asked.proof, asked.overruled) == ("enumeration", "second opinion", ())
    assert listed.objective == pytest.approx(28.44643, abs=1e-5) == asked.objective


def test_menus_that_pay_for_circles_are_refused():
    """Energy imported at 0.30 + 0.02 and exported at 0.32, or a negative P2P charge: only boxes would stop it."""
    market = small_market(demand_blocks=2)
    with pytest.raises(InputError, match="importing to export pays in hour 0"):
        market_bilevel(JointLP(with_menu(market, (0.01,), feed_in=np.full(4, 0.32))))
    with pytest.raises(InputError, match=r"p2p: -0\.01"):
        market_bilevel(JointLP(with_menu(market, (-0.01, 0.0))))


def test_storage_bounds_refuse_a_price_on_stored_energy(market):
    """The clipped multipliers of the proof are optimal only where holding energy is free."""
    joint, problem, box = market
    priced = replace(joint.instance, rules=replace(joint.instance.rules, tie_break=1e-5))
    with pytest.raises(InputError, match="tie_break: a price on stored energy"):
        storage_bounds(JointLP(priced), problem, box)


def test_stationarity_of_an_import_names_its_terms(market):
    _, problem, _ = market
    line = kkt_system(problem).stationarity("gp[P2][3, 1]")
    for part in ("lam[power_balance0[P2][3, 1]]", "lam[energy_cost0[P2][1]]", "lam[G[2]]", "nu_lo[gp[P2][3, 1]]"):
        assert part in line


def test_enumeration_needs_discrete_prices():
    problem = linear_bilevel([0.0, 1.0], [0.0, 1.0], 1, Q=[[1.0]], x_bounds=[(0, 1)], y_bounds=[(0, 1)])
    with pytest.raises(InputError, match="continuous"):
        enumerate_discrete(problem)


def test_discrete_points_keep_the_leaders_own_rows():
    problem = linear_bilevel(
        [0.0] * 4, [0.0] * 4, 3, upper=([[1, -1, 0, 0]], [0.0], [np.inf]), x_bounds=[(0, 1), (0, 1), (0, 5)],
        y_bounds=[(0, 1)], integer=[0, 1],
    )  # fmt: skip
    assert [tuple(p[:2]) for p in discrete_points(problem)] == [(0, 0), (1, 0), (1, 1)]


@pytest.fixture(scope="module", params=["scenario", "expected"])
def binding_market(request):
    """3 prosumers, 4 hours, 2 scenarios, one battery, no demand response; limit and revenue adequacy both bind."""
    return market_example(billing=request.param)


def test_limit_and_revenue_bind_together(binding_market):
    joint, free, problem = binding_market.joint, binding_market.unrestricted, binding_market.problem
    best, x, *_ = enumerate_discrete(problem)
    cheaper, other, *_ = enumerate_discrete(free)
    assert best > cheaper + 0.01 and design_of(joint, x).tariff != design_of(joint, other).tariff
    lifted = problem.x_lower.copy()
    lifted[[j for j, name in enumerate(problem.x_name) if "cap[" in name]] = 1.0
    assert enumerate_discrete(replace(problem, x_lower=lifted))[0] > best + 0.01


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_and_enumeration_give_the_same_design_and_welfare(mode, binding_market):
    joint, problem, e = binding_market.joint, binding_market.problem, binding_market
    best, x, *_ = enumerate_discrete(problem)
    found = solve(problem, mode, time_limit=300, box=e.box, dual_bound=e.dual_bound, value_cut=True)
    assert (found.status, found.proof) == ("optimal", "enumeration")
    assert found.objective == pytest.approx(best, rel=1e-6)
    assert design_of(joint, found.x) == design_of(joint, x)
    assert max(found.residuals.values()) < 1e-6


def test_every_part_of_the_tariff_is_a_sum_of_steps():
    """Energy and individual peak inside the risk measure, coincident peak at the platform, P2P and a limit: at every
    point of the menu the linear problem has the exact optimistic response, and strong duality finds the best."""
    base = small_market(demand_blocks=2, demand_charge=0.4, tie_break=0.0, billing="scenario", flexibility=0.0)
    menu = Menu(((0.02, 0.06), (0.04,), (0.04,)), (0.01,), ((1, (170.0, 1000.0)),), (0.0, 0.2), (0.0, 0.3))
    joint = with_blocks_of_menu(JointLP(replace(base, menu=menu, fixed_cost=-1e3)))
    problem, box = market_bilevel(joint)
    best, x, _, values = enumerate_discrete(problem)
    found = {}
    for point, value in zip(discrete_points(problem), values, strict=True):
        design = design_of(joint, np.nan_to_num(point))
        found[design] = value
        exact = optimistic_response(joint, design, revenue=False).social.total
        assert value == pytest.approx(exact, abs=1e-3), design
    assert len(found) == 16 and len({round(v, 3) for v in found.values()}) > 8
    given = storage_bounds(joint, problem, box)
    answer = solve(problem, "strong_duality", time_limit=120, box=box, dual_bound=given)
    assert (answer.status, answer.proof) == ("optimal", "enumeration")
    assert answer.objective == pytest.approx(best, rel=1e-6)
    assert design_of(joint, answer.x) == design_of(joint, x) or found[design_of(joint, answer.x)] == pytest.approx(best)
