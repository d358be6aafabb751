"""Bilevel programs with a linear follower: from cvxpy, from arrays, from files, solved to a proved optimum.

The lower problem is an ordinary cvxpy problem in its own variables; the leader acts on it through its parameters::

    tax, output = cp.Variable(bounds=[0, 10]), cp.Variable(2, nonneg=True)
    charge = cp.Parameter()
    plant = cp.Problem(cp.Minimize((2 + charge) * output[0] + 6 * output[1]), [cp.sum(output) == 1])
    found = BilevelProblem(cp.Minimize(tax), [output[0] <= 0.5], plant, {charge: tax}).solve()

:class:`LinearBilevel` holds the same as matrices (:func:`linear_bilevel`), :func:`read_bilevel` and :func:`read_mps`
read it, :func:`solve` solves it. Of several best answers of the follower the one that the leader prefers is taken;
:func:`pessimistic` says what the worst of them costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
from scipy import sparse

from tritier.errors import InputError
from tritier.reformulation.bilevel import INF, LinearBilevel, linear_bilevel
from tritier.reformulation.files import read_bilevel, write_bilevel
from tritier.reformulation.kkt import KKT, kkt_system
from tritier.reformulation.mps import read_mps, write_mps
from tritier.reformulation.solve import BilevelSolution, infeasible_because, pessimistic, solve

__all__ = [
    "KKT",
    "BilevelProblem",
    "BilevelSolution",
    "CvxpySolution",
    "LinearBilevel",
    "kkt_system",
    "linear_bilevel",
    "pessimistic",
    "read_bilevel",
    "read_mps",
    "solve",
    "write_bilevel",
    "write_mps",
]

NAME = "BilevelProblem"  # stands where a file is named in errors
SIGNS = ("nonneg", "pos", "nonpos", "neg")
TIED = ("symmetric", "diag", "PSD", "NSD", "hermitian", "complex", "imag", "sparsity")


@dataclass(frozen=True, eq=False)
class CvxpySolution:
    """Outcome for a cvxpy user. ``value`` and ``bound`` are in the sense of the upper objective, None where there is no
    point; ``multipliers`` are those of ``lower.constraints``, in their order and cvxpy's sign; ``linear`` is the
    solution of the matrices behind it, with status, proof and all residuals."""

    status: str
    value: float | None
    bound: float | None
    residuals: dict[str, float]
    multipliers: tuple[np.ndarray, ...]
    linear: BilevelSolution

    @property
    def proof(self) -> str:
        """What the answer rests on: enumeration, second opinion, one mode, ray, relaxation, open, not checked."""
        return self.linear.proof


@dataclass(frozen=True, eq=False)
class Canonical:
    """A cvxpy problem as ``c.z, A z == b`` (the first ``equations`` rows) and ``A z <= b``, its columns by variable."""

    cost: np.ndarray
    constant: float
    matrix: sparse.csr_array
    side: np.ndarray
    equations: int
    lower: np.ndarray
    upper: np.ndarray
    integer: np.ndarray
    first: dict[int, int]  # first column of each variable, by id
    rows: dict[int, tuple[int, int]]  # first row and size of each constraint, by id


class BilevelProblem:
    """A leader's problem in cvxpy over a follower's, which is linear in its own variables.

    Args:
        upper: objective of the leader, in its variables and the follower's, which are all that stand in ``lower``.
        upper_constraints: rows of the leader; ``cp.FiniteSet`` of a variable is a menu; booleans and integers are
            allowed.
        lower: problem of the follower; its parameters are what the leader decides or constants with a value.
        leader: for each parameter that the leader decides the variable, or the affine expression, that it takes; a sign
            of the parameter (nonneg, nonpos) binds the leader.

    Raises InputError in one sentence that says the mend where the pair is no linear bilevel program.
    """

    def __init__(
        self,
        upper: cp.Minimize | cp.Maximize,
        upper_constraints: Sequence[cp.Constraint],
        lower: cp.Problem,
        leader: Mapping[cp.Parameter, cp.Expression],
    ) -> None:
        _require_parts(upper, upper_constraints, lower, leader)
        self.upper, self.lower = upper, lower
        self.follower = {v.id: v for v in lower.variables() if v.size}
        self.leader = dict(leader)
        _require_linear_follower(lower, self.leader)
        # a row given twice is one row, with one multiplier
        once = {row.id: row for row in lower.constraints}
        self._own = lower if len(once) == len(lower.constraints) else cp.Problem(lower.objective, list(once.values()))
        self._given = list(upper_constraints)
        self.decides: dict[cp.Parameter, cp.Variable] = {}
        for parameter, expression in self.leader.items():
            self.decides[parameter], more = _variable(parameter, expression, self.follower)
            self._given += more
        known = {p.id: p for part in (lower, *self._given) for p in part.parameters() if p not in self.decides}
        self._constants = list(known.values())
        self._build()

    @property
    def linear(self) -> LinearBilevel:
        """The same as matrices, made anew where a constant parameter has another value than before."""
        if any(not np.array_equal(p.value, old) for p, old in zip(self._constants, self._values, strict=True)):
            self._build()
        return self._linear

    def _build(self) -> None:
        _require_values(self._constants)
        self._values = [np.copy(p.value) for p in self._constants]
        self.menus, self.rows = _menus(self._given, self.follower)
        self._linear = self._matrices()

    def kkt(self) -> KKT:
        """The follower's optimality conditions, readable by name; ``typeset()`` gives them as LaTeX."""
        return kkt_system(self.linear)

    def solve(self, mode: str = "auto", **options: Any) -> CvxpySolution:
        """Solve and write the point into all variables and parameters, multipliers into ``lower.constraints``.

        ``mode`` and ``options`` are those of :func:`tritier.reformulation.solve.solve`. Raises InputError where the
        follower has no best answer whatever the leader does.
        """
        found = solve(self.linear, mode, **options)
        if found.status == "infeasible":
            whose, what, mend = infeasible_because(self.linear)
            if whose == "follower":
                raise _refused("lower", what, mend)
        if found.objective is None:
            return CvxpySolution(found.status, None, None, {}, (), found)
        sign = -1.0 if isinstance(self.upper, cp.Maximize) else 1.0
        self._write_back(found)
        bound = None if found.bound is None else sign * found.bound
        residuals, duals = found.residuals, self._multipliers(found)
        return CvxpySolution(found.status, sign * found.objective, bound, residuals, duals, found)

    def pessimistic(self, found: CvxpySolution) -> float:
        """The upper objective at the leader's decision if of its best answers the follower gives the worst one.

        Raises SolverError where there is no worst one (:func:`tritier.reformulation.solve.pessimistic`), InputError
        where ``found`` holds no decision.
        """
        if found.value is None:
            raise _refused(
                "pessimistic", f"an outcome that is {found.status} holds no decision", "ask where there is one"
            )
        worst, _ = pessimistic(self.linear, found.linear.x)
        return -worst if isinstance(self.upper, cp.Maximize) else worst

    def _matrices(self) -> LinearBilevel:
        leader = _canonical_leader(self.upper, self.rows, [*self.decides.values(), *self.follower.values()])
        own = _canonical(self._own, {p.id: np.zeros(p.shape) for p in self.decides}, "lower")
        # Columns of the leader are all of its program's that are no follower's variable.
        is_follower = np.zeros(leader.cost.size, dtype=bool)
        place = np.zeros(leader.cost.size, dtype=int)
        for key, variable in self.follower.items():
            span = slice(leader.first[key], leader.first[key] + variable.size)
            is_follower[span] = True
            place[span] = own.first[key] + np.arange(variable.size)
        self._x = np.flatnonzero(~is_follower)
        nx, ny = self._x.size, own.cost.size
        place[self._x], at = np.arange(nx), np.flatnonzero(is_follower)
        place[at] += nx
        self._leader_first, self._follower_first = leader.first, own.first
        F = np.zeros(nx + ny)
        np.add.at(F, place, leader.cost)
        spread = sparse.csr_array((np.ones(place.size), (np.arange(place.size), place)), shape=(place.size, nx + ny))
        prices, shift, constants = self._by_parameters(own, nx)
        names = _names(leader, [*self.decides.values(), *self._leader_variables()], self._x, "x")
        names = _distinct([*names, *_names(own, self.follower.values(), np.arange(ny), "y")])
        self._rows = own.rows
        return linear_bilevel(
            F, np.append(constants, own.cost), nx, F0=leader.constant, f0=own.constant, Q=prices,
            upper=(leader.matrix @ spread, *_sides(leader)),
            lower=(sparse.hstack([-shift.T, own.matrix], format="csr"), *_sides(own)),
            x_bounds=list(zip(leader.lower[self._x], leader.upper[self._x], strict=True)),
            y_bounds=list(zip(own.lower, own.upper, strict=True)),
            integer=np.flatnonzero(leader.integer[self._x]).tolist(), menu=self._menu(leader),
            x_name=names[:nx], y_name=names[nx:], row_name=_distinct(_row_names(self.lower, own)), name=NAME,
        )  # fmt: skip

    def _by_parameters(self, own: Canonical, nx: int) -> tuple[sparse.csr_array, sparse.csr_array, np.ndarray]:
        """What a unit of each leader variable adds to the follower's costs (nx, ny), sides (nx, m), constant (nx,)."""
        ny, m = own.cost.size, own.side.size
        prices, shift = sparse.lil_array((nx, ny)), sparse.lil_array((nx, m))
        constants, column = np.zeros(nx), {int(j): k for k, j in enumerate(self._x)}
        for parameter, variable in self.decides.items():
            for k in range(parameter.size):
                values = {p.id: np.zeros(p.shape) for p in self.decides}
                unit = np.zeros(parameter.size)
                unit[k] = 1.0
                values[parameter.id] = unit.reshape(parameter.shape, order="F")
                moved = _canonical(self._own, values, "lower")
                _require_same_rows(own, moved, parameter, self.lower)
                j = column[self._leader_first[variable.id] + k]
                prices[[j]] += (moved.cost - own.cost)[None]
                shift[[j]] += (moved.side - own.side)[None]
                constants[j] += moved.constant - own.constant
        return prices.tocsr(), shift.tocsr(), constants

    def _leader_variables(self) -> list[cp.Variable]:
        found = {v.id: v for part in (self.upper, *self.rows) for v in part.variables()}
        found |= {v.id: v for v in self.menus} | {v.id: v for v in self.decides.values()}
        return [v for key, v in found.items() if key not in self.follower]

    def _menu(self, leader: Canonical) -> dict[int, Sequence[float]]:
        column = {int(j): k for k, j in enumerate(self._x)}
        return {column[leader.first[v.id] + k]: m for v, m in self.menus.items() for k in range(v.size)}

    def _write_back(self, found: BilevelSolution) -> None:
        z = np.zeros(int(self._x.max(initial=-1)) + 1)
        z[self._x] = found.x
        for variable in self._leader_variables():
            _save(variable, z, self._leader_first[variable.id])
        for key, variable in self.follower.items():
            _save(variable, found.y, self._follower_first[key])
        for variable in self.lower.variables():
            if not variable.size:  # so that the follower's objective has a value
                variable.save_value(np.zeros(variable.shape))
        for parameter, variable in self.decides.items():
            parameter.value = parameter.project(variable.value)

    def _multipliers(self, found: BilevelSolution) -> tuple[np.ndarray, ...]:
        """Multipliers of each constraint of the follower in cvxpy's sign: those of ``lhs - rhs`` in its Lagrangian."""
        kkt, duals = self.kkt(), np.zeros(self.linear.row_lower.size)
        for kind, source, name in zip(kkt.kind, kkt.source, kkt.name, strict=True):
            if kind.startswith("row"):
                duals[source] += found.multipliers[name] * (1.0 if kind == "row <=" else -1.0)
        out = []
        for constraint in self.lower.constraints:
            if constraint.id not in self._rows:  # one that cvxpy has turned into others
                out.append(np.full(constraint.shape, np.nan))
                continue
            first, size = self._rows[constraint.id]
            values = duals[first : first + size].reshape(constraint.shape, order="F")
            constraint.dual_variables[0].save_value(values)
            out.append(values)
        return tuple(out)


def _save(variable: cp.Variable, values: np.ndarray, first: int) -> None:
    variable.save_value(values[first : first + variable.size].reshape(variable.shape, order="F"))


def _refused(field: str, problem: str, mend: str) -> InputError:
    return InputError(NAME, field, problem, mend)


def _require_parts(upper: Any, rows: Any, lower: Any, leader: Any) -> None:
    """Raise InputError where an argument is not of its kind."""
    if not isinstance(upper, cp.Minimize | cp.Maximize):
        raise _refused("upper", "is no objective", "give cp.Minimize(...) or cp.Maximize(...)")
    if not isinstance(rows, Sequence) or not all(isinstance(row, cp.Constraint) for row in rows):
        raise _refused("upper_constraints", "is no list of constraints", "give [row, row, ...]")
    if not isinstance(lower, cp.Problem):
        raise _refused("lower", "is no problem", "give cp.Problem(objective, constraints)")
    if not isinstance(leader, Mapping) or not leader:
        what = "names no parameter, so that no decision of the leader reaches the follower"
        raise _refused("leader", what, "use a cp.Parameter in the lower problem and give {parameter: variable}")


def _require_linear_follower(lower: cp.Problem, leader: Mapping[cp.Parameter, cp.Expression]) -> None:
    """Raise InputError where the lower problem is no linear program whose parameters enter in an affine way."""
    for variable in lower.variables():
        if variable.attributes["boolean"] or variable.attributes["integer"]:
            what = "is an integer: a mixed-integer follower has no optimality conditions that could be solved here"
            raise _refused(f"lower variable {variable.name()}", what, "relax it, or use a solver for such followers")
        bounds: Any = variable.attributes["bounds"]
        for bound in bounds or ():
            if isinstance(bound, cp.Expression) and bound.parameters():
                what = f"is bounded by the parameter {bound.parameters()[0].name()}"
                raise _refused(f"lower variable {variable.name()}", what, "write the bound as a constraint")
    if any(isinstance(row, cp.FiniteSet) for row in lower.constraints):
        what = "has a finite set: a mixed-integer follower has no optimality conditions that could be solved here"
        raise _refused("lower", what, "give the variable bounds instead")
    if not lower.is_dcp():
        mend = "give a problem that cvxpy itself solves, with a cp.Parameter for what the leader decides"
        raise _refused("lower", "is not convex", mend)
    if not lower.is_dpp():
        raise _refused("lower", "uses a parameter in a way that is not affine", "keep the problem affine in each (DPP)")
    if not lower.is_lp():
        what = "has a quadratic or conic objective or constraint, no linear program"
        raise _refused("lower", what, "replace it by linear pieces")
    if not any(variable.size for variable in lower.variables()):
        raise _refused("lower", "has no variables", "give it what the follower decides")
    known = {p.id for p in lower.parameters()}
    for parameter in leader:
        if not isinstance(parameter, cp.Parameter) or parameter.id not in known:
            raise _refused(f"leader {parameter}", "is no parameter of the lower problem", "use it there, or drop it")
    _require_values([p for p in lower.parameters() if p not in leader])


