"""Linear bilevel problems as an MPS file of all rows and columns beside an AUX file that says which are the follower's.

The AUX file is read in both dialects of MibS, which BOBILib and idol share: by names, with keywords such as
``@VARSBEGIN``, or by lines ``N``, ``M``, ``LC``, ``LR``, ``LO``, ``OS`` with names or positions from 0. Bounds of the
follower's columns are constraints of the follower. MPS is read in free format: names hold no blanks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import sparse

from tritier.errors import InputError
from tritier.inputs.documents import MAX_BYTES, read_text
from tritier.provenance import write_text
from tritier.reformulation.bilevel import INF, LARGEST, LinearBilevel, linear_bilevel

Lines = list[tuple[int, list[str], bool]]  # number, words and whether at the start of the line
Aux = tuple[list[str], list[str], list[float], list[float | None]]  # columns, rows, costs, counts announced

MISSING = "give a readable MPS file and its AUX file"
NUMBERS = {"LO", "UP", "FX", "LI", "UI"}  # kinds of bounds that carry a number
BOUNDS = NUMBERS | {"FR", "MI", "PL", "BV"}
SECTIONS = ("NAME", "OBJSENSE", "ROWS", "COLUMNS", "RHS", "RANGES", "BOUNDS", "ENDATA")


@dataclass
class Mps:
    """What an MPS file holds: sense of each row, entries by (row, column), sides, ranges and bounds by name."""

    file: Path
    name: str = ""
    cost: str = ""  # the first N row
    sense: dict[str, str] = field(default_factory=dict)  # of each row but the N rows, in order
    free: set[str] = field(default_factory=set)  # N rows after the first
    columns: dict[str, bool] = field(default_factory=dict)  # whether integer, in order
    entries: dict[tuple[str, str], float] = field(default_factory=dict)
    rhs: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, float] = field(default_factory=dict)
    bounds: dict[str, list[float]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)  # the name of the set of sides, ranges or bounds, by section
    section: str = ""
    integer: bool = False  # whether between INTORG and INTEND

    def refuse(self, line: int, problem: str, mend: str) -> InputError:
        return InputError(self.file, f"line {line}", problem, mend)


def read_mps(mps: str | Path, aux: str | Path) -> LinearBilevel:
    """The problem in a pair of files. Raises InputError naming file, line or name, and mend.

    Both levels minimise; an AUX file by lines whose sense is -1 has its follower's cost turned. Constants of the
    follower's cost cannot be told in these files.
    """
    whole = _mps(Path(mps))
    columns, rows, cost = _aux(Path(aux), whole)
    lower = set(columns)
    whole_numbers = [name for name in columns if whole.columns[name]]
    if whole_numbers:
        raise InputError(
            mps, whole_numbers[0], "an integer variable of the follower: only followers that are linear programs have "
            "the optimality conditions that are solved here", "relax it, or use a solver of mixed-integer followers",
        )  # fmt: skip
    order = [*(c for c in whole.columns if c not in lower), *columns]
    at = {name: j for j, name in enumerate(order)}
    nx = len(order) - len(columns)
    F, f = np.zeros(len(order)), np.zeros(len(order))
    f[nx:] = cost
    table = {r: k for k, r in enumerate(whole.sense)}
    inside = [(table[row], at[column], v) for (row, column), v in whole.entries.items() if row in table]
    place, column, value = np.array(inside, dtype=float).reshape(-1, 3).T
    matrix = sparse.csr_array((value, (place.astype(int), column.astype(int))), shape=(len(table), len(order)))
    for (row, name), cost_there in whole.entries.items():
        if row == whole.cost:
            F[at[name]] = cost_there
    sides = np.array([_sides(whole, r) for r in table]).reshape(-1, 2)
    own = np.array([r in set(rows) for r in table], dtype=bool)
    bounds = [(low, high) for low, high in (whole.bounds.get(c, [0.0, INF]) for c in order)]
    names = list(table)
    return linear_bilevel(
        F, f, nx, F0=-whole.rhs.get(whole.cost, 0.0), name=whole.name or str(mps),
        upper=(matrix[~own], *sides[~own].T), lower=(matrix[own], *sides[own].T),
        x_bounds=bounds[:nx], y_bounds=bounds[nx:], integer=[j for j, c in enumerate(order[:nx]) if whole.columns[c]],
        x_name=order[:nx], y_name=order[nx:], U_name=[names[k] for k in np.flatnonzero(~own)],
        row_name=[names[k] for k in np.flatnonzero(own)],
    )  # fmt: skip


def _sides(whole: Mps, row: str) -> tuple[float, float]:
    """Lower and upper side of a row from its sense, right-hand side and range."""
    b, sense, width = whole.rhs.get(row, 0.0), whole.sense[row], whole.ranges.get(row)
    if sense == "E":
        return (b, b) if width is None else (min(b, b + width), max(b, b + width))
    span = INF if width is None else abs(width)
    return (b - span, b) if sense == "L" else (b, b + span)


def _lines(path: Path) -> Iterator[tuple[int, list[str], bool]]:
    """Number, words and whether at the start of its line, of each line that is neither empty nor a comment."""
    text = read_text(path, MISSING, 10 * MAX_BYTES)
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("*"):
            yield number, line.split(), not line[0].isspace()


def _mps(path: Path) -> Mps:
    found = Mps(path)
    parse = {"OBJSENSE": _sense, "ROWS": _row, "COLUMNS": _column, "RHS": _value, "RANGES": _value, "BOUNDS": _bound}
    for number, words, heads in _lines(path):
        if heads and words[0].upper() in SECTIONS:
            found.section = words[0].upper()
            if found.section == "NAME":
                found.name = " ".join(words[1:])[:200]
            elif len(words) > 1 and found.section == "OBJSENSE":
                _sense(found, number, words[1:])
            elif len(words) > 1:
                mend = "begin the line of a section with its name alone, and a line of data with a blank"
                raise found.refuse(number, f"{' '.join(words)!r} is neither", mend)
        elif found.section not in parse:
            raise found.refuse(number, f"{words[0]!r} stands in no section", f"begin with one of {', '.join(SECTIONS)}")
        else:
            parse[found.section](found, number, words)
    if found.section != "ENDATA":
        raise InputError(path, "file", "has no ENDATA", "give the whole file")
    if not found.columns:
        raise InputError(path, "COLUMNS", "has no variables", "give at least one variable")
    for column, integer in found.columns.items():
        if integer and column not in found.bounds:
            mend = "give it a line in BOUNDS: readers differ on integers without bounds"
            raise InputError(path, column, "an integer variable without bounds", mend)
        low, high = found.bounds.get(column, (0.0, INF))
        if low > high:
            raise InputError(path, column, f"lower bound {low:g} above upper bound {high:g}", "give both bounds")
    return found


def _sense(found: Mps, line: int, words: list[str]) -> None:
    if words[0].upper() not in ("MIN", "MINIMIZE", "MINIMISE"):
        raise found.refuse(line, f"{' '.join(words)!r}", "write OBJSENSE MIN and change the signs of the costs")


def _row(found: Mps, line: int, words: list[str]) -> None:
    if len(words) != 2 or words[0].upper() not in ("N", "L", "G", "E"):
        raise found.refuse(line, f"{' '.join(words)!r} is no row", "give N, L, G or E and a name without blanks")
    kind, name = words[0].upper(), words[1]
    if name in found.sense or name in found.free or name == found.cost:
        raise found.refuse(line, f"row {name} stands twice", "give each row a name of its own")
    if kind != "N":
        found.sense[name] = kind
    elif found.cost:
        found.free.add(name)
    else:
        found.cost = name


def _column(found: Mps, line: int, words: list[str]) -> None:
    if len(words) == 3 and words[1].upper() == "'MARKER'":
        found.integer = words[2].strip("'").upper() == "INTORG"
        return
    name = words[0]
    for row, value in _pairs(found, line, words):
        if (row, name) in found.entries:
            raise found.refuse(line, f"the entry of {name} in {row} stands twice", "keep one of them")
        found.entries[row, name] = value
    found.columns.setdefault(name, found.integer)


def _value(found: Mps, line: int, words: list[str]) -> None:
    into = found.rhs if found.section == "RHS" else found.ranges
    named = words if len(words) % 2 else ["", *words]
    _one_set(found, line, named[0])
    for row, value in _pairs(found, line, named):
        if row in into:
            raise found.refuse(line, f"{found.section} of {row} stands twice", "keep one of them")
        into[row] = value


def _one_set(found: Mps, line: int, name: str) -> None:
    """Refuse a second named set of sides, ranges or bounds: readers take the first, or mix them."""
    if name and found.sets.setdefault(found.section, name) != name:
        raise found.refuse(line, f"{name} is a second set of {found.section}", "keep one of them")


def _pairs(found: Mps, line: int, words: list[str]) -> list[tuple[str, float]]:
    """(row, number) of a line whose first word is a name; rows that are not there are refused."""
    if len(words) not in (3, 5):
        raise found.refuse(line, f"{len(words)} words", "give a name and one or two pairs of row and number")
    pairs = list(zip(words[1::2], words[2::2], strict=True))
    for row, _ in pairs:
        if row not in found.sense and row not in found.free and row != found.cost:
            raise found.refuse(line, f"unknown row {row}", "name a row of ROWS")
    return [(row, _number(found.file, f"line {line}", text)) for row, text in pairs]


def _bound(found: Mps, line: int, words: list[str]) -> None:
    kind = words[0].upper()
    need = 4 if kind in NUMBERS else 3
    if kind not in BOUNDS or len(words) not in (need - 1, need):
        raise found.refuse(line, f"{' '.join(words)!r} is no bound", f"give one of {', '.join(sorted(BOUNDS))}")
    name = words[-2] if kind in NUMBERS else words[2] if len(words) == 3 else words[1]
    _one_set(found, line, words[1] if len(words) == need else "")
    if name not in found.columns:
        raise found.refuse(line, f"unknown variable {name}", "name a variable of COLUMNS")
    low, high = found.bounds.get(name, [0.0, INF])
    value = _number(found.file, f"line {line}", words[-1]) if kind in NUMBERS else 0.0
    changed = {
        "LO": [value, high], "LI": [value, high], "UP": [low, value], "UI": [low, value], "FX": [value, value],
        "FR": [-INF, INF], "MI": [-INF, high], "PL": [low, INF], "BV": [0.0, 1.0],
    }  # fmt: skip
    found.bounds[name] = changed[kind]
    if kind in ("BV", "LI", "UI"):
        found.columns[name] = True


def _number(file: Path, place: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isinf(value) or LARGEST <= abs(value) <= 1e30:
        raise InputError(file, place, f"{text} is too large", f"stay below {LARGEST:g}; leave out infinite sides")
    if not abs(value) < LARGEST:
        raise InputError(file, place, f"{text!r} is no number", "give a finite number")
    return value


def _aux(path: Path, whole: Mps) -> tuple[list[str], list[str], list[float]]:
    """The follower's columns, rows and costs, as names of the MPS file and numbers."""
    lines = list(_lines(path))
    if not lines:
        raise InputError(path, "file", "is empty", MISSING)
    named = lines[0][1][0].startswith("@")
    columns, rows, cost, counts = _aux_by_names(path, lines) if named else _aux_by_lines(path, lines, whole)
    for word, found, known in (("variable", columns, whole.columns), ("row", rows, whole.sense)):
        for name in found:
            if name not in known:
                raise InputError(path, name, f"is no {word} of {whole.file.name}", f"name a {word} that stands there")
            if found.count(name) > 1:
                raise InputError(path, name, "stands twice", f"name each {word} once")
    for word, expected, found in zip(("variables", "rows"), counts, (columns, rows), strict=True):
        if expected is not None and expected != len(found):
            raise InputError(
                path, word, f"{expected:g} are announced, {len(found)} listed", "mend the count or the list"
            )
    if len(cost) != len(columns):
        raise InputError(path, "costs", f"{len(cost)} for {len(columns)} variables", "give each variable a cost")
    return columns, rows, cost


