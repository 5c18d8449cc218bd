# `make help` lists what can be typed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := $(firstword $(foreach python,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	command -v $(python) >/dev/null && $(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))
VENV := .venv/bin
EXTRAS := todolist user rule local traffic dev

PORT ?= 3001
export PYTHON RATE DURATION

##@ On this machine

.PHONY: run
run: .venv/local.done ## Start everything: the services, and an Envoy that plays every proxy (PORT=3001, VERBOSE=1)
	@exec $(VENV)/python -m deploy.local.mesh

.PHONY: traffic-local
traffic-local: .venv/traffic.done
	@echo "Sending $(or $(RATE),5) requests a second to \`make run\` at $(TRAFFIC_URL), for $(or $(DURATION),30s)"
	@TRAFFIC_URL=$(TRAFFIC_URL) TRAFFIC_RATE=$$(awk 'BEGIN { print $(or $(RATE),5) / 4 }') $(VENV)/locust \
		--locustfile deploy/traffic/locustfile.py --headless --only-summary --loglevel WARNING \
		--users 4 --spawn-rate 4 --run-time $(or $(DURATION),30s)

##@ Lessons, on this machine and in a cluster

.PHONY: lessons lesson lesson-reset lessons-check
lessons: .venv/local.done ## List the lessons, and say which one is on
	@$(VENV)/python -m deploy.lessons list

lesson: .venv/local.done ## Start a lesson, and check it: make lesson N=1
	@$(VENV)/python -u -m deploy.lessons start $(N)

lesson-reset: .venv/local.done ## End a lesson: everything is as it was started
	@$(VENV)/python -m deploy.lessons reset

lessons-check: .venv/local.done ## Run all lessons that can run here, and check each
	@$(VENV)/python -u -m deploy.lessons check

.PHONY: clean
clean: ## Remove everything that was installed or created: the environment, the databases, all caches
	@rm -rf .venv data .build test-results .hypothesis .pytest_cache .ruff_cache .mypy_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

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

.venv/%.done: requirements/%.txt
	@$(if $(PYTHON),,echo "Python 3.11 or newer is missing: install it (Debian: apt install python3 python3-venv; macOS: brew install python)"; exit 1)
	@test -x $(VENV)/python || $(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "Python's venv module is missing: apt install python3-venv"; exit 1; }
	@echo "Installing requirements/$*.txt, once"
	@$(VENV)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $<
	@touch $@

-include deploy/cluster.mk

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
