"""The one risk operator of the model: conditional value at risk (CVaR) at confidence ``a``.

CVaR_a(C) = min_gamma gamma + E[(C - gamma)^+] / (1 - a) (Rockafellar and Uryasev 2000, doi:10.21314/JOR.2000.038).
The same form, with a = 1 - epsilon, is the convex safe form of the chance constraints.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cvxpy as cp
import numpy as np

Term: TypeAlias = Any  # a cvxpy expression, or an array of numbers of its shape


def tail(x: Term, var: Term, excess: Term) -> Term:
    """What must be <= 0 in the Rockafellar-Uryasev form: x less value at risk less excess (:eq:`eq-cvar`)."""
    return x - var - excess


def cvar_rows(x: Term, var: Term, excess: Term) -> list[cp.Constraint]:
    """Rows of the Rockafellar-Uryasev form: excess >= x - value at risk; excess >= 0 is a bound (:eq:`eq-cvar`)."""
    return [tail(x, var, excess) <= 0]


def cvar(probability: np.ndarray, confidence: float, var: Term, excess: Term) -> Term:
    """CVaR from its value at risk and the excess above it, shape () (:eq:`eq-cvar`)."""
    return var + probability @ excess / (1 - confidence)


def value_at_risk(x: np.ndarray, probability: np.ndarray, confidence: float) -> np.ndarray:
    """Smallest value with P(X <= value) >= confidence along the last axis of ``x``, shape (..., S) -> (...)."""
    order = np.argsort(x, axis=-1)
    cumulated = np.cumsum(probability[order], axis=-1)
    first = np.argmax(cumulated >= confidence - 1e-12, axis=-1)
    position = np.take_along_axis(order, first[..., None], axis=-1)
    return np.take_along_axis(x, position, axis=-1)[..., 0]


def sample_cvar(x: np.ndarray, probability: np.ndarray, confidence: float) -> np.ndarray:
    """CVaR of a discrete distribution along the last axis of ``x``, shape (..., S) -> (...) (:eq:`eq-cvar`)."""
    eta = value_at_risk(x, probability, confidence)
    return eta + np.maximum(x - eta[..., None], 0) @ probability / (1 - confidence)
