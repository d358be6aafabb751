"""Figures of the feeder: the layout of the map never crosses itself, and every figure draws from its table."""

from __future__ import annotations

from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radial import fork, radial

from tritier.inputs.instance import Feeder
from tritier.model.acflow import compare_losses, compare_voltages
from tritier.model.network import main_line
from tritier.plots.network import error_figure, feeder_map, loss_figure, tree_layout, voltage_profile


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@st.composite
def topologies(draw) -> Feeder:
    n_line = draw(st.integers(1, 30))
    parent = [draw(st.integers(max(0, line - 6), line)) for line in range(n_line)]
    ones = [1.0] * n_line
    return radial(parent, ones, ones, ones, ones)


def steps(feeder: Feeder, place: np.ndarray, line: int) -> list[tuple[float, float]]:
    """Half-unit points of a connector as drawn: from the parent up or down, then across; its two ends left out."""
    (x0, y0), (x1, y1) = place[feeder.parent[line]], place[line + 1]
    up = [(x0, y) for y in np.arange(y0, y1 + np.sign(y1 - y0) / 4, np.sign(y1 - y0) / 2)] if y1 != y0 else [(x0, y0)]
    across = [(x, y1) for x in np.arange(x0, x1 + 0.25, 0.5)]
    return [p for p in dict.fromkeys(up + across) if p not in ((x0, y0), (x1, y1))]


@settings(deadline=None, max_examples=100)
@given(topologies())
def test_no_bus_shares_a_place_and_no_connector_meets_another(feeder):
    place = tree_layout(feeder)
    places = {tuple(p) for p in place.tolist()}
    assert len(places) == feeder.bus.size
    met = Counter()
    for line, parent in enumerate(feeder.parent.tolist()):
        points = steps(feeder, place, line)
        assert not places & set(points)
        met.update({(parent, point) for point in points})
    # connectors of one bus may share their way; those of different buses may not
    assert max(Counter(point for _, point in met).values(), default=1) == 1


def test_main_line_is_level_and_laterals_start_beside_the_bus_they_leave():
    feeder = radial([0, 1, 1, 2, 3, 4], [1] * 6, [0] * 6, [1] * 6, [0] * 6)
    place = tree_layout(feeder)
    assert place[main_line(feeder)].tolist() == [[k, 0] for k in range(5)]
    assert place[[3, 5]].tolist() == [[1, 1], [2, 1]]


def test_map_colours_every_bus_and_names_the_lowest():
    feeder = fork()
    fig = feeder_map(feeder, np.array([1.0, 0.98, 0.93456, 0.99]), "voltage [p.u.]", ringed=np.array([2]))
    ax, bar = fig.axes
    texts = [t.get_text() for t in ax.texts]
    assert texts == ["10", "20", "30", "40", "substation", "0.9346"]
    colours = np.vstack([c.get_facecolor() for c in ax.collections])
    assert colours.shape == (4, 4)
    assert len(np.unique(colours, axis=0)) == 4
    assert bar.get_xlabel() == "voltage [p.u.]"


def test_figures_draw_all_their_rows():
    feeder = fork()
    p = feeder.p_kw[:, None] * np.array([1.0, 2.0, -3.0])
    voltages, losses = compare_voltages(feeder, p, 0 * p), compare_losses(feeder, p, 0 * p)
    one = compare_voltages(feeder, feeder.p_kw, feeder.q_kvar)

    profile = voltage_profile(feeder, one).axes[0]
    marked = [line for line in profile.get_lines() if line.get_linestyle() == "None"]
    assert [line.get_ydata().tolist() for line in marked] == [one["lindistflow_pu"].tolist(), one["ac_pu"].tolist()]

    left, right = error_figure(voltages, margin=1e-5, v_min=0.95).axes
    assert sum(bar.get_height() for bar in left.patches) == pytest.approx(100)
    assert len(right.collections[0].get_offsets()) == len(voltages)

    imports, exports = loss_figure(losses).axes[0].collections
    assert (len(imports.get_offsets()), len(exports.get_offsets())) == (2, 1)
