"""A cluster: the one that kubectl points at, and the set of manifests in it.

This is the set for Istio with sidecars (deploy/istio). ambient.py and knative.py have what differs in the others.
"""

import base64
import json
import os
import re
import runpy
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import httpx
import yaml

from deploy.local import certificates
from lessons.runner.lesson import Lesson, PlaceName
from lessons.runner.place import SLOW, Figures, UnsuitableError, count_requests, waiting_events
from lessons.runner.stranger import Stranger
from lessons.runner.waiting import wait_until

ROOT = Path(__file__).parents[2]
MARK = Path(__file__).with_name("mark.yaml")
# The way of a namespace to ambient mode, and back.
MOVE = ROOT / "lessons/21-ambient/move.py"
# What a reset applies again, by the API groups of the kinds: lessons may have replaced it.
GROUPS = (
    "networking.istio.io/",
    "security.istio.io/",
    "gateway.networking.k8s.io/",
    "autoscaling/",
    "eventing.knative.dev/",
)
# The fields that only the API server writes, in a diff.
SERVER_FIELDS = re.compile(
    r'^diff |last-applied|^. +\{"apiVersion|^. +(creationTimestamp|generation|resourceVersion|uid):'
)
# The Secret with the certificate of lesson 19. `make deploy TLS=1` has one of its own.
LESSON_CERTIFICATE = "lesson-certificate"
# The options of `make deploy` that change what a reset applies again, each with what shows that it was chosen.
OPTIONS = {
    "TLS": ("httproutes.gateway.networking.k8s.io/https-redirect", "{.metadata.name}"),
    "INGRESS_SERVICE": (
        "gateways.gateway.networking.k8s.io/ingress",
        r"{.metadata.annotations.networking\.istio\.io/service-type}",
    ),
}
# So many consecutive answers that name the lesson show that each pod of todolist, and so the mesh, has it.
IN_A_ROW = 20


def script(function: str, namespace: str, **settings: str) -> str:
    """Run a function of deploy/scripts/lib.sh, and return what it prints. Raises UnsuitableError when it fails."""
    command = ["bash", "-c", f". deploy/scripts/lib.sh; {function}"]
    environment = {**os.environ, "NAMESPACE": namespace, **settings}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UnsuitableError(f"{function}: {done.stderr.strip()}")
    return done.stdout.strip()


