"""A study folder becomes a `Study`: everything a case needs, read and checked once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tritier.errors import InputError
from tritier.inputs.instance import DEFERRABLE, Feeder, Menu, Prosumer
from tritier.inputs.settings import (
    BLOCKS,
    Preset,
    Settings,
    change_as_text,
    change_preset,
    read_settings,
)
from tritier.inputs.tables import (
    DeferrableRow,
    LoadMixRow,
    PassiveRow,
    PluggedInRow,
    ProsumerRow,
    known,
    read_days,
    read_feeder,
    read_rows,
    require,
    unique,
)

HIGHEST_LOAD = 1e6  # of a load profile, in its own unit
HIGHEST_RENEWABLE = 2.0  # of a renewable profile, per kW installed
HIGHEST_PRICE = 1e4  # of the wholesale price, either sign [EUR/MWh]


@dataclass(frozen=True, eq=False)
class Study:
    """A study folder as arrays. D days of the load year, E days of the price year; scales are applied."""

    name: str
    folder: Path
    settings: Settings
    feeder: Feeder
    prosumers: tuple[Prosumer, ...]
    load_kw: np.ndarray  # (N, D, 24) active load by bus position
    reactive_kvar: np.ndarray  # (N, D, 24) reactive load by bus position
    renewable_kw: np.ndarray  # (I, D, 24) available PV and wind power of each prosumer
    dates: np.ndarray  # (D,) datetime64[D] of loads and renewables
    wholesale: np.ndarray  # (E, 24) $/kWh
    price_dates: np.ndarray  # (E,) datetime64[D]
    paths: Mapping[str, Path]
    data_hash: str  # one sha256 over the content of all input files
    passive: tuple[DeferrableRow, ...] = ()  # uncontrolled vehicles and heat pumps at buses without a prosumer
    asked: Mapping[str, np.ndarray] = field(default_factory=dict)  # by kind (D, 24), mean 1: drawn if nobody waits
    plugged_in: np.ndarray = field(default_factory=lambda: np.ones((2, 24)))  # share of vehicles, weekday and weekend
    changes: Mapping[str, str] = field(default_factory=dict)  # what differs from study.yaml as it stands, by dotted key

    @property
    def yearly(self) -> float:
        """What a sum over all days of the profiles is to be multiplied by for a year's."""
        first = self.dates[0].astype("datetime64[Y]")
        begin, end = (year.astype("datetime64[D]").astype(int) for year in (first, first + 1))
        return float((end - begin) / self.dates.size)

    def preset(self, preset: str | Preset = "fast", changes: Mapping[str, object] | None = None) -> Preset:
        """A preset with the study's own sizes, then with the changes given (see `settings.find_preset`)."""
        chosen = preset if isinstance(preset, Preset) else self.settings.preset(preset)
        return change_preset(chosen, changes or {})

    def menu(self, preset: str | Preset = "fast") -> Menu:
        """The DSO's menu at a preset.

        Raises:
            InputError: study.yaml gives no menu for it.
        """
        name = preset.name if isinstance(preset, Preset) else preset
        if name not in self.settings.menus:
            raise InputError(self.paths["study"], f"menus.{name}", "is missing", f"add a menu for preset {name}")
        chosen = self.settings.menus[name]
        tariff = tuple(tuple(getattr(chosen.tariff, block)) for block in BLOCKS)
        capacity = tuple((line, tuple(levels)) for line, levels in chosen.capacity.items())
        return Menu(tariff, tuple(chosen.p2p), capacity, tuple(chosen.individual_peak), tuple(chosen.coincident_peak))


