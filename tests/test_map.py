"""The map of where coordination pays: rows by hand, a setting solved again, the stored map, and forgeries of it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tritier.cases.cases import CASES
from tritier.cases.outcome import daily_table
from tritier.cases.result import solve_case
from tritier.cases.solve import inputs_hash, judge, prepare
from tritier.errors import InputError
from tritier.evaluation import findings, variants
from tritier.evaluation.findings import JUDGED
from tritier.inputs.scenarios import held_out_days
from tritier.inputs.settings import PRESETS
from tritier.inputs.study import placed, read_study
from tritier.model.dso import HARD, OWN
from tritier.plots import results as plots
from tritier.provenance import digest

ROOT = Path(__file__).resolve().parent.parent
STUDY, STORED = variants.MAP_STUDY, ROOT / "data" / "results" / "map"
SMALL = {"n_prosumers": 5, "n_scenarios": 2, "days_used": 6, "load.scale": 0.85}
SETTING = variants.Setting(0.2, "spot-indexed")
DAYS = ("2016-03-07", "2016-03-08", "2016-03-21", "2016-04-04")  # of three weeks


@pytest.fixture(scope="module")
def small():
    return prepare(STUDY, variants.MAP_PRESET, SETTING.changes | SMALL)


@pytest.fixture(scope="module")
def solved(small):
    return variants.map_days(small)


def by_hand(gain: float, noise: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)) -> pd.DataFrame:
    """Judged days of one setting: each quantity is 100 in Cases 1 and 2, and moves by gain and noise in Case 4."""
    tables = []
    for number in variants.MAP_CASES:
        value = 100.0 + (gain + np.array(noise) if number == 4 else 0.0)
        for policy in (CASES[number].policy, HARD):
            table = pd.DataFrame({"day": DAYS} | {quantity: value + np.zeros(4) for quantity in JUDGED})
            told = {"social_cost_usd": 1000.0 - table["welfare_usd"], "peak_kw": 1.0}
            tables.append(table.assign(**told, case=number, policy=policy))
    return pd.concat(tables, ignore_index=True)


def whole_map(gain: float = 50.0) -> pd.DataFrame:
    """A map in which coordination pays at spot-indexed prices alone."""
    noise = (8.0, -4.0, 2.0, -6.0)
    tables = [by_hand(gain * (s.prices != "fixed"), noise).assign(**asdict(s)) for s in variants.SETTINGS]
    return pd.concat(tables, ignore_index=True)


def test_the_settings_are_six_by_two_and_a_coarse_map_comes_first():
    assert len({s.name for s in variants.SETTINGS}) == len(variants.SETTINGS) == 12
    assert sorted({s.electrification for s in variants.SETTINGS}) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert {s.electrification for s in variants.SETTINGS[:4]} == {0, 1}


def test_a_setting_reaches_the_model(small):
    settings = small.study.settings
    assert (settings.electrification, settings.retail.kind, settings.feed_in.kind) == (
        0.2,
        "spot_indexed",
        "market_value",
    )
    fixed = read_study(STUDY, {k: v for k, v in variants.Setting(0.4, "fixed").changes.items() if k != "n_scenarios"})
    assert (fixed.settings.electrification, fixed.settings.retail.kind, fixed.settings.feed_in.kind) == (
        0.4,
        "fixed",
        "fixed",
    )
    assert small.instance.menu.coincident == (0.0, 0.38, 0.763)


def test_rows_of_a_setting_are_what_the_cases_give(small, solved):
    """Case 4 less Case 1 on the same days, by the public functions and the textbook's formula over weeks."""
    rows = variants.map_rows(solved[0].assign(**asdict(SETTING)))
    days, welfare = held_out_days(small.study, small.preset, small.half), {}
    for number in (1, 4):
        result = solve_case(small, number)
        day = judge(small, result.case, result.decisions, days, result.case.policy)
        welfare[number] = daily_table(day, result.decisions)["welfare_usd"].to_numpy()
    step = welfare[4] - welfare[1]
    own = variants.of_map(rows).iloc[0]
    assert own["change"] == pytest.approx(step.mean(), rel=1e-6)
    assert (own["days"], own["weeks"]) == (6, 6)  # a day in each week: the clustered interval is the plain one
    half = stats.t.ppf(0.975, 5) * step.std(ddof=1) / np.sqrt(6)
    assert own["high"] - own["low"] == pytest.approx(2 * half, rel=1e-6)


