"""Repetitions in files that are read alone: they have to agree."""

import json
import re
from copy import deepcopy
from string import Template
from typing import Any

import pytest
import yaml

from services.todolist.session import COOKIE
from services.todolist.settings import Settings
from services.user.settings import Settings as UserSettings
from tests.manifests.conftest import DEPLOY, Document, below, container, kind, load, name_of, named, of_kind, workloads
from tests.support import ROOT

READS = {"GET", "HEAD"}
# The laptop's Envoy; compose.yaml renders the same templates.
ENVOY = sorted((DEPLOY / "local").rglob("*.yaml"))


def test_versions_of_user_differ_only_in_the_version_and_on_knative_in_the_traffic() -> None:
    for target in ("istio", "ambient", "knative"):
        v1, v2 = (
            re.sub(r"(?m)^  traffic:\n(?:    .*\n)+", "", (DEPLOY / target / f"user-{version}.yaml").read_text())
            for version in ("v1", "v2")
        )
        assert v1 != v2
        assert v1.replace("v1", "v2") == v2.replace("v1", "v2"), target


def test_istio_and_knative_run_the_same_container(
    istio: list[Document], knative: list[Document], beside: list[Document]
) -> None:
    # These depend on the platform: the time of a cold start, and whether there is a broker.
    special = {"UPSTREAM_TIMEOUT", "K_SINK"}
    for workload in of_kind([*knative, *beside], "KService"):
        name = workload["spec"]["template"]["metadata"].get("name", workload["metadata"]["name"])
        other = named(istio, "Deployment", name)
        here, there = container(workload), container(other)
        # On Knative their times differ: it probes every 50 ms until the pod is ready, to shorten a cold start.
        for probe in ("readinessProbe", "livenessProbe"):
            assert here.pop(probe)["httpGet"] == there.pop(probe)["httpGet"]
        there.pop("startupProbe")
        # Knative has its own preStop hook.
        there.pop("lifecycle")
        for found in (here, there):
            found["env"] = [entry for entry in found["env"] if entry["name"] not in special]
        assert here == there, name
        pods = [found["spec"]["template"] for found in (workload, other)]
        assert pods[0]["metadata"]["labels"] == pods[1]["metadata"]["labels"]
        for field in ("volumes", "serviceAccountName", "automountServiceAccountToken", "enableServiceLinks"):
            assert pods[0]["spec"].get(field) == pods[1]["spec"].get(field), (name, field)


@pytest.mark.parametrize("platform", ["istio", "knative"])
def test_the_bad_release_of_lesson_15_has_one_mistake(platform: str) -> None:
    (right,), (wrong,) = (
        [container(workload) for workload in workloads(load(file))]
        for file in (DEPLOY / platform / "user-v2.yaml", ROOT / "lessons/15-roll-back" / f"{platform}.yaml")
    )
    ((before, after),) = ([one, two] for one, two in zip(right["env"], wrong["env"], strict=True) if one != two)
    assert before["name"] == after["name"] == "DATABASE_URL"
    assert after["value"].replace("databaze", "database") == before["value"]
    # Without the key it could not start at all.
    assert wrong["volumeMounts"] == right["volumeMounts"]


def test_istio_and_ambient_differ_only_in_the_mesh(istio: list[Document], ambient: list[Document]) -> None:
    def parts(documents: list[Document]) -> dict[str, Document]:
        of_the_mesh = ("istio.io", "gateway.networking.k8s.io")
        found = {
            name_of(d): deepcopy(d) for d in documents if not d["apiVersion"].partition("/")[0].endswith(of_the_mesh)
        }
        for document in found.values():
            pod = document["spec"].get("template", {}) if "spec" in document else {}
            for metadata in (document["metadata"], pod.get("metadata", {})):
                for marks in (metadata.get("labels", {}), metadata.get("annotations", {})):
                    for name in [name for name in marks if "istio" in name]:
                        del marks[name]
        return found

    sidecars, without = parts(istio), parts(ambient)
    # A Gateway API route has Services as backends, where Istio's has subsets.
    for version in ("user-v1", "user-v2"):
        del without[f"Service/{version}"]
    assert without == sidecars
    for rule in of_kind(ambient, "DestinationRule"):
        other = named(istio, "DestinationRule", rule["spec"]["host"].partition("-")[0])
        assert rule["spec"]["trafficPolicy"] == other["spec"]["trafficPolicy"]
    # Retries of reads at the ingress, too; in ambient mode the waypoint makes them, as it knows the pods.
    ingress = [named(documents, "HTTPRoute", "todolist")["spec"]["rules"] for documents in (istio, ambient)]
    assert ingress[0] == ingress[1]


