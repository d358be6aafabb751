"""Sweeps: what is executed and what is kept, on a notebook that solves nothing; points of the study; stored tables."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from small_study import write_study
from toy import days, line_feeder, plain_prosumer, plain_rules

from tritier.cases.cases import without_limits
from tritier.cases.result import FOLDER as STORED_CASES
from tritier.cases.solve import inputs_hash, prepare, split_changes
from tritier.errors import InputError
from tritier.evaluation import sweeps
from tritier.inputs.instance import Design, Instance, Menu
from tritier.inputs.settings import read_settings
from tritier.inputs.study import read_study
from tritier.model.devices import block_value
from tritier.plots import results as plots
from tritier.provenance import digest
from tritier.reformulation.joint import JointLP
from tritier.search.flat import flat_design
from tritier.search.responses import optimistic_response

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "data" / "studies" / "ieee33"
WORKER = """\
from pathlib import Path
import time

while Path("stop").is_file() and changes["x"] > 1:
    assert Path("stop").read_text() != "fail", "stopped here"
    time.sleep(0.1)
with Path("executed").open("a") as log:
    log.write(f"{changes['x']}\\n")
row = {"twice": 2 * changes["x"]}
"""
# What hand_over does, without the seconds that the package takes to import; one test below has it done by hand_over.
SHOWN = f"from IPython.display import display\ndisplay({{{sweeps.ROW!r}: row, 'text/plain': str(row)}}, raw=True)\n"
HANDED = "from tritier.evaluation import sweeps\nsweeps.hand_over(row)\n"


def write_notebook(path: Path, last: str) -> None:
    """A notebook that doubles x, writes down that it was executed, and at last hands its row over."""
    cells = [
        new_code_cell("changes = {}\nstudy = None", metadata={"tags": ["parameters"]}),
        new_code_cell(WORKER + last),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture
def bench(tmp_path) -> sweeps.Bench:
    """A repository with a small study and a notebook."""
    write_study(tmp_path / "study")
    write_notebook(tmp_path / "point.ipynb", SHOWN)
    return sweeps.Bench(tmp_path, tmp_path / "kept", Path("point.ipynb"))


def points(*values: float) -> list[sweeps.Point]:
    return [sweeps.Point("x", str(v), {"study": "study", "changes": {"x": v}}) for v in values]


def executed(bench: sweeps.Bench) -> list[int]:
    path = bench.root / "executed"
    return sorted(int(x) for x in path.read_text().split()) if path.is_file() else []


def test_a_second_run_executes_nothing_and_a_changed_value_one(bench):
    first = sweeps.run_sweep(bench, points(1, 2), jobs=2)
    assert first["twice"].tolist() == [2, 4]
    assert first["executed"].tolist() == [True, True]
    again = sweeps.run_sweep(bench, points(1, 2))
    assert again["executed"].tolist() == [False, False]
    assert again.drop(columns="executed").equals(first.drop(columns="executed"))
    changed = sweeps.run_sweep(bench, points(1, 3))
    assert changed["executed"].tolist() == [False, True]
    assert executed(bench) == [1, 2, 3]


def test_two_workers_give_the_rows_of_one(bench):
    rows = [
        sweeps.run_sweep(sweeps.Bench(bench.root, bench.root / f"kept{n}", bench.notebook), points(1, 2, 3), n)
        for n in (1, 2)
    ]
    assert rows[0].equals(rows[1])


def test_points_with_the_same_parameters_are_run_once(bench):
    write_notebook(bench.root / bench.notebook, HANDED)
    twice = [*points(1), sweeps.Point("other", "one", points(1)[0].parameters)]
    assert sweeps.run_sweep(bench, twice)["twice"].tolist() == [2, 2]
    assert executed(bench) == [1]


def test_a_failed_point_is_named_and_the_others_are_kept(bench):
    (bench.root / "stop").write_text("fail")
    with pytest.raises(InputError, match="x 2: AssertionError: stopped here"):
        sweeps.run_sweep(bench, points(1, 2))
    (bench.root / "stop").unlink()
    assert sweeps.run_sweep(bench, points(1, 2))["executed"].tolist() == [False, True]


def test_a_killed_sweep_goes_on_where_it_was(bench):
    (bench.root / "stop").write_text("wait")
    script = (
        "import sys; from pathlib import Path; from tritier.evaluation.sweeps import *\n"
        "root = Path(sys.argv[1])\n"
        "points = [Point('x', str(v), {'study': 'study', 'changes': {'x': v}}) for v in (1, 2)]\n"
        "run_sweep(Bench(root, root / 'kept', Path('point.ipynb')), points)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(bench.root)], start_new_session=True)
    try:
        end = time.monotonic() + 300
        while not list(bench.store.glob("*.json")) and run.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert executed(bench) == [1]
    (bench.root / "stop").unlink()
    assert sweeps.run_sweep(bench, points(1, 2))["executed"].tolist() == [False, True]


def test_a_damaged_point_is_refused(bench):
    key = sweeps.run_sweep(bench, points(1))["key"].iloc[0]
    bench.path(key).write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        sweeps.run_sweep(bench, points(1))


def test_the_key_follows_notebook_and_inputs_but_neither_menus_nor_titles(bench):
    folder, origin = bench.root / "study", bench.origin()
    data = inputs_hash(read_study(folder))
    text = (folder / "study.yaml").read_text()
    for old, new in (("name: small", "name: other"), ("- 400.0", "- 500.0")):
        assert old in text
        (folder / "study.yaml").write_text(text.replace(old, new))
        assert inputs_hash(read_study(folder)) == data
    (folder / "study.yaml").write_text(text.replace("chance_level: 0.05", "chance_level: 0.06"))
    assert inputs_hash(read_study(folder)) != data
    (folder / "study.yaml").write_text(text)
    prosumers = folder / "prosumers.csv"
    prosumers.write_text(prosumers.read_text().replace(",0.3\n", ",0.4\n"))
    assert inputs_hash(read_study(folder)) != data
    notebook = nbformat.read(bench.root / bench.notebook, as_version=4)
    notebook.cells[1].source += "\n"
    nbformat.write(notebook, bench.root / bench.notebook)
    assert bench.origin() != origin


@pytest.mark.parametrize("size", ["seed: 7", "gap: 0.2", "n_prosumers: 1"])
def test_a_point_is_run_again_at_other_sizes_of_the_preset(size, bench):
    """Of those that a point does not give: they come from the preset, or from the study."""
    assert sweeps.run_sweep(bench, points(1))["executed"].tolist() == [True]
    text = (bench.root / "study" / "study.yaml").read_text()
    (bench.root / "study" / "study.yaml").write_text(text.replace("presets:\n", f"presets:\n  fast:\n    {size}\n"))
    assert sweeps.run_sweep(bench, points(1))["executed"].tolist() == [True]


def test_the_notebook_of_the_book_is_stripped():
    code = [c for c in nbformat.read(ROOT / sweeps.NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    assert code[0].metadata.tags == ["parameters"]
    assert [(c.outputs, c.execution_count) for c in code] == [([], None)] * len(code)


# Points ---------------------------------------------------------------------------------------------------------------

SMALL = sweeps.FRESH["smoke"]


def parameters(**value) -> dict[str, object]:
    return sweeps.parameters(SMALL, str(STUDY), 0.9945, sweeps.Value("", **value), (1, 4))


@pytest.fixture(scope="module")
def rows() -> dict[str, dict]:
    """Case 4 over the menu and under the flat tariff, in the smallest market of the chapter."""
    return {design: sweeps.point(**parameters(design=design)) for design in sweeps.DESIGNS}


def test_the_flat_design_is_the_flat_tariff_of_the_search(rows):
    assert rows["flat"]["c4_cleared_total_usd"] == pytest.approx(rows["menu"]["c4_flat_usd"], abs=1e-3)
    assert rows["menu"]["c4_first_best_usd"] <= rows["menu"]["c4_cleared_total_usd"]
    assert (rows["flat"]["menu_points"], rows["menu"]["menu_points"]) == (1, 16)


def test_designs_share_their_baseline(rows):
    same = [k for k in rows["menu"] if k.startswith("c1_")]
    assert [rows["menu"][k] for k in same] == [rows["flat"][k] for k in same]


def test_the_change_on_held_out_days_is_that_of_the_means(rows):
    for row in rows.values():
        change = row["c4_out_welfare_usd"] - row["c1_out_welfare_usd"]
        assert row["out_change"] == pytest.approx(change, abs=1e-9)
        assert row["out_low"] < row["out_change"] < row["out_high"]
        assert row["c1_out_days"] == SMALL.days_used


def test_violations_in_energy_bound_what_is_shed(rows):
    for case in ("c1", "c4"):
        for where in ("", "out_"):
            every, shed = (rows["menu"][f"{case}_{where}{name}"] for name in ("violation_kwh", "shed_kwh"))
            assert 0 <= shed <= every
    assert rows["menu"]["c1_violation_share"] > 0 and rows["menu"]["c1_shed_kwh"] > 0


def test_a_cost_that_no_tariff_recovers_is_refused_in_one_line():
    cost = sweeps.Value("", changes={"fixed_cost_usd": 1e6})
    row = sweeps.point(**sweeps.parameters(SMALL, str(STUDY), 0.9945, cost, (4,)))
    assert row["refused"].startswith("Case 4: ") and "recovers 1000000.00" in row["refused"]
    assert "\n" not in row["refused"] and "c4_welfare_usd" not in row


def test_an_unknown_design_is_refused():
    with pytest.raises(InputError, match="use one of menu, flat"):
        sweeps.point(STUDY, design="best")


def test_a_row_is_found_only_once():
    with pytest.raises(InputError, match="0 rows"):
        sweeps.row_of(new_notebook(cells=[new_code_cell("1")]))


# Plan and settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", sweeps.FRESH)
def test_every_point_changes_what_it_names_and_nothing_else(preset):
    planned = sweeps.plan(sweeps.FRESH[preset], 0.9945)
    assert planned[0].sweep == sweeps.BASE
    base = split_changes(planned[0].parameters["changes"])
    seen = {(p.sweep, json.dumps(p.parameters, sort_keys=True)) for p in planned}
    assert len(seen) == len(planned)
    study = read_study(STUDY)
    for p in planned:
        settings, sizes = split_changes(p.parameters["changes"])
        read_settings(STUDY / "study.yaml", settings)
        study.preset(p.parameters["preset"], sizes)
        differs = {k: v for part, own in zip((settings, sizes), base, strict=True) for k, v in part.items()
                   if own.get(k) != v}  # fmt: skip
        assert bool(differs) == (p.sweep != sweeps.BASE and p.label != "flat, no limit")


def test_fresh_values_are_values_of_the_sweeps():
    for size in sweeps.FRESH.values():
        for name, labels in (size.only or {}).items():
            assert set(labels) <= {v.label for v in sweeps.find_sweep(name).values}
    with pytest.raises(InputError, match="is no sweep"):
        sweeps.find_sweep("weather")


def test_settings_for_all_take_the_place_of_the_table():
    plain = read_study(STUDY)
    changes = {"risk.beta": 0.2, "batteries.scale": 2.0, "batteries.degradation_usd_per_kwh": 0.01}
    changed = read_study(STUDY, changes)
    assert {p.beta for p in changed.prosumers} == {0.2}
    assert {p.degradation for p in changed.prosumers} == {0.01}
    for name in ("battery_kwh", "battery_kw"):
        before, after = (np.array([getattr(p, name) for p in s.prosumers]) for s in (plain, changed))
        assert np.allclose(after, 2 * before)
    assert np.array_equal(changed.renewable_kw, plain.renewable_kw)
    assert len({p.beta for p in plain.prosumers}) == 3


@pytest.mark.parametrize(
    ("key", "value"), [("risk.beta", 0.95), ("batteries.scale", -1), ("batteries.degradation_usd_per_kwh", -0.1)]
)
def test_values_out_of_range_are_refused(key, value):
    with pytest.raises(InputError, match=key):
        read_study(STUDY, {key: value})


# Findings -------------------------------------------------------------------------------------------------------------


def rows_by_hand() -> pd.DataFrame:
    """A base and two values of the demand charge, made by hand: welfare rises by 10, 4 and -3 $ a day."""
    plain = dict.fromkeys(("ac_losses_kwh", "peak_kw", "violation_kwh", "shed_kwh", "cleared_total_usd"), 100.0)
    plain |= dict.fromkeys(("prosumer_cost_after_refund_usd", "cleared_lost_value_usd", "lost_value_usd"), 50.0)
    plain |= {"out_violation_kwh": 5.0, "out_shed_kwh": 2.0, "out_violation_days": 0.1, "welfare_usd": 0.0}
    rows = []
    for sweep_name, label, change in (("base", "", 10.0), ("demand_charge", "0.251", 4.0), ("pv", "1.5", -3.0)):
        row = {f"c{case}_{name}": value for case in (1, 4) for name, value in plain.items()}
        row |= {"sweep": sweep_name, "label": label, "refused": "", "c4_welfare_usd": change, "out_change": change / 2}
        row |= {"c4_flat_usd": 103.0, "c4_violation_kwh": 40.0, "c4_shed_kwh": 90.0, "c4_out_shed_kwh": 2.0}
        row |= {"c4_tariff": "0.05 0.08 0.11", "c4_limits": "1:1800", "c4_out_violation_kwh": 1.0}
        rows.append(row)
    return sweeps.with_changes(pd.DataFrame(rows))


def test_ends_are_taken_over_the_values_and_the_base():
    found = sweeps.ends(rows_by_hand()).set_index("sweep")
    assert found.loc["demand_charge", ["low", "low_label", "high", "high_label"]].tolist() == [4, "0.251", 10, "0.763"]
    assert found.loc["pv", ["low", "low_label", "high", "out_low", "out_high"]].tolist() == [-3, "1.5", 10, -1.5, 5]
    assert found.index.tolist() == ["pv", "demand_charge"]


def test_a_value_without_a_design_is_no_end_of_what_it_moves_beside():
    """The flat tariff of a market averse to nothing is 20 $ below; as an instrument of its own it stays an end."""
    rows = rows_by_hand()
    more = [rows.iloc[[0]].assign(sweep="blocks", label=label) for label in ("4, 0, flat", "8, own")]
    more.append(rows.iloc[[0]].assign(sweep="structure", label="flat, no limit"))
    rows = pd.concat([rows, *more], ignore_index=True).assign(c4_welfare_usd=[10, 4, -3, -20, 9, -20])
    rows = sweeps.with_changes(rows)
    found = sweeps.ends(rows).set_index("sweep")
    assert found.loc["blocks", ["low", "low_label", "high"]].tolist() == [9, "8, own", 10]
    assert found.loc["structure", ["low", "low_label"]].tolist() == [-20, "flat, no limit"]


def test_a_sweep_is_in_the_order_of_its_values_with_its_base():
    own = sweeps.of_sweep(rows_by_hand(), sweeps.find_sweep("pv"))
    assert own["x"].tolist() == [1.0, 1.5] and own["base"].tolist() == [True, False]
    table = sweeps.shown(rows_by_hand())
    assert table["parameter"].tolist() == ["the case study", "demand charge [$/kW-day]", "PV [times installed]"]
    assert table["value"].tolist() == ["its own", "0.251", "1.5"]
    assert table["welfare [$/day]"].tolist() == ["+10.0", "+4.0", "-3.0"]
    assert table.iloc[1, -1] == "0.05 0.08 0.11, 1800"


def test_a_refused_point_shows_no_figures():
    rows = rows_by_hand()
    rows.loc[2, ["change", "out_change", "cost_change", "losses_change", "peak_change", "c4_out_violation_days"]] = (
        np.nan
    )
    rows.loc[2, "refused"] = "Case 4: no"
    table = sweeps.shown(rows)
    assert table.iloc[2, 2:].tolist() == ["–"] * 6 + ["refused"]
    assert "pv" not in set(sweeps.ends(rows)["sweep"])
    assert sweeps.courses(rows)["parameter"].tolist() == ["demand charge [$/kW-day]"]


def test_a_sweep_is_told_from_its_first_to_its_last_value():
    table = sweeps.courses(rows_by_hand()).set_index("parameter")
    assert table.loc["demand charge [$/kW-day]"].tolist() == [
        "0.251",
        "0.763",
        "0.763",
        "+4 to +10",
        "+2 to +5",
        "rises",
    ]
    assert table.loc["PV [times installed]", "scenarios [$/day]"] == "+10 to -3"


def test_the_menu_shows_what_stored_points_were_offered_only_where_it_was_something_else():
    assert sweeps.menu_table(sweeps.MENU).columns.tolist() == ["offered", "levels"]
    older = {key: text for key, text in sweeps.MENU.items() if "peak" not in key}
    table = sweeps.menu_table(older)
    assert table["offered"].notna().all()
    assert (table["levels of the stored sweeps"] == "not offered").sum() == 2


def test_violations_are_priced_by_hand():
    """60 kWh fewer in all rows and 10 kWh less shed at 2 $/kWh: 120 and 20 $ on top; held out 4 and 0 kWh."""
    row = sweeps.priced(rows_by_hand(), 2.0).iloc[0]
    assert (row["declared"], row["shed"], row["out_declared"], row["out_shed"]) == (130.0, 30.0, 13.0, 5.0)


@pytest.mark.parametrize(("after", "word"), [(11.5, "rises"), (8.5, "falls"), (10.9, "stays"), (9.1, "stays")])
def test_words_follow_the_numbers(after, word):
    assert sweeps.moved(10.0, after) == word


def test_fresh_and_stored_are_compared_against_their_own_base():
    fresh, stored = rows_by_hand(), rows_by_hand()
    fresh["change"] += 100
    beside = sweeps.agreement(fresh, stored)
    assert beside["moved"].tolist() == [-6, -13] and beside["same"].all()
    fresh.loc[1, "change"] += 20
    assert sweeps.agreement(fresh, stored)["same"].tolist() == [False, True]
    stored.loc[2, "change"] = np.nan
    assert sweeps.agreement(fresh, stored)["sweep"].tolist() == ["demand_charge"]


def test_keys_of_figures_are_words_and_differ():
    keys = [sweeps.glue_key(s.name, v.label, k) for s in sweeps.SWEEPS for v in s.values for k in ("", "out_")]
    assert len(set(keys)) == len(keys)
    assert all(key.isidentifier() for key in keys)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("blocks", [2, 4, 8])
def test_demand_kept_is_what_the_prosumer_serves_outside_its_tail(beta, blocks):
    """One prosumer, one hour: the dear scenario fills the tail, in the other one the threshold
    of :eq:`eq-tariff-weight` decides."""
    tariff, demand = 0.06, np.array([[[100.0, 300.0]]])
    rules = plain_rules(1, flexibility=0.1, demand_blocks=blocks, reference_price=0.38, billing="expected")
    who, design = plain_prosumer(2, beta=beta), Design((tariff,), tariff)
    on = days(demand, 0 * demand, 2, (0.8, 0.2))
    joint = JointLP(Instance(line_feeder(2), (who,), on, rules, Menu(((tariff,),), (tariff,), ())), market=False)
    joint.set_design(design)
    x = joint.solve(joint.cost(design)).x
    served = sum(x[joint.lp.at(f"served{k}[P2]")].reshape(1, 2)[0, 0] for k in range(blocks))
    share = 1 - rules.flexibility + served / 100
    kept = int((block_value(rules) > rules.retail.max() + tariff / (1 - beta)).sum())
    assert share == pytest.approx(1 - rules.flexibility + 2 * rules.flexibility * kept / blocks, abs=1e-6)


def test_the_course_of_a_sweep_runs_from_its_first_to_its_last_value():
    told = sweeps.course(rows_by_hand(), sweeps.find_sweep("demand_charge"))
    assert (told["first_label"], told["first"], told["last_label"], told["last"]) == ("0.251", 4.0, "0.763", 10.0)
    assert (told["word"], told["out_first"], told["out_last"]) == ("rises", 2.0, 5.0)


@pytest.mark.parametrize(("value", "text"), [(-0.4, "+0"), (0.4, "+0"), (-1234.4, "-1,234"), (10.0, "+10")])
def test_what_rounds_to_nothing_has_no_minus(value, text):
    assert sweeps.signed(value) == text


def test_figures_show_the_rows():
    rows = rows_by_hand()
    fig = plots.tornado(sweeps.ends(rows), 10.0, 5.0)
    bars = [p.get_x() + p.get_width() for p in fig.axes[0].patches]
    assert bars == pytest.approx([4.0, -3.0, 10.0, 10.0])
    own = sweeps.of_sweep(rows, sweeps.find_sweep("pv"))
    fig = plots.by_value([("PV [-]", own)])
    assert fig.axes[0].get_lines()[0].get_ydata().tolist() == [10.0, -3.0]
    fig = plots.cleared_and_judged(["a", "b"], [5.0, 6.0], [1.0, 2.0])
    assert [p.get_width() for p in fig.axes[0].patches] == [5.0, 6.0, 1.0, 2.0]


# Stored ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    rows, origin = sweeps.read_stored(ROOT / "data" / "results")
    return sweeps.with_changes(rows), origin


def test_stored_sweeps_say_of_which_model_they_are(stored):
    """They are the first edition's, on the same load: python data/results/sweeps.py makes the table again."""
    study = read_study(STUDY)
    first = stored[1]["data_hash"] != inputs_hash(study)
    assert ("billed on expectation" in str(stored[1].get("model", ""))) == first
    assert stored[1]["load_scale"] == study.settings.load.scale
    assert stored[1]["menu"].items() <= sweeps.MENU.items()


