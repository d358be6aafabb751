"""Where does coordination pay? Cases 1, 2 and 4 over electrification and price regime: python data/results/map/run.py

From the repository root; two processes share the settings, of which one that is stored for the same data, menu and size
is left alone. What is solved and how it is judged stands in tritier/evaluation/sweeps.py, and stood there before any
result. Scenarios are fewer (8, not 12) and the menu is shorter than preset fast has them, so that a setting takes minutes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import joblib

from tritier.cases.solve import prepare
from tritier.errors import CertificateError, InputError, NoRecoveryError, SolverError
from tritier.evaluation.sweeps import (
    MAP_PRESET,
    MAP_STUDY,
    SETTINGS,
    Setting,
    inputs_hash,
    keep_setting,
    map_answer,
    map_days,
    setting_is_kept,
)
from tritier.inputs.study import read_study

HERE = Path(__file__).resolve().parent


def renew(setting: Setting, data: str) -> str:
    """Solve, judge and store a setting that is not stored yet; returns what went wrong, so that the others go on."""
    if setting_is_kept(HERE, setting, data):
        return ""
    begin = time.perf_counter()
    print(f"{setting.name} begins", flush=True)
    try:
        daily, about = map_days(prepare(MAP_STUDY, MAP_PRESET, setting.changes))
    except (InputError, CertificateError, SolverError, NoRecoveryError) as error:
        print(f"{setting.name}: {error}", flush=True)
        return f"{setting.name}: {error}"
    keep_setting(HERE, setting, data, daily, about)
    print(f"{setting.name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return ""


def main() -> None:
    data = inputs_hash(read_study(MAP_STUDY))
    tasks = (joblib.delayed(renew)(setting, data) for setting in SETTINGS)
    failures = [text for text in joblib.Parallel(n_jobs=2, batch_size=1, pre_dispatch=2)(tasks) if text]
    if failures:
        sys.exit("\n".join(failures))
    (HERE.parent / "map.md").write_text(map_answer(HERE))


if __name__ == "__main__":
    main()
