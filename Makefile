# Every target does its own set-up: a machine needs only Python 3.11 or newer, git and make.

PYTHON ?= python3
SECONDS ?= 300
BIN := .venv/bin
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --quiet pyproject.toml --group build

# Pinned in tests/kubernetes/envtest; another version is another directory.
ENVTEST = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mcp-gateway-reconciler/envtest/$(shell awk \
	'$$1 == "k8s.io/kubernetes" {print $$2}' tests/kubernetes/envtest/go.mod)
ENVTEST_TOOLS := etcd=go.etcd.io/etcd/server/v3 kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver

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

$(BIN)/actionlint: | $(BIN)/python
	@if command -v go > /dev/null; then GOBIN=$(CURDIR)/$(BIN) go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.8; fi

# Two peers for `make bench`, where there is what builds or installs them; without, it says how to get them.
$(BIN)/kubeconform: | $(BIN)/python
	-@if command -v go > /dev/null; then GOBIN=$(CURDIR)/$(BIN) go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0; fi

.venv/peers/node_modules/.bin/ajv: | $(BIN)/python
	-@if command -v npm > /dev/null; then npm install --silent --no-save --prefix .venv/peers ajv-cli@5.0.0; fi

# IBM ContextForge, for the tests. It runs on Python 3.11 to 3.13 only: on ours if it is one of them, else on one that is
# found. If there is none, the tests that need it say so.
.venv/contextforge/installed: requirements/contextforge.txt | $(BIN)/python
	@for python in $(BIN)/python python3.13 python3.12 python3.11; do \
		$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || continue; \
		$$python -m venv --clear .venv/contextforge && \
		.venv/contextforge/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $< && touch $@; exit; \
	done; echo "There is no Python from 3.11 to 3.13 here: the tests that need IBM ContextForge will fail."

.PHONY: demo
demo: .venv/demo  ## The whole story on this machine, in about a minute
	$(BIN)/reconciler demo

.PHONY: test
test: .venv/dev .venv/contextforge/installed $(BIN)/actionlint  ## Run the tests
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
bench: .venv/dev $(BIN)/kubeconform .venv/peers/node_modules/.bin/ajv  ## Measure: ratios against floors and peers, on generated input
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	$(BIN)/python -m benchmarks

.PHONY: chaos
chaos: .venv/dev  ## Let everything go wrong around the daemon, for two minutes (CHAOS_SECONDS=120, CHAOS_SEED=1)
	CHAOS_SECONDS=$${CHAOS_SECONDS:-120} CHAOS_SEED=$${CHAOS_SEED:-1} $(BIN)/pytest -n 1 tests/daemon/test_chaos.py

.PHONY: fuzz
fuzz: .venv/dev  ## Look for input that breaks the readers, five minutes for each (SECONDS=300)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	for reader in yaml pem certificate lock tool; do $(BIN)/python tests/fuzz/run.py $$reader --seconds $(SECONDS) || exit; done

.PHONY: envtest
envtest:  ## Prepare a real Kubernetes API server for the tests (needs Go; ten minutes, once)
	@cd tests/kubernetes/envtest && for tool in $(ENVTEST_TOOLS); do \
		test -x "$(ENVTEST)/$${tool%%=*}" || GOFLAGS="-p=1" nice go build -trimpath -ldflags="-s -w" \
		-o "$(ENVTEST)/$${tool%%=*}" "$${tool#*=}" || exit; done
	@echo 'export KUBEBUILDER_ASSETS="$(ENVTEST)"'

.PHONY: dist
dist: .venv/dev  ## Build what is published: the wheel and the source distribution
	$(BIN)/hatchling build --clean

.PHONY: docs
docs: .venv/dev  ## Make the reference pages out of the code
	$(BIN)/python docs/generate.py

.PHONY: pictures
pictures: .venv/dev  ## Make the pictures of the documentation out of real runs (needs Chromium)
	$(BIN)/python docs/pictures.py

.PHONY: lock
lock:  ## Resolve the pinned dependencies anew (needs uv)
	$(LOCK) --extra demo --output-file requirements/demo.txt
	$(LOCK) --extra kubernetes --extra postgresql --output-file requirements/action.txt
	$(LOCK) --all-extras --group dev --output-file requirements/dev.txt
	$(LOCK) --all-extras --group dev --group bench --output-file requirements/bench.txt
	$(subst pyproject.toml --group build,--group pyproject.toml:fuzz,$(LOCK)) --output-file requirements/fuzz.txt
	$(subst pyproject.toml --group build,requirements/contextforge.in,$(LOCK)) --output-file requirements/contextforge.txt

.PHONY: clean
clean:  ## Remove everything that was made
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
