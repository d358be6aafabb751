"""CSV files of a study: reading, and the checks that every table shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from .errors import InputError


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
