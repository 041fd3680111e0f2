# make paper   rebuild every number, figure and PDF from the raw files
# make test    lint, types, import contracts, tests
# make world   draw the synthetic farms, loans and yearbook of the Changji study again (the same seed: the same files)
# Each sets up .venv by itself (Python 3.11 or later and a package index are all it needs) and is quick the second time.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3 python 2>/dev/null))
BIN := .venv/bin
READY := .venv/.ready
PEERS := $(patsubst benchmarks/environments/%.txt,.venv-peers/%/.ready,$(wildcard benchmarks/environments/*.txt))
STUDIES := $(patsubst %/study.toml,%,$(wildcard analyses/*/study.toml))

.DEFAULT_GOAL := help
.PHONY: help setup paper test test-all test-spark mutants world bench bench-peers regions montecarlo lock clean

help:
	@echo "make paper   rebuild every number, figure and PDF from data/raw/"
	@echo "make test    lint, types, import contracts, tests"
	@echo "make test-all  every combination of the tests' grids and all inputs of fuzz tests, where make test takes a sample"
	@echo "make test-spark  the tests of Apache Spark in local mode (installs pyspark; needs Java 17)"
	@echo "make mutants   plant 500 small faults, one at a time, and count those that the tests notice (hours)"
	@echo "make bench   speed against pyfixest, diff-diff, StatsPAI and hdfe-stream, up to 10 million rows (over an hour, 16 GB)"
	@echo "make bench-peers  set up the environments of the peers that are not among the requirements; make bench does so, too"
	@echo "make regions  the lists of regions against the packages that hold such lists, year by year; 100,000 names timed"
	@echo "make world   draw the synthetic raw files of the Changji study again"
	@echo "make montecarlo  size and coverage of every method, published in docs/inference.md (over an hour)"
	@echo "make lock    resolve requirements.lock again"
	@echo "make clean   remove .venv, .venv-peers and the rebuilt data/processed/"

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@echo "== setting up .venv with $(PYTHON) (once)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "evalkit needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv --clear .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	@UV_PYTHON_DOWNLOADS=never $(BIN)/python -m uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@UV_PYTHON_DOWNLOADS=never $(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

paper: $(READY)
	@for study in $(STUDIES); do echo "== $$study"; $(BIN)/python -m evalkit run $$study || exit $$?; done
	@echo "== done:"; ls $(addsuffix /*.pdf,$(STUDIES))

# One thread per process: small matrices gain nothing from more, and pay for them. Compiled modules are kept, whatever the
# surroundings say: hundreds of processes import the same ones.
test test-all test-spark mutants: export OMP_NUM_THREADS = 1
test test-all test-spark mutants: export OPENBLAS_NUM_THREADS = 1
test test-all test-spark mutants: export PYTHONDONTWRITEBYTECODE =

test: $(READY)
	@echo "== lint"; $(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check .
	@echo "== types"; $(BIN)/python -m mypy
	@echo "== import contracts"; $(BIN)/lint-imports
	@echo "== tests"; $(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --exhaustive

test-spark: $(READY)
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python "pyspark>=4.3,<5"
	@$(BIN)/python -m pytest tests/test_spark.py --spark

mutants: $(READY)
	@$(BIN)/python benchmarks/mutations.py

# Peers whose requirements are not ours have environments of their own, with the versions pinned in benchmarks/environments/.
.venv-peers/%/.ready: benchmarks/environments/%.txt
	@echo "== setting up $* (once)"
	@$(PYTHON) -m venv --clear .venv-peers/$*
	@.venv-peers/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

bench-peers: $(PEERS)

bench: $(READY) $(PEERS)
	@$(BIN)/python benchmarks/two_way_fe.py
	@$(BIN)/python benchmarks/wide_effects.py
	@$(BIN)/python benchmarks/staggered.py
	@$(BIN)/python benchmarks/large.py
	@$(BIN)/python benchmarks/wild_bootstrap.py
	@$(BIN)/python benchmarks/permutations.py
	@$(BIN)/python benchmarks/ledger.py
	@$(BIN)/python benchmarks/account.py
	@$(BIN)/python benchmarks/yearbook.py

regions: $(READY)
	@$(BIN)/python benchmarks/regions.py

montecarlo: $(READY)
	@$(BIN)/python analyses/changji/coverage.py
	@cd benchmarks && OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 ../$(BIN)/python -m montecarlo

world: $(READY)
	@$(BIN)/python analyses/changji/write_raw_files.py

lock: $(READY)
	@$(BIN)/python -m uv pip compile pyproject.toml --extra notebook --group dev --universal --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --python-version 3.11 --upgrade -o requirements.lock

clean:
	rm -rf .venv .venv-peers .evalkit data/processed/*/ .pytest_cache .mypy_cache .ruff_cache .hypothesis
