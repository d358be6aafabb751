"""What a user sets: study.yaml, the presets, and hosting.yaml, each key with its meaning, unit, default and range.

Ranges are wide, but no wider than what a feeder, a tariff or a computer can mean: a number out of scale is refused
here, where its key is known, and not by a solver that knows no keys.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from tritier.errors import InputError
from tritier.inputs.documents import Name, Section, as_whole, key, parse_yaml, plain, read_yaml, validated

SEASONS = {
    "winter": [12, 1, 2],
    "spring": [3, 4, 5],
    "summer": [6, 7, 8],
    "autumn": [9, 10, 11],
    "year": list(range(1, 13)),
}
BLOCKS = ("off_peak", "day", "peak")
MAX_TARIFFS = 20_000  # of a menu: every one of them is an LP of the search
MAX_POINTS = 10**9  # of a menu, limits included

Price = Annotated[float, Field(ge=0, le=10)]  # $/kWh
PresetName = Literal["smoke", "fast", "paper"]


def as_date(value: Any) -> Any:
    """A date from its ISO text; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        raise ValueError(f"{value[:30]!r} is no date; write it as 2016-03-25")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value} is no day of the calendar; write it as 2016-03-25") from None


def increasing(values: list[float]) -> list[float]:
    """Menu levels in order, none twice."""
    if any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"levels {values} do not increase; list each level once, smallest first")
    return values


Date = Annotated[date, BeforeValidator(as_date)]
Line = Annotated[int, BeforeValidator(as_whole), Field(ge=0)]
Prices = Annotated[list[Price], Field(min_length=1, max_length=20), AfterValidator(increasing)]
PeakCharge = Annotated[float, Field(ge=0, le=100)]  # $/kW and day
PeakCharges = Annotated[list[PeakCharge], Field(min_length=1, max_length=20), AfterValidator(increasing)]
Limit = Annotated[float, Field(gt=0, le=1e7)]  # kW
Limits = Annotated[list[Limit], Field(min_length=1, max_length=20), AfterValidator(increasing)]
FilePath = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(plain)]


class Files(Section):
    """Tables of the study."""

    bus: FilePath = key("buses of the feeder", default="bus.csv")
    branch: FilePath = key("lines of the feeder", default="branch.csv")
    prosumers: FilePath = key("prosumers and what they own", default="prosumers.csv")
    load_mix: FilePath = key("load profiles of each bus", default="load_mix.csv")
    load_profiles: FilePath = key("hourly load profiles", default="load_profiles.csv")
    renewable_profiles: FilePath = key("hourly profiles of PV and wind", default="renewable_profiles.csv")
    prices: FilePath = key("hourly wholesale prices", default="prices.csv")
    passive: FilePath | None = key(
        "uncontrolled vehicles and heat pumps at buses without a prosumer", default=None, note="none there"
    )
    deferrable_profiles: FilePath | None = key(
        "hourly profiles of what vehicles and heat pumps draw if nobody waits", default=None, note="no such loads"
    )
    plugged_in: FilePath | None = key(
        "share of vehicles plugged in by hour", default=None, note="all vehicles, at every hour"
    )


