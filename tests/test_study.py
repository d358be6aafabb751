"""Cases from folder to certificate through the command line; the flat tariff, its anchor and the calibration."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_study import replace_text, write_study
from solved_small import CONGESTED, congested_study, solve, words

from tritier.cases.cases import CASES, judging_instance
from tritier.cases.certificate import DesignProof
from tritier.cases.outcome import linear_losses
from tritier.cases.result import read_result
from tritier.cases.solve import CLOSE, anchored_baseline, baseline, prepare, targets
from tritier.cli import main
from tritier.errors import InputError
from tritier.inputs.instance import Design
from tritier.inputs.scenarios import design_days
from tritier.reformulation.joint import JointLP
from tritier.search.flat import flat_design, flat_tariff
from tritier.search.menu import Coordinates
from tritier.search.responses import LOSS_GAP, optimistic_response, social_cost

pytestmark = pytest.mark.usefixtures("prepared_once")

ROOT = Path(__file__).parents[1]
IEEE33 = ROOT / "data" / "studies" / "ieee33"
FEW = {"n_prosumers": 4, "n_scenarios": 3}  # the other ten buses are passive load


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Cases 0-3 on the IEEE 33-bus feeder with four prosumers, Case 4 on the congested small study."""
    home = tmp_path_factory.mktemp("cases")
    found = {number: solve(IEEE33, number, home / f"case{number}", FEW) for number in range(4)}
    found[4] = solve(congested_study(home / "study"), 4, home / "case4", CONGESTED)
    return found


@pytest.fixture(scope="module")
def solved(folders):
    return {number: read_result(folder) for number, folder in folders.items()}


@pytest.fixture(scope="module")
def certified(folders):
    return {number: json.loads((folder / "certificate.json").read_text()) for number, folder in folders.items()}


@pytest.mark.parametrize("number", CASES)
def test_every_case_certifies(number, folders, capsys):
    assert main(["certify", str(folders[number])]) == 0
    assert json.loads(capsys.readouterr().out)["equilibrium"]


@pytest.mark.parametrize("number", CASES)
def test_certificates_hold(number, solved, certified):
    proof, clearing = certified[number], solved[number].clearing
    assert proof["equilibrium"]["max_relative_gain"] <= 1e-6
    assert len(proof["equilibrium"]["prosumer_gain_usd"]) == len(clearing.prosumers)
    assert proof["equilibrium"]["platform_gain_usd"] <= 1e-6
    for residual in ("primal", "dual", "complementarity", "duality_gap", "slack_kwh"):
        assert abs(proof["follower"][residual]) <= 1e-6
    assert proof["money"]["imbalance_usd"] <= 1e-6
    assert proof["revenue"]["slack_usd"] >= -1e-6
    d = solved[number].decisions
    assert (d["zb"] - d["zs"]).sum(axis=0) == pytest.approx(np.zeros(24), abs=1e-7)


def test_what_each_case_lets_the_market_do(solved):
    d = {number: case.decisions for number, case in solved.items()}
    for number in (0, 1):
        assert not d[number]["zb"].any() and not d[number]["zs"].any(), "no market"
    assert not d[0]["ch"].any() and not d[0]["served"].any(), "no batteries, no demand response"
    assert d[1]["ch"].max() > 1.0
    for number in (2, 3, 4):
        assert d[number]["Z"] > 1.0, "prosumers trade"
    for number in (0, 1, 2):
        assert len({*d[number].design.tariff, d[number].design.p2p}) == 1 and d[number].design.capacity == ()
        assert not d[number].blocks, "the network is not seen"
    for number in (3, 4):
        flat = len({*d[number].design.tariff, d[number].design.p2p}) == 1  # always on the menu
        assert Coordinates.of(solved[number].clearing.menu, [d[number].design] if flat else []).point(d[number].design)
    assert solved[4].clearing.days.n_days > 1 and solved[3].clearing.days.n_days == 1
    assert len(d[4].blocks) > 0
    assert [own.beta > 0 for own in solved[4].clearing.prosumers] == [True, True]
    assert not any(own.beta for own in solved[3].clearing.prosumers)


@pytest.mark.parametrize("number", [3, 4])
def test_bounds_of_a_design(number, certified, solved):
    design = certified[number]["design"]
    assert design["proof"] == "closed" and 0 <= design["gap"] <= solved[number].prepared.preset.gap
    assert design["first_best"] - 1e-3 * abs(design["first_best"]) <= design["lower_bound"] <= design["upper_bound"]
    assert design["gap_usd"] == pytest.approx(design["upper_bound"] - design["lower_bound"])
    assert design["first_best"] <= design["flat"] + 1e-6
    limits = [len(levels) for _, levels in solved[number].clearing.menu.capacity]
    assert design["menu_points"] == solved[number].clearing.menu.n_points + np.prod(limits)  # the flat tariff's


def test_gap_is_a_share_of_the_achievable_gain():
    proof = DesignProof(
        lower_bound=90.0, upper_bound=92.0, flat=100.0, first_best=80.0, menu_points=1, lp_solves=1, proof="open"
    )
    assert (proof.gap_usd, proof.gap, proof.gap_relative) == (2.0, 0.1, pytest.approx(2 / 92))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_flat_tariff_is_the_smallest_that_recovers_the_cost(number, solved):
    """No tariff on a grid below it does; its own surplus is zero."""
    case = solved[number]
    joint = JointLP(case.clearing, case.case.market, network=False)
    flat = case.decisions.design.p2p

    def surplus(tariff: float) -> float:
        return optimistic_response(joint, flat_design(joint, tariff), revenue=False).revenue_slack

    # Losses, and with them the cost to recover, are known to LOSS_GAP on an LP with other tangents than the search's.
    assert -LOSS_GAP <= surplus(flat) <= LOSS_GAP
    for tariff in np.append(np.arange(0.0, flat - 1e-4, 0.006), flat - 1e-4):
        assert surplus(tariff) < -1e-3


