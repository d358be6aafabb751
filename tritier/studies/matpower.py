"""MATPOWER case files of radial feeders, read as text: matrices, and the unit conversions that such files end with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.errors import InputError
from tritier.studies.grid import OMEGA, Grid, package, spanning_tree

Edges = list[tuple[int, int, int]]  # line, from bus, to bus

# Columns of MATPOWER's case format, version 2 (Zimmerman, Murillo-Sanchez and Thomas 2011).
BUS, TYPE, PD, QD, GS, BS, VM, BASE_KV, VMAX, VMIN = 0, 1, 2, 3, 4, 5, 7, 9, 11, 12
FROM, TO, R, X, B, RATE_A, TAP, STATUS = 0, 1, 2, 3, 4, 5, 8, 10
REFERENCE, ISOLATED = 3, 4
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?Inf|NaN"

# What radial cases do with their matrices after them, as regular expressions over a line without blanks.
OHMS = r"mpc\.branch\(:,\[BR_R,?BR_X\]\)=mpc\.branch\(:,\[BR_R,?BR_X\]\)/\(Vbase\^2/Sbase\);?"
KILOWATTS = r"mpc\.bus\(:,\[PD,?QD\]\)=mpc\.bus\(:,\[PD,?QD\]\)/1e3;?"
FACTOR = r"pf=(0?\.\d+|1);?"
REACTIVE = r"mpc\.bus\(:,QD\)=mpc\.bus\(:,PD\)\*sin\(acos\(pf\)\);?"
ACTIVE = r"mpc\.bus\(:,PD\)=mpc\.bus\(:,PD\)\*pf;?"


def from_matpower(path: Path, name: str, source: str, root: int | None = None, opened: Iterable[int] = ()) -> Grid:
    """The feeder below the reference bus of a MATPOWER case; lines count from 1 in the order of ``mpc.branch``.

    Raises InputError for a file that is no such case, a meshed or split network, transformers with taps, negative
    impedances, or code that the reader does not know.
    """
    text = "\n".join(line.split("%")[0] for line in _text(path).splitlines())
    base = _scalar(text, "baseMVA", source)
    bus, branch = _matrix(text, "bus", 13, source), _matrix(text, "branch", 11, source)
    bus, branch = _converted(text, bus, branch, base, source)
    return _grid(bus, branch, base, name, source, root, set(opened))


def case_path(name: str) -> Path:
    """The file of one of MATPOWER's own cases, as the package ``matpower`` carries them."""
    folder = Path(package("matpower", f"matpower:{name}").__file__).parent / "data"
    path = folder / f"{name}.m"
    if not path.is_file():
        near = ", ".join(sorted(p.stem for p in folder.glob(f"{name[:6]}*.m"))[:6])
        raise InputError("--from", f"matpower:{name}", "is no case of MATPOWER", f"use one of its names, as {near}")
    return path


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError("--from", str(path), "does not exist", "give the path of a MATPOWER .m file")
    if path.stat().st_size > 50_000_000:
        raise InputError("--from", str(path), "is larger than 50 MB", "give a feeder, not a country")
    return path.read_text(encoding="utf-8", errors="replace").replace("...\n", " ")


def _scalar(text: str, key: str, source: str) -> float:
    found = re.search(rf"mpc\.{key}\s*=\s*({NUMBER})\s*(?:/\s*({NUMBER}))?\s*;", text)
    if not found:
        raise InputError("--from", source, f"holds no mpc.{key}", "give a MATPOWER case of format version 2")
    return float(found.group(1)) / float(found.group(2) or 1)


def _matrix(text: str, key: str, columns: int, source: str) -> np.ndarray:
    found = re.search(rf"mpc\.{key}\s*=\s*\[(.*?)\]\s*;", text, re.S)
    if not found:
        raise InputError("--from", source, f"holds no mpc.{key}", "give a MATPOWER case of format version 2")
    rows = [r.split() for r in re.split(r"[;\n]", found.group(1).replace(",", " ")) if r.strip()]
    wide = [k for k, r in enumerate(rows) if len(r) < columns or len(r) != len(rows[0])]
    odd = [x for r in rows for x in r if not re.fullmatch(NUMBER, x)]
    if not rows or wide or odd:
        what = f"holds {odd[0]!r}" if odd else f"row {wide[0] + 1} is too short" if wide else "has no rows"
        raise InputError("--from", source, f"mpc.{key} {what}", f"give at least {columns} numbers a row")
    return np.array(rows, dtype=float)


