"""Every document is accepted by an API server: current versions, known fields, correct types.

No package for Python 3.11 has the definitions of the kinds of Istio, the Gateway API and Knative Eventing: a server has
them, and kubectl asks it to refuse unknown fields.
"""

from collections.abc import Iterator
from copy import deepcopy
from string import Template
from typing import Any

import kubernetes_validate
import yaml

from services.todolist.session import COOKIE
from services.user.settings import Settings
from tests.manifests.conftest import DEPLOY, Document, container, kind, load, name_of, named, of_kind
from tests.manifests.test_versions import VERSIONS
from tests.support import ROOT

CUSTOM = {
    "eventing.knative.dev/v1",
    "gateway.networking.k8s.io/v1",
    "networking.istio.io/v1",
    "security.istio.io/v1",
    "telemetry.istio.io/v1",
}
# A kind that has no newer version.
OLD = ("networking.istio.io/v1beta1", "ProxyConfig")
# What a Knative Service's template has beside the fields of a pod.
KNATIVE_FIELDS = {"containerConcurrency", "timeoutSeconds"}


def as_deployment(service: Document) -> Document:
    """Return a Knative Service as a Deployment with the same pods."""
    template = deepcopy(service["spec"]["template"])
    assert set(service["spec"]) <= {"template", "traffic"}
    for field in KNATIVE_FIELDS:
        template["spec"].pop(field, None)
    template["metadata"].pop("name", None)
    selector = {"matchLabels": template["metadata"]["labels"]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"selector": selector, "template": template}}


def faults(document: Document) -> Iterator[str]:
    if document["apiVersion"] in CUSTOM or (document["apiVersion"], document["kind"]) == OLD:
        return
    if kind(document) == "KService":
        document = as_deployment(document)
    try:
        kubernetes_validate.validate(document, VERSIONS["KUBERNETES_NEWEST"], strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
    except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError):
        yield f"no such kind: {document['apiVersion']} {document['kind']}"


def test_only_known_fields_are_applied(customized: list[Document], beside: list[Document]) -> None:
    """The sets with all settings, and so also without."""
    assert {name_of(each): found for each in (*customized, *beside) if (found := list(faults(each)))} == {}


def test_request_authentication_checks_the_tokens_that_user_makes(deploy_sh: Any) -> None:
    documents = deploy_sh("render", "istio", NAMESPACE="other", REQUEST_AUTHENTICATION="1")
    (added,) = of_kind(documents, "RequestAuthentication")
    assert added["metadata"]["labels"]["app.kubernetes.io/part-of"] == "todolist"
    (rule,) = added["spec"]["jwtRules"]
    assert rule["issuer"] == Settings.model_fields["token_issuer"].default
    assert rule["audiences"] == [Settings.model_fields["token_audience"].default]
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
    option = of_kind(deploy_sh("render", "istio", REQUEST_AUTHENTICATION="1"), "EnvoyFilter")
    for added in (option, of_kind(load(ROOT / "lessons/10-session/istio.yaml"), "EnvoyFilter")):
        (document,) = added
        assert document["spec"]["workloadSelector"] == {"labels": {"app": "todolist"}}
        (patch,) = document["spec"]["configPatches"]
        assert patch["match"]["context"] == "SIDECAR_INBOUND"
        assert mappers(patch["patch"]["value"]) == [tried]
    # Without the option it goes again.
    removed = (DEPLOY / "scripts/deploy.sh").read_text().partition("remove_unwanted()")[2].partition("}\n")[0]
    assert f"envoyfilters.networking.istio.io/{option[0]['metadata']['name']}" in removed