class Season(Section):
    """Days that are alike."""

    months: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Field(min_length=1, max_length=12)] = key(
        f"months, or the name of a season: {', '.join(SEASONS)}"
    )
    day_type: Literal["weekday", "weekend", "all"] = key("which days of the week", default="weekday")
    exclude_dates: Annotated[list[Date], Field(max_length=1000)] = key(
        "dates left out, as public holidays, of the load year and of the price year", default=[]
    )

    @field_validator("months", mode="before")
    @classmethod
    def named(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in SEASONS:
            raise ValueError(f"unknown season {value[:30]!r}; give month numbers or one of {', '.join(SEASONS)}")
        return SEASONS[value]


class Load(Section):
    """Size of the load."""

    profiles: Literal["relative", "per_kw"] = key(
        "what load profiles are: shapes of any size, by which p_kw of the bus file shares out a feeder of peak_kw, or "
        "kW per kW of p_kw",
        default="relative",
    )
    peak_kw: Annotated[float, Field(gt=0, le=1e6)] | None = key(
        "annual peak of the feeder at scale 1", "kW", None, "what profiles per kW add up to"
    )
    scale: float = key("scale on load, renewables and batteries alike", default=1.0, gt=0, le=100)

    @model_validator(mode="after")
    def peak_where_profiles_are_relative(self) -> Load:
        if (self.profiles == "relative") == (self.peak_kw is None):
            word = "give load.peak_kw" if self.peak_kw is None else "leave load.peak_kw out"
            raise ValueError(f"profiles are {self.profiles}; {word}")
        return self


class Renewables(Section):
    """PV and wind power."""

    pv_yield_factor: float = key("factor on the output of PV profiles", default=1.0, gt=0, le=10)
    pv_shift_h: int = key("hours by which PV profiles are shifted later", "h", 0, ge=-12, le=12)
    scale: float = key("scale on installed PV and wind power, beside that of the load", default=1.0, ge=0, le=100)
    pv_scale: float = key("scale on installed PV power alone", default=1.0, ge=0, le=100)


class Batteries(Section):
    """Batteries of the prosumers."""

    scale: float = key("scale on capacity and power, beside that of the load", default=1.0, ge=0, le=100)
    degradation_usd_per_kwh: Price | None = key(
        "wear per kWh charged and per kWh discharged, for all", "$/kWh", None, "each prosumer's own, from the table"
    )


class Vehicles(Section):
    """Electric vehicles, of prosumers and at buses without one."""

    scale: float = key("scale on their energy and power, beside load and electrification", default=1.0, ge=0, le=100)
    delay_h: Annotated[int, Field(ge=0, le=23)] | None = key(
        "hours within which a kWh asked for is charged, for all", "h", None, "each prosumer's own, from the table"
    )


class HeatPumps(Section):
    """Heat pumps, of prosumers and at buses without one."""

    scale: float = key("scale on their energy and power, beside load and electrification", default=1.0, ge=0, le=100)
    delay_h: Annotated[int, Field(ge=0, le=23)] | None = key(
        "hours within which a kWh asked for is drawn, for all", "h", None, "each prosumer's own, from the table"
    )


class Demand(Section):
    """Demand response."""

    elasticity: float = key("own-price elasticity, negative", le=-1e-3, ge=-10)
    flexibility: float = key("share of demand that may come or go", ge=0, le=0.95)
    blocks: int = key("equal blocks of the inverse demand curve", default=4, ge=2, le=48, multiple_of=2)
    borders: Literal["equal", "prices"] = key(
        "blocks of equal width, or with borders at the demands of the all-in prices that occur", default="equal"
    )


class Risk(Section):
    """Attitude of the prosumers to risk."""

    alpha: float = key("confidence of CVaR", gt=0, le=0.999)
    beta: Annotated[float, Field(ge=0, le=0.9)] | None = key(
        "weight of CVaR, for all", default=None, note="each prosumer's own, from the table"
    )


class Retail(Section):
    """How the retail price of energy follows the hour.

    A spot-indexed price is (spot + margin + levies) (1 + VAT). Its mean over the design days is `retail_usd_per_kwh`
    and taxes are `tax_share` of that mean, which gives margin and levies: only the timing differs.
    """

    kind: Literal["fixed", "spot_indexed"] = key("one price at all hours, or the wholesale price plus", default="fixed")
    vat_share: float = key("value added tax, of a spot-indexed price only", default=0.19, ge=0, le=0.5)


class FeedIn(Section):
    """What prosumers are paid for what they feed in."""

    kind: Literal["fixed", "market_value"] = key(
        "feed_in_usd_per_kwh at all hours, or the wholesale price where it is positive", default="fixed"
    )


class TariffHours(Section):
    """Hours in each tariff block, 24 in all."""

    off_peak: int = key("hours of least net load", "h", ge=1, le=22)
    day: int = key("hours between", "h", ge=1, le=22)
    peak: int = key("hours of largest net load", "h", ge=1, le=22)

    @model_validator(mode="after")
    def whole_day(self) -> TariffHours:
        total = self.off_peak + self.day + self.peak
        if total != 24:
            raise ValueError(f"hours add to {total}; make off_peak + day + peak equal 24")
        return self


class TariffMenu(Section):
    """Energy charges on imports that the DSO may choose, by block."""

    off_peak: Prices = key("off-peak", "$/kWh")
    day: Prices = key("day", "$/kWh")
    peak: Prices = key("peak", "$/kWh")


class MenuSettings(Section):
    """The DSO's menu at one preset."""

    tariff: TariffMenu
    individual_peak: PeakCharges = key("charges on each customer's largest import of the day", "$/kW", [0.0])
    coincident_peak: PeakCharges = key("charges on the feeder head's largest flow of the day", "$/kW", [0.0])
    p2p: Prices = key("charges on P2P trade, half paid by each side", "$/kWh")
    capacity: Annotated[dict[Line, Limits], Field(max_length=20)] = key(
        "limits by line number; the largest must be at or above the line's rating", "kW"
    )

    @model_validator(mode="after")
    def of_a_size_that_can_be_searched(self) -> MenuSettings:
        parts = (*(getattr(self.tariff, b) for b in BLOCKS), self.individual_peak, self.coincident_peak, self.p2p)
        tariffs = math.prod(map(len, parts))
        points = tariffs * math.prod(map(len, self.capacity.values()))
        for count, most, what in ((tariffs, MAX_TARIFFS, "tariffs"), (points, MAX_POINTS, "points")):
            if count > most:
                raise ValueError(f"has {count:,} {what}; offer fewer levels, at most {most:,} {what} in all")
        return self


@dataclass(frozen=True)
class Preset:
    """Size of a run: `smoke` for tests, `fast` by default, `paper` for results that are kept.

    Meaning and range of every field but `name` stand in `PresetSettings`.
    """

    name: str
    n_prosumers: int
    n_scenarios: int
    gap: float
    n_resampled_days: int
    days_used: int
    seed: int = 2016


PRESET_KEYS = frozenset(f.name for f in fields(Preset)) - {"name"}
PRESETS = {
    "smoke": Preset("smoke", n_prosumers=14, n_scenarios=3, gap=0.10, n_resampled_days=4, days_used=4),
    "fast": Preset("fast", n_prosumers=14, n_scenarios=12, gap=0.05, n_resampled_days=60, days_used=366),
    "paper": Preset("paper", n_prosumers=14, n_scenarios=50, gap=0.05, n_resampled_days=300, days_used=366),
}


def size(text: str, name: str) -> Any:
    """A key of a preset, which stands for the preset's own value where it is absent."""
    own = {preset: f"{getattr(sizes, name):g}" for preset, sizes in PRESETS.items()}
    return key(text, default=None, note=", ".join(f"{preset} {value}" for preset, value in own.items()))


class PresetSettings(Section):
    """Size of a run; what a study gives here or `--set KEY=VALUE` replaces the preset's own value."""

    n_prosumers: Annotated[int, Field(ge=1, le=100_000)] | None = size(
        "prosumers kept at most, evenly spread over the table", "n_prosumers"
    )
    n_scenarios: Annotated[int, Field(ge=1, le=100_000)] | None = size("scenarios of a design", "n_scenarios")
    gap: Annotated[float, Field(gt=0, lt=1)] | None = size(
        "share of the achievable gain at which the search stops", "gap"
    )
    n_resampled_days: Annotated[int, Field(ge=1, le=1_000_000)] | None = size(
        "held-out days made by pairing load and renewable days", "n_resampled_days"
    )
    days_used: Annotated[int, Field(ge=1, le=1_000_000)] | None = size(
        "real held-out days judged, evenly spread; more than there are means all", "days_used"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = size("seed of everything that is drawn", "seed")


class Settings(Section):
    """study.yaml: season, sizes, prices, rules and menus of a study, and where its tables are."""

    name: Name = key("short name, which results carry")
    title: Annotated[str, Field(max_length=200), AfterValidator(plain)] = key("one line for readers", default="")
    notes: Annotated[list[Annotated[str, Field(max_length=500), AfterValidator(plain)]], Field(max_length=50)] = key(
        "what readers of results should mind, as what an import has left out: study check and solve repeat each",
        default=[],
    )
    files: Files = Files()
    season: Season
    load: Load
    renewables: Renewables = Renewables()
    batteries: Batteries = Batteries()
    vehicles: Vehicles = Vehicles()
    heat_pumps: HeatPumps = HeatPumps()
    electrification: float = key(
        "how far the feeder has gone from today's equipment (0) to the study's own (1): scales vehicles and heat "
        "pumps, and what renewables.pv_scale and batteries.scale add",
        default=1.0,
        ge=0,
        le=1,
    )
    usd_per_eur: float = key("exchange rate of the wholesale prices", "$/EUR", ge=0.01, le=1000)
    retail_usd_per_kwh: float = key(
        "retail energy price with taxes, without the network charge; mean of a spot-indexed one", "$/kWh", gt=0, le=5
    )
    retail: Retail = Retail()
    tax_share: float = key("taxes and levies as a share of the retail energy price", default=0.7175, ge=0, le=1)
    feed_in_usd_per_kwh: Price = key("feed-in price where it is fixed", "$/kWh")
    feed_in: FeedIn = FeedIn()
    network_charge_usd_per_kwh: Price = key("flat network charge of Case 1, which sets the cost to recover", "$/kWh")
    fixed_cost_usd: Annotated[float, Field(ge=0, le=1e9)] | None = key(
        "fixed network cost to recover", "$/day", None, "what the network charge leaves in Case 1"
    )
    fixed_share: float = key(
        "largest share of the cost to recover that a fixed charge per customer may carry", default=0.0, ge=0, le=1
    )
    billing: Literal["scenario", "expected"] = key(
        "whether network charges are billed by scenario, inside the prosumer's risk, or on expectation",
        default="expected",
    )
    p2p_trade: Literal["day_ahead", "by_scenario"] = key(
        "whether P2P trades are agreed the day before, alike in all scenarios, or contingent on the scenario",
        default="day_ahead",
    )
    rights: Literal["day", "day_ahead"] = key(
        "whether judged days settle all rights at the day's prices, or those bought day-ahead at the design's",
        default="day",
    )
    demand: Demand
    risk: Risk
    chance_level: float = key("chance level of network limits", ge=1e-4, le=0.5)
    violation_price_factor: float = key(
        "declared price of violating a network limit, in multiples of the all-in price of Case 1",
        default=10.0,
        gt=0,
        le=1000,
    )
    substation_voltage_pu: Annotated[float, Field(ge=0.9, le=1.1)] | None = key(
        "voltage that the substation's tap changer holds", "p.u.", None, "that of the slack in the bus file"
    )
    voltage_margin_pu: Annotated[float, Field(ge=0, lt=0.05)] | None = key(
        "tightening of the lower voltage limit for the error of LinDistFlow",
        "p.u.",
        None,
        "measured against AC power flow on design days",
    )
    demand_charge_usd_per_kw: float = key("upstream charge on the head's peak of the day", "$/kW", ge=0, le=1000)
    peak_with_losses: bool = key(
        "whether that charge meets the head's import with the feeder's losses, as the meter upstream does",
        default=False,
    )
    excess_usd_per_kw: Annotated[float, Field(ge=0, le=1000)] | None = key(
        "what exceeding a limit that the DSO offered costs it, on the day's largest excess",
        "$/kW",
        None,
        "the demand charge",
    )
    tie_break_usd_per_kwh: float = key(
        "per kWh in store and hour: stored energy is used as soon as it can be", "$/kWh", 1e-5, ge=0, le=1e-3
    )
    tariff_hours: TariffHours
    reference_value_usd_per_kwh: Annotated[float, Field(ge=0, le=100)] | None = key(
        "value of consumption at the reference level, for welfare only",
        "$/kWh",
        None,
        "the all-in price of Case 1",
    )
    calibrated_on: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = key(
        "mark of the tables that load.scale and the reference value were calibrated on",
        default=None,
        note="written by tritier study calibrate",
    )
    menus: Annotated[dict[PresetName, MenuSettings], Field(min_length=1)] = key("the DSO's menu by preset")
    presets: dict[PresetName, PresetSettings] = key("sizes of a run by preset", default={})

    @property
    def reference_price(self) -> float:
        """p0, the all-in price of Case 1 [$/kWh]."""
        return self.retail_usd_per_kwh + self.network_charge_usd_per_kwh

    def preset(self, name: str) -> Preset:
        """A preset by name, with the study's own sizes. Raises InputError where there is none of that name."""
        found = find_preset(name)
        return with_sizes(found, self.presets[found.name]) if found.name in self.presets else found

    @model_validator(mode="after")
    def taxes_hold_the_vat(self) -> Settings:
        vat = self.retail.vat_share
        if self.retail.kind == "spot_indexed" and self.tax_share < vat / (1 + vat):
            raise ValueError(
                f"tax_share {self.tax_share:g} is less than value added tax alone; raise it to at least "
                f"{vat / (1 + vat):.4f} or lower retail.vat_share"
            )
        return self


def read_settings(path: Path, changes: Mapping[str, object] | None = None) -> Settings:
    """Read and check study.yaml.

    Args:
        path: study.yaml.
        changes: values that replace those of the file, by dotted key (`{"load.scale": 1.02}`).

    Raises:
        InputError: no such file, no YAML, or a key that is missing, unknown or out of range.
    """
    content = read_yaml(path, "give a folder that holds study.yaml")
    for name, value in (changes or {}).items():
        put(path, content, name, value)
    settings = validated(Settings, content, path)
    check_arbitrage(path, settings)
    return settings


def check_arbitrage(path: Path, settings: Settings) -> None:
    """Importing to feed in again must not pay, both prices fixed, at no tariff: the flat one is looked for from zero on
    (:func:`tritier.search.flat.flat_tariff`), where what is imported to be fed in again would recover the cost too."""
    if settings.retail.kind != "fixed" or settings.feed_in.kind != "fixed":
        return
    if settings.retail_usd_per_kwh < settings.feed_in_usd_per_kwh:
        raise InputError(
            path,
            "feed_in_usd_per_kwh",
            f"{settings.feed_in_usd_per_kwh:g} is above the retail price {settings.retail_usd_per_kwh:g}: importing to "
            "feed in again would pay at a small tariff",
            "lower it, or raise retail_usd_per_kwh",
        )


def put(path: Path, content: dict, name: str, value: object) -> None:
    """Set a dotted key in nested dictionaries."""
    *sections, last = (as_whole(part) for part in name.split("."))
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise InputError(
                path, name, f"{section} has no keys of its own", "use a dotted key of study.yaml, as load.scale"
            )
    content[last] = parse_value(name, value) if isinstance(value, str) else listed(value)


def listed(value: Any) -> Any:
    """Tuples as lists, as a file would give them."""
    return [listed(v) for v in value] if isinstance(value, tuple | list) else value


def parse_value(name: str, text: str) -> Any:
    """What the text of a change stands for: a number, true, false, null, [list], {section}, or else a word."""
    if text[:1] not in ("[", "{") and (not text.isprintable() or re.search(r"[:#&*!|>'\"%@`]", text)):
        return text
    return parse_yaml(text, "--set", f"give {name} a number, a word, a [list] or a {{section}}")


def change_as_text(value: object) -> str:
    """A change as ``--set`` would be told it: :func:`parse_value` makes the same value of it again."""
    if hasattr(value, "tolist"):
        value = value.tolist()  # of numpy
    written = value is None or isinstance(value, bool | int | float | list | tuple | dict)
    return json.dumps(listed(value), default=str) if written else str(value)


def parse_changes(pairs: list[str]) -> dict[str, str]:
    """Split `KEY=VALUE` texts of the command line.

    Raises:
        InputError: an entry without '='.
    """
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise InputError("--set", pair, "is not KEY=VALUE", "write for example --set n_prosumers=10")
        changes[name.strip()] = value.strip()
    return changes


def find_preset(name: str, changes: Mapping[str, object] | None = None, file: object = "--set") -> Preset:
    """A preset by name, with some of its values changed.

    Args:
        name: smoke, fast or paper.
        changes: new values by field name; text is converted (`--set n_prosumers=10`).
        file: what an error blames, `--set` or the path of study.yaml.

    Raises:
        InputError: unknown preset or key, or a value out of range.
    """
    if name not in PRESETS:
        raise InputError("--preset", "preset", f"unknown preset {name!r}", f"choose one of {', '.join(PRESETS)}")
    return change_preset(PRESETS[name], changes or {}, file)


def change_preset(preset: Preset, changes: Mapping[str, object], file: object = "--set") -> Preset:
    """The preset with some values changed; arguments and errors as `find_preset`."""
    values = {k: parse_value(k, v) if isinstance(v, str) else v for k, v in changes.items()}
    return with_sizes(preset, validated(PresetSettings, values, file))


def with_sizes(preset: Preset, sizes: PresetSettings) -> Preset:
    """The preset with the sizes that are given."""
    return replace(preset, **sizes.model_dump(exclude_none=True))


class HostingSettings(Section):
    """hosting.yaml: numbers of the hosting problem that study.yaml does not hold; the file may be absent.

    Investment is annualised; prices are those of the Danish Energy Agency's catalogue for 2020 in PyPSA's
    technology-data, in EUR.
    """

    pv_potential: float = key("room for PV, in multiples of the prosumers' nominal load", default=8.0, gt=0, le=1000)
    wind_potential: float = key("room for wind, in multiples of the table's wind power", default=2.0, gt=0, le=1000)
    curtail_share: float = key(
        "share of a day's renewable energy that may be curtailed", "-", 0.03, "German law, of a year's", gt=0, le=1
    )
    substation_kva: float = key(
        "rating of the substation transformer", "kVA", math.inf, "no limit", gt=0, allow_inf_nan=True
    )
    envelope: float = key("quantile of design days that a factor reaches at u = 1", default=0.95, ge=0.5, le=1)
    coverage: float = key("share of design days within the fitted budget", default=0.90, gt=0, le=1)
    battery_hours: float = key("battery energy over power", "h", 2.0, ge=0.1, le=100)
    penalty: float = key("hosted capacity given up per kW or kWh of violated limit", "kW/kW", 100.0, ge=1, le=1e5)
    discount_rate: float = key("yearly discount rate", default=0.04, ge=1e-4, le=1)
    pv_eur_per_kw: float = key("price of PV", "EUR/kW", 1057.12, gt=0, le=1e5)
    pv_fixed_share: float = key("yearly upkeep of PV, share of its price", default=0.011471, gt=0, le=1)
    pv_years: float = key("life of PV", "a", 35.0, ge=1, le=200)
    wind_eur_per_kw: float = key("price of wind power", "EUR/kW", 1183.91, gt=0, le=1e5)
    wind_fixed_share: float = key("yearly upkeep of wind power, share of its price", default=0.012514, gt=0, le=1)
    wind_years: float = key("life of wind power", "a", 27.0, ge=1, le=200)
    battery_eur_per_kwh: float = key("price of batteries", "EUR/kWh", 354.0, gt=0, le=1e5)
    battery_years: float = key("life of batteries", "a", 20.0, ge=1, le=200)


def read_hosting_settings(folder: Path) -> HostingSettings:
    """hosting.yaml of a study folder, defaults where there is none.

    Raises:
        InputError: no YAML mapping, an unknown key, or a value out of range.
    """
    path = Path(folder) / "hosting.yaml"
    if not path.exists():
        return HostingSettings()
    return validated(HostingSettings, read_yaml(path, "make it a file, or remove it for the defaults"), path)
