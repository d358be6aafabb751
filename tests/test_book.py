"""The book's machinery on a small book: what gets stale, what the gate refuses, what a strict build finds."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml
from docutils import nodes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx import addnodes
from sphinx.environment.adapters.toctree import global_toctree_for_doc
from sphinx.util.tags import Tags

from tritier import book as chapter
from tritier.book.build import (
    _figure_links,
    all_previews,
    as_read,
    build_book,
    build_html,
    clear_leftovers,
    keep_preview,
    launchable,
    number_by_page,
    publish_figures,
    sidebar_of_titles,
    with_provenance,
)
from tritier.book.page import LISTING, Page, myst_table
from tritier.book.run import Book, gate, run_stale, stale
from tritier.errors import InputError
from tritier.plots import style as plots
from tritier.provenance import digest

ROOT = Path(__file__).resolve().parent.parent

ALPHA = """
SCALE = 2


def double(x):
    return SCALE * x
"""
BETA = """
from toy.alpha import double


def quadruple(x):
    return double(double(x))
"""
FIGURE = """
from IPython.display import SVG, display
from pathlib import Path
from toy.sub.beta import quadruple
folder = Path("_run") / preset / "figures"
folder.mkdir(parents=True, exist_ok=True)
(folder / "a.svg").write_text("<svg/>")
(folder / "a.json").write_text('{"chapter": "02-quadruple"}')
display(SVG("<svg/>"), metadata={"tritier": {"files": ["a.svg"]}})
print(quadruple(float(open("data/two.csv").read())))"""
CHAPTERS = {
    "01-double": (
        """from pathlib import Path
