"""The pool: rows of a search with the bases that prove them, in memory and on disk.

A basis makes its row checkable by anyone: the LP built afresh gives the decisions and the duals of the basis again.
Bases follow one order of rows and columns: bare LP, revenue row, first tangent, then ``items`` as they came.
"""

from __future__ import annotations

import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from tritier.errors import CertificateError, InputError
from tritier.inputs.instance import Design, Instance
from tritier.model.chance import Block
from tritier.provenance import whole_file
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import AT_LOWER, AT_UPPER, BASIC, FREE, Basis, ParametricLP
from tritier.search.cuts import KINDS, Request, Row, deflated

TANGENTS = 2  # loss tangents that an LP begins with; incumbents have exact losses
Item = Block | np.ndarray  # a chance block, or the net loads (N, T, S) of a loss tangent


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


def key(item: Item) -> object:
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


def binding(joint: JointLP, basis: Basis, own: list[Item]) -> list[Item]:
    """Of the items ``own`` that the LP of a basis had, those that bind at its point: loss tangents with a
    tight row, and chance blocks with a tight tail row and a tight CVaR row, for a block whose CVaR row is loose has no
    dual. Without the others the basis is one still."""
    own = own[: items_in(joint, basis, own)]
    sizes = [item_size(joint, item) for item in own]
    first = [len(part) - sum(size[k] for size in sizes) for k, part in enumerate(basis)]
    kept = []
    for item, size in zip(own, sizes, strict=True):
        columns, rows = (part[a : a + n] for part, a, n in zip(basis, first, size, strict=True))
        tight = len(rows) - rows.count(BASIC)
        if isinstance(item, Block) and (rows[-1] == BASIC or tight == 1):
            tight -= columns.count(BASIC)  # as many leave with it
        if tight:
            kept.append(item)
        first = [a + n for a, n in zip(first, size, strict=True)]
    return kept


def few(items: list[Item]) -> list[Item]:
    """Items with no tangents but the last ones: what an LP begins with that has no basis of theirs to keep."""
    old = [k for k, item in enumerate(items) if not isinstance(item, Block)][:-TANGENTS]
    return [item for k, item in enumerate(items) if k not in old]


def items_in(joint: JointLP, basis: Basis, items: list[Item]) -> int:
    """How many of the pool's items the LP of a basis had."""
    rows = len(basis[1]) - (joint.lp.row_lower.size - sum(item_size(joint, item)[1] for item in items_of(joint)))
    count = 0
    while rows > 0:
        rows -= item_size(joint, items[count])[1]
        count += 1
    return count


def at_first_basis(joint: JointLP, pool: Pool) -> JointLP:
    """An LP without items, given those of a pool's first row and its basis to start from."""
    basis = pool.rows[0].basis
    extend(joint, pool.items[: items_in(joint, basis, pool.items)])
    joint.warm.set_basis(basis)
    return joint


def reorder(joint: JointLP, basis: Basis, own: list[Item], items: list[Item]) -> Basis:
    """A basis of an LP that held the first of the items ``own``, each once, for one with ``items``; those that are new
    do not bind."""
    own = own[: items_in(joint, basis, own)]
    sizes = [item_size(joint, item) for item in own]
    at = [len(part) - sum(size[k] for size in sizes) for k, part in enumerate(basis)]
    parts = [[part[:first]] for part, first in zip(basis, at, strict=True)]
    place: dict[object, Basis] = {}
    for item, size in zip(own, sizes, strict=True):
        (columns, rows), (a, b), (n, m) = basis, at, size
        place[key(item)] = columns[a : a + n], rows[b : b + m]
        at = [first + n for first, n in zip(at, size, strict=True)]
    for item in items:
        found = place[key(item)] if key(item) in place else idle(joint, item)
        for part, piece in zip(parts, found, strict=True):
            part.append(piece)
    return b"".join(parts[0]), b"".join(parts[1])


# Rows on disk: what a broken run goes on from, and what a proof is checked from.

