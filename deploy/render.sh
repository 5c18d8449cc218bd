# Writes kustomizations into .build/ that refer to the sets and say what differs: registry, tag and
# namespace. So no file of the repository is edited to deploy it.
# shellcheck shell=bash
# shellcheck source=deploy/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# render SET NAME: writes .build/deploy/NAME, which is deploy/SET with images and namespace set.
render() {
  local out=$build/deploy/$2
  rm -rf "$out"
  mkdir -p "$out/app"
  cat >"$out/app/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $namespace
resources:
  - ../../../../deploy/$1
components:
${NETWORK_POLICIES:+  - ../../../../deploy/$TARGET/network-policies}
${REQUEST_AUTHENTICATION:+  - ../../../../deploy/istio/request-authentication}
labels:
  # A set labels what is its own; this is for the components.
  - pairs: {app.kubernetes.io/part-of: todolist}
images:
  - {name: todolist, newName: $REGISTRY/todolist, newTag: "$TAG"}
  - {name: user, newName: $REGISTRY/user, newTag: "$TAG"}
  - {name: rule, newName: $REGISTRY/rule, newTag: "$TAG"}
EOF
  cat >"$out/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - app
components:
  - ../../../deploy/base/urls
EOF
}

# render_activator NAME: the same for deploy/knative/activator, whose policy names the namespace.
render_activator() {
  local out=$build/deploy/$1
  rm -rf "$out"
  mkdir -p "$out"
  cat >"$out/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../../../deploy/knative/activator
patches:
  - target: {kind: AuthorizationPolicy}
    patch: |-
      - {op: replace, path: /metadata/name, value: $namespace}
      - {op: replace, path: "/spec/rules/0/from/0/source/notServiceAccounts/0", value: $namespace/todolist}
      - {op: replace, path: "/spec/rules/0/when/0/values/0", value: $namespace}
EOF
}
