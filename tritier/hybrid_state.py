"""Rows on disk: what a broken run goes on from, and what a proof is checked from."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tritier.chance import Block
from tritier.cuts import Answer, Cut
from tritier.errors import InputError
from tritier.hybrid_pool import KINDS, Item, Pool, Request, Row
from tritier.instance import Design

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
