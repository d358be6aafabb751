"""Statistics of judged days: clusters by hand, exact tests, corrections, and each verdict from a case built for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tritier.evaluation.inference import Estimate, clustered, holm, paired_weeks_p, verdict, week_of


def test_weeks_are_iso_weeks_and_resampled_days_belong_to_their_load_date():
    labels = ["2016-01-03", "2016-01-04", "2016-01-10", "2016-01-11 | 2016-05-02"]
    assert week_of(labels).tolist() == ["2015-W53", "2016-W01", "2016-W01", "2016-W02"]


def test_clustered_error_by_hand():
    # Weeks {1, 3} and {5, 7, 9}: mean 5, sums of deviations -6 and 6, sqrt(2 / 1 (36 + 36)) / 5 = 2.4.
    found = clustered(np.array([1.0, 3.0, 5.0, 7.0, 9.0]), np.array(["a", "a", "b", "b", "b"]))
    assert found.mean == pytest.approx(5.0)
    assert found.error == pytest.approx(2.4)
    assert found.half_width == pytest.approx(2.4 * 12.7062047, rel=1e-8)
    assert found.p_value == pytest.approx(2 * stats.t.sf(5 / 2.4, 1))


def test_one_day_a_week_is_students_interval():
    x = np.array([3.0, -1.0, 4.0, 1.0, 5.0])
    found = clustered(x, np.arange(5).astype(str))
    assert found.error == pytest.approx(x.std(ddof=1) / np.sqrt(5))
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 4, x.mean(), found.error))


def test_days_that_repeat_within_a_week_add_no_certainty():
    weeks = np.repeat(np.arange(6).astype(str), 5)
    x = np.repeat([10.0, -4.0, 3.0, 8.0, -6.0, 1.0], 5)
    by_week, by_day = clustered(x, weeks), clustered(x, np.arange(30).astype(str))
    assert by_week.error == pytest.approx(np.array([10, -4, 3, 8, -6, 1]).std(ddof=1) / np.sqrt(6))
    assert by_week.half_width > 2 * by_day.half_width


def test_a_single_week_bounds_nothing():
    found = clustered(np.array([1.0, 2.0]), np.array(["a", "a"]))
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert found.p_value == 1.0
    assert verdict(5.0, found) == "not resolved"


def test_the_detectable_effect_is_found_four_times_in_five():
    rng = np.random.default_rng(1)
    truth = Estimate(0.0, 1 / np.sqrt(20), 20, 20).detectable
    samples = rng.normal(truth, 1, (4000, 20))
    hits = [clustered(x, np.arange(20).astype(str)).low > 0 for x in samples]
    assert np.mean(hits) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("only_before, only_after, p", [(3, 1, 0.625), (2, 0, 0.5), (10, 0, 2 / 2**10), (0, 0, 1.0)])
def test_mcnemar_is_exact(only_before, only_after, p):
    before = np.array([True] * only_before + [False] * only_after + [True, False])
    after = np.array([False] * only_before + [True] * only_after + [True, False])
    weeks = np.arange(before.size).astype(str)  # of one day each
    assert paired_weeks_p(before, after, weeks) == pytest.approx(p)


def test_a_week_counts_once_however_many_of_its_days_are_hit():
    """Five days less in each of two weeks, one more in a third, as many as before in a fourth: 1 of 3 signs is p 1."""
    weeks = np.repeat(["a", "b", "c", "d"], 5)
    before = np.repeat([True, True, False, True], 5)
    after = np.repeat([False, False, False, True], 5)
    after[10] = True
    assert paired_weeks_p(before, after, weeks) == 1.0
    after[10] = False
    assert paired_weeks_p(before, after, weeks) == 0.5, "where McNemar's test over ten days says 0.002"


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(
    "paper, mean, error, word",
    [
        (100.0, 95.0, 2.0, "reproduced in size"),
        (100.0, 60.0, 25.0, "reproduced in size"),  # the interval holds the paper's change
        (100.0, 20.0, 2.0, "reproduced in direction"),
        (100.0, -20.0, 2.0, "contrary"),
        (100.0, 20.0, 15.0, "not resolved"),
        (0.0, 20.0, 2.0, "not comparable"),
        (100.0, np.nan, 2.0, "not comparable"),
    ],
)
def test_verdicts_by_rule(paper, mean, error, word):
    assert verdict(paper, Estimate(mean, error, 30, 150)) == word


def test_a_correction_can_turn_a_verdict_into_not_resolved():
    found = Estimate(20.0, 9.0, 30, 150)
    assert verdict(100.0, found) == "reproduced in direction"
    assert verdict(100.0, found, holm([found.p_value, 0.01, 0.02])[0]) == "reproduced in direction"
    assert verdict(100.0, found, min(1.0, 8 * found.p_value)) == "not resolved"
