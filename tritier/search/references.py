"""The references of the achievable gain: the flat tariff at cost recovery and the first best, each on its own LP.

They share nothing, so that two processes may find them at once. Each is kept as rows with their bases, from which its
social cost and a safe lower bound of it are found again without a solve.

Where a first best lies between the vertices that its LP hops to, a mixture of them reaches it: decisions form a convex
set and social cost is convex in them, so that a mixture costs at most the parts' own costs without the network's,
mixed, and the network's cost at the mixed loads, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np
from scipy.optimize import minimize_scalar

from tritier.errors import CertificateError, SolverError
from tritier.inputs.instance import Design, Instance
from tritier.model.dso import SocialCost, charged_peak, network_parts
from tritier.model.tariff import without_fixed_part
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import Clock, ParametricLP
from tritier.search import pool as stored
from tritier.search.check import check_pool
from tritier.search.cuts import EPSILON, FINE, Request, Row, solve_request
from tritier.search.flat import flat_design, flat_tariff
from tritier.search.pool import Item, Pool, Unfinished, build, items_of
from tritier.search.responses import LOSS_GAP, ROUNDS, optimistic_response

Bare = tuple[Instance, bool, ParametricLP]  # an instance, whether its market sees the network, and its LP
REFERENCES = ("flat", "first_best")
SCAN = "scan"  # the pool of the rows that rule out smaller flat tariffs
SAID = ("flat tariff", "first best")  # the same in words
CLOSE, CENT = 2e-4, 0.01  # relative, or $: social cost of a reference less its bound, where the tangents stop
AGREE = 1e-3  # $: a stored social cost against what its row proves
SWEEPS = 20  # over all parts, at most
STILL = 1e-7  # relative: improvement of a sweep below which the weights stand
NEGLIGIBLE = 1e-6  # weight of a part that is left out


@dataclass(frozen=True, eq=False)
class Reference:
    """One of them: its social cost, $/day, and the rows that prove it.

    ``pool.rows[0]`` of the flat tariff is its answer and has that point. Of the first best all rows are least F at the
    largest limits, and their cheapest mixture has it. The largest bound of a row that asks the same is the lower side.
    ``solved``: whether this run has found the cost, and not read it; ``clock``: where its seconds went; ``scan``: of
    the flat tariff, rows without a fixed part at smaller ones that do not recover the cost.
    """

    social_cost: float
    pool: Pool
    solved: bool = False
    clock: Clock = field(default_factory=Clock)
    scan: Pool = field(default_factory=lambda: Pool([]))

    @property
    def lower_bound(self) -> float:
        """Safe lower bound of the social cost, $/day."""
        return lower_side(self.pool.rows)

    @property
    def design(self) -> Design:
        return self.pool.rows[0].request.design

    @property
    def items(self) -> list[Item]:
        return self.pool.items


def lower_side(rows: list[Row]) -> float:
    """The largest bound of the rows that ask what the first one asks, whatever their weight on F, $."""
    return max(row.bound for row in rows if _asked(row) == _asked(rows[0]))


def _asked(row: Row) -> Request:
    return replace(row.request, epsilon=EPSILON)


def find_references(
    joint: JointLP, jobs: int = 1, progress: Callable[[str], None] | None = None
) -> tuple[Reference, Reference]:
    """Flat tariff (:eq:`eq-flat-tariff`) and first best (:eq:`eq-first-best`) of an instance, in two processes where
    ``jobs`` allows; progress: is given a line for each."""
    return stored_references(joint, jobs, None, "", progress)


def _find(name: str, state: Path | None, origin: str, *lp: *Bare) -> tuple[str, Reference]:
    """A reference by its name, from where a run that broke off has left it."""
    clock, unfinished = Clock(), Unfinished(state, name, origin)
    with clock.during(SAID[REFERENCES.index(name)]):
        reference = {"flat": _flat, "first_best": _first_best}[name](clock, unfinished, *lp)
    return name, replace(reference, clock=clock)


def _flat(clock: Clock, unfinished: Unfinished, instance: Instance, network: bool, lp: ParametricLP) -> Reference:
    searched = build(without_fixed_part(instance), network, lp, unfinished.items)
    searched.warm.clock = clock
    unfinished.begin(searched)
    scan: list[Row] = []
    found = flat_tariff(searched, known=unfinished.figures, scan=scan)
    ruled_out = Pool(items_of(searched), scan)
    joint = build(instance, network, lp, items_of(searched))
    joint.warm.clock, unfinished.basis = clock, searched.warm.basis()
    unfinished.begin(joint)
    rows = closed(joint, Request("answer", found.design), unfinished)
    if found.social.total - rows[0].social_cost > AGREE or rows[0].recovered < -LOSS_GAP:
        # the answer's point gives the follower a little too much, at too little F
        rows = [solve_request(joint, Request("answer", found.design, FINE)), *rows]
    reference = Reference(found.social.total, Pool(items_of(joint), rows), solved=True, scan=ruled_out)
    check_reference(build(instance, network, lp, []), "flat", reference)  # refused before the search, not after it
    return reference


def _first_best(clock: Clock, unfinished: Unfinished, *lp: *Bare) -> Reference:
    joint = build(*lp, unfinished.items)
    joint.warm.clock = clock
    unfinished.begin(joint)
    cost, rows = first_best(joint, unfinished)
    reference = Reference(cost, Pool(items_of(joint), rows), solved=True)
    check_reference(build(*lp, []), "first_best", reference)
    return reference


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights of rows' responses, an upper bound of their mixture's social cost, and its net loads."""

    weights: np.ndarray  # (K,), from 0, with sum 1
    social_cost: float  # $/day
    load: np.ndarray  # kW, (N, T, S)


