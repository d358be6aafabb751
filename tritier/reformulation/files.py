"""Linear bilevel and three-level problems in JSON files: their models, reading, solving.

`BilevelFile` and `TrilevelFile` say what a file holds. Rows act on [x, y]; three-level problems name their variables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from scipy import sparse

from tritier.errors import InputError
from tritier.inputs.documents import Name, Section, as_whole, key, plain, read_json, validated
from tritier.provenance import write_text
from tritier.reformulation.bilevel import INF, LARGEST, LinearBilevel, linear_bilevel
from tritier.reformulation.mps import read_mps
from tritier.reformulation.solve import solve
from tritier.reformulation.trilevel import LinearTrilevel

MAX_VARIABLES = 100_000


Coefficient = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Bound = Coefficient | None
Count = Annotated[int, Field(ge=0, le=MAX_VARIABLES)]
Position = Annotated[int, BeforeValidator(as_whole), Field(ge=0)]


class ProblemFile(Section):
    """What files of problems say about themselves."""

    name: Annotated[str, Field(max_length=200), AfterValidator(plain)] = key("name of the problem", default="")
    source: Any = key("where the problem is from, not read", default=None)
    licence: Any = key("licence of the file, not read", default=None)
    comment: Any = key("remarks, not read", default=None)
    claimed: Any = key("what its source says of the optimum, not read", default=None)
    optimum: Any = key("known optimum, not read", default=None)
    optimum_provenance: Any = key("where the known optimum is from, not read", default=None)
    optimum_F: Any = key("known optimum of the leader, not read", default=None)
    optimum_f: Any = key("known optimum of the follower, not read", default=None)
    point: Any = key("known optimal point, not read", default=None)


class RowEntry(Section):
    """A row on [x, y]."""

    a: list[Coefficient] = key("nx + ny coefficients")
    sense: Literal["<=", ">=", "=", "=="] = key("sense of the row")
    b: Coefficient = key("right-hand side")


class BilevelFile(ProblemFile):
    """A linear bilevel problem: min F_c.[x, y] over x, where y solves min f_c.[x, y]."""

    nx: Count = key("number of the leader's variables")
    ny: Count = key("number of the follower's variables")
    var_names: list[Name] | None = key("names, the leader's first", default=None, note="x[1], ..., y[1], ...")
    sense: Literal["min"] = key("both levels minimise; change the signs of costs to maximise", default="min")
    bounds: list[Annotated[list[Bound], Field(min_length=2, max_length=2)]] = key(
        "nx + ny pairs [lower, upper], null where infinite"
    )
    F_c: list[Coefficient] = key("nx + ny costs of the leader")
    F_const: Coefficient = key("constant of the leader's cost", default=0.0)
    f_c: list[Coefficient] = key("nx + ny costs of the follower")
    f_const: Coefficient = key("constant of the follower's cost", default=0.0)
    Q: list[list[Coefficient]] | None = key("nx rows of ny numbers: x.Q.y in the follower's cost", default=None)
    upper_rows: list[RowEntry] = key("rows of the leader", default=[])
    lower_rows: list[RowEntry] = key("rows of the follower", default=[])
    integer: list[Position] = key("positions of the leader's integer variables", default=[])
    menu: dict[Position, Annotated[list[Coefficient], Field(min_length=1)]] = key(
        "values allowed, by position of the leader's variable", default={}
    )

    @field_validator("ny")
    @classmethod
    def some_variable(cls, ny: int, info: ValidationInfo) -> int:
        if ny == 0 and info.data.get("nx") == 0:
            raise ValueError("there are no variables; give at least one")
        return ny

    @field_validator("var_names", "bounds", "F_c", "f_c")
    @classmethod
    def one_each(cls, values: list | None, info: ValidationInfo) -> list | None:
        n = info.data.get("nx", 0) + info.data.get("ny", 0)
        if values is not None and len({"nx", "ny"} & set(info.data)) == 2 and len(values) != n:
            raise ValueError(f"has {len(values)} entries; give {n}, one a variable, the leader's first")
        if info.field_name == "var_names" and values is not None and len(set(values)) < n:
            raise ValueError("names a variable twice; give different names")
        return values

    @field_validator("bounds")
    @classmethod
    def in_order(cls, pairs: list[list[float | None]]) -> list[list[float | None]]:
        for j, (low, high) in enumerate(pairs):
            if low is not None and high is not None and low > high:
                raise ValueError(f"lower {low:g} above upper {high:g} at position {j}; swap them")
        return pairs

    @field_validator("upper_rows", "lower_rows")
    @classmethod
    def one_coefficient_each(cls, rows: list[RowEntry], info: ValidationInfo) -> list[RowEntry]:
        n = info.data.get("nx", 0) + info.data.get("ny", 0)
        for k, row in enumerate(rows):
            if len({"nx", "ny"} & set(info.data)) == 2 and len(row.a) != n:
                raise ValueError(f"row {k} has {len(row.a)} coefficients; give {n}, one a variable")
        return rows

    @field_validator("integer", "menu")
    @classmethod
    def of_the_leader(cls, positions: Any, info: ValidationInfo) -> Any:
        nx, ny = info.data.get("nx", MAX_VARIABLES), info.data.get("ny", 0)
        for j in positions:
            if nx <= j < nx + ny:
                raise ValueError(
                    f"{j} is a follower's variable: a mixed-integer follower has no optimality conditions that could "
                    "be solved here; relax it, or use a solver for such followers"
                )
            if j >= nx:
                raise ValueError(f"{j} is no position of a leader's variable; use 0 to {nx - 1}")
        return positions

    @field_validator("Q")
    @classmethod
    def a_matrix(cls, rows: list[list[float]] | None, info: ValidationInfo) -> list[list[float]] | None:
        nx, ny = info.data.get("nx", 0), info.data.get("ny", 0)
        if rows is not None and [len(row) for row in rows] != [ny] * nx:
            raise ValueError(f"is no matrix of {nx} rows and {ny} columns; give it that shape")
        return rows


class LevelEntry(Section):
    """A level of a three-level problem."""

    var: Name | Annotated[list[Name], Field(min_length=1, max_length=1000)] = key(
        "name of its variable, or a list of names"
    )
    lb: Bound = key("lower bound of its variables", default=None, note="none")
    ub: Bound = key("upper bound of its variables", default=None, note="none")
    sense: Literal["min"] = key("levels minimise; change the signs of obj to maximise", default="min")
    obj: dict[str, Coefficient] = key("cost by variable")
    rows: list[dict[str, Coefficient]] = key("coefficients by variable, sides as lb and ub", default=[])

    @property
    def names(self) -> list[str]:
        return [self.var] if isinstance(self.var, str) else self.var


class TrilevelFile(ProblemFile):
    """A linear problem with three levels, the leader first."""

    levels: Annotated[list[LevelEntry], Field(min_length=3, max_length=3)] = key("the three levels")

    @model_validator(mode="after")
    def known_variables(self) -> TrilevelFile:
        names = [name for level in self.levels for name in level.names]
        for name in names:
            if names.count(name) > 1 or name in ("lb", "ub"):
                raise ValueError(f"{name} cannot name a variable here; give each variable a name of its own")
        for k, level in enumerate(self.levels):
            for entries in (level.obj, *level.rows):
                unknown = set(entries) - set(names) - (set() if entries is level.obj else {"lb", "ub"})
                if unknown:
                    raise ValueError(f"levels.{k} has an unknown variable {min(unknown)!r}; use {', '.join(names)}")
        return self


def read_bilevel(path: str | Path) -> LinearBilevel:
    """The problem in a JSON file. Raises :class:`~tritier.errors.InputError` naming file, field and mend."""
    return bilevel_from_dict(read_json(Path(path)), path)


def bilevel_from_dict(data: Mapping, source: str | Path = "problem") -> LinearBilevel:
    """The problem in a dictionary of the file format; ``source`` is named in errors."""
    if "levels" in data:
        raise InputError(
            source, "levels", "a problem with more than two levels", "use tritier.reformulation.files.read_trilevel"
        )
    file = validated(BilevelFile, data, source)
    nx, ny = file.nx, file.ny
    names = file.var_names or [*(f"x[{j + 1}]" for j in range(nx)), *(f"y[{j + 1}]" for j in range(ny))]
    bounds = [(-INF if low is None else low, INF if high is None else high) for low, high in file.bounds]
    return linear_bilevel(
        file.F_c, file.f_c, nx, F0=file.F_const, f0=file.f_const,
        Q=None if file.Q is None else np.array(file.Q).reshape(nx, ny),
        upper=row_block(file.upper_rows, nx + ny), lower=row_block(file.lower_rows, nx + ny),
        x_bounds=bounds[:nx], y_bounds=bounds[nx:], integer=file.integer, menu=file.menu,
        x_name=names[:nx], y_name=names[nx:], name=file.name or str(source),
    )  # fmt: skip


def row_block(rows: list[RowEntry], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrix, lower and upper sides of rows."""
    matrix = np.array([row.a for row in rows]).reshape(len(rows), n)
    low = np.array([row.b if row.sense != "<=" else -INF for row in rows])
    high = np.array([row.b if row.sense != ">=" else INF for row in rows])
    return matrix, low, high


