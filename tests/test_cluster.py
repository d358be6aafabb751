"""The search on a Dask cluster of two workers: the design, bounds and number of LP solves of one process."""

from __future__ import annotations

import ast
import inspect
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import distributed
import joblib
import numpy as np
import pytest
from toy import small_market

import tritier
from tritier.inputs.instance import Design, Menu
from tritier.reformulation.joint import JointLP
from tritier.search import work
from tritier.search.hybrid import solve
from tritier.search.large import clear, large_instance
from tritier.search.references import find_references

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def market():
    menu = Menu(((0.02, 0.08), (0.08, 0.14), (0.08, 0.20)), (0.02, 0.04), ((1, (230.0, 300.0, 1000.0)),))
    return replace(small_market(seed=1, tie_break=1e-3, demand_charge=0.1), menu=menu, fixed_cost=20.0)


@pytest.fixture(scope="module")
def bounds(market):
    flat, ideal = find_references(JointLP(market))
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


def test_the_example_of_the_book_defines_what_it_uses():
    """The block under *On a cluster*: every name is imported or set in it, and the call is one of the API."""
    book = (ROOT / "chapters" / "18-scaling.ipynb").read_text()
    cell = next(c for c in json.loads(book)["cells"] if "## On a cluster" in "".join(c["source"]))
    (code,) = re.findall(r"```python\n(.*?)```", "".join(cell["source"]), re.DOTALL)
    nodes = list(ast.walk(ast.parse(code)))
    known = {
        alias.asname or alias.name for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for alias in n.names
    }
    assert {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)} <= known
    (call,) = (n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "tt.solve")
    inspect.signature(tritier.solve).bind(*call.args, **{k.arg: k.value for k in call.keywords})


def test_a_large_market_on_a_cluster_clears_as_in_one_process(market, client):
    """The workers keep their prosumers' LPs while only prices go out, and forget them in the end."""
    large = large_instance(market, 6, seed=4)
    design = Design((0.02, 0.08, 0.14), 0.02, ((1, 1000.0),))
    one, held = clear(large, design), []
    with joblib.parallel_config(backend="dask"):
        two = clear(large, design, jobs=2, progress=lambda _: held.append(list(client.run(actors).values())))
    assert held and all(count == [1, 1] for count in held)
    for name in ("cost", "bound", "gain", "price", "injection_price", "trade", "lp_solves", "rounds"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    end = time.monotonic() + 20
    while sum(client.run(actors).values()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not sum(client.run(actors).values())


def actors(dask_worker) -> int:
    return len(dask_worker.state.actors)


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
