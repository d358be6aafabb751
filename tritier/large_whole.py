"""The follower of a large market as one LP in HiGHS, by simplex or interior point: the decomposition's baseline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tritier.chance import Block
from tritier.instance import Design, Instance
from tritier.large_market import Coupling, one_lp, own_lps
from tritier.linear import LinearProgram
from tritier.parametric import safe_bound

METHODS = {"simplex": ("simplex", "on"), "interior point": ("ipm", "off"), "with crossover": ("ipm", "on")}


@dataclass(frozen=True, eq=False)
class Whole:
    """What HiGHS says of the whole LP. ``bound`` is safe whatever it says; values are nan where it did not finish."""

    status: str
    cost: float
    bound: float
    dual: np.ndarray  # of the coupling's rows
    columns: int
    rows: int
    entries: int
    iterations: int
    seconds: float  # building the LP included

    @property
    def finished(self) -> bool:
        return self.status == "Optimal"


def solve_whole(
    instance: Instance, design: Design, blocks: Sequence[Block] = (), method: str = "simplex", limit: float = 600.0
) -> Whole:
    """One LP with the given chance blocks, by one of ``METHODS``, for at most ``limit`` seconds."""
    start = time.perf_counter()
    coupling = Coupling(instance, design, blocks)
    lp = one_lp(own_lps(instance, design), coupling)
    solver, crossover = METHODS[method]
    program = LinearProgram(lp.cost, lp.matrix, lp.row_lower, lp.row_upper, lp.col_lower, lp.col_upper, method=solver)
    highs = program.solver
    highs.setOptionValue("run_crossover", crossover)
    highs.setOptionValue("time_limit", float(limit))
    highs.run()
    status, info = highs.modelStatusToString(highs.getModelStatus()), highs.getInfo()
    y = np.array(highs.getSolution().row_dual)
    known = status == "Optimal" and y.size == lp.row_lower.size
    return Whole(
        status=status,
        cost=float(info.objective_function_value) if known else np.nan,
        bound=safe_bound(lp, lp.cost, y) if known else np.nan,
        dual=y[-coupling.row_lower.size :] if known else np.empty(0),
        columns=lp.cost.size,
        rows=lp.row_lower.size,
        entries=int(lp.matrix.nnz),
        iterations=int(max(info.simplex_iteration_count, info.ipm_iteration_count)),
        seconds=time.perf_counter() - start,
    )
