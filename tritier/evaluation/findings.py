"""What held-out days show: tables of cases and policies with their intervals, and verdicts on the paper.

Hours and buses of a day are not independent, nor are days of a week: intervals of means are clustered by week
(:mod:`tritier.evaluation.inference`), and counts of days are tested by the signs of weeks. Shares of days get the exact
interval of Clopper and Pearson, which is not empty where no day was hit, and takes days as independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from tritier.cases import result
from tritier.cases.cases import CASES
from tritier.cases.recourse import DayDecisions, as_cleared
from tritier.cases.result import Result
from tritier.cases.result import certificate_table as certificate_table  # a result's own tables, for chapters
from tritier.cases.result import choice_table as choice_table
from tritier.cases.result import design_table as design_table
from tritier.cases.result import headline_table as headline_table
from tritier.evaluation import inference
from tritier.evaluation.heldout import (
    REAL,
    RESAMPLED,
    SETS,
    SWAPPED,
    WEEKDAYS,
    WEEKENDS,
    DaySet,
    HeldOut,
    band_depths,
    kept,
    kept_days,
    kept_studies,
    violation_shares,
)
from tritier.evaluation.inference import CONFIDENCE, Estimate, clustered, holm, paired_weeks_p, week_of
from tritier.inputs.documents import read_json
from tritier.inputs.scenarios import share_a_design_price
from tritier.inputs.study import read_study
from tritier.model.chance import Network
from tritier.model.dso import HARD, OWN
from tritier.model.market import limits_by_position
from tritier.model.risk import sample_cvar
from tritier.provenance import DATA

BASE = "base"  # of a table whose rows each move one value: the row in which none is moved
CALIBRATED = 1e-3  # relative: a calibrated figure agrees with the paper's
NETWORK_MODELS = ("promised", "LinDistFlow", "AC")
PARTS = ("wholesale_usd", "loss_cost_usd", "demand_charge_usd", "degradation_usd", "lost_value_usd")
COMPARED = (
    ("welfare_usd", "welfare", "$/day", 1),
    ("prosumer_cost_usd", "prosumer cost", "$/day", 1),
    ("prosumer_cost_after_refund_usd", "prosumer cost after refund", "$/day", 1),
    ("ac_losses_kwh", "losses (AC)", "kWh/day", 1),
    ("peak_kw", "peak of the feeder head", "kW", 1),
    ("p2p_kwh", "P2P volume", "kWh/day", 1),
    ("curtailed_kwh", "curtailed", "kWh/day", 1),
    ("ac_violation_share", "bus-hours outside the band", "%", 100),
)
HIT = "days_with_a_violation"
SCARCE_KWH = 0.1  # violation bought on a day on which limits cannot be kept
JUDGED = {
    "welfare_usd": "welfare, $/day",
    "secured_welfare_usd": "secured welfare, $/day",
    "prosumer_cost_after_refund_usd": "prosumer cost after refund, $/day",
    "ac_losses_kwh": "losses (AC), kWh/day",
    "ac_violation_share": "bus-hours outside the band, share",
}
HEADINGS = {"ieee33": "today's feeder", "ieee33-2045": "the same feeder, electrified"}
ANSWER = (  # rows of the book's first table: text, kind of comparison, quantity, form
    ("welfare, each case under its own policy, \\$/day", OWN, "welfare_usd", "+,.0f"),
    ("the same, secured, \\$/day", OWN, "secured_welfare_usd", "+,.0f"),
    ("secured welfare, the same operator in both, \\$/day", HARD, "secured_welfare_usd", "+,.0f"),
    ("prosumer cost after refund, \\$/day", OWN, "prosumer_cost_after_refund_usd", "+,.0f"),
    ("losses, kWh/day", OWN, "ac_losses_kwh", "+,.1f"),
)


DAY_RULE = {  # columns of by_day_rule, as they are read
    "welfare": "welfare [$/day]",
    "secured": "secured welfare [$/day]",
    "cost": "prosumer cost [$/day]",
    "cost_sd": "its spread [$]",
    "ahead": "with rights ahead [$/day]",
    "ahead_sd": "its spread, rights ahead [$]",
    "price": "highest price [$/kWh]",
}
RIGHTS = {  # columns of rights.csv that are read
    "study": "study",
    "half": "designed on",
    "case": "case",
    "rights": "settled",
    "prosumer_cost_usd": "before refund [$/day]",
    "prosumer_cost_spread_usd": "its spread [$]",
    "prosumer_cost_after_refund_usd": "after refund [$/day]",
    "prosumer_cost_after_refund_spread_usd": "its spread, after refund [$]",
}


def with_unit(title: str, unit: str) -> str:
    """A quantity with its unit."""
    return f"{title} [{unit}]" if unit else title


def mean_over_days(table: pd.DataFrame, column: str) -> Estimate:
    """Mean of a column over the days of a table with one row a day, clustered by week (:eq:`eq-week-interval`)."""
    return clustered(table[column].to_numpy(dtype=float), week_of(table["day"].tolist()))


def share_interval(hits: int, days: int, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Share of days hit with the exact interval of Clopper and Pearson (:eq:`eq-exact-interval`): exact for independent
    days, and too short for days of few weeks, which resemble each other."""
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, days - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, days - hits)) if hits < days else 1.0
    return hits / days, low, high


