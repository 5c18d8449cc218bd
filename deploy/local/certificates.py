"""The certificates of HTTPS, for those who use them: where they lie, and a client that trusts them.

authority.py makes them, and takes a while to import.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx

FOLDER = Path("data/tls")
CA = FOLDER / "ca.pem"


def is_enabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the setting TLS is on. Raises ValueError with a sentence."""
    value = environment.get("TLS") or "0"
    if value not in ("0", "1"):
        raise ValueError(f"TLS={value} is neither 1 nor 0: TLS=1 make run serves HTTPS")
    return value == "1"


def client(url: str, timeout: float) -> httpx.Client:
    """Return a client of this address, which trusts the CA and no other. timeout: seconds."""
    verify = ssl.create_default_context(cafile=str(CA)) if url.startswith("https:") else True
    return httpx.Client(base_url=url, timeout=timeout, trust_env=False, verify=verify)
