"""A solved case: designed, certified, summarised, written whole or not at all, and read back.

``Result`` is what the public API gives; a result is worth what its certificates say, so whoever reads one certifies it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import effective_n_jobs

from tritier.cases import store
from tritier.cases.cases import Case, find_case
from tritier.cases.certificate import (
    COMPLEMENTARITY,
    DUALITY,
    GAIN,
    RESIDUAL,
    Answers,
    DesignProof,
    check_proof,
    other_answers,
    recheck,
    require,
    social_cost_range,
    stored_lp,
)
from tritier.cases.decisions import Decisions, decisions_of
from tritier.cases.outcome import daily_table, mean_and_cvar, physics_table
from tritier.cases.recourse import DayDecisions
from tritier.cases.solve import (
    Prepared,
    bill_shares,
    cleared,
    fixed_cost,
    judge,
    optimise,
    prepare,
    prosumer_bill_share,
    refunded,
    with_fixed_charge,
)
from tritier.errors import InputError
from tritier.inputs.documents import read_json
from tritier.inputs.instance import Design, Instance, Menu
from tritier.inputs.study import Study, located
from tritier.provenance import (
    DATA,
    commit,
    naming,
    package_hash,
    require_jobs,
    require_same_question,
    versions,
    whole_folder,
    write_json,
)
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import Clock
from tritier.search.flat import flat_tariff
from tritier.search.hybrid import COLUMNS, HybridResult, require_engine
from tritier.search.pool import Pool
from tritier.search.responses import Response
from tritier.studies.check import calibration_warnings, design_flows, menu_warnings, own_notes

CENT = 0.01  # $ a day
AGREES = 1e-6  # relative: a stored figure against the one found again


NOTHING_LEFT = (
    "network_charge_usd_per_kwh: recovers no more in Case 1 than losses and demand charge, so that no fixed cost is "
    "left; raise it, lower demand_charge_usd_per_kw, or give fixed_cost_usd"
)


@dataclass(frozen=True, eq=False)
class Result:
    """A solved case: what it cleared, its decisions, its proof, and the design scenarios under its headline policy."""

    prepared: Prepared
    case: Case
    clearing: Instance
    decisions: Decisions
    days: DayDecisions
    bounds: DesignProof | None  # None for a case without a menu
    trace: pd.DataFrame
    origin: Mapping[str, object]  # what provenance.json says besides the study's place
    response: Response | None = None  # None where the result was read
    search: HybridResult | None = None  # None where the result was read, or has no menu
    folder: Path | None = None  # where the result was read
    profile: pd.DataFrame | None = None  # where the seconds of the search went; None where the result was read
    answers: Answers | None = None  # others of the follower's equals; None where none were stored

    @property
    def design(self) -> Design:
        """Tariff and limits."""
        return self.decisions.design

    def warnings(self) -> list[str]:
        """What is likely not meant, one line each: a design no better than the flat tariff, a menu where nothing binds,
        a network charge that leaves no fixed cost, a load scale or reference value of another feeder, what the study
        notes of itself."""
        study, preset, found = self.prepared.study, self.prepared.preset, []
        if self.bounds is not None:
            found += design_warnings(self.bounds)
            found += menu_warnings(study, preset.name, design_flows(study, preset, self.prepared.half))
        if study.settings.fixed_cost_usd is None and fixed_cost(self.prepared, forecast=False) == 0:
            found.append(NOTHING_LEFT)
        return found + calibration_warnings(study) + own_notes(study, preset)

    @cached_property
    def social_cost_range(self) -> dict[str, float]:
        """Social cost as the market clears over the follower's optimal set, $/day, by reading: ``optimistic``,
        ``solver`` and ``pessimistic``; empty where the result was stored without its other answers."""
        if self.answers is None:
            return {}
        joint = stored_lp(self.clearing, self.decisions, self.case.market, self.case.network)
        return social_cost_range(joint, self.decisions, self.answers)

    def summary(self) -> dict[str, Any]:
        """Headline figures, expected over the design scenarios under the case's headline policy, and ``warnings``."""
        day, decisions, instance = self.days, self.decisions, self.prepared.instance
        table = refunded(self.prepared, daily_table(day, decisions))
        mean = {c: mean_and_cvar(table, c)[0] for c in table.columns if c not in ("day", "probability")}
        physics = physics_table(day)
        p = instance.days.probability
        return {
            "case": self.case.number,
            "policy": day.policy,
            "welfare_usd": mean["welfare_usd"],
            "secured_welfare_usd": mean["secured_welfare_usd"],
            "curtailment_to_secure_kwh": mean["curtailment_to_secure_kwh"],
            "shed_kwh": mean["shed_kwh"],
            "social_cost_usd": mean["social_cost_usd"],
            **({"social_cost_range_usd": self.social_cost_range} if self.answers is not None else {}),
            "prosumer_cost_usd": mean["prosumer_cost_usd"],
            "prosumer_cost_after_refund_usd": mean["prosumer_cost_after_refund_usd"],
            "prosumer_cvar_usd": mean_and_cvar(table, "prosumer_cost_usd", instance.rules.alpha)[1],
            "losses_kwh": mean["losses_kwh"],
            "ac_losses_kwh": float(physics["ac_losses_kwh"].to_numpy() @ p),
            "p2p_kwh": mean["p2p_kwh"],
            "curtailed_kwh": mean["curtailed_kwh"],
            "peak_kw": mean["peak_kw"],
            "dso_revenue_usd": mean["dso_revenue_usd"],
            "dso_surplus_usd": mean["dso_surplus_usd"],
            "congestion_rent_usd": mean["congestion_rent_usd"],
            "fixed_cost_usd": fixed_cost(self.prepared, forecast=False),
            "fixed_charge_usd": float(decisions.fixed.sum()),
            "refund_share_prosumers": prosumer_bill_share(self.prepared),
            "violation_share_ac": float(physics["ac_violation_share"].to_numpy() @ p),
            "warnings": self.warnings(),
        }

    def certificates(self, progress: Callable[[str], None] | None = None) -> dict[str, dict[str, object]]:
        """All certificates but the proof of the bounds, from decisions and days; progress: is given a line for each.

        Raises CertificateError at the first that fails.
        """
        if self.clearing.rules.fixed_share:
            share = bill_shares(self.prepared) * self.decisions.fixed.sum()
            require("decisions.fixed", float(np.abs(self.decisions.fixed - share).max()), 1e-4, "is not by the bills")
        return recheck(self.case, self.clearing, self.decisions, self.days, self.bounds, self.answers, progress)

    def certify(self, jobs: int = 1, progress: Callable[[str], None] | None = None) -> dict[str, dict[str, object]]:
        """All certificates, the proof of the bounds row by row, and what files say beside what is found again; all but
        ``store.UNCHECKED`` and what was judged later (:func:`tritier.evaluation.heldout.check_evaluation`).

        jobs: processes that share the rows of the proof; progress: is given a line at each step.

        Raises CertificateError at the first figure that fails, InputError where a file does not fit.
        """
        if self.folder is not None:
            preset, study = self.prepared.preset, self.prepared.study
            store.check_origin(self.folder, preset, study.preset(preset.name), study.name)
            store.check_trace(self.trace, self.bounds)
        found = self.certificates(progress)
        if self.folder is not None:
            for name, again in (("summary", self.summary()), ("certificate", found)):
                path = self.folder / f"{name}.json"
                check_figures(path, name, read_json(path, store.AGAIN), again)
        if self.bounds is not None:
            require("design.gap", self.bounds.gap, float(self.origin["gap"]), "was asked for")  # type: ignore[arg-type]
            self.check_bounds(jobs, progress)
        return found

    def check_bounds(self, jobs: int = 1, progress: Callable[[str], None] | None = None) -> int:
        """Check the bounds against the rows that prove them; returns the number of rows.

        Raises CertificateError at the first figure that is not proved.
        """
        if self.bounds is None:
            return 0
        joint = JointLP(self.clearing, self.case.market, self.case.network)
        return check_proof(joint, self.design, self.bounds, self.pools(joint), jobs, progress)

    def pools(self, joint: JointLP) -> dict[str, Pool]:
        """The rows that prove the bounds."""
        return store.read_pools(self.proof_file, joint) if self.search is None else self.search.pools

    @property
    def proof_file(self) -> Path:
        """Where the rows of a result that was read lie."""
        assert self.folder is not None
        return self.folder / "proof.npz"

    def write(self, out: str | Path, profile: bool = False) -> Path:
        """Write all files into a fresh folder that then takes the place of ``out``, and return it; ``profile``: where
        the seconds went among them.

        Raises CertificateError where a certificate fails, InputError where ``out`` holds anything but a result.
        """
        place, certificate = store.check_out(Path(out)), self.certificates()
        study = os.path.relpath(self.prepared.study.folder.resolve(), place)
        with whole_folder(place) as fresh:
            write_json(fresh / "summary.json", self.summary())
            write_json(fresh / "certificate.json", certificate)
            write_json(fresh / "provenance.json", {"study": study, **self.origin})
            with naming(fresh / "trace.csv"):
                self.trace.to_csv(fresh / "trace.csv", index=False)
            if profile and self.profile is not None:
                with naming(fresh / "profile.csv"):
                    self.profile.to_csv(fresh / "profile.csv", index=False)
            with naming(fresh / "decisions.npz"):
                members: dict[str, Any] = dict(store.packed(self.decisions, self.days))
                np.savez_compressed(fresh / "decisions.npz", **members)
            if self.answers is not None:
                with naming(fresh / store.RANGE):
                    members = dict(store.packed_answers(self.answers, self.clearing))
                    np.savez_compressed(fresh / store.RANGE, **members)
            if self.bounds is not None:
                with naming(fresh / "proof.npz"):
                    self.write_proof(fresh / "proof.npz")
        return place

    def write_proof(self, path: Path) -> None:
        """Store the rows that prove the bounds."""
        if self.search is None:
            shutil.copyfile(self.proof_file, path)
        else:
            self.search.write_proof(path)


