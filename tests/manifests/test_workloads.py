"""Requirements of every pod."""

import pytest

from tests.manifests.conftest import (
    Document,
    container,
    labels,
    name_of,
    named,
    of_kind,
    services,
    workloads,
)

ISTIO_UID = 1337


def test_pods_have_the_labels_that_kiali_needs(manifests: list[Document]) -> None:
    for workload in workloads(manifests):
        found = labels(workload)
        assert {"app", "version"} <= set(found), name_of(workload)
        assert found["app.kubernetes.io/name"] == found["app"], name_of(workload)
        assert found["app.kubernetes.io/part-of"] == "todolist", name_of(workload)


def test_each_workload_is_a_node_of_the_graph(app: list[Document]) -> None:
    seen = [(labels(workload)["app"], labels(workload)["version"]) for workload in workloads(app)]
    assert len(set(seen)) == len(seen)


def test_pods_have_their_own_service_accounts(app: list[Document]) -> None:
    accounts = {account["metadata"]["name"]: account for account in of_kind(app, "ServiceAccount")}
    for workload in workloads(app):
        name = workload["spec"]["template"]["spec"]["serviceAccountName"]
        assert name == labels(workload)["app"], name_of(workload)
        assert accounts[name]["automountServiceAccountToken"] is False


def test_pods_are_restricted(manifests: list[Document]) -> None:
    for workload in workloads(manifests):
        pod = workload["spec"]["template"]["spec"]
        found = {**pod.get("securityContext", {}), **container(workload)["securityContext"]}
        assert found["runAsNonRoot"] is True, name_of(workload)
        assert found["runAsUser"] not in {0, ISTIO_UID}, name_of(workload)
        assert found["allowPrivilegeEscalation"] is False, name_of(workload)
        assert found["readOnlyRootFilesystem"] is True, name_of(workload)
        assert found["capabilities"] == {"drop": ["ALL"]}, name_of(workload)
        assert found["seccompProfile"] == {"type": "RuntimeDefault"}, name_of(workload)
        assert pod["automountServiceAccountToken"] is False, name_of(workload)
        assert pod["enableServiceLinks"] is False, name_of(workload)


def test_pods_have_requests_and_limits(manifests: list[Document]) -> None:
    for workload in workloads(manifests):
        found = container(workload)["resources"]
        for kind_of_limit in ("requests", "limits"):
            assert set(found[kind_of_limit]) == {"cpu", "memory"}, name_of(workload)


def test_services_are_probed_over_http_on_their_port(app: list[Document]) -> None:
    for workload in services(app):
        found = container(workload)
        (port,) = found["ports"]
        for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
            assert found[probe]["httpGet"] == {"path": path, "port": port["containerPort"]}, name_of(workload)
        # A minute to start.
        if workload["kind"] == "Deployment":
            start = found["startupProbe"]
            assert start["httpGet"] == found["livenessProbe"]["httpGet"], name_of(workload)
            assert start["periodSeconds"] * start["failureThreshold"] == 60, name_of(workload)
        else:
            assert found["livenessProbe"]["initialDelaySeconds"] == 60, name_of(workload)


def test_databases_are_probed_and_keep_their_data(app: list[Document]) -> None:
    for workload in of_kind(app, "StatefulSet"):
        found = container(workload)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert found[probe]["exec"]["command"][0] == "pg_isready"
        mounts = {mount["name"]: mount["mountPath"] for mount in found["volumeMounts"]}
        (claim,) = workload["spec"]["volumeClaimTemplates"]
        environment = {entry["name"]: entry.get("value", "") for entry in found["env"]}
        assert environment["PGDATA"].startswith(mounts[claim["metadata"]["name"]] + "/")


def test_a_grace_period_outlasts_the_longest_request(istio: list[Document]) -> None:
    (route,) = of_kind(istio, "HTTPRoute")
    longest = int(route["spec"]["rules"][0]["timeouts"]["request"].rstrip("s"))
    for workload in services(istio):
        delay = container(workload)["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > longest + delay


def test_images_are_placeholders(app: list[Document]) -> None:
    for workload in services(app):
        assert container(workload)["image"] == labels(workload)["app"], name_of(workload)


def test_secrets_are_named_and_never_contained(manifests: list[Document]) -> None:
    assert of_kind(manifests, "Secret") == []
    for workload in workloads(manifests):
        for entry in container(workload).get("env", []):
            if "PASSWORD" in entry["name"]:
                assert set(entry["valueFrom"]) == {"secretKeyRef"}, name_of(workload)


def test_each_service_uses_its_own_database(app: list[Document]) -> None:
    for workload in services(app):
        environment = {entry["name"]: entry for entry in container(workload)["env"]}
        if "DATABASE_URL" not in environment:
            assert labels(workload)["app"] == "todolist"
            continue
        name = labels(workload)["app"]
        database = named(app, "StatefulSet", f"{name}-database")
        server = {entry["name"]: entry for entry in container(database)["env"]}
        password = environment["DATABASE_PASSWORD"]["valueFrom"]["secretKeyRef"]
        port = container(database)["ports"][0]["containerPort"]
        assert environment["DATABASE_URL"]["value"] == (
            f"postgresql://{name}:$(DATABASE_PASSWORD)@{database['metadata']['name']}:{port}/{name}"
        )
        assert server["POSTGRES_PASSWORD"]["valueFrom"]["secretKeyRef"] == password
        assert server["POSTGRES_USER"]["value"] == name
        # $(NAME) is filled in only from what stands before it.
        names = list(environment)
        assert names.index("DATABASE_PASSWORD") < names.index("DATABASE_URL")


def test_the_version_reported_is_the_label(app: list[Document]) -> None:
    for workload in services(app):
        (entry,) = [entry for entry in container(workload)["env"] if entry["name"] == "VERSION"]
        assert entry["value"] == labels(workload)["version"]


def test_deployments_have_no_replicas(istio: list[Document]) -> None:
    scaled = {hpa["spec"]["scaleTargetRef"]["name"]: hpa["spec"] for hpa in of_kind(istio, "HorizontalPodAutoscaler")}
    deployments = of_kind(istio, "Deployment")
    assert set(scaled) == {deployment["metadata"]["name"] for deployment in deployments}
    for deployment in deployments:
        assert "replicas" not in deployment["spec"]
        spec = scaled[deployment["metadata"]["name"]]
        assert 2 <= spec["minReplicas"] < spec["maxReplicas"]
        for metric in spec["metrics"]:
            assert metric["containerResource"]["container"] == container(deployment)["name"]


@pytest.mark.parametrize("budget_of", ["todolist", "user", "rule", "user-database", "rule-database"])
def test_a_drain_evicts_one_pod_at_a_time(budget_of: str, app: list[Document]) -> None:
    budget = named(app, "PodDisruptionBudget", budget_of)
    wanted = budget["spec"]["selector"]["matchLabels"].items()
    selected = {labels(workload)["app"] for workload in workloads(app) if wanted <= labels(workload).items()}
    assert selected == {budget_of}
    assert budget["spec"]["maxUnavailable"] == 1
