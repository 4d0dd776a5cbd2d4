# Two commands matter: `make demo` and `make test`. The others serve development.
# Everything is installed below this folder (.venv, .cache); nothing is put onto the system.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Some images forbid Python to keep what it has compiled: then every start compiles what is new here.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-peers interop lint format types docs bench score clean

demo: $(STAMP)
	$(BIN)/estafeta demo

test: lint types
	$(BIN)/python -m pytest -n 2 -q --ignore=tests/matrix tests

# Each foreign server as sender and as receiver; fails where docs/interop.md says otherwise.
test-peers: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -q tests/matrix

# The same, and docs/interop.md is made of what it showed.
interop: $(STAMP)
	mkdir -p .cache
	rm -f .cache/interop.jsonl
	ESTAFETA_INTEROP=.cache/interop.jsonl $(MAKE) test-peers
	$(BIN)/python -m tests.matrix.page .cache/interop.jsonl

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(STAMP)
	$(BIN)/estafeta docs docs

bench: $(STAMP)
	$(BIN)/python -m bench

# How well bounces of others are understood; wants the suites (ESTAFETA_SUITES).
score: $(STAMP)
	$(BIN)/python -m bench.score

# The constraints pin what was tested; pyproject.toml says what is wanted.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .demo
