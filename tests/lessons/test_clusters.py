"""What the lessons ask of a cluster, with a stand-in for kubectl that answers as a cluster does."""

import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lessons.runner import command
from lessons.runner import lesson as lessons
from lessons.runner.ambient import Ambient
from lessons.runner.cluster import Cluster
from lessons.runner.knative import Knative
from lessons.runner.place import Figures, UnsuitableError
from tests.manifests.conftest import kubectl as find_kubectl

# It renders the sets, answers what contains all words of a line, and keeps a list of its calls, with their input. What
# it forwards a port to is always healthy.
KUBECTL = """#!{python}
import json, os, sys
if "kustomize" in sys.argv:
    os.execv({real!r}, sys.argv)
call = " ".join(sys.argv[1:])
if "port-forward" in call:
    port = sys.argv[-1].partition(":")[0]
    os.execv(sys.executable, [sys.executable, "-um", "http.server", "--bind=127.0.0.1", "--directory={healthy}", port])
with open({calls!r}, "a") as calls:
    print(call, sys.stdin.read() if "--filename=-" in call else "", file=calls)
for words, answer in json.loads({answers!r}):
    if all(word in call for word in words):
        sys.exit(1) if answer is None else print(answer, end="")
        break
"""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[[], list[str]]]:
    real = find_kubectl()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    program, calls, healthy = tmp_path / "kubectl", tmp_path / "calls", tmp_path / "healthy"
    healthy.mkdir()
    (healthy / "healthz").touch()

    def stand_in(*answers: tuple[list[str], Any]) -> Callable[[], list[str]]:
        text = json.dumps([(words, answer if answer is None else str(answer)) for words, answer in answers])
        values = {"python": sys.executable, "real": real, "calls": str(calls), "healthy": healthy, "answers": text}
        program.write_text(KUBECTL.format(**values))
        program.chmod(0o755)
        calls.write_text("")
        return lambda: calls.read_text().splitlines()

    return stand_in


def counted(name: str, version: str, value: int, **labels: str) -> Any:
    return {"metric": {"__name__": name, "destination_version": version, **labels}, "value": [1.5, str(value)]}


def test_prometheus_says_how_many_calls_failed_and_how_many_were_slow(kubectl: Any) -> None:
    total, bucket = "istio_requests_total", "istio_request_duration_milliseconds_bucket"
    found = [
        # Two pods of todolist, and each status is a series of its own.
        counted(total, "v1", 900, response_code="200", pod="a"),
        counted(total, "v1", 90, response_code="200", pod="b"),
        counted(total, "v1", 4, response_code="502", pod="a"),
        counted(total, "v1", 6, response_code="404", pod="b"),
        counted(bucket, "v1", 989, response_code="200", le="500"),
        counted(bucket, "v1", 10, response_code="404", le="500"),
        counted(total, "v2", 50, response_code="200"),
        counted(total, "v2", 1, response_code="0"),
        # As Prometheus 3 writes it.
        counted(bucket, "v2", 48, response_code="200", le="500.0"),
        counted(total, "unknown", 7, response_code="503"),
    ]
    calls = kubectl((["query?query="], json.dumps({"data": {"result": found}})))
    figures = Cluster("shop").figures()
    assert figures == {"v1": Figures(1000, 4, 1), "v2": Figures(51, 1, 3)}
    assert "user.shop.svc.cluster.local" in calls()[-1]


def test_a_counter_of_the_sidecars_is_read_once(kubectl: Any) -> None:
    pods = [{"metadata": {"name": name}} for name in ("todolist-a", "todolist-b")]
    stats = "".join(
        f"cluster.outbound|80|{cluster}.svc.cluster.local;.{counter}: {value}\n"
        for cluster, counter, value in (
            ("v2|user.todolist", "upstream_rq_502", 23),
            ("v2|user.todolist", "external.upstream_rq_502", 23),
            ("v2|user.todolist", "retry.upstream_rq_502", 5),
            ("v1|user.todolist", "upstream_rq_502", 7),
            ("v2|user.elsewhere", "upstream_rq_502", 1),
        )
    )
    kubectl((["get pods", "app=todolist"], json.dumps({"items": pods})), (["request GET stats"], stats))
    assert Cluster("todolist").proxy_counter("user", "v2", "upstream_rq_502") == 46


def test_without_eventing_nothing_of_it_is_applied(kubectl: Any) -> None:
    trigger = lessons.find("17")
    for there in ("broker.eventing.knative.dev/events", None):
        calls = kubectl((["get brokers"], there))
        place = Knative("todolist")
        assert ({"Trigger", "Broker"} <= {item["kind"] for item in place.objects()}) == bool(there)
        # The lesson's own Trigger.
        place.difference(trigger)
        assert any(" diff " in call and '"kind": "Trigger"' in call for call in calls()) == bool(there)
    with pytest.raises(UnsuitableError, match="This lesson needs a Broker: `make install-knative`"):
        command.refuse_elsewhere(trigger, place)


