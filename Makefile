# The two commands of a fresh machine: `make demo` and `make test`. Needed: Python 3.11 or newer, make, a C++ compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Compilers drop a part of llama.cpp's code for AMX tiles, and the rest crashes (its issue 20824): build it without.
ifneq (,$(shell $(CC) -march=native -dM -E -x c /dev/null 2>/dev/null | grep __AMX_INT8__))
export CFLAGS += -mno-amx-int8
export CXXFLAGS += -mno-amx-int8
endif

# Tests start many processes; each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all check format snapshots soak audit clean

demo: $(VENV)/.installed
	$(BIN)/kdtui demo

# All but the slow tests, while you work.
test: check
	$(BIN)/pytest -n auto --dist worksteal -m 'not slow'

# All tests, before a change is merged.
test-all: check
	$(BIN)/pytest -n auto --dist worksteal

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Accept the screens as they are now as the expected ones.
snapshots: $(VENV)/.installed-dev
	$(BIN)/pytest tests/kdtui/tui --snapshot-update

# Faults, hostile input and load, in up to two hours. Stopped, it resumes. It fails if the page shows a loss.
soak: $(VENV)/.installed-dev
	$(BIN)/pip install --disable-pip-version-check atheris || echo "without inputs guided by coverage"
	$(BIN)/python -m tests.faults.soak --folder soak
	$(BIN)/python -m tests.faults.load --folder soak --output soak/load.json
	$(BIN)/python -m tests.faults.page soak

# Look up the pinned packages in the database of known vulnerabilities, which needs the network.
audit: $(VENV)-audit/.installed
	$(VENV)-audit/bin/pip-audit -r constraints.txt --no-deps --disable-pip --strict

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The stamps are newer than what they were made from, so an unchanged tree installs nothing again.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(VENV)/.installed $@

# An environment of its own: its dependencies are not those of the program.
$(VENV)-audit/.installed:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --disable-pip-version-check pip-audit
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-audit
