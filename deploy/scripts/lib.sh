# What the scripts in this folder share: how they stop, what they check first, how they ask kubectl.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
namespace=${NAMESPACE:-todolist}
# shellcheck disable=SC2034 # the scripts use it
build=$root/.build

die() {
  echo "$*" >&2
  exit 1
}

say() {
  echo "==> $*"
}

# doctor NAME...: checks of deploy/doctor/checks.py, as `make doctor` makes them. Ends the script if one finds something missing.
doctor() {
  PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" -m deploy.doctor check "$@" || exit 1
}

# confirm QUESTION: whether data may go. VOLUMES=keep or delete answers it; without a terminal there is nobody to ask, and
# keeping is the answer that can be taken back.
confirm() {
  local answer=${VOLUMES:-}
  if [ -z "$answer" ] && [ -t 0 ]; then
    read -rp "$1 [y/N] " answer
  fi
  [[ $answer == [yY]* || $answer == delete ]]
}

need_command() {
  command -v "$1" >/dev/null || die "$1 is missing: $2"
}

need_cluster() {
  need_command kubectl "https://kubernetes.io/docs/tasks/tools/ tells how to install it"
  kubectl get --raw /version --request-timeout=10s >/dev/null 2>&1 ||
    die "no cluster answers kubectl: \`make cluster\` makes one with kind, or point kubectl at yours"
}

# older A B: whether version A, such as v1.34.2, is of an earlier minor version than B.
older() {
  local a b
  IFS=. read -ra a <<<"${1#v}"
  IFS=. read -ra b <<<"${2#v}"
  ((a[0] * 1000 + ${a[1]%%[!0-9]*} < b[0] * 1000 + ${b[1]%%[!0-9]*}))
}

# Stops at a cluster that is too old for what versions.mk names.
need_kubernetes() {
  doctor kubernetes
}

# The version of istiod, by its image; nothing where there is none, or an image without a version.
istio_version() {
  kubectl get deployments --namespace=istio-system --selector=app=istiod \
    --output=jsonpath='{.items[*].spec.template.spec.containers[0].image}' |
    sed -n 's/^[^ ]*:\([0-9]*\.[0-9]*\.[0-9]*\).*/\1/p'
}

has_kind() {
  kubectl get crd "$1" --output=name >/dev/null 2>&1
}

need_istio() {
  has_kind virtualservices.networking.istio.io ||
    die "Istio is missing in this cluster: \`make install-istio\` installs it"
  has_kind gateways.gateway.networking.k8s.io ||
    die "the Gateway API is missing in this cluster: \`make install-istio\` installs it"
  local version
  version=$(istio_version)
  if [ -n "$version" ] && older "$version" "$ISTIO_VERSION"; then
    die "this cluster has Istio $version, which is older than $ISTIO_VERSION: \`make install-istio\` updates it"
  fi
}

need_ambient() {
  doctor ambient
}

has_ambient() {
  kubectl get daemonset/ztunnel --namespace=istio-system --output=name >/dev/null 2>&1
}

need_knative() {
  doctor knative
}

# Sets `deployed` to the set that the namespace holds.
need_application() {
  deployed=$(deployed_target)
  [ -n "$deployed" ] ||
    die "the application is not in namespace $namespace: \`make deploy\` puts it there"
}

# The set that the namespace holds: istio, ambient, knative, or nothing.
deployed_target() {
  if has_kind services.serving.knative.dev && exists services.serving.knative.dev/todolist; then
    echo knative
  elif exists deployment/todolist; then
    kubectl get "namespace/$namespace" --output=go-template='{{or (index .metadata.labels "istio.io/dataplane-mode") "istio"}}'
  fi
}

exists() {
  kubectl get "$1" --namespace="$namespace" --output=name >/dev/null 2>&1
}

# The address that the cluster's load balancer gave a Service; nothing where there is none.
load_balancer() {
  kubectl get service "$1" --namespace="$2" \
    --output=jsonpath='{.status.loadBalancer.ingress[0].ip}{.status.loadBalancer.ingress[0].hostname}' 2>/dev/null || true
}

# Whether `make deploy` made the namespace; one that it did not make may hold other things.
is_ours() {
  [ "$(kubectl get "namespace/$namespace" --output=go-template='{{index .metadata.labels "app.kubernetes.io/part-of"}}')" = todolist ]
}

# The lesson that is on, which one of these objects names; nothing when none is on.
deployed_lesson() {
  kubectl get envoyfilters.networking.istio.io/lesson-mark httproutes.gateway.networking.k8s.io/todolist \
    --namespace="$namespace" --ignore-not-found --output=jsonpath='{.items[*].metadata.labels.lesson}'
}

# Deletes what only a lesson adds: its objects have the label `lesson`. What a lesson replaced has lost it by then, as the set
# is applied again before.
delete_lesson() {
  local istio=networking.istio.io security=security.istio.io
  local kinds="virtualservices.$istio,destinationrules.$istio,envoyfilters.$istio,authorizationpolicies.$security"
  kinds+=",requestauthentications.$security,httproutes.gateway.networking.k8s.io,deployments.apps,services,configmaps"
  kubectl delete "$kinds" \
    --namespace="$namespace" --selector=lesson --ignore-not-found >/dev/null
}
