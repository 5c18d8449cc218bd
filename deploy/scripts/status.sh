#!/usr/bin/env bash
# Prints what runs, in which versions, the split, and the lesson that is on: of `make run` if it is on here, else of the
# cluster.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

if url=$("${PYTHON:-false}" -m deploy.local.here); then
  echo "\`make run\` at $url"
  echo
  echo "the split of user:"
  sed -n 's/.*{ name: user-\(v[12]\), weight: \([0-9]*\) }.*/  \1 \2 %/p' data/envoy/user-routes.yaml | head -n 2
  lesson=$(sed -n 's/.*key: x-lesson, value: \([^ ]*\).*/\1/p' data/envoy/lesson-filter.yaml)
  echo "the lesson that is on: ${lesson:-none}"
  exit
fi
need_cluster
need_application
target=$(deployed_target)
echo "namespace $namespace, TARGET=$target"
echo
kubectl get pods --namespace="$namespace" --selector=app.kubernetes.io/part-of=todolist --label-columns=app,version
echo
if [ "$target" = knative ]; then
  kubectl get ksvc,revisions --namespace="$namespace"
  echo
  echo "the split of user:"
  kubectl get services.serving.knative.dev/user --namespace="$namespace" \
    --output=go-template='{{range .spec.traffic}}  {{.tag}} {{.percent}} %{{"\n"}}{{end}}'
else
  kubectl get deployments,statefulsets --namespace="$namespace" --output=wide
  echo
  echo "the split of user:"
  kubectl get virtualservice/user --namespace="$namespace" \
    --output=go-template='{{range (index .spec.http 0).route}}  {{.destination.subset}} {{.weight}} %{{"\n"}}{{end}}'
fi
echo "the lesson that is on: $(kubectl get envoyfilters.networking.istio.io/lesson-mark --namespace="$namespace" \
  --ignore-not-found --output=go-template='{{.metadata.labels.lesson}}' | grep . || echo none)"
