# make demo | test | dev | bench | soak | example-cdnow | lint | types | clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEOPLE ?= 2000
SEED ?= 1
WORKERS ?= 2
DEPS := $(VENV)/.installed
DEV_DEPS := $(VENV)/.installed-dev

.PHONY: demo dev test lint types imports bench soak example-cdnow docs chromium clients snippet clean

demo: $(DEPS)
	@$(BIN)/cdp demo --people $(PEOPLE) --seed $(SEED)

dev: $(DEPS)
	@exec $(BIN)/cdp up

example-cdnow: $(DEPS)
	@$(BIN)/python docs/examples/cdnow/run.py

test: $(DEV_DEPS) chromium clients
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

soak: $(DEV_DEPS) chromium clients
	$(BIN)/pytest -m slow

bench: $(DEV_DEPS)
	$(BIN)/python -m cdp_assets_tests.benchmarks

lint: $(DEV_DEPS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_DEPS)
	$(BIN)/mypy

imports: $(DEV_DEPS)
	$(BIN)/lint-imports

docs: $(DEV_DEPS)
	$(BIN)/python docs/generate.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Set PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  package=python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq $$package; \
	  else echo "Python's venv module is missing: install the package $$package"; exit 1; fi; }
	$(PYTHON) -m venv $(VENV)

$(DEPS): pyproject.toml .ci/constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check -c .ci/constraints.txt -e .
	@touch $@

$(DEV_DEPS): $(DEPS)
	$(BIN)/pip install -q --disable-pip-version-check -c .ci/constraints.txt -e '.[dev]'
	@touch $@

# Tests of pages need a browser; without one they say so and are skipped.
chromium:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    { apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null || true; fi; }

# SDKs of others that the collector is tried with; without node those tests are skipped.
CLIENTS := cdp_assets_tests/contract/js
clients:
	@command -v npm >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    { apt-get update -qq && apt-get install -y -qq nodejs npm; } >/dev/null || true; fi; }
	@if command -v npm >/dev/null && \
	  ! cmp -s $(CLIENTS)/package-lock.json $(CLIENTS)/node_modules/.installed; then \
	  (cd $(CLIENTS) && npm ci --ignore-scripts --no-audit --no-fund --silent \
	    && cp package-lock.json node_modules/.installed) \
	  || echo "npm could not install the clients: their tests are skipped"; fi

# Builds the website's script from its sources: after a change of them, and commit what it wrote.
snippet:
	cd cdp_assets/collector/snippet && npm ci --no-audit --no-fund --silent && node build.mjs

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
