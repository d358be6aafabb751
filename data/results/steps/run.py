"""What does what? Cases and single instruments at two ends of the map: python data/results/steps/run.py

From the repository root; two processes share the steps, of which one that is stored for the same data, menu and size is
left alone. What is solved and how it is judged stands in tritier/evaluation/sweeps.py, and stood there before any
result.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import joblib

from tritier.cases.solve import prepare
from tritier.errors import CertificateError, InputError, NoRecoveryError, SolverError
from tritier.evaluation.sweeps import (
    ALL_STEPS,
    MAP_PRESET,
    MAP_STUDY,
    Step,
    inputs_hash,
    keep_setting,
    map_days,
    setting_is_kept,
)
from tritier.inputs.study import read_study

HERE = Path(__file__).resolve().parent


def renew(step: Step, data: str) -> str:
    """Solve, judge and store a step that is not stored yet; returns what went wrong, so that the others go on."""
    if setting_is_kept(HERE, step, data):
        return ""
    begin = time.perf_counter()
    try:
        daily, about = map_days(prepare(MAP_STUDY, MAP_PRESET, step.changes), step.cases)
    except (InputError, CertificateError, SolverError, NoRecoveryError) as error:
        print(f"{step.name}: {error}", flush=True)
        return f"{step.name}: {error}"
    keep_setting(HERE, step, data, daily, about)
    print(f"{step.name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return ""


def main() -> None:
    data = inputs_hash(read_study(MAP_STUDY))
    tasks = (joblib.delayed(renew)(step, data) for step in ALL_STEPS)
    failures = [text for text in joblib.Parallel(n_jobs=2, batch_size=1, pre_dispatch=2)(tasks) if text]
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
