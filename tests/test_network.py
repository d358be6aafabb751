"""LinDistFlow: feeders solved by hand, linearity, and the small functions around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from radial import fork, radial, trees, two_bus
from toy import line_feeder

from tritier.errors import InputError
from tritier.model.acflow import ac_power_flow
from tritier.model.network import (
    active_limit_kw,
    downstream_matrix,
    lindistflow,
    loss_gradient,
    losses_kw,
    main_line,
)


def test_two_bus_feeder_by_hand():
    feeder = two_bus()
    model = lindistflow(feeder)
    p, q = model.flows(feeder.p_kw), model.flows(feeder.q_kvar)
    assert (p, q) == (pytest.approx([40.0]), pytest.approx([20.0]))
    # 1 - 2 (5e-4 * 40 + 2.5e-4 * 20) and 5e-4 (40^2 + 20^2)
    assert model.squared_voltages(feeder.p_kw, feeder.q_kvar) == pytest.approx([1.0, 0.95], abs=1e-14)
    assert losses_kw(p, q, feeder) == pytest.approx(1.0, abs=1e-14)
    assert loss_gradient(p, feeder) == pytest.approx([0.04], abs=1e-14)


def test_forked_feeder_by_hand_with_generation_on_one_branch():
    feeder = fork()
    model = lindistflow(feeder)
    assert model.downstream.tolist() == [[0, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert model.r_path == pytest.approx(1e-4 * np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 3, 1], [0, 1, 1, 4]]))
    flow = model.flows(feeder.p_kw)
    assert flow == pytest.approx([25.0, 20.0, -5.0])
    # 0.995 at the fork, - 2 * 2e-4 * 20 to the load, + 2 * 3e-4 * 5 to the generator
    assert model.squared_voltages(feeder.p_kw, feeder.q_kvar) == pytest.approx([1, 0.995, 0.987, 0.998], abs=1e-14)
    assert losses_kw(flow, 0 * flow, feeder) == pytest.approx(0.0625 + 0.08 + 0.0075, abs=1e-14)


def test_slack_voltage_enters_squared():
    feeder = radial([0], [0.5], [0.25], [40.0], [20.0], v_slack=1.02)
    v2 = lindistflow(feeder).squared_voltages(feeder.p_kw, feeder.q_kvar)
    assert v2 == pytest.approx([1.0404, 1.0404 - 0.05], abs=1e-14)


def test_reversed_flow_raises_voltages_and_still_loses_power():
    feeder = two_bus()
    model = lindistflow(feeder)
    p = -feeder.p_kw
    flow = model.flows(p)
    assert flow == pytest.approx([-40.0])
    assert model.squared_voltages(p, 0 * p) == pytest.approx([1.0, 1.04], abs=1e-14)
    assert losses_kw(flow, 0 * flow, feeder) == pytest.approx(0.8, abs=1e-14)
    assert loss_gradient(flow, feeder) == pytest.approx([-0.04], abs=1e-14)


@given(trees(), st.floats(-2, 2), st.integers(0, 2**31))
def test_flows_and_voltage_drops_superpose(feeder, factor, seed):
    model = lindistflow(feeder)
    other_p, other_q = np.random.default_rng(seed).uniform(-50, 50, (2, feeder.bus.size))
    p, q = feeder.p_kw + factor * other_p, feeder.q_kvar + factor * other_q
    assert model.flows(p) == pytest.approx(model.flows(feeder.p_kw) + factor * model.flows(other_p), abs=1e-9)
    drop = (
        model.squared_voltages(feeder.p_kw, feeder.q_kvar) - 1 + factor * (model.squared_voltages(other_p, other_q) - 1)
    )
    assert model.squared_voltages(p, q) - 1 == pytest.approx(drop, abs=1e-12)


@given(trees())
def test_path_matrices_agree_with_the_branch_equations(feeder):
    """Balance at every bus and the voltage drop over every line, written line by line."""
    model = lindistflow(feeder)
    p, q = model.flows(feeder.p_kw), model.flows(feeder.q_kvar)
    v2 = model.squared_voltages(feeder.p_kw, feeder.q_kvar)
    for line, parent in enumerate(feeder.parent):
        onward = p[feeder.parent == line + 1].sum()
        assert p[line] == pytest.approx(feeder.p_kw[line + 1] + onward, abs=1e-9)
        drop = 2e-3 * (feeder.r_ohm[line] * p[line] + feeder.x_ohm[line] * q[line])
        assert v2[line + 1] == pytest.approx(v2[parent] - drop, abs=1e-12)


@given(trees(), st.integers(0, 2**31))
def test_loss_gradient_is_the_slope_and_its_tangents_lie_below(feeder, seed):
    rng = np.random.default_rng(seed)
    p, q, step = rng.uniform(-60, 60, (3, feeder.line.size))
    slope = loss_gradient(p, feeder) @ step
    central = (losses_kw(p + step, q, feeder) - losses_kw(p - step, q, feeder)) / 2
    assert slope == pytest.approx(central, abs=1e-9)
    assert losses_kw(p + step, q, feeder) >= losses_kw(p, q, feeder) + slope - 1e-12


def test_trailing_axes_are_carried_along():
    feeder = fork()
    model = lindistflow(feeder)
    rng = np.random.default_rng(1)
    p, q = rng.uniform(-30, 30, (2, 4, 24, 3))
    flow_p, flow_q = model.flows(p), model.flows(q)
    v2, loss, slope = model.squared_voltages(p, q), losses_kw(flow_p, flow_q, feeder), loss_gradient(flow_p, feeder)
    assert (flow_p.shape, v2.shape, loss.shape, slope.shape) == ((3, 24, 3), (4, 24, 3), (24, 3), (3, 24, 3))
    assert flow_p[:, 7, 2] == pytest.approx(model.flows(p[:, 7, 2]))
    assert v2[:, 7, 2] == pytest.approx(model.squared_voltages(p[:, 7, 2], q[:, 7, 2]))
    assert loss[7, 2] == pytest.approx(losses_kw(flow_p[:, 7, 2], flow_q[:, 7, 2], feeder))
    assert slope[:, 7, 2] == pytest.approx(loss_gradient(flow_p[:, 7, 2], feeder))


def test_reactive_flow_of_either_sign_takes_room_from_active_power():
    limit = active_limit_kw(np.array([5.0, 13.0, np.inf]), np.array([[3.0, -4.0], [12.0, -5.0], [1e3, 0.0]]))
    assert limit == pytest.approx(np.array([[4.0, 3.0], [5.0, 12.0], [np.inf, np.inf]]))


def test_reactive_flow_above_the_rating_is_refused():
    for number, name in ((None, 1), (np.array([7, 9]), 9)):
        with pytest.raises(InputError, match=rf"branch\.csv: rating_a of line {name}: .* 13\.5 kvar, .* 13\.0 kVA"):
            active_limit_kw(np.array([5.0, 13.0]), np.array([[3.0, 0.0], [0.0, -13.5]]), number)


def test_main_line_takes_the_longer_branch_at_each_fork():
    #  0 - 1 - 2 - 4 - 6     lateral 1 - 3 - 5 leaves at bus position 1
    feeder = radial([0, 1, 1, 2, 3, 4], [1] * 6, [0] * 6, [1] * 6, [0] * 6)
    assert main_line(feeder).tolist() == [0, 1, 2, 4, 6]
    assert downstream_matrix(feeder)[2].tolist() == [0, 0, 0, 1, 0, 1, 0]


def test_line_charging_lifts_the_voltage_and_offsets_reactive_load():
    # 1 ohm and 1 ohm at 1 kV: 0.001 p.u. per kW; the line feeds in 40 kvar, half at each end.
    feeder = replace(line_feeder(2, r_ohm=1.0, x_ohm=1.0, vn_kv=1.0), charging_kvar=np.array([40.0]))
    matrices = lindistflow(feeder)
    assert matrices.charging == pytest.approx([20.0, 20.0])
    p, q = np.array([0.0, 30.0]), np.array([0.0, 50.0])
    assert matrices.reactive_flows(q) == pytest.approx([30.0])
    assert matrices.squared_voltages(p, q)[1] == pytest.approx(1 - 2 * (0.03 + 0.03))


def test_line_charging_of_the_power_flow_is_that_of_a_capacitor():
    feeder = replace(line_feeder(2, r_ohm=0.0, x_ohm=1e-6, vn_kv=10.0), charging_kvar=np.array([80.0]))
    flow = ac_power_flow(feeder, np.zeros(2), np.zeros(2))
    assert flow.q_line_kvar == pytest.approx([-80.0], abs=1e-4)
