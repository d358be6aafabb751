"""From chapters to HTML: run what is stale, publish the figures, write the generated pages, stage, build strictly."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import io
import json
import os
import pickle
import pkgutil
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import yaml
from docutils import nodes  # type: ignore[import-untyped]
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import tritier
from tritier.book.page import PACKAGES, captioned, downloads
from tritier.book.run import Book, gate, run_stale
from tritier.cases.decisions import DECISIONS, DESIGNED, MULTIPLIERS, Symbol
from tritier.errors import InputError
from tritier.inputs.instance import Design
from tritier.inputs.settings import PRESETS
from tritier.provenance import commit, versions
from tritier.studies.commented import reference, sources_of

COPIED = ("_config.yml", "_toc.yml", "references.bib", "CITATION.cff", "README.md", "LICENSE")
PREVIEWS = "previews"  # folder beside the doctrees
PROCESSES = "TRITIER_BOOK_PROCESSES"  # variable that tells Sphinx how many read and write pages
DOWNLOADS = (".svg", ".pdf", ".csv")
COLLECT = 2_000_000  # new objects, less those gone, from which on a build looks for what can go
PUBLIC = re.compile(r"(?:https://|git@)(?P<host>git(?:hub|lab)\.com)[/:](?P<path>[\w.-]+/[\w.-]+?)(?:\.git)?/?")
# Floors of the package, lowest first: a module imports from its own floor and from lower ones only.
FLOORS = (
    ("errors", "provenance"),
    ("inputs",),
    ("model",),
    ("reformulation",),
    ("search",),
    ("studies",),
    ("cases",),
    ("evaluation", "hosting"),
    ("plots",),
    ("book",),
    ("bilevel", "cli", "__main__"),
)
FOOTER = """<div style="font-size: 8px; width: 100%; text-align: center">
<span class="title"></span> · <span class="pageNumber"></span> of <span class="totalPages"></span></div>"""
FOLDERS = ("_static", "data")  # of data/ only the .md files: pages include them
EQUATIONS = re.compile(r"\((:eq:`[^`]+`(?:,\s+:eq:`[^`]+`)*)\)")  # a link to an equation brings its parentheses along
ALIAS = re.compile(r"Alias for field number \d+")  # what Python says of a field of a named tuple


def publish_figures(book: Book) -> None:
    """Copy the figures of all chapters to figures/ and gather their entries in figures/manifest.json."""
    target = book.root / "figures"
    target.mkdir(exist_ok=True)
    manifest = {}
    for chapter in book.chapters:
        for path in sorted(book.record(chapter)["outputs"]):
            source = book.root / path
            if source.parent != book.run_folder / "figures":
                continue
            if source.suffix == ".json":
                manifest[source.stem] = json.loads(source.read_text())
            else:
                _put(target / source.name, source.read_bytes())
    _put(target / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")


def _put(path: Path, content: bytes) -> None:
    """Write only what differs: Sphinx reads again what has a new date."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _cell(text: object) -> str:
    """Text as it stands in a MyST table: no column break, no mathematics."""
    return str(text).replace("|", "\\|").replace("$", "\\$")


SLOWEST_PAGE_MS = 300_000  # to open one: a machine may be busy
APPENDIX = "hosting"  # of another model, whose symbols are its own


def nomenclature(modules: list[str]) -> str:
    """Tables of symbols: of each dataclass of these modules whose fields carry symbol, unit, shape and text, then of
    decisions and multipliers. A symbol has one row, where it is first met.
    """
    own, seen = [name for name in modules if APPENDIX not in name], set[str]()
    groups = [*_of_classes(own, seen), _of_names("Decisions", DECISIONS, seen)]
    groups += [_of_names("Multipliers", MULTIPLIERS, seen)]
    groups += _of_classes([name for name in modules if APPENDIX in name], seen)
    head = ("symbol", "name", "meaning", "unit", "shape")
    tables = ((title, about, captioned([head, *rows], f"Symbols: {title}")) for title, about, rows in groups)
    return "\n".join(f"### {title}\n\n{about}\n\n{table}" for title, about, table in tables)


