"""Figures of results that are stored or measured: reformulation, benchmark, hosting capacity, sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from tritier.hosting.case import HostingCase
from tritier.hosting.plan import Plan
from tritier.model.dso import HARD, OWN
from tritier.plots.network import feeder_map
from tritier.plots.style import BLACK, BLUE, COLOURS, GREEN, GREY, ORANGE, RED, SKY, WIDTH, finish
from tritier.reformulation.milp import envelope

SIZES = {
    "prosumers": ("prosumers", "prosumers [-]"),
    "scenarios": ("scenarios", "scenarios [-]"),
    "tariffs": ("menu_points", "menu points, by tariffs [-]"),
    "limits": ("menu_points", "menu points, by limits [-]"),
    "buses": ("buses", "buses [-]"),
}


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
    logarithmic(ax)
    ax.set_xlabel("complementarity pairs [-]")
    ax.set_ylabel("time [s]")
    fig.legend(loc="outside right upper", fontsize=8)
    return finish(fig)


def logarithmic(ax: Axes) -> None:
    """Both axes by factors of ten, with plain numbers."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain(ax.xaxis)
    plain(ax.yaxis)


def plain(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: at 1, 2 and 5 of each factor of ten, at level steps on a shorter axis."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if high > 10 * low else MaxNLocator(5))
    axis.set_major_formatter(lambda x, _: f"{x:,g}")
    axis.set_minor_formatter(NullFormatter())


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
            plain(ax.yaxis)
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
    logarithmic(ax)
    ax.set_xlabel(label)
    ax.set_ylabel("time [s]")
    fig.legend(loc="outside right upper", fontsize=8)
    return finish(fig)


def profile_figure(table: pd.DataFrame) -> Figure:
    """Seconds of each phase of a search, by work, one bar a phase; columns ``phase``, ``work``, ``seconds``. Phases and
    kinds of work that take less than half a percent of all seconds would be no more than a name, and are left out."""
    seconds = table.pivot_table("seconds", "phase", "work", "sum", 0.0)
    seconds = seconds.loc[table["phase"].drop_duplicates()[::-1], table["work"].drop_duplicates()]
    least = 0.005 * seconds.to_numpy().sum()
    seconds = seconds.loc[seconds.sum(axis=1) >= least, seconds.sum(axis=0) >= least]
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8 + 0.28 * len(seconds)))
    start = np.zeros(len(seconds))
    for k, work in enumerate(seconds.columns):
        ax.barh(seconds.index, seconds[work], left=start, color=(*COLOURS, GREY)[k % 8], label=work)
        start += seconds[work].to_numpy()
    ax.set_xlabel("time [s]")
    ax.grid(visible=False, axis="y")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return finish(fig)


def readings_figure(table: pd.DataFrame, toll: float) -> Figure:
    """What a toll costs the leader where the follower's ties fall as it hopes and as it fears; columns ``toll``,
    ``hoped``, ``feared``; the toll chosen is marked."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    ax.plot(table["toll"], table["feared"], ".", color=RED, label="ties against the leader")
    ax.plot(table["toll"], table["hoped"], ".", color=BLUE, label="ties for the leader")
    ax.axvline(toll, color=GREY, linestyle="--", label="toll chosen")
    ax.set_xlabel("toll [$]")
    ax.set_ylabel("leader's cost [-]")
    ax.legend()
    return finish(fig)


def solvers_figure(table: pd.DataFrame, limit: float) -> Figure:
    """Share of problems answered rightly and median seconds of each engine by size; columns ``engine``, ``nx``,
    ``verdict``, ``seconds``; the limit in seconds is a line."""
    fig, (share, time) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    lines = zip(COLOURS, ("o-", "s--", "^-.", "D:"), table.groupby("engine", sort=False), strict=False)
    for colour, line, (engine, part) in lines:
        sizes = part.groupby("nx")
        right = sizes["verdict"].apply(lambda words: (words == "right").mean())
        share.plot(right.index, 100 * right, line, color=colour, label=engine)
        time.plot(right.index, sizes["seconds"].median(), line, color=colour, label=engine)
    time.axhline(limit, color=GREY, linestyle="--")
    time.set_yscale("log")
    share.set_ylabel("right answers [%]")
    time.set_ylabel("median processor time [s]")
    for ax in (share, time):
        ax.set_xlabel("variables at each level [-]")
    fig.legend(*share.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
    return finish(fig)


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
        width = 4 if kind == "none" else 1.5  # the others' lines may lie on this one
        ax.plot(x, y, lw=width, marker="o", ms=4, color=FLEXIBILITY_COLOURS[kind], label=FLEXIBILITY_NAMES[kind])
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


def tornado(ends: pd.DataFrame, base: float, out_base: float) -> Figure:
    """Smallest and largest change of welfare from Case 1 to Case 4 for each parameter, $/day, widest on top.

    ``ends``: rows of :py:func:`tritier.evaluation.sweeps.ends`; ``base`` and ``out_base``: the change at the
    case study's own values, on the scenarios and held out. Diamonds are held-out values of the same designs.
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
                bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.85},
                zorder=3,
            )
    ax.axvline(base, color=BLACK, lw=1.2)
    ax.axvline(out_base, color=GREY, lw=1.2, ls="--")
    ax.set_yticks(place, ends["title"])
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.2)
    ax.set_xlabel("change of welfare from Case 1 to Case 4 [$/day]".replace("$", r"\$"))
    return finish(fig)