def read_study(folder: str | Path, changes: Mapping[str, object] | None = None) -> Study:
    """Read and check a study folder.

    Args:
        folder: holds study.yaml, which may name the other files.
        changes: values that replace those of study.yaml, by dotted key, as {"load.scale": 1.02}. For sensitivities.

    Raises:
        InputError: anything missing, malformed or out of range; one line with file, field, problem and mend.
    """
    yaml_path = Path(folder) / "study.yaml"
    settings = read_settings(yaml_path, changes)
    files = settings.files.model_dump(exclude_none=True)
    paths = {"study": yaml_path} | {role: yaml_path.parent / name for role, name in files.items()}
    feeder = at_slack_voltage(read_feeder(paths["bus"], paths["branch"]), settings.substation_voltage_pu)
    _require_slack_within(feeder, paths["study"])
    check_menus(yaml_path, settings, feeder)

    dates, load_profiles = read_days(paths["load_profiles"], 0.0, HIGHEST_LOAD)
    load, reactive = bus_loads(paths, settings, feeder, load_profiles)

    renewable_dates, renewable_profiles = read_days(paths["renewable_profiles"], 0.0, HIGHEST_RENEWABLE)
    same_days(paths["renewable_profiles"], renewable_dates, dates, paths["load_profiles"])
    table = read_prosumer_rows(paths["prosumers"], feeder, renewable_profiles)
    prosumers, profiles = scaled_prosumers(table, settings)
    passive = read_passive(paths, feeder, table)
    asked, plugged_in = read_asked(paths, dates, [*table, *passive]), read_plugged_in(paths)
    renewable = renewable_power(settings, prosumers, profiles, renewable_profiles)

    price_dates, prices = read_days(paths["prices"], -HIGHEST_PRICE, HIGHEST_PRICE)
    if "price_eur_per_mwh" not in prices:
        raise InputError(
            paths["prices"], "column price_eur_per_mwh", "is missing", "add it, one price an hour in EUR/MWh"
        )
    return Study(
        name=settings.name,
        folder=Path(folder),
        settings=settings,
        feeder=feeder,
        prosumers=prosumers,
        load_kw=load,
        reactive_kvar=reactive,
        renewable_kw=renewable,
        dates=dates,
        wholesale=prices["price_eur_per_mwh"] * settings.usd_per_eur / 1e3,
        price_dates=price_dates,
        paths=paths,
        data_hash=hash_files(paths),
        passive=tuple(row.model_copy(update=scaled_devices(row, settings)) for row in passive),
        asked=asked,
        plugged_in=plugged_in,
        changes={key: change_as_text(value) for key, value in (changes or {}).items()},
    )


def scaled_devices(row: DeferrableRow, settings: Settings) -> dict[str, Any]:
    """Energy and power of a row's vehicles and heat pumps at the study's scales and electrification."""
    factor = settings.load.scale * settings.electrification
    own = {"ev": settings.vehicles.scale, "hp": settings.heat_pumps.scale}
    names = [(kind, f"{kind}_{what}") for kind in DEFERRABLE for what in ("kwh_per_day", "kw")]
    return {name: factor * own[kind] * getattr(row, name) for kind, name in names}


@contextmanager
def located(study: Study) -> Iterator[None]:
    """Errors raised inside name the study's own files: the model knows a table by its usual name alone."""
    usual = {"study.yaml": "study", "branch.csv": "branch", "load_profiles.csv": "load_profiles"}
    try:
        yield
    except InputError as error:
        if error.file not in usual:
            raise
        raise InputError(study.paths[usual[error.file]], error.field, error.problem, error.mend) from error


