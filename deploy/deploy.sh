#!/usr/bin/env bash
# Puts the application into the cluster that kubectl points at, or updates it, and waits until it is
# ready. The sets themselves stay as they are: render.sh says what differs.
# shellcheck source=deploy/render.sh
. "$(dirname "$0")/render.sh"

apply() {
  kubectl apply --kustomize="$build/deploy/$1"
}

wait_for() {
  python3 "$root/deploy/wait.py" --namespace="$namespace" --timeout="${TIMEOUT:-300}" "$@"
}

# make_secret NAME KEY: from standard input, so that the value is in no command line.
make_secret() {
  exists "secret/$1" && return
  kubectl create secret generic "$1" --namespace="$namespace" --from-file="$2=/dev/stdin"
  kubectl label "secret/$1" --namespace="$namespace" app.kubernetes.io/part-of=todolist >/dev/null
}

random_password() {
  head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n'
}

# Any 32 bytes are an Ed25519 private key; the 16 before them say so in PKCS #8.
random_token_key() {
  echo "-----BEGIN PRIVATE KEY-----"
  { printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040'; head -c 32 /dev/urandom; } | base64
  echo "-----END PRIVATE KEY-----"
}

make_secrets() {
  # Before the set, which has it too, because the Secrets need it.
  kubectl apply --filename=- <<EOF
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels: {istio-injection: enabled, app.kubernetes.io/part-of: todolist}
EOF
  random_password | make_secret user-database password
  random_password | make_secret rule-database password
  random_token_key | make_secret user-token-key key.pem
  random_password | make_secret user-admin password
}

# What an earlier deployment was asked for and this one is not: to apply a set takes nothing away.
remove_unwanted() {
  if [ -z "${NETWORK_POLICIES:-}" ]; then
    kubectl delete networkpolicies --namespace="$namespace" --selector=app.kubernetes.io/part-of=todolist >/dev/null
  fi
  if [ -z "${REQUEST_AUTHENTICATION:-}" ]; then
    kubectl delete requestauthentications.security.istio.io/todolist authorizationpolicies.security.istio.io/session \
      --namespace="$namespace" --ignore-not-found >/dev/null
  fi
}

databases=(statefulset/user-database statefulset/rule-database)

deploy_istio() {
  render istio istio
  apply istio
  wait_for "${databases[@]}" deployment/user-v1 deployment/user-v2 deployment/rule deployment/todolist \
    deployment/ingress-istio
}

deploy_knative() {
  render_activator activator
  apply activator
  render knative/v1 knative-v1
  render knative knative
  if [ "$(revision_image user-v1) $(revision_ready user-v1)" != "$REGISTRY/user:$TAG True" ]; then
    replace_revision user-v1 user-v2
    say "first step: user-v1 alone"
    apply knative-v1
    wait_for "${databases[@]}" revision/user-v1
  fi
  if [ "$(revision_image user-v2)" != "$REGISTRY/user:$TAG" ]; then
    replace_revision user-v2 user-v1
    say "second step: user-v2, and the split"
  fi
  apply knative
  wait_for "${databases[@]}" ksvc/user ksvc/rule ksvc/todolist
}

# revision NAME FIELD: what the cluster knows of a revision; nothing where there is none.
revision() {
  kubectl get "revision/$1" --namespace="$namespace" --output=jsonpath="$2" 2>/dev/null || true
}

revision_image() {
  revision "$1" '{.spec.containers[0].image}'
}

revision_ready() {
  revision "$1" '{.status.conditions[?(@.type=="Ready")].status}'
}

template_name() {
  kubectl get services.serving.knative.dev/user --namespace="$namespace" --output=jsonpath='{.spec.template.metadata.name}'
}

# replace_revision OLD OTHER: a revision never changes, so a new image takes its name after it is
# gone; until then the other one takes all traffic.
replace_revision() {
  exists "revision/$1" || return 0
  if [ "$(revision_ready "$2")" = True ]; then
    local template=
    if [ "$(template_name)" = "$1" ]; then
      # An earlier deployment failed at this step. A template may not change and keep its name.
      template="\"template\":{\"metadata\":{\"name\":\"$2\"},\"spec\":$(revision "$2" '{.spec}')},"
    fi
    kubectl patch services.serving.knative.dev/user --namespace="$namespace" --type=merge \
      --patch="{\"spec\":{$template\"traffic\":[{\"revisionName\":\"$2\",\"percent\":100,\"tag\":\"${2#user-}\"}]}}"
    wait_for traffic/user
    kubectl delete "revision/$1" --namespace="$namespace"
  else
    # The other one cannot take over: an earlier deployment failed. The databases keep what matters.
    say "user starts anew, because $2 is not ready"
    kubectl delete services.serving.knative.dev/user --namespace="$namespace"
    kubectl wait "revision/$1" --for=delete --timeout=60s --namespace="$namespace"
  fi
}

need_command python3 "https://www.python.org/downloads/ has it"
need_cluster
need_istio
case $namespace in
  default | kube-* | istio-system | knative-serving) die "NAMESPACE=$namespace is the cluster's own: choose another" ;;
esac
case $TARGET in
  istio) other=knative ;;
  knative)
    other=istio
    need_knative
    [ -z "${REQUEST_AUTHENTICATION:-}" ] ||
      die "REQUEST_AUTHENTICATION is for TARGET=istio: a sidecar that wants keys does not wait until user is awake"
    ;;
  *) die "TARGET=$TARGET is neither istio nor knative" ;;
esac
[ "$(deployed_target)" != "$other" ] ||
  die "namespace $namespace holds the $other set, whose names are the same: \`make undeploy\` first, or choose NAMESPACE="

if [ "$(kubectl get "namespace/$namespace" --ignore-not-found --output=jsonpath='{.status.phase}')" = Terminating ]; then
  say "waiting until the former namespace $namespace is gone"
  kubectl wait "namespace/$namespace" --for=delete --timeout=180s
fi
if exists "namespace/$namespace" && ! is_ours; then
  die "namespace $namespace exists and is not the application's own: choose another NAMESPACE="
fi

say "deploying $REGISTRY/{todolist,user,rule}:$TAG to namespace $namespace, TARGET=$TARGET"
make_secrets
remove_unwanted
"deploy_$TARGET"
say "ready: \`make url\` tells how to open it"
echo "The account admin has the password that this prints:"
echo "  kubectl get secret user-admin --namespace=$namespace --output=go-template='{{.data.password | base64decode}}'"
