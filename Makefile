# One-word tasks; `make help` lists them. Everything happens in .venv, which is made when it is needed.
#
# Installed extras are remembered as stamp files in .venv that depend on pyproject.toml, so a task installs only what
# changed. Each stamp runs pip once; the package itself is installed editable, so edits need no new installation.

SHELL := /bin/sh
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

KERNELS := .venv/kernels

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test soak check format bench clean

help: ## list these tasks
	@echo 'WeftDB. Tasks:'
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: .venv/installed-demo $(KERNELS) ## the main job on real retail data; KEEP=1 leaves the server running
	@$(BIN)/python -m weftdb.bench.demo $(if $(KEEP),--keep)

# Whichever of the two processes is done takes tests from the other. More of them than cores only wait.
test: .venv/installed-dev $(KERNELS) ## run all tests, in two processes (JOBS=0: in one); ARGS='-k name' for some
	$(BIN)/python -m pytest -c tests/pytest.ini --numprocesses=$(or $(JOBS),2) --dist=worksteal tests $(ARGS)

# All files that ask `tests/support/soak.py` how much they do.
soak: .venv/installed-dev $(KERNELS) ## the long runs: FACTOR=50 times what `make test` does, or more; SEED=1 for the threads
	WEFT_SOAK=$(or $(FACTOR),50) WEFT_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -c tests/pytest.ini --timeout=7200 \
		$(shell grep -lE '^(import soak|from soak)' tests/test_*.py) $(ARGS)

check: .venv/installed-dev ## linter, formatter, type checker, import directions, generated stubs current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -c tests/pytest.ini -q tests/test_architecture.py
	$(BIN)/python proto/generate.py --check

format: .venv/installed-dev ## format the code, and fix what the linter can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed-bench $(KERNELS) ## measure, beside the peers that are installed; ARGS='ingest' for one
	$(BIN)/python -m weftdb.bench $(or $(ARGS),all)

clean: ## remove everything that was built, the virtual environment too
	rm -rf .venv build dist *.egg-info demo-data bench-results .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/installed-demo: pyproject.toml .venv/made
	@echo 'Installing WeftDB and what the demo needs (once; some 250 MB to download) ...'
	@$(PIP) install --quiet --editable '.[demo]'
	@touch $@

.venv/installed-dev: pyproject.toml .venv/made
	@echo 'Installing WeftDB and what its tests need (once) ...'
	@$(PIP) install --quiet --editable '.[dev,demo,bench]'
	@touch $@ .venv/installed-demo .venv/installed-bench

.venv/installed-bench: pyproject.toml .venv/made
	@echo 'Installing WeftDB and what the benchmarks need (once) ...'
	@$(PIP) install --quiet --editable '.[bench,demo]'
	@touch $@

# The warm-up compiles the kernels once, into __pycache__, so that nobody waits for a compiler later. All of them, where
# one changed: numba compiles a kernel again whose own file changed, and not one that calls it from another file.
$(KERNELS): .venv/made $(wildcard engine/kernels/*.py storage/kernels/*.py)
	@echo 'Compiling kernels (when they changed; about a minute) ...'
	@find base engine storage -name '*.nb[ic]' -delete
	@$(BIN)/python -m weftdb warm
	@touch $@

.venv/made:
	@python=$$(.ci/find-python) && echo "Making .venv with $$python ..." && "$$python" -m venv .venv
	@touch $@
