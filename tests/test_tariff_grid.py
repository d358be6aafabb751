"""Neighbours of a design: which tariffs are looked at, and that each row is the market's response to them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_study import write_study

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
from tritier.errors import NoRecoveryError
from tritier.reformulation.joint import JointLP
from tritier.search.enumeration import enumerate_menu, tariff_grid, thinned


@given(st.sets(st.integers(0, 50), min_size=1).map(sorted), st.integers(1, 5), st.data())
def test_thinned_levels_are_levels_and_hold_the_kept_one(levels, most, data):
    kept = data.draw(st.sampled_from(levels))
    found = thinned(tuple(levels), kept, most)
    assert kept in found
    assert set(found) <= set(levels)
    assert len(found) <= most
    assert found == sorted(found)


def test_all_levels_of_a_short_menu_are_kept():
    assert thinned((0.2, 0.1), 0.2, 4) == [0.1, 0.2]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The small study's Case 4: its LP, and every point of its menu."""
    write_study(folder := tmp_path_factory.mktemp("study"))
    prepared = prepare(folder, "smoke", {"menus.smoke.tariff.peak": [0.02, 0.1, 0.2]})
    joint = JointLP(cleared(prepared, find_case(4)))
    return joint, enumerate_menu(joint)


def test_grid_agrees_with_the_enumeration_of_the_menu(searched):
    joint, whole = searched
    design = whole.best.design
    grid = tariff_grid(joint, design)
    assert len(grid) == 6
    keys = [c for c in grid.columns if c != "social_cost"]
    same = grid.merge(whole.table, on=keys, suffixes=("", "_menu"), how="left")
    assert np.isnan(same["social_cost"]).tolist() == np.isnan(same["social_cost_menu"]).tolist()
    recovered = same.dropna()
    assert 0 < len(recovered) < 6
    assert recovered["social_cost"].to_numpy() == pytest.approx(recovered["social_cost_menu"].to_numpy(), abs=2e-3)
    assert grid["social_cost"].min() == pytest.approx(whole.best.social.total, abs=2e-3)


def test_enumeration_tells_designs_apart_by_every_price(searched):
    """Each level of both peak charges answered by itself: the same social costs, which differ between levels."""
    instance = searched[0].instance
    offered = replace(instance.menu, tariff=((0.1,),) * 3, peak=(0.0, 0.1), coincident=(0.0, 0.38))
    whole = enumerate_menu(JointLP(replace(instance, menu=offered))).table
    costs = {}
    for peak, coincident in product(offered.peak, offered.coincident):
        one = replace(offered, peak=(peak,), coincident=(coincident,))
        try:
            alone = enumerate_menu(JointLP(replace(instance, menu=one))).table["social_cost"]
        except NoRecoveryError:
            alone = pd.Series(np.nan, index=range(one.n_points))
        same = whole[(whole["tau_k"] == peak) & (whole["tau_c"] == coincident)]["social_cost"]
        assert same.to_numpy() == pytest.approx(alone.to_numpy(), abs=2e-3, nan_ok=True)
        costs[peak, coincident] = alone.min()
    assert len({round(cost, 2) for cost in costs.values() if cost == cost}) >= 2
