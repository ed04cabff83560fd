PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UI ?= 1
TESTS ?= session_assets_tests
BENCH ?= web identity contest kintell flow_code flow_twin

SLICES := web identity contest kintell flow
banned = 'lint.flake8-tidy-imports.banned-api."$(1)".msg="see DESIGN: the house"'

.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q session_assets
	touch $@

setup: $(VENV)/.ready ## everything that the other targets need, into ./.venv

demo: setup ## local servers, sample data with known defects, find and repair them, then the UI (UI=0: without)
	$(BIN)/session-assets demo $(if $(filter 0,$(UI)),--no-ui)

test: setup ## the tests, on real servers that they start themselves
	$(BIN)/pytest -q $(TESTS)

test-all: setup ## the full counts of kills, fuzz, faults and sizes (SHARD=2/4: the second of four parts)
	SESSION_ASSETS_TEST_FULL=1 SESSION_ASSETS_TEST_SHARD=$(SHARD) $(BIN)/pytest -q $(TESTS)

upgrade-check: setup ## a home and databases made by a released version are taken over (PART=web: one part of it)
	$(BIN)/python -m session_assets_tests.upgrade $(PART)

lint: setup ## format, lint, types, and which module may import what
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ruff check -q --isolated --select TID251 --config $(call banned,dagster) \
		session_assets/changes session_assets/*/facts.py session_assets/*/model.py
	@for slice in $(SLICES); do for other in $(filter-out $$slice,$(SLICES)); do \
		[ $$slice = $$other ] || [ ! -d session_assets/$$slice ] || $(BIN)/ruff check -q --isolated --select TID251 \
			--config $(call banned,session_assets.$$other) session_assets/$$slice || exit 1; done; done
	$(BIN)/pyright

pictures: setup ## the pictures of the docs, taken by the browser tests (needs Chromium)
	SESSION_ASSETS_PICTURES=docs/pictures $(BIN)/pytest -q -n 0 session_assets_tests/ui/test_browser.py

bench: setup ## the figures of docs/benchmarks.md (more than an hour; BENCH=web: those of one slice, about 15 minutes)
	@for slice in $(BENCH); do $(BIN)/python -m bench.$$slice || exit 1; done

lock: setup ## requirements.lock from pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --all-extras --python-version 3.11 \
		pyproject.toml -o requirements.lock

.PHONY: help setup demo test test-all upgrade-check lint pictures bench lock
