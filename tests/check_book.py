"""The built book in a real browser, every page of it, offline. Run by ``make check-book``, as it needs the build."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from browser import (
    DESKTOP,
    PHONE,
    THEMES,
    WIDTHS,
    chromium,
    clipped,
    faults,
    illegible,
    inaccessible,
    launched,
    opened,
    set_theme,
    unreachable,
)
from pypdf import PdfReader

from tritier.book.build import print_book
from tritier.book.report import write_report
from tritier.book.run import Book
from tritier.cases.result import read_result
from tritier.provenance import tree_hash

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
FORWARD, LANDING = "index.html", "intro.html"  # the first sends its reader on to the second
FILES = (p.relative_to(HTML) for p in HTML.rglob("*.html"))
PAGES = sorted(p.as_posix() for p in FILES if "_static" not in p.parts and p.name != FORWARD)
CHAPTERS = [name for name in PAGES if re.fullmatch(r"chapters/[^/]+\.html|intro\.html", name)]

TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))"


@pytest.fixture(scope="session")
def browser():
    with launched() as found:
        yield found


def test_the_build_has_its_pages():
    listed = {f"chapters/{p.stem}.html" for p in (ROOT / "chapters").iterdir() if p.suffix in (".md", ".ipynb")}
    assert listed | {"intro.html"} == set(CHAPTERS)
    assert {"search.html", "genindex.html"} <= set(PAGES)


def test_no_page_names_the_folder_that_it_was_built_in():
    assert [name for name in PAGES if f"{ROOT}/" in (HTML / name).read_text()] == []


def test_no_page_prints_what_is_no_number():
    code = re.compile(r"<(pre|script|style)\b.*?</\1>", re.DOTALL)
    chapters = {name: code.sub("", (HTML / name).read_text()) for name in PAGES if re.match(r"chapters/\d", name)}
    assert len(chapters) > 20
    assert [name for name, text in chapters.items() if re.search(r"(?<![\w-])[+-]?nan\b", text)] == []


def test_no_page_shows_a_warning_of_its_kernel():
    """It names a file of the machine that ran it."""
    assert [name for name in PAGES if re.search(r"ipykernel_\d+/", (HTML / name).read_text())] == []


def test_numbers_of_pages_beside_the_chapters_are_not_taken_for_a_chapters():
    bare = re.compile(r'"(?:eqno|caption-number)">(?:Fig\. |Table |\()\d+[ )<]')
    pages = [name for name in CHAPTERS if name != LANDING]
    assert [name for name in pages if bare.search((HTML / name).read_text())] == []
    assert "(M.1)" in (HTML / "chapters" / "method.html").read_text()


def test_the_first_page_leads_to_the_landing_page(browser):
    with opened(browser, HTML, "intro.html") as (page, wrong):
        page.goto((HTML / FORWARD).as_uri(), wait_until="commit")
        page.wait_for_url("**/intro.html")
        assert wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_page(browser, name):
    """No page logs an error, asks the network, cuts or overlaps a block, or fails a rule of accessibility, at three
    widths and in both themes; listings of the sources and the index are machine-made, and checked for faults alone.

    Rules of structure are those of the page, whatever its theme and, but for what scrolls, its width; colours are the
    theme's, whatever the width. The landing page, which shows one thing or the other by width, is held to all of them.
    """
    chapter = name in CHAPTERS
    widths, found = WIDTHS if chapter else WIDTHS[:1], []
    with opened(browser, HTML, name, widths[-1]) as (page, wrong):
        for width in widths:
            if len(widths) > 1:
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(200)  # scripts that follow the window's width do so with a delay
            for theme in THEMES if chapter else THEMES[:1]:
                set_theme(page, theme)
                page.evaluate(TWO_FRAMES)  # and where the machine is slow, with a longer one
                seen = faults(page)
                if chapter:
                    whole, first = width == WIDTHS[-1] or name == LANDING, theme == THEMES[0]
                    seen += clipped(page)
                    seen += (inaccessible(page) if whole else unreachable(page)) if first else []
                    seen += illegible(page) if whole else []
                found += [f"{width} px, {theme}: {line}" for line in seen]
        assert wrong + found == [], "\n".join(wrong + found)


@pytest.mark.parametrize("theme", THEMES)
def test_a_reader_finds_the_theme_that_was_chosen_and_the_switch_turns_it(browser, theme):
    with opened(browser, HTML, LANDING, theme=theme) as (page, wrong):
        asked = "() => [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]"
        (first, ground), others = page.evaluate(asked), set()
        assert first == theme
        for _ in range(3):  # light, dark, and as the system has it
            page.locator("button.theme-switch-button:visible").first.click()
            others.add(tuple(page.evaluate(asked)))
        set_theme(page, other := next(name for name in THEMES if name != theme))
        assert {(theme, ground), tuple(page.evaluate(asked))} == others
        assert page.evaluate(asked)[0] == other and wrong == []


def test_search_finds_chance_constraint(browser):
    with opened(browser, HTML, "intro.html") as (page, wrong):
        page.locator("button.search-button__button:visible").first.click()
        page.keyboard.type("chance constraint")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=chance+constraint*")
        page.wait_for_selector("#search-results li a")
        page.wait_for_function("() => /finished|found/i.test(document.querySelector('#search-results').textContent)")
        hits = page.locator("#search-results li > a").all_inner_texts()
        assert len(hits) > 3
        assert "Glossary" in hits
        assert wrong == []


def test_glossary_leads_where_the_search_says(browser):
    with opened(browser, HTML, "chapters/glossary.html") as (page, _):
        assert "chance constraint" in page.locator("article").inner_text().lower()


WAYS = {
    "the table against the paper": "not resolved",
    "Proposition 1 and its proof": "Proof.",
    "the convergence picture": "bound",
    "Case 4 through the day": "Trades are fixed day-ahead",
    "Case 4, other settings": "-p n_scenarios 20",
    "How to cite": "@software{tritier",
}


@pytest.mark.parametrize("link", WAYS)
def test_the_landing_page_leads_there_in_one_click(browser, link):
    with opened(browser, HTML, "intro.html") as (page, wrong):
        page.locator("article").get_by_role("link", name=link, exact=True).first.click()
        page.wait_for_load_state()
        near = page.evaluate_handle(
            """() => {
                const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
                return place ? place.closest('section, figure') : document.querySelector('article');
            }"""
        ).as_element()
        assert near.is_visible()
        assert WAYS[link] in near.inner_text()
        assert wrong == []


def test_figures_agree_with_their_manifest():
    """Every figure of the build has its files, and was drawn from the data as they are now."""
    folder = ROOT / "figures"
    manifest, now = json.loads((folder / "manifest.json").read_text()), tree_hash(ROOT / "data")
    assert len(manifest) > 30
    for name, entry in manifest.items():
        assert (HTML / "figures" / f"{name}.svg").is_file() or (HTML / "figures" / f"{name}.csv").is_file()
        assert entry["data"] == now, name
        if (folder / f"{name}.svg").is_file():
            assert (HTML / "figures" / f"{name}.svg").read_bytes() == (folder / f"{name}.svg").read_bytes()


def drawn(figure) -> str:
    """What the curves of an interactive figure look like now."""
    return figure.locator(".cartesianlayer").first.inner_html()


MOVING = [name for name in CHAPTERS if 'class="interactive"' in (HTML / name).read_text()]


def test_case_4_has_its_interactive_figures():
    assert "chapters/15-case-4.html" in MOVING


def slide(page, figure) -> int:
    """Click two places of the figure's slider in turn: mark, label and picture follow. The number of sliders."""
    sliders = figure.locator(".slider-rail-touch-rect")
    for turn, share in enumerate((0.15, 0.85, 0.15) if sliders.count() else ()):
        sliders.first.scroll_into_view_if_needed()
        rail, label, before = sliders.first.bounding_box(), figure.locator(".slider-label").first, drawn(figure)
        text = label.text_content()
        page.mouse.click(rail["x"] + share * rail["width"], rail["y"] + rail["height"] / 2)
        page.wait_for_timeout(400)
        if turn:  # the slider may have stood at the first place already
            assert label.text_content() != text
            assert drawn(figure) != before
    return sliders.count()


