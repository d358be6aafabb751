"""Interactive figures: the feeder through the day, welfare over the tariffs, and the bounds of a search.

Each is a plotly figure that moves without a server: its data travel in the page, and so does the script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tritier.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, RED

FONT = {"family": "DejaVu Sans, Verdana, sans-serif", "size": 12, "color": BLACK}
GRID = {"gridcolor": "#E4E4E4", "zeroline": False, "linecolor": BLACK, "fixedrange": True}
DIVERGING = ((0.0, "#7F3B08"), (0.25, "#E08214"), (0.5, "#F7F7F7"), (0.75, "#8073AC"), (1.0, "#2D004B"))  # PuOr


def styled(fig: go.Figure, height: int, **layout: object) -> go.Figure:
    """The house style of interactive figures. They fit the width of the page and do not zoom: a finger scrolls past."""
    fig.update_layout(
        height=height,
        font=FONT,
        paper_bgcolor="white",
        plot_bgcolor="white",
        showlegend=False,
        dragmode=False,
        **layout,
    )
    fig.update_xaxes(**GRID)
    fig.update_yaxes(**GRID)
    return fig


def feeder_through_the_day(
    bus: np.ndarray,
    voltage: np.ndarray,
    flow: np.ndarray,
    prosumer: np.ndarray,
    traded: np.ndarray,
    exchanged: np.ndarray,
    days: Sequence[str],
    band: tuple[float, float],
) -> go.Figure:
    """Voltages, flows and trades by bus: a slider for the hour, a menu for the day.

    Args:
        bus: numbers of the buses in the feeder's order (N,); line l leads to bus l + 1.
        voltage: p.u. (N, T, W).
        flow: power through each line, away from the substation, kW (N - 1, T, W).
        prosumer: positions of the prosumers' buses (I,).
        traded: net P2P purchase, kW (I, T), the same on all days.
        exchanged: net purchase from the retailer, kW (I, T, W).
        days: name of each day (W,).
        band: voltage limits, p.u.
    """
    fig = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=(0.36, 0.32, 0.32))
    at = np.asarray(bus)[prosumer]
    first = int(np.abs(traded).sum(axis=0).argmax())  # it opens at the hour of most trade

    def heights(day: int, hour: int) -> list[list[Any]]:
        v = _round(voltage[:, hour, day], 4)
        below = [y if y < band[0] else None for y in v]
        others = (flow[:, hour, day], traded[:, hour], exchanged[:, hour, day])
        return [v, below, *(_round(values, 1) for values in others)]

    dots: dict[str, object] = {"type": "scatter", "mode": "markers"}
    series: tuple[tuple[int, str, str, np.ndarray, dict[str, object]], ...] = (
        (1, "voltage", "p.u.", bus, dots | {"marker": {"color": BLUE, "size": 7}}),
        (1, "below the limit", "p.u.", bus, dots | {"marker": {"color": RED, "size": 11, "symbol": "x"}}),
        (2, "power in the line to it", "kW", bus[1:], {"type": "bar", "marker": {"color": GREY}}),
        (3, "from neighbours", "kW", at, {"type": "bar", "marker": {"color": ORANGE}}),
        (3, "from the retailer", "kW", at, dots | {"marker": {"color": GREEN, "size": 9, "symbol": "diamond"}}),
    )
    for day, name in enumerate(days):
        for (row, what, unit, place, look), y in zip(series, heights(day, first), strict=True):
            hover = f"bus %{{x}}, {what}: %{{y}} {unit}<extra></extra>"
            about = {"name": f"{name}: {what}", "hovertemplate": hover, "visible": day == 0}
            fig.add_trace({"x": [str(b) for b in place], "y": y} | look | about, row, 1)
    _axes_of_the_feeder(fig, bus, voltage, flow, np.concatenate([traded[..., None], exchanged], axis=-1), band)
    hours = [[y for day in range(len(days)) for y in heights(day, hour)] for hour in range(voltage.shape[1])]
    return styled(
        fig,
        700,
        sliders=[_slider(hours, first)],
        updatemenus=[_choice(days, len(series))],
        margin={"l": 60, "r": 12, "t": 60, "b": 10},
        annotations=_notes(band),
    )


def _round(values: np.ndarray, digits: int) -> list[float]:
    return [round(float(v), digits) for v in values]


def _axes_of_the_feeder(
    fig: go.Figure,
    bus: np.ndarray,
    voltage: np.ndarray,
    flow: np.ndarray,
    power: np.ndarray,
    band: tuple[float, float],
) -> None:
    """One axis of buses below, and ranges that hold for all hours and days."""
    low, high = min(band[0], float(voltage.min())), max(1.0, float(voltage.max()))
    ranges = ((low - 0.004, high + 0.004), _reach(flow), _reach(power))
    labels = ("AC voltage [p.u.]", "line power [kW]", "purchase [kW]")
    for row, (label, reach) in enumerate(zip(labels, ranges, strict=True), start=1):
        fig.update_yaxes(title=label, range=reach, title_standoff=6, row=row, col=1)
    order = {"type": "category", "categoryorder": "array", "categoryarray": [str(b) for b in sorted(bus)], "dtick": 4}
    fig.update_xaxes(range=(-0.6, bus.size - 0.4), **order)
    fig.update_xaxes(title="bus [number]", title_standoff=4, row=3, col=1)
    fig.add_hline(y=band[0], line={"color": RED, "width": 1.5, "dash": "dash"}, row=1, col=1)
    fig.add_hline(y=0, line={"color": BLACK, "width": 1}, row=2, col=1)
    fig.add_hline(y=0, line={"color": BLACK, "width": 1}, row=3, col=1)


def _reach(values: np.ndarray) -> tuple[float, float]:
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    room = 0.08 * max(high - low, 1.0)
    return low - room, high + room


def _notes(band: tuple[float, float]) -> list[dict]:
    """What the marks are, written beside them."""
    note = {"xref": "paper", "x": 0.01, "xanchor": "left", "showarrow": False, "font": {"size": 11}}
    limit = {"text": f"lower limit {band[0]:g}; crosses: below it", "yref": "y", "y": band[0], "yanchor": "bottom"}
    lines = {"text": "from the substation outwards", "yref": "y2 domain", "y": 1.0, "yanchor": "top"}
    marks = {"text": "bars: P2P; diamonds: retailer", "yref": "y3 domain", "y": 1.0, "yanchor": "top"}
    return [note | limit, note | lines, note | marks]


def _slider(hours: list[list[list[float | None]]], first: int) -> dict:
    """A slider whose steps put the heights of all traces at that hour in place; it stands at ``first``."""
    steps = [{"label": str(h), "method": "restyle", "args": [{"y": heights}]} for h, heights in enumerate(hours)]
    shown = {"prefix": "hour ", "xanchor": "left", "font": {"size": 14}}
    place = {"active": first, "pad": {"t": 40}, "x": 0, "len": 1}
    return place | {"steps": steps, "currentvalue": shown, "tickcolor": GREY}


def _choice(days: Sequence[str], size: int) -> dict:
    buttons = [
        {"label": str(name), "method": "restyle", "args": [{"visible": _only(k, len(days), size)}]}
        for k, name in enumerate(days)
    ]
    return {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "bgcolor": "white",
            "pad": {"b": 4}}  # fmt: skip


def _only(k: int, groups: int, size: int) -> list[bool]:
    return [group == k for group in range(groups) for _ in range(size)]


def welfare_surface(table: pd.DataFrame, names: tuple[str, str, str], flat: float) -> go.Figure:
    """Welfare gained over the flat tariff, $ per day, over two tariffs: a slider for the third, best of all else.

    Args:
        table: one row per point: columns ``names`` (tariffs, $/kWh) and ``social_cost`` ($ per day, NaN where the
            revenue is not recovered).
        names: columns of the tariff across, up, and on the slider.
        flat: social cost of the flat tariff, $ per day.
    """
    across, up, third = names
    gain = (flat - table.groupby([third, up, across])["social_cost"].min()).rename("gain")  # min skips NaN
    xs, ys, zs = (sorted(table[name].unique()) for name in (across, up, third))
    most = max(1e-3, float(np.nanmax(np.abs(gain.to_numpy()))))
    best = gain.idxmax()
    fig = go.Figure()
    for z in zs:
        values = np.array([[gain.get((z, y, x), np.nan) for x in xs] for y in ys], dtype=float)
        texts = [["not recovered" if np.isnan(v) else f"{v:+.1f}".replace("-", "−") for v in row] for row in values]
        fig.add_trace(
            go.Heatmap(
                x=[f"{x:.2f}" for x in xs], y=[f"{y:.2f}" for y in ys], z=values.tolist(), text=texts,
                name=f"{_of(third)} {z:.2f}", visible=z == best[0], texttemplate="%{text}",
                zmin=-most, zmax=most, colorscale=DIVERGING, xgap=2, ygap=2,
                hovertemplate=f"{_of(across)} %{{x}}, {_of(up)} %{{y}} $/kWh: %{{text}} $/day<extra></extra>",
                colorbar={"title": {"text": "gain [$/day]", "side": "right"}, "thickness": 12},
            )
        )  # fmt: skip
    steps = [
        {"label": f"{z:.2f}", "method": "restyle", "args": [{"visible": _only(k, len(zs), 1)}]}
        for k, z in enumerate(zs)
    ]
    shown = {"prefix": f"{_of(third)} tariff ", "suffix": " $/kWh", "xanchor": "left", "font": {"size": 14}}
    slider = {"steps": steps, "active": zs.index(best[0]), "currentvalue": shown, "pad": {"t": 50}, "x": 0, "len": 1}
    styled(fig, 460, sliders=[slider] if len(zs) > 1 else [], margin={"l": 60, "r": 12, "t": 20, "b": 10})
    fig.update_xaxes(title=f"{_of(across)} tariff [$/kWh]", type="category", showgrid=False)
    return fig.update_yaxes(title=f"{_of(up)} tariff [$/kWh]", type="category", showgrid=False)


BLOCKS = {"tau_0": "off-peak", "tau_1": "day", "tau_2": "peak", "tau_p": "P2P"}


def _of(column: str) -> str:
    return BLOCKS.get(column, column)


def convergence(trace: pd.DataFrame, flat: float | None = None, first_best: float | None = None) -> go.Figure:
    """Bounds of a search as they close, $ per day, over seconds or LP solves: a menu chooses.

    Args:
        trace: columns ``seconds``, ``lp_solves``, ``lower_bound``, ``upper_bound``; bounds that are not there yet are
            infinite or NaN.
        flat: social cost of the flat tariff, drawn as a level line if given.
        first_best: least social cost without incentives, likewise.
    """
    clocks = {"seconds": "time [s]", "lp_solves": "LP solves [number]"}
    fig = go.Figure()
    for column, name, colour, dash in (
        ("upper_bound", "best design", BLUE, "solid"),
        ("lower_bound", "lower bound", RED, "dash"),
    ):
        bound = [round(float(v), 4) if np.isfinite(v) else None for v in trace[column]]
        fig.add_trace(
            go.Scatter(
                x=_clock(trace, "seconds"), y=bound, name=name, mode="lines",
                line={"color": colour, "dash": dash, "shape": "hv"},
                hovertemplate=f"{name} %{{y:,.2f}} $/day at %{{x}}<extra></extra>",
            )
        )  # fmt: skip
    for level, text in ((flat, "flat tariff"), (first_best, "first best")):
        if level is not None:
            fig.add_hline(y=level, line={"color": GREY, "width": 1}, annotation_text=text,
                          annotation_position="top left")  # fmt: skip
    buttons = [
        {"label": f"over {label.partition(' [')[0]}", "method": "update",
         "args": [{"x": [_clock(trace, key)] * 2}, {"xaxis.title.text": label}]}
        for key, label in clocks.items()
    ]  # fmt: skip
    menu = {"buttons": buttons, "type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.04,
            "yanchor": "bottom", "bgcolor": "white"}  # fmt: skip
    fig.update_xaxes(title=clocks["seconds"])
    fig.update_yaxes(title="social cost [$/day]")
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": -0.2, "yanchor": "top"}  # the buttons are above
    return styled(fig, 420, updatemenus=[menu], margin={"l": 70, "r": 12, "t": 60, "b": 80}).update_layout(
        showlegend=True, legend=legend
    )


def _clock(trace: pd.DataFrame, column: str) -> list[float]:
    return [round(float(v), 2) for v in trace[column]]


def moving(fig: go.Figure) -> pd.DataFrame:
    """What an interactive figure draws, at all positions of its slider: the data behind it, in the units of its axes.

    Columns: ``position`` (of a slider that moves the marks, else empty), ``series``, ``x``, ``y`` and, for grids,
    ``value``.
    """
    steps = [step for slider in fig.layout.sliders for step in slider.steps if "y" in step.args[0]]
    positions = {step.label: step.args[0]["y"] for step in steps} or {"": [trace.y for trace in fig.data]}
    rows = []
    for position, heights in positions.items():
        for trace, y in zip(fig.data, heights, strict=True):
            if trace.type == "heatmap":
                cells = [(b, a, v) for a, line in zip(y, trace.z, strict=True)
                         for b, v in zip(trace.x, line, strict=True)]  # fmt: skip
            else:
                cells = [(a, b, np.nan) for a, b in zip(trace.x, y, strict=True)]
            rows += [(position, trace.name, *cell) for cell in cells]
    return pd.DataFrame(rows, columns=["position", "series", "x", "y", "value"])
