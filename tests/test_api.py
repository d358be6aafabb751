"""The public API: its five lines run, its names are there and documented, and importing it takes no time."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_study import write_study

import tritier as tt
from tritier.cases.result import made_from, solve_case
from tritier.cases.solve import prepare
from tritier.reformulation.files import read_bilevel

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "data" / "studies" / "ieee33"
SMALL = {"n_scenarios": 2}


@pytest.fixture(scope="module")
def study():
    return tt.read_study(STUDY, changes={"load.scale": 1.02})


@pytest.fixture(scope="module")
def result(study):
    return tt.solve(study, case=4, preset="smoke", gap=0.2, changes=SMALL)


def test_design_bounds_summary_and_certificates_of_a_result(result):
    assert result.design.capacity and len(result.design.tariff) == 3
    assert result.bounds.lower_bound <= result.bounds.upper_bound and result.bounds.gap <= 0.2
    assert result.summary()["case"] == 4 and np.isfinite(result.summary()["welfare_usd"])
    said: list[str] = []
    assert result.certify(progress=said.append)["design"]["upper_bound"] == result.bounds.upper_bound
    checks = [re.match(r"check (\d) of 8: (\w.*\w)", line).groups() for line in said]
    numbers = [int(number) for number, _ in checks]
    assert sorted(set(numbers)) == list(range(1, 9)) and numbers == sorted(numbers), "which check of how many"
    assert any("proof of the search, row 1 of" in name for _, name in checks)


def test_a_result_is_written_read_certified_and_written_again(result, tmp_path):
    again = tt.read_result(result.write(tmp_path / "deep" / "c4"))
    assert again.certify(jobs=2) == result.certificates()
    assert again.design == result.design and again.origin == result.origin
    copy = again.write(tmp_path / "copy")
    assert (copy / "proof.npz").read_bytes() == (tmp_path / "deep" / "c4" / "proof.npz").read_bytes()


def test_a_result_says_all_that_it_was_asked(result, study):
    origin = result.origin
    assert (origin["gap"], origin["engine"], origin["jobs"], origin["seed"]) == (0.2, "tree", 1, 2016)
    assert origin["changes"] == {"load.scale": "1.02", "n_scenarios": "2"}
    assert origin["parameters"] | SMALL == origin["parameters"]
    assert origin["data_hash"] == study.data_hash and origin["commit"] and origin["versions"]["highspy"]


def test_evaluation_of_a_result(result, tmp_path):
    found = tt.evaluate(result, days="held-out")
    assert found.headline["policy"] == "market policy" and found.headline["days"] == len(found.table) // 3
    found.write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evaluation.csv", "physics.json"]


def test_hosting_capacity_of_a_study(study, tmp_path):
    result = tt.hosting_capacity(study, model="deterministic", flexibility="none", preset="smoke")
    assert result.summary()["hosted_kw"] == pytest.approx(result.plan.hosted_kw) and result.plan.hosted_kw > 0
    assert result.certify()["upper_bound"] == pytest.approx(result.plan.hosted_kw, rel=1e-6)


def test_a_bilevel_problem():
    problem = read_bilevel(ROOT / "tests" / "data" / "bilevel" / "tariff_menu.json")
    assert isinstance(problem, tt.LinearBilevel)
    found = tt.solve_bilevel(problem, mode="sos1")
    assert found.status == "optimal" and found.objective == tt.solve_bilevel(problem, mode="bigm").objective


UNASKABLE = {
    "case as text": ({"case": "4"}, "--case: case: there is no case '4'; choose one of 0, 1, 2, 3, 4"),
    "gap as text": ({"gap": "x"}, "--gap: gap: 'x' is not a share; give a number between 0 and 1"),
    "part of a process": ({"jobs": 1.5}, "--jobs: jobs: 1.5 is no number of processes"),
    "unknown engine": ({"engine": "x"}, "--engine: engine: unknown engine 'x'; choose one of tree, scip"),
}


@pytest.mark.parametrize("name", UNASKABLE)
def test_what_cannot_be_asked_is_refused_in_one_line(name, study):
    """Also of a case whose design is no search."""
    wrong, message = UNASKABLE[name]
    with pytest.raises(tt.InputError, match=f"^{re.escape(message)}"):
        tt.solve(study, **{"case": 1, "preset": "smoke"} | wrong)


def test_a_key_left_open_is_told_as_it_was_given(study):
    """Read again from its text, None leaves the voltage margin open, and a list is a list."""
    asked = {"voltage_margin_pu": None, "n_scenarios": 3, "menus.smoke.p2p": (0.0, 0.02)}
    prepared = prepare(study.folder, "smoke", asked)
    assert prepared.changes == {"voltage_margin_pu": "null", "n_scenarios": "3", "menus.smoke.p2p": "[0.0, 0.02]"}
    again = prepare(study.folder, "smoke", prepared.changes)
    assert again.study.settings == prepared.study.settings and again.preset == prepared.preset
    assert again.instance.rules.voltage_margin == prepared.instance.rules.voltage_margin


def test_a_study_that_is_read_does_not_change(study):
    with pytest.raises(tt.InputError, match=r"load\.scale: cannot change once the study is read"):
        prepare(study, "smoke", {"load.scale": 1.0})


OTHERS = {"scenarios": {"n_scenarios": 3}, "gap": {"gap": 0.2}, "seed": {"seed": 7}, "judged days": {"days_used": 2}}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Case 0 of the small study as it is stored, and what it was made from."""
    folder = tmp_path_factory.mktemp("stored")
    ready = prepare(write_study(folder / "study"), "smoke", {"n_scenarios": 2})
    return solve_case(ready, 0).write(folder / "case"), ready


@pytest.mark.parametrize("name", OTHERS)
def test_a_preset_with_anything_else_is_not_the_stored_case(name, stored):
    """Though the preset's name, the data and the changes on record are the same."""
    place, ready = stored
    assert made_from(place, ready)
    other = replace(ready, preset=replace(ready.preset, **OTHERS[name]))
    assert other.changes == ready.changes and not made_from(place, other)


def test_a_result_at_a_larger_gap_than_the_preset_s_is_not_the_stored_case(result, tmp_path):
    ready = result.prepared
    assert not made_from(result.write(tmp_path / "case"), ready)  # 0.2 was asked for, smoke has 0.1


def test_every_public_name_is_there_typed_and_documented():
    assert set(tt.__all__) <= set(dir(tt))
    for name in tt.__all__:
        thing = getattr(tt, name)
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            assert all(p.annotation is not p.empty for p in inspect.signature(thing).parameters.values()), name
    with pytest.raises(AttributeError, match="nothing"):
        _ = tt.nothing


def test_importing_takes_no_time():
    begin = time.perf_counter()
    heavy = (
        "import sys, tritier; print(sorted({'numpy', 'pandas', 'cvxpy', 'highspy', 'pyscipopt'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "[]\n"
    assert time.perf_counter() - begin < 1.5
