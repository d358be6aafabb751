"""Where a result comes from and how it gets onto the disk: hashes, commit, versions, whole writes, a sole writer.

A file or folder is written beside its place under a name of its own and then moved there, so that a reader finds the
old one or the new one. What a killed run left beside a place is removed by the next run that holds the place's lock.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tritier.errors import InputError, Interrupted

if TYPE_CHECKING:
    from pandas import DataFrame

PACKAGE = Path(__file__).resolve().parent
DATA = PACKAGE.parent / "data"  # of the repository that the package lies in
MAX_JOBS = 256  # processes
VERSIONED = ("numpy", "pandas", "cvxpy", "highspy", "pyscipopt", "power-grid-model")


def digest(content: str | bytes) -> str:
    """First 16 hex digits of SHA-256."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def tree_hash(folder: Path, pattern: str = "*") -> str:
    """Hash of the names and contents of all files below a folder that match, caches left out."""
    files = [p for p in sorted(folder.rglob(pattern)) if p.is_file() and "__pycache__" not in p.parts]
    return digest("\n".join(f"{p.relative_to(folder).as_posix()} {digest(p.read_bytes())}" for p in files))


def package_hash(folder: Path = PACKAGE) -> str:
    """Hash of every module of the package, subpackages included."""
    return tree_hash(folder, "*.py")


def versions(packages: Sequence[str] = VERSIONED) -> dict[str, str]:
    """Versions of Python and of packages, those that results depend on by default."""
    return {name: version(name) for name in packages} | {"python": platform.python_version()}


def versions_in_words(packages: Sequence[str] = VERSIONED) -> str:
    """:func:`versions` in one cell of a table whose rows are measured at different times."""
    return ", ".join(f"{name} {number}" for name, number in versions(packages).items())


@cache
def commit() -> str:
    """Commit of the checkout, with '+' where code or inputs differ from it; 'unknown' outside a checkout.

    As a process finds it first: what it has loaded stays, whatever is committed before its result is written.
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    return head + ("+" if git("status", "--porcelain", "--", "tritier", "data", ":!data/results") else "")


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole."""
    write_text(path, json.dumps(content, indent=1, default=float) + "\n")


def write_csv(path: Path, table: DataFrame, digits: int | None = 10) -> None:
    """Write a table as a CSV file whole, without its index; digits: of a number, all where None."""
    with whole_file(path) as part:
        table.to_csv(part, index=False, float_format=None if digits is None else f"%.{digits}g", lineterminator="\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """An OSError, such as a full disk's, names the file that was being written: ``path`` where it names none, or names
    ``part``, which is to take its place, or a file in it."""
    try:
        yield
    except OSError as error:
        named = Path(error.filename or path)
        if part is not None and named.is_relative_to(part):
            named = path / named.relative_to(part)
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(named)) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` when all is well and is removed otherwise."""
    part = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part{path.suffix}")
    try:
        with naming(path, part):
            yield part
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to write to, which takes the place of ``path`` when all is well and is removed otherwise."""
    part = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    old = path.with_name(f".{path.name}.{uuid4().hex[:12]}.old")
    try:
        with naming(path, part):
            part.mkdir()
            yield part
            if path.exists():
                path.rename(old)
            part.rename(path)
    finally:
        if not path.exists() and old.exists():
            old.rename(path)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def own_folder(out: Path, files: Collection[str]) -> Path:
    """The folder a result of these files may go to, absolute, its parent made. An earlier result gives way to it;
    nothing else is touched.

    Raises InputError where ``out`` is a file, holds anything but a result, or cannot be written.
    """
    try:
        folder = out.resolve()
        if folder.is_file():
            raise InputError(out, "--out", "is a file", "name a folder")
        found = sorted(folder.iterdir()) if folder.exists() else []
        folder.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        reason = error.strerror if isinstance(error, OSError) else "a link leads to itself"
        raise InputError(out, "--out", f"cannot be made ({reason})", "name a folder you may write to") from error
    foreign = [p.name for p in found if p.name not in files or not p.is_file()]
    if found and not foreign and not (folder / "provenance.json").is_file():
        foreign = [found[0].name]
    if foreign:
        raise InputError(out, "--out", f"holds {foreign[0]}, which is no part of a result", "name a new folder")
    if not os.access(folder.parent, os.W_OK | os.X_OK):
        raise InputError(out, "--out", "is in a folder you may not write to", "name another folder")
    return folder


def require_jobs(jobs: int) -> None:
    """Raise InputError where jobs are no number of processes."""
    if not isinstance(jobs, Integral) or jobs == 0 or not -1 <= jobs <= MAX_JOBS:
        mend = f"give 1 to {MAX_JOBS}, or -1 for one a core"
        raise InputError("--jobs", "jobs", f"{jobs!r} is no number of processes", mend)


def require_same_question(state: Path, told: Mapping[str, object], mine: Mapping[str, object]) -> None:
    """Raise InputError, naming what differs, where the state of an interrupted run belongs to another question."""
    differ = [key for key, value in mine.items() if told.get(key) != json.loads(json.dumps(value))]
    if differ:
        problem = f"is the state of an interrupted run with another {', '.join(differ)}"
        raise InputError(state, "--resume", problem, "undo the change, or give --restart to begin anew")


def comes_of_interrupt(error: BaseException | None) -> bool:
    """Whether an error is an interrupt or was raised while one was handled: processes that are just being started
    cannot be stopped, and joblib says so in its place."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


@contextmanager
def keeping(state: Path | None) -> Iterator[None]:
    """An interrupted run says what it has found, and whether its state is there to go on from."""
    try:
        yield
    except (KeyboardInterrupt, Exception) as stop:
        if not comes_of_interrupt(stop):
            raise
        found = f"interrupted with {stop}" if isinstance(stop, Interrupted) else "interrupted"
        mend = f"--resume goes on from {state}" if state and state.exists() else "nothing is stored yet"
        raise Interrupted(f"{found}; {mend}") from stop


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """The right to write to ``path``, for one process at a time; leftovers of killed runs beside it are cleared.

    The lock goes with the process that holds it: the file that a killed run leaves locks nobody out.

    Raises InputError where another process holds it.
    """
    lock = path.with_name(f".{path.name}.lock")
    while True:
        with lock.open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(path, "--out", "is being written by another run", "wait, or name another") from error
            if not (lock.exists() and os.path.samestat(os.fstat(held.fileno()), lock.stat())):
                continue  # its last holder has just removed this very file
            try:
                clear_leftovers(path)
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def clear_leftovers(path: Path) -> None:
    """Remove what a killed run left beside ``path``, of its own and of its state; an old result that it had moved away
    comes back."""
    own = re.compile(rf"\.{re.escape(path.name)}(\.state(\.\w+)?\.(npz|json))?\.[0-9a-f]{{12}}\.(part|old)(\.\w+)?")
    beside = [p for p in sorted(path.parent.iterdir()) if own.fullmatch(p.name)]
    olds = [p for p in beside if p.suffix == ".old"]
    if olds and not path.exists():
        olds[-1].rename(path)
        beside.remove(olds[-1])
    for p in beside:
        if p.is_dir():
            shutil.rmtree(p, ignore_errors=True)
        else:
            p.unlink(missing_ok=True)
