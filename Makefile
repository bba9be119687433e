# The commands people use here. `make demo` and `make test` do all their set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ONCE ?=
SHORT ?=
ROUNDS ?= 300
SEED ?= 1

.PHONY: demo test faults bench check memory format venv lock

demo: $(VENV)/ready
	$(BIN)/sluis demo $(if $(ONCE),--once)

test: $(VENV)/ready-test
	sh tests/setup/debian.sh
	$(MAKE) check

# The whole truth: format, lint, types, import contracts, tests.
check: $(VENV)/ready-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto --maxschedchunk 4

# Sluis beside what people run today (bench/README.md): about half an hour, as root. `make bench SHORT=1` shows in minutes that all runs.
bench: $(VENV)/ready-test
	$(BIN)/python -m bench.compare $(if $(SHORT),--short)

# Memory at full size against its bars (bench/README.md); `make test` has a reduced form.
memory: $(VENV)/ready-test
	$(BIN)/python -m bench.memory

# Kills, faults of the disk and of the surroundings, round after round: make faults ROUNDS=500 SEED=7. Needs root, or sudo without a password (strace).
faults: $(VENV)/ready-test
	sh tests/setup/debian.sh
	$(BIN)/python -m tests.faults --rounds $(ROUNDS) --seed $(SEED)
	$(BIN)/python -m tests.faults.around --rounds $(ROUNDS) --seed $(SEED)

format: $(VENV)/ready-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

venv: $(VENV)/ready-test

$(VENV)/ready: requirements.lock requirements-build.lock pyproject.toml
	PYTHON=$(PYTHON) sh deploy/setup.sh $(VENV) requirements.lock
	touch $@

$(VENV)/ready-test: requirements-test.lock requirements-build.lock pyproject.toml
	PYTHON=$(PYTHON) sh deploy/setup.sh $(VENV) requirements-test.lock
	touch $@ $(VENV)/ready

# Names, versions and hashes; no download address. The build lock stands apart: clamd is published as source only.
COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
lock:
	$(COMPILE) --group build -o requirements-build.lock
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --extra test -o requirements-test.lock
