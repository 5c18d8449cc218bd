#!/usr/bin/env bash
# Runs tests/cluster against the application in the cluster that kubectl points at.
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

need_cluster
need_application
cd "$root"
# Last, because it is the only slow one.
make .venv/dev.done
exec .venv/bin/python -m pytest --numprocesses=0 tests/cluster --no-header -p no:cacheprovider "$@"
