"""Intervals against known values, tables on days made by hand, and the rules by which verdicts are given."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritier.cases.cases import CASES
from tritier.cases.result import SETS, made_from, solve_case
from tritier.cases.solve import prepare
from tritier.errors import CertificateError
from tritier.evaluation import findings, heldout, inference, sweeps
from tritier.inputs.instance import Design, Menu
from tritier.inputs.scenarios import held_out_days, price_day, season_days
from tritier.inputs.study import read_study

ROOT = Path(__file__).resolve().parent.parent
ABSTRACT = pd.read_csv(ROOT / "data" / "paper" / "abstract.csv")
COLUMNS = (
    "welfare_usd",
    "social_cost_usd",
    "prosumer_cost_usd",
    "prosumer_cost_after_refund_usd",
    "ac_losses_kwh",
    "ac_violation_share",
    "peak_kw",
    "p2p_kwh",
    "curtailed_kwh",
    *findings.PARTS,
)


def days_by_hand(**changes: float) -> pd.DataFrame:
    """Ten days of ten weeks in Cases 1 and 4 that differ alike; in Case 4 a column is off by its change, nearly."""
    day = np.arange(10)
    label = [str(np.datetime64("2016-03-07") + 7 * int(k)) for k in day]
    frames = []
    for case in (1, 4):
        values = {name: 100.0 + day for name in COLUMNS}
        values["ac_violation_share"] = 0.02 + 0.001 * day
        for name, change in changes.items():
            values[name] = values[name] + (change * (1 + 0.01 * day) if case == 4 else 0.0)
        frames.append(pd.DataFrame(values).assign(day=label, case=case, policy=CASES[case].policy))
    return pd.concat(frames, ignore_index=True)


def test_none_of_thirty_days_still_allows_one_in_nine():
    """Clopper and Pearson, k = 0: 1 - 0.025^(1/30) = 11.57 %."""
    assert findings.share_interval(0, 30) == pytest.approx((0, 0, 1 - 0.025 ** (1 / 30)))
    assert findings.share_interval(30, 30) == pytest.approx((1, 0.025 ** (1 / 30), 1))


def test_exact_interval_of_a_textbook_sample():
    """4 of 20: 5.73 % to 43.66 % (Clopper and Pearson)."""
    assert findings.share_interval(4, 20) == pytest.approx((0.2, 0.0573, 0.4366), abs=5e-5)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_exact_interval_holds_the_share_and_is_never_empty(sample):
    share, low, high = findings.share_interval(*sample)
    assert 0 <= low <= share <= high <= 1
    assert high > low


def test_a_mean_over_days_takes_a_week_for_one_observation():
    """Days 1, 1, 3, 3 in two weeks: standard error sqrt(2 / 1 (2^2 + 2^2)) / 4 = 1, t_{1, 0.975} = 12.7062."""
    table = pd.DataFrame({"day": ["2016-03-07", "2016-03-08", "2016-03-14", "2016-03-15"], "x": [1.0, 1.0, 3.0, 3.0]})
    found = findings.mean_over_days(table, "x")
    assert (found.mean, found.half_width) == pytest.approx((2.0, 12.7062), rel=1e-5)


@given(paper=st.floats(1, 1e4), off=st.floats(-0.1, 0.1))
def test_a_level_is_calibrated_within_a_thousandth(paper, off):
    word = findings.level_verdict(paper, paper * (1 + off))
    if abs(abs(off) - findings.CALIBRATED) > 1e-9:
        assert word == ("calibrated" if abs(off) <= findings.CALIBRATED else "not comparable")


def test_a_level_that_is_not_known_is_not_comparable():
    assert findings.level_verdict(5.0, np.nan) == "not comparable"


def verdicts(daily: pd.DataFrame, **calibrated: float) -> pd.DataFrame:
    levels = {"welfare_usd": 1675.7, "prosumer_cost_usd": 4521.3} | calibrated
    table = findings.against_paper(ABSTRACT, levels, daily)
    assert set(table["verdict"]) <= set(inference.VERDICTS)
    assert table["reason"].str.len().min() > 0
    return table.set_index(["figure", "unit"])["verdict"]


def test_every_row_follows_the_sign_of_its_change():
    up = verdicts(days_by_hand(welfare_usd=5.0, prosumer_cost_usd=5.0, ac_losses_kwh=5.0, ac_violation_share=0.01))
    down = verdicts(
        days_by_hand(
            welfare_usd=-5.0,
            prosumer_cost_usd=-5.0,
            prosumer_cost_after_refund_usd=-5.0,
            ac_losses_kwh=-5.0,
            ac_violation_share=-0.01,
        )
    )
    for unit in ("%", "$/day"):
        assert up["welfare, change", unit] == "reproduced in direction"
        assert down["welfare, change", unit] == "contrary"
    for row in (
        ("prosumer cost, Case 4", "$/day"),
        ("prosumer cost, change", "%"),
        ("losses, change", "%"),
        ("bus-hours outside the band, Case 4", "%"),
    ):
        assert up[row] == "contrary"
        assert down[row] == "reproduced in direction"
    assert up["prosumer cost, change, after refund", "%"] == "not resolved"  # no change at all
    assert down["prosumer cost, change, after refund", "%"] == "reproduced in direction"


def test_a_base_that_is_not_positive_has_no_percentage():
    daily = days_by_hand(welfare_usd=5.0)
    daily["welfare_usd"] -= 500
    rows = verdicts(daily)
    assert rows["welfare, change", "%"] == "not comparable"
    assert rows["welfare, change", "$/day"] == "reproduced in direction"


def test_no_violation_to_begin_with_is_not_comparable():
    daily = days_by_hand()
    daily["ac_violation_share"] = 0.0
    assert verdicts(daily)["bus-hours outside the band, Case 4", "%"] == "not comparable"


def test_other_settings_are_not_called_calibrated():
    rows = verdicts(days_by_hand(), welfare_usd=1600.0)
    assert rows["welfare, Case 1", "$/day"] == "not comparable"
    assert rows["prosumer cost, Case 1", "$/day"] == "calibrated"


def test_pairing_by_day_takes_out_what_days_have_in_common():
    daily = days_by_hand(welfare_usd=5.0)
    row = findings.paired_changes(daily, ["welfare_usd"]).iloc[0]
    assert row.change == pytest.approx(5 * 1.045)
    assert row.high - row.low < 0.25  # the days themselves spread by 9


def test_both_comparisons_by_hand():
    """Ten weeks of one day: secured welfare 7 $ up under own policies, 3 under redispatch; three days less are hit."""
    own = days_by_hand()
    own["secured_welfare_usd"] = own["welfare_usd"] + np.where(own["case"] == 4, 7.0, 0.0)
    own.loc[(own["case"] == 4) & (own["day"] < "2016-03-28"), "ac_violation_share"] = 0.0
    hard = own.assign(policy="hard-limit redispatch")
    hard["secured_welfare_usd"] -= np.where(hard["case"] == 4, 4.0, 0.0)
    table = findings.comparisons(pd.concat([own, hard]), bases=(1,)).set_index(["kind", "quantity"])
    assert table.loc[("own policy", "secured_welfare_usd"), "change"] == pytest.approx(7.0)
    assert table.loc[("hard-limit redispatch", "secured_welfare_usd"), "change"] == pytest.approx(3.0)
    days = table.loc[("own policy", "days_with_a_violation")]
    assert (days.base_mean, days.change) == (
        10,
        -3,
    ) and days.p_value == 1.0  # three weeks of three: 0.25, times the rows it is among
    assert table.loc[("own policy", "welfare_usd"), "p_value"] == 1.0 and len(table) == 12


def test_a_comparison_is_read_with_its_interval_and_a_count_without():
    own = days_by_hand(welfare_usd=5.0).assign(secured_welfare_usd=100.0)
    found = findings.comparisons(pd.concat([own, own.assign(policy=findings.HARD)]), bases=(1,))
    told = findings.comparison_table(found)
    assert len(told) == len(found) and not told.isna().any(axis=None)
    first, last = told.iloc[0], told[told["quantity"] == "days with a violation"].iloc[0]
    low, high = (float(end) for end in first["95 % interval"].split(" to "))
    assert (low, high) == pytest.approx((found["low"].iloc[0], found["high"].iloc[0]), rel=1e-3)
    assert (last["95 % interval"], last["detectable"]) == ("none", "counted")
    share = told[told["quantity"] == "bus-hours outside the band, %"].iloc[0]
    held = found[found["quantity"] == "ac_violation_share"].iloc[0]
    assert share["mean there"] == pytest.approx(100 * held["base_mean"])
    assert first["Case 4 against"] == "Case 1, own policy"
    assert [findings.p_in_words(p) for p in (0.04, 0.0001, np.nan)] == ["0.040", "<0.001", "–"]


def test_violation_shares_by_hand():
    """Two buses, two hours, three days: one bus-hour on two days, another on one of them."""
    depth = np.zeros((2, 2, 3))
    depth[0, 1, 0], depth[0, 1, 2], depth[1, 0, 2] = 0.01, 0.02, 0.005
    found = heldout.violation_shares(depth, np.array([0.5, 0.3, 0.2]))
    assert found["largest_share"] == pytest.approx(0.7)
    assert found["mean_share"] == pytest.approx((0.7 + 0.2) / 4)
    assert found["day_share"] == pytest.approx(0.7)
    assert (found["days_hit"], found["days"], found["depth_pu"]) == (2, 3, 0.02)


@pytest.fixture(scope="module")
def solved():
    """Cases 1 and 4 with four prosumers and as much load as the limits allow, judged on held-out days."""
    changes = {"n_prosumers": 4, "days_used": 3, "load.scale": 0.9, "menus.smoke.coincident_peak": [0.0]}
    prepared = prepare(ROOT / "data" / "studies" / "ieee33", "smoke", changes)
    days = held_out_days(prepared.study, prepared.preset)
    cases = {k: solve_case(prepared, k) for k in (1, 4)}
    judgements = {k: heldout.judged(prepared, k, s.decisions, days) for k, s in cases.items()}
    found = {k: heldout.find(prepared, k, cases[k].decisions, judgements[k]) for k in cases}
    return prepared, days, cases, judgements, found


def test_a_case_that_does_not_certify_is_not_judged_for_the_book(solved, monkeypatch):
    prepared, _, cases, *_ = solved
    arrays = cases[1].decisions.arrays
    false = replace(cases[1], decisions=replace(cases[1].decisions, arrays=arrays | {"gp": arrays["gp"] * 1.01}))
    for made, refused in ((cases[1], False), (false, True)):
        monkeypatch.setattr(heldout, "read_or_solve", lambda *asked, made=made: made)
        with pytest.raises(CertificateError, match=r"decisions\.P") if refused else nullcontext():
            assert heldout.fresh(replace(prepared), 1) is cases[1]


def test_gains_of_all_agents_add_up_to_the_change_of_welfare(solved):
    found = solved[-1]
    daily = pd.concat([f.daily for f in found.values()])
    change = findings.paired_changes(daily, ("welfare_usd",)).set_index("case")["change"]
    assert findings.gains_of_agents(found)[4].sum() == pytest.approx(change[4], abs=1e-6)


def test_refunds_reach_prosumers_whole(solved):
    """Each prosumer's saving after refunds adds up to what prosumers gain together."""
    found = solved[-1]
    saved = findings.savings_of_prosumers(found)["Case 4"].sum()
    assert saved == pytest.approx(findings.gains_of_agents(found).loc["prosumers", 4], abs=1e-6)
    for f in found.values():
        head = findings.headline(f.daily)
        agents = f.agents.set_index("agent").loc["prosumers"]
        assert head["prosumer_cost_usd"].mean() == pytest.approx(-agents["before_refund_usd"], abs=1e-6)
        assert head["prosumer_cost_after_refund_usd"].mean() == pytest.approx(-agents["after_refund_usd"], abs=1e-6)


