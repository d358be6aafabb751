"""The same result whatever the order of rows, the number of workers, the engine, or a run that broke off."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tritier.cases.result import solve_case
from tritier.cases.solve import prepare

DATA = Path(__file__).resolve().parents[1] / "data"
IEEE33 = DATA / "studies" / "ieee33"
SIZE = {"n_prosumers": 5, "n_scenarios": 3}


@pytest.fixture(scope="module")
def reordered(tmp_path_factory) -> Path:
    """The case study with the rows of every table of things in reverse."""
    root = tmp_path_factory.mktemp("reordered")
    for part in ("feeders", "simbench", "smard"):
        (root / part).symlink_to(DATA / part)
    study = root / "studies" / "ieee33"
    shutil.copytree(DATA / "studies" / "ieee33", study)
    for table in ("prosumers.csv", "load_mix.csv"):
        pd.read_csv(study / table).iloc[::-1].to_csv(study / table, index=False)
    return study


@pytest.mark.parametrize("case", [1, 2])
def test_the_order_of_rows_decides_nothing(reordered, case):
    one, other = (solve_case(prepare(folder, "smoke", SIZE), case).summary() for folder in (IEEE33, reordered))
    assert one.pop("policy") == other.pop("policy")
    assert one == pytest.approx(other, rel=1e-12)