def headline(daily: pd.DataFrame) -> pd.DataFrame:
    """The rows of a daily table that carry each case's headline policy."""
    return daily[daily["policy"] == daily["case"].map(lambda k: CASES[k].policy)]


def by_policy(daily: pd.DataFrame, columns: str = "case") -> Iterator[tuple[str, pd.DataFrame, np.ndarray]]:
    """Judged days as the two comparisons see them: each case under its own policy, and all under hard-limit redispatch.

    Yields the kind, quantities of :data:`JUDGED` with a row a day and a column for each value of ``columns``, and the
    week of each day.
    """
    for kind, table in ((OWN, headline(daily)), (HARD, daily[daily["policy"] == HARD])):
        wide = table.pivot(index="day", columns=columns, values=[*JUDGED])
        yield kind, wide, week_of(wide.index.tolist())


def paired_changes(daily: pd.DataFrame, columns: Iterable[str], base: int = 1) -> pd.DataFrame:
    """Change of each case against a base case on the same days, headline policies, by column: mean with its interval
    and standard error, clustered by week, numbers of weeks and days, p-value, and the base's mean.

    Differences are taken day by day, so what a day costs whoever plays it drops out.
    """
    columns = list(columns)
    wide = headline(daily).pivot_table(index="day", columns="case", values=columns)
    week, rows = week_of(wide.index.tolist()), []
    for case in sorted(set(daily["case"]) - {base}):
        for column in columns:
            step = clustered((wide[column][case] - wide[column][base]).to_numpy(), week)
            figures = (step.mean, step.low, step.high, step.error, step.weeks, step.days, step.p_value)
            rows.append((case, column, *figures, float(wide[column][base].mean())))
    names = ["case", "quantity", "change", "low", "high", "error", "weeks", "days", "p_value", "base"]
    return pd.DataFrame(rows, columns=names)


def comparisons(daily: pd.DataFrame, case: int = 4, bases: Iterable[int] = (1, 2)) -> pd.DataFrame:
    """The two paired comparisons of a case with each base case: under their own policies, and with the same operator.

    One row per base, kind (``own policy`` or ``hard-limit redispatch`` for both) and quantity of :data:`JUDGED`: change
    with interval, Holm's p over all rows, and the smallest change that as many weeks would find. The last row of each
    kind counts days with a violation, by the exact test on the signs of weeks.
    """
    rows = []
    for base in bases:
        pair = daily[daily["case"].isin((base, case))]
        for kind, wide, week in by_policy(pair):
            for quantity in JUDGED:
                now, was = (wide[quantity][k].to_numpy(dtype=float) for k in (case, base))
                step = clustered(now - was, week)
                figures = (was.mean(), step.mean, step.low, step.high, step.detectable, step.p_value)
                rows.append((base, kind, quantity, *figures))
            hit, was_hit = (wide["ac_violation_share"][k].to_numpy() > 0 for k in (case, base))
            p_value = paired_weeks_p(was_hit, hit, week)
            rows.append((base, kind, HIT, was_hit.sum(), hit.sum() - was_hit.sum(), np.nan, np.nan, np.nan, p_value))
    names = ["base", "kind", "quantity", "base_mean", "change", "low", "high", "detectable", "p_value"]
    found = pd.DataFrame(rows, columns=names)
    return found.assign(p_value=holm(found["p_value"]))


