"""From a study folder to a `HostingCase`: sites, representative days of the year and their fitted uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tritier.errors import InputError
from tritier.hosting.robust import UncertaintySet, budget_set, largest
from tritier.inputs.instance import DEFERRABLE, Feeder, quantity
from tritier.inputs.scenarios import asked_kw, by_kind, evenly_spread, keep_prosumers, plugged_kw
from tritier.inputs.settings import HostingSettings, Preset
from tritier.inputs.study import HIGHEST_RENEWABLE, Study, read_prosumer_rows, renewable_power
from tritier.inputs.tables import read_days
from tritier.model.acflow import voltage_margin
from tritier.model.network import LinDistFlow, lindistflow

HALF_YEARS = (("summer half", (4, 5, 6, 7, 8, 9)), ("winter half", (10, 11, 12, 1, 2, 3)))
SEASONS = (
    ("winter", (12, 1, 2)),
    ("spring", (3, 4, 5)),
    ("summer", (6, 7, 8)),
    ("autumn", (9, 10, 11)),
)
# Parts of the day that deviate together, one factor each: few enough that every vertex of the set can be checked.
LOAD_PARTS = (slice(0, 8), slice(8, 16), slice(16, 24))
PV_PARTS = (slice(0, 12), slice(12, 24))
WIND_PARTS = (slice(0, 24),)


def annuity(price: float, years: float, rate: float, fixed_share: float = 0.0) -> float:
    """Yearly cost of one unit: annuity of its price over its life, and fixed upkeep as a share of the price."""
    return price * (rate / (1.0 - (1.0 + rate) ** -years) + fixed_share)


@dataclass(frozen=True, eq=False)
class YearData:
    """Hourly year of a study as the hosting problem needs it, by day (D, 24)."""

    pv: np.ndarray  # (I, D, 24) kW per kW
    wind: np.ndarray  # (I, D, 24) kW per kW
    load: np.ndarray  # (N, D, 24) kW, without what may wait at the sites
    reactive: np.ndarray  # (N, D, 24) kvar
    site: np.ndarray  # (I,) bus positions of the sites
    kinds: tuple[str, ...]  # of vehicles and heat pumps that the sites have
    asked: np.ndarray  # (K, I, D, 24) kW that they draw if nobody waits
    plugged: np.ndarray  # (K, I, D, 24) kW that they can draw, at least what they ask for
    month: np.ndarray  # (D,)
    odd_week: np.ndarray  # (D,) True on design days
    date: np.ndarray  # (D,)
    price: np.ndarray  # (E, 24) $/kWh
    price_month: np.ndarray  # (E,)

    @property
    def drawn(self) -> np.ndarray:
        """Load of every bus if nobody waits, (N, D, 24) [kW]."""
        return with_asked(self.load, self.site, self.asked)

    @property
    def loads(self) -> np.ndarray:
        """Loads of the buses, then what each site's vehicles and heat pumps ask for, (N + K I, D, 24) [kW]."""
        return np.concatenate([self.load, *self.asked])

    def asked_of(self, loads: np.ndarray) -> np.ndarray:
        """What may wait, (..., K, I, 24), of (..., N + K I, 24)."""
        own = loads[..., self.load.shape[0] :, :]
        return own.reshape(*own.shape[:-2], len(self.kinds), self.site.size, own.shape[-1])

    def drawn_of(self, loads: np.ndarray) -> np.ndarray:
        """Loads of the buses if nobody waits, (..., N, 24), of (..., N + K I, 24)."""
        own = np.moveaxis(self.asked_of(loads), (-3, -2), (0, 1))
        buses = np.moveaxis(loads[..., : self.load.shape[0], :], -2, 0)
        return np.moveaxis(with_asked(buses, self.site, own), 0, -2)


