"""Figures of a prosumer: value of its demand, its day, its day-ahead purchase, and how its risk weighs a tariff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tritier.instance import Rules
from tritier.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, WIDTH, finish, hours_axis
from tritier.prosumer import block_value

SUPPLY = {"renewable": ("sun and wind used", ORANGE), "discharge": ("discharge", SKY), "import": ("import", BLUE)}
USE = {"served": ("demand", GREY), "charge": ("charge", PURPLE), "export": ("export", GREEN)}


def demand_value(rules: Rules) -> Figure:
    """Inverse demand around the reference, and the blocks that stand for it; $/kWh against the relative level."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    low, high = 1 - rules.flexibility, 1 + rules.flexibility
    value, edges = block_value(rules), np.linspace(low, high, rules.demand_blocks + 1)
    x = np.array([low - 0.02, high + 0.02])
    ax.plot(x, rules.reference_price * (1 + (1 - x) / abs(rules.elasticity)), color=GREY, linewidth=1.2)
    ax.stairs(value, edges, color=BLUE, fill=True, alpha=0.18)
    ax.stairs(value, edges, color=BLUE, linewidth=1.8)
    ax.plot([x[0], 1], [rules.reference_price] * 2, color=RED, linewidth=1.2, linestyle="--")
    ax.plot(1, rules.reference_price, "o", color=RED)
    ax.annotate(
        "reference: $p^0$, $d^0$", (1, rules.reference_price), xytext=(8, 6), textcoords="offset points", color=RED
    )
    for k, (at, v) in enumerate(zip((edges[1:] + edges[:-1]) / 2, value, strict=True), 1):
        ax.annotate(f"$v_{k}$ = {v:.3f}", (at, v), xytext=(0, 4), textcoords="offset points", ha="center", color=BLUE)
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
