"""Findings as tables to be read: certificates, headline figures, the grid of policies, changes and expectations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tritier.cases.certificate import COMPLEMENTARITY, GAIN, RESIDUAL
from tritier.evaluation.findings import headline, mean_interval, paired_changes, share_interval

HEADLINES = (
    ("welfare_usd", "welfare", "$/day", 1),
    ("social_cost_usd", "social cost", "$/day", 1),
    ("prosumer_cost_usd", "prosumer cost", "$/day", 1),
    ("prosumer_cost_after_refund_usd", "prosumer cost after refund", "$/day", 1),
    ("prosumer_cvar_usd", "CVaR of prosumer cost over scenarios", "$/day", 1),
    ("ac_losses_kwh", "losses (AC)", "kWh/day", 1),
    ("peak_kw", "peak of the feeder head", "kW", 1),
    ("p2p_kwh", "P2P volume", "kWh/day", 1),
    ("curtailed_kwh", "curtailed", "kWh/day", 1),
    ("dso_revenue_usd", "revenue of the DSO", "$/day", 1),
    ("dso_surplus_usd", "surplus of the DSO, refunded", "$/day", 1),
    ("congestion_rent_usd", "congestion rent, refunded", "$/day", 1),
    ("violation_share_ac", "bus-hours outside the band (AC)", "%", 100),
)
COMPARED = (
    ("welfare_usd", "welfare", "$/day", 1),
    ("prosumer_cost_usd", "prosumer cost", "$/day", 1),
    ("prosumer_cost_after_refund_usd", "prosumer cost after refund", "$/day", 1),
    ("ac_losses_kwh", "losses (AC)", "kWh/day", 1),
    ("peak_kw", "peak of the feeder head", "kW", 1),
    ("p2p_kwh", "P2P volume", "kWh/day", 1),
    ("curtailed_kwh", "curtailed", "kWh/day", 1),
    ("ac_violation_share", "bus-hours outside the band", "%", 100),
)
QUANTITIES = {key: text for key, text, *_ in COMPARED}


def certificate_table(certificate: Mapping[str, Mapping[str, object]]) -> pd.DataFrame:
    """The figures of a certificate that must be zero, or nearly so, each with what it may be at most."""
    parts = {name: dict(part) for name, part in certificate.items()}
    rows = [
        (
            "largest gain of a prosumer from deviating",
            "share of its cost",
            parts["equilibrium"]["max_relative_gain"],
            GAIN,
        ),
        ("gain of the platform from deviating", "$/day", parts["equilibrium"]["platform_gain_usd"], None),
        ("rows and bounds of the follower", "kW or $", parts["follower"]["primal"], RESIDUAL),
        ("reduced costs of the follower", "$/kWh", parts["follower"]["dual"], RESIDUAL),
        ("complementarity of the follower", "$", parts["follower"]["complementarity"], COMPLEMENTARITY),
        ("duality gap of the follower", "relative", abs(parts["follower"]["duality_gap"]), RESIDUAL),
        ("violations bought at the declared price", "kWh/day", parts["follower"]["slack_kwh"], RESIDUAL),
        ("money that appears or vanishes", "$/day", parts["money"]["imbalance_usd"], None),
        ("revenue missing for cost recovery", "$/day", max(0.0, -parts["revenue"]["slack_usd"]), 1e-4),
    ]
    table = pd.DataFrame(rows, columns=["figure", "unit", "found", "at most"])
    return table.assign(
        **{c: ["–" if pd.isna(x) else f"{x:.1e}" if x else "0" for x in table[c]] for c in table.columns[2:]}
    )


def design_table(design: Mapping[str, object]) -> pd.DataFrame:
    """Bounds on the best design of the menu, and what could be gained at most, from a certificate's part ``design``."""
    flat, first, low, high = (float(design[k]) for k in ("flat", "first_best", "lower_bound", "upper_bound"))
    rows = [
        ("social cost of the flat tariff", "$/day", f"{flat:,.2f}"),
        ("social cost of the design found", "$/day", f"{high:,.2f}"),
        ("lower bound of all designs of the menu", "$/day", f"{low:,.2f}"),
        ("first best, without incentives", "$/day", f"{first:,.2f}"),
        ("gain of the design", "% of what is achievable", f"{100 * (flat - high) / (flat - first):.1f}"),
        ("gap", "% of what is achievable", f"{100 * float(design['gap']):.2f}"),
        ("gap", "$/day", f"{float(design['gap_usd']):,.2f}"),
        ("gap", "% of social cost", f"{100 * float(design['gap_relative']):.3f}"),
        ("proof", "", str(design["proof"])),
        ("points of the menu", "", f"{int(design['menu_points']):,}"),
        ("LP solves", "", f"{int(design['lp_solves']):,}"),
    ]
    return pd.DataFrame(rows, columns=["figure", "unit", "value"])