from toy.alpha import double
folder = Path("results") / preset / "01-double"
folder.mkdir(parents=True, exist_ok=True)
(folder / "out.txt").write_text(str(double(float(open("data/one.csv").read()))))""",
        [],
    ),
    "02-quadruple": (FIGURE, []),
    "03-reader": ("""print(open(f"results/{preset}/01-double/out.txt").read())""", ["01-double"]),
}

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


def write_chapter(root: Path, name: str, code: str, needs: list[str]) -> None:
    cells = [
        new_markdown_cell(f"# {name}"),
        new_code_cell('preset = "fast"', metadata={"tags": ["parameters"]}),
        new_code_cell(code),
    ]
    metadata = KERNEL | {"tritier": {"needs": needs}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), root / "chapters" / f"{name}.ipynb")


def write_book(root: Path) -> Book:
    for folder in ("toy/sub", "chapters", "data", "sweeps"):
        (root / folder).mkdir(parents=True)
    for file, code in (("__init__", ""), ("alpha", ALPHA), ("sub/__init__", ""), ("sub/beta", BETA)):
        (root / "toy" / f"{file}.py").write_text(code)
    (root / "sweeps" / "point.ipynb").write_text("{}")
    for name, value in (("one", 1), ("two", 2), ("three", 3)):
        (root / "data" / f"{name}.csv").write_text(str(value))
    (root / "requirements.lock").write_text("toy==1\n")
    for name, (code, needs) in CHAPTERS.items():
        write_chapter(root, name, code, needs)
    (root / "intro.md").write_text("# Toy\n")
    listed = "".join(f"  - file: chapters/{name}\n" for name in CHAPTERS)
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: intro\nchapters:\n{listed}")
    return Book(root, "smoke", package="toy")


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> Book:
    """The toy book, all chapters run once."""
    book = write_book(tmp_path_factory.mktemp("toy") / "book")
    run_stale(book)
    return book


@pytest.fixture
def copy(executed, tmp_path) -> Book:
    """A copy to edit: records hold paths from the root, so a moved book stays fresh."""
    shutil.copytree(executed.root, tmp_path / "book")
    return Book(tmp_path / "book", "smoke", package="toy")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_executed_book_passes_the_gate_and_nothing_is_run_twice(executed):
    assert gate(executed) == []
    before = {p: p.stat().st_mtime_ns for p in executed.run_folder.glob("*.ipynb")}
    assert len(before) == 3
    run_stale(executed)
    assert {p: p.stat().st_mtime_ns for p in executed.run_folder.glob("*.ipynb")} == before


def test_later_chapter_read_what_the_earlier_one_wrote(executed):
    cell = nbformat.read(executed.executed("03-reader"), as_version=4).cells[-1]
    assert float(cell.outputs[0].text) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("toy/alpha.py", "return SCALE * x", "return x * SCALE", set(CHAPTERS)),
        ("toy/sub/beta.py", "double(double(x))", "double(x) + double(x)", set(CHAPTERS)),
        ("data/three.csv", "3", "5", set(CHAPTERS)),
        ("sweeps/point.ipynb", "{}", "{ }", set(CHAPTERS)),
        ("requirements.lock", "toy==1", "toy==2", set(CHAPTERS)),
        ("results/smoke/01-double/out.txt", "2", "7", {"01-double", "03-reader"}),
        ("chapters/01-double.ipynb", "# 01", "# Chapter 01", {"01-double", "03-reader"}),
        ("chapters/02-quadruple.ipynb", "# 02", "# Chapter 02", {"02-quadruple"}),
        ("chapters/02-quadruple.ipynb", "fast", "paper", {"02-quadruple"}),
        ("_run/smoke/02-quadruple.ipynb", "# 02", "# Chapter 02", {"02-quadruple"}),
        ("_run/smoke/figures/a.svg", "<svg/>", "<svg />", {"02-quadruple"}),
        ("_run/smoke/figures/a.json", "02", "03", {"02-quadruple"}),
    ],
)
def test_an_edit_makes_its_dependents_stale(copy, file, old, new, expected):
    assert stale(copy) == {}
    edit(copy.root / file, old, new)
    assert set(stale(copy)) == expected
    assert {line.partition(":")[0] for line in gate(copy)} == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("data/three.csv", set(CHAPTERS)),
        ("toy/sub/beta.py", set(CHAPTERS)),
        ("results/smoke/01-double/out.txt", {"01-double", "03-reader"}),
    ],
)
def test_a_file_that_is_gone_makes_its_dependents_stale(copy, file, expected):
    (copy.root / file).unlink()
    assert set(stale(copy)) == expected


def test_results_of_other_parameters_beside_a_chapters_own_change_nothing(copy):
    (copy.root / "results" / "smoke" / "01-double" / "x=2").mkdir()
    (copy.root / "results" / "smoke" / "01-double" / "x=2" / "out.txt").write_text("4")
    assert stale(copy) == {}


def test_another_preset_has_never_been_executed(copy):
    other = Book(copy.root, "fast", package="toy")
    assert stale(other) == dict.fromkeys(CHAPTERS, "never executed")
    assert gate(other) == [f"{chapter}: never executed" for chapter in CHAPTERS]


def test_a_changed_result_is_passed_on_to_its_reader_and_to_no_other(copy):
    edit(copy.source("01-double"), "str(double(", "str(10 * double(")
    other = copy.record("02-quadruple")
    run_stale(copy)
    cell = nbformat.read(copy.executed("03-reader"), as_version=4).cells[-1]
    assert float(cell.outputs[0].text) == pytest.approx(20.0)
    assert copy.record("02-quadruple") == other
    assert gate(copy) == []


def test_figures_shown_by_chapters_are_published_with_their_manifest(copy):
    publish_figures(copy)
    assert (copy.root / "figures" / "a.svg").read_text() == "<svg/>"
    assert json.loads((copy.root / "figures" / "manifest.json").read_text()) == {"a": {"chapter": "02-quadruple"}}


def test_a_failing_chapter_is_refused_and_its_reader_is_not_run(copy):
    write_chapter(copy.root, "01-double", "1 / 0", [])
    copy.executed("03-reader").unlink()
    run_stale(copy)
    refused = gate(copy)
    assert refused[0] == "01-double: failed (see _run/smoke/01-double.log)"
    assert [line.partition(":")[0] for line in refused] == ["01-double", "03-reader"]
    assert "ZeroDivisionError" in (copy.run_folder / "01-double.log").read_text()
    assert not copy.executed("03-reader").exists()


@pytest.mark.parametrize("damage", ["error", "not run"])
def test_the_gate_looks_into_the_executed_notebook(copy, damage):
    path = copy.executed("01-double")
    notebook = nbformat.read(path, as_version=4)
    if damage == "error":
        notebook.cells[-1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]
    else:
        notebook.cells[-1].execution_count = None
    nbformat.write(notebook, path)
    record = copy.record("01-double")
    copy.record_path("01-double").write_text(json.dumps(record | {"executed": digest(path.read_bytes())}))
    assert len(gate(copy)) == 1
    assert gate(copy)[0].startswith("01-double: a cell")


def test_a_page_that_does_not_exist_is_named(copy):
    edit(copy.root / "_toc.yml", "chapters/02-quadruple", "chapters/02-missing")
    with pytest.raises(InputError, match=r"_toc.yml: chapters/02-missing: no such page"):
        gate(copy)


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({"03-reader": ["02-quadruple"]}, ["02-quadruple", "03-reader", "01-double"]),
        ({}, ["03-reader", "02-quadruple", "01-double"]),
    ],
)
def test_the_longest_chain_of_chapters_is_run_first_and_the_first_chapters_last(
    tmp_path, monkeypatch, capsys, needs, expected
):
    book = write_book(tmp_path / "book")
    for name in book.chapters:
        write_chapter(book.root, name, "1", needs.get(name, []))
    monkeypatch.setattr("tritier.book.run.run_chapter", lambda book, chapter: {"status": "executed", "seconds": 0.0})
    run_stale(book, jobs=1)
    begun = re.findall(r"(\S+): running", capsys.readouterr().out)
    assert begun == expected


@pytest.mark.parametrize(("needs", "message"), [(["03-reader"], "a circle"), (["09-none"], "is not a chapter")])
def test_impossible_needs_are_named(copy, needs, message):
    write_chapter(copy.root, "01-double", "1", needs)
    with pytest.raises(InputError, match=message):
        run_stale(copy)


@pytest.mark.parametrize("arguments", [{"preset": "huge"}, {"preset": "smoke", "root": Path("/")}])
def test_bad_arguments_are_one_line_and_exit_2(arguments, capsys):
    assert build_book(**arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_stale_chapter_fails_the_build_with_one_line(copy, capsys):
    edit(copy.source("03-reader"), "# 03", "# Chapter 03")
    (copy.root / "toy").rename(copy.root / "tritier")
    assert build_book("smoke", root=copy.root, run=False) == 1
    assert capsys.readouterr().err.splitlines() == ["book: refused: 03-reader: notebook changed"]


@pytest.mark.parametrize("damage", ["failed", "never executed", "not run to its end"])
def test_a_chapter_that_failed_or_did_not_run_fails_the_build(copy, capsys, damage):
    (copy.root / "toy").rename(copy.root / "tritier")
    book = Book(copy.root, "smoke")
    if damage == "never executed":
        book.record_path("03-reader").unlink()
    elif damage == "failed":
        record = json.dumps(book.record("03-reader") | {"status": "failed"})
        book.record_path("03-reader").write_text(record)
    else:
        notebook = nbformat.read(book.executed("03-reader"), as_version=4)
        notebook.cells[-1].execution_count = None
        nbformat.write(notebook, book.executed("03-reader"))
    assert build_book("smoke", root=copy.root, run=False) == 1
    assert "book: refused: 03-reader: " in capsys.readouterr().err
    assert not (copy.root / "_build").exists()


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://github.com/someone/tritier.git", "https://github.com/someone/tritier"),
        ("git@gitlab.com:someone/tritier.git", "https://gitlab.com/someone/tritier"),
        ("https://github.com/someone/tritier", "https://github.com/someone/tritier"),
        ("/srv/git/tritier", None),
        ("https://example.org/github.com/a/b", None),
        ("", None),
    ],
)
def test_a_clone_of_a_public_repository_opens_on_binder(url, public):
    config = (ROOT / "_config.yml").read_text()
    told = yaml.safe_load(launchable(config, url))
    assert told.get("repository", {}).get("url") == public
    assert ("binderhub_url" in told["launch_buttons"]) == (public is not None)
    if public is None:
        assert launchable(config, url) == config
    assert told["sphinx"] == yaml.safe_load(config)["sphinx"]


def test_figures_need_a_caption_and_carry_their_provenance(tmp_path):
    output = nbformat.v4.new_output("display_data", data={"image/svg+xml": "<svg/>"})
    files = ["a.svg", "a.pdf", "a.csv"]
    output.metadata = {"tritier": {"provenance": "chapter 1 · preset smoke", "files": files, "chapter": "01-a"}}
    look = {"figure": {"name": "fig-a", "caption": "A picture."}, "image": {"alt": "A line."}}
    cell = new_code_cell("draw()", metadata={"mystnb": look}, outputs=[output])
    path = tmp_path / "a.ipynb"
    injected = new_code_cell('# Parameters\npreset = "smoke"', metadata={"tags": ["injected-parameters"]})
    nbformat.write(new_notebook(cells=[injected, cell]), path)
    staged = nbformat.reads(with_provenance(path), as_version=4)
    assert len(staged.cells) == 1
    caption = staged.cells[0].metadata.mystnb.figure.caption
    assert caption.startswith("A picture.\n\nchapter 1 · preset smoke · ")
    assert all(f'href="../figures/{file}"' in caption for file in files)
    assert 'href="../_sources/chapters/01-a.ipynb"' in caption
    del cell.metadata["mystnb"]["image"]
    nbformat.write(new_notebook(cells=[cell]), path)
    with pytest.raises(InputError, match=r"chapters/a.ipynb: cell 'draw\(\)': a figure without"):
        with_provenance(path)


def test_interactive_figures_are_numbered_as_the_others_and_bring_their_alt_text(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata: shown.append((data, metadata)))
    page = Page("01-a", "smoke", 0, tmp_path)
    chapter.show_interactive(page, go.Figure(go.Scatter(x=[1, 2], y=[3, 4])), "moves", alt='A line, "rising".')
    html, metadata = shown[0]
    assert 'aria-label="A line, &quot;rising&quot;."' in html.data and "<figure" not in html.data
    assert (page.figures / "moves.csv").is_file() and (page.figures / "moves.json").is_file()
    output = nbformat.v4.new_output("display_data", data={"text/html": html.data}, metadata=metadata)
    look = {"figure": {"name": "fig-interactive-a", "caption": "A line."}}
    cell = new_code_cell("move()", metadata={"mystnb": look}, outputs=[output])
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    staged = nbformat.reads(with_provenance(tmp_path / "a.ipynb"), as_version=4).cells[0]
    assert 'href="../figures/moves.csv"' in staged.metadata.mystnb.figure.caption
    assert _figure_links(cell) == ["{ref}`moves <fig-interactive-a>` (interactive)"]
    del cell.metadata["mystnb"]
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    with pytest.raises(InputError, match="a figure without caption, label"):
        with_provenance(tmp_path / "a.ipynb")


LINKED = """# Toy