def test_bounds_of_a_setting_are_in_order(solved):
    bounds = solved[1]["case_4"]["bounds"]
    assert bounds["first_best"] <= bounds["lower_bound"] + 0.01 < bounds["upper_bound"] + 0.02
    assert bounds["upper_bound"] < bounds["flat"]


def test_a_gain_in_one_price_regime_is_told_as_such():
    rows = variants.map_rows(whole_map())
    own = variants.of_map(rows)
    assert set(own.loc[own["prices"] == "fixed", "word"]) == {"not resolved"}
    assert set(own.loc[own["prices"] == "spot-indexed", "word"]) == {"rises"}
    assert own.loc[own["prices"] == "spot-indexed", "change"].tolist() == pytest.approx([50.0] * 6)
    fallen = variants.of_map(variants.map_rows(whole_map(-50.0)))
    assert set(fallen.loc[fallen["prices"] == "spot-indexed", "word"]) == {"falls"}


def test_verdicts_are_corrected_for_the_number_of_settings():
    """A change that stands alone at 5 % does not among twelve."""
    alone = by_hand(12.0, (4.0, -2.0, 1.0, -3.0)).assign(**asdict(SETTING))
    p = variants.of_map(variants.map_rows(alone))["p_value"].iloc[0]
    assert 0.05 / 12 < p < 0.05
    among = pd.concat([alone.assign(**asdict(s)) for s in variants.SETTINGS])
    assert set(variants.of_map(variants.map_rows(among))["word"]) == {"not resolved"}


def test_a_setting_is_kept_for_its_data_and_read_back(tmp_path, solved):
    variants.keep_setting(tmp_path, SETTING, "data", *solved)
    assert variants.setting_is_kept(tmp_path, SETTING, "data")
    assert not variants.setting_is_kept(tmp_path, SETTING, "other data")
    assert not variants.setting_is_kept(tmp_path, variants.Setting(0.2, "fixed"), "data")
    daily, origin = variants.read_setting(tmp_path, SETTING)
    assert daily["welfare_usd"].to_numpy() == pytest.approx(solved[0]["welfare_usd"].to_numpy(), rel=1e-9)
    assert origin["case_4"]["bounds"] == solved[1]["case_4"]["bounds"]


@pytest.mark.parametrize("size", [{"n_prosumers": 9}, {"gap": 0.2}, {"seed": 7}, {"days_used": 20}])
def test_stored_settings_are_stale_at_other_sizes_of_the_preset(size, tmp_path, monkeypatch):
    """Of the study's own, or of the preset by that name: settings give neither prosumers, gap nor seed."""
    data, setting = inputs_hash(read_study(STUDY)), variants.SETTINGS[0]
    assert variants.setting_is_kept(STORED, setting, data)
    text = (STUDY / "study.yaml").read_text()
    (tmp_path / "study.yaml").write_text(f"{text}presets: {json.dumps({'fast': size})}\n")
    with monkeypatch.context() as patch:
        patch.setattr(variants, "MAP_STUDY", tmp_path)
        assert not variants.setting_is_kept(STORED, setting, data)
        (tmp_path / "study.yaml").write_text(f"{text}presets: {{fast: {{n_resampled_days: 7, n_scenarios: 9}}}}\n")
        assert variants.setting_is_kept(STORED, setting, data), "these decide nothing here, or are the setting's own"
    monkeypatch.setitem(PRESETS, "fast", replace(PRESETS["fast"], **size))
    assert not variants.setting_is_kept(STORED, setting, data)


def forge(folder: Path, change, sign: bool) -> None:
    """Change a stored table, and with ``sign`` its hash too."""
    path = folder / f"{SETTING.name}.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)
    if sign:
        about = path.with_suffix(".json")
        about.write_text(json.dumps(json.loads(about.read_text()) | {"table": digest(path.read_bytes())}))


