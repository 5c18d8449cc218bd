"""A stand-in for a cluster: programs that answer the scripts' queries, and record all changes."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.manifests.conftest import injector, istiod
from tests.manifests.test_versions import VERSIONS
from tests.support import ROOT

ISTIO, OLDEST, NEWEST = (VERSIONS[name] for name in ("ISTIO_VERSION", "KUBERNETES_OLDEST", "KUBERNETES_NEWEST"))
# A cluster: it answers the scripts' queries from the environment, and records all changes.
KUBECTL = r"""#!/bin/sh
[ "$1" = --namespace=todolist ] && shift
case "$*" in "${FORBIDDEN:-nothing}"*) exit 1 ;; esac
case "$*" in
  "auth can-i"*) echo "$MAY" ;;
  "config current-context") echo "$CONTEXT_NAME" ;;
  "version --client"*) echo "{\"clientVersion\": {\"gitVersion\": \"v$CLIENT\"}}" ;;
  "get mutatingwebhookconfigurations"*) echo "$INJECTORS" ;;
  "get deployments --all-namespaces --selector=app=istiod"*) echo "$ISTIODS" ;;
  "get deployments --all-namespaces --selector=app.kubernetes.io/name="*) [ -z "$KIALI" ] || echo '{"items": [{}]}' ;;
  "get deployment/controller "*)
    echo "{\"metadata\": {\"labels\": {\"app.kubernetes.io/version\": \"$KNATIVE_VERSION\"}}}" ;;
  "get customresourcedefinitions "*) echo "$DEFINITIONS" ;;
  "get crd gateways.gateway.networking.k8s.io"*) echo "$GATEWAY_API_OF" ;;
  "get namespace todolist --output=json"*) echo "$NAMESPACE_THERE" ;;
  "get resourcequotas "*) echo "$QUOTAS" ;;
  "get limitranges "*) echo "$LIMITS" ;;
  "get apiservices."*) echo "$METRICS_SERVER" ;;
  "get nodes --output=json"*) echo "$NODES" ;;
  "get service "*) if [ "$LATE" ] && grep -q "wait service" "$CALLS"; then echo "$LATE"; else echo "$SERVICE"; fi ;;
  "get services --all-namespaces"*prometheus*) echo "$OTHER_PROMETHEUS" ;;
  "get services --all-namespaces"*) echo "$SERVICES" ;;
  "get deployment/"*helm*) echo "$HELM" ;;
  "get services.serving.knative.dev/todolist "*status.url*) echo "http://$HOST" ;;
  "get services.serving.knative.dev/todolist "*) [ "$DEPLOYED" = knative ] ;;
  "get revision/"*image*) echo "$OLD" ;;
  "get revision/"*conditions*) echo "$READY" ;;
  "get revision/"*) [ "$OLD" ] ;;
  "get deployment/todolist "*) [ "$DEPLOYED" ] ;;
  "get namespace/todolist "*dataplane-mode*) echo "$DEPLOYED" ;;
  "get namespace/todolist "*part-of*) echo "$PART_OF" ;;
  "get configmap config-domain"*) printf "%s\n" "$DOMAIN" ;;
  "get secret/$NO_SECRET "*) false ;;
  "get --raw /version"*)
    [ -z "$DENIED" ] || { echo "$DENIED" >&2; exit 1; }
    echo "{\"gitVersion\": \"v$KUBERNETES\"}" ;;
  "get --raw /api/v1/namespaces/istio-system/services/prometheus"*) echo "$PROMETHEUS" ;;
  "get --raw /apis/serving.knative.dev"*) case $KINDS in *knative*) ;; *) false ;; esac ;;
  "get --raw /apis/eventing.knative.dev"*) case $KINDS in *eventing*) ;; *) false ;; esac ;;
  "get --raw /apis/gateway.networking.k8s.io"*) case $KINDS in *gateway-api*) ;; *) false ;; esac ;;
  "get --raw /apis/"*) case $KINDS in *istio*) ;; *) false ;; esac ;;
  "get services.serving.knative.dev,"*) echo "$KNATIVE_SERVICES" | tr ' ' '\n' ;;
  "get brokers.eventing.knative.dev,"*) echo "$BROKERS" | tr ' ' '\n' ;;
  "get pods "*) echo "$PODS" ;;
  "get daemonsets "*ztunnel*) [ -z "$ZTUNNEL" ] && echo '{"items": []}' || echo '{"items": [{}]}' ;;
  "get daemonsets "*istio-cni-node*) [ -z "$CNI" ] && echo '{"items": []}' || echo '{"items": [{}]}' ;;
  "get gateways.networking.istio.io"*) echo "$ISTIO_GATEWAYS" ;;
  "get gateways"*) echo "$GATEWAYS" ;;
  "get deployments,"*) echo "$MORE" ;;
  "get persistentvolumeclaims"*) echo "$VOLUMES_THERE" ;;
  "get deployment/istio-ingressgateway"*) [ "$INGRESS" ] && echo "$INGRESS" ;;
  "api-resources"*) echo httproutes.gateway.networking.k8s.io ;;
  "get --all-namespaces"*) echo "$ROUTES" ;;
  diff*) [ "$UNCHANGED" ] ;;
  "get "* | "config "* | "auth "* | wait*--for=create*) ;;
  *) echo "kubectl $*" >>"$CALLS"; cat >>"$CALLS.input" ;;
