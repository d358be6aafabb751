"""What a search reports while it runs: bounds, gap, LP solves and seconds, as a line and as a trace."""

from __future__ import annotations

import time
from collections.abc import Callable

import pandas as pd

COLUMNS = ("seconds", "lp_solves", "lower_bound", "upper_bound")


class Progress:
    """The trace of a search. Lower bounds never fall and upper bounds never rise."""

    def __init__(self, gain: float, say: Callable[[str], None] | None = None, rows=(), seconds: float = 0.0) -> None:
        self.gain = gain
        self.say = say
        self.rows: list[tuple[float, int, float, float]] = list(rows)
        self._begin = time.perf_counter() - seconds

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begin

    def report(self, lower: float, upper: float, solves: int) -> None:
        """Note the bounds, $, and print the progress line."""
        if self.rows:
            lower, upper = max(lower, self.rows[-1][2]), min(upper, self.rows[-1][3])
        self.rows.append((self.seconds, solves, lower, upper))
        if self.say:
            share = (upper - lower) / self.gain if self.gain > 0 else float("inf")
            self.say(f"{self.seconds:7.0f} s  bounds {lower:.2f} {upper:.2f} $  gap {share:.1%} of gain  {solves} LPs")

    @property
    def trace(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=list(COLUMNS))
