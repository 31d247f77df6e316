# make help     what there is
# Everything lands in .venv or in the cache outside the checkout (see CONTRIBUTING.md).

PYTHON ?= python3
BIN := .venv/bin
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup unit test faults load lint format demo demo-end bench locks chart reference docs clean

help:  ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## the environment for development, .venv, from hashed locks
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

unit: setup  ## unit and property tests but the slow ones, on two cores: the inner loop
	@$(BIN)/pytest -n 2 -m "not slow" --durations=20 tests/unit tests/property $(PYTEST_ARGS)

test: lint  ## everything: lint, then unit, property, integration and e2e tests side by side
	@sh scripts/test.sh $(PYTEST_ARGS)

faults: setup  ## every fault at every request, 10,000 histories and bad texts (SEED, HISTORIES)
	@SEED="$(SEED)" HISTORIES="$(HISTORIES)" sh scripts/faults.sh $(PYTEST_ARGS)

load: setup  ## a thousand sets of many teams beside a namespace that does its worst
	@$(BIN)/python -m tests.bench --only load

lint: setup  ## ruff, mypy, and the rules on what may import what
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p flowdeps -p tests -p demo
	$(BIN)/lint-imports

format: setup  ## format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: setup  ## the way through on a real cluster (KEEP=1 leaves it running, CLUSTER=current takes yours)
	@$(BIN)/python -m demo

demo-end: setup  ## end what KEEP=1 make demo left running
	@$(BIN)/python -m demo end

bench: setup  ## what runs, locks and restarts cost, measured in pairs
	@$(BIN)/python -m tests.bench

# Pins that still fit are kept; UPGRADE=1 takes the newest.
locks: setup  ## compile requirements/*.txt anew after a change of what they are made from
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/locks.sh $(if $(UPGRADE),--upgrade)

chart: setup  ## make the chart's schema, tables and copy of the resource anew
	@$(BIN)/python -m scripts.chart

reference: setup  ## make the tables of the documentation anew from what they are about
	@$(BIN)/python -m scripts.reference

docs: setup  ## the documentation as a site, in site/; a link that leads nowhere is an error
	@$(BIN)/python -m scripts.reference --check
	@$(BIN)/python -m scripts.site

clean:  ## remove what make made in the checkout (the cache outside stays)
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build site
	find operator tests demo -name __pycache__ -type d -prune -exec rm -rf {} +
