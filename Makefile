# `make help` lists the targets.
# Not bash, which reads BASH_ENV.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := $(shell sh deploy/scripts/python.sh 2>/dev/null)
VENV := .venv/bin
# Python prints a traceback if it receives SIGINT during its own start. GNU env blocks the signal until the program
# unblocks it (deploy/interrupts.py).
export HOLD_INTERRUPT := $(shell env --block-signal=INT true 2>/dev/null && echo env --block-signal=INT)
# The targets that were typed, for programs that name them; also if make runs make.
export TYPED := $(or $(TYPED),$(MAKECMDGOALS))
EXTRAS := todolist user rule local traffic dev
export PYTHON
# Settings such as N come from the command line or the environment, so make exports them: in recipes they are variables of
# the shell ("$$N"), which does not execute what they contain.

# Variables that a shell profile exports for other programs must have no effect here.
unexport BASH_ENV ENV CDPATH GLOBIGNORE POSIXLY_CORRECT SHELLOPTS BASHOPTS GREP_OPTIONS GREP_COLOR VIRTUAL_ENV
unexport $(filter BASH_FUNC_%,$(.VARIABLES)) $(filter-out PYTHON PYTHONUNBUFFERED,$(filter PYTHON%,$(.VARIABLES)))
# The same output in every locale, and UTF-8 even if the locale has another encoding.
export LC_ALL := C
export PYTHONUTF8 := 1
# Requests to this machine must not go through an HTTP proxy.
comma := ,
export no_proxy := $(if $(no_proxy)$(NO_PROXY),$(or $(no_proxy),$(NO_PROXY))$(comma))localhost,127.0.0.1,::1
export NO_PROXY := $(no_proxy)

# Several targets on one command line run in that order and stop at the first failure, whatever MAKEFLAGS says (-j4, -k).
.NOTPARALLEL:
before :=
$(foreach goal,$(MAKECMDGOALS),$(if $(before),$(eval $(goal): | $(before)))$(eval before := $(goal)))

##@ On this machine

.PHONY: doctor
doctor: ## Check this machine and the cluster: what works, what is missing, and the command that fixes it
	@python=$$(sh deploy/scripts/python.sh 2>/dev/null || sh deploy/scripts/python.sh 9) && exec $(HOLD_INTERRUPT) "$$python" -m deploy.doctor

.PHONY: run
run: .venv/local.done ## Start everything: the services, and one Envoy that acts as every proxy (PORT=3001, PORT_OFFSET=100, VERBOSE=1)
	@exec $(HOLD_INTERRUPT) $(VENV)/python -m deploy.local

.PHONY: traffic-local
traffic-local: .venv/traffic.done
	@TRAFFIC_URL=$(TRAFFIC_URL) TRAFFIC_CA=$(if $(filter https:%,$(TRAFFIC_URL)),data/tls/ca.pem) exec $(HOLD_INTERRUPT) $(VENV)/python -m deploy.traffic

##@ Lessons and riddles, on this machine and in a cluster

.PHONY: lessons lesson lesson-reset lessons-check
lessons: .venv/local.done ## List the lessons, and which one is on
	@$(HOLD_INTERRUPT) $(VENV)/python -m lessons.runner list

lesson: .venv/local.done ## Start a lesson, and check it: make lesson N=1 (DIFF=all shows the whole change)
	@$(HOLD_INTERRUPT) $(VENV)/python -u -m lessons.runner start "$$N" "$$DIFF"

lesson-reset: .venv/local.done ## End a lesson: restore the configuration from the start
	@$(HOLD_INTERRUPT) $(VENV)/python -m lessons.runner reset

lessons-check: .venv/local.done ## Run all lessons that can run here, and check each
	@$(HOLD_INTERRUPT) $(VENV)/python -u -m lessons.runner check

.PHONY: riddle riddle-reset
riddle: .venv/local.done ## Something is wrong: find out what (N=7, ANSWER="where, and what", HINT=1, REVEAL=1)
	@$(HOLD_INTERRUPT) $(VENV)/python -u -m riddles.runner play

riddle-reset: .venv/local.done ## End a riddle: restore the initial configuration
	@$(HOLD_INTERRUPT) $(VENV)/python -m riddles.runner reset

.PHONY: clean
clean: ## Remove everything that was installed or created; asks before the data of `make run` goes
	@deploy/scripts/clean.sh

##@ For developers

.PHONY: test
test: .venv/dev.done .venv/local.done .venv/traffic.done .venv/crds.done ## Run the tests that need neither a cluster nor Docker (TESTS=tests/rule for some)
	@$(VENV)/pytest $(TESTS)

.PHONY: test-faults
test-faults: .venv/dev.done ## Break, overload and attack the system for 15 minutes, and write docs/reliability.md
	@$(VENV)/pytest --dist load --maxschedchunk 1 --timeout 600 $(or $(TESTS),tests/faults)

.PHONY: bench
bench: .venv/dev.done ## Measure the services beside a bare uvicorn for 10 minutes, and write docs/performance.md
	@$(VENV)/python -m tests.bench

.PHONY: lint
lint: .venv/dev.done ## Check style, types, dependencies, imports, shell scripts, Dockerfiles and workflows
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/deptry --no-ansi .
	@$(VENV)/lint-imports --no-cache --no-logo
	@git ls-files '*.sh' .ci | xargs $(VENV)/shellcheck
	@git ls-files '*Dockerfile' | xargs -r $(VENV)/hadolint
	@$(VENV)/zizmor --offline --quiet --persona=pedantic .github
	@if command -v actionlint >/dev/null; then PATH="$(VENV):$$PATH" actionlint; else \
		echo "actionlint is missing, so the expressions in .github were not checked: https://github.com/rhysd/actionlint"; fi

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

# Checked each time: its Python may have been removed, and its scripts contain the path of this folder.
.venv/pyvenv.cfg: FORCE
	@python=$$(sh deploy/scripts/python.sh) && exec $(HOLD_INTERRUPT) "$$python" -m deploy.environment

.venv/%.done: requirements/%.txt .venv/pyvenv.cfg
	@python=$$(sh deploy/scripts/python.sh) && exec $(HOLD_INTERRUPT) "$$python" -m deploy.environment $*

# The CRDs of Istio and the Gateway API, for the tests of the manifests, are part of their Go modules.
.venv/crds.done: deploy/versions.mk .venv/dev.done
	@GOMODCACHE="$(CURDIR)/.venv/go" GOFLAGS=-modcacherw go mod download \
		istio.io/api@v$(ISTIO_VERSION) sigs.k8s.io/gateway-api@$(GATEWAY_API_VERSION) && touch $@ || \
		echo "The CRDs could not be downloaded, which needs Go: the tests that need them are skipped"

.PHONY: FORCE
FORCE:

-include deploy/cluster.mk

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
