"""Published linear bilevel problems, written out from their papers (as min F, min f), with their published optima, and
random ones; other units of a problem, and a problem as a cvxpy user writes it.

Optima are those of the papers, except where ``note`` says that a paper prints a rounded or different figure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np

from tritier.bilevel import BilevelProblem
from tritier.reformulation.bilevel import LinearBilevel, linear_bilevel
from tritier.reformulation.scaling import Scaling

INF = np.inf


@dataclass(frozen=True)
class Published:
    """A problem, its optimum (None: infeasible) and where both come from."""

    key: str
    problem: LinearBilevel
    optimum: float | None
    source: str
    note: str = ""


def write_out(key, leader, follower, F, f, upper=(), lower=(), bounds=None) -> LinearBilevel:
    """``F``, ``f`` and rows as {name: coefficient}; rows as (coefficients, sense, side); bounds default to [0, inf)."""
    names = [*leader, *follower]

    def vector(entries):
        return [float(entries.get(name, 0.0)) for name in names]

    def block(rows):
        matrix = np.array([vector(row[0]) for row in rows]).reshape(len(rows), len(names))
        low = [row[2] if row[1] in (">=", "==") else -INF for row in rows]
        high = [row[2] if row[1] in ("<=", "==") else INF for row in rows]
        return matrix, low, high

    box = [(bounds or {}).get(name, (0.0, INF)) for name in names]
    n = len(leader)
    return linear_bilevel(
        vector(F), vector(f), n, upper=block(upper), lower=block(lower), x_bounds=box[:n], y_bounds=box[n:],
        x_name=leader, y_name=follower, name=key,
    )  # fmt: skip


FREE = (-INF, INF)

PUBLISHED = (
    Published(
        "pineda2019",
        write_out("pineda2019", ["x"], ["y"], {"x": -1, "y": -1}, {"y": 1},
                  lower=[({"x": 1, "y": -0.01}, "<=", 1)], bounds={"x": (0, 2)}),
        -102.0,
        "Pineda, Morales: Solving linear bilevel problems using big-Ms: not all that glitters is gold. IEEE Trans. "
        "Power Systems 34(3), 2019, 2469-2471, numerical example (max x + y)",
    ),
    Published(
        "candler1982",
        write_out("candler1982", ["x1", "x2"], ["y1", "y2", "y3"],
                  {"x1": -8, "x2": -4, "y1": 4, "y2": -40, "y3": -4}, {"x1": 1, "x2": 2, "y1": 1, "y2": 1, "y3": 2},
                  lower=[({"y1": -1, "y2": 1, "y3": 1}, "<=", 1), ({"x1": 2, "y1": -1, "y2": 2, "y3": -0.5}, "<=", 1),
                         ({"x2": 2, "y1": 2, "y2": -1, "y3": -0.5}, "<=", 1)]),
        -29.2,
        "Candler, Townsley: A linear two-level programming problem. Computers & Operations Research 9(1), 1982, 59-76",
    ),
    Published(
        "bard1982",
        write_out("bard1982", ["x1", "x2"], ["y1", "y2"], {"x1": -2, "x2": 1, "y1": 0.5},
                  {"x1": 1, "x2": 1, "y1": -4, "y2": 1},
                  lower=[({"x1": -2, "y1": 1, "y2": -1}, "<=", -2.5), ({"x1": 1, "x2": -3, "y2": 1}, "<=", 2),
                         ({"x1": 1, "x2": 1}, "<=", 2)]),
        -3.25,
        "Bard, Falk: An explicit solution to the multi-level programming problem. Computers & Operations Research "
        "9(1), 1982, 77-100, example 2",
    ),
    Published(
        "bialas1984",
        write_out("bialas1984", ["x"], ["y"], {"y": -1}, {"y": 1},
                  lower=[({"x": 1, "y": 2}, ">=", 10), ({"x": 1, "y": 2}, "<=", 38), ({"x": -1, "y": 2}, "<=", 18),
                         ({"x": 1, "y": -2}, "<=", 6), ({"x": 2, "y": -1}, "<=", 21)]),
        -11.0,
        "Bialas, Karwan: Two-level linear programming. Management Science 30(8), 1984, 1004-1020",
    ),
    Published(
        "clark1990",
        write_out("clark1990", ["x"], ["y1", "y2"], {"x": -1, "y1": -3, "y2": 2}, {"y1": -1},
                  lower=[({"x": -2, "y1": 1, "y2": 4}, "<=", 16), ({"x": 8, "y1": 3, "y2": -2}, "<=", 48),
                         ({"x": -2, "y1": 1, "y2": -3}, "<=", -12)],
                  bounds={"x": (0, 8), "y1": (0, 4)}),
        -13.0,
        "Clark, Westerberg: Bilevel programming for steady-state chemical process design I. Computers & Chemical "
        "Engineering 14(1), 1990, 87-97",
    ),
    Published(
        "bard1991",
        write_out("bard1991", ["x"], ["y1", "y2"], {"x": -1, "y1": 10, "y2": -1}, {"y1": -1, "y2": -1},
                  lower=[({"x": 1, "y1": 1}, "<=", 1), ({"x": 1, "y2": 1}, "<=", 1), ({"y1": 1, "y2": 1}, "<=", 1)]),
        -1.0,
        "Bard: Some properties of the bilevel programming problem. J. Optimization Theory and Applications 68(2), "
        "1991, 371-378, example 2",
        "two optima: (0, 0, 1) and (1, 0, 0)",
    ),
    Published(
        "haurie1990",
        write_out("haurie1990", ["x"], ["y"], {"x": 1, "y": 5}, {"y": -1},
                  lower=[({"x": -3, "y": 2}, "<=", 6), ({"x": 3, "y": 4}, "<=", 48), ({"x": 2, "y": -5}, "<=", 9),
                         ({"x": 1, "y": 1}, ">=", 8)], bounds={"x": FREE, "y": FREE}),
        27.0,
        "Haurie, Savard, White: A note on: an efficient point algorithm for a linear two-stage optimization problem. "
        "Operations Research 38(3), 1990, 553-555",
    ),
    Published(
        "benayed1990",
        write_out("benayed1990", ["x"], ["y1", "y2"], {"x": -1.5, "y1": -6, "y2": -1}, {"y1": -1, "y2": -5},
                  lower=[({"x": 1, "y1": 3, "y2": 1}, "<=", 5), ({"x": 2, "y1": 1, "y2": 3}, "<=", 5)],
                  bounds={"x": (0, 1)}),
        -2.5,
        "Ben-Ayed, Blair: Computational difficulties of bilevel linear programming. Operations Research 38(3), 1990, "
        "556-560, example 1",
    ),
    Published(
        "liu1994",
        write_out("liu1994", ["x"], ["y"], {"x": -1, "y": -3}, {"y": 1},
                  lower=[({"x": -1, "y": 1}, "<=", 3), ({"x": 1, "y": 2}, "<=", 12), ({"x": 4, "y": -1}, "<=", 12)]),
        -16.0,
        "Liu, Hart: Characterizing an optimal solution to the linear bilevel programming problem. European J. of "
        "Operational Research 73(1), 1994, 164-166",
    ),
    Published(
        "mersha2006_upper",
        write_out("mersha2006_upper", ["x"], ["y"], {"x": -1, "y": -2}, {"y": -1},
                  upper=[({"x": -2, "y": 3}, "<=", 12), ({"x": 1, "y": 1}, "<=", 14)],
                  lower=[({"x": -3, "y": 1}, "<=", -3), ({"x": 3, "y": 1}, "<=", 30)], bounds={"x": FREE, "y": FREE}),
        -20.0,
        "Mersha, Dempe: Linear bilevel programming with upper level constraints depending on the lower level solution. "
        "Applied Mathematics and Computation 180(1), 2006, 247-254",
        "with two rows at the upper level",
    ),
    Published(
        "mersha2006_lower",
        write_out("mersha2006_lower", ["x"], ["y"], {"x": -1, "y": -2}, {"y": -1},
                  lower=[({"x": -2, "y": 3}, "<=", 12), ({"x": 1, "y": 1}, "<=", 14),
                         ({"x": -3, "y": 1}, "<=", -3), ({"x": 3, "y": 1}, "<=", 30)], bounds={"x": FREE, "y": FREE}),
        -22.0,
        "Mersha, Dempe (2006), as above",
        "the same rows at the lower level: another problem, another optimum",
    ),
    Published(
        "mitsos2007_infeasible",
        write_out("mitsos2007_infeasible", [], ["y"], {"y": 1}, {"y": -1}, upper=[({"y": 1}, "<=", 0)],
                  bounds={"y": (-1, 1)}),
        None,
        "Mitsos, Barton: A test set for bilevel programs. MIT technical report, 2007, problem mb_2007_02",
        "the follower's only answer breaks the leader's row",
    ),
)  # fmt: skip


def other_units(problem: LinearBilevel, x=1.0, y=1.0, rows=1.0, F=1.0, f=1.0) -> Scaling:
    """Units in which leader's and follower's variables, all rows and both costs are measured; integers keep theirs."""
    x_unit = np.where(problem.integer, 1.0, np.broadcast_to(x, problem.nx))
    upper, lower = problem.U_lower.size, problem.row_lower.size
    rows = np.broadcast_to(rows, upper + lower)
    y_unit = np.array(np.broadcast_to(y, problem.ny), dtype=float)
    return Scaling(x_unit, y_unit, rows[:upper], rows[upper:], F, f)


def row_units(problem: LinearBilevel) -> np.ndarray:
    """A power of ten from 1e-6 to 1e6 for each row, others in each problem."""
    draw = np.random.default_rng(problem.nx + 7 * problem.ny)
    return 10.0 ** draw.integers(-6, 7, problem.U_lower.size + problem.row_lower.size)


#: the same mathematics in six kinds of units, each far from those of the paper
RESCALINGS = {
    "follower's cost x 1e-7": lambda p: other_units(p, f=1e7),
    "leader's cost x 1e6": lambda p: other_units(p, F=1e-6),
    "rows x 1e12": lambda p: other_units(p, rows=1e-12),
    "rows x 1e-9": lambda p: other_units(p, rows=1e9),
    "each row by its own 1e-6 to 1e6": lambda p: other_units(p, rows=row_units(p)),
    "x in units of 1e-4, y in units of 1e3": lambda p: other_units(p, x=1e-4, y=1e3),
}


def bard(cost: float = 1.0, rows: float = 1.0) -> LinearBilevel:
    """Bard's example 5.1.1 with its optimum -18 at (8, 1), the follower's cost and rows in other units."""
    lower = [({"x": -25, "y": 20}, 30), ({"x": 1, "y": 2}, 10), ({"x": 2, "y": -1}, 15), ({"x": -2, "y": -10}, -15)]
    blocks = [({name: rows * v for name, v in row.items()}, "<=", rows * side) for row, side in lower]
    key = f"cost x {cost:g}, rows x {rows:g}"
    return write_out(key, ["x"], ["y"], {"x": -1, "y": -10}, {"y": cost}, lower=blocks)


def pineda(slope: float) -> LinearBilevel:
    """Pineda and Morales with the multiplier 1 / slope, which a big-M must reach; optimum -2 - 1 / slope."""
    row = ({"x": 1, "y": -slope}, "<=", 1)
    key = f"multiplier {1 / slope:g}"
    return write_out(key, ["x"], ["y"], {"x": -1, "y": -1}, {"y": 1}, lower=[row], bounds={"x": (0, 2)})


#: (cost, rows) of Bard's example in which a first edition without scaling proved -42, -15 and -7.5
UNITS = ((1.0, 1.0), (1e-6, 1.0), (1e-7, 1.0), (1e-12, 1.0), (1.0, 1e12), (1.0, 1e-9))


#: random problems of the stored table; the first ``SMALL`` of them have up to 2 + 2 variables and 3 rows
RANDOM, SMALL = 320, 260


def random_problem(seed: int) -> LinearBilevel:
    """Integer data; up to 4 + 4 variables and 6 rows; x boxed; y at least 0, often unbounded above; some menus,
    integers, equations and prices set by the leader."""
    rng = np.random.default_rng(seed)
    most, rows = (2, 3) if seed < SMALL else (4, 6)
    nx, ny = (int(v) for v in rng.integers(1, most + 1, 2))
    m, mu, n = int(rng.integers(0, rows + 1)), int(rng.integers(0, 3)), nx + ny

    def table(*shape):
        return rng.integers(-4, 5, shape) * (rng.random(shape) < 0.7)

    low = np.where(rng.random(m) < 0.3, rng.integers(-10, 3, m), -INF)
    high = np.where(np.isinf(low) | (rng.random(m) < 0.3), rng.integers(3, 11, m), INF)
    low = np.where((rng.random(m) < 0.1) & np.isfinite(high), high, low)
    y_high = np.where(rng.random(ny) < 0.5, INF, rng.integers(1, 9, ny))
    menu = {0: (0, 1, 3)} if rng.random() < 0.25 else None
    integer = [nx - 1] if rng.random() < 0.2 and not (menu and nx == 1) else []
    return linear_bilevel(
        table(n), table(n), nx, Q=table(nx, ny) if rng.random() < 0.5 else None, F0=float(rng.integers(-3, 4)),
        upper=(table(mu, n), np.full(mu, -INF), rng.integers(0, 11, mu)), lower=(table(m, n), low, high),
        x_bounds=[(0, int(v)) for v in rng.integers(1, 7, nx)], y_bounds=[(0, v) for v in y_high],
        integer=integer, menu=menu, name=f"random {seed}",
    )  # fmt: skip


def plain(problem: LinearBilevel) -> LinearBilevel:
    """A problem without the leader's prices and menus, which MPS and AUX have no words for."""
    without = replace(problem, Q=0 * problem.Q, menu=(None,) * problem.nx)
    without.Q.eliminate_zeros()
    return without