def test_stored_sweeps_are_those_of_the_plan(stored):
    rows, origin = stored
    planned = [(p.sweep, p.label) for p in sweeps.plan(sweeps.STORED, 1.0)]
    assert list(rows[["sweep", "label"]].itertuples(index=False, name=None)) == planned
    assert origin["points"] == len(rows)
    sizes = rows[~rows["sweep"].isin(["scenarios"])]
    assert set(sizes["scenarios"]) == {sweeps.STORED.n_scenarios}
    assert set(rows["prosumers"]) == {sweeps.STORED.n_prosumers}


def test_stored_rows_are_whole(stored):
    rows, _ = stored
    left_out = (rows["sweep"] == "tie_break") & (rows["label"] == "0")  # Case 4 without a tie-break
    solved = rows[(rows["refused"] == "") & ~left_out]
    columns = ["change", "out_change", "cost_change", "losses_change", "peak_change", "distortion"]
    assert not solved[columns].isna().to_numpy().any()
    assert len(solved) == len(rows) - 1 - (rows["refused"] != "").sum()
    assert rows.loc[rows["refused"] != "", "change"].isna().all()
    assert (solved["out_low"] < solved["out_change"]).all() and (solved["out_change"] < solved["out_high"]).all()
    menu = solved[solved["c4_first_best_usd"].notna()]
    assert (menu["c4_first_best_usd"] <= menu["c4_cleared_total_usd"] + 1e-6).all()


