"""Waiting for a broker that is away."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.errors import BusUnavailable

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5

Result = TypeVar("Result")


async def patiently(action: Callable[[], Awaitable[Result]], what: str, *, seconds: float = math.inf) -> Result:
    """Does `action` again until the broker can be reached: for what may be done twice. Other errors are raised.

    `what`: what waits, for the log. After so many `seconds` `BusUnavailable` is raised, too.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            return await action()
        except BusUnavailable as error:
            if loop.time() > deadline:
                raise
            log.warning("%s: waiting for the broker: %s", what, error)
            await asyncio.sleep(PAUSE_SECONDS)
