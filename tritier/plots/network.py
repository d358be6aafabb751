"""Figures of the feeder: its map, voltages along it, and the error of LinDistFlow. Each function returns a Figure."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tritier.inputs.instance import Feeder
from tritier.model.network import downstream_matrix, main_line
from tritier.plots.style import BLUE, GREY, RED, SEQUENTIAL, WIDTH, finish


def tree_layout(feeder: Feeder) -> np.ndarray:
    """Places for the buses, (N, 2): the main line along y = 0 at unit steps, laterals on rows above and below it.

    A lateral starts straight above or below the bus it leaves, or one step on where that bus has more laterals than
    free sides. No two buses share a place and no connector crosses a line.
    """
    place = np.zeros((feeder.bus.size, 2), dtype=int)
    for bus, cell in _block(feeder, 0, sides=(1, -1))[0].items():
        place[bus] = cell
    return place.astype(float)


def _block(
    feeder: Feeder, start: int, sides: tuple[int, ...]
) -> tuple[dict[int, tuple[int, int]], set[tuple[int, int]]]:
    """Cells of the buses from ``start`` on, with ``start`` at (0, 0), and all cells in use, connectors included.

    From the far end to the near one, each lateral takes the nearest free row: those farther out start earlier, so
    that their connectors meet nothing on the way.
    """
    trunk = main_line(feeder, start).tolist()
    cells = {bus: (x, 0) for x, bus in enumerate(trunk)}
    used = set(cells.values())
    for x, bus in reversed(list(enumerate(trunk))):
        leaving = [int(b) for b in np.flatnonzero(feeder.parent == bus) + 1 if b not in trunk]
        shift = 0 if len(leaving) <= len(sides) else 1
        for lateral in leaving:
            # Inside a lateral's own block everything grows to one side; mirrored when the block hangs below.
            inner, inner_used = _block(feeder, lateral, sides=(1,))
            row = 1
            while True:
                side = next((s for s in sides if _fits(inner_used, used, x, shift, s, row)), None)
                if side is not None:
                    break
                row += 1
            cells |= {b: (x + shift + i, side * (row + j)) for b, (i, j) in inner.items()}
            used |= {(x + shift + i, side * (row + j)) for i, j in inner_used}
            used |= {(x, side * j) for j in range(1, row + 1)}
    return cells, used


def _fits(block: set[tuple[int, int]], used: set[tuple[int, int]], x: int, shift: int, side: int, row: int) -> bool:
    """Whether a lateral may start on this side and row; shifted laterals of a bus share its column."""
    column = set() if shift else {(x, side * j) for j in range(1, row + 1)}
    return not used & (column | {(x + shift + i, side * (row + j)) for i, j in block})


def feeder_map(
    feeder: Feeder,
    values: np.ndarray,
    label: str,
    *,
    widths: np.ndarray | None = None,
    ringed: np.ndarray | None = None,
    named: dict[int, str] | None = None,
    limits: tuple[float, float] | None = None,
    colours: str = SEQUENTIAL,
    ax: Axes | None = None,
) -> Figure:
    """The feeder as a tree, each bus filled by its value: the main line runs level, laterals above and below it.

    ``values`` (N,) and their ``label`` (with unit); ``widths`` (L,) of the lines in points; ``ringed`` bus positions to
    ring (prosumers); ``named`` text written beside a bus, keyed by position (default: the substation and the lowest
    value); ``limits`` and ``colours`` of the colour scale; ``ax`` to draw into, else a new figure.
    """
    place, values = tree_layout(feeder), np.asarray(values, dtype=float)
    columns, rows = np.ptp(place, axis=0) + (1.4, 2.0)
    if ax is None:
        width = max(WIDTH, 0.42 * columns)
        _, ax = plt.subplots(figsize=(width, min(width / columns, 0.6) * rows + 0.7))
    for line, parent in enumerate(feeder.parent):
        (x0, y0), (x1, y1) = place[parent], place[line + 1]
        width = 1.4 if widths is None else widths[line]
        ax.plot([x0, x0, x1], [y0, y1, y1], color=GREY, linewidth=width, zorder=1, solid_joinstyle="round")

    scale = Normalize(*(limits or (values.min(), values.max())))
    shades = mpl.colormaps[colours](scale(values))
    rings = np.isin(np.arange(values.size), [] if ringed is None else ringed)
    outline = {"edgecolors": np.where(rings, RED, GREY), "linewidths": np.where(rings, 2.2, 0.8)}
    for chosen, marker in ((slice(1, None), "o"), (slice(0, 1), "s")):
        outlined = {key: value[chosen] for key, value in outline.items()}
        ax.scatter(*place[chosen].T, s=190, c=shades[chosen], marker=marker, zorder=2, **outlined)
    for (x, y), number, shade in zip(place, feeder.bus, shades, strict=True):
        ink = "white" if shade[:3] @ (0.299, 0.587, 0.114) < 0.5 else "black"
        ax.text(x, y, number, ha="center", va="center_baseline", fontsize=7, color=ink, zorder=3)
    lowest = int(np.argmin(values))
    for bus, text in (named if named is not None else {0: "substation", lowest: f"{values[lowest]:.4g}"}).items():
        side = _free_side(place, bus)
        ax.annotate(text, place[bus], xytext=(0, 10 * side), textcoords="offset points", fontsize=8.5,
                    ha="left" if bus == 0 else "center", va="bottom" if side > 0 else "top")  # fmt: skip

    ax.set(aspect="equal", xlim=(-0.7, columns - 0.7))
    ax.set_ylim(place[:, 1].min() - 1, place[:, 1].max() + 1)
    ax.axis("off")
    mappable = ScalarMappable(scale, colours)
    bar = ax.figure.colorbar(mappable, ax=ax, orientation="horizontal", shrink=0.5, aspect=40, pad=0.01)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return finish(ax.figure)


def _free_side(place: np.ndarray, bus: int) -> int:
    """Where text beside a bus meets no other bus: 1 above it, -1 below; away from the main line if both are free."""
    x, y = place[bus]
    taken = {tuple(cell) for cell in place.tolist()}
    sides = (1, -1) if y >= 0 else (-1, 1)
    return next((side for side in sides if (x, y + side) not in taken), sides[0])


def voltage_profile(feeder: Feeder, table: pd.DataFrame) -> Figure:
    """Voltages along the feeder in both models, against the resistance of the path from the substation.

    ``table``: columns ``path_ohm``, ``lindistflow_pu``, ``ac_pu``, one row per bus in the feeder's order.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.8))
    models = (("lindistflow_pu", "LinDistFlow", BLUE, "--", "o"), ("ac_pu", "AC power flow", RED, "-", "s"))
    x = table["path_ohm"].to_numpy()
    for column, name, colour, style, marker in models:
        y = table[column].to_numpy()
        for line, parent in enumerate(feeder.parent):
            ends = [parent, line + 1]
            ax.plot(x[ends], y[ends], color=colour, linestyle=style, linewidth=1.3)
        ax.plot(x, y, marker, color=colour, markersize=3.5)
        ax.plot([], [], color=colour, linestyle=style, marker=marker, markersize=3.5, linewidth=1.3, label=name)
    lowest = table["ac_pu"].to_numpy()
    for end in np.flatnonzero(downstream_matrix(feeder).sum(axis=1) == 1) + 1:
        at = (x[end], lowest[end])
        ax.annotate(
            f"bus {feeder.bus[end]}",
            at,
            xytext=(0, -5),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8.5,
        )
    ax.set(xlabel="resistance of the path from the substation [ohm]", ylabel="voltage [p.u.]")
    ax.margins(y=0.12)
    ax.legend(loc="upper right")
    return finish(fig)


