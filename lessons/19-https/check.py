"""Lesson 19, HTTPS at the ingress: it terminates TLS, and a client refuses a certificate that proves nothing."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx

from deploy.local import certificates
from lessons.runner.check import PROFILE, Check
from lessons.runner.lesson import About

ABOUT = About(
    title="HTTPS at the ingress",
    learn="encrypt what browsers send, and prove to them which server answers",
    look="Open the page again: the address begins with https, and the browser warns, as it does not trust this CA. "
    "Look at the certificate that it shows: who issued it, and until when it is valid.",
    think="A browser that trusts data/tls/ca.pem shows no warning. What could an attacker do with a stolen "
    "data/tls/ca.key?",
    places=("laptop", "istio", "ambient"),
    elsewhere={
        "knative": "HTTPS is not there for the Knative set: its ingress belongs to all applications of the cluster. "
        "The page says which of Knative's settings are for it.",
    },
    certificates=True,
)

REQUESTS = 20


def run(check: Check) -> None:
    with doors(check) as (at, plainly):
        connections(check, at)
        requests(check, at, plainly)
        certificates_of_others(check, at)


@contextmanager
def doors(check: Check) -> Iterator[tuple[str, str]]:
    """Give host and port for HTTPS and for plain HTTP: on the laptop one port serves both."""
    if check.place.name == "laptop":
        yield check.laptop.address(), check.laptop.address()
        return
    with check.cluster.forwarded(443) as secure, check.cluster.forwarded(80) as plain:
        yield secure, plain


def connections(check: Check, at: str) -> None:
    """Check what a client and the ingress agree on."""
    check.eventually(lambda: negotiated(at)[0] == "TLSv1.3")
    version, protocol = negotiated(at)
    check.that(version == "TLSv1.3", f"client and ingress agreed on {version}", "TLSv1.3")
    check.that(protocol == "h2", f"and on {protocol} by ALPN", "h2, which is HTTP/2")
    check.eventually(lambda: refusal(at, ssl.TLSVersion.TLSv1_2))
    old = refusal(at, ssl.TLSVersion.TLSv1_2)
    check.that(old, f"with TLS 1.2 as the highest version, the handshake fails: {old or 'it does not'}", "a failure")


def requests(check: Check, at: str, plainly: str) -> None:
    """Check the answers over HTTPS and over plain HTTP."""
    answers = check.guest().get(PROFILE, REQUESTS)
    good = len(answers.with_status(200))
    check.that(good == REQUESTS, f"{good} of {REQUESTS} requests over HTTPS were answered", "all")
    sent_on = [answer.headers.get("strict-transport-security") for answer in answers.all].count("max-age=60")
    check.that(sent_on == REQUESTS, f"{sent_on} of the answers have Strict-Transport-Security", "all")
    # A browser at the ports 80 and 443 of a cluster names neither; the forwarded ones are others.
    host = at if check.place.name == "laptop" else plainly.partition(":")[0]
    plain = httpx.get(f"http://{plainly}/?page=2", headers={"host": host}, trust_env=False)
    where = plain.headers.get("location", "no other address")
    wanted = f"https://{host}/?page=2"
    check.that(where == wanted, f"a request over plain HTTP is sent to {where}", wanted)
    is_secure = check.person("lesson-alice").cookie_is_secure("jwtToken")
    check.that(is_secure, f"the cookie of a session is {'' if is_secure else 'not '}Secure", "Secure")


def certificates_of_others(check: Check, at: str) -> None:
    """Check that a client refuses a certificate that proves nothing."""
    for kind, reason in (("expired", "certificate has expired"), ("foreign", "unable to get local issuer certificate")):
        check.certificate(kind, f"the ingress presents another certificate: {kind}")
        check.eventually(lambda reason=reason: reason in refusal(at))
        said = refusal(at)
        check.that(reason in said, f"the client refuses it: {said or 'no'}", reason)
    check.certificate("ingress", "the ingress presents the first certificate again")
    check.that(check.eventually(lambda: not refusal(at)), "the client accepts it", "this")


def negotiated(at: str) -> tuple[str, str]:
    """Return the version of TLS and the protocol that a client like a browser agrees on; "nothing" without TLS."""
    context = trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with connected(at, context) as connection:
            return connection.version() or "nothing", connection.selected_alpn_protocol() or "nothing"
    except OSError:
        return "nothing", "nothing"


def refusal(at: str, highest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> str:
    """Return why the handshake of a client fails, "" if it does not. highest: the version of TLS that it knows."""
    context = trusting()
    context.maximum_version = highest
    try:
        connected(at, context).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except ssl.SSLError as error:
        return str(error.reason).lower().replace("_", " ")
    except OSError as error:
        # `kubectl port-forward` begins anew.
        return str(error)
    return ""


def trusting() -> ssl.SSLContext:
    """Return the settings of a client that trusts the local CA, and no other; any, where there is none yet."""
    return ssl.create_default_context(cafile=str(certificates.CA) if certificates.CA.exists() else None)


def connected(at: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a TLS connection."""
    url = urlsplit(f"//{at}")
    plain = socket.create_connection((url.hostname, url.port), timeout=10)
    try:
        return context.wrap_socket(plain, server_hostname=url.hostname)
    except BaseException:
        plain.close()
        raise
