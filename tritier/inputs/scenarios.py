"""Scenarios: the days of a season become scenarios of a design, held-out days, and an `Instance`.

Days of one half of the season (odd ISO weeks) design, those of the other half are held out; `half="even"` swaps the
two, so that every real day is held out once. Arguments `preset` are a name or a `Preset`.

A day is a pair (load day, renewable day) of positions in the study's load year: equal for a real day, different for a
resampled one. Prices come from another year and are paired with the load day by month and weekday: price is independent
of local renewables, which is an assumption and no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from tritier.errors import InputError
from tritier.inputs.instance import DEFERRABLE, Days, Instance, Menu, Prosumer, Rules
from tritier.inputs.settings import Preset
from tritier.inputs.study import Study, with_prosumers
from tritier.inputs.tables import DeferrableRow

HALVES = ("odd", "even")
EVENING = slice(17, 21)  # hours in which residential load peaks
PARTS = (slice(0, 6), slice(6, 12), slice(12, 18), slice(18, 24))  # parts of the day in the features
POOL_PER_SCENARIO = 4  # days in the pool for each scenario, when real days do not suffice


def k_medoids(features: np.ndarray, k: int, fixed: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Choose k rows that stand for all, by greedy build and steepest swaps; no random start.

    Partitioning around medoids (Kaufman and Rousseeuw 1990), with some medoids fixed in advance.

    Args:
        features: (M, F), distances are Euclidean.
        k: number of medoids, len(fixed) <= k <= M.
        fixed: rows that are medoids whatever they cost.

    Returns:
        Medoid rows (k), fixed ones first, and for every row the position of its medoid (M).

    Raises:
        ValueError: k out of range.
    """
    if not max(len(fixed), 1) <= k <= features.shape[0]:
        raise ValueError(f"{k} medoids of {features.shape[0]} rows with {len(fixed)} fixed")
    distance = np.sqrt(((features[:, None, :] - features[None, :, :]) ** 2).sum(axis=2))
    medoids = list(fixed)
    nearest = distance[:, medoids].min(axis=1, initial=np.inf)
    while len(medoids) < k:
        cost = np.minimum(nearest[:, None], distance).sum(axis=0)
        cost[medoids] = np.inf
        medoids.append(int(np.argmin(cost)))
        nearest = np.minimum(nearest, distance[:, medoids[-1]])
    best = nearest.sum()
    while True:
        cost, place, row = best_swap(distance, medoids, len(fixed))
        if cost >= best * (1 - 1e-12):
            break
        medoids[place], best = row, cost
    owner = np.argmin(distance[:, medoids], axis=1)
    owner[medoids] = np.arange(k)  # a medoid stands for itself, duplicates of it or not
    return np.array(medoids), owner


def best_swap(distance: np.ndarray, medoids: list[int], n_fixed: int) -> tuple[float, int, int]:
    """Lowest cost reached by replacing one medoid that is not fixed: (cost, its place, the new row)."""
    best = (np.inf, -1, -1)
    for place in range(n_fixed, len(medoids)):
        others = medoids[:place] + medoids[place + 1 :]
        nearest = distance[:, others].min(axis=1, initial=np.inf)
        cost = np.minimum(nearest[:, None], distance).sum(axis=0)
        cost[medoids] = np.inf
        row = int(np.argmin(cost))
        if cost[row] < best[0]:
            best = (float(cost[row]), place, row)
    return best


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
    return chosen & ~excluded(study, dates)


def excluded(study: Study, dates: np.ndarray) -> np.ndarray:
    """Which dates the study leaves out: public holidays."""
    return np.isin(dates, np.array(study.settings.season.exclude_dates, dtype="datetime64[D]"))


def weekday(dates: np.ndarray) -> np.ndarray:
    """Day of the week, Monday 0."""
    return (dates.astype("datetime64[D]").astype(int) + 3) % 7


