"""What rights cost by either rule that settles them, on the design scenarios: python data/results/rights.py

Every stored case that sells rights, with its judged scenarios as they are stored: nothing is solved. Rights are settled
at the day's prices, or as they were bought, with deviations at the day's (key `rights` of the study).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from tritier.cases.cases import CASES
from tritier.cases.outcome import daily_table, mean_and_cvar
from tritier.cases.recourse import DayDecisions, as_cleared
from tritier.cases.result import FOLDER, SETS, Result, read_made
from tritier.cases.solve import refunded
from tritier.provenance import commit, digest, versions, write_csv, write_json

HERE = Path(__file__).resolve().parent
COST, REFUNDED = "prosumer_cost_usd", "prosumer_cost_after_refund_usd"


def bills(result: Result, day: DayDecisions) -> dict[str, float]:
    """What prosumers pay before and after the refund, $/day, mean and spread over the scenarios, and congestion
    rent."""
    table = refunded(result.prepared, daily_table(day, result.decisions))
    found = {name: mean_and_cvar(table, name)[0] for name in (COST, REFUNDED, "congestion_rent_usd")}
    p = table["probability"].to_numpy()
    for name in (COST, REFUNDED):
        found[name.replace("_usd", "_spread_usd")] = float((p @ (table[name] - found[name]) ** 2) ** 0.5)
    return found


def main() -> None:
    rows, made = [], {}
    for name, of in SETS.items():
        prepared = of.prepared()
        for number in (k for k, case in CASES.items() if case.network):
            folder = FOLDER / name / f"case-{number}"
            made[f"{name}/case-{number}"] = digest((folder / "decisions.npz").read_bytes())
            result = read_made(folder, prepared)
            sold = as_cleared(result.clearing, result.decisions)
            for rule, ahead in (("day", None), ("day_ahead", sold)):
                told = bills(result, replace(result.days, ahead=ahead))
                rows.append({"study": of.study, "half": of.half, "case": number, "rights": rule} | told)
    table = pd.DataFrame(rows)
    write_csv(HERE / "rights.csv", table, digits=8)
    print(table.round(2).to_string())
    about = {"command": "python data/results/rights.py", "commit": commit(), "versions": versions()}
    write_json(HERE / "rights.json", about | {"decisions": made})


if __name__ == "__main__":
    main()
