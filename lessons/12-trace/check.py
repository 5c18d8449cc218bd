"""Lesson 12, One request, one trace: the time of a request, hop by hop."""

import re
import secrets

from lessons.runner.check import LIST, Answer, Check
from lessons.runner.cluster import Cluster
from lessons.runner.lesson import About

ABOUT = About(
    title="One request, one trace",
    learn="follow one request through all services and proxies, with the time of each hop",
    look="The panel Request path shows beside each call how long todolist waited for it. In a cluster, Jaeger draws "
    "the trace: kubectl port-forward --namespace=istio-system service/tracing 16686:80, then open "
    "http://localhost:16686/jaeger/trace/ with the trace id from above behind it.",
    think="The proxies see each request anyway. Why must the application propagate the trace headers?",
    places=("laptop", "istio", "ambient", "knative"),
)


def run(check: Check) -> None:
    trace = secrets.token_hex(16)
    # W3C Trace Context: version, trace id, span id, and the flag 01: sampled.
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    alice = check.person("lesson-alice")
    # The first request of a session also fetches the public keys.
    alice.get(LIST)
    (answer,) = alice.get(LIST, headers=headers).all
    check.that(answer.status == 200, f"One request was sent, with the trace id {trace}", "a response")
    if isinstance(check.place, Cluster):
        show_trace(check, check.place, trace)
    else:
        show_headers(check, answer)


def show_headers(check: Check, answer: Answer) -> None:
    """Print the times in the headers of a response, in milliseconds."""
    ingress = float(answer.headers.get("x-ingress-time", 0)) / 1000
    todolist = float(answer.headers.get("x-todolist-time", 0)) / 1000
    timing = re.search(r"\brule;dur=([\d.]+)", answer.headers.get("server-timing", ""))
    rule = float(timing[1]) if timing else 0.0
    check.that(ingress > 0, f"The ingress took {ingress:.1f} ms (x-ingress-time)", "more than 0 ms")
    # todolist rounds to tenths of a millisecond.
    check.that(
        0 < todolist <= ingress,
        f"  of these todolist took {todolist:.1f} ms (x-todolist-time)",
        f"more than 0 and at most {ingress:.1f} ms",
    )
    check.that(
        0 < rule <= todolist + 0.1,
        f"    of these its call to rule took {rule:.1f} ms (Server-Timing)",
        f"more than 0 and at most {todolist:.1f} ms",
    )
    # From the rounded figures, so that the printed ones add up.
    parts = (round(ingress, 1) - round(todolist, 1), round(todolist, 1) - rule, rule)
    print(f"         So: {parts[0]:.1f} in the ingress + {parts[1]:.1f} in todolist + {parts[2]:.1f} for rule "
          f"= {ingress:.1f} ms")  # fmt: skip


def show_trace(check: Check, cluster: Cluster, trace: str) -> None:
    """Print the spans that Jaeger has of a trace."""
    if not cluster.has("service", "tracing", namespace="istio-system"):
        print("  skipped: this cluster has no Jaeger; `make install-kiali` installs it")
        return
    spans: list[tuple[str, str, float]] = []

    def found() -> bool:
        spans[:] = cluster.spans(trace)
        # A waypoint is one proxy for all services: the operation names the service.
        before = [operation if service.startswith("waypoint.") else service for service, operation, _ in spans]
        return all(any(name.startswith(f"{wanted}.") for name in before) for wanted in ("todolist", "rule"))

    complete = check.eventually(found, 60)
    check.that(complete, f"Jaeger has {len(spans)} spans of it", "spans of todolist and of rule, within a minute")
    for service, operation, milliseconds in spans:
        print(f"         {milliseconds:7.1f} ms  {service}  {operation}")
