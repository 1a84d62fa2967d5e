# What can be done here: `make help`. Logic of more than a few lines is in hack/ and tests/cluster/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
INSTALLED_FROM := requirements/dev.txt builder/pyproject.toml operator/pyproject.toml
export PYTHONPATH := tests
# Containers often set it; then each of the thousands of programs that tests start would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE
CLUSTER := $(BIN)/python -m cluster
CHECKED := builder operator hack tests

# Tests of the cluster mostly wait: with three workers more than there are processors, others run meanwhile.
# `make test-e2e WORKERS=0` has none, which is best for `PYTEST_ARGS=--pdb`.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 3)

# Scratch on tmpfs where there is one, and gone at the end.
define pytest
if [ -d /dev/shm ]; then scratch=$$(mktemp -d /dev/shm/strata-tests.XXXXXX); else scratch=$$(mktemp -d); fi; \
trap 'rm -rf --one-file-system "$$scratch"' EXIT; \
$(BIN)/pytest -p no:cacheprovider --basetemp="$$scratch/run" --numprocesses=$(WORKERS) $(1) $(PYTEST_ARGS)
endef

##@ Start here

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: dev
dev: $(READY) ## Set up .venv with the locked dependencies (1 minute; a second time nothing)

$(READY): $(INSTALLED_FROM)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "dev: needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version 2>&1 || true)." \
	       "Name another: make dev PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "dev: $(PYTHON) has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "dev: installing the dependencies of requirements/dev.txt into .venv (about a minute)" >&2
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e builder -e operator
	@touch $@
	@echo "dev: ready; try .venv/bin/strata --help" >&2

.PHONY: demo
demo: cluster-up images deploy ## Cluster, images, chart, examples/hello: from nothing to a running image
	@$(BIN)/python -m hack.demo

##@ Checks

.PHONY: test
test: lint typecheck cluster-up lint-chart images deploy ## Everything: lint, types, unit, integration and end-to-end tests
	@$(BIN)/python -m hack.packages
	@$(call pytest,tests/unit tests/fuzz tests/integration tests/differential tests/e2e)

.PHONY: fmt
fmt: dev ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet $(CHECKED) || true
	@$(BIN)/ruff format $(CHECKED)

.PHONY: lint
lint: dev verify ## Style, formatting, import contracts, YAML
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/ruff format --check $(CHECKED)
	@$(BIN)/lint-imports
	@$(BIN)/yamllint --strict crds examples

.PHONY: lint-chart
lint-chart: dev ## helm lint (needs the cluster's programs, or helm on PATH)
	@eval "$$($(CLUSTER) env)"; helm lint --quiet --strict helm/strata

.PHONY: typecheck
typecheck: dev ## mypy, strict
	@$(BIN)/mypy builder operator hack tests/cluster tests/support tests/differential/builds tests/differential/suites tests/bench tests/fuzz

.PHONY: verify
verify: ## Are generated files those that would be generated?
	@diff -r crds helm/strata/files/crds || { echo "verify: the chart's CRDs differ from crds/: make manifests" >&2; exit 1; }

.PHONY: test-unit
test-unit: dev ## A minute; needs no root, network or cluster
	@$(call pytest,tests/unit)

.PHONY: test-integration
test-integration: dev ## Real namespaces, mounts, git servers and registries; needs root on Linux
	@$(BIN)/python -m hack.packages
	@$(call pytest,tests/integration)

.PHONY: test-fuzz
test-fuzz: dev ## Hostile input, guided by the code that it reaches (STRATA_EFFORT=10: ten times as much; STRATA_SEED=N repeats a run)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@export STRATA_EFFORT=$${STRATA_EFFORT:-5}; $(call pytest,tests/fuzz)

.PHONY: test-gitops
test-gitops: dev ## GitOps with Argo CD's own code, too, which takes 5 minutes of two processors to compile, once
	@export STRATA_LONG=1; $(call pytest,tests/integration/gitops)

.PHONY: test-differential
test-differential: dev ## Beside BuildKit, with far more random cases than `make test` has; needs Go (STRATA_SEED=N repeats a run)
	@export STRATA_EFFORT=$${STRATA_EFFORT:-25}; $(call pytest,-s --numprocesses=0 tests/differential)

.PHONY: test-e2e
test-e2e: cluster-up images deploy ## On the cluster
	@$(call pytest,tests/e2e -m "not slow")