def test_parts_of_social_cost_add_up(solved):
    daily = pd.concat([f.daily for f in solved[-1].values()])
    step = findings.decomposition(daily).iloc[0]
    assert step[list(findings.PARTS)].sum() == pytest.approx(step["change"], abs=1e-6)


def test_the_promise_is_kept_as_cleared(solved):
    _, _, cases, judgements, _ = solved
    table = findings.promised_and_found(cases[4], judgements[4]["market policy"]).set_index(["days_of", "model"])
    level = cases[4].clearing.rules.chance_level
    assert table.loc[("as cleared", "promised"), "largest_share"] <= level
    assert (table["mean_share"] <= table["largest_share"] + 1e-12).all()
    assert cases[4].decisions.blocks  # and it binds
    assert findings.worst_scenario_share(cases[4]) == 1.0  # three scenarios, each likelier than half of 5 %


def test_tables_are_kept_and_found_again(solved, tmp_path):
    prepared, days, cases, _, found = solved
    found[4].write(tmp_path)
    again = heldout.HeldOut.read(tmp_path)
    for kept, made in ((again.daily, found[4].daily), (again.violations, found[4].violations)):
        pd.testing.assert_frame_equal(kept, made, check_dtype=False, rtol=1e-8)
    assert not made_from(tmp_path / "case", prepared)
    fresh = heldout.of_case(tmp_path / "none", prepared, 1, days)
    pd.testing.assert_frame_equal(fresh.violations, found[1].violations)
    grid = findings.grid(found)
    assert len(grid) == 5
    assert grid.groupby("case")["headline"].sum().tolist() == [1, 1]
    drawn = findings.intervals(grid)
    assert (drawn["day_share_low"] <= drawn["day_share"]).all() and (
        drawn["day_share"] <= drawn["day_share_high"]
    ).all()
    width = drawn["welfare_usd_high"] - drawn["welfare_usd_low"]
    assert width.tolist() == pytest.approx((2 * grid["welfare_usd_half"]).tolist())
    assert len(findings.certificate_table(cases[1].certificates())) == 9
    assert findings.headline_table(cases[1].summary())["value"].notna().all()


