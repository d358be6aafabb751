"""Figures of the hosting-capacity chapter."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tritier.hosting_case import HostingCase
from tritier.hosting_model import Plan
from tritier.plots import BLUE, GREEN, GREY, ORANGE, RED, WIDTH, finish
from tritier.plots_network import feeder_map

FLEXIBILITY_COLOURS = {"none": GREY, "der": ORANGE, "p2p": BLUE}
FLEXIBILITY_NAMES = {"none": "none", "der": "batteries and DR", "p2p": "with P2P"}


def hosted_by_model(table: pd.DataFrame) -> Figure:
    """Hosted capacity of every plan; a hatched bar breaks a limit on the stress set."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
    models = list(dict.fromkeys(table["model"]))
    kinds = list(dict.fromkeys(table["flexibility"]))
    for k, kind in enumerate(kinds):
        rows = table[table["flexibility"] == kind].set_index("model").loc[models]
        place = np.arange(len(models)) + 0.27 * (k - (len(kinds) - 1) / 2)
        height = rows["hosted_kw"] / 1e3
        bars = ax.bar(place, height, 0.25, color=FLEXIBILITY_COLOURS[kind])
        for bar, broken, value in zip(bars, rows["stress_lindistflow_days_violated"], height, strict=True):
            if broken:
                bar.set(hatch="///", edgecolor="white")
            ax.annotate(
                f"{value:.2f}", (bar.get_x() + bar.get_width() / 2, value), ha="center", va="bottom", fontsize=8
            )
    ax.set_xticks(np.arange(len(models)), models)
    ax.set_ylabel("hosted capacity [MW]")
    ax.grid(axis="x", visible=False)
    handles = [Patch(color=FLEXIBILITY_COLOURS[kind], label=FLEXIBILITY_NAMES[kind]) for kind in kinds]
    broken = Patch(facecolor="white", edgecolor=GREY, hatch="///", label="breaks a limit under stress")
    ax.legend(handles=[*handles, broken], loc="upper right")
    return finish(fig)


def bounds_by_iteration(trace: pd.DataFrame, unit: str = "MW", scale: float = 1e-3) -> Figure:
    """Bounds of column-and-constraint generation against time."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    steps = trace["iteration"]
    ax.step(steps, trace["upper_bound"] * scale, where="post", color=RED, marker="o", ms=4)
    ax.step(steps, trace["lower_bound"] * scale, where="post", color=BLUE, marker="o", ms=4)
    ax.annotate("upper bound", (steps.iloc[0], trace["upper_bound"].iloc[0] * scale), xytext=(6, -12),
                textcoords="offset points", color=RED)  # fmt: skip
    ax.annotate("lower bound (proven plan)", (steps.iloc[0], trace["lower_bound"].iloc[0] * scale), xytext=(6, 6),
                textcoords="offset points", color=BLUE)  # fmt: skip
    ax.set(xlabel="iteration [-]", ylabel=f"hosted capacity [{unit}]")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return finish(fig)


def hosting_map(case: HostingCase, plan: Plan) -> Figure:
    """Renewable power hosted at each bus; sites are ringed."""
    values = np.zeros(case.feeder.bus.size)
    values[case.site] = plan.pv_kw + plan.wind_kw
    most = int(values.argmax())
    named = {0: "substation", most: f"{values[most]:,.0f} kW"}
    return feeder_map(case.feeder, values, "hosted renewable power [kW]", ringed=case.site, named=named)


def cost_frontier(table: pd.DataFrame) -> Figure:
    """Least annual cost against the capacity asked for, by flexibility."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    for kind, rows in table.groupby("flexibility", sort=False):
        x, y = rows["hosted_kw"] / 1e3, rows["annual_cost_usd"] / 1e3
        ax.plot(x, y, marker="o", ms=4, color=FLEXIBILITY_COLOURS[kind], label=FLEXIBILITY_NAMES[kind])
    ax.set(xlabel="hosted capacity [MW]", ylabel="annual cost [thousand \\$/a]")
    ax.legend(title="flexibility")
    return finish(fig)


def price_of_robustness(tables: dict[str, pd.DataFrame]) -> Figure:
    """Hosted capacity by budget, and share of the widest stress set that each plan breaks."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    for kind, rows in tables.items():
        style = {"color": FLEXIBILITY_COLOURS[kind], "marker": "o", "ms": 4, "label": FLEXIBILITY_NAMES[kind]}
        left.plot(rows["budget"], rows["hosted_kw"] / 1e3, **style)
        right.plot(rows["budget"], 100 * rows["stress_days_violated"] / rows["stress_days"], **style)
    for ax in (left, right):
        ax.set_xlabel(r"budget $\Gamma$ [factors]")
        ax.xaxis.get_major_locator().set_params(integer=True)
    left.set_ylabel("hosted capacity [MW]")
    right.set_ylabel("stress days with a violation [%]")
    right.set_ylim(bottom=-3)
    left.legend(title="flexibility")
    return finish(fig)


def day_factors(case: HostingCase, day: int = 0) -> Figure:
    """Mean profile of one representative day and the band its factors span: PV of the first site, and feeder load."""
    chosen = case.days[day]
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    hours = np.arange(case.n_hours)
    pairs = chosen.uncertainty.pairs
    panels = (
        (left, chosen.pv[0], chosen.pv_shift[:, 0], "PV output [kW/kW]", ORANGE),
        (right, chosen.load.sum(axis=0) / 1e3, chosen.load_shift.sum(axis=1) / 1e3, "feeder load [MW]", GREEN),
    )
    for ax, mean, shift, label, colour in panels:
        high, low = mean + shift[:pairs].sum(axis=0), mean + shift[pairs:].sum(axis=0)
        ax.fill_between(hours, low, high, color=colour, alpha=0.25, linewidth=0)
        ax.plot(hours, mean, color=colour)
        ax.set(xlabel="hour of the day [h]", ylabel=label, xticks=range(0, 25, 6))
    left.set_title(chosen.label)
    return finish(fig)
