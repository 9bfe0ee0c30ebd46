.DEFAULT_GOAL := help
.PHONY: help install lint format types test long bench docs ci build clean check

PYTHON ?= python
SITE ?= docs/_build

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Install for development, with the CPU build of PyTorch that CI uses
	PIP_CONSTRAINT=.ci/constraints.txt $(PYTHON) -m pip install -e ".[dev]"

lint: ## Check style and formatting
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: ## Format the sources and mend what can be mended
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: ## Check types
	$(PYTHON) -m mypy sparsefit collectors

test: ## Run the tests
	$(PYTHON) -m pytest -n auto --dist loadfile

long: ## Run all tests, also those that take minutes
	$(PYTHON) -m pytest --run-long

bench: ## Run the benchmarks
	$(PYTHON) -m pytest benchmarks

docs: ## Build the documentation site into docs/_build and check its links (extras all, docs)
	$(PYTHON) -P -m sphinx -q -W --keep-going -b html docs "$(SITE)"
	$(PYTHON) docs/check_links.py "$(SITE)"

check: lint types test ## Run linters, type checker and tests

ci: ## Do what CI does, in a fresh virtual environment
	.ci/run

build: ## Build wheel and source archive into dist/
	$(PYTHON) -m build

clean: ## Remove caches and build products
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -rf docs/_build docs/_generated docs/jupyter_execute
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
