"""The cluster that kubectl points at, and the set of manifests in it."""

import difflib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import yaml

from deploy.lessons.lesson import Lesson, PlaceName
from deploy.lessons.place import UnsuitableError, count_requests
from deploy.lessons.waiting import wait_until

ROOT = Path(__file__).parents[2]
KNATIVE_SERVICE = "services.serving.knative.dev"
MARK, BEFORE = "lesson-mark", "lesson-before"
HTTP, ROUTER = "envoy.filters.network.http_connection_manager", "envoy.filters.http.router"
HEADERS = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
# The parts of a set that lessons may replace, by the API groups of their kinds.
GROUPS = ("networking.istio.io/", "security.istio.io/", "gateway.networking.k8s.io/", "autoscaling/")
# Lines of a diff that only the server writes.
OF_THE_SERVER = re.compile(
    r'^diff |last-applied|^. +\{"apiVersion|^. +(creationTimestamp|generation|resourceVersion|uid):'
)
# So many answers in a row that name the lesson show that each pod of todolist, and so the mesh, knows it.
IN_A_ROW = 20


def mark_route(route: Any, lesson: Lesson) -> Any:
    """Let a route, an HTTPRoute of a waypoint, name the lesson in each answer, and return it."""
    route["metadata"]["labels"]["lesson"] = lesson.name
    header = {"name": "x-lesson", "value": lesson.name}
    for rule in route["spec"]["rules"]:
        modifier = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [header]}}
        rule["filters"] = [*rule.get("filters", []), modifier]
    return route


def mark(lesson: Lesson) -> Any:
    """Return the object that names the lesson in each answer of todolist, as lesson-filter.yaml does on the laptop."""
    header = {"header": {"key": "x-lesson", "value": lesson.name}}
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": MARK, "labels": {"lesson": lesson.name}},
        "spec": {
            "workloadSelector": {"labels": {"app": "todolist"}},
            "configPatches": [
                {
                    "applyTo": "HTTP_FILTER",
                    "match": {
                        "context": "SIDECAR_INBOUND",
                        "listener": {"filterChain": {"filter": {"name": HTTP, "subFilter": {"name": ROUTER}}}},
                    },
                    "patch": {
                        "operation": "INSERT_BEFORE",
                        "value": {
                            "name": "lesson",
                            "typed_config": {
                                "@type": HEADERS,
                                "mutations": {
                                    "response_mutations": [
                                        {"append": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                                    ]
                                },
                            },
                        },
                    },
                }
            ],
        },
    }


def script(function: str, namespace: str) -> str:
    """Run a function of deploy/scripts/lib.sh, and return what it prints. Raises UnsuitableError when it fails."""
    command = ["bash", "-c", f". deploy/scripts/lib.sh; {function}"]
    environment = {**os.environ, "NAMESPACE": namespace}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UnsuitableError(f"{function}: {done.stderr.strip()}")
    return done.stdout.strip()


def is_knative_service(item: Any) -> bool:
    """Say whether an object is a Knative Service."""
    return bool(item["apiVersion"].startswith("serving.knative.dev/"))