def choose(page, figure) -> int:
    """Choose the last entry of the figure's menu: the picture follows. The number of menus."""
    menus, before = figure.locator(".updatemenu-header"), drawn(figure)
    if menus.count():
        menus.first.scroll_into_view_if_needed()
        menus.first.click()
        page.wait_for_timeout(400)
        figure.locator(".updatemenu-dropdown-button").last.click()
        page.wait_for_timeout(400)
        assert drawn(figure) != before
    return menus.count()


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", MOVING)
def test_sliders_and_menus_move_the_picture(browser, name, width):
    with opened(browser, HTML, name, width) as (page, wrong):
        figures = page.locator(".interactive").all()
        assert sum(slide(page, figure) for figure in figures) >= (name == "chapters/15-case-4.html")
        assert sum(choose(page, figure) for figure in figures) >= (name == "chapters/15-case-4.html")
        assert wrong + faults(page) == []


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """The report of a stored case, which the book does not hold."""
    stored = ROOT / "data" / "results" / "cases" / "2045-odd" / "case-4"
    return write_report(stored, read_result(stored), tmp_path_factory.mktemp("report") / "report.html")


@pytest.mark.parametrize("theme", THEMES)
def test_a_report_is_whole_and_legible_at_every_width(browser, report, theme):
    """By the reader's own choice of theme, all folds open."""
    with opened(browser, report.parent, report.name, theme=theme) as (page, wrong):
        page.evaluate("() => document.querySelectorAll('details').forEach(fold => fold.open = true)")
        dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (theme == "dark")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            found = wrong + faults(page) + clipped(page, "body") + inaccessible(page) + illegible(page)
            assert found == [], width


