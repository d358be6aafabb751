"""The hybrid search against complete enumeration: no row loses a design, bounds hold, the same optimum."""

from __future__ import annotations

import importlib.util
import itertools
import multiprocessing
import os
import re
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest import mock

import joblib
import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from solved_small import CONGESTED, congested_study
from toy import small_market

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
from tritier.errors import (
    CertificateError,
    InfeasibleError,
    InputError,
    Interrupted,
    NoRecoveryError,
    SolverError,
)
from tritier.inputs.instance import Design, Menu
from tritier.model.chance import Block
from tritier.model.dso import menu_points
from tritier.reformulation import lp as wrapper
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import BASIC, Clock
from tritier.search import enumeration, hybrid
from tritier.search import flat as flat_module
from tritier.search import pool as pool_module
from tritier.search import references as references_module
from tritier.search.check import BOUND, check_pool, proved_value
from tritier.search.cuts import EPSILON, FINE, KINDS, SCALE, Request, answer_row, cost_of, safe_value, solve_request
from tritier.search.flat import flat_design
from tritier.search.hybrid import STARTS, solve
from tritier.search.menu import Box, Coordinates, Ledger, maximal
from tritier.search.pool import (
    Pool,
    Unfinished,
    binding,
    build,
    few,
    items_of,
    packed,
    pieces,
    pools_of,
    reorder,
    unpacked,
)
from tritier.search.references import SCAN, check_reference, closed, find_references, first_best, stored_references
from tritier.search.responses import LOSS_GAP, optimistic_response
from tritier.search.scip import CoveringModel, below, prove

# A tie-break that weighs in dollars keeps the follower's answer insensitive to the solver's tolerance.
TIE_BREAK = 1e-3
FIXED = {6: 25.0, 4: 40.0}  # $: half of the menu recovers it
LEVELS = Menu(((0.02, 0.08), (0.08, 0.14), (0.08, 0.20)), (0.02, 0.04), ((1, (230.0, 300.0, 1000.0)),))


def market(seed: int = 6, fixed: float | None = None, menu: Menu = LEVELS):
    cost = FIXED[seed] if fixed is None else fixed
    return replace(small_market(seed=seed, tie_break=TIE_BREAK, demand_charge=0.1), menu=menu, fixed_cost=cost)


def enumerated(instance) -> dict[Design, object]:
    """Optimistic responses of the designs that recover the revenue; None for the others."""
    joint, found = JointLP(instance), {}
    for design in menu_points(instance.menu):
        try:
            found[design] = optimistic_response(joint, design)
        except NoRecoveryError:
            found[design] = None
    return found


@pytest.fixture(scope="module", params=[6, 4])
def case(request):
    instance = market(request.param)
    found = {design: best for design, best in enumerated(instance).items() if best is not None}
    assert 4 <= len(found) < instance.menu.n_points  # some designs recover the cost, some do not
    return instance, found


def search_lp(instance) -> JointLP:
    joint = JointLP(instance)
    return build(instance, True, joint.bare, [])


def all_rows(instance, every: int = 1, epsilon: float = EPSILON):
    """Rows of all kinds: least F at all limits, answers on F and on the shortfall."""
    joint = search_lp(instance)
    requests = [Request("least", replace(flat_design(joint, 0.0), capacity=((1, x),))) for x in (230.0, 300.0, 1000.0)]
    for design in list(menu_points(instance.menu))[::every]:
        requests += [Request(kind, design, epsilon) for kind in ("answer", "shortfall")]
    return joint, [solve_request(joint, request) for request in requests]


def excluded_wrongly(instance, rows, found) -> list[str]:
    """Designs of which rows prove more than enumeration finds: F too high, or no recovery where there is one."""
    ledger = Ledger(Coordinates.of(instance.menu), instance.least_revenue, rows)
    wrong = []
    for design, best in found.items():
        if best is not None and ledger.bound_at(ledger.menu.point(design)) > best.social.total + 1e-3:
            wrong.append(f"{design}: {ledger.bound_at(ledger.menu.point(design))} > {best.social.total}")
    return wrong


def test_no_row_loses_a_design(case):
    instance, found = case
    _, rows = all_rows(instance, every=5)
    assert len(rows) > 20
    assert not excluded_wrongly(instance, rows, found)
    own = next(row for row in rows if row.request.kind == "answer" and row.request.design in found)
    assert excluded_wrongly(instance, [replace(own, dual=own.dual + 1e-6)], found)  # a dollar of F


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    st.integers(10, 400),
    st.floats(15.0, 60.0),
    st.floats(0.0, 0.03),
    st.sampled_from([((0.0,), (0.0,)), ((0.0, 0.05), (0.0,)), ((0.02,), (0.0, 0.08))]),
    st.sampled_from([EPSILON, FINE]),
)
def test_no_row_of_a_random_market_cuts_off_a_better_design(seed, fixed, p2p, peaks, epsilon):
    limits = (180.0, 230.0, 300.0, 1000.0)
    menu = Menu(((0.02,), (0.05, 0.11), (0.08, 0.20)), (round(p2p, 3),), ((1, limits), (2, (90.0, 1000.0))), *peaks)
    base = small_market(seed=seed, tie_break=TIE_BREAK, demand_charge=0.1)
    instance = replace(base, menu=menu, fixed_cost=fixed)
    found = enumerated(instance)
    joint = search_lp(instance)
    designs = list(found)
    _, rows = first_best(joint)
    rows += [solve_request(joint, Request(kind, d, epsilon)) for d in designs[::3] for kind in ("answer", "shortfall")]
    assert not excluded_wrongly(instance, rows, found)
    flat, ideal = find_references(joint)
    with mock.patch.object(hybrid, "ROUND", 2):  # so that least F is asked for at tight limits too
        result = solve(joint, flat=flat, ideal=ideal, beside=[flat.design], gap=0.01)
    own = [row for row in result.pools["search"].rows if row.request.kind == "least" or row.request.design in found]
    assert not excluded_wrongly(instance, own, found)
    least = min(best.social.total for best in (found | enumerated(beside(instance, flat))).values() if best is not None)
    gap = 0.01 * max(0.0, flat.social_cost - ideal.social_cost) + 1e-3
    assert least - gap <= result.lower_bound <= least + 1e-3
    assert least - 1e-3 <= result.upper_bound <= least + gap


