#!/usr/bin/env bash
# Runs tests/cluster against the application in the cluster that kubectl points at.
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

need_cluster
need_application
cd "$root"
python=.venv/bin/python
[ -x "$python" ] || python=python3
"$python" -c 'import httpx, pytest' 2>/dev/null || die "pytest and httpx are missing: \`make install\` installs them"
exec "$python" -m pytest tests/cluster --no-header -p no:cacheprovider "$@"
