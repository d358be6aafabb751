"""Figures of the inputs: who owns what, the hour of the sun, scenarios among their days, tariff blocks and prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tritier.instance import Days, Rules
from tritier.plots import BLACK, BLUE, COLOURS, GREEN, GREY, ORANGE, RED, SKY, WIDTH, finish, hours_axis

BLOCK_NAMES, BLOCK_COLOURS = ("off-peak", "day", "peak"), (SKY, GREY, RED)


def prosumer_assets(table: pd.DataFrame) -> Figure:
    """What each prosumer owns beside the peak of its load, one row of bars a prosumer.

    ``table``: columns ``name, load, sun, wind`` (kW) and ``battery`` (kWh).
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), width_ratios=(3, 1), sharey=True)
    row, height = np.arange(len(table)), 0.27
    for k, (column, name, colour) in enumerate(
        (("load", "peak load of the season", GREY), ("sun", "sun", ORANGE), ("wind", "wind", SKY))
    ):
        axes[0].barh(row + (k - 1) * height, table[column], height=height, color=colour, label=name)
    axes[1].barh(row, table["battery"], height=height, color=GREEN)
    axes[0].set(yticks=row, yticklabels=table["name"], xlabel="power [kW]")
    axes[1].set_xlabel("battery [kWh]")
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    for ax in axes:
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
    return finish(fig)


def sun_shift(as_given: np.ndarray, shifted: np.ndarray, noon: float) -> Figure:
    """Mean day of a photovoltaic profile as given and shifted, per unit, (24,), against solar noon in hours."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    edges = np.arange(25)
    ax.stairs(as_given, edges, color=GREY, linewidth=1.6, linestyle="--", label="as given")
    ax.stairs(shifted, edges, color=ORANGE, linewidth=1.8, label="as used")
    ax.axvline(noon, color=BLACK, linewidth=1)
    ax.annotate("solar noon", (noon, 0.97), xycoords=("data", "axes fraction"), xytext=(4, 0),
                textcoords="offset points", va="top")  # fmt: skip
    hours_axis(ax)
    ax.set(ylabel="power, per unit of installed", ylim=(0, 1.2 * as_given.max()))
    ax.legend(loc="upper left")
    return finish(fig)


def scenario_fans(scenarios: Days, pool: Days, extremes: Mapping[str, Sequence[int]]) -> Figure:
    """Load of prosumers, passive load, and sun and wind of every scenario, over the days behind; width by probability.

    ``extremes``: name -> positions of the scenarios drawn in colour.
    """
    fig, axes = plt.subplots(3, 1, figsize=(WIDTH, 7.2), sharex=True)
    titles = ("load of prosumers", "passive load", "sun and wind")
    for ax, title, now, behind in zip(axes, titles, _totals(scenarios), _totals(pool), strict=True):
        _fan(ax, now, behind, scenarios.probability, extremes)
        ax.set(title=title, ylabel="power [kW]", ylim=(0, None))
    hours_axis(axes[-1], scenarios.n_hours)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return finish(fig)


def price_fan(scenarios: Days, pool: Days, rules: Rules, charge: float) -> Figure:
    """Wholesale price of every scenario over the days behind, beside the regulated prices of prosumers; $/kWh."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.8))
    _fan(ax, scenarios.wholesale, pool.wholesale, scenarios.probability, {})
    levels = (
        ("retail and network charge", float(rules.retail[0]) + charge, BLACK),
        ("retail", float(rules.retail[0]), RED),
        ("feed-in", float(rules.feed_in[0]), GREEN),
    )
    for name, level, colour in levels:
        ax.axhline(level, color=colour, linewidth=1.5, linestyle="--")
        ax.annotate(name, (0.2, level), xytext=(0, 4), textcoords="offset points", color=colour)
    hours_axis(ax, scenarios.n_hours)
    ax.set(ylabel=r"price [\$/kWh]", ylim=(None, 1.15 * levels[0][1]))
    ax.legend(loc="center left", bbox_to_anchor=(0.3, 0.55), fontsize=9)
    return finish(fig)


def tariff_blocks(net_load: np.ndarray, block: np.ndarray) -> Figure:
    """Mean net load of the feeder by hour, (24,), kW, coloured by tariff block."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    hours = np.arange(net_load.size)
    for k, (name, colour) in enumerate(zip(BLOCK_NAMES, BLOCK_COLOURS, strict=True)):
        ax.bar(hours[block == k] + 0.5, net_load[block == k], width=0.92, color=colour, label=name)
    hours_axis(ax, net_load.size)
    ax.set_ylabel("mean net load [kW]")
    ax.legend(loc="upper left", ncols=3)
    return finish(fig)


def _totals(days: Days) -> list[np.ndarray]:
    return [x.sum(axis=0) for x in (days.demand_kw, days.passive_kw, days.renewable_kw)]


def _fan(ax: Axes, now: np.ndarray, behind: np.ndarray, probability: np.ndarray, extremes) -> None:
    """Scenarios (T, S) as lines over the range of the days behind (T, D); the probability-weighted mean in black."""
    middle = np.arange(now.shape[0]) + 0.5
    ax.fill_between(
        middle, behind.min(axis=1), behind.max(axis=1), color="#ECECEC", linewidth=0, label="all design days"
    )
    coloured = {
        int(k): (name, c) for (name, found), c in zip(extremes.items(), COLOURS[1:], strict=False) for k in found
    }
    named = set()
    for k in sorted(range(now.shape[1]), key=lambda k: k in coloured):
        name, colour = coloured.get(k, ("scenario, width by probability", BLUE))
        width, strength = 0.8 + 8 * probability[k], 0.9 if k in coloured else 0.45
        label = None if name in named else name
        style = {"color": colour, "linewidth": width, "alpha": strength, "solid_capstyle": "butt"}
        ax.plot(middle, now[:, k], label=label, **style)
        named.add(name)
    ax.plot(middle, now @ probability, color=BLACK, linewidth=1.6, linestyle="--", label="forecast (mean)")