SURE = 2e-4  # $: how far a bound may lie above what enumeration finds: its own tangents, and the solver's tolerance


def three_part(seed: int, fixed: float, share: float, billing: str, lines: int = 2):
    """A random market with energy, individual and coincident peak charges and a fixed part; the tighter limits bind:
    they are shares of what the first lines carry without any."""
    base = small_market(seed=seed, tie_break=TIE_BREAK, demand_charge=0.1, billing=billing, fixed_share=share)
    loose = tuple((line, (2000.0,)) for line in range(1, lines + 1))
    menu = Menu(((0.02,), (0.05, 0.12), (0.08,)), (0.02,), loose, (0.0, 0.08), (0.0, 0.06))
    instance = replace(base, menu=menu, fixed_cost=fixed)
    joint = JointLP(instance)
    load = joint.net_load(optimistic_response(joint, next(iter(menu_points(menu))), revenue=False).x)
    carried = [joint.network.required_capacity(load, line) for line in range(lines)]
    limits = [(line, tuple(np.round([0.8 * kw, 0.95 * kw], 1)) + (2000.0,)) for line, kw in enumerate(carried, 1)]
    return replace(instance, menu=replace(menu, capacity=tuple(limits)))


def responses(instance) -> dict[Design, list]:
    """Of every design the response best for society, and the best that recovers the cost, where there is one."""
    joint, found = JointLP(instance), {}
    for design in menu_points(instance.menu):
        found[design] = [optimistic_response(joint, design, revenue=False)]
        with suppress(NoRecoveryError):
            found[design].append(optimistic_response(joint, design))
    return found


def claims(row, design: Design) -> float:
    """What a row alone claims at a design, $: of F, or of the uncovered cost; minus infinity where it says nothing."""
    limits = np.array([kw for _, kw in design.capacity])
    own = row.request.design
    if row.request.kind == "least":
        return row.dual - float(row.price @ limits)
    offered = np.array([kw for _, kw in own.capacity])
    held = np.array_equal(own.prices, design.prices) and (row.need <= limits).all() and (limits <= offered).all()
    return row.bound if held else -np.inf


def truth(instance, kind: str, response) -> float:
    """What enumeration finds in the place of a row's bound, $."""
    return -(response.revenue_slack + instance.least_revenue) if kind == "shortfall" else response.social.total


def overstated(instance, row, found) -> list[Design]:
    """Designs with a response of which a row claims more than is true."""
    kind = row.request.kind
    return [d for d, best in found.items() if any(claims(row, d) > truth(instance, kind, r) + SURE for r in best)]


def raised(instance, row, found, by: float):
    """The row with its bound raised to where it cuts off a response of some design by so many $."""
    kind = row.request.kind
    room = min(truth(instance, kind, r) - claims(row, d) for d, best in found.items() for r in best)
    step = room + by
    return replace(row, dual=row.dual + step * (1.0 if kind == "least" else row.request.epsilon))


@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate])
@example(seed=6, fixed=40.0, share=0.3, billing="scenario")
@example(seed=4, fixed=25.0, share=0.0, billing="expected")
@given(
    seed=st.integers(10, 400),
    fixed=st.floats(15.0, 60.0),
    share=st.sampled_from([0.0, 0.3, 0.9]),
    billing=st.sampled_from(["scenario", "expected"]),
)
def test_no_row_of_any_kind_claims_more_than_enumeration_finds(seed, fixed, share, billing):
    """Row by row, at every point of the menu, and together in a ledger; and each kind of row, its bound raised so that
    it cuts a response off by a tenth of a cent, is caught."""
    instance = three_part(seed, fixed, share, billing)
    found = responses(instance)
    values = {d.capacity: best[0].theta for d, best in found.items() if not (d.peak or d.coincident)}
    assert len({round(v, 3) for v in values.values()}) > 1, "no limit binds"
    joint = search_lp(instance)
    tight = replace(flat_design(joint, 0.0), capacity=tuple((line, kw[0]) for line, kw in instance.menu.capacity))
    rows = [*first_best(joint)[1], solve_request(joint, Request("least", tight))]
    for epsilon, every in ((EPSILON, 2), (FINE, 7)):
        rows += [solve_request(joint, Request(kind, d, epsilon)) for d in list(found)[::every] for kind in KINDS[1:]]
    for row in rows:
        assert not overstated(instance, row, found), row.request
    best = {d: reply[1] for d, reply in found.items() if len(reply) == 2}
    assert not excluded_wrongly(instance, rows, best)
    for kind in KINDS:
        row = next(row for row in rows if row.request.kind == kind)
        assert overstated(instance, raised(instance, row, found, 1e-3), found)
        assert not overstated(instance, raised(instance, row, found, -1e-3), found)


def beside(instance, flat):
    """The instance with nothing on its menu but the flat tariff, at every limit."""
    charge = (flat.design.p2p,)
    tariffs = {"tariff": (charge,) * len(flat.design.tariff), "p2p": charge, "peak": (0.0,), "coincident": (0.0,)}
    return replace(instance, menu=replace(instance.menu, **tariffs))


def test_an_answer_is_the_optimistic_response(case):
    instance, found = case
    joint = search_lp(instance)
    for design, best in list(found.items())[::3]:
        got = solve_request(joint, Request("answer", design))
        assert got.social_cost == pytest.approx(best.social.total, abs=0.02)
        assert best.social.total - 0.5 <= got.bound <= best.social.total + 1e-4
        assert got.follower_value == pytest.approx(best.theta, rel=1e-7)


def test_wrong_duals_still_bound(case):
    instance, found = case
    joint = search_lp(instance)
    design, best = next(iter(found.items()))
    request, rng = Request("answer", design), np.random.default_rng(3)
    joint.set_design(design)
    solution = joint.solve(cost_of(joint, request))
    n = solution.y.size
    for y in (solution.y * 1.5, -solution.y, solution.y + rng.normal(0, 1, n), np.zeros(n), solution.y):
        row = answer_row(joint, request, replace(solution, y=y))
        assert row.bound <= best.social.total + 1e-4
        lp, cost = joint.warm.current(), cost_of(joint, request)
        value = proved_value(lp, cost, y)
        assert safe_value(lp, cost, y) <= value + 1e-12 * abs(value)
    assert row.bound > best.social.total - 0.5