def price_day(study: Study, day: int) -> int:
    """Price day of a load day: n-th Monday of April with n-th Monday of April, the last one if there is none; of the
    same year where prices have such a day in it, else of the first that has one.

    Excluded dates count in neither year, so that a working day never meets the price of a public holiday.

    Raises:
        InputError: the price year has no such month and weekday.
    """

    def alike(dates: np.ndarray) -> np.ndarray:
        same_month = dates.astype("datetime64[M]").astype(int) % 12 == date.astype("datetime64[M]").astype(int) % 12
        return np.flatnonzero(~excluded(study, dates) & same_month & (weekday(dates) == weekday(date)))

    date = study.dates[day]
    here, there = alike(study.dates), alike(study.price_dates)
    if not there.size:
        raise InputError(
            study.paths["prices"],
            "column time",
            f"has no day of month and weekday of {date}",
            "give prices of a whole year",
        )
    year, priced = date.astype("datetime64[Y]"), study.price_dates[there].astype("datetime64[Y]")
    here = here[study.dates[here].astype("datetime64[Y]") == year]
    there = there[priced == (year if year in priced else priced[0])]
    return int(there[min(int(np.searchsorted(here, day)), there.size - 1)])


def share_a_design_price(study: Study, half: str) -> set[str]:
    """ISO dates of the season's held-out days that carry the wholesale prices of one of the design half's days, which
    a price year with other weekdays than the load year brings about (:func:`price_day`)."""
    used = {price_day(study, day) for day in season_days(study, half)}
    other = season_days(study, HALVES[1 - HALVES.index(half)])
    return {str(study.dates[day]) for day in other if price_day(study, day) in used}


def make_days(
    study: Study,
    load_days: np.ndarray,
    renewable_days: np.ndarray | None = None,
    probability: np.ndarray | None = None,
    half: str = "odd",
) -> Days:
    """Days from positions in the load year, equally likely where no probability is given.

    Args:
        study: the study; its prosumers are the prosumers.
        load_days: (S,) positions of load (and price) days; vehicles and heat pumps follow them.
        renewable_days: (S,) positions of PV and wind days; None for the same days, which are then real.
        probability: (S,) summing to one.
        half: ISO weeks that design, on whose days a spot-indexed retail price has the mean of the fixed one.

    Raises:
        InputError: buying to sell at once would pay in some hour.
    """
    load_days = np.asarray(load_days, dtype=int)
    renewable_days = load_days if renewable_days is None else np.asarray(renewable_days, dtype=int)
    bus = [study.feeder.position(p.bus) for p in study.prosumers]
    load = hours_first(study.load_kw[:, load_days])
    passive = load.copy()
    passive[bus] = 0.0
    for row in study.passive:
        passive[study.feeder.position(row.bus)] += sum(asked_kw(study, row, kind, load_days) for kind in DEFERRABLE)
    wholesale = wholesale_of(study, load_days)
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
        wholesale=wholesale,
        label=tuple(label),
        deferrable_kw=by_kind(study, load_days, asked_kw),
        plugged_kw=by_kind(study, load_days, plugged_kw),
        retail=retail_price(study, wholesale, half),
        feed_in=np.maximum(wholesale, 0.0) if study.settings.feed_in.kind == "market_value" else None,
    )
    validate_days(days)
    refuse_arbitrage(study, days)
    return days


def by_kind(study: Study, load_days: np.ndarray, power: Callable[..., np.ndarray]) -> np.ndarray:
    """A power of the vehicles and heat pumps of every prosumer: (I, 2, 24, S) [kW]."""
    shape = (0, len(DEFERRABLE), 24, load_days.size)
    rows = [[power(study, who, kind, load_days) for kind in DEFERRABLE] for who in study.prosumers]
    return np.array(rows) if rows else np.zeros(shape)


def asked_kw(study: Study, who: Prosumer | DeferrableRow, kind: str, load_days: np.ndarray) -> np.ndarray:
    """Power that vehicles or heat pumps at a bus draw if nobody waits, (24, S) [kW] (:eq:`eq-asked-power`)."""
    energy = getattr(who, f"{kind}_kwh_per_day")
    return energy / 24.0 * study.asked[kind][load_days].T if energy else np.zeros((24, load_days.size))


def plugged_kw(study: Study, who: Prosumer | DeferrableRow, kind: str, load_days: np.ndarray) -> np.ndarray:
    """Power at which they can draw: that of the chargers whose vehicles are at home, all of a heat pump's: (24, S)."""
    power = np.full((24, load_days.size), getattr(who, f"{kind}_kw"))
    weekend = (weekday(study.dates[load_days]) >= 5).astype(int)
    return power * study.plugged_in[weekend].T if kind == "ev" else power


def wholesale_of(study: Study, load_days: np.ndarray) -> np.ndarray:
    """Wholesale price of load days, (24, S) [$/kWh]."""
    return study.wholesale[[price_day(study, k) for k in load_days]].T.copy()


