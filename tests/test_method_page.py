"""The method on one page: its optimality conditions are those of the follower that is solved, its words are code."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_deferrable import electrified

from tritier.book.build import modules_of, nomenclature
from tritier.book.run import Book
from tritier.cases.decisions import (
    DECISIONS,
    DESIGNED,
    MULTIPLIERS,
    decisions_of,
    injection_prices,
    p2p_price,
    peak_prices,
)
from tritier.inputs.instance import Design, Instance
from tritier.model.devices import block_value
from tritier.model.prosumer import prosumer_boxes
from tritier.reformulation.joint import JointLP, own_columns
from tritier.search.responses import Response, optimistic_response

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "chapters" / "method.md").read_text()
DESIGN = Design((0.02, 0.08, 0.14), 0.02, ((1, 190.0),), peak=0.3, coincident=0.4)
TIGHT = 1e-6  # $/kW, times probability


def solved() -> tuple[Instance, JointLP, Response]:
    """A market with every kind of column: batteries, vehicles, a heat pump, peak charges, risk, a limit that binds."""
    market = electrified()
    people = tuple(replace(q, beta=b) for q, b in zip(market.prosumers, (0.3, 0.5, 0.7), strict=True))
    menu = replace(market.menu, peak=(0.0, 0.3), coincident=(0.0, 0.4))
    market = replace(market, prosumers=people, rules=replace(market.rules, alpha=0.6), menu=menu)
    joint = JointLP(market)
    return market, joint, optimistic_response(joint, DESIGN, revenue=False)


def signs(left: np.ndarray, x: np.ndarray, box: tuple[np.ndarray, np.ndarray]) -> float:
    """By how much ``left`` misses what stands on the page: >= 0 where x is at its lower bound, <= 0 at its upper."""
    low, high = (np.broadcast_to(side, x.shape) for side in box)
    up, down = x - low > 1e-7, high - x > 1e-7
    return float(max((left * up).max(initial=0.0), (-left * down).max(initial=0.0)))


@pytest.fixture(scope="module")
def lines() -> dict[str, tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """Left side, column and box of every line of the page's stationarity, by prosumer and column."""
    market, joint, response = solved()
    lp, x, y, rules, days = joint.lp, response.x, response.y, market.rules, market.days
    p = days.probability
    pi = injection_prices(joint, joint.blocks, y)
    price, tau = p2p_price(joint, y), np.array(DESIGN.tariff)[rules.block]
    found = {}
    for i, own in enumerate(market.prosumers):
        d, name = joint.data[i], own.name
        at, boxes, n = own_columns(lp, d, name), prosumer_boxes(d), market.prosumer_bus[i]

        def dual(label: str, name: str = name) -> np.ndarray:
            return y[lp.row_at(f"{label}[{name}]")]

        rho, xi, energy = dual("energy_cost0"), -dual("cvar_rows0"), dual("power_balance0")
        delta = -dual("largest0")
        sigma = -dual("soc_dynamics0") if "soc" in at else np.zeros_like(energy)
        paid = (days.retail + tau[:, None]) * rho
        worth = {
            "cost": (1 - own.beta) * p + xi - rho,
            "var": own.beta - xi.sum(),
            "excess": own.beta / (1 - rules.alpha) * p - xi,
            "gp": paid + delta + pi[n] - energy,
            "gk": DESIGN.peak * rho - delta.sum(axis=0),
            "gm": energy - days.feed_in * rho - pi[n],
            "zb": DESIGN.p2p / 2 + price + (pi[n] - energy).sum(axis=1),
            "zs": DESIGN.p2p / 2 - price - (pi[n] - energy).sum(axis=1),
            "cu": energy,
            "ch": own.degradation * rho + energy - own.eta * sigma,
            "dis": own.degradation * rho - energy + sigma / own.eta,
            "served": energy - block_value(rules)[:, None, None] * rho,
        }
        for term, left in worth.items():
            if term in at:
                found[f"{name} {term}"] = np.asarray(left), x[at[term]], boxes[term]
    peak = DESIGN.coincident * p - peak_prices(joint, y).sum(axis=0)
    found["head peak"] = peak, x[lp.at("peak")], (np.zeros_like(p), np.full_like(p, np.inf))
    return found


def test_every_line_of_stationarity_holds_at_the_multipliers_of_the_solver(lines):
    missed = {name: signs(*line) for name, line in lines.items()}
    assert len(missed) > 30
    assert max(missed.values()) < TIGHT, missed


def test_the_lines_bind_and_a_wrong_sign_would_be_seen(lines):
    """Turned round, a line fails: each kind has a column at a bound that it holds there."""
    for term in ("gp", "gm", "zb", "zs", "served"):
        own = {name: line for name, line in lines.items() if name.endswith(f" {term}")}
        assert max(signs(-left, x, box) for left, x, box in own.values()) > 100 * TIGHT, term