def test_an_infeasible_point_is_no_response(case):
    instance, found = case
    joint = search_lp(instance)
    request = Request("answer", next(iter(found)))
    joint.set_design(request.design)
    solution = joint.solve(cost_of(joint, request))
    x = solution.x.copy()
    x[joint.lp.at("R")] -= 1.0
    with pytest.raises(SolverError, match="no response"):
        answer_row(joint, request, replace(solution, x=x))
    near = solution.x.copy()
    near[joint.lp.at("R")] -= 5e-7  # within the residual allowed: charged, not believed
    assert (
        answer_row(joint, request, replace(solution, x=near)).bound <= answer_row(joint, request, solution).bound + 1e-3
    )


def test_what_holds_nothing_can_be_left_out_of_an_lp(case):
    """The LP of what holds something starts from its part of the basis at the optimum: same value, no step. Without a
    block that holds something the follower would do better."""
    instance, found = case
    joint = search_lp(instance)
    joint.add_blocks([Block("voltage_low", place, hour) for place in (1, 2) for hour in range(4)])
    design = min(found, key=lambda d: d.capacity)
    request = Request("answer", replace(design, capacity=((1, 230.0),)))
    row, items = solve_request(joint, request), items_of(joint)
    kept = binding(joint, row.basis, items)
    assert kept and len(kept) < len(items)
    slim = build(instance, True, joint.bare, kept)
    slim.set_design(request.design)
    slim.warm.set_basis(reorder(joint, row.basis, items, kept))
    again = slim.warm.solve(cost_of(slim, request))
    assert again.iterations == 0 and not slim.warm.restarts and not slim.violated(again.x)
    assert again.objective == pytest.approx(SCALE * row.dual, rel=1e-9)
    bare = build(instance, True, joint.bare, [])
    bare.set_design(request.design)
    assert bare.warm.solve(cost_of(bare, request)).objective < again.objective * (1 - 1e-9)


def test_of_many_tangents_an_lp_begins_with_the_last(case):
    loads = [np.full((4, 4, 2), float(k)) for k in range(4)]
    block = Block("capacity", 1, 0)
    assert [item if isinstance(item, Block) else item[0, 0, 0] for item in few([*loads[:3], block, loads[3]])] == [
        2.0,
        block,
        3.0,
    ]


@pytest.fixture(scope="module")
def references(case):
    return find_references(JointLP(case[0]))


def run(instance, references, **changes):
    flat, ideal = references
    return solve(JointLP(instance), **({"flat": flat, "ideal": ideal, "beside": [flat.design], "gap": 0.01} | changes))


@pytest.fixture(scope="module")
def searched(case, references):
    return run(case[0], references)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_parts_of_a_profile_add_up_to_the_seconds_there_were(case, jobs):
    """Each second once: what workers and references measured fits into the seconds of all processes, and the solves
    that were timed are the solves that were counted."""
    begin, clock = time.perf_counter(), Clock()
    with clock.during(""):
        references = find_references(JointLP(case[0]), jobs)
    found = run(case[0], references, jobs=jobs, clock=clock)
    searched = clock.table(0.0)
    for reference in references:
        clock.add(reference.clock)
    available = jobs * (time.perf_counter() - begin)
    table = clock.table(available)
    named = table[table["phase"] != "idle"]
    assert (named["seconds"] >= 0).all() and 0 < named["seconds"].sum() <= available
    assert table["seconds"].sum() == pytest.approx(available)
    assert not table.duplicated(["phase", "work"]).any()
    answers = {f"answer, {begin}" for begin in STARTS}
    assert {"flat tariff", "first best", "search", "exact response", "proof"} <= set(named["phase"])
    assert {"simplex", "interior point", "blocks", "tangents", "other", "SCIP"} <= set(named["work"])
    calls = searched.set_index(["phase", "work"])["calls"]
    tasks = sum(n for (phase, work), n in calls.items() if phase in answers and work == "other")
    assert tasks == len({(row.request.design, row.request.epsilon) for row in found.pools["search"].rows})
    timed = sum(n for (_, work), n in calls.items() if work == "simplex")
    assert timed <= found.lp_solves <= timed + 3, "but for cold restarts"


def test_a_part_inside_another_stops_it(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 99.0])
    monkeypatch.setattr(wrapper.time, "perf_counter", lambda: next(now))
    clock = Clock()
    with clock.during("answer"), clock.during(work="simplex"), clock.during("shortfall"):
        pass
    other = Clock()
    other.seconds["answer", "other"] += 0.5
    clock.add(other)
    table = clock.table(100.0).set_index(["phase", "work"])
    parts = {("answer", "other"): 2 + 32 + 0.5, ("answer", "simplex"): 4 + 16, ("shortfall", "other"): 8}
    assert table["seconds"].to_dict() == parts | {("idle", "waiting"): 100 - 62.5}
    assert table["calls"].to_dict() == dict.fromkeys(parts, 1) | {("idle", "waiting"): 0}


@pytest.fixture(scope="module")
def searched_by_scip(case, references):
    return run(case[0], references, engine="scip")


def gain(references) -> float:
    return references[0].social_cost - references[1].social_cost


def menu_of(instance, references) -> Coordinates:
    return Coordinates.of(instance.menu, [references[0].design])


@pytest.mark.parametrize("engine", ["searched", "searched_by_scip"])
def test_same_optimum_as_enumeration(case, references, engine, request):
    instance, found = case
    result = request.getfixturevalue(engine)
    flat = enumerated(beside(instance, references[0]))
    least = min(best.social.total for best in (found | flat).values() if best is not None)
    assert result.lower_bound <= least + 1e-6
    assert result.upper_bound == pytest.approx(least, abs=0.01 * gain(references) + 1e-6)
    assert result.gap <= 0.01 + 1e-9
    assert result.best.design in found
    lower, upper = result.trace["lower_bound"].to_numpy(), result.trace["upper_bound"].to_numpy()
    assert (np.diff(lower) >= 0).all() and (np.diff(upper) <= 0).all()
    assert len(result.table) < result.menu_points, "limits that do not bind share their answer"
    assert result.menu_points == instance.menu.n_points + 3


