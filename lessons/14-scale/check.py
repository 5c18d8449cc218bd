"""Lesson 14, Scale by demand: the number of pods follows the load, up and down."""

from lessons.runner.check import LIST, Check
from lessons.runner.knative import KNATIVE_SERVICE
from lessons.runner.lesson import About

ABOUT = About(
    title="Scale by demand",
    learn="scale pods with the number of requests, up and down",
    look="kubectl get pods --namespace=todolist --selector=app=rule --watch shows pods being added and removed. "
    "The panel Request path shows how many pods of rule have answered this page.",
    think="Knative counts concurrent requests, Kubernetes' own autoscaler measures the CPU. All of rule's requests "
    "wait for a slow database: which of the two scales up?",
    places=("istio", "ambient", "knative"),
    elsewhere={
        "laptop": "Each service is one process there.",
    },
)

AT_ONCE = 60
TIMEOUT = 240


def run(check: Check) -> None:
    cluster = check.cluster
    if cluster.name != "knative" and not cluster.has("apiservices", "v1beta1.metrics.k8s.io"):
        print("  skipped: a HorizontalPodAutoscaler needs a metrics server, and this cluster has none")
        return

    selector, least = "app=rule", 2
    if cluster.name == "knative":
        rule = f"{KNATIVE_SERVICE}/rule"
        cluster.kubectl("wait", rule, "--for=condition=Ready", "--timeout=120s")
        # The pods of the previous revision may still be stopping.
        revision = cluster.kubectl("get", rule, "--output=jsonpath={.status.latestReadyRevisionName}")
        selector, least = f"serving.knative.dev/revision={revision}", 0

    def pods() -> int:
        return len(cluster.pods(selector))

    before = max(1, pods())
    with check.meanwhile(LIST, at_once=AT_ONCE) as answers:
        check.eventually(lambda: pods() > before, TIMEOUT)
        most = pods()
    statuses = {answer.status for answer in answers.all}
    check.that(most > before, f"{AT_ONCE} clients: rule was scaled from {before} to {most} pods", f"more than {before}")
    check.that(statuses == {200}, f"their requests were answered with {said(statuses)}", "200")
    check.eventually(lambda: pods() == least, TIMEOUT)
    check.that(pods() == least, f"no requests: rule has {pods()} pods", str(least))


def said(statuses: set[int]) -> str:
    """Join statuses for the output."""
    return ", ".join(map(str, sorted(statuses)))