$$ a = b $$ (eq-toy)

By {eq}`eq-toy` and {py:func}`toybook.links`, see {ref}`here`.

(here)=
## Here

```{eval-rst}
.. automodule:: toybook
   :members:
```
"""
GLUED = "It measures {glue:text}`toy_size:.1f` m."
DOCUMENTED = '''"""A module."""


def links():
    """Equation :eq:`eq-toy`."""
'''


def strict_build(root: Path, monkeypatch, page: str, glued: str = GLUED) -> int:
    """A strict build of one page and a notebook that glues ``toy_size`` and says so."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), str(ROOT)]))
    (root / "toybook.py").write_text(DOCUMENTED)
    shutil.copy(ROOT / "_config.yml", root)
    shutil.copytree(ROOT / "_static", root / "_static")
    (root / "references.bib").write_text("")
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: intro\nchapters:\n  - file: chapters/01-toy\n  - file: aside\n"
    )
    (root / "intro.md").write_text(page)
    (root / "aside.md").write_text("# Aside\n\n$$ c = d $$ (eq-aside)\n\nBy {eq}`eq-aside`.\n")
    book = Book(root, "smoke")
    write_glued(book, glued)
    return build_html(book)


def write_glued(book: Book, sentence: str) -> None:
    """An executed chapter that glues 2.5 under ``toy_size``, and its record."""
    data = {"application/papermill.record/text/plain": "2.5"}
    glued = nbformat.v4.new_output("display_data", data=data)
    glued.metadata = {"scrapbook": {"mime_prefix": "application/papermill.record/", "name": "toy_size"}}
    (book.root / "chapters").mkdir()
    data = {"text/html": "<table></table>", "text/markdown": myst_table(["m"], [["2.5"]], "Lengths")}
    listed = nbformat.v4.new_output("display_data", data=data, metadata={"tritier": {"table": "Lengths"}})
    cells = [
        new_markdown_cell(f"# Glued\n\n{sentence}"),
        new_code_cell("show_table(lengths)", outputs=[listed], execution_count=2),
        new_code_cell('glue("toy_size", 2.5)', outputs=[glued], execution_count=1),
    ]
    book.run_folder.mkdir(parents=True)
    for path in (book.source("01-toy"), book.executed("01-toy")):
        nbformat.write(new_notebook(cells=cells, metadata=KERNEL), path)
    record = {"notebook": "", "package": "", "data": "", "outputs": {}, "seconds": 1.0}
    book.record_path("01-toy").write_text(json.dumps(record | {"finished": "2026-01-01T00:00:00", "commit": "none"}))


