"""Lesson 9, Rate limit: the ingress allows five of six logins, and all other requests."""

import secrets

from lessons.runner.check import LIST, PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="Rate limit",
    learn="limit the requests of a kind in a minute",
    look="Log in on the page, with any name and a wrong password: at the latest the sixth time it shows "
    "Too many attempts, and how long to wait. The rest of the page still works.",
    think="The ingress runs as three pods, each with this limit. How many logins a minute get through?",
    places=("laptop", "istio", "ambient"),
    elsewhere={
        "knative": "The ingress is shared by the whole cluster there, and a lesson changes only this application.",
    },
)

LOGIN = "/api/login/account"
LIMIT, OTHERS = 5, 50


def run(check: Check) -> None:
    guest = check.guest()
    # A new name for each run: user limits the attempts for each name, too, and rejects the eleventh.
    account = {"userName": f"attacker-{secrets.token_hex(4)}", "password": "a-wrong-password"}
    first = guest.send("POST", LOGIN, LIMIT, json=account).with_status(401)
    (sixth,) = guest.send("POST", LOGIN, json=account).all
    other = check.guest()
    others = other.get(PROFILE, OTHERS).all + other.get(LIST, OTHERS).all
    check.that(len(first) == LIMIT, f"{len(first)} of {LIMIT} logins reached user, which rejected the password", "all")
    wait = sixth.headers.get("retry-after")
    check.that(
        sixth.status == 429 and wait,
        f"the sixth login was answered with {sixth.status}, and Retry-After is {wait or 'missing'}",
        "429, and a number of seconds",
    )
    by = sixth.headers.get("x-served-by")
    check.that(not by, f"the sixth was answered by {by or 'the proxy alone'}", "the proxy alone")
    well = sum(answer.status == 200 for answer in others)
    check.that(well == len(others), f"{well} of {len(others)} other requests were answered right after it", "all")
