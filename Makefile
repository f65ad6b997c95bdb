# Every target does its own set-up: a machine needs only Python 3.11 or newer, git and make.

PYTHON ?= python3
SECONDS ?= 300
BIN := .venv/bin
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --quiet pyproject.toml --group build --extra demo

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Show what can be made
	@awk -F ':.*##' '/^[a-z]+:.*##/ {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/demo: requirements/demo.txt pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ .venv/demo

.PHONY: demo
demo: .venv/demo  ## The whole story on this machine, in about a minute
	$(BIN)/reconciler demo

.PHONY: test
test: .venv/dev  ## Run the tests
	$(BIN)/pytest

.PHONY: check
check: lint test  ## Everything CI checks: format, lint, types, import contracts, tests

.PHONY: lint
lint: .venv/dev  ## Format, lint, types and import contracts, nothing changed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: fix
fix: .venv/dev  ## Format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: .venv/dev  ## Measure: ratios against floors and peers, on generated input
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	$(BIN)/python -m benchmarks

.PHONY: fuzz
fuzz: .venv/dev  ## Look for input that breaks the readers, five minutes for each (SECONDS=300)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	for reader in yaml pem certificate; do $(BIN)/python tests/fuzz/run.py $$reader --seconds $(SECONDS) || exit; done

.PHONY: docs
docs: .venv/dev  ## Make the reference pages out of the code
	$(BIN)/python docs/generate.py

.PHONY: lock
lock:  ## Resolve the pinned dependencies anew (needs uv)
	$(LOCK) --output-file requirements/demo.txt
	$(LOCK) --group dev --output-file requirements/dev.txt
	$(LOCK) --group dev --group bench --output-file requirements/bench.txt
	$(subst pyproject.toml --group build --extra demo,--group pyproject.toml:fuzz,$(LOCK)) --output-file requirements/fuzz.txt

.PHONY: clean
clean:  ## Remove everything that was made
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
