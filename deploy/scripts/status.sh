#!/usr/bin/env bash
# Prints what runs, in which versions, and the split.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

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
