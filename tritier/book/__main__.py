"""The book: run stale chapters, pass the gate, publish the figures, build the HTML."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tritier.errors import InputError


def main(preset: str = "fast", *, root: Path | None = None, jobs: int = 2, run: bool = True, html: bool = True) -> int:
    """Build the book; 0 if it is complete, 1 if a chapter or the build failed, 2 on bad input, 130 if interrupted.

    Args:
        preset: ``smoke``, ``fast`` or ``paper``.
        root: the repository (default: the current folder).
        jobs: chapters run at a time.
        run: run what is stale; without, the gate alone decides on what is there.
        html: build the HTML after the gate.
    """
    from tritier.book.build import build_html, publish_figures
    from tritier.book.run import PRESETS, Book, gate, run_stale

    started = time.perf_counter()
    book = Book((root or Path.cwd()).resolve(), preset)
    try:
        if preset not in PRESETS:
            raise InputError(
                "tritier book", "--preset", f"unknown preset {preset!r}", f"use one of {', '.join(PRESETS)}"
            )
        if not (book.root / "_toc.yml").is_file():
            raise InputError(book.root, "_toc.yml", "no book here", "run from the repository root")
        print(f"book: {len(book.chapters)} chapters at preset {preset}", flush=True)
        if run:
            run_stale(book, jobs)
        if refused := gate(book):
            for line in refused:
                print(f"book: refused: {line}", file=sys.stderr)
            return 1
        publish_figures(book)
        code = build_html(book) if html else 0
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("book: interrupted; finished chapters are kept", file=sys.stderr)
        return 130
    if code == 0:
        where = "_build/html/index.html" if html else "figures/"
        print(f"book: {where} after {time.perf_counter() - started:.0f} s", flush=True)
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tritier.book", description="Build the book.")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-run", action="store_true", help="check and build what was executed before")
    parser.add_argument("--no-html", action="store_true", help="stop after the figures")
    options = parser.parse_args()
    sys.exit(main(options.preset, jobs=options.jobs, run=not options.no_run, html=not options.no_html))
