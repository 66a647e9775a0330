# The one task runner. `make` alone prints the targets.
# Nothing is needed beforehand but Python >= 3.11 with venv.

PYTHON ?= python3
VENV   ?= .venv
DATA   ?= demo-data/dev
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PIP    := $(BIN)/python -m pip --disable-pip-version-check

# The packages of the Node SDK test, where npm and the test are there.
SDK    := tests/sdk/node
NODE   := $(if $(shell command -v npm 2>/dev/null),$(if $(wildcard $(SDK)/package-lock.json),$(SDK)/node_modules/.installed))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup fmt lint type test check bench run demo lock clean

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP)  ## Virtual environment with the locked packages and the `einlass` command

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed. Name one: make setup PYTHON=python3.12'; exit 1; }
	@echo 'Setting up $(VENV) from requirements-dev.lock: once, some minutes.'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(SDK)/node_modules/.installed: $(SDK)/package-lock.json $(SDK)/package.json
	cd $(SDK) && npm ci --omit-lockfile-registry-resolved --no-audit --no-fund
	@touch $@

fmt: $(STAMP)  ## Format and mend what can be mended by itself
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(STAMP)  ## ruff, format check, declared dependencies, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/deptry .
	$(BIN)/lint-imports

type: $(STAMP)  ## mypy, strict, over everything
	$(BIN)/mypy

test: $(STAMP) $(NODE)  ## All tests with coverage floors; T=path narrows and stops at the first failure
ifdef T
	$(BIN)/python -m pytest -x $(T)
else
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered
endif

check: lint type test  ## lint, type, test, in that order: what CI runs

bench: $(STAMP)  ## Benchmarks, at most three minutes; FULL=1 adds the large rows
	$(BIN)/python -m benchmarks $(if $(FULL),--full)

run: $(STAMP)  ## Development server on DATA (default demo-data/dev)
	@test -e $(DATA)/einlass.toml || $(BIN)/einlass init $(DATA)
	$(BIN)/einlass serve --config $(DATA)/einlass.toml --data $(DATA)/data

demo: $(STAMP)  ## A shop's week, end to end, against simulated platforms; EXIT=1 ends by itself
	$(BIN)/einlass demo $(if $(EXIT),--exit)

UV := UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --upgrade --universal \
  --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links

lock: $(STAMP)  ## Write both lock files anew from pyproject.toml, with hashes
	$(UV) --all-extras --group dev --output-file requirements-dev.lock pyproject.toml
	$(UV) --group build --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml

clean:  ## Remove the environment, caches and build results
	rm -rf $(VENV) $(SDK)/node_modules build dist *.egg-info .coverage .coverage.* \
	  .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