Group = tuple[str, str, list[tuple[str, ...]]]  # title, what it is, rows


def _of_classes(modules: list[str], seen: set[str]) -> Iterator[Group]:
    for name in modules:
        module = importlib.import_module(name)
        for kind in vars(module).values():
            if not (dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind.__module__ == name):
                continue
            about = {f.name: Symbol(**f.metadata) for f in dataclasses.fields(kind) if "symbol" in f.metadata}
            stored = {name: short for short, name in DESIGNED.items()} if kind is Design else {}
            if rows := _new_rows(about, seen, stored):
                title = f"{kind.__name__} (appendix)" if APPENDIX in name else kind.__name__
                yield title, f"{{py:class}}`{name}.{kind.__name__}`: {_cell(_first_line(kind))}", rows


def _of_names(title: str, named: Mapping[str, Symbol], seen: set[str]) -> Group:
    rows = _new_rows(named, seen)
    return title, f"{title}, by the name that a result's array or the LP's column or row has.", rows


def _new_rows(
    named: Mapping[str, Symbol], seen: set[str], stored: Mapping[str, str] | None = None
) -> list[tuple[str, ...]]:
    """A row for each symbol that has none yet; a field that stands for no quantity has the symbol ``-``. ``stored``:
    the names of fields in a result, where they are others."""
    fresh = {name: about for name, about in named.items() if about.symbol not in {"-", *seen}}
    seen.update(about.symbol for about in fresh.values())
    return [_row(name, about, (stored or {}).get(name, "")) for name, about in fresh.items()]


def _row(name: str, about: Symbol, stored: str = "") -> tuple[str, ...]:
    text = _cell(about.text.replace(":eq:`", "{eq}`"))
    return (
        f"${about.symbol}$",
        f"`{name}`" + (f", stored as `{stored}`" if stored else ""),
        text,
        _cell(about.unit),
        _cell(about.shape),
    )


def modules_of(book: Book) -> list[str]:
    """The package's modules by dotted name, floor by floor; those in underscores define nothing."""
    folder = book.root / book.package
    found = [p.relative_to(folder).with_suffix("").parts for p in sorted(folder.rglob("*.py"))]
    order = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    public = [parts for parts in found if not parts[-1].startswith("__")]
    return [".".join((book.package, *parts)) for parts in sorted(public, key=lambda parts: order[parts[0]])]


def api(book: Book) -> dict[str, str]:
    """The reference by page, set by Sphinx's autodoc: under ``api`` the public names, a list of all modules and the
    modules of the top folder, under ``api-FOLDER`` those of a folder.
    """
    block = "## {0}\n\n```{{eval-rst}}\n.. automodule:: {0}\n{1}```\n"
    public, every = block.format(book.package, ""), modules_of(book)
    if book.package == tritier.__name__:  # a book of another package has no such list
        rows = [(_link(name), _cell(_first_line(getattr(tritier, name)))) for name in tritier.__all__]
        public += "\n" + captioned([("name", "what it is"), *rows], f"What `import {book.package}` offers")
        modules = [(f"{{py:mod}}`{name}`", _cell(_first_line(importlib.import_module(name)))) for name in every]
        public += "\n" + captioned([("module", "what it holds"), *modules], "Modules, from the lowest floor up")
    pages = {"api": [public]}
    for name in every:
        folder = name.split(".")[1:-1]
        pages.setdefault("-".join(["api", *folder]), []).append(block.format(name, "   :members:\n"))
    return {page: "\n".join(blocks) for page, blocks in pages.items()}


def _link(name: str) -> str:
    """A public name, linked to the section of the module that defines it: each name has one place."""
    kind = getattr(tritier, name)
    role = "class" if isinstance(kind, type) else "func"
    return f"{{py:{role}}}`{name} <{kind.__module__}.{kind.__qualname__}>`"


