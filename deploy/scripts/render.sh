# Writes kustomize overlays to .build/deploy/ with what a deployment adds to the sets: registry, tag, namespace, Istio's
# label and the chosen options. So deploying edits no file of the repository.
# shellcheck shell=bash
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ ${EVENTING:-} =~ ^(no)?$ ]] || die "EVENTING is $EVENTING: it can be no or unset"
[[ ${INGRESS_SERVICE:-} =~ ^(ClusterIP|NodePort|LoadBalancer)?$ ]] ||
  die "INGRESS_SERVICE is $INGRESS_SERVICE: it can be ClusterIP, NodePort, LoadBalancer or unset"
for option in NETWORK_POLICIES REQUEST_AUTHENTICATION KEEP_NAMESPACE; do
  [[ ${!option:-} =~ ^1?$ ]] || die "$option is ${!option}: it can be 1 or unset"
done

[[ ${TLS:-} =~ ^[01]?$ ]] || die "TLS is $TLS: it can be 1, 0 or unset"
[ "${TLS:-}" != 0 ] || TLS=

# The namespace's label for sidecar injection, if not the one in namespace.yaml: istio.io/rev=REVISION.
namespace_label=

# Third-party images, by their full names. MIRROR= is prefixed to each.
third_party=(docker.io/library/postgres docker.io/locustio/locust)

# By tag, or by the digest in digest_SERVICE: a release refers to immutable images.
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

# Patches to objects of the sets. With KEEP_NAMESPACE the Namespace is removed from them.
patches() {
  if [ -n "${KEEP_NAMESPACE:-}" ]; then
    cat <<EOF
  - target: {kind: Namespace}
    patch: '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "any"}, "\$patch": "delete"}'
EOF
  elif [[ $namespace_label == istio.io/rev=* ]]; then
    # Only the revision: the label istio-injection would take precedence.
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
    # No broker: rule posts its events to user. `test` fails if the variable is at another index.
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
    # Read by Istio when it creates the Service of the Gateway.
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
  if [ -n "${TLS:-}" ]; then
    # A listener for HTTPS beside that for HTTP; the route to todolist is for HTTPS only, with HSTS; and the port is open.
    # In the ambient set the rule for reads has no filters yet, so its patch adds the list. deploy/options/tls
    # has the new objects.
    cat <<'EOF'
  - target: {kind: Gateway, name: ingress}
    patch: |-
      - op: add
        path: /spec/listeners/-
        value:
          name: https
          protocol: HTTPS
          port: 443
          tls: {mode: Terminate, certificateRefs: [{name: ingress-certificate}]}
          allowedRoutes: {namespaces: {from: Same}}
  - target: {kind: HTTPRoute, labelSelector: app=ingress}
    patch: |-
      - {op: replace, path: /spec/parentRefs/0/sectionName, value: https}
      - op: add
        path: /spec/rules/1/filters/-
        value: {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: strict-transport-security, value: max-age=60}]}}
  - target: {kind: HTTPRoute, labelSelector: app=ingress, name: todolist}
    patch: |-
      - op: add
        path: /spec/rules/0/filters/-
        value: {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: strict-transport-security, value: max-age=60}]}}
  - target: {kind: HTTPRoute, labelSelector: app=ingress, name: ingress}
    patch: |-
      - op: add
        path: /spec/rules/0/filters
        value: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: strict-transport-security, value: max-age=60}]}}]
  - target: {kind: AuthorizationPolicy, name: ingress}
    patch: '[{"op": "add", "path": "/spec/rules/0/to/0/operation/ports/-", "value": "443"}]'
  - target: {kind: NetworkPolicy, name: ingress}
    patch: '[{"op": "add", "path": "/spec/ingress/0/ports/-", "value": {"port": 443}}]'
EOF
  fi
  if [ -n "${IMAGE_PULL_SECRET:-}" ]; then
    # Pods get it from their service accounts; Istio creates that of a Gateway from the ConfigMap `proxies`.
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
${TLS:+  - ../../../deploy/options/tls}
# The namespace in fully qualified names: todolist's upstreams, rule's sink, and the URL of user's keys.
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
        # kustomize does not load a single file from another folder.
        cp "$root/deploy/$part" "$out"
        echo "  - $(basename "$part")"
      fi
    done
  } >"$out/kustomization.yaml"
}

