"""What the models of files say of themselves: a study.yaml with a comment on every key, and the reference of keys."""

from __future__ import annotations

import csv
import re
import types
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tritier.inputs.documents import extra_of, section_of
from tritier.inputs.settings import HostingSettings, Settings
from tritier.inputs.tables import NUMBER, BranchRow, BusRow, LoadMixRow, PassiveRow, PluggedInRow, ProsumerRow
from tritier.reformulation.files import BilevelFile, TrilevelFile

WIDTH = 112


def commented_yaml(model: type[BaseModel], content: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> str:
    """The keys of a model with the given values, above each what it means; keys that keep their default stand as
    comments.

    sources: where a value comes from, by dotted key (:func:`sources_beside`).
    """
    return "\n".join(_keys(model, content, sources or {})) + "\n"


def _keys(
    model: type[BaseModel], content: Mapping[str, Any], sources: Mapping[str, str], below: str = "", off: str = ""
) -> list[str]:
    """Lines of a section; off: "# " within one that is not given."""
    lines: list[str] = []
    for name, field in model.model_fields.items():
        given, dotted = name in content, f"{below}{name}"
        mark, value = off or ("" if given else "# "), content.get(name, {})
        lines += _wrapped(_comment(name, field, given, sources.get(dotted, "")))
        inner: type[BaseModel] | None = section_of(field.annotation)
        if inner is not None and isinstance(field.annotation, type):
            lines += [f"{mark}{name}:", *_indented(_keys(inner, value, sources, f"{dotted}.", mark))]
        elif inner is not None and value and get_origin(field.annotation) is dict:
            lines += [f"{name}:", *_indented(_by_name(inner, value, sources, dotted))]
        else:
            lines += [f"{mark}{x}" for x in _entry(name, value if given else _default(field))]
    return lines


def _by_name(
    model: type[BaseModel], content: Mapping[str, Mapping[str, Any]], sources: Mapping[str, str], below: str
) -> list[str]:
    """Sections by name: the first with comments, the others, whose keys mean the same, without."""
    first, *others = content
    lines = [f"{first}:", *_indented(_keys(model, content[first], sources, f"{below}.<name>."))]
    for name in others:
        lines += _entry(name, content[name])
    return lines


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _comment(name: str, field: FieldInfo, given: bool, source: str) -> str:
    """Meaning, unit, range, default and source of a key."""
    extra = extra_of(field)
    unit = extra.get("unit", "-")
    text = field.description or (section_of(field.annotation).__doc__ or name).splitlines()[0].rstrip(".")
    bounds = range_of(field.annotation, field.metadata)
    parts = [text + ("" if unit == "-" else f" [{unit}]"), *([bounds] if bounds else [])]
    if extra.get("note"):
        parts.append(f"where absent: {extra['note']}")
    elif given and not field.is_required() and isinstance(field.default, float | int | str) and field.default != "":
        parts.append(f"where absent: {field.default}")
    return "; ".join([*parts, *([f"source: {source}"] if source else [])])


def _wrapped(text: str) -> list[str]:
    lines, line = [], "#"
    for word in text.split():
        if len(line) + len(word) + 1 > WIDTH:
            lines.append(line)
            line = "#  "
        line += f" {word}"
    return [*lines, line]


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.default


def _entry(name: str, value: Any) -> list[str]:
    """A key and its value: lists on one line, sections by name below it."""
    if isinstance(value, Mapping) and value:
        return [f"{name}:", *(f"  {line}" for key, inner in value.items() for line in _entry(str(key), inner))]
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return [f"{name}: {text.removesuffix('...' + chr(10)).strip()}"]


# The reference: one table a file, a row a key or column.


FILES: Mapping[str, type[BaseModel]] = {
    "study.yaml": Settings,
    "hosting.yaml": HostingSettings,
    "bus.csv": BusRow,
    "branch.csv": BranchRow,
    "prosumers.csv": ProsumerRow,
    "passive.csv": PassiveRow,
    "load_mix.csv": LoadMixRow,
    "plugged_in.csv": PluggedInRow,
    "bilevel problem (JSON)": BilevelFile,
    "three-level problem (JSON)": TrilevelFile,
}
HOURLY = """\
## Hourly tables

`load_profiles.csv`, `renewable_profiles.csv`, `deferrable_profiles.csv` and `prices.csv` hold a column `time` and one
column a profile. Times are `2016-01-31T23:00`, hourly, without gaps, from 00:00 of the first to 23:00 of the last day,
at one fixed offset (UTC+1 all year) that is not written. The first three cover the same days; prices may be of another
year, and are paired with load days by month and weekday, so that they need a day of each. Load profiles are shapes of
any unit, not negative. Renewable profiles are kW per kW installed, 0 to 2. Columns `ev` and `hp` of the deferrable
profiles are shapes of what vehicles and heat pumps draw if nobody waits. `prices.csv` has a column `price_eur_per_mwh`.
"""


def range_of(annotation: Any, metadata: Any = ()) -> str:
    """The range of a type in words, that of the elements of a list included: "> 0; <= 100"."""
    words = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("multiple_of", "a multiple of"))
    found = []
    for part in metadata:
        part = [part] if not isinstance(part, FieldInfo) else part.metadata
        found += [f"{word} {getattr(m, name):,}" for m in part for name, word in words if hasattr(m, name)]
        found += [f"{word} {getattr(m, name):,} long" for m in part for name, word in SIZES if hasattr(m, name)]
    for inner in get_args(annotation) if get_origin(annotation) is not Literal else ():
        if get_origin(inner) is Annotated:
            below = range_of(get_args(inner)[0], inner.__metadata__)
        else:
            below = "" if isinstance(inner, type) and issubclass(inner, BaseModel) else range_of(inner)
        found += [below] if below and below not in found else []
    return "; ".join(dict.fromkeys(found))