def test_what_is_swept_reaches_the_model(stored):
    """Known directions: a smaller demand charge costs less, more PV too, and more load violates more."""
    rows = stored[0].set_index(["sweep", "label"])
    base = rows.loc[("base", "")]
    assert rows.loc[("demand_charge", "0.251"), "c1_social_cost_usd"] < base["c1_social_cost_usd"]
    assert rows.loc[("pv", "1.5"), "c1_prosumer_cost_usd"] < base["c1_prosumer_cost_usd"]
    assert rows.loc[("load", "1.05"), "c1_violation_kwh"] > base["c1_violation_kwh"]
    assert rows.loc[("battery", "0"), "c1_degradation_usd"] == pytest.approx(0, abs=1e-9)
    assert rows.loc[("shift", "0"), "c1_welfare_usd"] != pytest.approx(base["c1_welfare_usd"], abs=1e-3)


@pytest.mark.parametrize(
    ("origin", "short", "long"),
    [
        (
            {"model": "first edition: no peaks", "data_hash": "a"},
            "first edition of the model",
            "first edition: no peaks",
        ),
        ({"data_hash": "a"}, "today's model", "today's model, on this book's inputs"),
        ({"data_hash": "b"}, "today's model", "today's model, on other inputs than this book's"),
    ],
)
def test_stored_sweeps_are_told_by_their_model(origin, short, long):
    told = sweeps.model_in_words(origin, "a")
    assert told[0] == short
    assert told[1].endswith(long)


