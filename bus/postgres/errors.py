"""Every exception of asyncpg and of the socket, turned into one of ours, in one place.

Texts name the kind of the failure only: Postgres quotes values in its own messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from core.errors import BusError, BusRefused, BusUnavailable, MessageRefused

# The parents of all that asyncpg raises, and what a socket raises.
FOREIGN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, asyncio.TimeoutError)

# asyncpg's own checks of arguments; and what the server says about a value or its size.
_MESSAGE = (asyncpg.exceptions._base.DataError, asyncpg.DataError, asyncpg.ProgramLimitExceededError)
_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.SyntaxOrAccessError,  # no rights; or a schema that is not ours
    asyncpg.ClientConfigurationError,
)


def classify(error: BaseException) -> BusError:
    """The error to raise instead. What is not known to be final is held to be passing: a retry is safe."""
    name = type(error).__name__
    if isinstance(error, _MESSAGE):
        return MessageRefused(f"Postgres does not take this message or name ({name})")
    if isinstance(error, _REFUSED):
        return BusRefused(f"Postgres refuses the bus: check user, password, database and rights ({name})")
    return BusUnavailable(f"Postgres cannot be reached or cannot answer now ({name})")


@contextmanager
def named() -> Iterator[None]:
    """Raises errors of the tree in core.errors only."""
    try:
        yield
    except FOREIGN as error:
        raise classify(error) from error
