"""Hosting capacity: a case solved by hand, C&CG against all vertices, monotonicity, stress set, files, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from tritier.errors import CertificateError, InfeasibleError, InputError, SolverError
from tritier.hosting.adversary import MODES, dearest_vertex
from tritier.hosting.case import (
    DayModel,
    HostingCase,
    annuity,
    day_positions,
    factor_size,
    real_days,
    trading_groups,
    with_budget,
)
from tritier.hosting.plan import (
    VertexSweep,
    deterministic,
    dispatch,
    first_stage,
    judge,
    robust_plan,
    stochastic_plan,
    stress_days,
    two_stage,
)
from tritier.hosting.robust import (
    RecourseProgram,
    UncertaintySet,
    budget_set,
    budget_vertices,
    certify_robust,
    column_and_constraint_generation,
    solve_master,
)
from tritier.hosting.rows import Watch
from tritier.hosting.run import check_limits, load_problem, make_plan
from tritier.inputs.instance import Feeder
from tritier.model.network import lindistflow

STUDY = Path(__file__).resolve().parents[1] / "data/studies/ieee33"
SUN = np.array([0.0, 0.5, 1.0, 0.2])


def feeder(rating_kva: float = 400.0) -> Feeder:
    """Slack - 1 - 2 - 3 in a row, 100 kW at each bus, 0.4 ohm a line at 10 kV."""
    load = np.array([0.0, 100.0, 100.0, 100.0])
    low, high = np.array([1.0, 0.9, 0.9, 0.9]), np.array([1.0, 1.05, 1.05, 1.05])
    line = np.full(3, 0.4)
    rating = np.array([rating_kva, np.inf, np.inf])
    return Feeder(np.arange(4), load, 0 * load, low, high, np.arange(1, 4), np.arange(3), line, line, rating, 10.0, 1.0)


def small_case(
    flexibility: str = "none", budget: float = 1, line: Feeder | None = None, share: float = 0.1
) -> HostingCase:
    """Two sites (buses 2 and 3), four hours, two factors: sun (+20 %, -40 %) and load (+20 %, -30 %)."""
    line = line or feeder()
    pv = np.stack([SUN, 0.9 * SUN])
    load = line.p_kw[:, None] * np.array([[0.8, 0.5, 0.6, 1.0]])
    pv_shift = np.stack([0.2 * pv, 0 * pv, -0.4 * pv, 0 * pv])
    load_shift = np.stack([0 * load, 0.2 * load, 0 * load, -0.3 * load])
    none = np.zeros((2, 4))
    day = DayModel(
        "day",
        365.0,
        pv,
        none,
        load,
        0 * load,
        np.full(4, 0.05),
        pv_shift,
        np.zeros((4, 2, 4)),
        load_shift,
        0 * load_shift,
        budget_set(2, budget),
    )
    flexible = flexibility != "none"
    battery = np.array([200.0, 0.0]) * flexible
    return HostingCase(
        line,
        lindistflow(line),
        np.array([2, 3]),
        np.full(2, 5000.0),
        np.zeros(2),
        battery,
        battery,
        2.0,
        0.95,
        0.01,
        0.1 * flexible,
        0.3,
        share,
        trading_groups(flexibility, 2),
        line.v_min,
        line.v_max,
        np.inf,
        np.array([80.0, 100.0, 30.0]),
        100.0,
        days=(day,),
    )


EVERYTHING = Watch({0}, {1, 2, 3}, {1, 2, 3})


def test_hosted_capacity_by_hand():
    """One binding hour: head 400 kVA + demand 180 kW at noon, no curtailment: R = 580 kW / 1.0 kW per kW."""
    case = deterministic(small_case(share=1e-9))
    generous = replace(case, v_high=np.full(4, 2.0), pv_limit=np.array([5000.0, 0.0]))
    plan = robust_plan(generous)
    assert plan.hosted_kw == pytest.approx(400.0 + 180.0, abs=1e-3)


def test_worst_case_by_hand():
    """Sun up 20 % and demand down 30 %, both allowed: (400 + 126) / 1.2; one allowed: sun, (400 + 180) / 1.2."""
    case = replace(small_case(share=1e-9), v_high=np.full(4, 2.0), pv_limit=np.array([5000.0, 0.0]))
    assert robust_plan(with_budget(case, lambda _: 2)).hosted_kw == pytest.approx(526 / 1.2, abs=1e-3)
    assert robust_plan(with_budget(case, lambda _: 1)).hosted_kw == pytest.approx(580 / 1.2, abs=1e-3)


def test_voltage_limit_by_hand():
    """Without a rating, bus 3 rises to 1.05: 2 (R_31 + R_32 + R_33 terms) of the net feed-in."""
    unrated = replace(feeder(), rating_kva=np.full(3, np.inf))
    case = deterministic(replace(small_case(line=unrated, share=1e-9), pv_limit=np.array([0.0, 1e5])))
    plan = robust_plan(case)
    r, load = 0.4 / unrated.z_base_ohm, 60.0  # noon; shared paths of bus 3 with buses 1, 2, 3 are 1, 2, 3 lines
    hosted = ((1.05**2 - 1.0) / (2 * r) + (1 + 2 + 3) * load) / 3 / 0.9
    assert plan.hosted_kw == pytest.approx(hosted, rel=1e-6)


@pytest.mark.parametrize("flexibility", ["none", "der", "p2p"])
@pytest.mark.parametrize("budget", [1, 1.5, 2])
def test_generation_finds_the_optimum_over_all_vertices(flexibility, budget):
    case = small_case(flexibility, budget)
    problem = two_stage(case, EVERYTHING)
    every_vertex = [(k, u) for k, term in enumerate(problem.recourse) for u in term.uncertainty.vertices()]
    best = solve_master(problem, every_vertex)[1]
    modes = {1: ["enumerate", "binary"], 1.5: ["enumerate"], 2: ["enumerate", "binary"]}[budget]
    if (flexibility, budget) == ("none", 1.5):
        modes = ["enumerate", "sos1", "bigm"]
    for mode in modes:
        solution = column_and_constraint_generation(problem, MODES[mode], start=[(0, np.zeros(4))])
        assert solution.upper_bound == pytest.approx(best, rel=1e-6)
        assert certify_robust(problem, solution)["vertices_checked"] == len(every_vertex)
    assert robust_plan(case).hosted_kw == pytest.approx(-best, rel=1e-6)


def test_more_flexibility_never_lowers_and_more_budget_never_raises():
    hosted = {
        (flexibility, budget): robust_plan(small_case(flexibility, budget)).hosted_kw
        for flexibility in ("none", "der", "p2p")
        for budget in (0, 1, 2)
    }
    for budget in (0, 1, 2):
        assert hosted["none", budget] <= hosted["der", budget] + 1e-4 <= hosted["p2p", budget] + 2e-4
    for flexibility in ("none", "der", "p2p"):
        assert hosted[flexibility, 2] <= hosted[flexibility, 1] + 1e-4 <= hosted[flexibility, 0] + 2e-4
    assert hosted["none", 2] < hosted["none", 0] - 1.0
    assert hosted["p2p", 2] > hosted["none", 2] + 1.0


def test_robust_plan_stands_every_point_and_the_deterministic_does_not():
    case = small_case("p2p", 2)
    robust, forecast = robust_plan(case), robust_plan(deterministic(case))
    days = stress_days(case, 30, seed=3)
    assert judge(case, case.feeder, robust.y, days, robust.watch)["lindistflow_days_violated"] == 0
    assert judge(case, case.feeder, forecast.y, days, forecast.watch)["lindistflow_days_violated"] > 5


def test_a_plan_that_has_not_seen_every_vertex_is_refused(monkeypatch):
    """A vertex that nobody lists: the plan stands all others, which is no word about this one."""
    case = small_case("p2p", 2)
    problem = replace(load_problem(STUDY, "p2p", "smoke"), case=case)
    check_limits(problem, robust_plan(case).certificate, None)
    monkeypatch.setattr("tritier.hosting.robust.budget_vertices", lambda *of: budget_vertices(*of)[:-1])
    with pytest.raises(CertificateError, match=r"hosting.vertices_unserved failed: 1 "):
        check_limits(problem, robust_plan(case).certificate, None)


def test_a_tie_break_over_an_empty_set_is_said_and_not_passed_over():
    """Where no vertex is the dearest the adversary's own point is not taken for one."""
    slope, near = np.array([1.0, -1.0]), np.array([0.5, 0.5])
    assert dearest_vertex(budget_set(1, 1), slope, near) == pytest.approx([1.0, 0.0])
    with pytest.raises(SolverError, match="uncertainty set is empty"):
        dearest_vertex(UncertaintySet(2, np.ones((1, 2)), np.array([-1.0])), slope, near)


