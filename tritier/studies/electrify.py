"""A study when its homes drive electric and heat electric: the same rules for every feeder, nothing calibrated."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.errors import InputError
from tritier.inputs.documents import read_yaml
from tritier.inputs.settings import Settings
from tritier.inputs.study import HIGHEST_LOAD, Study, read_study
from tritier.inputs.tables import LoadMixRow, read_days, read_rows
from tritier.provenance import sole_writer, whole_folder
from tritier.studies.commented import commented_yaml

# What a home owns, with sources in data/parameters.csv of the repository.
HOME_KWH = 3300.0  # a year
EV_PER_HOME, EV_KWH_PER_DAY, EV_KW, EV_DELAY_H = 0.8, 5.5, 11.0, 8
HP_PER_HOME, HP_KWH_PER_DAY, HP_KW, HP_DELAY_H = 0.33, 9.9926, 4.5547, 3
PV_SCALE, BATTERY_KWH_PER_KWP = 2.2, 1.5
HOUSEHOLD = "H0"  # how the names of household shapes begin


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
    household = (share * mix["profile"].str.startswith(HOUSEHOLD)).groupby(mix["bus"]).sum()
    if not household.any():
        raise InputError(path, "column profile", f"has no household shape ({HOUSEHOLD}-...)", "give devices by hand")
    yearly = pd.Series(study.load_kw.sum(axis=(1, 2)) / settings.load.scale, index=study.feeder.bus)
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


def electrify(folder: Path, out: Path, level: float, data: Path) -> Study:
    """Write the electrified twin of a study: vehicles, heat pumps, spot-indexed prices, the dial at ``level``.

    data: folder with ``simbench/deferrable_profiles.csv`` and ``mobility/plugged_in.csv``.
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
        passive.sort_index().rename_axis("bus").reset_index().to_csv(
            work / "passive.csv", index=False, lineterminator="\n"
        )
        content = electrified_settings(read_yaml(study.paths["study"], ""), study, level)
        (work / "study.yaml").write_text(commented_yaml(Settings, content), encoding="utf-8")
        read_study(work)
    return read_study(out)


def electrified_settings(content: dict, study: Study, level: float) -> dict:
    """study.yaml of the electrified twin: what the rules change, and nothing else."""
    settings = study.settings
    roles = [role for role in study.paths if role != "study"]
    files = {role: f"{role}.csv" for role in roles} | {
        "passive": "passive.csv",
        "deferrable_profiles": "deferrable_profiles.csv",
        "plugged_in": "plugged_in.csv",
    }
    battery = BATTERY_KWH_PER_KWP * PV_SCALE
    per_kwp = np.array([p.battery_kwh for p in study.prosumers]).sum() / max(
        1e-9, sum(p.pv_kw for p in study.prosumers)
    )
    renewables = settings.renewables.model_dump(exclude_unset=True) | {
        "pv_scale": PV_SCALE * settings.renewables.pv_scale
    }
    batteries = settings.batteries.model_dump(exclude_unset=True)
    batteries["scale"] = float(f"{battery / per_kwp if per_kwp > 0 else battery:.4g}")
    return content | {
        "name": f"{settings.name}-electrified",
        "title": f"{settings.title or settings.name}, electrified",
        "files": files,
        "electrification": level,
        "renewables": renewables,
        "batteries": batteries,
        "retail": {"kind": "spot_indexed"},
        "feed_in": {"kind": "market_value"},
        "billing": "scenario",
        "fixed_share": 0.5,
    }
