"""How much every certificate lets through: a few times its tolerance is refused by name, a part of it passes.

The figures are written out here, and not taken from the package: a tolerance that is raised there fails here.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_judged import judged_on
from test_pessimistic import DESIGN, indifferent
from toy import small_market

from tritier.cases import certificate, store
from tritier.cases.cases import CASES
from tritier.cases.certificate import (
    COSTLY,
    DesignProof,
    Equilibrium,
    FollowerResiduals,
    check_answers,
    check_arrays,
    check_equilibrium,
    check_follower,
    check_judged,
    check_resold,
    check_social_cost,
    follower_residuals,
    other_answers,
    recheck,
    recomputed,
    stored_lp,
)
from tritier.cases.decisions import decisions_of, point_of
from tritier.cases.judged import check_days
from tritier.cases.recourse import Recourse
from tritier.cases.result import check_figures
from tritier.errors import CertificateError
from tritier.hosting.run import check_limits, require_close
from tritier.inputs.instance import Design
from tritier.reformulation import solve
from tritier.reformulation.joint import JointLP
from tritier.search.check import check_row
from tritier.search.cuts import Request, solve_request
from tritier.search.menu import Coordinates, Ledger
from tritier.search.references import check_reference, find_references
from tritier.search.responses import optimistic_response

LIMITED = Design((0.02, 0.08, 0.14), 0.02, ((1, 200.0),))
WITHOUT_REVENUE = replace(CASES[4], optimised=False)


def refused(name: str, fails: bool, error: type[Exception] = CertificateError):
    """The context in which a check fails by name, or passes."""
    return pytest.raises(error, match=name) if fails else nullcontext()


@pytest.fixture(scope="module")
def market():
    """(instance, joint LP, decisions) of three prosumers behind a head limit that binds."""
    instance = small_market(n=3, hours=6, scenarios=4, seed=3, chance_level=0.3, alpha=0.6, billing="scenario")
    joint = JointLP(instance)
    return instance, joint, decisions_of(joint, optimistic_response(joint, LIMITED, revenue=False))


@pytest.fixture(scope="module")
def lp(market):
    instance, _, decisions = market
    return stored_lp(instance, decisions, True, True)


@pytest.fixture(scope="module")
def days(market):
    """Judged days of that market, their decisions and what the check of them finds."""
    instance, _, decisions = market
    day = Recourse(judged_on(instance)).judge(decisions, "market policy")
    return day, decisions, check_days(day, decisions)


# The follower and the equilibrium


@pytest.mark.parametrize(
    ("field", "tolerance"),
    [("primal", 1e-6), ("dual", 1e-6), ("complementarity", 1e-7), ("duality_gap", 1e-9), ("slack", 1e-6)],
)
@pytest.mark.parametrize("times", [0.1, 3.0])
def test_residuals_of_the_follower(field, tolerance, times):
    residuals = FollowerResiduals(0.0, 0.0, 0.0, 0.0, 0.0)
    with refused(rf"^certificate follower\.{field} failed", times > 1):
        check_follower(replace(residuals, **{field: times * tolerance}))


@pytest.mark.parametrize("gain", [1e-10, -1e-10, 3e-9, -3e-9])
def test_gains_of_prosumers_and_platform(gain):
    sound = Equilibrium(np.zeros(2), np.zeros(2), 0.0, 1000.0)
    with refused(r"^certificate equilibrium\.max_relative_gain failed.*Bob", abs(gain) > 1e-9):
        check_equilibrium(replace(sound, relative_gain=np.array([0.0, gain])), ("Ann", "Bob"))
    with refused(r"^certificate equilibrium\.platform_gain failed", abs(gain) > 1e-9):
        check_equilibrium(replace(sound, platform_gain=1000.0 * gain), ("Ann", "Bob"))


@pytest.mark.parametrize("kw", [1e-7, 3e-6])
def test_a_stored_purchase_that_misses_the_balance(kw, market, lp):
    _, _, decisions = market
    served = decisions["served"].copy()
    served[0, 0, 0] += kw
    found = follower_residuals(lp, replace(decisions, arrays=decisions.arrays | {"served": served}))
    assert found.primal == pytest.approx(kw, rel=0.01)
    with refused(r"^certificate follower\.primal failed", kw > 1e-6):
        check_follower(replace(found, duality_gap=0.0, complementarity=0.0))


def test_every_array_that_others_imply(market, lp, monkeypatch):
    """Off by three millionths and a tenth of a millionth of its largest entry, one after another."""
    _, _, decisions = market
    found = recomputed(lp, decisions)
    monkeypatch.setattr(certificate, "recomputed", lambda *_: found)
    moved = [name for name, value in found.items() if np.abs(value).max(initial=0) > 1e-3]
    assert {"P", "v", "lambda", "pi", "mu", "eta", "theta", "soc", "var", "excess", "G", "Z", "cap", "tau"} <= {*moved}
    for name in moved:
        for share in (1e-7, 3e-6):
            off = share * np.abs(found[name]).max()
            changed = replace(decisions, arrays=decisions.arrays | {name: found[name] + off})
            with refused(rf"^certificate decisions\.{name} failed", share > 1e-6):
                check_arrays(lp, changed)


@pytest.mark.parametrize("kw", [1e-7, 3e-6])
def test_volume_in_a_circle(kw, market):
    _, _, decisions = market
    least = {name: decisions[name] - np.minimum(decisions["zb"], decisions["zs"]) for name in ("zb", "zs")}
    changed = {name: value.copy() for name, value in least.items()}
    for value in changed.values():
        value[0, 0] += kw
    check_resold(replace(decisions, arrays=decisions.arrays | least))
    with refused(r"^certificate decisions\.resold_kw failed", kw > 1e-6):
        check_resold(replace(decisions, arrays=decisions.arrays | changed))


@pytest.mark.parametrize("dollars", [1e-3, -1e-3, 0.03, -0.03])
def test_a_social_cost_off_the_least_among_equals(dollars, market, lp):
    """One prosumer's import in one hour, which moves social cost by that much."""
    _, _, decisions = market
    at, gp = lp.lp.at("F"), decisions["gp"]

    def moved(kw):
        arrays = decisions.arrays | {"gp": gp + kw * (np.arange(gp.size).reshape(gp.shape) == 0)}
        return replace(decisions, arrays=arrays)

    slope = float(point_of(lp, moved(1e-3))[at] - point_of(lp, decisions)[at]) / 1e-3
    with refused(r"^certificate follower\.social_cost_usd failed", abs(dollars) > 0.01):
        check_social_cost(WITHOUT_REVENUE, lp, moved(dollars / slope))


