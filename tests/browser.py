"""Pages of the built book as a reader's browser shows them: opened from disk, with the network off."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urldefrag

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = 1300, 390  # px
SLOW = 180_000  # ms: a slow machine is no failure
WIDTHS, THEMES = (400, 900, 1400), ("light", "dark")  # px; the theme's own two
AXE = Path(__file__).resolve().parent.parent / "vendor" / "axe-core" / "axe.min.js"
NO_SANDBOX = "--no-sandbox"  # Chromium refuses its sandbox to root, which is who CI runs as

RAW = re.compile(r"\$\$|\\[(\[]|\\begin\{|\\[a-zA-Z]{2,}\b|\{[a-z:]+\}`")  # mathematics or a role that stayed source
TEXT = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode())
    if (!walker.currentNode.parentElement.closest('script, style, pre, code, kbd, mjx-container, .interactive'))
      found.push(walker.currentNode.textContent);
  return found.join('\\n');
}"""
UNTYPESET = """() => [...document.querySelectorAll('.math')].filter(e => !e.querySelector('mjx-container'))
  .map(e => 'mathematics not typeset: ' + e.textContent.trim().slice(0, 60))"""
MATH_ERRORS = """() => [...document.querySelectorAll('mjx-merror')]
  .map(e => 'mathematics with an error: ' + (e.getAttribute('data-mjx-error') || e.textContent))"""
