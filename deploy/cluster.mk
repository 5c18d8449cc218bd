# The targets for Docker and a cluster; included by the Makefile. split, status and traffic serve `make run`, too.

# The registry that images are pushed to and pulled from, such as ghcr.io/you. Images of dev.local/ are never pulled:
# they are loaded into the cluster's nodes.
export REGISTRY ?= dev.local
# The tag of the images that are built, pushed and deployed. Default: the commit.
export TAG ?= $(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo dev)
# The set of manifests to deploy: istio, ambient or knative.
export TARGET ?= istio
# The namespace to deploy into: several users can share a cluster, each with a namespace.
export NAMESPACE ?= todolist

# The versions that `make install-*` installs, and the required versions of Kubernetes.
include deploy/versions.mk

# The others have no default here: docs/settings.md. From the command line or the environment make exports them itself.

##@ Images

.PHONY: build push test-images lint-deploy
build: ## Build the three images (REGISTRY=, TAG=, PLATFORMS=linux/amd64,linux/arm64)
	@deploy/scripts/images.sh build

push: ## Push them to REGISTRY, or load them into a kind or minikube cluster
	@deploy/scripts/images.sh push

test-images: ## Build them and run the whole system as containers
	@deploy/scripts/images.sh test_images

lint-deploy: ## Check the Dockerfiles and all manifests with checkov
	@deploy/scripts/lint.sh

##@ A cluster

.PHONY: cluster cluster-delete versions
cluster: ## Create a kind cluster with a local registry, if you have none
	@deploy/scripts/cluster.sh create

cluster-delete: ## Delete that cluster and its registry; asks before it deletes data
	@deploy/scripts/cluster.sh delete

.PHONY: install-istio install-knative install-kiali uninstall-istio uninstall-knative uninstall-kiali
install-istio: ## Install Istio and the Gateway API into the cluster (MODE=ambient for TARGET=ambient)
	@deploy/scripts/install.sh istio

install-knative: ## Install Knative Serving with net-istio, and Eventing, into the cluster (EVENTING=no)
	@deploy/scripts/install.sh knative

install-kiali: ## Install Kiali with Prometheus, Grafana and Jaeger (ADDONS="prometheus kiali" is the smallest)
	@deploy/scripts/install.sh kiali

uninstall-istio: ## Remove it, if nothing uses it any more
	@deploy/scripts/uninstall.sh istio

uninstall-knative: ## Remove them, if there is no Knative Service and no Broker any more
	@deploy/scripts/uninstall.sh knative

uninstall-kiali: ## Remove Kiali and all that was installed with it
	@deploy/scripts/uninstall.sh kiali

versions: SHELL := bash
versions: ## Show the versions to install, or write others into deploy/versions.mk: make versions KNATIVE_VERSION=X.Y.Z
	@for name in $$(sed -n 's/^export \([A-Z_]*\).*/\1/p' deploy/versions.mk); do \
		sed -i.before "s/^\(export $$name ?= \).*/\1$${!name}/" deploy/versions.mk && rm deploy/versions.mk.before; done
	@sed -n 's/^export \([A-Z_]*\) ?=/\1/p' deploy/versions.mk

##@ The application in the cluster

.PHONY: deploy undeploy status url kiali traffic traffic-stop split logs verify
deploy: $(if $(filter 1,$(TLS)),.venv/local.done) ## Deploy it and wait until it is ready (TARGET=istio, ambient or knative, NAMESPACE=)
	@deploy/scripts/deploy.sh

undeploy: ## Remove it; asks before it deletes the databases
	@deploy/scripts/undeploy.sh

status: ## Show what runs, in which versions, the split, and the lesson that is on
	@deploy/scripts/status.sh

url: ## Show how to open it, and forward a port if there is no load balancer (PORT=3001)
	@deploy/scripts/url.sh

kiali: ## Open Kiali's graph of it
	@deploy/scripts/kiali.sh

traffic: ## Send requests: to `make run` (RATE=5, DURATION=30s), else from inside the cluster until `make traffic-stop` (RATE=2)
	@deploy/scripts/traffic.sh check_settings && if url=$$($(HOLD_INTERRUPT) $(or $(PYTHON),false) -m deploy.local.here); then $(MAKE) traffic-local TRAFFIC_URL=$$url; else deploy/scripts/traffic.sh start; fi

traffic-stop: ## Stop the requests in the cluster
	@deploy/scripts/traffic.sh stop

split: ## Change the split between the versions of user, in `make run` or else in the cluster: make split V1=90 V2=10
	@deploy/scripts/split.sh "$$V1" "$$V2"

logs: need-application ## Follow the logs of the three services
	@kubectl $(if $(CONTEXT),--context="$$CONTEXT") logs --namespace="$$NAMESPACE" --selector='app in (todolist, user, rule)' \
		--follow --prefix --tail=20 --max-log-requests=30

verify: need-application .venv/dev.done ## Test the deployment in the cluster
	@.venv/bin/python -m pytest --numprocesses=0 tests/cluster --no-header -p no:cacheprovider

# Checked before anything is installed.
.PHONY: need-application
need-application: SHELL := bash
need-application:
	@. deploy/scripts/lib.sh; only_a_cluster; need_cluster; need_application
