"""Which broker: Apache Pulsar where one is named, Postgres otherwise."""

from __future__ import annotations

from bus.port import Bus
from core.errors import ConfigurationError


async def connect(
    *, pulsar_url: str = "", pulsar_token: str = "", pulsar_admin_url: str = "", bus_url: str = ""
) -> Bus:
    """Connects to the one broker that is named.

    Raises `ConfigurationError` where not exactly one is, `BusUnavailable`, `BusRefused`.
    """
    if bool(pulsar_url) == bool(bus_url):
        raise ConfigurationError("name one broker: PULSAR_URL or AGENTOS_BUS_URL")
    # Imported here: each brings a driver that a process on the other broker does not need to load.
    if bus_url:
        from bus.postgres import PostgresBus

        return await PostgresBus.connect(bus_url)
    from bus.pulsar.bus import PulsarBus

    return await PulsarBus.connect(pulsar_url, token=pulsar_token, admin_url=pulsar_admin_url)
