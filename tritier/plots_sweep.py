"""Figures of the sweeps: the tornado, changes of welfare by value, and what is held out beside what is in sample."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tritier.plots import BLACK, BLUE, GREY, ORANGE, RED, SKY, WIDTH, finish


def tornado(ends: pd.DataFrame, base: float, out_base: float) -> Figure:
    """Smallest and largest change of welfare from Case 1 to Case 4 for each parameter, $/day, widest on top.

    ``ends``: rows of :py:func:`tritier.sweep_findings.ends`; ``base`` and ``out_base``: the change at the case study's
    own values, on the scenarios and held out. Diamonds are held-out values of the same designs.
    """
    ends = ends.iloc[::-1].reset_index(drop=True)
    fig, ax = plt.subplots(figsize=(WIDTH, 0.9 + 0.45 * len(ends)))
    place = np.arange(len(ends))
    for side, colour in (("low", ORANGE), ("high", BLUE)):
        ax.barh(place, ends[side] - base, left=base, height=0.5, color=colour)
        ax.plot(ends[f"out_{side}"], place - 0.36, "D", ms=4, mfc="white", mec=colour, mew=1.3)
        for y, row in enumerate(ends.itertuples()):
            at, label = getattr(row, side), getattr(row, f"{side}_label")
            if abs(at - base) < 1e-9:
                continue
            ax.annotate(
                label,
                (at, y),
                xytext=(-3 if side == "low" else 3, 0),
                textcoords="offset points",
                ha="right" if side == "low" else "left",
                va="center",
                fontsize=8,
            )
    ax.axvline(base, color=BLACK, lw=1.2)
    ax.axvline(out_base, color=GREY, lw=1.2, ls="--")
    ax.set_yticks(place, ends["title"])
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.2)
    ax.set_xlabel("change of welfare from Case 1 to Case 4 [$/day]".replace("$", r"\$"))
    return finish(fig)


def by_value(panels: Sequence[tuple[str, pd.DataFrame]], columns: int = 3) -> Figure:
    """One small panel a parameter: change of welfare over its value, on the scenarios (dots) and held out (diamonds).

    ``panels``: (axis label with unit, rows of :py:func:`tritier.sweep_findings.of_sweep`).
    """
    rows = -(-len(panels) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, 2.0 * rows), sharey=True, squeeze=False)
    for ax in axes.ravel()[len(panels) :]:
        ax.set_axis_off()
    for k, (label, own) in enumerate(panels):
        ax = axes.ravel()[k]
        two_lines(ax, own["x"], own["change"], own["out_change"])
        ax.axvline(float(own.loc[own["base"], "x"].iloc[0]), color=GREY, lw=1, ls=":")
        ax.set_xlabel(label, fontsize=9)
        ax.tick_params(labelsize=8)
        ax.axhline(0, color=BLACK, lw=0.8)
    for row in axes:
        row[0].set_ylabel("change [\\$/day]", fontsize=9)
    axes[0, 0].legend(fontsize=8)
    return finish(fig)


def two_lines(ax: Axes, x, inside, outside) -> None:
    """In sample and held out, over the same values."""
    ax.plot(x, inside, "o-", ms=4, color=BLUE, label="scenarios")
    ax.plot(x, outside, "D--", ms=4, mfc="white", color=RED, label="held out")


def cleared_and_judged(labels: Sequence[str], cleared: Sequence[float], judged: Sequence[float]) -> Figure:
    """Lost value of demand, $/day: as the market of Case 4 cleared, and on the days themselves."""
    fig, ax = plt.subplots(figsize=(WIDTH, 0.9 + 0.42 * len(labels)))
    place = np.arange(len(labels))[::-1]
    ax.barh(place + 0.2, cleared, 0.36, color=BLUE, label="as cleared")
    ax.barh(place - 0.2, judged, 0.36, color=SKY, label="on the days")
    ax.axvline(0, color=BLACK, lw=1)
    ax.set_yticks(place, labels)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("lost value of demand [\\$/day]")
    ax.legend(loc="lower right")
    return finish(fig)