def test_all_sets_have_the_same_split(istio: list[Document], ambient: list[Document], knative: list[Document]) -> None:
    splits = [
        [(entry["destination"]["subset"], entry["weight"]) for entry in http["route"]]
        for http in named(istio, "VirtualService", "user")["spec"]["http"]
    ]
    splits += [
        [(entry["name"].removeprefix("user-"), entry["weight"]) for entry in rule["backendRefs"]]
        for rule in named(ambient, "HTTPRoute", "user")["spec"]["rules"]
    ]
    traffic = named(knative, "KService", "user")["spec"]["traffic"]
    splits.append([(entry["tag"], entry["percent"]) for entry in traffic])
    assert [entry["revisionName"] for entry in traffic] == ["user-v1", "user-v2"]
    laptop = [weighted["clusters"] for file in ENVOY for weighted in below(load(file), "weighted_clusters")]
    assert laptop
    splits += [[(entry["name"][-2:], entry["weight"]) for entry in clusters] for clusters in laptop]
    assert splits == [[("v1", 50), ("v2", 50)]] * len(splits)


# That Envoy, with these settings of the laptop, the ingress and the waypoints, repeats reads alone: tests/ingress.


def test_on_istio_reads_are_retried_and_writes_never(istio: list[Document]) -> None:
    routes = of_kind(istio, "VirtualService")
    assert {route["metadata"]["name"] for route in routes} == {"user", "rule"}
    for route in routes:
        *searches, read, write = route["spec"]["http"]
        for unrepeated in (*searches, write):
            assert unrepeated["retries"] == {"attempts": 0}
            assert unrepeated["route"] == read["route"]
        assert {entry["method"]["exact"] for entry in read["match"]} == READS
        assert "match" not in write
        # A service's own 503 has a header that prevents retries: tests/ingress.
        assert read["retries"]["retryOn"] == "connect-failure,refused-stream,reset,503"
        tries = (1 + read["retries"]["attempts"]) * seconds(read["retries"]["perTryTimeout"])
        assert tries <= seconds(read["timeout"]) < Settings.model_fields["upstream_timeout"].default
        assert write["timeout"] == read["timeout"]


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize("service", ["user", "rule"])
def test_waypoints_and_the_laptop_have_the_timeouts_of_a_sidecar(
    service: str, istio: list[Document], ambient: list[Document]
) -> None:
    sidecar = named(istio, "VirtualService", service)["spec"]["http"]
    waypoint = named(ambient, "HTTPRoute", service)["spec"]["rules"]
    assert [rule["timeouts"]["request"] for rule in waypoint] == [http["timeout"] for http in sidecar]
    read = sidecar[-2]
    routes = [route for file in ENVOY for found in below(load(file), "routes") for route in below(found, "route")]
    retried = [route for route in routes if "retry_policy" in route and destinations(route) == {service}]
    assert retried
    for route in retried:
        # A waypoint has no per-try timeout.
        assert route["retry_policy"]["per_try_timeout"] == read["retries"]["perTryTimeout"]
        assert route["timeout"] == read["timeout"]


def destinations(route: Any) -> set[str]:
    """Return the services that an Envoy route leads to, without their versions."""
    weighted = [cluster["name"] for clusters in below(route, "clusters") for cluster in clusters]
    return {name.partition("-")[0] for name in [*weighted, *below(route, "cluster")]}


def test_on_knative_nothing_is_retried(knative: list[Document]) -> None:
    assert of_kind(knative, "VirtualService", "HTTPRoute") == []


def test_each_secret_that_is_read_is_created(app: list[Document]) -> None:
    script = (ROOT / "deploy/scripts/secrets.sh").read_text()
    made = set(re.findall(r"make_secret (\S+) (\S+) random", script))
    read = set()
    for workload in workloads(app):
        read |= {(reference["name"], reference["key"]) for reference in below(workload, "secretKeyRef")}
        mounted = {entry["name"]: entry.get("value", "") for entry in container(workload).get("env", [])}
        for secret in below(workload, "secret"):
            read.add((secret["secretName"], mounted["TOKEN_KEY_FILE"].rpartition("/")[2]))
    assert read == made