PICTURES = """() => {
  const found = [], few = text => !text || text.trim().split(/\\s+/).length < 3;
  for (const e of document.querySelectorAll('img')) {
    const logo = e.closest('.navbar-brand, .logo, .toggler');  // the theme's own signs
    if (!logo && (few(e.alt) || /\\.(svg|png|jpe?g)$/.test(e.alt))) found.push('picture without alt text: ' + e.src);
    if (e.complete && !e.naturalWidth) found.push('picture does not load: ' + e.src);
  }
  for (const e of document.querySelectorAll('.interactive')) {
    if (few(e.getAttribute('aria-label'))) found.push('interactive figure without a label');
    if (!e.closest('figure')?.querySelector('.caption-number')) found.push('interactive figure without a number');
    const drawing = e.querySelector('.main-svg');
    if (!drawing) found.push('interactive figure not drawn');
    else if (drawing.getBoundingClientRect().width > e.clientWidth + 1) found.push('interactive figure clipped');
  }
  for (const e of document.querySelectorAll('.cell_output svg'))
    if (!e.closest('.interactive, button, summary')) found.push('drawing outside of a figure');
  for (const e of document.querySelectorAll('figure'))
    if (!e.querySelector('figcaption')) found.push('figure without caption');
  return found;
}"""
WIDE = """() => {
  const root = document.documentElement, width = root.clientWidth;
  if (root.scrollWidth <= width) return [];
  const out = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > width + 1);
  const names = out.slice(0, 3).map(e => e.tagName.toLowerCase() + '.' + String(e.className).split(' ')[0]);
  return ['scrolls sideways: ' + root.scrollWidth + ' px on ' + width + ', ' + names.join(', ')];
}"""
ARTICLE = "article.bd-article"
CLIPPED = """() => {
  const found = new Set(), name = e => e.tagName.toLowerCase() + '.' + String(e.className).split(' ')[0];
  const said = e => name(e) + ' ' + JSON.stringify(e.textContent.trim().replace(/\\s+/g, ' ').slice(0, 40));
  const apart = 'mjx-container *, svg *, .interactive *, .visually-hidden, .headerlink, .copybtn, summary *';
  const blocks = 'p, ul, ol, dl, pre, table, figure, section, details, div:is(.math, .highlight, .cell, .admonition)';
  for (const e of document.querySelectorAll('article.bd-article *')) {
    if (e.matches(apart) || !e.checkVisibility() || !e.clientWidth) continue;
    const style = getComputedStyle(e), over = e.scrollWidth - e.clientWidth;
    if (style.display.startsWith('inline') || over <= 2) continue;
    if (/hidden|clip/.test(style.overflowX)) found.add('cut by ' + over + ' px: ' + said(e));
    else if (style.overflowX === 'visible' && e.matches('td, th, p, li, dd, dt, figcaption, h1, h2, h3'))
      found.add('sticks out by ' + over + ' px: ' + said(e));
  }
  for (const e of document.querySelectorAll('article.bd-article table')) {
    const box = e.closest('.pst-scrollable-table-container') ?? e, over = box.scrollWidth - box.clientWidth;
    if (over > 2) found.add('table wider than the page by ' + over + ' px: ' + said(e));
  }
  for (const parent of document.querySelectorAll('article.bd-article section, article.bd-article .cell_output')) {
    const own = [...parent.children].filter(e => e.matches(blocks) && e.checkVisibility());
    for (let k = 1; k < own.length; k++) {
      const low = own[k - 1].getBoundingClientRect(), next = own[k].getBoundingClientRect();
      const both = low.height && next.height;
      if (both && low.bottom - next.top > 2) found.add('overlaps what follows: ' + said(own[k - 1]));
    }
  }
  return [...found];
}"""
SERIOUS = """how => axe.run(document, {preload: false, resultTypes: ['violations'], ...how})
  .then(r => r.violations.filter(v => /serious|critical/.test(v.impact)).map(
    v => 'axe ' + v.id + ': ' + v.nodes.length + ' times, first ' + v.nodes[0].target.join(' ')
      + ', ' + v.nodes[0].html.slice(0, 120)))"""
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
COLOURS = ["color-contrast", "link-in-text-block"]  # the rules that look at colours: three quarters of axe-core's time
# Text of one colour, size and weight has one contrast on the same layers behind it: its first element speaks for all.
# So does the first of links that look alike in a text that looks alike.
KINDS = """() => {
  const seen = new Set(), behind = new Map([[null, '']]), css = (e, part) => getComputedStyle(e, part);
  function layers(e) {
    if (behind.has(e)) return behind.get(e);
    const s = css(e), ground = [s.backgroundColor, s.backgroundImage, s.opacity, s.position, s.filter, s.mixBlendMode];
    const flat = ground.join() === 'rgba(0, 0, 0, 0),none,1,static,none,normal';
    behind.set(e, layers(e.parentElement) + (flat ? '' : '|' + ground));
    return behind.get(e);
  }
  const texts = new Map();
  function around(e) {  // how much of a block is no link
    if (!texts.has(e)) {
      const links = [...e.querySelectorAll('a, button, [role=link], [role=button]')];
      const own = links.filter(a => !a.parentElement.closest('a, button, [role=link], [role=button]') && e.contains(a));
      texts.set(e, e.textContent.trim().length - own.reduce((sum, a) => sum + a.textContent.trim().length, 0));
    }
    return texts.get(e);
  }
  const look = s => [s.color, s.fontSize, s.fontWeight, s.fontStyle, s.fontFamily];
  function mark(e, name, kind) {
    if (seen.has(name + kind)) return;
    seen.add(name + kind);
    e.setAttribute(name, '');
  }
  for (const e of document.querySelectorAll('body, body *')) {
    e.removeAttribute('data-kind');
    e.removeAttribute('data-link');
    const link = e.matches('a[href]');
    const says = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.matches('input, select, textarea');
    if (!(says || link) || !e.checkVisibility({visibilityProperty: true}) || !e.getClientRects().length) continue;
    const s = css(e), beside = [css(e, '::before').content, css(e, '::after').content];
    if (says) mark(e, 'data-kind', [...look(s), s.textShadow, s.webkitTextStroke, beside, layers(e)].join(';'));
    if (!link) continue;
    let block = e.parentElement;
    while (css(block).display === 'inline') block = block.parentElement;
    const amid = around(block) > e.textContent.trim().length;  // axe-core asks no more of a link that stands alone
    const sign = [amid, s.display, s.textDecoration, s.borderBottom, s.outline, s.backgroundColor];
    mark(e, 'data-link', [...look(s), ...sign, ...look(css(block)), css(block).display, layers(block)].join(';'));
  }
  axe.configure({rules: [
    {id: 'color-contrast', selector: '[data-kind]'},
    {id: 'link-in-text-block', selector: '[data-link]'},
  ]});
}"""
LINKS = "() => [...document.querySelectorAll('a[href]')].map(e => e.href).filter(h => h.startsWith('file:'))"
IDS = re.compile(r"\b(?:id|name)=[\"']?([^\"'\s>]+)")


