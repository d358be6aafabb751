"""A search's proof, checked without the search: every row read off its own basis, then the bound they give.

Nothing of the run is trusted: cuts get new duals and a new safe value, responses new decisions, answers both; the
bound is the ledger's, filled with these rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import joblib
import numpy as np

from tritier.cases.certificate import DesignProof, require, stored_lp
from tritier.cases.decisions import Decisions, block_quantiles, block_samples, keep_books, point_of
from tritier.inputs.instance import Design
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import LPSolution
from tritier.search.cuts import ROUNDING, Shape, answer_at, expand, offer_along, prices, safe_cut_value, spread, touched
from tritier.search.ledger import Ledger
from tritier.search.pool import Item, Pool, Request, Row, extend, held, items_of, weights_of
from tritier.search.scip import below, prove
from tritier.search.work import pack, unpack

# The columns of the joint follower's LP that follow from the prosumers' decisions.
#
# A basis made before a chance block or a loss tangent entered the LP knows nothing of it: its point may leave the
# block's
# own quantile and tails, or the losses, where they cannot stay, though the decisions themselves respect the network.


def completed(joint: JointLP, solution: LPSolution, design: Design) -> LPSolution:
    """The same decisions and duals, with quantiles, tails, losses and the DSO's books as they follow from the decisions
    at the limits of a design (:eq:`eq-chance`, :eq:`eq-losses`).

    A block that buys no violation has its quantile at the value at risk, where its CVaR is least: if the row does not
    hold there, it holds nowhere, and the point's residual says so.
    """
    lp, x = joint.lp, solution.x.copy()
    load = joint.net_load(x)
    own = [block for block in joint.blocks if not x[lp.at(f"slack:{block.label}")] > 0]
    for block, quantile in zip(own, block_quantiles(joint, own, load, design), strict=True):
        x[lp.at(f"var:{block.label}")] = quantile
        x[lp.at(f"excess:{block.label}")] = np.maximum(block_samples(joint, block, load, design) - quantile, 0.0)
    keep_books(joint, x, load)
    return replace(solution, x=x)


CUT = 1e-8  # relative: how far a stored cut may lie above its new safe value
POINT = 1e-6  # relative: a stored response against the decisions that its basis gives
ANSWER = 0.05  # $: an answer divides by its small epsilon, so that its bound is known to cents


@dataclass(frozen=True)
class Misses:
    """By how much a row's stored figures exceed what its basis proves."""

    cut: float
    point: float
    answer: float


def check_row(joint: JointLP, row: Row) -> Misses:
    """Take the point and the duals of a row's basis, without a simplex step, and see what they prove."""
    request, full = row.request, direction_of(joint, row.request)
    if request.design is None:
        offer_along(joint, full)
    else:
        joint.offer(request.design)
    solution = joint.warm.basic_point(row.basis, spread(joint, full))
    cut = point = answer = 0.0
    if row.cut is not None:
        k = int(np.abs(full).argmax())  # cuts are stored scaled
        value = safe_cut_value(joint, row.cut.direction, solution.y * (row.cut.direction[k] / full[k]))
        value += ROUNDING * max(1.0, abs(value))  # the stored one is lowered by as much
        cut = (row.cut.value - value) / max(1.0, abs(value))
    if row.answer is not None:
        short = request.kind == "shortfall"
        again = answer_at(joint, request.design, solution, short)
        if again is None:  # the basis knows nothing of a block or tangent that came later
            again = answer_at(joint, request.design, completed(joint, solution, request.design), short)
        point = answer = np.inf
        if again is not None:
            said = np.r_[1, 3 : row.z.size]  # R, energies and limits: what a response row says
            point = float((np.abs(row.z - again.z) / np.maximum(1.0, np.abs(again.z)))[said].max())
            answer = row.answer.least - again.least
    joint.offer(None)
    return Misses(cut, point, answer)


def direction_of(joint: JointLP, request: Request) -> np.ndarray:
    """What a request minimises, as weights of z."""
    if request.design is None:
        return np.array(request.numbers)
    return expand(Shape.of(joint), weights_of(request), prices(request.design))


def check_pool(joint: JointLP, pool: Pool, jobs: int = 1) -> int:
    """Check every row of a pool; returns their number. Raises CertificateError naming the first that fails."""
    parts = max(1, min(abs(jobs) if jobs > 0 else joblib.cpu_count(), len(pool.rows)))
    shares, packed = [pool.rows[k::parts] for k in range(parts)], pack(joint)
    run = joblib.Parallel(n_jobs=parts)
    found = run(joblib.delayed(_check_rows)(packed, pool.items, share) for share in shares)
    for k, misses in enumerate(found):
        for n, miss in enumerate(misses):
            number, kind = n * parts + k, shares[k][n].request.kind
            for name, value, most in (
                ("cut", miss.cut, CUT),
                ("response", miss.point, POINT),
                ("answer_usd", miss.answer, ANSWER),
            ):
                require(f"design.row[{number}].{name}", value, most, f"{kind} of proof.npz")
    return len(pool.rows)


def _check_rows(packed: np.ndarray, items: list[Item], rows: list[Row]) -> list[Misses]:
    joint, misses = unpack(packed), []
    for row in rows:
        extend(joint, items[len(items_of(joint)) : held(joint, row.basis, items)])  # as it was when the row was made
        misses.append(check_row(joint, row))
    return misses


def proved_bound(ledger: Ledger, upper: float) -> float:
    """The lower bound that a ledger's rows give, $: boxes of the menu that no row settles keep their small LP's bound.

    upper: the design's social cost, $. Bounds within the ledger's slack of it are not improved.
    """
    ledger.best = (min(upper, ledger.upper_bound), () if ledger.best is None else ledger.best[1])
    waiting = []
    while (node := ledger.next_node()) is not None:
        waiting.append(node)
    ledger.held = waiting
    return ledger.lower_bound


def scip_word(joint: JointLP, ledger: Ledger, decisions: Decisions, design: DesignProof) -> str:
    """SCIP's word on a ledger's rows at the stored bounds: closed or open."""
    own = stored_lp(joint.instance, decisions, True, joint.sees_network)  # it holds the blocks that bind
    z = point_of(own, decisions)[touched(own)]
    z[ledger.shape.capacity] = joint.offered(decisions.design)
    z[0] = design.upper_bound
    limit = below(design.lower_bound, design.flat - design.first_best)
    return prove(ledger.master(), limit, z, ledger.menu.positions(decisions.design)).word
