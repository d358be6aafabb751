"""Run the chapters that are stale, two at a time, and say of any chapter why it cannot be trusted.

Beside each executed notebook lies a record of hashes: notebook, parameters, package, data, lock file, the results of
chapters that it reads, and what it wrote. A chapter is stale as soon as one of them differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import nbformat
import psutil
import yaml

from tritier.book.page import figure_files
from tritier.errors import InputError
from tritier.provenance import commit, digest, package_hash, tree_hash, write_json


@dataclass(frozen=True)
class Book:
    """A book on disk: its folder, the preset, and the package its chapters use."""

    root: Path
    preset: str
    package: str = "tritier"
    procs: set[subprocess.Popen] = field(default_factory=set, compare=False)

    @property
    def run_folder(self) -> Path:
        return self.root / "_run" / self.preset

    @cached_property
    def pages(self) -> tuple[str, ...]:
        """Every page of _toc.yml in order, as a path without suffix."""
        toc = yaml.safe_load((self.root / "_toc.yml").read_text())
        return tuple(_entries(toc))

    @cached_property
    def chapters(self) -> tuple[str, ...]:
        """Names of the pages that are notebooks."""
        found = []
        for page in self.pages:
            if (self.root / f"{page}.ipynb").is_file():
                found.append(Path(page).name)
            elif not (self.root / f"{page}.md").is_file():
                raise InputError("_toc.yml", page, "no such page", "add the file or strike the line")
        return tuple(found)

    def source(self, chapter: str) -> Path:
        return self.root / "chapters" / f"{chapter}.ipynb"

    def executed(self, chapter: str) -> Path:
        return self.run_folder / f"{chapter}.ipynb"

    def record_path(self, chapter: str) -> Path:
        return self.run_folder / f"{chapter}.json"

    def record(self, chapter: str) -> dict[str, Any]:
        """The record of a chapter's last run; empty where it has never been run."""
        path = self.record_path(chapter)
        return json.loads(path.read_text()) if path.is_file() else {}

    def needs(self, chapter: str) -> list[str]:
        """Chapters whose results this one reads: notebook metadata ``tritier.needs``."""
        metadata = nbformat.read(self.source(chapter), as_version=4).metadata
        needs = list(metadata.get("tritier", {}).get("needs", []))
        for other in needs:
            if other not in self.chapters:
                file = f"chapters/{chapter}.ipynb"
                raise InputError(file, "tritier.needs", f"{other!r} is not a chapter of _toc.yml", "name one that is")
        return needs


def _entries(node: object) -> list[str]:
    if isinstance(node, list):
        return [page for entry in node for page in _entries(entry)]
    if not isinstance(node, dict):
        return []
    own = [node[key] for key in ("root", "file") if key in node]
    return own + [page for value in node.values() if isinstance(value, list) for page in _entries(value)]


def shared_sources(book: Book) -> dict[str, str]:
    """Hashes of what every chapter is made from, as it stands now: package, data, sweeps' notebooks, lock file."""
    return {
        "package": package_hash(book.root / book.package),
        "data": tree_hash(book.root / "data"),
        "sweeps": tree_hash(book.root / "sweeps", "*.ipynb"),
        "lock": _hash(book.root / "requirements.lock"),
    }


def sources(book: Book, chapter: str, shared: dict[str, str]) -> dict[str, object]:
    """Hashes of all that a chapter is made from: what all share, its notebook and parameters, results that it reads."""
    return shared | {
        "notebook": _hash(book.source(chapter)),
        "parameters": {"preset": book.preset},
        "needs": {c: digest(json.dumps(book.record(c).get("outputs"))) for c in book.needs(chapter)},
    }


def changed(book: Book, chapter: str, shared: dict[str, str]) -> str:
    """What differs from the last run of a chapter, in a few words; empty if nothing does."""
    old = book.record(chapter)
    if not old:
        return "never executed"
    if old["status"] != "executed":
        return old["status"]
    if _hash(book.executed(chapter)) != old["executed"]:
        return "executed notebook is missing or was changed"
    if parts := [key for key, now in sources(book, chapter, shared).items() if now != old.get(key)]:
        return f"{', '.join(parts)} changed"
    outputs = [path for path, then in old["outputs"].items() if _hash(book.root / path) != then]
    return f"output {min(outputs)} changed" if outputs else ""


def stale(book: Book) -> dict[str, str]:
    """Why chapters must be run again, by chapter: something differs, or a chapter that they read is stale itself.

    Raises InputError where chapters need each other in a circle.
    """
    shared, found = shared_sources(book), dict[str, str]()
    for chapter in in_order(book).static_order():
        old = [c for c in book.needs(chapter) if c in found]
        if reason := changed(book, chapter, shared) or (f"it reads {old[0]}, which is stale" if old else ""):
            found[chapter] = reason
    return {chapter: found[chapter] for chapter in book.chapters if chapter in found}


def in_order(book: Book) -> TopologicalSorter[str]:
    """Chapters by what they need; raises InputError where they need each other in a circle."""
    needs = {chapter: book.needs(chapter) for chapter in book.chapters}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as circle:
        names = " -> ".join(circle.args[1])
        raise InputError("chapters", "tritier.needs", f"a circle: {names}", "strike one of them") from None
    return TopologicalSorter(needs)


