"""Write sweeps.csv and sweeps.json: every sweep with 14 prosumers and 12 scenarios.

`python data/results/sweeps.py [JOBS]` from the repository root: about half an hour on one free core. Finished points
are kept in results/sweeps, from where a run that was cut off goes on.
"""

import sys
from pathlib import Path

from tritier.cases.solve import inputs_hash
from tritier.evaluation.sweeps import STORED, STUDY, Bench, plan, run_sweep, write_stored
from tritier.inputs.study import read_study

HERE = Path(__file__).resolve().parent


def main() -> None:
    study = read_study(STUDY)
    scale = study.settings.load.scale
    bench = Bench(Path.cwd(), Path("results") / "sweeps")
    rows = run_sweep(bench, plan(STORED, scale), int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    write_stored(HERE, rows, STORED, inputs_hash(study), scale)


if __name__ == "__main__":
    main()
