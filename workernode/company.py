"""Who may run beside whom: requests run together, a suspect of killing its worker runs alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable


class Company:
    """A gate before every attempt. Whoever dies beside a suspect would be suspected as well, and in the end be
    quarantined for another's deed: so a suspect waits until the worker is empty, and others wait until it is done.
    """

    def __init__(self, moved: Callable[[], None] = lambda: None) -> None:
        """`moved` hears that `closed` may have changed."""
        self._moved = moved
        self._running = 0
        self._suspects = 0
        self._changed = asyncio.Event()

    @property
    def closed(self) -> bool:
        """A suspect runs or waits: it is no use to take more messages."""
        return self._suspects > 0

    @contextlib.asynccontextmanager
    async def entered(self, *, alone: bool) -> AsyncIterator[None]:
        """Waits for its turn; the block is the attempt."""
        self._suspect(alone)
        try:
            while self._running if alone else self._suspects:
                self._changed.clear()
                await self._changed.wait()
            self._running += 1
            try:
                yield
            finally:
                self._running -= 1
        finally:
            self._suspect(-alone)
            self._changed.set()

    def _suspect(self, count: int) -> None:
        self._suspects += count
        if count:
            self._moved()
