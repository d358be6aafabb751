"""Which parameters are swept, over which values, and why: the list behind the chapter on sensitivities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tritier.errors import InputError
from tritier.sweep import Point

STUDY = "data/studies/ieee33"
PRESET = "fast"  # names the preset that every point changes; size and menu are all given below
BASE = "base"
MENU = {  # next to the flat tariff of Case 4, a cheaper night, a dearer evening, a limit
    "tariff": "{off_peak: [0.05, 0.083], day: [0.083], peak: [0.083, 0.11]}",
    "p2p": "[0.083]",
    "capacity": "{1: [1800, 4700]}",
}
NO_LIMIT = {"capacity": "{1: [4700]}"}
FLAT = {"tariff": "{off_peak: [0.083], day: [0.083], peak: [0.083]}"}
FREE_TRADE = {"tariff": "{off_peak: [0.05, 0.083], day: [0.083], peak: [0.11, 0.14]}", "p2p": "[0.0]"}


@dataclass(frozen=True)
class Value:
    """One value of a parameter: its label, what it changes in study or preset, in the menu, and the design asked for.

    ``x`` is the number drawn, None where the value is a word.
    """

    label: str
    changes: Mapping[str, object] = field(default_factory=dict)
    menu: Mapping[str, str] = field(default_factory=dict)
    design: str = "menu"
    x: float | None = None
    cases: tuple[int, ...] | None = None  # where fewer are solved than the sweep's


@dataclass(frozen=True)
class Sweep:
    """One parameter: what it is, its value in the case study as it is drawn, and the other values tried."""

    name: str
    title: str
    unit: str
    base: str
    values: tuple[Value, ...]
    x: float | None = None
    cases: tuple[int, ...] = (1, 4)


def numbers(key: str, *values: float) -> tuple[Value, ...]:
    """Values of one numeric key."""
    return tuple(Value(f"{v:g}", {key: v}, x=v) for v in values)


SWEEPS = (
    Sweep(
        "demand_charge",
        "demand charge",
        "$/kW-day",
        "0.763",
        numbers("demand_charge_usd_per_kw", 0.251),
        0.763,
    ),
    Sweep(
        "tie_break",
        "tie-break of batteries",
        "$/kWh in store and hour",
        "1e-05",
        (
            # Cases 0 and 1 say what it decides; Case 4 without it takes several times as long as any other point.
            Value("0", {"tie_break_usd_per_kwh": 0.0}, x=0.0, cases=(0, 1)),
            *numbers("tie_break_usd_per_kwh", 1e-4),
        ),
        1e-5,
        (0, 1, 4),
    ),
    Sweep(
        "structure",
        "tariff structure",
        "",
        "time blocks and head limit",
        (
            Value("flat, no limit", design="flat"),
            Value("flat, head limit", menu=FLAT),
            Value("time blocks, no limit", menu=NO_LIMIT),
            Value("P2P charge off", menu=FREE_TRADE),
        ),
    ),
    Sweep("beta", "risk weight of all prosumers", "-", "0.3 to 0.7, their own", numbers("risk.beta", 0.0, 0.9), 0.5),
    Sweep("pv", "PV", "times installed", "1", numbers("renewables.pv_scale", 0.5, 1.5), 1.0),
    Sweep("battery", "batteries", "times installed", "1", numbers("batteries.scale", 0.0, 0.5, 2.0), 1.0),
    Sweep("load", "load and all assets", "times calibrated", "1", numbers("load.scale", 0.9, 1.05), 1.0),
    Sweep("elasticity", "demand elasticity", "-", "-0.1", numbers("demand.elasticity", -0.3, -0.02), -0.1),
    Sweep(
        "degradation",
        "battery wear",
        "$/kWh each way",
        "0.0437",
        numbers("batteries.degradation_usd_per_kwh", 0.033, 0.053),
        0.0437,
    ),
    Sweep("shift", "hour of PV", "h later than the profile", "1", numbers("renewables.pv_shift_h", 0, 2), 1.0),
    Sweep("chance", "chance level", "-", "0.05", numbers("chance_level", 0.2), 0.05),
    Sweep("alpha", "CVaR level", "-", "0.9", numbers("risk.alpha", 0.8, 0.95), 0.9),
    Sweep("scenarios", "scenarios", "-", "12", numbers("n_scenarios", 3, 6), 12.0),
    Sweep(
        "blocks",
        "demand blocks, risk weight",
        "",
        "4, own",
        (
            Value("4, 0", {"risk.beta": 0.0}),
            Value("8, own", {"demand.blocks": 8}),
            Value("4, 0, flat", {"risk.beta": 0.0}, design="flat"),
        ),
    ),
)


@dataclass(frozen=True)
class Size:
    """How large the market of every point is, and which values are run: ``only`` per sweep, all where None."""

    n_prosumers: int
    n_scenarios: int
    days_used: int
    only: Mapping[str, tuple[str, ...]] | None = None


STORED = Size(14, 12, 366)
FRESH = {
    "smoke": Size(5, 2, 4, {"demand_charge": ("0.251",), "tie_break": ("0.0001",), "pv": ("1.5",)}),
    "fast": Size(
        14,
        3,
        366,
        {
            "demand_charge": ("0.251",),
            "tie_break": ("0", "0.0001"),
            "structure": ("flat, no limit",),
            "beta": ("0", "0.9"),
            "pv": ("0.5", "1.5"),
            "battery": ("0.5", "2"),
            "elasticity": ("-0.3",),
        },
    ),
    "paper": STORED,
}


def find_sweep(name: str) -> Sweep:
    """A sweep by name. Raises InputError naming the choices."""
    found = next((s for s in SWEEPS if s.name == name), None)
    if found is None:
        raise InputError("sweep", name, "is no sweep", f"use one of {', '.join(s.name for s in SWEEPS)}")
    return found


def plan(size: Size, load_scale: float, study: str = STUDY, sweeps: Iterable[Sweep] = SWEEPS) -> list[Point]:
    """All points of the sweeps at a size, the case study's own values first.

    ``load_scale``: the study's calibrated scale, of which that of the sweep is a multiple. The base solves Case 0 too.
    """
    points = [Point(BASE, "", parameters(size, study, load_scale, Value(""), (0, 1, 4)))]
    for sweep in sweeps:
        chosen = sweep.values
        if size.only is not None:
            chosen = tuple(v for v in chosen if v.label in size.only.get(sweep.name, ()))
        for value in chosen:
            points.append(
                Point(sweep.name, value.label, parameters(size, study, load_scale, value, value.cases or sweep.cases))
            )
    return points


def parameters(size: Size, study: str, load_scale: float, value: Value, cases) -> dict[str, object]:
    """What the notebook of a point is told."""
    changes: dict[str, object] = {
        "n_prosumers": size.n_prosumers,
        "n_scenarios": size.n_scenarios,
        "days_used": size.days_used,
    }
    changes |= {f"menus.{PRESET}.{key}": text for key, text in (MENU | dict(value.menu)).items()}
    changes |= {k: v * load_scale if k == "load.scale" else v for k, v in value.changes.items()}
    return {"study": study, "preset": PRESET, "changes": changes, "design": value.design, "cases": list(cases)}