def better(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(welfare_usd=table["welfare_usd"] + 100 * (table["case"] == 4))


@pytest.mark.parametrize(
    ("change", "sign", "says"),
    [
        (better, False, "is not the one that"),
        (better, True, "does not fit social cost"),
        (lambda t: t.drop(index=3), True, "differs from case to case"),
        (lambda t: t[t["case"] != 2], True, "does not hold cases"),
    ],
    ids=["unsigned", "welfare", "a day left out", "a case left out"],
)
def test_a_forged_setting_is_refused(tmp_path, change, sign, says):
    variants.keep_setting(tmp_path, SETTING, "data", by_hand(50.0), {})
    variants.read_setting(tmp_path, SETTING)
    forge(tmp_path, change, sign)
    with pytest.raises(InputError, match=says):
        variants.read_setting(tmp_path, SETTING)


def test_an_electrification_is_shown_with_both_price_regimes_only(tmp_path):
    for name, shown in (("e000-fixed", 0), ("e100-fixed", 0), ("e100-spot-indexed", 2), ("e000-spot-indexed", 4)):
        (tmp_path / f"{name}.json").write_text("{}")
        assert len(variants.stored_settings(tmp_path)) == shown


def test_a_setting_that_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"e020-spot-indexed.csv.*is missing"):
        variants.read_setting(tmp_path, SETTING)


def test_the_figure_draws_the_rows():
    rows = variants.map_rows(whole_map())
    bounds = pd.DataFrame([asdict(s) | {"design_gain": 3.0, "first_best_gain": 5.0} for s in variants.SETTINGS])
    fig = plots.coordination_map(rows, bounds)
    upper = fig.axes[1]
    assert "spot-indexed prices" in {upper.get_title(loc=where) for where in ("left", "center")}
    assert upper.containers[0].lines[0].get_ydata() == pytest.approx([50.0] * 6)
    assert {bar.get_height() for bar in fig.axes[3].patches} == {3.0, 5.0}


# Stored ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    daily, bounds = variants.read_map(STORED)
    return daily, variants.map_rows(daily), bounds


def test_the_stored_map_is_of_todays_data_and_has_both_ends_of_both_dials(stored):
    data, shown = inputs_hash(read_study(STUDY)), variants.stored_settings(STORED)
    assert [s.name for s in shown if not variants.setting_is_kept(STORED, s, data)] == []
    assert {s.name for s in variants.SETTINGS if s.electrification in (0, 1)} <= {s.name for s in shown}
    assert {p.stem for p in STORED.glob("*.csv")} == {s.name for s in shown}
    days = set(held_out_days(read_study(STUDY), variants.MAP_PRESET).label)
    assert all(set(own["day"]) == days for _, own in stored[0].groupby(variants.AT))


def test_stored_bounds_are_in_order(stored):
    bounds = stored[2]
    assert (bounds["lower_bound"] <= bounds["upper_bound"] + 1e-6).all()
    assert (bounds["first_best"] <= bounds["upper_bound"] + 1e-6).all()
    gap = (bounds["upper_bound"] - bounds["lower_bound"]) / (bounds["flat"] - bounds["first_best"])
    assert gap.max() <= 0.05
    assert bounds["share"].between(0, 1 + 1e-9).all()


def test_a_stored_setting_is_what_case_1_gives_again(stored):
    setting = variants.Setting(0.0, "fixed")
    fresh, _ = variants.map_days(prepare(STUDY, variants.MAP_PRESET, setting.changes), (1,))
    mine = stored[0]
    mine = mine[(mine["electrification"] == 0) & (mine["prices"] == setting.prices) & (mine["case"] == 1)]
    both = mine.merge(fresh, on=["day", "policy"], suffixes=("", "_fresh"))
    assert len(both) == len(fresh) == len(mine)
    for quantity in ("welfare_usd", "secured_welfare_usd", "prosumer_cost_after_refund_usd", "ac_losses_kwh"):
        assert both[quantity].to_numpy() == pytest.approx(both[f"{quantity}_fresh"].to_numpy(), rel=1e-5, abs=1e-3)


