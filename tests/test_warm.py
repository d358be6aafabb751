"""The warm LP's own books: bases from the list of basic variables, tangents once, rows proved beside later ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from toy import small_market

from tritier.inputs.instance import Menu
from tritier.model.chance import Block
from tritier.model.dso import menu_points
from tritier.model.risk import sample_cvar
from tritier.reformulation.joint import JointLP, follower_lp, kept
from tritier.reformulation.lp import AT_LOWER, AT_UPPER, BASIC, Factors, basic_point, basis_of, primal_residual
from tritier.search.check import check_row, completed
from tritier.search.cuts import Request, cost_of, solve_request
from tritier.search.flat import flat_design
from tritier.search.pool import Pool, items_in, items_of, reorder

LEVELS = Menu(((0.02, 0.08), (0.08, 0.14), (0.08, 0.20)), (0.02, 0.04), ((1, (230.0, 300.0, 1000.0)),))


@pytest.fixture
def instance():
    return replace(small_market(seed=1, tie_break=1e-3, demand_charge=0.1), menu=LEVELS, fixed_cost=20.0)


@pytest.fixture
def joint(instance):
    return JointLP(instance)


def basics(part: bytes) -> np.ndarray:
    return np.frombuffer(part, dtype=np.uint8) == BASIC


def test_the_basis_of_a_solve_is_highs_own(joint):
    joint.warm.solve()
    ours, theirs = joint.warm.basis(), basis_of(joint.warm._highs)
    lp = joint.warm.current()
    fixed = (lp.col_lower == lp.col_upper, lp.row_lower == lp.row_upper)  # either bound is right for these
    for own, other, either in zip(ours, theirs, fixed, strict=True):
        a, b = (np.frombuffer(part, dtype=np.uint8) for part in (own, other))
        differs = a != b
        assert not (differs & ~either).any()
        assert set(a[differs]) | set(b[differs]) <= {AT_LOWER, AT_UPPER}
    joint.warm.restart()
    joint.warm.set_basis(ours)
    assert joint.warm.solve().iterations == 0


def test_a_basis_is_read_again_after_rows_came(joint):
    x = joint.warm.solve().x
    before = joint.warm.basis()
    joint.tangent(joint.net_load(x))
    after = joint.warm.basis()
    assert len(after[1]) > len(before[1]) and basics(after[1])[len(before[1]) :].all()


def test_a_tangent_enters_once(joint):
    load = joint.net_load(joint.warm.solve().x)
    joint.tangent(load)
    rows = joint.lp.row_lower.size
    joint.tangent(load.copy())
    joint.tangent(joint.instance.days.passive_kw)  # the first of all
    assert joint.lp.row_lower.size == rows and len(items_of(joint)) == 1


def test_a_pool_learns_an_item_once():
    load, block = np.ones((2, 1, 1)), Block("rating", 0, 0)
    pool = Pool([block])
    pool.learn([load, load.copy(), block, Block("rating", 0, 1)])
    assert len(pool.items) == 3 and pool.items[0] is block


def answered(joint):
    return solve_request(joint, Request("answer", list(menu_points(joint.instance.menu))[-1]))


def test_a_basis_in_another_order_has_as_many_basics_as_rows(joint):
    row = answered(joint)
    joint.tangent(row.load)
    row = solve_request(joint, row.request)
    own = items_of(joint)
    later = [*reversed(own), Block("voltage_low", joint.instance.feeder.bus.size - 1, 0)]
    moved = reorder(joint, row.basis, [*own, later[-1]], later)
    assert items_in(joint, row.basis, own) == len(own)
    assert sum(int(basics(part).sum()) for part in moved) == len(moved[1])


def test_a_row_is_proved_beside_a_block_that_came_later_and_bites_in_one_scenario(instance):
    instance = replace(instance, rules=replace(instance.rules, chance_level=0.8))
    days, confidence = instance.days, 0.2
    free = JointLP(instance)
    flow = np.abs(free.network.matrices.flows(answered(free).load))  # (L, T, S)
    risk = sample_cvar(flow, days.probability, confidence)  # (L, T)
    line = int((flow.max(axis=(1, 2)) - risk.max(axis=1)).argmax())
    hour, limit = int(risk[line].argmax()), risk[line].max() + 1e-6
    assert flow[line, hour].max() > limit + 1.0  # one scenario goes beyond, the CVaR does not
    rating = instance.feeder.rating_kva.copy()
    rating[line] = np.hypot(limit, np.abs(free.network.reactive_flow[line, hour]).max())
    joint = JointLP(replace(instance, feeder=replace(instance.feeder, rating_kva=rating)))
    row = answered(joint)
    block = Block("rating", line, hour)
    assert block not in joint.blocks
    own = items_of(joint)
    joint.add_block(block)
    row = replace(row, basis=reorder(joint, row.basis, own, [*own, block]))
    joint.set_design(row.request.design)
    x, _ = basic_point(joint.warm.current(), cost_of(joint, row.request), row.basis)
    assert primal_residual(joint.lp, x) > 1.0
    assert primal_residual(joint.lp, completed(joint, x, row.request.design)) < 1e-6
    again = check_row(joint, row)
    assert again.bound == pytest.approx(row.bound, abs=0.01) and again.need == pytest.approx(row.need, abs=1e-9)


@pytest.mark.parametrize("kind", ["answer", "least"])
def test_a_block_that_the_decisions_violate_is_not_talked_away(joint, kind):
    asked = Request("least", flat_design(joint, 0.0)) if kind == "least" else answered(joint).request
    row = solve_request(joint, asked)
    flow = np.abs(joint.network.matrices.flows(row.load))
    line, hour = np.unravel_index(flow.min(axis=-1).argmax(), flow.shape[:2])
    rating = joint.instance.feeder.rating_kva.copy()
    rating[line] = flow[line, hour].min() / 2
    tight = JointLP(replace(joint.instance, feeder=replace(joint.instance.feeder, rating_kva=rating)))
    own = items_of(joint)
    tight.add_blocks(joint.blocks)
    tight.add_block(Block("rating", int(line), int(hour)))
    moved = replace(row, basis=reorder(tight, row.basis, own, items_of(tight)))
    with pytest.raises(ValueError, match="misses a row by"):
        check_row(tight, moved)


def test_a_response_found_without_a_block_that_binds_is_none(joint):
    """At a limit of half the flow: J of the point is below what the follower can reach there, so that the bound from it
    would lie above the true one. Its own LP has no row that says so."""
    tight = replace(list(menu_points(joint.instance.menu))[-1], capacity=((1, 60.0),))
    instance = replace(joint.instance, menu=replace(joint.instance.menu, capacity=((1, (60.0, 1000.0)),)))
    blind, seeing = JointLP(instance, network=False, lp=JointLP(instance).bare), JointLP(instance)
    wrong, right = (solve_request(lp, Request("answer", tight)) for lp in (blind, seeing))
    assert wrong.follower_value < right.follower_value - 1.0
    assert check_row(seeing, right).bound == pytest.approx(right.bound, abs=0.01)
    with pytest.raises(ValueError, match=r"violates capacity\[.*leave out"):
        check_row(JointLP(instance), wrong)


@pytest.mark.parametrize("kind", ["answer", "shortfall"])
def test_a_weight_below_zero_bounds_from_above_and_is_refused(joint, kind):
    """The basis is optimal, the point a best response, and what it proves lies far above the least F, or above the
    least that any response leaves uncovered."""
    design = list(menu_points(joint.instance.menu))[-1]
    right, wrong = (solve_request(joint, Request(kind, design, epsilon)) for epsilon in (1e-6, -1e-6))
    assert wrong.bound > right.bound + 10.0
    assert check_row(joint, right).bound == pytest.approx(right.bound, abs=0.01)
    with pytest.raises(ValueError, match="proves no bound"):
        check_row(joint, wrong)
    with pytest.raises(ValueError, match="proves no bound"):
        check_row(joint, replace(right, request=replace(right.request, epsilon=1e-12)))


def test_least_social_cost_at_prices_beyond_the_boxes_is_refused(instance):
    """At 15 $/kWh a day's cost would leave its box, so that less is bought than everybody buys at other prices."""
    joint = JointLP(replace(instance, rules=replace(instance.rules, billing="scenario")))
    free, forced = (solve_request(joint, Request("least", flat_design(joint, at))) for at in (0.08, 15.0))
    assert forced.bound > free.social_cost + 10.0
    assert check_row(joint, free).bound == pytest.approx(free.bound, abs=0.01)
    with pytest.raises(ValueError, match="beyond 1"):
        check_row(joint, forced)


