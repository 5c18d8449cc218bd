"""Requirements of every pod."""

from tests.manifests.conftest import Document, container, labels, name_of, named, of_kind, services, workloads


def test_pods_have_the_labels_that_kiali_needs(app: list[Document], beside: list[Document]) -> None:
    for workload in workloads([*app, *beside]):
        found = labels(workload)
        assert {"app", "version"} <= set(found), name_of(workload)
        assert found["app.kubernetes.io/name"] == found["app"], name_of(workload)
        assert found["app.kubernetes.io/part-of"] == "todolist", name_of(workload)


def test_services_are_probed_on_their_port_and_report_their_version(app: list[Document]) -> None:
    for workload in services(app):
        found = container(workload)
        (port,) = found["ports"]
        for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
            assert found[probe]["httpGet"] == {"path": path, "port": port["containerPort"]}, name_of(workload)
        assert {"name": "VERSION", "value": labels(workload)["version"]} in found["env"], name_of(workload)


def test_databases_keep_their_data(app: list[Document]) -> None:
    for workload in of_kind(app, "StatefulSet"):
        found = container(workload)
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


def test_a_drain_evicts_one_pod_at_a_time(app: list[Document]) -> None:
    for name in {labels(workload)["app"] for workload in workloads(app)}:
        budget = named(app, "PodDisruptionBudget", name)
        assert budget["spec"]["selector"]["matchLabels"] == {"app": name}
        assert budget["spec"]["maxUnavailable"] == 1
