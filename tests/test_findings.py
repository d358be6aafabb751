"""Intervals against known values, tables on days made by hand, and the rules by which verdicts are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritier.cases.cases import CASES
from tritier.cases.result import made_from, solve_case
from tritier.cases.solve import prepare
from tritier.errors import InputError
from tritier.evaluation import findings, heldout
from tritier.inputs.scenarios import held_out_days

ROOT = Path(__file__).resolve().parent.parent
ABSTRACT = pd.read_csv(ROOT / "data" / "paper" / "abstract.csv")
EXPECTED = pd.read_csv(ROOT / "data" / "paper" / "expected.csv")
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
    """Ten days of Cases 1 and 4 that differ from day to day alike; in Case 4 a column is off by its change, nearly."""
    day = np.arange(10)
    frames = []
    for case in (1, 4):
        values = {name: 100.0 + day for name in COLUMNS}
        values["ac_violation_share"] = 0.02 + 0.001 * day
        for name, change in changes.items():
            values[name] = values[name] + (change * (1 + 0.01 * day) if case == 4 else 0.0)
        frames.append(pd.DataFrame(values).assign(day=day, case=case, policy=CASES[case].policy))
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


def test_interval_of_a_mean_is_students():
    """Five numbers of mean 3 and standard deviation sqrt(2.5); t_{4, 0.975} = 2.7764."""
    mean, low, high = findings.mean_interval(np.arange(1.0, 6.0))
    assert (mean, high - mean, mean - low) == pytest.approx((3.0, *[2.776445 * np.sqrt(2.5 / 5)] * 2), rel=1e-6)


def test_one_day_bounds_nothing():
    assert findings.mean_interval([7.0]) == (7.0, -np.inf, np.inf)


@given(
    paper=st.floats(0.1, 1e4),
    sign=st.sampled_from([-1.0, 1.0]),
    ours=st.floats(-1e4, 1e4),
    half=st.floats(0, 1e4),
)
def test_a_direction_is_reproduced_only_if_the_whole_interval_has_the_papers_sign(paper, sign, ours, half):
    low, high = ours - half, ours + half
    word = findings.verdict("change", sign * paper, ours, low, high)
    same_side = low > 0 if sign > 0 else high < 0
    assert word == ("direction reproduced" if same_side else "direction not reproduced")
    mirrored = findings.verdict("change", -sign * paper, -ours, -high, -low)
    assert mirrored == word


@given(paper=st.floats(1, 1e4), off=st.floats(-0.1, 0.1))
def test_a_level_is_calibrated_within_a_thousandth(paper, off):
    word = findings.verdict("level", paper, paper * (1 + off))
    if abs(abs(off) - findings.CALIBRATED) > 1e-9:
        assert word == ("calibrated" if abs(off) <= findings.CALIBRATED else "not comparable")


def test_nothing_to_compare_is_not_comparable():
    assert findings.verdict("change", 0.0, 1.0, 0.5, 1.5) == "not comparable"
    assert findings.verdict("change", 5.0, 1.0, -np.inf, np.inf) == "not comparable"
    assert findings.verdict("level", 5.0, np.nan) == "not comparable"
    with pytest.raises(InputError, match="unknown kind"):
        findings.verdict("percentage", 1.0, 1.0)


def verdicts(daily: pd.DataFrame, **calibrated: float) -> pd.DataFrame:
    levels = {"welfare_usd": 1675.7, "prosumer_cost_usd": 4521.3} | calibrated
    table = findings.against_paper(ABSTRACT, levels, daily)
    assert set(table["verdict"]) <= set(findings.VERDICTS)
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
        assert up["welfare, change", unit] == "direction reproduced"
        assert down["welfare, change", unit] == "direction not reproduced"
    for row in (
        ("prosumer cost, Case 4", "$/day"),
        ("prosumer cost, change", "%"),
        ("losses, change", "%"),
        ("bus-hours outside the band, Case 4", "%"),
    ):
        assert up[row] == "direction not reproduced"
        assert down[row] == "direction reproduced"
    assert up["prosumer cost, change, after refund", "%"] == "direction not reproduced"  # no change at all
    assert down["prosumer cost, change, after refund", "%"] == "direction reproduced"


def test_a_base_that_is_not_positive_has_no_percentage():
    daily = days_by_hand(welfare_usd=5.0)
    daily["welfare_usd"] -= 500
    rows = verdicts(daily)
    assert rows["welfare, change", "%"] == "not comparable"
    assert rows["welfare, change", "$/day"] == "direction reproduced"


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


def test_expectations_name_known_quantities():
    known = set(findings.QUANTITIES) | {"days"}
    assert set(EXPECTED["quantity"]) <= known
    assert set(EXPECTED["case"]) <= set(CASES)
    assert not EXPECTED.isna().any().any()


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
    prepared = prepare(
        ROOT / "data" / "studies" / "ieee33", "smoke", {"n_prosumers": 4, "days_used": 3, "load.scale": 0.9}
    )
    days = held_out_days(prepared.study, prepared.preset)
    cases = {k: solve_case(prepared, k) for k in (1, 4)}
    judgements = {k: heldout.judged(prepared, k, s.decisions, days) for k, s in cases.items()}
    found = {k: heldout.find(prepared, k, cases[k].decisions, judgements[k]) for k in cases}
    return prepared, days, cases, judgements, found


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
    table = findings.promised_and_found(cases[4], judgements[4]["design policy"]).set_index(["days_of", "model"])
    level = cases[4].clearing.rules.chance_level
    assert table.loc[("as cleared", "promised"), "largest_share"] <= level
    assert (table["mean_share"] <= table["largest_share"] + 1e-12).all()
    assert cases[4].decisions.blocks  # and it binds
    assert findings.worst_scenario_share(cases[4]) == 1.0  # three scenarios, each likelier than half of 5 %


def test_tables_are_kept_and_found_again(solved, tmp_path):
    prepared, days, cases, _, found = solved
    found[4].write(tmp_path)
    again = heldout.HeldOut.read(tmp_path)
    pd.testing.assert_frame_equal(again.daily, found[4].daily)
    pd.testing.assert_frame_equal(again.violations, found[4].violations)
    assert not made_from(tmp_path / "case", prepared)
    fresh = heldout.of_case(tmp_path / "none", prepared, 1, days)
    pd.testing.assert_frame_equal(fresh.violations, found[1].violations)
    grid = findings.grid(found)
    assert len(grid) == 6
    assert grid.groupby("case")["headline"].sum().tolist() == [1, 1]
    physics, money = findings.policy_tables(grid)
    assert len(physics) == len(money) == 6
    assert len(findings.certificate_table(cases[1].certificates())) == 9
    assert findings.headline_table(cases[1].summary())["value"].notna().all()


def test_results_with_other_parameters_go_to_a_folder_of_their_own(solved, tmp_path):
    assert heldout.results_folder(tmp_path, solved[0]).parent == tmp_path


def test_results_of_another_study_go_to_a_folder_of_their_own(tmp_path):
    """Not to the book's, nor to one of a third study; and nothing is expected of it."""
    book, other = (prepare(ROOT / "data" / "studies" / name, "smoke") for name in ("ieee33", "ieee33-2045"))
    assert heldout.results_folder(tmp_path, book) == tmp_path
    assert heldout.results_folder(tmp_path, other) == tmp_path / f"study={other.study.data_hash[:12]}"
    assert heldout.of_the_book(book.study) and not heldout.of_the_book(other.study)