def test_cost_rises_with_the_capacity_asked_for():
    case = replace(small_case("p2p", 1), battery_low=np.zeros(2), battery_high=np.full(2, 400.0))
    most = robust_plan(case).hosted_kw
    costs = [robust_plan(case, share * most).upper_bound for share in (0.3, 0.6, 0.9)]
    assert np.all(np.diff(costs, 2) >= -1e-3)  # a linear program's cost is convex in its right-hand side
    plan = robust_plan(case, 0.6 * most)
    assert plan.hosted_kw == pytest.approx(0.6 * most, rel=1e-6)
    assert plan.upper_bound - plan.lower_bound <= 1e-6 * abs(plan.upper_bound)


def test_chance_constraint_of_one_scenario_is_the_deterministic_plan():
    case = deterministic(small_case("der"))
    day = case.days[0].at(np.zeros(4))
    plan = stochastic_plan(case, (day,), np.ones(1), 0.05)
    assert plan.hosted_kw == pytest.approx(robust_plan(case).hosted_kw, rel=1e-6)


def test_chance_constraint_lies_between_mean_and_worst_scenario():
    case = small_case("none", 2)
    days = tuple(case.days[0].at(u) for u in (np.zeros(4), np.array([0.0, 0, 0, 1]), np.array([1.0, 0, 0, 1])))
    worst = stochastic_plan(case, days, np.full(3, 1 / 3), 0.01).hosted_kw
    loose = stochastic_plan(case, days, np.full(3, 1 / 3), 0.9).hosted_kw
    each = [robust_plan(replace(case, days=(day,))).hosted_kw for day in days]
    assert worst == pytest.approx(min(each), rel=1e-6)
    assert min(each) + 1.0 < loose < max(each) + 1e-6