def hash_files(paths: Mapping[str, Path]) -> str:
    """One sha256 over role and content of every input file, whatever folder they lie in.

    The line ``calibrated_on`` of study.yaml is left out: it says where two numbers come from, no result hangs on it.
    """
    total = hashlib.sha256()
    for role in sorted(paths):
        content = paths[role].read_bytes()
        if role == "study":
            content = re.sub(rb"(?m)^calibrated_on:.*\n", b"", content)
        total.update(f"{role} {hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def at_slack_voltage(feeder: Feeder, voltage: float | None) -> Feeder:
    """The feeder with its slack held at a voltage [p.u.]; as it is where none is given."""
    if voltage is None:
        return feeder
    v_min, v_max = feeder.v_min.copy(), feeder.v_max.copy()
    v_min[0] = v_max[0] = voltage
    return replace(feeder, v_slack=voltage, v_min=v_min, v_max=v_max)


def _require_slack_within(feeder: Feeder, path: Path) -> None:
    """Raise InputError where the slack's voltage lies outside the band of a bus behind it, p.u.: no load could then be
    none."""
    low, high = int(feeder.v_min[1:].argmax()) + 1, int(feeder.v_max[1:].argmin()) + 1
    for k, beyond, word in (
        (low, feeder.v_slack < feeder.v_min[low], f"below vmin_pu {feeder.v_min[low]:g}"),
        (high, feeder.v_slack > feeder.v_max[high], f"above vmax_pu {feeder.v_max[high]:g}"),
    ):
        if beyond:
            what = f"{feeder.v_slack:g} is {word} of bus {feeder.bus[k]}"
            raise InputError(path, "substation_voltage_pu", what, "give a voltage within the band of every bus")


def check_menus(path: Path, settings: Settings, feeder: Feeder) -> None:
    """Capacity menus must name lines of the feeder, and their largest level must never bind before the line's rating;
    where a line has none, :func:`tritier.studies.check.menu_warnings` looks at its flows."""
    for name, menu in settings.menus.items():
        for line, levels in menu.capacity.items():
            field = f"menus.{name}.capacity.{line}"
            if line not in feeder.line:
                raise InputError(path, field, "is no closed line of the feeder", "use line numbers of the branch file")
            rating = float(feeder.rating_kva[feeder.line == line][0])
            if np.isfinite(rating) and max(levels) < rating:
                raise InputError(
                    path,
                    field,
                    f"largest level {max(levels):g} kW is below the rating {rating:.0f} kVA",
                    "add a level at or above the rating, so that 'no limit' is on the menu",
                )


def bus_loads(
    paths: Mapping[str, Path], settings: Settings, feeder: Feeder, profiles: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Load of every bus: its nominal load times its mix of shapes, the feeder's annual peak set to `load.peak_kw`
    where profiles are relative.

    Reactive load follows active load at the bus's nominal ratio; at a bus without active load it is constant, as a
    capacitor's.

    Returns:
        Active [kW] and reactive [kvar] load, each (N, D, 24).
    """
    path = paths["load_mix"]
    mix = read_rows(path, LoadMixRow)
    known(path, "bus", [row.bus for row in mix], feeder.bus.tolist(), "the bus file")
    known(path, "profile", [row.profile for row in mix], profiles, paths["load_profiles"].name)
    unit = {}
    for name in dict.fromkeys(row.profile for row in mix):
        mean = profiles[name].mean()
        if mean <= 0:
            raise InputError(
                paths["load_profiles"], f"column {name}", "is zero in every hour", "drop it from load_mix.csv"
            )
        unit[name] = profiles[name] / (mean if settings.load.profiles == "relative" else 1.0)

    n_days = next(iter(profiles.values())).shape[0]
    load = np.zeros((feeder.bus.size, n_days, 24))
    for k, bus in enumerate(feeder.bus):
        if feeder.p_kw[k] == 0:
            continue
        rows = [row for row in mix if row.bus == bus]
        if not rows:
            raise InputError(path, "column bus", f"has no load shape for bus {bus}", "add at least one row for it")
        total = sum(row.weight for row in rows)
        for row in rows:
            load[k] += feeder.p_kw[k] * row.weight / total * unit[row.profile]
    peak = load.sum(axis=0).max()
    if peak <= 0:
        raise InputError(paths["bus"], "column p_kw", "is zero at every bus", "give the feeder some load")
    load *= settings.load.scale * (settings.load.peak_kw / peak if settings.load.peak_kw else 1.0)

    passive = feeder.p_kw == 0
    ratio = np.divide(feeder.q_kvar, feeder.p_kw, out=np.zeros_like(feeder.p_kw), where=~passive)
    constant = np.where(passive, feeder.q_kvar, 0.0)
    return load, ratio[:, None, None] * load + constant[:, None, None]


def read_prosumer_rows(path: Path, feeder: Feeder, profiles: Mapping[str, np.ndarray]) -> list[ProsumerRow]:
    """The table of prosumers, one at a bus with load."""
    table = read_rows(path, ProsumerRow)
    unique(path, "prosumer", [row.prosumer for row in table])
    buses = [row.bus for row in table]
    known(path, "bus", buses, feeder.bus.tolist(), "the bus file")
    unique(path, "bus", buses)
    loaded = np.isin(buses, feeder.bus[feeder.p_kw > 0])
    require(path, "bus", loaded, "has no load", "place prosumers at buses with p_kw > 0")
    for name in ("pv_profile", "wind_profile"):
        known(path, name, [getattr(row, name) for row in table], profiles, "the renewable profiles")
    return sorted(table, key=lambda row: row.bus)  # the order of rows decides nothing


def read_passive(paths: Mapping[str, Path], feeder: Feeder, prosumers: list[ProsumerRow]) -> list[PassiveRow]:
    """Uncontrolled vehicles and heat pumps at buses without a prosumer, none where the study names no table of them."""
    if "passive" not in paths:
        return []
    table = read_rows(paths["passive"], PassiveRow)
    buses = [row.bus for row in table]
    known(paths["passive"], "bus", buses, feeder.bus.tolist(), "the bus file")
    unique(paths["passive"], "bus", buses)
    free = ~np.isin(buses, [row.bus for row in prosumers])
    require(paths["passive"], "bus", free, "has a prosumer", "give its vehicles and heat pumps in prosumers.csv")
    return table


def read_asked(paths: Mapping[str, Path], dates: np.ndarray, rows: list[DeferrableRow]) -> dict[str, np.ndarray]:
    """What vehicles and heat pumps draw if nobody waits, by kind (D, 24), scaled to a mean of one.

    Raises:
        InputError: a kind that some row owns has no profile, or the days are not those of the loads.
    """
    used = [kind for kind in DEFERRABLE if any(getattr(row, f"{kind}_kwh_per_day") > 0 for row in rows)]
    if "deferrable_profiles" not in paths:
        if used:
            problem = f"is missing, but the tables hold {used[0]}_kwh_per_day"
            raise InputError(paths["study"], "files.deferrable_profiles", problem, f"give hourly profiles of {used[0]}")
        return {}
    path = paths["deferrable_profiles"]
    days, profiles = read_days(path, 0.0, HIGHEST_LOAD)
    same_days(path, days, dates, paths["load_profiles"])
    for kind in used:
        if kind not in profiles:
            raise InputError(path, f"column {kind}", "is missing", f"add it: {kind}_kwh_per_day is not zero everywhere")
        if not profiles[kind].any():
            raise InputError(path, f"column {kind}", "is zero in every hour", f"set {kind}_kwh_per_day to zero instead")
    return {kind: profiles[kind] / profiles[kind].mean() for kind in used}


def read_plugged_in(paths: Mapping[str, Path]) -> np.ndarray:
    """Share of vehicles plugged in, (2, 24): weekday and weekend; all of them where the study names no table."""
    if "plugged_in" not in paths:
        return np.ones((2, 24))
    path = paths["plugged_in"]
    rows = read_rows(path, PluggedInRow)
    unique(path, "hour", [row.hour for row in rows])
    if len(rows) != 24:
        raise InputError(path, "column hour", f"has {len(rows)} hours", "give each hour from 0 to 23 once")
    rows.sort(key=lambda row: row.hour)
    return np.array([[row.weekday for row in rows], [row.weekend for row in rows]])


def same_days(path: Path, days: np.ndarray, dates: np.ndarray, other: Path) -> None:
    """Raise an InputError unless a table covers the days of another."""
    if not np.array_equal(days, dates):
        raise InputError(path, "column time", f"does not cover the days of {other.name}", "give both the same hours")


def scaled_prosumers(
    table: list[ProsumerRow], settings: Settings
) -> tuple[tuple[Prosumer, ...], list[tuple[str, str]]]:
    """The prosumers, scaled, and their PV and wind profile names.

    At electrification e, PV and batteries stand between the table's (e = 0) and the study's own scale of them (e = 1).
    """
    e = settings.electrification
    scale, scale_pv = settings.load.scale * settings.renewables.scale, (1 - e) + e * settings.renewables.pv_scale
    scale_battery = settings.load.scale * ((1 - e) + e * settings.batteries.scale)
    wear, weight = settings.batteries.degradation_usd_per_kwh, settings.risk.beta
    ev_delay, hp_delay = settings.vehicles.delay_h, settings.heat_pumps.delay_h
    prosumers = tuple(
        Prosumer(
            name=row.prosumer,
            bus=row.bus,
            pv_kw=row.pv_kw * scale * scale_pv,
            wind_kw=row.wind_kw * scale,
            battery_kwh=row.battery_kwh * scale_battery,
            battery_kw=row.battery_kw * scale_battery,
            eta=row.eta,
            degradation=row.degradation_usd_per_kwh if wear is None else wear,
            beta=row.beta if weight is None else weight,
            ev_delay_h=row.ev_delay_h if ev_delay is None else ev_delay,
            hp_delay_h=row.hp_delay_h if hp_delay is None else hp_delay,
            **scaled_devices(row, settings),
        )
        for row in table
    )
    return prosumers, [(row.pv_profile, row.wind_profile) for row in table]


def renewable_power(
    settings: Settings, prosumers: Iterable[Prosumer], names: list[tuple[str, str]], profiles: dict[str, np.ndarray]
) -> np.ndarray:
    """Available PV and wind power (I, D, 24) [kW]; PV shifted later by `pv_shift_h` and times its yield factor."""

    def shifted(profile: np.ndarray) -> np.ndarray:
        return np.roll(profile.ravel(), settings.renewables.pv_shift_h).reshape(profile.shape)

    factor = settings.renewables.pv_yield_factor
    return np.stack(
        [
            who.pv_kw * factor * shifted(profiles[pv]) + who.wind_kw * profiles[wind]
            for who, (pv, wind) in zip(prosumers, names, strict=True)
        ]
    )


def with_prosumers(study: Study, index: Iterable[int]) -> Study:
    """The study with only some of its prosumers: the others' buses become passive load without PV, wind or battery.

    Their vehicles and heat pumps stay, and nobody controls them.
    """
    index = list(index)
    left = [who for k, who in enumerate(study.prosumers) if k not in set(index)]
    names = [f"{kind}_{what}" for kind in DEFERRABLE for what in ("kwh_per_day", "kw", "delay_h")]
    rows = (PassiveRow.model_construct(bus=who.bus, **{name: getattr(who, name) for name in names}) for who in left)
    return replace(
        study,
        prosumers=tuple(study.prosumers[k] for k in index),
        renewable_kw=study.renewable_kw[index],
        passive=(*study.passive, *rows),
    )


def placed(study: Study, seed: int) -> Study:
    """The study with its prosumers at other buses, drawn at random from all buses with load.

    What a prosumer owns, its risk weight and how long its loads may wait go with it; demand, vehicles and heat pumps
    stay at their buses. ``seed``: of the draw.
    """
    rng, n = np.random.default_rng(seed), len(study.prosumers)
    buses = study.feeder.bus[study.load_kw.any(axis=(1, 2))]
    chosen = rng.choice(buses, size=n, replace=False).tolist()
    sizes = [f"{kind}_{what}" for kind in DEFERRABLE for what in ("kwh_per_day", "kw")]
    rows: list[Prosumer | DeferrableRow] = [*study.prosumers, *study.passive]
    at = {row.bus: {name: getattr(row, name) for name in sizes} for row in rows}
    none = dict.fromkeys(sizes, 0.0)
    moved = (replace(p, name=f"bus{b}", bus=b, **at.get(b, none)) for p, b in zip(study.prosumers, chosen, strict=True))
    passive = (PassiveRow.model_construct(bus=b, **own) for b, own in sorted(at.items()) if b not in chosen)
    return replace(study, prosumers=tuple(moved), passive=tuple(passive))
