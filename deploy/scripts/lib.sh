# Shared by the scripts in this folder: errors, checks of preconditions, calls of kubectl.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
namespace=${NAMESPACE:-todolist}
# shellcheck disable=SC2034 # the scripts use it
build=$root/.build

# Printed by `die` before its message.
before=

die() {
  echo "$before$*" >&2
  exit 1
}

say() {
  echo "==> $*"
}

# doctor NAME...: checks of deploy/doctor/checks.py, as `make doctor` makes them. Ends the script if one finds something missing.
doctor() {
  PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" -m deploy.doctor check "$@" || exit 1
}

# confirm QUESTION: whether data may be deleted. VOLUMES=keep or delete answers it; without a terminal the data is kept.
confirm() {
  local answer=${VOLUMES:-}
  [[ $answer =~ ^(keep|delete)?$ ]] || die "VOLUMES is $answer: it can be keep, delete or unset"
  if [ -z "$answer" ] && [ -t 0 ]; then
    read -rp "$1 [y/N] " answer
  fi
  [[ $answer == [yY]* || $answer == delete ]]
}

# check MODULE ARGUMENT...: runs one of the checks of `make doctor` (deploy/doctor/). Prints its result and warnings, or
# ends the script with the error that it wrote to stderr.
check() {
  local words
  { words=$(PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" -m "deploy.doctor.$1" "${@:2}" 2>&1 >&3 3>&-) ||
    die "$words"; } 3>&1
  [ -z "$words" ] || echo "$words" >&2
}

# The URL of `make run` in this folder; fails if it is not running.
here() {
  ${HOLD_INTERRUPT:-} "${PYTHON:-false}" -m deploy.local.here
}

# For commands that work with `make run` and in a cluster: from here on errors are about the cluster, as `make run` is
# not running.
here_or_cluster() {
  before="\`make run\` is not on in this folder: start it in another terminal. Or in a cluster: "$'\n'
}

# For commands that need a cluster: a hint, if `make run` is running, that they do not work with it.
only_a_cluster() {
  local url
  if url=$(here); then
    before="This works in a cluster only, and not with \`make run\`, which is on at $url."$'\n'
  fi
}

need_cluster() {
  [ -n "${PYTHON:-}" ] || PYTHON=$(sh "$root/deploy/scripts/python.sh" 9)
  export PYTHON
  pin_context
  check access
}

# Pins the current context, so that another terminal cannot switch the cluster meanwhile: kubectl reads the current
# context from the first file that has one, and everything else from the others.
pin_context() {
  local current
  current=${CONTEXT:-$(kubectl config current-context 2>/dev/null || true)}
  [ -n "$current" ] || return 0
  pinned=$(mktemp)
  trap 'rm -f "$pinned"' EXIT
  printf 'apiVersion: v1\nkind: Config\ncurrent-context: "%s"\n' "$current" >"$pinned"
  export KUBECONFIG=$pinned:${KUBECONFIG:-$HOME/.kube/config}
}

# Whether the API server serves the group of a kind.
has_kind() {
  [ "$(check access serves "${1#*.}")" ]
}

# Whether this cluster's Istio has a component: ambient or cni.
has_part() {
  [[ " $(check mesh parts) " == *" $1 "* ]]
}

need_istio() {
  check mesh istio
  check mesh gateway-api-fields
}

# Sets `deployed` to the set in the namespace, or ends the script.
need_application() {
  deployed=$(deployed_target)
  [ -n "$deployed" ] ||
    die "the application is not in namespace $namespace: \`make deploy\` deploys it"
}

# The set in the namespace: istio, ambient, knative, or nothing. While lesson 21 migrates the namespace, the former one.
deployed_target() {
  if has_kind services.serving.knative.dev && exists services.serving.knative.dev/todolist; then
    echo knative
  elif exists deployment/todolist; then
    kubectl get "namespace/$namespace" --output=go-template='{{or (index .metadata.labels "moving") (index .metadata.labels "istio.io/dataplane-mode") "istio"}}'
  fi
}

# The Secret with the certificate of the ingress: ingress-certificate (`make deploy TLS=1`), that of lesson 19, or nothing.
certificate() {
  kubectl get gateways.gateway.networking.k8s.io/ingress --namespace="$namespace" --ignore-not-found \
    --output=jsonpath='{.spec.listeners[?(@.name=="https")].tls.certificateRefs[0].name}'
}

exists() {
  kubectl get "$1" --namespace="$namespace" --output=name >/dev/null 2>&1
}

# Whether `make deploy` created the namespace; any other may contain other applications.
is_ours() {
  [ "$(kubectl get "namespace/$namespace" --output=go-template='{{index .metadata.labels "app.kubernetes.io/part-of"}}')" = todolist ]
}

# The active lesson, from the label of these objects; nothing if there is none.
deployed_lesson() {
  kubectl get envoyfilters.networking.istio.io/lesson-mark httproutes.gateway.networking.k8s.io/todolist \
    --namespace="$namespace" --ignore-not-found --output=jsonpath='{.items[*].metadata.labels.lesson}' | cut -d' ' -f1
}

# Deletes objects that a lesson added: they have the label `lesson`. Objects that a lesson replaced no longer have it, as
# the set was applied again before.
delete_lesson() {
  local istio=networking.istio.io security=security.istio.io
  local kinds="virtualservices.$istio,destinationrules.$istio,envoyfilters.$istio,authorizationpolicies.$security"
  kinds+=",sidecars.$istio,serviceentries.$istio"
  kinds+=",requestauthentications.$security,httproutes.gateway.networking.k8s.io,deployments.apps,services,configmaps,secrets"
  ! has_kind triggers.eventing.knative.dev || kinds+=,triggers.eventing.knative.dev
  kubectl delete "$kinds" \
    --namespace="$namespace" --selector=lesson --ignore-not-found >/dev/null
}
