"""Feeders from elsewhere: read, refused by name, in agreement with their own power flow, made into study folders."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pandas as pd
import papermill
import pytest
from small_study import write_study

import tritier as tt
from tritier import cli
from tritier.cases import solve
from tritier.cases.cases import CASES
from tritier.cases.certificate import GAIN, DesignProof
from tritier.cases.result import TODAY, design_warnings
from tritier.cli import main
from tritier.errors import InfeasibleError, InputError
from tritier.evaluation.findings import elsewhere
from tritier.inputs.documents import read_json, read_yaml
from tritier.inputs.scenarios import bare_injection, build_instance, design_days, keep_prosumers
from tritier.inputs.settings import Settings
from tritier.inputs.study import hash_files, read_study
from tritier.inputs.tables import read_feeder
from tritier.model import chance
from tritier.model.acflow import ac_power_flow
from tritier.provenance import digest, write_json
from tritier.reformulation.joint import JointLP
from tritier.studies import build
from tritier.studies.build import electrify, find_grid, new_study, substation_voltage, unavoidable_violation
from tritier.studies.check import (
    calibration_warnings,
    check_study,
    design_flows,
    input_mark,
    network_warnings,
    record_calibration,
    uncontrolled_load,
    warnings,
)
from tritier.studies.commented import commented_yaml, sources_beside
from tritier.studies.grid import from_pandapower

pytestmark = pytest.mark.usefixtures("prepared_once")

DATA = Path(__file__).resolve().parents[1] / "data"

CASE = """function mpc = case3
mpc.version = '2';
mpc.baseMVA = 10;
mpc.bus = [ %% kW and kvar
    1 3 0   0  0 0 1 1 0 10 1 1   1;
    2 1 100 50 0 0 1 1 0 10 1 1.05 0.95;
    3 1 200 80 0 0 1 1 0 10 1 1.05 0.95;
];
mpc.gen = [1 0 0 10 -10 1 100 1 10 0;];
mpc.branch = [ %% ohms
    1 2 0.5 0.4 0 0 0 0 0 0 1 -360 360;
    2 3 0.3 0.2 0 2 0 0 0 0 1 -360 360;
    1 3 0.3 0.2 0 0 0 0 0 0 0 -360 360;
];
Vbase = mpc.bus(1, BASE_KV) * 1e3;
Sbase = mpc.baseMVA * 1e6;
mpc.branch(:, [BR_R BR_X]) = mpc.branch(:, [BR_R BR_X]) / (Vbase^2 / Sbase);
mpc.bus(:, [PD, QD]) = mpc.bus(:, [PD, QD]) / 1e3;
"""


def case_file(folder: Path, *changes: tuple[str, str]) -> str:
    text = CASE
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / "case3.m"
    path.write_text(text)
    return str(path)


def test_a_matpower_case_keeps_its_ohms_and_kilowatts(tmp_path):
    grid = find_grid(case_file(tmp_path))
    assert grid.bus["bus"].tolist() == [1, 2, 3]
    assert grid.bus["p_kw"].tolist() == pytest.approx([0, 100, 200])
    assert grid.bus["q_kvar"].tolist() == pytest.approx([0, 50, 80])
    assert grid.branch["line"].tolist() == [1, 2]  # line 3 is open
    assert grid.branch["r_ohm"].tolist() == pytest.approx([0.5, 0.3])
    # rateA of 2 MVA at 10 kV
    assert grid.branch["rating_a"].tolist() == pytest.approx([np.nan, 2e3 / (np.sqrt(3) * 10)], nan_ok=True)


def test_the_slack_of_a_matpower_case_holds_the_set_point_of_its_generator(tmp_path):
    """Vm of mpc.bus is a start value, and was taken."""
    bus = find_grid(case_file(tmp_path, ("[1 0 0 10 -10 1 100 1 10 0;]", "[1 0 0 10 -10 1.05 100 1 10 0;]"))).bus
    assert bus.loc[0, ["vmin_pu", "vmax_pu"]].tolist() == [1.05, 1.05]
    off = ("[1 0 0 10 -10 1 100 1 10 0;]", "[1 0 0 10 -10 1.05 100 0 10 0;]")
    assert find_grid(case_file(tmp_path, off)).bus.loc[0, "vmax_pu"] == 1.0


def test_a_power_factor_written_as_code_is_applied(tmp_path):
    last = "mpc.bus(:, [PD, QD]) = mpc.bus(:, [PD, QD]) / 1e3;\n"
    code = "pf = 0.8;\nmpc.bus(:, QD) = mpc.bus(:, PD) * sin(acos(pf));\nmpc.bus(:, PD) = mpc.bus(:, PD) * pf;\n"
    grid = find_grid(case_file(tmp_path, (last, last + code)))
    assert grid.bus["p_kw"].tolist() == pytest.approx([0, 80, 160])
    assert grid.bus["q_kvar"].tolist() == pytest.approx([0, 60, 120])


MATPOWER = [
    ([("0.3 0.2 0 0 0 0 0 0 0 -360", "0.3 0.2 0 0 0 0 0 0 1 -360")], "lines 1, 3, 2 form a loop"),
    ([("    1 3 0   0", "    1 1 0   0")], "no slack"),
    ([("2 3 0.3 0.2 0 2 0 0 0 0 1", "2 3 0.3 0.2 0 2 0 0 0 0 0")], "bus 3 without supply"),
    ([("1 2 0.5 0.4", "1 2 -0.5 0.4")], "line 1 has a negative impedance"),
    ([("1 2 0.5 0.4 0 0 0 0 0 0 1", "1 2 0.5 0.4 0 0 0 0 0.98 0 1")], "line 1 is a transformer with a tap"),
    ([("mpc.baseMVA = 10;", "")], "holds no mpc.baseMVA"),
    ([("200 80", "200 x80")], "mpc.bus holds 'x80'"),
    ([("Vbase =", "mpc.bus(:, PD) = 2 * mpc.bus(:, PD);\nVbase =")], "changes its matrices"),
    ([("* 1e6;\nmpc.branch(:", "* 1e6; mpc.branch(:")], "changes its matrices"),  # it was left out without a word
    ([("1 2 0.5 0.4", "1 2 NaN 0.4")], "line 1 has an impedance that is no number"),
    ([("2 1 100 50 0 0 1 1 0 10", "2 1 100 50 0 0.1 1 1 0 10")], "holds a shunt at bus 2"),
    ([("2 1 100 50 0 0 1 1 0 10", "2 1 100 50 0 0 1 1 0 20")], "several voltage levels, as bus 2"),
    ([("3 1 200 80 0 0 1 1 0 10 1 1.05 0.95", "3 1 200 80 0 0 1 1 0 10 1 0.95 1.05")], "bus.csv: column vmin_pu"),
]


@pytest.mark.parametrize("changes, words", MATPOWER[:-1])  # the last is found when the tables are read
def test_a_matpower_case_that_is_no_feeder_is_refused_by_name(tmp_path, changes, words):
    with pytest.raises(InputError, match=words) as refused:
        find_grid(case_file(tmp_path, *changes))
    assert "\n" not in str(refused.value)


def test_a_loop_may_be_opened_and_a_root_chosen(tmp_path):
    source = case_file(tmp_path, ("0.3 0.2 0 0 0 0 0 0 0 -360", "0.3 0.2 0 0 0 0 0 0 1 -360"))
    assert find_grid(source, opened=[2]).branch["line"].tolist() == [1, 3]
    with pytest.raises(InputError, match="is no line"):
        find_grid(source, opened=[9])


def test_a_feeder_below_a_transformer_has_its_own_voltage_and_lines(tmp_path):
    """Of a case at 110 and 11 kV what is fed from bus 2 is read in ohm of 11 kV, and no line above it."""
    path = tmp_path / "levels.m"
    path.write_text(
        "function mpc = levels\nmpc.baseMVA = 10;\n"
        "mpc.bus = [\n1 3 0 0 0 0 1 1 0 110 1 1 1;\n2 1 0 0 0 0 1 1.02 0 11 1 1.05 0.95;\n"
        "3 1 0.1 0.05 0 0 1 1 0 11 1 1.05 0.95;\n4 1 5 1 0 0 1 1 0 110 1 1.1 0.9;\n];\n"
        "mpc.branch = [\n1 2 0.001 0.05 0 0 0 0 0.95 0 1 -360 360;\n2 3 0.02 0.01 0 2 0 0 0 0 1 -360 360;\n"
        "1 4 0.02 0.01 0 0 0 0 0 0 1 -360 360;\n];\n"
    )
    with pytest.raises(InputError, match="several voltage levels"):
        find_grid(str(path))
    grid = find_grid(str(path), root=2, opened=[1])
    assert grid.bus["bus"].tolist() == [2, 3] and grid.bus["vn_kv"].tolist() == [11, 11]
    assert grid.branch["line"].tolist() == [2]
    assert grid.branch["r_ohm"].tolist() == pytest.approx([0.02 * 11**2 / 10])
    assert grid.branch["rating_a"].tolist() == pytest.approx([2e3 / (np.sqrt(3) * 11)])
    with pytest.raises(InputError, match="has no line that is fed from bus 2; name another --root"):
        find_grid(str(path), root=2, opened=[1, 2])


def script(name: str = "feeders") -> ModuleType:
    """A script of data/results; feeders.py holds pandapower's own flow of an imported feeder."""
    spec = importlib.util.spec_from_file_location(name, DATA / "results" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flow_of(grid, folder: Path) -> tuple[float, float]:
    """Losses and lowest voltage of an imported feeder by our AC power flow."""
    grid.bus.to_csv(folder / "bus.csv", index=False)
    grid.branch.to_csv(folder / "branch.csv", index=False)
    feeder = read_feeder(folder / "bus.csv", folder / "branch.csv")
    flow = ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar)
    return float(flow.losses_kw), float(flow.v_pu.min())


