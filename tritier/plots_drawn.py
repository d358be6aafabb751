"""What a figure draws, as a table: the data behind it, for readers who want the numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

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


def named(mark, k: int) -> str:
    label = str(mark.get_label())
    return str(k) if label.startswith("_") or not label or label == "None" else label


def bar_end(bar, orientation: str | None) -> tuple[float, float, float]:
    """Place and end of a bar; what it starts from is its third number, as bars may be stacked."""
    if orientation == "horizontal":
        return bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height() / 2, bar.get_x()
    return bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height(), bar.get_y()


def points_of(found) -> Iterator[tuple[object, ...]]:
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
