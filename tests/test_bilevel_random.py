"""Random linear bilevel problems by every route: a sample afresh, and the stored table of all of them."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from bilevel_problems import RANDOM, SMALL, fingerprint, random_problem
from bilevel_routes import DIALECTS, routes, same, worst_case

from tritier.reformulation import solve as bilevel_solve
from tritier.reformulation.modes import MODES

TABLE = Path(__file__).resolve().parents[1] / "data" / "results" / "bilevel_random.csv"
ALWAYS = [*MODES, "cvxpy", *(f"mps, {dialect}" for dialect in DIALECTS)]


def read(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


@pytest.fixture(scope="module")
def stored():
    return pd.read_csv(TABLE, dtype=str)


@pytest.mark.parametrize("seed", [*range(0, SMALL, 10), *range(SMALL, RANDOM, 20)])
def test_every_route_ends_at_the_answer_of_brute_force(seed, stored, tmp_path):
    """Four modes, the problem in cvxpy, MPS beside AUX in both dialects, the pessimistic reading; the stored rows."""
    found = routes(random_problem(seed), tmp_path)
    assert [name for name, (ours, known) in found.items() if not same(ours, known)] == []
    kept = stored[stored["seed"] == str(seed)].set_index("route")
    assert list(found) == kept.index.tolist()
    assert all(same(known, read(kept.loc[name, "reference"])) for name, (_, known) in found.items())


def test_a_wrong_answer_of_a_route_is_noticed(tmp_path, monkeypatch):
    true = bilevel_solve.pattern_lp

    def off(*args):
        status, x, y, mu = true(*args)
        return status, x, y + 1e-3, mu

    monkeypatch.setattr(bilevel_solve, "RESIDUAL_LIMIT", 1.0)
    monkeypatch.setattr(bilevel_solve, "OBJECTIVE_LIMIT", 1.0)
    monkeypatch.setattr(bilevel_solve, "pattern_lp", off)
    seed = next(s for s in range(SMALL) if worst_case(random_problem(s)) and random_problem(s).F[-1])
    found = routes(random_problem(seed), tmp_path)
    assert not any(same(*found[mode]) for mode in MODES)


def test_the_stored_table_has_300_different_problems_and_no_wrong_answer(stored):
    """The whole is run by ``data/results/bilevel.py random``; its problems are those of today."""
    prints = stored.groupby("seed")["fingerprint"].first()
    assert len(prints) == RANDOM and prints.nunique() >= 300
    assert {int(s): p for s, p in prints.items()} == {
        s: sha256(fingerprint(random_problem(s))).hexdigest()[:16] for s in range(RANDOM)
    }
    assert stored.groupby("route")["seed"].nunique()[ALWAYS].eq(RANDOM).all()
    wrong = [row for row in stored.itertuples() if not same(read(row.answer), read(row.reference))]
    assert wrong == []
    answers = stored[stored["route"] == "cvxpy"]["reference"]
    words = Counter(word if isinstance(read(word), str) else "optimal" for word in answers)
    assert words["optimal"] >= 150 and words["infeasible"] >= 20 and words["unbounded"] >= 1
    assert (stored["route"] == "pessimistic").sum() == words["optimal"]
