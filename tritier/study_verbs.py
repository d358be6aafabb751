"""``tritier study ...`` and ``tritier report``: a study of one's own on the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.inputs.study import Study, read_study
from tritier.provenance import PACKAGE

DATA = PACKAGE.parent / "data"
Verbs = Any  # what argparse's add_subparsers gives


def add_study(verbs: Verbs, parser_class: type[argparse.ArgumentParser]) -> None:
    """``study new``, ``check``, ``calibrate`` and ``electrify``."""
    study = verbs.add_parser("study", help="make, check, calibrate or electrify a study of one's own")
    below = study.add_subparsers(dest="what", required=True, parser_class=parser_class)

    new = below.add_parser("new", help="write a complete study folder for a feeder from elsewhere")
    new.set_defaults(run=write_new)
    new.add_argument("folder", help="folder to write")
    new.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="X",
        help="pandapower:NAME, simbench:CODE, matpower:CASE, a MATPOWER .m file, a pandapower .json file, or "
        "BUS.csv,BRANCH.csv",
    )
    new.add_argument(
        "--root", type=int, default=None, metavar="BUS", help="bus of the substation, where there are more"
    )
    new.add_argument("--open", type=int, action="append", default=[], metavar="LINE", help="open a line of a loop")
    add_data(new)

    check = below.add_parser("check", help="print what is in a study, and what is not its own")
    check.set_defaults(run=check_one)
    check.add_argument("folder")
    check.add_argument("--preset", default="fast", help="whose menu is shown")
    check.add_argument("--plot", default=None, metavar="FILE", help="draw the feeder: .svg, .pdf or .png")
    check.add_argument("--json", action="store_true")

    fit = below.add_parser("calibrate", help="fit load scale and reference value so that Case 1 meets two targets")
    fit.set_defaults(run=calibrate_one)
    fit.add_argument("folder")
    fit.add_argument("--prosumer-cost", type=float, required=True, metavar="USD", help="a day, of Case 1")
    fit.add_argument("--welfare", type=float, required=True, metavar="USD", help="a day, of Case 1")

    electric = below.add_parser("electrify", help="write the study's twin with vehicles, heat pumps and spot prices")
    electric.set_defaults(run=electrify_one)
    electric.add_argument("folder")
    electric.add_argument("--level", type=float, default=1.0, help="the dial, 0 to 1")
    electric.add_argument("--out", required=True, help="folder to write")
    add_data(electric)


def add_data(verb: argparse.ArgumentParser) -> None:
    """Where profiles and prices lie that a feeder does not bring."""
    verb.add_argument("--data", default=str(DATA), help="folder data/ of the repository: profiles and prices")


def add_report(verbs: Verbs) -> None:
    """``report``."""
    report = verbs.add_parser("report", help="one self-contained HTML page for a solved case")
    report.set_defaults(run=write_page)
    report.add_argument("folder")
    report.add_argument("--study", default=None, help="the study's folder, where it has moved")


def write_new(a: argparse.Namespace) -> int:
    """Write a study folder, say what is in it and what to mind."""
    from tritier.studies.build import find_grid, new_study

    grid = find_grid(a.source, a.root, a.open)
    print(f"{a.source}: {len(grid.bus)} buses, {grid.bus['p_kw'].sum():,.0f} kW", file=sys.stderr, flush=True)
    study = new_study(Path(a.folder), grid, Path(a.data))
    noted(study, "fast")
    print(f"written to {a.folder}; next: tritier study check {a.folder}", file=sys.stderr)
    return 0


def check_one(a: argparse.Namespace) -> int:
    """Print a study's figures, flows, voltages and menu, then what to mind; 0, whatever that is."""
    from tritier.studies.check import check_study

    found = check_study(read_study(a.folder), a.preset)
    if a.plot is not None:
        draw(read_study(a.folder), found.voltages, Path(a.plot))
    if a.json:
        tables = {name: getattr(found, name).to_dict("records") for name in ("lines", "voltages", "menu")}
        print(json.dumps({"figures": found.figures, "warnings": found.warnings} | tables, default=float))
        return 0
    for name, value in found.figures.items():
        print(f"{name:22} {value:,.4g}" if isinstance(value, float) else f"{name:22} {value}")
    for title, table in (
        ("largest flows on design days, nobody shifting, storing or curtailing", found.lines),
        ("limits offered beside these flows; a share above 1 never binds", found.menu),
        ("lowest and highest voltage there", found.voltages),
    ):
        print(f"\n{title}\n{table.to_string(index=False, float_format=lambda x: f'{x:,.4g}')}")
    for line in found.warnings:
        print(f"\nmind: {line}")
    return 0


def draw(study: Study, voltages: pd.DataFrame, path: Path) -> None:
    """The feeder as a map of its lowest voltages."""
    from tritier.plots.network import feeder_map
    from tritier.plots.style import close, use_style

    use_style()
    where = np.array([study.feeder.position(p.bus) for p in study.prosumers])
    fig = feeder_map(study.feeder, voltages["v_min_pu"].to_numpy(), "lowest voltage [p.u.]", ringed=where)
    fig.savefig(path)
    close(fig)


def calibrate_one(a: argparse.Namespace) -> int:
    """Fit both parameters and write them into study.yaml."""
    from tritier.cases.calibrate import calibrate
    from tritier.studies.check import record_calibration

    study = read_study(a.folder)
    found = calibrate(a.folder, a.prosumer_cost, a.welfare, study.settings.load.scale)
    record_calibration(study, found.load_scale, found.reference_value)
    print(
        f"load.scale {found.load_scale:.9g}, reference_value_usd_per_kwh {found.reference_value:.9g}: Case 1 costs "
        f"prosumers {found.prosumer_cost:,.2f} $ a day, welfare {found.welfare:,.2f} $; written to study.yaml"
    )
    return 0


def electrify_one(a: argparse.Namespace) -> int:
    """Write the electrified twin, and say what to mind."""
    from tritier.studies.electrify import electrify

    study = electrify(Path(a.folder), Path(a.out), a.level, Path(a.data))
    noted(study, "fast")
    print(f"written to {a.out}", file=sys.stderr)
    return 0


def noted(study: Study, preset: str) -> None:
    """What to mind, one line each, on stderr."""
    from tritier.studies.check import warnings

    for line in warnings(study, preset):
        print(f"mind: {line}", file=sys.stderr)


def write_page(a: argparse.Namespace) -> int:
    """Certify a stored case and write report.html beside it."""
    from tritier.book.report import write_report
    from tritier.cases.result import read_result

    result = read_result(a.folder, a.study)
    result.certify()
    print(write_report(Path(a.folder), result))
    return 0
