"""Figures of data and prosumers show what they are given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from tritier.inputs.instance import Days
from tritier.plots import inputs as plots
from tritier.plots.style import COLOURS

HOURS = 24


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def days(probability) -> Days:
    """Two prosumers and three buses, all numbers different."""
    s = len(probability)
    draw = np.random.default_rng(7)
    kw = [draw.uniform(1, 9, (n, HOURS, s)) for n in (2, 2, 3, 3)]
    return Days(np.array(probability), *kw, draw.uniform(0.02, 0.06, (HOURS, s)), tuple(map(str, range(s))))


def test_fans_draw_every_scenario_as_wide_as_it_is_likely():
    scenarios = days([0.2, 0.5, 0.3])
    fig = plots.scenario_fans(scenarios, days([0.25] * 4), {"extreme": [2]})
    totals = (scenarios.demand_kw, scenarios.passive_kw, scenarios.renewable_kw)
    for ax, total in zip(fig.axes, totals, strict=True):
        *lines, mean = ax.get_lines()
        drawn = {tuple(np.round(line.get_ydata(), 9)): line for line in lines}
        found = [drawn[tuple(np.round(total.sum(axis=0)[:, k], 9))] for k in range(3)]
        widths = [line.get_linewidth() for line in found]
        assert np.argsort(widths).tolist() == [0, 2, 1]
        assert to_hex(found[2].get_color()) == COLOURS[1].lower()
        assert mean.get_ydata() == pytest.approx(total.sum(axis=0) @ scenarios.probability)


def test_blocks_are_bars_of_their_hours():
    load, block = np.arange(1.0, 25.0), np.repeat([0, 1, 2], [8, 10, 6])
    ax = plots.tariff_blocks(load, block).axes[0]
    assert [len(bars) for bars in ax.containers] == [8, 10, 6]
    for k, bars in enumerate(ax.containers):
        assert [bar.get_height() for bar in bars] == pytest.approx(load[block == k].tolist())


def test_a_day_in_balance_reaches_as_far_up_as_down():
    draw = np.random.default_rng(3)
    day = pd.DataFrame(draw.uniform(0, 5, (HOURS, 5)), columns=["renewable", "discharge", "served", "charge", "export"])
    day["import"] = 20.0
    day["export"] = day[["renewable", "discharge", "import"]].sum(axis=1) - day[["served", "charge"]].sum(axis=1)
    day["reference"] = day["served"]
    fig = plots.prosumer_day({"a": day, "b": day}, {"a": np.zeros(25), "b": np.full(25, 80.0)})
    bars = [bar for group in fig.axes[0].containers for bar in group]
    height = np.array([bar.get_height() for bar in bars])
    assert height[height > 0].sum() == pytest.approx(-height[height < 0].sum())
    assert height[height > 0].sum() == pytest.approx(day[["renewable", "discharge", "import"]].to_numpy().sum())
    assert fig.axes[2].get_ylim()[1] > 80 and fig.axes[3].get_ylim() == fig.axes[2].get_ylim()
