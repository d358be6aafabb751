"""The table of how the modes grow: made afresh at small sizes, and what is stored of ten-minute solves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bilevel_problems import PUBLISHED

from tritier.errors import CertificateError, InputError
from tritier.evaluation import growth as bench
from tritier.evaluation.growth import CUT, PLAIN, growth, spatial_tail, stored_growth
from tritier.reformulation.kkt import kkt_system
from tritier.reformulation.market import market_example
from tritier.reformulation.modes import MODES
from tritier.reformulation.solve import enumerate_discrete

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def stored():
    return stored_growth()


def test_variants_are_the_four_modes_and_the_value_cut_of_three():
    assert [mode for mode, _ in PLAIN] == list(MODES) and not any(cut for _, cut in PLAIN)
    assert [mode for mode, _ in CUT] == [m for m in MODES if m != "strong_duality"] and all(cut for _, cut in CUT)


def test_every_finished_row_is_the_optimum_of_enumeration():
    table = growth([(3, 2)], 120, [("strong_duality", False), ("sos1", True)])
    assert table["status"].tolist() == ["optimal", "optimal"]
    assert table["objective"].tolist() == pytest.approx(table["enumerated"].tolist(), rel=1e-6)
    assert (table["high_point"] <= table["enumerated"]).all() and (table["residual"] < 1e-6).all()
    assert (table["pairs"] == kkt_system(market_example(3).problem).pairs.size).all()


def test_a_mode_that_does_not_finish_is_not_tried_on_the_next_size():
    asked = []
    growth([(3, 2), (4, 2)], 0.0, [("sos1", False)], asked.append)
    assert [(row.hours, row.status) for row in asked] == [(3, "no_solution")]
    assert np.isnan(asked[0].objective) and asked[0].limit == 0.0
    assert len(growth([(3, 2), (4, 2)], 0.0, [("sos1", False)], on=True)) == 2


def test_a_wrong_optimum_does_not_enter_the_table(monkeypatch):
    def off(problem):
        best, *rest = enumerate_discrete(problem)
        return best * (1 + 1e-5), *rest

    monkeypatch.setattr(bench, "enumerate_discrete", off)
    with pytest.raises(CertificateError, match=r"growth\.enumeration"):
        growth([(3, 2)], 120, [("strong_duality", False)])


def test_a_size_without_a_solution_is_refused():
    with pytest.raises(InputError, match="no design recovers the revenue at 16"):
        growth([(16, 2)], 1.0)


def test_stored_optima_agree(stored):
    """Among the modes that finished a size, and with enumeration; a mode that stopped has a bound below it."""
    table, _ = stored
    finished = table[table["status"] == "optimal"]
    spread = finished.groupby(["hours", "scenarios"])["objective"].agg(["min", "max", "size"])
    assert np.allclose(spread["min"], spread["max"], rtol=1e-6, atol=0.0) and spread["size"].max() == len(MODES)
    assert np.allclose(finished["objective"], finished["enumerated"], rtol=1e-6, atol=0.0)
    assert (finished["residual"] < 1e-6).all() and (finished["seconds"] <= finished["limit"]).all()
    stopped = table[table["status"] != "optimal"]
    assert set(stopped["status"]) <= {"time_limit", "no_solution"}
    assert (stopped["bound"] <= stopped["enumerated"] * (1 + 1e-6)).all()
    assert (stopped["seconds"] >= stopped["limit"] - 1).all()


def test_stored_table_grows_every_mode_to_its_limit_or_to_the_end(stored):
    table, _ = stored
    sizes = list(table[["hours", "scenarios"]].drop_duplicates().itertuples(index=False, name=None))
    assert set(table["mode"]) == set(MODES) and (table["limit"] == 600).all()
    for _, part in table.groupby("mode"):
        assert list(part[["hours", "scenarios"]].itertuples(index=False, name=None)) == sizes[: len(part)]
        assert (part["status"].iloc[:-1] == "optimal").all()
        assert part["status"].iloc[-1] != "optimal" or len(part) == len(sizes)


def test_stored_table_is_of_the_present_example_and_says_where_it_is_from(stored):
    table, made = stored
    for hours in (3, 4):
        row = table[(table["hours"] == hours) & (table["scenarios"] == 2)].iloc[0]
        example = market_example(hours)
        assert enumerate_discrete(example.problem)[0] == pytest.approx(row["enumerated"], rel=1e-8)
        assert kkt_system(example.problem).pairs.size == row["pairs"]
    assert {"command", "limit_seconds", "python", "versions", "machine", "cores", "processes"} <= set(made)
    assert table["commit"].str.fullmatch(r"[0-9a-f]{7,40}").all()
    assert table["date"].str.fullmatch(r"\d{4}-\d\d-\d\d").all() and (table["load"] > 0).all()


def test_spatial_branching_against_a_published_optimum():
    problem = next(p for p in PUBLISHED if p.key == "liu1994").problem
    tail = spatial_tail(problem, 10.0)
    assert tail.optimum == pytest.approx(-16.0, abs=1e-6) and tail.proof == "second opinion"
    assert tail.bound <= -16.0 + 1e-6 and tail.claimed == pytest.approx(-16.0, abs=1e-3)


def test_ends_of_modes_in_words():
    rows = [
        ("quick", 1200, "optimal", 0.4, 10.0, 10.0),
        ("slow", 400, "optimal", 61.2, 10.0, 10.0),
        ("slow", 800, "time_limit", 600.0, 10.0, 7.5),
        ("lost", 400, "optimal", 2.0, 10.0, 10.0),
        ("lost", 800, "no_solution", 600.0, np.nan, np.nan),
    ]
    table = pd.DataFrame(rows, columns=["mode", "pairs", "status", "seconds", "objective", "bound"])
    assert bench.ends_in_words(table).split("; ") == [
        "quick finishes 1,200 pairs in less than a second",
        "slow finishes 400 pairs in 61 s, and at 800 it has 25 % between point and bound when the clock stops",
        "lost finishes 400 pairs in 2 s, and at 800 it has no point when the clock stops",
    ]
