#!/usr/bin/env bash
# Prints what runs, in which versions, the split, who sleeps, and the lesson that is on: of `make run` if it is on here, else of the
# cluster.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# show_split SPLIT: a line for each version. A lesson may have routes without weights.
show_split() {
  if [[ $1 =~ ^\ \ v1\ [0-9]+\ %.*v2\ [0-9]+\ %$ ]]; then
    echo "$1"
  else
    echo "  none, as the routes have no weights (a lesson's page says where calls go)"
  fi
}

# show_lesson NAME: which lesson or riddle is on, if one is.
show_lesson() {
  case $1 in
    riddle-*) echo "the riddle that is on: $1 (\`make riddle\` repeats the complaint, \`make riddle-reset\` ends it)" ;;
    *) echo "the lesson that is on: ${1:-none}${1:+ (lessons/$1/README.md)}" ;;
  esac
}

if url=$(here); then
  echo "\`make run\` at $url"
  echo
  echo "the split of user:"
  show_split "$(.venv/bin/python -m deploy.local.split)"
  # Printed by the shell, which ends without a traceback if its reader has ended, as in `make status | head`.
  printf '%s\n' "$(.venv/bin/python -m deploy.local.sleepers)"
  show_lesson "$(.venv/bin/python -c 'from deploy.local import proxy; print(proxy.lesson() or "")')"
  exit
fi
here_or_cluster
need_cluster
need_application
echo "namespace $namespace, TARGET=$deployed"
echo
kubectl get pods --namespace="$namespace" --selector=app.kubernetes.io/part-of=todolist --label-columns=app,version
echo
[ "$deployed" = knative ] || kubectl get deployments,statefulsets --namespace="$namespace" --output=wide
case $deployed in
  istio)
    object=virtualservice/user
    split='{{range (index .spec.http 0).route}}  {{.destination.subset}} {{.weight}} %{{"\n"}}{{end}}'
    ;;
  ambient)
    echo
    echo "There is no sidecar: a pod has one container. Instead, a ztunnel on each node, and a waypoint in this namespace:"
    kubectl get daemonsets --all-namespaces --selector=app.kubernetes.io/name=ztunnel
    kubectl get gateway/waypoint --namespace="$namespace" --ignore-not-found | grep . ||
      echo "there is no waypoint: \`make lesson-reset\` brings it back"
    echo "The Services that go through the waypoint:"
    kubectl get services --namespace="$namespace" --selector=istio.io/use-waypoint --output=name
    object=httproute/user
    split='{{range (index .spec.rules 0).backendRefs}}  {{slice .name 5}} {{.weight}} %{{"\n"}}{{end}}'
    ;;
  knative)
    kubectl get ksvc,revisions --namespace="$namespace"
    object=services.serving.knative.dev/user
    split='{{range .spec.traffic}}  {{.tag}} {{.percent}} %{{"\n"}}{{end}}'
    ;;
esac
echo
echo "the split of user:"
show_split "$(kubectl get "$object" --namespace="$namespace" --output=go-template="$split")"
show_lesson "$(deployed_lesson)"
