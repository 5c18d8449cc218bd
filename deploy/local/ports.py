"""The ports of `make run`: defaults, a variable for each, and PORT_OFFSET, which is added to each that is not set."""

from __future__ import annotations

import os
from collections.abc import Mapping

from deploy.local import proxy

DEFAULTS = {**proxy.ENVOY_PORTS, **proxy.SERVICE_PORTS}
# Opened in a browser, as localhost.
OPENED = ("PORT", "ENVOY_ADMIN_PORT")
HIGHEST = 65535


def chosen(environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Return the ports by their settings. Raises ValueError if one is invalid or two are the same."""
    offset = environment.get("PORT_OFFSET") or "0"
    if not offset.removeprefix("-").isdecimal():
        raise ValueError(f"PORT_OFFSET={offset} is not a number: choose one such as 100")
    found: dict[str, int] = {}
    for name, default in DEFAULTS.items():
        named = environment.get(name)
        if named and not (named.isdecimal() and 0 < int(named) <= HIGHEST):
            raise ValueError(f"{name}={named} is no port: choose one from 1024 to {HIGHEST}")
        port = int(named) if named else default + int(offset)
        if not 0 < port <= HIGHEST:
            raise ValueError(f"PORT_OFFSET={offset} makes {name} {port}, which is no port: choose another PORT_OFFSET")
        other = next((other for other, number in found.items() if number == port), None)
        if other:
            raise ValueError(f"{other} and {name} are both {port}: choose another {name}")
        found[name] = port
    return found
