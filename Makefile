# Everything a person needs: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help demo test check bench soak soak-ray soak-sim sim partition chaos clean
.DEFAULT_GOAL := help

help:                 ## say what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "agentorch needs Python >= 3.11; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,ray,llm,inference]'
	@touch $@

demo: $(VENV)/.ready  ## the main job: a real server, a real trace, the supervisor at work, the terminal UI
	@$(BIN)/agentorch demo

test: $(VENV)/.ready  ## every test, with real processes, files, sockets and a real terminal
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(VENV)/.ready ## format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready ## measure, beside peers, and print the tables of benchmarks/README.md
	$(BIN)/python -m benchmarks

soak: $(VENV)/.ready  ## kill -9 the server 50 times under load and check that nothing is lost
	$(BIN)/python -m tests.soak --kills 50 --jobs 200

chaos: $(VENV)/.ready ## a model of noise on a real llama.cpp server makes 10,000 proposals: not one breach
	$(BIN)/python -m tests.inference.chaos --proposals $(or $(N),10000) --seed $(or $(SEED),1)

partition: $(VENV)/.ready ## pull cables between network namespaces: two runs of a job never overlap (needs root)
	AGENTORCH_NETNS=1 $(BIN)/python -m pytest tests/ray/test_partition.py tests/ray/test_autoscaler.py -s

soak-ray: $(VENV)/.ready ## a Ray cluster loses its head, ten times
	for round in 1 2 3 4 5 6 7 8 9 10; do AGENTORCH_SOAK=1 $(BIN)/python -m pytest tests/ray/test_faults.py -k head_dies -q || exit 1; done

SEED   ?= 1
SEEDS  ?=
sim: $(VENV)/.ready   ## live through one seed of faults and tell its story (SEED=7), or through many (SEEDS=1..500)
	$(BIN)/python -m tests.simulated $(if $(SEEDS),$(SEEDS),$(SEED))

soak-sim: $(VENV)/.ready ## ten thousand seeds of faults, on all cores (SEEDS=1..10000)
	$(BIN)/python -m tests.simulated $(if $(SEEDS),$(SEEDS),1..10000) --processes $$(nproc)

clean:                ## remove what make made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