def solve(
    study: Study | str | Path,
    case: int,
    preset: str = "fast",
    gap: float | None = None,
    jobs: int = 1,
    *,
    changes: Mapping[str, object] | None = None,
    engine: str = "tree",
    half: str = "odd",
    progress: Callable[[str], None] | None = None,
    state: Path | None = None,
) -> Result:
    """Design a case of a study.

    Args:
        study: as :func:`~tritier.inputs.study.read_study` gives it, or its folder.
        case: 0 to 4.
        preset: smoke, fast or paper: size of the run.
        gap: share of the achievable gain at which the search stops; None: the preset's.
        jobs: processes that share the menu, -1 for one a core.
        changes: of the preset, as ``{"n_prosumers": 10}``, and of study.yaml where a folder is given.
        engine: ``tree`` or ``scip`` (:func:`tritier.search.hybrid.solve`).
        half: weeks of the season that the design sees, ``odd`` or ``even``.
        progress: is given a line now and then.
        state: file that keeps what an interrupted run has found, and from which the same question goes on.

    Raises:
        InputError: bad study or arguments, or a study that no decision keeps within its limits.
        CertificateError: the search ended above the gap.
    """
    return solve_case(prepare(study, preset, changes, half), case, jobs, progress, state, gap, engine)


def solve_case(
    prepared: Prepared,
    case: Case | int,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
    state: Path | None = None,
    gap: float | None = None,
    engine: str = "tree",
) -> Result:
    """:func:`solve` for a study that is prepared already, and for a case that need not be one of the five."""
    check_asked(gap, jobs, engine)
    case = case if isinstance(case, Case) else find_case(case)
    with located(prepared.study):
        begin, clock = time.perf_counter(), Clock()
        with clock.during("case"):
            clearing = cleared(prepared, case)
            joint = JointLP(clearing, case.market, case.network)
        bounds, trace, search = None, pd.DataFrame(columns=list(COLUMNS)), None
        asked: dict[str, object] = {"gap": None, "engine": None, "jobs": jobs}
        if case.optimised:
            gap = prepared.preset.gap if gap is None else gap
            asked = {"gap": gap, "engine": engine, "jobs": jobs}
            question = "" if state is None else state_question(prepared, case, state, progress)
            try:
                search, bounds = optimise(joint, prepared, gap, jobs, progress, state, engine, question, clock)
            except InputError as error:
                if state is not None and error.file != str(state):
                    store.forget_state(state)  # the study has to change, so that nobody goes on from here
                raise
            require("design.gap", bounds.gap, gap)
            joint, response, trace = search.joint, search.best, search.trace
        else:
            response = flat_tariff(joint)
        with clock.during("design scenarios"):
            decisions = with_fixed_charge(prepared, clearing, response, decisions_of(joint, response))
            days = judge(prepared, case, decisions, prepared.instance.days, case.policy)
        with clock.during("other answers"):
            answers = other_answers(stored_lp(clearing, decisions, case.market, case.network), decisions)
        seconds = time.perf_counter() - begin
        profile = clock.table(effective_n_jobs(jobs) * seconds)
        origin = provenance(prepared, case.number) | asked | {"seconds": round(seconds, 2)}
        found = (prepared, case, clearing, decisions, days, bounds, trace, origin, response, search)
        return Result(*found, profile=profile, answers=answers)


