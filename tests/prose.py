"""The prose of a page: what a reader reads as text, less mathematics, code, links and numbers glued in from results."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

GONE = (
    (r"\A---\n.*?\n---\n", ""),  # front matter
    (r"^(```+|~~~+)\{(?:code-block|literalinclude|include|bibliography|figure)\}.*?^\1\s*$", ""),
    (r"^(```+|~~~+)(?!\{).*?^\1\s*$", ""),  # code
    (r"\$\$.*?\$\$(?: \([a-z0-9-]+\))?", " "),  # numbered and displayed equations
    (r"(?<!\\)\$(?:\\.|[^$\\])+?(?<!\\)\$", " "),  # equations in a line
    (r"\{glue:[a-z]+\}`[^`]*`", " "),  # numbers from results
    (r"\{(?:py:[a-z]+|eq|numref|doc|ref|cite:[a-z]+|term)\}`[^`]*`", " "),  # references, numbered by the build
    (r"^\([a-z0-9-]+\)=\s*$", ""),  # labels
    (r"`+[^`]*`+", " "),  # names in code, files, commands
    (r"\]\([^)]*\)", "]"),  # where a link leads
    (r"^:{3,}.*$|^:[a-z-]+:.*$", ""),  # directive options
)
# What may stand in prose as a digit without being a result, by kind.
ALLOWED = (
    ("a case by its number", r"\bCases? \d(?:(?:,| and| to| or) \d)*"),
    ("a step from case to case", r"\*\d to \d(?=,)"),
    ("a proposition, claim or step by its number", r"\b(?:Proposition|claim|Step) \d\b"),
    ("a level by which something is defined", r"\b\d+ % (?:interval|quantile|of design days)"),
    ("an assumption beside its source or name", r"\b\d+ %(?=: German law| interest)"),
    ("a nameplate", r"\b\d+ (?:kV|MVA)\b"),
    ("a benchmark's name", r"\bIEEE \d+(?:-bus)?\b|\b\d+-bus feeder|\boberrhein\d\b"),
    ("an hour on the clock, behind a glued number", r"(?<= ):00\b"),
    ("the article's place", r"\bvolume 30\b|\barticle 101784\b"),
    ("a licence or a version", r"\bCC BY 4\.0\b|\bPython 3\.\d+"),
    ("a year", r"\b(?:19|20)\d\d\b"),
    ("a section of a law", r"\bsection \d+(?:\(\d+\))?"),
    ("a number in a list", r"^\d+\. "),
    ("a name with a digit in it", r"\bP2P\b|\bSOS1\b"),
)
LIKE_A_RESULT = re.compile(r"\d\d|\d\.\d")  # 0, 1, 2 and n - 1 are mathematics


def digits(text: str) -> list[str]:
    """Numbers typed in Markdown prose, each with the words around it."""
    for pattern, instead in GONE:
        text = re.sub(pattern, instead, text, flags=re.DOTALL | re.MULTILINE)
    for _, pattern in ALLOWED:
        text = re.sub(pattern, " ", text, flags=re.MULTILINE)
    return [" ".join(text[max(0, m.start() - 30) : m.end() + 20].split()) for m in re.finditer(r"\d[\d.,]*", text)]


def words(text: str) -> int:
    """Words of Markdown prose, as a reader counts them."""
    for pattern, instead in GONE:
        text = re.sub(pattern, instead, text, flags=re.DOTALL | re.MULTILINE)
    return len(re.findall(r"[^\W_]+(?:['’-]\w+)*", text))


def digits_in_line(text: str) -> list[str]:
    """Equations within a line that hold a number a result could have: two digits, or a decimal."""
    for pattern, instead in GONE[:4]:
        text = re.sub(pattern, instead, text, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"(?<!\\)\$(?:\\.|[^$\\])+?(?<!\\)\$", text)
    return [equation for equation in found if LIKE_A_RESULT.search(equation)]


def of_page(path: Path) -> Iterator[tuple[str, str]]:
    """(place, Markdown) of a page's prose: Markdown cells, captions and alt texts, or a whole Markdown file."""
    if path.suffix == ".md":
        yield path.stem, path.read_text()
        return
    for k, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "markdown":
            yield f"{path.stem}, cell {k}", cell.source
        look = cell.metadata.get("mystnb", {})
        for place, text in (
            ("caption", look.get("figure", {}).get("caption", "")),
            ("alt text", look.get("image", {}).get("alt", "")),
        ):
            yield f"{path.stem}, {place} in cell {k}", text
        if cell.cell_type == "code" and re.search(r"\bshow_(?:interactive|table)\(", cell.source):
            for text in spoken(cell.source):
                yield f"{path.stem}, text in cell {k}", text


def spoken(code: str) -> Iterator[str]:
    """Captions and alt texts among the arguments of calls."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.keyword) and node.arg in ("alt", "caption"):
            yield ast.literal_eval(node.value)
