"""What the consumers of a subscription know of one another's deliveries. Pure: no I/O, no clock.

A place is where a message lies in its topic. A consumer is one life of one consumer: a process that comes back is
another one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import msgspec

# Settled places are remembered in two generations: at least so many, at most twice as many.
GENERATION = 50_000
# Starts whose end nobody has told (both died in between) must not gather for ever.
STARTS = 100_000


class Record(msgspec.Struct, array_like=True, frozen=True):
    """What one consumer tells the others. `number` counts its records. Fields are added at the end, never removed.

    `crashes`: those of the places in `started`, in their order; empty where all are 0. `back`: returned unsettled.
    `asked`: consumers that are to say whether they live. `left`: it has closed and holds nothing any more.
    `trimmed`: it has just let go of the journal's old part.
    """

    consumer: str
    number: int
    started: list[bytes] = []
    crashes: list[int] = []
    settled: list[bytes] = []
    back: list[bytes] = []
    asked: list[str] = []
    left: bool = False
    trimmed: bool = False


class Start(NamedTuple):
    """Who has a message ("": nobody any more), and how many consumers it has seen die before."""

    consumer: str
    crashes: int


_NOBODY = Start("", 0)


class Settled:
    """A bounded memory of places."""

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def add(self, place: bytes) -> None:
        self._young.add(place)
        if len(self._young) >= GENERATION:
            self._old, self._young = self._young, set()

    def __contains__(self, place: bytes) -> bool:
        return place in self._young or place in self._old


class Deliveries:
    """The state of every message that is known to have been started or settled."""

    def __init__(self) -> None:
        self.settled = Settled()
        self._starts: OrderedDict[bytes, Start] = OrderedDict()

    def read(self, record: Record) -> None:
        """What another consumer tells."""
        crashes = record.crashes or [0] * len(record.started)
        for place, count in zip(record.started, crashes, strict=False):
            self._put(place, Start(record.consumer, count))
        for place in record.settled:
            self.settle(place)
        for place in record.back if not record.left else self._held_by(record.consumer):
            self.let_go(place, record.consumer)

    def start(self, place: bytes) -> Start:
        """Which other consumer has started it and told nothing since, and how many have died with it."""
        return self._starts.get(place, _NOBODY)

    def settle(self, place: bytes) -> None:
        self._starts.pop(place, None)
        self.settled.add(place)

    def let_go(self, place: bytes, holder: str) -> None:
        """`holder` has returned it, or lives and has lost it: no crash. A former holder changes nothing."""
        consumer, crashes = self.start(place)
        if consumer == holder:
            self._starts.pop(place, None)
            if crashes:
                self._put(place, Start("", crashes))

    def bury(self, consumer: str) -> None:
        """It has died: what it held has seen one more crash."""
        for place in self._held_by(consumer):
            self._put(place, Start("", self._starts[place].crashes + 1))

    def _held_by(self, consumer: str) -> list[bytes]:
        return [place for place, start in self._starts.items() if start.consumer == consumer]

    def _put(self, place: bytes, start: Start) -> None:
        self._starts[place] = start
        if len(self._starts) > STARTS:
            self._starts.popitem(last=False)


class Outages:
    """When the broker was away from us. Others lost it too, and may need as long again to come back."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._over_at = 0.0

    def note(self, connected: bool, now: float) -> None:
        """What is seen at `now`, in seconds of any clock that does not jump."""
        if not connected:
            self._began = now if self._began is None else self._began
        elif self._began is not None:
            self._over_at = max(self._over_at, 2 * now - self._began)
            self._began = None

    def grace(self, now: float) -> float:
        """Seconds for which silence of others says nothing yet."""
        return max(0.0, self._over_at - now)
