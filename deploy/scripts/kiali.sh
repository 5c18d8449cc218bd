#!/usr/bin/env bash
# Forwards Kiali's dashboard until Ctrl-C.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

need_cluster
kubectl get deployment/kiali --namespace=istio-system --output=name >/dev/null 2>&1 ||
  die "Kiali is missing in this cluster: \`make install-kiali\` installs it"
echo "http://localhost:20001/kiali/console/graph/namespaces?namespaces=$namespace&graphType=versionedApp&duration=300"
echo "An edge shows after two or more requests in the chosen time: \`make traffic\` sends them. Ctrl-C ends this."
exec kubectl port-forward service/kiali 20001:20001 --namespace=istio-system
