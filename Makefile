# `make help` lists the targets. Everything is installed into $(VENV), nothing elsewhere.

PYTHON ?= python3
VENV ?= .venv
BENCH_OUT ?= bench-out
QUICK := $(addprefix instances/,small medium infeasible rounds captured)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install bench bench-large bench-aligner bench-fedloop bench-hard bench-paired budgets test test-engines soak flower-deploy fuzz mutants docs check clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.11" >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# alignsolve/__init__.py holds the version, which an editable install notes down.
$(VENV)/.core: pyproject.toml constraints.txt alignsolve/__init__.py | $(BIN)/python
	@echo "installing alignsolve and its solvers (a minute or two)"
	@$(PIP) --editable '.[report]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt alignsolve/__init__.py | $(BIN)/python
	@echo "installing alignsolve with its development tools (a minute or two)"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.core

install: $(VENV)/.core ## Install the package into .venv

bench: $(VENV)/.core ## Run every backend on instances/ and print the table
	@$(BIN)/alignsolve bench $(QUICK) --time-limit 2 --jobs 2 --out $(BENCH_OUT)

bench-large: $(VENV)/.core ## Run them on instances/large as well (about 20 min)
	@$(BIN)/alignsolve bench $(QUICK) instances/large --time-limit 30 --out $(BENCH_OUT)-large

bench-aligner: $(VENV)/.dev ## 200 simulated rounds of the Aligner and all baselines; AGAIN=--again runs what is stored again
	@$(BIN)/python benchmarks/aligner_service.py all $(AGAIN)

BASE ?= 1f231c7
bench-paired: $(VENV)/.dev ## An older commit (BASE=1f231c7) against this tree, at most 1.10 (about 10 min); KEEP: folder for it
	@$(BIN)/python benchmarks/paired.py --base $(BASE) --instances $(INSTANCES) --at-most 1.10 \
	  $(if $(KEEP),--keep $(KEEP))

budgets: $(VENV)/.dev ## Limits on cold starts, imports, signals and the tests again (about 12 min); ONLY="import cold" for some
	@$(BIN)/python benchmarks/budgets.py $(ONLY)

PROCESSES ?= 2
test: $(VENV)/.dev ## Run the tests in PROCESSES=2 at once, a file of tests in one
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

$(VENV)/.flower: $(VENV)/.dev
	@echo "installing Flower, transformers and PEFT"
	@$(PIP) --editable '.[dev,flower,hf]'
	@touch $@

test-engines: $(VENV)/.flower ## Run the tests that start Flower and Ray, or train models of transformers
	@$(BIN)/python -m pytest -m "" tests/fedloop/flower tests/fedloop/expert_map fedloop/flower
	@$(BIN)/python -m pytest tests/alignsolve/distributed/test_ray.py

NODES ?= 3
flower-deploy: $(VENV)/.flower ## Train on a SuperLink and NODES=3 SuperNodes on loopback; APP=examples/flower for that app, RESUME=1 to go on
	@$(BIN)/python -m fedloop.flower.deploy --nodes $(NODES) --out flower-run \
	  $(if $(APP),--app $(APP),--set rounds=5 --set checkpoint_every=1) $(if $(RESUME),--resume,--again)

SEED ?= 0
soak: $(VENV)/.dev ## Signals, damage, full disks and limits, many times (about 20 min); SEED=0: of all moments
	@$(BIN)/python -m tests.soak --seed $(SEED)

FUZZ ?= 200000
fuzz: $(VENV)/.dev ## Check claims about FUZZ=200000 problems of SEED=0, then run the tests on new examples
	@$(BIN)/python -m tests.fuzz --count $(FUZZ) --seed $(SEED) --json fuzz-$(SEED).json
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

$(VENV)/.docs: $(VENV)/.dev
	@echo "installing Sphinx"
	@$(PIP) --editable '.[dev,docs]'
	@touch $@

docs: $(VENV)/.docs ## Build the documentation in docs/_build, and run the code of its pages (a few minutes)
	@$(BIN)/python -m pytest tests/test_docs.py
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --builder html docs docs/_build
	@echo "open docs/_build/index.html"

$(VENV)/.mutants: $(VENV)/.dev
	@$(PIP) --editable '.[dev,mutants]'
	@touch $@

NUMBER ?= 100
SEED ?= 0
mutants: $(VENV)/.mutants ## Try NUMBER=100 mutations drawn by SEED=0, and the kernels' patches (an hour); not a test
	@test -e .mutants/seconds.json || $(BIN)/python -m mutants record
	@$(BIN)/python -m mutants run --number $(NUMBER) --seed $(SEED)
	@$(BIN)/python -m mutants kernels

check: $(VENV)/.dev ## Lint (ruff), check types (mypy) and layers (import-linter)
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

MNIST ?= ../shared/data/mnist-t10k
bench-fedloop: $(VENV)/.dev ## What alignment is worth on images in MNIST=folder (2 h; SHORT=1: rotations, 10 min)
	@$(BIN)/python benchmarks/fedloop_mnist.py --data-dir $(MNIST) $(if $(SHORT),--quick)

INSTANCES ?= ../shared/instances
bench-hard: $(VENV)/.dev ## The hard class against the MIP solvers alone (about 2 h); INSTANCES: folder of orlib and yagiura
	@$(BIN)/python benchmarks/hard_class.py gap --instances $(INSTANCES)/orlib $(AGAIN)
	@$(BIN)/python benchmarks/hard_class.py yagiura --instances $(INSTANCES)/yagiura $(AGAIN)
	@$(BIN)/python benchmarks/hard_class.py fleets $(AGAIN)
	@$(BIN)/python benchmarks/hard_class.py report

clean: ## Remove the environment, caches and bench results
	rm -rf $(VENV) $(BENCH_OUT) $(BENCH_OUT)-large docs/_build docs/jupyter_execute docs/reference/generated flower-run .mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis
