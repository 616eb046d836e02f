# The chores of the house. `make demo` and `make test` install what is missing first.
PY := .venv/bin/python
CODE := core cardos hsm_sim printer registry personalization payments runtime api cli

.PHONY: help setup demo test test-slow check format clean

help:
	@echo "make demo    set everything up, then make, pay with, clear and prove a small city's cards"
	@echo "make test    set everything up, then run the tests"
	@echo "make test-slow   the long properties, crash matrices and outside programs"
	@echo "make check   formatting, lint, types, import contracts"
	@echo "make format  let the formatter and the safe lint fixes run"

setup:
	@scripts/setup.sh

demo: setup
	@.venv/bin/citycard demo

test: setup
	@$(PY) -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: setup
	@$(PY) -m pytest -n 2 --dist worksteal -m slow

check: setup
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

format: setup
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache citycard-demo artefacts