def test_the_map_in_brief_is_the_readmes():
    brief = variants.map_answer(STORED)
    assert (STORED.parent / "map.md").read_text() == brief
    assert f"<!-- map -->\n{brief}<!-- /map -->" in (ROOT / "README.md").read_text()


def test_what_the_map_says(stored):
    """The words of the chapter and the first page: coordination pays in every setting, and the more, the more is
    electrified; secured welfare is resolved at little electrification only."""
    _, rows, bounds = stored
    assert {s.name for s in variants.stored_settings(STORED)} == {s.name for s in variants.SETTINGS}
    for kind, base in ((OWN, 1), (HARD, 1), (OWN, 2), (HARD, 2)):
        own = variants.of_map(rows, kind=kind, base=base)
        assert set(own["word"]) == {"rises"}
        for _, regime in own.groupby("prices"):
            assert regime.sort_values("electrification")["change"].is_monotonic_increasing
    secured = variants.of_map(rows, "secured_welfare_usd")
    assert (secured["change"] > 0).all()
    assert set(secured.loc[secured["electrification"] == 1, "word"]) == {"not resolved"}
    assert set(secured.loc[secured["electrification"] == 0, "word"]) == {"rises"}
    assert set(variants.of_map(rows, "prosumer_cost_after_refund_usd")["word"]) == {"falls"}
    assert set(variants.of_map(rows, "ac_losses_kwh")["word"]) == {"falls"}
    assert set(variants.of_map(rows, "ac_violation_share")["word"]) == {"not resolved"}
    for _, regime in bounds.groupby("prices"):
        assert regime.sort_values("electrification")["share"].iloc[-1] > regime["share"].iloc[0]


def test_the_map_is_renewed_from_any_folder(tmp_path, monkeypatch):
    """Its study was once looked for below the folder from which it was called."""
    monkeypatch.chdir(tmp_path)
    read = []
    monkeypatch.setattr(variants, "prepare", lambda *asked: read.append(asked[0]) or prepare(tmp_path))
    monkeypatch.setattr(variants, "setting_is_kept", lambda *asked: False)
    assert "study.yaml" in variants.renew(tmp_path, SETTING, inputs_hash(read_study(variants.MAP_STUDY)))
    assert [study.name for study in read] == [read_study(STUDY).name]


# Steps ----------------------------------------------------------------------------------------------------------------

STEPS_STORED = STORED.parent / "steps"


def step_by_hand(key: str, gain: float, noise: tuple[float, ...]) -> pd.DataFrame:
    """Judged days of one step: welfare is 100 and moves by gain and noise, all else stays."""
    number = variants.STEPS[key][1]
    table = by_hand(0.0)
    table = table[table["case"] == 1].assign(case=number)
    table["policy"] = np.where(table["policy"] == HARD, HARD, CASES[number].policy)
    table["welfare_usd"] += np.tile(gain + np.array(noise), 2)
    return table.assign(**variants.Step(SETTING, key).place)


def test_a_step_is_told_against_case_1_of_its_end():
    noise = (0.4, -0.2, 0.1, -0.3)
    days = [step_by_hand(key, gain, noise) for key, gain in (("flexible", 0.0), ("market", 5.0), ("all", 80.0))]
    days[0]["welfare_usd"] = 100.0
    rows = variants.step_rows(pd.concat(days))
    own = rows[(rows["quantity"] == "welfare_usd") & (rows["kind"] == OWN)].set_index("step")
    assert own["change"].to_dict() == pytest.approx({"market": 5.0, "all": 80.0})
    assert set(own["word"]) == {"rises"}
    fig = plots.steps_apart(rows)
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == [
        variants.STEPS[k][0] for k in ("market", "all")
    ]


