"""Figures of the reformulation chapters: what they draw is what they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tritier.plots.results import (
    envelope_figure,
    mode_figure,
    readings_figure,
    small_m_figure,
    solvers_figure,
    value_figure,
)


def test_envelope_figure_shows_the_product_in_one_and_in_four_boxes():
    fig = envelope_figure((0.0, 0.2), (0.0, 100.0))
    assert [len(ax.collections) for ax in fig.axes] == [1, 4]
    x, product = fig.axes[0].lines[0].get_data()
    assert np.allclose(product, x * (100.0 - 500.0 * x))


def test_small_m_figure_has_a_line_per_form_and_the_optimum():
    table = pd.DataFrame({"M": [1, 10, 1, 10], "form": ["a", "a", "b", "b"], "objective": [-1.0, -2.0, -1.0, -3.0]})
    lines = small_m_figure(table, -3.0).axes[0].lines
    assert [line.get_label() for line in lines] == ["a", "b", "true optimum"]
    assert list(lines[1].get_ydata()) == [-1.0, -3.0]


def test_mode_figure_marks_limits_open():
    table = pd.DataFrame({"pairs": [4, 8], "mode": ["sos1"] * 2, "seconds": [0.1, 10.0], "closed": [True, False]})
    curve, closed, reached = mode_figure(table).axes[0].lines
    assert list(curve.get_ydata()) == [0.1, 10.0]
    assert closed.get_xdata() == [4] and reached.get_xdata() == [8]
    assert reached.get_markerfacecolor() == "white"


def test_value_figure_sets_the_volume_beside_the_slope_of_the_value():
    table = pd.DataFrame({"charge": [0.0, 1.0, 2.0], "theta": [1.0, 4.0, 6.0], "volume": [3.0, 3.0, 2.0]})
    value, slope = value_figure(table).axes
    assert list(value.lines[0].get_ydata()) == [1.0, 4.0, 6.0]
    volume, differences = slope.lines
    assert list(volume.get_ydata()) == [3.0, 3.0, 2.0]
    assert list(differences.get_xdata()[1:]) == [0.5, 1.5] and list(differences.get_ydata()[1:]) == [3.0, 2.0]


def test_readings_figure_draws_both_readings_and_the_toll():
    table = pd.DataFrame({"toll": [0.0, 1.0], "hoped": [5.0, 2.0], "feared": [5.0, 4.0]})
    feared, hoped, chosen = readings_figure(table, 1.0).axes[0].lines
    assert list(feared.get_ydata()) == [5.0, 4.0] and list(hoped.get_ydata()) == [5.0, 2.0]
    assert list(chosen.get_xdata()) == [1.0, 1.0]


def test_solvers_figure_counts_right_answers_and_takes_the_median():
    table = pd.DataFrame({
        "engine": ["a"] * 4, "nx": [5, 5, 10, 10], "verdict": ["right", "false", "none", "none"],
        "seconds": [1.0, 3.0, 20.0, 20.0],
    })  # fmt: skip
    share, time = solvers_figure(table, 20.0).axes
    assert list(share.lines[0].get_ydata()) == [50.0, 0.0]
    assert list(time.lines[0].get_ydata()) == [2.0, 20.0] and list(time.lines[1].get_ydata()) == [20.0, 20.0]
