"""An open loop: requests are sent when they are due, whether those before have been answered or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from core.errors import AgentOSError
from workload.arrivals import Arrival
from workload.door import Lost
from workload.errors import GatewayRefused, GatewayUnavailable, TaskFailed
from workload.passage import UNFINISHED, Passage
from workload.report import Outcome

# Has one request answered, and calls the second argument at the first token of a stream. Of a pipeline's request: its
# way through the stages, whatever became of it.
Send = Callable[[Arrival, Callable[[], None]], Awaitable[Passage | None]]


class OpenLoop:
    """Sends by `send`. `outcomes`: of those that have ended; `sent`: how many were."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = 0.0
        self._open: dict[asyncio.Task[None], Outcome] = {}
        self.outcomes: list[Outcome] = []
        self.sent = 0

    async def run(self, arrivals: Iterable[Arrival], *, drain_seconds: float) -> list[Outcome]:
        """What became of each. Those that have not ended so long after the last was sent are `unfinished`.

        Cancelled, it gives up what is open; `outcomes` then hold what became of the others.
        """
        self._began = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                for arrival in arrivals:
                    await asyncio.sleep(max(0.0, arrival.at - self.now()))
                    self._begin(group, arrival)
                if self._open:
                    await asyncio.wait(self._open, timeout=drain_seconds)
                self._give_up()
        finally:
            self.outcomes += self._open.values()
            self._open.clear()
        return self.outcomes

    def _begin(self, group: asyncio.TaskGroup, arrival: Arrival) -> None:
        sent = self.now()
        task = group.create_task(self._one(arrival, sent))
        self._open[task] = Outcome(arrival.at, sent, error=UNFINISHED)
        self.sent += 1

    def _give_up(self) -> None:
        for task in self._open:
            task.cancel()

    async def _one(self, arrival: Arrival, sent: float) -> None:
        first: float | None = None

        def heard() -> None:
            nonlocal first
            first = self.now() if first is None else first

        error = passage = None
        try:
            passage = await self._send(arrival, heard)
            error = passage.failure if passage is not None else None
        except AgentOSError as failure:
            error = name_of(failure)
        task = asyncio.current_task()
        assert task is not None
        del self._open[task]
        self.outcomes.append(Outcome(arrival.at, sent, self.now(), first, error, passage))

    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began


def name_of(failure: AgentOSError) -> str:
    """A failure's name, for counting."""
    match failure:
        case GatewayRefused() | TaskFailed() | Lost():
            return failure.code
        case GatewayUnavailable():
            return "unavailable"
    return type(failure).__name__