def test_a_sound_book_builds_and_reads_offline(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "vendor", tmp_path / "vendor")
    assert strict_build(tmp_path, monkeypatch, LINKED) == 0
    html = tmp_path / "_build" / "html"
    text = (html / "intro.html").read_text()
    assert '#equation-eq-toy"' in text.partition("toybook.links")[2], "no link from the function back to its equation"
    glued = re.sub("<[^>]*>", "", (html / "chapters" / "01-toy.html").read_text())
    assert "It measures 2.5 m." in glued
    assert re.search(r"Table 1\s+Lengths", glued), "the table has no number"
    assert "preset smoke" in glued
    aside = re.sub("<[^>]*>", "", (html / "aside.html").read_text())
    assert aside.count("(A.1)") == 2, "an equation beside the chapters is taken for one of theirs"
    assert 'src="https' not in text
    assert "THEBE_JS_URL" not in text
    assert (html / "_static" / "mathjax" / "tex-chtml.js").is_file()
    assert (html / "_static" / "plotly" / "plotly.min.js").is_file()
    assert (html / "_static" / "tippyjs" / "tippy-bundle.umd.min.js").is_file()
    (preview,) = (html / "_static" / "tippy").glob("intro.*.js")
    assert "equation-eq-toy" in preview.read_text() and "a = b" in preview.read_text(), "no preview of the equation"


