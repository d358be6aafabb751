"""Solve a linear bilevel problem and believe nothing that is not checked.

The problem is solved and judged in units of its own (:mod:`tritier.reformulation.scaling`). A mode's solution passes
through these gates: no unproved bound is touched, the complementarity pattern is re-solved as an exact LP, the follower
is re-solved at the leader's decision, the residuals are small, and where a bound was only declared, another mode with
wider boxes must fail to find anything better. "Infeasible" is said only after another mode says so too. Where the
follower sees few leader decisions, all are listed, and a mode whose bound the list refutes is refused. Otherwise a mode
asked by name, on proved bounds, is one solver's word and called so: SCIP loses an optimum now and then. Mode "auto"
always asks for a second opinion.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

from tritier.errors import CertificateError, InputError, SolverError
from tritier.reformulation.bilevel import INF, LinearBilevel, solve_follower
from tritier.reformulation.bounds import Boxes, boxes, high_point_rows
from tritier.reformulation.kkt import KKT, bilinear_leaders, follower_residuals, kkt_system
from tritier.reformulation.lp import Status, solve_lp
from tritier.reformulation.modes import MODES, ModeSolution, run_mode
from tritier.reformulation.scaling import Scaling, scaled

#: outcomes: a proved optimum; proved infeasible or unbounded; a limit with and without a feasible point
STATUSES = ("optimal", "infeasible", "unbounded", "time_limit", "no_solution")
#: SCIP's words for a solution to be judged; all but the first come from strong duality's own limits
FINISHED = ("optimal", "gaplimit", "nodelimit", "sollimit")
#: mode "auto": the order in which modes are asked where the follower sees discrete leader variables only, and elsewhere
DISCRETE = ("strong_duality", "sos1", "indicator", "bigm")
CONTINUOUS = ("sos1", "indicator", "bigm", "strong_duality")
#: mode "auto": up to this many leader decisions that the follower sees are enumerated
FEW = 64
RESIDUAL_LIMIT = 1e-6
OBJECTIVE_LIMIT = 1e-6
WIDER = 100.0
AMBIGUOUS = 6
LOOSE = 2e-3


@dataclass(frozen=True, eq=False)
class BilevelSolution:
    """Outcome of a solve. ``objective`` is F at (x, y); without a point it is None and the arrays are empty.

    ``bound`` is a lower bound on F, ``multipliers`` map the names of :mod:`tritier.reformulation.kkt` to values,
    ``residuals`` are those of :func:`tritier.reformulation.kkt.follower_residuals` in the problem's own units.
    ``proof`` says on what the solution rests: "enumeration" (all leader decisions listed), "second opinion" (another
    mode found nothing better), "one mode" (SCIP's word on proved bounds, no other mode was asked), "open" (a limit, or
    no mode could confirm it), "not checked"; an LP proves "relaxation" (infeasible without the follower's aim) and
    "ray" (unbounded). ``reason`` says why a problem is infeasible, ``overruled`` what modes claimed before and another
    one refuted.
    """

    status: str
    mode: str
    objective: float | None = None
    x: np.ndarray = field(default_factory=lambda: np.zeros(0))
    y: np.ndarray = field(default_factory=lambda: np.zeros(0))
    multipliers: dict[str, float] = field(default_factory=dict)
    follower_objective: float | None = None
    residuals: dict[str, float] = field(default_factory=dict)
    bound: float | None = None
    nodes: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    binaries: int = 0
    proof: str = "not checked"
    reason: str = ""
    overruled: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Task:
    """A problem in units of its own with the bounds derived for it and those used, ``proven`` or not."""

    kkt: KKT
    derived: Boxes
    used: Boxes
    proven: bool
    time_limit: float
    value_cut: bool
    gap: float

    def run(self, mode: str, **options: Any) -> ModeSolution:
        """SCIP's solution in a mode on the bounds used."""
        limits = {"time_limit": self.time_limit, "value_cut": self.value_cut, "gap": self.gap}
        return run_mode(self.kkt, self.used, mode, **(limits | options))


@dataclass(frozen=True, eq=False)
class Point:
    """A follower-optimal point: x, y, multipliers."""

    x: np.ndarray
    y: np.ndarray
    mu: np.ndarray


def pattern_lp(
    kkt: KKT, tight: np.ndarray, fixed_x: np.ndarray | None = None
) -> tuple[Status, np.ndarray, np.ndarray, np.ndarray]:
    """The bilevel problem on one complementarity pattern: an LP in (x, y, mu), no box beyond the problem's own.

    Arguments: ``tight`` (K,) True where condition k is held at zero slack (its multiplier free to act), False where its
    multiplier is zero; ``fixed_x`` (nx,) fixes discrete leader variables (others nan). Returns status, x, y, mu.
    """
    p = kkt.problem
    nx, n, K = p.nx, p.nx + p.ny, kkt.h.size
    rows, row_low, row_high, low, high = high_point_rows(p)
    if fixed_x is not None:
        held = np.flatnonzero(np.isfinite(fixed_x))
        low[held], high[held] = fixed_x[held], fixed_x[held]
    tight = tight | kkt.equation
    matrix = sparse.block_array(
        [[rows, None], [kkt.H, None], [sparse.hstack([p.Q.T, sparse.csr_array((p.ny, p.ny))]), -kkt.Hy.T]], format="csr"
    )
    prices = -p.f[nx:]
    row_low = np.concatenate([row_low, kkt.h, prices])
    row_high = np.concatenate([row_high, np.where(tight, kkt.h, INF), prices])
    low = np.concatenate([low, np.where(kkt.equation, -INF, 0.0)])
    high = np.concatenate([high, np.where(tight, INF, 0.0)])
    found = solve_lp(np.concatenate([p.F, np.zeros(K)]), matrix, row_low, row_high, low, high)
    return found.status, found.x[:nx], found.x[nx:n], found.x[n:]


def solve(
    problem: LinearBilevel, mode: str = "auto", *, time_limit: float = INF, check: bool = True,
    big_m: float | None = None, dual_bound: dict[str, float] | None = None, box: np.ndarray | None = None,
    value_cut: bool | None = None, gap: float = 0.0,
) -> BilevelSolution:  # fmt: skip
    """Solve ``problem`` by one of ``tritier.reformulation.modes.MODES``, or by "auto".

    Args:
        time_limit: seconds for SCIP; the second opinion may take as long again.
        check: False returns SCIP's solution as it is, and exists only to show what a bad M does.
        big_m: a guess used for every multiplier and slack instead of the derived bounds.
        dual_bound: multiplier name -> bound proved by the caller for every optimal multiplier vector.
        value_cut: strong duality as a row of a complementarity mode; None: in mode "auto" only.
        gap: difference of F and its bound at which SCIP may stop; the solution then has the bound that it had.
        box: sides of [x, y], (nx + ny, 2), proved by the caller for every point with a follower-optimal y.

    Raises:
        CertificateError: a gate fails.
        SolverError: SCIP stops without a usable status.
        InputError: an unknown mode, or numbers of unlike size.
    """
    if mode not in (*MODES, "auto"):
        raise InputError(problem.name, "mode", f"unknown mode {mode!r}", f"use auto or one of {', '.join(MODES)}")
    _require_sizes(problem.name, time_limit=time_limit, gap=gap, **({} if big_m is None else {"big_m": big_m}))
    within, units = scaled(problem)
    kkt = kkt_system(within)
    dual_unit, slack_unit = units.dual_unit(kkt), units.slack_unit(kkt)
    given = {name: value / dual_unit[kkt.position(name)] for name, value in (dual_bound or {}).items()}
    derived = boxes(kkt, given, None if box is None else box / units.unit[:, None])
    used, proven = derived, derived.proven
    if big_m is not None:
        used = replace(derived, dual=big_m / dual_unit, slack=np.where(kkt.equation, 0.0, big_m / slack_unit))
        proven = proven and bool(np.all(used.dual >= derived.dual) and np.all(used.slack >= derived.slack))
    cut = mode == "auto" if value_cut is None else value_cut
    task = Task(kkt, derived, used, proven, time_limit, cut, gap / units.F_unit)
    if derived.high_point == Status.INFEASIBLE:
        found = BilevelSolution("infeasible", mode, proof="relaxation")
    else:
        found = _auto(task) if mode == "auto" else _one_mode(task, mode, check)
    if found.status == "infeasible":
        found = replace(found, reason="{}: {}; {}".format(*infeasible_because(within)))
    return _in_given_units(problem, kkt, units, found)


def _require_sizes(name: str, **options: Any) -> None:
    for option, value in options.items():
        if not (isinstance(value, Real) and float(value) >= 0):
            raise InputError(name, option, f"{value!r} is no size", "give a number that is not negative")


def _in_given_units(problem: LinearBilevel, kkt: KKT, units: Scaling, found: BilevelSolution) -> BilevelSolution:
    """A solution of the scaled problem as one of the problem given."""
    bound = found.bound if found.bound is None else units.F_unit * found.bound + problem.F0
    if not found.x.size + found.y.size:
        return replace(found, bound=bound)
    x, y, dual = units.x_unit * found.x, units.y_unit * found.y, units.dual_unit(kkt)
    for j in np.flatnonzero(problem.integer):
        x[j] = float(np.round(x[j]))
    multipliers = {name: found.multipliers[name] * u for name, u in zip(kkt.name, dual.tolist(), strict=True)}
    return replace(
        found, x=x, y=y, multipliers=multipliers, bound=bound, objective=problem.leader_cost(x, y),
        follower_objective=problem.follower_cost(x, y),
    )  # fmt: skip


def infeasible_because(problem: LinearBilevel) -> tuple[str, str, str]:
    """Whose fault it is that no leader decision has a follower's response that satisfies all rows: "follower" or
    "leader", what is wrong, and the mend."""
    for k, menu in enumerate(problem.menu):
        if menu is not None and not offered(problem, k):
            return "leader", f"{problem.x_name[k]} has no value of its menu within its bounds", "mend the menu"
    for j in np.flatnonzero(problem.integer):
        if np.ceil(problem.x_lower[j] - 1e-9) > problem.x_upper[j] + 1e-9:
            return "leader", f"{problem.x_name[j]} has no integer within its bounds", "widen them"
    kkt = kkt_system(problem)
    rows, row_low, row_high, low, high = high_point_rows(problem)
    own, n = slice(problem.U_lower.size, None), problem.nx + problem.ny
    if solve_lp(np.zeros(n), rows[own], row_low[own], row_high[own], low, high).status == Status.INFEASIBLE:
        return "follower", "has no feasible response at any leader decision", "relax the follower's rows or bounds"
    if solve_lp(np.zeros(n), rows, row_low, row_high, low, high).status == Status.INFEASIBLE:
        return "leader", "no point satisfies its rows and the follower's together", "relax the leader's rows"
    stationary = sparse.hstack([problem.Q.T, -kkt.Hy.T], format="csr")
    prices, free = -problem.f[problem.nx :], np.where(kkt.equation, -INF, 0.0)
    ends = np.concatenate([low[: problem.nx], free]), np.concatenate([high[: problem.nx], np.full(free.size, INF)])
    leaders = rows[: problem.U_lower.size].tocsr()  # its decisions are those that its own rows let it take
    alone = np.flatnonzero(np.diff(leaders[:, problem.nx :].tocsr().indptr) == 0)
    decisions = sparse.hstack([leaders[alone][:, : problem.nx], sparse.csr_array((alone.size, free.size))])
    least, most = (np.concatenate([prices, side[alone]]) for side in (row_low, row_high))
    answered = sparse.vstack([stationary, decisions], format="csr")
    if solve_lp(np.zeros(ends[0].size), answered, least, most, *ends).status == Status.INFEASIBLE:
        return "follower", "is unbounded at every leader decision", "bound the follower's variables or mend its cost"
    return "leader", "the follower's best responses break its rows at every decision", "relax the leader's rows"


def _one_mode(task: Task, mode: str, check: bool = True) -> BilevelSolution:
    """Run a mode and judge its solution."""
    claim = task.run(mode)
    if claim.status == "infeasible":
        return _confirmed_infeasible(task, mode, claim, check)
    if claim.status not in (*FINISHED, "timelimit"):
        raise SolverError(f"{task.kkt.problem.name}: SCIP stopped with {claim.status} on a boxed model ({mode})")
    if claim.point is None:
        return BilevelSolution("no_solution", mode, bound=claim.bound, nodes=claim.nodes,
                               seconds=claim.seconds, processor_seconds=claim.processor_seconds,
                               binaries=claim.binaries)  # fmt: skip
    if not check:
        status = "time_limit" if claim.status == "timelimit" else "optimal"
        point = Point(*claim.point[:3])
        return _solution(task.kkt, status, mode, point, claim, "not checked", _residuals(task.kkt, point))
    return _checked(task, mode, claim)


def _checked(task: Task, mode: str, claim: ModeSolution) -> BilevelSolution:
    """The gates, in order; returns the solution or raises."""
    kkt, finished = task.kkt, claim.status != "timelimit"
    if finished and not task.proven:
        _refuse_touched_bounds(kkt, task.derived, task.used, claim)
    point = _polish(kkt, claim)
    if point is None:
        return BilevelSolution("unbounded", mode, nodes=claim.nodes, seconds=claim.seconds,
                               processor_seconds=claim.processor_seconds, binaries=claim.binaries,
                               bound=-INF, proof="ray")  # fmt: skip
    proof = "one mode" if task.proven and finished else "open"
    if finished:
        far = _far_from_claim(task, mode, claim, point)
        spatial = mode == "strong_duality" and bilinear_leaders(kkt)[~kkt.problem.discrete].any()
        if not task.proven or far or spatial:
            proof, point = _second_opinion(task, mode, point, claim)
            finished = proof != "open"
        if finished and _few_decisions(kkt):
            proof = _confirmed_by_enumeration(task, mode, claim, point)
        _refuse_touched_box(kkt, task.derived, point)
        _refuse_broken_proof(kkt, task.derived, point)
    residuals = _require_small_residuals(kkt, mode, point)
    found = _solution(kkt, "optimal" if finished else "time_limit", mode, point, claim, proof, residuals)
    return _proved(found) if proof == "second opinion" else found


def _far_from_claim(task: Task, mode: str, claim: ModeSolution, point: Point) -> bool:
    """Whether F of the pattern is not the F that the mode claims; raises CertificateError where no gap explains it.

    Spatial branching stops at a gap and may buy a better F within SCIP's tolerance: a second opinion decides. A point
    at which SCIP may stop early may be worse than its pattern.
    """
    claimed, objective = claim.objective, task.kkt.problem.leader_cost(point.x, point.y)
    size = max(1.0, abs(objective))
    limit = OBJECTIVE_LIMIT * size + (task.gap if objective < claimed else 0.0)
    far = abs(objective - claimed) > limit
    if far and not (mode == "strong_duality" and abs(objective - claimed) <= LOOSE * size):
        detail = f"{mode} claims {claimed:.9g}, its pattern gives {objective:.9g}"
        raise CertificateError("bilevel.objective", abs(objective - claimed), limit, detail)
    return far


def _residuals(kkt: KKT, point: Point) -> dict[str, float]:
    return follower_residuals(kkt, point.x, point.y, point.mu)


def _require_small_residuals(kkt: KKT, mode: str, point: Point) -> dict[str, float]:
    """The residuals at a point; raises CertificateError where one is beyond ``RESIDUAL_LIMIT``."""
    residuals = _residuals(kkt, point)
    worst = max(residuals, key=lambda name: residuals[name])
    if residuals[worst] > RESIDUAL_LIMIT:
        raise CertificateError(f"bilevel.{worst}", residuals[worst], RESIDUAL_LIMIT, f"{kkt.problem.name}, mode {mode}")
    return residuals


def _solution(
    kkt: KKT, status: str, mode: str, point: Point, claim: ModeSolution, proof: str, residuals: dict[str, float]
) -> BilevelSolution:
    p, multipliers = kkt.problem, dict(zip(kkt.name, point.mu.tolist(), strict=True))
    return BilevelSolution(
        status, mode, p.leader_cost(point.x, point.y), point.x, point.y, multipliers,
        p.follower_cost(point.x, point.y), residuals, claim.bound, claim.nodes, claim.seconds, claim.processor_seconds,
        claim.binaries, proof,
    )  # fmt: skip


def _auto(task: Task) -> BilevelSolution:
    """Enumeration where the follower sees few leader decisions; else modes in turn, until two of them agree.

    A mode that fails a gate is passed over, one that another beats is overruled; both are told in ``overruled``.
    Raises the last mode's error where none passes.
    """
    if _few_decisions(task.kkt):
        return _enumerated(task.kkt)
    continuous = bilinear_leaders(task.kkt)[~task.kkt.problem.discrete].any()
    order = CONTINUOUS if continuous else DISCRETE
    overruled: list[str] = []
    found, asked = None, 0
    while found is None:
        mode = order[asked]
        asked += 1
        try:
            found = _one_mode(task, mode)
        except (CertificateError, SolverError) as error:
            overruled.append(f"{mode}: {error}")
            if asked == len(order):
                raise
    while found.status == "optimal" and found.proof != "second opinion":
        if asked == len(order):
            found = replace(found, status="time_limit", proof="open")
            break
        found, told = _challenged(task, order[asked], found)
        overruled += told
        asked += 1
    return replace(found, overruled=tuple(overruled))


def _challenged(task: Task, other: str, found: BilevelSolution) -> tuple[BilevelSolution, list[str]]:
    """``found`` after another mode has looked for something better: proved, refuted by a better point, or as it was
    where that mode fails or hits its limit; with what there is to tell."""
    objective = _objective(found)
    try:
        claim = task.run(other, below=objective - _margin(objective), gap=0.0)
        if claim.status == "infeasible":
            return _proved(found), []
        point = None if claim.point is None else _polish(task.kkt, claim)
        if point is None:
            return found, [f"{other}: {claim.status}"]
        residuals = _require_small_residuals(task.kkt, other, point)
    except (CertificateError, SolverError) as error:
        return found, [f"{other}: {error}"]
    better = _solution(task.kkt, "optimal", other, point, claim, "open", residuals)
    return better, [f"{found.mode}: beaten by {other}, {objective - _objective(better):.3g} in scaled units"]


def _objective(found: BilevelSolution) -> float:
    """F of a solution that has a point."""
    if found.objective is None:
        raise SolverError(f"{found.mode}: {found.status} without a point")
    return found.objective


def _margin(objective: float) -> float:
    """How much better a point must be that another mode is asked for."""
    return 10 * OBJECTIVE_LIMIT * max(1.0, abs(objective))


def _proved(found: BilevelSolution) -> BilevelSolution:
    """A solution below which another mode has found nothing: that is a bound too, often a better one."""
    objective = _objective(found)
    bound = objective - _margin(objective)
    return replace(found, proof="second opinion", bound=bound if found.bound is None else max(found.bound, bound))


def _few_decisions(kkt: KKT) -> bool:
    """Whether the follower sees discrete leader variables only, with at most ``FEW`` combinations of all of them."""
    problem = kkt.problem
    if bilinear_leaders(kkt)[~problem.discrete].any():
        return False
    count = 1.0
    for j in np.flatnonzero(problem.discrete):
        levels = problem.menu[j]
        count *= problem.x_upper[j] - problem.x_lower[j] + 1 if levels is None else len(levels)
    return count <= FEW


def _confirmed_by_enumeration(task: Task, mode: str, claim: ModeSolution, point: Point) -> str:
    """The word "enumeration"; raises CertificateError where the optimum over all leader decisions is better than the
    bound that a mode claims, or worse than its point."""
    best, *_ = enumerate_discrete(task.kkt.problem)
    objective = task.kkt.problem.leader_cost(point.x, point.y)
    margin, bound = _margin(objective), min(claim.bound, objective)
    if not bound - margin <= best <= objective + margin:
        detail = f"{mode} claims {objective:.9g} and a bound of {bound:.9g}, enumeration finds {best:.9g}"
        raise CertificateError("bilevel.second_opinion", abs(objective - best), margin, detail)
    return "enumeration"


def _enumerated(kkt: KKT) -> BilevelSolution:
    """The optimum over all discrete leader decisions, each an exact LP."""
    objective, x, y, values = enumerate_discrete(kkt.problem)
    if objective == -INF:
        return BilevelSolution("unbounded", "auto", bound=-INF, proof="enumeration")
    if not np.isfinite(values).any():
        return BilevelSolution("infeasible", "auto", proof="enumeration")
    _, _, _, row_dual, col_dual = solve_follower(kkt.problem, x)
    point = Point(x, y, kkt.multipliers(row_dual, col_dual))
    residuals = _require_small_residuals(kkt, "enumeration", point)
    claim = ModeSolution("optimal", None, objective, objective, 0, 0.0, 0.0, 0)
    return _solution(kkt, "optimal", "enumeration", point, claim, "enumeration", residuals)


def _point(claim: ModeSolution) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, y, multipliers and slacks of a solution that has them."""
    if claim.point is None:
        raise SolverError(f"SCIP stopped with {claim.status} without a point")
    return claim.point


def _polish(kkt: KKT, claim: ModeSolution) -> Point | None:
    """The LP on the pattern of SCIP's point: tight where the slack is the smaller of the pair.

    Pairs whose slack and multiplier are both small could go either way; where the first pattern misses SCIP's
    objective, up to ``2 ** AMBIGUOUS`` others are tried and the best is kept. None where F is unbounded on a pattern:
    discrete variables are held, but integers without a bound are let go to see.
    """
    x, y, mu, slack = _point(claim)
    p = kkt.problem
    fixed = np.where(p.discrete, x, np.nan)
    for j in np.flatnonzero(p.discrete):
        levels = p.menu[j]
        fixed[j] = round(x[j]) if levels is None else levels[int(np.abs(np.asarray(levels) - x[j]).argmin())]
    unending = (
        p.integer & (np.isinf(p.x_lower) | np.isinf(p.x_upper)) & np.array([m is None for m in p.menu], dtype=bool)
    )
    scale = np.maximum(1.0, np.abs(kkt.h))
    first, size = slack / scale <= np.abs(mu), np.maximum(slack / scale, np.abs(mu))
    unclear = [k for k in kkt.pairs[np.argsort(size[kkt.pairs], kind="stable")] if size[k] <= 1e-3][:AMBIGUOUS]
    best = Point(np.where(p.discrete, fixed, x), y, mu)
    cost = INF
    aim = claim.objective + OBJECTIVE_LIMIT * max(1.0, abs(claim.objective))
    for flips in itertools.product((False, True), repeat=len(unclear)):
        tight = first.copy()
        tight[unclear] ^= np.array(flips, dtype=bool)
        status, *found = pattern_lp(kkt, tight, fixed)
        # with rational data a ray of the relaxation passes through integers again and again
        if unending.any() and status == Status.OPTIMAL:
            status = pattern_lp(kkt, tight, np.where(unending, np.nan, fixed))[0]
        if status == Status.UNBOUNDED:
            return None
        if status == Status.OPTIMAL and (value := p.leader_cost(*found[:2])) < cost:
            best, cost = Point(*found), value
        if cost <= aim:
            break
    return best


def smallest_multipliers(kkt: KKT, x: np.ndarray, y: np.ndarray, scale: np.ndarray) -> float:
    """Smallest possible ``max_k |mu_k| / scale_k`` over the follower's multipliers at (x, y); inf if there are none."""
    K = kkt.h.size
    active = kkt.equation | (kkt.slack(x, y) <= 1e-6 * np.maximum(1.0, np.abs(kkt.h)))
    sides = [[sparse.eye_array(K), -scale[:, None]], [sparse.eye_array(K), scale[:, None]]]
    matrix = sparse.block_array([[kkt.Hy.T, None], *sides] if kkt.problem.ny else sides, format="csr")
    prices = kkt.problem.follower_prices(x)
    tolerance = 1e-7 * (1.0 + np.abs(prices))
    row_low = np.concatenate([prices - tolerance, np.full(K, -INF), np.zeros(K)])
    row_high = np.concatenate([prices + tolerance, np.zeros(K), np.full(K, INF)])
    low = np.append(np.where(kkt.equation, -INF, 0.0), 0.0)
    high = np.append(np.where(active, INF, 0.0), INF)
    found = solve_lp(np.append(np.zeros(K), 1.0), matrix, row_low, row_high, low, high)
    return found.objective if found.status == Status.OPTIMAL else INF


def _refuse_touched_bounds(kkt: KKT, derived: Boxes, used: Boxes, claim: ModeSolution) -> None:
    """Raise when every multiplier vector of the point, or a slack, reaches a bound that is not proved."""
    x, y, mu, slack = _point(claim)
    declared = np.array([s == "declared" for s in derived.dual_source], dtype=bool)
    unproved = (used.dual < derived.dual) | (declared & (used.dual <= derived.dual))
    scale = np.where(unproved, used.dual, np.maximum(used.dual, derived.dual) * 1e6)
    reach = min(smallest_multipliers(kkt, x, y, scale), float(np.max(np.abs(mu) / scale, initial=0.0)))
    if reach >= 1.0 - 1e-6:
        raise CertificateError("bilevel.multiplier_at_bound", reach, 1.0 - 1e-6, "a multiplier sits at its bound M")
    ratio = np.where((used.slack < derived.slack) & ~kkt.equation, slack / np.maximum(used.slack, 1e-300), 0.0)
    if ratio.size and ratio.max() >= 1.0 - 1e-6:
        k = int(ratio.argmax())
        raise CertificateError("bilevel.slack_at_bound", slack[k], used.slack[k] * (1.0 - 1e-6),
                               f"the slack of {kkt.name[k]} sits at its bound M")  # fmt: skip


def _refuse_broken_proof(kkt: KKT, derived: Boxes, at: Point) -> None:
    """Raise when the solution's every multiplier vector reaches a bound called proved: those carry a margin."""
    declared = np.array([s == "declared" for s in derived.dual_source], dtype=bool)
    reach = smallest_multipliers(kkt, at.x, at.y, np.where(declared, 1e6, 1.0) * derived.dual)
    if 1.0 - 1e-6 <= reach < INF:
        raise CertificateError("bilevel.multiplier_at_bound", reach, 1.0 - 1e-6, "a proved bound M is reached")


def _refuse_touched_box(kkt: KKT, derived: Boxes, at: Point) -> None:
    point, box = np.concatenate([at.x, at.y]), np.concatenate([derived.x, derived.y])
    declared = np.concatenate([derived.x_declared, derived.y_declared])
    for side, sign in ((0, -1.0), (1, 1.0)):
        reach = np.where(declared[:, side], sign * point, 0.0) / np.where(declared[:, side], np.abs(box[:, side]), 1.0)
        if reach.size and reach.max() >= 1.0 - 1e-6:
            name = (*kkt.problem.x_name, *kkt.problem.y_name)[int(reach.argmax())]
            detail = f"{name} sits at its declared box: give it a bound"
            raise CertificateError("bilevel.box", float(reach.max()), 1.0 - 1e-6, detail)


def _wider(derived: Boxes) -> Boxes:
    """Bounds that are declared, or the caller's word, ``WIDER`` times as far out; derived ones as they are."""
    declared = np.isin(derived.dual_source, ("declared", "given"))
    any_box = derived.x_declared.any() or derived.y_declared.any()
    return replace(
        derived,
        x=np.where(derived.x_declared, WIDER * derived.x, derived.x),
        y=np.where(derived.y_declared, WIDER * derived.y, derived.y),
        slack=np.where(any_box, WIDER, 1.0) * derived.slack,
        dual=np.where(declared, WIDER, 1.0) * derived.dual,
    )


def _second_opinion(task: Task, mode: str, point: Point, claim: ModeSolution) -> tuple[str, Point]:
    """Another mode with wider declared boxes looks for something better than ``point`` until there is nothing.

    Only where ``mode`` itself stopped at a gap may the point improve, and by no more than that gap. Returns what the
    proof rests on and the point.
    """
    kkt, other = task.kkt, "sos1" if mode == "indicator" else "indicator"
    gap = LOOSE * max(1.0, abs(claim.objective)) + max(claim.objective - claim.bound, 0.0)
    lowest = claim.objective - (gap if mode == "strong_duality" else 0.0)
    while True:
        objective = kkt.problem.leader_cost(point.x, point.y)
        margin = _margin(objective)
        second = run_mode(kkt, _wider(task.derived), other, task.time_limit, below=objective - margin)
        if second.point is None:
            return "second opinion" if second.status == "infeasible" else "open", point
        better = _polish(kkt, second)
        found = -INF if better is None else kkt.problem.leader_cost(better.x, better.y)
        if better is None or not lowest <= found < objective - margin / 2:
            raise CertificateError("bilevel.second_opinion", objective - second.objective, margin,
                                   f"{mode} claims {objective:.9g}, {other} finds {second.objective:.9g}")  # fmt: skip
        point = better


def _confirmed_infeasible(task: Task, mode: str, claim: ModeSolution, check: bool) -> BilevelSolution:
    """ "Infeasible" needs a second mode, with wider boxes and no objective, that finds no point either."""
    if check:
        other = "sos1" if mode == "bigm" else "bigm"
        second = run_mode(task.kkt, _wider(task.derived), other, task.time_limit, objective=False)
        if second.point is not None:
            raise CertificateError("bilevel.infeasible", 1.0, 0.0, f"{mode} says infeasible, {other} finds a point")
        if second.status != "infeasible":
            return BilevelSolution(
                "no_solution",
                mode,
                nodes=claim.nodes,
                seconds=claim.seconds,
                processor_seconds=claim.processor_seconds,
                proof="open",
            )
    proof = "second opinion" if check else "not checked"
    return BilevelSolution("infeasible", mode, nodes=claim.nodes, seconds=claim.seconds,
                               processor_seconds=claim.processor_seconds, binaries=claim.binaries,
                           proof=proof)  # fmt: skip


def pessimistic(problem: LinearBilevel, x: np.ndarray, tolerance: float = 1e-9) -> tuple[float, np.ndarray]:
    """Worst F over the follower's best responses at x (one LP, F being linear), and that response y.

    Equation :eq:`eq-pessimistic`:

    .. math::

       \\max_{y} \\{ F^\\top (x, y) + F_0 : y \\text{ follower-feasible}, \\; f(x, y) \\le \\theta(x) + \\delta \\}

    ``tolerance`` is delta relative to ``max(1, |theta|)``. Raises SolverError when the follower has no best response at
    x or when F is unbounded over the best responses.
    """
    status, theta, *_ = solve_follower(problem, x)
    if status != "optimal":
        raise SolverError(f"{problem.name}: the follower is {status} at this leader decision")
    prices = problem.follower_prices(x)
    constant = problem.f[: problem.nx] @ x + problem.f0
    shift = problem.A[:, : problem.nx] @ x
    matrix = sparse.vstack([problem.A[:, problem.nx :], sparse.csr_array(prices[None, :])], format="csr")
    limit = theta - constant + tolerance * max(1.0, abs(theta))
    found = solve_lp(
        -problem.F[problem.nx :], matrix, np.append(problem.row_lower - shift, -INF),
        np.append(problem.row_upper - shift, limit), problem.y_lower, problem.y_upper,
    )  # fmt: skip
    if found.status != Status.OPTIMAL:
        raise SolverError(f"{problem.name}: the worst response at this leader decision is {found.status}")
    return problem.leader_cost(x, found.x), found.x


# Enumeration: the bilevel optimum when every leader variable that the follower sees is discrete.
#
# At each discrete point the follower's LP is solved once; its multipliers fix the face of best answers exactly
# (complementarity, no tolerance on the cost), and one LP picks the leader's favourite on that face.


def offered(problem: LinearBilevel, j: int) -> list[float]:
    """Values of the menu of a leader variable within its bounds, integers where it is one."""
    held = (v for v in problem.menu[j] or () if problem.x_lower[j] - 1e-9 <= v <= problem.x_upper[j] + 1e-9)
    return [v for v in held if not problem.integer[j] or v == round(v)]


def discrete_points(problem: LinearBilevel) -> list[np.ndarray]:
    """All values of the discrete leader variables within their bounds that satisfy the leader's rows on them alone; nan
    elsewhere."""
    choices: list[Iterable[float]] = []
    for j in range(problem.nx):
        levels = problem.menu[j]
        if levels is not None:
            choices.append(offered(problem, j))
        elif problem.integer[j]:
            choices.append(np.arange(np.ceil(problem.x_lower[j]), np.floor(problem.x_upper[j]) + 1))
        else:
            choices.append((np.nan,))
    free = np.append(~problem.discrete, np.ones(problem.ny, dtype=bool))
    own = np.flatnonzero(np.asarray(abs(problem.U[:, free]).sum(axis=1)).ravel() == 0)
    rows, low, high = problem.U[own][:, : problem.nx], problem.U_lower[own], problem.U_upper[own]
    points = []
    for values in itertools.product(*choices):
        x = np.array(values, dtype=float)
        activity = rows @ np.nan_to_num(x)
        if np.all(activity >= low - 1e-9) and np.all(activity <= high + 1e-9):
            points.append(x)
    return points


def best_on_face(problem: LinearBilevel, point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
    """The leader's favourite of the follower's best answers at a discrete point: F, x, y; None when there is none, F
    -inf and no arrays when it is unbounded."""
    x = np.nan_to_num(point)
    status, _, _, row_dual, col_dual = solve_follower(problem, x)
    if status != "optimal":
        return None
    nx = problem.nx
    held = np.isfinite(point)
    row_low, row_high = problem.row_lower.copy(), problem.row_upper.copy()
    row_high[row_dual > FACE] = row_low[row_dual > FACE]
    row_low[row_dual < -FACE] = row_high[row_dual < -FACE]
    y_low, y_high = problem.y_lower.copy(), problem.y_upper.copy()
    y_high[col_dual > FACE] = y_low[col_dual > FACE]
    y_low[col_dual < -FACE] = y_high[col_dual < -FACE]
    found = solve_lp(
        problem.F, sparse.vstack([problem.U, problem.A], format="csr"), np.concatenate([problem.U_lower, row_low]),
        np.concatenate([problem.U_upper, row_high]), np.concatenate([np.where(held, x, problem.x_lower), y_low]),
        np.concatenate([np.where(held, x, problem.x_upper), y_high]),
    )  # fmt: skip
    if found.status == Status.UNBOUNDED:
        return -INF, np.zeros(0), np.zeros(0)
    if found.status != Status.OPTIMAL:
        return None
    x, y = found.x[:nx], found.x[nx:]
    return problem.leader_cost(x, y), x, y


#: duals smaller than this count as zero
FACE = 1e-9


def enumerate_discrete(problem: LinearBilevel) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Optimal F, x, y by solving the follower at every discrete point, and F at each point (inf where infeasible).

    Raises InputError when the follower sees a continuous leader variable.
    """
    if bilinear_leaders(kkt_system(problem))[~problem.discrete].any():
        raise InputError(problem.name, "leader", "the follower sees a continuous variable", "give it a menu")
    found = [best_on_face(problem, point) for point in discrete_points(problem)]
    values = np.array([INF if f is None else f[0] for f in found])
    best = found[int(values.argmin())] if found else None
    if best is None:
        return INF, np.zeros(0), np.zeros(0), values
    return *best, values


# A local solution of the follower's conditions by an interior point.


PATH = tuple(10.0**-k for k in range(9))  # epsilon, in units in which rows and costs have a largest entry of 1
DONE = ("Solve_Succeeded", "Solved_To_Acceptable_Level")


@dataclass(frozen=True, eq=False)
class LocalSolution:
    """Where the path ended: ``local`` (a local solution at the last epsilon), ``time_limit``, or IPOPT's word for why
    it went no further. x, y in the problem's units, steps as they are; ``epsilon`` is the last that was reached (inf:
    none), ``product`` the largest of a pair at the end, both in the units of the path."""

    status: str
    x: np.ndarray
    y: np.ndarray
    objective: float
    epsilon: float
    product: float
    iterations: int
    seconds: float
    processor_seconds: float


def solve_local(problem: LinearBilevel, time_limit: float = np.inf) -> LocalSolution:
    """A local solution by IPOPT, as a user without a global solver would try it (:eq:`eq-homotopy`): the products of
    all pairs at most epsilon, which falls (Scholtes 2001), each time from the last point, first from the follower's
    response to the middle of the leader's box.

    A step of the leader, 0 or 1, is a pair too, so that the path ends at a point of the menu where it ends at all.
    Nothing is proved.

    Raises InputError where casadi, which brings IPOPT, is not installed, a leader decision is unbounded or its integers
    are no steps.
    """
    start, begin = time.perf_counter(), time.process_time()
    within, units = scaled(problem)
    _local_require_steps(within)
    kkt = kkt_system(within)
    program, sides, point = _local_program(kkt), _local_sides(kkt), _local_start(kkt)
    reached, status, iterations = np.inf, "local", 0
    for epsilon in PATH:
        left = time_limit - (time.perf_counter() - start)
        if left <= 0:
            status = "time_limit"
            break
        said, count, point = _local_step(program, sides, point, epsilon, left)
        iterations += count
        if said not in DONE:
            status = "time_limit" if "Time" in said else said
            break
        reached = epsilon
    n = within.nx + within.ny
    x, y = units.x_unit * point[: within.nx], units.y_unit * point[within.nx : n]
    slack, mu = np.split(point[n:], 2)
    product = float(np.max(np.abs(slack * mu)[~kkt.equation], initial=0.0))
    return LocalSolution(
        status, x, y, problem.leader_cost(x, y), reached, product, iterations, time.perf_counter() - start,
        time.process_time() - begin,
    )  # fmt: skip


def _local_require_steps(p: LinearBilevel) -> None:
    mend = "write integers by steps of a bounded box"
    if not (np.isfinite(p.x_lower).all() and np.isfinite(p.x_upper).all()):
        raise InputError(p.name, "leader", "an unbounded decision", mend)
    if any(m is not None for m in p.menu) or (p.x_upper - p.x_lower > 1)[p.integer].any():
        raise InputError(p.name, "leader", "an integer with more than two values", mend)


def _local_start(kkt: KKT) -> np.ndarray:
    """[x, y, s, mu] of the follower's response to the middle of the leader's box; ones where it has none."""
    p = kkt.problem
    x = (p.x_lower + p.x_upper) / 2
    status, _, y, *duals = solve_follower(p, x)
    if status != Status.OPTIMAL:
        return np.concatenate([x, np.ones(p.ny + 2 * kkt.h.size)])
    return np.concatenate([x, y, kkt.slack(x, y), kkt.multipliers(*duals)])


def _local_sides(kkt: KKT) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of [x, y, s, mu]: slacks of equations are zero and their multipliers free."""
    p, equation = kkt.problem, kkt.equation
    low = [p.x_lower, np.full(p.ny, -np.inf), np.zeros(equation.size), np.where(equation, -np.inf, 0.0)]
    high = [p.x_upper, np.full(p.ny, np.inf), np.where(equation, 0.0, np.inf), np.full(equation.size, np.inf)]
    return np.concatenate(low), np.concatenate(high)


def _local_program(kkt: KKT) -> dict[str, Any]:
    """Variables, objective and rows for casadi, and the rows' sides: those of the products are at most epsilon."""
    casadi = _casadi()
    p, steps = kkt.problem, np.flatnonzero(kkt.problem.integer)
    x, y = casadi.MX.sym("x", p.nx), casadi.MX.sym("y", p.ny)
    s, mu = casadi.MX.sym("s", kkt.h.size), casadi.MX.sym("mu", kkt.h.size)
    z = casadi.vertcat(x, y)
    matrix = lambda m: casadi.DM(sparse.csc_array(m))  # noqa: E731
    pair, step = (matrix(sparse.eye_array(n, format="csr")[k]) for n, k in ((s.numel(), kkt.pairs), (p.nx, steps)))
    below, above = step @ x - p.x_lower[steps], p.x_upper[steps] - step @ x
    rows = [
        (matrix(p.U) @ z, p.U_lower, p.U_upper),
        (matrix(kkt.H) @ z - s, kkt.h, kkt.h),
        (matrix(p.Q).T @ x - matrix(kkt.Hy).T @ mu, -p.f[p.nx :], -p.f[p.nx :]),
        ((pair @ s) * (pair @ mu), *_local_at_most_epsilon(kkt.pairs.size)),
        (below * above, *_local_at_most_epsilon(steps.size)),
    ]
    model = {"x": casadi.vertcat(z, s, mu), "f": casadi.dot(casadi.DM(p.F), z)}
    model["g"] = casadi.vertcat(*(row for row, *_ in rows))
    return {"model": model, "low": np.concatenate([r[1] for r in rows]), "high": np.concatenate([r[2] for r in rows])}


def _local_at_most_epsilon(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Sides of rows that are at most epsilon, which is nan."""
    return np.full(n, -np.inf), np.full(n, np.nan)


def _local_step(
    program: dict[str, Any], sides: tuple[np.ndarray, np.ndarray], point: np.ndarray, epsilon: float, limit: float
) -> tuple[str, int, np.ndarray]:
    """IPOPT at an epsilon from a point: its status, iterations and the point where it stopped."""
    options = {
        "print_time": False, "ipopt.print_level": 0, "ipopt.sb": "yes", "ipopt.mu_init": min(0.1, epsilon),
        "ipopt.bound_push": 1e-8, "ipopt.nlp_scaling_method": "none", "ipopt.max_wall_time": limit,
        "ipopt.max_iter": 1000,
    }  # fmt: skip
    solver = _casadi().nlpsol("local", "ipopt", program["model"], options)
    high = np.where(np.isnan(program["high"]), epsilon, program["high"])
    found = solver(x0=point, lbx=sides[0], ubx=sides[1], lbg=program["low"], ubg=high)
    told = solver.stats()
    return told["return_status"], int(told["iter_count"]), np.asarray(found["x"]).ravel()


def _casadi() -> Any:
    try:
        import casadi
    except ImportError as error:
        raise InputError("casadi", "IPOPT", "is not installed", 'pip install "tritier[bench]"') from error
    return casadi
