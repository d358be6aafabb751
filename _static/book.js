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
addEventListener("load", async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const article = document.querySelector(".bd-article");
  if (article) new ResizeObserver(reachable).observe(article);
  reachable();
});

// A line may not begin with the comma that follows a formula, which a browser takes for a word of its own.
addEventListener("DOMContentLoaded", () => {
  for (const formula of document.querySelectorAll(".bd-article span.math")) {
    const after = formula.nextSibling;
    const sign = after?.nodeType === Node.TEXT_NODE && /^([,.;:!?)\]]+|-\w+)/.exec(after.data);
    if (!sign) continue;
    after.splitText(sign[0].length);
    const kept = document.createElement("span");
    kept.className = "kept";
    formula.replaceWith(kept);
    kept.append(formula, after);
  }
});

// A number that a chapter has found stays on the line of its unit.
addEventListener("DOMContentLoaded", () => {
  for (const number of document.querySelectorAll(".bd-article .pasted-text")) {
    const after = number.nextSibling;
    if (after?.nodeType === Node.TEXT_NODE) after.data = after.data.replace(/^ (?=[$%])/, "\u00a0");
  }
});

// A long path or dotted name in a table may break after its signs, so that the column need not be as wide as it is.
addEventListener("DOMContentLoaded", () => {
  for (const code of document.querySelectorAll(".bd-article :is(td, th) code")) {
    const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) texts.push(walker.currentNode);
    for (const text of texts) {
      const parts = text.data.split(/(?<=[/_.,:])(?=\w)/);
      if (text.data.length < 14 || parts.length < 2) continue;
      text.replaceWith(...parts.flatMap((part, k) => (k ? [document.createElement("wbr"), part] : [part])));
    }
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
