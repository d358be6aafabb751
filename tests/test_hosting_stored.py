"""Stored hosting plans at preset `paper`: made from today's inputs, bounds solved again, stress points dispatched
again."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tritier.errors import CertificateError, InputError
from tritier.hosting import stored as hosting_record
from tritier.hosting import stored as hosting_stored
from tritier.hosting.case import FLEXIBILITY
from tritier.hosting.plan import judge, stress_days
from tritier.hosting.run import MODELS, Question, check_plan, load_problem, stale
from tritier.hosting.stored import (
    ELECTRIFIED,
    ELECTRIFIED_PLANS,
    NOBODY_WAITS,
    STUDIES,
    read_plan,
    read_record,
    read_sweeps,
    study_of,
    table,
    waiting_table,
)

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / hosting_stored.FOLDER
MINUTES = 10.0
RECORD = {
    "hc_gain_first": "direction reproduced",
    "hc_gain_second": "direction reproduced",
    "operating_cost_change_first": "direction reproduced",
    "operating_cost_change_second": "direction reproduced",
    "robust_hc_gain": "direction not reproduced",
    "robust_cost_change": "not comparable",
    "hc_gain_third": "direction reproduced",
    "cost_change_third": "direction reproduced",
    "hosting_capacity": "not comparable",
    "annual_cost": "not comparable",
}


@cache
def problem(study: str, flexibility: str):
    return load_problem(study_of(study), flexibility, "paper")


@cache
def stored() -> pd.DataFrame:
    return table(STUDIES, MODELS, FLEXIBILITY, FOLDER)


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("flexibility", FLEXIBILITY)
def test_plans_are_of_todays_inputs_and_settings(study, flexibility):
    for model in MODELS:
        record = read_record(study, model, flexibility, FOLDER)
        assert stale(record["provenance"], problem(study, flexibility)) == []
        assert record["provenance"]["asked"] == {
            "model": model,
            "flexibility": flexibility,
            "preset": "paper",
            "hosted_kw": None,
            "budget": None,
            "size_batteries": False,
        }


def test_a_changed_input_makes_a_plan_stale():
    record = read_record("ieee33", "robust", "none", FOLDER)
    other = problem("ieee33", "none")
    assert stale(record["provenance"], load_problem(ROOT / "data/studies/ieee33", "none", "fast")) == ["preset"]
    record["provenance"]["inputs_hash"] = "0" * 64
    assert stale(record["provenance"], other) == ["inputs_hash"]


@pytest.mark.parametrize(
    ("study", "model", "flexibility"),
    [
        (study, model, flexibility)
        for study in STUDIES
        for model in MODELS
        for flexibility in FLEXIBILITY
        if model != "stochastic" or study == "ieee33"
    ],
)
def test_stored_plans_are_certified_whole(study, model, flexibility):
    """As ``tritier certify`` checks a plan: room, relaxation, every vertex of every set on every row of the feeder.

    Stochastic plans are solved anew for that, which takes a minute on the two large feeders: here those of IEEE 33.
    """
    asked, plan = problem(study, flexibility), read_plan(read_record(study, model, flexibility, FOLDER))
    check_plan(asked, Question(model, flexibility, "paper"), plan)
    assert plan.hosted_kw == pytest.approx(plan.lower_bound, rel=1e-6)


def test_a_forged_plan_is_refused():
    asked, question = problem("ieee33", "none"), Question("robust", "none", "paper")
    for bound, factor in (("upper_bound", 1.01), ("lower_bound", 0.99)):
        record = read_record("ieee33", "robust", "none", FOLDER)
        record["certificate"][bound] *= factor
        with pytest.raises(CertificateError, match=rf"hosting\.{bound}"):
            check_plan(asked, question, read_plan(record))


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("flexibility", FLEXIBILITY)
def test_stress_points_are_dispatched_again(study, flexibility):
    """Every 20th point of the stored stress set: the robust plan keeps every limit, the forecast plan does not."""
    case = problem(study, flexibility).case
    days = stress_days(case, 400, problem(study, flexibility).preset.seed)[::20]
    figures = {}
    for model in ("robust", "deterministic"):
        plan = read_plan(read_record(study, model, flexibility, FOLDER))
        figures[model] = judge(case, problem(study, flexibility).feeder, plan.y, days, plan.watch)
    assert figures["robust"]["lindistflow_days_violated"] == 0
    assert figures["robust"]["ac_overload_days"] + figures["robust"]["ac_overvoltage_days"] == 0
    assert figures["deterministic"]["lindistflow_days_violated"] > 0


def test_findings_at_full_size():
    rows = stored().set_index(["study", "model", "flexibility"])
    assert len(rows) == 27 and (rows["lower_kw"] <= rows["upper_kw"] * (1 + 1e-9)).all()
    assert (rows["upper_kw"] - rows["lower_kw"] <= 1e-6 * rows["upper_kw"]).all()
    assert (rows["stress_days"] == 400).all() and (rows["held_out_days"] > 150).all()
    broken = rows["stress_lindistflow_days_violated"].unstack("model")
    assert (broken["robust"] == 0).all() and (broken["deterministic"] > 0).all()
    hosted = rows["hosted_kw"].unstack("flexibility")
    assert (hosted["none"] <= hosted["der"] * (1 + 1e-6)).all() and (hosted["der"] <= hosted["p2p"] * (1 + 1e-6)).all()
    models = rows["hosted_kw"].unstack("model")
    assert (models["robust"] < models["deterministic"]).all()


def test_robust_plans_of_mv_oberrhein_took_under_ten_minutes_with_their_checks():
    rows = stored().set_index(["study", "model", "flexibility"]).xs("robust", level="model")
    large = rows.loc[["oberrhein1", "oberrhein2"]]
    assert (large["seconds"] + large["check_seconds"] < 60 * MINUTES).all() and (large["seconds"] > 1).all()


def test_missing_record_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"run\.py"):
        read_record("ieee33", "robust", "none", tmp_path)
    with pytest.raises(InputError, match=r"run\.py"):
        read_sweeps("ieee33", tmp_path)


@pytest.mark.parametrize(("study", "flexibility"), ELECTRIFIED_PLANS)
def test_plans_with_vehicles_and_heat_pumps_are_of_today_and_certified(study, flexibility):
    record, asked = read_record(study, "robust", flexibility, FOLDER), problem(study, flexibility)
    assert stale(record["provenance"], asked) == []
    assert asked.case.kinds == (() if flexibility == "none" else ("ev", "hp"))
    assert (asked.case.delay > 0).any() == (study == ELECTRIFIED)
    check_plan(asked, Question("robust", flexibility, "paper"), read_plan(record))


def test_waiting_hosts_more_and_the_table_says_how_much():
    rows = waiting_table(FOLDER)
    hosted = rows.set_index(["study", "flexibility"])["hosted_kw"]
    assert list(hosted.index) == list(ELECTRIFIED_PLANS)
    assert hosted[ELECTRIFIED, "none"] < hosted[NOBODY_WAITS, "der"] < hosted[ELECTRIFIED, "der"]
    assert hosted[NOBODY_WAITS, "der"] <= hosted[NOBODY_WAITS, "p2p"] < hosted[ELECTRIFIED, "p2p"]
    assert (rows["upper_kw"] - rows["lower_kw"] <= 1e-6 * rows["upper_kw"]).all()
    assert (rows["stress_lindistflow_days_violated"] == 0).all()
    for kind in ("der", "p2p"):  # a little, as the chapter has it
        assert hosted[ELECTRIFIED, kind] < 1.02 * hosted[NOBODY_WAITS, kind]


@pytest.mark.parametrize("study", ["ieee33", ELECTRIFIED])
def test_sweeps_fall_and_rise_as_they_must_and_meet_the_plans(study):
    sweeps = read_sweeps(study, FOLDER)
    rows = pd.concat([stored(), waiting_table(FOLDER)]).set_index(["study", "model", "flexibility"])["hosted_kw"]
    assert set(sweeps.by_flexibility()) == set(sweeps.frontier["flexibility"]) == {"none", "p2p"}
    for kind, curve in sweeps.by_flexibility().items():
        assert (np.diff(curve["hosted_kw"]) <= 1e-3).all()
        if study in STUDIES:
            assert curve["hosted_kw"].iloc[0] == pytest.approx(rows[study, "deterministic", kind], rel=1e-6)
        assert curve["stress_days_violated"].iloc[0] > 0 and curve["stress_days_violated"].iloc[-1] == 0
    for _, curve in sweeps.frontier.groupby("flexibility"):
        assert (curve["lower_bound_usd"] <= curve["annual_cost_usd"] * (1 + 1e-9)).all()
        assert (curve["lower_bound_usd"] >= curve["annual_cost_usd"] * (1 - 1e-6)).all()
        slope = np.diff(curve["annual_cost_usd"]) / np.diff(curve["hosted_kw"])
        assert (np.diff(slope) >= -1e-3).all()
        at_most = curve["hosted_kw"].max()
        assert at_most == pytest.approx(rows[study, "robust", curve["flexibility"].iloc[0]], rel=1e-6)
    assert sweeps.provenance["inputs_hash"] == problem(study, "p2p").inputs_hash


def test_table_against_the_record_as_it_stands():
    """Verdicts and signs as printed; a change of data or model that turns one must be seen."""
    record = pd.read_csv(ROOT / "data/paper/hosting.csv")
    rows = hosting_record.against_the_record(record, hosting_record.figures(stored(), read_sweeps("ieee33", FOLDER)))
    assert dict(zip(rows["id"], rows["verdict"], strict=True)) == RECORD
    assert rows["reason"].str.len().min() > 20 and np.isfinite(rows["ours"]).all()
