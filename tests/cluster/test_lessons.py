"""The lessons and riddles that a cluster can run; each checks itself."""

from collections.abc import Iterator

import pytest

from lessons.runner import command
from lessons.runner import lesson as lessons
from lessons.runner.cluster import Cluster
from lessons.runner.lesson import Lesson
from riddles.runner import command as riddle_command
from riddles.runner import riddle as riddles
from riddles.runner.riddle import Riddle

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def cluster(deployed: Cluster) -> Iterator[Cluster]:
    deployed.reset()
    yield deployed
    deployed.reset()


@pytest.mark.parametrize("lesson", lessons.every(), ids=lambda lesson: lesson.name)
def test_a_lesson_passes(cluster: Cluster, lesson: Lesson) -> None:
    if cluster.name not in lesson.about.places:
        pytest.skip(lesson.about.elsewhere[cluster.name])
    cluster.apply(lesson)
    assert command.passes(cluster, lesson)


@pytest.mark.parametrize("riddle", riddles.every(), ids=lambda riddle: riddle.name)
def test_a_fault_shows_in_the_figures_and_without_it_nothing_does(cluster: Cluster, riddle: Riddle) -> None:
    if cluster.name not in riddle.truth.places:
        pytest.skip("not written for this set")
    assert not riddle_command.holds(cluster, riddle, with_change=False)
    assert riddle_command.begin(cluster, riddle, None) == 0
    assert riddle_command.holds(cluster, riddle)
