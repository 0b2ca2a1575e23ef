# `make demo`: set everything up and run the main job.  `make test`: set everything up and run every check.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test lint types unit setup docs wheel bench clean
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/sparsify-train token_classification --demo --output_dir runs/demo

test: lint types unit

lint: $(STAMP)
	$(BIN)/ruff check sparsify tests tutorials
	$(BIN)/ruff format --check sparsify tests tutorials

types: $(STAMP)
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

docs: $(STAMP)
	$(BIN)/python -m sparsify.cli.recipe_docs docs/modifiers --figure README.md docs/img/plan.svg

bench: $(STAMP)
	$(BIN)/python tests/benchmarks/step_cost.py

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --outdir dist

clean:
	rm -rf $(VENV) dist build runs .pytest_cache .mypy_cache .ruff_cache
