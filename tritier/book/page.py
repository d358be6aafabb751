"""What a chapter calls to show a function, a figure and where it comes from, all chapters alike."""

from __future__ import annotations

import ast
import gc
import html
import inspect
import io
import json
import os
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure

from tritier.plots import style as plots
from tritier.plots.style import drawn
from tritier.provenance import commit, package_hash, tree_hash, versions

if TYPE_CHECKING:  # of the extra ``book``, which a report does not need
    import nbformat

PACKAGES = ("cvxpy", "highspy", "matplotlib", "numpy", "pandas", "power-grid-model", "pyscipopt", "scipy")
LISTING = 15  # lines of code that are shown without being asked for
EQUATION = re.compile(r":eq:`([^`]+)`")
POWER = re.compile(r"\b\d[\d.]*e[-+]\d+\b")  # a browser would break the line at its hyphen
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")  # Markdown reads none of it behind a backslash


@dataclass(frozen=True)
class Page:
    """A chapter being run: its name, preset, seed and the folders it may write to."""

    chapter: str
    preset: str
    seed: int
    root: Path

    @property
    def results(self) -> Path:
        """``results/<preset>/<chapter>``, created: what later chapters read."""
        return _folder(self.root / "results" / self.preset / self.chapter)

    @property
    def figures(self) -> Path:
        return _folder(self.root / "_run" / self.preset / "figures")


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def begin(chapter: str, preset: str, seed: int = 0) -> Page:
    """Start a chapter: the repository's root and the house style.

    A notebook opened in JupyterLab starts in chapters/; it moves up to the root, where papermill starts it.

    Args:
        chapter: file name without suffix, such as ``12-case-1``.
        preset: ``smoke``, ``fast`` or ``paper``; the notebook's parameter.
        seed: seed of what is random in the chapter, printed with its figures.
    Raises:
        FileNotFoundError: the chapter is run neither from the repository root nor from chapters/.
    """
    if Path.cwd().name == "chapters" and Path(f"{chapter}.ipynb").is_file():
        os.chdir("..")
    root = Path.cwd()
    if not (root / "chapters" / f"{chapter}.ipynb").is_file():
        raise FileNotFoundError(f"chapters/{chapter}.ipynb not found in {root}; run chapters from the repository root")
    plots.use_style()
    gc.freeze()  # what is imported stays: the collector need not look through it again and again
    return Page(chapter, preset, seed, root)


def show(function: Callable) -> None:
    """Display a function's code under links to its equations and its API entry.

    The equations are those its docstring names by ``:eq:``; the docstring itself is left to the API page. Code of more
    than ``LISTING`` lines is folded.
    """
    from IPython.display import Markdown, display

    name = f"{function.__module__}.{function.__qualname__}"
    role = "class" if inspect.isclass(function) else "meth" if "." in function.__qualname__ else "func"
    labels = dict.fromkeys(EQUATION.findall(inspect.getdoc(function) or ""))
    links = [f"equation {{eq}}`{label}`" for label in labels]
    line = f"{{py:{role}}}`{name}`" + (" computes " + ", ".join(links) if links else "")
    code = _without_docstring(textwrap.dedent(inspect.getsource(function)))
    listing, length = f"```python\n{code}\n```", len(code.splitlines())
    if length > LISTING:
        listing = f"````{{dropdown}} Listing, {length} lines\n{listing}\n````"
    display(Markdown(f"{line}\n\n{listing}\n"))


def _without_docstring(code: str) -> str:
    node = ast.parse(code).body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    if ast.get_docstring(node) is None or len(node.body) == 1:
        return code.rstrip()
    lines, text = code.rstrip().splitlines(), node.body[0]
    rest = lines[text.end_lineno :]
    return "\n".join(lines[: text.lineno - 1] + (rest[1:] if rest and not rest[0].strip() else rest))


