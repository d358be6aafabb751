"""What goes wrong from outside: signals, kills, two runs at once, files in the way, states of another question."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_study import change_settings, write_study
from solved_small import words

import tritier as tt
from tritier import cli
from tritier.cases import result as results
from tritier.cli import main
from tritier.errors import CertificateError, SolverError
from tritier.provenance import sole_writer
from tritier.search import hybrid

pytestmark = pytest.mark.usefixtures("prepared_once")

ROOT = Path(__file__).resolve().parents[1]
IEEE33 = ROOT / "data" / "studies" / "ieee33"
SMALL = {"n_scenarios": 2, "renewables.pv_scale": 8, "demand_charge_usd_per_kw": 0.1}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("faults") / "study")


def last_line(capsys) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def interrupt(*args):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def state(study, tmp_path_factory):
    """What Case 4 of the small study leaves that is interrupted once the search has an incumbent."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hybrid.Search, "result", interrupt)
        assert main(words(study, 4, folder / "out", SMALL)) == 130
    assert [p.name for p in folder.iterdir()] == ["out.state.npz"]
    return folder / "out.state.npz"


@pytest.fixture
def stopped(state, tmp_path):
    """The folder into which an interrupted run was to write; its state beside it."""
    shutil.copy(state, tmp_path)
    return tmp_path / "out"


def test_an_interrupted_search_says_what_it_has_found_and_how_to_go_on(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hybrid.Search, "result", interrupt)
    assert main(words(study, 4, tmp_path / "out", SMALL)) == 130
    line = last_line(capsys)
    assert line.startswith("tritier: solve: interrupted with bounds ") and "of the achievable gain" in line
    assert line.endswith(f"--resume goes on from {tmp_path / 'out.state.npz'}")
    assert [p.name for p in tmp_path.iterdir()] == ["out.state.npz"]


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_an_interrupted_search_goes_on_and_ends_as_if_nothing_had_been(more, stopped, study, tmp_path, capsys):
    assert main([*words(study, 4, stopped, SMALL), *more]) == 0
    assert "going on from" in capsys.readouterr().err
    assert main(words(study, 4, tmp_path / "whole", SMALL)) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "whole"]
    figures, whole = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("out", "whole"))
    assert all(figures.pop(name) == whole.pop(name) for name in ("policy", "warnings"))
    assert figures.pop("social_cost_range_usd") == pytest.approx(whole.pop("social_cost_range_usd"), rel=1e-9)
    assert figures == pytest.approx(whole, rel=1e-9)


def test_an_interrupted_search_goes_on_at_a_larger_gap(stopped, study):
    assert main([*words(study, 4, stopped, SMALL), "--gap", "0.5"]) == 0
    assert tt.read_result(stopped).origin["gap"] == 0.5


def test_an_interrupt_that_fails_to_stop_processes_is_one_all_the_same(study, tmp_path, monkeypatch, capsys):
    """As joblib's that have just been started."""

    def stop(*args):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError("cannot join thread before it is started")  # noqa: B904

    monkeypatch.setattr(results, "judge", stop)
    assert main(words(study, 4, tmp_path / "out", SMALL)) == 130
    assert last_line(capsys).endswith(f"interrupted; --resume goes on from {tmp_path / 'out.state.npz'}")


CHANGES = {  # what differs on the second call, and what the line blames
    "--set of the study": ({"load.scale": 1.01}, 4, "--set"),
    "--set of the preset": ({"seed": 7}, 4, "preset, --set"),
    "case": ({}, 3, "case"),
}