def test_each_instrument_alone_leaves_the_others_out():
    menus = {key: prepare(STUDY, variants.MAP_PRESET, variants.Step(SETTING, key).changes).instance.menu for key in
             ("network", "limit", "blocks", "individual", "coincident")}  # fmt: skip
    for key, menu in menus.items():
        assert (len({len(set(block)) > 1 for block in menu.tariff} | {False}) == 2) == (key in ("blocks", "individual"))
        assert (max(menu.peak) > 0) == (key == "individual")
        assert (max(menu.coincident) > 0) == (key == "coincident")
        assert (len(menu.capacity[0][1]) > 1) == (key == "limit")


def test_stored_steps_are_of_todays_data():
    data = inputs_hash(read_study(STUDY))
    found = [s for s in variants.ALL_STEPS if (STEPS_STORED / f"{s.name}.json").is_file()]
    assert len(found) > 6
    assert [s.name for s in found if not variants.setting_is_kept(STEPS_STORED, s, data)] == []
    daily, designs = variants.read_steps(STEPS_STORED)
    assert len(designs) == len(found)
    base = daily[daily["step"] == variants.STEP_BASE]
    mapped, _ = variants.read_setting(STORED, variants.STEP_SETTINGS[0])
    mine = base[base["electrification"] == 1].merge(mapped[mapped["case"] == 1], on=["day", "policy"])
    assert len(mine) == 58
    assert mine["welfare_usd_x"].to_numpy() == pytest.approx(mine["welfare_usd_y"].to_numpy(), abs=0.01)


def test_what_the_steps_say():
    """The chapter's sentence: a charge on the common peak earns the gain, alone and designed on the forecast; P2P, a
    network that is seen, and a limit earn nothing that these days resolve."""
    rows = variants.step_rows(variants.read_steps(STEPS_STORED)[0])
    rows = rows[rows["quantity"] == "welfare_usd"].set_index(["electrification", "kind", "step"])["word"].sort_index()
    for e in (0.0, 1.0):
        for kind in (OWN, HARD):
            words = rows.loc[e, kind]
            assert set(words[["coincident", "forecast"]]) == {"rises"}
            assert set(words[["market", "network", "limit"]]) == {"not resolved"}
    assert set(rows.loc[1.0, :, "individual"]) == {"rises"} and set(rows.loc[0.0, :, "individual"]) == {"not resolved"}


def test_what_the_steps_post():
    """A head limit alone on the menu is offered today and not in 2045; all instruments together are there the
    coincident charge, nothing else."""
    designs = variants.read_steps(STEPS_STORED)[1]
    table = variants.step_table(designs)
    limit = table[designs["step"] == "limit"].set_index("electrification")["head limit [kW]"]
    assert limit.to_dict() == {"1": "none", "0": "1,700"}
    assert variants.same_design(designs, 1.0, "all", "coincident")
    assert not variants.same_design(designs, 0.0, "all", "coincident")
    charged = table[designs["step"] == "coincident"]
    assert set(charged["coincident peak charge [$/kW]"]) == {"0.38"} and set(charged["head limit [kW]"]) == {"none"}


# Sensitivities --------------------------------------------------------------------------------------------------------


def value_by_hand(value: variants.Sensitivity, gain: float, noise: tuple[float, ...]) -> pd.DataFrame:
    """Judged days of one value: Case 4 gains ``gain`` over Case 1, and noise by day."""
    days = by_hand(gain, noise)
    return days[days["case"] != 2].assign(**value.place)


def test_a_sensitivity_is_told_against_case_1_and_against_the_studys_own_value():
    own, noise = variants.Sensitivity("pv", "1.1"), (3.0, -1.0, 2.0, -4.0)
    base = value_by_hand(own, 50.0, noise).assign(parameter=findings.BASE, label="")
    rows = variants.sensitivity_rows(pd.concat([base, value_by_hand(own, 80.0, noise)]))
    row = rows[(rows["parameter"] == "pv") & (rows["quantity"] == "welfare_usd") & (rows["kind"] == OWN)].iloc[0]
    assert (row["change"], row["moved"]) == pytest.approx((80.0, 30.0))
    assert (row["moved_low"], row["moved_high"]) == pytest.approx((30.0, 30.0))  # the same noise on the same days
    assert (row["word"], row["moved_word"]) == ("rises", "rises")
    away = variants.sensitivity_rows(pd.concat([base, value_by_hand(own, 50.0, (-9.0, 30.0, -40.0, 25.0))]))
    assert away.set_index(["parameter", "quantity", "kind"]).loc[("pv", "welfare_usd", HARD), "moved_word"] == (
        "not resolved"
    )