SIZES = (("min_length", "at least"), ("max_length", "at most"))


ONE = re.compile(r"^(number|whole number|text|date|section|list)\b")  # a kind of which a list has many


def kind_of(annotation: Any) -> str:
    """A type in words: "number", "list of numbers", "fixed or spot_indexed"."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(parts[0])
    if origin is Literal:
        return " or ".join(map(str, parts))
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if part is type(None) else kind_of(part) for part in parts)
    if origin is list:
        return "list of " + ONE.sub(r"\1s", kind_of(parts[0]))
    if origin is dict:
        return f"{kind_of(parts[1])} by {kind_of(parts[0])}"
    if section_of(annotation) is not None:
        return "section"
    return {float: "number", int: "whole number", bool: "true or false", str: "text", date: "date", Any: "anything"}[
        annotation
    ]


def keys_of(model: type[BaseModel], below: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a model with its field, sections before what is in them: `menus.<name>.p2p`, `lower_rows[].a`."""
    for name, field in model.model_fields.items():
        dotted = f"{below}{name}"
        yield dotted, field
        inner = section_of(field.annotation)
        if inner is not None:
            brackets: dict[object, str] = {dict: ".<name>", list: "[]"}
            each = brackets.get(get_origin(field.annotation), "")
            yield from keys_of(inner, f"{dotted}{each}.")


def sources_of(parameters: Path) -> dict[str, str]:
    """Sources of the numbers of the case study by the key or column they are used as (data/parameters.csv)."""
    found: dict[str, str] = {}
    with parameters.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            text = f"{row['parameter']}: {row['source']}"
            found[row["used as"]] = "; ".join(filter(None, (found.get(row["used as"]), text)))
    return found


def sources_beside(content: Mapping[str, Any], parameters: Path) -> dict[str, str]:
    """Sources of those values of a study.yaml that are still the case study's, by dotted key; none where there is no
    such table. Menus follow the case study's rules whatever their levels."""
    if not parameters.is_file():
        return {}
    found: dict[str, str] = {}
    with parameters.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            value: Any = content
            for part in row["used as"].split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            levels = row["default"].split(", ")
            told = [float(x) for x in levels] if all(map(NUMBER.fullmatch, levels)) else None
            own = [float(x) for x in value.values()] if isinstance(value, Mapping) else [value]
            if row["used as"].startswith("menus.<name>.") or (told is not None and own == told):
                found.setdefault(row["used as"], row["source"])
    return found


def reference(sources: Mapping[str, str]) -> str:
    """The reference of every key and column that a user can write, as markdown: meaning, unit, range, default, source.

    Args:
        sources: of the case study's values, by key of study.yaml or by table and column (:func:`sources_of`).
    """
    return "\n".join([*(table_of(file, model, sources) for file, model in FILES.items()), HOURLY])


def table_of(file: str, model: type[BaseModel], sources: Mapping[str, str]) -> str:
    """One table of the reference."""
    what = "Column" if file.endswith(".csv") else "Key"
    head = [f"| {what} | Meaning | Unit | Type and range | Default |", "|---|---|---|---|---|"]
    rows = []
    for name, field in keys_of(model):
        extra = extra_of(field)
        section = section_of(field.annotation)
        meaning = field.description or (section.__doc__ or "").split("\n\n")[0].strip().rstrip(".")
        source = sources.get(name if file == "study.yaml" else f"{file} {name}")
        meaning += f". *Case study: {source}*" if source else ""
        bounds = range_of(field.annotation, field.metadata)
        kind = kind_of(field.annotation) + (f", {bounds}" if bounds else "")
        cells = (f"`{name}`", meaning, extra.get("unit", "-"), kind, default_of(field, extra.get("note", "")))
        rows.append(f"| {' | '.join(map(escaped, cells))} |")
    about = " ".join((model.__doc__ or "").split())
    caption = f":::{{table}} {'Columns' if what == 'Column' else 'Keys'} of `{file}`"
    return "\n".join([f"## {file}\n", f"{about}\n", caption, *head, *rows, ":::", ""])


def escaped(cell: str) -> str:
    """Text that a cell of a markdown table shows as it is."""
    return " ".join(cell.split()).replace("|", "/").replace("$", r"\$")


def default_of(field: FieldInfo, note: str) -> str:
    """What holds where a key is absent."""
    if field.is_required():
        return "must be given"
    value = field.default
    if isinstance(value, BaseModel):
        return "its keys' own"
    shown = "" if value in (None, "", [], {}) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
    return ": ".join(part for part in (shown, note) if part) or "none"
