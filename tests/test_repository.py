"""The repository keeps its promises: one environment, stripped chapters, licences, small modules, imports one way."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
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

import tritier
from tritier.book.build import FLOORS, api
from tritier.book.run import Book
from tritier.evaluation.heldout import CHAPTERS as CHAPTER_OF_CASE

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IN_LOCK = ("book", "test", "bench", "cluster")


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


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_names_the_chapters_whose_results_it_reads(path):
    """Results of a case are read by ``heldout.of_case(results, prepared, number, ...)`` and its like."""
    notebook = nbformat.read(path, as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    numbers = re.findall(r"heldout\.(?:of_case|decisions|design)\([^,]+, prepared, (\w+)", source)
    read = {c for n in numbers for k, c in CHAPTER_OF_CASE.items() if n in (str(k), "number")}
    assert read - {path.stem} <= set(notebook.metadata.get("tritier", {}).get("needs", []))


def test_figure_labels_and_files_are_unique_over_the_book():
    cells = [c for p in CHAPTERS for c in nbformat.read(p, as_version=4).cells if "book.save_figure(" in c.source]
    labels = [cell.metadata["mystnb"]["figure"]["name"] for cell in cells]
    assert len(set(labels)) == len(labels)


def test_citation_file_names_software_and_article():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == tritier.__version__
    assert "preferred-citation" not in citation  # it would stand in for the software, under a title that is not known
    (article,) = citation["references"]
    assert article["type"] == "article"
    assert article["journal"] == "Energy Conversion and Management: X"
    assert (article["volume"], article["number"]) == (30, "101784")
    assert article["title"] and article["authors"]


def test_licences_of_code_text_data_and_vendored_scripts_are_stated():
    text = (ROOT / "LICENSE").read_text()
    for name in ("MIT License", "CC BY 4.0", "data/README.md", "Open Database License", "Apache License 2.0"):
        assert name in text
    assert "Apache License" in (ROOT / "vendor" / "mathjax" / "LICENSE").read_text()
    assert "Mozilla Public License" in (ROOT / "vendor" / "axe-core" / "LICENSE").read_text()[:100]
    assert {path.parent.name for path in (ROOT / "vendor").glob("*/LICENSE")} == set(
        re.findall(r"vendor/([\w-]+)/:", text)
    )


def test_mathematics_and_theme_come_from_the_build():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert (ROOT / "vendor" / config["mathjax_path"]).stat().st_size > 1e6
    assert "http" not in (ROOT / "_config.yml").read_text()


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below ``tritier``."""
    found = sorted((ROOT / "tritier").rglob("*.py"))
    names = {path: path.relative_to(ROOT / "tritier").with_suffix("").parts for path in found}
    return {".".join(parts): path for path, parts in names.items() if parts[-1] != "__init__"}


@pytest.mark.parametrize("path", modules().values(), ids=modules())
def test_module_says_what_it_is_and_its_functions_are_short(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert [f.name for f in functions if f.end_lineno - f.lineno + 1 > 60] == []


def test_every_script_is_linted():
    """A pattern that left the ignored folder results out took data/results with it."""
    shown = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--show-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seen = {Path(line).resolve() for line in shown.stdout.splitlines()}
    scripts = {path.resolve() for folder in ("tritier", "tests", "data") for path in (ROOT / folder).rglob("*.py")}
    assert len(scripts) > 200 and scripts <= seen


def test_types_agree():
    """mypy, as pyproject.toml sets it up, on the package and on the scripts that store results: one of these passed an
    argument that a function no longer had, and nobody saw."""
    found = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_a_wheel_ships_every_module_and_solves(tmp_path):
    """Built from a copy of the tree and installed alone, away from the tree."""
    tree, wheels, site = tmp_path / "tree", tmp_path / "wheels", tmp_path / "site"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tritier", tree / "tritier", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", *quiet, "--no-build-isolation", "-w", wheels, tree], check=True)
    subprocess.run([*pip, "install", *quiet, "--no-index", "--target", site, *wheels.glob("*.whl")], check=True)
    shipped = {p.relative_to(site) for p in (site / "tritier").rglob("*.py")}
    assert shipped == {p.relative_to(ROOT) for p in (ROOT / "tritier").rglob("*.py")}
    study, out = ROOT / "data" / "studies" / "ieee33", tmp_path / "out"
    command = [sys.executable, "-m", "tritier", "solve", study, "--case", "1", "--preset", "smoke", "--out", out]
    environment = os.environ | {"PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import tritier; print(tritier.__file__)"]
    said = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert said.stdout.startswith(str(site))
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (out / "summary.json").is_file()


