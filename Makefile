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

.PHONY: demo test test-all check format snapshots soak lock audit clean

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
audit: $(VENV)-tools/.installed
	$(VENV)-tools/bin/pip-audit -r requirements.lock --require-hashes --disable-pip --strict
	$(VENV)-tools/bin/pip-audit -r constraints.txt --no-deps --disable-pip --strict

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The stamps are newer than what they were made from, so an unchanged tree installs nothing again.
# Of llama.cpp, only the library is built: not its multimodal part, and not `common`, which its own programs share.
$(VENV)/.installed: export CMAKE_ARGS += -DLLAVA_BUILD=OFF '-DCMAKE_PROJECT_INCLUDE=$(abspath $(VENV))/llama.cmake'
$(VENV)/.installed: pyproject.toml requirements.lock | $(VENV)/bin/python
	echo 'set(LLAMA_BUILD_COMMON OFF)' > $(VENV)/llama.cmake
	$(BIN)/pip install --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --no-deps -e .
	touch $@

# Without hashes: torch has a build for each kind of processor, and each has its own.
$(VENV)/.installed-dev: constraints.txt $(VENV)/.installed
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Pin the versions of constraints.txt, with the hashes of their files.
lock: $(VENV)-tools/.installed
	$(VENV)-tools/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
		-c constraints.txt --no-annotate --custom-compile-command 'make lock' -o requirements.lock

# These tools have an environment of their own, because kdtui does not need their packages.
$(VENV)-tools/.installed:
	$(PYTHON) -m venv $(VENV)-tools
	$(VENV)-tools/bin/pip install --disable-pip-version-check pip-audit uv
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-tools
