#!/usr/bin/env bash
# Prints the URL of the application; without a load balancer it forwards a port until Ctrl-C.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

port=${PORT:-3001}
[[ $port =~ ^[0-9]+$ ]] || die "PORT is $port: it is a number, such as 3001"

only_a_cluster
need_cluster
need_application
if [ "$deployed" = knative ]; then
  service=istio-ingressgateway service_namespace=istio-system
  host=$(kubectl get services.serving.knative.dev/todolist --namespace="$namespace" --output=jsonpath='{.status.url}')
  host=${host#*://}
else
  service=ingress-istio service_namespace=$namespace host=
fi
scheme=http to=80
if [ "$deployed" != knative ] && [ "$(certificate)" ]; then
  scheme=https to=443
  echo "A browser warns until it trusts the CA of this certificate, unless you put in one of your own: lessons/19-https/README.md" >&2
fi
address=$("${PYTHON:-python3}" "$root/deploy/scripts/address.py" of "$service" "$service_namespace")
# An IPv6 address needs brackets.
[[ $address != *:* ]] || address="[$address]"

if [ -n "$address" ]; then
  name=$host
  # If Knative was installed before there was an address, its domain resolves to this machine, which is right only on a
  # laptop.
  [[ $address =~ ^(localhost|127\..*)$ ]] || name=${host/%*.127.0.0.1.sslip.io/}
  if [ -z "$host" ]; then
    echo "$scheme://$address/"
    # It takes a while until the name of a new load balancer resolves everywhere.
    [[ $address != *[a-z].* ]] || echo "If that name does not resolve yet, wait a few minutes: it is as new as the load balancer."
  elif [ -n "$name" ]; then
    echo "http://$name/   (where that name does not resolve: curl -H 'Host: $host' http://$address/)"
  else
    echo "curl -H 'Host: $host' http://$address/"
    echo "For a browser: \`make install-knative\` gives Knative a domain that leads to $address; then \`make url\` again."
  fi
  exit
fi
case $host in
  "") echo "$scheme://localhost:$port/" ;;
  *.127.0.0.1.sslip.io) echo "http://$host:$port/   (without Internet: curl -H 'Host: $host' http://localhost:$port/)" ;;
  *) echo "curl -H 'Host: $host' http://localhost:$port/" ;;
esac
echo "The cluster has no load balancer, so this forwards the port until Ctrl-C."
# kubectl exits if the ingress resets a connection, as it may for a rejected request: started again then.
until started=$SECONDS && kubectl port-forward "service/$service" "$port:$to" --namespace="$service_namespace"; do
  [ $((SECONDS - started)) -gt 1 ] || exit 1
done