def retail_price(study: Study, wholesale: np.ndarray, half: str) -> np.ndarray | None:
    """Spot-indexed retail price, (24, S) [$/kWh]: (spot + margin + levies) (1 + VAT) (:eq:`eq-spot-indexed-retail`).

    Margin and levies together are what brings its mean over all hours of the design half's days to the fixed price, so
    that the two differ in timing only. None where the price is fixed.
    """
    settings = study.settings
    if settings.retail.kind == "fixed":
        return None
    mean = wholesale_of(study, season_days(study, half)).mean()
    return settings.retail_usd_per_kwh + (1.0 + settings.retail.vat_share) * (wholesale - mean)


def refuse_arbitrage(study: Study, days: Days) -> None:
    """Raise an InputError unless the retail price is at or above the feed-in price at every hour, where one follows the
    day: :func:`tritier.inputs.settings.check_arbitrage` looks at fixed ones.

    Without this a prosumer would buy to sell at once at a small tariff, in amounts that only the size of its connection
    limits.
    """
    settings = study.settings
    if days.retail is None and days.feed_in is None:
        return
    retail = settings.retail_usd_per_kwh if days.retail is None else days.retail
    feed_in = settings.feed_in_usd_per_kwh if days.feed_in is None else days.feed_in
    short = np.broadcast_to(feed_in - retail, days.wholesale.shape)
    if short.max() > 1e-12:
        hour, day = np.unravel_index(short.argmax(), short.shape)
        raise InputError(
            study.paths["study"],
            "retail.kind" if days.retail is not None else "feed_in.kind",
            f"the retail price is {short.max():.4f} $/kWh below the feed-in price at {hour}:00 of {days.label[day]}: "
            "importing to feed in again would pay at a small tariff",
            "raise retail_usd_per_kwh, or take fixed prices or feed_in.kind market_value",
        )


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


def bare_feeder_load(days: Days) -> np.ndarray:
    """Load of the feeder less its renewables, before any market and with nobody waiting: (T, S) [kW]."""
    return days.passive_kw.sum(axis=0) - bare_injection(days).sum(axis=0)


def bare_injection(days: Days) -> np.ndarray:
    """What prosumers would feed in before any market, with nobody waiting: (I, T, S) [kW]."""
    return days.renewable_kw - days.demand_kw - days.deferrable_kw.sum(axis=1)


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
        "deferrable_kw": (n_prosumers, len(DEFERRABLE), n_hours, n_days),
        "plugged_kw": (n_prosumers, len(DEFERRABLE), n_hours, n_days),
        "retail": (n_hours, n_days),
        "feed_in": (n_hours, n_days),
    }
    for name, shape in shapes.items():
        values = getattr(days, name)
        if values is None and name in ("retail", "feed_in"):  # the rules fix these prices
            continue
        if values.shape != shape:
            raise InputError("days", name, f"has shape {values.shape}", f"give shape {shape}")
        if not np.isfinite(values).all():
            raise InputError("days", name, "holds NaN or infinite numbers", "give finite numbers")
        if name not in ("reactive_kvar", "wholesale", "retail", "feed_in") and values.min(initial=0.0) < 0:
            raise InputError("days", name, f"is negative ({values.min():g})", "give zero or more")
    if len(days.label) != n_days:
        raise InputError("days", "label", f"names {len(days.label)} of {n_days} days", "give one label a day")
    total = float(days.probability.sum())
    if abs(total - 1.0) > 1e-9:
        raise InputError("days", "probability", f"sums to {total:.9g}", "scale the probabilities to sum to one")


