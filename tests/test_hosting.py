"""Hosting capacity: a case solved by hand, C&CG against all vertices, monotonicity, stress set, files, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tritier.adversary import MODES
from tritier.errors import InputError
from tritier.hosting_case import DayModel, HostingCase, trading_groups, with_budget
from tritier.hosting_check import dispatch, judge, stress_days
from tritier.hosting_inputs import annuity, factor_size
from tritier.hosting_limits import Watch
from tritier.hosting_model import deterministic, first_stage, robust_plan, stochastic_plan, two_stage
from tritier.hosting_run import Question, run
from tritier.hosting_settings import read_hosting_settings
from tritier.instance import Feeder
from tritier.network import lindistflow
from tritier.robust import certify_robust, column_and_constraint_generation, enumeration_optimum
from tritier.uncertainty import budget_set

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
        (day,),
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
    best = enumeration_optimum(problem)[1]
    modes = {1: ["enumerate", "binary"], 1.5: ["enumerate"], 2: ["enumerate", "binary"]}[budget]
    if (flexibility, budget) == ("none", 1.5):
        modes = ["enumerate", "sos1", "bigm"]
    for mode in modes:
        solution = column_and_constraint_generation(problem, MODES[mode], start=[(0, np.zeros(4))])
        assert solution.upper_bound == pytest.approx(best, rel=1e-6)
        assert certify_robust(problem, solution)["every_vertex_checked"]
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


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("hosting")
    return {
        (model, flexibility): (run(STUDY, Question(model, flexibility, "smoke"), out / f"{model}-{flexibility}"), out)
        for model, flexibility in [
            ("robust", "none"),
            ("robust", "p2p"),
            ("deterministic", "p2p"),
            ("stochastic", "none"),
        ]
    }


def test_files_of_a_run(results):
    summary, out = results["robust", "p2p"]
    folder = out / "robust-p2p"
    names = {"summary.json", "decisions.npz", "trace.csv", "certificate.json", "provenance.json"}
    assert {path.name for path in folder.iterdir()} == names
    stored = json.loads((folder / "summary.json").read_text())
    assert stored["hosted_kw"] == pytest.approx(summary["hosted_kw"])
    decisions = np.load(folder / "decisions.npz")
    assert decisions["pv_kw"].sum() + decisions["wind_kw"].sum() == pytest.approx(summary["hosted_kw"], rel=1e-9)
    trace = pd.read_csv(folder / "trace.csv")
    assert (trace.lower_bound <= trace.upper_bound + 1e-3).all()
    assert trace.lower_bound.iloc[-1] == pytest.approx(trace.upper_bound.iloc[-1], rel=1e-6)
    assert (np.diff(trace.upper_bound) <= 1e-3).all()


def test_ieee33_findings_that_must_hold(results):
    robust, forecast = results["robust", "p2p"][0], results["deterministic", "p2p"][0]
    assert robust["stress"]["lindistflow_days_violated"] == 0
    assert forecast["stress"]["lindistflow_days_violated"] > 0
    assert forecast["hosted_kw"] > robust["hosted_kw"] > results["robust", "none"][0]["hosted_kw"]
    assert robust["stress"]["ac_overvoltage_share"] == 0  # LinDistFlow never reads a voltage too low
    assert 0 < results["stochastic", "none"][0]["hosted_kw"] < forecast["hosted_kw"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("robust", "solar", "smoke"), "--flexibility"),
        (("perfect", "none", "smoke"), "--model"),
        (("robust", "none", "huge"), "--preset"),
    ],
)
def test_unknown_words_are_named(arguments, field, tmp_path):
    with pytest.raises(InputError, match=field):
        run(STUDY, Question(*arguments), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("curtail_share: 2", "curtail_share"),
        ("roof: 1", "roof"),
        ("pv_potential: -1", "pv_potential"),
        ("- 1", "file"),
        ("penalty: yes", "penalty"),
        ("a: [", "file"),
        ("envelope: .nan", "envelope"),
    ],
)
def test_bad_hosting_yaml_is_one_line(text, field, tmp_path):
    (tmp_path / "hosting.yaml").write_text(text)
    with pytest.raises(InputError, match=field) as caught:
        read_hosting_settings(tmp_path)
    assert "\n" not in str(caught.value)
