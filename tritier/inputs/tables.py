"""Tables of a study: CSV files become checked rows, hourly profiles become arrays, a feeder becomes a tree."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from tritier.errors import InputError
from tritier.inputs.documents import Name, Section, key, read_text, validated_rows
from tritier.inputs.instance import Feeder

MAX_BYTES = 100_000_000  # of a table
MAX_ROWS = 200_000  # of a table; 20 years of hours fit
MAX_COLUMNS = 2_000
MAX_LINE = 100_000  # characters
MAX_RATIO = 100.0  # of reactive to active load: it scales reactive load with the profile
LEAST_OHM = 1e-5  # of a line's impedance: below, power flow loses its digits

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::00)?")


class Row(Section):
    """A row of a table: cells are text, columns of numbers are converted, an empty cell is an absent one."""

    @model_validator(mode="before")
    @classmethod
    def converted(cls, cells: dict[str, str]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for column, text in cells.items():
            field = cls.model_fields.get(column)
            if text == "" and (field is None or not field.is_required()):
                continue
            if field is not None and field.annotation is not str and NUMBER.fullmatch(text):
                number = float(text)
                row[column] = int(number) if number.is_integer() else number
            else:
                row[column] = text
        return row


Number = Annotated[int, Field(ge=0, le=10**9)]  # of a bus or line
Kilowatt = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
RowType = TypeVar("RowType", bound=Row)


class BusRow(Row):
    """A bus of bus.csv. The slack's vmin_pu = vmax_pu is the voltage that it holds."""

    bus: Number = key("number of the bus")
    type: Literal["slack", "pq"] = key("slack for the one bus that feeds the others, pq for all others")
    p_kw: Kilowatt = key("nominal active load; generation belongs in prosumers.csv", "kW")
    q_kvar: float = key("nominal reactive load, negative for a capacitor", "kvar", ge=-1e6, le=1e6)
    vn_kv: float = key("nominal line-to-line voltage, the same at all buses", "kV", ge=0.1, le=1000)
    vmin_pu: float = key("lowest voltage allowed", "p.u.", ge=0.5, le=1.5)
    vmax_pu: float = key("highest voltage allowed", "p.u.", ge=0.5, le=1.5)


class BranchRow(Row):
    """A line of branch.csv."""

    line: Number = key("number of the line")
    from_bus: Number = key("bus at one end")
    to_bus: Number = key("bus at the other end")
    r_ohm: float = key("series resistance of the whole line", "ohm", ge=0, le=1e5)
    x_ohm: float = key("series reactance of the whole line", "ohm", ge=0, le=1e5)
    closed: Literal[0, 1] = key("1 for closed, 0 for open; open lines are left out")
    rating_a: Annotated[float, Field(gt=0, le=1e6)] | None = key(
        "largest current", "A", None, "an empty cell, no limit"
    )
    c_nf: float = key("capacitance of the whole line", "nF", 0.0, ge=0, le=1e6)

    @field_validator("to_bus")
    @classmethod
    def another_bus(cls, end: int, info: ValidationInfo) -> int:
        if end == info.data.get("from_bus"):
            raise ValueError("equals from_bus; connect two different buses")
        return end


class DeferrableRow(Row):
    """Electric vehicles and heat pumps at a bus."""

    bus: Number = key("number of the bus")
    ev_kwh_per_day: Kilowatt = key("energy that vehicles ask for on a mean day", "kWh", 0.0)
    ev_kw: Kilowatt = key("power of all chargers", "kW", 0.0)
    ev_delay_h: Annotated[int, Field(ge=0, le=23)] = key("hours within which a kWh asked for is charged", "h", 0)
    hp_kwh_per_day: Kilowatt = key("energy that heat pumps ask for on a mean day", "kWh", 0.0)
    hp_kw: Kilowatt = key("power of all heat pumps", "kW", 0.0)
    hp_delay_h: Annotated[int, Field(ge=0, le=23)] = key("hours within which a kWh asked for is drawn", "h", 0)

    @field_validator("ev_kw", "hp_kw")
    @classmethod
    def enough_power(cls, power: float, info: ValidationInfo) -> float:
        energy = f"{str(info.field_name)[:2]}_kwh_per_day"
        if 24.0 * power < info.data.get(energy, 0.0):
            raise ValueError(f"cannot draw {energy} in a day; raise it or lower {energy}")
        return power


class PassiveRow(DeferrableRow):
    """Uncontrolled vehicles and heat pumps of passive.csv, at a bus without a prosumer; delays are not used there."""