def choice_table(menu, design, flat: float) -> pd.DataFrame:
    """What the DSO chose, from which menu, beside the flat tariff in $/kWh."""
    blocks = ("off-peak", "day", "peak")[: len(menu.tariff)]
    rows = [
        (f"import tariff, {name}", "$/kWh", ", ".join(f"{x:g}" for x in levels), f"{chosen:g}", f"{flat:.4f}")
        for name, levels, chosen in zip(blocks, menu.tariff, design.tariff, strict=True)
    ]
    rows.append(("P2P charge", "$/kWh", ", ".join(f"{x:g}" for x in menu.p2p), f"{design.p2p:g}", "–"))
    limits = dict(design.capacity)
    for line, levels in menu.capacity:
        offered = ", ".join("none" if x == max(levels) else f"{x:,.0f}" for x in levels)
        chosen = "none" if limits[line] == max(levels) else f"{limits[line]:,.0f}"
        rows.append((f"limit of line {line}", "kW", offered, chosen, "none"))
    return pd.DataFrame(rows, columns=["decision", "unit", "menu", "chosen", "Case 1"])


def headline_table(summary: Mapping[str, object]) -> pd.DataFrame:
    """The headline figures of a case, expected over its design scenarios."""
    rows = [(text, unit, round(factor * float(summary[key]), 6) + 0.0) for key, text, unit, factor in HEADLINES]
    return pd.DataFrame(rows, columns=["figure", "unit", "value"])