.PHONY: test-faults
test-faults: cluster-up images deploy ## What breaks on purpose, with long outages (three quarters of an hour)
	@export STRATA_LONG=1; $(call pytest,tests/e2e/alone tests/e2e/test_e2e_*_lost.py)

.PHONY: test-campaign
test-campaign: cluster-up images deploy ## 1,000 builds while all that is under them is killed and cut at random (STRATA_BUILDS=N, STRATA_SEED=N; docs/faults.md)
	@export STRATA_BUILDS=$${STRATA_BUILDS:-1000}; $(call pytest,-s --numprocesses=0 tests/e2e/alone/test_e2e_campaign.py)

BENCH_RESULTS ?= docs/benchmarks/results.json

.PHONY: bench
bench: dev ## Strata beside BuildKit and buildah, table and plots (an hour; BENCH_ARGS="--scenarios c,d --rounds 1"); goes on where it ended
	@$(BIN)/python -m bench run --results $(BENCH_RESULTS) $(BENCH_ARGS)
	@$(BIN)/python -m bench absolute --results $(BENCH_RESULTS)
	@$(MAKE) bench-plots

.PHONY: bench-growth
bench-growth: dev ## The same scenarios in several sizes (half an hour)
	@$(BIN)/python -m bench growth --results $(BENCH_RESULTS) $(BENCH_ARGS)
	@$(MAKE) bench-plots

.PHONY: bench-profile
bench-profile: dev ## Where the time of our builds goes (five minutes; BENCH_ARGS="--scenarios b,c")
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@$(BIN)/python -m bench profile --results $(BENCH_RESULTS) $(BENCH_ARGS)
	@$(MAKE) bench-plots

.PHONY: bench-files
bench-files: dev ## Processor time for each small file that is unpacked, compared and packed (a minute)
	@$(BIN)/python -m bench.files $(BENCH_ARGS)

.PHONY: bench-polling
bench-polling: dev ## What it costs the operator to look at git sources (a minute)
	@$(BIN)/python -m bench.polling $(BENCH_ARGS)

SCALE_RESULTS ?= docs/scale/results.json

.PHONY: bench-scale
bench-scale: dev ## The operator with up to 10,000 ImageBuilds, table, page and plot (half an hour; SCALE_ARGS="--sizes 1000 --builds 100")
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@$(BIN)/python -m bench.scale --results $(SCALE_RESULTS) --page docs/scale.md $(SCALE_ARGS)

.PHONY: bench-plots
bench-plots: dev ## Plots and page from what was kept in BENCH_RESULTS (BENCH_PARTS="a.json b.json": put runs apart together first)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@$(BIN)/python -m bench report --results $(BENCH_RESULTS) $(BENCH_PARTS)

.PHONY: test-selfbuild
test-selfbuild: cluster-up images deploy ## Both images, and twenty cases, on the host and in every isolation: the same digests? (10 to 20 minutes)
	@export STRATA_LONG=1; $(call pytest,tests/e2e/test_e2e_selfbuild.py tests/e2e/test_e2e_rungs.py)

##@ Cluster

.PHONY: cluster-up
cluster-up: dev ## Start the test cluster (first time 10 to 15 minutes, then seconds); STRATA_CLUSTER=existing: check yours
	@$(CLUSTER) up

.PHONY: cluster-down
cluster-down: dev ## End it and leave nothing behind
	@$(CLUSTER) down

.PHONY: kubeconfig
kubeconfig: $(READY) ## Print the path of its kubeconfig: export KUBECONFIG=$(make -s kubeconfig)
	@$(CLUSTER) kubeconfig

.PHONY: images
images: dev ## Build Strata's own images with Strata and bring them to the cluster; again only when sources changed
	@$(BIN)/python -m hack.images

.PHONY: deploy
deploy: dev ## Install or upgrade the chart with the images of `make images`
	@$(BIN)/python -m hack.deploy

##@ Other

.PHONY: manifests
manifests: dev ## Copy crds/ into the chart, and the Lua for Argo CD into its snippet
	@mkdir -p helm/strata/files/crds
	@cp crds/*.yaml helm/strata/files/crds/
	@$(BIN)/python -m hack.argocd

.PHONY: clean
clean: ## Remove what was made here, .venv too (the cluster: make cluster-down; caches: rm -r ~/.cache/strata)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find builder operator hack tests -name __pycache__ -type d -prune -exec rm -rf {} +
