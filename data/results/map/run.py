"""Where does coordination pay? Cases 1, 2 and 4 over electrification and price regime: python data/results/map/run.py

From the repository root; two processes share the settings, of which one that is stored for the same data, menu and size
is left alone. What is solved and how it is judged stands in tritier/evaluation/variants.py, and stood there before any
result. Scenarios are fewer (8, not 12) and the menu is shorter than preset fast has them, so that a setting takes
minutes.
"""

from __future__ import annotations

from pathlib import Path

from tritier.evaluation.variants import SETTINGS, map_answer, renew_all

HERE = Path(__file__).resolve().parent


def main() -> None:
    renew_all(HERE, SETTINGS)
    (HERE.parent / "map.md").write_text(map_answer(HERE))


if __name__ == "__main__":
    main()
