"""What assumptions of the model are worth on today's feeder: python data/results/assumptions.py

Case 1's market at the flat tariff, and the market of Case 4 at that tariff and at the design stored for it, on the
scenarios of preset fast, with one assumption changed at a time: social cost at the answer best for society. The tariffs
stay, so that what changes is the assumption's doing; a design made anew could only do better.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tritier.cases.cases import CASES, clearing_instance, risk_neutral, without_limits
from tritier.cases.result import read_made, stored
from tritier.cases.solve import Prepared, fixed_cost, prepare
from tritier.evaluation.heldout import STUDIES, origin
from tritier.inputs.instance import Design
from tritier.model.tariff import without_fixed_part
from tritier.provenance import commit, versions, write_json
from tritier.reformulation.joint import JointLP
from tritier.search.flat import flat_design, flat_tariff
from tritier.search.responses import optimistic_response

HERE = Path(__file__).resolve().parent
STUDY, PRESET = "ieee33", "fast"
BASE = "as it is"
CHANGES: dict[tuple[str, str], dict[str, object]] = {
    (BASE, ""): {},
    ("billing", "on expected energy"): {"billing": "expected"},
    ("tie-break", "none"): {"tie_break_usd_per_kwh": 0.0},
    ("demand blocks", "8"): {"demand.blocks": 8},
    ("demand blocks", "borders at the prices that occur"): {"demand.borders": "prices"},
    ("demand charge", "none"): {"demand_charge_usd_per_kw": 0.0},
    ("demand charge", "twice"): {"demand_charge_usd_per_kw": 2 * 0.763},
    ("price of violation", "a tenth"): {"violation_price_factor": 1.0},
    ("price of violation", "twice"): {"violation_price_factor": 20.0},
}


def chosen_design() -> Design:
    """The design of the stored Case 4."""
    prepared = prepare(HERE.parent / "studies" / STUDY, STUDIES[STUDY])
    folder = stored(prepared, 4)
    assert folder is not None, "run python data/results/cases/run.py"
    return read_made(folder, prepared).decisions.design


def social(joint: JointLP, design: Design) -> float:
    """Social cost of the answer best for society, $/day, recovered or not."""
    return optimistic_response(joint, design, revenue=False).social.total


def row(name: str, setting: str, changes: dict[str, object], best: Design) -> dict[str, object]:
    """Social cost in the three markets under one change of the study."""
    prepared = prepare(HERE.parent / "studies" / STUDY, PRESET, changes)
    anchor = prepared.study.settings.network_charge_usd_per_kwh
    plain, full = without_limits(prepared.instance), clearing_instance(prepared.instance, CASES[4])
    baseline, market = JointLP(plain, market=False, network=False), JointLP(full)
    found = {
        "case1_usd": social(baseline, flat_design(baseline, anchor)),
        "flat_usd": social(market, flat_design(market, anchor)),
        "design_usd": social(market, best),
    }
    print(name, setting, found, flush=True)
    return {"assumption": name, "setting": setting} | found


def hourly_trade(prepared: Prepared, best: Design) -> dict[str, object]:
    """The same market where trades are made hour by hour on the day: without risk and network nothing else ties the
    scenarios together, so each clears alone. The base is that market with trades made the day before."""
    instance = risk_neutral(prepared.instance)
    joint, p = JointLP(instance, network=False), instance.days.probability
    flat = flat_design(joint, prepared.study.settings.network_charge_usd_per_kwh)
    alone = [JointLP(instance.on(instance.days.select([w])), network=False) for w in range(p.size)]
    found: dict[str, object] = {}
    for name, design in (("flat", flat), ("design", best)):
        found[f"{name}_ahead_usd"] = social(joint, design)
        found[f"{name}_hourly_usd"] = float(p @ [social(market, design) for market in alone])
    print(found, flush=True)
    return found


def two_fixed_costs(prepared: Prepared) -> dict[str, object]:
    """The cost to recover on either information set, and social cost in Case 1's market at the flat tariff for it."""
    found: dict[str, object] = {}
    for name, forecast in (("scenarios", False), ("forecast", True)):
        cost = fixed_cost(prepared, forecast)
        instance = without_fixed_part(replace(without_limits(prepared.instance), fixed_cost=cost))
        flat = flat_tariff(JointLP(instance, market=False, network=False))
        found |= {f"fixed_{name}_usd": cost, f"social_{name}_usd": flat.social.total}
        found[f"tariff_{name}_usd_per_kwh"] = flat.design.tariff[0]
    print(found, flush=True)
    return found


def main() -> None:
    best, prepared = chosen_design(), prepare(HERE.parent / "studies" / STUDY, PRESET)
    rows = [row(name, setting, changes, best) for (name, setting), changes in CHANGES.items()]
    pd.DataFrame(rows).to_csv(HERE / "assumptions.csv", index=False, float_format="%.8g")
    about = {"command": "python data/results/assumptions.py", "commit": commit(), "versions": versions()}
    about |= {"study": STUDY, "preset": PRESET, "design": origin(prepare(prepared.study.folder, STUDIES[STUDY]), 4)}
    about |= {"trade": hourly_trade(prepared, best), "fixed": two_fixed_costs(prepared)}
    write_json(HERE / "assumptions.json", about)


if __name__ == "__main__":
    sys.exit(main())
