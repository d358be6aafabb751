"""The cases of the paper: what each one lets the market, the network and the DSO do, and what they know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from tritier.errors import InputError
from tritier.inputs.instance import DEFERRABLE, Days, Instance, Menu, quantity
from tritier.model.tariff import without_fixed_part


@dataclass(frozen=True)
class Case:
    """One case. ``policy`` is the headline recourse policy under which its days are judged."""

    number: int = quantity("-", "-", "1", "number")
    title: str = quantity("-", "-", "1", "title")
    assets: bool = quantity("-", "-", "1", "batteries and demand response")
    market: bool = quantity("-", "-", "1", "P2P market open")
    network: bool = quantity("-", "-", "1", "network seen in clearing")
    optimised: bool = quantity(
        "-", "-", "1", "tariffs and capacity limits optimised; otherwise the flat tariff at cost recovery"
    )
    scenarios: bool = quantity("-", "-", "1", "clears on scenarios with CVaR; otherwise on the forecast, risk neutral")
    policy: str = quantity("-", "-", "1", "headline recourse policy")

    @property
    def policies(self) -> tuple[str, ...]:
        """Recourse policies under which the case is judged; without limits on offer two of them are one."""
        return tuple(dict.fromkeys(("network-blind", self.policy, "hard-limit redispatch")))


CASES = {
    0: Case(0, "Passive", False, False, False, False, False, "network-blind"),
    1: Case(1, "Baseline", True, False, False, False, False, "network-blind"),
    2: Case(2, "P2P market", True, True, False, False, False, "network-blind"),
    3: Case(3, "Network-aware, forecast", True, True, True, True, False, "market policy"),
    4: Case(4, "Full model", True, True, True, True, True, "market policy"),
}


def find_case(number: int) -> Case:
    """A case by number. Raises InputError naming the choices."""
    if not isinstance(number, Integral) or number not in CASES:
        choices = ", ".join(map(str, CASES))
        raise InputError("--case", "case", f"there is no case {number!r}", f"choose one of {choices}")
    return CASES[number]


def without_assets(instance: Instance) -> Instance:
    """The instance without batteries and demand response, where no load waits (Case 0)."""
    none: dict[str, Any] = {"battery_kwh": 0.0, "battery_kw": 0.0} | {f"{kind}_delay_h": 0 for kind in DEFERRABLE}
    bare = tuple(replace(p, **none) for p in instance.prosumers)
    return replace(instance, prosumers=bare, rules=replace(instance.rules, flexibility=0.0))


def risk_neutral(instance: Instance) -> Instance:
    """The instance with every prosumer's CVaR weight at zero."""
    return replace(instance, prosumers=tuple(replace(p, beta=0.0) for p in instance.prosumers))


def without_limits(instance: Instance) -> Instance:
    """The instance whose DSO offers neither capacity limits nor charges on peaks."""
    return replace(instance, menu=Menu(instance.menu.tariff, instance.menu.p2p, ()))


def without_trade_by_scenario(instance: Instance) -> Instance:
    """The instance of a case without a market, whose trades are the same zero in all scenarios."""
    return replace(instance, rules=replace(instance.rules, trade="day_ahead"))


def equipped(instance: Instance, case: Case) -> Instance:
    """The instance with what a case has of assets and market."""
    seen = instance if case.assets else without_assets(instance)
    return seen if case.market else without_trade_by_scenario(seen)


def clearing_instance(instance: Instance, case: Case) -> Instance:
    """The instance that a case's market clears: its assets, its days and its attitude to risk."""
    seen = equipped(instance, case)
    if not case.scenarios:
        seen = risk_neutral(seen.forecast())
    return seen if case.optimised else without_fixed_part(without_limits(seen))


def judging_instance(instance: Instance, case: Case, days: Days) -> Instance:
    """The instance on which a case is judged: its assets on the given days, every day for itself, equally weighed."""
    return risk_neutral(equipped(instance, case).on(days))


def anchored_fixed_cost(anchor: float, energy: np.ndarray, network_cost: float) -> float:
    """Fixed network cost that a flat charge recovers in Case 1, $/day (:eq:`eq-fixed-cost`); 0 where it does not even
    recover losses and demand charge, which other charges than that one then have to.

    anchor: network charge, $/kWh; energy: billed kWh by block (B,); network_cost: losses and demand charge, $/day.
    """
    return max(0.0, float(anchor * energy.sum() - network_cost))
