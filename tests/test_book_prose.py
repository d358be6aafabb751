"""No result is typed: numbers in the prose of pages with results come from what the chapters computed, by glue."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from prose import ALLOWED, digits, digits_in_line, of_page, spoken, words

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
# Chapters 3 to 6, 8 and 9 work by hand on numbers that they give; every other page speaks of results.
BY_HAND = ("03", "04", "05", "06", "08", "09")
RESULTS = [ROOT / "intro.md", *(p for p in CHAPTERS if not p.stem.startswith(BY_HAND))]


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_no_number_is_typed_in_the_prose(path):
    assert [f"{place}: {found}" for place, text in of_page(path) for found in digits(text)] == []


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_no_result_hides_in_an_equation(path):
    assert [f"{place}: {found}" for place, text in of_page(path) for found in digits_in_line(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "Losses fall by 3.2 % a day.",
        "It costs 40 \\$ a day.",
        "On 7 of {glue:text}`c9_days` days",
        "In Case 4 welfare rises by 12.",
        "bus 18",
        "| losses | 4.1 |",
        "**1,675** dollars",
        "a [link](x.md) with 5 kWh",
        "between \\$3 and \\$5",
        "In 2018 it cost 20",
    ],
)
def test_typed_numbers_are_found(text):
    assert digits(text)


@pytest.mark.parametrize(
    "text",
    [
        "Losses fall by {glue:text}`c4_losses:.1f` %, $\\epsilon = 0.05$, see {eq}`eq-2`.",
        "$$\nx = 1.96\n$$ (eq-a)",
        "Cases 2, 3 and 4 against Case 1, *1 to 2, the P2P market*",
        "```\ntritier solve --case 4\n```",
        "`results/4.csv` of 2018, on the IEEE 33-bus feeder",
        "(sec-2)=",
        "1. First\n2. Second",
        "95 % interval",
        "[Reproduce](chapters/15-case-4)",
    ],
)
def test_names_and_references_are_not_results(text):
    assert digits(text) == []


def test_a_result_in_an_equation_is_found_and_a_formula_is_not():
    assert digits_in_line("gains $g = 15.5$ dollars and $t_{n-1}$ of $2/\\epsilon$") == ["$g = 15.5$"]
    assert digits_in_line("$$\nt_{n-1, 0.975}\n$$ (eq-a) costs 5 \\$ or 6 \\$") == []


def test_captions_of_tables_and_alt_texts_of_interactive_figures_are_prose():
    code = "book.show_table(f(x), caption='b ' 'c')\nbook.show_interactive(page, f(x), 'name', alt='a')"
    assert sorted(spoken(code)) == ["a", "b c"]


def test_kinds_are_few_and_named():
    assert len(ALLOWED) <= 15
    assert len({kind for kind, _ in ALLOWED}) == len(ALLOWED)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
def test_no_figure_is_glued_inside_code(chapter):
    """Between backticks MyST shows the role's own text instead of what was glued."""
    cells = [c for c in nbformat.read(chapter, as_version=4).cells if c.cell_type == "markdown"]
    assert not [c.source for c in cells if re.search(r"`\{glue:\w+\}`[^`]*``", c.source)]


PAGES = [ROOT / "intro.md", *(p for p in sorted((ROOT / "chapters").iterdir()) if p.suffix in (".md", ".ipynb"))]
WORDS_A_MINUTE, MINUTES = 220, 12
FOLDED, LISTING = {"hide-input", "remove-input", "hide-cell", "remove-cell"}, 15


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_a_page_is_read_in_twelve_minutes(path):
    """Prose alone: equations, code and glued numbers are looked at rather than read."""
    assert sum(words(text) for place, text in of_page(path) if "alt text" not in place) < WORDS_A_MINUTE * MINUTES


def test_words_are_those_of_the_prose():
    assert (
        words("Two words, $x^2 + 1$ and {glue:text}`key:.2f`.\n\n```python\nnot = these\n```\n\n$$ a = b $$ (eq-a)")
        == 3
    )


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_long_listing_is_folded(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    shown = [c.source for c in cells if not FOLDED & set(c.metadata.get("tags", []))]
    assert [s.splitlines()[0] for s in shown if sum(bool(x.strip()) for x in s.splitlines()) > LISTING] == []


def bare_tables(text: str) -> list[str]:
    """Heads of Markdown tables that stand under no caption."""
    inside = re.sub(r"^:::\{table\} \S.*?^:::$", "", text, flags=re.DOTALL | re.MULTILINE)
    typed = re.findall(r"^(\|.*)\n\|[ :|-]+\|$", inside, re.MULTILINE)
    named = re.findall(r"\{(?:list-)?table\}\s*$", inside, re.MULTILINE)
    return typed + named + re.findall(r"\{include\} (\S*results/\S+\.md)", inside)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_table_has_a_caption_of_its_own(path):
    """Sphinx numbers a table that has a caption; those of results get theirs from ``show_table``."""
    if path.suffix == ".md":
        assert bare_tables(path.read_text()) == []
        return
    cells = nbformat.read(path, as_version=4).cells
    assert [head for cell in cells if cell.cell_type == "markdown" for head in bare_tables(cell.source)] == []
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert not [source for source in code if re.search(r"HTML\(|to_html\(|\.style\b", source)]
    captions = [text for source in code if "show_table(" in source for text in spoken(source)]
    assert len(captions) >= sum(source.count("show_table(") for source in code)
    assert len(set(captions)) == len(captions) and all(len(text.split()) > 1 for text in captions)


def test_a_table_without_caption_is_seen():
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    assert bare_tables(table) == ["| a | b |"]
    assert bare_tables(f":::{{table}} Numbers\n{table}\n:::") == []
    assert bare_tables(f":::{{table}}\n{table}\n:::") != []
    assert bare_tables("```{list-table}\n* - a\n```") != []
    kept = "```{include} data/results/answer.md\n```"
    assert bare_tables(kept) == ["data/results/answer.md"] and bare_tables(f":::{{table}} Numbers\n{kept}\n:::") == []