BROKEN = {
    "toybook.linked": "{py:func}`toybook.linked`",
    "tritier.Toy": "{py:class}`tritier.Toy`",
    "label-nowhere": "{ref}`label-nowhere`",
    "gone.md": "[a page](gone.md)",
    "page-nowhere": "{doc}`page-nowhere`",
    "nobody1900": "{cite:p}`nobody1900`",
    "fig-gone": "{numref}`fig-gone`",
}


def test_previews_outlast_the_process_that_wrote_their_page(tmp_path):
    """Three pages were written; then one is written again, one is no more, and the third is as it was."""

    def write(*pages: str, text: str) -> None:
        env = SimpleNamespace(tippy_data={"pages": {name: {"text": text} for name in pages}})
        for name in pages:
            keep_preview(SimpleNamespace(doctreedir=tmp_path, env=env), name, "page.html", {}, "a doctree")

    write("part/again", "gone", "same", text="old")
    write("part/again", text="new")
    keep_preview(SimpleNamespace(doctreedir=tmp_path), "_modules/listing", "page.html", {}, None)
    env = SimpleNamespace(all_docs=dict.fromkeys(("part/again", "same")))  # of a process that has written nothing
    all_previews(SimpleNamespace(doctreedir=tmp_path, env=env), None)
    assert env.tippy_data["pages"] == {"part/again": {"text": "new"}, "same": {"text": "old"}}


