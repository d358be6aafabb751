"""Figures of the market and of the DSO: prices, trades, the follower's value, tariff blocks, revenue, the menu."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from tritier.plots.style import BLACK, BLUE, DIVERGING, GREEN, GREY, ORANGE, RED, SKY, WIDTH, finish, hours_axis

VISIBLE_KW = 0.5  # volume below which an hour counts as without trade
BLOCK_NAMES = ("off-peak", "day", "peak")
BLOCK_COLOURS = ("#E8EEF4", "#FBF3DC", "#F7DDD0")


def steps(ax: Axes, y: np.ndarray, colour: str, **style: object) -> None:
    """An hourly series as steps, the last hour to its end."""
    ax.step(np.arange(len(y) + 1), np.append(y, y[-1]), where="post", color=colour, **style)


def shade_blocks(ax: Axes, block: np.ndarray) -> None:
    """The tariff blocks of the hours as bands behind the curves."""
    for hour, b in enumerate(block):
        ax.axvspan(hour, hour + 1, color=BLOCK_COLOURS[min(int(b), 2)], lw=0, zorder=0)


def market_day(price: np.ndarray, ceiling: np.ndarray, floor: np.ndarray, bought: np.ndarray) -> Figure:
    """P2P price beside what import costs and export earns, $/kWh, above the volume, kW; each (T,)."""
    fig, (top, low) = plt.subplots(2, 1, figsize=(WIDTH, 4.6), sharex=True, height_ratios=(3, 2))
    top.set_ylim(0, 1.08 * max(price.max(), ceiling.max()))
    traded = np.append(bought, bought[-1]) > VISIBLE_KW
    edges, level = np.arange(price.size + 1), np.append(price, price[-1])
    for shown, colour in ((~traded, SKY), (traded, BLUE)):
        starts = np.flatnonzero(shown[:-1])
        top.hlines(level[starts], edges[starts], edges[starts] + 1, color=colour, lw=4)
    steps(top, ceiling, BLACK, ls="--", lw=1.2)
    steps(top, floor, BLACK, ls=":", lw=1.2)
    for y, text in ((ceiling, "import"), (floor, "feed-in")):
        top.annotate(text, (price.size, y[-1]), (4, 0), textcoords="offset points", va="center")
    hour = int(np.median(np.flatnonzero(traded[:-1]))) if traded.any() else 0
    top.annotate("P2P price", (hour + 0.5, price[hour]), (0, -14), textcoords="offset points", color=BLUE, ha="center")
    top.set_ylabel("price [$/kWh]")
    low.bar(np.arange(bought.size) + 0.5, bought, width=0.9, color=BLUE)
    low.set_ylabel("P2P volume [kW]")
    hours_axis(low)
    return finish(fig)


def network_prices(bus: np.ndarray, price: np.ndarray) -> Figure:
    """Day-ahead price of a right to inject, $/kWh, by bus and hour (N, T): zero is white."""
    fig, ax = plt.subplots(figsize=(WIDTH, 4.4))
    most = max(1e-3, float(np.abs(price).max()))
    norm = TwoSlopeNorm(0.0, -most, most)
    edges = np.arange(price.shape[1] + 1), np.arange(bus.size + 1)
    mesh = ax.pcolormesh(*edges, price, cmap=DIVERGING, norm=norm, rasterized=False)
    ax.set_yticks(np.arange(bus.size)[::4] + 0.5, [str(b) for b in bus[::4]])
    ax.set_ylabel("bus [number]")
    ax.invert_yaxis()
    ax.grid(False)
    hours_axis(ax, price.shape[1])
    fig.colorbar(mesh, ax=ax, label="price of injection [\\$/kWh]")
    return finish(fig)


def value_slices(
    tariffs: np.ndarray,
    by_tariff: np.ndarray,
    energy: np.ndarray,
    limits: np.ndarray,
    by_limit: np.ndarray,
    multiplier: np.ndarray,
) -> Figure:
    """The follower's optimal value along one tariff and along one limit, each with a tangent at its middle point.

    energy: billed energy at each tariff, kWh; multiplier: price of each limit, $/kW.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    panels = (
        (left, tariffs, by_tariff, energy, "peak tariff [$/kWh]", "concave: below its tangents"),
        (
            right,
            limits,
            by_limit,
            -np.asarray(multiplier),
            "limit of the feeder head [kW]",
            "convex: above its tangents",
        ),
    )
    for ax, x, y, slope, label, title in panels:
        x, y = np.asarray(x), np.asarray(y)
        middle = x.size // 3
        ax.plot(x, y, "o-", color=BLUE, ms=3.5)
        tangent = y[middle] + slope[middle] * (x - x[middle])
        keep = np.abs(tangent - y) <= 1.2 * np.ptp(y)
        ax.plot(x[keep], tangent[keep], "--", color=RED, lw=1.3)
        ax.plot(x[middle], y[middle], "o", color=RED, ms=6)
        ax.set(xlabel=label, ylabel="follower's value [$/day]", title=title)
    return finish(fig)


