"""Release v2 by figures: it gets 5, 25, 50 and 100 % of the reads, and none as soon as it does worse than v1.

A read is bad if it fails, or takes longer than SLOW. Both are shares, and are judged in the same way.
"""

import math
import time
from collections.abc import Callable

from lessons.runner.place import Figures

STEPS = (5, 25, 50, 100)
# A version with so many more bad reads than v1 has to show itself in each step, so certainly.
BAD = 0.03
CERTAINTY = 0.999


def release(
    split: Callable[[int, int], None], figures: Callable[[], dict[str, Figures]], say: Callable[[str], None]
) -> bool:
    """Give v2 more and more of the reads, and return whether it got all of them.

    split: sets the shares of v1 and v2; figures: what the proxies have counted so far; say: prints a line.
    """
    v1 = Figures()
    for percent in STEPS:
        split(100 - percent, percent)
        before, wanted, v2, fault = figures(), needed(percent), Figures(), ""
        while v2.requests < wanted and not fault:
            time.sleep(0.1)
            now = figures()
            v2 = now["v2"] - before["v2"]
            # With all reads at v2 there is no v1 of the same minute: that of the step before counts.
            v1 = now["v1"] - before["v1"] if percent < 100 else v1
            fault = worse(v1, v2)
        if fault:
            split(100, 0)
        say(f"{percent:3} %  v2: {v2}; v1: {v1}")
        if fault:
            say(f"       {fault}: back to 0 %")
            return False
    return True


def worse(v1: Figures, v2: Figures) -> str:
    """Return what v2 does worse than v1; "" if chance may have made the difference.

    As good as v1, v2 would get its share of the bad reads: that of all reads.
    """
    share = v2.requests / max(1, v1.requests + v2.requests)
    if v2.failed > most(v1.failed + v2.failed, share):
        return "v2 fails more often than v1"
    if v2.slow > most(v1.slow + v2.slow, share):
        return "v2 is slow more often than v1"
    return ""


def needed(percent: int) -> int:
    """Return after how many reads of v2 a bad version has shown itself, next to a v1 without a bad read."""
    share = min(percent, 50) / 100
    # So many bad reads, all of them at v2, are no chance.
    telling = next(count for count in range(1, 100) if count > most(count, share))
    reads = telling
    while at_most(telling - 1, reads, BAD) > 1 - CERTAINTY:
        reads += 1
    return reads


def most(tries: int, share: float) -> int:
    """Return the greatest number of hits that is chance, of so many tries with this share."""
    hits = 0
    while at_most(hits, tries, share) < CERTAINTY:
        hits += 1
    return hits


def at_most(hits: int, tries: int, share: float) -> float:
    """Return the probability of no more than so many hits (binomial distribution)."""
    return sum(math.comb(tries, count) * share**count * (1 - share) ** (tries - count) for count in range(hits + 1))