def build_instance(
    study: Study,
    preset: str | Preset = "fast",
    half: str = "odd",
    changes: Mapping[str, object] | None = None,
) -> Instance:
    """Feeder, prosumers, scenarios, rules and menu of a study at a preset.

    Voltage margin, reference value and fixed cost are those of study.yaml; where it leaves them open they are 0, p0 and
    0 here, until the LinDistFlow error is measured and Case 1 is calibrated.

    Args:
        study: the study.
        preset: name or `Preset`.
        half: ISO weeks that design, "odd" or "even"; the others are held out.
        changes: values of the preset to replace, as of `--set`.

    Raises:
        InputError: unknown preset, key or half, no menu, or too few days in the season.
    """
    preset = study.preset(preset, changes)
    study = keep_prosumers(study, preset.n_prosumers)
    settings = study.settings
    rules = Rules(
        retail=np.full(24, settings.retail_usd_per_kwh),
        feed_in=np.full(24, settings.feed_in_usd_per_kwh),
        block=tariff_blocks(study, half),
        reference_price=settings.reference_price,
        elasticity=settings.demand.elasticity,
        flexibility=settings.demand.flexibility,
        demand_blocks=settings.demand.blocks,
        alpha=settings.risk.alpha,
        chance_level=settings.chance_level,
        violation_price=settings.violation_price_factor * settings.reference_price,
        voltage_margin=settings.voltage_margin_pu or 0.0,
        demand_charge=settings.demand_charge_usd_per_kw,
        tie_break=settings.tie_break_usd_per_kwh,
        reference_value=(
            settings.reference_price
            if settings.reference_value_usd_per_kwh is None
            else settings.reference_value_usd_per_kwh
        ),
        tax_share=settings.tax_share,
        vat_share=settings.retail.vat_share,
        excess_price=settings.excess_usd_per_kw,
        billing=settings.billing,
        trade=settings.p2p_trade,
        rights=settings.rights,
        peak_with_losses=settings.peak_with_losses,
        fixed_share=settings.fixed_share,
    )
    days, menu = scenario_days(study, preset, half), study.menu(preset)
    if settings.demand.borders == "prices":
        rules = replace(rules, demand_levels=demand_levels(rules, days, menu, settings.network_charge_usd_per_kwh))
    return Instance(study.feeder, study.prosumers, days, rules, menu, settings.fixed_cost_usd or 0.0)


def demand_levels(rules: Rules, days: Days, menu: Menu, charge: float) -> tuple[float, ...]:
    """Borders of the demand blocks at the demands of the all-in prices that occur, relative to the reference demand
    (:eq:`eq-demand-borders`).

    Prices: retail plus every energy charge of the menu and the flat charge of Case 1, $/kWh, and feed-in; a price that
    follows the day at five quantiles of its hours. Demand is exact there, and so is the value that is lost. Levels
    within 2e-4 of each other are one; the ends of the band and the reference demand always stay.
    """
    shares = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    retail = rules.retail if days.retail is None else np.quantile(days.retail, shares)
    feed_in = rules.feed_in if days.feed_in is None else np.quantile(days.feed_in, shares)
    energy = sorted({charge, *(level for levels in menu.tariff for level in levels)})
    energy = energy if days.retail is None else [energy[0], charge, energy[-1]]
    prices = np.unique(np.append(np.add.outer(np.unique(retail), energy).ravel(), np.unique(feed_in)))
    low, high = 1 - rules.flexibility, 1 + rules.flexibility
    found = [low, 1.0, high]
    for level in 1 - abs(rules.elasticity) * (prices / rules.reference_price - 1):
        if low < level < high and min(abs(level - other) for other in found) > 2e-4:
            found.append(float(level))
    return tuple(sorted(found))


def keep_prosumers(study: Study, n: int) -> Study:
    """The study with n prosumers, evenly spread over its list; all of them where n is as large."""
    total = len(study.prosumers)
    return study if n >= total else with_prosumers(study, evenly_spread(total, n))


