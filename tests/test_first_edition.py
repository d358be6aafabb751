"""The figures of the first edition, recorded at its last commit, are found again; those that may move are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tritier.cli import main
from tritier.search.responses import LOSS_GAP

pytestmark = pytest.mark.usefixtures("prepared_once")

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "data" / "studies" / "ieee33"
RECORDED = json.loads((ROOT / "tests" / "data" / "first_edition.json").read_text())
# Settings under which the model is that of the first edition, and its menus.
CHANGES = {
    "billing": "expected",
    "fixed_share": 0.0,
    "peak_with_losses": "false",
    "reference_value_usd_per_kwh": 0.128907398,
}
MENUS = {
    "smoke": {
        "tariff": "{off_peak: [0.05], day: [0.05, 0.08], peak: [0.08, 0.14, 0.20]}",
        "p2p": "[0.0, 0.04]",
        "capacity": "{1: [2400, 4700]}",
    },
    "fast": {
        "tariff": "{off_peak: [0.05, 0.08], day: [0.05, 0.08], peak: [0.08, 0.11]}",
        "p2p": "[0.04, 0.08]",
        "capacity": "{1: [1700, 1800, 4700], 18: [280, 2200], 22: [640, 2200], 25: [600, 2200]}",
    },
}
NO_PEAKS = {"individual_peak": "[0.0]", "coincident_peak": "[0.0]"}
SAME = 1e-9  # relative
# On a judged day of a market (compared in case 2) the first edition left the hour of a battery inside a block of the
# tariff to the solver: another order of prosumers, or the rule that decides it now, moves these, by 6e-4 at most as
# measured.
TIED = {
    "welfare_usd",
    "social_cost_usd",
    "prosumer_cost_usd",
    "prosumer_cost_after_refund_usd",
    "prosumer_cvar_usd",
    "losses_kwh",
    "ac_losses_kwh",
    "peak_kw",
    "dso_revenue_usd",
    "dso_surplus_usd",
    "congestion_rent_usd",
    "violation_share_ac",
}
TIE = 6e-4
FLAT = 1e-8  # relative: the flat tariff of cases 0 to 2 is the root of a surplus, which is found to 1e-5 $
FIRST_BEST = 2e-4  # relative: the first best stands at the tolerance of its outer approximation
FLAT_POINTS = {"smoke": 2, "fast": 24}  # points of the menu since the flat tariff is on it, at every limit
GAP = {"smoke": 0.1, "fast": 0.05}  # asked for: what is proved of the bound depends on the rows that a search has


@pytest.fixture(scope="module", params=RECORDED["solved"])
def preset(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=range(5))
def found(request, preset, tmp_path_factory) -> tuple[dict, Path]:
    """A recorded case and the folder in which it has been solved again."""
    out = tmp_path_factory.mktemp("first") / "out"
    menu = {f"menus.{preset}.{key}": value for key, value in (MENUS[preset] | NO_PEAKS).items()}
    changes = [w for key, value in (CHANGES | menu).items() for w in ("--set", f"{key}={value}")]
    words = ["solve", str(STUDY), "--case", str(request.param), "--preset", preset, *changes, "--out", str(out)]
    assert main(words) == 0
    return RECORDED["solved"][preset][str(request.param)], out


def compare(was: dict, now: dict, names: set[str], share: float = SAME, least: float = SAME) -> None:
    """Figures agree to a share of their size, those that are shares themselves also below one; the surplus to a share
    of the revenue of which it is what is left."""
    for name in names:
        if isinstance(was[name], str):
            assert now[name] == was[name], name
        else:
            size = abs(was["dso_revenue_usd" if name == "dso_surplus_usd" else name])
            size = size if "share" in name else max(1.0, size)
            assert now[name] == pytest.approx(was[name], abs=max(share * size, least)), name


def test_summary_is_the_recorded_one(found):
    """Of the design scenarios as they are judged; cases 3 and 4 have been judged by another policy since."""
    was, now = found[0]["summary"], json.loads((found[1] / "summary.json").read_text())
    assert set(was) <= set(now)
    if was["case"] > 2:
        compare(was, now, {"case", "p2p_kwh", "fixed_cost_usd", "refund_share_prosumers"})
        return
    tied = TIED if was["case"] == 2 else set()
    compare(was, now, set(was) - tied, FLAT)
    compare(was, now, tied, TIE)
    assert now["welfare_usd"] + now["social_cost_usd"] == pytest.approx(
        was["welfare_usd"] + was["social_cost_usd"], rel=SAME
    )


def test_what_the_market_cleared_is_the_recorded_one(found):
    """The follower's value, billed energies, P2P volume, tariff and limits: none of them depends on a tie."""
    was, now = found[0]["decisions"], np.load(found[1] / "decisions.npz")
    for name, value in was.items():
        if name == "cap_line":
            assert now[name].tolist() == value
        else:
            assert np.allclose(now[name], value, rtol=SAME if now["cap"].size else FLAT, atol=SAME), name


def test_proof_of_the_design_is_the_recorded_one(found):
    was, now = found[0].get("design"), json.loads((found[1] / "certificate.json").read_text()).get("design")
    assert (was is None) == (now is None)
    if was is not None:
        compare(was, now, {"flat", "proof"})
        compare(was, now, {"upper_bound"}, SAME, LOSS_GAP)  # where the exact response stops, from whatever LP it comes
        compare(was, now, {"first_best"}, FIRST_BEST)
        preset = json.loads((found[1] / "provenance.json").read_text())["preset"]
        assert now["menu_points"] == was["menu_points"] + FLAT_POINTS[preset]
        assert was["upper_bound"] - now["lower_bound"] <= GAP[preset] * (was["flat"] - was["first_best"])
        assert now["lower_bound"] <= was["upper_bound"]
