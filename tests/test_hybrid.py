"""The hybrid search against complete enumeration: no cut loses a design, bounds hold, the same optimum."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from toy import small_market

from tritier.cuts import (
    Shape,
    expand,
    limits_of,
    oracle,
    outer_cut,
    prices,
    response,
    spread,
    tolerance,
    touched,
    weighed,
)
from tritier.dso import menu_points
from tritier.errors import InfeasibleError, InputError
from tritier.first_best import first_best
from tritier.hybrid import solve
from tritier.hybrid_explore import Point, explore_point
from tritier.hybrid_pool import build, items_of
from tritier.instance import Design, Menu
from tritier.joint import JointLP
from tritier.optimistic import optimistic_response

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
    z[Shape.of(joint).capacity] = limits_of(joint, found.design)
    return z


def all_found(instance):
    """Cuts and responses of all kinds: support calls, followers, ladders, value rows."""
    joint = search_lp(instance)
    shape, rng = Shape.of(joint), np.random.default_rng(0)
    cuts, columns = [], []
    for _ in range(10):
        direction = np.concatenate(
            [rng.uniform(0.01, 1, 3), rng.uniform(-0.1, 0.2, shape.energies), rng.uniform(0, 0.5, 1)]
        )
        cut, column = oracle(joint, direction)
        cuts.append(cut)
        columns.append(column)
    designs = list(menu_points(instance.menu))
    for k, visits in product(range(0, len(designs), 5), (-1, 0, 1, 2)):
        found = explore_point(joint, Point(designs[k], 0.0, visits))
        cuts += found.cuts
        columns += found.columns
    return joint, cuts, [c for c in columns if c is not None]


def test_no_cut_loses_a_design(case):
    instance, found = case
    joint, cuts, columns = all_found(instance)
    shape = Shape.of(joint)
    assert len(cuts) > 30 and len(columns) > 30
    for best in found.values():
        z, price = z_of(joint, best), prices(best.design)
        for cut in cuts:
            assert cut.direction @ z >= cut.value - 1e-6 * max(1.0, abs(cut.value))
        for column in columns:
            if (column.z[shape.capacity] <= z[shape.capacity]).all():
                worth = column.z[1] + column.z[shape.energy] @ price
                assert best.theta <= worth + tolerance(best.theta)


def test_wrong_duals_and_directions_still_bound(case):
    instance, found = case
    joint = search_lp(instance)
    shape, rng = Shape.of(joint), np.random.default_rng(3)
    design = next(iter(found))
    solution, _, _ = weighed(joint, design, (1.0, 4.0, 0.0))
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
    solution, _, column = weighed(joint, next(iter(found)), (0.0, 1.0, 0.0))
    assert column is not None
    x = solution.x.copy()
    x[joint.lp.at("R")] -= 1.0
    assert response(joint, x) is None


def test_a_cut_is_tight_where_it_was_found(case):
    instance, _ = case
    joint = search_lp(instance)
    direction = expand(Shape.of(joint), (0.5, 0.4, 0.1), np.array([0.05, 0.1, 0.1, 0.02]), np.array([0.1]))
    cut, _ = oracle(joint, direction)
    joint.offer(None)
    x = joint.settle(spread(joint, direction)).x
    assert cut.direction @ x[touched(joint)] == pytest.approx(cut.value, rel=1e-6)


def bounds(instance):
    joint = JointLP(instance)
    flat = 1.0 + max(r.social.total for r in enumerated(instance).values())
    return joint, flat, first_best(joint)


def test_same_optimum_as_enumeration(case):
    instance, found = case
    joint, flat, ideal = bounds(instance)
    result = solve(joint, gap=0.01, f_flat=flat, f_first_best=ideal)
    least = min(r.social.total for r in found.values())
    assert result.lower_bound <= least + 1e-6
    assert result.upper_bound == pytest.approx(least, abs=0.01 * (flat - ideal) + 1e-6)
    assert result.gap <= 0.01 + 1e-9
    lower, upper = result.trace["lower_bound"].to_numpy(), result.trace["upper_bound"].to_numpy()
    assert (np.diff(lower) >= 0).all() and (np.diff(upper) <= 0).all()
    assert items_of(build(instance, True, joint.bare, result.pool.items)) is not None


def test_a_broken_run_goes_on_from_its_state(case, tmp_path):
    instance, found = case
    _, flat, ideal = bounds(instance)
    state = tmp_path / "state.npz"
    first = solve(JointLP(instance), gap=0.01, f_flat=flat, f_first_best=ideal, time_limit=0.0, state=state)
    second = solve(JointLP(instance), gap=0.01, f_flat=flat, f_first_best=ideal, state=state)
    assert first.lower_bound <= second.lower_bound <= second.upper_bound <= first.upper_bound
    assert len(second.pool.cuts) >= len(first.pool.cuts) > 0
    assert second.gap <= 0.01 + 1e-9
    assert second.lower_bound <= min(r.social.total for r in found.values()) + 1e-6


def test_a_state_of_another_menu_is_refused(case, tmp_path):
    instance, _ = case
    _, flat, ideal = bounds(instance)
    state = tmp_path / "state.npz"
    solve(JointLP(instance), gap=0.5, f_flat=flat, f_first_best=ideal, time_limit=0.0, state=state)
    other = replace(instance, fixed_cost=instance.fixed_cost + 1)
    with pytest.raises(InputError, match="belongs to another"):
        solve(JointLP(other), gap=0.5, f_flat=flat, f_first_best=ideal, state=state)


def test_workers_do_not_change_the_result(case):
    instance, _ = case
    _, flat, ideal = bounds(instance)
    one, two = (solve(JointLP(instance), gap=0.01, f_flat=flat, f_first_best=ideal, jobs=jobs) for jobs in (1, 2))
    assert one.best.design == two.best.design
    assert [len(one.pool.cuts), one.lp_solves] == [len(two.pool.cuts), two.lp_solves]
    assert [one.lower_bound, one.upper_bound] == pytest.approx([two.lower_bound, two.upper_bound], abs=1e-7)


def test_ctrl_c_keeps_incumbent_and_valid_bound(case):
    instance, found = case
    _, flat, ideal = bounds(instance)

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    result = solve(JointLP(instance), gap=1e-6, f_flat=flat, f_first_best=ideal, progress=stop)
    least = min(r.social.total for r in found.values())
    assert result.lower_bound <= least + 1e-6
    assert result.upper_bound >= least - 1e-6
