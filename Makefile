# Thin on purpose: each target is one command; `make up` and `make test` set up whatever they need first.
# Choose the interpreter with PYTHON=python3.12, pass flags on with ARGS="--workers 2".
# On Linux PyTorch comes without CUDA where its own index can be reached: GPU=1 takes it with CUDA,
# TORCH_INDEX=URL takes it from elsewhere (`none`: wherever pip looks).
PYTHON ?= python3
BIN := .venv/bin
PYTEST ?= $(BIN)/pytest
RUN := .venv/.ready
TEST := .venv/.ready-test
export GPU TORCH_INDEX

# The kernels are compiled by the installation, so a change of theirs is one too.
SOURCES := pyproject.toml constraints.txt hatch_build.py $(wildcard worker/inferloom_worker/kernels/build.py worker/inferloom_worker/kernels/src/*)

.PHONY: install install-test up test-fast test test-all faults check protos bench docs
install: $(RUN)
$(RUN): $(SOURCES)
	@$(PYTHON) tools/dev/install.py all
	@touch $@

install-test: $(TEST)
$(TEST): $(SOURCES)
	@$(PYTHON) tools/dev/install.py test
	@touch $(RUN) $@

# Ctrl-C is how it is stopped, so status 130 is a good end; the trap lets the shell wait for it.
up: install
	@trap : INT; $(BIN)/inferloom up $(ARGS) || [ $$? = 130 ]

# Half of a test's time is waiting, so two run at once; a file's tests share what they start. Slow ones measure faults, alone.
SIDE_BY_SIDE := -n 2 --dist loadfile

# Three tiers, each with the one before: CONTRIBUTING.md says what is in which.
test-fast: install-test
	$(PYTEST) --fast $(ARGS)

test: install-test
	$(PYTEST) -m "not slow" $(SIDE_BY_SIDE) $(ARGS)

test-all: install-test
	$(PYTEST) -m "not slow" $(SIDE_BY_SIDE) $(ARGS)
	$(PYTEST) -m slow $(ARGS)
	$(BIN)/python tools/dev/check_kernels.py --fuzz 300
	$(BIN)/python tools/dev/check_wheel.py contract base

# What each fault costs, on real processes, beside what it may cost; test-all runs some, without bounds on time.
faults: install-test
	$(BIN)/python tools/dev/faults.py $(ARGS)

check: install-test
	$(BIN)/python tools/dev/check.py

protos: install-test
	$(BIN)/python tools/dev/protos.py

bench: install
	$(BIN)/python tools/dev/bench.py $(ARGS)

# The site of the documents, into build/site; a link that leads nowhere is a failure.
docs: install-test
	$(BIN)/zensical build --strict
