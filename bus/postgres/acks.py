"""Acks, gathered: one statement for many. The last are remembered, since a crash of the server may undo them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

# How long acks gather. One that is lost in a crash is a redelivery, as it is in any case.
GATHER_SECONDS = 0.02
# More than are acked in the moment (0.6 s) that a crash may undo.
REMEMBERED = 10_000


class Claim(NamedTuple):
    """A message in the hands of a consumer. Both are named when it is settled: a former holder changes nothing."""

    message_id: int
    consumer_id: int


class Acks:
    """Those of one subscription. `send` deletes messages of a consumer, and waits for Postgres where it is away."""

    def __init__(self, send: Callable[[list[int], int], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: list[Claim] = []
        self._sending: list[Claim] = []
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self.done: deque[int] = deque(maxlen=REMEMBERED)

    def add(self, claims: list[Claim]) -> None:
        """Returns at once; Postgres hears of them a moment later."""
        self._waiting += claims
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    def under_way(self) -> list[Claim]:
        """Those of which Postgres has not told yet."""
        return [*self._waiting, *self._sending]

    def check(self) -> None:
        """Raises what a defect has raised."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def leave(self) -> None:
        """Returns when all have been sent. Raises `BusUnavailable` where they cannot be."""
        self._hurry.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._hurry.wait()
            self._sending, self._waiting = self._waiting, []
            for consumer, ids in by_consumer(self._sending).items():
                await self._send(ids, consumer)
                self.done.extend(ids)
            self._sending = []


def by_consumer(claims: Iterable[Claim]) -> dict[int, list[int]]:
    """The messages of each."""
    found: dict[int, list[int]] = {}
    for claim in claims:
        found.setdefault(claim.consumer_id, []).append(claim.message_id)
    return found