def test_the_flat_tariff_of_case_1_is_the_anchor(solved):
    """The fixed cost is what the network charge of study.yaml recovers in Case 1, so Case 1 gives the charge back."""
    case = solved[1]
    anchor = case.prepared.study.settings.network_charge_usd_per_kwh
    assert case.decisions.design.tariff == pytest.approx((anchor,) * 3, abs=1e-8)
    base, _ = anchored_baseline(case.prepared, True)
    assert case.clearing.fixed_cost == pytest.approx(anchor * base.energy.sum() - base.social.network, rel=1e-12)
    assert {solved[n].clearing.fixed_cost for n in (0, 2, 3)} == {case.clearing.fixed_cost}


def test_no_flat_tariff_above_the_highest_is_asked(solved):
    """Cost boxes are made for prices up to that one."""
    case, asked = solved[1], []
    joint = JointLP(case.clearing, market=False, network=False)
    highest = 0.9 * case.decisions.design.p2p
    with pytest.raises(InputError, match=f"no flat tariff up to {highest:g} "):
        flat_tariff(joint, highest, asked)
    assert max(tariff for _, tariff, _ in asked) == highest


def test_summary_is_what_its_parts_say(solved):
    for case in solved.values():
        s = case.summary()
        network = s["dso_revenue_usd"] - s["fixed_cost_usd"] - s["dso_surplus_usd"]
        assert network > 0, "losses and demand charge"
        returned = s["refund_share_prosumers"] * (s["dso_surplus_usd"] + s["congestion_rent_usd"])
        assert s["prosumer_cost_usd"] - s["prosumer_cost_after_refund_usd"] == pytest.approx(returned, abs=1e-9)
        assert s["prosumer_cvar_usd"] >= s["prosumer_cost_usd"]
        assert 0 < s["refund_share_prosumers"] <= 1 + 1e-12
        p, load = case.prepared.instance.days.probability, case.days.net_load
        metered = load.sum(axis=0)
        if case.days.instance.rules.peak_with_losses:
            metered = metered + linear_losses(case.days.instance, load)
        assert s["peak_kw"] == pytest.approx(metered.max(axis=0) @ p, rel=1e-12)


def refused(folder: Path, out: Path, changes: dict, capsys) -> str:
    """The last line of a Case 4 that ends with exit code 2 and writes nothing."""
    assert main(words(folder, 4, out, changes)) == 2
    assert not out.exists()
    return capsys.readouterr().err.splitlines()[-1]


def test_a_study_that_no_decision_keeps_within_limits_names_bus_and_hour(tmp_path, capsys):
    """Four prosumers cannot hold the voltages of the whole feeder; 243.599 kW are the least, by an LP of its own."""
    line = refused(IEEE33, tmp_path / "out", FEW, capsys)
    assert "ieee33_bus.csv: vmin_pu of bus 18: infeasible: no decision of anybody keeps the lowest voltage" in line
    assert "at hour 19; at least 243.599 kW of violation remain on the feeder" in line


def test_a_line_that_no_decision_relieves_is_named(tmp_path, capsys):
    """On its worst evening bus 3 draws more than the 26 kVA of 1.5 A, and its prosumer has no battery."""
    study = congested_study(tmp_path / "study")
    replace_text(study / "branch.csv", "2,2,3,0.2,0.1,1,\n", "2,2,3,0.2,0.1,1,1.5\n")
    line = refused(study, tmp_path / "out", CONGESTED | {"chance_level": 0.05}, capsys)
    assert "branch.csv: rating_a of line 2: infeasible: no decision of anybody keeps the rating at hour " in line


def test_a_price_of_violation_below_what_keeping_limits_costs_is_named(tmp_path, capsys):
    study = congested_study(tmp_path / "study")
    line = refused(study, tmp_path / "out", CONGESTED | {"violation_price_factor": 1e-3}, capsys)
    assert "study.yaml: violation_price_factor: is so low that " in line and line.endswith("; raise it")


def test_the_baseline_is_the_answer_that_is_best_for_society(tmp_path):
    """Nobody is paid for what is fed in, so that feeding in and curtailing cost a prosumer the same: society gains by
    the former, and welfare is calibrated on it."""
    prepared = prepare(write_study(tmp_path), "smoke", {"feed_in_usd_per_kwh": 0.0, "renewables.pv_scale": 3.0})
    _, social, _ = baseline(prepared)
    days = design_days(prepared.study, prepared.preset)
    instance, design = judging_instance(prepared.instance, CASES[1], days), Design((0.08,) * 3, 0.08)
    best, joint = (JointLP(instance, market=False, network=False) for _ in range(2))
    assert social == pytest.approx(optimistic_response(best, design, revenue=False).social.total, abs=1e-6)
    joint.set_design(design)
    anyone = joint.warm.solve(joint.cost(design))
    assert social_cost(joint, anyone.x).total > social + 1.0, "the study should leave prosumers a choice"


def test_case_1_is_calibrated_in_its_two_parameters():
    """Recomputed on the design days with the load scale and the reference value that study.yaml declares."""
    cost_target, welfare_target = targets(ROOT / "data" / "paper" / "abstract.csv")
    assert (cost_target, welfare_target) == (4521.3, 1675.7)
    prepared = prepare(IEEE33, "fast")
    cost, social, reference = baseline(prepared)
    assert abs(cost - cost_target) <= CLOSE * cost_target
    assert prepared.instance.rules.reference_value * reference - social == pytest.approx(welfare_target, rel=1e-4)
    assert cost == pytest.approx(cost_target, rel=1e-4)
