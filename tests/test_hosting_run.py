"""`tritier hosting`: its files, findings on the IEEE 33-bus feeder, resuming, and bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tritier.cli import main
from tritier.errors import InputError
from tritier.hosting import plan as hosting_model
from tritier.hosting import run as hosting_run
from tritier.hosting.rows import Watch
from tritier.hosting.run import Question, State, run
from tritier.inputs.settings import read_hosting_settings

STUDY = Path(__file__).resolve().parents[1] / "data/studies/ieee33"
FILES = {"summary.json", "decisions.npz", "trace.csv", "certificate.json", "provenance.json"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("hosting")
    return {
        (model, flexibility): (run(STUDY, Question(model, flexibility, "smoke"), out / f"{model}-{flexibility}"), out)
        for model, flexibility in [
            ("robust", "none"),
            ("robust", "p2p"),
            ("deterministic", "p2p"),
            ("stochastic", "none"),
        ]
    }


def test_files_of_a_run(results):
    summary, out = results["robust", "p2p"]
    folder = out / "robust-p2p"
    assert {path.name for path in folder.iterdir()} == FILES
    assert not list(out.glob("*.state.json*"))
    stored = json.loads((folder / "summary.json").read_text())
    assert stored["hosted_kw"] == pytest.approx(summary["hosted_kw"])
    decisions = np.load(folder / "decisions.npz")
    assert decisions["pv_kw"].sum() + decisions["wind_kw"].sum() == pytest.approx(summary["hosted_kw"], rel=1e-9)
    trace = pd.read_csv(folder / "trace.csv")
    assert (trace.lower_bound <= trace.upper_bound + 1e-3).all()
    assert trace.lower_bound.iloc[-1] == pytest.approx(trace.upper_bound.iloc[-1], rel=1e-6)
    assert (np.diff(trace.upper_bound) <= 1e-3).all()


def test_ieee33_findings_that_must_hold(results):
    robust, forecast = results["robust", "p2p"][0], results["deterministic", "p2p"][0]
    assert robust["stress"]["lindistflow_days_violated"] == 0
    assert forecast["stress"]["lindistflow_days_violated"] > 0
    assert forecast["hosted_kw"] > robust["hosted_kw"] > results["robust", "none"][0]["hosted_kw"]
    assert robust["stress"]["ac_overvoltage_share"] == 0  # LinDistFlow never reads a voltage too low
    assert 0 < results["stochastic", "none"][0]["hosted_kw"] < forecast["hosted_kw"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("robust", "solar", "smoke"), "--flexibility"),
        (("perfect", "none", "smoke"), "--model"),
        (("robust", "none", "huge"), "--preset"),
    ],
)
def test_unknown_words_are_named(arguments, field, tmp_path):
    with pytest.raises(InputError, match=field):
        run(STUDY, Question(*arguments), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("curtail_share: 2", "curtail_share"),
        ("roof: 1", "roof"),
        ("pv_potential: -1", "pv_potential"),
        ("- 1", "file"),
        ("penalty: yes", "penalty"),
        ("a: [", "line 1"),
        ("envelope: .nan", "envelope"),
        ("pv_potential: .inf", "pv_potential"),
    ],
)
def test_bad_hosting_yaml_is_one_line(text, field, tmp_path):
    (tmp_path / "hosting.yaml").write_text(text)
    with pytest.raises(InputError, match=field) as caught:
        read_hosting_settings(tmp_path)
    assert "\n" not in str(caught.value)


def hosting(out: Path, *more: str, model: str = "robust", flexibility: str = "none") -> int:
    words = ["hosting", str(STUDY), "--model", model, "--flexibility", flexibility, "--preset", "smoke"]
    return main([*words, "--out", str(out), *more])


def test_command_prints_lindistflow_beside_ac(tmp_path, capsys):
    assert hosting(tmp_path / "a") == 0
    printed = capsys.readouterr()
    assert "stress: 0 of 12 days violated in LinDistFlow; AC: 0 with overvoltage" in printed.out
    assert "bounds" in printed.err and "planning" in printed.err
    assert hosting(tmp_path / "b", model="deterministic") == 0
    stored = json.loads((tmp_path / "b" / "summary.json").read_text())["stress"]
    shown = f"stress: {stored['lindistflow_days_violated']} of 12 days violated in LinDistFlow"
    assert stored["lindistflow_days_violated"] > 0 and shown in capsys.readouterr().out


def test_capacity_asked_for_at_least_cost(tmp_path):
    assert hosting(tmp_path / "a", "--hosted-mw", "3", "--size-batteries", flexibility="p2p") == 0
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["hosted_kw"] == pytest.approx(3000.0, rel=1e-9)
    assert summary["cost_lower_bound_usd"] == pytest.approx(summary["cost_upper_bound_usd"], rel=1e-6)
    trace = pd.read_csv(tmp_path / "a" / "trace.csv")
    assert trace.lower_bound.iloc[-1] <= trace.upper_bound.iloc[-1] * (1 + 1e-9)


def test_budget_of_zero_is_the_forecast_plan(tmp_path):
    assert hosting(tmp_path / "a", "--budget", "0") == 0
    assert hosting(tmp_path / "b", model="deterministic") == 0
    hosted = [json.loads((tmp_path / n / "summary.json").read_text())["hosted_kw"] for n in "ab"]
    assert hosted[0] == pytest.approx(hosted[1], rel=1e-9)


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path, monkeypatch, capsys):
    assert hosting(tmp_path / "whole") == 0
    masters, true = [], hosting_model.column_and_constraint_generation

    def count(*arguments, **options):
        solution = true(*arguments, **options)
        masters.append(len(solution.trace))
        return solution

    def cut(*arguments, progress=None, **options):
        def stop(step, scenarios):
            progress(step, scenarios)
            if step.iteration == 2:
                raise KeyboardInterrupt

        return true(*arguments, progress=stop, **options)

    monkeypatch.setattr(hosting_model, "column_and_constraint_generation", cut)
    assert hosting(tmp_path / "a") == 130
    assert "--resume goes on" in capsys.readouterr().err
    assert (tmp_path / "a.state.json").is_file() and not (tmp_path / "a").exists()
    monkeypatch.setattr(hosting_model, "column_and_constraint_generation", count)
    assert hosting(tmp_path / "b") == 0
    assert hosting(tmp_path / "a", "--resume") == 0
    assert masters[1] < masters[0] and not (tmp_path / "a.state.json").exists()
    hosted = [json.loads((tmp_path / n / "summary.json").read_text())["hosted_kw"] for n in ("whole", "a")]
    assert hosted[0] == pytest.approx(hosted[1], rel=1e-9)


def test_state_of_another_question_is_not_used_and_a_broken_one_is_named(tmp_path):
    state = State(tmp_path / "x.state.json", "this")
    state.write([(1, np.array([0.0, 1.0]))], Watch({1}, {2}, {3}))
    assert State(state.path, "other").read() == {}
    again = state.read()
    assert again["watch"] == Watch({1}, {2}, {3}) and again["scenarios"][0][1].tolist() == [0.0, 1.0]
    for text in ("{", "[" * 100_000, '{"origin": "this", "watch": ' + "9" * 5000 + "}", '{"origin": "this"}', "[]"):
        state.path.write_text(text)
        with pytest.raises(InputError, match="run without --resume"):
            state.read()


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (("--hosted-mw", "-1"), "--hosted-mw"),
        (("--hosted-mw", "nan"), "--hosted-mw"),
        (("--hosted-mw", "18"), "--hosted-mw"),
        (("--budget", "-1"), "--budget"),
        (("--budget", "nan"), "--budget"),
        (("--size-batteries",), "--size-batteries"),
        (("--jobs", "-3"), "--jobs"),
        (("--jobs", "9999"), "--jobs"),
    ],
)
def test_bad_numbers_are_one_line_and_exit_code_2(more, field, tmp_path, capsys):
    assert hosting(tmp_path / "a", *more) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("tritier: ") and field in message
    assert not (tmp_path / "a").exists() and not (tmp_path / "a.state.json").exists()


def test_stochastic_cannot_be_asked_for_a_capacity(tmp_path, capsys):
    assert hosting(tmp_path / "a", "--hosted-mw", "1", model="stochastic") == 2
    assert "stochastic" in capsys.readouterr().err


def test_out_is_not_overwritten_where_it_holds_something_else(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    for name in ("file", "folder"):
        assert hosting(tmp_path / name) == 2
        assert "--out" in capsys.readouterr().err


def test_missing_study_is_one_line(tmp_path, capsys):
    words = ["hosting", str(tmp_path / "none"), "--model", "robust", "--flexibility", "none", "--out", str(tmp_path)]
    assert main(words) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_violated_stress_point_refuses_the_plan(tmp_path, monkeypatch, capsys):
    true = hosting_run.stress_figures
    monkeypatch.setattr(hosting_run, "stress_figures", lambda *a: true(*a) | {"lindistflow_days_violated": 1})
    assert hosting(tmp_path / "a") == 1
    assert "hosting.stress" in capsys.readouterr().err and not (tmp_path / "a").exists()