@pytest.mark.parametrize("target", ["istio", "ambient"])
def test_lesson_19_changes_what_tls_of_make_deploy_does(target: str, deploy_sh: Any) -> None:
    def rules(documents: list[Document]) -> list[Any]:
        return sorted(json.dumps([kind(each), each["spec"]], sort_keys=True) for each in documents)

    plain, secured = deploy_sh("render", target), deploy_sh("render", target, TLS="1", NETWORK_POLICIES="1")
    policies = of_kind(secured, "NetworkPolicy")
    changed = [each for each in secured if each not in plain and each not in policies]
    text = (ROOT / f"lessons/19-https/{target}.yaml").read_text().replace("lesson-certificate", "ingress-certificate")
    assert rules(changed) == rules(list(yaml.safe_load_all(text)))
    # What the lesson replaces, and what the option adds, under a name that a reset does not take for a lesson's.
    names = {name_of(each) for each in changed}
    assert {name_of(each) for each in plain} & names == names - {"HTTPRoute/https-redirect", "EnvoyFilter/tls-1-3"}
    (allowed,) = named(policies, "NetworkPolicy", "ingress")["spec"]["ingress"]
    listeners = named(secured, "Gateway", "ingress")["spec"]["listeners"]
    assert [each["port"] for each in allowed["ports"]] == [each["port"] for each in listeners]
    assert deploy_sh("render", target, TLS="0") == plain


def test_the_ingress_of_lesson_19_is_the_laptops_with_tls() -> None:
    def ingress(file: Any) -> dict[str, Any]:
        return next(listener for listener in load(file)[0]["resources"] if listener["name"] == "ingress")

    plain, secured = ingress(DEPLOY / "local/envoy/listeners.yaml"), ingress(ROOT / "lessons/19-https/envoy.yaml")
    del secured["listener_filters"]
    chain = secured["filter_chains"].pop(0)
    del chain["filter_chain_match"], chain["transport_socket"]
    secured["filter_chains"] = [chain]
    manager = chain["filters"][0]["typed_config"]
    manager["codec_type"] = "HTTP1"
    del manager["http2_protocol_options"]
    assert manager["http_filters"].pop(0)["name"] == "hsts"
    assert secured == plain


def test_request_authentication_checks_the_tokens_that_user_makes(deploy_sh: Any) -> None:
    documents = deploy_sh("render", "istio", NAMESPACE="other", REQUEST_AUTHENTICATION="1")
    (added,) = of_kind(documents, "RequestAuthentication")
    assert added["metadata"]["labels"]["app.kubernetes.io/part-of"] == "todolist"
    (rule,) = added["spec"]["jwtRules"]
    assert rule["issuer"] == UserSettings.model_fields["token_issuer"].default
    assert rule["audiences"] == [UserSettings.model_fields["token_audience"].default]
    assert rule["fromCookies"] == [COOKIE]
    assert rule["jwksUri"] == "http://user.other.svc.cluster.local/.well-known/jwks.json"
    (port,) = container(named(documents, "Deployment", "todolist"))["ports"]
    (to,) = named(documents, "AuthorizationPolicy", "session")["spec"]["rules"][0]["to"]
    # Without ports istiod would take it for all of TCP.
    assert to["operation"]["ports"] == [str(port["containerPort"])]


def test_an_invalid_session_is_removed_in_the_same_way_everywhere(deploy_sh: Any) -> None:
    def mappers(config: Document) -> list[Document]:
        found: list[Document] = config["typed_config"]["local_reply_config"]["mappers"]
        return found

    # The browser tests run with the laptop's filter; todolist's sidecar has the same, in the option and in the lesson.
    listeners = yaml.safe_load(Template((DEPLOY / "local/envoy/listeners.yaml").read_text()).safe_substitute(PORT=1))
    tried, *_ = mappers(listeners["resources"][0]["filter_chains"][0]["filters"][0])
    (cookie,) = tried["headers_to_add"]
    assert cookie["header"]["value"].startswith(f"{COOKIE}=; Max-Age=0; Path=/;")
    option = deploy_sh("render", "istio", REQUEST_AUTHENTICATION="1")
    for added in (option, load(ROOT / "lessons/10-session/istio.yaml")):
        (document,) = of_kind(added, "EnvoyFilter")
        assert document["spec"]["workloadSelector"] == {"labels": {"app": "todolist"}}
        (patch,) = document["spec"]["configPatches"]
        assert patch["match"]["context"] == "SIDECAR_INBOUND"
        assert mappers(patch["patch"]["value"]) == [tried]