def test_what_pages_beside_the_chapters_number_bears_their_name():
    """As Sphinx has it: through all pages that have no number, by chapter on those that do."""
    counted = {
        "intro": {"figure": {"fig-a": (1,)}, "table": {}},
        "chapters/method": {"displaymath": {"eq-b": (2,), "eq-a": (1,)}, "table": {"tab-a": (4,)}},
        "chapters/mentions": {"figure": {}},
        "chapters/07-dso": {"displaymath": {"eq-c": (7, 1)}},
        "chapters/meters": {"displaymath": {"eq-d": (3,)}},
    }
    env = SimpleNamespace(toc_fignumbers=counted)
    assert number_by_page(SimpleNamespace(config=SimpleNamespace(root_doc="intro")), env) == []
    assert counted["intro"]["figure"] == {"fig-a": (1,)}
    assert counted["chapters/method"] == {
        "displaymath": {"eq-a": ("M", 1), "eq-b": ("M", 2)},
        "table": {"tab-a": ("M", 1)},
    }
    assert counted["chapters/07-dso"]["displaymath"] == {"eq-c": (7, 1)}
    assert counted["chapters/meters"]["displaymath"] == {"eq-d": ("Me", 1)}


def contents(*entries: nodes.Node) -> nodes.bullet_list:
    return nodes.bullet_list("", *entries)


def entry(page: str, anchor: str, *below: nodes.Node) -> nodes.list_item:
    """A heading in a table of contents, as Sphinx's collector writes it."""
    link = nodes.reference("", "", nodes.Text(f"{page}{anchor}"), internal=True, refuri=page, anchorname=anchor)
    return nodes.list_item("", addnodes.compact_paragraph("", "", link), *below)


def listed(page: str, *pages: str) -> addnodes.toctree:
    return addnodes.toctree(parent=page, entries=[(None, name) for name in pages], hidden=True, maxdepth=-1)


class Environment:
    """Three pages, with headings of two levels, of which one is part of another."""

    def __init__(self) -> None:
        headings = contents(entry("a", "#one", contents(entry("a", "#deep"))), listed("a", "b"))
        self.tocs = {
            "intro": contents(entry("intro", "", contents(listed("intro", "a", "c")))),
            "a": contents(entry("a", "", headings)),
            "b": contents(entry("b", "", contents(entry("b", "#two")))),
            "c": contents(entry("c", "")),
        }
        self.toctree_includes = {"intro": ["a", "c"], "a": ["b"]}
        self.metadata = {name: {} for name in self.tocs}
        self.titles = {name: nodes.title("", name) for name in self.tocs}
        self.config = SimpleNamespace(include_patterns=["**"], exclude_patterns=[])
        self.master_doctree = contents(listed("intro", "a", "c"))


def sidebar(env: Environment, page: str, **wanted: object) -> str:
    builder = SimpleNamespace(tags=Tags(), get_relative_uri=lambda here, there: f"{here}>{there}")
    return global_toctree_for_doc(env, page, builder, includehidden=True, **wanted).pformat()


