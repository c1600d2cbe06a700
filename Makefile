# Two commands for a newcomer: `make plan` and `make test`. Each makes its own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := plan
.PHONY: plan test test-browser lint bench fuzz calibrate man clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "planner needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(VENV)/.installed-browser: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]'
	touch $@

plan: $(VENV)/.installed ## plan a real model on a real cluster
	$(BIN)/plan llama-3-70b --cluster dgx-h100 --nodes 64 --global-batch 1024 --tokens 15T

test: $(VENV)/.installed-dev ## all tests
	$(BIN)/python -m pytest

test-browser: $(VENV)/.installed-browser ## all pages and a trace in Chromium, which has to be there
	PLANNER_BROWSER=needed $(BIN)/python -m pytest -n 0 tests/browser

lint: $(VENV)/.installed-dev ## style, types, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev ## speed, printed as a table of medians and ratios
	$(BIN)/python -m benchmarks

N ?= 2000
fuzz: $(VENV)/.installed-dev ## N damaged files for every reader; what breaks one is kept in build/fuzz
	$(BIN)/python -m tests.fuzz -n $(N)

calibrate: $(VENV)/.installed-dev ## fit hardware_db/calibration to the published runs, redo the errors in the documentation
	$(BIN)/python -m planner.validation.calibrate tests/published/measured_runs.csv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	mkdir -p build
	$(BIN)/planner validate --cross --format json > build/validation.json
	$(BIN)/python docs/errors.py build/validation.json

man: $(VENV)/.installed ## the manual pages, made anew from the commands
	$(BIN)/python -m planner.cli.manual docs/man

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
