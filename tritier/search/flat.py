"""The flat tariff at cost recovery: the smallest root of revenue adequacy."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

import numpy as np

from tritier.errors import CertificateError, InputError
from tritier.inputs.instance import Design
from tritier.model.tariff import HIGHEST
from tritier.reformulation.joint import JointLP
from tritier.search.cuts import FINE, Request, Row, solve_request
from tritier.search.responses import LOSS_GAP, Response, optimistic_response

STEP = 0.02  # $/kWh: the scan that brackets the smallest root
WIDTH = 1e-9  # $/kWh: a bracket this narrow is a jump of the revenue, its upper end the root
CLOSE = 1e-5  # $/day: surplus at which the root is found
NEAR = 1e-6  # $/kWh: first step to either side of the estimated root; the next ones are 8 times as long
JUMP = 1e-3  # $/kWh: change of the tariff from which on the basis of the one before is no good start
ROUGH = 0.1  # $/day: surplus of an estimate that is near enough


@dataclass(frozen=True, eq=False)
class Point:
    """A flat tariff, $/kWh, what it recovers beyond the cost, $/day, and the response where that is exact."""

    tariff: float
    surplus: float
    response: Response | None = None


def flat_design(joint: JointLP, tariff: float) -> Design:
    """The same charge in every block and on P2P trade, capacity limits at their largest."""
    return Design((tariff,) * joint.instance.rules.n_blocks, tariff, joint.instance.menu.largest_limits)


def flat_tariff(
    joint: JointLP,
    highest: float = HIGHEST,
    known: list[tuple[float, ...]] | None = None,
    scan: list[Row] | None = None,
) -> Response:
    """Response to the smallest flat tariff that recovers the fixed and the network cost (:eq:`eq-flat-tariff`); the
    instance knows no fixed charge (:func:`tritier.model.tariff.without_fixed_part`).

    A scan from zero in steps of 2 ct brackets the smallest root of the surplus, and the Illinois method closes in from
    above: first on estimates, one warm solve each, then on optimistic responses about the root so found.
    known: surpluses of a run that broke off, as (exact or not, tariff, surplus); those found are added. scan: is given
    a row for each tariff of the scan that it proves not to recover the cost (:func:`unrecovered`).
    Raises InputError if no tariff up to ``highest`` ($/kWh) recovers the cost.
    """

    last, solved, found = np.inf, False, [] if known is None else known
    before = {(bool(exact), tariff): surplus for exact, tariff, surplus in found}

    def estimate(tariff: float) -> Point:
        nonlocal last, solved
        inside, last = abs(tariff - last) > JUMP, tariff
        solved = (False, tariff) not in before
        if solved:
            row = solve_request(joint, Request("answer", flat_design(joint, tariff)), inside)
            before[False, tariff] = row.recovered
            found.append((0.0, tariff, row.recovered))
        return Point(tariff, before[False, tariff])

    def respond(tariff: float) -> Point:
        if (True, tariff) in before:
            return Point(tariff, before[True, tariff])
        response = optimistic_response(joint, flat_design(joint, tariff), revenue=False)
        before[True, tariff] = response.revenue_slack
        found.append((1.0, tariff, response.revenue_slack))
        return Point(tariff, response.revenue_slack, response)

    low = high = estimate(0.0)
    while high.surplus < 0:
        if scan is not None and solved:  # just now, so that this is near; not where a run that broke off has it
            scan.append(solve_request(joint, Request("shortfall", flat_design(joint, last))))
        low, high = high, estimate(_below(STEP * round(high.tariff / STEP + 1), highest, joint))
    near = _illinois(estimate, low, high, ROUGH, NEAR).tariff
    step, low = NEAR, respond(near)
    high = low
    while high.surplus < 0:  # the estimates are not best for society, and their losses are those of tangents
        low, high = high, respond(_below(high.tariff + step, highest, joint))
        step *= 8
    while low.surplus >= 0 and low.tariff > 0:
        low, high = respond(max(0.0, low.tariff - step)), low
        step *= 8
    root = _illinois(respond, low, high, CLOSE, WIDTH)
    return root.response or optimistic_response(joint, flat_design(joint, root.tariff), revenue=False)


def _below(tariff: float, highest: float, joint: JointLP) -> float:
    """The tariff, or the highest where that is less than a step below it."""
    if tariff >= highest + STEP:
        raise InputError(
            "study.yaml",
            "fixed_cost_usd",
            f"no flat tariff up to {highest:g} $/kWh recovers {joint.instance.fixed_cost:.2f} $/day",
            "lower fixed_cost_usd or network_charge_usd_per_kwh",
        )
    return min(tariff, highest)


def _illinois(at: Callable[[float], Point], low: Point, high: Point, close: float, width: float) -> Point:
    """Regula falsi that halves the weight of an end which stays; returns the upper end, which recovers the cost."""
    below, above = low.surplus, high.surplus
    while high.surplus > close and high.tariff - low.tariff > width:
        a, b = low.tariff, high.tariff
        middle = at(min(max((a * above - b * below) / (above - below), a + width / 4), b - width / 4))
        if middle.surplus < 0:
            low, below, above = middle, middle.surplus, max(above / 2, close / 4)
        else:
            high, above, below = middle, middle.surplus, below / 2
    return high


def unrecovered(joint: JointLP, rows: list[Row]) -> set[float]:
    """The flat tariffs, $/kWh, at which a shortfall row proves that no best response recovers the cost."""
    proved = (row for row in rows if row.request.kind == "shortfall" and -row.bound < joint.instance.least_revenue)
    return {
        row.request.design.p2p for row in proved if row.request.design == flat_design(joint, row.request.design.p2p)
    }


def check_flat(joint: JointLP, design: Design, proved: Container[float] = ()) -> None:
    """Check, without looking for it, that a design is the smallest flat tariff at cost recovery: a millionth of a
    dollar per kWh below it the cost is not recovered, nor at any tariff of the scan.

    The LP may hold any blocks, tangents and basis: they only decide how long this takes. proved: tariffs of the scan of
    which rows have shown it (:func:`unrecovered`), and which are not solved again.

    Raises CertificateError where it is recovered there, or the design is not flat.
    """
    root = design.tariff[0]
    if design != replace(flat_design(joint, root), capacity=design.capacity):
        raise CertificateError("design.flat_tariff", 1.0, 0.0, f"{design} is not the same charge in all blocks")
    asked = Request("answer", flat_design(joint, root))
    if not any(
        solve_request(joint, request).recovered >= -LOSS_GAP for request in (asked, replace(asked, epsilon=FINE))
    ):
        # an answer is not the best response, only near it
        most = optimistic_response(joint, flat_design(joint, root), revenue=False).revenue_slack
        if not most >= -LOSS_GAP:
            raise CertificateError("design.flat_tariff", -most, LOSS_GAP, f"{root:.6f} $/kWh does not recover the cost")
    least = 0 if joint.instance.least_revenue <= 0 else 1  # at no charge nothing is billed, and no cost is negative
    for tariff in (root - NEAR, *(k * STEP for k in range(int((root - NEAR) / STEP), least - 1, -1))):
        if tariff in proved:
            continue
        asked = Request("answer", flat_design(joint, tariff))
        if all(not solve_request(joint, request).recovered < 0 for request in (asked, replace(asked, epsilon=FINE))):
            raise CertificateError("design.flat_tariff", root, tariff, f"{tariff:.6f} $/kWh recovers the cost too")