class ProsumerRow(DeferrableRow):
    """A prosumer of prosumers.csv: the community of customers at one bus."""

    prosumer: Name = key("name")
    pv_kw: Kilowatt = key("installed PV power", "kW")
    pv_profile: Name = key("column of the renewable profiles")
    wind_kw: Kilowatt = key("installed wind power", "kW")
    wind_profile: Name = key("column of the renewable profiles")
    battery_kwh: Kilowatt = key("battery capacity", "kWh")
    battery_kw: Kilowatt = key("battery power, each way", "kW")
    eta: float = key("one-way battery efficiency", ge=0.1, le=1)
    degradation_usd_per_kwh: float = key("battery wear per kWh charged and per kWh discharged", "$/kWh", ge=0, le=10)
    beta: float = key("weight of CVaR in the prosumer's objective", ge=0, le=0.9)


class PluggedInRow(Row):
    """An hour of the day in the table of vehicles plugged in at home."""

    hour: Annotated[int, Field(ge=0, le=23)] = key("hour of the day", "h")
    weekday: Share = key("share of vehicles plugged in from Monday to Friday")
    weekend: Share = key("the same on Saturday and Sunday")


class LoadMixRow(Row):
    """A share of a bus's load in load_mix.csv; the shares of a bus are scaled to one."""

    bus: Number = key("number of the bus")
    profile: Name = key("column of the load profiles")
    weight: float = key("share of the bus's energy", gt=0, le=1e6)


def read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file, cells without blanks around them.

    Raises:
        InputError: no such file, no table, too large, a column without a name or named twice, or a row of other length.
    """
    return cells_of(read_table(path), path)


def read_table(path: Path) -> str:
    """Text of a table."""
    return read_text(path, "add it, or give its path under 'files' in study.yaml", MAX_BYTES)


def cells_of(text: str, path: Path) -> tuple[list[str], list[list[str]]]:
    """:func:`read_cells` of a file's text."""
    longest = max(map(len, text.splitlines()), default=0)
    if longest > MAX_LINE:
        raise InputError(path, "table", f"has a line of {longest:,} characters", f"keep lines below {MAX_LINE:,}")
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
    except csv.Error as error:
        raise InputError(path, "table", f"is not a CSV table ({error})", "save it as comma-separated UTF-8") from error
    while rows and not any(rows[-1]):
        rows.pop()
    if len(rows) < 2:
        raise InputError(path, "table", "has no rows", "save it as comma-separated UTF-8 with a header and rows below")
    header, *rows = rows
    if len(rows) > MAX_ROWS or len(header) > MAX_COLUMNS:
        size = f"has {len(rows):,} rows and {len(header):,} columns"
        raise InputError(path, "table", size, f"keep at most {MAX_ROWS:,} and {MAX_COLUMNS:,}")
    for k, name in enumerate(header):
        if not name:
            raise InputError(path, f"column {k + 1}", "has no name", "name it, or remove the comma at the row's end")
        if name in header[:k]:
            raise InputError(path, f"column {name}", "stands twice", "keep one of them")
    for k, row in enumerate(rows):
        if len(row) != len(header):
            problem = f"has {len(row)} cells, the header {len(header)}"
            raise InputError(path, f"row {k + 2}", problem, "give one cell, comma-separated, for each column")
    return header, rows


def read_rows(path: Path, row: type[RowType]) -> list[RowType]:
    """A CSV file as checked rows.

    Raises:
        InputError: as `read_cells`; or a column that is missing or unknown, or a cell that is not allowed.
    """
    header, rows = read_cells(path)
    for name, column in row.model_fields.items():
        if column.is_required() and name not in header:
            raise missing(path, name, header)
    for name in header:
        if name not in row.model_fields:
            raise InputError(path, f"column {name[:40]}", "is unknown", f"use {', '.join(row.model_fields)}")
    return validated_rows(row, [dict(zip(header, cells, strict=True)) for cells in rows], path)


def missing(path: Path, column: str, header: list[str]) -> InputError:
    """That a table has no column of a name; with semicolons for commas it has one of all names."""
    mend = "add it" if not header or ";" not in header[0] else "put commas between columns, points in numbers"
    return InputError(path, f"column {column}", f"is missing (found: {shown(header)})", mend)


def shown(names: list[str]) -> str:
    """The first few names."""
    return ", ".join(name[:40] for name in names[:12]) + (", ..." if len(names) > 12 else "")


def require(path: Path, column: str, ok: list[bool] | np.ndarray, problem: str, mend: str) -> None:
    """Raise an InputError at the first row where `ok` is false, rows counted as in an editor (the header is row 1)."""
    bad = np.flatnonzero(~np.asarray(ok, dtype=bool))
    if bad.size:
        raise InputError(path, f"column {column}, row {bad[0] + 2}", problem, mend)


