"""`make split V1=90 V2=10` for `make run`: changes the weights in the routes that Envoy watches.

It exits with 1 if `make run` is not on here, and with 2 if there is nothing to change.
"""

import re
import sys
from pathlib import Path

from deploy.local import here, proxy

ROUTES = Path("data/envoy/user-routes.yaml")


def main(v1: str, v2: str) -> int:
    """Give each version its share, in percent."""
    if not (run := here.current()):
        return 1
    routes, changed = ROUTES.read_text(encoding="utf-8"), 0
    for version, weight in (("v1", v1), ("v2", v2)):
        routes, times = re.subn(rf"(name: user-{version}, weight:) \d+", rf"\1 {weight}", routes)
        changed += times
    if not changed:
        print(f"{ROUTES} names no weights of user-v1 and user-v2")
        return 2
    proxy.replace(ROUTES, routes)
    print(f"user of `make run` at {run.url}: v1 {v1} %, v2 {v2} %")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