class Cluster:
    """The application in a namespace of a cluster."""

    def __init__(self, name: PlaceName, namespace: str) -> None:
        self.name, self.namespace = name, namespace
        context = self.kubectl("config", "current-context").strip()
        self.description = f"TARGET={name} in namespace {namespace} of {context}"

    @classmethod
    def find(cls) -> "Cluster":
        """Return the set that the namespace holds. Raises UnsuitableError when there is none."""
        nothing = "Nothing runs here: `make run` starts the application on this machine, `make deploy` in a cluster"
        if not shutil.which("kubectl"):
            raise UnsuitableError(nothing)
        namespace = os.environ.get("NAMESPACE") or "todolist"
        target = script("deployed_target", namespace)
        if not target:
            raise UnsuitableError(nothing)
        return cls(cast("PlaceName", target), namespace)

    def kubectl(self, *arguments: str, stdin: str | None = None, accept: tuple[int, ...] = (0,)) -> str:
        """Run kubectl in the namespace and return what it prints. Raises UnsuitableError when it fails."""
        command = ["kubectl", f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)  # noqa: S603
        if done.returncode not in accept:
            raise UnsuitableError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
        return done.stdout

    def current(self) -> str | None:
        return script("deployed_lesson", self.namespace) or None

    def difference(self, lesson: Lesson) -> str:
        lines: list[str] = []
        for item in self._objects(lesson, ""):
            if is_knative_service(item):
                service = f"Service {item['metadata']['name']}"
                before = self.kubectl("get", f"{KNATIVE_SERVICE}/{item['metadata']['name']}", "--output=yaml")
                after = self._patch_service(item, "--dry-run=server", "--output=yaml")
                former, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
                lines += difflib.unified_diff(former, new, service, f"{service}, lesson {lesson.name}")
            else:
                # kubectl diff exits with 1 when there is a difference.
                lines += self.kubectl("diff", "--filename=-", stdin=json.dumps(item), accept=(0, 1)).splitlines(True)
        return "".join(re.sub(r"/\S+/(\S+)\t.*", r"\1", line) for line in lines if not OF_THE_SERVER.search(line))

    def apply(self, lesson: Lesson, step: str = "") -> None:
        if self.name == "knative" and not self.has("configmap", BEFORE):
            self._keep_services()
        for item in self._objects(lesson, step):
            if is_knative_service(item):
                self._patch_service(item)
            else:
                self.kubectl("apply", "--filename=-", stdin=json.dumps(item))
        self.kubectl("apply", "--filename=-", stdin=json.dumps(self._mark(lesson)))
        self._wait_for(lesson.name)

    def _mark(self, lesson: Lesson) -> Any:
        if self.name != "ambient":
            return mark(lesson)
        (route,) = (
            item for item in self._set() if item["kind"] == "HTTPRoute" and item["metadata"]["name"] == "todolist"
        )
        return mark_route(route, lesson)

    def reset(self) -> None:
        # First what the set has under the same names, so that nothing is ever missing; then what only lessons have.
        objects = self._set()
        rules = [item for item in objects if item["apiVersion"].startswith(GROUPS)]
        self.kubectl("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": rules}))
        if self.name == "knative":
            self._restore_services(objects)
        script("delete_lesson", self.namespace)
        self._wait_for(None)

    def _keep_services(self) -> None:
        """Keep the Knative Services as they are, for a reset: a lesson may replace their templates."""
        found = json.loads(self.kubectl("get", KNATIVE_SERVICE, "--output=json"))["items"]
        kept = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": BEFORE, "labels": {"lesson": ""}},
            "data": {service["metadata"]["name"]: json.dumps(service["spec"]) for service in found},
        }
        self.kubectl("apply", "--filename=-", stdin=json.dumps(kept))

    def _restore_services(self, objects: list[Any]) -> None:
        """Give the Knative Services the split of the set, and the templates that they had before a lesson."""
        kept = self.kubectl("get", f"configmap/{BEFORE}", "--ignore-not-found", "--output=jsonpath={.data}")
        before = {name: json.loads(spec) for name, spec in json.loads(kept or "{}").items()}
        for service in filter(is_knative_service, objects):
            name, split = service["metadata"]["name"], service["spec"].get("traffic")
            spec = {**before.get(name, {}), **({"traffic": split} if split else {})}
            patch = [{"op": "replace", "path": f"/spec/{key}", "value": value} for key, value in spec.items()]
            self.kubectl("patch", f"{KNATIVE_SERVICE}/{name}", "--type=json", f"--patch={json.dumps(patch)}")
            self.kubectl("wait", f"{KNATIVE_SERVICE}/{name}", "--for=condition=Ready", "--timeout=120s")
        self.kubectl("delete", "revisions", "--selector=lesson", "--ignore-not-found")

    def _objects(self, lesson: Lesson, step: str) -> list[Any]:
        """Return what a lesson changes here: none if it has no file for this place."""
        path = lesson.change(self.name, step)
        if not path.exists():
            return []
        # As in the sets, images have plain names, and addresses the namespace todolist: take what is deployed.
        image = re.compile(r"(?<=image: )(todolist|user|rule)$", re.MULTILINE)
        text = image.sub(self._image, path.read_text(encoding="utf-8"))
        return list(yaml.safe_load_all(text.replace(".todolist.svc", f".{self.namespace}.svc")))

    def _patch_service(self, item: Any, *options: str) -> str:
        """Change a Knative Service. item: the fields that differ, as for `kubectl patch --type=merge`."""
        name = f"{KNATIVE_SERVICE}/{item['metadata']['name']}"
        return self.kubectl("patch", name, "--type=merge", f"--patch={json.dumps(item)}", *options)

    def _image(self, name: re.Match[str]) -> str:
        """Return the image that is deployed under a plain name."""
        workload = f"{KNATIVE_SERVICE}/{name[0]}" if self.name == "knative" else f"deployment/{name[0]}"
        if workload == "deployment/user":
            workload += "-v1"
        return self.kubectl("get", workload, "--output=jsonpath={.spec.template.spec.containers[0].image}")

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        if self.name == "knative":
            url = self.kubectl("get", f"{KNATIVE_SERVICE}/todolist", "--output=jsonpath={.status.url}")
            service, namespace, headers = "istio-ingressgateway", "istio-system", {"host": url.removeprefix("http://")}
        else:
            service, namespace, headers = "ingress-istio", self.namespace, {}
        with (
            self._forwarded(service, namespace) as address,
            httpx.Client(
                base_url=address,
                headers=headers,
                timeout=60,
                # kubectl may be about to forward the port again; with it an idle connection would break.
                transport=httpx.HTTPTransport(
                    retries=5, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
                ),
            ) as client,
        ):
            yield client

    def requests_served(self, service: str, version: str, method: str = "GET") -> int:
        script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:%s/metrics').read().decode())"
        total = 0
        for pod in self.pods(f"app={service},version={version}"):
            (container,) = (item for item in pod["spec"]["containers"] if item["name"] == service)
            port = container["ports"][0]["containerPort"]
            name = pod["metadata"]["name"]
            text = self.kubectl("exec", name, f"--container={service}", "--", "python", "-c", script % port)
            total += count_requests(text, method)
        return total

    def proxy_counter(self, service: str, version: str | None, name: str) -> int:
        pattern = rf"outbound\|\d+\|{version or ''}\|{service}\..*\.{name}: (\d+)$"
        command = ("--container=istio-proxy", "--", "pilot-agent", "request", "GET", "stats")
        stats = "".join(self.kubectl("exec", pod["metadata"]["name"], *command) for pod in self.pods("app=todolist"))
        return sum(int(count) for count in re.findall(pattern, stats, re.MULTILINE))

    def mesh_labels(self, *, in_mesh: bool) -> dict[str, str]:
        """Return the label by which a pod is in the mesh, or stays outside."""
        if self.name == "ambient":
            return {"istio.io/dataplane-mode": "ambient" if in_mesh else "none"}
        return {"sidecar.istio.io/inject": str(in_mesh).lower()}

    def pods(self, selector: str) -> list[Any]:
        """Return the pods that are not on their way out, as JSON."""
        found: list[Any] = json.loads(self.kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def has(self, kind: str, name: str, *, namespace: str = "") -> bool:
        """Say whether the cluster has an object. namespace: another one than the application's."""
        where = f"--namespace={namespace or self.namespace}"
        return bool(self.kubectl("get", kind, name, where, "--ignore-not-found", "--output=name"))

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
    def stranger(self, *, in_mesh: bool = False, elsewhere: bool = False) -> Iterator["Stranger"]:
        """Start a pod that does not belong to the application, beside it or in another namespace, and remove it."""
        namespace = f"{self.namespace}-elsewhere" if elsewhere else self.namespace
        if elsewhere:
            self.kubectl("create", "namespace", namespace)
        image = self.pods("app=todolist")[0]["spec"]["containers"][0]["image"]
        pod = Stranger(self, namespace, f"stranger-{'inside' if in_mesh else 'outside'}")
        try:
            pod.start(image, in_mesh=in_mesh)
            yield pod
        finally:
            pod.remove()
            if elsewhere:
                self.kubectl("delete", "namespace", namespace, "--wait=false")

    @contextmanager
    def _forwarded(self, service: str, namespace: str) -> Iterator[str]:
        """Forward a free port of this machine to port 80 of a Service, and give its address."""
        self.kubectl("get", f"service/{service}", f"--namespace={namespace}")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        # kubectl ends when the ingress resets one of its connections, as it may with a request that it refuses.
        again = 'until kubectl "$@" 2>/dev/null; do sleep 0.1; done'
        command = [
            "bash",
            "-c",
            again,
            "",
            f"--namespace={namespace}",
            "port-forward",
            f"service/{service}",
            f"{port}:80",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as forward:  # noqa: S603
            try:
                if forward.stdout:
                    forward.stdout.readline()
                yield f"http://127.0.0.1:{port}"
            finally:
                os.killpg(forward.pid, signal.SIGTERM)

    def _set(self) -> list[Any]:
        """Return the objects of the set, in this namespace."""
        objects = list(yaml.safe_load_all(self.kubectl("kustomize", str(ROOT / "deploy" / self.name))))
        for item in objects:
            item["metadata"]["namespace"] = self.namespace
        return objects

    def _wait_for(self, lesson: str | None) -> None:
        """Wait until many answers in a row name this lesson, or none."""
        # A connection to a waypoint that is open serves one more request as before, and is closed: use all of them.
        paths = ("/healthz", "/api/currentUser", "/api/rule") if self.name == "ambient" else ("/healthz",)

        def is_marked(path: str) -> bool:
            answer = client.get(path)
            is_up = path != "/healthz" or answer.is_success
            return is_up and answer.headers.get("x-lesson") == lesson

        with self.client() as client:
            wait_until(
                lambda: all(is_marked(path) for _ in range(IN_A_ROW) for path in paths), "the mesh has the change", 60
            )


class Stranger:
    """A pod that runs Python, from an image that the nodes have already."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, f"--namespace={namespace}", name

    def start(self, image: str, *, in_mesh: bool) -> None:
        """Start it and wait until it is ready. in_mesh: with a sidecar, or in ambient mode through ztunnel."""
        command = ["python", "-c", "import time; time.sleep(3600)"]
        container = {"name": "python", "image": image, "imagePullPolicy": "IfNotPresent", "command": command}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self._name,
                "labels": {"app": "stranger", "version": "v1", **self._cluster.mesh_labels(in_mesh=in_mesh)},
            },
            "spec": {"automountServiceAccountToken": False, "containers": [container]},
        }
        self._cluster.kubectl(self._namespace, "apply", "--filename=-", stdin=json.dumps(pod))
        wait = ("wait", f"pod/{self._name}", "--for=condition=Ready", "--timeout=180s")
        self._cluster.kubectl(self._namespace, *wait)

    def reaches(self) -> list[str]:
        """Return which of user, rule and their databases answer it."""
        script = (Path(__file__).parent / "stranger.py").read_text(encoding="utf-8")
        run = ("exec", "--stdin", self._name, "--container=python", "--", "python", "-", self._cluster.namespace)
        found: list[str] = json.loads(self._cluster.kubectl(self._namespace, *run, stdin=script))
        return found

    def remove(self) -> None:
        """Remove it at once."""
        delete = ("delete", "pod", self._name, "--ignore-not-found", "--grace-period=1", "--wait=false")
        self._cluster.kubectl(self._namespace, *delete)
