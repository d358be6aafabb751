"""Settings of all tests, and what several modules share."""

from __future__ import annotations

import gc
from dataclasses import replace

import matplotlib
import pytest
from hypothesis import settings

from tritier.cases import result, solve
from tritier.cases.solve import Prepared, prepare, split_changes
from tritier.evaluation import bench, sweeps, variants
from tritier.inputs.settings import change_as_text
from tritier.inputs.study import read_study

matplotlib.use("Agg")
gc.freeze()  # what is imported stays: writing LPs makes so many objects that looking through it again takes a tenth
# Examples are the same in every run, and a slow machine is not a failure.
settings.register_profile("tritier", deadline=None, derandomize=True)
settings.load_profile("tritier")

# Modules that take longest begin first, the longest of all at once, so that no worker is left alone at the end: what
# takes under eight seconds fills up.
LONG = (
    "test_stored_cases",
    "test_studies",
    "test_first_edition",
    "test_hosting_stored",
    "test_hybrid",
    "test_out_of_sample",
    "test_bilevel_market",
    "test_bench",
    "test_faults",
    "test_map",
    "test_sweep",
    "test_repository",
    "test_book",
    "test_reevaluated_independently",
    "test_hosting_run",
    "test_same",
    "test_api",
    "test_study",
    "test_tamper",
    "test_electrified_days",
    "test_cli",
    "test_trade_by_scenario",
    "test_rights_ahead",
    "test_hosting",
    "test_large",
    "test_bilevel_mps",
    "test_trilevel",
    "test_robust",
    "test_bilevel_literature",
    "test_bilevel_random",
    "test_bilevel_scaling",
    "test_findings",
    "test_cluster",
)


def pytest_collection_modifyitems(items: list) -> None:
    place = {name: k for k, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.module.__name__, len(LONG)))


@pytest.fixture(scope="module")
def prepared_once():
    """Commands of a module that speak of the same files, preset and half get one and the same instance, however they
    spell folder and changes: the study is read each time, its scenarios are drawn once."""
    known: dict[tuple, Prepared] = {}

    def shared(study, preset="fast", changes=None, half="odd"):
        of_study, of_preset = split_changes(changes or {})
        read = read_study(study, of_study)
        chosen = read.preset(preset, of_preset)
        key = (read.folder.resolve(), read.data_hash, repr(read.settings), repr(chosen), half)
        if key not in known:
            known[key] = prepare(read, preset, of_preset, half)
        told = {name: change_as_text(value) for name, value in of_preset.items()}
        return replace(known[key], study=read, preset=chosen, changes=read.changes | told)

    with pytest.MonkeyPatch.context() as patch:
        for module in (solve, result, bench, sweeps, variants):  # the command line takes it from the first
            patch.setattr(module, "prepare", shared)
        yield