def chromium() -> str:
    """Path of the browser: ``CHROMIUM``, or the first of its usual names on the path."""
    found = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    if not found:
        raise FileNotFoundError(
            "no chromium on the path; install it (Debian: apt-get install chromium) or set CHROMIUM"
        )
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """A headless browser for which no host name resolves."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium(), args=[NO_SANDBOX, "--host-resolver-rules=MAP * ~NOTFOUND"]
        )
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, root: Path, name: str, width: int = DESKTOP, theme: str = THEMES[0]
) -> Iterator[tuple[Page, list[str]]]:
    """A page of the build under ``root``, ready, by a reader who has never been here; with what went wrong on the way.

    The list goes on filling while the page is in use.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900}, offline=True, reduced_motion="reduce", color_scheme=theme
    )
    context.set_default_timeout(SLOW)
    context.add_init_script(f"for (const key of ['mode', 'theme']) localStorage.setItem(key, '{theme}')")
    page, wrong = context.new_page(), []
    inside = (root.resolve().as_uri() + "/", "data:", "blob:")

    def request(sent) -> None:
        if not sent.url.startswith(inside):
            wrong.append(f"request leaves the build: {sent.url}")

    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("request", request)
    page.on("requestfailed", lambda sent: wrong.extend(_failures(sent)))
    try:
        page.goto((root.resolve() / name).as_uri())
        page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => 0) : 0")
        yield page, wrong
    finally:
        context.close()


def faults(page: Page) -> list[str]:
    """What is wrong with a page as it stands: mathematics, pictures, width, links; one line each."""
    raw = [f"source in the text: {m.group()!r}" for m in RAW.finditer(page.evaluate(TEXT))]
    shown = [line for script in (UNTYPESET, MATH_ERRORS, PICTURES, WIDE) for line in page.evaluate(script)]
    return raw + shown + dead_links(page.evaluate(LINKS))


def clipped(page: Page, inside: str = ARTICLE) -> list[str]:
    """Blocks of the article that are cut, stick out of their box, or lie over what follows them, at the width as it
    is; what scrolls within its own box is whole, but for a table, which every reader compares across."""
    return list(page.evaluate(CLIPPED.replace(ARTICLE, inside)))


def inaccessible(page: Page) -> list[str]:
    """Serious and critical findings of axe-core by the rules of WCAG 2.1 A and AA that no theme decides."""
    how = {"runOnly": {"type": "tag", "values": LEVELS}, "rules": {rule: {"enabled": False} for rule in COLOURS}}
    return _axe(page, how)


def unreachable(page: Page) -> list[str]:
    """Its findings by the one rule of structure that the width decides: what scrolls in its box is reached by key."""
    return _axe(page, {"runOnly": {"type": "rule", "values": ["scrollable-region-focusable"]}})


def illegible(page: Page) -> list[str]:
    """Its findings by the rules of colours, in the theme as it is: every kind of text and of links."""
    _load_axe(page)
    page.evaluate(KINDS)
    return _axe(page, {"runOnly": {"type": "rule", "values": COLOURS}})


def _axe(page: Page, how: dict[str, object]) -> list[str]:
    _load_axe(page)
    return list(page.evaluate(SERIOUS, how))


def _load_axe(page: Page) -> None:
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(path=AXE)


def set_theme(page: Page, theme: str) -> None:
    """Give a page the other theme, as its switch does."""
    page.emulate_media(color_scheme=theme)
    page.evaluate("theme => Object.assign(document.documentElement.dataset, {theme, mode: theme})", theme)


def dead_links(links: list[str]) -> list[str]:
    """Links to files or places that are not there."""
    found = []
    for link in sorted(set(links)):
        url, place = urldefrag(link)
        path = Path(unquote(url.partition("?")[0]).removeprefix("file://"))
        if not path.is_file():
            found.append(f"link to no file: {link}")
        elif place and path.suffix == ".html" and unquote(place) not in ids(path):
            found.append(f"link to no place: {link}")
    return found


_ids: dict[Path, set[str]] = {}


def ids(path: Path) -> set[str]:
    """Places of a page that a link can name; each file is read once."""
    if path not in _ids:
        _ids[path] = set(IDS.findall(path.read_text()))
    return _ids[path]


def _failures(sent) -> list[str]:
    """A request that failed, but for one that the next page broke off."""
    return [] if "ERR_ABORTED" in str(sent.failure) else [f"request failed: {sent.url} {sent.failure}"]
