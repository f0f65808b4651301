"""How many requests have come of late, counted in small buckets."""

from __future__ import annotations

import math
from collections import deque

BUCKET_SECONDS = 0.1
# The lengths of the windows over which a rate is looked at.
WINDOW_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
# So many standard deviations of a random count are taken for chance: a short window alone makes no rate.
CHANCE = 1.0


class Offered:
    """Of one pipeline. Times are of one clock, and never go back by more than a bucket."""

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque()  # number of the bucket, count
        self.last: float | None = None

    def add(self, now: float, count: int) -> None:
        """So many have come."""
        if not count:
            return
        number = int(now // BUCKET_SECONDS)
        if self._buckets and self._buckets[-1][0] >= number:
            self._buckets[-1][1] += count
        else:
            self._buckets.append([number, count])
        self.last = now
        self._forget(number)

    def rate(self, now: float) -> float:
        """Requests a second: the highest that a window up to now tells, each less what may be chance."""
        number = int(now // BUCKET_SECONDS)
        self._forget(number)
        highest, count = 0.0, 0
        left = list(self._buckets)
        for seconds in WINDOW_SECONDS:
            since = number - round(seconds / BUCKET_SECONDS)
            while left and left[-1][0] > since:
                count += left.pop()[1]
            highest = max(highest, _sure(count) / seconds)
        return highest

    def _forget(self, number: int) -> None:
        since = number - round(WINDOW_SECONDS[-1] / BUCKET_SECONDS)
        while self._buckets and self._buckets[0][0] <= since:
            self._buckets.popleft()


def _sure(count: int) -> float:
    """The mean whose random counts are seldom above `count`: mean + CHANCE * sqrt(mean) = count."""
    return ((math.sqrt(CHANCE**2 + 4 * count) - CHANCE) / 2) ** 2
