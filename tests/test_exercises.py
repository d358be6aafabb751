"""The exercises' solutions, computed: each bold number of a hidden solution is what the package finds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest

from tritier.cases.decisions import decisions_of
from tritier.inputs import examples as hand
from tritier.inputs.instance import Feeder
from tritier.model import network
from tritier.model.risk import sample_cvar
from tritier.reformulation.bilevel import linear_bilevel
from tritier.reformulation.joint import JointLP
from tritier.reformulation.solve import solve
from tritier.search.responses import optimistic_response

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = {path.stem.partition("-")[0]: path for path in sorted((ROOT / "chapters").glob("*.ipynb"))}
EXERCISE = "## Exercise\n"


def cells(chapter: str) -> list[nbformat.NotebookNode]:
    """The chapter's cells from its exercise on."""
    found = nbformat.read(CHAPTERS[chapter], as_version=4).cells
    first = next(k for k, cell in enumerate(found) if cell.source.startswith(EXERCISE))
    return found[first:]


def claimed(chapter: str) -> list[float]:
    """The bold numbers of the chapter's hidden solution."""
    text = "\n".join(cell.source for cell in cells(chapter))
    return [float(x) for x in re.findall(r"\*\*(-?[\d.]+)\*\*", text.partition(":::{dropdown} Solution\n")[2])]


def two_lines() -> list[float]:
    feeder = Feeder(
        bus=np.array([1, 2, 3]), p_kw=np.array([0.0, 40.0, 40.0]), q_kvar=np.array([0.0, 20.0, 20.0]),
        v_min=np.full(3, 0.5), v_max=np.full(3, 1.1), line=np.array([1, 2]), parent=np.array([0, 1]),
        r_ohm=np.full(2, 0.5), x_ohm=np.full(2, 0.25), rating_kva=np.full(2, np.inf), vn_kv=1.0, v_slack=1.0,
    )  # fmt: skip
    model = network.lindistflow(feeder)
    flows = model.flows(feeder.p_kw), model.flows(feeder.q_kvar)
    return [model.squared_voltages(feeder.p_kw, feeder.q_kvar)[2], float(network.losses_kw(*flows, feeder))]


def risk() -> list[float]:
    cost, p, beta = np.array([10.0, 20.0, 80.0]), np.array([0.5, 0.4, 0.1]), 0.25

    def rho(of: np.ndarray) -> float:
        return float((1 - beta) * (of @ p) + beta * sample_cvar(of, p, 0.9))

    return [rho(cost), rho(cost + 5) - rho(cost)]


def scarce_buyer() -> list[float]:
    market = hand.two_prosumers()
    names = [p.name for p in market.prosumers]
    demand = market.days.demand_kw.copy()
    demand[names.index("Bob")] = 5.0
    market = replace(market, days=replace(market.days, demand_kw=demand))
    joint = JointLP(market)
    response = optimistic_response(joint, hand.DESIGN, revenue=False)
    found = decisions_of(joint, response)
    billed = found["zb"].sum() * hand.DESIGN.p2p + found["gp"].sum() * hand.DESIGN.tariff[0]
    return [float(found["lambda"][0]), float(billed)]


def small_m() -> list[float]:
    problem = linear_bilevel(
        [-1.0, -1.0],
        [0.0, 1.0],
        1,
        lower=([[-1.0, 0.02]], [-1.0], [np.inf]),
        x_bounds=[(0.0, 2.0)],
        y_bounds=[(0.0, np.inf)],
    )
    found = solve(problem)
    assert solve(problem, "bigm", big_m=50.0, check=False).objective == pytest.approx(found.objective)
    cut = solve(problem, "bigm", big_m=49.0, check=False)
    assert cut.objective > found.objective + 1, "an M just below the answer cuts the optimum off"
    return [found.objective, 1 / 0.02]


@pytest.mark.parametrize(
    ("chapter", "computed"),
    [("04", two_lines), ("05", risk), ("06", scarce_buyer), ("09", small_m)],
    ids=["two lines", "risk", "scarce buyer", "small M"],
)
def test_the_hidden_solution_is_what_the_package_finds(chapter, computed):
    assert claimed(chapter) == pytest.approx(computed(), abs=1e-6)


def test_the_town_with_a_bypass_asks_what_the_solution_says():
    """The cells of the page, run: tolls at which a group begins to go around are 1, 2 and 3, and 3 is the cheapest."""
    notebook = nbformat.read(CHAPTERS["19"], as_version=4)
    first = next(cell.source for cell in notebook.cells if "town = BilevelProblem" in cell.source)
    exercise = next(cell.source for cell in cells("19") if cell.cell_type == "code")
    glued: dict[str, float] = {}
    names = {"np": np, "glue": lambda key, value, display: glued.update({key: value})}
    exec(first + "\n" + exercise, names)
    cars, detour = np.array([400.0, 300.0, 500.0]), np.array([1.0, 2.0, 3.0])
    by_toll = {toll: cars[detour > toll].sum() / 100 + 2 * toll for toll in (0.0, *detour)}
    best = min(by_toll, key=by_toll.get)
    assert glued["bp-bypass-value"] == pytest.approx(by_toll[best], abs=1e-6)
    assert glued["bp-bypass-toll"] == pytest.approx(best, abs=1e-6)
    assert glued["bp-bypass-cars"] == pytest.approx(0.0, abs=1e-6)
    assert set(glued) == set(re.findall(r"\{glue:text\}`([\w-]+)", "\n".join(c.source for c in cells("19"))))


def test_five_chapters_have_an_exercise_with_one_hidden_solution():
    texts = {c: "\n".join(x.source for x in nbformat.read(p, as_version=4).cells) for c, p in CHAPTERS.items()}
    having = [chapter for chapter, text in texts.items() if EXERCISE in text]
    assert having == ["04", "05", "06", "09", "19"]
    assert all(texts[chapter].count(":::{dropdown} Solution") == 1 for chapter in having)