def agree(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs(one[0] - other[0]) < 1e-3 and abs(one[1] - other[1]) < 1e-5


@pytest.mark.parametrize("name", ["case33bw", "create_kerber_dorfnetz", "simple_mv_open_ring_net"])
def test_an_imported_feeder_flows_as_in_pandapower(tmp_path, name):
    net = getattr(pn, name)()
    grid = from_pandapower(net, name, f"pandapower:{name}", "BSD-3", None)
    assert agree(flow_of(grid, tmp_path), script().own_flow(net, grid))


def test_a_line_open_at_one_end_draws_its_charging(tmp_path):
    """A ring of cables, one of them opened at its far end: it stays under voltage and loads the others."""
    net = two_buses(c_nf_per_km=4000.0)
    far = pp.create_bus(net, 10.0)
    for ends in ((0, far), (1, far)):
        pp.create_line_from_parameters(net, *ends, 5.0, 0.3, 0.1, 4000.0, 0.2)
    pp.create_switch(net, far, 2, et="l", closed=False)
    grid = from_pandapower(net, "ring", "ring", "")
    assert grid.branch[["line", "from_bus", "to_bus"]].to_numpy().tolist() == [[1, 1, 2], [2, 1, 3], [3, 2, 4]]
    own, dead = flow_of(grid, tmp_path), grid.branch["line"] != 3
    assert agree(own, script().own_flow(net, grid))
    without = replace(grid, bus=grid.bus.iloc[:3], branch=grid.branch[dead])
    assert not agree(own, flow_of(without, tmp_path)), "without it losses are others"
    assert from_pandapower(net, "ring", "ring", "", opened=[3]).branch["line"].tolist() == [1, 2]


def test_a_matpower_case_flows_as_its_own_ohms_and_kilowatts_say(tmp_path):
    """Entered into pandapower by a reading of its own, to which an import of other impedances or loads does not fit."""
    source = case_file(
        tmp_path,
        ("[ %% ohms", "[ %% (r and x specified in ohms)"),
        ("Vbase =", "%% convert loads from kW to MW\nVbase ="),
    )
    grid = find_grid(source)
    truth = script().own_flow(script().case_network(Path(source)), grid)
    assert agree(flow_of(grid, tmp_path), truth) and truth[0] > 0.1
    halved = replace(grid, branch=grid.branch.assign(r_ohm=grid.branch["r_ohm"] / 2))
    lighter = replace(grid, bus=grid.bus.assign(p_kw=grid.bus["p_kw"] * 0.95))
    assert not agree(flow_of(halved, tmp_path), truth) and not agree(flow_of(lighter, tmp_path), truth)


def two_buses(**changes):
    net = pp.create_empty_network()
    slack, bus = pp.create_bus(net, 10.0), pp.create_bus(net, 10.0)
    pp.create_ext_grid(net, slack)
    values = {"r_ohm_per_km": 0.1, "x_ohm_per_km": 0.1, "c_nf_per_km": 200.0, "max_i_ka": 0.2} | changes
    pp.create_line_from_parameters(net, slack, bus, length_km=2.0, **values)
    pp.create_load(net, bus, p_mw=0.1, q_mvar=0.02)
    return net


def test_line_charging_and_fused_busbars_are_kept():
    net = two_buses()
    twin = pp.create_bus(net, 10.0)
    pp.create_switch(net, 1, twin, et="b")
    pp.create_load(net, twin, p_mw=0.05)
    grid = from_pandapower(net, "two", "two", "")
    assert grid.bus["p_kw"].tolist() == pytest.approx([0, 150])
    assert grid.branch["c_nf"].tolist() == pytest.approx([400])
    assert grid.branch["rating_a"].tolist() == pytest.approx([200])


def test_the_slack_holds_the_voltage_of_its_own_source():
    """The first source of the table was taken, whichever bus it feeds and even out of service."""
    net = two_buses()
    other = pp.create_bus(net, 10.0)
    pp.create_ext_grid(net, other, vm_pu=0.98)
    pp.create_ext_grid(net, 0, vm_pu=1.03)
    net.ext_grid["vm_pu"] = [1.05, 0.98, 1.03]

    def held(root: int) -> float:
        bus = from_pandapower(net, "two", "two", "", root=root).bus
        return float(bus.loc[bus["type"] == "slack", "vmax_pu"].iloc[0])

    assert held(1) == 1.05
    net.ext_grid.loc[0, "in_service"] = False
    assert held(1) == 1.03
    net.ext_grid.loc[2, "in_service"] = False
    assert held(1) == 1.0 and held(2) == 1.0  # no source of its own


def ring(net):
    pp.create_line_from_parameters(net, 0, 1, 1.0, 0.1, 0.1, 0.0, 0.2)


def unbalanced(net):
    pp.create_asymmetric_load(net, 1, p_a_mw=0.1)


def generator(net):
    pp.create_gen(net, 1, p_mw=0.1)


def no_slack(net):
    net.ext_grid = net.ext_grid.iloc[:0]


def second_source(net):
    far, near = pp.create_bus(net, 10.0), pp.create_bus(net, 10.0)
    pp.create_line_from_parameters(net, far, near, 1.0, 0.1, 0.1, 0.0, 0.2)
    pp.create_ext_grid(net, far)


def negative(net):
    net.line.loc[0, "r_ohm_per_km"] = -0.1


def negative_length(net):
    net.line.loc[0, "length_km"] = -2.0


def no_number(net):
    net.line.loc[0, "x_ohm_per_km"] = np.nan


def island(net):
    far, near = pp.create_bus(net, 10.0), pp.create_bus(net, 10.0)
    pp.create_line_from_parameters(net, far, near, 1.0, 0.1, 0.1, 0.0, 0.2)
    pp.create_load(net, near, p_mw=0.1)


def shunt(net):
    pp.create_shunt(net, 1, q_mvar=-0.1)


def two_levels(net):
    net.bus.loc[1, "vn_kv"] = 20.0


def behind_a_transformer(net):
    """Two homes and a roof in the low voltage below bus 2, a third behind an open switch of the transformer."""
    for closed in (True, False):
        low = pp.create_bus(net, 0.4)
        trafo = pp.create_transformer(net, 1, low, "0.4 MVA 10/0.4 kV")
        pp.create_load(net, low, p_mw=0.03, scaling=0.5)
        if closed:
            pp.create_load(net, low, p_mw=0.02)
            pp.create_sgen(net, low, p_mw=0.01)
        else:
            pp.create_switch(net, 1, trafo, et="t", closed=False)
            pp.create_switch(net, low, trafo, et="t", closed=False)


def test_what_an_import_leaves_out_is_said_wherever_the_study_speaks(tmp_path, capsys):
    net = two_buses()
    behind_a_transformer(net)
    net.load["const_z_p_percent"] = [100.0] + [0.0] * (len(net.load) - 1)
    net.line["g_us_per_km"] = 1.0
    pp.create_sgen(net, 1, p_mw=0.05)
    grid = from_pandapower(net, "two", "two", "")
    cut, bent, leaky = grid.notes
    assert cut.startswith("left out: 2 loads of 35 kW and 1 generators of 10 kW behind transformers at buses 2, since")
    assert bent.startswith("taken as constant power: 1 loads of 100 kW") and "1 lines" in leaky
    pp.to_json(net, str(tmp_path / "net.json"))
    assert main(["study", "new", str(tmp_path / "x"), "--from", str(tmp_path / "net.json")]) == 0
    said, notes = capsys.readouterr().err, read_study(tmp_path / "x").settings.notes
    assert notes == [*grid.notes, "left out: 1 generators of 50 kW of the source; rules place sun, wind and batteries"]
    for note in notes:
        assert f"mind: {note}\n" in said and note in (tmp_path / "x" / "README.md").read_text()
        assert note in warnings(read_study(tmp_path / "x"))
    assert from_pandapower(two_buses(), "two", "two", "").notes == ()


def test_generators_of_a_matpower_case_are_not_read_and_that_is_said(tmp_path):
    gen = "mpc.gen = [1 0 0 10 -10 1 100 1 10 0;];"
    own = gen.replace("];", " 3 0.2 0 10 -10 1 100 1 10 0; 2 0.1 0 10 -10 1 100 0 10 0;];")
    assert find_grid(case_file(tmp_path)).notes == ()
    (note,) = find_grid(case_file(tmp_path, (gen, own))).notes
    assert note.startswith("left out: 1 generators of 200 kW of mpc.gen")


def load_without_number(net):
    pp.create_load(net, 1, p_mw=np.nan)


def load_nowhere(net):
    pp.create_load(net, 1, p_mw=0.1)
    net.load.loc[net.load.index[-1], "bus"] = 77


def line_to_nowhere(net):
    pp.create_line_from_parameters(net, 0, 1, 1.0, 0.1, 0.1, 0.0, 0.2)
    net.line.loc[1, "to_bus"] = 88


def no_line_at_all(net):
    net.line.loc[0, "parallel"] = 0


PANDAPOWER = [
    (load_without_number, "holds a load at bus 2 that is no number"),
    (load_nowhere, "load 2 is at a bus that it does not have"),
    (line_to_nowhere, "line 2 is at a bus that it does not have"),
    (no_line_at_all, "line 1 has an impedance that is no number"),
    (ring, "lines 1, 2 form a loop"),
    (unbalanced, "unbalanced"),
    (generator, "holds a gen"),
    (no_slack, "no slack"),
    (second_source, "several substations, at buses 1, 3"),
    (negative, "line 1 has a negative impedance"),
    (negative_length, "line 1 has a negative impedance"),
    (no_number, "line 1 has an impedance that is no number"),
    (island, "leaves the load at bus 4 without supply"),
    (shunt, "holds a shunt at bus 2"),
    (two_levels, "several voltage levels"),
]


@pytest.mark.parametrize("spoil, words", PANDAPOWER)
def test_a_pandapower_network_that_is_no_feeder_is_refused_by_name(tmp_path, spoil, words):
    net = two_buses()
    spoil(net)
    pp.to_json(net, str(tmp_path / "net.json"))
    with pytest.raises(InputError, match=words) as refused:
        find_grid(str(tmp_path / "net.json"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("pandapower:nothing", "--from: pandapower:nothing: is no network of pandapower.networks; see its"),
        ("pandapower:create_line", "--from: pandapower:create_line: needs arguments; build it, save it with to_json"),
        ("matpower:case0", "--from: matpower:case0: "),  # whether or not the package of its cases is installed
        ("nothing", "--from: nothing: is no source of a feeder; give pandapower:NAME, simbench:CODE, matpower:CASE"),
        ("missing.m", "--from: missing.m: does not exist; give the path of a MATPOWER .m file"),
        ("missing.json", "--from: missing.json: does not exist; give the path of a network saved by pandapower"),
        ("a,b", "a: file: does not exist; add it"),
    ],
)
def test_a_source_that_is_none_is_refused_in_one_line(source, line):
    with pytest.raises(InputError, match=f"^{re.escape(line)}") as refused:
        find_grid(source)
    assert "\n" not in str(refused.value)


def refused(source: str, folder: Path, capsys) -> str:
    """The line of a ``study new`` that ends with exit code 2 and leaves nothing, no folder half written."""
    before = sorted(folder.iterdir())
    assert main(["study", "new", str(folder / "new"), "--from", source]) == 2
    *told, line = capsys.readouterr().err.splitlines()
    assert sorted(folder.iterdir()) == before
    assert len(told) <= 1 and not any(text.startswith("mind") for text in told), "at most the size of what was read"
    assert line.startswith("tritier: ") and line.count("; ") >= 1
    return line


@pytest.mark.parametrize("changes, words", MATPOWER)
def test_a_malformed_matpower_case_ends_in_one_line_and_no_folder(tmp_path, capsys, changes, words):
    source = case_file(tmp_path, *changes)
    line = refused(source, tmp_path, capsys)
    assert words in line and line.startswith(f"tritier: --from: {source}: ")


@pytest.mark.parametrize("spoil, words", PANDAPOWER)
def test_a_malformed_pandapower_network_ends_in_one_line_and_no_folder(tmp_path, capsys, spoil, words):
    net, source = two_buses(), str(tmp_path / "net.json")
    spoil(net)
    pp.to_json(net, source)
    line = refused(source, tmp_path, capsys)
    assert words in line and line.startswith(f"tritier: --from: {source}: ")


TABLES = {
    "a loop": ("branch.csv", "3,2,3,0.2,0.1,0,", "3,2,3,0.2,0.1,1,", "branch.csv"),
    "an island": ("branch.csv", "2,2,3,0.2,0.1,1,", "2,2,3,0.2,0.1,0,", "branch.csv"),
    "no slack": ("bus.csv", "1,slack,", "1,pq,", "bus.csv: column type"),
    "two slacks": ("bus.csv", "2,pq,", "2,slack,", "bus.csv: column type"),
    "negative impedance": ("branch.csv", "1,1,2,0.1,", "1,1,2,-0.1,", "branch.csv: column r_ohm"),
    "a phase a bus": ("bus.csv", "bus,type,p_kw,", "bus,type,p_a_kw,", "bus.csv: column p_kw"),
    "a word for a number": ("bus.csv", "2,pq,100,", "2,pq,much,", "bus.csv: column p_kw"),
    "a load below nothing": ("bus.csv", "2,pq,100,", "2,pq,-100,", "bus.csv: column p_kw"),
    "limits upside down": (
        "bus.csv",
        "2,pq,100,30,10,0.95,1.05",
        "2,pq,100,30,10,1.05,0.95",
        "bus.csv: column vmin_pu",
    ),
    "a bus twice": ("bus.csv", "3,pq,80,", "2,pq,80,", "bus.csv: column bus"),
    "another level": ("bus.csv", "3,pq,80,20,10,", "3,pq,80,20,20,", "bus.csv: column vn_kv"),
    "semicolons": ("bus.csv", "bus,type,p_kw,q_kvar,", "bus;type;p_kw;q_kvar;", "bus.csv: "),
    "a line of no length": ("branch.csv", "1,1,2,0.1,0.05,", "1,1,2,0,0,", "branch.csv: column r_ohm"),
    "a rating below nothing": ("branch.csv", "0.05,1,20", "0.05,1,-20", "branch.csv: column rating_a"),
    "an unknown bus": ("branch.csv", "1,1,2,0.1,", "1,1,9,0.1,", "branch.csv"),
}


def test_a_network_that_cannot_carry_its_load_ends_in_one_line_and_no_folder(tmp_path, capsys):
    net, source = two_buses(), str(tmp_path / "net.json")
    net.load.p_mw = 900.0
    pp.to_json(net, source)
    assert "has no power flow: its lines cannot carry its loads; lower loads" in refused(source, tmp_path, capsys)


@pytest.mark.parametrize("what", TABLES)
def test_a_malformed_table_ends_in_one_line_and_no_folder(tmp_path, capsys, what):
    name, old, new, words = TABLES[what]
    rows = {
        "bus.csv": "bus,type,p_kw,q_kvar,vn_kv,vmin_pu,vmax_pu\n1,slack,0,0,10,1,1\n2,pq,100,30,10,0.95,1.05\n"
        "3,pq,80,20,10,0.95,1.05\n",
        "branch.csv": "line,from_bus,to_bus,r_ohm,x_ohm,closed,rating_a\n1,1,2,0.1,0.05,1,20\n2,2,3,0.2,0.1,1,\n"
        "3,2,3,0.2,0.1,0,\n",
    }
    assert rows[name].count(old) == 1
    for file, text in rows.items():
        (tmp_path / file).write_text(text.replace(old, new) if file == name else text)
    source = f"{tmp_path}/bus.csv,{tmp_path}/branch.csv"
    assert words in refused(source, tmp_path, capsys)


def simbench_like(**profiles) -> SimpleNamespace:
    """A module that gives a network of two buses for one code, with loads, sun and a year of quarter hours."""
    net = two_buses()
    net.load["profile"] = "H0-A"
    pp.create_sgen(net, 1, p_mw=0.1, type="PV")
    net.sgen["profile"] = "PV1"
    shape = pd.Series(np.full(4 * 8784, 0.5))
    whole = {"load": pd.DataFrame({"H0-A_pload": shape}), "renewables": pd.DataFrame({"PV1": shape})}
    net["profiles"] = whole | profiles

    def get(code):
        if code != "1-MV-rural--2-sw":
            raise ValueError(code)
        return net

    return SimpleNamespace(get_simbench_net=get)


@pytest.mark.parametrize(
    "code, profiles, words",
    [
        ("1-MV-rural--9-sw", {}, "is no SimBench code"),
        ("1-MV-rural--2-sw", {"load": pd.DataFrame({"H0-B_pload": [1.0] * 4 * 8784})}, "lacks the profile H0-A_pload"),
        ("1-MV-rural--2-sw", {"renewables": pd.DataFrame(index=range(4 * 8784))}, "lacks the profile PV1"),
        ("1-MV-rural--2-sw", {"load": pd.DataFrame({"H0-A_pload": [1.0] * 4 * 24})}, "has profiles of 24 hours"),
        ("1-MV-rural--2-sw", {"load": pd.DataFrame({"H0-A_pload": [1.0] * 30})}, "has profiles of 30 quarter hours"),
        ("1-MV-rural--2-sw", {"load": pd.DataFrame({"H0-A_pload": [np.nan] * 4 * 8784})}, "has profiles with gaps"),
    ],
)
def test_a_simbench_grid_without_its_year_ends_in_one_line(tmp_path, capsys, monkeypatch, code, profiles, words):
    monkeypatch.setitem(sys.modules, "simbench", simbench_like(**profiles))
    assert words in refused(f"simbench:{code}", tmp_path, capsys)


def test_a_simbench_grid_with_its_year_is_a_study(tmp_path, monkeypatch):
    """Its own loads, sun and profiles, as hourly means."""
    quarter = pd.Series(np.tile([0.2, 0.4, 0.6, 0.8], 8784))
    monkeypatch.setitem(sys.modules, "simbench", simbench_like(load=pd.DataFrame({"H0-A_pload": quarter})))
    study = new_study(tmp_path / "new", find_grid("simbench:1-MV-rural--2-sw"), DATA)
    assert [p.name for p in study.prosumers] == ["bus2"] and study.prosumers[0].pv_kw == pytest.approx(100)
    assert study.load_kw.sum(axis=0) == pytest.approx(np.full((366, 24), 50.0))
    assert study.renewable_kw[0] == pytest.approx(np.full((366, 24), 50.0))


def test_vehicles_heat_pumps_and_storages_of_a_simbench_grid_are_its_own(tmp_path, monkeypatch):
    """They become devices of prosumers and of passive buses, and their loads are no demand."""
    module = simbench_like()
    net = module.get_simbench_net("1-MV-rural--2-sw")
    far = pp.create_bus(net, 10.0)
    pp.create_line_from_parameters(net, 1, far, 1.0, 0.1, 0.1, 0.0, 0.2)
    for bus, kw, kvar, profile in ((1, 11, 2, "HLS_A_11.0"), (far, 22, 0, "HLS_A_11.0"), (1, 5, 1, "Air_Parallel_2")):
        pp.create_load(net, bus, p_mw=kw / 1e3, q_mvar=kvar / 1e3)
        net.load.loc[net.load.index[-1], "profile"] = profile
    pp.create_storage(net, 1, p_mw=0.005, max_e_mwh=0.01)
    net.storage["efficiency_percent"] = 90.0
    pp.create_sgen(net, far, p_mw=0.02, type="PV")
    net.sgen["profile"] = "PV1"
    day = np.repeat(np.r_[np.zeros(18), np.full(6, 0.2)], 4)
    net.profiles["load"]["HLS_A_11.0_pload"] = np.tile(day, 366)
    net.profiles["load"]["Air_Parallel_2_pload"] = 0.25
    monkeypatch.setitem(sys.modules, "simbench", module)
    study = new_study(tmp_path / "new", find_grid("simbench:1-MV-rural--2-sw"), DATA)
    (one,), (passive,) = study.prosumers, study.passive
    assert (one.bus, one.battery_kwh, one.battery_kw) == (2, pytest.approx(10), pytest.approx(5))
    assert one.eta == pytest.approx(0.9)
    assert (one.ev_kwh_per_day, one.ev_kw, one.ev_delay_h) == (pytest.approx(6 * 0.2 * 11), pytest.approx(11), 8)
    assert (one.hp_kwh_per_day, one.hp_kw, one.hp_delay_h) == (pytest.approx(24 * 0.25 * 5), pytest.approx(5), 3)
    assert (passive.bus, passive.ev_kwh_per_day) == (3, pytest.approx(6 * 0.2 * 22))
    assert study.asked["ev"].mean() == pytest.approx(1) and not study.asked["ev"][:, :18].any()
    assert study.feeder.p_kw.tolist() == pytest.approx([0, 100, 0]), "their loads are no demand"
    assert study.feeder.q_kvar.tolist() == pytest.approx([0, 20, 0])
    assert study.settings.notes == ["left out: 1 generators of 20 kW at buses without load"]


def test_a_simbench_grid_whose_only_flexibility_are_vehicles_is_a_study(tmp_path, monkeypatch):
    module = simbench_like(renewables=pd.DataFrame(index=range(4 * 8784)))
    net = module.get_simbench_net("1-MV-rural--2-sw")
    net.sgen = net.sgen.iloc[:0]
    pp.create_load(net, 1, p_mw=0.011)
    net.load.loc[net.load.index[-1], "profile"] = "HLS_A_11.0"
    net.profiles["load"]["HLS_A_11.0_pload"] = 0.1
    monkeypatch.setitem(sys.modules, "simbench", module)
    (one,) = new_study(tmp_path / "new", find_grid("simbench:1-MV-rural--2-sw"), DATA).prosumers
    assert (one.pv_kw, one.wind_kw, one.ev_kw) == (0, 0, pytest.approx(11))


def test_an_unknown_network_is_told_its_nearest_names():
    with pytest.raises(InputError, match="is no network of pandapower") as refused:
        find_grid("pandapower:case69")
    assert "case39" in refused.value.mend and "MATPOWER is matpower:case69" in refused.value.mend
    with pytest.raises(InputError, match=r"see its documentation for names$"):
        find_grid("pandapower:zzzz")


@pytest.mark.parametrize("name, source", [("simbench", "simbench:1-MV-rural--2-sw"), ("matpower", "matpower:case33bw")])
def test_an_extra_that_is_absent_is_named_with_its_command(tmp_path, capsys, monkeypatch, name, source):
    monkeypatch.setitem(sys.modules, name, None)
    assert f'needs the package {name}; install it with: pip install "tritier[import]"' in refused(
        source, tmp_path, capsys
    )


def test_a_report_needs_no_package_of_the_book():
    absent = "".join(f"sys.modules[{name!r}] = None; " for name in ("nbformat", "papermill", "IPython"))
    code = f"import sys; {absent}import tritier.book.report"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_prosumers_live_in_the_far_half_of_the_feeder():
    bus, p = np.array([1, 2, 3, 4, 5]), np.array([0.0, 30.0, 0.0, 40.0, 30.0])
    assert build.prosumer_buses(bus, p, np.array([0.0, 1.0, 2.0, 3.0, 4.0])).tolist() == [4, 5]
    assert build.prosumer_buses(bus, p, np.array([0.0, 1.0, 2.0, 3.0, 4.0]), most=1).size == 1


def test_ratings_that_are_given_stay():
    found = build.ratings(
        np.array([150.2, 20.0, 90.0]), np.array([np.nan, 55.0, np.nan]), np.array([True, False, False])
    )
    assert found.tolist() == [151.0, 55.0, 113.0]


SMALL = (
    "pandapower:create_synthetic_voltage_control_lv_network",
)  # the five others take minutes: data/results/feeders.py


@pytest.mark.parametrize("source", SMALL)
def test_a_feeder_that_nobody_prepared_passes_through_all_commands(tmp_path, source):
    """From ``study new`` to a certified Case 4, judged and reported, with no file edited; as the stored row says."""
    found = script().row(source, tmp_path)
    assert found["proof"] == "closed" and found["largest_relative_gain"] < GAIN
    assert found["first_best_usd"] <= found["lower_bound_usd"] <= found["upper_bound_usd"] <= found["flat_usd"]
    assert found["losses_off_kw"] < 1e-3 and found["v_min_off_pu"] < 1e-5
    assert (tmp_path / "out" / "report.html").stat().st_size > 1e5
    stored = pd.read_csv(DATA / "results" / "feeders.csv").set_index("source").loc[source]
    for name in ("buses", "prosumers", "load_peak_kw", "losses_kw", "v_min_pu", "flat_usd", "upper_bound_usd"):
        assert found[name] == pytest.approx(stored[name], rel=1e-6), name


def test_all_six_feeders_are_stored_closed_and_flow_as_in_pandapower():
    """Three grids of SimBench and three of pandapower and MATPOWER; the extras need not be there to read this."""
    feeders, table = script().FEEDERS, pd.read_csv(DATA / "results" / "feeders.csv")
    assert table["source"].tolist() == list(feeders) and len(feeders) == 6
    assert sum(x.startswith("simbench:") for x in feeders) == 3
    assert (table["proof"] == "closed").all() and (table["largest_relative_gain"] < GAIN).all()
    assert (table["losses_off_kw"] < 1e-3).all() and (table["v_min_off_pu"] < 1e-5).all()
    assert (table["losses_kw"] > 0.1).all() and (table["v_min_pu"] < 0.999).all(), "feeders that carry something"
    order = table[["first_best_usd", "lower_bound_usd", "upper_bound_usd", "flat_usd"]].to_numpy()
    assert (np.diff(order, axis=1) >= 0).all()
    assert table["commit"].str.fullmatch("[0-9a-f]{7,}").all(), "made from a clean tree"
    assert set(read_json(DATA / "results" / "feeders.json")["versions"]) == set(script().PACKAGES)


@pytest.fixture(scope="module")
def ieee69(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("own") / "ieee69"
    new_study(out, find_grid(f"{DATA}/feeders/ieee69_bus.csv,{DATA}/feeders/ieee69_branch.csv"), DATA)
    return out


@pytest.fixture(scope="module")
def trunk(tmp_path_factory) -> Path:
    """The first twelve buses of IEEE 69, where every command is quick; its bus and branch tables lie beside it."""
    place = tmp_path_factory.mktemp("trunk")
    bus, branch = (pd.read_csv(DATA / "feeders" / f"ieee69_{part}.csv", comment="#") for part in ("bus", "branch"))
    bus[bus["bus"] <= 12].to_csv(place / "bus.csv", index=False)
    branch[branch[["from_bus", "to_bus"]].max(axis=1) <= 12].to_csv(place / "branch.csv", index=False)
    new_study(place / "trunk", find_grid(trunk_source(place / "trunk")), DATA)
    return place / "trunk"


def trunk_source(trunk: Path) -> str:
    return f"{trunk.parent}/bus.csv,{trunk.parent}/branch.csv"


def test_a_new_study_is_complete_and_commented(ieee69):
    assert {p.name for p in ieee69.iterdir()} == {
        "README.md",
        "branch.csv",
        "bus.csv",
        "load_mix.csv",
        "load_profiles.csv",
        "prices.csv",
        "prosumers.csv",
        "renewable_profiles.csv",
        "study.yaml",
    }
    text = (ieee69 / "study.yaml").read_text()
    for name, field in Settings.model_fields.items():
        before, found, _ = text.partition(f"{name}:")
        assert found and before.rstrip("# \n").splitlines()[-1].lstrip().startswith("#"), name
        if field.description:
            assert field.description.split()[0] in text


def test_menus_come_from_the_flows_of_the_feeder_itself(ieee69):
    study = read_study(ieee69)
    flow = design_flows(study).set_index("line")["flow_kw"]
    offered = study.menu("fast").capacity
    assert len(offered) == 4, "the head and the three laterals"
    for line, levels in offered:
        assert 0.7 * flow[line] < levels[0] < 0.9 * flow[line]
        assert levels[-1] > 1.5 * flow[line]


def test_a_new_study_has_the_second_editions_charges(ieee69):
    """As the book's study has them: a fixed part, both peak charges, bills by scenario."""
    own, book = (read_study(folder).settings for folder in (ieee69, DATA / "studies" / "ieee33"))
    for key in ("billing", "fixed_share", "peak_with_losses", "demand_charge_usd_per_kw", "retail", "feed_in", "risk"):
        assert getattr(own, key) == getattr(book, key), key
    assert set(book.season.exclude_dates) == set(own.season.exclude_dates)
    for preset, menu in own.menus.items():
        for key in ("tariff", "individual_peak", "coincident_peak", "p2p"):
            assert getattr(menu, key) == getattr(book.menus[preset], key), (preset, key)


def test_menus_by_rule_follow_the_load_and_others_stay(ieee69):
    before, after = read_study(ieee69), read_study(ieee69, {"load.scale": 1.5})
    assert build.menus_are_by_rule(before) and not build.menus_are_by_rule(after)
    menus, told = build.renewed_menus(before, after, asked=False)
    was, now = before.menu("fast").capacity, menus["fast"]["capacity"]
    assert all(now[line][0] == pytest.approx(1.5 * levels[0], rel=0.02) for line, levels in was)
    assert told == "menus: limits taken from the new flows"
    chosen = {"menus.fast.p2p": [0.01]}
    before, after = read_study(ieee69, chosen), read_study(ieee69, chosen | {"load.scale": 1.5})
    menus, told = build.renewed_menus(before, after, asked=False)
    assert menus is None
    shares = re.fullmatch(r".*were ([\d.]+) to ([\d.]+) of .* are ([\d.]+) to ([\d.]+) now; --renew-menus .*", told)
    least, most, least_now, most_now = map(float, shares.groups())
    assert least_now == pytest.approx(least / 1.5, rel=0.01) and most_now == pytest.approx(most / 1.5, rel=0.01)
    assert build.renewed_menus(before, after, asked=True)[0]["fast"]["p2p"] == [0.04]
    assert build.renewed_menus(before, before, asked=False) == (None, ""), "nothing to say where flows stay"


@pytest.mark.parametrize("words, renewed", [([], False), (["--renew-menus"], True)])
def test_calibrate_says_what_becomes_of_menus(ieee69, tmp_path, capsys, monkeypatch, words, renewed):
    """Chosen by hand they stay, and the line says how tight they are now; on request they are taken anew."""
    study = tmp_path / "x"
    shutil.copytree(ieee69, study)
    text = (study / "study.yaml").read_text().replace("p2p: [0.04]", "p2p: [0.03]")
    (study / "study.yaml").write_text(text)
    monkeypatch.setattr(solve, "calibrate", lambda *_: solve.Calibration(1.4, 0.2, 3500.0, 1500.0))
    verb = ["study", "calibrate", str(study), "--prosumer-cost", "3500", "--welfare", "1500", "--quiet"]
    assert main([*verb, *words]) == 0
    assert ("taken from the new flows" if renewed else "menus: kept") in capsys.readouterr().out
    again = read_study(study)
    assert again.settings.load.scale == 1.4 and again.settings.calibrated_on == input_mark(again)
    assert build.menus_are_by_rule(again) == renewed
    assert "source: BDEW" in (study / "study.yaml").read_text()
    assert main([*verb, *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["load_scale"] == 1.4


def test_comments_name_the_source_of_what_is_still_the_case_studys(ieee69):
    text = (ieee69 / "study.yaml").read_text()
    above = {line.partition(":")[0].strip(): "" for line in text.splitlines() if not line.lstrip().startswith("#")}
    comment = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment += line.lstrip("# ") + " "
            continue
        key, comment = line.partition(":")[0].strip(), comment.strip()
        above[key], comment = above[key] or comment, ""
    assert "[$/kWh]" in above["retail_usd_per_kwh"] and "source: BDEW" in above["retail_usd_per_kwh"]
    assert "where absent: 0.0" in above["fixed_share"] and "<= 1" in above["fixed_share"]
    assert "source" not in above["peak_kw"], "the sum of this feeder's loads, not of IEEE 33's"
    for key in ("individual_peak", "coincident_peak", "p2p", "capacity"):
        assert "[$/k" in above[key] or "[kW]" in above[key], key
    changed = {"name": "x", "retail_usd_per_kwh": 0.3, "feed_in_usd_per_kwh": 0.1412}
    assert [*sources_beside(changed, DATA / "parameters.csv")] == ["feed_in_usd_per_kwh", *MENU_KEYS]
    assert sources_beside(changed, DATA / "none.csv") == {}


MENU_KEYS = [f"menus.<name>.{key}" for key in ("tariff", "individual_peak", "coincident_peak", "p2p")]


def test_a_folder_that_is_there_is_left_alone_and_a_failure_leaves_nothing(tmp_path, ieee69):
    grid = find_grid(f"{DATA}/feeders/ieee69_bus.csv,{DATA}/feeders/ieee69_branch.csv")
    with pytest.raises(InputError, match="exists already"):
        new_study(ieee69, grid, DATA)
    with pytest.raises(InputError, match="does not exist"):
        new_study(tmp_path / "new", grid, tmp_path)
    heavy = grid.bus.assign(p_kw=30 * grid.bus["p_kw"])
    with pytest.raises(InputError, match="has no power flow: its lines cannot carry its loads"):
        new_study(tmp_path / "new", type(grid)(grid.name, grid.source, "", heavy, grid.branch), DATA)
    idle = type(grid)(grid.name, grid.source, "", grid.bus.assign(p_kw=0.0), grid.branch)
    with pytest.raises(InputError, match="is a feeder where nobody has a load; give p_kw above zero to the buses"):
        new_study(tmp_path / "new", idle, DATA)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_the_studys_own_is_said(ieee69, tmp_path):
    study = read_study(ieee69)
    assert [w.partition(":")[0] for w in warnings(study)] == ["network"]  # its band is 0.9 to 1.1
    borrowed = read_study(ieee69, {"load.scale": 0.99})
    assert any("never recorded" in w for w in warnings(borrowed))
    assert not any("calibration" in w for w in warnings(read_study(ieee69, {"calibrated_on": input_mark(study)})))
    line, levels = study.menu("fast").capacity[0]
    loose = read_study(ieee69, {"menus.fast.capacity": {line: [levels[-1]]}})
    assert any("nothing binds" in w for w in warnings(loose))


def test_a_largest_level_that_binds_on_a_line_without_a_rating_is_said(tmp_path):
    """Of line 2 of the small study; reading refuses it on a line that has a rating."""
    write_study(tmp_path)
    flow = design_flows(read_study(tmp_path), "smoke").set_index("line").loc[2, "flow_kw"]
    offered = {
        name: {"menus.smoke.capacity": {1: [100, 400], 2: [5, top]}} for name, top in (("low", 10), ("high", 99))
    }
    assert 10 < flow < 99
    low, high = (warnings(read_study(tmp_path, offered[name]), "smoke") for name in ("low", "high"))
    (said,) = set(low) - set(high)
    assert said == (
        f"menus.smoke.capacity.2: its largest level, 10 kW, stands for no limit but is below the {flow:,.0f} kW that "
        "the line, which has no rating, carries on design days; offer a larger one"
    )
    assert not any(w.startswith("menus.") for w in high)


def test_a_network_beyond_its_limits_is_said_with_its_worst_places():
    """Two lines and three buses: what is reached and no more is said of neither kind."""
    lines = pd.DataFrame({"line": [1, 2], "loading": [1.2, 0.4]})
    voltages = pd.DataFrame(
        {"bus": [1, 2, 3], "v_min_pu": [0.8, 0.89, 0.88], "v_max_pu": [1.2, 1.0, 1.06], "lower": 0.9, "upper": 1.05}
    )
    (said,) = network_warnings(lines, voltages)
    assert said == (
        "network: on design days, where nobody reacts, lines above their rating: 1 (line 1 carries 1.20 of it), buses "
        "below their voltage band: 2 (bus 3 has 0.880 p.u.), buses above their voltage band: 1 (bus 3 has 1.060 p.u.); "
        "what prices and limits do not mend is curtailed"
    )
    calm = voltages.assign(v_min_pu=0.95, v_max_pu=1.0)
    assert network_warnings(lines.assign(loading=[1.0, 0.4]), calm) == []
    assert network_warnings(lines.assign(loading=0.4), calm.assign(v_max_pu=[1.0, 1.05, 1.0])) == []
    assert "constrains nobody" in network_warnings(lines.assign(loading=0.4), calm)[0]


def test_the_mark_of_a_calibration_is_no_input(tmp_path, ieee69):
    """A result does not hang on it, and the shipped studies are calibrated on the tables that they name."""
    shutil.copytree(ieee69, tmp_path / "x")
    before = read_study(tmp_path / "x")
    text = before.paths["study"].read_text()
    before.paths["study"].write_text(text + "calibrated_on: 0123456789abcdef\n")
    assert read_study(tmp_path / "x").data_hash == before.data_hash
    assert read_study(tmp_path / "x").settings.calibrated_on == "0123456789abcdef"
    before.paths["study"].write_text(text + "chance_level_of: 1\n")
    assert hash_files(before.paths) != before.data_hash
    assert calibration_warnings(read_study(DATA / "studies" / "ieee33")) == []
    (line,) = calibration_warnings(read_study(DATA / "studies" / "ieee33-2045"))
    assert "was made with other tables" in line


def test_a_design_no_better_than_the_flat_tariff_is_said():
    bounds = DesignProof(90.0, 100.0, 120.0, 50.0, 9, 9, "closed")
    assert design_warnings(bounds) == []
    assert design_warnings(replace(bounds, flat=100.02)) == []
    assert "as much as the flat" in design_warnings(replace(bounds, flat=100.001))[0]
    assert "more than the flat" in design_warnings(replace(bounds, flat=99.0))[0]


def test_what_is_not_meant_is_said_by_solve_and_stands_in_the_summary(trunk, tmp_path, capsys):
    """A menu that holds the flat tariff alone, no limit that binds, and a load scale of another feeder."""
    study, out = read_study(trunk), tmp_path / "out"
    line, levels = study.menu("smoke").capacity[0]
    alone = {
        "menus.smoke.tariff": {b: [0.0833] for b in ("off_peak", "day", "peak")},
        "menus.smoke.coincident_peak": [0.0],
        "menus.smoke.p2p": [0.0833],
        "menus.smoke.capacity": {line: [levels[-1], 2 * levels[-1]]},
        "load.scale": 0.99,
    }
    words = [w for key, value in alone.items() for w in ("--set", f"{key}={json.dumps(value)}")]
    assert main(["solve", str(trunk), "--case", "4", "--preset", "smoke", *words, "--quiet", "--out", str(out)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [text.split(":")[:2] for text in said] == [
        ["mind", " design"],
        ["mind", " menus.smoke"],
        ["mind", " load.scale, reference_value_usd_per_kwh"],
    ]
    summary = read_json(out / "summary.json")
    assert [f"mind: {text}" for text in summary["warnings"]] == said
    assert main(["certify", str(out)]) == 0
    write_json(out / "summary.json", summary | {"warnings": []})
    assert main(["certify", str(out)]) == 2, "who drops a warning is found"
    assert "summary.json: summary.warnings" in capsys.readouterr().err


def test_every_long_command_says_how_far_it_is_unless_told_not_to(trunk, tmp_path, capsys, monkeypatch):
    """At a terminal, on stderr; what a script reads is on stdout, the same with ``--quiet`` and without."""
    study, out = tmp_path / "x", tmp_path / "out"
    shutil.copytree(trunk, study)
    verbs = {
        "new": ["study", "new", str(tmp_path / "new"), "--from", trunk_source(trunk)],
        "calibrate": ["study", "calibrate", str(study), "--prosumer-cost", "760", "--welfare", "1200"],
        "electrify": ["study", "electrify", str(study), "--level", "0.1", "--out", str(tmp_path / "electric")],
        "solve": ["solve", str(study), "--case", "1", "--preset", "smoke", "--out", str(out)],
        "certify": ["certify", str(out)],
        "evaluate": ["evaluate", str(out)],
        "report": ["report", str(out)],
    }
    for name, words in verbs.items():
        told = []
        for extra in ([], ["--quiet"]):
            shutil.rmtree(tmp_path / "new", ignore_errors=True)
            shutil.rmtree(tmp_path / "electric", ignore_errors=True)
            monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
            assert main([*words, *extra]) == 0, name
            told.append(capsys.readouterr())
        spoken, quiet = ([x for x in t.err.splitlines() if not x.startswith("mind: ")] for t in told)
        assert spoken and not quiet, name
        assert told[0].out == told[1].out, name


@pytest.mark.parametrize(
    "words, told",
    [
        (["calibrate", "--prosumer-cost", "-5", "--welfare", "9"], "--prosumer-cost: USD: -5 is no amount"),
        (["calibrate", "--prosumer-cost", "9", "--welfare", "nan"], "--welfare: USD: nan is no amount"),
        (["check", "--plot", "map.xyz"], "--plot: map.xyz: is no picture; end its name in .svg, .pdf, .png"),
        (["check", "--preset", "tiny"], "unknown preset 'tiny'"),
    ],
)
def test_a_bad_option_of_a_study_verb_is_one_line(ieee69, capsys, words, told):
    before = (ieee69 / "study.yaml").read_bytes()
    assert main(["study", words[0], str(ieee69), *words[1:]]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and told in line
    assert (ieee69 / "study.yaml").read_bytes() == before


def test_prosumers_that_a_preset_leaves_out_are_counted(ieee69):
    study = read_study(ieee69, {"presets.smoke.n_prosumers": 3})
    (line,) = [text for text in warnings(study, "smoke") if text.startswith("presets.smoke.n_prosumers")]
    whole, kept = (sum(p.pv_kw + p.wind_kw for p in s.prosumers) for s in (study, keep_prosumers(study, 3)))
    assert f"3 of {len(study.prosumers)} prosumers" in line and f"{whole - kept:,.0f} kW" in line
    assert not [text for text in warnings(study, "fast") if text.startswith("presets")]


def test_a_long_check_says_how_far_it_is(monkeypatch, capsys):
    """Lines of a quick command are kept back, those of a slow one come at a pace; at a terminal time is told too."""
    now = [0.0]
    monkeypatch.setattr(cli.time, "monotonic", lambda: now[0])
    told: list[str] = []
    tell = cli.paced(told.append)
    for now[0], text in ((0.5, "soon"), (2.1, "a"), (3.0, "between"), (4.2, "b")):
        tell(text)
    assert told == ["a", "b"]
    monkeypatch.undo()
    monkeypatch.setattr(cli, "PACE", 0.01)
    for quiet, lines in ((True, 0), (False, 2)):
        with cli.at_work(quiet, "certifying") as step:
            time.sleep(0.4)
            step("check 2 of 8")
            time.sleep(0.4)
        said = capsys.readouterr().err.splitlines()
        assert len(said) >= lines if lines else not said
        first, last = (said[0], said[-1]) if lines else ("certifying: 0 s", "certifying: 0 s, check 2 of 8")
        assert re.fullmatch(r"certifying: \d+ s", first) and re.fullmatch(r"certifying: \d+ s, check 2 of 8", last)


def test_a_check_draws_the_feeder(ieee69, tmp_path, capsys):
    assert main(["study", "check", str(ieee69), "--preset", "smoke", "--plot", str(tmp_path / "map.svg")]) == 0
    assert "<svg" in (tmp_path / "map.svg").read_text() and "limits offered" in capsys.readouterr().out


@pytest.mark.parametrize("chapter", ["03-data-and-scenarios", "05-prosumers"])
def test_a_chapter_runs_with_a_study_of_ones_own(trunk, tmp_path, monkeypatch, chapter):
    """Other names than the book's, signs of TeX among them."""
    root, study = tmp_path / "root", tmp_path / "study"
    root.mkdir()
    for path in DATA.parent.iterdir():
        if path.name in ("_config.yml", "_toc.yml", "chapters", "data", "pyproject.toml", "tritier"):
            (root / path.name).symlink_to(path)
    shutil.copytree(trunk, study)
    table = pd.read_csv(study / "prosumers.csv")
    table["prosumer"] = [f"x_{k} & {k} % #^~" for k in range(len(table))]
    table.to_csv(study / "prosumers.csv", index=False)
    monkeypatch.setenv("PYTHONPATH", str(DATA.parent))
    said = {"preset": "smoke", "study": str(study)}
    papermill.execute_notebook(
        root / "chapters" / f"{chapter}.ipynb", tmp_path / "out.ipynb", said, cwd=root, progress_bar=False
    )
    assert re.search(r"x_\d+ & \d+ % #\^~", (tmp_path / "out.ipynb").read_text()), "it speaks of this study's prosumers"


def test_a_check_shows_flows_beside_limits(ieee69):
    found = check_study(read_study(ieee69))
    assert found.figures["buses"] == 69
    assert found.figures["load_peak_kw"] == pytest.approx(3802.1, abs=0.1)
    assert (found.menu["share"] == found.menu["limit_kw"] / found.menu["flow_kw"]).all()
    assert len(found.lines) == 68
    assert found.voltages["v_min_pu"].min() == pytest.approx(found.figures["lowest_voltage_pu"])


def test_a_commented_file_reads_as_what_was_written(tmp_path):
    content = {"name": "x", "season": {"months": [1]}, "load": {"peak_kw": 5.0}, "menus": {"smoke": {"p2p": [0.1]}}}
    (tmp_path / "study.yaml").write_text(commented_yaml(Settings, content))
    assert read_yaml(tmp_path / "study.yaml", "") == content


def test_shapes_of_a_rural_feeder_are_of_all_kinds():
    found = pd.concat([pd.Series(build.shape_weights(n)) for n in range(1, 7)])
    assert {name.partition("-")[0][0] for name in found.index} == {"H", "G", "L"}
    assert all(sum(build.shape_weights(n).values()) == pytest.approx(1.0) for n in range(1, 40))
    assert all(name.startswith("H0") for n in range(1, 7) for name in build.shape_weights(n, homes_only=True))


def test_a_report_is_one_page_that_needs_nothing_else(trunk, tmp_path):
    from tritier.book.report import write_report
    from tritier.cases.result import read_result

    out = tmp_path / "out"
    assert main(["solve", str(trunk), "--case", "4", "--preset", "smoke", "--out", str(out)]) == 0
    text = write_report(out, read_result(out)).read_text()
    assert sorted(p.name for p in out.iterdir() if p.name.startswith(".")) == []
    assert text.count("<svg") >= 3
    for remote in ("http://", "https://", "<script", "<link", "@import"):
        assert remote not in text.replace("http://www.w3.org", "").replace("https://matplotlib.org", "").replace(
            "http://creativecommons.org", ""
        ).replace("http://purl.org", "")
    for title in ("Design", "Certificates", "Feeder", "Market", "Unseen days", "Where this comes from"):
        assert f"<h2>{title}</h2>" in text
    assert "no voltage or rating is reached" in text, "what check says stands in the report too"


def test_a_reports_band_of_prices_is_weighed_as_its_price_is(monkeypatch):
    """Scenarios are not alike: their plain mean lay up to 0.004 $/kWh off."""
    from tritier.book import report
    from tritier.cases.result import FOLDER, read_result

    solved, drawn = read_result(FOLDER / "2045-odd" / "case-4"), []

    def noted(*given: object) -> None:
        drawn.append(given)
        raise InterruptedError

    monkeypatch.setattr(report, "trades_by_hour", noted)
    with pytest.raises(InterruptedError):
        report.picture_of_trades(solved)
    days, own = solved.clearing.days, solved.clearing
    tau = np.array(solved.design.tariff)[own.rules.block]
    for shown, price in zip(drawn[0][-2:], (own.retail + tau[:, None], own.feed_in), strict=True):
        weighed = sum(p * price[:, w] for w, p in enumerate(days.probability))
        assert shown == pytest.approx(weighed, abs=1e-12)
        assert np.abs(shown - price.mean(axis=1)).max() > 1e-3


def test_a_report_shows_a_menu_only_where_one_was_offered(trunk, tmp_path):
    from tritier.book.report import design_tables

    for number, head in ((1, ["decision", "unit", "chosen"]), (3, ["decision", "unit", "menu", "chosen", TODAY])):
        (text,) = design_tables(tt.solve(trunk, number, "smoke"))
        assert re.findall(r"<th[^>]*>([^<]+)</th>", text)[: len(head)] == head


def small_tables(folder: Path) -> str:
    """Five buses of homes on one line, and no load that is not a prosumer's; as ``--from`` takes them."""
    bus, branch = folder / "homes_bus.csv", folder / "homes_branch.csv"
    rows = [f"{k},pq,{60 + 10 * k},20,11,0.95,1.05" for k in range(2, 7)]
    bus.write_text("\n".join(["bus,type,p_kw,q_kvar,vn_kv,vmin_pu,vmax_pu", "1,slack,0,0,11,1,1", *rows]) + "\n")
    lines = [f"{k},{k},{k + 1},0.4,0.3,1" for k in range(1, 6)]
    branch.write_text("\n".join(["line,from_bus,to_bus,r_ohm,x_ohm,closed", *lines]) + "\n")
    return f"{bus},{branch}"


def test_the_electrified_twin_keeps_its_studys_value_added_tax(ieee69):
    content = read_yaml(ieee69 / "study.yaml", "")
    for changes, share in (({"retail.vat_share": 0.25}, 0.25), ({}, 0.19)):
        twin = build.electrified_settings(content, read_study(ieee69, changes), 1.0, ["deferrable_profiles"])
        retail = Settings.model_validate(twin).retail
        assert (retail.kind, retail.vat_share) == ("spot_indexed", share)


def test_batteries_of_the_electrified_twin_are_sized_by_its_sun_whatever_their_scale(ieee69):
    for scale in (1.0, 2.0):
        study = read_study(ieee69, {"batteries.scale": scale})
        twin = build.electrified_settings({}, study, 1.0, [])
        before, sun = (sum(getattr(p, name) for p in study.prosumers) for name in ("battery_kwh", "pv_kw"))
        after = before / scale * twin["batteries"]["scale"]
        assert after == pytest.approx(build.BATTERY_KWH_PER_KWP * build.PV_SCALE * sun, rel=1e-3)


def test_flows_on_design_days_are_those_of_the_prosumers_that_take_part():
    """Three of fourteen, not the first ones: their sun lies where they live, everybody else's is left out."""
    study = read_study(DATA / "studies" / "ieee33-2045")
    few = study.preset("fast", {"n_prosumers": 3})
    instance, days = build_instance(study, few), design_days(study, few)
    assert [p.bus for p in instance.prosumers] != [p.bus for p in study.prosumers[:3]]
    bare = chance.net_load(instance.on(days), bare_injection(days))
    assert np.allclose(uncontrolled_load(study, few)[1], bare, rtol=0, atol=1e-9)


def test_a_feeder_whose_homes_are_all_prosumers_goes_electric(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "prosumer_buses", lambda bus, *_: bus[bus != 1])
    study = new_study(tmp_path / "today", find_grid(small_tables(tmp_path)), DATA)
    assert {p.bus for p in study.prosumers} == set(range(2, 7))
    twin, _ = electrify(study.folder, tmp_path / "then", 1.0, DATA)
    assert "passive" not in twin.paths and any(p.ev_delay_h for p in twin.prosumers)
    assert main(["study", "check", str(twin.folder), "--preset", "smoke"]) == 0


def test_a_slack_voltage_outside_a_bus_band_is_refused_by_name(tmp_path, capsys):
    study = new_study(tmp_path / "today", find_grid(small_tables(tmp_path)), DATA)
    for voltage, told in ((0.94, "0.94 is below vmin_pu 0.95 of bus 2"), (1.06, "1.06 is above vmax_pu 1.05 of bus 2")):
        words = ["solve", str(study.folder), "--case", "1", "--preset", "smoke", "--out", str(tmp_path / "out")]
        assert main([*words, "--set", f"substation_voltage_pu={voltage}"]) == 2
        assert f"study.yaml: substation_voltage_pu: {told}; give a voltage within" in capsys.readouterr().err


def test_a_table_with_semicolons_is_told_of_commas(tmp_path):
    tables = small_tables(tmp_path)
    bus = Path(tables.split(",")[0])
    bus.write_text(bus.read_text().replace(",", ";"))
    with pytest.raises(InputError, match=r"column bus: is missing .*; put commas between columns"):
        find_grid(tables)


@pytest.mark.parametrize(("option", "given"), [("--root", {"root": 2}), ("--open", {"opened": [3]})])
def test_tables_say_themselves_where_the_root_is_and_what_is_open(option, given, tmp_path):
    with pytest.raises(InputError, match=f"^{option}: .* is not for tables, which say so themselves; name the slack"):
        find_grid(small_tables(tmp_path), **given)


def test_a_report_calls_days_unseen_only_where_they_are(trunk, tmp_path):
    """Three scenarios of unequal probability: their means are those of the summary, and the design has seen them."""
    from tritier.book.report import held_out

    out = tmp_path / "out"
    assert main(["solve", str(trunk), "--case", "4", "--preset", "smoke", "--out", str(out)]) == 0
    for days, title in (("scenarios", "Days of the set scenarios, which the design has seen"), ("held-out", "Unseen")):
        assert main(["evaluate", str(out), "--days", days]) == 0
        text = "".join(held_out(out))
        assert f"<h2>{title}" in text
        if days == "scenarios":
            summary, probability = read_json(out / "summary.json"), pd.read_csv(out / "evaluation.csv")["probability"]
            assert probability.nunique() > 1
            (own,) = re.findall(r"market policy</td>\s*<td[^>]*>([-\d.,]+)", text)
            assert float(own.replace(",", "")) == pytest.approx(summary["welfare_usd"], rel=1e-3)


def two_bus_study(folder: Path, monkeypatch) -> tuple[Path, np.ndarray, float]:
    """A feeder whose voltages are checked by hand: loads at bus 2, active only, and one per cent of them behind it at a
    prosumer who owns nothing and can do without a tenth. Its study, the least load on design days, kW, (T, D), and the
    fall of the squared voltage, p.u./kW, so that 0.95 p.u. hold at bus 2 from 1.02 p.u. on."""
    bus, branch = folder / "bus.csv", folder / "branch.csv"
    head = "bus,type,p_kw,q_kvar,vn_kv,vmin_pu,vmax_pu\n"
    bus.write_text(f"{head}1,slack,0,0,10,1,1\n2,pq,1000,0,10,0.95,1.05\n3,pq,10,0,10,0.5,1.5\n")
    branch.write_text("line,from_bus,to_bus,r_ohm,x_ohm,closed\n1,1,2,5,0,1\n2,2,3,0.001,0,1\n")
    monkeypatch.setattr(build, "prosumer_buses", lambda bus, *_: bus[bus == 3])
    study = new_study(folder / "x", find_grid(f"{bus},{branch}"), DATA)
    days = design_days(study, study.preset("smoke"))
    load = days.passive_kw[study.feeder.position(2)] + 0.9 * days.demand_kw[0]
    prosumer = pd.read_csv(study.paths["prosumers"])
    prosumer[["pv_kw", "wind_kw", "battery_kwh", "battery_kw"]] = 0.0
    prosumer.to_csv(study.paths["prosumers"], index=False)
    fall = (1.015**2 - 0.95**2) / load.max()
    table = pd.read_csv(study.paths["branch"])
    table["rating_a"] = 1000.0  # the voltage is all that binds
    table.loc[0, "r_ohm"] = fall * 10**2 * 1e3 / 2  # v0^2 - 2 r P / kV^2, P in MW
    table.to_csv(study.paths["branch"], index=False)
    path = study.paths["study"]
    text = re.sub(r"# (voltage_margin_pu): null", r"\1: 0.0", path.read_text())
    path.write_text(re.sub(r"(?m)^( +\d+): \[.*\]$", "", text).replace("capacity:", "capacity: {}"))
    return study.folder, load, fall


def test_the_substation_takes_the_smallest_step_at_which_nothing_is_shed(tmp_path, monkeypatch):
    """By hand: what bus 2 may draw at each step, and how much its load is above that on its worst day."""
    folder, load, fall = two_bus_study(tmp_path, monkeypatch)
    worst = load[:, load.max(axis=0).argmax()]
    above = [np.maximum(worst - (step**2 - 0.95**2) / fall, 0).sum() for step in (1.0, 1.01, 1.02)]
    assert above[0] > above[1] > 1 and above[2] == 0
    for step, by_hand in zip((1.0, 1.01), above, strict=False):
        least, day = unavoidable_violation(read_study(folder, {"substation_voltage_pu": step}))
        assert day and least == pytest.approx(by_hand, rel=1e-3)
    said: list[str] = []
    voltage, told = substation_voltage(folder, said.append)
    assert voltage == 1.02 and told.startswith("substation: 1.02 p.u., the smallest step, as at 1 p.u. ")
    assert said[0].startswith("substation at 1 p.u.: design day 1 of ")
    twin, told = electrify(folder, tmp_path / "twin", 0.0, DATA)
    assert twin.feeder.v_slack == twin.settings.substation_voltage_pu == 1.02
    assert "substation: 1.02 p.u." in told and read_study(tmp_path / "twin").data_hash == twin.data_hash
    monkeypatch.setattr(build, "STEPS", (1.0, 1.01))
    voltage, told = substation_voltage(folder)
    assert voltage == 1.0 and "no step helps" in told
    table = pd.read_csv(folder / "branch.csv")
    table.loc[0, "r_ohm"] *= 1e4  # then next to nothing may be drawn, and the worst day's load is beyond the box
    table.to_csv(folder / "branch.csv", index=False)
    least, day = unavoidable_violation(read_study(folder))
    assert least == np.inf and day
    assert (
        f"at 1.01 p.u. more than prosumers could pay for at its declared price would be shed on {day}"
        in (substation_voltage(folder)[1])
    )
    monkeypatch.setattr(JointLP, "solve", lambda *_: (_ for _ in ()).throw(InfeasibleError("no decision at all")))
    with pytest.raises(InfeasibleError, match="no decision at all"):
        unavoidable_violation(read_study(folder))


def test_the_electrified_twin_is_the_electrified_study(tmp_path, monkeypatch):
    """The same rules by another way: ieee33 made electric is the study ieee33-2045, to the digits of its tables, its
    substation's voltage on the three heaviest of the design days included: on all 33 the rule takes 15 s, and gives the
    same."""

    def heaviest(study, preset, half="odd"):
        days = design_days(study, preset, half)
        most = days.passive_kw.sum(axis=0) + days.demand_kw.sum(axis=0) + days.deferrable_kw.sum(axis=(0, 1))
        return days.select(np.sort(np.argsort(most.max(axis=0))[-3:]))

    monkeypatch.setattr(build, "design_days", heaviest)
    twin, told = electrify(DATA / "studies" / "ieee33", tmp_path / "twin", 1.0, DATA)
    study = read_study(DATA / "studies" / "ieee33-2045")
    for table in ("prosumers", "passive"):
        one, other = (pd.read_csv(s.paths[table]).set_index("bus") for s in (twin, study))
        numbers = other.select_dtypes("number").columns
        assert np.allclose(one.loc[other.index, numbers], other[numbers], rtol=2e-4), table
    for key in ("electrification", "retail", "feed_in", "billing", "batteries", "renewables"):
        assert getattr(twin.settings, key) == getattr(study.settings, key), key
    assert twin.settings.menus == read_study(DATA / "studies" / "ieee33").settings.menus, "chosen by hand, so they stay"
    assert "menus: kept" in told and "--renew-menus" in told
    assert twin.feeder.v_slack == study.feeder.v_slack == study.settings.substation_voltage_pu
    assert "nothing needs to be shed on any design day" in told


def test_the_dial_is_that_of_the_command(ieee69, tmp_path):
    half, told = electrify(ieee69, tmp_path / "half", 0.5, DATA)
    assert half.settings.electrification == 0.5
    assert "taken from the new flows" in told and build.menus_are_by_rule(half)
    was, now = (dict(s.menu("smoke").capacity)[1][0] for s in (read_study(ieee69), half))
    assert now > 1.2 * was, "vehicles and heat pumps raise the flows, and the limits with them"
    assert (tmp_path / "half" / "plugged_in.csv").is_file()
    with pytest.raises(InputError, match="has vehicles or heat pumps"):
        electrify(tmp_path / "half", tmp_path / "again", 0.5, DATA)
    with pytest.raises(InputError, match="is no share"):
        electrify(ieee69, tmp_path / "more", 1.5, DATA)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["half"]


def test_a_calibration_is_recorded_with_the_tables_it_rests_on(tmp_path):
    study = new_study(
        tmp_path / "x", find_grid(f"{DATA}/feeders/ieee69_bus.csv,{DATA}/feeders/ieee69_branch.csv"), DATA
    )
    record_calibration(study, 0.97, 0.2)
    again = read_study(tmp_path / "x")
    assert (again.settings.load.scale, again.settings.reference_value_usd_per_kwh) == (0.97, 0.2)
    assert not any("calibration" in w for w in warnings(again))
    table = pd.read_csv(again.paths["prosumers"])
    table.assign(pv_kw=2 * table["pv_kw"]).to_csv(again.paths["prosumers"], index=False)
    assert any("made with other tables" in w for w in warnings(read_study(tmp_path / "x")))


def test_the_larger_second_feeder_is_made_again_to_the_last_digit(tmp_path):
    """Its tables hold whole numbers, which one way of writing has with a point and another without."""
    source = ",".join(f"{DATA}/feeders/oberrhein2_{part}.csv" for part in ("bus", "branch"))
    study = new_study(tmp_path / "today", find_grid(source), DATA)
    twin, _ = electrify(study.folder, tmp_path / "then", 1.0, DATA)
    assert twin.data_hash == read_json(DATA / "results" / "elsewhere" / "oberrhein2" / "origin.json")["data_hash"]
    assert ".0" in (twin.folder / "passive.csv").read_text()


@pytest.mark.parametrize("name", ["ieee69", "oberrhein2"])
def test_stored_days_of_second_feeders_are_of_the_designs_beside_them(name):
    """Trade agreed the day before is the same on all days: a mark of the decisions in the days themselves."""
    place = DATA / "results" / "elsewhere" / name
    for number in (1, 2, 4):
        path, daily = place / f"case-{number}" / "decisions.npz", pd.read_csv(place / f"case-{number}.csv")
        assert read_json(place / f"case-{number}.json")["decisions"] == digest(path.read_bytes())
        with np.load(path) as made:
            assert daily["p2p_kwh"].to_numpy() == pytest.approx(float(made["zs"].sum()), rel=1e-9)


def test_a_case_elsewhere_that_was_solved_anew_is_judged_anew(tmp_path, monkeypatch):
    """And until then its feeder does not count as finished."""
    run, number, named = script("elsewhere"), 4, "ieee69"
    shutil.copytree(DATA / "results" / "elsewhere" / named, tmp_path / named)
    kept, judged = tmp_path / named / "case-4.csv", []
    about = read_json(tmp_path / named / "origin.json")
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "judged", lambda *given: judged.append(given[1]))
    monkeypatch.setattr(run, "find", lambda *given: SimpleNamespace(daily=pd.DataFrame({"day": ["another"]})))
    monkeypatch.setattr(run, "find_days", lambda *given: None)
    prepared = SimpleNamespace(
        study=SimpleNamespace(data_hash=about["data_hash"]), preset=SimpleNamespace(name=about["preset"])
    )
    result = SimpleNamespace(
        case=CASES[number], decisions=None, origin={"seconds": 1.0}, certify=lambda *given: judged.append("certified")
    )
    run.judge_case(named, prepared, result)
    assert judged == []
    (tmp_path / named / "case-4" / "decisions.npz").write_bytes(b"of another design")
    for _ in range(2):
        run.judge_case(named, prepared, result)
        assert judged == ["certified", number] and "another" in kept.read_text()
    assert not (tmp_path / named / "origin.json").exists()


def test_second_feeders_are_stored_with_their_proof_and_made_again_from_nothing(ieee69, tmp_path):
    """Whoever makes the electrified study again by the rules has the tables that its stored cases were solved on."""
    folder = DATA / "results" / "elsewhere"
    judged = elsewhere(folder)
    assert set(judged) == {"ieee69", "oberrhein2"}
    for name, daily in judged.items():
        about, proof = (read_json(folder / name / part) for part in ("origin.json", "case-4/certificate.json"))
        assert sorted(set(daily["case"])) == [1, 2, 4] and daily["day"].nunique() >= 29
        assert not daily[["welfare_usd", "secured_welfare_usd", "ac_losses_kwh"]].isna().any().any()
        design = proof["design"]
        assert (
            design["proof"] == "closed" and design["gap"] <= 0.05 and proof["equilibrium"]["max_relative_gain"] < GAIN
        )
        assert design["first_best"] <= design["lower_bound"] <= design["upper_bound"] <= design["flat"]
        for case in (1, 2, 4):
            assert read_json(folder / name / f"case-{case}" / "provenance.json")["data_hash"] == about["data_hash"]
    electrify(ieee69, tmp_path / "twin", 1.0, DATA)
    path, told = tmp_path / "twin" / "study.yaml", "# Electric vehicles, of prosumers"
    before, _, since = path.read_text().partition(told)  # keys that came since are listed there, commented out
    lines = since.splitlines(keepends=True)
    assert len(lines) > 14 and all(line.lstrip().startswith("#") for line in lines[1:14])
    for key, comment in (("p2p_trade: day_ahead", "whether P2P trades are"), ("rights: day", "whether judged days")):
        at = lines.index(f"# {key}\n")
        assert lines[at - 1].startswith(f"# {comment}")
        del lines[at - 1 : at + 1]
    path.write_text(before + "".join(lines[14:]))
    twin = read_study(path.parent)
    assert twin.data_hash == read_json(folder / "ieee69" / "origin.json")["data_hash"]
