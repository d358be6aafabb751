"""The search on a Dask cluster of two workers: the design, bounds and number of LP solves of one process."""

from __future__ import annotations

from dataclasses import replace

import distributed
import joblib
import pytest
from toy import small_market

from tritier.inputs.instance import Menu
from tritier.reformulation.joint import JointLP
from tritier.search import work
from tritier.search.ends import both_ends
from tritier.search.hybrid import solve


@pytest.fixture(scope="module")
def market():
    menu = Menu(((0.02, 0.08), (0.08, 0.14), (0.08, 0.20)), (0.02, 0.04), ((1, (230.0, 300.0, 1000.0)),))
    return replace(small_market(seed=1, tie_break=1e-3, demand_charge=0.1), menu=menu, fixed_cost=20.0)


@pytest.fixture(scope="module")
def bounds(market):
    flat, ideal = both_ends(JointLP(market))
    return {"flat": flat, "ideal": ideal}


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def built(dask_worker) -> int:
    return len(work._built)


def test_a_cluster_finds_what_one_process_finds(market, bounds, client):
    one = solve(JointLP(market), gap=0.01, jobs=1, **bounds)
    with joblib.parallel_config(backend="dask"):
        two = solve(JointLP(market), gap=0.01, jobs=2, **bounds)
    assert sum(client.run(built).values()) == 2  # both workers built the LP: the work was done there
    assert two.best.design == one.best.design
    assert (two.lp_solves, len(two.rows), two.proof) == (one.lp_solves, len(one.rows), one.proof)
    assert [two.lower_bound, two.upper_bound] == pytest.approx([one.lower_bound, one.upper_bound], abs=1e-9)
