"""LinDistFlow: the linear model of a radial feeder inside the market clearing (Baran & Wu 1989a).

Signs: a net load is positive when the bus draws from the grid and negative when it feeds in; a line flow is positive
away from the slack bus. Arrays lead with the bus (N, slack first) or line (L = N - 1) axis; any further axes, such as
hours (T) and days (S), are carried along. Power is in kW and kvar, voltage in p.u.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tritier.errors import InputError
from tritier.inputs.instance import Feeder, quantity


@dataclass(frozen=True, eq=False)
class LinDistFlow:
    """The matrices of LinDistFlow on one feeder, built by :func:`~tritier.model.network.lindistflow`."""

    downstream: np.ndarray = quantity(r"A_{ln}", "-", "L,N", "1 where bus n is fed through line l, else 0")
    r_path: np.ndarray = quantity(
        r"R_{nm}", "p.u./kW", "N,N", "resistance shared by the paths from the slack to n and m"
    )
    x_path: np.ndarray = quantity(
        r"X_{nm}", "p.u./kvar", "N,N", "reactance shared by the paths from the slack to n and m"
    )
    v_slack: float = quantity(r"V_0", "p.u.", "1", "voltage held at the slack bus")
    charging: np.ndarray = quantity(r"Q^{\mathrm c}_n", "kvar", "N", "line charging at the buses, at nominal voltage")

    def flows(self, net_load: np.ndarray) -> np.ndarray:
        """Lossless line flows :eq:`eq-lindistflow-flow`: each line carries the net load downstream of it.

        ``net_load`` (N, ...) in kW gives active flows (L, ...) in kW; in kvar, reactive flows in kvar.
        """
        return np.tensordot(self.downstream, net_load, axes=1)

    def charged(self, q_kvar: np.ndarray) -> np.ndarray:
        """Reactive net loads (N, ...) in kvar less what the lines feed in at nominal voltage."""
        return q_kvar - self.charging.reshape(-1, *[1] * (np.ndim(q_kvar) - 1))

    def reactive_flows(self, q_kvar: np.ndarray) -> np.ndarray:
        """Reactive line flows (L, ...) in kvar from reactive net loads (N, ...), line charging included."""
        return self.flows(self.charged(q_kvar))

    def squared_voltages(self, p_kw: np.ndarray, q_kvar: np.ndarray) -> np.ndarray:
        """Squared voltages :eq:`eq-lindistflow-voltage` in p.u.^2, (N, ...), from net loads (N, ...) in kW and kvar."""
        drop = np.tensordot(self.r_path, p_kw, axes=1) + np.tensordot(self.x_path, self.charged(q_kvar), axes=1)
        return self.v_slack**2 - 2 * drop


def downstream_matrix(feeder: Feeder) -> np.ndarray:
    """Which bus hangs on which line: (L, N), 1 where the path from the slack to bus n uses line l, else 0."""
    used = np.zeros((feeder.parent.size, feeder.bus.size))
    for line, parent in enumerate(feeder.parent):
        used[:, line + 1] = used[:, parent]
        used[line, line + 1] = 1
    return used


def path_matrix(downstream: np.ndarray, impedance: np.ndarray) -> np.ndarray:
    """Impedance that the paths from the slack to two buses share, (N, N), :eq:`eq-path-matrix`.

    ``downstream`` (L, N) as in :func:`downstream_matrix`; ``impedance`` (L,), in any unit, sets the unit of the answer.
    """
    return downstream.T @ (impedance[:, None] * downstream)


def lindistflow(feeder: Feeder) -> LinDistFlow:
    """LinDistFlow matrices of a feeder, with impedances in p.u. per kW (Baran & Wu 1989a)."""
    used = downstream_matrix(feeder)
    r, x = feeder.r_ohm / feeder.z_base_ohm, feeder.x_ohm / feeder.z_base_ohm
    return LinDistFlow(used, path_matrix(used, r), path_matrix(used, x), feeder.v_slack, feeder.bus_charging_kvar)


def losses_kw(p_line: np.ndarray, q_line: np.ndarray, feeder: Feeder) -> np.ndarray:
    """Losses of the feeder :eq:`eq-losses` in kW, (...), at nominal voltage; convex in the flows.

    ``p_line`` and ``q_line``: line flows (L, ...) in kW and kvar, of either sign.
    """
    return np.tensordot(feeder.r_ohm / feeder.z_base_ohm, p_line**2 + q_line**2, axes=1)


def loss_gradient(p_line: np.ndarray, feeder: Feeder) -> np.ndarray:
    """Slope of the losses in each active line flow :eq:`eq-loss-gradient`, (L, ...), in kW per kW."""
    r = (feeder.r_ohm / feeder.z_base_ohm).reshape(-1, *[1] * (p_line.ndim - 1))
    return 2 * r * p_line


def active_limit_kw(rating_kva: np.ndarray, q_line: np.ndarray, number: np.ndarray | None = None) -> np.ndarray:
    """Active power a line can carry beside its reactive flow :eq:`eq-active-limit`, (L, ...) in kW; inf if unrated.

    ``rating_kva`` (L,), ``q_line`` (L, ...) in kvar, ``number`` (L,): of the lines, for errors. Raises InputError where
    the reactive flow alone exceeds a rating.
    """
    rating = np.asarray(rating_kva, dtype=float).reshape(-1, *[1] * (np.ndim(q_line) - 1))
    excess = np.abs(q_line) - rating
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    if excess[worst] > 0:
        reactive = abs(q_line[worst])
        raise InputError(
            "branch.csv",
            f"rating_a of line {worst[0] if number is None else number[worst[0]]}",
            f"the line carries {reactive:.1f} kvar, more than its rating of {reactive - excess[worst]:.1f} kVA",
            "raise its rating_a or lower q_kvar of the buses behind it",
        )
    return np.sqrt(rating**2 - np.asarray(q_line, dtype=float) ** 2)


def main_line(feeder: Feeder, start: int = 0) -> np.ndarray:
    """Bus positions of the main line from ``start`` on: at each fork, the branch with the longest path ahead."""
    n_bus = feeder.bus.size
    depth = np.zeros(n_bus, dtype=int)
    for line in reversed(range(n_bus - 1)):
        parent = feeder.parent[line]
        depth[parent] = max(depth[parent], depth[line + 1] + 1)
    path = [start]
    while depth[path[-1]]:
        children = np.flatnonzero(feeder.parent == path[-1]) + 1
        path.append(int(children[np.argmax(depth[children])]))
    return np.array(path)
