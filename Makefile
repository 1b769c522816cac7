# Few commands, the same on a laptop and in CI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
PACKAGES := simulator solver training service orpr
CHAMPION := service/bundles/daily-4
RUN ?= runs/daily-4
ROWS ?= --policy DL+replays=$(CHAMPION) --policy DL=$(RUN)-dl --policy DL+RL=$(RUN)-rl
CASES := packs carrying cold-0 cold-0-reference cold-7 cold-7-reference cold-14 cold-14-reference cold-28 cold-28-reference
DATA ?= data
FRESH = --data $(DATA)/freshretail --test-days 28
BAKERY = --data $(DATA)/bakery --test-days 180
ONLINE = --data $(DATA)/online_retail --test-days 60
VN2 = --data $(DATA)/vn2
RESULTS ?= docs/results
PAGE ?= README.md

.PHONY: run setup test check bench results foundation ablations format clean

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

results: $(VENV)/.dev  ## backtest the shipped policy and the one before its replays; docs/results and the README's table
	$(BIN)/orpr backtest --data $(DATA)/freshretail --test-days 28 --min-in-stock 0.9 $(ROWS) --results $(RESULTS)
	$(BIN)/orpr backtest --data $(DATA)/freshretail --test-days 28 --replay recovered $(ROWS) --results $(RESULTS)
	$(BIN)/orpr backtest --data $(DATA)/online_retail --test-days 60 $(ROWS) \
	    --policy zero-shot=runs/no-online-4 --results $(RESULTS)
	$(BIN)/orpr backtest $(VN2) --test-days 56 --restarts 4 --policy DL+replays=runs/vn2-1 --policy DL=runs/vn2-1-dl \
	    --results $(RESULTS)
	$(BIN)/orpr backtest --data simulator/sample $(ROWS) $(foreach case,$(CASES),--scenario $(case)) \
	    --results $(RESULTS) --report $(RESULTS)/report-bakery --page $(PAGE)

foundation: $(VENV)/.dev  ## rebuild the shipped policy (an hour and a half on one core) from the datasets in $(DATA), and its rivals
	$(BIN)/orpr train $(FRESH) $(BAKERY) $(ONLINE) --config foundation --threads 1 --seed 0 --also-dl --out $(RUN)
	$(BIN)/orpr train $(FRESH) $(BAKERY) $(ONLINE) --config foundation-rl --from $(RUN)-dl --threads 1 \
	    --seed 0 --out $(RUN)-rl
	$(BIN)/orpr train $(FRESH) $(BAKERY) --config foundation --threads 1 --seed 0 --out runs/no-online-4
	$(BIN)/orpr train $(VN2) --test-days 224 --config weekly --threads 1 --seed 0 --also-dl --out runs/vn2-1

ablations: $(VENV)/.dev  ## what each part of the recipe brings, on the sample before its test window (some hours on one core)
	$(BIN)/orpr ablate --results $(RESULTS)

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
