# What the scripts in this folder share: how they stop, what they check first, how they ask kubectl.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
namespace=${NAMESPACE:-todolist}
# shellcheck disable=SC2034 # the scripts use it
build=$root/.build

# What `die` says first.
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

# confirm QUESTION: whether data may go. VOLUMES=keep or delete answers it; without a terminal there is nobody to ask, and
# keeping is the answer that can be taken back.
confirm() {
  local answer=${VOLUMES:-}
  [[ $answer =~ ^(keep|delete)?$ ]] || die "VOLUMES is $answer: it can be keep, delete or unset"
  if [ -z "$answer" ] && [ -t 0 ]; then
    read -rp "$1 [y/N] " answer
  fi
  [[ $answer == [yY]* || $answer == delete ]]
}

# check MODULE ARGUMENT...: one of the checks in deploy/doctor/, which `make doctor` makes, too. It prints its answer, or
# ends the script with a line that says what is in the way.
check() {
  local words
  { words=$(PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" -m "deploy.doctor.$1" "${@:2}" 2>&1 >&3 3>&-) ||
    die "$words"; } 3>&1
  [ -z "$words" ] || echo "$words" >&2
}

# The address of `make run` in this folder; fails when it is not on.
here() {
  ${HOLD_INTERRUPT:-} "${PYTHON:-false}" -m deploy.local.here
}

# For what works with `make run` and in a cluster: what comes now is about a cluster, as `make run` is not on.
here_or_cluster() {
  before="\`make run\` is not on in this folder: start it in another terminal. Or in a cluster: "$'\n'
}

# For what works in a cluster only, to those who meant `make run`.
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

# From here on everything speaks to the cluster that is the current one now, whatever another terminal does meanwhile:
# kubectl takes the current context from the first file that has one, and all else from the others.
pin_context() {
  local current
  current=${CONTEXT:-$(kubectl config current-context 2>/dev/null || true)}
  [ -n "$current" ] || return 0
  pinned=$(mktemp)
  trap 'rm -f "$pinned"' EXIT
  printf 'apiVersion: v1\nkind: Config\ncurrent-context: "%s"\n' "$current" >"$pinned"
  export KUBECONFIG=$pinned:${KUBECONFIG:-$HOME/.kube/config}
}

# Stops at a cluster that is too old for what versions.mk names.
need_kubernetes() {
  doctor kubernetes
}

# Whether the API server knows a kind, by its group.
has_kind() {
  [ "$(check access serves "${1#*.}")" ]
}

# Whether this cluster's Istio has a part: ambient or cni.
has_part() {
  [[ " $(check mesh parts) " == *" $1 "* ]]
}

need_istio() {
  check mesh istio
  check mesh gateway-api-fields
}

need_ambient() {
  doctor ambient
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
  ! has_kind triggers.eventing.knative.dev || kinds+=,triggers.eventing.knative.dev
  kubectl delete "$kinds" \
    --namespace="$namespace" --selector=lesson --ignore-not-found >/dev/null
}
