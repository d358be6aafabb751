"""Bilevel solvers of the package index on problems read from stdin, one JSON object a line; answers to stdout likewise.

`python data/results/bilevel_engines.py ENGINE LIMIT`, by an interpreter in which the engine is installed: tritier;
blvpy and blvpy10 (https://github.com/dxogrp/blvpy, a local method, from one start or the best of ten); pao
(https://github.com/or-fusion/pao, the Fortuny-Amat big-M reformulation with its default M of 1e5, by HiGHS). Each
problem is a process of its own, which is ended at LIMIT seconds of processor time; the seconds of an answer are those
of writing the problem in the engine's own words and solving it, processor time too, so that other work on the machine
does not count. data/results/bilevel.py drives it and judges the answers.
"""

import json
import multiprocessing
import re
import resource
import signal
import sys
import time

import numpy as np


def arrays(given):
    """The problem's vectors, and its two matrices over [x, y]."""
    found = {key: np.asarray(value, dtype=float) for key, value in given.items()}
    n = found["F"].size
    return found | {key: found[key].reshape(-1, n) for key in ("U", "A")}


WINDOW = 10.0  # half the width of the box of starts where a leader variable has no bounds


def in_cvxpy(p):
    """Leader's and follower's variables; a leader without variables has one that does nothing."""
    import cvxpy as cp

    bounds = [p["x_lower"], p["x_upper"]] if p["x_lower"].size else [0.0, 1.0]
    return cp.Variable(max(p["x_lower"].size, 1), bounds=bounds), cp.Variable(p["y_lower"].size)


def rows(matrix, low, high, z):
    """Constraints of a block."""
    out = []
    for row, a, b in zip(matrix, low, high, strict=True):
        side = row @ z
        out += [side == a] if a == b else [side >= a] * bool(np.isfinite(a)) + [side <= b] * bool(np.isfinite(b))
    return out


def boxed(y, p):
    low, high = np.isfinite(p["y_lower"]), np.isfinite(p["y_upper"])
    out = [y[np.flatnonzero(low)] >= p["y_lower"][low]] if low.any() else []
    return out + ([y[np.flatnonzero(high)] <= p["y_upper"][high]] if high.any() else [])


def tritier(p, limit):
    """Mode "auto"."""
    import cvxpy as cp

    from tritier.bilevel import BilevelProblem
    from tritier.errors import InputError

    x, y = in_cvxpy(p)
    parameter, nx = cp.Parameter(x.size), p["x_lower"].size
    w, z = cp.hstack([parameter[:nx], y]), cp.hstack([x[:nx], y])
    lower = cp.Problem(
        cp.Minimize(p["f"] @ w + 0.0 * cp.sum(parameter)),
        rows(p["A"], p["row_lower"], p["row_upper"], w) + boxed(y, p),
    )
    upper = rows(p["U"], p["U_lower"], p["U_upper"], z)
    try:
        found = BilevelProblem(cp.Minimize(p["F"] @ z), upper, lower, {parameter: x}).solve()
    except InputError as refused:  # a follower without an answer is refused by name, not called infeasible
        if re.search("(unbounded at every|no feasible response at any) leader decision", str(refused)):
            return "infeasible", str(refused), None, None, None
        raise
    point = (None, None) if found.value is None else (x.value[:nx], y.value)
    return found.status, found.proof, *point, found.bound


