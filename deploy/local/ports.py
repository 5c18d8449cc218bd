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
    offset = _number("PORT_OFFSET", environment.get("PORT_OFFSET") or "0", "a number: choose one such as 100")
    found: dict[str, int] = {}
    for name, default in DEFAULTS.items():
        named = environment.get(name)
        port = _number(name, named, f"a port number: choose one from 1024 to {HIGHEST}") if named else default + offset
        if not 0 < port <= HIGHEST:
            if named:
                raise ValueError(f"{name}={named} is no port: choose one from 1024 to {HIGHEST}")
            raise ValueError(f"PORT_OFFSET={offset} makes {name} {port}, which is no port: choose another PORT_OFFSET")
        other = next((other for other, number in found.items() if number == port), None)
        if other:
            raise ValueError(f"{other} and {name} are both {port}: choose another {name}")
        found[name] = port
    return found


def moved(offset: int) -> dict[str, int]:
    """Return the default ports plus an offset."""
    return {name: port + offset for name, port in DEFAULTS.items()}


def _number(name: str, value: str, what: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{name}={value} is not {what}") from None
