"""Write feeders.csv and feeders.json: six feeders that nobody prepared, from ``study new`` to a certified Case 4.

`python data/results/feeders.py` from the repository root, with the extra ``import``; five minutes. Each feeder passes
through the command line alone, at preset smoke and with no file edited: study new, check, solve, certify, evaluate,
report. Beside it stands what pandapower's own power flow says of the same feeder at its nominal load. Every row is
stored as soon as it is there, with date and commit; delete feeders.csv for a fresh start. Kerber's networks are left
out: pandapower draws their cables anew at each call.
"""

from __future__ import annotations

import io
import json
import platform
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.cli import main
from tritier.inputs.tables import read_feeder
from tritier.model.acflow import ac_power_flow
from tritier.provenance import commit, write_csv
from tritier.studies.build import find_grid
from tritier.studies.grid import Grid, case_path

FEEDERS = (
    "pandapower:case33bw",
    "pandapower:create_synthetic_voltage_control_lv_network",
    "matpower:case85",
    "simbench:1-MV-rural--2-sw",
    "simbench:1-MV-semiurb--2-sw",
    "simbench:1-MV-comm--2-sw",
)
PACKAGES = ("matpower", "numpy", "pandapower", "simbench")
HERE = Path(__file__).resolve().parent
TABLE = HERE / "feeders.csv"


def verb(*words: str) -> tuple[str, float]:
    """What a verb prints, and its seconds; RuntimeError with its last line where it does not end with 0."""
    out, err, begin = io.StringIO(), io.StringIO(), time.perf_counter()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    if code:
        raise RuntimeError(f"tritier {' '.join(words)}: exit {code}: {err.getvalue().splitlines()[-1]}")
    return out.getvalue(), time.perf_counter() - begin


def own_network(source: str) -> Any:
    """The pandapower network that a feeder comes from; a MATPOWER case is entered from its file by a reading of its
    own (:func:`case_network`)."""

    kind, _, name = source.partition(":")
    if kind == "pandapower":
        import pandapower.networks as pn

        return getattr(pn, name)()
    if kind == "simbench":
        import simbench

        return simbench.get_simbench_net(name)
    return case_network(case_path(name))


def case_network(path: Path) -> Any:
    """A MATPOWER case that states ohms and kilowatts, entered into pandapower as it states them: neither the package's
    reader nor the per-unit conversions at the file's end have a part in it."""
    import pandapower as pp

    text = path.read_text()
    if "r and x specified in ohms" not in text or "convert loads from kW to MW" not in text:
        raise ValueError(f"{path.name} does not state ohms and kilowatts")
    rows: dict[str, list[list[float]]] = {}
    for line in text.splitlines():
        word = line.strip()
        if word.startswith("mpc.") and "[" in word:
            table = rows.setdefault(word.split("=")[0].strip(), [])
        elif word.endswith(";") and word[0].isdigit():
            table.append([float(x) for x in word.rstrip(";").split()])
    net = pp.create_empty_network(f_hz=50)
    for number, _, p_kw, q_kvar, *rest in rows["mpc.bus"]:
        pp.create_bus(net, rest[5], index=int(number) - 1)
        pp.create_load(net, int(number) - 1, p_kw / 1e3, q_kvar / 1e3)
    for k, (a, b, r_ohm, x_ohm, _, *rest) in enumerate(rows["mpc.branch"]):
        ends, closed = (int(a) - 1, int(b) - 1), rest[5] == 1
        pp.create_line_from_parameters(net, *ends, 1.0, r_ohm, x_ohm, 0.0, 1.0, index=k, in_service=closed)
    return net


def own_flow(net: Any, grid: Grid) -> tuple[float, float]:
    """Losses [kW] and lowest voltage [p.u.] that pandapower finds for the loads of a network below the busbar of a
    feeder. Nothing but transformers, generators and storages is taken out of it: what it cannot reach from the busbar,
    pandapower leaves out itself."""
    import pandapower as pp

    held = float(grid.bus["vmin_pu"].iloc[0])
    for table in ("trafo", "ext_grid", "sgen", "storage"):
        net[table] = net[table].iloc[:0]
    net.switch = net.switch[net.switch.et != "t"]
    pp.create_ext_grid(net, int(grid.bus["bus"].iloc[0]) - 1, vm_pu=held)
    pp.runpp(net, numba=False, tolerance_mva=1e-10)
    return 1e3 * float(net.res_line.pl_mw.sum()), float(net.res_bus.vm_pu.min())


def flows(source: str) -> dict[str, float]:
    """AC losses and lowest voltage at nominal load by our power flow, and how far pandapower's are from them."""
    grid = find_grid(source)
    with tempfile.TemporaryDirectory() as folder:
        bus, branch = Path(folder) / "bus.csv", Path(folder) / "branch.csv"
        grid.bus.to_csv(bus, index=False)
        grid.branch.to_csv(branch, index=False)
        feeder = read_feeder(bus, branch)
    flow = ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar)
    losses, lowest = float(flow.losses_kw), float(np.min(flow.v_pu))
    own_losses, own_lowest = own_flow(own_network(source), grid)
    return {
        "losses_kw": losses,
        "v_min_pu": lowest,
        "losses_off_kw": abs(losses - own_losses),
        "v_min_off_pu": abs(lowest - own_lowest),
    }


def row(source: str, work: Path) -> dict[str, object]:
    """One feeder through all verbs: its size, power flow, design, proof, unseen days and seconds."""
    study, out = str(work / "study"), str(work / "out")
    seconds = verb("study", "new", study, "--from", source)[1]
    text, last = verb("study", "check", study, "--preset", "smoke", "--json")
    figures, seconds = json.loads(text)["figures"], seconds + last
    seconds += verb("solve", study, "--case", "4", "--preset", "smoke", "--quiet", "--out", out)[1]
    text, last = verb("certify", out)
    proof, seconds = json.loads(text), seconds + last
    text, last = verb("evaluate", out, "--quiet")
    judged, seconds = json.loads(text), seconds + last
    seconds += verb("report", out)[1]
    return {
        "source": source,
        **{key: figures[key] for key in ("buses", "prosumers", "load_peak_kw")},
        **flows(source),
        **{f"{key}_usd": proof["design"][key] for key in ("flat", "upper_bound", "lower_bound", "first_best")},
        "proof": proof["design"]["proof"],
        "largest_relative_gain": proof["equilibrium"]["max_relative_gain"],
        "held_out_days": judged["days"],
        "held_out_violation_share": judged["violation_share"],
        "warnings": len(json.loads((work / "out" / "summary.json").read_text())["warnings"]),
        "seconds": round(seconds, 1),
    }


def renew() -> None:
    """Pass every feeder through that is not stored yet."""
    for source in FEEDERS:
        table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["source"])
        if source in set(table["source"]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = row(source, Path(folder)) | {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit()}
        both = pd.concat([table, pd.DataFrame([found])]) if len(table) else pd.DataFrame([found])
        write_csv(TABLE, both)
        print(source, found["proof"], f"{found['seconds']} s", file=sys.stderr, flush=True)
    origin = {
        "command": "python data/results/feeders.py",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "machine": platform.machine(),
    }
    (HERE / "feeders.json").write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    renew()
