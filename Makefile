# Each target sets up what it needs: a virtual environment with the versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Two busy torch threads beside another busy process can run 25 times slower: tests take one thread each.
TESTS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo test test-fast faults check format docs bench clean

demo: $(READY)  ## render people, pre-train, fine-tune, evaluate, show
	$(BIN)/upreid demo --out demo

test: $(READY)  ## everything, the slow tests too
	$(TESTS)

test-fast: $(READY)  ## all but the slow ones: about four minutes on two cores
	$(TESTS) -m "not slow"

faults: $(READY)  ## kills, damage, full disks, hanging loaders, hostile files; ROUNDS=20 repeats the random ones more often
	$(TESTS) tests/faults tests/data/test_loading.py tests/data/sources tests/test_pack.py --fault-rounds $(or $(ROUNDS),2)

check: $(READY)  ## style, types, arrows between modules
	$(BIN)/ruff check src tests benchmarks docs scripts
	$(BIN)/ruff format --check src tests benchmarks docs scripts
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix src tests benchmarks docs scripts
	$(BIN)/ruff format src tests benchmarks docs scripts

docs: $(READY)  ## the documentation site, in build/docs/site; a warning is an error
	$(BIN)/python docs/build_site.py

bench: $(READY)  ## programs that measure, each against a named baseline in the same run; a minute or two each (benchmarks/gpu.py is for GPUs)
	set -e; for program in $(filter-out benchmarks/gpu.py,$(wildcard benchmarks/[a-z]*.py)); do echo "== $$program"; $(BIN)/python $$program; done

clean:
	rm -rf $(VENV) demo build

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "upreid needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,docs]' --group dev
	touch $(READY)