def test_the_package_has_few_modules():
    """Those that hold code; the other files mark packages."""
    marks = {path for path in (ROOT / "tritier").rglob("__init__.py") if not path.read_text().count("\ndef ")}
    assert len(set((ROOT / "tritier").rglob("*.py")) - marks) <= 85


def imported(path: Path) -> set[str]:
    """Modules of the package that a module imports, nested imports included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name.partition(".")[2] for a in node.names if a.name.startswith("tritier.")}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            top, _, name = (node.module or "").partition(".")
            if top == "tritier":
                found |= {name} | {f"{name}.{a.name}" if name else a.name for a in node.names}
    return found & set(modules())


def floor(module: str) -> int:
    return next(k for k, names in enumerate(FLOORS) if module.partition(".")[0] in names)


@pytest.mark.parametrize("module", modules())
def test_imports_run_one_way(module):
    above = [other for other in imported(modules()[module]) if floor(other) > floor(module)]
    assert above == []


def test_the_reference_documents_every_module_once_in_the_order_of_the_floors():
    """The top folder's on the first page, with the public names; each other folder's on a page of its own."""
    pages = {page: re.findall(r"automodule:: tritier\.(\S+)", text) for page, text in api(Book(ROOT, "smoke")).items()}
    listed = [m for page in pages.values() for m in page]
    assert sorted(listed) == sorted(m for m in modules() if m.rpartition(".")[2] != "__main__")
    for page, own in pages.items():
        assert [floor(m) for m in own] == sorted(floor(m) for m in own)
        assert {"-".join(["api", *m.split(".")[:-1]]) for m in own} == {page}
        assert f"_generated/{page}.txt" in (ROOT / "chapters" / f"{page}.md").read_text()
    floors = [floor(own[0]) for page, own in pages.items() if page != "api"]
    assert floors == sorted(floors)
    assert [f"chapters/{page}" for page in pages] == [p for p in Book(ROOT, "smoke").pages if "/api" in p]


def levels(graph: dict[str, set[str]]) -> int:
    """Length of the longest chain of imports; CycleError where modules import each other in a circle."""
    order = TopologicalSorter(graph)
    order.prepare()
    found = 0
    while order.is_active():
        found += 1
        order.done(*order.get_ready())
    return found


def test_no_modules_import_each_other_in_a_circle_and_levels_are_few():
    graph = {m: imported(p) for m, p in modules().items()}
    packages: dict[str, set[str]] = {}
    for module, others in graph.items():
        own = module.partition(".")[0]
        packages.setdefault(own, set()).update({other.partition(".")[0] for other in others} - {own})
    assert levels(packages) <= 9
    assert levels(graph) <= 19


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_what_a_chapter_takes_from_the_package_is_there(path):
    """Names that its cells import from tritier, and what they take from modules so imported: a rename is seen here, not
    after minutes of a build."""
    cells = nbformat.read(path, as_version=4).cells
    tree = ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    modules, missing = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tritier":
            for name in node.names:
                try:
                    found = importlib.import_module(f"{node.module}.{name.name}")
                    modules[name.asname or name.name] = found
                except ModuleNotFoundError:
                    if not hasattr(importlib.import_module(node.module), name.name):
                        missing.append(f"{node.module}.{name.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            owner = modules[node.value.id]
            if not hasattr(owner, node.attr):
                missing.append(f"{owner.__name__}.{node.attr}")
    assert missing == []
