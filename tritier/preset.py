"""Presets: how much of a study is solved. `smoke` for tests, `fast` by default, `paper` for results that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from .errors import InputError


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