def comparison_table(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`comparisons` as a table to be read; counts of days have no interval."""
    against = [f"Case {base}, {kind}" for base, kind in zip(found["base"], found["kind"], strict=True)]
    told = pd.DataFrame({"Case 4 against": against})
    named = found["quantity"].map(JUDGED | {HIT: "days with a violation"})
    told["quantity"] = named.str.replace(", share", ", %").to_numpy()
    figures = found[["base_mean", "change", "low", "high", "detectable"]].to_numpy(float)
    mean, change, low, high, least = figures.T * np.where(named.str.endswith(", share"), 100.0, 1.0)
    told["mean there"] = mean
    told["change"] = change
    told["95 % interval"] = [interval_in_words(*ends) for ends in zip(low, high, strict=True)]
    told["detectable"] = ["counted" if np.isnan(x) else f"{x:,.4g}" for x in least]
    return told.assign(**{"p (Holm)": [p_in_words(p) for p in found["p_value"]]})


def p_in_words(p: float) -> str:
    """A p-value as it is printed; ``nan`` where nothing was tested."""
    return "–" if np.isnan(p) else f"{p:.3f}" if p >= 0.001 else "<0.001"


def interval_in_words(low: float, high: float) -> str:
    """Ends of an interval, or that there is none."""
    return "none" if np.isnan(low) else f"{low:+,.4g} to {high:+,.4g}"


HITS = ["days with a voltage violation, own policies", "the same under hard-limit redispatch"]
DEPTH = "how far beyond the band under redispatch, p.u."


def answer_cells(daily: pd.DataFrame, base: int = 1) -> dict[str, str]:
    """Case 4 against a base case on unseen days as the book words it, by the text of the row: change, interval, and
    whether Holm's test tells it from zero; counts of days without interval, and without a word where they are alike."""
    pair = comparisons(daily).set_index(["base", "kind", "quantity"]).loc[base]
    cells = {}
    for text, kind, quantity, form in ANSWER:
        row = pair.loc[(kind, quantity)]
        # of a base near zero a percentage says nothing
        percent = f" ({100 * row.change / row.base_mean:+.1f} %)" if 2 * row.base_mean > abs(row.change) else ""
        cells[text] = (
            f"{row.change:{form}}{percent}, {row.low:{form}} to {row.high:{form}}{unless_resolved(row.p_value)}"
        )
    for text, kind in zip(HITS, (OWN, HARD), strict=True):
        hit = pair.loc[(kind, HIT)]
        counts = f"{int(hit.base_mean)} to {int(hit.base_mean + hit.change)} of {daily['day'].nunique()}"
        cells[text] = counts + (unless_resolved(hit.p_value) if hit.change else "")
    return cells


def resolution(p: float) -> str:
    """Whether a change is told from zero by its p-value, Holm's where there are several."""
    return "resolved" if p <= 1 - CONFIDENCE else "not resolved"


def unless_resolved(p: float) -> str:
    """What is said behind a change that Holm's test, of this p-value, does not tell from zero."""
    return "" if p <= 1 - CONFIDENCE else f", {resolution(p)}"


def depth_in_words(study: str, sets: Iterable[DaySet] = (REAL, SWAPPED), cases: Iterable[int] = (1, 4)) -> str:
    """How far voltages of stored days leave the band under hard-limit redispatch, whichever case, p.u., rounded up: in
    AC, and in the linear model, whose limits redispatch keeps where it can."""
    tables = [found.violations for days in sets for k, found in kept(study, days).items() if k in set(cases)]
    table = pd.concat(tables).query("policy == @HARD").groupby("model")[["days_hit", "depth_pu"]].max()
    ac, linear = (
        f"at most {np.ceil(1e4 * table.loc[model, 'depth_pu']) / 1e4:.4f}" if table.loc[model, "days_hit"] else "none"
        for model in ("AC", "LinDistFlow")
    )
    return ac if ac == linear == "none" else f"{ac} in AC, {linear} in the linear model"


def elsewhere(folder: Path) -> dict[str, pd.DataFrame]:
    """Judged days of the feeders that ``data/results/elsewhere.py`` has finished, by name: cases below one another."""
    done = sorted(about.parent for about in folder.glob("*/origin.json"))
    return {d.name: pd.concat([pd.read_csv(p) for p in sorted(d.glob("case-*.csv"))]) for d in done}


def changes_by_policy(judged: Mapping[str, pd.DataFrame], cases: Iterable[int] = (2, 4)) -> pd.DataFrame:
    """Change of each case against Case 1 with its interval, a row for each name of ``judged``, policy and case.

    Columns as :func:`tritier.plots.cases.dots_with_intervals` draws them: a quantity of :data:`JUDGED`, and its ends
    ``<quantity>_low`` and ``<quantity>_high``; ``headline`` where each case goes by its own policy.
    """
    rows = []
    for name, daily in judged.items():
        for case in cases:
            pair = comparisons(daily, case, (1,)).query("quantity != @HIT")
            for kind, own in pair.groupby("kind", sort=False):
                row = {"policy": f"{name}, {kind}", "case": case, "headline": kind == OWN}
                for suffix, column in (("", "change"), ("_low", "low"), ("_high", "high")):
                    row |= dict(zip(own["quantity"] + suffix, own[column], strict=True))
                rows.append(row)
    return pd.DataFrame(rows)


def answer() -> str:
    """The book's answer as a table in Markdown: Case 4 against Case 1 on unseen real days of the season, a column a
    study, with 95 % intervals clustered by week; what Holm's test does not tell from zero is marked."""
    studies, columns = kept_studies(), []
    for study in studies:
        columns.append([*answer_cells(kept_days(study)).values(), depth_in_words(study)])
    names = [text for text, *_ in ANSWER] + HITS + [DEPTH]
    lines = [
        "| Case 4 against Case 1 | " + " | ".join(HEADINGS[study] for study in studies) + " |",
        "|---" * (1 + len(columns)) + "|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in zip(names, *columns, strict=True)]
    return "\n".join(lines) + "\n"


def answer_table(judged: Mapping[str, pd.DataFrame], base: int = 1) -> pd.DataFrame:
    """:func:`answer_cells` of judged days, a column for each name."""
    cells = {name: answer_cells(daily, base) for name, daily in judged.items()}
    table = pd.DataFrame(cells).rename_axis("figure").reset_index()
    return table.assign(figure=table["figure"].str.replace("\\$", "$", regex=False))


def beyond_the_season() -> pd.DataFrame:
    """:func:`answer_table` of the stored real days for which no design was made, with :func:`depth_in_words`: a column
    for each study and set of days."""
    sets = [(study, days) for study in kept_studies() for days in (WEEKENDS, WEEKDAYS) if kept(study, days)]
    names = [f"{HEADINGS[study]}, {days.name}" for study, days in sets]
    told = answer_table({name: kept_days(study, [days]) for name, (study, days) in zip(names, sets, strict=True)})
    depth = {name: depth_in_words(study, [days]) for name, (study, days) in zip(names, sets, strict=True)}
    return pd.concat([told, pd.DataFrame([{"figure": DEPTH} | depth])], ignore_index=True)


def on_days_apart(study: str) -> dict[str, pd.DataFrame]:
    """A study's judged days of the season by how far they are from what was known at design: all; those whose wholesale
    prices no design day has; and the even weeks alone, on which nothing was calibrated."""
    daily, read = kept_days(study), read_study(DATA / "studies" / study)
    shared = set().union(*(share_a_design_price(read, days.half) for days in (REAL, SWAPPED)))
    apart = daily[~daily["day"].isin(shared)].reset_index(drop=True)
    return {"all days": daily, "with prices of their own": apart, "even weeks alone": kept_days(study, [REAL])}


def scarcity(daily: pd.DataFrame, base: int = 1) -> pd.Series:
    """Case 4's days on which no decision keeps the network within its limits, so that violation is bought at the
    declared price, under its own policy: how many of ``days``, in which months, congestion rent there and what
    prosumers pay after refund beyond the base case, $ per day, there and on all other days."""
    own = headline(daily).set_index(["case", "day"])
    four, was = own.loc[4], own.loc[base]
    scarce = four["bought_violation_kwh"] > SCARCE_KWH
    more = four["prosumer_cost_after_refund_usd"] - was["prosumer_cost_after_refund_usd"]
    return pd.Series(
        {
            "days": len(four),
            "scarce": int(scarce.sum()),
            "months": sorted({int(day[5:7]) for day in four.index[scarce]}),
            "rent_usd": four.loc[scarce, "congestion_rent_usd"].mean(),
            "more_usd": more[scarce].mean(),
            "more_elsewhere_usd": more[~scarce].mean(),
        }
    )


def kept_designs() -> pd.DataFrame:
    """The stored designs of Case 4, a column for each study and half of the season that designed: prices, limits,
    bounds on the scenarios, and the rent."""
    columns = {}
    for name, of in result.SETS.items():
        folder = result.FOLDER / name / "case-4"
        summary, proof = read_json(folder / "summary.json"), read_json(folder / "certificate.json")["design"]
        menu = read_study(result.FOLDER.parents[1] / "studies" / of.study).menu(of.preset)
        with np.load(folder / "decisions.npz") as kept:
            column = {
                f"energy charge, {block} [$/kWh]": f"{price:g}"
                for block, price in zip(("off-peak", "day", "peak"), kept["tau"], strict=True)
            }
            for text, key in (
                ("P2P charge [$/kWh]", "tau_p"),
                ("individual peak charge [$/kW]", "tau_k"),
                ("coincident peak charge [$/kW]", "tau_c"),
            ):
                column[text] = f"{float(kept.get(key, 0.0)):g}"  # stored where the menu offers them
            for line, chosen in zip(map(int, kept["cap_line"]), kept["cap"].tolist(), strict=True):
                column[f"limit of line {line} [kW]"] = result.limit_in_words(chosen, dict(menu.capacity)[line])
        column["fixed charge, all customers [$/day]"] = f"{summary['fixed_charge_usd']:,.0f}"
        column["congestion rent [$/day]"] = f"{summary['congestion_rent_usd']:,.0f}"
        column["DSO's revenue [$/day]"] = f"{summary['dso_revenue_usd']:,.0f}"
        column["saved against the flat tariff, as cleared [$/day]"] = f"{proof['flat'] - proof['upper_bound']:,.0f}"
        column["left to any other design of the menu, at most [$/day]"] = f"{proof['gap_usd']:,.2f}"
        columns[f"{of.study}, preset {of.preset}, {of.half} weeks"] = column
    return pd.DataFrame(columns).fillna("none").rename_axis("figure").reset_index()


def decomposition(daily: pd.DataFrame) -> pd.DataFrame:
    """Social cost from case to case, $ per day: the step to each case with its interval and Holm's p over the steps, in
    all and by part."""
    order = sorted(set(daily["case"]))
    rows = []
    for before, after in pairwise(order):
        pair = daily[daily["case"].isin((before, after))]
        step = paired_changes(pair, ("social_cost_usd", *PARTS), before).set_index("quantity")
        total = step.loc["social_cost_usd"]
        parts = {part: float(step.loc[part, "change"]) for part in PARTS}
        rows.append({"step": f"{before} to {after}"} | total[["change", "low", "high", "p_value"]].to_dict() | parts)
    table = pd.DataFrame(rows)
    return table.assign(p_value=holm(table["p_value"]))


def grid(findings: Mapping[int, HeldOut]) -> pd.DataFrame:
    """Cases x policies on the same days: violations in AC, losses, cost, welfare, with intervals clustered by week."""
    rows = []
    for number, found in findings.items():
        ac = found.violations[found.violations["model"] == "AC"].set_index("policy")
        for policy, days in found.daily.groupby("policy", sort=False):
            share = ac.loc[policy]
            row = {"case": number, "policy": policy, "headline": policy == CASES[number].policy}
            row |= share.drop(["case", "model"]).to_dict()
            row |= dict(zip(("day_low", "day_high"), share_interval(share.days_hit, share.days)[1:], strict=True))
            for column in ("ac_violation_share", "ac_losses_kwh", "prosumer_cost_usd", "welfare_usd"):
                found_mean = mean_over_days(days, column)
                row |= {column: found_mean.mean, f"{column}_half": found_mean.half_width}
            rows.append(row)
    return pd.DataFrame(rows)


def unseen_rows(days: DaySet, cases: Mapping[int, HeldOut], alpha: float) -> pd.DataFrame:
    """A row per case and policy: violations by network model, overloads, losses, welfare and prosumer cost.

    Shares are of bus-hours, line-hours or days; ``..._half`` are half-widths of 95 % intervals, clustered by week. The
    CVaR of prosumer cost is over days, at level ``alpha``. ``welfare_change`` and its ends are against Case 1, headline
    policies.
    """
    table = grid(cases).drop(columns=["mean_share"]).set_index(["case", "policy"])
    for number, found in cases.items():
        shares = found.violations.set_index(["policy", "model"])["mean_share"]
        for policy, daily in found.daily.groupby("policy", sort=False):
            here, p = (number, policy), np.full(len(daily), 1 / len(daily))
            for model in NETWORK_MODELS:
                table.loc[here, f"{model.lower()}_share"] = shares[policy, model]
            table.loc[here, "ac_overload_share"] = daily["ac_overload_share"].mean()
            table.loc[here, "prosumer_cost_cvar_usd"] = sample_cvar(daily["prosumer_cost_usd"].to_numpy(), p, alpha)
    change = paired_changes(pd.concat([found.daily for found in cases.values()]), ("welfare_usd",)).set_index("case")
    table = table.reset_index()
    own = table["headline"] & (table["case"] != 1)
    for column, key in (("welfare_change", "change"), ("welfare_change_low", "low"), ("welfare_change_high", "high")):
        table[column] = table["case"].map(change[key]).where(own)
    if days == RESAMPLED:
        for column in table.columns[table.columns.str.endswith(("_half", "_low", "_high"))]:
            table[column] = np.nan
    return table.assign(set=days.name)


def kept_table(study: str, alpha: float) -> pd.DataFrame:
    """:func:`unseen_rows` for every set of days that is stored of a study."""
    found = ((days, kept(study, days)) for days in SETS)
    return pd.concat([unseen_rows(days, cases, alpha) for days, cases in found if cases], ignore_index=True)


def recovered(study: str) -> pd.DataFrame:
    """What the charges of every case recover on its stored judging days beyond the fixed and the network cost of these
    days, $ per day, under its own policy; negative where they recover less.

    Columns ``case``, ``surplus_usd``, ``rent_usd`` (what the platform is left with) and ``refund_usd``: the prosumers'
    share of both as a lump sum, by which their cost falls after the refund; below 0 they pay.
    """
    daily = headline(kept_days(study)).rename(
        columns={"dso_surplus_usd": "surplus_usd", "congestion_rent_usd": "rent_usd"}
    )
    daily = daily.assign(refund_usd=daily["prosumer_cost_usd"] - daily["prosumer_cost_after_refund_usd"])
    return daily.groupby("case")[["surplus_usd", "rent_usd", "refund_usd"]].mean().reset_index()


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


def promised_and_found(solved: Result, held_out: DayDecisions) -> pd.DataFrame:
    """How often voltages leave the band: promised on the scenarios as cleared, found there and on held-out days.

    From LinDistFlow to AC on the same days is the model's error; from design scenarios to held-out days is sampling.
    """
    clearing, rows = as_cleared(solved.clearing, solved.decisions), []
    for where, day in (("as cleared", clearing), ("design scenarios", solved.days), ("held-out days", held_out)):
        for model, depth in band_depths(day).items():
            rows.append({"days_of": where, "model": model} | violation_shares(depth, day.instance.days.probability))
    return pd.DataFrame(rows)


def voltage_in_words(base: HeldOut, found: HeldOut) -> str:
    """What changes the days with a violation from Case 1 to a case that sees the network: its tariffs and trades,
    judged network-blind as Case 1 is, and the network being seen at delivery."""
    was = _days_hit(base)["network-blind"]
    blind, seen, hard = (_days_hit(found)[p] for p in ("network-blind", "market policy", HARD))
    if blind == seen == hard:
        return "On these days the policies do not differ, so they do not tell what gives the voltage result"
    return (
        f"Case 1 has {was} such days: tariffs and trades, network-blind, change that by {blind - was:+d}, the network "
        f"seen at delivery by {seen - blind:+d} more"
    )


def _days_hit(found: HeldOut) -> dict[str, int]:
    """Days with a violation in AC by policy."""
    ac = found.violations[found.violations["model"] == "AC"]
    return {policy: int(days) for policy, days in zip(ac["policy"], ac["days_hit"], strict=True)}


def worst_scenario_share(solved: Result) -> float:
    """Share of chance blocks whose CVaR is mostly one scenario: the worst one fills more than half of the tail.

    Where S is below 2 / eps this is the rule, and a promise at level eps says little (:eq:`eq-worst-scenario`).
    """
    instance, decisions = solved.clearing, solved.decisions
    network = Network(instance)
    clearing = as_cleared(instance, decisions)
    weight = np.minimum(instance.days.probability / instance.rules.chance_level, 1.0)
    worst = []
    for violation in network.violations(
        clearing.net_load, limits_by_position(instance, decisions.design.capacity)
    ).values():
        bounded = violation[np.isfinite(violation).all(axis=-1)]
        worst.append(weight[bounded.argmax(axis=-1)])
    return float((np.concatenate(worst) > 0.5).mean())


def level_verdict(paper: float, ours: float) -> str:
    """Verdict on a level that the paper prints: calibrated within a thousandth, else not comparable."""
    close = np.isfinite([paper, ours]).all() and abs(ours - paper) <= CALIBRATED * abs(paper)
    return "calibrated" if close else "not comparable"


def reason(word: str, paper: float, ours: float) -> str:
    """Why a verdict is what it is, in a few words; paper and ours: levels, or changes against Case 1."""
    if word == "calibrated":
        return "Case 1 is calibrated to it"
    if word == "not comparable":
        return "Case 1 is calibrated for other settings" if np.isfinite(ours) and paper else "nothing to compare with"
    if word == "contrary":
        return "not the paper's sign"
    if word == "not resolved":
        return "no change on these days" if abs(ours) < 1e-9 else "the test over weeks does not exclude zero"
    return f"{100 * ours / paper:.0f} % of the paper's change"


def against_paper(abstract: pd.DataFrame, calibrated: Mapping[str, float], daily: pd.DataFrame) -> pd.DataFrame:
    """Every figure of the paper beside ours: value, absolute and relative difference, verdict, reason.

    ``abstract``: data/paper/abstract.csv. ``calibrated``: welfare and prosumer cost of Case 1 on the days it was
    calibrated on, by quantity. ``daily``: judged days of cases 1 and 4. Where the paper prints a level of Case 4, its
    direction is that level less its Case 1. Percentages beside a base that is not positive are left out; a change in $
    always stands. Changes are tested together: p-values are Holm's over the quantities.
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
    steps["p_value"] = holm(steps["p_value"])
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
    names = ["figure", "unit", "paper", "ours", "low", "high", "p_value", "verdict", "reason"]
    table = pd.DataFrame(rows, columns=names)
    off = table["ours"] - table["paper"]
    table.insert(4, "difference", off)
    table.insert(5, "difference [% of paper]", 100 * off / table["paper"].abs().replace(0, np.nan))
    return table


def claims(table: pd.DataFrame) -> pd.Series:
    """The paper's claims among the rows of :func:`against_paper`, and whether every row of a claim that can be compared
    is reproduced in size. Rows on one figure, in dollars or percent, before or after refund, are one claim."""
    compared = table[~table["verdict"].isin(("calibrated", "not comparable"))]
    return (compared["verdict"] == "reproduced in size").groupby(compared["figure"].str.split(", ").str[0]).all()


def by_day_rule(rules: pd.DataFrame) -> pd.DataFrame:
    """Judged days of one design, a row for each rule that clears the day (``data/results/rules.csv``): means over days,
    the spread of prosumer cost as billed and with rights paid ahead, and the highest price."""
    return rules.groupby("rule", sort=False).agg(
        welfare=("welfare_usd", "mean"),
        secured=("secured_welfare_usd", "mean"),
        cost=("prosumer_cost_usd", "mean"),
        cost_sd=("prosumer_cost_usd", "std"),
        ahead=("rights_ahead_usd", "mean"),
        ahead_sd=("rights_ahead_usd", "std"),
        price=("highest_price_usd_per_kwh", "max"),
    )


def rights_table(rights: pd.DataFrame) -> pd.DataFrame:
    """What prosumers pay on the design scenarios by the rule that settles rights (``data/results/rights.csv``), to be
    read."""
    return rights.replace({"rights": {"day": "at the day's prices", "day_ahead": "ahead"}})[list(RIGHTS)].rename(
        columns=RIGHTS
    )


def moved_by_rights(rights: pd.DataFrame, column: str) -> pd.DataFrame:
    """By how much a figure moves where rights are settled ahead and not at the day's prices: least and most over
    studies and halves, a row for each case."""
    wide = rights.pivot_table(index=["study", "half", "case"], columns="rights", values=column)
    return (wide["day_ahead"] - wide["day"]).groupby("case").agg(least="min", most="max")


def _percent(step: pd.Series) -> float:
    return 100 * step.change / step.base if step.base > 0 else np.nan


def _level(figure: str, paper: float, ours: float) -> tuple:
    word = level_verdict(paper, ours)
    return figure, "$/day", paper, ours, np.nan, np.nan, np.nan, word, reason(word, paper, ours)


def _change(
    figure: str, unit: str, printed: float, ours: float, paper: float, step: pd.Series, scale: float = 100.0
) -> tuple:
    """A row on a change: ``printed`` and ``ours`` are shown, the interval stands about ``ours``, ``paper`` is compared
    with 100 / scale times the step."""
    in_unit = 100 / scale if scale > 0 else np.nan
    change = Estimate(in_unit * step.change, in_unit * step.error, int(step.weeks), int(step.days))
    word = inference.verdict(paper, change, float(step.p_value))
    shown = 100 * change.half_width if figure.startswith("bus-hours") else change.half_width
    row = (figure, unit, printed, ours, ours - shown, ours + shown, float(step.p_value))
    return *row, word, reason(word, paper, change.mean)


def intervals(table: pd.DataFrame) -> pd.DataFrame:
    """A :func:`grid` or :func:`unseen_rows` with the ends of each interval: ``<column>_low`` and ``<column>_high``."""
    found = table.assign(day_share=table["days_hit"] / table["days"])
    found = found.assign(day_share_low=found["day_low"], day_share_high=found["day_high"])
    for column in [name.removesuffix("_half") for name in table.columns if name.endswith("_half")]:
        for end, sign in (("low", -1), ("high", 1)):
            found[f"{column}_{end}"] = table[column] + sign * table[f"{column}_half"]
    return found


def change_table(daily: pd.DataFrame, case: int, base: int = 1) -> pd.DataFrame:
    """A case beside a base case on the same held-out days, headline policies: means, change and its interval."""
    pair = daily[daily["case"].isin((base, case))]
    change = paired_changes(pair, [key for key, *_ in COMPARED], base).set_index("quantity")
    rows = []
    for key, text, unit, factor in COMPARED:
        step = factor * change.loc[key, ["change", "low", "high", "base"]].astype(float)
        percent = f"{100 * step.change / step.base:+.1f}" if step.base > 0 else "–"
        between = interval_in_words(step.low, step.high)
        rows.append((text, unit, step.base, step.base + step.change, step.change, between, percent))
    columns = ["figure", "unit", f"Case {base}", f"Case {case}", "change", "95 % interval", "change [%]"]
    return pd.DataFrame(rows, columns=columns)
