"""Settings of all tests."""

import matplotlib
from hypothesis import settings

matplotlib.use("Agg")
# Examples are the same in every run, and a slow machine is not a failure.
settings.register_profile("tritier", deadline=None, derandomize=True)
settings.load_profile("tritier")

# Modules that take longest begin first, the longest of all at once, so that no worker is left alone at the end.
LONG = (
    "test_stored_cases",
    "test_first_edition",
    "test_studies",
    "test_bilevel_market",
    "test_out_of_sample",
    "test_api",
    "test_bench",
    "test_map",
    "test_study",
    "test_faults",
    "test_same",
    "test_sweep",
    "test_book",
    "test_electrified_days",
    "test_hybrid",
    "test_hosting_stored",
    "test_findings",
    "test_repository",
    "test_large",
)


def pytest_collection_modifyitems(items: list) -> None:
    place = {name: k for k, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.module.__name__, len(LONG)))