FIGURES = ("dual", "follower_value", "social_cost", "recovered")
_TYPES = {"kind": "i8", "lines": "i8", "basis": "u1", "basis_size": "i8", "item_kind": "U16", "item_place": "i8"}
_TYPES |= dict.fromkeys(("epsilon", "prices", "limits", "limit_price", "need", "figures", "loads"), "f8")
SAVE_EVERY = 5.0  # s: work that a killed run loses at most, besides the solve it is in
LARGEST_PART = 10**8  # bytes of one part of a basis


def packed(pool: Pool) -> dict[str, np.ndarray]:
    """A pool as arrays, a row each; bases are bytes, deflated."""
    rows = pool.rows
    lines = next((tuple(line for line, _ in row.request.design.capacity) for row in rows), ())
    bases = [part for row in rows for part in row.deflated]

    def table(values: list) -> np.ndarray:
        return np.array(values, dtype=float).reshape(len(rows), -1 if rows else 0)

    return _packed_items(pool.items) | {
        "kind": np.array([KINDS.index(row.request.kind) for row in rows], dtype=int),
        "epsilon": np.array([row.request.epsilon for row in rows], dtype=float),
        "lines": np.array(lines, dtype=int),
        "prices": table([row.request.design.prices for row in rows]),
        "limits": table([[limit for _, limit in row.request.design.capacity] for row in rows]),
        "limit_price": table([row.price for row in rows]),
        "need": table([row.need for row in rows]),
        "figures": table([[getattr(row, name) for name in FIGURES] for row in rows]),
        "basis": np.frombuffer(b"".join(bases), dtype=np.uint8),
        "basis_size": np.array([len(part) for part in bases], dtype=int).reshape(-1, 2),
    }


def unpacked(arrays: dict[str, np.ndarray]) -> Pool:
    """The pool of :func:`packed`. Raises ValueError where a member has another type, or a figure is missing."""
    for name, kind in _TYPES.items():
        if arrays[name].dtype != np.dtype(kind):
            raise ValueError(f"{name} is of type {arrays[name].dtype}")
    lines = [int(line) for line in arrays["lines"]]
    ends = np.append(0, np.cumsum(arrays["basis_size"].ravel()))
    blob = arrays["basis"].tobytes()
    rows = []
    for k, kind in enumerate(arrays["kind"]):
        figures: dict[str, Any] = dict(zip(FIGURES, map(float, arrays["figures"][k]), strict=True))
        limits = [float(x) for x in arrays["limits"][k]]
        design = Design.of(arrays["prices"][k].tolist(), tuple(zip(lines, limits, strict=True)))
        first, middle, last = ends[2 * k : 2 * k + 3]
        basis = _inflated(blob[first:middle]), _inflated(blob[middle:last])
        request = Request(KINDS[int(kind)], design, float(arrays["epsilon"][k]))
        price, need = np.array(arrays["limit_price"][k], float), np.array(arrays["need"][k], float)
        if not np.isfinite([*design.prices, *limits, *price, *need, request.epsilon, figures["dual"]]).all():
            raise ValueError(f"row {k} holds a figure that is no number")
        rows.append(Row(request, price=price, need=need, basis=basis, **figures))
    return Pool(_unpacked_items(arrays), rows)


def save(path: Path, origin: str, pools: dict[str, Pool], arrays: dict[str, np.ndarray]) -> None:
    """Write pools by name, and further arrays, whole or not at all."""
    with whole_file(path) as part:
        members: dict[str, Any] = {"origin": np.array(origin)} | arrays | named(pools)
        np.savez(part, **members)


def beside(state: Path, name: str) -> Path:
    """The file of a piece of a search that has not ended, beside the search's state."""
    return state.with_name(f"{state.stem}.{name}{state.suffix}")


def pieces(state: Path) -> list[Path]:
    """The files of :func:`beside` that are there."""
    return sorted(state.parent.glob(f"{escape(state.stem)}.*{escape(state.suffix)}"))


