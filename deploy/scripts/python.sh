#!/bin/sh
# python.sh [OLDEST]: prints a Python 3 that is new enough, or says in a line what is missing. The only check that is no
# Python: it chooses one. OLDEST: 11 unless it is said.
# A shell may have set these for another Python, which then does not start.
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP
# 3.14 is the newest that all dependencies have packages for: one up to it, else a newer one.
for newest in 14 99; do
  for python in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c "import sys; sys.exit(not (3, ${1:-11}) <= sys.version_info[:2] <= (3, $newest))" >/dev/null 2>&1; then
      echo "$python"
      exit
    fi
  done
done
mend="install it (Debian: apt install python3 python3-venv; macOS: brew install python)"
# A system that is older than 3.11 has no newer package under that name.
old=$(python3 --version 2>/dev/null) && mend="this system's is $old; https://docs.astral.sh/uv/ brings one beside it: uv python install --default"
! command -v uv >/dev/null || mend="uv python install --default brings one"
echo "Python 3.11 or newer is missing: $mend" >&2
exit 1