def _aux_by_names(path: Path, lines: Lines) -> Aux:
    columns: list[str] = []
    rows: list[str] = []
    cost: list[float] = []
    counts: list[float | None] = [None, None]
    key = ""
    for number, words, _ in lines:
        if words[0].startswith("@"):
            key = words[0].upper()
            if key in ("@VARSEND", "@CONSTREND", "@CONSTRSEND"):
                key = ""
        elif key == "@VARSBEGIN":
            if len(words) != 2:
                raise InputError(path, f"line {number}", f"{len(words)} words", "give a variable and its cost")
            columns.append(words[0])
            cost.append(_number(path, f"line {number}", words[1]))
        elif key in ("@CONSTRBEGIN", "@CONSTRSBEGIN"):
            if len(words) != 1:
                raise InputError(path, f"line {number}", f"{len(words)} words", "give one row")
            rows.append(words[0])
        elif key in ("@NUMVARS", "@NUMCONSTR", "@NUMCONSTRS"):
            counts[key != "@NUMVARS"] = _number(path, f"line {number}", words[0])
        elif key == "@OBJSENSE" and words[0].upper() != "MIN":
            raise InputError(path, f"line {number}", f"sense {words[0]!r}", "minimise: change the signs of the costs")
        elif key not in ("@NAME", "@MPS", "@LP", "@OBJSENSE"):
            raise InputError(path, f"line {number}", f"{words[0]!r} stands in no section", "begin with @VARSBEGIN")
    return columns, rows, cost, counts


