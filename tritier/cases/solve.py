"""What a case is solved from and how: the study at a preset, the cost to recover, the best design, judged days.

Case 1 is calibrated in its two declared parameters, and in nothing else: the load scale makes it cost prosumers what
the paper says, the reference value of consumption makes its welfare so. Both on the real days of the design half, under
network-blind recourse. Cases 2-4 take no part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.cases.cases import (
    CASES,
    Case,
    anchored_fixed_cost,
    clearing_instance,
    judging_instance,
    risk_neutral,
    without_limits,
)
from tritier.cases.certificate import RESIDUAL, DesignProof
from tritier.cases.decisions import Decisions
from tritier.cases.recourse import POLICIES, DayDecisions, Recourse, with_rights
from tritier.errors import InputError, SolverError
from tritier.inputs.instance import Days, Design, Instance
from tritier.inputs.scenarios import build_instance, design_days
from tritier.inputs.settings import PRESET_KEYS, Preset, Settings, change_as_text
from tritier.inputs.study import Study, read_study
from tritier.model.chance import Block
from tritier.model.tariff import fixed_charge, passive_charges
from tritier.provenance import commit, digest
from tritier.reformulation.joint import JointLP, kept
from tritier.reformulation.lp import Clock
from tritier.search import hybrid
from tritier.search.hybrid import HybridResult
from tritier.search.references import stored_references
from tritier.search.responses import Response, optimistic_response
from tritier.studies.check import with_margin

NOT_INPUTS = {"name", "title", "files", "calibrated_on", "menus", "presets"}  # keys that decide no figure by themselves


@dataclass(frozen=True, eq=False)
class Prepared:
    """A study at a preset: the instance on its scenarios, margin and reference price filled in."""

    study: Study
    preset: Preset
    half: str
    instance: Instance
    changes: dict[str, str]


def prepare(
    study: Study | str | Path, preset: str = "fast", changes: Mapping[str, object] | None = None, half: str = "odd"
) -> Prepared:
    """A study's instance at a preset; the voltage margin is measured where study.yaml leaves it open.

    study: as read, or its folder; changes: of the preset, and of study.yaml where the study has yet to be read, by
    dotted key; half: design half of the season, ``odd`` or ``even`` weeks.
    """
    commit()  # of the code as it is loaded: the result may be written after the next one
    study_changes, preset_changes = split_changes(changes or {})
    if not isinstance(study, Study):
        study = read_study(study, study_changes)
    elif study_changes:
        key = next(iter(study_changes))
        raise InputError(study.paths["study"], key, "cannot change once the study is read", "give it to read_study")
    chosen = study.preset(preset, preset_changes)
    instance = with_margin(study, build_instance(study, chosen, half), chosen, half)
    told = {key: change_as_text(value) for key, value in preset_changes.items()}
    return Prepared(study, chosen, half, instance, {**study.changes, **told})


def split_changes(changes: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Changes of study.yaml and of the preset, told apart by the preset's field names.

    Raises InputError for a key that neither has.
    """
    for key in changes:
        if key not in PRESET_KEYS and key.split(".")[0] not in Settings.model_fields:
            raise InputError(
                "--set",
                key,
                "is a key neither of the preset nor of study.yaml",
                f"use one of {', '.join(sorted(PRESET_KEYS))}, or a key of study.yaml as chance_level or load.scale",
            )
    of_preset = {k: v for k, v in changes.items() if k in PRESET_KEYS}
    return {k: v for k, v in changes.items() if k not in of_preset}, of_preset


def inputs_hash(study: Study) -> str:
    """Hash of what decides a study's figures: its tables, and study.yaml without names, menus and presets.

    Menus and sizes are parameters of a point: an edit of the study's own leaves every stored point as true as it was,
    and so does a key at its default, written out or not.
    """
    tables = {role: digest(path.read_bytes()) for role, path in study.paths.items() if role != "study"}
    settings = study.settings.model_dump(mode="json", exclude=NOT_INPUTS, exclude_defaults=True)
    return digest(json.dumps([tables, settings], sort_keys=True))


@lru_cache(maxsize=16)
def anchored_baseline(prepared: Prepared, forecast: bool) -> tuple[Response, np.ndarray]:
    """Case 1 at the network charge that anchors the fixed cost, on the forecast or on the scenarios: the response, and
    what each prosumer imports, kWh, (I, S)."""
    return known_baseline(prepared.instance, prepared.study.settings.network_charge_usd_per_kwh, forecast)