def evenly_spread(total: int, n: int) -> np.ndarray:
    """n of the positions 0 ... total - 1, first and last among them; the middle one for n = 1."""
    return np.array([total // 2]) if n == 1 else np.round(np.linspace(0, total - 1, n)).astype(int)


def design_days(study: Study, preset: str | Preset = "fast", half: str = "odd") -> Days:
    """All real days of the design half, equally likely: for calibration, tariff blocks and the voltage margin."""
    study = keep_prosumers(study, study.preset(preset).n_prosumers)
    return make_days(study, season_days(study, half), half=half)


def held_out_days(study: Study, preset: str | Preset = "fast", half: str = "odd") -> Days:
    """Real days of the half that does not design, `preset.days_used` of them, evenly spread, equally likely."""
    preset = study.preset(preset)
    days = season_days(study, other_half(half))
    if preset.days_used < days.size:
        days = days[evenly_spread(days.size, preset.days_used)]
    return make_days(keep_prosumers(study, preset.n_prosumers), days, half=half)


def other_days(study: Study, preset: str | Preset = "fast", half: str = "odd", weekend: bool = False) -> Days:
    """Real days of the year outside the season, equally likely: working days, or Saturdays and Sundays."""
    outside = ~in_season(study, study.dates) & ~excluded(study, study.dates)
    days = np.flatnonzero(outside & ((weekday(study.dates) >= 5) == weekend))
    if not days.size:
        what = f"no {'weekend' if weekend else 'working day'} lies outside the season and its holidays"
        raise InputError(study.paths["study"], "season", what, "choose another set of days, or a shorter season")
    return make_days(keep_prosumers(study, study.preset(preset).n_prosumers), days, half=half)


def resampled_days(study: Study, preset: str | Preset = "fast", half: str = "odd", n: int | None = None) -> Days:
    """Held-out days that never were: load and renewable days of the held-out half paired at random, no pair twice.

    Args:
        study: the study.
        preset: gives the seed, and n where it is None (`n_resampled_days`).
        half: ISO weeks that design.
        n: number of days.

    Raises:
        InputError: more days asked for than there are pairs.
    """
    preset = study.preset(preset)
    n = preset.n_resampled_days if n is None else n
    pairs = random_pairs(season_days(study, other_half(half)), n, preset.seed, study)
    return make_days(keep_prosumers(study, preset.n_prosumers), *pairs, half=half)


def other_half(half: str) -> str:
    """The half that is held out; an unknown name is left for `season_days` to refuse."""
    return HALVES[1 - HALVES.index(half)] if half in HALVES else half


def scenario_days(study: Study, preset: Preset, half: str = "odd") -> Days:
    """S scenarios with unequal probabilities: medoids of the design half, its extremes among them.

    Real days suffice while S <= their number; beyond, the pool is filled with resampled days of the design half to
    four times S. Features: load of prosumers, passive load and renewables by part of the day, standardised. Three
    extremes are always scenarios (highest passive evening, highest export, highest net load), as long as one scenario
    remains for the bulk of the days. Probabilities are cluster shares.
    """
    real = season_days(study, half)
    n, pool = preset.n_scenarios, (real, real)
    if n > real.size:
        wanted = min(POOL_PER_SCENARIO * n, real.size**2) - real.size
        loads, renewables = random_pairs(real, wanted, preset.seed, study)
        pool = (np.concatenate([real, loads]), np.concatenate([real, renewables]))
    if n > pool[0].size:
        raise InputError(
            study.paths["study"],
            "season",
            f"too few days: {n} scenarios of {pool[0].size} possible",
            "lower n_scenarios or widen the season",
        )
    days = make_days(study, *pool, half=half)
    fixed = tuple(dict.fromkeys(extreme_days(days).values()))[: n - 1]
    medoids, owner = k_medoids(day_features(days), n, fixed)
    share = np.bincount(owner, minlength=n) / owner.size
    return make_days(study, pool[0][medoids], pool[1][medoids], share, half)


def day_features(days: Days) -> np.ndarray:
    """Mean load of prosumers, passive load and renewable power by part of the day, standardised: (S, 12).

    Vehicles and heat pumps of prosumers count as they would draw with nobody waiting.
    """
    demand = days.demand_kw + days.deferrable_kw.sum(axis=1)
    totals = [x.sum(axis=0) for x in (demand, days.passive_kw, days.renewable_kw)]
    raw = np.stack([x[part].mean(axis=0) for x in totals for part in PARTS], axis=1)
    spread = raw.std(axis=0)
    return (raw - raw.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)


def extreme_days(days: Days) -> dict[str, int]:
    """Positions of the three days that plain medoids would lose."""
    passive, net = days.passive_kw.sum(axis=0), bare_feeder_load(days)
    return {
        "highest passive evening": int(passive[EVENING].mean(axis=0).argmax()),
        "highest export": int(net.min(axis=0).argmin()),
        "highest net load": int(net.max(axis=0).argmax()),
    }


def tariff_blocks(study: Study, half: str = "odd") -> np.ndarray:
    """Tariff block of each hour (24,), ranked by mean net feeder load on design days: 0 off-peak, 1 day, 2 peak."""
    hours = study.settings.tariff_hours
    load = bare_feeder_load(make_days(study, season_days(study, half), half=half))
    rank = np.argsort(load.mean(axis=1), kind="stable")
    block = np.empty(24, dtype=int)
    block[rank] = np.repeat([0, 1, 2], [hours.off_peak, hours.day, hours.peak])
    return block