def read_trilevel(path: str | Path) -> LinearTrilevel:
    """The three-level problem in a JSON file. Raises InputError naming file, field and mend."""
    return trilevel_from_dict(read_json(Path(path)), path)


def trilevel_from_dict(data: Mapping, source: str | Path = "problem") -> LinearTrilevel:
    """The three-level problem in a dictionary of the file format; ``source`` is named in errors."""
    file = validated(TrilevelFile, data, source)
    names = [name for level in file.levels for name in level.names]
    sizes = tuple(len(level.names) for level in file.levels)

    def vector(entries: Mapping[str, float]) -> list[float]:
        return [entries.get(name, 0.0) for name in names]

    def block(level: LevelEntry) -> tuple:
        matrix = np.array([vector(row) for row in level.rows]).reshape(len(level.rows), len(names))
        low = np.array([row.get("lb", -INF) for row in level.rows])
        high = np.array([row.get("ub", INF) for row in level.rows])
        return sparse.csr_array(matrix), low, high

    cost, rows = [np.array(vector(level.obj)) for level in file.levels], [block(level) for level in file.levels]
    return LinearTrilevel(
        cost=(cost[0], cost[1], cost[2]),
        rows=(rows[0], rows[1], rows[2]),
        lower=np.repeat([-INF if level.lb is None else level.lb for level in file.levels], sizes),
        upper=np.repeat([INF if level.ub is None else level.ub for level in file.levels], sizes),
        sizes=(sizes[0], sizes[1], sizes[2]),
        names=tuple(names),
        name=file.name or str(source),
    )


