# Writes kustomizations into .build/deploy/ that say what a deployment adds to the sets: registry, tag, namespace, the
# label by which Istio knows it, and the options that were asked for. So no file of the repository is edited to deploy it.
# shellcheck shell=bash
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ ${EVENTING:-} =~ ^(no)?$ ]] || die "EVENTING is $EVENTING: it can be no or unset"
[[ ${INGRESS_SERVICE:-} =~ ^(ClusterIP|NodePort|LoadBalancer)?$ ]] ||
  die "INGRESS_SERVICE is $INGRESS_SERVICE: it can be ClusterIP, NodePort, LoadBalancer or unset"
for option in NETWORK_POLICIES REQUEST_AUTHENTICATION KEEP_NAMESPACE; do
  [[ ${!option:-} =~ ^1?$ ]] || die "$option is ${!option}: it can be 1 or unset"
done

# Which label makes the namespace Istio's own, if it is not the one in namespace.yaml: istio.io/rev=REVISION.
namespace_label=

# The images that are not ours, by their full names. MIRROR= goes before each of them.
third_party=(docker.io/library/postgres docker.io/locustio/locust)

# By their tag, or by the digest that digest_SERVICE has: a release means one image for ever.
our_images() {
  local service digest
  for service in todolist user rule; do
    digest=digest_$service
    if [ -n "${!digest:-}" ]; then
      echo "  - {name: $service, newName: $REGISTRY/$service, digest: ${!digest}}"
    else
      echo "  - {name: $service, newName: $REGISTRY/$service, newTag: \"$TAG\"}"
    fi
  done
}

mirrored_images() {
  local image
  [ -n "${MIRROR:-}" ] || return 0
  for image in "${third_party[@]}"; do
    echo "  - {name: $image, newName: ${MIRROR%/}/$image}"
  done
}

# What is changed in objects of the sets. A namespace that stays as it is, is not applied.
patches() {
  if [ -n "${KEEP_NAMESPACE:-}" ]; then
    cat <<EOF
  - target: {kind: Namespace}
    patch: '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "any"}, "\$patch": "delete"}'
EOF
  elif [[ $namespace_label == istio.io/rev=* ]]; then
    # The revision alone: where istio-injection is, too, Istio looks at nothing else.
    cat <<EOF
  - target: {kind: Namespace}
    patch: |-
      apiVersion: v1
      kind: Namespace
      metadata:
        name: any
        labels: {istio-injection: null, istio.io/rev: "${namespace_label#*=}"}
EOF
  fi
  if [ "${EVENTING:-}" = no ]; then
    # No broker: rule posts its events to user. `test` fails where the variable is not the one that is meant.
    cat <<EOF
  - target: {kind: Broker}
    patch: '{"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "any"}, "\$patch": "delete"}'
  - target: {kind: Trigger}
    patch: '{"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": "any"}, "\$patch": "delete"}'
  - target: {kind: Service, group: serving.knative.dev, name: rule}
    patch: |-
      - {op: test, path: /spec/template/spec/containers/0/env/4/name, value: K_SINK}
      - {op: replace, path: /spec/template/spec/containers/0/env/4/value, value: "http://user.todolist.svc.cluster.local/events"}
EOF
  fi
  if [ -n "${INGRESS_SERVICE:-}" ]; then
    # Istio reads it when it makes the Service of the Gateway.
    cat <<EOF
  - target: {kind: Gateway, name: ingress}
    patch: |-
      apiVersion: gateway.networking.k8s.io/v1
      kind: Gateway
      metadata:
        name: ingress
        annotations: {networking.istio.io/service-type: $INGRESS_SERVICE}
EOF
  fi
  if [ -n "${IMAGE_PULL_SECRET:-}" ]; then
    # The pods get it from their accounts; Istio makes the account of a Gateway, from what the ConfigMap of the proxies says.
    cat <<EOF
  - target: {kind: ServiceAccount}
    patch: '[{"op": "add", "path": "/imagePullSecrets", "value": [{"name": "$IMAGE_PULL_SECRET"}]}]'
  - target: {kind: ConfigMap, name: proxies}
    patch: '[{"op": "add", "path": "/data/serviceAccount", "value": "imagePullSecrets: [{name: $IMAGE_PULL_SECRET}]"}]'
EOF
  fi
}

