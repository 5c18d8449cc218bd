"""Lesson 10, Session at the proxy: the proxy rejects a forged token, and the application never receives it."""

import json

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lessons.runner.check import PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Session at the proxy",
    learn="reject a forged session before it reaches the application",
    look="Log in, and change a letter in the middle of the cookie jwtToken in the developer tools of your browser: "
    "reload, and instead of the page you get a 401, which also removes the cookie. Reload again, and you are a guest.",
    think="An attacker steals a valid token. What does the validation at the proxy do about it?",
    places=("laptop", "istio"),
    elsewhere={
        "ambient": "Istio does not configure a waypoint to fetch keys from user, a service behind it.",
        "knative": "A sidecar that fetches the keys of user does not wait for a cold start of user.",
    },
)

COOKIE, NAME = "jwtToken", "lesson-alice"
REQUESTS = 50


def run(check: Check) -> None:
    alice, guest = check.person(NAME), check.guest()
    own = [json.loads(answer.body).get("name") for answer in alice.get(PROFILE, REQUESTS).all].count(NAME)
    check.that(own == REQUESTS, f"{own} of {REQUESTS} requests with the token of {NAME} got this name", "all")
    without = len(guest.get(PROFILE, REQUESTS).with_status(200))
    check.that(without == REQUESTS, f"{without} of {REQUESTS} requests without a token were answered", "all")

    before = served(check)
    forged = guest.get(PROFILE, REQUESTS, headers={"cookie": f"{COOKIE}={forge(alice.cookie(COOKIE))}"})
    rejected = len(forged.with_status(401))
    check.that(rejected == REQUESTS, f"{rejected} of {REQUESTS} requests with a forged token were a 401", "all")
    received = served(check) - before
    check.that(received == 0, f"todolist and user received {received} of these requests", "none")


def forge(token: str) -> str:
    """Return a token with the same claims and format as this one, but signed with a key of our own."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", jwt.get_unverified_header(token))


def served(check: Check) -> int:
    """Return how many requests todolist and user have answered."""
    versions = (("todolist", "v1"), ("user", "v1"), ("user", "v2"))
    return sum(check.place.requests_served(service, version) for service, version in versions)