def test_each_value_reaches_the_study_and_no_two_share_a_file():
    assert len({s.name for s in variants.SENSITIVITIES}) == len(variants.SENSITIVITIES)
    base = variants.prepared_at(variants.BASE_SETTING)
    for value in variants.SENSITIVITIES:
        changed = dict(variants.PARAMETERS[value.parameter].values[value.label])
        assert (value.parameter == "placement") == (not changed)
        assert all(base.study.changes.get(key) != str(found) for key, found in changed.items())


def test_a_placement_moves_what_prosumers_own_and_leaves_the_homes_where_they_are():
    study = read_study(STUDY)
    moved = placed(study, 1)
    assert {p.bus for p in moved.prosumers} != {p.bus for p in study.prosumers}
    assert len({p.bus for p in moved.prosumers}) == len(study.prosumers)
    assert [p.pv_kw for p in moved.prosumers] == [p.pv_kw for p in study.prosumers]
    assert [p.ev_delay_h for p in moved.prosumers] == [p.ev_delay_h for p in study.prosumers]

    def energy(which):
        rows = sorted((*which.prosumers, *which.passive), key=lambda row: row.bus)
        return {row.bus: (row.ev_kwh_per_day, row.hp_kw) for row in rows if row.ev_kwh_per_day > 0}

    assert energy(moved) == energy(study)
    assert placed(study, 1).prosumers == moved.prosumers != placed(study, 2).prosumers


def test_one_placement_does_not_pass_for_another(tmp_path):
    """Placements change no key of the study: a file under another's name once counted as that other."""
    one, two = (variants.Sensitivity("placement", label) for label in ("1", "2"))
    days = by_hand(50.0)
    variants.keep_setting(tmp_path, one, "data", days[days["case"] != 2], {})
    assert variants.setting_is_kept(tmp_path, one, "data")
    assert variants.map_key(one, "data") == variants.map_key(two, "data")
    for part in ("csv", "json"):
        (tmp_path / f"{two.name}.{part}").write_bytes((tmp_path / f"{one.name}.{part}").read_bytes())
    assert not variants.setting_is_kept(tmp_path, two, "data")
    variants.read_setting(tmp_path, one)
    with pytest.raises(InputError, match="setting"):
        variants.read_setting(tmp_path, two)


def test_a_span_of_nothing_is_told_as_such():
    assert variants.span_in_words(pd.Series([], dtype=float)) == "no figure yet"
    assert variants.span_in_words(pd.Series([3.4, -1200.0])) == "-1,200 to +3 $ a day"


def test_vehicles_and_heat_pumps_are_scaled_and_wait_as_told():
    own = read_study(STUDY)
    told = {"vehicles.scale": 0.5, "vehicles.delay_h": 2, "heat_pumps.scale": 2.0, "heat_pumps.delay_h": 1}
    changed = read_study(STUDY, told)
    for rows, others in ((own.prosumers, changed.prosumers), (own.passive, changed.passive)):
        assert [0.5 * row.ev_kw for row in rows] == pytest.approx([row.ev_kw for row in others])
        assert [2 * row.hp_kwh_per_day for row in rows] == pytest.approx([row.hp_kwh_per_day for row in others])
    assert {(p.ev_delay_h, p.hp_delay_h) for p in changed.prosumers} == {(2, 1)}
    assert own.data_hash == changed.data_hash and inputs_hash(own) != inputs_hash(changed)


SENSITIVITIES_STORED = STORED.parent / "sensitivities"


@pytest.fixture(scope="module")
def values():
    return variants.read_sensitivities(SENSITIVITIES_STORED, STORED)


