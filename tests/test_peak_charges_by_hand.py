"""Both peak charges on two prosumers and two hours, worked out on paper: who shaves, by how much, at which prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_market_by_hand import certify, clear, payments
from toy import days, line_feeder, plain_prosumer, plain_rules

from tritier.errors import CertificateError
from tritier.inputs.instance import Design, Instance, Menu
from tritier.model.tariff import revenue

WEAR = 0.08  # $ per kWh that goes through the battery: 0.04 on the way in, 0.04 on the way out
TRADE = 2.0  # $/kWh on P2P trade: nobody trades


def two_homes(**offered) -> Instance:
    """Ann and Bob draw 10 and 30 kW in two hours; Ann has a battery of 40 kWh without losses. A kWh costs 0.35."""
    load = [[[10.0], [30.0]]] * 2
    ann = plain_prosumer(2, battery_kwh=40.0, battery_kw=40.0, eta=1.0)
    menu = Menu(((0.05,),), (TRADE,), (), **offered)
    given = days(load, np.zeros((2, 2, 1)), 3)
    return Instance(line_feeder(3), (ann, plain_prosumer(3)), given, plain_rules(2, tie_break=0.0), menu)


@pytest.mark.parametrize(
    ("charge", "shaved"),
    [
        # A kW less at the peak saves 0.50 and wears the battery for 0.08: until both hours are at 20 kW.
        (0.50, 10.0),
        # It saves 0.06, less than the wear.
        (0.06, 0.0),
    ],
)
def test_who_has_a_battery_shaves_the_own_peak(charge, shaved):
    """Each pays 40 x 0.30 for energy, 40 x 0.05 by energy, and the charge on the own peak: Ann on 30 less what is
    shaved, Bob on 30. Nobody's peak has a price for the other: pi is zero."""
    instance = two_homes(peak=(0.0, charge))
    joint, response, found = clear(instance, Design((0.05,), TRADE, (), peak=charge))
    assert found["gp"][0, :, 0] == pytest.approx([10.0 + shaved, 30.0 - shaved], abs=1e-9)
    assert found["gp"][1, :, 0] == pytest.approx([10.0, 30.0])
    own = np.array([30.0 - shaved, 30.0])
    bills = 40 * 0.35 + charge * own
    assert found["cost"][:, 0] == pytest.approx(bills + [WEAR * shaved, 0.0])
    assert response.theta == pytest.approx(bills.sum() + WEAR * shaved)
    assert response.billed[2] == pytest.approx(own.sum())
    books = payments(instance, joint, response, found)
    assert books.network[:, 0] == pytest.approx(40 * 0.05 + charge * own)
    assert revenue(response.design, response.billed) == pytest.approx(80 * 0.05 + charge * own.sum())
    assert np.abs(found["pi"]).max() == 0.0
    certify(instance, joint, found)


def test_prices_of_two_hours_add_up_to_the_charge_on_the_head():
    """80 kWh pass the head, 20 and 60 kW without the battery. At 0.50 $/kW Ann moves 20 kWh, so that both hours are
    peaks at 40 kW: their prices add up to the charge, and differ by what one more kWh moved would wear, 0.29 - 0.21.
    The platform takes in 40 x 0.21 + 40 x 0.29, which is what it is charged for the peak."""
    instance = two_homes(coincident=(0.0, 0.50))
    joint, response, found = clear(instance, Design((0.05,), TRADE, (), coincident=0.50))
    assert found["gp"][:, :, 0] == pytest.approx(np.array([[30.0, 10.0], [10.0, 30.0]]), abs=1e-9)
    prices = found["pi"][:, :, 0]
    assert prices == pytest.approx(np.tile([0.21, 0.29], (3, 1)), abs=1e-9)
    assert prices.sum(axis=1) == pytest.approx(np.full(3, 0.50), abs=1e-12)
    books = payments(instance, joint, response, found)
    assert books.congestion[:, 0] == pytest.approx([30 * 0.21 + 10 * 0.29, 10 * 0.21 + 30 * 0.29])
    assert books.rent == pytest.approx([0.50 * 40]) and books.peak_received == pytest.approx([0.50 * 40])
    assert books.rent_received == pytest.approx([0.0], abs=1e-9)
    assert response.billed == pytest.approx([80.0, 0.0, 60.0, 40.0])
    assert response.theta == pytest.approx(80 * 0.35 + 0.50 * 40 + WEAR * 20)
    certify(instance, joint, found)


def test_a_single_peak_hour_bears_the_whole_charge():
    """At 0.06 $/kW no kWh is worth the wear of moving it: the second hour alone is the peak, at the whole price."""
    instance = two_homes(coincident=(0.0, 0.06))
    joint, response, found = clear(instance, Design((0.05,), TRADE, (), coincident=0.06))
    assert found["gp"][:, :, 0] == pytest.approx(np.array([[10.0, 30.0]] * 2), abs=1e-9)
    assert found["pi"][:, :, 0] == pytest.approx(np.tile([0.0, 0.06], (3, 1)), abs=1e-12)
    assert payments(instance, joint, response, found).rent == pytest.approx([0.06 * 60])
    certify(instance, joint, found)


@pytest.mark.parametrize("prices", [(0.25, 0.25), (0.0, 0.50), (0.21, 0.30)])
def test_other_prices_of_the_two_hours_are_no_equilibrium(prices):
    """Equal prices, all on one hour, or more than the charge: Ann or the platform would do something else."""
    instance = two_homes(coincident=(0.0, 0.50))
    joint, _, found = clear(instance, Design((0.05,), TRADE, (), coincident=0.50))
    pi = np.broadcast_to(np.array(prices)[None, :, None], found["pi"].shape)
    with pytest.raises(CertificateError, match="equilibrium"):
        certify(instance, joint, replace(found, arrays=found.arrays | {"pi": pi}))
