"""Hosting capacity: a case solved by hand, C&CG against all vertices, monotonicity, stress set, files, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cvxpy as cp
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
    season_groups,
    trading_groups,
    with_budget,
    with_tolerated_limits,
    year_data,
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
    swept,
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
from tritier.hosting.rows import Watch, day_recourse, net_load, operating_cost, row_book
from tritier.hosting.run import Question, check_limits, check_plan, load_problem, make_plan, stress_figures
from tritier.inputs.instance import Feeder
from tritier.inputs.scenarios import make_days
from tritier.inputs.study import read_study
from tritier.model.devices import Deferrable
from tritier.model.network import lindistflow

STUDY = Path(__file__).resolve().parents[1] / "data/studies/ieee33"
ELECTRIFIED = STUDY.with_name("ieee33-2045")
SUN = np.array([0.0, 0.5, 1.0, 0.2])
#: kW that vehicles and heat pumps of two sites ask for in four hours
ASKED = np.array([[[0.0, 30.0, 0.0, 0.0], [10.0, 0.0, 20.0, 0.0]], [[5.0, 10.0, 5.0, 5.0], [0.0, 10.0, 0.0, 20.0]]])


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
    """Two sites (buses 2 and 3), four hours, two factors: sun (+20 %, -40 %) and load (+20 %, -30 %).

    With flexibility ``waits`` batteries, demand response, vehicles and heat pumps, each site for itself.
    """
    line = line or feeder()
    pv = np.stack([SUN, 0.9 * SUN])
    load = line.p_kw[:, None] * np.array([[0.8, 0.5, 0.6, 1.0]])
    asked = ASKED if flexibility == "waits" else np.zeros((0, 2, 4))
    load[2:] += asked.sum(axis=0)
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
        asked,
        np.full(asked.shape, 80.0),
        np.stack([0 * asked, 0.2 * asked, 0 * asked, -0.3 * asked]),
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
        kinds=("ev", "hp")[: len(asked)],
        delay=np.array([[1, 2], [1, 0]]),
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


def test_charging_of_lines_takes_room_by_hand():
    """The last line feeds in 240 kvar, half at bus 2 and half at bus 3: of 400 kVA at the head 320 kW are left, and bus
    3 is lifted as by 2 x 120 and 3 x 120 kW more, resistance and reactance of a line being equal."""
    charged = replace(feeder(), charging_kvar=np.array([0.0, 0.0, 240.0]))
    case = replace(small_case(line=charged, share=1e-9), v_high=np.full(4, 2.0), pv_limit=np.array([5000.0, 0.0]))
    assert robust_plan(deterministic(case)).hosted_kw == pytest.approx(320.0 + 180.0, abs=1e-3)
    unrated = replace(charged, rating_kva=np.full(3, np.inf))
    case = deterministic(replace(small_case(line=unrated, share=1e-9), pv_limit=np.array([0.0, 1e5])))
    r = 0.4 / unrated.z_base_ohm
    hosted = ((1.05**2 - 1.0) / (2 * r) + (1 + 2 + 3) * 60.0 - (2 + 3) * 120.0) / 3 / 0.9
    assert robust_plan(case).hosted_kw == pytest.approx(hosted, rel=1e-6)
    through = replace(case, substation_kva=400.0, v_high=np.full(4, 2.0))
    assert robust_plan(through).hosted_kw == pytest.approx((320.0 + 180.0) / 0.9, abs=1e-3)


def test_what_charging_mends_is_not_tolerated():
    """Loads alone leave a band that charging keeps: the band stays, and the ratings hold what flows beside it."""
    line = replace(feeder(), charging_kvar=np.array([0.0, 0.0, 1200.0]))
    case, day = small_case(line=line), small_case(line=line).days[0]
    heavy = day.load + day.largest_loads.active
    bare, charged = (lindistflow(of).squared_voltages(heavy, day.reactive)[3].min() for of in (feeder(), line))
    between = np.sqrt((bare + charged) / 2)
    held = replace(case, v_low=np.array([1.0, 0.5, 0.5, between]))
    data = SimpleNamespace(odd_week=np.array([True]), drawn=day.load[:, None], reactive=day.reactive[:, None])
    found = with_tolerated_limits(held, data)
    assert found.v_low[1:].tolist() == held.v_low[1:].tolist()
    most = np.hypot(line.p_kw.sum() * 1.2, 1200.0)  # both halves of the last line's charging go through the head
    assert found.feeder.rating_kva[0] == pytest.approx(most, rel=1e-6)


@pytest.mark.parametrize("flexibility", ["none", "der", "p2p", "waits"])
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


def vehicle_case(asked: list[float], delay: int, plugged: float) -> HostingCase:
    """A vehicle at the one site with room, no battery and no other demand that moves, nothing curtailed, no voltage
    limit."""
    case = deterministic(small_case(share=1e-9))
    own = np.array([[asked, np.zeros(4)]])
    load = case.days[0].load.copy()
    load[2] += own[0, 0]
    none = np.zeros((4, *own.shape))
    day = replace(case.days[0], load=load, asked=own, plugged=np.maximum(plugged, own), asked_shift=none)
    room = np.array([5000.0, 0.0])
    more = {"kinds": ("ev",), "delay": np.array([[delay, 0]]), "days": (day,)}
    return replace(case, v_high=np.full(4, 2.0), pv_limit=room, **more)


@pytest.mark.parametrize(
    ("asked", "delay", "plugged", "hosted"),
    [
        ([0.0, 30.0, 0.0, 0.0], 0, 80.0, 580.0),  # nobody waits
        ([0.0, 30.0, 0.0, 0.0], 1, 80.0, 610.0),  # all of it waits an hour, for noon
        ([0.0, 30.0, 0.0, 0.0], 1, 20.0, 600.0),  # noon has room for 20 kW
        ([40.0, 0.0, 0.0, 0.0], 1, 80.0, 580.0),  # noon is two hours away
        ([40.0, 0.0, 0.0, 0.0], 2, 80.0, 620.0),
        ([0.0, 0.0, 30.0, 0.0], 2, 80.0, 610.0),  # asked for at noon: drawn then
        ([0.0, 0.0, 0.0, 30.0], 3, 80.0, 610.0),  # the day is cyclic: the evening's waits for the next noon
    ],
)
def test_a_vehicle_that_waits_for_the_sun_by_hand(asked, delay, plugged, hosted):
    """Noon binds: head 400 kVA + demand 180 kW, and what the vehicle draws then."""
    assert robust_plan(vehicle_case(asked, delay, plugged)).hosted_kw == pytest.approx(hosted, abs=1e-3)


def test_more_asked_for_at_noon_can_be_less_to_wait_for_it():
    """With all loads down 30 % noon takes (400 + 126 + 21) kW of what would be 610 kW."""
    case = vehicle_case([0.0, 30.0, 0.0, 0.0], 1, 80.0)
    day = case.days[0]
    down = -0.3 * np.array([0.0, 1.0])[:, None, None]
    shift = {"load_shift": down * day.load, "asked_shift": down[..., None] * day.asked}
    still = {"pv_shift": np.zeros((2, 2, 4)), "wind_shift": np.zeros((2, 2, 4)), "reactive_shift": np.zeros((2, 4, 4))}
    uncertain = replace(day, **shift, **still, uncertainty=budget_set(1, 1))
    assert robust_plan(replace(case, days=(uncertain,))).hosted_kw == pytest.approx(547.0, abs=1e-3)


def test_loads_that_wait_are_the_device_of_the_market():
    """The least cost of a vehicle's and a heat pump's day at random prices: the rows of a dispatch, against the boxes
    and rows of Deferrable in cvxpy."""
    draw = np.random.default_rng(4)
    case = small_case("waits", 0)
    day = replace(case.days[0].at(np.zeros(4)), wind=np.ones((2, 4)))
    y = np.array([0.0, 0.0, 1000.0, 1000.0, 0.0, 0.0])  # surplus at every hour
    case = replace(case, flexible=0.0, degradation=0.0, wind_limit=np.full(2, 1000.0))
    day = replace(day, plugged=np.maximum(day.asked, 15.0))  # tight: what waits cannot all be made up in one hour
    for _ in range(20):
        prices = draw.normal(0.0, 1.0, (2, 2, 4))
        cost = np.zeros((len(case.blocks), 2, 4))
        for k in range(2):
            cost[6 + 3 * k], cost[7 + 3 * k] = -prices[k], prices[k]
        recourse = day_recourse(case, day, Watch(substation=False), cost.ravel(), 1.0)
        found = RecourseProgram(recourse, y).solve(np.zeros(0)).objective + float((prices * day.asked).sum())
        least = 0.0
        for k, kind in enumerate(case.kinds):
            for i in range(2):
                plugged = day.plugged[k, i][:, None] if case.delay[k, i] else day.asked[k, i][:, None]
                device = Deferrable(kind, day.asked[k, i][:, None], plugged, int(case.delay[k, i]), 0.0)
                x = {name: cp.Variable(low.shape) for name, (low, _) in device.boxes().items()}
                rows = [row.constraint() for row in device.rows(x)]
                rows += [c for name, (low, high) in device.boxes().items() for c in (x[name] >= low, x[name] <= high)]
                problem = cp.Problem(cp.Minimize(prices[k, i] @ x[kind][:, 0]), rows)
                least += problem.solve(solver="HIGHS")
        assert found == pytest.approx(least, abs=1e-6)


def test_a_vehicle_waits_for_a_neighbours_sun_only_with_trade():
    """The vehicle at bus 3, all sun at bus 2: each for itself it draws at once, with P2P at noon."""
    case = vehicle_case([0.0, 0.0, 0.0, 0.0], 0, 80.0)
    day = case.days[0]
    own = np.array([[np.zeros(4), [0.0, 30.0, 0.0, 0.0]]])
    load = day.load.copy()
    load[3] += own[0, 1]
    day = replace(day, load=load, asked=own, plugged=np.full(own.shape, 80.0))
    alone = replace(case, days=(day,), delay=np.array([[0, 1]]))
    shared = replace(alone, groups=trading_groups("p2p", 2))
    assert robust_plan(alone).hosted_kw == pytest.approx(580.0, abs=1e-3)
    assert robust_plan(shared).hosted_kw == pytest.approx(610.0, abs=1e-3)


def test_rows_and_costs_of_what_waits_term_by_term():
    """Of any dispatch x: own use, demand that moves and the energy bill, against sums written here."""
    case, draw = small_case("waits", 0), np.random.default_rng(9)
    day = replace(case.days[0].at(np.zeros(4)), wholesale=np.array([0.1, -0.2, 0.3, 0.4]))
    y = random_capacities(case, draw)
    recourse = day_recourse(case, day, Watch(substation=False), np.zeros(case.dispatch_size), 1.0)
    book = row_book(case, day, Watch(substation=False))
    kind = np.concatenate([np.full(rows, name) for name, rows in book.kind])
    x = draw.uniform(0.0, 10.0, recourse.cost.size)
    x[case.dispatch_size :] = 0.0
    cu, ch, dis, _, up, dn, ev_off, ev_late, _, hp_off, hp_late, _ = x[: case.dispatch_size].reshape(12, 2, 4)
    room = recourse.G @ x - recourse.at(y)[0]
    sun, load = y[:2, None] * day.pv + y[2:4, None] * day.wind, day.load[2:]
    movable = case.flexible * (load - ASKED.sum(axis=0))
    for name, left in (
        ("use", sun - cu - ch - up - ev_late - hp_late),
        ("serve", load - dis - dn - ev_off - hp_off),
        ("up", movable - up),
        ("dn", movable - dn),
        ("hp_late", day.plugged[1] - ASKED[1] - hp_late),
    ):
        assert room[kind == name] == pytest.approx(left.ravel())
    bought = cu + ch - dis + up - dn + ev_late - ev_off + hp_late - hp_off
    cost = day.wholesale * bought + case.degradation * (ch + dis) + case.shift_cost / 2 * (up + dn)
    assert operating_cost(case, day) @ x[: case.dispatch_size] == pytest.approx(cost.sum())
    before = net_load(case, day, y, 0 * x)
    assert (net_load(case, day, y, x) - before)[2:] == pytest.approx(bought)
    assert before.sum() == pytest.approx(day.load.sum() - sun.sum())


def test_batteries_that_nobody_owns_have_no_part_in_efficiency_and_wear():
    """One site has 100 kWh, one 300, the others none: what their rows say is of no battery."""
    study = read_study(STUDY)
    sizes = [100.0, 300.0] + [0.0] * (len(study.prosumers) - 2)
    figures = {0: (0.96, 0.04), 1: (0.92, 0.08)}
    owners = tuple(
        replace(who, battery_kwh=kwh, eta=figures.get(k, (0.5, 9.0))[0], degradation=figures.get(k, (0.5, 9.0))[1])
        for k, (who, kwh) in enumerate(zip(study.prosumers, sizes, strict=True))
    )
    case = load_problem(replace(study, prosumers=owners), "der", "paper").case
    assert (case.eta, case.degradation) == pytest.approx((0.93, 0.07))
    same = load_problem(study, "der", "paper").case
    assert (same.eta, same.degradation) == (0.95, 0.0437), "where all are alike, that is it to the last digit"


def test_days_of_a_study_with_vehicles_are_whole():
    """Real days hold what is asked for; a season's chargers draw at once all that its day may ask for; limits are no
    tighter than the loads with nobody waiting."""
    problem = load_problem(ELECTRIFIED, "none", "smoke")
    data, case = problem.data, problem.case
    chosen = day_positions(data, True, 5)
    for k, day in zip(chosen, real_days(data, case, chosen, problem.preset), strict=True):
        assert np.array_equal(day.load, data.drawn[:, k]) and (data.drawn[:, k] > data.load[:, k]).any()
    for day, (_, months) in zip(case.days, season_groups(problem.preset), strict=True):
        design = np.isin(data.month, months) & data.odd_week
        least = data.plugged[:, :, design].mean(axis=2)
        most = day.asked + np.maximum(day.asked_shift, 0.0).sum(axis=0)
        assert np.allclose(day.plugged, np.maximum(least, most)) and (least > 2 * most).any()
    loads = (x[:, data.odd_week].reshape(case.feeder.bus.size, -1) for x in (data.drawn, data.reactive))
    lowest = np.sqrt(case.grid.squared_voltages(*loads).min(axis=1))
    assert (case.v_low[1:] <= lowest[1:]).all() and (lowest[1:] < case.feeder.v_min[1:]).any()


def test_vehicles_and_heat_pumps_enter_the_loads_of_a_study():
    """Loads of the electrified study if nobody waits, against the days of the market; what may wait is part of them."""
    study = read_study(ELECTRIFIED)
    data, chosen = year_data(study), np.array([3, 100, 200])
    days = make_days(study, chosen)
    site = [study.feeder.position(p.bus) for p in study.prosumers]
    market = days.passive_kw.copy()
    market[site] += days.demand_kw + days.deferrable_kw.sum(axis=1)
    assert data.kinds == ("ev", "hp")
    assert np.allclose(data.drawn[:, chosen], np.swapaxes(market, 1, 2), rtol=1e-12)
    for k in range(2):
        asked, plugged = (np.swapaxes(x[:, k], 1, 2) for x in (days.deferrable_kw, days.plugged_kw))
        assert np.array_equal(data.asked[k][:, chosen], asked) and asked.max() > 0
        assert np.array_equal(data.plugged[k][:, chosen], plugged)


def test_waiting_of_a_study_adds_to_what_it_hosts_and_bears_every_certificate():
    """ieee33-2045 at preset smoke: none, each site for itself with nobody waiting, waiting, and with P2P."""
    patient = read_study(ELECTRIFIED)
    hasty = read_study(ELECTRIFIED, {"vehicles.delay_h": 0, "heat_pumps.delay_h": 0})
    hosted = []
    for study, kind in ((patient, "none"), (hasty, "der"), (patient, "der"), (patient, "p2p")):
        problem = load_problem(study, kind, "smoke")
        assert problem.case.kinds == (() if kind == "none" else ("ev", "hp"))
        plan = make_plan(problem, "robust")
        check_plan(problem, Question("robust", kind, "smoke"), plan)
        assert stress_figures(problem, plan)["lindistflow_days_violated"] == 0
        hosted.append(plan.hosted_kw)
    assert np.all(np.diff(hosted) > 1.0)
    day, other = (load_problem(study, "der", "smoke").case.days[0] for study in (patient, hasty))
    assert np.array_equal(day.load, other.load)  # what is asked for does not hang on who waits
    changed = [{}, {"vehicles.delay_h": 0}, {"heat_pumps.delay_h": 0}]
    hashes = {load_problem(read_study(ELECTRIFIED, keys), "none", "smoke").inputs_hash for keys in changed}
    assert len(hashes) == len(changed)


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


@pytest.mark.parametrize("flexibility", ["none", "p2p", "waits"])
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


@pytest.mark.parametrize("flexibility", ["p2p", "waits"])
def test_primal_boxes_hold_every_optimal_dispatch(flexibility):
    case, draw = small_case(flexibility, 2), np.random.default_rng(5)
    recourse = two_stage(case, EVERYTHING).recourse[0]
    for program, h0, H in programs(case, recourse, draw, 5):
        for u in recourse.uncertainty.vertices():
            x = program.solve(u).x
            slack = recourse.G @ x - (h0 - H @ u)
            assert (x < recourse.upper).all() and (slack <= recourse.slack_upper).all()


@pytest.mark.parametrize("flexibility", ["none", "der", "p2p", "waits"])
def test_sweep_of_the_vertices_agrees_with_a_program_at_each(flexibility):
    """With every row watched, the sweep's worst case costs what the dearest vertex costs, dispatches taken over or
    not."""
    case, draw = small_case(flexibility, 2), np.random.default_rng(3)
    recourse, served = two_stage(case, EVERYTHING).recourse[0], 0
    for y in [robust_plan(case).y, *(random_capacities(case, draw) for _ in range(4))]:
        sweep = VertexSweep(case, patience=1000, enough=1000)
        swept, listed = sweep(recourse, y), MODES["enumerate"](recourse, y)
        assert swept.value == pytest.approx(listed.value, rel=1e-9, abs=1e-6)
        if listed.value < 1e-9:
            served += 1
            assert sweep.certificate()["vertices_checked"] == recourse.uncertainty.vertex_bound
            assert sweep.certificate()["programs_solved"] < recourse.uncertainty.vertex_bound
    assert served, "the robust plan at least serves every vertex"


def test_a_plan_is_swept_on_rows_that_it_did_not_watch():
    """Dispatches that cost the same may break a row that no plan's list names: the list grows until none does."""
    case = small_case("p2p", 2)
    plan = robust_plan(case)
    blind = replace(plan, watch=Watch(substation=False))
    reached, figures = swept(case, blind)
    assert reached == pytest.approx(plan.hosted_kw) and figures["vertices_unserved"] == 0
    assert not blind.watch.line
    more = swept(case, replace(blind, pv_kw=1.02 * plan.pv_kw))[1]
    assert more["worst_priced_violation"] > 1.0


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
    with pytest.raises(InfeasibleError, match="no first-stage decision is feasible"):
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
