"""Lesson 14, Scale by demand: pods follow the number of requests at a time, and go again."""

from deploy.lessons.check import LIST, Check
from deploy.lessons.knative import KNATIVE_SERVICE
from deploy.lessons.lesson import About

ABOUT = About(
    title="Scale by demand",
    learn="let pods follow the number of requests, up and down",
    look="kubectl get pods --namespace=todolist --selector=app=rule --watch shows pods come and go. "
    "The panel Request path says how many pods of rule have answered this page.",
    think="Knative counts requests at a time, Kubernetes' own autoscaler measures the CPU. All of rule's requests wait "
    "for a slow database: which of the two notices?",
    places=("istio", "ambient", "knative"),
    elsewhere={
        "laptop": "Each service is one process there.",
    },
)

PEOPLE = 60
PATIENCE = 240


def run(check: Check) -> None:
    cluster = check.cluster
    if cluster.name != "knative" and not cluster.has("apiservices", "v1beta1.metrics.k8s.io"):
        print("  skipped: a HorizontalPodAutoscaler needs a metrics server, and this cluster has none")
        return

    selector, least = "app=rule", 2
    if cluster.name == "knative":
        rule = f"{KNATIVE_SERVICE}/rule"
        cluster.kubectl("wait", rule, "--for=condition=Ready", "--timeout=120s")
        # The pods of the revision before it still go.
        revision = cluster.kubectl("get", rule, "--output=jsonpath={.status.latestReadyRevisionName}")
        selector, least = f"serving.knative.dev/revision={revision}", 0

    def pods() -> int:
        return len(cluster.pods(selector))

    before = max(1, pods())
    with check.meanwhile(LIST, at_once=PEOPLE) as answers:
        check.eventually(lambda: pods() > before, PATIENCE)
        most = pods()
    statuses = {answer.status for answer in answers.all}
    check.that(most > before, f"{PEOPLE} people at once: rule went from {before} to {most} pods", f"more than {before}")
    check.that(statuses == {200}, f"their requests were answered with {said(statuses)}", "200")
    check.eventually(lambda: pods() == least, PATIENCE)
    check.that(pods() == least, f"no requests: rule has {pods()} pods", str(least))


def said(statuses: set[int]) -> str:
    """Return statuses in words."""
    return ", ".join(map(str, sorted(statuses)))