esac
"""
OTHER = """#!/bin/sh
case "$(basename "$0") $*" in
  "kind get clusters") echo todolist ;;
  "docker info"*) echo "$DOCKER_INFO" ;;
  "docker version"*) echo linux/arm64 ;;
  "docker save"*) echo "docker $*" >>"$CALLS"; [ -z "$OLD_DOCKER" ] ;;
  curl*) echo "curl $*" >>"$CALLS"; printf '%s\n' "$CURL" ;;
  "kind version") echo "$KIND" ;;
  *) echo "$(basename "$0") $*" >>"$CALLS" ;;
esac
"""
# What a cluster has not, as long as a test does not add it.
NOTHING = dict.fromkeys(re.findall(r"\$\{?([A-Z_]{2,})", KUBECTL + OTHER), "")


class Cluster:
    """Runs a script of deploy/ against a cluster described by the environment."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Not copies, whose Python files each script would compile again.
        for part in ("deploy", "services", ".venv"):
            (directory / part).symlink_to(ROOT / part)
        addons = directory / f".build/istio-{ISTIO}/samples/addons"
        addons.mkdir(parents=True)
        values = addons.parents[1] / "manifests/charts/istio-control/istio-discovery/values.yaml"
        values.parent.mkdir(parents=True)
        values.write_text('  hub: ""\nglobal:\n  hub: docker.io/istio\n')
        for name in ("prometheus", "grafana", "jaeger"):
            (addons / f"{name}.yaml").write_text(f"image: {name}/{name}:1\n")
        (addons / "kiali.yaml").write_text("external_services:\n  tracing:\n    enabled: false\n")
        istioctl = f".build/istio-{ISTIO}/bin/istioctl"
        for path in ("bin/kubectl", "bin/kind", "bin/docker", "bin/curl", "bin/k3d", "bin/minikube", istioctl):
            program = directory / path
            program.parent.mkdir(exist_ok=True)
            program.write_text(KUBECTL if path == "bin/kubectl" else OTHER)
            program.chmod(0o755)

    def ask(self, module: str, *question: str, **cluster: str) -> tuple[str, str]:
        """Return what a check of deploy/doctor/ answers a script, and its error, or ""; in this process."""
        with self.current(**cluster), redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as error:
            failed = import_module(f"deploy.doctor.{module}").main(*question)
        return out.getvalue().strip(), error.getvalue() if failed else ""

    @contextmanager
    def current(self, **cluster: str) -> Iterator[Callable[[], list[str]]]:
        """Make it the cluster of this process's kubectl; gives a function that returns the changes made."""
        (self.directory / "calls").write_text("")
        with patch.dict(os.environ, self._environment(cluster)):
            yield self.changes

    def changes(self) -> list[str]:
        return (self.directory / "calls").read_text().splitlines()

    def refusal(self, script: str, action: str = "", **cluster: str) -> str:
        """Return the one line with which a script refuses to begin."""
        said = self.failure(script, action, **cluster)
        assert (len(said.splitlines()), self.changes()) == (1, []), said
        return said

    def run(self, script: str, action: str = "", **cluster: str) -> list[str]:
        """Run a script that has to succeed, and return the changes that it made. Its output is in `self.output`."""
        failure = self.failure(script, action, **cluster)
        assert not failure, failure
        return self.changes()

    def failure(self, script: str, action: str = "", **cluster: str) -> str:
        """Return the error of a script, or "" if it succeeds."""
        (self.directory / "calls").write_text("")
        applied = self.directory / "calls.input"
        applied.write_text("")
        done = subprocess.run(
            [f"deploy/scripts/{script}.sh", action], cwd=self.directory, env=self._environment(cluster),
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        self.output, self.applied = done.stdout, applied.read_text()
        return (done.stderr or "it failed") if done.returncode else ""

    def _environment(self, cluster: dict[str, str]) -> dict[str, str]:
        state = {
            "PYTHON": sys.executable,
            "TARGET": "istio",
            "REGISTRY": "dev.local",
            "TAG": "1",
            "KUBERNETES": f"{OLDEST}.1",
            "CONTEXT_NAME": "here",
            "CLIENT": NEWEST + ".0",
            "INJECTORS": items(injector()),
            "ISTIODS": items(istiod(ISTIO)),
            "DEFINITIONS": definitions(),
            "GATEWAY_API_OF": "todolist",
            "NODES": items(),
            "GATEWAY_API_VERSION": f"v{VERSIONS['GATEWAY_API_VERSION']}",
            "MAY": "yes",
            "PART_OF": "todolist",
            "NO_SECRET": "none",
            "KINDS": "istio knative eventing gateway-api",
            **cluster,
        }
        path = f"{self.directory}/bin{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **NOTHING, **VERSIONS, **state, "CALLS": str(self.directory / "calls"), "PATH": path}


def definition(kind: str, *path: str, version: str = VERSIONS["GATEWAY_API_VERSION"], **more: Any) -> Any:
    """Return a definition of the Gateway API; path: the field that the sets need."""
    schema: Any = {}
    for field in reversed(path):
        schema = {"properties": {field: schema}}
    annotations = {
        "gateway.networking.k8s.io/bundle-version": f"v{version}",
        "gateway.networking.k8s.io/channel": more.get("channel", "standard"),
        **({"meta.helm.sh/release-name": more["helm"]} if "helm" in more else {}),
        **more.get("annotations", {}),
    }
    managers = [{"manager": more.get("manager", "helm")}]
    metadata = {"name": f"{kind}.gateway.networking.k8s.io", "annotations": annotations, "managedFields": managers}
    served = {"name": "v1", "served": True, "schema": {"openAPIV3Schema": schema}}
    return {"metadata": metadata, "spec": {"names": {"plural": kind}, "versions": [served]}}


def definitions(*, routes: tuple[str, ...] = ("spec", "rules", "timeouts"), **more: Any) -> str:
    return items(
        definition("gateways", "spec", "infrastructure", "parametersRef", **more),
        definition("httproutes", *routes, **more),
        definition("gatewayclasses", "spec", "controllerName", **more),
    )


def items(*found: Any) -> str:
    """Return what kubectl prints of several objects."""
    return json.dumps({"items": found})


def istiods(version: str, **more: str) -> str:
    return items(istiod(version, **more))


def minor(version: str, difference: int) -> str:
    """Return the version so many minor versions away."""
    major, number, *_ = version.split(".")
    return f"{major}.{int(number) + difference}.0"
