"""The hybrid of Benders cuts and column-and-constraint generation: the best design of a menu with a proved gap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tritier.ends import End
from tritier.errors import InputError
from tritier.hybrid_lazy import LazySearch
from tritier.hybrid_search import HybridResult, Search
from tritier.joint import JointLP

ENGINES = {"tree": Search, "scip": LazySearch}


def solve(
    joint: JointLP,
    *,
    gap: float = 0.05,
    f_flat: float,
    f_first_best: float,
    time_limit: float | None = None,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
    state: Path | None = None,
    origin: str = "",
    ideal: End | None = None,
    engine: str = "tree",
) -> HybridResult:
    """The best design of the menu, to within ``gap`` of the gain between flat tariff and first best (:eq:`eq-gap`).

    joint: the instance's LP, at whose last basis the search starts; f_flat, f_first_best: social cost of both, $;
    ideal: the first best's LP, at whose basis the rows for the whole menu start; time_limit: s, after which the search
    stops with the bounds it has, as it does on Ctrl-C; state: file from which a broken run of the same ``origin`` goes
    on; engine: ``tree``, our best-first tree, or ``scip``, one tree of SCIP's with lazy rows.
    Raises InfeasibleError where no design recovers the revenue, SolverError where time is up before one is found,
    InputError for an unknown engine.
    """
    if engine not in ENGINES:
        raise InputError("--engine", "engine", f"unknown engine {engine!r}", f"choose one of {', '.join(ENGINES)}")
    search = ENGINES[engine](joint, gap, f_flat, f_first_best, jobs, progress, ideal)
    search.keep(state, origin)
    finished = False
    try:
        finished = search.run(time_limit)
    except KeyboardInterrupt:
        search.save()
        if search.ledger.best is None:
            raise
    return search.result(finished)
