"""The session: a signed token in a cookie, verified with the public keys of the user service."""

import asyncio
import re
import time
from typing import Any

from cachetools import TTLCache
from fastapi import Request, Response

from services.chassis.caller import Caller
from services.chassis.problems import Problem
from services.todolist.schemas import NewSession
from services.todolist.settings import Settings
from services.todolist.upstream import FAILURES, Upstream

COOKIE, DEVICE_COOKIE = "jwtToken", "knownDevice"
TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,2000}")
DEVICE_LIFETIME = 365 * 24 * 3600
# Minimum seconds between two fetches of the keys, failed ones included: forged tokens must not overload user.
REFRESH_PAUSE = 10
# Seconds by which the clocks of two machines may differ.
LEEWAY = 10
# Verifying a signature costs half as much as a request, so results are cached: how many, and for how many seconds.
CACHE_SIZE, CACHE_SECONDS = 10_000, 600


class Sessions:
    """Determines the caller of a request from its cookie."""

    def __init__(self, settings: Settings, user: Upstream) -> None:
        self._settings, self._user = settings, user
        self._keys: dict[str, Any] = {}
        self._checked: TTLCache[str, dict[str, Any]] = TTLCache(CACHE_SIZE, CACHE_SECONDS)
        self._fetched_at = -float("inf")
        self._fetch: asyncio.Task[None] | None = None

    async def caller(self, request: Request) -> Caller:
        """Return the account of a valid token, else the guest.

        Raises a Problem when there is a token but no key to verify it, because the user service is unavailable.
        """
        token = request.cookies.get(COOKIE)
        if not token:
            return Caller()
        claims = self._checked.get(token) or await self._check(token)
        # A cached token may have expired since.
        if claims is None or time.time() >= claims["exp"] + LEEWAY:
            return Caller()
        return Caller(str(claims["sub"]), str(claims.get("name", "")))

    async def _check(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a valid token, None for any other."""
        # Imported here: it would delay the start, and guests do not need it.
        import jwt

        try:
            key_id = jwt.get_unverified_header(token).get("kid", "")
            if key_id not in self._keys:
                await self._refresh_keys()
            claims: dict[str, Any] = jwt.decode(
                token,
                self._keys[key_id],
                # Fixed here: a token must not choose its own algorithm (RFC 8725, 3.1).
                algorithms=["EdDSA"],
                issuer=self._settings.token_issuer,
                audience=self._settings.token_audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, KeyError, TypeError):
            return None
        self._checked[token] = claims
        return claims

    async def _refresh_keys(self) -> None:
        """Fetch the keys, unless that was tried within REFRESH_PAUSE. Raises a Problem if the fetch failed.

        Concurrent requests share one fetch.
        """
        if self._fetch is None or (self._fetch.done() and time.monotonic() - self._fetched_at >= REFRESH_PAUSE):
            self._fetched_at = time.monotonic()
            self._fetch = asyncio.create_task(self._fetch_keys())
        fetch = self._fetch
        await asyncio.wait([fetch])
        if isinstance(error := fetch.exception(), Problem):
            # A copy: an exception that is raised repeatedly accumulates tracebacks.
            raise Problem(error.status_code, error.detail, headers={"Retry-After": str(REFRESH_PAUSE)})
        if error:
            raise error

    async def _fetch_keys(self) -> None:
        import jwt

        # Without the headers of any request: the result is shared.
        answer = await self._user.call(None, "GET", "/.well-known/jwks.json")
        if answer.status != 200:
            raise self._user.problem(answer.status if answer.status in FAILURES else 502, {})
        try:
            key_set = jwt.PyJWKSet.from_dict(answer.json())
        except (jwt.PyJWTError, ValueError, AttributeError):
            raise answer.invalid() from None
        self._keys = {key.key_id: key for key in key_set.keys if key.key_id}
        self._checked.clear()


def start(request: Request, response: Response, begun: NewSession) -> None:
    """Set two cookies: the session token, and a token by which the user service recognizes this browser."""
    _set_cookie(request, response, COOKIE, begun.token, begun.expires_in, "/")
    _set_cookie(request, response, DEVICE_COOKIE, begun.device, DEVICE_LIFETIME, "/api/login")


def known_device(request: Request) -> str:
    """Return the device token from an earlier login with this browser, or ""."""
    token = request.cookies.get(DEVICE_COOKIE, "")
    return token if TOKEN.fullmatch(token) else ""


def end(request: Request, response: Response) -> None:
    """Clear the session cookie; the device cookie stays."""
    _set_cookie(request, response, COOKIE, "", 0, "/")


def _set_cookie(request: Request, response: Response, name: str, value: str, lifetime: int, path: str) -> None:
    """Set a cookie that scripts cannot read and that is not sent with a cross-site POST. lifetime: seconds."""
    # TLS is terminated in front of us; the ingress sets x-forwarded-proto.
    is_https = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
    response.set_cookie(name, value, max_age=lifetime, path=path, httponly=True, samesite="lax", secure=is_https)
