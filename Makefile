# Everything works from a fresh clone: Python >= 3.11, make and the package registries are all it takes.
PYTHON ?= python3
BIN := .venv/bin
AREA ?= serving
DEMO ?=
export UV_PYTHON_DOWNLOADS := never

.PHONY: help venv dev demo test check format bench browser prometheus lock clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

venv: .venv/.base .venv/.assets  ## Install tournant into .venv, with the dashboard's assets
dev: venv .venv/.dev  ## ... and what tests and checks need

.venv/bin/uv: requirements/uv.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tournant needs Python 3.11 or newer; say which: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --require-hashes -r requirements/uv.txt
	@touch $@

# Compiled at once: an environment may say that Python shall not keep what it compiles, and every start would pay for it.
.venv/.base: .venv/bin/uv requirements/base.txt pyproject.toml
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/base.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	$(BIN)/python -m compileall -q src
	@touch $@

# htmx, uPlot and fonts from npm; Node comes from a Python package. Without them the dashboard works, plainer.
.venv/.assets: .venv/.base requirements/build.txt $(wildcard src/tournant/web/npm/*)
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/build.txt
	$(BIN)/python -m tournant.web.assets --build build/web $(if $(CI),,--optional)
	@touch $@

.venv/.dev: .venv/.base requirements/dev.txt
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

lock:  ## Resolve requirements/*.txt again
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 requirements/uv.in -o requirements/uv.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 requirements/build.in -o requirements/build.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 --extra postgres --extra grpc pyproject.toml -o requirements/base.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 --extra postgres --extra grpc pyproject.toml requirements/dev.in -c requirements/base.txt -o requirements/dev.txt

format: dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: dev  ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: dev browser prometheus  ## Run all tests
	$(BIN)/pytest -n 2 --dist loadscope

browser:  # for the dashboard's tests; where it cannot be installed they say why they are skipped (in CI they fail)
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		{ command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || \
		echo "no Chromium here: install it to run the browser tests" >&2

prometheus:  # Debian's, unpacked and not installed: no service starts; without it a test says why it is skipped (in CI it fails)
	@command -v prometheus >/dev/null || [ -x build/prometheus/usr/bin/prometheus ] || { \
		command -v apt-get >/dev/null && mkdir -p build/prometheus && cd build/prometheus && \
		{ apt-get download -qq prometheus || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get download -qq prometheus; }; } 2>/dev/null && \
		dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb; } || \
		echo "no Prometheus here: install it to run its test" >&2

bench: dev  ## Compare with peers: make bench AREA=serving
	$(BIN)/python -m benchmarks $(AREA)

demo: venv  ## Play a year of real flights through the whole loop (DEMO="--keep", "--full", "--days 60")
	$(BIN)/tournant demo $(DEMO)

clean:  ## Remove what was built
	rm -rf .venv build demo report.html src/tournant/web/static/vendor
