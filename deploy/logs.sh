#!/usr/bin/env bash
# Follows the logs of the three services, each line with its pod.
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

need_cluster
need_application
exec kubectl logs --namespace="$namespace" --selector='app in (todolist, user, rule)' \
  --follow --prefix --tail=20 --max-log-requests=30
