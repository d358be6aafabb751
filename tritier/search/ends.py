"""Both ends of the achievable gain: the flat tariff at cost recovery and the first best, each on an LP of its own.

They share nothing, so that two processes may find them at once and a check finds them again, to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np

from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import Basis
from tritier.search import pool as hybrid_state
from tritier.search.cuts import Shape
from tritier.search.flat import flat_tariff
from tritier.search.pool import Item, Pool, Request, Row, build, items_of, solve_request
from tritier.search.responses import first_best

ENDS = ("flat", "first_best")


@dataclass(frozen=True, eq=False)
class End:
    """Social cost, $/day, and an LP that can be built again: chance blocks and loss tangents in order, and a basis.

    ``row``: of the first best, the least F over the menu before loss tangents were added, and the basis that proves it.
    """

    social_cost: float
    items: list[Item]
    basis: Basis
    row: Row | None = None

    def lp(self, joint: JointLP) -> JointLP:
        """The LP of this end, at its basis."""
        own = build(joint.instance, joint.sees_network, joint.bare, self.items)
        own.warm.set_basis(self.basis)
        return own


def both_ends(joint: JointLP, jobs: int = 1) -> tuple[End, End]:
    """Flat tariff (:eq:`eq-flat-tariff`) and first best (:eq:`eq-first-best`) of an instance, in two processes where
    ``jobs`` allows."""
    run = joblib.Parallel(n_jobs=min(jobs, len(ENDS)))
    flat, ideal = run(joblib.delayed(_end)(kind, joint.instance, joint.sees_network, joint.bare) for kind in ENDS)
    return flat, ideal


def kept_ends(joint: JointLP, jobs: int, state: Path | None, origin: str) -> tuple[End, End]:
    """:func:`both_ends`, kept beside the state of a search: a run that goes on does not look for them again."""
    if state is None:
        return both_ends(joint, jobs)
    path = ends_file(state)
    if path.is_file():
        with hybrid_state.naming(path):
            if (arrays := hybrid_state.read(path, origin)) is not None:
                return tuple(_unpacked(arrays, name) for name in ENDS)
    ends = both_ends(joint, jobs)
    arrays = {"origin": np.array(origin)}
    for name, end in zip(ENDS, ends, strict=True):
        arrays |= _packed(end, name)
    hybrid_state.write(path, arrays)
    return ends


def ends_file(state: Path) -> Path:
    """Where both ends stand beside the state of a search."""
    return state.with_name(f"{state.name.removesuffix('.npz')}.ends.npz")


def forget(state: Path) -> None:
    """Remove the state of a search, and both ends beside it."""
    for path in (state, ends_file(state)):
        path.unlink(missing_ok=True)


def _packed(end: End, name: str) -> dict[str, np.ndarray]:
    row = end.row or Row(Request("support"), None, None, None, end.basis)  # carries the basis
    arrays = hybrid_state.packed(Pool(end.items, [row])) | {"cost": np.array(end.social_cost)}
    return {f"{name}.{key}": value for key, value in arrays.items()}


def _unpacked(arrays: dict[str, np.ndarray], name: str) -> End:
    own = {key.removeprefix(f"{name}."): value for key, value in arrays.items() if key.startswith(f"{name}.")}
    pool = hybrid_state.unpacked(own)
    row = pool.rows[0]
    return End(float(own["cost"]), pool.items, row.basis, row if row.cut is not None else None)


def _end(kind: str, *lp) -> End:
    joint = build(*lp, [])
    if kind == "flat":
        cost = flat_tariff(joint).social.total
        return End(cost, items_of(joint), joint.warm.basis())
    row = solve_request(joint, least_social_cost(joint))
    items = items_of(joint)
    return End(first_best(joint), items, row.basis, row)


def least_social_cost(joint: JointLP) -> Request:
    """The request for the least F over the menu, whatever the incentives."""
    return Request("support", None, (1.0, *np.zeros(Shape.of(joint).size - 1)))