def _hash(path: Path) -> str:
    """Hash of a file, or ``missing``."""
    return digest(path.read_bytes()) if path.is_file() else "missing"


def outputs(book: Book, chapter: str) -> dict[str, str]:
    """Hashes of a chapter's results, and of the figures that its executed notebook shows, by path from the root."""
    results = (book.root / "results" / book.preset / chapter).rglob("*")
    shown = (
        figure_files(nbformat.read(book.executed(chapter), as_version=4)) if book.executed(chapter).is_file() else []
    )
    paths = [p for p in results if p.is_file()] + [book.run_folder / "figures" / name for name in shown]
    return {p.relative_to(book.root).as_posix(): _hash(p) for p in sorted(paths)}


def run_chapter(book: Book, chapter: str) -> dict:
    """Execute one chapter by papermill in a process of its own and write its record, whatever came of it."""
    folder = book.run_folder
    made = sources(book, chapter, shared_sources(book))
    book.record_path(chapter).unlink(missing_ok=True)
    path = [str(book.root), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in path if p),
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    command = [sys.executable, "-m", "papermill", str(book.source(chapter)), str(book.executed(chapter))]
    command += ["-p", "preset", book.preset, "--kernel", "python3", "--no-progress-bar"]
    started = time.perf_counter()
    with (folder / f"{chapter}.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=book.root, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        book.procs.add(process)
        code = process.wait()
        book.procs.discard(process)
    record = made | {
        "chapter": chapter,
        "status": "executed" if code == 0 else "failed" if code > 0 else f"stopped by signal {-code}",
        "outputs": outputs(book, chapter),
        "executed": _hash(book.executed(chapter)),
        "seconds": round(time.perf_counter() - started, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": sys.version.split()[0],
    }
    write_json(book.record_path(chapter), record)
    return record


def chain_through(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Length of the longest chain of chapters, each waiting for the one before, that each chapter is part of; needs:
    those that each one waits for, without a circle."""
    ordered = list(TopologicalSorter(needs).static_order())
    before, behind = dict.fromkeys(ordered, 0), dict.fromkeys(ordered, 0)
    for chapter in ordered:
        before[chapter] = max((before[other] + 1 for other in needs[chapter]), default=0)
    for chapter in reversed(ordered):
        for other in needs[chapter]:
            behind[other] = max(behind[other], behind[chapter] + 1)
    return {chapter: 1 + before[chapter] + behind[chapter] for chapter in ordered}


def run_stale(book: Book, jobs: int = 2) -> None:
    """Run all stale chapters, each after those it needs, the longest chain first and then from the last one back, as a
    book's first chapters are short and so leave no worker idle at the end; a chapter whose needs failed is left alone.

    Raises:
        InputError: chapters need each other in a circle.
        KeyboardInterrupt: after the running chapters have been stopped; they count as stopped.
    """
    book.run_folder.mkdir(parents=True, exist_ok=True)
    order = in_order(book)
    order.prepare()
    failed: set[str] = set()
    chain, waiting = chain_through({chapter: book.needs(chapter) for chapter in book.chapters}), list[str]()
    first = {chapter: (-chain[chapter], -place) for place, chapter in enumerate(book.chapters)}
    workers = max(1, jobs)

    def work(chapter: str) -> None:
        reason = changed(book, chapter, shared_sources(book))
        blocked = [c for c in book.needs(chapter) if c in failed]
        if blocked:
            failed.add(chapter)
            print(f"  {chapter}: not run, {blocked[0]} did not succeed", flush=True)
        elif not reason:
            print(f"  {chapter}: fresh", flush=True)
        else:
            print(f"  {chapter}: running ({reason})", flush=True)
            record = run_chapter(book, chapter)
            if record["status"] != "executed":
                failed.add(chapter)
            print(f"  {chapter}: {record['status']} in {record['seconds']:.0f} s", flush=True)

    with ThreadPoolExecutor(workers) as pool:
        running: dict[Future, str] = {}
        try:
            while order.is_active():
                waiting = sorted([*waiting, *order.get_ready()], key=first.__getitem__)
                while waiting and len(running) < workers:
                    chapter = waiting.pop(0)
                    running[pool.submit(work, chapter)] = chapter
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    order.done(running.pop(future))
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(book.procs):
                _kill(process)
            raise


def _kill(process: subprocess.Popen) -> None:
    """End a chapter's process, its kernel (a session of its own) and their workers."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.kill()


def gate(book: Book) -> list[str]:
    """One line for each chapter of _toc.yml that was not executed, without exception, from the current sources."""
    old, found = stale(book), []
    for chapter in book.chapters:
        reason = old.get(chapter) or _unfinished(book.executed(chapter))
        if reason:
            log = (book.run_folder / f"{chapter}.log").relative_to(book.root)
            found.append(f"{chapter}: {reason}" + (f" (see {log})" if reason == "failed" else ""))
    return found


def _unfinished(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    cells = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    if any(o.output_type == "error" for c in cells for o in c.outputs):
        return "a cell raised an exception"
    if any(c.execution_count is None for c in cells):
        return "a cell was not executed"
    return ""
