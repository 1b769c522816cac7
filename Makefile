# Few commands, the same on a laptop and in CI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
PACKAGES := simulator solver training service orpr
SEEDS ?= 0 1 2 3 4
RECIPE ?= default
RUNS ?= runs/daily-1-seed
DATA ?= data
RESULTS ?= docs/results
PAGE ?= README.md

.PHONY: run setup test check bench results foundation format clean

run: $(VENV)/.base  ## answer on the bakery sample: http://127.0.0.1:8000
	@$(BIN)/orpr demo

setup: $(VENV)/.dev  ## everything for development into .venv

test: $(VENV)/.dev  ## every test, against a real Redis and a real browser that it starts itself
	@sh tests/browser/ensure-chromium.sh $(BIN)/python
	$(BIN)/python -m pytest

check: $(VENV)/.dev  ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench  ## backtest, speed side by side with others, the classical problems; writes docs/results
	$(BIN)/orpr backtest --data simulator/sample
	$(BIN)/python -m tests.benchmarks.speed $(RESULTS)
	$(BIN)/python -m tests.benchmarks.classical $(RESULTS)
	$(BIN)/python -m tests.benchmarks.labels $(RESULTS)
	$(BIN)/python -m tests.benchmarks.censoring $(RESULTS)

results: $(VENV)/.dev  ## train five seeds (an hour), backtest them, write docs/results and the README's table
	for seed in $(SEEDS); do $(BIN)/orpr train --data simulator/sample --config $(RECIPE) --test-days 180 \
	    --seed $$seed --out $(RUNS)$$seed || exit 1; done
	$(BIN)/orpr backtest --data simulator/sample $(foreach seed,$(SEEDS),--policy $(RUNS)$(seed)) \
	    --scenario packs --scenario carrying --results $(RESULTS) --report $(RESULTS)/report-bakery --page $(PAGE)

foundation: $(VENV)/.dev  ## rebuild the shipped policy (two hours) from the datasets in $(DATA)
	$(BIN)/orpr train --data $(DATA)/freshretail --test-days 28 --data $(DATA)/bakery --test-days 180 \
	    --data $(DATA)/online_retail --test-days 60 --config foundation --threads 1 --seed 0 --out $(RUNS)0

format: $(VENV)/.dev  ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .orpr build *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "make: Python needs its venv module (Debian: python3-venv)"; exit 1; }

$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

# pip older than 25.1 does not know dependency groups, so the newest is taken first.
$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt torch==2.13.0
	$(PIP) install --quiet --constraint constraints.txt --editable '.[train]' --group dev
	@touch $(VENV)/.base $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) install --quiet --constraint constraints.txt --group bench
	$(PIP) install --quiet --constraint constraints.txt --no-deps stockpyl
	@touch $@
