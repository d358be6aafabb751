"""Run the chapters that are stale, two at a time, and say of any chapter why it cannot be trusted.

Beside each executed notebook lies a record: the notebook, its parameters, the lock file, every definition it can
reach, every file it read and wrote, each with its hash. A chapter is stale as soon as one of them differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nbformat
import psutil
import yaml

from tritier.book import record as book_opened
from tritier.book.page import commit
from tritier.book.record import Package, digest
from tritier.errors import InputError

PRESETS = ("smoke", "fast", "paper")
NOT_DATA = ("chapters", "figures", "_run", "_build", "tests", "vendor")  # read by the machinery, not by a chapter
RECORDER = "from tritier.book.record import record\n\nrecord()\n"


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

    def record(self, chapter: str) -> dict | None:
        path = self.record_path(chapter)
        return json.loads(path.read_text()) if path.is_file() else None

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


def sources(book: Book, package: Package, chapter: str) -> dict[str, object]:
    """Hashes of what a chapter is made from, as it stands now; the files it reads are known only after a run."""
    lock = book.root / "requirements.lock"
    return {
        "notebook": digest(book.source(chapter).read_bytes()),
        "parameters": {"preset": book.preset},
        "lock": digest(lock.read_bytes()) if lock.is_file() else "none",
        "functions": package.of_notebook(book.source(chapter)),
    }


def stale_because(book: Book, package: Package, chapter: str) -> str:
    """Why a chapter must be run again, in a few words; empty if it is fresh."""
    old = book.record(chapter)
    if old is None:
        return "never executed"
    if old["status"] != "executed":
        return old["status"]
    if not book.executed(chapter).is_file() or digest(book.executed(chapter).read_bytes()) != old["executed"]:
        return "executed notebook is missing or was changed"
    now = sources(book, package, chapter)
    for key in ("notebook", "parameters", "lock"):
        if now[key] != old[key]:
            return f"{key} changed"
    for group, current in (
        ("function", now["functions"]),
        ("file", {p: _hash(book.root / p) for p in old["files"]}),
        ("output", {p: _hash(book.root / p) for p in old["outputs"]}),
    ):
        if current != old[f"{group}s"]:
            names = {k for k, v in (current.items() ^ old[f"{group}s"].items())}
            return f"{group} {min(names)} changed"
    return ""


def _hash(path: Path) -> str:
    """Hash of a file's bytes, of a folder's file names, or ``missing``."""
    if path.is_dir():
        return digest("\n".join(sorted(p.name for p in path.iterdir())))
    return digest(path.read_bytes()) if path.is_file() else "missing"


def observed(book: Book, opened: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Files a chapter read, and results and figures it wrote, with hashes, by path from the root."""
    kinds = book_opened.opened(opened)

    def inside(paths: set[str]) -> list[Path]:
        found = [Path(p).relative_to(book.root) for p in sorted(paths) if Path(p).is_relative_to(book.root)]
        return [p for p in found if p.parts and (book.root / p).exists()]

    def is_data(p: Path) -> bool:
        code = p.parts[0] == book.package and p.suffix in (".py", ".pyc")
        return not (code or p.parts[0] in NOT_DATA or p.parts[0].startswith(".") or "__pycache__" in p.parts)

    files = [p for p in inside(kinds["r"]) if is_data(p) and (book.root / p).is_file()]
    files += [p for p in inside(kinds["l"]) if p.parts[0] == "data"]
    figures = book.run_folder.relative_to(book.root) / "figures"
    outputs = [p for p in inside(kinds["w"]) if p.parts[0] == "results" or p.is_relative_to(figures)]
    return (
        {p.as_posix(): _hash(book.root / p) for p in files},
        {p.as_posix(): _hash(book.root / p) for p in outputs if (book.root / p).is_file()},
    )


def run_chapter(book: Book, package: Package, chapter: str) -> dict:
    """Execute one chapter by papermill in a process of its own and write its record, whatever came of it."""
    folder = book.run_folder
    made = sources(book, package, chapter)
    book.record_path(chapter).unlink(missing_ok=True)
    opened = folder / f"{chapter}.opened"
    opened.unlink(missing_ok=True)
    path = [str(folder / "recorder"), str(book.root), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in path if p),
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "IPYTHONDIR": str(folder / "ipython"),
        book_opened.VARIABLE: str(opened),
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
    files, outputs = observed(book, opened)
    record = made | {
        "chapter": chapter,
        "status": "executed" if code == 0 else "failed" if code > 0 else f"stopped by signal {-code}",
        "files": files,
        "outputs": outputs,
        "executed": _hash(book.executed(chapter)),
        "seconds": round(time.perf_counter() - started, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(book.root),
        "python": sys.version.split()[0],
    }
    fresh = book.record_path(chapter).with_suffix(".tmp")
    fresh.write_text(json.dumps(record, indent=1, sort_keys=True))
    fresh.replace(book.record_path(chapter))
    return record


def run_stale(book: Book, jobs: int = 2) -> None:
    """Run all stale chapters, each after those it needs; a chapter whose needs failed is left alone.

    Raises:
        InputError: chapters need each other in a circle.
        KeyboardInterrupt: after the running chapters have been stopped; they count as stopped.
    """
    (book.run_folder / "recorder").mkdir(parents=True, exist_ok=True)
    (book.run_folder / "recorder" / "sitecustomize.py").write_text(RECORDER)
    package = Package(book.root / book.package)
    order = TopologicalSorter({chapter: book.needs(chapter) for chapter in book.chapters})
    try:
        order.prepare()
    except CycleError as circle:
        names = " -> ".join(circle.args[1])
        raise InputError("chapters", "tritier.needs", f"a circle: {names}", "strike one of them") from None

    def work(chapter: str) -> None:
        reason = stale_because(book, package, chapter)
        blocked = [c for c in book.needs(chapter) if stale_because(book, package, c)]
        if not reason:
            print(f"  {chapter}: fresh", flush=True)
        elif blocked:
            print(f"  {chapter}: not run, {blocked[0]} did not succeed", flush=True)
        else:
            print(f"  {chapter}: running ({reason})", flush=True)
            record = run_chapter(book, package, chapter)
            print(f"  {chapter}: {record['status']} in {record['seconds']:.0f} s", flush=True)

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        running: dict[Future, str] = {}
        try:
            while order.is_active():
                running |= {pool.submit(work, chapter): chapter for chapter in order.get_ready()}
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
    package = Package(book.root / book.package)
    found = []
    for chapter in book.chapters:
        reason = stale_because(book, package, chapter) or _unfinished(book.executed(chapter))
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
