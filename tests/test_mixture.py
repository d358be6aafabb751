"""The cheapest mixture of responses: by hand, against points of its own, and what a first best claims by it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy import small_market

from tritier.cases.cases import find_case
from tritier.cases.solve import cleared, prepare
from tritier.errors import CertificateError, SolverError
from tritier.reformulation.joint import JointLP
from tritier.search import references
from tritier.search.cuts import Request, solve_request
from tritier.search.flat import flat_design
from tritier.search.pool import Pool, items_of
from tritier.search.references import cheapest_mixture, check_reference, first_best, network_total
from tritier.search.responses import social_cost

STUDY = Path(__file__).resolve().parents[1] / "data" / "studies" / "ieee33-2045"


@pytest.fixture(scope="module")
def joint():
    return JointLP(small_market(n=5, hours=12, scenarios=3, seed=5, demand_charge=0.1))


def least(joint):
    return Request("least", flat_design(joint, 0.0))


def rounds(joint, n):
    """Rows of n rounds of tangents, with their points."""
    rows, points = [], []
    for _ in range(n):
        joint.set_design(least(joint).design)
        row = solve_request(joint, least(joint))
        rows.append(row)
        points.append(joint.warm.solve().x)
        joint.tangent(row.load)
    return rows, points


def opposite(joint):
    """Two responses of one cost whose flows are as far above as below those of the passive load."""
    unit = np.zeros_like(joint.instance.days.passive_kw)
    unit[joint.instance.prosumer_bus[0]] = 40.0
    loads = [joint.instance.days.passive_kw + sign * unit for sign in (1, -1)]
    row = solve_request(joint, least(joint))
    return [replace(row, load=load, social_cost=200.0) for load in loads]


def test_two_opposite_loads_are_mixed_where_their_losses_are_least(joint):
    """The least of 2,001 points of the line between them, each worked out by itself."""
    rows = opposite(joint)
    ends = [row.load for row in rows]
    beside = [200.0 - network_total(joint, load.sum(axis=0), joint.exact_losses(load)) for load in ends]

    def by_hand(share):
        load = (1 - share) * ends[0] + share * ends[1]
        cost = network_total(joint, load.sum(axis=0), joint.exact_losses(load))
        return cost + (1 - share) * beside[0] + share * beside[1]

    mixture = cheapest_mixture(joint, rows)
    best = min(map(by_hand, np.linspace(0, 1, 2001)))
    assert mixture.social_cost == pytest.approx(best, abs=1e-5) and best < 200.0 - 0.1
    assert mixture.social_cost == pytest.approx(by_hand(mixture.weights[1]), abs=1e-9)
    assert mixture.load == pytest.approx((1 - mixture.weights[1]) * ends[0] + mixture.weights[1] * ends[1])


def test_a_mixture_is_a_decision_and_costs_no_more_than_it_says(joint):
    """The same weights on the points themselves: every row of the LP but the tangents' books holds, and the exact
    social cost is at most the bound, which lies below each part's."""
    rows, points = rounds(joint, 4)
    mixture = cheapest_mixture(joint, rows)
    assert mixture.weights.sum() == pytest.approx(1.0) and (mixture.weights >= 0).all()
    size = max(p.size for p in points)
    x = sum(w * np.append(p, np.zeros(size - p.size)) for w, p in zip(mixture.weights, points, strict=True))
    assert joint.net_load(x) == pytest.approx(mixture.load, abs=1e-7)
    assert social_cost(joint, x).total <= mixture.social_cost + 1e-7
    assert mixture.social_cost <= min(row.social_cost for row in rows) + 1e-9
    assert mixture.social_cost >= max(row.bound for row in rows) - 1e-6


def test_one_response_is_its_own_mixture_and_one_without_loads_is_none(joint):
    row = solve_request(joint, least(joint))
    alone = cheapest_mixture(joint, [row])
    assert alone.social_cost == pytest.approx(row.social_cost, abs=1e-9) and alone.weights.tolist() == [1.0]
    for wrong in ([], [replace(row, load=None)]):
        with pytest.raises(ValueError, match="loads"):
            cheapest_mixture(joint, wrong)


