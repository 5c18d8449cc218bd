#!/usr/bin/env bash
# Tells how to open the application; without a load balancer it forwards a port until Ctrl-C.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

port=${PORT:-3001}

only_a_cluster
need_cluster
need_application
if [ "$deployed" = knative ]; then
  service=istio-ingressgateway service_namespace=istio-system
  host=$(kubectl get services.serving.knative.dev/todolist --namespace="$namespace" --output=jsonpath='{.status.url}')
  host=${host#http://}
else
  service=ingress-istio service_namespace=$namespace host=
fi
address=$(load_balancer "$service" "$service_namespace")

if [ -n "$address" ]; then
  case $host in
    "") echo "http://$address/" ;;
    *.sslip.io) echo "http://$host/" ;;
    *) echo "http://$host/   (where that name does not resolve: curl -H 'Host: $host' http://$address/)" ;;
  esac
  exit
fi
case $host in
  "") echo "http://localhost:$port/" ;;
  *.127.0.0.1.sslip.io) echo "http://$host:$port/   (without Internet: curl -H 'Host: $host' http://localhost:$port/)" ;;
  *) echo "curl -H 'Host: $host' http://localhost:$port/" ;;
esac
echo "The cluster has no load balancer, so this forwards the port until Ctrl-C."
# kubectl ends when the ingress resets a connection, as it may with a request that it refuses: then once more.
until started=$SECONDS && kubectl port-forward "service/$service" "$port:80" --namespace="$service_namespace"; do
  [ $((SECONDS - started)) -gt 1 ] || exit 1
done
