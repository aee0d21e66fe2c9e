# make serve   environment, dependencies, demo models, then a server on http://127.0.0.1:8000
# make test    environment, dependencies, all checks and tests
# Both need python3.11 or later, make and a package index. A second call does no work twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO := demo
ARGS ?=

.PHONY: serve test format loadtest clean

serve: $(VENV)/.serve
	@$(BIN)/tureen demo $(DEMO)
	@exec $(BIN)/tureen serve $(DEMO) $(ARGS)

test: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest $(ARGS)

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

loadtest: $(VENV)/.test
	@$(BIN)/tureen demo $(DEMO)
	@$(BIN)/python -m loadtests.run $(ARGS)

clean:
	rm -rf $(VENV) $(DEMO) reports build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.serve