def blvpy(p, limit, starts=None):
    """From the point that is best if the follower obeys, or from ``starts`` points of a box."""
    import blvpy as bp
    import cvxpy as cp

    x, y = in_cvxpy(p)
    z = cp.hstack([x[: p["x_lower"].size], y])
    own = rows(p["A"], p["row_lower"], p["row_upper"], z) + boxed(y, p)
    lower = bp.LowerProblem(cp.Minimize(p["f"] @ z + 0.0 * cp.sum(x)), own, parameters=[x])
    upper = rows(p["U"], p["U_lower"], p["U_upper"], z)
    low = np.where(np.isfinite(x.bounds[0]), x.bounds[0], -WINDOW)
    x.sample_bounds = (low, np.where(np.isfinite(x.bounds[1]), x.bounds[1], low + 2 * WINDOW))
    if starts is None:
        obeyed = cp.Problem(cp.Minimize(p["F"] @ z + 0.0 * cp.sum(x)), [*own, *upper])
        obeyed.solve(solver=cp.CLARABEL)
        if x.value is None:
            x.value = np.clip(np.zeros(x.size), *x.sample_bounds)
    problem = bp.BilevelProblem(cp.Minimize(p["F"] @ z), lower, upper_constraints=upper)
    found = problem.solve(verbose=False, best_of=starts, seed=None if starts is None else 0)
    if not found.succeeded:
        return found.status, "", None, None, None
    return found.status, "", x.value[: p["x_lower"].size], y.value, None


def blvpy10(p, limit):
    return blvpy(p, limit, 10)


def halves(matrix, low, high):
    """A block as ``G z <= h``."""
    up, down = np.isfinite(high), np.isfinite(low)
    return np.vstack([matrix[up], -matrix[down]]), np.concatenate([high[up], -low[down]])


def pao(p, limit):
    import pao as package
    from pao.mpr import LinearMultilevelProblem

    nx, ny = p["x_lower"].size, p["y_lower"].size
    model = LinearMultilevelProblem()
    U = model.add_upper(nxR=nx)
    L = U.add_lower(nxR=ny)
    for level, letter in ((U, "x"), (L, "y")):
        level.x.lower_bounds, level.x.upper_bounds = p[f"{letter}_lower"], p[f"{letter}_upper"]
    for level, cost, block in ((U, "F", ("U", "U_lower", "U_upper")), (L, "f", ("A", "row_lower", "row_upper"))):
        level.c[U], level.c[L] = p[cost][:nx], p[cost][nx:]
        matrix, side = halves(*(p[key] for key in block))
        if level is L and not side.size:  # it stumbles over a follower without rows
            matrix, side = np.zeros((1, nx + ny)), np.ones(1)
        if side.size:
            level.A[U], level.A[L], level.b = matrix[:, :nx].tolist(), matrix[:, nx:].tolist(), side
    try:
        found = package.Solver("pao.mpr.FA", mip_solver="appsi_highs").solve(model)
    except RuntimeError as error:
        if "feasible solution was not found" in str(error):
            return "infeasible", "", None, None, None
        raise
    condition = found.solver.termination_condition.name
    return condition, "", np.array(U.x.values, dtype=float), np.array(L.x.values, dtype=float), None


ENGINES = {"tritier": tritier, "blvpy": blvpy, "blvpy10": blvpy10, "pao": pao}


def one(engine, given, limit, channel):
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    start = time.process_time()
    try:
        status, proof, x, y, bound = ENGINES[engine](arrays(given), limit)
        point = {} if x is None or y is None else {"x": np.asarray(x).tolist(), "y": np.asarray(y).tolist()}
        answer = {"status": str(status), "proof": proof, "bound": bound} | point
    except Exception as error:  # whatever an engine raises is its answer
        answer = {"status": "refused", "proof": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}
    channel.send(answer | {"seconds": time.process_time() - start})


def main(engine, limit):
    context = multiprocessing.get_context("fork")
    __import__("tritier.bilevel" if engine == "tritier" else engine.removesuffix("10"))
    for line in sys.stdin:
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=one, args=(engine, json.loads(line), limit, there), daemon=True)
        child.start()
        there.close()
        answer = {"status": "limit", "proof": "", "seconds": limit}
        try:
            answer = here.recv()
        except EOFError:
            child.join()
            answer["status"] = "limit" if child.exitcode in (-signal.SIGXCPU, -signal.SIGKILL) else "died"
        child.kill()
        child.join()
        print("@" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
