# Few commands, the same on a laptop and in CI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
PACKAGES := simulator solver training service orpr
CHAMPION := service/bundles/daily-6.1
WEEKLY := service/bundles/weekly-2.1
EARLY ?= tests/benchmarks/policies/early-dl
RUN ?= runs/daily-6
ROWS ?= --policy DL+replays=$(CHAMPION) --policy DL=$(RUN)-dl --policy DL+RL=$(RUN)-rl --policy ORPR=$(RUN)-orpr
CASES := packs carrying cold-0 cold-0-reference cold-7 cold-7-reference cold-14 cold-14-reference cold-28 cold-28-reference
DATA ?= data
FRESH = --data $(DATA)/freshretail --test-days 28
BAKERY = --data $(DATA)/bakery --test-days 180
ONLINE = --data $(DATA)/online_retail --test-days 60
VN2 = --data $(DATA)/vn2
TRAIN = $(BIN)/orpr train --threads 1
RESULTS ?= docs/results
PAGE ?= README.md
WORKERS ?= 2
# These hold answers or solvers to a time, or servers to a load: nothing else may run beside them.
ALONE := tests/faults tests/benchmarks/test_smoke.py tests/service/test_promotion_under_load.py tests/service/test_repeating.py tests/service/test_trimming.py

.PHONY: run setup test check bench bench-service bench-faults bench-soak bench-finetune results promotions early foundation ablations format clean

run: $(VENV)/.base  ## answer on the bakery sample: http://127.0.0.1:8000
	@$(BIN)/orpr demo

setup: $(VENV)/.dev  ## everything for development into .venv

test: $(VENV)/.dev  ## every test, against a real Redis and a real browser that it starts itself
	@sh tests/browser/ensure-chromium.sh $(BIN)/python
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(addprefix --ignore=,$(ALONE))
	$(BIN)/python -m pytest $(ALONE)

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

bench-service: $(VENV)/.bench  ## the service under load beside LitServe and FastAPI: docs/results/service.md
	$(BIN)/python -m tests.benchmarks.service $(RESULTS)

bench-faults: $(VENV)/.bench  ## the fault tests at full size; their counts into the same page
	$(BIN)/python -m tests.benchmarks.service.faults $(RESULTS)

bench-soak: $(VENV)/.bench  ## mixed load, more than half an hour of it after warming up as long; whether memory stays flat, into the same page
	$(BIN)/python -m tests.benchmarks.service.soak $(RESULTS)

results: $(VENV)/.dev  ## backtest the shipped policies and those beside them; docs/results and the README's table
	$(BIN)/orpr backtest $(FRESH) --min-in-stock 0.9 $(ROWS) $(foreach s,0 1 2 3 4,--policy adapted=$(RUN)-freshretail-seed$(s)) \
	    --policy adapted+RL=$(RUN)-freshretail-rl --policy DL+RL+expert=$(RUN)-freshretail-expert --results $(RESULTS)
	$(BIN)/orpr backtest $(FRESH) --replay recovered $(ROWS) --results $(RESULTS)
	$(BIN)/orpr backtest $(ONLINE) $(ROWS) --policy adapted=$(RUN)-online --policy zero-shot=runs/no-online-6 --results $(RESULTS)
	$(BIN)/orpr backtest $(VN2) --test-days 56 --restarts 4 $(foreach s,0 1 2 3 4,--policy adapted=runs/vn2-3-seed$(s)) \
	    --policy zero-shot=$(WEEKLY) \
	    --policy DL+replays=runs/vn2-3 --policy DL=runs/vn2-3-dl --results $(RESULTS)
	$(BIN)/orpr backtest --data simulator/sample $(ROWS) --policy adapted=$(RUN)-bakery --policy DL+RL+expert=$(RUN)-bakery-expert \
	    $(foreach case,$(CASES),--scenario $(case)) --results $(RESULTS) --report $(RESULTS)/report-bakery --page $(PAGE)

promotions: $(VENV)/.dev  ## experts' decisions in promotions, the paper's Table 2; docs/results/promotions.md (twenty minutes)
	$(BIN)/python -m tests.benchmarks.promotions $(RESULTS) --data $(DATA) --dl $(EARLY)

early: $(VENV)/.dev  ## rebuild the policy that Table 2 begins with into runs/early-dl (an hour on one core, and another for the replays, which may be broken off)
	$(TRAIN) --data $(DATA)/freshretail --test-days 42 --data $(DATA)/bakery --test-days 360 $(ONLINE) --config foundation --also-dl --out runs/early

bench-finetune: $(VENV)/.dev  ## how long a round of learning from a thousand decisions takes: docs/results/finetuning.md
	$(BIN)/python -m tests.benchmarks.finetuning $(RESULTS) --data $(DATA)/freshretail --data $(DATA)/bakery

foundation: $(VENV)/.dev  ## rebuild the shipped policies from the datasets in $(DATA), and those beside them (four hours on one core)
	$(TRAIN) $(FRESH) $(BAKERY) $(ONLINE) --config foundation --also-dl --out $(RUN)
	$(TRAIN) $(FRESH) $(BAKERY) $(ONLINE) --by-week --config weekly-foundation --also-dl --out runs/weekly-2
	$(TRAIN) $(FRESH) $(BAKERY) $(ONLINE) --config foundation-rl --from $(RUN)-dl --out $(RUN)-rl
	$(TRAIN) $(FRESH) $(BAKERY) $(ONLINE) --config orpr --out $(RUN)-orpr
	for s in 0 1 2 3 4; do $(TRAIN) --seed $$s $(FRESH) --from $(CHAMPION) --out $(RUN)-freshretail-seed$$s || exit 1; done
	$(TRAIN) $(BAKERY) --from $(CHAMPION) --out $(RUN)-bakery
	$(TRAIN) $(ONLINE) --from $(CHAMPION) --out $(RUN)-online
	$(TRAIN) $(FRESH) --config foundation-rl --from $(RUN)-freshretail-seed0 --out $(RUN)-freshretail-rl
	$(BIN)/python -m tests.benchmarks.expert_policy $(FRESH) --from $(RUN)-dl --out $(RUN)-freshretail-expert
	$(BIN)/python -m tests.benchmarks.expert_policy $(BAKERY) --from $(RUN)-dl --out $(RUN)-bakery-expert
	$(TRAIN) $(FRESH) $(BAKERY) --config foundation --out runs/no-online-6
	for s in 0 1 2 3 4; do $(TRAIN) --seed $$s $(VN2) --test-days 224 --from $(WEEKLY) --out runs/vn2-3-seed$$s || exit 1; done
	$(TRAIN) $(VN2) --test-days 224 --config weekly --also-dl --out runs/vn2-3

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
