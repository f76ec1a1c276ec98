# Everything is done in a virtual environment of the project's own, .venv; nothing outside of it is
# touched, but for apt packages where you are root (python3-venv, and what `make e2e-packages` names).
#
#   make demo       what Dragonfly is for, on this machine, in under two minutes (no docker needed)
#   make test       unit, property and end-to-end tests (the last only as root)
#   make check      formatting, lint, types, layers, spelling

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
# The first Python that is new enough; `make PYTHON=/path/to/python3.12 …` overrides it.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PYTEST_ARGS ?=

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- the environment -------------------------------------------------------------------

$(BIN)/python:
	@if [ -n "$(UV)" ]; then \
	  "$(UV)" venv --quiet $(if $(PYTHON),--python $(PYTHON),--python 3.12) $(VENV); exit; fi; \
	if [ -z "$(PYTHON)" ]; then \
	  echo "make: no Python 3.11 or newer here; install one (Debian 12, Ubuntu 24.04: apt install python3 python3-venv) or uv" >&2; exit 1; fi; \
	if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	      "python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" >/dev/null; \
	  else \
	    echo "make: $(PYTHON) has no venv module; run: sudo apt install python3-venv" >&2; exit 1; fi; fi; \
	$(PYTHON) -m venv $(VENV)

# $(call install,WHAT): pip's own option for dependency groups came with pip 25.1
install = if [ -n "$(UV)" ]; then "$(UV)" pip install --quiet --python $(BIN)/python $(1); \
	else $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && $(BIN)/python -m pip install --quiet $(1); fi

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV)"
	@$(call install,-e '.[redis]')
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	@$(call install,-e '.[redis]' --group dev)
	@touch $@

$(VENV)/.installed-bench: pyproject.toml $(VENV)/.installed-dev
	@$(call install,--group bench) || echo "make: no libtorrent for this Python; it is left out of the measurements" >&2
	@touch $@

.PHONY: install dev
install: $(VENV)/.installed ## the commands, in .venv/bin
dev: $(VENV)/.installed-dev ## and what tests and checks need

# --- using it --------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.installed ## an image and a file through six nodes, native against Dragonfly (DOCKER=1: by docker pull)
	@$(BIN)/python -m demo.run $(if $(DOCKER),--docker) $(DEMO_ARGS)

.PHONY: test unit e2e
test: $(VENV)/.installed-dev ## all tests; end-to-end ones need root and are skipped without
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

unit: $(VENV)/.installed-dev ## the fast tests
	@$(BIN)/python -m pytest -m "not e2e and not slow" $(PYTEST_ARGS)

e2e: $(VENV)/.installed-dev ## real docker, containerd, podman, registries in network namespaces (root)
	@$(BIN)/python -m pytest -m e2e $(PYTEST_ARGS)

.PHONY: e2e-packages
e2e-packages: ## as root: apt packages that the end-to-end tests use; starts no service
	@.ci/packages

.PHONY: check format
check: $(VENV)/.installed-dev ## formatting, lint, types, layers, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/.installed-dev ## put the code into the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench bench-quick
bench: $(VENV)/.installed-bench ## every measurement of docs/performance.md (root, long)
	@$(BIN)/python bench/run.py all

bench-quick: $(VENV)/.installed-bench ## a selection that takes three minutes on two cores (root)
	@$(BIN)/python bench/run.py quick

# Helm is a Go program without a package of Debian's: built once, where Go is at hand.
HELM_VERSION := v3.14.4
HELM := $(or $(shell command -v helm 2>/dev/null),$(BIN)/helm)

$(BIN)/helm: | $(BIN)/python
	@if command -v go >/dev/null; then echo "building helm $(HELM_VERSION)"; \
	  GOBIN="$(CURDIR)/$(BIN)" go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION); \
	else echo "make: neither helm nor Go here: the chart's tests are skipped" >&2; fi

.PHONY: helm
helm: $(HELM) ## helm for the chart's tests, in .venv/bin, where none is installed (Go)

.PHONY: image
image: $(VENV)/.installed ## the product's OCI image in dist/image, of this machine's Python, without network (umoci)
	@$(BIN)/python deploy/image/build.py dist/image

.PHONY: deploy-check
deploy-check: $(VENV)/.installed-dev $(HELM) ## write the plain manifests from the chart and check deploy/ (helm)
	$(HELM) template dragonfly deploy/helm/dragonfly --namespace dragonfly --kube-version 1.30.0 >deploy/manifests/dragonfly.yaml
	@$(BIN)/python -m pytest tests/deploy

.PHONY: dist clean
dist: $(VENV)/.installed-dev ## wheel and source archive in dist/
	@if [ -n "$(UV)" ]; then "$(UV)" build --quiet; else $(BIN)/python -m pip wheel --quiet --no-deps -w dist .; fi
	@ls dist

clean: ## remove what make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