def _first_line(kind: object) -> str:
    """The first paragraph of a docstring in MyST's words."""
    text = " ".join((kind.__doc__ or "").strip().partition("\n\n")[0].split()).replace("``", "`")
    text = EQUATIONS.sub(r"\1", text)
    return re.sub(r":(class|func|mod):`", r"{py:\1}`", text.replace(":eq:`", "{eq}`"))


def status(book: Book) -> str:
    """Run time, date, hashes and commit of each chapter, and the versions of what computed them."""
    rows = []
    for chapter in book.chapters:
        r = book.record(chapter)
        hashes = [_code(r[key][:8]) for key in ("notebook", "package", "data")]
        finished = r["finished"][:16].replace("T", " ")
        rows.append((f"[{chapter}]({chapter}.ipynb)", f"{r['seconds']:.0f}", finished, *hashes, _code(r["commit"][:8])))
    head = ("chapter", "seconds", "finished (UTC)", "notebook", "package", "data", "commit")
    made_with = tuple(versions(PACKAGES).items())
    return (
        f"Preset `{book.preset}`, built from commit `{commit()}`.\n\n"
        + captioned([head, *rows], "When, for how long and from what each chapter was computed")
        + "\n"
        + captioned([("package", "version"), *made_with], "Packages that computed it")
    )


def figures(book: Book) -> str:
    """Table of the book's figures by chapter, each a link to its place."""
    rows = []
    for chapter in book.chapters:
        notebook = nbformat.read(book.executed(chapter), as_version=4)
        links = [link for cell in notebook.cells for link in _figure_links(cell)]
        if links:
            rows.append((f"[{_title(notebook)}](chapters/{chapter})", ", ".join(links)))
    return captioned([("chapter", "figures"), *rows], "Figures of the book, by chapter")


def _figure_links(cell: nbformat.NotebookNode) -> list[str]:
    found = []
    for output in cell.get("outputs", []):
        about = output.get("metadata", {}).get("tritier", {})
        if "files" in about:
            label = cell.metadata.get("mystnb", {}).get("figure", {}).get("name", "")
            kind = " (interactive)" if "interactive" in about else ""
            found.append(f"{{ref}}`{Path(about['files'][0]).stem} <{label}>`{kind}")
    return found


def _title(notebook: nbformat.NotebookNode) -> str:
    return notebook.cells[0].source.splitlines()[0].lstrip("# ")


def _code(text: str) -> str:
    return f"`{text}`"