@pytest.mark.parametrize("name", ["ieee69", "oberrhein2"])
def test_changes_by_policy_are_day_by_day_under_one_policy(name):
    """Stored second feeders: means of differences on the same days, own policies first, then one operator in all."""
    daily = findings.elsewhere(ROOT / "data" / "results" / "elsewhere")[name]
    rows = findings.changes_by_policy({name: daily})
    assert list(zip(rows["case"], rows["headline"], strict=True)) == [(2, True), (2, False), (4, True), (4, False)]
    for row in rows.to_dict("records"):
        now, was = (
            daily[(daily["case"] == k) & (daily["policy"] == (CASES[k].policy if row["headline"] else findings.HARD))]
            for k in (row["case"], 1)
        )
        for quantity in ("secured_welfare_usd", "ac_losses_kwh"):
            change = now.set_index("day")[quantity] - was.set_index("day")[quantity]
            assert row[quantity] == pytest.approx(change.mean())
            assert row[f"{quantity}_low"] < row[quantity] < row[f"{quantity}_high"]


@pytest.mark.parametrize("name", ["ieee33", "ieee33-2045"])
def test_the_gains_stand_on_days_that_share_no_price_with_a_design_and_on_those_without_calibration(name):
    days = findings.on_days_apart(name)
    assert [table["day"].nunique() for table in days.values()] == [62, 52, 29]
    study, apart = read_study(ROOT / "data" / "studies" / name), days["with prices of their own"]
    for half, other in (("odd", "even"), ("even", "odd")):
        designed = {study.wholesale[price_day(study, k)].tobytes() for k in season_days(study, half)}
        judged = {
            str(study.dates[k]): study.wholesale[price_day(study, k)].tobytes() for k in season_days(study, other)
        }
        left = {day: price for day, price in judged.items() if day in set(apart["day"])}
        assert not set(left.values()) & designed and len(judged) - len(left) == 5
    for table in days.values():
        pair = findings.comparisons(table).set_index(["base", "kind", "quantity"]).loc[1]
        for kind, quantity in ((findings.OWN, "welfare_usd"), (findings.HARD, "secured_welfare_usd")):
            row = pair.loc[(kind, quantity)]
            assert row.change > 0 and row.p_value <= 0.05
        cost = pair.loc[(findings.OWN, "prosumer_cost_after_refund_usd")]
        assert cost.change < 0 and cost.p_value <= 0.05


