"""Files that a user writes, as text, YAML or JSON, and the one way from pydantic's complaints to one-line errors.

YAML is read by the core schema of version 1.2, less what could be misread: numbers are decimal and never begin with a
zero (no octal, hexadecimal or sexagesimal), ``yes`` is a word, a date is a word until a model wants a date. Anchors,
aliases and tags are refused, and so are repeated keys, deep nesting, long numbers and large files, in JSON too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tritier.errors import InputError

MAX_BYTES = 2_000_000  # of a YAML or JSON file
MAX_DEPTH = 20  # sections within sections
MAX_DIGITS = 18  # of a whole number: what fits into 64 bits
MAX_SHOWN = 60  # characters of a wrong value in an error

MARKUP = re.compile(r"[$\\<>{}`|]")  # starts mathematics, commands or tags where a name is printed


class Section(BaseModel):
    """A part of a file: unknown keys are errors, numbers are finite, words are no numbers, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def key(text: str, unit: str = "-", default: Any = ..., note: str = "", **limits: Any) -> Any:
    """A key of a file: what it is, its unit, its default (none: it must be given), what the default means, its range.

    Args:
        text: meaning, one sentence without a full stop.
        unit: unit of the value, "-" for none.
        default: value where the key is absent.
        note: what the default stands for, where its value does not say it.
        limits: of pydantic's ``Field``: gt, ge, lt, le, min_length, ...
    """
    return Field(default, description=text, json_schema_extra={"unit": unit, "note": note}, **limits)


def plain(text: str) -> str:
    """Text that can be printed anywhere as it is.

    Raises:
        ValueError: blanks around it, a control character, or a sign that starts mathematics, a command or a tag.
    """
    if text != text.strip():
        raise ValueError("begins or ends with a blank; remove it")
    if not text.isprintable():
        raise ValueError("holds a character that cannot be printed; use letters, digits, blanks, points and dashes")
    if (sign := MARKUP.search(text)) is not None:
        raise ValueError(rf"holds {sign[0]}; leave out $ \ < > {{ }} ` and |")
    return text


Name = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(plain)]
Model = TypeVar("Model", bound=BaseModel)


def as_whole(value: Any) -> Any:
    """A whole number from its digits: JSON and dotted keys have only words as keys. Anything else stays as it is."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,8}", value) else value


def read_text(path: Path, missing: str, most: int = MAX_BYTES) -> str:
    """The text of a file, UTF-8 with or without a mark.

    Args:
        path: the file.
        missing: mend where there is no such file.
        most: largest size [bytes].

    Raises:
        InputError: no such file, too large, or no text.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "is no ordinary file" if path.exists() else "does not exist"
        raise InputError(path, "file", problem, missing)
    size = path.stat().st_size
    if size > most:
        raise InputError(path, "file", f"has {size:,} bytes", f"keep it below {most:,}")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, "file", f"is not text (byte {error.start})", "save it as UTF-8") from error


class RefusedError(yaml.YAMLError):
    """A piece of YAML that is not read here: where, what, and the mend."""

    def __init__(self, line: int, problem: str, mend: str) -> None:
        self.line, self.problem, self.mend = line, problem, mend


