#!/usr/bin/env bash
# Installs istio, knative or kiali into the cluster that kubectl points at, from the projects' own
# release files in the versions of versions.mk. Running it again is safe.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

istio_release=$build/istio-$ISTIO_VERSION

# The official archive holds istioctl and the add-ons' manifests.
download_istio() {
  [ -x "$istio_release/bin/istioctl" ] && return
  need_command curl "your system's package manager has it"
  local os arch archive url
  case $(uname -s) in
    Darwin) os=osx ;;
    *) os=linux ;;
  esac
  case $(uname -m) in
    arm64 | aarch64) arch=arm64 ;;
    *) arch=amd64 ;;
  esac
  archive=istio-$ISTIO_VERSION-$os-$arch.tar.gz
  url=https://github.com/istio/istio/releases/download/$ISTIO_VERSION/$archive
  say "downloading Istio $ISTIO_VERSION"
  mkdir -p "$build"
  curl --fail --silent --show-error --location --output "$build/$archive" "$url"
  curl --fail --silent --show-error --location --output "$build/$archive.sha256" "$url.sha256"
  (cd "$build" && { sha256sum --check --status "$archive.sha256" 2>/dev/null || shasum -a 256 --check "$archive.sha256"; }) ||
    die "the download of $archive does not match its checksum: try again"
  tar -xzf "$build/$archive" -C "$build"
  rm "$build/$archive" "$build/$archive.sha256"
}

istio() {
  download_istio
  say "installing the Gateway API $GATEWAY_API_VERSION"
  # On the server's side: these definitions are too large for the annotation that apply keeps.
  kubectl apply --server-side --filename="https://github.com/kubernetes-sigs/gateway-api/releases/download/$GATEWAY_API_VERSION/standard-install.yaml"
  say "installing Istio $ISTIO_VERSION"
  "$istio_release/bin/istioctl" install --skip-confirmation --filename="$root/deploy/install/istio.yaml"
}

knative() {
  need_istio
  kubectl get deployment/istio-ingressgateway --namespace=istio-system --output=name >/dev/null 2>&1 ||
    die "Knative needs istio-ingressgateway in istio-system: \`make install-istio\` installs it"
  local serving=https://github.com/knative/serving/releases/download/knative-v$KNATIVE_VERSION
  local net_istio=https://github.com/knative-extensions/net-istio/releases/download/knative-v$KNATIVE_VERSION
  say "installing Knative Serving $KNATIVE_VERSION"
  kubectl apply --filename="$serving/serving-crds.yaml"
  kubectl wait --for=condition=Established --timeout=60s crd --selector=knative.dev/crd-install=true
  # Before the pods: under strict mutual TLS Knative's activator and autoscaler need sidecars too.
  kubectl create namespace knative-serving --dry-run=client --output=yaml | kubectl apply --filename=-
  kubectl label namespace knative-serving istio-injection=enabled --overwrite
  kubectl apply --filename="$serving/serving-core.yaml"
  kubectl apply --filename="$net_istio/net-istio.yaml"
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

kiali() {
  need_istio
  download_istio
  local addons=$istio_release/samples/addons
  say "installing Prometheus, Grafana, Jaeger and Kiali"
  kubectl apply --filename="$addons/prometheus.yaml" --filename="$addons/grafana.yaml" --filename="$addons/jaeger.yaml"
  # The release's Kiali has tracing off; Jaeger is where Kiali looks for it by default.
  awk '/^ *tracing:/ { tracing = 1 } tracing && /enabled: false/ { sub(/false/, "true"); tracing = 0 } { print }' \
    "$addons/kiali.yaml" | kubectl apply --filename=-
  # Kiali reads its configuration at start only.
  kubectl rollout restart deployment/kiali --namespace=istio-system
  kubectl rollout status deployment/kiali --namespace=istio-system --timeout=300s
}

need_cluster
"$1"
say "$1 is installed"
