"""Linear bilevel problems in JSON files: read, validate, solve.

Format: ``nx``, ``ny``, ``bounds`` (pairs, null is infinite), ``F_c``, ``F_const``, ``f_c``, ``f_const``,
``upper_rows``, ``lower_rows`` (objects with ``a``, ``sense`` "<=", ">=" or "=", ``b``), optional ``var_names``,
``sense`` ("min"), ``name``, ``integer`` (positions of integer leader variables), ``menu`` (position -> values) and
``Q`` (nx rows of ny numbers). Rows act on [x, y].
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from tritier.errors import InputError
from tritier.reformulation.bilevel import INF, LinearBilevel, linear_bilevel
from tritier.reformulation.solve import solve


def read_bilevel(path: str | Path) -> LinearBilevel:
    """The problem in a JSON file. Raises :class:`~tritier.errors.InputError` naming file, field and mend."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, "file", error.strerror or "cannot be read", "give a readable JSON file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, "file", f"not JSON ({error})", "mend the syntax") from None
    if not isinstance(data, dict):
        raise InputError(path, "file", "not an object", "put the problem in { }")
    return bilevel_from_dict(data, path)


def bilevel_from_dict(data: dict, source: str | Path = "problem") -> LinearBilevel:
    """The problem in a dictionary of the file format; ``source`` is named in errors."""
    if "levels" in data:
        raise InputError(
            source, "levels", "a problem with more than two levels", "use tritier.reformulation.trilevel.read_trilevel"
        )
    if data.get("sense", "min") != "min":
        raise InputError(source, "sense", f"{data['sense']!r}", 'use "min" and change the signs of F_c')
    nx, ny = _count(data, "nx", source), _count(data, "ny", source)
    n = nx + ny
    if n == 0:
        raise InputError(source, "nx, ny", "no variables", "give at least one variable")
    names = data.get("var_names") or [*(f"x[{j + 1}]" for j in range(nx)), *(f"y[{j + 1}]" for j in range(ny))]
    if not isinstance(names, list) or len(names) != n or len(set(map(str, names))) != n:
        raise InputError(source, "var_names", f"not {n} different names", f"give {n} names, leader's first")
    names = [str(v) for v in names]
    bounds = _bounds(data.get("bounds"), n, source)
    integer = data.get("integer", [])
    if not isinstance(integer, list) or any(not _whole(j) or not 0 <= j < nx for j in integer):
        raise InputError(source, "integer", f"{integer!r}", f"list positions of leader variables, 0 to {nx - 1}")
    return linear_bilevel(
        _numbers(data, "F_c", n, source), _numbers(data, "f_c", n, source), nx,
        F0=_number(data.get("F_const", 0.0), "F_const", source),
        f0=_number(data.get("f_const", 0.0), "f_const", source), Q=_matrix(data, nx, ny, source),
        upper=_rows(data, "upper_rows", n, source), lower=_rows(data, "lower_rows", n, source),
        x_bounds=bounds[:nx], y_bounds=bounds[nx:], integer=integer, menu=_menu(data.get("menu", {}), nx, source),
        x_name=names[:nx], y_name=names[nx:], name=str(data.get("name", source)),
    )  # fmt: skip


def solve_file(path: str | Path, mode: str, time_limit: float = 600.0) -> dict:
    """Solve the problem in a file: ``status``, ``objective``, ``point`` (name -> value), ``residuals`` and the rest.

    Infinite and missing figures are None, so that the dictionary is valid JSON.
    """
    problem = read_bilevel(path)
    found = solve(problem, mode, time_limit=time_limit)
    names = (*problem.x_name, *problem.y_name)
    values = np.concatenate([found.x, found.y])
    return {
        "name": problem.name,
        "mode": mode,
        "status": found.status,
        "objective": found.objective,
        "follower_objective": found.follower_objective,
        "point": dict(zip(names, values.tolist(), strict=True)) if values.size else None,
        "residuals": found.residuals,
        "bound": found.bound if found.bound is not None and math.isfinite(found.bound) else None,
        "proof": found.proof,
        "nodes": found.nodes,
        "seconds": found.seconds,
    }


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(data: dict, key: str, source) -> int:
    value = data.get(key)
    if not _whole(value) or value < 0:
        raise InputError(source, key, "missing" if value is None else f"{value!r}", "give a whole number, 0 or more")
    return value


def _number(value: object, key: str, source) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(source, key, f"{value!r} is not a finite number", "give a number")
    return float(value)


def _numbers(data: dict, key: str, size: int, source, field: str | None = None) -> list[float]:
    values = data.get(key)
    if not isinstance(values, list) or len(values) != size:
        count = f"{len(values)} entries" if isinstance(values, list) else "missing" if values is None else "not a list"
        raise InputError(source, field or key, count, f"give {size} numbers")
    return [_number(v, field or key, source) for v in values]


def _bounds(pairs: object, n: int, source) -> list[tuple[float, float]]:
    if not isinstance(pairs, list) or len(pairs) != n:
        raise InputError(source, "bounds", f"not {n} pairs", f"give {n} pairs [lower, upper], null where infinite")
    out = []
    for j, pair in enumerate(pairs):
        field = f"bounds[{j}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(source, field, f"{pair!r}", "give [lower, upper], null where infinite")
        low = -INF if pair[0] is None else _number(pair[0], field, source)
        high = INF if pair[1] is None else _number(pair[1], field, source)
        if low > high:
            raise InputError(source, field, f"lower {low:g} above upper {high:g}", "swap them")
        out.append((low, high))
    return out


def _rows(data: dict, key: str, n: int, source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = data.get(key, [])
    if not isinstance(rows, list):
        raise InputError(source, key, "not a list", "give a list of rows")
    matrix, low, high = np.zeros((len(rows), n)), np.full(len(rows), -INF), np.full(len(rows), INF)
    for k, row in enumerate(rows):
        field = f"{key}[{k}]"
        if not isinstance(row, dict):
            raise InputError(source, field, f"{row!r}", 'give {"a": [...], "sense": "<=", "b": number}')
        matrix[k] = _numbers(row, "a", n, source, f"{field}.a")
        side, sense = _number(row.get("b"), f"{field}.b", source), row.get("sense")
        if sense not in ("<=", ">=", "=", "=="):
            raise InputError(source, f"{field}.sense", f"{sense!r}", 'use "<=", ">=" or "="')
        low[k] = side if sense != "<=" else -INF
        high[k] = side if sense != ">=" else INF
    return matrix, low, high


def _matrix(data: dict, nx: int, ny: int, source) -> np.ndarray | None:
    if "Q" not in data:
        return None
    if not isinstance(data["Q"], list) or len(data["Q"]) != nx:
        raise InputError(source, "Q", f"not {nx} rows", f"give {nx} rows of {ny} numbers")
    return np.array([_numbers({"Q": row}, "Q", ny, source, f"Q[{j}]") for j, row in enumerate(data["Q"])]).reshape(
        nx, ny
    )


def _menu(menu: object, nx: int, source) -> dict[int, list[float]]:
    if not isinstance(menu, dict):
        raise InputError(source, "menu", "not an object", 'give {"position": [values]}')
    out = {}
    for key, values in menu.items():
        if not str(key).isdigit() or int(key) >= nx:
            raise InputError(source, f"menu.{key}", "not a leader variable", f"use positions 0 to {nx - 1}")
        if not isinstance(values, list) or not values:
            raise InputError(source, f"menu.{key}", "no values", "list at least one value")
        out[int(key)] = [_number(v, f"menu.{key}", source) for v in values]
    return out