def _require_values(constants: Iterable[cp.Parameter]) -> None:
    """Raise InputError where a parameter that no variable of the leader decides has no value."""
    for parameter in constants:
        if parameter.value is None:
            mend = "give it a value, or name its variable in leader"
            raise _refused(f"parameter {parameter.name()}", "has no value and no leader variable", mend)


def _variable(
    parameter: cp.Parameter, expression: Any, follower: Mapping[int, cp.Variable]
) -> tuple[cp.Variable, list[cp.Constraint]]:
    """The leader variable that a parameter takes, and the rows that an expression or a sign of the parameter adds."""
    field = f"leader {parameter.name()}"
    try:
        expression = cp.Expression.cast_to_const(expression)
    except (TypeError, ValueError):
        raise _refused(field, f"{expression!r} is no expression", "give a variable of the leader") from None
    if any(value for key, value in parameter.attributes.items() if key not in SIGNS):
        raise _refused(field, "has an attribute beside its sign", "leave it out and constrain the leader's variable")
    if expression.shape != parameter.shape:
        raise _refused(field, f"shape {expression.shape} for a parameter of {parameter.shape}", "give the same shape")
    if not expression.is_affine() or expression.parameters():
        raise _refused(field, "is not affine in the leader's variables", "give a variable or an affine expression")
    for variable in expression.variables():
        if variable.id in follower:
            what = f"{variable.name()} is the follower's: it stands in the lower problem itself"
            raise _refused(field, what, "use the parameter there instead")
    signs: list[cp.Constraint] = [expression >= 0.0] if parameter.is_nonneg() else []
    signs += [expression <= 0.0] if parameter.is_nonpos() else []
    if isinstance(expression, cp.Variable):
        return expression, signs
    taken = cp.Variable(parameter.shape, name=parameter.name())
    return taken, [taken == expression, *signs]


