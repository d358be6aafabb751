"""What is in a study, and what in it is not its own: flows, voltages, equipment, menus with what binds, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.inputs.documents import read_yaml
from tritier.inputs.instance import Days, Instance, Prosumer
from tritier.inputs.scenarios import bare_injection, design_days, keep_prosumers
from tritier.inputs.settings import Preset, Settings
from tritier.inputs.study import Study, located
from tritier.inputs.tables import DeferrableRow
from tritier.model.acflow import voltage_margin
from tritier.model.chance import net_load
from tritier.model.network import lindistflow
from tritier.provenance import digest, write_text
from tritier.studies.commented import commented_yaml, sources_beside

# tables that the cost of Case 1 rests on; the last three where a study names them
CALIBRATED_BY = (
    *("bus", "branch", "prosumers", "load_mix", "load_profiles", "renewable_profiles", "prices"),
    *("passive", "deferrable_profiles", "plugged_in"),
)


@dataclass(frozen=True, eq=False)
class Check:
    """A study at a glance. ``lines`` and ``menu`` as tables, ``figures`` by name, ``warnings`` one line each."""

    figures: dict[str, float | int | str]
    lines: pd.DataFrame  # line, from_bus, to_bus, flow_kw, rating_kva, loading
    voltages: pd.DataFrame  # bus, v_min_pu, v_max_pu, lower, upper
    menu: pd.DataFrame  # line, limit_kw, flow_kw, share
    warnings: list[str]


def input_mark(study: Study) -> str:
    """Hash of the tables that a calibration rests on, written into study.yaml by ``tritier study calibrate``."""
    parts = [digest(study.paths[role].read_bytes()) for role in CALIBRATED_BY if role in study.paths]
    return digest("\n".join(parts))


def uncontrolled_load(study: Study, preset: str | Preset, half: str = "odd") -> tuple[Days, np.ndarray]:
    """The design days and the net load of every bus on them, kW, (N, T, D), when nobody waits, stores or curtails."""
    days = design_days(study, preset, half)
    load = days.passive_kw.copy()
    kept = keep_prosumers(study, study.preset(preset).n_prosumers).prosumers
    np.add.at(load, [study.feeder.position(p.bus) for p in kept], -bare_injection(days))
    return days, load


def with_margin(study: Study, instance: Instance, preset: Preset, half: str = "odd") -> Instance:
    """A study's instance with its voltage margin: that of study.yaml, else the LinDistFlow error on the design half's
    real days at uncontrolled net loads, p.u. (:eq:`eq-voltage-margin`)."""
    if study.settings.voltage_margin_pu is not None:
        return instance
    with located(study):
        days = design_days(study, preset, half)
        bare = net_load(instance.on(days), bare_injection(days))
        margin = voltage_margin(instance.feeder, bare, days.reactive_kvar)
    return replace(instance, rules=replace(instance.rules, voltage_margin=margin))


def design_flows(study: Study, preset: str | Preset = "paper", half: str = "odd") -> pd.DataFrame:
    """What every line carries at most on the design days when nobody shifts, stores or curtails.

    Columns: line, from_bus, to_bus, flow_kw (largest absolute flow), rating_kva, loading (of apparent power).
    """
    days, load = uncontrolled_load(study, preset, half)
    feeder, matrices = study.feeder, lindistflow(study.feeder)
    flow = matrices.flows(load)
    apparent = np.hypot(flow, matrices.reactive_flows(days.reactive_kvar)).max(axis=(1, 2))
    return pd.DataFrame(
        {
            "line": feeder.line,
            "from_bus": feeder.bus[feeder.parent],
            "to_bus": feeder.bus[1:],
            "flow_kw": np.abs(flow).max(axis=(1, 2)),
            "rating_kva": feeder.rating_kva,
            "loading": apparent / feeder.rating_kva,
        }
    )


def design_voltages(study: Study, preset: str = "paper") -> pd.DataFrame:
    """Lowest and highest LinDistFlow voltage of every bus on the design days, p.u., beside its limits."""
    days, load = uncontrolled_load(study, preset)
    v = np.sqrt(np.maximum(lindistflow(study.feeder).squared_voltages(load, days.reactive_kvar), 0))
    feeder = study.feeder
    return pd.DataFrame(
        {
            "bus": feeder.bus,
            "v_min_pu": v.min(axis=(1, 2)),
            "v_max_pu": v.max(axis=(1, 2)),
            "lower": feeder.v_min,
            "upper": feeder.v_max,
        }
    )


def check_study(study: Study, preset: str = "fast") -> Check:
    """Everything ``tritier study check`` prints, and what to mind."""
    lines, voltages = design_flows(study, preset), design_voltages(study, preset)
    menu = offered_limits(study, preset, lines)
    people = study.prosumers
    everybody: tuple[Prosumer | DeferrableRow, ...] = (*people, *study.passive)
    figures: dict[str, float | int | str] = {
        "study": study.name,
        "buses": study.feeder.bus.size,
        "prosumers": len(people),
        "load_peak_kw": float(study.load_kw.sum(axis=0).max()),
        "load_mwh_per_year": float(study.yearly * study.load_kw.sum() / 1e3),
        "pv_kw": sum(p.pv_kw for p in people),
        "wind_kw": sum(p.wind_kw for p in people),
        "battery_kwh": sum(p.battery_kwh for p in people),
        "vehicles_kwh_per_day": sum(who.ev_kwh_per_day for who in everybody),
        "heat_pumps_kwh_per_day": sum(who.hp_kwh_per_day for who in everybody),
        "design_days": design_days(study, preset).n_days,
        "largest_loading": float(lines["loading"].max()),
        "lowest_voltage_pu": float(voltages["v_min_pu"].min()),
        "highest_voltage_pu": float(voltages["v_max_pu"].max()),
        "menu_points": study.menu(preset).n_points,
    }
    return Check(figures, lines, voltages, menu, warnings(study, preset))


def offered_limits(study: Study, preset: str, lines: pd.DataFrame) -> pd.DataFrame:
    """Every limit on the menu beside the largest flow of its line on the design days; a share above one never binds."""
    flow = lines.set_index("line")["flow_kw"]
    rows = [
        (line, limit, flow[line], limit / flow[line])
        for line, levels in study.menu(preset).capacity
        for limit in levels
    ]
    return pd.DataFrame(rows, columns=["line", "limit_kw", "flow_kw", "share"])


def warnings(study: Study, preset: str = "fast") -> list[str]:
    """What is likely not meant, one line each: a menu or network where nothing binds, a network that only reactions
    keep within its limits, figures of another feeder."""
    lines, voltages = design_flows(study, preset), design_voltages(study, preset)
    found = menu_warnings(study, preset, lines) + network_warnings(lines, voltages)
    return found + calibration_warnings(study) + own_notes(study, preset)


def network_warnings(lines: pd.DataFrame, voltages: pd.DataFrame) -> list[str]:
    """Where the network is beyond its limits on design days with nobody reacting, or that it is nowhere at one."""
    behind = voltages.iloc[1:]  # the slack holds its voltage
    over, low = lines["loading"] - 1, behind["lower"] - behind["v_min_pu"]
    high = behind["v_max_pu"] - behind["upper"]
    broken = []
    for excess, what, where, told, form in (
        (over, "lines above their rating", lines["line"], lines["loading"], "line {} carries {:.2f} of it"),
        (low, "buses below their voltage band", behind["bus"], behind["v_min_pu"], "bus {} has {:.3f} p.u."),
        (high, "buses above their voltage band", behind["bus"], behind["v_max_pu"], "bus {} has {:.3f} p.u."),
    ):
        if (excess > 0).any():
            worst = excess.idxmax()
            broken.append(f"{what}: {(excess > 0).sum()} ({form.format(where[worst], told[worst])})")
    if broken:
        mend = "what prices and limits do not mend is curtailed"
        return [f"network: on design days, where nobody reacts, {', '.join(broken)}; {mend}"]
    if any((excess == 0).any() for excess in (over, low, high)):
        return []
    return ["network: no voltage or rating is reached on design days; the network constrains nobody by itself"]


def own_notes(study: Study, preset: str | Preset) -> list[str]:
    """What study.yaml says of itself, and how many prosumers a preset leaves out, if it does."""
    sizes = study.preset(preset)
    kept, all_of = keep_prosumers(study, sizes.n_prosumers).prosumers, study.prosumers
    found = list(study.settings.notes)
    if len(kept) < len(all_of):
        lost = sum(p.pv_kw + p.wind_kw for p in all_of) - sum(p.pv_kw + p.wind_kw for p in kept)
        found.append(
            f"presets.{sizes.name}.n_prosumers: {len(kept)} of {len(all_of)} prosumers take part; the others' "
            f"{lost:,.0f} kW of sun and wind and their batteries are left out"
        )
    return found


def menu_warnings(study: Study, preset: str, lines: pd.DataFrame) -> list[str]:
    """That no limit of a preset's menu is below the flow of its line on design days, or that the largest is, which
    stands for no limit, on a line without a rating: a line's rating is at or below it.

    The flows are those where nobody reacts. What waits or stores can raise one, so that no flow above proves that a
    limit never binds; one below proves that it does.
    """
    menu, unrated = offered_limits(study, preset, lines), lines.loc[np.isinf(lines["rating_kva"]), "line"]
    found = [
        f"menus.{preset}.capacity.{row.line}: its largest level, {row.limit_kw:g} kW, stands for no limit but is below "
        f"the {row.flow_kw:,.0f} kW that the line, which has no rating, carries on design days; offer a larger one"
        for row in menu.loc[menu.groupby("line")["limit_kw"].idxmax()].itertuples()
        if row.share < 1 and row.line in set(unrated)
    ]
    if not menu.empty and (menu["share"] <= 1).any():
        return found
    return [f"menus.{preset}: no limit is below what its line carries on design days; nothing binds"]


def calibration_warnings(study: Study) -> list[str]:
    """That load scale or reference value come from other tables than the study's own, if so."""
    settings = study.settings
    borrowed = settings.load.scale != 1 or settings.reference_value_usd_per_kwh is not None
    if not borrowed or settings.calibrated_on == input_mark(study):
        return []
    what = "was never recorded" if settings.calibrated_on is None else "was made with other tables"
    return [
        f"load.scale, reference_value_usd_per_kwh: their calibration {what}; run tritier study calibrate, or "
        "set scale 1 and leave the value out"
    ]


def record_calibration(
    study: Study,
    scale: float,
    reference_value: float,
    menus: Mapping[str, Any] | None = None,
    parameters: Path = Path(),
) -> None:
    """Write both calibrated parameters into study.yaml, with the mark of the tables that they rest on.

    menus: those that take the place of the study's; parameters: the table of sources. The file is written anew, with
    the comments of its keys.
    """
    path = study.paths["study"]
    content = read_yaml(path, "give a folder that holds study.yaml")
    content["load"] = content["load"] | {"scale": scale}
    content["reference_value_usd_per_kwh"] = reference_value
    content["calibrated_on"] = input_mark(study)
    content |= {} if menus is None else {"menus": dict(menus)}
    write_text(path, commented_yaml(Settings, content, sources_beside(content, parameters)))