class Cluster:
    """The application in a namespace of a cluster, with sidecars."""

    name: PlaceName = "istio"
    # The paths to request until the responses name the lesson.
    watched: tuple[str, ...] = ("/healthz",)

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        # Placeholders in a lesson's files, and their values at run time, such as the address of a pod.
        self.replaced: dict[str, str] = {}
        context = self.kubectl("config", "current-context").strip()
        self.description = f"TARGET={self.name} in namespace {namespace} of {context}"

    def kubectl(self, *arguments: str, stdin: str | None = None, accept: tuple[int, ...] = (0,)) -> str:
        """Run kubectl in the namespace and return what it prints. Raises UnsuitableError when it fails."""
        command = ["kubectl", f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)  # noqa: S603
        if done.returncode not in accept:
            raise UnsuitableError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
        return done.stdout

    def current(self) -> str | None:
        return script("deployed_lesson", self.namespace) or None

    def difference(self, lesson: Lesson, *, comments: bool = False) -> str:  # noqa: ARG002 - kubectl knows none
        lines = [line for item in self._lesson_objects(lesson, "") for line in self._difference_of(item)]
        # Files are named without the folder that kubectl made for them, and without the time.
        return "".join(re.sub(r"/\S+/(\S+)\t.*", r"\1", line) for line in lines if not SERVER_FIELDS.search(line))

    def change(self, lesson: Lesson) -> str:
        path = lesson.change(self.name)
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def must_be_on(self) -> None:
        """Do nothing: in a cluster, the responses show the failure."""

    def apply(self, lesson: Lesson, step: str = "") -> None:
        if lesson.about.certificates:
            from deploy.local import authority

            names = (f"ingress-istio.{self.namespace}.svc.cluster.local",)
            authority.make(names)
            authority.make_bad(names)
            self.present("ingress")
        for item in self._lesson_objects(lesson, step):
            self._apply_one(item)
        self._apply_one(self._mark(lesson))
        self._wait_for(lesson.name)

    def present(self, certificate: str) -> None:
        files = {"tls.crt": f"{certificate}.pem", "tls.key": f"{certificate}.key", "ca.crt": certificates.CA.name}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": LESSON_CERTIFICATE, "labels": {"lesson": ""}},
            "stringData": {name: (certificates.FOLDER / file).read_text() for name, file in files.items()},
        }
        self._apply_one(secret)

    def reset(self) -> None:
        if self.kubectl("get", "namespace", self.namespace, "--output=jsonpath={.metadata.labels.moving}"):
            # Lesson 21 was interrupted on its way.
            for step in runpy.run_path(str(MOVE))["Move"](self).back():
                step.do()
        # First what the set has under the same names, so that nothing is ever missing; then what only lessons have.
        self._put_back(self.objects())
        script("delete_lesson", self.namespace)
        self._wait_for(None)

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        authority = self.authority()
        *_, headers = self._ingress()
        with (
            self.forwarded(443 if authority else 80) as at,
            httpx.Client(
                base_url=f"{'https' if authority else 'http'}://{at}",
                # No idle connection is kept: each breaks when kubectl ends, and forwards the port again.
                headers={**headers, "connection": "close"},
                timeout=60,
                transport=httpx.HTTPTransport(
                    verify=ssl.create_default_context(cadata=authority) if authority else True,
                    retries=5,
                    trust_env=False,
                ),
            ) as client,
        ):
            yield client

    def authority(self) -> str:
        """Return the CA whose certificate the ingress presents, as PEM; "" while it serves no HTTPS."""
        listeners = r"{.spec.listeners[?(@.name=='https')].tls.certificateRefs[0].name}"
        gateway = "gateways.gateway.networking.k8s.io/ingress"
        name = self.kubectl("get", gateway, "--ignore-not-found", f"--output=jsonpath={listeners}")
        ca = r"--output=jsonpath={.data.ca\.crt}"
        return base64.b64decode(self.kubectl("get", f"secret/{name}", ca)).decode() if name else ""

    def address_inside(self) -> str:
        """Return the URL of the ingress for pods."""
        return f"{'https' if self.authority() else 'http'}://ingress-istio.{self.namespace}.svc.cluster.local"

    def requests_served(self, service: str, version: str, method: str = "GET") -> int:
        return sum(count_requests(text, method) for text in self._metrics(service, version))

    def split(self, v1: int, v2: int) -> None:
        # Reads and writes.
        weights = [(f"/spec/http/{rule}/route/{place}/weight", (v1, v2)[place]) for rule in (0, 1) for place in (0, 1)]
        patch = [{"op": "replace", "path": path, "value": weight} for path, weight in weights]
        self.kubectl("patch", "virtualservice/user", "--type=json", f"--patch={json.dumps(patch)}")

    def figures(self) -> dict[str, Figures]:
        """Return what Prometheus has got from the sidecars of todolist: what they had counted up to 15 s ago."""
        counted = {"v1": Figures(), "v2": Figures()}
        # One query for all, so that all is of one moment. `le` is missing in the first of the two metrics.
        query = (
            '{__name__=~"istio_requests_total|istio_request_duration_milliseconds_bucket",'
            f'le=~"|{SLOW}([.]0)?",reporter="source",source_app="todolist",'
            f'destination_service="user.{self.namespace}.svc.cluster.local"}}'
        )
        for found in self.prometheus(query):
            of, value = found["metric"], int(float(found["value"][1]))
            if (version := of["destination_version"]) in counted:
                # Slow: all calls, minus those in the histogram buckets up to SLOW.
                more = (
                    Figures(0, 0, -value)
                    if "le" in of
                    else Figures(value, value if of["response_code"].startswith(("5", "0")) else 0, value)
                )
                counted[version] += more
        return counted

    def prometheus(self, query: str) -> list[Any]:
        """Return what Prometheus answers to a query: none where `make install-kiali` did not put it."""
        path = f"/api/v1/namespaces/istio-system/services/prometheus:9090/proxy/api/v1/query?query={quote(query)}"
        answer = self.kubectl("get", "--raw", path, accept=(0, 1))
        return json.loads(answer)["data"]["result"] if answer else []

    def outbox(self) -> int:
        # All pods of rule share one, and some may have counted it before the others.
        return max((waiting_events(text) for text in self._metrics("rule", "v1")), default=-1)

    def proxy_counter(self, service: str, version: str | None, name: str) -> int:
        # The whole name: a status is also counted apart for requests from inside, from outside and for retries.
        host = rf"{service}\.{self.namespace}\.svc\.cluster\.local"
        pattern = rf"outbound\|\d+\|{version or ''}\|{host};?\.{re.escape(name)}: (\d+)$"
        command = ("--container=istio-proxy", "--", "pilot-agent", "request", "GET", "stats")
        stats = "".join(self.kubectl("exec", pod["metadata"]["name"], *command) for pod in self.pods("app=todolist"))
        return sum(int(count) for count in re.findall(pattern, stats, re.MULTILINE))

    def mesh_labels(self, *, in_mesh: bool) -> dict[str, str]:
        """Return the label by which a pod is in the mesh, or stays outside."""
        return {"sidecar.istio.io/inject": str(in_mesh).lower()}

    def pods(self, selector: str) -> list[Any]:
        """Return the pods that are not on their way out, as JSON."""
        found: list[Any] = json.loads(self.kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def has(self, kind: str, name: str, *, namespace: str = "") -> bool:
        """Return whether the cluster has an object. namespace: another one than the application's."""
        where = f"--namespace={namespace or self.namespace}"
        return bool(self.kubectl("get", kind, name, where, "--ignore-not-found", "--output=name"))

    def revisions(self) -> list[str]:
        """Return the names of Knative's revisions."""
        return []

    def has_broker(self) -> bool:
        """Return whether events go through a Broker: on Knative they do, unless Eventing was left out."""
        return False

    def spans(self, trace: str) -> list[tuple[str, str, float]]:
        """Return what Jaeger has of a trace: service, operation and milliseconds of each span, in order of time."""
        path = f"/api/v1/namespaces/istio-system/services/tracing:80/proxy/jaeger/api/traces/{trace}"
        # There is no such trace until the first span has arrived, and kubectl fails.
        found = json.loads(self.kubectl("get", "--raw", path, accept=(0, 1)) or '{"data": []}')["data"]
        return [
            (one["processes"][span["processID"]]["serviceName"], span["operationName"], span["duration"] / 1000)
            for one in found
            for span in sorted(one["spans"], key=lambda span: span["startTime"])
        ]

    @contextmanager
    def stranger(
        self, *, in_mesh: bool = False, elsewhere: bool = False, name: str = "", labels: dict[str, str] | None = None
    ) -> Iterator[Stranger]:
        """Start a pod that does not belong to the application, beside it or in another namespace, and remove it.

        name: of several; labels: those by which it is in the mesh, instead of those of the set.
        """
        namespace = f"{self.namespace}-elsewhere" if elsewhere else self.namespace
        if elsewhere:
            self.kubectl("create", "namespace", namespace)
        pod = Stranger(self, namespace, f"stranger-{name or ('inside' if in_mesh else 'outside')}")
        try:
            pod.start("default", in_mesh=in_mesh, labels=labels)
            yield pod
        finally:
            pod.remove()
            if elsewhere:
                self.kubectl("delete", "namespace", namespace, "--wait=false")

    def has_ambient_mode(self) -> bool:
        """Return whether this cluster's Istio has it."""
        return bool(script("has_part ambient && echo yes || true", self.namespace))

    def put(self, objects: list[Any]) -> None:
        """Apply objects."""
        self._apply_one({"apiVersion": "v1", "kind": "List", "items": objects})

    def _metrics(self, service: str, version: str) -> list[str]:
        """Return the metrics of each pod of a version. One that is not ready has answered nothing."""
        program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:%s/metrics').read().decode())"
        texts = []
        for pod in filter(is_ready, self.pods(f"app={service},version={version}")):
            (container,) = (item for item in pod["spec"]["containers"] if item["name"] == service)
            python = ("python", "-c", program % container["ports"][0]["containerPort"])
            # It fails if the pod has just gone.
            command = ("exec", pod["metadata"]["name"], f"--container={service}", "--", *python)
            texts.append(self.kubectl(*command, accept=(0, 1)))
        return list(filter(None, texts))

    def _ingress(self) -> tuple[str, str, dict[str, str]]:
        """Return the Service of the ingress, its namespace, and the headers that requests need."""
        return "ingress-istio", self.namespace, {}

    @contextmanager
    def forwarded(self, to: int) -> Iterator[str]:
        """Forward a free port of this machine to a port of the ingress, and give its host and port."""
        service, namespace, _ = self._ingress()
        # Fails if there is none: the loop below would go on for ever.
        self.kubectl("get", f"service/{service}", f"--namespace={namespace}")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        # kubectl ends when the ingress resets one of its connections, as it may with a request that it refuses.
        again = 'until kubectl "$@" 2>/dev/null; do sleep 0.1; done'
        forwarding = (f"--namespace={namespace}", "port-forward", f"service/{service}", f"{port}:{to}")
        command = ["bash", "-c", again, "", *forwarding]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as forward:  # noqa: S603
            try:
                if forward.stdout:
                    forward.stdout.readline()
                yield f"127.0.0.1:{port}"
            finally:
                os.killpg(forward.pid, signal.SIGTERM)

    def objects(self) -> list[Any]:
        """Return the objects of the set, in this namespace, with the options that `make deploy` was given."""
        chosen = {"REGISTRY": "any", "TAG": "any"}
        for option, (what, field) in OPTIONS.items():
            value = self.kubectl("get", what, "--ignore-not-found", f"--output=jsonpath={field}")
            chosen[option] = "1" if value and option == "TLS" else value
        script(f". deploy/scripts/render.sh; render lesson {self.name}", self.namespace, **chosen)
        objects = list(yaml.safe_load_all(self.kubectl("kustomize", str(ROOT / ".build/deploy/lesson"))))
        for item in objects:
            item["metadata"]["namespace"] = self.namespace
        return objects

    def _lesson_objects(self, lesson: Lesson, step: str) -> list[Any]:
        """Return what a lesson changes here: none if it has no file for this place."""
        path = lesson.change(self.name, step)
        if not path.exists():
            return []
        # As in the sets, images have plain names, and addresses the namespace todolist: take what is deployed.
        image = re.compile(r"(?<=image: )(todolist|user|rule)$", re.MULTILINE)
        text = image.sub(lambda found: self.image(found[0]), path.read_text(encoding="utf-8"))
        for name, value in {".todolist.svc": f".{self.namespace}.svc", **self.replaced}.items():
            text = text.replace(name, value)
        return list(yaml.safe_load_all(text))

    def image(self, service: str) -> str:
        """Return the image that is deployed for a service."""
        pod_template = "--output=jsonpath={.spec.template.spec.containers[0].image}"
        return self.kubectl("get", self._workload(service), pod_template)

    def _workload(self, service: str) -> str:
        return "deployment/user-v1" if service == "user" else f"deployment/{service}"

    def _mark(self, lesson: Lesson) -> Any:
        """Return the object that lets each answer name the lesson, as lesson-filter.yaml does on the laptop."""
        return yaml.safe_load(Template(MARK.read_text(encoding="utf-8")).substitute(LESSON=lesson.name))

    def _difference_of(self, item: Any) -> list[str]:
        # kubectl diff exits with 1 when there is a difference.
        return self.kubectl("diff", "--filename=-", stdin=json.dumps(item), accept=(0, 1)).splitlines(keepends=True)

    def _apply_one(self, item: Any) -> None:
        self.kubectl("apply", "--filename=-", stdin=json.dumps(item))

    def _put_back(self, objects: list[Any]) -> None:
        """Apply what lessons may have replaced."""
        rules = [item for item in objects if item["apiVersion"].startswith(GROUPS)]
        self.put(rules)
        for item in rules:
            if item["kind"] == "HorizontalPodAutoscaler":
                # An autoscaler is inactive at 0 replicas, where an interrupted lesson may leave it. Else kubectl fails.
                name, least = item["spec"]["scaleTargetRef"]["name"], item["spec"]["minReplicas"]
                scale = ("scale", f"deployment/{name}", "--current-replicas=0", f"--replicas={least}")
                self.kubectl(*scale, accept=(0, 1))

    def _wait_for(self, lesson: str | None) -> None:
        """Wait until many answers in a row name this lesson, or none."""

        def is_marked(path: str) -> bool:
            try:
                answer = client.get(path)
            except httpx.TransportError:
                # A listener for HTTPS is new, and its pod has not applied it yet.
                return False
            is_up = path != "/healthz" or answer.is_success
            return is_up and answer.headers.get("x-lesson") == lesson

        with self.client() as client:
            wait_until(
                lambda: all(is_marked(path) for _ in range(IN_A_ROW) for path in self.watched),
                "the mesh has the change",
                60,
            )


def is_ready(pod: Any) -> bool:
    """Return whether a pod takes requests."""
    return any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", []))
