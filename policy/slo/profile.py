"""How long a batch takes, by its size: measured by `agentos profile`."""

from __future__ import annotations

import bisect
from collections.abc import Mapping


class Profile:
    """Seconds of one batch at one worker, by the batch's size.

    Between measured sizes it is a straight line. `largest`: the largest size that was measured; no batch is larger.
    A size that takes less than a smaller one is taken to take as long: a batch may always be filled up.
    """

    __slots__ = ("_seconds", "largest", "sizes")

    def __init__(self, measured: Mapping[int, float]) -> None:
        """`measured`: size (from 1) → seconds (above 0); at least one. A size of 1 that is missing takes as long as
        the smallest measured.
        """
        self.sizes = tuple(sorted({1, *measured}))
        self.largest = self.sizes[-1]
        points: list[float] = []
        smallest = measured[min(measured)]
        for size in self.sizes:
            seconds = measured.get(size, smallest)
            points.append(max(seconds, points[-1] if points else 0.0))
        self._seconds = [0.0, *(_between(self.sizes, points, size) for size in range(1, self.largest + 1))]

    def seconds(self, size: int) -> float:
        """A batch of `size`, 1 to `largest`."""
        return self._seconds[size]

    def throughput(self, size: int) -> float:
        """Requests a second of a worker that is always busy with batches of `size`."""
        return size / self._seconds[size]

    def best(self) -> int:
        """The smallest size within a hundredth of the highest throughput."""
        most = max(map(self.throughput, range(1, self.largest + 1)))
        return next(size for size in range(1, self.largest + 1) if self.throughput(size) >= 0.99 * most)

    def fitting(self, seconds: float) -> int:
        """The largest size whose batch takes at most so long; 0 if there is none."""
        return bisect.bisect_right(self._seconds, seconds) - 1 if seconds >= self._seconds[1] else 0

    def points(self) -> dict[int, float]:
        """Seconds at the sizes that were measured."""
        return {size: self._seconds[size] for size in self.sizes}


def _between(sizes: tuple[int, ...], points: list[float], size: int) -> float:
    right = bisect.bisect_left(sizes, size)
    if sizes[right] == size:
        return points[right]
    left = right - 1
    part = (size - sizes[left]) / (sizes[right] - sizes[left])
    return points[left] + part * (points[right] - points[left])
