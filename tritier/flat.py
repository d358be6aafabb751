"""The flat tariff at cost recovery: the smallest root of revenue adequacy."""

from __future__ import annotations

from tritier.errors import InfeasibleError, InputError
from tritier.instance import Design
from tritier.joint import JointLP
from tritier.optimistic import Response, optimistic_response

STEP = 0.01  # $/kWh: the scan that brackets the smallest root
WIDTH = 1e-9  # $/kWh: where bisection stops


def flat_design(joint: JointLP, tariff: float) -> Design:
    """The same charge in every block and on P2P trade, capacity limits at their largest."""
    limits = tuple((line, max(levels)) for line, levels in joint.instance.menu.capacity)
    return Design((tariff,) * joint.instance.rules.n_blocks, tariff, limits)


def flat_tariff(joint: JointLP, highest: float = 1.0, guess: float | None = None) -> Response:
    """Response to the smallest flat tariff that recovers the fixed and the network cost (:eq:`eq-flat-tariff`).

    A scan in steps of 1 ct brackets the smallest root, bisection closes in to 1e-9 $/kWh from above. A ``guess`` that
    recovers the cost, and whose next lower value does not, is taken as it is. Raises InputError if no tariff up to
    ``highest`` ($/kWh) recovers the cost.
    """
    found = {}

    def recovers(tariff: float) -> bool:
        try:
            found[tariff] = optimistic_response(joint, flat_design(joint, tariff))
        except InfeasibleError:
            return False
        return True

    if guess is not None and recovers(guess) and not recovers(guess - WIDTH):
        return found[guess]
    least = max(0.0, -min(0.0, float((joint.instance.rules.retail - joint.instance.rules.feed_in).min())))
    low, high = least, least
    while not recovers(high):
        low, high = high, high + STEP
        if high > highest:
            raise InputError(
                "study.yaml",
                "fixed_cost_usd",
                f"no flat tariff up to {highest:g} $/kWh recovers {joint.instance.fixed_cost:.2f} $/day",
                "lower fixed_cost_usd or network_charge_usd_per_kwh",
            )
    while high - low > WIDTH:
        middle = (low + high) / 2
        low, high = (low, middle) if recovers(middle) else (middle, high)
    return found[high]
