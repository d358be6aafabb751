"""What held-out days show: intervals that know what a day is, tables of cases and policies, and verdicts on the paper.

A day is a cluster: its hours and buses are not independent, so every interval is over days. Means get Student's t
interval, shares of days the exact interval of Clopper and Pearson, which is not empty where no day was hit.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from tritier.cases.cases import CASES
from tritier.cases.recourse import DayDecisions
from tritier.cases.solve import SolvedCase
from tritier.errors import InputError
from tritier.evaluation.heldout import HeldOut, band_depths, violation_shares
from tritier.model.chance import Network

CONFIDENCE = 0.95
CALIBRATED = 1e-3  # relative: a calibrated figure agrees with the paper's
VERDICTS = ("calibrated", "direction reproduced", "direction not reproduced", "not comparable")
PARTS = ("wholesale_usd", "loss_cost_usd", "demand_charge_usd", "degradation_usd", "lost_value_usd")


def mean_interval(x: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Mean over days with Student's t interval (:eq:`eq-day-interval`); a single day bounds nothing."""
    x = np.asarray(x, dtype=float)
    mean = float(x.mean())
    if x.size < 2:
        return mean, -np.inf, np.inf
    half = float(stats.t.ppf(0.5 + confidence / 2, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size))
    return mean, mean - half, mean + half


