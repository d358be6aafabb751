"""The day's rule, old and new, on the same held-out days: python data/results/rules.py

The stored Case 4 of today's feeder on the days that its design has not seen. Three rules clear the day: violations at
their block's multiplier above its quantile, as the first edition had it; the market policy; and the market policy with
the day's peak at the whole demand charge. Two settle it, as the study's key `rights` does: all rights at the day's
prices, or those bought in the clearing at the design's, and deviations from their expectation at the day's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.cases.decisions import Decisions
from tritier.cases.outcome import daily_table
from tritier.cases.recourse import DayDecisions, Recourse, _PolicyLP, as_cleared, side_by_side
from tritier.cases.result import read_made, stored
from tritier.cases.solve import judging_instance, prepare
from tritier.evaluation.heldout import STUDIES, find_days, origin
from tritier.provenance import commit, versions, write_csv, write_json
from tritier.reformulation.joint import JointLP

HERE = Path(__file__).resolve().parent
STUDY = "ieee33"
OLD, MARKET, WHOLE = "multipliers above quantiles", "market policy", "market policy, peak at the demand charge"


class ByQuantile(_PolicyLP):
    """The first edition's rule: what a block's flow exceeds its quantile by costs its multiplier per unit of tail."""

    def day(self, policy: str) -> DayDecisions:
        level = self.instance.rules.chance_level
        at = (self.decisions[name].tolist() for name in ("mu", "eta"))
        for block, price, quantile in zip(self.decisions.blocks, *at, strict=True):
            self._add_own(block, price / level)
            rows = self.joint.lp.row_at(f"priced:{block.label}").ravel()
            self.joint.warm.set_rows(rows, np.full(rows.size, -np.inf), self.joint.lp.row_upper[rows] + quantile)
        found = self._answer(policy, self._solve())
        return replace(found, bought=0 * found.bought)  # above a quantile is not yet beyond a limit


class OldRecourse(Recourse):
    """Days under the first edition's rule."""

    def judge(self, decisions: Decisions, policy: str) -> DayDecisions:
        joints = (JointLP(day, network=False, lp=lp) for day, lp in zip(self._days, self._lps, strict=True))
        return side_by_side(self.instance, [ByQuantile(joint, decisions).day(policy) for joint in joints])


def main() -> None:
    prepared = prepare(HERE.parent / "studies" / STUDY, STUDIES[STUDY])
    folder = stored(prepared, 4)
    assert folder is not None, "run python data/results/cases/run.py"
    result = read_made(folder, prepared)
    made, case = result.decisions, result.case
    instance = judging_instance(prepared.instance, case, find_days(prepared, "held-out"))
    charged = replace(made, design=replace(made.design, coincident=instance.rules.demand_charge))
    sold = as_cleared(result.clearing, made)
    rows = []
    for rule, judge, decisions in (
        (OLD, OldRecourse(instance).judge, made),
        (MARKET, Recourse(instance).judge, made),
        (WHOLE, Recourse(instance).judge, charged),
    ):
        day = judge(decisions, OLD if rule == OLD else MARKET)
        table, owed = (daily_table(x, decisions) for x in (day, replace(day, ahead=sold)))
        kept = table[["day", "welfare_usd", "secured_welfare_usd", "prosumer_cost_usd", "peak_kw"]]
        kept = kept.assign(rule=rule, rights_ahead_usd=owed["prosumer_cost_usd"])
        kept["highest_price_usd_per_kwh"] = np.abs(day.pi).max(axis=(0, 1))
        kept["lost_value_usd"] = table["lost_value_usd"]
        rows.append(kept)
        print(kept.drop(columns="day").groupby("rule").agg(["mean", "std"]).round(1).T.to_string(), flush=True)
    write_csv(HERE / "rules.csv", pd.concat(rows), digits=8)
    about = {"command": "python data/results/rules.py", "commit": commit(), "versions": versions()}
    write_json(HERE / "rules.json", about | {"study": STUDY} | origin(prepared, 4))


if __name__ == "__main__":
    main()
