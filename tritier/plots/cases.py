"""Figures of a market, the DSO and the cases: prices, trades, tariffs, the menu, days of the feeder, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from tritier.plots.style import (
    BLACK,
    BLUE,
    CASE_COLOURS,
    DIVERGING,
    GREEN,
    GREY,
    ORANGE,
    RED,
    SKY,
    WIDTH,
    finish,
    hours_axis,
    label_lines,
)

VISIBLE_KW = 0.5  # volume below which an hour counts as without trade
BLOCK_NAMES = ("off-peak", "day", "peak")
BLOCK_COLOURS = ("#E8EEF4", "#FBF3DC", "#F7DDD0")
PART_NAMES = {
    "wholesale_usd": ("wholesale energy", BLUE),
    "loss_cost_usd": ("losses", SKY),
    "demand_charge_usd": ("demand charge", ORANGE),
    "degradation_usd": ("battery wear", GREEN),
    "lost_value_usd": ("lost value of demand", RED),
}


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
    name_price(top)
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
    mesh = ax.pcolormesh(*edges, price, cmap=DIVERGING, norm=norm, edgecolors="face", linewidth=0.3)
    ax.set_yticks(np.arange(bus.size)[::4] + 0.5, [str(b) for b in bus[::4]])
    ax.set_ylabel("bus [number]")
    ax.invert_yaxis()
    ax.grid(False)
    hours_axis(ax, price.shape[1])
    fig.colorbar(mesh, ax=ax, label="price of injection [\\$/kWh]")
    return finish(fig)


def value_slices(
    charges: np.ndarray,
    by_charge: np.ndarray,
    volume: np.ndarray,
    limits: np.ndarray,
    by_limit: np.ndarray,
    multiplier: np.ndarray,
) -> Figure:
    """The follower's optimal value along the P2P charge and along one limit, each with a tangent at its middle point.

    volume: traded at each charge, kWh; multiplier: price of each limit, $/kW.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    panels = (
        (left, charges, by_charge, volume, "P2P charge [$/kWh]", "concave: below its tangents"),
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
            for low, high in ((-0.45, -0.2), (0.2, 0.45)):  # the stroke leaves the number free
                ax.plot([j + low, j + high], [i - low, i - high], color="white" if dark else BLACK, lw=1.0)
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


def feeder_days(
    head: np.ndarray, lowest: np.ndarray, floor: float, limit: float | None = None, block: np.ndarray | None = None
) -> Figure:
    """Power through the feeder head, kW, and the lowest AC voltage, p.u., by hour, both (T, W): one thin line a day.

    The thick line is the mean; ``floor`` is the lower end of the band, ``limit`` of the head in kW, ``block`` (T,) the
    tariff blocks shaded behind the power.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    if block is not None:
        shade_blocks(left, block)
    for ax, values in ((left, head), (right, lowest)):
        thin = min(0.6, 4 / values.shape[1])
        for day in values.T:
            steps(ax, day, BLUE, lw=0.8, alpha=thin)
        steps(ax, values.mean(axis=1), BLACK, lw=2)
        hours_axis(ax)
    if block is not None:
        name_blocks(left, block)
        left.set_ylim(bottom=left.get_ylim()[0] - 0.08 * np.ptp(left.get_ylim()))
    left.set_ylabel("power at the feeder head [kW]")
    right.set_ylabel("lowest voltage [p.u.]")
    beside = {"textcoords": "offset points", "fontsize": 9, "color": RED}
    right.axhline(floor, color=RED, lw=1.2)
    right.set_ylim(bottom=min(floor, float(lowest.min())) - 0.004)
    right.annotate("lower limit", (0.4, floor), (0, -4), va="top", **beside)
    if limit is not None:
        left.axhline(limit, color=RED, lw=1.2)
        left.set_ylim(top=1.12 * max(limit, float(head.max())))
        left.annotate(f"limit {limit:,.0f} kW", (0.4, limit), (0, 4), va="bottom", **beside)
    return finish(fig)


def trades_by_hour(
    buses: np.ndarray, bought: np.ndarray, price: np.ndarray, ceiling: np.ndarray, floor: np.ndarray
) -> Figure:
    """Who buys and who sells, net, kW (I, T), by bus, under the P2P price and what it lies between, $/kWh (T,).

    A pool says how much each sells and buys, not to or from whom.
    """
    fig, (top, low) = plt.subplots(2, 1, figsize=(WIDTH, 5.4), sharex=True, height_ratios=(2, 3))
    traded = np.maximum(bought, 0).sum(axis=0) > VISIBLE_KW
    steps(top, ceiling, BLACK, ls="--", lw=1.2, label="import, all in")
    steps(top, floor, BLACK, ls=":", lw=1.2, label="feed-in")
    for hour in range(price.size):
        colour = BLUE if traded[hour] else GREY
        top.hlines(price[hour], hour, hour + 1, color=colour, lw=4 if traded[hour] else 1)
    top.set_ylim(0, 1.18 * max(float(np.max(ceiling)), float(price.max())))
    name_price(top)
    top.set_ylabel("price [$/kWh]")
    _heat(low, buses, bought, "net P2P purchase [kW]")
    low.set_ylabel("prosumer at bus [number]")
    hours_axis(low)
    return finish(fig)


def name_price(ax: Axes) -> None:
    """Name the bars of the P2P price, and lines that have a name, below all of them: prices start well above zero."""
    ax.plot([], [], color=BLUE, lw=4, label="P2P price")
    ax.legend(loc="lower left", ncols=3, fontsize=9)


def _heat(ax: Axes, names: np.ndarray, values: np.ndarray, label: str) -> None:
    most = max(1.0, float(np.abs(values).max()))
    norm = TwoSlopeNorm(0.0, -most, most)
    beside = {"pad": 0.01, "aspect": 30}
    sns.heatmap(values, ax=ax, cmap=DIVERGING, norm=norm, yticklabels=names, xticklabels=False, cbar_kws=beside)
    ax.tick_params(axis="y", labelsize=8, rotation=0)
    ax.xaxis.set_major_formatter(ScalarFormatter())  # hours, which seaborn takes for columns without names
    ax.tick_params(axis="x", labelbottom=True)
    ax.grid(False)
    bar = ax.collections[0].colorbar
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def tariffs_and_load(block: np.ndarray, tariffs: dict[str, np.ndarray], loads: dict[str, np.ndarray]) -> Figure:
    """Import tariffs by hour, $/kWh, and mean power at the feeder head, kW: the flat tariff's beside the design's."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    for ax, series in ((left, tariffs), (right, loads)):
        shade_blocks(ax, block)
        for (name, values), colour in zip(series.items(), (BLACK, BLUE), strict=True):
            steps(ax, values, colour, label=name)
        hours_axis(ax)
        ax.legend(loc="upper left", fontsize=8.5)
        ax.set_ylim(0, 1.35 * max(float(v.max()) for v in series.values()))
    left.set_ylabel("import tariff [$/kWh]")
    right.set_ylabel("power at the feeder head [kW]")
    name_blocks(left, block)
    return finish(fig)


def name_blocks(ax: Axes, block: np.ndarray) -> None:
    """The names of the tariff blocks, each at the foot of its longest run of hours."""
    for b, name in enumerate(BLOCK_NAMES):
        hours = np.flatnonzero(block == b)
        if hours.size:
            run = max(np.split(hours, np.flatnonzero(np.diff(hours) > 1) + 1), key=len)
            at = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            ax.annotate(name, (run.mean() + 0.5, 0), (0, 4), ha="center", fontsize=8, **at)


def search_bounds(trace: pd.DataFrame, flat: float, first_best: float) -> Figure:
    """Lower and upper bound of social cost over LP solves, $ per day, between the flat tariff and the first best."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    x = trace["lp_solves"]
    ax.step(x, trace["upper_bound"], where="post", color=BLUE, label="best design")
    ax.step(x, trace["lower_bound"], where="post", color=RED, ls="--", label="lower bound")
    for y, text, away, side in ((flat, "flat tariff", 3, "bottom"), (first_best, "first best", -3, "top")):
        ax.axhline(y, color=GREY, lw=1.2)
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        ax.annotate(text, (0.02, y), (0, away), va=side, fontsize=9, **at)
    ax.set(xlabel="LP solves [number]", ylabel="social cost [$/day]")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(x=0, y=0.14)  # room for both names
    label_lines(ax, gap=0.08)
    return finish(fig)


def social_cost_steps(steps_table: pd.DataFrame) -> Figure:
    """What each step from case to case changes in social cost, $ per day: parts as bars, the total with interval."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.9))
    y = np.arange(len(steps_table))
    right, left = np.zeros(y.size), np.zeros(y.size)
    for part, (name, colour) in PART_NAMES.items():
        value = steps_table[part].to_numpy()
        start = np.where(value >= 0, right, left)
        ax.barh(y, value, left=start, height=0.5, color=colour, label=name)
        right += np.maximum(value, 0)
        left += np.minimum(value, 0)
    total = steps_table["change"].to_numpy()
    reach = np.vstack([total - steps_table["low"], steps_table["high"] - total])
    ax.errorbar(
        total, y + 0.36, xerr=reach, fmt="D", color=BLACK, ms=5, lw=1.4, capsize=3, label="total, 95 % interval"
    )
    ax.axvline(0, color=BLACK, lw=1)
    ax.set_yticks(y, [f"Case {step}" for step in steps_table["step"].str.replace(" to ", " → ")])
    ax.set_ylim(y.size - 0.4, -0.6)
    ax.set_xlabel("change of social cost [$/day]")
    ax.figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
    return finish(fig)


def agent_bars(gains: pd.DataFrame) -> Figure:
    """What each agent gains against Case 1 after refunds, $ per day; rows are agents, columns are cases."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    cases = list(gains.columns)
    width = 0.8 / len(cases)
    for k, case in enumerate(cases):
        y = np.arange(len(gains)) + (k - (len(cases) - 1) / 2) * width
        ax.barh(y, gains[case], height=0.92 * width, color=CASE_COLOURS[case], label=f"Case {case}")
    ax.axvline(0, color=BLACK, lw=1)
    ax.set_yticks(np.arange(len(gains)), list(gains.index))
    ax.invert_yaxis()
    ax.set_xlabel("gain against Case 1 [$/day]")
    ax.legend(fontsize=8.5)
    return finish(fig)


def prosumer_gains(buses: np.ndarray, gains: dict[str, np.ndarray]) -> Figure:
    """What each prosumer saves against Case 1, $ per day: one mark for each case, prosumers named by bus."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.3))
    x = np.arange(len(buses))
    colours = (SKY, ORANGE, BLUE, GREY)
    for (name, values), colour, marker in zip(gains.items(), colours, "os^D", strict=False):
        ax.plot(x, values, marker, color=colour, ms=6, label=name)
    ax.axhline(0, color=BLACK, lw=1)
    ax.set_xticks(x, [str(b) for b in buses])
    ax.set(xlabel="prosumer at bus [number]", ylabel="saving against Case 1 [$/day]")
    ax.figure.legend(loc="outside upper center", ncols=4, fontsize=8.5)
    return finish(fig)


def changes_with_intervals(rows: pd.DataFrame) -> Figure:
    """Our changes with their intervals beside the paper's, %: columns name, ours, low, high, paper."""
    fig, ax = plt.subplots(figsize=(WIDTH, 0.7 + 0.55 * len(rows)))
    y = np.arange(len(rows))
    reach = np.vstack([rows["ours"] - rows["low"], rows["high"] - rows["ours"]])
    ax.errorbar(rows["ours"], y, xerr=reach, fmt="o", color=BLUE, ms=6, lw=1.6, capsize=3, label="ours, 95 % interval")
    ax.plot(rows["paper"], y, "D", color=RED, ms=7, label="paper")
    ax.axvline(0, color=BLACK, lw=1)
    ax.set_yticks(y, list(rows["name"]))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("change against Case 1 [%]")
    ax.figure.legend(loc="outside upper center", ncols=2, fontsize=8.5)
    return finish(fig)


PANELS = {
    "day_share": ("days with a\nviolation [%]", 100.0),
    "ac_violation_share": ("bus-hours outside\nthe band [%]", 100.0),
    "ac_losses_kwh": ("AC losses\n[kWh/day]", 1.0),
    "prosumer_cost_usd": ("prosumer cost\n[$/day]", 1.0),
    "welfare_usd": ("welfare\n[$/day]", 1.0),
}


def dots_with_intervals(
    table: pd.DataFrame, group: str, panels: Mapping[str, tuple[str, float]] | None = None
) -> Figure:
    """Means over days with their 95 % intervals, a row for each case within each group of days or policies.

    Args:
        table: columns ``case``, ``headline``, that of ``group``, and for each panel its mean, ``<panel>_low`` and
            ``<panel>_high``; ends that are not finite are not drawn (:func:`tritier.evaluation.findings.intervals`).
        group: column by which rows stand together, in the order in which its values occur.
        panels: title and factor by column; None: what a case is judged by. Open dots: not the headline policy of the
            case.
    """
    panels = PANELS if panels is None else panels
    order = table[group].drop_duplicates().tolist()
    rows = table.sort_values([group, "case"], key=lambda s: s.map(order.index) if s.name == group else s)
    y = np.arange(len(rows)) + 0.6 * np.unique(rows[group].map(order.index), return_inverse=True)[1]
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 1.1 + 0.21 * y[-1]), sharey=True)
    for ax, (column, (title, factor)) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for at, row in zip(y, rows.to_dict("records"), strict=True):
            colour, ends = CASE_COLOURS[row["case"]], (row[f"{column}_low"], row[f"{column}_high"])
            if np.isfinite(ends).all():
                ax.hlines(at, *(factor * end for end in ends), color=colour, lw=1.4)
            face = colour if row["headline"] else "white"
            ax.plot(factor * row[column], at, "o", color=colour, mfc=face, ms=5.5, label=f"{row[group]}, {row['case']}")
        if ax.get_xlim()[0] < 0 < ax.get_xlim()[1]:
            ax.axvline(0, color=GREY, lw=0.8, zorder=0)
        ax.set_xlabel(title, fontsize=8.5)
        ax.tick_params(labelsize=8)
        ax.xaxis.set_major_locator(MaxNLocator(3))
    first = np.atleast_1d(axes)[0]
    first.set_yticks(y, [f"{name} · {case}" for name, case in zip(rows[group], rows["case"], strict=True)])
    first.set_ylabel(f"{group} · case", fontsize=8.5)
    first.set_ylim(y[-1] + 0.7, -0.7)
    return finish(fig)
