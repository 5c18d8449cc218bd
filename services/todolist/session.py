"""The session: a signed token in a cookie, checked with the keys that the user service publishes."""

import asyncio
import re
import time
from typing import Any

from fastapi import Request, Response

from services.chassis.caller import Caller
from services.todolist.settings import Settings
from services.todolist.upstream import Upstream

COOKIE, DEVICE_COOKIE = "jwtToken", "knownDevice"
DEVICE_LIFETIME = 365 * 24 * 3600
TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,2000}")
KEYS_PATH = "/.well-known/jwks.json"
# Unknown keys are looked up again at most this often (seconds): forged tokens must not flood the user service.
REFRESH_PAUSE = 10
# The clocks of two machines may differ by so many seconds.
LEEWAY = 10
# Checking a signature costs as much as half a request: what was checked is remembered for so many tokens.
REMEMBERED = 10_000
GUEST_CALLER = Caller()


class Sessions:
    """Tells who a request comes from."""

    def __init__(self, settings: Settings, user: Upstream) -> None:
        self._settings, self._user = settings, user
        self._keys: dict[str, Any] = {}
        self._checked: dict[str, dict[str, Any]] = {}
        self._fetched_at = -float("inf")
        self._fetching = asyncio.Lock()

    async def caller(self, request: Request) -> Caller:
        """Return the account of a valid token, else the guest.

        Raises a Problem when there is a token and no key to check it with, because user is away.
        """
        token = request.cookies.get(COOKIE)
        if not token:
            return GUEST_CALLER
        claims = self._checked.get(token) or await self._check(request, token)
        # Also what was checked before may have ended since, or be from the future: a clock can be put back.
        if claims is None or not claims["iat"] - LEEWAY <= time.time() < claims["exp"] + LEEWAY:
            return GUEST_CALLER
        return Caller(str(claims["sub"]), str(claims.get("name", "")))

    async def _check(self, request: Request, token: str) -> dict[str, Any] | None:
        """Return the claims of a valid token, None for any other."""
        # Imported here: the gateway is ready before, and guests never need it.
        import jwt

        try:
            key_id = jwt.get_unverified_header(token).get("kid", "")
            if key_id not in self._keys:
                await self._fetch(request)
            claims: dict[str, Any] = jwt.decode(
                token,
                self._keys[key_id],
                # Named here and not taken from the token: else it could choose how it is checked (RFC 8725, 3.1).
                algorithms=["EdDSA"],
                issuer=self._settings.token_issuer,
                audience=self._settings.token_audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, KeyError, TypeError):
            return None
        if len(self._checked) >= REMEMBERED:
            self._checked.clear()
        self._checked[token] = claims
        return claims

    async def _fetch(self, request: Request) -> None:
        """Get the keys, unless that was done a moment ago."""
        import jwt

        async with self._fetching:
            if time.monotonic() - self._fetched_at < REFRESH_PAUSE:
                return
            answer = await self._user.call(request, "GET", KEYS_PATH)
            try:
                key_set = jwt.PyJWKSet.from_dict(answer.json())
            except (jwt.PyJWTError, ValueError, AttributeError):
                raise answer.senseless() from None
            self._keys = {key.key_id: key for key in key_set.keys if key.key_id}
            self._checked.clear()
            self._fetched_at = time.monotonic()


def start(request: Request, response: Response, token: str, lifetime: int) -> None:
    """Put the token into the cookie of the answer. lifetime: seconds."""
    response.set_cookie(
        COOKIE, token, max_age=lifetime, path="/", httponly=True, samesite="lax", secure=_is_https(request)
    )


def remember_device(request: Request, response: Response, token: str) -> None:
    """Let the browser keep, also after logging out, that somebody logged in on it."""
    response.set_cookie(
        DEVICE_COOKIE,
        token,
        max_age=DEVICE_LIFETIME,
        path="/api/login",
        httponly=True,
        samesite="lax",
        secure=_is_https(request),
    )


def known_device(request: Request) -> str:
    """Return the token that remember_device gave to the browser, or "" where there is nothing like it."""
    token = request.cookies.get(DEVICE_COOKIE, "")
    return token if TOKEN.fullmatch(token) else ""


def end(request: Request, response: Response) -> None:
    """Clear the cookie."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=_is_https(request))


def _is_https(request: Request) -> bool:
    """Say whether the browser speaks https: TLS ends before us, and the ingress says so."""
    return request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
