#!/usr/bin/env bash
# The steps of the workflow release.yaml; each can also be run locally. REGISTRY and TAG: of the images, as pushed by
# `make build push`.
#   release.sh check            checks that TAG is the version in pyproject.toml, and has a section in CHANGELOG.md
#   release.sh manifests DIR    writes the files for an installation without the repository: one for each set, secrets.sh,
#                               and the images by their digests
#   release.sh sign DIR         signs these images, with cosign
#   release.sh notes DIR        writes DIR/notes.md
#   release.sh publish DIR      creates the release, with gh
# shellcheck source=deploy/scripts/render.sh
. "$(dirname "$0")/../scripts/render.sh"

services=(todolist user rule)

check_version() {
  local version
  version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml")
  [ "$TAG" = "v$version" ] || die "the tag is $TAG, and pyproject.toml says $version"
  grep -q "^## $version " "$root/CHANGELOG.md" || die "CHANGELOG.md has no section $version"
}

manifests() {
  local out=$1 service images=()
  mkdir -p "$out"
  for service in "${services[@]}"; do
    images+=("$REGISTRY/$service:$TAG")
  done
  "${PYTHON:-python3}" "$root/deploy/release/digest.py" "${images[@]}" >"$out/images.txt"
  for service in "${services[@]}"; do
    # Used by render.sh in place of the tag.
    printf -v "digest_$service" %s "$(sed -n "s,^.*/$service@,,p" "$out/images.txt")"
  done
  write_set "$out" istio "Istio with sidecars" istio
  write_set "$out" ambient "Istio in ambient mode" ambient
  write_knative "$out"
  cp "$root/deploy/scripts/secrets.sh" "$out/secrets.sh"
}

# heading FILE SET: the header of a file for an installation without the repository.
heading() {
  cat <<HEADING
# todolist $TAG for $2, with its images by digest. Two commands install it in a cluster that has $2:
#   sh secrets.sh                  the namespace todolist, and in it the Secrets with random passwords
#   kubectl apply --filename=$1
# Then \`kubectl get pods --namespace=todolist\`, until all are ready. \`kubectl delete --filename=$1\` removes
# it, with the namespace and all data in it.
# For an Istio under a revision that is not the default, write istio.io/rev: REVISION in place of the namespace's label
# istio-injection.
HEADING
}

# write_set DIR NAME WORDS PART...: the file of a set.
write_set() {
  local file=todolist-$2.yaml
  TARGET=$2 render "release-$2" "${@:4}"
  { heading "$file" "$3" && kubectl kustomize "$build/deploy/release-$2"; } >"$1/$file"
}

# A Knative Service user would need two steps; user-route.yaml explains its replacement.
write_knative() {
  local file=todolist-knative.yaml
  configuration release-user-v1 user-v1 knative/user-v1.yaml
  # Only the Service: the rest is also in the set.
  cat >>"$build/deploy/release-user-v1/kustomization.yaml" <<'EOF'
  - target: {kind: ServiceAccount}
    patch: '{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "any"}, "$patch": "delete"}'
  - target: {kind: PodDisruptionBudget}
    patch: '{"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "any"}, "$patch": "delete"}'
EOF
  configuration release-user-v2 user-v2 knative
  # Without a broker, so that it works without Knative Eventing.
  EVENTING=no TARGET=knative render release-knative ../.build/deploy/release-user-v2 ../.build/deploy/release-user-v1 release/user-route.yaml
  render_activator release-activator
  {
    heading "$file" "Knative Serving with Istio"
    kubectl kustomize "$build/deploy/release-knative"
    echo ---
    kubectl kustomize "$build/deploy/release-activator"
  } >"$1/$file"
}

# configuration NAME USER PART: writes .build/deploy/NAME, which turns the Service user into a Configuration named USER.
configuration() {
  local out=$build/deploy/$1 resource=../../../deploy/$3
  rm -rf "$out"
  mkdir -p "$out"
  if [ -f "$root/deploy/$3" ]; then
    cp "$root/deploy/$3" "$out"
    resource=$(basename "$3")
  fi
  cat >"$out/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - $resource
patches:
  - target: {group: serving.knative.dev, kind: Service, name: user}
    options: {allowNameChange: true, allowKindChange: true}
    patch: |-
      - {op: replace, path: /kind, value: Configuration}
      - {op: replace, path: /metadata/name, value: $2}
      - {op: remove, path: /spec/template/metadata/name}
      - {op: remove, path: /spec/traffic}
EOF
}

sign() {
  local image
  # The digest, not the tag: a tag can be moved.
  while read -r image; do
    cosign sign --yes --recursive "$image"
  done <"$1/images.txt"
}

notes() {
  local image download=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/releases/download/$TAG
  {
    awk -v heading="## ${TAG#v} " 'index($0, "## ") == 1 { on = index($0, heading) == 1; next } on' "$root/CHANGELOG.md"
    cat <<NOTES
## Install it without the repository

In a cluster with Istio, or ambient mode (\`todolist-ambient.yaml\`), or Knative (\`todolist-knative.yaml\`):

\`\`\`sh
curl --fail --silent --show-error --location $download/secrets.sh | sh
kubectl apply --filename=$download/todolist-istio.yaml
\`\`\`

With the repository: \`make deploy REGISTRY=$REGISTRY TAG=$TAG\`.

## Images, and how to check who built them

\`\`\`sh
NOTES
    while read -r image; do
      echo "cosign verify $image \\"
      echo "  --certificate-oidc-issuer=https://token.actions.githubusercontent.com \\"
      echo "  --certificate-identity=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/.github/workflows/release.yaml@$GITHUB_REF"
    done <"$1/images.txt"
    echo '```'
  } >"$1/notes.md"
}

publish() {
  gh release create "$TAG" --verify-tag --title "$TAG" --notes-file "$1/notes.md" "$1"/todolist-*.yaml "$1/secrets.sh"
}

case $1 in
  check) check_version ;;
  manifests | sign | notes | publish) "$@" ;;
  *) die "release.sh: unknown step $1; use check, manifests, sign, notes or publish" ;;
esac
