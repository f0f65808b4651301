"""A backend that answers when the test says so, and calls for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Hashable, Sequence
from typing import Any

from bus.messages import BatchOrder, NodeType, Usage
from workernode.backends.base import Answer, Call, Joint, Sink
from workernode.batching.batches import Batches
from workernode.errors import CallFailed
from workernode.resources import Capacity

PATIENCE = 20.0


class Served:
    """Calls wait for `finish`. `work`: the request ids of each piece of work that has begun, in its order.

    Alike are calls whose bodies have the same `kind`; one without runs by itself.
    """

    node_type: NodeType = "mock"
    slots = 64

    def __init__(self, *, joint: bool) -> None:
        self.joint: Joint | None = self if joint else None
        self.work: list[list[str]] = []
        self.cut_off: list[list[str]] = []
        self._began = asyncio.Condition()
        self._ends: list[asyncio.Future[list[Answer | CallFailed] | None]] = []

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def check(self) -> None: ...

    def capacity(self) -> Capacity:
        return Capacity(self.slots)

    def likeness(self, call: Call) -> Hashable | None:
        return call.body.get("kind")

    async def call(self, call: Call, sink: Sink | None) -> Answer:
        (outcome,) = await self.call_many([(call, sink)])
        if isinstance(outcome, CallFailed):
            raise outcome
        return outcome

    async def call_many(self, calls: Sequence[tuple[Call, Sink | None]]) -> Sequence[Answer | CallFailed]:
        names = [call.request_id for call, _ in calls]
        self.work.append(names)
        end: asyncio.Future[list[Answer | CallFailed] | None] = asyncio.get_running_loop().create_future()
        self._ends.append(end)
        async with self._began:
            self._began.notify_all()
        try:
            outcomes = await end
        except asyncio.CancelledError:
            self.cut_off.append(names)
            raise
        return outcomes or [answer_to(name) for name in names]

    async def begun(self, count: int) -> None:
        """Waits until so many pieces of work have begun."""
        async with asyncio.timeout(PATIENCE), self._began:
            await self._began.wait_for(lambda: len(self.work) >= count)

    def finish(self, number: int = 0, outcome: list[Answer | CallFailed] | Exception | None = None) -> None:
        """The piece of work of that number ends so; each call is answered if nothing is said."""
        if isinstance(outcome, Exception):
            self._ends[number].set_exception(outcome)
        else:
            self._ends[number].set_result(outcome)


def answer_to(name: str) -> Answer:
    """An answer that tells whose it is."""
    return Answer(json.dumps({"of": name}).encode(), Usage(1, 2, 3), estimated=False, first_token_at=None)


class Asked:
    """Requests to batches, each in a task of its own."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.begun: list[str] = []
        self.calls: dict[str, Call] = {}

    def __call__(self, name: str, *, serve_by: float | None = None, **body: Any) -> asyncio.Task[Answer]:
        call = self.calls[name] = make_call(name, **body)
        return asyncio.create_task(self.batches.call(call, None, serve_by, lambda: self.begun.append(name)))


def make_call(name: str, **body: Any) -> Call:
    """All are alike where nothing is said."""
    return Call(name, body or {"kind": "any"}, False)


def make_order(size: int, policy: Any = "none", **seconds: float) -> BatchOrder:
    """`seconds` by size: `_1=0.1`."""
    return BatchOrder(size=size, policy=policy, seconds={int(name[1:]): each for name, each in seconds.items()})
