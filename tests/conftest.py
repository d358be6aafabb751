"""Settings of all tests."""

import matplotlib
from hypothesis import settings

matplotlib.use("Agg")
# Examples are the same in every run, and a slow machine is not a failure.
settings.register_profile("tritier", deadline=None, derandomize=True)
settings.load_profile("tritier")

# Modules that take longest begin first, so that no worker is left alone with one of them at the end.
LONG = (
    "test_stored_cases",
    "test_hybrid",
    "test_out_of_sample",
    "test_sweep",
    "test_repository",
    "test_first_edition",
    "test_faults",
    "test_bilevel_random",
    "test_tamper",
    "test_cli",
    "test_studies",
)


def pytest_collection_modifyitems(items: list) -> None:
    place = {name: k for k, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.module.__name__, len(LONG)))
