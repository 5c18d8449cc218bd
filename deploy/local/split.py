"""Changes the split of user in `make run`: the weights in the routes that Envoy watches. For ../scripts/split.sh."""

import re
import sys
from pathlib import Path

from deploy.local import here, proxy

ROUTES = Path("data/envoy/user-routes.yaml")


def with_weights(routes: str, v1: int | str, v2: int | str) -> tuple[str, int]:
    """Return routes in which each version has its share, in percent, and how many weights there are."""
    changed = 0
    for version, weight in (("v1", v1), ("v2", v2)):
        routes, times = re.subn(rf"(name: user-{version}, weight:) \d+", rf"\1 {weight}", routes)
        changed += times
    return routes, changed


def main(v1: str, v2: str) -> None:
    """Give each version its share, in percent, in every route that has weights. Exits with 1 if there is none."""
    routes, changed = with_weights(ROUTES.read_text(encoding="utf-8"), v1, v2)
    if not changed:
        sys.exit(f"{ROUTES} has no weights: what is on has other routes. `make lesson-reset` ends it.")
    proxy.replace(ROUTES, routes)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as failure:
        sys.exit(here.unwritable(failure))
