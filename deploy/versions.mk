# The versions of Istio, the Gateway API, Knative, Kubernetes, kubectl and kind. Included by cluster.mk; no other file
# contains one.
#   make versions                          shows them
#   make versions ISTIO_VERSION=X.Y.Z      writes another one here; then make install-istio updates the cluster
#   make install-istio ISTIO_VERSION=X.Y.Z installs another one once
# Our own version is in pyproject.toml.
export ISTIO_VERSION ?= 1.31.4
# The oldest Istio, installed by others, that supports all the manifests.
export ISTIO_OLDEST ?= 1.26
export GATEWAY_API_VERSION ?= v1.6.3
export KNATIVE_VERSION ?= 1.23.0
# Older clusters are rejected, also by Knative itself; newer ones are not tested.
export KUBERNETES_OLDEST ?= 1.34
export KUBERNETES_NEWEST ?= 1.36
# Older ones lack `kubectl wait --for=create`.
export KUBECTL_OLDEST ?= 1.31
# Older ones create clusters that are older than KUBERNETES_OLDEST.
export KIND_OLDEST ?= 0.30