def test_a_first_best_below_what_its_points_reach_is_refused(joint):
    lp = JointLP(joint.instance)
    cost, rows = first_best(lp)
    sound = references.Reference(cost, Pool(items_of(lp), rows))
    check_reference(JointLP(joint.instance), "first_best", sound)
    assert sound.lower_bound - 1e-6 <= cost <= min(row.social_cost for row in rows) + 1e-9
    for off, figure in ((-0.01, r"not_reached|below_its_bound"), (0.1, "width")):
        with pytest.raises(CertificateError, match=figure):
            check_reference(JointLP(joint.instance), "first_best", replace(sound, social_cost=cost + off))
    early = JointLP(joint.instance)
    (first,), _ = rounds(early, 1)
    assert first.social_cost > cost + 1e-2, "its losses are those of other flows"
    alone = replace(sound, pool=Pool(items_of(early), [first]))
    with pytest.raises(CertificateError, match="not_reached"):
        check_reference(JointLP(joint.instance), "first_best", alone)


def test_what_its_points_reach_counts_the_mixtures_of_all(joint, monkeypatch):
    """Two responses, neither of which costs as little as their mixture: one of them alone does not reach it."""
    rows = opposite(joint)
    cost = cheapest_mixture(joint, rows).social_cost
    rows = [replace(row, dual=cost - 0.005) for row in rows]
    for known, sound in ((rows, True), (rows[:1], False), (rows[1:], False)):
        monkeypatch.setattr(references, "check_pool", lambda *_, known=known: known)
        claim = references.Reference(cost, Pool([], known))
        if sound:
            check_reference(joint, "first_best", claim)
        else:
            with pytest.raises(CertificateError, match="not_reached"):
                check_reference(joint, "first_best", claim)


def test_only_the_parts_that_close_the_gap_are_kept(joint):
    """A third response that no mixture wants, and a bound that two parts are needed for, or one is enough for."""
    rows = opposite(joint)
    rows.append(replace(rows[0], social_cost=300.0))
    mixture, turned = cheapest_mixture(joint, rows), cheapest_mixture(joint, rows[::-1])
    cost = mixture.social_cost
    assert mixture.weights[2] == 0.0
    told, kept = references._fewest(joint, rows, mixture, cost)
    assert [id(row) for row in kept] == [id(row) for row in rows[:2]]
    assert told == pytest.approx(cost, abs=1e-9)
    _, kept = references._fewest(joint, rows[::-1], turned, cost)
    assert [id(row) for row in kept] == [id(row) for row in rows[1::-1]]
    told, kept = references._fewest(joint, rows, mixture, 200.0)
    assert len(kept) == 1 and told == pytest.approx(200.0)


def test_a_mixture_below_the_bound_is_an_error(joint, monkeypatch):
    """A cost of the network that is too low at mixed loads would be believed otherwise."""
    exact = references.cheapest_mixture
    monkeypatch.setattr(
        references, "cheapest_mixture", lambda *given: replace(exact(*given), social_cost=exact(*given).social_cost - 9)
    )
    with pytest.raises(SolverError, match="below its own bound"):
        first_best(JointLP(joint.instance))


def test_a_first_best_of_several_vertices_is_found_and_checked(monkeypatch):
    """Electrified prosumers on two scenarios: no vertex is near enough by itself, and their bases are of LPs of several
    sizes."""
    monkeypatch.setattr(references, "CLOSE", 1e-4)
    prepared = prepare(STUDY, "smoke", {"n_prosumers": 6, "n_scenarios": 2})
    joint = JointLP(cleared(prepared, find_case(4)))
    cost, rows = first_best(joint)
    assert len(rows) >= 2 and cost < min(row.social_cost for row in rows) - 1e-3
    found = references.Reference(cost, Pool(items_of(joint), rows))
    check_reference(JointLP(joint.instance), "first_best", found)
    with pytest.raises(CertificateError, match="not_reached"):
        check_reference(JointLP(joint.instance), "first_best", replace(found, pool=Pool(found.pool.items, rows[-1:])))
