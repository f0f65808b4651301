"""What is learned from calls that have ended: how long they take, and how many of them end in a second."""

from __future__ import annotations

import math

# What a call is expected to take before any has ended, in seconds.
PRIOR_SECONDS = 5.0
# The weight of the newest.
RECENT = 0.05
# One call moves the expectation as if it had taken at most so many times what was expected, and at least that part.
ODD = 5.0
# The time over which calls are counted, in seconds.
HORIZON_SECONDS = 10.0
LEAST_HORIZON_SECONDS = 1.0
# A call that took no time at all would never let the expectation grow again.
LEAST_SECONDS = 1e-3


class Durations:
    """What a call takes, by model: the mean of the recent ones, in which a single odd one counts for little."""

    def __init__(self, prior: float = PRIOR_SECONDS) -> None:
        self._prior = prior
        self._expected: dict[str, float] = {}
        self._learned: dict[str, int] = {}

    def learn(self, model: str, seconds: float) -> None:
        """A call has ended."""
        count = self._learned[model] = self._learned.get(model, 0) + 1
        expected = self._expected.setdefault(model, max(seconds, LEAST_SECONDS))
        seconds = min(max(seconds, expected / ODD, LEAST_SECONDS), expected * ODD)
        self._expected[model] = expected + (seconds - expected) * max(RECENT, 1 / count)

    def expect(self, model: str) -> float:
        """Seconds that a call of the model takes."""
        return self._expected.get(model, self._prior)


class Rate:
    """Ends of calls a second, of late. Times are of one clock."""

    def __init__(self) -> None:
        self._count = 0.0
        self._at = self._began = -math.inf

    def finished(self, now: float, count: int) -> None:
        """So many have ended since the last time."""
        if self._began == -math.inf:
            self._began = self._at = now
        self._count = self._left(now) + count
        self._at = now

    def per_second(self, now: float) -> float:
        """Of late; 0 before the first."""
        seconds = HORIZON_SECONDS * -math.expm1(-max(now - self._began, LEAST_HORIZON_SECONDS) / HORIZON_SECONDS)
        return self._left(now) / seconds

    def _left(self, now: float) -> float:
        return self._count * math.exp((self._at - now) / HORIZON_SECONDS)
