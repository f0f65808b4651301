"""How many requests have come of late, counted in small buckets."""

from __future__ import annotations

import math

BUCKET_SECONDS = 0.1
# The lengths of the windows over which a rate is looked at.
WINDOW_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
# So many buckets hold all that is looked at.
BUCKETS = round(WINDOW_SECONDS[-1] / BUCKET_SECONDS)
# So many standard deviations of a random count are taken for chance: a short window alone makes no rate.
CHANCE = 1.0


class Offered:
    """To one pipeline. Times are of one clock; counts may come late."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}  # by number of the bucket
        self.last: float | None = None

    def add(self, at: float, count: int) -> None:
        """So many came then."""
        if not count:
            return
        number = _number(at)
        self._counts[number] = self._counts.get(number, 0) + count
        self.last = at if self.last is None else max(at, self.last)
        if len(self._counts) > 2 * BUCKETS:
            newest = _number(self.last)
            self._counts = {each: n for each, n in self._counts.items() if each > newest - BUCKETS}

    def rate(self, now: float, shortest: float = 0.0) -> float:
        """Requests a second: the highest that a window up to now tells, less what may be chance in a short one.

        Windows under `shortest` seconds are not looked at.
        """
        number, highest, count, seen = _number(now), 0.0, 0, 0
        for seconds in WINDOW_SECONDS:
            length = round(seconds / BUCKET_SECONDS)
            count += sum(self._counts.get(number - back, 0) for back in range(seen, length))
            seen = length
            if seconds >= shortest:
                highest = max(highest, _sure(count) / seconds)
        return max(highest, count / WINDOW_SECONDS[-1])


def _number(at: float) -> int:
    return int(at / BUCKET_SECONDS)


def _sure(count: int) -> float:
    """The mean whose random counts are seldom above `count`: mean + CHANCE * sqrt(mean) = count."""
    return ((math.sqrt(CHANCE**2 + 4 * count) - CHANCE) / 2) ** 2