def test_scip_closes_the_proof_and_its_controls_catch_false_rows(case, references, searched):
    instance, result = case[0], searched
    assert result.verdict.closed and result.proof == "closed"
    ledger = Ledger(menu_of(instance, references), instance.fixed_cost, result.rows)
    where = ledger.menu.point(result.best.design)
    asked = (below(result.lower_bound, gain(references)), result.upper_bound, where)
    assert prove(ledger, *asked).closed
    assert prove(ledger, result.upper_bound + gain(references), *asked[1:]).status != "infeasible", (
        "the incumbent lies below"
    )
    ledger.boxes.append(Box(where[0], where[1:], where[1:], np.inf))
    false = prove(ledger, *asked)
    assert false.status == "infeasible" and "answer" in false.missed and not false.closed
    ledger.boxes.pop()
    high = replace(ledger.least[0], dual=result.upper_bound + 1.0)
    ledger.least.append(high)
    assert "least" in prove(ledger, *asked).missed
    ledger.least.pop()
    ledger.boxes = [box for box in ledger.boxes if box.tariff != where[0]]
    assert prove(ledger, *asked).status != "infeasible", "a tariff without its rows is not covered"


def test_scip_finds_what_a_covering_leaves_open(case, references, searched):
    instance, result = case[0], searched
    ledger = Ledger(menu_of(instance, references), instance.fixed_cost, result.rows)
    limit = result.upper_bound - 0.01 * gain(references)
    out = [box for box in ledger.boxes if box.least > limit]
    covered = {p for p in product(range(ledger.menu.n_tariffs), range(3)) if any(box.holds(p) for box in out)}
    low = ledger.everywhere > limit
    for k in range(len(out)):
        model = CoveringModel(ledger, limit, out[:k])
        open_ = [p for p in product(range(ledger.menu.n_tariffs), range(3)) if not low[p[1:]]]
        open_ = [p for p in open_ if not any(box.holds(p) for box in out[:k])]
        assert (model.solve() == "infeasible") == (not open_)
        assert not open_ or (model.point() in open_ or model.point()[0] == -1)
    assert covered


def test_the_two_engines_bounds_agree_within_the_gap(references, searched, searched_by_scip):
    tree, scip = searched, searched_by_scip
    assert abs(tree.upper_bound - scip.upper_bound) <= 0.01 * gain(references) + 1e-9
    assert max(tree.lower_bound, scip.lower_bound) <= min(tree.upper_bound, scip.upper_bound) + 1e-6
    assert scip.proof == "closed" and list(scip.trace) == list(tree.trace)


def stopping(after: int):
    """A progress line that is Ctrl-C at one of the lines."""
    told = []

    def stop(line: str) -> None:
        told.append(line)
        if len(told) == after:
            raise KeyboardInterrupt

    return stop


def interrupted(instance, references, state, after: int = 2, **known) -> tuple[float, float, int, int]:
    """Bounds, LPs and rows of the state that a search leaves which is stopped at a progress line."""
    with pytest.raises(Interrupted, match=r"bounds .* gap .* of the achievable gain"):
        run(instance, references, state=state, progress=stopping(after), **known)
    with np.load(state) as found:
        _, solves, lower, upper = found["trace"][-1]
        return lower, upper, int(solves), sum(found[name].size for name in found.files if name.endswith(".kind"))


@pytest.mark.parametrize("engine", ["tree", "scip"])
def test_ctrl_c_keeps_incumbent_and_valid_bound(case, references, engine, tmp_path):
    instance, found = case
    lower, upper, _, _ = interrupted(instance, references, tmp_path / "state.npz", 1, gap=1e-6, engine=engine)
    least = min(r.social.total for r in found.values())
    assert lower <= least + 1e-6 and upper >= least - 1e-6


def test_what_a_solver_calls_infeasible_is_no_lack_of_recovery(case, references, monkeypatch):
    """Enumeration and search drop a design that recovers too little, and none that a solver could not solve."""

    def fails(*_, **__):
        raise InfeasibleError("the LP has no feasible point")

    with monkeypatch.context() as patch:
        patch.setattr(enumeration, "optimistic_response", fails)
        with pytest.raises(InfeasibleError, match="the LP has no feasible point"):
            enumeration.enumerate_menu(JointLP(case[0]))
    with monkeypatch.context() as patch:
        patch.setattr(hybrid, "optimistic_response", fails)
        with pytest.raises(InfeasibleError, match="the LP has no feasible point"):
            run(case[0], references)
    scarce = replace(case[0], fixed_cost=1e3)
    with pytest.raises(NoRecoveryError, match="no optimal response recovers"):
        optimistic_response(JointLP(scarce), next(iter(case[1])))
    with pytest.raises(NoRecoveryError, match="no point of the menu"):
        enumeration.enumerate_menu(JointLP(scarce))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_long_round_says_bounds_and_lps_with_any_number_of_processes(case, monkeypatch, jobs):
    """After each answer but the last of a round, where lines are due; the LPs of a round add up to the next line's."""
    monkeypatch.setattr(hybrid, "SILENCE", 0.0)
    said: list[str] = []
    references = find_references(JointLP(case[0]), jobs, said.append)
    assert sorted(line.rpartition(" ")[0].rpartition(" ")[0] for line in said) == ["first best", "flat tariff"]
    run(case[0], references, jobs=jobs, progress=said.append)
    rounds = [line for line in said if "of this round" in line]
    assert all(re.search(r"(bounds [\d.]+ |lower bound )[\d.]+ .* [1-9]\d* LPs  \d of \d answers", x) for x in rounds)
    steps = [tuple(map(int, re.search(r"(\d) of (\d) answers", line).groups())) for line in rounds]
    assert steps and steps[0][0] == 1 and all(done < of for done, of in steps)
    solves = [int(re.search(r"(\d+) LPs", line).group(1)) for line in said[2:]]
    assert solves == sorted(solves), "no line falls behind one before it"


def test_an_unknown_engine_is_refused(case, references):
    with pytest.raises(InputError, match="unknown engine 'gurobi'"):
        run(case[0], references, engine="gurobi")


