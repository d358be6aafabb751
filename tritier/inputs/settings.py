"""study.yaml: its keys, their ranges, and one-line errors for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tritier.errors import InputError

SEASONS = {
    "winter": [12, 1, 2],
    "spring": [3, 4, 5],
    "summer": [6, 7, 8],
    "autumn": [9, 10, 11],
    "year": list(range(1, 13)),
}
BLOCKS = ("off_peak", "day", "peak")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A part of study.yaml: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Files(Section):
    """Paths relative to study.yaml."""

    bus: str = "bus.csv"
    branch: str = "branch.csv"
    prosumers: str = "prosumers.csv"
    load_mix: str = "load_mix.csv"
    load_profiles: str = "load_profiles.csv"
    renewable_profiles: str = "renewable_profiles.csv"
    prices: str = "prices.csv"


class Season(Section):
    """Days that are alike: months (or the name of a season), day type, and dates left out, of any year."""

    months: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Field(min_length=1)]
    day_type: Literal["weekday", "weekend", "all"] = "weekday"
    exclude_dates: list[date] = []

    @field_validator("months", mode="before")
    @classmethod
    def named(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in SEASONS:
            raise ValueError(f"unknown season {value!r}; give month numbers or one of {', '.join(SEASONS)}")
        return SEASONS[value]


class Load(Section):
    """Annual peak of the feeder, and a scale on load, renewables and batteries alike."""

    peak_kw: Positive
    scale: Positive = 1.0


class Renewables(Section):
    """Yield factor and shift of the PV profiles; scales on installed PV and wind power, and on PV alone."""

    pv_yield_factor: Positive = 1.0
    pv_shift_h: Annotated[int, Field(ge=-12, le=12)] = 0
    scale: NotNegative = 1.0
    pv_scale: NotNegative = 1.0


class Batteries(Section):
    """Scale on battery capacity and power beside that of the load, and one wear for all in place of the table's."""

    scale: NotNegative = 1.0
    degradation_usd_per_kwh: NotNegative | None = None


class Demand(Section):
    """Demand response: own-price elasticity, share of demand that moves, blocks of the inverse demand curve."""

    elasticity: Annotated[float, Field(lt=0, ge=-10)]
    flexibility: Annotated[float, Field(ge=0, lt=1)]
    blocks: Annotated[int, Field(ge=2, multiple_of=2)] = 4


class Risk(Section):
    """Confidence of the prosumers' CVaR, and one weight of it for all in place of the table's."""

    alpha: Share
    beta: Annotated[float, Field(ge=0, le=0.9)] | None = None


class TariffHours(Section):
    """Hours in each tariff block."""

    off_peak: Annotated[int, Field(ge=1)]
    day: Annotated[int, Field(ge=1)]
    peak: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def whole_day(self) -> TariffHours:
        if self.off_peak + self.day + self.peak != 24:
            total = self.off_peak + self.day + self.peak
            raise ValueError(f"hours add to {total}; make off_peak + day + peak equal 24")
        return self


def increasing(values: list[float]) -> list[float]:
    """Menu levels in order, none twice."""
    if any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"levels {values} do not increase; list each level once, smallest first")
    return values


Levels = Annotated[list[NotNegative], Field(min_length=1)]


class TariffMenu(Section):
    """Import tariffs offered, by block."""

    off_peak: Levels
    day: Levels
    peak: Levels

    _order = field_validator("off_peak", "day", "peak")(increasing)


class MenuSettings(Section):
    """The DSO's menu at one preset."""

    tariff: TariffMenu
    p2p: Levels
    capacity: dict[int, Annotated[list[Positive], Field(min_length=1)]]

    _order = field_validator("p2p")(increasing)

    @field_validator("capacity")
    @classmethod
    def ordered(cls, value: dict[int, list[float]]) -> dict[int, list[float]]:
        for levels in value.values():
            increasing(levels)
        return value


