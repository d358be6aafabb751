"""Interactive figures: what they show at each position, and the data that can be taken from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tritier.plots import interactive as pi

BUS = np.array([1, 5, 3])


def day_figure():
    rng = np.random.default_rng(1)
    voltage = 1 - 0.1 * rng.random((3, 4, 2))
    flow, traded, exchanged = rng.random((2, 4, 2)), rng.random((1, 4)), -rng.random((1, 4, 2))
    fig = pi.feeder_through_the_day(BUS, voltage, flow, np.array([2]), traded, exchanged, ["Mon", "Tue"], (0.95, 1.05))
    return fig, voltage, flow, traded, exchanged


def test_slider_puts_every_hour_in_place_and_the_menu_shows_one_day():
    fig, voltage, flow, traded, exchanged = day_figure()
    steps = fig.layout.sliders[0].steps
    assert [step.label for step in steps] == ["0", "1", "2", "3"]
    first = int(np.argmax(traded))
    assert fig.layout.sliders[0].active == first  # it opens where most is traded
    assert list(fig.data[0].y) == pytest.approx(voltage[:, first, 0], abs=1e-4)
    half = len(fig.data) // 2
    for hour, step in enumerate(steps):
        v, below, power, bought, drawn = step.args[0]["y"][half:]  # the second day
        assert v == pytest.approx(voltage[:, hour, 1], abs=1e-4)
        assert [y is not None for y in below] == list(voltage[:, hour, 1].round(4) < 0.95)
        assert power == pytest.approx(flow[:, hour, 1], abs=0.06)
        assert bought == pytest.approx(traded[:, hour], abs=0.06)
        assert drawn == pytest.approx(exchanged[:, hour, 1], abs=0.06)
    chosen = fig.layout.updatemenus[0].buttons[1].args[0]["visible"]
    assert list(chosen) == [False] * half + [True] * half
    assert [trace.visible for trace in fig.data] == [True] * half + [False] * half
    assert list(fig.data[2].x) == ["5", "3"]  # lines are named by the bus they lead to


def test_ranges_hold_for_all_hours_and_days():
    fig, voltage, flow, *_ = day_figure()
    assert fig.layout.yaxis.range[0] < min(voltage.min(), 0.95)
    assert fig.layout.yaxis2.range[1] > flow.max()
    assert fig.layout.yaxis3.range[0] < -0.5


def surface():
    rows = [(a, b, c, 100 * a + 10 * b + c) for a in (0.0, 1.0) for b in (0.0, 1.0, 2.0) for c in (0.0, 1.0)]
    table = pd.DataFrame(rows, columns=["tau_0", "tau_1", "tau_2", "social_cost"])
    table.loc[0, "social_cost"] = np.nan
    return pi.welfare_surface(table, ("tau_2", "tau_1", "tau_0"), flat=50.0)


def test_surface_is_the_gain_over_the_flat_tariff_and_opens_at_the_best():
    fig = surface()
    first, second = (np.array(trace.z, dtype=float) for trace in fig.data)
    assert np.isnan(first[0, 0])
    assert first[2, 1] == pytest.approx(50 - 21)
    assert second[1, 0] == pytest.approx(50 - 110)
    assert fig.data[0].text[0][0] == "not recovered"
    assert [trace.visible for trace in fig.data] == [True, False]
    assert fig.layout.sliders[0].active == 0
    assert "peak tariff [$/kWh]" in fig.layout.xaxis.title.text


def test_a_cell_is_the_best_of_all_that_is_not_shown():
    table = pd.DataFrame({"tau_0": 0.1, "tau_1": 0.1, "tau_2": [0.1, 0.1, 0.2], "social_cost": [7.0, 5.0, 6.0]})
    fig = pi.welfare_surface(table, ("tau_2", "tau_1", "tau_0"), flat=10.0)
    assert np.array(fig.data[0].z) == pytest.approx(np.array([[5.0, 4.0]]))
    assert len(fig.layout.sliders) == 0  # one level of the third tariff leaves nothing to slide


TRACE = pd.DataFrame(
    {
        "seconds": [0.5, 2.0, 4.0],
        "lp_solves": [3, 30, 44],
        "lower_bound": [-np.inf, 8.0, 9.0],
        "upper_bound": [12.0, np.nan, 9.5],
    }
)


def test_bounds_over_seconds_or_lps():
    fig = pi.convergence(TRACE, flat=12.5, first_best=7.0)
    upper, lower = fig.data
    assert list(upper.y) == [12.0, None, 9.5]
    assert list(lower.y) == [None, 8.0, 9.0]
    assert list(upper.x) == [0.5, 2.0, 4.0]
    over_lps = fig.layout.updatemenus[0].buttons[1].args
    assert over_lps[0]["x"] == ([3.0, 30.0, 44.0],) * 2 or over_lps[0]["x"] == [[3.0, 30.0, 44.0]] * 2
    assert over_lps[1]["xaxis.title.text"] == "LP solves [number]"
    assert {a.text for a in fig.layout.annotations} == {"flat tariff", "first best"}
    assert upper.line.dash != lower.line.dash  # told apart without colour


@pytest.mark.parametrize("fig", [day_figure()[0], surface(), pi.convergence(TRACE)], ids=["day", "surface", "bounds"])
def test_axes_have_units_and_data_can_be_taken_away(fig):
    for axis in (*fig.select_xaxes(), *fig.select_yaxes()):
        assert axis.title.text is None or "[" in axis.title.text
    assert all(axis.title.text for axis in fig.select_yaxes())
    table = pi.moving(fig)
    assert list(table.columns) == ["position", "series", "x", "y", "value"]
    assert set(table["series"]) == {trace.name for trace in fig.data}


def test_data_of_the_day_have_every_hour():
    fig, voltage, *_ = day_figure()
    table = pi.moving(fig)
    own = table[(table["series"] == "Tue: voltage") & (table["position"] == "3")]
    assert own["y"].tolist() == pytest.approx(voltage[:, 3, 1].tolist(), abs=1e-4)
    assert own["x"].tolist() == ["1", "5", "3"]
