"""Presets and their overrides."""

from __future__ import annotations

import numpy as np
import pytest
from small_study import write_study

from tritier.errors import InputError
from tritier.inputs.settings import PRESETS, change_as_text, find_preset, listed, parse_changes, parse_value
from tritier.inputs.study import read_study


def test_overrides_replace_values_and_convert_text():
    preset = find_preset("fast", {"n_prosumers": "10", "n_scenarios": 20, "gap": "0.01", "seed": "0"})
    assert (preset.n_prosumers, preset.n_scenarios, preset.gap, preset.seed) == (10, 20, 0.01, 0)
    assert preset.name == "fast"
    assert PRESETS["fast"].n_scenarios == 12


def test_presets_grow():
    sizes = [(PRESETS[n].n_prosumers * PRESETS[n].n_scenarios) for n in ("smoke", "fast", "paper")]
    assert sizes == sorted(sizes)
    assert PRESETS["paper"].n_scenarios >= 50
    assert PRESETS["paper"].n_resampled_days >= 300


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("huge", {}, "--preset: preset: unknown preset 'huge'; choose one of smoke, fast, paper"),
        ("fast", {"n_days": 3}, "--set: n_days: is an unknown key; use one of n_prosumers, n_scenarios, gap"),
        ("fast", {"name": "x"}, "--set: name: is an unknown key"),
        ("fast", {"n_scenarios": "many"}, "--set: n_scenarios: 'many' is not allowed; it should be a valid integer"),
        ("fast", {"n_scenarios": 2.5}, "it should be a valid integer"),
        ("fast", {"n_scenarios": True}, "it should be a valid integer"),
        ("fast", {"n_scenarios": "inf"}, "it should be a valid integer"),
        ("fast", {"n_scenarios": "010"}, "it should be a valid integer"),
        ("fast", {"n_prosumers": 0}, "it should be greater than or equal to 1"),
        ("fast", {"n_prosumers": 10**30}, "it should be less than or equal to 100000"),
        ("fast", {"n_prosumers": "9" * 400}, "--set: line 1: holds a number of 400 digits; round it"),
        ("fast", {"gap": "0"}, "--set: gap: 0 is not allowed; it should be greater than 0"),
        ("fast", {"gap": "nan"}, "it should be a valid number"),
        ("fast", {"gap": "[[[["}, "--set: line 1: is not YAML; give gap a number, a word, a [list] or a {section}"),
    ],
)
def test_unknown_or_impossible_values_name_the_choices(name, changes, message):
    with pytest.raises(InputError) as caught:
        find_preset(name, changes)
    assert message in str(caught.value)


def test_changes_of_the_command_line():
    assert parse_changes(["n_prosumers=10", " gap = 0.1"]) == {"n_prosumers": "10", "gap": "0.1"}
    for text in ("n_prosumers", "=3"):
        with pytest.raises(InputError, match=r"--set.*KEY=VALUE"):
            parse_changes([text])


def test_command_line_beats_study_beats_built_in(tmp_path):
    study = read_study(write_study(tmp_path / "study"))
    assert study.preset("smoke").n_scenarios == 5
    assert study.preset("smoke", {"n_scenarios": 2}).n_scenarios == 2
    assert study.preset("smoke").gap == PRESETS["smoke"].gap
    assert study.preset(study.preset("smoke", {"seed": 7})).seed == 7
    with pytest.raises(InputError, match="choose one of smoke, fast, paper"):
        study.preset("slow")


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 1e-5, 0.1 + 0.2, (0.02, 0.04), {"a": [1, None]}, "0.5", "word", np.float64(0.1), np.int64(4)],
)
def test_a_change_is_read_back_from_its_text(value):
    """As provenance.json keeps it: what a result was solved with is what it is certified with."""
    text = change_as_text(value)
    assert isinstance(text, str)
    again = parse_value("key", text)
    assert again == (parse_value("key", value) if isinstance(value, str) else listed(value))
    assert change_as_text(text) == text
