"""An LP in row form as HiGHS's own model."""

from __future__ import annotations

import highspy
import scipy.sparse as sp


def highs_lp(lp) -> highspy.HighsLp:
    """A :class:`tritier.parametric.ParametricLP` for ``Highs.passModel``."""
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = lp.cost.size, lp.row_lower.size
    model.col_cost_, model.col_lower_, model.col_upper_ = lp.cost, lp.col_lower, lp.col_upper
    model.row_lower_, model.row_upper_ = lp.row_lower, lp.row_upper
    a = sp.csr_array(lp.matrix)
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_, model.a_matrix_.index_, model.a_matrix_.value_ = a.indptr, a.indices, a.data
    return model