class Settings(Section):
    """All of study.yaml."""

    name: Annotated[str, Field(min_length=1)]
    title: str = ""
    files: Files = Files()
    season: Season
    load: Load
    renewables: Renewables = Renewables()
    batteries: Batteries = Batteries()
    usd_per_eur: Positive
    retail_usd_per_kwh: Positive
    feed_in_usd_per_kwh: NotNegative
    network_charge_usd_per_kwh: NotNegative
    fixed_cost_usd: NotNegative | None = None
    demand: Demand
    risk: Risk
    chance_level: Share
    violation_price_factor: Positive = 10.0
    voltage_margin_pu: Annotated[float, Field(ge=0, lt=0.05)] | None = None
    demand_charge_usd_per_kw: NotNegative
    tie_break_usd_per_kwh: Annotated[float, Field(ge=0, le=1e-3)] = 1e-5
    tariff_hours: TariffHours
    reference_value_usd_per_kwh: NotNegative | None = None
    menus: Annotated[dict[str, MenuSettings], Field(min_length=1)]
    presets: dict[str, dict[str, Any]] = {}

    @property
    def reference_price(self) -> float:
        """p0, the all-in price of Case 1 [$/kWh]."""
        return self.retail_usd_per_kwh + self.network_charge_usd_per_kwh


class RepeatedKey(yaml.constructor.ConstructorError):
    """A key stands twice in one section: YAML would keep the last and say nothing."""


class OneValueLoader(yaml.SafeLoader):
    """Safe YAML that refuses repeated keys."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is no word", key.start_mark)
            if key.value in seen:
                raise RepeatedKey(None, None, f"gives {key.value} a second time", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_settings(path: Path, changes: Mapping[str, object] | None = None) -> Settings:
    """Read and check study.yaml.

    Args:
        path: study.yaml.
        changes: values that replace those of the file, by dotted key (`{"load.scale": 1.02}`).

    Raises:
        InputError: no such file, no YAML, or a key that is missing, unknown or out of range.
    """
    if not path.is_file():
        raise InputError(path, "file", "does not exist", "give a folder that holds study.yaml")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=OneValueLoader)
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
    ) as error:  # a date of month 13, a list as a key, bytes that are no text
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "text"
        if isinstance(error, RepeatedKey):
            raise InputError(path, where, error.problem, "keep one of them") from error
        raise InputError(path, where, "is not YAML", "mind indentation, colons and brackets near that line") from error
    if not isinstance(content, dict):
        raise InputError(path, "file", "holds no keys", "write 'key: value' lines, see data/studies/ieee33/study.yaml")
    for key, value in (changes or {}).items():
        put(path, content, key, value)
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        raise one_line(path, error) from error
    for name in settings.menus:
        check_preset_name(name, path, f"menus.{name}")
    for name, values in settings.presets.items():
        check_preset_name(name, path, f"presets.{name}")
        change_preset(PRESETS[name], values, path)
    check_arbitrage(path, settings)
    return settings


def check_arbitrage(path: Path, settings: Settings) -> None:
    """Importing to feed in again must not pay: retail + tau_b >= feed-in at every tariff offered."""
    for name, menu in settings.menus.items():
        for block in BLOCKS:
            lowest = min(getattr(menu.tariff, block))
            if settings.retail_usd_per_kwh + lowest < settings.feed_in_usd_per_kwh:
                raise InputError(
                    path,
                    f"menus.{name}.tariff.{block}",
                    f"retail price plus the smallest tariff {lowest:g} is below the feed-in price "
                    f"{settings.feed_in_usd_per_kwh:g}",
                    "raise the tariff or retail_usd_per_kwh, or lower feed_in_usd_per_kwh",
                )


def put(path: Path, content: dict, key: str, value: object) -> None:
    """Set a dotted key in nested dictionaries. Text that is a YAML list, mapping or null is read as such."""
    if isinstance(value, str) and (value == "null" or value[:1] in ("[", "{")):
        try:
            value = yaml.load(value, Loader=OneValueLoader)
        except yaml.YAMLError as error:
            raise InputError("--set", key, f"{value} is not YAML", "close its brackets") from error
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise InputError(
                path, key, f"{section} has no keys of its own", "use a dotted key of study.yaml, as load.scale"
            )
    content[last] = value


def one_line(path: Path, error: ValidationError) -> InputError:
    """The first complaint of pydantic as file, field, problem and mend."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part != "[key]") or "file"
    if first["type"] == "missing":
        return InputError(path, field, "is missing", "add the key")
    if first["type"] == "extra_forbidden":
        return InputError(path, field, "is an unknown key", f"use one of {', '.join(keys_at(first['loc'][:-1]))}")
    if first["type"] == "value_error":
        problem, _, mend = str(first["ctx"]["error"]).partition("; ")
        return InputError(path, field, problem, mend)
    message = first["msg"].replace("Input should", "it should")
    return InputError(path, field, f"{first['input']!r} is not allowed", message)


