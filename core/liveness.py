"""Who must show progress, and since when the process has not stood still. Pure: the clock is an argument."""

from __future__ import annotations

import math
from collections.abc import Callable

# How long after a stop deliveries from before it may still be handed over.
SETTLING = 1.0


class Fence:
    """Whether this process stood still for so long that its broker may have given its messages to others.

    The event loop ticks; a stop shows as a gap between two ticks (SIGSTOP, a suspended machine, a blocked loop).
    `limit`, in seconds, must be below the shortest time after which a broker takes a consumer for dead. All times
    are of one clock that does not stop with the process.
    """

    __slots__ = ("_ticked_at", "awake_since", "limit")

    def __init__(self, limit: float, now: float) -> None:
        self.limit = limit
        self.awake_since = -math.inf
        self._ticked_at = now

    def tick(self, now: float) -> None:
        """The loop turns."""
        if self.slept(now) > self.limit:
            self.awake_since = now
        self._ticked_at = now

    def slept(self, now: float) -> float:
        """Seconds since the last tick."""
        return now - self._ticked_at

    def passed(self, since: float, now: float) -> bool:
        """Whether a stop longer than `limit` ended after `since` or is ending now.

        One that ended up to `SETTLING` seconds before counts too: what had come before it is handed over after it.
        """
        return self.awake_since > since - SETTLING or self.slept(now) > self.limit


class Beat:
    """One part that must show progress: `beat` after every turn. `silence`: the longest time between, in seconds."""

    __slots__ = ("_clock", "last", "silence")

    def __init__(self, silence: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.silence = silence
        self.last = clock()

    def beat(self) -> None:
        """Progress was made."""
        self.last = self._clock()


class Liveness:
    """The parts of a process that must show progress, by name. `fence` and `clock` are of the same clock."""

    def __init__(self, fence: Fence, clock: Callable[[], float]) -> None:
        self._fence = fence
        self._clock = clock
        self._beats: dict[str, Beat] = {}

    def expect(self, name: str, *, silence: float) -> Beat:
        """From now on `name` must beat at least every `silence` seconds, until `forget`."""
        beat = self._beats[name] = Beat(silence, self._clock)
        return beat

    def forget(self, name: str) -> None:
        """`name` has ended in good order."""
        self._beats.pop(name, None)

    def stuck(self) -> list[str]:
        """What is wrong, a sentence each; empty while all is well."""
        now = self._clock()
        # While the process stood still nobody could beat. The list: another thread may ask.
        silent = (
            (name, beat, now - max(beat.last, self._fence.awake_since)) for name, beat in list(self._beats.items())
        )
        return [
            f"{name} has shown no progress for {seconds:.0f} s (allowed: {beat.silence:g} s)"
            for name, beat, seconds in silent
            if seconds > beat.silence
        ]
