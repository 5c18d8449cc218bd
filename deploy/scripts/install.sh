#!/usr/bin/env bash
# Installs istio, knative or kiali into the cluster that kubectl points at, from the projects' own release files.
# Running it again is safe.
# shellcheck source=deploy/scripts/releases.sh
. "$(dirname "$0")/releases.sh"

istio() {
  [[ ${MODE:-} =~ ^(ambient)?$ ]] || die "MODE is $MODE: it can be ambient or unset"
  local version
  version=$(istio_version)
  if [ -n "$version" ] && older "$ISTIO_VERSION" "$version"; then
    die "this cluster has Istio $version, which is newer than $ISTIO_VERSION: it stays; ISTIO_VERSION=$version would keep it"
  fi
  download_istio
  say "installing the Gateway API $GATEWAY_API_VERSION"
  # On the server's side: these definitions are too large for the annotation that apply keeps.
  kubectl apply --server-side --filename="$gateway_api"
  say "installing Istio $ISTIO_VERSION"
  # An ingress that is there already stays: it is Knative's, or somebody else's.
  install_istio "$(kubectl get deployment/istio-ingressgateway --namespace=istio-system --ignore-not-found --output=name)"
}

# install_istio GATEWAY: with the ingress that Knative uses, unless it is empty. Ambient mode, if it is there, stays.
install_istio() {
  local options=(--filename="$root/deploy/install/istio.yaml")
  if [ "${MODE:-}" = ambient ] || has_ambient; then
    options+=(--filename="$root/deploy/install/ambient.yaml")
    # Where istio-cni finds the network of a pod, if Docker runs the pods, as in minikube and Docker Desktop.
    case $(kubectl get nodes --output=jsonpath='{.items[*].status.nodeInfo.containerRuntimeVersion}') in
      *docker://*) options+=(--set=values.cni.cniNetnsDir=/var/run/docker/netns) ;;
    esac
  fi
  [ -z "$1" ] || options+=(--filename="$root/deploy/install/knative.yaml")
  "$istioctl" install --skip-confirmation "${options[@]}"
}

knative() {
  need_istio
  if ! kubectl get deployment/istio-ingressgateway --namespace=istio-system --output=name >/dev/null 2>&1; then
    download_istio
    say "adding istio-ingressgateway, the ingress that Knative uses"
    install_istio istio-ingressgateway
  fi
  say "installing Knative Serving $KNATIVE_VERSION"
  kubectl apply --filename="$serving/serving-crds.yaml"
  kubectl wait --for=condition=Established --timeout=60s crd --selector=knative.dev/crd-install=true
  # Before the pods: under strict mutual TLS Knative's activator and autoscaler need sidecars too.
  kubectl get namespace knative-serving >/dev/null 2>&1 || kubectl create namespace knative-serving
  kubectl label namespace knative-serving istio-injection=enabled --overwrite
  kubectl apply --filename="$serving/serving-core.yaml"
  kubectl apply --filename="$net_istio"
  kubectl wait --for=condition=Available --timeout=300s deployment --all --namespace=knative-serving
  # Knative looks up every image's digest, which it cannot for images that only the nodes have or
  # for a registry that only the nodes reach under this name.
  kubectl patch configmap/config-deployment --namespace=knative-serving --type=merge \
    --patch='{"data":{"registries-skipping-tag-resolving":"kind.local,ko.local,dev.local,localhost:5001"}}'
  # sslip.io resolves to the address in the name; a port-forward stands in for a load balancer.
  local address
  address=$(load_balancer istio-ingressgateway istio-system)
  case $address in
    *[!0-9.]* | "") address=127.0.0.1 ;;
  esac
  kubectl patch configmap/config-domain --namespace=knative-serving --type=merge \
    --patch="{\"data\":{\"$address.sslip.io\":\"\"}}"
}

# ADDONS names some of them, for a small machine.
kiali() {
  need_istio
  local addon files=() wanted=" ${ADDONS:-prometheus kiali grafana jaeger} "
  for addon in $wanted; do
    case $addon in
      prometheus | grafana | jaeger) files+=("--filename=$addons/$addon.yaml") ;;
      kiali) ;;
      *) die "ADDONS knows prometheus, kiali, grafana and jaeger, and not $addon" ;;
    esac
  done
  [[ $wanted == *" prometheus "* && $wanted == *" kiali "* ]] || die "ADDONS needs prometheus and kiali: the graph is made of both"
  download_istio
  say "installing$wanted"
  kubectl apply "${files[@]}"
  # The release's Kiali has tracing off; Jaeger is where Kiali looks for it by default.
  local tracing=false
  [[ $wanted != *" jaeger "* ]] || tracing=true
  awk -v to="$tracing" '/^ *tracing:/ { tracing = 1 } tracing && /enabled: false/ { sub(/false/, to); tracing = 0 } { print }' \
    "$addons/kiali.yaml" | kubectl apply --filename=-
  # In ambient mode pods answer only callers in the mesh, so Prometheus is one. Elsewhere the label means nothing.
  kubectl patch deployment/prometheus --namespace=istio-system \
    --patch='{"spec":{"template":{"metadata":{"labels":{"istio.io/dataplane-mode":"ambient"}}}}}'
  # Kiali reads its configuration at start only.
  kubectl rollout restart deployment/kiali --namespace=istio-system
  kubectl rollout status deployment/kiali --namespace=istio-system --timeout=300s
}

need_cluster
need_kubernetes
"$1"
say "$1 is installed"
