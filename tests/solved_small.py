"""The small study with so much sun that its feeder is congested, solved through the command line."""

from __future__ import annotations

from pathlib import Path

from small_study import replace_text, write_study

from tritier.cli import main

CONGESTED = {  # every kind of decision occurs: trade, storage, curtailment, priced blocks with quantiles, excess costs
    "n_scenarios": 6,
    "renewables.pv_scale": 8,
    "risk.alpha": 0.6,
    "chance_level": 0.5,
    "demand_charge_usd_per_kw": 0.1,
    "menus.smoke.p2p": [0.02, 0.04],
}


def congested_study(folder: Path) -> Path:
    """The small study behind a head line of 8 A, 139 kVA."""
    write_study(folder)
    replace_text(folder / "branch.csv", "1,1,2,0.1,0.05,1,20", "1,1,2,0.1,0.05,1,8")
    return folder


def words(study: Path, case: int, out: Path, changes: dict[str, object], preset: str = "smoke") -> list[str]:
    """The command line that solves a case."""
    pairs = [w for key, value in changes.items() for w in ("--set", f"{key}={value}")]
    return ["solve", str(study), "--case", str(case), "--preset", preset, *pairs, "--out", str(out)]


def solve(study: Path, case: int, out: Path, changes: dict[str, object], preset: str = "smoke") -> Path:
    """Solve a case; the folder of its result."""
    assert main(words(study, case, out, changes, preset)) == 0
    return out
