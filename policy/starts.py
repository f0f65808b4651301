"""How long a worker takes from being wanted to being ready, as seen. Pure."""

from __future__ import annotations

# Until one has been seen; and what is believed at most: a start that hangs says nothing about others.
UNKNOWN_SECONDS = 5.0
MOST_SECONDS = 120.0
# How much a new start counts against what was known.
NEW = 0.5


class Starts:
    """Of one AIModel. Times are of one clock, in seconds."""

    def __init__(self) -> None:
        self.seconds = UNKNOWN_SECONDS
        self._wanted = 0
        self._begun: tuple[float, int] | None = None  # when more were wanted than were ready, and how many were

    def saw(self, now: float, wanted: int, ready: int) -> None:
        """So many are wanted and so many are ready."""
        if self._begun is not None and ready > self._begun[1]:
            took = min(now - self._begun[0], MOST_SECONDS)
            self.seconds += NEW * (took - self.seconds)
            self._begun = None
        if wanted <= ready:
            self._begun = None
        elif wanted > self._wanted and self._begun is None:
            self._begun = (now, ready)
        self._wanted = wanted
