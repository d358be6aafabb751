"""Scenarios: the days of a season become scenarios of a design, held-out days, and an `Instance`.

Days of one half of the season (odd ISO weeks) design, those of the other half are held out; `half="even"` swaps the
two, so that every real day is held out once. Arguments `preset` are a name or a `Preset`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .days import HALVES, make_days, net_load, random_pairs, season_days
from .errors import InputError
from .instance import Days, Instance, Rules
from .medoids import k_medoids
from .preset import Preset
from .reading import Study, with_prosumers

EVENING = slice(17, 21)  # hours in which residential load peaks
PARTS = (slice(0, 6), slice(6, 12), slice(12, 18), slice(18, 24))  # parts of the day in the features
POOL_PER_SCENARIO = 4  # days in the pool for each scenario, when real days do not suffice


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
    )
    days = scenario_days(study, preset, half)
    return Instance(study.feeder, study.prosumers, days, rules, study.menu(preset), settings.fixed_cost_usd or 0.0)


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
    return make_days(study, season_days(study, half))


def held_out_days(study: Study, preset: str | Preset = "fast", half: str = "odd") -> Days:
    """Real days of the half that does not design, `preset.days_used` of them, evenly spread, equally likely."""
    preset = study.preset(preset)
    days = season_days(study, other_half(half))
    if preset.days_used < days.size:
        days = days[evenly_spread(days.size, preset.days_used)]
    return make_days(keep_prosumers(study, preset.n_prosumers), days)


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
    return make_days(keep_prosumers(study, preset.n_prosumers), *pairs)


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
        pairs = random_pairs(real, wanted, preset.seed, study)
        pool = tuple(np.concatenate([real, more]) for more in pairs)
    if n > pool[0].size:
        raise InputError(
            study.paths["study"],
            "season",
            f"too few days: {n} scenarios of {pool[0].size} possible",
            "lower n_scenarios or widen the season",
        )
    days = make_days(study, *pool)
    fixed = tuple(dict.fromkeys(extreme_days(days).values()))[: n - 1]
    medoids, owner = k_medoids(day_features(days), n, fixed)
    share = np.bincount(owner, minlength=n) / owner.size
    return make_days(study, pool[0][medoids], pool[1][medoids], share)


def day_features(days: Days) -> np.ndarray:
    """Mean load of prosumers, passive load and renewable power by part of the day, standardised: (S, 12)."""
    totals = [x.sum(axis=0) for x in (days.demand_kw, days.passive_kw, days.renewable_kw)]
    raw = np.stack([x[part].mean(axis=0) for x in totals for part in PARTS], axis=1)
    spread = raw.std(axis=0)
    return (raw - raw.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)


def extreme_days(days: Days) -> dict[str, int]:
    """Positions of the three days that plain medoids would lose."""
    passive, net = days.passive_kw.sum(axis=0), net_load(days)
    return {
        "highest passive evening": int(passive[EVENING].mean(axis=0).argmax()),
        "highest export": int(net.min(axis=0).argmin()),
        "highest net load": int(net.max(axis=0).argmax()),
    }


def tariff_blocks(study: Study, half: str = "odd") -> np.ndarray:
    """Tariff block of each hour (24,), ranked by mean net feeder load on design days: 0 off-peak, 1 day, 2 peak."""
    hours = study.settings.tariff_hours
    rank = np.argsort(net_load(make_days(study, season_days(study, half))).mean(axis=1), kind="stable")
    block = np.empty(24, dtype=int)
    block[rank] = np.repeat([0, 1, 2], [hours.off_peak, hours.day, hours.peak])
    return block