@pytest.mark.parametrize("engine", ["searched", "searched_by_scip"])
def test_every_row_holds_from_its_own_basis(case, references, engine, request):
    instance, result = case[0], request.getfixturevalue(engine)
    joint, rows = JointLP(instance), []
    for name, pool in result.pools.items():
        again = unpacked(packed(pool))
        proved = check_pool(joint, again, name)
        said: list[str] = []
        assert [r.bound for r in proved] == [r.bound for r in check_pool(joint, again, name, 2, said.append)]
        n, workers = len(pool.rows), min(2, len(pool.rows))
        assert said[-1] == (f"{n} of {n} rows, by 2 processes" if workers == 2 else f"row {n} of {n}"), said
        assert len(said) == max(workers, 1 if workers < 2 else 2 * min(6, n // 16)), "a line for each share of the rows"
        assert np.array([r.bound for r in proved]) == pytest.approx([r.bound for r in pool.rows], abs=BOUND)
        assert all(sum(part.count(BASIC) for part in row.basis) == len(row.basis[1]) for row in again.rows)
        rows += [] if name == SCAN else proved  # which speaks of other tariffs than the menu's
    menu = menu_of(instance, references)
    assert Ledger(menu, instance.fixed_cost, rows).lower_bound >= result.lower_bound - BOUND
    fewer = [r for r in rows if r.request.kind == "least" or r.request.design != result.best.design]
    assert len(fewer) < len(rows)
    assert Ledger(menu, instance.fixed_cost, fewer).lower_bound < result.lower_bound - 1e-3 * gain(references)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: replace(row, dual=row.dual + 0.1 * row.request.epsilon), "a bound of"),
        (lambda row: replace(row, follower_value=row.follower_value - 0.1 * row.request.epsilon), "a bound of"),
        (lambda row: replace(row, need=row.need - 1.0), "limits of"),
        (lambda row: replace(row, social_cost=row.social_cost - 0.1), "social_cost"),
        (lambda row: replace(row, recovered=row.recovered + 0.1), "recovered"),
        (lambda row: replace(row, basis=(row.basis[0], bytes([BASIC]) + row.basis[1][1:])), "basic columns"),
        (lambda row: replace(row, basis=(row.basis[0][:-1], row.basis[1])), "another LP"),
        (
            lambda row: replace(row, request=Request("answer", replace(row.request.design, tariff=(0.0,) * 3))),
            "a bound of|misses",
        ),
    ],
)
def test_a_row_that_its_basis_does_not_prove_is_refused(case, searched, change, says):
    pool = unpacked(packed(searched.pools["search"]))
    k = next(k for k, row in enumerate(pool.rows) if row.request.kind == "answer")
    pool.rows[k] = change(pool.rows[k])
    with pytest.raises(CertificateError, match=rf"search\[{k}\].*({says})"):
        check_pool(JointLP(case[0]), pool, "search")


def test_limits_needed_leave_room_for_a_basis_that_is_factorised_anew(case, searched):
    """Flows of a basis stood 5e-6 kW above those of the solver's point, with 14 prosumers, 6 scenarios and storage
    whose hours tie: an honest flat tariff was refused as needing more than it said."""
    pool, joint = searched.pools["search"], search_lp(case[0])
    offered = {k: row.request.design.capacity[0][1] for k, row in enumerate(pool.rows)}
    free = [k for k, row in enumerate(pool.rows) if row.request.kind == "answer" and row.need[0] < offered[k]]
    assert free, "every limit binds"
    for k in free:
        row = solve_request(joint, pool.rows[k].request)
        assert row.need[0] > 230.0 and row.need[0] > joint.network.required_capacity(row.load, 0) + 0.9e-4
    drifted = unpacked(packed(pool))
    drifted.rows[free[0]] = replace(drifted.rows[free[0]], need=drifted.rows[free[0]].need - 5e-5)
    assert len(check_pool(JointLP(case[0]), drifted, "search")) == len(pool.rows)
    drifted.rows[free[0]] = replace(drifted.rows[free[0]], need=drifted.rows[free[0]].need - 1e-4)
    with pytest.raises(CertificateError, match="are needed"):
        check_pool(JointLP(case[0]), drifted, "search")


def test_a_design_off_the_menu_is_no_point_of_it(case, references, searched):
    """Rows at a tariff that nobody offers would count for the menu point nearest to it."""
    instance, result = case[0], searched
    menu = menu_of(instance, references)
    joint = search_lp(instance)
    for design in menu_points(instance.menu):
        assert menu.design(menu.point(design)) == design
    assert menu.design(menu.point(references[0].design)) == references[0].design
    off = [
        replace(result.best.design, p2p=-3.0),
        replace(result.best.design, tariff=(0.02, 0.08, 0.08 + 1e-12)),
        replace(result.best.design, capacity=((1, 999.0),)),
        replace(result.best.design, capacity=()),
        replace(result.best.design, capacity=((1, 1000.0), (2, 1000.0))),
        replace(result.best.design, tariff=(0.02, 0.08)),
    ]
    for design in off:
        with pytest.raises(CertificateError, match="off_menu"):
            menu.point(design)
    forged = solve_request(joint, Request("shortfall", off[0]))
    assert -forged.bound < instance.fixed_cost  # "no response recovers the cost"
    with pytest.raises(CertificateError, match="off_menu"):
        Ledger(menu, instance.fixed_cost, [forged])


def test_a_social_cost_below_the_bound_of_its_rows_is_refused(case, references, searched):
    ledger = Ledger(menu_of(case[0], references), case[0].fixed_cost, searched.rows)
    point = ledger.menu.point(searched.best.design)
    ledger.require_not_below(searched.upper_bound, point)
    with pytest.raises(CertificateError, match="below_its_bound"):
        ledger.propose(searched.upper_bound - 0.1, point)


def test_both_references_lie_between_bounds_that_their_bases_prove(case, references):
    joint = JointLP(case[0])
    for name, reference in zip(("flat", "first_best"), references, strict=True):
        check_reference(joint, name, reference)
        assert reference.lower_bound - 1e-3 <= reference.social_cost
        above, below = ("above_its_point", "below_its_bound") if name == "flat" else ("width", "not_reached")
        for off, figure in ((1.0, above), (-1.0, below)):
            with pytest.raises(CertificateError, match=rf"design\.{name}\.{figure} failed"):
                check_reference(joint, name, replace(reference, social_cost=reference.social_cost + off))
        with pytest.raises(CertificateError, match=rf"design\.{name}\.design failed"):
            check_reference(joint, name, replace(reference, pool=references[name == "flat"].pool))
    higher = flat_design(joint, references[0].design.p2p * 0.5)
    row = solve_request(joint, Request("answer", higher))
    with pytest.raises(CertificateError, match=r"design\.flat\.width failed"):
        check_reference(
            joint, "flat", replace(references[0], pool=Pool(build_items(joint), [row]), social_cost=row.social_cost)
        )


