"""The scaler: looks at the broker, decides, and tells the fleet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bus.port import Bus
from coordinator.operator.fleet import Fleet
from core.liveness import Beat


class Scaler:
    """Drives the replicas of a fleet. `connect`: to the broker, as often as needed; raises `BusError`."""

    def __init__(self, connect: Callable[[], Awaitable[Bus]], fleet: Fleet) -> None:
        self._connect = connect
        self._fleet = fleet

    async def run(self, beat: Beat) -> None:
        """Until cancelled."""
