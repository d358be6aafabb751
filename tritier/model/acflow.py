"""AC power flow of a radial feeder by power-grid-model, many cases at once, and the error of LinDistFlow against it.

Signs as in :mod:`tritier.model.network`: net loads are positive when a bus draws, line flows positive away from the
slack.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import power_grid_model as pgm
from power_grid_model.errors import PowerGridBatchError

from tritier.errors import InputError, SolverError
from tritier.inputs.instance import Feeder, quantity
from tritier.inputs.tables import read_feeder
from tritier.model.network import downstream_matrix, lindistflow, losses_kw

# A slack bus holds its voltage. power-grid-model gives every source an impedance instead (its default short-circuit
# power would cost 3e-4 p.u. on the IEEE 33-bus feeder); at 1e18 VA the drop is below 1e-11 p.u.
SHORT_CIRCUIT_POWER_VA = 1e18
# power-grid-model wants a rated current for every line. Loading is computed here, so its value has no effect.
ANY_CURRENT_A = 1.0
FREQUENCY_HZ = 50.0  # of power-grid-model, by which it turns a capacitance into charging


@dataclass(frozen=True, eq=False)
class AcFlow:
    """AC power flow of a feeder, for any number of cases (trailing axes as in the net loads)."""

    v_pu: np.ndarray = quantity(r"V_n", "p.u.", "N,...", "voltage magnitude")
    p_line_kw: np.ndarray = quantity(r"P_l", "kW", "L,...", "active flow into the line at its upstream end")
    q_line_kvar: np.ndarray = quantity(r"Q_l", "kvar", "L,...", "reactive flow into the line at its upstream end")
    current_a: np.ndarray = quantity(r"I_l", "A", "L,...", "current")
    loading: np.ndarray = quantity(r"I_l/\overline{I}_l", "-", "L,...", "current over rated current, 0 where unrated")
    losses_kw: np.ndarray = quantity(r"\Lambda", "kW", "...", "losses of all lines")


def grid_model(feeder: Feeder) -> pgm.PowerGridModel:
    """The feeder as a power-grid-model: bus n is node n, line l component N + l, a load at every bus but the slack."""
    n_bus, n_line = feeder.bus.size, feeder.line.size
    node = pgm.initialize_array("input", "node", n_bus)
    node["id"], node["u_rated"] = np.arange(n_bus), 1e3 * feeder.vn_kv

    line = pgm.initialize_array("input", "line", n_line)
    line["id"] = n_bus + np.arange(n_line)
    line["from_node"], line["to_node"] = feeder.parent, 1 + np.arange(n_line)
    line["from_status"] = line["to_status"] = 1
    line["r1"], line["x1"], line["tan1"] = feeder.r_ohm, feeder.x_ohm, 0.0
    line["c1"] = 1e3 * feeder.charging_kvar / (2 * np.pi * FREQUENCY_HZ * (1e3 * feeder.vn_kv) ** 2)
    line["i_n"] = ANY_CURRENT_A

    load = pgm.initialize_array("input", "sym_load", n_line)
    load["node"], load["id"] = 1 + np.arange(n_line), load_ids(n_bus)
    load["status"], load["type"] = 1, pgm.LoadGenType.const_power
    load["p_specified"] = load["q_specified"] = 0.0

    source = pgm.initialize_array("input", "source", 1)
    source["id"], source["node"], source["status"] = n_bus + n_line, 0, 1
    source["u_ref"], source["sk"] = feeder.v_slack, SHORT_CIRCUIT_POWER_VA
    return pgm.PowerGridModel({"node": node, "line": line, "sym_load": load, "source": source})


def ac_power_flow(feeder: Feeder, p_kw: np.ndarray, q_kvar: np.ndarray, threads: int = 1) -> AcFlow:
    """AC power flow :eq:`eq-distflow` with constant net loads, all cases in one batch by Newton's method.

    ``p_kw``, ``q_kvar``: net loads (N, ...) in kW and kvar, negative for generation; they broadcast against each other.
    What the slack bus draws itself changes nothing. ``threads``: 1 runs in the calling thread, 0 on every core.
    Raises ValueError for a net load that is not finite, SolverError naming the first case that has no solution.
    Source: power-grid-model (Xiang et al. 2023).
    """
    p_kw, q_kvar = np.broadcast_arrays(np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float))
    try:
        result = grid_model(feeder).calculate_power_flow(
            update_data={"sym_load": load_update(p_kw, q_kvar)},
            error_tolerance=1e-10,
            threading=-1 if threads == 1 else threads,
            output_component_types={"node": ["u_pu"], "line": ["p_from", "p_to", "q_from", "i_from"]},
        )
    except PowerGridBatchError as error:
        raise no_solution(error.failed_scenarios, p_kw) from error
    cases = p_kw.shape[1:]
    p_from, p_to, q_from, current = (
        result["line"][name].T.reshape(-1, *cases) for name in ("p_from", "p_to", "q_from", "i_from")
    )
    rated = feeder.rating_kva / (np.sqrt(3) * feeder.vn_kv)
    return AcFlow(
        v_pu=result["node"]["u_pu"].T.reshape(-1, *cases),
        p_line_kw=1e-3 * p_from,
        q_line_kvar=1e-3 * q_from,
        current_a=current,
        loading=current / rated.reshape(-1, *[1] * len(cases)),
        losses_kw=1e-3 * (p_from + p_to).sum(axis=0),
    )


def load_update(p_kw: np.ndarray, q_kvar: np.ndarray) -> np.ndarray:
    """Net loads (N, ...) of all cases as a power-grid-model batch, (cases, N - 1), slack left out.

    Raises ValueError for a net load that is not finite.
    """
    # power-grid-model reads NaN as "unchanged" and would quietly compute the case without that load.
    if not (np.isfinite(p_kw).all() and np.isfinite(q_kvar).all()):
        raise ValueError("net loads of an AC power flow must be finite")
    n_load, n_cases = p_kw.shape[0] - 1, int(np.prod(p_kw.shape[1:]))
    update = pgm.initialize_array("update", "sym_load", (n_cases, n_load))
    update["id"] = load_ids(n_load + 1)
    update["p_specified"] = 1e3 * p_kw[1:].reshape(n_load, n_cases).T
    update["q_specified"] = 1e3 * q_kvar[1:].reshape(n_load, n_cases).T
    return update


def load_ids(n_bus: int) -> np.ndarray:
    """Component numbers of the loads at all buses but the slack; nodes and lines come before them."""
    return 2 * n_bus + np.arange(n_bus - 1)


def no_solution(failed: np.ndarray, p_kw: np.ndarray) -> SolverError:
    """The error that names the first of the cases without a solution by its position on the trailing axes."""
    cases = p_kw.shape[1:]
    where: tuple[Any, ...] = tuple(int(k) for k in np.unravel_index(int(np.min(failed)), cases)) if cases else ()
    return SolverError(
        f"AC power flow has no solution in {len(failed)} of {int(np.prod(cases))} cases, first at index {where} "
        f"(net load {p_kw[(slice(None), *where)].sum():.0f} kW): lower the load or shorten the feeder"
    )


def lindistflow_error(feeder: Feeder, p_kw: np.ndarray, q_kvar: np.ndarray) -> np.ndarray:
    """LinDistFlow voltage minus AC voltage :eq:`eq-lindistflow-error` in p.u., (N, ...), at the same net loads.

    Never negative: LinDistFlow leaves out the losses, which only ever pull voltages down (Gan et al. 2015).
    """
    # AC first: where it has a solution the squared LinDistFlow voltage is positive.
    v_ac = ac_power_flow(feeder, p_kw, q_kvar).v_pu
    return np.sqrt(lindistflow(feeder).squared_voltages(p_kw, q_kvar)) - v_ac


def load_factor_at_limit(feeder: Feeder, p_kw: np.ndarray, q_kvar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factor on all net loads at which LinDistFlow first reads a lower voltage limit :eq:`eq-load-factor`.

    ``p_kw``, ``q_kvar``: net loads (N, cases). Returns the factors (cases), inf where no voltage is below the slack's,
    and the positions (cases) of the buses that reach their limits.
    """
    drop = feeder.v_slack**2 - lindistflow(feeder).squared_voltages(p_kw, q_kvar)[1:]
    room = (feeder.v_slack**2 - feeder.v_min[1:, None] ** 2) * np.ones_like(drop)
    factor = np.divide(room, drop, out=np.full_like(drop, np.inf), where=drop > 0)
    return factor.min(axis=0), 1 + factor.argmin(axis=0)


