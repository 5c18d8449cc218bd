#!/usr/bin/env bash
# Forwards a port to Kiali until Ctrl-C; first prints whether there is any traffic to see.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

only_a_cluster
need_cluster
kubectl get deployment/kiali --namespace=istio-system --output=name >/dev/null 2>&1 ||
  die "Kiali is missing in this cluster: \`make install-kiali\` installs it"

# The graph is built from this metric:
# sum(increase(istio_requests_total{destination_workload_namespace="NAMESPACE"}[5m])) > 0.5
query="sum%28increase%28istio_requests_total%7Bdestination_workload_namespace%3D%22$namespace%22%7D%5B5m%5D%29%29%3E0.5"
# Kiali's Prometheus: the default, or that of `make install-kiali PROMETHEUS_URL=`.
url=$(kubectl get configmap/kiali --namespace=istio-system --output=jsonpath='{.data.config\.yaml}' 2>/dev/null |
  sed -n '/^ *prometheus:/,/url:/s,^ *url: *"\{0\,1\}\(http[^" ]*\).*,\1,p' | head -n 1)
server=${url#*://}
server=${server%%/*}
IFS=. read -r name of _ <<<"${server%%:*}"
port=9090
[[ $server != *:* ]] || port=${server##*:}
prometheus=/api/v1/namespaces/${of:-istio-system}/services/${name:-prometheus}:$port
answer=$(kubectl get --raw "$prometheus/proxy/api/v1/query?query=$query" 2>/dev/null || true)
case $answer in
  *'"result":[]'*)
    echo "The graph is empty: Prometheus has seen no request in namespace $namespace for 5 minutes."
    echo "In another terminal: \`make traffic\`. After half a minute the graph has all edges."
    ;;
  *'"result":['*) echo "Prometheus has seen requests in namespace $namespace in the last 5 minutes." ;;
  *) echo "Prometheus${url:+ at $url} does not answer here, so the graph may be empty: \`make install-kiali\` installs both." ;;
esac
echo "http://localhost:20001/kiali/console/graph/namespaces?namespaces=$namespace&graphType=versionedApp&duration=300"
echo "Ctrl-C ends this."
kubectl port-forward service/kiali 20001:20001 --namespace=istio-system
