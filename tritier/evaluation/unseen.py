"""Every case on every set of days that it has not seen, as one tidy table; and the tables kept with the data.

Real days are all held out once: the halves of the season swap. Resampled days pair load and renewable days of the
held-out half at random; they are no independent observations, so they get no intervals. A second setting has half as
much solar power again, with designs of its own. ``data/results/out_of_sample.py`` makes the stored tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from tritier.cases.result import FOLDER as CASES
from tritier.cases.result import SETS
from tritier.cases.solve import Prepared, prepare
from tritier.errors import InputError
from tritier.evaluation.findings import against_paper, grid, paired_changes
from tritier.evaluation.heldout import CHAPTERS, HeldOut, calibrated, find, fresh, judged
from tritier.inputs.documents import read_json
from tritier.inputs.instance import Days
from tritier.inputs.scenarios import held_out_days, resampled_days
from tritier.model.risk import sample_cvar
from tritier.provenance import commit, digest, versions, write_json

FOLDER = CASES.parent
REAL, SWAPPED, RESAMPLED, MORE_PV = "real, even weeks", "real, odd weeks", "resampled", "real, even weeks, PV × 1.5"
NETWORK_MODELS = ("promised", "LinDistFlow", "AC")


@dataclass(frozen=True, eq=False)
class DaySet:
    """A name, a study at a preset with the half and the changes that its designs were made with, and unseen days."""

    name: str
    prepared: Prepared
    days: Days


def day_sets(prepared: Prepared) -> Iterator[DaySet]:
    """The sets of days on which the designs of a study are judged."""
    folder, preset, changes = prepared.study.folder, prepared.preset.name, prepared.changes
    swapped = prepare(folder, preset, changes, half="even")
    sunny = prepare(folder, preset, changes | SETS["more-pv"][1])
    yield DaySet(REAL, prepared, held_out_days(prepared.study, prepared.preset))
    yield DaySet(SWAPPED, swapped, held_out_days(swapped.study, swapped.preset, "even"))
    yield DaySet(RESAMPLED, prepared, resampled_days(prepared.study, prepared.preset))
    yield DaySet(MORE_PV, sunny, held_out_days(sunny.study, sunny.preset))


def cases_on(days: DaySet) -> dict[int, HeldOut]:
    """All cases on a set of days, each stored or solved once."""
    found = {}
    for number in CHAPTERS:
        made = fresh(days.prepared, number).decisions
        found[number] = find(days.prepared, number, made, judged(days.prepared, number, made, days.days))
    return found


def rows_of(days: DaySet, cases: Mapping[int, HeldOut]) -> pd.DataFrame:
    """A row per case and policy: violations by network model, overloads, losses, welfare and prosumer cost.

    Shares are of bus-hours, line-hours or days; ``..._half`` are half-widths of 95 % intervals over days. The CVaR of
    prosumer cost is over days, at the study's level. ``welfare_change`` and its ends are against Case 1, headline
    policies.
    """
    table = grid(cases).drop(columns=["mean_share"]).set_index(["case", "policy"])
    alpha = days.prepared.instance.rules.alpha
    for number, found in cases.items():
        shares = found.violations.set_index(["policy", "model"])["mean_share"]
        for policy, daily in found.daily.groupby("policy", sort=False):
            here, p = (number, policy), np.full(len(daily), 1 / len(daily))
            for model in NETWORK_MODELS:
                table.loc[here, f"{model.lower()}_share"] = shares[policy, model]
            table.loc[here, "ac_overload_share"] = daily["ac_overload_share"].mean()
            table.loc[here, "prosumer_cost_cvar_usd"] = sample_cvar(daily["prosumer_cost_usd"].to_numpy(), p, alpha)
    change = paired_changes(pd.concat([found.daily for found in cases.values()]), ("welfare_usd",)).set_index("case")
    table = table.reset_index()
    own = table["headline"] & (table["case"] != 1)
    for column, key in (("welfare_change", "change"), ("welfare_change_low", "low"), ("welfare_change_high", "high")):
        table[column] = table["case"].map(change[key]).where(own)
    if days.name == RESAMPLED:
        for column in table.columns[table.columns.str.endswith(("_half", "_low", "_high"))]:
            table[column] = np.nan
    return table.assign(set=days.name)


def verdicts(prepared: Prepared, cases: Mapping[int, HeldOut], abstract: pd.DataFrame) -> pd.DataFrame:
    """The paper's figures beside those of the cases on one set of days.

    The table of :func:`tritier.evaluation.findings.against_paper`.
    """
    return against_paper(abstract, calibrated(prepared), pd.concat([found.daily for found in cases.values()]))


def case_hashes() -> dict[str, str]:
    """Hash of every stored case's decisions, by folder."""
    files = sorted(CASES.glob("*/case-*/decisions.npz"))
    return {f.parent.relative_to(CASES).as_posix(): digest(f.read_bytes()) for f in files}


def write(prepared: Prepared, table: pd.DataFrame, words: pd.DataFrame) -> None:
    """Keep both tables with the data, and where they come from."""
    first = ["set", "case", "policy", "headline"]
    table = table[first + [c for c in table.columns if c not in first]]
    table.to_csv(FOLDER / "out_of_sample.csv", index=False, float_format="%.9g")
    words.to_csv(FOLDER / "against_paper.csv", index=False, float_format="%.9g")
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "preset": prepared.preset.name,
        "data_hash": prepared.study.data_hash,
        "cases": case_hashes(),
        "versions": versions(),
    }
    write_json(FOLDER / "out_of_sample.json", about)


def stored(name: str) -> tuple[pd.DataFrame, dict[str, object]]:
    """A stored table (``out_of_sample`` or ``against_paper``) and its origin. Raises InputError where there is none."""
    path = FOLDER / f"{name}.csv"
    if not path.is_file():
        raise InputError(path, "file", "is missing", "run python data/results/out_of_sample.py")
    return pd.read_csv(path), read_json(FOLDER / "out_of_sample.json")
