# Everything that needs Docker or a cluster; the Makefile includes this file.

# Where the images go, and which ones are deployed. Knative does not try to look up dev.local/.
REGISTRY ?= dev.local
TAG ?= $(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo dev)
# istio, or knative.
TARGET ?= istio
NAMESPACE ?= todolist

ISTIO_VERSION ?= 1.30.5
GATEWAY_API_VERSION ?= v1.5.1
KNATIVE_VERSION ?= 1.23.0

export REGISTRY TAG TARGET NAMESPACE ISTIO_VERSION GATEWAY_API_VERSION KNATIVE_VERSION
# What these may be, in their order: linux/amd64,linux/arm64; more words for docker build; 1; 1; delete;
# seconds; a port on this machine.
export PLATFORMS DOCKER_FLAGS NETWORK_POLICIES REQUEST_AUTHENTICATION VOLUMES TIMEOUT PORT

##@ Images

.PHONY: build push test-images lint-deploy
build: ## Build the three images (REGISTRY=, TAG=, PLATFORMS=linux/amd64,linux/arm64)
	@deploy/images.sh build

push: ## Push them to REGISTRY, or load them into a kind or minikube cluster
	@deploy/images.sh push

test-images: .venv/dev.done ## Build them and run the whole system as containers
	@.venv/bin/python -m pytest --numprocesses=0 --timeout=900 tests/images

lint-deploy: ## Let checkov look at the Dockerfiles and at everything that is deployed
	@deploy/lint.sh

##@ A cluster

.PHONY: cluster install-istio install-knative install-kiali
cluster: ## Make a kind cluster with a local registry, if you have none
	@deploy/cluster.sh

install-istio: ## Install Istio and the Gateway API into the cluster
	@deploy/install.sh istio

install-knative: ## Install Knative Serving with net-istio into the cluster
	@deploy/install.sh knative

install-kiali: ## Install Kiali with Prometheus, Grafana and Jaeger
	@deploy/install.sh kiali

##@ The application in the cluster

.PHONY: deploy undeploy status url kiali traffic traffic-stop split logs verify
deploy: ## Deploy it and wait until it is ready (TARGET=istio or knative, NAMESPACE=)
	@deploy/deploy.sh

undeploy: ## Remove it; asks before the databases go
	@deploy/undeploy.sh

status: ## Show what runs, in which versions, and the split
	@deploy/status.sh

url: ## Tell how to open it, and forward a port if there is no load balancer (PORT=3001)
	@deploy/url.sh

kiali: ## Open Kiali's graph of it
	@deploy/kiali.sh

traffic: ## Send requests: to `make run` (RATE=5, DURATION=30s), else from inside the cluster until told to stop (RATE=2)
	@if url=$$($(or $(PYTHON),false) -m deploy.local.here); then $(MAKE) traffic-local TRAFFIC_URL=$$url; else deploy/traffic.sh start; fi

traffic-stop: ## Stop those in the cluster
	@deploy/traffic.sh stop

split: ## Change the split between the versions of user, of `make run` or else in the cluster: make split V1=90 V2=10
	@deploy/split.sh "$(V1)" "$(V2)"

logs: ## Follow the logs of the three services
	@deploy/logs.sh

verify: .venv/dev.done ## Prove that the deployment does what it should
	@deploy/verify.sh
