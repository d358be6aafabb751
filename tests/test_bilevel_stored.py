"""Stored tables of the bilevel solver: complete, of today's problems, and without a wrong answer of ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bilevel_problems import RESCALINGS, UNITS, bard, grown, pineda, plain, random_problem

from tritier.reformulation.modes import MODES
from tritier.reformulation.solve import solve

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
CLOSE = 1e-3  # the tolerance of the comparison with local methods
ENGINES = {"tritier", "blvpy", "blvpy10", "pao"}


@pytest.fixture(scope="module")
def rivals():
    return pd.read_csv(RESULTS / "bilevel_rivals.csv")


def test_every_engine_got_every_problem_and_the_same_limit(rivals):
    assert rivals.groupby(["suite", "problem"])["engine"].agg(set).eq(ENGINES).all()
    assert not rivals.duplicated(["suite", "problem", "engine"]).any()
    assert rivals["limit"].nunique() == 1 and (rivals["seconds"] <= rivals["limit"] + 1).all()
    sizes = rivals[rivals["engine"] == "tritier"].groupby("suite").size()
    assert sizes["known answers"] == 44 and sizes["random"] >= 50 and sizes["growing"] == 15
    assert sizes["other units"] == len(UNITS) and sizes["large multipliers"] == 4


def test_verdicts_are_those_of_the_values(rivals):
    assert set(rivals["verdict"]) <= {"right", "worse", "false", "none"}
    optimum = pd.to_numeric(rivals["optimum"], errors="coerce")
    above = rivals["value"] - optimum > CLOSE * optimum.abs().clip(lower=1.0)
    valued = optimum.notna() & rivals["value"].notna()
    assert (above == (rivals["verdict"] == "worse"))[valued & rivals["verdict"].isin(["right", "worse"])].all()
    words = rivals[rivals["status"] == "infeasible"]
    assert set(words.loc[words["verdict"] == "right", "optimum"]) <= {"infeasible"}


def test_ours_are_right_or_open_and_proved_where_they_are_right(rivals):
    ours = rivals[rivals["engine"] == "tritier"]
    assert not ours["verdict"].isin(["worse", "false"]).any()
    assert (ours.loc[ours["suite"] != "growing", "verdict"] == "right").all()
    proofs = set(ours.loc[ours["verdict"] == "right", "proof"])
    named = {proof for proof in proofs if proof.startswith("BilevelProblem: lower: ")}  # a follower without an answer
    assert proofs - named <= {"bounds proved", "second opinion", "enumeration"}


def test_stored_optima_are_those_of_todays_problems(rivals):
    """The smaller problems of each made suite solved afresh."""
    made = [("growing", grown(n, seed)) for n in (5, 10) for seed in range(3)]
    made += [("random", plain(random_problem(seed))) for seed in range(0, 100, 20)]
    made += [("other units", bard(*units)) for units in UNITS]
    made += [("large multipliers", pineda(slope)) for slope in (1e-2, 1e-4, 1e-5, 2e-6)]
    kept = rivals[rivals["engine"] == "tritier"].set_index(["suite", "problem"])["optimum"]
    compared = 0
    for suite, problem in made:
        if problem.integer.any() or (suite, problem.name) not in kept.index:
            continue
        found = solve(problem)
        told = found.status if found.objective is None else found.objective
        expected = kept[(suite, problem.name)]
        compared += 1
        assert told == expected or told == pytest.approx(float(expected), rel=1e-5, abs=1e-5), problem.name
    assert compared >= 15


def test_units_table_is_complete_and_right():
    table = pd.read_csv(RESULTS / "bilevel_scaling.csv")
    assert len(table) == 44 * len(RESCALINGS) * len(MODES) and (table["verdict"] == "right").all()
    assert set(table["units"]) == set(RESCALINGS) and set(table["mode"]) == set(MODES)


def test_the_first_edition_called_wrong_optima_proved():
    table = pd.read_csv(RESULTS / "bilevel_first.csv")
    assert list(table[["cost", "rows"]].drop_duplicates().itertuples(index=False, name=None)) == list(UNITS)
    assert table["objective"].iloc[: len(MODES)].to_numpy() == pytest.approx(np.full(len(MODES), -18.0))
    wrong = table[(table["status"] == "optimal") & ((table["objective"] + 18.0).abs() > 1.0)]
    assert set(wrong["objective"].round(1)) == {-42.0, -7.5} and (wrong["proof"] == "bounds proved").any()


def test_each_table_says_where_it_is_from():
    made = json.loads((RESULTS / "bilevel.json").read_text())
    for name in ("scaling", "random", "rivals", "first"):
        assert {"command", "date", "commit", "python", "versions", "cores", "seconds"} <= set(made[name])
    assert {"blvpy", "cyipopt", "cvxpy"} == set(made["rivals"]["blvpy"]) and "pao" in made["rivals"]["pao"]
