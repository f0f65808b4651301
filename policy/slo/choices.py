"""What a stage could be given, batch size and workers, and what each costs in money and in time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from policy.slo.pipeline import Stage
from policy.slo.profile import Profile
from policy.slo.queueing import wait

# The part of the time that workers are busy at most, so that a load a little above the expected one passes.
BUSY = 0.85
# Of a profile with more sizes so many are looked at, spread evenly over their ranks.
SIZES = 64


class Choice(NamedTuple):
    """`cost`: of all workers for one second. `seconds`: from the stage before to the end of this one, at worst."""

    cost: float
    seconds: float
    size: int
    workers: int


def choices(stage: Stage, profile: Profile, rate: float, *, hop: float, limit: float) -> list[Choice]:
    """Those that sustain `rate` requests a second within `limit` seconds; each costs more and is faster than the one
    before. Empty if there is none. Only sizes that were measured.
    """
    if not rate:
        idle = Choice(stage.cost * stage.workers.least, hop + profile.seconds(1), 1, stage.workers.least)
        return [idle] if idle.seconds <= limit else []
    return _front(_all(stage, profile, rate, hop, limit))


def enough(profile: Profile, size: int, rate: float) -> int:
    """The fewest workers that sustain `rate` with batches of `size`, and have some time left."""
    return max(1, math.ceil(rate / (profile.throughput(size) * BUSY)))


def most_of(stage: Stage, profile: Profile) -> float:
    """Requests a second that all the workers that the stage may have sustain, however long they wait."""
    return stage.workers.most * BUSY * max(map(profile.throughput, profile.sizes))


def _all(stage: Stage, profile: Profile, rate: float, hop: float, limit: float) -> Iterator[Choice]:
    for size in _spread(profile.sizes):
        filling, serving = (size - 1) / rate, profile.seconds(size)
        alone = hop + filling + serving
        if alone > limit:  # so is every larger one
            return
        for workers in range(max(enough(profile, size, rate), stage.workers.least), stage.workers.most + 1):
            busy = rate / (workers * profile.throughput(size))
            # Gaps between batches of n requests that come at random are n times less variable than the requests'.
            waiting = wait(workers, busy, serving, 1 / (2 * size))
            if alone + waiting <= limit:
                yield Choice(stage.cost * workers, alone + waiting, size, workers)
            if not waiting:
                break


def _spread(sizes: Sequence[int]) -> Sequence[int]:
    if len(sizes) <= SIZES:
        return sizes
    return [sizes[rank * (len(sizes) - 1) // (SIZES - 1)] for rank in range(SIZES)]


def _front(found: Iterator[Choice]) -> list[Choice]:
    front: list[Choice] = []
    for choice in sorted(found):
        if not front or choice.seconds < front[-1].seconds:
            front.append(choice)
    return front
