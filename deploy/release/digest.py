"""Resolve image tags in a registry to digests, which are immutable.

usage: digest.py REGISTRY/NAME:TAG ...    prints REGISTRY/NAME@sha256:..., a line each
A registry on this machine is called without TLS. Credentials, if required: REGISTRY_USER and REGISTRY_TOKEN.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

# Indexes of several platforms, then images of one.
KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")


def resolve(image: str) -> str:
    """Return the name of an image with its digest."""
    name, _, tag = image.rpartition(":")
    host, _, path = name.partition("/")
    scheme = "http" if LOCAL.fullmatch(host) else "https"
    url, headers = f"{scheme}://{host}/v2/{path}/manifests/{tag}", {"Accept": ", ".join(KINDS)}
    try:
        body = fetch(url, headers)
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        body = fetch(url, {**headers, "Authorization": f"Bearer {token(error.headers['WWW-Authenticate'])}"})
    # Computed here, not trusted from the registry.
    return f"{name}@sha256:{hashlib.sha256(body).hexdigest()}"


def token(challenge: str) -> str:
    """Fetch a token from the server in a challenge such as `Bearer realm="...",service="..."`."""
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urllib.parse.urlencode({name: wanted[name] for name in ("service", "scope") if name in wanted})
    headers = {}
    if user := os.environ.get("REGISTRY_USER"):
        secret = f"{user}:{os.environ.get('REGISTRY_TOKEN', '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
    answer = json.loads(fetch(f"{wanted['realm']}?{query}", headers))
    return str(answer.get("token") or answer["access_token"])


def fetch(url: str, headers: dict[str, str]) -> bytes:
    """Return the body of a response."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http only for this machine
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return bytes(answer.read())


def main() -> int:
    """Print the digests of the command line's images."""
    for image in sys.argv[1:]:
        try:
            print(resolve(image))
        except (OSError, KeyError, ValueError) as error:
            print(f"{image} is not in its registry: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