def write_bilevel(problem: LinearBilevel, path: str | Path) -> None:
    """Write a problem as JSON. A row with two different sides becomes two; rows without sides are left out."""
    write_text(Path(path), json.dumps(bilevel_to_dict(problem), indent=1) + "\n")


def bilevel_to_dict(problem: LinearBilevel) -> dict[str, Any]:
    """The problem in the keys of `BilevelFile`."""
    low, high = np.append(problem.x_lower, problem.y_lower), np.append(problem.x_upper, problem.y_upper)
    menus = {str(j): list(m) for j, m in enumerate(problem.menu) if m is not None}
    return {
        "name": problem.name[:200],
        "nx": problem.nx,
        "ny": problem.ny,
        "var_names": [*problem.x_name, *problem.y_name],
        "bounds": [[finite(a), finite(b)] for a, b in zip(low, high, strict=True)],
        "F_c": problem.F.tolist(),
        "F_const": problem.F0,
        "f_c": problem.f.tolist(),
        "f_const": problem.f0,
        "upper_rows": row_entries(problem.U, problem.U_lower, problem.U_upper),
        "lower_rows": row_entries(problem.A, problem.row_lower, problem.row_upper),
        "integer": np.flatnonzero(problem.integer).tolist(),
        "menu": menus,
    } | ({"Q": problem.Q.toarray().tolist()} if problem.Q.nnz else {})


def finite(value: float) -> float | None:
    """A number, or None for an infinite one."""
    return float(value) if math.isfinite(value) else None


def row_entries(matrix: sparse.csr_array, low: np.ndarray, high: np.ndarray) -> list[dict[str, Any]]:
    """Rows of a file from a matrix and its sides."""
    rows = []
    for a, b, c in zip(matrix.toarray().tolist(), low.tolist(), high.tolist(), strict=True):
        if b == c:
            rows.append({"a": a, "sense": "=", "b": b})
            continue
        rows += [{"a": a, "sense": ">=", "b": b}] if math.isfinite(b) else []
        rows += [{"a": a, "sense": "<=", "b": c}] if math.isfinite(c) else []
    return rows


def solve_file(path: str | Path, mode: str = "auto", time_limit: float = 600.0, aux: str | Path | None = None) -> dict:
    """Solve the problem in a JSON file, or in an MPS file and its AUX file.

    Gives ``status``, ``objective``, ``point`` (name -> value), ``residuals`` and the rest. Infinite and missing figures
    are None, so that the dictionary is valid JSON.
    """
    problem = read_bilevel(path) if aux is None else read_mps(path, aux)
    found = solve(problem, mode, time_limit=time_limit)
    names = (*problem.x_name, *problem.y_name)
    values = np.concatenate([found.x, found.y])
    return {
        "name": problem.name,
        "mode": found.mode,
        "status": found.status,
        "reason": found.reason or None,
        "objective": found.objective,
        "follower_objective": found.follower_objective,
        "point": dict(zip(names, values.tolist(), strict=True)) if values.size else None,
        "residuals": found.residuals,
        "bound": None if found.bound is None else finite(found.bound),
        "proof": found.proof,
        "overruled": list(found.overruled),
        "nodes": found.nodes,
        "seconds": found.seconds,
    }