def with_provenance(path: Path, ran: str = "") -> str:
    """An executed notebook that says below its title how it was ``ran``, and below each figure where that comes from.

    The cell that papermill put in for the parameters is left out: the provenance says the preset.

    Raises:
        InputError: a saved figure has no caption, no label or no alt text.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    if ran:
        title, _, rest = notebook.cells[0].source.partition("\n")
        notebook.cells[0].source = f'{title}\n\n<p class="provenance">{ran}</p>\n{rest}'
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            about = output.get("metadata", {}).get("tritier", {})
            if "table" in about:
                del output["data"]["text/html"]  # what is left is numbered
            if "provenance" not in about:
                continue
            look = cell.metadata.get("mystnb", {})
            figure, image = look.get("figure", {}), look.get("image", {})
            alt = "interactive" in about or image.get("alt")  # an interactive figure brings its own
            if not (figure.get("caption") and figure.get("name") and alt):
                first = cell.source.strip().splitlines()[0]
                raise InputError(
                    f"chapters/{path.name}",
                    f"cell {first!r}",
                    "a figure without caption, label or alt text",
                    "set mystnb.figure.caption, mystnb.figure.name and mystnb.image.alt in the cell's metadata",
                )
            links = downloads(about["files"], about["chapter"])
            figure["caption"] += f"\n\n{about['provenance']} · {links}"
    return nbformat.writes(notebook)


def remote(root: Path) -> str:
    """Where the repository was cloned from; empty where it was not."""
    told = subprocess.run(["git", "remote", "get-url", "origin"], cwd=root, capture_output=True, text=True)
    return told.stdout.strip() if told.returncode == 0 else ""


def launchable(config: str, url: str) -> str:
    """The book's configuration with a button that opens a chapter on Binder, where the clone is of a public host."""
    found = PUBLIC.fullmatch(url)
    if found is None:
        return config
    told = yaml.safe_load(config)
    told["repository"] = {"url": "https://{host}/{path}".format(**found.groupdict()), "branch": "HEAD"}
    told["launch_buttons"] |= {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"}
    return str(yaml.safe_dump(told, sort_keys=False))


def stage(book: Book) -> Path:
    """Lay out what Sphinx reads: pages, executed chapters, generated tables, scripts for reading offline."""
    import plotly

    target = book.root / "_build" / "source"
    wanted: dict[str, bytes] = {}
    for name in COPIED:
        if (book.root / name).is_file():
            wanted[name] = (book.root / name).read_bytes()
    wanted["_config.yml"] = launchable((book.root / "_config.yml").read_text(), remote(book.root)).encode()
    for page in book.pages:
        name = Path(page).name
        if name in book.chapters:
            r = book.record(name)
            ran = f"Run at preset {book.preset} in {r['seconds']:.0f} s, commit {r['commit']}."
            wanted[f"{page}.ipynb"] = with_provenance(book.executed(name), ran).encode()
        else:
            wanted[f"{page}.md"] = (book.root / f"{page}.md").read_bytes()
    for folder in FOLDERS:
        for path in sorted((book.root / folder).rglob("*")):
            if path.is_file() and (folder != "data" or path.suffix == ".md"):
                wanted[path.relative_to(book.root).as_posix()] = path.read_bytes()
    for path in sorted((book.root / "figures").glob("*.svg")):
        wanted[f"figures/{path.name}"] = path.read_bytes()
    for path in sorted((book.root / "figures").glob("*")):
        if path.suffix in DOWNLOADS:
            wanted[f"_vendor/figures/{path.name}"] = path.read_bytes()
    for path in sorted((book.root / "vendor" / "mathjax").rglob("*")):
        if path.is_file():
            wanted[f"_vendor/_static/{path.relative_to(book.root / 'vendor').as_posix()}"] = path.read_bytes()
    for path in sorted((book.root / "vendor" / "tippy").glob("*.js")):
        wanted[f"_vendor/_static/tippyjs/{path.name}"] = path.read_bytes()
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    wanted["_vendor/_static/plotly/plotly.min.js"] = script.read_bytes()
    wanted["_generated/nomenclature.txt"] = nomenclature(modules_of(book)).encode()
    parameters = book.root / "data" / "parameters.csv"
    sources = sources_of(parameters) if parameters.is_file() else {}  # a book of another study may have none
    wanted["_generated/study-reference.txt"] = reference(sources).encode()
    wanted |= {f"_generated/{page}.txt": text.encode() for page, text in api(book).items()}
    wanted["_generated/status.txt"] = status(book).encode()
    wanted["_generated/figures.txt"] = figures(book).encode()

    for path in [p for p in target.rglob("*") if p.is_file()]:
        if path.relative_to(target).as_posix() not in wanted:
            path.unlink()
    for name, content in wanted.items():
        _put(target / name, content)
    return target


def clear_leftovers(book: Book, html: Path) -> None:
    """Take out what Sphinx would leave from an earlier build: pages that are no more, and listings of the sources.

    It writes the listing of a module again only if that module has changed, not if the theme or the scripts have.
    """
    shutil.rmtree(html / "_modules", ignore_errors=True)
    for path in (html / "chapters").glob("*.html"):
        if f"chapters/{path.stem}" not in book.pages:
            path.unlink()


def build_html(book: Book, jobs: int = 2) -> int:
    """Stage and build with ``jupyter-book build -W -n --keep-going``; its exit code, the HTML in _build/html.

    Pages that Sphinx has read are not read again, nor warned of, unless they change: what it keeps is dropped where the
    build before did not succeed.
    """
    source = stage(book)
    html, sound = book.root / "_build" / "html", book.root / "_build" / ".doctrees" / "built-without-a-warning"
    if not sound.is_file():
        shutil.rmtree(sound.parent, ignore_errors=True)
    sound.unlink(missing_ok=True)
    if html.is_dir() and not (html / "index.html").is_file():
        shutil.rmtree(html)
    clear_leftovers(book, html)
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", "-W", "-n", "--keep-going", "--path-output", str(book.root)]
    log = book.root / "_build" / "build.log"
    environment = os.environ | {PROCESSES: str(max(1, jobs))}
    run = subprocess.run([*command, str(source)], cwd=book.root, env=environment, capture_output=True, text=True)
    log.write_text(run.stdout + run.stderr)
    if run.returncode != 0:
        told = [x for x in (run.stdout + run.stderr).splitlines() if "WARNING" in x or "ERROR" in x or "rror:" in x]
        for line in dict.fromkeys(told):
            print(f"book: {line.replace(str(source) + '/', '')}", file=sys.stderr)
        print(f"book: the HTML build failed (see {log.relative_to(book.root)})", file=sys.stderr)
        return 1
    sound.touch()
    return 0


def print_book(book: Book, browser: str) -> Path:
    """The whole book as one PDF, printed page by page from the built HTML by Chromium; pages are bookmarked by title.

    Raises:
        InputError: no book is built.
    """
    from playwright.sync_api import sync_playwright
    from pypdf import PdfReader, PdfWriter

    html, target = book.root / "_build" / "html", book.root / "_build" / "tritier.pdf"
    if not (html / "intro.html").is_file():
        raise InputError("_build/html", "intro.html", "no built book", "run make book first")
    whole = PdfWriter()
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_context(offline=True, reduced_motion="reduce").new_page()
        page.set_default_timeout(SLOWEST_PAGE_MS)
        for name in book.pages:
            page.goto((html / f"{name}.html").as_uri())
            page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => 0) : 0")
            title = page.title().partition(" — ")[0]
            printed = page.pdf(
                format="A4",
                margin={"top": "16mm", "bottom": "18mm", "left": "15mm", "right": "15mm"},
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=FOOTER,
            )
            first = len(whole.pages)
            whole.append(PdfReader(io.BytesIO(printed)), import_outline=False)
            whole.add_outline_item(title=title, page_number=first)
        chromium.close()
    whole.compress_identical_objects()
    with target.open("wb") as file:
        whole.write(file)
    return target


