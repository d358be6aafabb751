"""A complete study folder for a feeder from elsewhere: tables, profiles, a commented study.yaml, menus by rule.

Menus come from the feeder's own flows: what its lines carry on the design days when nobody shifts, stores or curtails.
Who lives where and owns what, on a feeder that says nothing about it, is decided by rules over bus numbers; and so are
the vehicles and heat pumps of a study whose homes go electric. Nothing is searched, nothing calibrated.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.errors import InfeasibleError, InputError, SolverError
from tritier.inputs.documents import read_yaml
from tritier.inputs.scenarios import bare_injection, build_instance, design_days
from tritier.inputs.settings import BLOCKS, MenuSettings, Settings
from tritier.inputs.study import HIGHEST_LOAD, Study, read_study
from tritier.inputs.tables import LoadMixRow, read_days, read_feeder, read_rows
from tritier.model.acflow import ac_power_flow
from tritier.model.chance import VIOLATED_KW, Network, net_load
from tritier.model.network import downstream_matrix, main_line
from tritier.provenance import sole_writer, whole_folder
from tritier.reformulation.joint import JointLP, known_days
from tritier.studies.check import design_flows, offered_limits, with_margin
from tritier.studies.commented import commented_yaml, sources_beside
from tritier.studies.grid import Grid, case_path, from_matpower, from_simbench, pandapower_grid

OPTIONAL = ("passive", "deferrable_profiles", "plugged_in")  # tables of vehicles and heat pumps
PARAMETERS, PLUGGED_IN = "parameters.csv", "mobility/plugged_in.csv"
PROFILES = ("simbench/load_profiles.csv", "simbench/renewable_profiles.csv", "smard/prices.csv")
SEASON = {
    "months": [3, 4, 5],
    "day_type": "weekday",
    "exclude_dates": [
        *("2016-03-25", "2016-03-28", "2016-05-05", "2016-05-16"),
        *("2018-03-30", "2018-04-02", "2018-05-01", "2018-05-10", "2018-05-21"),
        *("2016-01-01", "2016-10-03", "2016-12-26", "2018-01-01", "2018-10-03", "2018-12-25", "2018-12-26"),
    ],
}
# Limits offered, as shares of the largest flow on design days, by preset: of lines that leave the busbar, of laterals.
LEVELS = {
    "smoke": ((0.85,), ()),
    "fast": ((0.75,), (0.8,)),
    "paper": ((0.65, 0.7, 0.75, 0.8, 0.9), (0.7, 0.8, 0.9)),
}
HEADS, LATERALS = 2, 3  # most lines of either kind whose limits the DSO sets
DEMAND_CHARGE = 0.763  # $/kW and day
# Energy charges by block [$/kWh], individual peak charges [$/kW], coincident ones as shares of the upstream demand
# charge, P2P charges [$/kWh]: the case study's, by preset.
CHARGES = {
    "smoke": (([0.02], [0.02, 0.08], [0.02, 0.08]), [0.0], [0.0, 0.5], [0.04]),
    "fast": (([0.02], [0.02, 0.05], [0.02, 0.08]), [0.0, 0.1], [0.0, 0.5, 1.0], [0.04]),
    "paper": (([0.02], [0.02, 0.05], [0.02, 0.08]), [0.0, 0.1], [0.0, 0.25, 0.5, 0.75, 1.0], [0.04]),
}
FIXED_SHARE = 0.5  # of the cost to recover
DEVICES = {"ev": ("HLS", "APLS", "EV"), "hp": ("Air", "Soil")}  # how SimBench's profiles of such loads begin


def find_grid(source: str, root: int | None = None, opened: Iterable[int] = ()) -> Grid:
    """The feeder that ``--from`` names.

    ``pandapower:NAME``, ``simbench:CODE``, ``matpower:CASE``, a MATPOWER .m file, a network that pandapower saved as
    .json, or BUS.csv,BRANCH.csv. Raises InputError for anything else.
    """
    kind, _, name = source.partition(":")
    if kind == "pandapower" and name:
        return pandapower_grid(name, source, root, opened)
    if kind == "simbench" and name:
        return from_simbench(name, source, root, opened)
    if kind == "matpower" and name:
        return from_matpower(case_path(name), name, source, root, opened)
    if source.endswith(".m"):
        return from_matpower(Path(source), Path(source).stem, source, root, opened)
    if source.endswith(".json"):
        return pandapower_grid(source, source, root, opened)
    if source.count(",") == 1:
        for option, given in (("--root", root is not None), ("--open", bool(list(opened)))):
            if given:
                mend = "name the slack in its table of buses, and set closed to 0 in its table of branches"
                raise InputError(option, source, "is not for tables, which say so themselves", mend)
        return from_tables(*(Path(part) for part in source.split(",")))
    raise InputError(
        "--from",
        source,
        "is no source of a feeder",
        "give pandapower:NAME, simbench:CODE, matpower:CASE, a .m or .json file, or BUS.csv,BRANCH.csv",
    )


def from_tables(bus: Path, branch: Path) -> Grid:
    """A feeder that is written as our two tables already; open lines are left out."""
    feeder = read_feeder(bus, branch)
    table = pd.read_csv(branch)
    table = table[table["closed"] == 1]
    for column, value in (("rating_a", np.nan), ("c_nf", 0.0)):
        if column not in table:
            table[column] = value
    own = pd.read_csv(bus).set_index("bus").loc[feeder.bus].reset_index()
    return Grid(bus.stem.removesuffix("_bus"), f"{bus.name},{branch.name}", "as its owner states", own, table)


def new_study(out: Path, grid: Grid, data: Path) -> Study:
    """Write a study folder for a feeder and read it back; nothing is left where that fails.

    data: folder with the load, renewable and price tables of :data:`PROFILES`, for what the feeder does not bring.
    Raises InputError where ``out`` exists or the study cannot be read.
    """
    if out.exists():
        raise InputError(out, "folder", "exists already", "name a new one")
    if not out.resolve().parent.is_dir():
        raise InputError(out, "folder", "has no parent folder", "make it first")
    for name in PROFILES:
        if not (data / name).is_file():
            raise InputError(data, name, "does not exist", "give --data the folder data/ of the repository")
    if not (grid.bus["p_kw"] > 0).any():
        mend = "give p_kw above zero to the buses of customers"
        raise InputError("--from", grid.source, "is a feeder where nobody has a load", mend)
    work = Path(tempfile.mkdtemp(prefix=".new-study-", dir=out.resolve().parent))
    try:
        write_tables(work, grid, data)
        content = settings_content(grid, work)
        write_settings(work, content, data)
        content["menus"] = menus_by_flows(read_study(work))
        write_settings(work, content, data)
        (work / "README.md").write_text(readme(grid, content["notes"]), encoding="utf-8")
        read_study(work)
        work.chmod(0o755)
        work.replace(out)
    except BaseException as error:
        shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, InputError) and error.file.startswith(str(work)):  # the folder is gone: name the source
            what = f"{Path(error.file).name}: {error.field}: {error.problem}"
            raise InputError("--from", grid.source, f"gives a table that cannot be read: {what}", error.mend) from error
        if isinstance(error, SolverError):  # of a power flow at nominal load, or on design days
            what = "has no power flow: its lines cannot carry its loads"
            raise InputError("--from", grid.source, what, "lower loads, or mend impedances and kV") from error
        raise
    return read_study(out)


def write_tables(work: Path, grid: Grid, data: Path) -> None:
    """All tables of the study but study.yaml."""
    bus, branch = grid.bus, grid.branch
    _write(bus, work / "bus.csv")
    _write(branch, work / "branch.csv")
    feeder = read_feeder(work / "bus.csv", work / "branch.csv")
    current = ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar).current_a
    by_line = pd.Series(current, index=feeder.line).reindex(branch["line"]).to_numpy()
    leaves = branch["line"].isin(feeder.line[feeder.parent == 0]).to_numpy()
    rated = branch.assign(rating_a=ratings(by_line, branch["rating_a"].to_numpy(float), leaves))
    _write(rated, work / "branch.csv")
    shutil.copyfile(data / "smard/prices.csv", work / "prices.csv")
    if grid.profiles:
        own_tables(work, grid, data)
        return
    shutil.copyfile(data / "simbench/load_profiles.csv", work / "load_profiles.csv")
    shutil.copyfile(data / "simbench/renewable_profiles.csv", work / "renewable_profiles.csv")
    homes = feeder.vn_kv < 1
    mixes = [
        (n, shape, w)
        for n, p in zip(feeder.bus.tolist(), feeder.p_kw, strict=True)
        if p > 0
        for shape, w in shape_weights(n, homes).items()
    ]
    _write(pd.DataFrame(mixes, columns=["bus", "profile", "weight"]), work / "load_mix.csv")
    path_ohm = feeder.r_ohm @ downstream_matrix(feeder)
    chosen = prosumer_buses(feeder.bus, feeder.p_kw, path_ohm)
    p_kw = np.array([feeder.p_kw[feeder.position(n)] for n in chosen])
    _write(prosumer_table(chosen, p_kw), work / "prosumers.csv")


def own_tables(work: Path, grid: Grid, data: Path) -> None:
    """Load mix, prosumers, vehicles, heat pumps and profiles of a feeder that brings its own.

    Prosumers are the buses with load that own something to steer: generators, storages, vehicles or heat pumps.
    """
    loads = grid.loads[~of_devices(grid.loads) & (grid.loads["p_kw"] > 0)]
    mix = loads.groupby(["bus", "profile"], as_index=False)["p_kw"].sum().rename(columns={"p_kw": "weight"})
    _write(mix, work / "load_mix.csv")
    active = mix.groupby("bus")["weight"].sum()
    reactive = grid.loads[of_devices(grid.loads)].groupby("bus")["q_kvar"].sum()  # devices have none in the model
    bus = grid.bus.assign(
        p_kw=grid.bus["bus"].map(active).fillna(0.0),
        q_kvar=grid.bus["q_kvar"] - grid.bus["bus"].map(reactive).fillna(0.0),
    )
    _write(bus, work / "bus.csv")
    load, renewable = grid.profiles["load"], grid.profiles["renewable"]
    _write(load[["time", *sorted(set(mix["profile"]))]], work / "load_profiles.csv")
    if renewable.columns.size == 1:  # a table needs a column: one that nobody owns
        renewable = renewable.assign(none=0.0)
    _write(renewable, work / "renewable_profiles.csv")
    devices = own_devices(grid, load)
    owners = sorted({*grid.generators["bus"], *grid.storages["bus"], *devices.index} & set(active.index))
    rows = [own_prosumer(grid, n, k, str(renewable.columns[1])) for k, n in enumerate(owners)]
    if not rows:
        what = "has no bus with load and generation, storage, vehicles or heat pumps"
        raise InputError("--from", grid.source, what, "choose a scenario with some")
    table = pd.DataFrame(rows)
    if devices.empty:
        _write(table, work / "prosumers.csv")
        return
    _write(table.join(devices, on="bus").fillna(dict.fromkeys(devices, 0)), work / "prosumers.csv")
    passive = devices[~devices.index.isin(owners)].drop(columns=["ev_delay_h", "hp_delay_h"])
    if not passive.empty:
        _write(passive.rename_axis("bus").reset_index(), work / "passive.csv")
    _write(asked_shapes(grid, load), work / "deferrable_profiles.csv")
    shutil.copyfile(data / PLUGGED_IN, work / "plugged_in.csv")


def of_devices(loads: pd.DataFrame) -> pd.Series:
    """Which loads are vehicles or heat pumps, by their profile."""
    return loads["profile"].astype(str).str.startswith(sum(DEVICES.values(), ()))


def own_devices(grid: Grid, load: pd.DataFrame) -> pd.DataFrame:
    """Vehicles and heat pumps of a feeder by bus, columns as in prosumers.csv; no row where it has none."""
    found = {}
    for kind, words in DEVICES.items():
        own = grid.loads[grid.loads["profile"].astype(str).str.startswith(words)]
        energy = 24 * own["p_kw"] * [load[name].mean() for name in own["profile"]]
        found[f"{kind}_kwh_per_day"] = energy.groupby(own["bus"]).sum()
        found[f"{kind}_kw"] = own.groupby("bus")["p_kw"].sum()
        found[f"{kind}_delay_h"] = pd.Series({"ev": EV_DELAY_H, "hp": HP_DELAY_H}[kind], index=own["bus"].unique())
    table = pd.DataFrame(found).fillna(0.0).sort_index()
    return table.astype({f"{kind}_delay_h": int for kind in DEVICES})


def asked_shapes(grid: Grid, load: pd.DataFrame) -> pd.DataFrame:
    """Hourly kW that all vehicles and all heat pumps of a feeder draw if nobody waits: deferrable_profiles.csv."""
    shapes = {}
    for kind, words in DEVICES.items():
        own = grid.loads[grid.loads["profile"].astype(str).str.startswith(words)]
        if not own.empty:
            shapes[kind] = load[own["profile"].tolist()].to_numpy() @ own["p_kw"].to_numpy()
    return pd.DataFrame({"time": load["time"]} | shapes)


def own_prosumer(grid: Grid, n: int, k: int, profile: str) -> dict[str, object]:
    """The row of prosumers.csv for bus n, the k-th prosumer; profile: where it owns no generator."""
    own = grid.generators[grid.generators["bus"] == n]
    sun, wind = own[own["kind"] != "wind"], own[own["kind"] == "wind"]
    storages = grid.storages[(grid.storages["bus"] == n) & (grid.storages["kwh"] > 0)]
    return {
        "prosumer": f"bus{n}",
        "bus": n,
        "pv_kw": sun["kw"].sum(),
        "pv_profile": _largest(sun, profile),
        "wind_kw": wind["kw"].sum(),
        "wind_profile": _largest(wind, profile),
        "battery_kwh": storages["kwh"].sum(),
        "battery_kw": storages["kw"].sum(),
        "eta": ETA if storages.empty else float(np.average(storages["eta"], weights=storages["kwh"])),
        "degradation_usd_per_kwh": DEGRADATION,
        "beta": BETA_CYCLE[k % len(BETA_CYCLE)],
    }


def _largest(own: pd.DataFrame, default: str) -> str:
    """The profile of the largest generator."""
    return default if own.empty else str(own.loc[own["kw"].idxmax(), "profile"])


def settings_content(grid: Grid, work: Path) -> dict:
    """study.yaml of a new study, its menu still without limits."""
    load = {"profiles": "per_kw"} if grid.profiles else {"peak_kw": round(float(grid.bus["p_kw"].sum()), 3)}
    sun = {} if grid.profiles else {"pv_yield_factor": 1.3}
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in grid.name)
    files = {role: f"{role}.csv" for role in OPTIONAL if (work / f"{role}.csv").is_file()}
    return {
        "name": name,
        "title": f"{name}: {len(grid.bus)} buses, spring weekdays",
        "notes": [*grid.notes, *unused(grid)],
        **({"files": files} if files else {}),
        "season": SEASON,
        "load": load,
        "renewables": sun | {"pv_shift_h": 1},
        "usd_per_eur": 1.18,
        "retail_usd_per_kwh": 0.2552,
        "feed_in_usd_per_kwh": 0.1412,
        "network_charge_usd_per_kwh": 0.0833,
        "fixed_share": FIXED_SHARE,
        "billing": "scenario",
        "demand": {"elasticity": -0.10, "flexibility": 0.10},
        "risk": {"alpha": 0.9},
        "chance_level": 0.05,
        "demand_charge_usd_per_kw": DEMAND_CHARGE,
        "peak_with_losses": True,
        "tariff_hours": {"off_peak": 8, "day": 10, "peak": 6},
        "menus": {preset: _menu(preset, {}, DEMAND_CHARGE) for preset in LEVELS},
    }


def unused(grid: Grid) -> list[str]:
    """What a feeder brings at its buses and the study does not hold, a line each."""
    loaded = set(grid.loads.loc[~of_devices(grid.loads) & (grid.loads["p_kw"] > 0), "bus"])
    lost = [
        (f"{table} of {own[unit].sum():,.4g} {word}", len(own))
        for table, unit, word in (("generators", "kw", "kW"), ("storages", "kwh", "kWh"))
        if not (own := getattr(grid, table)).empty
        and not (own := own[~own["bus"].isin(loaded)] if grid.profiles else own).empty
    ]
    why = "at buses without load" if grid.profiles else "of the source; rules place sun, wind and batteries"
    return [f"left out: {count} {what} {why}" for what, count in lost]


def _menu(preset: str, capacity: dict[int, list[float]], demand_charge: float) -> dict:
    """The menu of a preset: its charges, and the limits given."""
    energy, individual, coincident, p2p = CHARGES[preset]
    return {
        "tariff": dict(zip(BLOCKS, energy, strict=True)),
        "individual_peak": individual,
        "coincident_peak": sorted(
            {float(f"{share * demand_charge:.2g}" if share < 1 else demand_charge) for share in coincident}
        ),
        "p2p": p2p,
        "capacity": capacity,
    }


def limited_lines(study: Study, flows: pd.DataFrame) -> tuple[list[int], list[int]]:
    """Lines whose limits the DSO sets: the largest that leave the busbar, then the largest that leave the main line."""
    feeder = study.feeder
    order = np.argsort(-flows["flow_kw"].to_numpy(), kind="stable")
    heads = [k for k in order if feeder.parent[k] == 0][:HEADS]
    trunk = set(main_line(feeder).tolist())
    leave = [k for k in order if feeder.parent[k] in trunk and k + 1 not in trunk and feeder.parent[k] != 0]
    return [int(feeder.line[k]) for k in heads], [int(feeder.line[k]) for k in leave[:LATERALS]]


def menus_by_flows(study: Study) -> dict[str, dict]:
    """Menus of all presets: limits at shares of the largest flow on design days, and one that never binds."""
    flows = design_flows(study)
    heads, laterals = limited_lines(study, flows)
    by_line = flows.set_index("line")
    menus = {}
    for preset, shares in LEVELS.items():
        capacity = {}
        for lines, levels in zip((heads, laterals), shares, strict=True):
            for line in lines if levels else ():
                flow, rating = by_line.loc[line, "flow_kw"], by_line.loc[line, "rating_kva"]
                most = _round_up(max(2 * flow, rating if np.isfinite(rating) else 0.0))
                tight = sorted({_round(share * flow) for share in levels})
                capacity[line] = [x for x in tight if 0 < x < most] + [most]
        kept = {line: levels for line, levels in capacity.items() if len(levels) > 1}
        menus[preset] = _menu(preset, kept, study.settings.demand_charge_usd_per_kw)
    return menus


def menus_are_by_rule(study: Study) -> bool:
    """Whether the menus of a study are those that the rule gives for its own flows."""
    by_rule = menus_by_flows(study)
    return all(
        preset in by_rule and menu == MenuSettings.model_validate(by_rule[preset])
        for preset, menu in study.settings.menus.items()
    )


def renewed_menus(before: Study, after: Study, asked: bool) -> tuple[dict | None, str]:
    """The menus of a study whose flows have changed, None where they stay, and a line that says which.

    Menus that the rule gave are taken from the new flows by the rule, and so are others where that is ``asked``; those
    that somebody chose stay.
    """
    if asked or menus_are_by_rule(before):
        own = menus_by_flows(after)
        return {preset: own[preset] for preset in before.settings.menus}, "menus: limits taken from the new flows"
    was, now = tightest_shares(before), tightest_shares(after)
    if was.empty or np.allclose(was, now, rtol=1e-3):
        return None, ""
    return None, (
        f"menus: kept, since they are not the rule's: the tightest limits were {was.min():.3g} to {was.max():.3g} of "
        f"their lines' largest flows and are {now.min():.3g} to {now.max():.3g} now; --renew-menus takes all from the "
        "new flows"
    )


def tightest_shares(study: Study) -> pd.Series:
    """The smallest limit of every line on any menu as a share of the line's largest flow on design days."""
    flows = design_flows(study)
    menus = [offered_limits(study, preset, flows) for preset in study.settings.menus]
    return pd.concat(menus).groupby("line")["share"].min()


