"""One worker's queue: which requests make its next batch, when that starts, what is dropped."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from policy.slo.pipeline import PolicyName
from policy.slo.profile import Profile
from policy.slo.queue import Queue

Key = TypeVar("Key", bound=Hashable)
# A batch that is not full waits for others so long, as a part of what one request alone takes.
GATHER = 0.1
# It starts so long, in seconds, before the last moment for those that are there and one more: timers are late.
MARGIN_SECONDS = 0.01


class Formed(NamedTuple, Generic[Key]):
    """`start`: the batch, now; `drop`: what cannot be done in time. With nothing to start: plan again when something
    is new, and at `again_at`.
    """

    start: list[Key]
    drop: list[Key]
    again_at: float | None


class Former(Generic[Key]):
    """Requests that wait for a batch at a worker whose backend takes one batch at a time. Times in seconds on the
    clock of `serve_by`. Every operation is O(log n) a request, amortised; a new order is O(n).

    `size`: of a batch as planned. "nexus" starts larger ones where they cost nobody's deadline; none is larger than
    `Profile.largest`.
    """

    def __init__(self, policy: PolicyName, profile: Profile, size: int) -> None:
        self._queue: Queue[Key] = Queue()
        self._until = math.inf
        self.order(policy, profile, size)

    def order(self, policy: PolicyName, profile: Profile, size: int) -> None:
        """From now on like this; `size` from 1."""
        self._policy = policy
        self._profile = profile
        self._size = min(size, profile.largest)
        self._queue.sort("arrival" if policy == "none" else "due")

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, key: Key, serve_by: float | None) -> None:
        """A request waits, from now on; `serve_by`: by when its batch must have ended."""
        self._queue.add(key, math.inf if serve_by is None else serve_by)

    def remove(self, key: Key) -> bool:
        """Takes a request out; whether it was there."""
        return self._queue.remove(key)

    def plan(self, now: float) -> Formed[Key]:
        """What to do now that the backend is free. What it names waits here no more."""
        if self._policy == "none":
            return Formed(self._queue.take(min(self._size, len(self._queue))), [], None)
        if self._policy == "lazy":
            return self._lazy(now)
        if self._policy == "nexus":
            return self._nexus(now)
        if self._policy == "pard":
            return self._pard(now)
        return self._gathered(now)

    def _lazy(self, now: float) -> Formed[Key]:
        """The largest batch that fits the head's budget (`GetBatchTaskEarliest`)."""
        drop = self._late(now + self._profile.seconds(1))
        count = min(self._size, len(self._queue))
        if count:
            count = max(1, min(count, self._profile.fitting(self._queue.head() - now)))
        return Formed(self._queue.take(count), drop, None)

    def _nexus(self, now: float) -> Formed[Key]:
        """Past the plan it grows while that costs nobody his deadline
        (`BatchPolicyBySlidingWindowWithFreeLunch`).
        """
        drop = self._squeezed(now)
        earliest = self._queue.head() if len(self._queue) else math.inf
        start = self._queue.take(min(self._size, len(self._queue)))
        while len(self._queue) and len(start) < self._profile.largest:
            if now + self._profile.seconds(len(start) + 1) > earliest:
                break
            start.append(self._queue.pop())
        return Formed(start, drop, None)

    def _pard(self, now: float) -> Formed[Key]:
        """What would be late, executed as planned, is dropped."""
        drop = self._late(now + self._profile.seconds(self._size))
        return Formed(self._queue.take(min(self._size, len(self._queue))), drop, None)

    def _gathered(self, now: float) -> Formed[Key]:
        """As Nexus, but a batch that is not full waits a moment for others, unless that costs a deadline: requests
        that belong together come one after the other, and others come for those that were dropped.
        """
        drop = self._squeezed(now)
        if 0 < len(self._queue) < self._size:
            self._until = min(self._until, now + GATHER * self._profile.seconds(1))
            last = self._queue.head() - self._profile.seconds(len(self._queue) + 1) - MARGIN_SECONDS
            if now < (until := min(self._until, last)):
                return Formed([], drop, until)
        self._until = math.inf
        return Formed(self._queue.take(min(self._size, len(self._queue))), drop, None)

    def _squeezed(self, now: float) -> list[Key]:
        """Takes out what would make the batch smaller than planned, or than there are: heads, until one can wait."""
        drop: list[Key] = []
        while len(self._queue):
            if self._queue.head() >= now + self._profile.seconds(min(self._size, len(self._queue))):
                break
            drop.append(self._queue.pop())
        return drop

    def _late(self, bound: float) -> list[Key]:
        """Takes out what is due before."""
        late: list[Key] = []
        while len(self._queue) and self._queue.head() < bound:
            late.append(self._queue.pop())
        return late
