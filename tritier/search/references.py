"""The references of the achievable gain: the flat tariff at cost recovery and the first best, each on its own LP.

They share nothing, so that two processes may find them at once. Each is kept as rows with their bases, from which its
social cost and a safe lower bound of it are found again without a solve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np

from tritier.errors import CertificateError, SolverError
from tritier.inputs.instance import Design, Instance
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
SAID = ("flat tariff", "first best")  # the same in words
CLOSE, CENT = 2e-4, 0.01  # relative, or $: social cost of a reference less its bound, where the tangents stop
AGREE = 1e-3  # $: a stored social cost against what its row proves


@dataclass(frozen=True, eq=False)
class Reference:
    """One of them: its social cost, $/day, and the rows that prove it.

    ``pool.rows[0]`` has that point: of the flat tariff its answer, of the first best the least F at the largest limits.
    The largest bound of a row that asks the same is the lower side. ``solved``: whether this run has found the cost,
    and not read it; ``clock``: where its seconds went.
    """

    social_cost: float
    pool: Pool
    solved: bool = False
    clock: Clock = field(default_factory=Clock)

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
    found = flat_tariff(searched, known=unfinished.figures)
    joint = build(instance, network, lp, items_of(searched))
    joint.warm.clock, unfinished.basis = clock, searched.warm.basis()
    unfinished.begin(joint)
    rows = closed(joint, Request("answer", found.design), unfinished)
    if found.social.total - rows[0].social_cost > AGREE or rows[0].recovered < -LOSS_GAP:
        # the answer's point gives the follower a little too much, at too little F
        rows = [solve_request(joint, Request("answer", found.design, FINE)), *rows]
    reference = Reference(found.social.total, Pool(items_of(joint), rows), solved=True)
    check_reference(build(instance, network, lp, []), "flat", reference)  # refused before the search, not after it
    return reference


def _first_best(clock: Clock, unfinished: Unfinished, *lp: *Bare) -> Reference:
    joint = build(*lp, unfinished.items)
    joint.warm.clock = clock
    unfinished.begin(joint)
    rows = first_best(joint, unfinished)
    reference = Reference(rows[0].social_cost, Pool(items_of(joint), rows), solved=True)
    check_reference(build(*lp, []), "first_best", reference)
    return reference


def first_best(joint: JointLP, unfinished: Unfinished | None = None) -> list[Row]:
    """Least F without incentive constraints and without revenue adequacy (:eq:`eq-first-best`).

    The rows of :func:`closed`. ``social_cost`` of the first is the exact cost of a point that can be reached, so that a
    gain measured against it is never overstated.
    """
    request = Request("least", flat_design(joint, 0.0))
    return closed(joint, request, unfinished, inside=True)


def closed(joint: JointLP, request: Request, unfinished: Unfinished | None = None, inside: bool = False) -> list[Row]:
    """The row with the best point, and the one with the best bound where it is another: loss tangents are added until
    they are at most 2e-4 apart, relative. ``inside``: every round from an interior point's end, but for the first of a
    run that goes on."""
    unfinished = unfinished or Unfinished(None)
    best = unfinished.best if unfinished.best is not None and unfinished.best.request == request else None
    for k in range(ROUNDS):
        row = solve_request(joint, request, inside and (k > 0 or unfinished.basis is None))
        best = row if best is None or row.social_cost < best.social_cost else best
        unfinished.best = best
        if best.social_cost < row.bound - CENT:
            raise SolverError(f"a social cost of {best.social_cost:.6f} $ lies below its own bound {row.bound:.6f}")
        if best.social_cost - row.bound <= max(CENT, CLOSE * abs(best.social_cost)):
            return [best] if best is row else [best, row]
        assert best.load is not None and row.load is not None, "solved just now"
        joint.tangent(row.load)
        joint.tangent((best.load + row.load) / 2)  # the LP hops between vertices, the optimum lies between them
    assert best is not None
    raise SolverError(f"loss tangents did not close after {ROUNDS} rounds: {best.social_cost - row.bound:.2g} $ left")


def check_reference(
    joint: JointLP, name: str, reference: Reference, jobs: int = 1, progress: Callable[[str], None] | None = None
) -> list[Row]:
    """The rows that a reference's bases prove (:func:`tritier.search.check.check_pool`).

    Raises CertificateError where its social cost does not lie between the bound and the point of its first row, or
    where that point is farther from the bound than the search for it allows.
    """
    rows = check_pool(joint, reference.pool, name, jobs, progress)
    first, flat, lower = rows[0], name == "flat", lower_side(rows)
    asked = Request("answer" if flat else "least", flat_design(joint, reference.design.tariff[0]))
    short = -first.recovered if flat else 0.0
    if short > LOSS_GAP:  # an answer is not the best response, only near it
        short = -optimistic_response(joint, asked.design, revenue=False).revenue_slack
    for figure, off, most in (
        ("design", float(_asked(first) != asked), 0.0),
        ("above_its_point", reference.social_cost - first.social_cost, AGREE),
        ("below_its_bound", lower - reference.social_cost, AGREE),
        ("width", first.social_cost - lower, max(CENT, CLOSE * abs(first.social_cost)) + AGREE),
        ("shortfall", short, LOSS_GAP),
    ):
        if not off <= most:
            raise CertificateError(f"design.{name}.{figure}", off, most, f"{reference.social_cost:.6f} $/day is stored")
    return rows


def stored_references(
    joint: JointLP, jobs: int, state: Path | None, origin: str, progress: Callable[[str], None] | None = None
) -> tuple[Reference, Reference]:
    """:func:`find_references`, each kept in the state of a search as soon as it is known, and what is found on the way
    in a file beside it: a run that goes on checks what is known instead, and begins the other where it broke off."""
    references = _known_references(joint, jobs, state, origin, progress)
    left, lp = [name for name in REFERENCES if name not in references], (joint.instance, joint.sees_network, joint.bare)
    _keep(state, origin, references)
    run = joblib.Parallel(n_jobs=max(1, min(jobs, len(left))), return_as="generator_unordered")
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
    with stored.naming(state):
        arrays = stored.read(state, origin)
        pools = stored.pools_of(arrays)
        for name, said, cost in zip(REFERENCES, SAID, arrays["references"], strict=True):
            if name not in pools:
                continue
            references[name] = Reference(float(cost), pools[name])
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
    stored.save(state, origin, pools, {"references": costs_of([references.get(name) for name in REFERENCES])})
    for name in references:
        stored.beside(state, name).unlink(missing_ok=True)


def costs_of(references: Sequence[Reference | None]) -> np.ndarray:
    """Social costs of both references, $/day; nan where one is not known."""
    return np.array([np.nan if reference is None else reference.social_cost for reference in references])