def voltage_margin(
    feeder: Feeder, p_kw: np.ndarray, q_kvar: np.ndarray, percentile: float = 95, share: float = 0.05
) -> float:
    """Tightening of the lower voltage limit :eq:`eq-voltage-margin` in p.u.: LinDistFlow error where the limit binds.

    ``p_kw``, ``q_kvar``: net loads (N, ...) of design hours. The ``share`` of them that is nearest to a lower limit is
    scaled until LinDistFlow reads the limit exactly; the margin is the ``percentile`` of the errors at the buses that
    reach it. Raises InputError if these hours pull no voltage below the slack's: no lower limit can bind then.
    """
    p_kw, q_kvar = (x.reshape(feeder.bus.size, -1) for x in np.broadcast_arrays(p_kw, q_kvar))
    factor, bus = load_factor_at_limit(feeder, p_kw, q_kvar)
    near = np.flatnonzero(factor <= np.quantile(factor, share, method="lower"))
    if not np.isfinite(factor[near]).all():
        raise InputError("study.yaml", "voltage_margin_pu", "cannot be measured: no load lowers a voltage", "give it")
    error = lindistflow_error(feeder, factor[near] * p_kw[:, near], factor[near] * q_kvar[:, near])
    return float(np.percentile(error[bus[near], np.arange(near.size)], percentile))