def _menus(
    rows: Sequence[cp.Constraint], follower: Mapping[int, cp.Variable]
) -> tuple[dict[cp.Variable, list[float]], list[cp.Constraint]]:
    """Finite sets of leader variables, and the other rows of the leader."""
    menus: dict[cp.Variable, list[float]] = {}
    others = []
    for row in rows:
        if not isinstance(row, cp.FiniteSet):
            others.append(row)
            continue
        variable = row.expre
        if not isinstance(variable, cp.Variable) or variable.id in follower:
            raise _refused("FiniteSet", "is not of a leader variable", "put a variable of the leader into it")
        levels = np.ravel(np.asarray(row.vec.value, dtype=float))
        if not levels.size or not np.isfinite(levels).all():
            raise _refused(
                "FiniteSet", f"{variable.name()} has no level or one that is no number", "give finite levels"
            )
        choices = set(levels.tolist())
        menus[variable] = sorted(choices & set(menus.get(variable, choices)))
        if not menus[variable]:
            raise _refused("FiniteSet", f"{variable.name()} has sets without a common level", "give one set a variable")
    return menus, others


def _canonical_leader(
    upper: cp.Minimize | cp.Maximize, rows: Sequence[cp.Constraint], variables: Sequence[cp.Variable]
) -> Canonical:
    """The leader's program with a column for each of ``variables``, named in a cost of zero."""
    everywhere = sum((0.0 * cp.sum(v) for v in variables if v.size), cp.Constant(0.0))
    problem = cp.Problem(type(upper)(upper.args[0] + everywhere), list(rows))
    if problem.parameters():
        name = problem.parameters()[0].name()
        raise _refused(f"parameter {name}", "stands in the upper problem", "use the leader's variable there")
    if not problem.is_dcp() or not (problem.is_lp() or problem.is_mixed_integer()):
        what = "is not linear: leader's times follower's variable is possible in the lower objective only"
        raise _refused("upper", what, "give linear costs and rows")
    return _canonical(problem, {}, "upper")


