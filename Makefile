# Thin on purpose: each target is one command; `make up` and `make test` set up whatever they need first.
# Choose the interpreter with PYTHON=python3.12, pass flags on with ARGS="--workers 2".
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: install up test check protos bench
install: $(READY)
# The kernels are compiled by the installation, so a change of theirs is one too.
$(READY): pyproject.toml constraints.txt hatch_build.py $(wildcard worker/inferloom_worker/kernels/build.py worker/inferloom_worker/kernels/src/*)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Inferloom needs Python 3.11 or newer: make PYTHON=python3.11")'
	@echo "Installing pinned dependencies into .venv (once; a minute or two, most of it PyTorch)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

up: install
	@$(BIN)/inferloom up $(ARGS)

test: install
	$(BIN)/pytest $(ARGS)

check: install
	$(BIN)/python tools/dev/check.py

protos: install
	$(BIN)/python tools/dev/protos.py

bench: install
	$(BIN)/python tools/dev/bench.py $(ARGS)