def test_results_with_other_parameters_go_to_a_folder_of_their_own(solved, tmp_path):
    assert heldout.results_folder(tmp_path, solved[0]).parent == tmp_path


def test_results_of_another_study_go_to_a_folder_of_their_own(tmp_path):
    """Not to the book's, nor to one of a third study; and nothing is expected of it."""
    book, other = (prepare(ROOT / "data" / "studies" / name, "smoke") for name in ("ieee33", "ieee33-2045"))
    assert heldout.results_folder(tmp_path, book) == tmp_path
    assert heldout.results_folder(tmp_path, other) == tmp_path / f"study={other.study.data_hash[:12]}"
    assert heldout.of_the_book(book.study) and not heldout.of_the_book(other.study)


def test_a_chosen_design_is_shown_with_every_component_of_the_tariff():
    menu = Menu(((0.02,), (0.02, 0.05), (0.08,)), (0.04,), ((1, (1700.0, 4700.0)),), (0.0, 0.1), (0.0, 0.38))
    design = Design((0.02, 0.05, 0.08), 0.04, ((1, 1700.0),), 0.1, 0.38)
    table = findings.choice_table(menu, design, 0.0833, 321.0).set_index("decision")
    assert table.loc["energy charge, day", "network charge today"] == "0.0833" and "Case 1" not in table
    assert table["chosen"].to_dict() == {
        "energy charge, off-peak": "0.02",
        "energy charge, day": "0.05",
        "energy charge, peak": "0.08",
        "P2P charge": "0.04",
        "individual peak charge": "0.1",
        "coincident peak charge": "0.38",
        "fixed charge, all customers": "321",
        "limit of line 1": "1,700",
    }
    assert (
        table.loc["coincident peak charge", "menu"] == "0, 0.38"
        and table.loc["limit of line 1", "menu"] == "1,700, none"
    )


