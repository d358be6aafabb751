"""McCormick envelopes against the product itself, and the relaxation they give on published problems."""

from __future__ import annotations

import numpy as np
import pytest
from bilevel_problems import PUBLISHED
from hypothesis import given
from hypothesis import strategies as st

from tritier.errors import InputError
from tritier.reformulation.milp import envelope, mccormick, relaxation_bound

side = st.floats(-50, 50, allow_nan=False).map(lambda v: round(v, 3))
box = st.tuples(side, side).map(lambda p: (min(p), max(p)))


def largest_error(x_box, y_box) -> float:
    """Largest distance of an envelope from the product: a quarter of the box's area."""
    return (x_box[1] - x_box[0]) * (y_box[1] - y_box[0]) / 4.0


@given(box, box, st.floats(0, 1), st.floats(0, 1))
def test_envelope_holds_the_product_and_touches_it_at_the_corners(x_box, y_box, s, t):
    x, y = x_box[0] + s * (x_box[1] - x_box[0]), y_box[0] + t * (y_box[1] - y_box[0])
    low, high = envelope(x, y, x_box, y_box)
    assert low - 1e-9 <= x * y <= high + 1e-9
    a, b = mccormick(x_box, y_box)
    assert np.all(a @ [x, y, x * y] <= b + 1e-9)
    assert max(high - x * y, x * y - low) <= largest_error(x_box, y_box) + 1e-9
    for corner in ((x_box[i], y_box[j]) for i in (0, 1) for j in (0, 1)):
        assert envelope(*corner, x_box, y_box) == pytest.approx((corner[0] * corner[1],) * 2, abs=1e-9)


def test_largest_error_is_reached_at_the_centre():
    low, high = envelope(1.0, 5.0, (0.0, 2.0), (3.0, 7.0))
    assert (5.0 - low, high - 5.0) == pytest.approx((largest_error((0, 2), (3, 7)),) * 2)


def test_infinite_or_crossed_box_is_refused():
    with pytest.raises(InputError, match="finite box"):
        mccormick((0.0, np.inf), (0.0, 1.0))
    with pytest.raises(InputError, match="finite box"):
        mccormick((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize("key", ["bialas1984", "liu1994", "bard1991", "clark1990"])
def test_relaxation_is_a_bound_and_tightens_with_pieces(key):
    published = next(p for p in PUBLISHED if p.key == key)
    bounds = [relaxation_bound(published.problem, pieces) for pieces in (1, 4, 16)]
    assert bounds[0] <= bounds[1] + 1e-9 and bounds[1] <= bounds[2] + 1e-9
    assert bounds[2] <= published.optimum + 1e-6
    assert published.optimum - bounds[2] < max(0.5 * (published.optimum - bounds[0]), 1e-6)