def baseline_at(instance: Instance, charge: float, forecast: bool) -> tuple[Response, np.ndarray]:
    """:func:`anchored_baseline` of an instance at a network charge, $/kWh."""
    instance = without_limits(risk_neutral(instance.forecast() if forecast else instance))
    joint, found = at_charge(instance, charge)
    return found, found.x[joint.layout.gp].sum(axis=1)


def at_charge(instance: Instance, charge: float) -> tuple[JointLP, Response]:
    """An instance's market of Case 1, and its response at a network charge, $/kWh: of those that cost prosumers the
    same, the one that is best for society."""
    joint = JointLP(instance, market=False, network=False)
    return joint, optimistic_response(joint, Design((charge,) * instance.rules.n_blocks, charge), revenue=False)


#: solving, certifying and summarising a case begin with the same fixed cost
known_baseline: Callable[[Instance, float, bool], tuple[Response, np.ndarray]] = kept(baseline_at, 8)


@lru_cache(maxsize=16)
def bill_shares(prepared: Prepared) -> np.ndarray:
    """Share of each prosumer, and of all passive loads at last, in the energy billed in Case 1, (I + 1,): the key of
    what all customers pay or get back as a lump sum."""
    base, by_scenario = anchored_baseline(prepared, False)  # as below: the cache tells a keyword apart
    imports = by_scenario @ prepared.instance.days.probability
    return np.append(imports, float(base.energy.sum()) - imports.sum()) / float(base.energy.sum())


def fixed_cost(prepared: Prepared, forecast: bool) -> float:
    """Fixed cost to recover, $/day (:eq:`eq-fixed-cost`).

    Given in study.yaml, or what the network charge recovers in Case 1 on the same days beyond losses and demand charge;
    none where it recovers less.
    """
    settings = prepared.study.settings
    if settings.fixed_cost_usd is not None:
        return settings.fixed_cost_usd
    base, _ = anchored_baseline(prepared, forecast)
    return anchored_fixed_cost(settings.network_charge_usd_per_kwh, base.energy, base.social.network)


def cleared(prepared: Prepared, case: Case) -> Instance:
    """The instance that a case's market clears, with the fixed cost to recover."""
    return replace(clearing_instance(prepared.instance, case), fixed_cost=fixed_cost(prepared, not case.scenarios))


def optimise(
    joint: JointLP,
    prepared: Prepared,
    gap: float,
    jobs: int,
    progress: Callable[[str], None] | None,
    state: Path | None,
    engine: str,
    question: str,
    clock: Clock,
) -> tuple[HybridResult, DesignProof]:
    """The best design of the menu with its bounds (:func:`tritier.search.hybrid.solve`); the flat tariff is on it.

    question: what the state belongs to; clock: where the seconds are counted.

    Raises InputError where the best design buys violations.
    """
    with clock.during(""):  # the references' own clocks count it
        flat, ideal = stored_references(joint, jobs, state, question, progress)
    for reference in (flat, ideal):
        clock.add(reference.clock)
    found = hybrid.solve(
        joint,
        flat=flat,
        ideal=ideal,
        beside=[flat.design],
        gap=gap,
        jobs=jobs,
        progress=progress,
        state=state,
        origin=question,
        engine=engine,
        clock=clock,
    )
    check_limits(found.joint, found.best.x, prepared)
    bounds = DesignProof(
        lower_bound=found.lower_bound,
        upper_bound=found.upper_bound,
        flat=flat.social_cost,
        first_best=ideal.social_cost,
        menu_points=found.menu_points,
        lp_solves=found.lp_solves,
        proof=found.proof,
    )
    return found, bounds


def check_limits(joint: JointLP, x: np.ndarray, prepared: Prepared) -> None:
    """Say which limit cannot be kept, and when, where a response buys violations.

    Raises:
        InputError: no decision of anybody keeps all limits, at any point of the menu; or some do, but at the declared
            price of violation they cost more than violating.
    """
    if x[joint.lp.at("slack")] <= RESIDUAL:
        return
    paths = prepared.study.paths
    least, block = least_violation(joint)
    if least <= RESIDUAL:
        raise InputError(
            paths["study"],
            "violation_price_factor",
            f"is so low that {float(x[joint.lp.at('slack')]):.6g} kW of violation are bought, which nobody needs",
            "raise it",
        )
    feeder = joint.instance.feeder
    number = (feeder.bus if block.kind.startswith("voltage") else feeder.line)[block.place]
    file, field, limit = {
        "voltage_low": (paths["bus"], f"vmin_pu of bus {number}", "lowest voltage"),
        "voltage_high": (paths["bus"], f"vmax_pu of bus {number}", "highest voltage"),
        "rating": (paths["branch"], f"rating_a of line {number}", "rating"),
        "capacity": (paths["study"], f"menus.{prepared.preset.name}.capacity.{number}", "largest limit offered"),
    }[block.kind]
    raise InputError(
        file,
        field,
        f"infeasible: no decision of anybody keeps the {limit} at hour {block.hour}; "
        f"at least {least:.6g} kW of violation remain on the feeder",
        "widen the limit, lower load.scale or load.peak_kw, or let more prosumers take part",
    )