def test_dispatch_balances_and_costs_what_it_says():
    case = small_case("p2p", 2)
    plan = robust_plan(case)
    day = case.days[0].at(np.zeros(4))
    out = dispatch(case, plan.y, (day,), plan.watch)
    energy = out.net_kw[:, :, 0].sum()
    supplied = day.load.sum() - out.available_kwh[0] + out.curtailed_kwh[0]
    assert energy >= supplied - 1e-6  # batteries only lose energy
    assert out.cost_usd[0] >= 0.05 * energy - 1e-6


def test_first_stage_at_a_capacity_prices_investment_less_energy():
    case = small_case()
    cost = first_stage(case, 100.0).cost
    assert cost[0] == pytest.approx(80.0 - 365 * 0.05 * SUN.sum())
    assert cost[4] == pytest.approx(30.0)


def test_annuity_against_the_textbook():
    assert annuity(1000.0, 20.0, 0.05) == pytest.approx(80.2426, abs=1e-4)


def test_factor_of_the_mean_day_is_zero():
    profile = np.random.default_rng(0).uniform(0, 1, (2, 30, 24))
    with_mean = np.concatenate([profile, profile.mean(axis=1, keepdims=True)], axis=1)
    assert factor_size(with_mean, (slice(0, 24),), 0.95)[-1, 0] == pytest.approx(0.0, abs=1e-9)


