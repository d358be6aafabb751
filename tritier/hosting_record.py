"""The record's hosting-capacity highlights beside ours, each with a verdict and its reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tritier.hosting_stored import Sweeps

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE = "direction reproduced", "direction not reproduced", "not comparable"

LOADS = "only the sign is compared: our cost holds the energy of all loads, and the larger plan sells more"


@dataclass(frozen=True)
class Ours:
    """A figure of ours that is set beside a row of the record; ``comparable`` if its direction may be judged."""

    what: str
    value: float
    reason: str
    comparable: bool = True


def figures(plans: pd.DataFrame, sweeps: Sweeps) -> dict[str, Ours]:
    """Our figure for every row of the record, from stored plans at preset `paper` (rows by study, model, flexibility).

    Percentages that the record gives as pairs keep their pairs: both from the same two plans.
    """
    by = plans.set_index(["study", "model", "flexibility"])

    def change(column: str, of: tuple[str, str], against: tuple[str, str]) -> float:
        return float(100 * (by.loc[("ieee33", *of), column] / by.loc[("ieee33", *against), column] - 1))

    p2p, der, none = ("robust", "p2p"), ("robust", "der"), ("robust", "none")
    forecast = ("deterministic", "p2p")
    cost = sweeps.frontier[np.isclose(sweeps.frontier["share"], 1.0)].set_index("flexibility")["annual_cost_usd"]
    large = by.loc[["oberrhein1", "oberrhein2"]].xs(p2p, level=("model", "flexibility"))
    operating = "held_out_operating_cost_usd"
    return {
        "hc_gain_first": Ours(
            "P2P, batteries and DR against no flexibility, robust", change("hosted_kw", p2p, none),
            "only the sign is compared: what the record adds, and to what, is not stated",
        ),
        "hc_gain_second": Ours(
            "batteries and DR without P2P against no flexibility, robust", change("hosted_kw", der, none),
            "only the sign is compared: what the record adds, and to what, is not stated",
        ),
        "operating_cost_change_first": Ours(
            "operation of the same two plans, held-out days", change(operating, p2p, none),
            LOADS,
        ),
        "operating_cost_change_second": Ours(
            "operation of the same two plans, held-out days", change(operating, der, none),
            LOADS,
        ),
        "robust_hc_gain": Ours(
            "robust against forecast, P2P", change("hosted_kw", p2p, forecast),
            "robustness removes plans, so it cannot host more under the same limits; the record's gain needs another "
            "comparator",
        ),
        "robust_cost_change": Ours(
            "annual cost of robust against forecast, P2P", change("held_out_annual_cost_usd", p2p, forecast),
            "the two plans host different capacities, so the change is mostly investment that is not made", False,
        ),
        "hc_gain_third": Ours(
            "P2P against batteries and DR alone, robust", change("hosted_kw", p2p, der),
            "only the sign is compared; plans choose their sites freely, which leaves trade little to add",
        ),
        "cost_change_third": Ours(
            "least annual cost with P2P against none, the same capacity", float(100 * (cost["p2p"] / cost["none"] - 1)),
            "the same capacity, asked for with more freedom, cannot cost more; by how much is ours alone",
        ),
        "hosting_capacity": Ours(
            "mv_oberrhein, both feeders, robust, P2P", float(large["hosted_kw"].sum() / 1e3),
            "another network; the record's is not stated", False,
        ),
        "annual_cost": Ours(
            "the same plans, energy of all loads included", float(large["held_out_annual_cost_usd"].sum() / 1e6),
            "another network, prices and cost items; the record's are not stated", False,
        ),
    }  # fmt: skip


def verdict(ours: Ours, record: float, least: float = 0.005) -> str:
    """Verdict on one row: signs agree and ours is more than rounding, or they do not, or it cannot be said."""
    if not ours.comparable:
        return NOT_COMPARABLE
    return REPRODUCED if abs(ours.value) >= least and np.sign(ours.value) == np.sign(record) else NOT_REPRODUCED


def against_the_record(record: pd.DataFrame, ours: dict[str, Ours]) -> pd.DataFrame:
    """One row for each highlight of data/paper/hosting.csv: the record's figure, ours, verdict and reason."""
    rows = [
        {
            "id": row["id"],
            "quantity": row["quantity"],
            "unit": row["unit"],
            "record": float(row["value"]),
            "ours: what": ours[row["id"]].what,
            "ours": ours[row["id"]].value,
            "verdict": verdict(ours[row["id"]], float(row["value"])),
            "reason": ours[row["id"]].reason,
        }
        for _, row in record.iterrows()
    ]
    return pd.DataFrame(rows)
