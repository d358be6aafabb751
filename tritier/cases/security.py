"""Least curtailment: what it takes to keep the network secure after a day has gone its way, for every case alike.

A case that does not see the network must not look well for it. Hour by hour, load is shed at the declared price and
feed-in curtailed at its market value until LinDistFlow respects the tightened band and the ratings; all else stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tritier.errors import SolverError
from tritier.inputs.instance import Feeder, Instance
from tritier.model.chance import VIOLATED_KW, Network
from tritier.model.network import LinDistFlow
from tritier.reformulation.lp import LinearProgram


@dataclass(frozen=True, eq=False)
class Securing:
    """Load shed and feed-in curtailed to keep the network secure, and their cost."""

    shed_kw: np.ndarray  # (N, T, W)
    curtailed_kw: np.ndarray  # (N, T, W)
    cost_usd: np.ndarray  # (W,)

    @property
    def shed_kwh(self) -> np.ndarray:
        """Load shed on each day, kWh, (W,)."""
        return self.shed_kw.sum(axis=(0, 1))

    @property
    def curtailed_kwh(self) -> np.ndarray:
        """Feed-in curtailed on each day, kWh, (W,)."""
        return self.curtailed_kw.sum(axis=(0, 1))

    @property
    def hours(self) -> np.ndarray:
        """Hours of each day with load shed or feed-in curtailed, (W,)."""
        return ((self.shed_kw + self.curtailed_kw).sum(axis=0) > VIOLATED_KW).sum(axis=0)

    @property
    def buses(self) -> np.ndarray:
        """Positions of the buses where anything is shed or curtailed on any day."""
        return np.flatnonzero((self.shed_kw + self.curtailed_kw).sum(axis=(1, 2)) > VIOLATED_KW)


def reactive_share(feeder: Feeder, load: np.ndarray, reactive: np.ndarray) -> np.ndarray:
    """Reactive power that goes with each kW shed, kvar/kW (:eq:`eq-reactive-share`).

    load, reactive: what the buses draw, kW and kvar, (N, ...), as is what is returned.

    Vehicles, heat pumps and batteries draw none: what a bus draws in reactive power is spread over all that it draws,
    and where sun behind the meter hides load, over the household load, which has the bus's nominal ratio.
    """
    nominal = np.divide(feeder.q_kvar, feeder.p_kw, out=np.zeros(feeder.p_kw.size), where=feeder.p_kw > 0)
    ratio = np.broadcast_to(nominal.reshape(-1, *[1] * (load.ndim - 1)), load.shape)
    household = np.divide(reactive, ratio, out=np.zeros_like(load), where=ratio != 0)
    drawn = np.maximum(load, household)
    return np.divide(reactive, drawn, out=np.zeros_like(load), where=(ratio != 0) & (drawn > 0))


def securing_matrix(matrices: LinDistFlow, reactive: np.ndarray) -> np.ndarray:
    """What a kW shed (first N columns) or curtailed (last N) does to squared voltages (N rows) and flows (L rows).

    Shedding takes the load's reactive power along; a line's limit is held against its reactive flow as it was, which
    is the larger one.
    """
    rise = 2 * (matrices.r_path + matrices.x_path * reactive)
    return np.block([[rise, -2 * matrices.r_path], [-matrices.downstream, matrices.downstream]])


def least_curtailment(instance: Instance, net_load: np.ndarray) -> Securing:
    """The cheapest shedding and curtailment that keep every hour within band and ratings (:eq:`eq-secure`).

    net_load: kW, (N, T, W), as the day went. At most what a bus draws is shed, at most what it feeds in is curtailed.
    Raises SolverError where the reactive loads alone break the network.
    """
    days, feeder, network = instance.days, instance.feeder, Network(instance)
    n, hours = feeder.bus.size, days.n_hours
    matrices = network.matrices
    v2 = matrices.squared_voltages(net_load, days.reactive_kvar)
    flow, limit = matrices.flows(net_load), network.active_limit
    share = reactive_share(feeder, net_load, days.reactive_kvar)
    shed, curtailed = np.zeros_like(net_load), np.zeros_like(net_load)
    broken = {kind: v.max(axis=0) for kind, v in network.violations(net_load, {}).items() if v.size}
    for t, w in np.argwhere(np.max(list(broken.values()), axis=0) > VIOLATED_KW).tolist():
        low, high = network.v2_low - v2[:, t, w], network.v2_high - v2[:, t, w]
        low[0], high[0] = -np.inf, np.inf
        load, value = net_load[:, t, w], max(float(days.wholesale[t, w]), 0.0)
        program = LinearProgram(
            np.repeat([instance.rules.violation_price, value], n),
            securing_matrix(matrices, share[:, t, w]),
            np.concatenate([low, -limit[:, t, w] - flow[:, t, w]]),
            np.append(high, limit[:, t, w] - flow[:, t, w]),
            0.0,
            np.concatenate([np.maximum(load, 0), np.maximum(-load, 0)]),
        )
        found = program.solve()
        if found is None:
            hour = f"hour {t} of {days.label[w]}"
            raise SolverError(f"no shedding or curtailment keeps the network secure in {hour}: reactive loads alone do")
        shed[:, t, w], curtailed[:, t, w] = found.x[:n], found.x[n:]
    value = np.maximum(days.wholesale, 0).reshape(1, hours, -1)
    cost = instance.rules.violation_price * shed.sum(axis=(0, 1)) + (value * curtailed).sum(axis=(0, 1))
    return Securing(shed, curtailed, cost)
