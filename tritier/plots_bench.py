"""Figures of the scaling chapter: time against size, one panel for each thing that grows."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from tritier.plots import BLUE, COLOURS, WIDTH, finish

SIZES = {
    "prosumers": ("prosumers", "prosumers [-]"),
    "scenarios": ("scenarios", "scenarios [-]"),
    "tariffs": ("menu_points", "menu points, by tariffs [-]"),
    "limits": ("menu_points", "menu points, by limits [-]"),
    "buses": ("buses", "buses [-]"),
}


def growth_figure(table: pd.DataFrame) -> Figure:
    """Seconds and LP solves of our search by size, one panel per suite; open marks stopped before their gap."""
    names = [name for name in SIZES if name in set(table["suite"])]
    fig, axes = plt.subplots(2, len(names), figsize=(WIDTH, 4.2), sharex="col", sharey="row", squeeze=False)
    for k, name in enumerate(names):
        column, label = SIZES[name]
        part = table[table["suite"] == name].sort_values(column)
        for ax, value in zip(axes[:, k], ("seconds", "lp_solves"), strict=True):
            ax.plot(part[column], part[value], color=BLUE)
            for done, face in ((True, BLUE), (False, "white")):
                points = part[(part["status"] == "optimal") == done]
                ax.plot(points[column], points[value], "o", color=BLUE, markerfacecolor=face)
            ax.set_yscale("log")
            if column == "menu_points":
                ax.set_xscale("log")
                ax.set_xticks(sorted(part[column].unique()), labels=sorted(part[column].unique()), rotation=60)
                ax.minorticks_off()
        axes[1, k].set_xlabel(label.replace(", ", ",\n"))
    axes[0, 0].set_ylabel("time [s]")
    axes[1, 0].set_ylabel("LP solves [-]")
    return finish(fig)


def engines_figure(table: pd.DataFrame, column: str, label: str) -> Figure:
    """Seconds of each engine by size (``column``); open marks met their limit without a proof."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
    engines = list(dict.fromkeys(table["engine"]))
    for k, engine in enumerate(engines):
        colour, part = COLOURS[k % len(COLOURS)], table[table["engine"] == engine].sort_values(column)
        ax.plot(part[column], part["seconds"], "-" if k < len(COLOURS) else "--", color=colour, label=engine)
        for done, face in ((True, colour), (False, "white")):
            points = part[(part["status"] == "optimal") == done]
            ax.plot(points[column], points["seconds"], "o", color=colour, markerfacecolor=face)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(label)
    ax.set_ylabel("time [s]")
    ax.legend(fontsize=8)
    return finish(fig)
