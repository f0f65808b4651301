"""A mock of a machine that serves batches: how long one takes, its size tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence

from policy.slo.profile import Profile
from workernode.backends.base import Answer, Call, Sink
from workernode.errors import CallFailed


class StagedBatches:
    """One batch after another. `answer` gives a call's answer once its batch is done, after so many seconds more."""

    def __init__(self, profile: Profile, answer: Callable[[Call, Sink | None, float], Awaitable[Answer]]) -> None:
        self._profile = profile
        self._answer = answer
        self._turn = asyncio.Lock()

    def likeness(self, call: Call) -> Hashable | None:
        """See `Joint`. All are alike."""
        return "any"

    async def call(self, call: Call, sink: Sink | None) -> Answer:
        """A batch of one. Raises `CallFailed`."""
        (outcome,) = await self.call_many([(call, sink)])
        if isinstance(outcome, CallFailed):
            raise outcome
        return outcome

    async def call_many(self, calls: Sequence[tuple[Call, Sink | None]]) -> Sequence[Answer | CallFailed]:
        """See `Joint`. Streams come whole, at the end."""
        async with self._turn:
            for call, _ in calls:
                call.progress.connected_at = time.time()
            await asyncio.sleep(self._seconds(len(calls)))
        return await asyncio.gather(*(self._outcome(call, sink) for call, sink in calls))

    def _seconds(self, size: int) -> float:
        """Beyond the largest measured size it goes on as it went on average."""
        largest = self._profile.largest
        return self._profile.seconds(min(size, largest)) * max(1.0, size / largest)

    async def _outcome(self, call: Call, sink: Sink | None) -> Answer | CallFailed:
        try:
            return await self._answer(call, sink, 0.0)
        except CallFailed as failure:
            return failure
