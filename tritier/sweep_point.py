"""One point of a sweep: a study with some of its values changed, Case 1 against Case 4 on it, as one row of figures."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tritier.cases import find_case
from tritier.chance import Network
from tritier.dso import SocialCost
from tritier.errors import CertificateError, InputError
from tritier.findings import PARTS, mean_interval
from tritier.outcome import daily_table, mean_and_cvar, physics_table
from tritier.recourse import DayDecisions
from tritier.scenarios import held_out_days
from tritier.study import Prepared, SolvedCase, certificates, judge, prepare, solve_as, solve_case, summary

DESIGNS = ("menu", "flat")
ROW = "application/vnd.tritier.row+json"  # the output by which a notebook hands over its row
SUMMARY = (
    "welfare_usd",
    "social_cost_usd",
    "prosumer_cost_usd",
    "prosumer_cost_after_refund_usd",
    "ac_losses_kwh",
    "peak_kw",
    "p2p_kwh",
    "curtailed_kwh",
    "congestion_rent_usd",
)


def point(
    study: str | Path,
    preset: str = "fast",
    changes: Mapping[str, object] | None = None,
    design: str = "menu",
    cases: Sequence[int] = (1, 4),
) -> dict[str, object]:
    """The row of one point: cases solved, certified and judged on their scenarios and on held-out days.

    Args:
        study: folder of the study.
        preset: preset whose size and menu hold where ``changes`` does not replace them.
        changes: values of study.yaml by dotted key and of the preset, as of ``--set``.
        design: "menu" optimises Case 4 over the menu, "flat" gives its market the flat tariff at cost recovery.
        cases: the cases solved.

    Returns:
        Figures by name, ``cK_`` before those of case K (:py:func:`case_figures`), ``cK_out_`` before those on held-out
        days; ``out_change`` is the change of welfare from Case 1 to Case 4 there, with its day-clustered interval. A
        case that cannot be designed, or whose certificate fails, has no figures but ``refused``, the reason in a line.

    Raises InputError for a wrong study, key or design.
    """
    if design not in DESIGNS:
        raise InputError("sweep", "design", f"unknown design {design!r}", f"use one of {', '.join(DESIGNS)}")
    started = time.process_time()
    prepared = prepare(study, preset, changes)
    days = held_out_days(prepared.study, prepared.preset)
    row: dict[str, object] = {"refused": ""}
    outside: dict[int, np.ndarray] = {}
    for number in cases:
        try:
            solved = flat_full(prepared) if (number, design) == (4, "flat") else solve_case(prepared, number)
            certificates(solved)
        except (InputError, CertificateError) as error:
            row["refused"] = f"Case {number}: {error}"
            break
        held_out = judge(prepared, solved.case, solved.decisions, days, solved.case.policy)
        figures = case_figures(solved) | {f"out_{name}": value for name, value in judged(solved, held_out).items()}
        row |= {f"c{number}_{name}": value for name, value in figures.items()}
        outside[number] = daily_table(held_out, solved.decisions)["welfare_usd"].to_numpy()
    if 1 in outside and 4 in outside:
        row |= dict(zip(("out_change", "out_low", "out_high"), mean_interval(outside[4] - outside[1]), strict=True))
    instance = prepared.instance
    return row | {
        "prosumers": len(instance.prosumers),
        "scenarios": instance.days.n_days,
        "menu_points": instance.menu.n_points if design == "menu" else 1,
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def flat_full(prepared: Prepared) -> SolvedCase:
    """The market of Case 4 under the flat tariff at cost recovery and without limits: what its design improves on."""
    return solve_as(prepared, replace(find_case(4), optimised=False))


def case_figures(solved: SolvedCase) -> dict[str, object]:
    """Figures of a solved case, by name.

    Plain names are means over the scenarios under the headline policy, parts of social cost among them.
    ``cleared_`` is before the parts of social cost as the market cleared, before any day was judged. A design's bounds
    have ``flat_usd`` and ``first_best_usd``.
    """
    told = summary(solved)
    row: dict[str, object] = {name: told[name] for name in SUMMARY} | physical(solved.days)
    row |= cleared_parts(solved.response.social)
    table = daily_table(solved.days, solved.decisions)
    row |= {name: mean_and_cvar(table, name)[0] for name in PARTS}
    row["tariff"] = " ".join(f"{t:.4f}" for t in solved.decisions.design.tariff)
    row["p2p_charge"] = solved.decisions.design.p2p
    row["limits"] = " ".join(f"{line}:{limit:.0f}" for line, limit in solved.decisions.design.capacity)
    if solved.design is not None:
        row |= {"flat_usd": solved.design.flat, "first_best_usd": solved.design.first_best}
    return row


def cleared_parts(social: SocialCost) -> dict[str, float]:
    """Parts of social cost as cleared, $/day, and their total."""
    parts = ("wholesale", "losses", "demand_charge", "degradation", "lost_value", "total")
    return {f"cleared_{name}_usd": getattr(social, name) for name in parts}


def judged(solved: SolvedCase, day: DayDecisions) -> dict[str, float]:
    """Means over judged days: welfare, prosumer cost, losses, peak and what :py:func:`physical` gives."""
    table = daily_table(day, solved.decisions)
    names = ("welfare_usd", "prosumer_cost_usd", "peak_kw")
    return {name: mean_and_cvar(table, name)[0] for name in names} | physical(day) | {"days": len(table)}


def physical(day: DayDecisions) -> dict[str, float]:
    """Violations in AC as shares of bus-hours and of days, and in LinDistFlow as energy (:eq:`eq-priced-violations`).

    ``violation_kwh`` adds up every violated row, as the declared price does; ``shed_kwh`` takes the bus that is too low
    by most in each hour.
    """
    p, ac = day.instance.days.probability, physics_table(day)
    over = {k: np.maximum(v, 0) for k, v in Network(day.instance).violations(day.net_load, {}).items()}
    return {
        "ac_losses_kwh": float(ac["ac_losses_kwh"] @ p),
        "violation_share": float(ac["ac_violation_share"] @ p),
        "violation_days": float((ac["ac_violation_share"] > 0) @ p),
        "violation_kwh": float(sum(v.sum(axis=(0, 1)) for v in over.values()) @ p),
        "shed_kwh": float(over["voltage_low"].max(axis=0).sum(axis=0) @ p),
    }


def hand_over(row: Mapping[str, object]) -> None:
    """Display a row as the output by which a sweep finds it."""
    from IPython.display import display

    display({ROW: dict(row), "text/plain": json.dumps(row, indent=1)}, raw=True)
