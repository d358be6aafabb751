"""The rule for the substation's voltage: the smallest step at which some decisions shed nothing on every design day.

    python data/studies/ieee33-2045/substation.py

prints, for each step, the design days on which every decision of everybody violates some limit, and the kW of it; exit
code 1 if study.yaml holds another voltage than the rule gives. Each day is cleared by itself, all limits of the menu
open, as the first best clears it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tritier.cases.solve import Prepared, prepare
from tritier.inputs.scenarios import design_days
from tritier.reformulation.joint import JointLP

FOLDER = Path(__file__).resolve().parent
STEPS = (1.00, 1.01, 1.02, 1.03)
NOTHING = 1e-6  # kW


def violation_kw(prepared: Prepared) -> np.ndarray:
    """Least violation that any decisions leave on each design day, kW, (D,)."""
    days, least = design_days(prepared.study, prepared.preset, prepared.half), []
    for k in range(days.n_days):
        joint = JointLP(prepared.instance.on(days.select([k])))
        joint.offer(None)
        cost = np.zeros(joint.lp.cost.size)
        cost[joint.lp.at("slack")] = 1.0
        least.append(float(joint.settle(cost, "primal").x[joint.lp.at("slack")]))
    return np.array(least)


def main() -> int:
    told = prepare(FOLDER, "smoke").study.feeder.v_slack
    for step in STEPS:
        least = violation_kw(prepare(FOLDER, "smoke", {"substation_voltage_pu": step}))
        bad = least > NOTHING
        print(f"{step:.2f} p.u.: {bad.sum()} of {bad.size} design days, at most {least.max():.6g} kW", flush=True)
        if not bad.any():
            print(f"the rule gives {step:.2f} p.u., study.yaml has {told:.2f}")
            return int(step != told)
    print(f"no step of {STEPS} keeps all limits")
    return 1


if __name__ == "__main__":
    sys.exit(main())
