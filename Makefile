# SPDX-License-Identifier: Apache-2.0
# `make fuzz` finds bugs, `make test` checks this project. Both install what they need into .venv on first use.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help fuzz test test-tt-env bench clean

PYTHON ?= python3
# A Python 3.12 for test-tt-env; by default the one on PATH or in pyenv.
PYTHON312 ?=
FUZZ_ARGUMENTS ?= --target tt --mock 2x2 --time 3m --seed 1
TEST_ARGUMENTS ?= -n 2 --dist loadfile --no-loadscope-reorder

VENV := .venv
TT_VENV := .venv-tt
INPUTS := pyproject.toml constraints.txt constraints-tt-env.txt

help:
	@echo "make fuzz         run a short campaign against the TT compiler on a mock 2x2 mesh (no hardware needed)"
	@echo "make test         linters, types, layers and tests"
	@echo "make test-tt-env  the same tests in tt-xla's environment: Python 3.12, jax 0.7.1"
	@echo "make bench        speed of generation, execution and reduction"
	@echo "make clean        remove environments and caches"

# Exit code 1 of meshfuzz says "there are findings", which is what a campaign is for.
fuzz: $(VENV)/.installed
	@$(VENV)/bin/meshfuzz run $(FUZZ_ARGUMENTS) || [ $$? -eq 1 ]

test: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	@# The plugin's first start on a machine builds kernels for minutes: here, not against the clock of a test.
	-$(VENV)/bin/meshfuzz doctor
	$(VENV)/bin/pytest $(TEST_ARGUMENTS)

test-tt-env: $(TT_VENV)/.installed-dev
	$(TT_VENV)/bin/pytest $(TEST_ARGUMENTS)

bench: $(VENV)/.installed-dev
	$(VENV)/bin/python tests/benchmarks/speed.py
	$(VENV)/bin/python tests/benchmarks/stages.py
	$(VENV)/bin/python tests/benchmarks/reduction.py --target

clean:
	rm -rf $(VENV) $(TT_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find fuzz oracles repros tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are newer than what was installed from, so a second run installs nothing.
$(VENV)/.installed: $(INPUTS) | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[tt]'
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,tt]'
	@touch $(VENV)/.installed $@

$(TT_VENV)/.installed-dev: $(INPUTS) | $(TT_VENV)/bin/python
	$(TT_VENV)/bin/pip install --quiet --constraint constraints-tt-env.txt --editable '.[dev,tt]'
	@touch $@

$(VENV)/bin/python:
	@command -v '$(PYTHON)' >/dev/null || { echo "error: no $(PYTHON) found; install Python 3.11 or pass PYTHON=/path/to/python3.11" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: $(PYTHON) is Python %d.%d, meshfuzz needs 3.11 or newer; pass PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	'$(PYTHON)' -m venv $(VENV)

# A pyenv shim called python3.12 may exist and still not run: the candidates are tried, not looked up.
$(TT_VENV)/bin/python:
	@shopt -s nullglob; \
	for candidate in '$(PYTHON312)' python3.12 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.12*/bin/python3.12; do \
	    if [ -n "$$candidate" ] && "$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then \
	        echo "$$candidate -m venv $(TT_VENV)"; exec "$$candidate" -m venv $(TT_VENV); \
	    fi; \
	done; \
	echo "error: no Python 3.12 found; install it or pass PYTHON312=/path/to/python3.12" >&2; exit 1
