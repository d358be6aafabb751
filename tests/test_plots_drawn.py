"""The data behind a figure, read off the figure itself."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tritier.plots.results import profile_figure
from tritier.plots.style import drawn


@pytest.fixture
def axes():
    fig, pair = plt.subplots(1, 2)
    pair[0].set(xlabel="time [h]", ylabel="power [kW]")
    yield pair
    plt.close(fig)


def found(axes, kind: str):
    table = drawn(axes[0].figure)
    return table[table["kind"] == kind]


def test_curves_carry_their_names_and_labels(axes):
    axes[0].plot([1, 2], [3.0, 4.0], label="load")
    axes[1].plot([5], [6])
    table = found(axes, "line")
    assert table["panel"].tolist() == [1, 1, 2]
    assert table["series"].tolist() == ["load", "load", "1"]
    assert table[["x", "y"]].to_numpy().tolist() == [[1, 3], [2, 4], [5, 6]]
    assert set(table["x_axis"]) == {"time [h]", ""}


def test_bars_level_and_upright(axes):
    axes[0].bar([1, 2], [3, -4], label="up")
    axes[0].barh([7], [2], left=[1])
    table = found(axes, "bar")
    assert table[["x", "y", "value"]].to_numpy().tolist() == [[1, 3, 0], [2, -4, 0], [3, 7, 1]]


def test_dots_with_values_grids_and_images(axes):
    axes[0].scatter([1, 2], [3, 4], c=[0.5, 0.7])
    axes[0].pcolormesh([0, 1, 2], [0, 2], [[8.0, 9.0]])
    axes[1].imshow(np.array([[1.0], [2.0]]))
    assert found(axes, "PathCollection")["value"].tolist() == [0.5, 0.7]
    assert found(axes, "QuadMesh")[["x", "y", "value"]].to_numpy().tolist() == [[0.5, 1, 8], [1.5, 1, 9]]
    assert found(axes, "image")[["x", "y", "value"]].to_numpy().tolist() == [[0, 0, 1], [0, 1, 2]]


def test_bands_steps_and_segments(axes):
    axes[0].fill_between([0, 1], [0, 0], [2, 3])
    axes[0].stairs([5, 6], [0, 1, 2])
    axes[0].hlines([4], 0, 2)
    assert {0, 2, 3} <= set(drawn(axes[0].figure).query("x <= 1")["y"])
    assert found(axes, "step")[["x", "y"]].to_numpy().tolist() == [[0, 5], [1, 6], [2, 6]]
    assert found(axes, "LineCollection")[["x", "y"]].to_numpy().tolist() == [[0, 4], [2, 4]]


def test_a_profile_s_bars_end_at_the_seconds_of_each_phase():
    rows = [("answer", "simplex", 3.0), ("answer", "other", 1.0), ("proof", "other", 0.5)]
    table = drawn(profile_figure(pd.DataFrame(rows, columns=["phase", "work", "seconds"])))
    bars = {(row.series, round(row.y)): (row.value, row.x) for row in table.itertuples()}
    assert bars[("simplex", 1)] == (0.0, 3.0) and bars[("other", 1)] == (3.0, 4.0)
    assert bars[("other", 0)] == (0.0, 0.5) and bars[("simplex", 0)] == (0.0, 0.0)
    assert set(table["x_axis"]) == {"time [s]"}
    plt.close("all")


def test_shading_text_and_colour_bars_are_no_data(axes):
    axes[0].axvspan(0, 1)
    axes[0].text(0, 0, "note")
    assert drawn(axes[0].figure).empty
