# Bare `make` prints the manual below: every line that begins with a target and carries a `##` text.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

# Whoever starts Python without a cache of compiled modules pays for it at every start.
unexport PYTHONDONTWRITEBYTECODE

ARGS ?=
BIN := .venv/bin
STAMPS := .venv/.made
LOG := .venv/pip.log
# Quiet when it works, the end of the log when it does not.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --no-compile
QUIETLY = >>$(LOG) 2>&1 || { tail -n 30 $(LOG); echo "Installing failed; the whole log is in $(LOG)." >&2; exit 1; }
LOCK := $(BIN)/uv --quiet pip compile --universal --generate-hashes --python-version 3.11 --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

# The newest Python that fits and can make virtual environments; `make PYTHON=/path/to/python ...` chooses another.
# Of one version the distribution's comes first: it is compiled with profile feedback, which an interpreter built on the
# spot seldom is, and that is a quarter of what a request costs.
PYTHONS := $(foreach minor,14 13 12 11,/usr/bin/python3.$(minor) python3.$(minor)) python3 python
define FIND_PYTHON
for python in $(if $(PYTHON),'$(PYTHON)',$(PYTHONS)); do \
	if "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
		>/dev/null 2>&1; then found=$$python; break; fi; \
done; \
if [ -z "$${found:-}" ]; then \
	echo "Numberline needs Python 3.11, 3.12, 3.13 or 3.14 with its venv module (on Debian: python3-venv)," >&2; \
	echo "and $(if $(PYTHON),PYTHON=$(PYTHON) is none,none was found; name one with make PYTHON=/path/to/python)." >&2; \
	exit 1; \
fi
endef

.PHONY: help
help: ## print this manual
	@echo "Numberline. Targets, each of which first sets up what it needs:"; echo
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'
	@echo; echo "ARGS='...' is passed on by run, test, bench and soak; PYTHON=... chooses the interpreter."

.PHONY: setup
setup: $(STAMPS)/project ## install the locked packages and Numberline itself into .venv
	@echo "Ready: $(BIN)/numberline --help, or make run"

.PHONY: run
run: $(STAMPS)/project ## start a server on https://localhost:8443 with a little stock and money
	@exec $(BIN)/numberline up $(ARGS)

.PHONY: test
test: $(STAMPS)/dev ## run all tests on SQLite and on a real PostgreSQL, two at a time; ARGS='-k attach --seed=7' one by one
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses=2)

.PHONY: soak
soak: $(STAMPS)/dev ## run the long tests as well: races, crashes, years of renewals
	@$(BIN)/python -m pytest --soak --hypothesis-profile=soak $(ARGS)

.PHONY: check
check: $(STAMPS)/dev ## format, style, types, import floors and dependencies
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

.PHONY: format
format: $(STAMPS)/dev ## rewrite the code in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: compare
compare: $(STAMPS)/dev ## attach by this build and another one, in turn (ARGS='HEAD~1 --engine sqlite')
	@$(BIN)/python -m benchmarks.compare $(ARGS)

.PHONY: bench
bench: $(STAMPS)/dev ## measure, half an hour, beside floors and peers (ARGS='attach --quick')
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: catalog
catalog: $(STAMPS)/project ## rebuild the packaged catalogue from its public sources
	@$(BIN)/numberline catalog build $(ARGS)

.PHONY: lock
lock: $(STAMPS)/dev ## renew requirements/*.txt: the newest versions that fit pyproject.toml, with hashes
	$(LOCK) --upgrade pyproject.toml --group dev --output-file requirements/dev.txt
	$(LOCK) --constraints requirements/dev.txt pyproject.toml --output-file requirements/run.txt
	$(LOCK) --constraints requirements/dev.txt --group build --output-file requirements/build.txt

.PHONY: clean
clean: ## remove everything that was installed or made here, but no server's data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis dist
	rm -rf tests/kit/sdk/node/node_modules
	find src tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a file under .venv/.made says what was installed; make compares it with what asks for it.

$(STAMPS)/venv:
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		$(FIND_PYTHON); echo "Making .venv with $$("$$found" --version)"; "$$found" -m venv .venv; \
	fi
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: requirements/run.txt requirements/build.txt | $(STAMPS)/venv
	@echo "Installing the locked packages"
	@$(PIP) --require-hashes -r requirements/run.txt -r requirements/build.txt $(QUIETLY)
	@touch $@

$(STAMPS)/project: pyproject.toml $(STAMPS)/run
	@$(PIP) --no-deps --no-build-isolation --no-index --editable . $(QUIETLY)
	@touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/project
	@echo "Installing the tools for tests and checks"
	@$(PIP) --require-hashes -r requirements/dev.txt $(QUIETLY)
	@touch $@
