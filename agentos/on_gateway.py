"""How commands of clients run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.errors import ConfigurationError
from workload.client import Client

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
MOCK = "agentos-mock"

Result = TypeVar("Result")


async def is_mock(client: Client, model: str) -> bool:
    """Whether mock workers serve it. Raises `ConfigurationError` where nobody has ever served it."""
    models = await client.models()
    if model not in models:
        raise ConfigurationError(
            f"the gateway does not know the model {model!r}; it knows {', '.join(models) or 'none'}"
        )
    return models[model] == MOCK


def on_gateway(url: str, action: Callable[[Client], Awaitable[Result]]) -> Result:
    """Raises `GatewayUnavailable`, `GatewayRefused`; `KeyboardInterrupt` after Ctrl-C."""

    async def run() -> Result:
        async with Client(url) as client:
            return await action(client)

    return asyncio.run(run())
