"""The fixed cost by the days that it is anchored on, as it is stored and as it is found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tritier.cases.cases import risk_neutral, without_limits
from tritier.cases.result import FOLDER
from tritier.cases.solve import fixed_cost, prepare
from tritier.inputs.documents import read_json
from tritier.inputs.scenarios import HALVES
from tritier.inputs.settings import PRESETS
from tritier.model.tariff import without_fixed_part
from tritier.reformulation.joint import JointLP
from tritier.search.flat import flat_tariff

DATA = Path(__file__).resolve().parents[1] / "data"
TABLE = pd.read_csv(DATA / "results" / "fixed_cost.csv")
PLACES = TABLE.set_index(["study", "half", "days"])


def test_every_study_half_and_preset_stands_beside_the_real_days():
    studies = ("ieee33", "ieee33-2045")
    assert set(PLACES.index) == {(s, h, d) for s in studies for h in HALVES for d in (*PRESETS, "real days")}
    left = TABLE["collected_usd"] - TABLE["losses_usd"] - TABLE["demand_charge_usd"]
    assert left.to_numpy() == pytest.approx(TABLE["left_usd"].to_numpy(), abs=1e-3)


@pytest.mark.parametrize("study", ["ieee33", "ieee33-2045"])
def test_a_stored_figure_is_found_again(study):
    prepared = prepare(DATA / "studies" / study, "smoke")
    assert fixed_cost(prepared, False) == pytest.approx(PLACES.loc[(study, "odd", "smoke"), "left_usd"], abs=1e-4)


def test_a_charge_that_pays_for_less_than_the_network_cost_leaves_no_fixed_cost_but_all_of_the_network_cost():
    left = PLACES.loc[("ieee33-2045", "even", "smoke")]
    assert left["left_usd"] < 0
    prepared = prepare(DATA / "studies" / "ieee33-2045", "smoke", half="even")
    assert fixed_cost(prepared, False) == 0.0
    scenarios = replace(without_fixed_part(without_limits(risk_neutral(prepared.instance))), fixed_cost=0.0)
    flat = flat_tariff(JointLP(scenarios, market=False, network=False))
    recovered = flat.design.tariff[0] * flat.energy.sum()
    assert recovered == pytest.approx(flat.social.network, abs=0.01)
    assert flat.design.tariff[0] > prepared.study.settings.network_charge_usd_per_kwh


def test_the_best_design_is_the_same_at_either_fixed_cost_and_lies_between_its_bounds():
    designs = pd.read_csv(DATA / "results" / "fixed_cost_designs.csv")
    for number in (1, 4):
        stored = read_json(FOLDER / "2045-odd" / f"case-{number}" / "summary.json")
        assert stored["fixed_cost_usd"] == pytest.approx(designs["fixed_cost_usd"][0], abs=1e-4)
    assert read_json(FOLDER / "2045-odd" / "case-4" / "certificate.json")["design"]["upper_bound"] == pytest.approx(
        designs["design_usd"][0], abs=1e-3
    )
    real = PLACES.loc[("ieee33-2045", "odd", "real days"), "left_usd"]
    assert designs["fixed_cost_usd"][1] == pytest.approx(real, abs=0.01)
    assert (designs["first_best_usd"] <= designs["lower_bound_usd"] + 0.5).all()
    assert (designs["lower_bound_usd"] <= designs["design_usd"]).all()
    assert (designs["design_usd"] < designs["flat_usd"]).all()
    assert len(designs[["tariff", "p2p", "peak", "coincident", "capacity"]].drop_duplicates()) == 1