def test_a_reset_brings_back_what_an_interrupted_lesson_scaled_to_0(kubectl: Any) -> None:
    """In ambient mode as well, where the set has the same autoscalers."""
    calls = kubectl((["scale"], None))
    Cluster("todolist").reset()
    for name in ("user-v1", "user-v2"):
        scaled = f"deployment/{name} --current-replicas=0 --replicas=2"
        assert [call for call in calls() if " scale " in call and scaled in call]


def test_the_split_of_reads_and_writes_is_one(kubectl: Any) -> None:
    calls = kubectl()
    Cluster("todolist").split(95, 5)
    patch = json.loads(calls()[-1].partition("--patch=")[2])
    weights = {change["path"]: change["value"] for change in patch}
    assert weights == {f"/spec/http/{rule}/route/{place}/weight": (95, 5)[place] for rule in (0, 1) for place in (0, 1)}


def test_a_reset_keeps_the_options_of_make_deploy(kubectl: Any) -> None:
    def gateway() -> Any:
        return next(item for item in Cluster("shop").objects() if item["kind"] == "Gateway")

    kubectl((["get", "https-redirect"], "https-redirect"), (["get", "service-type"], "ClusterIP"))
    kept = gateway()
    assert [listener["name"] for listener in kept["spec"]["listeners"]] == ["http", "https"]
    assert kept["metadata"]["annotations"] == {"networking.istio.io/service-type": "ClusterIP"}
    kubectl()
    assert [listener["name"] for listener in gateway()["spec"]["listeners"]] == ["http"]


class Store:
    """The objects of a namespace, by kind and name, and what was done to them."""

    def __init__(self, cluster: Cluster) -> None:
        self.namespace, self._objects = cluster.namespace, cluster.objects()
        self.labels = {"istio-injection": "enabled"}
        self.kept = {key(each): each for each in self._objects}
        self.done: list[str] = []

    def objects(self) -> list[Any]:
        return self._objects

    def image(self, service: str) -> str:
        return f"any/{service}:any"

    def put(self, objects: list[Any]) -> None:
        for each in objects:
            self.kept[key(each)] = each
            self.done.append(f"put {key(each)}")

    def kubectl(self, command: str, *arguments: str) -> str:
        if command == "get":
            return ""
        if command == "label":
            for label in arguments[3:]:
                name, _, value = label.partition("=")
                if value:
                    self.labels[name] = value
                else:
                    self.labels.pop(name.removesuffix("-"), None)
        elif command == "delete":
            kind, *names, _ = arguments
            for name in names:
                del self.kept[kind.partition(".")[0].rstrip("s").removesuffix("ie"), name]
        self.done.append(f"{command} {' '.join(arguments)}")
        return ""


def key(item: Any) -> tuple[str, str]:
    return item["kind"].lower().replace("policy", "polic"), item["metadata"]["name"]


def test_the_way_to_ambient_mode_ends_with_its_set_and_the_way_back_with_the_former(kubectl: Any) -> None:
    kubectl()
    istio, ambient = Cluster("shop"), Ambient("shop")
    store, namespace = Store(istio), ("namespace", "shop")
    before = dict(store.kept)
    move = runpy.run_path("lessons/21-ambient/move.py")["Move"](store)
    for step in move.there():
        step.do()
        # What a pod allows stays, until the waypoint has its policy and is in use.
        assert ("authorizationpolic", "deny-by-default") in store.kept
    assert store.labels == {"istio.io/dataplane-mode": "ambient", "moving": "istio"}
    wanted = {key(each): each for each in ambient.objects()}
    assert {**store.kept, namespace: None} == {**wanted, namespace: None}
    rolled = [call.split()[2] for call in store.done if call.startswith("rollout status deployment/")]
    store.done.clear()
    for step in move.back():
        step.do()
    assert store.labels == {"istio-injection": "enabled"}
    assert store.kept == before
    # Who is called moves before its callers, and back after them.
    back = [call.split()[2] for call in store.done if call.startswith("rollout status deployment/")]
    assert rolled == [*reversed(back), "deployment/waypoint"]
    assert rolled.index("deployment/user-v2") < rolled.index("deployment/rule") < rolled.index("deployment/todolist")
    # A pod without a sidecar is never without ztunnel.
    assert "istio.io/dataplane-mode-" in store.done[-1]
