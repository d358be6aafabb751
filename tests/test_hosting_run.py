"""`tritier hosting`: its files, findings on the IEEE 33-bus feeder, resuming, and bad input in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tritier.cli import main
from tritier.errors import CertificateError, InputError
from tritier.hosting import plan as hosting_model
from tritier.hosting import run as hosting_run
from tritier.hosting.robust import Iteration, relative_gap, solve_master
from tritier.hosting.rows import Watch
from tritier.hosting.run import (
    Question,
    State,
    check_plan,
    hosting_capacity,
    read_hosting,
    rounded,
    run,
    trace_table,
)
from tritier.hosting.stored import collect, read_plan
from tritier.inputs.settings import read_hosting_settings
from tritier.inputs.study import read_study
from tritier.provenance import sole_writer

STUDY = Path(__file__).resolve().parents[1] / "data/studies/ieee33"
FILES = {"summary.json", "decisions.npz", "trace.csv", "certificate.json", "provenance.json"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("hosting")
    return {
        (model, flexibility): (
            run(STUDY, Question(model, flexibility, "smoke"), out / f"{model}-{flexibility}").summary(),
            out,
        )
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
    kept = json.loads((tmp_path / "a" / "summary.json").read_text())
    low, high = (kept[f"hosted_{side}_bound_kw"] / 1e3 for side in ("lower", "upper"))
    assert f"hosted capacity: {kept['hosted_kw'] / 1e3:.4f} MW (bounds {low:.4f} {high:.4f})" in printed.out
    for verb in ("report", "evaluate"):
        assert main([verb, str(tmp_path / "a")]) == 2
        assert "is of a hosting plan, not of a case; tritier certify reads it" in capsys.readouterr().err
    assert hosting(tmp_path / "b", model="deterministic") == 0
    stored = json.loads((tmp_path / "b" / "summary.json").read_text())["stress"]
    shown = f"stress: {stored['lindistflow_days_violated']} of 12 days violated in LinDistFlow"
    assert stored["lindistflow_days_violated"] > 0 and shown in capsys.readouterr().out


def test_capacity_asked_for_at_least_cost(tmp_path, capsys):
    assert hosting(tmp_path / "none", "--hosted-mw", "500") == 2
    assert "ask for less with --hosted-mw" in capsys.readouterr().err
    assert hosting(tmp_path / "a", "--hosted-mw", "3", "--size-batteries", flexibility="p2p") == 0
    out = capsys.readouterr().out
    assert "hosted capacity: 3.0000 MW\n" in out and "annual cost on the mean days: bounds " in out
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
    line = capsys.readouterr().err.splitlines()[-1]
    assert "interrupted with bounds" in line and line.endswith(f"--resume goes on from {tmp_path / 'a.state.json'}")
    assert (tmp_path / "a.state.json").is_file() and not (tmp_path / "a").exists()
    monkeypatch.setattr(hosting_model, "column_and_constraint_generation", count)
    assert hosting(tmp_path / "b") == 0
    assert hosting(tmp_path / "a", "--resume") == 0
    assert masters[1] < masters[0] and not (tmp_path / "a.state.json").exists()
    hosted = [json.loads((tmp_path / n / "summary.json").read_text())["hosted_kw"] for n in ("whole", "a")]
    assert hosted[0] == pytest.approx(hosted[1], rel=1e-9)


def test_a_state_of_another_question_stays_and_a_damaged_one_is_named(tmp_path):
    state = State(tmp_path / "x.state.json", {"study": "this", "model": "robust"})
    state.write([(1, np.array([0.0, 1.0]))], Watch({1}, {2}, {3}))
    for key, value in (("study", "that"), ("model", "stochastic")):
        with pytest.raises(InputError, match=rf"run with another {key}; undo the change, or give --restart"):
            State(state.path, {"study": "this", "model": "robust"} | {key: value}).read()
    again = state.read()
    assert again["watch"] == Watch({1}, {2}, {3}) and again["scenarios"][0][1].tolist() == [0.0, 1.0]
    own = '{"origin": {"study": "this", "model": "robust"}, "watch": {}}'
    for text in ("{", "[" * 100_000, '{"origin": {}, "watch": ' + "9" * 5000 + "}", '{"origin": "this"}', "[]", own):
        state.path.write_text(text)
        said = "text: is damaged; give --restart" if text == own else "is no state of a run, but lies where it would go"
        with pytest.raises(InputError, match=said):
            state.read()
        assert state.path.read_text() == text


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


def test_a_record_keeps_capacities_to_the_last_digit(results):
    """Rounded to ten digits a plan at its limits would break one by a millionth of a kW."""
    folder = results["robust", "p2p"][1] / "robust-p2p"
    record = json.loads(json.dumps(collect("ieee33", folder)))
    with np.load(folder / "decisions.npz") as kept:
        assert record["decisions"]["pv_kw"] == kept["pv_kw"].tolist() != rounded(kept["pv_kw"].tolist())
    assert read_plan(record).hosted_kw == results["robust", "p2p"][0]["hosted_kw"]


def test_a_stored_result_certifies_by_the_verb(results, capsys):
    for model, flexibility in results:
        assert main(["certify", str(results[model, flexibility][1] / f"{model}-{flexibility}")]) == 0
        hosted = results[model, flexibility][0]["hosted_kw"]
        assert json.loads(capsys.readouterr().out)["upper_bound"] == pytest.approx(hosted, rel=2e-6) and hosted > 0


def test_changed_keys_are_kept_with_the_result_and_certified_with_it(tmp_path, capsys):
    """What ``--set`` says is part of what is asked: without it the result is of another study."""
    out, study = tmp_path / "out", STUDY.with_name("ieee33-2045")
    words = ["hosting", str(study), "--model", "deterministic", "--flexibility", "der", "--preset", "smoke", "--quiet"]
    changed = [*words, "--set", "vehicles.delay_h=0", "--set", "heat_pumps.delay_h=0"]
    assert main([*changed, "--out", str(out)]) == 0 and main(["certify", str(out)]) == 0
    assert json.loads((out / "provenance.json").read_text())["changes"] == {
        "vehicles.delay_h": "0",
        "heat_pumps.delay_h": "0",
    }
    hosted = json.loads((out / "summary.json").read_text())["hosted_kw"]
    assert main([*words, "--out", str(tmp_path / "waits")]) == 0
    assert hosted < json.loads((tmp_path / "waits" / "summary.json").read_text())["hosted_kw"] - 1.0
    capsys.readouterr()
    changed_json(out / "provenance.json", lambda origin: origin.update(changes={}))
    assert main(["certify", str(out)]) == 2 and "inputs_hash" in capsys.readouterr().err
    assert main([*words, "--set", "vehicles.delay=0", "--out", str(tmp_path / "none")]) == 2
    assert "vehicles.delay" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_capacity_at_least_cost_certifies(tmp_path):
    assert hosting(tmp_path / "a", "--hosted-mw", "3", "--size-batteries", flexibility="p2p") == 0
    assert main(["certify", str(tmp_path / "a")]) == 0


def changed_json(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


FORGED = {  # what is changed in a robust result, and what refuses it
    "more is hosted": ("decisions.npz", lambda a: a | {"pv_kw": a["pv_kw"] * 1.01}, "hosting.hosted_kw"),
    "scenarios are gone": ("decisions.npz", lambda a: a | {"scenario_u": a["scenario_u"] * 0}, "hosting.upper_bound"),
    "an upper bound": ("certificate.json", lambda c: c.update(upper_bound=c["upper_bound"] * 1.01), "hosting."),
    "a lower bound": ("certificate.json", lambda c: c.update(lower_bound=c["lower_bound"] * 0.99), "hosting."),
    "a figure": ("summary.json", lambda s: s.update(annual_cost_usd=1.0), "annual_cost_usd"),
    "judged days": ("summary.json", lambda s: s["held_out"].update(operating_cost_usd=1.0), "operating_cost_usd"),
    "a point outside its set": ("decisions.npz", lambda a: a | {"scenario_u": a["scenario_u"] * 2}, "hosting.scenario"),
    "vertices": ("certificate.json", lambda c: c["design"].update(vertices_checked=10**9), "hosting.vertices_checked"),
    "a gap": ("certificate.json", lambda c: c["design"].update(gap_relative=0.5), "hosting.gap_relative"),
    "an excess": ("certificate.json", lambda c: c["design"].update(worst_overload_kw=9.0), "hosting.worst_overload_kw"),
    "violated points": ("certificate.json", lambda c: c.update(stress_days_violated=3), "stress_days_violated"),
    "a stress set": ("summary.json", lambda s: s["stress"].update(ac_highest_voltage_pu=1.0), "ac_highest_voltage_pu"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_result_is_refused(name, results, tmp_path, capsys):
    file, change, blamed = FORGED[name]
    folder = shutil.copytree(results["robust", "p2p"][1] / "robust-p2p", tmp_path / "copy")
    if file == "decisions.npz":
        with np.load(folder / file) as arrays:
            np.savez(folder / file, **change(dict(arrays)))
    else:
        changed_json(folder / file, change)
    assert main(["certify", str(folder), "--study", str(STUDY), "--quiet"]) == 1  # a slow machine says how far it is
    line = capsys.readouterr().err
    assert line.startswith("tritier: certificate ") and blamed in line and line.count("\n") == 1


def test_a_bound_from_points_outside_the_sets_proves_no_smaller_plan(results):
    """The best plan of a relaxation that asks for twice the deviations reaches what that relaxation proves."""
    result = read_hosting(results["robust", "p2p"][1] / "robust-p2p", STUDY)
    case, scenarios = result.problem.case, [(k, 2 * u) for k, u in result.plan.scenarios]
    y, bound = solve_master(hosting_model.two_stage(case, result.plan.watch), scenarios)
    pv, wind, battery = np.maximum(y, 0.0).reshape(3, -1)
    less = Iteration(1, bound, bound, len(scenarios), 0.0, 0.0, 0.0)
    found = {"pv_kw": pv, "wind_kw": wind, "battery_kwh": battery, "trace": (less,), "scenarios": tuple(scenarios)}
    plan = replace(result.plan, lower_bound=-bound, upper_bound=-bound, **found)
    assert plan.hosted_kw == pytest.approx(-bound) and plan.hosted_kw < 0.9 * result.plan.hosted_kw
    with pytest.raises(CertificateError, match=r"hosting\.scenario"):
        check_plan(result.problem, result.asked, plan)


def test_less_than_was_asked_for_and_bounds_that_do_not_meet_are_refused(results):
    """At a capacity asked for, a plan of half of it costs less, and without scenarios nothing says that it may not."""
    own = results["robust", "none"][1] / "robust-none"
    result = read_hosting(own, STUDY)
    asked = replace(result.asked, hosted_kw=0.5 * result.plan.hosted_kw)
    case = result.problem.case
    for share, blamed in ((0.25, "hosting.hosted_kw"), (0.5, "hosting.gap")):
        plan = replace(result.plan, pv_kw=share * result.plan.pv_kw, wind_kw=share * result.plan.wind_kw, scenarios=())
        reached, certificate = hosting_model.swept(case, plan, asked.hosted_kw)
        least = hosting_model.relaxed_bound(case, plan, asked.hosted_kw)
        assert least < reached
        plan = replace(plan, lower_bound=least, upper_bound=reached)
        plan = replace(plan, certificate=certificate | {"gap_relative": relative_gap(least, reached)})
        with pytest.raises(CertificateError, match=blamed):
            check_plan(result.problem, asked, plan)


def test_bounds_by_iteration_that_end_elsewhere_are_refused(results):
    result = read_hosting(results["robust", "none"][1] / "robust-none", STUDY)
    for side in ("lower_bound", "upper_bound"):
        last = replace(result.plan.trace[-1], **{side: 1.02 * getattr(result.plan.trace[-1], side)})
        with pytest.raises(CertificateError, match=r"hosting\.trace"):
            check_plan(result.problem, result.asked, replace(result.plan, trace=(last,)))


def test_a_forged_plan_whose_summary_says_the_same_is_refused(results):
    result = read_hosting(results["robust", "p2p"][1] / "robust-p2p", STUDY)
    plan = result.plan
    forged = {
        "hosting.capacity": replace(plan, pv_kw=plan.pv_kw + 1e6),
        "hosting.gap": replace(plan, pv_kw=plan.pv_kw * 1.01, lower_bound=1.01 * plan.lower_bound),
        "hosting.lower_bound": replace(plan, pv_kw=plan.pv_kw * 0.99),
        "hosting.upper_bound": replace(plan, scenarios=tuple((k, 0 * u) for k, u in plan.scenarios)),
    }
    for name, other in forged.items():
        with pytest.raises(CertificateError, match=name):
            check_plan(result.problem, result.asked, other)
    stochastic = read_hosting(results["stochastic", "none"][1] / "stochastic-none", STUDY)
    more = replace(stochastic.plan, certificate=stochastic.plan.certificate | {"scenarios": 10**6})
    with pytest.raises(CertificateError, match=r"hosting\.scenarios"):
        check_plan(stochastic.problem, stochastic.asked, more)
    room = stochastic.problem.case.pv_limit
    other = replace(stochastic.plan, pv_kw=np.minimum(1.05 * stochastic.plan.pv_kw + 10.0, room))
    for upper, blamed in ((other.hosted_kw, "upper_bound"), (stochastic.plan.upper_bound, "chance")):
        with pytest.raises(CertificateError, match=blamed):
            forged_plan = replace(other, lower_bound=other.hosted_kw, upper_bound=upper)
            check_plan(stochastic.problem, stochastic.asked, forged_plan)


def test_damaged_and_foreign_results_are_one_line(results, tmp_path, capsys):
    whole = results["robust", "p2p"][1] / "robust-p2p"
    for name, text in (("decisions.npz", "no arrays"), ("trace.csv", "a,b\n1,x"), ("certificate.json", "{}")):
        folder = shutil.copytree(whole, tmp_path / name)
        (folder / name).write_text(text)
        assert main(["certify", str(folder), "--study", str(STUDY)]) == 2
        assert "run the hosting study again with --out" in capsys.readouterr().err
    folder = shutil.copytree(whole, tmp_path / "other")
    changed_json(folder / "provenance.json", lambda p: p["asked"].update(preset="fast"))
    assert main(["certify", str(folder), "--study", str(STUDY)]) == 2
    assert "provenance.json: preset: is another than the study's today" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_that_the_next_run_minds(tmp_path, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(hosting_run.np, "savez", full)
        assert hosting(tmp_path / "a") == 2
    assert f"{tmp_path}/a/decisions.npz: No space left" in capsys.readouterr().err.splitlines()[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["a.state.json"]
    assert hosting(tmp_path / "a", "--resume") == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_two_runs_into_one_folder_are_one_too_many(tmp_path, capsys):
    with sole_writer(tmp_path / "a"):
        assert hosting(tmp_path / "a") == 2
    assert "is being written by another run" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["robust", "stochastic"])
def test_processes_decide_nothing(model):
    study = read_study(STUDY)
    one, two = (hosting_capacity(study, model, "p2p", preset="smoke", jobs=jobs) for jobs in (1, 2))
    assert one.summary() == two.summary()
    assert np.array_equal(one.plan.y, two.plan.y) and one.plan.certificate == two.plan.certificate
    assert [one.held_out, one.stress] == [two.held_out, two.stress]
    assert one.certify(jobs=2) == two.certify()


def test_a_bound_on_hosted_capacity_never_goes_back():
    """A pass that proves less than an earlier one leaves the bound where it was, which is zero at first."""
    steps = ((-50.0, np.inf), (-40.0, 37.7), (-42.0, -20.0), (-30.0, -10.0))
    plan = SimpleNamespace(trace=[Iteration(k, low, up, 1, 0.0, 0.0, 0.0) for k, (low, up) in enumerate(steps, 1)])
    table = trace_table(plan)
    assert table["lower_bound"].tolist() == [0.0, 0.0, 20.0, 20.0]
    assert table["upper_bound"].tolist() == [50.0, 40.0, 40.0, 30.0]
