"""The built book in a real browser, every page of it, offline. Run by ``make check-book``, as it needs the build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, faults, launched, opened

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
FORWARD = "index.html"  # sends its reader on to the landing page
FILES = (p.relative_to(HTML) for p in HTML.rglob("*.html"))
PAGES = sorted(p.as_posix() for p in FILES if "_static" not in p.parts and p.name != FORWARD)
CHAPTERS = [name for name in PAGES if re.fullmatch(r"chapters/[^/]+\.html|intro\.html", name)]


@pytest.fixture(scope="session")
def browser():
    with launched() as found:
        yield found


def test_the_build_has_its_pages():
    listed = {f"chapters/{p.stem}.html" for p in (ROOT / "chapters").iterdir() if p.suffix in (".md", ".ipynb")}
    assert listed | {"intro.html"} == set(CHAPTERS)
    assert {"search.html", "genindex.html"} <= set(PAGES)


def test_the_first_page_leads_to_the_landing_page(browser):
    with opened(browser, HTML, "intro.html") as (page, wrong):
        page.goto((HTML / FORWARD).as_uri(), wait_until="commit")
        page.wait_for_url("**/intro.html")
        assert wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_page(browser, name):
    with opened(browser, HTML, name) as (page, wrong):
        at_the_desk = faults(page)
        page.set_viewport_size({"width": PHONE, "height": 800})
        page.wait_for_timeout(150)  # scripts that follow the window's width do so with a delay
        assert wrong + at_the_desk + faults(page) == []


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


def drawn(figure) -> str:
    """What the curves of an interactive figure look like now."""
    return figure.evaluate("e => [...e.querySelectorAll('.plot')].map(p => p.innerHTML).join('')")


SLIDERS = [name for name in CHAPTERS if '"sliders":[' in (HTML / name).read_text()]


def test_case_4_has_its_interactive_figures():
    assert "chapters/15-case-4.html" in SLIDERS


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", SLIDERS)
def test_sliders_and_menus_move_the_picture(browser, name, width):
    with opened(browser, HTML, name, width) as (page, wrong):
        for figure in page.locator(".interactive").all():
            figure.scroll_into_view_if_needed()
            before = drawn(figure)
            if figure.locator(".slider-rail-touch-rect").count():
                rail = figure.locator(".slider-rail-touch-rect").first.bounding_box()
                for share in (0.15, 0.85):
                    label = figure.locator(".slider-label").first.text_content()
                    page.mouse.click(rail["x"] + share * rail["width"], rail["y"] + rail["height"] / 2)
                    page.wait_for_timeout(400)
                    assert figure.locator(".slider-label").first.text_content() != label
                    assert drawn(figure) != before
                    before = drawn(figure)
        assert wrong + faults(page) == []


PAGE = """<!doctype html><html lang="en">
<head><meta name="viewport" content="width=device-width"><title>x</title></head>
<body><p id="here">Sound.</p><img alt="A square of one colour." src="a.svg">{}</body></html>"""
DAMAGE = {
    "": None,
    "<script>console.error('torn')</script>": "console: torn",
    "<script>missing()</script>": "script: missing is not defined",
    '<script src="gone.js"></script>': "request failed",
    '<img alt="A picture from elsewhere." src="https://example.org/a.png">': "request leaves the build",
    '<img alt="" src="a.svg">': "picture without alt text",
    '<img alt="figures/a.svg" src="a.svg">': "picture without alt text",
    '<div class="interactive" aria-label="A moving picture."></div>': "interactive figure not drawn",
    '<div style="width: 1400px">wide</div>': "scrolls sideways",
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
        found = wrong + faults(page)
    if DAMAGE[damage] is None:
        assert found == []
    else:
        assert [line for line in found if line.startswith(DAMAGE[damage])], found