def test_the_chapter_says_which_model_its_stored_sweeps_carry():
    """What is stored may be of an earlier model: the text and every figure of it name the model that is stored."""
    cells = json.loads((ROOT / "chapters" / "17-sensitivities.ipynb").read_text())["cells"]
    told = "".join(line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"])
    assert "{glue:text}`s_edition`" in told
    assert "first edition" not in told
    looks = [cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "") for cell in cells]
    captions = [caption for caption in looks if caption.startswith("Stored sweep")]
    assert len(captions) == 3
    assert all("{glue:text}`s_model`" in caption for caption in captions)


def test_the_worth_of_assumptions_is_that_of_todays_model():
    """data/results/assumptions.csv: one row a change, Case 1's market as it is found again here, and a design that
    costs less than 2,420 $ a day at preset fast, where the flat tariff costs 2,570."""
    assumed, measured = sweeps.worths(ROOT / "data" / "results")
    ready = prepare(STUDY, measured["preset"])
    stored_design = STORED_CASES / "odd" / "case-4" / "decisions.npz"
    assert measured["design"]["decisions"] == digest(stored_design.read_bytes())
    joint = JointLP(without_limits(ready.instance), market=False, network=False)
    flat = flat_design(joint, ready.study.settings.network_charge_usd_per_kwh)
    base = assumed.iloc[0]
    assert base["case1_usd"] == pytest.approx(optimistic_response(joint, flat, revenue=False).social.total, abs=1e-2)
    assert base["worth_usd"] == 0 and base["design_usd"] < 2420 < base["flat_usd"]
    assert not assumed.duplicated(["assumption", "setting"]).any()
    assert {"billing", "tie-break", "demand blocks", "demand charge", "price of violation"} < set(assumed["assumption"])
    trade = assumed.set_index("assumption").loc["P2P trade"]
    assert trade["case1_usd"] == base["case1_usd"], "nobody trades there"
    assert 0 < base["design_imported"] < trade["design_imported"] < 1
