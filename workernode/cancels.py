"""Which requests are to be stopped: those that run here, and those that may still come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

# Cancellations of requests that have not come here yet; the oldest are forgotten first.
REMEMBERED = 10_000


class Cancels:
    """Remembers cancellations and cancels running calls."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Future[Any]] = {}
        self._cancelled: dict[str, None] = {}

    def cancel(self, request_id: str) -> None:
        """Stops the request's call, now or when it comes."""
        self._cancelled[request_id] = None
        if len(self._cancelled) > REMEMBERED:
            del self._cancelled[next(iter(self._cancelled))]
        if call := self._running.get(request_id):
            call.cancel()

    def was_cancelled(self, request_id: str) -> bool:
        """Whether somebody asked to stop it."""
        return request_id in self._cancelled

    @contextlib.contextmanager
    def running(self, request_id: str, call: asyncio.Future[Any]) -> Iterator[None]:
        """While the block runs, `cancel` stops `call`."""
        self._running[request_id] = call
        try:
            yield
        finally:
            self._running.pop(request_id, None)