def _aux_by_lines(path: Path, lines: Lines, whole: Mps) -> Aux:
    columns: list[str] = []
    rows: list[str] = []
    cost: list[float] = []
    counts: list[float | None] = [None, None]
    sign = 1.0
    for number, words, _ in lines:
        kind, place = words[0].upper(), f"line {number}"
        if len(words) != 2 or kind not in ("N", "M", "LC", "LR", "LO", "OS"):
            raise InputError(path, place, f"{' '.join(words)!r}", "give N, M, LC, LR, LO or OS and a value")
        if kind in ("LC", "LR"):
            names = list(whole.columns if kind == "LC" else whole.sense)
            position = int(words[1]) if words[1].isdecimal() else len(names)
            name = names[position] if position < len(names) else words[1]
            if words[1] in names and name != words[1]:
                raise InputError(path, place, f"{words[1]} is a name and a position", "give names that are no numbers")
            (columns if kind == "LC" else rows).append(name)
            continue
        value = _number(path, place, words[1])
        if kind == "LO":
            cost.append(value)
        elif kind == "OS":
            if abs(value) != 1.0:
                raise InputError(path, place, f"sense {words[1]}", "give 1 to minimise, -1 to maximise")
            sign = value
        else:
            counts[kind == "M"] = value
    return columns, rows, [sign * v for v in cost], counts


