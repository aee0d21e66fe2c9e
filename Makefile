# make serve   environment, dependencies, demo models, then a server on http://127.0.0.1:8000
# make test    environment, dependencies, all checks and tests
# Both need python3.11 or later, make and a package index. A second call does no work twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO := demo
ARGS ?=
# Tests mostly wait for servers; with fewer than two at once a core idles.
PROCESSES ?= 2

# Every package by the hashes that the index has of it, and whatever is not among them is refused.
INSTALL := $(PIP) install --quiet --require-hashes
# Tureen itself, by build tools that came by their hashes too.
EDITABLE := $(PIP) install --quiet --no-deps --no-build-isolation --editable .

.PHONY: serve test format loadtest lock clean

serve: $(VENV)/.serve
	@$(BIN)/tureen demo $(DEMO)
	@exec $(BIN)/tureen serve $(DEMO) $(ARGS)

test: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

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

$(VENV)/.serve: pyproject.toml requirements/build.txt requirements/demo.txt | $(BIN)/python
	$(INSTALL) -r requirements/build.txt -r requirements/demo.txt
	$(EDITABLE)
	@touch $@

$(VENV)/.test: pyproject.toml requirements/build.txt requirements/dev.txt | $(BIN)/python
	$(INSTALL) -r requirements/build.txt -r requirements/dev.txt
	$(EDITABLE)
	@touch $@ $(VENV)/.serve

# Writes requirements/ anew: what pyproject.toml asks for, in the versions of constraints.txt, with the hashes of the index.
LOCK = $(VENV)/lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command 'make lock' --constraint constraints.txt
lock: pyproject.toml constraints.txt requirements/uv.txt
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet --require-hashes -r requirements/uv.txt
	$(LOCK) --output-file requirements/run.txt pyproject.toml
	for extra in demo tracing dev; do $(LOCK) --extra $$extra --output-file requirements/$$extra.txt pyproject.toml || exit 1; done
	echo 'setuptools>=77' | $(LOCK) --output-file requirements/build.txt -
	echo 'uv' | $(LOCK) --output-file requirements/uv.txt -
