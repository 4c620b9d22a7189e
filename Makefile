# relight: `make demo` shows what it does, `make test` checks everything. Both make the virtual environment they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

ROUNDS ?= 1000
SEED ?= 1

.PHONY: demo demo-loop demo-ranks test check bench bench-pipeline bench-store bench-planner bench-sim chaos chaos-remediation docs clean

demo: $(VENV)/ready
	@echo "Scanning a synthetic run of four hosts (docs/example-run):"
	@echo
	@$(BIN)/relight scan docs/example-run/logs

demo-loop: $(VENV)/ready
	@$(BIN)/python -m demo.loop

demo-ranks: $(VENV)/ready
	@$(BIN)/python -m demo.watched

test: $(VENV)/ready check
	$(BIN)/python -m pytest -q

check: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/relight rules check
	$(BIN)/relight rules test
	$(BIN)/relight playbooks check

bench: $(VENV)/ready
	$(BIN)/python -m bench --rg-sample 10MB --limit 150

bench-pipeline: $(VENV)/ready
	$(BIN)/python -m bench.pipeline

bench-store: $(VENV)/ready
	$(BIN)/python -m bench.store

bench-planner: $(VENV)/ready
	$(BIN)/python -m bench.planner

bench-ten-thousand: $(VENV)/ready
	$(BIN)/python -m bench.ten_thousand

bench-sim: $(VENV)/ready
	$(BIN)/relight sim score --seed $(SEED) --incidents 400 --hosts 64-1024 --healthy-node-days 10000 --jobs 2

chaos: $(VENV)/ready
	$(BIN)/python -m bench.chaos --rounds $(ROUNDS) --log embedded --seed $(SEED)
	$(BIN)/python -m bench.chaos --rounds $(ROUNDS) --log kafka --seed $(SEED)

chaos-remediation: $(VENV)/ready
	$(BIN)/python -m bench.remediation_chaos --rounds 100 --log embedded --seed $(SEED)
	$(BIN)/python -m bench.remediation_chaos --rounds 100 --log kafka --seed $(SEED)

docs: $(VENV)/ready
	$(BIN)/python -m relight.manual

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
