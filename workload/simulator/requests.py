"""What has become of each request."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from enum import IntEnum


class End(IntEnum):
    """How a request ended: late, if it was served, but not within the SLO; dropped, if it was given up."""

    OPEN = 0
    ON_TIME = 1
    LATE = 2
    DROPPED = 3


class Requests:
    """Requests by number, from 0, as they arrive. `ended_at` is NaN until it is known; `dropped_at` tells the stage's
    number, or `DOOR`. `user`: of each, a number; empty where all have one user.
    """

    DOOR = -1

    def __init__(self, arrived_at: Sequence[float], slo_seconds: float, user: Sequence[int]) -> None:
        count = len(arrived_at)
        self.arrived_at = arrived_at
        self.slo_seconds = slo_seconds
        self.user = user
        self.ended_at = array("d", [math.nan]) * count
        self.ends = bytearray(count)
        self.dropped_at: dict[int, int] = {}
        self.open = 0

    def due(self, request: int) -> float:
        """By when it is on time."""
        return self.arrived_at[request] + self.slo_seconds

    def finish(self, request: int, now: float) -> bool:
        """Nothing more is done for it; whether it is on time. It must be open."""
        on_time = now <= self.due(request)
        self._end(request, now, End.ON_TIME if on_time else End.LATE)
        return on_time

    def drop(self, request: int, place: int, now: float) -> None:
        """It is given up. It must be open."""
        self.dropped_at[request] = place
        self._end(request, now, End.DROPPED)

    def _end(self, request: int, now: float, end: End) -> None:
        self.ended_at[request] = now
        self.ends[request] = end
        self.open -= 1
