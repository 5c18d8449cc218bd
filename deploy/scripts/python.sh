#!/bin/sh
# python.sh [OLDEST]: prints the command of a Python 3 that is new enough, or an error. The only check that is not
# written in Python, as it finds one. OLDEST: minor version, default 11.

# These may be set for another Python, and would keep this one from starting.
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP
# 3.14 is the newest for which all dependencies have wheels: versions up to it are preferred.
for newest in 14 99; do
  for python in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c "import sys; sys.exit(not (3, ${1:-11}) <= sys.version_info[:2] <= (3, $newest))" >/dev/null 2>&1; then
      echo "$python"
      exit
    fi
  done
done
fix="install it (Debian: apt install python3 python3-venv; macOS: brew install python)"
# A system whose python3 is older than 3.11 has no newer package of that name.
old=$(python3 --version 2>/dev/null) && fix="this system's is $old; https://docs.astral.sh/uv/ brings one beside it: uv python install --default"
! command -v uv >/dev/null || fix="uv python install --default brings one"
echo "Python 3.${1:-11} or newer is missing: $fix" >&2
exit 1
