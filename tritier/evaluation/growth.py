"""How far each complementarity mode gets: the example market grown by hours until a mode meets its time limit, and
the tail of spatial branching.

``data/results/growth.py`` runs this for ten minutes a solve and stores the table; the chapter runs a small one afresh.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.errors import CertificateError, InputError
from tritier.provenance import DATA
from tritier.reformulation.bilevel import LinearBilevel
from tritier.reformulation.bounds import boxes, high_point_rows
from tritier.reformulation.kkt import kkt_system
from tritier.reformulation.lp import solve_lp
from tritier.reformulation.market import MarketExample, market_example
from tritier.reformulation.modes import MODES, single_level, strong_duality
from tritier.reformulation.solve import discrete_points, enumerate_discrete, solve

AGREE = 1e-6  # relative: social cost of a mode that finished against enumeration
#: the four modes as they are, and the complementarity modes with the value cut
PLAIN = tuple((mode, False) for mode in MODES)
CUT = tuple((mode, True) for mode in MODES if mode != "strong_duality")
STORED = DATA / "results" / "growth.csv"


@dataclass(frozen=True)
class GrowthRow:
    """One solve. ``enumerated``: least social cost of the menu, $; ``high_point``: if the follower obeyed, $;
    ``objective``, ``bound``: the mode's, $; ``residual``: the largest; times in seconds of wall clock."""

    hours: int
    scenarios: int
    pairs: int
    menu_points: int
    mode: str
    value_cut: bool
    status: str
    proof: str
    enumerated: float
    high_point: float
    objective: float
    bound: float
    residual: float
    binaries: int
    nodes: int
    seconds: float
    limit: float


def growth(
    sizes: Iterable[tuple[int, int]],
    limit: float,
    variants: Iterable[tuple[str, bool]] = PLAIN,
    report: Callable[[GrowthRow], None] = lambda row: None,
    on: bool = False,
) -> pd.DataFrame:
    """Solve the example at growing ``sizes`` (hours, scenarios) by each of ``variants`` (mode, with value cut).

    ``limit`` seconds for SCIP in each solve. A variant that did not finish a size is not tried on the next, unless
    ``on``. Every finished solve is compared with enumeration: CertificateError where the optimum differs by more than
    1e-6 relative, or where enumeration does not find that cost at the design chosen (designs may tie). InputError where
    the example has no solution at a size.
    """
    rows: list[GrowthRow] = []
    left = list(variants)
    for hours, scenarios in sizes:
        if not left:
            break
        example = market_example(hours, scenarios)
        best, _, _, values = enumerate_discrete(example.problem)
        if not np.isfinite(best):
            raise InputError(
                "example market", "hours", f"no design recovers the revenue at {hours}", "take another size"
            )
        pairs, obeyed = int(kkt_system(example.problem).pairs.size), high_point(example)
        for variant in tuple(left):
            row = _row(example, variant, limit, (hours, scenarios, pairs), (best, values, obeyed))
            rows.append(row)
            report(row)
            if row.status != "optimal" and not on:
                left.remove(variant)
    return pd.DataFrame([asdict(row) for row in rows])


def high_point(example: MarketExample) -> float:
    """Social cost if the follower obeyed the leader: where a relaxation without complementarity starts, $."""
    p, (matrix, low, high, *sides) = example.problem, high_point_rows(example.problem)
    return solve_lp(p.F, matrix, low, high, *sides).objective + p.F0


def _row(
    example: MarketExample,
    variant: tuple[str, bool],
    limit: float,
    size: tuple[int, int, int],
    known: tuple[float, np.ndarray, float],
) -> GrowthRow:
    mode, cut = variant
    hours, scenarios, pairs = size
    best, values, obeyed = known
    p = example.problem
    found = solve(p, mode, time_limit=limit, box=example.box, dual_bound=example.dual_bound, value_cut=cut)
    objective = np.nan if found.objective is None else found.objective
    if found.status == "optimal":
        points = np.array(discrete_points(p))
        at_design = values[np.abs(points - found.x)[:, p.discrete].sum(axis=1).argmin()]
        off = max(abs(objective - best), abs(at_design - best)) / abs(best)
        if off > AGREE:
            raise CertificateError("growth.enumeration", off, AGREE, f"{mode} at {hours} hours, {scenarios} scenarios")
    return GrowthRow(
        hours, scenarios, pairs, int(values.size), mode, cut, found.status, found.proof, best, obeyed,
        objective, np.nan if found.bound is None else found.bound,
        max(found.residuals.values(), default=np.nan), found.binaries, found.nodes, found.seconds, limit,
    )  # fmt: skip


def stored_growth(path: str | Path = STORED) -> tuple[pd.DataFrame, dict[str, object]]:
    """The stored table, each row with date, commit and load, and what holds for all (versions, machine, command)."""
    path = Path(path)
    return pd.read_csv(path), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def ends_in_words(stored: pd.DataFrame) -> str:
    """How far each mode of a stored table gets, and what it has left where the clock stops."""
    return "; ".join(_end(mode, part) for mode, part in stored.groupby("mode", sort=False))


def _end(mode: str, part: pd.DataFrame) -> str:
    closed, unfinished = part[part["status"] == "optimal"], part[part["status"] != "optimal"]
    top = closed.iloc[-1]
    took = f"{top.seconds:.0f} s" if top.seconds >= 1 else "less than a second"
    text = f"{mode} finishes {top.pairs:,} pairs in {took}"
    if unfinished.empty:
        return text
    at = unfinished.iloc[0]
    left = f"has {100 * (at.objective - at.bound) / at.objective:.0f} % between point and bound"
    return (
        f"{text}, and at {at.pairs:,} it {'has no point' if at.status == 'no_solution' else left} when the clock stops"
    )


@dataclass(frozen=True)
class SpatialTail:
    """What SCIP says of strong duality over continuous leader variables when it may branch for ``limit`` seconds.

    ``claimed``, ``bound``: SCIP's best objective and lower bound; ``optimum``: ours after all checks, by the whole of
    :func:`~tritier.reformulation.solve.solve`, resting on ``proof``.
    """

    problem: str
    status: str
    claimed: float
    bound: float
    nodes: int
    seconds: float
    optimum: float
    proof: str


def spatial_tail(problem: LinearBilevel, limit: float) -> SpatialTail:
    """Strong duality with its own stopping gap and node limit lifted, beside the mode as it is."""
    kkt = kkt_system(problem)
    single = single_level(kkt, boxes(kkt))
    strong_duality(single)
    model = single.model
    for name, value in (("limits/gap", 0.0), ("limits/nodes", -1), ("limits/time", float(limit))):
        model.setParam(name, value)
    model.optimize()
    claimed = model.getObjVal() + problem.F0 if model.getNSols() else np.nan
    ours = solve(problem, "strong_duality")
    return SpatialTail(
        problem.name, model.getStatus(), claimed, model.getDualbound() + problem.F0, int(model.getNTotalNodes()),
        float(model.getSolvingTime()), np.nan if ours.objective is None else ours.objective, ours.proof,
    )  # fmt: skip
