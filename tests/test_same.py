"""The same result whatever the order of rows, the number of workers, the engine, or a run that broke off."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tritier.cases.result import solve_case
from tritier.cases.solve import prepare
from tritier.search import hybrid

DATA = Path(__file__).resolve().parents[1] / "data"
IEEE33 = DATA / "studies" / "ieee33"
SIZE = {"n_prosumers": 5, "n_scenarios": 3}


def in_reverse(root: Path, *tables: str) -> Path:
    """The case study with the rows of some tables in reverse."""
    for part in ("feeders", "simbench", "smard"):
        (root / part).symlink_to(DATA / part)
    study = root / "studies" / "ieee33"
    shutil.copytree(DATA / "studies" / "ieee33", study)
    for table in tables:
        pd.read_csv(study / table).iloc[::-1].to_csv(study / table, index=False)
    return study


@pytest.fixture(scope="module")
def reordered(tmp_path_factory) -> Path:
    return in_reverse(tmp_path_factory.mktemp("reordered"), "prosumers.csv", "load_mix.csv")


def test_the_order_of_prosumers_leaves_the_instance_bit_for_bit(tmp_path):
    """A case is solved from the instance and nothing else, so that no case can tell: prosumers stand by their bus, of
    which each has one."""
    found = in_reverse(tmp_path, "prosumers.csv")
    assert (found / "prosumers.csv").read_bytes() != (IEEE33 / "prosumers.csv").read_bytes()
    one, other = (prepare(folder, "smoke", SIZE).instance for folder in (IEEE33, found))
    assert one.prosumers == other.prosumers and one.menu == other.menu and one.fixed_cost == other.fixed_cost
    for part in ("days", "rules", "feeder"):
        for name, value in vars(getattr(one, part)).items():
            assert np.array_equal(value, getattr(getattr(other, part), name)), f"{part}.{name}"


@pytest.mark.parametrize("case", [1, 2])
def test_the_order_of_rows_decides_nothing(reordered, case):
    one, other = (solve_case(prepare(folder, "smoke", SIZE), case).summary() for folder in (IEEE33, reordered))
    assert one.pop("policy") == other.pop("policy")
    mine, others = one.pop("warnings"), other.pop("warnings")
    assert ["5 of 14 prosumers take part" in line for line in mine] == [True], "as SIZE asks for"
    added = [line for line in others if line not in mine]
    assert ["made with other tables" in line for line in added] == [True], "files count, byte by byte"
    assert len(others) == 2
    for summary in (one, other):
        summary.update(summary.pop("social_cost_range_usd"))
    assert one == pytest.approx(other, rel=1e-11)


def broken_off(prepared, case, folder) -> dict:
    """Summary of a run that was interrupted after two rounds and went on from its state."""
    rounds, report = [], hybrid.Search.report

    def stop(search) -> None:
        report(search)
        rounds.append(search.so_far)
        if len(rounds) == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hybrid.Search, "report", stop)
        with pytest.raises(KeyboardInterrupt, match="of the achievable gain"):
            solve_case(prepared, case, state=folder / "state.npz")
    return solve_case(prepared, case, state=folder / "state.npz").summary()


@pytest.mark.parametrize(("case", "size"), [(3, {}), (4, SIZE)])
def test_workers_engine_and_a_break_decide_nothing(case, size, tmp_path):
    """Many responses are as good for the follower and society: which of them is shown hangs on the design alone."""
    prepared = prepare(IEEE33, "smoke", size)
    one = solve_case(prepared, case).summary()
    assert solve_case(prepared, case, jobs=2).summary() == one
    assert solve_case(prepared, case, engine="scip").summary() == one
    assert broken_off(prepared, case, tmp_path) == one
