"""What a command does on the broker that its settings name."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from agentos.up_settings import UpSettings
from bus.connect import connect
from bus.port import Bus


@contextlib.asynccontextmanager
async def on_bus(settings: UpSettings) -> AsyncIterator[Bus]:
    """A connection for as long as the block lasts. Raises `BusError`, `ConfigurationError`."""
    bus = await connect(
        pulsar_url=settings.pulsar_url,
        pulsar_token=settings.pulsar_token.get_secret_value(),
        pulsar_admin_url=settings.pulsar_admin_url,
        bus_url=settings.bus_url.get_secret_value(),
    )
    try:
        yield bus
    finally:
        await bus.close()
