"""The flat tariff at cost recovery: the smallest root of revenue adequacy."""

from __future__ import annotations

from tritier.errors import InputError
from tritier.instance import Design
from tritier.joint import JointLP
from tritier.optimistic import Response, optimistic_response

STEP = 0.02  # $/kWh: the scan that brackets the smallest root
WIDTH = 1e-9  # $/kWh: a bracket this narrow is a jump of the revenue, its upper end the root
CLOSE = 1e-5  # $/day: surplus at which the root is found


def flat_design(joint: JointLP, tariff: float) -> Design:
    """The same charge in every block and on P2P trade, capacity limits at their largest."""
    limits = tuple((line, max(levels)) for line, levels in joint.instance.menu.capacity)
    return Design((tariff,) * joint.instance.rules.n_blocks, tariff, limits)


def flat_tariff(joint: JointLP, highest: float = 1.0) -> Response:
    """Response to the smallest flat tariff that recovers the fixed and the network cost (:eq:`eq-flat-tariff`).

    A scan from zero in steps of 2 ct brackets the smallest root of the surplus; the Illinois method closes in from
    above.
    Raises InputError if no tariff up to ``highest`` ($/kWh) recovers the cost.
    """

    def respond(tariff: float) -> Response:
        return optimistic_response(joint, flat_design(joint, tariff), revenue=False)

    low = high = respond(0.0)
    while high.revenue_slack < 0:
        low, high = high, respond(high.design.p2p + STEP)
        if high.design.p2p > highest:
            raise InputError(
                "study.yaml",
                "fixed_cost_usd",
                f"no flat tariff up to {highest:g} $/kWh recovers {joint.instance.fixed_cost:.2f} $/day",
                "lower fixed_cost_usd or network_charge_usd_per_kwh",
            )
    return _illinois(respond, low, high)


def _illinois(respond, low: Response, high: Response) -> Response:
    """Regula falsi that halves the weight of an end which stays; returns the upper end, which recovers the cost."""
    below, above = low.revenue_slack, high.revenue_slack
    while high.revenue_slack > CLOSE and high.design.p2p - low.design.p2p > WIDTH:
        a, b = low.design.p2p, high.design.p2p
        middle = respond(min(max((a * above - b * below) / (above - below), a + WIDTH / 4), b - WIDTH / 4))
        if middle.revenue_slack < 0:
            low, below, above = middle, middle.revenue_slack, above / 2
            above = max(above, CLOSE / 4)
        else:
            high, above, below = middle, middle.revenue_slack, below / 2
    return high