def origin(page: Page) -> dict[str, object]:
    """Where a figure made now comes from: the entry of figures/manifest.json."""
    return {
        "chapter": page.chapter,
        "preset": page.preset,
        "seed": page.seed,
        "data": tree_hash(page.root / "data"),
        "package": package_hash(),
        "commit": commit(),
        "versions": versions(PACKAGES),
    }


def provenance(page: Page) -> None:
    """Display the line that says which chapter, preset, data, seed and commit made what stands above it.

    Figures saved by :py:func:`save_figure` carry this line below their caption already.
    """
    from IPython.display import HTML, display

    display(HTML(f'<p class="provenance">{html.escape(_line(origin(page)))}</p>'))


def _line(entry: dict[str, object], *more: str) -> str:
    parts = [
        f"chapter {entry['chapter']}",
        f"preset {entry['preset']}",
        f"data {entry['data']}",
        f"seed {entry['seed']}",
        f"commit {entry['commit']}",
        *more,
    ]
    return " · ".join(parts)


def save_figure(page: Page, fig: Figure, name: str) -> None:
    """Save a figure as SVG and PDF with its data and manifest entry, and display it; the last line of its cell.

    Caption, label and alt text belong to the cell's metadata (``mystnb.figure`` and ``mystnb.image``). The provenance
    line travels with the output, and the book prints it below the caption with links to the files.
    """
    from IPython.display import SVG, display

    _check(name)
    svg = io.StringIO()
    fig.savefig(svg, format="svg", metadata={"Date": None})
    fig.savefig(page.figures / f"{name}.pdf", metadata={"CreationDate": None})
    (page.figures / f"{name}.svg").write_text(svg.getvalue())
    files = [f"{name}.svg", f"{name}.pdf", *_data(page, name, drawn(fig))]
    entry = origin(page)
    (page.figures / f"{name}.json").write_text(json.dumps(entry, indent=1, sort_keys=True))
    plots.close(fig)
    about = {"provenance": _line(entry), "files": files, "chapter": page.chapter}
    display(SVG(svg.getvalue()), metadata={"tritier": about})


def _check(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"figure name {name!r}: use lower-case letters, digits and hyphens")


def _data(page: Page, name: str, table: pd.DataFrame) -> list[str]:
    """Store what a figure draws; a diagram draws no data and has no such file."""
    if table.empty:
        return []
    table.to_csv(page.figures / f"{name}.csv", index=False, float_format="%.8g")
    return [f"{name}.csv"]


def figure_files(notebook: nbformat.NotebookNode) -> list[str]:
    """Names of the files of all figures that an executed notebook shows, manifest entries (.json) among them."""
    about = [o.get("metadata", {}).get("tritier", {}) for c in notebook.cells for o in c.get("outputs", [])]
    shown = [a["files"] for a in about if a.get("files")]
    return [name for files in shown for name in (*files, f"{Path(files[0]).stem}.json")]


def downloads(files: list[str], chapter: str) -> str:
    """Links to the files of a figure and to the notebook that made it, as they lie in the built book."""
    kinds = {".svg": "SVG", ".pdf": "PDF", ".csv": "data"}
    links = [f'<a href="../figures/{file}" download>{kinds[Path(file).suffix]}</a>' for file in files]
    return " · ".join([*links, f'<a href="../_sources/chapters/{chapter}.ipynb" download>notebook</a>'])


def show_interactive(page: Page, fig: go.Figure, name: str, alt: str) -> None:
    """Display a plotly figure that needs no server and no network: the script comes from the book itself.

    Caption and label belong to the cell's metadata (``mystnb.figure``), as those of :py:func:`save_figure`; the label
    begins with ``fig-interactive-``, by which links to it open no preview.

    Args:
        page: the chapter; its provenance is printed below the caption.
        fig: ``plotly.graph_objects.Figure``.
        name: file name under which the figure's data are stored.
        alt: what the picture shows, for readers who do not see it.
    """
    from IPython.display import HTML, display

    from tritier.plots.interactive import moving

    _check(name)
    entry = origin(page)
    (page.figures / f"{name}.json").write_text(json.dumps(entry, indent=1, sort_keys=True))
    files = _data(page, name, moving(fig))
    body = fig.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True})
    script = '<script src="../_static/plotly/plotly.min.js"></script>'
    picture = f'<div class="interactive" role="group" aria-label="{html.escape(alt)}">{body}</div>'
    without = "<noscript>This figure needs JavaScript.</noscript>"
    about = {"interactive": name, "provenance": _line(entry), "files": files, "chapter": page.chapter}
    display(HTML(script + picture + without), metadata={"tritier": about})