def _converted(
    text: str, bus: np.ndarray, branch: np.ndarray, base: float, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the conversions written behind the matrices; refuse any other change of them."""
    bus, branch, factor = bus.copy(), branch.copy(), 1.0
    code = re.sub(r"mpc\.\w+\s*=\s*\[.*?\]\s*;", "", text, flags=re.S)
    for line in code.splitlines():
        short = re.sub(r"\s+(?![A-Z]{2})", "", line).replace(" ", ",").replace(",,", ",")
        if re.fullmatch(OHMS, short):
            branch[:, [R, X]] /= bus[0, BASE_KV] ** 2 / base
        elif re.fullmatch(KILOWATTS, short):
            bus[:, [PD, QD]] /= 1e3
        elif found := re.fullmatch(FACTOR, short):
            factor = float(found.group(1))
        elif re.fullmatch(REACTIVE, short):
            bus[:, QD] = bus[:, PD] * np.sin(np.arccos(factor))
        elif re.fullmatch(ACTIVE, short):
            bus[:, PD] *= factor
        elif re.match(r"mpc\.(bus|branch)\b", short):
            raise InputError(
                "--from", source, f"changes its matrices by {line.strip()!r}", "write the matrices in MW and p.u."
            )
    return bus, branch


def _grid(
    bus: np.ndarray, branch: np.ndarray, base: float, name: str, source: str, root: int | None, opened: set[int]
) -> Grid:
    unknown = [k for k in opened if not 1 <= k <= len(branch)]
    if unknown:
        raise InputError("--open", str(unknown[0]), f"is no line of {source}", "lines count from 1")
    on = (branch[:, STATUS] > 0) & ~np.isin(np.arange(1, len(branch) + 1), list(opened))
    slack = bus[bus[:, TYPE] == REFERENCE, BUS] if root is None else bus[bus[:, BUS] == root, BUS]
    if slack.size != 1:
        what = "has no slack bus" if root is None and not slack.size else f"names {slack.size} buses to start from"
        raise InputError("--from", source, what, "give one bus of type 3, or --root BUS")
    edges = [(int(k) + 1, int(branch[k, FROM]), int(branch[k, TO])) for k in np.flatnonzero(on)]
    fed = spanning_tree(source, edges, int(slack[0]))
    left = [int(b[BUS]) for b in bus if int(b[BUS]) not in fed and b[TYPE] != ISOLATED]
    if left and root is None:
        raise InputError("--from", source, f"leaves bus {left[0]} without supply", "close a line to it")
    return Grid(
        name=name,
        source=source,
        licence="MATPOWER case data; cite the source named in the case file",
        bus=_bus_table(bus, fed, int(slack[0])),
        branch=_branch_table(bus, branch, edges, base, source),
    )


def _bus_table(bus: np.ndarray, fed: set[int], slack: int) -> pd.DataFrame:
    own = bus[[int(b) in fed for b in bus[:, BUS]]]
    own = own[np.argsort(own[:, BUS] != slack, kind="stable")]
    at = own[:, BUS] == slack
    held = float(own[at, VM][0])
    return pd.DataFrame(
        {
            "bus": own[:, BUS].astype(int),
            "type": np.where(at, "slack", "pq"),
            "p_kw": 1e3 * own[:, PD],
            "q_kvar": 1e3 * own[:, QD],
            "vn_kv": own[:, BASE_KV],
            "vmin_pu": np.where(at, held, own[:, VMIN]),
            "vmax_pu": np.where(at, held, own[:, VMAX]),
        }
    )


def _branch_table(bus: np.ndarray, branch: np.ndarray, edges: Edges, base: float, source: str) -> pd.DataFrame:
    rows = branch[[k - 1 for k, _, _ in edges]]
    taps = (rows[:, TAP] != 0) & (rows[:, TAP] != 1)
    if taps.any():
        line = edges[int(np.flatnonzero(taps)[0])][0]
        raise InputError("--from", source, f"line {line} is a transformer with a tap", "start below it: --root BUS")
    if (rows[:, [R, X]] < 0).any():
        line = edges[int(np.flatnonzero((rows[:, [R, X]] < 0).any(axis=1))[0])][0]
        raise InputError("--from", source, f"line {line} has a negative impedance", "mend r and x of mpc.branch")
    vn = float(bus[0, BASE_KV])
    ohm = vn**2 / base
    rated = rows[:, RATE_A] > 0
    return pd.DataFrame(
        {
            "line": [k for k, _, _ in edges],
            "from_bus": [a for _, a, _ in edges],
            "to_bus": [b for _, _, b in edges],
            "r_ohm": rows[:, R] * ohm,
            "x_ohm": rows[:, X] * ohm,
            "c_nf": 1e9 * rows[:, B] / ohm / OMEGA,
            "closed": 1,
            "rating_a": np.where(rated, 1e3 * rows[:, RATE_A] / (np.sqrt(3) * vn), np.nan),
        }
    )
