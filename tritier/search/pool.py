"""The pool: every row that the search knows, with the basis that proves it.

A row is a request (a direction, weights at a design, or an answer at a design) and what its solve gave. Its basis
makes the row checkable by anyone: the LP built afresh, started there, gives the decisions and the duals again.
Bases follow one order of rows and columns: bare LP, revenue row, first tangent, then ``items`` as they came.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tritier.errors import InputError
from tritier.inputs.instance import Design, Instance
from tritier.model.chance import Block
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import AT_LOWER, AT_UPPER, BASIC, Basis, ParametricLP
from tritier.search.cuts import Answer, Cut, answer, answer_weights, oracle, weighed

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


# Rows on disk: what a broken run goes on from, and what a proof is checked from.


ANSWER = ("worth", "least", "reached", "recovered")


def packed(pool: Pool) -> dict[str, np.ndarray]:
    """A pool as arrays. Rows without a design, cut, response or answer hold NaN there; bases are bytes, deflated."""
    rows = pool.rows
    lines = next((tuple(line for line, _ in r.request.design.capacity) for r in rows if r.request.design), ())
    bases = [zlib.compress(part, 6) for row in rows for part in row.basis]
    return _packed_items(pool.items) | {
        "kind": np.array([KINDS.index(r.request.kind) for r in rows], dtype=int),
        "lines": np.array(lines, dtype=int),
        "design": _table([_values(r.request.design) for r in rows]),
        "numbers": _table([r.request.numbers for r in rows]),
        "direction": _table([() if r.cut is None else r.cut.direction for r in rows]),
        "value": np.array([np.nan if r.cut is None else r.cut.value for r in rows]),
        "z": _table([() if r.z is None else r.z for r in rows]),
        "answer": _table([() if r.answer is None else [getattr(r.answer, name) for name in ANSWER] for r in rows]),
        "basis": np.frombuffer(b"".join(bases), dtype=np.uint8),
        "basis_size": np.array([len(part) for part in bases], dtype=int).reshape(-1, 2),
    }


def unpacked(arrays: dict[str, np.ndarray]) -> Pool:
    """The pool of :func:`packed`."""
    lines = tuple(int(line) for line in arrays["lines"])
    ends = np.append(0, np.cumsum(arrays["basis_size"].ravel()))
    blob = arrays["basis"].tobytes()
    rows = []
    for k, kind in enumerate(arrays["kind"]):
        design = _design(_given(arrays["design"][k]), lines)
        numbers, direction = _given(arrays["numbers"][k]), _given(arrays["direction"][k])
        z, answer = _given(arrays["z"][k]), _given(arrays["answer"][k])
        basis = tuple(zlib.decompress(blob[ends[2 * k + part] : ends[2 * k + part + 1]]) for part in range(2))
        rows.append(
            Row(
                Request(KINDS[int(kind)], design, tuple(float(x) for x in numbers)),
                Cut(direction, float(arrays["value"][k])) if direction.size else None,
                z if z.size else None,
                Answer(design, z, **dict(zip(ANSWER, map(float, answer), strict=True))) if answer.size else None,
                basis,
            )
        )
    return Pool(_unpacked_items(arrays), rows)


def save(path: Path, origin: str, pool: Pool, trace: list[tuple]) -> None:
    """Write a pool and the trace of its search, whole or not at all."""
    write(path, {"origin": np.array(origin), "trace": np.array(trace, dtype=float).reshape(-1, 4)} | packed(pool))


def resume(path: Path, origin: str, pool: Pool) -> tuple[list[Row], list[tuple]]:
    """Rows and trace of a broken run of the same origin, nothing where there is another; ``pool`` takes its items."""
    with naming(path):
        if (arrays := read(path, origin)) is None:
            return [], []
        stored = unpacked(arrays)
        pool.items[:] = stored.items
        return stored.rows, [tuple(row) for row in arrays["trace"].tolist()]


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays, whole or not at all."""
    fresh = path.with_name(f"{path.name}.part.npz")
    np.savez(fresh, **arrays)
    os.replace(fresh, path)


def read(path: Path, origin: str) -> dict[str, np.ndarray] | None:
    """The arrays of a broken run of the same origin; None where they are another's."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files} if str(file["origin"]) == origin else None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """One clear line, InputError, where a file is no state of a run."""
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(path, "file", "is no state of an interrupted run", "run without --resume") from error


def _table(lists: list) -> np.ndarray:
    """Rows of different lengths, filled up with NaN."""
    width = max((len(row) for row in lists), default=0)
    table = np.full((len(lists), width), np.nan)
    for k, row in enumerate(lists):
        table[k, : len(row)] = row
    return table


def _given(row: np.ndarray) -> np.ndarray:
    """A row of :func:`_table` without its filling."""
    return row[~np.isnan(row)]


def _values(design: Design | None) -> tuple[float, ...]:
    return () if design is None else (*design.tariff, design.p2p, *(limit for _, limit in design.capacity))


def _design(values: np.ndarray, lines: tuple[int, ...]) -> Design | None:
    if not values.size:
        return None
    prices = [float(v) for v in values[: values.size - len(lines)]]
    limits = tuple((line, float(v)) for line, v in zip(lines, values[values.size - len(lines) :], strict=True))
    return Design(tuple(prices[:-1]), prices[-1], limits)


def _packed_items(items: list[Item]) -> dict[str, np.ndarray]:
    """Items as arrays: kind '' stands for the next of the tangents."""
    blocks = [item if isinstance(item, Block) else Block("", 0, 0) for item in items]
    return {
        "item_kind": np.array([b.kind for b in blocks], dtype="U16"),
        "item_place": np.array([[b.place, b.hour] for b in blocks], dtype=int).reshape(-1, 2),
        "loads": np.array([item for item in items if not isinstance(item, Block)]),
    }


def _unpacked_items(arrays: dict[str, np.ndarray]) -> list[Item]:
    loads = iter(arrays["loads"])
    return [
        Block(str(kind), int(place), int(hour)) if kind else next(loads)
        for kind, (place, hour) in zip(arrays["item_kind"], arrays["item_place"], strict=True)
    ]