def _round(x: float) -> float:
    """Two significant digits more than its size: 1,679.3 becomes 1,680, 28.13 becomes 28.1."""
    return float(f"{x:.3g}")


def _round_up(x: float) -> float:
    step = 10 ** (np.floor(np.log10(x)) - 1)
    return float(np.ceil(x / step) * step)


def write_settings(work: Path, content: dict, data: Path) -> None:
    """study.yaml with a comment on every key."""
    text = commented_yaml(Settings, content, sources_beside(content, data / PARAMETERS))
    (work / "study.yaml").write_text(text, encoding="utf-8")


def readme(grid: Grid, notes: Iterable[str]) -> str:
    """What stands in the folder, where it is from, and which rules filled in what the feeder did not say."""
    own = "the feeder's own loads, generators, storages, vehicles and heat pumps with its own year of profiles"
    rule = (
        "rules over bus numbers: load shapes cyclic by bus, at most "
        f"{MOST_PROSUMERS} prosumers in the electrically far half of the feeder, solar, wind and battery power "
        "cyclic over the prosumers"
    )
    told = "".join(f"- {note}\n" for note in notes)
    shares = "; ".join(
        f"{preset} {_percent(heads)} at the busbar, {_percent(sides)} at laterals"
        for preset, (heads, sides) in LEVELS.items()
    )
    return f"""# {grid.name}

Feeder from `{grid.source}`. Licence: {grid.licence}.

Who lives where and owns what: {own if grid.profiles else rule}.
Ratings that the source does not give are the nominal current at the head and 1.25 times it, at least 100 A, elsewhere.
Prices, tastes and charges in `study.yaml` are those of the book's case study; every key says what it is.
Load and renewable profiles: SimBench (ODbL 1.0); prices: Bundesnetzagentur | SMARD.de (CC BY 4.0).
{f"{chr(10)}Mind, as `study check` and `solve` say again:{chr(10)}{chr(10)}{told}" if told else ""}
Menus: limits of the lines that leave the busbar (at most {HEADS}) and of the largest laterals (at most {LATERALS}), in
shares of what they carry on the design days when nobody shifts, stores or curtails, and one that never binds:
{shares}.
Charges are the case study's: energy and P2P, individual and coincident peak, the latter in shares of the upstream
demand charge, and a fixed part that carries up to {FIXED_SHARE:.0%} of the cost to recover.

```bash
tritier study check .          # flows, voltages, what binds, what is not the study's own
tritier solve . --case 4 --preset smoke --out out
tritier report out
```
"""


