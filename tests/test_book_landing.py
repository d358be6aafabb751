"""The landing page leads where a reader wants to go, in two clicks, and says what is true of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
import yaml

from tritier.book.run import Book

ROOT = Path(__file__).resolve().parent.parent
INTRO = (ROOT / "intro.md").read_text()
TABLE = INTRO.partition("## Where to find what")[2].partition("\n## ")[0]


def text_of(page: str) -> str:
    """Markdown and code of a page, in order; captions, labels and alt texts with them."""
    path = ROOT / f"{page}.md"
    if path.is_file():
        return path.read_text()
    cells = nbformat.read(ROOT / f"{page}.ipynb", as_version=4).cells
    return "\n\n".join(f"{cell.source}\n{cell.metadata.get('mystnb', {}).get('figure', {})}" for cell in cells)


PAGES = {page: text_of(page) for page in Book(ROOT, "smoke").pages}


def after(label: str) -> str:
    """What follows the place a label names."""
    mark = f"'name': '{label}'" if label.startswith("fig-") else f"({label})=\n"
    holders = [text for text in PAGES.values() if mark in text]
    assert len(holders) == 1, f"{label} is a label of {len(holders)} pages"
    before, _, rest = holders[0].partition(mark)
    return rest if not label.startswith("fig-") else before[-600:] + rest


def target(pattern: str) -> str:
    """The text a link of the table leads to: that of a page, or what follows a label."""
    row = next(line for line in TABLE.splitlines() if re.search(pattern, line))
    reference = re.search(r"\{ref\}`[^<]*<([^>]+)>`", row)
    return after(reference.group(1)) if reference else PAGES[re.search(r"\]\(([^)]+)\)", row).group(1)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (r"the table against the paper", r"findings\.against_paper\(abstract, calibrated, daily\)"),
        (r"Proposition 1 and its proof", r"\*\*Proposition 1\.\*\*[\s\S]*\*\*Proof\.\*\*"),
        (r"the convergence picture", r"search_bounds\(|convergence\("),
        (r"Case 4 through the day", r"feeder_through_the_day\("),
        (r"run Case 4 again", r"papermill chapters/15-case-4\.ipynb out\.ipynb[^\n]* -p n_scenarios 20"),
        (r"to cite", r"@software\{tritier"),
        (r"versions and hashes", r"_generated/status\.txt"),
        (r"Quick start", r"tritier solve"),
        (r"help with an error", r"book: refused"),
    ],
)
def test_the_landing_page_links_to_what_a_reader_wants(wanted, found):
    assert re.search(found, target(wanted))


def test_the_convergence_picture_is_that_of_the_search_chapter_once_there_is_one():
    link = next(line for line in TABLE.splitlines() if "convergence picture" in line)
    label = re.search(r"<([^>]+)>", link).group(1)
    search = [text for page, text in PAGES.items() if page.startswith("chapters/10-")]
    assert not search or label in search[0], "chapter 10 exists: let intro.md link to its convergence figure"


def test_three_commands_that_exist():
    block = re.search(r"```bash\n(.*?)```", INTRO, re.DOTALL).group(1).splitlines()
    assert len(block) == 3
    makefile = (ROOT / "Makefile").read_text()
    for line in block[:2]:
        goal = re.match(r"make (\S+)", line).group(1)
        assert re.search(rf"^{goal}:", makefile, re.MULTILINE)
    assert "tritier solve data/studies/ieee33 --case 4" in block[2]


def test_two_figures_and_the_table_of_all_figures():
    assert re.findall(r"```{figure} (\S+)", INTRO) == ["figures/coordination-map.svg", "figures/three-levels.svg"]
    assert "_generated/figures.txt" in INTRO


def test_readme_says_how_to_check_the_book():
    assert "make check-book" in (ROOT / "README.md").read_text()


def test_binder_gets_a_conda_environment_that_installs_this_package_from_its_own_folder():
    """repo2docker copies the repository before it reads a root environment.yml whose pip lines are local."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-r requirements.lock", "-e ."]
    others = ("binder", ".binder", "Dockerfile", "requirements.txt", "runtime.txt", "setup.py", "Pipfile")
    assert [name for name in others if (ROOT / name).exists()] == []  # any of these would be read instead, or as well
    assert re.search(r"^ipykernel==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


def numbered(toc: dict) -> list[str]:
    """Chapters that the book counts, in its order; a page below another one counts with it."""
    return [chapter["file"] for part in toc["parts"] if part.get("numbered") for chapter in part["chapters"]]


def test_a_chapter_has_the_number_of_its_file():
    files = numbered(yaml.safe_load((ROOT / "_toc.yml").read_text()))
    assert [int(Path(file).name.partition("-")[0]) for file in files] == list(range(1, len(files) + 1))
    assert {f"{file}.ipynb" for file in files} == {
        f"chapters/{path.name}" for path in (ROOT / "chapters").glob("*.ipynb") if not re.match(r"\d+[a-z]-", path.name)
    }
