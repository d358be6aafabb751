"""Both ends of the achievable gain: the flat tariff at cost recovery and the first best, each on an LP of its own.

They share nothing, so that two processes may find them at once and a check finds them again, to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass

import joblib
import numpy as np

from tritier.cuts import Shape
from tritier.first_best import first_best
from tritier.flat import flat_tariff
from tritier.hybrid_pool import Basis, Item, Request, Row, build, items_of, solve_request
from tritier.joint import JointLP


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
    kinds = ("flat", "first best")
    run = joblib.Parallel(n_jobs=min(jobs, len(kinds)))
    flat, ideal = run(joblib.delayed(_end)(kind, joint.instance, joint.sees_network, joint.bare) for kind in kinds)
    return flat, ideal


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
