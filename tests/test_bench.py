"""The benchmark: engines agree on the optimum, rows have their sizes, the stored table is whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tritier.errors import CertificateError, InputError
from tritier.evaluation.bench import (
    GROWTH,
    LOCAL,
    SMALL,
    SUITES,
    BenchRow,
    Run,
    check,
    enumeration_row,
    example_at,
    figures,
    hybrid_row,
    limits,
    main,
    measure,
    milp_row,
    read,
    renew,
    row,
    side_by_side,
    stored,
)
from tritier.reformulation.market import design_of, market_example
from tritier.reformulation.milp import solve_milp, strong_duality_milp
from tritier.reformulation.solve import enumerate_discrete, solve

COLUMNS = list(BenchRow.__dataclass_fields__)
TINY = replace(SMALL, limit=600.0, local=((4, 2),), large=(6,), prosumers=(2,))


@pytest.fixture(scope="module")
def pairs():
    return measure(Run(TINY), ("enumeration", "single level", "feeder", "large market"))


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


def test_every_engine_has_the_same_limit_and_is_asked_for_the_same_gap(pairs):
    assert (pairs["limit"] == TINY.limit).all() and limits(pairs) == (TINY.limit, TINY.limit)
    done = pairs[(pairs["status"] == "optimal") & pairs["gain"].notna()]
    assert len(done) > 5 and (done["gap"] <= TINY.gap + 1e-6).all()


def test_no_design_is_better_than_a_bound_and_the_local_solver_proves_nothing(pairs):
    local = measure(Run(TINY), ("local solver",))
    other = local[local["engine"] == LOCAL]
    assert len(other) == len(TINY.local)
    assert other["bound"].isna().all() and other["gap"].isna().all() and not (other["status"] == "optimal").any()
    for _, part in pd.concat([pairs[pairs["suite"] != "large market"], local]).groupby(["suite", "pair"]):
        known = part[part["cost"].notna()]
        least = known.loc[known["status"] == "optimal", "bound"].max()
        assert (known["cost"] >= least - 1e-6 * abs(least)).all()
        above = (known["cost"] - known["cost"].min()) / known["gain"].max()
        assert known["excess"].to_numpy() == pytest.approx(above.to_numpy(), abs=1e-12)


def test_rows_tell_sizes_counts_and_ratios(pairs):
    assert (pairs[["prosumers", "scenarios", "hours", "buses", "menu_points"]] > 0).all(axis=None)
    assert (pairs[["seconds", "processor_seconds"]] > 0).all(axis=None)
    for _, part in pairs.groupby(["suite", "pair"]):
        assert part["ratio"].to_numpy() == pytest.approx((part["seconds"] / part["seconds"].iloc[0]).to_numpy())
    ours = pairs[pairs["engine"].str.startswith(("hybrid", "decomposition", "enumeration"))]
    assert (ours["lp_solves"] > 0).all()


def test_growth_solves_what_it_plans():
    found = measure(Run(TINY), ("growth",))
    assert set(found["suite"]) <= set(GROWTH)
    sizes = found.set_index("suite")
    assert sizes.loc["prosumers", "prosumers"] == 2 and sizes.loc["scenarios", "scenarios"] == 1
    p2p, head, lateral = 2, 3, 2  # levels offered
    assert sizes.loc["limits", "menu_points"] == SMALL.steps**3 * p2p * head * lateral
    assert (found["gap"] <= SMALL.gap).all()


def test_the_milp_of_highs_finds_the_enumerated_optimum():
    for hours in (3, 4):
        e = market_example(hours, 2)
        best, x, *_ = enumerate_discrete(e.problem)
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
    best, *_ = enumerate_discrete(e.problem)
    gap = 0.05 * abs(best)
    found = solve_milp(e.problem, 60.0, e.box, e.dual_bound, gap)
    assert found.bound <= best + 1e-6 <= found.objective + 2e-6 and found.objective - found.bound <= gap + 1e-6
    scip = solve(e.problem, "strong_duality", box=e.box, dual_bound=e.dual_bound, gap=gap)
    assert scip.status == "optimal" and scip.bound <= best + 1e-6
    assert best - 1e-6 <= scip.objective <= best + gap


def test_a_search_or_a_milp_that_meets_its_limit_says_so():
    e, instance = example_at(3, 2)
    found = milp_row(e, instance, 0.0, 1.0, 0.0)
    assert found.status == "time_limit" and found.limit == 0.0
    ours = hybrid_row(instance, 0.0, 0.0)
    assert ours.status == "no_solution" and np.isnan(ours.gap) and np.isnan(ours.cost) and ours.gain > 0
    assert enumeration_row(instance, 0.0).status == "time_limit"


def test_disagreement_is_refused():
    _, instance = example_at(3, 2)

    def named(engine, **found):
        return replace(row(instance, 1.0, seconds=1.0, processor_seconds=1.0, **found), pair="p", engine=engine)

    first = named("one", status="optimal", cost=10.0, bound=10.0)
    check([first, named("two", status="optimal", cost=10.000001, bound=10.0)])
    check([first, named("open", status="time_limit", cost=11.0, bound=9.0)])
    for cost in (10.00003, 10.1):  # a millionth is allowed, and what an engine leaves open itself
        with pytest.raises(CertificateError, match="two at p"):
            check([first, named("two", status="optimal", cost=cost, bound=cost)])
    check([first, named("two", status="optimal", cost=10.1, bound=9.9)])


def test_an_unknown_suite_and_a_missing_table_are_input_errors(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--quick", "--suites", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
    with pytest.raises(InputError, match="is missing"):
        stored(tmp_path / "bench.csv")


def test_a_run_that_was_cut_keeps_its_rows_and_writes_the_table_when_all_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tritier.evaluation.bench.QUICK", replace(TINY, large=(4,), large_days=1))
    out, asked = tmp_path / "bench.csv", ["--quick", "--suites", "large market", "--out", str(tmp_path / "bench.csv")]

    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as during, pytest.raises(KeyboardInterrupt):
        during.setattr("tritier.evaluation.bench.whole_row", cut)
        main(asked)
    (part,) = Path("results/bench").glob("*.csv")
    (kept,) = read(part).to_dict("records")
    assert kept["engine"] == "decomposition" and not out.exists()
    again = []
    monkeypatch.setattr("tritier.evaluation.bench.clearing_row", lambda *_: again.append(1))
    assert main(asked) == 0 and not again
    found, about = stored(out)
    assert len(found) == 1 + len(TINY.methods) and not part.exists()
    assert found.loc[0, "seconds"] == pytest.approx(kept["seconds"])
    about = about["large market"]
    assert {"command", "commit", "versions", "processor", "cores"} <= set(about)
    assert about["limit_seconds"] == TINY.limit and about["gap"] == TINY.gap


def test_a_part_renewed_keeps_the_rest(tmp_path):
    out = tmp_path / "bench.csv"
    rows = pd.DataFrame([dict.fromkeys(COLUMNS, 1) | {"suite": s} for s in ("tariffs", "large market")])
    renew(rows, {"commit": "old"}, ("growth", "large market"), out)
    renew(rows[1:].assign(prosumers=4), {"commit": "new"}, ("large market",), out)
    found, about = stored(out)
    assert found.set_index("suite")["prosumers"].to_dict() == {"tariffs": 1, "large market": 4}
    assert {suite: x["commit"] for suite, x in about.items()} == {"growth": "old", "large market": "new"}


def test_the_stored_table_is_whole():
    found, about = stored()
    assert set(found) <= set(COLUMNS) and set(COLUMNS) - set(found) <= {"excess", "gain", "processor_seconds"}
    growth = {"growth"} & set(about) and set(GROWTH)
    assert set(found["suite"]) == (set(about) - {"growth"}) | growth
    assert set(SUITES) - {"local solver"} <= set(about) <= set(SUITES)  # the next run of a night brings it
    for (suite, _), part in found.groupby(["suite", "pair"]):
        done = part[part["status"] == "optimal"]
        slack = np.maximum(1e-6 * done["cost"].abs(), done["cost"] - done["bound"])
        assert (done["cost"] - done["cost"].min() <= slack + 1e-9).all()
        least, best = part["bound"].max(), part["cost"].min()  # bounds of engines that did not finish hold as well
        assert best >= least - 1e-6 * abs(least), suite
        given = about["growth" if suite in GROWTH else suite].get("limit_seconds")
        assert given is None or (part["limit"] == given).all()  # before there was one limit, each row had its own


def test_the_two_trees_bound_the_same_optimum():
    found, _ = stored()
    pairs = 0
    asked = found["engine"].str.extract(r"^hybrid(?: in SCIP's tree)?, gap (\S+) %$")[0].astype(float) / 100
    ours = found.assign(asked=asked)[asked.notna() & (found["status"] == "optimal")]
    for (*_, gap), trees in ours.groupby(["suite", "pair", "asked"]):
        assert (trees["gap"] <= gap).all()
        if len(trees) == 2:
            pairs += 1
            assert trees["bound"].max() <= trees["cost"].min() * (1 + 1e-6)
    assert pairs >= 3


def test_the_limits_told_of_a_suite_are_those_of_all_its_rows():
    """The chapter's sentence on who had how long; in a suite that was renewed all had the same."""
    found, about = stored()
    for suite in ("single level", "feeder"):
        own = found[found["suite"] == suite]
        others, searches = limits(own)
        hybrid = own["engine"].str.startswith("hybrid")
        assert set(own.loc[hybrid, "limit"]) == {searches} and set(own.loc[~hybrid, "limit"]) == {others}
        assert others == searches or "limit_seconds" not in about[suite]


