"""Both ends of the achievable gain: the flat tariff at cost recovery and the first best, each on an LP of its own.

They share nothing, so that two processes may find them at once. Each is kept as rows with their bases, from which its
social cost and a safe lower bound of it are found again without a solve.
"""

from __future__ import annotations

from collections.abc import Callable
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
from tritier.search.pool import Item, Pool, build, items_of
from tritier.search.responses import LOSS_GAP, ROUNDS

Bare = tuple[Instance, bool, ParametricLP]  # an instance, whether its market sees the network, and its LP
ENDS = ("flat", "first_best")
SAID = ("flat tariff", "first best")  # the same in words
CLOSE, CENT = 2e-4, 0.01  # relative, or $: social cost of an end less its bound, where the tangents stop
AGREE = 1e-3  # $: a stored social cost against what its row proves


@dataclass(frozen=True, eq=False)
class End:
    """One end: its social cost, $/day, and the rows that prove it.

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


def both_ends(joint: JointLP, jobs: int = 1, progress: Callable[[str], None] | None = None) -> tuple[End, End]:
    """Flat tariff (:eq:`eq-flat-tariff`) and first best (:eq:`eq-first-best`) of an instance, in two processes where
    ``jobs`` allows; progress: is given a line for each."""
    run = joblib.Parallel(n_jobs=min(jobs, len(ENDS)), return_as="generator")
    lp, ends = (joint.instance, joint.sees_network, joint.bare), []
    found = run(joblib.delayed(find)(*lp) for find in (_flat_end, _first_best_end))
    for name, end in zip(SAID, found, strict=True):
        ends.append(end)
        if progress is not None:
            progress(f"{name} {end.social_cost:.2f} $/day")
    flat, ideal = ends
    return flat, ideal


def _flat_end(*lp: *Bare) -> End:
    clock = Clock()
    with clock.during("flat tariff"):
        return replace(_flat(clock, *lp), clock=clock)


def _flat(clock: Clock, instance: Instance, network: bool, lp: ParametricLP) -> End:
    searched = build(without_fixed_part(instance), network, lp, [])
    searched.warm.clock = clock
    found = flat_tariff(searched)
    joint = build(instance, network, lp, items_of(searched))
    joint.warm.clock = clock
    joint.warm.set_basis(searched.warm.basis())
    rows = closed(joint, Request("answer", found.design))
    if found.social.total - rows[0].social_cost > AGREE or rows[0].recovered < -LOSS_GAP:
        # the answer's point gives the follower a little too much, at too little F
        rows = [solve_request(joint, Request("answer", found.design, FINE)), *rows]
    end = End(found.social.total, Pool(items_of(joint), rows), solved=True)
    check_end(build(instance, network, lp, []), "flat", end)  # refused before the search, not after it
    return end


def _first_best_end(*lp: *Bare) -> End:
    clock = Clock()
    with clock.during("first best"):
        joint = build(*lp, [])
        joint.warm.clock = clock
        rows = first_best(joint)
        end = End(rows[0].social_cost, Pool(items_of(joint), rows), solved=True, clock=clock)
        check_end(build(*lp, []), "first_best", end)
    return end


def first_best(joint: JointLP) -> list[Row]:
    """Least F without incentive constraints and without revenue adequacy (:eq:`eq-first-best`).

    The rows of :func:`closed`. ``social_cost`` of the first is the exact cost of a point that can be reached, so that a
    gain measured against it is never overstated.
    """
    request = Request("least", flat_design(joint, 0.0))
    return closed(joint, request, inside=True)


def closed(joint: JointLP, request: Request, inside: bool = False) -> list[Row]:
    """The row with the best point, and the one with the best bound where it is another: loss tangents are added until
    they are at most 2e-4 apart, relative. ``inside``: every round from an interior point's end."""
    best: Row | None = None
    for _ in range(ROUNDS):
        row = solve_request(joint, request, inside)
        best = row if best is None or row.social_cost < best.social_cost else best
        if best.social_cost < row.bound - CENT:
            raise SolverError(f"a social cost of {best.social_cost:.6f} $ lies below its own bound {row.bound:.6f}")
        if best.social_cost - row.bound <= max(CENT, CLOSE * abs(best.social_cost)):
            return [best] if best is row else [best, row]
        assert best.load is not None and row.load is not None, "solved just now"
        joint.tangent(row.load)
        joint.tangent((best.load + row.load) / 2)  # the LP hops between vertices, the optimum lies between them
    assert best is not None
    raise SolverError(f"loss tangents did not close after {ROUNDS} rounds: {best.social_cost - row.bound:.2g} $ left")


def check_end(
    joint: JointLP, name: str, end: End, jobs: int = 1, progress: Callable[[str], None] | None = None
) -> list[Row]:
    """The rows that an end's bases prove (:func:`tritier.search.check.check_pool`).

    Raises CertificateError where its social cost does not lie between the bound and the point of its first row, or
    where that point is farther from the bound than the search for it allows.
    """
    rows = check_pool(joint, end.pool, name, jobs, progress)
    first, flat, lower = rows[0], name == "flat", lower_side(rows)
    asked = Request("answer" if flat else "least", flat_design(joint, end.design.tariff[0]))
    for figure, off, most in (
        ("design", float(_asked(first) != asked), 0.0),
        ("above_its_point", end.social_cost - first.social_cost, AGREE),
        ("below_its_bound", lower - end.social_cost, AGREE),
        ("width", first.social_cost - lower, max(CENT, CLOSE * abs(first.social_cost)) + AGREE),
        ("shortfall", -first.recovered if flat else 0.0, LOSS_GAP),
    ):
        if not off <= most:
            raise CertificateError(f"design.{name}.{figure}", off, most, f"{end.social_cost:.6f} $/day is stored")
    return rows


def stored_ends(
    joint: JointLP, jobs: int, state: Path | None, origin: str, progress: Callable[[str], None] | None = None
) -> tuple[End, End]:
    """:func:`both_ends`, kept in the state of a search from the first on: a run that goes on checks them instead."""
    if state is not None and state.is_file():
        with stored.naming(state):
            arrays = stored.read(state, origin)
            pools, costs = stored.pools_of(arrays), arrays["ends"]
            flat, ideal = (End(float(cost), pools[name]) for name, cost in zip(ENDS, costs, strict=True))
            for name, said, end in zip(ENDS, SAID, (flat, ideal), strict=True):
                check_end(joint, name, end, jobs)
                if progress is not None:
                    progress(f"{said} {end.social_cost:.2f} $/day, as stored and checked")
        return flat, ideal
    ends = both_ends(joint, jobs, progress)
    if state is not None:
        stored.save(state, origin, dict(zip(ENDS, (end.pool for end in ends), strict=True)), {"ends": costs_of(ends)})
    return ends


def costs_of(ends: tuple[End, End]) -> np.ndarray:
    """Social costs of both ends, $/day."""
    return np.array([end.social_cost for end in ends])
