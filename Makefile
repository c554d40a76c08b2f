# `make` alone lists the targets. Every recipe runs in bash and stops at the first error.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

PYTHON := .venv/bin/python
PROJECT ?= flights
GIVE_BACK ?=
REASON ?=
# Puts the container engine, kind, kubectl and helm on PATH, whichever ones `make up` found or built.
CLUSTER := eval "$$(k8s/env)" &&
# Tests without a cluster run a file to a core, in the order of the files: the longest come early.
# The ones on the cluster share the release and run one by one.
AT_ONCE := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

##@ Use
.PHONY: demo
demo: up ## from an empty machine to a trained, gated, deployed model that answers
	$(CLUSTER) k8s/phase "demo: data, training run, prediction" $(PYTHON) -m k8s.demo
	@k8s/phase --report

.PHONY: up
up: ## start the cluster, build or pull the images, install the chart
	@k8s/phase --reset
	k8s/phase "Python environment" $(MAKE) .venv
	k8s/up
	$(CLUSTER) k8s/images/build
	$(CLUSTER) k8s/phase "install the chart" k8s/install

.PHONY: status
status: ## what runs, and what does not
	$(CLUSTER) k8s/status

.PHONY: ui
ui: .venv ## forward Airflow, MLflow, MinIO and the models here, and say where the passwords are
	$(CLUSTER) $(PYTHON) -m k8s.ui

.PHONY: rollback
rollback: .venv ## give users the version before: PROJECT=flights REASON=...; GIVE_BACK=3 lets 3 return
	$(CLUSTER) $(PYTHON) -m k8s.rollback $(PROJECT) --reason "$(REASON)" \
	  $(if $(GIVE_BACK),--give-back "$(GIVE_BACK)")

.PHONY: down
down: ## remove the cluster and what was started for it; the cache stays
	k8s/down

.PHONY: clean-cache
clean-cache: down ## remove the cache of built tools and images too
	k8s/clean-cache

##@ Develop
.PHONY: test
test: .venv ## run every test, the ones on the kind cluster included
	@tests/phase --reset
	tests/phase "lint" $(MAKE) lint
	k8s/toolchain/build helm
	$(CLUSTER) tests/phase "tests without a cluster" $(PYTHON) -m pytest $(AT_ONCE) -m "not e2e" \
	  --times="$$SLIPWAY_CACHE/logs/tests-without-a-cluster.md"
	tests/phase "make up" $(MAKE) up
	$(CLUSTER) tests/phase "tests on the cluster" $(PYTHON) -m pytest -m "e2e and not long" \
	  --times="$$SLIPWAY_CACHE/logs/tests-on-the-cluster.md"
	@tests/phase --report

.PHONY: test-long
test-long: up ## the tests that only a release needs; writes docs/long-tests.md
	$(CLUSTER) $(PYTHON) -m pytest -m long --times=docs/long-tests.md

.PHONY: check
check: lint ## lint, types and the tests that need no cluster
	$(CLUSTER) $(PYTHON) -m pytest $(AT_ONCE) -m "not e2e"

.PHONY: lint
lint: .venv ## style, types, and generated files that are out of date
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

.PHONY: format
format: .venv ## put the Python code into shape
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

.PHONY: generate
generate: .venv ## make every generated file again: schema, values table, golden pod specs
	$(CLUSTER) $(PYTHON) charts/generate.py
	$(CLUSTER) $(PYTHON) -m tests.dags.golden

.PHONY: bench
bench: .venv ## measure on the running cluster and write docs/benchmarks.md
	$(CLUSTER) $(PYTHON) -m tests.bench.report

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: pyproject.toml uv.lock
	k8s/venv
	@touch .venv
