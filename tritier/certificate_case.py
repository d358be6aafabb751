"""All certificates of a solved case, from what is stored of it: decisions, judged days and bounds."""

from __future__ import annotations

from dataclasses import dataclass

from tritier import certificate as cert
from tritier.cases import Case
from tritier.decisions import Decisions, point_of
from tritier.dso import on_menu, revenue_slack
from tritier.flat import flat_tariff
from tritier.instance import Instance
from tritier.joint import JointLP
from tritier.outcome import settlement_of
from tritier.recourse import DayDecisions, check_days
from tritier.settlement import imbalance

FLAT_AGREES = 1e-6  # $/kWh: a stored flat tariff against the root found again


@dataclass(frozen=True, eq=False)
class DesignProof:
    """Bounds on the social cost of the best design, $, and how they were proved."""

    lower_bound: float
    upper_bound: float
    flat: float
    first_best: float
    menu_points: int
    lp_solves: int
    proof: str

    @property
    def gap_usd(self) -> float:
        return max(0.0, self.upper_bound - self.lower_bound)

    @property
    def gap(self) -> float:
        """Share of the achievable gain between the flat tariff and the first best (:eq:`eq-gap`)."""
        gain = self.flat - self.first_best
        return 0.0 if self.gap_usd == 0 else (self.gap_usd / gain if gain > 0 else float("inf"))

    @property
    def gap_relative(self) -> float:
        return self.gap_usd / max(1e-9, abs(self.upper_bound))


def recheck(
    case: Case,
    clearing: Instance,
    decisions: Decisions,
    days: DayDecisions,
    design: DesignProof | None,
) -> dict[str, dict[str, object]]:
    """All certificates of a case's decisions and judged days; raises CertificateError at the first that fails."""
    joint = cert.stored_lp(clearing, decisions, case.market, case.network)
    cert.check_arrays(joint, decisions)
    follower = cert.follower_residuals(joint, decisions)
    cert.check_follower(follower)
    if case.network:
        cert.require("network.worst_cvar_kw", cert.worst_violation(joint, decisions), cert.VIOLATED_KW)
    balance = cert.equilibrium(clearing, decisions, joint, case.market)
    cert.check_equilibrium(balance, [p.name for p in clearing.prosumers])
    slack = revenue_slack(
        clearing, decisions.design, decisions["G"], float(decisions["Z"]), network_cost(joint, decisions)
    )
    cert.require("revenue.shortfall_usd", -slack, 1e-4)
    money = imbalance(settlement_of(days, decisions), clearing.fixed_cost)
    cert.require("money.imbalance_usd", money, 1e-6 * max(1.0, abs(float(decisions["theta"]))))
    check_design(case, joint, decisions)
    judged = check_days(days, decisions)
    cert.require("days.primal", judged.primal, cert.RESIDUAL)
    cert.require("days.suboptimality", abs(judged.suboptimality), cert.RESIDUAL)
    cert.require("days.prices", judged.prices, 1e-5)
    out: dict[str, dict[str, object]] = {
        "equilibrium": {
            "max_relative_gain": float(balance.relative_gain.max()),
            "prosumer_gain_usd": balance.prosumer_gain.tolist(),
            "platform_gain_usd": balance.platform_gain,
        },
        "follower": {
            "primal": follower.primal,
            "dual": follower.dual,
            "complementarity": follower.complementarity,
            "duality_gap": follower.duality_gap,
            "slack_kwh": follower.slack,
        },
        "money": {"imbalance_usd": money},
        "revenue": {"slack_usd": slack, "fixed_cost_usd": clearing.fixed_cost},
    }
    if design is not None:
        social = float(point_of(joint, decisions)[joint.lp.at("F")])
        cert.require("design.upper_bound", abs(design.upper_bound - social), 1e-4, f"{social:.6f} is found")
        out["design"] = {
            "lower_bound": design.lower_bound,
            "upper_bound": design.upper_bound,
            "gap": design.gap,
            "gap_usd": design.gap_usd,
            "gap_relative": design.gap_relative,
            "flat": design.flat,
            "first_best": design.first_best,
            "proof": design.proof,
            "menu_points": design.menu_points,
            "lp_solves": design.lp_solves,
        }
    return out


def network_cost(joint: JointLP, decisions: Decisions) -> float:
    """Losses and demand charge of stored decisions, $/day (:eq:`eq-network-cost`)."""
    return float(point_of(joint, decisions)[joint.lp.at("N")])


def check_design(case: Case, joint: JointLP, decisions: Decisions) -> None:
    """Tariffs are menu points, or the smallest flat root; raises CertificateError."""
    if case.optimised:
        cert.require("design.off_menu", 0.0 if on_menu(joint.instance.menu, decisions.design) else 1.0, 0.0)
        return
    again = flat_tariff(JointLP(joint.instance, case.market, case.network))
    off = max(abs(t - again.design.tariff[0]) for t in (*decisions.design.tariff, decisions.design.p2p))
    cert.require("design.flat_tariff", off, FLAT_AGREES, "not the smallest flat tariff at cost recovery")
