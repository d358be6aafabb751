"""Settings of the hosting-capacity problem: defaults, and hosting.yaml of a study folder."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from tritier.errors import InputError


@dataclass(frozen=True)
class HostingSettings:
    """Numbers of the hosting problem that study.yaml does not hold; hosting.yaml in the study folder may change them.

    Investment is annualised with ``discount_rate``; prices are those of the Danish Energy Agency's catalogue for 2020
    in PyPSA's technology-data, in EUR.
    """

    pv_potential: float = 8.0  # room for PV at all sites, in multiples of the nominal load of the study's prosumers
    wind_potential: float = 2.0  # room for wind, in multiples of the wind power in prosumers.csv
    curtail_share: float = 0.03  # of a day's energy; German law lets planners assume 3 % of a plant's annual energy
    substation_kva: float = float("inf")
    envelope: float = 0.95  # quantile of design days that a factor reaches at u = 1
    coverage: float = 0.90  # share of design days within the fitted budget
    battery_hours: float = 2.0
    penalty: float = 100.0  # kW of hosted capacity per kW (kWh) of violated limit
    discount_rate: float = 0.04
    pv_eur_per_kw: float = 1057.12
    pv_fixed_share: float = 0.011471
    pv_years: float = 35.0
    wind_eur_per_kw: float = 1183.91
    wind_fixed_share: float = 0.012514
    wind_years: float = 27.0
    battery_eur_per_kwh: float = 354.0
    battery_years: float = 20.0


def read_hosting_settings(folder: Path) -> HostingSettings:
    """hosting.yaml of a study folder, defaults where there is none.

    Raises:
        InputError: no YAML mapping, an unknown key, or a value that is not a positive number.
    """
    path = Path(folder) / "hosting.yaml"
    if not path.is_file():
        return HostingSettings()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(path, "file", "is not YAML", "write 'key: value' lines") from error
    if not isinstance(content, dict):
        raise InputError(path, "file", "holds no keys", "write 'key: value' lines")
    known = [f.name for f in fields(HostingSettings)]
    for key, value in content.items():
        if key not in known:
            raise InputError(path, str(key), "is an unknown key", f"use one of {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise InputError(path, key, f"{value!r} is not a positive number", "give a number above zero")
        if value == float("inf") and key != "substation_kva":
            raise InputError(path, key, "is infinite", "give a finite number above zero")
    settings = HostingSettings(**{key: float(value) for key, value in content.items()})
    for key in ("curtail_share", "envelope", "coverage"):
        if getattr(settings, key) > 1:
            raise InputError(path, key, f"{getattr(settings, key):g} is no share", "give a number of at most 1")
    return settings
