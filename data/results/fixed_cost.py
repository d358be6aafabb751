"""The fixed cost of both studies by the days it is anchored on: python data/results/fixed_cost.py

What the network charge of a household leaves of Case 1 beyond losses and demand charge, on the scenarios of every
preset and on all real days of the half of the season that designs. And what the electrified study's Cases 1 and 4 come
to where the fixed cost is that of the real days: fixed_cost_designs.csv.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from tritier.cases.result import read_or_solve
from tritier.cases.solve import Prepared, anchored_baseline, prepare
from tritier.inputs.scenarios import HALVES, design_days
from tritier.inputs.settings import PRESETS
from tritier.provenance import commit, versions, write_csv, write_json

HERE = Path(__file__).resolve().parent
STUDIES = ("ieee33", "ieee33-2045")
REAL = "real days"


def anchored(prepared: Prepared, days: str) -> dict[str, object]:
    """Case 1 at the network charge of a household, a day."""
    base, _ = anchored_baseline(prepared, False)
    charge, social = prepared.study.settings.network_charge_usd_per_kwh, base.social
    return {
        "study": prepared.study.name,
        "half": prepared.half,
        "days": days,
        "n_days": prepared.instance.days.n_days,
        "energy_kwh": base.energy.sum(),
        "collected_usd": charge * base.energy.sum(),
        "losses_usd": social.losses,
        "demand_charge_usd": social.demand_charge,
        "left_usd": charge * base.energy.sum() - social.network,
    }


def on_real_days(prepared: Prepared) -> Prepared:
    """The same study with all real days of its half in place of its scenarios, each as likely as any."""
    days = design_days(prepared.study, prepared.preset, prepared.half)
    return replace(prepared, instance=replace(prepared.instance, days=days))


def designed(fixed_cost: float | None) -> dict[str, object]:
    """Social cost of Case 1 and the best design of Case 4 on the scenarios, electrified study, $/day, both certified;
    ``fixed_cost`` as given, or as these scenarios have it."""
    changes = {} if fixed_cost is None else {"fixed_cost_usd": round(fixed_cost, 2)}
    prepared = prepare(HERE.parent / "studies" / STUDIES[1], "fast", changes)
    one, best = (read_or_solve(prepared, number) for number in (1, 4))
    for result in (one, best):
        result.certify(jobs=2)
    assert best.bounds is not None
    design = best.design
    return {
        "fixed_cost_usd": one.summary()["fixed_cost_usd"],
        "case1_usd": one.summary()["social_cost_range_usd"]["optimistic"],
        "flat_usd": best.bounds.flat,
        "design_usd": best.bounds.upper_bound,
        "lower_bound_usd": best.bounds.lower_bound,
        "first_best_usd": best.bounds.first_best,
        "tariff": " ".join(f"{charge:g}" for charge in design.tariff),
        "p2p": design.p2p,
        "peak": design.peak,
        "coincident": design.coincident,
        "capacity": " ".join(f"{line}:{limit:g}" for line, limit in design.capacity),
    }


def main() -> None:
    rows = []
    for study in STUDIES:
        for half in HALVES:
            for preset in PRESETS:
                rows.append(anchored(prepared := prepare(HERE.parent / "studies" / study, preset, half=half), preset))
            rows.append(anchored(on_real_days(prepared), REAL))
    table = pd.DataFrame(rows)
    write_csv(HERE / "fixed_cost.csv", table, digits=8)
    print(table.round(2).to_string())
    real = table.query("study == @STUDIES[1] and half == 'odd' and days == @REAL")["left_usd"].item()
    designs = pd.DataFrame([designed(None), designed(real)])
    write_csv(HERE / "fixed_cost_designs.csv", designs, digits=8)
    print(designs.to_string())
    write_json(
        HERE / "fixed_cost.json",
        {"command": "python data/results/fixed_cost.py", "commit": commit(), "versions": versions()},
    )


if __name__ == "__main__":
    main()
