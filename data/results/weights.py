"""What an answer with more weight on social cost proves of tighter limits: `python data/results/weights.py`.

An answer minimises J + iota F. Whatever a design leaves the follower, if that costs it at most delta more than its
optimum at the largest limits, F is at least what the answer's dual value less delta leaves, divided by iota. At the
tariff of the best design of `open.json` and its largest limits, `weights.csv` gets for each iota: F and the follower's
loss at the response, the bound on F where limits cost nothing, and the largest delta at which the bound still excludes
what is better than that design by the preset's gap; beside it how many of the answers of `open.csv` to
tighter limits at that tariff cost the follower no more than that. `weights.json` says by what it was made. A few
minutes.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
from tritier.inputs.documents import read_json
from tritier.inputs.instance import Design
from tritier.provenance import DATA, commit, versions, write_csv, write_json
from tritier.reformulation.joint import JointLP
from tritier.search.cuts import EPSILON, Request, Row, solve_request

HERE = Path(__file__).resolve().parent
WEIGHTS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
LIMIT = "limit_{}_kw"


def tight_answers(joint: JointLP, answers: pd.DataFrame) -> tuple[Design, pd.Series]:
    """The best tariff of the answers at the largest limits, and what tighter limits cost its follower, $."""
    prices, limits = answers.columns[:6], answers[[LIMIT.format(line) for line in joint.lines]]
    loose = (limits == limits.max()).all(axis=1)
    best = answers.loc[answers["social_cost_usd"].idxmin()]
    own = (answers[prices] == best[prices]).all(axis=1)
    largest = tuple((line, float(limits[LIMIT.format(line)].max())) for line in joint.lines)
    design = Design.of(best[prices].tolist(), largest)
    return design, answers[own & ~loose]["follower_usd"] - answers[own & loose]["follower_usd"].iloc[0]


def row_of(row: Row, value: float, target: float, losses: pd.Series) -> dict[str, float]:
    """What an answer proves where limits cost the follower nothing, and up to which loss it excludes a target, $."""
    iota = row.request.epsilon
    most = row.dual - value - iota * target
    return {
        "weight": iota,
        "social_cost_usd": row.social_cost,
        "follower_loss_usd": row.follower_value - value,
        "bound_usd": row.bound_below(value),
        "largest_loss_usd": most,
        "limits_excluded": int((losses <= most).sum()),
        "limits_answered": losses.size,
    }


def main() -> None:
    about = read_json(HERE / "open.json")
    study = prepare(DATA / "studies" / about["study_name"], about["preset"], half=about["half"])
    joint = JointLP(cleared(study, find_case(about["case"])))
    design, losses = tight_answers(joint, pd.read_csv(HERE / "open.csv"))
    target = about["upper_bound"] - about["parameters"]["gap"] * (about["flat"] - about["first_best"])
    value, rows = None, []
    for weight in (EPSILON, *WEIGHTS):
        begin = time.process_time()
        row = solve_request(joint, Request("answer", design, weight), inside=True)
        assert row.load is not None, "a row that was solved here knows its flows"
        joint.tangent(row.load)
        row = solve_request(joint, Request("answer", design, weight))
        value = row.follower_value if value is None else value
        rows.append(row_of(row, value, target, losses))
        print(rows[-1], f"{time.process_time() - begin:.0f} s", file=sys.stderr, flush=True)
    write_csv(HERE / "weights.csv", pd.DataFrame(rows))
    told = {"command": "python data/results/weights.py", "data_hash": study.study.data_hash, "commit": commit()}
    write_json(HERE / "weights.json", told | {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions()})


if __name__ == "__main__":
    main()
