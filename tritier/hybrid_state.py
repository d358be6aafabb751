"""The state of a search on disk: cuts, responses, incumbent and trace, from which a broken run goes on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from tritier.errors import InputError
from tritier.hybrid_pool import Pool
from tritier.hybrid_progress import Progress


def save(search) -> None:
    """Write what a later run needs to go on from here."""
    best = np.array([]) if search.best is None else np.array(search.menu.positions(search.best.design))
    rows = np.array(search.progress.rows).reshape(-1, 4)
    more = {"best": best, "trace": rows, "solves": np.array(search.total_solves), "menu": signature(search)}
    search.pool.save(search.state, **more)
    search._saved = time.perf_counter()


def signature(search) -> np.ndarray:
    """What a stored state must agree with: menu, sizes and cost to recover."""
    days = search.instance.days
    sizes = [search.joint.bare.cost.size, search.joint.bare.row_lower.size, days.n_days, search.instance.fixed_cost]
    return np.concatenate([*search.menu.levels, sizes, [days.demand_kw.sum(), days.wholesale.sum()]])


def resume(search, path: Path) -> None:
    """Go on from the cuts and responses of a broken run."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    mine = signature(search)
    if arrays["menu"].shape != mine.shape or not np.allclose(arrays["menu"], mine, rtol=1e-9):
        raise InputError(path, "menu", "belongs to another study or menu", "delete it, or run without --resume")
    search.pool = Pool.load(arrays)
    for cut in search.pool.cuts:
        search.lp.add_cut(cut)
    columns, search.pool.columns = search.pool.columns, []
    for column in columns:
        search.add_column(column)
    rows = [tuple(row) for row in arrays["trace"].tolist()]
    search.progress = Progress(search.gain, search.progress.say, rows, rows[-1][0] if rows else 0.0)
    search.solves = int(arrays["solves"])
    if arrays["best"].size:
        search.evaluate(tuple(int(k) for k in arrays["best"]))
