# Thin on purpose: each target is one command; `make up` and `make test` set up whatever they need first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: install up test check protos bench
install: $(READY)
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv && $(BIN)/pip install -q -c constraints.txt -e '.[test]' && touch $@

up: install
	@$(BIN)/inferloom up

test: install
	$(BIN)/pytest

check: install
	$(BIN)/python tools/dev/check.py

protos: install
	$(BIN)/python tools/dev/protos.py

bench: install
	$(BIN)/python tools/dev/bench.py
