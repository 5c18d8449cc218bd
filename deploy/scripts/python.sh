#!/bin/sh
# Prints a Python that is new enough, or says in a line what is missing. The only check that is no Python: it chooses one.
# A shell may have set these for another Python, which then does not start.
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP
# Python 3.11 is the oldest that works, and 3.14 the newest that all dependencies have packages for: one of these, else
# a newer one.
for newest in 14 99; do
  for python in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $newest))" >/dev/null 2>&1; then
      echo "$python"
      exit
    fi
  done
done
echo "Python 3.11 or newer is missing: install it (Debian: apt install python3 python3-venv; macOS: brew install python)" >&2
exit 1
