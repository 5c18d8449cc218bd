"""Passwords: argon2id, off the event loop."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from services.chassis.problems import Problem

# OWASP Password Storage Cheat Sheet, argon2id: 19 MiB, 2 passes, 1 lane.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# An unknown name is checked against this, so that its answer takes as long: a salt and a digest of no password.
NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "A" * 43
# Each hash takes a core for tens of milliseconds: few at once, and few that wait. A proxy that lets the gateway work on
# 64 requests still has room for others while the passwords of both versions of user wait.
WORKERS = 2
MAX_PLACES = 24


class Passwords:
    """Hashes and checks passwords, two at a time; requests take a place first."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS, "argon2")
        self._places_taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Keep a place among those who wait; raises a 503 Problem when there is none left."""
        if self._places_taken >= MAX_PLACES:
            raise Problem(503, "Too many passwords are being checked.", headers={"Retry-After": "2"})
        self._places_taken += 1
        try:
            yield
        finally:
            self._places_taken -= 1

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, HASHER.hash, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Say whether the password is that of the hash; False, after the same time, when there is no hash."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, HASHER.verify, password_hash or NOBODY, password)
        except VerifyMismatchError:
            return False
