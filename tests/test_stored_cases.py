"""The cases stored at preset paper: all there, made from today's data, and certified again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tritier.cases.cases import CASES
from tritier.cases.result import FOLDER, READY, made_from, origin_in_words, read_or_solve, stored
from tritier.cases.solve import prepare
from tritier.cli import main
from tritier.inputs.documents import read_json
from tritier.inputs.settings import PRESETS

PLACES = [f"{name}/case-{number}" for name in READY for number in CASES]
STUDIES = Path(__file__).resolve().parents[1] / "data" / "studies"
STUDY = STUDIES / "ieee33"

pytestmark = pytest.mark.usefixtures("prepared_once")


@pytest.fixture(scope="module", params=READY)
def prepared(request):
    return request.param, READY[request.param].prepared()


def test_every_case_of_a_set_is_stored_for_the_data_as_they_are(prepared):
    name, ready = prepared
    assert ready.preset.n_prosumers >= 12
    assert ready.preset.n_scenarios >= (50 if ready.preset.name == "paper" else 12)
    for number in CASES:
        assert stored(ready, number) == FOLDER / name / f"case-{number}"
        origin = read_json(FOLDER / name / f"case-{number}" / "provenance.json")  # a '+': beside results not committed
        assert origin["commit"] != "unknown" and origin["preset"] == ready.preset.name


def test_designs_are_proved_on_the_long_menu(prepared):
    name, ready = prepared
    for number in (3, 4):
        design = read_json(FOLDER / name / f"case-{number}" / "certificate.json")["design"]
        assert design["gap"] <= (READY[name].gap or PRESETS[ready.preset.name].gap) and design["proof"] == "closed"
        if ready.preset.name == "paper" and not ready.changes:
            assert design["menu_points"] >= 10**5
            assert design["lp_solves"] < 0.01 * design["menu_points"]


def test_a_case_that_was_asked_for_a_wider_gap_than_its_set_asks_does_not_count(monkeypatch):
    """The preset's gap counted before, which is five times as wide as that of the set with all scenarios."""
    name, of = "2045-head", READY["2045-head"]
    ready, made = of.prepared(), [FOLDER / name / f"case-{number}" for number in (1, 4)]
    assert of.gap == read_json(made[1] / "provenance.json")["gap"] < ready.preset.gap
    assert all(made_from(folder, ready) for folder in made)
    monkeypatch.setitem(READY, name, of._replace(gap=of.gap / 2))
    assert [made_from(folder, ready) for folder in made] == [True, False]


def test_every_stored_folder_is_a_case_of_a_set():
    assert {f.relative_to(FOLDER).as_posix() for f in FOLDER.glob("*/*/")} == set(PLACES)


class Certified:
    """The cases of a set certify. A class for each set: a worker of the tests takes a set as a whole, whose instance
    and anchored cost its cases share, and several take the sets between them."""

    name = ""

    @pytest.mark.parametrize("number", CASES)
    def test_a_stored_case_certifies_whole(self, number, capsys):
        """As a user would: every row of a proof read off its basis, the flat tariff, the days, SCIP's word, all
        figures."""
        jobs = "2" if (self.name, number) == ("2045-odd", 3) else "1"  # every worker of the tests has a core already
        assert main(["certify", str(FOLDER / self.name / f"case-{number}"), "--jobs", jobs]) == 0
        told = capsys.readouterr()
        found = json.loads(told.out)
        assert ("design" in found) == (number in (3, 4))
        if "design" in found:
            assert found["design"]["proof"] == "closed" and "proof closed: " in told.err


class TestOfManyScenarios(Certified):
    name = "2045-head"


class TestOdd(Certified):
    name = "odd"


class TestEven(Certified):
    name = "even"


class TestElectrifiedOdd(Certified):
    name = "2045-odd"


class TestElectrifiedEven(Certified):
    name = "2045-even"


class TestOfTheBook(Certified):
    name = "fast-odd"


def test_every_set_is_certified():
    assert sorted(of.name for of in Certified.__subclasses__()) == sorted(READY)


def test_a_case_that_is_not_stored_is_solved():
    ready = prepare(STUDY, "smoke")
    assert stored(ready, 0) is None and origin_in_words(ready, 0) == "solved on this page"
    assert read_or_solve(ready, 0).response is not None


def test_a_stored_case_says_where_it_comes_from():
    ready = prepare(STUDY, "paper")
    assert origin_in_words(ready, 1).startswith("read from data/results/cases/odd/case-1, solved by commit ")
    assert not read_or_solve(ready, 1).trace.size and read_or_solve(ready, 1).response is None
    assert stored(prepare(STUDY, "paper", {"chance_level": 0.1}), 1) is None