def design_warnings(bounds: DesignProof) -> list[str]:
    """That a design costs society as much as the flat tariff to a cent, or more, if so."""
    gain = bounds.flat - bounds.upper_bound
    if gain >= CENT:
        return []
    what = "more than" if gain <= -CENT else "as much as"
    return [f"design: costs society {what} the flat tariff on the design scenarios; offer other charges or limits"]


def check_asked(gap: float | None, jobs: int, engine: str) -> None:
    """Raise InputError where a gap is no share, jobs are no number of processes, or nobody knows the engine."""
    if gap is not None and not (isinstance(gap, Real) and 0 < gap < 1):
        told = f"{gap:g}" if isinstance(gap, Real) else repr(gap)
        raise InputError("--gap", "gap", f"{told} is not a share", "give a number between 0 and 1")
    require_jobs(jobs)
    require_engine(engine)


def provenance(prepared: Prepared, case: int) -> dict[str, object]:
    """Where a result comes from: study, preset and its parameters, changes, data hash, seed, commit and versions."""
    return {
        "study_name": prepared.study.name,
        "case": case,
        "half": prepared.half,
        "preset": prepared.preset.name,
        "parameters": asdict(prepared.preset),
        "changes": prepared.changes,
        "data_hash": prepared.study.data_hash,
        "seed": prepared.preset.seed,
        "commit": commit(),
        "versions": versions(),
    }


