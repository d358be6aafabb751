"""The hybrid search against complete enumeration: no cut loses a design, bounds hold, the same optimum."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from toy import small_market

from tritier.cases.proof import check_pool, proved_bound
from tritier.errors import CertificateError, InfeasibleError, InputError
from tritier.inputs.instance import Design, Menu
from tritier.model.dso import menu_points
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import BASIC
from tritier.search.cuts import (
    ROUNDING,
    Shape,
    answer,
    expand,
    oracle,
    outer_cut,
    prices,
    reached,
    response,
    spread,
    tolerance,
    touched,
    weighed,
)
from tritier.search.ledger import Ledger
from tritier.search.menu import Box
from tritier.search.pool import Pool, Request, build, packed, solve_request, unpacked
from tritier.search.responses import first_best, optimistic_response
from tritier.search.scip import below, prove
from tritier.search.tree import solve

# A tie-break that weighs in dollars keeps the follower's answer insensitive to the solver's tolerance.
TIE_BREAK = 1e-3
FIXED = {1: 20.0, 4: 40.0}  # $: half of the menu recovers it
LEVELS = Menu(((0.02, 0.08), (0.08, 0.14), (0.08, 0.20)), (0.02, 0.04), ((1, (230.0, 300.0, 1000.0)),))


def market(seed: int = 1):
    return replace(small_market(seed=seed, tie_break=TIE_BREAK, demand_charge=0.1), menu=LEVELS, fixed_cost=FIXED[seed])


def enumerated(instance) -> dict[Design, object]:
    """Optimistic responses of the designs that recover the revenue."""
    joint, found = JointLP(instance), {}
    for design in menu_points(instance.menu):
        try:
            found[design] = optimistic_response(joint, design)
        except InfeasibleError:
            continue
    return found


@pytest.fixture(scope="module", params=[1, 4])
def case(request):
    instance = market(request.param)
    found = enumerated(instance)
    assert 4 <= len(found) < instance.menu.n_points  # some designs recover the cost, some do not
    return instance, found


def search_lp(instance) -> JointLP:
    joint = JointLP(instance)
    return build(instance, True, joint.bare, [])


def z_of(joint: JointLP, found) -> np.ndarray:
    """z of an optimistic response, with the limits offered."""
    z = np.zeros(Shape.of(joint).size)
    x = found.x
    z[: 3 + found.energy.size + 1] = (
        found.social.total,
        float(x[joint.lp.at("R")]),
        found.social.network,
        *found.energy,
        found.volume,
    )
    z[Shape.of(joint).capacity] = joint.offered(found.design)
    return z


def all_rows(instance):
    """Rows of all kinds: support calls, followers, falling weights, answers on F and on the shortfall."""
    joint = search_lp(instance)
    shape, rng = Shape.of(joint), np.random.default_rng(0)
    requests = []
    for _ in range(10):
        direction = np.concatenate(
            [rng.uniform(0.01, 1, 3), rng.uniform(-0.1, 0.2, shape.energies), rng.uniform(0, 0.5, 1)]
        )
        requests.append(Request("support", None, tuple(direction)))
    for design in list(menu_points(instance.menu))[::5]:
        requests += [Request("weighed", design, weights) for weights in ((0, 1, 0), (1, 64, 0), (1, 4, 0), (0, 1, 0.2))]
        requests += [Request("answer", design), Request("shortfall", design)]
    return joint, [solve_request(joint, request) for request in requests]


def test_no_row_loses_a_design(case):
    instance, found = case
    joint, rows = all_rows(instance)
    shape = Shape.of(joint)
    assert len(rows) > 30 and all(row.cut is not None for row in rows)
    assert sum(row.z is not None for row in rows) > 8
    answered = 0
    for best in found.values():
        z, price = z_of(joint, best), prices(best.design)
        for row in rows:
            assert row.cut.direction @ z >= row.cut.value - 1e-6 * max(1.0, abs(row.cut.value))
            if row.z is None or not (row.z[shape.capacity] <= z[shape.capacity]).all():
                continue
            worth = row.z[1] + row.z[shape.energy] @ price
            assert best.theta <= worth + tolerance(best.theta)
            own = row.answer and row.answer.design
            same = own and (own.tariff, own.p2p) == (best.design.tariff, best.design.p2p)
            if same and (z[shape.capacity] <= joint.offered(own)).all():
                answered += 1
                short = z[2] - z[shape.energy] @ price
                assert row.answer.least <= (short if row.request.kind == "shortfall" else z[0]) + 1e-4
    assert answered >= 8


def test_an_answer_is_the_optimistic_response(case):
    instance, found = case
    joint = search_lp(instance)
    for design, best in list(found.items())[::3]:
        got = answer(joint, design)
        assert got.reached == pytest.approx(best.social.total, abs=0.02)
        assert got.least <= best.social.total + 1e-4
        assert got.worth == pytest.approx(best.theta, rel=1e-7)


def test_wrong_duals_and_directions_still_bound(case):
    instance, found = case
    joint = search_lp(instance)
    shape, rng = Shape.of(joint), np.random.default_rng(3)
    design = next(iter(found))
    solution, _ = weighed(joint, design, (1.0, 4.0, 0.0))
    direction = expand(shape, (1.0, 4.0, 0.0), prices(design), np.zeros(shape.capacities))
    for wrong in (
        solution.y * 1.5,
        -solution.y,
        solution.y + rng.normal(0, 1, solution.y.size),
        np.zeros(solution.y.size),
    ):
        cut = outer_cut(joint, direction, wrong)
        for best in found.values():
            assert cut.direction @ z_of(joint, best) >= cut.value - 1e-6 * max(1.0, abs(cut.value))


def test_an_infeasible_point_is_no_response(case):
    instance, found = case
    joint = search_lp(instance)
    solution, _ = weighed(joint, next(iter(found)), (0.0, 1.0, 0.0))
    assert response(joint, solution.x) is not None
    x = solution.x.copy()
    x[joint.lp.at("R")] -= 1.0
    assert response(joint, x) is None


def test_a_cut_is_tight_where_it_was_found(case):
    instance, _ = case
    joint = search_lp(instance)
    direction = expand(Shape.of(joint), (0.5, 0.4, 0.1), np.array([0.05, 0.1, 0.1, 0.02]), np.array([0.1]))
    solution, cut = oracle(joint, direction)
    assert solution.objective == pytest.approx(spread(joint, direction) @ solution.x)
    lowered = ROUNDING * max(1.0, abs(cut.value))
    assert cut.direction @ solution.x[touched(joint)] - lowered == pytest.approx(cut.value, rel=1e-7)


def bounds(instance):
    joint = JointLP(instance)
    flat = 1.0 + max(r.social.total for r in enumerated(instance).values())
    return joint, flat, first_best(joint)


@pytest.fixture(scope="module")
def searched(case):
    instance, _ = case
    joint, flat, ideal = bounds(instance)
    return solve(joint, gap=0.01, f_flat=flat, f_first_best=ideal), joint, flat - ideal


@pytest.fixture(scope="module")
def searched_by_scip(case):
    instance, _ = case
    joint, flat, ideal = bounds(instance)
    return solve(joint, gap=0.01, f_flat=flat, f_first_best=ideal, engine="scip"), joint, flat - ideal


@pytest.mark.parametrize("engine", ["searched", "searched_by_scip"])
def test_same_optimum_as_enumeration(case, engine, request):
    _, found = case
    result, _, gain = request.getfixturevalue(engine)
    least = min(r.social.total for r in found.values())
    assert result.lower_bound <= least + 1e-6
    assert result.upper_bound == pytest.approx(least, abs=0.01 * gain + 1e-6)
    assert result.gap <= 0.01 + 1e-9
    assert result.best.design in found
    lower, upper = result.trace["lower_bound"].to_numpy(), result.trace["upper_bound"].to_numpy()
    assert (np.diff(lower) >= 0).all() and (np.diff(upper) <= 0).all()
    assert len(result.table) < result.menu_points, "limits that do not bind share their answer"


def test_scip_closes_the_proof_and_its_controls_catch_false_rows(searched):
    result, joint, gain = searched
    assert result.verdict.closed and result.proof == "closed"
    ledger = Ledger.of(joint, 0.01 * gain, result.pool)
    z, master = reached(result.best), ledger.master()
    where, limit = ledger.menu.positions(result.best.design), below(result.lower_bound, gain)
    assert prove(master, limit, z, where).closed
    assert prove(master, result.upper_bound + gain, z, where).status != "infeasible", "the incumbent lies below"
    wrong = master.responses[0].copy()
    wrong[1] -= 50.0
    wrong[Shape.of(joint).capacity] = 0.0
    false_response = prove(replace(master, responses=[*master.responses, wrong]), limit, z, where)
    assert false_response.status == "infeasible" and "response" in false_response.missed and not false_response.closed
    false_answer = prove(replace(master, answers=[*master.answers, (Box(where, where), np.inf)]), limit, z, where)
    assert "answer" in false_answer.missed and not false_answer.closed


def test_the_two_engines_bounds_agree_within_the_gap(searched, searched_by_scip):
    (tree, _, gain), (scip, _, _) = searched, searched_by_scip
    assert abs(tree.lower_bound - scip.lower_bound) <= 0.01 * gain + 1e-9
    assert max(tree.lower_bound, scip.lower_bound) <= min(tree.upper_bound, scip.upper_bound) + 1e-6
    assert scip.proof == "closed" and list(scip.trace) == list(tree.trace)


def stopping(after: int):
    """A progress line that is Ctrl-C once there have been so many lines with an incumbent."""
    told = []

    def stop(line: str) -> None:
        told.append(line)
        if sum(" inf " not in earlier for earlier in told) == after:
            raise KeyboardInterrupt

    return stop


def test_scips_tree_stops_when_it_is_told_to(case):
    instance, found = case
    _, flat, ideal = bounds(instance)
    known = {"gap": 1e-6, "f_flat": flat, "f_first_best": ideal, "engine": "scip"}
    result = solve(JointLP(instance), **known, progress=stopping(2))
    least = min(r.social.total for r in found.values())
    assert result.lower_bound <= least + 1e-6 and result.upper_bound >= least - 1e-6
    assert result.proof == "not run"
    with pytest.raises(InputError, match="unknown engine 'gurobi'"):
        solve(JointLP(instance), **(known | {"engine": "gurobi"}))


@pytest.mark.parametrize("engine", ["searched", "searched_by_scip"])
def test_every_row_holds_from_its_own_basis(case, engine, request):
    result, joint, gain = request.getfixturevalue(engine)
    pool = unpacked(packed(result.pool))
    assert check_pool(joint, pool) == check_pool(joint, pool, jobs=2) == len(result.pool.rows)
    assert all(sum(part.count(BASIC) for part in row.basis) == len(row.basis[1]) for row in pool.rows)
    slack = result.upper_bound - result.lower_bound
    assert proved_bound(Ledger.of(joint, slack, pool), result.upper_bound) >= result.lower_bound - 1e-6
    if engine == "searched_by_scip":
        return  # its bound is the target, which other answers may give as well
    fewer = [r for r in pool.rows if r.request.design != result.best.design or not r.answer]
    assert len(fewer) < len(pool.rows)
    without = Ledger.of(joint, slack, Pool(pool.items, fewer))
    assert proved_bound(without, result.upper_bound) < result.lower_bound - 1e-3 * gain


@pytest.mark.parametrize("what", ["cut", "response", "answer"])
def test_a_row_that_its_basis_does_not_prove_is_refused(searched, what):
    result, joint, _ = searched
    pool = unpacked(packed(result.pool))
    k = next(k for k, row in enumerate(pool.rows) if row.request.kind == "answer")
    row = pool.rows[k]
    if what == "cut":
        row = replace(row, cut=replace(row.cut, value=row.cut.value + 2 * ROUNDING * max(1.0, abs(row.cut.value))))
    elif what == "response":
        row = replace(row, z=row.z * 1.01)
    else:
        row = replace(row, answer=replace(row.answer, least=row.answer.least + 0.1))
    pool.rows[k] = row
    with pytest.raises(CertificateError, match=rf"row\[{k}\]\.{what}"):
        check_pool(joint, pool)


def test_a_broken_run_goes_on_from_its_state(case, tmp_path):
    instance, _ = case
    _, flat, ideal = bounds(instance)
    state = tmp_path / "state.npz"
    lines = []

    def stop(line: str) -> None:
        lines.append(line)
        if len(lines) == 1:
            raise KeyboardInterrupt

    known = {"gap": 0.01, "f_flat": flat, "f_first_best": ideal, "state": state, "origin": "this study"}
    first = solve(JointLP(instance), progress=stop, **known)
    second = solve(JointLP(instance), **known)
    assert first.lower_bound <= second.lower_bound + 1e-9 and second.upper_bound <= first.upper_bound + 1e-9
    assert len(second.pool.rows) > len(first.pool.rows) > 0
    assert second.lp_solves < first.lp_solves + solve(JointLP(instance), **(known | {"state": None})).lp_solves
    assert second.gap <= 0.01 + 1e-9
    other = solve(JointLP(instance), **(known | {"origin": "another study"}), time_limit=0.0)
    assert len(other.pool.rows) < len(second.pool.rows), "the state of another study is not taken up"
    state.write_text("no state")
    with pytest.raises(InputError, match="no state of an interrupted run"):
        solve(JointLP(instance), **known)


def test_workers_do_not_change_the_result(case):
    instance, _ = case
    _, flat, ideal = bounds(instance)
    one, two = (solve(JointLP(instance), gap=0.01, f_flat=flat, f_first_best=ideal, jobs=jobs) for jobs in (1, 2))
    assert one.best.design == two.best.design
    assert [len(one.pool.rows), one.lp_solves] == [len(two.pool.rows), two.lp_solves]
    assert [one.lower_bound, one.upper_bound] == pytest.approx([two.lower_bound, two.upper_bound], abs=1e-7)


def test_ctrl_c_keeps_incumbent_and_valid_bound(case):
    instance, found = case
    _, flat, ideal = bounds(instance)
    result = solve(JointLP(instance), gap=1e-6, f_flat=flat, f_first_best=ideal, progress=stopping(1))
    least = min(r.social.total for r in found.values())
    assert result.lower_bound <= least + 1e-6
    assert result.upper_bound >= least - 1e-6
    assert result.proof == "not run"


def test_a_menu_too_long_to_list_still_has_a_bound_and_a_gap(case):
    instance, _ = case
    steps = tuple(np.round(np.arange(0.005, 0.305, 0.005), 3).tolist())
    menu = Menu((steps, steps, steps), steps, instance.menu.capacity)
    assert menu.n_points > 10**7
    _, flat, ideal = bounds(instance)
    result = solve(JointLP(replace(instance, menu=menu)), gap=0.01, f_flat=flat, f_first_best=ideal, time_limit=4.0)
    assert result.menu_points == menu.n_points
    assert 0.98 * ideal <= result.lower_bound <= result.upper_bound  # the loss tangents understate a little
    assert result.gap == pytest.approx((result.upper_bound - result.lower_bound) / (flat - ideal))


def test_what_an_answer_leaves_of_a_box_covers_it_once():
    box = Box((0, 0, 0), (2, 3, 1))
    for low in product(range(3), range(4), range(2)):
        parts = [Box(low, box.high), *box.without_top(low)]
        for point in product(range(3), range(4), range(2)):
            assert sum(part.holds(Box(point, point)) for part in parts) == 1
