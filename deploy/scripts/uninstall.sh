#!/usr/bin/env bash
# Removes kiali, knative or istio, with everything that was installed with them. Fails while they are in use.
# shellcheck source=deploy/scripts/releases.sh
. "$(dirname "$0")/releases.sh"

# namespaces_of KIND: the namespaces with such objects, in one line.
namespaces_of() {
  kubectl get "$1" --all-namespaces --ignore-not-found \
    --output=jsonpath='{range .items[*]}{.metadata.namespace}{"\n"}{end}' | sort -u | xargs
}

kiali() {
  download_istio
  local addon files=()
  for addon in kiali grafana jaeger prometheus; do
    # An add-on of a Helm release was installed by others.
    [ -z "$(helm_release "deployment/$addon")" ] || continue
    files+=("--filename=$addons/$addon.yaml")
  done
  [ "${#files[@]}" = 0 ] || kubectl delete --ignore-not-found "${files[@]}"
}

knative() {
  if ! has_kind services.serving.knative.dev; then
    echo "There is no Knative in this cluster: nothing to remove."
    exit
  fi
  local users
  users=$(namespaces_of services.serving.knative.dev,configurations.serving.knative.dev,routes.serving.knative.dev)
  [ -z "$users" ] || die "Knative stays, because there are Knative Services in: $users (\`make undeploy NAMESPACE=\` removes ours)"
  ! has_kind brokers.eventing.knative.dev || eventing
  # First the webhooks and pods: the activator may take ten minutes to stop, and the namespace's deletion waits for
  # that.
  kubectl delete mutatingwebhookconfigurations,validatingwebhookconfigurations \
    --selector=app.kubernetes.io/name=knative-serving
  kubectl delete deployments --all --namespace=knative-serving
  kubectl delete pods --all --namespace=knative-serving --grace-period=5
  # The namespace knative-serving contains its configuration, and policies of removed applications.
  kubectl delete --ignore-not-found --timeout=300s --filename="$net_istio"
  kubectl delete --ignore-not-found --timeout=300s --filename="$serving/serving-core.yaml"
  kubectl delete --ignore-not-found --timeout=300s --filename="$serving/serving-crds.yaml"
  # Knative's ingress, unless Gateways of Istio's own kind exist that may use it.
  users=$(namespaces_of gateways.networking.istio.io)
  if [ -n "$users" ]; then
    say "istio-ingressgateway stays, because Gateways may use it in: $users"
  else
    kubectl delete deployments,services,serviceaccounts,roles,rolebindings --namespace=istio-system \
      --selector=operator.istio.io/component=IngressGateways
  fi
}

eventing() {
  local users part
  users=$(namespaces_of brokers.eventing.knative.dev,triggers.eventing.knative.dev)
  [ -z "$users" ] || die "Knative stays, because there are Brokers or Triggers in: $users (\`make undeploy NAMESPACE=\` removes ours)"
  kubectl delete mutatingwebhookconfigurations,validatingwebhookconfigurations \
    --selector=app.kubernetes.io/name=knative-eventing
  for part in mt-channel-broker in-memory-channel eventing-core eventing-crds; do
    kubectl delete --ignore-not-found --timeout=300s --filename="$eventing/$part.yaml"
  done
}

istio() {
  local users
  ! has_kind services.serving.knative.dev || die "Istio stays, because Knative needs it: \`make uninstall-knative\` first"
  # `istioctl uninstall --purge` would also remove an Istio of Helm, of a cloud or of another revision.
  check mesh removal
  users=$(kubectl get deployments,statefulsets,daemonsets --namespace=istio-system --ignore-not-found \
    --selector='!operator.istio.io/component' --output=name | xargs)
  [ -z "$users" ] || die "Istio stays, because its namespace has more: $users (\`make uninstall-kiali\` removes Kiali and its like)"

  download_istio
  "$istioctl" uninstall --purge --skip-confirmation
  kubectl delete namespace istio-system --ignore-not-found
  # Objects created by istiod: its root certificate in each namespace, and its GatewayClasses.
  kubectl delete configmaps --all-namespaces --selector=istio.io/config=true
  if has_kind gatewayclasses.gateway.networking.k8s.io; then
    kubectl delete gatewayclasses.gateway.networking.k8s.io istio istio-remote istio-waypoint --ignore-not-found
    users=$(kubectl get --all-namespaces --ignore-not-found --output=name \
      "$(kubectl api-resources --api-group=gateway.networking.k8s.io --verbs=list --output=name | paste -sd, -)" | xargs)
    if [ -n "$users" ]; then
      say "the Gateway API stays, because others use it: $users"
      return
    fi
  fi
  if [ "$(kubectl get crd gateways.gateway.networking.k8s.io --ignore-not-found --show-managed-fields \
    --output=jsonpath='{.metadata.managedFields[?(@.manager=="todolist")].manager}')" ]; then
    kubectl delete --ignore-not-found --filename="$gateway_api"
  else
    say "the Gateway API stays, because it was there before"
  fi
}

need_cluster
"$1"
say "$1 is removed"