def setup(app: Sphinx) -> dict[str, bool | int]:
    """Make this module a Sphinx extension of the book.

    It silences thebe, which declares its constants twice on every page, an error in the console, and points to a CDN.
    It imports the package: autodoc would do so with ``TYPE_CHECKING`` set, where pydantic leaves models unfinished.
    And entries of the bibliography become items of their list, as the role of the list around them asks for. What pages
    beside the chapters number is counted by page. Python's garbage collector looks less often: pages are trees of
    millions of nodes that stay, and it took a third of the build. Pages are read and written by several processes, and
    previews outlast the process that wrote their page.
    """
    gc.set_threshold(COLLECT, 20, 100)
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if getattr(listener.handler, "__name__", "") == "init_thebe_core":
                app.disconnect(listener.id)
    for module in pkgutil.walk_packages(tritier.__path__, "tritier."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    app.connect("html-page-context", entries_are_items)
    app.connect("html-page-context", sidebar_of_titles, priority=400)  # before the theme draws it
    app.connect("env-get-updated", number_by_page, priority=900)  # after Sphinx has numbered
    app.connect("autodoc-process-docstring", as_read)
    app.connect("html-page-context", keep_preview, priority=460)  # after sphinx-tippy has made it
    app.connect("build-finished", all_previews, priority=400)  # before sphinx-tippy writes them
    app.connect("env-before-read-docs", read_at_once)
    app.connect("env-updated", write_at_once)
    app.parallel = int(os.environ.get(PROCESSES, "1"))  # jupyter-book has no option for it
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 2}