def keys_at(where: tuple) -> list[str]:
    """Keys allowed in a section of study.yaml."""
    model: Any = Settings
    for part in where:
        inner = (
            model.model_fields[part].annotation
            if isinstance(part, str) and part in model.model_fields
            else MenuSettings
        )
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else MenuSettings
    return list(model.model_fields)


# Presets: how much of a study is solved. `smoke` for tests, `fast` by default, `paper` for results that are kept.


@dataclass(frozen=True)
class Preset:
    """Size of a run. Every field but `name` can be overridden by `--set KEY=VALUE` and by study.yaml."""

    name: str
    n_prosumers: int  # prosumers kept at most, evenly spread over the study's list
    n_scenarios: int  # S, scenarios of a design
    gap: float  # g, share of the achievable gain at which the design search stops
    n_resampled_days: int  # held-out days made by pairing load and renewable days
    days_used: int  # real held-out days judged in each half, evenly spread; more than there are means all
    seed: int = 2016  # of everything that is drawn


PRESETS = {
    "smoke": Preset("smoke", n_prosumers=14, n_scenarios=3, gap=0.10, n_resampled_days=4, days_used=4),
    "fast": Preset("fast", n_prosumers=14, n_scenarios=12, gap=0.05, n_resampled_days=60, days_used=366),
    "paper": Preset("paper", n_prosumers=14, n_scenarios=50, gap=0.05, n_resampled_days=300, days_used=366),
}
LOWEST = {"n_prosumers": 1, "n_scenarios": 1, "n_resampled_days": 1, "days_used": 1, "seed": 0}


def check_preset_name(name: str, file: object = "--preset", field: str = "preset") -> None:
    """Raise an InputError that names the choices."""
    if name not in PRESETS:
        raise InputError(file, field, f"unknown preset {name!r}", f"choose one of {', '.join(PRESETS)}")


def find_preset(name: str, changes: Mapping[str, object] | None = None, file: object = "--set") -> Preset:
    """A preset by name, with some of its values changed.

    Args:
        name: smoke, fast or paper.
        changes: new values by field name; text is converted (`--set n_prosumers=10`).
        file: what an error blames, `--set` or the path of study.yaml.

    Raises:
        InputError: unknown preset or key, or a value out of range.
    """
    check_preset_name(name)
    return change_preset(PRESETS[name], changes or {}, file)


def change_preset(preset: Preset, changes: Mapping[str, object], file: object = "--set") -> Preset:
    """The preset with some values changed; arguments and errors as `find_preset`."""
    keys = [f.name for f in fields(Preset) if f.name != "name"]
    values = {}
    for key, value in changes.items():
        if key not in keys:
            raise InputError(file, str(key), "unknown key of a preset", f"choose one of {', '.join(keys)}")
        values[key] = _gap(file, value) if key == "gap" else _whole(file, key, value)
    return replace(preset, **values)


def parse_changes(pairs: list[str]) -> dict[str, str]:
    """Split `KEY=VALUE` texts of the command line.

    Raises:
        InputError: an entry without '='.
    """
    changes = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InputError("--set", pair, "is not KEY=VALUE", "write for example --set n_prosumers=10")
        changes[key.strip()] = value.strip()
    return changes


def _gap(file: object, value: object) -> float:
    try:
        gap = float(value)
    except (TypeError, ValueError):
        gap = -1.0
    if not 0 < gap < 1:
        raise InputError(file, "gap", f"{value!r} is not a share", "give a number between 0 and 1")
    return gap


def _whole(file: object, key: str, value: object) -> int:
    try:
        number = float(value)
        whole = int(number) if number.is_integer() and not isinstance(value, bool) else LOWEST[key] - 1
    except (TypeError, ValueError, OverflowError):
        whole = LOWEST[key] - 1
    if whole < LOWEST[key]:
        raise InputError(file, key, f"{value!r} is not allowed", f"give a whole number of at least {LOWEST[key]}")
    return whole


# Settings of the hosting-capacity problem: defaults, and hosting.yaml of a study folder.


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
