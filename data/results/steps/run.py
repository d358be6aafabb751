"""What does what? Cases and single instruments at two ends of the map: python data/results/steps/run.py

From the repository root; two processes share the steps, of which one that is stored for the same data, menu and size is
left alone. What is solved and how it is judged stands in tritier/evaluation/variants.py, and stood there before any
result.
"""

from __future__ import annotations

from pathlib import Path

from tritier.evaluation.variants import ALL_STEPS, renew_all

if __name__ == "__main__":
    renew_all(Path(__file__).resolve().parent, ALL_STEPS)
