"""Finding the application: `make run` in this folder if it is on, else in the cluster that kubectl points at."""

import os
import shutil

from deploy.doctor.access import pin
from deploy.local import here
from lessons.runner.ambient import Ambient
from lessons.runner.cluster import Cluster, script
from lessons.runner.knative import Knative
from lessons.runner.laptop import Laptop
from lessons.runner.place import Place, UnsuitableError

NOTHING = "Nothing runs here: `make run` starts the application on this machine, `make deploy` in a cluster"
CLUSTERS = {"istio": Cluster, "ambient": Ambient, "knative": Knative}


def find_place() -> Place:
    """Return where the application runs. Raises UnsuitableError when it runs nowhere."""
    run = here.current()
    return Laptop(run) if run else find_cluster()


def find_cluster() -> Cluster:
    """Return the cluster, with the set that is in NAMESPACE. Raises UnsuitableError when there is none."""
    if not shutil.which("kubectl"):
        raise UnsuitableError(NOTHING)
    namespace = os.environ.get("NAMESPACE") or "todolist"
    pin()
    target = script("deployed_target", namespace)
    if not target:
        raise UnsuitableError(NOTHING)
    return CLUSTERS[target](namespace)
