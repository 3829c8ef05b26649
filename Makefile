# `make` lists the targets. Everything that a target needs is installed into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DISTRIBUTIONS := proto server workers client
REQUIREMENTS := client server workers dev
# Most of what the tests do is to start processes, which compile all of our modules anew unless they may keep them compiled.
export PYTHONDONTWRITEBYTECODE :=
# Where the local stack keeps database, blobs and socket.
export SECATEUR_DATA_DIR ?= $(CURDIR)/.secateur

.DEFAULT_GOAL := help
# Messages that `make fuzz` sends.
MESSAGES ?= 200000
.PHONY: help install demo up test fuzz chaos rolling check lock proto bench uploads clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 10

install: $(STAMP)  ## Build .venv with all four distributions and every tool

$(STAMP): requirements/dev.txt $(DISTRIBUTIONS:%=%/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python requirements/install.py --require-hashes -r requirements/dev.txt
	$(BIN)/python requirements/install.py --no-deps --no-build-isolation $(DISTRIBUTIONS:%=-e ./%)
	@touch $@

demo: install  ## Run the main job end to end on a private local stack
	$(BIN)/python -m deploy.local.demo

up: install  ## Start redis, server and worker; then `.venv/bin/secateur ...` works with no flags
	@mkdir -p -m 700 $(SECATEUR_DATA_DIR)
	$(BIN)/python -m migrations.upgrade
	PATH=$(CURDIR)/$(BIN):$$PATH exec $(BIN)/honcho start --procfile deploy/local/Procfile

test: install  ## Run every test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

fuzz: install  ## Fuzz every RPC of a real server; MESSAGES=1000000 for more
	$(BIN)/python -m tests.benchmarks.fuzz_rpcs --messages $(MESSAGES)

chaos: install  ## Run 200 jobs while everything is killed and paused; CHAOS="--seed 2 --database sqlite" for another run
	$(BIN)/python -m tests.chaos.run $(CHAOS)

rolling: install  ## Run the tests of store and server of an earlier COMMIT on the database of this one
	$(BIN)/python -m tests.rolling.run $(COMMIT)

check: install  ## Lint, types, import contracts, proto drift, migrations drift
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python proto/generate.py --check
	$(BIN)/python -m migrations.check

lock: install  ## Resolve requirements/*.in into hashed requirements/*.txt
	@for name in $(REQUIREMENTS); do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --prerelease if-necessary-or-explicit -o requirements/$$name.txt requirements/$$name.in || exit 1; done

proto: install  ## Regenerate the Python code from the .proto files
	$(BIN)/python proto/generate.py

bench: install  ## Run the benchmarks; each prints its table and writes JSON
	$(BIN)/python -m tests.benchmarks.overhead
	$(BIN)/python -m tests.benchmarks.planning
	$(BIN)/python -m tests.benchmarks.applications
	$(BIN)/python -m tests.benchmarks.sizes
	$(BIN)/python -m tests.benchmarks.inheritance
	$(BIN)/python -m tests.benchmarks.latency
	$(BIN)/python -m tests.benchmarks.training

uploads: install  ## Upload 1,000 data sets at once; fails if memory or files of the server grow with their number
	$(BIN)/python -m tests.benchmarks.uploads

clean:  ## Remove .venv, caches and the local stack's data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis $(SECATEUR_DATA_DIR)