def state_question(prepared: Prepared, case: Case, state: Path, progress: Callable[[str], None] | None = None) -> str:
    """What a run's state belongs to, as text: all that its rows depend on. Not the gap, nor who searches: rows prove
    the same whatever is asked of them, so that an interrupted run may go on at a looser gap, or with more processes.

    Raises InputError where the file at ``state`` belongs to something else.
    """
    parameters = {key: value for key, value in asdict(prepared.preset).items() if key != "gap"}
    mine = {
        "study": prepared.study.data_hash,
        "preset": parameters,
        "--set": prepared.changes,
        "half": prepared.half,
        "case": str(case),
        "package": package_hash(),
    }
    if (told := store.state_of(state)) is not None:
        require_same_question(state, told, mine)
        if progress is not None:
            progress(f"going on from {state}, which an interrupted run has left")
    return json.dumps(mine)


def check_figures(path: Path, name: str, stored: Any, again: Any, mend: str = store.AGAIN) -> None:
    """Compare a stored file with what decisions and study give, key by key; ``mend``: what makes the file anew.

    Raises InputError where it is not of the same form, CertificateError where a figure or word differs.
    """
    if isinstance(again, dict | list):
        places = again if isinstance(again, dict) else range(len(again))
        if not isinstance(stored, type(again)) or list(
            stored if isinstance(again, dict) else range(len(stored))
        ) != list(places):
            raise InputError(path, name, "does not hold the expected keys", mend)
        for k in places:
            check_figures(path, f"{name}.{k}", stored[k], again[k], mend)
    elif isinstance(again, str):
        require(name, float(stored != again), 0.0, f"{stored!r} is stored, {again!r} is found")
    elif isinstance(stored, bool) or not isinstance(stored, int | float):
        raise InputError(path, name, f"{stored!r} is no number", mend)
    elif stored != again:  # infinities are equal, not close
        least = 1e-2 if "share" in name else 1.0
        require(name, abs(stored - again) / max(least, abs(again)), AGREES, f"{stored:g} is stored, {again:g} is found")