def test_stored_designs_are_told_with_their_limits_and_rent():
    """Chapter 16 prints every design that is stored, and what network prices bring beside its tariff."""
    table = findings.kept_designs().set_index("figure")
    studies = {"ieee33": "paper", "ieee33-2045": "fast"}
    assert list(table) == [f"{study}, preset {studies[study]}, {half} weeks" for study, _, half, *_ in SETS.values()]
    for name, column in zip(SETS, table, strict=True):
        folder = ROOT / "data" / "results" / "cases" / name / "case-4"
        summary = json.loads((folder / "summary.json").read_text())
        told = table[column]
        assert float(told["congestion rent [$/day]"]) == pytest.approx(summary["congestion_rent_usd"], abs=0.5)
        assert float(told["coincident peak charge [$/kW]"]) > 0
        study, preset, _ = column.split(", ")
        menu = dict(read_study(ROOT / "data" / "studies" / study).menu(preset.removeprefix("preset ")).capacity)
        with np.load(folder / "decisions.npz") as kept:
            for line, cap in zip(map(int, kept["cap_line"]), kept["cap"], strict=True):
                expected = "none" if cap == max(menu[line]) else f"{cap:,.0f}"
                assert told[f"limit of line {line} [kW]"] == expected
    assert "none" in table.loc["limit of line 1 [kW]"].tolist()  # the largest limit of a menu never binds
    chapter = (ROOT / "chapters" / "16-against-the-paper.ipynb").read_text()
    assert "findings.kept_designs()" in chapter


