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
# Checked for an unknown name, so that the response takes as long (no timing side channel). It matches no password.
DUMMY_HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "A" * 43
# Each hash takes a core for tens of milliseconds, so few run at once and few wait. With two versions of user a flood of
# logins occupies 48 of the 64 requests that the laptop's ingress allows at a time, beside those to /api/rule.
WORKERS = 2
MAX_SLOTS = 24


class Passwords:
    """Hashes and checks passwords, two at a time; a request acquires a slot first."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS, "argon2")
        self._slots_used = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot; raises a 503 Problem when none is free."""
        if self._slots_used >= MAX_SLOTS:
            raise Problem(503, "Too many passwords are being checked.", headers={"Retry-After": "2"})
        self._slots_used += 1
        try:
            yield
        finally:
            self._slots_used -= 1

    async def hash(self, password: str) -> str:
        """Return the hash to store."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, HASHER.hash, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Return whether the password matches the hash; without a hash False, after the same time."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, HASHER.verify, password_hash or DUMMY_HASH, password)
        except VerifyMismatchError:
            return False
