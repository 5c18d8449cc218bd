"""The lessons that a cluster can run: the split, policies, traces, scaling to zero and more; each checks itself."""

from collections.abc import Iterator

import pytest

from lessons.runner import command
from lessons.runner import lesson as lessons
from lessons.runner.cluster import Cluster
from lessons.runner.lesson import Lesson


@pytest.fixture(scope="module")
def cluster(deployed: Cluster) -> Iterator[Cluster]:
    deployed.reset()
    yield deployed
    deployed.reset()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("lesson", lessons.every(), ids=lambda lesson: lesson.name)
def test_a_lesson_passes(cluster: Cluster, lesson: Lesson) -> None:
    if cluster.name not in lesson.about.places:
        pytest.skip(lesson.about.elsewhere[cluster.name])
    cluster.reset()
    cluster.apply(lesson)
    assert command.passes(cluster, lesson)