# render NAME PART...: writes .build/deploy/NAME. A part is a folder or a file of deploy/.
render() {
  local out=$build/deploy/$1 part
  rm -rf "$out"
  mkdir -p "$out"
  {
    cat <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $namespace
labels:
  - pairs: {app.kubernetes.io/part-of: todolist}
images:
$(our_images)
$(mirrored_images)
patches:
$(patches)
components:
${NETWORK_POLICIES:+  - ../../../deploy/options/network-policies}
${REQUEST_AUTHENTICATION:+  - ../../../deploy/options/request-authentication}
# The namespace in full names: of what todolist calls, of where rule sends events, and of where a sidecar finds user's keys.
replacements:
  - source: {kind: ServiceAccount, name: user-database, fieldPath: metadata.namespace}
    targets:
      - select: {name: todolist, group: apps}
        fieldPaths: &urls
          - spec.template.spec.containers.0.env.[name=USER_URL].value
          - spec.template.spec.containers.0.env.[name=RULE_URL].value
        options: &namespace {delimiter: ".", index: 1}
      - select: {name: todolist, group: serving.knative.dev}
        fieldPaths: *urls
        options: *namespace
      - select: {name: rule, group: apps}
        fieldPaths: &sink
          - spec.template.spec.containers.0.env.[name=K_SINK].value
        options: *namespace
      - select: {name: rule, group: serving.knative.dev}
        fieldPaths: *sink
        options: $([ "${EVENTING:-}" = no ] && echo "*namespace" || echo '{delimiter: "/", index: 3}')
      - select: {name: todolist, kind: RequestAuthentication}
        fieldPaths: [spec.jwtRules.0.jwksUri]
        options: *namespace
resources:
EOF
    for part in "${@:2}"; do
      if [ -d "$root/deploy/$part" ]; then
        echo "  - ../../../deploy/$part"
      else
        # kustomize reads no single file of another folder.
        cp "$root/deploy/$part" "$out"
        echo "  - $(basename "$part")"
      fi
    done
  } >"$out/kustomization.yaml"
}

# render_namespace NAME: the namespace alone, which the Secrets need before the set.
render_namespace() {
  local out=$build/deploy/$1
  rm -rf "$out"
  mkdir -p "$out"
  sed "s/^  name: todolist$/  name: $namespace/" "$root/deploy/$TARGET/namespace.yaml" >"$out/namespace.yaml"
  cat >"$out/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - namespace.yaml
patches:
$(IMAGE_PULL_SECRET='' patches)
EOF
}

# render_activator NAME: deploy/knative/activator.yaml, whose object is in another namespace and names ours.
render_activator() {
  local out=$build/deploy/$1
  rm -rf "$out"
  mkdir -p "$out"
  cp "$root/deploy/knative/activator.yaml" "$out"
  cat >"$out/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - activator.yaml
patches:
  - target: {kind: AuthorizationPolicy}
    patch: |-
      - {op: replace, path: /metadata/name, value: $namespace}
      - {op: replace, path: "/spec/rules/0/from/0/source/notServiceAccounts/0", value: $namespace/todolist}
      - {op: replace, path: "/spec/rules/0/from/0/source/notServiceAccounts/1", value: $namespace/rule}
      - {op: replace, path: "/spec/rules/0/when/0/values/0", value: $namespace}
      - {op: replace, path: "/spec/rules/1/from/0/source/serviceAccounts/0", value: $namespace/rule}
      - {op: replace, path: "/spec/rules/1/when/0/values/0", value: $namespace}
EOF
}

# render_eventing NAME: deploy/knative/eventing.yaml, whose objects are in another namespace and name ours.
render_eventing() {
  local out=$build/deploy/$1
  rm -rf "$out"
  mkdir -p "$out"
  # All but the label that says what they are part of.
  sed "/part-of:/!s/todolist/$namespace/" "$root/deploy/knative/eventing.yaml" >"$out/eventing.yaml"
  cat >"$out/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - eventing.yaml
EOF
}
