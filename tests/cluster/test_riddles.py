"""The riddles that a cluster can run: each shows in the figures that prove it, and without it nothing does."""

from collections.abc import Iterator

import pytest

from lessons.runner.cluster import Cluster
from riddles.runner import command
from riddles.runner import riddle as riddles
from riddles.runner.riddle import Riddle


@pytest.fixture
def cluster(deployed: Cluster) -> Iterator[Cluster]:
    deployed.reset()
    yield deployed
    deployed.reset()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("riddle", riddles.every(), ids=lambda riddle: riddle.name)
def test_a_fault_shows_in_the_figures(cluster: Cluster, riddle: Riddle) -> None:
    if cluster.name not in riddle.truth.places:
        pytest.skip("not written for this set")
    assert not command.holds(cluster, riddle, with_change=False)
    assert command.begin(cluster, riddle, None) == 0
    assert command.holds(cluster, riddle)
