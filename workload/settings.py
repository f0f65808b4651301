"""Settings of clients."""

from __future__ import annotations

from pydantic import Field

from core.settings import Settings

DEFAULT_URL = "http://127.0.0.1:8081"


class ClientSettings(Settings):
    """Where the gateways are."""

    url: str = Field(default=DEFAULT_URL, description="Addresses of gateways of one system, separated by commas.")
