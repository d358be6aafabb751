"""Write the tables of the bilevel solver, bilevel_*.csv, and bilevel.json, which says where each is from.

From the repository root, in one process:

- `python data/results/bilevel.py scaling`: every file of the collection in six kinds of units and four modes;
- `python data/results/bilevel.py random`: random problems by every route, a quarter of an hour;
- `python data/results/bilevel.py rivals BLVPY PAO`: known answers, random problems and a growing family by tritier and
  by what else installs from the package index, in the interpreters given (bilevel_engines.py), half an hour;
- `python data/results/bilevel.py first`: Bard's example in other units by this repository's first edition.

The known answers and the other problems are those of the tests.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from bilevel_problems import RANDOM, RESCALINGS, UNITS, bard, fingerprint, grown, pineda, plain, random_problem  # noqa: E402
from bilevel_routes import reference, routes, same  # noqa: E402

from tritier.errors import CertificateError, SolverError  # noqa: E402
from tritier.provenance import commit  # noqa: E402
from tritier.reformulation.bilevel import LinearBilevel, solve_follower  # noqa: E402
from tritier.reformulation.files import read_bilevel, write_bilevel  # noqa: E402
from tritier.reformulation.kkt import leader_residual  # noqa: E402
from tritier.reformulation.modes import MODES  # noqa: E402
from tritier.reformulation.scaling import in_units, scaled  # noqa: E402
from tritier.reformulation.solve import solve  # noqa: E402

COLLECTION = ROOT / "tests" / "data" / "bilevel"
LIMIT = 10.0  # seconds of processor time, of each engine on each problem
CLOSE = 1e-3  # relative: answers of a local method at its own tolerance count as right
SLACK = 1e-6  # relative: the usual feasibility tolerance of a MIP solver
SAMPLE, SIZES, SEEDS = range(0, RANDOM, 5), (5, 10, 15, 20, 30), 3
FIRST = "316252548a9b"  # commit of the first edition
ENGINES = ("tritier", "blvpy", "blvpy10", "pao")
PACKAGES = ("cvxpy", "highspy", "numpy", "pyscipopt", "scipy")


def known() -> list[tuple[Path, float | None]]:
    """The bilevel files of the collection by name and their optima, None where infeasible."""
    paths = sorted(COLLECTION.glob("*/*.json"), key=lambda path: path.name)
    read = ((path, json.loads(path.read_text())) for path in paths)
    return [(path, data["optimum_F"]) for path, data in read if "levels" not in data]


def verdict(problem, units, optimum: float | None, mode: str) -> str:
    """right, wrong, or what refused to answer: the problem in other units, its optimum counted in the old ones."""
    try:
        found = solve(in_units(problem, units), mode, time_limit=60)
    except (CertificateError, SolverError) as error:
        return f"refused: {error}"
    if optimum is None:
        return "right" if found.status == "infeasible" else f"wrong: {found.status}"
    if found.status != "optimal":
        return f"open: {found.status}"
    value = found.objective * units.F_unit
    return "right" if abs(value - optimum) <= 1e-5 * max(1.0, abs(optimum)) else f"wrong: {value:.9g}"


def scaling() -> pd.DataFrame:
    """One row a file, kind of units and mode."""
    rows = []
    for path, optimum in known():
        problem = read_bilevel(path)
        for kind, units in RESCALINGS.items():
            for mode in MODES:
                start = time.perf_counter()
                word = verdict(problem, units(problem), optimum, mode)
                rows.append((path.stem, kind, mode, word, round(time.perf_counter() - start, 3)))
                if word != "right":
                    print(*rows[-1], file=sys.stderr, flush=True)
    return pd.DataFrame(rows, columns=["file", "units", "mode", "verdict", "seconds"])


def random() -> pd.DataFrame:
    """One row a problem and route: its answer, and that of brute force or of scipy."""
    rows = []
    for seed in range(RANDOM):
        problem = random_problem(seed)
        data = sha256(fingerprint(problem)).hexdigest()[:16]
        with tempfile.TemporaryDirectory() as folder:
            for route, (ours, reference) in routes(problem, Path(folder)).items():
                rows.append((seed, data, route, told(ours), told(reference)))
                if not same(ours, reference):
                    print(*rows[-1], file=sys.stderr, flush=True)
    return pd.DataFrame(rows, columns=["seed", "fingerprint", "route", "answer", "reference"])


def problems() -> list[tuple[str, LinearBilevel, float | str | None]]:
    """Suite, problem and what its answer is; None where only the engines say it."""
    out: list[tuple[str, LinearBilevel, float | str | None]] = []
    for path, optimum in known():
        out.append(("known answers", read_bilevel(path), "infeasible" if optimum is None else optimum))
    for seed in SAMPLE:
        problem = plain(random_problem(seed))
        problem = replace(problem, integer=np.zeros(problem.nx, dtype=bool))
        answer = reference(problem)
        if answer != "unbounded":
            out.append(("random", problem, answer))
    out += [("other units", bard(*units), -18.0) for units in UNITS]
    out += [("large multipliers", pineda(slope), -2.0 - 1.0 / slope) for slope in (1e-2, 1e-4, 1e-5, 2e-6)]
    return out + [("growing", grown(n, seed), None) for n in SIZES for seed in range(SEEDS)]


def as_json(problem: LinearBilevel) -> str:
    """What an engine is told; costs of the leader's own decision move no follower."""
    fields = ("F", "f", "U_lower", "U_upper", "row_lower", "row_upper", "x_lower", "x_upper", "y_lower", "y_upper")
    told = {name: getattr(problem, name).tolist() for name in fields}
    return json.dumps(told | {"U": problem.U.toarray().tolist(), "A": problem.A.toarray().tolist()})


