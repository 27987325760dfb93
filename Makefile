# One entry point for people and machines; `make help` lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
# No traces beside the sources, and each module compiled once for all processes.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache

.PHONY: help up regions demo test chaos drill fuzz bench check check-deploy types fix lock venv-demo venv-dev venv-deploy

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# $(call install,NAME) brings the environment up to requirements/NAME.txt: uv where it
# can be had (seconds), pip with the same hashes where not (a minute).
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

# The console script of pyproject.toml: an installation of the project itself would want a
# build backend, and the platform runs from this folder anyway.
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

up: venv-demo  ## run the whole platform on this machine (Ctrl-C stops it)
	$(MANAGE) run_platform

regions: venv-demo  ## three regions on this machine, HAProxy in front (docs/regions.md)
	$(MANAGE) run_regions

demo: venv-demo  ## real speech through the whole platform, in under two minutes
	$(MANAGE) run_demo

test: venv-dev  ## every test (under five minutes)
	$(BIN)/python -m pytest -n 3 --dist loadgroup --ignore tests/deploy

# The checks read settings and touch no server; these values lead nowhere.
check types: export SECRET_KEY = check
check types: export FIELD_ENCRYPTION_KEYS = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
check types: export DATABASE_URL = postgres://nobody@127.0.0.1:1/none
check types: export REDIS_URL = redis://127.0.0.1:1/0
check types: export LOG_LEVEL = ERROR

chaos: venv-dev  ## kill and cut off everything under load, checked each time (ten minutes; CHAOS_SECONDS=…)
	$(BIN)/python -m tests.chaos

drill: venv-dev  ## lose a region piece by piece and whole, under load (seven minutes; DRILL_RATE=…)
	$(BIN)/python -m tests.drill

fuzz: venv-dev  ## 100,000 bad requests and answers, then schemathesis (twenty minutes; FUZZ_SEED=…)
	$(BIN)/python -m tests.fuzz
	$(BIN)/python -m tests.fuzz.conformance

bench: venv-dev  ## the figures of the design beside plain Celery, in one table (ten minutes)
	$(BIN)/python -m tests.bench

# ruff's rules S are bandit's.
check: venv-dev types  ## what CI checks: format, lint, security, types, imports, drift
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m tests.audit
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -W ignore manage.py makemigrations --check --dry-run
	$(MANAGE) state_diagram --check

check-deploy: venv-deploy  ## hold image, compose file, chart and front door against the real programs
	$(BIN)/python -m pytest -q tests/deploy

types: venv-dev
	$(BIN)/mypy

fix: venv-dev  ## format and mend what can be mended by machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: venv-dev  ## compile requirements/*.in into hashed *.txt
	for f in base tracing s3 prod demo dev deploy tools; do $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements/$$f.in -o requirements/$$f.txt; done