def network_total(joint: JointLP, head: np.ndarray, loss: np.ndarray) -> float:
    """Expected sum of :func:`tritier.model.dso.network_parts` over a day, $, exactly, from the head's lossless flow and
    the losses, kW, (T, S) (:eq:`eq-social-cost`)."""
    instance = joint.instance
    parts = network_parts(instance, head, charged_peak(instance, head, loss), loss)
    return SocialCost.expected(parts, instance.days.probability, violation=0.0).total


def cheapest_mixture(joint: JointLP, rows: Sequence[Row]) -> Mixture:
    """The mixture of rows' responses that costs society least, as :class:`Mixture` bounds it (:eq:`eq-mixture`).

    Weight moves to or from one part at a time, each time to the best point of the line. Any weights give a valid upper
    bound; no precision is asked of them. Raises ValueError where a row does not know its loads.
    """
    loads = [row.load for row in rows if row.load is not None]
    if not rows or len(loads) < len(rows):
        raise ValueError("only responses whose net loads are known can be mixed")
    beside = np.array([row.social_cost for row in rows])  # without the network's part, from here on
    beside -= [network_total(joint, load.sum(axis=0), joint.exact_losses(load)) for load in loads]
    first = int(np.argmin([row.social_cost for row in rows]))
    weights, load, cost = np.eye(len(rows))[first], loads[first], rows[first].social_cost
    for _ in range(SWEEPS if len(rows) > 1 else 0):
        before = cost
        for k in range(len(rows) - 1, -1, -1):
            if weights[k] == 1.0:
                continue
            along = _line(joint, (load, float(beside @ weights)), (loads[k], float(beside[k])))
            most = (-weights[k] / (1.0 - weights[k]), 1.0)  # from none of this part to nothing else
            step = float(minimize_scalar(along, bounds=most, method="bounded").x)
            if (found := along(step)) < cost:
                weights, load, cost = (1.0 - step) * weights, load + step * (loads[k] - load), found
                weights[k] += step
        if before - cost <= STILL * abs(cost):
            break
    weights = np.where(weights < NEGLIGIBLE, 0.0, weights)
    weights /= weights.sum()
    load = np.tensordot(weights, np.array(loads), axes=1)
    network = network_total(joint, load.sum(axis=0), joint.exact_losses(load))
    return Mixture(weights, float(beside @ weights) + network, load)


