"""What hosting capacity is computed for: sites, limits, representative days and their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tritier.instance import Feeder, quantity
from tritier.network import LinDistFlow
from tritier.uncertainty import UncertaintySet, budget_set

FLEXIBILITY = ("none", "der", "p2p")
#: Decisions of a dispatch, by site and hour: curtail, charge, discharge, stored energy, demand moved up and down.
BLOCKS = ("cu", "ch", "dis", "soc", "up", "dn")


@dataclass(frozen=True, eq=False)
class DayModel:
    """One representative day: its mean profiles and how they deviate with u (2 K: K rises, then K falls)."""

    label: str
    weight: float = quantity(r"n_d", "days/a", "1", "days of the year the day stands for")
    pv: np.ndarray = quantity(r"\bar a_{it}", "kW/kW", "I,T", "mean PV output per kW installed")
    wind: np.ndarray = quantity(r"\bar b_{it}", "kW/kW", "I,T", "mean wind output per kW installed")
    load: np.ndarray = quantity(r"\bar d_{nt}", "kW", "N,T", "mean active load by bus")
    reactive: np.ndarray = quantity(r"\bar q_{nt}", "kvar", "N,T", "mean reactive load by bus")
    wholesale: np.ndarray = quantity(r"\omega_t", "$/kWh", "T", "wholesale price")
    pv_shift: np.ndarray = quantity(r"\hat a_{kit}", "kW/kW", "2K,I,T", "change of PV output at u_k = 1")
    wind_shift: np.ndarray = quantity(r"\hat b_{kit}", "kW/kW", "2K,I,T", "change of wind output at u_k = 1")
    load_shift: np.ndarray = quantity(r"\hat d_{knt}", "kW", "2K,N,T", "change of active load at u_k = 1")
    reactive_shift: np.ndarray = quantity(r"\hat q_{knt}", "kvar", "2K,N,T", "change of reactive load at u_k = 1")
    uncertainty: UncertaintySet = quantity(r"\mathcal{U}_d", "-", "1", "budgeted set of u")

    def at(self, u: np.ndarray) -> DayModel:
        """The day as it turns out at u: a day without uncertainty."""

        def shifted(mean: np.ndarray, shift: np.ndarray) -> np.ndarray:
            return mean + np.tensordot(u, shift, axes=1)

        return certain_day(
            self.label,
            self.weight,
            shifted(self.pv, self.pv_shift),
            shifted(self.wind, self.wind_shift),
            shifted(self.load, self.load_shift),
            shifted(self.reactive, self.reactive_shift),
            self.wholesale,
        )


def certain_day(label, weight, pv, wind, load, reactive, wholesale) -> DayModel:
    """A day that is known: no factors, a set of one point."""
    none = UncertaintySet(0, np.zeros((0, 0)), np.zeros(0), True)
    shifts = [np.zeros((0, *x.shape)) for x in (pv, wind, load, reactive)]
    return DayModel(label, weight, pv, wind, load, reactive, wholesale, *shifts, none)


@dataclass(frozen=True, eq=False)
class HostingCase:
    """A feeder with its sites, rules and representative days."""

    feeder: Feeder
    grid: LinDistFlow
    site: np.ndarray = quantity(r"n(i)", "-", "I", "bus positions of the sites")
    pv_limit: np.ndarray = quantity(r"\overline{R}^{\mathrm{pv}}_i", "kW", "I", "PV a site has room for")
    wind_limit: np.ndarray = quantity(r"\overline{R}^{\mathrm w}_i", "kW", "I", "wind power a site has room for")
    battery_low: np.ndarray = quantity(r"\underline{E}_i", "kWh", "I", "smallest battery")
    battery_high: np.ndarray = quantity(r"\overline{E}_i", "kWh", "I", "largest battery")
    battery_hours: float = quantity(r"h^{\mathrm b}", "h", "1", "battery energy over power")
    eta: float = quantity(r"\eta", "-", "1", "one-way battery efficiency")
    degradation: float = quantity(r"c^{\mathrm{deg}}", "$/kWh", "1", "wear per kWh charged and per kWh discharged")
    flexible: float = quantity(r"\varphi", "-", "1", "share of a site's demand that can move within the day")
    shift_cost: float = quantity(r"c^{\mathrm{dr}}", "$/kWh", "1", "cost of moving one kWh of demand")
    curtail_share: float = quantity(r"\sigma", "-", "1", "largest share of a day's renewable energy curtailed")
    groups: np.ndarray = quantity(r"A_{gi}", "-", "G,I", "1 where site i trades in group g")
    v_low: np.ndarray = quantity(r"\underline{V}_n", "p.u.", "N", "lowest voltage, margin included")
    v_high: np.ndarray = quantity(r"\overline{V}_n", "p.u.", "N", "highest voltage")
    substation_kva: float = quantity(r"\overline{S}_0", "kVA", "1", "rating of the substation transformer; inf: none")
    annuity: np.ndarray = quantity(r"c^{\mathrm{inv}}", "$/a", "3", "annuity of 1 kW PV, 1 kW wind, 1 kWh battery")
    penalty: float = quantity(r"\rho", "kW/kW", "1", "hosted capacity given up for 1 kW (1 kWh) of violated limit")
    days: tuple[DayModel, ...]

    @property
    def n_sites(self) -> int:
        return self.site.size

    @property
    def n_hours(self) -> int:
        return self.days[0].load.shape[1]


def with_budget(case: HostingCase, budget) -> HostingCase:
    """The case with ``budget(day)`` factors allowed to deviate at once on each representative day."""
    days = (replace(d, uncertainty=budget_set(d.uncertainty.pairs, budget(d))) for d in case.days)
    return replace(case, days=tuple(days))


def trading_groups(flexibility: str, n_sites: int) -> np.ndarray:
    """Who may use whose surplus :eq:`eq-hosting-groups`, (G, I): each site for itself, or with P2P all as one group."""
    return np.ones((1, n_sites)) if flexibility == "p2p" else np.eye(n_sites)
