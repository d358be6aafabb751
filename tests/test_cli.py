"""The command line: known answers, one line for every mistake, nothing left half-written."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_study import change_settings, replace_text, write_study
from solved_small import CONGESTED, congested_study, solve, words

from tritier.cases import result as results
from tritier.cases import store
from tritier.cases.result import Result, read_result
from tritier.cli import main

ROOT = Path(__file__).parents[1]
FEEDERS = ROOT / "tests" / "data" / "feeders"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("cli") / "study")


@pytest.fixture(scope="module")
def result(study):
    """Case 0 of the small study, which no test changes."""
    return solve(study, 0, study.parent / "case0", {})


def refused(arguments, capsys) -> str:
    """The one line that a command ends in, with exit code 2."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as stop:  # argparse
        code = stop.code
    told = capsys.readouterr()
    assert code == 2
    assert told.out == ""
    line = told.err
    assert line.count("\n") == 1 and line.startswith("tritier"), line
    assert "Traceback" not in line
    return line


def run(arguments, capsys) -> str:
    capsys.readouterr()
    assert main(arguments) == 0
    return capsys.readouterr().out


# feeder


@pytest.mark.parametrize("folder", [FEEDERS, ROOT / "data" / "feeders"], ids=["tests", "data"])
@pytest.mark.parametrize(
    ("name", "losses", "v_min", "bus", "linear"),
    [("ieee33", 202.6771, 0.91309, 18, 0.91593), ("ieee69", 224.9917, 0.90919, 65, 0.91306)],
)
def test_feeder_gives_the_published_figures(folder, name, losses, v_min, bus, linear, capsys):
    """Baran & Wu 1989; the table in tests/data/feeders/README.md."""
    told = run(["feeder", str(folder / f"{name}_bus.csv"), str(folder / f"{name}_branch.csv"), "--json"], capsys)
    report = json.loads(told)
    assert report["ac_losses_kw"] == pytest.approx(losses, abs=1e-3)
    assert report["v_min_pu"] == pytest.approx(v_min, abs=1e-5)
    assert report["v_min_bus"] == bus
    assert report["lindistflow_v_min_pu"] == pytest.approx(linear, abs=1e-5)


def test_feeder_in_words_and_in_json_agree(study, capsys):
    files = [str(study / "bus.csv"), str(study / "branch.csv")]
    report = json.loads(run(["feeder", *files, "--json"], capsys))
    lines = dict(line.split(": ") for line in run(["feeder", *files], capsys).splitlines())
    assert list(lines) == list(report)
    for key, value in report.items():
        assert float(lines[key]) == pytest.approx(value, abs=5e-7)


def test_feeder_with_files_exchanged_or_missing(study, tmp_path, capsys):
    line = refused(["feeder", str(study / "branch.csv"), str(study / "bus.csv")], capsys)
    assert "branch.csv: column" in line
    line = refused(["feeder", str(tmp_path / "none.csv"), str(study / "branch.csv")], capsys)
    assert "none.csv: file: " in line


# solve: mistakes. Each: words that replace or follow those of a good call, then a piece of the line.

