VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup train test test-servers bench docs lint clean

setup: $(STAMP)

# torch first, alone: the pin picks one build (CPU, CUDA or arm64, as the index offers), and the rest settles around it.
$(STAMP): pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	touch $@

train: setup
	$(BIN)/python train.py experiment=t2i_rpo $(ARGS)

test: setup lint
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# With several processes, two machines (network namespaces, as root), a Slurm, a vLLM: each skipped, with its reason, where it is not to be had.
test-servers: setup
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m servers $(ARGS)

bench: setup
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/overhead.py
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/stages.py

# The site of the documentation, in build/site; a dead link is an error.
docs: setup
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf build dist src/*.egg-info *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	find src configs tests -type d -name __pycache__ -prune -exec rm -rf {} +
