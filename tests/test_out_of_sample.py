"""What stored cases show on days they have not seen: judged again here, verdicts as they stand."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tritier.cases.cases import CASES
from tritier.cases.recourse import as_cleared
from tritier.cases.result import read_made, stored
from tritier.cases.solve import prepare
from tritier.errors import InputError
from tritier.evaluation import findings, heldout
from tritier.evaluation.heldout import REAL, RESAMPLED, SETS, STUDIES, SWAPPED, WEEKDAYS, WEEKENDS, find_days
from tritier.inputs.documents import read_json
from tritier.inputs.settings import PRESETS
from tritier.provenance import digest

DATA = Path(__file__).resolve().parents[1] / "data"
ABSTRACT = pd.read_csv(DATA / "paper" / "abstract.csv")
# A verdict that changes must be explained here and in the chapter before it passes.
VERDICTS = {
    "ieee33": {
        ("welfare, Case 1", "$/day"): "calibrated",
        ("prosumer cost, Case 1", "$/day"): "calibrated",
        ("welfare, change", "%"): "reproduced in direction",
        ("welfare, change", "$/day"): "reproduced in direction",
        ("prosumer cost, Case 4", "$/day"): "not resolved",
        ("prosumer cost, change", "%"): "not resolved",
        ("prosumer cost, Case 4, after refund", "$/day"): "reproduced in direction",
        ("prosumer cost, change, after refund", "%"): "reproduced in direction",
        # on both halves of the season the fall is told from zero; on one half it was not
        ("losses, change", "%"): "reproduced in direction",
        ("bus-hours outside the band, Case 4", "%"): "not resolved",
    },
    "ieee33-2045": {
        ("welfare, Case 1", "$/day"): "not comparable",
        ("prosumer cost, Case 1", "$/day"): "not comparable",
        # its interval on both halves of the season, narrower than on one, ends below the paper's figure
        ("welfare, change", "%"): "reproduced in direction",
        ("welfare, change", "$/day"): "reproduced in direction",
        ("prosumer cost, Case 4", "$/day"): "reproduced in size",
        ("prosumer cost, change", "%"): "reproduced in size",
        ("prosumer cost, Case 4, after refund", "$/day"): "reproduced in size",
        ("prosumer cost, change, after refund", "%"): "reproduced in size",
        ("losses, change", "%"): "reproduced in size",
        ("bus-hours outside the band, Case 4", "%"): "reproduced in size",
    },
}


@cache
def ready(name, half):
    """A study at its stored preset, with a half of the season to design on: one object, whose baseline is cleared
    once."""
    return prepare(DATA / "studies" / name, STUDIES[name], half=half)


@pytest.fixture(scope="module", params=STUDIES)
def study(request):
    return ready(request.param, REAL.half)


def test_judged_days_are_of_the_stored_cases_and_of_todays_data(study):
    for days in SETS:
        own = ready(study.study.name, days.half)
        assert all(heldout.is_kept(own, days, number) for number in CASES), days.name


def test_every_set_has_every_case_under_every_policy(study):
    table = findings.kept_table(study.study.name, study.instance.rules.alpha)
    assert not table.duplicated(["set", "case", "policy"]).any()
    assert len(table) == table["set"].nunique() * sum(len(case.policies) for case in CASES.values())
    days = table.groupby("set")["days"].first()
    least = {REAL.name: 29, SWAPPED.name: 33, WEEKDAYS.name: 190, WEEKENDS.name: 100, RESAMPLED.name: 300}
    assert set(days.index) == set(least) and all(days[name] >= least[name] for name in least)
    intervals = ["day_high", "welfare_usd_half", "welfare_change_low"]
    assert table.loc[table["set"] == RESAMPLED.name, intervals].isna().all(axis=None)


def test_as_many_days_are_drawn_by_pairing_whatever_the_preset(study):
    assert RESAMPLED.of(study).n_days == PRESETS["paper"].n_resampled_days >= 300
    assert REAL.of(study).label == find_days(study, REAL.kind).label


def test_judged_again_the_real_days_give_the_same_figures():
    """Half of the cases: two of them cover every kind of tariff, market and view of the network."""
    prepared, kept = ready("ieee33", REAL.half), heldout.kept("ieee33", REAL)
    for number in (1, 4):
        made = read_made(stored(prepared, number), prepared).decisions  # certified by a test of its own
        days = find_days(prepared, REAL.kind)
        fresh = heldout.find(prepared, number, made, heldout.judged(prepared, number, made, days))
        for name in ("daily", "violations"):
            again, was = getattr(fresh, name), getattr(kept[number], name)
            pd.testing.assert_frame_equal(again[was.columns], was, check_dtype=False, rtol=1e-5, atol=1e-6)


def test_readings_are_of_the_stored_cases(study):
    """Hoped for, either tariff costs what the case's proof says; feared, its linear part is not less."""
    name = study.study.name
    for number in heldout.READ:
        assert heldout.is_of(heldout.readings_of(name, number), heldout.origin(study, number))
    read = heldout.kept_readings(name).set_index(["case", "tariff", "tie_break", "reading"])
    assert read.index.is_unique and len(read) == 4 * (3 + 2)
    for number in (3, 4):
        proof = read_json(stored(study, number) / "certificate.json")["design"]
        for tariff, cost in ((heldout.FLAT, proof["flat"]), (heldout.CHOSEN, proof["upper_bound"])):
            assert read.loc[(number, tariff, True, "optimistic"), "social_cost_usd"] == pytest.approx(cost, abs=0.01)
    linear = read["linear_part_usd"].unstack("reading")
    assert (linear["pessimistic"] >= linear["optimistic"] - 1e-6).all()


