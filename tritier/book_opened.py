"""Which files a chapter opens: an audit hook that appends them to the file named by ``TRITIER_OPENED``.

The runner puts a one-line ``sitecustomize`` on ``PYTHONPATH``, so the chapter's kernel and every worker process
it starts record alike. One line per event: ``r``, ``w`` or ``l`` (read, written, directory listed), a tab, the path.
Files that compiled code opens by itself are not seen; all readers of this package open theirs from Python.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "TRITIER_OPENED"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_recording: list[int] = []


def record(path: str | None = None) -> None:
    """Start recording to ``path`` (default: the environment's). A second call does nothing."""
    target = path or os.environ.get(VARIABLE)
    if not target or _recording:
        return
    os.environ[VARIABLE] = target
    _recording.append(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    sys.addaudithook(_hook)


def _hook(event: str, args: tuple) -> None:
    if event == "open":
        path, mode, flags = args
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else bool((flags or 0) & WRITES)
        _note("w" if writes else "r", path)
    elif event == "os.rename":
        _note("w", args[1])
    elif event in ("os.listdir", "os.scandir"):
        _note("l", args[0] or ".")


def _note(kind: str, path: object) -> None:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return  # an already open descriptor
    text = os.path.abspath(os.fsdecode(path))
    if "\n" not in text:
        os.write(_recording[0], f"{kind}\t{text}\n".encode(errors="surrogateescape"))


def opened(path: Path) -> dict[str, set[str]]:
    """The record as sets of absolute paths, by kind; a file read back after it was written counts as written."""
    kinds: dict[str, set[str]] = {"r": set(), "w": set(), "l": set()}
    if path.exists():
        for line in path.read_text(errors="surrogateescape").splitlines():
            kind, _, name = line.partition("\t")
            if kind in kinds and name:
                kinds[kind].add(name)
    kinds["r"] -= kinds["w"]
    return kinds