def read_result(folder: str | Path, study: str | Path | None = None) -> Result:
    """A stored result, with its study read again.

    study: its folder, where it has moved. Raises InputError naming the file that is missing or does not fit.
    """
    folder = Path(folder)
    origin = store.read_origin(folder)
    source = Path(study) if study else Path(os.path.relpath(folder.resolve() / origin["study"]))
    prepared = prepare(source, origin["preset"], store.stored_changes(origin), origin["half"])
    if prepared.study.data_hash != origin["data_hash"]:
        raise InputError(folder / "provenance.json", "data_hash", "the study's files have changed since", store.AGAIN)
    return read_made(folder, prepared)


def read_made(folder: Path, prepared: Prepared) -> Result:
    """A stored result that was made from a study as it is prepared already (:func:`made_from`)."""
    origin = store.read_origin(folder)
    del origin["study"]
    case = find_case(origin["case"])
    clearing = cleared(prepared, case)
    decisions, days = store.unpacked(folder / "decisions.npz", prepared.instance, case, clearing)
    bounds, trace = store.stored_bounds(folder, case), store.read_trace(folder)
    path = folder / store.RANGE
    answers = store.read_answers(path, clearing) if path.exists() else None
    return Result(prepared, case, clearing, decisions, days, bounds, trace, origin, folder=folder, answers=answers)


# Tables of a result, as chapters and reports show them.


HEADLINES = (
    ("welfare_usd", "welfare", "$/day", 1),
    ("social_cost_usd", "social cost", "$/day", 1),
    ("prosumer_cost_usd", "prosumer cost", "$/day", 1),
    ("prosumer_cost_after_refund_usd", "prosumer cost after refund", "$/day", 1),
    ("prosumer_cvar_usd", "CVaR of prosumer cost over scenarios", "$/day", 1),
    ("ac_losses_kwh", "losses (AC)", "kWh/day", 1),
    ("peak_kw", "peak of the feeder head", "kW", 1),
    ("p2p_kwh", "P2P volume", "kWh/day", 1),
    ("curtailed_kwh", "curtailed", "kWh/day", 1),
    ("dso_revenue_usd", "revenue of the DSO", "$/day", 1),
    ("dso_surplus_usd", "surplus of the DSO, refunded", "$/day", 1),
    ("congestion_rent_usd", "congestion rent, refunded", "$/day", 1),
    ("violation_share_ac", "bus-hours outside the band (AC)", "%", 100),
)


