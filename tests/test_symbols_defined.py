"""Every symbol of a displayed equation is told in words: before it, right after it, or in an earlier chapter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tritier.book.build import modules_of, nomenclature
from tritier.book.run import Book

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
DISPLAY = re.compile(r"^\$\$(.*?)^\$\$[^\n]*\n?|^```\{math\}\n(?::label:[^\n]*\n)?(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<![\\$])\$((?:\\.|[^$\\])+)\$(?!\$)")
GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|vartheta|iota|kappa|lambda|mu|nu|xi|pi|varpi|rho|varrho|sigma|tau|"
    "varphi|phi|chi|psi|omega|Delta|Lambda|Omega|Phi|Psi|Gamma|Theta|Sigma|ell"
)
NAMES = (
    "soc",
    "dis",
    "wait",
    "ask",
    "inj",
    "ren",
    "cu",
    "ch",
    "ev",
    "hp",
    "pk",
    "shed",
)  # of several letters, in italics
INDICES = set("nmlijktwbc")  # as the nomenclature lists them, and second ones of a kind
OPERATORS = {"E", "SOS1", "CVaR"}  # named by every text on risk, or on branching
GONE = (
    r"\\(?:text|textit|label|operatorname)\s*\{[^{}]*\}",
    r"\\(?:begin|end)\{[^{}]*\}(?:\{[^{}]*\})?",
    r"\\(?:left|right|big|Big|bigg|Bigl|Bigr|bigl|bigr)\b",
    r"\\Delta(?=\\mathrm\{Welfare)",  # a difference
)
OVER = re.compile(
    r"\\(?:overline|underline|widehat|hat|tilde|bar)\s*\{((?:[^{}]|\{[^{}]*\})*)\}"
)  # belongs to its letter
SYMBOL = re.compile(
    rf"\\math(?P<style>rm|bf|sf|cal|bb)\s*(?:\{{(?P<group>[^{{}}]*)\}}|(?P<one>\w))"
    rf"|\\(?P<greek>{GREEK})(?![A-Za-z])"
    rf"|(?P<name>{'|'.join(NAMES)})(?![a-z])|(?P<letter>[A-Za-z])|\\[A-Za-z]+|\\."
)


def group(text: str, at: int) -> tuple[str, int]:
    """The LaTeX argument that begins at ``at``, and where it ends."""
    while at < len(text) and text[at] == " ":
        at += 1
    if at < len(text) and text[at] == "{":
        depth = 0
        for k in range(at, len(text)):
            depth += (text[k] == "{") - (text[k] == "}")
            if depth == 0:
                return text[at + 1 : k], k + 1
    found = re.compile(r"\\math\w+\s*(?:\{[^{}]*\}|\w)|\\[A-Za-z]+|.", re.DOTALL).match(text, at)
    return (found.group(), found.end()) if found else ("", at)


def symbols(latex: str, script: bool = False) -> Iterator[str]:
    """Symbols in order: a letter with its style and its upper label; lower indices that count are none."""
    for pattern in GONE:
        latex = re.sub(pattern, " ", latex)
    latex, at = OVER.sub(r" \1", latex), 0
    while found := SYMBOL.search(latex, at):
        at = found.end()
        style, body = found["style"], found["group"] or found["one"]
        base = f"{style} {body}" if style else found["greek"] or found["name"] or found["letter"]
        label, inner = "", []
        while at < len(latex) and (mark := re.match(r"\s*'*\s*([_^])", latex[at:])):
            inside, at = group(latex, at + mark.end())
            upper = re.fullmatch(r"\s*\\mathrm\s*(?:\{([^{}]*)\}|(\w))\s*", inside)
            if mark[1] == "^" and upper:
                label = f"^{upper[1] or upper[2]}"
            else:
                inner.append(inside)
        counts = script and base in INDICES and not label
        if base and not counts and not (style == "rm" and body in OPERATORS) and style != "bb":
            yield base + label
        for inside in inner:
            yield from symbols(inside, script=True)


def heads(formula: str) -> Iterator[str]:
    """What a formula within a sentence names: each part's first symbol, unless the part only gives it a number."""
    for pattern in GONE:
        formula = re.sub(pattern, " ", formula)
    for part in re.split(r",|\\q?quad|;|\\in\b|\\to\b|\\mapsto\b", formula):
        if re.search(r"(?:=|\\approx)\s*-?[\d.]+\s*$", part):
            continue
        yield from list(symbols(part))[:1]


