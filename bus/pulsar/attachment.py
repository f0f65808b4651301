"""What hangs on a bus for a while: a subscription, a listening."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod


class Attachment(ABC):
    """Started once, closed once; `attached` is the bus's list of those that are not closed yet."""

    def __init__(self, attached: set[Attachment]) -> None:
        self._attached = attached
        self._starting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises `BusError`. When it fails or is cancelled, all is undone."""
        self._attached.add(self)
        self._starting = asyncio.create_task(self._open())
        try:
            await asyncio.shield(self._starting)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """A second close waits for the first."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._finish())
        await asyncio.shield(self._closing)

    @property
    def closed(self) -> bool:
        """True as soon as `close` has been called."""
        return self._closing is not None

    async def _finish(self) -> None:
        self._release()
        if self._starting is not None:
            # A thread may be about to attach us: what it makes must not be left behind.
            await asyncio.wait([self._starting])
        try:
            await self._leave()
        finally:
            self._attached.discard(self)

    def _release(self) -> None:
        """Lets go of whoever waits here."""
        return

    @abstractmethod
    async def _open(self) -> None: ...

    @abstractmethod
    async def _leave(self) -> None: ...
