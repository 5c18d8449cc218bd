#!/usr/bin/env bash
# Runs checkov on all manifests and Dockerfiles.
# shellcheck source=deploy/scripts/render.sh
. "$(dirname "$0")/render.sh"

doctor kubectl
command -v checkov >/dev/null || die "checkov is missing: \`pip install checkov\` installs it"

rendered=$build/lint
rm -rf "$rendered"
mkdir -p "$rendered"
for set in istio ambient knative; do
  NETWORK_POLICIES=1 render lint "$set"
  kubectl kustomize "$build/deploy/lint" >"$rendered/$set.yaml"
done
# checkov rejects objects in the namespace default.
kubectl kustomize "$root/deploy/traffic" | sed "s/^metadata:/&\n  namespace: $namespace/" >"$rendered/traffic.yaml"
checkov --config-file="$root/deploy/checkov.yaml" --skip-download --directory="$rendered" --directory="$root/services"
say "checkov found nothing"
