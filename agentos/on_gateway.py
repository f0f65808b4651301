"""How commands of clients run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from workload.client import Client

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

Result = TypeVar("Result")


def on_gateway(url: str, action: Callable[[Client], Awaitable[Result]]) -> Result:
    """Raises `GatewayUnavailable`, `GatewayRefused`; `KeyboardInterrupt` after Ctrl-C."""

    async def run() -> Result:
        async with Client(url) as client:
            return await action(client)

    return asyncio.run(run())
