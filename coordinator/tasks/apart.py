"""Work of pure computation that may be long: done beside the event loop, which turns meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

# Characters of descriptions that are read in some milliseconds; a thread costs more than that where it waits for one.
SMALL = 1 << 16


async def apart(size: int, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises. `size`: of the text that it reads. It must touch nothing that others touch."""
    return work() if size <= SMALL else await asyncio.to_thread(work)