def test_the_point_of_a_basis_is_the_solvers_own(joint):
    request = Request("answer", list(menu_points(joint.instance.menu))[-1])
    joint.set_design(request.design)
    cost = cost_of(joint, request)
    found = joint.solve(cost)
    cost = cost_of(joint, request)
    x, y = basic_point(joint.warm.current(), cost, joint.warm.basis())
    assert x == pytest.approx(found.x, abs=1e-7)
    assert y == pytest.approx(found.y, abs=1e-6 * np.abs(found.y).max())
    columns, rows = joint.warm.basis()
    lp = joint.warm.current()
    with pytest.raises(ValueError, match="singular"):
        huge = {name: 1e300 * getattr(lp, name) for name in ("row_lower", "row_upper")}
        basic_point(replace(lp, matrix=1e-10 * lp.matrix, **huge), cost, joint.warm.basis())
    for broken, why in (
        ((columns[1:], rows), "the basis is of another LP"),
        ((columns, rows[:-1]), "the basis is of another LP"),
        ((bytes(len(columns)), rows), r"0 basic columns for \d+ tight rows"),
        ((columns, bytes(len(rows))), rf"\d+ basic columns for {len(rows)} tight rows"),
    ):
        with pytest.raises(ValueError, match=f"^{why}$"):
            basic_point(joint.warm.current(), cost, broken)


