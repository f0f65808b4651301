"""Stops calls that nobody wants any more. Frames get lost and workers start late: so it is said several times."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from bus import messages
from bus.messages import Control
from bus.port import Bus
from bus.topics import control_channel
from core.errors import BusError
from store import InFlight

log = logging.getLogger(__name__)

TIMES = 5
BETWEEN_SECONDS = 2.0


class Stopping:
    """Tells workers. What is not heard by then is called, and its result goes to the ledger."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._telling: set[asyncio.Task[None]] = set()

    def stop(self, calls: Sequence[InFlight]) -> None:
        """Tells now, and again in the background."""
        if calls:
            task = asyncio.create_task(self._tell(calls), name="stopping calls")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    def close(self) -> None:
        """Tells no more."""
        for task in self._telling:
            task.cancel()

    async def _tell(self, calls: Sequence[InFlight]) -> None:
        by_model: dict[str, list[str]] = {}
        for call in calls:
            by_model.setdefault(call.model, []).append(call.request_id)
        for _ in range(TIMES):
            for model, request_ids in by_model.items():
                await self._send(model, request_ids)
            await asyncio.sleep(BETWEEN_SECONDS)

    async def _send(self, model: str, request_ids: list[str]) -> None:
        try:
            await self._bus.send(control_channel(model), messages.encode(Control(cancel=request_ids)))
        except BusError as error:
            log.warning("%d calls of cancelled tasks go on: %s", len(request_ids), error)
