#!/usr/bin/env bash
# Installs istio, knative or kiali into the current cluster, from the projects' own release files. Idempotent.
# shellcheck source=deploy/scripts/releases.sh
. "$(dirname "$0")/releases.sh"

istio() {
  [[ ${MODE:-} =~ ^(ambient|cni)?$ ]] || die "MODE is $MODE: it can be ambient, cni or unset"
  local answer
  answer=$(check mesh install)
  install_gateway_api
  if [ "$answer" != install ]; then
    # Installed by others: neither replaced, nor joined by a second one that would conflict over the same pods.
    [ "${MODE:-}" != ambient ] || has_part ambient || die "$answer; it has no ambient mode: ask whoever installed it to add it"
    [ "${MODE:-}" != cni ] || has_part cni || die "$answer; it has no CNI plugin: ask whoever installed it to add it"
    say "$answer"
    return
  fi
  download_istio
  say "installing Istio $ISTIO_VERSION"
  # An existing istio-ingressgateway is kept: it belongs to Knative or to other applications.
  install_istio "$(kubectl get deployment/istio-ingressgateway --namespace=istio-system --ignore-not-found --output=name)"
}

install_gateway_api() {
  local answer
  answer=$(check mesh gateway-api)
  if [ "$answer" != install ]; then
    say "$answer: it stays"
    return
  fi
  say "installing the Gateway API $GATEWAY_API_VERSION"
  # Server-side: these CRDs are too large for the annotation of a client-side apply. The field manager marks them as
  # ours, to update and to remove.
  kubectl apply --server-side --field-manager=todolist --force-conflicts --filename="$gateway_api"
}

# install_istio GATEWAY: with istio-ingressgateway, for Knative, unless GATEWAY is empty. Ambient mode and the CNI plugin
# are kept if installed.
install_istio() {
  local options=(--filename="$root/deploy/install/istio.yaml") platform
  if [ "${MODE:-}" = ambient ] || has_part ambient; then
    options+=(--filename="$root/deploy/install/ambient.yaml")
  elif [ "${MODE:-}" = cni ] || has_part cni; then
    options+=(--filename="$root/deploy/install/cni.yaml")
  fi
  if [[ " ${options[*]}" == *ambient.yaml* || " ${options[*]}" == *cni.yaml* ]]; then
    # The folders of the node's network plugin, for istio-cni.
    platform=$(check platform cni)
    [ -z "$platform" ] || options+=(--set="values.global.platform=$platform")
    # And the folder of network namespaces, if Docker runs the pods, as in minikube and Docker Desktop.
    case $(kubectl get nodes --output=jsonpath='{.items[*].status.nodeInfo.containerRuntimeVersion}') in
      *docker://*) options+=(--set=values.cni.cniNetnsDir=/var/run/docker/netns) ;;
    esac
  fi
  [ -z "$1" ] || options+=(--filename="$root/deploy/install/knative.yaml")
  if [ -n "${MIRROR:-}" ]; then
    local hub
    hub=$(sed -n 's/^ *hub: *\([^" ][^ ]*\)$/\1/p' "$istio_release/manifests/charts/istio-control/istio-discovery/values.yaml" |
      head -n 1)
    options+=(--set=hub="${MIRROR%/}/${hub:-docker.io/istio}")
  fi
  "$istioctl" install --skip-confirmation "${options[@]}"
}

knative() {
  [[ ${EVENTING:-} =~ ^(no)?$ ]] || die "EVENTING is $EVENTING: it can be no or unset"
  need_istio
  local label answer
  label=$(check mesh label knative)
  if ! kubectl get deployment/istio-ingressgateway --namespace=istio-system --output=name >/dev/null 2>&1; then
    answer=$(check mesh install)
    [ "$answer" = install ] ||
      die "Knative needs the ingress istio-ingressgateway in istio-system. Whoever installed Istio can add it: helm install" \
        "istio-ingressgateway gateway --repo=https://istio-release.storage.googleapis.com/charts --namespace=istio-system" \
        "--set=serviceAccount.name=istio-ingressgateway-service-account"
    download_istio
    say "adding istio-ingressgateway, the ingress that Knative uses"
    install_istio istio-ingressgateway
  fi
  say "installing Knative Serving $KNATIVE_VERSION"
  fetch_yaml "$serving/serving-crds.yaml" | kubectl apply --filename=-
  kubectl wait --for=condition=Established --timeout=60s crd --selector=knative.dev/crd-install=true
  # Before the pods are created: under strict mutual TLS Knative's activator and autoscaler need sidecars too.
  kubectl get namespace knative-serving >/dev/null 2>&1 || kubectl create namespace knative-serving
  kubectl label namespace knative-serving "$label" --overwrite
  fetch_yaml "$serving/serving-core.yaml" | kubectl apply --filename=-
  fetch_yaml "$net_istio" | kubectl apply --filename=-
  kubectl wait --for=condition=Available --timeout=300s deployment --all --namespace=knative-serving
  # Knative resolves every image tag to a digest, which fails for images that only the nodes have and for a registry
  # that only the nodes reach by this name.
  kubectl patch configmap/config-deployment --namespace=knative-serving --type=merge \
    --patch='{"data":{"registries-skipping-tag-resolving":"kind.local,ko.local,dev.local,localhost:5001"}}'
  # sslip.io resolves to the IP address in the name; a port-forward replaces a load balancer.
  "${PYTHON:-python3}" "$root/deploy/scripts/address.py" domain istio-ingressgateway istio-system
  [ "${EVENTING:-}" = no ] || eventing "$label"
}

