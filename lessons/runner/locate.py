"""Finding the application: `make run` in this folder if it is on, else in the cluster that kubectl points at."""

import os
import shutil
from pathlib import Path

from deploy.doctor.access import answer, context, pin
from deploy.doctor.cluster import client
from deploy.doctor.finding import MISSING
from deploy.local import here
from lessons.runner.ambient import Ambient
from lessons.runner.cluster import Cluster, script
from lessons.runner.knative import Knative
from lessons.runner.laptop import Laptop
from lessons.runner.place import Place, UnsuitableError

NOTHING = "Nothing runs here: `make run` starts the application on this machine, `make deploy` in a cluster"
NOT_HERE = "`make run` is not on in this folder: start it in another terminal. Or in a cluster:"
CLUSTERS = {"istio": Cluster, "ambient": Ambient, "knative": Knative}


def find_place() -> Place:
    """Return where the application runs. Raises UnsuitableError when it runs nowhere."""
    run = here.current()
    return Laptop(run) if run else find_cluster()


def find_cluster() -> Cluster:
    """Return the cluster, with the set that is in NAMESPACE. Raises UnsuitableError when there is none."""
    files = (os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")).split(os.pathsep)
    if not shutil.which("kubectl") and not any(map(os.path.isfile, files)):
        raise UnsuitableError(NOTHING)
    namespace = os.environ.get("NAMESPACE") or "todolist"
    pin()
    for check in (client, answer):
        if (found := check()).state == MISSING:
            is_meant = context() or os.environ.get("CONTEXT") or not shutil.which("kubectl")
            raise UnsuitableError(f"{NOT_HERE}\n{found}" if is_meant else NOTHING)
    target = script("deployed_target", namespace)
    if not target:
        raise UnsuitableError(NOTHING)
    return CLUSTERS[target](namespace)
