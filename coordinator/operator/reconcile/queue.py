"""Which AIModel is looked at next. Pure: the clock and the randomness are arguments.

A key is in work once at a time; news about it meanwhile make it come again. Who fails comes again after a pause that
doubles, spread by chance, so that many that fail together do not come back together. News end such a pause, all but
its first second.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from coordinator.operator.wanted.aimodel import Key

# News of the same key within so many seconds are looked at together.
SPACING = 0.2
FIRST_PAUSE = 0.5
LEAST_PAUSE = 1.0
LONGEST_PAUSE = 120.0


class WorkQueue:
    """Keys, each due at a time. `chance`: uniform in [0, 1). All times are of one clock, in seconds."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._at_work: set[Key] = set()
        self._not_before: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}

    def load(self, now: float) -> int:
        """Those that are due, and those at work."""
        return len({key for key, at in self._due.items() if at <= now} | self._at_work)

    def add(self, key: Key, now: float, after: float = 0.0) -> None:
        """Look at it in `after` seconds, or earlier if it was to be looked at earlier."""
        at = max(now + after, self._not_before.get(key, now))
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            heapq.heappush(self._heap, (at, next(self._order), key))

    def take(self, now: float) -> Key | None:
        """The key that has been due the longest; it is at work until `done` or `failed`. None: nothing is due."""
        held: list[tuple[float, int, Key]] = []
        taken = None
        while self._heap and self._heap[0][0] <= now and taken is None:
            entry = heapq.heappop(self._heap)
            at, _, key = entry
            if self._due.get(key) != at:
                continue  # it is due at another time now
            if key in self._at_work:
                held.append(entry)
            else:
                taken = key
        for entry in held:
            heapq.heappush(self._heap, entry)
        if taken is not None:
            del self._due[taken]
            self._at_work.add(taken)
        return taken

    def done(self, key: Key, now: float) -> None:
        """It was looked at, and all is well."""
        self._failures.pop(key, None)
        self._ended(key, now, SPACING)

    def failed(self, key: Key, now: float) -> float:
        """It comes again after the pause that is given back, in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 32))
        pause = longest * (1 + self._chance()) / 2
        self._ended(key, now, min(pause, LEAST_PAUSE))
        self.add(key, now, pause)
        return pause

    def forget(self, key: Key) -> None:
        """There is no such AIModel any more."""
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._not_before.pop(key, None)

    def next_at(self) -> float | None:
        """When the next that is not at work is due; None: nothing waits."""
        return min((at for key, at in self._due.items() if key not in self._at_work), default=None)

    def failing(self) -> int:
        """How many have failed when they were last looked at."""
        return len(self._failures)

    def _ended(self, key: Key, now: float, spacing: float) -> None:
        self._at_work.discard(key)
        for passed in itertools.takewhile(lambda each: self._not_before[each] <= now, list(self._not_before)):
            del self._not_before[passed]
        self._not_before[key] = now + spacing
        if self._due.get(key, now + spacing) < now + spacing:
            del self._due[key]
            self.add(key, now)