def random_capacities(case: HostingCase, draw) -> np.ndarray:
    n = case.n_sites
    return np.r_[draw.uniform(0.0, 2000.0, n) * (case.pv_limit > 0), np.zeros(n), case.battery_low]


def programs(case: HostingCase, recourse, draw, count: int):
    """Random capacities: the program of their dispatch, and its right-hand side as h0 and H."""
    for _ in range(count):
        y = random_capacities(case, draw)
        yield RecourseProgram(recourse, y), *recourse.at(y)


@pytest.mark.parametrize("flexibility", ["none", "p2p"])
def test_multiplier_boxes_hide_nothing_and_a_tenth_of_them_does(flexibility):
    """Strong duality within the derived boxes at random capacities and at every vertex; smaller boxes lose value."""
    case, draw, hidden = small_case(flexibility, 1), np.random.default_rng(2), 0
    recourse = two_stage(case, EVERYTHING).recourse[0]
    for program, h0, H in programs(case, recourse, draw, 3):
        for u in recourse.uncertainty.vertices():
            true = program.solve(u).objective
            values = []
            for bound in (recourse.dual_upper, 0.1 * recourse.dual_upper):
                limits = np.c_[np.where(recourse.equality, -bound, 0.0), bound]
                answer = linprog(H @ u - h0, recourse.G.T, recourse.cost, bounds=limits)
                values.append(-answer.fun if answer.status == 0 else -np.inf)
            assert values[0] == pytest.approx(true, rel=1e-8, abs=1e-6)
            hidden += values[1] < true - 1.0
    assert hidden > 0


def test_primal_boxes_hold_every_optimal_dispatch():
    case, draw = small_case("p2p", 2), np.random.default_rng(5)
    recourse = two_stage(case, EVERYTHING).recourse[0]
    for program, h0, H in programs(case, recourse, draw, 5):
        for u in recourse.uncertainty.vertices():
            x = program.solve(u).x
            slack = recourse.G @ x - (h0 - H @ u)
            assert (x < recourse.upper).all() and (slack <= recourse.slack_upper).all()


@pytest.mark.parametrize("flexibility", ["none", "der", "p2p"])
def test_sweep_of_the_vertices_agrees_with_a_program_at_each(flexibility):
    """With every row watched, the sweep's worst case costs what the dearest vertex costs, dispatches taken over or
    not."""
    case, draw = small_case(flexibility, 2), np.random.default_rng(3)
    recourse = two_stage(case, EVERYTHING).recourse[0]
    for y in [robust_plan(case).y, *(random_capacities(case, draw) for _ in range(4))]:
        sweep = VertexSweep(case, patience=1000, enough=1000)
        swept, listed = sweep(recourse, y), MODES["enumerate"](recourse, y)
        assert swept.value == pytest.approx(listed.value, rel=1e-9, abs=1e-6)
        if listed.value < 1e-9:
            assert sweep.certificate()["vertices_checked"] == recourse.uncertainty.vertex_bound
            assert sweep.certificate()["programs_solved"] < recourse.uncertainty.vertex_bound


def test_sweep_names_elements_that_no_row_watches():
    case = small_case("none", 1)
    nothing = Watch(substation=False)
    recourse = two_stage(case, nothing).recourse[0]
    sweep = VertexSweep(case)
    sweep(recourse, np.r_[2000.0, 2000.0, np.zeros(4)])
    assert sweep.missing().line == {0} and not nothing.line


def test_operating_terms_keep_all_limits_too():
    """At a capacity asked for, the dispatch of the mean day is checked on every row: the bounds meet at a true cost."""
    case = small_case("p2p", 1)
    hosted = 0.9 * robust_plan(case).hosted_kw
    lazy, full = robust_plan(case, hosted), robust_plan(case, hosted, watch=EVERYTHING)
    assert lazy.upper_bound == pytest.approx(full.upper_bound, rel=1e-9)
    assert lazy.lower_bound == pytest.approx(lazy.upper_bound, rel=1e-6)


