"""Feeder files: order, units, and the feeders kept in data/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_study import BRANCH, BUS

from tritier.inputs.tables import read_feeder
from tritier.model.acflow import feeder_report

FEEDERS = Path(__file__).parents[1] / "data" / "feeders"


def small(folder: Path):
    (folder / "bus.csv").write_text(BUS)
    (folder / "branch.csv").write_text(BRANCH)
    return read_feeder(folder / "bus.csv", folder / "branch.csv")


def test_lines_follow_their_buses_and_ratings_are_kva(tmp_path):
    feeder = small(tmp_path)
    assert feeder.bus.tolist() == [1, 2, 3, 4]
    assert feeder.line.tolist() == [1, 2, 3]
    assert feeder.parent.tolist() == [0, 1, 1]
    assert feeder.rating_kva[0] == pytest.approx(np.sqrt(3) * 10 * 20, rel=1e-12)
    assert np.isinf(feeder.rating_kva[1])
    assert (feeder.vn_kv, feeder.v_slack) == (10.0, 1.0)
    assert feeder.q_kvar.tolist() == [0, 30, 20, -10]


def test_direction_and_order_of_rows_do_not_matter(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    straight = small(tmp_path / "a")
    head, *rows = BRANCH.splitlines()
    turned = [",".join([f[0], f[2], f[1], *f[3:]]) for f in (r.split(",") for r in reversed(rows))]
    (tmp_path / "b" / "bus.csv").write_text(BUS)
    (tmp_path / "b" / "branch.csv").write_text("\n".join([head, *turned]) + "\n")
    back = read_feeder(tmp_path / "b" / "bus.csv", tmp_path / "b" / "branch.csv")
    assert dict(zip(back.bus[1:].tolist(), back.line.tolist(), strict=True)) == {2: 1, 3: 2, 4: 3}
    assert {int(b): int(back.bus[p]) for b, p in zip(back.bus[1:], back.parent, strict=True)} == {2: 1, 3: 2, 4: 2}
    assert sorted(back.r_ohm) == sorted(straight.r_ohm)


@pytest.mark.parametrize(
    ("name", "buses", "kw", "kvar"),
    [
        ("ieee33", 33, 3715.0, 2300.0),
        ("ieee69", 69, 3802.1, 2694.7),
        ("oberrhein1", 69, 16842.0, None),
        ("oberrhein2", 108, 20274.0, None),
    ],
)
def test_feeders_in_data_are_trees_with_the_published_load(name, buses, kw, kvar):
    feeder = read_feeder(FEEDERS / f"{name}_bus.csv", FEEDERS / f"{name}_branch.csv")
    assert feeder.bus.size == buses == feeder.line.size + 1
    assert np.all(feeder.parent <= np.arange(feeder.line.size))
    assert feeder.p_kw.sum() == pytest.approx(kw, abs=0.2)
    if kvar is not None:
        assert feeder.q_kvar.sum() == pytest.approx(kvar, abs=0.2)


def test_ratings_of_ieee33_follow_the_rule():
    feeder = read_feeder(FEEDERS / "ieee33_bus.csv", FEEDERS / "ieee33_branch.csv")
    ampere = feeder.rating_kva / (np.sqrt(3) * feeder.vn_kv)
    assert ampere[0] == pytest.approx(210.0, abs=1e-9)
    assert ampere[1:].min() == pytest.approx(100.0, abs=1e-9)
    assert np.all(feeder.v_min[1:] == 0.95)
    assert np.all(feeder.v_max[1:] == 1.05)


def test_the_two_oberrhein_feeders_keep_the_physics_of_the_full_network():
    # pandapower's mv_oberrhein, transformers and cable capacitance included: 876.02 kW in the lines, 0.97562 p.u.
    reports = [feeder_report(FEEDERS / f"oberrhein{k}_bus.csv", FEEDERS / f"oberrhein{k}_branch.csv") for k in (1, 2)]
    assert sum(r["ac_losses_kw"] for r in reports) == pytest.approx(876.02, rel=1e-3)
    assert min(r["v_min_pu"] for r in reports) == pytest.approx(0.97562, abs=2e-4)