def test_the_pages_are_printed_in_order_into_one_file(tmp_path):
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters:\n  - file: chapters/second\n")
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_build" / "html" / "chapters").mkdir(parents=True)
    for page in ("intro", "chapters/second"):
        (tmp_path / f"{page}.md").write_text("")
        (tmp_path / "_build" / "html" / f"{page}.html").write_text(f"<title>{page} — a book</title><p>Of {page}.")
    with ThreadPoolExecutor() as apart:  # the other pages' browser has an event loop in this thread
        printed = PdfReader(apart.submit(print_book, Book(tmp_path, "smoke"), chromium()).result())
    assert [entry.title for entry in printed.outline] == ["intro", "chapters/second"]
    for entry, page in zip(printed.outline, printed.pages, strict=True):
        assert f"Of {entry.title}." in page.extract_text()


def test_a_long_table_begins_on_the_printed_page_where_it_stands(browser):
    """Neither the theme's rule for print nor a box that scrolls holds it together: a page would be nearly empty."""
    ask = """() => [...document.querySelectorAll('article.bd-article table')].map(e => getComputedStyle(e).breakInside
      + ' ' + getComputedStyle(e.parentElement).overflowX)"""
    with opened(browser, HTML, "chapters/03-data-and-scenarios.html") as (page, _):
        assert "auto auto" in page.evaluate(ask)  # on screen a wide one scrolls
        page.emulate_media(media="print")
        assert set(page.evaluate(ask)) == {"auto visible"}


def test_a_wide_table_is_read_downwards_on_a_phone(browser):
    """Every cell behind the name of its column; on a wide screen it is a table again."""
    ask = """() => [...document.querySelectorAll('table[data-stacked]')].map(table => [
      [...table.tHead.rows[0].cells].map(e => e.textContent.trim()),
      [...table.tBodies[0].rows].map(row => [...row.cells].map(e => getComputedStyle(e, '::before').content))])"""
    with opened(browser, HTML, "chapters/12-case-1.html", PHONE) as (page, wrong):
        page.wait_for_selector("table[data-stacked]")
        for head, rows in page.evaluate(ask):
            assert len(head) > 2 and rows
            assert all(row == [json.dumps(name, ensure_ascii=False) for name in head] for row in rows)
        page.set_viewport_size({"width": DESKTOP, "height": 900})
        page.wait_for_function("() => !document.querySelector('table[data-stacked]')")
        assert wrong == []