def test_batteries_are_sized_where_they_host_more():
    """With batteries free in the objective, the largest capacity needs some; asked for less, none is bought."""
    case = replace(small_case("p2p", 1), battery_low=np.zeros(2), battery_high=np.full(2, 400.0))
    most = robust_plan(case)
    without = robust_plan(replace(case, battery_high=np.zeros(2)))
    assert most.hosted_kw > without.hosted_kw + 1.0 and most.battery_kwh.sum() > 1.0
    assert robust_plan(case, 0.5 * without.hosted_kw).battery_kwh.sum() == pytest.approx(0.0, abs=1e-6)
    needs = robust_plan(case, 0.5 * (most.hosted_kw + without.hosted_kw))
    assert 1.0 < needs.battery_kwh.sum() <= most.battery_kwh.sum() + 400.0


def test_more_than_the_feeder_hosts_is_infeasible():
    problem = load_problem(STUDY, "none", "smoke")
    room = problem.case.pv_limit.sum() + problem.case.wind_limit.sum()
    with pytest.raises(InputError, match="more than"):
        make_plan(problem, "robust", 0.95 * room)
    with pytest.raises(InfeasibleError):
        make_plan(problem, "robust", 1.05 * room)


def test_days_add_up_to_a_year():
    problem = load_problem(STUDY, "none", "smoke")
    assert sum(day.weight for day in problem.case.days) == pytest.approx(365.0)
    for held_out in (True, False):
        chosen = day_positions(problem.data, held_out, 30)
        days = real_days(problem.data, problem.case, chosen, problem.preset)
        assert sum(day.weight for day in days) == pytest.approx(365.0)
    assert not set(day_positions(problem.data, True, 999)) & set(day_positions(problem.data, False, 999))


def test_annual_cost_of_a_bare_feeder_by_hand():
    """No renewables, no batteries: energy of the load at wholesale over the year, and AC losses at the same price."""
    case = small_case("none", 0)
    day = replace(case.days[0].at(np.zeros(4)), weight=365.0)
    figures = judge(case, case.feeder, np.zeros(6), (day,), EVERYTHING)
    energy = 365.0 * 0.05 * day.load.sum()
    assert figures["investment_usd"] == 0.0
    assert figures["operating_cost_usd"] == pytest.approx(energy + 0.05 * figures["losses_kwh"], rel=1e-9)
    assert figures["losses_kwh"] > 0


def test_judging_leaves_the_plan_alone_and_does_not_depend_on_jobs():
    case = small_case("p2p", 1)
    plan = robust_plan(case)
    before, days = plan.watch.copy(), stress_days(case, 60, 1)
    one, two = (judge(case, case.feeder, plan.y, days, plan.watch, jobs) for jobs in (1, 2))
    assert one == two and plan.watch == before


@pytest.mark.parametrize(("chance_level", "allowed"), [(0.04, 0), (0.2, 4), (0.4, 8)])
def test_at_most_the_chance_level_of_scenario_days_is_violated(chance_level, allowed):
    """20 scenario days: CVaR is safe, so no more than eps of them may break a limit, and a large eps lets some."""
    case, draw = small_case("der", 2), np.random.default_rng(8)
    vertices = case.days[0].uncertainty.vertices()
    points = [draw.dirichlet(np.ones(4)) @ vertices[draw.integers(len(vertices), size=4)] for _ in range(20)]
    days = tuple(replace(case.days[0].at(u), weight=365.0 / 20) for u in points)
    plan = stochastic_plan(case, days, np.full(20, 0.05), chance_level)
    broken = judge(case, case.feeder, plan.y, days, plan.watch)["lindistflow_days_violated"]
    assert broken <= allowed
    assert broken > 0 or allowed == 0
