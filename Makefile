# Entry points for developers and CI; see `make help`.
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
# Byte code is outside the source tree, and all processes share it.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache

.PHONY: help up regions demo test e2e chaos drill outages fuzz bench check check-deploy clients types fix lock venv-demo venv-dev venv-deploy

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# $(call install,NAME) installs requirements/NAME.txt with uv (seconds), or with pip and
# the same hashes if uv is not available (a minute).
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $@"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "venv is missing: apt-get install python3-venv"; exit 1; }
	@cmp -s requirements/$(1).txt $(VENV)/.$(1).installed || { \
	  echo "installing requirements/$(1).txt"; \
	  { $(BIN)/pip install -q --require-hashes -r requirements/tools.txt && \
	    $(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/$(1).txt; } || \
	  $(BIN)/pip install -q --require-hashes -r requirements/$(1).txt; } && \
	  cp requirements/$(1).txt $(VENV)/.$(1).installed
endef

# The console script of pyproject.toml. Installing the project needs a build backend, and
# the platform runs from this folder.
define script
	@install -m 755 transcribe_platform/cli/launcher.sh $(BIN)/.transcribe && \
	  mv $(BIN)/.transcribe $(BIN)/transcribe
endef

venv-demo:
	$(call install,demo)
	$(call script)

venv-dev:
	$(call install,dev)
	$(call script)

venv-deploy: venv-dev
	$(call install,deploy)

up: venv-demo  ## run the platform on this machine (Ctrl-C stops it)
	$(MANAGE) run_platform

regions: venv-demo  ## run three regions with HAProxy on this machine (docs/regions.md)
	$(BIN)/python -m deploy.local.regions

demo: venv-demo  ## transcribe real speech with all parts of the platform (under two minutes)
	$(MANAGE) run_demo

# Whole runs of the platform; `make test` has a short round of each kind.
E2E := $(filter-out %chaos_round.py %drill_round.py %fresh_clone.py %one_trace.py,$(wildcard tests/e2e/test_*.py))

test: venv-dev  ## run the tests (under five minutes)
	$(BIN)/python -m pytest -n 4 --dist loadgroup --ignore tests/deploy --ignore tests/clients $(E2E:%=--ignore %)

e2e: venv-dev  ## run the platform as its users do: command line, console, restarts, leaks (three minutes)
	$(BIN)/python -m pytest -n 3 --dist loadgroup $(E2E)

# The checks read settings but connect to no server.
check types: export SECRET_KEY = check
check types: export FIELD_ENCRYPTION_KEYS = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
check types: export DATABASE_URL = postgres://check@127.0.0.1:1/check
check types: export REDIS_URL = redis://127.0.0.1:1/0
check types: export LOG_LEVEL = ERROR

chaos: venv-dev  ## kill and disconnect each part under load, and check the results (ten minutes; CHAOS_SECONDS=…)
	$(BIN)/python -m tests.chaos

drill: venv-dev  ## fail each part of a region and the whole region under load (seven minutes; DRILL_RATE=…)
	$(BIN)/python -m tests.drill

outages: venv-dev  ## produce every outage of docs/health.md and compare health, metrics, alerts, pages (twenty minutes)
	$(BIN)/python -m tests.outages

fuzz: venv-dev  ## send 100,000 invalid requests and responses, then run schemathesis (twenty minutes; FUZZ_SEED=…)
	$(BIN)/python -m tests.fuzz

bench: venv-dev  ## measure the platform and plain Celery in one table
	$(BIN)/python -m tests.bench

# The rules S of ruff are those of bandit.
check: venv-dev types  ## run the checks of CI: format, lint, security, types, imports, drift
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m tests.audit
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -W ignore manage.py makemigrations --check --dry-run
	$(MANAGE) state_diagram --check

clients: venv-dev  ## run the clients of other APIs and generated ones against the platform (needs npm)
	$(BIN)/python -m pytest -q tests/clients

check-deploy: venv-deploy  ## check image, compose file, chart, HAProxy and OpenAPI document with the real programs
	$(BIN)/python -m pytest -q tests/deploy

types: venv-dev
	$(BIN)/mypy

fix: venv-dev  ## format, and fix lint errors automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: venv-dev  ## compile requirements/*.in to *.txt with hashes
	for f in base tracing s3 prod demo dev deploy tools generators; do $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements/$$f.in -o requirements/$$f.txt; done
