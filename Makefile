# `make help` lists what can be typed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := $(firstword $(foreach python,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	command -v $(python) >/dev/null && $(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))
VENV := .venv/bin
# Python prints a traceback when Ctrl-C comes while it starts itself. GNU's env holds the signal back until the program wants
# it (deploy/interrupts.py).
export HOLD_INTERRUPT := $(shell env --block-signal=INT true 2>/dev/null && echo env --block-signal=INT)
EXTRAS := todolist user rule local traffic dev

PORT ?= 3001
export PYTHON RATE DURATION

##@ On this machine

.PHONY: run
run: .venv/local.done ## Start everything: the services, and an Envoy that plays every proxy (PORT=3001, VERBOSE=1)
	@exec $(HOLD_INTERRUPT) $(VENV)/python -m deploy.local

.PHONY: traffic-local
traffic-local: .venv/traffic.done
	@echo "Sending $(or $(RATE),5) requests a second to \`make run\` at $(TRAFFIC_URL), for $(or $(DURATION),30s)"
	@TRAFFIC_URL=$(TRAFFIC_URL) TRAFFIC_RATE=$$(awk 'BEGIN { print $(or $(RATE),5) / 4 }') $(HOLD_INTERRUPT) $(VENV)/python -m deploy.traffic \
		--locustfile deploy/traffic/locustfile.py --headless --only-summary --loglevel WARNING \
		--users 4 --spawn-rate 4 --run-time $(or $(DURATION),30s)

##@ Lessons, on this machine and in a cluster

.PHONY: lessons lesson lesson-reset lessons-check
lessons: .venv/local.done ## List the lessons, and say which one is on
	@$(HOLD_INTERRUPT) $(VENV)/python -m deploy.lessons list

lesson: .venv/local.done ## Start a lesson, and check it: make lesson N=1 (DIFF=all shows all that it changes)
	@$(HOLD_INTERRUPT) $(VENV)/python -u -m deploy.lessons start "$(N)" "$(DIFF)"

lesson-reset: .venv/local.done ## End a lesson: everything is as it was started
	@$(HOLD_INTERRUPT) $(VENV)/python -m deploy.lessons reset

lessons-check: .venv/local.done ## Run all lessons that can run here, and check each
	@$(HOLD_INTERRUPT) $(VENV)/python -u -m deploy.lessons check

.PHONY: clean
clean: ## Remove everything that was installed or created; asks before the data of `make run` goes
	@deploy/scripts/clean.sh

##@ For developers

.PHONY: test
test: .venv/dev.done ## Run all tests that need no cluster (TESTS=tests/rule for some)
	@$(VENV)/pytest $(TESTS)

.PHONY: test-faults
test-faults: .venv/dev.done ## Break, overload and attack the system for 8 minutes, and write docs/reliability.md
	@$(VENV)/pytest --dist load --maxschedchunk 1 --timeout 600 $(or $(TESTS),tests/faults)

.PHONY: bench
bench: .venv/dev.done ## Measure the services beside a bare uvicorn for 8 minutes, and write docs/performance.md
	@$(VENV)/python -m tests.bench

.PHONY: lint
lint: .venv/dev.done ## Check style, types, dependencies, imports, shell scripts, Dockerfiles and workflows
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/deptry --no-ansi .
	@$(VENV)/lint-imports --no-cache --no-logo
	@git ls-files '*.sh' .ci/run | xargs $(VENV)/shellcheck
	@git ls-files '*Dockerfile' | xargs -r $(VENV)/hadolint
	@$(VENV)/zizmor --offline --quiet --persona=pedantic .github
	@if command -v actionlint >/dev/null; then PATH="$(VENV):$$PATH" actionlint; else \
		echo "actionlint is missing, so nobody checked the expressions in .github: https://github.com/rhysd/actionlint has it"; fi

.PHONY: format
format: .venv/dev.done ## Format the Python files
	@$(VENV)/ruff check --fix-only .
	@$(VENV)/ruff format .

.PHONY: lock
lock: .venv/dev.done ## Update the dependencies and pin them, with their hashes
	@$(foreach extra,$(EXTRAS),$(VENV)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' --extra $(extra) --output-file requirements/$(extra).txt pyproject.toml;)

.PHONY: audit
audit: .venv/dev.done ## Look for known vulnerabilities in everything that is pinned
	@$(VENV)/python requirements/audit.py

# The environment needs a Python outside this folder, and its scripts name the folder. When that Python has gone, when the
# folder has another name, or when making it was interrupted, it is made anew. FORCE: to look each time.
.venv/pyvenv.cfg: FORCE
	@if ! { grep -qsF "$$(cd .venv 2>/dev/null && pwd -P)/bin/python" $(VENV)/pip && $(VENV)/python -c 'import pip' 2>/dev/null; }; then \
		$(if $(PYTHON),,echo "Python 3.11 or newer is missing: install it (Debian: apt install python3 python3-venv; macOS: brew install python)"; exit 1;) \
		[ ! -e $@ ] || echo "The environment in .venv cannot work (a renamed folder, a Python that has gone, or half made), and is made anew"; \
		rm -rf .venv; \
		$(HOLD_INTERRUPT) $(PYTHON) -m deploy.interrupts venv .venv || { rm -rf .venv; echo "Python's venv module is missing: apt install python3-venv"; exit 1; }; \
	fi

.PHONY: FORCE
FORCE:

.venv/%.done: requirements/%.txt .venv/pyvenv.cfg
	@echo "Installing requirements/$*.txt, once"
	@$(HOLD_INTERRUPT) $(VENV)/python -m deploy.interrupts pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $<
	@touch $@

-include deploy/cluster.mk

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