def test_readings_found_again_are_those_stored():
    """The flat tariff of the electrified feeder: its four readings, each from an LP built anew."""
    name = "ieee33-2045"
    was = heldout.kept_readings(name).query("case == 1")
    again = heldout.readings(ready(name, REAL.half), 1)
    assert again["social_cost_usd"].tolist() == pytest.approx(was["social_cost_usd"].tolist(), abs=1e-3)
    assert again["revenue_slack_usd"].tolist() == pytest.approx(was["revenue_slack_usd"].tolist(), abs=1e-3)


def test_verdicts_on_the_paper_stand(study):
    """On every judged real day of the season, as the tables of comparison: both halves where both are judged."""
    daily = heldout.kept_days(study.study.name)
    halves = [days for days in (REAL, SWAPPED) if heldout.kept(study.study.name, days)]
    assert daily["day"].nunique() == sum(find_days(ready(study.study.name, s.half), s.kind).n_days for s in halves)
    words = findings.against_paper(ABSTRACT, heldout.calibrated(study), daily)
    assert words.set_index(["figure", "unit"])["verdict"].to_dict() == VERDICTS[study.study.name]


def test_days_that_are_no_observations_get_no_intervals(study):
    drawn = findings.intervals(findings.kept_table(study.study.name, study.instance.rules.alpha))
    ends = drawn[["day_share_low", "ac_losses_kwh_low", "welfare_usd_high", "prosumer_cost_usd_high"]]
    resampled = drawn["set"] == RESAMPLED.name
    assert ends[resampled].isna().all(axis=None)
    assert np.isfinite(ends[~resampled]).all(axis=None)
    assert drawn.loc[drawn["case"] == 1, "welfare_change"].isna().all()


def test_the_table_beyond_the_season_has_every_stored_set_and_its_comparison():
    """Weekends and other seasons; the first row is worked out here."""
    table = findings.beyond_the_season().set_index("figure")
    sets = [(study, days) for study in STUDIES for days in (WEEKENDS, WEEKDAYS) if heldout.kept(study, days)]
    assert set(sets) == {(study, days) for study in STUDIES for days in (WEEKENDS, WEEKDAYS)}
    assert list(table.columns) == [f"{findings.HEADINGS[study]}, {days.name}" for study, days in sets]
    for column, (study, days) in zip(table.columns, sets, strict=True):
        own = findings.headline(heldout.kept_days(study, [days])).pivot(
            index="day", columns="case", values="welfare_usd"
        )
        change = (own[4] - own[1]).mean()
        assert table.loc["welfare, each case under its own policy, $/day", column].startswith(f"{change:+,.0f} (")
        assert not table[column].str.contains("\\", regex=False).any()


def test_halves_swap_and_other_seasons_keep_to_their_days():
    prepared = prepare(DATA / "studies" / "ieee33", "smoke")
    assert [ready("ieee33", days.half).half for days in (REAL, SWAPPED)] == ["odd", "even"] and prepared.half == "odd"
    labels = {s.kind: find_days(prepared, s.kind).label for s in (REAL, WEEKDAYS, WEEKENDS)}
    weekday = {k: {int(np.datetime64(x).astype(int) + 3) % 7 for x in found} for k, found in labels.items()}
    assert weekday["other-weekdays"] == {0, 1, 2, 3, 4} and weekday["weekends"] == {5, 6}
    assert not {x[5:7] for x in labels["other-weekdays"]} & {"03", "04", "05"}
    assert len(labels["other-weekdays"]) + len(labels["weekends"]) >= 250