def off(problem: LinearBilevel, x: np.ndarray, y: np.ndarray) -> float:
    """How far a point is from the leader's rows, the follower's rows and the follower's best cost, relative, in units
    in which rows and costs have a largest entry of 1."""
    problem, units = scaled(problem)
    x, y = x / units.x_unit, y / units.y_unit
    z = np.concatenate([x, y])
    status, theta, *_ = solve_follower(problem, x)
    if status == "infeasible":  # by a solver's feasibility tolerance at most
        low, high = problem.row_lower, problem.row_upper
        wider = replace(problem, row_lower=low - SLACK * (1 + abs(low)), row_upper=high + SLACK * (1 + abs(high)))
        status, theta, *_ = solve_follower(wider, x)
    if status != "optimal":
        return np.inf
    size, side = 1.0 + abs(problem.A) @ np.abs(z), problem.A @ z
    rows = [(problem.row_lower - side) / size, (side - problem.row_upper) / size]
    own = [(problem.y_lower - y) / (1 + np.abs(y)), (y - problem.y_upper) / (1 + np.abs(y))]
    worse = abs(problem.follower_cost(x, y) - theta) / max(1.0, float(np.abs(problem.f) @ np.abs(z)))
    return max(leader_residual(problem, x, y), worse, *(float(np.max(v, initial=0.0)) for v in rows + own))


def judged(problem: LinearBilevel, answer: dict, optimum: float | str | None) -> tuple[str, float]:
    """right, worse (a follower-optimal point that is not the best), false (no such point, or a wrong infeasible),
    none; and F of the point."""
    if answer["status"] == "infeasible":
        return ("right" if optimum == "infeasible" else "false" if optimum is not None else "none"), np.nan
    if "x" not in answer or not np.isfinite([*answer["x"], *answer["y"]]).all():
        return "none", np.nan
    x, y = np.array(answer["x"]), np.array(answer["y"])
    value = problem.leader_cost(x, y)
    if off(problem, x, y) > CLOSE or isinstance(optimum, str):
        return "false", value
    if optimum is None:
        return "none", value
    return ("right" if value <= optimum + CLOSE * max(1.0, abs(optimum)) else "worse"), value


