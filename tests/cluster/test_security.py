"""Who reaches what: nobody but the right caller, and only over mutual TLS."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.cluster.conftest import NAMESPACE, eventually, exists, get, kubectl

PARTS = ["user", "rule", "user-database", "rule-database"]


def open_parts(found: dict[str, str]) -> list[str]:
    """Return the parts that were reached."""
    return [part for part, what in found.items() if what.startswith("reached")]


@pytest.mark.timeout(300)
def test_a_pod_beside_the_application_reaches_none_of_it(stranger: Callable[..., Any]) -> None:
    assert open_parts(stranger().reaches()) == []


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Make a namespace outside the application and its mesh."""
    name = f"{NAMESPACE}-stranger-{uuid.uuid4().hex[:6]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.timeout(300)
def test_plain_http_to_a_sidecar_is_refused(stranger: Callable[..., Any], elsewhere: str) -> None:
    assert open_parts(stranger(elsewhere, sidecar=False).reaches()) == []


@pytest.fixture
def without_policies() -> Iterator[None]:
    """Take the policies away for a moment: those of the mesh and, where there are any, those of the network."""
    ours = ("authorizationpolicies,networkpolicies", "--selector=app.kubernetes.io/part-of=todolist")
    kept = get(*ours)
    for policy in kept["items"]:
        for key in ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"):
            policy["metadata"].pop(key, None)
    kubectl("delete", *ours)
    try:
        yield
    finally:
        kubectl("apply", "--filename=-", stdin=json.dumps(kept))


@pytest.mark.usefixtures("without_policies", "on_istio")
@pytest.mark.timeout(300)
def test_the_policies_are_what_keeps_it_out(stranger: Callable[..., Any]) -> None:
    # So that the first test can fail: the same pod reaches everything once the policies are gone.
    pod = stranger()
    eventually(lambda: open_parts(pod.reaches()) == PARTS, seconds=60, interval=3)


def test_a_forged_session_is_refused_at_the_door(guest: httpx.Client, person: httpx.Client) -> None:
    if not exists("requestauthentications.security.istio.io/todolist"):
        pytest.skip("`make deploy REQUEST_AUTHENTICATION=1` lets the sidecar check sessions")
    assert person.get("/api/rule").status_code == 200
    token = person.cookies["jwtToken"]
    forged = guest.get("/api/rule", headers={"cookie": f"jwtToken={token[:-8]}AAAAAAAA"})
    # The sidecar's own words: the request did not come to todolist, which would have served a guest.
    assert (forged.status_code, "x-served-by" in forged.headers) == (401, False)
    refused = guest.get("/api/users")
    assert (refused.status_code, "x-served-by" in refused.headers) == (403, False)
