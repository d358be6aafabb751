"""What assumptions of the model are worth on today's feeder: python data/results/assumptions.py

Case 1's market at the flat tariff, and the market of Case 4 at that tariff and at the design stored for it, on the
scenarios of preset fast, with one assumption changed at a time: social cost at the answer best for society. The tariffs
stay, so that what changes is the assumption's doing; a design made anew could only do better.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.cases.cases import CASES, clearing_instance, risk_neutral, without_limits
from tritier.cases.result import read_made, stored
from tritier.cases.solve import Prepared, fixed_cost, prepare
from tritier.evaluation.heldout import STUDIES, origin, sold_and_imported
from tritier.inputs.documents import read_json
from tritier.inputs.instance import Design, Instance
from tritier.model.tariff import without_fixed_part
from tritier.provenance import commit, versions, write_csv, write_json
from tritier.reformulation.joint import JointLP
from tritier.search.flat import flat_design, flat_tariff
from tritier.search.responses import optimistic_response

HERE = Path(__file__).resolve().parent
STUDY, PRESET = "ieee33", "fast"
BASE, KEY, TABLE = "as it is", ("assumption", "setting"), HERE / "assumptions.csv"
CHANGES: dict[tuple[str, str], dict[str, object]] = {
    ("billing", "on expected energy"): {"billing": "expected"},
    ("tie-break", "none"): {"tie_break_usd_per_kwh": 0.0},
    ("demand blocks", "8"): {"demand.blocks": 8},
    ("demand blocks", "borders at the prices that occur"): {"demand.borders": "prices"},
    ("demand charge", "none"): {"demand_charge_usd_per_kw": 0.0},
    ("demand charge", "twice"): {"demand_charge_usd_per_kw": 2 * 0.763},
    ("price of violation", "a tenth"): {"violation_price_factor": 1.0},
    ("price of violation", "twice"): {"violation_price_factor": 20.0},
    ("P2P trade", "by scenario"): {"p2p_trade": "by_scenario"},
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


def of_study(changes: dict[str, object], best: Design) -> dict[str, float]:
    """:func:`of_instance` under one change of the study."""
    prepared = prepare(HERE.parent / "studies" / STUDY, PRESET, changes)
    return of_instance(prepared, prepared.instance, best)


def of_instance(prepared: Prepared, instance: Instance, best: Design) -> dict[str, float]:
    """Social cost in the three markets, $/day, and of what is sold P2P the share that sellers import in the same
    hour."""
    anchor = prepared.study.settings.network_charge_usd_per_kwh
    plain, full = without_limits(instance), clearing_instance(instance, CASES[4])
    baseline, market = JointLP(plain, market=False, network=False), JointLP(full)
    found = {"case1_usd": social(baseline, flat_design(baseline, anchor))}
    for name, design in (("flat", flat_design(market, anchor)), ("design", best)):
        answer = optimistic_response(market, design, revenue=False)
        found |= {f"{name}_usd": answer.social.total, f"{name}_imported": imported_share(market, answer.x)}
    return found


def imported_share(joint: JointLP, x: np.ndarray) -> float:
    """Of what is expected to be sold P2P, the share that its sellers import in the same hour."""
    sold, imported = (float(part @ joint.instance.days.probability) for part in sold_and_imported(joint.decisions(x)))
    return imported / sold if sold else 0.0


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


def two_fixed_costs(prepared: Prepared, _: Design) -> dict[str, object]:
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
    """Rows that are stored stay where the first of them is found again; without the file all are made."""
    best, prepared = chosen_design(), prepare(HERE.parent / "studies" / STUDY, PRESET)
    base, stored_rows = of_instance(prepared, prepared.instance, best), kept_rows()
    stored_rows = stored_rows if agree(base, stored_rows.get((BASE, ""))) else {}
    found = stored_rows | {(BASE, ""): base}
    for key, change in CHANGES.items():
        if key not in found:
            found[key] = of_study(change, best)
            print(key, found[key], flush=True)
            table = pd.DataFrame([dict(zip(KEY, k, strict=True)) | row for k, row in found.items()])
            write_csv(TABLE, table, digits=8)
    told = read_json(HERE / "assumptions.json") if stored_rows else {}
    kept = {"kept": {"commit": told["commit"], "rows": len(stored_rows) - 1}} if told else {}
    about = {"command": "python data/results/assumptions.py", "commit": commit(), "versions": versions()} | kept
    about |= {"study": STUDY, "preset": PRESET, "design": origin(prepare(prepared.study.folder, STUDIES[STUDY]), 4)}
    for name, tell in (("trade", hourly_trade), ("fixed", two_fixed_costs)):
        about |= {name: told[name] if name in told else tell(prepared, best)}
    write_json(HERE / "assumptions.json", about)


def kept_rows() -> dict[tuple[str, str], dict[str, float]]:
    """Rows that are stored, by assumption and setting; a figure that a row has not is left out."""
    if not TABLE.is_file():
        return {}
    table = pd.read_csv(TABLE).fillna({"setting": ""})
    return {(row.pop("assumption"), row.pop("setting")): {k: v for k, v in row.items() if not pd.isna(v)}
            for row in table.to_dict("records")}  # fmt: skip


def agree(one: dict[str, float], other: dict[str, float] | None) -> bool:
    """Whether two rows show the same costs, to a cent."""
    return other is not None and all(abs(one[k] - other[k]) < 0.01 for k in ("case1_usd", "flat_usd", "design_usd"))


if __name__ == "__main__":
    main()
