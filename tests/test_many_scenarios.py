"""The electrified study with the scenarios of preset paper and limits of the head alone: closed, and judged."""

from pathlib import Path

import pandas as pd
import pytest

from tritier.cases.result import FOLDER, MANY
from tritier.cases.solve import prepare
from tritier.evaluation import findings, heldout
from tritier.inputs.documents import read_json
from tritier.provenance import digest

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
STUDY = RESULTS.parent / "studies" / "ieee33-2045"
(NAME,) = MANY
DAILY = pd.read_csv(RESULTS / "many_days.csv")


def test_its_menu_is_that_of_preset_paper_without_laterals():
    menu, paper = (of.study.menu("paper") for of in (MANY[NAME].prepared(), prepare(STUDY, "paper")))
    assert menu.prices == paper.prices and menu.capacity == tuple(row for row in paper.capacity if row[0] == 1)


def test_no_design_of_it_is_better_by_more_than_a_hundredth_of_the_gain():
    proof = read_json(FOLDER / NAME / "case-4" / "certificate.json")["design"]
    told = read_json(FOLDER / NAME / "case-4" / "provenance.json")
    assert proof["proof"] == "closed" and proof["gap"] <= told["gap"] == 0.01
    assert told["parameters"]["n_scenarios"] == 50 and told["parameters"]["n_prosumers"] == 14
    # the search with limits of laterals, which did not close, has the same references
    other = read_json(RESULTS / "open.json")
    assert proof["flat"] == pytest.approx(other["flat"], abs=0.01)
    assert proof["first_best"] == pytest.approx(other["first_best"], abs=0.5)


def test_its_days_are_of_the_cases_that_are_stored():
    about, ready = read_json(RESULTS / "many.json"), MANY[NAME].prepared()
    assert about["table"] == digest((RESULTS / "many_days.csv").read_bytes())
    assert about["cases"] == {f"case-{number}": heldout.origin(ready, number) for number in (1, 2, 4)}


def test_its_days_are_those_of_the_others_and_its_gains_are_those_of_fewer_scenarios():
    kept = heldout.kept("ieee33-2045", heldout.REAL)
    assert set(DAILY["case"]) == {1, 2, 4}
    for case, mine in DAILY.groupby("case"):
        theirs = kept[case].daily
        assert sorted(zip(mine["day"], mine["policy"], strict=True)) == sorted(
            zip(theirs["day"], theirs["policy"], strict=True)
        )
        assert list(mine) == list(theirs)
    # verdicts are those of the design on the scenarios of preset fast
    fast = pd.concat([kept[case].daily for case in (1, 2, 4)])
    mine, theirs = (findings.comparisons(of).set_index(["base", "kind", "quantity"]) for of in (DAILY, fast))
    assert ((mine["p_value"] <= 0.05) == (theirs["p_value"] <= 0.05)).all()
    for kind, quantity in ((findings.OWN, "welfare_usd"), (findings.HARD, "secured_welfare_usd")):
        row = mine.loc[(1, kind, quantity)]
        assert row.change > 0 and row.p_value <= 0.05
        assert row.change == pytest.approx(theirs.loc[(1, kind, quantity), "change"], rel=0.01)
