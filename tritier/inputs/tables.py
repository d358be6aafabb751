"""Feeder files: a bus table and a branch table become a `Feeder`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tritier.errors import InputError
from tritier.inputs.instance import Feeder

# CSV files of a study: reading, and the checks that every table shares.


def read_table(path: Path, text: tuple[str, ...] = (), numbers: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Read a CSV file with the columns asked for, numbers finite.

    Args:
        path: the file.
        text: columns that must be there and are read as text.
        numbers: columns that must be there and must hold finite numbers; None for every column that is not text.

    Raises:
        InputError: file or column missing, not a table, no rows, or a cell that is empty or not a number.
    """
    if not path.is_file():
        raise InputError(path, "file", "does not exist", "add it, or give its path under 'files' in study.yaml")
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(text, str), encoding="utf-8", skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(path, "table", f"is not a CSV table ({reason})", "save it as comma-separated UTF-8") from error
    names = tuple(c for c in frame.columns if c not in text) if numbers is None else numbers
    for name in (*text, *names):
        if name not in frame.columns:
            have = ", ".join(map(str, frame.columns))
            raise InputError(
                path, f"column {name}", f"is missing (found: {have})", "add it; columns are comma-separated"
            )
    if frame.empty:
        raise InputError(path, "table", "has no rows", "add at least one row")
    for name in text:
        if frame[name].isna().any():
            raise InputError(path, cell(name, frame[name].isna()), "is empty", "fill it in")
    for name in names:
        frame[name] = finite_numbers(path, name, frame[name])
    return frame


def cell(column: str, bad) -> str:
    """Name of the first bad cell, rows counted as in an editor (the header is row 1)."""
    return f"column {column}, row {int(np.flatnonzero(np.asarray(bad))[0]) + 2}"


def finite_numbers(path: Path, name: str, column: pd.Series) -> pd.Series:
    """The column as float64."""
    number = pd.to_numeric(column, errors="coerce").astype(np.float64)
    bad = ~np.isfinite(number.to_numpy())
    if bad.any():
        value = column[bad].iloc[0]
        problem = "is empty or NaN" if pd.isna(value) else f"is not a finite number: {value!r}"
        raise InputError(path, cell(name, bad), problem, "give a finite number with a decimal point")
    return number


def require(path: Path, column: str, ok, problem: str, mend: str, values=None) -> None:
    """Raise an InputError at the first row where `ok` is false."""
    bad = ~np.asarray(ok, dtype=bool)
    if bad.any():
        seen = f" ({np.asarray(values)[bad][0]:g})" if values is not None else ""
        raise InputError(path, cell(column, bad), f"{problem}{seen}", mend)


def integers(path: Path, column: str, values: pd.Series) -> np.ndarray:
    """A numeric column that must hold whole numbers."""
    require(
        path, column, values == np.round(values), "is not a whole number", "number buses and lines by integers", values
    )
    return values.to_numpy(np.int64)


def unique(path: Path, column: str, values) -> None:
    """Raise an InputError at the first repeated entry."""
    repeated = pd.Series(values).duplicated()
    if repeated.any():
        raise InputError(path, cell(column, repeated), f"repeats {values[repeated.argmax()]}", "keep one row for each")


