"""What happens when."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

# Called with the time and with what it is about.
Call = Callable[[float, Any], None]


class Clock:
    """Calls what is due, in the order of time; what is due at the same time as it was asked for.

    What is always due `way` seconds later needs no heap: it is due in the order in which it was asked for.
    """

    def __init__(self, way: float) -> None:
        """`way`: seconds."""
        self.events = 0
        self.way = way
        self._heap: list[tuple[float, int, Call, Any]] = []
        self._travelling: deque[tuple[float, Call, Any]] = deque()
        self._numbers = itertools.count()

    def at(self, when: float, call: Call, about: Any) -> None:
        """Seconds from the start, not before now."""
        heapq.heappush(self._heap, (when, next(self._numbers), call, about))

    def on_the_way(self, now: float, call: Call, about: Any) -> None:
        """What is sent now arrives."""
        self._travelling.append((now + self.way, call, about))

    def run(self, arrivals: Iterable[float], arrive: Callable[[float], None]) -> float:
        """Until all have arrived and nothing is due any more. Returns the time of the last."""
        now = 0.0
        for at in itertools.chain(arrivals, (math.inf,)):
            now = self._until(at, now)
            if at < math.inf:
                self.events += 1
                now = at
                arrive(at)
        return now

    def _until(self, end: float, now: float) -> float:
        heap, travelling = self._heap, self._travelling
        while True:
            when = heap[0][0] if heap else math.inf
            if travelling and travelling[0][0] <= when:
                when, call, about = travelling[0]
                if when > end:
                    return now
                travelling.popleft()
            elif when <= end and heap:
                _, _, call, about = heapq.heappop(heap)
            else:
                return now
            self.events += 1
            now = when
            call(now, about)
