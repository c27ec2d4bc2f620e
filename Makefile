# Everything here works on a machine that has Python 3.11 or newer, pip and make. Recipes are plain POSIX sh.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The interpreter for a new .venv; when empty, the newest suitable one on PATH.
PYTHON ?=
# Passed on to the command of the target: make test ARGS="-k book"
ARGS ?=

# Prints the first interpreter that runs, is 3.11 or newer and can make a virtual environment. Every folder of PATH is
# looked at: a version manager may put a python3.13 there that only says it is not installed.
define FIND_PYTHON
find_python() { \
	check='import sys; sys.exit(sys.version_info < (3, 11))'; \
	[ -n "$$uv" ] || check="import ensurepip, venv; $$check"; \
	if [ -n "$(PYTHON)" ]; then \
		if "$(PYTHON)" -c "$$check" >/dev/null 2>&1; then command -v "$(PYTHON)"; return 0; fi; \
		echo "tickdeck: PYTHON=$(PYTHON) is not a Python 3.11 or newer with the venv module; choose another, or leave it out" >&2; \
		return 1; \
	fi; \
	for name in python3.13 python3.12 python3.11 python3; do \
		rest="$$PATH:"; \
		while [ -n "$$rest" ]; do \
			candidate="$${rest%%:*}/$$name"; rest="$${rest#*:}"; \
			if [ -x "$$candidate" ] && "$$candidate" -c "$$check" >/dev/null 2>&1; then echo "$$candidate"; return 0; fi; \
		done; \
	done; \
	echo "tickdeck: no Python 3.11 or newer with the venv module was found on PATH; install one (on Debian also python3-venv), or say make PYTHON=/path/to/python" >&2; \
	return 1; \
}
endef

.PHONY: help demo test test-all lint format types bench bench-peers bench-check chaos parity flips fuzz soak determinism constraints clean setup

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z][a-z-]*:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Create .venv and install the project, its dependencies and the tools, all at pinned versions

# A .venv that works is kept; one whose interpreter is gone or too old is made again. The constraints hold for the build
# backend too, hence the variables: the option -c does not reach an isolated build.
$(STAMP): pyproject.toml constraints.txt
	@set -e; $(FIND_PYTHON); \
	uv="$$(command -v uv || true)"; \
	if [ -n "$$uv" ] && ! uv --version >/dev/null 2>&1; then uv=; fi; \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
		python="$$(find_python)" || exit 1; \
		echo "Creating $(VENV) with $$("$$python" --version)" >&2; \
		if [ -n "$$uv" ]; then uv venv --quiet --clear --python "$$python" $(VENV); \
		else "$$python" -m venv --clear $(VENV); fi; \
	fi; \
	if [ -z "$$uv" ] && ! $(BIN)/python -m pip --version >/dev/null 2>&1; then $(BIN)/python -m ensurepip >/dev/null; fi; \
	echo "Installing tickdeck and its tools into $(VENV); this takes a minute the first time" >&2; \
	if [ -n "$$uv" ]; then \
		uv pip install --quiet --python $(BIN)/python -c constraints.txt -b constraints.txt -e '.[dev]'; \
	else \
		PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 \
			$(BIN)/python -m pip install --quiet -e '.[dev]'; \
	fi
	@touch $@

demo: $(STAMP) ## Record an embedded venue, replay it, prove that both agree, analyse its spreads, trade on it
	@$(BIN)/tickdeck demo $(ARGS)

# Bytecode is written whatever the environment says: else each of hundreds of processes that the tests start compiles
# every module again, and so does the collection of the tests (18 s of processor time in place of 8, per worker).
test: $(STAMP) ## Run the tests in parallel
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-all: $(STAMP) ## Run the tests that are too slow for `make test`, and its properties on more examples, in parallel
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal -m "(slow or hypothesis) and not network" \
		--hypothesis-profile=more $(ARGS)

lint: $(STAMP) ## Check rules and formatting with ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(STAMP) ## Repair rules and formatting where ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(STAMP) ## Check types with mypy --strict
	@$(BIN)/mypy $(ARGS)

bench: $(STAMP) ## Measure importing, recording and replaying
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(STAMP) ## Measure other systems at the same jobs on the same data, in turns, each in an environment of its own
	@$(BIN)/python -m benchmarks backtest fast peers --peers --repeats 7 $(ARGS)

bench-check: $(STAMP) ## Compare speed with the stored reference, and fail on a loss of 15 % or on other work
	@$(BIN)/python -m benchmarks check $(ARGS)

chaos: $(STAMP) ## Kill, starve and damage a recording, and see that nothing flushed is lost
	@$(BIN)/python -m tests.chaos $(ARGS)

parity: $(STAMP) ## Trade on paper on every embedded venue, with disconnects, and compare each session with its replay
	@$(BIN)/python -m tests.replay.paper.long_parity $(ARGS)

flips: $(STAMP) ## Flip bits of a recording, and see that nothing answers from them without a word
	@$(BIN)/python -m tests.flips $(ARGS)

fuzz: $(STAMP) ## Import mutated frames and files by compiled code and without, and compare everything
	@$(BIN)/python -m tests.fuzz $(ARGS)

soak: $(STAMP) ## Record and replay for long, and watch memory and disk
	@$(BIN)/python -m tests.soak $(ARGS)

determinism: $(STAMP) ## Compare digests across processes, hash seeds and batch sizes
	@$(BIN)/python -m benchmarks.determinism $(ARGS)

# Resolved with the oldest Python that we support, since some packages have given it up in their newest version; what
# is found is then tried on every newer Python on PATH.
constraints: ## Resolve constraints.txt again (needs python3.11, or PYTHON=...)
	@set -e; python="$(or $(PYTHON),python3.11)"; \
	[ "$$("$$python" -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null)" = "3 11" ] || { \
		echo "tickdeck: constraints are resolved with Python 3.11, which $$python is not; say make constraints PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	folder="$$(mktemp -d)"; trap 'rm -rf "$$folder"' EXIT; \
	"$$python" -m venv "$$folder/venv"; \
	"$$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]' hatchling editables; \
	sed '/^[^#]/,$$d' constraints.txt > "$$folder/constraints.txt"; \
	"$$folder/venv/bin/python" -m pip freeze --exclude-editable --disable-pip-version-check \
		| grep -E '^[A-Za-z0-9._-]+==' | grep -viE '^(pip|setuptools|wheel|tickdeck)==' >> "$$folder/constraints.txt"; \
	for newer in python3.12 python3.13; do \
		if "$$newer" -c 'import venv' >/dev/null 2>&1; then \
			"$$newer" -m venv "$$folder/$$newer"; \
			PIP_CONSTRAINT="$$folder/constraints.txt" PIP_BUILD_CONSTRAINT="$$folder/constraints.txt" \
				"$$folder/$$newer/bin/python" -m pip install --quiet --disable-pip-version-check --dry-run '.[dev]'; \
			echo "resolves with $$newer too" >&2; \
		else echo "not tried with $$newer: it is not installed" >&2; fi; \
	done; \
	cp "$$folder/constraints.txt" constraints.txt

clean: ## Remove .venv, builds and caches, never a recording
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis htmlcov .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
