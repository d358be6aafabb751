"""Stored results changed behind the program's back: every change of substance is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_study import replace_text
from solved_small import CONGESTED, congested_study, solve
from test_certificates import sacrificed
from test_judged import accounted, mixed

from tritier.cases import store
from tritier.cases.cases import CASES, Case
from tritier.cases.certificate import PROOFS, check_answers, stored_lp
from tritier.cases.decisions import decisions_of
from tritier.cases.judged import check_days
from tritier.cases.recourse import Recourse
from tritier.cases.result import FOLDER, check_figures, read_result
from tritier.cases.solve import judge
from tritier.cli import main
from tritier.errors import CertificateError, InputError
from tritier.evaluation import heldout
from tritier.inputs.documents import read_json
from tritier.model.dso import menu_points
from tritier.provenance import DATA, write_json
from tritier.reformulation.joint import JointLP
from tritier.search import scip
from tritier.search.check import check_pool, completed
from tritier.search.cuts import Request, solve_request
from tritier.search.pool import extend, items_of, named
from tritier.search.responses import optimistic_response

pytestmark = pytest.mark.usefixtures("prepared_once")

PRICES = ("lambda", "pi", "mu", "nu", "tau", "tau_p", "y", "day_pi")
REFUSED = {  # the certificate that an array fails when it is scaled alone
    **dict.fromkeys(("zb", "zs", "gp", "gm"), "decisions.P"),
    **dict.fromkeys(("cu", "ch", "dis", "soc", "served"), "follower.primal"),
    "cost": "decisions.var",
    **{own: f"decisions.{own}" for own in ("var", "excess", "P", "v", "eta", "G", "Z", "theta", "lambda", "pi", "mu")},
    "cap": "design.off_menu",
    "nu": "decisions.pi",
    **dict.fromkeys(("tau", "tau_p"), "decisions.theta"),
    "y": "decisions.lambda",
    "day_pi": "days.society",
    **dict.fromkeys(
        ("day_gp", "day_gm", "day_cu", "day_ch", "day_dis", "day_served", "day_cost"), "money.imbalance_usd"
    ),
    "day_soc": "days.primal",
    "day_bought": "days.bought_kwh",
}
ARRAYS = tuple(REFUSED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Case 4 of the congested study; the study lies beside it."""
    home = tmp_path_factory.mktemp("tamper")
    return solve(congested_study(home / "study"), 4, home / "case4", CONGESTED)


@pytest.fixture(scope="module")
def solved(folder):
    return read_result(folder)


@pytest.fixture(scope="module")
def flat_folder(folder):
    """Case 2 of the same study: a flat tariff, days under network-blind recourse."""
    return solve(folder.parent / "study", 2, folder.parent / "case2", CONGESTED)


@pytest.fixture(scope="module")
def flat(flat_folder):
    return read_result(flat_folder)


@pytest.fixture(scope="module")
def arrays(folder):
    return store.read_arrays(folder / "decisions.npz")


@pytest.fixture
def copy(folder):
    """A copy of the result in the same place, to be damaged and certified by the command line."""
    place = folder.parent / "copy"
    shutil.copytree(folder, place)
    yield place
    shutil.rmtree(place)


def recheck(path, changed, solved) -> None:
    """What ``certify`` does with the arrays of decisions.npz, the study and the clearing read before."""
    np.savez(path, **changed)
    decisions, days = store.unpacked(path, solved.prepared.instance, solved.case, solved.clearing)
    again = replace(solved, decisions=decisions, days=days)
    again.certificates()
    check_figures(path, "summary", solved.summary(), again.summary())


def certify(folder, capsys) -> tuple[int, str]:
    """Exit code and standard error of the command; nothing may stand on standard output."""
    capsys.readouterr()
    code = main(["certify", str(folder), "--quiet"])  # on a slow machine it says how far it is
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1 and told.err.startswith("tritier: ")
    return code, told.err


