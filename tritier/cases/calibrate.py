"""Calibration of Case 1 in its two declared parameters, and of nothing else.

The load scale makes Case 1 cost prosumers what the paper says; the reference value of consumption makes its welfare
so. Both on the real days of the design half, under network-blind recourse. Cases 2-4 take no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tritier.cases.cases import CASES, judging_instance
from tritier.cases.solve import Prepared, prepare
from tritier.errors import SolverError
from tritier.inputs.instance import Design
from tritier.inputs.scenarios import design_days
from tritier.model.tariff import passive_charges
from tritier.reformulation.joint import JointLP
from tritier.search.responses import social_cost

CLOSE = 1e-6  # relative: the calibrated cost against its target


@dataclass(frozen=True)
class Calibration:
    """The two declared parameters, and what Case 1 gives with them."""

    load_scale: float
    reference_value: float  # $/kWh
    prosumer_cost: float  # $/day
    welfare: float  # $/day


def targets(path: Path) -> tuple[float, float]:
    """(prosumer cost, welfare) of Case 1 in the paper's abstract, $/day."""
    table = pd.read_csv(path).set_index("id")["value"]
    return float(table["prosumer_cost_case1"]), float(table["welfare_case1"])


def baseline(prepared: Prepared) -> tuple[float, float, float]:
    """(prosumer cost, social cost, reference consumption kWh) of Case 1 on the design half's real days, $/day."""
    days = design_days(prepared.study, prepared.preset, prepared.half)
    instance = judging_instance(prepared.instance, CASES[1], days)
    joint = JointLP(instance, market=False, network=False)
    anchor = prepared.study.settings.network_charge_usd_per_kwh
    design = Design((anchor,) * instance.rules.n_blocks, anchor)
    joint.offer(design)
    found = joint.warm.solve(joint.cost(design))
    x, fixed = found.x, passive_charges(instance, design) @ days.probability
    cost = found.objective - float(0.0 if joint.inside.any() else fixed)
    reference = days.reference_kw.sum(axis=0) @ days.probability
    return cost, social_cost(joint, x).total, float(reference)


def calibrate(folder: str | Path, target_cost: float, target_welfare: float, start: float = 1.0) -> Calibration:
    """Find both parameters. Everything scales with the load but the tie-break, so a few proportional steps suffice.

    Raises SolverError if the cost does not come within 1e-6 of its target in ten steps.
    """
    scale = start
    for _ in range(10):
        cost, social, reference = baseline(prepare(folder, "fast", {"load.scale": scale}))
        if abs(cost - target_cost) <= CLOSE * target_cost:
            value = (target_welfare + social) / reference
            return Calibration(scale, value, cost, value * reference - social)
        scale *= target_cost / cost
    raise SolverError(f"Case 1 costs {cost:.4f} $/day at load scale {scale:.6f}, not {target_cost:.4f}")
