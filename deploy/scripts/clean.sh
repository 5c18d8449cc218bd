#!/usr/bin/env bash
# Removes everything that was installed or created in this folder; asks before it deletes the data of `make run`.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

if url=$(here); then
  die "\`make run\` is on at $url, and needs what this removes: stop it first"
fi
rm -rf .venv .build test-results .hypothesis .pytest_cache .ruff_cache .mypy_cache
find . -name __pycache__ -type d -prune -exec rm -rf {} +
say "removed: the environment and all caches; the next \`make\` installs them again"
[ -e data ] || exit 0
if confirm "Delete data/, too, with all accounts and todo items of \`make run\`?"; then
  rm -rf data
  say "removed: data/"
else
  say "data/ stays, with all accounts and todo items; \`make clean VOLUMES=delete\` removes it, too"
fi
