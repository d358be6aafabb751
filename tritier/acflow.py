"""AC power flow of a radial feeder by power-grid-model, many cases at once, and the error of LinDistFlow against it.

Signs as in :mod:`tritier.network`: net loads are positive when a bus draws, line flows positive away from the slack.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import power_grid_model as pgm
from power_grid_model.errors import PowerGridBatchError

from tritier.errors import SolverError
from tritier.feeder_file import read_feeder
from tritier.instance import Feeder, quantity
from tritier.network import lindistflow

# A slack bus holds its voltage. power-grid-model gives every source an impedance instead (its default short-circuit
# power would cost 3e-4 p.u. on the IEEE 33-bus feeder); at 1e18 VA the drop is below 1e-11 p.u.
SHORT_CIRCUIT_POWER_VA = 1e18
# power-grid-model wants a rated current for every line. Loading is computed here, so its value has no effect.
ANY_CURRENT_A = 1.0


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
    """The feeder as a power-grid-model: bus n is node n, line l is component N + l, the load of bus n is N + L + n."""
    n_bus, n_line = feeder.bus.size, feeder.line.size
    node = pgm.initialize_array("input", "node", n_bus)
    node["id"], node["u_rated"] = np.arange(n_bus), 1e3 * feeder.vn_kv

    line = pgm.initialize_array("input", "line", n_line)
    line["id"] = n_bus + np.arange(n_line)
    line["from_node"], line["to_node"] = feeder.parent, 1 + np.arange(n_line)
    line["from_status"] = line["to_status"] = 1
    line["r1"], line["x1"], line["c1"], line["tan1"] = feeder.r_ohm, feeder.x_ohm, 0.0, 0.0
    line["i_n"] = ANY_CURRENT_A

    load = pgm.initialize_array("input", "sym_load", n_line)
    load["node"] = 1 + np.arange(n_line)
    load["id"] = n_bus + n_line + load["node"]
    load["status"], load["type"] = 1, pgm.LoadGenType.const_power
    load["p_specified"] = load["q_specified"] = 0.0

    source = pgm.initialize_array("input", "source", 1)
    source["id"], source["node"], source["status"] = 2 * n_bus + n_line, 0, 1
    source["u_ref"], source["sk"] = feeder.v_slack, SHORT_CIRCUIT_POWER_VA
    return pgm.PowerGridModel({"node": node, "line": line, "sym_load": load, "source": source})


def ac_power_flow(feeder: Feeder, p_kw: np.ndarray, q_kvar: np.ndarray, threads: int = 1) -> AcFlow:
    """AC power flow (:eq:`eq-distflow`) with constant net loads, all cases in one batch by Newton's method.

    ``p_kw``, ``q_kvar``: net loads (N, ...) in kW and kvar, negative for generation; they broadcast against each other.
    What the slack bus draws itself changes nothing. ``threads``: 1 runs in the calling thread, 0 on every core.
    Raises ValueError for a net load that is not finite, SolverError naming the first case that has no solution.
    Source: power-grid-model (Xiang et al. 2023).
    """
    p_kw, q_kvar = np.broadcast_arrays(np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float))
    # power-grid-model reads NaN as "unchanged" and would quietly compute the case without that load.
    if not (np.isfinite(p_kw).all() and np.isfinite(q_kvar).all()):
        raise ValueError("net loads of an AC power flow must be finite")
    n_bus, n_line = feeder.bus.size, feeder.line.size
    cases = p_kw.shape[1:]
    n_cases = int(np.prod(cases))

    update = pgm.initialize_array("update", "sym_load", (n_cases, n_line))
    update["id"] = n_bus + n_line + 1 + np.arange(n_line)
    update["p_specified"] = 1e3 * p_kw[1:].reshape(n_line, n_cases).T
    update["q_specified"] = 1e3 * q_kvar[1:].reshape(n_line, n_cases).T
    try:
        result = grid_model(feeder).calculate_power_flow(
            update_data={"sym_load": update},
            error_tolerance=1e-10,
            threading=-1 if threads == 1 else threads,
            output_component_types={"node": ["u_pu"], "line": ["p_from", "p_to", "q_from", "i_from"]},
        )
    except PowerGridBatchError as error:
        first = int(np.min(error.failed_scenarios))
        where = tuple(int(k) for k in np.unravel_index(first, cases)) if cases else ()
        raise SolverError(
            f"AC power flow has no solution in {len(error.failed_scenarios)} of {n_cases} cases, "
            f"first at index {where} (net load {p_kw[(slice(None), *where)].sum():.0f} kW): "
            "lower the load or shorten the feeder"
        ) from error

    def per_line(name: str, scale: float) -> np.ndarray:
        return scale * result["line"][name].T.reshape(n_line, *cases)

    current = per_line("i_from", 1.0)
    rated = feeder.rating_kva / (np.sqrt(3) * feeder.vn_kv)
    p_from = per_line("p_from", 1e-3)
    return AcFlow(
        v_pu=result["node"]["u_pu"].T.reshape(n_bus, *cases),
        p_line_kw=p_from,
        q_line_kvar=per_line("q_from", 1e-3),
        current_a=current,
        loading=current / rated.reshape(-1, *[1] * len(cases)),
        losses_kw=(p_from + per_line("p_to", 1e-3)).sum(axis=0),
    )


def lindistflow_error(feeder: Feeder, p_kw: np.ndarray, q_kvar: np.ndarray) -> np.ndarray:
    """LinDistFlow voltage minus AC voltage :eq:`eq-lindistflow-error` in p.u., (N, ...), at the same net loads.

    Never negative: LinDistFlow leaves out the losses, which only ever pull voltages down (Gan et al. 2015, lemma 1).
    """
    p_kw, q_kvar = np.broadcast_arrays(np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float))
    # AC first: where it has a solution the squared LinDistFlow voltage is positive.
    v_ac = ac_power_flow(feeder, p_kw, q_kvar).v_pu
    return np.sqrt(lindistflow(feeder).squared_voltages(p_kw, q_kvar)) - v_ac


def voltage_margin(feeder: Feeder, p_kw: np.ndarray, q_kvar: np.ndarray, percentile: float = 95) -> float:
    """Tightening of the voltage band :eq:`eq-voltage-margin` in p.u.: a percentile of the LinDistFlow error.

    Taken over all buses but the slack, where the error is zero by definition, and all cases of the net loads (N, ...).
    """
    return float(np.percentile(lindistflow_error(feeder, p_kw, q_kvar)[1:], percentile))


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