def fingerprint(problem: LinearBilevel) -> bytes:
    """The problem's data, so that problems can be counted."""
    dense = (problem.F, problem.f, problem.Q.toarray(), problem.U.toarray(), problem.A.toarray(), problem.integer)
    sides = ("U_lower", "U_upper", "row_lower", "row_upper", "x_lower", "x_upper", "y_lower", "y_upper")
    arrays = (*dense, *(getattr(problem, name) for name in sides))
    return b"".join(np.asarray(a, dtype=float).tobytes() for a in arrays) + repr((problem.F0, problem.menu)).encode()


def sided(rows: cp.Expression, low: np.ndarray, high: np.ndarray) -> list[cp.Constraint]:
    """One constraint an equation or finite side."""
    equal = np.flatnonzero(low == high)
    out = [rows[k] == low[k] for k in equal]
    out += [rows[k] >= low[k] for k in np.flatnonzero(np.isfinite(low)) if k not in equal]
    return out + [rows[k] <= high[k] for k in np.flatnonzero(np.isfinite(high)) if k not in equal]


def as_cvxpy(problem: LinearBilevel) -> BilevelProblem:
    """A linear bilevel problem as a cvxpy user writes it: a parameter for each leader variable, menus as finite sets; a
    leader without variables has one that does nothing."""
    boxes = list(zip(problem.x_lower.tolist(), problem.x_upper.tolist(), strict=True))
    x = [cp.Variable(bounds=list(b), integer=bool(k)) for b, k in zip(boxes, problem.integer, strict=True)]
    x = x or [cp.Variable(bounds=[0, 1])]
    p = [cp.Parameter() for _ in x]
    y = cp.Variable(problem.ny, bounds=[problem.y_lower, problem.y_upper])
    z, w = cp.hstack([*x[: problem.nx], y]), cp.hstack([*p[: problem.nx], y])
    rows: list[cp.Constraint] = [cp.FiniteSet(x[j], m) for j, m in enumerate(problem.menu) if m is not None]
    rows += sided(problem.U @ z, problem.U_lower, problem.U_upper)
    own = sided(problem.A @ w, problem.row_lower, problem.row_upper)
    cost = problem.f[problem.nx :] @ y + problem.f0
    if not problem.nx:
        cost = cost + 0.0 * p[0]
    for j, parameter in enumerate(p[: problem.nx]):
        cost = cost + parameter * (problem.Q.toarray()[j] @ y) + problem.f[j] * parameter
    lower = cp.Problem(cp.Minimize(cost), own)
    return BilevelProblem(cp.Minimize(problem.F @ z + problem.F0), rows, lower, dict(zip(p, x, strict=True)))


def grown(n: int, seed: int) -> LinearBilevel:
    """n + n variables and n rows a level of the follower, two of the leader, a third of the entries: integer data in
    boxes, feasible rows at zero, no prices set by the leader."""
    rng = np.random.default_rng([n, seed])

    def table(*shape):
        return rng.integers(-4, 5, shape) * (rng.random(shape) < 1 / 3)

    return linear_bilevel(
        rng.integers(-4, 5, 2 * n), rng.integers(-4, 5, 2 * n), n,
        upper=(table(2, 2 * n), np.full(2, -INF), rng.integers(5, 20, 2)),
        lower=(table(n, 2 * n), np.full(n, -INF), rng.integers(5, 20, n)),
        x_bounds=[(0, 5)] * n, y_bounds=[(0, 8)] * n, name=f"grown {n}, {seed}",
    )  # fmt: skip
