#!/usr/bin/env bash
# Changes the split of user: split.sh V1 V2, in percent, of `make run` if it is running here, else in the cluster. A
# restart of `make run`, `make deploy` and `make lesson-reset` reset it.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

v1=${1:-} v2=${2:-}
if ! [[ $v1 =~ ^(0|[1-9][0-9]{0,2})$ && $v2 =~ ^(0|[1-9][0-9]{0,2})$ && $((v1 + v2)) = 100 ]]; then
  die "V1 and V2 are percentages that add up to 100: make split V1=90 V2=10"
fi
if url=$(here); then
  .venv/bin/python -m deploy.local.split "$v1" "$v2"
  say "user of \`make run\` at $url: v1 $v1 %, v2 $v2 %"
  exit
fi
here_or_cluster
need_cluster
need_application
# The paths of the weights of v1 and v2. In two of the sets reads and writes are two routes with the same split.
case $deployed in
  istio) object=virtualservice/user split=("/spec/http/0/route/%d/weight" "/spec/http/1/route/%d/weight") ;;
  ambient) object=httproute/user split=("/spec/rules/0/backendRefs/%d/weight" "/spec/rules/1/backendRefs/%d/weight") ;;
  knative) object=services.serving.knative.dev/user split=("/spec/traffic/%d/percent") ;;
esac
# shellcheck disable=SC2059 # the paths are the format
patch=$(for path in "${split[@]}"; do
  printf "{\"op\": \"replace\", \"path\": \"$path\", \"value\": $v1}," 0
  printf "{\"op\": \"replace\", \"path\": \"$path\", \"value\": $v2}," 1
done)
lesson=$(deployed_lesson)
kubectl patch "$object" --namespace="$namespace" --type=json --patch="[${patch%,}]" ||
  die "the split was not changed${lesson:+: lesson $lesson has routes of its own, and \`make lesson-reset\` ends it}"
say "user in namespace $namespace of $(kubectl config current-context): v1 $v1 %, v2 $v2 %"
