# Every target prepares .venv by itself (scripts/setup_env.sh); where it is up to date that takes no time.
RUN := .venv/bin/python
ARGS ?=
JOBS ?= 2
BATTERY ?= full
TO ?= outputs/chaos
BENCH ?= $(basename $(notdir $(wildcard benchmarks/[a-z]*.py)))

.PHONY: help env demo test chaos lint bench
.DEFAULT_GOAL := help

help:
	@echo "make demo    train the default model with async online DPO and vLLM, write the report"
	@echo "make test    the test suite"
	@echo "make chaos   the fault battery with its table (BATTERY=quick|full, TO=folder of the table)"
	@echo "make lint    ruff and mypy"
	@echo "make bench   every benchmark, one after another (one of them: make bench BENCH=async_vs_sync)"
	@echo "Options: PYTHON=python3.12  DEVICE=cpu|gpu  JOBS=2 (test processes)  ARGS='what the program itself takes'"

env:
	@PYTHON="$(PYTHON)" DEVICE="$(DEVICE)" scripts/setup_env.sh

demo: env
	@$(RUN) -m rllib_ext.demo $(ARGS)

test: env
	@$(RUN) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=15 $(ARGS)

chaos: env
	@$(RUN) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "fault and not gpu" \
	  --battery $(BATTERY) --battery-to $(TO) $(ARGS)

lint: env
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

bench: env
	@failed=; for name in $(BENCH); do \
	  echo "== $$name"; $(RUN) -m benchmarks.$$name $(ARGS) || failed="$$failed $$name"; \
	done; [ -z "$$failed" ] || { echo "not reached:$$failed" >&2; exit 1; }