def test_a_figure_opens_larger_by_key_and_closes(browser):
    with opened(browser, HTML, "chapters/04-lindistflow.html") as (page, wrong):
        page.locator("button.zoomable").first.focus()
        page.keyboard.press("Enter")
        room = page.locator("dialog.zoom")
        assert room.is_visible()
        assert room.locator("img").get_attribute("alt") == page.locator("button.zoomable img").first.get_attribute(
            "alt"
        )
        page.keyboard.press("Escape")
        assert not room.is_visible()
        assert wrong == []


def test_a_link_to_an_equation_shows_it(browser):
    with opened(browser, HTML, "chapters/method.html") as (page, wrong):
        page.locator('article.bd-article a[href*="#equation-"]:not(.headerlink)').first.hover()
        page.locator(".tippy-box mjx-container").first.wait_for()
        assert wrong == []


PAGE = """<!doctype html><html lang="en">
<head><meta name="viewport" content="width=device-width"><title>x</title></head>
<body><article class="bd-article"><p id="here">Sound.</p><img alt="A square of one colour." src="a.svg">{}</article>
</body></html>"""
DAMAGE = {
    "": None,
    "<script>console.error('torn')</script>": "console: torn",
    "<script>missing()</script>": "script: missing is not defined",
    '<script src="gone.js"></script>': "request failed",
    '<img alt="A picture from elsewhere." src="https://example.org/a.png">': "request leaves the build",
    '<img alt="" src="a.svg">': "picture without alt text",
    '<img alt="figures/a.svg" src="a.svg">': "picture without alt text",
    '<div class="interactive" aria-label="A moving picture."></div>': "interactive figure not drawn",
    '<figure><div class="interactive" aria-label="A moving one."></div><figcaption>It moves.</figcaption></figure>': (
        "interactive figure without a number"
    ),
    '<div style="width: 1400px">wide</div>': "scrolls sideways",
    '<div style="width: 9em; overflow: hidden"><p style="width: 20em">cut</p></div>': "cut by",
    '<table style="table-layout: fixed; width: 4em"><tr><td>incomprehensible<td>b</table>': "sticks out by",
    '<table style="display: block; overflow-x: auto"><tr><td style="min-width: 60em">wide</table>': "table wider than",
    '<section><p style="margin-bottom: -2em">under</p><p>over</p></section>': "overlaps what follows",
    '<p style="color: #999; background: #fff">pale</p>': "axe color-contrast",
    '<p>sound, and <span style="background: #555">the same colour on a dark ground</span></p>': "axe color-contrast",
    '<p>sound</p><div style="opacity: 0.4"><p>the same colour, faded</p></div>': "axe color-contrast",
    '<p style="width: 9em; overflow: auto; white-space: nowrap">what no key can scroll aside</p>': "axe scrollable",
    '<p>In a text a <a href="#here">link</a>, and '
    '<a href="#here" style="color: #333; text-decoration: none">one</a></p>': "axe link-in-text-block",
    '<style>a {color: #333; text-decoration: none}</style><p><a href="#here">alone</a></p>'
    '<p>and a <a href="#here">link</a> amid its text</p>': "axe link-in-text-block",
    '<p class="math">$$ a = b $$</p>': "mathematics not typeset",
    "<p>as $$ a = b $$ says</p>": "source in the text",
    "<p>as {eq}`eq-toy` says</p>": "source in the text",
    "<p>worth \\frac{1}{2}</p>": "source in the text",
    '<a href="gone.html">away</a>': "link to no file",
    '<a href="page.html#there">there</a>': "link to no place",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: DAMAGE[d] or "none")
def test_the_check_sees_what_is_broken(browser, tmp_path, damage):
    (tmp_path / "a.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
    )
    (tmp_path / "page.html").write_text(PAGE.format(damage))
    with opened(browser, tmp_path, "page.html", PHONE) as (page, wrong):
        found = wrong + faults(page) + clipped(page) + inaccessible(page) + illegible(page)
        assert unreachable(page) == [line for line in found if line.startswith("axe scrollable")]
    if DAMAGE[damage] is None:
        assert found == []
    else:
        assert [line for line in found if line.startswith(DAMAGE[damage])], found