def least_violation(joint: JointLP) -> tuple[float, Block]:
    """The least violation that any decisions leave, at any point of the menu, kW, and the block with most of it.

    Prosumers' own cost is minimised first: from that basis the violation takes a few steps, from none a thousand times
    as many.
    """
    free = JointLP(joint.instance, lp=joint.bare)
    free.add_blocks(joint.blocks)
    free.set_design(None)
    own = np.zeros(free.lp.cost.size)
    own[free.lp.at("R")] = 1.0
    own[free.lp.at("slack")] = free.instance.rules.violation_price
    free.solve(own)
    violation = np.zeros(free.lp.cost.size)
    violation[free.lp.at("slack")] = 1.0
    x = free.solve(violation, "primal").x
    worst = max(free.blocks, key=lambda block: float(x[free.lp.at(f"slack:{block.label}")]))
    return float(x[free.lp.at("slack")]), worst


def judge(prepared: Prepared, case: Case, decisions: Decisions, days: Days, policy: str) -> DayDecisions:
    """A design's days under a recourse policy."""
    return dict(judge_policies(prepared, case, decisions, days, [policy]))[policy]


def judge_policies(
    prepared: Prepared, case: Case, decisions: Decisions, days: Days, policies: Sequence[str] = POLICIES
) -> Iterator[tuple[str, DayDecisions]]:
    """Yield (policy, a design's days under it), with one LP for all policies."""
    recourse = Recourse(judging_instance(prepared.instance, case, days))
    clearing = clearing_instance(prepared.instance, case)
    for policy in policies:
        yield policy, with_rights(recourse.judge(decisions, policy), case, clearing, decisions)


def prosumer_bill_share(prepared: Prepared) -> float:
    """Prosumers' share of the energy billed in Case 1: the key by which surplus and rent are refunded."""
    return 1 - float(bill_shares(prepared)[-1])


def refunded(prepared: Prepared, table: pd.DataFrame) -> pd.DataFrame:
    """A daily table with the DSO's surplus, and prosumer cost after their share of surplus and congestion rent."""
    paid = fixed_cost(prepared, forecast=False) + table["loss_cost_usd"] + table["demand_charge_usd"]
    surplus = table["dso_revenue_usd"] - paid
    back = prosumer_bill_share(prepared) * (surplus + table["congestion_rent_usd"])
    return table.assign(dso_surplus_usd=surplus, prosumer_cost_after_refund_usd=table["prosumer_cost_usd"] - back)


def with_fixed_charge(prepared: Prepared, clearing: Instance, response: Response, decisions: Decisions) -> Decisions:
    """Decisions with the fixed charge that closes what variable charges leave of the cost, as array ``fixed`` of what
    each prosumer and all passive loads pay, $/day, (I + 1,); as they were where the study has no such charge."""
    if not clearing.rules.fixed_share:
        return decisions
    charge = fixed_charge(clearing, response.design, response.billed, response.social.network)
    return replace(decisions, arrays=decisions.arrays | {"fixed": charge * bill_shares(prepared)})


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
    joint, found = at_charge(instance, prepared.study.settings.network_charge_usd_per_kwh)
    fixed = passive_charges(instance, found.design) @ days.probability
    cost = found.theta - float(0.0 if joint.inside.any() else fixed)
    reference = days.reference_kw.sum(axis=0) @ days.probability
    return cost, found.social.total, float(reference)


def calibrate(
    folder: str | Path,
    target_cost: float,
    target_welfare: float,
    start: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> Calibration:
    """Find both parameters. Everything scales with the load but the tie-break, so a few proportional steps suffice.

    progress: is given a line for each step.

    Raises SolverError if the cost does not come within 1e-6 of its target in ten steps.
    """
    scale = start
    for _ in range(10):
        cost, social, reference = baseline(prepare(folder, "fast", {"load.scale": scale}))
        if progress is not None:
            progress(f"load.scale {scale:.9g}: Case 1 costs prosumers {cost:,.2f} $ a day")
        if abs(cost - target_cost) <= CLOSE * target_cost:
            value = (target_welfare + social) / reference
            return Calibration(scale, value, cost, value * reference - social)
        scale *= target_cost / cost
    raise SolverError(f"Case 1 costs {cost:.4f} $/day at load scale {scale:.6f}, not {target_cost:.4f}")
