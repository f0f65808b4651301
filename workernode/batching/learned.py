"""What a batch takes, by its size: as it was told, and where nothing was, as the worker's own batches show. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from policy.slo.profile import Profile

# Before anything is known: too little to give up a request for.
FIRST_GUESS = 0.001
# The weight of the newest batch.
WEIGHT = 0.2


class Learned:
    """One worker's. `told`: size → seconds, from a profile; empty where there is none."""

    def __init__(self, told: Mapping[int, float]) -> None:
        self._told = dict(told)
        self._known_to = max(told, default=0)
        self._seen: dict[int, float] = {}

    def saw(self, size: int, seconds: float) -> bool:
        """Hears what a batch has taken; whether that is news."""
        if size <= self._known_to:
            return False
        before = self._seen.get(size, seconds)
        self._seen[size] = before + WEIGHT * (seconds - before)
        return True

    def profile(self, size: int) -> Profile:
        """For batches of up to `size`: beyond what is known it goes on as it went, at first in no time."""
        points = self._seen | self._told or {1: FIRST_GUESS}
        largest = max(points)
        return Profile(points if largest >= size else {**points, size: _beyond(points, largest, size)})


def _beyond(points: Mapping[int, float], largest: int, size: int) -> float:
    """Along the line through the two largest sizes; level where there is but one, or it falls."""
    before = max((each for each in points if each < largest), default=None)
    if before is None:
        return points[largest]
    slope = (points[largest] - points[before]) / (largest - before)
    return points[largest] + max(0.0, slope) * (size - largest)
