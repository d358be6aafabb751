"""Certificates that can fail: every check from both sides, on false results built here."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from toy import small_market

from tritier.cases import certificate
from tritier.cases.cases import CASES
from tritier.cases.certificate import (
    DUALITY,
    GAIN,
    Equilibrium,
    FollowerResiduals,
    check_arrays,
    check_equilibrium,
    check_follower,
    check_resold,
    check_social_cost,
    cleared_imbalance,
    equilibrium,
    follower_residuals,
    stored_lp,
)
from tritier.cases.decisions import decisions_of
from tritier.errors import CertificateError, SolverError
from tritier.inputs.instance import Design
from tritier.reformulation.joint import JointLP
from tritier.search import references, responses
from tritier.search.check import check_pool
from tritier.search.cuts import Request, solve_request
from tritier.search.flat import STEP, check_flat, flat_design, flat_tariff, unrecovered
from tritier.search.pool import Pool, items_of
from tritier.search.references import SCAN
from tritier.search.responses import optimistic_response

DESIGN = Design((0.02, 0.08, 0.14), 0.02, ((1, 200.0),))
FLAT = Design((0.08,) * 3, 0.02, ((1, 1000.0),))
WITHOUT_REVENUE = replace(CASES[4], optimised=False)


@pytest.mark.parametrize("gain", [1e-8, -1e-8, -1.0, np.nan])
def test_gains_are_refused_on_both_sides(gain):
    sound = Equilibrium(np.zeros(2), np.array([0.0, GAIN / 2]), -GAIN / 2, 1.0)
    check_equilibrium(sound, ("Ann", "Bob"))
    with pytest.raises(CertificateError, match="Bob"):
        check_equilibrium(replace(sound, relative_gain=np.array([0.0, gain])), ("Ann", "Bob"))
    with pytest.raises(CertificateError, match="platform"):
        check_equilibrium(replace(sound, platform_gain=gain), ("Ann", "Bob"))


@pytest.mark.parametrize("gap", [1e-8, -1e-8, -1.0, np.nan])
def test_a_duality_gap_is_refused_on_both_sides(gap):
    sound = FollowerResiduals(0.0, 0.0, 0.0, DUALITY / 2, 0.0)
    check_follower(sound)
    with pytest.raises(CertificateError, match="duality_gap"):
        check_follower(replace(sound, duality_gap=gap))


@pytest.fixture(scope="module", params=["expected", "scenario"])
def cleared(request):
    """(instance, joint LP, response, decisions) of a congested market with a demand charge."""
    changes = {"chance_level": 0.3, "demand_charge": 0.8, "billing": request.param}
    instance = small_market(n=3, hours=6, scenarios=4, seed=3, **changes)
    joint = JointLP(instance)
    response = optimistic_response(joint, DESIGN, revenue=False)
    return instance, joint, response, decisions_of(joint, response)


def test_a_social_cost_below_its_own_bound_is_refused(cleared, monkeypatch):
    instance, joint, _, _ = cleared
    exact = responses.social_cost

    def cheaper(lp, x):
        found = exact(lp, x)
        return replace(found, other=found.other - 1.0)

    monkeypatch.setattr(responses, "social_cost", cheaper)
    with pytest.raises(SolverError, match="below its own bound"):
        optimistic_response(JointLP(instance, lp=joint.bare), DESIGN, revenue=False)


def test_a_first_best_below_its_own_bound_is_refused(cleared, monkeypatch):
    instance, joint, _, _ = cleared
    solve = references.solve_request
    monkeypatch.setattr(references, "solve_request", lambda *a: replace(solve(*a), social_cost=-1e6))
    lp = JointLP(instance, lp=joint.bare)
    with pytest.raises(SolverError, match="below its own bound"):
        references.closed(lp, Request("least", flat_design(lp, 0.0)))


def sacrificed(joint: JointLP, response, share: float):
    """The response moved towards one that costs the follower more and society less, until the follower has given up a
    share of its cost; its multipliers stay."""
    joint.set_design(response.design)
    other = joint.solve(joint.cost(response.design, f=1e-3)).x
    own = np.append(response.x, np.zeros(other.size - response.x.size))
    give = float(joint.cost(response.design) @ (other - own))
    return replace(response, x=own + min(1.0, share * abs(response.theta) / give) * (other - own))


@pytest.mark.parametrize("billing", ["expected", "scenario"])
def test_a_response_that_is_none_is_refused_where_social_cost_falls(billing):
    """A millionth of the follower's cost was let through once; where a tie-break times batteries it buys society cents
    in a market of three prosumers, and dozens of dollars in a large one."""
    instance = small_market(n=3, hours=6, scenarios=4, seed=3, demand_charge=0.8, billing=billing)
    joint = JointLP(instance)
    response = optimistic_response(joint, FLAT, revenue=False)
    sound = decisions_of(joint, response)
    lp = stored_lp(instance, sound, True, True)
    check_follower(follower_residuals(lp, sound))
    check_equilibrium(equilibrium(instance, sound, lp, True), [p.name for p in instance.prosumers])
    assert check_social_cost(WITHOUT_REVENUE, lp, sound) == pytest.approx(response.social.total, abs=1e-6)
    forged = decisions_of(joint, sacrificed(joint, response, 5e-7))
    wrong = stored_lp(instance, forged, True, True)
    residuals = follower_residuals(wrong, forged)
    assert residuals.primal < 1e-6 and DUALITY < residuals.duality_gap < 1e-6, "what the first edition asked for"
    with pytest.raises(CertificateError, match=r"follower\.complementarity failed"):
        check_follower(residuals)
    with pytest.raises(CertificateError, match=r"duality_gap"):
        check_follower(replace(residuals, complementarity=0.0))
    with pytest.raises(CertificateError, match="social_cost"):
        check_social_cost(WITHOUT_REVENUE, wrong, forged)


def test_volume_that_goes_in_a_circle_is_refused():
    """Where P2P trade is not charged, a prosumer that sells what it buys pays nothing for it: all else stands as before
    with any volume on record."""
    instance = small_market(n=3, hours=6, scenarios=4, seed=3, demand_charge=0.8)
    joint = JointLP(instance)
    response = optimistic_response(joint, replace(FLAT, p2p=0.0), revenue=False)
    sound = decisions_of(joint, response)
    check_resold(sound)
    x = response.x.copy()
    for term in ("zb", "zs"):
        x[joint.columns[0][term]] += 50.0
    forged = decisions_of(joint, replace(response, x=x, billed=joint.billed(x)))
    assert forged["Z"] == pytest.approx(sound["Z"] + 50.0 * 6)
    lp = stored_lp(instance, forged, True, True)
    check_arrays(lp, forged)
    check_follower(follower_residuals(lp, forged))
    check_equilibrium(equilibrium(instance, forged, lp, True), [p.name for p in instance.prosumers])
    assert check_social_cost(WITHOUT_REVENUE, lp, forged) == pytest.approx(response.social.total, abs=1e-6)
    with pytest.raises(CertificateError, match="resold"):
        check_resold(forged)


def test_rounding_of_a_multiplier_that_points_to_no_side_is_a_dual_residual(cleared, monkeypatch):
    """Times the slack to a side at infinity it would be infinite, however small."""
    instance, _, _, sound = cleared
    lp = stored_lp(instance, sound, True, True)
    y, wrong = certificate.duals_of(lp, sound), np.flatnonzero(np.isinf(lp.warm.current().row_lower))
    for size, refused in ((1e-12, None), (1e-3, r"follower\.dual failed")):
        changed = y.copy()
        changed[wrong[0]] = size
        monkeypatch.setattr(certificate, "duals_of", lambda *_, changed=changed: changed)
        residuals = follower_residuals(lp, sound)
        assert np.isfinite(residuals.complementarity) and residuals.dual >= size
        if refused is None:
            check_follower(residuals)
        else:
            with pytest.raises(CertificateError, match=refused):
                check_follower(residuals)


def test_money_of_the_clearing_follows_prices_and_dispatch(cleared):
    """What limits are worth by their multipliers is what the platform is left with; other prices leave a remainder."""
    instance, _, _, sound = cleared
    lp = stored_lp(instance, sound, True, True)
    assert cleared_imbalance(lp, sound) < 1e-7 and np.abs(sound["pi"]).max() > 1e-3
    other = np.random.default_rng(1).uniform(0, 50, sound["gp"].shape)
    for false in (
        {"pi": sound["pi"] * 1.01},
        {"gp": other},
        {"nu": 1.01 * sound["nu"]},
        {"cost": sound["cost"] * 1.01},
    ):
        changed = replace(sound, arrays=sound.arrays | false)
        assert cleared_imbalance(lp, changed) > 1e-2, list(false)


def test_a_best_reply_without_an_optimum_is_an_error_of_the_solver():
    """Without a bound, or without a point, there is no figure to compare with; it ended in a TypeError."""
    x = cp.Variable()
    for objective, rows in ((x, []), (x, [x >= 1, x <= 0])):
        with pytest.raises(SolverError, match=r"the best reply of Ann was not found: (unbounded|infeasible)"):
            certificate.least(objective, rows, "Ann")
    assert certificate.least(x, [x >= 2], "Ann") == pytest.approx(2.0, abs=1e-9)


def test_a_flat_tariff_that_is_not_the_smallest_root_is_refused():
    instance = replace(small_market(n=3, hours=6, scenarios=4, seed=3, billing="scenario"), fixed_cost=40.0)
    joint = JointLP(instance, network=False)
    root = flat_tariff(joint).design
    check_flat(joint, root)
    check_flat(joint, flat_design(joint, root.tariff[0] + 3e-7))  # the root is known to a millionth
    for wrong in (flat_design(joint, root.tariff[0] + more) for more in (3e-6, 0.001, 0.1)):
        with pytest.raises(CertificateError, match="recovers the cost too"):
            check_flat(joint, wrong)
    with pytest.raises(CertificateError, match="does not recover the cost"):
        check_flat(joint, flat_design(joint, root.tariff[0] - 1e-4))
    with pytest.raises(CertificateError, match="not the same charge"):
        check_flat(joint, replace(root, p2p=0.0))


def test_rows_of_the_scan_rule_out_smaller_flat_tariffs_and_none_that_recovers():
    """The search keeps them, so that certifying solves nothing at tariffs that lie far below the root."""
    instance = replace(small_market(n=3, hours=6, scenarios=4, seed=3, billing="scenario"), fixed_cost=40.0)
    joint, scan = JointLP(instance, network=False), []
    root = flat_tariff(joint, scan=scan).design
    below = {k * STEP for k in range(1, int(root.p2p / STEP) + 1)}
    again = check_pool(JointLP(instance, network=False), Pool(items_of(joint), scan), SCAN)
    assert len(below) > 3 and below <= unrecovered(joint, again)
    solves = joint.warm.solves
    check_flat(joint, root, below)
    assert joint.warm.solves - solves <= 4  # at the root and a millionth below it alone
    recovers = solve_request(joint, Request("shortfall", flat_design(joint, root.p2p + 0.01)))
    other = solve_request(joint, Request("answer", flat_design(joint, STEP)))
    tilted = solve_request(joint, Request("shortfall", replace(flat_design(joint, STEP), p2p=2 * STEP)))
    assert not unrecovered(joint, [recovers, other, tilted])
    false = replace(recovers, dual=recovers.dual + 1.0)
    assert unrecovered(joint, [false]) == {recovers.request.design.p2p}
    with pytest.raises(CertificateError, match=r"design.rows.scan\[0\].*is proved"):
        check_pool(JointLP(instance, network=False), Pool(items_of(joint), [false]), SCAN)
    with pytest.raises(CertificateError, match="recovers the cost too"):
        check_flat(joint, flat_design(joint, root.p2p + 0.1), unrecovered(joint, again))


def test_a_prosumer_who_pays_nothing_is_in_equilibrium_and_not_when_it_deviates():
    """Its gain of nothing beside a cost of nothing was no number, and the market was refused; made to import a kilowatt
    that it has no use for and to send it on, it gains all that it pays by not doing so."""
    base, names = (
        small_market(n=3, hours=6, scenarios=3),
        [p.name for p in small_market(n=3, hours=6, scenarios=3).prosumers],
    )
    demand, sun = base.days.demand_kw.copy(), base.days.renewable_kw.copy()
    demand[1] = sun[1] = 0.0
    idle = tuple(replace(p, battery_kwh=0.0, battery_kw=0.0) if k == 1 else p for k, p in enumerate(base.prosumers))
    instance = replace(base, prosumers=idle, days=replace(base.days, demand_kw=demand, renewable_kw=sun))
    lp = JointLP(instance)
    sound = decisions_of(lp, optimistic_response(lp, Design((0.02, 0.08, 0.14), 0.02, ((1, 1000.0),)), revenue=False))
    found = equilibrium(instance, sound, lp, True)
    assert found.relative_gain.tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)
    check_equilibrium(found, names)
    arrays = {name: np.array(value) for name, value in sound.arrays.items()}
    arrays["gp"][1, 2] += 1.0
    arrays["gm"][1, 2] += 1.0
    arrays["cost"][1] += instance.retail[2] + 0.08 - instance.feed_in[2]
    arrays["var"][1] = arrays["cost"][1].max()
    wrong = equilibrium(instance, replace(sound, arrays=arrays), lp, True)
    assert wrong.prosumer_gain[1] > 0.1 and wrong.relative_gain[1] == pytest.approx(1.0)
    with pytest.raises(CertificateError, match=names[1]):
        check_equilibrium(wrong, names)
