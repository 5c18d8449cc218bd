#!/usr/bin/env bash
# Deploys or updates the application in the current cluster, and waits until it is ready. The order is in main, then in
# deploy_istio, deploy_ambient or deploy_knative. The files in deploy/ are not edited: render.sh writes overlays to
# .build/deploy/.
# shellcheck source=deploy/scripts/render.sh
. "$(dirname "$0")/render.sh"

main() {
  check_preconditions
  say "deploying $REGISTRY/{todolist,user,rule}:$TAG to namespace $namespace, TARGET=$TARGET"
  make_namespace
  make_secrets
  remove_unwanted
  "deploy_$TARGET"
  remove_tls
  delete_lesson
  say "ready: \`make url\` prints its address"
  echo "The account admin has the password that this prints:"
  echo "  kubectl get secret user-admin --namespace=$namespace --output=go-template='{{.data.password | base64decode}}'"
}

databases=(statefulset/user-database statefulset/rule-database)
deployments=(deployment/user-v1 deployment/user-v2 deployment/rule deployment/todolist)

deploy_istio() {
  render istio istio
  apply istio
  wait_for "${databases[@]}" "${deployments[@]}" deployment/ingress-istio
}

deploy_ambient() {
  render ambient ambient
  apply ambient
  wait_for "${databases[@]}" "${deployments[@]}" deployment/ingress-istio deployment/waypoint
}

# A Knative Service has one pod template at a time, so its two revisions take two steps. The first is skipped if user-v1
# is ready and has the right image.
deploy_knative() {
  has_kind brokers.eventing.knative.dev || EVENTING=no
  render_activator activator
  apply activator
  if [ "${EVENTING:-}" = no ]; then
    say "without Knative Eventing: rule sends its events directly to user"
  else
    render_eventing eventing
    apply eventing
  fi
  if [ "$(revision_image user-v1) $(revision_ready user-v1)" != "$REGISTRY/user:$TAG True" ]; then
    delete_revision user-v1 user-v2
    say "first step: user-v1, and what it needs"
    render first-step base knative/namespace.yaml knative/security.yaml knative/user-v1.yaml
    apply first-step
    wait_for "${databases[@]}" revision/user-v1
  fi
  if [ "$(revision_image user-v2)" != "$REGISTRY/user:$TAG" ]; then
    delete_revision user-v2 user-v1
    say "second step: user-v2, the split, and everything else"
  fi
  render knative knative
  apply knative
  wait_for "${databases[@]}" ksvc/user ksvc/rule ksvc/todolist
  if [ "${EVENTING:-}" = no ] && has_kind brokers.eventing.knative.dev; then
    # Those of an earlier deployment: rule no longer posts to the broker.
    kubectl delete triggers.eventing.knative.dev,brokers.eventing.knative.dev --namespace="$namespace" \
      --selector=app.kubernetes.io/part-of=todolist --ignore-not-found
    kubectl delete authorizationpolicies.security.istio.io "$namespace"-{broker,channel,trigger} \
      --namespace=knative-eventing --ignore-not-found
  fi
}

check_preconditions() {
  [[ ${TIMEOUT:-} =~ ^[0-9]*$ ]] || die "TIMEOUT is $TIMEOUT: it is a number of seconds, such as 300"
  need_cluster
  doctor kubernetes
  need_istio
  case $namespace in
    default | kube-* | istio-system | knative-serving | knative-eventing) die "NAMESPACE=$namespace is the cluster's own: choose another" ;;
  esac
  case $TARGET in
    istio) ;;
    ambient)
      doctor ambient
      [ -z "${REQUEST_AUTHENTICATION:-}" ] ||
        die "REQUEST_AUTHENTICATION is for TARGET=istio: istiod does not configure a waypoint to fetch user's keys"
      ;;
    knative)
      doctor knative
      [ -z "${TLS:-}" ] ||
        die "TLS is for TARGET=istio and ambient: Knative has settings of its own for HTTPS (lessons/19-https/README.md)"
      [ -z "${REQUEST_AUTHENTICATION:-}" ] ||
        die "REQUEST_AUTHENTICATION is for TARGET=istio: a sidecar that fetches user's keys does not wait for a cold start of user"
      ;;
    *) die "TARGET=$TARGET: it must be istio, ambient or knative" ;;
  esac
  local deployed
  deployed=$(deployed_target)
  local other=
  [ "$deployed $TARGET" != "istio ambient" ] || other="; lesson 21 moves it under load, step by step (lessons/21-ambient/README.md)"
  [[ -z $deployed || $deployed = "$TARGET" ]] ||
    die "namespace $namespace has the objects of TARGET=$deployed, whose names are the same: \`make undeploy\` first, or choose NAMESPACE=$other"

  if [ "$(kubectl get "namespace/$namespace" --ignore-not-found --output=jsonpath='{.status.phase}')" = Terminating ]; then
    say "waiting for the deletion of the former namespace $namespace"
    kubectl wait "namespace/$namespace" --for=delete --timeout=180s
  fi
  check namespace "$namespace" "$TARGET"
  namespace_label=$(check mesh label "$TARGET" "$namespace")
}

