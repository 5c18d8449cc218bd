#!/usr/bin/env bash
# Removes the application; asks before it deletes the database volumes.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

need_cluster
exists "namespace/$namespace" || {
  echo "There is no namespace $namespace: nothing to remove."
  exit
}
# A namespace that an administrator created is kept; what `make deploy KEEP_NAMESPACE=1` added to it is removed.
is_ours || [ -n "$(deployed_target)" ] ||
  die "namespace $namespace is not one that \`make deploy\` made, and the application is not in it: it stays"

volumes=keep
if confirm "Delete the databases too, with all accounts and todo items?"; then
  volumes=delete
fi

if has_kind services.serving.knative.dev; then
  kubectl delete "authorizationpolicies.security.istio.io/$namespace" --namespace=knative-serving --ignore-not-found
fi
if has_kind brokers.eventing.knative.dev; then
  kubectl delete authorizationpolicies.security.istio.io "$namespace"-{broker,channel,trigger} --namespace=knative-eventing \
    --ignore-not-found
fi

if [ "$volumes" = delete ] && is_ours; then
  kubectl delete namespace "$namespace"
  say "the namespace $namespace is deleted"
else
  # Everything except the volumes and the Secrets, whose passwords the volumes need. Pods, endpoints and events are
  # deleted with their owners, and metrics cannot be deleted.
  kept='persistentvolumeclaims|secrets|'
  [ "$volumes" = keep ] || kept=
  kinds=$(kubectl api-resources --namespaced --verbs=delete,list --output=name |
    grep -vxE "${kept}events|events\.events\.k8s\.io|pods|endpoints|.*\.metrics\.k8s\.io" |
    paste -sd, -)
  # Our objects, and those of a lesson.
  for selector in app.kubernetes.io/part-of=todolist lesson; do
    kubectl delete "$kinds" --namespace="$namespace" --selector="$selector" --ignore-not-found
  done
  if [ "$volumes" = delete ]; then
    say "nothing of the application is left in namespace $namespace, which stays"
    exit
  fi
  say "the volumes and the passwords are left in namespace $namespace; \`make undeploy VOLUMES=delete\` removes them"
fi
