"""A queue whose head is due first, or came first, and out of which anything may be taken."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, Literal, TypeVar

from policy.fair import STALE

Key = TypeVar("Key", bound=Hashable)
By = Literal["arrival", "due"]


class Queue(Generic[Key]):
    """Keys with the time each is due. Every operation is O(log n), amortised; but `sort` is O(n)."""

    __slots__ = ("_by", "_entries", "_heap", "_numbers")

    def __init__(self) -> None:
        self._by: By = "due"
        self._numbers = itertools.count()
        # The order's figure, the arrival's number, when it is due.
        self._entries: dict[Key, tuple[float, int, float]] = {}
        self._heap: list[tuple[float, int, float, Key]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def sort(self, by: By) -> None:
        """From now on the head is the one that came first, or that is due first."""
        if by != self._by:
            self._by = by
            for key, (_, number, due) in self._entries.items():
                self._entries[key] = (self._figure(due), number, due)
            self._rebuild()

    def add(self, key: Key, due: float) -> None:
        """A key that is not here yet, or one that is with another time."""
        entry = self._entries[key] = (self._figure(due), next(self._numbers), due)
        heapq.heappush(self._heap, (*entry, key))
        if len(self._heap) > 2 * len(self._entries) + STALE:
            self._rebuild()

    def remove(self, key: Key) -> bool:
        """Whether it was here."""
        return self._entries.pop(key, None) is not None

    def head(self) -> float:
        """When the head is due. There must be one."""
        while self._stale():
            heapq.heappop(self._heap)
        return self._heap[0][2]

    def pop(self) -> Key:
        """Takes the head. There must be one."""
        while self._stale():
            heapq.heappop(self._heap)
        key = heapq.heappop(self._heap)[3]
        del self._entries[key]
        return key

    def take(self, count: int) -> list[Key]:
        """The first `count`, which must be there."""
        return [self.pop() for _ in range(count)]

    def _figure(self, due: float) -> float:
        return due if self._by == "due" else 0.0

    def _stale(self) -> bool:
        entry = self._entries.get(self._heap[0][3])
        return entry is None or entry[1] != self._heap[0][1]

    def _rebuild(self) -> None:
        self._heap = [(*entry, key) for key, entry in self._entries.items()]
        heapq.heapify(self._heap)