@pytest.mark.parametrize("study", heldout.STUDIES)
def test_cases_do_not_recover_the_same_on_judging_days(study):
    """From the stored days: one cost to recover for all cases and days of a half, and one share of what is returned.
    Cases recover it unequally, so a comparison before the refund holds what the DSO keeps."""
    daily = findings.headline(heldout.kept_days(study))
    fixed = daily["dso_revenue_usd"] - daily["loss_cost_usd"] - daily["demand_charge_usd"] - daily["dso_surplus_usd"]
    refund = daily["prosumer_cost_usd"] - daily["prosumer_cost_after_refund_usd"]
    share = refund / (daily["dso_surplus_usd"] + daily["congestion_rent_usd"])
    halves = [set(h[1].daily["day"]) for h in (heldout.kept(study, s) for s in (heldout.REAL, heldout.SWAPPED)) if h]
    assert sum(len(days) for days in halves) == daily["day"].nunique()
    for days in halves:
        own = daily["day"].isin(days)
        assert np.ptp(fixed[own]) < 1e-4 and fixed[own].iloc[0] > 100
        assert np.ptp(share[own]) < 1e-4 and 0 < share[own].iloc[0] < 1
    found = findings.recovered(study).set_index("case")
    assert list(found.index) == list(CASES)
    assert found["surplus_usd"].to_numpy() == pytest.approx(
        daily["dso_surplus_usd"].groupby(daily["case"]).mean().to_numpy(), abs=1e-9
    )
    assert found["refund_usd"].to_numpy() == pytest.approx(refund.groupby(daily["case"]).mean().to_numpy(), abs=1e-9)
    assert np.ptp(found["surplus_usd"]) > 100, "they do differ"
    steps = findings.paired_changes(daily, ["prosumer_cost_usd", "prosumer_cost_after_refund_usd"])
    before, after = (steps[steps["quantity"] == q].set_index("case")["change"] for q in steps["quantity"].unique())
    returned = found["refund_usd"] - found.loc[1, "refund_usd"]
    assert (before - after).to_numpy() == pytest.approx(returned.drop(1).to_numpy(), abs=1e-6)


def test_days_of_scarcity_are_those_on_which_violation_is_bought():
    """Two days in January and one in July: on the second Case 4 buys 5 kWh, at a rent of 90 $ and 30 $ more for all."""
    rows = [
        (1, "network-blind", "2016-01-02", 100.0, 0.0, 0.0),
        (1, "network-blind", "2016-01-09", 110.0, 0.0, 0.0),
        (1, "network-blind", "2016-07-02", 50.0, 0.0, 0.0),
        (4, "market policy", "2016-01-02", 96.0, 0.0, 1.0),
        (4, "market policy", "2016-01-09", 140.0, 5.0, 90.0),
        (4, "market policy", "2016-07-02", 48.0, 0.05, 0.0),
        (4, "hard-limit redispatch", "2016-07-02", 900.0, 70.0, 1000.0),
    ]
    names = ["case", "policy", "day", "prosumer_cost_after_refund_usd", "bought_violation_kwh", "congestion_rent_usd"]
    found = findings.scarcity(pd.DataFrame(rows, columns=names))
    assert found.to_dict() == {
        "days": 3,
        "scarce": 1,
        "months": [1],
        "rent_usd": 90.0,
        "more_usd": 30.0,
        "more_elsewhere_usd": -3.0,
    }


BEYOND = (
    "On weekends and in other seasons, for which no design was made, the electrified prosumers' cost after refund "
    "rises in the mean; neither rise is resolved"
)


@pytest.mark.parametrize("days", [heldout.WEEKENDS, heldout.WEEKDAYS], ids=lambda days: days.slug)
def test_the_first_pages_tell_what_electrified_prosumers_pay_beyond_the_season(days):
    found = findings.comparisons(heldout.kept_days("ieee33-2045", [days])).set_index(["base", "kind", "quantity"])
    row = found.loc[(1, findings.OWN, "prosumer_cost_after_refund_usd")]
    assert row.change > 0 and findings.resolution(row.p_value) == "not resolved"
    for page in ("intro.md", "README.md"):
        assert BEYOND in (ROOT / page).read_text()


def test_counts_of_days_in_the_first_table_are_marked_as_changes_are():
    """Ten days hit against three of ten by one case alone: McNemar's p times the rows it is among exceeds 5 %."""
    own = days_by_hand().assign(secured_welfare_usd=100.0)
    own.loc[(own["case"] == 4) & (own["day"] < "2016-03-28"), "ac_violation_share"] = 0.0
    both = [own, own[own["case"] == 1].assign(case=2, policy=CASES[2].policy)]
    cells = findings.answer_cells(pd.concat([*both, *(part.assign(policy=findings.HARD) for part in both)]))
    assert cells[findings.HITS[0]] == "10 to 7 of 10, not resolved"