def _canonical(problem: cp.Problem, values: Mapping[int, np.ndarray], level: str) -> Canonical:
    """Matrices of a linear cvxpy problem, at values of some of its parameters; other parameters have their own."""
    for variable in problem.variables():
        if any(variable.attributes.get(attribute) for attribute in TIED):
            what = "has an attribute that ties its entries together or makes them complex"
            raise _refused(f"{level} variable {variable.name()}", what, "write it as constraints")
    try:
        data, _, _ = problem.get_problem_data(cp.HIGHS)
    except (cp.error.SolverError, cp.error.DCPError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise _refused(level, f"cvxpy cannot write it as a linear program ({text})", "mend it there") from None
    program, dims = data["param_prob"], data["dims"]
    if dims.exp or dims.soc or dims.psd or dims.p3d or dims.pnd or data.get("P") is not None:
        raise _refused(level, "has a quadratic or conic objective or constraint", "replace it by linear pieces")
    known = {p.id: np.asarray(values.get(p.id, p.value), dtype=float) for p in problem.parameters()}
    cost, constant, matrix, side = program.apply_parameters(known, keep_zeros=True)
    n = cost.size
    integer = np.zeros(n, dtype=bool)
    integer[[*data["bool_vars_idx"], *data["int_vars_idx"]]] = True
    low = np.full(n, -INF) if program.lower_bounds is None else np.array(program.lower_bounds, dtype=float)
    high = np.full(n, INF) if program.upper_bounds is None else np.array(program.upper_bounds, dtype=float)
    boolean = data["bool_vars_idx"]
    low[boolean], high[boolean] = np.maximum(low[boolean], 0.0), np.minimum(high[boolean], 1.0)
    rows, at = {}, 0
    for constraint in program.constraints:
        rows[constraint.id] = (at, constraint.size)
        at += constraint.size
    first = dict(program.var_id_to_col)
    # cvxpy hands out the matrix of ``-A z + b`` in a cone
    return Canonical(
        np.asarray(cost, dtype=float), float(constant), -sparse.csr_array(matrix), np.asarray(side, dtype=float),
        int(dims.zero), low, high, integer, first, rows,
    )  # fmt: skip


def _sides(program: Canonical) -> tuple[np.ndarray, np.ndarray]:
    equal = np.arange(program.side.size) < program.equations
    return np.where(equal, program.side, -INF), program.side


def _require_same_rows(own: Canonical, moved: Canonical, parameter: cp.Parameter, lower: cp.Problem) -> None:
    """Raise InputError where a parameter moves the follower's matrix."""
    off = np.flatnonzero(np.diff(sparse.csr_array(abs(own.matrix - moved.matrix) > 0).indptr))
    if off.size:
        position = {key: k for k, (first, size) in own.rows.items() for key in range(first, first + size)}
        number = {c.id: k for k, c in enumerate(lower.constraints)}.get(position[int(off[0])])
        where = "lower" if number is None else f"lower constraint {number}"
        what = f"multiplies a variable by the leader's {parameter.name()}"
        raise _refused(where, what, "let the leader set prices in the objective and right-hand sides, no coefficients")


def _names(program: Canonical, variables: Iterable[cp.Variable], columns: np.ndarray, letter: str) -> list[str]:
    """``name[i, k]`` of each column; cvxpy's own columns by letter and position."""
    names = {}
    for variable in variables:
        for k in range(variable.size):
            index = np.unravel_index(k, variable.shape, order="F") if variable.shape else ()
            place = f"[{', '.join(str(int(i)) for i in index)}]" if index else ""
            names[program.first[variable.id] + k] = variable.name() + place
    return [names.get(int(j), f"{letter}[{int(j)}]") for j in columns]


def _distinct(names: list[str]) -> list[str]:
    """Names with a number after one that stood before: multipliers and files go by name."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out if len(set(out)) == len(out) else [f"{name} #{k}" for k, name in enumerate(names)]


def _row_names(problem: cp.Problem, program: Canonical) -> list[str]:
    """``label[k]`` of each row, the label that of the user's constraint or its position."""
    names = [f"row[{k}]" for k in range(program.side.size)]
    for position, constraint in enumerate(problem.constraints):
        first, size = program.rows.get(constraint.id, (0, 0))
        label = getattr(constraint, "label", None) or f"constraint {position}"
        for k in range(size):
            names[first + k] = f"{label}[{k}]" if size > 1 else label
    return names