# What is asked of a whole result, in the order in which it is asked


FIGURES = {  # by certificate: the function whose figure it is, and the tolerance
    "network.worst_cvar_kw": ("worst_violation", 1e-5, 1.0),
    "revenue.shortfall_usd": ("revenue_slack", 1e-4, -1.0),
    "money.imbalance_usd": ("cleared_imbalance", 1e-6, 1.0),  # of the follower's cost
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("times", [0.1, 3.0])
def test_figures_of_a_whole_result(name, times, market, days, monkeypatch):
    instance, _, decisions = market
    figure, tolerance, sign = FIGURES[name]
    monkeypatch.setattr(certificate, "revenue_slack", lambda *_: 0.0)  # nothing is to be recovered here
    size = abs(float(decisions["theta"])) if name.startswith("money") else 1.0
    monkeypatch.setattr(certificate, figure, lambda *_: sign * times * tolerance * size)
    monkeypatch.setattr(certificate, "check_design", lambda *_: None)
    monkeypatch.setattr(certificate, "check_judged", lambda *_: None)
    with refused(f"^certificate {name} failed", times > 1):
        recheck(WITHOUT_REVENUE, instance, decisions, days[0], None)


@pytest.mark.parametrize("dollars", [1e-5, -1e-5, 3e-4, -3e-4])
def test_an_upper_bound_and_a_fixed_charge_off_what_is_stored(dollars, market, days, monkeypatch):
    instance, _, decisions = market
    monkeypatch.setattr(certificate, "check_design", lambda *_: None)
    monkeypatch.setattr(certificate, "check_judged", lambda *_: None)
    monkeypatch.setattr(certificate, "revenue_slack", lambda *_: 0.0)
    monkeypatch.setattr(certificate, "check_social_cost", lambda *_: 50.0)
    bounds = DesignProof(49.0, 50.0 + dollars, 60.0, 40.0, 1, 1, "closed")
    with refused(r"^certificate design\.upper_bound failed", abs(dollars) > 1e-4):
        recheck(WITHOUT_REVENUE, instance, decisions, days[0], bounds)
    monkeypatch.setattr(certificate, "fixed_charge", lambda *_: float(decisions.fixed.sum()) + dollars)
    charging = replace(instance, rules=replace(instance.rules, fixed_share=0.2))
    with refused(r"^certificate revenue\.fixed_charge_usd failed", abs(dollars) > 1e-4):
        recheck(WITHOUT_REVENUE, charging, decisions, days[0], None)


# Judged days


@pytest.mark.parametrize(
    ("field", "name", "tolerance"),
    [
        ("primal", "days.primal", 1e-6),
        ("gain", "days.gain", 1e-9),
        ("gain", "days.gain", -1e-9),
        ("society", "days.society_usd", 0.01),
        ("society", "days.society_usd", -0.01),
        ("bought", "days.bought_kwh", 1e-6),
        ("prices", "days.prices", 1e-6),
    ],
)
@pytest.mark.parametrize("times", [0.1, 3.0])
def test_figures_of_judged_days(field, name, tolerance, times, days, monkeypatch):
    day, decisions, found = days
    sound = replace(found, primal=0.0, gain=0.0, society=0.0, bought=0.0, prices=0.0)
    monkeypatch.setattr(certificate, "check_days", lambda *_: replace(sound, **{field: times * tolerance}))
    with refused(rf"^certificate {name} failed", times > 1):
        check_judged(day, decisions)


@pytest.mark.parametrize("share", [1e-7, 3e-6])
def test_rent_off_what_limits_are_worth(share, days, monkeypatch):
    day, decisions, found = days
    books = certificate.settlement_of(day, decisions)
    rent = books.rent_received + share * max(1.0, np.abs(books.rent).max())
    monkeypatch.setattr(certificate, "check_days", lambda *_: replace(found, rent=rent))
    with refused(r"^certificate days\.rent failed", share > 1e-6):
        check_judged(day, decisions)


@pytest.mark.parametrize("kwh", [1e-7, 3e-6])
def test_a_violation_on_record_off_what_flows_give(kwh, days):
    day, decisions, _ = days
    bought = day.bought.copy()
    bought[0] += kwh
    with refused(r"^certificate days\.bought_kwh failed", kwh > 1e-6):
        check_judged(replace(day, bought=bought), decisions)


# Other answers, files and rows


@pytest.mark.parametrize("dollars", [1e-5, 3e-4])
def test_a_costly_answer_that_is_not_the_costliest(dollars):
    """By hand the linear part of social cost lies between 2 and 3 (test_pessimistic): a mixture loses its share."""
    joint = indifferent((0.05, 0.15))
    decisions = decisions_of(joint, optimistic_response(joint, DESIGN))
    lp = stored_lp(joint.instance, decisions, True, True)
    answers = other_answers(lp, decisions)
    mix = {k: v + dollars * (decisions[k] - v) for k, v in answers[COSTLY].items()}
    with refused(r"^certificate range\.costly\.linear_usd failed", dollars > 1e-4):
        check_answers(lp, decisions, answers | {COSTLY: mix})


@pytest.mark.parametrize("share", [1e-7, -1e-7, 3e-6, -3e-6])
def test_a_stored_figure_against_the_one_found_again(share):
    """Relative, but to one dollar at least, and to a hundredth of a share."""
    for name, value, size in (("peak_kw", 250.0, 250.0), ("losses_kwh", 0.1, 1.0), ("refund_share", 0.001, 0.01)):
        with refused(rf"^certificate summary\.{name} failed", abs(share) > 1e-6):
            check_figures(Path("summary.json"), "summary", {name: value + share * size}, {name: value})


@pytest.mark.parametrize("dollars", [1e-3, -1e-3, 0.03, -0.03])
@pytest.mark.parametrize("name", ["lower_bound", "upper_bound"])
def test_a_trace_that_ends_beside_the_bounds(name, dollars):
    bounds = DesignProof(49.0, 50.0, 60.0, 40.0, 1, 7, "closed")
    trace = pd.DataFrame([{"seconds": 1.0, "lp_solves": 7, "lower_bound": 49.0, "upper_bound": 50.0}])
    trace[name] += dollars
    with refused(rf"^certificate trace\.{name} failed", abs(dollars) > 0.01):
        store.check_trace(trace, bounds)


@pytest.fixture(scope="module")
def references():
    """(joint LP, flat tariff, first best) of a small market."""
    joint = JointLP(replace(small_market(seed=1, tie_break=1e-3, demand_charge=0.1), fixed_cost=20.0))
    return joint, *find_references(joint)


@pytest.mark.parametrize(
    ("field", "tolerance", "said"),
    [
        ("dual", 0.01, "a bound of .* is stored"),
        ("need", -1e-6, "limits of .* are said to be enough"),
        ("social_cost", 1e-3, "social_cost .* is stored"),
        ("social_cost", -1e-3, "social_cost .* is stored"),
        ("recovered", 1e-3, "recovered .* is stored"),
        ("recovered", -1e-3, "recovered .* is stored"),
    ],
)
@pytest.mark.parametrize("times", [0.1, 3.0])
def test_what_a_row_says_beyond_its_basis(field, tolerance, said, times, references):
    joint = references[0]
    row = check_row(joint, solve_request(joint, Request("answer", replace(LIMITED, capacity=((1, 250.0),)))))
    per_dollar = row.request.epsilon if field == "dual" else 1.0  # what an answer proves divides by its weight on F
    changed = replace(row, **{field: getattr(row, field) + times * tolerance * per_dollar})
    with refused(f"^{said}", times > 1, ValueError):
        check_row(joint, changed)


@pytest.mark.parametrize("times", [0.1, 3.0])
def test_a_reference_off_what_its_rows_prove(times, references):
    """The flat tariff above its point, the first best below what the cheapest mixture of its points reaches."""
    joint, flat, ideal = references
    for name, reference, figure, off in (
        ("flat", flat, "above_its_point", 1e-3),
        ("first_best", ideal, "not_reached", -1e-3),
    ):
        changed = replace(reference, social_cost=reference.social_cost + times * off)
        with refused(rf"^certificate design\.{name}\.{figure} failed", times > 1):
            check_reference(joint, name, changed)


@pytest.mark.parametrize("dollars", [1e-4, 3e-3])
def test_a_social_cost_below_what_rows_prove_of_it(dollars, references):
    joint, flat, _ = references
    menu = Coordinates.of(joint.instance.menu, [flat.design])
    ledger = Ledger(menu, joint.instance.least_revenue, flat.pool.rows)
    point = menu.point(flat.design)
    with refused(r"^certificate design\.below_its_bound failed", dollars > 1e-3):
        ledger.require_not_below(ledger.bound_at(point) - dollars, point)


# Bilevel programs and hosting capacity


@pytest.mark.parametrize("times", [0.1, 3.0])
def test_residuals_and_claims_of_a_bilevel_program(times, monkeypatch):
    """F of the pattern is 100, and the mode may claim a millionth of that more or less."""
    kkt = SimpleNamespace(problem=SimpleNamespace(name="one", leader_cost=lambda x, y: 100.0))
    point, task = SimpleNamespace(x=None, y=None), SimpleNamespace(kkt=kkt, gap=0.0)
    monkeypatch.setattr(solve, "_residuals", lambda *_: {"primal": 0.0, "stationarity": times * 1e-6})
    with refused(r"^certificate bilevel\.stationarity failed", times > 1):
        solve._require_small_residuals(kkt, "sos1", point)
    for sign in (1, -1):
        with refused(r"^certificate bilevel\.objective failed", times > 1):
            claim = SimpleNamespace(objective=100.0 + sign * times * 1e-4)
            assert not solve._far_from_claim(task, "sos1", claim, point)


@pytest.mark.parametrize("times", [0.1, 3.0])
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("worst_overload_kw", 1e-3),
        ("worst_voltage_excess_pu", 1e-6),
        ("worst_priced_violation", 5e-3),
        ("vertices_unserved", 0.5),
    ],
)
def test_limits_that_a_hosting_plan_keeps(name, most, times):
    """A violation is priced at 50; of vertices none is left without a dispatch."""
    problem = SimpleNamespace(case=SimpleNamespace(penalty=50.0))
    sound = dict.fromkeys(
        ("worst_overload_kw", "worst_voltage_excess_pu", "worst_priced_violation", "vertices_unserved"), 0
    )
    figure = int(times * most + 0.5) if name == "vertices_unserved" else times * most
    with refused(rf"^certificate hosting\.{name} failed", times > 1):
        check_limits(problem, sound | {name: figure}, None)


@pytest.mark.parametrize("share", [1e-7, -1e-7, 3e-6, -3e-6])
def test_a_figure_of_a_hosting_plan_against_the_one_found_again(share):
    for size in (1.0, 4000.0):
        with refused(r"^certificate hosting\.capacity failed", abs(share) > 1e-6):
            require_close("hosting.capacity", size * (1 + share), size)
