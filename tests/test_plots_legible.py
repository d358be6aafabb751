"""Figures as they are drawn: no two texts of one meet, none leaves it, and no legend hides a mark."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from tritier.evaluation import bench, variants
from tritier.evaluation.growth import stored_growth
from tritier.plots import cases, results
from tritier.plots.style import STYLE, three_levels

STORED = Path(__file__).resolve().parent.parent / "data" / "results"


def texts(fig: Figure) -> Iterator[Text]:
    """Every text that is drawn: ticks beyond an axis's limits are not."""
    legends = list(fig.legends)
    for ax in fig.axes:
        legends += [ax.get_legend()] if ax.get_legend() else []
        yield from (ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label, *ax.texts)
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            for tick in axis._update_ticks():
                yield from (tick.label1, tick.label2)
    for legend in legends:
        yield from legend.get_texts()
    yield from fig.texts


def crowded(fig: Figure) -> list[str]:
    """Pairs of texts that overlap, texts outside the figure, and legends over a mark of a curve."""
    fig.canvas.draw()
    renderer, found = fig.canvas.get_renderer(), []
    shown = [x for x in texts(fig) if x.get_visible() and x.get_text().strip()]
    boxes = [(x.get_text(), x.get_window_extent(renderer)) for x in shown]
    for (one, a), (other, b) in combinations(boxes, 2):
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1:
            found.append(f"{one!r} meets {other!r}")
    page = fig.bbox
    found += [f"{t!r} is cut" for t, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > page.x1 + 1 or b.y1 > page.y1 + 1]
    for ax in fig.axes:
        legends = [x.get_window_extent(renderer) for x in (ax.get_legend(), *fig.legends) if x is not None]
        for line in ax.get_lines():
            if line.get_marker() in ("None", "", None):
                continue
            for x, y in ax.transData.transform(np.column_stack(line.get_data())):
                found += [f"a legend hides {line.get_label()!r}" for box in legends if box.contains(x, y)]
    return found


def steps() -> Figure:
    return results.steps_apart(variants.step_rows(variants.read_steps(STORED / "steps")[0]))


def coordination_map() -> Figure:
    daily, first_best = variants.read_map(STORED / "map")
    return results.coordination_map(variants.map_rows(daily), first_best)


def mode_growth() -> Figure:
    table = stored_growth()[0]
    return results.mode_figure(table.assign(closed=table["status"] == "optimal"))


def engines() -> Figure:
    table = bench.stored()[0]
    return results.engines_figure(table[table["suite"] == "single level"], "hours", "hours of the example market [-]")


def search_bounds() -> Figure:
    trace = {"lp_solves": [10, 20, 31], "upper_bound": [54.0, 53.0, 53.0], "lower_bound": [39.5, 39.5, 53.0]}
    return cases.search_bounds(pd.DataFrame(trace), 54.0, 39.5)


def few_modes() -> Figure:
    """Two sizes, less than a factor of ten apart."""
    modes = ("bigm", "sos1", "indicator", "strong_duality")
    rows = [(pairs, mode, pairs / 1e3 * (k + 1), True) for k, mode in enumerate(modes) for pairs in (6, 12)]
    return results.mode_figure(pd.DataFrame(rows, columns=["pairs", "mode", "seconds", "closed"]))


def growth() -> Figure:
    return results.growth_figure(bench.stored()[0])


def sensitivities() -> Figure:
    """Every value that is planned: all are stored."""
    daily, _ = variants.read_sensitivities(STORED / "sensitivities", STORED / "map")
    assert set(zip(daily["parameter"], daily["label"], strict=True)) > {
        (s.parameter, s.label) for s in variants.SENSITIVITIES
    }
    titles = {key: parameter.title for key, parameter in variants.PARAMETERS.items()}
    return results.sensitivities(variants.sensitivity_rows(daily), titles)


@pytest.mark.parametrize(
    "figure",
    [steps, coordination_map, mode_growth, few_modes, engines, growth, search_bounds, sensitivities, three_levels],
)
def test_nothing_meets_in_a_figure(figure):
    with plt.rc_context(STYLE):
        fig = figure()
        assert crowded(fig) == []
    plt.close(fig)


@pytest.mark.parametrize("size", [(2, 2), (5, 6)])
def test_the_stroke_through_a_cell_leaves_its_number_free(size):
    """As many cells as the slice of the longest menu has, with numbers of four digits; none recovers the cost."""
    with plt.rc_context(STYLE):
        fig = cases.menu_slice([0.1] * size[0], [0.1] * size[1], np.full(size, -1234.5), np.zeros(size, dtype=bool))
        fig.canvas.draw()
        boxes = [text.get_window_extent() for text in fig.axes[0].texts]
        strokes = [fig.axes[0].transData.transform_path(line.get_path()) for line in fig.axes[0].get_lines()]
        assert len(boxes) == size[0] * size[1] and len(strokes) == 2 * len(boxes)
        assert not any(stroke.intersects_bbox(box, filled=False) for stroke in strokes for box in boxes)
        assert crowded(fig) == []
    plt.close(fig)


def test_what_meets_is_seen():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], "o-", label="curve")
    assert crowded(fig) == []
    ax.legend(loc="upper right")
    ax.text(0.5, 0.5, "one")
    ax.text(0.51, 0.5, "other")
    fig.text(0.98, 0.5, "out of the figure")
    told = crowded(fig)
    assert "'one' meets 'other'" in told and "'out of the figure' is cut" in told and "a legend hides 'curve'" in told
    plt.close(fig)
