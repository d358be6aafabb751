"""What stored cases show on days they have not seen: judged again here, verdicts as they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tritier.cases.cases import CASES
from tritier.cases.recourse import POLICIES
from tritier.cases.solve import prepare
from tritier.evaluation import findings
from tritier.evaluation.findings import (
    MORE_PV,
    REAL,
    RESAMPLED,
    SWAPPED,
    DaySet,
    cases_on,
    day_sets,
    rows_of,
    unseen_tables,
    verdicts,
)
from tritier.inputs.scenarios import held_out_days

DATA = Path(__file__).resolve().parents[1] / "data"
# A verdict that changes must be explained here and in the chapter before it passes.
VERDICTS = {
    ("welfare, Case 1", "$/day"): "calibrated",
    ("prosumer cost, Case 1", "$/day"): "calibrated",
    ("welfare, change", "%"): "direction not reproduced",
    ("welfare, change", "$/day"): "direction not reproduced",
    ("prosumer cost, Case 4", "$/day"): "direction not reproduced",
    ("prosumer cost, change", "%"): "direction not reproduced",
    ("prosumer cost, Case 4, after refund", "$/day"): "direction reproduced",
    ("prosumer cost, change, after refund", "%"): "direction reproduced",
    ("losses, change", "%"): "direction reproduced",
    ("bus-hours outside the band, Case 4", "%"): "direction not reproduced",
}


@pytest.fixture(scope="module")
def stored():
    return findings.stored_table("out_of_sample")


@pytest.fixture(scope="module")
def again():
    """The real days of the even weeks, judged again on the stored decisions."""
    prepared = prepare(DATA / "studies" / "ieee33", "paper")
    days = DaySet(REAL, prepared, held_out_days(prepared.study, prepared.preset))
    return days, cases_on(days)


def test_the_tables_are_of_the_stored_cases_and_of_todays_data(stored, again):
    _, origin = stored
    assert origin["cases"] == findings.case_hashes()
    assert origin["data_hash"] == again[0].prepared.study.data_hash
    assert origin["preset"] == "paper" and not origin["commit"].startswith("unknown")


def test_every_set_has_every_case_under_every_policy(stored):
    table, _ = stored
    assert not table.duplicated(["set", "case", "policy"]).any()
    assert len(table) == 4 * len(CASES) * len(POLICIES)
    days = table.groupby("set")["days"].first()
    assert days[RESAMPLED] >= 300 and days[REAL] == days[MORE_PV]
    assert days[REAL] + days[SWAPPED] == 62  # every real day of the two months, once
    intervals = ["day_high", "welfare_usd_half", "welfare_change_low"]
    assert table.loc[table["set"] == RESAMPLED, intervals].isna().all(axis=None)


def test_judged_again_the_real_days_give_the_same_figures(stored, again):
    table, _ = stored
    fresh = rows_of(*again)[table.columns].reset_index(drop=True)
    kept = table[table["set"] == REAL].reset_index(drop=True)
    pd.testing.assert_frame_equal(fresh, kept, check_dtype=False, rtol=1e-5, atol=1e-6)


def test_verdicts_on_the_paper_stand(again):
    abstract = pd.read_csv(DATA / "paper" / "abstract.csv")
    words = verdicts(again[0].prepared, again[1], abstract)
    kept, _ = findings.stored_table("against_paper")
    pd.testing.assert_frame_equal(words, kept, check_dtype=False, rtol=1e-5, atol=1e-6)
    assert words.set_index(["figure", "unit"])["verdict"].to_dict() == VERDICTS


def test_display_leaves_out_intervals_that_are_none(stored):
    table, _ = stored
    physics, money = unseen_tables(table)
    assert len(physics) == len(money) == 4 * len(CASES)
    resampled = physics["days"] == RESAMPLED
    assert not physics.loc[resampled, "days with a violation"].str.contains("≤").any()
    assert physics.loc[~resampled, "days with a violation"].str.contains("≤").all()
    assert not money.loc[resampled, "welfare [$]"].str.contains("±|nan").any()
    assert (money.loc[money["case"] == 1, "welfare against Case 1 [$/day]"] == "–").all()


def test_day_sets_swap_halves_and_brighten(monkeypatch):
    prepared = prepare(DATA / "studies" / "ieee33", "smoke")
    sets = {days.name: days for days in day_sets(prepared)}
    assert sets[SWAPPED].prepared.half == "even" and sets[REAL].prepared.half == "odd"
    assert set(sets[REAL].days.label).isdisjoint(sets[SWAPPED].days.label)
    pv = [np.array([p.pv_kw for p in sets[name].prepared.instance.prosumers]).sum() for name in (REAL, MORE_PV)]
    assert pv[1] == pytest.approx(1.5 * pv[0])
