"""study.yaml: its keys, their ranges, and one-line errors for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import InputError
from .preset import PRESETS, change_preset, check_preset_name

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