def tariff_blocks(load: np.ndarray, block: np.ndarray) -> Figure:
    """Mean net load of the feeder over the day, kW (T,), on the tariff blocks it ranks."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    shade_blocks(ax, block)
    steps(ax, load, BLACK)
    for b in range(int(block.max()) + 1):
        hours = np.flatnonzero(block == b)
        runs = np.split(hours, np.flatnonzero(np.diff(hours) > 1) + 1)
        longest = max(runs, key=len)
        top = ax.get_ylim()[1]
        ax.text(longest.mean() + 0.5, top, BLOCK_NAMES[min(b, 2)], ha="center", va="bottom", fontsize=9, color=GREY)
    ax.set_ylabel("mean net load [kW]")
    hours_axis(ax, load.size)
    return finish(fig)


def revenue_curve(tariffs: np.ndarray, revenue: np.ndarray, need: np.ndarray, root: float) -> Figure:
    """Tariff revenue and what it has to cover, $/day, against the flat tariff, $/kWh; the smallest root is marked."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
    ax.plot(tariffs, revenue, "o-", color=BLUE, ms=3.5)
    ax.plot(tariffs, need, "s-", color=RED, ms=3.5)
    for y, text, colour in ((revenue, "revenue", BLUE), (need, "cost to recover", RED)):
        ax.annotate(text, (tariffs[-1], y[-1]), (5, 0), textcoords="offset points", color=colour, va="center")
    ax.axvline(root, color=GREY, ls="--", lw=1.2)
    ax.annotate(
        "smallest root",
        (root, 0.04),
        (5, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=GREY,
    )
    ax.set(xlabel="flat tariff [$/kWh]", ylabel="money [$/day]")
    return finish(fig)


def menu_slice(rows: Sequence[float], columns: Sequence[float], change: np.ndarray, adequate: np.ndarray) -> Figure:
    """Social cost against the flat tariff, $/day, over two tariffs of the menu (rows: day, columns: peak).

    Cells that do not recover the network's cost are struck through.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 1.5 + 0.6 * len(rows)))
    most = max(1e-3, float(np.abs(change).max()))
    mesh = ax.imshow(change, cmap=DIVERGING + "_r", norm=TwoSlopeNorm(0.0, -most, most), aspect="auto")
    for i, j in np.ndindex(*change.shape):
        dark = abs(change[i, j]) > 0.6 * most
        text = f"{change[i, j]:+,.1f}".replace("-", "−")
        ax.text(j, i, text, ha="center", va="center", color="white" if dark else BLACK)
        if not adequate[i, j]:
            ax.plot([j - 0.45, j + 0.45], [i + 0.42, i - 0.42], color="white" if dark else BLACK, lw=1.0)
    ax.set_xticks(range(len(columns)), [f"{c:.2f}" for c in columns])
    ax.set_yticks(range(len(rows)), [f"{r:.2f}" for r in rows])
    ax.set(xlabel="peak tariff [$/kWh]", ylabel="day tariff [$/kWh]")
    ax.grid(False)
    fig.colorbar(mesh, ax=ax, label="social cost against flat [\\$/day]")
    return finish(fig)


def loss_tangents(flow: np.ndarray, losses: np.ndarray, at: np.ndarray, tangents: np.ndarray) -> Figure:
    """Losses against the head flow with all loads in proportion, kW, and the tangents that bound them from below.

    at: flows of the tangent points; tangents: their values at every flow (K, n).
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    for k, line in enumerate(tangents):
        shown = line > -0.05 * losses.max()
        ax.plot(flow[shown], line[shown], color=ORANGE, lw=1.2)
        ax.plot(at[k], np.interp(at[k], flow, losses), "o", color=ORANGE, ms=5)
    ax.plot(flow, tangents.max(axis=0), color=GREEN, lw=2.6, alpha=0.6)
    ax.plot(flow, losses, color=BLACK)
    ax.annotate("losses", (flow[-1], losses[-1]), (5, 2), textcoords="offset points", color=BLACK, va="center")
    ax.annotate(
        "LP", (flow[-1], tangents.max(axis=0)[-1]), (5, -8), textcoords="offset points", color=GREEN, va="center"
    )
    ax.set(xlabel="flow into the feeder head [kW]", ylabel="losses [kW]")
    return finish(fig)
