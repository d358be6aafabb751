"""Sweeps: one notebook run by papermill for each value of a parameter, in parallel, each point kept under its hash.

The hash covers the parameters, the study's inputs, the notebook, every definition of the package that it can reach and
the lock file. A second run finds all its points; a run that was cut off goes on; an edit re-runs what it can reach.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pandas as pd
from joblib import Parallel, delayed
from nbclient.exceptions import DeadKernelError

from tritier.book_depends import Package, digest
from tritier.errors import InputError
from tritier.reading import Study, read_study
from tritier.sweep_point import ROW

NOTEBOOK = Path("sweeps") / "point.ipynb"
NOT_INPUTS = {"name", "title", "files", "menus", "presets"}  # keys of study.yaml that decide no figure of a point


@dataclass(frozen=True)
class Point:
    """One value of one sweep: what the notebook is told."""

    sweep: str
    label: str
    parameters: Mapping[str, object] = field(hash=False)


@dataclass(frozen=True)
class Bench:
    """Where points are run: the repository, the notebook, and the folder that keeps what was found."""

    root: Path
    store: Path
    notebook: Path = NOTEBOOK

    def origin(self) -> str:
        """Hash of what every point is made from besides its parameters and data, as the book's gate takes it."""
        path, lock = self.root / self.notebook, self.root / "requirements.lock"
        package = Package(Path(__file__).resolve().parent)
        made = {
            "notebook": digest(path.read_bytes()),
            "functions": package.of_notebook(path),
            "lock": digest(lock.read_bytes()) if lock.is_file() else "none",
        }
        return digest(json.dumps(made, sort_keys=True))

    def path(self, key: str) -> Path:
        return self.store / f"{key}.json"


def inputs_hash(study: Study) -> str:
    """Hash of what decides a study's figures: its tables, and study.yaml without names, menus and presets.

    Menus and sizes are parameters of a point: an edit of the study's own leaves every stored point as true as it was.
    """
    tables = {role: digest(path.read_bytes()) for role, path in study.paths.items() if role != "study"}
    settings = {k: v for k, v in study.settings.model_dump(mode="json").items() if k not in NOT_INPUTS}
    return digest(json.dumps([tables, settings], sort_keys=True))


def key_of(point: Point, data: str, origin: str) -> str:
    """The name under which a point is kept: a hash of its parameters, its data and its origin, not of its label."""
    return digest(json.dumps([point.parameters, data, origin], sort_keys=True))


def run_sweep(bench: Bench, points: Iterable[Point], jobs: int = 1) -> pd.DataFrame:
    """Rows of all points in their order, of which only those not kept yet are executed.

    Points with the same parameters are run once. Each is a papermill run of its own in one of ``jobs`` processes, and
    is kept as soon as it is done.

    Returns:
        A table with the columns ``sweep``, ``label``, ``key``, ``executed`` and those of the row.

    Raises:
        InputError: a point's notebook failed, its study cannot be read, or a kept point is damaged; finished points
            stay.
    """
    points, origin = list(points), bench.origin()
    studies = {str(p.parameters["study"]) for p in points}
    data = {name: inputs_hash(read_study(bench.root / name)) for name in studies}
    keys = [key_of(p, data[str(p.parameters["study"])], origin) for p in points]
    pending = {k: p for k, p in zip(keys, points, strict=True) if not bench.path(k).is_file()}
    bench.store.mkdir(parents=True, exist_ok=True)
    tasks = (delayed(run_point)(bench, p, k, data[str(p.parameters["study"])], origin) for k, p in pending.items())
    failures = [text for text in Parallel(n_jobs=jobs)(tasks) if text]
    if failures:
        raise InputError(bench.notebook, "point", failures[0], f"{len(failures)} failed; the others are kept")
    rows = []
    for k, p in zip(keys, points, strict=True):
        rows.append({"sweep": p.sweep, "label": p.label, "key": k, "executed": k in pending} | read_row(bench, k))
    return pd.DataFrame(rows)


def run_point(bench: Bench, point: Point, key: str, data: str, origin: str) -> str:
    """Execute the notebook for one point and keep its row whole; returns what went wrong, in one line."""
    import papermill

    executed = bench.store / f"{key}.ipynb"
    try:
        notebook = papermill.execute_notebook(
            str(bench.root / bench.notebook),
            str(executed),
            dict(point.parameters),
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],
            cwd=str(bench.root),
        )
    except papermill.PapermillExecutionError as error:
        return f"{point.sweep} {point.label}: {error.ename}: {error.evalue}".replace("\n", " ")
    except DeadKernelError as error:
        return f"{point.sweep} {point.label}: {error}"
    kept = {"data": data, "origin": origin, "parameters": point.parameters, "row": row_of(notebook)}
    fresh = bench.store / f".{key}-{os.getpid()}"
    fresh.write_text(json.dumps(kept, indent=1))
    fresh.replace(bench.path(key))
    return ""


def row_of(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """The row that an executed notebook hands over. Raises InputError unless there is exactly one."""
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    found = [o.data[ROW] for o in outputs if "data" in o and ROW in o.data]
    if len(found) != 1:
        raise InputError(
            "sweep", "row", f"the notebook hands over {len(found)} rows", "call sweep_point.hand_over once"
        )
    return dict(found[0])


def read_row(bench: Bench, key: str) -> dict[str, object]:
    """The row kept under a key. Raises InputError where the file holds none."""
    try:
        return dict(json.loads(bench.path(key).read_text())["row"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(bench.path(key), "row", "is damaged", "delete the file and run the sweep again") from error