# overlay NAME FILE: writes .build/deploy/NAME, a kustomization of this file of deploy/ and of what stdin adds.
overlay() {
  local out=$build/deploy/$1
  rm -rf "$out"
  mkdir -p "$out"
  cp "$root/deploy/$2" "$out"
  {
    printf '%s\n' 'apiVersion: kustomize.config.k8s.io/v1beta1' 'kind: Kustomization' "resources: [$(basename "$2")]"
    cat
  } >"$out/kustomization.yaml"
}

# render_namespace NAME: only the namespace, which the Secrets need before the set.
render_namespace() {
  overlay "$1" "$TARGET/namespace.yaml" <<EOF
# Renames the object, too.
namespace: $namespace
patches:
$(IMAGE_PULL_SECRET='' patches)
EOF
}

# render_activator NAME: deploy/knative/activator.yaml, whose object is in another namespace and refers to ours.
render_activator() {
  local users="user-v1.$namespace.svc.*, user-v2.$namespace.svc.*, user-next.$namespace.svc.*, user-wrong.$namespace.svc.*"
  overlay "$1" knative/activator.yaml <<EOF
patches:
  - target: {kind: AuthorizationPolicy}
    patch: |-
      - {op: replace, path: /metadata/name, value: $namespace}
      - {op: replace, path: /spec/rules/0/from/0/source/notServiceAccounts/0, value: $namespace/todolist}
      - {op: replace, path: /spec/rules/0/from/0/source/notServiceAccounts/1, value: $namespace/rule}
      - {op: replace, path: /spec/rules/0/when/0/values, value: [$namespace, "$namespace,*"]}
      - {op: replace, path: /spec/rules/1/from/0/source/serviceAccounts/0, value: $namespace/rule}
      - {op: replace, path: /spec/rules/1/when/0/values, value: [$namespace, "$namespace,*"]}
      - {op: replace, path: /spec/rules/2/from/0/source/notServiceAccounts/0, value: $namespace/todolist}
      - {op: replace, path: /spec/rules/2/from/0/source/notServiceAccounts/1, value: $namespace/rule}
      - {op: replace, path: /spec/rules/2/to/0/operation/hosts, value: [$users, user-v1-0*, user-v2-0*, rule-0*]}
      - {op: replace, path: /spec/rules/3/from/0/source/serviceAccounts/0, value: $namespace/rule}
      - {op: replace, path: /spec/rules/3/to/0/operation/hosts, value: [$users, user-v1-0*, user-v2-0*, rule-0*]}
EOF
}

# render_eventing NAME: deploy/knative/eventing.yaml, whose objects are in another namespace and refer to ours.
render_eventing() {
  overlay "$1" knative/eventing.yaml <<EOF
patches:
  - target: {name: todolist-broker}
    patch: |-
      - {op: replace, path: /metadata/name, value: $namespace-broker}
      - {op: replace, path: "/spec/rules/0/from/0/source/notServiceAccounts/0", value: $namespace/rule}
      - {op: replace, path: "/spec/rules/0/to/0/operation/paths/0", value: "/$namespace/*"}
  - target: {name: todolist-channel}
    patch: |-
      - {op: replace, path: /metadata/name, value: $namespace-channel}
      - {op: replace, path: "/spec/rules/0/to/0/operation/hosts/0", value: "*.$namespace.svc.cluster.local"}
      - {op: replace, path: "/spec/rules/0/to/1/operation/paths", value: [/$namespace/*, /$namespace%2F*, /$namespace%2f*]}
  - target: {name: todolist-trigger}
    patch: |-
      - {op: replace, path: /metadata/name, value: $namespace-trigger}
      - {op: replace, path: "/spec/rules/0/to/0/operation/paths/0", value: "/triggers/$namespace/*"}
EOF
}