def _line(joint: JointLP, start: tuple[np.ndarray, float], end: tuple[np.ndarray, float]) -> Callable[[float], float]:
    """Social cost over the share of ``end`` in a mixture with ``start``: each net loads, kW, (N, T, S), and what is
    paid beside the network, $. Losses are quadratic in the share, so that three of its points give them all."""
    (load, paid), (other, paid_there) = start, end
    head, head_there = load.sum(axis=0), other.sum(axis=0)
    none, half, whole = (joint.exact_losses(load + share * (other - load)) for share in (0.0, 0.5, 1.0))
    curve = 2.0 * (none - 2.0 * half + whole)
    slope = whole - none - curve

    def along(share: float) -> float:
        loss = none + share * (slope + share * curve)
        flow = head + share * (head_there - head)
        return paid + share * (paid_there - paid) + network_total(joint, flow, loss)

    return along


def first_best(joint: JointLP, unfinished: Unfinished | None = None) -> tuple[float, list[Row]]:
    """Least F without incentive constraints and without revenue adequacy (:eq:`eq-first-best`), $/day, and the rows
    that prove it: those whose cheapest mixture costs that (:eq:`eq-mixture`), and the one with the best bound.

    The cost is one that can be reached, so that a gain measured against it is never overstated. Loss tangents are added
    at the vertex that the LP ends with and at the cheapest mixture of all vertices so far, near which the optimum lies.
    Each round but the first of a run that goes on begins at an interior point's end.
    """
    unfinished = unfinished or Unfinished(None)
    request = Request("least", flat_design(joint, 0.0))
    rows = [] if unfinished.best is None or unfinished.best.request != request else [unfinished.best]
    cost = np.inf
    for k in range(ROUNDS):
        row = solve_request(joint, request, inside=k > 0 or unfinished.basis is None)
        rows.append(row)
        unfinished.best = min(rows, key=lambda row: row.social_cost)
        mixture = cheapest_mixture(joint, rows)
        cost = mixture.social_cost
        if _near(cost, row.bound):
            cost, parts = _fewest(joint, rows, mixture, row.bound)
            return cost, parts if row in parts else [*parts, row]
        assert row.load is not None, "solved just now"
        joint.tangent(row.load)
        joint.tangent(mixture.load)
    raise _not_closed(cost - row.bound)


def _fewest(joint: JointLP, rows: list[Row], mixture: Mixture, bound: float) -> tuple[float, list[Row]]:
    """Parts of the cheapest mixture of rows, without those that it can do without and stay as near to the bound as
    asked, lightest first, and what their cheapest mixture costs, $; in the order given, as each basis is of an LP that
    the later ones have added to."""
    cost, weights = mixture.social_cost, mixture.weights
    parts = [row for row, weight in zip(rows, weights, strict=True) if weight]
    for k in np.argsort(weights, kind="stable"):
        rest = [row for row in parts if row is not rows[k]]
        if weights[k] and rest and _near(less := cheapest_mixture(joint, rest).social_cost, bound):
            cost, parts = less, rest
    return cost, parts


def _near(cost: float, bound: float) -> bool:
    """Whether a social cost and its lower bound, $, are as close as a reference's have to be. Raises SolverError where
    they contradict each other."""
    if cost < bound - CENT:
        raise SolverError(f"a social cost of {cost:.6f} $ lies below its own bound {bound:.6f}")
    return cost - bound <= _width(cost)


def _width(cost: float) -> float:
    return max(CENT, CLOSE * abs(cost))


def _not_closed(left: float) -> SolverError:
    return SolverError(f"loss tangents did not close after {ROUNDS} rounds: {left:.2g} $ left")


def closed(joint: JointLP, request: Request, unfinished: Unfinished | None = None) -> list[Row]:
    """The row with the best point, and the one with the best bound where it is another: loss tangents are added until
    they are at most 2e-4 apart, relative."""
    unfinished = unfinished or Unfinished(None)
    best = unfinished.best if unfinished.best is not None and unfinished.best.request == request else None
    for _ in range(ROUNDS):
        row = solve_request(joint, request)
        best = row if best is None or row.social_cost < best.social_cost else best
        unfinished.best = best
        if _near(best.social_cost, row.bound):
            return [best] if best is row else [best, row]
        assert best.load is not None and row.load is not None, "solved just now"
        joint.tangent(row.load)
        joint.tangent((best.load + row.load) / 2)  # the LP hops between vertices, the optimum lies between them
    assert best is not None
    raise _not_closed(best.social_cost - row.bound)