def write_mps(problem: LinearBilevel, mps: str | Path, aux: str | Path, dialect: str = "names") -> None:
    """Write a problem as a pair of files, the AUX file by ``names`` or by ``lines`` of positions.

    Constants of the follower's cost, which decide nothing, are left out, and so are rows without sides. Raises
    InputError where prices set by the leader or menus cannot be told in these files.
    """
    if problem.Q.nnz:
        raise InputError(mps, "Q", "prices set by the leader have no place in MPS and AUX", "write JSON")
    if any(m is not None for m in problem.menu):
        raise InputError(mps, "menu", "a menu has no place in MPS and AUX", "write JSON, or give it binaries")
    if dialect not in ("names", "lines"):
        raise InputError(aux, "dialect", f"{dialect!r} is unknown", "use names or lines")
    columns = _plain_names((*problem.x_name, *problem.y_name), "C")
    rows = _plain_names((*problem.U_name, *problem.row_name), "R")
    low = np.concatenate([problem.U_lower, problem.row_lower])
    high = np.concatenate([problem.U_upper, problem.row_upper])
    told = np.isfinite(low) | np.isfinite(high)
    matrix = sparse.csc_array(sparse.vstack([problem.U, problem.A], format="csr")[told])
    rows, low, high = [r for r, keep in zip(rows, told, strict=True) if keep], low[told], high[told]
    lines = [f"NAME {problem.name.replace(chr(10), ' ')}", "ROWS", " N COST"]
    kinds = np.where(low == high, "E", np.where(np.isfinite(high), "L", "G"))
    lines += [f" {kind} {row}" for kind, row in zip(kinds, rows, strict=True)]
    lines += ["COLUMNS", *_columns(problem, columns, rows, matrix), "RHS"]
    lines += [f" RHS COST {-problem.F0!r}"] if problem.F0 else []
    side = np.where(kinds == "G", low, high)
    lines += [f" RHS {row} {float(b)!r}" for row, b in zip(rows, side, strict=True) if b]
    both = np.isfinite(low) & np.isfinite(high) & (low < high)
    lines += ["RANGES", *(f" RNG {rows[k]} {float(high[k] - low[k])!r}" for k in np.flatnonzero(both))]
    lines += ["BOUNDS", *_bounds(problem, columns), "ENDATA"]
    own = rows[int(told[: problem.U_lower.size].sum()) :]
    cost = problem.f[problem.nx :].tolist()
    write_text(Path(mps), "\n".join(lines) + "\n")
    write_text(Path(aux), "\n".join(_aux_lines(problem, columns, rows, own, cost, dialect)) + "\n")