def test_the_untouched_result_certifies(folder, capsys):
    assert main(["certify", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["design"]["proof"] == "closed"


def test_the_list_of_arrays_is_complete(arrays):
    assert set(arrays) == {*ARRAYS, "blocks", "cap_line"}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_scaled_by_one_percent_is_refused(name, arrays, solved, tmp_path):
    changed = arrays[name] + 1.0 if name == "day_bought" else arrays[name] * 1.01  # no day buys a violation
    assert np.abs(changed - arrays[name]).max() > (1e-4 if name in PRICES else 1e-3), "the study should move it"
    with pytest.raises(CertificateError, match=f"^certificate {REFUSED[name]} failed"):
        recheck(tmp_path / "decisions.npz", arrays | {name: changed}, solved)


@pytest.mark.parametrize(
    "name", ["tau", "tau_p", "zb", "zs", "lambda", "soc", "day_gp", "day_gm", "day_soc", "day_cost"]
)
def test_an_array_of_a_flat_tariff_scaled_by_one_percent_is_refused(name, flat_folder, flat, tmp_path):
    arrays = store.read_arrays(flat_folder / "decisions.npz")
    assert np.abs(arrays[name]).max() > 0.01
    with pytest.raises(CertificateError, match=f"^certificate {REFUSED[name]} failed"):
        recheck(tmp_path / "decisions.npz", arrays | {name: arrays[name] * 1.01}, flat)


def test_a_battery_level_moved_as_a_whole_is_refused(arrays, solved, tmp_path):
    """The level of a cyclic day is free: any other level is as good, but not the one that is stored by definition."""
    for name, refused in (("soc", "decisions.soc"), ("day_soc", "money.imbalance_usd")):
        with pytest.raises(CertificateError, match=f"^certificate {refused} failed"):
            recheck(tmp_path / "decisions.npz", arrays | {name: arrays[name] + 0.5}, solved)


def test_trades_scaled_on_both_sides_are_refused(arrays, solved, tmp_path):
    """Purchases and sales by the same factor: trade stays balanced, the prosumers' balances do not."""
    both = {name: arrays[name] * 1.01 for name in ("zb", "zs")}
    with pytest.raises(CertificateError, match=r"^certificate decisions\.P failed"):
        recheck(tmp_path / "decisions.npz", arrays | both, solved)


def test_a_volume_that_goes_in_a_circle_is_refused(arrays, solved, tmp_path):
    """As much bought as sold on the platform by one prosumer in one hour, and the volume on record with it."""
    changed = {name: arrays[name].copy() for name in ("zb", "zs")}
    for value in changed.values():
        value[0, 0] += 5.0
    with pytest.raises(CertificateError, match="resold"):
        recheck(tmp_path / "decisions.npz", arrays | changed | {"Z": arrays["Z"] + 5.0}, solved)


@pytest.mark.parametrize("file", ["summary", "certificate"])
def test_a_stored_figure_off_by_one_percent_is_refused(file, folder, solved):
    path = folder / f"{file}.json"
    stored = read_json(path)
    again = solved.summary() if file == "summary" else solved.certificates()
    check_figures(path, file, stored, again)
    checked = 0
    for where, value in figures(stored):
        if isinstance(value, str) or (abs(value) < 1e-4 and file == "certificate"):
            continue  # residuals: rounding, of which one percent means nothing
        changed = json.loads(path.read_text())
        *sections, last = where
        section = changed
        for key in sections:
            section = section[key]
        section[last] = value * 1.01 if value else 0.01
        with pytest.raises(CertificateError, match=f"^certificate {file}.{'.'.join(map(str, where))} failed"):
            check_figures(path, file, changed, again)
        checked += 1
    assert checked >= {"summary": 17, "certificate": 7}[file]


@pytest.mark.parametrize("case", [4, 2])
def test_a_range_of_social_cost_that_its_answers_do_not_bear_out_is_refused(case, folder, solved, flat_folder, flat):
    """Readings off by a cent, and answers moved."""
    result, place = (solved, folder) if case == 4 else (flat, flat_folder)
    told, again = read_json(place / "summary.json"), result.summary()
    low, solver, high = told["social_cost_range_usd"].values()
    assert low - 1e-4 <= solver <= high and low == result.social_cost_range["optimistic"]
    for reading in ("optimistic", "solver", "pessimistic"):
        cost = told["social_cost_range_usd"] | {reading: told["social_cost_range_usd"][reading] + 0.01}
        with pytest.raises(CertificateError, match=reading):
            check_figures(place, "summary", told | {"social_cost_range_usd": cost}, again)
    market = stored_lp(result.clearing, result.decisions, result.case.market, result.case.network)
    check_answers(market, result.decisions, result.answers)
    for name, answer in result.answers.items():
        for term, moved in (("gp", 1.01), ("cost", 1.0001)):
            wrong = result.answers | {name: answer | {term: moved * answer[term]}}
            with pytest.raises(CertificateError, match=f"range.{name}"):
                check_answers(market, result.decisions, wrong)


def test_a_range_and_its_answers_are_stored_together(flat_folder, tmp_path):
    """One file without the other is refused; without either it is a result of an earlier version, which states none."""
    place = flat_folder.parent / "range"
    shutil.copytree(flat_folder, place)
    told = read_json(place / "summary.json")
    (place / store.RANGE).rename(tmp_path / store.RANGE)
    with pytest.raises(InputError, match="expected keys"):
        read_result(place).certify()
    write_json(place / "summary.json", {key: value for key, value in told.items() if key != "social_cost_range_usd"})
    assert read_result(place).certify()
    arrays = store.read_arrays(tmp_path / store.RANGE)
    np.savez(place / store.RANGE, **arrays)
    with pytest.raises(InputError, match="expected keys"):
        read_result(place).certify()
    np.savez(place / store.RANGE, **{name: value for name, value in arrays.items() if name != "costly_gp"})
    with pytest.raises(InputError, match=r"range.npz: costly_gp: is missing"):
        read_result(place)


def figures(content, where=()):
    """(keys, value) of every leaf of a JSON file."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from figures(value, (*where, key))
        else:
            yield (*where, key), value


@pytest.mark.parametrize("key", ["lower_bound", "flat", "first_best", "menu_points", "proof"])
def test_bounds_that_the_menu_does_not_bear_out_are_refused(key, folder, solved):
    value = getattr(solved.bounds, key)
    changed = "open" if key == "proof" else value + 1
    with pytest.raises(CertificateError, match=key):
        replace(solved, bounds=replace(solved.bounds, **{key: changed})).check_bounds()


@pytest.mark.parametrize("pool", ["flat", "first_best", "search"])
def test_a_proof_with_another_value_is_refused(pool, solved, copy):
    stored = store.read_arrays(copy / "proof.npz")
    changed = stored[f"{pool}.figures"].copy()
    changed[0, 0] += 0.1 if pool == "first_best" else 1e-7  # a tenth of a dollar of F
    np.savez(copy / "proof.npz", **(stored | {f"{pool}.figures": changed}))
    with pytest.raises(CertificateError, match=pool):
        replace(solved, folder=copy).check_bounds()
    np.savez(copy / "proof.npz", **{name: value for name, value in stored.items() if name != f"{pool}.basis"})
    with pytest.raises(InputError, match="missing or damaged"):
        replace(solved, folder=copy).check_bounds()


def test_another_point_of_the_menu_does_not_pass_for_the_best(solved):
    """A sound equilibrium of a worse design, beside the bounds of the best one."""
    joint = JointLP(solved.clearing)
    best = solved.decisions.design
    others = (d for d in menu_points(solved.clearing.menu) if d.tariff[-1] == best.tariff[-1] and d != best)
    responses = (optimistic_response(joint, other, revenue=False) for other in others)
    response = next(r for r in responses if r.revenue_slack > 0 and r.social.total > solved.bounds.upper_bound + 1e-3)
    decisions = decisions_of(joint, response)
    days = judge(solved.prepared, solved.case, decisions, solved.prepared.instance.days, solved.case.policy)
    with pytest.raises(CertificateError, match="upper_bound"):
        replace(solved, decisions=decisions, days=days, answers=None).certificates()


def test_an_optimised_case_without_a_market_is_proved_on_its_own_lp(folder, tmp_path, monkeypatch, capsys):
    """No case of the paper is one: its rows stand on an LP without trades, and on no other."""
    monkeypatch.setitem(CASES, 5, Case(5, "Limits without a market", True, False, True, True, True, "market policy"))
    out = solve(folder.parent / "study", 5, tmp_path / "out", CONGESTED | {"n_scenarios": 3})
    alone = read_result(out)
    assert alone.bounds.upper_bound > alone.bounds.first_best and not alone.decisions["zb"].any()
    assert main(["certify", str(out), "--quiet"]) == 0
    pools = alone.pools(joint_of(alone))
    with pytest.raises(CertificateError, match="is proved"):
        check_pool(JointLP(alone.clearing), pools["flat"], "flat")
    row = pools["flat"].rows[0]
    pools["flat"].rows[0] = replace(row, dual=row.dual + 1.0)
    store_pools(out, pools)
    code, line = certify(out, capsys)
    assert code == 1 and "design.rows.flat[0]" in line


# Through the command itself: exit code, one line, and what it names.


def test_certify_exits_1_for_scaled_decisions(copy, arrays, capsys):
    np.savez_compressed(copy / "decisions.npz", **(arrays | {"gp": arrays["gp"] * 1.01}))
    code, line = certify(copy, capsys)
    assert code == 1 and "certificate decisions.P failed" in line


def test_certify_exits_1_for_a_changed_summary(copy, capsys):
    content = read_json(copy / "summary.json")
    write_json(copy / "summary.json", content | {"welfare_usd": content["welfare_usd"] * 1.01})
    code, line = certify(copy, capsys)
    assert code == 1 and "summary.welfare_usd" in line


def store_arrays(copy, decisions, days) -> None:
    np.savez_compressed(copy / "decisions.npz", **store.packed(decisions, days))


def store_pools(copy, pools) -> None:
    np.savez_compressed(copy / "proof.npz", **named(pools))


def joint_of(solved) -> JointLP:
    return JointLP(solved.clearing, solved.case.market, solved.case.network)


@pytest.mark.parametrize("kind", ["shortfall", "answer"])
def test_certify_exits_1_for_a_proved_row_off_the_menu(kind, copy, capsys):
    """At three dollars below nothing no response recovers the cost: true, and no word on the nearest point on offer."""
    solved = read_result(copy)
    joint = joint_of(solved)
    pools = solved.pools(joint)
    off = replace(pools["search"].rows[0].request.design, p2p=-3.0 if kind == "shortfall" else 3.0)
    extend(joint, pools["search"].items[len(items_of(joint)) :])
    pools["search"].rows.append(solve_request(joint, Request(kind, off)))
    check_pool(joint_of(solved), pools["search"], "search")
    store_pools(copy, pools)
    code, line = certify(copy, capsys)
    assert code == 1 and "off_menu" in line


def test_certify_exits_1_for_a_proof_that_leaves_a_tariff_out(copy, solved, capsys):
    pools = solved.pools(joint_of(solved))
    rows = pools["search"].rows
    gone = rows[-1].request.design.tariff
    rows[:] = [row for row in rows if row.request.kind == "least" or row.request.design.tariff != gone]
    store_pools(copy, pools)
    code, line = certify(copy, capsys)
    assert code == 1 and "design." in line


def test_certify_exits_1_for_an_equilibrium_within_an_old_tolerance(copy, solved, capsys):
    """A millionth of its cost that the follower gives up buys society more; figures of all files say the same."""
    joint = joint_of(solved)
    response = optimistic_response(joint, solved.design)
    moved = sacrificed(joint, response, 5e-7)
    x = completed(joint, moved.x, solved.design)
    cost = float(joint.cost(solved.design) @ x)
    forged = decisions_of(joint, replace(moved, x=x, billed=joint.billed(x), theta=cost))
    days = judge(solved.prepared, solved.case, forged, solved.prepared.instance.days, solved.case.policy)
    store_arrays(copy, forged, days)
    code, line = certify(copy, capsys)
    assert code == 1 and "certificate follower.complementarity failed" in line, line


def test_certify_exits_1_for_a_social_cost_below_what_its_rows_prove(copy, capsys):
    content = read_json(copy / "certificate.json")
    content["design"]["upper_bound"] = content["design"]["lower_bound"] - 1.0
    content["design"] |= {"gap": 0.0, "gap_usd": 0.0, "gap_relative": 0.0}
    write_json(copy / "certificate.json", content)
    trace = pd.read_csv(copy / "trace.csv")
    trace.loc[trace.index[-1], "upper_bound"] = content["design"]["upper_bound"]
    trace.to_csv(copy / "trace.csv", index=False)
    code, line = certify(copy, capsys)
    assert code == 1 and "design.upper_bound" in line


@pytest.mark.parametrize("name", ["flat_folder", "folder"])
def test_certify_exits_1_for_days_within_an_old_tolerance(name, copy, request, capsys):
    """Batteries as late as they can be, mixed in until agents have lost half a millionth; the summary follows."""
    source = request.getfixturevalue(name)
    shutil.rmtree(copy)
    shutil.copytree(source, copy)
    solved = read_result(copy)
    rules = solved.prepared.instance.rules
    other = replace(solved.prepared.instance, rules=replace(rules, tie_break=-rules.tie_break))
    late = Recourse(other).judge(solved.decisions, solved.days.policy)
    late = accounted(replace(late, instance=solved.days.instance, pi=solved.days.pi), solved.decisions)
    loss = check_days(late, solved.decisions).gain
    assert loss > 0, "the study should have a battery to shift"
    forged = accounted(mixed(solved.days, late, min(1.0, 5e-7 / loss)), solved.decisions)
    assert check_days(forged, solved.decisions).primal < 1e-6
    store_arrays(copy, solved.decisions, forged)
    write_json(copy / "summary.json", replace(solved, days=forged).summary())
    code, line = certify(copy, capsys)
    assert code == 1 and "certificate days.gain failed" in line


@pytest.mark.parametrize("word", ["open", "not run"])
def test_certify_exits_1_for_another_word_of_the_proof(word, copy, capsys):
    content = read_json(copy / "certificate.json")
    content["design"]["proof"] = word
    write_json(copy / "certificate.json", content)
    code, line = certify(copy, capsys)
    assert code == 1 and f"design.proof failed: 1 exceeds 0 ({word!r} is stored, SCIP leaves it 'closed')" in line


def test_an_open_proof_is_told_from_a_closed_one(copy, solved, monkeypatch, capsys):
    """A control that fails leaves the bound to its rows: the result certifies with that word, and with no other."""
    monkeypatch.setattr(scip, "missed_row", lambda *_: "a row that the incumbent misses")
    code, line = certify(copy, capsys)
    assert code == 1 and "'closed' is stored, SCIP leaves it 'open'" in line
    content = read_json(copy / "certificate.json")
    content["design"]["proof"] = "open"
    write_json(copy / "certificate.json", content)
    assert main(["certify", str(copy)]) == 0
    told = capsys.readouterr()
    assert f"proof open: {PROOFS['open']}" in told.err
    assert json.loads(told.out)["design"]["proof"] == "open"
    assert solved.bounds.in_words.endswith(f"proof closed: {PROOFS['closed']}")
    assert len(set(PROOFS.values())) == 3


def test_certify_exits_1_where_the_gap_is_above_what_was_asked(copy, capsys):
    content = read_json(copy / "provenance.json")
    assert read_json(copy / "certificate.json")["design"]["gap"] > 1e-9
    write_json(copy / "provenance.json", content | {"gap": 1e-9})
    code, line = certify(copy, capsys)
    assert code == 1 and "design.gap" in line


CONTRADICTIONS = {  # a harmless edit of where a result comes from, and what the line names
    "seed": (lambda o: o.update(seed=7), "provenance.seed"),
    "study_name": (lambda o: o.update(study_name="another"), "provenance.study_name"),
    "a parameter": (lambda o: o["parameters"].update(n_resampled_days=5), "provenance.parameters"),
    "the preset's gap": (lambda o: o["parameters"].update(gap=0.5), "provenance.parameters"),
    "no parameters": (lambda o: o.update(parameters={}), "provenance.parameters"),
    "a change of the preset": (lambda o: o["changes"].update(n_resampled_days="5"), "provenance.changes"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_certify_exits_1_where_provenance_contradicts_itself(name, copy, capsys):
    change, piece = CONTRADICTIONS[name]
    edit_json("provenance.json", change)(copy)
    code, line = certify(copy, capsys)
    assert code == 1 and piece in line


TRACES = {  # an edit of the bounds over time, exit code, and what the line names
    "no row": (lambda t: t.iloc[:0], 1, "trace.rows"),
    "another end": (lambda t: t.assign(lower_bound=t["lower_bound"] - 5.0), 1, "trace.lower_bound"),
    "upper below lower": (lambda t: t.assign(upper_bound=0.0), 1, "trace.upper_bound"),
    "solves that nobody counted": (lambda t: t.assign(lp_solves=-5), 1, "trace.lp_solves"),
    "time runs backwards": (lambda t: pd.concat([t.assign(seconds=1e9), t]), 1, "trace.order"),
    "bounds that widen": (lambda t: pd.concat([t.assign(upper_bound=0.0), t]), 1, "trace.order"),
    "text": (lambda t: t.assign(seconds="soon"), 2, "trace.csv: file: holds what is no number"),
    "a hole": (lambda t: t.assign(seconds=np.nan), 2, "trace.csv: file: holds what is no number"),
}


@pytest.mark.parametrize("name", TRACES)
def test_certify_refuses_another_trace(name, copy, capsys):
    change, expected, piece = TRACES[name]
    change(pd.read_csv(copy / "trace.csv")).to_csv(copy / "trace.csv", index=False)
    code, line = certify(copy, capsys)
    assert code == expected and piece in line


def test_what_certify_does_not_check_is_said(flat_folder, tmp_path, capsys):
    study, place = flat_folder.parent / "study", tmp_path / "edited"
    shutil.copytree(flat_folder, place)
    edit_json("provenance.json", lambda o: o.update(commit="0", versions={}, jobs=9, engine="none", seconds=-1))(place)
    assert main(["certify", str(place), "--study", str(study)]) == 0
    line = "not checked, as no figure rests on it: commit, versions, engine, jobs, seconds of provenance.json\n"
    assert capsys.readouterr().err.endswith(line)


def edit_json(name, change):
    def apply(copy):
        content = read_json(copy / name)
        change(content)
        write_json(copy / name, content)

    return apply


@pytest.fixture(scope="module")
def evaluated(flat_folder, tmp_path_factory):
    """Case 2 with the judged days of its scenarios beside it."""
    place = tmp_path_factory.mktemp("evaluated") / "case2"
    shutil.copytree(flat_folder, place)
    assert main(["evaluate", str(place), "--study", str(flat_folder.parent / "study"), "--days", "scenarios"]) == 0
    return place


def test_what_was_judged_later_is_compared_with_its_days_and_its_decisions(evaluated, flat_folder, capsys):
    study = str(flat_folder.parent / "study")
    capsys.readouterr()
    assert main(["certify", str(evaluated), "--study", study]) == 0
    assert capsys.readouterr().err.endswith(
        "seconds of provenance.json\nnot checked either: evaluation.csv, which tritier evaluate makes anew\n"
    )
    told = read_json(evaluated / "physics.json")
    for verb in ("certify", "report"):
        write_json(evaluated / "physics.json", told | {"violation_share": 0.5})
        assert main([verb, str(evaluated), "--study", study, "--quiet"]) == 1
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and "certificate physics.violation_share failed" in line
    write_json(evaluated / "physics.json", told)


def drop_column(name):
    def apply(copy):
        pd.read_csv(copy / "evaluation.csv").drop(columns=name).to_csv(copy / "evaluation.csv", index=False)

    return apply


JUDGED_OTHERWISE = {  # what is done to judged days, then the line
    "other decisions": (edit_json("physics.json", lambda p: p.update(decisions="0")), "certificate physics.decisions"),
    "other losses": (
        edit_json("physics.json", lambda p: p["policies"]["hard-limit redispatch"].update(losses_kwh=1.0)),
        "certificate physics.policies.hard-limit redispatch.losses_kwh",
    ),
    "fewer figures": (edit_json("physics.json", lambda p: p.pop("days")), "physics.json: physics: does not hold the"),
    "without a mark": (edit_json("physics.json", lambda p: p.pop("decisions")), "physics.json: day_set, decisions: "),
    "of unknown days": (edit_json("physics.json", lambda p: p.update(day_set="x")), "physics.json: day_set, decisions"),
    "without days": (lambda c: (c / "evaluation.csv").unlink(), "evaluation.csv: file: is missing; run tritier eval"),
    "days alone": (lambda c: (c / "physics.json").unlink(), "physics.json: file: is missing; run tritier evaluate"),
    "days without losses": (drop_column("ac_losses_kwh"), "evaluation.csv: column ac_losses_kwh: is missing"),
    "no table": (lambda c: (c / "evaluation.csv").write_text(""), "evaluation.csv: file: is no table"),
}


@pytest.mark.parametrize("name", JUDGED_OTHERWISE)
def test_judged_days_that_do_not_fit_are_refused(name, evaluated, flat, tmp_path):
    damage, piece = JUDGED_OTHERWISE[name]
    place = tmp_path / "case"
    shutil.copytree(evaluated, place)
    heldout.check_evaluation(place, flat)
    damage(place)
    with pytest.raises(CertificateError if piece.startswith("certificate") else InputError, match=piece):
        heldout.check_evaluation(place, flat)


def test_evaluated_days_at_other_prices_are_refused(solved, monkeypatch):
    """At other prices money moves from one agent to another, and all accounts still balance."""
    real = heldout.judge_policies

    def wrong(*given):
        for policy, day in real(*given):
            yield policy, replace(day, pi=day.pi + 0.01)

    monkeypatch.setattr(heldout, "judge_policies", wrong)
    monkeypatch.setattr(type(solved), "certify", lambda *_: {})
    with pytest.raises(CertificateError, match=r"days\.prices failed: 0\.01 exceeds 0"):
        heldout.evaluate(solved, "scenarios")
    monkeypatch.setattr(heldout, "judge_policies", real)
    assert heldout.evaluate(solved, "scenarios").headline["days"] == 6


def test_evaluate_certifies_first_and_writes_nothing(copy, arrays, capsys):
    np.savez_compressed(copy / "decisions.npz", **(arrays | {"mu": arrays["mu"] * 10}))
    before = {path.name for path in copy.iterdir()}
    capsys.readouterr()
    assert main(["evaluate", str(copy), "--quiet"]) == 1
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and told.err.startswith("tritier: certificate ")
    assert {path.name for path in copy.iterdir()} == before


def cut(name):
    return lambda copy: (copy / name).write_bytes((copy / name).read_bytes()[:-200])


def edit_arrays(change):
    def apply(copy):
        arrays = store.read_arrays(copy / "decisions.npz")
        change(arrays)
        np.savez(copy / "decisions.npz", **arrays)

    return apply


def set_first(name, value):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name].flat[0] = value

    return edit_arrays(change)


DAMAGED = {  # what is done to the result, then pieces of the line
    "truncated arrays": (cut("decisions.npz"), "decisions.npz: file: is missing, damaged or no npz file"),
    "empty arrays": (lambda c: (c / "decisions.npz").write_bytes(b""), "decisions.npz: file: is missing, damaged"),
    "text for arrays": (lambda c: (c / "decisions.npz").write_text("no"), "decisions.npz: file: is missing, damaged"),
    "missing arrays": (lambda c: (c / "decisions.npz").unlink(), "decisions.npz: file: is missing"),
    "missing array": (edit_arrays(lambda a: a.pop("gp")), "decisions.npz: gp: is missing"),
    "missing day array": (edit_arrays(lambda a: a.pop("day_soc")), "decisions.npz: day_soc: is missing"),
    "array of another shape": (
        edit_arrays(lambda a: a.update(zb=a["zb"][:1])),
        "decisions.npz: zb: has shape (1, 24), not (2, 24)",
    ),
    "NaN": (set_first("day_ch", np.nan), "decisions.npz: day_ch: holds NaN"),
    "whole numbers": (edit_arrays(lambda a: a.update(gm=a["gm"].astype(int))), "decisions.npz: gm: is of type int64"),
    "unknown block": (set_first("blocks", "cap"), "decisions.npz: blocks: names no chance block"),
    "capacity of another line": (set_first("cap_line", "3"), "decisions.npz: cap_line: names other lines"),
    "missing summary": (lambda c: (c / "summary.json").unlink(), "summary.json: file: is missing"),
    "truncated summary": (cut("summary.json"), "summary.json: file: is not JSON"),
    "summary without a figure": (edit_json("summary.json", lambda s: s.pop("peak_kw")), "summary.json: summary"),
    "text for a figure": (
        edit_json("summary.json", lambda s: s.update(peak_kw="1")),
        "summary.json: summary.peak_kw: '1' is no number",
    ),
    "missing provenance": (lambda c: (c / "provenance.json").unlink(), "provenance.json: file: is missing"),
    "provenance without a study": (
        edit_json("provenance.json", lambda p: p.pop("study")),
        "provenance.json: study: is",
    ),
    "provenance of another preset": (
        edit_json("provenance.json", lambda p: p.update(preset="huge")),
        "preset: unknown preset 'huge'",
    ),
    "provenance of another case": (edit_json("provenance.json", lambda p: p.update(case=9)), "there is no case 9"),
    "study moved": (
        edit_json("provenance.json", lambda p: p.update(study="../gone")),
        "study.yaml: file: does not exist",
    ),
    "certificate without a design": (
        edit_json("certificate.json", lambda c: c.pop("design")),
        "certificate.json: design: is missing",
    ),
    "certificate with an unknown word": (
        edit_json("certificate.json", lambda c: c["design"].update(proof="certain")),
        "certificate.json: design.proof: 'certain' is none of closed, open, not run",
    ),
    "certificate that is a list": (
        lambda c: (c / "certificate.json").write_text("[]"),
        "certificate.json: file: is not an object",
    ),
    "missing proof": (lambda c: (c / "proof.npz").unlink(), "proof.npz: file: is missing"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_certify_exits_2_for_a_damaged_result(case, copy, capsys):
    damage, piece = DAMAGED[case]
    damage(copy)
    code, line = certify(copy, capsys)
    assert code == 2
    assert piece in line and "; " in line


@pytest.mark.parametrize("name", ["tau_k", "tau_c", "K", "H"])
def test_certify_exits_2_where_a_peak_charge_or_what_it_is_billed_on_is_missing(name, tmp_path, capsys):
    """They are stored where the menu offers such a charge, as that of a case that is stored with the data does."""
    place = tmp_path / "case"
    shutil.copytree(FOLDER / "fast-odd" / "case-4", place)
    edit_arrays(lambda a: a.pop(name))(place)
    assert main(["certify", str(place), "--study", str(DATA / "studies" / "ieee33"), "--quiet"]) == 2
    assert f"decisions.npz: {name}: is missing; " in capsys.readouterr().err


def test_certify_exits_2_when_the_study_has_changed(folder, copy, capsys):
    study = folder.parent / "study"
    text = (study / "prices.csv").read_text()
    replace_text(study / "prices.csv", "2018-03-01T00:00,", "2018-03-01T00:00,1")
    try:
        code, line = certify(copy, capsys)
    finally:
        (study / "prices.csv").write_text(text)
    assert code == 2 and "data_hash: the study's files have changed since" in line


def test_array_of_missing_duals_is_refused(arrays, solved, tmp_path):
    for changed in (arrays["y"][:-1], arrays["y"][:0]):
        with pytest.raises(CertificateError, match="one dual for each row"):
            recheck(tmp_path / "decisions.npz", arrays | {"y": changed}, solved)


def test_a_result_certifies_from_any_folder_and_with_its_study_moved(flat_folder, tmp_path, monkeypatch, capsys):
    shutil.copytree(flat_folder, tmp_path / "elsewhere")
    shutil.copytree(flat_folder.parent / "study", tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert main(["certify", str(flat_folder)]) == 0
    assert main(["certify", "elsewhere", "--study", "moved"]) == 0
    capsys.readouterr()
    code, line = certify(tmp_path / "elsewhere", capsys)
    assert code == 2 and "does not exist" in line
