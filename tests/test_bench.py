"""The benchmark: engines agree on the optimum, rows have their sizes, the stored table is whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tritier.errors import CertificateError, InputError
from tritier.evaluation.bench import (
    GROWTH,
    QUICK,
    SUITES,
    BenchRow,
    check,
    example_at,
    limits,
    main,
    milp_row,
    row,
    run,
    stored,
)
from tritier.reformulation.market import design_of, market_example
from tritier.reformulation.milp import solve_milp, strong_duality_milp
from tritier.reformulation.solve import enumerate_menu, solve

COLUMNS = list(BenchRow.__dataclass_fields__)
TINY = replace(QUICK, limit=2.0, large=(6,), prosumers=(2,))


@pytest.fixture(scope="module")
def pairs():
    return run(TINY, ("enumeration", "single level", "feeder", "large market"))


def test_engines_that_finish_agree(pairs):
    assert list(pairs.columns) == COLUMNS
    for (suite, _), part in pairs.groupby(["suite", "pair"]):
        done = part[part["status"] == "optimal"]
        assert len(done) >= 3
        relative = 2e-6 if suite == "large market" else 1e-6
        gap = done["cost"] - done["bound"] + 1e-9 * done["cost"].abs()  # engines may stop at a gap
        slack = np.maximum(relative * done["cost"].abs(), gap)
        assert (done["cost"] - done["cost"].min() <= slack).all()
        assert (done["bound"] <= done["cost"] + 1e-6).all()
        ours = part[part["engine"].str.startswith(("hybrid", "decomposition"))]
        assert (ours["status"] == "optimal").all()


def test_rows_tell_sizes_counts_and_ratios(pairs):
    assert (pairs[["prosumers", "scenarios", "hours", "buses", "menu_points"]] > 0).all(axis=None)
    assert (pairs["seconds"] > 0).all()
    for _, part in pairs.groupby(["suite", "pair"]):
        assert part["ratio"].to_numpy() == pytest.approx((part["seconds"] / part["seconds"].iloc[0]).to_numpy())
    ours = pairs[pairs["engine"].str.startswith(("hybrid", "decomposition", "enumeration"))]
    assert (ours["lp_solves"] > 0).all()


def test_growth_solves_what_it_plans():
    found = run(TINY, ("growth",))
    assert set(found["suite"]) <= set(GROWTH)
    sizes = found.set_index("suite")
    assert sizes.loc["prosumers", "prosumers"] == 2 and sizes.loc["scenarios", "scenarios"] == 1
    p2p, head, lateral = 2, 3, 2  # levels offered
    assert sizes.loc["limits", "menu_points"] == QUICK.steps**3 * p2p * head * lateral
    assert (found["gap"] <= QUICK.gap).all()


def test_the_milp_of_highs_finds_the_enumerated_optimum():
    for hours in (3, 4):
        e = market_example(hours, 2)
        best, x, *_ = enumerate_menu(e.problem)
        found = solve_milp(e.problem, 60.0, e.box, e.dual_bound)
        assert found.status == "optimal"
        assert [found.objective, found.bound] == pytest.approx([best, best], rel=1e-6)
        assert design_of(e.joint, found.x) == design_of(e.joint, x)
        assert found.binaries == 4


def test_the_milp_wants_binaries():
    e = market_example(3, 2)
    steps = e.problem.integer.copy()
    steps[0] = False
    with pytest.raises(InputError, match="no binary"):
        strong_duality_milp(replace(e.problem, integer=steps), e.box, e.dual_bound)


def test_a_monolith_that_is_asked_for_a_gap_stops_within_it():
    e = market_example(4, 2)
    best, *_ = enumerate_menu(e.problem)
    gap = 0.05 * abs(best)
    found = solve_milp(e.problem, 60.0, e.box, e.dual_bound, gap)
    assert found.bound <= best + 1e-6 <= found.objective + 2e-6 and found.objective - found.bound <= gap + 1e-6
    scip = solve(e.problem, "strong_duality", box=e.box, dual_bound=e.dual_bound, gap=gap)
    assert scip.status == "optimal" and scip.bound <= best + 1e-6
    assert best - 1e-6 <= scip.objective <= best + gap


def test_a_milp_that_meets_its_limit_says_so():
    e, instance = example_at(3, 2)
    found = milp_row("single level", "3 h x 2", e, instance, 0.0, 1.0, 0.0)
    assert found.status == "time_limit" and found.limit == 0.0


def test_disagreement_is_refused():
    _, instance = example_at(3, 2)
    same = dict(status="optimal", seconds=1.0)
    first = row("s", "p", "one", instance, cost=10.0, bound=10.0, **same)
    check([first, row("s", "p", "two", instance, cost=10.000001, bound=10.0, **same)])
    check([first, row("s", "p", "open", instance, cost=11.0, bound=9.0, status="time_limit", seconds=1.0)])
    with pytest.raises(CertificateError, match="two at p"):
        check([first, row("s", "p", "two", instance, cost=10.1, bound=10.1, **same)])


def test_an_unknown_suite_and_a_missing_table_are_input_errors(tmp_path, capsys):
    assert main(["--quick", "--suites", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
    with pytest.raises(InputError, match="is missing"):
        stored(tmp_path / "bench.csv")


def test_a_part_renewed_keeps_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("tritier.evaluation.bench.QUICK", replace(TINY, large=(4,), large_days=1))
    out = tmp_path / "bench.csv"
    rest = pd.DataFrame([dict.fromkeys(COLUMNS, 1) | {"suite": s} for s in ("tariffs", "large market")])
    rest.to_csv(out, index=False)
    assert main(["--quick", "--suites", "large market", "--out", str(out)]) == 0
    found, about = stored(out)
    assert (found["suite"] == "tariffs").sum() == 1
    assert set(found.loc[found["suite"] == "large market", "prosumers"]) == {4}
    assert {"command", "commit", "versions", "processor", "cores"} <= set(about["large market"])


def test_the_stored_table_is_whole():
    found, about = stored()
    assert list(found.columns) == COLUMNS
    assert set(found["suite"]) == {"enumeration", "single level", "feeder", "long menu", "large market", *GROWTH}
    assert set(about) == set(SUITES)
    for _, part in found.groupby(["suite", "pair"]):
        done = part[part["status"] == "optimal"]
        slack = np.maximum(1e-6 * done["cost"].abs(), done["cost"] - done["bound"])
        assert (done["cost"] - done["cost"].min() <= slack + 1e-9).all()
    assert found[found["prosumers"] == 1000]["scenarios"].eq(10).all()


def test_the_two_trees_bound_the_same_optimum():
    found, _ = stored()
    pairs = 0
    for _, part in found.groupby(["suite", "pair"]):
        trees = part[part["engine"].str.match(r"hybrid(| in SCIP's tree), gap 5 %") & (part["status"] == "optimal")]
        if len(trees) == 2:
            pairs += 1
            assert trees["bound"].max() <= trees["cost"].min() * (1 + 1e-6)
            assert (trees["gap"] <= 0.05).all()
    assert pairs >= 3


def test_the_limit_of_a_suite_is_told_for_monoliths_and_searches_apart():
    """The chapter's sentence on who had how long: in the stored suite a monolith has a tenth of a search's time."""
    found, _ = stored()
    for suite in ("single level", "feeder"):
        own = found[found["suite"] == suite]
        monoliths, searches = limits(own)
        hybrid = own["engine"].str.startswith("hybrid")
        assert set(own.loc[hybrid, "limit"]) == {searches} and set(own.loc[~hybrid, "limit"]) == {monoliths}
    assert limits(found[found["suite"] == "single level"])[0] < limits(found[found["suite"] == "single level"])[1]
