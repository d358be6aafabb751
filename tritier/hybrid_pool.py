"""The pool of cuts and responses: what the search knows, and what a proof or a resumed run starts from.

Rows of the LP are kept in one order (bare LP, revenue row, first tangent, then chance blocks and loss tangents as
they came), so that the duals of every cut can be read back on an LP built afresh.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from tritier.chance import Block
from tritier.cuts import Column, Cut
from tritier.instance import Instance
from tritier.joint import JointLP
from tritier.parametric import Border, ParametricLP

AT_LOWER, AT_UPPER, BETWEEN = 0, 1, 2


Item = Block | np.ndarray  # a chance block, or the net loads (N, T, S) of a loss tangent


@dataclass(eq=False)
class Pool:
    """Cuts with their duals in the order of ``items``; responses with the decisions of the LP without blocks."""

    items: list[Item]
    cuts: list[Cut] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)

    def learn(self, items: list[Item]) -> None:
        """Add the chance blocks not known yet."""
        known = {item for item in self.items if isinstance(item, Block)}
        self.items += [item for item in items if isinstance(item, Block) and item not in known]

    def in_order(self, joint: JointLP, y: np.ndarray, own: list[Item]) -> np.ndarray:
        """Duals of an LP with the items ``own`` in that order, rearranged to the pool's order."""
        if starts_with(self.items, own):
            return y
        size = [item_rows(joint, item) for item in own]
        at = y.size - sum(size)
        parts, place = [y[:at]], {}
        for item, rows in zip(own, size, strict=True):
            place[key(item)] = y[at : at + rows]
            at += rows
        parts += [place[key(item)] if key(item) in place else np.zeros(item_rows(joint, item)) for item in self.items]
        return np.concatenate(parts)

    def save(self, path: Path, **more: np.ndarray) -> None:
        """Write the pool to an npz file, whole or not at all."""
        arrays = {**pack_items(self.items), **more}
        width = max((c.duals.size for c in self.cuts), default=0)
        duals = np.zeros((len(self.cuts), width))
        for k, cut in enumerate(self.cuts):
            duals[k, : cut.duals.size] = cut.duals
        arrays |= {
            "directions": np.array([c.direction for c in self.cuts]),
            "values": np.array([c.value for c in self.cuts]),
            "duals": duals,
            "responses": np.array([c.z for c in self.columns]),
            "decisions": np.array([c.x for c in self.columns]),
        }
        temporary = path.with_name(f"{path.name}.part.npz")
        np.savez_compressed(temporary, **arrays)
        os.replace(temporary, path)

    @classmethod
    def load(cls, arrays: dict[str, np.ndarray]) -> Pool:
        """The pool of a file's arrays."""
        cuts = [
            Cut(d, float(v), y) for d, v, y in zip(arrays["directions"], arrays["values"], arrays["duals"], strict=True)
        ]
        columns = [Column(z, x) for z, x in zip(arrays["responses"], arrays["decisions"], strict=True)]
        return cls(unpack_items(arrays), cuts, columns)


def build(instance: Instance, network: bool, lp: ParametricLP, items: list[Item]) -> JointLP:
    """An LP with chance blocks and tangents in a given order."""
    joint = JointLP(instance, network=network, lp=lp)
    append_value_row(joint)
    extend(joint, items)
    return joint


def priced_columns(lp: ParametricLP) -> np.ndarray:
    """Columns that a follower pays for: R, then the energies."""
    return np.concatenate([np.atleast_1d(lp.at(name)).ravel() for name in ("R", "G", "Z")])


def append_value_row(joint: JointLP) -> None:
    """Append a row over R and the energies, free until a design sets it, and the shortfall of the revenue row, held
    at 0."""
    m, n = joint.lp.row_lower.size, joint.lp.cost.size + 1
    priced = priced_columns(joint.lp)
    revenue = np.array([int(joint.lp.row_at("revenue"))])
    joint.warm.append(
        Border(
            cost=np.zeros(1),
            col_lower=np.zeros(1),
            col_upper=np.zeros(1),
            old_rows=sp.csr_array((np.ones(1), (revenue, np.zeros(1, dtype=int))), shape=(m, 1)),
            columns={"shortfall": (0, ())},
            matrix=sp.csr_array((np.ones(priced.size), (np.zeros(priced.size, dtype=int), priced)), shape=(1, n)),
            row_lower=np.full(1, -np.inf),
            row_upper=np.full(1, np.inf),
            rows={"value": (0, ())},
        )
    )


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


def item_rows(joint: JointLP, item: Item) -> int:
    """Rows of a tangent (one per hour and scenario) or of a chance block (a tail per sign and scenario, its
    quantile)."""
    days = joint.instance.days
    if isinstance(item, Block):
        return joint.network.form(item).gradient.shape[0] * days.n_days + 1
    return days.n_hours * days.n_days


def pack_items(items: list[Item]) -> dict[str, np.ndarray]:
    """Items as arrays: kind '' stands for the next of the tangents."""
    blocks = [item if isinstance(item, Block) else Block("", 0, 0) for item in items]
    return {
        "item_kind": np.array([b.kind for b in blocks], dtype="U16"),
        "item_place": np.array([[b.place, b.hour] for b in blocks], dtype=int).reshape(-1, 2),
        "loads": np.array([item for item in items if not isinstance(item, Block)]),
    }


def unpack_items(arrays: dict[str, np.ndarray]) -> list[Item]:
    """The items of :func:`pack_items`."""
    loads = iter(arrays["loads"])
    return [
        Block(str(kind), int(place), int(hour)) if kind else next(loads)
        for kind, (place, hour) in zip(arrays["item_kind"], arrays["item_place"], strict=True)
    ]