def unique(path: Path, column: str, values: list) -> None:
    """Raise an InputError at the first repeated entry."""
    seen: set = set()
    for k, value in enumerate(values):
        if value in seen:
            raise InputError(path, f"column {column}, row {k + 2}", f"repeats {value}", "keep one row for each")
        seen.add(value)


def known(path: Path, column: str, values: list, names: Collection, where: str) -> None:
    """Raise an InputError at the first entry that is none of the names."""
    for k, value in enumerate(values):
        if value not in names:
            choices = f"use one of {shown(list(map(str, names)))}"
            raise InputError(path, f"column {column}, row {k + 2}", f"{value} is unknown to {where}", choices)


def read_days(path: Path, low: float, high: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read an hourly table of whole days.

    Args:
        path: CSV with a column `time` (ISO, hourly, fixed offset UTC+1) and one column per profile.
        low, high: range in which every value must lie.

    Returns:
        The dates, shape (D,), and by column the values, shape (D, 24).

    Raises:
        InputError: as `read_cells`; or hours missing, repeated or out of order, or a value out of range.
    """
    hours, columns = _days_of(_Table(read_table(path), path), low, high)
    return hours, dict(columns)


@dataclass(frozen=True)
class _Table:
    """A file's text, told from others by what it says and not by how its path is spelled."""

    text: str
    path: Path = field(compare=False)


@lru_cache(maxsize=16)
def _days_of(table: _Table, low: float, high: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """:func:`read_days` of a file's text. Kept, as one process reads the same profiles for many cases; nobody may write
    into what is kept."""
    path = table.path
    header, rows = cells_of(table.text, path)
    if "time" not in header:
        raise missing(path, "time", header)
    at = header.index("time")
    hours = whole_days(path, [row.pop(at) for row in rows])
    names = header[:at] + header[at + 1 :]
    values = np.empty((len(rows), len(names)))
    for k, row in enumerate(rows):
        try:
            values[k] = [float(cell) for cell in row]
        except ValueError:
            values[k] = np.nan
        if "_" in "".join(row):  # Python reads 1_000 as a number
            values[k] = np.nan
    wrong = np.argwhere(~((values >= low) & (values <= high)))
    if wrong.size:
        k, j = wrong[0]
        text, field = rows[k][j], f"column {names[j]}, row {k + 2}"
        if not NUMBER.fullmatch(text):
            j = next(j for j, cell in enumerate(rows[k]) if not NUMBER.fullmatch(cell))
            problem = "is empty" if rows[k][j] == "" else f"is not a finite number: {rows[k][j][:40]!r}"
            mend = "give a finite number with a decimal point"
            raise InputError(path, f"column {names[j]}, row {k + 2}", problem, mend)
        raise InputError(path, field, f"is out of range ({text[:40]})", f"keep it in [{low:g}, {high:g}]")
    columns = {name: np.ascontiguousarray(values[:, j]).reshape(-1, 24) for j, name in enumerate(names)}
    dates = hours[::24].astype("datetime64[D]")
    for kept in (dates, *columns.values()):
        kept.flags.writeable = False
    return dates, columns


def whole_days(path: Path, stamps: list[str]) -> np.ndarray:
    """The hours of a column of time stamps, datetime64[m], each one hour after the one above, from 00:00 to 23:00."""
    mend = "give every hour from 00:00 of the first to 23:00 of the last day, as 2016-01-31T23:00, without time zone"
    plain = [stamp[:16].replace(" ", "T") if STAMP.fullmatch(stamp) else stamp[:40] for stamp in stamps]
    try:
        first = np.array([plain[0] if STAMP.fullmatch(stamps[0]) else "none"], dtype="datetime64[m]")[0]
    except ValueError as error:
        raise InputError(path, "column time, row 2", f"is no hour ({plain[0]!r})", mend) from error
    hours = first + np.arange(len(stamps)) * np.timedelta64(60, "m")
    follows = [a == b for a, b in zip(plain, np.datetime_as_string(hours, unit="m"), strict=True)]
    require(path, "time", follows, "does not follow the row above by one hour", mend)
    if first != first.astype("datetime64[D]") or hours.size % 24:
        raise InputError(path, "column time", f"holds no whole days ({hours.size} hours from {plain[0]})", mend)
    return hours


def read_feeder(bus_csv: str | Path, branch_csv: str | Path) -> Feeder:
    """Read a radial feeder, breadth first from the slack.

    Args:
        bus_csv: rows as `BusRow`.
        branch_csv: rows as `BranchRow`.

    Returns:
        The feeder; line l feeds bus position l + 1. Ratings [kVA] are sqrt(3) vn_kv rating_a, inf where none is given.

    Raises:
        InputError: a table is malformed, an entry is out of range, or the closed lines do not form a tree.
    """
    bus_csv, branch_csv = Path(bus_csv), Path(branch_csv)
    buses, branches = read_buses(bus_csv), read_branches(branch_csv)
    at = {b.bus: b for b in buses}
    known(branch_csv, "from_bus", [b.from_bus for b in branches], at, bus_csv.name)
    known(branch_csv, "to_bus", [b.to_bus for b in branches], at, bus_csv.name)
    slack = next(b.bus for b in buses if b.type == "slack")
    order, parents, rows = breadth_first(branch_csv, branches, slack, set(at))
    bus, branch = [at[number] for number in order], [branches[row] for row in rows]
    vn_kv = buses[0].vn_kv
    rating = np.array([np.inf if b.rating_a is None else b.rating_a for b in branch])
    return Feeder(
        bus=np.array(order),
        p_kw=np.array([b.p_kw for b in bus]),
        q_kvar=np.array([b.q_kvar for b in bus]),
        v_min=np.array([b.vmin_pu for b in bus]),
        v_max=np.array([b.vmax_pu for b in bus]),
        line=np.array([b.line for b in branch], dtype=int),
        parent=np.array(parents, dtype=int),
        r_ohm=np.array([b.r_ohm for b in branch]),
        x_ohm=np.array([b.x_ohm for b in branch]),
        rating_kva=np.sqrt(3.0) * vn_kv * rating,
        vn_kv=vn_kv,
        v_slack=at[slack].vmin_pu,
        charging_kvar=1e-6 * 2 * np.pi * 50 * vn_kv**2 * np.array([b.c_nf for b in branch]),
    )


def read_buses(path: Path) -> list[BusRow]:
    """The bus table: one slack, one voltage level, each bus once."""
    buses = read_rows(path, BusRow)
    unique(path, "bus", [b.bus for b in buses])
    slacks = sum(b.type == "slack" for b in buses)
    if slacks != 1:
        problem, mend = f"marks {slacks} slack buses", "mark exactly one bus as slack, all others pq"
        raise InputError(path, "column type", problem, mend)
    same = [b.vn_kv == buses[0].vn_kv for b in buses]
    require(path, "vn_kv", same, "differs from the first bus", "refer all buses to one voltage level")
    follows = [b.p_kw == 0 or abs(b.q_kvar) <= MAX_RATIO * b.p_kw for b in buses]
    problem, mend = f"is more than {MAX_RATIO:g} times p_kw", "give both in kW and kvar, or p_kw = 0 for a capacitor"
    require(path, "q_kvar", follows, problem, mend)
    held = [b.type == "pq" or b.vmin_pu == b.vmax_pu for b in buses]
    require(path, "vmin_pu", held, "differs from vmax_pu at the slack", "set both to the voltage it holds")
    band = [b.type == "slack" or b.vmin_pu < b.vmax_pu for b in buses]
    require(path, "vmin_pu", band, "is not below vmax_pu", "give the lower limit first")
    return buses


def read_branches(path: Path) -> list[BranchRow]:
    """The branch table: each line once, with an impedance."""
    branches = read_rows(path, BranchRow)
    unique(path, "line", [b.line for b in branches])
    mend = f"merge the two buses, or give at least {LEAST_OHM:g} ohm"
    require(path, "r_ohm", [np.hypot(b.r_ohm, b.x_ohm) >= LEAST_OHM for b in branches], "and x_ohm are zero", mend)
    return branches


def breadth_first(
    path: Path, branches: list[BranchRow], slack: int, numbers: set[int]
) -> tuple[list[int], list[int], list[int]]:
    """Order buses by distance from the slack, and the table's rows with them.

    Returns:
        Bus numbers (N), positions of the upstream buses (L), rows of the feeding lines (L).

    Raises:
        InputError: the closed lines form a loop, or do not reach every bus.
    """
    neighbours: dict[int, list[tuple[int, int]]] = {n: [] for n in numbers}
    for row, branch in enumerate(branches):
        if branch.closed:
            neighbours[branch.from_bus].append((branch.to_bus, row))
            neighbours[branch.to_bus].append((branch.from_bus, row))
    order, parents, rows = [slack], [], []
    position, used = {slack: 0}, set()
    for bus in order:  # grows while it is read
        for other, row in neighbours[bus]:
            if row in used:
                continue
            used.add(row)
            if other in position:
                raise InputError(
                    path,
                    f"column closed, row {row + 2}",
                    f"closes a loop with line {branches[row].line}",
                    "open one line of the loop (closed = 0): the feeder must be radial",
                )
            position[other] = len(order)
            parents.append(position[bus])
            order.append(other)
            rows.append(row)
    missing = sorted(numbers - set(order))
    if missing:
        some = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise InputError(
            path,
            "column closed",
            f"leaves bus {some} without a path to slack bus {slack}",
            "close a line to it, or remove the bus",
        )
    return order, parents, rows
