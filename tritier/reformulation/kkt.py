r"""The follower's KKT and strong-duality systems, derived from its matrices and readable by name.

Every side of every follower row and bound becomes one condition ``H_k (x, y) >= h_k`` (``==`` for equations) with one
multiplier. With the follower's cost ``f_y + Q' x`` the Lagrangian is ``f - mu' (H (x, y) - h)``, hence

Equation :eq:`eq-stationarity`:

.. math::

   f_y + Q^\top x = H_y^\top \mu

Equation :eq:`eq-complementarity`:

.. math::

   0 \le \mu_k \;\perp\; H_k (x, y) - h_k \ge 0

Equation :eq:`eq-strong-duality`:

.. math::

   f_y^\top y + x^\top Q y = \mu^\top (h - H_x x)

One sign rule holds for all multipliers, :func:`sign_table`: ``mu_k`` is the derivative of the follower's optimal value
with respect to ``h_k``, so a multiplier is what one more unit of requirement costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from tritier.reformulation.bilevel import LinearBilevel, solve_follower

#: mark of each kind of condition in labels
MARKS = {
    "row >=": "mu_lo",
    "row <=": "mu_up",
    "row ==": "lam",
    "bound >=": "nu_lo",
    "bound <=": "nu_up",
    "bound ==": "nu",
}
SYMBOLS = {
    "row >=": r"\underline{\mu}", "row <=": r"\overline{\mu}", "row ==": r"\lambda",
    "bound >=": r"\underline{\nu}", "bound <=": r"\overline{\nu}", "bound ==": r"\nu",
}  # fmt: skip


@dataclass(frozen=True)
class SignRow:
    """One row of the table of signs; ``market`` says which prices of the market are multipliers of this kind."""

    kind: str
    mark: str
    condition: str
    sign: str
    meaning: str
    solver: str
    market: str


def sign_table() -> tuple[SignRow, ...]:
    """The signs of all multipliers, in one place; theta is the follower's optimal value (a minimum).

    ``solver`` gives each multiplier in terms of HiGHS's row dual ``d`` or column dual ``r``.
    """
    return (
        SignRow("row >=", "mu_lo", "a.(x, y) >= b_lo", "mu_lo >= 0", "d theta / d b_lo = +mu_lo", "max(d, 0)", "none"),
        SignRow("row <=", "mu_up", "a.(x, y) <= b_up", "mu_up >= 0", "d theta / d b_up = -mu_up", "max(-d, 0)",
                "price of a network limit (quantile), its tails; CVaR rows"),
        SignRow("row ==", "lam", "a.(x, y) == b", "lam free", "d theta / d b = +lam", "d",
                "P2P price; value of energy at a prosumer, of stored energy; risk-adjusted probability"),
        SignRow("bound >=", "nu_lo", "y >= y_lo", "nu_lo >= 0", "d theta / d y_lo = +nu_lo", "max(r, 0)",
                "what it would cost to import, trade, charge one kWh where none is"),
        SignRow("bound <=", "nu_up", "y <= y_up", "nu_up >= 0", "d theta / d y_up = -nu_up", "max(-r, 0)",
                "value of more sun, battery power, battery energy"),
        SignRow("bound ==", "nu", "y == y_fix", "nu free", "d theta / d y_fix = +nu", "r", "none"),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class KKT:
    """The conditions ``H (x, y) >= h`` of a follower (``==`` where ``equation``), one multiplier each.

    Attributes: ``H`` CSR (K, nx + ny), ``h`` (K,), ``equation`` (K,) bool, ``kind`` and ``name`` (K,), ``source`` (K,)
    position of the follower row (kinds ``row``) or column (kinds ``bound``) the condition came from.
    """

    problem: LinearBilevel
    H: sparse.csr_array
    h: np.ndarray
    equation: np.ndarray
    kind: tuple[str, ...]
    name: tuple[str, ...]
    source: np.ndarray

    @cached_property
    def Hx(self) -> sparse.csr_array:
        """Leader's part of H, CSR (K, nx)."""
        return self.H[:, : self.problem.nx].tocsr()

    @cached_property
    def Hy(self) -> sparse.csr_array:
        """Follower's part of H, CSR (K, ny)."""
        return self.H[:, self.problem.nx :].tocsr()

    @property
    def pairs(self) -> np.ndarray:
        """Positions of the conditions with a complementarity (the inequalities)."""
        return np.flatnonzero(~self.equation)

    def slack(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``H (x, y) - h``, shape (K,); zero for equations, at least zero otherwise."""
        return self.Hx @ x + self.Hy @ y - self.h

    def stationarity_gap(self, x: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """``f_y + Q' x - H_y' mu``, shape (ny,), :eq:`eq-stationarity`."""
        return self.problem.follower_prices(x) - self.Hy.T @ mu

    def dual_value(self, x: np.ndarray, mu: np.ndarray) -> float:
        """Right-hand side of :eq:`eq-strong-duality` plus the follower's constants in x."""
        return float(mu @ (self.h - self.Hx @ x) + self.problem.f[: self.problem.nx] @ x + self.problem.f0)

    def multipliers(self, row_dual: np.ndarray, col_dual: np.ndarray) -> np.ndarray:
        """Multipliers (K,) from HiGHS's row duals (m,) and column duals (ny,), by ``sign_table``."""
        out = np.empty(self.h.size)
        for k, (kind, j) in enumerate(zip(self.kind, self.source, strict=True)):
            dual = row_dual[j] if kind.startswith("row") else col_dual[j]
            out[k] = dual if kind.endswith("==") else max(dual if kind.endswith(">=") else -dual, 0.0)
        return out

    def sizes(self) -> dict[str, int]:
        """Counts for a size table: variables, conditions and pairs of the single-level problem."""
        return {
            "leader variables": self.problem.nx,
            "follower variables": self.problem.ny,
            "multipliers": int(self.h.size),
            "stationarity rows": self.problem.ny,
            "equations": int(self.equation.sum()),
            "complementarity pairs": int(self.pairs.size),
            "bilinear terms": int(self.problem.Q.nnz + self.Hx.nnz),
        }

    def stationarity(self, column: str, style: str = "text") -> str:
        """The stationarity condition of one follower column as a line of mathematics.

        Arguments: ``column`` a name in ``problem.y_name``; ``style`` "text" or "latex". Raises KeyError for a name that
        does not exist.
        """
        j = position_of(self.problem.y_name, column)
        price = [(self.problem.f[self.problem.nx + j], "")]
        price += [(v, _term(self.problem.x_name[i], style)) for i, v in _entries(self.problem.Q.T.tocsr(), j)]
        duals = [(v, self._multiplier(k, style)) for k, v in _entries(self.Hy.T.tocsr(), j)]
        return f"{_sum(price)} = {_sum(duals)}"

    def condition(self, name: str, style: str = "text") -> str:
        """One complementarity pair (or equation) by its multiplier's name, as a line of mathematics."""
        k = self.position(name)
        names = (*self.problem.x_name, *self.problem.y_name)
        left = _sum([(v, _term(names[j], style)) for j, v in _entries(self.H, k)] + [(-self.h[k], "")])
        if self.equation[k]:
            return f"{left} = 0"
        low, mid, perp = (r"0 \le ", r" \ge 0", r" \perp ") if style == "latex" else ("0 <= ", " >= 0", " _|_ ")
        return f"{low}{self._multiplier(k, style)}{perp}{left}{mid}"

    def typeset(self) -> str:
        r"""All stationarity conditions, then all equations and pairs, as one ``aligned`` block of LaTeX."""
        lines = [self.stationarity(name, "latex") for name in self.problem.y_name]
        lines += [self.condition(name, "latex") for name in self.name]
        marks = (r" \perp ", r" = ", r" \ge ")
        aligned = (next((line.replace(m, f" &{m.strip()} ", 1) for m in marks if m in line), line) for line in lines)
        return "\\begin{aligned}\n" + " \\\\\n".join(aligned) + "\n\\end{aligned}"

    def _multiplier(self, k: int, style: str) -> str:
        if style != "latex":
            return self.name[k]
        return rf"{SYMBOLS[self.kind[k]]}_{{{_text(self._origin(k))}}}"

    def _origin(self, k: int) -> str:
        source = self.problem.row_name if self.kind[k].startswith("row") else self.problem.y_name
        return source[self.source[k]]

    def position(self, name: str) -> int:
        """Position of the multiplier of that name. Raises KeyError where there is none."""
        return position_of(self.name, name)


def position_of(names: tuple[str, ...], name: str) -> int:
    """Position of a name. Raises KeyError with a few that there are."""
    if name not in names:
        raise KeyError(f"{name!r}; names look like {', '.join(names[:3])}")
    return names.index(name)


def kkt_system(problem: LinearBilevel) -> KKT:
    """The conditions of ``problem``'s follower: rows first, then bounds; infinite sides leave no trace."""
    nx, ny = problem.nx, problem.ny
    own = sparse.hstack([sparse.csr_array((ny, nx)), sparse.eye_array(ny)], format="csr")
    blocks: list[sparse.csr_array] = []
    sides: list[np.ndarray] = []
    kinds: list[str] = []
    names: list[str] = []
    sources: list[np.ndarray] = []

    def add(word: str, matrix: sparse.csr_array, low: np.ndarray, high: np.ndarray, labels: Sequence[str]) -> None:
        equal = (low == high) & np.isfinite(low)
        parts = ((f"{word} ==", equal, 1.0, low), (f"{word} >=", np.isfinite(low) & ~equal, 1.0, low),
                 (f"{word} <=", np.isfinite(high) & ~equal, -1.0, high))  # fmt: skip
        for kind, mask, sign, side in parts:
            index = np.flatnonzero(mask)
            blocks.append(sign * matrix[index])
            sides.append(sign * side[index])
            kinds.extend([kind] * index.size)
            names.extend(f"{MARKS[kind]}[{labels[k]}]" for k in index.tolist())
            sources.append(index)

    add("row", problem.A, problem.row_lower, problem.row_upper, problem.row_name)
    add("bound", own, problem.y_lower, problem.y_upper, problem.y_name)
    equation = np.array([kind.endswith("==") for kind in kinds], dtype=bool)
    H = sparse.csr_array(sparse.vstack(blocks, format="csr"))
    return KKT(
        problem, H, np.concatenate(sides), equation, tuple(kinds), tuple(names), np.concatenate(sources).astype(int)
    )


def leader_weights(kkt: KKT) -> sparse.csr_array:
    """What each leader variable multiplies in the duality gap :eq:`eq-gathered`, over [y, mu], CSR (nx, ny + K)."""
    return sparse.csr_array(sparse.hstack([kkt.problem.Q, kkt.Hx.T], format="csr"))


def bilinear_leaders(kkt: KKT) -> np.ndarray:
    """True where a leader variable sets a price or a right-hand side of the follower, shape (nx,)."""
    return np.diff(leader_weights(kkt).indptr) > 0


def follower_residuals(kkt: KKT, x: np.ndarray, y: np.ndarray, mu: np.ndarray) -> dict[str, float]:
    """How far (x, y, mu) is from the follower's optimality, each relative to ``max(1, size of its terms)``.

    Keys: ``stationarity``, ``primal``, ``dual`` (negative multipliers), ``complementarity`` (largest product of a
    pair), ``duality_gap`` :eq:`eq-strong-duality`, ``follower_gap`` (f(x, y) - theta(x), theta re-solved by HiGHS) and
    ``leader`` (:func:`leader_residual`). Constants of the costs count nowhere.
    """
    p = kkt.problem
    status, _, best, *_ = solve_follower(p, x)
    prices, slack = p.follower_prices(x), kkt.slack(x, y)
    primal = np.where(kkt.equation, np.abs(slack), np.maximum(-slack, 0.0))
    primal_size = 1.0 + np.abs(kkt.h) + abs(kkt.Hx) @ np.abs(x) + abs(kkt.Hy) @ np.abs(y)
    dual_size = 1.0 + np.abs(prices) + abs(kkt.Hy).T @ np.abs(mu)
    product = np.abs(slack) * np.abs(mu)
    size = max(1.0, float(np.abs(prices) @ np.abs(y)))
    return {
        "stationarity": _worst(np.abs(kkt.stationarity_gap(x, mu)) / dual_size),
        "primal": _worst(primal / primal_size),
        "dual": _worst(np.where(kkt.equation, 0.0, np.maximum(-mu, 0.0)) / (1.0 + np.abs(mu))),
        "complementarity": _worst(product[~kkt.equation] / size),
        "duality_gap": float(abs(prices @ y - mu @ (kkt.h - kkt.Hx @ x)) / size),
        "follower_gap": float(abs(prices @ (y - best)) / size) if status == "optimal" else np.inf,
        "leader": leader_residual(p, x, y),
    }


def leader_residual(problem: LinearBilevel, x: np.ndarray, y: np.ndarray) -> float:
    """Largest violation of the leader's rows, bounds, integrality and menus, each relative to the size of its terms."""
    z = np.concatenate([x, y])
    rows, size = problem.U @ z, 1.0 + abs(problem.U) @ np.abs(z)
    off = np.concatenate([(problem.U_lower - rows) / size, (rows - problem.U_upper) / size])
    out = np.concatenate([problem.x_lower - x, x - problem.x_upper]) / np.tile(1.0 + np.abs(x), 2)
    discrete = [abs(x[j] - round(x[j])) for j in np.flatnonzero(problem.integer)]
    menus = ((j, m) for j, m in enumerate(problem.menu) if m is not None)
    discrete += [min(abs(x[j] - v) for v in m) / (1.0 + abs(x[j])) for j, m in menus]
    return max(_worst(off), _worst(out), *discrete, 0.0)


def _worst(values: np.ndarray) -> float:
    return float(np.max(values, initial=0.0))


def _entries(matrix: sparse.csr_array, row: int) -> list[tuple[int, float]]:
    span = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return [(int(j), float(v)) for j, v in zip(matrix.indices[span], matrix.data[span], strict=True) if v != 0.0]


# Characters that LaTeX reads as commands.
ESCAPED = {c: "\\" + c for c in "_ %&#${}"} | {"^": r"\hat{\ }", "~": r"\sim ", "\\": r"\backslash "}


def _text(name: str) -> str:
    return r"\mathrm{" + "".join(ESCAPED.get(c, c) for c in name) + "}"


def _term(name: str, style: str) -> str:
    return _text(name) if style == "latex" else name


def _sum(terms: list[tuple[float, str]]) -> str:
    """``3 a - b + 2`` from coefficients and names; the name "" is the constant."""
    line = ""
    for value, name in terms:
        if value == 0.0:
            continue
        size = f"{abs(value):.6g}"
        body = size if not name else name if abs(value) == 1.0 else f"{size} {name}"
        line += (" - " if value < 0 else " + ") + body if line else ("-" if value < 0 else "") + body
    return line or "0"