def test_the_answer_is_not_written_where_a_case_is_not_judged_for_todays_data(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("run", heldout.UNSEEN / "run.py")
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    path, real = tmp_path / "answer.md", run.is_kept
    monkeypatch.setattr(run, "prepare", lambda study, preset, half: ready(study.name, half))
    run.write_answer(path)
    assert path.read_text() == findings.answer()
    path.write_text("as it was")
    monkeypatch.setattr(run, "is_kept", lambda ready, days, k: real(ready, days, k) and (days, k) != (SWAPPED, 2))
    with pytest.raises(
        SystemExit, match="is left as it was, as ieee33, case 2, real, odd weeks is not judged for"
    ) as e:
        run.write_answer(path)
    assert "\n" not in str(e.value) and path.read_text() == "as it was"


def test_a_case_that_is_not_stored_is_not_judged_for_the_book():
    with pytest.raises(InputError, match=r"run python data/results/cases/run\.py"):
        heldout.origin(prepare(DATA / "studies" / "ieee33", "smoke"), 4)


@pytest.mark.parametrize(("base", "told"), [(1000.0, "+500 (+50.0 %), "), (36.0, "+500, "), (-1000.0, "+500, ")])
def test_no_percentage_is_told_of_a_base_near_zero(base, told):
    daily = heldout.kept_days("ieee33", [REAL])
    rng = np.random.default_rng(0)
    daily["secured_welfare_usd"] = base + rng.normal(0.0, 1e-3, len(daily)) + 500.0 * (daily["case"] == 4)
    assert findings.answer_cells(daily)["the same, secured, \\$/day"].startswith(told)


def test_readme_and_landing_page_give_the_answer_as_the_stored_days_do():
    text = (DATA.parent / "README.md").read_text()
    assert (DATA / "results" / "answer.md").read_text() == findings.answer()
    assert text.split("<!-- answer -->\n")[1].split("<!-- /answer -->")[0] == findings.answer()


def test_the_rule_of_the_day_and_the_one_it_replaced_stand_in_the_stated_order():
    """data/results/rules.csv: the market policy's days are those of the stored case; the old rule leaves less welfare,
    a dearer peak more, and rights at the design's prices narrow the spread of what prosumers pay."""
    rules = pd.read_csv(DATA / "results" / "rules.csv")
    old, market, whole = (own.set_index("day") for _, own in rules.groupby("rule", sort=False))
    stored = pd.read_csv(heldout.place("ieee33", heldout.REAL, 4) / "daily.csv").query("policy == 'market policy'")
    stored = stored.set_index("day").loc[market.index]
    for column in ("welfare_usd", "prosumer_cost_usd", "peak_kw"):
        assert market[column].to_numpy() == pytest.approx(stored[column].to_numpy(), abs=0.05)
    assert list(old.index) == list(market.index) == list(whole.index) and len(market) == len(stored)
    secured = [own["secured_welfare_usd"].mean() for own in (old, market, whole)]
    assert secured == sorted(secured)
    for own in (old, market):
        assert own["rights_ahead_usd"].std() < own["prosumer_cost_usd"].std()


def test_rights_by_either_rule_are_those_of_the_stored_cases():
    """data/results/rights.csv: by the rule of the stored bills, their figures; the other moves bills and no rent that
    is not returned."""
    folder = DATA / "results"
    made = read_json(folder / "rights.json")["decisions"]
    table = pd.read_csv(folder / "rights.csv")
    assert len(table) == 2 * len(made) == 16
    for k, (name, of) in enumerate(made.items()):
        assert digest((folder / "cases" / name / "decisions.npz").read_bytes()) == of
        day, ahead = table.iloc[2 * k], table.iloc[2 * k + 1]
        told = read_json(folder / "cases" / name / "summary.json")
        for column in ("prosumer_cost_usd", "prosumer_cost_after_refund_usd", "congestion_rent_usd"):
            assert day[column] == pytest.approx(told[column], abs=0.01)
        back = told["refund_share_prosumers"] * (ahead["congestion_rent_usd"] - day["congestion_rent_usd"])
        before, after = (ahead[c] - day[c] for c in ("prosumer_cost_usd", "prosumer_cost_after_refund_usd"))
        assert after == pytest.approx(before - back, abs=0.01) and abs(before) > 1


def test_bills_by_either_rule_are_found_again_from_the_stored_decisions():
    """data/results/rights.csv, Case 4 on the feeder of the paper: both rows and all their figures, spreads as well."""
    spec = importlib.util.spec_from_file_location("rights", DATA / "results" / "rights.py")
    rights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rights)
    result = read_made(DATA / "results" / "cases" / "odd" / "case-4", ready("ieee33", "odd"))
    rows = pd.read_csv(DATA / "results" / "rights.csv").set_index(["study", "half", "case", "rights"])
    for rule, ahead in (("day", None), ("day_ahead", as_cleared(result.clearing, result.decisions))):
        found = rights.bills(result, replace(result.days, ahead=ahead))
        assert found == pytest.approx(rows.loc[("ieee33", "odd", 4, rule)].to_dict(), rel=1e-7)
