"""study.yaml as text: every key of the model behind a comment that says what it is, its unit, range and default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from tritier.inputs.documents import section_of

WIDTH = 116


def commented_yaml(model: type[BaseModel], content: Mapping[str, Any], indent: str = "", off: str = "") -> str:
    """The keys of a model with the given values; keys that keep their default stand as comments.

    off: "# " within a section that is not given.
    """
    lines: list[str] = []
    for name, field in model.model_fields.items():
        inner = section_of(field.annotation) if _plain_section(field.annotation) else None
        given = name in content
        mark = off or ("" if given else "# ")
        lines += _wrapped(_comment(name, field), indent)
        if inner is not None:
            below = commented_yaml(inner, content.get(name, {}), indent + "  ", mark)
            lines += [f"{indent}{mark}{name}:", below.rstrip("\n")]
        else:
            lines += [f"{indent}{mark}{x}" for x in _entry(name, content[name] if given else _default(field))]
    return "\n".join(lines) + "\n"


def _plain_section(annotation: Any) -> bool:
    """Whether a key holds one section, and not sections by name."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _comment(name: str, field) -> str:
    extra = field.json_schema_extra or {}
    unit = extra.get("unit", "-")
    text = field.description or (section_of(field.annotation).__doc__ or name).splitlines()[0].rstrip(".")
    bounds = [f"{word} {getattr(m, attr):g}" for m in field.metadata for attr, word in LIMITS if _has(m, attr)]
    parts = [text + ("" if unit == "-" else f" [{unit}]"), *(["; ".join(bounds)] if bounds else [])]
    if extra.get("note"):
        parts.append(f"where absent: {extra['note']}")
    return "; ".join(parts)


LIMITS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))


def _has(metadata: object, attribute: str) -> bool:
    return isinstance(getattr(metadata, attribute, None), int | float)


def _wrapped(text: str, indent: str) -> list[str]:
    lines, line = [], f"{indent}#"
    for word in text.split():
        if len(line) + len(word) + 1 > WIDTH:
            lines.append(line)
            line = f"{indent}#  "
        line += f" {word}"
    return [*lines, line]


def _default(field) -> Any:
    return None if field.is_required() else field.default


def _entry(name: str, value: Any) -> list[str]:
    """A key and its value: lists on one line, sections by name below it."""
    if isinstance(value, Mapping) and value:
        return [f"{name}:", *(f"  {line}" for key, inner in value.items() for line in _entry(str(key), inner))]
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return [f"{name}: {text.removesuffix('...' + chr(10)).strip()}"]