def policy_tables(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A :func:`~tritier.evaluation.findings.grid` for display: physics, economics; ``*`` marks headline policies."""
    name = table["policy"] + np.where(table["headline"], " *", "")
    first = {"case": table["case"], "policy": name}
    upper = [f"{r.days_hit} of {r.days} (≤ {100 * r.day_high:.1f} %)" for r in table.itertuples()]
    physics = first | {
        "days with a violation": upper,
        "bus-hours, mean [%]": spread(table, "ac_violation_share", ".3f", 100),
        "largest bus-hour [%]": [f"{100 * x:.1f}" for x in table["largest_share"]],
        "depth [0.001 p.u.]": [f"{1e3 * x:.1f}" for x in table["depth_pu"]],
    }
    money = first | {
        "AC losses [kWh]": spread(table, "ac_losses_kwh", ",.0f"),
        "prosumer cost [$]": spread(table, "prosumer_cost_usd", ",.0f"),
        "welfare [$]": spread(table, "welfare_usd", ",.0f"),
    }
    return pd.DataFrame(physics), pd.DataFrame(money)


def unseen_tables(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Headline policies of :func:`tritier.evaluation.unseen.rows_of` for display: physics, then economics."""
    own = table[table["headline"]]
    first = {"days": own["set"], "case": own["case"]}
    hits = zip(own["days_hit"], own["days"], own["day_high"], strict=True)
    physics = first | {
        "days with a violation": [
            f"{k} of {n}" + ("" if np.isnan(high) else f" (≤ {100 * high:.1f} %)") for k, n, high in hits
        ],
        "bus-hours: promised [%]": (100 * own["promised_share"]).round(3),
        "in LinDistFlow [%]": (100 * own["lindistflow_share"]).round(3),
        "in AC [%]": (100 * own["ac_share"]).round(3),
        "overloaded line-hours [%]": (100 * own["ac_overload_share"]).round(3),
        "AC losses [kWh]": spread(own, "ac_losses_kwh", ",.0f"),
    }
    change = own[["welfare_change", "welfare_change_low", "welfare_change_high"]].to_numpy()
    money = first | {
        "prosumer cost [$]": spread(own, "prosumer_cost_usd", ",.0f"),
        "its CVaR over days [$]": [f"{x:,.0f}" for x in own["prosumer_cost_cvar_usd"]],
        "welfare [$]": spread(own, "welfare_usd", ",.0f"),
        "welfare against Case 1 [$/day]": [
            "–" if np.isnan(x) else f"{x:+.1f}" + ("" if np.isnan(low) else f" ({low:+.1f} to {high:+.1f})")
            for x, low, high in change
        ],
    }
    return pd.DataFrame(physics), pd.DataFrame(money)


def spread(table: pd.DataFrame, column: str, form: str, factor: float = 1.0) -> list[str]:
    """Mean and half-width of its interval as text."""
    pairs = zip(factor * table[column], factor * table[f"{column}_half"], strict=True)
    return [f"{x:{form}}" + (f" ± {h:{form}}" if h and not np.isnan(h) else "") for x, h in pairs]


def change_table(daily: pd.DataFrame, case: int, base: int = 1) -> pd.DataFrame:
    """A case beside a base case on the same held-out days, headline policies: means, change and its interval."""
    pair = daily[daily["case"].isin((base, case))]
    change = paired_changes(pair, [key for key, *_ in COMPARED], base).set_index("quantity")
    rows = []
    for key, text, unit, factor in COMPARED:
        step = factor * change.loc[key, ["change", "low", "high", "base"]].astype(float)
        percent = f"{100 * step.change / step.base:+.1f}" if step.base > 0 else "–"
        between = f"{step.low:+,.4g} to {step.high:+,.4g}"
        rows.append((text, unit, step.base, step.base + step.change, step.change, between, percent))
    columns = ["figure", "unit", f"Case {base}", f"Case {case}", "change", "95 % interval", "change [%]"]
    return pd.DataFrame(rows, columns=columns)


def expected_beside(expected: pd.DataFrame, daily: pd.DataFrame, case: int) -> pd.DataFrame:
    """Design-time expectations of a case (data/paper/expected.csv) beside what its held-out days give."""
    rows = []
    own = headline(daily[daily["case"] == case])
    for row in expected[expected["case"] == case].itertuples():
        if row.quantity == "days":
            hits = int((own["ac_violation_share"] > 0).sum())
            found = 100 * np.array(share_interval(hits, len(own)))
        elif row.unit.endswith("against Case 1"):
            step = paired_changes(daily[daily["case"].isin((1, case))], [row.quantity]).iloc[0]
            found = step[["change", "low", "high"]].to_numpy(dtype=float)
            found = 100 * found / step["base"] if row.unit.startswith("%") else found
        else:
            found = (100 if row.unit.startswith("%") else 1) * np.array(mean_interval(own[row.quantity]))
            found[1] = max(0.0, found[1])  # shares, costs and powers of these tables are not negative
        name = "days with a violation" if row.quantity == "days" else QUANTITIES[row.quantity]
        rows.append((name, row.unit, row.value, found[0], f"{found[1]:,.4g} to {found[2]:,.4g}"))
    return pd.DataFrame(rows, columns=["figure", "unit", "design-time expectation", "found", "95 % interval"])