def _percent(shares: Iterable[float]) -> str:
    return ", ".join(f"{share:.0%}" for share in shares) or "none"


def _write(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n", float_format="%.10g")


# Only five household shapes of SimBench are distinct.
HOUSEHOLD = ["H0-A", "H0-B", "H0-C", "H0-G", "H0-L"]
COMMERCIAL = ["G0-A", "G1-A", "G1-B", "G1-C", "G2-A", "G3-A", "G4-A", "G4-B", "G5-A", "G6-A"]
FARM = ["L0-A", "L1-A", "L2-A"]
PV = [f"PV{k}" for k in range(1, 9)]
# WP1, WP2 and WP9 run at capacity factors near 0.5: offshore-like, no match for a distribution feeder.
WIND = [f"WP{k}" for k in (3, 4, 5, 6, 7, 8, 10, 11, 12)]

SHAPE_CYCLE = ["mix", "household", "commercial", "household", "farm", "mix"]
PV_CYCLE = [2.0, 0.0, 1.0, 2.0, 0.5, 0.5]  # of nominal load, over the prosumers: unequal, so that there is trade
WIND_EVERY, WIND_SHARE = 3, 0.5  # every third prosumer, half its nominal load; it sells at night
BATTERY_HOURS = 2.0
ETA = 0.95
DEGRADATION = 0.0437  # $/kWh: 0.037 EUR/kWh at 1.18 $/EUR
BETA_CYCLE = [0.3, 0.7, 0.5]
MOST_PROSUMERS = 14
RATING_FACTOR, RATING_FLOOR_A = 1.25, 100.0


def shape_weights(bus: int, homes_only: bool = False) -> dict[str, float]:
    """Energy shares of the load shapes a bus mixes: its kind is cyclic by bus number, and so is its leading shape."""

    def lead(shapes: list[str], weights: tuple[float, ...], share: float) -> dict[str, float]:
        return {shapes[(bus + k) % len(shapes)]: round(share * w, 4) for k, w in enumerate(weights)}

    household, other = (0.4, 0.2, 0.2, 0.1, 0.1), (0.5, 0.3, 0.2)
    kind = "household" if homes_only else SHAPE_CYCLE[(bus - 1) % len(SHAPE_CYCLE)]  # bus 1 takes the first
    if kind == "household":
        return lead(HOUSEHOLD, household, 1.0)
    if kind == "commercial":
        return lead(COMMERCIAL, other, 1.0)
    if kind == "farm":
        return lead(FARM, other, 1.0)
    return lead(HOUSEHOLD, household, 0.5) | lead(COMMERCIAL, other, 0.3) | lead(FARM, other, 0.2)


def ratings(current_a: np.ndarray, given_a: np.ndarray, from_slack: np.ndarray) -> np.ndarray:
    """Rated currents, A: as given, else the nominal current at the head and 1.25 of it, at least 100 A, behind it."""
    own = np.maximum(np.ceil(RATING_FACTOR * current_a), RATING_FLOOR_A)
    own = np.where(from_slack, np.maximum(np.ceil(current_a), 1.0), own)
    return np.where(np.isfinite(given_a), given_a, own)


def prosumer_buses(bus: np.ndarray, p_kw: np.ndarray, path_ohm: np.ndarray, most: int = MOST_PROSUMERS) -> np.ndarray:
    """Buses with load in the electrically far half of the feeder, at most ``most``, evenly spread by distance.

    The far half begins at the load-weighted median of the resistance from the busbar: there voltage is decided.
    """
    loaded = np.flatnonzero(p_kw > 0)
    order = loaded[np.argsort(path_ohm[loaded], kind="stable")]
    share = np.cumsum(p_kw[order]) / p_kw[order].sum()
    far = order[share >= 0.5]
    picked = far[np.unique(np.linspace(0, far.size - 1, min(most, far.size)).round().astype(int))]
    return np.sort(bus[picked])


def prosumer_table(buses: np.ndarray, p_kw: np.ndarray) -> pd.DataFrame:
    """prosumers.csv for buses with nominal loads p_kw, equipment cyclic over the prosumers."""
    rows = []
    for k, (n, p) in enumerate(zip(buses, p_kw, strict=True)):
        pv = PV_CYCLE[k % len(PV_CYCLE)] * p
        rows.append(
            {
                "prosumer": f"bus{n}",
                "bus": int(n),
                "pv_kw": round(pv, 3),
                "pv_profile": PV[k % len(PV)],
                "wind_kw": round(WIND_SHARE * p, 3) if k % WIND_EVERY == 2 else 0.0,
                "wind_profile": WIND[k % len(WIND)],
                "battery_kwh": round(pv, 3),
                "battery_kw": round(pv / BATTERY_HOURS, 3),
                "eta": ETA,
                "degradation_usd_per_kwh": DEGRADATION,
                "beta": BETA_CYCLE[k % len(BETA_CYCLE)],
            }
        )
    return pd.DataFrame(rows)


# What a home owns, with sources in data/parameters.csv of the repository.
HOME_KWH = 3300.0  # a year
EV_PER_HOME, EV_KWH_PER_DAY, EV_KW, EV_DELAY_H = 0.8, 5.5, 11.0, 8
HP_PER_HOME, HP_KWH_PER_DAY, HP_KW, HP_DELAY_H = 0.33, 9.9926, 4.5547, 3
PV_SCALE, BATTERY_KWH_PER_KWP = 2.2, 1.5
HOMES = "H0"  # how the names of household shapes begin
STEPS = (1.00, 1.01, 1.02, 1.03)  # p.u., of the substation's tap changer


def homes(study: Study) -> pd.Series:
    """Homes at each bus at load scale 1, by bus number: the energy that its household shapes use in a year, by home.

    Raises InputError where no load shape is a household's.
    """
    path, settings = study.paths["load_mix"], study.settings
    profiles = read_days(study.paths["load_profiles"], 0.0, HIGHEST_LOAD)[1]
    relative = settings.load.profiles == "relative"
    mix = pd.DataFrame([row.model_dump() for row in read_rows(path, LoadMixRow)])
    mix["energy"] = mix["weight"] * (1.0 if relative else mix["profile"].map(lambda name: profiles[name].mean()))
    share = mix["energy"] / mix.groupby("bus")["energy"].transform("sum")
    household = (share * mix["profile"].str.startswith(HOMES)).groupby(mix["bus"]).sum()
    if not household.any():
        raise InputError(path, "column profile", f"has no household shape ({HOMES}-...)", "give devices by hand")
    yearly = study.yearly * pd.Series(study.load_kw.sum(axis=(1, 2)) / settings.load.scale, index=study.feeder.bus)
    return (yearly * household.reindex(yearly.index).fillna(0.0)) / HOME_KWH


def devices(home: pd.Series) -> pd.DataFrame:
    """Vehicles and heat pumps of so many homes, one row a bus; columns as in prosumers.csv and passive.csv."""
    return pd.DataFrame(
        {
            "ev_kwh_per_day": home * EV_PER_HOME * EV_KWH_PER_DAY,
            "ev_kw": home * EV_PER_HOME * EV_KW,
            "ev_delay_h": EV_DELAY_H,
            "hp_kwh_per_day": home * HP_PER_HOME * HP_KWH_PER_DAY,
            "hp_kw": home * HP_PER_HOME * HP_KW,
            "hp_delay_h": HP_DELAY_H,
        },
        index=home.index,
    )


def unavoidable_violation(study: Study, say: Callable[[str], None] | None = None) -> tuple[float, str]:
    """The first violation of a network limit that no decision of anybody avoids on a design day, kW, and the day's
    label; 0 and "" where none is left on any.

    Each day is cleared by itself with all limits of the menu open, as the first best clears it; days on which nobody
    need decide anything keep all limits at once, and the others are tried worst first, each from the basis of the one
    before. say: is given a line for each. The violation is infinite where it exceeds what the market may buy of it, a
    hundred times what its prosumers' day is worth; raises InfeasibleError where prosumers have no feasible decision
    even without a network.
    """
    chosen = study.preset("smoke")
    days = design_days(study, chosen)
    instance = with_margin(study, build_instance(study, chosen), chosen)
    every = instance.on(days)
    bare = Network(every).violations(net_load(every, bare_injection(days)), {})
    most = np.max([kind.max(axis=(0, 1)) for kind in bare.values() if kind.size], axis=0)  # (D,)
    hard = [int(k) for k in np.argsort(-most, kind="stable") if most[k] > VIOLATED_KW]
    before: JointLP | None = None
    lps = known_days(instance.on(days.select(hard))) if hard else []
    for tried, (k, lp) in enumerate(zip(hard, lps, strict=True), 1):
        if say is not None:
            say(f"substation at {study.feeder.v_slack:g} p.u.: design day {tried} of {len(hard)}")
        day = instance.on(days.select([k]))
        joint = JointLP(day, lp=lp)
        if before is not None:
            joint.add_blocks(before.blocks)
        joint.set_design(None)
        if before is not None:
            joint.warm.set_basis(before.warm.basis())
        cost = np.zeros(joint.lp.cost.size)
        cost[joint.lp.at("slack")] = 1.0
        try:
            found = joint.solve(cost, "primal" if before is None else "dual")
        except InfeasibleError:
            if not joint.blocks:
                raise  # nobody's own decisions are feasible, and no voltage mends that
            return np.inf, days.label[k]  # more violation than the box of its column holds
        least = float(found.x[joint.lp.at("slack")])
        if least > VIOLATED_KW:
            return least, days.label[k]
        before = joint
    return 0.0, ""


def substation_voltage(folder: Path, say: Callable[[str], None] | None = None) -> tuple[float, str]:
    """The voltage at which a study's substation needs no shedding, p.u., and a line on it: its own, else the smallest
    of ``STEPS`` above it at which some decisions keep all limits on every design day (:func:`unavoidable_violation`);
    its own where no step does."""
    own, tried = read_study(folder).feeder.v_slack, list[str]()
    for step in (own, *(x for x in STEPS if x > own)):
        study = read_study(folder) if step == own else read_study(folder, {"substation_voltage_pu": step})
        least, day = unavoidable_violation(study, say)
        if not day:
            kept = "its own voltage" if step == own else f"the smallest step, as {'; '.join(tried)}"
            return step, f"substation: {step:g} p.u., {kept}; nothing needs to be shed on any design day"
        size = f"{least:,.3g} kW" if np.isfinite(least) else "more than prosumers could pay for at its declared price"
        tried.append(f"at {step:g} p.u. {size} would be shed on {day}")
    return own, f"substation: {own:g} p.u., its own voltage, though no step helps: {'; '.join(tried)}"


def electrify(
    folder: Path,
    out: Path,
    level: float,
    data: Path,
    renew: bool = False,
    say: Callable[[str], None] | None = None,
) -> tuple[Study, str]:
    """Write the electrified twin of a study: vehicles, heat pumps, spot-indexed prices, the dial at ``level``, and the
    substation at the voltage of the rule (:func:`substation_voltage`).

    data: folder with ``simbench/deferrable_profiles.csv`` and ``mobility/plugged_in.csv``; renew: take menus from the
    new flows even where they are not the rule's; say: is given a line for each design day of the rule. Returns the
    twin, and a line each on its substation and on its menus (:func:`renewed_menus`).
    Raises InputError where the study cannot be read, has vehicles or heat pumps already, or ``out`` exists.
    """
    study = read_study(folder)
    if not 0 <= level <= 1:
        raise InputError("--level", "level", f"{level:g} is no share", "give a number from 0 to 1")
    if out.exists():
        raise InputError(out, "folder", "exists already", "name a new one")
    if "passive" in study.paths or study.settings.files.deferrable_profiles is not None:
        raise InputError(study.paths["study"], "files", "has vehicles or heat pumps", "change electrification instead")
    sources = {"deferrable_profiles.csv": data / "simbench", "plugged_in.csv": data / "mobility"}
    for name, place in sources.items():
        if not (place / name).is_file():
            raise InputError(place, name, "does not exist", "give --data the folder data/ of the repository")
    own = devices(homes(study)).map(lambda x: float(f"{x:.5g}"))
    with sole_writer(out), whole_folder(out) as work:
        for role, path in study.paths.items():
            if role != "study":
                shutil.copyfile(path, work / f"{role}.csv")
        for name, place in sources.items():
            shutil.copyfile(place / name, work / name)
        table = pd.read_csv(study.paths["prosumers"])
        joined = table.drop(columns=[c for c in table if c in own]).join(own, on="bus")
        joined.to_csv(work / "prosumers.csv", index=False, lineterminator="\n")
        passive = own[~own.index.isin(table["bus"]) & (own["ev_kw"] > 0)].drop(columns=["ev_delay_h", "hp_delay_h"])
        made = ["deferrable_profiles", "plugged_in"]
        if not passive.empty:  # some home is no prosumer
            made.insert(0, "passive")
            rows = passive.sort_index().rename_axis("bus").reset_index()
            rows.to_csv(work / "passive.csv", index=False, lineterminator="\n")  # as stored feeders have it, 1347.0
        content = electrified_settings(read_yaml(study.paths["study"], ""), study, level, made)
        write_settings(work, content, data)
        menus, of_menus = renewed_menus(study, read_study(work), renew)
        content |= {"menus": menus} if menus is not None else {}
        write_settings(work, content, data)
        held, of_substation = substation_voltage(work, say)
        if held != read_study(work).feeder.v_slack:
            write_settings(work, content | {"substation_voltage_pu": held}, data)
        read_study(work)
    return read_study(out), "\n".join(filter(None, (of_substation, of_menus)))


def electrified_settings(content: dict, study: Study, level: float, made: Iterable[str]) -> dict:
    """study.yaml of the electrified twin, ``made`` its tables beside those of the study: what the rules change, and
    nothing else."""
    settings = study.settings
    roles = [role for role in study.paths if role != "study"]
    files = {role: f"{role}.csv" for role in [*roles, *made]}
    battery = BATTERY_KWH_PER_KWP * PV_SCALE
    per_kwp = np.array([p.battery_kwh for p in study.prosumers]).sum() / max(
        1e-9, sum(p.pv_kw for p in study.prosumers)
    )
    renewables = settings.renewables.model_dump(exclude_unset=True) | {
        "pv_scale": PV_SCALE * settings.renewables.pv_scale
    }
    batteries = settings.batteries.model_dump(exclude_unset=True)
    scale = battery / per_kwp * settings.batteries.scale if per_kwp > 0 else battery  # per_kwp is of scaled batteries
    batteries["scale"] = float(f"{scale:.4g}")
    return content | {
        "name": f"{settings.name}-electrified",
        "title": f"{settings.title or settings.name}, electrified",
        "files": files,
        "electrification": level,
        "renewables": renewables,
        "batteries": batteries,
        "retail": settings.retail.model_dump(exclude_unset=True) | {"kind": "spot_indexed"},
        "feed_in": {"kind": "market_value"},
        "billing": "scenario",
        "peak_with_losses": True,
        "fixed_share": FIXED_SHARE,
    }
