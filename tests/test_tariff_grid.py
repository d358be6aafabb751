"""Neighbours of a design: which tariffs are looked at, and that each row is the market's response to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_study import write_study

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
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
