# The versions of what is not ours, all of them: cluster.mk includes this file, and no other file names one.
#   make versions                          shows them
#   make versions ISTIO_VERSION=X.Y.Z      writes another one here; then make install-istio updates the cluster
#   make install-istio ISTIO_VERSION=X.Y.Z installs another one once
# Our own version is in pyproject.toml.
export ISTIO_VERSION ?= 1.31.4
# An Istio that others have installed may be older than ours: so old that it still knows all that the sets say.
export ISTIO_OLDEST ?= 1.26
export GATEWAY_API_VERSION ?= v1.6.3
export KNATIVE_VERSION ?= 1.23.0
# Older clusters are refused, by Knative itself, too; with newer ones nobody has tried it.
export KUBERNETES_OLDEST ?= 1.34
export KUBERNETES_NEWEST ?= 1.36
# Older ones lack `kubectl wait --for=create`.
export KUBECTL_OLDEST ?= 1.31
# Older ones make clusters that are older than KUBERNETES_OLDEST.
export KIND_OLDEST ?= 0.30