@pytest.mark.parametrize("seed", range(20))
def test_factors_solve_both_ways_whatever_the_order_takes_out_first(seed):
    """Triangular but for a few entries, dense, and with an entry that is zero, where a pivot must not be sought."""
    rng, m = np.random.default_rng(seed), 12
    entries = np.triu(rng.normal(size=(m, m)) * (rng.random((m, m)) < 0.4), 1) + np.eye(m) * (1 + rng.random(m))
    entries[-1, seed % 11] += 0.5 * (seed % 2)
    entries = entries[rng.permutation(m)][:, rng.permutation(m)]
    entries = entries if seed % 5 else rng.normal(size=(m, m))
    row, column = np.nonzero(entries)
    places = (np.append(row, seed % m), np.append(column, 0))
    own = sp.csr_array((np.append(entries[row, column], 0.0), places), (m, m))
    side = rng.normal(size=m)
    factors = Factors(own)
    assert own @ factors.solve(side) == pytest.approx(side, abs=1e-9)
    assert own.T @ factors.solve_transposed(side) == pytest.approx(side, abs=1e-9)


@pytest.mark.parametrize("entries", [[[0.0]], [[1, 1], [1, 1]], [[1, 0, 0], [1, 1, 1], [2, 1, 1]], [[1, 1], [0, 0]]])
def test_a_singular_basis_is_refused(entries):
    with pytest.raises(ValueError, match="singular"):
        Factors(sp.csr_array(np.array(entries, dtype=float)))


def test_an_lp_is_kept_by_what_its_instance_holds(instance):
    """A second reading of a study is the same question; any other number, market or device is another."""
    known = kept(follower_lp, 4)
    lp = known(instance)
    again = replace(small_market(seed=1, tie_break=1e-3, demand_charge=0.1), menu=LEVELS, fixed_cost=20.0)
    assert again is not instance and known(again) is lp
    joint = JointLP(again, lp=lp)
    joint.set_design(next(menu_points(LEVELS)))
    joint.solve(joint.cost(next(menu_points(LEVELS))))
    fresh = follower_lp(instance)
    assert (lp.matrix != fresh.matrix).nnz == 0, "who uses it changes nothing of it"
    for name in ("cost", "row_lower", "row_upper", "col_lower", "col_upper"):
        assert np.array_equal(getattr(lp, name), getattr(fresh, name)), name
    days = instance.days
    other = instance.on(replace(days, demand_kw=np.nextafter(days.demand_kw, np.inf)))
    assert known(other) is not lp and known(instance, False) is not lp
    unlike = replace(instance.prosumers[0], devices=(lambda d: None,))  # has no content to be told by
    odd = replace(instance, prosumers=(unlike, *instance.prosumers[1:]))
    assert known(odd) is not known(odd)