def test_stored_sensitivities_are_of_todays_data_and_of_the_maps_days(values):
    data, (daily, designs) = inputs_hash(read_study(STUDY)), values
    found = [s for s in variants.SENSITIVITIES if (SENSITIVITIES_STORED / f"{s.name}.json").is_file()]
    assert {p.stem for p in SENSITIVITIES_STORED.glob("*.csv")} == {s.name for s in found}
    assert [s.name for s in found if not variants.setting_is_kept(SENSITIVITIES_STORED, s, data)] == []
    assert len(designs) == 1 + len(found)  # the study's own is the map's
    days = set(held_out_days(read_study(STUDY), variants.MAP_PRESET).label)
    assert all(set(own["day"]) == days for _, own in daily.groupby(["parameter", "label"]))


def test_a_stored_sensitivity_is_what_case_1_gives_again(values):
    """On three of its days: the rest would take half a minute."""
    value = variants.Sensitivity("delay", "2")
    few = prepare(STUDY, variants.MAP_PRESET, value.changes | {"days_used": 3})
    fresh, _ = variants.map_days(few, (1,))
    both = values[0].query("parameter == 'delay' and label == '2'").merge(fresh, on=["case", "policy", "day"])
    assert len(both) == len(fresh) == 6
    for quantity in ("welfare_usd", "secured_welfare_usd", "prosumer_cost_after_refund_usd", "ac_losses_kwh"):
        assert both[f"{quantity}_x"].to_numpy() == pytest.approx(both[f"{quantity}_y"].to_numpy(), rel=1e-5, abs=1e-3)


def test_the_base_of_the_sensitivities_is_the_maps_point(values, stored):
    rows = variants.sensitivity_rows(values[0]).set_index(["parameter", "kind", "quantity"]).sort_index()
    point = variants.of_map(stored[1])
    point = point[(point["electrification"] == 1) & (point["prices"] == "spot-indexed")].iloc[0]
    base = rows.loc[(findings.BASE, OWN, "welfare_usd")].iloc[0]
    assert (base["change"], base["low"], base["moved"]) == pytest.approx((point["change"], point["low"], 0.0))


def test_the_table_and_the_figure_of_the_sensitivities_show_each_value(values):
    rows = variants.sensitivity_rows(values[0])
    told = variants.sensitivity_table(rows, values[1])
    assert len(told) == len(values[1])
    assert told.iloc[0, :2].tolist() == ["none: the study's own", "all"]
    assert not (told.isna() | (told == "")).any(axis=None)
    assert not any("\N{DAGGER}" in str(cell) for cell in told.iloc[0])  # the study's own differs from nothing
    fig = plots.sensitivities(rows, {key: p.title for key, p in variants.PARAMETERS.items()})
    dots = sum(len(line.get_xdata()) for line in fig.axes[0].lines if line.get_marker() == "o")
    assert dots == len(values[1]) - 1


def test_values_that_are_not_stored_are_named():
    every = pd.DataFrame([{"parameter": s.parameter, "label": s.label} for s in variants.SENSITIVITIES])
    assert variants.not_stored(every) == "none"
    assert variants.not_stored(every.iloc[1:]) == "electric vehicles 0.5"


def test_the_readme_says_what_random_placements_do():
    """Under own policies: smaller than at the study's own placement, by an interval of each difference and by Holm's
    test over all values that were moved, and above zero; under the same redispatch the signs are the same."""
    daily, _ = variants.read_sensitivities(STORED.parent / "sensitivities", STORED)
    rows = variants.sensitivity_rows(daily)
    drawn = rows[(rows["parameter"] == "placement") & (rows["quantity"] == "welfare_usd")]
    assert drawn["label"].nunique() == variants.PLACEMENTS == 10
    assert (drawn["moved_high"] < 0).all() and set(drawn["word"]) == {"rises"}
    own = drawn[drawn["kind"] == OWN]
    assert (own["moved_word"] == "falls").sum() == 7 and "rises" not in set(own["moved_word"])
    said = (
        "at each of ten random placements it is smaller, at seven of them after Holm's correction too, and above zero"
    )
    for page in ("README.md", "intro.md"):
        assert f"{said} at all" in (ROOT / page).read_text()
