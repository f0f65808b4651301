"""An attempt's claim to its message: lost when the process stood still for longer than the broker waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.liveness import Fence
from workernode.errors import LeaseLost
from workernode.reply import Reply


class Lease:
    """One delivery's. `clock`: that of the fence."""

    __slots__ = ("_clock", "_fence", "_since")

    def __init__(self, fence: Fence, clock: Callable[[], float]) -> None:
        self._fence = fence
        self._clock = clock
        self._since = clock()

    def check(self) -> None:
        """Raises `LeaseLost`: another worker may have the message by now."""
        if self._fence.passed(self._since, self._clock()):
            raise LeaseLost("this process stood still for longer than its broker waits")


class LeasedReply:
    """A reply that says nothing once the lease is lost: the client hears of one attempt, not of two."""

    def __init__(self, reply: Reply, lease: Lease) -> None:
        self._reply = reply
        self._check = lease.check

    @property
    def started(self) -> bool:
        return self._reply.started

    def chunk(self, data: bytes) -> None:
        self._check()
        self._reply.chunk(data)

    async def answer(self, response: bytes) -> None:
        self._check()
        await self._reply.answer(response)

    async def fail(self, status: int, error: dict[str, Any]) -> None:
        self._check()
        await self._reply.fail(status, error)

    async def close(self) -> None:
        await self._reply.close()