def entries_are_items(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Give entries of a bibliography, which docutils marks by a deprecated role, the role that a list may hold."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def sidebar_of_titles(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Draw the sidebar from the titles of pages alone: Sphinx copies all their headings for every page, and then cuts
    them off, a seventh of the build."""
    whole, env = context["toctree"], app.env

    def toctree(**wanted: object) -> str:
        tocs = env.tocs
        try:
            env.tocs = titles_alone(env) if wanted.get("titles_only") else tocs
            return str(whole(**wanted))
        finally:
            env.tocs = tocs

    context["toctree"] = toctree


@cache
def titles_alone(env: BuildEnvironment) -> dict[str, nodes.bullet_list]:
    """Tables of contents as Sphinx leaves them where titles are asked for: a page's title, and the pages below it."""
    cut = {name: toc.deepcopy() for name, toc in env.tocs.items()}
    for heading in (heading for toc in cut.values() for heading in toc.children):
        if isinstance(heading, nodes.list_item) and len(heading) > 1:
            heading[1][:] = list(heading.findall(addnodes.toctree))
            if not heading[1].children:
                heading.pop(1)
    return cut


def number_by_page(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Count equations, figures and tables of a page that is no chapter behind the first letters of its name, as (M.1)
    on the page of the method: Sphinx counts through all such pages, and its (1) is easily taken for a chapter's.

    The first page keeps its plain numbers. No page has to be read again for it, hence the empty list.
    """
    taken: set[str] = set()
    for page, kinds in env.toc_fignumbers.items():
        name = page.rpartition("/")[2]
        if page == app.config.root_doc or not name[0].isalpha() or not any(kinds.values()):
            continue
        sign = next(x for k in range(1, len(name) + 1) if (x := name[:k].capitalize()) not in taken)
        taken.add(sign)
        for numbers in kinds.values():
            for count, key in enumerate(sorted(numbers, key=numbers.__getitem__), 1):
                numbers[key] = (sign, count)  # type: ignore[assignment] # Sphinx joins whatever it finds by points
    return []


def as_read(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """A docstring as the book shows it: no second parentheses around an equation's number, nothing said by Python."""
    lines[:] = [] if ALIAS.fullmatch("".join(lines)) else EQUATIONS.sub(r"\1", "\n".join(lines)).split("\n")


def keep_preview(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Store the preview of a page beside its doctree: the process that writes a page is none that the others ask."""
    if doctree:
        path = Path(app.doctreedir, PREVIEWS, f"{name}.pickle")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(vars(app.env)["tippy_data"]["pages"][name]))


def all_previews(app: Sphinx, exception: Exception | None) -> None:
    """Gather the previews of all pages, those included that this build had no need to write again: sphinx-tippy knows
    only what its own process wrote, and links to other pages would have none."""
    if exception:
        return
    known = vars(app.env).setdefault("tippy_data", {"pages": {}, "wiki_titles": set()})  # as where no page was written
    for name in app.env.all_docs:
        path = Path(app.doctreedir, PREVIEWS, f"{name}.pickle")
        known["pages"][name] = pickle.loads(path.read_bytes())


def read_at_once(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Say for two extensions, which say nothing, that pages may be read in several processes: one numbers pages when
    all are read, the other changes what is set by LaTeX."""
    for name in ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex"):
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = True


def write_at_once(app: Sphinx, env: BuildEnvironment) -> None:
    """Write pages in as many processes as read them: Sphinx counts the one that hands them out."""
    app.parallel += app.parallel > 1


def build_book(
    preset: str = "fast", *, root: Path | None = None, jobs: int = 2, run: bool = True, html: bool = True
) -> int:
    """Build the book; 0 if it is complete, 1 if a chapter or the build failed, 2 on bad input, 130 if interrupted.

    Args:
        preset: ``smoke``, ``fast`` or ``paper``.
        root: the repository (default: the current folder).
        jobs: chapters run at a time, and processes that read and write pages.
        run: run what is stale; without, the gate alone decides on what is there.
        html: build the HTML after the gate.
    """
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
        code = build_html(book, jobs) if html else 0
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
    try:
        print(print_book(Book(Path.cwd(), "fast"), sys.argv[1]))
    except InputError as error:
        sys.exit(str(error))
