"""What a worker's batches were since it last told of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bus.messages import BatchUse


class Tally:
    """Counts batches; `taken` begins anew. Times in seconds."""

    def __init__(self) -> None:
        self._waits: list[float] = []
        self._served = 0
        self._seconds = 0.0

    def began(self, waits: Sequence[float]) -> None:
        """A batch has begun; so long have its requests waited."""
        self._waits += waits

    def ended(self, seconds: float) -> None:
        """A batch has been served."""
        self._served += 1
        self._seconds += seconds

    def taken(self, size: int, queued: int) -> BatchUse:
        """What has been since the last time. `size` and `queued`: as they are now."""
        waits, served, seconds = sorted(self._waits), self._served, self._seconds
        self._waits, self._served, self._seconds = [], 0, 0.0
        return BatchUse(
            size=size,
            queued=queued,
            batches=served,
            requests=len(waits),
            wait=sum(waits) / len(waits) if waits else 0.0,
            # The nearest rank.
            wait_p10=waits[math.ceil(len(waits) / 10) - 1] if waits else 0.0,
            service=seconds / served if served else 0.0,
        )