def with_asked(load: np.ndarray, site: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Loads (N, ...) and, at the sites' buses, what vehicles and heat pumps (K, I, ...) ask for."""
    if not asked.size:
        return load
    total = load.copy()
    total[site] += asked.sum(axis=0)
    return total


def year_data(study: Study) -> YearData:
    """Profiles per kW installed at every site, and loads, for the whole load year: weekends and the dates that the
    study's season leaves out are days on which a feeder hosts, too."""
    _, profiles = read_days(study.paths["renewable_profiles"], 0.0, HIGHEST_RENEWABLE)
    table = read_prosumer_rows(study.paths["prosumers"], study.feeder, profiles)
    name_of = {row.bus: (row.pv_profile, row.wind_profile) for row in table}
    names = [name_of[who.bus] for who in study.prosumers]

    def per_kw(pv: float, wind: float) -> np.ndarray:
        return renewable_power(
            study.settings, [replace(who, pv_kw=pv, wind_kw=wind) for who in study.prosumers], names, profiles
        )

    month, price_month = (
        months_of_a_year(study.paths[role], dates)
        for role, dates in (("load_profiles", study.dates), ("prices", study.price_dates))
    )
    odd = np.array([d.isocalendar().week % 2 == 1 for d in study.dates.tolist()])
    every = np.arange(study.dates.size)
    asked, plugged = (np.moveaxis(by_kind(study, every, power), (1, 3), (0, 2)) for power in (asked_kw, plugged_kw))
    owned = np.array([own.any() for own in asked])
    load = study.load_kw
    for row in study.passive:
        drawn = np.stack([asked_kw(study, row, kind, every).T for kind in DEFERRABLE])
        load = with_asked(load, np.array([study.feeder.position(row.bus)]), drawn[:, None])
    return YearData(
        per_kw(1.0, 0.0),
        per_kw(0.0, 1.0),
        load,
        study.reactive_kvar,
        np.array([study.feeder.position(who.bus) for who in study.prosumers]),
        tuple(kind for kind, owns in zip(DEFERRABLE, owned, strict=True) if owns),
        asked[owned],
        np.maximum(plugged, asked)[owned],
        month,
        odd,
        study.dates,
        study.wholesale,
        price_month,
    )


def months_of_a_year(path: Path, dates: np.ndarray) -> np.ndarray:
    """Month of each day, (D,). Raises InputError unless every month of the year is among them."""
    month = dates.astype("datetime64[M]").astype(int) % 12 + 1
    missing = sorted(set(range(1, 13)) - set(month.tolist()))
    if missing:
        problem = f"has no day of month {', '.join(map(str, missing))}"
        raise InputError(path, "column time", problem, "give a whole year: hosting capacity is that of a year")
    return month


def season_groups(preset: Preset) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Representative days by preset: two half years, or at `paper` the four seasons."""
    return SEASONS if preset.name == "paper" else HALF_YEARS


def factor_shifts(values: np.ndarray, parts: Sequence[slice], quantile: float) -> tuple[np.ndarray, np.ndarray]:
    """Rises and falls of an (K, D, 24) profile by part of the day: (2 P, K, 24) shifts and the mean (K, 24).

    At u = 1 every hour of the part stands at its quantile over the days (rise) or at the opposite one (fall).
    """
    mean = values.mean(axis=1)
    high = np.quantile(values, quantile, axis=1)
    low = np.quantile(values, 1.0 - quantile, axis=1)
    shifts = np.zeros((2 * len(parts), *mean.shape))
    for k, part in enumerate(parts):
        shifts[k][:, part] = np.maximum(high - mean, 0.0)[:, part]
        shifts[len(parts) + k][:, part] = np.minimum(low - mean, 0.0)[:, part]
    return shifts, mean


def factor_size(values: np.ndarray, parts: Sequence[slice], quantile: float) -> np.ndarray:
    """How far each day is out, by part: size of the part's total deviation over the factor's, (D, P)."""
    shifts, mean = factor_shifts(values, parts, quantile)
    size = np.zeros((values.shape[1], len(parts)))
    for k, part in enumerate(parts):
        deviation = (values - mean[:, None])[:, :, part].sum(axis=(0, 2))
        rise, fall = shifts[k].sum(), -shifts[len(parts) + k].sum()
        size[:, k] = np.where(deviation > 0, deviation / max(rise, 1e-12), -deviation / max(fall, 1e-12))
    return size


def representative_day(
    data: YearData, label: str, months: Sequence[int], settings: HostingSettings, budget: float | None
) -> DayModel:
    """A season's mean design day with two-sided factors for PV (2), wind (1 where there is any) and load (3).

    ``budget`` None: fitted, the smallest whole number of factors that covers the settings' share of design days.
    """
    chosen = np.flatnonzero(np.isin(data.month, months) & data.odd_week)
    if chosen.size < 2:
        raise InputError("load_profiles.csv", "column time", f"has too few days in {label}", "give a whole year")
    sources = [(data.pv, PV_PARTS), (data.wind, WIND_PARTS), (data.loads, LOAD_PARTS)]
    shifts, means, sizes = [], [], []
    for values, parts in sources:
        moved, mean = factor_shifts(values[:, chosen], parts, settings.envelope)
        means.append(mean)
        shifts.append(moved)
        sizes.append(factor_size(values[:, chosen], parts, settings.envelope))
    used = [bool(s.any()) for s in shifts]
    count = [len(parts) if use else 0 for (_, parts), use in zip(sources, used, strict=True)]
    total = sum(count)
    spent = np.minimum(np.hstack([s for s, use in zip(sizes, used, strict=True) if use]), 1.0).sum(axis=1)
    fitted = min(total, int(np.ceil(np.quantile(spent, settings.coverage) - 1e-9)))
    reactive_shift, reactive_mean = factor_shifts(data.reactive[:, chosen], LOAD_PARTS, settings.envelope)

    def placed(position: int, moved: np.ndarray) -> np.ndarray:
        full = np.zeros((2 * total, *moved.shape[1:]))
        if used[position]:
            start, n = sum(count[:position]), count[position]
            full[start : start + n], full[total + start : total + start + n] = moved[:n], moved[n:]
        return full

    load_shift = placed(2, shifts[2])
    asked, asked_shift = data.asked_of(means[2]), data.asked_of(load_shift)
    most = asked + np.maximum(asked_shift, 0.0).sum(axis=0)
    prices = data.price[np.isin(data.price_month, months)]
    return DayModel(
        label=label,
        weight=365.0 * np.isin(data.month, months).mean(),
        pv=means[0],
        wind=means[1],
        load=data.drawn_of(means[2]),
        reactive=reactive_mean,
        wholesale=prices.mean(axis=0),
        pv_shift=placed(0, shifts[0]),
        wind_shift=placed(1, shifts[1]),
        load_shift=data.drawn_of(load_shift),
        reactive_shift=placed(2, reactive_shift),
        uncertainty=budget_set(total, fitted if budget is None else budget),
        asked=asked,
        plugged=np.maximum(data.plugged[:, :, chosen].mean(axis=2), most),
        asked_shift=asked_shift,
    )


def nominal_load(study: Study) -> np.ndarray:
    """Nominal load of the prosumers' buses [kW], (I,)."""
    feeder = study.feeder
    return study.settings.load.scale * np.array([feeder.p_kw[feeder.position(who.bus)] for who in study.prosumers])


def hosting_case(
    study: Study,
    flexibility: str,
    preset: Preset,
    settings: HostingSettings,
    budget: float | None = None,
    size_batteries: bool = False,
) -> tuple[HostingCase, YearData]:
    """The hosting problem of a study at a preset.

    Args:
        study: the study folder, read.
        flexibility: none, der (batteries, demand and loads that wait, each site for itself) or p2p (shared by trade).
        preset: sites and representative days.
        settings: see :class:`~tritier.inputs.settings.HostingSettings`.
        budget: factors that may deviate at once; None fits it to the design days.
        size_batteries: batteries are decisions (up to twice those in prosumers.csv, at least 1 kWh per kW of load).

    Raises:
        InputError: unknown flexibility, no site, or data that do not cover the year.
    """
    if flexibility not in FLEXIBILITY:
        raise InputError("--flexibility", flexibility, "is unknown", f"choose one of {', '.join(FLEXIBILITY)}")
    room = settings.pv_potential * nominal_load(study).sum()
    study = keep_prosumers(study, preset.n_prosumers)
    feeder, data = study.feeder, year_data(study)
    nominal = nominal_load(study)
    wind = settings.wind_potential * np.array([who.wind_kw for who in study.prosumers])
    pv = room * nominal / nominal.sum()  # the same room in all, however few sites a preset keeps
    low, high = battery_box(study, flexibility, size_batteries)
    data = data if wind.any() else replace(data, wind=np.zeros_like(data.wind))
    days = tuple(representative_day(data, label, months, settings, budget) for label, months in season_groups(preset))
    margin = study.settings.voltage_margin_pu
    if margin is None:
        margin = voltage_margin(feeder, np.stack([d.load for d in days], -1), np.stack([d.reactive for d in days], -1))
    case = HostingCase(
        feeder=feeder,
        grid=lindistflow(feeder),
        site=data.site,
        pv_limit=pv,
        wind_limit=wind,
        battery_low=low,
        battery_high=high,
        battery_hours=settings.battery_hours,
        eta=over_batteries([who.eta for who in study.prosumers], high),
        degradation=0.0 if size_batteries else over_batteries([who.degradation for who in study.prosumers], high),
        flexible=0.0 if flexibility == "none" else study.settings.demand.flexibility,
        shift_cost=shift_cost(study),
        curtail_share=settings.curtail_share,
        groups=trading_groups(flexibility, data.site.size),
        v_low=feeder.v_min + margin,
        v_high=feeder.v_max.copy(),
        substation_kva=settings.substation_kva,
        annuity=study.settings.usd_per_eur * annuities(settings, size_batteries),
        penalty=settings.penalty,
        kinds=() if flexibility == "none" else data.kinds,
        delay=np.array([[getattr(who, f"{kind}_delay_h") for who in study.prosumers] for kind in data.kinds]),
        days=days,
    )
    return with_tolerated_limits(case, data), data


def shift_cost(study: Study) -> float:
    """Cost of moving one kWh of demand [$/kWh]: the fall of its marginal value over the flexible share."""
    demand = study.settings.demand
    return study.settings.reference_price * demand.flexibility / -demand.elasticity


def battery_box(study: Study, flexibility: str, size_batteries: bool) -> tuple[np.ndarray, np.ndarray]:
    """Least and most battery energy of each site [kWh]: what it owns, or a decision up to twice that."""
    owned = np.array([who.battery_kwh for who in study.prosumers])
    if flexibility == "none":
        return np.zeros(owned.size), np.zeros(owned.size)
    if size_batteries:
        return np.zeros(owned.size), np.maximum(2.0 * owned, nominal_load(study))
    return owned, owned


def over_batteries(own: Sequence[float], energy: np.ndarray) -> float:
    """Mean over the sites of what their batteries have, weighted by their largest energy, kWh (I,); a site without a
    battery counts for nothing, except where no site has one."""
    if np.ptp(own) == 0:  # to the last digit, as a weighted mean is not
        return float(own[0])
    return float(np.average(own, weights=energy if energy.any() else None))


def annuities(settings: HostingSettings, size_batteries: bool) -> np.ndarray:
    """Yearly cost of PV and wind [EUR/kW] and of batteries [EUR/kWh], these at zero where they are no decision."""
    rate = settings.discount_rate
    return np.array(
        [
            annuity(settings.pv_eur_per_kw, settings.pv_years, rate, settings.pv_fixed_share),
            annuity(settings.wind_eur_per_kw, settings.wind_years, rate, settings.wind_fixed_share),
            annuity(settings.battery_eur_per_kwh, settings.battery_years, rate) if size_batteries else 0.0,
        ]
    )


def real_days(data: YearData, case: HostingCase, chosen: np.ndarray, preset: Preset) -> tuple[DayModel, ...]:
    """Days of the year as they were, each with its season's mean price; weights add up to a year."""
    days = []
    for day in chosen:
        season = next(k for k, (_, months) in enumerate(season_groups(preset)) if data.month[day] in months)
        pv, wind, load, reactive = (x[:, day] for x in (data.pv, data.wind, data.load, data.reactive))
        label, weight, price = str(data.date[day]), 365.0 / chosen.size, case.days[season].wholesale
        asked, plugged = data.asked[:, :, day], data.plugged[:, :, day]
        load = with_asked(load, data.site, asked)
        days.append(certain_day(label, weight, pv, wind, load, reactive, price, asked, plugged))
    return tuple(days)


def day_positions(data: YearData, held_out: bool, count: int) -> np.ndarray:
    """Positions of design or held-out days, evenly spread over the year."""
    chosen = np.flatnonzero(~data.odd_week if held_out else data.odd_week)
    return chosen if count >= chosen.size else chosen[evenly_spread(chosen.size, count)]


def with_tolerated_limits(case: HostingCase, data: YearData) -> HostingCase:
    """The case with limits no tighter than what loads alone already reach :eq:`eq-hosting-tolerated`.

    A feeder may break a limit on its worst evening without any renewables; no plan could mend that, and hosting
    capacity asks what renewables add. Low voltages and ratings are therefore those of the bare feeder, over design
    days and over the full box of every representative day, wherever these are beyond the limit.
    """
    chosen = np.flatnonzero(data.odd_week)
    active = data.drawn[:, chosen].reshape(case.feeder.bus.size, -1)
    reactive = data.reactive[:, chosen].reshape(case.feeder.bus.size, -1)
    grid = case.grid
    lowest = grid.squared_voltages(active, reactive).min(axis=1)
    most = np.hypot(grid.flows(active), grid.reactive_flows(reactive)).max(axis=1)
    total = float(np.hypot(active.sum(axis=0), grid.charged(reactive).sum(axis=0)).max())
    for day in case.days:
        charged = grid.charged(day.reactive)
        drop = grid.r_path @ day.load + grid.x_path @ charged
        shift = np.tensordot(grid.r_path, day.load_shift, (1, 1)) + np.tensordot(
            grid.x_path, day.reactive_shift, (1, 1)
        )
        lowest = np.minimum(lowest, grid.v_slack**2 - 2 * largest(drop, shift, np.inf).max(axis=1))
        flows = [
            largest(grid.flows(mean), np.tensordot(grid.downstream, moved, (1, 1)), np.inf).max(axis=1)
            for mean, moved in ((day.load, day.load_shift), (charged, day.reactive_shift))
        ]
        most = np.maximum(most, np.hypot(*flows))
        sums = [
            largest(mean.sum(axis=0)[None], moved.sum(axis=1)[None], np.inf).max()
            for mean, moved in ((day.load, day.load_shift), (charged, day.reactive_shift))
        ]
        total = max(total, float(np.hypot(*sums)))
    slightly = 1.0 + 1e-9
    return replace(
        case,
        v_low=np.minimum(case.v_low, np.sqrt(np.maximum(lowest, 0.0)) / slightly),
        feeder=replace(case.feeder, rating_kva=np.maximum(case.feeder.rating_kva, most * slightly)),
        substation_kva=max(case.substation_kva, total * slightly),
    )


# What hosting capacity is computed for: sites, limits, representative days and their uncertainty.


FLEXIBILITY = ("none", "der", "p2p")
#: Decisions of a dispatch, by site and hour: curtail, charge, discharge, stored energy, demand moved up and down.
BLOCKS = ("cu", "ch", "dis", "soc", "up", "dn")
#: And for each kind of load that may wait: put off, made up, and what waits.
WAITING = ("off", "late", "wait")


@dataclass(frozen=True, eq=False)
class Loads:
    """Loads of a day, or how they change with one factor: what rows of a dispatch take from them."""

    active: np.ndarray  # (N, T) kW, if nobody waits
    reactive: np.ndarray  # (N, T) kvar
    asked: np.ndarray  # (K, I, T) kW, the part of the sites' that may wait


@dataclass(frozen=True, eq=False)
class DayModel:
    """One representative day: its mean profiles and how they deviate with u (2 K: K rises, then K falls)."""

    label: str
    weight: float = quantity(r"n_d", "days/a", "1", "days of the year the day stands for")
    pv: np.ndarray = quantity(r"\bar a_{it}", "kW/kW", "I,T", "mean PV output per kW installed")
    wind: np.ndarray = quantity(r"\bar b_{it}", "kW/kW", "I,T", "mean wind output per kW installed")
    load: np.ndarray = quantity(r"\bar d_{nt}", "kW", "N,T", "mean active load by bus")
    reactive: np.ndarray = quantity(r"\bar q_{nt}", "kvar", "N,T", "mean reactive load by bus")
    wholesale: np.ndarray = quantity(r"\omega_t", "$/kWh", "T", "wholesale price")
    pv_shift: np.ndarray = quantity(r"\hat a_{kit}", "kW/kW", "2K,I,T", "change of PV output at u_k = 1")
    wind_shift: np.ndarray = quantity(r"\hat b_{kit}", "kW/kW", "2K,I,T", "change of wind output at u_k = 1")
    load_shift: np.ndarray = quantity(r"\hat d_{knt}", "kW", "2K,N,T", "change of active load at u_k = 1")
    reactive_shift: np.ndarray = quantity(r"\hat q_{knt}", "kvar", "2K,N,T", "change of reactive load at u_k = 1")
    uncertainty: UncertaintySet = quantity(r"\mathcal{U}_d", "-", "1", "budgeted set of u")
    asked: np.ndarray = quantity(
        r"\overline{ask}_{kit}", "kW", "K,I,T", "mean power of vehicles or heat pumps if nobody waits", default=None
    )
    plugged: np.ndarray = quantity(
        r"\overline{ev}_{kit}", "kW", "K,I,T", "what they can draw, at least what they ask for", default=None
    )
    asked_shift: np.ndarray = quantity(
        r"\widehat{ask}_{jkit}", "kW", "2K,K,I,T", "change of what they ask for at u_j = 1", default=None
    )

    def __post_init__(self) -> None:
        none = np.zeros((0, *self.pv.shape))
        known = {"asked": none, "plugged": none, "asked_shift": np.zeros((self.uncertainty.size, *none.shape))}
        for name, value in known.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    @property
    def loads(self) -> Loads:
        """Mean loads."""
        return Loads(self.load, self.reactive, self.asked)

    @property
    def shifts(self) -> list[Loads]:
        """How loads change at u_k = 1, factor by factor."""
        return [Loads(*of) for of in zip(self.load_shift, self.reactive_shift, self.asked_shift, strict=True)]

    @property
    def largest_loads(self) -> Loads:
        """No load exceeds these, whatever u."""
        every = [self.loads, *self.shifts]
        return Loads(*(sum(np.abs(getattr(of, name)) for of in every) for name in ("active", "reactive", "asked")))

    def at(self, u: np.ndarray) -> DayModel:
        """The day as it turns out at u: a day without uncertainty."""

        def shifted(mean: np.ndarray, shift: np.ndarray) -> np.ndarray:
            return mean + np.tensordot(u, shift, axes=1)

        return certain_day(
            self.label,
            self.weight,
            shifted(self.pv, self.pv_shift),
            shifted(self.wind, self.wind_shift),
            shifted(self.load, self.load_shift),
            shifted(self.reactive, self.reactive_shift),
            self.wholesale,
            shifted(self.asked, self.asked_shift),
            self.plugged,
        )


def certain_day(
    label: str,
    weight: float,
    pv: np.ndarray,
    wind: np.ndarray,
    load: np.ndarray,
    reactive: np.ndarray,
    wholesale: np.ndarray,
    asked: np.ndarray,
    plugged: np.ndarray,
) -> DayModel:
    """A day that is known: no factors, a set of one point."""
    none = UncertaintySet(0, np.zeros((0, 0)), np.zeros(0), True)
    over_sites, over_buses = np.zeros((0, *pv.shape)), np.zeros((0, *load.shape))
    shifts = (over_sites, over_sites, over_buses, over_buses)
    return DayModel(label, weight, pv, wind, load, reactive, wholesale, *shifts, none, asked, plugged)


@dataclass(frozen=True, eq=False)
class HostingCase:
    """A feeder with its sites, rules and representative days."""

    feeder: Feeder
    grid: LinDistFlow
    site: np.ndarray = quantity(r"n(i)", "-", "I", "bus positions of the sites")
    pv_limit: np.ndarray = quantity(r"\overline{R}^{\mathrm{pv}}_i", "kW", "I", "PV a site has room for")
    wind_limit: np.ndarray = quantity(r"\overline{R}^{\mathrm w}_i", "kW", "I", "wind power a site has room for")
    battery_low: np.ndarray = quantity(r"\underline{E}_i", "kWh", "I", "smallest battery")
    battery_high: np.ndarray = quantity(r"\overline{E}_i", "kWh", "I", "largest battery")
    battery_hours: float = quantity(r"h^{\mathrm b}", "h", "1", "battery energy over power")
    eta: float = quantity(r"\eta", "-", "1", "one-way battery efficiency")
    degradation: float = quantity(r"c^{\mathrm{deg}}", "$/kWh", "1", "wear per kWh charged and per kWh discharged")
    flexible: float = quantity(r"\varphi", "-", "1", "share of a site's demand that can move within the day")
    shift_cost: float = quantity(r"c^{\mathrm{dr}}", "$/kWh", "1", "cost of moving one kWh of demand")
    curtail_share: float = quantity(r"\sigma", "-", "1", "largest share of a day's renewable energy curtailed")
    groups: np.ndarray = quantity(r"A_{gi}", "-", "G,I", "1 where site i trades in group g")
    v_low: np.ndarray = quantity(r"\underline{V}_n", "p.u.", "N", "lowest voltage, margin included")
    v_high: np.ndarray = quantity(r"\overline{V}_n", "p.u.", "N", "highest voltage")
    substation_kva: float = quantity(r"\overline{S}_0", "kVA", "1", "rating of the substation transformer; inf: none")
    annuity: np.ndarray = quantity(r"c^{\mathrm{inv}}", "$/a", "3", "annuity of 1 kW PV, 1 kW wind, 1 kWh battery")
    penalty: float = quantity(r"\rho", "kW/kW", "1", "hosted capacity given up for 1 kW (1 kWh) of violated limit")
    days: tuple[DayModel, ...] = field(kw_only=True)
    kinds: tuple[str, ...] = ()  # of loads that may wait, in the order of the days' arrays
    delay: np.ndarray = quantity(r"T^{\mathrm{wait}}_{ki}", "h", "K,I", "hours that they may wait", default=None)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Decisions of a dispatch, by site and hour, in their order."""
        return (*BLOCKS, *(f"{kind}_{what}" for kind in self.kinds for what in WAITING))

    @property
    def dispatch_size(self) -> int:
        """Columns of a day's dispatch; those of violated limits follow."""
        return len(self.blocks) * self.n_sites * self.n_hours

    @property
    def n_sites(self) -> int:
        return self.site.size

    @property
    def n_hours(self) -> int:
        return self.days[0].load.shape[1]


def with_budget(case: HostingCase, budget: Callable[[DayModel], float]) -> HostingCase:
    """The case with ``budget(day)`` factors allowed to deviate at once on each representative day."""
    days = (replace(d, uncertainty=budget_set(d.uncertainty.pairs, budget(d))) for d in case.days)
    return replace(case, days=tuple(days))


def trading_groups(flexibility: str, n_sites: int) -> np.ndarray:
    """Who may use whose surplus :eq:`eq-hosting-groups`, (G, I): each site for itself, or with P2P all as one group."""
    return np.ones((1, n_sites)) if flexibility == "p2p" else np.eye(n_sites)