@pytest.mark.parametrize("study", heldout.STUDIES)
def test_the_first_table_tells_how_deep_violations_under_redispatch_are(study):
    """From the stored tables, both halves: no less than any, and rounded by less than a ten-thousandth."""
    stored = [heldout.kept(study, days)[case].violations for days in (heldout.REAL, heldout.SWAPPED) for case in (1, 4)]
    hard = pd.concat(stored).query("policy == @findings.HARD")
    linear, ac = (hard[hard["model"] == model] for model in ("LinDistFlow", "AC"))
    assert linear["days_hit"].sum() == 0
    told = findings.depth_in_words(study)
    if ac["days_hit"].sum() == 0:
        assert told == "none"
    else:
        depth = float(told.removeprefix("at most ").partition(" in AC, none in the linear model")[0])
        assert 0 <= depth - ac["depth_pu"].max() < 1e-4
    assert told in (ROOT / "data" / "results" / "answer.md").read_text()


def test_what_changes_the_days_with_a_violation_is_told_step_by_step():
    def of(**hits: int) -> heldout.HeldOut:
        rows = [{"policy": p.replace("_", " "), "model": "AC", "days_hit": n} for p, n in hits.items()]
        return heldout.HeldOut(*([pd.DataFrame()] + [pd.DataFrame(rows)] + 3 * [pd.DataFrame()]))

    base = of(**{"network-blind": 5})
    seen = of(**{"network-blind": 3, "market policy": 1, "hard-limit redispatch": 0})
    assert findings.voltage_in_words(base, seen).endswith(
        "has 5 such days: tariffs and trades, network-blind, change that by -2, the network seen at delivery by -2 more"
    )
    alike = of(**{"network-blind": 0, "market policy": 0, "hard-limit redispatch": 0})
    assert "do not differ" in findings.voltage_in_words(base, alike)


def test_claims_are_counted_once_whatever_their_rows():
    rows = [
        ("welfare, change", "reproduced in size"),
        ("welfare, Case 1", "calibrated"),
        ("losses, change", "contrary"),
    ]
    table = pd.DataFrame([*rows, ("welfare, change", "reproduced in direction")], columns=["figure", "verdict"])
    assert findings.claims(table).to_dict() == {"losses": False, "welfare": False}
    assert findings.claims(table.iloc[:3]).to_dict() == {"losses": False, "welfare": True}


def test_rights_ahead_move_costs_by_what_the_stored_table_says():
    rights = pd.read_csv(ROOT / "data" / "results" / "rights.csv")
    assert list(findings.rights_table(rights)) == list(findings.RIGHTS.values())
    moved = findings.moved_by_rights(rights, "prosumer_cost_after_refund_usd")
    pairs = rights[rights["case"] == 4].groupby(["study", "half"])["prosumer_cost_after_refund_usd"]
    by_hand = pairs.agg(lambda cost: cost.iloc[1] - cost.iloc[0])  # day, then day_ahead
    assert (moved.loc[4, "least"], moved.loc[4, "most"]) == pytest.approx((by_hand.min(), by_hand.max()))


def test_trade_by_scenario_costs_society_at_the_flat_tariff_and_spares_it_at_the_design():
    """The sentence under *Trade by scenario*, of the worths: 12 scenarios of preset fast, a design of paper."""
    assumed, measured = sweeps.worths(ROOT / "data" / "results")
    by_rule = assumed.set_index("assumption").loc[["as it is", "P2P trade"]]
    assert by_rule["flat_usd"].is_monotonic_increasing and not by_rule["design_usd"].is_monotonic_increasing
    assert by_rule.loc["P2P trade", "worth_usd"] == pytest.approx(-by_rule["design_usd"].diff().iloc[1])
    assert (measured["preset"], measured["design"]["preset"]) == ("fast", "paper")
    assert read_study(ROOT / "data" / "studies" / "ieee33").preset(measured["preset"]).n_scenarios == 12
