"""Rows read off their own bases: without the search, without a simplex step, with matrix products of their own.

A basis says which columns and rows stand at a bound. One sparse factorisation gives the others and the duals; what
these prove is summed exactly here, term by term, and compared with what the row says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import fsum

import joblib
import numpy as np
import scipy.sparse as sp

from tritier.errors import CertificateError
from tritier.inputs.instance import Design
from tritier.model.market import line_position
from tritier.model.risk import sample_cvar
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import ParametricLP, basic_point
from tritier.search.cuts import FINE, RESIDUAL, SCALE, UNIT, WIDE, WIDE_UNIT, Request, Row, cost_of
from tritier.search.pool import Item, Pool, build, extend, items_in, items_of
from tritier.search.responses import block_quantiles, block_samples, fill_bookkeeping, shortfall, social_cost
from tritier.search.work import pack, unpack

BOUND = 0.01  # $: how far a stored bound may lie above what its basis proves: an answer divides by its small epsilon
SHARES, SHARE = 6, 8  # shares of the rows that a process checks one after another, at least so many rows each
NEED = 1e-6  # kW: how far a stored need may lie below that of its basis
POINT = 1e-3  # $: a stored social cost or revenue of a response against that of its basis


def proved_value(lp: ParametricLP, cost: np.ndarray, y: np.ndarray) -> float:
    """What duals prove of an LP's least cost: the Lagrangian over the box, summed without rounding, less what the
    products of its terms may be off by (:eq:`eq-safe-bound`)."""
    y = np.where(np.isneginf(lp.row_lower) & (y > 0) | np.isposinf(lp.row_upper) & (y < 0), 0.0, y)
    up, down, paid = y > 0, y < 0, np.zeros(y.size)
    paid[up], paid[down] = y[up] * lp.row_lower[up], y[down] * lp.row_upper[down]
    transposed = sp.csr_array(lp.matrix.T)
    reduced, size = cost - transposed.astype(WIDE) @ y.astype(WIDE), np.abs(cost) + abs(transposed) @ np.abs(y)
    corner = np.where(reduced > 0, lp.col_lower, lp.col_upper)
    operations = np.diff(transposed.indptr) + 2
    width = (operations * size * np.maximum(np.abs(lp.col_lower), np.abs(lp.col_upper))).sum()
    terms = np.concatenate([paid, (reduced * corner).astype(float)])  # each rounded once more, and no sum
    off = WIDE_UNIT * width + 2 * UNIT * np.abs(terms).sum()
    return exact_sum(terms) - float(off * (1 + terms.size * UNIT))  # these two have no sign, so that sums may round


def exact_sum(terms: np.ndarray) -> float:
    """The sum of numbers, rounded once: zeros, most of an LP's terms, need not be looked at."""
    return fsum(terms[terms != 0])


def completed(joint: JointLP, x: np.ndarray, design: Design) -> np.ndarray:
    """The same decisions with quantiles, tails, losses and the DSO's books as they follow at the limits of a design
    (:eq:`eq-chance`, :eq:`eq-losses`): a basis made before a chance block or a tangent came leaves these columns
    anywhere.

    A block that buys no violation has its quantile at the value at risk, where its CVaR is least: if the row does not
    hold there, it holds nowhere, and the point's residual says so.
    """
    lp, x = joint.lp, x.copy()
    load = joint.net_load(x)
    own = [block for block in joint.blocks if not x[lp.at(f"slack:{block.label}")] > 0]
    for block, quantile in zip(own, block_quantiles(joint, own, load, design), strict=True):
        x[lp.at(f"var:{block.label}")] = quantile
        x[lp.at(f"excess:{block.label}")] = np.maximum(block_samples(joint, block, load, design) - quantile, 0.0)
    fill_bookkeeping(joint, x, load)
    return x


def require_sound(joint: JointLP, request: Request) -> None:
    """Raise ValueError where a request asks what bounds nothing, whatever its basis is.

    With a weight on F below zero an answer looks for the largest F, and what it proves bounds F from above; a weight
    far below the search's would blow up rounding. At prices beyond those that the boxes of costs are made for, the
    boxes forbid decisions that are allowed at other prices, and least F holds at those alone.
    """
    if not request.epsilon >= FINE:
        raise ValueError(f"a weight of {request.epsilon:g} on F or on what is not covered proves no bound")
    highest = min((data.highest for data in joint.data), default=np.inf)
    if request.kind == "least" and not (np.abs(request.design.prices) <= highest).all():
        raise ValueError(f"least F is asked at prices of {request.design.prices}, beyond {highest:g}")


