"""Statistics of judged days: intervals clustered by week, an exact test for counts of days, and verdicts by rule.

Days of one week resemble each other (lag-one correlation up to 0.6), so a week is one observation. The policy and the
quantity of a comparison are fixed before its table; several comparisons are corrected for by Holm's method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
POWER = 0.8
IN_SIZE = 0.25  # relative: a change that is this near the paper's counts as reproduced in size
VERDICTS = (
    "calibrated",
    "reproduced in size",
    "reproduced in direction",
    "contrary",
    "not resolved",
    "not comparable",
)


@dataclass(frozen=True)
class Estimate:
    """A mean over days, its standard error over weeks, and what follows."""

    mean: float
    error: float  # standard error, nan below two weeks
    weeks: int
    days: int
    confidence: float = CONFIDENCE

    @property
    def half_width(self) -> float:
        """Half of the confidence interval; a single week bounds nothing."""
        if self.weeks < 2:
            return np.inf
        return float(stats.t.ppf(0.5 + self.confidence / 2, self.weeks - 1)) * self.error

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width

    @property
    def p_value(self) -> float:
        """Two-sided p of a mean of zero; 1 where nothing can be said."""
        if self.weeks < 2:
            return 1.0
        if self.error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.weeks - 1))

    @property
    def detectable(self) -> float:
        """Smallest true mean that a test at this confidence would find with 80 % probability (:eq:`eq-detectable`)."""
        if self.weeks < 2:
            return np.inf
        df = self.weeks - 1
        return float(stats.t.ppf(0.5 + self.confidence / 2, df) + stats.t.ppf(POWER, df)) * self.error


def week_of(labels: Sequence[str]) -> np.ndarray:
    """Year and ISO week of days named by their ISO date (a resampled day by its load date), as ``2016-W09``."""
    dates = np.array([label.split(" ")[0] for label in labels], dtype="datetime64[D]").tolist()
    return np.array([f"{d.isocalendar().year}-W{d.isocalendar().week:02d}" for d in dates])


def clustered(x: np.ndarray, week: np.ndarray, confidence: float = CONFIDENCE) -> Estimate:
    """Mean over days with the standard error of weeks as clusters, CR1 (:eq:`eq-week-interval`).

    x: one value a day, (D,); week: its cluster, (D,).
    Source: Liang and Zeger (1986); the factor G / (G - 1) and t with G - 1 degrees of freedom for few clusters.
    """
    x = np.asarray(x, dtype=float)
    names, index = np.unique(week, return_inverse=True)
    mean, groups = float(x.mean()), names.size
    if groups < 2:
        return Estimate(mean, np.nan, groups, x.size, confidence)
    sums = np.bincount(index, weights=x - mean, minlength=groups)
    error = float(np.sqrt(groups / (groups - 1) * (sums**2).sum())) / x.size
    return Estimate(mean, error, groups, x.size, confidence)


def paired_weeks_p(before: np.ndarray, after: np.ndarray, week: np.ndarray) -> float:
    """Exact p of the sign test over weeks: are there as many weeks with fewer days hit as weeks with more?

    before, after: days hit in one case and in the other, booleans (D,); week: of each day, (D,). Days of a week are not
    independent, so that McNemar's test, which this is where each week has one day, would find too much in them.
    """
    _, index = np.unique(week, return_inverse=True)
    more = np.bincount(index, weights=np.asarray(after, dtype=float) - np.asarray(before, dtype=float))
    worse, differ = int((more > 0).sum()), int((more != 0).sum())
    return float(stats.binomtest(worse, differ, 0.5).pvalue) if differ else 1.0


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values corrected for their number by Holm's step-down method, in the order given. Source: Holm (1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(raised, 1.0)
    return corrected


def verdict(paper: float, ours: Estimate, p_value: float | None = None) -> str:
    """Verdict on a change that the paper reports, by rule (:eq:`eq-verdict`).

    paper, ours: changes against Case 1 in one unit; p_value: ours corrected for other tests (default: its own).
    *Not resolved* where the test cannot tell our change from zero; else *contrary* on the other side of zero; else
    *reproduced in size* where the paper's change lies in our interval or within a quarter of itself of our mean; else
    *reproduced in direction*.
    """
    if not np.isfinite([paper, ours.mean]).all() or paper == 0:
        return "not comparable"
    p = ours.p_value if p_value is None else p_value
    if ours.weeks < 2 or p > 1 - ours.confidence:
        return "not resolved"
    if np.sign(paper) != np.sign(ours.mean):
        return "contrary"
    near = abs(ours.mean - paper) <= IN_SIZE * abs(paper) or ours.low <= paper <= ours.high
    return "reproduced in size" if near else "reproduced in direction"
