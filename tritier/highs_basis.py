"""A simplex basis as bytes: one status per column, one per row, in HiGHS's numbers."""

from __future__ import annotations

import highspy
import numpy as np

Basis = tuple[bytes, bytes]  # a status per column, a status per row
AT_LOWER, BASIC, AT_UPPER, FREE = (
    int(getattr(highspy.HighsBasisStatus, f"k{name}")) for name in ("Lower", "Basic", "Upper", "Zero")
)
STATUS = [highspy.HighsBasisStatus(k) for k in range(5)]  # of a byte


def basis_of(highs: highspy.Highs) -> Basis:
    """The present basis, status by status."""
    basis = highs.getBasis()
    return bytes(map(int, basis.col_status)), bytes(map(int, basis.row_status))


def basis_at(highs: highspy.Highs, x: np.ndarray, activity: np.ndarray, lp) -> Basis | None:
    """The basis of the point just found, from the list of its basic variables; None where HiGHS has no such list.

    lp: a :class:`tritier.parametric.ParametricLP` with the bounds of the solve. Asking HiGHS for one status at a time
    would take a tenth of a warm solve.
    """
    word, basic = highs.getBasicVariables()
    if word != highspy.HighsStatus.kOk:
        return None
    columns = _statuses(x, lp.col_lower, lp.col_upper, basic[basic >= 0])
    return columns, _statuses(activity, lp.row_lower, lp.row_upper, -1 - basic[basic < 0])


def start_from(highs: highspy.Highs, basis: Basis, columns: int, rows: int) -> None:
    """Start the next solve from a basis of this LP, or of its first columns and rows: new columns at their lower
    bounds, new rows basic."""
    start = highspy.HighsBasis()
    start.col_status, start.row_status = (
        [STATUS[s] for s in part] + [STATUS[new]] * (size - len(part))
        for part, size, new in zip(basis, (columns, rows), (AT_LOWER, BASIC), strict=True)
    )
    highs.setBasis(start)


def _statuses(value: np.ndarray, lower: np.ndarray, upper: np.ndarray, basic: np.ndarray) -> bytes:
    status = np.where(np.abs(value - upper) < np.abs(value - lower), AT_UPPER, AT_LOWER).astype(np.uint8)
    status[np.isinf(lower) & np.isinf(upper)] = FREE
    status[basic] = BASIC
    return status.tobytes()