def error_figure(table: pd.DataFrame, margin: float, v_min: float) -> Figure:
    """How often LinDistFlow reads a voltage too high and by how much (left), and where on the voltage scale (right).

    ``table``: columns ``error_pu``, ``lindistflow_pu``, one row per bus-hour without the slack; ``margin`` and lower
    limit ``v_min`` in p.u.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3), width_ratios=(1, 1.25))
    error = 1e3 * table["error_pu"].to_numpy()
    left.hist(
        error, bins=30, weights=np.full(error.size, 100 / error.size), color=BLUE, edgecolor="white", linewidth=0.5
    )
    left.set(xlabel="LinDistFlow minus AC [$10^{-3}$ p.u.]", ylabel="share of bus-hours [%]")
    # Tens of thousands of dots: as pixels, so that the vector file stays small.
    right.scatter(table["lindistflow_pu"], error, s=4, color=BLUE, alpha=0.25, linewidths=0, rasterized=True)
    right.axvline(v_min, color=GREY, linewidth=1.2)
    right.set(xlabel="LinDistFlow voltage [p.u.]", ylabel="LinDistFlow minus AC [$10^{-3}$ p.u.]")
    left.axvline(1e3 * margin, color=RED, linewidth=1.6)
    right.axhline(1e3 * margin, color=RED, linewidth=1.6)
    beside = {"textcoords": "offset points", "fontsize": 9, "va": "top"}
    down, across = ("data", "axes fraction"), ("axes fraction", "data")
    left.annotate("margin", (1e3 * margin, 0.97), xycoords=down, xytext=(-4, 0), ha="right", color=RED, **beside)
    right.annotate("margin", (0.98, 1e3 * margin), xycoords=across, xytext=(0, 12), ha="right", color=RED, **beside)
    right.annotate("lower limit", (v_min, 0.02), xycoords=down, xytext=(4, 10), color=GREY, **beside)
    return finish(fig)


def loss_figure(table: pd.DataFrame) -> Figure:
    """Losses of LinDistFlow less AC losses, in percent of these, against the feeder's net load.

    ``table``: columns ``net_load_kw``, ``lindistflow_kw``, ``ac_kw``, one row per hour.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    percent = 100 * (table["lindistflow_kw"] / table["ac_kw"] - 1)
    exports = table["net_load_kw"] < 0
    for chosen, name, colour, marker in (
        (~exports, "feeder imports", BLUE, "o"),
        (exports, "feeder exports", RED, "^"),
    ):
        if chosen.any():
            dots = {"s": 12, "color": colour, "marker": marker, "alpha": 0.5, "linewidths": 0, "label": name}
            ax.scatter(table.loc[chosen, "net_load_kw"], percent[chosen], **dots)
    ax.axhline(0, color=GREY, linewidth=1)
    ax.set(xlabel="net load of the feeder [kW]", ylabel="LinDistFlow losses minus AC [%]")
    if exports.any():
        ax.legend(loc="lower left")
    return finish(fig)