class Unfinished:
    """A piece of a search that has not ended: the LP's items and basis, the best row and the figures found so far, kept
    now and then in a file beside the search's state. A killed run begins the piece from there: a start, of which
    nothing is believed, for what the piece ends with is solved and proved as ever.

    about: what the piece is to find; a file about something else is no start. A worker on a machine that does not have
    the state's folder keeps nothing.
    """

    def __init__(self, state: Path | None, name: str = "", origin: str = "", about: str = "") -> None:
        self.path = beside(state, name) if state is not None and state.parent.is_dir() else None
        self.origin, self.about = origin, about
        self.items: list[Item] = []
        self.basis: Basis | None = None
        self.best: Row | None = None
        self.figures: list[tuple[float, ...]] = []
        self._saved = time.perf_counter()
        if self.path is not None and self.path.is_file():
            with naming_state(self.path):
                self._read(read(self.path, origin))

    def _read(self, arrays: dict[str, np.ndarray]) -> None:
        if str(arrays["about"]) != self.about:
            return
        pool = pools_of(arrays)["piece"]
        columns, rows = (_inflated(arrays[name].tobytes()) for name in ("columns", "rows"))
        self.items, self.basis = pool.items, (columns, rows)
        self.figures = [tuple(row) for row in arrays["figures"].tolist()]
        if pool.rows:
            self.best = replace(pool.rows[0], load=arrays["load"])

    def begin(self, joint: JointLP) -> None:
        """Watch an LP that holds the items, and start it from the basis where there is one."""
        if self.basis is not None:
            joint.warm.set_basis(self.basis)
        joint.warm.solved = partial(self.keep, joint)

    def keep(self, joint: JointLP) -> None:
        """Write down how far an LP is, unless that has just been done."""
        if self.path is None or time.perf_counter() - self._saved < SAVE_EVERY:
            return
        columns, rows = (np.frombuffer(part, dtype=np.uint8) for part in deflated(joint.warm.basis()))
        best = [] if self.best is None else [self.best]
        load = np.empty(0) if self.best is None or self.best.load is None else self.best.load
        about = {"about": np.array(self.about), "figures": np.array(self.figures), "load": load}
        save(self.path, self.origin, {"piece": Pool(items_of(joint), best)}, about | {"columns": columns, "rows": rows})
        self._saved = time.perf_counter()


def named(pools: dict[str, Pool]) -> dict[str, np.ndarray]:
    """Pools as arrays of one file: ``name.member``."""
    return {f"{name}.{member}": value for name, pool in pools.items() for member, value in packed(pool).items()}


def pools_of(arrays: dict[str, np.ndarray]) -> dict[str, Pool]:
    """The pools of :func:`named`, by name."""
    members: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        if "." in key:
            name, member = key.split(".", 1)
            members.setdefault(name, {})[member] = value
    return {name: unpacked(own) for name, own in members.items()}


def read(path: Path, origin: str) -> dict[str, np.ndarray]:
    """The arrays of a broken run. Raises InputError where it is another's."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if str(arrays["origin"]) != origin:
        raise InputError(path, "origin", "is another study, preset or case", "give --restart to begin anew")
    return arrays


def fits(joint: JointLP, pool: Pool) -> bool:
    """Whether the bases of a pool are of no more columns and rows than its items make of an LP."""
    sizes = np.array([(joint.lp.cost.size, joint.lp.row_lower.size), *(item_size(joint, item) for item in pool.items)])
    return all(len(part) <= most for row in pool.rows for part, most in zip(row.basis, sizes.sum(axis=0), strict=True))


@contextmanager
def naming_state(path: Path) -> Iterator[None]:
    """One clear line, InputError, where a file is no state of a run, or holds rows that their bases do not prove."""
    damage = (OSError, ValueError, KeyError, IndexError, TypeError, StopIteration, EOFError)
    try:
        yield
    except InputError:
        raise
    except CertificateError as error:
        raise InputError(path, error.certificate, f"is not proved ({error})", "give --restart to begin anew") from error
    except (*damage, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(path, "file", "is no state of an interrupted run", "give --restart to begin anew") from error


def _inflated(part: bytes) -> bytes:
    """Statuses of a basis; refused where one is no status."""
    found = zlib.decompressobj().decompress(part, LARGEST_PART)
    if any(byte > FREE for byte in set(found)):
        raise ValueError("a basis holds a byte that is no status")
    return found


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
