// Opened from disk, a browser lets no script read other pages: the search then lists its hits without excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Interactive figures are drawn while the page is still being laid out: fit them to their frame now and whenever it changes.
addEventListener("load", () => {
  const fit = new ResizeObserver((frames) => {
    for (const frame of frames) {
      const figure = frame.target.querySelector(".js-plotly-plot");
      if (figure && frame.contentRect.width > 0) Plotly.Plots.resize(figure);
    }
  });
  document.querySelectorAll(".interactive").forEach((frame) => fit.observe(frame));
});

// What scrolls sideways within its own box can be scrolled by keyboard too.
const BOXES =
  ".bd-article :is(div.math, mjx-container[display], table, figure, pre, .interactive, .cell_output, .pst-scrollable-table-container)";
function reachable() {
  for (const box of document.querySelectorAll(BOXES)) {
    const scrolls = box.scrollWidth > box.clientWidth && /auto|scroll/.test(getComputedStyle(box).overflowX);
    if (scrolls === box.hasAttribute("data-scrolls")) continue;
    box.toggleAttribute("data-scrolls", scrolls);
    if (scrolls) box.tabIndex = 0;
    else if (!box.matches("mjx-container")) box.removeAttribute("tabindex"); // an equation keeps its menu
    box.onscroll = scrolls ? () => fade(box) : null;
    fade(box);
  }
}
// What is hidden to the right is announced by a fading edge, until it is reached.
function fade(box) {
  box.toggleAttribute("data-more", box.scrollLeft + box.clientWidth < box.scrollWidth - 4);
}
// On a narrow screen a table that is wider is set smaller, and where that does not do becomes a list: each row a block
// that its first cell heads, every other cell behind the name of its column.
const NARROW = matchMedia("(max-width: 600px)");
function fitted() {
  for (const box of document.querySelectorAll(".bd-article .pst-scrollable-table-container")) {
    const table = box.querySelector(":scope > table");
    if (!table?.tHead) continue;
    const wide = () => box.scrollWidth > box.clientWidth + 1;
    for (const way of ["data-dense", "data-stacked"]) table.removeAttribute(way);
    if (!NARROW.matches || !wide()) continue;
    table.setAttribute("data-dense", "");
    if (!wide() || !(table.dataset.named || named(table))) continue;
    table.removeAttribute("data-dense");
    table.setAttribute("data-stacked", "");
  }
}
// Gives each cell the name of its column; a table with cells that span others keeps its shape.
function named(table) {
  const body = [...table.tBodies].flatMap((part) => [...part.rows]);
  const cells = [table.tHead.rows[0], ...body].flatMap((row) => [...row.cells]);
  if (table.tHead.rows.length > 1 || cells.some((cell) => cell.rowSpan > 1 || cell.colSpan > 1)) return false;
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.innerText.trim());
  table.setAttribute("role", "table"); // to those who hear it, whatever it looks like
  for (const part of table.tBodies) part.setAttribute("role", "rowgroup");
  for (const row of body) {
    row.setAttribute("role", "row");
    [...row.cells].forEach((cell, k) => {
      cell.setAttribute("role", cell.matches("th") ? "rowheader" : "cell");
      cell.dataset.column = names[k] ?? "";
    });
  }
  return (table.dataset.named = true);
}
addEventListener("load", async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const article = document.querySelector(".bd-article");
  if (!article) return;
  let width = 0;
  new ResizeObserver(([seen]) => {
    if (seen.contentRect.width !== width) fitted(); // not where the page only grew longer, as a list makes it
    width = seen.contentRect.width;
    reachable();
  }).observe(article);
});

// A line may not begin with the comma that follows a formula, nor end with the parenthesis before it: a browser takes a
// formula for a word of its own.
addEventListener("DOMContentLoaded", () => {
  for (const formula of document.querySelectorAll(".bd-article span.math")) {
    const [before, after] = [formula.previousSibling, formula.nextSibling];
    const opened = before?.nodeType === Node.TEXT_NODE && /[(\[]$/.exec(before.data);
    const sign = after?.nodeType === Node.TEXT_NODE && /^([,.;:!?)\]]+|-\w+)/.exec(after.data);
    if (!opened && !sign) continue;
    const kept = document.createElement("span");
    kept.className = "kept";
    formula.replaceWith(kept);
    if (opened) kept.append(before.splitText(before.data.length - 1));
    kept.append(formula);
    if (sign) {
      after.splitText(sign[0].length);
      kept.append(after);
    }
  }
});

// A number stays on the line of its unit, whether a chapter has found it or it was written.
addEventListener("DOMContentLoaded", () => {
  const article = document.querySelector(".bd-article");
  if (!article) return;
  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (!/[%$]/.test(text.data) || text.parentElement.closest("pre, code, script, style, .math")) continue;
    const found = text.previousSibling?.matches?.(".pasted-text");
    text.data = text.data.replace(found ? /^ (?=[$%])|(?<=\d) (?=[$%])/g : /(?<=\d) (?=[$%])/g, "\u00a0");
  }
});

// A long path or dotted name in a table or a signature may break after its signs: a column need not be as wide as it is,
// and no name is broken within a word.
addEventListener("DOMContentLoaded", () => {
  for (const code of document.querySelectorAll(".bd-article :is(:is(td, th) code, dt.sig .descclassname, dt.sig .descname)")) {
    const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) texts.push(walker.currentNode);
    for (const text of texts) {
      const parts = text.data.split(/(?<=[/_.,:])(?=\w)/);
      if (parts.length < 2 || (text.data.length < 14 && !code.closest("dt"))) continue;
      text.replaceWith(...parts.flatMap((part, k) => (k ? [document.createElement("wbr"), part] : [part])));
    }
    if (code.matches(".descclassname")) code.append(document.createElement("wbr"));
  }
});

// Pages with pages of their own fold in the table of contents; the theme gives the fold no name.
addEventListener("load", () => {
  for (const fold of document.querySelectorAll(".bd-sidenav summary")) {
    const page = fold.closest("li")?.querySelector("a");
    fold.setAttribute("aria-label", `Pages under ${page ? page.textContent.trim() : "this one"}`);
  }
});

// A picture opens in a window of its own, as large as the screen has room: by click or Enter; Escape, click or Close end it.
addEventListener("load", () => {
  const room = document.createElement("dialog");
  room.className = "zoom";
  room.setAttribute("aria-label", "Figure, enlarged");
  room.innerHTML = '<form method="dialog"><button>Close</button></form><img alt="">';
  room.addEventListener("click", () => room.close());
  for (const picture of document.querySelectorAll(".bd-article figure img")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "zoomable";
    button.setAttribute("aria-label", "Enlarge: " + picture.alt);
    picture.replaceWith(button);
    button.append(picture);
    button.addEventListener("click", () => {
      if (!room.isConnected) document.body.append(room);
      Object.assign(room.lastChild, { src: picture.src, alt: picture.alt });
      room.showModal();
    });
  }
});