class PlainLoader(yaml.SafeLoader):
    """YAML of version 1.2 with decimal numbers only, each key once, no anchors and no tags."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's own name; none of version 1.1 is kept

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if getattr(event, "anchor", None) is not None:
            raise RefusedError(line, "uses an anchor or alias", "write the value out")
        if getattr(event, "tag", None) is not None:
            raise RefusedError(line, f"uses the tag {event.tag}", "leave it out")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RefusedError(line, "is nested too deeply", f"keep at most {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set = set()
        for word, _ in node.value:
            line = word.start_mark.line + 1
            if not isinstance(word, yaml.ScalarNode):
                raise RefusedError(line, "has a list or section as a key", "use a word")
            found = self.construct_object(word)
            if found in seen or word.value in seen:
                raise RefusedError(line, f"gives {word.value} a second time", "keep one of them")
            seen |= {found, word.value}
        return super().construct_mapping(node, deep)

    def whole(self, node: yaml.ScalarNode) -> int:
        """An integer of a length that a computer holds."""
        if len(node.value) > MAX_DIGITS:
            raise RefusedError(node.start_mark.line + 1, f"holds a number of {len(node.value)} digits", "round it")
        return int(node.value)

    def decimal(self, node: yaml.ScalarNode) -> float:
        """A floating-point number."""
        word = node.value.lower()
        return float(word.replace(".inf", "inf").replace(".nan", "nan"))


_DIGITS = r"(?:0|[1-9][0-9]*)"
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", rf"^[-+]?{_DIGITS}$", list("-+0123456789")),
    ("float", rf"^[-+]?(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", list("-+0123456789.")),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", list("-+.")),
):
    PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
PlainLoader.add_constructor("tag:yaml.org,2002:int", PlainLoader.whole)
PlainLoader.add_constructor("tag:yaml.org,2002:float", PlainLoader.decimal)


def parse_yaml(text: str, file: object, mend: str = "mind indentation, colons and brackets near that line") -> Any:
    """The value that a YAML text stands for.

    Raises:
        InputError: no YAML, or a piece of it that is refused.
    """
    try:
        return yaml.load(text, Loader=PlainLoader)
    except RefusedError as error:
        raise InputError(file, f"line {error.line}", error.problem, error.mend) from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(file, f"line {mark.line + 1}" if mark else "text", "is not YAML", mend) from error


def read_yaml(path: Path, missing: str) -> dict:
    """The keys of a YAML file; arguments and errors as `read_text` and `parse_yaml`."""
    content = parse_yaml(read_text(path, missing), path)
    if not isinstance(content, dict):
        raise InputError(path, "file", "holds no keys", "write 'key: value' lines")
    return content


def parse_json(text: str, file: object) -> Any:
    """The value that a JSON text stands for.

    Raises:
        InputError: no JSON, a repeated key, a number that is not finite or too long, or nesting too deep.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            again = next(name for k, name in enumerate(names) if name in names[:k])
            raise InputError(file, again, "stands twice in one object", "keep one of them")
        return found

    def whole(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise InputError(file, "file", f"holds a number of {len(digits)} digits", "round it")
        return int(digits)

    def finite(digits: str) -> float:
        if math.isinf(float(digits)):
            raise InputError(file, "file", f"holds {digits}, which is too large for a number", "scale the problem")
        return float(digits)

    def refuse(word: str) -> None:
        raise InputError(file, "file", f"holds {word}, which is no JSON", "give finite numbers")

    deep = InputError(file, "file", "is nested too deeply", f"keep at most {MAX_DEPTH} levels")
    try:
        content = json.loads(text, object_pairs_hook=once, parse_int=whole, parse_float=finite, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InputError(file, "file", f"is not JSON ({error})", "mend the syntax") from error
    except RecursionError as error:
        raise deep from error
    level, depth = [content], 0
    while level:  # breadth first, so that no stack grows
        depth += 1
        if depth > MAX_DEPTH:
            raise deep
        nested = (x.values() if isinstance(x, dict) else x for x in level if isinstance(x, dict | list))
        level = [value for values in nested for value in values]
    return content


def read_json(path: Path, missing: str = "give a readable JSON file", most: int = 10 * MAX_BYTES) -> dict:
    """The keys of a JSON file; arguments and errors as `read_text` and `parse_json`."""
    content = parse_json(read_text(path, missing, most), path)
    if not isinstance(content, dict):
        raise InputError(path, "file", "is not an object", "put the content in { }")
    return content


def validated(model: type[Model], content: Mapping, file: object, *, below: str = "") -> Model:
    """The content of a file as a model.

    Args:
        model: what the file must hold.
        content: what it holds.
        file: named in errors.
        below: dotted key of the section that the content stands in.

    Raises:
        InputError: the first key that is missing, unknown or not allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise one_line(model, file, error, below) from error


def validated_rows(row: type[Model], rows: list[dict[str, Any]], file: object) -> list[Model]:
    """Rows of a table as models; errors as `validated`, naming column and row (the header is row 1)."""
    try:
        return TypeAdapter(list[row]).validate_python(rows)  # type: ignore[valid-type]  # a model known when it runs
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        number, *column = first["loc"]
        where = f"row {int(number) + 2}"
        _, problem, mend = complaint(row, first)
        raise InputError(file, f"column {column[0]}, {where}" if column else where, problem, mend) from error


def one_line(model: type[BaseModel], file: object, error: ValidationError, below: str = "") -> InputError:
    """The first complaint of pydantic as file, field, problem and mend."""
    field, problem, mend = complaint(model, error.errors(include_url=False)[0])
    return InputError(file, ".".join(part for part in (below, field) if part) or "file", problem, mend)


def complaint(model: type[BaseModel], first: Mapping[str, Any]) -> tuple[str, str, str]:
    """Field, problem and mend of one of pydantic's errors."""
    field = ".".join(str(part) for part in first["loc"] if part != "[key]")
    shown = repr(first["input"])
    shown = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
    if first["type"] == "missing":
        return field, "is missing", "add it"
    if first["input"] == "":
        return field, "is empty", "fill it in"
    if first["type"] == "extra_forbidden":
        return field, "is an unknown key", f"use one of {', '.join(place(model, first['loc'][:-1])[0].model_fields)}"
    if first["type"] == "value_error":
        problem, _, mend = str(first["ctx"]["error"]).partition("; ")
        return field, problem, mend
    _, about = place(model, first["loc"])
    rule = re.sub(r"^\w+ should", "it should", first["msg"])
    rule = re.sub(r"valid dictionary or instance of \w+", "section with keys", rule)
    return field, f"{shown} is not allowed", rule + about


def place(model: type[BaseModel], where: tuple) -> tuple[type[BaseModel], str]:
    """The section of a model that a location lies in, and what its last key means, in brackets with the unit."""
    about = ""
    for part in where:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is not None:
            unit = extra_of(field).get("unit", "-")
            about = f" ({field.description}{'' if unit == '-' else f' [{unit}]'})" if field.description else ""
            model = section_of(field.annotation) or model
    return model, about


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """Unit and note of a field, as :func:`key` keeps them."""
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The model inside a type: ``dict[str, Menu]``, ``Menu | None`` and ``list[Menu]`` all give ``Menu``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (section_of(part) for part in getattr(annotation, "__args__", ()))
    return next((model for model in inner if model is not None), None)
