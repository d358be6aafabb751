"""Figures of inputs (assets, sun, scenarios, blocks, prices) and of a prosumer: demand, day, purchase, risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tritier.inputs.instance import Days, Rules
from tritier.model.devices import block_levels, block_value
from tritier.plots.style import BLACK, BLUE, COLOURS, GREEN, GREY, ORANGE, PURPLE, RED, SKY, WIDTH, finish, hours_axis

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


def _fan(
    ax: Axes, now: np.ndarray, behind: np.ndarray, probability: np.ndarray, extremes: Mapping[str, Sequence[int]]
) -> None:
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


SUPPLY = {"renewable": ("sun and wind used", ORANGE), "discharge": ("discharge", SKY), "import": ("import", BLUE)}
USE = {"served": ("demand", GREY), "charge": ("charge", PURPLE), "export": ("export", GREEN)}


def demand_value(rules: Rules) -> Figure:
    """Inverse demand around the reference, and the blocks that stand for it; $/kWh against the relative level."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    low, high = 1 - rules.flexibility, 1 + rules.flexibility
    value, edges = block_value(rules), block_levels(rules)
    x = np.array([low - 0.02, high + 0.02])
    ax.plot(x, rules.reference_price * (1 + (1 - x) / abs(rules.elasticity)), color=GREY, linewidth=1.2)
    ax.stairs(value, edges, color=BLUE, fill=True, alpha=0.18)
    ax.stairs(value, edges, color=BLUE, linewidth=1.8)
    ax.plot([x[0], 1], [rules.reference_price] * 2, color=RED, linewidth=1.2, linestyle="--")
    ax.plot(1, rules.reference_price, "o", color=RED)
    ax.annotate(
        "reference: $c^0$, $d^0$", (1, rules.reference_price), xytext=(8, 6), textcoords="offset points", color=RED
    )
    for k, (at, v) in enumerate(zip(edges[:-1], value, strict=True), 1):  # below the line of demand
        ax.annotate(f"$u_{k}$ = {v:.3f}", (at, 0.4 * v), (4, 0), textcoords="offset points", va="center", color=BLUE)
    ax.annotate("linear inverse demand", (x[0], rules.reference_price * (1 + (1 - x[0]) / abs(rules.elasticity))),
                xytext=(12, -2), textcoords="offset points", color=GREY)  # fmt: skip
    ax.set(xlabel="demand served, share of the reference [-]", ylabel=r"value [\$/kWh]", xlim=x, ylim=(0, None))
    return finish(fig)


def prosumer_day(days: Mapping[str, pd.DataFrame], soc: Mapping[str, np.ndarray]) -> Figure:
    """Days of one prosumer side by side: supply above zero, use below, state of charge beneath.

    ``days``: title -> kW by hour, columns ``renewable, discharge, import, served, charge, export, reference``;
    ``soc``: title -> kWh, one entry more than hours.
    """
    fig, axes = plt.subplots(2, len(days), figsize=(WIDTH, 4.8), height_ratios=(3, 1), sharex=True, sharey="row")
    for (title, day), (upper, lower) in zip(days.items(), axes.T, strict=True):
        middle = np.arange(len(day)) + 0.5
        for parts, sign in ((SUPPLY, 1), (USE, -1)):
            base = np.zeros(len(day))
            for column, (name, colour) in parts.items():
                height = sign * day[column].to_numpy()
                upper.bar(middle, height, width=0.92, bottom=base, color=colour, label=name)
                base = base + height
        upper.stairs(-day["reference"], np.arange(len(day) + 1), color=BLACK, linewidth=1.3, baseline=None,
                     label="reference demand")  # fmt: skip
        upper.axhline(0, color=BLACK, linewidth=0.8)
        upper.set_title(title)
        lower.plot(np.arange(len(day) + 1), soc[title], color=PURPLE)
        hours_axis(lower, len(day))
    axes[0, 0].set_ylabel("use (−) and supply (+) [kW]")
    axes[1, 0].set_ylabel("battery [kWh]")
    axes[1, 0].set_ylim(0, 1.05 * max(level.max() for level in soc.values()))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    return finish(fig)


def purchase_curves(table: pd.DataFrame, hour: int) -> Figure:
    """Day-ahead purchase of one hour against the P2P price, one curve per weight of CVaR, and the newsvendor rule.

    ``table``: columns ``price`` ($/kWh), ``rule`` (kW) and one column of kW per weight, named by the weight.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    price = table["price"]
    weights = [c for c in table.columns if c not in ("price", "rule")]
    for weight, colour, style in zip(weights, (BLUE, ORANGE, RED), ("-", "--", "-."), strict=True):
        ax.step(price, table[weight], where="mid", color=colour, linestyle=style, label=rf"$\beta$ = {weight}")
    ax.plot(price, table["rule"], "o", color=BLACK, markersize=4, fillstyle="none", label="newsvendor quantile")
    ax.set(xlabel=r"P2P price [\$/kWh]", ylabel=f"purchase for {hour}:00 to {hour + 1}:00 [kW]")
    ax.figure.legend(loc="outside upper center", ncols=4, fontsize=9)
    return finish(fig)


def tariff_weight(
    beta: np.ndarray, tail: np.ndarray, ordinary: np.ndarray, rules: Rules, own: Sequence[float]
) -> Figure:
    """The price at which a prosumer compares the value of its demand, in and outside its tail, against its CVaR weight.

    ``beta`` (B,); ``tail``, ``ordinary`` (B,), $/kWh; ``own``: weights of the study's prosumers, marked on the axis.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for k, value in enumerate(block_value(rules), 1):
        ax.axhline(value, color=GREY, linewidth=1)
        ax.annotate(f"block {k}", (beta[-1], value), xytext=(4, 0), textcoords="offset points", color=GREY, va="center",
                    annotation_clip=False)  # fmt: skip
    ax.plot(beta, ordinary, color=BLUE)
    ax.plot(beta, tail, color=RED, linestyle="--")
    k = int(np.searchsorted(beta, 0.9 * beta[-1]))
    beside = {"textcoords": "offset points", "ha": "right"}
    ax.annotate("outside the tail", (beta[k], ordinary[k]), xytext=(-6, 12), color=BLUE, **beside)
    ax.annotate("in the tail", (beta[k], tail[k]), xytext=(0, 6), color=RED, **beside)
    for weight in own:
        ax.axvline(weight, ymax=0.03, color=BLACK, linewidth=2)
    ax.set(xlabel=r"weight of CVaR $\beta$ [-]", ylabel=r"price in the prosumer's eyes [\$/kWh]")
    ax.set(xlim=(0, beta[-1]), ylim=(0, 1.12 * max(ordinary[-1], block_value(rules)[0])))
    return finish(fig)
