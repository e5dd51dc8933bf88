# Every target works on a fresh computer: it first builds what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash

INSTALLED := .venv/.installed
SHELL_SCRIPTS := $(wildcard scripts/*) devkit/openstack/files/setup .ci/run $(wildcard relight/hosts/files/*) $(wildcard relight/images/*.sh) images/apt-sources images/make-root

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: packages $(INSTALLED) ## Install what is missing: Debian packages, and .venv from requirements.lock

.PHONY: packages
packages:
	@scripts/setup-packages

$(INSTALLED): requirements.lock pyproject.toml | packages
	@scripts/setup-python
	@touch $@

.PHONY: demo
demo: setup ## Run the demo on real machines, from scratch (KEEP=1 leaves it running)
	@scripts/as-root scripts/demo

.PHONY: test
test: setup ## Run all tests (ARGS="tests/lab -k boot" for some of them)
	@scripts/as-root .venv/bin/python -m pytest -n 3 $(ARGS)

.PHONY: test-openstack
test-openstack: setup ## Install a real OpenStack on this computer, and run the driver's contract and a route on its VMs
	@scripts/as-root env RELIGHT_TEST_OPENSTACK=1 .venv/bin/python -m pytest -n0 \
		-o timeout=3600 -o faulthandler_timeout=0 tests/openstack $(ARGS)

.PHONY: test-fast
test-fast: setup ## Run the tests that need no machine
	@.venv/bin/python -m pytest -n 2 -m "not lab and not slow" $(ARGS)

.PHONY: test-prism
test-prism: setup ## Hold the drivers to their vendors' OpenAPI documents, which npm gives
	@scripts/setup-prism
	@.venv/bin/python -m pytest -n0 -m prism tests/providers $(ARGS)

.PHONY: test-oci-sdk
test-oci-sdk: setup ## Hold the driver of Oracle Cloud to the vendor's own SDK (548 MB, into .venv)
	@.venv/bin/python -m pip install --quiet --require-hashes --requirement tests/providers/oracles/oci.lock
	@.venv/bin/python -m pytest -n0 tests/providers/oracles/test_oci.py $(ARGS)

.PHONY: nightly
nightly: test test-prism test-oci-sdk test-image test-openstack chaos ## Run all that is too long for each change

.PHONY: providers
providers: setup ## Try the drivers of clouds on their fakes, and write docs/providers.md
	@scripts/setup-prism
	@scripts/as-root .venv/bin/python -m pytest -q -n0 tests/providers --exercised docs/providers.json \
		--ignore tests/providers/test_exercised.py $(ARGS)
	@.venv/bin/python -m devkit.exercised >docs/providers.md
	@.venv/bin/python -m pytest -q -n0 tests/providers/test_exercised.py

.PHONY: check
check: setup ## Check style, types, import rules, words and shell scripts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/python -m devkit.words
	@shellcheck $(SHELL_SCRIPTS)

.PHONY: audit
audit: setup ## Ask a vulnerability service about the locked dependencies; without one, say so
	@scripts/find-vulnerabilities

.PHONY: chaos
chaos: setup ## Kill processes at random on real hosts; make store, keys, listings, clock and hosts wrong (KILLS=200, WORK=distrust); try drivers (WORK=providers)
	@scripts/as-root .venv/bin/python -m devkit.chaos --kills $(or $(KILLS),200) --work $(or $(WORK),all) $(ARGS)

.PHONY: gate-histories
gate-histories: setup ## Ask the gate before every destruction in random histories (HISTORIES=10000)
	@GATE_HISTORIES=$(or $(HISTORIES),10000) .venv/bin/python -m pytest -q -n0 tests/domain/test_destruction_histories.py

.PHONY: mutations
mutations: setup ## Keep old processes running in many ways on a real machine: each must be found
	@scripts/as-root .venv/bin/python -m pytest -n0 tests/hosts/test_mutations.py $(ARGS)

.PHONY: services
services: setup ## Try real services of Debian on lab machines, and write docs/services-tried.md (ARGS="--only cron --json FILE")
	@scripts/as-root .venv/bin/python -m devkit.services $(ARGS)

.PHONY: walk
walk: setup ## Play random sequences of commands, faults, kills and clock jumps; find what is stuck (SEQUENCES=500)
	@.venv/bin/python -m devkit.walk --sequences $(or $(SEQUENCES),20) $(ARGS)

.PHONY: lab-image
lab-image: setup ## Build the lab's base image now, not at the first start of a lab
	@scripts/as-root .venv/bin/python -m lab image

.PHONY: image
image: setup ## Build the base image, hold it to its contract, and run the demo on machines of it (ARGS="--label 0.0.74")
	@scripts/as-root scripts/image $(ARGS)

.PHONY: test-image
test-image: setup ## Build the base image twice and compare; boot its disk by BIOS and by EFI; validate the templates of Packer
	@scripts/setup-packages qemu-system-x86 ovmf packer
	@scripts/as-root env RELIGHT_TEST_IMAGES=1 .venv/bin/python -m pytest -n0 \
		-o timeout=3600 -o faulthandler_timeout=0 tests/images/built $(ARGS)

.PHONY: bench
bench: setup ## Compare a hot swap of 12 machines with Ansible, pyinfra and asyncssh (ARGS="--json FILE")
	@scripts/setup-bench
	@scripts/as-root .venv/bin/python -m devkit.bench $(ARGS)

.PHONY: bench-scale
bench-scale: setup ## Measure a rollout over simulated hosts (ROUTES=10000 compares with 1000, ARGS="--json FILE")
	@scripts/as-root .venv/bin/python -m devkit.bench.scale --routes $(or $(ROUTES),1000) $(ARGS)

.PHONY: bench-verify
bench-verify: setup ## Measure a reconcile run over simulated hosts (ROUTES=1000)
	@scripts/as-root .venv/bin/python -m devkit.bench.scale.verify --routes $(or $(ROUTES),1000)

.PHONY: bench-liveness
bench-liveness: setup ## Measure a liveness check over simulated hosts (ROUTES=10000, ARGS="--silent 2500")
	@scripts/as-root .venv/bin/python -m devkit.bench.scale.liveness --routes $(or $(ROUTES),10000) $(ARGS)

.PHONY: bench-undo
bench-undo: setup ## Measure an undo against its rollout over simulated hosts (ROUTES=1000)
	@scripts/as-root .venv/bin/python -m devkit.bench.scale.undo --routes $(or $(ROUTES),1000) $(ARGS)

.PHONY: bench-store
bench-store: setup ## Measure the store's writes/s on PostgreSQL, by processes and round trip (ARGS="--json FILE")
	@scripts/as-root .venv/bin/python -m devkit.bench.store $(ARGS)

.PHONY: swap-cost
swap-cost: setup ## Measure the CPU time of one hot swap on its host, step by step
	@scripts/as-root .venv/bin/python -m devkit.bench.swap_cost $(ARGS)

.PHONY: histories
histories: setup ## Record a history of each variant of each workflow; the recorded ones stay
	@.venv/bin/python -m tests.histories.record

.PHONY: docs
docs: setup ## Generate the pages that code decides: docs/faults.md, docs/images.md, docs/relight.1; and images/provision.sh
	@.venv/bin/python -m relight.domain.fault.document >docs/faults.md
	@.venv/bin/python -m relight.images.document docs/images.md
	@.venv/bin/python -m devkit.man_page >docs/relight.1
	@.venv/bin/python -m relight.images >images/provision.sh

.PHONY: lock
lock: ## Update the lock files from the declared dependencies (needs uv; ARGS=--upgrade)
	@uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--extra local --extra lab --extra images --extra dev --extra oracles \
		--no-header --no-emit-index-url --no-emit-find-links $(ARGS) \
		--output-file requirements.lock pyproject.toml
	@uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--extra images --constraint requirements.lock \
		--no-header --no-emit-index-url --no-emit-find-links $(ARGS) \
		--output-file requirements-worker.lock pyproject.toml
	@uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--extra oracle-oci --constraint requirements.lock \
		--no-header --no-emit-index-url --no-emit-find-links $(ARGS) \
		--output-file tests/providers/oracles/oci.lock pyproject.toml
	@uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--no-header --no-emit-index-url --no-emit-find-links $(ARGS) \
		--output-file devkit/bench/requirements.lock devkit/bench/requirements.in
	@uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--no-header --no-emit-index-url --no-emit-find-links $(ARGS) \
		--output-file devkit/vulnerabilities/requirements.lock devkit/vulnerabilities/requirements.in

.PHONY: house
house: setup ## Measure the house: files of a hot swap, files of an activity, names in the wheel, words
	@scripts/as-root .venv/bin/python -m devkit.house

.PHONY: clean
clean: ## Stop `relight up`, and remove .venv and all caches; the home folder .relight stays
	@if [[ -x .venv/bin/relight && -d $${RELIGHT_HOME:-.relight} ]]; then scripts/as-root env -u RELIGHT_CONTEXT .venv/bin/relight down; fi
	@rm -rf .venv .venv-bench .venv-vulnerabilities .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