def told(prose: str) -> set[str]:
    """Symbols that the sentences and tables of this prose name."""
    return {symbol for found in INLINE.finditer(prose) for symbol in heads(found[1])}


def given(display: str) -> set[str]:
    """Symbols that the equation itself defines: what stands alone to the left of an equals sign."""
    found = set()
    for line in re.split(r"\\\\|\\qquad|(?<!\{)&&|,\s*&", display):
        left, equals, _ = line.replace("&", "").partition("=")
        names = list(symbols(left))
        if (
            equals
            and names
            and not re.search(r"[<>+]|\\(?:ge|le|sum|frac|min|max)\b", re.sub(r"[_^]\{?[+-]\}?", "", left))
        ):
            found.add(names[0])
    return found


def used(display: str) -> set[str]:
    """Symbols of an equation, less what it counts by."""
    counted = {x for script in re.findall(r"_\{?([^{}\s$\\]+)", display) for x in script if x in INDICES}
    return set(symbols(display)) - counted


def untold(markdown: str, known: set[str]) -> tuple[list[tuple[str, str]], set[str]]:
    """Symbols of a page's equations that are neither ``known`` nor told on it in time, and all that the page tells.

    In time is before the equation, or in the paragraph that follows it.
    """
    missing, own, at = [], set(known), 0
    for found in DISPLAY.finditer(markdown):
        own |= told(DISPLAY.sub(" ", markdown[at : found.start()]))
        at = found.end()
        after = DISPLAY.split(markdown[at:])[0].strip().split("\n\n")
        display = found[1] or found[2]
        own |= given(display)
        missing += [
            (symbol, " ".join(display.split())) for symbol in sorted(used(display) - own - told("\n".join(after[:1])))
        ]
    return missing, own | told(DISPLAY.sub(" ", markdown[at:]))


def page(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.fixture(scope="module")
def missing() -> dict[str, list[tuple[str, str]]]:
    """Symbols told too late or nowhere, by chapter, read in order: what one chapter tells, a later one may use."""
    found, known = {}, set[str]()
    for path in CHAPTERS:
        found[path.stem], known = untold(page(path), known)
    return found


@pytest.mark.parametrize("chapter", [path.stem for path in CHAPTERS])
def test_a_symbol_is_told_before_it_is_used(missing, chapter):
    assert missing[chapter] == []


def test_the_rules_of_judging_tell_their_own_symbols():
    assert untold((ROOT / "chapters" / "judging.md").read_text(), set())[0] == []


def test_the_page_of_the_method_uses_symbols_that_the_nomenclature_holds():
    """It comes before the chapters that tell them, so it says where they stand."""
    text = (ROOT / "chapters" / "method.md").read_text()
    assert "{doc}`nomenclature`" in text
    by_hand = (ROOT / "chapters" / "nomenclature.md").read_text()
    named = nomenclature(modules_of(Book(ROOT, "smoke")))
    known = set().union(*(symbols(x) for x in INLINE.findall(by_hand + named)))
    assert untold(text, known)[0] == []


SOUND = "With $a_n$ the first and $x$ the second,\n\n$$\nb = a_n x .\n$$ (eq-b)\n\nSo $b$ is small."


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ("", "", []),
        ("With $a_n$ the first and $x$", "With the first and $x$", ["a"]),
        ("$a_n$ the first", "$a_n = 3$ the first", ["a"]),  # a number is no meaning
        ("= a_n x", r"= a_n x^{\mathrm r}", ["x^r"]),  # another label, another symbol
        ("= a_n x", r"= a_n \mathsf x", ["sf x"]),  # and another style
        ("= a_n x", r"= a_n x_{\beta}", ["beta"]),
        ("= a_n x", r"\ge a_n x", []),  # told right after
        ("= a_n x .\n$$ (eq-b)\n\n", "\\ge a_n x .\n$$ (eq-b)\n\nAnother thought.\n\n", ["b"]),  # told too late
    ],
)
def test_what_is_not_told_is_seen(old, new, lost):
    found, _ = untold(SOUND.replace(old, new) if old else SOUND, set())
    assert [symbol for symbol, _ in found] == lost
