"""The pool: every row that the search knows, with the basis that proves it.

A row is a request (a direction, weights at a design, or an answer at a design) and what its solve gave. Its basis
makes the row checkable by anyone: the LP built afresh, started there, gives the decisions and the duals again.
Bases follow one order of rows and columns: bare LP, revenue row, first tangent, then ``items`` as they came.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tritier.chance import Block
from tritier.cuts import Answer, Cut, answer, answer_weights, oracle, weighed
from tritier.highs_basis import AT_LOWER, AT_UPPER, BASIC, Basis
from tritier.instance import Design, Instance
from tritier.joint import JointLP
from tritier.parametric import ParametricLP

Item = Block | np.ndarray  # a chance block, or the net loads (N, T, S) of a loss tangent
KINDS = ("support", "weighed", "answer", "shortfall")


@dataclass(frozen=True, eq=False)
class Request:
    """What to solve: ``numbers`` are the direction of a support call, or the weights (phi, lambda, nu) at a design."""

    kind: str
    design: Design | None = None
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Row:
    """What a request gave: an outer cut, a response's z, an answer; and the basis that proves them."""

    request: Request
    cut: Cut | None
    z: np.ndarray | None
    answer: Answer | None
    basis: Basis


def weights_of(request: Request) -> tuple[float, ...]:
    """(phi, lambda, nu) of a request at a design."""
    return request.numbers or answer_weights(shortfall=request.kind == "shortfall")


def solve_request(joint: JointLP, request: Request) -> Row:
    """Solve a request from the LP's present basis. Only an answer keeps its response: other points are often one of
    many, which their basis does not give again."""
    cut = z = found = None
    if request.kind == "support":
        _, cut = oracle(joint, np.array(request.numbers))
    elif request.kind == "weighed":
        _, cut = weighed(joint, request.design, request.numbers)
    else:
        found = answer(joint, request.design, shortfall=request.kind == "shortfall")
        if found is not None:
            cut, z = found.cut, found.z
    return Row(request, cut, z, found, joint.warm.basis())


@dataclass(eq=False)
class Pool:
    """Rows, and the chance blocks and loss tangents in the order of their bases."""

    items: list[Item]
    rows: list[Row] = field(default_factory=list)

    def learn(self, items: list[Item]) -> None:
        """Add the chance blocks and tangents not known yet, each once."""
        self.items = list({key(item): item for item in [*self.items, *items]}.values())


def build(instance: Instance, network: bool, lp: ParametricLP, items: list[Item]) -> JointLP:
    """An LP with chance blocks and tangents in a given order."""
    joint = JointLP(instance, network=network, lp=lp)
    extend(joint, items)
    return joint


def extend(joint: JointLP, items: list[Item]) -> None:
    """Append chance blocks and tangents in order; blocks that follow one another go in one step."""
    run: list[Block] = []
    for item in items:
        if isinstance(item, Block):
            run.append(item)
            continue
        joint.add_blocks(run)
        run = []
        joint.tangent(item)
    joint.add_blocks(run)


def items_of(joint: JointLP) -> list[Item]:
    """What an LP holds beyond its first tangent, in order."""
    return list(joint.history[1:])


def key(item: Item):
    """What tells an item from others."""
    return item if isinstance(item, Block) else item.tobytes()


def starts_with(items: list[Item], first: list[Item]) -> bool:
    """Whether a list of items begins with another."""
    return len(first) <= len(items) and all(key(a) == key(b) for a, b in zip(items, first, strict=False))


def item_size(joint: JointLP, item: Item) -> tuple[int, int]:
    """Columns and rows of a tangent (a row per hour and scenario) or of a chance block (quantile, tails, slack; a row
    per sign and scenario, and one for the CVaR)."""
    days = joint.instance.days
    if isinstance(item, Block):
        return days.n_days + 2, joint.network.form(item).gradient.shape[0] * days.n_days + 1
    return 0, days.n_hours * days.n_days


def idle(joint: JointLP, item: Item) -> Basis:
    """Statuses of an item that does not bind: tangent rows basic; a block's quantile basic at zero in place of its
    CVaR row, which is tight, its tails and slack at zero."""
    columns, rows = item_size(joint, item)
    if not isinstance(item, Block):
        return b"", bytes([BASIC]) * rows
    return bytes([BASIC]) + bytes([AT_LOWER]) * (columns - 1), bytes([BASIC]) * (rows - 1) + bytes([AT_UPPER])


def held(joint: JointLP, basis: Basis, items: list[Item]) -> int:
    """How many of the pool's items the LP of a basis had."""
    rows = len(basis[1]) - (joint.lp.row_lower.size - sum(item_size(joint, item)[1] for item in items_of(joint)))
    count = 0
    while rows > 0:
        rows -= item_size(joint, items[count])[1]
        count += 1
    return count


def reorder(joint: JointLP, basis: Basis, own: list[Item], items: list[Item]) -> Basis:
    """A basis of an LP that held the first of the items ``own``, each once, for one with ``items``; those that are new
    do not bind."""
    own = own[: held(joint, basis, own)]
    sizes = [item_size(joint, item) for item in own]
    at = [len(part) - sum(size[k] for size in sizes) for k, part in enumerate(basis)]
    parts = [[part[:first]] for part, first in zip(basis, at, strict=True)]
    place: dict[object, Basis] = {}
    for item, size in zip(own, sizes, strict=True):
        place[key(item)] = tuple(part[first : first + n] for part, first, n in zip(basis, at, size, strict=True))
        at = [first + n for first, n in zip(at, size, strict=True)]
    for item in items:
        found = place[key(item)] if key(item) in place else idle(joint, item)
        for part, piece in zip(parts, found, strict=True):
            part.append(piece)
    return b"".join(parts[0]), b"".join(parts[1])