@pytest.mark.parametrize("more", [[], ["--resume"]])
@pytest.mark.parametrize("name", CHANGES)
def test_another_question_does_not_overwrite_a_state(name, more, stopped, study, tmp_path, capsys):
    changes, case, blamed = CHANGES[name]
    state = (tmp_path / "out.state.npz").read_bytes()
    assert main([*words(study, case, stopped, SMALL | changes), *more]) == 2
    line = last_line(capsys)
    assert f"is the state of an interrupted run with another {blamed}; undo the change, or give --restart" in line
    assert (tmp_path / "out.state.npz").read_bytes() == state
    assert main([*words(study, case, stopped, SMALL | changes), "--restart"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_changed_study_and_a_changed_package_are_named(stopped, study, tmp_path, monkeypatch, capsys):
    other = write_study(tmp_path / "other")
    change_settings(other, "chance_level", 0.2)
    assert main(words(other, 4, stopped, SMALL)) == 2
    assert "with another study;" in last_line(capsys)
    monkeypatch.setattr(results, "package_hash", lambda: "edited")
    assert main(words(study, 4, stopped, SMALL)) == 2
    assert "with another package;" in last_line(capsys)


@pytest.mark.parametrize("member", ["search.figures", "references"])
def test_a_state_with_better_figures_than_its_bases_prove_is_refused(member, stopped, study, tmp_path, capsys):
    state = tmp_path / "out.state.npz"
    with np.load(state) as file:
        arrays = dict(file)
    np.savez(state, **(arrays | {member: arrays[member] + 5000.0}))
    kept = state.read_bytes()
    assert main([*words(study, 4, stopped, SMALL), "--resume"]) == 2
    assert "out.state.npz" in last_line(capsys)
    assert state.read_bytes() == kept and not stopped.exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SolverError("no"), 4, "tritier: solve: no"),
        (CertificateError("design.gap", 1.0, 0.0), 1, "tritier: certificate design.gap failed: 1 exceeds 0"),
    ],
    ids=["solver", "certificate"],
)
def test_a_failure_after_the_search_keeps_its_state(error, code, said, study, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise error

    monkeypatch.setattr(results, "judge", fail)
    assert main(words(study, 4, tmp_path / "out", SMALL)) == code
    assert last_line(capsys) == said
    assert [p.name for p in tmp_path.iterdir()] == ["out.state.npz"]


@pytest.mark.parametrize("more", [[], ["--resume"], ["--restart"]])
def test_a_file_that_is_no_state_stays(more, study, tmp_path, capsys):
    mine = tmp_path / "out.state.npz"
    for write in (lambda: mine.write_text("my thesis"), lambda: np.savez(mine, x=np.zeros(3))):
        write()
        before = mine.read_bytes()
        assert main([*words(study, 4, tmp_path / "out", SMALL), *more]) == 2
        assert f"{mine}: --out: is no state of a run, but lies where it would go" in last_line(capsys)
        assert mine.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [mine.name]


def test_a_case_without_a_search_minds_no_state(study, tmp_path):
    (tmp_path / "out.state.npz").write_text("my thesis")
    assert main(words(study, 0, tmp_path / "out", {"n_scenarios": 2})) == 0
    assert (tmp_path / "out.state.npz").read_text() == "my thesis"


def test_a_folder_named_like_a_file_of_a_result_stays(study, tmp_path, capsys):
    precious = tmp_path / "out" / "summary.json" / "precious.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("kept")
    assert main(words(study, 0, tmp_path / "out", {"n_scenarios": 2})) == 2
    assert "--out: holds summary.json, which is no part of a result" in last_line(capsys)
    assert precious.read_text() == "kept"


def test_two_runs_into_one_folder_are_one_too_many(study, tmp_path, capsys):
    with sole_writer(tmp_path / "out"):
        assert main(words(study, 0, tmp_path / "out", {"n_scenarios": 2})) == 2
        assert "--out: is being written by another run; wait, or name another" in last_line(capsys)
    assert main(words(study, 0, tmp_path / "out", {"n_scenarios": 2})) == 0


def program(*arguments: object) -> subprocess.Popen:
    """The command line as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tritier", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE, start_new_session=True)


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert path.exists()


def test_a_real_signal_keeps_the_state_and_a_kill_is_no_trap(tmp_path):
    """SIGTERM to a search on the IEEE 33-bus feeder, then kill -9, then a run that ends; fewer scenarios would be over
    before they are stopped."""
    out, state = tmp_path / "out", tmp_path / "out.state.npz"
    few = ["--set", "n_prosumers=6", "--set", "n_scenarios=4"]
    asked = ["solve", IEEE33, "--case", "4", "--preset", "smoke", *few, "--gap", "0.001", "--jobs", 2, "--out", out]
    first = program(*asked)
    wait_for(state, first)
    first.send_signal(signal.SIGTERM)
    line = first.communicate(timeout=120)[1].splitlines()[-1]
    assert first.returncode == 128 + signal.SIGTERM
    assert line.startswith("tritier: solve: interrupted") and line.endswith(f"--resume goes on from {state}")
    assert state.exists()
    assert all(p.name.startswith("out.state.") for p in tmp_path.iterdir()), "the state, and pieces beside it"
    second = program(*asked, "--resume")
    wait_for(tmp_path / ".out.lock", second)
    time.sleep(0.5)
    os.killpg(second.pid, signal.SIGKILL)
    second.communicate()
    assert state.exists() and not out.exists()
    third = program(*asked, "--resume")
    assert third.communicate(timeout=300)[1].splitlines()[-1] == f"written to {out}" and third.returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGINT"])
def test_every_signal_that_asks_to_stop_is_heard(name, study, tmp_path, monkeypatch, capsys):
    number = getattr(signal, name)
    before = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    found = signal.signal(number, before)  # whoever starts the tests in the background has some of them ignored

    def raised(*args):
        signal.raise_signal(number)

    monkeypatch.setattr(results, "judge", raised)
    try:
        assert main(words(study, 4, tmp_path / "out", SMALL)) == 128 + number
        assert "--resume goes on" in last_line(capsys)
        assert signal.getsignal(number) == before
    finally:
        signal.signal(number, found)


def test_a_signal_that_is_ignored_stays_ignored(study, tmp_path, monkeypatch):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    true = results.judge
    try:
        monkeypatch.setattr(results, "judge", lambda *args: (signal.raise_signal(signal.SIGHUP), true(*args))[1])
        assert main(words(study, 0, tmp_path / "out", {"n_scenarios": 2})) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError("deep"), MemoryError(), AttributeError("a\nb")], ids=type
)
def test_a_defect_is_one_line_and_a_log(error, study, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise error

    monkeypatch.setattr(results, "judge", fail)
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    assert main([*words(study, 0, tmp_path / "out", {"n_scenarios": 2}), "--quiet"]) == cli.DEFECT
    line, log = capsys.readouterr().err, next(tmp_path.glob("tritier-*.log"))
    assert line.count("\n") == 1 and line.startswith(f"tritier: solve: {type(error).__name__}") and str(log) in line
    assert "Traceback" in log.read_text() and [p.name for p in tmp_path.iterdir()] == [log.name]


def test_quiet_says_nothing_and_version_one_line(study, tmp_path, capsys):
    assert main([*words(study, 0, tmp_path / "out", {"n_scenarios": 2}), "--quiet"]) == 0
    told = capsys.readouterr()
    assert told.err == "" and told.out == ""
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"tritier {tt.__version__}\n"