def rivals(*interpreters: str) -> pd.DataFrame:
    """One row a problem and engine. What is right in the growing family is what tritier has proved."""
    asked = problems()
    by_engine = {"tritier": sys.executable, "pao": interpreters[1]}
    answers = {}
    for engine in ENGINES:
        command = [by_engine.get(engine, interpreters[0]), str(HERE / "bilevel_engines.py"), engine, str(LIMIT)]
        lines = "\n".join(as_json(problem) for _, problem, _ in asked) + "\n"
        said = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
        answers[engine] = [json.loads(line[1:]) for line in said if line.startswith("@{")]
        if len(answers[engine]) != len(asked):
            raise SystemExit(f"{engine}: {len(answers[engine])} answers to {len(asked)} problems")
    rows = []
    for k, (suite, problem, optimum) in enumerate(asked):
        ours = answers["tritier"][k]
        if optimum is None and ours["status"] in ("optimal", "infeasible"):
            point = [np.array(ours.get(letter, [])) for letter in "xy"]
            optimum = problem.leader_cost(*point) if ours["status"] == "optimal" else "infeasible"
        for engine in ENGINES:
            answer = answers[engine][k]
            word, value = judged(problem, answer, optimum)
            rows.append(
                (suite, problem.name, problem.nx, problem.ny, problem.row_lower.size, engine, answer["status"], word,
                 "" if optimum is None else told(optimum), value, answer["proof"], round(answer["seconds"], 3), LIMIT)
            )  # fmt: skip
    names = ["suite", "problem", "nx", "ny", "rows", "engine", "status", "verdict", "optimum", "value", "proof"]
    return pd.DataFrame(rows, columns=[*names, "seconds", "limit"])


def first() -> pd.DataFrame:
    """One row a kind of units and mode: what the first edition's command says, before anything was scaled."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", FIRST], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        file = Path(folder) / "bard.json"
        for cost, size in UNITS:
            write_bilevel(bard(cost, size), file)
            for mode in MODES:
                command = [sys.executable, "-m", "tritier", "bilevel", str(file), "--mode", mode, "--json"]
                ran = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": folder},
                                     capture_output=True, text=True)  # fmt: skip
                found = json.loads(ran.stdout) if ran.returncode == 0 else {"status": f"exit {ran.returncode}"}
                rows.append((cost, size, mode, found["status"], found.get("objective"), found.get("proof", "")))
    return pd.DataFrame(rows, columns=["cost", "rows", "mode", "status", "objective", "proof"])


def told(answer: float | str) -> str:
    return answer if isinstance(answer, str) else f"{answer:.9g}"


def origin(name: str, seconds: float) -> dict[str, object]:
    """Where a table is from."""
    return {
        "command": f"python data/results/bilevel.py {name}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "processes": 1,
        "load": round(os.getloadavg()[2], 1),
        "seconds": round(seconds, 1),
    }


def main(name: str, *interpreters: str) -> None:
    commit()  # of the code as it is loaded: the table may be stored after the next one
    start = time.perf_counter()
    table = {"scaling": scaling, "random": random, "rivals": rivals, "first": first}[name](*interpreters)
    table.to_csv(HERE / f"bilevel_{name}.csv", index=False)
    path = HERE / "bilevel.json"
    made = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    made[name] = origin(name, time.perf_counter() - start)
    installed = ("blvpy", "cyipopt", "cvxpy"), ("pao", "pyomo", "highspy")
    for interpreter, others in zip(interpreters, installed, strict=False):
        code = f"import json; from importlib.metadata import version; print(json.dumps([version(n) for n in {others}]))"
        said = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True).stdout
        made[name][others[0]] = dict(zip(others, json.loads(said), strict=True))
    path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