def _columns(problem: LinearBilevel, columns: list[str], rows: list[str], matrix: sparse.csc_array) -> list[str]:
    lines, integer = [], np.append(problem.integer, np.zeros(problem.ny, dtype=bool))
    for j, name in enumerate(columns):
        if integer[j]:
            lines.append(" INT 'MARKER' 'INTORG'")
        lines.append(f" {name} COST {float(problem.F[j])!r}")
        span = slice(matrix.indptr[j], matrix.indptr[j + 1])
        entries = zip(matrix.indices[span], matrix.data[span].tolist(), strict=True)
        lines += [f" {name} {rows[i]} {value!r}" for i, value in entries if value]
        if integer[j]:
            lines.append(" INT 'MARKER' 'INTEND'")
    return lines


def _bounds(problem: LinearBilevel, columns: list[str]) -> list[str]:
    lines = []
    low, high = np.append(problem.x_lower, problem.y_lower), np.append(problem.x_upper, problem.y_upper)
    for name, a, b in zip(columns, low.tolist(), high.tolist(), strict=True):
        lines.append(f" MI BND {name}" if math.isinf(a) else f" LO BND {name} {a!r}")
        lines.append(f" PL BND {name}" if math.isinf(b) else f" UP BND {name} {b!r}")
    return lines


def _aux_lines(
    problem: LinearBilevel,
    columns: list[str],
    rows: list[str],
    own: list[str],
    cost: list[float],
    dialect: str,
) -> list[str]:
    follower = columns[problem.nx :]
    if dialect == "lines":
        lines = [f"N {len(follower)}", f"M {len(own)}", *(f"LC {problem.nx + j}" for j in range(len(follower)))]
        lines += [f"LR {len(rows) - len(own) + k}" for k in range(len(own))]
        return [*lines, *(f"LO {v!r}" for v in cost), "OS 1"]
    pairs = (f"{name} {v!r}" for name, v in zip(follower, cost, strict=True))
    return [
        "@NUMVARS", f"{len(follower)}", "@NUMCONSTRS", f"{len(own)}", "@VARSBEGIN", *pairs, "@VARSEND",
        "@CONSTRSBEGIN", *own, "@CONSTRSEND",
    ]  # fmt: skip


def _plain_names(names: tuple[str, ...], letter: str) -> list[str]:
    """Names without blanks; where two would be one or one reads as a position, positions from 0 after a letter."""
    plain = ["_".join(name.split()) for name in names]
    if len({*plain, "COST"}) == len(plain) + 1 and all(plain) and not any(p[0] in "@*" or p.isdecimal() for p in plain):
        return plain
    return [f"{letter}{j}" for j in range(len(names))]
