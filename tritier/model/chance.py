"""Chance blocks of the platform: one CVaR row per bus-hour side and per line-hour.

A block bounds CVaR_{1-eps} of a violation over the scenarios. Every violation is a maximum of affine functions of the
net loads, in kW: of the line's flow, or of the injection at the bus itself that would mend its voltage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tritier.inputs.instance import Feeder, Instance
from tritier.model.network import LinDistFlow, active_limit_kw, lindistflow
from tritier.model.risk import sample_cvar

KINDS = ("voltage_low", "voltage_high", "rating", "capacity")
VIOLATED_KW = 1e-6  # violation, in kW at the bus or line itself, that counts as none


@dataclass(frozen=True, order=True)
class Block:
    """One chance block: its kind, its place (bus or line position) and its hour."""

    kind: str
    place: int
    hour: int

    @property
    def label(self) -> str:
        return f"{self.kind}[{self.place},{self.hour}]"


@dataclass(frozen=True, eq=False)
class BlockForm:
    """A block as affine functions of the net loads p of its hour: violation_w = max_k gradient_k . p_w - limit_kw -
    cap.

    ``gradient`` (K, N); ``limit`` (K, S) in kW; ``capacity`` is the line position whose offered limit is subtracted,
    or None.
    """

    gradient: np.ndarray
    limit: np.ndarray
    capacity: int | None

    def offered(self, limits: Mapping[int, float]) -> float:
        """Of limits by line position, kW, the one that is subtracted; 0 where none is."""
        return 0.0 if self.capacity is None else limits.get(self.capacity, 0.0)


class Network:
    """What the platform knows of the network on given days: matrices, reactive flows and limits."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.feeder: Feeder = instance.feeder
        self.matrices: LinDistFlow = lindistflow(instance.feeder)
        self.reactive_flow = self.matrices.reactive_flows(instance.days.reactive_kvar)  # (L, T, S), kvar
        # LinDistFlow never reads a voltage too low, so only the lower limit needs the margin.
        self.v2_low = (self.feeder.v_min + instance.rules.voltage_margin) ** 2
        self.v2_high = self.feeder.v_max**2

    @cached_property
    def active_limit(self) -> np.ndarray:
        """sqrt(rating^2 - Q^2), kW, (L, T, S)."""
        return active_limit_kw(self.feeder.rating_kva, self.reactive_flow, self.feeder.line)

    @cached_property
    def mend(self) -> np.ndarray:
        """Squared voltage per kW injected at the bus itself, p.u.^2/kW, (N,); 1 at the slack, which has no block."""
        own = 2 * np.diag(self.matrices.r_path)
        return np.where(own > 0, own, 1.0)

    @cached_property
    def reactive_drop(self) -> np.ndarray:
        """Squared voltage lost to the fixed reactive loads, p.u.^2, (N, T, S)."""
        return 2 * np.tensordot(self.matrices.x_path, self.matrices.charged(self.instance.days.reactive_kvar), axes=1)

    def form(self, block: Block) -> BlockForm:
        """The affine functions of one block (:eq:`eq-block-forms`)."""
        n, t = block.place, block.hour
        if block.kind.startswith("voltage"):
            fall = 2 * self.matrices.r_path[n] / self.mend[n]
            head = (self.feeder.v_slack**2 - self.reactive_drop[n, t]) / self.mend[n]
            if block.kind == "voltage_low":
                return BlockForm(fall[None], (head - self.v2_low[n] / self.mend[n])[None], None)
            return BlockForm(-fall[None], (self.v2_high[n] / self.mend[n] - head)[None], None)
        both = np.vstack([self.matrices.downstream[n], -self.matrices.downstream[n]])
        if block.kind == "rating":
            return BlockForm(both, np.tile(self.active_limit[n, t], (2, 1)), None)
        return BlockForm(both, np.zeros((2, self.instance.days.n_days)), n)

    def violations(self, net_load: np.ndarray, capacity: dict[int, float]) -> dict[str, np.ndarray]:
        """Violations of all blocks, kW, by kind: (N, T, S) for voltages, (L, T, S) for ratings, (C, T, S) for
        capacities.

        ``net_load`` (N, T, S) in kW; ``capacity`` maps line positions to the limits to check against, kW.
        """
        flow = self.matrices.flows(net_load)
        v2 = self.matrices.squared_voltages(net_load, self.instance.days.reactive_kvar)
        mend = self.mend[:, None, None]
        low, high = (self.v2_low[:, None, None] - v2) / mend, (v2 - self.v2_high[:, None, None]) / mend
        low[0] = high[0] = -np.inf  # the slack bus holds its voltage
        lines = sorted(capacity)
        offered = np.array([capacity[line] for line in lines])
        return {
            "voltage_low": low,
            "voltage_high": high,
            "rating": np.abs(flow) - self.active_limit,
            "capacity": np.abs(flow[lines]) - offered[:, None, None],
        }

    def block_risks(
        self, net_load: np.ndarray, capacity: dict[int, float], above: float = -np.inf
    ) -> list[tuple[float, Block]]:
        """CVaR_{1-eps} of the violation of every block, kW, with its block, worst first (:eq:`eq-chance`).

        Only blocks whose risk exceeds ``above`` are listed.
        """
        lines = sorted(capacity)
        p, confidence = self.instance.days.probability, 1 - self.instance.rules.chance_level
        risks = []
        for kind, violation in self.violations(net_load, capacity).items():
            rated = np.isfinite(violation).all(axis=-1)
            risk = np.where(rated, sample_cvar(np.where(rated[..., None], violation, 0.0), p, confidence), -np.inf)
            for place, hour in np.argwhere(risk > above).tolist():
                where = lines[place] if kind == "capacity" else place
                risks.append((float(risk[place, hour]), Block(kind, where, hour)))
        return sorted(risks, key=lambda item: -item[0])

    def required_capacity(self, net_load: np.ndarray, line: int) -> float:
        """Smallest limit of a line that its flows respect, kW: max over hours of CVaR_{1-eps} of the absolute flow.

        Rounded up by 1e-9 relative.
        """
        flow = np.abs(np.tensordot(self.matrices.downstream[line], net_load, axes=1))
        days = self.instance.days
        need = float(sample_cvar(flow, days.probability, 1 - self.instance.rules.chance_level).max())
        return need * (1 + 1e-9)


def net_load(instance: Instance, injection: np.ndarray) -> np.ndarray:
    """Net load of every bus, kW, (N, T, S), from the prosumers' net injections (I, T, S) (:eq:`eq-net-load`)."""
    load = instance.days.passive_kw.copy()
    np.subtract.at(load, instance.prosumer_bus, injection)
    return load
