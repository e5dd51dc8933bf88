# Every target works on a fresh machine: what it needs first, it makes first.
.DEFAULT_GOAL := help
SHELL := /bin/bash

INSTALLED := .venv/.installed
SHELL_SCRIPTS := $(wildcard scripts/*) .ci/run relight/hosts/files/relight-host

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: packages $(INSTALLED) ## Install what is missing: Debian packages, and .venv from requirements.lock

.PHONY: packages
packages:
	@scripts/setup-packages

$(INSTALLED): requirements.lock pyproject.toml | packages
	@scripts/setup-python
	@touch $@

.PHONY: demo
demo: setup ## Tell the story on real machines, from nothing (KEEP=1 leaves all running)
	@scripts/as-root scripts/demo

.PHONY: test
test: setup ## Run all tests (ARGS="tests/lab -k boot" for some of them)
	@scripts/as-root .venv/bin/python -m pytest $(ARGS)

.PHONY: check
check: setup ## Check style, types, import rules and shell scripts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@shellcheck $(SHELL_SCRIPTS)

.PHONY: chaos
chaos: setup ## Kill at random what carries hot swaps and replacements on real hosts (KILLS=200, ARGS="--seed 7")
	@scripts/as-root .venv/bin/python -m devkit.chaos --kills $(or $(KILLS),200) $(ARGS)

.PHONY: lab-image
lab-image: setup ## Build the lab's base image now, not at its first start
	@scripts/as-root .venv/bin/python -m lab image

.PHONY: bench
bench: setup ## Measure a hot swap of 12 machines beside Ansible, pyinfra, asyncssh (ARGS="--json FILE")
	@scripts/setup-bench
	@scripts/as-root .venv/bin/python -m devkit.bench $(ARGS)

.PHONY: bench-scale
bench-scale: setup ## Measure a rollout over hosts that are played (ROUTES=10000 beside 1000, ARGS="--json FILE")
	@scripts/as-root .venv/bin/python -m devkit.bench.scale --routes $(or $(ROUTES),1000) $(ARGS)

.PHONY: bench-audit
bench-audit: setup ## Measure a pass of reconciliation over hosts that are played (ROUTES=1000)
	@scripts/as-root .venv/bin/python -m devkit.bench.scale.audit --routes $(or $(ROUTES),1000)

.PHONY: swap-cost
swap-cost: setup ## Measure what one hot swap costs its host, step by step
	@scripts/as-root .venv/bin/python -m devkit.bench.swap_cost $(ARGS)

.PHONY: histories
histories: setup ## Record a history of each shape of workflow, beside those that are kept
	@.venv/bin/python -m tests.histories.record

.PHONY: docs
docs: setup ## Write docs/faults.md from the table of faults
	@.venv/bin/python -m relight.domain.fault.document >docs/faults.md

.PHONY: lock
lock: ## Bring the lock files in line with what is asked for (needs uv; ARGS=--upgrade)
	@uv pip compile --quiet --universal --all-extras --generate-hashes --python-version 3.11 \
		--no-header --no-emit-index-url --no-emit-find-links $(ARGS) \
		--output-file requirements.lock pyproject.toml
	@uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--no-header --no-emit-index-url --no-emit-find-links $(ARGS) \
		--output-file devkit/bench/requirements.lock devkit/bench/requirements.in

.PHONY: clean
clean: ## Stop what runs here, and remove .venv and every cache; the home folder .relight stays
	@if [[ -x .venv/bin/relight ]]; then .venv/bin/relight down; fi
	@rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