def show_table(frame: pd.DataFrame, caption: str, digits: int = 4, places: int | None = None) -> None:
    """Display a table without its index, under its caption; the book numbers it by chapter.

    Args:
        frame: floats are shown with ``digits`` significant digits, a column of whole ones as such, gaps as an en dash.
        caption: what the table shows, as MyST text.
        digits: significant digits.
        places: digits behind the point, at most.
    """
    from IPython.display import display

    text = frame.apply(lambda column: _counted(column).map(lambda value: _as_text(value, digits, places)))
    told = text.to_html(index=False, border=0, classes="table", justify="left")
    told = told.replace("<thead>", f"<caption>{html.escape(caption)}</caption>\n  <thead>", 1)
    shown = {"text/html": POWER.sub(r'<span class="number">\g<0></span>', told)}
    shown["text/markdown"] = myst_table([str(c) for c in text.columns], text.to_numpy().tolist(), caption)
    display(shown, raw=True, metadata={"tritier": {"table": caption}})


def _counted(column: pd.Series) -> pd.Series:
    """A column of counts as integers: pandas makes floats of them where one is missing."""
    counts = column.dtype.kind == "f" and len(found := column.dropna()) > 0 and bool((found % 1 == 0).all())
    return column.map(lambda value: f"{value:,.0f}" if value == value else None) if counts else column


def power(number: float, digits: int = 2) -> str:
    """A number in prose whose size is what matters: ``1.1 × 10⁻¹⁵``, or the power alone where that is all of it."""
    if not number:
        return "0"
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    raised = f"10{str(int(exponent)).translate(RAISED)}"
    return raised if float(mantissa) == 1 else f"{mantissa}\u00a0×\u00a0{raised}"


def _as_text(value: object, digits: int, places: int | None = None) -> str:
    """A cell of a table: a float with so many significant digits, and so many behind the point, a gap as an en dash."""
    if value is None or value is pd.NaT or value != value:
        return "–"
    if not isinstance(value, float | np.floating):
        return str(value)
    number = float(value) + 0.0  # no minus before nothing
    if number and abs(number) < 1e-4:
        return f"{number:.{digits - 1}e}"
    if not number or not np.isfinite(number):
        return f"{number:g}"
    behind = max(0, digits - 1 - floor(log10(abs(number))))
    return f"{number:,.{behind if places is None else min(behind, places)}f}"


def myst_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A captioned table, which Sphinx numbers, of plain text: nothing in a cell is read as Markdown."""

    def plain(text: str) -> str:
        return PUNCTUATION.sub(r"\\\g<0>", text)

    def cell(text: str) -> str:
        text = re.sub(r"[ \n]+", " ", text.strip())  # a space that does not break stays
        powers = [f"[{plain(power)}]{{.number}}" for power in POWER.findall(text)]
        return "".join(a + b for a, b in zip_longest(map(plain, POWER.split(text)), powers, fillvalue=""))

    return captioned([[cell(c) for c in head], *([cell(c) for c in row] for row in rows)], caption)


def captioned(lines: Sequence[Sequence[str]], caption: str) -> str:
    """A captioned table of MyST text; its first line is the head."""
    told = ["| " + " | ".join(line) + " |" for line in (lines[0], ["---"] * len(lines[0]), *lines[1:])]
    return "\n".join([f":::{{table}} {caption}", *told, ":::", ""])