# eventing LABEL: the broker that all namespaces share, with events in memory. LABEL: enables sidecar injection for its
# pods.
eventing() {
  say "installing Knative Eventing $KNATIVE_VERSION"
  fetch_yaml "$eventing/eventing-crds.yaml" | kubectl apply --filename=-
  kubectl wait --for=condition=Established --timeout=60s crd --selector=app.kubernetes.io/name=knative-eventing
  # Before the pods are created: under strict mutual TLS the broker needs sidecars.
  kubectl get namespace knative-eventing >/dev/null 2>&1 || kubectl create namespace knative-eventing
  kubectl label namespace knative-eventing "$1" --overwrite
  kubectl apply --filename="$root/deploy/install/eventing.yaml"
  local part
  for part in eventing-core in-memory-channel mt-channel-broker; do
    # Its components request 100m or 125m each, and use less than a fifth of it: lowered to 20m.
    fetch_yaml "$eventing/$part.yaml" | sed -E 's/^( *cpu: )"?1(00|25)m"?$/\120m/' | kubectl apply --filename=-
  done
  # todolist uses neither job-sink nor request-reply. The autoscalers are deleted, too: they would compare the usage with
  # these small requests.
  kubectl scale deployment/job-sink statefulset/request-reply --namespace=knative-eventing --replicas=0
  kubectl delete horizontalpodautoscalers --all --namespace=knative-eventing
  kubectl wait --for=condition=Available --timeout=300s deployment --all --namespace=knative-eventing
}

# ADDONS selects which add-ons are installed, for a small machine. PROMETHEUS_URL replaces prometheus.
kiali() {
  need_istio
  local addon there wanted
  wanted=" ${ADDONS:-prometheus kiali grafana jaeger} "
  for addon in $wanted; do
    case $addon in
      prometheus | grafana | jaeger | kiali) ;;
      *) die "ADDONS contains $addon: choose from prometheus, kiali, grafana and jaeger" ;;
    esac
  done
  if [ -n "${PROMETHEUS_URL:-}" ]; then
    [[ $PROMETHEUS_URL =~ ^https?:// ]] || die "PROMETHEUS_URL is $PROMETHEUS_URL: it must begin with http:// or https://"
    wanted=${wanted/ prometheus / }
    [[ $wanted == *" kiali "* ]] || die "ADDONS must include kiali, which shows the graph"
  else
    [[ $wanted == *" prometheus "* && $wanted == *" kiali "* ]] || die "ADDONS must include prometheus and kiali, which the graph needs"
    there=$(other_prometheus)
    [ -z "$there" ] || echo "This cluster has a Prometheus at $there. To use it, set PROMETHEUS_URL=$there; it must scrape the proxies' metrics."
  fi
  for addon in $wanted; do
    there=$(helm_release "deployment/$addon")
    [ -z "$there" ] || die "$addon in istio-system belongs to the Helm release $there and is not replaced: omit it from ADDONS," \
      "or, if it is Prometheus, use it with PROMETHEUS_URL=http://prometheus.istio-system:9090"
  done
  download_istio
  say "installing$wanted"
  kubectl get namespace istio-system >/dev/null 2>&1 || kubectl create namespace istio-system
  for addon in $wanted; do
    [ "$addon" = kiali ] || fetch_yaml "$addons/$addon.yaml" | kubectl apply --filename=-
  done
  # In the release's Kiali tracing is disabled; Jaeger is at Kiali's default address.
  local tracing=false
  [[ $wanted != *" jaeger "* ]] || tracing=true
  fetch_yaml "$addons/kiali.yaml" | awk -v to="$tracing" -v prometheus="${PROMETHEUS_URL:-}" '
    /^ *tracing:/ { tracing = 1 }
    tracing && /enabled: false/ { sub(/false/, to); tracing = 0 }
    { print }
    /^ *external_services:/ && prometheus {
      indent = $0; sub(/external_services:.*/, "", indent)
      print indent "  prometheus:\n" indent "    url: \"" prometheus "\""
    }' | kubectl apply --filename=-
  # In ambient mode pods accept only clients in the mesh, so Prometheus is added to it. Elsewhere the label has no
  # effect.
  [[ $wanted != *" prometheus "* ]] || kubectl patch deployment/prometheus --namespace=istio-system \
    --patch='{"spec":{"template":{"metadata":{"labels":{"istio.io/dataplane-mode":"ambient"}}}}}'
  # Kiali reads its configuration at start only.
  kubectl rollout restart deployment/kiali --namespace=istio-system
  kubectl rollout status deployment/kiali --namespace=istio-system --timeout=300s
}

# The address of another Prometheus in the cluster, or nothing.
other_prometheus() {
  kubectl get services --all-namespaces --selector='app.kubernetes.io/name in (prometheus, kube-prometheus-stack-prometheus)' \
    --output=go-template='{{range .items}}{{.metadata.namespace}} http://{{.metadata.name}}.{{.metadata.namespace}}:{{(index .spec.ports 0).port}}{{"\n"}}{{end}}' \
    2>/dev/null | sed -n '/^istio-system /!s/^[^ ]* //p' | head -n 1
}

need_cluster
doctor kubernetes
"$1"
say "$1 is installed"
