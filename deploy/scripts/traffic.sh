#!/usr/bin/env bash
# Starts or stops the load generator, which sends requests to the ingress from inside the cluster.
# shellcheck source=deploy/scripts/render.sh
. "$(dirname "$0")/render.sh"

# Its pod has the service account `default`, which belongs to the namespace.
pull_secret() {
  [ -n "${IMAGE_PULL_SECRET:-}" ] || return 0
  cat <<EOF
  - target: {kind: Deployment}
    patch: '[{"op": "add", "path": "/spec/template/spec/imagePullSecrets", "value": [{"name": "$IMAGE_PULL_SECRET"}]}]'
EOF
}

start() {
  need_application
  local out=$build/traffic url host='' ca=
  if [ "$deployed" = knative ]; then
    url=http://istio-ingressgateway.istio-system.svc.cluster.local
    host=$(kubectl get services.serving.knative.dev/todolist --namespace="$namespace" --output=jsonpath='{.status.url}')
    host=${host#http://}
  else
    url=http://ingress-istio.$namespace.svc.cluster.local
    if [ "$(certificate)" = ingress-certificate ]; then
      url=https:${url#http:} ca=/certificate/ca.crt
    fi
  fi
  rm -rf "$out"
  mkdir -p "$out"
  cat >"$out/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $namespace
resources:
  - ../../deploy/traffic
images:
$(mirrored_images)
patches:
$(pull_secret)
configMapGenerator:
  - name: traffic
    literals:
      - TRAFFIC_URL=$url
      - TRAFFIC_HOST=$host
      - TRAFFIC_CA=$ca
      - TRAFFIC_RATE=$(awk -v rate="${RATE:-2}" 'BEGIN { print rate / 2 }')
    options:
      labels:
        app.kubernetes.io/part-of: todolist
        app.kubernetes.io/name: traffic
EOF
  say "sending ${RATE:-2} requests a second to the $deployed set in namespace $namespace of $(kubectl config current-context)"
  kubectl apply --kustomize="$out"
  say "it continues until \`make traffic-stop\`"
}

stop() {
  kubectl delete deployment,configmap --namespace="$namespace" --ignore-not-found \
    --selector=app.kubernetes.io/part-of=todolist,app.kubernetes.io/name=traffic
}

# Also called before requests are sent to `make run`.
check_settings() {
  [[ ${RATE:-2} =~ ^[0-9]+([.][0-9]+)?$ && ${RATE:-2} == *[1-9]* ]] ||
    die "RATE is $RATE: it is a number of requests a second above 0, such as 2 or 0.5"
  [[ ${DURATION:-1s} =~ ^([0-9]+|([0-9]+h)?([0-9]+m)?([0-9]+s)?)$ && ${DURATION:-1s} == *[1-9]* ]] ||
    die "DURATION is $DURATION: it is a time above 0, such as 30s, 5m or 1h30m"
}

case $1 in
  check_settings)
    check_settings
    exit
    ;;
  start)
    check_settings
    here_or_cluster
    ;;
  stop) only_a_cluster ;;
esac
need_cluster
"$1"