def sensitivities(rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """What Case 4 gains over Case 1 on held-out days when one parameter moves, widest on top, a panel for each policy.

    ``rows``: :py:func:`tritier.evaluation.variants.sensitivity_rows`; ``titles``: of its parameters, of which the
    study's own values (line) are not one. A dot for each value with its 95 % interval, open where the difference from
    the line is not resolved; bars span the values of a parameter.
    """
    own = rows[rows["quantity"] == "welfare_usd"]
    first = own[(own["kind"] == OWN) & own["parameter"].isin(titles)].groupby("parameter")["moved"]
    keys = (first.max().clip(lower=0) - first.min().clip(upper=0)).sort_values().index.tolist()
    room = np.array([max(1.0, 0.3 * own[own["parameter"] == key]["label"].nunique()) for key in keys])
    rows_at = np.cumsum(room) - room / 2  # a parameter of many values takes more of the height
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 0.9 + 0.5 * room.sum()), sharey=True)
    for ax, (kind, colour, title) in zip(
        axes, ((OWN, BLUE, "own policies"), (HARD, GREEN, "redispatch in both")), strict=True
    ):
        some = own[own["kind"] == kind]
        base = float(some.loc[~some["parameter"].isin(titles), "change"].iloc[0])
        for y, high, key in zip(rows_at, room, keys, strict=True):
            values = some[some["parameter"] == key].sort_values("change")
            ends = np.array([*values["change"], base])
            ax.barh(y, ends.max() - ends.min(), left=ends.min(), height=high - 0.38, color=colour, alpha=0.25)
            place = y + (high - 0.56) * np.linspace(-0.5, 0.5, len(values)) * (len(values) > 1)
            sides = np.array([values["change"] - values["low"], values["high"] - values["change"]])
            ax.errorbar(values["change"], place, xerr=sides, fmt="none", color=colour, elinewidth=1, capsize=1.5)
            sure = (values["moved_word"] != "not resolved").to_numpy()
            for chosen, fill in ((sure, colour), (~sure, "white")):
                ax.plot(values["change"][chosen], place[chosen], "o", color=colour, mfc=fill, ms=4)
            if kind == OWN and key != "placement":
                plain = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
                for at, label, end in zip(place, values["label"], values["high"], strict=True):
                    spot = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
                    ax.annotate(label.partition(",")[0].replace("-", "\N{MINUS SIGN}"), (end, at), bbox=plain, **spot)
        ax.axvline(base, color=BLACK, lw=1.2, zorder=1.5)
        ax.margins(x=0.1, y=0.01)
        ax.axvline(0, color=GREY, lw=1, ls=":")
        ax.grid(axis="y", visible=False)
        ax.set_title(title)
        ax.set_xlabel("gain of welfare [\\$/day]")
    axes[0].set_yticks(rows_at, [titles[key] for key in keys])
    return finish(fig)