def test_a_blocks_price_is_capped_and_the_delivered_price_is_not():
    """Chapter 6: mu is at most the declared price, pi / p up to 1 / epsilon times that; slack is bought here."""
    market, joint, _ = solved()
    response = optimistic_response(joint, replace(DESIGN, capacity=((1, 60.0),)), revenue=False)
    found = decisions_of(joint, response)
    declared, p = market.rules.violation_price, market.days.probability
    assert response.social.violation > declared  # more than a kWh is bought
    assert found["mu"].max() == pytest.approx(declared, abs=1e-6)
    delivered = injection_prices(joint, joint.blocks, response.y) / p
    assert declared + 0.01 < np.abs(delivered).max()
    chapter = (ROOT / "chapters" / "06-market-and-equilibrium.ipynb").read_text()
    assert "no network price exceeds" not in chapter and "The price delivered at a bus in one scenario" in chapter


def test_every_function_the_page_names_exists():
    names = re.findall(r"\{py:(?:func|class|meth|mod)\}`~?([\w.]+)`", PAGE)
    assert len(names) > 20
    for name in names:
        parts = name.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:cut]))
            except ModuleNotFoundError:
                continue
            for part in parts[cut:]:
                found = getattr(found, part)
            break


def test_every_method_of_the_abstract_has_a_row():
    for word in ("KKT", "strong duality", "big-M", "McCormick", "Benders", "column-and-constraint", "CVaR", "chance"):
        assert re.search(rf"^\* - .*{word}", PAGE, re.MULTILINE | re.IGNORECASE), word


def test_the_page_says_what_the_search_is():
    for text in ("search over the menu", "excluded no tariff", "beats the incumbent by more than the gap"):
        assert text in PAGE


def symbols() -> list[tuple[str, str]]:
    """Symbol and table of every row of the generated nomenclature."""
    text = nomenclature(modules_of(Book(ROOT, "smoke")))
    tables = [(part.split("\n", 1)[0], part) for part in text.split("### ")[1:]]
    return [(symbol, title) for title, part in tables for symbol in re.findall(r"^\| \$(.*?)\$ \|", part, re.MULTILINE)]


def letter(symbol: str) -> str:
    """A symbol without its lower index."""
    return re.sub(r"_(\{(?:[^{}]|\{[^{}]*\})*\}|\w)", "", symbol)


# Letters under which several rows stand, and the one thing that they mean.
FAMILIES = {
    "V": "voltage",
    "P": "active flow of a line",
    r"Q^{\mathrm c}": "charging of lines",
    r"\pi^{\mathrm r}": "retail price",
    r"\pi^{\mathrm f}": "feed-in price",
    r"\Lambda": "losses",
    "G": "metered energy",
    r"\gamma": "value at risk",
}


def test_a_symbol_has_one_row_and_a_letter_one_meaning():
    rows = symbols()
    assert len(rows) > 120
    assert len({symbol for symbol, _ in rows}) == len(rows)
    own = [letter(symbol) for symbol, title in rows if "(appendix)" not in title]
    assert {x for x in own if own.count(x) > 1} == set(FAMILIES)


def test_the_nomenclature_names_every_decision_and_multiplier():
    """Every array that a result stores, every column of the LP, and every multiplier of the follower's private rows."""
    _, joint, response = solved()
    stored = set(decisions_of(joint, response).arrays)
    assert stored <= {*DECISIONS, *DESIGNED, *MULTIPLIERS}
    columns = {re.sub(r"(\d*)(\[.*|:.*)?$", "", name) for name in joint.lp.columns}
    assert columns <= {*DECISIONS, *DESIGNED}
    rows = {re.sub(r"\d*(\[.*|:.*)?$", "", name) for name in joint.lp.rows}
    assert set(MULTIPLIERS) - stored <= rows
    text = nomenclature(modules_of(Book(ROOT, "smoke")))
    named = re.findall(r"\| `(\w+)` \|", text)
    assert {*DECISIONS, *MULTIPLIERS} <= set(named)
    for short, field in DESIGNED.items():
        assert re.search(rf"^\| \$\S.*?\$ \| `{field}`, stored as `{short}` \|", text, re.MULTILINE), short


def test_letters_of_the_text_are_no_others_of_the_tables():
    """What the page lists by hand is listed for what no table holds; two of its letters name what a table holds too."""
    by_hand = (ROOT / "chapters" / "nomenclature.md").read_text().partition("## Letters that no table holds")[2]
    cells = re.findall(r"^\| (\$.*?\$) \|", by_hand, re.MULTILINE)
    letters = [letter(symbol) for cell in cells for symbol in re.findall(r"\$(.*?)\$", cell)]
    assert [x for x in letters if letters.count(x) > 1] == ["J", "J"]  # of all and of one prosumer
    assert len(letters) > 30
    own = {letter(symbol) for symbol, title in symbols() if "(appendix)" not in title}
    assert own & set(letters) == {"q", r"\hat d"}  # reactive load, borders of demand blocks: the same quantities