@pytest.mark.parametrize("page", ["intro", "a", "b", "c", "_modules/x/y"])
@pytest.mark.parametrize("wanted", [{"titles_only": True}, {"titles_only": True, "collapse": True}, {}])
def test_the_sidebar_is_the_one_that_sphinx_draws(page, wanted):
    env = Environment()
    whole, tocs = sidebar(env, page, **wanted), env.tocs
    assert ("#one" in whole) == (not wanted)
    context = {"toctree": lambda **wanted: sidebar(env, page, **wanted)}
    sidebar_of_titles(SimpleNamespace(env=env), page, "page.html", context, None)
    assert context["toctree"](**wanted) == whole
    assert env.tocs is tocs and sidebar(env, page) == sidebar(Environment(), page), "the headings are gone"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Losses, kW (:eq:`eq-losses`).", "Losses, kW :eq:`eq-losses`."),
        ("Rows (:eq:`eq-a`,\n:eq:`eq-b`), (T,).", "Rows :eq:`eq-a`,\n:eq:`eq-b`, (T,)."),
        ("A limit (see :eq:`eq-a`).", "A limit (see :eq:`eq-a`)."),
        ("Alias for field number 3", ""),
    ],
)
def test_a_docstring_is_shown_without_second_parentheses(written, shown):
    lines = written.split("\n")
    as_read(None, "function", "name", None, None, lines)
    assert "\n".join(lines) == shown


def test_whatever_is_broken_fails_the_build_by_its_name_and_the_next_one_too(tmp_path, monkeypatch, capsys):
    """Links, an equation and a glued number that are gone, each in a warning of its own, of which a strict build passes
    none. Sphinx does not read a page again that has not changed, and says nothing of it."""
    page = "\n\n".join([LINKED.replace("(eq-toy)", "(eq-renamed)"), *BROKEN.values()])
    gone = GLUED.replace("toy_size", "toy_length")
    for build in (lambda: strict_build(tmp_path, monkeypatch, page, gone), lambda: build_html(Book(tmp_path, "smoke"))):
        assert build() == 1
        told = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
        assert [name for name in (*BROKEN, "eq-toy", "toy_length") if not any(name in line for line in told)] == []


def test_pages_of_an_earlier_build_do_not_stay(copy):
    html = copy.root / "_build" / "html"
    for name in ("chapters/01-double.html", "chapters/09-old.html", "_modules/toy/alpha.html"):
        (html / name).parent.mkdir(parents=True, exist_ok=True)
        (html / name).write_text("")
    clear_leftovers(copy, html)
    assert [p.name for p in html.rglob("*.html")] == ["01-double.html"]


def test_an_axis_without_label_is_refused():
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    ax.set_xlabel("time [h]")
    fig.canvas.draw()
    with pytest.raises(ValueError, match="axis y"):
        plots.finish(fig)
    ax.set_ylabel("power [kW]")
    assert plots.finish(fig) is fig
    plt.close(fig)


class Sample:
    """Stands for a documented class."""

    def area(self, width, height):
        """Area of a rectangle (:eq:`eq-area`), half of :eq:`eq-double`."""

        # sides in metres
        return width * height


def shown(monkeypatch, call) -> list:
    import IPython.display

    found: list = []
    monkeypatch.setattr(IPython.display, "display", lambda *objects, **_: found.extend(objects))
    call()
    return found


def test_show_links_a_function_to_its_equations_and_leaves_its_docstring_out(monkeypatch):
    (markdown,) = shown(monkeypatch, lambda: chapter.show(Sample.area))
    line, _, code = markdown.data.partition("\n\n")
    assert line == ("{py:meth}`test_book.Sample.area` computes equation {eq}`eq-area`, equation {eq}`eq-double`")
    assert code.strip().splitlines() == [
        "```python",
        "def area(self, width, height):",
        "    # sides in metres",
        "    return width * height",
        "```",
    ]