def test_a_flat_tariff_is_judged_by_its_best_response_where_an_answer_falls_short(tmp_path):
    """Two scenarios of a congested feeder: the point of each answer recovers 0.3 cents too little, which once refused
    the study, while the exact response recovers the cost."""
    prepared = prepare(congested_study(tmp_path), "smoke", CONGESTED | {"n_scenarios": 2})
    joint = JointLP(cleared(prepared, find_case(4)))
    flat, _ = find_references(joint)
    assert flat.pool.rows[0].recovered < -LOSS_GAP  # and yet accepted
    check_reference(JointLP(joint.instance), "flat", flat)
    rows = closed(joint, Request("answer", flat_design(joint, flat.design.p2p - 0.001)))
    forged = replace(flat, pool=Pool(build_items(joint), rows), social_cost=rows[0].social_cost)
    with pytest.raises(CertificateError, match="shortfall"):
        check_reference(joint, "flat", forged)


def build_items(joint):
    return list(joint.history[1:])


def test_a_broken_run_goes_on_from_its_state(case, tmp_path):
    instance, _ = case
    state = tmp_path / "state.npz"
    kept = stored_references(JointLP(instance), 1, state, "this study")
    known = {"state": state, "origin": "this study"}
    lower, upper, solves, rows = interrupted(instance, kept, **known)
    again = stored_references(JointLP(instance), 1, state, "this study")
    assert [e.social_cost for e in again] == [e.social_cost for e in kept]
    second = run(instance, again, **known)
    whole = run(instance, kept)
    assert lower <= second.lower_bound + 1e-9 and second.upper_bound <= upper + 1e-9
    assert len(second.rows) > rows > 4
    assert second.lp_solves <= solves + whole.lp_solves
    assert second.gap <= 0.01 + 1e-9 and second.best.design == whole.best.design
    with pytest.raises(InputError, match="another study"):
        run(instance, kept, state=state, origin="another study")
    with pytest.raises(InputError, match="another study"):
        stored_references(JointLP(instance), 1, state, "another study")
    state.write_text("no state")
    with pytest.raises(InputError, match="no state of an interrupted run"):
        run(instance, kept, **known)
    with pytest.raises(InputError, match="no state of an interrupted run"):
        stored_references(JointLP(instance), 1, state, "this study")


def test_a_run_that_breaks_off_before_its_first_row_keeps_a_state(case, references, tmp_path, monkeypatch):
    instance, state = case[0], tmp_path / "state.npz"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hybrid.Search, "answer", stop)
        with pytest.raises(Interrupted, match=r"gap 100\.0% of the achievable gain"):
            run(instance, references, state=state, origin="this")
    with np.load(state) as found:
        assert found["search.kind"].size == 0
    again = run(instance, references, state=state, origin="this")
    assert again.best.design == run(instance, references).best.design


