"""Lesson 10, Session at the door: the proxy refuses a forged token, and the application never sees it."""

import json

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.lessons.check import PROFILE, Check
from deploy.lessons.lesson import About

ABOUT = About(
    title="Session at the door",
    learn="refuse a forged session before it reaches the application",
    look="Log in, and change a letter in the middle of the cookie jwtToken in the developer tools of your browser: "
    "reload, and instead of the page you get a 401, which also removes the cookie. Reload again, and you are a guest.",
    think="Somebody steals a good token. What does the check at the door do about it?",
    places=("laptop", "istio"),
    elsewhere={
        "ambient": "The waypoint would check, and Istio does not tell it the way to the keys of user.",
        "knative": "A sidecar that wants the keys of user does not wait until Knative has woken user up.",
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
    refused = len(forged.with_status(401))
    check.that(refused == REQUESTS, f"{refused} of {REQUESTS} requests with a forged token were a 401", "all")
    seen = served(check) - before
    check.that(seen == 0, f"todolist and user saw {seen} of these requests", "none")


def forge(token: str) -> str:
    """Return a token that says the same as this one, of the same form, but is signed with a key of our own."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", jwt.get_unverified_header(token))


def served(check: Check) -> int:
    """Return how many requests todolist and user have answered."""
    versions = (("todolist", "v1"), ("user", "v1"), ("user", "v2"))
    return sum(check.place.requests_served(service, version) for service, version in versions)