def test_a_long_listing_is_folded_and_says_how_long_it_is(monkeypatch):
    (markdown,) = shown(monkeypatch, lambda: chapter.show(build_book))
    _, _, code = markdown.data.partition("\n\n")
    first, *listing, last = code.strip().splitlines()
    assert len(listing) - 2 > LISTING
    assert (first, last) == (f"````{{dropdown}} Listing, {len(listing) - 2} lines", "````")
    assert (listing[0], listing[-1]) == ("```python", "```")


def test_tables_print_significant_digits(monkeypatch):
    frame = pd.DataFrame({"losses [kWh]": [1234.5678, 0.012356, None], "of": ["a | b", "*c*", "x_1"]})
    (table,) = shown(monkeypatch, lambda: chapter.show_table(frame, "Losses", digits=4))
    for text in ("<caption>Losses</caption>", "<td>1,235</td>", "<td>0.01236</td>", "<td>–</td>"):
        assert text in table["text/html"]
    first, head, _, *rows, last, _ = table["text/markdown"].split("\n")
    assert (first, head, last) == (":::{table} Losses", r"| losses \[kWh\] | of |", ":::")
    assert rows == [r"| 1\,235 | a \| b |", r"| 0\.01236 | \*c\* |", r"| – | x\_1 |"]
    frame = pd.DataFrame({"a": ["3.2e-16"], "b": ["re-run 7"]})
    (table,) = shown(monkeypatch, lambda: chapter.show_table(frame, "Powers"))
    assert '<td><span class="number">3.2e-16</span></td>' in table["text/html"]
    assert r"| [3\.2e\-16]{.number} | re\-run 7 |" in table["text/markdown"]
    frame = pd.DataFrame({"cost [$/day]": [2664.46, -36.2294, 0.449812, 0.0]})
    (table,) = shown(monkeypatch, lambda: chapter.show_table(frame, "Cents", digits=5, places=2))
    assert re.findall(r"<td>(.*?)</td>", table["text/html"]) == ["2,664.5", "-36.23", "0.45", "0"]
    frame = pd.DataFrame({"LPs": [1132.0, 133.0, None], "time [s]": [22.0, 4.28, 1.0], "days": [4, 3, 2]})
    (table,) = shown(monkeypatch, lambda: chapter.show_table(frame, "Counts"))
    told = re.findall(r"<td>(.*?)</td>", table["text/html"])
    assert told == ["1,132", "22.00", "4", "133", "4.280", "3", "–", "1.000", "2"]


@pytest.mark.parametrize(
    "number, digits, told",
    [
        (1.06e-15, 2, "1.1\u00a0×\u00a010⁻¹⁵"),
        (1e-9, 2, "10⁻⁹"),
        (5e-6, 1, "5\u00a0×\u00a010⁻⁶"),
        (-2.5e12, 2, "-2.5\u00a0×\u00a010¹²"),
        (0.0, 2, "0"),
    ],
)
def test_powers_are_written_as_such(number, digits, told):
    assert chapter.power(number, digits) == told


def test_a_space_that_does_not_break_stays_in_a_table():
    told = myst_table(["gap"], [["1\u00a0\\%\n  of the gain"]], "Gaps")
    assert "1\u00a0" in told and "of the gain" in told and "\n  of" not in told


def test_a_table_without_a_caption_is_refused():
    with pytest.raises(TypeError, match="caption"):
        chapter.show_table(pd.DataFrame({"a": [1.0]}))


def test_a_chapter_opened_where_it_lies_moves_to_the_repository_root(tmp_path, monkeypatch):
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "01-a.ipynb").write_text("{}")
    monkeypatch.chdir(tmp_path / "chapters")
    assert chapter.begin("01-a", "smoke").root == tmp_path
    assert Path.cwd() == tmp_path


def test_a_chapter_begins_in_the_repository_root_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="repository root"):
        chapter.begin("02-paper-and-ours", "smoke")
