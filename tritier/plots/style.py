"""One look for all figures: colours, style and the last touches. Figures of a chapter are functions of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle, StepPatch

# Okabe and Ito's palette: told apart with any common colour-vision deficiency. Yellow is too light for lines.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, BLACK, GREY = "#56B4E9", "#CC79A7", "#222222", "#7F7F7F"
COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK)
CASE_COLOURS = {0: GREY, 1: BLACK, 2: SKY, 3: ORANGE, 4: BLUE}
DIVERGING, SEQUENTIAL = "PuOr", "cividis"
WIDTH = 7.0  # inches: the book's text width

STYLE = {
    "figure.figsize": (WIDTH, 3.6),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "image.cmap": SEQUENTIAL,
    "svg.fonttype": "path",
    "svg.hashsalt": "tritier",
    "pdf.fonttype": 42,
}


def use_style() -> None:
    """Put the house style in force for the whole process."""
    plt.rcParams.update(STYLE)


def close(fig: Figure) -> None:
    """Forget a figure, so that a notebook does not show it a second time."""
    plt.close(fig)


def finish(fig: Figure) -> Figure:
    """Check and complete a figure: every drawn axis has a labelled x and y, with a unit wherever numbers stand.

    Axes whose frame is switched off (maps, diagrams) are left alone.

    Raises:
        ValueError: an axis with numbers on it has no label.
    """
    for ax in fig.axes:
        if not ax.axison or ax.get_label() == "<colorbar>":
            continue
        for axis, label in ((ax.xaxis, ax.get_xlabel()), (ax.yaxis, ax.get_ylabel())):
            shared = any(getattr(a, f"get_{axis.axis_name}label")() for a in _siblings(ax, axis.axis_name))
            if _has_numbers(axis) and not label and not shared:
                raise ValueError(f"axis {axis.axis_name} of {ax.get_title() or 'a panel'!r} has no label with a unit")
    return fig


def _siblings(ax: Axes, which: str) -> Sequence[Axes]:
    group = ax.get_shared_x_axes() if which == "x" else ax.get_shared_y_axes()
    return group.get_siblings(ax)


def _has_numbers(axis: mpl.axis.Axis) -> bool:
    texts = [t.get_text().replace("−", "-") for t in axis.get_ticklabels()]  # matplotlib's minus sign
    return any(t.lstrip("-").replace(".", "").isdigit() for t in texts)


def label_lines(ax: Axes, gap: float = 0.05, pad: float = 4.0) -> None:
    """Write each line's label at its right end, in its colour, instead of a legend.

    Args:
        ax: axes whose lines carry labels.
        gap: least distance between two labels, as a share of the axis height.
        pad: distance from the line's end, in points.
    """
    lines = [x for x in ax.get_lines() if not x.get_label().startswith("_") and len(x.get_xdata())]
    ends = np.array([float(np.asarray(x.get_ydata(), dtype=float)[-1]) for x in lines])
    low, high = ax.get_ylim()
    order = np.argsort(ends)
    places = ends[order].copy()
    for k in range(1, places.size):
        places[k] = max(places[k], places[k - 1] + gap * (high - low))
    places -= np.clip(places[-1:].sum() - high, 0, None) if places.size else 0
    for k, y in zip(order, places, strict=True):
        x = lines[k].get_xdata()[-1]
        ax.annotate(
            lines[k].get_label(),
            (x, y),
            xytext=(pad, 0),
            textcoords="offset points",
            color=lines[k].get_color(),
            va="center",
            annotation_clip=False,
        )


def hours_axis(ax: Axes, hours: int = 24) -> None:
    """An x axis of the hours of a day."""
    ax.set_xlim(0, hours)
    ax.set_xticks(np.arange(0, hours + 1, 6))
    ax.set_xlabel("hour of the day [h]")


def three_levels() -> Figure:
    """The three levels of the model, what each decides, and what passes between them."""
    fig, ax = plt.subplots(figsize=(WIDTH, 4.4))
    ax.set_axis_off()
    ax.set(xlim=(0, 10), ylim=(0, 10))
    levels = (
        (8.3, BLUE, "Level 1 · Distribution system operator", "maximises expected welfare, recovers its costs"),
        (5.0, GREEN, "Level 2 · P2P market platform", "clears trades within voltage and thermal limits"),
        (1.7, RED, "Level 3 · Prosumers", "each minimises expected cost and CVaR"),
    )
    for y, colour, title, text in levels:
        ax.add_patch(FancyBboxPatch((1.9, y - 0.85), 6.2, 1.7, boxstyle="round,pad=0.1", fc="white", ec=colour, lw=1.8))
        ax.text(5, y + 0.32, title, ha="center", va="center", weight="bold", color=colour, fontsize=11)
        ax.text(5, y - 0.38, text, ha="center", va="center", fontsize=9.5)
    arrows = (
        (
            3.4,
            7.35,
            5.95,
            "charges on energy $\\tau_b$, peaks\nand trade $\\tau^{\\mathrm{p}}$; capacity limits",
            "right",
        ),
        (6.6, 5.95, 7.35, "billed energy, flows,\nlosses, head peak", "left"),
        (3.4, 4.05, 2.65, "P2P price $\\lambda_t$, network\nprices $\\pi_{ntw}$", "right"),
        (6.6, 2.65, 4.05, "trades $z^{\\mathrm{b}}, z^{\\mathrm{s}}$,\ninjections $inj_{ntw}$", "left"),
    )
    for x, start, end, text, side in arrows:
        ax.add_patch(
            FancyArrowPatch((x, start), (x, end), arrowstyle="-|>", mutation_scale=14, color=BLACK, lw=1.2, shrinkA=0)
        )
        offset = -0.15 if side == "right" else 0.15
        ax.text(x + offset, (start + end) / 2, text, ha=side, va="center", fontsize=9, linespacing=1.2)
    return finish(fig)


COLUMNS = ("panel", "x_axis", "y_axis", "kind", "series", "x", "y", "value")


def drawn(fig: Figure) -> pd.DataFrame:
    """Points of all curves, bars, marks and grids of a matplotlib figure, in the units of its axes.

    Columns: ``panel`` (number of the axes, from 1), labels of its axes, ``kind`` and ``series`` of the mark, ``x``,
    ``y`` and ``value``: what colour stands for, or where a bar starts.
    """
    rows = []
    for number, ax in enumerate((a for a in fig.axes if a.get_label() != "<colorbar>"), start=1):
        for kind, series, points in marks(ax):
            head = (number, ax.get_xlabel(), ax.get_ylabel(), kind, series)
            rows += [(*head, *point) for point in points]
    return pd.DataFrame(rows, columns=COLUMNS)


def marks(ax: Axes) -> Iterator[tuple[str, str, list[tuple[object, ...]]]]:
    """Kind, name and points of everything in one panel that stands for data; shading and text do not."""
    for k, line in enumerate(ax.lines, start=1):
        x, y = line.get_data(orig=False)
        yield "line", named(line, k), [(a, b, np.nan) for a, b in zip(x, y, strict=True)]
    bars = (c for c in ax.containers if isinstance(c, BarContainer))
    for k, group in enumerate(bars, start=1):
        yield "bar", named(group, k), [bar_end(bar, group.orientation) for bar in group.patches]
    for k, stair in enumerate((p for p in ax.patches if isinstance(p, StepPatch)), start=1):
        values, edges, _ = stair.get_data()
        yield "step", named(stair, k), [(x, y, np.nan) for x, y in zip(edges, [*values, values[-1]], strict=True)]
    for k, found in enumerate(ax.collections, start=1):
        yield type(found).__name__, named(found, k), list(points_of(found))
    for k, image in enumerate(ax.images, start=1):
        values = np.asarray(image.get_array())
        yield "image", named(image, k), [(j, i, values[i, j]) for i, j in np.ndindex(values.shape[:2])]


def named(mark: Artist, k: int) -> str:
    label = str(mark.get_label())
    return str(k) if label.startswith("_") or not label or label == "None" else label


def bar_end(bar: Rectangle, orientation: str | None) -> tuple[float, float, float]:
    """Place and end of a bar; what it starts from is its third number, as bars may be stacked."""
    if orientation == "horizontal":
        return bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height() / 2, bar.get_x()
    return bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height(), bar.get_y()


def points_of(found: Collection) -> Iterator[tuple[object, ...]]:
    """Points of a collection: marks, cells of a grid, segments, or the outline of a band."""
    values = found.get_array()
    if isinstance(found, PathCollection):
        places = np.asarray(found.get_offsets())
        shades = np.full(len(places), np.nan) if values is None else np.asarray(values).ravel()
        yield from ((x, y, v) for (x, y), v in zip(places, shades, strict=True))
    elif isinstance(found, QuadMesh):
        corners = found.get_coordinates()
        centre = (corners[:-1, :-1] + corners[1:, 1:]) / 2
        yield from ((x, y, v) for (x, y), v in zip(centre.reshape(-1, 2), np.asarray(values).ravel(), strict=True))
    elif isinstance(found, LineCollection):
        yield from ((x, y, np.nan) for segment in found.get_segments() for x, y in segment)
    elif isinstance(found, PolyCollection):
        yield from ((x, y, np.nan) for path in found.get_paths() for x, y in path.vertices)
