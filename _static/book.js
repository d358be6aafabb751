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
