"""Passwords under attack: timing of a login, and the effect of a flood of registrations on other requests."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest

from tests.conftest import ON_SQLITE, NewDatabase
from tests.faults.conftest import Figure, whole_system
from tests.forking import Forked
from tests.support import Service, running

PASSWORD = "a good password"
ROUNDS = 100
FLOOD = 200
SLOWEST_READ, SLOWEST_REFUSAL = 3, 10

pytestmark = [ON_SQLITE, pytest.mark.alone]


@pytest.fixture
def client(new_database: NewDatabase, rule: Service, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a system in which the user service never returns 429."""
    user = Forked("user", tmp_path, DATABASE_URL=new_database(), LOGIN_ATTEMPTS="1000000")
    system = whole_system(tmp_path / "ingress", user_port=user.port, rule_port=rule.port)
    with running(user), system as (envoy, _), httpx.Client(base_url=envoy.url, timeout=30, trust_env=False) as client:
        yield client


def post(client: httpx.Client, path: str, name: str, password: str) -> tuple[float, httpx.Response]:
    """Return how many seconds the answer took, and the answer."""
    started = time.perf_counter()
    answer = client.post(path, json={"userName": name, "password": password})
    return time.perf_counter() - started, answer


def test_a_login_takes_as_long_for_an_unknown_name(client: httpx.Client, figure: Figure) -> None:
    post(client, "/user/register", "known", PASSWORD)
    seconds: dict[str, list[float]] = {"known": [], "nobody": []}
    for _ in range(ROUNDS):
        for name, taken in seconds.items():
            duration, answer = post(client, "/api/login/account", name, "not the password")
            assert answer.status_code == 401
            taken.append(duration)
    known, unknown = (statistics.median(taken) for taken in seconds.values())
    # Neighbours, because a busy machine changes its pace meanwhile.
    difference = statistics.median(one - other for one, other in zip(*seconds.values(), strict=True))
    assert abs(difference) / known <= 0.05, (known, unknown)
    figure(
        "The time of a login does not tell whether there is such a name",
        f"medians of {ROUNDS} each: {known * 1000:.1f} ms known, {unknown * 1000:.1f} ms unknown",
    )


def test_a_flood_of_registrations_does_not_slow_down_others(client: httpx.Client, figure: Figure) -> None:
    reads: list[float] = []

    async def register(crowd: aiohttp.ClientSession, number: int) -> tuple[float, int, str | None]:
        started = time.perf_counter()
        account = {"userName": f"flood{number}", "password": PASSWORD}
        async with crowd.post("/user/register", json=account) as answer:
            return time.perf_counter() - started, answer.status, answer.headers.get("retry-after")

    async def flood() -> list[tuple[float, int, str | None]]:
        unlimited = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(str(client.base_url), connector=unlimited) as crowd:
            registrations = asyncio.gather(*(register(crowd, number) for number in range(FLOOD)))
            while not registrations.done():
                started = time.perf_counter()
                for path in ("/api/rule", "/api/currentUser"):
                    async with crowd.get(path) as answer:
                        assert answer.status == 200
                reads.append(time.perf_counter() - started)
            return await registrations

    answers = asyncio.run(flood())
    made = [status for _, status, _ in answers if status == 201]
    refused = [(seconds, retry) for seconds, status, retry in answers if status == 503]
    assert len(made) + len(refused) == FLOOD
    assert refused
    assert {retry for _, retry in refused} == {"2"}
    usual_read, slowest_refusal = statistics.median(reads), max(seconds for seconds, _ in refused)
    assert usual_read < 0.2
    assert max(reads) < SLOWEST_READ
    assert slowest_refusal < SLOWEST_REFUSAL
    assert post(client, "/user/register", "after", PASSWORD)[1].status_code == 201
    figure(
        f"{FLOOD} registrations at once leave the others quick",
        f"{len(made)} made, {len(refused)} refused with Retry-After within {slowest_refusal:.1f} s; "
        f"{len(reads)} reads of others meanwhile, median {usual_read * 1000:.0f} ms, "
        f"slowest {max(reads) * 1000:.0f} ms",
    )
