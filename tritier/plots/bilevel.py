"""Figures of the reformulation chapters: McCormick envelopes, the price of a small M, and what each mode costs."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tritier.plots.style import BLUE, COLOURS, GREY, RED, WIDTH, finish
from tritier.reformulation.milp import envelope


def envelope_figure(x_box: tuple[float, float], y_box: tuple[float, float]) -> Figure:
    """The product and its envelopes along the box's diagonal from (low, high) to (high, low), whole and cut in four."""
    s = np.linspace(0, 1, 201)
    x = x_box[0] + s * (x_box[1] - x_box[0])
    y = y_box[1] - s * (y_box[1] - y_box[0])
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    for ax, pieces in zip(axes, (1, 4), strict=True):
        edges = np.linspace(*x_box, pieces + 1)
        for low, high in pairwise(edges):
            inside = (x >= low - 1e-12) & (x <= high + 1e-12)
            below, above = envelope(x[inside], y[inside], (low, high), y_box)
            ax.fill_between(x[inside], below, above, color=BLUE, alpha=0.25, linewidth=0)
        ax.plot(x, x * y, color=RED)
        ax.set_title("one box" if pieces == 1 else f"{pieces} boxes")
        ax.set_xlabel("tariff x [$/kWh]")
    axes[0].set_ylabel("product x y [$]")
    return finish(fig)


def small_m_figure(table: pd.DataFrame, optimum: float) -> Figure:
    """Claimed optimum against M; columns ``M``, ``form``, ``objective`` (nan where nothing was found)."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    for colour, (form, part) in zip(COLOURS, table.groupby("form"), strict=False):
        ax.plot(part["M"], part["objective"], "o-", color=colour, label=form)
    ax.axhline(optimum, color=GREY, linestyle="--", label="true optimum")
    ax.set_xscale("log")
    ax.set_xlabel("big-M [-]")
    ax.set_ylabel("objective with status optimal [-]")
    ax.legend()
    return finish(fig)


def mode_figure(table: pd.DataFrame) -> Figure:
    """Seconds by size and mode; columns ``pairs``, ``mode``, ``seconds``, ``closed``. Open marks stopped at a limit."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    for colour, (mode, part) in zip(COLOURS, table.groupby("mode", sort=False), strict=False):
        part = part.sort_values("pairs")
        ax.plot(part["pairs"], part["seconds"], color=colour, label=mode)
        for closed, face in ((True, colour), (False, "white")):
            points = part[part["closed"] == closed]
            ax.plot(points["pairs"], points["seconds"], "o", color=colour, markerfacecolor=face)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("complementarity pairs [-]")
    ax.set_ylabel("time [s]")
    ax.legend()
    return finish(fig)


def value_figure(table: pd.DataFrame) -> Figure:
    """The follower's optimal value and its slope against a charge; columns ``charge``, ``theta``, ``volume``."""
    fig, (value, slope) = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    value.plot(table["charge"], table["theta"], color=BLUE)
    value.set_ylabel("follower's optimal value [$]")
    slope.plot(table["charge"], table["volume"], color=RED, label="volume traded")
    steps = table["theta"].diff() / table["charge"].diff()
    slope.plot(table["charge"] - table["charge"].diff() / 2, steps, ".", color=GREY, label="slope of the value")
    slope.set_ylabel("P2P volume [kWh]")
    slope.legend()
    for ax in (value, slope):
        ax.set_xlabel("P2P charge [$/kWh]")
    return finish(fig)