def proved(joint: JointLP, row: Row) -> Row:
    """The row that a row's request and basis give, whatever the row says (:eq:`eq-answer`, :eq:`eq-least-row`).

    Raises ValueError where the basis is none, its point is no response, or the request bounds nothing.
    """
    request, design = row.request, row.request.design
    require_sound(joint, request)
    joint.set_design(design)
    lp, cost, own = joint.warm.current(), cost_of(joint, request), joint.cost(design)
    x, y = basic_point(lp, cost, row.basis)
    x = completed(joint, x, design)
    cost_there, load = social_cost(joint, x).total, joint.net_load(x)
    activity, reduced = lp.matrix @ x, cost - lp.matrix.T @ y
    off = np.concatenate([lp.row_lower - activity, activity - lp.row_upper, lp.col_lower - x, x - lp.col_upper])
    if off.max(initial=0.0) > RESIDUAL:
        raise ValueError(f"the point of its basis misses a row by {off.max():.2g}")
    if unseen := joint.violated(x, 2 * RESIDUAL):  # the search leaves one out up to 1e-6 kW
        raise ValueError(f"the point of its basis violates {unseen[0].label}, which its items leave out")
    if request.kind == "least":
        if joint.lines:
            cost[joint.lp.at("cap")] += row.price
        joint.set_design(None)  # the row holds with the limits free
        dual = proved_value(joint.warm.current(), cost, y)
        return replace(row, dual=dual, need=joint.limits_at(design), social_cost=cost_there, load=load)
    charge = np.abs(np.concatenate([y, y, reduced, reduced]))  # what is missed, at its dual
    value = exact_sum(own * x) + exact_sum(charge * np.maximum(off, 0.0)) / SCALE
    dual = proved_value(lp, cost, y) / SCALE
    need, recovered = _needed(joint, design, x), -shortfall(joint, x, design)
    return replace(row, dual=dual, follower_value=value, need=need, social_cost=cost_there, recovered=recovered)


def _needed(joint: JointLP, design: Design, x: np.ndarray) -> np.ndarray:
    """The limits that a point's flows respect, kW, between the lowest of the menu and those of the design."""
    offered = joint.limits_at(design)
    if not joint.lines:
        return offered
    lowest = joint.lp.col_lower[joint.lp.at("cap")]
    if not joint.sees_network:
        return lowest
    flow, days = np.abs(joint.network.matrices.flows(joint.net_load(x))), joint.instance.days
    risk = sample_cvar(flow, days.probability, 1 - joint.instance.rules.chance_level).max(axis=-1)  # (L,)
    where = [line_position(joint.instance, line) for line in joint.lines]
    return np.clip(risk[where], lowest, offered)


def check_row(joint: JointLP, row: Row) -> Row:
    """The row that a row's basis proves. Raises ValueError where the row says more than that."""
    again = proved(joint, row)
    if not row.bound <= again.bound + BOUND:
        raise ValueError(f"a bound of {row.bound:.6f} is stored, {again.bound:.6f} is proved")
    if not (row.need >= again.need - NEED).all():
        raise ValueError(f"limits of {row.need} are said to be enough, {again.need} are needed")
    for name in ("social_cost", "recovered"):
        stored, found = getattr(row, name), getattr(again, name)
        if not (abs(stored - found) <= POINT or (np.isnan(stored) and np.isnan(found))):
            raise ValueError(f"{name} {stored:.6f} is stored, {found:.6f} is found")
    return again


def check_pool(
    joint: JointLP, pool: Pool, name: str, jobs: int = 1, progress: Callable[[str], None] | None = None
) -> list[Row]:
    """The rows that a pool's bases prove. Raises CertificateError naming the first that says more than that.

    progress: is given a line for each row, or for each share of the rows where several processes check them.
    """
    workers, parts, found = max(1, min(joblib.effective_n_jobs(jobs), len(pool.rows))), 1, []
    if workers == 1:
        bare = build(joint.instance, joint.sees_network, joint.bare, [])
        found = [_check_rows(bare, pool.items, pool.rows, progress)]
    else:
        parts, packed = workers * max(1, min(SHARES, len(pool.rows) // (workers * SHARE))), pack(joint)
        run = joblib.Parallel(n_jobs=workers, return_as="generator")
        for share in run(joblib.delayed(_check_packed)(packed, pool.items, pool.rows[k::parts]) for k in range(parts)):
            found.append(share)
            if progress is not None:
                progress(f"{sum(map(len, found))} of {len(pool.rows)} rows, by {workers} processes")
    rows: list[Row] = []
    for k, row in enumerate(found[k % parts][k // parts] for k in range(len(pool.rows))):
        if isinstance(row, str):
            raise CertificateError(f"design.rows.{name}[{k}]", 1.0, 0.0, f"{pool.rows[k].request.kind}: {row}")
        rows.append(row)
    return rows


def _check_packed(packed: np.ndarray, items: list[Item], rows: list[Row]) -> list[Row | str]:
    return _check_rows(unpack(packed), items, rows)


def _check_rows(
    joint: JointLP,
    items: list[Item],
    rows: list[Row],
    progress: Callable[[str], None] | None = None,
) -> list[Row | str]:
    found: list[Row | str] = []
    for k, row in enumerate(rows):
        if progress is not None:
            progress(f"row {k + 1} of {len(rows)}")
        try:
            extend(joint, items[len(items_of(joint)) : items_in(joint, row.basis, items)])  # as when the row was made
            found.append(check_row(joint, row))
        except ValueError as error:
            found.append(str(error))
    return found