def share_interval(hits: int, days: int, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Share of days hit with the exact interval of Clopper and Pearson (:eq:`eq-exact-interval`)."""
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, days - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, days - hits)) if hits < days else 1.0
    return hits / days, low, high


def headline(daily: pd.DataFrame) -> pd.DataFrame:
    """The rows of a daily table that carry each case's headline policy."""
    return daily[daily["policy"] == daily["case"].map(lambda k: CASES[k].policy)]


def paired_changes(daily: pd.DataFrame, columns, base: int = 1) -> pd.DataFrame:
    """Change of each case against a base case on the same days, headline policies: mean, interval and base, by column.

    Differences are taken day by day, so what a day costs whoever plays it drops out.
    """
    wide = headline(daily).pivot_table(index="day", columns="case", values=list(columns))
    rows = []
    for case in sorted(set(daily["case"]) - {base}):
        for column in columns:
            mean, low, high = mean_interval((wide[column][case] - wide[column][base]).to_numpy())
            rows.append((case, column, mean, low, high, float(wide[column][base].mean())))
    return pd.DataFrame(rows, columns=["case", "quantity", "change", "low", "high", "base"])


def decomposition(daily: pd.DataFrame) -> pd.DataFrame:
    """Social cost from case to case, $ per day: the step to each case with its interval, in all and by part."""
    order = sorted(set(daily["case"]))
    rows = []
    for before, after in pairwise(order):
        pair = daily[daily["case"].isin((before, after))]
        step = paired_changes(pair, ("social_cost_usd", *PARTS), before).set_index("quantity")
        total = step.loc["social_cost_usd"]
        parts = {part: float(step.loc[part, "change"]) for part in PARTS}
        rows.append(
            {"step": f"{before} to {after}", "change": total.change, "low": total.low, "high": total.high} | parts
        )
    return pd.DataFrame(rows)


def grid(findings: Mapping[int, HeldOut]) -> pd.DataFrame:
    """Cases x policies on the same days: violations in AC, losses, cost and welfare, with day-clustered intervals."""
    rows = []
    for number, found in findings.items():
        ac = found.violations[found.violations["model"] == "AC"].set_index("policy")
        for policy, days in found.daily.groupby("policy", sort=False):
            share = ac.loc[policy]
            row = {"case": number, "policy": policy, "headline": policy == CASES[number].policy}
            row |= share.drop(["case", "model"]).to_dict()
            row |= dict(zip(("day_low", "day_high"), share_interval(share.days_hit, share.days)[1:], strict=True))
            for column in ("ac_violation_share", "ac_losses_kwh", "prosumer_cost_usd", "welfare_usd"):
                mean, low, _ = mean_interval(days[column])
                row |= {column: mean, f"{column}_half": mean - low}
            rows.append(row)
    return pd.DataFrame(rows)


def gains_of_agents(cases: Mapping[int, HeldOut], base: int = 1) -> pd.DataFrame:
    """What each agent gains against a base case after refunds, $ per day: agents by cases. They sum to welfare's."""
    left = {number: found.agents.set_index("agent")["after_refund_usd"] for number, found in cases.items()}
    return pd.DataFrame({number: left[number] - left[base] for number in cases if number > base})


def savings_of_prosumers(cases: Mapping[int, HeldOut], base: int = 1) -> dict[str, np.ndarray]:
    """What each prosumer saves against a base case after refunds, $ per day, by case.

    Refunds go by the network charge paid in the base case.
    """
    key = cases[base].prosumers["network_usd"] / cases[base].prosumers["network_usd"].sum()
    cost = {}
    for number, found in cases.items():
        both = found.agents.set_index("agent").loc["prosumers"]
        back = both["after_refund_usd"] - both["before_refund_usd"]
        cost[number] = (found.prosumers["cost_usd"] - back * key).to_numpy()
    return {f"Case {k}": cost[base] - c for k, c in cost.items() if k > base}


def promised_and_found(solved: SolvedCase, held_out: DayDecisions) -> pd.DataFrame:
    """How often voltages leave the band: promised on the scenarios as cleared, found there and on held-out days.

    From LinDistFlow to AC on the same days is the model's error; from design scenarios to held-out days is sampling.
    """
    instance = solved.clearing
    nothing = np.zeros(instance.days.n_days)
    clearing = DayDecisions(instance, "as cleared", solved.decisions.arrays, solved.decisions["pi"], nothing)
    rows = []
    for where, day in (("as cleared", clearing), ("design scenarios", solved.days), ("held-out days", held_out)):
        for model, depth in band_depths(day).items():
            rows.append({"days_of": where, "model": model} | violation_shares(depth, day.instance.days.probability))
    return pd.DataFrame(rows)


def worst_scenario_share(solved: SolvedCase) -> float:
    """Share of chance blocks whose CVaR is mostly one scenario: the worst one fills more than half of the tail.

    Where S is below 2 / eps this is the rule, and a promise at level eps says little (:eq:`eq-worst-scenario`).
    """
    instance, decisions = solved.clearing, solved.decisions
    network = Network(instance)
    lines = {int(np.flatnonzero(instance.feeder.line == line)[0]): cap for line, cap in decisions.design.capacity}
    clearing = DayDecisions(instance, "as cleared", decisions.arrays, decisions["pi"], np.zeros(instance.days.n_days))
    weight = np.minimum(instance.days.probability / instance.rules.chance_level, 1.0)
    worst = []
    for violation in network.violations(clearing.net_load, lines).values():
        bounded = violation[np.isfinite(violation).all(axis=-1)]
        worst.append(weight[bounded.argmax(axis=-1)])
    return float((np.concatenate(worst) > 0.5).mean())


def verdict(kind: str, paper: float, ours: float, low: float = np.nan, high: float = np.nan) -> str:
    """Verdict on one figure of the paper, by rule.

    ``kind`` "level": calibrated if within a thousandth, else not comparable. ``kind`` "change": ``paper`` and ``ours``
    are changes against Case 1; the direction is reproduced if our whole interval [low, high] lies on the paper's side
    of zero.
    Raises InputError for another kind.
    """
    if kind not in ("level", "change"):
        raise InputError("data/paper/abstract.csv", "kind", f"unknown kind {kind!r}", "use level or change")
    if not np.isfinite([paper, ours]).all():
        return "not comparable"
    if kind == "level":
        return "calibrated" if abs(ours - paper) <= CALIBRATED * abs(paper) else "not comparable"
    if paper == 0 or not np.isfinite([low, high]).all():
        return "not comparable"
    return "direction reproduced" if np.sign(paper) * (low if paper > 0 else high) > 0 else "direction not reproduced"


def reason(kind: str, paper: float, ours: float, word: str) -> str:
    """Why a verdict is what it is, in a few words; arguments as in :func:`tritier.evaluation.findings.verdict`."""
    if word == "calibrated":
        return "Case 1 is calibrated to it"
    if word == "not comparable":
        return "calibrated for other settings" if kind == "level" else "nothing on our side to compare with"
    if word == "direction reproduced":
        return f"{100 * ours / paper:.0f} % of the paper's change"
    if abs(ours) < 1e-9:
        return "no change on these days"
    return "same sign, but the interval over days holds zero" if paper * ours > 0 else "not the paper's sign"


def against_paper(abstract: pd.DataFrame, calibrated: Mapping[str, float], daily: pd.DataFrame) -> pd.DataFrame:
    """Every figure of the paper beside ours: value, absolute and relative difference, verdict, reason.

    ``abstract``: data/paper/abstract.csv. ``calibrated``: welfare and prosumer cost of Case 1 on the days it was
    calibrated on, by quantity. ``daily``: judged days of cases 1 and 4. Where the paper prints a level of Case 4, its
    direction is that level less its Case 1. Percentages beside a base that is not positive are left out; a change in $
    always stands.
    """
    paper = abstract.set_index("id")["value"]
    columns = (
        "welfare_usd",
        "prosumer_cost_usd",
        "prosumer_cost_after_refund_usd",
        "ac_losses_kwh",
        "ac_violation_share",
    )
    steps = paired_changes(daily[daily["case"].isin((1, 4))], columns).set_index("quantity")
    welfare, losses, band = (steps.loc[c] for c in ("welfare_usd", "ac_losses_kwh", "ac_violation_share"))
    gain = paper["welfare_change_case4"]
    dollars = gain / 100 * paper["welfare_case1"]
    rows = [
        _level("welfare, Case 1", paper["welfare_case1"], calibrated["welfare_usd"]),
        _level("prosumer cost, Case 1", paper["prosumer_cost_case1"], calibrated["prosumer_cost_usd"]),
        _change("welfare, change", "%", gain, _percent(welfare), gain, welfare, welfare.base),
        _change("welfare, change", "$/day", dollars, welfare.change, dollars, welfare),
    ]
    fall = paper["prosumer_cost_case4"] - paper["prosumer_cost_case1"]
    for column, when in (("prosumer_cost_usd", ""), ("prosumer_cost_after_refund_usd", ", after refund")):
        step, percent = steps.loc[column], paper["prosumer_cost_change_case4"]
        level = step.base + step.change
        rows.append(_change(f"prosumer cost, Case 4{when}", "$/day", paper["prosumer_cost_case4"], level, fall, step))
        rows.append(_change(f"prosumer cost, change{when}", "%", percent, _percent(step), percent, step, step.base))
    percent = paper["losses_change_case4"]
    rows.append(_change("losses, change", "%", percent, _percent(losses), percent, losses, losses.base))
    left, target = 100 * (band.base + band.change), paper["violations_case4"] / 100 - band.base
    rows.append(_change("bus-hours outside the band, Case 4", "%", paper["violations_case4"], left, target, band))
    table = pd.DataFrame(rows, columns=["figure", "unit", "paper", "ours", "verdict", "reason"])
    off = table["ours"] - table["paper"]
    table.insert(4, "difference", off)
    table.insert(5, "difference [% of paper]", 100 * off / table["paper"].abs().replace(0, np.nan))
    return table


def _percent(step: pd.Series) -> float:
    return 100 * step.change / step.base if step.base > 0 else np.nan


def _level(figure: str, paper: float, ours: float) -> tuple:
    word = verdict("level", paper, ours)
    return figure, "$/day", paper, ours, word, reason("level", paper, ours, word)


def _change(figure: str, unit: str, printed: float, ours: float, paper: float, step: pd.Series, scale: float = 100.0):
    """A row on a change: ``printed`` and ``ours`` are shown, ``paper`` is compared with 100 / scale times the step."""
    in_unit = 100 / scale if scale > 0 else np.nan
    change, low, high = (in_unit * step[name] for name in ("change", "low", "high"))
    word = verdict("change", paper, change, low, high)
    return figure, unit, printed, ours, word, reason("change", paper, change, word)
