# Two commands for a newcomer: `make plan` and `make test`. Each makes its own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := plan
.PHONY: plan test test-full test-browser test-export test-real test-real-quick lint coverage bench fuzz mutate calibrate docs answers man clean

# The trainers and launchers that read what `planner export` writes; kept apart, they are large. Without a GPU:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test-export
EXPORT := .venv-export
# Read where they lie: they need a GPU's packages, or another Python, to be installed whole. This megatron-core is the
# last that NeMo imports
TREES := megatron-bridge==0.3.1 nemo_toolkit==2.5.3 megatron-core==0.14.0 maxtext==0.2.5
# Its setup.py imports torch; no kernels are built
DEEPSPEED := deepspeed==0.19.8
MEGATRON := core_v0.16.1
MEGATRON_LM ?= $(EXPORT)/Megatron-LM

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

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

plan: $(VENV)/.installed ## plan a real model on a real cluster
	$(BIN)/plan llama-3-70b --cluster dgx-h100 --nodes 64 --global-batch 1024 --tokens 15T

test: $(VENV)/.installed-dev ## the tests, of many alike cases a sample
	$(BIN)/python -m pytest

test-full: $(VENV)/.installed-dev ## the cases that `make test` leaves out: every pinned command, page and pair of presets
	$(BIN)/python -m pytest -m full

test-browser: $(VENV)/.installed-browser ## all pages and a trace in Chromium, which has to be there
	PLANNER_BROWSER=needed $(BIN)/python -m pytest -n 0 tests/browser

test-export: $(EXPORT)/.installed ## what `planner export` writes, read by the real trainers and launchers
	PLANNER_EXPORT_TESTS=1 PLANNER_EXPORT_TREES=$(EXPORT)/trees MEGATRON_LM=$(MEGATRON_LM) \
	  $(EXPORT)/bin/python -m pytest -n 2 -m export -rs --disable-warnings tests/export/real

REAL ?= tests/real
# Of them what takes seconds: layers, model state, tables of schedules, without steps of models and of engines
QUICK_REAL := $(addprefix tests/real/test_,$(addsuffix .py,schedules saved_tensors megatron_layers megatron_state \
  transformers torchtitan_layers))

test-real: $(EXPORT)/.installed ## what trainers' own code holds in memory, run on the CPU, against the cost model
	PLANNER_EXPORT_TESTS=1 $(EXPORT)/bin/python -m pytest -n 2 -m real -rs --disable-warnings $(REAL)

test-real-quick: ## of these the tests that take seconds, two minutes in all
	$(MAKE) test-real REAL="$(QUICK_REAL)"

$(EXPORT)/.installed: pyproject.toml
	$(PYTHON) -m venv $(EXPORT)
	$(EXPORT)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[export-test]'
	DS_BUILD_OPS=0 DS_ACCELERATOR=cpu $(EXPORT)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-build-isolation $(DEEPSPEED)
	for one in $(TREES); do \
	  $(EXPORT)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
	    --ignore-requires-python --target $(EXPORT)/trees/$${one%%=*} --upgrade $$one || exit 1; \
	done
	test -d $(MEGATRON_LM) || git clone --quiet --depth 1 --branch $(MEGATRON) \
	  https://github.com/NVIDIA/Megatron-LM $(MEGATRON_LM) || echo "without Megatron-LM: its parser's tests are skipped"
	touch $@

lint: $(VENV)/.installed-dev ## style, types, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(VENV)/.installed-dev ## which branches the tests take; fails where they are fewer than 95 %
	mkdir -p build
	$(BIN)/python -m pytest -m 'not export and not real' --cov --cov-report=term:skip-covered --cov-report=json:build/coverage.json
	$(BIN)/python -m tests.branches build/coverage.json

bench: $(VENV)/.installed-dev ## speed, printed as a table of medians and ratios
	$(BIN)/python -m benchmarks

N ?= 2000
fuzz: $(VENV)/.installed-dev ## N damaged files for every reader; what breaks one is kept in build/fuzz
	$(BIN)/python -m tests.fuzz -n $(N)

SAMPLE ?= 1000
mutate: $(VENV)/.installed-dev ## SAMPLE small changes of the cost model and the search; which ones no test notices
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[mutation]'
	$(BIN)/python -m tests.mutation --sample $(SAMPLE)

calibrate: $(VENV)/.installed-docs ## fit hardware_db/calibration to the published runs, redo the errors in the documentation
	$(BIN)/python -m planner.evidence.calibrate tests/published/runs.csv
	mkdir -p build
	$(BIN)/planner validate --cross --format json > build/validation.json
	$(BIN)/python docs/errors.py build/validation.json

docs: $(VENV)/.installed-docs ## the documentation as a site in build/docs/html; whatever is wrong in it is an error
	$(BIN)/python -m docs.site build/docs/source
	$(BIN)/sphinx-build -W -n --keep-going --quiet --builder html --jobs auto -d build/docs/doctrees build/docs/source build/docs/html

answers: $(VENV)/.installed-docs ## what commands and notebooks of the documentation say today, put into its pages
	$(BIN)/python -m tests.pages
	$(BIN)/python -m docs.site.notebook

man: $(VENV)/.installed ## the manual pages, made anew from the commands
	$(BIN)/python -m planner.cli.completion.manual docs/man

clean:
	rm -rf $(VENV) $(EXPORT) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
