"""Small radial feeders for the tests, by hand and at random."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tritier.inputs.instance import Feeder


def radial(parent, r_ohm, x_ohm, p_kw, q_kvar, rating_kva=None, vn_kv=1.0, v_slack=1.0) -> Feeder:
    """A feeder with buses 10, 20, ... and lines 1, 2, ...; loads of the buses behind the slack."""
    n_line = len(parent)
    array = np.array
    return Feeder(
        bus=10 * (1 + np.arange(n_line + 1)),
        p_kw=array([0.0, *p_kw]),
        q_kvar=array([0.0, *q_kvar]),
        v_min=array([v_slack, *[0.9] * n_line]),
        v_max=array([v_slack, *[1.1] * n_line]),
        line=1 + np.arange(n_line),
        parent=array(parent, dtype=int),
        r_ohm=array(r_ohm, dtype=float),
        x_ohm=array(x_ohm, dtype=float),
        rating_kva=np.full(n_line, np.inf) if rating_kva is None else array(rating_kva, dtype=float),
        vn_kv=vn_kv,
        v_slack=v_slack,
    )


def two_bus() -> Feeder:
    """0.5 + 0.25j ohm at 1 kV feeding 40 kW and 20 kvar: LinDistFlow gives 0.95 p.u.^2 and 1 kW of losses."""
    return radial([0], [0.5], [0.25], [40.0], [20.0])


def fork() -> Feeder:
    """Slack - bus 20, which forks to bus 30 (load) and bus 40 (generation); no reactive power or reactance."""
    return radial([0, 1, 1], [0.1, 0.2, 0.3], [0, 0, 0], [10.0, 20.0, -5.0], [0, 0, 0])


@st.composite
def trees(draw, least_kw: float = -40.0, size: int = 8) -> Feeder:
    """A random radial feeder at 1 kV whose voltages stay near 1 p.u. (loads up to 40 kW on lines up to 0.1 ohm)."""
    n_line = draw(st.integers(2, size))
    parent = [draw(st.integers(0, line)) for line in range(n_line)]

    def numbers(low: float, high: float) -> list[float]:
        return draw(st.lists(st.floats(low, high), min_size=n_line, max_size=n_line))

    return radial(parent, numbers(0.01, 0.1), numbers(0.01, 0.1), numbers(least_kw, 40.0), numbers(least_kw / 4, 10.0))
