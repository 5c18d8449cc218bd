#!/usr/bin/env bash
# Changes the split of user: split.sh V1 V2, in percent, of `make run` if it is on here, else in the cluster.
# A new start of `make run`, and `make deploy`, set it back.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

v1=${1:-} v2=${2:-}
if ! [[ $v1 =~ ^(0|[1-9][0-9]{0,2})$ && $v2 =~ ^(0|[1-9][0-9]{0,2})$ && $((v1 + v2)) = 100 ]]; then
  die "V1 and V2 are percentages that add up to 100: make split V1=90 V2=10"
fi
if url=$("${PYTHON:-false}" -m deploy.local.here); then
  "$PYTHON" -m deploy.local.split "$v1" "$v2"
  say "user of \`make run\` at $url: v1 $v1 %, v2 $v2 %"
  exit
fi
need_cluster
need_application
if [ "$(deployed_target)" = knative ]; then
  kubectl patch services.serving.knative.dev/user --namespace="$namespace" --type=json --patch="[
    {\"op\": \"replace\", \"path\": \"/spec/traffic/0/percent\", \"value\": $v1},
    {\"op\": \"replace\", \"path\": \"/spec/traffic/1/percent\", \"value\": $v2}]"
else
  # Reads and writes are two routes with one split.
  kubectl patch virtualservice/user --namespace="$namespace" --type=json --patch="[
    {\"op\": \"replace\", \"path\": \"/spec/http/0/route/0/weight\", \"value\": $v1},
    {\"op\": \"replace\", \"path\": \"/spec/http/0/route/1/weight\", \"value\": $v2},
    {\"op\": \"replace\", \"path\": \"/spec/http/1/route/0/weight\", \"value\": $v1},
    {\"op\": \"replace\", \"path\": \"/spec/http/1/route/1/weight\", \"value\": $v2}]"
fi
say "user in namespace $namespace of $(kubectl config current-context): v1 $v1 %, v2 $v2 %"
