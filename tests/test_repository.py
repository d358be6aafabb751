"""The repository keeps its promises: one environment, stripped chapters, licences, small modules, imports one way."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import distribution, version
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tritier.book_run import Book

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IN_LOCK = ("book", "test", "cluster")
LINES = 330

# Levels of the package, lowest first. A module imports from its own level and from lower ones only.
# An entry ending in * stands for all modules with that beginning.
LEVELS = (
    ("errors",),
    (
        "instance",
        "tables",
        "settings",
        "reading",
        "days",
        "medoids",
        "scenarios",
        "cases",
        "feeder_file",
        "preset",
        "hand",
    ),
    ("network", "acflow", "risk", "chance", "prosumer", "market", "dso"),
    ("linear", "highs_model", "highs_basis", "parametric", "kkt", "joint", "mccormick", "milp_highs", "bilevel*"),
    (
        "optimistic",
        "pessimistic",
        "flat",
        "uncertainty",
        "adversary",
        "trilevel",
        "enumeration",
        "tariff_grid",
        "first_best",
        "ends",
        "cuts",
        "menu_search",
        "hybrid*",
        "robust*",
        "hosting*",
        "large*",
    ),
    ("decisions", "completion", "recourse", "settlement", "outcome", "calibrate", "store*", "certificate*", "study*"),
    ("heldout", "findings*", "out_of_sample", "sweep_point", "bench*"),
    ("plots*",),
    ("book*", "sweep", "sweep_plan", "sweep_findings"),
    ("commands", "__main__"),
)


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    return [Requirement(text) for text in [*PROJECT["dependencies"], *(t for e in IN_LOCK for t in extras[e])]]


def lock(path: str = "requirements.lock") -> dict[str, str]:
    pins = [x for x in (ROOT / path).read_text().splitlines() if x and not x.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", pin) for pin in pins)
    return {canonicalize_name(name): pin for name, pin in (x.split("==") for x in pins)}


def closure(roots: list[Requirement]) -> set[str]:
    """Canonical names of the requirements and of all they require, in the environment the tests run in."""
    seen: set[tuple[str, frozenset]] = set()
    todo = list(roots)
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        for text in distribution(requirement.name).requires or []:
            other = Requirement(text)
            if other.marker is None or any(other.marker.evaluate({"extra": e}) for e in requirement.extras or {""}):
                todo.append(other)
    return {name for name, _ in seen}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_lock_lies_within_the_ranges_of_pyproject(requirement):
    assert requirement.specifier.contains(lock()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("text", PROJECT["optional-dependencies"]["data"])
def test_lock_of_the_data_lies_within_its_ranges(text):
    requirement = Requirement(text)
    assert requirement.specifier.contains(lock("data/requirements.lock")[canonicalize_name(requirement.name)])


def test_lock_pins_what_is_needed_and_nothing_else():
    build = [
        Requirement(text) for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    ]
    assert set(lock()) == closure(requirements() + build)


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
def test_every_pin_installs_on_the_promised_pythons(python):
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)
    needs = {name: distribution(name).metadata.get("Requires-Python") or "" for name in lock()}
    assert {name: spec for name, spec in needs.items() if not SpecifierSet(spec).contains(python)} == {}


def test_the_environment_of_this_run_is_the_lock():
    assert {name: version(name) for name in lock()} == lock()


def test_conda_environment_installs_the_lock_on_a_supported_python():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert "-r requirements.lock" in pip
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    specifier = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert specifier.contains(python.partition("=")[2])
    assert not [d for d in environment["dependencies"] if isinstance(d, str) and "==" in d]


def test_ci_runs_the_tests_and_the_smallest_book():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [x.strip() for x in script.read_text().splitlines() if not x.startswith("#")]
    assert "set -euo pipefail" in commands
    assert commands.index("make test") < commands.index("make book PRESET=smoke")


def test_every_page_of_the_contents_exists_and_every_page_is_listed():
    book = Book(ROOT, "smoke")
    assert len(book.chapters) == len(CHAPTERS)
    listed = {page for page in book.pages if page.startswith("chapters/")}
    assert listed == {f"chapters/{p.stem}" for p in (ROOT / "chapters").iterdir() if p.suffix in (".md", ".ipynb")}
    assert len(set(book.pages)) == len(book.pages)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_is_stripped_and_starts_with_its_parameters(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert [cell.execution_count for cell in code] == [None] * len(code)
    assert "parameters" in code[0].metadata.tags
    assert 'preset = "fast"' in code[0].source.splitlines()
    assert notebook.cells[0].source.startswith("# ")
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_begins_under_its_own_name_and_has_captioned_figures(path):
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    source = "\n".join(cell.source for cell in code)
    assert f'book.begin("{path.stem}", preset' in source
    assert not [x for x in source.splitlines() if x.lstrip().startswith(("%", "!"))], (
        "no magics: they hide dependencies"
    )
    figures = [cell for cell in code if "book.save_figure(" in cell.source]
    assert figures
    for cell in figures:
        look = cell.metadata.get("mystnb", {})
        assert look["figure"]["name"].startswith("fig-")
        assert len(look["figure"]["caption"].split()) > 3
        assert len(look["image"]["alt"].split()) > 3


def test_figure_labels_and_files_are_unique_over_the_book():
    cells = [c for p in CHAPTERS for c in nbformat.read(p, as_version=4).cells if "book.save_figure(" in c.source]
    labels = [cell.metadata["mystnb"]["figure"]["name"] for cell in cells]
    assert len(set(labels)) == len(labels)


def test_citation_file_names_software_and_article():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == PROJECT["version"]
    article = citation["preferred-citation"]
    assert article["type"] == "article"
    assert article["journal"] == "Energy Conversion and Management: X"
    assert (article["volume"], article["number"]) == (30, "101784")
    assert article["title"] and article["authors"]


def test_licences_of_code_text_data_and_vendored_scripts_are_stated():
    text = (ROOT / "LICENSE").read_text()
    for name in ("MIT License", "CC BY 4.0", "data/README.md", "Open Database License", "Apache License 2.0"):
        assert name in text
    assert "Apache License" in (ROOT / "vendor" / "mathjax" / "LICENSE").read_text()


def test_mathematics_and_theme_come_from_the_build():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert (ROOT / "vendor" / config["mathjax_path"]).stat().st_size > 1e6
    assert "http" not in (ROOT / "_config.yml").read_text()


def modules() -> dict[str, Path]:
    return {path.stem: path for path in sorted((ROOT / "tritier").glob("*.py")) if path.stem != "__init__"}


@pytest.mark.parametrize("path", modules().values(), ids=lambda p: p.stem)
def test_module_is_small_and_says_what_it_is(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LINES
    assert ast.get_docstring(ast.parse(text))


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("tritier.")}
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "tritier"):
            name = (node.module or "") if node.level else (node.module or "").partition(".")[2]
            found |= {name.split(".")[0]} if name else {a.name for a in node.names}
    return found & set(modules())


def level(module: str) -> int:
    for k, names in enumerate(LEVELS):
        if module in names or any(n.endswith("*") and module.startswith(n[:-1]) for n in names):
            return k
    raise AssertionError(f"tritier/{module}.py stands on no level; add it to LEVELS in {Path(__file__).name}")


@pytest.mark.parametrize("module", modules())
def test_imports_run_one_way(module):
    above = [other for other in imported(modules()[module]) if level(other) > level(module)]
    assert above == []


def test_no_modules_import_each_other_in_a_circle():
    order = list(TopologicalSorter({m: imported(p) for m, p in modules().items()}).static_order())
    assert len(order) == len(modules())