def by_value(panels: Sequence[tuple[str, pd.DataFrame]], columns: int = 3) -> Figure:
    """One small panel a parameter: change of welfare over its value, on the scenarios (dots) and held out (diamonds).

    ``panels``: (axis label with unit, rows of :py:func:`tritier.evaluation.sweeps.of_sweep`).
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


def two_lines(ax: Axes, x: Sequence[float], inside: Sequence[float], outside: Sequence[float]) -> None:
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


MAP_SERIES = (  # label, quantity, kind, base case, marker, colour
    ("over Case 1", "welfare_usd", OWN, 1, "o", BLUE),
    ("over Case 1, secured", "secured_welfare_usd", OWN, 1, "s", RED),
    ("over Case 1, redispatch in both", "welfare_usd", HARD, 1, "D", GREEN),
    ("over Case 2", "welfare_usd", OWN, 2, "^", ORANGE),
)


def coordination_map(rows: pd.DataFrame, bounds: pd.DataFrame) -> Figure:
    """Where coordination pays: gain of welfare of Case 4 over electrification, a column for each price regime.

    ``rows`` and ``bounds``: :py:func:`tritier.evaluation.variants.map_rows` and ``read_map``. Above, held-out days with
    95 % intervals, open where the change is not resolved; below, what the design and the first best save in sample.
    """
    regimes = list(dict.fromkeys(rows["prices"]))
    shape = {"sharex": True, "sharey": "row", "squeeze": False, "height_ratios": (1.7, 1)}
    fig, axes = plt.subplots(2, len(regimes), figsize=(WIDTH, 6.2), **shape)
    for (upper, lower), regime in zip(axes.T, regimes, strict=True):
        for k, (label, quantity, kind, base, marker, colour) in enumerate(MAP_SERIES):
            own = rows[(rows["quantity"] == quantity) & (rows["kind"] == kind) & (rows["base"] == base)]
            own = own[own["prices"] == regime].sort_values("electrification")
            x, reach = own["electrification"] + 0.018 * (k - 1.5), (own["high"] - own["low"]) / 2
            upper.errorbar(x, own["change"], yerr=reach, fmt="-", color=colour, lw=1, elinewidth=1.4, capsize=2)
            sure = own["word"] != "not resolved"
            for some, fill in ((sure, colour), (~sure, "white")):
                upper.plot(x[some], own["change"][some], marker, color=colour, mfc=fill, ms=5.5)
            upper.plot([], [], marker, color=colour, label=label)
        upper.axhline(0, color=BLACK, lw=1)
        upper.set_title(f"{regime} prices")
        found = bounds[bounds["prices"] == regime].sort_values("electrification")
        place = found["electrification"]
        lower.bar(place, found["first_best_gain"], 0.13, color="white", ec=GREY, hatch="///", label="first best")
        lower.bar(place, found["design_gain"], 0.13, color=SKY, ec=BLUE, label="design")
        lower.set_xlabel("electrification [share of 2045]")
        lower.set_xticks(sorted(set(rows["electrification"])))
    axes[0, 0].set_ylabel("held out: gain of welfare\nof Case 4 [\\$/day]")
    axes[1, 0].set_ylabel("scenarios: saved\nagainst flat [\\$/day]")
    axes[1, 0].legend(loc="upper left", fontsize=8.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8.5)
    return finish(fig)


def steps_apart(rows: pd.DataFrame) -> Figure:
    """What each step and each instrument alone changes against Case 1, a column for each end of the map.

    ``rows``: :py:func:`tritier.evaluation.variants.step_rows`. Welfare on held-out days with 95 % intervals, each case
    under its own policy and both under hard-limit redispatch; open where the change is not resolved. Case 0 is left out
    of the latter: where nothing can move, redispatch sheds load, at a price of another order.
    """
    own = rows[(rows["quantity"] == "welfare_usd") & ((rows["step"] != "passive") | (rows["kind"] == OWN))]
    ends = list(own.groupby(["electrification", "prices"], sort=True))
    fig, axes = plt.subplots(1, len(ends), figsize=(WIDTH, 4.4), sharey=True, squeeze=False)
    titles = list(dict.fromkeys(own["title"]))
    for ax, ((e, prices), end) in zip(axes[0], ends, strict=True):
        for shift, kind, marker, colour in ((-0.13, OWN, "o", BLUE), (0.13, HARD, "D", GREEN)):
            some = end[end["kind"] == kind]
            place = np.array([titles.index(title) for title in some["title"]]) + shift
            reach = (some["high"] - some["low"]) / 2
            ax.errorbar(some["change"], place, xerr=reach, fmt="none", color=colour, elinewidth=1.4, capsize=2)
            sure = (some["word"] != "not resolved").to_numpy()
            for chosen, fill in ((sure, colour), (~sure, "white")):
                ax.plot(some["change"][chosen], place[chosen], marker, color=colour, mfc=fill, ms=5.5)
            ax.plot(
                [], [], marker, color=colour, label="own policies" if kind == OWN else "hard-limit redispatch in both"
            )
        ax.axvline(0, color=BLACK, lw=1)
        ax.set_title(f"electrification {e:g},\n{prices} prices")
        ax.set_xlabel("change of welfare\nagainst Case 1 [\\$/day]")
        ax.set_yticks(range(len(titles)), titles)
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8.5)
    return finish(fig)