def read_days(path: Path, low: float = -np.inf, high: float = np.inf) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read an hourly table of whole days.

    Args:
        path: CSV with a column `time` (ISO, hourly, fixed offset UTC+1) and one column per profile.
        low, high: range in which every value must lie.

    Returns:
        The dates, shape (D,), and by column the values, shape (D, 24).

    Raises:
        InputError: as `read_table`; or hours missing, repeated or out of order, or a value out of range.
    """
    frame = read_table(path, text=("time",))
    mend = "give every hour from 00:00 of the first to 23:00 of the last day, as 2016-01-31T23:00, without time zone"
    try:
        hours = frame["time"].to_numpy(dtype="datetime64[m]")
    except ValueError as error:
        raise InputError(path, "column time", f"is not ISO time ({error})", mend) from error
    expected = hours[0] + np.arange(hours.size) * np.timedelta64(60, "m")
    require(path, "time", hours == expected, "does not follow the row above by one hour", mend)
    if hours[0] != hours[0].astype("datetime64[D]") or hours.size % 24:
        raise InputError(path, "column time", f"holds no whole days ({hours.size} hours from {hours[0]})", mend)
    columns = {}
    for name in frame.columns.drop("time"):
        values = frame[name].to_numpy()
        require(
            path, name, (values >= low) & (values <= high), "is out of range", f"keep it in [{low:g}, {high:g}]", values
        )
        columns[name] = values.reshape(-1, 24)
    return hours[::24].astype("datetime64[D]"), columns


BUS_NUMBERS = ("bus", "p_kw", "q_kvar", "vn_kv", "vmin_pu", "vmax_pu")
BRANCH_NUMBERS = ("line", "from_bus", "to_bus", "r_ohm", "x_ohm", "closed")


def read_feeder(bus_csv: str | Path, branch_csv: str | Path) -> Feeder:
    """Read a radial feeder, breadth first from the slack.

    Args:
        bus_csv: bus, type (slack or pq), p_kw, q_kvar, vn_kv, vmin_pu, vmax_pu. The slack's vmin = vmax is its voltage.
        branch_csv: line, from_bus, to_bus, r_ohm, x_ohm, closed (1 or 0), optionally rating_a
            and c_nf, the capacitance of the whole line in nF. Open lines are dropped.

    Returns:
        The feeder; line l feeds bus position l + 1. Ratings [kVA] are sqrt(3) vn_kv rating_a, inf where none is given.

    Raises:
        InputError: a table is malformed, an entry is out of range, or the closed lines do not form a tree.
    """
    bus_csv, branch_csv = Path(bus_csv), Path(branch_csv)
    bus, branch = read_buses(bus_csv), read_branches(branch_csv)
    known = set(bus["bus"])
    for end in ("from_bus", "to_bus"):
        require(
            branch_csv,
            end,
            branch[end].isin(known),
            f"is a bus unknown to {bus_csv.name}",
            "use bus numbers of that file",
            branch[end],
        )
    slack = int(bus.loc[bus["type"] == "slack", "bus"].iloc[0])
    buses, parents, rows = breadth_first(branch_csv, branch[branch["closed"] == 1], slack, known)
    bus, branch = bus.set_index("bus").loc[buses], branch.loc[rows]
    vn_kv = float(bus["vn_kv"].iloc[0])
    return Feeder(
        bus=np.array(buses),
        p_kw=bus["p_kw"].to_numpy(),
        q_kvar=bus["q_kvar"].to_numpy(),
        v_min=bus["vmin_pu"].to_numpy(),
        v_max=bus["vmax_pu"].to_numpy(),
        line=branch["line"].to_numpy(),
        parent=np.array(parents, dtype=int),
        r_ohm=branch["r_ohm"].to_numpy(),
        x_ohm=branch["x_ohm"].to_numpy(),
        rating_kva=np.sqrt(3.0) * vn_kv * branch["rating_a"].to_numpy(),
        vn_kv=vn_kv,
        v_slack=float(bus["vmin_pu"].iloc[0]),
        charging_kvar=1e-6 * 2 * np.pi * 50 * vn_kv**2 * branch["c_nf"].to_numpy(),
    )


def read_buses(path: Path) -> pd.DataFrame:
    """The bus table, checked row by row."""
    bus = read_table(path, text=("type",), numbers=BUS_NUMBERS)
    bus["bus"] = integers(path, "bus", bus["bus"])
    bus["type"] = bus["type"].str.strip()
    unique(path, "bus", bus["bus"])
    require(path, "type", bus["type"].isin(("slack", "pq")), "is neither slack nor pq", "use one of the two words")
    slack = bus["type"] == "slack"
    if slack.sum() != 1:
        raise InputError(
            path, "column type", f"marks {slack.sum()} slack buses", "mark exactly one bus as slack, all others pq"
        )
    require(
        path,
        "p_kw",
        bus["p_kw"] >= 0,
        "is negative",
        "give loads as positive kW; generation belongs in prosumers.csv",
        bus["p_kw"],
    )
    require(path, "vn_kv", bus["vn_kv"] > 0, "is not positive", "give the line-to-line voltage in kV", bus["vn_kv"])
    require(
        path,
        "vn_kv",
        bus["vn_kv"] == bus["vn_kv"].iloc[0],
        "differs from the first bus",
        "refer all buses to one voltage level",
        bus["vn_kv"],
    )
    low, high = bus["vmin_pu"], bus["vmax_pu"]
    require(path, "vmin_pu", (low > 0) & (low < 2), "is no voltage in p.u.", "give p.u. values around 1", low)
    require(path, "vmax_pu", (high > 0) & (high < 2), "is no voltage in p.u.", "give p.u. values around 1", high)
    require(
        path,
        "vmin_pu",
        ~slack | (low == high),
        "differs from vmax_pu at the slack",
        "set both to the voltage it holds",
        low,
    )
    require(path, "vmin_pu", slack | (low < high), "is not below vmax_pu", "give the lower limit first", low)
    return bus


def read_branches(path: Path) -> pd.DataFrame:
    """The branch table, checked row by row; `rating_a` is inf where it is absent or empty."""
    branch = read_table(path, numbers=BRANCH_NUMBERS)
    for name in ("line", "from_bus", "to_bus"):
        branch[name] = integers(path, name, branch[name])
    unique(path, "line", branch["line"])
    require(
        path,
        "to_bus",
        branch["from_bus"] != branch["to_bus"],
        "equals from_bus",
        "connect two different buses",
        branch["to_bus"],
    )
    for name in ("r_ohm", "x_ohm"):
        require(path, name, branch[name] >= 0, "is negative", "give ohms of the whole line, zero or more", branch[name])
    require(
        path,
        "r_ohm",
        branch["r_ohm"] + branch["x_ohm"] > 0,
        "and x_ohm are both zero",
        "merge the two buses, or give an impedance",
    )
    require(
        path,
        "closed",
        branch["closed"].isin((0, 1)),
        "is neither 1 nor 0",
        "use 1 for closed and 0 for open",
        branch["closed"],
    )
    if "rating_a" in branch.columns:
        given = branch["rating_a"].notna()
        rating = branch["rating_a"].copy()
        rating[given] = finite_numbers(path, "rating_a", branch["rating_a"].where(given, 1.0))[given]
        branch["rating_a"] = rating.astype(np.float64).fillna(np.inf)
    else:
        branch["rating_a"] = np.inf
    require(
        path,
        "rating_a",
        branch["rating_a"] > 0,
        "is not positive",
        "give amperes, or leave the cell empty for no limit",
        branch["rating_a"],
    )
    branch["c_nf"] = finite_numbers(path, "c_nf", branch["c_nf"]) if "c_nf" in branch.columns else 0.0
    require(path, "c_nf", branch["c_nf"] >= 0, "is negative", "give the line's capacitance in nF", branch["c_nf"])
    return branch


def breadth_first(
    path: Path, closed: pd.DataFrame, slack: int, known: set[int]
) -> tuple[list[int], list[int], list[int]]:
    """Order buses by distance from the slack, and the table's rows with them.

    Returns:
        Bus numbers (N), positions of the upstream buses (L), index labels of the feeding lines (L).

    Raises:
        InputError: the closed lines form a loop, or do not reach every bus.
    """
    neighbours: dict[int, list[tuple[int, int]]] = {n: [] for n in known}
    for row, a, b in zip(closed.index, closed["from_bus"], closed["to_bus"], strict=True):
        neighbours[a].append((b, row))
        neighbours[b].append((a, row))
    order, parents, rows = [slack], [], []
    position, used = {slack: 0}, set()
    for bus in order:  # grows while it is read
        for other, row in neighbours[bus]:
            if row in used:
                continue
            used.add(row)
            if other in position:
                name = closed["line"][row]
                raise InputError(
                    path,
                    cell("closed", np.arange(row + 1) == row),
                    f"closes a loop with line {name}",
                    "open one line of the loop (closed = 0): the feeder must be radial",
                )
            position[other] = len(order)
            parents.append(position[bus])
            order.append(other)
            rows.append(row)
    missing = sorted(known - set(order))
    if missing:
        some = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise InputError(
            path,
            "column closed",
            f"leaves bus {some} without a path to slack bus {slack}",
            "close a line to it, or remove the bus",
        )
    return order, parents, rows
