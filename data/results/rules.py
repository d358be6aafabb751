"""The day's rules, old and new, on the same held-out days: python data/results/rules.py

Stored cases on the days that their designs have not seen. Three rules clear the days of today's Case 4: violations at
their block's multiplier above its quantile, as the first edition had it; the market policy; and the market policy with
the day's peak at the whole demand charge. Every other case that sells rights goes under the market policy. Two rules
settle each day: all rights at the day's prices, or those of the clearing at the design's, which are owed whatever
happens, and deviations from their expectation at the day's; cost is told before the refund and after.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.cases.decisions import Decisions
from tritier.cases.outcome import daily_table
from tritier.cases.recourse import DayDecisions, Recourse, _PolicyLP, as_cleared, side_by_side
from tritier.cases.result import Result, read_made, stored
from tritier.cases.solve import judging_instance, prepare
from tritier.evaluation.heldout import STUDIES, find_days, origin, refunded
from tritier.provenance import commit, versions, write_json
from tritier.reformulation.joint import JointLP

HERE = Path(__file__).resolve().parent
CASES = {"ieee33": (4, 3), "ieee33-2045": (4, 3)}  # the first of the first study under all rules
OLD, MARKET, WHOLE = "multipliers above quantiles", "market policy", "market policy, peak at the demand charge"


class ByQuantile(_PolicyLP):
    """The first edition's rule: what a block's flow exceeds its quantile by costs its multiplier per unit of tail."""

    def day(self, policy: str) -> DayDecisions:
        level = self.instance.rules.chance_level
        at = (self.decisions[name].tolist() for name in ("mu", "eta"))
        for block, price, quantile in zip(self.decisions.blocks, *at, strict=True):
            self._add_own(block, price / level, quantile)
        found = self._answer(policy, self._solve())
        return replace(found, bought=0 * found.bought)  # above a quantile is not yet beyond a limit


class OldRecourse(Recourse):
    """Days under the first edition's rule."""

    def judge(self, decisions: Decisions, policy: str) -> DayDecisions:
        joints = (JointLP(day, network=False, lp=lp) for day, lp in zip(self._days, self._lps, strict=True))
        return side_by_side(self.instance, [ByQuantile(joint, decisions).day(policy) for joint in joints])


def by_rule(result: Result, rules: tuple[str, ...]) -> Iterator[tuple[str, Decisions, DayDecisions]]:
    """A stored case's decisions and held-out days by the rule that clears them."""
    made = result.decisions
    instance = judging_instance(result.prepared.instance, result.case, find_days(result.prepared, "held-out"))
    charged = replace(made, design=replace(made.design, coincident=instance.rules.demand_charge))
    for rule in rules:
        decisions, judge = charged if rule == WHOLE else made, (OldRecourse if rule == OLD else Recourse)(instance).judge
        yield rule, decisions, judge(decisions, OLD if rule == OLD else MARKET)


def settled(result: Result, decisions: Decisions, day: DayDecisions) -> pd.DataFrame:
    """Days under both rules that settle rights: welfare once, what prosumers pay by either."""
    ahead = replace(day, ahead=as_cleared(result.clearing, result.decisions))
    table, owed = (refunded(result.prepared, daily_table(x, decisions)) for x in (day, ahead))
    kept = table[["day", "welfare_usd", "secured_welfare_usd", "prosumer_cost_usd", "peak_kw"]]
    kept = kept.assign(rights_ahead_usd=owed["prosumer_cost_usd"])
    for name, of in (("after_refund_usd", table), ("rights_ahead_after_refund_usd", owed)):
        kept[name] = of["prosumer_cost_after_refund_usd"]
    kept["highest_price_usd_per_kwh"] = np.abs(day.pi).max(axis=(0, 1))
    return kept.assign(lost_value_usd=table["lost_value_usd"])


def main() -> None:
    rows, origins = [], {}
    for study, numbers in CASES.items():
        prepared = prepare(HERE.parent / "studies" / study, STUDIES[study])
        for number in numbers:
            folder = stored(prepared, number)
            assert folder is not None, "run python data/results/cases/run.py"
            result = read_made(folder, prepared)
            origins[f"{study}, case {number}"] = origin(prepared, number)
            for rule, decisions, day in by_rule(result, (MARKET,) if rows else (OLD, MARKET, WHOLE)):
                rows.append(settled(result, decisions, day).assign(study=study, case=number, rule=rule))
                told = rows[-1].drop(columns=["day", "study", "case"]).groupby("rule").agg(["mean", "std"])
                print(study, number, told.round(1).T.to_string(), sep="\n", flush=True)
    pd.concat(rows).to_csv(HERE / "rules.csv", index=False, float_format="%.8g")
    about = {"command": "python data/results/rules.py", "commit": commit(), "versions": versions()}
    write_json(HERE / "rules.json", about | {"of": origins})


if __name__ == "__main__":
    sys.exit(main())
