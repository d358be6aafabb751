"""Settings of all tests."""

import matplotlib
from hypothesis import settings

matplotlib.use("Agg")
# Examples are the same in every run, and a slow machine is not a failure.
settings.register_profile("tritier", deadline=None, derandomize=True)
settings.load_profile("tritier")