def compare_voltages(feeder: Feeder, p_kw: np.ndarray, q_kvar: np.ndarray) -> pd.DataFrame:
    """Both models' voltages at the same net loads (N, ...), one row per bus and case, bus by bus.

    Columns: ``bus``, ``path_ohm`` (resistance of its path from the slack), ``lindistflow_pu``, ``ac_pu``, ``error_pu``.
    """
    p_kw, q_kvar = np.broadcast_arrays(np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float))
    # AC first: where it has a solution the squared LinDistFlow voltage is positive.
    v_ac = ac_power_flow(feeder, p_kw, q_kvar).v_pu.reshape(feeder.bus.size, -1)
    v_linear = np.sqrt(lindistflow(feeder).squared_voltages(p_kw, q_kvar)).reshape(v_ac.shape)
    cases = v_ac.shape[1]
    return pd.DataFrame(
        {
            "bus": np.repeat(feeder.bus, cases),
            "path_ohm": np.repeat(feeder.r_ohm @ downstream_matrix(feeder), cases),
            "lindistflow_pu": v_linear.ravel(),
            "ac_pu": v_ac.ravel(),
            "error_pu": (v_linear - v_ac).ravel(),
        }
    )


def compare_losses(feeder: Feeder, p_kw: np.ndarray, q_kvar: np.ndarray) -> pd.DataFrame:
    """Both models' losses at the same net loads (N, ...), one row per case.

    Columns: ``net_load_kw`` (of all buses behind the slack, negative for export), ``lindistflow_kw``, ``ac_kw``.
    """
    p_kw, q_kvar = np.broadcast_arrays(np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float))
    model = lindistflow(feeder)
    return pd.DataFrame(
        {
            "net_load_kw": np.ravel(p_kw[1:].sum(axis=0)),
            "lindistflow_kw": np.ravel(losses_kw(model.flows(p_kw), model.reactive_flows(q_kvar), feeder)),
            "ac_kw": np.ravel(ac_power_flow(feeder, p_kw, q_kvar).losses_kw),
        }
    )


def feeder_report(bus_csv: str | Path, branch_csv: str | Path) -> dict[str, float | int]:
    """AC power flow and LinDistFlow of a feeder at its nominal loads, from its two CSV files.

    Keys: ``ac_losses_kw``, ``v_min_pu``, ``v_min_bus``, ``lindistflow_v_min_pu``, ``lindistflow_v_min_bus`` and
    ``max_difference_pu`` (largest LinDistFlow minus AC voltage). Raises InputError for files that are no radial feeder,
    SolverError if the feeder cannot carry its nominal load.
    """
    feeder = read_feeder(bus_csv, branch_csv)
    flow = ac_power_flow(feeder, feeder.p_kw, feeder.q_kvar)
    linear = np.sqrt(lindistflow(feeder).squared_voltages(feeder.p_kw, feeder.q_kvar))
    return {
        "ac_losses_kw": float(flow.losses_kw),
        "v_min_pu": float(flow.v_pu.min()),
        "v_min_bus": int(feeder.bus[flow.v_pu.argmin()]),
        "lindistflow_v_min_pu": float(linear.min()),
        "lindistflow_v_min_bus": int(feeder.bus[linear.argmin()]),
        "max_difference_pu": float(np.max(linear - flow.v_pu)),
    }
