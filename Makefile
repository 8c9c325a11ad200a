# What can be done here? `make help` says it. A machine needs python3 (3.11 or newer) and make; the rest goes into $(VENV).

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALLED = $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check bench campaign errors console clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-10s %s\n", $$1, $$2 }'

demo: $(INSTALLED) ## train a model with two sites, as real processes on this machine
	@$(BIN)/sundog demo

test: $(INSTALLED) ## the tests, in two processes, a file each at a time
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(INSTALLED) ## what CI runs: lint, format, types, architecture, then the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

bench: $(INSTALLED) ## times and memory beside the limit of this machine and beside others
	@$(BIN)/python -m benchmarks

campaign: $(INSTALLED) ## the long tests: faults by the thousand, gigabytes
	@$(BIN)/python -m pytest -m campaign

errors: $(INSTALLED) ## write docs/errors anew from the docstrings
	@$(BIN)/python docs/errors/generate.py

console: $(INSTALLED) ## write docs/console.md anew from the declarations of commands
	@$(BIN)/python docs/generate_console.py

clean: ## remove what the tools left, and the virtual environment
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# torch alone and first: it is by far the largest download, and a second try does not repeat it.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("sundog needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "installing into $(VENV), about two minutes…"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) torch
	@$(PIP) --editable ".[test,dev,torch,tensorboard,examples,server]"
	@touch $@
	@echo "installed."