def test_what_the_book_says_of_stored_rows_is_counted_from_them():
    """Local solutions are the stored ones here; the chapter finds its own."""
    rows, _ = stored()
    local = rows[rows["suite"] == "local solver"]
    told = figures(rows, local, gap=0.01)
    single, large = (rows[rows["suite"] == name] for name in ("single level", "large market"))
    last = single[single["hours"] == single["hours"].max()]
    assert told["open"] == sum(
        row.status != "optimal" and not row.engine.startswith("hybrid") for row in last.itertuples()
    )
    assert told["most"] == f"{int(large['prosumers'].max()):,}"
    assert told["local_all"] == (local["engine"] == LOCAL).sum() >= told["local_ended"] >= told["local_best"]
    book = (Path(__file__).parents[1] / "chapters" / "18-scaling.ipynb").read_text()
    assert [key for key in told if f"`scale_{key}" not in book] == []


def test_a_table_of_engines_is_read_without_columns_that_no_row_has():
    table = side_by_side(pd.DataFrame([{"pair": "2 h x 3", "engine": "a_b", "gap": 0.01, "seconds": 1.0}]))
    assert list(table) == ["size", "engine", "gap [%]", "time [s]"] and table.loc[0, "gap [%]"] == 1.0
    assert table.loc[0, ["size", "engine"]].tolist() == ["2\u00a0h\u00a0×\u00a03", "a b"]
