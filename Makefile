# Everything a person does with a checkout. Each target that needs the environment sets it up first.
PYTHON ?= python3.11
VENV   ?= .venv
LOCK   ?= requirements/cpu.txt
PORT   ?= 8000

PACKAGES := router experts deploy loadtest
BIN      := $(VENV)/bin
STAMP    := $(VENV)/.installed-$(basename $(notdir $(LOCK)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup serve test unit lint fmt zoo lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## the environment in .venv, with the `symposium` command; LOCK=requirements/gpu.txt for a GPU

$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	    || { echo 'Python 3.11 is needed: make setup PYTHON=/path/to/python3.11' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/.installed-*
	@echo 'Installing $(LOCK) into $(VENV): some minutes, and gigabytes, the first time …'
	@$(BIN)/python -m pip install -qq --no-deps --only-binary :all: --require-hashes -r $(LOCK) \
	    || { echo 'If torch==…+cpu was not found: requirements/README.md says how pip is told where it is.' >&2; exit 1; }
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@
	@echo 'Ready: make serve, or $(BIN)/symposium --help'

serve: setup ## Symposium with its own small experts on http://127.0.0.1:8000; PORT=9000 for another port
	@exec $(BIN)/symposium serve configs/quickstart.yaml --port $(PORT)

test: setup ## every test, those with real engines too
	$(BIN)/pytest

unit: setup ## the tests that start no engine: under a minute
	$(BIN)/pytest -m 'not engine'

lint: setup ## ruff's rules and format, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(PACKAGES) tests

fmt: setup ## repairs what ruff can repair by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

zoo: setup ## trains the small experts again (experts/zoo)
	$(BIN)/python -m experts.zoo.train

lock: ## resolves requirements/*.txt again; UPGRADE=1 for newer versions
	PYTHON='$(PYTHON)' UPGRADE='$(UPGRADE)' requirements/lock.sh

clean: ## removes the environment, builds and caches; keeps data/
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