def killed(work) -> None:
    """Do something in a process of its own that is killed, as by kill -9, before it ends."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL


def kill_at(count: int, function):
    """A function that is done so often; after that it kills the process ``owner`` instead."""
    owner, calls = os.getpid(), itertools.count(1)

    def called(*given, **known):
        if next(calls) > count:
            os.kill(owner, signal.SIGKILL)
            time.sleep(60)
        return function(*given, **known)

    return called


def requests_of(state) -> list:
    """The requests that a state has answers to, of ended rounds and of the one that broke off."""
    with np.load(state) as file:
        arrays = {name: file[name] for name in file.files}
    pools = pools_of(arrays)
    return [row.request for name, pool in pools.items() if name.startswith(("search", "waiting")) for row in pool.rows]


def test_a_kill_between_two_answers_of_a_round_loses_none_of_them(case, references, searched, tmp_path, monkeypatch):
    """kill -9 within the second round: what was answered is not solved again, and the run ends as if nothing had
    been."""
    instance, state, after = case[0], tmp_path / "state.npz", hybrid.ROUND + 3
    monkeypatch.setattr(pool_module, "SAVE_EVERY", 0.0)

    def search() -> None:
        hybrid.solve_numbered = kill_at(after, hybrid.solve_numbered)
        run(instance, references, state=state, origin="this")

    killed(search)
    known = requests_of(state)
    assert len({request for request in known if request.kind == "answer"}) == after
    asked, original = [], hybrid.solve_numbered

    def solved(number, task, *given):
        asked.append(task.request)
        return original(number, task, *given)

    monkeypatch.setattr(hybrid, "solve_numbered", solved)
    again = run(instance, references, state=state, origin="this")
    assert asked and not {*asked} & {*known}
    assert again.best.design == searched.best.design and again.proof == searched.proof == "closed"
    whole = [searched.lower_bound, searched.upper_bound]
    assert [again.lower_bound, again.upper_bound] == pytest.approx(whole, abs=1e-3)
    assert {row.request for row in again.rows} == {row.request for row in searched.rows}, "the same rounds"


def test_jobs_of_minus_one_are_as_many_processes_as_there_are_cores(case, references, monkeypatch):
    asked: list[int] = []

    def parallel(n_jobs: int, **more: object) -> None:
        asked.append(n_jobs)
        raise KeyboardInterrupt

    monkeypatch.setattr(joblib, "Parallel", parallel)
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda jobs: 7 if jobs == -1 else jobs)
    with pytest.raises(KeyboardInterrupt):
        stored_references(JointLP(case[0]), -1, None, "")
    with pytest.raises(KeyboardInterrupt):
        run(case[0], references, jobs=-1)
    assert asked[0] == 2 and 1 < asked[1] <= 7


def test_with_two_processes_a_state_holds_the_answers_that_came(case, references, searched, tmp_path, monkeypatch):
    """With --jobs 2, where answers come in any order: what lies on disk within a round is what a kill leaves."""
    instance, state, left = case[0], tmp_path / "state.npz", tmp_path / "left.npz"
    monkeypatch.setattr(pool_module, "SAVE_EVERY", 0.0)
    save, task, asked = hybrid.Search.save, hybrid.Search.task, []

    def save_and_copy(self) -> None:
        save(self)
        if len(self.waiting) == 3 and not left.exists():
            shutil.copy(state, left)

    def noted(self, point, request):
        asked.append(request)
        return task(self, point, request)

    monkeypatch.setattr(hybrid.Search, "save", save_and_copy)
    run(instance, references, jobs=2, state=state, origin="this")
    known = requests_of(left)
    assert len(known) >= 3
    monkeypatch.setattr(hybrid.Search, "task", noted)
    again = run(instance, references, jobs=2, state=left, origin="this")
    assert asked and not {*asked} & {*known}
    assert again.best.design == searched.best.design
    whole = [searched.lower_bound, searched.upper_bound]
    assert [again.lower_bound, again.upper_bound] == pytest.approx(whole, abs=1e-3)


@pytest.mark.parametrize(("module", "after"), [("flat", 3), ("responses", 0), ("references", 2)])
def test_a_kill_within_the_references_loses_one_solve(case, tmp_path, monkeypatch, module, after):
    """In the scan for the flat tariff, in its exact responses, and in the rounds of tangents that close one."""
    instance, state = case[0], tmp_path / "state.npz"
    monkeypatch.setattr(pool_module, "SAVE_EVERY", 0.0)
    where, name = {
        "flat": (flat_module, "solve_request"),
        "responses": (flat_module, "optimistic_response"),
        "references": (references_module, "solve_request"),
    }[module]

    def both() -> None:
        setattr(where, name, kill_at(after, getattr(where, name)))
        stored_references(JointLP(instance), 1, state, "this")

    killed(both)
    assert state.is_file() and pieces(state), "the state is there from the first second on"
    scans: list[float] = []
    with monkeypatch.context() as patch:
        original = flat_module.solve_request
        patch.setattr(
            flat_module,
            "solve_request",
            lambda joint, request, *more: scans.append(request.design.p2p) or original(joint, request, *more),
        )
        again = stored_references(JointLP(instance), 1, state, "this")
        done = len(scans)
        whole = find_references(JointLP(instance))
    most = {"flat": len(scans) - done - 2, "responses": 1, "references": 0}[module]
    assert done <= most, "estimates but the last are not made twice"
    assert [e.social_cost for e in again] == pytest.approx([e.social_cost for e in whole], abs=1e-3)
    assert again[0].design.tariff == pytest.approx(whole[0].design.tariff, abs=1e-7)
    assert not pieces(state), "both references are in the state"
    kept = [reference.social_cost for reference in stored_references(JointLP(instance), 1, state, "this")]
    assert kept == [reference.social_cost for reference in again]


def test_the_first_end_is_kept_before_the_second(case, tmp_path, monkeypatch):
    instance, state = case[0], tmp_path / "state.npz"

    def both() -> None:
        references_module.first_best = kill_at(0, references_module.first_best)
        stored_references(JointLP(instance), 1, state, "this")

    killed(both)
    said: list[str] = []
    monkeypatch.setattr(references_module, "_flat", None)  # not found again
    stored_references(JointLP(instance), 1, state, "this", said.append)
    assert [line.split(" $")[1] for line in said] == ["/day, as stored and checked", "/day"]


@pytest.mark.parametrize("damage", ["text", "basis", "other"])
def test_an_unfinished_piece_that_is_none_is_refused_or_left(case, tmp_path, monkeypatch, damage):
    instance, state = case[0], tmp_path / "state.npz"
    monkeypatch.setattr(pool_module, "SAVE_EVERY", 0.0)
    joint = search_lp(instance)
    piece = Unfinished(state, "flat", "this")
    piece.begin(joint)
    solve_request(joint, Request("answer", flat_design(joint, 0.02)))
    path = pieces(state)[0]
    if damage == "text":
        path.write_text("no piece")
    elif damage == "basis":
        tampered(path, "columns", lambda part: part[3:])
    else:
        assert Unfinished(state, "flat", "this", "something else").basis is None
        with pytest.raises(InputError, match="another study"):
            Unfinished(state, "flat", "that")
        return
    with pytest.raises(InputError, match="no state of an interrupted run"):
        Unfinished(state, "flat", "this")


def tampered(path, member: str, change) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays[member] = change(arrays[member])
    np.savez(path, **arrays)


NO_STATE = "file: is no state of an interrupted run"


def with_dual(figures: np.ndarray) -> np.ndarray:
    figures = figures.copy()
    figures[0, 0] += 5000e-6
    return figures


@pytest.mark.parametrize(
    ("member", "change", "said"),
    [
        ("search.figures", with_dual, r"design\.rows\.search\[0\]: is not proved .*a bound of .* is stored"),
        ("flat.figures", with_dual, r"design\.rows\.flat\[0\]: is not proved .*a bound of .* is stored"),
        ("references", lambda costs: costs + np.array([10000.0, 0.0]), r"design\.flat\.above_its_point: is not proved"),
        (
            "references",
            lambda costs: costs - np.array([0.0, 10000.0]),
            r"design\.first_best\.not_reached: is not proved",
        ),
        ("trace", lambda trace: trace * np.nan, NO_STATE),
        ("best", lambda best: best + 99, NO_STATE),
        ("search.prices", lambda prices: prices - 3.0, r"search\[0\]: is not proved .*charges a peak that no menu"),
        ("search.prices", lambda prices: prices * np.nan, NO_STATE),
        ("search.figures", lambda figures: figures.astype(np.longdouble), NO_STATE),
        ("search.item_kind", lambda kinds: kinds[:0], NO_STATE),
        ("search.basis", lambda basis: basis[:-9], "is not proved .*the basis is of another LP"),
    ],
)
def test_a_tampered_state_is_not_believed(tmp_path, member, change, said):
    instance, state = market(), tmp_path / "state.npz"
    kept = stored_references(JointLP(instance), 1, state, "this")
    interrupted(instance, kept, state, origin="this")
    tampered(state, member, change)
    with pytest.raises(InputError, match=rf"state\.npz: .*{said}"):
        run(instance, stored_references(JointLP(instance), 1, state, "this"), state=state, origin="this")


def test_a_large_lp_ends_where_a_small_one_does(case, references, searched, monkeypatch):
    monkeypatch.setattr(hybrid, "LARGE", 0)
    clock = Clock()
    large = run(case[0], references, clock=clock)
    inside = clock.table(0.0).set_index(["phase", "work"])["calls"]
    assert inside.get(("answer, from the flat tariff", "interior point"), 0) > 0
    assert large.proof == searched.proof == "closed"
    assert max(large.lower_bound, searched.lower_bound) <= min(large.upper_bound, searched.upper_bound) + 1e-3


def test_workers_do_not_change_the_result(case, references):
    one, two = (run(case[0], references, jobs=jobs) for jobs in (1, 2))
    assert one.best.design == two.best.design
    assert [len(one.rows), one.lp_solves] == [len(two.rows), two.lp_solves]
    assert [one.lower_bound, one.upper_bound] == pytest.approx([two.lower_bound, two.upper_bound], abs=1e-7)


def test_a_menu_too_long_to_list_still_has_a_bound_and_a_gap(case, references):
    instance, _ = case
    steps = tuple(np.round(np.arange(0.005, 0.305, 0.005), 3).tolist())
    menu = Menu((steps, steps, steps), steps, instance.menu.capacity)
    assert menu.n_points > 10**7
    flat, ideal = references
    result = run(replace(instance, menu=menu), references, time_limit=4.0)
    assert result.menu_points == menu.n_points + 3
    assert ideal.lower_bound <= result.lower_bound <= result.upper_bound <= flat.social_cost
    assert result.gap == pytest.approx((result.upper_bound - result.lower_bound) / gain(references))
    assert result.proof == "not run"


def test_a_menu_without_the_flat_tariff_is_searched_as_it_is(case, references):
    instance, found = case
    result = run(instance, references, beside=())
    least = min(best.social.total for best in found.values())
    assert result.menu_points == instance.menu.n_points and result.best.design in found
    gap = 0.01 * gain(references) + 1e-3
    assert least - gap <= result.lower_bound <= least + 1e-3 and result.upper_bound <= least + gap
    with pytest.raises(NoRecoveryError, match="no design of the menu"):
        run(replace(instance, fixed_cost=1e3), references, beside=())
    with pytest.raises(SolverError, match="time was up"):
        run(instance, references, beside=(), time_limit=0.0)


def test_a_menu_that_is_worse_than_the_flat_tariff_ends_with_the_flat_tariff(case, references):
    instance, _ = case
    dear = Menu(((0.30,), (0.30,), (0.40,)), (0.04,), ((1, (1000.0,)),))
    result = run(replace(instance, menu=dear), references)
    assert result.best.design.tariff == references[0].design.tariff
    assert result.upper_bound == pytest.approx(references[0].social_cost, abs=1e-3)
    assert result.menu_points == 2 and result.proof == "closed"


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=4, max_size=4))
def test_maximal_positions_are_those_that_nothing_marked_is_above(marks):
    mask = np.array(marks)
    marked = [tuple(at) for at in np.argwhere(mask).tolist()]
    above = {at for at in marked if not any(np.greater_equal(other, at).all() for other in marked if other != at)}
    assert set(maximal(mask)) == above


def test_every_tariff_is_met_once_nearest_first():
    menu = Coordinates.of(Menu(((0.1, 0.2, 0.3), (0.1, 0.2)), (0.0, 0.1), ()), [Design((0.15, 0.15), 0.15)])
    assert menu.n_tariffs == menu.n_points == 13 and menu.shape == ()
    order = list(menu.from_near(menu.point(Design((0.3, 0.2), 0.1))[0]))
    assert sorted(order) == list(range(13)) and order[0] == 12
    far = [np.abs(np.subtract(menu.prices(k)[:3], (0.3, 0.2, 0.1))).sum() for k in order[1:]]
    assert far[0] == 0 and far[-1] == max(far)


def test_an_answers_point_that_is_no_best_reply_is_no_incumbent():
    """At no P2P charge the minimiser of V + 1e-6 F gave the follower 7e-6 $ too much and showed 15 $ too little F: a
    worse design hid the better one, and a valid study was refused."""
    study = Path(__file__).resolve().parents[1] / "data" / "studies" / "ieee33"
    menu = {"off_peak": [0.08], "day": [0.08], "peak": [0.11]}
    changes = {"n_prosumers": 5, "n_scenarios": 4, "billing": "expected", "menus.fast.tariff": menu}
    changes |= {"fixed_share": 0.0, "peak_with_losses": False}
    changes |= {"menus.fast.individual_peak": [0.0], "menus.fast.coincident_peak": [0.0]}
    limits = {1: [2200, 4700], 18: [2200], 22: [2200], 25: [2200]}
    changes |= {"menus.fast.p2p": [0.0], "menus.fast.capacity": limits}
    instance = cleared(prepare(study, "fast", changes), find_case(4))
    references = find_references(JointLP(instance))
    result = run(instance, references, beside=(), gap=0.005)
    exact = {d.capacity[0][1]: best.social.total for d, best in enumerated(instance).items()}
    own, fine = ([row for row in result.rows if row.request.epsilon == epsilon] for epsilon in (EPSILON, FINE))
    shown = min(row.social_cost for row in own if row.request.design.capacity[0] == (1, 2200.0))
    assert shown < exact[4700.0] - 1.0 < exact[2200.0] - 10.0, "the answer's own point seems better than the best"
    assert dict(result.best.design.capacity)[1] == 4700.0
    assert result.upper_bound == pytest.approx(exact[4700.0], abs=1e-3)
    assert result.gap <= 0.005 and result.proof == "closed"
    assert max(row.bound for row in fine) > shown + 10.0, "less weight on F holds the follower to its optimum"


def test_every_way_that_is_measured_changes_something_that_is_there():
    """Ways of data/results/ways.py replace a name of the search: one that is gone would be measured as it stands."""
    spec = importlib.util.spec_from_file_location("ways", Path(__file__).parents[1] / "data" / "results" / "ways.py")
    ways = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ways)
    assert all(hasattr(place, name) for changes in ways.WAYS.values() for place, name, _ in changes)
    assert sum(not changes for changes in ways.WAYS.values()) == 1
