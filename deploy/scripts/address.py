"""The address of an ingress, and Knative's domain.

usage: address.py of SERVICE NAMESPACE       prints the address, an IP or a name; nothing without a load balancer
       address.py domain SERVICE NAMESPACE   sets Knative's domain to a name for it, unless the cluster has one
A load balancer may take minutes: this waits for it while the Service is new and the platform has load balancers.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import signal
import socket
import subprocess
import sys
import time
from typing import Any

# The age of a Service, in seconds, after which no address is expected. In a cloud a load balancer takes minutes to
# start.
MAX_AGE, MAX_AGE_IN_A_CLOUD = 30, 300
INTERVAL = 2
LOCAL = "127.0.0.1.sslip.io"
# Annotation with the domain that this script set, so that a later run may replace it.
GIVEN = "todolist/domain"


def kubectl(*args: str) -> str:
    """Return the output of kubectl, or "" if it fails."""
    command = ["kubectl", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603


def get(*what: str) -> Any:
    """Return an object or a list, or an empty dictionary."""
    return json.loads(kubectl("get", *what, "--output=json", "--ignore-not-found").strip() or "{}")


def addresses(service: Any) -> list[str]:
    """Return the addresses of the load balancer of a Service."""
    given = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [entry.get("ip") or entry["hostname"] for entry in given if entry.get("ip") or entry.get("hostname")]


def age(service: Any) -> float:
    """Return the age of the Service in seconds, by this machine's clock."""
    made = datetime.datetime.strptime(service["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%S%z")
    return (datetime.datetime.now(made.tzinfo) - made).total_seconds()


def max_age() -> int:
    """Return how long a load balancer may take on this platform: nodes name their cloud."""
    providers = {node.get("spec", {}).get("providerID", "").partition(":")[0] for node in get("nodes").get("items", [])}
    return MAX_AGE_IN_A_CLOUD if providers - {"", "kind", "k3s"} else MAX_AGE


def find(name: str, namespace: str) -> list[str]:
    """Return the Service's addresses; wait for them up to max_age."""
    limit = 0
    while True:
        service = get("service", name, f"--namespace={namespace}")
        found = addresses(service)
        if found or service.get("spec", {}).get("type") != "LoadBalancer":
            return found
        limit = limit or max_age()
        left = limit - age(service)
        if left <= 0:
            return []
        print(f"waiting for the load balancer of {namespace}/{name}, {left:.0f} s at most", file=sys.stderr)
        condition = "--for=jsonpath={.status.loadBalancer.ingress}"
        wait = ["kubectl", "wait", f"service/{name}", f"--namespace={namespace}", condition, f"--timeout={left:.0f}s"]
        if subprocess.run(wait, capture_output=True, check=False).returncode:  # noqa: S603
            time.sleep(min(left, INTERVAL))


def resolve(name: str) -> list[str]:
    """Return the IP addresses of a name, or the address itself."""
    try:
        return [str(ipaddress.ip_address(name))]
    except ValueError:
        pass
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)})
    except OSError:
        return []


def sslip(address: str) -> str:
    """Return a name that resolves to the address, as Knative's own default-domain job writes it."""
    return f"{address.replace(':', '-')}.sslip.io"


def defaults(data: dict[str, str]) -> list[str]:
    """Return the default domains: those without a selector."""
    return [name for name, value in data.items() if not name.startswith("_") and "selector" not in value]


def set_domain(service: str, namespace: str) -> str:
    """Set Knative's domain, and return what was done. A domain that was set by others is kept, as the only one."""
    config = get("configmap", "config-domain", "--namespace=knative-serving")
    present = defaults(config.get("data") or {})
    ours = {LOCAL, (config.get("metadata", {}).get("annotations") or {}).get(GIVEN, "")}
    own = [name for name in present if name not in ours]
    if own:
        wanted = own[0]
        said = f"Knative keeps its domain {wanted}"
    else:
        found = find(service, namespace)
        reachable = [sslip(address) for name in found for address in resolve(name)]
        kept = [name for name in present if name in reachable]
        wanted = next(iter(kept + reachable), LOCAL)
        said = f"Knative's domain is {wanted}"
        if found and not reachable:
            said = f"the name {found[0]} does not resolve yet: once it does, `make install-knative` again"
    data: dict[str, str | None] = {name: None for name in present if name in ours and name != wanted}
    if not own:
        data[wanted] = ""
    patch = {"metadata": {"annotations": {GIVEN: None if own else wanted}}, "data": data}
    config_map = ("configmap/config-domain", "--namespace=knative-serving")
    command = ["kubectl", "patch", *config_map, "--type=merge", f"--patch={json.dumps(patch)}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return said


def main(command: str, service: str, namespace: str) -> None:
    """Run a command."""
    if command == "domain":
        print(f"==> {set_domain(service, namespace)}")
    else:
        print(next(iter(find(service, namespace)), ""))


if __name__ == "__main__":
    # Ctrl-C prints no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main(*sys.argv[1:])