def certificate_table(certificate: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The figures of a certificate that must be zero, or nearly so, each with what it may be at most."""
    parts = {name: dict(part) for name, part in certificate.items()}
    rows = [
        (
            "largest gain of a prosumer from deviating",
            "share of its cost",
            parts["equilibrium"]["max_relative_gain"],
            GAIN,
        ),
        ("gain of the platform from deviating", "$/day", parts["equilibrium"]["platform_gain_usd"], None),
        ("rows and bounds of the follower", "kW or $", parts["follower"]["primal"], RESIDUAL),
        ("reduced costs of the follower", "$/kWh", parts["follower"]["dual"], RESIDUAL),
        ("complementarity of the follower", "$", parts["follower"]["complementarity"], COMPLEMENTARITY),
        ("duality gap of the follower", "relative", abs(parts["follower"]["duality_gap"]), DUALITY),
        ("violations bought at the declared price", "kWh/day", parts["follower"]["slack_kwh"], RESIDUAL),
        ("money that appears or vanishes", "$/day", parts["money"]["imbalance_usd"], None),
        ("revenue missing for cost recovery", "$/day", max(0.0, -parts["revenue"]["slack_usd"]), 1e-4),
    ]
    table = pd.DataFrame(rows, columns=["figure", "unit", "found", "at most"])
    return table.assign(
        **{c: ["–" if pd.isna(x) else f"{x:.1e}" if x else "0" for x in table[c]] for c in table.columns[2:]}
    )


def design_table(design: Mapping[str, Any]) -> pd.DataFrame:
    """Bounds on the best design of the menu, and what could be gained at most, from a certificate's part ``design``."""
    flat, first, low, high = (float(design[k]) for k in ("flat", "first_best", "lower_bound", "upper_bound"))
    gain = f"{100 * (flat - high) / (flat - first):.1f}" if flat > first else "–"
    rows = [
        ("social cost of the flat tariff", "$/day", f"{flat:,.2f}"),
        ("social cost of the design found", "$/day", f"{high:,.2f}"),
        ("lower bound of all designs of the menu", "$/day", f"{low:,.2f}"),
        ("first best, without incentives", "$/day", f"{first:,.2f}"),
        ("gain of the design", "% of what is achievable", gain),
        ("gap", "% of what is achievable", f"{100 * float(design['gap']):.2f}"),
        ("gap", "$/day", f"{float(design['gap_usd']):,.2f}"),
        ("gap", "% of social cost", f"{100 * float(design['gap_relative']):.3f}"),
        ("proof", "", str(design["proof"])),
        ("points of the menu", "", f"{int(design['menu_points']):,}"),
        ("LP solves", "", f"{int(design['lp_solves']):,}"),
    ]
    return pd.DataFrame(rows, columns=["figure", "unit", "value"])


TODAY = "network charge today"  # as tables and figures call what a design stands beside


def choice_table(menu: Menu, design: Design, charge: float, fixed: float = 0.0) -> pd.DataFrame:
    """What the DSO chose, from which menu, beside the network charge today in $/kWh, which need not be the flat tariff
    that Case 1 ends at: a study may give its cost to recover itself; ``fixed``: what all customers pay as a fixed
    charge, $/day."""
    blocks = ("off-peak", "day", "peak")
    text = {f"tau_{b}": (f"energy charge, {name}", "$/kWh", f"{charge:.4f}") for b, name in enumerate(blocks)}
    text |= {
        "tau_p": ("P2P charge", "$/kWh", "–"),
        "tau_k": ("individual peak charge", "$/kW", "none"),
        "tau_c": ("coincident peak charge", "$/kW", "none"),
    }
    rows = []
    for (key, levels), chosen in zip(menu.prices.items(), design.prices.tolist(), strict=True):
        name, unit, today = text[key]
        rows.append((name, unit, ", ".join(f"{x:g}" for x in levels), f"{chosen:g}", today))
    rows.append(("fixed charge, all customers", "$/day", "what the others leave", f"{fixed:,.0f}", "none"))
    limits = dict(design.capacity)
    for line, levels in menu.capacity:
        offered = ", ".join(limit_in_words(x, levels) for x in levels)
        rows.append((f"limit of line {line}", "kW", offered, limit_in_words(limits[line], levels), "none"))
    return pd.DataFrame(rows, columns=["decision", "unit", "menu", "chosen", TODAY])


def limit_in_words(chosen: float, levels: Sequence[float]) -> str:
    """A capacity limit from these levels of a menu, kW; the largest never binds and stands for none."""
    return "none" if chosen == max(levels) else f"{chosen:,.0f}"


READINGS = {  # of the social cost as the market clears, in words
    "optimistic": "least",
    "solver": "at a solver's own answer",
    "pessimistic": "largest found",
}


def range_in_words(cost: Mapping[str, float]) -> str:
    """Social cost over the follower's optimal set in one line."""
    said = ", ".join(f"{READINGS[name]} {cost[name]:.2f}" for name in READINGS)
    return f"social cost as cleared, over the market's optimal answers: {said} $/day"


def headline_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """The headline figures of a case, expected over its design scenarios, and where it is known the range of social
    cost over the market's optimal answers, as it clears."""
    rows = [(text, unit, round(factor * float(summary[key]), 6) + 0.0) for key, text, unit, factor in HEADLINES]
    for name, cost in summary.get("social_cost_range_usd", {}).items():
        rows.append((f"social cost as cleared, optimal answers: {READINGS[name]}", "$/day", round(cost, 6)))
    return pd.DataFrame(rows, columns=["figure", "unit", "value"])


# Cases as they are stored with the data, so that a book need not solve them again: today's feeder at preset paper, the
# electrified one at preset fast, and at preset paper with limits of the feeder head alone.
#
# ``data/results/cases/run.py`` makes them. They count only where data, preset, changes and half are the same.


FOLDER = DATA / "results" / "cases"


class StoredSet(NamedTuple):
    """What the cases of a folder were made from: study, preset, half of the season that designed, changes by key, and
    the gap that was asked for where it is not the preset's."""

    study: str
    preset: str
    half: str
    changes: Mapping[str, object] = {}
    gap: float | None = None

    def prepared(self) -> Prepared:
        """The study as the cases were solved."""
        return prepare(FOLDER.parents[1] / "studies" / self.study, self.preset, self.changes, half=self.half)


SETS = {
    "odd": StoredSet("ieee33", "paper", "odd"),
    "even": StoredSet("ieee33", "paper", "even"),
    "2045-odd": StoredSet("ieee33-2045", "fast", "odd"),
    "2045-even": StoredSet("ieee33-2045", "fast", "even"),
}
#: preset paper of the electrified study, whose menu with limits of laterals is not closed, without these
HEAD = {"menus.paper.capacity": "{1: [1400, 1700, 2000, 2400, 2900, 3500, 4700]}"}
MANY = {"2045-head": StoredSet("ieee33-2045", "paper", "odd", HEAD, 0.01)}
#: and what a book at the default preset reads, no evidence
READY = SETS | MANY | {"fast-odd": StoredSet("ieee33", "fast", "odd")}


def made_from(folder: Path, prepared: Prepared) -> bool:
    """Whether a stored case was made from these data with these parameters, at the gap of its set or a smaller one: the
    preset's where the set names none."""
    if not (folder / "provenance.json").is_file():
        return False
    origin = store.read_origin(folder)
    mine = provenance(prepared, origin["case"])
    gap = origin["gap"] if find_case(origin["case"]).optimised else 0.0
    same = ("data_hash", "changes", "preset", "parameters", "seed", "half")
    asked = next((own.gap for name, own in READY.items() if FOLDER / name == folder.parent), None)
    return all(origin[key] == mine[key] for key in same) and gap <= (prepared.preset.gap if asked is None else asked)


def stored(prepared: Prepared, number: int) -> Path | None:
    """Folder of the stored case that was made from these data with these parameters, or None."""
    folders = (FOLDER / name / f"case-{number}" for name in READY)
    return next((folder for folder in folders if made_from(folder, prepared)), None)


def read_or_solve(prepared: Prepared, number: int) -> Result:
    """A case as it is stored for these data and parameters, else solved here. Its certificates are the reader's to
    recompute."""
    folder = stored(prepared, number)
    return solve_case(prepared, number) if folder is None else read_made(folder, prepared)


def origin_in_words(prepared: Prepared, number: int) -> str:
    """Where :func:`read_or_solve` takes a case from, in words."""
    folder = stored(prepared, number)
    if folder is None:
        return "solved on this page"
    made = store.read_origin(folder)
    place = folder.relative_to(FOLDER.parents[2]).as_posix()
    return (
        f"read from {place}, solved by commit {made['commit']} in {made['seconds']:.0f} s, and certified on this page"
    )
