"""What moves the electrified gain? One value of ieee33-2045 at a time: python data/results/sensitivities/run.py

From the repository root; two processes share the values, of which one that is stored for the same data, menu and size
is left alone. What is solved and how it is judged stands in tritier/evaluation/variants.py, and stood there before any
result.
"""

from __future__ import annotations

from pathlib import Path

from tritier.evaluation.variants import SENSITIVITIES, renew_all

if __name__ == "__main__":
    renew_all(Path(__file__).resolve().parent, SENSITIVITIES)