make_namespace() {
  # The manifests contain the namespace, too, but the Secrets, which are created before them, need it.
  if [ -z "${KEEP_NAMESPACE:-}" ]; then
    render_namespace namespace
    kubectl apply --kustomize="$build/deploy/namespace"
  fi
  if [ -n "${IMAGE_PULL_SECRET:-}" ] && ! exists "secret/$IMAGE_PULL_SECRET"; then
    die "IMAGE_PULL_SECRET=$IMAGE_PULL_SECRET is not in namespace $namespace: kubectl create secret docker-registry" \
      "$IMAGE_PULL_SECRET --namespace=$namespace --docker-server=... --docker-username=... --docker-password=... creates it"
  fi
}

make_secrets() {
  NAMESPACE=$namespace "$root/deploy/scripts/secrets.sh"
  [ -z "${TLS:-}" ] || make_certificate
}

# The certificate of the ingress: a new one each time, from the CA in data/tls/. A Secret of yours is kept.
make_certificate() {
  local secret=secret/ingress-certificate label='{.metadata.labels.app\.kubernetes\.io/part-of}' tls=$root/data/tls
  if exists "$secret" && [ "$(kubectl get "$secret" --namespace="$namespace" --output=jsonpath="$label")" != todolist ]; then
    say "$secret is not from \`make deploy\`, and stays as it is"
    return
  fi
  (cd "$root" && .venv/bin/python -m deploy.local.authority "ingress-istio.$namespace.svc.cluster.local")
  kubectl create secret generic ingress-certificate --namespace="$namespace" --type=kubernetes.io/tls \
    --from-file=tls.crt="$tls/cluster.pem" --from-file=tls.key="$tls/cluster.key" --from-file=ca.crt="$tls/ca.pem" \
    --dry-run=client --output=yaml |
    kubectl label --local --filename=- app.kubernetes.io/part-of=todolist --output=yaml |
    kubectl apply --filename=-
}

# Removes options of an earlier deployment: applying a set does not delete anything.
remove_unwanted() {
  if [ -z "${NETWORK_POLICIES:-}" ]; then
    kubectl delete networkpolicies --namespace="$namespace" --selector=app.kubernetes.io/part-of=todolist >/dev/null
  fi
  if [ -z "${REQUEST_AUTHENTICATION:-}" ]; then
    kubectl delete requestauthentications.security.istio.io/todolist authorizationpolicies.security.istio.io/session \
      envoyfilters.networking.istio.io/refused-session \
      --namespace="$namespace" --ignore-not-found >/dev/null
  fi
}

# Removes what `make deploy TLS=1` added, once the routes are for HTTP again.
remove_tls() {
  [ -z "${TLS:-}" ] && [ "$TARGET" != knative ] || return 0
  kubectl delete httproutes.gateway.networking.k8s.io/https-redirect envoyfilters.networking.istio.io/tls-1-3 \
    --namespace="$namespace" --ignore-not-found >/dev/null
  kubectl delete secrets --namespace="$namespace" --field-selector=type=kubernetes.io/tls \
    --selector=app.kubernetes.io/part-of=todolist >/dev/null
}

# apply NAME: applies what render wrote. Runs kubectl diff first, because kubectl apply reports unchanged objects as
# "configured" if the server has set defaults in their lists.
apply() {
  if kubectl diff --kustomize="$build/deploy/$1" >/dev/null 2>&1; then
    echo "$1: unchanged"
  else
    kubectl apply --kustomize="$build/deploy/$1"
  fi
}

# wait_for KIND/NAME...: waits for each in turn. If one cannot become ready, prints why and ends the deployment.
wait_for() {
  NAMESPACE=$namespace "${PYTHON:-python3}" "$root/deploy/scripts/wait.py" "$@"
}

# revision NAME FIELD: a field of a revision, or nothing if there is none.
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

# delete_revision OLD OTHER: revisions are immutable, so OLD is deleted before a new image can get its name. OTHER gets
# all traffic meanwhile, and no request fails; if OTHER is not ready, the Service `user` is deleted, and
# the next step creates it again.
delete_revision() {
  exists "revision/$1" || return 0
  if [ "$(revision_ready "$2")" = True ]; then
    local template=
    if [ "$(template_name)" = "$1" ]; then
      # An earlier deployment failed at this step. The template still names OLD, so it becomes that of OTHER.
      template="\"template\":{\"metadata\":{\"name\":\"$2\"},\"spec\":$(revision "$2" '{.spec}')},"
    fi
    kubectl patch services.serving.knative.dev/user --namespace="$namespace" --type=merge \
      --patch="{\"spec\":{$template\"traffic\":[{\"revisionName\":\"$2\",\"percent\":100,\"tag\":\"${2#user-}\"}]}}"
    wait_for ksvc/user:RoutesReady
    kubectl delete "revision/$1" --namespace="$namespace"
  else
    # An earlier deployment failed. No data is lost: it is in the databases.
    say "user is recreated, because $2 is not ready"
    kubectl delete services.serving.knative.dev/user --namespace="$namespace"
    kubectl wait "revision/$1" --for=delete --timeout=60s --namespace="$namespace"
  fi
}

main