STUDY = "study.yaml: "
MISTAKES = {
    "unknown preset": (["--preset", "huge"], "--preset: preset: unknown preset 'huge'; choose one of smoke, fast"),
    "unknown case": (["--case", "5"], "--case: case: there is no case 5; choose one of 0, 1, 2, 3, 4"),
    "case in words": (["--case", "full"], "argument --case: invalid int value: 'full'"),
    "unknown option": (["--color", "red"], "unrecognized arguments: --color red"),
    "no menu for the preset": (["--preset", "fast"], STUDY + "menus.fast: is missing; add a menu for preset fast"),
    "gap of one": (["--gap", "1"], "--gap: gap: 1 is not a share; give a number between 0 and 1"),
    "gap not a number": (["--gap", "nan"], "--gap: gap: nan is not a share; give a number between 0 and 1"),
    "no process": (["--jobs", "0"], "--jobs: jobs: 0 is no number of processes; give 1 to 256"),
}
CHANGES = {  # the same for one --set
    "n_scenarios": "--set: n_scenarios: is not KEY=VALUE; write for example",
    "=3": "--set: =3: is not KEY=VALUE; write for example",
    "n_prosumer=2": "--set: n_prosumer: is a key neither of the preset nor of study.yaml; use one of",
    "risk.gamma=0.5": STUDY + "risk.gamma: is an unknown key; use one of alpha",
    "chance_level.a=1": STUDY + "chance_level.a: chance_level has no keys of its own; use a dotted key",
    "n_prosumers=all": "--set: n_prosumers: 'all' is not allowed; it should be a valid integer",
    "n_scenarios=2.5": "--set: n_scenarios: 2.5 is not allowed; it should be a valid integer",
    "n_scenarios=0": "--set: n_scenarios: 0 is not allowed; it should be greater than or equal to 1",
    "n_scenarios=100000": STUDY + "season: too few days: 100000 scenarios of",
    "gap=2": "--set: gap: 2 is not allowed; it should be less than 1",
    "chance_level=few": STUDY + "chance_level: 'few' is not allowed; it should be a valid number",
    "chance_level=1.5": STUDY + "chance_level: 1.5 is not allowed; it should be less than or equal to 0.5",
    "fixed_cost_usd=nan": STUDY + "fixed_cost_usd: 'nan' is not allowed; it should be",
    "season.months=[3,": "--set: line 1: is not YAML; give season.months a number",
    "season.months=[13]": STUDY + "season.months.0: 13 is not allowed; it should be less than",
    "season.months=monsoon": STUDY + "season.months: unknown season 'monsoon'; give month numbers",
    "feed_in_usd_per_kwh=0.4": STUDY + "feed_in_usd_per_kwh: 0.4 is above the retail price 0.25: importing",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_change_ends_in_one_line_and_writes_nothing(change, study, tmp_path, capsys):
    assert CHANGES[change] in refused([*words(study, 1, tmp_path / "out", {}), "--set", change], capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", MISTAKES)
def test_solve_ends_in_one_line_and_writes_nothing(case, study, tmp_path, capsys):
    extra, piece = MISTAKES[case]
    out = tmp_path / "deep" / "out"
    assert piece in refused([*words(study, 1, out, {}), *extra], capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_profile_is_printed_and_lies_beside_the_trace(study, tmp_path, capsys):
    out = tmp_path / "out"
    told = run([*words(study, 4, out, {}), "--profile", "--quiet"], capsys).splitlines()
    profile, seconds = pd.read_csv(out / "profile.csv"), json.loads((out / "provenance.json").read_text())["seconds"]
    assert profile["seconds"].sum() == pytest.approx(seconds, abs=0.01)
    assert (profile["seconds"] >= 0).all() and {"case", "first best", "proof", "idle"} <= set(profile["phase"])
    assert len(told) == 1 + profile["phase"].nunique() and "simplex" in told[0]
    row = next(line for line in told if line.startswith("flat tariff")).split()
    assert float(row[-3]) == pytest.approx(profile.groupby("phase")["seconds"].sum()["flat tariff"], abs=0.006)
    assert solve(study, 4, out, {}) == out, "a result with a profile gives way to another"
    assert not (out / "profile.csv").exists()


@pytest.mark.parametrize("number", [1, 4])
def test_a_revenue_that_no_flat_tariff_recovers(number, study, tmp_path, capsys):
    """The flat tariff, of up to 1 $/kWh, is on every menu."""
    assert main(words(study, number, tmp_path / "out", {"fixed_cost_usd": 1e6, "n_scenarios": 2})) == 2
    *progress, line = capsys.readouterr().err.splitlines()
    assert line.startswith("tritier: ") and not any(p.startswith("tritier: ") for p in progress)
    assert "fixed_cost_usd: no flat tariff up to 1 $/kWh recovers 1000000.00 $/day; lower" in line
    assert list(tmp_path.iterdir()) == []


def test_a_network_charge_that_does_not_cover_the_demand_charge_leaves_no_fixed_cost_and_is_told(
    study, tmp_path, capsys
):
    for charge, told in ((0.001, True), (0.0833, False)):
        out = tmp_path / f"{charge}"
        assert main(words(study, 1, out, {"network_charge_usd_per_kwh": charge, "n_scenarios": 2})) == 0
        assert ("mind: network_charge_usd_per_kwh: recovers no more in Case 1" in capsys.readouterr().err) == told
        assert (json.loads((out / "summary.json").read_text())["fixed_cost_usd"] == 0) == told


def test_mistakes_that_only_the_model_sees_name_the_study_s_own_files(tmp_path, capsys):
    folder = write_study(tmp_path / "study")
    code = main(words(folder, 1, tmp_path / "out", {"fixed_cost_usd": 1e6, "n_scenarios": 2}))
    assert code == 2 and f"{folder / 'study.yaml'}: fixed_cost_usd: no flat" in capsys.readouterr().err
    line = refused(words(folder, 1, tmp_path / "out", {"load.peak_kw": 0.001}), capsys)
    assert f"{folder / 'study.yaml'}: voltage_margin_pu: cannot be measured" in line
    replace_text(folder / "branch.csv", "0.05,1,20", "0.05,1,0.001")
    assert main(words(folder, 4, tmp_path / "out", {"n_scenarios": 2})) == 2
    assert f"{folder / 'branch.csv'}: rating_a of line 1: the line carries" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [folder]


def test_missing_study(tmp_path, capsys):
    line = refused(words(tmp_path / "none", 1, tmp_path / "out", {}), capsys)
    assert "none/study.yaml: file: does not exist; give a folder that holds study.yaml" in line
    assert list(tmp_path.iterdir()) == []


def test_out_is_a_file(study, tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    assert "--out: is a file; name a folder" in refused(words(study, 0, tmp_path / "file", {}), capsys)
    below = refused(words(study, 0, tmp_path / "file" / "out", {}), capsys)
    assert "--out: cannot be made (" in below and "; name a folder you may write to" in below
    assert (tmp_path / "file").read_text() == "kept"


def test_out_where_nobody_may_write(study, capsys):
    """The kernel's own folder, which not even root may write to."""
    line = refused(words(study, 0, Path("/proc/nowhere/out"), {}), capsys)
    assert "/proc/nowhere/out: --out: cannot be made" in line


def test_out_never_replaces_a_folder_of_other_files(study, tmp_path, monkeypatch, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    line = refused(words(study, 0, tmp_path, {}), capsys)
    assert "--out: holds thesis.tex, which is no part of a result; name a new folder" in line
    monkeypatch.chdir(tmp_path)
    assert "holds thesis.tex" in refused(words(study, 0, Path("."), {}), capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


# solve: what it writes


def test_result_files_and_keys(result):
    assert sorted(p.name for p in result.iterdir()) == sorted([*store.FILES, store.RANGE])
    summary = json.loads((result / "summary.json").read_text())
    expected = {
        *("welfare_usd", "prosumer_cost_usd", "prosumer_cost_after_refund_usd", "prosumer_cvar_usd", "losses_kwh"),
        *("p2p_kwh", "curtailed_kwh", "peak_kw", "dso_revenue_usd"),
    }
    assert expected <= set(summary)
    certificate = json.loads((result / "certificate.json").read_text())
    assert {"max_relative_gain", "platform_gain_usd"} <= set(certificate["equilibrium"])
    assert {"primal", "dual", "complementarity", "duality_gap"} <= set(certificate["follower"])
    assert "imbalance_usd" in certificate["money"] and "slack_usd" in certificate["revenue"]
    origin = json.loads((result / "provenance.json").read_text())
    assert {"commit", "versions", "data_hash", "preset", "parameters", "seed", "seconds"} <= set(origin)
    assert not Path(origin["study"]).is_absolute()
    trace = pd.read_csv(result / "trace.csv")
    assert list(trace.columns) == ["seconds", "lp_solves", "lower_bound", "upper_bound"]


def test_result_has_the_rights_of_any_new_folder(result, tmp_path):
    (tmp_path / "plain").mkdir()
    assert stat.S_IMODE(result.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_second_run_replaces_the_first_and_leaves_nothing_beside_it(study, tmp_path):
    out = solve(study, 0, tmp_path / "out", {"n_scenarios": 2})
    first = json.loads((out / "summary.json").read_text())["welfare_usd"]
    (out / "physics.json").write_text("{}")
    solve(study, 0, out, {"n_scenarios": 3})
    assert json.loads((out / "summary.json").read_text())["welfare_usd"] != first
    assert not (out / "physics.json").exists(), "the evaluation of the old design went with it"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_changes_are_converted_and_take_effect(study, tmp_path):
    """Whole numbers, numbers, null, lists and words, of the preset and of study.yaml."""
    changes = {
        "n_prosumers": 1,
        "n_scenarios": 2,
        "seed": 7,
        "chance_level": 0.1,
        "renewables.pv_scale": 1.5,
        "load.scale": 0.5,
        "voltage_margin_pu": "null",
        "season.months": [4, 5],
        "menus.smoke.capacity.1": [300, 900],
        "season.day_type": "all",
    }
    solved = read_result(solve(study, 0, tmp_path / "out", changes))
    settings, instance = solved.prepared.study.settings, solved.prepared.instance
    assert len(instance.prosumers) == 1 and instance.days.n_days == 2 and solved.prepared.preset.seed == 7
    assert instance.rules.chance_level == 0.1 and settings.renewables.pv_scale == 1.5
    assert settings.voltage_margin_pu is None and instance.rules.voltage_margin > 0
    assert settings.season.months == [4, 5] and settings.season.day_type == "all"
    assert dict(instance.menu.capacity)[1] == (300.0, 900.0)
    assert solved.prepared.study.prosumers[0].pv_kw == pytest.approx(50 * 1.5 * 0.5)


def test_season_by_name(study, tmp_path):
    solved = read_result(solve(study, 0, tmp_path / "out", {"season.months": "spring", "n_scenarios": 2}))
    assert solved.prepared.study.settings.season.months == [3, 4, 5]


@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize(
    "asked", ["--gap=0.01", "--engine=tree", "--engine=scip", "--resume", "--restart", "--profile"]
)
def test_what_only_a_search_has_is_refused_where_there_is_none(case, asked, study, tmp_path, capsys):
    assert main([*words(study, case, tmp_path / "out", {}), asked]) == 2
    option = asked.partition("=")[0]
    line = f"tritier: {option}: case: case {case} has no search; leave it out, or solve case 3 or 4\n"
    assert capsys.readouterr().err == line and not (tmp_path / "out").exists()


# interruptions


@pytest.mark.parametrize(
    ("owner", "where"),
    [(results, "solve_case"), (Result, "certificates"), (np, "savez_compressed"), (results, "write_json")],
)
def test_ctrl_c_leaves_nothing_half_written(owner, where, study, tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, where, interrupt)
    assert main(words(study, 0, tmp_path / "out", {"n_scenarios": 2})) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("tritier: solve: interrupted")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_earlier_result(study, tmp_path, monkeypatch, capsys):
    out = solve(study, 0, tmp_path / "out", {"n_scenarios": 2})
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupt)
    assert main(words(study, 0, out, {"n_scenarios": 3})) == 130
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["summary.json", "decisions.npz"])
def test_full_disk_is_one_line_that_names_the_file(name, study, tmp_path, monkeypatch, capsys):
    def full(path, *args, **kwargs):  # numpy's error of a full disk names no file
        raise OSError(28, "No space left on device", *([str(path)] if name == "summary.json" else []))

    owner, function = (results, "write_json") if name == "summary.json" else (np, "savez_compressed")
    monkeypatch.setattr(owner, function, full)
    assert main(words(study, 0, tmp_path / "out", {"n_scenarios": 2})) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path}/out/{name}: No space left on device; check path, rights and free space" in line
    assert list(tmp_path.iterdir()) == []


# evaluate and certify


def test_evaluate_writes_the_physics_of_every_policy(result, capsys):
    assert main(["evaluate", str(result)]) == 0
    told = capsys.readouterr()
    headline = json.loads(told.out)
    stored = json.loads((result / "physics.json").read_text())
    keys = {"violation_share", "overload_share", "losses_kwh", "days", "chance_level", "lindistflow_max_error_pu"}
    assert keys <= set(headline) and keys <= set(stored)
    assert stored["policy"] == "network-blind" and set(stored["policies"]) == {"network-blind", "hard-limit redispatch"}
    table = pd.read_csv(result / "evaluation.csv")
    assert len(table) == 2 * stored["days"]
    losses = table.loc[table["policy"] == "network-blind", "ac_losses_kwh"].mean()
    assert stored["losses_kwh"] == pytest.approx(losses, rel=1e-12)
    means = table[table["policy"] == "network-blind"].mean(numeric_only=True)
    welfare, cost = means["welfare_usd"], means["prosumer_cost_usd"]
    assert f"welfare {welfare:,.0f} $/day, prosumer cost {cost:,.0f} $/day, violations" in told.err
    (result / "physics.json").unlink()
    (result / "evaluation.csv").unlink()


def test_evaluate_on_scenarios_weighs_them_by_probability(tmp_path, capsys):
    """The scenarios of the design have unequal probabilities; their mean is that of summary.json."""
    out = solve(congested_study(tmp_path / "study"), 0, tmp_path / "out", CONGESTED)
    headline = json.loads(run(["evaluate", str(out), "--days", "scenarios"], capsys))
    summary = json.loads((out / "summary.json").read_text())
    assert headline["losses_kwh"] == pytest.approx(summary["ac_losses_kwh"], rel=1e-9)
    assert headline["violation_share"] == pytest.approx(summary["violation_share_ac"], abs=1e-12)
    p = read_result(out).prepared.instance.days.probability
    assert np.ptp(p) > 0.05
    assert headline["overload_share"] > 0


def test_unknown_days_and_missing_results(result, tmp_path, capsys):
    line = refused(["evaluate", str(result), "--days", "rainy"], capsys)
    assert "--days: days: unknown set of days 'rainy'; choose one of held-out, design" in line
    for verb in ("evaluate", "certify"):
        line = refused([verb, str(tmp_path / "none")], capsys)
        assert "none/summary.json: file: is missing; solve the case again with --out" in line
        line = refused([verb, str(result), "--study", str(tmp_path)], capsys)
        assert "study.yaml: file: does not exist" in line


def test_study_of_another_content_is_refused(result, study, tmp_path, capsys):
    other = write_study(tmp_path / "study")
    change_settings(other, "chance_level", 0.2)
    line = refused(["certify", str(result), "--study", str(other)], capsys)
    assert "provenance.json: data_hash: the study's files have changed since; solve the case again" in line


def test_no_verb_and_unknown_verb(capsys):
    assert "required: verb" in refused([], capsys)
    assert "invalid choice: 'sovle'" in refused(["sovle"], capsys)


def test_as_a_program_of_its_own(study, tmp_path):
    """`python -m tritier` in a process of its own: an answer, a mistake, and a reader that leaves early."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def program(*arguments, **options):
        return subprocess.run(
            [sys.executable, "-m", "tritier", *map(str, arguments)], cwd=tmp_path, env=environment, text=True,
            stderr=subprocess.PIPE, check=False, **options,
        )  # fmt: skip

    answer = program("feeder", study / "bus.csv", study / "branch.csv", "--json", stdout=subprocess.PIPE)
    assert answer.returncode == 0 and answer.stderr == ""
    assert json.loads(answer.stdout)["v_min_bus"] == 3, "the load at the end of the longest way"
    mistake = program("certify", stdout=subprocess.PIPE)
    assert mistake.returncode == 2 and mistake.stdout == ""
    assert mistake.stderr == "tritier certify: the following arguments are required: folder\n"
    reader, writer = os.pipe()
    os.close(reader)
    gone = program("feeder", study / "bus.csv", study / "branch.csv", stdout=writer)
    os.close(writer)
    assert gone.returncode == 0 and gone.stderr == ""
