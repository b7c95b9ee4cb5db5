# Everything works from a fresh clone: Python >= 3.11, make and the package registries are all it takes.
PYTHON ?= python3
BIN := .venv/bin
AREA ?= serving
DEMO ?=
export UV_PYTHON_DOWNLOADS := never

.PHONY: help venv dev demo test check format bench assets lock clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

venv: .venv/.base  ## Install tournant into .venv
dev: .venv/.dev  ## ... and what tests and checks need

.venv/bin/uv: requirements/uv.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tournant needs Python 3.11 or newer; say which: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --require-hashes -r requirements/uv.txt
	@touch $@

.venv/.base: .venv/bin/uv requirements/base.txt pyproject.toml
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/base.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

.venv/.dev: .venv/.base requirements/dev.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

lock:  ## Resolve requirements/*.txt again
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 requirements/uv.in -o requirements/uv.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 --extra postgres pyproject.toml -o requirements/base.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 --extra postgres pyproject.toml requirements/dev.in -c requirements/base.txt -o requirements/dev.txt

format: dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: dev  ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: dev  ## Run all tests
	$(BIN)/pytest -n 2 --dist loadscope

bench: dev  ## Compare with peers: make bench AREA=serving
	$(BIN)/python -m benchmarks $(AREA)

demo: venv  ## Play a year of real flights through the whole loop (DEMO="--keep", "--full", "--days 60")
	$(BIN)/tournant demo $(DEMO)

clean:  ## Remove what was built
	rm -rf .venv build demo report.html src/tournant/web/static/vendor
