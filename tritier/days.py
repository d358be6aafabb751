"""Analogue days: which days of a year are alike, what they cost, and the `Days` made of them.

Days of odd ISO weeks design, days of even ISO weeks are held out, or the reverse. A day is a pair (load day, renewable
day) of positions in the study's load year: equal for a real day, different for a resampled one. Prices come from
another year and are paired with the load day by month and weekday: price is independent of local renewables, which is
an assumption and no finding.
"""

from __future__ import annotations

import numpy as np

from .errors import InputError
from .instance import Days
from .reading import Study

HALVES = ("odd", "even")


def season_days(study: Study, half: str | None = None) -> np.ndarray:
    """Positions in the load year of the season's days; of one half, or of both.

    Raises:
        InputError: unknown half, or fewer than two days in it.
    """
    if half is not None and half not in HALVES:
        raise InputError("command", "half", f"unknown half {half!r}", f"choose one of {', '.join(HALVES)}")
    chosen = in_season(study, study.dates)
    if half is not None:
        week = np.array([d.isocalendar().week for d in study.dates.tolist()])
        chosen &= week % 2 == HALVES.index(half) ^ 1
    found = np.flatnonzero(chosen)
    if found.size < 2:
        name = f"the season's {half} weeks" if half else "the season"
        raise InputError(
            study.paths["study"],
            "season",
            f"too few days: {found.size} in {name}",
            "widen months or day_type, or give longer profiles",
        )
    return found


def in_season(study: Study, dates: np.ndarray) -> np.ndarray:
    """Which dates belong to the season: month, day type, not excluded."""
    season = study.settings.season
    month = dates.astype("datetime64[M]").astype(int) % 12 + 1
    weekend = weekday(dates) >= 5
    chosen = np.isin(month, season.months)
    if season.day_type != "all":
        chosen &= weekend if season.day_type == "weekend" else ~weekend
    return chosen & ~np.isin(dates, np.array(season.exclude_dates, dtype="datetime64[D]"))


def weekday(dates: np.ndarray) -> np.ndarray:
    """Day of the week, Monday 0."""
    return (dates.astype("datetime64[D]").astype(int) + 3) % 7


def price_day(study: Study, day: int) -> int:
    """Price day of a load day: n-th Monday of April with n-th Monday of April, the last one if there is none.

    Excluded dates count in neither year, so that a working day never meets the price of a public holiday.

    Raises:
        InputError: the price year has no such month and weekday.
    """

    def alike(dates: np.ndarray) -> np.ndarray:
        same_month = dates.astype("datetime64[M]").astype(int) % 12 == date.astype("datetime64[M]").astype(int) % 12
        return np.flatnonzero(in_season(study, dates) & same_month & (weekday(dates) == weekday(date)))

    date = study.dates[day]
    here, there = alike(study.dates), alike(study.price_dates)
    if not there.size:
        raise InputError(
            study.paths["prices"],
            "column time",
            f"has no day of month and weekday of {date}",
            "give prices of a whole year",
        )
    return int(there[min(int(np.searchsorted(here, day)), there.size - 1)])


def make_days(study: Study, load_days, renewable_days=None, probability=None) -> Days:
    """Days from positions in the load year, equally likely where no probability is given.

    Args:
        study: the study; its prosumers are the prosumers.
        load_days: (S,) positions of load (and price) days.
        renewable_days: (S,) positions of PV and wind days; None for the same days, which are then real.
        probability: (S,) summing to one.
    """
    load_days = np.asarray(load_days, dtype=int)
    renewable_days = load_days if renewable_days is None else np.asarray(renewable_days, dtype=int)
    bus = [study.feeder.position(p.bus) for p in study.prosumers]
    load = hours_first(study.load_kw[:, load_days])
    passive = load.copy()
    passive[bus] = 0.0
    label = (
        str(study.dates[a]) if a == b else f"{study.dates[a]} | {study.dates[b]}"
        for a, b in zip(load_days, renewable_days, strict=True)
    )
    days = Days(
        probability=np.full(load_days.size, 1.0 / load_days.size) if probability is None else probability,
        demand_kw=load[bus],
        renewable_kw=hours_first(study.renewable_kw[:, renewable_days]),
        passive_kw=passive,
        reactive_kvar=hours_first(study.reactive_kvar[:, load_days]),
        wholesale=study.wholesale[[price_day(study, k) for k in load_days]].T.copy(),
        label=tuple(label),
    )
    validate_days(days)
    return days


def hours_first(x: np.ndarray) -> np.ndarray:
    """(K, S, 24) to (K, 24, S)."""
    return np.ascontiguousarray(np.swapaxes(x, 1, 2))


def random_pairs(days: np.ndarray, n: int, seed: int, study: Study) -> tuple[np.ndarray, np.ndarray]:
    """n distinct pairs of different days.

    Raises:
        InputError: more pairs asked for than there are.
    """
    pairs = days.size * (days.size - 1)
    if not 1 <= n <= pairs:
        raise InputError(
            study.paths["study"],
            "season",
            f"{n} resampled days of {pairs} possible pairs",
            "ask for between one and that many, or widen the season",
        )
    code = np.random.default_rng(seed).choice(pairs, size=n, replace=False)
    first, second = np.divmod(code, days.size - 1)
    return days[first], days[second + (second >= first)]


def net_load(days: Days) -> np.ndarray:
    """Load of the feeder less its renewables, before any market: (T, S) [kW]."""
    return days.demand_kw.sum(axis=0) + days.passive_kw.sum(axis=0) - days.renewable_kw.sum(axis=0)


def validate_days(days: Days) -> None:
    """Check shapes, numbers and probabilities of a set of days.

    Raises:
        InputError: an array has the wrong shape, is not finite or is negative, or probabilities do not sum to one.
    """
    n_hours, n_days = days.wholesale.shape
    n_prosumers, n_bus = days.demand_kw.shape[0], days.passive_kw.shape[0]
    shapes = {
        "probability": (n_days,),
        "demand_kw": (n_prosumers, n_hours, n_days),
        "renewable_kw": (n_prosumers, n_hours, n_days),
        "passive_kw": (n_bus, n_hours, n_days),
        "reactive_kvar": (n_bus, n_hours, n_days),
        "wholesale": (n_hours, n_days),
    }
    for name, shape in shapes.items():
        values = getattr(days, name)
        if values.shape != shape:
            raise InputError("days", name, f"has shape {values.shape}", f"give shape {shape}")
        if not np.isfinite(values).all():
            raise InputError("days", name, "holds NaN or infinite numbers", "give finite numbers")
        if name not in ("reactive_kvar", "wholesale") and values.min(initial=0.0) < 0:
            raise InputError("days", name, f"is negative ({values.min():g})", "give zero or more")
    if len(days.label) != n_days:
        raise InputError("days", "label", f"names {len(days.label)} of {n_days} days", "give one label a day")
    total = float(days.probability.sum())
    if abs(total - 1.0) > 1e-9:
        raise InputError("days", "probability", f"sums to {total:.9g}", "scale the probabilities to sum to one")
