# Every target that people use has a ## line, which `make help` prints.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
MADE := $(VENV)/.made

.DEFAULT_GOAL := help
.PHONY: help venv hooks test test-slow coverage sweep style pictures bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(MADE) $(if $(HOOKS),hooks)  ## make .venv and install citycam with its tools for development (HOOKS=1: and hooks)

hooks: $(MADE)  ## have git run make style before each commit; a hook that is there already is kept
	@hook=$$(git rev-parse --git-path hooks/pre-commit) && mkdir -p "$${hook%/*}" && set -C && \
	{ grep -qs 'make style' "$$hook" || printf '#!/bin/sh\nexec make style\n' > "$$hook"; } && chmod +x "$$hook"

$(MADE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import citycam'  # refuses a Python that is too old
	@echo "making $(VENV): some minutes, 3 GB to download, 6 GB on disk"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

test: $(MADE)  ## run the tests
	$(BIN)/python -m pytest -n $(JOBS)

coverage: $(MADE)  ## run the tests, list the lines that none of them runs, fail below the floor in pyproject.toml
	$(BIN)/python -m pytest -n $(JOBS) --cov --cov-report=term-missing

test-slow: $(MADE)  ## run all tests, also those that take minutes
	$(BIN)/python -m pytest -n $(JOBS) -m ''

sweep: $(MADE)  ## train and explain the grid of eight on rendered towns
	$(BIN)/python train.py -m optimizer=sgd,adam epochs=5,10 partition=binary,multi

style: $(MADE)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

pictures: $(MADE)  ## make the pictures and the settings page of the docs anew
	$(BIN)/python train.py sweep.name=pictures
	$(BIN)/python docs/pictures.py multirun/pictures/run-*
	$(BIN)/python docs/settings.py

# Without FOLDER they run on painted pictures.
BENCH = $(FOLDER) $(if $(TARGET),--target $(TARGET))
bench: $(MADE)  ## run the benchmarks on FOLDER=… TARGET=… and write benchmarks/RESULTS.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	for script in step bank maps integrated finetune grid predict launchers kills; do $(BIN)/python benchmarks/$$script.py $(BENCH) || exit 1; done
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/slots.py

clean:  ## remove the environment, builds and caches of tools; results stay
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
