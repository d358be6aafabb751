"""AC power flow: published feeders, closed forms, an independent sweep, and the error of LinDistFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from radial import fork, radial, trees, two_bus

from tritier.errors import InputError, SolverError
from tritier.inputs.tables import read_feeder
from tritier.model.acflow import (
    ac_power_flow,
    compare_losses,
    compare_voltages,
    feeder_report,
    lindistflow_error,
    load_factor_at_limit,
    voltage_margin,
)
from tritier.model.network import lindistflow, losses_kw

ROOT = Path(__file__).parents[1]
FEEDERS = ROOT / "tests" / "data" / "feeders"


def benchmark(name: str):
    return read_feeder(FEEDERS / f"{name}_bus.csv", FEEDERS / f"{name}_branch.csv")


def sweep(feeder, p_kw, q_kvar, steps: int = 200):
    """Backward-forward sweep in p.u. (base 1 kVA): complex voltages (N,) and losses in kW, with no matrix at all."""
    z = (feeder.r_ohm + 1j * feeder.x_ohm) / feeder.z_base_ohm
    v = np.full(feeder.bus.size, feeder.v_slack, dtype=complex)
    for _ in range(steps):
        current = np.conj((p_kw + 1j * q_kvar) / v)
        for line in reversed(range(z.size)):
            current[feeder.parent[line]] += current[line + 1]
        for line, parent in enumerate(feeder.parent):
            v[line + 1] = v[parent] - z[line] * current[line + 1]
    return v, float(z.real @ np.abs(current[1:]) ** 2)


@pytest.mark.parametrize("folder", [FEEDERS, ROOT / "data" / "feeders"], ids=["tests", "data"])
@pytest.mark.parametrize(
    ("name", "losses", "v_min", "bus", "linear", "difference"),
    [("ieee33", 202.6771, 0.91309, 18, 0.91593, 0.00284), ("ieee69", 224.9917, 0.90919, 65, 0.91306, 0.00388)],
)
def test_published_feeders(folder, name, losses, v_min, bus, linear, difference):
    """Baran & Wu 1989; the table in tests/data/feeders/README.md."""
    report = feeder_report(folder / f"{name}_bus.csv", folder / f"{name}_branch.csv")
    assert report["ac_losses_kw"] == pytest.approx(losses, abs=1e-3)
    assert report["v_min_pu"] == pytest.approx(v_min, abs=1e-5)
    assert report["v_min_bus"] == report["lindistflow_v_min_bus"] == bus
    assert report["lindistflow_v_min_pu"] == pytest.approx(linear, abs=1e-5)
    assert report["max_difference_pu"] == pytest.approx(difference, abs=1e-5)


@pytest.mark.parametrize("name", ["ieee33", "ieee69"])
def test_published_feeders_by_an_independent_sweep(name):
    feeder = benchmark(name)
    v, losses = sweep(feeder, feeder.p_kw, feeder.q_kvar)
    flow = ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar)
    assert flow.v_pu == pytest.approx(np.abs(v), abs=1e-9)
    assert flow.losses_kw == pytest.approx(losses, abs=1e-6)


def test_two_bus_feeder_in_closed_form():
    """u = V^2 solves u^2 + (2 (rP + xQ) - 1) u + (r^2 + x^2)(P^2 + Q^2) = 0, here u^2 - 0.95 u + 0.000625 = 0."""
    feeder = two_bus()
    u = (0.95 + np.sqrt(0.9)) / 2
    flow = ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar)
    assert flow.v_pu == pytest.approx([1.0, np.sqrt(u)], abs=1e-10)
    assert flow.losses_kw == pytest.approx(1 / u, abs=1e-8)
    assert flow.p_line_kw == pytest.approx([40 + 1 / u], abs=1e-7)
    assert flow.q_line_kvar == pytest.approx([20 + 0.5 / u], abs=1e-7)
    # I = S / (sqrt(3) V) with S in kVA and V in kV
    assert flow.current_a == pytest.approx([np.sqrt(2000 / (3 * u))], abs=1e-7)
    assert lindistflow_error(feeder, feeder.p_kw, feeder.q_kvar) == pytest.approx(
        [0, np.sqrt(0.95) - np.sqrt(u)], abs=1e-10
    )


def test_slack_voltage_is_held():
    """The same line from 1.02 p.u.: u^2 + (0.05 - 1.02^2) u + 0.000625 = 0."""
    feeder = radial([0], [0.5], [0.25], [40.0], [20.0], v_slack=1.02)
    b = 1.02**2 - 0.05
    u = (b + np.sqrt(b**2 - 4 * 6.25e-4)) / 2
    v = ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar).v_pu
    assert v == pytest.approx([1.02, np.sqrt(u)], abs=1e-10)


def test_reversed_flow_in_closed_form():
    """40 kW fed in: u^2 - 1.04 u + 0.0005 = 0 with r = 5e-4, x = 2.5e-4 and P = -40; the losses come off the export."""
    feeder = two_bus()
    u = (1.04 + np.sqrt(1.04**2 - 4 * 3.125e-7 * 1600)) / 2
    flow = ac_power_flow(feeder, -feeder.p_kw, 0 * feeder.q_kvar)
    assert flow.v_pu[1] == pytest.approx(np.sqrt(u), abs=1e-10)
    assert flow.v_pu[1] > 1
    assert flow.losses_kw == pytest.approx(0.8 / u, abs=1e-8)
    assert flow.p_line_kw == pytest.approx([-40 + 0.8 / u], abs=1e-7)


def test_loading_is_current_over_rated_current():
    feeder = radial([0, 1], [0.1, 0.1], [0.1, 0.1], [10.0, 30.0], [0, 0], rating_kva=[80.0, np.inf], vn_kv=0.4)
    flow = ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar)
    assert flow.loading[0] == pytest.approx(flow.current_a[0] * np.sqrt(3) * 0.4 / 80.0, abs=1e-12)
    assert flow.loading[0] > 0.5
    assert flow.loading[1] == 0


@settings(deadline=None)
@given(trees())
def test_random_trees_agree_with_the_sweep_and_balance_power(feeder):
    v, losses = sweep(feeder, feeder.p_kw, feeder.q_kvar)
    flow = ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar)
    assert flow.v_pu == pytest.approx(np.abs(v), abs=1e-9)
    assert flow.losses_kw == pytest.approx(losses, abs=1e-6)
    assert flow.p_line_kw[feeder.parent == 0].sum() == pytest.approx(feeder.p_kw.sum() + losses, abs=1e-6)


@settings(deadline=None)
@given(trees())
def test_lindistflow_never_reads_voltages_too_low(feeder):
    """Gan, Li, Topcu & Low 2015: whatever the direction of the flows."""
    assert lindistflow_error(feeder, feeder.p_kw, feeder.q_kvar).min() >= -1e-9


@settings(deadline=None)
@given(trees(least_kw=1.0))
def test_errors_shrink_with_the_load(feeder):
    """Halving a load divides the voltage error (second order) by 4 and the loss error (third order) by 8, in the limit.

    The ratios depart from it by the next order, half as far at half the load: two halvings and a straight line take
    that away, so the limit is met more nearly than either ratio.
    """
    least = lindistflow(feeder).squared_voltages(feeder.p_kw, feeder.q_kvar).min()
    scale = np.array([1.0, 0.5, 0.25]) * 0.005 / (1 - least)
    p, q = feeder.p_kw[:, None] * scale, feeder.q_kvar[:, None] * scale
    model, flow = lindistflow(feeder), ac_power_flow(feeder, p, q)
    loss_error = flow.losses_kw - losses_kw(model.flows(p), model.flows(q), feeder)
    voltage_error = lindistflow_error(feeder, p, q).max(axis=0)
    for error, order in ((loss_error, 3), (voltage_error, 2)):
        ratio = error[:2] / error[1:]
        assert 2 * ratio[1] - ratio[0] == pytest.approx(2**order, rel=0.01)


def test_a_batch_is_its_cases_one_by_one():
    feeder = benchmark("ieee33")
    rng = np.random.default_rng(5)
    p = feeder.p_kw[:, None, None] * rng.uniform(-1, 1, (33, 4, 3))
    flow = ac_power_flow(feeder, p, feeder.q_kvar[:, None, None])
    assert flow.v_pu.shape == (33, 4, 3)
    assert flow.p_line_kw.shape == flow.current_a.shape == flow.loading.shape == (32, 4, 3)
    assert flow.losses_kw.shape == (4, 3)
    one = ac_power_flow(feeder, p[:, 3, 1], feeder.q_kvar)
    assert flow.v_pu[:, 3, 1] == pytest.approx(one.v_pu, abs=1e-10)
    assert flow.p_line_kw[:, 3, 1] == pytest.approx(one.p_line_kw, abs=1e-6)
    assert flow.losses_kw[3, 1] == pytest.approx(one.losses_kw, abs=1e-6)


def test_threads_change_nothing():
    feeder = benchmark("ieee33")
    p = feeder.p_kw[:, None] * np.linspace(-1, 1.5, 50)
    q = feeder.q_kvar[:, None]
    assert ac_power_flow(feeder, p, q, threads=2).v_pu == pytest.approx(ac_power_flow(feeder, p, q).v_pu, abs=1e-14)


def test_load_at_the_slack_bus_changes_nothing():
    feeder = fork()
    p = feeder.p_kw + np.array([500.0, 0, 0, 0])
    assert ac_power_flow(feeder, p, feeder.q_kvar).v_pu == pytest.approx(
        ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar).v_pu, abs=1e-12
    )


def test_a_case_without_solution_is_named():
    """The two-bus feeder carries at most the load at which the discriminant of its quadratic is zero, about 472 kW."""
    feeder = radial([0], [0.5], [0.25], [40.0], [0.0])
    p = np.zeros((2, 3, 4))
    p[1] = 400.0
    p[1, 1, 2] = p[1, 2, 0] = 480.0
    with pytest.raises(SolverError, match=r"no solution in 2 of 12 cases, first at index \(1, 2\) \(net load 480 kW\)"):
        ac_power_flow(feeder, p, 0 * p)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_net_load_that_is_not_a_number_is_refused(bad):
    feeder = two_bus()
    with pytest.raises(ValueError, match="finite"):
        ac_power_flow(feeder, np.array([0.0, bad]), feeder.q_kvar)


def test_margin_is_the_error_where_lindistflow_reads_the_limit():
    """Two-bus feeder, limit 0.9: LinDistFlow falls by 0.05 p.u.^2 at nominal load and by 0.19 at 3.8 times that."""
    feeder = two_bus()
    u = (0.81 + np.sqrt(0.81**2 - 4 * 6.25e-4 * 3.8**2)) / 2
    p, q = feeder.p_kw[:, None] * np.linspace(0, 1, 21), feeder.q_kvar[:, None] * np.linspace(0, 1, 21)
    factor, bus = load_factor_at_limit(feeder, p, q)
    assert factor[[0, 10, 20]] == pytest.approx([np.inf, 7.6, 3.8])
    assert bus.tolist() == [1] * 21
    for percentile, share in ((95, 0.05), (0, 0.9), (100, 0.9)):
        assert voltage_margin(feeder, p, q, percentile, share) == pytest.approx(0.9 - np.sqrt(u), abs=1e-9)


def test_margin_is_a_percentile_over_the_hours_nearest_the_limit():
    """Three hours that load the two ends of a fork unlike: only the chosen ones count."""
    feeder = radial([0, 1, 1], [0.1, 0.2, 0.4], [0.1, 0.0, 0.1], [0, 0, 0], [0, 0, 0])
    p = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 30.0], [0.0, 60.0, 0.0], [100.0, 0.0, 0.0]])
    q = 0.3 * p
    factor, bus = load_factor_at_limit(feeder, p, q)
    assert np.argsort(factor).tolist() == [0, 1, 2]
    assert bus[:2].tolist() == [3, 2]
    error = lindistflow_error(feeder, factor * p, factor * q)[bus, np.arange(3)]
    assert error.std() > 1e-4
    assert voltage_margin(feeder, p, q, share=0) == pytest.approx(error[0], abs=1e-12)
    assert voltage_margin(feeder, p, q, share=0.5) == pytest.approx(np.percentile(error[:2], 95), abs=1e-12)
    assert voltage_margin(feeder, p, q, 100, share=1) == pytest.approx(error.max(), abs=1e-12)


def test_margin_cannot_be_measured_where_every_bus_feeds_in():
    feeder = two_bus()
    with pytest.raises(InputError, match=r"voltage_margin_pu: cannot be measured"):
        voltage_margin(feeder, -feeder.p_kw, 0 * feeder.q_kvar)


def test_comparison_tables_carry_the_cases_in_order():
    feeder = fork()
    p = feeder.p_kw[:, None, None] * np.array([[0.0, 1.0, 2.0], [-1.0, 3.0, 0.5]])
    q = 0.1 * p
    flow = ac_power_flow(feeder, p, q)
    voltages, losses = compare_voltages(feeder, p, q), compare_losses(feeder, p, q)
    assert voltages["bus"].tolist() == [10] * 6 + [20] * 6 + [30] * 6 + [40] * 6
    assert voltages["path_ohm"].to_numpy() == pytest.approx(np.repeat([0, 0.1, 0.3, 0.4], 6))
    assert voltages["ac_pu"].to_numpy().reshape(4, 2, 3) == pytest.approx(flow.v_pu, abs=1e-12)
    assert voltages["error_pu"].to_numpy().reshape(4, 2, 3) == pytest.approx(lindistflow_error(feeder, p, q), abs=1e-12)
    assert losses["net_load_kw"].tolist() == pytest.approx([0, 25, 50, -25, 75, 12.5])
    assert losses["ac_kw"].to_numpy().reshape(2, 3) == pytest.approx(flow.losses_kw, abs=1e-12)
    # at twice the load, 4 * 0.15 kW of active and 1 % of that for reactive flows
    assert losses["lindistflow_kw"][2] == pytest.approx(0.6 * 1.01, abs=1e-12)