def check_reference(
    joint: JointLP, name: str, reference: Reference, jobs: int = 1, progress: Callable[[str], None] | None = None
) -> list[Row]:
    """The rows that a reference's bases prove (:func:`tritier.search.check.check_pool`).

    Raises CertificateError where they leave its social cost open by more than the search for it allows: below it lies
    their largest bound, above that of the flat tariff the point of its first row; that of the first best is reached by
    the cheapest mixture of their points.
    """
    rows = check_pool(joint, reference.pool, name, jobs, progress)
    first, flat, lower, cost = rows[0], name == "flat", lower_side(rows), reference.social_cost
    asked = Request("answer" if flat else "least", flat_design(joint, reference.design.tariff[0]))
    short = -first.recovered if flat else 0.0
    if short > LOSS_GAP:  # an answer is not the best response, only near it
        short = -optimistic_response(joint, asked.design, revenue=False).revenue_slack
    if flat:
        upper, point = first.social_cost, ("above_its_point", cost - first.social_cost)
    else:
        own = [row for row in rows if _asked(row) == _asked(first)]
        upper, point = cost, ("not_reached", cheapest_mixture(joint, own).social_cost - cost)
    for figure, off, most in (
        ("design", float(_asked(first) != asked), 0.0),
        (*point, AGREE),
        ("below_its_bound", lower - cost, AGREE),
        ("width", upper - lower, _width(upper) + AGREE),
        ("shortfall", short, LOSS_GAP),
    ):
        if not off <= most:
            raise CertificateError(f"design.{name}.{figure}", off, most, f"{cost:.6f} $/day is stored")
    return rows


def stored_references(
    joint: JointLP, jobs: int, state: Path | None, origin: str, progress: Callable[[str], None] | None = None
) -> tuple[Reference, Reference]:
    """:func:`find_references`, each kept in the state of a search as soon as it is known, and what is found on the way
    in a file beside it: a run that goes on checks what is known instead, and begins the other where it broke off."""
    references = _known_references(joint, jobs, state, origin, progress)
    left, lp = [name for name in REFERENCES if name not in references], (joint.instance, joint.sees_network, joint.bare)
    _keep(state, origin, references)
    run = joblib.Parallel(n_jobs=max(1, min(joblib.effective_n_jobs(jobs), len(left))), return_as="generator_unordered")
    for name, reference in run(joblib.delayed(_find)(name, state, origin, *lp) for name in left):
        references[name] = reference
        _keep(state, origin, references)
        if progress is not None:
            progress(f"{SAID[REFERENCES.index(name)]} {reference.social_cost:.2f} $/day")
    return references["flat"], references["first_best"]


def _known_references(
    joint: JointLP, jobs: int, state: Path | None, origin: str, progress: Callable[[str], None] | None
) -> dict[str, Reference]:
    """The references that a state holds, checked."""
    references: dict[str, Reference] = {}
    if state is None or not state.is_file():
        return references
    with stored.naming_state(state):
        arrays = stored.read(state, origin)
        pools = stored.pools_of(arrays)
        for name, said, cost in zip(REFERENCES, SAID, arrays["references"], strict=True):
            if name not in pools:
                continue
            references[name] = Reference(float(cost), pools[name])
            if name == "flat":
                references[name] = replace(references[name], scan=pools.get(SCAN, Pool([])))
            check_reference(joint, name, references[name], jobs)
            if progress is not None:
                progress(f"{said} {cost:.2f} $/day, as stored and checked")
    return references


def _keep(state: Path | None, origin: str, references: dict[str, Reference]) -> None:
    """Write the references known so far, where the state does not hold both already, and forget how they were found."""
    if state is None or (
        len(references) == len(REFERENCES) and not any(reference.solved for reference in references.values())
    ):
        return
    pools = {name: references[name].pool for name in REFERENCES if name in references}
    if "flat" in references:
        pools[SCAN] = references["flat"].scan
    stored.save(state, origin, pools, {"references": costs_of([references.get(name) for name in REFERENCES])})
    for name in references:
        stored.beside(state, name).unlink(missing_ok=True)


def costs_of(references: Sequence[Reference | None]) -> np.ndarray:
    """Social costs of both references, $/day; nan where one is not known."""
    return np.array([np.nan if reference is None else reference.social_cost for reference in references])
